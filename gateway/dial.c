/* dial - from a domain's name to a connected socket.
 *
 *   routes --(SRV of both kinds, mixed)--> hosts --(A, AAAA, TLSA)--> addresses --(happy eyeballs)--> socket
 *
 * One host is worked on at a time: its addresses race, and the first that connects is handed over once the
 * answer for TLSA is there, too.  gw_dial_next goes on with what is left of that host, then with the next.
 * Everything is kept until gw_dial_free, for gw_dial_report. */
#include "gateway/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <event2/event.h>
#include <idn2.h>
#include "gateway/acl.h"
#include "gateway/base/arena.h"
#include "gateway/gateway.h"
#include "gateway/listener.h"
#include "gateway/resolver.h"

#define MAX_ROUTES 16u
#define MAX_HOSTS 16u     /* tried of all SRV records */
#define MAX_ADDRESSES 8u  /* of one family */
#define RESOLUTION_MS 50u /* RFC 8305 section 3: how long IPv4 waits for AAAA */
#define MEMORY 256u

enum {
	V6 = 0,
	V4,
	FAMILIES
};

struct lookup {
	struct gw_dial *d;
	struct host *h; /* NULL: SRV */
	struct gw_dns *q;
	const char *name;
	int type;
	bool done;
	struct gw_dns_answer a; /* in the dial's arena */
	uint64_t from, ms;
};

enum address_state {
	AD_NEW = 0,
	AD_TRYING,
	AD_FAILED,
	AD_REFUSED, /* by us: own, prohibited */
	AD_USED,    /* handed over */
};

struct address {
	struct host *h;
	struct sockaddr_storage sa;
	socklen_t len;
	int family; /* V6, V4 */
	enum address_state state;
	bool failed_before;
	const char *why;
	int fd;
	struct event *ev;
	uint64_t from, ms;
};

struct host {
	struct gw_dial *d;
	const char *name;
	uint16_t port, priority, weight;
	bool direct_tls, configured, literal;
	bool name_secure; /* the way to <name> */
	bool started, over, postponed;
	const char *why;
	struct lookup by_family[FAMILIES], tlsa_lookup;
	bool tlsa_asked;
	struct address *addr; /* FAMILIES * MAX_ADDRESSES, once started */
	unsigned n_addr;
	int last_family;
	struct gw_tlsa *tlsa;
	size_t n_tlsa;
};

enum dial_state {
	DS_WORKING = 0,
	DS_HANDED,
	DS_OVER,
};

struct gw_dial {
	LIST_ENTRY(gw_dial) link;
	struct gw_worker *w;
	struct td_arena *a;
	const char *domain; /* ASCII */
	struct gw_dial_conf dc;
	gw_dial_fn *fn;
	void *arg;
	enum dial_state state;
	uint64_t started;
	const char *why; /* the last reason */

	struct gw_route routes[MAX_ROUTES];
	size_t n_routes, next_route;
	struct lookup srv[2]; /* xmpps, xmpp */
	unsigned srv_left;

	struct host *hosts[MAX_HOSTS + MAX_ROUTES];
	size_t n_hosts, next_host;
	struct host *host; /* being worked on */
	struct address *winner;
	struct event *tick;    /* next attempt */
	struct td_timer timer; /* connect_timeout of the host */
	struct td_task task;   /* go on */
	bool tick_set;
	bool resume; /* what was handed over was no good */
	struct gw_target target;
};

static void race(struct gw_dial *d);
static void begin_race(struct host *h);

/* ---- addresses that failed ---- */

struct failure {
	struct sockaddr_storage sa;
	uint64_t until;
};
struct gw_dials { /* of a worker */
	LIST_HEAD(, gw_dial) open;
	struct failure f[MEMORY]; /* a ring: the oldest makes room */
	unsigned next;
};

static bool
same_sockaddr(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a6->sin6_port == b6->sin6_port &&
	       memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static struct failure *
remembered(struct gw_worker *w, const struct sockaddr_storage *sa)
{
	struct gw_dials *m = w->dials;

	for (unsigned i = 0; i < MEMORY; i++)
		if (m->f[i].until != 0 && same_sockaddr(&m->f[i].sa, sa))
			return &m->f[i];
	return NULL;
}

static void
remember_failure(struct gw_dial *d, const struct address *a)
{
	struct gw_worker *w = d->w;
	struct failure *f = remembered(w, &a->sa);

	if (f == NULL)
		f = &w->dials->f[w->dials->next++ % MEMORY];
	f->sa = a->sa;
	f->until = td_mono_ms() + d->dc.failure_retry_ms;
}

/* ---- configuration ---- */

void
gw_dial_conf_load(struct gw_dial_conf *dc, const struct conf *c, struct td_str domain)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };
	int64_t retry = conf_int(c, &at, "host_failure_retry");

	*dc = (struct gw_dial_conf){
		.gateway = conf_str(c, &at, "gateway"),
		.bind_address = conf_str(c, NULL, "bind_address"),
		.connect_timeout_ms = (unsigned)conf_int(c, &at, "connect_timeout") * 1000,
		.stagger_ms = (unsigned)conf_int(c, &at, "happy_eyeballs_delay_ms"),
		.failure_retry_ms = retry > 86400 ? 86400000u : (unsigned)retry * 1000,
		.use_ipv6 = conf_bool(c, NULL, "use_ipv6"),
		.dane = true,
	};
	dc->routes = conf_list(c, &at, "routes", &dc->n_routes);
	dc->prohibited = conf_list(c, NULL, "prohibited_hosts", &dc->n_prohibited);
}

