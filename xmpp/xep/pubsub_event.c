/* pubsub_event - notifications (XEP-0060 7.1.2, 12; XEP-0163 4).
 *
 * One stanza is made per event; every receiver gets the same bytes under another address.  An account's event goes
 * to those who subscribed, to the account's own resources and to all who may see its presence.  The last two are filtered
 * where their capabilities are known: a contact here on its own worker (XF_EVENT, xep_0163_pep.c), one of another
 * server by what its presence told us. */
#include <stdlib.h>
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0115_caps.h"

static const enum xmpp_type types[] = { XT_HEADLINE, XT_NORMAL, XT_CHAT };

void
ps_write_item(struct td_buf *out, const struct ps_node *n, struct td_str id,
	      struct td_str publisher, struct td_str payload)
{
	td_buf_addz(out, "<item id='");
	td_buf_add_xml(out, id);
	/* who published is told only where the owner wants it so */
	if (n->cfg.itemreply == 1 && publisher.len > 0) {
		td_buf_addz(out, "' publisher='");
		td_buf_add_xml(out, publisher);
	}
	if (payload.len == 0) {
		td_buf_addz(out, "'/>");
		return;
	}
	td_buf_addz(out, "'>");
	td_buf_adds(out, payload);
	td_buf_addz(out, "</item>");
}

/* ---- one event for many ---- */

#define TREE_MAX 65536u

/* <event>, and what stands behind it.  Others look at the tree (which node, which item: client state indication); what is too
 * large for that shows only its node. */
static struct xmpp_stanza *
event_new(const struct ps_host *h, enum xmpp_type type, struct td_str node, struct td_str event,
	  struct td_str tail)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, type);
	struct xmpp_jid from = xmpp_jid_view(h->jid);
	struct xmpp_node *tree = NULL;
	char id[17];

	if (event.len <= TREE_MAX)
		tree = xmpp_xml_parse(s->arena, event, NS_CLIENT, NULL);
	if (tree != NULL) {
		xmpp_node_append(s->root, tree);
	} else {
		tree = xmpp_node_add(s->arena, s->root, "event", NS_PUBSUB_EVENT);
		tree = xmpp_node_add(s->arena, tree, "items", NULL);
		xmpp_node_set(s->arena, tree, "node", node);
	}
	td_random_id(id, 16);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_stanza_set_from(s, &from);
	s->inner = td_arena_str(s->arena, event);
	s->inner_raw = true;
	s->partial = true;
	if (tail.len > 0)
		xmpp_stanza_append_raw(s, tail);
	s->flags |= XF_NO_STORE | XF_NO_BOUNCE;
	xmpp_stanza_seal(s);
	return s;
}

static void
send_to(struct ps_host *h, struct xmpp_stanza *s, struct td_str jid, uint32_t flags)
{
	struct xmpp_jid to = xmpp_jid_view(jid);
	struct xmpp_stanza *copy = xmpp_stanza_share(s, &to);

	copy->flags |= flags;
	xmpp_route(h->env, copy);
}

/* May <who> have the items, and does the account want to talk to it (XEP-0163 4.3.3, rule 3)? */
static bool
may_tell(const struct ps_node *n, const struct xmpp_jid *who)
{
	struct ps_refusal why;

	return ps_may_read(n, who, false, &why) &&
	       !(n->host->pep && xmpp_is_blocked(n->host->user, who));
}

/* What is told: the stanza for all, and the text it was made from. */
struct told {
	struct xmpp_stanza *s;
	struct td_str xml;
	bool items;   /* about items; */
	bool publish; /* they were published */
	bool deleted; /* about the end of the node, which those who wait are to know too (8.4.2) */
};

/* Resources that show something else do not get it (pubsub#show-values). */
static uint32_t
not_in(unsigned shows)
{
	return (~shows & PS_ALL_SHOWS) << XF_NO_SHOW_AT;
}

