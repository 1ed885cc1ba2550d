/* xep-0163 - personal eventing: every account is a publish-subscribe service for those who see its presence.
 *
 * Requests come from the dispatcher and go through the table of xep_0060_pubsub.c.  An event to a contact
 * here goes to its bare address with XF_EVENT, and becomes one message for each resource that asked for the node
 * (xmpp_caps_notifies).  When a resource comes online and its capabilities are known, the workers of all whose presence it
 * may see are told, and send the last items.  Contacts of other servers are known by the presence they sent. */
#include "xmpp/xep/xep_0163_pep.h"

#include <stdlib.h>
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0030_disco.h"
#include "xmpp/xep/xep_0115_caps.h"

#define PEERS_MAX 1000u

/* ---- requests ---- */

static int
pep_request(struct xmpp_iq *iq)
{
	return ps_request(ps_host_pep(iq->user), iq->s);
}

/* disco#items of the account needs its nodes in memory; disco about a node is ours. */
static int
pep_disco(struct xmpp_iq *iq)
{
	bool items = strcmp(iq->payload->ns, NS_DISCO_ITEMS) == 0;
	struct td_str node = xmpp_node_attr(iq->payload, "node");

	if (!ps_is_command(node) && (!iq->user->has_nodes || (node.len == 0 && !items)))
		return XMPP_PASS; /* not about a node of ours */
	return ps_request(ps_host_pep(iq->user), iq->s);
}

/* ---- greeting ---- */

/* A resource came online; on its way to the worker of one whose presence it sees. */
struct greeting {
	struct xmpp_caps *caps, *old; /* this worker's own */
	char *owner, *full;
};

static void
greeting_free(struct greeting *g)
{
	xmpp_caps_unref(&g->caps);
	xmpp_caps_unref(&g->old);
	free(g->owner);
	free(g->full);
	free(g);
}

static void
greet_host(struct ps_host *h, void *arg)
{
	struct greeting *g = arg;
	struct xmpp_jid to = xmpp_jid_view(td_cstr(g->full));

	if (h != NULL && h->loaded)
		ps_greet(h, &to, g->caps, g->old);
	greeting_free(g);
}

static void
greet_user(struct xmpp_user *u, void *arg)
{
	if (u->exists && !u->disabled && u->has_nodes)
		ps_host_with(ps_host_pep(u), greet_host, arg);
	else
		greeting_free(arg);
}

static void
greet_there(struct xmpp_env *env, void *arg)
{
	struct greeting *g = arg;

	xmpp_user_with(env, td_cstr(g->owner), greet_user, g);
}

static struct xmpp_caps *
copy_caps(const struct xmpp_caps *c)
{
	const struct td_str *nodes;
	size_t n = xmpp_caps_nodes(c, &nodes);

	return xmpp_caps_new(nodes, n);
}

static void
greet(struct xmpp_env *env, struct td_str owner, struct td_str full, const struct xmpp_caps *caps,
      const struct xmpp_caps *old)
{
	struct greeting *g = td_zalloc(sizeof(*g));
	unsigned index = xmpp_owner(env, owner);

	g->caps = copy_caps(caps);
	g->old = copy_caps(old);
	g->owner = td_strndup(owner);
	g->full = td_strndup(full);
	if (index == env->index)
		greet_there(env, g);
	else
		env->host->post(env, index, greet_there, g);
}

void
xmpp_pep_online(struct xmpp_session *sess, const struct xmpp_caps *old)
{
	const struct xmpp_caps *caps = xmpp_caps_of(sess);
	struct xmpp_user *u = sess->user;
	const struct xmpp_contact *c;
	const struct td_str *nodes;
	size_t i = 0;

	if (xmpp_caps_nodes(caps, &nodes) == 0)
		return;
	xmpp_user_hold(u);
	greet(sess->env, u->bare, sess->jid.full, caps, old);
	while ((c = td_map_next(&u->roster, &i)) != NULL) {
		struct xmpp_jid j = xmpp_jid_view(c->jid);

		if ((c->sub & STORE_SUB_TO) && j.local.p != NULL &&
		    sess->env->host->domain(sess->env, j.domain) == XD_LOCAL)
			greet(sess->env, c->jid, sess->jid.full, caps, old);
	}
	xmpp_user_release(u);
}

/* ---- a contact may see us from now on ---- */

struct newcomer {
	char *owner, *contact;
};

static void
newcomer_there(struct xmpp_env *env, void *arg)
{
	struct newcomer *n = arg;
	struct xmpp_user *u = xmpp_user_find(env, td_cstr(n->contact));
	struct xmpp_session *sess;
	const struct td_str *nodes;

	for (sess = u != NULL ? TAILQ_FIRST(&u->sessions) : NULL; sess != NULL;
	     sess = TAILQ_NEXT(sess, link))
		if (sess->available && xmpp_caps_nodes(xmpp_caps_of(sess), &nodes) > 0)
			greet(env, td_cstr(n->owner), sess->jid.full, xmpp_caps_of(sess), NULL);
	free(n->owner);
	free(n->contact);
	free(n);
}

