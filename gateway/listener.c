/* listener - sockets and accepting.
 *
 * A Listen that is in the old and in the new configuration keeps its sockets over a reload; what
 * its connections get (struct gw_conn_conf) is replaced on each worker by a mail.
 * Running out of descriptors: a descriptor kept in reserve is given up to accept and close the
 * connection, then the acceptor rests for a second; the rest waits in the backlog. */
#include "gateway/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>
#include "gateway/process.h"

#define ACCEPTS_PER_WAKE 64
#define REST_MS 1000u

struct acceptor {
	struct gw_worker *w;
	struct listen *l;
	int fd;
	struct event *ev; /* NULL = not accepting */
	struct td_timer rest;
	bool complained; /* told of resting once, until all is well again */
	struct gw_conn_conf *cf;
};

/* One bound address. */
struct listen {
	TAILQ_ENTRY(listen) link;
	_Atomic int refs; /* main, and each acceptor that runs */
	struct gw *gw;
	char *name; /* as in the configuration */
	struct sockaddr_storage addr;
	socklen_t len;
	bool is_unix, wanted;
	dev_t dev; /* of the Unix socket: unlink only our own */
	ino_t ino;
	unsigned n;    /* acceptors */
	unsigned next; /* Unix: worker that gets the next connection; worker 0's */
	struct acceptor acc[];
};
TAILQ_HEAD(listen_list, listen);

struct gw_listeners {
	struct listen_list list; /* main; changed under <lock>, since workers look into it */
	pthread_mutex_t lock;    /* guards budgets, and <list> against gw_listeners_own */
	struct td_map budgets;
	unsigned max_open; /* connections, so that some descriptors are left for the rest */
	int reserve[GW_MAX_WORKERS];
};

struct plan_item {
	struct listen *l;
	bool is_new;
	struct gw_conn_conf *cf;
};

struct gw_lplan {
	struct gw_lshare share;
	struct plan_item *items;
	size_t n;
};

/* ---- budgets ---- */

struct gw_budget *
gw_listeners_budget(struct gw *gw, const char *key)
{
	struct gw_listeners *ls = gw->listeners;
	struct gw_budget *b;

	pthread_mutex_lock(&ls->lock);
	b = td_map_find(&ls->budgets, td_cstr(key));
	if (b == NULL) {
		b = td_zalloc(sizeof(*b));
		atomic_init(&b->refs, 1);
		b->key = td_strdup(key);
		(void)td_map_set(&ls->budgets, td_cstr(b->key), b);
	}
	(void)gw_budget_ref(b);
	pthread_mutex_unlock(&ls->lock);
	return b;
}

/* ---- sockets ---- */

static int
fail_bind(const char *name, int e, struct td_err *err)
{
	if (e == EADDRINUSE)
		return td_fail(err, TD_E_EXISTS,
			       "Listen \"%s\": the address is in use by another program", name);
	if (e == EACCES)
		return td_fail(
			err, TD_E_DENIED,
			"Listen \"%s\": not permitted; start as root or keep cap_net_bind_service",
			name);
	return td_fail(err, TD_E_IO, "Listen \"%s\": %s", name, strerror(e));
}

/* SO_REUSEPORT would let us share a port with a stray process of the same user: a bind without it
 * finds that out. */
