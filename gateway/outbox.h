/* outbox - mail made from chat, on its way to the MTA: SMTP by libcurl on the main loop, retried with
 * back-off, and back to its writer as an error when it fails for good.
 * Thread: start, stop, list on the main loop; kick and submit any. */
#ifndef GATEWAY_OUTBOX_H
#define GATEWAY_OUTBOX_H
#include "gateway/gateway.h"
/* Something new is in the store's outbox, or `outbox retry`: look now. */
void gw_outbox_kick(struct gw *gw);
/* A script's mail (msg:inject): store a row and kick; from empty = null sender. Blocks up to 5 s for the
 * commit when called off the loops (milter threads), else returns at once and logs failures.
 * <hold> (may be NULL): the stanza it was made of, on <env>'s worker; a reference is kept until the commit,
 * so that it is not acknowledged before, and its sender gets an error when that fails.
 * TD_E_UNSUPPORTED without mail {}. */
int gw_outbox_submit(struct gw *gw, struct td_str from, struct td_str to, struct td_str data,
		     struct xmpp_env *env, struct xmpp_stanza *hold, struct td_err *err);
#endif
