/* bosh - sessions: requests in the order of their rids, answers as soon as there is something to say.
 *
 * take() finds a request its place: answered before (the copy is sent again), too early (kept), next (process).
 * process() checks the rules, gives the content to the stream and keeps the request; settle, at the end of the turn,
 * answers: with what the stream wrote, or empty when more than <hold> wait.  The stream's calls only take note.
 *
 * When the stream moves to the account's worker the session goes along; where it was made a signpost stays. */
#include "gateway/http/bosh.h"

#include <stdio.h>
#include <stdlib.h>
#include <openssl/sha.h>
#include "gateway/http/elements.h"

#define INACTIVITY_S 60u
#define POLL_INACTIVITY_S 120u
#define POLLING_S 2u
#define MAX_PAUSE_S 120u
/* One waiting request is enough to push.  A client that asks to hold all the connections it has, as stanza
 * does (two), could not say anything while they wait. */
#define MAX_HOLD 1u
#define MAX_REQUESTS (MAX_HOLD + 1u)
#define MAX_REPEATS 50u /* of requests answered before, with no new one between */
#define MAX_YOUNG 2000u /* sessions of a worker that are not signed in */
#define VERSION_MINOR 11
#define SHA_HEX (2 * SHA_DIGEST_LENGTH)

/* An answer that can be sent again. */
struct answered {
	int64_t rid;
	struct td_buf body;
};

struct gw_bosh_session {
	char sid[BOSH_SID_MAX];
	struct gw_worker *w;
	unsigned birth;       /* worker of the sid */
	struct xmpp_c2s *c2s; /* NULL = the stream is over */
	struct gw_conn_conf *cf;
	char *peer, *type;
	unsigned wait_s, hold, requests, repeats, pause_s;
	bool tls, legacy, young, paused, moving, shut, fresh, silent, spoke, terminating;
	unsigned move_to;
	int64_t rid; /* of the last request processed */
	char key[SHA_HEX + 1];
	struct td_buf text, trash; /* the stream's output: not sent; after its end */
	char stream_id[17];
	struct td_str stream_from; /* malloc'd; .p NULL: nothing new to tell */
	const char *condition;     /* why it ended, when not for a stream error */
	struct gw_bosh_requests held, early,
		parked; /* unanswered; ahead of their turn; come during a move */
	unsigned n_held, n_early;
	struct answered answers[MAX_REQUESTS];
	unsigned next_answer;
	uint64_t empty_at;   /* when the last empty request came */
	uint64_t idle_since; /* when all were answered */
	struct td_timer timer;
	struct td_task task;
	struct td_grave grave;
};

/* Who has the session a sid of this worker names. */
struct signpost {
	char sid[BOSH_SID_MAX];
	struct gw_worker *at; /* NULL = here */
};

struct gw_bosh {
	struct td_map posts;    /* sid -> signpost, of the sids made here */
	struct td_map sessions; /* sid -> session, of those that are here */
	unsigned young;
	const char *ending; /* condition; NULL = normal service */
	bool closing;
};

static struct gw_bosh *
table(struct gw_worker *w)
{
	if (w->bosh == NULL)
		w->bosh = td_zalloc(sizeof(*w->bosh));
	return w->bosh;
}

static struct xmpp_io *
io_of(struct gw_bosh_session *b)
{
	return (struct xmpp_io *)(void *)b;
}

static struct gw_bosh_session *
of(struct xmpp_io *io)
{
	return (struct gw_bosh_session *)(void *)io;
}

static const struct gw_bosh_session *
ofc(const struct xmpp_io *io)
{
	return (const struct gw_bosh_session *)(const void *)io;
}

static void
later(struct gw_bosh_session *b)
{
	td_loop_defer(b->w->loop, &b->task);
}

static void
grown_up(struct gw_bosh_session *b)
{
	if (b->young)
		table(b->w)->young--;
	b->young = false;
}

/* ---- the end ---- */

