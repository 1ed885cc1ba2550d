/* xep_0198_sm - stream management (XEP-0198 1.6.3), where an acknowledgement is a promise.
 *
 * In:  messages carry a struct xmpp_promise, settled when the last reference of the stanza
 *      goes, on whatever thread that is; h counts the unbroken run of settled ones, and an
 *      <r/> is answered when everything before it is settled.
 * Out: sent stanzas wait in a ring until the client acknowledges them.  It is asked at once after
 *      a pause, in a busy time after every tenth stanza or at the next tick: an answer is a read,
 *      which costs as much as a message.  When it does not answer within a tick, what is under
 *      somebody's promise is committed to the message store, which settles it; its row goes when
 *      the acknowledgement comes. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/c2s.h"
#include "xmpp/deliver.h"
#include "xmpp/modules.h"
#include "xmpp/sasl2.h"
#include "xmpp/sm.h"

#define KEEP_AFTER_MS 100u /* without an answer */
#define ASK_AFTER_MS 100u  /* a client that was not asked for so long is asked at once */
#define ASK_EVERY 10u      /* stanzas */

struct xmpp_promise {
	struct td_mail mail; /* carries the settling to the owner */
	struct td_loop *loop;
	struct xmpp_sm *sm; /* owner's thread; NULL = the session is gone */
	struct xmpp_promise *next;
	bool done;
	_Atomic int holds;
	uint32_t after; /* stanzas that came after it and needed no promise */
};

#define OWED_MAX 1000u /* <r/> that wait for their answer; a client that sends more is no client */

struct sm_entry {
	struct xmpp_stanza *s;
	uint64_t row;
	uint32_t size; /* of memory, as it came */
	bool keeping;  /* its store call is under way */
};

struct xmpp_sm {
	struct xmpp_session *sess;
	char id[25]; /* for resumption; "" = not resumable */
	/* in */
	uint32_t received, settled;
	struct xmpp_promise *first, *last;
	uint16_t answers_owed;      /* one <a/> for each <r/> (section 4) */
	struct xmpp_c2s *resume_to; /* waits until everything received is settled */
	uint32_t resume_h;
	uint32_t resume_s; /* how long the session waits for its client */
	/* out: a ring */
	struct sm_entry *ring;
	uint32_t cap, head, len;
	uint64_t bytes;
	uint32_t acked; /* the client's h */
	bool asked;     /* an <r/> is on its way */
	uint32_t since; /* stanzas sent after the last <r/> */
	uint64_t asked_at;
	struct td_task ask;
	struct td_timer keep, expire;
};

static struct sm_entry *
entry(struct xmpp_sm *sm, uint32_t i)
{
	return &sm->ring[(sm->head + i) & (sm->cap - 1)];
}

/* ---- in: promises ---- */

static void
send_answer(struct xmpp_sm *sm)
{
	if (sm->sess->stream != NULL)
		td_buf_addf(xmpp_c2s_out(sm->sess->stream), "<a xmlns='" NS_SM "' h='%u'/>",
			    sm->settled);
}

static void finish_resume(struct xmpp_sm *sm);

static void
settle_here(struct xmpp_promise *p)
{
	struct xmpp_sm *sm = p->sm;

	if (sm == NULL) {
		free(p);
		return;
	}
	p->done = true;
	while ((p = sm->first) != NULL && p->done) {
		sm->first = p->next;
		if (sm->first == NULL)
			sm->last = NULL;
		sm->settled += 1 + p->after;
		free(p);
	}
	if (sm->first != NULL)
		return;
	for (; sm->answers_owed > 0; sm->answers_owed--)
		send_answer(sm);
	if (sm->resume_to != NULL)
		finish_resume(sm);
}

static void
on_settled(struct td_mail *m, struct td_loop *loop)
{
	(void)loop;
	settle_here((struct xmpp_promise *)((char *)m - offsetof(struct xmpp_promise, mail)));
}

void
xmpp_promise_hold(struct xmpp_promise *p)
{
	atomic_fetch_add_explicit(&p->holds, 1, memory_order_relaxed);
}

