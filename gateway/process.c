/* process - user, limits, folder, pid file, readiness.
 *
 * The user is found first and become last: folders, sockets and certificates made in between are
 * given to it on the way. */
#include "gateway/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FDS 1048576u
#define MAX_GROUPS 32

#define RESTART_STATUS 75 /* EX_TEMPFAIL: no orderly end */

static struct {
	bool drop; /* started as root, with a security stanza */
	uid_t uid;
	gid_t gid, groups[MAX_GROUPS];
	size_t n_groups;
	int lock_fd, parent_fd;
	char *pidfile;
	char program[4096];
} me = { .lock_fd = -1, .parent_fd = -1 };

/* ---- signals, background ---- */

void
gw_process_block_signals(void)
{
	sigset_t all;

	/* every thread is born with all blocked; main alone unblocks them, once it has handlers */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void
gw_process_unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* libmilter waits for our signals in a thread of its own and takes HUP for "stop".  While main is in
 * its handler a second HUP would go to that thread, so it gets this in place of the C library's
 * (symbols of the program come before those of shared libraries) and sleeps.  Nobody else waits
 * for signals like that here. */
int gw_process_sigwait(const sigset_t *set, int *sig) __asm__("sigwait");
int
gw_process_sigwait(const sigset_t *set, int *sig)
{
	(void)set;
	(void)sig;
	for (;;)
		(void)pause(); /* everything is blocked in that thread */
}

int
gw_process_daemonise(struct td_err *err)
{
	int fds[2];
	char status = 1;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return td_fail(err, TD_E_IO, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return td_fail(err, TD_E_IO, "fork: %s", strerror(errno));
	if (pid > 0) {
		close(fds[1]);
		/* end of file without a byte: the child died and has said why */
		while (read(fds[0], &status, 1) < 0 && errno == EINTR)
			;
		_exit(status);
	}
	close(fds[0]);
	me.parent_fd = fds[1];
	(void)setsid();
	return chdir("/") < 0 ? td_fail(err, TD_E_IO, "chdir: %s", strerror(errno)) : 0;
}

/* ---- limits ---- */

int
gw_process_rlimit(const struct conf *c, struct td_err *err)
{
	rlim_t want = (rlim_t)conf_int(c, NULL, "server_max_file_descriptors");
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return td_fail(err, TD_E_IO, "getrlimit: %s", strerror(errno));
	if (want == 0) { /* as far as the administrator lets us */
		want = rl.rlim_max == RLIM_INFINITY || rl.rlim_max > MAX_FDS ? MAX_FDS
									     : rl.rlim_max;
		if (want < rl.rlim_cur)
			return 0;
	}
	rl.rlim_cur = want;
	if (want > rl.rlim_max)
		rl.rlim_max = want;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		return td_fail(err, TD_E_IO,
			       "cannot raise the limit of open files to %llu (%s): raise it for "
			       "the service "
			       "(LimitNOFILE=) or lower server_max_file_descriptors",
			       (unsigned long long)want, strerror(errno));
	return 0;
}

/* ---- the user to become ---- */

static int
find_group(const char *name, gid_t *out, struct td_err *err)
{
	struct group *g = getgrnam(name);

	if (g == NULL)
		return td_fail(err, TD_E_NOTFOUND, "security: there is no group %s", name);
	*out = g->gr_gid;
	return 0;
}

int
gw_process_group(const struct conf *c, const struct conf_at *at, gid_t *out, struct td_err *err)
{
	struct td_str name = conf_str(c, at, "file_group");
	struct group *g = name.len > 0 ? getgrnam(name.p) : NULL;

	*out = g != NULL ? g->gr_gid : 0;
	if (name.len == 0 || g != NULL)
		return 0;
	return td_fail(err, TD_E_NOTFOUND, "%s: file_group: there is no group %s",
		       conf_scope_where(at->scope), name.p);
}

int
gw_process_find_user(const struct conf *c, struct td_err *err)
{
	struct conf_at at = { .scope = conf_next(c, NULL, "security", NULL) };
	const struct td_str *groups;
	struct passwd *pw;
	struct td_str s;
	size_t n;

	if (geteuid() != 0 || at.scope == NULL)
		return 0;
	s = conf_str(c, &at, "user");
	pw = getpwnam(s.p);
	if (pw == NULL)
		return td_fail(err, TD_E_NOTFOUND,
			       "security: there is no user %s: make it, or set user", s.p);
	me.uid = pw->pw_uid;
	me.gid = pw->pw_gid;
	s = conf_str(c, &at, "group");
	if (s.len > 0 && find_group(s.p, &me.gid, err) < 0)
		return err->code;
	groups = conf_list(c, &at, "supplemental_groups", &n);
	if (n > MAX_GROUPS)
		return td_fail(err, TD_E_LIMIT, "security: more than %d supplemental_groups",
			       MAX_GROUPS);
	for (size_t i = 0; i < n; i++)
		if (find_group(groups[i].p, &me.groups[me.n_groups++], err) < 0)
			return err->code;
	me.drop = true;
	return 0;
}

void
gw_process_own(struct gw *gw, const char *path)
{
	if (me.drop && geteuid() == 0 && chown(path, me.uid, me.gid) < 0)
		td_log_warn(&gw->log, "chown-failed", "path=%s error=%s", td_escz(path),
			    td_escz(strerror(errno)));
}

/* cap_net_bind_service+ep: the one that serves a purpose here. */
static int
parse_caps(struct td_str s, uint32_t *bits, struct td_err *err)
{
	static const struct {
		const char *name;
		unsigned bit;
	} caps[] = {
		{ "cap_net_bind_service", CAP_NET_BIND_SERVICE },
		{ "cap_dac_read_search", CAP_DAC_READ_SEARCH }, /* certificates of other services */
	};

	*bits = 0;
	while (s.len > 0) {
		size_t n = strcspn(s.p, " ,+="), i;
		size_t whole = strcspn(s.p, " ");

		for (i = 0; i < 2 && !td_str_ieq(td_str(s.p, n), td_cstr(caps[i].name)); i++)
			;
		if (i == 2)
			return td_fail(err, TD_E_UNSUPPORTED,
				       "security: capability %.*s cannot be kept", (int)n, s.p);
		*bits |= 1u << caps[i].bit;
		if (s.p[n] == ',')
			whole = n;
		s.p += whole;
		s.len -= whole;
		while (s.len > 0 && (*s.p == ' ' || *s.p == ','))
			s.p++, s.len--;
	}
	return 0;
}

static int
set_caps(uint32_t bits, struct td_err *err)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { .effective = bits, .permitted = bits } };

	if (syscall(SYS_capset, &h, d) < 0)
		return td_fail(err, TD_E_IO, "security: capabilities: %s", strerror(errno));
	return 0;
}

