/* check - what no single option can see: rules between scopes.
 * Each rule walks the finished tree and reports at the scope that has to change. */
#include "conf/conf_priv.h"
#include "gateway/base/err.h"

#include <stddef.h>
#include <sys/un.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static const char *const auth_options[] = {
	"authparameters",
	"authscramparameters",
	"authplainparameters",
	"authdigestmd5parameters",
	NULL,
};

static const struct conf_scope *
scope_of_kind(const struct conf_scope *parent, uint32_t bit, const struct conf_scope *prev)
{
	const struct conf_scope *s = prev != NULL ? prev->next : parent->first;

	while (s != NULL && s->kind->bit != bit)
		s = s->next;
	return s;
}

static bool
has_auth(const struct conf *c, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };

	for (size_t i = 0; auth_options[i] != NULL; i++)
		if (conf_is_set(c, &at, auth_options[i]))
			return true;
	for (const struct conf_scope *p = scope_of_kind(s, CS_PEER, NULL); p != NULL;
	     p = scope_of_kind(s, CS_PEER, p))
		if (has_auth(c, p))
			return true;
	return false;
}

static bool
is_enabled(const struct conf *c, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };

	return conf_bool(c, &at, "enable");
}

/* ---- per Listen ---- */

static void
check_xmpp_listen(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };

	if (td_str_eqc(conf_str(l->c, &at, "xmpp_streams"), "server") || has_auth(l->c, s) ||
	    has_auth(l->c, s->parent))
		return;
	conf_error(l, s->pos,
		   "Listen %s takes client streams and needs a credential store: AuthParameters = "
		   "[ uri = \"store://\" ] here or in the listener (or xmpp_streams = \"server\")",
		   conf_shown(l, s->name));
}

static void
check_control_listen(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };
	struct sockaddr_storage ss;
	socklen_t len;
	bool auth = conf_bool(l->c, &at, "enable_authentication");

	if (conf_parse_listen(s->name, &ss, &len, NULL) != 0)
		return;
	if (auth && !has_auth(l->c, s) && !has_auth(l->c, s->parent)) {
		conf_error(l, s->pos,
			   "enable_authentication needs a credential store: AuthParameters = [ uri "
			   "= ... ]");
		return;
	}
	if (ss.ss_family == AF_UNIX) {
		if (conf_int(l->c, &at, "file_mode") & 07)
			conf_warn(
				l, s->pos,
				"control socket %s is open to every user of this host (file_mode)",
				conf_shown(l, s->name));
		return;
	}
	if (auth)
		return;
	if (!conf_sockaddr_is_loopback(&ss))
		conf_error(l, s->pos,
			   "control listener %s can be reached from other hosts and asks for no "
			   "credentials: "
			   "set enable_authentication = true and AuthParameters, or listen on a "
			   "Unix socket",
			   conf_shown(l, s->name));
	else
		conf_warn(l, s->pos,
			  "control listener %s asks for no credentials: every user of this host "
			  "can administer",
			  conf_shown(l, s->name));
}

static void
check_proxy(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };
	size_t n;

	if (conf_bool(l->c, &at, "proxy_protocol") &&
	    conf_list(l->c, &at, "proxy_protocol_hosts", &n) == NULL)
		conf_error(l, s->pos,
			   "proxy_protocol needs proxy_protocol_hosts: the networks whose word is "
			   "taken for the "
			   "address of a peer");
}

/* Two sockets on one address: name the other one. */
static void
check_duplicate(struct conf_loader *l, struct conf_scope *s, struct td_map *seen)
{
	struct conf_scope *other;
	struct sockaddr_storage ss;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct td_str key;
	socklen_t len;

	if (conf_parse_listen(s->name, &ss, &len, NULL) != 0)
		return;
	memcpy(&in, &ss, sizeof(in));
	memcpy(&in6, &ss, sizeof(in6));
	if ((ss.ss_family == AF_INET && in.sin_port == 0) ||
	    (ss.ss_family == AF_INET6 && in6.sin6_port == 0))
		return; /* any free port */
	key = td_str(td_arena_strndup(l->c->arena, (const char *)&ss, len), len);
	other = td_map_find(seen, key);
	if (other != NULL)
		conf_error(l, s->pos, "Listen %s: the address is taken by the Listen at %s",
			   conf_shown(l, s->name), other->where);
	else
		td_map_set(seen, key, s);
}

