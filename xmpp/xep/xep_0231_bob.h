/* xep_0231_bob - small data of the server's own, to be fetched by its content-id.
 * Thread: the worker of the env. */
#ifndef XMPP_XEP_0231_BOB_H
#define XMPP_XEP_0231_BOB_H
#include "xmpp/xmpp.h"

#define NS_BOB "urn:xmpp:bob"
#define XMPP_BOB_CID 64    /* room for a content-id and its NUL */
#define XMPP_BOB_MAX 8192u /* bytes of one piece (XEP-0231 section 1) */

/* Keep <data> on this worker for good: for the start of modules, when every worker does it. */
void xmpp_bob_keep(struct xmpp_env *env, const char *type, struct td_str data,
		   char cid[XMPP_BOB_CID]);
/* Keep <data> (at most XMPP_BOB_MAX bytes) on every worker for <max_age> seconds, or until the memory is wanted for
 * what came later.  Its content-id into <cid>. */
void xmpp_bob_put(struct xmpp_env *env, const char *type, struct td_str data, unsigned max_age,
		  char cid[XMPP_BOB_CID]);
/* A request for a piece, answered: what an iq handler does (struct xmpp_iq_entry). */
int xmpp_bob_get(struct xmpp_iq *iq);
#endif
