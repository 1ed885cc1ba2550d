/* conn: connections driven by an echo stream that stands in for xmpp/c2s.c.
 *
 * Bytes are echoed; control bytes are orders to the fake stream:
 *   1 starttls   2 move to the other worker   3 shut   4 say 4 MiB   5 pause and go on later
 *   6 say more when the peer closed its end   7 be signed in */
#include "gateway/conn.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include "gateway/tls.h"

#define BIG (4u << 20)

/* ---- the fake stream ---- */

struct xmpp_c2s {
	struct xmpp_io *io;
	struct xmpp_env *env;
	const struct xmpp_c2s_conf *cc;
	struct td_buf rest;
	struct td_timer resume;
	unsigned turns; /* of on_late */
	bool tls, moving, shut, paused, signed_in;
	struct td_grave grave;
};

static _Atomic bool half_closed; /* by the test, which says so */
static _Atomic unsigned n_open, n_closed, n_moved, n_idle, n_flushed, n_late, n_ping;
static pthread_mutex_t why_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_why[32];
static char last_cb[32]; /* tls-exporter of the newest TLS session */
static _Atomic bool closed_in_call;
static _Thread_local bool in_call;

static void
free_stream(struct td_grave *g)
{
	struct xmpp_c2s *c = (struct xmpp_c2s *)((char *)g - offsetof(struct xmpp_c2s, grave));

	td_buf_fini(&c->rest);
	free(c);
}

static void
take_cb(struct xmpp_c2s *c)
{
	struct xmpp_cb_data cb;

	ck_assert(c->cc->ops->channel_binding(c->io, &cb));
	ck_assert_uint_eq(cb.tls_exporter.len, 32);
	ck_assert_uint_eq(cb.tls_server_end_point.len, 32);
	memcpy(last_cb, cb.tls_exporter.p, 32);
}

struct xmpp_c2s *
xmpp_c2s_new(struct xmpp_env *env, struct xmpp_io *io, const struct xmpp_c2s_conf *cc,
	     bool direct_tls)
{
	struct xmpp_c2s *c = td_zalloc(sizeof(*c));

	c->io = io;
	c->env = env;
	c->cc = cc;
	c->tls = direct_tls;
	if (direct_tls)
		take_cb(c);
	atomic_fetch_add(&n_open, 1);
	return c;
}

static void
on_resume(struct td_timer *t)
{
	struct xmpp_c2s *c = (struct xmpp_c2s *)((char *)t - offsetof(struct xmpp_c2s, resume));

	c->paused = false;
	c->cc->ops->pause(c->io, false);
}

static void
on_late(struct td_timer *t)
{
	struct xmpp_c2s *c = (struct xmpp_c2s *)((char *)t - offsetof(struct xmpp_c2s, resume));

	/* the end of the peer's input is there for the next turn of the loop to see */
	if (!atomic_load(&half_closed) || c->turns++ < 2) {
		td_timer_set(c->env->loop, t, 10);
		return;
	}
	td_buf_addz(c->cc->ops->out(c->io), "late");
	atomic_fetch_add(&n_late, 1);
}

void
xmpp_c2s_input(struct xmpp_c2s *c, const char *data, size_t len)
{
	ck_assert(!c->moving);
	in_call = true;
	for (size_t i = 0; i < len && !c->shut; i++) {
		switch (data[i]) {
		case 1:
			c->cc->ops->set_domain(c->io, TD_STR("b.test"));
			td_buf_addz(c->cc->ops->out(c->io), "proceed");
			c->cc->ops->starttls(c->io);
			in_call = false;
			return;
		case 2:
			c->moving = true;
			td_buf_add(&c->rest, data + i + 1, len - i - 1);
			if (c->paused) {
				td_timer_clear(c->env->loop, &c->resume);
				on_resume(&c->resume);
			}
			c->cc->ops->move(c->io, (c->env->index + 1) % c->env->n_workers);
			in_call = false;
			return;
		case 3:
			c->shut = true;
			c->cc->ops->shut(c->io);
			break;
		case 4:
			memset(td_buf_reserve(c->cc->ops->out(c->io), BIG), 'x', BIG);
			c->cc->ops->out(c->io)->len += BIG;
			break;
		case 5:
			c->paused = true;
			c->cc->ops->pause(c->io, true);
			c->resume.fire = on_resume;
			td_timer_set(c->env->loop, &c->resume, 1);
			break;
		case 6:
			c->resume.fire = on_late;
			td_timer_set(c->env->loop, &c->resume, 10);
			break;
		case 7: c->signed_in = true; break;
		default: td_buf_addc(c->cc->ops->out(c->io), data[i]);
		}
	}
	in_call = false;
}

