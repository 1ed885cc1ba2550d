/* xep-0355 - namespace delegation (XEP-0355 0.5): requests in namespaces the configuration gives to a component
 * go there, inside a request of the domain's, and its answer comes back as ours.
 *
 * What the component can do with a namespace it says in disco#info of two nodes, asked when it connects; all workers
 * keep the answers until it leaves. */
#include "xmpp/component.h"

#include <stdlib.h>
#include "xmpp/c2s.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/delegation.h"

#define ANSWER_MS 60000u
#define INFO_MAX 65536u /* bytes of features kept for a namespace */
#define NS_ANY_NODE NS_DELEGATION ":bare:disco#info:*"
#define NS_ANY_ITEMS NS_DELEGATION ":bare:disco#items:*"

struct info {
	struct info *next;
	bool account;
	char *component, *domain, *ns;
	struct td_buf xml;
};

/* ---- the requests ---- */

struct errand {
	struct xmpp_stanza *s; /* the request, as it came */
};

/* An answer is an answer: nothing in it is to be unpacked once more. */
static bool
is_nested(const struct xmpp_stanza *r)
{
	const struct xmpp_node *n = xmpp_node_child(r->root, NULL, NULL);

	for (; n != NULL; n = xmpp_node_next_elem(n))
		if (xmpp_node_is(n, NS_FORWARD, "forwarded") ||
		    (n->ns != NULL && strcmp(n->ns, NS_DELEGATION) == 0))
			return true;
	return false;
}

static bool
same(struct td_str a, struct td_str b)
{
	return (a.p == NULL) == (b.p == NULL) && td_str_eq(a, b);
}

/* The answer inside <answer>, if it fits the request (4.3). */
static struct xmpp_stanza *
unpack(const struct errand *e, const struct xmpp_stanza *answer)
{
	const struct xmpp_node *n = xmpp_node_child(answer->root, NS_DELEGATION, "delegation");
	struct xmpp_stanza *r;
	struct td_arena *a;

	n = n != NULL ? xmpp_node_child(n, NS_FORWARD, "forwarded") : NULL;
	n = n != NULL ? xmpp_node_child(n, NS_CLIENT, "iq") : NULL;
	if (answer->type != XT_RESULT || n == NULL)
		return NULL;
	a = td_arena_new(2048);
	(void)xmpp_stanza_from_node(a, xmpp_node_copy(a, n), &r, NULL);
	/* a request without 'to' is answered without 'from', or by the account */
	if (r->type == XT_RESULT && same(r->id, e->s->id) && xmpp_jid_eq(&r->to, &e->s->from) &&
	    (same(r->from.full, e->s->to.full) ||
	     (e->s->to.full.p == NULL && td_str_eq(r->from.full, e->s->from.bare))) &&
	    !(r->flags & (XF_BAD_FROM | XF_BAD_TO)) && !is_nested(r))
		return r;
	xmpp_stanza_unref(&r);
	return NULL;
}

static void
on_answer(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg)
{
	struct errand *e = arg;
	struct xmpp_stanza *r = answer != NULL ? unpack(e, answer) : NULL;

	if (r != NULL) {
		xmpp_route(env, r);
	} else if (!env->ending) {
		if (answer != NULL && answer->type == XT_RESULT)
			td_log_notice(&env->log, "delegation-bad-answer", "component=%s to=%s",
				      td_esc(answer->from.full), td_esc(e->s->from.full));
		xmpp_bounce(env, e->s, XE_SERVICE_UNAVAILABLE, NULL);
	}
	xmpp_stanza_unref(&e->s);
	free(e);
}

