/* session - bound resources: binding, sending, ending.
 *
 * Sending (xmpp_session_send) is the one place where a stanza meets a client:
 *   SM on:   queue, then socket; acknowledged later (xep_0198_sm.c)
 *   SM off:  a stanza under another client's promise is committed to the store first, then
 *            written; its row goes when the kernel has the bytes
 *   neither: written */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/c2s.h"
#include "xmpp/deliver.h"
#include "xmpp/script.h"
#include "xmpp/sm.h"
#include "xmpp/xmpp.h"

struct xmpp_session *
xmpp_session_find(struct xmpp_user *u, struct td_str resource)
{
	struct xmpp_session *s;

	if (resource.p == NULL)
		return NULL;
	TAILQ_FOREACH(s, &u->sessions, link)
	if (td_str_eq(s->jid.resource, resource))
		return s;
	return NULL;
}

/* ---- binding ---- */

static bool
settle_conflict(struct xmpp_user *u, struct xmpp_session *old, struct xmpp_jid *jid,
		struct td_arena *a, enum xmpp_error *e)
{
	struct xmpp_c2s *c = old->stream;
	char id[9];

	switch (u->lim->conflict) {
	case XC_REJECT: *e = XE_CONFLICT; return false;
	case XC_RENAME:
		td_random_id(id, 8);
		return xmpp_jid_with_resource(
			       a, jid,
			       td_str(td_arena_printf(a, "%.*s-%s", TD_STR_ARG(jid->resource), id),
				      jid->resource.len + 9),
			       jid, NULL) == 0;
	case XC_REPLACE: break;
	}
	xmpp_session_end(old, "replaced");
	if (c != NULL)
		xmpp_c2s_end(c, "conflict", "Replaced by a new connection");
	return true;
}

/* A client that broke off time and again must not be locked out by what it left behind. */
static bool
make_room(struct xmpp_user *u)
{
	struct xmpp_session *s;

	if (u->n_sessions < u->lim->max_resources)
		return true;
	TAILQ_FOREACH(s, &u->sessions, link) /* oldest first */
	if (s->stream == NULL) {
		xmpp_session_end(s, "too-many-resources");
		return true;
	}
	return false;
}

struct xmpp_session *
xmpp_session_new(struct xmpp_user *u, struct xmpp_c2s *stream, struct td_str resource,
		 enum xmpp_error *e)
{
	struct xmpp_env *env = u->env;
	/* exactly what most need: it lives as long as the session */
	struct td_arena *names = td_arena_new(
		(u->bare.len + (resource.len > 0 ? resource.len : 16) + 17) & ~(size_t)15);
	struct xmpp_session *s, *old;
	struct xmpp_jid jid;
	char made[17];

	if (resource.len == 0) {
		td_random_id(made, 16);
		resource = td_cstr(made);
	}
	*e = XE_BAD_REQUEST;
	if (xmpp_jid_make(names, u->local, u->domain, resource, &jid, NULL) < 0)
		goto refuse;
	old = xmpp_session_find(u, jid.resource);
	if (old != NULL && !settle_conflict(u, old, &jid, names, e))
		goto refuse;
	*e = XE_RESOURCE_CONSTRAINT;
	if (!make_room(u))
		goto refuse;
	s = td_zalloc(sizeof(*s));
	s->env = env;
	s->user = u;
	s->stream = stream;
	s->jid = jid;
	s->names = names;
	s->bound_at = td_wall_ms();
	td_random_id(s->sid, sizeof(s->sid) - 1);
	TAILQ_INSERT_TAIL(&u->sessions, s, link);
	TAILQ_INSERT_TAIL(&env->sessions, s, env_link);
	u->n_sessions++;
	td_timer_clear(env->loop, &u->idle);
	env->stats.sessions++;
	return s;
refuse:
	td_arena_free(names);
	return NULL;
}

void
xmpp_session_started(struct xmpp_session *s)
{
	struct xmpp_env *env = s->env;

	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->session_bound != NULL)
			(*m)->session_bound(s);
	if (xmpp_hooked(env, XH_SESSION_START))
		xmpp_hook_session(s, XH_SESSION_START);
}

struct xmpp_session *
xmpp_session_bind(struct xmpp_user *u, struct xmpp_c2s *stream, struct td_str resource,
		  enum xmpp_error *e)
{
	struct xmpp_session *s = xmpp_session_new(u, stream, resource, e);

