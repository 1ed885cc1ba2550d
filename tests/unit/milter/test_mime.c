/* Reading mail: each data/NAME.eml must give data/NAME.txt (UPDATE=1 writes it anew), and
 * absurd mails must end soon, whatever they give. */
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <glib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "milter/mail.h"
#include "milter/mime.h"
#include "milter/text.h"

#define FOLDER TANDEM_SRCDIR "/tests/unit/milter/data"

static char *names[200];
static int n_names;

static bool
read_file(const char *path, struct td_buf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL)
		return false;
	while ((n = fread(td_buf_reserve(out, 4096), 1, 4096, f)) > 0)
		out->len += n;
	fclose(f);
	td_buf_cstr(out);
	return true;
}

static void
line(struct td_buf *b, const char *name, struct td_str v)
{
	if (v.p != NULL)
		td_buf_addf(b, "%s: %.*s\n", name, TD_STR_ARG(v));
}

static void
mboxes(struct td_buf *b, const char *name, const struct milt_mbox *m, size_t n)
{
	for (size_t i = 0; i < n; i++)
		td_buf_addf(b, "%s: [%.*s] <%.*s>\n", name, TD_STR_ARG(m[i].name),
			    TD_STR_ARG(m[i].addr));
}

static void
parts(struct td_buf *b, const struct milt_mime *m)
{
	for (size_t i = 0; i < m->n_parts; i++) {
		const struct milt_part *p = &m->parts[i];

		td_buf_addf(b, "part %zu parent=%d depth=%u %.*s", i, p->parent, p->depth,
			    TD_STR_ARG(p->type));
		if (!p->container)
			td_buf_addf(b, " size=%llu", (unsigned long long)p->size);
		if (p->charset.p != NULL)
			td_buf_addf(b, " charset=%.*s", TD_STR_ARG(p->charset));
		if (p->filename.p != NULL)
			td_buf_addf(b, " name=%.*s", TD_STR_ARG(p->filename));
		if (p->cid.p != NULL)
			td_buf_addf(b, " cid=%.*s", TD_STR_ARG(p->cid));
		td_buf_addf(b, "%s%s%s%s\n", p->attachment ? " attachment" : "",
			    p->inlined ? " inline" : "", p->text.p != NULL ? " text" : "",
			    p->html.p != NULL ? " html" : "");
		if (p->head.len > 0)
			td_buf_addf(b, "  head: %.*s", TD_STR_ARG(p->head));
	}
}

static void
report(struct td_buf *b, const struct milt_report *r)
{
	static const char *const kinds[MR_COUNT] = { "none", "dsn", "mdn", "feedback" };

	if (r->kind == MR_NONE)
		return;
	td_buf_addf(b, "report: %s\n", kinds[r->kind]);
	line(b, "original-id", r->original_id);
	line(b, "envelope-id", r->envelope_id);
	for (size_t i = 0; i < r->n_rcpts; i++)
		td_buf_addf(
			b,
			"rcpt: original=%.*s final=%.*s action=%.*s status=%.*s diagnostic=%.*s\n",
			TD_STR_ARG(r->rcpts[i].original), TD_STR_ARG(r->rcpts[i].final),
			TD_STR_ARG(r->rcpts[i].action), TD_STR_ARG(r->rcpts[i].status),
			TD_STR_ARG(r->rcpts[i].diagnostic));
}

static void
dump(struct td_buf *b, const struct milt_mime *m)
{
	line(b, "subject", m->subject);
	mboxes(b, "from", &m->from, 1);
	mboxes(b, "to", m->to, m->n_to);
	mboxes(b, "cc", m->cc, m->n_cc);
	line(b, "message-id", m->message_id);
	for (size_t i = 0; i < m->n_references; i++)
		line(b, "reference", m->references[i]);
	for (size_t i = 0; i < m->n_in_reply_to; i++)
		line(b, "in-reply-to", m->in_reply_to[i]);
	line(b, "list-id", m->list_id);
	line(b, "auto-submitted", m->auto_submitted);
	line(b, "precedence", m->precedence);
	line(b, "jabber-id", m->jabber_id);
	if (m->date != 0)
		td_buf_addf(b, "date: %lld\n", (long long)m->date);
	td_buf_addf(b, "flags:%s%s%s%s\n", m->cut ? " cut" : "", m->encrypted ? " encrypted" : "",
		    m->is_signed ? " signed" : "", m->text_from_html ? " from-html" : "");
	parts(b, m);
	report(b, &m->report);
	td_buf_addf(b, "----\n%.*s\n", TD_STR_ARG(m->text));
}