void
xmpp_promise_settle(struct xmpp_promise *p)
{
	if (atomic_fetch_sub_explicit(&p->holds, 1, memory_order_acq_rel) != 1)
		return;
	if (td_loop_is_mine(p->loop)) {
		settle_here(p);
		return;
	}
	p->mail.run = on_settled;
	td_loop_post(p->loop, &p->mail);
}

void
xmpp_sm_received(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_sm *sm = sess->sm;
	struct xmpp_promise *p;

	sm->received++;
	if (s == NULL) {
		if (sm->last != NULL)
			sm->last->after++;
		else
			sm->settled++;
		return;
	}
	p = td_zalloc(sizeof(*p));
	atomic_init(&p->holds, 1);
	p->loop = sess->env->loop;
	p->sm = sm;
	if (sm->last != NULL)
		sm->last->next = p;
	else
		sm->first = p;
	sm->last = p;
	s->promise = p;
}

/* ---- out: the ring ---- */

static void
drop_entry(struct xmpp_sm *sm, struct sm_entry *e)
{
	if (e->row != 0)
		xmpp_user_row_end(sm->sess->user, e->row);
	sm->bytes -= e->size;
	xmpp_stanza_unref(&e->s);
}

/* At the next tick: to ask, or to keep what was asked about in vain. */
static void
look_later(struct xmpp_sm *sm)
{
	if (sm->keep.due == 0)
		td_timer_set(sm->sess->env->loop, &sm->keep, KEEP_AFTER_MS);
}

static void
on_ask(struct td_task *t)
{
	struct xmpp_sm *sm = (struct xmpp_sm *)((char *)t - offsetof(struct xmpp_sm, ask));

	if (sm->sess->stream == NULL || sm->asked || sm->len == 0)
		return;
	if (sm->since >= ASK_EVERY ||
	    td_loop_now(sm->sess->env->loop) - sm->asked_at >= ASK_AFTER_MS)
		xmpp_sm_request(sm->sess);
	else
		look_later(sm);
}

void
xmpp_sm_request(struct xmpp_session *sess)
{
	struct xmpp_sm *sm = sess->sm;

	sm->asked = true;
	sm->asked_at = td_loop_now(sess->env->loop);
	sm->since = 0;
	xmpp_c2s_write_raw(sess->stream, "<r xmlns='" NS_SM "'/>");
}

bool
xmpp_sm_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	const struct xmpp_limits *lim = sess->user->lim;
	struct xmpp_sm *sm = sess->sm;
	uint32_t size = (uint32_t)td_arena_used(s->arena);

	if (sm->len == sm->cap) {
		uint32_t cap = sm->cap > 0 ? sm->cap * 2 : 8;
		struct sm_entry *ring = td_alloc(cap * sizeof(*ring));

		for (uint32_t i = 0; i < sm->len; i++)
			ring[i] = *entry(sm, i);
		free(sm->ring);
		sm->ring = ring;
		sm->cap = cap;
		sm->head = 0;
	}
	*entry(sm, sm->len++) = (struct sm_entry){ xmpp_stanza_ref(s), s->row, size, false };
	sm->bytes += size;
	sm->since++;
	td_loop_defer(sess->env->loop, &sm->ask);
	if (s->promise != NULL && s->row == 0 && sess->user->lim->ack_stored)
		look_later(sm);
	return sm->len <= lim->sm_max_queue && (sm->len == 1 || sm->bytes <= lim->sm_max_bytes);
}

/* h from the client; false when it counts what we never sent. */
static bool
acknowledge(struct xmpp_sm *sm, uint32_t h)
{
	uint32_t n = h - sm->acked; /* wraps at 2^32 as h does */
	uint64_t rows[64];
	size_t n_rows = 0;

	if (n > sm->len)
		return false;
	sm->acked = h;
	xmpp_user_hold(sm->sess->user);
	for (; n > 0; n--) {
		struct sm_entry e = *entry(sm, 0);

		sm->head = (sm->head + 1) & (sm->cap - 1);
		sm->len--;
		if (e.row != 0)
			rows[n_rows++] = e.row;
		drop_entry(sm, &e);
		if (n_rows == 64) {
			store_message_del(sm->sess->env->store, rows, n_rows,
					  (struct store_to){ 0 });
			n_rows = 0;
		}
	}
	if (n_rows > 0)
		store_message_del(sm->sess->env->store, rows, n_rows, (struct store_to){ 0 });
	xmpp_user_release(sm->sess->user);
	return true;
}

