/* pubsub_timed - what time and presence do to subscriptions: leases that end (XEP-0060 12.19), digests (16.4.2), and
 * those that last while the subscriber is online (12.5).
 *
 * A host has one timer, set for the earliest of its leases and digests.  A digest is not collected: when it is due, the
 * items since the last one are read from the store, so it outlives a restart and holds what is still there.  Presence is
 * known at the subscriber's worker: it keeps a watch for each subscription that hangs on it, in memory as sessions are, and
 * tells the host when its subscriber went.  A host that loads asks whether its watches are still kept. */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"

#define WAKE_MIN_MS 20u
#define WAKE_MAX_MS 3600000u
#define DIGEST_PAGE 500u

/* ---- digests ---- */

/* An account with digests to send stays in memory. */
static void
hold(struct ps_host *h, bool digests)
{
	if (h->user == NULL || h->held == digests)
		return;
	h->held = digests;
	if (digests)
		xmpp_user_hold(h->user);
	else
		xmpp_user_release(h->user);
}

struct digest_call {
	struct ps_call call;
	struct td_arena *arena; /* this struct lives in it */
	struct ps_node *node;
	struct td_str jid, id;
	uint64_t since, until; /* wall ms: from, and before */
	uint64_t told;         /* of the last item that went out; 0 = none did */
};

static void on_digest(void *arg, const struct store_result *r, const struct store_ps_items *got);

static void
read_page(struct ps_host *h, struct digest_call *c, struct td_str after)
{
	uint64_t oldest = ps_since(c->node);
	struct store_ps_query q = { .node = c->node->name,
				    .after = after,
				    .index = -1,
				    .max = DIGEST_PAGE,
				    .since = oldest > c->since ? oldest : c->since };

	store_ps_items(h->env->store, h->jid, &q, h->env->loop, on_digest, c);
}

static void
digest_end(struct digest_call *c)
{
	ps_node_unref(&c->node);
	ps_call_end(&c->call);
	td_arena_free(c->arena);
}

/* Those that were published before the digest began; what came since is for the next one. */
static size_t
count_due(const struct digest_call *c, const struct store_ps_items *got)
{
	size_t n = 0;

	while (n < got->n && got->items[n].at < c->until)
		n++;
	return n;
}

static void
on_digest(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct digest_call *c = arg;
	struct ps_host *h = c->call.host;
	struct ps_node *n = h != NULL && !c->node->gone ? c->node : NULL;
	struct ps_sub *s = n != NULL ? ps_node_sub_id(n, c->jid, c->id) : NULL;
	struct ps_change *change;
	size_t count;

	if (s == NULL || !s->opt.digest || r->rc < 0) {
		/* the store failed, or the item to go on after is gone: what went out does not go again */
		if (s != NULL && c->told > 0)
			s->opt.digested = c->told + 1;
		if (s != NULL && s->opt.digest)
			ps_digest_later(n, s);
		digest_end(c);
		return;
	}
	count = count_due(c, got);
	if (count > 0 && ps_send_digest(n, s, got->items, count))
		c->told = got->items[count - 1].at;
	if (count == got->n && count > 0 && (got->more || count == DIGEST_PAGE)) {
		read_page(h, c, got->items[count - 1].id);
		return;
	}
	s->opt.digested = c->until;
	if (count < got->n)
		ps_digest_later(n, s);
	if (c->told > 0) {
		change = ps_change_new(h, NULL);
		ps_change_sub_options(change, n, s);
		ps_change_commit(change);
	}
	digest_end(c);
}

static void
start_digest(struct ps_node *n, struct ps_sub *s)
{
	struct td_arena *a = td_arena_new(256);
	struct digest_call *c = td_arena_zalloc(a, sizeof(*c));

	s->due = 0;
	c->arena = a;
	c->node = n;
	n->refs++;
	c->jid = td_arena_str(a, s->jid);
	c->id = td_arena_str(a, s->id);
	c->since = s->opt.digested;
	c->until = td_wall_ms();
	ps_call_begin(&c->call, n->host);
	read_page(n->host, c, TD_STR_NULL);
}

