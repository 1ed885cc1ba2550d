/* muc_message - messages at a room: to everybody, in private, the subject, invitations and their refusal,
 * requests for voice (XEP-0045 7.4, 7.5, 7.8, 7.13, 8.1, 8.6). */
#include <stdlib.h>
#include "xmpp/xep/muc.h"

/* ---- to everybody ---- */

/* A copy of <s> as the room passes it on: from the occupant, without what is not the sender's to say. */
static struct xmpp_stanza *
relayed(const struct muc_room *room, const struct xmpp_stanza *s, const struct muc_occ *occ)
{
	struct xmpp_stanza *m = xmpp_stanza_dup(s);

	m->flags = 0;
	muc_strip(room, m->root);
	xmpp_stanza_set_to(m, NULL);
	xmpp_stanza_set_from(m, &occ->jid);
	return m;
}

static void
add_occupant_id(struct xmpp_stanza *m, const struct muc_occ *occ)
{
	struct xmpp_node *n = xmpp_node_add(m->arena, m->root, "occupant-id", NS_OCCUPANT_ID);

	xmpp_node_set(m->arena, n, "id", td_cstr(occ->oid));
}

static void
add_stanza_id(const struct muc_room *room, struct xmpp_stanza *m, const char *id)
{
	struct xmpp_node *n = xmpp_node_add(m->arena, m->root, "stanza-id", NS_SID);

	xmpp_node_set(m->arena, n, "by", room->jid.full);
	xmpp_node_set(m->arena, n, "id", td_cstr(id));
}

/* Stamp, keep, send to all (7.4). */
static void
publish(struct muc_room *room, const struct xmpp_stanza *s, const struct muc_occ *occ)
{
	struct xmpp_stanza *m = relayed(room, s, occ);
	const struct xmpp_node *retract = xmpp_node_child(m->root, NS_RETRACT, "retract");
	char id[MUC_ID];

	muc_stanza_id(room, id);
	if (m->id.p == NULL)
		xmpp_stanza_set_id(m, td_cstr(id));
	add_stanza_id(room, m, id);
	add_occupant_id(m, occ);
	xmpp_stanza_touch(m);
	xmpp_stanza_seal(m);
	if (retract != NULL)
		muc_archive_retract(room, xmpp_node_attr(retract, "id"), occ->oid, m);
	muc_archive(room, m, occ, &s->from, id, s->promise);
	muc_fan_out(room, m);
	xmpp_stanza_unref(&m);
}

/* ---- the subject ---- */

static bool
is_subject(const struct xmpp_stanza *s)
{
	return xmpp_node_child(s->root, NS_CLIENT, "subject") != NULL &&
	       xmpp_node_child(s->root, NS_CLIENT, "body") == NULL &&
	       xmpp_node_child(s->root, NS_CLIENT, "thread") == NULL;
}

struct subject {
	struct td_str xml, text, nick, oid;
	uint64_t at;
};

