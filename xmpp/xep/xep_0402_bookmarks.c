/* xep-0402 - bookmarks: one set of items (urn:xmpp:bookmarks:1), and two older views of it.
 *
 * The node storage:bookmarks (XEP-0048 over PEP) and the private XML of that name (XEP-0048 over XEP-0049) hold
 * one document with all bookmarks.  It is made from the items when somebody reads it; when somebody writes it, the
 * difference to the items is published and retracted, so that what the old form cannot say (extensions) stays.  What the
 * items cannot hold (bookmarked URLs) is kept beside them as it came. */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"

#define BOOKMARKS_MAX 2000u
#define REST_KEY "bookmarks-rest"
#define REST_MAX 65536u

/* What both forms know of a room. */
struct bookmark {
	struct td_str jid, name, nick, password;
	bool autojoin;
	const struct xmpp_node *extensions;
};

/* ---- reading and writing ---- */

static struct td_str
child_text(struct td_arena *a, const struct xmpp_node *n, const char *name)
{
	const struct xmpp_node *c = xmpp_node_child(n, n->ns, name);

	return c != NULL ? xmpp_node_text(a, c) : TD_STR_NULL;
}

static bool
room_of(struct td_arena *a, struct td_str text, struct td_str *out)
{
	struct xmpp_jid jid;

	if (xmpp_jid_parse(a, text, &jid, NULL) < 0)
		return false;
	*out = jid.bare;
	return true;
}

static struct bookmark
read_conference(struct td_arena *a, const struct xmpp_node *n)
{
	return (struct bookmark){
		.name = xmpp_node_attr(n, "name"),
		.nick = child_text(a, n, "nick"),
		.password = child_text(a, n, "password"),
		.autojoin = xmpp_is_true(xmpp_node_attr(n, "autojoin")),
		.extensions = xmpp_node_child(n, NS_BOOKMARKS, "extensions"),
	};
}

/* An item; false: it is no bookmark of a room. */
static bool
read_item(struct td_arena *a, const struct store_ps_item *it, struct bookmark *out)
{
	struct xmpp_node *n = xmpp_xml_parse(a, it->payload, NULL, NULL);

	if (n == NULL || !xmpp_node_is(n, NS_BOOKMARKS, "conference"))
		return false;
	*out = read_conference(a, n);
	return room_of(a, it->id, &out->jid);
}

static void
write_text(struct td_buf *b, const char *name, struct td_str text)
{
	if (text.p == NULL)
		return;
	td_buf_addf(b, "<%s>", name);
	td_buf_add_xml(b, text);
	td_buf_addf(b, "</%s>", name);
}

static void
write_conference(struct td_buf *b, const struct bookmark *m, bool old)
{
	td_buf_addz(b, old ? "<conference jid='" : "<conference xmlns='" NS_BOOKMARKS);
	if (old)
		td_buf_add_xml(b, m->jid);
	if (m->name.p != NULL) {
		td_buf_addz(b, "' name='");
		td_buf_add_xml(b, m->name);
	}
	td_buf_addf(b, "' autojoin='%s'>", m->autojoin ? "true" : "false");
	write_text(b, "nick", m->nick);
	write_text(b, "password", m->password);
	if (!old && m->extensions != NULL)
		xmpp_node_write(b, m->extensions, NS_BOOKMARKS);
	td_buf_addz(b, "</conference>");
}

bool
ps_bookmark_from_old(struct td_arena *a, const struct xmpp_node *conference, struct td_str *id,
		     struct td_buf *payload)
{
	struct bookmark m = read_conference(a, conference);

	if (!room_of(a, xmpp_node_attr(conference, "jid"), id) || id->len > PS_NAME_MAX)
		return false;
	m.extensions = NULL; /* the old form has none */
	write_conference(payload, &m, false);
	return true;
}

static bool
same(const struct bookmark *x, const struct bookmark *y)
{
	return x->autojoin == y->autojoin && td_str_eq(x->name, y->name) &&
	       td_str_eq(x->nick, y->nick) && td_str_eq(x->password, y->password);
}

/* ---- reading all that there is ---- */

