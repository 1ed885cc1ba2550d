/* listener: real sockets on loopback, Peers and limits, Unix sockets, ports in use, reload.
 * The stream is a fake that greets and echoes. */
#include "gateway/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "gateway/base/err.h"
#include "suite.h"

/* ---- the fake stream ---- */

struct xmpp_c2s {
	struct xmpp_io *io;
	struct td_loop *loop;
	const struct xmpp_io_ops *ops;
	struct td_grave grave;
};
static _Atomic unsigned n_closed, n_idle, by_worker[2];

struct xmpp_c2s *
xmpp_c2s_new(struct xmpp_env *env, struct xmpp_io *io, const struct xmpp_c2s_conf *cc,
	     bool direct_tls)
{
	struct xmpp_c2s *c = td_zalloc(sizeof(*c));

	(void)direct_tls;
	c->io = io;
	c->loop = env->loop;
	c->ops = cc->ops;
	atomic_fetch_add(&by_worker[env->index], 1);
	td_buf_addf(c->ops->out(io), "hi %s\n", c->ops->peer(io));
	return c;
}

void
xmpp_c2s_input(struct xmpp_c2s *c, const char *data, size_t len)
{
	td_buf_add(c->ops->out(c->io), data, len);
}

bool
xmpp_c2s_ping(struct xmpp_c2s *c)
{
	(void)c;
	return false;
}

static void
free_stream(struct td_grave *g)
{
	free((char *)g - offsetof(struct xmpp_c2s, grave));
}

void
xmpp_c2s_closed(struct xmpp_c2s *c, const char *why)
{
	(void)why;
	c->grave.free = free_stream;
	td_loop_bury(c->loop, &c->grave);
	atomic_fetch_add(&n_closed, 1);
}

void
xmpp_c2s_tls_ready(struct xmpp_c2s *c)
{
	(void)c;
}

void
xmpp_c2s_moved(struct xmpp_c2s *c, struct xmpp_env *env)
{
	(void)c;
	(void)env;
}

void
xmpp_c2s_flushed(struct xmpp_c2s *c)
{
	(void)c;
}

struct xmpp_session *
xmpp_c2s_session(const struct xmpp_c2s *c)
{
	(void)c;
	return NULL;
}

void
xmpp_c2s_end(struct xmpp_c2s *c, const char *condition, const char *text)
{
	(void)condition;
	(void)text;
	c->ops->shut(c->io);
}

void
xmpp_c2s_idle(struct xmpp_c2s *c)
{
	atomic_fetch_add(&n_idle, 1);
	c->ops->shut(c->io);
}

/* ---- a process of two workers ---- */

static struct gw gw;
static struct gw_worker workers[2];
static struct xmpp_env envs[2];
static pthread_t threads[2];
static char dir[64], sock[128], host[] = "host.test";

#define AWAIT(cond)                                           \
	do {                                                  \
		for (int i_ = 0; i_ < 20000 && !(cond); i_++) \
			usleep(1000);                         \
		ck_assert(cond);                              \
	} while (0)

static void *
run(void *arg)
{
	td_loop_run(((struct gw_worker *)arg)->loop);
	return NULL;
}

static void
setup(void)
{
	(void)stpcpy(dir, "/tmp/test_listener.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(sock, sizeof(sock), "%s/x.sock", dir);
	td_log_set_level("", TD_LOG_ERROR);
	gw = (struct gw){ .data_dir = dir, .hostname = host, .n_workers = 2 };
	gw_listeners_init(&gw);
	for (unsigned i = 0; i < 2; i++) {
		struct gw_worker *w = &workers[i];

		*w = (struct gw_worker){ .gw = &gw,
					 .index = i,
					 .loop = td_loop_new(i),
					 .env = &envs[i],
					 .readbuf_len = 4096 };
		envs[i] = (struct xmpp_env){ .loop = w->loop, .index = i, .n_workers = 2 };
		w->readbuf = td_alloc(w->readbuf_len);
		gw_conns_init(w);
		gw.workers[i] = w;
		pthread_create(&threads[i], NULL, run, w);
	}
	n_closed = n_idle = by_worker[0] = by_worker[1] = 0;
}

static void
close_all(struct gw_worker *w, void *arg)
{
	(void)arg;
	gw_conns_close_all(w, "end");
	td_loop_stop(w->loop);
}

static void
teardown(void)
{
	char path[128];

	gw_listeners_stop(&gw);
	for (unsigned i = 0; i < 2; i++)
		gw_worker_post(&workers[i], close_all, NULL);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 2; i++) {
		td_loop_turn(workers[i].loop, false);
		td_loop_free(workers[i].loop);
		gw_conns_fini(&workers[i]);
		free(workers[i].readbuf);
	}
	gw_listeners_fini(&gw);
	ck_assert_uint_eq(gw_conns_open(), 0);
	ck_assert_int_ne(access(sock, F_OK), 0);
	(void)snprintf(path, sizeof(path), "%s/tls/host.test.pem", dir);
	unlink(path);
	(void)snprintf(path, sizeof(path), "%s/tls", dir);
	rmdir(path);
	rmdir(dir);
}

