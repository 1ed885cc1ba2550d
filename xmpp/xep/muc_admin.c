/* muc_admin - muc#admin: lists of roles and affiliations, and changing them (XEP-0045 8.2-8.5, 9, 10.3-10.8).
 *
 * A request is checked whole before anything of it happens (9.2).  Changes of affiliations are committed
 * first.  Then the answer, and then everybody sees the change - but for kicks, whose order 8.2 turns around. */
#include "xmpp/xep/muc.h"

struct item {
	struct td_str jid, nick, reason; /* jid: bare */
	struct muc_occ *occ;             /* of a role item */
	int affiliation, role;           /* -1 = not said */
	int was;                         /* the affiliation before */
	bool has_nick;
};
struct items {
	struct item *v;
	size_t n;
};

static struct td_str
bounded(struct td_str s)
{
	return s.p != NULL ? td_str(s.p, td_utf8_cut(s, MUC_REASON_MAX)) : s;
}

/* ---- reading ---- */

static int
read_item(struct muc_room *room, const struct xmpp_node *n, struct item *out)
{
	struct td_arena *a = muc_scratch(room);
	struct td_str affiliation = xmpp_node_attr(n, "affiliation"),
		      role = xmpp_node_attr(n, "role"), jid = xmpp_node_attr(n, "jid");
	const struct xmpp_node *reason = xmpp_node_child(n, NS_MUC_ADMIN, "reason");
	enum muc_affiliation af;
	enum muc_role ro;
	struct xmpp_jid j;

	*out = (struct item){ .affiliation = -1, .role = -1 };
	/* 17.4 rule 4: one of the two */
	if ((affiliation.p != NULL) == (role.p != NULL))
		return XE_BAD_REQUEST;
	if (affiliation.p != NULL) {
		if (!muc_affiliation_parse(affiliation, &af))
			return XE_BAD_REQUEST;
		out->affiliation = (int)af;
	} else {
		if (!muc_role_parse(role, &ro))
			return XE_BAD_REQUEST;
		out->role = (int)ro;
	}
	out->nick = xmpp_node_attr(n, "nick");
	out->has_nick = out->nick.p != NULL;
	if (out->nick.len > 0) { /* as nicknames are kept: prepared */
		if (xmpp_jid_with_resource(a, &room->jid, out->nick, &j, NULL) < 0 ||
		    out->nick.len > MUC_NICK_MAX)
			return XE_JID_MALFORMED;
		out->nick = j.resource;
	}
	if (jid.p != NULL) {
		if (xmpp_jid_parse(a, jid, &j, NULL) < 0)
			return XE_JID_MALFORMED;
		out->jid = j.bare; /* 10.3: a full address stands for its bare one */
	}
	if (reason != NULL)
		out->reason = bounded(xmpp_node_text(a, reason));
	return MUC_OK;
}

static int
read_items(struct muc_iq *iq, struct items *out)
{
	const struct xmpp_node *n;
	size_t count = 0;
	int e;

	for (n = xmpp_node_child(iq->payload, NULL, NULL); n != NULL; n = xmpp_node_next_elem(n))
		count += xmpp_node_is(n, NS_MUC_ADMIN, "item");
	*out = (struct items){ 0 };
	if (count == 0)
		return XE_BAD_REQUEST;
	if (count > MUC_ITEMS_MAX)
		return XE_RESOURCE_CONSTRAINT;
	out->v = td_arena_alloc(muc_scratch(iq->room), count * sizeof(*out->v));
	for (n = xmpp_node_child(iq->payload, NULL, NULL); n != NULL; n = xmpp_node_next_elem(n)) {
		if (!xmpp_node_is(n, NS_MUC_ADMIN, "item"))
			continue;
		if ((e = read_item(iq->room, n, &out->v[out->n++])) != MUC_OK)
			return e;
	}
	return MUC_OK;
}

/* ---- lists ---- */

static bool
may_list_members(const struct muc_iq *iq)
{
	const struct muc_room *room = iq->room;

	if (muc_affiliation_may(iq->affiliation, MAP_EDIT_MEMBERS))
		return true;
	/* the list has real addresses: where those are hidden, only for moderators */
	if (iq->occ != NULL)
		return (room->cfg->list & (1u << iq->occ->role)) != 0 &&
		       (muc_shows_jids(room) || iq->occ->role == MR_MODERATOR);
	return muc_shows_jids(room) && room->cfg->list != 0 &&
	       muc_affiliation_may(iq->affiliation, MAP_MEMBER_LIST);
}

