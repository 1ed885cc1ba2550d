/* xep_0077_register - making accounts before signing in, on a stream under TLS.
 * Thread: the worker that holds the stream. */
#ifndef XMPP_XEP_0077_REGISTER_H
#define XMPP_XEP_0077_REGISTER_H
#include "xmpp/xmpp.h"

struct xmpp_register; /* what a stream did about it so far; belongs to its negotiation */

/* An iq before authentication.  XMPP_PASS: it is not for us, nothing was answered. */
int xmpp_register_stream(struct xmpp_c2s *c, struct xmpp_stanza *s);
void xmpp_register_free(struct xmpp_register *r);
#endif