	if (s != NULL)
		xmpp_session_started(s);
	return s;
}

void
xmpp_carbons_enable(struct xmpp_session *sess)
{
	sess->carbons = true;
}

/* ---- sending ---- */

/* To the queue or the socket. */
static void
hand_over(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_c2s *c = sess->stream;

	if (s->row != 0)
		xmpp_user_row_begin(sess->user, s->row);
	if (sess->sm != NULL && !xmpp_sm_sent(sess, s)) {
		td_log_warn(&sess->env->log, "sm-queue-full", "jid=%s", td_esc(sess->jid.full));
		xmpp_session_end(sess, "sm-queue-full");
		if (c != NULL)
			xmpp_c2s_end(c, "resource-constraint", "Too many unacknowledged stanzas");
	} else if (c != NULL && sess->sm == NULL && s->row != 0) {
		xmpp_c2s_write_row(c, s, s->row);
	} else if (c != NULL) {
		xmpp_c2s_write(c, s);
	}
}

/* A message that is in the store before the client gets it; what follows waits behind it, or it would
 * overtake (RFC 6120 10.1). */
#define KEPT_HELD_MAX 1000u

struct xmpp_kept {
	struct xmpp_env *env;
	struct xmpp_stanza *s;
	STAILQ_HEAD(, xmpp_waiting) held;
	unsigned n_held;
	struct td_str bare, resource; /* copies in s's arena would be shared: own malloc */
	char text[];
};

static bool
hold_behind(struct xmpp_kept *k, struct xmpp_stanza *s)
{
	struct xmpp_waiting *w;

	if (k->n_held == KEPT_HELD_MAX)
		return false;
	w = td_zalloc(sizeof(*w));
	w->s = xmpp_stanza_ref(s);
	STAILQ_INSERT_TAIL(&k->held, w, link);
	k->n_held++;
	return true;
}

static void put_now(struct xmpp_session *sess, struct xmpp_stanza *s);

/* <to> NULL: the session went meanwhile. */
static void
let_out(struct xmpp_kept *k, struct xmpp_user *u, struct xmpp_session *to)
{
	struct xmpp_waiting *w;

	if (to != NULL && to->keeping == k)
		to->keeping = NULL;
	while ((w = STAILQ_FIRST(&k->held)) != NULL) {
		STAILQ_REMOVE_HEAD(&k->held, link);
		if (to != NULL && !to->dead) {
			put_now(to, w->s);
			xmpp_stanza_unref(&w->s);
		} else if (u != NULL && w->s->kind != XK_PRESENCE && !(w->s->flags & XF_COPY)) {
			xmpp_deliver_loaded(u, w->s);
		} else {
			xmpp_stanza_unref(&w->s);
		}
		free(w);
	}
}

static void
on_kept(void *arg, const struct store_result *r)
{
	struct xmpp_kept *k = arg;
	struct xmpp_user *u = xmpp_user_find(k->env, k->bare);
	struct xmpp_session *to = u != NULL ? xmpp_session_find(u, k->resource) : NULL;

	if (r->rc < 0) {
		xmpp_bounce(k->env, k->s, XE_RESOURCE_CONSTRAINT, "The message could not be kept.");
	} else if (to != NULL && to->stream != NULL && to->sm == NULL) {
		xmpp_user_row_begin(u, r->id);
		xmpp_c2s_write_row(to->stream, k->s, r->id);
	} else if (to != NULL && to->sm != NULL) { /* enabled meanwhile, and now it counts */
		struct xmpp_stanza *copy = xmpp_stanza_readdress(k->s, &k->s->to);

		copy->row = r->id;
		hand_over(to, copy);
		xmpp_stanza_unref(&copy);
	} else if (u != NULL) {
		u->offline_count++; /* it waits in the store */
		for (to = TAILQ_FIRST(&u->sessions); to != NULL; to = TAILQ_NEXT(to, link))
			if (to->available && to->priority >= 0) {
				xmpp_offline_replay(to);
				break;
			}
	}
	let_out(k, u, u != NULL ? xmpp_session_find(u, k->resource) : NULL);
	if (u != NULL)
		xmpp_user_release(u);
	xmpp_stanza_unref(&k->s);
	free(k);
}

