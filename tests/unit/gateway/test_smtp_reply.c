/* Enhanced status codes: found in replies, named as stanza errors. */
#include <check.h>
#include <stdlib.h>

#include "gateway/smtp_reply.h"

static const struct {
	const char *reply, *status, *condition;
} cases[] = {
	{ "550 5.1.1 No such user", "5.1.1", "item-not-found" },
	{ "550-5.1.10 in two lines", "5.1.10", "item-not-found" },
	{ "5.2.2", "5.2.2", "resource-constraint" },
	{ "5.2.20 none of ours", "5.2.20", "recipient-unavailable" },
	{ "552 5.3.4 Too big", "5.3.4", "policy-violation" },
	{ "550 5.4.7 In vain", "5.4.7", "remote-server-timeout" },
	{ "4.4.7", "4.4.7", "remote-server-timeout" },
	{ "5.4.4 No host", "5.4.4", "remote-server-not-found" },
	{ "554 5.7.1 Spam", "5.7.1", "not-allowed" },
	{ "550 5.0.0 Other", "5.0.0", "recipient-unavailable" },
	{ "550 No code", NULL, "recipient-unavailable" },
	{ "550", NULL, "recipient-unavailable" },
	{ "", NULL, "recipient-unavailable" },
	{ "5", NULL, "recipient-unavailable" },
	{ "5.", NULL, "recipient-unavailable" },
	{ "5.1.", NULL, "recipient-unavailable" },
	{ "5..1.1", NULL, "recipient-unavailable" },
	{ "3.1.1", NULL, "recipient-unavailable" },
	{ "5.1234.1", NULL, "recipient-unavailable" },
	{ "5.1.1.1", NULL, "recipient-unavailable" },
	{ "550 5.1.1x", NULL, "recipient-unavailable" },
};

START_TEST(reply)
{
	struct td_str got = gw_smtp_status(td_cstr(cases[_i].reply));

	if (cases[_i].status == NULL)
		ck_assert_msg(got.p == NULL, "%s: %.*s", cases[_i].reply, TD_STR_ARG(got));
	else
		ck_assert_msg(td_str_eqc(got, cases[_i].status), "%s: %.*s", cases[_i].reply,
			      TD_STR_ARG(got));
	ck_assert_str_eq(gw_smtp_condition(got), cases[_i].condition);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_reply");
	TCase *tc = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_loop_test(tc, reply, 0, (int)(sizeof(cases) / sizeof(cases[0])));
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
