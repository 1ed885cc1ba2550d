/* The real libmilter on a socket, driven by a small MTA.  One process has one service, so these
 * tests share it and run in order; the last one stops it. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "gateway/base/err.h"
#include "milter/io_libmilter.h"
#include "milter/milter.h"
#include "milter/service.h"
#include "tests/unit/milter/wire.h"

static char folder[] = "/tmp/milt-test-XXXXXX";
static char path[64];

/* what the policy saw, guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned ends[ME_COUNT], conn_ends, commits;
static uint64_t body_bytes;
static char subject[128], sender[128], auth[64];

static int
on_rcpt(void *arg, struct milt_conn *c, struct milt_mail *m, struct milt_rcpt *r,
	const union milt_args *args, enum milt_verdict *v, struct td_err *err)
{
	(void)arg;
	(void)m;
	(void)args;
	(void)v;
	(void)err;
	if (td_str_starts(r->addr.full, "refuse@"))
		return milt_conn_set_reply(c, 550, TD_STR("5.1.1 100% refused\nsecond line"));
	return 0;
}

static int
enqueue(void *arg, struct milt_mail *m, struct milt_rcpt *r, struct td_err *err)
{
	(void)arg;
	(void)m;
	(void)err;
	if (td_str_starts(r->addr.full, "chat"))
		r->fate = MF_CHAT;
	if (td_str_starts(r->addr.full, "hold"))
		r->fate = MF_HOLD;
	return 0;
}

static int
on_eom(void *arg, struct milt_conn *c, struct milt_mail *m, struct milt_rcpt *r,
       const union milt_args *args, enum milt_verdict *v, struct td_err *err)
{
	(void)arg;
	(void)r;
	(void)args;
	(void)v;
	(void)err;
	milt_conn_progress(c);
	(void)milt_mail_header_prepend(m, TD_STR("X-Seen"), TD_STR("100% yes"));
	(void)milt_mail_header_append(m, TD_STR("X-End"), TD_STR("a\nb"));
	if (milt_mail_header_value(m, "X-Rewrite").p != NULL) {
		struct td_buf b = { 0 };

		for (int i = 0; i < 20000; i++)
			td_buf_addz(&b, "new body\n");
		(void)milt_mail_set_body(m, td_buf_str(&b));
		(void)milt_mail_set_sender(m, TD_STR("new@a.test"), NULL);
		(void)milt_mail_add_rcpt(m, TD_STR("added@a.test"), NULL);
		(void)milt_mail_header_delete(m, TD_STR("X-Rewrite"));
		td_buf_fini(&b);
	}
	return 0;
}

static int
commit(void *arg, struct milt_mail *m, struct td_err *err)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	commits++;
	body_bytes += m->body.len;
	(void)snprintf(subject, sizeof(subject), "%.*s",
		       TD_STR_ARG(milt_mail_header_value(m, "Subject")));
	(void)snprintf(sender, sizeof(sender), "%.*s", TD_STR_ARG(m->from.full));
	(void)snprintf(auth, sizeof(auth), "%.*s", TD_STR_ARG(milt_mail_macro(m, MM_AUTH_AUTHEN)));
	pthread_mutex_unlock(&lock);
	return td_str_starts(m->from.full, "nodisk@") ? td_fail(err, TD_E_FULL, "no space") : 0;
}

static void
mail_end(void *arg, struct milt_mail *m, enum milt_end how)
{
	(void)arg;
	(void)m;
	pthread_mutex_lock(&lock);
	ends[how]++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void
conn_end(void *arg, struct milt_conn *c)
{
	(void)arg;
	(void)c;
	pthread_mutex_lock(&lock);
	conn_ends++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static const struct milt_policy policy = {
	.hook = { [MP_RCPT] = on_rcpt, [MP_EOM] = on_eom },
	.rcpt_enqueue = enqueue,
	.commit = commit,
	.mail_end = mail_end,
	.conn_end = conn_end,
};

static unsigned
counted(unsigned *p)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = *p;
	pthread_mutex_unlock(&lock);
	return n;
}

/* Wait until *p is at least <n>. */
static void
await(unsigned *p, unsigned n)
{
	struct timespec until;
	bool ok;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	pthread_mutex_lock(&lock);
	while (*p < n)
		if (pthread_cond_timedwait(&changed, &lock, &until) != 0)
			break;
	ok = *p >= n;
	pthread_mutex_unlock(&lock);
	ck_assert(ok);
}

