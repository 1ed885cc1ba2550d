/* addr - Listen names, Peer networks (momentum.md 2.1, 2.2). */
#include "conf/conf_priv.h"
#include "gateway/base/err.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

static bool
copy_text(struct td_str s, char *out, size_t cap)
{
	if (s.len >= cap || memchr(s.p, '\0', s.len) != NULL)
		return false;
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

static bool
parse_port(struct td_str s, uint16_t *out)
{
	unsigned v = 0;

	if (s.len == 0 || s.len > 5)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s.p[i] - '0');
	}
	*out = htons((uint16_t)v);
	return v <= 65535;
}

static int
parse_unix(struct td_str s, struct sockaddr_storage *out, socklen_t *len_out, struct td_err *err)
{
	struct sockaddr_un *un = (struct sockaddr_un *)out;

	if (s.len >= sizeof(un->sun_path))
		return td_fail(err, TD_E_INVAL, "the socket path is longer than %zu bytes",
			       sizeof(un->sun_path) - 1);
	memset(out, 0, sizeof(*out));
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, s.p, s.len);
	*len_out = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + s.len + 1);
	return 0;
}

static bool
parse_v6(struct td_str host, uint16_t port, struct sockaddr_storage *out, socklen_t *len_out)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = port };
	char tmp[INET6_ADDRSTRLEN];

	if (!td_str_eqc(host, "*") &&
	    (!copy_text(host, tmp, sizeof(tmp)) || inet_pton(AF_INET6, tmp, &in6.sin6_addr) != 1))
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(out, &in6, sizeof(in6));
	*len_out = sizeof(in6);
	return true;
}

static bool
parse_v4(struct td_str host, uint16_t port, struct sockaddr_storage *out, socklen_t *len_out)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = port };
	char tmp[INET_ADDRSTRLEN];

	if (host.len > 0 && !td_str_eqc(host, "*") &&
	    (!copy_text(host, tmp, sizeof(tmp)) || inet_pton(AF_INET, tmp, &in.sin_addr) != 1))
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(out, &in, sizeof(in));
	*len_out = sizeof(in);
	return true;
}

int
conf_parse_listen(struct td_str s, struct sockaddr_storage *out, socklen_t *len_out,
		  struct td_err *err)
{
	struct td_str host;
	ptrdiff_t colon = -1;
	uint16_t port;

	if (s.len == 0 || memchr(s.p, '\0', s.len) != NULL)
		return td_fail(err, TD_E_INVAL, "the address is empty");
	if (s.p[0] == '/')
		return parse_unix(s, out, len_out, err);
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == ':')
			colon = (ptrdiff_t)i;
	if (colon < 0)
		return td_fail(err, TD_E_INVAL,
			       "the port is missing: write *:5222, 192.0.2.1:5222, \"[::1]:5222\" "
			       "or /path.sock");
	host = td_str(s.p, (size_t)colon);
	if (!parse_port(td_str(s.p + colon + 1, s.len - (size_t)colon - 1), &port))
		return td_fail(err, TD_E_INVAL, "the port must be a number from 0 to 65535");
	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']') {
		if (parse_v6(td_str(host.p + 1, host.len - 2), port, out, len_out))
			return 0;
		return td_fail(err, TD_E_INVAL, "\"%.*s\" is not an IPv6 address",
			       TD_STR_ARG(host));
	}
	if (td_str_chr(host, ':') >= 0)
		return td_fail(err, TD_E_INVAL, "an IPv6 address needs brackets: \"[%.*s]:%u\"",
			       TD_STR_ARG(host), ntohs(port));
	if (parse_v4(host, port, out, len_out))
		return 0;
	return td_fail(err, TD_E_INVAL, "\"%.*s\" is not an IPv4 address (names are not looked up)",
		       TD_STR_ARG(host));
}

static void
mask_bits(struct conf_cidr *n, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		unsigned have = n->bits > i * 8 ? n->bits - (unsigned)i * 8 : 0;

		if (have < 8)
			n->addr[i] &= (unsigned char)(0xff00u >> have);
	}
}

bool
conf_parse_cidr(struct td_str s, struct conf_cidr *out)
{
	ptrdiff_t slash = td_str_chr(s, '/');
	struct td_str host = slash >= 0 ? td_str(s.p, (size_t)slash) : s;
	unsigned max, bits = 0;
	char tmp[INET6_ADDRSTRLEN];

	*out = (struct conf_cidr){ 0 };
	if (s.len == 0 || !copy_text(host, tmp, sizeof(tmp)))
		return false;
	if (inet_pton(AF_INET, tmp, out->addr) == 1)
		out->family = AF_INET;
	else if (inet_pton(AF_INET6, tmp, out->addr) == 1)
		out->family = AF_INET6;
	else
		return false;
	max = out->family == AF_INET ? 32 : 128;
	out->bits = max;
	if (slash >= 0) {
		struct td_str n = td_str(s.p + slash + 1, s.len - (size_t)slash - 1);

		if (n.len == 0 || n.len > 3)
			return false;
		for (size_t i = 0; i < n.len; i++) {
			if (n.p[i] < '0' || n.p[i] > '9')
				return false;
			bits = bits * 10 + (unsigned)(n.p[i] - '0');
		}
		if (bits > max)
			return false;
		out->bits = bits;
	}
	mask_bits(out, max / 8);
	return true;
}

static bool
has_bytes(const struct conf_cidr *n, int family, const unsigned char *addr)
{
	size_t whole = n->bits / 8;
	unsigned rest = n->bits % 8;

	if (n->family != family || memcmp(n->addr, addr, whole) != 0)
		return false;
	return rest == 0 || ((n->addr[whole] ^ addr[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

bool
conf_cidr_has(const struct conf_cidr *n, const struct sockaddr *sa)
{
	static const unsigned char loop4[4] = { 127, 0, 0, 1 };
	static const unsigned char loop6[16] = { [15] = 1 };

	if (sa->sa_family == AF_UNIX) /* counts as loopback, momentum.md 2.1 */
		return has_bytes(n, AF_INET, loop4) || has_bytes(n, AF_INET6, loop6);
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		return has_bytes(n, AF_INET, (const unsigned char *)&in.sin_addr);
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
			return has_bytes(n, AF_INET, in6.sin6_addr.s6_addr + 12);
		return has_bytes(n, AF_INET6, in6.sin6_addr.s6_addr);
	}
	return false;
}

bool
conf_cidr_holds(const struct conf_cidr *n, const struct conf_cidr *inner)
{
	return n->bits <= inner->bits && has_bytes(n, inner->family, inner->addr);
}

bool
conf_sockaddr_is_loopback(const struct sockaddr_storage *ss)
{
	static const struct conf_cidr nets[] = {
		{ AF_INET, 8, { 127 } },
		{ AF_INET6, 128, { [15] = 1 } },
	};

	return conf_cidr_has(&nets[0], (const struct sockaddr *)ss) ||
	       conf_cidr_has(&nets[1], (const struct sockaddr *)ss);
}
