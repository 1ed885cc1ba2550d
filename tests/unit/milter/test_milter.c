/* The phases over the recorder: no MTA, no libmilter. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include "gateway/base/err.h"
#include "milter/milter.h"
#include "tests/unit/milter/recorder.h"

/* A policy that does what the test sets up and notes what it sees. */
struct script {
	uint32_t wants;
	int fault_at; /* phase whose hook fails, or -1 */
	enum milt_verdict on_fault;
	enum milt_verdict say[MP_COUNT];
	unsigned code_at[MP_COUNT]; /* reply code the hook sets */
	enum milt_fate fate[4];     /* by recipient */
	int enqueue_fault;          /* recipient index, or -1 */
	bool commit_fails;
	bool discard;
	bool add_header, remove_all;
	unsigned commits, ends[ME_COUNT], conn_ends, hooks[MP_COUNT], enqueued;
};

static int
hook_any(void *arg, struct milt_conn *c, struct milt_mail *m, struct milt_rcpt *r,
	 enum milt_verdict *v, struct td_err *err, enum milt_phase p)
{
	struct script *s = arg;

	(void)r;
	s->hooks[p]++;
	if (s->fault_at == (int)p)
		return td_fail(err, TD_E_SCRIPT, "x.lua:3: boom");
	if (p == MP_EOM && s->add_header)
		ck_assert_int_eq(milt_mail_header_append(m, TD_STR("X-Seen"), TD_STR("yes")), 0);
	if (p == MP_EOM && s->remove_all)
		for (size_t i = 0; i < m->n_rcpts; i++)
			m->rcpts[i]->removed = true;
	if (p == MP_EOM && s->discard)
		m->discard = true;
	if (s->code_at[p] != 0)
		ck_assert_int_eq(milt_conn_set_reply(c, s->code_at[p], TD_STR("100% no")), 0);
	*v = s->say[p];
	return 0;
}

#define HOOK(NAME, PHASE)                                                           \
	static int hook_##NAME(void *arg, struct milt_conn *c, struct milt_mail *m, \
			       struct milt_rcpt *r, const union milt_args *args,    \
			       enum milt_verdict *v, struct td_err *err)            \
	{                                                                           \
		(void)args;                                                         \
		return hook_any(arg, c, m, r, v, err, PHASE);                       \
	}
HOOK(connect, MP_CONNECT)
HOOK(helo, MP_HELO)
HOOK(mail, MP_MAIL)
HOOK(rcpt, MP_RCPT)
HOOK(data, MP_DATA)
HOOK(header, MP_HEADER)
HOOK(eoh, MP_EOH)
HOOK(body, MP_BODY)
HOOK(eom, MP_EOM)
HOOK(unknown, MP_UNKNOWN)

static uint32_t
wants(void *arg)
{
	return ((struct script *)arg)->wants;
}

static void
limits(void *arg, struct milt_limits *out)
{
	(void)arg;
	out->max_rcpts = 4;
	out->max_body = 100;
}

static enum milt_verdict
on_fault(void *arg)
{
	return ((struct script *)arg)->on_fault;
}

static int
rcpt_enqueue(void *arg, struct milt_mail *m, struct milt_rcpt *r, struct td_err *err)
{
	struct script *s = arg;
	size_t i;

	for (i = 0; m->rcpts[i] != r; i++)
		;
	s->enqueued++;
	if (s->enqueue_fault == (int)i)
		return td_fail(err, TD_E_SCRIPT, "enqueue");
	r->fate = s->fate[i];
	return 0;
}

static int
commit(void *arg, struct milt_mail *m, struct td_err *err)
{
	struct script *s = arg;

	(void)m;
	s->commits++;
	return s->commit_fails ? td_fail(err, TD_E_BUSY, "disk") : 0;
}

static void
mail_end(void *arg, struct milt_mail *m, enum milt_end how)
{
	(void)m;
	((struct script *)arg)->ends[how]++;
}

static void
conn_end(void *arg, struct milt_conn *c)
{
	(void)c;
	((struct script *)arg)->conn_ends++;
}

