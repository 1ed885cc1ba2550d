/* fuzz_milter - commands in any order, hooks that do anything: each message ends exactly once,
 * nothing is taken without a commit, and what goes to the MTA is clean. */
#include <stdint.h>
#include <stdlib.h>
#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "milter/milt_io.h"
#include "milter/milter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
	struct milt_io io;
	const uint8_t *p, *end;
	unsigned ended, deleted, commits;
	bool committed;
};

static unsigned
byte(struct fuzz *f)
{
	return f->p < f->end ? *f->p++ : 0;
}

/* Some bytes as a string; into one of a few buffers. */
static const char *
text(struct fuzz *f, char *buf)
{
	size_t n = byte(f), i = 0;

	for (; i < n && f->p < f->end; i++)
		buf[i] = (char)byte(f);
	buf[i] = '\0';
	return buf;
}

static void
check_value(const char *s)
{
	for (; s != NULL && *s != '\0'; s++)
		if (*s == '\r' || (*s == '\n' && s[1] != ' ' && s[1] != '\t'))
			abort();
}

static const char *
io_macro(struct milt_io *io, const char *name)
{
	(void)io;
	return strcmp(name, "i") == 0 ? "Q\xff" : NULL;
}
static int
io_reply(struct milt_io *io, unsigned code, const char *x, const char *const *lines, size_t n)
{
	(void)io;
	(void)x;
	if (code < 400 || code > 599 || n > MILT_REPLY_LINES)
		abort();
	for (size_t i = 0; i < n; i++)
		if (strlen(lines[i]) > MILT_REPLY_LINE || strpbrk(lines[i], "\r\n") != NULL)
			abort();
	return 0;
}
static int
io_progress(struct milt_io *io)
{
	(void)io;
	return 0;
}
static int
io_header(struct milt_io *io, const char *name, const char *value)
{
	(void)io;
	if (strpbrk(name, "\r\n: ") != NULL)
		abort();
	check_value(value);
	return 0;
}
static int
io_insert(struct milt_io *io, int at, const char *name, const char *value)
{
	(void)at;
	return io_header(io, name, value);
}
static int
io_change(struct milt_io *io, const char *name, int index, const char *value)
{
	(void)io;
	(void)name;
	if (index < 1)
		abort();
	check_value(value);
	return 0;
}
static int
io_body(struct milt_io *io, const void *p, size_t n)
{
	(void)p;
	(void)n;
	return byte((struct fuzz *)(void *)io) % 8 == 7 ? TD_E_IO : 0;
}
static int
io_addr(struct milt_io *io, const char *addr)
{
	(void)io;
	check_value(addr);
	if (strchr(addr, '\n') != NULL)
		abort();
	return 0;
}
static int
io_delete(struct milt_io *io, const char *raw)
{
	(void)raw;
	((struct fuzz *)(void *)io)->deleted++;
	return 0;
}

static int
hook(void *arg, struct milt_conn *c, struct milt_mail *m, struct milt_rcpt *r,
     const union milt_args *args, enum milt_verdict *v, struct td_err *err)
{
	struct fuzz *f = arg;
	char a[300], b[300];
	struct td_str s, t;

	(void)r;
	(void)args;
	for (unsigned n = byte(f) % 4; n > 0; n--) {
		unsigned what = byte(f) % 12;

		s = td_cstr(text(f, a));
		t = td_cstr(text(f, b));
		if (what == 0)
			(void)milt_conn_set_reply(c, 300 + byte(f) * 2, s);
		else if (what == 1)
			return td_fail(err, TD_E_SCRIPT, "fuzz");
		else if (what == 2)
			*v = (enum milt_verdict)(byte(f) % MV_NOREPLY);
		else if (m == NULL)
			continue;
		else if (what == 3)
			(void)milt_mail_header_append(m, s, t);
		else if (what == 4)
			(void)milt_mail_header_prepend(m, s, t);
		else if (what == 5)
			(void)milt_mail_header_replace(m, s, t);
		else if (what == 6)
			(void)milt_mail_header_set(m, s, byte(f), t);
		else if (what == 7)
			(void)milt_mail_add_rcpt(m, s, NULL);
		else if (what == 8)
			(void)milt_mail_remove_rcpt(m, s);
		else if (what == 9)
			(void)milt_mail_set_sender(m, s, NULL);
		else if (what == 10)
			(void)milt_mail_set_body(m, s);
		else
			milt_mail_set_quarantine(m, s);
	}
	return 0;
}