/* Who lost our presence, or its place in a group, loses the subscriptions it had by that (7.1). */
static void
drop_subscriptions(struct ps_host *h, void *arg)
{
	struct td_str contact = td_cstr(arg);
	struct ps_change *ch = NULL;
	struct ps_refusal why;
	struct ps_node *n;
	size_t i = 0;

	while (h != NULL && h->loaded && (n = td_map_next(&h->nodes, &i)) != NULL) {
		struct ps_sub *s, *next;

		if (n->cfg.access != PSA_PRESENCE && n->cfg.access != PSA_ROSTER)
			continue;
		for (s = LIST_FIRST(&n->subs); s != NULL; s = next) {
			struct xmpp_jid who = xmpp_jid_view(s->jid);

			next = LIST_NEXT(s, link);
			if (!td_str_eq(who.bare, contact) || ps_may_read(n, &who, false, &why))
				continue;
			if (ch == NULL)
				ch = ps_change_new(h, NULL);
			ps_change_subscription(ch, n, s, PSS_NONE);
		}
	}
	if (ch != NULL)
		ps_change_commit(ch);
	free(arg);
}

static void
pep_subscription(struct xmpp_user *u, struct td_str contact, unsigned before, unsigned after)
{
	struct xmpp_env *env = u->env;
	struct xmpp_jid j = xmpp_jid_view(contact);
	bool had = (before & STORE_SUB_FROM) != 0, has = (after & STORE_SUB_FROM) != 0;
	struct newcomer *n;
	unsigned index;

	if (!u->has_nodes)
		return;
	if (had || !has) {
		if (had)
			ps_host_with(ps_host_pep(u), drop_subscriptions, td_strndup(contact));
		return;
	}
	if (env->host->domain(env, j.domain) != XD_LOCAL)
		return;
	n = td_zalloc(sizeof(*n));
	n->owner = td_strndup(u->bare);
	n->contact = td_strndup(contact);
	index = xmpp_owner(env, contact);
	if (index == env->index)
		newcomer_there(env, n);
	else
		env->host->post(env, index, newcomer_there, n);
}

/* ---- what arrives for an account ---- */

/* An event: to the resources that asked for its node. */
static void
spread_event(struct xmpp_user *u, struct xmpp_stanza *s)
{
	const struct xmpp_node *event = xmpp_stanza_payload(s);
	const struct xmpp_node *items = event != NULL ? xmpp_node_child(event, NULL, NULL) : NULL;
	struct td_str node = items != NULL ? xmpp_node_attr(items, "node") : TD_STR_NULL;
	struct xmpp_session *sess, *next;

	for (sess = TAILQ_FIRST(&u->sessions); sess != NULL; sess = next) {
		struct xmpp_stanza *one;

		next = TAILQ_NEXT(sess, link);
		if (!sess->available || !xmpp_caps_notifies(xmpp_caps_of(sess), node))
			continue;
		one = xmpp_stanza_share(s, &sess->jid);
		one->flags = (one->flags & ~XF_EVENT) | XF_COPY;
		xmpp_session_send(sess, one);
		xmpp_stanza_unref(&one);
	}
}

struct peer_call {
	char *owner, *full;
};

static void
peer_known(struct ps_host *h, struct td_str full, struct xmpp_caps *caps)
{
	struct xmpp_jid who = xmpp_jid_view(full);
	struct ps_peer *p = td_map_find(&h->peers, full);
	struct xmpp_caps *old = p != NULL ? p->caps : NULL;

	if (p == NULL) {
		if (h->peers.len >= PEERS_MAX)
			return;
		p = td_zalloc(sizeof(*p) + full.len + 1);
		memcpy(p->jid, full.p, full.len);
		(void)td_map_set(&h->peers, td_str(p->jid, full.len), p);
	}
	p->caps = xmpp_caps_ref(caps);
	if (h->loaded)
		ps_greet(h, &who, caps, old);
	xmpp_caps_unref(&old);
}

static void
on_peer_caps(struct xmpp_env *env, struct xmpp_caps *caps, void *arg)
{
	struct peer_call *c = arg;
	struct xmpp_user *u = caps != NULL ? xmpp_user_find(env, td_cstr(c->owner)) : NULL;
	const struct td_str *nodes;

	if (u != NULL && u->state == XU_READY && u->exists && xmpp_caps_nodes(caps, &nodes) > 0) {
		struct ps_host *h = ps_host_pep(u);

		peer_known(h, td_cstr(c->full), caps);
	}
	free(c->owner);
	free(c->full);
	free(c);
}

static void
forget_peer(struct xmpp_user *u, struct td_str full)
{
	struct ps_host *h = ps_host_known(u);
	struct ps_peer *p = h != NULL ? td_map_del(&h->peers, full) : NULL;

	if (p != NULL) {
		xmpp_caps_unref(&p->caps);
		free(p);
	}
}

