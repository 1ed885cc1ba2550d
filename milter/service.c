/* service - libmilter's set-up, its callbacks, and the way to stop it without losing a mail.
 * Each callback: find the session, fill the arguments, milt_run, map the verdict. */
#include "milter/service.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <libmilter/mfapi.h>
#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "milter/io_libmilter.h"
#include "milter/milter.h"

#define MAX_PACKET (1024u * 1024)
#define STOP_WAIT_S 8

/* One per process, as libmilter is.  Written before its thread starts and after it was joined,
 * except what is atomic. */
static struct {
	const struct milt_policy *policy;
	struct milt_service_conf conf;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];  /* unix socket, or "" */
	char aside[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* where it went for the drain */
	struct sockaddr_storage addr;                            /* as bound */
	pthread_t thread;
	bool used, running;
	_Atomic bool stopping;
	_Atomic bool drained;
} service;

static const struct td_logctx service_log = { .domain = "milter.service" };

/* ---- callbacks ---- */

static const sfsistat verdict_map[MV_COUNT] = {
	[MV_CONTINUE] = SMFIS_CONTINUE, [MV_ACCEPT] = SMFIS_ACCEPT,   [MV_REJECT] = SMFIS_REJECT,
	[MV_TEMPFAIL] = SMFIS_TEMPFAIL, [MV_DISCARD] = SMFIS_DISCARD, [MV_SKIP] = SMFIS_SKIP,
	[MV_NOREPLY] = SMFIS_NOREPLY,
};

/* A session's next callback may come on another thread of libmilter's pool.  The lock that orders the
 * two is libmilter's, where ThreadSanitizer does not look (tests/tsan.supp): tell it. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define HAND_OVER(s) __tsan_release(s)
#define TAKE_OVER(s) __tsan_acquire(s)
#else
#define HAND_OVER(s) ((void)0)
#define TAKE_OVER(s) ((void)0)
#endif

/* The session of <ctx>, or NULL: close may come first, or alone. */
static struct milt_session *
session_of(SMFICTX *ctx)
{
	struct milt_session *s = smfi_getpriv(ctx);

	if (s != NULL)
		TAKE_OVER(s);
	return s != NULL && s->magic == MILT_MAGIC ? s : NULL;
}

static sfsistat
run(SMFICTX *ctx, enum milt_phase phase, const union milt_args *args)
{
	struct milt_session *s = session_of(ctx);
	struct milt_io_libmilter l;
	enum milt_verdict v;

	if (s == NULL)
		return SMFIS_TEMPFAIL;
	milt_io_libmilter_init(&l, ctx);
	v = milt_run(s, &l.io, phase, args);
	HAND_OVER(s);
	return verdict_map[v];
}

static sfsistat /* NOLINTNEXTLINE(readability-function-size): libmilter's list of parameters */
on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	struct milt_session *s = milt_session_new(service.policy);
	uint32_t actions, steps;

	(void)f2;
	(void)f3;
	milt_session_free(session_of(ctx)); /* a connection used again without close */
	if (smfi_setpriv(ctx, s) != MI_SUCCESS) {
		milt_session_free(s);
		return SMFIS_REJECT;
	}
	milt_negotiate(s, (uint32_t)f0, (uint32_t)f1, (uint32_t)*pf1, &actions, &steps);
	*pf0 = actions | (f0 & SMFIF_SETSYMLIST);
	*pf1 = steps;
	*pf2 = *pf3 = 0;
	for (int i = SMFIM_FIRST; (f0 & SMFIF_SETSYMLIST) && i <= SMFIM_LAST; i++) {
		const char *list = milt_symlist(i);

		if (list != NULL)
			(void)smfi_setsymlist(ctx, i, (char *)(uintptr_t)list);
	}
	HAND_OVER(s);
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *ctx, char *hostname, _SOCK_ADDR *sa)
{
	union milt_args args = { .connect = { .hostname = hostname, .sa = sa } };

	return run(ctx, MP_CONNECT, &args);
}