static const struct td_str *
copy_list(struct td_arena *a, const struct td_str *from, size_t n)
{
	struct td_str *to = td_arena_alloc(a, (n + 1) * sizeof(*to));

	for (size_t i = 0; i < n; i++)
		to[i] = td_arena_str(a, from[i]);
	return to;
}

static void
copy_conf(struct gw_dial *d, const struct gw_dial_conf *dc)
{
	d->dc = *dc;
	d->dc.gateway = td_arena_str(d->a, dc->gateway);
	d->dc.routes = copy_list(d->a, dc->routes, dc->n_routes);
	d->dc.prohibited = copy_list(d->a, dc->prohibited, dc->n_prohibited);
	d->dc.bind_address = td_arena_str(d->a, dc->bind_address);
}

/* ---- the end of steps ---- */

static void
go_on(struct gw_dial *d)
{
	td_loop_defer(d->w->loop, &d->task);
}

static void
stop_tick(struct gw_dial *d)
{
	if (d->tick_set)
		event_del(d->tick);
	d->tick_set = false;
}

static void
set_tick(struct gw_dial *d, unsigned ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };

	event_add(d->tick, &tv);
	d->tick_set = true;
}

/* No longer connecting: the socket is closed unless <keep>. */
static void
address_rest(struct address *a, bool keep)
{
	if (a->ev != NULL)
		event_free(a->ev);
	a->ev = NULL;
	if (!keep && a->fd >= 0) {
		close(a->fd);
		a->fd = -1;
	}
}

/* Stop what is under way; those addresses may be tried again. */
static void
stop_attempts(struct host *h)
{
	for (unsigned i = 0; i < h->n_addr; i++) {
		struct address *a = &h->addr[i];

		if (a->state != AD_TRYING || a == h->d->winner)
			continue;
		address_rest(a, false);
		a->state = AD_NEW;
	}
	stop_tick(h->d);
}

static void
lookup_cancel(struct lookup *l)
{
	gw_dns_cancel(&l->q);
}

/* Nothing more is to be had of this host. */
static void
host_end(struct host *h, const char *why)
{
	struct gw_dial *d = h->d;

	h->over = true;
	h->why = why;
	d->why = td_arena_printf(d->a, "%s:%u: %s", h->name, h->port, why);
	td_timer_clear(d->w->loop, &d->timer);
	if (d->winner != NULL) {
		address_rest(d->winner, false);
		d->winner->state = AD_FAILED;
		d->winner->why = why;
		d->winner = NULL;
	}
	stop_attempts(h);
	for (int f = 0; f < FAMILIES; f++)
		lookup_cancel(&h->by_family[f]);
	lookup_cancel(&h->tlsa_lookup);
	if (d->host == h)
		d->host = NULL;
	go_on(d);
}

/* ---- looking up ---- */

/* Keep what the report and the target need. */
static void
keep_answer(struct lookup *l, const struct gw_dns_answer *a)
{
	struct gw_dial *d = l->d;

	l->q = NULL;
	l->done = true;
	l->ms = td_mono_ms() - l->from;
	l->a = *a;
	l->a.why = a->why != NULL ? td_arena_printf(d->a, "%s", a->why) : NULL;
	l->a.rdata = copy_list(d->a, a->rdata, a->n);
}

static void
look_up(struct lookup *l, struct gw_dial *d, struct host *h, const char *name, int type,
	void (*done)(void *, const struct gw_dns_answer *))
{
	l->d = d;
	l->h = h;
	l->name = name;
	l->type = type;
	l->from = td_mono_ms();
	l->q = gw_dns_ask(d->w, name, type, done, l);
}

/* ---- connecting ---- */

static void
attempt_failed(struct address *a, int e)
{
	address_rest(a, false);
	a->state = AD_FAILED;
	a->ms = td_mono_ms() - a->from;
	a->why = td_arena_printf(a->h->d->a, "%s", strerror(e));
	remember_failure(a->h->d, a);
}

/* Connecting to a port of the ephemeral range of this host may find itself (simultaneous open). */
static bool
is_itself(int fd)
{
	struct sockaddr_storage a = { 0 }, b = { 0 };
	socklen_t la = sizeof(a), lb = sizeof(b);

	return getsockname(fd, (struct sockaddr *)&a, &la) == 0 &&
	       getpeername(fd, (struct sockaddr *)&b, &lb) == 0 && same_sockaddr(&a, &b);
}

