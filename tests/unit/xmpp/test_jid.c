/* test_jid - addresses: preparation, limits, the XEP-0106 escapes. */
#include "xmpp/jid.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/base/err.h"

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

#define ck_view(v, want) \
	ck_assert_msg(td_str_eqc((v), (want)), "got \"%.*s\", want \"%s\"", TD_STR_ARG(v), (want))

/* ---- accepted ---- */

static const struct good {
	const char *in, *local, *domain, *resource; /* NULL = absent */
} goods[] = {
	{ "example.org", NULL, "example.org", NULL },
	{ "ann@example.org", "ann", "example.org", NULL },
	{ "ann@example.org/home", "ann", "example.org", "home" },
	{ "example.org/home", NULL, "example.org", "home" },
	{ "Ann@Example.ORG/Home", "ann", "example.org", "Home" },
	{ "ann@example.org/a/b@c", "ann", "example.org", "a/b@c" },
	{ "a.example.com/b@example.net", NULL, "a.example.com", "b@example.net" },
	{ "ann@example.org./x", "ann", "example.org", "x" },
	{ "ann@localhost", "ann", "localhost", NULL },
	{ "ann@127.0.0.1", "ann", "127.0.0.1", NULL },
	{ "ann@[::1]/x", "ann", "[::1]", "x" },
	{ "[2001:DB8:0:0:0:0:0:1]", NULL, "[2001:db8::1]", NULL },
	{ "[::ffff:192.0.2.1]", NULL, "[::ffff:192.0.2.1]", NULL },
	{ "a!#$%()*+,-.;=?[]^_`{|}~\\@d", "a!#$%()*+,-.;=?[]^_`{|}~\\", "d", NULL },
	{ "d\\27artagnan@musketeers.lit", "d\\27artagnan", "musketeers.lit", NULL },
	{ "ann@example.org/ two  words ", "ann", "example.org", " two  words " },
	/* nodeprep: case folding B.2, mapped to nothing B.1, NFKC */
	{ "\xC3\x89lan@example.org", "\xC3\xA9lan", "example.org", NULL },
	{ "fu\xC3\x9F"
	  "ball@example.com",
	  "fussball", "example.com", NULL },
	{ "\xCF\x80@example.com", "\xCF\x80", "example.com", NULL },
	{ "\xCE\xA3@example.com/foo", "\xCF\x83", "example.com", "foo" },
	{ "\xCF\x82@example.com/foo", "\xCF\x83", "example.com", "foo" },
	{ "a\xC2\xAD"
	  "b@example.com",
	  "ab", "example.com", NULL },
	{ "e\xCC\x81@example.com", "\xC3\xA9", "example.com", NULL },
	{ "\xEF\xBC\xA1nn@example.com", "ann", "example.com", NULL },
	{ "henry\xE2\x85\xA3@example.com", "henryiv", "example.com", NULL },
	/* resourceprep keeps case, normalises */
	{ "a@b/\xC3\x89", "a", "b", "\xC3\x89" },
	{ "a@b/\xE2\x99\x9A", "a", "b", "\xE2\x99\x9A" },
	{ "a@b/\xE2\x85\xA3", "a", "b", "IV" },
	/* right to left, well-formed */
	{ "\xD7\x90\xD7\x91@example.com", "\xD7\x90\xD7\x91", "example.com", NULL },
	/* domains */
	{ "a@B\xC3\x9C"
	  "CHER.example",
	  "a",
	  "b\xC3\xBC"
	  "cher.example",
	  NULL },
	{ "a@xn--bcher-kva.example/x", "a",
	  "b\xC3\xBC"
	  "cher.example",
	  "x" },
	{ "a@XN--BCHER-KVA.Example.", "a",
	  "b\xC3\xBC"
	  "cher.example",
	  NULL },
	{ "b\xC3\xBC"
	  "cher\xE3\x80\x82"
	  "example",
	  NULL,
	  "b\xC3\xBC"
	  "cher.example",
	  NULL },
	{ "b\xC3\xBC"
	  "cher.example\xE3\x80\x82",
	  NULL,
	  "b\xC3\xBC"
	  "cher.example",
	  NULL },
	{ "\xEF\xBD\x85xample.org", NULL, "example.org", NULL },
	{ "stra\xC3\x9F"
	  "e.example",
	  NULL, "strasse.example", NULL },
	/* newer than Unicode 3.2: fine in a resource, and kept */
	{ "a@b/\xF0\x9F\xA5\xB3", "a", "b", "\xF0\x9F\xA5\xB3" },
	/* IDNA2008 only: stays an A-label */
	{ "a@xn--strae-oqa.example", "a", "xn--strae-oqa.example", NULL },
};

