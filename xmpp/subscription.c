/* subscription - who may see whose presence (RFC 6121 section 3).
 *
 * What happens to a stanza is a row of two tables, word for word those of appendix A: rules_out
 * (A.2) for stanzas of our user, rules_in (A.3) for stanzas to it.  The new state is committed
 * to the store first; the stanza goes on, pushes and answers follow from the reply.
 *
 * Beside the nine states a contact has a flag 'approved' (3.4) and may be hidden: a request of
 * someone the user never added is kept, but is no roster item (3.1.3). */
#include "xmpp/im.h"

#include <stdlib.h>
#include "xmpp/deliver.h"
#include "xmpp/roster.h"

/* Larger requests are kept without their content. */
#define PENDING_MAX 8192u

/* ---- appendix A ---- */

enum substate {
	SS_NONE = 0,
	SS_NONE_OUT,
	SS_NONE_IN,
	SS_NONE_OUT_IN,
	SS_TO,
	SS_TO_IN,
	SS_FROM,
	SS_FROM_OUT,
	SS_BOTH,
	SS_COUNT /* must be last */
};

static const struct {
	uint8_t sub, flags;
} states[SS_COUNT] = {
	[SS_NONE] = { STORE_SUB_NONE, 0 },
	[SS_NONE_OUT] = { STORE_SUB_NONE, STORE_ROSTER_ASK },
	[SS_NONE_IN] = { STORE_SUB_NONE, STORE_ROSTER_PENDING_IN },
	[SS_NONE_OUT_IN] = { STORE_SUB_NONE, STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN },
	[SS_TO] = { STORE_SUB_TO, 0 },
	[SS_TO_IN] = { STORE_SUB_TO, STORE_ROSTER_PENDING_IN },
	[SS_FROM] = { STORE_SUB_FROM, 0 },
	[SS_FROM_OUT] = { STORE_SUB_FROM, STORE_ROSTER_ASK },
	[SS_BOTH] = { STORE_SUB_BOTH, 0 },
};

#define PASS 0x1u    /* out: route it; in: deliver it */
#define ANSWER 0x2u  /* in: reply for the user, subscribed or unsubscribed */
#define APPROVE 0x4u /* out: note a pre-approval (3.4.2) */
#define REVOKE 0x8u  /* out: a pre-approval ends (3.2.2) */

struct rule {
	uint8_t next; /* enum substate */
	uint8_t acts;
};

enum subtype {
	ST_SUBSCRIBE = 0,
	ST_UNSUBSCRIBE,
	ST_SUBSCRIBED,
	ST_UNSUBSCRIBED,
	ST_COUNT
};

static const struct rule rules_out[ST_COUNT][SS_COUNT] = {
	[ST_SUBSCRIBE] = { /* table 2 */
		[SS_NONE] = { SS_NONE_OUT, PASS },
		[SS_NONE_OUT] = { SS_NONE_OUT, PASS },
		[SS_NONE_IN] = { SS_NONE_OUT_IN, PASS },
		[SS_NONE_OUT_IN] = { SS_NONE_OUT_IN, PASS },
		[SS_TO] = { SS_TO, PASS },
		[SS_TO_IN] = { SS_TO_IN, PASS },
		[SS_FROM] = { SS_FROM_OUT, PASS },
		[SS_FROM_OUT] = { SS_FROM_OUT, PASS },
		[SS_BOTH] = { SS_BOTH, PASS },
	},
	[ST_UNSUBSCRIBE] = { /* table 3 */
		[SS_NONE] = { SS_NONE, PASS },
		[SS_NONE_OUT] = { SS_NONE, PASS },
		[SS_NONE_IN] = { SS_NONE_IN, PASS },
		[SS_NONE_OUT_IN] = { SS_NONE_IN, PASS },
		[SS_TO] = { SS_NONE, PASS },
		[SS_TO_IN] = { SS_NONE_IN, PASS },
		[SS_FROM] = { SS_FROM, PASS },
		[SS_FROM_OUT] = { SS_FROM, PASS },
		[SS_BOTH] = { SS_FROM, PASS },
	},
	[ST_SUBSCRIBED] = { /* table 4 */
		[SS_NONE] = { SS_NONE, APPROVE },
		[SS_NONE_OUT] = { SS_NONE_OUT, APPROVE },
		[SS_NONE_IN] = { SS_FROM, PASS },
		[SS_NONE_OUT_IN] = { SS_FROM_OUT, PASS },
		[SS_TO] = { SS_TO, APPROVE },
		[SS_TO_IN] = { SS_BOTH, PASS },
		[SS_FROM] = { SS_FROM, 0 },
		[SS_FROM_OUT] = { SS_FROM_OUT, 0 },
		[SS_BOTH] = { SS_BOTH, 0 },
	},
	[ST_UNSUBSCRIBED] = { /* table 5 */
		[SS_NONE] = { SS_NONE, REVOKE },
		[SS_NONE_OUT] = { SS_NONE_OUT, REVOKE },
		[SS_NONE_IN] = { SS_NONE, PASS | REVOKE },
		[SS_NONE_OUT_IN] = { SS_NONE_OUT, PASS | REVOKE },
		[SS_TO] = { SS_TO, REVOKE },
		[SS_TO_IN] = { SS_TO, PASS | REVOKE },
		[SS_FROM] = { SS_NONE, PASS | REVOKE },
		[SS_FROM_OUT] = { SS_NONE_OUT, PASS | REVOKE },
		[SS_BOTH] = { SS_TO, PASS | REVOKE },
	},
};