/* Presence of another server's user who may see ours. */
static void
peer_presence(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct xmpp_jid me = xmpp_jid_view(u->bare);
	struct peer_call *c;

	if (s->type == XT_UNAVAILABLE) {
		forget_peer(u, s->from.full);
		return;
	}
	if (s->type != XT_NONE || s->from.resource.p == NULL ||
	    xmpp_node_child(s->root, NS_CAPS, "c") == NULL || !xmpp_presence_may_see(u, &s->from))
		return;
	c = td_zalloc(sizeof(*c));
	c->owner = td_strndup(u->bare);
	c->full = td_strndup(s->from.full);
	xmpp_caps_resolve(u->env, s, &me, on_peer_caps, c);
}

static void
authorize(struct ps_host *h, void *arg)
{
	struct xmpp_stanza *s = arg;

	if (h != NULL && h->loaded)
		(void)ps_authorization(h, s);
	xmpp_stanza_unref(&s);
}

static int
pep_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp;

	if (s->kind == XK_MESSAGE && (s->flags & XF_EVENT)) {
		spread_event(u, s);
		return XMPP_DONE;
	}
	if (s->to.resource.p != NULL || s->from.full.p == NULL)
		return XMPP_PASS;
	if (s->kind == XK_PRESENCE && !(s->flags & XF_FROM_CLIENT))
		peer_presence(u, s);
	/* an owner's answer to somebody who wants to subscribe (XEP-0060 8.6) */
	if (s->kind == XK_MESSAGE && u->has_nodes && td_str_eq(s->from.bare, u->bare) &&
	    ps_is_authorization(s)) {
		ps_host_with(ps_host_pep(u), authorize, xmpp_stanza_ref(s));
		return XMPP_DONE;
	}
	return XMPP_PASS;
}

/* ---- requests that wait for an owner ---- */

static void
send_pending(struct ps_host *h, void *arg)
{
	struct xmpp_jid me = xmpp_jid_view(td_cstr(arg));

	if (h != NULL && h->loaded)
		ps_send_pending(h, &me);
	free(arg);
}

static void
pep_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	(void)s;
	if (available && first && sess->user->has_nodes)
		ps_host_with(ps_host_pep(sess->user), send_pending, td_strndup(sess->jid.full));
}

static void
pep_unloaded(struct xmpp_user *u)
{
	struct ps_host *h = ps_host_known(u);

	if (h == NULL)
		return;
	xmpp_user_set_data(u, XMPP_USER_SLOT_PEP, NULL);
	ps_host_free(h);
}

static void
pep_removed(struct xmpp_env *env, struct td_str bare)
{
	struct xmpp_user *u = xmpp_user_find(env, bare);
	struct ps_host *h = u != NULL ? ps_host_known(u) : NULL;

	if (h != NULL)
		ps_host_untimed(h);
}

/* ---- disco of an account ---- */

static void
pep_info(struct xmpp_disco_ext *self, struct xmpp_user *u, struct td_buf *out)
{
	(void)self;
	td_buf_addz(out, "<identity category='pubsub' type='pep'/>");
	ps_disco_features(u->env, u->domain, out);
}

static void
pep_items(struct xmpp_disco_ext *self, struct xmpp_user *u, const struct xmpp_jid *who,
	  struct td_buf *out)
{
	struct ps_host *h = ps_host_known(u);

	(void)self;
	if (h != NULL && h->loaded)
		ps_disco_nodes(h, who, out);
}

static void
pep_start(struct xmpp_env *env)
{
	struct xmpp_disco_ext *ext = td_zalloc(sizeof(*ext));

	ext->account = pep_info;
	ext->account_items = pep_items;
	env->module_data[XMPP_SLOT_PEP] = ext;
	xmpp_disco_extend(env, ext);
}

static void
pep_stop(struct xmpp_env *env)
{
	free(env->module_data[XMPP_SLOT_PEP]);
	env->module_data[XMPP_SLOT_PEP] = NULL;
}

static const struct xmpp_iq_entry pep_iqs[] = {
	{ NS_PUBSUB, "pubsub", IQ_GET | IQ_SET | IQ_TO_ACCOUNT, pep_request },
	{ NS_PUBSUB_OWNER, "pubsub", IQ_GET | IQ_SET | IQ_TO_ACCOUNT, pep_request },
	{ NS_COMMANDS, "command", IQ_SET | IQ_TO_ACCOUNT, pep_request },
	{ NS_DISCO_INFO, "query", IQ_GET | IQ_TO_ACCOUNT, pep_disco },
	{ NS_DISCO_ITEMS, "query", IQ_GET | IQ_TO_ACCOUNT, pep_disco },
	{ 0 },
};

const struct xmpp_module xep_0163_pep = {
	.name = "xep-0163-pep",
	.xep = "0163",
	.doc = "Personal eventing: every account publishes for those who see its presence "
	       "(XEP-0222, 0223, 0084, 0172, 0080, 0107, 0108, 0118, 0384, 0490 and others)",
	.version = "1.2.2",
	.account_features = ps_pep_features,
	.iqs = pep_iqs,
	.start = pep_start,
	.stop = pep_stop,
	.arrived = pep_arrived,
	.presence = pep_presence,
	.subscription = pep_subscription,
	.user_unloaded = pep_unloaded,
	.account_removed = pep_removed,
};
