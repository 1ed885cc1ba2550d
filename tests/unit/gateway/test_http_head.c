/* http: request heads as they come apart, and XML text cut into elements. */
#include <check.h>
#include <stdlib.h>
#include "gateway/http/elements.h"
#include "gateway/http/head.h"
#include "suite.h"

static struct gw_head head;

static long
parse(const char *s)
{
	return gw_head_parse(td_cstr(s), &head);
}

START_TEST(whole)
{
	const char *s = "POST /a/b?c=d HTTP/1.1\r\nHost: x.test:80\r\nContent-Length:  12 \r\n"
			"Connection: Foo, Close\r\nX:\r\n\r\nbody";

	ck_assert_int_eq(parse(s), (long)strlen(s) - 4);
	ck_assert_int_eq(head.method, HM_POST);
	ck_assert(td_str_eqc(head.path, "/a/b"));
	ck_assert(td_str_eqc(head.host, "x.test:80"));
	ck_assert_int_eq(head.length, 12);
	ck_assert(!head.keep_alive);
	ck_assert_uint_eq(gw_head_field(&head, "x").len, 0);
	ck_assert_ptr_nonnull(gw_head_field(&head, "X").p);
	ck_assert_ptr_null(gw_head_field(&head, "y").p);
}
END_TEST

/* Every way to come in two pieces says "more" until it is whole. */
START_TEST(in_pieces)
{
	const char *s = "\r\nGET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";

	for (size_t i = 0; i < strlen(s); i++)
		ck_assert_int_eq(gw_head_parse(td_str(s, i), &head), 0);
	ck_assert_int_eq(parse(s), (long)strlen(s));
	ck_assert(head.keep_alive);
	ck_assert_uint_eq(head.minor, 0);
}
END_TEST

START_TEST(refused_early)
{
	ck_assert_int_eq(parse("GET / HTTP/1.1\n"), -400);
	ck_assert_int_eq(parse("\n"), -400);
	ck_assert_int_eq(parse("\r\n\r\n"), 0);
	ck_assert_int_eq(parse("\r\n\r\nGET"), 0);
	ck_assert_int_eq(parse("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), -400);
}
END_TEST

static const struct {
	const char *field;
	unsigned status;
	uint64_t at, end; /* of 1000 */
} ranges[] = {
	{ "bytes=0-0", 206, 0, 1 },
	{ "bytes=500-", 206, 500, 1000 },
	{ "bytes=999-5000", 206, 999, 1000 },
	{ "bytes=-1", 206, 999, 1000 },
	{ "bytes=-5000", 206, 0, 1000 },
	{ "bytes=010-010", 206, 10, 11 },
	{ "bytes=1000-", 416, 0, 0 },
	{ "bytes=-0", 416, 0, 0 },
	{ "bytes=-", 200, 0, 1000 },
	{ "bytes=5", 200, 0, 1000 },
	{ "bytes=5-4", 200, 0, 1000 },
	{ "bytes=0-1,3-4", 200, 0, 1000 },
	{ "bytes=0x1-2", 200, 0, 1000 },
	{ "bytes=--2", 200, 0, 1000 },
	{ "lines=1-2", 200, 0, 1000 },
	{ "bytes=9223372036854775808-", 200, 0, 1000 },
	{ "", 200, 0, 1000 },
};

START_TEST(one_range)
{
	uint64_t at, end;

	ck_assert_uint_eq(gw_range_parse(td_cstr(ranges[_i].field), 1000, &at, &end),
			  ranges[_i].status);
	if (ranges[_i].status != 416) {
		ck_assert_uint_eq(at, ranges[_i].at);
		ck_assert_uint_eq(end, ranges[_i].end);
	}
	ck_assert_uint_ne(gw_range_parse(td_cstr(ranges[_i].field), 0, &at, &end), 206);
}
END_TEST

START_TEST(path_decoded)
{
	struct td_buf b = { 0 };

	ck_assert(gw_path_decode(TD_STR("/a%2Fb%41"), &b));
	ck_assert(td_str_eqc(td_buf_str(&b), "/a/bA"));
	ck_assert(!gw_path_decode(TD_STR("%4"), &b));
	ck_assert(!gw_path_decode(TD_STR("%"), &b));
	ck_assert(!gw_path_decode(TD_STR("%zz"), &b));
	ck_assert(!gw_path_decode(TD_STR("%0a"), &b));
	td_buf_fini(&b);
}
END_TEST

static const struct {
	const char *text;
	long len; /* -1 = none */
	bool ns;
} elements[] = {
	{ "<a/>", 4, false },
	{ "<a/><b/>", 4, false },
	{ "<a>x</a> ", 8, false },
	{ "<a b='/>'><c/></a>", 18, false },
	{ "<a xmlns='x'/>", 14, true },
	{ "<a b=' xmlns='/>", 16, false },
	{ "<a xmlns:b='x'/>", 16, false },
	{ "<a><![CDATA[</a>]]></a>!", 23, false },
	{ "<a><b></b></a>", 14, false },
	{ "<a>", -1, false },
	{ "<a><b></a>", -1, false },
	{ "</a>", -1, false },
	{ "a<b/>", -1, false },
	{ "<!-- --><a/>", -1, false },
	{ "<a><!-- --></a>", -1, false },
	{ "<a><?x?></a>", -1, false },
	{ "<a b='>", -1, false },
	{ "<a><![CDATA[", -1, false },
	{ "", -1, false },
	{ "<", -1, false },
};

START_TEST(element)
{
	struct gw_element e = { 0 };
	bool found = gw_element_first(td_cstr(elements[_i].text), &e);

	ck_assert_msg(found == (elements[_i].len >= 0), "%s", elements[_i].text);
	if (!found)
		return;
	ck_assert_int_eq((long)e.all.len, elements[_i].len);
	ck_assert_int_eq(e.has_ns, elements[_i].ns);
	ck_assert(td_str_eqc(e.name, "a"));
}
END_TEST

START_TEST(element_alone)
{
	struct td_buf b = { 0 };
	struct gw_element e = { 0 };

	ck_assert(gw_element_first(TD_STR("<iq/>"), &e));
	gw_element_write(&b, &e);
	ck_assert_str_eq(td_buf_cstr(&b), "<iq xmlns='jabber:client'/>");
	td_buf_clear(&b);
	ck_assert(gw_element_first(TD_STR("<stream:error><x/></stream:error>"), &e));
	gw_element_write(&b, &e);
	ck_assert_str_eq(td_buf_cstr(&b), "<stream:error xmlns:stream='http://etherx.jabber.org/"
					  "streams'><x/></stream:error>");
	td_buf_clear(&b);
	ck_assert(gw_element_first(TD_STR("<r xmlns='urn:xmpp:sm:3'/>"), &e));
	gw_element_write(&b, &e);
	ck_assert_str_eq(td_buf_cstr(&b), "<r xmlns='urn:xmpp:sm:3'/>");
	td_buf_fini(&b);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_test(tc, whole);
	tcase_add_test(tc, in_pieces);
	tcase_add_test(tc, refused_early);
	tcase_add_loop_test(tc, one_range, 0, (int)(sizeof(ranges) / sizeof(ranges[0])));
	tcase_add_test(tc, path_decoded);
	tcase_add_loop_test(tc, element, 0, sizeof(elements) / sizeof(elements[0]));
	tcase_add_test(tc, element_alone);
}

int
main(void)
{
	return run_suite("http_head", fill);
}
