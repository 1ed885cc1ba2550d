/* service - services that are one address and a list of requests: directory, file transfer proxy. */
#include "xmpp/xmpp.h"

static const struct xmpp_iq_entry *
request_of(const struct xmpp_stanza *s, const struct xmpp_node *payload,
	   const struct xmpp_iq_entry *r)
{
	for (; payload != NULL && r->ns != NULL; r++)
		if ((r->flags & (s->type == XT_GET   ? IQ_GET
				 : s->type == XT_SET ? IQ_SET
						     : 0u)) != 0 &&
		    xmpp_node_is(payload, r->ns, r->name))
			return r;
	return NULL;
}

void
xmpp_service_serve(struct xmpp_env *env, struct xmpp_stanza *s,
		   const struct xmpp_iq_entry *requests)
{
	struct xmpp_iq iq = { .env = env, .s = s };
	const struct xmpp_iq_entry *r;

	if (s->kind == XK_IQ && s->to.local.p == NULL && s->to.resource.p == NULL)
		iq.payload = xmpp_stanza_payload(s);
	r = request_of(s, iq.payload, requests);
	if (r == NULL && s->to.local.p == NULL) {
		xmpp_deliver_server(env, s);
		return;
	}
	if (r != NULL && (r->flags & IQ_FROM_CLIENT) && !(s->flags & XF_FROM_CLIENT))
		xmpp_iq_error(&iq, XE_FORBIDDEN, NULL);
	else if (r != NULL)
		(void)r->handle(&iq);
	else if (s->kind != XK_PRESENCE)
		xmpp_bounce(env, s, XE_ITEM_NOT_FOUND, NULL);
	xmpp_stanza_unref(&s);
}

int
xmpp_service_info(struct xmpp_iq *iq, struct td_str content)
{
	struct td_buf b = { 0 };

	if (xmpp_node_attr(iq->payload, "node").len > 0) {
		xmpp_iq_error(iq, XE_ITEM_NOT_FOUND, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "'>");
	td_buf_adds(&b, content);
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

int
xmpp_service_no_items(struct xmpp_iq *iq)
{
	xmpp_iq_result(iq, TD_STR("<query xmlns='" NS_DISCO_ITEMS "'/>"));
	return XMPP_DONE;
}
