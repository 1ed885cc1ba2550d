/* proxy65 - the sockets of SOCKS5 bytestreams (XEP-0065): joins two connections that came in with the same
 * name, once their initiator said so.  It never connects to anybody.
 * Thread: all of it is the last worker's; stanzas for proxy domains are routed there (router.c). */
#ifndef GATEWAY_PROXY65_H
#define GATEWAY_PROXY65_H
#include "gateway/gateway.h"

/* Which worker has the proxies. */
unsigned gw_proxy65_worker(const struct gw *gw);
/* Listen where the snapshot of <w> says, and nowhere else; connections that are joined go on. */
void gw_proxy65_apply(struct gw_worker *w);
void gw_proxy65_fini(struct gw_worker *w);

/* For struct xmpp_host. */
bool gw_proxy65_address(struct xmpp_env *env, struct td_str domain, struct td_buf *host,
			unsigned *port);
int gw_proxy65_activate(struct xmpp_env *env, struct td_str domain, const char *name);
#endif