static bool
may_list(const struct muc_iq *iq, const struct item *it)
{
	bool open = muc_shows_jids(iq->room) && iq->affiliation >= MA_MEMBER;

	if (it->role == MR_MODERATOR) /* 9.8 */
		return muc_affiliation_may(iq->affiliation, MAP_EDIT_MODERATORS);
	if (it->role >= 0) /* 8.5 */
		return muc_role_of(iq->room, iq->s->from.bare) == MR_MODERATOR ||
		       muc_affiliation_may(iq->affiliation, MAP_EDIT_MODERATORS);
	switch ((enum muc_affiliation)it->affiliation) {
	case MA_OUTCAST: return muc_affiliation_may(iq->affiliation, MAP_BAN);
	case MA_MEMBER: return may_list_members(iq);
	case MA_ADMIN: /* 10.5, 10.8 */
		return open || muc_affiliation_may(iq->affiliation, MAP_EDIT_ADMINS);
	case MA_OWNER: return open || muc_affiliation_may(iq->affiliation, MAP_EDIT_OWNERS);
	case MA_NONE:
	case MA_COUNT: break;
	}
	return false;
}

static void
put_attr(struct td_buf *b, const char *name, struct td_str value)
{
	td_buf_addf(b, " %s='", name);
	td_buf_add_xml(b, value);
	td_buf_addc(b, '\'');
}

static void
write_roles(const struct muc_room *room, enum muc_role role, struct td_buf *b)
{
	const struct muc_occ *occ;

	TAILQ_FOREACH(occ, &room->occs, link)
	{
		if (occ->role != role)
			continue;
		td_buf_addz(b, "<item");
		put_attr(b, "affiliation",
			 td_cstr(muc_affiliation_name((enum muc_affiliation)occ->affiliation)));
		put_attr(b, "jid", TAILQ_LAST(&occ->sessions, muc_occ_sessions)->jid.full);
		put_attr(b, "nick", occ->jid.resource);
		put_attr(b, "role", td_cstr(muc_role_name(role)));
		td_buf_addz(b, "/>");
	}
}

static void
write_affiliations(const struct muc_room *room, enum muc_affiliation a, struct td_buf *b)
{
	const struct muc_affil *f;
	size_t i = 0;

	while ((f = td_map_next(&room->affils, &i)) != NULL) {
		if (f->affiliation != a)
			continue;
		td_buf_addz(b, "<item");
		put_attr(b, "affiliation", td_cstr(muc_affiliation_name(a)));
		put_attr(b, "jid", f->jid);
		if (f->nick.p != NULL)
			put_attr(b, "nick", f->nick);
		if (f->reason.p == NULL) {
			td_buf_addz(b, "/>");
			continue;
		}
		td_buf_addz(b, "><reason>");
		td_buf_add_xml(b, f->reason);
		td_buf_addz(b, "</reason></item>");
	}
}

void
muc_admin_get(struct muc_iq *iq)
{
	struct td_buf b = { 0 };
	struct items items;
	int e = read_items(iq, &items);

	for (size_t i = 0; e == MUC_OK && i < items.n; i++)
		if (!may_list(iq, &items.v[i]))
			e = XE_FORBIDDEN;
	if (e != MUC_OK) {
		muc_refuse(iq->room, iq->s, (enum xmpp_error)e, NULL);
		return;
	}
	td_buf_addz(&b, "<query xmlns='" NS_MUC_ADMIN "'>");
	for (size_t i = 0; i < items.n; i++)
		if (items.v[i].role >= 0)
			write_roles(iq->room, (enum muc_role)items.v[i].role, &b);
		else
			write_affiliations(iq->room, (enum muc_affiliation)items.v[i].affiliation,
					   &b);
	td_buf_addz(&b, "</query>");
	muc_result(iq->room, iq->s, td_buf_str(&b));
	td_buf_fini(&b);
}

/* ---- roles ---- */

static int
check_role(const struct muc_iq *iq, struct item *it)
{
	struct muc_standing actor = { iq->affiliation, muc_role_of(iq->room, iq->s->from.bare) };
	int e;

	if (it->nick.len == 0)
		return XE_BAD_REQUEST;
	/* no word about who is here to those who may not ask */
	if (actor.role != MR_MODERATOR &&
	    !muc_affiliation_may(actor.affiliation, MAP_EDIT_MODERATORS))
		return XE_FORBIDDEN;
	it->occ = muc_occ_find(iq->room, it->nick);
	if (it->occ == NULL)
		return XE_ITEM_NOT_FOUND;
	e = muc_check_role(actor,
			   (struct muc_standing){ (enum muc_affiliation)it->occ->affiliation,
						  (enum muc_role)it->occ->role },
			   (enum muc_role)it->role);
	return e;
}

static struct muc_note
note_of(const struct muc_iq *iq, const struct item *it, unsigned code)
{
	struct muc_note note = { .codes = { code }, .reason = it->reason };

	if (iq->occ != NULL)
		note.actor = iq->occ->jid.resource;
	return note;
}

