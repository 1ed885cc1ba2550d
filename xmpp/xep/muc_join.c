/* muc_join - presence at a room (XEP-0045 section 7): entering, staying, changing the nickname, leaving; and
 * ghosts, who left without a word.
 *
 * Who enters gets, in this order: the others' presence, its own, history, the subject (7.1). */
#include <stdlib.h>
#include "xmpp/xep/muc.h"

#define EXTRA_ADMINS 20u     /* 7.2.9: admins still get in when the room is full */
#define OCC_SESSIONS_MAX 50u /* sessions of one occupant */
#define WINDOW_MS UINT64_C(10000)
#define CHANGES_MAX 100u /* presence and nickname changes of a session in a window */
#define BOUNCES_MAX 3u
#define JOINS_MAX 50u /* of one person in one room in a window */
#define JOIN_SLOTS 16384u

/* ---- checks ---- */

/* 17.1: not empty, not invisible. */
static bool
nick_ok(struct td_str nick)
{
	return td_str_trim(nick).len > 0 && nick.len <= MUC_NICK_MAX;
}

/* The nickname asked for was not in its prepared form: the service changed it (status 210). */
static bool
nick_modified(const struct xmpp_stanza *s)
{
	struct td_str raw = xmpp_node_attr(s->root, "to");
	ptrdiff_t slash = td_str_chr(raw, '/');

	return slash >= 0 &&
	       !td_str_eq(td_str(raw.p + slash + 1, raw.len - (size_t)slash - 1), s->to.resource);
}

static bool
password_ok(struct muc_room *room, const struct xmpp_node *x)
{
	const struct xmpp_node *p = xmpp_node_child(x, NS_MUC, "password");

	return !room->cfg->password ||
	       (p != NULL && td_str_eq(xmpp_node_text(muc_scratch(room), p), room->cfg->secret));
}

/* The nickname is somebody else's: in use, or reserved. */
static bool
nick_conflict(const struct muc_room *room, struct td_str nick, struct td_str bare)
{
	const struct muc_occ *occ = muc_occ_find(room, nick);

	return (occ != NULL && !td_str_eq(occ->bare, bare)) ||
	       muc_nick_taken(room, nick, bare) != NULL;
}

static bool
is_full(const struct muc_room *room, const struct muc_occ *same, enum muc_affiliation a)
{
	struct muc_config_limits lim;
	unsigned max;

	if (same != NULL)
		return same->n_sessions >= OCC_SESSIONS_MAX;
	muc_config_limits(room, &lim);
	max = (unsigned)(room->cfg->max_users > 0 ? room->cfg->max_users : lim.users_max);
	return room->by_nick.len >= max + (a >= MA_ADMIN ? EXTRA_ADMINS : 0);
}

/* A join costs a presence per occupant: who comes and goes all the time has to pause.  Counting by hash needs no
 * memory per person; two of them in one slot share the allowance, which is wide. */
static bool
joins_too_often(struct muc_room *room, const struct xmpp_jid *who)
{
	struct muc *muc = room->muc;
	uint64_t now = td_mono_ms(), hash = td_str_hash(who->bare) ^ td_str_hash(room->jid.full);
	uint8_t *slot;

	if (muc->joins == NULL)
		muc->joins = td_zalloc(JOIN_SLOTS);
	if (now - muc->joins_since > WINDOW_MS) {
		memset(muc->joins, 0, JOIN_SLOTS);
		muc->joins_since = now;
	}
	slot = &muc->joins[hash % JOIN_SLOTS];
	if (*slot < UINT8_MAX)
		++*slot;
	return *slot > JOINS_MAX;
}

/* True when it may come in; else it was answered (table 9). */
static bool
may_enter(struct muc_room *room, const struct xmpp_stanza *s, const struct xmpp_node *x,
	  enum muc_affiliation a)
{
	if (!muc_affiliation_may(a, MAP_ENTER))
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
	else if (room->cfg->members_only && !muc_affiliation_may(a, MAP_ENTER_MEMBERS_ONLY))
		muc_refuse(room, s, XE_REGISTRATION_REQUIRED, NULL);
	else if (!password_ok(room, x))
		muc_refuse(room, s, XE_NOT_AUTHORIZED, NULL);
	else if (nick_conflict(room, s->to.resource, s->from.bare))
		muc_refuse(room, s, XE_CONFLICT, NULL);
	else if (is_full(room, muc_occ_find(room, s->to.resource), a))
		muc_refuse_as(room, s, XE_SERVICE_UNAVAILABLE, "wait",
			      "The room is full; try again later.");
	else
		return true;
	return false;
}

/* ---- what a session shows ---- */