static struct script script;
static struct recorder rec;
static struct milt_session *ses;
static const struct milt_policy policy = {
	.arg = &script,
	.wants = wants,
	.limits = limits,
	.on_fault = on_fault,
	.hook = { hook_connect, hook_helo, hook_mail, hook_rcpt, hook_data, hook_header, hook_eoh,
		  hook_body, hook_eom, NULL, NULL, hook_unknown },
	.rcpt_enqueue = rcpt_enqueue,
	.commit = commit,
	.mail_end = mail_end,
	.conn_end = conn_end,
};

static void
setup(void)
{
	script = (struct script){ .wants = 0xfffu | MW_HEADERS | MW_BODY,
				  .fault_at = -1,
				  .enqueue_fault = -1,
				  .on_fault = MV_TEMPFAIL };
	recorder_init(&rec);
	ses = milt_session_new(&policy);
}

static void
teardown(void)
{
	unsigned ends = 0;

	milt_session_free(ses);
	ck_assert_uint_eq(script.conn_ends, 1);
	for (int i = 0; i < ME_COUNT; i++)
		ends += script.ends[i];
	ck_assert_uint_eq(milt_open_mails(), 0);
	ck_assert_uint_eq(milt_session_each(NULL, NULL), 0);
	(void)ends;
	recorder_fini(&rec);
}

static enum milt_verdict
go(enum milt_phase p, union milt_args a)
{
	return milt_run(ses, &rec.io, p, &a);
}

static enum milt_verdict
go_connect(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(2525) };

	in.sin_addr.s_addr = htonl(0xC0000201);
	return go(MP_CONNECT,
		  (union milt_args){ .connect = { "host.test", (struct sockaddr *)&in } });
}

static enum milt_verdict
go_argv(enum milt_phase p, const char *addr)
{
	const char *argv[] = { addr, NULL };

	return go(p, (union milt_args){ .argv = argv });
}

static enum milt_verdict
go_plain(enum milt_phase p)
{
	return milt_run(ses, &rec.io, p, NULL);
}

/* Up to, not with, the end of message. */
static void
send_mail(int rcpts)
{
	static const char *const to[] = { "<Bob@b.test>", "<carol@b.test>", "<dan@b.test>",
					  "<eve@b.test>" };

	ck_assert_int_eq(go_argv(MP_MAIL, "<ann@a.test>"), MV_CONTINUE);
	for (int i = 0; i < rcpts; i++)
		ck_assert_int_eq(go_argv(MP_RCPT, to[i]), MV_CONTINUE);
	ck_assert_int_eq(go_plain(MP_DATA), MV_CONTINUE);
	ck_assert_int_eq(go(MP_HEADER, (union milt_args){ .header = { "Subject", "hi" } }),
			 MV_CONTINUE);
	ck_assert_int_eq(go_plain(MP_EOH), MV_CONTINUE);
	ck_assert_int_eq(go(MP_BODY, (union milt_args){ .body = { "text\r\n", 6 } }), MV_CONTINUE);
}