static void
refuse_all(struct gw_bosh_requests *q, const char *condition, bool legacy)
{
	struct gw_bosh_request *r;

	while ((r = STAILQ_FIRST(q)) != NULL) {
		STAILQ_REMOVE_HEAD(q, link);
		gw_bosh_refuse(r, condition, legacy);
	}
}

static void
free_session(struct td_grave *g)
{
	struct gw_bosh_session *b =
		(struct gw_bosh_session *)((char *)g - offsetof(struct gw_bosh_session, grave));

	for (size_t i = 0; i < MAX_REQUESTS; i++)
		td_buf_fini(&b->answers[i].body);
	td_buf_fini(&b->text);
	td_buf_fini(&b->trash);
	free((void *)(uintptr_t)b->stream_from.p);
	gw_conn_conf_unref(&b->cf);
	free(b->peer);
	free(b->type);
	free(b);
}

static void
remove_post(struct gw_worker *w, const char *sid)
{
	struct signpost *p = td_map_del(&table(w)->posts, td_cstr(sid));

	free(p);
}

static void
on_gone(struct gw_worker *w, void *arg)
{
	remove_post(w, arg);
	free(arg);
}

/* The stream lets go of us; not from within its calls. */
static void
close_stream(struct gw_bosh_session *b, const char *why)
{
	struct xmpp_c2s *c2s = b->c2s;

	b->c2s = NULL;
	grown_up(b);
	if (c2s != NULL)
		xmpp_c2s_closed(c2s, why);
}

/* <b> is buried from here on. */
static void
end_session(struct gw_bosh_session *b, const char *why)
{
	struct gw *gw = b->w->gw;

	td_log_debug(&gw->log, "bosh-end", "peer=%s why=%s", b->peer, why);
	td_timer_clear(b->w->loop, &b->timer);
	td_loop_undefer(b->w->loop, &b->task);
	refuse_all(&b->held, "other-request", b->legacy);
	refuse_all(&b->early, "other-request", b->legacy);
	refuse_all(&b->parked, "other-request", b->legacy);
	(void)td_map_del(&table(b->w)->sessions, td_cstr(b->sid));
	if (b->birth == b->w->index)
		remove_post(b->w, b->sid);
	else
		gw_worker_post(gw->workers[b->birth], on_gone, td_strdup(b->sid));
	close_stream(b, why);
	b->grave.free = free_session;
	td_loop_bury(b->w->loop, &b->grave);
}

/* A rule of BOSH was broken: <r> (maybe NULL) is told why.  <b> is buried from here on. */
static void
violate(struct gw_bosh_session *b, struct gw_bosh_request *r, const char *condition)
{
	td_log_info(&b->w->gw->log, "bosh-violation", "peer=%s condition=%s", b->peer, condition);
	if (r != NULL)
		gw_bosh_refuse(r, condition, b->legacy);
	refuse_all(&b->held, condition, b->legacy);
	end_session(b, condition);
}

/* ---- answering ---- */

/* What the stream wrote, each element a document of its own; true when it ends with an error. */
static bool
add_content(struct gw_bosh_session *b, struct td_buf *out)
{
	struct td_str rest = td_buf_str(&b->text);
	struct gw_element e;
	bool error = false;

	while (rest.len > 0 && gw_element_first(rest, &e)) {
		error |= td_str_eqc(e.name, "stream:error");
		gw_element_write(out, &e);
		rest.p += e.all.len;
		rest.len -= e.all.len;
	}
	if (rest.len > 0)
		td_log_error(&b->w->gw->log, "bosh-output", "bytes=%zu", rest.len);
	td_buf_fini(&b->text);
	return error;
}