void
ps_digest_later(struct ps_node *n, struct ps_sub *s)
{
	if (s->due != 0)
		return;
	s->due = td_wall_ms() + s->opt.frequency;
	ps_host_wake(n->host, s->due);
	hold(n->host, true);
}

/* ---- the timer ---- */

static bool
is_lease(const struct ps_sub *s)
{
	return s->opt.expire > 0 && s->opt.expire != PS_WHILE_ONLINE;
}

/* What is due happens; the earliest of what is left. */
static uint64_t
run_node(struct ps_node *n, uint64_t now, struct ps_change **c, bool *digests)
{
	struct ps_sub *s, *next;
	uint64_t first = 0;

	for (s = LIST_FIRST(&n->subs); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		if (is_lease(s) && s->opt.expire <= now) {
			if (*c == NULL)
				*c = ps_change_new(n->host, NULL);
			ps_change_subscription(*c, n, s, PSS_NONE);
			continue;
		}
		if (s->due > 0 && s->due <= now)
			start_digest(n, s);
		if (is_lease(s) && (first == 0 || s->opt.expire < first))
			first = s->opt.expire;
		if (s->due > 0 && (first == 0 || s->due < first))
			first = s->due;
		*digests |= s->due > 0;
	}
	return first;
}

void
ps_host_tick(struct ps_host *h)
{
	uint64_t now = td_wall_ms(), first = 0;
	struct ps_change *c = NULL;
	bool digests = false;
	struct ps_node *n;
	size_t i = 0;

	if (h->due == 0 || h->due > now)
		return;
	h->due = 0;
	if (!h->loaded || h->stale)
		return; /* ps_host_timed */
	while ((n = td_map_next(&h->nodes, &i)) != NULL) {
		uint64_t at = run_node(n, now, &c, &digests);

		if (at > 0 && (first == 0 || at < first))
			first = at;
	}
	if (c != NULL)
		ps_change_commit(c);
	if (first > 0)
		ps_host_wake(h, first);
	hold(h, digests);
}

static void
on_timer(struct td_timer *t)
{
	struct ps_host *h = (struct ps_host *)(void *)((char *)t - offsetof(struct ps_host, timer));
	struct xmpp_user *u = h->user;
	uint64_t due = h->due;

	if (u != NULL)
		xmpp_user_hold(u);
	ps_host_tick(h);
	if (h->due == due && due > 0) { /* the timer was cut short */
		h->due = 0;
		ps_host_wake(h, due);
	}
	if (u != NULL)
		xmpp_user_release(u); /* h may be gone */
}

void
ps_host_wake(struct ps_host *h, uint64_t at)
{
	uint64_t now = td_wall_ms(), ms = at > now ? at - now : 0;

	if (h->due != 0 && h->due <= at)
		return;
	h->due = at;
	h->timer.fire = on_timer;
	if (ms < WAKE_MIN_MS)
		ms = WAKE_MIN_MS;
	td_timer_set(h->env->loop, &h->timer, ms > WAKE_MAX_MS ? WAKE_MAX_MS : ms);
}

void
ps_host_untimed(struct ps_host *h)
{
	td_timer_clear(h->env->loop, &h->timer);
	h->due = 0;
	hold(h, false);
}

void
ps_sub_changed(struct ps_node *n, struct ps_sub *s)
{
	if (is_lease(s))
		ps_host_wake(n->host, s->opt.expire);
	if (!s->opt.digest)
		s->due = 0;
	else if (s->due > 0)
		s->due = td_wall_ms() + s->opt.frequency;
	if (s->due > 0) {
		ps_host_wake(n->host, s->due);
		hold(n->host, true);
	}
}

