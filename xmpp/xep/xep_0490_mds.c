/* xep-0490 - what was displayed, for the account's other clients: the server publishes what a message says of it (4.5). */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"

#define NS_MDS "urn:xmpp:mds:displayed:0"
#define PAYLOAD_MAX 4096u

struct displayed {
	struct td_buf payload;
	size_t id_len;
	char id[];
};

static void
publish(struct ps_host *h, void *arg)
{
	struct displayed *d = arg;
	struct ps_own_item item = { td_str(d->id, d->id_len), td_buf_str(&d->payload) };
	struct ps_change *c;

	if (h != NULL && h->loaded) {
		c = ps_change_new(h, NULL);
		ps_change_publish(c, ps_change_node(c, TD_STR(NS_MDS)), &item, 1, h->jid);
		ps_change_commit(c);
	}
	td_buf_fini(&d->payload);
	free(d);
}

/* Before anything keeps or copies the message: the element is nobody else's business (5.2). */
static int
mds_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct displayed *d;
	struct xmpp_node *n;

	if (s->kind != XK_MESSAGE || s->type == XT_ERROR ||
	    (n = xmpp_node_child(s->root, NS_MDS, "displayed")) == NULL)
		return XMPP_PASS;
	d = td_zalloc(sizeof(*d) + s->to.full.len);
	d->id_len = s->to.full.len;
	if (d->id_len > 0)
		memcpy(d->id, s->to.full.p, d->id_len);
	xmpp_node_write(&d->payload, n, "");
	do
		xmpp_node_unlink(n);
	while ((n = xmpp_node_child(s->root, NS_MDS, "displayed")) != NULL);
	xmpp_stanza_touch(s);
	if (d->id_len > 0 && d->payload.len <= PAYLOAD_MAX && !sess->user->anonymous) {
		ps_host_with(ps_host_pep(sess->user), publish, d);
	} else {
		td_buf_fini(&d->payload);
		free(d);
	}
	return XMPP_PASS;
}

static const char *const mds_features[] = { "urn:xmpp:mds:server-assist:0", NULL };

const struct xmpp_module xep_0490_mds = {
	.name = "xep-0490-mds",
	.xep = "0490",
	.doc = "Displayed states are published from messages (server assist)",
	.version = "1.0.1",
	.account_features = mds_features,
	.sent = mds_sent,
};
