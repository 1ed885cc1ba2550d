/* xep_0012_last - last activity: what deliver.c asks.
 * Thread: the owner of the account. */
#ifndef XMPP_XEP_0012_LAST_H
#define XMPP_XEP_0012_LAST_H
#include "xmpp/xmpp.h"
/* Is <s>, an iq to a resource of <u> (which may not exist), one that only those may send who see the presence of
 * the account, and its sender is not one of them? */
bool xmpp_last_forbids(const struct xmpp_user *u, const struct xmpp_stanza *s);
#endif
