/* presence - who is online: broadcast, probes, directed presence (RFC 6121 section 4).
 *
 * A client's presence without 'to' comes to xmpp_presence_broadcast, with 'to' to
 * xmpp_presence_directed; presence for a local account to xmpp_presence_in.
 *
 * session->presence keeps the content of the last available presence as bytes.  Its xml:lang
 * and id, which a probe's answer needs too, stand behind it in the same piece of memory, and then the time (seconds, wall). */
#include "xmpp/im.h"

#include <stdlib.h>

#define DIRECTED_MAX 1000u /* addresses a session may remember */
#define STATUS_MAX 255u    /* of the text the directory is told */

/* ---- making and sending ---- */

struct xmpp_stanza *
xmpp_presence_make(enum xmpp_type type, const struct xmpp_jid *from, const struct xmpp_jid *to,
		   struct td_str id)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_PRESENCE, type);

	xmpp_stanza_set_from(s, from);
	if (to != NULL)
		xmpp_stanza_set_to(s, to);
	if (id.p != NULL)
		xmpp_stanza_set_id(s, id);
	xmpp_stanza_seal(s);
	return s;
}

static void
to_sessions(struct xmpp_user *u, struct xmpp_stanza *s, bool interested)
{
	struct xmpp_session *sess, *next;

	/* sending may end a session; it stays readable until the turn ends */
	for (sess = TAILQ_FIRST(&u->sessions); sess != NULL; sess = next) {
		next = TAILQ_NEXT(sess, link);
		if (!sess->dead && (interested ? sess->interested : sess->available))
			xmpp_session_send(sess, s);
	}
}

void
xmpp_presence_to_available(struct xmpp_user *u, struct xmpp_stanza *s)
{
	to_sessions(u, s, false);
}

void
xmpp_presence_to_interested(struct xmpp_user *u, struct xmpp_stanza *s)
{
	to_sessions(u, s, true);
}

/* A copy of <s> to every contact with one of <subs> (STORE_SUB_TO or FROM). */
static void
to_contacts(struct xmpp_user *u, struct xmpp_stanza *s, unsigned subs)
{
	const struct xmpp_contact *c;
	size_t i = 0;

	while ((c = td_map_next(&u->roster, &i)) != NULL) {
		struct xmpp_jid to;

		if (!(c->sub & subs))
			continue;
		to = xmpp_jid_view(c->jid);
		if (xmpp_is_blocked(u, &to))
			continue;
		xmpp_subscription_route(u, xmpp_stanza_readdress(s, &to));
	}
}

/* ---- what a session last said ---- */

static void
keep_presence(struct xmpp_session *sess, const struct xmpp_stanza *s)
{
	uint32_t now = (uint32_t)(td_wall_ms() / 1000);
	char *p = td_alloc(s->inner.len + s->lang.len + s->id.len + 3 + sizeof(now)), *at = p;
	const struct td_str parts[] = { s->inner, s->lang, s->id };

	for (size_t i = 0; i < 3; i++) {
		if (parts[i].len > 0)
			memcpy(at, parts[i].p, parts[i].len);
		at += parts[i].len;
		*at++ = '\0';
	}
	memcpy(at, &now, sizeof(now));
	free((void *)(uintptr_t)sess->presence.p);
	sess->presence = td_str(p, s->inner.len);
}

static void
forget_presence(struct xmpp_session *sess)
{
	free((void *)(uintptr_t)sess->presence.p);
	sess->presence = TD_STR_NULL;
}

/* The session's last presence, to <to>. */
struct xmpp_stanza *
xmpp_presence_last(const struct xmpp_session *sess, const struct xmpp_jid *to)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_PRESENCE, XT_NONE);

	xmpp_stanza_set_from(s, &sess->jid);
	xmpp_stanza_set_to(s, to);
	if (sess->presence.p != NULL) {
		struct td_str lang = td_cstr(sess->presence.p + sess->presence.len + 1);
		struct td_str id = td_cstr(lang.p + lang.len + 1);

		if (lang.len > 0)
			s->lang = td_arena_str(s->arena, lang);
		if (id.len > 0)
			xmpp_stanza_set_id(s, id);
		if (sess->presence.len > 0)
			xmpp_stanza_append_raw(s, sess->presence);
	}
	xmpp_stanza_seal(s);
	return s;
}

