/* xep-0160 - messages for someone who is away: kept in the store with a stamp (XEP-0203), given
 * to the first resource that takes messages again.
 *
 * Keeping: the stanza is referenced until the commit, so what was promised to its sender (sm.h)
 * is settled by the commit and by nothing earlier.  Giving: pages of rows in order; a row is
 * deleted by whoever learns that the client has it, and marked in flight until then, so that a
 * second resource does not get it too. */
#include <stdio.h>
#include <stdlib.h>
#include "xmpp/deliver.h"
#include "xmpp/im.h"
#include "xmpp/message.h"
#include "xmpp/mam.h"
#include "xmpp/modules.h"

#define PAGE 50u
#define WINDOW 200u   /* rows on their way to the clients of one account */
#define HELD_MAX 500u /* live messages that wait behind a replay; more go ahead */
#define PAUSE_MS 200  /* before looking again whether the window has room */

/* ---- keeping ---- */

enum fate {
	KEEP = 0,
	REFUSE,
	DROP
};

/* RFC 6121 8.5.2.2.1 and 8.5.3.2.1, XEP-0160 section 3. */
static const struct {
	uint8_t bare, full;
} fates[XT_COUNT] = {
	[XT_NONE] = { KEEP, REFUSE },   [XT_NORMAL] = { KEEP, REFUSE },
	[XT_CHAT] = { KEEP, KEEP },     [XT_GROUPCHAT] = { REFUSE, REFUSE },
	[XT_HEADLINE] = { DROP, DROP }, [XT_ERROR] = { DROP, DROP },
};

static enum fate
fate_of(const struct xmpp_user *u, const struct xmpp_stanza *s)
{
	enum fate f = s->to.resource.p != NULL ? fates[s->type].full : fates[s->type].bare;

	if (f != KEEP)
		return f;
	if (!xmpp_message_has_hint(s, "store") && xmpp_message_only_chat_state(s))
		return DROP;
	/* XEP-0334 4.2; no-permanent-store is about archives.  A person's words come back, machines' chatter
	 * does not. */
	if ((s->flags & XF_NO_STORE) || xmpp_message_has_hint(s, "no-store"))
		return xmpp_message_has_body(s) ? REFUSE : DROP;
	return u->lim->offline ? KEEP : REFUSE;
}

struct keep {
	struct xmpp_call call;
	struct xmpp_stanza *s;
};

/* Someone came online between the decision and the commit: it must not lie until the next login. */
static void
give_now(struct xmpp_user *u)
{
	struct xmpp_session *sess, *best = NULL;

	TAILQ_FOREACH(sess, &u->sessions, link)
	if (sess->available && !sess->dead && sess->priority >= 0 &&
	    (best == NULL || sess->priority > best->priority))
		best = sess;
	if (best != NULL)
		xmpp_offline_replay(best);
}

static void
on_kept(void *arg, const struct store_result *r)
{
	struct keep *k = arg;
	struct xmpp_env *env = k->call.env;
	struct xmpp_user *u = k->call.user;

	if (env != NULL && r->rc == 0) {
		env->stats.stored++;
		u->offline_count++;
		give_now(u);
	} else if (env != NULL && (r->rc == TD_E_LIMIT || r->rc == TD_E_NOTFOUND)) {
		xmpp_bounce(env, k->s, XE_SERVICE_UNAVAILABLE,
			    NULL); /* XEP-0160 section 2, step 3 */
	} else if (env != NULL) {
		td_log_error(&env->log, "offline-write-failed", "user=%s error=%s", td_esc(u->bare),
			     td_escz(r->error));
		xmpp_bounce(env, k->s,
			    r->rc == TD_E_FULL ? XE_RESOURCE_CONSTRAINT : XE_INTERNAL_SERVER_ERROR,
			    "the message could not be stored");
	}
	xmpp_call_end(&k->call);
	xmpp_stanza_unref(&k->s); /* settles the promise */
	free(k);
}

/* Was it kept by us before (a queue that came back)?  The first stamp counts. */
static bool
has_our_stamp(const struct xmpp_stanza *s, struct td_str domain)
{
	const struct xmpp_node *n = xmpp_node_child(s->root, NS_DELAY, "delay");

	for (; n != NULL; n = xmpp_node_next_elem(n))
		if (xmpp_node_is(n, NS_DELAY, "delay") &&
		    td_str_eq(xmpp_node_attr(n, "from"), domain))
			return true;
	return false;
}

void
xmpp_offline_write(const struct xmpp_user *u, struct xmpp_stanza *s, uint64_t when,
		   struct td_buf *out)
{
	struct xmpp_stanza *copy;
	struct td_buf stamp = { 0 };
	char at[32];