static sfsistat
on_helo(SMFICTX *ctx, char *helo)
{
	union milt_args args = { .helo = helo };

	return run(ctx, MP_HELO, &args);
}

static sfsistat
on_envfrom(SMFICTX *ctx, char **argv)
{
	union milt_args args = { .argv = (const char *const *)argv };

	return run(ctx, MP_MAIL, &args);
}

static sfsistat
on_envrcpt(SMFICTX *ctx, char **argv)
{
	union milt_args args = { .argv = (const char *const *)argv };

	return run(ctx, MP_RCPT, &args);
}

static sfsistat
on_data(SMFICTX *ctx)
{
	return run(ctx, MP_DATA, NULL);
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	union milt_args args = { .header = { .name = name, .value = value } };

	return run(ctx, MP_HEADER, &args);
}

static sfsistat
on_eoh(SMFICTX *ctx)
{
	return run(ctx, MP_EOH, NULL);
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *p, size_t n)
{
	union milt_args args = { .body = { .p = p, .len = n } };

	return run(ctx, MP_BODY, &args);
}

static sfsistat
on_eom(SMFICTX *ctx)
{
	return run(ctx, MP_EOM, NULL);
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	struct milt_session *s = session_of(ctx);

	if (s != NULL) {
		(void)milt_run(s, NULL, MP_ABORT, NULL);
		HAND_OVER(s);
	}
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	struct milt_session *s = session_of(ctx);

	if (s != NULL) {
		(void)milt_run(s, NULL, MP_CLOSE, NULL);
		(void)smfi_setpriv(ctx, NULL);
		milt_session_free(s);
	}
	return SMFIS_CONTINUE;
}

static sfsistat
on_unknown(SMFICTX *ctx, const char *command)
{
	union milt_args args = { .command = command };

	return run(ctx, MP_UNKNOWN, &args);
}

/* ---- set-up ---- */

static bool
is_listening(int fd, struct sockaddr_storage *ss)
{
	int on = 0;
	socklen_t len = sizeof(on), slen = sizeof(*ss);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on &&
	       getsockname(fd, (struct sockaddr *)ss, &slen) == 0;
}

/* libmilter does not say which descriptor it listens on: the one that was not there before. */
static void
mark_listeners(bool *had, int n)
{
	struct sockaddr_storage ss;

	for (int fd = 0; fd < n; fd++)
		had[fd] = is_listening(fd, &ss);
}

static int
find_listener(const bool *had, int n)
{
	struct sockaddr_storage ss = { 0 };
	int want = service.path[0] != '\0' ? AF_UNIX : 0;

	for (int fd = 0; fd < n; fd++)
		if (!had[fd] && is_listening(fd, &ss) &&
		    (want == AF_UNIX) == (ss.ss_family == AF_UNIX)) {
			service.addr = ss;
			return fd;
		}
	return -1;
}

/* "unix:/path" in *conn_out; the path in service.path when it is one. */
static int
take_address(const char *addr, char *conn, size_t size, struct td_err *err)
{
	const char *path = NULL;

	if (addr == NULL || addr[0] == '\0')
		return td_fail(err, TD_E_INVAL, "no milter socket given");
	if (addr[0] == '/')
		path = addr;
	else if (strncmp(addr, "unix:", 5) == 0)
		path = addr + 5;
	else if (strncmp(addr, "local:", 6) == 0)
		path = addr + 6;
	else if (strncmp(addr, "inet:", 5) != 0 && strncmp(addr, "inet6:", 6) != 0)
		return td_fail(err, TD_E_INVAL,
			       "milter socket %s: use /path, unix:/path, inet:port@host or "
			       "inet6:port@host",
			       addr);
	if (path != NULL && strlen(path) >= sizeof(service.path))
		return td_fail(err, TD_E_INVAL, "milter socket path is over %zu bytes: %s",
			       sizeof(service.path) - 1, path);
	(void)snprintf(service.path, sizeof(service.path), "%s", path != NULL ? path : "");
	(void)snprintf(conn, size, "%s%s", path != NULL ? "unix:" : "", path != NULL ? path : addr);
	return 0;
}