START_TEST(stays_mail)
{
	rec.macros[0] = "i";
	rec.macros[1] = "QID1";
	rec.macros[2] = "{auth_authen}";
	rec.macros[3] = "ann";
	rec.macros[4] = "{cipher}";
	rec.macros[5] = "AES";
	ck_assert_int_eq(go_connect(), MV_CONTINUE);
	ck_assert(td_str_eqc(ses->conn.addr, "192.0.2.1"));
	ck_assert_uint_eq(ses->conn.port, 2525);
	ck_assert_int_eq(go(MP_HELO, (union milt_args){ .helo = "client.test" }), MV_CONTINUE);
	send_mail(2);
	ck_assert(td_str_eqc(milt_dict_get(milt_conn_ctx(&ses->conn), TD_STR("ehlo_domain")),
			     "client.test"));
	ck_assert(td_str_eqc(milt_dict_get(milt_conn_ctx(&ses->conn), TD_STR("auth_user")), "ann"));
	ck_assert(td_str_eqc(milt_dict_get(milt_conn_ctx(&ses->conn), TD_STR("tls")), "on"));
	ck_assert(td_str_eqc(milt_dict_get(milt_mail_ctx(ses->mail), TD_STR("mailfrom_string")),
			     "MAIL FROM:<ann@a.test>"));
	ck_assert(td_str_eqc(milt_dict_get(milt_mail_ctx(ses->mail), TD_STR("rcptto_domain")),
			     "b.test"));
	ck_assert(td_str_eqc(milt_mail_macro(ses->mail, MM_I), "QID1"));
	ck_assert_str_eq(ses->qid, "QID1");
	ck_assert_uint_eq(milt_open_mails(), 1);
	ck_assert_int_eq(go_plain(MP_EOM), MV_CONTINUE);
	ck_assert_str_eq(recorded(&rec), "");
	ck_assert_uint_eq(script.commits, 1);
	ck_assert_uint_eq(script.enqueued, 2);
	ck_assert_uint_eq(script.ends[ME_ACCEPTED], 1);
	/* after the end of message: swallowed by libmilter, and by us */
	ck_assert_int_eq(go_plain(MP_ABORT), MV_CONTINUE);
	ck_assert_uint_eq(script.ends[ME_ABORTED], 0);
	/* a second message on the same connection */
	send_mail(1);
	ck_assert_int_eq(go_plain(MP_EOM), MV_CONTINUE);
	ck_assert_uint_eq(script.ends[ME_ACCEPTED], 2);
	ck_assert(td_str_eqc(
		milt_dict_get(milt_conn_ctx(&ses->conn), TD_STR("connection_message_count")), "2"));
}
END_TEST

START_TEST(fates)
{
	static const struct {
		enum milt_fate fate[3];
		enum milt_verdict v;
		enum milt_end end;
		const char *sent;
		unsigned commits;
	} t[] = {
		{ { MF_CHAT, MF_CHAT, MF_CHAT }, MV_DISCARD, ME_TAKEN, "", 1 },
		{ { MF_CHAT, MF_MAIL, MF_BOTH },
		  MV_CONTINUE,
		  ME_ACCEPTED,
		  "rcpt- <Bob@b.test>\n",
		  1 },
		{ { MF_BOTH, MF_BOTH, MF_MAIL }, MV_CONTINUE, ME_ACCEPTED, "", 1 },
		{ { MF_HOLD, MF_MAIL, MF_CHAT },
		  MV_CONTINUE,
		  ME_HELD,
		  "rcpt- <dan@b.test>\nhold held by a rule\n",
		  1 },
		{ { MF_CHAT, MF_REFUSE, MF_MAIL }, MV_REJECT, ME_REJECTED, "", 0 },
	};

	for (int i = 0; i < 3; i++)
		script.fate[i] = t[_i].fate[i];
	send_mail(3);
	ck_assert_int_eq(go_plain(MP_EOM), t[_i].v);
	ck_assert_str_eq(recorded(&rec), t[_i].sent);
	ck_assert_uint_eq(script.commits, t[_i].commits);
	ck_assert_uint_eq(script.ends[t[_i].end], 1);
}
END_TEST

START_TEST(commit_failure_takes_nothing)
{
	/* even where faults let mail pass: it was asked to leave the envelope already */
	script.on_fault = MV_ACCEPT;
	script.commit_fails = true;
	script.fate[0] = MF_CHAT;
	send_mail(2);
	ck_assert_int_eq(go_plain(MP_EOM), MV_TEMPFAIL);
	ck_assert_uint_eq(script.ends[ME_TEMPFAILED], 1);
}
END_TEST

START_TEST(send_failure_takes_nothing)
{
	script.on_fault = MV_ACCEPT;
	script.fate[0] = MF_CHAT;
	rec.fail = "rcpt-";
	send_mail(2);
	ck_assert_int_eq(go_plain(MP_EOM), MV_TEMPFAIL);
	ck_assert_uint_eq(script.commits, 0);
}
END_TEST