static void
add_session(const struct gw_bosh_session *b, struct td_buf *out)
{
	td_buf_addf(out,
		    " sid='%s' wait='%u' requests='%u' hold='%u' inactivity='%u' maxpause='%u'",
		    b->sid, b->wait_s, b->requests, b->hold,
		    b->hold > 0 ? INACTIVITY_S : POLL_INACTIVITY_S, MAX_PAUSE_S);
	td_buf_addf(out, " polling='%u' xmpp:restartlogic='true'", POLLING_S);
	if (!b->legacy)
		td_buf_addf(out, " ver='1.%d'", VERSION_MINOR);
}

/* Keep the answer for a request that is sent again. */
static void
remember(struct gw_bosh_session *b, const struct gw_bosh_request *r)
{
	struct answered *a = &b->answers[b->next_answer];

	b->next_answer = (b->next_answer + 1) % b->requests;
	a->rid = r->rid;
	td_buf_clear(&a->body);
	td_buf_adds(&a->body, td_buf_str(&r->reply));
}

/* Answer the oldest request. */
static void
answer(struct gw_bosh_session *b, bool last)
{
	struct gw_bosh_request *r = STAILQ_FIRST(&b->held);
	struct td_buf content = { 0 }, *out = &r->reply;
	bool error = add_content(b, &content);

	STAILQ_REMOVE_HEAD(&b->held, link);
	b->n_held--;
	b->spoke = content.len > 0;
	td_buf_addz(out, "<body xmlns='" NS_BOSH "' xmlns:xmpp='" NS_XBOSH
			 "' xmlns:stream='" NS_STREAM "'");
	if (b->fresh)
		add_session(b, out);
	b->fresh = false;
	if (b->stream_from.p != NULL) {
		td_buf_addf(out, " xmpp:version='1.0' authid='%s' from='", b->stream_id);
		td_buf_add_xml(out, b->stream_from);
		td_buf_addc(out, '\'');
		free((void *)(uintptr_t)b->stream_from.p);
		b->stream_from = TD_STR_NULL;
	}
	if (last) {
		td_buf_addz(out, " type='terminate'");
		if (error || b->condition != NULL)
			td_buf_addf(out, " condition='%s'",
				    b->condition != NULL ? b->condition : "remote-stream-error");
	}
	td_buf_addc(out, content.len > 0 ? '>' : '/');
	td_buf_adds(out, td_buf_str(&content));
	td_buf_addz(out, content.len > 0 ? "</body>" : ">");
	td_buf_fini(&content);
	if (b->type != NULL)
		r->type = td_strdup(b->type);
	remember(b, r);
	if (b->n_held == 0)
		b->idle_since = td_loop_now(b->w->loop);
	gw_bosh_answer(r);
}

static void
set_timer(struct gw_bosh_session *b)
{
	const struct gw_bosh_request *r = STAILQ_FIRST(&b->held);
	uint64_t now = td_loop_now(b->w->loop), until;
	unsigned idle = b->hold > 0 ? INACTIVITY_S : POLL_INACTIVITY_S;

	if (r != NULL)
		until = r->at + 1000ull * b->wait_s;
	else
		until = b->idle_since + 1000ull * (b->pause_s > 0 ? b->pause_s : idle);
	td_timer_set(b->w->loop, &b->timer, until > now ? until - now : 1);
}

/* The last answers: the oldest request is told of the end, the others are empty (13). */
static void
say_goodbye(struct gw_bosh_session *b)
{
	if (b->n_held == 0) {
		if (b->silent || b->young) {
			end_session(b, "shut");
			return;
		}
		close_stream(b, "shut"); /* the next request is told */
		set_timer(b);
		return;
	}
	answer(b, true);
	while (b->n_held > 0)
		answer(b, false);
	end_session(b, "shut");
}

static void depart(struct gw_bosh_session *b);