/* Everything a view holds must be fit for a stanza. */
static void
check_safe(struct td_str s)
{
	size_t bad = 0;

	ck_assert(td_utf8_valid(s));
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		bad += (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
	}
	ck_assert_uint_eq(bad, 0);
}

static void
check_view(const struct milt_mime *m)
{
	check_safe(m->subject);
	check_safe(m->text);
	check_safe(m->from.name);
	check_safe(m->from.addr);
	check_safe(m->message_id);
	for (size_t i = 0; i < m->n_references; i++)
		check_safe(m->references[i]);
	for (size_t i = 0; i < m->n_parts; i++) {
		check_safe(m->parts[i].text);
		check_safe(m->parts[i].html);
		check_safe(m->parts[i].filename);
		check_safe(m->parts[i].type);
		check_safe(m->parts[i].head);
	}
}

START_TEST(sample)
{
	struct td_arena *a = td_arena_new(0);
	struct td_buf in = { 0 }, got = { 0 }, want = { 0 };
	struct milt_mime m;
	char path[512];
	FILE *f;

	(void)snprintf(path, sizeof(path), FOLDER "/%s.eml", names[_i]);
	ck_assert(read_file(path, &in));
	milt_mime_parse_raw(a, td_buf_str(&in), NULL, &m);
	check_view(&m);
	dump(&got, &m);
	(void)snprintf(path, sizeof(path), FOLDER "/%s.txt", names[_i]);
	if (getenv("UPDATE") != NULL) {
		f = fopen(path, "wb");
		ck_assert_ptr_nonnull(f);
		(void)fwrite(got.p, 1, got.len, f);
		fclose(f);
	}
	ck_assert(read_file(path, &want));
	ck_assert_str_eq(td_buf_cstr(&got), td_buf_cstr(&want));
	td_buf_fini(&in);
	td_buf_fini(&got);
	td_buf_fini(&want);
	td_arena_free(a);
}
END_TEST

/* ---- absurd mails ---- */

struct absurd {
	const char *name, *head, *unit,
		*tail; /* head, then unit and tail as often as fits in size */
	size_t size;
};

