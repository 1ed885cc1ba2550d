/* xep_0280_carbons - every client of an account sees the whole conversation (XEP-0280, 0297).
 *
 * Sent: when the message leaves one client, the others that asked get a copy.  Received: when it
 * was given to those RFC 6121 names, those that asked and did not get it do.  A copy is for one
 * session and dies with it: its original is in the archive or on its way by itself.
 *
 * What only a server may say is taken out of what clients send: carbons, and delays in our name. */
#include "xmpp/message.h"
#include "xmpp/modules.h"
#include "xmpp/mam.h"

/* Section 6.1. */
static bool
is_eligible(const struct xmpp_stanza *s, bool received)
{
	if (s->kind != XK_MESSAGE || s->type == XT_GROUPCHAT || s->type == XT_HEADLINE ||
	    s->root->first == NULL)
		return false;
	if (xmpp_node_child(s->root, NS_CARBONS, "private") != NULL ||
	    xmpp_message_has_hint(s, "no-copy"))
		return false;
	if (received && xmpp_message_is_muc_pm(s)) /* the room tells every client by itself */
		return false;
	return s->type == XT_CHAT || xmpp_message_has_body(s) || xmpp_message_is_signal(s) ||
	       xmpp_node_child(s->root, NS_CHATSTATES, NULL) != NULL ||
	       xmpp_node_child(s->root, "urn:xmpp:receipts", NULL) != NULL ||
	       xmpp_message_is_invite(s);
}

/* The message as bytes, with the id it has in the account's own archive. */
static void
add_inner(struct xmpp_user *u, struct xmpp_stanza *s, bool with_id, struct td_buf *out)
{
	static const char end[] = "</message>";

	xmpp_stanza_write(s, true, out);
	if (!with_id || out->len < sizeof(end) || !td_str_ends(td_buf_str(out), end))
		return;
	out->len -= sizeof(end) - 1;
	xmpp_mam_stanza_id(u->env, u->bare, s->archived, out);
	td_buf_addz(out, end);
}

static void
copy_to(struct xmpp_session *sess, struct xmpp_stanza *wrapper)
{
	struct xmpp_stanza *copy = xmpp_stanza_readdress(wrapper, &sess->jid);

	xmpp_session_send(sess, copy);
	xmpp_stanza_unref(&copy);
}

static struct xmpp_stanza *
wrap(struct xmpp_user *u, struct xmpp_stanza *s, const char *name)
{
	struct xmpp_stanza *w = xmpp_stanza_new(XK_MESSAGE, (enum xmpp_type)s->type);
	struct xmpp_jid from = {
		.full = u->bare, .bare = u->bare, .local = u->local, .domain = u->domain
	};
	struct td_buf b = { 0 }, inner = { 0 };

	add_inner(u, s, s->archived != 0 && !(s->flags & XF_ARCHIVED), &inner);
	td_buf_addf(&b, "<%s xmlns='" NS_CARBONS "'><forwarded xmlns='" NS_FORWARD "'>", name);
	td_buf_adds(&b, td_buf_str(&inner));
	td_buf_addf(&b, "</forwarded></%s>", name);
	xmpp_stanza_set_from(w, &from);
	if (s->id.p != NULL)
		xmpp_stanza_set_id(w, s->id);
	xmpp_stanza_append_raw(w, td_buf_str(&b));
	w->flags |= XF_COPY | XF_NO_BOUNCE;
	xmpp_stanza_seal(w);
	td_buf_fini(&inner);
	td_buf_fini(&b);
	return w;
}

static bool
is_wanted(const struct xmpp_session *x, const struct xmpp_session * not,
	  const struct xmpp_stanza *s)
{
	return x->carbons && !x->dead && x != not &&x->took != s;
}