/* Connect to our own address, or to the unix socket <path>; -1 when nobody is there. */
static int
connect_to(const char *path)
{
	struct sockaddr_storage ss = service.addr;
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&ss;
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&ss;
	int fd;

	if (path != NULL) {
		un->sun_family = AF_UNIX;
		(void)snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
	} else if (ss.ss_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_ANY)) {
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else if (ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
		in6->sin6_addr = in6addr_loopback;
	}
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 &&
	    connect(fd, (struct sockaddr *)&ss,
		    ss.ss_family == AF_UNIX   ? sizeof(*un)
		    : ss.ss_family == AF_INET ? sizeof(*in)
					      : sizeof(*in6)) < 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

/* smfi_opensocket would take the place of a running process. */
static int
check_unused(struct td_err *err)
{
	int fd = service.path[0] != '\0' ? connect_to(service.path) : -1;

	if (fd < 0)
		return 0;
	close(fd);
	return td_fail(err, TD_E_EXISTS, "another process listens on %s", service.path);
}

static int
open_socket(struct td_err *err)
{
	const struct milt_service_conf *c = &service.conf;
	mode_t mode = c->file_mode != 0 ? c->file_mode : 0660, old;
	struct rlimit r = { .rlim_cur = 1024 };
	bool *had;
	int n, rc, fd, on = 1;

	(void)getrlimit(RLIMIT_NOFILE, &r);
	n = r.rlim_cur < 4096 ? (int)r.rlim_cur : 4096;
	had = td_zalloc((size_t)n * sizeof(*had));
	mark_listeners(had, n);
	old = umask(~mode & 0777);
	errno = 0;
	rc = smfi_opensocket(true);
	(void)umask(old);
	if (rc != MI_SUCCESS) {
		free(had);
		return td_fail(err, TD_E_IO, "cannot listen on %s: %s", c->socket,
			       errno != 0 ? strerror(errno) : "libmilter refused it");
	}
	fd = find_listener(had, n);
	free(had);
	if (service.path[0] != '\0' && c->group != 0 &&
	    chown(service.path, (uid_t)-1, c->group) < 0)
		return td_fail(err, TD_E_IO, "chgrp %s: %s", service.path, strerror(errno));
	if (service.path[0] != '\0' && chmod(service.path, mode) < 0)
		return td_fail(err, TD_E_IO, "chmod %s: %s", service.path, strerror(errno));
	if (fd >= 0) {
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		/* accepted sockets inherit it; without, 40 ms per message (milter.md 0.7) */
		if (service.path[0] == '\0')
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	return 0;
}

static int
setup(const char *conn, struct td_err *err)
{
	const struct milt_service_conf *c = &service.conf;
	struct smfiDesc desc = {
		.xxfi_name = (char *)(uintptr_t)(c->name != NULL ? c->name : "tandem"),
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT | SMFIF_DELRCPT |
			      SMFIF_CHGHDRS | SMFIF_QUARANTINE | SMFIF_CHGFROM | SMFIF_ADDRCPT_PAR |
			      SMFIF_SETSYMLIST,
		.xxfi_connect = on_connect,
		.xxfi_helo = on_helo,
		.xxfi_envfrom = on_envfrom,
		.xxfi_envrcpt = on_envrcpt,
		.xxfi_header = on_header,
		.xxfi_eoh = on_eoh,
		.xxfi_body = on_body,
		.xxfi_eom = on_eom,
		.xxfi_abort = on_abort,
		.xxfi_close = on_close,
		.xxfi_unknown = on_unknown,
		.xxfi_data = on_data,
		.xxfi_negotiate = on_negotiate,
	};

	if (smfi_setconn((char *)(uintptr_t)conn) != MI_SUCCESS)
		return td_fail(err, TD_E_INVAL, "libmilter does not take the socket %s", conn);
	if (smfi_register(desc) != MI_SUCCESS)
		return td_fail(err, TD_E_IO, "smfi_register failed");
	(void)smfi_setmaxdatasize(c->max_packet > 0 ? c->max_packet : MAX_PACKET);
	if (c->timeout > 0)
		(void)smfi_settimeout((int)c->timeout);
	if (c->backlog > 0)
		(void)smfi_setbacklog(c->backlog);
	return open_socket(err);
}

static void *
service_thread(void *arg)
{
	int rc = smfi_main();

	(void)arg;
	if (!atomic_load(&service.stopping)) {
		td_log_notice(&service_log, "milter-ended", "rc=%d", rc);
		if (service.conf.stopped != NULL)
			service.conf.stopped(service.conf.stopped_arg);
	}
	return NULL;
}

static int
start_thread(pthread_t *t, void *(*fn)(void *), struct td_err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(t, NULL, fn, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0 ? 0 : td_fail(err, TD_E_IO, "cannot start a thread: %s", strerror(rc));
}

int
milt_service_start(const struct milt_service_conf *c, const struct milt_policy *p,
		   struct td_err *err)
{
	char conn[256];
	int rc;

	if (service.used)
		return td_fail(err, TD_E_EXISTS,
			       "the milter runs once per process: restart to change it");
	service.conf = *c;
	service.policy = p;
	if ((rc = take_address(c->socket, conn, sizeof(conn), err)) < 0 ||
	    (rc = check_unused(err)) < 0)
		return rc;
	(void)milt_lib_log_lines();
	if ((rc = setup(conn, err)) < 0 ||
	    (rc = start_thread(&service.thread, service_thread, err)) < 0)
		return rc;
	service.used = service.running = true;
	td_log_notice(&service_log, "milter-listen", "socket=%s", td_escz(conn));
	return 0;
}

unsigned
milt_service_port(void)
{
	if (service.addr.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)(void *)&service.addr)->sin_port);
	if (service.addr.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)(void *)&service.addr)->sin6_port);
	return 0;
}