static char
wire_mail(struct wire *w, const char *from, const char *const *to, const char *body, size_t n)
{
	char v;

	td_buf_clear(&w->actions_seen);
	wire_macros(w, 'M', "i\0Q1\0{auth_authen}\0ann", 23);
	ck_assert_int_eq(wire_cmdz(w, 'M', from), 'c');
	for (; *to != NULL; to++)
		ck_assert_int_eq(wire_cmdz(w, 'R', *to), 'c');
	ck_assert_int_eq(wire_cmd(w, 'T', "", 0), 'c');
	ck_assert_int_eq(wire_header(w, "Subject",
				     "gr\xc3\xbc\xff"
				     "e"),
			 'c');
	ck_assert_int_eq(wire_header(w, "Empty", ""), 'c');
	ck_assert_int_eq(wire_cmd(w, 'N', "", 0), 'c');
	v = n > 0 ? wire_cmd(w, 'B', body, n) : 'c';
	ck_assert(v == 'c' || v == 's');
	ck_assert(wire_send(w, 'E', "", 0));
	return wire_verdict(w);
}

static const char *const to_mail[] = { "<bob@b.test>", NULL };
static const char *const to_both[] = { "<Chat1@b.test>", "<chat1@b.test>", "<bob@b.test>", NULL };
static const char *const to_chat[] = { "<chat1@b.test>", "<chat2@b.test>", NULL };
static const char *const to_hold[] = { "<hold@b.test>", NULL };

START_TEST(bad_sockets)
{
	static const char *const bad[] = {
		"",
		"nothing",
		"tcp:1@x",
		"inet:99999999@nowhere.invalid",
		"/nonexistent-folder/x.sock",
		"/tmp/"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct milt_service_conf c = { .socket = bad[_i] };
	struct td_err err = { 0 };

	ck_assert_int_lt(milt_service_start(&c, &policy, &err), 0);
	ck_assert_str_ne(err.text, "");
}
END_TEST

START_TEST(inet_listener)
{
	struct milt_service_conf c = { .socket = "inet:0@127.0.0.1" };
	struct td_err err = { 0 };
	struct wire w;

	ck_assert_msg(milt_service_start(&c, &policy, &err) == 0, "%s", err.text);
	ck_assert_uint_ne(milt_service_port(), 0);
	ck_assert(wire_open(&w, NULL, milt_service_port()));
	ck_assert_int_eq(wire_greet(&w), 'c');
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(wire_mail(&w, "<ann@a.test>", to_mail, "x\r\n", 3), 'c');
	wire_close(&w, true);
	await(&conn_ends, 1);
	ck_assert(milt_service_stop(1000));
	ck_assert_int_eq(milt_service_start(&c, &policy, &err), TD_E_EXISTS);
}
END_TEST

START_TEST(start)
{
	struct milt_service_conf c = { .socket = path, .file_mode = 0640 };
	struct td_err err = { 0 };
	struct stat st;

	ck_assert_msg(milt_service_start(&c, &policy, &err) == 0, "%s", err.text);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0640);
	ck_assert_uint_eq(milt_service_port(), 0);
	ck_assert_int_eq(milt_service_start(&c, &policy, &err), TD_E_EXISTS);
}
END_TEST

START_TEST(several_messages)
{
	char body[70000];
	struct wire w;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 7); /* NULs and 8-bit */
	ck_assert(wire_open(&w, path, 0));
	ck_assert_uint_eq(w.actions & 0xff, 0xff);
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert_int_eq(wire_mail(&w, "<ann@a.test>", to_mail, body, 65535), 'c');
	ck_assert_str_eq(td_buf_cstr(&w.actions_seen), "hi");
	ck_assert_str_eq(subject, "gr\xc3\xbc\xff"
				  "e");
	ck_assert_str_eq(sender, "ann@a.test");
	ck_assert_str_eq(auth, "ann");
	ck_assert_uint_eq(body_bytes, 65535);
	ck_assert(wire_send(&w, 'A', "", 0)); /* Postfix says it after every message */
	ck_assert_int_eq(wire_mail(&w, "<>", to_both, "", 0), 'c');
	ck_assert_str_eq(td_buf_cstr(&w.actions_seen), "hi-");
	ck_assert_int_eq(wire_mail(&w, "", to_chat, "x", 1), 'd');
	ck_assert_str_eq(td_buf_cstr(&w.actions_seen), "");
	ck_assert_int_eq(wire_mail(&w, "<ann@a.test>", to_hold, "x", 1), 'c');
	ck_assert_str_eq(td_buf_cstr(&w.actions_seen), "hiq");
	ck_assert_int_eq(wire_mail(&w, "<nodisk@a.test>", to_chat, "x", 1), 't');
	ck_assert_uint_eq(commits, 5);
	ck_assert_uint_eq(ends[ME_TAKEN], 1);
	ck_assert_uint_eq(ends[ME_HELD], 1);
	ck_assert_uint_eq(ends[ME_TEMPFAILED], 1);
	wire_close(&w, true);
	await(&conn_ends, 1);
}
END_TEST