static int
probe(const struct listen *l, struct td_err *err)
{
	int fd = socket(l->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, rc = 0;

	if (fd < 0)
		return td_fail(err, TD_E_IO, "socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (l->addr.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&l->addr, l->len) < 0)
		rc = fail_bind(l->name, errno, err);
	close(fd);
	return rc;
}

static int
bind_tcp(struct listen *l, int backlog, struct td_err *err)
{
	for (unsigned i = 0; i < l->n; i++) {
		int one = 1,
		    fd = socket(l->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd < 0)
			return fail_bind(l->name, errno, err);
		l->acc[i].fd = fd;
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		/* "*" is IPv4 and "[*]" is IPv6, on every kernel */
		if (l->addr.ss_family == AF_INET6)
			(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&l->addr, l->len) < 0 || listen(fd, backlog) < 0)
			return fail_bind(l->name, errno, err);
		/* port 0: the first socket gets a port, the others take the same */
		if (i == 0 && getsockname(fd, (struct sockaddr *)&l->addr, &l->len) < 0)
			return fail_bind(l->name, errno, err);
	}
	return 0;
}

/* A socket file that nobody answers is left over from a crash. */
static int
clear_stale(const struct listen *l, struct td_err *err)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&l->addr;
	struct stat st;
	int fd, rc = 0;

	if (lstat(un->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return td_fail(err, TD_E_EXISTS,
			       "Listen \"%s\": there is a file of that name that is no socket",
			       l->name);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_bind(l->name, errno, err);
	if (connect(fd, (const struct sockaddr *)un, l->len) == 0 || errno == EAGAIN)
		rc = fail_bind(l->name, EADDRINUSE, err);
	else
		(void)unlink(un->sun_path);
	close(fd);
	return rc;
}

static int
bind_unix(struct listen *l, int backlog, mode_t mode, const char *group, struct td_err *err)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&l->addr;
	struct group *g = group != NULL ? getgrnam(group) : NULL;
	struct stat st;
	mode_t old;
	int rc = clear_stale(l, err), fd;

	if (rc < 0)
		return rc;
	if (group != NULL && g == NULL)
		return td_fail(err, TD_E_NOTFOUND, "Listen \"%s\": there is no group %s", l->name,
			       group);
	fd = l->acc[0].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_bind(l->name, errno, err);
	old = umask(0177); /* closed until its mode is set */
	rc = bind(fd, (const struct sockaddr *)un, l->len);
	(void)umask(old);
	if (rc < 0)
		return fail_bind(l->name, errno, err);
	gw_process_own(l->gw, un->sun_path);
	if ((g != NULL && chown(un->sun_path, (uid_t)-1, g->gr_gid) < 0) ||
	    chmod(un->sun_path, mode) < 0 || listen(fd, backlog) < 0 || stat(un->sun_path, &st) < 0)
		return fail_bind(l->name, errno, err);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

static void
listen_unref(struct listen *l)
{
	if (atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < l->n; i++)
		if (l->acc[i].fd >= 0)
			close(l->acc[i].fd);
	free(l->name);
	free(l);
}

/* The file of a Unix socket goes at once; a later process may have put its own there. */
static void
unlink_own(const struct listen *l)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&l->addr;
	struct stat st;

	if (l->is_unix && l->ino != 0 && lstat(un->sun_path, &st) == 0 && st.st_ino == l->ino &&
	    st.st_dev == l->dev)
		(void)unlink(un->sun_path);
}

static struct listen *
listen_new(struct gw *gw, struct td_str name, const struct sockaddr_storage *addr, socklen_t len)
{
	bool is_unix = addr->ss_family == AF_UNIX;
	unsigned n = is_unix ? 1 : gw->n_workers;
	struct listen *l = td_zalloc(sizeof(*l) + n * sizeof(l->acc[0]));

	atomic_init(&l->refs, 1);
	l->gw = gw;
	l->name = td_strndup(name);
	l->addr = *addr;
	l->len = len;
	l->is_unix = is_unix;
	l->n = n;
	for (unsigned i = 0; i < n; i++)
		l->acc[i] = (struct acceptor){ .l = l, .fd = -1 };
	return l;
}

/* ---- accepting (on a worker) ---- */

static void
on_rest_over(struct td_timer *t)
{
	struct acceptor *a = (struct acceptor *)((char *)t - offsetof(struct acceptor, rest));

	if (a->ev != NULL)
		event_add(a->ev, NULL);
}

static void
rest(struct acceptor *a, const char *why)
{
	if (!a->complained)
		td_log_warn(&a->w->gw->log, "accept-paused", "listen=%s why=%s",
			    td_escz(a->l->name), why);
	a->complained = true;
	event_del(a->ev);
	a->rest.fire = on_rest_over;
	td_timer_set(a->w->loop, &a->rest, REST_MS);
}

/* No descriptor is free: use the reserve to turn one peer away, so that it does not hang. */
static void
out_of_fds(struct acceptor *a)
{
	int *reserve = &a->w->gw->listeners->reserve[a->w->index];
	int fd;

	if (*reserve >= 0) {
		close(*reserve);
		fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			close(fd);
		*reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	rest(a, "descriptors");
}

struct handout {
	int fd;
	struct gw_conn_conf *cf;
	struct sockaddr_storage peer;
};

static void
on_handout(struct gw_worker *w, void *arg)
{
	struct handout *h = arg;

	gw_conn_accept(w, h->fd, h->cf, (struct sockaddr *)&h->peer,
		       gw_lconf_proxy(h->cf, (struct sockaddr *)&h->peer));
	gw_conn_conf_unref(&h->cf);
	free(h);
}

static void
take_in(struct acceptor *a, int fd, const struct sockaddr_storage *peer)
{
	struct gw *gw = a->w->gw;
	unsigned proxy_ms = a->l->is_unix ? 0 : gw_lconf_proxy(a->cf, (const void *)peer);
	struct handout *h;

	if (proxy_ms > 0 && !gw_lconf_trusts(a->cf, (const struct sockaddr *)peer)) {
		td_log_info(&gw->log, "conn-refused", "listen=%s why=proxy_protocol_hosts",
			    td_escz(a->l->name));
		close(fd);
		return;
	}
	if (!a->l->is_unix) {
		gw_lconf_tune(a->cf, fd);
		gw_conn_accept(a->w, fd, a->cf, (const struct sockaddr *)peer, proxy_ms);
		return;
	}
	h = td_alloc(sizeof(*h));
	h->fd = fd;
	h->cf = gw_conn_conf_ref(a->cf);
	h->peer = *peer;
	h->peer.ss_family = AF_UNIX; /* an unnamed peer leaves it unset */
	gw_worker_post(gw->workers[a->l->next++ % gw->n_workers], on_handout, h);
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *a = arg;
	struct gw_listeners *ls = a->w->gw->listeners;

	(void)what;
	for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof(peer);
		int conn;

		if (gw_conns_open() >= ls->max_open) {
			rest(a, "connections");
			return;
		}
		conn = accept4(fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (conn >= 0) {
			take_in(a, conn, &peer);
		} else if (errno == EMFILE || errno == ENFILE) {
			out_of_fds(a);
			return;
		} else if (errno == ENOBUFS || errno == ENOMEM) {
			rest(a, "memory");
			return;
		} else if (errno == EAGAIN) {
			a->complained = false;
			return;
		} /* else that connection is gone already */
	}
}

struct change {
	struct acceptor *a;
	struct gw_conn_conf *cf; /* NULL = stop */
};

static void
stop_acceptor(struct acceptor *a)
{
	if (a->ev == NULL)
		return;
	event_free(a->ev);
	a->ev = NULL;
	td_timer_clear(a->w->loop, &a->rest);
	close(a->fd);
	a->fd = -1;
	gw_conn_conf_unref(&a->cf);
	listen_unref(a->l);
}

/* Start, change or stop an acceptor. */
static void
on_change(struct gw_worker *w, void *arg)
{
	struct change *c = arg;
	struct acceptor *a = c->a;

	if (c->cf == NULL) {
		stop_acceptor(a);
	} else if (a->ev != NULL) {
		gw_conn_conf_unref(&a->cf);
		a->cf = c->cf;
	} else if (a->fd >= 0) {
		a->w = w;
		a->cf = c->cf;
		a->ev = event_new(td_loop_base(w->loop), a->fd, EV_READ | EV_PERSIST, on_accept, a);
		if (a->ev == NULL)
			abort();
		event_add(a->ev, NULL);
	}
	listen_unref(a->l); /* the mail's */
	free(c);
}

static void
post_change(struct gw *gw, struct listen *l, struct gw_conn_conf *cf, bool start)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct change *c = td_alloc(sizeof(*c));

		c->a = &l->acc[i];
		c->cf = cf != NULL ? gw_conn_conf_ref(cf) : NULL;
		atomic_fetch_add(&l->refs,
				 start ? 2 : 1); /* the mail, and the acceptor while it runs */
		gw_worker_post(gw->workers[i], on_change, c);
	}
}

