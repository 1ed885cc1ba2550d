/* The mail object: addresses, dictionaries, limits, and the batch of changes. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "milter/mail.h"
#include "tests/unit/milter/recorder.h"

static const char *
z(struct td_arena *a, struct td_str s)
{
	return s.p == NULL ? "(null)" : td_arena_strndup(a, s.p, s.len);
}

// clang-format off
static const struct {
	const char *raw, *full, *local, *user, *detail, *domain; /* full NULL = invalid */
	bool utf8;
} addrs[] = {
	{ "<bob@lab.test>", "bob@lab.test", "bob", "bob", "(null)", "lab.test", false },
	{ "<bob@LAB.Test.>", "bob@lab.test", "bob", "bob", "(null)", "lab.test", false },
	{ "bob@lab.test", "bob@lab.test", "bob", "bob", "(null)", "lab.test", false },
	{ "<BoB+Lists@x.y>", "BoB+Lists@x.y", "BoB+Lists", "BoB", "Lists", "x.y", false },
	{ "<+491@x>", "+491@x", "+491", "+491", "(null)", "x", false },
	{ "<\"a b\"@x>", "\"a b\"@x", "a b", "a b", "(null)", "x", false },
	{ "<\"bob\"@x>", "bob@x", "bob", "bob", "(null)", "x", false },
	{ "<\"a\\\"b@c\"@x>", "\"a\\\"b@c\"@x", "a\"b@c", "a\"b@c", "(null)", "x", false },
	{ "<@relay.test,@b:carol@lab.test>", "carol@lab.test", "carol", "carol", "(null)", "lab.test", false },
	{ "<\xc3\xbc@x>", "\xc3\xbc@x", "\xc3\xbc", "\xc3\xbc", "(null)", "x", true },
	{ "<a@\xc3\x9c.de>", "a@\xc3\xbc.de", "a", "a", "(null)", "\xc3\xbc.de", true },
	{ "<>", "", "", "", "(null)", "", false },
	{ "", "", "", "", "(null)", "", false },
	{ "  <a@[192.0.2.1]>  ", "a@[192.0.2.1]", "a", "a", "(null)", "[192.0.2.1]", false },
	{ "<postmaster>", "postmaster", "postmaster", "postmaster", "(null)", "", false },
	{ "<a..b@x>", "a..b@x", "a..b", "a..b", "(null)", "x", false },
	{ "<a@b@x>", "\"a@b\"@x", "a@b", "a@b", "(null)", "x", false },
	{ "<a b@x>", NULL, 0, 0, 0, 0, false },
	{ "<@x>", NULL, 0, 0, 0, 0, false },
	{ "<a@>", NULL, 0, 0, 0, 0, false },
	{ "<a\r\nb@x>", NULL, 0, 0, 0, 0, false },
	{ "<a\xff@x>", NULL, 0, 0, 0, 0, false },
	{ "<\"a@x>", NULL, 0, 0, 0, 0, false },
	{ "<\"a\"b@x>", NULL, 0, 0, 0, 0, false },
	{ "<a@x y>", NULL, 0, 0, 0, 0, false },
};
// clang-format on

START_TEST(address)
{
	struct td_arena *a = td_arena_new(0);
	struct milt_addr out;
	int rc = milt_addr_parse(a, td_cstr(addrs[_i].raw), NULL, &out, NULL);

	ck_assert_str_eq(z(a, out.raw), addrs[_i].raw);
	if (addrs[_i].full == NULL) {
		ck_assert_int_eq(rc, TD_E_INVAL);
		ck_assert(!out.valid);
	} else {
		ck_assert_int_eq(rc, 0);
		ck_assert(out.valid);
		ck_assert_str_eq(z(a, out.full), addrs[_i].full);
		ck_assert_str_eq(z(a, out.local), addrs[_i].local);
		ck_assert_str_eq(z(a, out.user), addrs[_i].user);
		ck_assert_str_eq(z(a, out.detail), addrs[_i].detail);
		ck_assert_str_eq(z(a, out.domain), addrs[_i].domain);
		ck_assert_int_eq(out.utf8, addrs[_i].utf8);
	}
	td_arena_free(a);
}
END_TEST

