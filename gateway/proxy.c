/* proxy - parse a PROXY header without consuming what follows it. */
#include "gateway/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include "gateway/base/err.h"

#define V1_MAX 107
#define V2_FIXED 16

static const char v2_sig[12] = {
	'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'
};

/* Next blank-separated word of <line> into out[64]; false when there is none. */
static bool
word(struct td_str *line, char out[64])
{
	ptrdiff_t at = td_str_chr(*line, ' ');
	size_t n = at < 0 ? line->len : (size_t)at;

	if (n == 0 || n >= 64 || memchr(line->p, '\0', n) != NULL)
		return false;
	memcpy(out, line->p, n);
	out[n] = '\0';
	line->p += at < 0 ? n : n + 1;
	line->len -= at < 0 ? n : n + 1;
	return true;
}

static int
parse_v1(struct td_str head, struct sockaddr_storage *peer)
{
	const char *nl = memmem(head.p, head.len < V1_MAX ? head.len : V1_MAX, "\r\n", 2);
	struct sockaddr_in *in4 = (struct sockaddr_in *)peer;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)peer;
	char proto[64], src[64], dst[64], port[64];
	struct td_str line;
	int64_t n;

	if (nl == NULL)
		return head.len >= V1_MAX ? TD_E_INVAL : 0;
	line = td_str(head.p + 6, (size_t)(nl - head.p) - 6);
	if (!word(&line, proto))
		return TD_E_INVAL;
	if (strcmp(proto, "UNKNOWN") == 0)
		return (int)(nl + 2 - head.p);
	if (!word(&line, src) || !word(&line, dst) || !word(&line, port) ||
	    !td_str_to_dec(td_cstr(port), 0, 65535, &n))
		return TD_E_INVAL;
	if (strcmp(proto, "TCP4") == 0 && inet_pton(AF_INET, src, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)n);
	} else if (strcmp(proto, "TCP6") == 0 && inet_pton(AF_INET6, src, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)n);
	} else {
		return TD_E_INVAL;
	}
	return (int)(nl + 2 - head.p);
}

static int
parse_v2(struct td_str head, struct sockaddr_storage *peer)
{
	const unsigned char *p = (const unsigned char *)head.p;
	struct sockaddr_in *in4 = (struct sockaddr_in *)peer;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)peer;
	size_t len;

	if (head.len < V2_FIXED)
		return 0;
	len = (size_t)p[14] << 8 | p[15];
	if (p[12] >> 4 != 2 || (p[12] & 0xFu) > 1 || len > GW_PROXY_MAX - V2_FIXED)
		return TD_E_INVAL;
	if (head.len < V2_FIXED + len)
		return 0;
	if ((p[12] & 0xFu) == 0) /* LOCAL: the proxy's own check */
		return (int)(V2_FIXED + len);
	if (p[13] == 0x11 && len >= 12) {
		in4->sin_family = AF_INET;
		memcpy(&in4->sin_addr, p + 16, 4);
		memcpy(&in4->sin_port, p + 24, 2);
	} else if (p[13] == 0x21 && len >= 36) {
		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, p + 16, 16);
		memcpy(&in6->sin6_port, p + 48, 2);
	}
	return (int)(V2_FIXED + len);
}

int
gw_proxy_parse(struct td_str head, struct sockaddr_storage *peer)
{
	size_t n = head.len < sizeof(v2_sig) ? head.len : sizeof(v2_sig);

	memset(peer, 0, sizeof(*peer));
	if (memcmp(head.p, v2_sig, n) == 0)
		return n < sizeof(v2_sig) ? 0 : parse_v2(head, peer);
	n = head.len < 6 ? head.len : 6;
	if (memcmp(head.p, "PROXY ", n) == 0)
		return n < 6 ? 0 : parse_v1(head, peer);
	return TD_E_INVAL;
}