static bool
is_publish(struct td_str xml)
{
	(void)td_str_cut(&xml, '>');
	return td_str_starts(xml, "<item ");
}

/* Who subscribed several times gets one event, which names the subscriptions it comes by (6.1.6, 7.1.2.4, 12.16). */
static void
send_noted(struct ps_node *n, const struct told *t, const struct ps_sub *first, struct td_str ids,
	   uint32_t flags)
{
	struct td_buf b = { 0 };
	struct xmpp_stanza *s;

	td_buf_addz(&b, "<headers xmlns='" NS_SHIM "'>");
	td_buf_adds(&b, ids);
	td_buf_addz(&b, "</headers>");
	s = event_new(n->host, types[n->cfg.notification], n->name, t->xml, td_buf_str(&b));
	send_to(n->host, s, first->jid, flags);
	xmpp_stanza_unref(&s);
	td_buf_fini(&b);
}

static void
add_subid(struct td_buf *ids, const struct ps_sub *s)
{
	td_buf_addz(ids, "<header name='SubID'>");
	td_buf_add_xml(ids, s->id);
	td_buf_addz(ids, "</header>");
}

static bool
wants(const struct ps_sub *s, const struct told *t, uint64_t now)
{
	if (s->opt.expire > 0 && s->opt.expire <= now)
		return false;
	return t->deleted || (s->state == PSS_SUBSCRIBED && s->opt.deliver);
}

static void
to_subscribers(struct ps_node *n, const struct told *t)
{
	uint64_t now = td_wall_ms();
	struct td_buf ids = { 0 };
	struct ps_sub *sub, *next;

	for (sub = LIST_FIRST(&n->subs); sub != NULL; sub = next) {
		struct xmpp_jid who = xmpp_jid_view(sub->jid);
		unsigned shows = 0;
		bool any = false;

		next = LIST_NEXT(sub, link);
		if (sub->first != sub)
			continue;
		ids.len = 0;
		for (struct ps_sub *o = sub; o != NULL; o = o->next) {
			if (!wants(o, t, now))
				continue;
			if (t->publish && o->opt.digest && n->cfg.persist) {
				ps_digest_later(n, o);
				continue;
			}
			any = true;
			shows |= t->deleted ? PS_ALL_SHOWS : o->opt.shows;
			add_subid(&ids, o);
		}
		if (!any || (!t->deleted && !may_tell(n, &who)))
			continue;
		if (t->items && sub->next != NULL)
			send_noted(n, t, sub, td_buf_str(&ids), not_in(shows));
		else
			send_to(n->host, t->s, sub->jid, not_in(shows));
	}
	td_buf_fini(&ids);
}

/* Those who have no subscription but presence (XEP-0163 4.1). */
static void
to_contacts(struct ps_node *n, struct xmpp_stanza *s)
{
	struct ps_host *h = n->host;
	const struct xmpp_contact *c;
	const struct ps_peer *p;
	size_t i = 0;

	if (ps_node_sub(n, h->jid) == NULL)
		send_to(h, s, h->jid, XF_EVENT);
	while ((c = td_map_next(&h->user->roster, &i)) != NULL) {
		struct xmpp_jid who = xmpp_jid_view(c->jid);

		if ((c->sub & STORE_SUB_FROM) == 0 || ps_node_sub(n, c->jid) != NULL ||
		    h->env->host->domain(h->env, who.domain) != XD_LOCAL || !may_tell(n, &who))
			continue;
		send_to(h, s, c->jid, XF_EVENT);
	}
	i = 0;
	while ((p = td_map_next(&h->peers, &i)) != NULL) {
		struct xmpp_jid who = xmpp_jid_view(td_cstr(p->jid));

		if (xmpp_caps_notifies(p->caps, n->name) && xmpp_presence_may_see(h->user, &who) &&
		    ps_node_sub(n, who.bare) == NULL && may_tell(n, &who))
			send_to(h, s, who.full, 0);
	}
}