// clang-format off
#define MP "From: a@b\nContent-Type: multipart/mixed; boundary=b\n\n"
static const struct absurd absurds[] = {
	{ "nested multiparts", "Content-Type: multipart/mixed; boundary=b\n\n",
	  "--b\nContent-Type: multipart/mixed; boundary=b\n\n", "", 4000000 },
	{ "nested messages", "Content-Type: message/rfc822\n\n", "Content-Type: message/rfc822\n\n", "", 4000000 },
	{ "nested messages, no type", "Content-Type: multipart/digest; boundary=b\n\n", "--b\n\n", "", 4000000 },
	{ "tiny parts", MP, "--b\n\n", "", 8000000 },
	{ "tiny parts with headers", MP, "--b\nA:b\n\nx\n", "", 8000000 },
	{ "boundary lines", MP, "--c\n", "", 8000000 },
	{ "dashes", MP, "--", "", 8000000 },
	{ "part of headers", MP "--b\n", "A: b\n", "", 8000000 },
	{ "headers in a digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\n", "A:b\n", "", 8000000 },
	{ "headers in a message", MP "--b\nContent-Type: message (c) / rfc822\n\n", "A:b\n", "", 8000000 },
	{ "two types", "Content-Type: text/plain\nContent-Type: message/rfc822\n\n", "A:b\n", "", 8000000 },
	{ "one endless header", MP "--b\nContent-Type: text/plain; ", "a=b;", "", 8000000 },
	{ "folded header", MP "--b\nContent-Type: text/plain;", "\n a=b;", "", 8000000 },
	{ "address list", "To: ", "a,", "", 250000 },
	{ "groups", "To: ", "a:", "", 250000 },
	{ "nested addresses", MP "--b\nContent-Type: message/rfc822\n\nTo: ", "a,", "", 4000000 },
	{ "references", "References: ", "<a@b>", "", 250000 },
	{ "encoded words", "Subject: ", "=?utf-8?q?=C3=A4?= ", "", 250000 },
	{ "broken words", "Subject: ", "=?", "", 250000 },
	{ "parameters", "Content-Type: text/plain", ";a*1=b", "", 250000 },
	{ "comments", "From: ", "(", "", 250000 },
	{ "quotes in text", "Content-Type: text/plain; format=flowed\n\n", ">", "", 4000000 },
	{ "flowed", "Content-Type: text/plain; format=flowed\n\n", "> \n", "", 4000000 },
	{ "marks", "Content-Type: text/plain; charset=utf-8\n\ne", "\xCC\x81\xCC\xA3", "", 4000000 },
	{ "isolates", "Content-Type: text/plain; charset=utf-8\n\n", "\xE2\x81\xA6", "", 4000000 }, // NOLINT(misc-misleading-bidirectional): it is the point
	{ "flags", "Content-Type: text/plain; charset=utf-8\n\n", "\xF0\x9F\x87\xA9", "", 4000000 },
	{ "joiners", "Content-Type: text/plain; charset=utf-8\n\n", "\xE2\x80\x8D", "", 4000000 },
	{ "html nesting", "Content-Type: text/html\n\n", "<b>", "</i>", 4000000 },
	{ "html divs", "Content-Type: text/html\n\n", "<div>", "", 4000000 },
	{ "html attributes", "Content-Type: text/html\n\n<p ", "a b c d ", "", 4000000 },
	{ "html quotes", "Content-Type: text/html\n\n", "<blockquote>x", "", 4000000 },
	{ "html lists", "Content-Type: text/html\n\n", "<ul><li>x", "", 4000000 },
	{ "html entities", "Content-Type: text/html\n\n", "&lt;", "", 4000000 },
	{ "html half tags", "Content-Type: text/html\n\n", "<", "", 4000000 },
	{ "html links", "Content-Type: text/html\n\n", "<a href=http://x>", "y", 4000000 },
	{ "base64 rubbish", "Content-Transfer-Encoding: base64\n\n", "====", "", 8000000 },
	{ "qp rubbish", "Content-Transfer-Encoding: quoted-printable\n\n", "=", "", 8000000 },
	{ "uu rubbish", "Content-Transfer-Encoding: x-uuencode\n\n", "begin 644 x\nM", "", 8000000 },
	{ "utf-7", "Content-Type: text/plain; charset=utf-7\n\n", "+", "", 4000000 },
	{ "iso-2022", "Content-Type: text/plain; charset=iso-2022-jp\n\n", "\x1b$B\x1b(B", "", 4000000 },
	{ "high bytes", "Content-Type: text/plain\n\n", "\xff", "", 4000000 },
	{ "report", "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n",
	  "Final-Recipient: rfc822;a@b\n\n", "", 4000000 },
	{ "reports", "Content-Type: multipart/report; boundary=b\n\n",
	  "--b\nContent-Type: message/delivery-status\n\nA:b\n", "", 4000000 },
	{ "alternatives", "Content-Type: multipart/alternative; boundary=b\n\n", "--b\n\nhtml\n", "", 4000000 },
	{ "blank lines", MP, "\n", "", 8000000 },
	{ "from lines", MP, "From x\n", "", 8000000 },
};
// clang-format on

START_TEST(absurd)
{
	const struct absurd *t = &absurds[_i];
	struct td_arena *a = td_arena_new(0);
	struct td_buf in = { 0 };
	struct timespec t0, t1;
	struct milt_mime m;
	size_t unit = strlen(t->unit) + strlen(t->tail), n = t->size / unit;
	double secs;

	td_buf_addz(&in, t->head);
	for (size_t i = 0; i < n; i++)
		td_buf_addz(&in, t->unit);
	for (size_t i = 0; i < n && t->tail[0] != '\0'; i++)
		td_buf_addz(&in, t->tail);
	td_buf_addz(&in, "\n\nend\n");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	milt_mime_parse_raw(a, td_buf_str(&in), NULL, &m);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	secs = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
	if (getenv("TIMES") != NULL)
		fprintf(stderr, "%-28s %.3f s parts=%zu text=%zu arena=%zu cut=%d\n", t->name, secs,
			m.n_parts, m.text.len, td_arena_used(a), m.cut);
	check_view(&m);
	/* a quadratic one would take minutes; this leaves room for sanitizers and a busy machine */
	ck_assert_msg(secs < 15, "%s took %.1f s", t->name, secs);
	ck_assert_uint_le(m.n_parts, 200);
	ck_assert_uint_le(m.text.len, 256u * 1024);
	td_buf_fini(&in);
	td_arena_free(a);
}
END_TEST