static int
enqueue(void *arg, struct milt_mail *m, struct milt_rcpt *r, struct td_err *err)
{
	unsigned b = byte(arg);

	(void)m;
	if (b == 255)
		return td_fail(err, TD_E_SCRIPT, "fuzz");
	r->fate = (enum milt_fate)(b % MF_COUNT);
	return 0;
}

static int
commit(void *arg, struct milt_mail *m, struct td_err *err)
{
	struct fuzz *f = arg;

	(void)m;
	f->commits++;
	f->committed = byte(f) % 4 != 3;
	return f->committed ? 0 : td_fail(err, TD_E_BUSY, "fuzz");
}

static void
mail_end(void *arg, struct milt_mail *m, enum milt_end how)
{
	struct fuzz *f = arg;

	(void)m;
	f->ended++;
	if (how == ME_TAKEN && !f->committed)
		abort();
}

static uint32_t
wants(void *arg)
{
	return byte(arg) | byte(arg) << 8 | byte(arg) << 16;
}

static enum milt_verdict
on_fault(void *arg)
{
	return byte(arg) % 2 ? MV_ACCEPT : MV_TEMPFAIL;
}

static void
drive(struct fuzz *f, struct milt_session *s)
{
	uint32_t actions, steps, offered;
	unsigned mails = 0;
	char a[300], b[300];

	offered = byte(f);
	offered |= byte(f) << 8 | byte(f) << 16;
	milt_negotiate(s, byte(f) | 0x100, offered, 0, &actions, &steps);
	if (steps & ~offered)
		abort();
	while (f->p < f->end) {
		enum milt_phase p = (enum milt_phase)(byte(f) % MP_COUNT);
		const char *argv[3] = { text(f, a), text(f, b), NULL };
		union milt_args args = { 0 };
		enum milt_verdict v;

		if (p == MP_MAIL || p == MP_RCPT)
			args.argv = argv;
		else if (p == MP_HELO || p == MP_UNKNOWN)
			args.helo = a;
		else if (p == MP_CONNECT)
			args.connect.hostname = a;
		else if (p == MP_HEADER)
			args.header.name = a, args.header.value = b;
		else if (p == MP_BODY)
			args.body.p = a, args.body.len = strlen(a);
		f->committed = false;
		f->deleted = 0;
		v = milt_run(s, p == MP_ABORT || p == MP_CLOSE ? NULL : &f->io, p, &args);
		if ((unsigned)v >= MV_COUNT || (v == MV_SKIP && p != MP_BODY))
			abort();
		/* recipients leave the mail only when their chat is safe; else the MTA is told no */
		if (f->deleted > 0 && f->commits > 0 && !f->committed && v != MV_TEMPFAIL)
			abort();
		mails = s->conn.mails;
		if (f->ended + (s->mail != NULL) != mails)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = {
		.io = { io_macro, io_reply, io_progress, io_header, io_insert, io_change, io_body,
			io_addr, io_addr, io_delete, io_addr },
		.p = data,
		.end = data + size,
	};
	struct milt_policy policy = {
		.arg = &f,
		.wants = wants,
		.on_fault = on_fault,
		.rcpt_enqueue = enqueue,
		.commit = commit,
		.mail_end = mail_end,
	};
	struct milt_session *s;

	for (int i = 0; i < MP_COUNT; i++)
		policy.hook[i] = hook;
	td_log_set_level(NULL, TD_LOG_ERROR);
	s = milt_session_new(&policy);
	drive(&f, s);
	milt_session_free(s);
	if (milt_open_mails() != 0)
		abort();
	return 0;
}
