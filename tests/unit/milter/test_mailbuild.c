/* Building mail, then reading it back with mime.c. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "milter/mail.h"
#include "milter/mailbuild.h"
#include "milter/mime.h"

static struct td_arena *a;
static struct td_err err;

static void
setup(void)
{
	a = td_arena_new(0);
	milt_mime_init();
}

#define COMPOSED(...) ((struct milt_composition){ __VA_ARGS__ })

static void
teardown(void)
{
	td_arena_free(a);
}

static const char *
z(struct td_str s)
{
	return s.p == NULL ? "(null)" : td_arena_strndup(a, s.p, s.len);
}

/* CRLF only, no line over 998, no NUL, 7 bit unless <eight>. */
static void
check_wire(struct td_str d, bool eight)
{
	size_t line = 0, longest = 0, bare = 0, nul = 0, high = 0;

	for (size_t i = 0; i < d.len; i++) {
		bare += d.p[i] == '\n' && (i == 0 || d.p[i - 1] != '\r');
		bare += d.p[i] == '\r' && (i + 1 == d.len || d.p[i + 1] != '\n');
		nul += d.p[i] == '\0';
		high += (unsigned char)d.p[i] >= 0x80;
		line = d.p[i] == '\n' ? 0 : line + 1;
		longest = line > longest ? line : longest;
	}
	ck_assert_uint_eq(bare, 0);
	ck_assert_uint_eq(nul, 0);
	ck_assert_uint_le(longest, 998);
	if (!eight)
		ck_assert_uint_eq(high, 0);
	ck_assert(td_str_ends(td_str(d.p + d.len - 2, 2), "\r\n"));
}

/* Header names of the message, to see that none came from inside a value. */
static const char *
header_names(struct td_str d)
{
	struct milt_mail *m = milt_mail_from_raw(NULL, d, NULL);
	struct td_buf b = { 0 };
	const char *r;

	for (size_t i = 0; i < m->n_headers; i++)
		td_buf_addf(&b, "%s%.*s", i > 0 ? " " : "", TD_STR_ARG(m->headers[i]->name));
	r = z(td_buf_str(&b));
	td_buf_fini(&b);
	milt_mail_free(m);
	return r;
}

static struct milt_draft
draft(void)
{
	return (struct milt_draft){
		.env_from = TD_STR("ann@a.test"),
		.env_to = TD_STR("bob@b.test"),
		.from_name = TD_STR("J\xC3\xBCrgen \"Q\" <x@y>, Z"),
		.from_addr = TD_STR("ann@a.test"),
		.subject = TD_STR("Gr\xC3\xBC\xC3\x9F"
				  "e \xF0\x9F\x98\x80"),
		.text = TD_STR("hello\n\xC3\xA4 body\n.dot\nFrom here\n"),
		.message_id = TD_STR("<id-1@a.test>"),
		.date = INT64_C(1795455601000),
	};
}