/* The content of <s> without what is ours. */
static struct td_str
content(const struct muc_room *room, const struct xmpp_stanza *s)
{
	struct xmpp_stanza *copy = xmpp_stanza_dup(s);
	struct td_buf b = { 0 };
	struct td_str out;

	muc_strip(room, copy->root);
	xmpp_node_write_children(&b, copy->root, NS_CLIENT);
	out = td_str(td_strndup(td_str(b.p != NULL ? b.p : "", b.len)), b.len);
	td_buf_fini(&b);
	xmpp_stanza_unref(&copy);
	return out;
}

/* True when it is another than before. */
static bool
take_presence(const struct muc_room *room, struct muc_ses *ses, const struct xmpp_stanza *s)
{
	struct td_str was = ses->presence;
	bool changed;

	ses->presence = content(room, s);
	changed = !td_str_eq(was, ses->presence);
	free((void *)(uintptr_t)was.p);
	TAILQ_REMOVE(&ses->occ->sessions, ses, occ_link);
	TAILQ_INSERT_TAIL(&ses->occ->sessions, ses, occ_link);
	return changed;
}

static struct muc_ses *
shown(const struct muc_occ *occ)
{
	return TAILQ_LAST(&occ->sessions, muc_occ_sessions);
}

/* ---- entering ---- */

static void
initial_codes(const struct muc_room *room, const struct xmpp_stanza *s, bool created,
	      struct muc_note *note)
{
	size_t n = 0;

	if (muc_shows_jids(room))
		note->self_codes[n++] = 100;
	if (room->cfg->logging)
		note->self_codes[n++] = 170;
	if (created)
		note->self_codes[n++] = 201;
	if (nick_modified(s))
		note->self_codes[n++] = 210;
	note->id = s->id;
}

/* All that who enters gets; <tell>: and the others hear of it. */
static void
introduce(struct muc_room *room, struct muc_ses *ses, const struct xmpp_stanza *s,
	  const struct xmpp_node *x, bool created, bool tell)
{
	static const struct muc_note plain = { .gone = false };
	struct muc_note own = { .gone = false };
	struct muc_occ *occ;
	struct muc_ses *sibling;

	initial_codes(room, s, created, &own);
	TAILQ_FOREACH(occ, &room->occs, link)
	if (occ != ses->occ && muc_is_shown(room, occ))
		muc_presence_to(room, occ, shown(occ), &plain, ses);
	if (tell && muc_is_shown(room, ses->occ))
		muc_presence(room, ses->occ, ses, &plain, MUC_TO_OTHERS);
	if (tell)
		TAILQ_FOREACH(sibling, &ses->occ->sessions, occ_link)
	if (sibling != ses)
		muc_presence_to(room, ses->occ, ses, &plain, sibling);
	muc_presence_to(room, ses->occ, ses, &own, ses);
	muc_history_send(room, ses, x);
}

static enum muc_role
role_on_entry(const struct muc_room *room, struct td_str bare, enum muc_affiliation a)
{
	enum muc_role given = muc_voice_get(room, bare);

	if (room->cfg->moderated && a < MA_ADMIN && given != MR_NONE)
		return given;
	return muc_default_role(a, room->cfg->moderated);
}

