/* test_roster_json - rosters as JSON: there and back, and what is refused. */
#include <check.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "store/store.h"

static struct td_arena *a;
static struct td_err err;
static struct store_contact *c;
static size_t n;

static void
set_up(void)
{
	a = td_arena_new(0);
	err = (struct td_err){ 0 };
	c = NULL;
	n = 99;
}

static void
tear_down(void)
{
	td_arena_free(a);
}

static int
parse(const char *json)
{
	return store_roster_from_json(td_cstr(json), a, &c, &n, &err);
}

START_TEST(momentums_record)
{
	ck_assert_int_eq(parse("{ \"ann@example.org\": { \"name\": \"Ann \\u00e9\", \"groups\": "
			       "[\"Work\", \"Home\"],"
			       " \"pending_requests\": {}, \"subscription\": \"both\" } }"),
			 0);
	ck_assert_uint_eq(n, 1);
	ck_assert(td_str_eqc(c[0].jid, "ann@example.org"));
	ck_assert(td_str_eqc(c[0].name, "Ann \xC3\xA9"));
	ck_assert_uint_eq(c[0].n_groups, 2);
	ck_assert(td_str_eqc(c[0].groups[1], "Home"));
	ck_assert_int_eq(c[0].sub, STORE_SUB_BOTH);
	ck_assert_uint_eq(c[0].flags, 0);
}
END_TEST

START_TEST(written_form)
{
	struct td_str groups[] = { TD_STR("Work") };
	struct store_contact one = { .jid = TD_STR("ann@example.org"),
				     .name = TD_STR("A\"nn"),
				     .groups = groups,
				     .n_groups = 1,
				     .sub = STORE_SUB_TO };
	struct store_roster ro = { .contacts = &one, .n = 1 };
	struct td_buf out = { 0 };

	store_roster_to_json(&ro, &out);
	ck_assert_str_eq(
		td_buf_cstr(&out),
		"{\n  \"ann@example.org\": { \"name\": \"A\\\"nn\", \"groups\": [\"Work\"], "
		"\"pending_requests\": {}, \"subscription\": \"to\" }\n}\n");
	td_buf_clear(&out);
	ro.n = 0;
	store_roster_to_json(&ro, &out);
	ck_assert_str_eq(td_buf_cstr(&out), "{}\n");
	td_buf_fini(&out);
}
END_TEST

START_TEST(there_and_back)
{
	struct td_str groups[] = { TD_STR("a\nb"), TD_STR("\xF0\x9F\x98\x80") };
	struct store_contact in[] = {
		{ .jid = TD_STR("a@x"),
		  .sub = STORE_SUB_NONE,
		  .flags = STORE_ROSTER_ASK | STORE_ROSTER_APPROVED },
		{ .jid = TD_STR("b@x"), .sub = STORE_SUB_FROM, .groups = groups, .n_groups = 2 },
		{ .jid = TD_STR("c@x"),
		  .flags = STORE_ROSTER_PENDING_IN | STORE_ROSTER_HIDDEN,
		  .pending_stanza = TD_STR("<presence type='subscribe'/>") },
		{ .jid = TD_STR("d@x"), .name = TD_STR("bad \xff utf-8"), .sub = STORE_SUB_TO },
	};
	struct store_roster ro = { .contacts = in, .n = 4 };
	struct td_buf out = { 0 };

	store_roster_to_json(&ro, &out);
	ck_assert_msg(parse(td_buf_cstr(&out)) == 0, "%s", err.text);
	ck_assert_uint_eq(n, 4);
	for (size_t i = 0; i < 4; i++) {
		ck_assert(td_str_eq(c[i].jid, in[i].jid));
		ck_assert_int_eq(c[i].sub, in[i].sub);
		ck_assert_uint_eq(c[i].flags, in[i].flags);
		ck_assert_uint_eq(c[i].n_groups, in[i].n_groups);
	}
	ck_assert_ptr_null(c[0].name.p);
	ck_assert(td_str_eq(c[1].groups[0], groups[0]));
	ck_assert(td_str_eq(c[1].groups[1], groups[1]));
	ck_assert(td_str_eq(c[2].pending_stanza, in[2].pending_stanza));
	ck_assert(td_str_eqc(c[3].name, "bad \xEF\xBF\xBD utf-8"));
	td_buf_fini(&out);
}
END_TEST

