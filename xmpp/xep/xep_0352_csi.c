/* xep_0352_csi - what can wait, waits while the client says that nobody looks at it (XEP-0352).
 *
 * Held: presence (the last of each full address), bare chat states (the last of each sender) and
 * notifications of PEP nodes (the last of each item).  Anything else first lets out what is held, so
 * order stays.  Held stanzas were not sent: stream management does not count them. */
#include <stdlib.h>
#include "xmpp/c2s.h"
#include "xmpp/message.h"
#include "xmpp/modules.h"

#define NS_CSI "urn:xmpp:csi:0"
#define HELD_MAX 500u
#define HELD_BYTES (512u << 10)

struct held {
	TAILQ_ENTRY(held) link;
	struct xmpp_stanza *s;
	struct td_str node; /* of a PEP notification; points into s */
};
struct csi {
	TAILQ_HEAD(held_list, held) held;
	unsigned n;
	size_t bytes;
};

static void
drop(struct csi *csi, struct held *h)
{
	TAILQ_REMOVE(&csi->held, h, link);
	csi->n--;
	csi->bytes -= h->s->inner.len;
	xmpp_stanza_unref(&h->s);
	free(h);
}

static void
let_out(struct xmpp_session *sess)
{
	struct csi *csi = sess->module_data[XMPP_SESSION_SLOT_CSI];
	struct held *h;

	if (csi == NULL)
		return;
	sess->module_data[XMPP_SESSION_SLOT_CSI] = NULL;
	while ((h = TAILQ_FIRST(&csi->held)) != NULL) {
		xmpp_session_put(sess, h->s);
		drop(csi, h);
	}
	free(csi);
}

/* The node of a notification that may wait; TD_STR_NULL when it is something else. */
static struct td_str
event_node(const struct xmpp_stanza *s)
{
	const struct xmpp_node *event = xmpp_node_child(s->root, NS_PUBSUB_EVENT, "event");
	const struct xmpp_node *items =
		event != NULL ? xmpp_node_child(event, NS_PUBSUB_EVENT, "items") : NULL;

	/* from one's own account it keeps the clients in step (bookmarks, read markers): at once */
	if (items == NULL || td_str_eq(s->from.bare, s->to.bare))
		return TD_STR_NULL;
	return xmpp_node_attr(items, "node");
}

/* The one item it is about; TD_STR_NULL when there are several, or some are taken back: such a notification is
 * replaced by no other, and replaces none. */
static struct td_str
event_item(const struct xmpp_stanza *s)
{
	const struct xmpp_node *event = xmpp_node_child(s->root, NS_PUBSUB_EVENT, "event");
	const struct xmpp_node *items = xmpp_node_child(event, NS_PUBSUB_EVENT, "items");
	const struct xmpp_node *item = xmpp_node_child(items, NULL, NULL);

	if (item == NULL || strcmp(item->name, "item") != 0 || xmpp_node_next_elem(item) != NULL)
		return TD_STR_NULL;
	return xmpp_node_attr(item, "id");
}

static bool
can_wait(const struct xmpp_stanza *s, struct td_str *node)
{
	*node = TD_STR_NULL;
	if (s->row != 0 || s->promise != NULL)
		return false;
	if (s->kind == XK_PRESENCE)
		return s->type == XT_NONE || s->type == XT_UNAVAILABLE;
	if (s->kind != XK_MESSAGE || s->root->first == NULL)
		return false;
	if (s->type == XT_HEADLINE || s->type == XT_NONE) {
		*node = event_node(s);
		if (node->p != NULL)
			return true;
	}
	return xmpp_message_only_chat_state(s);
}

static bool
replaces(const struct held *old, const struct xmpp_stanza *s, struct td_str node)
{
	if (old->s->kind != s->kind || !td_str_eq(old->s->from.full, s->from.full) ||
	    !td_str_eq(old->node, node) || (old->node.p != NULL) != (node.p != NULL))
		return false;
	return node.p == NULL ||
	       (event_item(s).p != NULL && td_str_eq(event_item(old->s), event_item(s)));
}

static void
hold(struct xmpp_session *sess, struct xmpp_stanza *s, struct td_str node)
{
	struct csi *csi = sess->module_data[XMPP_SESSION_SLOT_CSI];
	struct held *h, *next;

	if (csi == NULL) {
		csi = td_zalloc(sizeof(*csi));
		TAILQ_INIT(&csi->held);
		sess->module_data[XMPP_SESSION_SLOT_CSI] = csi;
	}
	for (h = TAILQ_FIRST(&csi->held); h != NULL; h = next) {
		next = TAILQ_NEXT(h, link);
		if (replaces(h, s, node))
			drop(csi, h);
	}
	h = td_zalloc(sizeof(*h));
	h->s = xmpp_stanza_ref(s);
	h->node = node;
	TAILQ_INSERT_TAIL(&csi->held, h, link);
	csi->n++;
	csi->bytes += s->inner.len;
	if (csi->n > HELD_MAX || csi->bytes > HELD_BYTES)
		let_out(sess);
}

static int
csi_to_session(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct td_str node;

	if (!sess->inactive)
		return XMPP_PASS;
	if (!can_wait(s, &node)) {
		let_out(sess);
		return XMPP_PASS;
	}
	hold(sess, s, node);
	return XMPP_DONE;
}

void
xmpp_csi_set(struct xmpp_session *sess, bool inactive)
{
	sess->inactive = inactive;
	if (!inactive)
		let_out(sess);
}

static int
csi_nonza(struct xmpp_c2s *c, const struct xmpp_node *n)
{
	struct xmpp_session *sess = xmpp_c2s_session(c);
	bool inactive = xmpp_node_is(n, NS_CSI, "inactive");

	if (!inactive && !xmpp_node_is(n, NS_CSI, "active"))
		return XMPP_PASS;
	if (sess != NULL)
		xmpp_csi_set(sess, inactive);
	return XMPP_DONE;
}

static void
csi_features(struct xmpp_c2s *c, struct td_buf *out)
{
	(void)c;
	td_buf_addz(out, "<csi xmlns='" NS_CSI "'/>");
}

static void
csi_ended(struct xmpp_session *sess)
{
	struct csi *csi = sess->module_data[XMPP_SESSION_SLOT_CSI];
	struct held *h;

	if (csi == NULL)
		return;
	while ((h = TAILQ_FIRST(&csi->held)) != NULL)
		drop(csi, h);
	free(csi);
	sess->module_data[XMPP_SESSION_SLOT_CSI] = NULL;
}

const struct xmpp_module xep_0352_csi = {
	.name = "xep-0352-csi",
	.xep = "0352",
	.doc = "Presence, chat states and notifications wait while the client is inactive",
	.version = "1.0.0",
	.stream_features = csi_features,
	.nonza = csi_nonza,
	.to_session = csi_to_session,
	.session_ended = csi_ended,
};