/* ---- plans (on main) ---- */

void
gw_listeners_init(struct gw *gw)
{
	struct gw_listeners *ls = td_zalloc(sizeof(*ls));
	struct rlimit rl = { 1024, 1024 };
	unsigned keep;

	TAILQ_INIT(&ls->list);
	pthread_mutex_init(&ls->lock, NULL);
	(void)getrlimit(RLIMIT_NOFILE, &rl);
	/* libmilter spins when accept has no descriptor left, SQLite fails: leave them some */
	keep = rl.rlim_cur > 4096 ? 512 : (unsigned)rl.rlim_cur / 8;
	ls->max_open = (unsigned)(rl.rlim_cur > UINT32_MAX ? UINT32_MAX : rl.rlim_cur) - keep;
	for (size_t i = 0; i < GW_MAX_WORKERS; i++)
		ls->reserve[i] = i < gw->n_workers ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
	gw->listeners = ls;
}

void
gw_listeners_fini(struct gw *gw)
{
	struct gw_listeners *ls = gw->listeners;
	struct gw_budget *b;
	struct listen *l;
	size_t pos = 0;

	if (ls == NULL)
		return;
	while ((l = TAILQ_FIRST(&ls->list)) != NULL) {
		TAILQ_REMOVE(&ls->list, l, link);
		unlink_own(l);
		listen_unref(l);
	}
	while ((b = td_map_next(&ls->budgets, &pos)) != NULL) {
		(void)td_map_del(&ls->budgets, td_cstr(b->key));
		gw_budget_unref(&b);
	}
	td_map_fini(&ls->budgets);
	for (size_t i = 0; i < GW_MAX_WORKERS; i++)
		if (ls->reserve[i] >= 0)
			close(ls->reserve[i]);
	pthread_mutex_destroy(&ls->lock);
	free(ls);
	gw->listeners = NULL;
}