	xmpp_stanza_seal(s);
	if (has_our_stamp(s, u->domain)) {
		xmpp_stanza_write(s, true, out);
		return;
	}
	td_stamp(when, at);
	td_buf_addz(&stamp, "<delay xmlns='" NS_DELAY "' from='");
	td_buf_add_xml(&stamp, u->domain);
	td_buf_addf(&stamp, "' stamp='%s'>Offline Storage</delay>", at);
	copy = xmpp_stanza_dup(s);
	xmpp_stanza_append_raw(copy, td_buf_str(&stamp));
	xmpp_stanza_write(copy, true, out);
	xmpp_stanza_unref(&copy);
	td_buf_fini(&stamp);
}

void
xmpp_offline_store(struct xmpp_user *u, struct xmpp_stanza *s)
{
	uint64_t now = td_wall_ms();
	struct td_buf text = { 0 };
	struct store_to to;
	struct keep *k;

	if (s->row != 0) { /* it never left the store */
		xmpp_user_row_end(u, s->row);
		return;
	}
	switch (fate_of(u, s)) {
	case DROP: return;
	case REFUSE: xmpp_bounce(u->env, s, XE_SERVICE_UNAVAILABLE, NULL); return;
	case KEEP: break;
	}
	xmpp_offline_write(u, s, now, &text);
	k = td_zalloc(sizeof(*k));
	k->s = xmpp_stanza_ref(s);
	xmpp_call_begin(&k->call, u);
	to = (struct store_to){ u->env->loop, on_kept, k };
	store_message_add(u->env->store, u->bare, td_buf_str(&text), now, to);
	td_buf_fini(&text);
}

/* ---- giving ---- */

struct replay {
	struct xmpp_call call;
	struct td_timer pause;
	struct td_str resource; /* with <sid> the session, which may be gone */
	char *resource_mem;
	char sid[13];
	uint64_t after;
	bool again;                       /* rows were added meanwhile */
	STAILQ_HEAD(, xmpp_waiting) held; /* live messages that came meanwhile */
	unsigned n_held;
};

static void
replay_free(struct xmpp_call *c)
{
	struct replay *r = (struct replay *)c;
	struct xmpp_waiting *w;

	while ((w = STAILQ_FIRST(&r->held)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->held, link);
		xmpp_stanza_unref(&w->s);
		free(w);
	}
	free(r->resource_mem);
	free(r);
}

static void
replay_cancel(struct xmpp_call *c)
{
	td_timer_clear(c->env->loop, &((struct replay *)c)->pause);
	replay_free(c);
}

static struct xmpp_session *
taker(const struct replay *r)
{
	struct xmpp_session *sess = xmpp_session_find(r->call.user, r->resource);

	if (sess == NULL || sess->dead || strcmp(sess->sid, r->sid) != 0)
		return NULL;
	return sess;
}

static void
replay_end(struct replay *r)
{
	struct xmpp_session *sess = taker(r);

	struct xmpp_waiting *w;

	if (sess != NULL)
		sess->module_data[XMPP_SESSION_SLOT_REPLAY] = NULL;
	while ((w = STAILQ_FIRST(&r->held)) != NULL) {
		STAILQ_REMOVE_HEAD(&r->held, link);
		if (sess != NULL && !sess->dead) {
			xmpp_session_send(sess, w->s);
			xmpp_stanza_unref(&w->s);
		} else if (w->s->kind != XK_PRESENCE) {
			xmpp_deliver_loaded(r->call.user, w->s); /* its resource is gone */
		} else {
			xmpp_stanza_unref(&w->s); /* the others have it */
		}
		free(w);
	}
	xmpp_call_end(&r->call);
	replay_free(&r->call);
}

/* RFC 6120 10.1: an answer does not overtake a message of the same sender. */
static bool
is_behind(const struct replay *r, const struct xmpp_stanza *s)
{
	const struct xmpp_waiting *w;

	if (s->from.full.p == NULL)
		return false;
	STAILQ_FOREACH(w, &r->held, link)
	if (td_str_eq(w->s->from.bare, s->from.bare))
		return true;
	return false;
}

bool
xmpp_offline_holds(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct replay *r = sess->module_data[XMPP_SESSION_SLOT_REPLAY];
	struct xmpp_waiting *w;

	if (r == NULL || s->row != 0 || (s->flags & XF_COPY) || r->n_held == HELD_MAX)
		return false;
	if ((s->kind != XK_MESSAGE || s->type == XT_ERROR) && !is_behind(r, s))
		return false;
	w = td_zalloc(sizeof(*w));
	w->s = xmpp_stanza_ref(s);
	STAILQ_INSERT_TAIL(&r->held, w, link);
	r->n_held++;
	return true;
}