void
delegation_hand_on(struct xmpp_iq *iq, struct td_str entity, struct td_str domain)
{
	struct errand *e = td_alloc(sizeof(*e));
	struct xmpp_stanza *m = xmpp_stanza_new(XK_IQ, XT_SET);
	struct xmpp_jid from = xmpp_jid_view(domain), to = xmpp_jid_view(entity);
	struct td_buf b = { 0 };

	e->s = xmpp_stanza_ref(iq->s);
	xmpp_stanza_set_from(m, &from);
	xmpp_stanza_set_to(m, &to);
	td_buf_addz(&b, "<delegation xmlns='" NS_DELEGATION "'><forwarded xmlns='" NS_FORWARD "'>");
	xmpp_stanza_write(iq->s, true, &b);
	td_buf_addz(&b, "</forwarded></delegation>");
	xmpp_stanza_append_raw(m, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_request(iq->env, m, ANSWER_MS, on_answer, e);
}

static bool
has_attributes(const struct xmpp_node *payload, struct td_str names)
{
	struct td_str word;

	while ((word = xmpp_next_word(&names)).len > 0) {
		const struct xmpp_attr *at = payload->attrs;

		while (at != NULL && !(at->ns == NULL && td_str_eqc(word, at->name)))
			at = at->next;
		if (at == NULL)
			return false;
	}
	return true;
}

/* Who manages <ns> for <domain>; <payload> NULL: whatever the attributes. */
static const struct xmpp_grant *
manager(struct xmpp_env *env, struct td_str domain, const char *ns, const struct xmpp_node *payload)
{
	const struct xmpp_grant *g;

	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++) {
		if (!xmpp_grant_covers(g, domain))
			continue;
		for (size_t d = 0; d < g->n_delegated; d++)
			if (td_str_eqc(g->delegated[d].ns, ns) &&
			    (payload == NULL || has_attributes(payload, g->delegated[d].value)))
				return g;
	}
	return NULL;
}

static bool
delegate_to(struct xmpp_iq *iq, const char *ns, const struct xmpp_node *payload)
{
	struct td_str domain = iq->user != NULL ? iq->user->domain : iq->s->to.domain;
	const struct xmpp_grant *g;

	if (iq->user != NULL && (!iq->user->exists || iq->user->disabled))
		return false;
	g = manager(iq->env, domain, ns, payload);
	/* 4.3.1: its own requests are ours to answer */
	if (g == NULL || xmpp_grant_is_of(g, iq->s->from.domain))
		return false;
	delegation_hand_on(iq, g->component, domain);
	return true;
}

bool
xmpp_delegate(struct xmpp_iq *iq)
{
	return iq->payload != NULL && iq->payload->ns != NULL &&
	       delegate_to(iq, iq->payload->ns, iq->payload);
}

bool
xmpp_delegate_node(struct xmpp_iq *iq)
{
	return delegate_to(iq, NS_ANY_NODE, NULL);
}

bool
xmpp_delegate_items(struct xmpp_iq *iq)
{
	return delegate_to(iq, NS_ANY_ITEMS, NULL);
}

/* ---- features ---- */

static void
info_free(struct info *i)
{
	free(i->component);
	free(i->domain);
	free(i->ns);
	td_buf_fini(&i->xml);
	free(i);
}

static void
info_drop(struct xmpp_env *env, const struct info *like, bool all)
{
	struct info **at = (struct info **)&env->module_data[XMPP_SLOT_DELEGATION];

	while (*at != NULL) {
		struct info *i = *at;

		if (strcmp(i->component, like->component) != 0 ||
		    (!all && (i->account != like->account || strcmp(i->domain, like->domain) != 0 ||
			      strcmp(i->ns, like->ns) != 0))) {
			at = &i->next;
			continue;
		}
		*at = i->next;
		info_free(i);
	}
}

static void
info_take(struct xmpp_env *env, void *arg)
{
	struct info *i = arg;

	info_drop(env, i, false);
	i->next = env->module_data[XMPP_SLOT_DELEGATION];
	env->module_data[XMPP_SLOT_DELEGATION] = i;
}

static void
info_forget(struct xmpp_env *env, void *arg)
{
	info_drop(env, arg, true);
	info_free(arg);
}

static struct info *
info_new(const char *component, const char *domain, const char *ns, bool account, struct td_str xml)
{
	struct info *i = td_zalloc(sizeof(*i));

	i->component = td_strdup(component);
	i->domain = td_strdup(domain);
	i->ns = td_strdup(ns);
	i->account = account;
	td_buf_adds(&i->xml, xml);
	return i;
}

static void
on_info(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg)
{
	struct info *ask = arg;
	const struct xmpp_node *q = answer != NULL && answer->type == XT_RESULT
					    ? xmpp_node_child(answer->root, NS_DISCO_INFO, "query")
					    : NULL;

	if (q != NULL) {
		for (const struct xmpp_node *n = xmpp_node_child(q, NULL, NULL); n != NULL;
		     n = xmpp_node_next_elem(n))
			xmpp_node_write(&ask->xml, n, NS_DISCO_INFO);
		if (ask->xml.len <= INFO_MAX)
			for (unsigned w = 0; w < env->n_workers; w++)
				env->host->post(env, w, info_take,
						info_new(ask->component, ask->domain, ask->ns,
							 ask->account, td_buf_str(&ask->xml)));
	}
	info_free(ask);
}