static struct listen *
find_running(struct gw *gw, const char *name)
{
	struct listen *l;

	TAILQ_FOREACH(l, &gw->listeners->list, link)
	if (strcmp(l->name, name) == 0)
		return l;
	return NULL;
}

static uint16_t
port_of(const struct sockaddr_storage *ss)
{
	if (ss->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)ss)->sin_port);
	return ss->ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)ss)->sin6_port) : 0;
}

/* One of ours on that port would look like a stranger to the probe. */
static bool
port_is_ours(const struct gw_lplan *p, uint16_t port)
{
	struct listen *l;

	TAILQ_FOREACH(l, &p->share.gw->listeners->list, link)
	if (!l->is_unix && port_of(&l->addr) == port)
		return true;
	for (size_t i = 0; i < p->n; i++)
		if (!p->items[i].l->is_unix && port_of(&p->items[i].l->addr) == port)
			return true;
	return false;
}

static int
bind_listen(struct gw_lplan *p, struct listen *l, const struct conf_at *at, struct td_err *err)
{
	const struct conf *c = p->share.conf;
	struct td_str group = conf_str(c, at, "file_group");
	int backlog = (int)conf_int(c, at, "listen_backlog"), rc = 0;

	if (l->is_unix)
		return bind_unix(l, backlog, (mode_t)conf_int(c, at, "file_mode"),
				 group.len > 0 ? group.p : NULL, err);
	if (port_of(&l->addr) != 0 && !port_is_ours(p, port_of(&l->addr)))
		rc = probe(l, err);
	return rc < 0 ? rc : bind_tcp(l, backlog, err);
}