/* The same for a client that asks itself: with the time, so that it knows how old the news is (XEP-0318 3.1). */
static struct xmpp_stanza *
last_stamped(const struct xmpp_session *sess, const struct xmpp_jid *to)
{
	struct xmpp_stanza *plain = xmpp_presence_last(sess, to), *s;
	struct td_buf delay = { 0 };
	const char *p = sess->presence.p;
	uint32_t when;
	char at[32];

	if (p == NULL || memmem(p, sess->presence.len, NS_DELAY, strlen(NS_DELAY)) != NULL)
		return plain;
	p += sess->presence.len + 1; /* behind the language and the id */
	p += strlen(p) + 1;
	p += strlen(p) + 1;
	memcpy(&when, p, sizeof(when));
	td_stamp(when * UINT64_C(1000), at);
	td_buf_addz(&delay, "<delay xmlns='" NS_DELAY "'");
	td_buf_add_attr(&delay, "from", sess->jid.full);
	td_buf_add_attr(&delay, "stamp", td_cstr(at));
	td_buf_addz(&delay, "/>");
	s = xmpp_stanza_extend(plain, td_buf_str(&delay));
	td_buf_fini(&delay);
	xmpp_stanza_unref(&plain);
	return s;
}

static void
set_available(struct xmpp_session *sess, bool available, int8_t priority)
{
	bool was = sess->available && sess->priority >= 0;
	bool is = available && priority >= 0;

	sess->available = available;
	sess->priority = priority;
	if (is && !was)
		sess->user->n_available++;
	else if (was && !is)
		sess->user->n_available--;
}

static unsigned
send_all(struct xmpp_user *u, const struct xmpp_jid *to, bool stamped)
{
	struct xmpp_session *sess, *next;
	unsigned n = 0;

	for (sess = TAILQ_FIRST(&u->sessions); sess != NULL; sess = next) {
		next = TAILQ_NEXT(sess, link);
		if (!sess->available || sess->dead)
			continue;
		xmpp_route(u->env, stamped ? last_stamped(sess, to) : xmpp_presence_last(sess, to));
		n++;
	}
	return n;
}

unsigned
xmpp_presence_send_all(struct xmpp_user *u, const struct xmpp_jid *to)
{
	return send_all(u, to, false);
}

/* Take <jid> off the session's list; true when it was there. */
static bool
drop_directed(struct xmpp_session *sess, struct td_str jid)
{
	void *mem = td_map_del(&sess->directed, jid);

	free(mem);
	return mem != NULL;
}

void
xmpp_presence_send_gone(struct xmpp_user *u, const struct xmpp_jid *to)
{
	struct xmpp_session *sess, *next;

	for (sess = TAILQ_FIRST(&u->sessions); sess != NULL; sess = next) {
		next = TAILQ_NEXT(sess, link);
		if (!sess->available || sess->dead)
			continue;
		(void)drop_directed(sess, to->full);
		xmpp_route(u->env, xmpp_presence_make(XT_UNAVAILABLE, &sess->jid, to, TD_STR_NULL));
	}
}

static bool
sees_us(const struct xmpp_user *u, struct td_str bare)
{
	const struct xmpp_contact *c = td_map_find(&u->roster, bare);

	return c != NULL && (c->sub & STORE_SUB_FROM);
}

bool
xmpp_presence_may_see(const struct xmpp_user *u, const struct xmpp_jid *who)
{
	return td_str_eq(who->bare, u->bare) || sees_us(u, who->bare);
}

/* Tell the modules.  The session may be dead. */
static void
tell_modules(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->presence != NULL)
			(*m)->presence(sess, s, available, first);
}

/* ---- reading a presence ---- */