START_TEST(address_long)
{
	struct td_arena *a = td_arena_new(0);
	struct milt_addr out;
	struct td_buf b = { 0 };

	for (int i = 0; i < 300; i++)
		td_buf_addc(&b, 'a');
	td_buf_addz(&b, "@x");
	ck_assert_int_eq(milt_addr_parse(a, td_buf_str(&b), NULL, &out, NULL), TD_E_INVAL);
	ck_assert_int_eq(milt_addr_parse(a, TD_STR("u-d@x"), "-=", &out, NULL), 0);
	ck_assert_str_eq(z(a, out.detail), "d");
	td_buf_fini(&b);
	td_arena_free(a);
}
END_TEST

START_TEST(dictionary)
{
	struct milt_dict d = { 0 };
	struct td_str k, v;
	size_t i = 0, n = 0;
	char key[16];

	ck_assert_ptr_null(milt_dict_get(&d, TD_STR("a")).p);
	ck_assert_int_eq(milt_dict_set(&d, TD_STR("a"), TD_STR("1")), 0);
	ck_assert_int_eq(milt_dict_set(&d, TD_STR("a"), TD_STR("2")), 0);
	ck_assert(td_str_eqc(milt_dict_get(&d, TD_STR("a")), "2"));
	ck_assert_int_eq(milt_dict_set(&d, TD_STR("a"), TD_STR_NULL), 0);
	ck_assert_ptr_null(milt_dict_get(&d, TD_STR("a")).p);
	for (int j = 0; j < 1000; j++) {
		(void)snprintf(key, sizeof(key), "k%d", j);
		ck_assert_int_eq(milt_dict_set(&d, td_cstr(key), TD_STR("")), 0);
	}
	ck_assert_int_eq(milt_dict_set(&d, TD_STR("more"), TD_STR("")), TD_E_LIMIT);
	ck_assert_int_eq(milt_dict_set(&d, TD_STR("k7"), TD_STR("x")), 0);
	while (milt_dict_each(&d, &i, &k, &v))
		n++;
	ck_assert_uint_eq(n, 1000);
	milt_dict_fini(&d);
}
END_TEST

struct fixture {
	struct milt_conn conn;
	struct milt_mail *m;
	struct recorder r;
};

static void
open_fixture(struct fixture *f)
{
	static const char *const from[] = { "<ann@a.test>", "SIZE=100", NULL };
	static const char *const r1[] = { "<Bob@B.test>", "NOTIFY=NEVER", NULL };
	static const char *const r2[] = { "<@r:carol@b.test>", NULL };

	memset(f, 0, sizeof(*f));
	recorder_init(&f->r);
	f->conn.actions = 0xff;
	f->m = milt_mail_new(&f->conn, NULL);
	milt_mail_set_envelope_from(f->m, from);
	ck_assert_ptr_nonnull(milt_mail_put_rcpt(f->m, r1));
	ck_assert_ptr_nonnull(milt_mail_put_rcpt(f->m, r2));
	milt_mail_put_header(f->m, TD_STR("Subject"), TD_STR("hello\n\tworld"));
	milt_mail_put_header(f->m, TD_STR("X-A"), TD_STR("1"));
	milt_mail_put_header(f->m, TD_STR("x-a"), TD_STR("2"));
	milt_mail_put_header(f->m, TD_STR("X-A"), TD_STR("3"));
	(void)milt_mail_put_body(f->m, "line\r\n\0x\r\n", 10);
}

static void
close_fixture(struct fixture *f)
{
	milt_mail_free(f->m);
	recorder_fini(&f->r);
	free(f->conn.reply.text);
}

START_TEST(no_changes)
{
	struct fixture f;

	open_fixture(&f);
	ck_assert_uint_eq(milt_mail_needs(f.m), 0);
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, NULL), 0);
	ck_assert_str_eq(recorded(&f.r), "");
	ck_assert_uint_eq(f.m->n_from_args, 1);
	ck_assert(td_str_eqc(f.m->rcpts[0]->args[0], "NOTIFY=NEVER"));
	ck_assert(td_str_eqc(milt_mail_header_value(f.m, "SUBJECT"), "hello\tworld"));
	close_fixture(&f);
}
END_TEST

