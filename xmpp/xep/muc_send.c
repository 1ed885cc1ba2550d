/* muc_send - what occupants are sent: presence with the room's word on it, copies, errors.
 *
 * A stanza for many is made once and sealed; each copy has an opening tag of its own and shares the rest.
 * Presence comes in up to three versions: for the occupant itself, for those who see real addresses, for the
 * others. */
#include <stdio.h>
#include "xmpp/xep/muc.h"

/* ---- taking off what is not the client's to say ---- */

static bool
same_domain(const struct muc_room *room, struct td_str jid)
{
	return td_str_eq(xmpp_jid_view(jid).domain, room->jid.domain);
}

/* Something that claims to be a moderator's doing (XEP-0425), or names somebody as the writer (7.2.13). */
static bool
claims_too_much(const struct xmpp_node *n)
{
	for (const struct xmpp_node *c = xmpp_node_child(n, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c)) {
		if (c->ns == NULL)
			continue;
		if (strncmp(c->ns, "urn:xmpp:message-moderate:", 26) == 0)
			return true;
		if (xmpp_node_is(c, "http://jabber.org/protocol/address", "address") &&
		    td_str_eqc(xmpp_node_attr(c, "type"), "ofrom"))
			return true;
	}
	return false;
}

static bool
is_ours(const struct muc_room *room, const struct xmpp_node *n)
{
	static const char *const all[] = { NS_MUC,       NS_MUC_USER,    NS_MUC_ADMIN,
					   NS_MUC_OWNER, NS_OCCUPANT_ID, NS_HATS };

	if (n->ns == NULL)
		return false;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(n->ns, all[i]) == 0)
			return true;
	if (xmpp_node_is(n, NS_SID, "stanza-id"))
		return same_domain(room, xmpp_node_attr(n, "by"));
	if (xmpp_node_is(n, NS_DELAY, "delay"))
		return same_domain(room, xmpp_node_attr(n, "from"));
	if (strncmp(n->ns, "urn:xmpp:message-moderate:", 26) == 0)
		return true;
	return claims_too_much(n);
}

void
muc_strip(const struct muc_room *room, struct xmpp_node *root)
{
	struct xmpp_node *n, *next;

	for (n = xmpp_node_child(root, NULL, NULL); n != NULL; n = next) {
		next = xmpp_node_next_elem(n);
		if (is_ours(room, n))
			xmpp_node_unlink(n);
	}
}

/* ---- copies ---- */

void
muc_send(struct muc_room *room, struct xmpp_stanza *s, const struct muc_ses *to)
{
	xmpp_route(room->env, xmpp_stanza_share(s, &to->jid));
}

void
muc_fan_out(struct muc_room *room, struct xmpp_stanza *s)
{
	struct muc_ses *ses;

	TAILQ_FOREACH(ses, &room->sessions, link)
	muc_send(room, s, ses);
}

void
muc_tell_code(struct muc_room *room, unsigned code)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, XT_GROUPCHAT);
	struct xmpp_node *x = xmpp_node_add(s->arena, s->root, "x", NS_MUC_USER);
	struct xmpp_node *status = xmpp_node_add(s->arena, x, "status", NULL);
	char text[16], id[17];

	(void)snprintf(text, sizeof(text), "%u", code);
	td_random_id(id, 16);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_node_set(s->arena, status, "code", td_cstr(text));
	xmpp_stanza_set_from(s, &room->jid);
	xmpp_stanza_seal(s);
	muc_fan_out(room, s);
	xmpp_stanza_unref(&s);
}

/* ---- presence ---- */

static void
attr(struct td_buf *b, const char *name, struct td_str value)
{
	if (value.p == NULL)
		return;
	td_buf_addf(b, " %s='", name);
	td_buf_add_xml(b, value);
	td_buf_addc(b, '\'');
}

static void
write_item(struct td_buf *b, const struct muc_occ *occ, const struct muc_ses *ses,
	   const struct muc_note *note, bool with_jid)
{
	td_buf_addz(b, "<item");
	attr(b, "affiliation",
	     td_cstr(muc_affiliation_name((enum muc_affiliation)occ->affiliation)));
	if (with_jid)
		attr(b, "jid", ses->jid.full);
	attr(b, "nick", note->nick);
	attr(b, "role",
	     td_cstr(muc_role_name(note->gone && note->nick.p == NULL ? MR_NONE
								      : (enum muc_role)occ->role)));
	if (note->actor.p == NULL && note->reason.p == NULL) {
		td_buf_addz(b, "/>");
		return;
	}
	td_buf_addc(b, '>');
	if (note->actor.p != NULL) {
		td_buf_addz(b, "<actor");
		attr(b, "nick", note->actor);
		td_buf_addz(b, "/>");
	}
	if (note->reason.p != NULL) {
		td_buf_addz(b, "<reason>");
		td_buf_add_xml(b, note->reason);
		td_buf_addz(b, "</reason>");
	}
	td_buf_addz(b, "</item>");
}

