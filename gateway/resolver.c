/* resolver - libunbound on a worker's loop.
 *
 *   ask -> [waits while MAX_ASKED are under way] -> ub_resolve_event -> on_answer -> task -> done
 *
 * libunbound's event interface needs no thread: its sockets and timers are events of our loop.  It may call
 * back from within ub_resolve_event (cache, hosts file), so answers are always given by a task.
 *
 * Making a context and its first question touch what libunbound has once per process (its log, its seed of hashes):
 * one worker at a time does that.  They also read files, once per context. */
#include "gateway/resolver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unbound-event.h>
#include <unbound.h>
#include "gateway/base/arena.h"
#include "gateway/gateway.h"

#define MAX_ASKED 256u  /* under way in libunbound */
#define MAX_OPEN 16384u /* and waiting for that */
#define LOOK_MS 5000u   /* how often the files are looked at for a change */
#define ROOT_KEY "/usr/share/dns/root.key"
#define CLASS_IN 1

enum ask_state {
	AS_WAITING = 0,
	AS_ASKED,
	AS_READY,
	AS_TELLING, /* <done> runs */
};

struct gw_dns {
	TAILQ_ENTRY(gw_dns) link;
	struct gw_resolver *r;
	char *name;
	int rrtype;
	int id; /* libunbound's */
	enum ask_state state;
	void (*done)(void *arg, const struct gw_dns_answer *a);
	void *arg;
	struct td_timer timer;
	struct td_task task;
	struct td_arena *arena;
	struct gw_dns_answer answer;
};
TAILQ_HEAD(ask_list, gw_dns);

struct file_seen {
	time_t mtime;
	off_t size;
	ino_t ino;
};

struct gw_resolver {
	struct gw_worker *w;
	struct ub_ctx *ctx;
	struct ask_list waiting, asked, ready;
	unsigned n_open, n_asked;
	bool deleting;       /* ub_ctx_delete calls back */
	uint64_t generation; /* of the configuration that <key> was made from */
	struct td_buf key;   /* what the context was made from */
	uint64_t looked_at;  /* the files */
	struct file_seen resolv_conf, hosts;
	unsigned timeout_ms;
};

static pthread_mutex_t once_per_process = PTHREAD_MUTEX_INITIALIZER;

const char *
gw_dns_status_name(enum gw_dns_status s)
{
	switch (s) {
	case GW_DNS_OK: return "ok";
	case GW_DNS_NONE: return "none";
	case GW_DNS_FAIL: return "failed";
	}
	return "";
}

/* ---- the context ---- */

static struct td_str
path_option(const struct conf *c, const char *option)
{
	struct td_str s = conf_str(c, NULL, option);

	return td_str_eqc(s, "none") ? TD_STR_NULL : s;
}

/* Everything a context is made from, as one text. */
static void
make_key(const struct conf *c, struct td_buf *key)
{
	static const char *const lists[] = { "dns_servers", "dnssec_trust_anchor" };

	for (size_t k = 0; k < 2; k++) {
		size_t n;
		const struct td_str *l = conf_list(c, NULL, lists[k], &n);

		for (size_t i = 0; i < n; i++)
			td_buf_addf(key, "%.*s\n", TD_STR_ARG(l[i]));
		td_buf_addc(key, '\n');
	}
	td_buf_addf(key, "%.*s\n%.*s\n", TD_STR_ARG(path_option(c, "resolv_conf")),
		    TD_STR_ARG(path_option(c, "hosts_file")));
}

static void
look(const struct conf *c, const char *option, struct file_seen *out)
{
	char *path = td_strndup(path_option(c, option));
	struct stat st;

	memset(out, 0, sizeof(*out));
	if (path[0] != '\0' && stat(path, &st) == 0)
		*out = (struct file_seen){ st.st_mtime, st.st_size, st.st_ino };
	free(path);
}

/* One call of libunbound that takes a text; a failure is told and otherwise passed over. */
static bool
apply(struct gw_resolver *r, int (*fn)(struct ub_ctx *, const char *), struct td_str what,
      const char *option)
{
	char *s = td_strndup(what);
	int rc = fn(r->ctx, s);

	if (rc != 0)
		td_log_warn(&r->w->gw->log, "dns-option", "option=%s value=%s why=\"%s\"", option,
			    td_escz(s), ub_strerror(rc));
	free(s);
	return rc == 0;
}

