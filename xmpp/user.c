/* user - local accounts with something going on, loaded from the store on demand.
 *
 * Everything addressed to an account waits in order while it loads, so nothing overtakes.
 * A user without sessions stays for a while (its roster serves probes), then goes. */
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/c2s.h"
#include "xmpp/component.h"
#include "xmpp/deliver.h"
#include "xmpp/im.h"
#include "xmpp/roster.h"
#include "xmpp/signin.h"
#include "xmpp/xmpp.h"

#define IDLE_MS 60000u

/* What few accounts have. */
struct xmpp_user_ext {
	struct td_map settings; /* key -> struct setting */
	void *data[XMPP_USER_SLOT_COUNT];
	bool told; /* the modules were told that it is loaded */
};

struct setting {
	struct td_str value;
	char key[]; /* and the value behind it */
};

static struct xmpp_user_ext *
ext_of(struct xmpp_user *u)
{
	if (u->ext == NULL)
		u->ext = td_zalloc(sizeof(*u->ext));
	return u->ext;
}

static void
unload_modules(struct xmpp_user *u)
{
	if (u->ext == NULL || !u->ext->told)
		return;
	u->ext->told = false;
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->user_unloaded != NULL)
			(*m)->user_unloaded(u);
}

static void
ext_free(struct xmpp_user *u)
{
	struct setting *set;
	size_t i = 0;

	if (u->ext == NULL)
		return;
	while ((set = td_map_next(&u->ext->settings, &i)) != NULL)
		free(set);
	td_map_fini(&u->ext->settings);
	free(u->ext);
	u->ext = NULL;
}

static void
user_free(struct xmpp_user *u)
{
	td_timer_clear(u->env->loop, &u->idle);
	unload_modules(u);
	ext_free(u);
	td_map_del(&u->env->users, u->bare);
	xmpp_roster_free(u);
	td_map_fini(&u->roster);
	free(u->in_flight);
	free(u);
}

static void
maybe_unload(struct xmpp_user *u)
{
	if (u->n_sessions > 0 || u->busy > 0 || u->n_in_flight > 0 || u->state != XU_READY ||
	    !STAILQ_EMPTY(&u->waiting))
		return;
	/* an account that does not exist may be made at any moment: ask again next time */
	if (u->exists && !u->failed && !u->stale && u->idle.due == 0)
		td_timer_set(u->env->loop, &u->idle, IDLE_MS);
	else if (!u->exists || u->failed || u->stale)
		user_free(u);
}

static void
on_idle(struct td_timer *t)
{
	struct xmpp_user *u = (struct xmpp_user *)((char *)t - offsetof(struct xmpp_user, idle));

	if (u->n_sessions == 0 && u->busy == 0 && u->n_in_flight == 0)
		user_free(u);
	else if (u->n_sessions == 0)
		td_timer_set(u->env->loop, t, IDLE_MS);
}

void
xmpp_user_hold(struct xmpp_user *u)
{
	u->busy++;
}

void
xmpp_user_release(struct xmpp_user *u)
{
	if (--u->busy == 0)
		maybe_unload(u);
}

