/* throttle - how often something was done from one place, counted for the whole process: failed logins, new accounts.
 * Thread: any; a lock inside, taken by what is rare (a failed login) or when something is counted at all.
 *
 * Each pair of a kind and a key is a bucket that empties by <count> in <seconds>.  The table has a fixed size: under a
 * flood of keys the emptiest of a few neighbours is forgotten. */
#ifndef XMPP_THROTTLE_H
#define XMPP_THROTTLE_H
#include <stdbool.h>
#include "gateway/base/str.h"

enum xmpp_throttle {
	XT_LOGIN_ADDRESS = 0, /* failed logins from a network */
	XT_LOGIN_ACCOUNT,     /* of one account, from anywhere */
	XT_REGISTER,          /* accounts made from a network */
	XT_INVITE_GUESS,      /* invitations nobody gave, from a network */
	XT_PASSWORD,          /* changes of one account's password */
	XT_CAPTCHA,           /* challenges put to an address or a network */
	XT_CAPTCHA_DOMAIN,    /* and to those of one domain */
	XT_CAPTCHA_WRONG,     /* answered wrongly */
	XT_DELEGATION,        /* questions of one entity to one user (XEP-0355) */
	XT_REPORT             /* abuse an account reports (XEP-0377) */
};
struct xmpp_rate {
	unsigned count, seconds; /* count 0 = no limit */
	bool local;              /* also for addresses of this host */
};
/* The network a peer ("addr:port") counts for: /24 of IPv4, /64 of IPv6; "" for one of this host unless <r> says
 * that they count, too. */
#define XMPP_NETWORK_MAX 64
void xmpp_throttle_network(const char *peer, const struct xmpp_rate *r, char out[XMPP_NETWORK_MAX]);
/* Is it full?  Never for an empty key. */
bool xmpp_throttle_over(enum xmpp_throttle kind, const char *key, const struct xmpp_rate *r);
void xmpp_throttle_count(enum xmpp_throttle kind, const char *key, const struct xmpp_rate *r);
#endif