/* RFC 6121 4.7.2.3: an integer from -128 to 127, at most once. */
static bool
parse_priority(const struct xmpp_stanza *s, int8_t *out)
{
	const struct xmpp_node *n = xmpp_node_child(s->root, s->root->ns, "priority");
	struct td_str t;
	bool minus;
	int v = 0;

	*out = 0;
	if (n == NULL)
		return true;
	for (const struct xmpp_node *o = xmpp_node_next_elem(n); o != NULL;
	     o = xmpp_node_next_elem(o))
		if (xmpp_node_is(o, s->root->ns, "priority"))
			return false;
	t = td_str_trim(xmpp_node_text(s->arena, n));
	minus = t.len > 0 && t.p[0] == '-';
	if (t.len > 0 && (t.p[0] == '-' || t.p[0] == '+'))
		t = td_str(t.p + 1, t.len - 1);
	if (t.len == 0)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return false;
		v = v * 10 + (t.p[i] - '0');
		if (v > 128)
			return false;
	}
	if (minus)
		v = -v;
	*out = (int8_t)v;
	return v <= 127;
}

/* Only what the RFC names goes to the directory; clients get what was sent. */
static const char *const show_words[SHOW_COUNT] = { "away", "chat", "dnd", "", "xa" };

static enum xmpp_show
parse_show(const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_node_child(s->root, s->root->ns, "show");

	for (int i = 0; n != NULL && i < SHOW_COUNT; i++)
		if (td_str_eqc(td_str_trim(xmpp_node_text(s->arena, n)), show_words[i]))
			return (enum xmpp_show)i;
	return SHOW_ONLINE;
}

static struct td_str
parse_status(const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_node_child(s->root, s->root->ns, "status");
	struct td_str t = n != NULL ? xmpp_node_text(s->arena, n) : TD_STR("");

	return td_str(t.p, td_utf8_cut(t, STATUS_MAX));
}

/* ---- from our client, to all ---- */

/* The others' presence for the new one, probes for what it cannot know, requests that wait. */
static void
begin_session(struct xmpp_session *sess)
{
	struct xmpp_user *u = sess->user;
	struct xmpp_jid me = xmpp_jid_view(u->bare);
	struct xmpp_session *o, *next;
	struct xmpp_stanza *s;

	sess->probed = true;
	for (o = TAILQ_FIRST(&u->sessions); o != NULL; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o == sess || !o->available || o->dead)
			continue;
		s = xmpp_presence_last(o, &sess->jid);
		xmpp_session_send(sess, s);
		xmpp_stanza_unref(&s);
	}
	/* 4.3: from the bare address, to the bare address */
	s = xmpp_presence_make(XT_PROBE, &me, NULL, TD_STR_NULL);
	to_contacts(u, s, STORE_SUB_TO);
	xmpp_stanza_unref(&s);
	if (!sess->dead)
		xmpp_subscription_pending_to(sess);
}

static void
go_online(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_user *u = sess->user;
	struct xmpp_jid me = xmpp_jid_view(u->bare);
	bool first = !sess->available;
	bool took = !first && sess->priority >= 0; /* messages, before */
	struct xmpp_stanza *own;
	int8_t priority;

	if (!parse_priority(s, &priority)) {
		xmpp_bounce(sess->env, s, XE_BAD_REQUEST,
			    "priority is an integer from -128 to 127");
		return;
	}
	/* the arena is shared once the stanza is routed: read all of it now */
	sess->show = (uint8_t)parse_show(s);
	sess->env->host->presence(sess->env, &sess->jid, priority, td_cstr(show_words[sess->show]),
				  parse_status(s), true);
	xmpp_stanza_seal(s);
	keep_presence(sess, s);
	set_available(sess, true, priority);
	own = xmpp_stanza_readdress(s, &me);
	to_sessions(u, own, false);
	xmpp_stanza_unref(&own);
	to_contacts(u, s, STORE_SUB_FROM);
	if (first && !sess->dead)
		begin_session(sess);
	if (!sess->dead)
		tell_modules(sess, s, true, first);
	if (priority >= 0 && !took && !sess->dead)
		xmpp_offline_replay(sess);
}