static void
keep_then_write(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct td_str bare = sess->user->bare, res = sess->jid.resource;
	struct xmpp_kept *k = td_alloc(sizeof(*k) + bare.len + res.len);
	struct td_buf xml = { 0 };

	k->env = sess->env;
	k->s = xmpp_stanza_ref(s);
	k->n_held = 0;
	STAILQ_INIT(&k->held);
	sess->keeping = k;
	memcpy(k->text, bare.p, bare.len);
	memcpy(k->text + bare.len, res.p, res.len);
	k->bare = td_str(k->text, bare.len);
	k->resource = td_str(k->text + bare.len, res.len);
	xmpp_user_hold(sess->user);
	xmpp_stanza_write(s, true, &xml);
	sess->env->stats.stored++;
	store_message_add(sess->env->store, bare, td_buf_str(&xml), td_wall_ms(),
			  (struct store_to){ sess->env->loop, on_kept, k });
	td_buf_fini(&xml);
}

void
xmpp_session_send(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_env *env = sess->env;

	if (sess->dead)
		return;
	sess->took = s;
	for (const struct xmpp_module **m = env->on[STAGE_TO_SESSION]; *m != NULL; m++)
		if ((*m)->to_session(sess, s) == XMPP_DONE)
			return;
	xmpp_session_put(sess, s);
}

/* Does somebody wait for an acknowledgement of <s>, or of what a script put it in the place of? */
static bool
is_promised(const struct xmpp_stanza *s)
{
	return s->promise != NULL || (s->base != NULL && s->base->promise != NULL);
}

/* What the sender was told is safe, and this client cannot acknowledge, is in the store first. */
static bool
must_be_kept(const struct xmpp_session *sess, const struct xmpp_stanza *s)
{
	return sess->sm == NULL && sess->stream != NULL && s->row == 0 && is_promised(s) &&
	       s->kind == XK_MESSAGE && sess->user->lim->ack_stored &&
	       !(sess->mam && (s->flags & XF_ARCHIVED));
}

void
xmpp_session_put(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	if (sess->dead ||
	    xmpp_offline_holds(sess, s)) /* held: what waited in the store goes first */
		return;
	if (sess->keeping != NULL && s->row == 0 && !must_be_kept(sess, s) &&
	    hold_behind(sess->keeping, s))
		return;
	put_now(sess, s);
}

static void
put_now(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_stanza *now = s;

	if (xmpp_hooked(sess->env, XH_BEFORE_SEND) && xmpp_hook_sending(sess, &now))
		return;
	if (!sess->dead) {
		sess->env->stats.delivered++;
		if (must_be_kept(sess, now))
			keep_then_write(sess, now);
		else
			hand_over(sess, now);
	}
	if (now != s)
		xmpp_stanza_unref(&now);
}

/* ---- ending ---- */

static void
session_free(struct td_grave *g)
{
	struct xmpp_session *s =
		(struct xmpp_session *)((char *)g - offsetof(struct xmpp_session, grave));
	size_t i = 0;
	void *v;

	while ((v = td_map_next(&s->directed, &i)) != NULL)
		free(v);
	td_map_fini(&s->directed);
	free((void *)(uintptr_t)s->presence.p);
	td_arena_free(s->names);
	free(s);
}

void
xmpp_session_end(struct xmpp_session *sess, const char *why)
{
	struct xmpp_env *env = sess->env;
	struct xmpp_user *u = sess->user;

	if (sess->dead)
		return;
	td_log_info(&env->log, "session-end", "sid=%s jid=%s reason=%s", sess->sid,
		    td_esc(sess->jid.full), why);
	xmpp_user_hold(u);
	xmpp_presence_session_end(sess);
	sess->dead = true;
	TAILQ_REMOVE(&u->sessions, sess, link);
	TAILQ_REMOVE(&env->sessions, sess, env_link);
	u->n_sessions--;
	env->stats.sessions--;
	if (sess->stream == NULL)
		env->stats.hibernated--;
	else
		xmpp_c2s_adopt(sess->stream, NULL);
	sess->stream = NULL;
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->session_ended != NULL)
			(*m)->session_ended(sess);
	if (xmpp_hooked(env, XH_SESSION_END))
		xmpp_hook_session(sess, XH_SESSION_END);
	xmpp_sm_end(sess);
	sess->grave.free = session_free;
	td_loop_bury(env->loop, &sess->grave);
	xmpp_user_release(u);
}

void
xmpp_session_lost(struct xmpp_session *sess, const char *why)
{
	if (xmpp_sm_hibernate(sess)) {
		sess->stream = NULL;
		sess->env->stats.hibernated++;
		return;
	}
	xmpp_session_end(sess, why);
}