struct view {
	struct ps_call call;
	struct xmpp_stanza *iq;          /* answered in the end; may be NULL */
	struct td_arena *a;              /* of what follows */
	const struct xmpp_node *storage; /* the document to take over; NULL = read only */
	struct td_str *ids;              /* the items there are */
	struct bookmark *marks;          /* what they say; jid.p NULL = no bookmark */
	size_t n;
	struct td_str to; /* who gets the last item */
	void (*then)(struct view *v, struct ps_host *h, struct td_str rest);
};

static void
view_free(struct view *v)
{
	xmpp_stanza_unref(&v->iq);
	ps_call_end(&v->call);
	td_arena_free(v->a);
}

static void
on_rest(void *arg, const struct store_result *r, struct td_str value)
{
	struct view *v = arg;

	if (v->call.host != NULL)
		v->then(v, v->call.host, r->rc == 0 ? value : TD_STR_NULL);
	view_free(v);
}

static void
on_marks(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct view *v = arg;
	struct ps_host *h = v->call.host;

	if (h != NULL && r->rc < 0 && r->rc != TD_E_NOTFOUND && v->iq != NULL)
		ps_refuse(h, v->iq, XE_INTERNAL_SERVER_ERROR, NULL);
	if (h == NULL || (r->rc < 0 && r->rc != TD_E_NOTFOUND)) {
		view_free(v);
		return;
	}
	v->n = r->rc == 0 ? got->n : 0;
	v->ids = td_arena_zalloc(v->a, (v->n + 1) * sizeof(*v->ids));
	v->marks = td_arena_zalloc(v->a, (v->n + 1) * sizeof(*v->marks));
	for (size_t i = 0; i < v->n; i++) {
		struct store_ps_item it = got->items[i];

		it.payload = td_arena_str(v->a, it.payload);
		v->ids[i] = td_arena_str(v->a, it.id);
		if (!read_item(v->a, &it, &v->marks[i]))
			v->marks[i] = (struct bookmark){ 0 };
	}
	store_setting_get(h->env->store, h->jid, TD_STR(REST_KEY), h->env->loop, on_rest, v);
}

static struct view *
view_new(struct ps_host *h, struct xmpp_stanza *iq,
	 void (*then)(struct view *v, struct ps_host *h, struct td_str rest))
{
	struct td_arena *a = td_arena_new(4096);
	struct view *v = td_arena_zalloc(a, sizeof(*v));

	v->a = a;
	v->iq = iq != NULL ? xmpp_stanza_ref(iq) : NULL;
	v->then = then;
	ps_call_begin(&v->call, h);
	return v;
}

static void
view_start(struct view *v)
{
	struct ps_host *h = v->call.host;
	struct store_ps_query q = {
		.node = TD_STR(NS_BOOKMARKS), .newest = true, .max = BOOKMARKS_MAX, .index = -1
	};

	store_ps_items(h->env->store, h->jid, &q, h->env->loop, on_marks, v);
}

/* The old document. */
static void
write_storage(struct td_buf *b, const struct view *v, struct td_str rest)
{
	td_buf_addz(b, "<storage xmlns='" NS_BOOKMARKS_OLD "'>");
	for (size_t i = 0; i < v->n; i++)
		if (v->marks[i].jid.p != NULL)
			write_conference(b, &v->marks[i], true);
	td_buf_adds(b, rest);
	td_buf_addz(b, "</storage>");
}

/* ---- answers made of it ---- */