static void
notify(struct ps_node *n, struct td_str xml)
{
	struct told t = { .items = td_str_starts(xml, "<items "),
			  .publish = td_str_starts(xml, "<items ") && is_publish(xml),
			  .deleted = td_str_starts(xml, "<delete ") };
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'>");
	td_buf_adds(&b, xml);
	td_buf_addz(&b, "</event>");
	t.xml = td_buf_str(&b);
	t.s = event_new(n->host, types[n->cfg.notification], n->name, t.xml, TD_STR_NULL);
	to_subscribers(n, &t);
	if (n->host->pep)
		to_contacts(n, t.s);
	xmpp_stanza_unref(&t.s);
	td_buf_fini(&b);
}

/* Who was subscribed by an owner's roster and is not in it any more is so no longer (12.14). */
static void
drop_untrusted(struct ps_node *n)
{
	struct ps_change *c = NULL;
	struct ps_sub *s, *next;
	struct ps_refusal why;

	for (s = LIST_FIRST(&n->subs); s != NULL; s = next) {
		struct xmpp_jid who = xmpp_jid_view(s->jid);

		next = LIST_NEXT(s, link);
		if (s->state != PSS_SUBSCRIBED || ps_may_read(n, &who, false, &why))
			continue;
		if (c == NULL)
			c = ps_change_new(n->host, NULL);
		ps_change_subscription(c, n, s, PSS_NONE);
	}
	if (c != NULL)
		ps_change_commit(c);
}

static void
on_trust(struct ps_host *h, struct ps_node *n, void *arg)
{
	struct td_buf *xml = arg;

	(void)h;
	if (n != NULL) {
		notify(n, td_buf_str(xml));
		drop_untrusted(n);
	}
	td_buf_fini(xml);
	free(xml);
}

void
ps_notify(struct ps_node *n, struct td_str xml)
{
	const struct ps_sub *s;
	struct td_str *bares;
	struct td_buf *copy;
	size_t count = 0;

	if (!n->cfg.deliver_notifications)
		return;
	if (n->gone || n->n_subs == 0 || !ps_needs_trust(n)) {
		notify(n, xml);
		return;
	}
	bares = td_alloc(n->n_subs * sizeof(*bares));
	LIST_FOREACH(s, &n->subs, link)
	if (s->first == s)
		bares[count++] = xmpp_jid_view(s->jid).bare;
	copy = td_zalloc(sizeof(*copy));
	td_buf_adds(copy, xml);
	ps_trust_ask(n, bares, count, on_trust, copy);
	free(bares);
}

void
ps_send(struct ps_host *h, const struct xmpp_jid *to, enum xmpp_type type, struct td_str xml)
{
	struct xmpp_stanza *s = event_new(h, type, TD_STR(""), xml, TD_STR_NULL);

	send_to(h, s, to->full, 0);
	xmpp_stanza_unref(&s);
}

bool
ps_send_digest(struct ps_node *n, const struct ps_sub *s, const struct store_ps_item *items,
	       size_t count)
{
	struct told t = { .items = true };
	struct xmpp_jid to = xmpp_jid_view(s->jid);
	struct td_buf b = { 0 }, ids = { 0 };

	if (!wants(s, &t, td_wall_ms()) || !n->cfg.deliver_notifications || !may_tell(n, &to))
		return false;
	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'><items");
	td_buf_add_attr(&b, "node", n->name);
	td_buf_addc(&b, '>');
	for (size_t i = 0; i < count; i++)
		ps_write_item(&b, n, items[i].id, items[i].publisher,
			      n->cfg.deliver_payloads ? items[i].payload : TD_STR_NULL);
	td_buf_addz(&b, "</items></event>");
	t.xml = td_buf_str(&b);
	if (s->first->next != NULL) {
		add_subid(&ids, s);
		send_noted(n, &t, s, td_buf_str(&ids), not_in(s->opt.shows));
	} else {
		t.s = event_new(n->host, types[n->cfg.notification], n->name, t.xml, TD_STR_NULL);
		send_to(n->host, t.s, s->jid, not_in(s->opt.shows));
		xmpp_stanza_unref(&t.s);
	}
	td_buf_fini(&ids);
	td_buf_fini(&b);
	return true;
}