START_TEST(reply_text)
{
	struct wire w;

	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'R', "<refuse@b.test>"), 'y');
	ck_assert_str_eq(td_buf_cstr(&w.reply), "550-5.1.1 100%% refused\r\n550 5.1.1 second line");
	ck_assert_int_eq(wire_cmdz(&w, 'R', "<bob@b.test>"), 'c');
	wire_close(&w, true);
}
END_TEST

START_TEST(rewriting)
{
	struct wire w;
	size_t bodies = 0;

	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'R', "<bob@b.test>"), 'c');
	ck_assert_int_eq(wire_header(&w, "X-Rewrite", "yes"), 'c');
	ck_assert(wire_send(&w, 'E', "", 0));
	ck_assert_int_eq(wire_verdict(&w), 'c');
	ck_assert(td_str_starts(td_buf_str(&w.actions_seen), "mhie+b"));
	for (size_t i = 0; i < w.actions_seen.len; i++)
		bodies += w.actions_seen.p[i] == 'b';
	ck_assert_uint_eq(bodies, (20000 * 10 + 65534) / 65535);
	wire_close(&w, true);
}
END_TEST

START_TEST(huge)
{
	struct td_buf big = { 0 };
	struct wire w;

	for (int i = 0; i < 300000; i++)
		td_buf_addc(&big, 'h');
	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'R', "<bob@b.test>"), 'c');
	ck_assert_int_eq(wire_header(&w, "X-Big", td_buf_cstr(&big)), 'c');
	for (int i = 0; i < 3000; i++)
		ck_assert_int_eq(wire_header(&w, "X", "y"), 'c');
	for (int i = 0; i < 100; i++)
		if (wire_cmd(&w, 'B', big.p, big.len) == 's')
			break;
	ck_assert(wire_send(&w, 'E', "", 0));
	ck_assert_int_eq(wire_verdict(&w), 'c');
	wire_close(&w, true);
	/* a packet over the limit: libmilter drops the connection, and only that */
	while (big.len < 1200000)
		td_buf_addz(&big, "0123456789");
	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	(void)wire_send(&w, 'L', big.p, big.len);
	ck_assert_int_eq(wire_recv(&w), 0);
	wire_close(&w, false);
	td_buf_fini(&big);
}
END_TEST

START_TEST(half_packets)
{
	unsigned aborted = counted(&ends[ME_ABORTED]);
	struct wire w;

	ck_assert(wire_open(&w, path, 0));
	w.slow = true;
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert_int_eq(wire_mail(&w, "<ann@a.test>", to_mail, "slow\r\n", 6), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert(wire_write(&w, "\0\0\0\x09R<bo", 8)); /* and gone */
	wire_close(&w, false);
	await(&ends[ME_ABORTED], aborted + 1);
	/* no packet at all, half a length, garbage */
	ck_assert(wire_connect(path, 0) >= 0);
	w = (struct wire){ .fd = wire_connect(path, 0) };
	ck_assert(wire_write(&w, "\0\0", 2));
	wire_close(&w, false);
	w = (struct wire){ .fd = wire_connect(path, 0) };
	ck_assert(wire_write(&w, "GET / HTTP/1.0\r\n\r\n", 18));
	ck_assert_int_eq(wire_recv(&w), 0);
	wire_close(&w, false);
}
END_TEST

START_TEST(aborts)
{
	unsigned aborted = counted(&ends[ME_ABORTED]), closed = counted(&conn_ends);
	struct wire w;

	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert(wire_send(&w, 'A', "", 0));
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'R', "<bob@b.test>"), 'c');
	ck_assert(wire_send(&w, 'A', "", 0));
	ck_assert(wire_send(&w, 'A', "", 0));
	await(&ends[ME_ABORTED], aborted + 1);
	ck_assert_int_eq(wire_mail(&w, "<ann@a.test>", to_mail, "x", 1), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	wire_close(&w, false); /* the client vanished */
	await(&ends[ME_ABORTED], aborted + 2);
	await(&conn_ends, closed + 1);
}
END_TEST

