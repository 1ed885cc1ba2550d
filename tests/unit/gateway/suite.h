/* suite - the main of a unit test of this folder: one suite, one case. Include once, last. */
#ifndef TEST_SUITE_H
#define TEST_SUITE_H
#include <check.h>
#include <stdlib.h>

static int
run_suite(const char *name, void (*fill)(TCase *))
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	fill(tc);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
#endif