/* ---- last items ---- */

struct last_call {
	struct ps_call call;
	struct td_str to; /* malloc'd with it */
	char text[];
};

static void
send_item(struct ps_host *h, const struct ps_node *n, const struct store_ps_item *it,
	  const struct xmpp_jid *to)
{
	struct td_buf b = { 0 }, delay = { 0 };
	struct xmpp_stanza *s;
	char stamp[32];

	td_stamp(it->at, stamp);
	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'><items node='");
	td_buf_add_xml(&b, n->name);
	td_buf_addz(&b, "'>");
	ps_write_item(&b, n, it->id, it->publisher,
		      n->cfg.deliver_payloads ? it->payload : TD_STR_NULL);
	td_buf_addz(&b, "</items></event>");
	td_buf_addf(&delay, "<delay xmlns='" NS_DELAY "' stamp='%s'/>", stamp);
	s = event_new(h, types[n->cfg.notification], n->name, td_buf_str(&b), td_buf_str(&delay));
	send_to(h, s, to->full, 0);
	xmpp_stanza_unref(&s);
	td_buf_fini(&delay);
	td_buf_fini(&b);
}

static void
on_last(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct last_call *c = arg;
	struct ps_host *h = c->call.host;
	struct xmpp_jid to = xmpp_jid_view(c->to);

	for (size_t i = 0; h != NULL && r->rc == 0 && i < got->n; i++) {
		const struct ps_node *n = ps_node_find(h, got->items[i].node);

		/* asked again: it may have changed while the store read */
		if (n != NULL && may_tell(n, &to))
			send_item(h, n, &got->items[i], &to);
	}
	ps_call_end(&c->call);
	free(c);
}

static void
fetch_last(struct ps_host *h, const struct td_str *nodes, const uint64_t *since, size_t n,
	   const struct xmpp_jid *to)
{
	struct last_call *c = td_zalloc(sizeof(*c) + to->full.len);

	memcpy(c->text, to->full.p, to->full.len);
	c->to = td_str(c->text, to->full.len);
	ps_call_begin(&c->call, h);
	store_ps_last(h->env->store, h->jid, nodes, since, n, h->env->loop, on_last, c);
}

void
ps_send_last(struct ps_node *n, const struct xmpp_jid *to)
{
	uint64_t since = ps_since(n);

	if (n->cfg.persist && n->cfg.deliver_notifications)
		fetch_last(n->host, &n->name, &since, 1, to);
}

void
ps_greet(struct ps_host *h, const struct xmpp_jid *to, const struct xmpp_caps *caps,
	 const struct xmpp_caps *old)
{
	const struct td_str *wanted;
	size_t n_wanted = xmpp_caps_nodes(caps, &wanted), n = 0;
	struct td_str names[64];
	uint64_t since[64];

	for (size_t i = 0; i < n_wanted && n < 64; i++) {
		struct ps_node *node = ps_node_find(h, wanted[i]);

		if (node == NULL || node->cfg.send_last != PSL_ON_SUB_AND_PRESENCE ||
		    !node->cfg.persist || !node->cfg.deliver_notifications ||
		    xmpp_caps_notifies(old, wanted[i]) || !may_tell(node, to))
			continue;
		if (td_str_eqc(node->name, NS_BOOKMARKS_OLD)) {
			ps_bookmarks_last(h, to);
			continue;
		}
		names[n] = node->name;
		since[n++] = ps_since(node);
	}
	if (n > 0)
		fetch_last(h, names, since, n, to);
}
