/* test_throttle - leaky buckets, and the network an address counts for. */
#include "xmpp/throttle.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const struct xmpp_rate four = { .count = 4, .seconds = 3600, .local = true };

START_TEST(full)
{
	for (int i = 0; i < 4; i++) {
		ck_assert(!xmpp_throttle_over(XT_REGISTER, "a", &four));
		xmpp_throttle_count(XT_REGISTER, "a", &four);
	}
	ck_assert(xmpp_throttle_over(XT_REGISTER, "a", &four));
	ck_assert(!xmpp_throttle_over(XT_REGISTER, "b", &four));
	ck_assert(!xmpp_throttle_over(XT_LOGIN_ADDRESS, "a", &four));
}
END_TEST

START_TEST(no_limit)
{
	const struct xmpp_rate none = { 0 };

	for (int i = 0; i < 100; i++) {
		xmpp_throttle_count(XT_LOGIN_ACCOUNT, "a", &none);
		xmpp_throttle_count(XT_LOGIN_ACCOUNT, "", &four);
	}
	ck_assert(!xmpp_throttle_over(XT_LOGIN_ACCOUNT, "a", &none));
	ck_assert(!xmpp_throttle_over(XT_LOGIN_ACCOUNT, "", &four));
}
END_TEST

START_TEST(a_flood_of_keys)
{
	char key[32];

	for (int i = 0; i < 4; i++)
		xmpp_throttle_count(XT_PASSWORD, "full", &four);
	for (unsigned i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		xmpp_throttle_count(XT_PASSWORD, key, &four);
	}
	/* the fullest is the last to be forgotten */
	ck_assert(xmpp_throttle_over(XT_PASSWORD, "full", &four));
}
END_TEST

static const struct {
	const char *peer;
	bool local;
	const char *net;
} peers[] = {
	{ "192.0.2.77:5222", false, "192.0.2" },
	{ "127.0.0.1:5222", false, "" },
	{ "127.0.0.1:5222", true, "127.0.0" },
	{ "[2001:db8:1:2:3:4:5:6]:5222", false, "2001:0db8:0001:0002" },
	{ "[::1]:5222", false, "" },
	{ "[::ffff:192.0.2.1]:5222", false, "192.0.2" },
	{ "[::ffff:127.0.0.1]:5222", false, "" },
	{ "unix", false, "" },
	{ "unix", true, "local" },
	{ "", false, "" },
	{ ":", false, "" },
	{ "[", true, "local" },
};

START_TEST(networks)
{
	struct xmpp_rate r = { .local = peers[_i].local };
	char net[XMPP_NETWORK_MAX];

	xmpp_throttle_network(peers[_i].peer, &r, net);
	ck_assert_str_eq(net, peers[_i].net);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("throttle");
	TCase *tc = tcase_create("throttle");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, full);
	tcase_add_test(tc, no_limit);
	tcase_add_test(tc, a_flood_of_keys);
	tcase_add_loop_test(tc, networks, 0, sizeof(peers) / sizeof(peers[0]));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