static const struct rule rules_in[ST_COUNT][SS_COUNT] = {
	[ST_SUBSCRIBE] = { /* table 6; approved_in[] when pre-approved */
		[SS_NONE] = { SS_NONE_IN, PASS },
		[SS_NONE_OUT] = { SS_NONE_OUT_IN, PASS },
		[SS_NONE_IN] = { SS_NONE_IN, 0 },
		[SS_NONE_OUT_IN] = { SS_NONE_OUT_IN, 0 },
		[SS_TO] = { SS_TO_IN, PASS },
		[SS_TO_IN] = { SS_TO_IN, 0 },
		[SS_FROM] = { SS_FROM, ANSWER },
		[SS_FROM_OUT] = { SS_FROM_OUT, ANSWER },
		[SS_BOTH] = { SS_BOTH, ANSWER },
	},
	[ST_UNSUBSCRIBE] = { /* table 7 */
		[SS_NONE] = { SS_NONE, 0 },
		[SS_NONE_OUT] = { SS_NONE_OUT, 0 },
		[SS_NONE_IN] = { SS_NONE, PASS | ANSWER },
		[SS_NONE_OUT_IN] = { SS_NONE_OUT, PASS | ANSWER },
		[SS_TO] = { SS_TO, 0 },
		[SS_TO_IN] = { SS_TO, PASS | ANSWER },
		[SS_FROM] = { SS_NONE, PASS | ANSWER },
		[SS_FROM_OUT] = { SS_NONE_OUT, PASS | ANSWER },
		[SS_BOTH] = { SS_TO, PASS | ANSWER },
	},
	[ST_SUBSCRIBED] = { /* table 8 */
		[SS_NONE] = { SS_NONE, 0 },
		[SS_NONE_OUT] = { SS_TO, PASS },
		[SS_NONE_IN] = { SS_NONE_IN, 0 },
		[SS_NONE_OUT_IN] = { SS_TO_IN, PASS },
		[SS_TO] = { SS_TO, 0 },
		[SS_TO_IN] = { SS_TO_IN, 0 },
		[SS_FROM] = { SS_FROM, 0 },
		[SS_FROM_OUT] = { SS_BOTH, PASS },
		[SS_BOTH] = { SS_BOTH, 0 },
	},
	[ST_UNSUBSCRIBED] = { /* table 9 */
		[SS_NONE] = { SS_NONE, 0 },
		[SS_NONE_OUT] = { SS_NONE, PASS },
		[SS_NONE_IN] = { SS_NONE_IN, 0 },
		[SS_NONE_OUT_IN] = { SS_NONE_IN, PASS },
		[SS_TO] = { SS_NONE, PASS },
		[SS_TO_IN] = { SS_NONE_IN, PASS },
		[SS_FROM] = { SS_FROM, 0 },
		[SS_FROM_OUT] = { SS_FROM, PASS },
		[SS_BOTH] = { SS_FROM, PASS },
	},
};

/* Table 6, note 1: subscribe from someone pre-approved, states without "from". */
static const struct rule approved_in[SS_COUNT] = {
	[SS_NONE] = { SS_FROM, ANSWER },    [SS_NONE_OUT] = { SS_FROM_OUT, ANSWER },
	[SS_NONE_IN] = { SS_FROM, ANSWER }, [SS_NONE_OUT_IN] = { SS_FROM_OUT, ANSWER },
	[SS_TO] = { SS_BOTH, ANSWER },      [SS_TO_IN] = { SS_BOTH, ANSWER },
	[SS_FROM] = { SS_FROM, ANSWER },    [SS_FROM_OUT] = { SS_FROM_OUT, ANSWER },
	[SS_BOTH] = { SS_BOTH, ANSWER },
};