START_TEST(little_is_enough)
{
	ck_assert_int_eq(parse("{\"a@x\":{}}"), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(c[0].sub, STORE_SUB_NONE);
	ck_assert_int_eq(parse("{\"a@x\":{\"name\":null,\"groups\":{},\"pending_requests\":[],"
			       "\"more\":[1,{}]}}"),
			 0);
	ck_assert_int_eq(parse("[]"), 0);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(parse(" {} "), 0);
}
END_TEST

static const struct {
	const char *json;
	const char *names; /* what the message must name */
} refused[] = {
	{ "", "line" },
	{ "{", "line" },
	{ "null", "expected" },
	{ "3", "expected" },
	{ "[1]", "object" },
	{ "{\"a@x\":{}} x", "line 1" },
	{ "{\"a@x\":{},\"a@x\":{}}", "duplicate" },
	{ "{\"a@x\":[]}", "a@x" },
	{ "{\"\":{}}", "address" },
	{ "{\"a b@x\":{}}", "address" },
	{ "{\"a\\u0001@x\":{}}", "address" },
	{ "{\"a\\u0000@x\":{}}", "line 1" },
	{ "{\"a@x\":{\"name\":7}}", "name" },
	{ "{\"a@x\":{\"name\":\"\\u0000\"}}", "line 1" },
	{ "{\"a@x\":{\"name\":\"\\ud800\"}}", "line 1" },
	{ "{\"a@x\":{\"name\":\"\xff\"}}", "line 1" },
	{ "{\"a@x\":{\"groups\":\"Work\"}}", "groups" },
	{ "{\"a@x\":{\"groups\":[\"Work\",null]}}", "groups" },
	{ "{\"a@x\":{\"groups\":{\"1\":\"Work\"}}}", "groups" },
	{ "{\"a@x\":{\"subscription\":\"remove\"}}", "subscription" },
	{ "{\"a@x\":{\"subscription\":null}}", "subscription" },
	{ "{\"a@x\":{\"subscription\":\"BOTH\"}}", "subscription" },
	{ "{\"a@x\":{\"pending_requests\":1}}", "pending_requests" },
	{ "{\"a@x\":{\"pending_requests\":{\"out\":1}}}", "out" },
	{ "{\"a@x\":{\"pending_requests\":{\"in\":true}}}", "in" },
};

START_TEST(refusals_name_the_key)
{
	ck_assert_int_eq(parse(refused[_i].json), TD_E_INVAL);
	ck_assert_msg(strstr(err.text, refused[_i].names) != NULL, "%s: %s", refused[_i].json,
		      err.text);
	ck_assert_uint_eq(n, 99); /* outputs untouched */
}
END_TEST

START_TEST(too_much)
{
	struct td_buf b = { 0 };

	for (int i = 0; i < 5 << 20; i++)
		td_buf_addc(&b, ' ');
	ck_assert_int_eq(store_roster_from_json(td_buf_str(&b), a, &c, &n, &err), TD_E_LIMIT);
	td_buf_clear(&b);
	for (int i = 0; i < 100000; i++)
		td_buf_addc(&b, '[');
	ck_assert_int_eq(store_roster_from_json(td_buf_str(&b), a, &c, &n, &err), TD_E_INVAL);
	td_buf_clear(&b);
	td_buf_addc(&b, '{');
	for (int i = 0; i < 20001; i++)
		td_buf_addf(&b, "%s\"%d@x\":{}", i > 0 ? "," : "", i);
	td_buf_addc(&b, '}');
	ck_assert_int_eq(store_roster_from_json(td_buf_str(&b), a, &c, &n, &err), TD_E_LIMIT);
	td_buf_clear(&b);
	td_buf_addz(&b, "{\"a@x\":{\"groups\":[");
	for (int i = 0; i < 101; i++)
		td_buf_addf(&b, "%s\"g\"", i > 0 ? "," : "");
	td_buf_addz(&b, "]}}");
	ck_assert_int_eq(store_roster_from_json(td_buf_str(&b), a, &c, &n, &err), TD_E_INVAL);
	td_buf_clear(&b);
	td_buf_addz(&b, "{\"a@x\":{\"name\":\"");
	for (int i = 0; i < 1024; i++)
		td_buf_addc(&b, 'x');
	td_buf_addz(&b, "\"}}");
	ck_assert_int_eq(store_roster_from_json(td_buf_str(&b), a, &c, &n, &err), TD_E_INVAL);
	td_buf_fini(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("roster json");
	TCase *tc = tcase_create("json");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, momentums_record);
	tcase_add_test(tc, written_form);
	tcase_add_test(tc, there_and_back);
	tcase_add_test(tc, little_is_enough);
	tcase_add_loop_test(tc, refusals_name_the_key, 0, sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(tc, too_much);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