START_TEST(missing_action)
{
	script.on_fault = _i == 0 ? MV_TEMPFAIL : MV_ACCEPT;
	script.fate[0] = MF_CHAT;
	ses->conn.actions = 0;
	send_mail(2);
	ck_assert_int_eq(go_plain(MP_EOM), script.on_fault);
	ck_assert_str_eq(recorded(&rec), "");
	ck_assert_uint_eq(script.commits, 0);
}
END_TEST

START_TEST(enqueue_faults)
{
	script.on_fault = _i == 0 ? MV_TEMPFAIL : MV_ACCEPT;
	script.fate[0] = MF_CHAT;
	script.enqueue_fault = 1;
	send_mail(2);
	ck_assert_int_eq(go_plain(MP_EOM), script.on_fault);
	ck_assert_str_eq(recorded(&rec), ""); /* Bob was not taken either */
	ck_assert_uint_eq(script.commits, 0);
}
END_TEST

START_TEST(hook_faults)
{
	static const struct {
		enum milt_phase at;
		enum milt_verdict on_fault, v;
	} t[] = {
		{ MP_CONNECT, MV_TEMPFAIL, MV_TEMPFAIL }, { MP_CONNECT, MV_ACCEPT, MV_CONTINUE },
		{ MP_HELO, MV_ACCEPT, MV_CONTINUE },      { MP_MAIL, MV_TEMPFAIL, MV_TEMPFAIL },
		{ MP_MAIL, MV_ACCEPT, MV_ACCEPT },        { MP_RCPT, MV_TEMPFAIL, MV_TEMPFAIL },
		{ MP_RCPT, MV_ACCEPT, MV_ACCEPT },        { MP_EOM, MV_TEMPFAIL, MV_TEMPFAIL },
		{ MP_EOM, MV_ACCEPT, MV_ACCEPT },         { MP_UNKNOWN, MV_ACCEPT, MV_CONTINUE },
	};
	enum milt_phase at = t[_i].at;
	uint64_t before = milt_counter_get(MK_FAULTS);

	script.on_fault = t[_i].on_fault;
	if (at == MP_RCPT)
		ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	if (at == MP_EOM)
		send_mail(1);
	script.fault_at = (int)at;
	if (at == MP_CONNECT)
		ck_assert_int_eq(go_connect(), t[_i].v);
	else if (at == MP_MAIL || at == MP_RCPT)
		ck_assert_int_eq(go_argv(at, "<a@b>"), t[_i].v);
	else if (at == MP_HELO)
		ck_assert_int_eq(go(at, (union milt_args){ .helo = "x" }), t[_i].v);
	else
		ck_assert_int_eq(go_plain(at), t[_i].v);
	ck_assert_uint_eq(milt_counter_get(MK_FAULTS), before + 1);
}
END_TEST

START_TEST(replies)
{
	script.code_at[MP_RCPT] = 550;
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_REJECT);
	ck_assert_str_eq(recorded(&rec), "reply 550 |100% no\n");
	ck_assert_uint_eq(ses->mail->n_rcpts, 0);
	script.code_at[MP_RCPT] = 451;
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_TEMPFAIL);
	script.code_at[MP_RCPT] = 0;
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_CONTINUE);
	script.say[MP_EOM] = MV_REJECT; /* no reply set: the MTA's own text */
	recorded(&rec);
	ck_assert_int_eq(go_plain(MP_EOM), MV_REJECT);
	ck_assert_str_eq(recorded(&rec), "");
	ck_assert_uint_eq(script.ends[ME_REJECTED], 1);
}
END_TEST

START_TEST(limits_hold)
{
	char big[200] = { 0 };

	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_TEMPFAIL);
	ck_assert_str_eq(recorded(&rec), "reply 452 4.5.3|Too many recipients\n");
	ck_assert_uint_eq(ses->mail->n_rcpts, 4);
	ses->wants &= ~MW_STEP(MP_BODY);
	ck_assert_int_eq(go(MP_BODY, (union milt_args){ .body = { big, 60 } }), MV_CONTINUE);
	ck_assert_int_eq(go(MP_BODY, (union milt_args){ .body = { big, 60 } }), MV_SKIP);
	ck_assert(ses->mail->body_cut);
	ck_assert_int_eq(go_plain(MP_EOM), MV_CONTINUE);
}
END_TEST