START_TEST(chat_mail)
{
	static const struct td_str refs[] = { { "r1@x", 4 }, { "<r2@x>", 6 } };
	struct milt_draft d = draft();
	struct milt_built b;
	struct milt_mime m;

	d.in_reply_to = TD_STR("r3@x");
	d.references = refs;
	d.n_references = 2;
	d.auto_submitted = TD_STR("no");
	d.loop = TD_STR("chat.a.test");
	d.hops = 1;
	d.jabber_id = TD_STR("ann@a.test");
	d.reply_to = TD_STR("ann+reply@a.test");
	d.to_name = TD_STR("Bob");
	ck_assert_msg(milt_build_chat(a, &d, &b, &err) == 0, "%s", err.text);
	check_wire(b.data, false);
	ck_assert(!b.smtputf8);
	ck_assert_str_eq(z(b.from), "ann@a.test");
	ck_assert_str_eq(z(b.to), "bob@b.test");
	milt_mime_parse_raw(a, b.data, NULL, &m);
	ck_assert_str_eq(z(m.subject), z(d.subject));
	ck_assert_str_eq(z(m.from.name), z(d.from_name));
	ck_assert_str_eq(z(m.from.addr), "ann@a.test");
	ck_assert_uint_eq(m.n_to, 1);
	ck_assert_str_eq(z(m.to[0].name), "Bob");
	ck_assert_str_eq(z(m.reply_to[0].addr), "ann+reply@a.test");
	ck_assert_str_eq(z(m.message_id), "id-1@a.test");
	ck_assert_uint_eq(m.n_references, 3);
	ck_assert_str_eq(z(m.references[2]), "r3@x");
	ck_assert_str_eq(z(m.in_reply_to[0]), "r3@x");
	ck_assert_str_eq(z(m.auto_submitted), "no");
	ck_assert_str_eq(z(m.jabber_id), "ann@a.test");
	ck_assert_int_eq(m.date, d.date);
	ck_assert_str_eq(z(m.text), "hello\n\xC3\xA4 body\n.dot\nFrom here");
	ck_assert_ptr_nonnull(strstr(z(b.data), "X-Tandem-Loop: chat.a.test; hops=2\r\n"));
	ck_assert_ptr_nonnull(strstr(z(b.data), "MIME-Version: 1.0\r\n"));
}
END_TEST

START_TEST(injection)
{
	static const struct td_str refs[] = { { "ok@x", 4 }, { "a@b>\r\nEvil: 1", 13 } };
	static const char evil[] = "x\r\nEvil: 1\r\n\r\nbody\0more\x1b";
	struct td_str e = td_str(evil, sizeof(evil) - 1);
	struct milt_draft d = draft();
	struct milt_built b;

	d.from_name = d.to_name = d.subject = d.auto_submitted = d.loop = d.jabber_id = e;
	d.text = e;
	d.references = refs;
	d.n_references = 2;
	d.in_reply_to = e;
	ck_assert_msg(milt_build_chat(a, &d, &b, &err) == 0, "%s", err.text);
	check_wire(b.data, false);
	ck_assert_ptr_null(strstr(header_names(b.data), "Evil"));
	ck_assert_ptr_null(strstr(header_names(b.data), "In-Reply-To"));
	/* where it would change the meaning, it is refused */
	for (int i = 0; i < 5; i++) {
		d = draft();
		*(i == 0   ? &d.env_from
		  : i == 1 ? &d.env_to
		  : i == 2 ? &d.from_addr
		  : i == 3 ? &d.message_id
			   : &d.reply_to) = e;
		ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), TD_E_INVAL);
		ck_assert_str_ne(err.text, "");
	}
}
END_TEST

// clang-format off
static const struct { const char *addr; bool ok, utf8; } addrs[] = {
	{ "a@b", true, false }, { "a.b+c@d.test", true, false }, { "\"a b\"@d", true, false },
	{ "\xC3\xBC@d", true, true }, { "a@[192.0.2.1]", true, false }, { "a@[IPv6:2001:db8::1]", true, false },
	{ "a", false, false }, { "@b", false, false }, { "a@", false, false }, { "", false, false },
	{ "a b@c", false, false }, { "a@b c", false, false }, { "a\n@b", false, false },
	{ "<a@b>", false, false }, { "a,b@c", false, false }, { "a@b>", false, false },
	{ "a\xFF@b", false, false }, { "\"a@b", false, false },
	{ "0123456789012345678901234567890123456789012345678901234567890123456789@b", false, false },
};
// clang-format on

START_TEST(addresses)
{
	bool utf8 = false;

	ck_assert_int_eq(milt_build_addr_ok(td_cstr(addrs[_i].addr), &utf8), addrs[_i].ok);
	ck_assert_int_eq(utf8, addrs[_i].utf8);
}
END_TEST