START_TEST(header_changes)
{
	struct fixture f;
	struct td_buf raw = { 0 };
	size_t pos = 0;

	open_fixture(&f);
	ck_assert_int_eq(milt_mail_header_set(f.m, TD_STR("X-A"), 1, TD_STR_NULL), 0);
	ck_assert_int_eq(milt_mail_header_set(f.m, TD_STR("X-A"), 2, TD_STR("drei")), 0);
	ck_assert_int_eq(milt_mail_header_set(f.m, TD_STR("X-A"), 3, TD_STR("x")), TD_E_NOTFOUND);
	ck_assert_int_eq(
		milt_mail_header_append(f.m, TD_STR("X-New"), TD_STR("a\r\nEvil: b\n\nbody")), 0);
	ck_assert_int_eq(milt_mail_header_prepend(f.m, TD_STR("X-Top"), TD_STR("1")), 0);
	ck_assert_int_eq(milt_mail_header_prepend(f.m, TD_STR("X-Topper"), TD_STR("2")), 0);
	ck_assert_int_eq(milt_mail_header_append(f.m, TD_STR("Bad Name"), TD_STR("1")), TD_E_INVAL);
	ck_assert_int_eq(milt_mail_header_append(f.m, TD_STR("Bad:"), TD_STR("1")), TD_E_INVAL);
	ck_assert_int_eq(milt_mail_header_append(f.m, TD_STR("Bad\nName"), TD_STR("1")),
			 TD_E_INVAL);
	/* what was added and deleted again is nobody's business */
	ck_assert_int_eq(milt_mail_header_append(f.m, TD_STR("X-Gone"), TD_STR("1")), 0);
	ck_assert_uint_eq(milt_mail_header_delete(f.m, TD_STR("x-gone")), 1);
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, NULL), 0);
	ck_assert_str_eq(recorded(&f.r), "chg X-A#3: drei\n"
					 "chg X-A#1: (none)\n"
					 "add X-New: a\n Evil: b\n body\n"
					 "ins 0 X-Top: 1\n"
					 "ins 0 X-Topper: 2\n");
	milt_mail_raw(f.m, &raw);
	ck_assert_uint_eq(raw.len,
			  sizeof("X-Topper: 2\r\nX-Top: 1\r\nSubject: hello\r\n\tworld\r\n"
				 "x-a: 2\r\nX-A: drei\r\nX-New: a\r\n Evil: b\r\n body\r\n\r\n"
				 "line\r\n\0x\r\n") -
				  1);
	ck_assert_ptr_nonnull(milt_mail_header(f.m, TD_STR("x-a"), &pos));
	td_buf_fini(&raw);
	close_fixture(&f);
}
END_TEST

START_TEST(header_replace)
{
	struct fixture f;

	open_fixture(&f);
	ck_assert_int_eq(milt_mail_header_replace(f.m, TD_STR("X-A"), TD_STR("only")), 0);
	ck_assert_int_eq(milt_mail_header_replace(f.m, TD_STR("X-None"), TD_STR("new")), 0);
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, NULL), 0);
	ck_assert_str_eq(recorded(&f.r), "chg X-A#3: (none)\nchg x-a#2: (none)\nchg X-A#1: only\n"
					 "add X-None: new\n");
	close_fixture(&f);
}
END_TEST

START_TEST(long_values_fold)
{
	struct fixture f;
	struct td_buf v = { 0 };
	const char *out;
	size_t line = 0;

	open_fixture(&f);
	for (int i = 0; i < 3000; i++)
		td_buf_addz(&v, "word ");
	ck_assert_int_eq(milt_mail_header_append(f.m, TD_STR("X-Long"), td_buf_str(&v)), 0);
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, NULL), 0);
	for (out = recorded(&f.r); *out != '\0'; out++) {
		line = *out == '\n' ? 0 : line + 1;
		ck_assert_uint_lt(line, 990);
	}
	td_buf_fini(&v);
	close_fixture(&f);
}
END_TEST