/* False: not a subscription type. */
static bool
subtype_of(const struct xmpp_stanza *s, enum subtype *out)
{
	static const uint8_t map[XT_COUNT] = {
		[XT_SUBSCRIBE] = ST_SUBSCRIBE + 1,
		[XT_UNSUBSCRIBE] = ST_UNSUBSCRIBE + 1,
		[XT_SUBSCRIBED] = ST_SUBSCRIBED + 1,
		[XT_UNSUBSCRIBED] = ST_UNSUBSCRIBED + 1,
	};

	if (map[s->type] == 0)
		return false;
	*out = (enum subtype)(map[s->type] - 1);
	return true;
}

static enum substate
state_of(const struct xmpp_contact *c)
{
	unsigned flags;

	if (c == NULL)
		return SS_NONE;
	/* flags that make no sense with the subscription may come from an import */
	flags = c->flags & (STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN);
	if (c->sub & STORE_SUB_TO)
		flags &= ~STORE_ROSTER_ASK;
	if (c->sub & STORE_SUB_FROM)
		flags &= ~STORE_ROSTER_PENDING_IN;
	for (unsigned i = 0; i < SS_COUNT; i++)
		if (states[i].sub == c->sub && states[i].flags == flags)
			return (enum substate)i;
	return SS_NONE;
}

/* ---- a change on its way ---- */

struct xmpp_sub {
	struct xmpp_change ch;
	struct xmpp_stanza *s;
	uint8_t acts;
	enum subtype type;
	bool gained, lost;         /* the contact's right to see us */
	bool shows;                /* the item looks different, requests to us do not count */
	bool out;                  /* our user's change; else the contact's */
	LIST_ENTRY(xmpp_sub) link; /* user->subs */
	STAILQ_HEAD(, xmpp_waiting) held; /* stanzas that came behind it, the same way */
};

static bool
is_shown(const struct xmpp_contact *c)
{
	return c != NULL && (c->flags & STORE_ROSTER_HIDDEN) == 0;
}

static void
put_state(struct store_contact *sc, enum substate next)
{
	sc->sub = (enum store_subscription)states[next].sub;
	sc->flags &= ~(STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN);
	sc->flags |= states[next].flags;
	if ((sc->flags & STORE_ROSTER_PENDING_IN) == 0)
		sc->pending_stanza = TD_STR_NULL;
	if (next != SS_NONE && next != SS_NONE_IN)
		sc->flags &= ~STORE_ROSTER_HIDDEN;
}

/* Commit that contact <jid> goes to rule <r>; s is referenced until the end. */
static void
commit(struct xmpp_user *u, struct xmpp_stanza *s, struct td_str jid, struct rule r,
       enum subtype type, struct store_contact *sc, struct xmpp_sub *sub)
{
	const struct xmpp_contact *have = xmpp_user_contact(u, jid);
	unsigned had = have != NULL ? have->sub : STORE_SUB_NONE;

	put_state(sc, (enum substate)r.next);
	LIST_INSERT_HEAD(&u->subs, sub, link);
	sub->s = xmpp_stanza_ref(s);
	sub->acts = r.acts;
	sub->type = type;
	sub->gained = !(had & STORE_SUB_FROM) && (sc->sub & STORE_SUB_FROM);
	sub->lost = (had & STORE_SUB_FROM) && !(sc->sub & STORE_SUB_FROM);
	sub->shows = had != (unsigned)sc->sub ||
		     (((have != NULL ? have->flags : STORE_ROSTER_HIDDEN) ^ sc->flags) &
		      (STORE_ROSTER_ASK | STORE_ROSTER_HIDDEN)) != 0;
	/* the request was all that was known of them */
	if (r.next == SS_NONE && (sc->flags & STORE_ROSTER_HIDDEN))
		xmpp_roster_commit(u, jid, NULL, &sub->ch);
	else
		xmpp_roster_commit(u, jid, xmpp_contact_new(sc), &sub->ch);
}

static void
push(struct xmpp_user *u, const struct xmpp_sub *sub)
{
	const struct xmpp_contact *c = xmpp_user_contact(u, sub->ch.jid);

	if (is_shown(c))
		xmpp_roster_push(u, c, false);
}

