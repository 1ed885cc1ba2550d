/* xep-0356 - privileged entities: what components may do in the name of our domains' accounts.
 *
 * Grants are the configuration's.  What a component sends is checked on its worker, which marks what is
 * granted (XF_PRIVILEGED, never from the wire) and routes it; presence and roster pushes are sent by the account's
 * worker to every component that may see them, connected or not: to one that is away presence is dropped. */
#include "xmpp/component.h"

#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/c2s.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"

#define ANSWER_MS 60000u
#define SEEN_MAX 100000u /* addresses whose presence a component is known to have */

struct grants {
	struct td_arena *arena;
	struct xmpp_grant *list;
	size_t n;
	bool any_presence, any_tap, any_push;
};
struct xmpp_privilege {     /* of a connected component */
	struct td_buf told; /* what it was told of its rights */
	struct td_map seen; /* JID -> struct seen */
};
struct seen {
	uint64_t hash;
	struct td_str jid;
	char text[];
};

/* ---- grants ---- */

static struct grants *
grants(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_PRIVILEGE];
}

const struct xmpp_grant *
xmpp_grant_at(struct xmpp_env *env, size_t i)
{
	const struct grants *gs = grants(env);

	return gs != NULL && i < gs->n ? &gs->list[i] : NULL;
}

bool
xmpp_grant_covers(const struct xmpp_grant *g, struct td_str domain)
{
	for (size_t i = 0; i < g->n_domains; i++)
		if (td_str_eq(g->domains[i], domain))
			return true;
	return false;
}

bool
xmpp_grant_is_of(const struct xmpp_grant *g, struct td_str domain)
{
	size_t n = g->component.len;

	if (domain.len > n + 1 && domain.p[domain.len - n - 1] == '.')
		domain = td_str(domain.p + domain.len - n, n);
	return td_str_eq(domain, g->component);
}

struct td_str
xmpp_next_word(struct td_str *rest)
{
	struct td_str s = td_str_trim(*rest);
	ptrdiff_t end = td_str_chr(s, ' ');
	size_t n = end < 0 ? s.len : (size_t)end;

	*rest = td_str(s.p + n, s.len - n);
	return td_str(s.p, n);
}

/* What <component> may do for <domain>; NULL = nothing. */
static const struct xmpp_grant *
grant_for(struct xmpp_env *env, struct td_str component, struct td_str domain)
{
	const struct xmpp_grant *g;

	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++)
		if (td_str_eq(g->component, component) && xmpp_grant_covers(g, domain))
			return g;
	return NULL;
}

static struct xmpp_grant_ns *
read_pairs(struct xmpp_env *env, struct td_arena *a, const struct conf_at *at, const char *option,
	   size_t *n)
{
	const struct td_str *kv = conf_pairs(env->conf, at, option, n);
	struct xmpp_grant_ns *out = td_arena_zalloc(a, (*n + 1) * sizeof(*out));

	for (size_t i = 0; i < *n; i++) {
		out[i].ns = td_arena_str(a, kv[2 * i]);
		out[i].value = td_arena_str(a, kv[2 * i + 1]);
	}
	return out;
}

/* The hosted domains it is for. */
static void
read_domains(struct xmpp_env *env, struct td_arena *a, const struct conf_at *at,
	     struct xmpp_grant *g)
{
	size_t n;
	const struct td_str *list = conf_list(env->conf, at, "serves", &n);
	struct td_str *out = td_arena_zalloc(a, (n + 1) * sizeof(*out));
	struct td_str up = g->component;
	ptrdiff_t dot;
	struct xmpp_jid j;

	g->domains = out;
	for (size_t i = 0; i < n; i++)
		if (xmpp_jid_make(a, TD_STR_NULL, list[i], TD_STR_NULL, &j, NULL) == 0 &&
		    env->host->domain(env, j.domain) == XD_LOCAL)
			out[g->n_domains++] = j.domain;
	while (n == 0 && g->n_domains == 0 && (dot = td_str_chr(up, '.')) >= 0) {
		up = td_str(up.p + dot + 1, up.len - (size_t)dot - 1);
		if (env->host->domain(env, up) == XD_LOCAL)
			out[g->n_domains++] = up;
	}
}