/* All that is known of the winner's host is known: hand it over. */
static bool
may_hand_over(const struct host *h)
{
	if (!h->d->dc.dane || h->literal)
		return true;
	if (!h->name_secure)
		return true;
	for (int f = 0; f < FAMILIES; f++)
		if (h->by_family[f].name != NULL && !h->by_family[f].done)
			return false;
	return !h->tlsa_asked || h->tlsa_lookup.done;
}

static void
hand_over(struct gw_dial *d)
{
	struct address *a = d->winner;
	struct host *h = a->h;
	int fd = a->fd;

	d->winner = NULL;
	a->fd = -1;
	a->state = AD_USED;
	td_timer_clear(d->w->loop, &d->timer);
	d->state = DS_HANDED;
	d->target = (struct gw_target){
		.addr = a->sa,
		.len = a->len,
		.host = td_cstr(h->name),
		.port = h->port,
		.direct_tls = h->direct_tls,
		.configured = h->configured,
		.secure = !h->literal && h->name_secure &&
			  h->by_family[a->family].a.status == GW_DNS_OK &&
			  h->by_family[a->family].a.secure,
		.tlsa = h->tlsa,
		.n_tlsa = h->n_tlsa,
	};
	d->fn(d->arg, fd, &d->target, NULL);
	/* d may be freed from here on */
}

