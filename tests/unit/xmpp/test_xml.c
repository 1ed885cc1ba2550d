/* test_xml - streams cut anywhere, restricted XML, limits, raw forwarding, serialisation. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include "xmpp/stanza.h"
#include "xmpp/xml.h"

#define HEADER                                                                               \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" NS_STREAM \
	"' to='d' version='1.0'>"

static struct xmpp_xmlpool *pool;

/* Feed <text> in pieces of <step>; append what comes to <out>: O, C, E(cond), or stanzas. */
static void
run_into(struct xmpp_reader *r, const char *text, size_t step, struct td_buf *out)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i += step) {
		size_t n = len - i < step ? len - i : step;
		char *piece = malloc(n); /* exact size: asan sees any overrun */
		const char *p = piece;
		enum xmpp_read ev;

		memcpy(piece, text + i, n);
		while ((ev = xmpp_reader_feed(r, p, n)) != XR_MORE) {
			p = NULL;
			n = 0;
			if (ev == XR_OPEN) {
				td_buf_addz(out, "O|");
			} else if (ev == XR_STANZA) {
				if (r->stanza->kind != XK_OTHER)
					xmpp_stanza_write(r->stanza, false, out);
				else
					xmpp_node_write(out, r->stanza->root, NS_CLIENT);
				td_buf_addc(out, '|');
				xmpp_stanza_unref(&r->stanza);
			} else if (ev == XR_CLOSE) {
				td_buf_addz(out, "C|");
				break;
			} else {
				td_buf_addf(out, "E(%s)|", r->error);
				break;
			}
		}
		free(piece);
		if (ev == XR_CLOSE || ev == XR_ERROR)
			break;
	}
}

static const struct {
	const char *in, *out;
} streams[] = {
	{ HEADER, "O|" },
	{ HEADER "<message to='a@b'><body>hi</body></message>",
	  "O|<message to='a@b'><body>hi</body></message>|" },
	{ HEADER "<presence/><iq id='1' type='get'><q xmlns='x'/></iq></stream:stream>",
	  "O|<presence/>|<iq type='get' id='1'><q xmlns='x'/></iq>|C|" },
	{ HEADER " \n<presence/> \n \n<presence/>\n </stream:stream>",
	  "O|<presence/>|<presence/>|C|" },
	/* what is between the tags goes as it came */
	{ HEADER "<message><body>a &amp; b &#x41; <![CDATA[<x>]]></body>\n</message>",
	  "O|<message><body>a &amp; b &#x41; <![CDATA[<x>]]></body>\n</message>|" },
	/* a prefix declared outside: written from the tree */
	{ "<stream:stream xmlns='jabber:client' xmlns:stream='" NS_STREAM "' xmlns:p='urn:p'>"
	  "<message><p:x a='1'>t</p:x></message>",
	  "O|<message><x xmlns='urn:p' a='1'>t</x></message>|" },
	{ HEADER "<message xml:lang='de' foo='b'/>", "O|<message xml:lang='de' foo='b'/>|" },
	{ HEADER "<auth xmlns='urn:x'>abc</auth>", "O|<auth xmlns='urn:x'>abc</auth>|" },
	{ HEADER "<!-- c -->", "O|E(restricted-xml)|" },
	{ HEADER "<?pi x?>", "O|E(restricted-xml)|" },
	{ "<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "E(restricted-xml)|" },
	{ HEADER "<message><body>&foo;</body></message>", "O|E(restricted-xml)|" },
	{ HEADER "<message><body></message>", "O|E(not-well-formed)|" },
	{ HEADER "<message><p:x/></message>", "O|E(not-well-formed)|" },
	{ HEADER "text", "O|E(bad-format)|" },
	{ HEADER "</wrong>", "O|C|" },
	{ "<stream:stream xmlns='jabber:client' xmlns:stream='" NS_STREAM "'/>", "O|C|" },
	{ "<?xml version='1.0' encoding='latin1'?><x/>", "E(unsupported-encoding)|" },
	{ HEADER "<a><b><c><d><e><f/></e></d></c></b></a>", "O|E(policy-violation)|" },
};

START_TEST(test_streams)
{
	static const size_t steps[] = { 100000, 1, 2, 3, 7, 64 };

	for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
		struct td_buf out = { 0 };
		struct xmpp_reader r;

		xmpp_reader_init(&r, pool, 4096, 5);
		run_into(&r, streams[_i].in, steps[k], &out);
		ck_assert_msg(strcmp(td_buf_cstr(&out), streams[_i].out) == 0,
			      "step %zu: got %s want %s", steps[k], out.p, streams[_i].out);
		xmpp_reader_fini(&r);
		td_buf_fini(&out);
	}
}
END_TEST