static int
become(uint32_t caps, struct td_err *err)
{
	if (caps != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return td_fail(err, TD_E_IO, "prctl: %s", strerror(errno));
	if (setgroups(me.n_groups, me.groups) < 0 || setresgid(me.gid, me.gid, me.gid) < 0 ||
	    setresuid(me.uid, me.uid, me.uid) < 0)
		return td_fail(err, TD_E_IO, "security: cannot become the user: %s",
			       strerror(errno));
	if (caps != 0 && set_caps(caps, err) < 0)
		return err->code;
	if (me.uid != 0 && setuid(0) == 0)
		return td_fail(err, TD_E_IO, "security: privileges were not given up");
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* a crash should leave a core */
	return 0;
}

int
gw_process_drop(struct gw *gw, const struct conf *c, struct td_err *err)
{
	struct conf_at at = { .scope = conf_next(c, NULL, "security", NULL) };
	struct td_str root = conf_str(c, &at, "chroot");
	uint32_t caps;

	if (me.drop) {
		if (parse_caps(conf_str(c, &at, "capabilities"), &caps, err) < 0)
			return err->code;
		if (root.len > 0 && (chroot(root.p) < 0 || chdir("/") < 0))
			return td_fail(err, TD_E_IO, "security: chroot %s: %s", root.p,
				       strerror(errno));
		if (become(caps, err) < 0)
			return err->code;
	} else if (geteuid() == 0) {
		td_log_notice(&gw->log, "running-as-root", "hint=set-security-user");
	}
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return 0;
}

/* ---- folders and files ---- */

/* Make <path> and what is above it; true when <path> itself was made. */
static int
make_folder(const char *path, mode_t mode, bool *made, struct td_err *err)
{
	char *copy = td_strdup(path);
	int rc = 0;

	for (char *p = strchr(copy + 1, '/'); p != NULL && rc == 0; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			rc = td_fail(err, TD_E_IO, "cannot make folder %s: %s", copy,
				     strerror(errno));
		*p = '/';
	}
	*made = rc == 0 && mkdir(path, mode) == 0;
	if (rc == 0 && !*made && errno != EEXIST)
		rc = td_fail(err, TD_E_IO, "cannot make folder %s: %s", path, strerror(errno));
	free(copy);
	return rc;
}

int
gw_process_data_dir(struct gw *gw, struct td_err *err)
{
	char *path;
	bool made;
	int rc = make_folder(gw->data_dir, 0750, &made, err);

	if (rc < 0)
		return td_wrap(err, "data_dir");
	if (made)
		gw_process_own(gw, gw->data_dir);
	path = gw_path(gw, TD_STR("tandem.lock"));
	me.lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (me.lock_fd < 0)
		rc = td_fail(err, TD_E_IO, "data_dir: cannot write %s: %s", path, strerror(errno));
	else if (flock(me.lock_fd, LOCK_EX | LOCK_NB) < 0)
		rc = td_fail(err, TD_E_BUSY,
			     "data_dir %s is used by another tandemd: stop that one first",
			     gw->data_dir);
	else
		gw_process_own(gw, path);
	free(path);
	return rc;
}

static void
socket_dir(struct gw *gw, const char *sock)
{
	char *dir = td_strdup(sock), *slash = strrchr(dir, '/');
	struct td_err err;
	bool made;

	if (slash != NULL && slash != dir) {
		*slash = '\0';
		if (make_folder(dir, 0755, &made, &err) == 0 && made) {
			(void)chmod(dir, 0755); /* whatever the umask: the MTA has to get through */
			gw_process_own(gw, dir);
		}
	}
	free(dir);
}

void
gw_process_socket_dirs(struct gw *gw, const struct conf *c)
{
	static const char *const kinds[] = { "milter_listener", "control_listener",
					     "xmpp_listener" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct conf_scope *l = NULL, *n;

		while ((l = conf_next(c, NULL, kinds[i], l)) != NULL)
			for (n = NULL; (n = conf_next(c, l, "listen", n)) != NULL;)
				if (td_str_starts(conf_scope_name(n), "/"))
					socket_dir(gw, conf_scope_name(n).p);
	}
}

int
gw_process_secret(struct gw *gw, unsigned char out[GW_SECRET_LEN], struct td_err *err)
{
	char *path = gw_path(gw, TD_STR("secret"));
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;

	if (fd < 0 && errno == ENOENT) {
		td_random(out, GW_SECRET_LEN);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, out, GW_SECRET_LEN) != GW_SECRET_LEN || fsync(fd) < 0)
			rc = td_fail(err, TD_E_IO, "cannot write %s: %s", path, strerror(errno));
	} else if (fd < 0) {
		rc = td_fail(err, TD_E_IO, "cannot read %s: %s", path, strerror(errno));
	} else if (read(fd, out, GW_SECRET_LEN) != GW_SECRET_LEN) {
		rc = td_fail(err, TD_E_CORRUPT,
			     "%s is shorter than %d bytes: remove it, a new one is made", path,
			     GW_SECRET_LEN);
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

int
gw_process_pidfile(struct gw *gw, const struct conf *c, struct td_err *err)
{
	struct td_str s = conf_str(c, NULL, "pidfile");
	FILE *f;

	if (s.len == 0)
		return 0;
	me.pidfile = gw_path(gw, s);
	f = fopen(me.pidfile, "we");
	if (f == NULL)
		return td_fail(err, TD_E_IO, "pidfile: cannot write %s: %s", me.pidfile,
			       strerror(errno));
	(void)fprintf(f, "%ld\n", (long)getpid());
	if (fclose(f) != 0)
		return td_fail(err, TD_E_IO, "pidfile: cannot write %s: %s", me.pidfile,
			       strerror(errno));
	gw_process_own(gw, me.pidfile);
	return 0;
}

/* ---- readiness ---- */

void
gw_process_notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = path != NULL ? strlen(path) : 0;
	int fd;

	if (n == 0 || n >= sizeof(un.sun_path))
		return;
	memcpy(un.sun_path, path, n);
	if (path[0] == '@') /* abstract */
		un.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&un,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

void
gw_process_ready(struct gw *gw)
{
	char ok = 0;
	int null;

	(void)gw;
	gw_process_notify("READY=1");
	if (me.parent_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, 0);
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		close(null);
	}
	(void)!write(me.parent_fd, &ok, 1);
	close(me.parent_fd);
	me.parent_fd = -1;
}

/* ---- beginning anew ---- */

void
gw_process_remember(void)
{
	ssize_t n = readlink("/proc/self/exe", me.program, sizeof(me.program) - 1);

	me.program[n > 0 ? n : 0] = '\0';
}

bool
gw_process_may_restart(const char **why)
{
	if (getenv("NOTIFY_SOCKET") != NULL)
		return true;
	*why = me.drop ? "The privileges to start are given up, and no service manager would."
		       : "The program was not found.";
	return !me.drop && me.program[0] != '\0';
}

void
gw_process_again(char **argv)
{
	/* systemd has been told that we stop: Restart=on-failure in the unit does the rest */
	if (getenv("NOTIFY_SOCKET") != NULL)
		_exit(RESTART_STATUS);
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	execv(me.program, argv);
	_exit(1);
}

void
gw_process_fini(void)
{
	if (me.pidfile != NULL)
		(void)unlink(me.pidfile);
	free(me.pidfile);
	me.pidfile = NULL;
	if (me.lock_fd >= 0)
		close(me.lock_fd);
	me.lock_fd = -1;
}
