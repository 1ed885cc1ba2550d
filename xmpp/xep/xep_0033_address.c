/* xep-0033 - extended addressing: a message or presence of ours sent to its own domain with a list of
 * addresses goes to each of them, as if it had been sent that many times.
 *
 * For signed-in clients only: a server that sends strangers' stanzas on is an open relay.  All or nothing: one bad
 * address, and nobody gets anything.  Copies keep the original alive, so what acknowledges it waits for them. */
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/deliver.h"
#include "xmpp/modules.h"

#define NS_ADDRESS "http://jabber.org/protocol/address"

struct list {
	struct xmpp_session *sess;
	struct xmpp_stanza *s;
	struct td_map to; /* full JID -> struct target in <s>'s arena */
	size_t n, max;
};
struct target {
	struct xmpp_jid jid;
	const struct xmpp_node *bcc; /* it is one: its address; else NULL */
};

static bool
is_one_of(struct td_str type, const char *const *words)
{
	for (; *words != NULL; words++)
		if (td_str_eqc(type, *words))
			return true;
	return false;
}

static const char *const sent_to[] = { "to", "cc", "bcc", NULL };
static const char *const others[] = { "replyto", "replyroom", "noreply", "ofrom", NULL };

/* Note one address: 0, or the error (as -1 - enum xmpp_error). */
static int
add(struct list *l, const struct xmpp_node *n)
{
	struct td_str type = xmpp_node_attr(n, "type"), jid = xmpp_node_attr(n, "jid"),
		      uri = xmpp_node_attr(n, "uri");
	struct xmpp_env *env = l->sess->env;
	struct target *t;

	if ((jid.p != NULL && uri.p != NULL) ||
	    (!is_one_of(type, sent_to) && !is_one_of(type, others)))
		return -1 - XE_BAD_REQUEST;
	if (!is_one_of(type, sent_to) || xmpp_is_true(xmpp_node_attr(n, "delivered")))
		return 0;
	if (++l->n > l->max)
		return -1 - XE_NOT_ACCEPTABLE;
	if (uri.p != NULL)
		return -1 - XE_JID_MALFORMED; /* 4.2 */
	if (jid.p == NULL)
		return -1 - XE_BAD_REQUEST;
	t = td_arena_zalloc(l->s->arena, sizeof(*t));
	if (xmpp_jid_parse(l->s->arena, jid, &t->jid, NULL) < 0)
		return -1 - XE_JID_MALFORMED;
	if (env->host->domain(env, t->jid.domain) == XD_UNKNOWN)
		return -1 - XE_FORBIDDEN; /* section 6, step 5 */
	t->bcc = td_str_eqc(type, "bcc") ? n : NULL;
	/* who is named in the open gets no blind copy beside it */
	if (t->bcc == NULL || td_map_find(&l->to, t->jid.full) == NULL)
		(void)td_map_set(&l->to, t->jid.full, t);
	return 0;
}

/* What everybody may read: no blind copies, and those who get it marked. */
static void
clean(struct xmpp_stanza *m)
{
	struct xmpp_node *list = xmpp_node_child(m->root, NS_ADDRESS, "addresses"), *n, *next;

	for (n = xmpp_node_child(list, NULL, NULL); n != NULL; n = next) {
		struct td_str type = xmpp_node_attr(n, "type");

		next = xmpp_node_next_elem(n);
		if (td_str_eqc(type, "bcc"))
			xmpp_node_unlink(n);
		else if (is_one_of(type, sent_to))
			xmpp_node_set(m->arena, n, "delivered", TD_STR("true"));
	}
	xmpp_stanza_touch(m);
}

static void
send_one(struct list *l, const struct xmpp_stanza *open, const struct target *t)
{
	struct xmpp_stanza *m = xmpp_stanza_dup(open);

	if (t->bcc != NULL)
		xmpp_node_append(xmpp_node_child(m->root, NS_ADDRESS, "addresses"),
				 xmpp_node_copy(m->arena, t->bcc));
	m->inner_raw = false;
	m->base = xmpp_stanza_ref(l->s);
	xmpp_stanza_set_to(m, &t->jid);
	xmpp_client_stanza(l->sess, m);
}

static void
send_all(struct list *l)
{
	struct xmpp_stanza *open = xmpp_stanza_dup(l->s);
	const struct target *t;
	size_t i = 0;

	clean(open);
	while (!l->sess->dead && (t = td_map_next(&l->to, &i)) != NULL)
		send_one(l, open, t);
	xmpp_stanza_unref(&open);
}

static int
on_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_env *env = sess->env;
	struct conf_at at = { .protocol = "xmpp" };
	struct list l = { .sess = sess, .s = s };
	const struct xmpp_node *list, *n;
	int rc = 0;

	if (s->kind == XK_IQ || s->to.domain.p == NULL || s->to.local.p != NULL ||
	    s->to.resource.p != NULL ||
	    (list = xmpp_node_child(s->root, NS_ADDRESS, "addresses")) == NULL ||
	    env->host->domain(env, s->to.domain) != XD_LOCAL)
		return XMPP_PASS;
	at.scope = conf_next(env->conf, NULL, "xmpp", NULL);
	at.domain = sess->user->domain;
	l.max = (size_t)conf_int(env->conf, &at, "max_addresses");
	if (s->kind == XK_PRESENCE && s->type != XT_NONE && s->type != XT_UNAVAILABLE)
		rc = -1 - XE_BAD_REQUEST;
	for (n = xmpp_node_child(list, NULL, NULL); rc == 0 && n != NULL;
	     n = xmpp_node_next_elem(n))
		if (xmpp_node_is(n, NS_ADDRESS, "address"))
			rc = add(&l, n);
	if (rc == 0)
		send_all(&l);
	else
		xmpp_bounce(env, s, (enum xmpp_error)(-1 - rc), NULL);
	td_map_fini(&l.to);
	return XMPP_DONE;
}

bool
xmpp_is_multicast(const struct xmpp_stanza *s)
{
	return s->kind == XK_MESSAGE && xmpp_node_child(s->root, NS_ADDRESS, "addresses") != NULL;
}

static const char *const address_features[] = { NS_ADDRESS, NULL };

const struct xmpp_module xep_0033_address = {
	.name = "xep-0033-address",
	.xep = "0033",
	.doc = "One stanza to several addresses, for clients of this server",
	.version = "1.2.1",
	.features = address_features,
	.sent = on_sent,
};