static bool
read_grant(struct xmpp_env *env, const struct conf_scope *s, struct td_arena *a,
	   struct xmpp_grant *g)
{
	struct conf_at at = { .scope = s };
	struct td_str roster = conf_str(env->conf, &at, "privilege_roster"),
		      presence = conf_str(env->conf, &at, "privilege_presence");
	struct xmpp_jid j;
	bool both = td_str_ieq(roster, TD_STR("both"));

	*g = (struct xmpp_grant){ 0 };
	if (xmpp_jid_make(a, TD_STR_NULL, conf_scope_name(s), TD_STR_NULL, &j, NULL) < 0)
		return false;
	g->component = j.domain;
	g->roster_get = both || td_str_ieq(roster, TD_STR("get"));
	g->roster_set = both || td_str_ieq(roster, TD_STR("set"));
	g->roster_push = g->roster_get && conf_bool(env->conf, &at, "privilege_roster_push");
	g->message = td_str_ieq(conf_str(env->conf, &at, "privilege_message"), TD_STR("outgoing"));
	g->roster_presence = g->roster_get && td_str_ieq(presence, TD_STR("roster"));
	g->presence = g->roster_presence || td_str_ieq(presence, TD_STR("managed_entity"));
	g->iqs = read_pairs(env, a, &at, "privilege_iq", &g->n_iqs);
	g->delegated = read_pairs(env, a, &at, "delegate", &g->n_delegated);
	if (!g->roster_get && !g->roster_set && !g->message && !g->presence && g->n_iqs == 0 &&
	    g->n_delegated == 0)
		return false;
	read_domains(env, a, &at, g);
	return g->n_domains > 0;
}

static void
grants_read(struct xmpp_env *env)
{
	struct grants *gs = td_zalloc(sizeof(*gs));
	const struct conf_scope *s = NULL;

	gs->arena = td_arena_new(0);
	env->delegates = false;
	while ((s = conf_next(env->conf, NULL, "component", s)) != NULL) {
		struct xmpp_grant g;

		if (!read_grant(env, s, gs->arena, &g))
			continue;
		gs->list = td_realloc(gs->list, (gs->n + 1) * sizeof(*gs->list));
		gs->list[gs->n++] = g;
		gs->any_presence |= g.presence;
		gs->any_tap |= g.roster_presence;
		gs->any_push |= g.roster_push;
		env->delegates |= g.n_delegated > 0;
	}
	env->module_data[XMPP_SLOT_PRIVILEGE] = gs;
}

static void
grants_free(struct xmpp_env *env)
{
	struct grants *gs = grants(env);

	env->module_data[XMPP_SLOT_PRIVILEGE] = NULL;
	if (gs == NULL)
		return;
	td_arena_free(gs->arena);
	free(gs->list);
	free(gs);
}

/* ---- telling ---- */

static void
write_perms(const struct xmpp_grant *g, struct td_buf *b)
{
	if (g->roster_get || g->roster_set)
		td_buf_addf(b, "<perm access='roster' type='%s' push='%s'/>",
			    g->roster_get && g->roster_set ? "both"
			    : g->roster_get                ? "get"
							   : "set",
			    g->roster_push ? "true" : "false");
	if (g->message)
		td_buf_addz(b, "<perm access='message' type='outgoing'/>");
	if (g->n_iqs > 0) {
		td_buf_addz(b, "<perm access='iq'>");
		for (size_t i = 0; i < g->n_iqs; i++) {
			td_buf_addz(b, "<namespace ns='");
			td_buf_add_xml(b, g->iqs[i].ns);
			td_buf_addz(b, "' type='");
			td_buf_add_xml(b, g->iqs[i].value);
			td_buf_addz(b, "'/>");
		}
		td_buf_addz(b, "</perm>");
	}
	if (g->presence)
		td_buf_addf(b, "<perm access='presence' type='%s'/>",
			    g->roster_presence ? "roster" : "managed_entity");
}

static void
write_delegated(const struct xmpp_grant *g, struct td_buf *b)
{
	for (size_t i = 0; i < g->n_delegated; i++) {
		struct td_str rest = g->delegated[i].value, word;

		td_buf_addz(b, "<delegated namespace='");
		td_buf_add_xml(b, g->delegated[i].ns);
		td_buf_addz(b, "'>");
		while ((word = xmpp_next_word(&rest)).len > 0) {
			td_buf_addz(b, "<attribute name='");
			td_buf_add_xml(b, word);
			td_buf_addz(b, "'/>");
		}
		td_buf_addz(b, "</delegated>");
	}
}