/* ---- keeping what was not acknowledged in time ---- */

struct keep_call {
	struct xmpp_env *env;
	struct xmpp_stanza *s; /* ours until the commit: settles the promise then */
	char sid[13];
	char bare[];
};

static struct xmpp_session *
session_by_sid(struct xmpp_env *env, const char *bare, const char *sid)
{
	struct xmpp_user *u = xmpp_user_find(env, td_cstr(bare));
	struct xmpp_session *s;

	if (u == NULL)
		return NULL;
	TAILQ_FOREACH(s, &u->sessions, link)
	if (strcmp(s->sid, sid) == 0)
		return s;
	return NULL;
}

/* Where the stanza waits now: its copy without a promise takes the place in the queue. */
static void
on_kept(void *arg, const struct store_result *r)
{
	struct keep_call *k = arg;
	struct xmpp_session *sess = session_by_sid(k->env, k->bare, k->sid);
	struct xmpp_sm *sm = sess != NULL ? sess->sm : NULL;
	struct sm_entry *e = NULL;

	for (uint32_t i = 0; sm != NULL && i < sm->len && e == NULL; i++)
		if (entry(sm, i)->s == k->s)
			e = entry(sm, i);
	if (r->rc < 0) {
		td_log_warn(&k->env->log, "sm-keep-failed", "jid=%s error=%s, ignoring", k->bare,
			    td_escz(r->error));
		if (e != NULL)
			e->keeping = false;
	} else if (e == NULL) {
		/* acknowledged, or re-routed when the session ended, in the meantime */
		store_message_del(k->env->store, &r->id, 1, (struct store_to){ 0 });
	} else {
		struct xmpp_stanza *copy = xmpp_stanza_readdress(e->s, &e->s->to);

		e->row = r->id;
		e->keeping = false;
		copy->row = r->id;
		xmpp_user_row_begin(sess->user, r->id);
		xmpp_stanza_unref(&e->s);
		e->s = copy;
	}
	xmpp_stanza_unref(&k->s);
	free(k);
}

static void
keep_entry(struct xmpp_session *sess, struct sm_entry *e)
{
	size_t n = sess->user->bare.len;
	struct keep_call *k = td_zalloc(sizeof(*k) + n + 1);
	struct td_buf xml = { 0 };

	k->env = sess->env;
	k->s = xmpp_stanza_ref(e->s);
	memcpy(k->sid, sess->sid, sizeof(k->sid));
	memcpy(k->bare, sess->user->bare.p, n);
	e->keeping = true;
	xmpp_stanza_write(e->s, true, &xml);
	sess->env->stats.stored++;
	store_message_add(sess->env->store, sess->user->bare, td_buf_str(&xml), td_wall_ms(),
			  (struct store_to){ sess->env->loop, on_kept, k });
	td_buf_fini(&xml);
}

/* For a client that reads archives the archive is enough. */
static void
leave_to_archive(struct sm_entry *e)
{
	struct xmpp_stanza *copy = xmpp_stanza_readdress(e->s, &e->s->to);

	xmpp_stanza_unref(&e->s);
	e->s = copy;
}

static bool
is_owed(const struct sm_entry *e)
{
	return e->s->promise != NULL && e->row == 0 && !e->keeping && e->s->kind == XK_MESSAGE;
}

/* Has the client a little time left to answer?  Then look again. */
static bool
may_answer(struct xmpp_sm *sm)
{
	const struct xmpp_session *sess = sm->sess;

	if (sess->stream == NULL || sm->len == 0)
		return false;
	if (!sm->asked)
		xmpp_sm_request(sm->sess);
	else if (td_loop_now(sess->env->loop) - sm->asked_at >= KEEP_AFTER_MS)
		return false;
	look_later(sm);
	return true;
}

static void
on_keep(struct td_timer *t)
{
	struct xmpp_sm *sm = (struct xmpp_sm *)((char *)t - offsetof(struct xmpp_sm, keep));

	if (may_answer(sm) || !sm->sess->user->lim->ack_stored)
		return;
	for (uint32_t i = 0; i < sm->len; i++) {
		struct sm_entry *e = entry(sm, i);

		if (!is_owed(e))
			continue;
		if (sm->sess->mam && (e->s->flags & XF_ARCHIVED))
			leave_to_archive(e);
		else
			keep_entry(sm->sess, e);
	}
}

