/* acl, and the PROXY header that names the address an ACL is asked about. */
#include "gateway/acl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include "gateway/base/err.h"
#include "gateway/proxy.h"
#include "suite.h"

static struct sockaddr *
addr(const char *text)
{
	static struct sockaddr_storage ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

	memset(&ss, 0, sizeof(ss));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
	} else {
		ck_assert_int_eq(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
		in6->sin6_family = AF_INET6;
	}
	return (struct sockaddr *)&ss;
}

static const struct {
	const char *net, *addr;
	bool in;
} matches[] = {
	{ "192.0.2.0/24", "192.0.2.255", true },
	{ "192.0.2.0/24", "192.0.3.0", false },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "0.0.0.0/0", "203.0.113.9", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "::/0", "2001:db8::1", true },
	{ "::/0", "192.0.2.1", false },
	{ "192.0.2.128/25", "192.0.2.127", false },
	{ "192.0.2.128/25", "192.0.2.129", true },
	{ "192.0.2.4/31", "192.0.2.5", true },
	{ "192.0.2.4/31", "192.0.2.6", false },
	{ "2001:db8::/33", "2001:db8:7fff::1", true },
	{ "2001:db8::/33", "2001:db8:8000::1", false },
	{ "::1", "::1", true },
	{ "192.0.2.0/24", "::ffff:192.0.2.7", true }, /* mapped */
	{ "::/0", "::ffff:192.0.2.7", false },
};

START_TEST(test_match)
{
	struct gw_net n;

	ck_assert(gw_net_parse(td_cstr(matches[_i].net), &n));
	ck_assert_int_eq(gw_net_has(&n, addr(matches[_i].addr)), matches[_i].in);
	ck_assert_int_eq(gw_nets_have(&n, 1, addr(matches[_i].addr)), matches[_i].in);
	ck_assert(!gw_nets_have(&n, 0, addr(matches[_i].addr)));
}
END_TEST

START_TEST(test_malformed)
{
	static const char *const bad[] = {
		"",        "/",           "/8",      "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1",
		"192.0.2", "example.org", "::1/129", "[::1]",      "192.0.2.0/2x", "1.2.3.4.5",
		"*"
	};
	struct gw_net n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!gw_net_parse(td_cstr(bad[i]), &n), "%s", bad[i]);
}
END_TEST

#define V2 "\r\n\r\n\0\r\nQUIT\n"
static const struct {
	const char *bytes;
	size_t n;
	int rc; /* bytes taken, 0 more wanted, < 0 none */
	const char *peer;
	unsigned port;
} headers[] = {
#define H(s, rc, peer, port)                     \
	{                                        \
		s, sizeof(s) - 1, rc, peer, port \
	}
	H("PROXY TCP4 192.0.2.1 192.0.2.2 1234 5222\r\nrest", 42, "192.0.2.1", 1234),
	H("PROXY TCP6 2001:db8::1 2001:db8::2 1234 5222\r\n", 46, "2001:db8::1", 1234),
	H("PROXY UNKNOWN\r\n", 15, NULL, 0),
	H("PROXY UNKNOWN anything at all\r\n", 31, NULL, 0),
	H("PROXY TCP4 192.0.2.1 192.0.2.2 1234 5222", 0, NULL, 0),
	H("PRO", 0, NULL, 0),
	H("\r\n\r\n", 0, NULL, 0),
	H("PROXY TCP4 192.0.2.1 192.0.2.2 70000 5222\r\n", TD_E_INVAL, NULL, 0),
	H("PROXY TCP4 2001:db8::1 192.0.2.2 1 5222\r\n", TD_E_INVAL, NULL, 0),
	H("PROXY TCP4\0 192.0.2.1 192.0.2.2 1 5222\r\n", TD_E_INVAL, NULL, 0),
	H("PROXY TCP4\r\n", TD_E_INVAL, NULL, 0),
	H("PROXY \r\n", TD_E_INVAL, NULL, 0),
	H("<stream:stream", TD_E_INVAL, NULL, 0),
	H("PROXY TCP4 "
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaa",
	  TD_E_INVAL, NULL, 0),
	H(V2 "\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\x08\4\xd2\x14\x66", 28, "192.0.2.7", 1234),
	H(V2 "\x21\x11\0\x0c\xc0\0\2\7", 0, NULL, 0),
	H(V2 "\x20\0\0\0", 16, NULL, 0),               /* LOCAL */
	H(V2 "\x21\0\0\0", 16, NULL, 0),               /* PROXY, unspecified family */
	H(V2 "\x11\x11\0\0", TD_E_INVAL, NULL, 0),     /* version 1 in a version 2 header */
	H(V2 "\x21\x11\xff\xff", TD_E_INVAL, NULL, 0), /* too long */
#undef H
};

START_TEST(test_proxy)
{
	struct sockaddr_storage ss;
	char *copy = td_alloc(headers[_i].n); /* so that a read behind the end is seen */

	memcpy(copy, headers[_i].bytes, headers[_i].n);
	ck_assert_int_eq(gw_proxy_parse(td_str(copy, headers[_i].n), &ss), headers[_i].rc);
	if (headers[_i].peer != NULL) {
		ck_assert_int_eq(ss.ss_family,
				 strchr(headers[_i].peer, ':') != NULL ? AF_INET6 : AF_INET);
		ck_assert_uint_eq(ntohs(((struct sockaddr_in *)&ss)->sin_port), headers[_i].port);
		if (ss.ss_family == AF_INET)
			ck_assert_mem_eq(
				&((struct sockaddr_in *)&ss)->sin_addr,
				&((struct sockaddr_in *)(void *)addr(headers[_i].peer))->sin_addr,
				4);
	} else if (headers[_i].rc > 0) {
		ck_assert_int_eq(ss.ss_family, AF_UNSPEC);
	}
	free(copy);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_loop_test(tc, test_match, 0, sizeof(matches) / sizeof(matches[0]));
	tcase_add_test(tc, test_malformed);
	tcase_add_loop_test(tc, test_proxy, 0, sizeof(headers) / sizeof(headers[0]));
}

int
main(void)
{
	return run_suite("acl", fill);
}