/* The end of the turn. */
static void
settle(struct td_task *task)
{
	struct gw_bosh_session *b =
		(struct gw_bosh_session *)((char *)task - offsetof(struct gw_bosh_session, task));

	if (b->shut) {
		say_goodbye(b);
		return;
	}
	if (b->text.len > b->cf->max_pending) {
		violate(b, NULL, "policy-violation");
		return;
	}
	/* a stream that reads no more makes its client wait too, by the limit of requests */
	while (b->n_held > 0 && (b->text.len > 0 || (b->n_held > b->hold && !b->paused)))
		answer(b, false);
	if (b->young && xmpp_c2s_bare(b->c2s).p != NULL)
		grown_up(b);
	if (b->moving)
		depart(b);
	else
		set_timer(b);
}

static void
on_timer(struct td_timer *t)
{
	struct gw_bosh_session *b =
		(struct gw_bosh_session *)((char *)t - offsetof(struct gw_bosh_session, timer));

	if (b->n_held > 0) {
		answer(b, false);
		set_timer(b);
	} else {
		end_session(b, "inactivity"); /* 10: without telling the client */
	}
}

/* ---- moving ---- */

static void process(struct gw_bosh_session *b, struct gw_bosh_request *r);
static void take(struct gw_bosh_session *b, struct gw_bosh_request *r);

static void
take_parked(struct gw_bosh_session *b)
{
	struct td_str sid = td_cstr(b->sid);
	struct gw_worker *w = b->w;
	struct gw_bosh_requests parked = STAILQ_HEAD_INITIALIZER(parked);
	struct gw_bosh_request *r;

	STAILQ_CONCAT(&parked, &b->parked);
	while ((r = STAILQ_FIRST(&parked)) != NULL) {
		STAILQ_REMOVE_HEAD(&parked, link);
		/* the one before may have ended the session */
		if (td_map_find(&table(w)->sessions, sid) == b)
			take(b, r);
		else
			gw_bosh_refuse(r, "item-not-found", false);
	}
}

static void
arrive(struct gw_worker *w, void *arg)
{
	struct gw_bosh_session *b = arg;

	b->w = w;
	b->moving = false;
	(void)td_map_set(&table(w)->sessions, td_cstr(b->sid), b);
	if (table(w)->closing) {
		end_session(b, "closed");
		return;
	}
	xmpp_c2s_moved(b->c2s, w->env);
	if (table(w)->ending != NULL)
		xmpp_c2s_end(b->c2s, table(w)->ending, NULL);
	set_timer(b);
	later(b);
	take_parked(b);
}

static void
depart(struct gw_bosh_session *b)
{
	struct gw_worker *to = b->w->gw->workers[b->move_to];
	struct signpost *p = td_map_find(&table(b->w)->posts, td_cstr(b->sid));

	td_timer_clear(b->w->loop, &b->timer);
	td_loop_undefer(b->w->loop, &b->task);
	(void)td_map_del(&table(b->w)->sessions, td_cstr(b->sid));
	if (p == NULL)
		abort(); /* a session moves once, from its birthplace */
	p->at = to;
	gw_worker_post(to, arrive, b);
}

/* ---- requests ---- */

/* 15.4: the hash of this key is the key before. */
static bool
key_ok(struct gw_bosh_session *b, const struct gw_bosh_request *r)
{
	unsigned char sum[SHA_DIGEST_LENGTH];
	struct td_buf hex = { 0 };
	struct td_str next = r->newkey.len > 0 ? r->newkey : r->key;
	bool ok = true;

	if (b->key[0] != '\0') {
		if (r->key.len == 0)
			return false;
		(void)SHA1((const unsigned char *)r->key.p, r->key.len, sum);
		td_buf_add_hex(&hex, sum, sizeof(sum));
		ok = td_str_ieq(td_buf_str(&hex), td_cstr(b->key));
		td_buf_fini(&hex);
	}
	if (ok && next.len > 0)
		(void)snprintf(b->key, sizeof(b->key), "%.*s",
			       (int)(next.len > SHA_HEX ? SHA_HEX : next.len), next.p);
	return ok;
}

