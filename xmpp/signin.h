/* signin - what the configuration says about signing in at one of our domains, looked up once.
 * Thread: the worker of the env.  What is returned lives until the loop's turn ends. */
#ifndef XMPP_SIGNIN_H
#define XMPP_SIGNIN_H
#include "xmpp/xmpp.h"

struct xmpp_signin {
	unsigned token_life; /* seconds; 0 = no tokens (XEP-0484) */
};
const struct xmpp_signin *xmpp_signin_of(struct xmpp_env *env, struct td_str domain);

/* A list sasl2.c keeps there. */
struct xmpp_sasl2_offer;
struct xmpp_sasl2_offer **xmpp_signin_offers(struct xmpp_env *env);
void xmpp_signin_stop(struct xmpp_env *env);
#endif