/* 7.2: what can you do with this namespace? */
static void
ask(struct xmpp_env *env, const struct xmpp_grant *g, struct td_str domain, struct td_str ns,
    bool account)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_IQ, XT_GET);
	struct xmpp_jid from = xmpp_jid_view(domain), to = xmpp_jid_view(g->component);
	struct info *i = td_zalloc(sizeof(*i));
	struct td_buf b = { 0 };

	i->component = td_strndup(g->component);
	i->domain = td_strndup(domain);
	i->ns = td_strndup(ns);
	i->account = account;
	xmpp_stanza_set_from(s, &from);
	xmpp_stanza_set_to(s, &to);
	td_buf_addf(&b, "<query xmlns='" NS_DISCO_INFO "' node='" NS_DELEGATION "%s",
		    account ? ":bare:" : "::");
	td_buf_add_xml(&b, ns);
	td_buf_addz(&b, "'/>");
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_request(env, s, ANSWER_MS, on_info, i);
}

void
xmpp_delegation_joined(struct xmpp_component *k)
{
	struct xmpp_env *env = xmpp_c2s_env(k->c);
	const struct xmpp_grant *g;

	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++)
		for (size_t d = 0; td_str_eq(g->component, k->domain) && d < g->n_domains; d++)
			for (size_t n = 0; n < g->n_delegated; n++) {
				/* all nodes are no namespace with features of its own */
				if (td_str_starts(g->delegated[n].ns, NS_DELEGATION))
					continue;
				ask(env, g, g->domains[d], g->delegated[n].ns, false);
				ask(env, g, g->domains[d], g->delegated[n].ns, true);
			}
}

void
xmpp_delegation_left(struct xmpp_env *env, struct td_str component)
{
	char *name = td_strndup(component);

	for (unsigned w = 0; !env->ending && w < env->n_workers; w++)
		env->host->post(env, w, info_forget, info_new(name, "", "", false, TD_STR("")));
	free(name);
}

bool
xmpp_delegation_hides(struct xmpp_env *env, struct td_str domain, const char *feature)
{
	const struct xmpp_grant *g;
	struct td_str f = td_cstr(feature);

	for (size_t i = 0; (g = xmpp_grant_at(env, i)) != NULL; i++) {
		if (!xmpp_grant_covers(g, domain))
			continue;
		for (size_t d = 0; d < g->n_delegated; d++) {
			struct td_str ns = g->delegated[d].ns;

			if (f.len >= ns.len && memcmp(f.p, ns.p, ns.len) == 0 &&
			    (f.len == ns.len || f.p[ns.len] == '#'))
				return true;
		}
	}
	return false;
}

void
xmpp_delegation_info(struct xmpp_env *env, struct td_str domain, bool account, struct td_buf *out)
{
	for (const struct info *i = env->module_data[XMPP_SLOT_DELEGATION]; i != NULL; i = i->next)
		if (i->account == account && td_str_eqc(domain, i->domain) &&
		    manager(env, domain, i->ns, NULL) != NULL)
			td_buf_adds(out, td_buf_str(&i->xml));
}

/* ---- the module ---- */

static void
delegation_stop(struct xmpp_env *env)
{
	struct info *i = env->module_data[XMPP_SLOT_DELEGATION], *next;

	delegation_client_stop(env);
	env->module_data[XMPP_SLOT_DELEGATION] = NULL;
	for (; i != NULL; i = next) {
		next = i->next;
		info_free(i);
	}
}

static const char *const delegation_features[] = { NS_DELEGATION, NULL };

static const struct xmpp_iq_entry delegation_iqs[] = {
	{ NS_DELEGATION, "query", IQ_GET | IQ_TO_HOST, delegation_request },
	{ 0 },
};

const struct xmpp_module xep_0355_delegation = {
	.name = "xep-0355-delegation",
	.xep = "0355",
	.doc = "Namespaces that a component serves in place of the server, or a service in place "
	       "of it for users "
	       "who let it",
	.version = "0.5",
	.features = delegation_features,
	.iqs = delegation_iqs,
	.start = delegation_client_start,
	.stop = delegation_stop,
	.session_ended = delegation_session_ended,
	.user_unloaded = delegation_user_unloaded,
};
