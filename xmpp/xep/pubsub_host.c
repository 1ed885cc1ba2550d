/* pubsub_host - hosts and their nodes in memory, and how they change.
 *
 * ps_host_with loads; ps_change_* collect verbs, and what is to be said once they are committed.  Memory
 * is changed when the verbs are added: calls about one owner are answered in order, so the next
 * request is judged by what will be true when it runs.  A commit that fails makes the host stale: when
 * nothing is under way any more it forgets its nodes and the next request loads them. */
#include "xmpp/xep/pubsub.h"

#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/xep_0050_adhoc.h"
#include "xmpp/xep/xep_0115_caps.h"

struct ps_waiter {
	STAILQ_ENTRY(ps_waiter) link;
	void (*fn)(struct ps_host *h, void *arg);
	void *arg;
};

static const char *const affiliation_names[PSF_COUNT] = { "none",         "owner",  "publisher",
							  "publish-only", "member", "outcast" };
static const char *const state_names[PSS_COUNT] = { "none", "pending", "unconfigured",
						    "subscribed" };

const char *
ps_affiliation_name(enum ps_affiliation a)
{
	return affiliation_names[a];
}

const char *
ps_state_name(enum ps_state s)
{
	return state_names[s];
}

static int
name_index(const char *const *names, int n, struct td_str s)
{
	for (int i = 0; i < n; i++)
		if (td_str_eqc(s, names[i]))
			return i;
	return -1;
}

int
ps_affiliation_of(struct td_str s)
{
	return name_index(affiliation_names, PSF_COUNT, s);
}

int
ps_state_of(struct td_str s)
{
	return name_index(state_names, PSS_COUNT, s);
}

static struct td_str
domain_of(const struct ps_host *h)
{
	return h->pep ? h->user->domain : h->jid;
}

int64_t
ps_limit(const struct ps_host *h, const char *option)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain_of(h) };

	return conf_int(h->env->conf, &at, option);
}

/* ---- nodes ---- */

struct ps_node *
ps_node_find(const struct ps_host *h, struct td_str name)
{
	return td_map_find(&h->nodes, name);
}

void
ps_node_unref(struct ps_node **np)
{
	struct ps_node *n = *np;
	struct ps_affil *af;
	struct ps_sub *s;
	size_t i = 0;

	*np = NULL;
	if (n == NULL || --n->refs > 0)
		return;
	while ((af = td_map_next(&n->affils, &i)) != NULL)
		free(af);
	td_map_fini(&n->affils);
	ps_trust_clear(n);
	td_map_fini(&n->subs_by_jid);
	while ((s = LIST_FIRST(&n->subs)) != NULL) {
		LIST_REMOVE(s, link);
		free(s);
	}
	td_arena_free(n->cfg_arena);
	td_arena_free(n->arena);
}

static struct ps_node *
node_new(struct ps_host *h, struct td_str name)
{
	struct td_arena *a = td_arena_new(sizeof(struct ps_node) + name.len + 32);
	struct ps_node *n = td_arena_zalloc(a, sizeof(*n));

	n->arena = a;
	n->refs = 1;
	n->host = h;
	n->name = td_arena_str(a, name);
	n->created = td_wall_ms();
	LIST_INIT(&n->subs);
	(void)td_map_set(&h->nodes, n->name, n);
	if (h->user != NULL)
		h->user->has_nodes = true;
	return n;
}

void
ps_node_set_config(struct ps_node *n, const struct ps_config *c)
{
	struct td_arena *old = n->cfg_arena;
	struct td_str *const texts[] = { &n->cfg.creator,  &n->cfg.title, &n->cfg.description,
					 &n->cfg.language, &n->cfg.type,  &n->cfg.contact,
					 &n->cfg.groups };

	n->cfg_arena = td_arena_new(128);
	n->cfg = *c;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		*texts[i] = td_arena_str(n->cfg_arena, *texts[i]);
	td_arena_free(old);
}

struct ps_node *
ps_node_add(struct ps_host *h, struct td_str name, const struct ps_config *c)
{
	struct ps_node *n = node_new(h, name);

	ps_node_set_config(n, c);
	return n;
}

void
ps_node_remove(struct ps_node *n)
{
	(void)td_map_del(&n->host->nodes, n->name);
	n->gone = true;
	if (n->host->user != NULL && n->host->nodes.len == 0)
		n->host->user->has_nodes = false;
	ps_node_unref(&n);
}