static int
plan(const char *listens, struct gw_lplan **out, struct td_err *err)
{
	struct conf_report r = { 0 };
	struct td_buf text = { 0 };
	struct gw_domains *d;
	struct conf *c;
	int rc;

	td_buf_addf(&text,
		    "xmpp {}\nxmpp_listener { AuthParameters = [ uri = \"store://\" ] "
		    "listener_sessions = 3\n%s }\n",
		    listens);
	rc = conf_load_text("test", td_buf_str(&text), &c, &r);
	ck_assert_msg(rc == 0, "%s", td_buf_cstr(&r.text));
	d = gw_domains_build(c);
	rc = gw_listeners_plan(&gw, c, d, false, out, err);
	gw_domains_unref(&d);
	conf_unref(&c);
	conf_report_fini(&r);
	td_buf_fini(&text);
	return rc;
}

static void
serve(const char *listens)
{
	struct gw_lplan *p;
	struct td_err err;

	ck_assert_msg(plan(listens, &p, &err) == 0, "%s", err.text);
	gw_listeners_commit(&gw, p);
}

static int
dial(unsigned port, const char *from)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	struct timeval tv = { 20, 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	inet_pton(AF_INET, from, &sa.sin_addr);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sa.sin_port = htons((uint16_t)port);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool
reaches(unsigned port)
{
	int fd = dial(port, "127.0.0.1");

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Up to the end of the greeting; false: closed instead. */
static bool
greeted(int fd, char line[64])
{
	size_t n = 0;

	while (n < 63 && recv(fd, line + n, 1, 0) == 1)
		if (line[n++] == '\n')
			break;
	line[n] = '\0';
	return n > 0;
}

START_TEST(test_peers)
{
	char line[64];
	unsigned port;
	int fd[6];

	serve("Listen \"127.0.0.1:0\" { Peer \"127.0.0.8/29\" { always_deny = true }\n"
	      "  Peer \"127.0.0.9\" { always_deny = false idle_time = 1 }\n"
	      "  Peer \"127.0.0.3\" { listener_sessions = 1 } }");
	port = gw_listeners_port(&gw, "127.0.0.1:0");
	ck_assert_uint_ne(port, 0);
	fd[0] = dial(port, "127.0.0.8");
	ck_assert(!greeted(fd[0], line));
	fd[1] = dial(port, "127.0.0.9"); /* the longer prefix */
	ck_assert(greeted(fd[1], line));
	ck_assert(strncmp(line, "hi 127.0.0.9:", 13) == 0);
	ck_assert_int_eq(recv(fd[1], line, 1, 0), 0); /* its idle_time */
	ck_assert_uint_eq(n_idle, 1);
	/* one session for that Peer, apart from the three of the rest */
	fd[2] = dial(port, "127.0.0.3");
	ck_assert(greeted(fd[2], line));
	fd[3] = dial(port, "127.0.0.3");
	ck_assert(!greeted(fd[3], line));
	fd[4] = dial(port, "127.0.0.1");
	ck_assert(greeted(fd[4], line));
	close(fd[2]);
	close(fd[0]);
	close(fd[1]);
	close(fd[3]);
	AWAIT(gw_conns_open() == 1);
	fd[5] = dial(port, "127.0.0.3"); /* given back */
	ck_assert(greeted(fd[5], line));
	close(fd[4]);
	close(fd[5]);
}
END_TEST

START_TEST(test_limit)
{
	char line[64];
	unsigned port;
	int fd[4];

	serve("Listen \"127.0.0.1:0\" {}");
	port = gw_listeners_port(&gw, "127.0.0.1:0");
	for (int i = 0; i < 3; i++) {
		fd[i] = dial(port, "127.0.0.1");
		ck_assert(greeted(fd[i], line));
	}
	fd[3] = dial(port, "127.0.0.1");
	ck_assert(!greeted(fd[3], line));
	/* the count outlives a reload */
	serve("Listen \"127.0.0.1:0\" {}");
	close(fd[3]);
	fd[3] = dial(port, "127.0.0.1");
	ck_assert(!greeted(fd[3], line));
	for (int i = 0; i < 4; i++)
		close(fd[i]);
}
END_TEST

START_TEST(test_unix)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char line[64], text[256];
	struct stat st;
	int fd[2];

	(void)snprintf(text, sizeof(text), "Listen \"%s\" { file_mode = 0604 }", sock);
	serve(text);
	ck_assert_int_eq(stat(sock, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0604);
	memcpy(un.sun_path, sock, strlen(sock) + 1);
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(fd[i], (struct sockaddr *)&un, sizeof(un)), 0);
		ck_assert(greeted(fd[i], line));
		ck_assert_str_eq(line, "hi unix\n");
	}
	ck_assert_uint_eq(by_worker[0], 1); /* dealt out in turn */
	ck_assert_uint_eq(by_worker[1], 1);
	serve("Listen \"127.0.0.1:0\" {}");
	ck_assert_int_ne(access(sock, F_OK), 0);
	ck_assert_int_eq(send(fd[0], "on", 2, 0), 2); /* what is open stays */
	ck_assert_int_eq(recv(fd[0], line, 2, MSG_WAITALL), 2);
	close(fd[0]);
	close(fd[1]);
}
END_TEST