/* 11, 12: more at once, or more often, than was agreed. */
static bool
too_active(struct gw_bosh_session *b, const struct gw_bosh_request *r)
{
	uint64_t now = td_loop_now(b->w->loop);
	bool soon = b->empty_at > 0 && now - b->empty_at < 1000ull * POLLING_S;

	if (!r->terminate && r->pause < 0 && b->n_held >= b->requests)
		return true;
	if (!r->empty) {
		b->empty_at = 0;
		return false;
	}
	b->empty_at = now;
	/* polling: two empty ones, nothing said between; else as many as agreed, and none answered */
	return soon && (b->hold == 0 ? !b->spoke : b->n_held + 1 >= b->requests);
}

/* Old clients leave the namespace of stanzas out: then it is the wrapper's, all the way down. */
static void
take_off_wrapper(struct xmpp_node *n)
{
	if (n->ns == NULL || strcmp(n->ns, NS_BOSH) != 0)
		return;
	n->ns = NS_CLIENT;
	for (n = xmpp_node_child(n, NULL, NULL); n != NULL; n = xmpp_node_next_elem(n))
		take_off_wrapper(n);
}

/* The content goes to the stream as if it came over one. */
static void
feed(struct gw_bosh_session *b, const struct gw_bosh_request *r)
{
	struct td_buf text = { 0 };

	for (struct xmpp_node *n = xmpp_node_child(r->body, NULL, NULL); n != NULL;
	     n = xmpp_node_next_elem(n)) {
		take_off_wrapper(n);
		xmpp_node_write(&text, n, NS_CLIENT);
	}
	if (text.len > 0)
		xmpp_c2s_input(b->c2s, text.p, text.len);
	td_buf_fini(&text);
}