static struct xmpp_sub *
sub_new(void (*done)(struct xmpp_change *, struct xmpp_env *, struct xmpp_user *, int), bool out)
{
	struct xmpp_sub *sub = td_zalloc(sizeof(*sub));

	sub->ch.done = done;
	sub->out = out;
	STAILQ_INIT(&sub->held);
	return sub;
}

/* Let go what waited; with the instance gone (u NULL) it is dropped. */
static void
sub_free(struct xmpp_sub *sub, struct xmpp_user *u)
{
	struct xmpp_waiting *w;

	while ((w = STAILQ_FIRST(&sub->held)) != NULL) {
		STAILQ_REMOVE_HEAD(&sub->held, link);
		if (u == NULL)
			xmpp_stanza_unref(&w->s);
		else if (sub->out)
			xmpp_subscription_route(u, w->s);
		else
			xmpp_deliver_loaded(u, w->s);
		free(w);
	}
	xmpp_stanza_unref(&sub->s);
	free(sub);
}

/* Queue <s> (takes the reference) behind the latest change between us and <peer>; false: none. */
static bool
hold(struct xmpp_user *u, struct td_str peer, bool out, struct xmpp_stanza *s)
{
	struct xmpp_sub *sub;

	LIST_FOREACH(sub, &u->subs, link)
	{
		struct xmpp_waiting *w;

		if (sub->out != out || !td_str_eq(sub->ch.jid, peer))
			continue;
		w = td_zalloc(sizeof(*w));
		w->s = s;
		STAILQ_INSERT_TAIL(&sub->held, w, link);
		return true;
	}
	return false;
}

void
xmpp_subscription_route(struct xmpp_user *u, struct xmpp_stanza *s)
{
	xmpp_stanza_seal(s);
	if (!hold(u, s->to.bare, true, s))
		xmpp_route(u->env, s);
}

bool
xmpp_subscription_holds(struct xmpp_user *u, struct xmpp_stanza *s)
{
	if (LIST_EMPTY(&u->subs) || s->from.full.p == NULL || !hold(u, s->from.bare, false, s))
		return false;
	(void)xmpp_stanza_ref(s);
	return true;
}

/* ---- outbound ---- */

static void
out_done(struct xmpp_change *ch, struct xmpp_env *env, struct xmpp_user *u, int rc)
{
	struct xmpp_sub *sub = (struct xmpp_sub *)ch;

	if (env != NULL)
		LIST_REMOVE(sub, link);
	if (env != NULL && rc < 0) {
		xmpp_bounce(env, sub->s,
			    rc == TD_E_FULL ? XE_RESOURCE_CONSTRAINT : XE_INTERNAL_SERVER_ERROR,
			    "the roster could not be written");
	} else if (env != NULL) {
		/* 3.2.2: while they still count as subscribed */
		if (sub->lost)
			xmpp_presence_send_gone(u, &sub->s->to);
		if (sub->acts & PASS)
			xmpp_route(env, xmpp_stanza_ref(sub->s));
		push(u, sub);
		if (sub->gained) /* 3.1.5 */
			(void)xmpp_presence_send_all(u, &sub->s->to);
	}
	sub_free(sub, u);
}

/* What is worth a commit: another state, or 'approved' comes or goes. */
static bool
out_changes(struct store_contact *sc, enum substate now, struct rule r)
{
	bool approved = (sc->flags & STORE_ROSTER_APPROVED) != 0;

	if (r.acts & APPROVE)
		sc->flags |= STORE_ROSTER_APPROVED;
	if (r.acts & REVOKE)
		sc->flags &= ~STORE_ROSTER_APPROVED;
	return r.next != (uint8_t)now || approved != ((sc->flags & STORE_ROSTER_APPROVED) != 0);
}