static void
connected(struct address *a)
{
	struct gw_dial *d = a->h->d;
	int one = 1, idle = 60, interval = 20, probes = 3;

	address_rest(a, true);
	a->ms = td_mono_ms() - a->from;
	(void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(a->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(a->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(a->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(a->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	d->winner = a;
	stop_attempts(a->h);
	if (may_hand_over(a->h))
		go_on(d);
}

static void
on_connect(evutil_socket_t fd, short what, void *arg)
{
	struct address *a = arg;
	struct gw_dial *d = a->h->d;
	socklen_t len = sizeof(int);
	int e = 0;

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
		e = errno;
	if (e == 0 && is_itself(fd))
		e = ECONNREFUSED;
	if (e == 0) {
		connected(a);
		return;
	}
	attempt_failed(a, e);
	stop_tick(d);
	race(d);
}

/* The source address; false: errno. */
static bool
bind_source(struct gw_dial *d, int fd, int family)
{
	struct gw_net net;
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	int one = 1;

	if (d->dc.bind_address.len == 0 || td_str_eqc(d->dc.bind_address, "*"))
		return true;
	errno = EAFNOSUPPORT;
	if (!gw_net_parse(d->dc.bind_address, &net) || net.family != family)
		return false;
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	memcpy(&v4.sin_addr, net.addr, sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, net.addr, sizeof(v6.sin6_addr));
	return family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof(v4)) == 0
				 : bind(fd, (struct sockaddr *)&v6, sizeof(v6)) == 0;
}

/* Addresses that name nobody, or everybody. */
static bool
is_nobody(const struct sockaddr_storage *sa)
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;
	uint32_t a = ntohl(v4->sin_addr.s_addr);

	if (sa->ss_family == AF_INET)
		return a >> 24 == 0 || a >> 28 >= 0xe;
	return IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) || IN6_IS_ADDR_MULTICAST(&v6->sin6_addr) ||
	       IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
}

static const char *
refusal(struct gw_dial *d, const struct address *a)
{
	const struct sockaddr *sa = (const struct sockaddr *)&a->sa;

	if (is_nobody(&a->sa))
		return "no address of a host";
	if (gw_dial_prohibited(d->dc.prohibited, d->dc.n_prohibited, TD_STR_NULL, sa))
		return "prohibited (prohibited_hosts)";
	if (gw_listeners_own(d->w->gw, sa))
		return "this is our own address";
	return NULL;
}

static void
attempt(struct address *a)
{
	struct gw_dial *d = a->h->d;
	int e;

	a->from = td_mono_ms();
	a->state = AD_TRYING;
	a->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0 || !bind_source(d, a->fd, a->sa.ss_family) ||
	    (connect(a->fd, (const struct sockaddr *)&a->sa, a->len) < 0 && errno != EINPROGRESS)) {
		e = errno;
		attempt_failed(a, e);
		return;
	}
	a->ev = event_new(td_loop_base(d->w->loop), a->fd, EV_WRITE, on_connect, a);
	event_add(a->ev, NULL);
}

/* The next address: families in turn, those that failed lately after all others. */
static struct address *
pick(struct host *h)
{
	for (int round = 0; round < 4; round++) {
		int family = (round & 1) != 0 ? h->last_family : !h->last_family;

		for (unsigned i = 0; i < h->n_addr; i++) {
			struct address *a = &h->addr[i];

			if (a->state == AD_NEW && a->family == family &&
			    a->failed_before == (round >= 2))
				return a;
		}
	}
	return NULL;
}

static bool
trying(const struct host *h)
{
	for (unsigned i = 0; i < h->n_addr; i++)
		if (h->addr[i].state == AD_TRYING)
			return true;
	return false;
}

static bool
resolving(const struct host *h)
{
	for (int f = 0; f < FAMILIES; f++)
		if (h->by_family[f].q != NULL)
			return true;
	return false;
}

/* Why none of the addresses was any good. */
static const char *
why_none(const struct host *h)
{
	const char *why = NULL;

	for (unsigned i = 0; i < h->n_addr; i++)
		if (h->addr[i].why != NULL)
			why = h->addr[i].why;
	for (int f = 0; why == NULL && f < FAMILIES; f++)
		if (h->by_family[f].done && h->by_family[f].a.status == GW_DNS_FAIL)
			why = h->by_family[f].a.why;
	return why != NULL ? why : "the host has no address";
}

/* Start the next attempt beside those under way; when there is nothing left, the host is done. */
static void
race(struct gw_dial *d)
{
	struct host *h = d->host;
	struct address *a;

	if (h == NULL || d->winner != NULL || d->state != DS_WORKING)
		return;
	while ((a = pick(h)) != NULL) {
		h->last_family = a->family;
		attempt(a);
		if (a->state == AD_TRYING) {
			set_tick(d, d->dc.stagger_ms);
			return;
		}
	}
	if (!trying(h) && !resolving(h))
		host_end(h, why_none(h));
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw_dial *d = arg;

	(void)fd;
	(void)what;
	d->tick_set = false;
	if (d->host != NULL)
		begin_race(d->host);
}

static void
on_host_timeout(struct td_timer *t)
{
	struct gw_dial *d = (struct gw_dial *)((char *)t - offsetof(struct gw_dial, timer));
	struct host *h = d->host;
	char why[64];

	if (h == NULL || d->state != DS_WORKING)
		return;
	for (unsigned i = 0; i < h->n_addr; i++)
		if (h->addr[i].state == AD_TRYING && &h->addr[i] != d->winner)
			attempt_failed(&h->addr[i], ETIMEDOUT);
	(void)snprintf(why, sizeof(why), "not connected within %u s",
		       d->dc.connect_timeout_ms / 1000);
	host_end(h, td_arena_printf(d->a, "%s", why));
}

/* ---- a host ---- */

static void
add_address(struct host *h, int family, const void *bytes)
{
	struct address *a = &h->addr[h->n_addr++];
	struct sockaddr_in *v4 = (void *)&a->sa;
	struct sockaddr_in6 *v6 = (void *)&a->sa;
	const struct failure *f;

	memset(a, 0, sizeof(*a));
	a->h = h;
	a->fd = -1;
	a->family = family;
	if (family == V4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(h->port);
		memcpy(&v4->sin_addr, bytes, 4);
		a->len = sizeof(*v4);
	} else {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(h->port);
		memcpy(&v6->sin6_addr, bytes, 16);
		a->len = sizeof(*v6);
	}
	f = remembered(h->d->w, &a->sa);
	a->failed_before = f != NULL && f->until > td_mono_ms();
	a->why = refusal(h->d, a);
	if (a->why != NULL)
		a->state = AD_REFUSED;
}

static bool
all_failed_before(const struct host *h)
{
	for (unsigned i = 0; i < h->n_addr; i++)
		if (!h->addr[i].failed_before)
			return false;
	return h->n_addr > 0;
}

/* The signed records are the only ones that count (RFC 7673 section 3.3). */
static void
on_tlsa(void *arg, const struct gw_dns_answer *a)
{
	struct lookup *l = arg;
	struct host *h = l->h;

	keep_answer(l, a);
	if (a->status == GW_DNS_FAIL) {
		host_end(h, td_arena_printf(h->d->a, "TLSA records cannot be had: %s", l->a.why));
		return;
	}
	h->tlsa = td_arena_alloc(h->d->a, (l->a.n + 1) * sizeof(*h->tlsa));
	for (size_t i = 0; l->a.secure && i < l->a.n; i++)
		if (gw_dns_tlsa_parse(l->a.rdata[i], &h->tlsa[h->n_tlsa]))
			h->n_tlsa++;
	if (h->d->winner != NULL && may_hand_over(h))
		go_on(h->d);
}

/* Both families are known: is the host worth a TLSA question? */
static void
ask_tlsa(struct host *h)
{
	bool secure = false;

	/* a family whose answer is missing takes nothing away from the other's: else dropping a packet would take DANE away */
	for (int f = 0; f < FAMILIES; f++) {
		const struct gw_dns_answer *a = &h->by_family[f].a;

		if (h->by_family[f].done && a->status == GW_DNS_OK) {
			if (!a->secure)
				return;
			secure = true;
		}
	}
	if (!secure || !h->name_secure || !h->d->dc.dane)
		return;
	h->tlsa_asked = true;
	look_up(&h->tlsa_lookup, h->d, h, td_arena_printf(h->d->a, "_%u._tcp.%s", h->port, h->name),
		GW_DNS_TLSA, on_tlsa);
}

static void
begin_race(struct host *h)
{
	struct gw_dial *d = h->d;

	if (d->state != DS_WORKING)
		return;
	/* all of it failed lately: others first, this once */
	if (!h->postponed && all_failed_before(h) && !resolving(h) && !trying(h) &&
	    (d->next_host < d->n_hosts || d->next_route < d->n_routes)) {
		h->postponed = true;
		d->host = NULL;
		go_on(d);
		return;
	}
	if (d->timer.due == 0)
		td_timer_set(d->w->loop, &d->timer, d->dc.connect_timeout_ms);
	if (!d->tick_set)
		race(d);
}

static void
on_address(void *arg, const struct gw_dns_answer *a)
{
	struct lookup *l = arg;
	struct host *h = l->h;
	struct gw_dial *d = h->d;
	int family = l->type == GW_DNS_AAAA ? V6 : V4;

	keep_answer(l, a);
	for (size_t i = 0; i < a->n && i < MAX_ADDRESSES; i++)
		add_address(h, family, a->rdata[i].p);
	if (!resolving(h)) {
		stop_tick(d);
		ask_tlsa(h);
		if (d->winner == NULL)
			begin_race(h);
		else if (may_hand_over(h))
			go_on(d);
	} else if (family == V6 && a->n > 0) {
		begin_race(h);
	} else if (a->n > 0 && !d->tick_set) {
		set_tick(d, RESOLUTION_MS);
	}
}

/* An address as text; false: it is none. */
static bool
take_literal(struct host *h)
{
	struct gw_net net;

	if (!gw_net_parse(td_cstr(h->name), &net) || strchr(h->name, '/') != NULL)
		return false;
	h->literal = true;
	add_address(h, net.family == AF_INET6 ? V6 : V4, net.addr);
	return true;
}

static void
host_start(struct host *h)
{
	struct gw_dial *d = h->d;

	d->host = h;
	if (h->started) { /* postponed, or more of its addresses are wanted */
		begin_race(h);
		return;
	}
	h->started = true;
	h->addr = td_arena_zalloc(d->a, FAMILIES * MAX_ADDRESSES * sizeof(*h->addr));
	h->last_family = V4;
	if (gw_dial_prohibited(d->dc.prohibited, d->dc.n_prohibited, td_cstr(h->name), NULL)) {
		host_end(h, "prohibited (prohibited_hosts)");
		return;
	}
	if (take_literal(h)) {
		begin_race(h);
		return;
	}
	if (d->dc.use_ipv6)
		look_up(&h->by_family[V6], d, h, h->name, GW_DNS_AAAA, on_address);
	look_up(&h->by_family[V4], d, h, h->name, GW_DNS_A, on_address);
}

static struct host *
add_host(struct gw_dial *d, const char *name, uint16_t port, bool direct_tls)
{
	struct host *h = td_arena_zalloc(d->a, sizeof(*h));

	h->d = d;
	h->name = name;
	h->port = port != 0 ? port : GW_DIAL_PORT;
	h->direct_tls = direct_tls;
	d->hosts[d->n_hosts++] = h;
	return h;
}

/* ---- SRV ---- */

static uint32_t
roll(void *arg, uint32_t max)
{
	uint32_t n;

	(void)arg;
	td_random(&n, sizeof(n));
	return max == UINT32_MAX ? n : n % (max + 1);
}

/* Targets of both kinds in the order they are to be tried.  Returns how many kinds say "not here". */
static unsigned
mix(struct gw_dial *d)
{
	struct gw_srv_entry e[2 * GW_DNS_MAX_RECORDS];
	struct gw_dns_srv srv[2 * GW_DNS_MAX_RECORDS];
	unsigned roots = 0;
	size_t n = 0, limit = d->n_hosts + MAX_HOSTS;

	for (int k = 0; k < 2; k++) {
		bool root = false;

		for (size_t i = 0; i < d->srv[k].a.n; i++) {
			if (!gw_dns_srv_parse(d->srv[k].a.rdata[i], &srv[n]))
				continue;
			root = root || srv[n].target[0] == '\0';
			if (srv[n].target[0] == '\0' || srv[n].port == 0)
				continue;
			/* the index also says of which kind it is */
			e[n] = (struct gw_srv_entry){ srv[n].priority, srv[n].weight,
						      2 * n + (k == 1) };
			n++;
		}
		roots += root;
	}
	gw_srv_order(e, n, roll, NULL);
	for (size_t i = 0; i < n && d->n_hosts < limit; i++) {
		const struct gw_dns_srv *s = &srv[e[i].index / 2];
		bool direct = (e[i].index & 1) == 0;
		struct host *h =
			add_host(d, td_arena_printf(d->a, "%s", s->target), s->port, direct);

		h->priority = s->priority;
		h->weight = s->weight;
		h->name_secure = d->srv[!direct].a.secure;
	}
	return roots;
}

static void
on_srv(void *arg, const struct gw_dns_answer *a)
{
	struct lookup *l = arg;
	struct gw_dial *d = l->d;
	size_t before = d->n_hosts;
	unsigned roots;

	keep_answer(l, a);
	if (--d->srv_left > 0)
		return;
	roots = mix(d);
	if (d->n_hosts == before && roots > 0) {
		/* XEP-0368 section 5: not even one of them leaves room for A and AAAA */
		d->why = "the domain has no XMPP server: its SRV target is \".\"";
	} else if (d->srv[0].a.status == GW_DNS_NONE && d->srv[1].a.status == GW_DNS_NONE) {
		/* RFC 6120 section 3.2.2 */
		struct host *h = add_host(d, d->domain, GW_DIAL_PORT, false);

		h->name_secure = d->srv[0].a.secure && d->srv[1].a.secure;
	} else if (d->n_hosts == before) {
		/* nothing is known, so nothing may be made up */
		for (int k = 0; k < 2; k++)
			if (d->srv[k].a.status == GW_DNS_FAIL)
				d->why = td_arena_printf(d->a, "SRV lookup failed: %s",
							 d->srv[k].a.why);
		if (d->why == NULL)
			d->why = "the SRV records are malformed";
	}
	go_on(d);
}

static void
ask_srv(struct gw_dial *d)
{
	static const char *const names[] = { "_xmpps-server._tcp", "_xmpp-server._tcp" };

	d->srv_left = 2;
	for (int k = 0; k < 2; k++)
		look_up(&d->srv[k], d, NULL, td_arena_printf(d->a, "%s.%s", names[k], d->domain),
			GW_DNS_SRV, on_srv);
}

/* ---- routes ---- */

/* Those without a preference keep the order of the list, after what came before; equal ones are shared. */
static void
sort_routes(struct gw_dial *d)
{
	struct gw_srv_entry e[MAX_ROUTES];
	struct gw_route sorted[MAX_ROUTES];
	int pref = 0;

	for (size_t i = 0; i < d->n_routes; i++) {
		pref = d->routes[i].pref >= 0 ? d->routes[i].pref : pref + (i > 0);
		if (pref > UINT16_MAX)
			pref = UINT16_MAX;
		e[i] = (struct gw_srv_entry){ (uint16_t)pref, 1, i };
	}
	gw_srv_order(e, d->n_routes, roll, NULL);
	for (size_t i = 0; i < d->n_routes; i++)
		sorted[i] = d->routes[e[i].index];
	memcpy(d->routes, sorted, d->n_routes * sizeof(sorted[0]));
}

static void
plan(struct gw_dial *d, struct td_str domain)
{
	const struct td_str *list = d->dc.gateway.len > 0 ? &d->dc.gateway : d->dc.routes;
	size_t n = d->dc.gateway.len > 0 ? 1 : d->dc.n_routes;
	struct td_str bare = domain;
	struct gw_route r;
	struct gw_net net;

	for (size_t i = 0; i < n && d->n_routes < MAX_ROUTES; i++) {
		if (gw_route_parse(list[i], &r))
			d->routes[d->n_routes++] = r;
		else
			td_log_warn(&d->w->gw->log, "s2s-route", "domain=%s route=%s why=malformed",
				    td_escz(d->domain), td_esc(list[i]));
	}
	if (n > 0) {
		sort_routes(d);
		if (d->n_routes == 0)
			d->why = "no route of the configuration can be read";
		return;
	}
	if (bare.len > 2 && bare.p[0] == '[' && bare.p[bare.len - 1] == ']')
		bare = td_str(bare.p + 1, bare.len - 2);
	r = (struct gw_route){ .kind = GW_ROUTE_SRV };
	if (td_str_chr(bare, '/') < 0 && gw_net_parse(bare, &net))
		r = (struct gw_route){ .kind = GW_ROUTE_HOST, .host = td_arena_str(d->a, bare) };
	else if (!gw_dns_is_host(td_cstr(d->domain))) {
		d->why = "the domain is no host name";
		return;
	}
	d->routes[d->n_routes++] = r;
}

static void
take_route(struct gw_dial *d, const struct gw_route *r)
{
	struct host *h;

	if (r->kind == GW_ROUTE_SRV) {
		if (d->srv[0].name == NULL) /* named twice it is looked up once */
			ask_srv(d);
		else
			go_on(d);
		return;
	}
	h = add_host(d, td_arena_printf(d->a, "%.*s", TD_STR_ARG(r->host)), r->port, r->direct_tls);
	h->configured = d->dc.gateway.len > 0 || d->dc.n_routes > 0;
	h->name_secure = h->configured;
	go_on(d);
}

/* ---- the whole ---- */

static struct host *
next_postponed(struct gw_dial *d)
{
	for (size_t i = 0; i < d->n_hosts; i++)
		if (d->hosts[i]->postponed && !d->hosts[i]->over)
			return d->hosts[i];
	return NULL;
}

/* One step; nothing may be touched after it, since <fn> may free all. */
static void
advance(struct gw_dial *d)
{
	struct host *h;

	if (d->state != DS_WORKING)
		return;
	if (d->winner != NULL) {
		if (may_hand_over(d->winner->h))
			hand_over(d);
		return;
	}
	if (d->resume && d->host != NULL) {
		d->resume = false;
		d->host->postponed = true;
		begin_race(d->host);
		return;
	}
	if (d->host != NULL || (d->srv[0].name != NULL && d->srv_left > 0))
		return;
	if (d->next_host < d->n_hosts) {
		host_start(d->hosts[d->next_host++]);
	} else if (d->next_route < d->n_routes) {
		take_route(d, &d->routes[d->next_route++]);
	} else if ((h = next_postponed(d)) != NULL) {
		host_start(h);
	} else {
		d->state = DS_OVER;
		d->fn(d->arg, -1, NULL, gw_dial_why(d));
	}
}

static void
on_task(struct td_task *t)
{
	advance((struct gw_dial *)((char *)t - offsetof(struct gw_dial, task)));
}

struct gw_dial *
gw_dial_start(struct gw_worker *w, struct td_str domain, const struct gw_dial_conf *dc,
	      gw_dial_fn *fn, void *arg)
{
	struct gw_dial *d = td_zalloc(sizeof(*d));
	struct gw_dial_conf loaded;
	char *ascii = NULL;

	if (w->dials == NULL)
		w->dials = td_zalloc(sizeof(*w->dials));
	LIST_INSERT_HEAD(&w->dials->open, d, link);
	d->w = w;
	d->a = td_arena_new(0);
	d->fn = fn;
	d->arg = arg;
	d->started = td_mono_ms();
	d->timer.fire = on_host_timeout;
	d->task.run = on_task;
	d->tick = evtimer_new(td_loop_base(w->loop), on_tick, d);
	if (dc == NULL) {
		gw_dial_conf_load(&loaded, w->env->conf, domain);
		dc = &loaded;
	}
	copy_conf(d, dc);
	d->domain = td_arena_printf(d->a, "%.*s", TD_STR_ARG(domain));
	if (idn2_to_ascii_8z(d->domain, &ascii, IDN2_NONTRANSITIONAL) == IDN2_OK)
		d->domain = td_arena_printf(d->a, "%s", ascii);
	idn2_free(ascii);
	plan(d, domain);
	go_on(d);
	return d;
}

void
gw_dial_next(struct gw_dial *d, const char *why)
{
	struct host *h = d->host;

	if (d->state != DS_HANDED)
		return;
	d->state = DS_WORKING;
	why = td_arena_printf(d->a, "%s", why);
	for (unsigned i = 0; h != NULL && i < h->n_addr; i++) {
		struct address *a = &h->addr[i];

		if (a->state != AD_USED)
			continue;
		a->state = AD_FAILED;
		a->why = why;
		remember_failure(d, a);
	}
	d->why = td_arena_printf(d->a, "%s:%u: %s", h != NULL ? h->name : d->domain,
				 h != NULL ? h->port : 0, why);
	d->resume = true;
	go_on(d);
}

void
gw_dial_free(struct gw_dial **dp)
{
	struct gw_dial *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	d->winner = NULL;
	for (size_t i = 0; i < d->n_hosts; i++) {
		struct host *h = d->hosts[i];

		for (unsigned k = 0; k < h->n_addr; k++)
			address_rest(&h->addr[k], false);
		for (int f = 0; f < FAMILIES; f++)
			lookup_cancel(&h->by_family[f]);
		lookup_cancel(&h->tlsa_lookup);
	}
	for (int k = 0; k < 2; k++)
		lookup_cancel(&d->srv[k]);
	td_timer_clear(d->w->loop, &d->timer);
	td_loop_undefer(d->w->loop, &d->task);
	event_free(d->tick);
	td_arena_free(d->a);
	LIST_REMOVE(d, link);
	free(d);
}

void
gw_dial_fini(struct gw_worker *w)
{
	struct gw_dial *d, *left;

	if (w->dials == NULL)
		return;
	while ((d = left = LIST_FIRST(&w->dials->open)) != NULL) {
		if (d->state != DS_OVER) {
			d->state = DS_OVER;
			d->fn(d->arg, -1, NULL, "the server stops");
		}
		if (LIST_FIRST(&w->dials->open) == left)
			gw_dial_free(&left);
	}
	free(w->dials);
	w->dials = NULL;
}

const char *
gw_dial_why(const struct gw_dial *d)
{
	return d->why != NULL ? d->why : "nothing is left to try";
}

/* ---- the report ---- */

static void
add_key(struct td_buf *b, const char *key, const char *text)
{
	td_buf_addf(b, "%s\"%s\":", b->len > 0 && b->p[b->len - 1] != '{' ? "," : "", key);
	td_buf_add_json(b, td_cstr(text));
}

static void
report_lookup(struct td_buf *b, const struct lookup *l)
{
	td_buf_addc(b, '{');
	add_key(b, "name", l->name);
	add_key(b, "status", l->done ? gw_dns_status_name(l->a.status) : "asked");
	td_buf_addf(b, ",\"secure\":%s,\"ms\":%llu", l->a.secure ? "true" : "false",
		    (unsigned long long)l->ms);
	if (l->a.why != NULL)
		add_key(b, "why", l->a.why);
	td_buf_addz(b, ",\"records\":[");
	for (size_t i = 0; i < l->a.n; i++) {
		const struct td_str r = l->a.rdata[i];
		char text[INET6_ADDRSTRLEN] = "";
		struct gw_dns_srv srv;
		struct gw_tlsa tlsa;

		td_buf_addz(b, i > 0 ? ",\"" : "\"");
		if (l->type == GW_DNS_SRV && gw_dns_srv_parse(r, &srv))
			td_buf_addf(b, "%u %u %u %s.", srv.priority, srv.weight, srv.port,
				    srv.target);
		else if (l->type == GW_DNS_A || l->type == GW_DNS_AAAA)
			td_buf_addz(b, inet_ntop(l->type == GW_DNS_A ? AF_INET : AF_INET6, r.p,
						 text, sizeof(text)));
		else if (l->type == GW_DNS_TLSA && gw_dns_tlsa_parse(r, &tlsa)) {
			td_buf_addf(b, "%u %u %u ", tlsa.usage, tlsa.selector, tlsa.matching);
			td_buf_add_hex(b, tlsa.data.p, tlsa.data.len);
		}
		td_buf_addc(b, '"');
	}
	td_buf_addz(b, "]}");
}

static void
report_address(struct td_buf *b, const struct address *a)
{
	static const char *const states[] = { "untried", "trying", "failed", "refused",
					      "connected" };
	const struct sockaddr_in *v4 = (const void *)&a->sa;
	const struct sockaddr_in6 *v6 = (const void *)&a->sa;
	char text[INET6_ADDRSTRLEN];

	(void)inet_ntop(a->family == V4 ? AF_INET : AF_INET6,
			a->family == V4 ? (const void *)&v4->sin_addr : &v6->sin6_addr, text,
			sizeof(text));
	td_buf_addc(b, '{');
	add_key(b, "address", text);
	add_key(b, "state", a == a->h->d->winner ? "connected" : states[a->state]);
	td_buf_addf(b, ",\"ms\":%llu", (unsigned long long)a->ms);
	if (a->why != NULL)
		add_key(b, "why", a->why);
	td_buf_addc(b, '}');
}

static void
report_host(struct td_buf *b, const struct host *h)
{
	td_buf_addc(b, '{');
	add_key(b, "host", h->name);
	td_buf_addf(
		b, ",\"port\":%u,\"direct_tls\":%s,\"priority\":%u,\"weight\":%u,\"configured\":%s",
		h->port, h->direct_tls ? "true" : "false", h->priority, h->weight,
		h->configured ? "true" : "false");
	if (h->why != NULL)
		add_key(b, "why", h->why);
	td_buf_addz(b, ",\"lookups\":[");
	for (int f = 0; f < FAMILIES; f++) {
		if (h->by_family[f].name == NULL)
			continue;
		if (f > 0 && h->by_family[0].name != NULL)
			td_buf_addc(b, ',');
		report_lookup(b, &h->by_family[f]);
	}
	if (h->tlsa_asked) {
		td_buf_addc(b, ',');
		report_lookup(b, &h->tlsa_lookup);
	}
	td_buf_addz(b, "],\"addresses\":[");
	for (unsigned i = 0; i < h->n_addr; i++) {
		td_buf_addz(b, i > 0 ? "," : "");
		report_address(b, &h->addr[i]);
	}
	td_buf_addz(b, "]}");
}

void
gw_dial_report(const struct gw_dial *d, struct td_buf *json)
{
	td_buf_addc(json, '{');
	add_key(json, "domain", d->domain);
	td_buf_addf(json, ",\"connected\":%s", d->state == DS_HANDED ? "true" : "false");
	td_buf_addz(json, ",\"srv\":[");
	for (int k = 0; k < 2 && d->srv[0].name != NULL; k++) {
		td_buf_addz(json, k > 0 ? "," : "");
		report_lookup(json, &d->srv[k]);
	}
	td_buf_addz(json, "],\"targets\":[");
	for (size_t i = 0; i < d->n_hosts; i++) {
		td_buf_addz(json, i > 0 ? "," : "");
		report_host(json, d->hosts[i]);
	}
	td_buf_addc(json, ']');
	if (d->state == DS_OVER || d->why != NULL)
		add_key(json, "why", gw_dial_why(d));
	td_buf_addf(json, ",\"ms\":%llu}", (unsigned long long)(td_mono_ms() - d->started));
}