/* ---- the rest ---- */

/* libmilter's threads read mail side by side. */
static void *
read_samples(void *arg)
{
	size_t *bytes = arg;

	for (int round = 0; round < 5; round++) {
		*bytes = 0;
		for (int i = 0; i < n_names; i++) {
			struct td_arena *a = td_arena_new(0);
			struct td_buf in = { 0 };
			struct milt_mime m;
			char path[512];

			(void)snprintf(path, sizeof(path), FOLDER "/%s.eml", names[i]);
			(void)read_file(path, &in);
			milt_mime_parse_raw(a, td_buf_str(&in), NULL, &m);
			*bytes += m.text.len + m.subject.len + m.n_parts;
			td_buf_fini(&in);
			td_arena_free(a);
		}
	}
	return NULL;
}

START_TEST(threads)
{
	size_t bytes[6] = { 0 };
	pthread_t t[5];

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, read_samples, &bytes[i]), 0);
	(void)read_samples(&bytes[5]);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(pthread_join(t[i], NULL), 0);
		ck_assert_uint_eq(bytes[i], bytes[5]);
	}
	ck_assert_uint_gt(bytes[5], 100);
}
END_TEST

START_TEST(limits)
{
	static const struct milt_mime_limits small = {
		.depth = 1, .parts = 3, .decoded = 100, .text = 10
	};
	struct td_arena *a = td_arena_new(0);
	struct milt_mime m;

	milt_mime_parse_raw(
		a, TD_STR("Content-Type: text/plain; charset=utf-8\n\n12345678\xC3\xA4\xC3\xA4"),
		&small, &m);
	ck_assert(td_str_eqc(m.text, "12345678\xC3\xA4"));
	ck_assert(m.cut);
	milt_mime_parse_raw(a, TD_STR("\n123456789e\xCC\xA7\xCC\xA7x"), &small, &m);
	ck_assert_uint_eq(m.text.len, 9); /* the letter goes with its marks */
	milt_mime_parse_raw(a,
			    TD_STR("Content-Type: multipart/mixed; "
				   "boundary=b\n\n--b\n\n1\n--b\n\n2\n--b\n\n3\n--b--\n"),
			    &small, &m);
	ck_assert_uint_eq(m.n_parts, 3);
	ck_assert(m.cut);
	td_arena_free(a);
}
END_TEST

START_TEST(extract)
{
	struct td_buf in = { 0 }, out = { 0 };
	struct milt_mail *m;
	struct td_err err;

	ck_assert(read_file(FOLDER "/attachments.eml", &in));
	m = milt_mail_from_raw(NULL, td_buf_str(&in), NULL);
	ck_assert_int_eq(milt_mime_extract(m, NULL, 2, 1000, &out, &err), 0);
	ck_assert_str_eq(td_buf_cstr(&out), "%PDF-1.4\n");
	td_buf_clear(&out);
	ck_assert_int_eq(milt_mime_extract(m, NULL, 2, 4, &out, &err), TD_E_LIMIT);
	ck_assert_str_eq(td_buf_cstr(&out), "%PDF");
	ck_assert_int_eq(milt_mime_extract(m, NULL, 0, 4, &out, &err), TD_E_NOTFOUND);
	ck_assert_int_eq(milt_mime_extract(m, NULL, 99, 4, &out, &err), TD_E_NOTFOUND);
	milt_mail_free(m);
	td_buf_fini(&in);
	td_buf_fini(&out);
}
END_TEST

