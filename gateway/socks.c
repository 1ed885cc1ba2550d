/* socks - greeting and request, without the sockets they come from (proxy65.c). */
#include "gateway/socks.h"

#include "gateway/base/err.h"

#define VERSION 5
#define CONNECT 1
#define DOMAIN_NAME 3

void
gw_socks_refuse(unsigned char status, struct gw_socks_reply *reply)
{
	const unsigned char bytes[] = { VERSION, status, 0, 1, 0, 0, 0, 0, 0, 0 };

	memcpy(reply->bytes, bytes, sizeof(bytes));
	reply->n = sizeof(bytes);
}

int
gw_socks_greeting(struct td_str in, struct gw_socks_reply *reply)
{
	const unsigned char *p = (const unsigned char *)in.p;
	size_t n = in.len < 2 ? 2 : 2u + p[1];

	reply->n = 0;
	if (in.len > 0 && p[0] != VERSION)
		return TD_E_INVAL;
	if (in.len < n)
		return 0;
	reply->bytes[0] = VERSION;
	reply->bytes[1] = memchr(p + 2, 0, n - 2) != NULL ? 0 : 0xff; /* no method but "none" */
	reply->n = 2;
	return reply->bytes[1] == 0 ? (int)n : TD_E_INVAL;
}

static bool
read_name(const unsigned char *in, char out[GW_SOCKS_NAME + 1])
{
	for (size_t i = 0; i < GW_SOCKS_NAME; i++) {
		char c = (char)in[i];

		if (c >= 'A' && c <= 'F')
			c = (char)(c + 32);
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		out[i] = c;
	}
	out[GW_SOCKS_NAME] = '\0';
	return true;
}

int
gw_socks_request(struct td_str in, char name[GW_SOCKS_NAME + 1], struct gw_socks_reply *reply)
{
	const unsigned char *p = (const unsigned char *)in.p;
	const size_t n = sizeof(reply->bytes);

	reply->n = 0;
	if (in.len < 5)
		return 0;
	if (p[0] != VERSION || p[1] != CONNECT || p[3] != DOMAIN_NAME || p[4] != GW_SOCKS_NAME) {
		gw_socks_refuse(p[1] != CONNECT ? GW_SOCKS_COMMAND : GW_SOCKS_ADDRESS, reply);
		return TD_E_INVAL;
	}
	if (in.len < n)
		return 0;
	if (!read_name(p + 5, name)) {
		gw_socks_refuse(GW_SOCKS_REFUSED, reply);
		return TD_E_INVAL;
	}
	/* section 6: what was asked for, as it came */
	memcpy(reply->bytes, p, n);
	reply->bytes[1] = reply->bytes[2] = 0;
	reply->n = n;
	return (int)n;
}