void
xmpp_c2s_tls_ready(struct xmpp_c2s *c)
{
	c->tls = true;
	take_cb(c);
}

void
xmpp_c2s_moved(struct xmpp_c2s *c, struct xmpp_env *env)
{
	struct td_buf rest = c->rest;

	memset(&c->rest, 0, sizeof(c->rest));
	c->env = env;
	c->moving = false;
	atomic_fetch_add(&n_moved, 1);
	xmpp_c2s_input(c, rest.p, rest.len);
	td_buf_fini(&rest);
}

void
xmpp_c2s_closed(struct xmpp_c2s *c, const char *why)
{
	if (in_call)
		atomic_store(&closed_in_call, true);
	td_timer_clear(c->env->loop, &c->resume);
	pthread_mutex_lock(&why_lock);
	(void)snprintf(last_why, sizeof(last_why), "%s", why);
	pthread_mutex_unlock(&why_lock);
	c->grave.free = free_stream;
	td_loop_bury(c->env->loop, &c->grave);
	atomic_fetch_add(&n_closed, 1);
}

void
xmpp_c2s_flushed(struct xmpp_c2s *c)
{
	ck_assert_uint_eq(c->cc->ops->pending(c->io), 0);
	atomic_fetch_add(&n_flushed, 1);
}

struct xmpp_session *
xmpp_c2s_session(const struct xmpp_c2s *c)
{
	return c->signed_in ? (struct xmpp_session *)(uintptr_t)c : NULL; /* never looked into */
}

void
xmpp_c2s_end(struct xmpp_c2s *c, const char *condition, const char *text)
{
	(void)text;
	td_buf_addf(c->cc->ops->out(c->io), "<%s>", condition);
	c->shut = true;
	c->cc->ops->shut(c->io);
}

void
xmpp_c2s_idle(struct xmpp_c2s *c)
{
	atomic_fetch_add(&n_idle, 1);
	c->shut = true;
	c->cc->ops->shut(c->io);
}

bool
xmpp_c2s_ping(struct xmpp_c2s *c)
{
	td_buf_addz(c->cc->ops->out(c->io), "ping");
	atomic_fetch_add(&n_ping, 1);
	return true;
}

/* ---- two workers ---- */

static struct gw gw;
static struct xmpp_env envs[2];
static struct gw_worker workers[2];
static pthread_t threads[2];
static char dir[] = "/tmp/test_conn.XXXXXX";
static char cert_a[64], cert_b[64];
static struct gw_tls *tls;
static unsigned proxy_ms;

static void *
run(void *arg)
{
	struct gw_worker *w = arg;

	td_loop_run(w->loop);
	gw_conns_close_all(w, "stop");
	td_loop_turn(w->loop, false);
	return NULL;
}

static void
start(void)
{
	gw.n_workers = 2;
	for (unsigned i = 0; i < 2; i++) {
		struct gw_worker *w = &workers[i];

		memset(w, 0, sizeof(*w));
		w->gw = &gw;
		w->index = i;
		w->loop = td_loop_new(i);
		w->env = &envs[i];
		envs[i] = (struct xmpp_env){
			.loop = w->loop, .index = i, .n_workers = 2, .host_data = w
		};
		w->readbuf_len = 65536;
		w->readbuf = td_alloc(w->readbuf_len);
		gw_conns_init(w);
		gw.workers[i] = w;
		pthread_create(&threads[i], NULL, run, w);
	}
	half_closed = false;
	n_open = n_closed = n_moved = n_idle = n_flushed = n_late = n_ping = 0;
}

static void
stop(void)
{
	for (unsigned i = 0; i < 2; i++)
		td_loop_stop(workers[i].loop);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 2; i++) { /* connections that were on their way */
		td_loop_turn(workers[i].loop, false);
		gw_conns_fini(&workers[i]);
		td_loop_free(workers[i].loop);
		free(workers[i].readbuf);
	}
	ck_assert_uint_eq(gw_conns_open(), 0);
	ck_assert_uint_eq(n_open, n_closed);
	ck_assert(!closed_in_call);
}