START_TEST(header_values)
{
	struct td_arena *a = td_arena_new(0);
	struct td_str *v;

	ck_assert(td_str_eqc(milt_mime_decode(a, TD_STR("=?utf-8?q?=C3=A4?=\n =?utf-8?q?b?= c")),
			     "\xC3\xA4"
			     "b c"));
	ck_assert(td_str_starts(milt_mime_decode(a, TD_STR("=?utf-8?q?a=0D=0AX:=01b?=")), "a X:b"));
	ck_assert_ptr_null(milt_mime_decode(a, TD_STR_NULL).p);
	ck_assert_uint_eq(milt_mime_addresses(a, TD_STR("\"A, B\" <Ann+x@B.test>, g: c@d, e@f;, @"),
					      MAP_ALL, &v),
			  3);
	ck_assert(td_str_eqc(v[0], "A, B <Ann+x@b.test>"));
	ck_assert(td_str_eqc(v[2], "e@f"));
	ck_assert_uint_eq(milt_mime_addresses(a, TD_STR("Ann+x@B.test"), MAP_USER, &v), 1);
	ck_assert(td_str_eqc(v[0], "Ann"));
	ck_assert_uint_eq(milt_mime_addresses(a, TD_STR("Ann+x@B.test"), MAP_DETAIL, &v), 1);
	ck_assert(td_str_eqc(v[0], "x"));
	ck_assert_uint_eq(milt_mime_addresses(a, TD_STR("Ann+x@B.test"), MAP_DOMAIN, &v), 1);
	ck_assert(td_str_eqc(v[0], "b.test"));
	ck_assert_uint_eq(milt_mime_addresses(a, TD_STR("Ann+x@B.test"), MAP_LOCALPART, &v), 1);
	ck_assert(td_str_eqc(v[0], "Ann+x"));
	ck_assert_uint_eq(milt_mime_addresses(a, TD_STR(""), MAP_ALL, &v), 0);
	ck_assert_int_eq(milt_addr_part_from_name(TD_STR("detail")), MAP_DETAIL);
	ck_assert_int_eq(milt_addr_part_from_name(TD_STR("x")), MAP_COUNT);
	ck_assert_uint_eq(milt_mime_ids(a, TD_STR("<a@b> <c@d>"), &v), 2);
	td_arena_free(a);
}
END_TEST

// clang-format off
static const struct {
	const char *from, *headers;
	unsigned max_hops;
	bool is_auto;
} autos[] = {
	{ "<ann@a.test>", "Subject: x\n", 3, false },
	{ "<>", "Subject: x\n", 3, true },
	{ "<MAILER-DAEMON@x>", "", 3, true },
	{ "<no-reply@x>", "", 3, true },
	{ "<users-bounces@x>", "", 3, true },
	{ "<owner-users@x>", "", 3, true },
	{ "<ann@a.test>", "Auto-Submitted: no\n", 3, false },
	{ "<ann@a.test>", "Auto-Submitted: NO (really)\n", 3, false },
	{ "<ann@a.test>", "Auto-Submitted: auto-replied\n", 3, true },
	{ "<ann@a.test>", "Auto-Submitted: nothing\n", 3, true },
	{ "<ann@a.test>", "Precedence: Bulk\n", 3, true },
	{ "<ann@a.test>", "Precedence: first-class\n", 3, false },
	{ "<ann@a.test>", "list-id: <x>\n", 3, true },
	{ "<ann@a.test>", "X-Loop: x\n", 3, true },
	{ "<ann@a.test>", "X-Auto-Response-Suppress: OOF, DR\n", 3, true },
	{ "<ann@a.test>", "X-Tandem-Loop: x; hops=2\n", 3, false },
	{ "<ann@a.test>", "X-Tandem-Loop: x; hops=3\n", 3, true },
	{ "<ann@a.test>", "X-Tandem-Loop: a\nX-Tandem-Loop: b\nX-Tandem-Loop: c\n", 3, true },
	{ "<ann@a.test>", "X-Tandem-Loop: x; hops=99999999999999\n", 3, true },
	{ "<ann@a.test>", "Content-Type: multipart/report; report-type=x\n", 3, true },
};
// clang-format on

START_TEST(automatic)
{
	struct milt_mail *m = milt_mail_from_raw(NULL, td_cstr(autos[_i].headers), NULL);
	const char *argv[] = { autos[_i].from, NULL }, *why = NULL;

	milt_mail_set_envelope_from(m, argv);
	ck_assert_int_eq(milt_mail_is_auto(m, autos[_i].max_hops, &why), autos[_i].is_auto);
	ck_assert_int_eq(why != NULL, autos[_i].is_auto);
	milt_mail_free(m);
}
END_TEST