START_TEST(good)
{
	const struct good *g = &goods[_i];
	struct xmpp_jid j, again;
	struct td_err err;
	char full[256];

	ck_assert_msg(xmpp_jid_parse(a, td_cstr(g->in), &j, &err) == 0, "%s: %s", g->in, err.text);
	(void)snprintf(full, sizeof(full), "%s%s%s%s%s", g->local ? g->local : "",
		       g->local ? "@" : "", g->domain, g->resource ? "/" : "",
		       g->resource ? g->resource : "");
	ck_view(j.full, full);
	ck_assert_uint_eq(strlen(j.full.p), j.full.len);
	ck_view(j.domain, g->domain);
	ck_assert((j.local.p != NULL) == (g->local != NULL));
	ck_assert((j.resource.p != NULL) == (g->resource != NULL));
	ck_assert(xmpp_jid_is_bare(&j) == (g->resource == NULL));
	if (g->local != NULL)
		ck_view(j.local, g->local);
	if (g->resource != NULL)
		ck_view(j.resource, g->resource);
	ck_assert(j.bare.p == j.full.p);
	ck_assert_uint_eq(j.bare.len, strlen(full) - (g->resource ? strlen(g->resource) + 1 : 0));

	ck_assert_int_eq(xmpp_jid_parse(a, j.full, &again, NULL), 0);
	ck_assert(xmpp_jid_eq(&j, &again));
	xmpp_jid_copy(a, &j, &again);
	ck_assert(xmpp_jid_eq(&j, &again) && again.full.p != j.full.p);
	ck_assert(td_str_eq(j.local, again.local) && td_str_eq(j.domain, again.domain));
	ck_assert(td_str_eq(j.resource, again.resource) && td_str_eq(j.bare, again.bare));
}
END_TEST

/* ---- refused ---- */

static const struct bad {
	struct td_str in;
	const char *why;
} bads[] = {
	{ TD_STR(""), "domain: empty" },
	{ TD_STR("@example.org"), "local part: empty" },
	{ TD_STR("ann@"), "domain: empty" },
	{ TD_STR("ann@/x"), "domain: empty" },
	{ TD_STR("/x"), "domain: empty" },
	{ TD_STR("ann@example.org/"), "resource: empty" },
	{ TD_STR("example.org/"), "resource: empty" },
	{ TD_STR("\"@example.org"), "local part: forbidden character" },
	{ TD_STR("a&@example.org"), "local part: forbidden character" },
	{ TD_STR("a'@example.org"), "local part: forbidden character" },
	{ TD_STR("a:@example.org"), "local part: forbidden character" },
	{ TD_STR("a<@example.org"), "local part: forbidden character" },
	{ TD_STR("a>@example.org"), "local part: forbidden character" },
	{ TD_STR("a b@example.org"), "local part: forbidden character" },
	{ TD_STR("a\x7f@example.org"), "local part: forbidden character" },
	{ TD_STR("a\t@example.org"), "local part: forbidden character" },
	{ TD_STR("a@b@example.org"), "domain: not a domain name" },
	{ TD_STR("a\0b@example.org"), "local part: not UTF-8" },
	{ TD_STR("\xFF@example.org"), "local part: not UTF-8" },
	{ TD_STR("\xC0\xAF@example.org"), "local part: not UTF-8" },
	{ TD_STR("\xED\xA0\x80@example.org"), "local part: not UTF-8" },
	{ TD_STR("\xC2\xA0x@example.org"), "local part: forbidden character" },
	{ TD_STR("\xEF\xBC\xA0@example.org"), "local part: forbidden character" }, /* U+FF20 -> @ */
	{ TD_STR("\xE2\x84\x80@example.org"),
	  "local part: forbidden character" }, /* U+2100 -> a/c */
	{ TD_STR("\xC2\xAD@example.org"), "local part: empty" },
	{ TD_STR("\xC8\xA1@example.org"), "local part: unassigned code point" },
	{ TD_STR("\xEE\x80\x80@example.org"), "local part: forbidden character" }, /* private use */
	{ TD_STR("\xD7\x90"
		 "a@example.org"),
	  "local part: mixed writing directions" },
	{ TD_STR("\xD7\x90"
		 "1@example.org"),
	  "local part: mixed writing directions" },
	{ TD_STR("a@b/\x01"), "resource: forbidden character" },
	{ TD_STR("a@b/\xE2\x80\xA8"), "resource: forbidden character" },
	{ TD_STR("a@b/\xC2\xAD"), "resource: empty" },
	{ TD_STR("a@b/\xFF"), "resource: not UTF-8" },
	{ TD_STR("a@b/\xEF\xBF\xBE"), "resource: forbidden character" },
	{ TD_STR("a@."), "domain: not a domain name" },
	{ TD_STR("a@b..c"), "domain: not a domain name" },
	{ TD_STR("a@.b"), "domain: not a domain name" },
	{ TD_STR("a@b.."), "domain: not a domain name" },
	{ TD_STR("a@-b"), "domain: not a domain name" },
	{ TD_STR("a@b-"), "domain: not a domain name" },
	{ TD_STR("a@b_c"), "domain: not a domain name" },
	{ TD_STR("a@b c"), "domain: not a domain name" },
	{ TD_STR("a@b\xE3\x80\x82\xE3\x80\x82"
		 "c"),
	  "domain: not a domain name" },
	{ TD_STR("a@\xE2\x84\x80.b"), "domain: not a domain name" },
	{ TD_STR("a@xn--aaaaaaaa.b"), "domain: not a domain name" },
	{ TD_STR("a@xn--0.b"), "domain: not a domain name" },
	{ TD_STR("a@b\xFF"), "domain: not UTF-8" },
	{ TD_STR("a@b\xC8\xA1"), "domain: not a domain name" },
	{ TD_STR("a@[::1"), "domain: bad IPv6 address" },
	{ TD_STR("a@[::1]x"), "domain: bad IPv6 address" },
	{ TD_STR("a@[]"), "domain: bad IPv6 address" },
	{ TD_STR("a@[fe80::1%eth0]"), "domain: bad IPv6 address" },
	{ TD_STR("a@[127.0.0.1]"), "domain: bad IPv6 address" },
	{ TD_STR("a@[::1\0]"), "domain: bad IPv6 address" },
	{ TD_STR("a@::1"), "domain: not a domain name" },
};

