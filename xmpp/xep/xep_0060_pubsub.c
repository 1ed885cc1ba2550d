/* xep-0060 - publish-subscribe: the table of requests, and the service (service = "pubsub").
 *
 * A request to a service's domain comes to pubsub_deliver, one to an account to xep_0163_pep.c; both call
 * ps_request: the host's nodes are loaded, the row for the request is found, what the row asks for is checked. */
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/deliver.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0030_disco.h"

#include <stdlib.h>

#define R_GET 0x01u
#define R_SET 0x02u
#define R_NODE 0x04u  /* node='' of a node that is there */
#define R_OWNER 0x08u /* by an owner of it */

static const struct row {
	const char *ns, *name;
	uint32_t flags;
	void (*run)(struct ps_req *r);
} rows[] = {
	{ NS_PUBSUB, "publish", R_SET, ps_do_publish },
	{ NS_PUBSUB, "retract", R_SET | R_NODE, ps_do_retract },
	{ NS_PUBSUB, "items", R_GET | R_NODE, ps_do_items },
	{ NS_PUBSUB, "subscribe", R_SET | R_NODE, ps_do_subscribe },
	{ NS_PUBSUB, "unsubscribe", R_SET | R_NODE, ps_do_unsubscribe },
	{ NS_PUBSUB, "options", R_GET | R_NODE, ps_get_options },
	{ NS_PUBSUB, "options", R_SET | R_NODE, ps_set_options },
	{ NS_PUBSUB, "default", R_GET, ps_get_default_options },
	{ NS_PUBSUB, "subscriptions", R_GET, ps_get_subscriptions },
	{ NS_PUBSUB, "affiliations", R_GET, ps_get_affiliations },
	{ NS_PUBSUB, "create", R_SET, ps_do_create },
	{ NS_PUBSUB_OWNER, "configure", R_GET | R_NODE | R_OWNER, ps_get_config },
	{ NS_PUBSUB_OWNER, "configure", R_SET | R_NODE | R_OWNER, ps_set_config },
	{ NS_PUBSUB_OWNER, "default", R_GET, ps_get_default },
	{ NS_PUBSUB_OWNER, "delete", R_SET | R_NODE | R_OWNER, ps_do_delete },
	{ NS_PUBSUB_OWNER, "purge", R_SET | R_NODE | R_OWNER, ps_do_purge },
	{ NS_PUBSUB_OWNER, "affiliations", R_GET | R_NODE | R_OWNER, ps_owner_get_affiliations },
	{ NS_PUBSUB_OWNER, "affiliations", R_SET | R_NODE | R_OWNER, ps_owner_set_affiliations },
	{ NS_PUBSUB_OWNER, "subscriptions", R_GET | R_NODE | R_OWNER, ps_owner_get_subscriptions },
	{ NS_PUBSUB_OWNER, "subscriptions", R_SET | R_NODE | R_OWNER, ps_owner_set_subscriptions },
};

/* ---- one request, the nodes in memory ---- */

static bool
check_row(struct ps_req *r, const struct row *row)
{
	if ((row->flags & R_NODE) == 0)
		return true;
	if (r->name.len == 0) {
		ps_error(r, XE_BAD_REQUEST, "nodeid-required");
		return false;
	}
	if (r->node == NULL) {
		/* as if the account were not there, for those who may not know */
		if (ps_is_stranger(r->host, &r->s->from))
			r->verdict = XMPP_PASS;
		else
			ps_error(r, XE_ITEM_NOT_FOUND, NULL);
		return false;
	}
	if ((row->flags & R_OWNER) && !ps_is_owner(r->node, &r->s->from)) {
		ps_error(r, XE_FORBIDDEN, NULL);
		return false;
	}
	return true;
}