/* Unavailable presence <s> (sealed) to everyone who may believe the session online. */
static void
go_offline(struct xmpp_session *sess, struct xmpp_stanza *s, bool echo)
{
	struct xmpp_user *u = sess->user;
	struct xmpp_jid me = xmpp_jid_view(u->bare);
	bool was = sess->available;
	char *mem;
	size_t i = 0;

	if (was) {
		struct xmpp_stanza *own = xmpp_stanza_readdress(s, &me);

		set_available(sess, false, 0);
		forget_presence(sess);
		u->gone_at = (uint32_t)(td_wall_ms() / 1000);
		sess->env->host->presence(sess->env, &sess->jid, 0, TD_STR_NULL, TD_STR_NULL,
					  false);
		if (echo && !sess->dead)
			xmpp_session_send(sess, own);
		to_sessions(u, own, false);
		xmpp_stanza_unref(&own);
		to_contacts(u, s, STORE_SUB_FROM);
	}
	/* 4.6.3: those who got it directly and were not reached above */
	while ((mem = td_map_next(&sess->directed, &i)) != NULL) {
		struct xmpp_jid to = xmpp_jid_view(td_cstr(mem));

		(void)td_map_del(&sess->directed, to.full);
		if (!was || !sees_us(u, to.bare))
			xmpp_subscription_route(u, xmpp_stanza_readdress(s, &to));
		free(mem);
	}
	if (was)
		tell_modules(sess, s, false, false);
}

void
xmpp_presence_broadcast(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	if (s->type == XT_NONE) {
		go_online(sess, s);
	} else if (s->type == XT_UNAVAILABLE) {
		xmpp_stanza_seal(s);
		go_offline(sess, s, true);
	} else if (s->type != XT_ERROR) {
		/* the other types make no sense without 'to' */
		xmpp_bounce(sess->env, s, XE_BAD_REQUEST, NULL);
	}
}

void
xmpp_presence_session_end(struct xmpp_session *sess)
{
	if (sess->available || sess->directed.len > 0) {
		struct xmpp_stanza *s =
			xmpp_presence_make(XT_UNAVAILABLE, &sess->jid, NULL, TD_STR_NULL);

		go_offline(sess, s, false);
		xmpp_stanza_unref(&s);
	}
	forget_presence(sess);
	td_map_fini(&sess->directed);
}

/* ---- from our client, to one ---- */

/* False: too many. */
static bool
note_directed(struct xmpp_session *sess, const struct xmpp_jid *to)
{
	char *mem;

	/* 4.6.3 rule 1: a subscriber hears of the end anyway */
	if (sess->available && xmpp_presence_may_see(sess->user, to))
		return true;
	if (td_map_find(&sess->directed, to->full) != NULL)
		return true;
	if (sess->directed.len >= DIRECTED_MAX)
		return false;
	mem = td_strndup(to->full);
	(void)td_map_set(&sess->directed, td_str(mem, to->full.len), mem);
	return true;
}

void
xmpp_presence_directed(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	switch ((enum xmpp_type)s->type) {
	case XT_NONE:
		if (!note_directed(sess, &s->to)) {
			xmpp_bounce(sess->env, s, XE_RESOURCE_CONSTRAINT,
				    "too many directed presences");
			return;
		}
		break;
	case XT_UNAVAILABLE: (void)drop_directed(sess, s->to.full); break;
	case XT_ERROR:
	case XT_PROBE: /* 4.3: not for clients, yet no reason for an error */ break;
	default: xmpp_bounce(sess->env, s, XE_BAD_REQUEST, NULL); return;
	}
	xmpp_subscription_route(sess->user, xmpp_stanza_ref(s));
}

/* ---- for our user ---- */

static void
deliver(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct xmpp_session *sess;

	if (s->to.resource.p == NULL) {
		to_sessions(u, s, false);
		return;
	}
	sess = xmpp_session_find(u, s->to.resource);
	if (sess != NULL && !sess->dead)
		xmpp_session_send(sess, s);
}