START_TEST(bad)
{
	const struct bad *b = &bads[_i];
	struct xmpp_jid j = { .full = TD_STR("untouched") };
	struct td_err err;

	ck_assert_msg(xmpp_jid_parse(a, b->in, &j, &err) == TD_E_INVAL, "%.*s", TD_STR_ARG(b->in));
	ck_assert_int_eq(err.code, TD_E_INVAL);
	ck_view(j.full, "untouched");
	ck_assert_str_eq(err.text, b->why);
}
END_TEST

/* ---- limits ---- */

static struct td_str
repeat(const char *s, size_t n)
{
	size_t len = strlen(s);
	char *p = td_arena_alloc(a, len * n);

	for (size_t i = 0; i < n; i++)
		memcpy(p + i * len, s, len);
	return td_str(p, len * n);
}

static int
make(struct td_str l, struct td_str d, struct td_str r)
{
	struct xmpp_jid j, again;
	int rc = xmpp_jid_make(a, l, d, r, &j, NULL);

	if (rc == 0) {
		ck_assert_int_eq(xmpp_jid_parse(a, j.full, &again, NULL), 0);
		ck_assert(xmpp_jid_eq(&j, &again));
	}
	return rc;
}

START_TEST(limits)
{
	struct td_str d = TD_STR("example.org"), none = TD_STR_NULL, dom;

	ck_assert_int_eq(make(repeat("a", 1023), d, none), 0);
	ck_assert_int_eq(make(repeat("a", 1024), d, none), TD_E_INVAL);
	ck_assert_int_eq(make(none, d, repeat("a", 1023)), 0);
	ck_assert_int_eq(make(none, d, repeat("a", 1024)), TD_E_INVAL);
	/* before preparation too: these would shrink to 342 bytes */
	ck_assert_int_eq(make(repeat("\xEF\xBC\xA1", 341), d, none), 0);
	ck_assert_int_eq(make(repeat("\xEF\xBC\xA1", 342), d, none), TD_E_INVAL);
	/* U+FDFA grows 3 bytes to 33 */
	ck_assert_int_eq(make(none, d, repeat("\xEF\xB7\xBA", 31)), 0);
	ck_assert_int_eq(make(none, d, repeat("\xEF\xB7\xBA", 32)), TD_E_INVAL);
	ck_assert_int_eq(make(none, d, repeat("\xEF\xB7\xBA", 1000)), TD_E_INVAL);
	ck_assert_int_eq(make(none, repeat("a", 63), none), 0);
	ck_assert_int_eq(make(none, repeat("a", 64), none), TD_E_INVAL);
	dom = repeat("abc.", 255); /* 1020, the dot goes: 1019 */
	ck_assert_int_eq(make(none, dom, none), 0);
	ck_assert_int_eq(make(repeat("a", 1023), dom, repeat("b", 1023)), 0);
	ck_assert_int_eq(make(none, repeat("abc.", 256), none), TD_E_INVAL);
	ck_assert_int_eq(make(none, repeat("\xC3\xBC", 40), none), 0);
	ck_assert_int_eq(make(none, repeat("\xC3\xBC.", 400), none), TD_E_INVAL);
	ck_assert_int_eq(make(repeat("a", 100000), d, none), TD_E_INVAL);
}
END_TEST

