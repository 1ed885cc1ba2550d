/* xep-0199 - ping to a domain, or to an account by those who may see it.  A ping to a full
 * address is the client's to answer.
 *
 * This is also the file to copy for a new XEP: docs/hacking/adding-a-xep.md. */
#include "xmpp/im.h"
#include "xmpp/modules.h"

static int
ping_get(struct xmpp_iq *iq)
{
	/* strangers must not learn by a ping which accounts exist */
	if (iq->user != NULL && !xmpp_presence_may_see(iq->user, &iq->s->from))
		return XMPP_PASS;
	xmpp_iq_result(iq, TD_STR_NULL);
	return XMPP_DONE;
}

static const char *const ping_features[] = { NS_PING, NULL };

static const struct xmpp_iq_entry ping_iqs[] = {
	{ NS_PING, "ping", IQ_GET | IQ_TO_HOST | IQ_TO_ACCOUNT, ping_get },
	{ 0 },
};

const struct xmpp_module xep_0199_ping = {
	.name = "xep-0199-ping",
	.xep = "0199",
	.doc = "Pings to a domain and to one's own account are answered",
	.version = "2.0.1",
	.features = ping_features,
	.account_features = ping_features,
	.iqs = ping_iqs,
};
