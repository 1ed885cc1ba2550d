/* lmtp - send one mail to one recipient by LMTP (RFC 2033), which libcurl does not speak.
 * Thread: the loop given. */
#ifndef GATEWAY_LMTP_H
#define GATEWAY_LMTP_H
#include "gateway/base/loop.h"
#include "gateway/base/str.h"

enum gw_lmtp_outcome {
	LMTP_SENT = 0,
	LMTP_REFUSED /* 5xx */,
	LMTP_LATER
};
typedef void gw_lmtp_cb(void *arg, enum gw_lmtp_outcome how, const char *reply);
struct gw_lmtp;
struct gw_lmtp_mail {
	const char *helo;
	struct td_str from, to, data;
};
/* <url>: lmtp://host:port (IPv4, [v6] or name) or lmtp:/path of a unix socket.  Strings of <m> must live until the
 * callback, which comes exactly once, never before this returns; gw_lmtp_free belongs to the callback's owner. */
struct gw_lmtp *gw_lmtp_send(struct td_loop *loop, const char *url, const struct gw_lmtp_mail *m,
			     unsigned timeout_s, gw_lmtp_cb *cb, void *arg);
/* Without a callback when it did not come yet. NULL is fine. */
void gw_lmtp_free(struct gw_lmtp *l);
#endif
