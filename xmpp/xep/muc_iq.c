/* muc_iq - requests to a room: discovery, registration (XEP-0045 6.4, 6.5, 7.10, 7.12); and requests between
 * occupants, which pass without anybody's real address (17.4, XEP-0410).
 *
 * A request to an occupant is sent on as one of the room's own (request.c), with an id of ours, so that the
 * answer finds its way and can be cleaned. */
#include <stdlib.h>
#include "xmpp/modules.h"
#include "xmpp/rsm.h"
#include "xmpp/script.h"
#include "xmpp/xep/muc.h"
#include "xmpp/xep/xep_0030_disco.h"
#include "xmpp/xep/xep_0231_bob.h"

#define RELAY_MS 60000u

/* ---- disco ---- */

static void
feature(struct td_buf *b, const char *name)
{
	td_buf_addf(b, "<feature var='%s'/>", name);
}

static void
write_features(const struct muc_room *room, struct td_buf *b)
{
	static const char *const always[] = {
		NS_DISCO_INFO,
		NS_DISCO_ITEMS,
		NS_MUC,
		NS_MUC_CONFIG,
		NS_MUC_INFO,
		NS_MUC_REGISTER,
		NS_MUC_REQUEST,
		NS_MUC "#stable_id",
		NS_MUC "#self-ping-optimization",
		NS_OCCUPANT_ID,
		NS_SID,
		NS_RETRACT,
		NS_MODERATE,
		NS_HATS,
		NS_VCARD,
		NS_REGISTER,
		NS_COMMANDS,
		NS_PING,
	};
	const struct muc_config *c = room->cfg;

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		feature(b, always[i]);
	if (muc_mam_on(room)) {
		feature(b, NS_MAM);
		feature(b, NS_MAM "#extended");
		feature(b, "urn:xmpp:fulltext:0");
	}
	feature(b, c->password ? "muc_passwordprotected" : "muc_unsecured");
	feature(b, c->public_room ? "muc_public" : "muc_hidden");
	feature(b, c->persistent ? "muc_persistent" : "muc_temporary");
	feature(b, c->members_only ? "muc_membersonly" : "muc_open");
	feature(b, c->moderated ? "muc_moderated" : "muc_unmoderated");
	feature(b, c->whois ? "muc_nonanonymous" : "muc_semianonymous");
}

/* 14.4: the topic is for those who could read it anyway. */
static bool
may_see_subject(const struct muc_iq *iq)
{
	const struct muc_config *c = iq->room->cfg;

	return iq->occ != NULL || (c->public_room && !c->password && !c->members_only &&
				   iq->affiliation != MA_OUTCAST);
}

static void
write_info_form(const struct muc_iq *iq, struct td_buf *b)
{
	const struct muc_room *room = iq->room;
	const struct muc_config *c = room->cfg;

	xmpp_form_open(b, FORM_RESULT, NS_MUC_INFO);
	xmpp_form_add1(b, NULL, "muc#roominfo_description", "Description",
		       c->desc.p != NULL ? c->desc : TD_STR(""));
	xmpp_form_add_int(b, NULL, "muc#roominfo_occupants", "Number of occupants",
			  (int64_t)room->by_nick.len);
	if (c->lang.len > 0)
		xmpp_form_add1(b, NULL, "muc#roominfo_lang", "Language of discussion", c->lang);
	if (may_see_subject(iq))
		xmpp_form_add1(b, NULL, "muc#roominfo_subject", "Current Discussion Topic",
			       room->subject.text.p != NULL ? room->subject.text : TD_STR(""));
	xmpp_form_add_bool(b, "muc#roominfo_subjectmod",
			   "The room subject can be modified by participants", c->change_subject);
	xmpp_form_add_bool(b, "muc#roomconfig_changesubject", "Subject can be modified",
			   c->change_subject);
	xmpp_form_add_bool(b, "muc#roomconfig_allowinvites", "Members may invite others",
			   c->allow_invites);
	xmpp_form_add1(b, NULL, "muc#roomconfig_roomname", "Natural-Language Room Name",
		       c->name.p != NULL ? c->name : TD_STR(""));
	xmpp_form_add_int(b, NULL, "muc#maxhistoryfetch",
			  "Maximum Number of History Messages Returned by Room", c->history);
	if (c->pubsub.len > 0)
		xmpp_form_add1(b, NULL, "muc#roomconfig_pubsub", "Associated pubsub node",
			       c->pubsub);
	muc_avatar_info(room, b);
	muc_hats_info(room, b);
	xmpp_form_close(b);
}