static void
run_waiting(struct xmpp_user *u)
{
	struct xmpp_waiting *w;

	u->busy++;
	while ((w = STAILQ_FIRST(&u->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&u->waiting, link);
		if (w->s != NULL)
			xmpp_deliver_loaded(u, w->s);
		else
			w->fn(u, w->arg);
		free(w);
	}
	u->busy--;
	maybe_unload(u);
}

static void
put_setting(struct xmpp_user *u, struct td_str key, struct td_str value)
{
	struct setting *set = td_alloc(sizeof(*set) + key.len + 1 + value.len + 1);

	memcpy(set->key, key.len > 0 ? key.p : "", key.len);
	set->key[key.len] = '\0';
	memcpy(set->key + key.len + 1, value.len > 0 ? value.p : "", value.len);
	set->key[key.len + 1 + value.len] = '\0';
	set->value = td_str(set->key + key.len + 1, value.len);
	free(td_map_set(&ext_of(u)->settings, td_str(set->key, key.len), set));
}

static void
on_loaded(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	struct xmpp_user *u = arg;

	u->state = XU_READY;
	u->failed = r->rc < 0 && r->rc != TD_E_NOTFOUND;
	if (u->failed)
		td_log_error(&u->env->log, "user-load-failed", "jid=%s error=%s", td_esc(u->bare),
			     td_escz(r->error));
	if (r->rc == 0 && ro != NULL && ro->account_exists) {
		u->exists = true;
		u->disabled = ro->account_disabled;
		u->fresh = ro->account_fresh;
		u->offline_count = ro->offline_count;
		u->has_nodes = ro->has_nodes;
		xmpp_roster_load(u, ro);
		for (size_t i = 0; i < ro->n_settings; i++)
			put_setting(u, ro->settings[i].key, ro->settings[i].value);
		for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
			if ((*m)->user_loaded != NULL)
				(*m)->user_loaded(u);
	}
	run_waiting(u);
}

static struct xmpp_user *
user_new(struct xmpp_env *env, struct td_str bare)
{
	struct xmpp_user *u = td_zalloc(sizeof(*u) + bare.len + 1);
	char *name = (char *)(u + 1);
	ptrdiff_t at = td_str_chr(bare, '@');

	memcpy(name, bare.p, bare.len);
	name[bare.len] = '\0';
	u->env = env;
	u->bare = td_str(name, bare.len);
	u->local = at < 0 ? TD_STR_NULL : td_str(name, (size_t)at);
	u->domain = td_str(name + at + 1, bare.len - (size_t)(at + 1));
	u->lim = xmpp_limits_of(env, u->domain);
	TAILQ_INIT(&u->sessions);
	STAILQ_INIT(&u->waiting);
	u->idle.fire = on_idle;
	(void)td_map_set(&env->users, u->bare, u);
	store_roster_get(env->store, u->bare, env->loop, on_loaded, u);
	return u;
}

struct xmpp_user *
xmpp_user_find(struct xmpp_env *env, struct td_str bare)
{
	return td_map_find(&env->users, bare);
}

static struct xmpp_user *
find_or_load(struct xmpp_env *env, struct td_str bare)
{
	struct xmpp_user *u = xmpp_user_find(env, bare);

	return u != NULL ? u : user_new(env, bare);
}

static void
wait_for(struct xmpp_user *u, struct xmpp_stanza *s, void (*fn)(struct xmpp_user *, void *),
	 void *arg)
{
	struct xmpp_waiting *w = td_zalloc(sizeof(*w));

	w->s = s;
	w->fn = fn;
	w->arg = arg;
	STAILQ_INSERT_TAIL(&u->waiting, w, link);
}

void
xmpp_user_with(struct xmpp_env *env, struct td_str bare, void (*fn)(struct xmpp_user *, void *),
	       void *arg)
{
	struct xmpp_user *u = find_or_load(env, bare);

	if (u->state != XU_READY || !STAILQ_EMPTY(&u->waiting)) {
		wait_for(u, NULL, fn, arg);
		return;
	}
	u->busy++;
	fn(u, arg);
	u->busy--;
	maybe_unload(u);
}

/* What needs no account to be loaded only to find nobody there. */
static bool
droppable(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	/* capabilities of another server's user: the last items of this account may be for them (XEP-0163) */
	if (s->kind == XK_PRESENCE && s->type == XT_NONE && !(s->flags & XF_FROM_CLIENT) &&
	    xmpp_node_child(s->root, NS_CAPS, "c") != NULL)
		return false;
	if (s->kind == XK_MESSAGE && (s->flags & XF_EVENT))
		return true; /* nobody is online */
	if (s->kind == XK_PRESENCE)
		return !xmpp_privilege_taps(env, s->to.domain) &&
		       (s->type == XT_NONE || s->type == XT_UNAVAILABLE || s->type == XT_ERROR);
	if (s->kind == XK_IQ)
		return s->type == XT_RESULT || s->type == XT_ERROR;
	return s->kind == XK_MESSAGE && s->type == XT_ERROR;
}

void
xmpp_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct xmpp_user *u = xmpp_user_find(env, s->to.bare);

	if (u == NULL) {
		if (droppable(env, s)) {
			xmpp_stanza_unref(&s);
			return;
		}
		u = user_new(env, s->to.bare);
	}
	if (u->state != XU_READY || !STAILQ_EMPTY(&u->waiting)) {
		wait_for(u, s, NULL, NULL);
		return;
	}
	u->busy++;
	xmpp_deliver_loaded(u, s);
	u->busy--;
	maybe_unload(u);
}

struct xmpp_contact *
xmpp_user_contact(struct xmpp_user *u, struct td_str bare)
{
	return td_map_find(&u->roster, bare);
}

/* ---- rows on their way to a session ---- */

static size_t
row_index(const struct xmpp_user *u, uint64_t row)
{
	size_t i = 0;

	while (i < u->n_in_flight && u->in_flight[i] != row)
		i++;
	return i;
}

bool
xmpp_user_row_in_flight(const struct xmpp_user *u, uint64_t row)
{
	return row_index(u, row) < u->n_in_flight;
}

void
xmpp_user_row_begin(struct xmpp_user *u, uint64_t row)
{
	if (xmpp_user_row_in_flight(u, row))
		return;
	if (u->n_in_flight == u->cap_in_flight) {
		u->cap_in_flight = u->cap_in_flight > 0 ? u->cap_in_flight * 2 : 8;
		u->in_flight = td_realloc(u->in_flight, u->cap_in_flight * sizeof(*u->in_flight));
	}
	u->in_flight[u->n_in_flight++] = row;
}

