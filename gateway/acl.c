/* acl - CIDR matching. */
#include "gateway/acl.h"

#include <arpa/inet.h>
#include <netinet/in.h>

bool
gw_net_parse(struct td_str s, struct gw_net *out)
{
	ptrdiff_t slash = td_str_chr(s, '/');
	struct td_str host = slash < 0 ? s : td_str(s.p, (size_t)slash);
	char text[INET6_ADDRSTRLEN];
	struct gw_net n = { 0 };
	int64_t bits;

	if (host.len == 0 || host.len >= sizeof(text))
		return false;
	memcpy(text, host.p, host.len);
	text[host.len] = '\0';
	if (inet_pton(AF_INET, text, n.addr) == 1)
		n.family = AF_INET;
	else if (inet_pton(AF_INET6, text, n.addr) == 1)
		n.family = AF_INET6;
	else
		return false;
	bits = n.family == AF_INET ? 32 : 128;
	if (slash >= 0 &&
	    !td_str_to_i64(td_str(s.p + slash + 1, s.len - (size_t)slash - 1), 0, bits, &bits))
		return false;
	n.bits = (unsigned)bits;
	*out = n;
	return true;
}

bool
gw_net_has(const struct gw_net *n, const struct sockaddr *sa)
{
	const unsigned char *addr = NULL;
	int family = sa->sa_family;
	unsigned whole = n->bits / 8, rest = n->bits % 8;

	if (family == AF_INET) {
		addr = (const unsigned char *)&((const struct sockaddr_in *)(const void *)sa)
			       ->sin_addr;
	} else if (family == AF_INET6) {
		const struct in6_addr *in6 =
			&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

		addr = in6->s6_addr;
		if (IN6_IS_ADDR_V4MAPPED(in6)) {
			addr += 12;
			family = AF_INET;
		}
	}
	if (addr == NULL || family != n->family || memcmp(addr, n->addr, whole) != 0)
		return false;
	return rest == 0 || ((addr[whole] ^ n->addr[whole]) >> (8 - rest)) == 0;
}

bool
gw_nets_have(const struct gw_net *nets, size_t n, const struct sockaddr *sa)
{
	for (size_t i = 0; i < n; i++)
		if (gw_net_has(&nets[i], sa))
			return true;
	return false;
}