static void
subject_done(struct muc_change *ch, int rc)
{
	struct subject *sub = ch->arg;
	struct muc_ses *ses = muc_ses_find(ch->room, &ch->s->from);

	if (rc < 0) {
		muc_refuse(ch->room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	muc_subject_set(ch->room, sub->xml, sub->text, sub->nick, sub->oid, sub->at);
	muc_directory_update(ch->room);
	if (ses != NULL) /* nobody leaves while it is being stored */
		publish(ch->room, ch->s, ses->occ);
}

static void
set_subject(struct muc_room *room, struct xmpp_stanza *s, const struct muc_occ *occ)
{
	struct muc_change *ch;
	struct subject *sub;
	struct td_buf b = { 0 };
	const struct xmpp_node *n;

	if (occ->role != MR_MODERATOR &&
	    !(room->cfg->change_subject && muc_role_may((enum muc_role)occ->role, MRP_SUBJECT))) {
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
		return;
	}
	ch = muc_change_new(room, s, subject_done);
	sub = td_arena_zalloc(ch->arena, sizeof(*sub));
	for (n = xmpp_node_child(s->root, NS_CLIENT, "subject"); n != NULL;
	     n = xmpp_node_next_elem(n))
		if (xmpp_node_is(n, NS_CLIENT, "subject")) {
			if (sub->text.len == 0)
				sub->text = td_arena_str(ch->arena, xmpp_node_text(ch->arena, n));
			xmpp_node_write(&b, n, NS_CLIENT);
		}
	sub->xml = td_arena_str(ch->arena, td_buf_str(&b));
	sub->nick = td_arena_str(ch->arena, occ->jid.resource);
	sub->oid = td_arena_str(ch->arena, td_cstr(occ->oid));
	sub->at = td_wall_ms();
	td_buf_fini(&b);
	ch->arg = sub;
	muc_subject_prop(ch, sub->xml, sub->text, sub->nick, sub->oid, sub->at);
	muc_change_commit(ch);
}

static void
groupchat(struct muc_room *room, struct xmpp_stanza *s, const struct muc_ses *ses)
{
	if (ses == NULL)
		muc_refuse_as(room, s, XE_NOT_ACCEPTABLE, "cancel", "You are not in the room.");
	else if (!muc_role_may((enum muc_role)ses->occ->role, MRP_MESSAGE_ALL))
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
	else if (is_subject(s))
		set_subject(room, s, ses->occ);
	else
		publish(room, s, ses->occ);
}

/* ---- in private ---- */

static bool
may_pm(const struct muc_room *room, const struct muc_occ *occ)
{
	static const uint8_t needed[] = {
		[PM_ANYONE] = MR_VISITOR,
		[PM_PARTICIPANTS] = MR_PARTICIPANT,
		[PM_MODERATORS] = MR_MODERATOR,
		[PM_NONE] = MR_COUNT,
	};

	return occ->role >= needed[room->cfg->allow_pm] &&
	       muc_role_may((enum muc_role)occ->role, MRP_PRIVATE_MESSAGE);
}

static void
to_occupant(struct muc_room *room, struct xmpp_stanza *m, const struct muc_occ *to)
{
	const struct muc_ses *ses;

	xmpp_stanza_touch(m);
	xmpp_stanza_seal(m);
	TAILQ_FOREACH(ses, &to->sessions, occ_link)
	muc_send(room, m, ses);
}

static void
private_message(struct muc_room *room, struct xmpp_stanza *s, const struct muc_ses *ses)
{
	const struct muc_occ *to = muc_occ_find(room, s->to.resource);
	struct xmpp_stanza *m;

	if (ses == NULL) {
		muc_refuse_as(room, s, XE_NOT_ACCEPTABLE, "cancel", "You are not in the room.");
	} else if (s->type == XT_GROUPCHAT) {
		muc_refuse(room, s, XE_BAD_REQUEST, NULL);
	} else if (to == NULL) {
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
	} else if (!may_pm(room, ses->occ)) {
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
	} else {
		m = relayed(room, s, ses->occ);
		(void)xmpp_node_add(m->arena, m->root, "x", NS_MUC_USER);
		add_occupant_id(m, ses->occ);
		to_occupant(room, m, to);
		xmpp_stanza_unref(&m);
	}
}

/* An error about a private message goes back to its writer, without anything that names the real one.  Errors
 * about what everybody got end here; only private messages carry our <x/>. */
static void
private_error(struct muc_room *room, const struct xmpp_stanza *s)
{
	const struct muc_ses *ses = muc_ses_find(room, &s->from);
	const struct muc_occ *to = muc_occ_find(room, s->to.resource);
	struct xmpp_node *err = xmpp_node_child(s->root, NULL, "error"), *c;
	struct xmpp_stanza *m;

	if (ses == NULL || to == NULL || err == NULL ||
	    xmpp_node_child(s->root, NS_MUC_USER, "x") == NULL)
		return;
	m = xmpp_stanza_new(XK_MESSAGE, XT_ERROR);
	xmpp_stanza_set_id(m, s->id);
	xmpp_stanza_set_from(m, &ses->occ->jid);
	for (c = xmpp_node_child(err, NULL, NULL); c != NULL; c = xmpp_node_next_elem(c))
		if (c->ns != NULL && strcmp(c->ns, NS_STANZA_ERRORS) == 0 &&
		    strcmp(c->name, "text") != 0)
			break;
	err = xmpp_node_add(m->arena, m->root, "error", NULL);
	xmpp_node_set(m->arena, err, "type",
		      xmpp_node_attr(xmpp_node_child(s->root, NULL, "error"), "type"));
	(void)xmpp_node_add(m->arena, err, c != NULL ? c->name : "undefined-condition",
			    NS_STANZA_ERRORS);
	add_occupant_id(m, ses->occ);
	to_occupant(room, m, to);
	xmpp_stanza_unref(&m);
}

/* ---- invitations (7.8.2) ---- */

void
muc_invite(struct muc_room *room, struct td_str to, struct td_str from,
	   const struct xmpp_node *invite, struct td_str id)
{
	struct xmpp_stanza *m = xmpp_stanza_new(XK_MESSAGE, XT_NORMAL);
	struct xmpp_node *x = xmpp_node_add(m->arena, m->root, "x", NS_MUC_USER);
	struct xmpp_node *out = xmpp_node_add(m->arena, x, "invite", NULL), *n;
	struct xmpp_jid jid;

	if (xmpp_jid_parse(m->arena, to, &jid, NULL) < 0) {
		xmpp_stanza_unref(&m);
		return;
	}
	xmpp_stanza_set_id(m, id);
	xmpp_node_set(m->arena, out, "from", from);
	for (n = invite != NULL ? xmpp_node_child(invite, NULL, NULL) : NULL; n != NULL;
	     n = xmpp_node_next_elem(n))
		if (xmpp_node_is(n, NS_MUC_USER, "reason") ||
		    xmpp_node_is(n, NS_MUC_USER, "continue"))
			xmpp_node_append(out, xmpp_node_copy(m->arena, n));
	if (room->cfg->password) {
		n = xmpp_node_add(m->arena, x, "password", NULL);
		xmpp_node_add_text(m->arena, n, room->cfg->secret);
	}
	xmpp_stanza_set_from(m, &room->jid);
	xmpp_stanza_set_to(m, &jid);
	xmpp_route(room->env, m);
}

/* The inviter as others may know it. */
static struct td_str
known_as(const struct muc_room *room, const struct muc_occ *occ)
{
	return muc_shows_jids(room) ? occ->bare : occ->jid.full;
}

static void
send_invites(struct muc_room *room, const struct xmpp_stanza *s, const struct muc_occ *occ)
{
	const struct xmpp_node *x = xmpp_node_child(s->root, NS_MUC_USER, "x"), *n;

	for (n = xmpp_node_child(x, NULL, NULL); n != NULL; n = xmpp_node_next_elem(n))
		if (xmpp_node_is(n, NS_MUC_USER, "invite"))
			muc_invite(room, xmpp_node_attr(n, "to"), known_as(room, occ), n, s->id);
}

static void
invites_done(struct muc_change *ch, int rc)
{
	struct muc_ses *ses = muc_ses_find(ch->room, &ch->s->from);

	if (rc < 0)
		muc_refuse(ch->room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
	else if (ses != NULL)
		send_invites(ch->room, ch->s, ses->occ);
}

/* 9.5: who is invited to a members-only room becomes a member. */
static void
invite(struct muc_room *room, struct xmpp_stanza *s, const struct muc_ses *ses,
       const struct xmpp_node *x)
{
	struct muc_change *ch;
	const struct xmpp_node *n;
	unsigned count = 0;
	enum muc_affiliation a;

	if (ses == NULL) {
		muc_refuse_as(room, s, XE_NOT_ACCEPTABLE, "cancel", "You are not in the room.");
		return;
	}
	a = (enum muc_affiliation)ses->occ->affiliation;
	if (!muc_role_may((enum muc_role)ses->occ->role, MRP_INVITE) ||
	    (room->cfg->members_only && !muc_affiliation_may(a, MAP_EDIT_MEMBERS) &&
	     !room->cfg->allow_invites)) {
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
		return;
	}
	ch = muc_change_new(room, s, invites_done);
	for (n = xmpp_node_child(x, NULL, NULL); n != NULL; n = xmpp_node_next_elem(n)) {
		struct xmpp_jid jid;
		int e = MUC_OK;

		if (!xmpp_node_is(n, NS_MUC_USER, "invite"))
			continue;
		if (xmpp_jid_parse(ch->arena, xmpp_node_attr(n, "to"), &jid, NULL) < 0)
			e = XE_JID_MALFORMED;
		else if (++count > 20 || room->affils.len + count > MUC_AFFILS_MAX)
			e = XE_RESOURCE_CONSTRAINT;
		else if (room->cfg->members_only && muc_affiliation(room, &jid) == MA_OUTCAST &&
			 !muc_affiliation_may(a, MAP_BAN))
			e = XE_FORBIDDEN;
		if (e != MUC_OK) {
			muc_refuse(room, s, (enum xmpp_error)e, NULL);
			xmpp_stanza_unref(&ch->s);
			td_arena_free(ch->arena);
			return;
		}
		if (room->cfg->members_only && muc_affiliation(room, &jid) < MA_MEMBER)
			muc_change_affil(ch, jid.bare, MA_MEMBER, TD_STR_NULL, TD_STR_NULL);
	}
	if (ch->n_affils > 0) {
		muc_change_commit(ch);
		return;
	}
	invites_done(ch, 0);
	xmpp_stanza_unref(&ch->s);
	td_arena_free(ch->arena);
}

/* Who an inviter's address, real or in the room, stands for. */
static const struct muc_occ *
inviter(struct muc_room *room, struct td_str text)
{
	struct xmpp_jid jid;

	if (text.p == NULL || xmpp_jid_parse(muc_scratch(room), text, &jid, NULL) < 0)
		return NULL;
	return td_str_eq(jid.bare, room->jid.full) ? muc_occ_find(room, jid.resource)
						   : muc_occ_of(room, jid.bare);
}

static void
decline(struct muc_room *room, struct xmpp_stanza *s, const struct xmpp_node *declined)
{
	const struct muc_occ *to = inviter(room, xmpp_node_attr(declined, "to"));
	struct xmpp_stanza *m;
	struct xmpp_node *x, *out, *reason = xmpp_node_child(declined, NS_MUC_USER, "reason");

	if (to == NULL || muc_affiliation(room, &s->from) == MA_OUTCAST) {
		muc_refuse(room, s, to == NULL ? XE_ITEM_NOT_FOUND : XE_FORBIDDEN, NULL);
		return;
	}
	m = xmpp_stanza_new(XK_MESSAGE, XT_NORMAL);
	x = xmpp_node_add(m->arena, m->root, "x", NS_MUC_USER);
	out = xmpp_node_add(m->arena, x, "decline", NULL);
	xmpp_node_set(m->arena, out, "from", s->from.bare);
	if (reason != NULL)
		xmpp_node_append(out, xmpp_node_copy(m->arena, reason));
	xmpp_stanza_set_id(m, s->id);
	xmpp_stanza_set_from(m, &room->jid);
	to_occupant(room, m, to);
	xmpp_stanza_unref(&m);
}

/* An invitation came back: its writer hears of it. */
static void
invite_failed(struct muc_room *room, struct xmpp_stanza *s)
{
	const struct xmpp_node *x = xmpp_node_child(s->root, NS_MUC_USER, "x");
	const struct xmpp_node *n = x != NULL ? xmpp_node_child(x, NS_MUC_USER, "invite") : NULL;
	const struct xmpp_node *err = xmpp_node_child(s->root, NULL, "error");
	const struct muc_occ *to = n != NULL ? inviter(room, xmpp_node_attr(n, "from")) : NULL;
	struct xmpp_stanza *m;
	struct xmpp_node *out;

	if (to == NULL || err == NULL)
		return;
	m = xmpp_stanza_new(XK_MESSAGE, XT_ERROR);
	out = xmpp_node_add(m->arena, m->root, "x", NS_MUC_USER);
	out = xmpp_node_add(m->arena, out, "invite", NULL);
	xmpp_node_set(m->arena, out, "to", s->from.bare);
	xmpp_node_append(m->root, xmpp_node_copy(m->arena, err));
	xmpp_stanza_set_id(m, s->id);
	xmpp_stanza_set_from(m, &room->jid);
	to_occupant(room, m, to);
	xmpp_stanza_unref(&m);
}

/* ---- voice (7.13, 8.6) ---- */

static void
ask_moderators(struct muc_room *room, const struct muc_ses *ses)
{
	struct td_str role = TD_STR("participant");
	static const struct xmpp_form_option options[] = { { "participant", "Participant" },
							   { NULL, NULL } };
	struct xmpp_stanza *m = xmpp_stanza_new(XK_MESSAGE, XT_NORMAL);
	struct td_buf b = { 0 };
	const struct muc_ses *to;
	char id[17];

	td_random_id(id, 16);
	xmpp_stanza_set_id(m, td_cstr(id));
	xmpp_form_open(&b, FORM_FORM, NS_MUC_REQUEST);
	xmpp_form_title(&b, "Voice request",
			"To approve this request for voice, select the \"Grant voice to this "
			"person?\" checkbox and click OK. To skip this request, click the cancel "
			"button.");
	xmpp_form_add(&b, "list-single", "muc#role", "Requested role", &role, 1, options);
	xmpp_form_add1(&b, "jid-single", "muc#jid", "User ID", ses->jid.full);
	xmpp_form_add1(&b, "text-single", "muc#roomnick", "Room Nickname", ses->occ->jid.resource);
	xmpp_form_add_bool(&b, "muc#request_allow", "Grant voice to this person?", false);
	xmpp_form_close(&b);
	xmpp_stanza_append_raw(m, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_stanza_set_from(m, &room->jid);
	xmpp_stanza_seal(m);
	TAILQ_FOREACH(to, &room->sessions, link)
	if (to->occ->role == MR_MODERATOR)
		muc_send(room, m, to);
	xmpp_stanza_unref(&m);
}

static void
approve(struct muc_room *room, struct xmpp_stanza *s, const struct muc_ses *ses,
	const struct xmpp_form *form)
{
	struct muc_occ *who = muc_occ_find(room, xmpp_form_value(form, "muc#roomnick"));
	struct muc_note note = { .actor = ses->occ->jid.resource };
	bool allow = false;

	if (!xmpp_form_bool(form, "muc#request_allow", &allow))
		muc_refuse(room, s, XE_BAD_REQUEST, NULL);
	else if (!allow)
		return;
	else if (who == NULL)
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
	else if (who->role == MR_VISITOR) {
		muc_voice_set(room, who->bare, MR_PARTICIPANT);
		muc_set_role(room, who, MR_PARTICIPANT, &note);
	}
}

static void
voice_form(struct muc_room *room, struct xmpp_stanza *s, struct muc_ses *ses,
	   const struct xmpp_node *x)
{
	struct xmpp_form form;
	struct td_str role;

	if (ses == NULL) {
		muc_refuse_as(room, s, XE_NOT_ACCEPTABLE, "cancel", "You are not in the room.");
		return;
	}
	if (xmpp_form_read(muc_scratch(room), x, &form) < 0 ||
	    !td_str_eqc(form.type, NS_MUC_REQUEST)) {
		muc_refuse(room, s, XE_BAD_REQUEST, NULL);
		return;
	}
	if (form.kind != FORM_SUBMIT)
		return;
	role = xmpp_form_value(&form, "muc#role");
	if (role.p != NULL && !td_str_eqc(role, "participant"))
		muc_refuse(room, s, XE_BAD_REQUEST, "Only voice can be asked for.");
	else if (ses->occ->role == MR_MODERATOR)
		approve(room, s, ses, &form);
	else if (xmpp_form_field(&form, "muc#request_allow") != NULL)
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
	else if (ses->occ->role == MR_VISITOR)
		ask_moderators(room, ses);
}

/* ---- all of it ---- */

static void
to_room(struct muc_room *room, struct xmpp_stanza *s, struct muc_ses *ses)
{
	const struct xmpp_node *x = xmpp_node_child(s->root, NS_MUC_USER, "x");
	const struct xmpp_node *form = xmpp_form_find(s->root), *n;

	if (s->type == XT_GROUPCHAT) {
		groupchat(room, s, ses);
	} else if (x != NULL && (n = xmpp_node_child(x, NS_MUC_USER, "decline")) != NULL) {
		decline(room, s, n);
	} else if (x != NULL && xmpp_node_child(x, NS_MUC_USER, "invite") != NULL) {
		invite(room, s, ses, x);
	} else if (form != NULL) {
		voice_form(room, s, ses, form);
	} else if (ses == NULL) {
		muc_refuse_as(room, s, XE_NOT_ACCEPTABLE, "cancel", "You are not in the room.");
	} else if (xmpp_node_child(s->root, NS_CLIENT, "body") != NULL) {
		muc_refuse(room, s, XE_BAD_REQUEST, "Messages to the room are of type groupchat.");
	}
}

void
muc_on_message(struct muc_room *room, struct xmpp_stanza *s)
{
	struct muc_ses *ses = muc_ses_find(room, &s->from);

	if (s->type == XT_ERROR) {
		if (room->state >= MUC_LOCKED && !muc_on_bounce(room, s)) {
			if (s->to.resource.p != NULL)
				private_error(room, s);
			else if (s->id.len == XMPP_CAPTCHA_ID && room->cfg->captcha)
				xmpp_captcha_declined(room->env, s);
			else
				invite_failed(room, s);
		}
		return;
	}
	if (room->state != MUC_OPEN) { /* 17.2 rule 3 */
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	if (ses != NULL)
		ses->bounces = 0;
	if (s->to.resource.p != NULL)
		private_message(room, s, ses);
	else
		to_room(room, s, ses);
}
