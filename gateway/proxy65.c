/* proxy65 - SOCKS5 bytestreams.
 *
 *   accept --greeting--> request (the name: 40 hex digits) --> waits --activate--> joined with its other half
 *
 * A name has two halves at most.  Until both are there and the initiator has activated them (by an iq, checked in
 * xep_0065_bytestreams.c), what they send is thrown away.  Then bytes of the one go to the other; when it does not
 * take them, the one is not read.  A pair ends with an end on both sides, an error, silence, or at its byte cap. */
#include "gateway/proxy65.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/event.h>
#include "gateway/base/err.h"
#include "gateway/socks.h"

#define NAME_LEN GW_SOCKS_NAME
#define HELLO_MS 30000u
#define RATE_MS 100u /* how long a pair rests that is too fast */

struct pair;
struct door;

enum leg_state {
	LG_HELLO = 0,
	LG_REQUEST,
	LG_WAIT,
	LG_JOINED,
};
struct leg { /* one connection */
	LIST_ENTRY(leg) link;
	struct door *door;
	struct pair *pair; /* from the request on */
	int fd;
	struct event *rd, *wr;
	struct td_timer timer; /* until the request is there */
	enum leg_state state;
	bool eof, shut; /* it sends no more; we told it so of the other */
	unsigned char head[GW_SOCKS_MAX];
	size_t n_head;
	struct td_buf out; /* it does not take yet */
};
struct pair {
	struct door *door;
	struct leg *leg[2];
	bool joined;
	uint64_t bytes, allowance_at; /* joined: moved so far; when <tokens> was right */
	int64_t tokens;
	uint64_t last;         /* something moved */
	struct td_timer timer; /* idle; at the rate: rest */
	struct td_timer rest;
	char name[NAME_LEN + 1];
};
struct door { /* one listening socket */
	LIST_ENTRY(door) link;
	struct gw_worker *w;
	int fd;
	char *where; /* address:port */
	struct event *ev;
	struct td_timer pause;
	LIST_HEAD(, leg) legs;
	unsigned n_legs, max_legs;
	struct td_map pairs; /* name -> struct pair */
	uint64_t max_bytes;
	uint64_t idle_ms;
	unsigned rate, rate_s; /* bytes each pair may move in rate_s seconds; 0 = any */
	bool wanted;           /* by the configuration being applied */
};
struct gw_proxy65 {
	LIST_HEAD(, door) doors;
};

static void leg_close(struct leg *l);
static void on_leg_read(evutil_socket_t fd, short what, void *arg);
static void on_leg_write(evutil_socket_t fd, short what, void *arg);

unsigned
gw_proxy65_worker(const struct gw *gw)
{
	return gw->n_workers - 1;
}

/* ---- pairs ---- */

static void
pair_free(struct pair *p)
{
	td_timer_clear(p->door->w->loop, &p->timer);
	td_timer_clear(p->door->w->loop, &p->rest);
	(void)td_map_del(&p->door->pairs, td_str(p->name, NAME_LEN));
	free(p);
}

/* Both halves, and the pair. */
static void
pair_close(struct pair *p, const char *why)
{
	struct leg *a = p->leg[0], *b = p->leg[1];

	td_log_debug(&p->door->w->gw->log, "bytestream-end", "bytes=%llu why=%s",
		     (unsigned long long)p->bytes, why);
	p->leg[0] = p->leg[1] = NULL;
	if (a != NULL) {
		a->pair = NULL;
		leg_close(a);
	}
	if (b != NULL) {
		b->pair = NULL;
		leg_close(b);
	}
	pair_free(p);
}

static void
on_idle(struct td_timer *t)
{
	struct pair *p = (struct pair *)((char *)t - offsetof(struct pair, timer));
	uint64_t quiet = td_loop_now(p->door->w->loop) - p->last;

	if (quiet >= p->door->idle_ms)
		pair_close(p, "idle");
	else
		td_timer_set(p->door->w->loop, t, p->door->idle_ms - quiet);
}