/* ---- listeners ---- */

struct listen_count {
	struct td_map seen;
	const struct conf_scope *milter;
};

static void
check_listen(struct conf_loader *l, struct conf_scope *s, struct listen_count *n)
{
	if (!is_enabled(l->c, s))
		return;
	check_duplicate(l, s, &n->seen);
	if (s->bad || s->parent->bad)
		return;
	check_proxy(l, s);
	switch (s->parent->kind->bit) {
	case CS_XMPP_LISTENER: check_xmpp_listen(l, s); break;
	case CS_CONTROL_LISTENER: check_control_listen(l, s); break;
	case CS_MILTER_LISTENER:
		if (n->milter != NULL)
			conf_error(l, s->pos,
				   "a second milter Listen: libmilter serves one socket per "
				   "process, and that is "
				   "the one at %s",
				   n->milter->where);
		else
			n->milter = s;
		break;
	default: break;
	}
}

static void
check_listeners(struct conf_loader *l)
{
	struct listen_count n = { 0 };

	for (const struct conf_scope *s = l->c->root->first; s != NULL; s = s->next) {
		bool any = false;

		if ((s->kind->bit & CS_LISTENERS) == 0)
			continue;
		if (s->kind->bit == CS_XMPP_LISTENER &&
		    l->c->singles[__builtin_ctz(CS_XMPP)] == NULL && !l->c->root->bad)
			conf_error(l, s->pos, "xmpp_listener needs the xmpp module: add xmpp {}");
		for (struct conf_scope *k = s->first; k != NULL; k = k->next) {
			if (k->kind->bit != CS_LISTEN)
				continue;
			any = true;
			check_listen(l, k, &n);
		}
		if (!any && !s->bad)
			conf_warn(l, s->pos, "%s has no Listen: nothing is bound", s->kind->shown);
	}
	td_map_fini(&n.seen);
}

/* ---- other stanzas ---- */

static void
need_option(struct conf_loader *l, const struct conf_scope *s, const char *option,
	    const char *example)
{
	if (conf_value_in(s, conf_row_in(td_cstr(option), s)) == NULL)
		conf_error(l, s->pos, "%s %s needs %s = %s", s->kind->shown, conf_shown(l, s->name),
			   option, example);
}

static void
check_script(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_option *o = conf_row_in(TD_STR("source"), s);
	const struct conf_value *v = conf_value_in(s, o);

	need_option(l, s, "source", "\"module\"");
	if (v != NULL && td_str_ends(v->items[0], ".lua"))
		conf_warn(l, v->value_pos, "source names a module, not a file: leave .lua away");
}

static void
check_role(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_value *v = conf_value_in(s, conf_row_in(TD_STR("allow"), s));

	for (size_t i = 0; v != NULL && i < v->n; i++) {
		PCRE2_UCHAR text[120];
		PCRE2_SIZE where;
		int code;
		pcre2_code *re = pcre2_compile((PCRE2_SPTR)v->items[i].p, v->items[i].len,
					       PCRE2_UTF, &code, &where, NULL);

		if (re == NULL) {
			pcre2_get_error_message(code, text, sizeof(text));
			conf_error(l, v->value_pos, "regex %s: %s (at character %zu)",
				   conf_shown(l, v->items[i]), (const char *)text, where + 1);
		}
		pcre2_code_free(re);
	}
}

static void
check_domain(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_option *service = conf_row_in(TD_STR("service"), s);
	const struct conf_value *v = conf_value_in(s, service);
	const struct conf_at at = { .scope = s };

	if (v != NULL && s->regex == NULL && !conf_list_has(l->c, &at, "xmpp_role", "server"))
		conf_warn(l, v->pos,
			  "service %s cannot be reached: domain %s lacks XMPP_Role = \"server\"",
			  v->items[0].p, conf_shown(l, s->name));
}

static void
check_service(struct conf_loader *l, const struct conf_scope *s)
{
	need_option(l, s, "type", "\"turn\"");
	need_option(l, s, "host", "\"turn.example.org\"");
}