void
xmpp_subscription_send(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct xmpp_stanza *own = s->sealed ? xmpp_stanza_dup(s) : xmpp_stanza_ref(s);
	struct xmpp_jid to = xmpp_jid_view(own->to.bare), from = xmpp_jid_view(u->bare);
	const struct xmpp_contact *have = xmpp_user_contact(u, to.bare);
	struct store_contact sc = { .jid = to.bare };
	enum substate now = state_of(have);
	enum subtype type;
	struct rule r;

	if (!subtype_of(own, &type) || td_str_eq(to.bare, u->bare)) {
		xmpp_bounce(u->env, own, XE_NOT_ALLOWED, NULL); /* one sees oneself anyway */
		xmpp_stanza_unref(&own);
		return;
	}
	/* section 3: both addresses bare, or the resource would leak */
	xmpp_stanza_set_to(own, &to);
	xmpp_stanza_set_from(own, &from);
	xmpp_stanza_seal(own);
	r = rules_out[type][now];
	if (have != NULL)
		sc = xmpp_contact_view(have);
	if (!out_changes(&sc, now, r)) {
		if (r.acts & PASS)
			xmpp_subscription_route(u, xmpp_stanza_ref(own));
	} else if (!is_shown(have) && r.next != SS_NONE && !xmpp_roster_has_room(u, false)) {
		xmpp_bounce(u->env, own, XE_RESOURCE_CONSTRAINT, "the roster is full");
	} else {
		commit(u, own, to.bare, r, type, &sc, sub_new(out_done, true));
	}
	xmpp_stanza_unref(&own);
}

void
xmpp_subscription_out(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	xmpp_subscription_send(sess->user, s);
}

/* ---- inbound ---- */

/* The answer our server gives in the user's name. */
static void
answer(struct xmpp_user *u, const struct xmpp_stanza *s, enum subtype type)
{
	struct xmpp_jid me = xmpp_jid_view(u->bare), them = xmpp_jid_view(s->from.bare);
	bool yes = type == ST_SUBSCRIBE;

	xmpp_route(u->env,
		   xmpp_presence_make(yes ? XT_SUBSCRIBED : XT_UNSUBSCRIBED, &me, &them, s->id));
	/* also when they were subscribed before: they ask because they lost sight of us */
	if (yes)
		(void)xmpp_presence_send_all(u, &them);
}

static void
in_done(struct xmpp_change *ch, struct xmpp_env *env, struct xmpp_user *u, int rc)
{
	struct xmpp_sub *sub = (struct xmpp_sub *)ch;

	if (env != NULL)
		LIST_REMOVE(sub, link);
	if (env != NULL && rc < 0) {
		if (sub->type == ST_SUBSCRIBE)
			xmpp_bounce(env, sub->s, XE_INTERNAL_SERVER_ERROR, NULL);
	} else if (env != NULL) {
		/* delivered before the push: it tells why the item changed (3.1.6, 3.2.3, 3.3.3) */
		if ((sub->acts & PASS) && sub->type == ST_SUBSCRIBE)
			xmpp_presence_to_available(u, sub->s);
		else if (sub->acts & PASS)
			xmpp_presence_to_interested(u, sub->s);
		/* a request that waits, or is taken back, does not show in the item (A.1, 3.3.3) */
		if (sub->shows)
			push(u, sub);
		if (sub->lost) {
			struct xmpp_jid them = xmpp_jid_view(sub->s->from.bare);

			xmpp_presence_send_gone(u, &them);
		}
		if (sub->acts & ANSWER)
			answer(u, sub->s, sub->type);
	}
	sub_free(sub, u);
}

/* The stanza as it is kept: from a bare address, whole unless it is too large. */
static void
write_pending(struct xmpp_stanza *s, struct td_buf *out)
{
	struct xmpp_stanza *bare;

	xmpp_stanza_write(s, true, out);
	if (out->len <= PENDING_MAX)
		return;
	td_buf_clear(out);
	bare = xmpp_presence_make(XT_SUBSCRIBE, &s->from, &s->to, TD_STR_NULL);
	xmpp_stanza_write(bare, true, out);
	xmpp_stanza_unref(&bare);
}

static void
in_change(struct xmpp_user *u, struct xmpp_stanza *s, enum subtype type, enum substate now,
	  struct rule r)
{
	const struct xmpp_contact *have = xmpp_user_contact(u, s->from.bare);
	struct store_contact sc = { .jid = s->from.bare, .flags = STORE_ROSTER_HIDDEN };
	struct td_buf pending = { 0 };

	if (have == NULL && !xmpp_roster_has_room(u, true))
		return; /* silent as for an account that is not here (8.5.1) */
	if (have != NULL)
		sc = xmpp_contact_view(have);
	if (type == ST_SUBSCRIBE && (states[r.next].flags & STORE_ROSTER_PENDING_IN)) {
		write_pending(s, &pending);
		sc.pending_stanza = td_buf_str(&pending);
	}
	/* 3.3.3: of a request the user never took up, just the record goes */
	if (type == ST_UNSUBSCRIBE && now == SS_NONE_IN && !is_shown(have))
		r.acts = 0;
	commit(u, s, s->from.bare, r, type, &sc, sub_new(in_done, false));
	td_buf_fini(&pending);
}