/* ---- life ---- */

static void
add_failed(struct td_buf *out, const char *condition)
{
	td_buf_addf(out, "<failed xmlns='" NS_SM "'><%s xmlns='" NS_STANZA_ERRORS "'/></failed>",
		    condition);
}

static void
failed(struct xmpp_c2s *c, const char *condition)
{
	add_failed(xmpp_c2s_out(c), condition);
}

static void
on_expire(struct td_timer *t)
{
	struct xmpp_sm *sm = (struct xmpp_sm *)((char *)t - offsetof(struct xmpp_sm, expire));

	xmpp_session_end(sm->sess, "sm-expired");
}

bool
xmpp_sm_hibernate(struct xmpp_session *sess)
{
	struct xmpp_sm *sm = sess->sm;

	if (sm == NULL || sm->id[0] == '\0')
		return false;
	sm->asked = false;
	td_loop_undefer(sess->env->loop, &sm->ask);
	td_timer_set(sess->env->loop, &sm->expire, (uint64_t)sm->resume_s * 1000);
	td_log_info(&sess->env->log, "session-hibernate", "sid=%s jid=%s unacked=%u", sess->sid,
		    td_esc(sess->jid.full), sm->len);
	return true;
}

static void
reroute(struct xmpp_session *sess, struct sm_entry *e)
{
	struct xmpp_user *u = sess->user;

	if (e->row != 0) { /* it is in the store: there it waits */
		xmpp_user_row_end(u, e->row);
		u->offline_count++;
	} else if ((e->s->flags & XF_COPY) || (sess->mam && (e->s->flags & XF_ARCHIVED))) {
		; /* the client finds it in the archive */
	} else if (e->s->kind == XK_MESSAGE && e->s->type != XT_ERROR &&
		   e->s->type != XT_GROUPCHAT && e->s->type != XT_HEADLINE) {
		xmpp_deliver_message_bare(u, e->s);
	} else if (e->s->kind == XK_IQ) {
		xmpp_bounce(sess->env, e->s, XE_RECIPIENT_UNAVAILABLE, NULL);
	}
	xmpp_stanza_unref(&e->s);
}

void
xmpp_sm_end(struct xmpp_session *sess)
{
	struct xmpp_sm *sm = sess->sm;
	struct xmpp_session *x;
	bool stored = false;

	if (sm == NULL)
		return;
	sess->sm = NULL;
	td_timer_clear(sess->env->loop, &sm->keep);
	td_timer_clear(sess->env->loop, &sm->expire);
	td_loop_undefer(sess->env->loop, &sm->ask);
	if (sm->resume_to != NULL && !xmpp_sasl2_not_resumed(sm->resume_to)) {
		failed(sm->resume_to, "item-not-found");
		xmpp_c2s_hold(sm->resume_to, false);
	}
	for (uint32_t i = 0; i < sm->len; i++) {
		stored = stored || entry(sm, i)->row != 0;
		reroute(sess, entry(sm, i));
	}
	for (struct xmpp_promise *p = sm->first, *next; p != NULL; p = next) {
		next = p->next;
		if (p->done)
			free(p);
		else
			p->sm = NULL; /* freed when it is settled */
	}
	free(sm->ring);
	free(sm);
	if (!stored)
		return;
	TAILQ_FOREACH(x, &sess->user->sessions, link)
	if (x->available && x->priority >= 0 && x->stream != NULL) {
		xmpp_offline_replay(x);
		return;
	}
}

/* ---- the elements ---- */

/* Section 3: the client may prefer less than we offer. */
static uint32_t
resume_time(const struct xmpp_session *sess, struct td_str max)
{
	unsigned ours = sess->user->lim->sm_resume_timeout_s;
	int64_t theirs;

	return td_str_to_dec(max, 1, ours, &theirs) ? (uint32_t)theirs : ours;
}