/* Is it in the account's archive?  Then it says so: nobody else's <stanza-id/> of this account gets this far. */
static bool
is_archived(const struct xmpp_session *sess, const struct xmpp_stanza *s)
{
	for (const struct xmpp_node *n = s->root->first; n != NULL; n = n->next)
		if (n->name != NULL && xmpp_node_is(n, NS_SID, "stanza-id") &&
		    td_str_eq(xmpp_node_attr(n, "by"), sess->user->bare))
			return true;
	return false;
}

/* One row; what cannot be read stays where it is, for the operator. */
static void
give(struct xmpp_session *sess, const struct store_message *m)
{
	struct td_arena *a = td_arena_new(m->stanza.len * 2 + 512);
	const char *why = NULL;
	struct xmpp_node *n = xmpp_xml_parse(a, m->stanza, NS_CLIENT, &why);
	struct xmpp_stanza *s = NULL;

	if (n == NULL) {
		td_arena_free(a);
	} else if (xmpp_stanza_from_node(a, n, &s, NULL) < 0 || s->kind != XK_MESSAGE) {
		why = "not a message";
		xmpp_stanza_unref(&s);
	}
	if (s == NULL) {
		td_log_warn(&sess->env->log, "offline-unreadable",
			    "user=%s row=%llu error=%s, ignoring", td_esc(sess->user->bare),
			    (unsigned long long)m->id, td_escz(why));
		return;
	}
	/* XEP-0386 3.2: cleared, not sent; what came between the bind and the first presence is news */
	if (sess->bind2 && m->when < sess->bound_at && is_archived(sess, s)) {
		store_message_del(sess->env->store, &m->id, 1, (struct store_to){ 0 });
		xmpp_stanza_unref(&s);
		return;
	}
	s->row = m->id;
	s->flags |= XF_FROM_STORE;
	xmpp_stanza_seal(s);
	xmpp_session_send(sess, s);
	xmpp_stanza_unref(&s);
}

static void next_page(struct replay *r);

static void
on_pause(struct td_timer *t)
{
	struct replay *r = (struct replay *)(void *)((char *)t - offsetof(struct replay, pause));

	next_page(r);
}

static void
on_page(void *arg, const struct store_result *res, const struct store_message *m, size_t n)
{
	struct replay *r = arg;
	struct xmpp_session *sess;

	if (r->call.env == NULL) {
		replay_free(&r->call);
		return;
	}
	if (res->rc < 0)
		td_log_error(&r->call.env->log, "offline-read-failed", "user=%s error=%s",
			     td_esc(r->call.user->bare), td_escz(res->error));
	for (size_t i = 0; i < n; i++) {
		sess = taker(r);
		if (sess == NULL || !sess->available || sess->priority < 0)
			break;
		r->after = m[i].id;
		if (!xmpp_user_row_in_flight(r->call.user, m[i].id))
			give(sess, &m[i]);
	}
	if (res->rc < 0 || (n < PAGE && !r->again)) {
		replay_end(r);
		return;
	}
	r->again = false;
	next_page(r);
}

static void
next_page(struct replay *r)
{
	struct xmpp_user *u = r->call.user;
	struct xmpp_session *sess = taker(r);

	r->call.cancel = NULL;
	if (sess == NULL || !sess->available || sess->priority < 0) {
		replay_end(r);
	} else if (u->n_in_flight >= WINDOW) {
		r->call.cancel = replay_cancel;
		td_timer_set(u->env->loop, &r->pause, PAUSE_MS);
	} else {
		store_messages_get(u->env->store, u->bare, r->after, PAGE, u->env->loop, on_page,
				   r);
	}
}

void
xmpp_offline_replay(struct xmpp_session *sess)
{
	struct replay *r = sess->module_data[XMPP_SESSION_SLOT_REPLAY];

	if (r != NULL) {
		r->again = true;
		return;
	}
	r = td_zalloc(sizeof(*r));
	r->pause.fire = on_pause;
	STAILQ_INIT(&r->held);
	r->resource_mem = td_strndup(sess->jid.resource);
	r->resource = td_str(r->resource_mem, sess->jid.resource.len);
	(void)snprintf(r->sid, sizeof(r->sid), "%s", sess->sid);
	sess->module_data[XMPP_SESSION_SLOT_REPLAY] = r;
	xmpp_call_begin(&r->call, sess->user);
	next_page(r);
}

static const char *const offline_features[] = { NS_OFFLINE_MSG, NS_DELAY, NULL };

const struct xmpp_module xep_0160_offline = {
	.name = "xep-0160-offline",
	.xep = "0160",
	.doc = "Messages for accounts without a resource are kept, stamped (XEP-0203) and replayed",
	.version = "1.0.1",
	.features = offline_features,
};