static void
check_privileges(struct conf_loader *l, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };
	struct td_str roster = conf_str(l->c, &at, "privilege_roster");
	size_t n;
	const struct td_str *kv = conf_pairs(l->c, &at, "privilege_iq", &n);

	if (td_str_ieq(conf_str(l->c, &at, "privilege_presence"), TD_STR("roster")) &&
	    !td_str_ieq(roster, TD_STR("get")) && !td_str_ieq(roster, TD_STR("both")))
		conf_error(l, s->pos,
			   "component %s: privilege_presence = roster needs privilege_roster = get "
			   "or both",
			   conf_shown(l, s->name));
	for (size_t i = 0; i < n; i++)
		if (!td_str_ieq(kv[2 * i + 1], TD_STR("get")) &&
		    !td_str_ieq(kv[2 * i + 1], TD_STR("set")) &&
		    !td_str_ieq(kv[2 * i + 1], TD_STR("both")))
			conf_error(l, s->pos, "component %s: privilege_iq takes get, set or both",
				   conf_shown(l, s->name));
	kv = conf_pairs(l->c, &at, "delegate", &n);
	for (size_t i = 0; i < n; i++)
		if (!conf_may_delegate(kv[2 * i]))
			conf_error(l, s->pos, "component %s: %s cannot be delegated",
				   conf_shown(l, s->name), conf_shown(l, kv[2 * i]));
}

static void
check_component(struct conf_loader *l, const struct conf_scope *s)
{
	check_privileges(l, s);
	if (conf_value_in(s, conf_row_in(TD_STR("secret_file"), s)) == NULL)
		need_option(l, s, "secret", "\"...\"");
	for (const struct conf_scope *d = NULL;
	     (d = scope_of_kind(l->c->root, CS_DOMAIN, d)) != NULL;) {
		const struct conf_at at = { .scope = d };

		if (d->regex == NULL && td_str_ieq(d->name, s->name) &&
		    conf_list_has(l->c, &at, "xmpp_role", "server"))
			conf_error(l, s->pos,
				   "component %s: the domain at %s is hosted here; leave its "
				   "XMPP_Role away",
				   conf_shown(l, s->name), d->where);
	}
}

static const struct rule {
	uint32_t bit;
	void (*check)(struct conf_loader *l, const struct conf_scope *s);
} rules[] = {
	{ CS_SCRIPT, check_script },       { CS_ROLE, check_role },
	{ CS_DOMAIN, check_domain },       { CS_EXTERNAL_SERVICE, check_service },
	{ CS_COMPONENT, check_component },
};

static void
check_scopes(struct conf_loader *l, const struct conf_scope *s)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].bit == s->kind->bit && !s->bad)
			rules[i].check(l, s);
	for (const struct conf_scope *k = s->first; k != NULL; k = k->next)
		check_scopes(l, k);
}

static void
check_global(struct conf_loader *l)
{
	const struct conf_scope *root = l->c->root;
	const struct conf_value *only =
		conf_value_in(root, conf_row_in(TD_STR("local_changes_only"), root));

	if (!root->bad && only != NULL && only->num != 0 &&
	    !conf_is_set(l->c, NULL, "local_changes_file"))
		conf_error(l, only->pos, "local_changes_only needs local_changes_file = \"path\"");
}

static void
check_hosted(struct conf_loader *l)
{
	const struct conf_scope *xmpp = l->c->singles[__builtin_ctz(CS_XMPP)], *s = NULL;

	while (xmpp != NULL && (s = scope_of_kind(l->c->root, CS_DOMAIN, s)) != NULL) {
		const struct conf_at at = { .scope = s };

		if (conf_list_has(l->c, &at, "xmpp_role", "server"))
			return;
	}
	if (xmpp != NULL)
		conf_warn(l, xmpp->pos, "no domain has XMPP_Role = \"server\": nobody can log in");
}

void
conf_check(struct conf_loader *l)
{
	if (l->errors > CONF_MAX_ERRORS)
		return;
	check_global(l);
	if (l->errors == 0)
		check_hosted(l);
	check_listeners(l);
	check_scopes(l, l->c->root);
}