START_TEST(international)
{
	struct milt_draft d = draft();
	struct milt_built b;
	struct milt_mime m;

	/* only the domain: A-labels, any server takes it */
	d.env_to = TD_STR("bob@b\xC3\xBC"
			  "cher.test");
	ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), 0);
	ck_assert(!b.smtputf8);
	ck_assert_str_eq(z(b.to), "bob@xn--bcher-kva.test");
	check_wire(b.data, false);
	d.env_to = TD_STR("b\xC3\xB6"
			  "b@b\xC3\xBC"
			  "cher.test");
	ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), 0);
	ck_assert(b.smtputf8);
	ck_assert_str_eq(z(b.to), "b\xC3\xB6"
				  "b@b\xC3\xBC"
				  "cher.test");
	check_wire(b.data, true);
	milt_mime_parse_raw(a, b.data, NULL, &m);
	ck_assert_uint_eq(m.n_to, 1);
	ck_assert_str_eq(z(m.to[0].addr), z(b.to));
	d = draft();
	d.env_from = TD_STR("");
	ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), 0);
	ck_assert_str_eq(z(b.from), "");
}
END_TEST

START_TEST(texts_survive)
{
	static const char *const texts[] = {
		"",
		"x",
		"trailing  \nspaces \n",
		" leading",
		"\n\nempty lines\n\n\nend",
		"tab\tx",
		"> quote\n> > deeper\nanswer",
		"From me",
		"=3D=",
		".",
		"a\n.\nb",
		"\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\n\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91"
		"\xA9",
		"word word word word word word word word word word word word word word word word "
		"word word "
		"word word word word word word word word word word word word word word word word "
		"word word",
		"> word word word word word word word word word word word word word word word word "
		"word word word",
	};
	struct milt_draft d = draft();
	struct td_buf line = { 0 };
	struct milt_built b;
	struct milt_mime m;

	for (size_t i = 0; i <= sizeof(texts) / sizeof(texts[0]); i++) {
		if (i < sizeof(texts) / sizeof(texts[0])) {
			d.text = td_cstr(texts[i]);
		} else {
			for (int k = 0; k < 5000; k++)
				td_buf_addz(&line, "abc");
			d.text = td_buf_str(&line);
		}
		ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), 0);
		check_wire(b.data, false);
		milt_mime_parse_raw(a, b.data, NULL, &m);
		ck_assert_str_eq(z(m.text), z(td_str_trim(d.text)));
		/* and flowed: the same but for blanks at line ends */
		d.flowed = true;
		ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), 0);
		check_wire(b.data, false);
		milt_mime_parse_raw(a, b.data, NULL, &m);
		if (i != 2)
			ck_assert_str_eq(z(m.text), z(td_str_trim(d.text)));
		d.flowed = false;
	}
	td_buf_fini(&line);
}
END_TEST

START_TEST(many_references)
{
	struct td_str refs[200];
	struct milt_draft d = draft();
	struct milt_built b;
	struct milt_mime m;

	for (int i = 0; i < 200; i++)
		refs[i] = td_cstr(td_arena_printf(a, "r%d@host.of.some.length.test", i));
	d.references = refs;
	d.n_references = 200;
	ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), 0);
	check_wire(b.data, false);
	milt_mime_parse_raw(a, b.data, NULL, &m);
	ck_assert_uint_eq(m.n_references, 21);
	ck_assert_str_eq(z(m.references[0]), z(refs[0]));
	ck_assert_str_eq(z(m.references[20]), z(refs[199]));
}
END_TEST