static struct leg *
other(const struct leg *l)
{
	return l->pair->leg[l->pair->leg[0] == l];
}

/* Read on where the other side takes what comes. */
static void
pair_read(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		if (!p->leg[i]->eof && p->leg[!i]->out.len == 0)
			event_add(p->leg[i]->rd, NULL);
}

static void
on_rested(struct td_timer *t)
{
	pair_read((struct pair *)((char *)t - offsetof(struct pair, rest)));
}

/* Account for <n> bytes; true: both sides rest for a while. */
static bool
too_fast(struct pair *p, size_t n)
{
	const struct door *d = p->door;
	uint64_t now = td_loop_now(d->w->loop), passed = now - p->allowance_at;
	int64_t full = (int64_t)d->rate;

	if (d->rate == 0)
		return false;
	p->allowance_at = now;
	p->tokens += (int64_t)(passed * d->rate / (d->rate_s * 1000u));
	if (p->tokens > full)
		p->tokens = full;
	p->tokens -= (int64_t)n;
	if (p->tokens > 0)
		return false;
	event_del(p->leg[0]->rd);
	event_del(p->leg[1]->rd);
	td_timer_set(d->w->loop, &p->rest,
		     RATE_MS + (uint64_t)(-p->tokens) * d->rate_s * 1000u / d->rate);
	return true;
}

/* ---- connections ---- */

static void
leg_close(struct leg *l)
{
	struct pair *p = l->pair;

	if (p != NULL && p->joined) {
		pair_close(p, "reset");
		return;
	}
	if (p != NULL) {
		p->leg[p->leg[0] == l ? 0 : 1] = NULL;
		if (p->leg[0] == NULL)
			p->leg[0] = p->leg[1], p->leg[1] = NULL;
		if (p->leg[0] == NULL)
			pair_free(p);
	}
	td_timer_clear(l->door->w->loop, &l->timer);
	event_free(l->rd);
	if (l->wr != NULL)
		event_free(l->wr);
	close(l->fd);
	td_buf_fini(&l->out);
	LIST_REMOVE(l, link);
	l->door->n_legs--;
	free(l);
}

static void
on_hello_over(struct td_timer *t)
{
	leg_close((struct leg *)((char *)t - offsetof(struct leg, timer)));
}

/* A few bytes of SOCKS; a socket that does not take them at once is of no use. */
static bool
say(struct leg *l, const void *p, size_t n)
{
	if (send(l->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n)
		return true;
	leg_close(l);
	return false;
}

/* ---- SOCKS5 (socks.h) ---- */

/* Send the answer to what was read; after a failure (n < 0) that was all.  -1: <l> is gone. */
static int
reply_to(struct leg *l, int n, const struct gw_socks_reply *r)
{
	if (r->n > 0 && !say(l, r->bytes, r->n))
		return -1;
	if (n < 0)
		leg_close(l);
	return n < 0 ? -1 : n;
}

/* How many bytes it was; 0 = not all are there; -1 = closed. */
static int
hello(struct leg *l)
{
	struct gw_socks_reply r;
	int n = gw_socks_greeting(td_str((const char *)l->head, l->n_head), &r);

	if (n > 0)
		l->state = LG_REQUEST;
	return reply_to(l, n, &r);
}

/* The pair of that name with room for one more; NULL: it is complete. */
static struct pair *
pair_for(struct door *d, const char *name)
{
	struct pair *p = td_map_find(&d->pairs, td_str(name, NAME_LEN));

	if (p != NULL)
		return p->leg[1] == NULL ? p : NULL;
	p = td_zalloc(sizeof(*p));
	p->door = d;
	memcpy(p->name, name, NAME_LEN);
	p->last = td_loop_now(d->w->loop);
	p->timer.fire = on_idle;
	p->rest.fire = on_rested;
	(void)td_map_set(&d->pairs, td_str(p->name, NAME_LEN), p);
	td_timer_set(d->w->loop, &p->timer, d->idle_ms);
	return p;
}

/* As hello. */
static int
request(struct leg *l)
{
	struct gw_socks_reply r;
	char name[NAME_LEN + 1];
	int n = gw_socks_request(td_str((const char *)l->head, l->n_head), name, &r);
	struct pair *p = n > 0 ? pair_for(l->door, name) : NULL;

	if (n > 0 && p == NULL) {
		gw_socks_refuse(GW_SOCKS_REFUSED, &r);
		n = TD_E_LIMIT;
	}
	if (n > 0) {
		p->leg[p->leg[0] != NULL] = l;
		l->pair = p;
		l->state = LG_WAIT;
		td_timer_clear(l->door->w->loop, &l->timer);
	}
	return reply_to(l, n, &r);
}

static void
read_head(struct leg *l)
{
	ssize_t n = recv(l->fd, l->head + l->n_head, sizeof(l->head) - l->n_head, 0);
	int used = 1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leg_close(l);
		return;
	}
	l->n_head += (size_t)n;
	while (used > 0 && l->n_head > 0 && l->state < LG_WAIT) {
		used = l->state == LG_HELLO ? hello(l) : request(l);
		if (used < 0)
			return; /* <l> is gone */
		l->n_head -= (size_t)used;
		memmove(l->head, l->head + used, l->n_head);
	}
	if (used == 0 && l->n_head == sizeof(l->head))
		leg_close(l);
}