/* To every session that asked, except <not> and those that have it. */
static void
copy_to_others(struct xmpp_user *u, struct xmpp_stanza *s, const struct xmpp_session * not,
	       const char *name)
{
	struct xmpp_session *x = TAILQ_FIRST(&u->sessions), *next;
	struct xmpp_stanza *w;

	while (x != NULL && !is_wanted(x, not, s))
		x = TAILQ_NEXT(x, link);
	if (x == NULL)
		return;
	w = wrap(u, s, name);
	for (; x != NULL; x = next) {
		next = TAILQ_NEXT(x, link);
		if (is_wanted(x, not, s))
			copy_to(x, w);
	}
	xmpp_stanza_unref(&w);
}

static int
carbons_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_user *u = sess->user;

	/* what goes to the account itself reaches its clients as a received one */
	if (u->n_sessions > 1 && s->kind == XK_MESSAGE && s->type != XT_ERROR &&
	    s->to.full.p != NULL && !td_str_eq(s->to.bare, u->bare) && is_eligible(s, false))
		copy_to_others(u, s, sess, "sent");
	return XMPP_PASS;
}

static void
carbons_delivered(struct xmpp_user *u, struct xmpp_stanza *s, unsigned took)
{
	struct xmpp_session *from = NULL;

	if (u->n_sessions <= took || !is_eligible(s, true))
		return;
	/* of what one client of the account sends to another, the sender needs no copy */
	if (td_str_eq(s->from.bare, u->bare))
		from = xmpp_session_find(u, s->from.resource);
	copy_to_others(u, s, from, "received");
}

static int
carbons_iq(struct xmpp_iq *iq)
{
	struct xmpp_session *sess = xmpp_session_find(iq->user, iq->s->from.resource);

	if (sess == NULL) {
		xmpp_iq_error(iq, XE_NOT_ALLOWED, NULL);
		return XMPP_DONE;
	}
	sess->carbons = strcmp(iq->payload->name, "enable") == 0;
	xmpp_iq_result(iq, TD_STR_NULL);
	return XMPP_DONE;
}

static const struct xmpp_iq_entry carbons_iqs[] = {
	{ NS_CARBONS, "enable", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, carbons_iq },
	{ NS_CARBONS, "disable", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, carbons_iq },
	{ 0 },
};
static const char *const carbons_features[] = { NS_CARBONS, "urn:xmpp:carbons:rules:0", NULL };

const struct xmpp_module xep_0280_carbons = {
	.name = "xep-0280-carbons",
	.xep = "0280",
	.doc = "Copies of messages to the other clients of both accounts, by all rules of section "
	       "6",
	.version = "1.0.1",
	.features = carbons_features,
	.account_features = carbons_features,
	.iqs = carbons_iqs,
	.sent = carbons_sent,
	.delivered = carbons_delivered,
};

/* ---- what only a server may say ---- */

static bool
is_ours_to_say(const struct xmpp_node *n, struct td_str domain)
{
	if (n->ns == NULL)
		return false;
	if (strcmp(n->ns, NS_CARBONS) == 0)
		return strcmp(n->name, "private") != 0;
	/* a component, or its client, might take them for ours (XEP-0355, XEP-0356) */
	if (strcmp(n->ns, NS_PRIVILEGE) == 0 || strcmp(n->ns, NS_DELEGATION) == 0)
		return true;
	return xmpp_node_is(n, NS_DELAY, "delay") && td_str_eq(xmpp_node_attr(n, "from"), domain);
}

static int
forward_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_node *n, *next;

	if (s->kind != XK_MESSAGE)
		return XMPP_PASS;
	for (n = xmpp_node_child(s->root, NULL, NULL); n != NULL; n = next) {
		next = xmpp_node_next_elem(n);
		if (is_ours_to_say(n, sess->user->domain)) {
			xmpp_node_unlink(n);
			xmpp_stanza_touch(s);
		}
	}
	return XMPP_PASS;
}

const struct xmpp_module xep_0297_forward = {
	.name = "xep-0297-forward",
	.xep = "0297",
	.doc = "Forged carbons, delay stamps, privileges and delegations are taken out of what "
	       "clients send",
	.version = "1.0",
	.sent = forward_sent,
};