static void
tell(struct xmpp_component *k, struct td_str domain, struct td_str xml)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, XT_NONE);
	struct xmpp_jid from = xmpp_jid_view(domain), to = xmpp_jid_view(k->domain);
	char id[17];

	td_random_id(id, 16);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_stanza_set_from(s, &from);
	xmpp_stanza_set_to(s, &to);
	xmpp_stanza_append_raw(s, xml);
	xmpp_stanza_seal(s);
	xmpp_component_send(k, s);
	xmpp_stanza_unref(&s);
}

/* What holds for <domain>: one message of each XEP. */
static void
tell_of(struct xmpp_component *k, const struct xmpp_grant *g, struct td_str domain)
{
	struct td_buf b = { 0 };
	size_t head;

	td_buf_addz(&b, "<privilege xmlns='" NS_PRIVILEGE "'>");
	head = b.len;
	write_perms(g, &b);
	td_buf_addz(&b, "</privilege>");
	if (b.len > head + sizeof("</privilege>") - 1)
		tell(k, domain, td_buf_str(&b));
	td_buf_clear(&b);
	td_buf_addz(&b, "<delegation xmlns='" NS_DELEGATION "'>");
	write_delegated(g, &b);
	td_buf_addz(&b, "</delegation>");
	if (g->n_delegated > 0)
		tell(k, domain, td_buf_str(&b));
	td_buf_fini(&b);
}

struct dump {
	char *component;
};

/* Section 8, rule 1: who is online already. */
static void
dump_presence(struct xmpp_env *env, void *arg)
{
	struct dump *d = arg;
	struct xmpp_jid to = xmpp_jid_view(td_cstr(d->component));
	struct xmpp_session *sess;

	TAILQ_FOREACH(sess, &env->sessions, env_link)
	{
		const struct xmpp_grant *g = grant_for(env, to.domain, sess->user->domain);
		struct xmpp_stanza *s;

		if (!sess->available || sess->dead || g == NULL || !g->presence)
			continue;
		s = xmpp_presence_last(sess, &to);
		s->flags |= XF_PRIVILEGED;
		xmpp_route(env, s);
	}
	free(d->component);
	free(d);
}

void
xmpp_privilege_tell(struct xmpp_component *k, bool joined)
{
	struct xmpp_env *env = xmpp_c2s_env(k->c);
	const struct xmpp_grant *g;
	struct td_buf all = { 0 };
	bool presence = false, delegated = false;

	if (k->priv == NULL)
		k->priv = td_zalloc(sizeof(*k->priv));
	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++) {
		if (!td_str_eq(g->component, k->domain))
			continue;
		presence |= g->presence;
		delegated |= g->n_delegated > 0;
		for (size_t d = 0; d < g->n_domains; d++) {
			td_buf_adds(&all, g->domains[d]);
			td_buf_addc(&all, ' ');
		}
		write_perms(g, &all);
		write_delegated(g, &all);
	}
	if (!td_str_eq(td_buf_str(&all), td_buf_str(&k->priv->told))) {
		for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++)
			for (size_t d = 0; td_str_eq(g->component, k->domain) && d < g->n_domains;
			     d++)
				tell_of(k, g, g->domains[d]);
		if (delegated)
			xmpp_delegation_joined(k);
		for (unsigned w = 0; presence && joined && w < env->n_workers; w++) {
			struct dump *dump = td_alloc(sizeof(*dump));

			dump->component = td_strndup(k->domain);
			env->host->post(env, w, dump_presence, dump);
		}
	}
	td_buf_fini(&k->priv->told);
	k->priv->told = all;
}

void
xmpp_privilege_free(struct xmpp_component *k)
{
	struct seen *e;
	size_t i = 0;

	if (k->priv == NULL)
		return;
	while ((e = td_map_next(&k->priv->seen, &i)) != NULL)
		free(e);
	td_map_fini(&k->priv->seen);
	td_buf_fini(&k->priv->told);
	free(k->priv);
	k->priv = NULL;
}

/* ---- from the component ---- */

static void
refuse(struct xmpp_component *k, const struct xmpp_stanza *s, enum xmpp_error e)
{
	xmpp_bounce(xmpp_c2s_env(k->c), s, e, NULL);
}

struct letter {
	struct xmpp_stanza *s, *m; /* the component's, and the one inside */
};