START_TEST(scripts_drop)
{
	script.discard = _i == 0;
	script.remove_all = _i == 1;
	script.add_header = true;
	send_mail(2);
	ck_assert_int_eq(go_plain(MP_EOM), MV_DISCARD);
	ck_assert_str_eq(recorded(&rec), "");
	ck_assert_uint_eq(script.ends[ME_DISCARDED], 1);
}
END_TEST

START_TEST(changes_are_sent)
{
	script.add_header = true;
	script.say[MP_EOM] = _i == 0 ? MV_CONTINUE : MV_ACCEPT;
	send_mail(1);
	ck_assert_int_eq(go_plain(MP_EOM), script.say[MP_EOM]);
	ck_assert_str_eq(recorded(&rec), "add X-Seen: yes\n");
	ck_assert_uint_eq(script.enqueued, _i == 0 ? 1 : 0);
}
END_TEST

START_TEST(out_of_order)
{
	ck_assert_int_eq(go_plain(MP_ABORT), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_CONTINUE);
	ck_assert_int_eq(go_plain(MP_EOM), MV_CONTINUE);
	ck_assert_int_eq(go(MP_BODY, (union milt_args){ .body = { "x", 1 } }), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"),
			 MV_CONTINUE); /* the first one ended without a word */
	ck_assert_uint_eq(script.ends[ME_ABORTED], 1);
	ck_assert_int_eq(go_plain(MP_EOM), MV_CONTINUE); /* no recipients */
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_int_eq(go_plain(MP_ABORT), MV_CONTINUE);
	ck_assert_int_eq(go_plain(MP_ABORT), MV_CONTINUE);
	ck_assert_uint_eq(script.ends[ME_ABORTED], 2);
	ck_assert_int_eq(go_plain(MP_CLOSE), MV_CONTINUE);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(go(MP_HELO, (union milt_args){ .helo = i % 2 ? "a" : "b" }),
				 MV_CONTINUE);
}
END_TEST

START_TEST(refused_by_mta)
{
	rec.macros[0] = "{rcpt_mailer}";
	rec.macros[1] = "error";
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_RCPT, "<unknown@d>"), MV_CONTINUE);
	rec.macros[1] = "smtp";
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_CONTINUE);
	script.fate[1] = MF_CHAT;
	ck_assert_int_eq(go_plain(MP_EOM), MV_DISCARD);
	ck_assert_uint_eq(script.enqueued, 1);
}
END_TEST

START_TEST(late_verdict)
{
	/* the MTA waits for no answer to headers: the refusal comes with the next answer */
	ses->noreply = MW_STEP(MP_HEADER) | MW_STEP(MP_EOH);
	script.code_at[MP_HEADER] = 554;
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_RCPT, "<c@d>"), MV_CONTINUE);
	ck_assert_int_eq(go(MP_HEADER, (union milt_args){ .header = { "A", "b" } }), MV_NOREPLY);
	ck_assert_int_eq(go(MP_HEADER, (union milt_args){ .header = { "A", "b" } }), MV_NOREPLY);
	ck_assert_int_eq(go_plain(MP_EOH), MV_NOREPLY);
	ck_assert_uint_eq(script.hooks[MP_HEADER], 1);
	ck_assert_str_eq(recorded(&rec), "");
	ck_assert_int_eq(go_plain(MP_EOM), MV_REJECT);
	ck_assert_str_eq(recorded(&rec), "reply 554 |100% no\n");
	ck_assert_uint_eq(script.ends[ME_REJECTED], 1);
	/* and an abort forgets it */
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_int_eq(go(MP_HEADER, (union milt_args){ .header = { "A", "b" } }), MV_NOREPLY);
	ck_assert_int_eq(go_plain(MP_ABORT), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
}
END_TEST