static struct gw_conn_conf *
new_conf(void)
{
	struct gw_conn_conf *cf = td_zalloc(sizeof(*cf));

	cf->refs = 1;
	cf->cc.ops = &gw_io_ops;
	cf->tls = tls;
	cf->handshake_ms = 5000;
	cf->max_pending = 64u << 20;
	return cf;
}

struct intake {
	struct td_mail mail;
	struct gw_worker *w;
	int fd;
	struct gw_conn_conf *cf;
};

static void
on_intake(struct td_mail *m, struct td_loop *loop)
{
	struct intake *in = (struct intake *)m;
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(4711) };

	(void)loop;
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	gw_conn_accept(in->w, in->fd, in->cf, (struct sockaddr *)&sa, proxy_ms);
	gw_conn_conf_unref(&in->cf);
	free(in);
}

/* A TCP connection to worker <i>; returns the client's end. */
static int
dial(unsigned i, struct gw_conn_conf *cf)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	struct timeval tv = { 20, 0 };
	struct intake *in = td_zalloc(sizeof(*in));
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(l, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(l, 1), 0);
	ck_assert_int_eq(getsockname(l, (struct sockaddr *)&sa, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	in->fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(in->fd, 0);
	close(l);
	in->mail.run = on_intake;
	in->w = &workers[i];
	in->cf = gw_conn_conf_ref(cf);
	td_loop_post(workers[i].loop, &in->mail);
	return fd;
}

static void
say(int fd, const char *s, size_t n)
{
	ck_assert_int_eq(send(fd, s, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void
expect(int fd, const char *s, size_t n)
{
	char buf[512];
	size_t got = 0;

	ck_assert_uint_le(n, sizeof(buf));
	while (got < n) {
		ssize_t r = recv(fd, buf + got, n - got, 0);

		ck_assert_int_gt(r, 0);
		got += (size_t)r;
	}
	ck_assert_mem_eq(buf, s, n);
}

static void
expect_eof(int fd)
{
	char c;

	ck_assert_int_eq(recv(fd, &c, 1, 0), 0);
}

/* Wait for an event that another thread brings about. */
#define AWAIT(cond)                                           \
	do {                                                  \
		for (int i_ = 0; i_ < 20000 && !(cond); i_++) \
			usleep(1000);                         \
		ck_assert(cond);                              \
	} while (0)

/* ---- TLS clients ---- */

static SSL_CTX *
client_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	return ctx;
}

static SSL *
client(SSL_CTX *ctx, int fd)
{
	SSL *s = SSL_new(ctx);

	SSL_set_fd(s, fd);
	ck_assert_int_eq(SSL_connect(s), 1);
	return s;
}

static void
check_cn(SSL *s, const char *cn)
{
	X509 *x = SSL_get1_peer_certificate(s);
	char buf[64];

	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, buf, sizeof(buf));
	ck_assert_str_eq(buf, cn);
	X509_free(x);
}

static void
ssl_expect(SSL *s, const char *text)
{
	char buf[256];
	size_t got = 0, want = strlen(text);

	while (got < want) {
		int n = SSL_read(s, buf + got, (int)(want - got));

		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	ck_assert_mem_eq(buf, text, want);
}

static void
check_exporter(SSL *s)
{
	unsigned char mine[32];

	ck_assert_int_eq(SSL_export_keying_material(s, mine, 32, "EXPORTER-Channel-Binding", 24,
						    (const unsigned char *)"", 0, 1),
			 1);
	ck_assert_mem_eq(mine, last_cb, 32);
}

/* ---- tests ---- */

START_TEST(test_echo)
{
	struct gw_conn_conf *cf = new_conf();
	int fd;

	start();
	fd = dial(0, cf);
	say(fd, "hello", 5);
	expect(fd, "hello", 5);
	AWAIT(n_flushed >= 1);
	say(fd, "bye\3", 4);
	expect(fd, "bye", 3);
	expect_eof(fd);
	AWAIT(n_closed == 1);
	ck_assert_str_eq(last_why, "shut");
	close(fd);
	AWAIT(gw_conns_open() == 0);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

START_TEST(test_half_close)
{
	struct gw_conn_conf *cf = new_conf();
	static char sink[BIG];
	size_t got = 0;
	int fd;

	start();
	fd = dial(1, cf);
	say(fd, "\4z", 2); /* more than the kernel takes at once */
	shutdown(fd, SHUT_WR);
	for (;;) {
		ssize_t n = recv(fd, sink, sizeof(sink), 0);

		ck_assert_int_ge(n, 0);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	ck_assert_uint_eq(got, BIG + 1);
	AWAIT(n_closed == 1);
	ck_assert_str_eq(last_why, "eof");
	close(fd);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

/* What the stream says to a peer that closed its end goes nowhere: it must not count as sent. */
START_TEST(test_half_close_then_more)
{
	struct gw_conn_conf *cf = new_conf();
	static char buf[65536];
	size_t got = 0;
	ssize_t n;
	int fd;

	start();
	fd = dial(0, cf);
	say(fd, "\6\4\4", 3); /* more than the kernel takes */
	shutdown(fd, SHUT_WR);
	atomic_store(&half_closed, true);
	AWAIT(n_late == 1);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		got += (size_t)n;
	ck_assert_uint_eq(got, 2 * BIG);
	AWAIT(n_closed == 1);
	ck_assert_uint_eq(n_flushed, 0);
	close(fd);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

START_TEST(test_slow_reader)
{
	struct gw_conn_conf *cf = new_conf();
	int fd, small = 4096;

	cf->max_pending = 1u << 20;
	start();
	fd = dial(0, cf);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	say(fd, "\4\4\4", 3);
	AWAIT(n_closed == 1);
	ck_assert_str_eq(last_why, "slow-reader");
	close(fd);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

START_TEST(test_starttls)
{
	struct gw_conn_conf *cf = new_conf();
	SSL_CTX *ctx = client_ctx();
	SSL *s;
	int fd;

	start();
	SSL_CTX_set_max_proto_version(ctx, _i == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
	fd = dial(0, cf);
	say(fd, "\1dropped", 8); /* what comes behind the order came in clear */
	expect(fd, "proceed", 7);
	s = client(ctx, fd);
	ck_assert_int_eq(SSL_version(s), _i == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
	check_cn(s, "b.test"); /* no SNI: the stream's 'to' */
	ck_assert_int_eq(SSL_write(s, "secret", 6), 6);
	ssl_expect(s, "secret");
	check_exporter(s);
	ck_assert_int_eq(SSL_write(s, "end\3", 4), 4);
	ssl_expect(s, "end");
	ck_assert_int_eq(SSL_read(s, (char[1]){ 0 }, 1), 0);
	ck_assert_int_eq(SSL_get_error(s, 0), SSL_ERROR_ZERO_RETURN); /* close_notify */
	SSL_free(s);
	close(fd);
	SSL_CTX_free(ctx);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

START_TEST(test_direct_tls)
{
	static const unsigned char alpn[] = "\x0bxmpp-client";
	struct gw_conn_conf *cf = new_conf();
	SSL_CTX *ctx = client_ctx();
	const unsigned char *got;
	unsigned len;
	SSL *s;
	int fd;

	cf->direct_tls = true;
	start();
	fd = dial(0, cf);
	s = SSL_new(ctx);
	SSL_set_fd(s, fd);
	SSL_set_alpn_protos(s, alpn, sizeof(alpn) - 1);
	SSL_set_tlsext_host_name(s, "b.test");
	ck_assert_int_eq(SSL_connect(s), 1);
	SSL_get0_alpn_selected(s, &got, &len);
	ck_assert_uint_eq(len, 11);
	check_cn(s, "b.test");
	ck_assert_int_eq(SSL_write(s, "x", 1), 1);
	ssl_expect(s, "x");
	check_exporter(s);
	ck_assert_int_eq(SSL_key_update(s, SSL_KEY_UPDATE_REQUESTED), 1);
	ck_assert_int_eq(SSL_write(s, "y", 1), 1);
	ssl_expect(s, "y");
	/* from here on without buffers between records */
	ck_assert_int_eq(SSL_write(s, "\7z", 2), 2);
	ssl_expect(s, "z");
	ck_assert_int_eq(SSL_key_update(s, SSL_KEY_UPDATE_REQUESTED), 1);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(SSL_write(s, "0123456789", 10), 10);
		ssl_expect(s, "0123456789");
	}
	SSL_shutdown(s);
	AWAIT(n_closed == 1);
	ck_assert_str_eq(last_why, "eof");
	SSL_free(s);
	close(fd);
	/* rubbish in place of a handshake: no stream is ever made */
	fd = dial(1, cf);
	say(fd, "<stream:stream xmlns='jabber:client'>", 37);
	AWAIT(gw_conns_open() == 0);
	ck_assert_uint_eq(n_open, 1);
	close(fd);
	SSL_CTX_free(ctx);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

struct load {
	int fd;
	SSL *ssl;
	bool order;
	pthread_t thread;
};
#define LOAD_BYTES (256u << 10)

static char
pattern(unsigned i)
{
	return (char)('a' + (i * 7 + i / 251) % 26);
}

static void *
load_plain(void *arg)
{
	struct load *l = arg;
	unsigned sent = 0;

	while (sent < LOAD_BYTES) {
		char buf[512];
		unsigned n = 0;

		while (n < sizeof(buf) - 1 && sent < LOAD_BYTES) {
			buf[n++] = pattern(sent++);
			if (sent % 997 == 0)
				buf[n++] = sent % 2 != 0 ? 2 : 5;
		}
		say(l->fd, buf, n);
	}
	return NULL;
}

/* Stream through eight connections that move and pause all the time; no byte may get lost. */
START_TEST(test_move)
{
	struct gw_conn_conf *cf = new_conf();
	struct load l[8];

	start();
	for (unsigned i = 0; i < 8; i++) {
		l[i].fd = dial(i % 2, cf);
		pthread_create(&l[i].thread, NULL, load_plain, &l[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		static char buf[65536];
		unsigned at = 0;

		while (at < LOAD_BYTES) {
			ssize_t n = recv(l[i].fd, buf, sizeof(buf), 0);

			ck_assert_int_gt(n, 0);
			for (ssize_t k = 0; k < n; k++)
				ck_assert_int_eq(buf[k], pattern(at++));
		}
		pthread_join(l[i].thread, NULL);
		close(l[i].fd);
	}
	AWAIT(n_closed == 8);
	ck_assert_uint_gt(n_moved, 8 * (LOAD_BYTES / 997 / 2 - 2));
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

/* The same through TLS, with one thread that both writes and reads. */
START_TEST(test_move_tls)
{
	struct gw_conn_conf *cf = new_conf();
	SSL_CTX *ctx = client_ctx();
	unsigned sent = 0, at = 0;
	SSL *s;
	int fd;

	cf->direct_tls = true;
	start();
	fd = dial(0, cf);
	s = client(ctx, fd);
	while (at < LOAD_BYTES) {
		char buf[8192];
		unsigned n = 0;

		while (n < sizeof(buf) - 1 && sent < LOAD_BYTES) {
			buf[n++] = pattern(sent++);
			if (sent % 997 == 0)
				buf[n++] = sent % 2 != 0 ? 2 : 5;
		}
		if (n > 0) /* several records at once */
			for (unsigned k = 0; k < n; k += 3000)
				ck_assert_int_gt(
					SSL_write(s, buf + k, (int)(n - k < 3000 ? n - k : 3000)),
					0);
		while (at < sent) {
			char in[4096];
			int r = SSL_read(s, in, sizeof(in));

			ck_assert_int_gt(r, 0);
			for (int k = 0; k < r; k++)
				ck_assert_int_eq(in[k], pattern(at++));
		}
	}
	SSL_free(s);
	close(fd);
	SSL_CTX_free(ctx);
	AWAIT(n_closed == 1);
	ck_assert_uint_gt(n_moved, 100);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

/* The peer ends in the middle of a move: seen on the other side. */
START_TEST(test_move_eof)
{
	struct gw_conn_conf *cf = new_conf();

	start();
	for (int i = 0; i < 50; i++) {
		int fd = dial(0, cf);

		say(fd, "\2\2\2", 3);
		close(fd);
	}
	AWAIT(n_closed == 50);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

static struct gw_conn_conf *
admit_idle(struct gw_conn_conf *cf, const struct sockaddr *peer, struct xmpp_io *io)
{
	(void)peer;
	gw_conn_set_idle(io, 300);
	return cf;
}

START_TEST(test_idle)
{
	struct gw_conn_conf *cf = new_conf();
	int fd;

	cf->admit = admit_idle;
	start();
	fd = dial(0, cf);
	say(fd, "a\2b", 3);
	expect(fd, "ab", 2);
	expect_eof(fd);
	ck_assert_uint_eq(n_idle, 1);
	close(fd);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

/* An answered ping is life; silence after one is the end. */
START_TEST(test_ping)
{
	struct gw_conn_conf *cf = new_conf();
	int fd;

	cf->ping_ms = 300;
	cf->ping_timeout_ms = 500;
	start();
	fd = dial(0, cf);
	for (int i = 0; i < 3; i++) {
		expect(fd, "ping", 4);
		say(fd, "x", 1);
		expect(fd, "x", 1);
	}
	expect(fd, "ping", 4);
	expect_eof(fd);
	ck_assert_uint_eq(n_ping, 4);
	ck_assert_uint_eq(n_idle, 0);
	close(fd);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

static struct gw_budget *budget;

static struct gw_conn_conf *
admit_by_address(struct gw_conn_conf *cf, const struct sockaddr *peer, struct xmpp_io *io)
{
	char addr[64] = "";

	inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, addr, sizeof(addr));
	if (strcmp(addr, "192.0.2.7") != 0)
		return NULL;
	atomic_fetch_add(&budget->used, 1);
	gw_conn_use_budget(io, budget);
	return cf;
}

START_TEST(test_proxy)
{
	static const char v1[] = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 5222\r\n";
	static const char v2[] =
		"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\7\xc0\0\2\x08\4\xd2\x14\x66";
	static const char other[] = "PROXY TCP4 192.0.2.99 192.0.2.8 1234 5222\r\n";
	struct gw_conn_conf *cf = new_conf();
	int fd;

	proxy_ms = 5000;
	cf->admit = admit_by_address;
	budget = td_zalloc(sizeof(*budget));
	budget->refs = 1;
	start();
	fd = dial(0, cf);
	for (size_t i = 0; i < sizeof(v1) - 1; i++) { /* one byte at a time */
		say(fd, v1 + i, 1);
		usleep(300);
	}
	say(fd, "hi", 2);
	expect(fd, "hi", 2);
	ck_assert_uint_eq(budget->used, 1);
	close(fd);
	AWAIT(n_closed == 1);
	fd = dial(0, cf);
	say(fd, v2, sizeof(v2) - 1);
	say(fd, "hi", 2);
	expect(fd, "hi", 2);
	close(fd);
	AWAIT(n_closed == 2);
	AWAIT(budget->used == 0);
	fd = dial(0, cf);
	say(fd, other, sizeof(other) - 1);
	AWAIT(gw_conns_open() == 0);
	close(fd);
	fd = dial(0, cf);
	say(fd, "PROXY TC", 8);
	shutdown(fd, SHUT_WR); /* half a header, then the end */
	AWAIT(gw_conns_open() == 0);
	close(fd);
	fd = dial(0, cf);
	say(fd, "GET / HTTP/1.0\r\n", 16);
	AWAIT(gw_conns_open() == 0);
	close(fd);
	ck_assert_uint_eq(n_open, 2);
	gw_budget_unref(&budget);
	gw_conn_conf_unref(&cf);
	stop();
	proxy_ms = 0;
}
END_TEST

static void
on_end_all(struct td_mail *m, struct td_loop *loop)
{
	gw_conns_end_all(&workers[td_loop_id(loop)], "system-shutdown");
	free(m);
}

#define MANY 2000

START_TEST(test_many)
{
	struct gw_conn_conf *cf = new_conf();
	struct rlimit rl;
	static int fds[MANY];
	size_t before, after;

	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max < 8192 ? rl.rlim_max : 8192;
	setrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < 2 * MANY + 64)
		return; /* this machine does not allow it */
	start();
	before = mallinfo2().uordblks;
	for (unsigned i = 0; i < MANY; i++) {
		fds[i] = dial(i % 2, cf);
		say(fds[i], "hi", 2);
	}
	for (unsigned i = 0; i < MANY; i++)
		expect(fds[i], "hi", 2);
	AWAIT(n_flushed >= MANY);
	after = mallinfo2().uordblks;
	printf("per idle connection, stream excluded: %zu bytes\n",
	       (after - before) / MANY - sizeof(struct xmpp_c2s) - 8);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	ck_assert_uint_lt((after - before) / MANY - sizeof(struct xmpp_c2s), 600);
#endif
	for (unsigned i = 0; i < 2; i++) {
		struct td_mail *m = td_zalloc(sizeof(*m));

		m->run = on_end_all;
		td_loop_post(workers[i].loop, m);
	}
	for (unsigned i = 0; i < MANY; i++) {
		expect(fds[i], "<system-shutdown>", 17);
		expect_eof(fds[i]);
		close(fds[i]);
	}
	AWAIT(gw_conns_open() == 0);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

START_TEST(test_tls_memory)
{
	struct gw_conn_conf *cf = new_conf();
	SSL_CTX *ctx = client_ctx();
	static SSL *ss[108];
	size_t mine, all = 0;

	cf->direct_tls = true;
	start();
	for (unsigned i = 0; i < 108; i++) {
		if (i == 8) { /* what is made once is there by now */
			AWAIT(n_flushed >= 8);
			all = mallinfo2().uordblks;
		}
		ss[i] = client(ctx, dial(i % 2, cf));
		ck_assert_int_eq(SSL_write(ss[i], "\7x", 2), 2);
		ssl_expect(ss[i], "x");
	}
	AWAIT(n_flushed >= 108);
	all = mallinfo2().uordblks - all;
	mine = mallinfo2().uordblks;
	for (unsigned i = 8; i < 108; i++)
		SSL_free(ss[i]); /* the sockets stay open: the server's side lives on */
	mine -= mallinfo2().uordblks;
	for (unsigned i = 0; i < 8; i++)
		SSL_free(ss[i]);
	printf("per idle TLS connection: %zu bytes\n", (all - mine) / 100);
	SSL_CTX_free(ctx);
	gw_conn_conf_unref(&cf);
	stop();
}
END_TEST

static void
setup(void)
{
	struct gw_tls_conf tc = { .cert = cert_a, .alpn = "xmpp-client" };
	struct gw_certs *certs = gw_certs_new();
	struct td_err err;

	signal(SIGPIPE, SIG_IGN);
	td_log_set_level("", TD_LOG_WARN);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(cert_a, sizeof(cert_a), "%s/a.pem", dir);
	(void)snprintf(cert_b, sizeof(cert_b), "%s/b.pem", dir);
	ck_assert_int_eq(gw_tls_self_signed(cert_a, NULL, "a.test", NULL, 0, &err), 0);
	ck_assert_int_eq(gw_tls_self_signed(cert_b, NULL, "b.test", NULL, 0, &err), 0);
	ck_assert_int_eq(gw_certs_add(certs, TD_STR("b.test"), cert_b, NULL, &err), 0);
	tc.certs = certs;
	ck_assert_int_eq(gw_tls_new(&tc, &tls, &err), 0);
	gw_certs_unref(&certs);
}

static void
teardown(void)
{
	gw_tls_unref(&tls);
	unlink(cert_a);
	unlink(cert_b);
	rmdir(dir);
}

int
main(void)
{
	Suite *s = suite_create("conn");
	TCase *tc = tcase_create("conn");
	SRunner *sr;
	int failed;

	mallopt(M_ARENA_MAX, 1); /* so that mallinfo2 sees all of it */
	tcase_set_timeout(tc, 120);
	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_echo);
	tcase_add_test(tc, test_half_close);
	tcase_add_test(tc, test_half_close_then_more);
	tcase_add_test(tc, test_slow_reader);
	tcase_add_loop_test(tc, test_starttls, 0, 2);
	tcase_add_test(tc, test_direct_tls);
	tcase_add_test(tc, test_move);
	tcase_add_test(tc, test_move_tls);
	tcase_add_test(tc, test_move_eof);
	tcase_add_test(tc, test_idle);
	tcase_add_test(tc, test_ping);
	tcase_add_test(tc, test_proxy);
	tcase_add_test(tc, test_many);
	tcase_add_test(tc, test_tls_memory);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
