/* Data forms (XEP-0004) and result sets (XEP-0059): reading and writing. */
#include <check.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/form.h"
#include "xmpp/rsm.h"

static struct td_arena *a;

static void
setup(void)
{
	a = td_arena_new(0);
}

static void
teardown(void)
{
	td_arena_free(a);
}

static struct xmpp_node *
parse(const char *xml)
{
	const char *why = NULL;
	struct xmpp_node *n = xmpp_xml_parse(a, td_cstr(xml), "jabber:client", &why);

	ck_assert_msg(n != NULL, "%s", why);
	return n;
}

static int
read_form(const char *fields, const char *type, struct xmpp_form *f)
{
	return xmpp_form_read(a,
			      parse(td_arena_printf(a, "<x xmlns='jabber:x:data' type='%s'>%s</x>",
						    type, fields)),
			      f);
}

START_TEST(test_read)
{
	struct xmpp_form f;
	bool b = false;
	int64_t n = 7;

	ck_assert_int_eq(
		read_form("<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>"
			  "<field var='on'><value>true</value></field>"
			  "<field var='n'><value> 12 </value></field>"
			  "<field var='many'><value>a</value><value>b &amp; c</value></field>"
			  "<field var='none'/>",
			  "submit", &f),
		0);
	ck_assert_int_eq(f.kind, FORM_SUBMIT);
	ck_assert(td_str_eqc(f.type, "urn:x"));
	ck_assert(xmpp_form_bool(&f, "on", &b) && b);
	ck_assert(xmpp_form_int(&f, "n", 0, 20, &n) && n == 12);
	ck_assert(!xmpp_form_int(&f, "n", 0, 5, &n));
	ck_assert_uint_eq(xmpp_form_field(&f, "many")->n, 2);
	ck_assert(td_str_eqc(xmpp_form_field(&f, "many")->values[1], "b & c"));
	ck_assert(xmpp_form_value(&f, "none").p != NULL && xmpp_form_value(&f, "none").len == 0);
	ck_assert(xmpp_form_value(&f, "absent").p == NULL);
	/* absent: what was stays */
	n = 7;
	ck_assert(xmpp_form_int(&f, "absent", 0, 5, &n) && n == 7);
	ck_assert(!xmpp_form_bool(&f, "n", &b));
}
END_TEST

START_TEST(test_refuse)
{
	struct xmpp_form f;
	struct td_buf b = { 0 };

	ck_assert_int_eq(read_form("", "shout", &f), TD_E_INVAL);
	ck_assert_int_eq(read_form("<field><value>1</value></field>", "submit", &f), TD_E_INVAL);
	ck_assert_int_eq(read_form("<field var='a'/><field var='a'/>", "submit", &f), TD_E_INVAL);
	for (unsigned i = 0; i <= XMPP_FORM_FIELDS_MAX; i++)
		td_buf_addf(&b, "<field var='v%u'/>", i);
	ck_assert_int_eq(read_form(td_buf_cstr(&b), "submit", &f), TD_E_LIMIT);
	td_buf_clear(&b);
	td_buf_addz(&b, "<field var='v'>");
	for (unsigned i = 0; i <= XMPP_FORM_VALUES_MAX; i++)
		td_buf_addz(&b, "<value/>");
	td_buf_addz(&b, "</field>");
	ck_assert_int_eq(read_form(td_buf_cstr(&b), "submit", &f), TD_E_LIMIT);
	td_buf_fini(&b);
}
END_TEST

START_TEST(test_write)
{
	static const struct xmpp_form_option options[] = { { "a", "A" },
							   { "b", NULL },
							   { NULL, NULL } };
	struct td_str two[] = { TD_STR("1"), TD_STR("<2>") };
	struct td_buf b = { 0 };
	struct xmpp_form f;

	xmpp_form_open(&b, FORM_FORM, "urn:y");
	xmpp_form_title(&b, "T & T", NULL);
	xmpp_form_add(&b, "list-multi", "l", "it's", two, 2, options);
	xmpp_form_add_bool(&b, "yes", NULL, true);
	xmpp_form_add_int(&b, "text-single", "n", NULL, -5);
	xmpp_form_add_lines(&b, "lines", NULL, TD_STR("one\n\ntwo\n"));
	xmpp_form_add1(&b, NULL, "empty", NULL, TD_STR_NULL);
	xmpp_form_close(&b);
	ck_assert_int_eq(xmpp_form_read(a, parse(td_buf_cstr(&b)), &f), 0);
	ck_assert(td_str_eqc(f.type, "urn:y"));
	ck_assert(td_str_eqc(xmpp_form_field(&f, "l")->values[1], "<2>"));
	ck_assert_uint_eq(xmpp_form_field(&f, "lines")->n, 3);
	ck_assert(td_str_eqc(xmpp_form_value(&f, "n"), "-5"));
	ck_assert_uint_eq(xmpp_form_field(&f, "empty")->n, 0);
	ck_assert_ptr_nonnull(
		strstr(td_buf_cstr(&b), "<option label='A'><value>a</value></option>"));
	td_buf_fini(&b);
}
END_TEST

START_TEST(test_rsm)
{
	struct xmpp_rsm r;
	struct td_buf b = { 0 };

	ck_assert(xmpp_rsm_read(parse("<query xmlns='u'/>"), a, &r) && !r.asked);
	ck_assert_uint_eq(xmpp_rsm_limit(&r, 50, 100), 50);
	ck_assert(xmpp_rsm_read(
		parse("<q><set xmlns='" NS_RSM "'><max>500</max><before/></set></q>"), a, &r));
	ck_assert(r.asked && r.before.p != NULL && r.before.len == 0 && r.after.p == NULL);
	ck_assert_uint_eq(xmpp_rsm_limit(&r, 50, 100), 100);
	ck_assert(xmpp_rsm_read(
		parse("<q><set xmlns='" NS_RSM "'><max>0</max><after>x</after></set></q>"), a, &r));
	ck_assert_uint_eq(xmpp_rsm_limit(&r, 50, 100), 0);
	ck_assert(td_str_eqc(r.after, "x"));
	ck_assert(
		!xmpp_rsm_read(parse("<q><set xmlns='" NS_RSM "'><max>-1</max></set></q>"), a, &r));
	ck_assert(!xmpp_rsm_read(parse("<q><set xmlns='" NS_RSM "'><index>a</index></set></q>"), a,
				 &r));
	xmpp_rsm_write(&b, TD_STR("f"), 0, TD_STR("l"), 9);
	ck_assert_str_eq(td_buf_cstr(&b), "<set xmlns='" NS_RSM "'><first index='0'>f</first>"
					  "<last>l</last><count>9</count></set>");
	td_buf_clear(&b);
	xmpp_rsm_write(&b, TD_STR_NULL, -1, TD_STR_NULL, 0);
	ck_assert_str_eq(td_buf_cstr(&b), "<set xmlns='" NS_RSM "'><count>0</count></set>");
	td_buf_fini(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("form");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_read);
	tcase_add_test(t, test_refuse);
	tcase_add_test(t, test_write);
	tcase_add_test(t, test_rsm);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
