/* xep-0279 - server IP check: tells a client the address and port it comes from, and nobody else's. */
#include "xmpp/c2s.h"
#include "xmpp/c2s_priv.h"
#include "xmpp/modules.h"

#define NS_SIC "urn:xmpp:sic:1"

/* "1.2.3.4:5", "[::1]:5"; false: no Internet address (a Unix socket). */
static bool
split_peer(struct td_str peer, struct td_str *ip, struct td_str *port)
{
	size_t colon = peer.len;

	while (colon > 0 && peer.p[colon - 1] != ':')
		colon--;
	if (colon == 0)
		return false;
	*port = td_str(peer.p + colon, peer.len - colon);
	*ip = td_str(peer.p, colon - 1);
	if (ip->len > 2 && ip->p[0] == '[' && ip->p[ip->len - 1] == ']')
		*ip = td_str(ip->p + 1, ip->len - 2);
	return ip->len > 0;
}

static int
address_get(struct xmpp_iq *iq)
{
	struct xmpp_user *u =
		iq->user != NULL ? iq->user : xmpp_user_find(iq->env, iq->s->from.bare);
	struct xmpp_session *sess = u != NULL && td_str_eq(u->bare, iq->s->from.bare)
					    ? xmpp_session_find(u, iq->s->from.resource)
					    : NULL;
	struct td_str ip, port;
	struct td_buf b = { 0 };

	if (sess == NULL || sess->stream == NULL) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	if (!split_peer(td_cstr(sess->stream->cc->ops->peer(sess->stream->io)), &ip, &port)) {
		xmpp_iq_error(iq, XE_ITEM_NOT_FOUND, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<address xmlns='" NS_SIC "'><ip>");
	td_buf_add_xml(&b, ip);
	td_buf_addz(&b, "</ip><port>");
	td_buf_add_xml(&b, port);
	td_buf_addz(&b, "</port></address>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static const char *const sic_features[] = { NS_SIC, NULL };

static const struct xmpp_iq_entry sic_iqs[] = {
	{ NS_SIC, "address", IQ_GET | IQ_TO_HOST | IQ_TO_ACCOUNT | IQ_OWN_ONLY, address_get },
	{ 0 },
};

const struct xmpp_module xep_0279_ip_check = {
	.name = "xep-0279-ip-check",
	.xep = "0279",
	.doc = "A client's own address and port as the server sees them",
	.version = "0.2",
	.features = sic_features,
	.iqs = sic_iqs,
};