void
xmpp_user_row_end(struct xmpp_user *u, uint64_t row)
{
	size_t i = row_index(u, row);

	if (i < u->n_in_flight)
		memmove(&u->in_flight[i], &u->in_flight[i + 1],
			(--u->n_in_flight - i) * sizeof(*u->in_flight));
	if (u->n_in_flight == 0)
		maybe_unload(u);
}

void
xmpp_user_kick(struct xmpp_user *u, const char *condition)
{
	struct xmpp_session *s, *next;

	u->busy++;
	xmpp_signin_changed(u->env, u->bare); /* nor may who has no session yet */
	for (s = TAILQ_FIRST(&u->sessions); s != NULL; s = next) {
		struct xmpp_c2s *c = s->stream;

		next = TAILQ_NEXT(s, link);
		xmpp_session_end(s, condition);
		if (c != NULL)
			xmpp_c2s_end(c, condition, NULL);
	}
	u->busy--;
	/* what we know of the account may be wrong now */
	u->stale = true;
	if (u->n_sessions == 0 && u->busy == 0 && u->state == XU_READY &&
	    STAILQ_EMPTY(&u->waiting) && u->n_in_flight == 0)
		user_free(u);
}

/* ---- what modules keep with an account ---- */

struct td_str
xmpp_user_setting(const struct xmpp_user *u, const char *key)
{
	const struct setting *set =
		u->ext != NULL ? td_map_find(&u->ext->settings, td_cstr(key)) : NULL;

	return set != NULL ? set->value : TD_STR_NULL;
}

struct set_call {
	struct xmpp_call call;
	void (*done)(struct xmpp_user *u, int rc, void *arg);
	void *arg;
};

static void
on_setting(void *arg, const struct store_result *r)
{
	struct set_call *c = arg;

	if (c->call.env != NULL && r->rc < 0)
		td_log_error(&c->call.env->log, "setting-write-failed", "user=%s error=%s",
			     td_esc(c->call.user->bare), td_escz(r->error));
	if (c->call.env != NULL && c->done != NULL)
		c->done(c->call.user, r->rc, c->arg);
	xmpp_call_end(&c->call);
	free(c);
}

void
xmpp_user_set_setting(struct xmpp_user *u, const char *key, struct td_str value,
		      void (*done)(struct xmpp_user *u, int rc, void *arg), void *arg)
{
	struct set_call *c = td_zalloc(sizeof(*c));

	c->done = done;
	c->arg = arg;
	xmpp_call_begin(&c->call, u);
	/* the store first: <value> may be the one in memory */
	store_setting_set(u->env->store, u->bare, td_cstr(key), value,
			  (struct store_to){ u->env->loop, on_setting, c });
	if (value.p != NULL)
		put_setting(u, td_cstr(key), value);
	else if (u->ext != NULL)
		free(td_map_del(&u->ext->settings, td_cstr(key)));
}

void *
xmpp_user_data(const struct xmpp_user *u, enum xmpp_user_slot slot)
{
	return u->ext != NULL ? u->ext->data[slot] : NULL;
}

void
xmpp_user_set_data(struct xmpp_user *u, enum xmpp_user_slot slot, void *data)
{
	struct xmpp_user_ext *ext = ext_of(u);

	ext->data[slot] = data;
	if (data !=
	    NULL) /* a module that clears its slot while it is told of the end is not told again */
		ext->told = true;
}

void
xmpp_account_removed(struct xmpp_env *env, struct td_str bare)
{
	struct xmpp_user *u = xmpp_user_find(env, bare);

	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->account_removed != NULL)
			(*m)->account_removed(env, bare);
	if (u != NULL) {
		u->exists = false;
		xmpp_user_kick(u, "not-authorized");
	}
}

void
xmpp_users_unload(struct xmpp_env *env)
{
	struct xmpp_user *u;
	size_t i = 0;

	while ((u = td_map_next(&env->users, &i)) != NULL)
		unload_modules(u);
}

/* For xmpp_env_free. */
void
xmpp_users_free(struct xmpp_env *env)
{
	struct xmpp_user *u;
	size_t i = 0;

	while ((u = td_map_next(&env->users, &i)) != NULL) {
		struct xmpp_waiting *w;

		while ((w = STAILQ_FIRST(&u->waiting)) != NULL) {
			STAILQ_REMOVE_HEAD(&u->waiting, link);
			xmpp_stanza_unref(&w->s);
			free(w);
		}
		user_free(u);
	}
	td_map_fini(&env->users);
}