/* Section 9, rule 4: what the account itself could do. */
static void
send_for(struct xmpp_user *u, void *arg)
{
	struct letter *l = arg;

	if (!u->exists || u->disabled) {
		xmpp_bounce(u->env, l->s, XE_FORBIDDEN, NULL);
	} else if (xmpp_is_blocked(u, &l->m->to)) {
		xmpp_bounce(u->env, l->s, XE_NOT_ACCEPTABLE, NULL);
	} else {
		xmpp_route(u->env, l->m);
		l->m = NULL;
	}
	xmpp_stanza_unref(&l->m);
	xmpp_stanza_unref(&l->s);
	free(l);
}

static void
send_there(struct xmpp_env *env, void *arg)
{
	struct letter *l = arg;

	xmpp_user_with(env, l->m->from.bare, send_for, l);
}

/* 5.3: a message in the name of the server or one of its accounts. */
static void
send_message(struct xmpp_component *k, struct xmpp_stanza *s, const struct xmpp_node *priv)
{
	struct xmpp_env *env = xmpp_c2s_env(k->c);
	const struct xmpp_grant *g = grant_for(env, k->domain, s->to.domain);
	struct xmpp_node *fwd = xmpp_node_child(priv, NS_FORWARD, "forwarded"), *n;
	struct td_arena *a;
	struct xmpp_stanza *m;

	n = fwd != NULL ? xmpp_node_child(fwd, NS_CLIENT, "message") : NULL;
	if (g == NULL || !g->message) {
		refuse(k, s, XE_FORBIDDEN);
		return;
	}
	if (n == NULL) {
		refuse(k, s, XE_BAD_REQUEST);
		return;
	}
	a = td_arena_new(2048);
	(void)xmpp_stanza_from_node(a, xmpp_node_copy(a, n), &m, NULL);
	if (m->from.full.p == NULL || m->from.resource.p != NULL ||
	    !td_str_eq(m->from.domain, s->to.domain)) {
		refuse(k, s, XE_FORBIDDEN);
	} else if (m->to.full.p == NULL) {
		refuse(k, s, m->flags & XF_BAD_TO ? XE_JID_MALFORMED : XE_BAD_REQUEST);
	} else if (m->from.local.p == NULL) {
		xmpp_route(env, m);
		return;
	} else {
		struct letter *l = td_alloc(sizeof(*l));

		xmpp_stanza_seal(s); /* they go to another thread */
		xmpp_stanza_seal(m);
		*l = (struct letter){ xmpp_stanza_ref(s), m };
		env->host->post(env, xmpp_owner(env, m->from.bare), send_there, l);
		return;
	}
	xmpp_stanza_unref(&m);
}

static bool
type_granted(struct td_str granted, unsigned type)
{
	return td_str_ieq(granted, TD_STR("both")) ||
	       td_str_ieq(granted, type == XT_GET ? TD_STR("get") : TD_STR("set"));
}

/* 6.3: the rules for a request inside a request; <s> is for an account's bare address. */
static bool
iq_granted(const struct xmpp_grant *g, const struct xmpp_stanza *s, const struct xmpp_node *outer)
{
	const struct xmpp_node *n = xmpp_node_child(outer, NS_CLIENT, "iq");
	const struct xmpp_node *payload = n != NULL ? xmpp_node_child(n, NULL, NULL) : NULL;
	struct td_str from = n != NULL ? xmpp_node_attr(n, "from") : TD_STR_NULL;

	if (payload == NULL || payload->ns == NULL ||
	    !td_str_eqc(xmpp_node_attr(n, "type"), xmpp_type_name((enum xmpp_type)s->type)))
		return false;
	if (from.p != NULL) {
		struct td_arena *a = td_arena_new(256);
		struct xmpp_jid j;
		bool ok = xmpp_jid_parse(a, from, &j, NULL) == 0 && td_str_eq(j.full, s->to.full);

		td_arena_free(a);
		if (!ok)
			return false;
	}
	for (size_t i = 0; i < g->n_iqs; i++)
		if (td_str_eqc(g->iqs[i].ns, payload->ns))
			return type_granted(g->iqs[i].value, s->type);
	return false;
}