/* 4.6.1: who says goodbye needs no goodbye from us. */
static void
note_goodbye(struct xmpp_user *u, const struct xmpp_stanza *s)
{
	struct xmpp_session *sess;

	TAILQ_FOREACH(sess, &u->sessions, link)
	if (s->to.resource.p == NULL || td_str_eq(s->to.resource, sess->jid.resource))
		(void)drop_directed(sess, s->from.full);
}

/* 4.6.6: may <who> know about this session because it wrote to them? */
static bool
has_directed(const struct xmpp_session *sess, const struct xmpp_jid *who)
{
	return td_map_find(&sess->directed, who->full) != NULL ||
	       td_map_find(&sess->directed, who->bare) != NULL;
}

/* 4.3.2 rule 3: nobody is there, since when as far as memory tells. */
static struct xmpp_stanza *
gone(struct xmpp_user *u, const struct xmpp_stanza *probe)
{
	struct xmpp_jid me = xmpp_jid_view(u->bare);
	struct xmpp_stanza *r = xmpp_presence_make(XT_UNAVAILABLE, &me, &probe->from, probe->id);
	struct td_buf delay = { 0 };
	char at[32];

	if (u->gone_at == 0)
		return r;
	td_stamp(u->gone_at * UINT64_C(1000), at);
	td_buf_addf(&delay, "<delay xmlns='" NS_DELAY "' stamp='%s'/>", at);
	xmpp_stanza_append_raw(r, td_buf_str(&delay));
	td_buf_fini(&delay);
	return r;
}

static void
answer_probe(struct xmpp_user *u, const struct xmpp_stanza *s)
{
	struct xmpp_jid me = xmpp_jid_view(u->bare), them = xmpp_jid_view(s->from.bare);
	struct xmpp_session *sess = NULL;
	struct xmpp_stanza *r;

	if (s->to.resource.p != NULL && u->exists)
		sess = xmpp_session_find(u, s->to.resource);
	if (u->exists && xmpp_presence_may_see(u, &s->from)) {
		if (s->to.resource.p != NULL)
			r = xmpp_presence_make(sess != NULL && sess->available ? XT_NONE
									       : XT_UNAVAILABLE,
					       &s->to, &s->from, s->id);
		else if (send_all(u, &s->from, s->from.resource.p != NULL) == 0)
			r = gone(u, s);
		else
			return;
	} else if (sess != NULL && has_directed(sess, &s->from)) {
		r = xmpp_presence_make(XT_NONE, &sess->jid, &s->from, s->id);
	} else {
		/* the same for strangers and for accounts that do not exist; from the bare
		 * address, which tells nothing */
		r = xmpp_presence_make(XT_UNSUBSCRIBED, &me, &them, s->id);
	}
	xmpp_route(u->env, r);
}

void
xmpp_presence_in(struct xmpp_user *u, struct xmpp_stanza *s)
{
	if (u->failed)
		return; /* "unsubscribed" by mistake would end a subscription */
	/* an error of ours about a stanza without 'to' has no 'from' */
	if (s->from.full.p == NULL && s->type != XT_ERROR)
		return;
	xmpp_stanza_seal(s);
	if (xmpp_subscription_holds(u, s))
		return;
	if (s->type == XT_UNAVAILABLE)
		note_goodbye(u, s);
	switch ((enum xmpp_type)s->type) {
	case XT_UNAVAILABLE:
	case XT_NONE:
	case XT_ERROR: deliver(u, s); break;
	case XT_PROBE: answer_probe(u, s); break;
	case XT_SUBSCRIBE:
	case XT_SUBSCRIBED:
	case XT_UNSUBSCRIBE:
	case XT_UNSUBSCRIBED: xmpp_subscription_in(u, s); break;
	default:
		if (u->exists)
			xmpp_bounce(u->env, s, XE_BAD_REQUEST, NULL);
		break;
	}
}