static int
plan_listen(struct gw_lplan *p, const struct conf_scope *s, struct td_err *err)
{
	struct conf_at at = { .scope = s };
	struct gw *gw = p->share.gw;
	struct plan_item it = { 0 };
	struct sockaddr_storage ss;
	socklen_t len;
	int rc;

	if (!conf_bool(p->share.conf, &at, "enable"))
		return 0;
	rc = conf_parse_listen(conf_scope_name(s), &ss, &len, err);
	if (rc == 0)
		rc = gw_lconf_new(&p->share, s, ss.ss_family == AF_UNIX, &it.cf, err);
	if (rc < 0)
		return rc;
	if (!p->share.check_only) {
		it.l = find_running(gw, conf_scope_name(s).p);
		it.is_new = it.l == NULL;
		if (it.is_new)
			it.l = listen_new(gw, conf_scope_name(s), &ss, len);
		if (it.is_new && bind_listen(p, it.l, &at, err) < 0) {
			unlink_own(it.l);
			listen_unref(it.l);
			gw_conn_conf_unref(&it.cf);
			return td_wrap(err, "%s", conf_scope_where(s));
		}
	}
	p->items = td_realloc(p->items, (p->n + 1) * sizeof(*p->items));
	p->items[p->n++] = it;
	return 0;
}

int
gw_listeners_plan(struct gw *gw, struct conf *c, const struct gw_domains *d, bool check_only,
		  struct gw_lplan **out, struct td_err *err)
{
	static const char *const kinds[] = { "xmpp_listener", "http_listener" };
	struct gw_lplan *p = td_zalloc(sizeof(*p));
	const struct conf_scope *ls = NULL, *s;
	int rc = gw_lshare_init(&p->share, gw, c, d, check_only, err);

	if (rc < 0) {
		free(p);
		return rc;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !gw->skip_xmpp; i++)
		while (rc == 0 && (ls = conf_next(c, NULL, kinds[i], ls)) != NULL)
			for (s = NULL; rc == 0 && (s = conf_next(c, ls, "listen", s)) != NULL;)
				rc = plan_listen(p, s, err);
	if (rc < 0)
		gw_listeners_discard(gw, p);
	else
		*out = p;
	return rc;
}

