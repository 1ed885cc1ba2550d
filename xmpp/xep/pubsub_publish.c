/* pubsub_publish - items: publish (XEP-0060 7.1), retract (7.2), retrieve (6.5). */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/rsm.h"
#include "xmpp/xep/pubsub.h"

#define ITEMS_PER_PUBLISH 1000u
#define IDS_MAX 1000u

/* ---- from within ---- */

struct ps_node *
ps_change_node(struct ps_change *c, struct td_str name)
{
	struct ps_host *h = ((struct ps_call *)c)->host;
	struct ps_node *n = ps_node_find(h, name);
	struct ps_config cfg;

	if (n != NULL)
		return n;
	ps_config_default(h, name, &cfg);
	cfg.creator = h->jid;
	return ps_change_make_node(c, name, &cfg);
}

/* How many items it keeps: what it was configured for may have been allowed once. */
static int64_t
keeps(const struct ps_node *n)
{
	int64_t limit = ps_limit(n->host, "pubsub_max_items");

	return n->cfg.max_items == PS_MAX || n->cfg.max_items > limit ? limit : n->cfg.max_items;
}

void
ps_change_trim(struct ps_change *c, const struct ps_node *n)
{
	if (!n->cfg.persist) {
		ps_change_add(c, &(struct store_ps_change){ .verb = PS_PURGE, .node = n->name });
		return;
	}
	if (n->cfg.item_expire > 0)
		ps_change_add(c, &(struct store_ps_change){ .verb = PS_EXPIRE,
							    .node = n->name,
							    .n = (int64_t)ps_since(n) });
	ps_change_add(c,
		      &(struct store_ps_change){ .verb = PS_KEEP, .node = n->name, .n = keeps(n) });
}

static void
open_items(struct td_buf *b, struct td_str node)
{
	td_buf_addz(b, "<items node='");
	td_buf_add_xml(b, node);
	td_buf_addz(b, "'>");
}

void
ps_change_publish(struct ps_change *c, struct ps_node *n, const struct ps_own_item *items,
		  size_t count, struct td_str publisher)
{
	struct td_arena *a = ps_change_arena(c);
	struct td_buf event = { 0 };

	open_items(&event, n->name);
	for (size_t i = 0; i < count; i++) {
		if (n->cfg.persist && n->cfg.node_full == 2)
			ps_change_add(c, &(struct store_ps_change){ .verb = PS_ROOM,
								    .node = n->name,
								    .key = items[i].id,
								    .n = keeps(n) });
		if (n->cfg.persist)
			ps_change_add(c, &(struct store_ps_change){
						 .verb = PS_ITEM_SET,
						 .node = n->name,
						 .key = td_arena_str(a, items[i].id),
						 .who = td_arena_str(a, publisher),
						 .value = td_arena_str(a, items[i].payload) });
		ps_write_item(&event, n, items[i].id, publisher,
			      n->cfg.deliver_payloads ? items[i].payload : TD_STR_NULL);
	}
	td_buf_addz(&event, "</items>");
	if (n->cfg.persist)
		ps_change_trim(c, n);
	ps_change_event(c, n, td_buf_str(&event));
	td_buf_fini(&event);
}

void
ps_change_retract(struct ps_change *c, struct ps_node *n, const struct td_str *ids, size_t count)
{
	struct td_buf event = { 0 };

	if (count == 0)
		return;
	open_items(&event, n->name);
	for (size_t i = 0; i < count; i++) {
		ps_change_add(c, &(struct store_ps_change){
					 .verb = PS_ITEM_DROP,
					 .node = n->name,
					 .key = td_arena_str(ps_change_arena(c), ids[i]) });
		td_buf_addz(&event, "<retract id='");
		td_buf_add_xml(&event, ids[i]);
		td_buf_addz(&event, "'/>");
	}
	td_buf_addz(&event, "</items>");
	ps_change_event(c, n, td_buf_str(&event));
	td_buf_fini(&event);
}

/* ---- publish ---- */

struct publish {
	struct ps_req *r;
	struct ps_own_item *items;
	size_t n;
	struct xmpp_form options;
	bool has_options;
};