static void
open_stream(struct gw_bosh_session *b, const struct xmpp_node *body)
{
	struct td_str to = xmpp_node_attr(body, "to"), lang = xmpp_node_lang(body);
	struct td_str version = gw_bosh_xattr(body, "version");
	struct td_buf head = { 0 };

	td_buf_addz(&head,
		    "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "' to='");
	if (to.len > 0)
		td_buf_add_xml(&head, to);
	else if (xmpp_c2s_bare(b->c2s).p != NULL)
		td_buf_add_xml(&head, td_cstr(strchr(xmpp_c2s_bare(b->c2s).p, '@') + 1));
	td_buf_addz(&head, "' version='");
	td_buf_add_xml(&head, version.len > 0 ? version : TD_STR("1.0"));
	if (lang.len > 0) {
		td_buf_addz(&head, "' xml:lang='");
		td_buf_add_xml(&head, lang);
	}
	td_buf_addz(&head, "'>");
	xmpp_c2s_input(b->c2s, head.p, head.len);
	td_buf_fini(&head);
}

static void
pause_session(struct gw_bosh_session *b, const struct gw_bosh_request *r)
{
	struct td_buf text = b->text;

	/* 10: everything is answered, and nothing is said */
	b->text = (struct td_buf){ 0 };
	b->pause_s = r->pause < 1 ? 1 : (unsigned)r->pause;
	while (b->n_held > 0)
		answer(b, false);
	b->text = text;
	set_timer(b);
}

/* The next request in order. */
static void
process(struct gw_bosh_session *b, struct gw_bosh_request *r)
{
	if (!key_ok(b, r)) {
		violate(b, r, "item-not-found");
		return;
	}
	if (too_active(b, r) || r->pause > MAX_PAUSE_S) {
		violate(b, r, "policy-violation");
		return;
	}
	if (r->restart && !xmpp_c2s_at_header(b->c2s)) {
		violate(b, r, "bad-request");
		return;
	}
	b->rid = r->rid;
	b->pause_s = 0;
	b->repeats = 0;
	if (b->text.len == 0)
		xmpp_c2s_flushed(b->c2s); /* who asks on has read what was said */
	r->at = td_loop_now(b->w->loop);
	STAILQ_INSERT_TAIL(&b->held, r, link);
	b->n_held++;
	later(b);
	if (r->restart) {
		open_stream(b, r->body);
	} else {
		feed(b, r);
	}
	if (r->terminate) {
		b->silent = true;
		xmpp_c2s_end(b->c2s, NULL, NULL);
	} else if (r->pause >= 0) {
		pause_session(b, r);
	}
}

/* A request that was there before: its answer again, or take the place of the first copy (14.3). */
static void
repeat(struct gw_bosh_session *b, struct gw_bosh_request *r)
{
	struct gw_bosh_request *old;

	if (++b->repeats > MAX_REPEATS) {
		violate(b, r, "policy-violation");
		return;
	}
	STAILQ_FOREACH(old, &b->held, link)
	if (old->rid == r->rid) {
		r->at = old->at;
		STAILQ_INSERT_AFTER(&b->held, old, r, link);
		STAILQ_REMOVE(&b->held, old, gw_bosh_request, link);
		gw_bosh_refuse(old, NULL, b->legacy);
		return;
	}
	for (size_t i = 0; i < b->requests; i++) {
		if (b->answers[i].rid != r->rid)
			continue;
		td_buf_adds(&r->reply, td_buf_str(&b->answers[i].body));
		if (b->type != NULL)
			r->type = td_strdup(b->type);
		gw_bosh_answer(r);
		return;
	}
	violate(b, r, "item-not-found");
}

static void
keep_early(struct gw_bosh_session *b, struct gw_bosh_request *r)
{
	struct gw_bosh_request *e;

	STAILQ_FOREACH(e, &b->early, link)
	if (e->rid == r->rid) {
		STAILQ_INSERT_AFTER(&b->early, e, r, link);
		STAILQ_REMOVE(&b->early, e, gw_bosh_request, link);
		gw_bosh_refuse(e, NULL, b->legacy);
		return;
	}
	STAILQ_INSERT_TAIL(&b->early, r, link);
	b->n_early++;
}

static struct gw_bosh_request *
next_early(struct gw_bosh_session *b)
{
	struct gw_bosh_request *e;

	STAILQ_FOREACH(e, &b->early, link)
	if (e->rid == b->rid + 1) {
		STAILQ_REMOVE(&b->early, e, gw_bosh_request, link);
		b->n_early--;
		return e;
	}
	return NULL;
}

static void
take(struct gw_bosh_session *b, struct gw_bosh_request *r)
{
	/* one more than the window may end or pause the session (11) */
	int64_t window = b->requests + (r->terminate || r->pause >= 0 ? 1 : 0);
	struct gw_worker *w = b->w;
	struct td_str sid = td_cstr(b->sid);

	if (b->tls && !r->tls) { /* 19.1 */
		gw_bosh_refuse(r, "item-not-found", b->legacy);
		return;
	}
	if (b->c2s == NULL && r->rid > b->rid && r->rid <= b->rid + window) {
		STAILQ_INSERT_TAIL(&b->held, r, link);
		b->n_held = 1;
		say_goodbye(b);
		return;
	}
	if (b->moving) {
		STAILQ_INSERT_TAIL(&b->parked, r, link);
		return;
	}
	if (r->rid <= b->rid) {
		repeat(b, r);
		return;
	}
	if (r->rid > b->rid + window) {
		violate(b, r, "item-not-found");
		return;
	}
	if (r->rid > b->rid + 1) {
		keep_early(b, r);
		return;
	}
	while (r != NULL) {
		process(b, r);
		if (td_map_find(&table(w)->sessions, sid) != b || b->moving || b->shut)
			return;
		r = next_early(b);
	}
}

void
gw_bosh_dispatch(struct gw_worker *w, void *request)
{
	struct gw_bosh_request *r = request;
	struct gw_bosh_session *b = td_map_find(&table(w)->sessions, r->sid);
	struct signpost *p;

	if (b != NULL) {
		take(b, r);
		return;
	}
	p = td_map_find(&table(w)->posts, r->sid);
	if (p != NULL && p->at != NULL)
		gw_worker_post(p->at, gw_bosh_dispatch, r);
	else
		gw_bosh_refuse(r, "item-not-found", false);
}

/* ---- a new session ---- */

static unsigned
smaller(int64_t wanted, unsigned max)
{
	return wanted < 0 ? 0 : wanted > max ? max : (unsigned)wanted;
}

static bool
type_ok(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return s.len > 0 && s.len <= 100;
}

static const char *
check_first(struct gw_worker *w, const struct gw_bosh_request *r)
{
	struct td_str to = xmpp_node_attr(r->body, "to");
	struct td_arena *a;
	struct xmpp_jid j;
	bool ok;

	if (table(w)->ending != NULL)
		return "system-shutdown";
	if (table(w)->young >= MAX_YOUNG)
		return "policy-violation";
	if (to.len == 0)
		return "improper-addressing";
	a = td_arena_new(256);
	ok = xmpp_jid_parse(a, to, &j, NULL) == 0 && j.local.p == NULL && j.resource.p == NULL &&
	     w->env->host->domain(w->env, j.domain) == XD_LOCAL;
	td_arena_free(a);
	return ok ? NULL : "host-unknown";
}

static struct gw_bosh_session *
session_new(struct gw_worker *w, const struct gw_bosh_request *r, const struct gw_conn_conf *cf,
	    const char *peer)
{
	struct gw_bosh_session *b = td_zalloc(sizeof(*b));
	struct td_str type = xmpp_node_attr(r->body, "content");
	char id[27];

	td_random_id(id, sizeof(id) - 1);
	(void)snprintf(b->sid, sizeof(b->sid), "%s%02u", id, w->index);
	b->w = w;
	b->birth = w->index;
	b->cf = gw_conn_conf_ref((struct gw_conn_conf *)(uintptr_t)cf);
	b->peer = td_strdup(peer);
	b->type = type_ok(type) ? td_strndup(type) : NULL;
	b->tls = r->tls;
	b->legacy = xmpp_node_attr(r->body, "ver").p == NULL;
	b->wait_s = smaller(gw_bosh_int(r->body, "wait", 60), cf->http->bosh_wait_s);
	b->hold = smaller(gw_bosh_int(r->body, "hold", 1), MAX_HOLD);
	if (b->wait_s == 0)
		b->hold = 0;
	b->requests = b->hold + 1;
	b->rid = r->rid - 1;
	b->fresh = b->young = true;
	b->idle_since = td_loop_now(w->loop);
	for (size_t i = 0; i < MAX_REQUESTS; i++)
		b->answers[i].rid = -1;
	STAILQ_INIT(&b->held);
	STAILQ_INIT(&b->early);
	STAILQ_INIT(&b->parked);
	b->timer.fire = on_timer;
	b->task.run = settle;
	return b;
}

void
gw_bosh_create(struct gw_worker *w, struct gw_bosh_request *r, const struct gw_conn_conf *cf,
	       const char *peer)
{
	const char *condition = check_first(w, r);
	struct gw_bosh_session *b;
	struct signpost *p;

	if (condition != NULL) {
		gw_bosh_refuse(r, condition, false);
		return;
	}
	b = session_new(w, r, cf, peer);
	p = td_zalloc(sizeof(*p));
	memcpy(p->sid, b->sid, sizeof(p->sid));
	(void)td_map_set(&table(w)->posts, td_cstr(p->sid), p);
	(void)td_map_set(&table(w)->sessions, td_cstr(b->sid), b);
	table(w)->young++;
	b->c2s = xmpp_c2s_new(w->env, io_of(b), &cf->http->bosh, r->tls);
	(void)key_ok(b, r);
	b->rid = r->rid;
	r->at = td_loop_now(w->loop);
	STAILQ_INSERT_TAIL(&b->held, r, link);
	b->n_held = 1;
	later(b);
	open_stream(b, r->body);
	td_log_debug(&w->gw->log, "bosh-start", "peer=%s wait=%u hold=%u", peer, b->wait_s,
		     b->hold);
}

/* ---- all of a worker ---- */

void
gw_bosh_end_all(struct gw_worker *w, const char *condition)
{
	struct gw_bosh_session *b;
	size_t pos = 0;

	table(w)->ending = condition;
	while ((b = td_map_next(&table(w)->sessions, &pos)) != NULL) {
		b->condition = condition;
		if (b->c2s != NULL)
			xmpp_c2s_end(b->c2s, condition, NULL);
	}
}

void
gw_bosh_close_all(struct gw_worker *w)
{
	struct gw_bosh_session *b;
	size_t pos = 0;

	table(w)->closing = true;
	while ((b = td_map_next(&table(w)->sessions, &pos)) != NULL)
		end_session(b, "closed");
}

void
gw_bosh_fini(struct gw_worker *w)
{
	struct gw_bosh *t = w->bosh;
	struct signpost *p;
	size_t pos = 0;

	if (t == NULL)
		return;
	while ((p = td_map_next(&t->posts, &pos)) != NULL)
		free(p);
	td_map_fini(&t->posts);
	td_map_fini(&t->sessions);
	free(t);
	w->bosh = NULL;
}

/* ---- what the stream calls ---- */

static struct td_buf *
op_out(struct xmpp_io *io)
{
	struct gw_bosh_session *b = of(io);

	if (b->shut) {
		td_buf_clear(&b->trash);
		return &b->trash;
	}
	later(b);
	return &b->text;
}

static void
op_shut(struct xmpp_io *io)
{
	of(io)->shut = true;
	of(io)->moving = false;
	later(of(io));
}

static void
op_move(struct xmpp_io *io, unsigned index)
{
	of(io)->moving = true;
	of(io)->move_to = index;
	later(of(io));
}

static void
op_pause(struct xmpp_io *io, bool paused)
{
	of(io)->paused = paused;
	if (!paused)
		later(of(io));
}

static size_t
op_pending(const struct xmpp_io *io)
{
	return ofc(io)->text.len;
}

static const char *
op_peer(const struct xmpp_io *io)
{
	return ofc(io)->peer;
}

static bool
op_channel_binding(struct xmpp_io *io, struct xmpp_cb_data *out)
{
	(void)io;
	(void)out;
	return false; /* there is no one channel */
}

static unsigned
op_binding_types(struct xmpp_io *io)
{
	(void)io;
	return 0;
}

static void
op_starttls(struct xmpp_io *io)
{
	(void)io;
}

static bool
op_has_tls_ctx(const struct xmpp_io *io)
{
	(void)io;
	return false;
}

static void
op_set_domain(struct xmpp_io *io, struct td_str domain)
{
	(void)io;
	(void)domain;
}

const struct xmpp_io_ops gw_bosh_ops = {
	.out = op_out,
	.starttls = op_starttls,
	.shut = op_shut,
	.move = op_move,
	.pause = op_pause,
	.pending = op_pending,
	.peer = op_peer,
	.channel_binding = op_channel_binding,
	.binding_types = op_binding_types,
	.has_tls_ctx = op_has_tls_ctx,
	.set_domain = op_set_domain,
};

static void
framing_open(struct xmpp_io *io, const char *id, struct td_str from, struct td_str to)
{
	struct gw_bosh_session *b = of(io);

	(void)to;
	free((void *)(uintptr_t)b->stream_from.p);
	b->stream_from = td_cstr(td_strndup(from));
	(void)snprintf(b->stream_id, sizeof(b->stream_id), "%s", id);
	later(b);
}

static void
framing_close(struct xmpp_io *io)
{
	(void)io; /* type='terminate' says it */
}

const struct xmpp_framing gw_bosh_framing = { .open = framing_open, .close = framing_close };