void
ps_host_timed(struct ps_host *h)
{
	struct td_arena *a = td_arena_new(1024);
	struct td_str *jids = NULL;
	size_t n_jids = 0, cap = 0, i = 0;
	struct ps_node *n;
	struct ps_sub *s;

	while ((n = td_map_next(&h->nodes, &i)) != NULL)
		LIST_FOREACH(s, &n->subs, link)
		{
			if (s->opt.digest) {
				/* maybe something came before we went */
				s->due = s->opt.digested + s->opt.frequency;
				ps_host_wake(h, s->due);
				hold(h, true);
			}
			if (is_lease(s))
				ps_host_wake(h, s->opt.expire);
			if (s->opt.expire != PS_WHILE_ONLINE)
				continue;
			if (n_jids == cap) {
				struct td_str *more;

				cap = cap > 0 ? cap * 2 : 16;
				more = td_arena_alloc(a, cap * sizeof(*more));
				if (n_jids > 0)
					memcpy(more, jids, n_jids * sizeof(*more));
				jids = more;
			}
			jids[n_jids++] = td_arena_str(a, s->jid);
		}
	for (i = 0; i < n_jids; i++)
		ps_watch(h, jids[i], false);
	td_arena_free(a);
}

/* ---- while the subscriber is online ---- */

/* A subscriber's bare JID, at its worker. */
struct watched {
	LIST_HEAD(, watch) watches;
	char bare[];
};
struct watch {
	LIST_ENTRY(watch) link;
	struct td_str host, jid; /* jid: bare or full */
	char text[];
};

/* On its way between the workers of the host and of the subscriber. */
struct watch_message {
	struct td_arena *arena;
	struct td_str host, jid;
	bool is_new;
};

static struct watch_message *
message_new(struct td_str host, struct td_str jid)
{
	struct td_arena *a = td_arena_new(256);
	struct watch_message *m = td_arena_zalloc(a, sizeof(*m));

	m->arena = a;
	m->host = td_arena_str(a, host);
	m->jid = td_arena_str(a, jid);
	return m;
}

static void
send_to_owner(struct xmpp_env *env, struct td_str of, void (*fn)(struct xmpp_env *env, void *arg),
	      struct watch_message *m)
{
	unsigned index = xmpp_owner(env, of);

	if (index == env->index)
		fn(env, m);
	else
		env->host->post(env, index, fn, m);
}

/* At the host: what <m->jid> had while it was online ends. */
static void
drop_there(struct ps_host *h, void *arg)
{
	struct watch_message *m = arg;
	struct ps_change *c = NULL;
	struct ps_node *n;
	size_t i = 0;

	while (h != NULL && h->loaded && (n = td_map_next(&h->nodes, &i)) != NULL) {
		struct ps_sub *s = ps_node_sub(n, m->jid), *next;

		for (; s != NULL; s = next) {
			next = s->next;
			if (s->opt.expire != PS_WHILE_ONLINE)
				continue;
			if (c == NULL)
				c = ps_change_new(h, NULL);
			ps_change_subscription(c, n, s, PSS_NONE);
		}
	}
	if (c != NULL)
		ps_change_commit(c);
	td_arena_free(m->arena);
}

static void
with_user(struct xmpp_user *u, void *arg)
{
	struct watch_message *m = arg;

	if (u->exists && u->has_nodes)
		ps_host_with(ps_host_pep(u), drop_there, m);
	else
		td_arena_free(m->arena);
}

static void
went(struct xmpp_env *env, void *arg)
{
	struct watch_message *m = arg;
	struct xmpp_jid host = xmpp_jid_view(m->host);

	if (env->ending)
		td_arena_free(m->arena);
	else if (host.local.p != NULL)
		xmpp_user_with(env, m->host, with_user, m);
	else
		ps_host_with(ps_host_service(env, m->host), drop_there, m);
}

static struct watch *
find_watch(const struct watched *w, struct td_str host, struct td_str jid)
{
	struct watch *o = w != NULL ? LIST_FIRST(&w->watches) : NULL;

	while (o != NULL && !(td_str_eq(o->host, host) && td_str_eq(o->jid, jid)))
		o = LIST_NEXT(o, link);
	return o;
}