static void
run_pubsub(struct ps_req *r)
{
	uint32_t type = r->s->type == XT_GET ? R_GET : R_SET;

	r->what = xmpp_node_child(r->pubsub, NULL, NULL);
	if (r->what == NULL) {
		ps_error(r, XE_BAD_REQUEST, NULL);
		return;
	}
	if (xmpp_node_next_elem(r->what) != NULL) {
		if (strcmp(r->what->name, "options") == 0 ||
		    (strcmp(r->what->name, "configure") == 0 &&
		     strcmp(r->pubsub->ns, NS_PUBSUB) == 0)) {
			ps_error(r, XE_BAD_REQUEST,
				 NULL); /* they follow what they belong to (6.3.7, 8.1.3) */
			return;
		}
		if (strcmp(r->what->name, "publish-options") == 0)
			r->what = xmpp_node_next_elem(r->what);
	}
	r->name = xmpp_node_attr(r->what, "node");
	r->node = ps_node_find(r->host, r->name.p != NULL ? r->name : TD_STR(""));
	if (r->host->pep && td_str_eqc(r->name, NS_BOOKMARKS_OLD) && ps_bookmarks_request(r))
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((rows[i].flags & type) && strcmp(rows[i].name, r->what->name) == 0 &&
		    strcmp(rows[i].ns, r->pubsub->ns) == 0) {
			if (check_row(r, &rows[i]))
				rows[i].run(r);
			return;
		}
	if (ps_is_stranger(r->host, &r->s->from))
		r->verdict = XMPP_PASS;
	else
		ps_error(r, XE_FEATURE_NOT_IMPLEMENTED, NULL);
}

static int
run_request(struct ps_host *h, struct xmpp_stanza *s)
{
	struct ps_req r = { .host = h, .s = s, .pubsub = xmpp_stanza_payload(s) };
	bool info = strcmp(r.pubsub->ns, NS_DISCO_INFO) == 0;

	ps_host_tick(h);
	r.a = td_arena_new(1024);
	r.verdict = XMPP_PASS;
	if (strcmp(r.pubsub->ns, NS_COMMANDS) == 0) {
		ps_do_command(&r);
	} else if (!info && strcmp(r.pubsub->ns, NS_DISCO_ITEMS) != 0) {
		run_pubsub(&r);
	} else {
		r.name = xmpp_node_attr(r.pubsub, "node");
		if (r.name.len > 0)
			r.node = ps_node_find(h, r.name);
		(void)(info ? ps_disco_info(&r) : ps_disco_items(&r));
	}
	td_arena_free(r.a);
	return r.verdict;
}

/* The nodes are in memory now: the stanza begins again. */
static void
resume(struct ps_host *h, void *arg)
{
	struct xmpp_stanza *s = arg;

	if (h == NULL) {
		xmpp_stanza_unref(&s);
	} else if (!h->loaded) {
		ps_refuse(h, s, XE_INTERNAL_SERVER_ERROR, NULL);
		xmpp_stanza_unref(&s);
	} else if (h->pep) {
		xmpp_iq_dispatch(h->env, h->user, xmpp_session_find(h->user, s->from.resource), s);
	} else {
		xmpp_deliver_service(h->env, s);
	}
}

/* The node a request is about. */
static struct ps_node *
node_of(const struct ps_host *h, const struct xmpp_stanza *s)
{
	const struct xmpp_node *p = xmpp_stanza_payload(s), *what = xmpp_node_child(p, NULL, NULL);
	struct td_str name = xmpp_node_attr(p, "node");

	if (name.len == 0 && what != NULL)
		name = xmpp_node_attr(what, "node");
	return name.len > 0 ? ps_node_find(h, name) : NULL;
}

static void
on_trust(struct ps_host *h, struct ps_node *n, void *arg)
{
	struct xmpp_stanza *s = arg;

	(void)n;
	if (h != NULL && h->loaded && !h->stale)
		(void)run_request(h, s);
	else if (h != NULL)
		ps_refuse(h, s, XE_INTERNAL_SERVER_ERROR, NULL);
	xmpp_stanza_unref(&s);
}