START_TEST(test_size_limit)
{
	static const char *const opens[] = { "<message><body>", "<message a='", "<" };
	struct td_buf big = { 0 }, out = { 0 };
	struct xmpp_reader r;

	td_buf_addz(&big, HEADER);
	td_buf_addz(&big, opens[_i]);
	for (int i = 0; i < 3000; i++)
		td_buf_addc(&big, 'x');
	xmpp_reader_init(&r, pool, 1000, 5);
	run_into(&r, td_buf_cstr(&big), 100, &out);
	ck_assert_str_eq(td_buf_cstr(&out), "O|E(policy-violation)|");
	xmpp_reader_fini(&r);
	td_buf_fini(&big);
	td_buf_fini(&out);
}
END_TEST

START_TEST(test_idle_holds_no_parser)
{
	struct td_buf out = { 0 };
	struct xmpp_reader r[10];

	for (int i = 0; i < 10; i++) {
		xmpp_reader_init(&r[i], pool, 4096, 10);
		run_into(&r[i], HEADER "<presence/>", 10000, &out);
		ck_assert_ptr_null(r[i].parse);
	}
	/* another stream's parser serves, and the end of the stream is seen */
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 10; i++) {
			td_buf_clear(&out);
			run_into(&r[i],
				 round < 2 ? "<message id='q'><body>x</body></message> "
					   : "</stream:stream>",
				 5, &out);
			ck_assert_str_eq(td_buf_cstr(&out),
					 round < 2 ? "<message id='q'><body>x</body></message>|"
						   : "C|");
			ck_assert_ptr_null(r[i].parse);
		}
	for (int i = 0; i < 10; i++)
		xmpp_reader_fini(&r[i]);
	td_buf_fini(&out);
}
END_TEST

START_TEST(test_rest)
{
	static const char in[] = HEADER "<a xmlns='x'/><presence/>";
	struct td_buf rest = { 0 };
	struct xmpp_reader r;

	xmpp_reader_init(&r, pool, 4096, 10);
	ck_assert_int_eq(xmpp_reader_feed(&r, in, sizeof(in) - 1), XR_OPEN);
	ck_assert_int_eq(xmpp_reader_feed(&r, NULL, 0), XR_STANZA);
	xmpp_stanza_unref(&r.stanza);
	ck_assert(xmpp_reader_has_input(&r));
	xmpp_reader_take_rest(&r, &rest);
	ck_assert_str_eq(td_buf_cstr(&rest), "<presence/>");
	ck_assert_int_eq(xmpp_reader_feed(&r, rest.p, rest.len), XR_STANZA);
	xmpp_stanza_unref(&r.stanza);
	xmpp_reader_fini(&r);
	td_buf_fini(&rest);
}
END_TEST

