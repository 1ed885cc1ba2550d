/* test_store_admin - what administrators set (store/admin.h). */
#include "tests/unit/store/util.h"

#include "store/admin.h"
#include "store/signin.h"

static struct got g;
static struct store_admin_row rows[16];
static size_t n_rows;

static void
on_rows(void *arg, const struct store_result *r, const struct store_admin_row *all, size_t n)
{
	(void)keep(arg, r);
	ck_assert_uint_le(n, 16);
	n_rows = n;
	for (size_t i = 0; i < n; i++) {
		rows[i] = all[i];
		rows[i].domain = dup_str(all[i].domain);
		rows[i].admin = dup_str(all[i].admin);
		rows[i].mark = dup_str(all[i].mark);
		rows[i].text = dup_str(all[i].text);
	}
}

START_TEST(disabled_is_kept)
{
	struct store_account a = { .jid = ANN };
	struct store_token t = { .mech = S("HT"), .expires = 1 };

	ck_assert_int_eq(DO(g, store_account_disable(st, ANN, true, to_got(&g))), TD_E_NOTFOUND);
	add_account(ANN);
	OK(g, store_token_put(st, ANN, S("agent"), &t, to_got(&g)));
	OK(g, store_account_disable(st, ANN, true, to_got(&g)));
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert(g.account.disabled);
	ck_assert_int_eq(DO(g, store_token_use(st, ANN, S("agent"), &t, -1, false, to_got(&g))),
			 TD_E_NOTFOUND);
	/* by a new password, too */
	OK(g, store_account_update(st, &a, to_got(&g)));
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert(g.account.disabled);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert(g.roster.account_disabled);
	OK(g, store_account_disable(st, ANN, false, to_got(&g)));
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert(!g.account.disabled);
}
END_TEST

START_TEST(logins_are_counted)
{
	add_account(ANN);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert(g.roster.account_fresh);
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert(g.account.never);
	ck_assert_uint_eq(g.account.counted, g.account.created);
	OK(g, store_account_login(st, ANN, to_got(&g)));
	OK(g, store_account_login(st, ANN, to_got(&g)));
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert(!g.roster.account_fresh);
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert(!g.account.never);
	ck_assert_uint_eq(g.account.logins, 2);
	ck_assert_uint_ge(g.account.login, g.account.created);
	OK(g, store_account_login(st, BOB, to_got(&g))); /* nobody */
}
END_TEST

START_TEST(pages)
{
	static const char *const names[] = { "a@example.org", "b@example.org", "c@example.org",
					     "d@example.org", "a@example.com" };

	for (size_t i = 0; i < 5; i++)
		add_account(td_cstr(names[i]));
	OK(g, store_account_page(st, S("example.org"), false, TD_STR_NULL, 3, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 4);
	ck_assert_uint_eq(g.n, 3);
	ck_str(g.strs[2], "c@example.org");
	OK(g, store_account_page(st, S("example.org"), false, S("c@example.org"), 3, loop, on_strs,
				 &g));
	ck_assert_uint_eq(g.n, 1);
	ck_str(g.strs[0], "d@example.org");
	OK(g, store_account_disable(st, S("b@example.org"), true, to_got(&g)));
	OK(g, store_account_page(st, S("example.org"), true, TD_STR_NULL, 9, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 1);
	ck_assert_uint_eq(g.n, 1);
	OK(g, store_account_page(st, S("example.org"), false, TD_STR_NULL, 0, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 4);
	ck_assert_uint_eq(g.n, 0);
}
END_TEST

START_TEST(administrators)
{
	const struct td_str both[] = { ANN, BOB }, wrong[] = { ANN, S("nobody@example.org") };

	add_account(ANN);
	add_account(BOB);
	OK(g, store_admins_set(st, S("example.org"), both, 2, to_got(&g)));
	ck_assert_int_eq(DO(g, store_admins_set(st, S("example.org"), wrong, 2, to_got(&g))),
			 TD_E_NOTFOUND);
	OK(g, store_admins_set(st, S("example.com"), both, 1, to_got(&g)));
	OK(g, store_admin_load(st, loop, on_rows, &g));
	ck_assert_uint_eq(n_rows, 3);
	ck_str(rows[0].domain, "example.com");
	ck_str(rows[2].admin, "bob@example.org");
	OK(g, store_account_delete(st, ANN, to_got(&g)));
	OK(g, store_admin_load(st, loop, on_rows, &g));
	ck_assert_uint_eq(n_rows, 1);
	ck_str(rows[0].admin, "bob@example.org");
	OK(g, store_admins_set(st, S("example.org"), NULL, 0, to_got(&g)));
	OK(g, store_admin_load(st, loop, on_rows, &g));
	ck_assert_uint_eq(n_rows, 0);
}
END_TEST

START_TEST(texts)
{
	const struct td_str org = S("example.org");

	add_account(ANN);
	OK(g, store_domain_text(st, org, STORE_TEXT_MOTD, S("m1"), S("Hello"), to_got(&g)));
	OK(g, store_domain_text(st, org, STORE_TEXT_WELCOME, S("m2"), S("Hi"), to_got(&g)));
	OK(g, store_setting_set(st, ANN, S("+motd"), S("m1"), to_got(&g)));
	OK(g, store_setting_set(st, S("x@notexample.org"), S("+motd"), S("m1"), to_got(&g)));
	OK(g, store_admin_load(st, loop, on_rows, &g));
	ck_assert_uint_eq(n_rows, 2);
	ck_assert(rows[0].admin.p == NULL);
	ck_str(rows[0].text, "Hello");
	/* mended: who has seen it has seen it */
	OK(g, store_domain_text(st, org, STORE_TEXT_MOTD, S("m1"), S("Hello!"), to_got(&g)));
	OK(g, store_setting_get(st, ANN, S("+motd"), loop, on_value, &g));
	OK(g, store_domain_text(st, org, STORE_TEXT_MOTD, TD_STR_NULL, TD_STR_NULL, to_got(&g)));
	ck_assert_int_eq(DO(g, store_setting_get(st, ANN, S("+motd"), loop, on_value, &g)),
			 TD_E_NOTFOUND);
	OK(g, store_setting_get(st, S("x@notexample.org"), S("+motd"), loop, on_value, &g));
	OK(g, store_admin_load(st, loop, on_rows, &g));
	ck_assert_uint_eq(n_rows, 1);
	ck_assert_int_eq(rows[0].kind, STORE_TEXT_WELCOME);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("admin");
	TCase *tc = tcase_create("calls");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, disabled_is_kept);
	tcase_add_test(tc, logins_are_counted);
	tcase_add_test(tc, pages);
	tcase_add_test(tc, administrators);
	tcase_add_test(tc, texts);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