/* 8.2: the kicked one hears of it first, then who did it, then the others. */
static void
set_roles(struct muc_iq *iq, struct items *items)
{
	struct muc_room *room = iq->room;
	struct muc_note note;

	for (size_t i = 0; i < items->n; i++)
		if (items->v[i].role == MR_NONE) {
			note = note_of(iq, &items->v[i], 307);
			note.gone = true;
			muc_remove_self(room, items->v[i].occ, &note);
		}
	muc_result(room, iq->s, TD_STR_NULL);
	for (size_t i = 0; i < items->n; i++) {
		struct muc_occ *occ = items->v[i].occ;
		enum muc_role role = (enum muc_role)items->v[i].role;

		if (role == MR_NONE || occ->role == role)
			continue;
		note = note_of(iq, &items->v[i], 0);
		if (occ->affiliation < MA_ADMIN && role <= MR_PARTICIPANT)
			muc_voice_set(room, occ->bare, role);
		muc_set_role(room, occ, role, &note);
	}
	for (size_t i = 0; i < items->n; i++)
		if (items->v[i].role == MR_NONE) {
			note = note_of(iq, &items->v[i], 307);
			note.gone = true;
			if (items->v[i].occ == iq->occ)
				iq->occ = NULL;
			muc_remove_others(room, items->v[i].occ, &note);
		}
}

/* ---- affiliations ---- */

void
muc_affiliation_changed(struct muc_room *room, struct muc_occ *occ, enum muc_affiliation now,
			const struct muc_note *note, unsigned removal_code)
{
	enum muc_affiliation old = (enum muc_affiliation)occ->affiliation;
	struct muc_note n = *note;

	occ->affiliation = (uint8_t)now;
	if (now == MA_OUTCAST || (room->cfg->members_only && now < MA_MEMBER)) {
		n.gone = true;
		n.codes[0] = now == MA_OUTCAST ? 301 : removal_code;
		muc_remove(room, occ, &n);
		return;
	}
	muc_set_role(room, occ,
		     muc_role_after((enum muc_role)occ->role, old, now, room->cfg->moderated), &n);
}

static const struct item *
item_for(const struct items *items, const struct muc_occ *occ)
{
	struct xmpp_jid j = xmpp_jid_view(occ->bare);

	for (size_t i = 0; i < items->n; i++)
		if (td_str_eq(items->v[i].jid, j.bare) || td_str_eq(items->v[i].jid, j.domain))
			return &items->v[i];
	return NULL;
}

/* 9.5: who becomes a member of a members-only room, and is not in it, is told. */
static void
invite_members(struct muc_room *room, const struct muc_change *ch, struct td_str actor,
	       const struct items *items)
{
	for (size_t i = 0; room->cfg->members_only && i < items->n; i++) {
		const struct item *it = &items->v[i];

		if (it->affiliation == MA_MEMBER && it->was == MA_NONE &&
		    td_str_chr(it->jid, '@') >= 0 && muc_occ_of(room, it->jid) == NULL)
			muc_invite(room, it->jid, actor, NULL, ch->s->id);
	}
}