/* ---- stopping ---- */

/* The socket is moved out of sight, not unlinked yet: the stop must connect to it once. */
void
milt_service_drain(void)
{
	milt_set_draining(true);
	if (!service.running || atomic_exchange(&service.drained, true) || service.path[0] == '\0')
		return;
	if ((size_t)snprintf(service.aside, sizeof(service.aside), "%s~", service.path) >=
		    sizeof(service.aside) ||
	    rename(service.path, service.aside) < 0) {
		service.aside[0] = '\0';
		(void)unlink(service.path);
	}
}

static void *
stop_thread(void *arg)
{
	(void)arg;
	(void)smfi_stop(); /* waits for the listener to look up */
	return NULL;
}

static bool
join_within(pthread_t t, long ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (until.tv_nsec + ms * 1000000) / 1000000000;
	until.tv_nsec = (until.tv_nsec + ms * 1000000) % 1000000000;
	return pthread_timedjoin_np(t, NULL, &until) == 0;
}

bool
milt_service_stop(unsigned ms)
{
	const char *path = NULL;
	pthread_t stopper;
	bool clean;

	if (!service.running)
		return true;
	milt_service_drain();
	clean = milt_wait_idle(ms);
	atomic_store(&service.stopping, true);
	if (start_thread(&stopper, stop_thread, NULL) < 0)
		return false;
	if (service.path[0] != '\0')
		path = service.aside[0] != '\0' ? service.aside : "";
	/* each connection makes the listener look up, until the stopper got through */
	for (int tries = 0; !join_within(stopper, 20); tries++) {
		int fd = tries < 3 && (path == NULL || path[0] != '\0') ? connect_to(path) : -1;

		if (fd >= 0)
			close(fd);
		if (tries < STOP_WAIT_S * 50)
			continue;
		pthread_detach(stopper);
		clean = false;
		break;
	}
	if (!join_within(service.thread, STOP_WAIT_S * 1000)) {
		pthread_detach(service.thread);
		clean = false;
	}
	if (service.aside[0] != '\0')
		(void)unlink(service.aside);
	service.running = false;
	td_log_notice(&service_log, "milter-stop", "clean=%s", clean ? "yes" : "no");
	return clean;
}