static void
keep_watch(struct td_map *all, struct td_str bare, const struct watch_message *m)
{
	struct watched *w = td_map_find(all, bare);
	struct watch *o;

	if (w == NULL) {
		w = td_zalloc(sizeof(*w) + bare.len);
		memcpy(w->bare, bare.p, bare.len);
		LIST_INIT(&w->watches);
		(void)td_map_set(all, td_str(w->bare, bare.len), w);
	}
	o = td_zalloc(sizeof(*o) + m->host.len + m->jid.len);
	memcpy(o->text, m->host.p, m->host.len);
	memcpy(o->text + m->host.len, m->jid.p, m->jid.len);
	o->host = td_str(o->text, m->host.len);
	o->jid = td_str(o->text + m->host.len, m->jid.len);
	LIST_INSERT_HEAD(&w->watches, o, link);
}

/* Is <jid>, an account or a resource, online?  <but> went; NULL: who subscribes may be about to send its presence. */
static bool
is_here(const struct xmpp_user *u, const struct xmpp_jid *jid, const struct xmpp_session *but)
{
	const struct xmpp_session *s = u != NULL ? TAILQ_FIRST(&u->sessions) : NULL;

	for (; s != NULL; s = TAILQ_NEXT(s, link))
		if (s != but && !s->dead && (s->available || but == NULL) &&
		    (jid->resource.p == NULL || td_str_eq(s->jid.resource, jid->resource)))
			return true;
	return false;
}

static void
watch_here(struct xmpp_env *env, void *arg)
{
	struct watch_message *m = arg;
	struct xmpp_jid who = xmpp_jid_view(m->jid);
	struct td_map *all = env->module_data[XMPP_SLOT_PSWATCH];
	const struct watch *have = find_watch(td_map_find(all, who.bare), m->host, m->jid);
	bool here = is_here(xmpp_user_find(env, who.bare), &who, NULL);

	if (!env->ending && (have == NULL) && (!m->is_new || !here)) {
		send_to_owner(env, m->host, went, m);
		return;
	}
	if (!env->ending && have == NULL)
		keep_watch(all, who.bare, m);
	td_arena_free(m->arena);
}

void
ps_watch(struct ps_host *h, struct td_str jid, bool is_new)
{
	struct watch_message *m = message_new(h->jid, jid);

	m->is_new = is_new;
	send_to_owner(h->env, xmpp_jid_view(jid).bare, watch_here, m);
}

void
ps_watch_gone(struct xmpp_session *sess)
{
	struct xmpp_env *env = sess->env;
	struct td_map *all = env->module_data[XMPP_SLOT_PSWATCH];
	struct watched *w = all->len > 0 ? td_map_find(all, sess->user->bare) : NULL;
	struct watch *o, *next;

	if (w == NULL || env->ending)
		return;
	for (o = LIST_FIRST(&w->watches); o != NULL; o = next) {
		struct xmpp_jid jid = xmpp_jid_view(o->jid);

		next = LIST_NEXT(o, link);
		if (jid.resource.p != NULL && !td_str_eq(jid.resource, sess->jid.resource))
			continue;
		if (is_here(sess->user, &jid, sess))
			continue;
		LIST_REMOVE(o, link);
		send_to_owner(env, o->host, went, message_new(o->host, o->jid));
		free(o);
	}
	if (LIST_EMPTY(&w->watches))
		free(td_map_del(all, sess->user->bare));
}

void
ps_watch_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_PSWATCH] = td_zalloc(sizeof(struct td_map));
}

void
ps_watch_stop(struct xmpp_env *env)
{
	struct td_map *all = env->module_data[XMPP_SLOT_PSWATCH];
	struct watched *w;
	struct watch *o;
	size_t i = 0;

	while ((w = td_map_next(all, &i)) != NULL) {
		while ((o = LIST_FIRST(&w->watches)) != NULL) {
			LIST_REMOVE(o, link);
			free(o);
		}
		free(w);
	}
	td_map_fini(all);
	free(all);
	env->module_data[XMPP_SLOT_PSWATCH] = NULL;
}
