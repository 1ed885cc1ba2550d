/* xep-0065 - SOCKS5 bytestreams: the stanzas of the proxy, a domain with service = "proxy65".  The sockets are the
 * host's.
 *
 * Users of this server may use it.  The name under which two connections wait is a hash of stream id, initiator and
 * target; that the initiator sent the activation is what makes it his. */
#include <openssl/evp.h>
#include <stdlib.h>
#include "xmpp/modules.h"

#define NS_BYTESTREAMS "http://jabber.org/protocol/bytestreams"
#define SID_MAX 256u

static int
disco_info(struct xmpp_iq *iq)
{
	return xmpp_service_info(
		iq, TD_STR("<identity category='proxy' type='bytestreams' name='File transfer'/>"
			   "<feature var='" NS_DISCO_INFO "'/>"
			   "<feature var='" NS_DISCO_ITEMS "'/>"
			   "<feature var='" NS_BYTESTREAMS "'/>"));
}

static int
address_get(struct xmpp_iq *iq)
{
	struct td_buf host = { 0 }, b = { 0 };
	unsigned port;

	if (iq->env->host->bytestream_address == NULL ||
	    !iq->env->host->bytestream_address(iq->env, iq->s->to.domain, &host, &port)) {
		xmpp_iq_error(iq, XE_NOT_ALLOWED, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<query xmlns='" NS_BYTESTREAMS "'><streamhost jid='");
	td_buf_add_xml(&b, iq->s->to.domain);
	td_buf_addz(&b, "' host='");
	td_buf_add_xml(&b, td_buf_str(&host));
	td_buf_addf(&b, "' port='%u'/></query>", port);
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&host);
	td_buf_fini(&b);
	return XMPP_DONE;
}

static void
activate(struct xmpp_iq *iq, struct td_str sid, const struct xmpp_jid *target)
{
	unsigned char hash[20];
	struct td_buf in = { 0 }, name = { 0 };
	int there;

	td_buf_adds(&in, sid);
	td_buf_adds(&in, iq->s->from.full);
	td_buf_adds(&in, target->full);
	if (EVP_Digest(in.p, in.len, hash, NULL, EVP_sha1(), NULL) != 1)
		abort();
	td_buf_add_hex(&name, hash, sizeof(hash));
	there = iq->env->host->bytestream_activate(iq->env, iq->s->to.domain, td_buf_cstr(&name));
	td_buf_fini(&in);
	td_buf_fini(&name);
	if (there == 2)
		xmpp_iq_result(iq, TD_STR_NULL);
	else /* 6.3.5: one is there, or nobody under the name the sender may activate */
		xmpp_iq_error(iq, there == 1 ? XE_NOT_ALLOWED : XE_ITEM_NOT_FOUND, NULL);
}

static int
activate_set(struct xmpp_iq *iq)
{
	const struct xmpp_node *n = xmpp_node_child(iq->payload, NS_BYTESTREAMS, "activate");
	struct td_str sid = xmpp_node_attr(iq->payload, "sid");
	struct xmpp_jid target;

	if (n == NULL || sid.len == 0 || sid.len > SID_MAX)
		xmpp_iq_error(iq, XE_BAD_REQUEST, NULL);
	else if (xmpp_jid_parse(iq->s->arena, td_str_trim(xmpp_node_text(iq->s->arena, n)), &target,
				NULL) < 0)
		xmpp_iq_error(iq, XE_JID_MALFORMED, NULL);
	else if (iq->env->host->bytestream_activate == NULL)
		xmpp_iq_error(iq, XE_NOT_ALLOWED, NULL);
	else
		activate(iq, sid, &target);
	return XMPP_DONE;
}

static const struct xmpp_iq_entry requests[] = {
	{ NS_DISCO_INFO, "query", IQ_GET, disco_info },
	{ NS_DISCO_ITEMS, "query", IQ_GET, xmpp_service_no_items },
	{ NS_BYTESTREAMS, "query", IQ_GET | IQ_FROM_CLIENT, address_get },
	{ NS_BYTESTREAMS, "query", IQ_SET | IQ_FROM_CLIENT, activate_set },
	{ 0 },
};

static void
proxy_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	xmpp_service_serve(env, s, requests);
}

const struct xmpp_module xep_0065_bytestreams = {
	.name = "xep-0065-bytestreams",
	.xep = "0065",
	.doc = "A proxy (service = \"proxy65\") that joins two clients which cannot reach each "
	       "other",
	.version = "1.8.2",
	.service = "proxy65",
	.service_deliver = proxy_deliver,
};
