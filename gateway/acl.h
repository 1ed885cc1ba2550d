/* acl - networks: which addresses they hold.
 * Thread: any; touches only its arguments.  IPv4-mapped IPv6 addresses count as IPv4. */
#ifndef GATEWAY_ACL_H
#define GATEWAY_ACL_H
#include <stdbool.h>
#include <sys/socket.h>
#include "gateway/base/str.h"

struct gw_net {
	int family;
	unsigned bits;
	unsigned char addr[16];
};

/* "192.0.2.0/24", "2001:db8::/32", or one address.  False: it is neither. */
bool gw_net_parse(struct td_str s, struct gw_net *out);
bool gw_net_has(const struct gw_net *n, const struct sockaddr *sa);
/* Any of <n>? */
bool gw_nets_have(const struct gw_net *nets, size_t n, const struct sockaddr *sa);
#endif
