/* socks - the two messages of a client of a SOCKS5 bytestream, and what they are answered (RFC 1928 sections 3 and 4,
 * as XEP-0065 10.2 maps them).
 * Thread: any; touches only its arguments.  Errors: TD_E_INVAL, with the answer to send before closing, if any. */
#ifndef GATEWAY_SOCKS_H
#define GATEWAY_SOCKS_H
#include "gateway/base/str.h"

#define GW_SOCKS_NAME 40u /* hex digits of SHA-1 */
#define GW_SOCKS_MAX 262u /* the longest greeting or request */
enum {
	GW_SOCKS_REFUSED = 2, /* RFC 1928 section 6: not allowed */
	GW_SOCKS_COMMAND = 7,
	GW_SOCKS_ADDRESS = 8,
};

struct gw_socks_reply {
	unsigned char bytes[7 + GW_SOCKS_NAME];
	size_t n; /* 0 = nothing is to be said */
};

/* Look at the first bytes: how many it was; 0: not all are there. */
int gw_socks_greeting(struct td_str in, struct gw_socks_reply *reply);
/* Likewise; the digits in lower case into <name>, NUL-terminated. */
int gw_socks_request(struct td_str in, char name[GW_SOCKS_NAME + 1], struct gw_socks_reply *reply);
void gw_socks_refuse(unsigned char status, struct gw_socks_reply *reply);
#endif