static void
note_session(void *arg, const struct milt_session_info *i)
{
	if (i->in_mail && strcmp(i->qid, "QLIST") == 0 && strstr(i->peer, "192.0.2.7") != NULL)
		(*(int *)arg)++;
}

START_TEST(listing)
{
	struct wire w;
	int n = 0;

	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	wire_macros(&w, 'M', "i\0QLIST", 8);
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert_uint_ge(milt_session_each(note_session, &n), 1);
	ck_assert_int_eq(n, 1);
	wire_close(&w, true);
}
END_TEST

static void *
one_client(void *arg)
{
	struct wire w;

	(void)arg;
	if (!wire_open(&w, path, 0) || wire_greet(&w) != 'c')
		return NULL;
	for (int i = 0; i < 25; i++)
		if (wire_mail(&w, "<ann@a.test>", i % 2 ? to_chat : to_both, "hello\r\n", 7) !=
		    (i % 2 ? 'd' : 'c'))
			return NULL;
	wire_close(&w, true);
	return (void *)(uintptr_t)1;
}

START_TEST(twenty_at_once)
{
	unsigned taken = counted(&ends[ME_TAKEN]), closed = counted(&conn_ends);
	pthread_t t[20];
	void *ok;

	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, one_client, NULL), 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(pthread_join(t[i], &ok), 0);
		ck_assert_ptr_nonnull(ok);
	}
	await(&conn_ends, closed + 20);
	ck_assert_uint_eq(counted(&ends[ME_TAKEN]), taken + 20 * 12);
	ck_assert_uint_gt(milt_lib_log_lines() + 1, 0);
}
END_TEST

static void *
stopper(void *arg)
{
	(void)arg;
	return (void *)(uintptr_t)(milt_service_stop(20000) ? 1 : 0);
}

START_TEST(drain_and_stop)
{
	unsigned accepted = counted(&ends[ME_ACCEPTED]);
	struct wire w, w2;
	pthread_t t;
	void *clean;

	ck_assert(wire_open(&w, path, 0));
	ck_assert_int_eq(wire_greet(&w), 'c');
	ck_assert(wire_open(&w2, path, 0));
	ck_assert_int_eq(wire_greet(&w2), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'M', "<ann@a.test>"), 'c');
	ck_assert_int_eq(wire_cmdz(&w, 'R', "<bob@b.test>"), 'c');
	milt_service_drain();
	ck_assert_int_eq(pthread_create(&t, NULL, stopper, NULL), 0);
	/* no new connection, no new message, but the open one is finished */
	ck_assert_int_lt(wire_connect(path, 0), 0);
	ck_assert_int_eq(wire_cmdz(&w2, 'M', "<ann@a.test>"), 'y');
	ck_assert(wire_send(&w, 'E', "", 0));
	ck_assert_int_eq(wire_verdict(&w), 'c');
	ck_assert_int_eq(pthread_join(t, &clean), 0);
	ck_assert_ptr_nonnull(clean);
	ck_assert_uint_eq(counted(&ends[ME_ACCEPTED]), accepted + 1);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert(milt_service_stop(0));
	wire_close(&w, false);
	wire_close(&w2, false);
}
END_TEST

static int
run_case(const char *name, TCase *t, enum fork_status how)
{
	Suite *s = suite_create(name);
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_set_fork_status(r, how);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed;
}

int
main(void)
{
	TCase *apart = tcase_create("apart"), *t = tcase_create("unix");
	int failed;

	td_log_set_level(NULL, TD_LOG_ERROR);
	if (mkdtemp(folder) == NULL)
		return 1;
	(void)snprintf(path, sizeof(path), "%s/m.sock", folder);
	/* each in a process of its own */
	tcase_add_loop_test(apart, bad_sockets, 0, 6);
	tcase_add_test(apart, inet_listener);
	failed = run_case("milter/service start", apart, CK_FORK);
	tcase_add_test(t, start);
	tcase_add_test(t, several_messages);
	tcase_add_test(t, reply_text);
	tcase_add_test(t, rewriting);
	tcase_add_test(t, huge);
	tcase_add_test(t, half_packets);
	tcase_add_test(t, aborts);
	tcase_add_test(t, listing);
	tcase_add_test(t, twenty_at_once);
	tcase_add_test(t, drain_and_stop);
	failed += run_case("milter/service", t, CK_NOFORK);
	(void)rmdir(folder);
	return failed == 0 ? 0 : 1;
}