/* ---- joined ---- */

/* All of <l>'s peer has come through: say so; both have ended: that is it.  False: the pair is gone. */
static bool
pass_end(struct leg *l)
{
	struct leg *o = other(l);

	if (o->eof && l->out.len == 0 && !l->shut) {
		l->shut = true;
		(void)shutdown(l->fd, SHUT_WR);
	}
	if (l->shut && o->shut) {
		pair_close(l->pair, "eof");
		return false;
	}
	return true;
}

static void
pass(struct leg *l)
{
	struct gw_worker *w = l->door->w;
	struct leg *o = other(l);
	struct pair *p = l->pair;
	ssize_t n = recv(l->fd, w->readbuf, w->readbuf_len, 0), sent;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		pair_close(p, "reset");
		return;
	}
	p->last = td_loop_now(w->loop);
	if (n == 0) {
		l->eof = true;
		event_del(l->rd);
		(void)pass_end(o);
		return;
	}
	p->bytes += (uint64_t)n;
	if (p->door->max_bytes > 0 && p->bytes > p->door->max_bytes) {
		pair_close(p, "too-many-bytes");
		return;
	}
	sent = send(o->fd, w->readbuf, (size_t)n, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		pair_close(p, "reset");
		return;
	}
	sent = sent > 0 ? sent : 0;
	if (sent < n) {
		td_buf_add(&o->out, w->readbuf + sent, (size_t)(n - sent));
		event_del(l->rd);
		event_add(o->wr, NULL);
	}
	(void)too_fast(p, (size_t)n);
}

static void
on_leg_read(evutil_socket_t fd, short what, void *arg)
{
	struct leg *l = arg;
	char trash[4096];
	ssize_t n;

	(void)what;
	switch (l->state) {
	case LG_HELLO:
	case LG_REQUEST: read_head(l); break;
	case LG_WAIT: /* XEP-0065 10.1, rule 4: not yet */
		n = recv(fd, trash, sizeof(trash), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			leg_close(l);
		break;
	case LG_JOINED: pass(l); break;
	}
}

static void
on_leg_write(evutil_socket_t fd, short what, void *arg)
{
	struct leg *l = arg;
	ssize_t n = send(fd, l->out.p, l->out.len, MSG_NOSIGNAL);

	(void)what;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		pair_close(l->pair, "reset");
		return;
	}
	if (n > 0) {
		td_buf_drain(&l->out, (size_t)n);
		l->pair->last = td_loop_now(l->door->w->loop);
	}
	if (l->out.len > 0) {
		event_add(l->wr, NULL);
		return;
	}
	if (pass_end(l) && !other(l)->eof && l->pair->rest.due == 0)
		event_add(other(l)->rd, NULL);
}