START_TEST(envelope_changes)
{
	struct fixture f;
	struct td_err err;

	open_fixture(&f);
	ck_assert_int_eq(milt_mail_set_sender(f.m, TD_STR("<>"), &err), 0);
	ck_assert_int_eq(milt_mail_set_sender(f.m, TD_STR("x y@z"), &err), TD_E_INVAL);
	ck_assert_int_eq(milt_mail_add_rcpt(f.m, TD_STR("dan@C.test"), &err), 0);
	ck_assert_int_eq(milt_mail_add_rcpt(f.m, TD_STR("<dan@c.test>"), &err), 0);
	ck_assert_int_eq(milt_mail_add_rcpt(f.m, TD_STR("a\r\nb@c"), &err), TD_E_INVAL);
	ck_assert_int_eq(milt_mail_add_rcpt(f.m, TD_STR("<>"), &err), TD_E_INVAL);
	ck_assert_uint_eq(milt_mail_remove_rcpt(f.m, TD_STR("bob@b.test")), 1);
	ck_assert_uint_eq(milt_mail_remove_rcpt(f.m, TD_STR("nobody@b.test")), 0);
	f.m->rcpts[1]->fate = MF_CHAT;
	milt_mail_set_quarantine(f.m, TD_STR("why\nnot"));
	ck_assert_int_eq(milt_mail_set_body(f.m, TD_STR("a\nb\rc\r\nd")), 0);
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, NULL), 0);
	/* deleting takes the argument as it came, to the byte */
	ck_assert_str_eq(recorded(&f.r),
			 "from <>\nrcpt+ <dan@c.test>\nrcpt- <Bob@B.test>\n"
			 "rcpt- <@r:carol@b.test>\nbody a\r\nb\r\nc\r\nd\nhold why  not\n");
	/* and back again */
	ck_assert_int_eq(milt_mail_add_rcpt(f.m, TD_STR("bob@b.test"), &err), 0);
	ck_assert_uint_eq(milt_mail_remove_rcpt(f.m, TD_STR("dan@c.test")), 1);
	f.m->rcpts[1]->fate = MF_BOTH;
	ck_assert_uint_eq(milt_mail_needs(f.m) & (MA_ADDRCPT | MA_DELRCPT), 0);
	close_fixture(&f);
}
END_TEST

START_TEST(apply_failures)
{
	struct fixture f;
	struct td_err err;

	open_fixture(&f);
	ck_assert_int_eq(milt_mail_header_append(f.m, TD_STR("X"), TD_STR("1")), 0);
	f.m->rcpts[0]->fate = MF_CHAT;
	f.conn.actions = MA_ADDHDRS;
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, &err), TD_E_UNSUPPORTED);
	ck_assert_str_eq(recorded(&f.r), ""); /* nothing was sent */
	f.conn.actions = 0xff;
	f.r.fail = "add X";
	ck_assert_int_eq(milt_mail_apply(f.m, &f.r.io, &err), TD_E_IO);
	ck_assert_str_eq(recorded(&f.r), "add X: 1\n");
	close_fixture(&f);
}
END_TEST

START_TEST(limits)
{
	static const struct milt_limits small = { 10, 40, 3, 2 };
	static const char *const rcpt[] = { "<a@b>", NULL };
	struct milt_mail *m = milt_mail_new(NULL, &small);

	ck_assert_ptr_nonnull(milt_mail_put_rcpt(m, rcpt));
	ck_assert_ptr_nonnull(milt_mail_put_rcpt(m, rcpt));
	ck_assert_ptr_null(milt_mail_put_rcpt(m, rcpt));
	milt_mail_put_header(m, TD_STR("A"), TD_STR("1"));
	milt_mail_put_header(m, TD_STR("B"), TD_STR("0123456789012345678901234567890123456789"));
	milt_mail_put_header(m, TD_STR("A"), TD_STR("2"));
	ck_assert(m->headers_cut);
	ck_assert_uint_eq(m->n_headers, 1);
	ck_assert(milt_mail_put_body(m, "12345678", 8));
	ck_assert(!milt_mail_put_body(m, "12345678", 8));
	ck_assert(!milt_mail_put_body(m, "x", 1));
	ck_assert(m->body_cut);
	ck_assert_uint_eq(m->body.len, 10);
	ck_assert_uint_eq(m->body_size, 17);
	ck_assert_int_eq(milt_mail_set_body(m, TD_STR("01234567890")), TD_E_LIMIT);
	milt_mail_free(m);
}
END_TEST