/* ---- make, with_resource ---- */

START_TEST(parts)
{
	struct xmpp_jid j, k;
	struct td_err err;

	ck_assert_int_eq(xmpp_jid_make(a, TD_STR("Ann"), TD_STR("D.org"), TD_STR_NULL, &j, NULL),
			 0);
	ck_view(j.full, "ann@d.org");
	ck_assert_int_eq(xmpp_jid_make(a, TD_STR_NULL, TD_STR("d"), TD_STR("R"), &j, NULL), 0);
	ck_view(j.full, "d/R");
	ck_assert_int_eq(xmpp_jid_make(a, TD_STR(""), TD_STR("d"), TD_STR_NULL, &j, NULL),
			 TD_E_INVAL);
	ck_assert_int_eq(xmpp_jid_make(a, TD_STR("a@b"), TD_STR("d"), TD_STR_NULL, &j, NULL),
			 TD_E_INVAL);
	ck_assert_int_eq(xmpp_jid_make(a, TD_STR("a/b"), TD_STR("d"), TD_STR_NULL, &j, NULL),
			 TD_E_INVAL);
	ck_assert_int_eq(xmpp_jid_make(a, TD_STR("a"), TD_STR("d/e"), TD_STR_NULL, &j, NULL),
			 TD_E_INVAL);
	ck_assert_int_eq(xmpp_jid_make(a, TD_STR("a"), TD_STR_NULL, TD_STR_NULL, &j, NULL),
			 TD_E_INVAL);

	ck_assert_int_eq(xmpp_jid_parse(a, TD_STR("ann@d.org/old"), &j, NULL), 0);
	ck_assert_int_eq(xmpp_jid_with_resource(a, &j, TD_STR("New \xE2\x85\xA3"), &k, &err), 0);
	ck_view(k.full, "ann@d.org/New IV");
	ck_view(k.local, "ann");
	ck_view(k.domain, "d.org");
	ck_view(j.full, "ann@d.org/old");
	ck_assert_int_eq(xmpp_jid_with_resource(a, &j, TD_STR(""), &k, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_jid_with_resource(a, &j, TD_STR("\x01"), &k, &err), TD_E_INVAL);
	ck_view(k.full, "ann@d.org/New IV");
	ck_assert_int_eq(xmpp_jid_parse(a, TD_STR("d.org"), &j, NULL), 0);
	ck_assert_int_eq(xmpp_jid_with_resource(a, &j, TD_STR("x"), &k, &err), 0);
	ck_view(k.full, "d.org/x");
	ck_assert(k.local.p == NULL);
}
END_TEST

/* Every ASCII byte: the table must say what libidn's profiles say. */
START_TEST(ascii_agrees_with_profiles)
{
	for (int c = 1; c < 128; c++) {
		char both[] = { (char)c, (char)0xC3, (char)0xA9 }; /* e acute forces the long way */
		struct xmpp_jid j, k;
		int fast, slow;

		fast = xmpp_jid_make(a, td_str(both, 1), TD_STR("d"), TD_STR_NULL, &j, NULL);
		slow = xmpp_jid_make(a, td_str(both, 3), TD_STR("d"), TD_STR_NULL, &k, NULL);
		ck_assert_msg(fast == slow, "local part byte %d", c);
		if (fast == 0)
			ck_assert_int_eq(j.local.p[0], k.local.p[0]);
		fast = xmpp_jid_make(a, TD_STR_NULL, TD_STR("d"), td_str(both, 1), &j, NULL);
		slow = xmpp_jid_make(a, TD_STR_NULL, TD_STR("d"), td_str(both, 3), &k, NULL);
		ck_assert_msg(fast == slow, "resource byte %d", c);
		if (fast == 0)
			ck_assert_int_eq(j.resource.p[0], k.resource.p[0]);
	}
}
END_TEST

/* ---- XEP-0106 ---- */

/* Tables 3 and examples 3 to 7, 33, 47 of the XEP, then its edge rules. */
static const struct escape {
	const char *plain, *escaped;
} escapes[] = {
	{ "space cadet", "space\\20cadet" },
	{ "call me \"ishmael\"", "call\\20me\\20\\22ishmael\\22" },
	{ "at&t guy", "at\\26t\\20guy" },
	{ "d'artagnan", "d\\27artagnan" },
	{ "/.fanboy", "\\2f.fanboy" },
	{ "::foo::", "\\3a\\3afoo\\3a\\3a" },
	{ "<foo>", "\\3cfoo\\3e" },
	{ "user@host", "user\\40host" },
	{ "c:\\net", "c\\3a\\net" },
	{ "c:\\\\net", "c\\3a\\\\net" },
	{ "c:\\cool stuff", "c\\3a\\cool\\20stuff" },
	{ "c:\\5commas", "c\\3a\\5c5commas" },
	{ "\\3and\\2is\\5cool@example.com", "\\5c3and\\2is\\5c5cool\\40example.com" },
	{ "\\2plus\\2is\\4", "\\2plus\\2is\\4" },
	{ "foo\\bar", "foo\\bar" },
	{ "foob\\41r", "foob\\41r" },
	{ "here's_a_wild_&_/cr%zy/_address_for:<wv>(\"IMPS\")",
	  "here\\27s_a_wild_\\26_\\2fcr%zy\\2f_address_for\\3a\\3cwv\\3e(\\22IMPS\\22)" },
	{ "somenick!user\"&'/:<>\\3address",
	  "somenick!user\\22\\26\\27\\2f\\3a\\3c\\3e\\5c3address" },
	{ "a\\20b", "a\\5c20b" },
	{ "\\20a", "\\5c20a" },
	{ "a\\20", "a\\5c20" },
	{ "a\\5c20", "a\\5c5c20" },
	{ "\\5c", "\\5c5c" },
	{ "\\", "\\" },
	{ "\\\\20", "\\\\5c20" },
	{ "a\\2F\\3A", "a\\2F\\3A" }, /* case is significant */
	{ "\\2", "\\2" },
	{ "", "" },
	{ "tr\xC3\xA9ville@musketeers.lit", "tr\xC3\xA9ville\\40musketeers.lit" },
};

START_TEST(escape)
{
	const struct escape *e = &escapes[_i];

	ck_view(xmpp_jid_escape(a, td_cstr(e->plain)), e->escaped);
	ck_view(xmpp_jid_unescape(a, td_cstr(e->escaped)), e->plain);
}
END_TEST

START_TEST(escape_edges)
{
	/* \20 must not come first or last: outer spaces go, such sequences are none */
	ck_view(xmpp_jid_escape(a, TD_STR("  a b ")), "a\\20b");
	ck_view(xmpp_jid_escape(a, TD_STR("   ")), "");
	ck_view(xmpp_jid_unescape(a, TD_STR("\\20a\\20b\\20")), "\\20a b\\20");
	ck_view(xmpp_jid_unescape(a, TD_STR("\\20")), "\\20");
	/* one pass only */
	ck_view(xmpp_jid_unescape(a, TD_STR("\\5c5c20")), "\\5c20");
	ck_view(xmpp_jid_unescape(a, TD_STR("\\5c\\20x")), "\\ x");
	ck_view(xmpp_jid_unescape(a, TD_STR_NULL), "");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("jid");
	TCase *tc = tcase_create("jid");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, good, 0, (int)(sizeof(goods) / sizeof(goods[0])));
	tcase_add_loop_test(tc, bad, 0, (int)(sizeof(bads) / sizeof(bads[0])));
	tcase_add_test(tc, limits);
	tcase_add_test(tc, parts);
	tcase_add_test(tc, ascii_agrees_with_profiles);
	tcase_add_loop_test(tc, escape, 0, (int)(sizeof(escapes) / sizeof(escapes[0])));
	tcase_add_test(tc, escape_edges);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