static void
join(struct muc_room *room, struct xmpp_stanza *s, const struct xmpp_node *x)
{
	enum muc_affiliation a;
	bool created = false;
	struct muc_occ *occ;
	struct muc_ses *ses;

	if (!nick_ok(s->to.resource)) {
		muc_refuse(room, s, XE_JID_MALFORMED, NULL);
		return;
	}
	if (room->state == MUC_ABSENT) {
		if (!room->counted) {
			muc_room_ask(room, s);
			return;
		}
		muc_room_create(room, s->from.bare);
		created = true;
	}
	a = muc_affiliation(room, &s->from);
	if (room->state == MUC_LOCKED && a != MA_OWNER) {
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	if (joins_too_often(room, &s->from)) {
		muc_refuse(room, s, XE_RESOURCE_CONSTRAINT, "Too many joins; try again later.");
		return;
	}
	if (!may_enter(room, s, x, a) || muc_captcha_holds(room, s, a))
		return;
	occ = muc_occ_find(room, s->to.resource);
	if (occ == NULL) {
		occ = muc_occ_add(room, s->to.resource, &s->from);
		occ->affiliation = (uint8_t)a;
		occ->role = (uint8_t)role_on_entry(room, s->from.bare, a);
	}
	ses = muc_ses_add(room, occ, &s->from);
	(void)take_presence(room, ses, s);
	introduce(room, ses, s, x, created, true);
	muc_directory_update(room);
}

/* ---- in the room ---- */

/* Too many changes in too short a time. */
static bool
is_hasty(struct muc_ses *ses)
{
	uint64_t now = td_mono_ms();

	if (now - ses->since > WINDOW_MS) {
		ses->since = now;
		ses->changes = 0;
	}
	return ++ses->changes > CHANGES_MAX;
}

/* 7.6: for everybody the old nickname goes and the new one comes, with all its sessions. */
static bool
change_nick(struct muc_room *room, struct muc_ses *ses, const struct xmpp_stanza *s)
{
	struct muc_note left = { .codes = { 303 }, .nick = s->to.resource, .gone = true };
	struct muc_note here = { .id = s->id };
	struct muc_occ *occ = ses->occ, *other = muc_occ_find(room, s->to.resource);
	struct muc_ses *each;
	unsigned to_whom = MUC_TO_SELF | (muc_is_shown(room, occ) ? MUC_TO_OTHERS : 0);

	if (!nick_ok(s->to.resource)) {
		muc_refuse(room, s, XE_JID_MALFORMED, NULL);
		return false;
	}
	if (nick_conflict(room, s->to.resource, occ->bare)) {
		muc_refuse(room, s, XE_CONFLICT, NULL);
		return false;
	}
	if (!muc_role_may((enum muc_role)occ->role, MRP_CHANGE_NICK)) {
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
		return false;
	}
	if (nick_modified(s))
		here.self_codes[0] = 210;
	muc_presence(room, occ, ses, &left, to_whom);
	if (other != NULL) { /* the same person's: they become one */
		while ((each = TAILQ_FIRST(&occ->sessions)) != NULL)
			muc_ses_move(room, each, other);
		muc_occ_del(room, occ);
	} else {
		muc_occ_rename(room, occ, s->to.resource);
	}
	(void)take_presence(room, ses, s);
	to_whom = MUC_TO_SELF | (muc_is_shown(room, ses->occ) ? MUC_TO_OTHERS : 0);
	muc_presence(room, ses->occ, ses, &here, to_whom);
	return true;
}

static void
stay(struct muc_room *room, struct muc_ses *ses, struct xmpp_stanza *s, const struct xmpp_node *x)
{
	struct muc_note note = { .id = s->id };
	bool changed;

	ses->bounces = 0;
	if (is_hasty(ses) || (x != NULL && joins_too_often(room, &s->from))) {
		muc_refuse(room, s, XE_RESOURCE_CONSTRAINT, "Too many changes; try again later.");
		return;
	}
	if (!td_str_eq(s->to.resource, ses->occ->jid.resource)) {
		if (change_nick(room, ses, s) && x != NULL)
			introduce(room, ses, s, x, false, false);
		return;
	}
	changed = take_presence(room, ses, s);
	if (x != NULL) { /* 17.3 rule 3: it lost track of the room */
		introduce(room, ses, s, x, room->state == MUC_LOCKED, changed);
		return;
	}
	muc_presence(room, ses->occ, ses, &note,
		     MUC_TO_SELF | (muc_is_shown(room, ses->occ) ? MUC_TO_OTHERS : 0));
}

void
muc_set_role(struct muc_room *room, struct muc_occ *occ, enum muc_role role,
	     const struct muc_note *note)
{
	static const struct muc_note vanish = { .gone = true };
	bool was_shown = muc_is_shown(room, occ), is_shown;

	occ->role = (uint8_t)role;
	is_shown = muc_is_shown(room, occ);
	if (was_shown && !is_shown)
		muc_presence(room, occ, shown(occ), &vanish, MUC_TO_OTHERS);
	muc_presence(room, occ, shown(occ), note, MUC_TO_SELF | (is_shown ? MUC_TO_OTHERS : 0));
}

/* ---- leaving ---- */

void
muc_remove_self(struct muc_room *room, struct muc_occ *occ, const struct muc_note *note)
{
	muc_presence(room, occ, shown(occ), note, MUC_TO_SELF);
}

void
muc_remove_others(struct muc_room *room, struct muc_occ *occ, const struct muc_note *note)
{
	if (muc_is_shown(room, occ))
		muc_presence(room, occ, shown(occ), note, MUC_TO_OTHERS);
	muc_occ_del(room, occ);
	muc_directory_update(room);
}

void
muc_remove(struct muc_room *room, struct muc_occ *occ, const struct muc_note *note)
{
	muc_remove_self(room, occ, note);
	muc_remove_others(room, occ, note);
}

void
muc_leave(struct muc_room *room, struct muc_ses *ses, const struct muc_note *note)
{
	static const struct muc_note plain = { .gone = false };
	struct muc_occ *occ = ses->occ;
	bool was_shown = shown(occ) == ses;

	if (occ->n_sessions == 1) {
		muc_remove(room, occ, note);
		return;
	}
	muc_presence_to(room, occ, ses, note, ses);
	muc_ses_del(room, ses);
	if (was_shown && muc_is_shown(room, occ)) /* what its other session shows */
		muc_presence(room, occ, shown(occ), &plain, MUC_TO_SELF | MUC_TO_OTHERS);
}

static void
exit_room(struct muc_room *room, struct muc_ses *ses, const struct xmpp_stanza *s)
{
	struct muc_note note = { .gone = true, .status = content(room, s) };

	if (room->state == MUC_LOCKED && room->n_sessions == 1) /* 10.1.3 */
		note.destroy = TD_STR("<destroy/>");
	muc_leave(room, ses, &note);
	free((void *)(uintptr_t)note.status.p);
}

/* ---- ghosts ---- */

/* 18.1.2: the errors that say that nobody is there. */
static bool
says_gone(const struct xmpp_node *err)
{
	static const enum xmpp_error conditions[] = {
		XE_GONE,     XE_ITEM_NOT_FOUND,          XE_RECIPIENT_UNAVAILABLE,
		XE_REDIRECT, XE_REMOTE_SERVER_NOT_FOUND, XE_REMOTE_SERVER_TIMEOUT,
	};

	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
		if (xmpp_node_child(err, NS_STANZA_ERRORS, xmpp_error_name(conditions[i])) != NULL)
			return true;
	return false;
}

bool
muc_on_bounce(struct muc_room *room, struct xmpp_stanza *s)
{
	static const struct muc_note note = { .codes = { 333 }, .gone = true };
	const struct xmpp_node *err = xmpp_node_child(s->root, NULL, "error");
	struct muc_ses *ses = muc_ses_find(room, &s->from);
	uint64_t to = td_str_hash(s->to.full);
	bool ghost;

	if (ses == NULL || err == NULL)
		return false;
	ghost = says_gone(err);
	/* RFC 6121 8.5.3.2.1 answers a message to a resource that went with service-unavailable; so does a
	 * client, or who blocked one of the occupants.  One sender's messages prove nothing. */
	if (!ghost && xmpp_node_child(err, NS_STANZA_ERRORS,
				      xmpp_error_name(XE_SERVICE_UNAVAILABLE)) != NULL) {
		if (ses->bounces == 0)
			ses->bounced_to = to;
		if (ses->bounces < BOUNCES_MAX)
			ses->bounces++;
		ghost = ses->bounces >= BOUNCES_MAX && to != ses->bounced_to;
	}
	if (!ghost)
		return false;
	td_log_info(&room->env->log, "muc-ghost", "room=%s jid=%s", td_esc(room->jid.full),
		    td_esc(ses->jid.full));
	muc_leave(room, ses, &note);
	return true;
}

/* 7.2.18: a presence update of somebody who believes to be here. */
static void
not_here(struct muc_room *room, const struct xmpp_stanza *s)
{
	struct xmpp_stanza *r = xmpp_stanza_new(XK_PRESENCE, XT_UNAVAILABLE);

	xmpp_stanza_append_raw(r, TD_STR("<x xmlns='" NS_MUC_USER "'>"
					 "<item affiliation='none' role='none'>"
					 "<reason>You are not in the room.</reason></item>"
					 "<status code='110'/><status code='307'/>"
					 "<status code='333'/></x>"));
	xmpp_stanza_set_from(r, &s->to);
	xmpp_stanza_set_to(r, &s->from);
	xmpp_route(room->env, r);
}

/* ---- all of it ---- */

void
muc_on_presence(struct muc_room *room, struct xmpp_stanza *s)
{
	struct muc_ses *ses = muc_ses_find(room, &s->from);
	const struct xmpp_node *x = xmpp_node_child(s->root, NS_MUC, "x");

	if (s->type == XT_ERROR) {
		(void)muc_on_bounce(room, s);
	} else if (s->type == XT_UNAVAILABLE) {
		if (ses != NULL) /* 17.3 rule 5 */
			exit_room(room, ses, s);
	} else if (s->type != XT_NONE) {
		return; /* 17.3 rules 1 and 2: neither comes nor goes by them */
	} else if (s->to.resource.p == NULL) {
		muc_refuse(room, s, XE_JID_MALFORMED, NULL);
	} else if (ses != NULL) {
		stay(room, ses, s, x);
	} else if (x == NULL) {
		not_here(room, s);
	} else {
		join(room, s, x);
	}
}