/* 7.12 */
static void
reserved_nick(const struct muc_iq *iq, struct td_buf *b)
{
	const struct muc_affil *f = muc_affil_find(iq->room, iq->s->from.bare);

	td_buf_addz(b, "<query xmlns='" NS_DISCO_INFO "' node='x-roomuser-item'>");
	if (f != NULL && f->nick.p != NULL) {
		td_buf_addz(b, "<identity category='conference' type='text' name='");
		td_buf_add_xml(b, f->nick);
		td_buf_addz(b, "'/>");
	}
	td_buf_addz(b, "</query>");
}

static void
disco_info(struct muc_iq *iq)
{
	struct td_str node = xmpp_node_attr(iq->payload, "node");
	struct td_buf b = { 0 };

	if (td_str_eqc(node, "x-roomuser-item")) {
		reserved_nick(iq, &b);
	} else if (td_str_eqc(node, NS_MUC "#traffic")) { /* 18.1.1: nothing is held back */
		muc_refuse(iq->room, iq->s, XE_SERVICE_UNAVAILABLE, NULL);
		return;
	} else if (td_str_starts(node, "urn:xmpp:hats:commands:")) {
		td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "' node='");
		td_buf_add_xml(&b, node);
		td_buf_addz(&b, "'><identity category='automation' type='command-node'/>"
				"<feature var='" NS_COMMANDS "'/>"
				"<feature var='" NS_DATA_FORM "'/></query>");
	} else if (node.len > 0) {
		muc_refuse(iq->room, iq->s, XE_ITEM_NOT_FOUND, NULL);
		return;
	} else {
		struct td_str name = iq->room->cfg->name;

		td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "'>"
				"<identity category='conference' type='text' name='");
		td_buf_add_xml(&b, name.len > 0 ? name : iq->room->jid.local);
		td_buf_addz(&b, "'/>");
		xmpp_script_identities(iq->room->env, IQ_TO_ROOM, &b);
		write_features(iq->room, &b);
		xmpp_script_features(iq->room->env, IQ_TO_ROOM, &b);
		write_info_form(iq, &b);
		td_buf_addz(&b, "</query>");
	}
	muc_result(iq->room, iq->s, td_buf_str(&b));
	td_buf_fini(&b);
}

