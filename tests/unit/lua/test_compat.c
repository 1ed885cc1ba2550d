/* The dialect rewriter: operators change, text does not, lines stay where they are. */
#include <check.h>
#include <stdlib.h>

#include "lua/compat.h"

static const char *const cases[][2] = {
	{ "", "" },
	{ "a != b", "a ~= b" },
	{ "a!=b and c ~= d", "a~=b and c ~= d" },
	{ "x = 5 ^^ 3 ^ 2", "x = 5 ~  3 ^ 2" },
	{ "n = a \\ b", "n = a // b" },
	{ "s = \"a != b \\\" \\\\ \" != t", "s = \"a != b \\\" \\\\ \" ~= t" },
	{ "s = 'it\\'s ^^' ^^ 1", "s = 'it\\'s ^^' ~  1" },
	{ "-- a != b\na != b", "-- a != b\na ~= b" },
	{ "--[[ a != b\n]] a != b", "--[[ a != b\n]] a ~= b" },
	{ "--[==[ != ]] != ]==] !=", "--[==[ != ]] != ]==] ~=" },
	{ "s = [[ a \\ b ]] \\ 2", "s = [[ a \\ b ]] // 2" },
	{ "s = [=[ ]] != ]=] != x", "s = [=[ ]] != ]=] ~= x" },
	{ "t[i] != t[ j[1] ]", "t[i] ~= t[ j[1] ]" },
	{ "s = 'no end != \nx != y", "s = 'no end != \nx ~= y" },
	{ "s = [[ no end !=", "s = [[ no end !=" },
	{ "-- no end !=", "-- no end !=" },
	{ "#! /usr/bin/lua != \nx != y", "#! /usr/bin/lua != \nx ~= y" },
	{ "s = 'a\\\nb != c' != d", "s = 'a\\\nb != c' ~= d" },
	{ "'", "'" },
	{ "'\\", "'\\" },
	{ "[", "[" },
	{ "[=", "[=" },
	{ "--[", "--[" },
	{ "!", "!" },
	{ "a - -b", "a - -b" },
};

START_TEST(rewrites)
{
	struct td_buf out = { 0 };

	tlua_compat_rewrite(td_cstr(cases[_i][0]), &out);
	ck_assert_str_eq(td_buf_cstr(&out), cases[_i][1]);
	td_buf_fini(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("compat");
	TCase *tc = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_loop_test(tc, rewrites, 0, (int)(sizeof(cases) / sizeof(*cases)));
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