START_TEST(cutting)
{
	static const struct {
		const char *s;
		size_t max, want;
	} t[] = {
		{ "abc", 10, 3 },
		{ "abc", 2, 2 },
		{ "abc", 0, 0 },
		{ "a\xC3\xA4", 2, 1 },
		{ "ae\xCC\x81z", 2, 1 },
		{ "ae\xCC\x81z", 3, 1 },
		{ "ae\xCC\x81z", 4, 4 },
		{ "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9z", 4, 0 }, /* a family is one */
		{ "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9z", 7, 0 },
		{ "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA", 8, 8 },
		{ "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA", 12, 8 },
		{ "x\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA", 5, 1 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_msg(milt_text_cut(td_cstr(t[i].s), t[i].max) == t[i].want, "row %zu: %zu",
			      i, milt_text_cut(td_cstr(t[i].s), t[i].max));
}
END_TEST

START_TEST(clean_is_stable)
{
	struct td_buf in = { 0 }, once = { 0 }, twice = { 0 };

	/* every code point, then every byte */
	for (uint32_t c = 1; c < 0x110000; c += c < 0x3000 ? 1 : 17) {
		char u[8];
		int n = c >= 0xD800 && c < 0xE000 ? 0 : g_unichar_to_utf8(c, u);

		td_buf_add(&in, u, (size_t)n);
		td_buf_addc(&in, 'x');
	}
	for (int c = 0; c < 256; c++)
		td_buf_addc(&in, (char)c);
	milt_text_clean(td_buf_str(&in), &once);
	check_safe(td_buf_str(&once));
	milt_text_clean(td_buf_str(&once), &twice);
	ck_assert(td_str_eq(td_buf_str(&once), td_buf_str(&twice)));
	td_buf_fini(&in);
	td_buf_fini(&once);
	td_buf_fini(&twice);
}
END_TEST

/* Text is copied in runs of words: whatever ends a run, wherever it stands, is found. */
START_TEST(clean_runs)
{
	static const struct {
		const char *in, *out;
	} odd[] = {
		{ "\x1f", "" },
		{ "\x7f", "" },
		{ "\t", "\t" },
		{ "\r\n", "\n" },
		{ "\r", "\n" },
		{ "\n", "\n" },
		{ "\xc3\xa4", "\xc3\xa4" },
		{ "\xff", "\xEF\xBF\xBD" },
		{ "\x01\x02", "" },
	};

	for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
		for (size_t at = 0; at < 33; at++) {
			struct td_buf in = { 0 }, got = { 0 }, want = { 0 };

			for (size_t i = 0; i < 33; i++) {
				td_buf_addz(&in, i == at ? odd[k].in : i % 2 ? "~" : " ");
				td_buf_addz(&want, i == at ? odd[k].out : i % 2 ? "~" : " ");
			}
			milt_text_clean(td_buf_str(&in), &got);
			ck_assert_str_eq(td_buf_cstr(&got), td_buf_cstr(&want));
			td_buf_fini(&in);
			td_buf_fini(&got);
			td_buf_fini(&want);
		}
	}
}
END_TEST

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
find_names(void)
{
	DIR *d = opendir(FOLDER);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL && n_names < 200) {
		struct td_str n = td_cstr(e->d_name);

		if (td_str_ends(n, ".eml"))
			names[n_names++] = td_strndup(td_str(n.p, n.len - 4));
	}
	if (d != NULL)
		closedir(d);
	qsort(names, (size_t)n_names, sizeof(names[0]), by_name);
	return n_names > 0;
}

int
main(void)
{
	Suite *s = suite_create("milter/mime");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	if (!find_names())
		return 1;
	milt_mime_init();
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, sample, 0, n_names);
	tcase_add_loop_test(t, absurd, 0, (int)(sizeof(absurds) / sizeof(absurds[0])));
	tcase_add_test(t, threads);
	tcase_add_test(t, limits);
	tcase_add_test(t, extract);
	tcase_add_test(t, header_values);
	tcase_add_loop_test(t, automatic, 0, (int)(sizeof(autos) / sizeof(autos[0])));
	tcase_add_test(t, cutting);
	tcase_add_test(t, clean_runs);
	tcase_add_test(t, clean_is_stable);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	for (int i = 0; i < n_names; i++)
		free(names[i]);
	return failed == 0 ? 0 : 1;
}