static void
enable(struct xmpp_session *sess, const struct xmpp_node *n, struct td_buf *out)
{
	struct td_str resume = xmpp_node_attr(n, "resume");
	struct xmpp_sm *sm;

	if (sess == NULL || sess->sm != NULL) { /* section 3: after binding, and once */
		add_failed(out, "unexpected-request");
		return;
	}
	sm = td_zalloc(sizeof(*sm));
	sm->sess = sess;
	sm->ask.run = on_ask;
	sm->keep.fire = on_keep;
	sm->expire.fire = on_expire;
	sess->sm = sm;
	td_buf_addz(out, "<enabled xmlns='" NS_SM "'");
	if (xmpp_is_true(resume)) {
		td_random_id(sm->id, sizeof(sm->id) - 1);
		sm->resume_s = resume_time(sess, xmpp_node_attr(n, "max"));
		td_buf_addf(out, " id='%s' resume='true' max='%u'", sm->id, sm->resume_s);
	}
	td_buf_addz(out, "/>");
}

static bool
read_h(const struct xmpp_node *n, uint32_t *h)
{
	struct td_str s = xmpp_node_attr(n, "h");
	uint64_t v = 0;

	for (size_t i = 0; i < s.len && v <= UINT32_MAX; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*h = (uint32_t)v;
	return s.len > 0 && v <= UINT32_MAX;
}

static void
too_high(struct xmpp_c2s *c, uint32_t h, const struct xmpp_sm *sm)
{
	char text[160], xml[160];

	(void)snprintf(text, sizeof(text), "You acknowledged %u stanzas, but %u were sent", h,
		       sm->acked + sm->len);
	td_log_notice(xmpp_c2s_log(c), "sm-h-too-high", "h=%u sent=%u", h, sm->acked + sm->len);
	(void)snprintf(xml, sizeof(xml),
		       "<handled-count-too-high xmlns='" NS_SM "' h='%u' send-count='%u'/>", h,
		       sm->acked + sm->len);
	xmpp_c2s_end_with(c, "undefined-condition", text, xml);
}

static void
on_ack(struct xmpp_c2s *c, const struct xmpp_node *n)
{
	struct xmpp_session *sess = xmpp_c2s_session(c);
	uint32_t h;

	if (sess == NULL || sess->sm == NULL)
		return;
	if (!read_h(n, &h)) {
		xmpp_c2s_end(c, "bad-format", "<a/> needs a number in h");
		return;
	}
	sess->sm->asked = false;
	if (!acknowledge(sess->sm, h))
		too_high(c, h, sess->sm);
	else if (sess->sm->len > 0)
		td_loop_defer(sess->env->loop, &sess->sm->ask);
}

static void
on_request(struct xmpp_c2s *c)
{
	struct xmpp_session *sess = xmpp_c2s_session(c);

	if (sess == NULL || sess->sm == NULL)
		return;
	if (sess->sm->first == NULL)
		send_answer(sess->sm);
	else if (sess->sm->answers_owed < OWED_MAX)
		sess->sm->answers_owed++; /* sent when what came before is settled */
}

static struct xmpp_session *
find_resumable(struct xmpp_c2s *c, struct td_str previd)
{
	struct xmpp_user *u = xmpp_user_find(xmpp_c2s_env(c), xmpp_c2s_bare(c));
	struct xmpp_session *s;

	if (u == NULL || previd.len == 0)
		return NULL;
	TAILQ_FOREACH(s, &u->sessions, link)
	if (s->sm != NULL && td_str_eqc(previd, s->sm->id))
		return s;
	return NULL;
}

/* The old stream of a session that is being resumed elsewhere. */
static void
detach(struct xmpp_session *sess)
{
	struct xmpp_c2s *old = sess->stream;

	if (old == NULL) {
		sess->env->stats.hibernated--;
		return;
	}
	xmpp_c2s_adopt(old, NULL);
	sess->stream = NULL;
	xmpp_c2s_end(old, "conflict", "Resumed on another connection");
}

static void
finish_resume(struct xmpp_sm *sm)
{
	struct xmpp_session *sess = sm->sess;
	struct xmpp_c2s *c = sm->resume_to;
	struct td_buf resumed = { 0 };

	sm->resume_to = NULL;
	detach(sess);
	td_timer_clear(sess->env->loop, &sm->expire);
	(void)acknowledge(sm, sm->resume_h);
	sm->answers_owed = 0;
	xmpp_csi_set(sess, false); /* XEP-0352 5.2; what was held joins the queue */
	if (sess->dead) {          /* which was full */
		failed(c, "item-not-found");
		xmpp_c2s_hold(c, false);
		return;
	}
	td_buf_addf(&resumed, "<resumed xmlns='" NS_SM "' h='%u' previd='%s'/>", sm->settled,
		    sm->id);
	if (!xmpp_sasl2_resumed(c, sess->jid.full, td_buf_str(&resumed)))
		td_buf_adds(xmpp_c2s_out(c), td_buf_str(&resumed));
	td_buf_fini(&resumed);
	for (uint32_t i = 0; i < sm->len; i++)
		xmpp_c2s_write(c, entry(sm, i)->s);
	sm->asked = false;
	sm->asked_at = 0;
	if (sm->len > 0)
		td_loop_defer(sess->env->loop, &sm->ask);
	td_log_info(xmpp_c2s_log(c), "session-resume", "sid=%s replayed=%u", sess->sid, sm->len);
	xmpp_c2s_adopt(c, sess);
}

bool
xmpp_sm_resume(struct xmpp_c2s *c, const struct xmpp_node *n)
{
	struct xmpp_session *sess = find_resumable(c, xmpp_node_attr(n, "previd"));
	struct xmpp_sm *sm;
	uint32_t h;

	if (sess == NULL || !read_h(n, &h) || sess->sm->resume_to != NULL)
		return false;
	sm = sess->sm;
	if (h - sm->acked > sm->len) {
		too_high(c, h, sm);
		return true;
	}
	sm->resume_to = c;
	sm->resume_h = h;
	xmpp_c2s_hold(c, true);
	/* what is received and not settled yet would be sent again by the client: wait for it */
	if (sm->first == NULL)
		finish_resume(sm);
	return true;
}

static void
on_resume(struct xmpp_c2s *c, const struct xmpp_node *n)
{
	if (xmpp_c2s_session(c) != NULL || xmpp_c2s_bare(c).p == NULL)
		failed(c, "unexpected-request");
	else if (!xmpp_sm_resume(c, n))
		failed(c, "item-not-found");
}

void
xmpp_sm_stream_gone(struct xmpp_env *env, struct td_str bare, const struct xmpp_c2s *c)
{
	struct xmpp_user *u = xmpp_user_find(env, bare);
	struct xmpp_session *s;

	if (u == NULL)
		return;
	TAILQ_FOREACH(s, &u->sessions, link)
	if (s->sm != NULL && s->sm->resume_to == c)
		s->sm->resume_to = NULL;
}

static int
sm_nonza(struct xmpp_c2s *c, const struct xmpp_node *n)
{
	if (n->ns == NULL || strcmp(n->ns, NS_SM) != 0)
		return XMPP_PASS;
	if (strcmp(n->name, "r") == 0)
		on_request(c);
	else if (strcmp(n->name, "a") == 0)
		on_ack(c, n);
	else if (strcmp(n->name, "enable") == 0)
		enable(xmpp_c2s_session(c), n, xmpp_c2s_out(c));
	else if (strcmp(n->name, "resume") == 0)
		on_resume(c, n);
	else
		return XMPP_PASS;
	return XMPP_DONE;
}

/* Asked for inside a bind of Bind 2 (section 9.1). */
static void
sm_bind2(struct xmpp_session *sess, const struct xmpp_node *bind, struct td_buf *bound)
{
	const struct xmpp_node *n = xmpp_node_child(bind, NS_SM, "enable");

	if (n != NULL)
		enable(sess, n, bound);
}

static void
sm_features(struct xmpp_c2s *c, struct td_buf *out)
{
	if (xmpp_c2s_session(c) == NULL || xmpp_c2s_session(c)->sm == NULL)
		td_buf_addz(out, "<sm xmlns='" NS_SM "'/>");
}

const struct xmpp_module xep_0198_sm = {
	.name = "xep-0198-sm",
	.xep = "0198",
	.version = "1.6.3",
	.doc = "Stream Management: acknowledgements that are promises, and resumption",
	.stream_features = sm_features,
	.bind2_feature = NS_SM,
	.bind2 = sm_bind2,
	.nonza = sm_nonza,
};