START_TEST(draining)
{
	send_mail(1);
	milt_set_draining(true);
	ck_assert(!milt_wait_idle(1));
	ck_assert_int_eq(go_plain(MP_EOM), MV_CONTINUE);
	ck_assert(milt_wait_idle(1));
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_TEMPFAIL);
	ck_assert_str_eq(recorded(&rec), "reply 451 4.3.2|Shutting down, try again soon\n");
	script.on_fault = MV_ACCEPT;
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_ACCEPT);
	milt_set_draining(false);
}
END_TEST

START_TEST(negotiation)
{
	uint32_t a, st;

	script.wants = 0;
	milt_negotiate(ses, 0x1ff, 0x1fffff, 0x400, &a, &st);
	ck_assert_uint_eq(a, 0);
	ck_assert_uint_eq(st & 0x377, 0x377); /* every NO flag */
	script.wants = MW_STEP(MP_EOM) | MW_HEADERS;
	milt_negotiate(ses, 0x1ff, 0x1fffff, 0x400, &a, &st);
	ck_assert_uint_eq(a, 0xff);
	ck_assert_uint_eq(st & 0x377,
			  0x350); /* no body, eoh, unknown, data; RCPT_REJ is not in there */
	ck_assert_uint_eq(st & 0x3080, 0x3080); /* no answer to headers, connect, helo */
	ck_assert_uint_eq(st & 0xc000, 0);
	ck_assert(ses->noreply & MW_STEP(MP_HEADER));
	script.wants = MW_BODY | MW_REFUSED;
	milt_negotiate(ses, 0x1ff, 0x1fffff, 0, &a, &st);
	ck_assert_uint_eq(st & 0x80c10, 0xc00); /* body with answers, to say skip; refused ones */
	milt_negotiate(ses, 0x1f, 0xff & ~0x80u, 0, &a, &st); /* an old MTA */
	ck_assert_uint_eq(a, 0x1f);
	ck_assert_uint_eq(st & ~0xffu, 0);
	ck_assert(!ses->can_skip);
	for (int i = 0; i < 7; i++)
		ck_assert_ptr_nonnull(milt_symlist(i));
	ck_assert_ptr_null(milt_symlist(7));
}
END_TEST

static void
note_session(void *arg, const struct milt_session_info *i)
{
	ck_assert_str_eq(i->phase, "mail");
	ck_assert_str_eq(i->peer, "192.0.2.1 host.test");
	ck_assert(i->in_mail);
	(*(int *)arg)++;
}

START_TEST(listing)
{
	int n = 0;

	ck_assert_int_eq(go_connect(), MV_CONTINUE);
	ck_assert_int_eq(go_argv(MP_MAIL, "<a@b>"), MV_CONTINUE);
	ck_assert_uint_eq(milt_session_each(note_session, &n), 1);
	ck_assert_int_eq(n, 1);
	for (int i = 0; i < MK_COUNT; i++)
		ck_assert_str_ne(milt_counter_name((enum milt_counter)i), "?");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("milter/phases");
	TCase *t = tcase_create("all");
	SRunner *r = srunner_create(s);
	int failed;

	td_log_set_level(NULL, TD_LOG_ERROR);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, stays_mail);
	tcase_add_loop_test(t, fates, 0, 5);
	tcase_add_test(t, commit_failure_takes_nothing);
	tcase_add_test(t, send_failure_takes_nothing);
	tcase_add_loop_test(t, missing_action, 0, 2);
	tcase_add_loop_test(t, enqueue_faults, 0, 2);
	tcase_add_loop_test(t, hook_faults, 0, 10);
	tcase_add_test(t, replies);
	tcase_add_test(t, limits_hold);
	tcase_add_loop_test(t, scripts_drop, 0, 2);
	tcase_add_loop_test(t, changes_are_sent, 0, 2);
	tcase_add_test(t, out_of_order);
	tcase_add_test(t, refused_by_mta);
	tcase_add_test(t, late_verdict);
	tcase_add_test(t, draining);
	tcase_add_test(t, negotiation);
	tcase_add_test(t, listing);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