START_TEST(with_files)
{
	static const unsigned char bytes[] = { 0, 1, 2, 255, '\r', '\n', 0 };
	static const struct td_str extra[] = {
		{ "X-Part", 6 }, { "a\r\nEvil: b", 10 }, { "Content-Type", 12 }, { "text/evil", 9 }
	};
	static const char inner[] =
		"From: x@y\r\nSubject: inner\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\nt\xC3\xA4xt\r\n";
	static const char nested[] = "Content-Type: message/rfc822\r\n\r\nContent-Type: "
				     "text/plain\r\n\r\nt\xC3\xA4xt\r\n";
	static const char raw8[] = "Subject: \xC3\xA4\r\n\r\nx\r\n";
	struct milt_attach at[6] = {
		{ .type = TD_STR("image/png"),
		  .name = TD_STR("b\xC3\xBCld \"1\".png"),
		  .content = { (const char *)bytes, sizeof(bytes) },
		  .headers = extra,
		  .n_headers = 2 },
		{ .content = TD_STR("") },
		{ .type = TD_STR("message/rfc822"), .content = { inner, sizeof(inner) - 1 } },
		{ .type = TD_STR("multipart/mixed; boundary=x"),
		  .content = TD_STR("--x\n\nevil\n--x--\n") },
		{ .type = TD_STR("message/rfc822"), .content = { nested, sizeof(nested) - 1 } },
		{ .type = TD_STR("message/rfc822"), .content = { raw8, sizeof(raw8) - 1 } },
	};
	struct milt_draft d = draft();
	struct td_buf out = { 0 };
	struct milt_built b;
	struct milt_mail *mail;
	struct milt_mime m;

	d.attach = at;
	d.n_attach = 6;
	ck_assert_msg(milt_build_chat(a, &d, &b, &err) == 0, "%s", err.text);
	check_wire(b.data, false);
	milt_mime_parse_raw(a, b.data, NULL, &m);
	ck_assert_uint_eq(m.n_parts, 11);
	ck_assert_str_eq(z(m.parts[2].filename), "b\xC3\xBCld \"1\".png");
	ck_assert_str_eq(z(m.parts[2].type), "image/png");
	ck_assert(m.parts[2].attachment);
	ck_assert_str_eq(z(m.parts[3].type), "application/octet-stream");
	ck_assert_str_eq(z(m.parts[4].type), "message/rfc822");
	ck_assert_str_eq(z(m.parts[5].text), "t\xC3\xA4xt\n");
	ck_assert_str_eq(z(m.parts[6].type), "application/octet-stream");
	ck_assert_str_eq(z(m.parts[9].text), "t\xC3\xA4xt\n");
	ck_assert_str_eq(z(m.parts[10].type), "application/octet-stream");
	ck_assert_ptr_null(strstr(z(b.data), "\r\nEvil"));
	mail = milt_mail_from_raw(NULL, b.data, NULL);
	ck_assert_int_eq(milt_mime_extract(mail, NULL, 2, 100, &out, &err), 0);
	ck_assert_uint_eq(out.len, sizeof(bytes));
	ck_assert(memcmp(out.p, bytes, sizeof(bytes)) == 0);
	milt_mail_free(mail);
	td_buf_fini(&out);
	at[0].type = TD_STR("no type");
	ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), TD_E_INVAL);
	at[0] = (struct milt_attach){
		.headers = (const struct td_str[]){ { "Bad Name", 8 }, { "x", 1 } }, .n_headers = 1
	};
	ck_assert_int_eq(milt_build_chat(a, &d, &b, &err), TD_E_INVAL);
}
END_TEST