static void
write_codes(struct td_buf *b, const unsigned *codes, size_t max)
{
	for (size_t i = 0; i < max && codes[i] != 0; i++)
		td_buf_addf(b, "<status code='%u'/>", codes[i]);
}

static struct xmpp_stanza *
make_presence(struct muc_room *room, const struct muc_occ *occ, const struct muc_ses *ses,
	      const struct muc_note *note, bool with_jid, bool self)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_PRESENCE, note->gone ? XT_UNAVAILABLE : XT_NONE);
	struct td_buf b = { 0 };

	if (note->gone)
		td_buf_adds(&b, note->status);
	else
		td_buf_adds(&b, ses->presence);
	td_buf_addz(&b, "<x xmlns='" NS_MUC_USER "'>");
	write_item(&b, occ, ses, note, with_jid);
	td_buf_adds(&b, note->destroy);
	if (self) {
		/* in the order of the numbers: 100 comes before 110, the others after it */
		bool public_jids = note->self_codes[0] == 100;

		if (public_jids)
			td_buf_addz(&b, "<status code='100'/>");
		td_buf_addz(&b, "<status code='110'/>");
		write_codes(&b, note->self_codes + public_jids, 6 - (size_t)public_jids);
	}
	write_codes(&b, note->codes, 4);
	td_buf_addz(&b, "</x><occupant-id xmlns='" NS_OCCUPANT_ID "' id='");
	td_buf_addz(&b, occ->oid);
	td_buf_addz(&b, "'/>");
	if (!note->gone)
		muc_hats_write(room, occ->bare, &b);
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_stanza_set_from(s, &occ->jid);
	if (note->id.p != NULL)
		xmpp_stanza_set_id(s, note->id);
	xmpp_stanza_seal(s);
	return s;
}

bool
muc_is_shown(const struct muc_room *room, const struct muc_occ *occ)
{
	return (room->cfg->broadcast & (1u << occ->role)) != 0;
}

static bool
sees_jids(const struct muc_room *room, const struct muc_occ *who)
{
	return muc_shows_jids(room) || who->role == MR_MODERATOR;
}

void
muc_presence_to(struct muc_room *room, struct muc_occ *occ, struct muc_ses *ses,
		const struct muc_note *note, struct muc_ses *to)
{
	bool self = to->occ == occ;
	struct xmpp_stanza *s =
		make_presence(room, occ, ses, note, self || sees_jids(room, to->occ), self);

	muc_send(room, s, to);
	xmpp_stanza_unref(&s);
}

void
muc_presence(struct muc_room *room, struct muc_occ *occ, struct muc_ses *ses,
	     const struct muc_note *note, unsigned to_whom)
{
	struct xmpp_stanza *made[2] = { NULL, NULL }; /* [sees the address] */
	struct muc_ses *to;

	if (to_whom & MUC_TO_OTHERS)
		TAILQ_FOREACH(to, &room->sessions, link)
		{
			bool with_jid = sees_jids(room, to->occ);

			if (to->occ == occ)
				continue;
			if (made[with_jid] == NULL)
				made[with_jid] =
					make_presence(room, occ, ses, note, with_jid, false);
			muc_send(room, made[with_jid], to);
		}
	xmpp_stanza_unref(&made[0]);
	xmpp_stanza_unref(&made[1]);
	if (to_whom & MUC_TO_SELF) {
		struct xmpp_stanza *s = make_presence(room, occ, ses, note, true, true);

		TAILQ_FOREACH(to, &occ->sessions, occ_link)
		muc_send(room, s, to);
		xmpp_stanza_unref(&s);
	}
}

/* ---- answers ---- */

void
muc_refuse_as(struct muc_room *room, const struct xmpp_stanza *s, enum xmpp_error e,
	      const char *type, const char *text)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, td_cstr(text));
	struct xmpp_node *err;

	if (r == NULL)
		return;
	err = xmpp_node_child(r->root, NULL, "error");
	xmpp_node_set(r->arena, err, "by", room->jid.full);
	if (s->kind == XK_PRESENCE && xmpp_node_child(s->root, NS_MUC, "x") != NULL) {
		xmpp_node_unlink(err);
		(void)xmpp_node_add(r->arena, r->root, "x", NS_MUC);
		xmpp_node_append(r->root, err);
	}
	if (type != NULL)
		xmpp_node_set(r->arena, err, "type", td_cstr(type));
	room->env->stats.errors++;
	r->flags |= XF_NO_BOUNCE;
	xmpp_route(room->env, r);
}

void
muc_refuse(struct muc_room *room, const struct xmpp_stanza *s, enum xmpp_error e, const char *text)
{
	muc_refuse_as(room, s, e, NULL, text);
}

void
muc_result(struct muc_room *room, const struct xmpp_stanza *iq, struct td_str payload)
{
	struct xmpp_stanza *r = xmpp_stanza_result(iq);

	if (payload.p != NULL)
		xmpp_stanza_append_raw(r, payload);
	xmpp_route(room->env, r);
}