bool
xmpp_privilege_stanza(struct xmpp_component *k, struct xmpp_stanza *s)
{
	struct xmpp_env *env = xmpp_c2s_env(k->c);
	const struct xmpp_grant *g;
	const struct xmpp_node *n;

	if (s->kind == XK_MESSAGE && s->to.local.p == NULL && s->type != XT_ERROR &&
	    (n = xmpp_node_child(s->root, NS_PRIVILEGE, "privilege")) != NULL &&
	    env->host->domain(env, s->to.domain) == XD_LOCAL) {
		send_message(k, s, n);
		return true;
	}
	if (s->kind != XK_IQ || (s->type != XT_GET && s->type != XT_SET))
		return false;
	n = xmpp_stanza_payload(s);
	if (xmpp_node_is(n, NS_PRIVILEGE, "privileged_iq")) {
		g = s->to.local.p != NULL && s->to.resource.p == NULL
			    ? grant_for(env, k->domain, s->to.domain)
			    : NULL;
		if (g == NULL || !iq_granted(g, s, n)) {
			refuse(k, s, XE_FORBIDDEN);
			return true;
		}
		s->flags |= XF_PRIVILEGED;
	} else if (xmpp_node_is(n, NS_ROSTER, "query") && s->to.local.p != NULL &&
		   (g = grant_for(env, k->domain, s->to.domain)) != NULL &&
		   (s->type == XT_GET ? g->roster_get : g->roster_set)) {
		s->flags |= XF_PRIVILEGED;
	}
	return false;
}

/* ---- requests in the name of an account, on its worker ---- */

struct errand {
	struct xmpp_stanza *s; /* the component's request */
	struct td_str id;      /* of the request inside, in <s> */
};

static void
on_answer(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg)
{
	struct errand *e = arg;
	struct xmpp_iq iq = { .env = env, .s = e->s };

	if (answer != NULL) {
		struct xmpp_stanza *copy = xmpp_stanza_dup(answer);
		struct td_buf b = { 0 };

		xmpp_stanza_set_id(copy, e->id);
		td_buf_addz(&b, "<privilege xmlns='" NS_PRIVILEGE "'><forwarded xmlns='" NS_FORWARD
				"'>");
		xmpp_stanza_write(copy, true, &b);
		td_buf_addz(&b, "</forwarded></privilege>");
		xmpp_iq_result(&iq, td_buf_str(&b));
		td_buf_fini(&b);
		xmpp_stanza_unref(&copy);
	} else if (!env->ending) {
		xmpp_iq_error(&iq, XE_REMOTE_SERVER_TIMEOUT, NULL);
	}
	xmpp_stanza_unref(&e->s);
	free(e);
}

static int
privileged_iq(struct xmpp_iq *iq)
{
	struct xmpp_jid me = xmpp_jid_view(iq->user->bare);
	struct td_arena *a;
	struct xmpp_stanza *m;
	struct errand *e;

	if (!(iq->s->flags & XF_PRIVILEGED)) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	a = td_arena_new(2048);
	(void)xmpp_stanza_from_node(
		a, xmpp_node_copy(a, xmpp_node_child(iq->payload, NS_CLIENT, "iq")), &m, NULL);
	if (m->flags & XF_BAD_TO) {
		xmpp_iq_error(iq, XE_JID_MALFORMED, NULL);
		xmpp_stanza_unref(&m);
		return XMPP_DONE;
	}
	xmpp_stanza_set_from(m, &me);
	if (m->to.full.p == NULL)
		xmpp_stanza_set_to(m, &me);
	e = td_alloc(sizeof(*e));
	e->s = xmpp_stanza_ref(iq->s);
	e->id = xmpp_node_attr(xmpp_node_child(iq->payload, NS_CLIENT, "iq"), "id");
	xmpp_request(iq->env, m, ANSWER_MS, on_answer, e);
	return XMPP_LATER;
}

/* ---- what components see ---- */

static void
send_copy(struct xmpp_env *env, const struct xmpp_stanza *s, const struct xmpp_grant *g)
{
	struct xmpp_jid to = xmpp_jid_view(g->component);
	struct xmpp_stanza *copy = xmpp_stanza_readdress(s, &to);

	copy->flags = XF_PRIVILEGED | XF_NO_BOUNCE;
	xmpp_route(env, copy);
}

/* 7.1: initial and unavailable presence, nothing between. */
static void
on_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	struct xmpp_env *env = sess->env;
	const struct xmpp_grant *g;

	if (!grants(env)->any_presence || (available && !first))
		return;
	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++)
		if (g->presence && xmpp_grant_covers(g, sess->user->domain))
			send_copy(env, s, g);
}