START_TEST(from_raw)
{
	struct milt_mail *m =
		milt_mail_from_raw(NULL, TD_STR("A: 1\nB: x\n y\n\nbody\nmore\r\nend"), NULL);
	struct td_buf out = { 0 };

	ck_assert_uint_eq(m->n_headers, 2);
	milt_mail_raw(m, &out);
	ck_assert_str_eq(td_buf_cstr(&out), "A: 1\r\nB: x\r\n y\r\n\r\nbody\r\nmore\r\nend");
	milt_mail_free(m);
	td_buf_clear(&out);
	m = milt_mail_from_raw(NULL, TD_STR("no header here\n"), NULL);
	milt_mail_raw(m, &out);
	ck_assert_str_eq(td_buf_cstr(&out), "\r\nno header here\r\n");
	milt_mail_free(m);
	td_buf_fini(&out);
}
END_TEST

START_TEST(reply_lines)
{
	struct td_arena *a = td_arena_new(0);
	const char *lines[MILT_REPLY_LINES];
	struct td_buf b = { 0 };
	struct milt_conn c = { 0 };

	ck_assert_int_eq(milt_conn_set_reply(&c, 550, TD_STR("5.7.1 No %s\r\nway \xc3\xbc\x01")),
			 0);
	ck_assert_str_eq(c.reply.xcode, "5.7.1");
	ck_assert_uint_eq(milt_reply_lines(a, c.reply.text, lines), 2);
	ck_assert_str_eq(lines[0], "No %s");
	ck_assert_str_eq(lines[1], "way ??");
	ck_assert_int_eq(milt_conn_set_reply(&c, 450, TD_STR("5.7.1 wrong class")), 0);
	ck_assert_str_eq(c.reply.xcode, "");
	ck_assert_int_eq(milt_conn_set_reply(&c, 250, TD_STR("ok")), TD_E_INVAL);
	ck_assert_int_eq(milt_conn_set_reply(&c, 550, TD_STR_NULL), 0);
	ck_assert_uint_eq(milt_reply_lines(a, c.reply.text, lines), 0);
	for (int i = 0; i < 100; i++)
		td_buf_addz(&b, "x\n");
	for (int i = 0; i < 2000; i++)
		td_buf_addz(&b, "y");
	ck_assert_uint_eq(milt_reply_lines(a, td_buf_cstr(&b), lines), MILT_REPLY_LINES);
	ck_assert_uint_eq(milt_reply_lines(a, td_buf_cstr(&b) + 200, lines), 1);
	ck_assert_uint_eq(strlen(lines[0]), MILT_REPLY_LINE);
	td_buf_fini(&b);
	free(c.reply.text);
	td_arena_free(a);
}
END_TEST

START_TEST(macros)
{
	struct milt_conn c = { 0 };
	struct milt_mail *m = milt_mail_new(&c, NULL);

	c.macro[MM_J] = TD_STR("mx");
	m->macro[MM_AUTH_AUTHEN] = TD_STR("ann");
	ck_assert(td_str_eqc(milt_mail_macro_by_name(m, TD_STR("j")), "mx"));
	ck_assert(td_str_eqc(milt_mail_macro_by_name(m, TD_STR("auth_authen")), "ann"));
	ck_assert(td_str_eqc(milt_mail_macro_by_name(m, TD_STR("{auth_authen}")), "ann"));
	ck_assert_ptr_null(milt_mail_macro_by_name(m, TD_STR("nope")).p);
	milt_mail_free(m);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("milter/mail");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, address, 0, (int)(sizeof(addrs) / sizeof(addrs[0])));
	tcase_add_test(t, address_long);
	tcase_add_test(t, dictionary);
	tcase_add_test(t, no_changes);
	tcase_add_test(t, header_changes);
	tcase_add_test(t, header_replace);
	tcase_add_test(t, long_values_fold);
	tcase_add_test(t, envelope_changes);
	tcase_add_test(t, apply_failures);
	tcase_add_test(t, limits);
	tcase_add_test(t, from_raw);
	tcase_add_test(t, reply_lines);
	tcase_add_test(t, macros);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