void
ps_node_set_affiliation(struct ps_node *n, struct td_str bare, enum ps_affiliation a)
{
	struct ps_affil *af = td_map_find(&n->affils, bare);

	if (a == PSF_NONE) {
		free(td_map_del(&n->affils, bare));
		return;
	}
	if (af == NULL) {
		char *p;

		af = td_alloc(sizeof(*af) + bare.len);
		p = (char *)(af + 1);
		memcpy(p, bare.p, bare.len);
		af->jid = td_str(p, bare.len);
		(void)td_map_set(&n->affils, af->jid, af);
	}
	af->affiliation = (uint8_t)a;
}

struct ps_sub *
ps_node_sub(const struct ps_node *n, struct td_str jid)
{
	return td_map_find(&n->subs_by_jid, jid);
}

struct ps_sub *
ps_node_sub_id(const struct ps_node *n, struct td_str jid, struct td_str id)
{
	struct ps_sub *s = ps_node_sub(n, jid);

	while (s != NULL && !td_str_eq(s->id, id))
		s = s->next;
	return s;
}

struct ps_sub *
ps_node_add_sub(struct ps_node *n, struct td_str jid, struct td_str id, enum ps_state state)
{
	struct ps_sub *first = ps_node_sub(n, jid), **at, *s;
	char made[17], *p;

	if (id.p == NULL) {
		td_random_id(made, 16);
		id = td_cstr(made);
	}
	s = td_zalloc(sizeof(*s) + jid.len + id.len);
	p = (char *)(s + 1);
	memcpy(p, jid.p, jid.len);
	memcpy(p + jid.len, id.p, id.len);
	s->jid = td_str(p, jid.len);
	s->id = td_str(p + jid.len, id.len);
	s->state = (uint8_t)state;
	s->opt = ps_sub_defaults;
	s->first = first != NULL ? first : s;
	LIST_INSERT_HEAD(&n->subs, s, link);
	n->n_subs++;
	for (at = &first; *at != NULL; at = &(*at)->next)
		;
	*at = s;
	if (s->first == s)
		(void)td_map_set(&n->subs_by_jid, s->jid, s);
	return s;
}

void
ps_node_drop_sub(struct ps_node *n, struct ps_sub *s)
{
	struct ps_sub *first = s->first, **at;

	for (at = &first; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	(void)td_map_del(&n->subs_by_jid, s->jid);
	if (first != NULL)
		(void)td_map_set(&n->subs_by_jid, first->jid, first);
	for (struct ps_sub *t = first; t != NULL; t = t->next)
		t->first = first;
	LIST_REMOVE(s, link);
	n->n_subs--;
	free(s);
}

bool
ps_is_multi(const struct xmpp_env *env, struct td_str domain)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };

	return conf_bool(env->conf, &at, "pubsub_multi_subscribe");
}

bool
ps_tells_subid(const struct ps_node *n, const struct ps_sub *s)
{
	return s->first->next != NULL || ps_is_multi(n->host->env, domain_of(n->host));
}

const struct ps_sub_options ps_sub_defaults = { .deliver = true,
						.shows = PS_ALL_SHOWS,
						.frequency = 86400000 };

/* A subscription's options: "<deliver> <shows> <expire> <digest> <frequency> <digested>"; the last three may be missing. */
void
ps_sub_write(const struct ps_sub *s, struct td_buf *out)
{
	td_buf_addf(out, "%d %u %llu %d %u %llu", s->opt.deliver ? 1 : 0, s->opt.shows,
		    (unsigned long long)s->opt.expire, s->opt.digest ? 1 : 0, s->opt.frequency,
		    (unsigned long long)s->opt.digested);
}

static void
sub_read(struct ps_sub *s, struct td_str text)
{
	char buf[128];
	unsigned deliver, shows, digest = 0, frequency = ps_sub_defaults.frequency;
	unsigned long long expire, digested = 0;

	(void)snprintf(buf, sizeof(buf), "%.*s", TD_STR_ARG(text));
	if (sscanf(buf, "%u %u %llu %u %u %llu", &deliver, &shows, &expire, &digest, &frequency,
		   &digested) < 3)
		return;
	s->opt = (struct ps_sub_options){ .expire = expire,
					  .digested = digested,
					  .frequency = frequency,
					  .deliver = deliver != 0,
					  .digest = digest != 0,
					  .shows = (uint8_t)(shows & PS_ALL_SHOWS) };
}

