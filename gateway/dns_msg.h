/* dns_msg - DNS answers taken apart: the message, SRV and TLSA records, names (RFC 1035 section 4, RFC 2782, RFC 6698).
 * Thread: any; touches only its arguments.  Nothing here trusts a byte: compression pointers, lengths and
 * names are checked, what is malformed is left out. */
#ifndef GATEWAY_DNS_MSG_H
#define GATEWAY_DNS_MSG_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"

struct td_arena;

enum gw_dns_type {
	GW_DNS_A = 1,
	GW_DNS_CNAME = 5,
	GW_DNS_AAAA = 28,
	GW_DNS_SRV = 33,
	GW_DNS_TLSA = 52,
};

#define GW_DNS_MAX_RECORDS 64
#define GW_DNS_NAME_MAX 254 /* as text, with its NUL */

struct gw_dns_srv {
	uint16_t priority, weight, port;
	/* without the last dot, in lower case; "" is the root: "not offered here" */
	char target[GW_DNS_NAME_MAX];
};

struct gw_tlsa {
	uint8_t usage, selector, matching;
	struct td_str data;
};

/* The records of <type> that answer <msg>'s question, CNAMEs followed; at most GW_DNS_MAX_RECORDS.  *rdata_out (in
 * <a>): A has 4 bytes, AAAA 16, SRV its name uncompressed.  *ttl_out is the lowest of all records on the way.  Returns the response
 * code (0, 3 = NXDOMAIN...), or -1: it is no such message. */
int gw_dns_parse(struct td_arena *a, struct td_str msg, int type, struct td_str **rdata_out,
		 size_t *n_out, uint32_t *ttl_out);
/* rdata of gw_dns_parse; false: malformed, or the target is no host name. */
bool gw_dns_srv_parse(struct td_str rdata, struct gw_dns_srv *out);
/* out->data points into <rdata>. */
bool gw_dns_tlsa_parse(struct td_str rdata, struct gw_tlsa *out);
/* Letters, digits, hyphens, underscores in labels of 1 to 63; a dot at the end is fine. */
bool gw_dns_is_host(struct td_str name);
#endif