/* 7.4: presence of a contact whose presence the account gets. */
static int
on_arrived(struct xmpp_user *u, struct xmpp_stanza **s)
{
	const struct grants *gs = grants(u->env);
	const struct xmpp_contact *c;
	const struct xmpp_grant *g;

	if (!gs->any_tap || (*s)->kind != XK_PRESENCE ||
	    ((*s)->type != XT_NONE && (*s)->type != XT_UNAVAILABLE))
		return XMPP_PASS;
	c = xmpp_user_contact(u, (*s)->from.bare);
	if (c == NULL || !(c->sub & STORE_SUB_TO))
		return XMPP_PASS;
	for (size_t i = 0; (g = xmpp_grant_at(u->env, i)) != NULL; i++)
		if (g->roster_presence && xmpp_grant_covers(g, u->domain))
			send_copy(u->env, *s, g);
	return XMPP_PASS;
}

bool
xmpp_privilege_taps(struct xmpp_env *env, struct td_str domain)
{
	const struct grants *gs = grants(env);
	const struct xmpp_grant *g;

	if (gs == NULL || !gs->any_tap)
		return false;
	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++)
		if (g->roster_presence && xmpp_grant_covers(g, domain))
			return true;
	return false;
}

/* Section 8, rule 2: one presence once, however many accounts have the contact. */
bool
xmpp_privilege_seen(struct xmpp_component *k, const struct xmpp_stanza *s)
{
	uint64_t hash = td_str_hash(s->inner);
	struct seen *e;

	if (s->kind != XK_PRESENCE || k->priv == NULL)
		return false;
	e = td_map_find(&k->priv->seen, s->from.full);
	if (s->type == XT_UNAVAILABLE) {
		free(td_map_del(&k->priv->seen, s->from.full));
		return e == NULL;
	}
	if (e != NULL) {
		bool same = e->hash == hash;

		e->hash = hash;
		return same;
	}
	if (k->priv->seen.len >= SEEN_MAX)
		return false;
	e = td_alloc(sizeof(*e) + s->from.full.len);
	memcpy(e->text, s->from.full.p, s->from.full.len);
	e->jid = td_str(e->text, s->from.full.len);
	e->hash = hash;
	(void)td_map_set(&k->priv->seen, e->jid, e);
	return false;
}

void
xmpp_privilege_push(struct xmpp_user *u, struct td_str query)
{
	const struct grants *gs = grants(u->env);
	struct xmpp_jid me = xmpp_jid_view(u->bare);
	const struct xmpp_grant *g;

	if (gs == NULL || !gs->any_push)
		return;
	for (size_t i = 0; (g = xmpp_grant_at(u->env, i)) != NULL; i++) {
		struct xmpp_jid to = xmpp_jid_view(g->component);
		struct xmpp_stanza *s;
		char id[16] = "push-";

		if (!g->roster_push || !xmpp_grant_covers(g, u->domain))
			continue;
		td_random_id(id + 5, 10);
		s = xmpp_stanza_new(XK_IQ, XT_SET);
		s->flags |= XF_NO_BOUNCE;
		xmpp_stanza_set_id(s, td_cstr(id));
		xmpp_stanza_set_from(s, &me);
		xmpp_stanza_set_to(s, &to);
		xmpp_stanza_append_raw(s, query);
		xmpp_route(u->env, s);
	}
}

/* ---- the module ---- */

static void
tell_again(struct xmpp_component *k, void *arg)
{
	(void)arg;
	xmpp_privilege_tell(k, true);
}

static void
privilege_reconfigured(struct xmpp_env *env)
{
	grants_free(env);
	grants_read(env);
	xmpp_components_each(env, tell_again, NULL);
}

static const struct xmpp_iq_entry privilege_iqs[] = {
	{ NS_PRIVILEGE, "privileged_iq", IQ_GET | IQ_SET | IQ_TO_ACCOUNT, privileged_iq },
	{ 0 },
};

const struct xmpp_module xep_0356_privilege = {
	.name = "xep-0356-privilege",
	.xep = "0356",
	.doc = "Components that see rosters and presence of accounts and act for them, as far as "
	       "the configuration lets them",
	.version = "0.4.1",
	.iqs = privilege_iqs,
	.start = grants_read,
	.stop = grants_free,
	.reconfigured = privilege_reconfigured,
	.arrived = on_arrived,
	.presence = on_presence,
};