int
ps_request(struct ps_host *h, struct xmpp_stanza *s)
{
	struct ps_node *n = h->loaded && !h->stale && !h->pep ? node_of(h, s) : NULL;

	/* whether the asker may read is in the owners' rosters */
	if (n != NULL && ps_needs_trust(n) && ps_affiliation(n, &s->from) == PSF_NONE) {
		ps_trust_ask(n, &s->from.bare, 1, on_trust, xmpp_stanza_ref(s));
		return XMPP_LATER;
	}
	if (h->loaded && !h->stale)
		return run_request(h, s);
	ps_host_with(h, resume, xmpp_stanza_ref(s));
	return XMPP_LATER;
}

/* ---- the service ---- */

static void
authorize(struct ps_host *h, void *arg)
{
	struct xmpp_stanza *s = arg;

	if (h != NULL && h->loaded)
		(void)ps_authorization(h, s);
	xmpp_stanza_unref(&s);
}

static bool
is_ours(const struct xmpp_stanza *s)
{
	const struct xmpp_node *p = xmpp_stanza_payload(s);

	if (s->kind != XK_IQ || (s->type != XT_GET && s->type != XT_SET) || p == NULL ||
	    p->ns == NULL)
		return false;
	return strcmp(p->ns, NS_PUBSUB) == 0 || strcmp(p->ns, NS_PUBSUB_OWNER) == 0 ||
	       (xmpp_node_is(p, NS_COMMANDS, "command") && s->type == XT_SET) ||
	       ((strcmp(p->ns, NS_DISCO_INFO) == 0 || strcmp(p->ns, NS_DISCO_ITEMS) == 0) &&
		s->type == XT_GET);
}

static void
pubsub_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	if (s->to.local.p != NULL || s->from.full.p == NULL) {
		xmpp_bounce(env, s, XE_ITEM_NOT_FOUND, NULL);
		xmpp_stanza_unref(&s);
	} else if (is_ours(s)) {
		(void)ps_request(ps_host_service(env, s->to.domain), s);
		xmpp_stanza_unref(&s);
	} else if (s->kind == XK_MESSAGE && ps_is_authorization(s)) {
		ps_host_with(ps_host_service(env, s->to.domain), authorize, s);
	} else {
		xmpp_deliver_server(env, s);
	}
}

static void
pubsub_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_PUBSUB] = td_zalloc(sizeof(struct td_map));
	ps_watch_start(env);
}

static void
pubsub_stop(struct xmpp_env *env)
{
	struct td_map *services = env->module_data[XMPP_SLOT_PUBSUB];
	struct ps_host *h;
	size_t i = 0;

	while ((h = td_map_next(services, &i)) != NULL)
		ps_host_free(h);
	td_map_fini(services);
	free(services);
	env->module_data[XMPP_SLOT_PUBSUB] = NULL;
	ps_watch_stop(env);
}

/* ---- subscribers of ours ---- */

/* pubsub#show-values: resources that show something else do not get it. */
static int
pubsub_to_session(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	if ((s->flags & XF_NO_SHOW) == 0)
		return XMPP_PASS;
	return sess->available && (s->flags & (1u << (XF_NO_SHOW_AT + sess->show))) == 0
		       ? XMPP_PASS
		       : XMPP_DONE;
}

static void
pubsub_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	(void)s;
	(void)first;
	if (!available)
		ps_watch_gone(sess);
}

const struct xmpp_module xep_0060_pubsub = {
	.name = "xep-0060-pubsub",
	.xep = "0060",
	.doc = "Publish-subscribe at a domain with service = \"pubsub\"; collections are not "
	       "there",
	.version = "1.30.0",
	.start = pubsub_start,
	.stop = pubsub_stop,
	.to_session = pubsub_to_session,
	.presence = pubsub_presence,
	.session_ended = ps_watch_gone,
	.service = "pubsub",
	.service_deliver = pubsub_deliver,
};