/* ---- hosts ---- */

static struct ps_host *
host_new(struct xmpp_env *env, struct td_str jid, struct xmpp_user *user)
{
	struct ps_host *h = td_zalloc(sizeof(*h));

	h->env = env;
	h->jid = td_str(td_strndup(jid), jid.len);
	h->user = user;
	h->pep = user != NULL;
	LIST_INIT(&h->calls);
	STAILQ_INIT(&h->waiting);
	return h;
}

struct ps_host *
ps_host_known(struct xmpp_user *u)
{
	return xmpp_user_data(u, XMPP_USER_SLOT_PEP);
}

struct ps_host *
ps_host_pep(struct xmpp_user *u)
{
	struct ps_host *h = ps_host_known(u);

	if (h == NULL) {
		h = host_new(u->env, u->bare, u);
		h->loaded = !u->has_nodes; /* nothing to be read */
		xmpp_user_set_data(u, XMPP_USER_SLOT_PEP, h);
	}
	return h;
}

struct ps_host *
ps_host_service(struct xmpp_env *env, struct td_str domain)
{
	struct td_map *services = env->module_data[XMPP_SLOT_PUBSUB];
	struct ps_host *h = td_map_find(services, domain);

	if (h == NULL) {
		h = host_new(env, domain, NULL);
		(void)td_map_set(services, h->jid, h);
	}
	return h;
}

static void
forget_nodes(struct ps_host *h)
{
	struct ps_node *n;
	size_t i = 0;

	while ((n = td_map_next(&h->nodes, &i)) != NULL) {
		n->gone = true;
		ps_node_unref(&n);
	}
	td_map_fini(&h->nodes);
	h->nodes = (struct td_map){ 0 };
}