/* ---- listening ---- */

static void
on_pause_over(struct td_timer *t)
{
	struct door *d = (struct door *)((char *)t - offsetof(struct door, pause));

	if (d->ev != NULL)
		event_add(d->ev, NULL);
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct door *d = arg;
	struct event_base *base = td_loop_base(d->w->loop);
	struct leg *l;
	int s;

	(void)what;
	for (int i = 0; i < 16; i++) {
		s = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (s < 0) {
			if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
				return;
			event_del(d->ev); /* no descriptors: rest a little */
			td_timer_set(d->w->loop, &d->pause, 1000);
			return;
		}
		if (d->n_legs >= d->max_legs) {
			close(s);
			continue;
		}
		l = td_zalloc(sizeof(*l));
		l->door = d;
		l->fd = s;
		l->rd = event_new(base, s, EV_READ | EV_PERSIST, on_leg_read, l);
		l->wr = event_new(base, s, EV_WRITE, on_leg_write, l);
		if (l->rd == NULL || l->wr == NULL)
			abort();
		l->timer.fire = on_hello_over;
		LIST_INSERT_HEAD(&d->legs, l, link);
		d->n_legs++;
		td_timer_set(d->w->loop, &l->timer, HELLO_MS);
		event_add(l->rd, NULL);
	}
}

/* No new connections; those there are go on. */
static void
door_shut(struct door *d)
{
	if (d->ev != NULL)
		event_free(d->ev);
	if (d->fd >= 0)
		close(d->fd);
	td_timer_clear(d->w->loop, &d->pause);
	d->ev = NULL;
	d->fd = -1;
}

static void
door_free(struct door *d)
{
	struct leg *l;

	door_shut(d);
	while ((l = LIST_FIRST(&d->legs)) != NULL)
		leg_close(l);
	td_map_fini(&d->pairs);
	LIST_REMOVE(d, link);
	free(d->where);
	free(d);
}

static bool
door_open(struct door *d)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int one = 1;

	if (conf_parse_listen(td_cstr(d->where), &ss, &len, NULL) < 0 || ss.ss_family == AF_UNIX) {
		td_log_error(&d->w->gw->log, "proxy-not-listening",
			     "listen=%s error=not-an-address", td_escz(d->where));
		return false;
	}
	d->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd >= 0)
		(void)setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (d->fd >= 0 && ss.ss_family == AF_INET6)
		(void)setsockopt(d->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (d->fd < 0 || bind(d->fd, (struct sockaddr *)&ss, len) < 0 || listen(d->fd, 128) < 0) {
		td_log_error(&d->w->gw->log, "proxy-not-listening", "listen=%s error=%s",
			     td_escz(d->where), td_escz(strerror(errno)));
		return false;
	}
	d->pause.fire = on_pause_over;
	d->ev = event_new(td_loop_base(d->w->loop), d->fd, EV_READ | EV_PERSIST, on_accept, d);
	if (d->ev == NULL)
		abort();
	event_add(d->ev, NULL);
	td_log_info(&d->w->gw->log, "proxy-listening", "listen=%s", td_escz(d->where));
	return true;
}

/* "address:port" of a proxy domain. */
static char *
where_of(const struct conf *c, struct td_str domain)
{
	const struct conf_at at = { .protocol = "xmpp", .domain = domain };
	struct td_str addr = conf_str(c, &at, "proxy_listen");
	struct td_buf b = { 0 };
	char *out;

	td_buf_addf(&b, td_str_chr(addr, ':') >= 0 && addr.p[0] != '[' ? "[%.*s]:%d" : "%.*s:%d",
		    TD_STR_ARG(addr), (int)conf_int(c, &at, "proxy_port"));
	out = td_strdup(td_buf_cstr(&b));
	td_buf_fini(&b);
	return out;
}