static void
affiliations_done(struct muc_change *ch, int rc)
{
	struct items *items = ch->arg;
	struct muc_room *room = ch->room;
	struct muc_ses *ses = muc_ses_find(room, &ch->s->from);
	struct muc_occ *occ, *next;
	struct td_str actor = TD_STR_NULL, known = room->jid.full;

	if (rc < 0) {
		muc_refuse(room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	muc_result(room, ch->s, TD_STR_NULL);
	if (ses != NULL) {
		actor = td_arena_str(ch->arena, ses->occ->jid.resource);
		known = td_arena_str(ch->arena,
				     muc_shows_jids(room) ? ses->occ->bare : ses->occ->jid.full);
	}
	for (occ = TAILQ_FIRST(&room->occs); occ != NULL; occ = next) {
		const struct item *it = item_for(items, occ);
		struct xmpp_jid real = xmpp_jid_view(occ->bare);
		enum muc_affiliation now = muc_affiliation(room, &real);
		struct muc_note note = { .actor = actor };

		next = TAILQ_NEXT(occ, link);
		if (it == NULL || occ->affiliation == now)
			continue;
		note.reason = it->reason;
		muc_affiliation_changed(room, occ, now, &note, 321);
	}
	invite_members(room, ch, known, items);
	muc_directory_update(room);
}

/* The number of owners there would be; <items> are applied in order. */
static bool
leaves_an_owner(const struct muc_room *room, const struct items *items)
{
	unsigned owners = room->n_owners;

	for (size_t i = 0; i < items->n; i++) {
		const struct muc_affil *f = muc_affil_find(room, items->v[i].jid);
		bool was = f != NULL && f->affiliation == MA_OWNER;

		for (size_t k = 0; k < i; k++) /* said twice: the later one counts */
			if (td_str_eq(items->v[k].jid, items->v[i].jid))
				was = items->v[k].affiliation == MA_OWNER;
		owners -= was;
		owners += items->v[i].affiliation == MA_OWNER;
	}
	return owners > 0 || room->n_owners == 0; /* an account that went took its room along */
}

static int
check_affiliation(const struct muc_iq *iq, struct item *it)
{
	const struct muc_affil *f;
	const struct muc_occ *occ;
	enum muc_affiliation from;
	bool domain;

	if (it->jid.p == NULL && it->nick.len > 0 &&
	    (occ = muc_occ_find(iq->room, it->nick)) != NULL &&
	    muc_affiliation_may(iq->affiliation, MAP_EDIT_MEMBERS)) {
		it->jid = occ->bare; /* clients that know the nickname only */
		it->has_nick = false;
	}
	if (!muc_affiliation_may(iq->affiliation, MAP_EDIT_MEMBERS))
		return XE_FORBIDDEN;
	if (it->jid.p == NULL)
		return XE_BAD_REQUEST;
	f = muc_affil_find(iq->room, it->jid);
	from = f != NULL ? (enum muc_affiliation)f->affiliation : MA_NONE;
	domain = td_str_chr(it->jid, '@') < 0;
	it->was = (int)from;
	if (domain && it->affiliation > MA_MEMBER)
		return XE_NOT_ALLOWED;
	if (domain && it->affiliation == MA_OUTCAST && td_str_eq(iq->s->from.domain, it->jid) &&
	    f == NULL && muc_affil_find(iq->room, iq->s->from.bare) == NULL)
		return XE_CONFLICT;
	if (it->has_nick && it->nick.len > 0 && muc_nick_taken(iq->room, it->nick, it->jid) != NULL)
		return XE_CONFLICT;
	return muc_check_affiliation(iq->affiliation, td_str_eq(it->jid, iq->s->from.bare), from,
				     (enum muc_affiliation)it->affiliation);
}

static void
set_affiliations(struct muc_iq *iq, const struct items *items)
{
	struct muc_room *room = iq->room;
	struct muc_change *ch = muc_change_new(room, iq->s, affiliations_done);
	struct items *kept = td_arena_alloc(ch->arena, sizeof(*kept));

	kept->n = items->n;
	kept->v = td_arena_alloc(ch->arena, items->n * sizeof(*kept->v));
	for (size_t i = 0; i < items->n; i++) {
		struct item *it = &kept->v[i];
		const struct muc_affil *f;

		*it = items->v[i];
		it->jid = td_arena_str(ch->arena, it->jid);
		it->reason = td_arena_str(ch->arena, it->reason);
		f = muc_affil_find(room, it->jid);
		if (it->affiliation == MA_OUTCAST) /* 9.1: its nickname is free again */
			it->nick = TD_STR_NULL;
		else if (!it->has_nick)
			it->nick = f != NULL ? f->nick : TD_STR_NULL;
		muc_change_affil(ch, it->jid, (enum muc_affiliation)it->affiliation,
				 it->nick.len > 0 ? it->nick : TD_STR_NULL, it->reason);
	}
	ch->arg = kept;
	muc_change_commit(ch);
}

void
muc_admin_set(struct muc_iq *iq)
{
	struct items items;
	int e = read_items(iq, &items);
	bool roles = e == MUC_OK && items.v[0].role >= 0;

	for (size_t i = 0; e == MUC_OK && i < items.n; i++) {
		if ((items.v[i].role >= 0) != roles)
			e = XE_BAD_REQUEST; /* either list */
		else
			e = roles ? check_role(iq, &items.v[i])
				  : check_affiliation(iq, &items.v[i]);
		/* a nickname twice: the second would speak of somebody who is gone */
		for (size_t k = 0; e == MUC_OK && roles && k < i; k++)
			if (items.v[k].occ == items.v[i].occ)
				e = XE_BAD_REQUEST;
	}
	if (e == MUC_OK && !roles && !leaves_an_owner(iq->room, &items))
		e = XE_CONFLICT; /* 10.4 */
	if (e == MUC_OK && !roles && iq->room->affils.len + items.n > MUC_AFFILS_MAX)
		e = XE_RESOURCE_CONSTRAINT;
	if (e != MUC_OK)
		muc_refuse(iq->room, iq->s, (enum xmpp_error)e, NULL);
	else if (roles)
		set_roles(iq, &items);
	else
		set_affiliations(iq, &items);
}