/* 6.5: who is here is told to those who are here. */
static void
disco_items(struct muc_iq *iq)
{
	struct td_str node = xmpp_node_attr(iq->payload, "node");
	struct td_buf b = { 0 };
	const struct muc_occ *occ;

	if (td_str_eqc(node, NS_COMMANDS)) {
		muc_command_items(iq);
		return;
	}
	if (node.len > 0) {
		muc_refuse(iq->room, iq->s, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_ITEMS "'>");
	if (iq->occ != NULL)
		TAILQ_FOREACH(occ, &iq->room->occs, link)
	if (occ == iq->occ || muc_is_shown(iq->room, occ))
		xmpp_disco_write_item(&b, occ->jid.full, TD_STR_NULL);
	td_buf_addz(&b, "</query>");
	muc_result(iq->room, iq->s, td_buf_str(&b));
	td_buf_fini(&b);
}

/* ---- registration (7.10) ---- */

static void
register_form(struct td_buf *b)
{
	td_buf_addz(b, "<query xmlns='" NS_REGISTER "'><instructions>Choose the nickname to be "
		       "reserved for you in this room.</instructions>");
	xmpp_form_open(b, FORM_FORM, NS_MUC_REGISTER);
	xmpp_form_title(b, "Registration with the room",
			"Choose the nickname to be reserved for you in this room.");
	td_buf_addz(b, "<field type='text-single' var='muc#register_roomnick' "
		       "label='Desired Nickname'><required/></field>");
	xmpp_form_close(b);
	td_buf_addz(b, "</query>");
}

/* Who is a stranger to a members-only room must be invited; where newcomers are challenged, it has to enter first. */
static bool
may_register(const struct muc_iq *iq)
{
	return muc_affiliation_may(iq->affiliation, MAP_REGISTER) &&
	       (iq->affiliation >= MA_MEMBER ||
		(!iq->room->cfg->members_only && (!iq->room->cfg->captcha || iq->occ != NULL)));
}

static void
register_get(struct muc_iq *iq)
{
	const struct muc_affil *f = muc_affil_find(iq->room, iq->s->from.bare);
	struct td_buf b = { 0 };

	if (!may_register(iq)) {
		muc_refuse(iq->room, iq->s, XE_NOT_ALLOWED, NULL);
		return;
	}
	if (f != NULL && f->nick.p != NULL) {
		td_buf_addz(&b, "<query xmlns='" NS_REGISTER "'><registered/><username>");
		td_buf_add_xml(&b, f->nick);
		td_buf_addz(&b, "</username></query>");
	} else {
		register_form(&b);
	}
	muc_result(iq->room, iq->s, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
registered(struct muc_change *ch, int rc)
{
	struct muc_room *room = ch->room;
	struct muc_occ *occ, *next;
	const struct muc_note note = { .gone = false };

	if (rc < 0) {
		muc_refuse(room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	muc_result(room, ch->s, TD_STR_NULL);
	for (occ = TAILQ_FIRST(&room->occs); occ != NULL; occ = next) {
		enum muc_affiliation now = muc_affiliation(room, &ch->s->from);

		next = TAILQ_NEXT(occ, link);
		if (td_str_eq(occ->bare, ch->s->from.bare) && occ->affiliation != now)
			muc_affiliation_changed(room, occ, now, &note, 321);
	}
	muc_directory_update(room);
}

/* The nickname asked for, prepared, or an error. */
static int
register_nick(struct muc_iq *iq, struct td_str *nick)
{
	struct td_arena *a = muc_scratch(iq->room);
	const struct xmpp_node *x = xmpp_form_find(iq->payload);
	const struct muc_occ *occ;
	struct xmpp_form form;
	struct xmpp_jid j;

	if (x == NULL || xmpp_form_read(a, x, &form) < 0 || form.kind != FORM_SUBMIT ||
	    !td_str_eqc(form.type, NS_MUC_REGISTER))
		return XE_BAD_REQUEST;
	*nick = xmpp_form_value(&form, "muc#register_roomnick");
	if (td_str_trim(*nick).len == 0 || nick->len > MUC_NICK_MAX ||
	    xmpp_jid_with_resource(a, &iq->room->jid, *nick, &j, NULL) < 0)
		return XE_BAD_REQUEST;
	*nick = j.resource;
	occ = muc_occ_find(iq->room, *nick);
	if (muc_nick_taken(iq->room, *nick, iq->s->from.bare) != NULL ||
	    (occ != NULL && !td_str_eq(occ->bare, iq->s->from.bare)))
		return XE_CONFLICT;
	return MUC_OK;
}

static void
register_set(struct muc_iq *iq)
{
	struct muc_room *room = iq->room;
	const struct muc_affil *f = muc_affil_find(room, iq->s->from.bare);
	enum muc_affiliation a = f != NULL ? (enum muc_affiliation)f->affiliation : MA_NONE;
	const struct xmpp_node *x = xmpp_form_find(iq->payload);
	struct td_str nick = TD_STR_NULL;
	struct muc_change *ch;
	int e = MUC_OK;

	if (!may_register(iq)) {
		muc_refuse(room, iq->s, XE_NOT_ALLOWED, NULL);
		return;
	}
	if (x != NULL && td_str_eqc(xmpp_node_attr(x, "type"), "cancel")) {
		muc_result(room, iq->s, TD_STR_NULL);
		return;
	}
	if (xmpp_node_child(iq->payload, NS_REGISTER, "remove") != NULL) {
		if (a == MA_MEMBER)
			a = MA_NONE; /* admins stay what they are, without the nickname */
	} else {
		e = register_nick(iq, &nick);
		if (e == MUC_OK && room->affils.len >= MUC_AFFILS_MAX)
			e = XE_RESOURCE_CONSTRAINT;
		if (a == MA_NONE)
			a = MA_MEMBER;
	}
	if (e != MUC_OK) {
		muc_refuse(room, iq->s, (enum xmpp_error)e, NULL);
		return;
	}
	ch = muc_change_new(room, iq->s, registered);
	muc_change_affil(ch, iq->s->from.bare, a, nick, TD_STR_NULL);
	muc_change_commit(ch);
}

/* ---- to the room ---- */

static void
ping(struct muc_iq *iq)
{
	muc_result(iq->room, iq->s, TD_STR_NULL);
}

/* The picture of a challenge the room sent. */
void
muc_bob_get(struct muc_iq *iq)
{
	struct xmpp_iq x = { .env = iq->room->env, .s = iq->s, .payload = iq->payload };

	(void)xmpp_bob_get(&x);
}

#define ROW_ABSENT 0x1u /* makes sense where there is no room */
#define ROW_LOCKED 0x2u /* the owner may before the room is configured */
#define ROW_OWNER 0x4u
static const struct row {
	const char *ns, *name;
	void (*get)(struct muc_iq *iq);
	void (*set)(struct muc_iq *iq);
	unsigned flags;
} rows[] = {
	{ NS_DISCO_INFO, "query", disco_info, NULL, ROW_LOCKED },
	{ NS_DISCO_ITEMS, "query", disco_items, NULL, ROW_LOCKED },
	{ NS_MUC_ADMIN, "query", muc_admin_get, muc_admin_set, ROW_LOCKED },
	{ NS_MUC_OWNER, "query", muc_owner_get, muc_owner_set,
	  ROW_ABSENT | ROW_LOCKED | ROW_OWNER },
	{ NS_REGISTER, "query", register_get, register_set, 0 },
	{ NS_VCARD, "vCard", muc_vcard_get, muc_vcard_set, ROW_LOCKED },
	{ NS_MODERATE, "moderate", NULL, muc_moderate_set, 0 },
	{ NS_CAPTCHA, "captcha", NULL, muc_captcha_set, 0 },
	{ NS_BOB, "data", muc_bob_get, NULL, 0 },
	{ NS_COMMANDS, "command", NULL, muc_command_set, 0 },
	{ NS_MAM, "query", muc_mam_query, muc_mam_query, 0 },
	{ NS_MAM, "metadata", muc_mam_query, NULL, 0 },
	{ NS_PING, "ping", ping, NULL, 0 },
};

/* What a script may answer in the room's name. */
static bool
from_scripts(const struct muc_iq *iq)
{
	const struct xmpp_iq_room who = {
		muc_affiliation_name(iq->affiliation),
		iq->occ != NULL ? muc_role_name((enum muc_role)iq->occ->role) : NULL,
		iq->occ != NULL ? iq->occ->jid.resource : TD_STR_NULL,
	};
	struct xmpp_iq x = { iq->room->env, iq->s, iq->payload, NULL, NULL, &who };

	return iq->room->env->additions != NULL &&
	       xmpp_script_request(&x, IQ_TO_ROOM, false) != XMPP_PASS;
}

void
muc_on_iq(struct muc_room *room, struct xmpp_stanza *s)
{
	struct muc_iq iq = { .room = room, .s = s, .payload = xmpp_stanza_payload(s) };
	struct muc_ses *ses = muc_ses_find(room, &s->from);
	const struct row *row = NULL;

	iq.occ = ses != NULL ? ses->occ : NULL;
	iq.affiliation = muc_affiliation(room, &s->from);
	for (size_t i = 0; iq.payload != NULL && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (xmpp_node_is(iq.payload, rows[i].ns, rows[i].name))
			row = &rows[i];
	if (room->state == MUC_ABSENT && (row == NULL || !(row->flags & ROW_ABSENT)))
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
	else if (room->state == MUC_LOCKED &&
		 (iq.affiliation != MA_OWNER || row == NULL || !(row->flags & ROW_LOCKED)))
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
	else if (row == NULL && from_scripts(&iq))
		return;
	else if (row == NULL || (s->type == XT_GET ? row->get : row->set) == NULL)
		muc_refuse(room, s, XE_SERVICE_UNAVAILABLE, NULL);
	else if ((row->flags & ROW_OWNER) && room->state != MUC_ABSENT &&
		 iq.affiliation != MA_OWNER)
		muc_refuse(room, s, XE_FORBIDDEN, NULL);
	else
		(s->type == XT_GET ? row->get : row->set)(&iq);
}

/* ---- between occupants ---- */

struct relay {
	struct muc *muc;
	struct xmpp_stanza *s; /* the request; a reference */
};

/* Addresses that an answer may carry: 'by' of an error, a vCard's JABBERID, the text of an error. */
static void
clean(struct xmpp_node *n)
{
	struct xmpp_node *c, *next;

	for (c = n->first; c != NULL; c = next) {
		next = c->next;
		if (c->name == NULL)
			continue;
		if (xmpp_node_is(c, NS_VCARD, "JABBERID") ||
		    xmpp_node_is(c, NS_STANZA_ERRORS, "text"))
			xmpp_node_unlink(c);
		else if (c->ns != NULL && strcmp(c->ns, NS_STANZA_ERRORS) == 0)
			c->first = c->last = NULL; /* <gone/> and <redirect/> name an address */
		else
			clean(c);
	}
}

static void
relay_answer(struct muc_room *room, const struct xmpp_stanza *s, const struct xmpp_stanza *answer)
{
	struct xmpp_stanza *r = xmpp_stanza_dup(answer);
	struct xmpp_node *err = xmpp_node_child(r->root, NULL, "error");

	r->flags = XF_NO_BOUNCE;
	clean(r->root);
	if (err != NULL)
		xmpp_node_set(NULL, err, "by", TD_STR_NULL);
	xmpp_stanza_touch(r);
	xmpp_stanza_set_id(r, s->id);
	xmpp_stanza_set_from(r, &s->to);
	xmpp_stanza_set_to(r, &s->from);
	xmpp_route(room->env, r);
}

static void
on_answer(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg)
{
	struct relay *rl = arg;
	struct muc_room *room = td_map_find(&rl->muc->rooms, rl->s->to.bare);

	(void)env;
	if (room != NULL && room->n_relays > 0)
		room->n_relays--;
	/* without an answer the worker may be about to end: silence */
	if (answer != NULL && room != NULL && muc_ses_find(room, &rl->s->from) != NULL)
		relay_answer(room, rl->s, answer);
	xmpp_stanza_unref(&rl->s);
	free(rl);
}

static void
relay(struct muc_room *room, struct xmpp_stanza *s, const struct muc_occ *from,
      const struct muc_occ *to)
{
	struct xmpp_stanza *m = xmpp_stanza_dup(s);
	struct relay *rl = td_alloc(sizeof(*rl));
	struct xmpp_jid real = TAILQ_LAST(&to->sessions, muc_occ_sessions)->jid;

	/* a vCard is the account's to give, not the client's */
	if (xmpp_node_child(s->root, NS_VCARD, "vCard") != NULL)
		real = xmpp_jid_view(real.bare);
	m->flags = 0;
	xmpp_stanza_set_from(m, &from->jid);
	xmpp_stanza_set_to(m, &real);
	rl->muc = room->muc;
	rl->s = xmpp_stanza_ref(s);
	room->n_relays++;
	xmpp_request(room->env, m, RELAY_MS, on_answer, rl);
}

void
muc_on_occupant_iq(struct muc_room *room, struct xmpp_stanza *s)
{
	const struct xmpp_node *payload = xmpp_stanza_payload(s);
	struct muc_ses *ses = muc_ses_find(room, &s->from);
	const struct muc_occ *to;

	if (ses == NULL) {
		/* 6.6; XEP-0410 */
		bool disco = payload != NULL && (xmpp_node_is(payload, NS_DISCO_INFO, "query") ||
						 xmpp_node_is(payload, NS_DISCO_ITEMS, "query"));

		if (disco)
			muc_refuse(room, s, XE_BAD_REQUEST, NULL);
		else
			muc_refuse_as(room, s, XE_NOT_ACCEPTABLE, "cancel",
				      "You are not in the room.");
		return;
	}
	ses->bounces = 0;
	to = muc_occ_find(room, s->to.resource);
	if (to == NULL)
		muc_refuse(room, s, XE_ITEM_NOT_FOUND, NULL);
	else if (to == ses->occ && payload != NULL && xmpp_node_is(payload, NS_PING, "ping"))
		muc_result(room, s, TD_STR_NULL);
	else if (room->n_relays >= MUC_RELAYS_MAX)
		muc_refuse(room, s, XE_RESOURCE_CONSTRAINT, NULL);
	else
		relay(room, s, ses->occ, to);
}

const struct xmpp_module xep_0410_self_ping = {
	.name = "xep-0410-self-ping",
	.xep = "0410",
	.doc = "A ping to one's own nickname is answered by the room",
	.version = "1.1.0",
};