static struct door *
find_door(struct gw_worker *w, const char *where)
{
	struct door *d;

	if (w->proxy65 != NULL)
		LIST_FOREACH(d, &w->proxy65->doors, link)
	if (d->fd >= 0 && strcmp(d->where, where) == 0)
		return d;
	return NULL;
}

static void
want_door(struct gw_worker *w, struct td_str domain)
{
	const struct conf *c = w->env->conf;
	const struct conf_at at = { .protocol = "xmpp", .domain = domain };
	char *where = where_of(c, domain);
	struct door *d = find_door(w, where);

	if (d == NULL) {
		d = td_zalloc(sizeof(*d));
		d->w = w;
		d->fd = -1;
		d->where = where;
		LIST_INIT(&d->legs);
		LIST_INSERT_HEAD(&w->proxy65->doors, d, link);
		if (!door_open(d)) {
			door_free(d);
			return;
		}
	} else {
		free(where);
	}
	d->wanted = true;
	d->max_legs = 2u * (unsigned)conf_int(c, &at, "proxy_streams");
	d->max_bytes = (uint64_t)conf_int(c, &at, "proxy_max_bytes");
	d->idle_ms = (uint64_t)conf_int(c, &at, "proxy_idle_time") * 1000u;
	if (!conf_throttle(c, &at, "proxy_rate", &d->rate, &d->rate_s))
		d->rate = 0;
}

void
gw_proxy65_apply(struct gw_worker *w)
{
	struct door *d, *next;
	struct gw_domain dom;

	if (w->index != gw_proxy65_worker(w->gw))
		return;
	if (w->proxy65 == NULL) {
		w->proxy65 = td_zalloc(sizeof(*w->proxy65));
		LIST_INIT(&w->proxy65->doors);
	}
	LIST_FOREACH(d, &w->proxy65->doors, link)
	d->wanted = false;
	for (size_t i = 0; gw_domains_service(w->domains, i, &dom); i++)
		if (strcmp(dom.service, "proxy65") == 0)
			want_door(w, dom.name);
	for (d = LIST_FIRST(&w->proxy65->doors); d != NULL; d = next) {
		next = LIST_NEXT(d, link);
		if (d->wanted)
			continue;
		door_shut(d);
		if (LIST_EMPTY(&d->legs))
			door_free(d);
	}
}

void
gw_proxy65_fini(struct gw_worker *w)
{
	struct door *d;

	if (w->proxy65 == NULL)
		return;
	while ((d = LIST_FIRST(&w->proxy65->doors)) != NULL)
		door_free(d);
	free(w->proxy65);
	w->proxy65 = NULL;
}

/* ---- for the stanzas ---- */

static struct door *
door_of(struct xmpp_env *env, struct td_str domain)
{
	char *where = where_of(env->conf, domain);
	struct door *d = find_door(gw_worker_of(env), where);

	free(where);
	return d;
}

bool
gw_proxy65_address(struct xmpp_env *env, struct td_str domain, struct td_buf *host, unsigned *port)
{
	const struct conf_at at = { .protocol = "xmpp", .domain = domain };
	struct td_str name = conf_str(env->conf, &at, "proxy_host");

	if (door_of(env, domain) == NULL)
		return false;
	td_buf_adds(host, name.len > 0 ? name : td_cstr(gw_worker_of(env)->gw->hostname));
	*port = (unsigned)conf_int(env->conf, &at, "proxy_port");
	return true;
}

int
gw_proxy65_activate(struct xmpp_env *env, struct td_str domain, const char *name)
{
	struct door *d = door_of(env, domain);
	struct pair *p = d != NULL ? td_map_find(&d->pairs, td_cstr(name)) : NULL;

	if (p == NULL || p->joined)
		return 0;
	if (p->leg[1] == NULL)
		return 1;
	p->joined = true;
	p->last = p->allowance_at = td_loop_now(d->w->loop);
	p->tokens = (int64_t)d->rate;
	p->leg[0]->state = p->leg[1]->state = LG_JOINED;
	pair_read(p);
	return 2;
}