void
xmpp_subscription_in(struct xmpp_user *u, struct xmpp_stanza *s)
{
	const struct xmpp_contact *have = xmpp_user_contact(u, s->from.bare);
	enum substate now = state_of(have);
	struct xmpp_stanza *own;
	enum subtype type;
	struct rule r;

	/* 8.5.1: no word about accounts that do not exist */
	if (!subtype_of(s, &type) || !u->exists || s->from.full.p == NULL ||
	    td_str_eq(s->from.bare, u->bare))
		return;
	/* 8.5.3.2.2 */
	if (type != ST_SUBSCRIBE && s->to.resource.p != NULL &&
	    xmpp_session_find(u, s->to.resource) == NULL)
		return;
	r = rules_in[type][now];
	if (type == ST_SUBSCRIBE && have != NULL && (have->flags & STORE_ROSTER_APPROVED))
		r = approved_in[now];
	own = xmpp_stanza_ref(s);
	if (s->from.resource.p != NULL ||
	    s->to.resource.p != NULL) { /* 3.1.3: as if it were bare */
		struct xmpp_jid from = xmpp_jid_view(s->from.bare), to = xmpp_jid_view(u->bare);

		xmpp_stanza_unref(&own);
		own = xmpp_stanza_dup(s);
		xmpp_stanza_set_from(own, &from);
		xmpp_stanza_set_to(own, &to);
	}
	xmpp_stanza_seal(own);
	if (r.next != (uint8_t)now)
		in_change(u, own, type, now, r);
	else if (r.acts & ANSWER)
		answer(u, own, type);
	xmpp_stanza_unref(&own);
}

/* ---- what the other files need ---- */

static struct xmpp_stanza *
parse_pending(const struct xmpp_user *u, const struct xmpp_contact *c)
{
	struct xmpp_jid from = xmpp_jid_view(c->jid), to = xmpp_jid_view(u->bare);
	struct td_arena *a = td_arena_new(2048);
	const char *why;
	struct xmpp_node *n =
		c->pending.len > 0 ? xmpp_xml_parse(a, c->pending, NS_CLIENT, &why) : NULL;
	struct xmpp_stanza *s = NULL;

	if (n == NULL) {
		td_arena_free(a);
	} else if (xmpp_stanza_from_node(a, n, &s, NULL) < 0 || s->kind != XK_PRESENCE ||
		   s->type != XT_SUBSCRIBE) {
		xmpp_stanza_unref(&s);
	}
	/* an imported roster has the flag only */
	return s != NULL ? s : xmpp_presence_make(XT_SUBSCRIBE, &from, &to, TD_STR_NULL);
}

/* A request from <jid> is being committed: every available resource gets it then. */
static bool
is_coming(const struct xmpp_user *u, struct td_str jid)
{
	const struct xmpp_sub *sub;

	LIST_FOREACH(sub, &u->subs, link)
	if (!sub->out && sub->type == ST_SUBSCRIBE && td_str_eq(sub->ch.jid, jid))
		return true;
	return false;
}

void
xmpp_subscription_pending_to(struct xmpp_session *sess)
{
	const struct xmpp_contact *c;
	size_t i = 0;

	while (!sess->dead && (c = td_map_next(&sess->user->roster, &i)) != NULL) {
		struct xmpp_stanza *s;

		if (!(c->flags & STORE_ROSTER_PENDING_IN) || (c->sub & STORE_SUB_FROM) ||
		    is_coming(sess->user, c->jid))
			continue;
		s = parse_pending(sess->user, c);
		xmpp_stanza_seal(s);
		xmpp_session_send(sess, s);
		xmpp_stanza_unref(&s);
	}
}

void
xmpp_subscription_cut(struct xmpp_user *u, const struct xmpp_contact *old)
{
	struct xmpp_jid me = xmpp_jid_view(u->bare), them = xmpp_jid_view(old->jid);

	if (old->sub & STORE_SUB_FROM)
		xmpp_presence_send_gone(u, &them);
	if ((old->sub & STORE_SUB_TO) || (old->flags & STORE_ROSTER_ASK))
		xmpp_route(u->env, xmpp_presence_make(XT_UNSUBSCRIBE, &me, &them, TD_STR_NULL));
	if ((old->sub & STORE_SUB_FROM) || (old->flags & STORE_ROSTER_PENDING_IN))
		xmpp_route(u->env, xmpp_presence_make(XT_UNSUBSCRIBED, &me, &them, TD_STR_NULL));
}