START_TEST(scripts_mail)
{
	static const struct milt_pair headers[] = {
		{ { "From", 4 }, { "J\xC3\xBCrgen <ann@a.test>", 20 } },
		{ { "To", 2 }, { "bob@b.test", 10 } },
		{ { "Subject", 7 }, { "=?utf-8?q?gr=C3=BCn?=", 21 } },
		{ { "X-Multi", 7 }, { "1", 1 } },
		{ { "X-Multi", 7 }, { "2\nEvil: x", 9 } },
		{ { "Content-Type", 12 }, { "text/evil", 9 } },
		{ { "MIME-Version", 12 }, { "7", 1 } },
	};
	static const struct milt_pair parts[] = {
		{ { "text/plain", 10 }, { "pl\xC3\xA4in", 6 } },
		{ { "text/html; charset=utf-8", 24 }, { "<p>html</p>", 11 } },
		{ { "application/json", 16 }, { "{}", 2 } },
	};
	struct milt_attach at = { .type = TD_STR("text/csv"),
				  .name = TD_STR("a.csv"),
				  .content = TD_STR("1,2\n") };
	struct milt_mime m;
	struct td_str out;

	ck_assert_msg(milt_build(a, &COMPOSED(headers, 7, parts, 3, &at, 1, TD_STR("a.test")), &out,
				 &err) == 0,
		      "%s", err.text);
	check_wire(out, false);
	milt_mime_parse_raw(a, out, NULL, &m);
	ck_assert_str_eq(z(m.subject), "gr\xC3\xBCn");
	ck_assert_str_eq(z(m.from.name), "J\xC3\xBCrgen");
	ck_assert_str_eq(z(m.text), "pl\xC3\xA4in");
	ck_assert_ptr_nonnull(m.message_id.p);
	ck_assert(td_str_ends(m.message_id, "@a.test"));
	ck_assert_int_ne(m.date, 0);
	ck_assert_uint_eq(m.n_parts, 6);
	ck_assert_str_eq(z(m.parts[0].type), "multipart/mixed");
	ck_assert_str_eq(z(m.parts[1].type), "multipart/alternative");
	ck_assert_str_eq(z(m.parts[2].encoding), "quoted-printable");
	ck_assert_str_eq(z(m.parts[3].encoding), "base64");
	ck_assert_str_eq(z(m.parts[5].filename), "a.csv");
	ck_assert_ptr_null(strstr(header_names(out), "Evil"));
	ck_assert_ptr_nonnull(strstr(z(out), "\r\nMIME-Version: 1.0\r\n"));
	ck_assert_int_eq(
		milt_build(a, &COMPOSED(headers, 7, parts, 1, NULL, 0, TD_STR("")), &out, &err), 0);
	milt_mime_parse_raw(a, out, NULL, &m);
	ck_assert_uint_eq(m.n_parts, 1);
	ck_assert_int_eq(
		milt_build(a, &COMPOSED(NULL, 0, NULL, 0, NULL, 0, TD_STR("b\nad")), &out, &err),
		0);
	check_wire(out, false);
}
END_TEST

START_TEST(scripts_errors)
{
	static const struct milt_pair bad_type[] = {
		{ { "text", 4 }, { "x", 1 } },
		{ { "multipart/mixed", 15 }, { "x", 1 } },
		{ { "message/rfc822", 14 }, { "x", 1 } },
		{ { "", 0 }, { "x", 1 } },
	};
	static const struct milt_pair bad_name = { { "a b", 3 }, { "x", 1 } };
	struct td_str out;

	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(
			milt_build(a, &COMPOSED(NULL, 0, &bad_type[i], 1, NULL, 0, TD_STR("h")),
				   &out, &err),
			TD_E_INVAL);
	}
	ck_assert_int_eq(
		milt_build(a, &COMPOSED(&bad_name, 1, NULL, 0, NULL, 0, TD_STR("h")), &out, &err),
		TD_E_INVAL);
	ck_assert_int_eq(
		milt_build(a, &COMPOSED(NULL, 2000, NULL, 0, NULL, 0, TD_STR("h")), &out, &err),
		TD_E_LIMIT);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("milter/mailbuild");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, chat_mail);
	tcase_add_test(t, injection);
	tcase_add_loop_test(t, addresses, 0, (int)(sizeof(addrs) / sizeof(addrs[0])));
	tcase_add_test(t, international);
	tcase_add_test(t, texts_survive);
	tcase_add_test(t, many_references);
	tcase_add_test(t, with_files);
	tcase_add_test(t, scripts_mail);
	tcase_add_test(t, scripts_errors);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