static void
set_option(struct gw_resolver *r, const char *name, const char *value)
{
	int rc = ub_ctx_set_option(r->ctx, name, value);

	if (rc != 0)
		td_log_warn(&r->w->gw->log, "dns-option", "option=%s value=%s why=\"%s\"", name,
			    value, ub_strerror(rc));
}

static int
add_anchor(struct ub_ctx *ctx, const char *path)
{
	return ub_ctx_add_ta_file(ctx, path);
}

static int
add_server(struct ub_ctx *ctx, const char *addr)
{
	return ub_ctx_set_fwd(ctx, addr);
}

static int
add_resolv_conf(struct ub_ctx *ctx, const char *path)
{
	return ub_ctx_resolvconf(ctx, path);
}

static int
add_hosts(struct ub_ctx *ctx, const char *path)
{
	return ub_ctx_hosts(ctx, path);
}

static void
set_anchors(struct gw_resolver *r, const struct conf *c)
{
	size_t n;
	const struct td_str *l = conf_list(c, NULL, "dnssec_trust_anchor", &n);

	if (n == 0) {
		struct stat st;

		if (stat(ROOT_KEY, &st) == 0)
			(void)apply(r, add_anchor, TD_STR(ROOT_KEY), "dnssec_trust_anchor");
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (!td_str_eqc(l[i], "none"))
			(void)apply(r, add_anchor, l[i], "dnssec_trust_anchor");
}

static void
set_servers(struct gw_resolver *r, const struct conf *c)
{
	size_t n;
	const struct td_str *l = conf_list(c, NULL, "dns_servers", &n);

	for (size_t i = 0; i < n; i++)
		(void)apply(r, add_server, l[i], "dns_servers");
	if (n == 0 && path_option(c, "resolv_conf").len > 0)
		(void)apply(r, add_resolv_conf, path_option(c, "resolv_conf"), "resolv_conf");
	if (path_option(c, "hosts_file").len > 0)
		(void)apply(r, add_hosts, path_option(c, "hosts_file"), "hosts_file");
}

static bool
make_context(struct gw_resolver *r, const struct conf *c)
{
	/* which names the resolver asked knows is its business, so are private networks; a server that was down is asked again
	 * soon, not after 15 minutes */
	static const char *const options[][2] = {
		{ "unblock-lan-zones:", "yes" },
		{ "local-zone:", "test. nodefault" },
		{ "local-zone:", "home.arpa. nodefault" },
		{ "infra-host-ttl:", "60" },
		{ "infra-keep-probing:", "yes" },
		{ "outgoing-range:", "128" },
		{ "outgoing-num-tcp:", "16" },
		{ "edns-buffer-size:", "1232" },
		{ "module-config:", "validator iterator" },
	};

	r->ctx = ub_ctx_create_event(td_loop_base(r->w->loop));
	if (r->ctx == NULL)
		return false;
	/* its complaints come with the answers */
	(void)ub_ctx_debugout(r->ctx, NULL);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		set_option(r, options[i][0], options[i][1]);
	set_servers(r, c);
	set_anchors(r, c);
	return true;
}

static void
drop_context(struct gw_resolver *r)
{
	struct gw_dns *q;

	if (r->ctx == NULL)
		return;
	r->deleting = true;
	pthread_mutex_lock(&once_per_process);
	ub_ctx_delete(r->ctx);
	pthread_mutex_unlock(&once_per_process);
	r->deleting = false;
	r->ctx = NULL;
	while ((q = TAILQ_FIRST(&r->asked)) != NULL) {
		TAILQ_REMOVE(&r->asked, q, link);
		TAILQ_INSERT_HEAD(&r->waiting, q, link);
		q->state = AS_WAITING;
	}
	r->n_asked = 0;
}

/* Forget a context that another configuration, or other files, made. */
static void
check_context(struct gw_resolver *r)
{
	const struct conf *c = r->w->env->conf;
	uint64_t now = td_mono_ms();
	struct td_buf key = { 0 };
	struct file_seen rc, hosts;
	bool stale = false;

	if (r->generation != conf_generation(c) || r->key.len == 0) {
		make_key(c, &key);
		stale = !td_str_eq(td_buf_str(&key), td_buf_str(&r->key));
		td_buf_fini(&r->key);
		r->key = key;
		r->generation = conf_generation(c);
		r->timeout_ms = (unsigned)conf_int(c, NULL, "dns_timeout") * 1000;
	}
	if (stale || now - r->looked_at >= LOOK_MS) {
		look(c, "resolv_conf", &rc);
		look(c, "hosts_file", &hosts);
		stale = stale || memcmp(&rc, &r->resolv_conf, sizeof(rc)) != 0 ||
			memcmp(&hosts, &r->hosts, sizeof(hosts)) != 0;
		r->resolv_conf = rc;
		r->hosts = hosts;
		r->looked_at = now;
	}
	if (stale)
		drop_context(r);
}

static struct gw_resolver *
resolver_of(struct gw_worker *w)
{
	struct gw_resolver *r = w->resolver;

	if (r != NULL)
		return r;
	r = td_zalloc(sizeof(*r));
	r->w = w;
	TAILQ_INIT(&r->waiting);
	TAILQ_INIT(&r->asked);
	TAILQ_INIT(&r->ready);
	w->resolver = r;
	return r;
}

/* ---- questions ---- */

static void pump(struct gw_resolver *r);

static void
ask_free(struct gw_dns *q)
{
	td_timer_clear(q->r->w->loop, &q->timer);
	td_loop_undefer(q->r->w->loop, &q->task);
	q->r->n_open--;
	td_arena_free(q->arena);
	free(q->name);
	free(q);
}

static struct ask_list *
list_of(struct gw_dns *q)
{
	return q->state == AS_WAITING ? &q->r->waiting
	       : q->state == AS_ASKED ? &q->r->asked
				      : &q->r->ready;
}

static void
go_to(struct gw_dns *q, enum ask_state to)
{
	TAILQ_REMOVE(list_of(q), q, link);
	q->r->n_asked -= q->state == AS_ASKED;
	q->state = to;
	q->r->n_asked += to == AS_ASKED;
	TAILQ_INSERT_TAIL(list_of(q), q, link);
}

/* The answer is there: tell at the end of the turn. */
static void
settle(struct gw_dns *q)
{
	go_to(q, AS_READY);
	td_timer_clear(q->r->w->loop, &q->timer);
	td_loop_defer(q->r->w->loop, &q->task);
}

static void
fail(struct gw_dns *q, const char *why)
{
	q->answer = (struct gw_dns_answer){ .status = GW_DNS_FAIL,
					    .why = td_arena_printf(q->arena, "%s", why) };
	settle(q);
}

static void
on_tell(struct td_task *t)
{
	struct gw_dns *q = (struct gw_dns *)((char *)t - offsetof(struct gw_dns, task));
	struct gw_resolver *r = q->r;

	TAILQ_REMOVE(&r->ready, q, link);
	q->state = AS_TELLING;
	q->done(q->arg, &q->answer);
	ask_free(q);
	pump(r);
}

static void
on_timeout(struct td_timer *t)
{
	struct gw_dns *q = (struct gw_dns *)((char *)t - offsetof(struct gw_dns, timer));
	char why[64];

	if (q->state == AS_ASKED)
		(void)ub_cancel(q->r->ctx, q->id);
	(void)snprintf(why, sizeof(why), "no answer within %u s", q->r->timeout_ms / 1000);
	fail(q, why);
}

static const char *
rcode_text(int rcode)
{
	static const char *const names[] = { "no records", "FORMERR", "SERVFAIL",
					     "NXDOMAIN",   "NOTIMP",  "REFUSED" };

	return rcode >= 0 && (size_t)rcode < sizeof(names) / sizeof(names[0]) ? names[rcode]
									      : "an error";
}

static void
read_answer(struct gw_dns *q, int rcode, struct td_str msg, int sec, const char *why_bogus)
{
	struct gw_dns_answer *a = &q->answer;
	struct td_str *rdata = NULL;

	*a = (struct gw_dns_answer){ .status = GW_DNS_FAIL, .secure = sec == 2 };
	if (sec == 1) {
		a->bogus = true;
		a->why = td_arena_printf(q->arena, "%s", why_bogus != NULL ? why_bogus : "bogus");
		return;
	}
	if (rcode == 0 && msg.len > 0)
		rcode = gw_dns_parse(q->arena, msg, q->rrtype, &rdata, &a->n, &a->ttl);
	a->rdata = rdata;
	if (rcode == 0 && a->n > 0)
		a->status = GW_DNS_OK;
	else if (rcode == 0 || rcode == 3)
		a->status = GW_DNS_NONE;
	else
		a->secure = false;
	if (a->status != GW_DNS_OK) {
		a->n = 0;
		a->why = rcode < 0 ? "a malformed answer" : rcode_text(rcode);
	}
}

static void
on_answer(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int ratelimited)
{
	struct gw_dns *q = arg;

	(void)ratelimited;
	if (q->r->deleting)
		return;
	read_answer(q, rcode, td_str(packet, packet != NULL && len > 0 ? (size_t)len : 0), sec,
		    why_bogus);
	settle(q);
}

/* Hand <q> to libunbound; it may be answered on return. */
static void
start(struct gw_dns *q)
{
	struct gw_resolver *r = q->r;
	bool first = r->ctx == NULL;
	int rc;

	if (first) {
		pthread_mutex_lock(&once_per_process);
		if (!make_context(r, r->w->env->conf)) {
			pthread_mutex_unlock(&once_per_process);
			fail(q, "libunbound gives no context");
			return;
		}
	}
	go_to(q, AS_ASKED);
	rc = ub_resolve_event(r->ctx, q->name, q->rrtype, CLASS_IN, q, on_answer, &q->id);
	if (first)
		pthread_mutex_unlock(&once_per_process);
	if (rc != 0)
		fail(q, ub_strerror(rc));
}

static void
pump(struct gw_resolver *r)
{
	struct gw_dns *q;

	while (r->n_asked < MAX_ASKED && (q = TAILQ_FIRST(&r->waiting)) != NULL)
		start(q);
}

struct gw_dns *
gw_dns_ask(struct gw_worker *w, const char *name, int rrtype,
	   void (*done)(void *arg, const struct gw_dns_answer *a), void *arg)
{
	struct gw_resolver *r = resolver_of(w);
	struct gw_dns *q = td_zalloc(sizeof(*q));

	q->r = r;
	q->name = td_strdup(name);
	q->rrtype = rrtype;
	q->done = done;
	q->arg = arg;
	q->arena = td_arena_new(0);
	q->timer.fire = on_timeout;
	q->task.run = on_tell;
	r->n_open++;
	check_context(r);
	TAILQ_INSERT_TAIL(&r->waiting, q, link);
	td_timer_set(w->loop, &q->timer, r->timeout_ms);
	if (r->n_open > MAX_OPEN)
		fail(q, "too many questions are open");
	pump(r);
	return q;
}

void
gw_dns_cancel(struct gw_dns **qp)
{
	struct gw_dns *q = *qp;

	*qp = NULL;
	if (q == NULL || q->state == AS_TELLING)
		return;
	if (q->state == AS_ASKED) {
		(void)ub_cancel(q->r->ctx, q->id);
		q->r->n_asked--;
	}
	TAILQ_REMOVE(list_of(q), q, link);
	ask_free(q);
}

void
gw_dns_fini(struct gw_worker *w)
{
	struct gw_resolver *r = w->resolver;
	struct gw_dns *q;

	if (r == NULL)
		return;
	drop_context(r);
	while ((q = TAILQ_FIRST(&r->waiting)) != NULL || (q = TAILQ_FIRST(&r->ready)) != NULL) {
		TAILQ_REMOVE(list_of(q), q, link);
		ask_free(q);
	}
	td_buf_fini(&r->key);
	free(r);
	w->resolver = NULL;
}