int
gw_listeners_open_creds(struct gw *gw, struct gw_lplan *p, struct td_err *err)
{
	(void)gw;
	for (size_t i = 0; i < p->n; i++) {
		int rc = gw_lconf_creds(&p->share, p->items[i].cf, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void
free_plan(struct gw_lplan *p)
{
	for (size_t i = 0; i < p->n; i++)
		gw_conn_conf_unref(&p->items[i].cf);
	free(p->items);
	gw_lshare_fini(&p->share);
	free(p);
}

void
gw_listeners_discard(struct gw *gw, struct gw_lplan *p)
{
	(void)gw;
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++) {
		if (p->items[i].l == NULL || !p->items[i].is_new)
			continue;
		unlink_own(p->items[i].l);
		listen_unref(p->items[i].l);
	}
	free_plan(p);
}

static void
remove_listen(struct gw *gw, struct listen *l)
{
	td_log_info(&gw->log, "listen-closed", "listen=%s", td_escz(l->name));
	pthread_mutex_lock(&gw->listeners->lock);
	TAILQ_REMOVE(&gw->listeners->list, l, link);
	pthread_mutex_unlock(&gw->listeners->lock);
	unlink_own(l);
	post_change(gw, l, NULL, false);
	listen_unref(l);
}

void
gw_listeners_commit(struct gw *gw, struct gw_lplan *p)
{
	struct gw_listeners *ls = gw->listeners;
	struct listen *l, *next;

	TAILQ_FOREACH(l, &ls->list, link)
	l->wanted = false;
	for (size_t i = 0; i < p->n; i++) {
		l = p->items[i].l;
		l->wanted = true;
		if (p->items[i].is_new) {
			pthread_mutex_lock(&ls->lock);
			TAILQ_INSERT_TAIL(&ls->list, l, link);
			pthread_mutex_unlock(&ls->lock);
			td_log_info(&gw->log, "listening", "listen=%s port=%u", td_escz(l->name),
				    port_of(&l->addr));
		}
		post_change(gw, l, p->items[i].cf, p->items[i].is_new);
	}
	for (l = TAILQ_FIRST(&ls->list); l != NULL; l = next) {
		next = TAILQ_NEXT(l, link);
		if (!l->wanted)
			remove_listen(gw, l);
	}
	free_plan(p);
}

void
gw_listeners_stop(struct gw *gw)
{
	struct listen *l;

	while (gw->listeners != NULL && (l = TAILQ_FIRST(&gw->listeners->list)) != NULL)
		remove_listen(gw, l);
}

unsigned
gw_listeners_port(struct gw *gw, const char *listen_name)
{
	const struct listen *l = find_running(gw, listen_name);

	return l != NULL ? port_of(&l->addr) : 0;
}

/* ---- is it us? ---- */

/* IPv4-mapped addresses are IPv4. */
static const void *
address_of(const struct sockaddr *sa, int *family, unsigned *port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;

	*family = sa->sa_family;
	if (*family == AF_INET) {
		*port = ntohs(v4->sin_port);
		return &v4->sin_addr;
	}
	if (*family != AF_INET6)
		return NULL;
	*port = ntohs(v6->sin6_port);
	if (!IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return &v6->sin6_addr;
	*family = AF_INET;
	return v6->sin6_addr.s6_addr + 12;
}

static bool
same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	int fa, fb;
	unsigned port;
	const void *pa = address_of(a, &fa, &port), *pb = address_of(b, &fb, &port);

	return pa != NULL && pb != NULL && fa == fb && memcmp(pa, pb, fa == AF_INET ? 4 : 16) == 0;
}

/* An address of one of this host's interfaces, or of all of 127/8. */
static bool
is_local(const struct sockaddr *sa)
{
	struct ifaddrs *all, *i;
	int family;
	unsigned port;
	const unsigned char *p = address_of(sa, &family, &port);
	bool found = p != NULL && family == AF_INET && p[0] == 127;

	if (found || getifaddrs(&all) < 0)
		return found;
	for (i = all; i != NULL && !found; i = i->ifa_next)
		found = i->ifa_addr != NULL && same_address(i->ifa_addr, sa);
	freeifaddrs(all);
	return found;
}

bool
gw_listeners_own(struct gw *gw, const struct sockaddr *sa)
{
	static const unsigned char any[16];
	struct gw_listeners *ls = gw->listeners;
	int family, lfamily;
	unsigned port = 0, lport = 0;
	bool found = false, wild = false;
	struct listen *l;

	if (ls == NULL || address_of(sa, &family, &port) == NULL)
		return false;
	pthread_mutex_lock(&ls->lock);
	TAILQ_FOREACH(l, &ls->list, link)
	{
		const void *p = address_of((const struct sockaddr *)&l->addr, &lfamily, &lport);

		if (p == NULL || lport != port || lfamily != family)
			continue;
		if (memcmp(p, any, family == AF_INET ? 4 : 16) == 0)
			wild = true;
		else
			found = found || same_address((const struct sockaddr *)&l->addr, sa);
	}
	pthread_mutex_unlock(&ls->lock);
	return found || (wild && is_local(sa));
}