static void
run_waiters(struct ps_host *h, struct ps_waiters *list)
{
	struct ps_waiter *w;

	while ((w = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		w->fn(h, w->arg);
		free(w);
	}
}

void
ps_host_free(struct ps_host *h)
{
	struct ps_call *c;
	struct ps_peer *p;
	size_t i = 0;

	run_waiters(NULL, &h->waiting);
	while ((c = LIST_FIRST(&h->calls)) != NULL) {
		LIST_REMOVE(c, link);
		c->host = NULL;
	}
	while ((p = td_map_next(&h->peers, &i)) != NULL) {
		xmpp_caps_unref(&p->caps);
		free(p);
	}
	td_map_fini(&h->peers);
	td_timer_clear(h->env->loop, &h->timer);
	forget_nodes(h);
	free((void *)(uintptr_t)h->jid.p);
	free(h);
}

void
ps_call_begin(struct ps_call *c, struct ps_host *h)
{
	c->host = h;
	LIST_INSERT_HEAD(&h->calls, c, link);
	h->n_calls++;
	if (h->user != NULL)
		xmpp_user_hold(h->user);
}

static void start_load(struct ps_host *h);

void
ps_call_end(struct ps_call *c)
{
	struct ps_host *h = c->host;

	if (h == NULL)
		return;
	LIST_REMOVE(c, link);
	c->host = NULL;
	if (--h->n_calls == 0 && h->stale) {
		h->stale = h->loaded = false;
		ps_host_untimed(h);
		forget_nodes(h);
		if (!STAILQ_EMPTY(&h->waiting))
			start_load(h);
	}
	if (h->user != NULL)
		xmpp_user_release(h->user); /* h may be gone */
}

/* ---- loading ---- */

static void
take_nodes(struct ps_host *h, const struct store_ps_owner *o)
{
	for (size_t i = 0; i < o->n_nodes; i++) {
		struct td_arena *a = td_arena_new(256);
		struct ps_node *n = node_new(h, o->nodes[i].name);
		struct ps_config c;

		n->created = o->nodes[i].created;
		ps_config_default(h, n->name, &c);
		ps_config_read(a, o->nodes[i].config, &c);
		ps_node_set_config(n, &c);
		td_arena_free(a);
	}
	for (size_t i = 0; i < o->n_affiliations; i++) {
		const struct store_ps_link *l = &o->affiliations[i];
		struct ps_node *n = ps_node_find(h, l->node);

		if (n != NULL && l->state > PSF_NONE && l->state < PSF_COUNT)
			ps_node_set_affiliation(n, l->jid, (enum ps_affiliation)l->state);
	}
	for (size_t i = 0; i < o->n_subscriptions; i++) {
		const struct store_ps_link *l = &o->subscriptions[i];
		struct ps_node *n = ps_node_find(h, l->node);

		if (n != NULL && l->state > PSS_NONE && l->state < PSS_COUNT)
			sub_read(ps_node_add_sub(n, l->jid, l->subid, (enum ps_state)l->state),
				 l->options);
	}
}

static void
on_load(void *arg, const struct store_result *r, const struct store_ps_owner *o)
{
	struct ps_call *c = arg;
	struct ps_host *h = c->host;
	struct ps_waiters list = STAILQ_HEAD_INITIALIZER(list);

	if (h == NULL) {
		free(c);
		return;
	}
	h->loading = false;
	if (r->rc == 0) {
		take_nodes(h, o);
		h->loaded = true;
		ps_host_timed(h);
	} else {
		td_log_error(&h->env->log, "pubsub-load-failed", "owner=%s error=%s",
			     td_esc(h->jid), td_escz(r->error));
	}
	STAILQ_CONCAT(&list, &h->waiting);
	run_waiters(h, &list);
	ps_call_end(c);
	free(c);
}

static void
start_load(struct ps_host *h)
{
	struct ps_call *c = td_zalloc(sizeof(*c));

	h->loading = true;
	ps_call_begin(c, h);
	store_ps_load(h->env->store, h->jid, h->env->loop, on_load, c);
}

void
ps_host_with(struct ps_host *h, void (*fn)(struct ps_host *h, void *arg), void *arg)
{
	struct ps_waiter *w;

	if (h->loaded && !h->stale) {
		fn(h, arg);
		return;
	}
	w = td_zalloc(sizeof(*w));
	w->fn = fn;
	w->arg = arg;
	STAILQ_INSERT_TAIL(&h->waiting, w, link);
	if (!h->loading && !h->stale)
		start_load(h);
}

/* ---- who may what ---- */

enum ps_affiliation
ps_affiliation(const struct ps_node *n, const struct xmpp_jid *who)
{
	const struct ps_affil *af;

	if (n->host->pep && td_str_eq(who->bare, n->host->jid))
		return PSF_OWNER;
	af = td_map_find(&n->affils, who->bare);
	return af != NULL ? (enum ps_affiliation)af->affiliation : PSF_NONE;
}

bool
ps_is_owner(const struct ps_node *n, const struct xmpp_jid *who)
{
	return ps_affiliation(n, who) == PSF_OWNER;
}

bool
ps_is_stranger(const struct ps_host *h, const struct xmpp_jid *who)
{
	return h->pep && !xmpp_presence_may_see(h->user, who);
}

bool
ps_in_groups(struct xmpp_user *u, const struct xmpp_jid *who, struct td_str rest)
{
	const struct xmpp_contact *c = xmpp_user_contact(u, who->bare);

	while (c != NULL && rest.len > 0) {
		struct td_str one = td_str_cut(&rest, '\n');

		for (unsigned i = 0; i < c->n_groups; i++)
			if (td_str_eq(c->groups[i], one))
				return true;
	}
	return false;
}

static bool
has_subscribed(const struct ps_node *n, struct td_str jid)
{
	const struct ps_sub *s = ps_node_sub(n, jid);

	while (s != NULL && s->state != PSS_SUBSCRIBED)
		s = s->next;
	return s != NULL;
}

static bool
is_subscribed(const struct ps_node *n, const struct xmpp_jid *who)
{
	return has_subscribed(n, who->bare) ||
	       (who->resource.p != NULL && has_subscribed(n, who->full));
}

bool
ps_may_read(const struct ps_node *n, const struct xmpp_jid *who, bool subscribing,
	    struct ps_refusal *why)
{
	static const struct ps_refusal refusals[] = {
		[PSA_PRESENCE] = { XE_NOT_AUTHORIZED, "presence-subscription-required" },
		[PSA_ROSTER] = { XE_NOT_AUTHORIZED, "not-in-roster-group" },
		[PSA_AUTHORIZE] = { XE_NOT_AUTHORIZED, "not-subscribed" },
		[PSA_WHITELIST] = { XE_NOT_ALLOWED, "closed-node" },
	};
	enum ps_affiliation af = ps_affiliation(n, who);
	enum ps_access access = (enum ps_access)n->cfg.access;

	*why = (struct ps_refusal){ XE_FORBIDDEN, NULL };
	if (af == PSF_OUTCAST || af == PSF_PUBLISH_ONLY)
		return false;
	if (af == PSF_OWNER || access == PSA_OPEN)
		return true;
	*why = refusals[access];
	switch (access) {
	case PSA_OPEN: return true;
	case PSA_PRESENCE:
		return n->host->pep ? xmpp_presence_may_see(n->host->user, who)
				    : ps_is_trusted(n, who);
	case PSA_ROSTER:
		if (!n->host->pep)
			return ps_is_trusted(n, who);
		return xmpp_presence_may_see(n->host->user, who) &&
		       ps_in_groups(n->host->user, who, n->cfg.groups);
	case PSA_AUTHORIZE:
		return subscribing || af == PSF_PUBLISHER || af == PSF_MEMBER ||
		       is_subscribed(n, who);
	case PSA_WHITELIST: return af == PSF_PUBLISHER || af == PSF_MEMBER;
	}
	return false;
}

bool
ps_may_publish(const struct ps_node *n, const struct xmpp_jid *who)
{
	enum ps_affiliation af = ps_affiliation(n, who);
	struct ps_refusal why;

	if (af == PSF_OUTCAST)
		return false;
	if (af == PSF_OWNER || af == PSF_PUBLISHER || af == PSF_PUBLISH_ONLY)
		return true;
	if (n->cfg.publish == PSP_OPEN)
		return true;
	if (n->cfg.publish != PSP_SUBSCRIBERS)
		return false;
	/* who sees our presence is subscribed by that (XEP-0060 9.1) */
	return is_subscribed(n, who) ||
	       (n->host->pep && !ps_is_stranger(n->host, who) && ps_may_read(n, who, false, &why));
}

bool
ps_may_create(const struct ps_host *h, const struct xmpp_jid *who)
{
	struct conf_at at = { .protocol = "xmpp", .domain = h->jid };
	struct td_str create;

	if (h->pep)
		return td_str_eq(who->bare, h->jid);
	if (who->local.p == NULL)
		return false;
	create = conf_str(h->env->conf, &at, "node_create");
	if (td_str_ieq(create, TD_STR("anyone")) || xmpp_is_admin(h->env, h->jid, who->bare))
		return true;
	return td_str_ieq(create, TD_STR("local")) &&
	       h->env->host->domain(h->env, who->domain) == XD_LOCAL;
}

uint64_t
ps_since(const struct ps_node *n)
{
	return n->cfg.item_expire > 0 ? td_wall_ms() - (uint64_t)n->cfg.item_expire * 1000 : 0;
}

/* ---- answers ---- */

void
ps_answer(struct ps_host *h, struct xmpp_stanza *s, struct td_str xml)
{
	struct xmpp_iq iq = { .env = h->env, .s = s, .user = h->user };

	xmpp_iq_result(&iq, xml);
}

static void
refuse(struct ps_host *h, struct xmpp_stanza *s, enum xmpp_error e, const char *condition,
       const char *feature)
{
	struct xmpp_iq iq = { .env = h->env, .s = s, .user = h->user };
	struct td_buf b = { 0 };

	if (condition != NULL)
		td_buf_addf(&b, "<%s xmlns='" NS_PUBSUB_ERRORS "'", condition);
	if (feature != NULL)
		td_buf_addf(&b, " feature='%s'", feature);
	if (condition != NULL)
		td_buf_addz(&b, "/>");
	xmpp_iq_error_with(&iq, e, NULL, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_refuse(struct ps_host *h, struct xmpp_stanza *s, enum xmpp_error e, const char *condition)
{
	refuse(h, s, e, condition, NULL);
}

void
ps_result(struct ps_req *r, struct td_str xml)
{
	ps_answer(r->host, r->s, xml);
	r->verdict = XMPP_DONE;
}

void
ps_error(struct ps_req *r, enum xmpp_error e, const char *condition)
{
	ps_refuse(r->host, r->s, e, condition);
	r->verdict = XMPP_DONE;
}

void
ps_error_as(struct ps_req *r, enum xmpp_error e, const char *type, const char *condition)
{
	struct td_buf b = { 0 };
	struct xmpp_stanza *s;

	td_buf_addf(&b, "<%s xmlns='" NS_PUBSUB_ERRORS "'/>", condition);
	s = xmpp_stanza_error_with(r->s, e, NULL, td_buf_str(&b));
	td_buf_fini(&b);
	r->verdict = XMPP_DONE;
	if (s == NULL)
		return;
	xmpp_node_set(s->arena, xmpp_node_child(s->root, NULL, "error"), "type", td_cstr(type));
	s->flags |= XF_NO_BOUNCE;
	xmpp_route(r->host->env, s);
}

void
ps_unsupported(struct ps_req *r, const char *feature)
{
	refuse(r->host, r->s, XE_FEATURE_NOT_IMPLEMENTED, "unsupported", feature);
	r->verdict = XMPP_DONE;
}

/* ---- changes ---- */

struct said {
	STAILQ_ENTRY(said) link;
	struct ps_node *node; /* an event for its subscribers; or */
	struct xmpp_jid to;   /* a message */
	struct td_str xml;
};
struct ps_change {
	struct ps_call call; /* first */
	struct xmpp_stanza *iq;
	struct td_arena *arena;
	struct store_ps_change *verbs;
	size_t n, cap;
	bool memory; /* what is in memory changed */
	bool bookmarks, avatar;
	struct td_str result, failed; /* failed: payload of the error that is the answer */
	STAILQ_HEAD(, said) said;
	bool (*then)(struct ps_host *h, struct xmpp_stanza *iq, int rc, void *arg);
	void *arg;
};

struct ps_change *
ps_change_new(struct ps_host *h, struct xmpp_stanza *iq)
{
	struct td_arena *a = td_arena_new(1024);
	struct ps_change *c = td_arena_zalloc(a, sizeof(*c));

	c->arena = a;
	c->iq = iq != NULL ? xmpp_stanza_ref(iq) : NULL;
	STAILQ_INIT(&c->said);
	ps_call_begin(&c->call, h);
	return c;
}

struct td_arena *
ps_change_arena(struct ps_change *c)
{
	return c->arena;
}

void
ps_change_add(struct ps_change *c, const struct store_ps_change *verb)
{
	if (c->n == c->cap) {
		size_t cap = c->cap > 0 ? c->cap * 2 : 8;
		struct store_ps_change *v = td_arena_alloc(c->arena, cap * sizeof(*v));

		if (c->n > 0)
			memcpy(v, c->verbs, c->n * sizeof(*v));
		c->verbs = v;
		c->cap = cap;
	}
	c->verbs[c->n++] = *verb;
	switch (verb->verb) {
	case PS_NODE_ADD:
	case PS_NODE_SET:
	case PS_AFFILIATION:
	case PS_SUBSCRIPTION: c->memory = true; break;
	case PS_NODE_DEL: c->memory = true; /* fall through */
	case PS_ITEM_SET:
	case PS_ITEM_DEL:
	case PS_ITEM_DROP:
	case PS_PURGE:
		c->bookmarks |= td_str_eqc(verb->node, NS_BOOKMARKS);
		c->avatar |= td_str_eqc(verb->node, NS_AVATAR_METADATA);
		break;
	case PS_ROOM:
	case PS_KEEP:
	case PS_EXPIRE: break;
	}
}

void
ps_change_failed(struct ps_change *c, const struct ps_req *r, const char *list, struct td_str bad)
{
	struct td_buf b = { 0 };

	if (bad.len == 0)
		return;
	td_buf_addf(&b, "<pubsub xmlns='" NS_PUBSUB_OWNER "'><%s node='", list);
	td_buf_add_xml(&b, r->name);
	td_buf_addz(&b, "'>");
	td_buf_adds(&b, bad);
	td_buf_addf(&b, "</%s></pubsub>", list);
	c->failed = td_arena_str(c->arena, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_change_result(struct ps_change *c, struct td_str xml)
{
	c->result = td_arena_str(c->arena, xml);
}

void
ps_change_event(struct ps_change *c, struct ps_node *n, struct td_str xml)
{
	struct said *s = td_arena_zalloc(c->arena, sizeof(*s));

	n->refs++;
	s->node = n;
	s->xml = td_arena_str(c->arena, xml);
	STAILQ_INSERT_TAIL(&c->said, s, link);
}

void
ps_change_tell(struct ps_change *c, const struct xmpp_jid *to, struct td_str xml)
{
	struct said *s = td_arena_zalloc(c->arena, sizeof(*s));

	xmpp_jid_copy(c->arena, to, &s->to);
	s->xml = td_arena_str(c->arena, xml);
	STAILQ_INSERT_TAIL(&c->said, s, link);
}

void
ps_change_then(struct ps_change *c,
	       bool (*fn)(struct ps_host *h, struct xmpp_stanza *iq, int rc, void *arg), void *arg)
{
	c->then = fn;
	c->arg = arg;
}

void
ps_change_quiet(struct ps_change *c)
{
	c->avatar = false;
}

static void
refuse_change(struct ps_host *h, struct ps_change *c, int rc, const char *error)
{
	enum xmpp_error e = XE_INTERNAL_SERVER_ERROR;
	const char *condition = NULL;

	switch (rc) {
	case TD_E_NOTFOUND: e = XE_ITEM_NOT_FOUND; break;
	case TD_E_DENIED: e = XE_FORBIDDEN; break;
	case TD_E_EXISTS: e = XE_CONFLICT; break;
	case TD_E_LIMIT:
		e = XE_CONFLICT;
		condition = "node-full";
		break;
	case TD_E_FULL: e = XE_RESOURCE_CONSTRAINT; break;
	default:
		td_log_error(&h->env->log, "pubsub-write-failed", "owner=%s error=%s",
			     td_esc(h->jid), td_escz(error));
	}
	if (c->iq != NULL)
		ps_refuse(h, c->iq, e, condition);
}

/* The error about the items that could not be done. */
static void
answer_failed(struct ps_host *h, struct ps_change *c)
{
	struct xmpp_stanza *s = xmpp_stanza_error(c->iq, XE_NOT_ACCEPTABLE, TD_STR_NULL);
	struct xmpp_node *err, *n;

	if (s == NULL)
		return;
	err = xmpp_node_child(s->root, NULL, "error");
	while ((n = s->root->first) != NULL)
		xmpp_node_unlink(n);
	n = xmpp_xml_parse(s->arena, c->failed, NS_CLIENT, NULL);
	if (n != NULL)
		xmpp_node_append(s->root, n);
	xmpp_node_append(s->root, err);
	s->flags |= XF_NO_BOUNCE;
	xmpp_route(h->env, s);
}

static void
change_free(struct ps_change *c)
{
	struct said *s;

	STAILQ_FOREACH(s, &c->said, link)
	if (s->node != NULL)
		ps_node_unref(&s->node);
	xmpp_stanza_unref(&c->iq);
	td_arena_free(c->arena);
}

static void
say_all(struct ps_host *h, struct ps_change *c)
{
	struct said *s;

	STAILQ_FOREACH(s, &c->said, link)
	{
		if (s->node != NULL)
			ps_notify(s->node, s->xml);
		else
			ps_send(h, &s->to, XT_HEADLINE, s->xml);
	}
	if (h->pep && c->bookmarks)
		ps_bookmarks_changed(h);
	if (h->pep && c->avatar)
		ps_avatar_changed(h);
}

static void
change_done(struct ps_change *c, int rc, const char *error)
{
	struct ps_host *h = c->call.host;
	bool answered;

	if (h == NULL) { /* the instance is gone */
		if (c->then != NULL)
			(void)c->then(NULL, c->iq, TD_E_IO, c->arg);
		change_free(c);
		return;
	}
	if (rc < 0 && c->memory)
		h->stale = true;
	answered = c->then != NULL && c->then(h, c->iq, rc, c->arg);
	if (rc < 0 && !answered)
		refuse_change(h, c, rc, error);
	else if (rc == 0 && c->failed.len > 0)
		answer_failed(h, c);
	else if (rc == 0 && !answered && c->iq != NULL)
		ps_answer(h, c->iq, c->result);
	if (rc == 0)
		say_all(h, c);
	ps_call_end(&c->call);
	change_free(c);
}

static void
on_commit(void *arg, const struct store_result *r)
{
	change_done(arg, r->rc, r->error);
}

void
ps_change_commit(struct ps_change *c)
{
	struct ps_host *h = c->call.host;

	if (c->n == 0)
		change_done(c, 0, NULL);
	else
		store_ps_change(h->env->store, h->jid, c->verbs, c->n,
				(uint64_t)ps_limit(h, "pubsub_quota"),
				(struct store_to){ h->env->loop, on_commit, c });
}