START_TEST(test_parse_one)
{
	struct td_arena *a = td_arena_new(0);
	const char *why;
	struct xmpp_node *n = xmpp_xml_parse(
		a, TD_STR("<message to='x@y'><body>a&lt;</body></message>"), NS_CLIENT, &why);
	struct xmpp_stanza *s, *e;
	struct td_buf b = { 0 };

	ck_assert_ptr_nonnull(n);
	ck_assert_int_eq(xmpp_stanza_from_node(a, n, &s, NULL), 0);
	ck_assert_int_eq(s->kind, XK_MESSAGE);
	ck_assert(td_str_eqc(xmpp_node_text(s->arena, xmpp_node_child(n, NULL, "body")), "a<"));
	e = xmpp_stanza_error(s, XE_SERVICE_UNAVAILABLE, TD_STR("no <such>"));
	xmpp_stanza_write(e, true, &b);
	ck_assert_str_eq(td_buf_cstr(&b),
			 "<message xmlns='jabber:client' from='x@y' "
			 "type='error'><body>a&lt;</body><error type='cancel'>"
			 "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text "
			 "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>no "
			 "&lt;such&gt;</text></error></message>");
	td_buf_fini(&b);
	xmpp_stanza_unref(&e);
	xmpp_stanza_unref(&s);
	a = td_arena_new(0);
	ck_assert_ptr_null(xmpp_xml_parse(a, TD_STR("<a/><b/>"), NULL, &why));
	ck_assert_ptr_null(xmpp_xml_parse(a, TD_STR("<a>"), NULL, &why));
	ck_assert_ptr_null(xmpp_xml_parse(a, TD_STR("<a/></x>"), NULL, &why));
	ck_assert_ptr_null(xmpp_xml_parse(a, TD_STR(""), NULL, &why));
	td_arena_free(a);
}
END_TEST

/* As deep as any stream may let it be, and no deeper. */
START_TEST(test_parse_deep)
{
	struct td_arena *a = td_arena_new(0);
	struct td_buf b = { 0 };

	for (unsigned depth = XMPP_XML_DEPTH; depth <= XMPP_XML_DEPTH + 1; depth++) {
		td_buf_clear(&b);
		for (unsigned i = 0; i < depth; i++)
			td_buf_addz(&b, "<a>");
		for (unsigned i = 0; i < depth; i++)
			td_buf_addz(&b, "</a>");
		ck_assert_int_eq(xmpp_xml_parse(a, td_buf_str(&b), NULL, NULL) != NULL,
				 depth == XMPP_XML_DEPTH);
	}
	td_buf_fini(&b);
	td_arena_free(a);
}
END_TEST

START_TEST(test_copies)
{
	struct td_arena *a = td_arena_new(0);
	const char *why;
	struct xmpp_node *n = xmpp_xml_parse(
		a, TD_STR("<presence from='x@y/r' id='i'><show>away</show></presence>"), NS_CLIENT,
		&why);
	struct xmpp_stanza *s, *d, *t;
	struct xmpp_jid to;
	struct td_buf b = { 0 };

	ck_assert_int_eq(xmpp_stanza_from_node(a, n, &s, NULL), 0);
	xmpp_stanza_seal(s);
	d = xmpp_stanza_dup(s);
	ck_assert_int_eq(xmpp_jid_parse(d->arena, TD_STR("q@z"), &to, NULL), 0);
	t = xmpp_stanza_readdress(s, &to);
	xmpp_stanza_append_raw(d, TD_STR("<x/>"));
	xmpp_stanza_write(d, false, &b);
	xmpp_stanza_write(t, false, &b);
	ck_assert_str_eq(td_buf_cstr(&b),
			 "<presence from='x@y/r' id='i'><show>away</show><x/></presence>"
			 "<presence from='x@y/r' to='q@z' id='i'><show>away</show></presence>");
	td_buf_fini(&b);
	xmpp_stanza_unref(&s);
	xmpp_stanza_unref(&d);
	xmpp_stanza_unref(&t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("xml");
	TCase *t = tcase_create("xml");
	SRunner *r;
	int failed;

	pool = xmpp_xmlpool_new();
	tcase_add_loop_test(t, test_streams, 0, (int)(sizeof(streams) / sizeof(streams[0])));
	tcase_add_loop_test(t, test_size_limit, 0, 3);
	tcase_add_test(t, test_idle_holds_no_parser);
	tcase_add_test(t, test_rest);
	tcase_add_test(t, test_parse_one);
	tcase_add_test(t, test_parse_deep);
	tcase_add_test(t, test_copies);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	xmpp_xmlpool_free(pool);
	return failed == 0 ? 0 : 1;
}