START_TEST(test_stale_socket)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct gw_lplan *p;
	char text[256];
	struct td_err err;
	FILE *f;

	(void)snprintf(text, sizeof(text), "Listen \"%s\" {}", sock);
	memcpy(un.sun_path, sock, strlen(sock) + 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(plan(text, &p, &err), TD_E_EXISTS); /* somebody answers */
	ck_assert_int_eq(access(sock, F_OK), 0);
	close(fd);
	serve(text); /* left over from a crash */
	serve("Listen \"127.0.0.1:0\" {}");
	f = fopen(sock, "w");
	fclose(f);
	ck_assert_int_eq(plan(text, &p, &err), TD_E_EXISTS); /* never remove a file */
	ck_assert_int_eq(unlink(sock), 0);
}
END_TEST

START_TEST(test_port_in_use)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct gw_lplan *p;
	struct td_err err;
	char text[128], line[64];

	/* even one that shares would not be noticed without the probe */
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	(void)snprintf(text, sizeof(text), "Listen \"127.0.0.1:0\" {} Listen \"127.0.0.1:%u\" {}",
		       ntohs(sa.sin_port));
	ck_assert_int_eq(plan(text, &p, &err), TD_E_EXISTS);
	ck_assert_ptr_nonnull(strstr(err.text, "in use"));
	close(fd);
	serve(text);
	fd = dial(ntohs(sa.sin_port), "127.0.0.1");
	ck_assert(greeted(fd, line));
	close(fd);
}
END_TEST

START_TEST(test_reload)
{
	char line[64];
	unsigned port;
	int old, fd;

	serve("Listen \"127.0.0.1:0\" {}");
	port = gw_listeners_port(&gw, "127.0.0.1:0");
	old = dial(port, "127.0.0.1");
	ck_assert(greeted(old, line));
	serve("Listen \"127.0.0.1:0\" { always_deny = true }");
	ck_assert_uint_eq(gw_listeners_port(&gw, "127.0.0.1:0"), port); /* the same socket */
	/* each worker hears of it by a mail: then no new stream is made, whichever gets the connection */
	for (int refused = 0, tries = 0; refused < 20; tries++) {
		ck_assert_int_lt(tries, 1000);
		fd = dial(port, "127.0.0.1");
		refused = greeted(fd, line) ? 0 : refused + 1;
		close(fd);
	}
	ck_assert_int_eq(send(old, "x", 1, 0), 1);
	ck_assert_int_eq(recv(old, line, 1, 0), 1);
	serve("Listen \"127.0.0.1:0\" { enable = false }");
	AWAIT(!reaches(port));
	ck_assert_int_eq(send(old, "y", 1, 0), 1);
	ck_assert_int_eq(recv(old, line, 1, 0), 1);
	close(old);
}
END_TEST

START_TEST(test_proxy_hosts)
{
	static const char head[] = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 5222\r\n";
	char line[64];
	unsigned port;
	int fd;

	serve("Listen \"127.0.0.1:0\" { proxy_protocol = true proxy_protocol_hosts = ( "
	      "\"127.0.0.4/31\" )\n"
	      "  Peer \"192.0.2.128/25\" { always_deny = true } }");
	port = gw_listeners_port(&gw, "127.0.0.1:0");
	fd = dial(port, "127.0.0.1"); /* not a proxy we know */
	ck_assert(!greeted(fd, line));
	close(fd);
	fd = dial(port, "127.0.0.5");
	ck_assert_int_gt(send(fd, head, sizeof(head) - 1, 0), 0);
	ck_assert(greeted(fd, line));
	ck_assert_str_eq(line, "hi 192.0.2.7:1234\n");
	close(fd);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_peers);
	tcase_add_test(tc, test_limit);
	tcase_add_test(tc, test_unix);
	tcase_add_test(tc, test_stale_socket);
	tcase_add_test(tc, test_port_in_use);
	tcase_add_test(tc, test_reload);
	tcase_add_test(tc, test_proxy_hosts);
}

int
main(void)
{
	return run_suite("listener", fill);
}