/* One <item/>: false when answered with an error. */
static bool
read_item(struct publish *p, const struct ps_config *cfg, const struct xmpp_node *item)
{
	struct ps_req *r = p->r;
	const struct xmpp_node *payload = xmpp_node_child(item, NULL, NULL);
	int64_t limit = ps_limit(r->host, "pubsub_max_item_size");
	struct td_str id = xmpp_node_attr(item, "id");
	struct td_buf b = { 0 };
	char made[25];

	if (payload != NULL && xmpp_node_next_elem(payload) != NULL) {
		ps_error(r, XE_BAD_REQUEST, "invalid-payload");
		return false;
	}
	if (payload == NULL && cfg->deliver_payloads) {
		ps_error(r, XE_BAD_REQUEST, "payload-required");
		return false;
	}
	if (payload != NULL && cfg->type.len > 0 &&
	    !td_str_eqc(cfg->type, payload->ns != NULL ? payload->ns : "")) {
		ps_error(r, XE_BAD_REQUEST, "invalid-payload");
		return false;
	}
	if (id.len > PS_NAME_MAX) {
		ps_error(r, XE_NOT_ACCEPTABLE, NULL);
		return false;
	}
	if (payload != NULL)
		xmpp_node_write(&b, payload, "");
	if (cfg->max_payload != PS_MAX && cfg->max_payload > 0 && cfg->max_payload < limit)
		limit = cfg->max_payload;
	if ((int64_t)b.len > limit) {
		td_buf_fini(&b);
		ps_error(r, XE_NOT_ACCEPTABLE, "payload-too-big");
		return false;
	}
	if (id.len == 0) {
		td_random_id(made, 24);
		id = td_cstr(made);
	}
	p->items[p->n].id = td_arena_str(r->a, id);
	p->items[p->n++].payload = td_arena_str(r->a, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	return true;
}

static bool
read_items(struct publish *p, const struct ps_config *cfg)
{
	const struct xmpp_node *first = xmpp_node_child(p->r->what, NULL, "item");
	size_t count = 0;

	for (const struct xmpp_node *i = first; i != NULL; i = xmpp_node_next_elem(i))
		count++;
	if (count == 0 && (cfg->persist || cfg->deliver_payloads)) {
		ps_error(p->r, XE_BAD_REQUEST, "item-required");
		return false;
	}
	if (count > 0 && !cfg->persist && !cfg->deliver_payloads) {
		ps_error(p->r, XE_BAD_REQUEST, "item-forbidden");
		return false;
	}
	if (count > ITEMS_PER_PUBLISH || (cfg->persist && cfg->max_items != PS_MAX && count > 1 &&
					  (int64_t)count > cfg->max_items)) { /* 12.11 */
		ps_error(p->r, XE_NOT_ALLOWED, "max-items-exceeded");
		return false;
	}
	p->items = td_arena_alloc(p->r->a, (count + 1) * sizeof(*p->items));
	for (const struct xmpp_node *i = first; i != NULL; i = xmpp_node_next_elem(i)) {
		if (strcmp(i->name, "item") != 0) {
			ps_error(p->r, XE_BAD_REQUEST, NULL);
			return false;
		}
		if (!read_item(p, cfg, i))
			return false;
	}
	return true;
}

static bool
read_options(struct publish *p)
{
	const struct xmpp_node *o = xmpp_node_child(p->r->pubsub, NULL, "publish-options");
	const struct xmpp_node *x = o != NULL ? xmpp_form_find(o) : NULL;

	if (x == NULL)
		return true;
	if (xmpp_form_read(p->r->a, x, &p->options) < 0 || p->options.kind != FORM_SUBMIT ||
	    (p->options.type.p != NULL &&
	     !td_str_eqc(p->options.type, NS_PUBSUB "#publish-options"))) {
		ps_error(p->r, XE_BAD_REQUEST, NULL);
		return false;
	}
	p->has_options = true;
	return true;
}

/* Section 7.1.4: the node is made by publishing to it, with the options as its configuration (7.1.5). */
static bool
auto_create(struct publish *p, struct ps_config *cfg)
{
	struct ps_req *r = p->r;
	const char *why;

	if (!ps_may_make_node(r))
		return false;
	ps_config_default(r->host, r->name, cfg);
	cfg->creator = r->s->from.bare;
	if (p->has_options &&
	    !ps_config_apply(r->a, r->host, r->name, &p->options, true, cfg, &why)) {
		ps_error(r, XE_CONFLICT, "precondition-not-met");
		return false;
	}
	return true;
}

static void
publish_result(struct ps_change *c, const struct publish *p)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><publish node='");
	td_buf_add_xml(&b, p->r->name);
	td_buf_addz(&b, "'>");
	for (size_t i = 0; i < p->n; i++) {
		td_buf_addz(&b, "<item id='");
		td_buf_add_xml(&b, p->items[i].id);
		td_buf_addz(&b, "'/>");
	}
	td_buf_addz(&b, "</publish></pubsub>");
	ps_change_result(c, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_do_publish(struct ps_req *r)
{
	struct publish p = { .r = r };
	struct ps_config cfg;
	struct ps_node *n = r->node;
	struct ps_change *c;

	if (r->name.len == 0) {
		ps_error(r, XE_BAD_REQUEST, "nodeid-required");
		return;
	}
	if (n != NULL && !ps_may_publish(n, &r->s->from)) {
		ps_error(r, XE_FORBIDDEN, NULL);
		return;
	}
	if (!read_options(&p))
		return;
	if (n == NULL) {
		if (!auto_create(&p, &cfg))
			return;
	} else if (p.has_options && !ps_config_meets(r->a, r->host, &p.options, &n->cfg)) {
		ps_error(r, XE_CONFLICT, "precondition-not-met");
		return;
	}
	if (!read_items(&p, n != NULL ? &n->cfg : &cfg))
		return;
	c = ps_change_new(r->host, r->s);
	if (n == NULL)
		n = ps_change_make_node(c, r->name, &cfg);
	publish_result(c, &p);
	ps_change_publish(c, n, p.items, p.n, r->s->from.bare);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

bool
ps_keeps_items(struct ps_req *r)
{
	if (!r->node->cfg.persist)
		ps_unsupported(r, "persistent-items");
	return r->node->cfg.persist;
}

/* ---- retract ---- */

void
ps_do_retract(struct ps_req *r)
{
	struct td_str notify = xmpp_node_attr(r->what, "notify");
	enum ps_affiliation af = ps_affiliation(r->node, &r->s->from);
	const struct xmpp_node *item = xmpp_node_child(r->what, NULL, "item");
	bool tell = xmpp_is_true(notify) || (notify.p == NULL && r->node->cfg.notify_retract);
	struct td_buf event = { 0 };
	struct ps_change *c;
	size_t n = 0;

	if (af == PSF_OUTCAST || !ps_may_publish(r->node, &r->s->from)) {
		ps_error(r, XE_FORBIDDEN, NULL);
		return;
	}
	if (!ps_keeps_items(r))
		return;
	for (const struct xmpp_node *i = item; i != NULL; i = xmpp_node_next_elem(i))
		if (++n > IDS_MAX || xmpp_node_attr(i, "id").len == 0)
			item = NULL;
	if (item == NULL) {
		ps_error(r, XE_BAD_REQUEST, "item-required");
		return;
	}
	c = ps_change_new(r->host, r->s);
	open_items(&event, r->node->name);
	for (; item != NULL; item = xmpp_node_next_elem(item)) {
		struct td_str id = td_arena_str(ps_change_arena(c), xmpp_node_attr(item, "id"));

		/* a publisher takes back what is its own; an owner everything */
		ps_change_add(c, &(struct store_ps_change){
					 .verb = PS_ITEM_DEL,
					 .node = r->node->name,
					 .key = id,
					 .who = af == PSF_OWNER ? TD_STR_NULL
								: td_arena_str(ps_change_arena(c),
									       r->s->from.bare) });
		td_buf_addz(&event, "<retract id='");
		td_buf_add_xml(&event, id);
		td_buf_addz(&event, "'/>");
	}
	td_buf_addz(&event, "</items>");
	if (tell)
		ps_change_event(c, r->node, td_buf_str(&event));
	td_buf_fini(&event);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

/* ---- items ---- */

struct items_call {
	struct ps_call call;
	struct xmpp_stanza *iq;
	struct ps_node *node;
	bool rsm, ids;
};

static void
write_items(struct items_call *c, const struct store_ps_items *got, struct td_buf *b)
{
	struct td_str first = got->n > 0 ? got->items[0].id : TD_STR_NULL;
	struct td_str last = got->n > 0 ? got->items[got->n - 1].id : TD_STR_NULL;

	td_buf_addz(b, "<pubsub xmlns='" NS_PUBSUB "'>");
	open_items(b, c->node->name);
	for (size_t i = 0; i < got->n; i++)
		ps_write_item(b, c->node, got->items[i].id, got->items[i].publisher,
			      got->items[i].payload);
	td_buf_addz(b, "</items>");
	if (c->rsm || (got->more && !c->ids))
		xmpp_rsm_write(b, first, got->index, last, got->count);
	td_buf_addz(b, "</pubsub>");
}

static void
on_items(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct items_call *c = arg;
	struct ps_host *h = c->call.host;
	struct td_buf b = { 0 };

	if (h == NULL) {
		;
	} else if (r->rc == TD_E_NOTFOUND) { /* items that are not there are none: 6.5.9.12 */
		ps_refuse(h, c->iq, XE_ITEM_NOT_FOUND, NULL);
	} else if (r->rc < 0) {
		ps_refuse(h, c->iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else {
		write_items(c, got, &b);
		ps_answer(h, c->iq, td_buf_str(&b));
	}
	td_buf_fini(&b);
	xmpp_stanza_unref(&c->iq);
	ps_node_unref(&c->node);
	ps_call_end(&c->call);
	free(c);
}

/* The <item id=''/> asked for; false when answered with an error. */
static bool
read_ids(struct ps_req *r, struct store_ps_query *q)
{
	const struct xmpp_node *first = xmpp_node_child(r->what, NULL, "item");
	struct td_str *ids;
	size_t n = 0;

	for (const struct xmpp_node *i = first; i != NULL; i = xmpp_node_next_elem(i))
		n++;
	if (n == 0)
		return true;
	if (n > IDS_MAX) {
		ps_error(r, XE_POLICY_VIOLATION, NULL);
		return false;
	}
	ids = td_arena_alloc(r->a, n * sizeof(*ids));
	for (const struct xmpp_node *i = first; i != NULL; i = xmpp_node_next_elem(i))
		ids[q->n_ids++] = xmpp_node_attr(i, "id");
	q->ids = ids;
	return true;
}

static bool
read_query(struct ps_req *r, struct store_ps_query *q, bool *rsm_asked)
{
	unsigned cap = (unsigned)ps_limit(r->host, "pubsub_max_items");
	struct td_str max_items = xmpp_node_attr(r->what, "max_items");
	struct xmpp_rsm rsm;
	int64_t max = cap;

	if (!xmpp_rsm_read(r->pubsub, r->a, &rsm) ||
	    (max_items.p != NULL && !td_str_to_dec(max_items, 0, INT32_MAX, &max))) {
		ps_error(r, XE_BAD_REQUEST, NULL);
		return false;
	}
	*q = (struct store_ps_query){
		.node = r->name,
		.after = rsm.after,
		.before = rsm.before,
		.index = rsm.index,
		.newest = !rsm.asked,
		.max = xmpp_rsm_limit(&rsm, (unsigned)(max > cap ? cap : max), cap),
		.since = ps_since(r->node),
	};
	*rsm_asked = rsm.asked;
	return read_ids(r, q);
}

void
ps_do_items(struct ps_req *r)
{
	struct store_ps_query q;
	struct ps_refusal why;
	struct items_call *c;
	bool rsm;

	if (!ps_may_read(r->node, &r->s->from, false, &why)) {
		ps_error(r, why.e, why.condition);
		return;
	}
	if (!ps_keeps_items(r) || !ps_check_subid(r))
		return;
	if (!read_query(r, &q, &rsm))
		return;
	c = td_zalloc(sizeof(*c));
	c->iq = xmpp_stanza_ref(r->s);
	c->node = r->node;
	c->node->refs++;
	c->rsm = rsm;
	c->ids = q.ids != NULL;
	ps_call_begin(&c->call, r->host);
	store_ps_items(r->host->env->store, r->host->jid, &q, r->host->env->loop, on_items, c);
	r->verdict = XMPP_LATER;
}
