/* xep_0292_vcard4 - between vCard4 (XEP-0292) and vcard-temp.
 * Thread: the worker of the account. */
#ifndef XMPP_XEP_0292_VCARD4_H
#define XMPP_XEP_0292_VCARD4_H
#include "xmpp/xmpp.h"

#define NS_VCARD4 "urn:ietf:params:xml:ns:vcard-4.0"
#define NODE_VCARD4 "urn:xmpp:vcard4"

/* The vcard-temp that <v4> makes, with what of <stored> (the account's own; NULL = none) vCard4 cannot say. */
struct xmpp_node *xmpp_vcard4_view(struct td_arena *a, const struct xmpp_node *v4,
				   const struct xmpp_node *stored);
/* The vcard-temp <card> (serialised) was set: publish it.  done(arg) when that is under way, so that what is published
 * later comes later; maybe now. */
void xmpp_vcard4_from_vcard(struct xmpp_user *u, struct td_str card, void (*done)(void *arg),
			    void *arg);
#endif