static void
answer_private(struct view *v, struct ps_host *h, struct td_str rest)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<query xmlns='" NS_PRIVATE "'>");
	write_storage(&b, v, rest);
	td_buf_addz(&b, "</query>");
	ps_answer(h, v->iq, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
answer_items(struct view *v, struct ps_host *h, struct td_str rest)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><items node='" NS_BOOKMARKS_OLD
			"'><item id='current'>");
	write_storage(&b, v, rest);
	td_buf_addz(&b, "</item></items></pubsub>");
	ps_answer(h, v->iq, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
write_event(struct td_buf *b, const struct view *v, struct td_str rest)
{
	td_buf_addz(b, "<items node='" NS_BOOKMARKS_OLD "'><item id='current'>");
	write_storage(b, v, rest);
	td_buf_addz(b, "</item></items>");
}

static void
send_event(struct view *v, struct ps_host *h, struct td_str rest)
{
	struct ps_change *c = ps_change_new(h, NULL);
	struct ps_node *n = ps_change_node(c, TD_STR(NS_BOOKMARKS_OLD));
	struct td_buf b = { 0 };

	write_event(&b, v, rest);
	ps_change_event(c, n, td_buf_str(&b));
	td_buf_fini(&b);
	ps_change_commit(c);
}

static void
send_last(struct view *v, struct ps_host *h, struct td_str rest)
{
	struct xmpp_jid to = xmpp_jid_view(v->to);
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'>");
	write_event(&b, v, rest);
	td_buf_addz(&b, "</event>");
	ps_send(h, &to, XT_HEADLINE, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_bookmarks_changed(struct ps_host *h)
{
	view_start(view_new(h, NULL, send_event));
}

void
ps_bookmarks_last(struct ps_host *h, const struct xmpp_jid *to)
{
	struct view *v = view_new(h, NULL, send_last);

	v->to = td_arena_str(v->a, to->full);
	view_start(v);
}

void
ps_bookmarks_get(struct ps_host *h, struct xmpp_stanza *iq)
{
	view_start(view_new(h, iq, answer_private));
}

/* ---- taking over a document ---- */

static struct bookmark *
mark_of(struct view *v, struct td_str jid)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->marks[i].jid.p != NULL && td_str_eq(v->marks[i].jid, jid))
			return &v->marks[i];
	return NULL;
}

static void
keep_rest(struct view *v, struct ps_host *h)
{
	struct td_buf b = { 0 };

	for (const struct xmpp_node *c = xmpp_node_child(v->storage, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c))
		if (!xmpp_node_is(c, NS_BOOKMARKS_OLD, "conference"))
			xmpp_node_write(&b, c, NS_BOOKMARKS_OLD);
	if (b.len <= REST_MAX)
		store_setting_set(h->env->store, h->jid, TD_STR(REST_KEY),
				  b.len > 0 ? td_buf_str(&b) : TD_STR_NULL,
				  (struct store_to){ h->env->loop, NULL, NULL });
	td_buf_fini(&b);
}

/* What the document has and the items have not, or otherwise, to be published; and what it has no more. */
static void
apply_storage(struct view *v, struct ps_change *c, struct ps_node *n)
{
	struct td_str *gone = td_arena_zalloc(v->a, (v->n + 1) * sizeof(*gone));
	bool *kept = td_arena_zalloc(v->a, v->n + 1);
	struct ps_own_item *items;
	size_t n_items = 0, n_gone = 0, count = 1;

	for (const struct xmpp_node *e = v->storage->first; e != NULL; e = e->next)
		count++;
	items = td_arena_alloc(v->a, count * sizeof(*items));
	for (const struct xmpp_node *e = xmpp_node_child(v->storage, NULL, NULL); e != NULL;
	     e = xmpp_node_next_elem(e)) {
		struct bookmark m, *was;
		struct td_buf b = { 0 };

		if (!xmpp_node_is(e, NS_BOOKMARKS_OLD, "conference"))
			continue;
		m = read_conference(v->a, e);
		if (!room_of(v->a, xmpp_node_attr(e, "jid"), &m.jid))
			continue;
		was = mark_of(v, m.jid);
		if (was != NULL)
			kept[was - v->marks] = true;
		if (was != NULL && same(was, &m))
			continue;
		m.extensions = was != NULL ? was->extensions : NULL;
		write_conference(&b, &m, false);
		items[n_items++] = (struct ps_own_item){
			was != NULL ? v->ids[was - v->marks] : m.jid,
			td_arena_str(v->a, td_buf_str(&b)),
		};
		td_buf_fini(&b);
	}
	for (size_t i = 0; i < v->n; i++)
		if (v->marks[i].jid.p != NULL && !kept[i])
			gone[n_gone++] = v->ids[i];
	if (n_items > 0)
		ps_change_publish(c, n, items, n_items, n->host->jid);
	ps_change_retract(c, n, gone, n_gone);
}

static void
take_over(struct view *v, struct ps_host *h, struct td_str rest)
{
	struct ps_change *c;

	(void)rest;
	keep_rest(v, h);
	c = ps_change_new(h, v->iq);
	(void)ps_change_node(c, TD_STR(NS_BOOKMARKS_OLD));
	apply_storage(v, c, ps_change_node(c, TD_STR(NS_BOOKMARKS)));
	if (strcmp(xmpp_stanza_payload(v->iq)->ns, NS_PUBSUB) == 0)
		ps_change_result(c, TD_STR("<pubsub xmlns='" NS_PUBSUB
					   "'><publish node='" NS_BOOKMARKS_OLD
					   "'><item id='current'/></publish></pubsub>"));
	ps_change_commit(c);
}

void
ps_bookmarks_set(struct ps_host *h, struct xmpp_stanza *iq, const struct xmpp_node *storage)
{
	struct view *v = view_new(h, iq, take_over);

	v->storage = xmpp_node_copy(v->a, storage);
	view_start(v);
}

/* ---- requests about the old node ---- */

/* Does the request ask for options that the node cannot have? */
static bool
options_fit(struct ps_req *r)
{
	const struct xmpp_node *o = xmpp_node_child(r->pubsub, NULL, "publish-options");
	const struct xmpp_node *x = o != NULL ? xmpp_form_find(o) : NULL;
	struct xmpp_form f;
	struct ps_config cfg;
	const char *why;

	if (x == NULL)
		return true;
	if (xmpp_form_read(r->a, x, &f) < 0)
		return false;
	if (r->node != NULL)
		return ps_config_meets(r->a, r->host, &f, &r->node->cfg);
	ps_config_default(r->host, r->name, &cfg);
	return ps_config_apply(r->a, r->host, r->name, &f, true, &cfg, &why);
}

static void
publish_old(struct ps_req *r)
{
	const struct xmpp_node *item = xmpp_node_child(r->what, NULL, "item");
	const struct xmpp_node *storage = item != NULL ? xmpp_node_child(item, NULL, NULL) : NULL;

	if (storage == NULL || !xmpp_node_is(storage, NS_BOOKMARKS_OLD, "storage")) {
		ps_error(r, XE_BAD_REQUEST, item == NULL ? "item-required" : "invalid-payload");
		return;
	}
	if (!options_fit(r)) {
		ps_error(r, XE_CONFLICT, "precondition-not-met");
		return;
	}
	ps_bookmarks_set(r->host, r->s, storage);
	r->verdict = XMPP_LATER;
}

bool
ps_bookmarks_request(struct ps_req *r)
{
	bool items = ps_node_find(r->host, TD_STR(NS_BOOKMARKS)) != NULL || r->node != NULL;

	/* everybody else is told what the node's access model says */
	if (!td_str_eq(r->s->from.bare, r->host->jid))
		return false;
	if (r->s->type == XT_SET && strcmp(r->what->name, "publish") == 0) {
		publish_old(r);
		return true;
	}
	if (r->s->type == XT_GET && strcmp(r->what->name, "items") == 0 && items) {
		view_start(view_new(r->host, r->s, answer_items));
		r->verdict = XMPP_LATER;
		return true;
	}
	if (items && r->s->type == XT_SET &&
	    (strcmp(r->what->name, "retract") == 0 || strcmp(r->what->name, "purge") == 0)) {
		ps_bookmarks_set(r->host, r->s, xmpp_node_new(r->a, "storage", NS_BOOKMARKS_OLD));
		r->verdict = XMPP_LATER;
		return true;
	}
	return false;
}

static const char *const bookmark_features[] = { NS_BOOKMARKS "#compat", NS_BOOKMARKS "#compat-pep",
						 "urn:xmpp:bookmarks-conversion:0", NULL };

const struct xmpp_module xep_0402_bookmarks = {
	.name = "xep-0402-bookmarks",
	.xep = "0402",
	.doc = "Bookmarks, kept in step with their older forms (XEP-0048 over PEP and private "
	       "XML, XEP-0411)",
	.version = "1.2.0",
	.account_features = bookmark_features,
};
