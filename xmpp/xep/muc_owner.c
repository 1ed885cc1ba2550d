/* muc_owner - muc#owner: the configuration form, and the end of a room (XEP-0045 section 10).
 *
 * A room that was just made is locked until its owner submits a form, be it an empty one (10.1.2).  Owner and
 * admin lists in the form are whole lists; those of muc#admin are differences. */
#include "xmpp/xep/muc.h"

#define VAR_ADMINS "muc#roomconfig_roomadmins"
#define VAR_OWNERS "muc#roomconfig_roomowners"

/* ---- the form ---- */

static void
add_list(struct td_buf *b, const struct muc_room *room, const char *var, const char *label,
	 enum muc_affiliation a)
{
	struct td_arena *arena = td_arena_new(512);
	struct td_str *v = td_arena_alloc(arena, (room->affils.len + 1) * sizeof(*v));
	const struct muc_affil *f;
	size_t i = 0, n = 0;

	while ((f = td_map_next(&room->affils, &i)) != NULL)
		if (f->affiliation == a)
			v[n++] = f->jid;
	xmpp_form_add(b, "jid-multi", var, label, v, n, NULL);
	td_arena_free(arena);
}

void
muc_owner_get(struct muc_iq *iq)
{
	struct muc_room *room = iq->room;
	struct muc_config_limits lim;
	struct muc_config *cfg = room->cfg;
	struct td_buf b = { 0 };

	muc_config_limits(room, &lim);
	if (room->state == MUC_ABSENT) /* 10.1.3: what it would be */
		cfg = muc_config_new(&lim);
	td_buf_addz(&b, "<query xmlns='" NS_MUC_OWNER "'>");
	xmpp_form_open(&b, FORM_FORM, NS_MUC_CONFIG);
	xmpp_form_title(&b, "Configuration of the room",
			"Complete this form to configure the room; what you leave out stays as it "
			"is.");
	muc_config_form(&b, cfg, &lim);
	add_list(&b, room, VAR_ADMINS, "Room Admins", MA_ADMIN);
	add_list(&b, room, VAR_OWNERS, "Room Owners", MA_OWNER);
	xmpp_form_close(&b);
	td_buf_addz(&b, "</query>");
	muc_result(room, iq->s, td_buf_str(&b));
	td_buf_fini(&b);
	if (cfg != room->cfg)
		muc_config_free(cfg);
}

/* ---- lists in the form ---- */

struct list {
	bool given;
	struct td_str *jids;
	size_t n;
};

static int
read_list(struct muc_change *ch, const struct xmpp_form *form, const char *var, struct list *out)
{
	const struct xmpp_form_field *f = xmpp_form_field(form, var);

	*out = (struct list){ .given = f != NULL };
	if (f == NULL)
		return MUC_OK;
	out->jids = td_arena_alloc(ch->arena, (f->n + 1) * sizeof(*out->jids));
	for (size_t i = 0; i < f->n; i++) {
		struct td_str v = td_str_trim(f->values[i]);
		struct xmpp_jid j;

		if (v.len == 0)
			continue;
		if (xmpp_jid_parse(ch->arena, v, &j, NULL) < 0)
			return XE_JID_MALFORMED;
		if (j.local.p == NULL)
			return XE_NOT_ACCEPTABLE;
		out->jids[out->n++] = j.bare;
	}
	return MUC_OK;
}

static bool
has(const struct list *l, struct td_str jid)
{
	for (size_t i = 0; i < l->n; i++)
		if (td_str_eq(l->jids[i], jid))
			return true;
	return false;
}

static enum muc_affiliation
affiliation_of(const struct muc_room *room, struct td_str jid)
{
	const struct muc_affil *f = muc_affil_find(room, jid);

	return f != NULL ? (enum muc_affiliation)f->affiliation : MA_NONE;
}

static void
put_affil(struct muc_change *ch, struct td_str jid, enum muc_affiliation to)
{
	const struct muc_affil *f = muc_affil_find(ch->room, jid);

	if (affiliation_of(ch->room, jid) != to)
		muc_change_affil(ch, jid, to, f != NULL ? f->nick : TD_STR_NULL, TD_STR_NULL);
}

/* 10.2: who is no owner any more becomes an admin, who is no admin any more a member. */
static int
read_lists(struct muc_change *ch, const struct xmpp_form *form)
{
	struct muc_room *room = ch->room;
	struct list owners, admins;
	const struct muc_affil *f;
	size_t i = 0;
	int e;

	if ((e = read_list(ch, form, VAR_OWNERS, &owners)) != MUC_OK ||
	    (e = read_list(ch, form, VAR_ADMINS, &admins)) != MUC_OK)
		return e;
	if (owners.given && owners.n == 0)
		return XE_CONFLICT;
	if (room->affils.len + owners.n + admins.n > MUC_AFFILS_MAX)
		return XE_RESOURCE_CONSTRAINT;
	while ((f = td_map_next(&room->affils, &i)) != NULL) {
		bool stays_admin = !admins.given || has(&admins, f->jid);

		if (f->affiliation == MA_OWNER && owners.given && !has(&owners, f->jid))
			put_affil(ch, f->jid, stays_admin ? MA_ADMIN : MA_MEMBER);
		if (f->affiliation == MA_ADMIN && !stays_admin &&
		    !(owners.given && has(&owners, f->jid)))
			put_affil(ch, f->jid, MA_MEMBER);
	}
	for (i = 0; i < owners.n; i++)
		put_affil(ch, owners.jids[i], MA_OWNER);
	for (i = 0; i < admins.n; i++)
		if (owners.given ? !has(&owners, admins.jids[i])
				 : affiliation_of(room, admins.jids[i]) != MA_OWNER)
			put_affil(ch, admins.jids[i], MA_ADMIN);
	return MUC_OK;
}

/* ---- a submitted form ---- */

static void
resync(struct muc_room *room, bool closed_now)
{
	struct muc_occ *occ, *next;
	const struct muc_note note = { .gone = false };

	for (occ = TAILQ_FIRST(&room->occs); occ != NULL; occ = next) {
		struct xmpp_jid real = xmpp_jid_view(occ->bare);
		enum muc_affiliation now = muc_affiliation(room, &real);

		next = TAILQ_NEXT(occ, link);
		if (occ->affiliation != now || (closed_now && now < MA_MEMBER))
			muc_affiliation_changed(room, occ, now, &note, closed_now ? 322 : 321);
	}
}

static void
configured(struct muc_change *ch, int rc)
{
	struct muc_room *room = ch->room;
	unsigned codes[8];
	size_t n;

	if (rc < 0) {
		muc_refuse(room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	room->state = MUC_OPEN;
	muc_directory_update(room);
	muc_result(room, ch->s, TD_STR_NULL);
	n = muc_config_codes(ch->cfg, room->cfg, codes);
	for (size_t i = 0; i < n; i++)
		muc_tell_code(room, codes[i]);
	resync(room, room->cfg->members_only && !ch->cfg->members_only);
	muc_directory_update(room);
}

static void
refuse_change(struct muc_change *ch, enum xmpp_error e, const char *why)
{
	muc_refuse(ch->room, ch->s, e, why);
	xmpp_stanza_unref(&ch->s);
	td_arena_free(ch->arena);
}

static void
configure(struct muc_iq *iq, const struct xmpp_form *form)
{
	struct muc_room *room = iq->room;
	struct muc_change *ch = muc_change_new(room, iq->s, configured);
	struct muc_config_limits lim;
	const char *why = NULL;
	int e;

	if (form->n > 0 && form->type.p != NULL && !td_str_eqc(form->type, NS_MUC_CONFIG)) {
		refuse_change(ch, XE_BAD_REQUEST, "Not a room's configuration.");
		return;
	}
	if ((e = read_lists(ch, form)) != MUC_OK) {
		refuse_change(ch, (enum xmpp_error)e, NULL);
		return;
	}
	muc_config_limits(room, &lim);
	ch->cfg = muc_config_read(room->cfg, form, &lim, &why);
	if (ch->cfg == NULL) {
		refuse_change(ch, XE_NOT_ACCEPTABLE, why);
		return;
	}
	muc_change_commit(ch);
}

/* ---- the end ---- */

void
muc_destroy(struct muc_room *room, struct td_str destroy_xml)
{
	const struct muc_note note = { .gone = true, .destroy = destroy_xml };
	struct muc_occ *occ;

	while ((occ = TAILQ_FIRST(&room->occs)) != NULL) {
		occ->affiliation = MA_NONE;
		muc_remove_self(room, occ, &note);
		muc_occ_del(room, occ);
	}
	muc_room_end(room);
}

static void
destroyed(struct muc_change *ch, int rc)
{
	struct muc_room *room = ch->room;
	const struct td_str *xml = ch->arg;

	if (rc < 0) {
		muc_refuse(room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	muc_destroy(room, *xml);
	muc_result(room, ch->s, TD_STR_NULL);
}

static void
destroy(struct muc_iq *iq, const struct xmpp_node *n)
{
	struct muc_change *ch = muc_change_new(iq->room, iq->s, destroyed);
	struct td_str jid = n != NULL ? xmpp_node_attr(n, "jid") : TD_STR_NULL, *xml;
	static const char *const kept[] = { "password", "reason" };
	struct xmpp_jid venue;
	struct td_buf b = { 0 };

	if (jid.len > 0 && xmpp_jid_parse(ch->arena, jid, &venue, NULL) < 0) {
		refuse_change(ch, XE_JID_MALFORMED, NULL);
		return;
	}
	td_buf_addz(&b, "<destroy");
	if (jid.len > 0) {
		td_buf_addz(&b, " jid='");
		td_buf_add_xml(&b, venue.full);
		td_buf_addc(&b, '\'');
	}
	td_buf_addc(&b, '>');
	for (size_t i = 0; n != NULL && i < sizeof(kept) / sizeof(kept[0]); i++) {
		const struct xmpp_node *c = xmpp_node_child(n, NS_MUC_OWNER, kept[i]);

		if (c == NULL)
			continue;
		td_buf_addf(&b, "<%s>", kept[i]);
		td_buf_add_xml(&b, xmpp_node_text(ch->arena, c));
		td_buf_addf(&b, "</%s>", kept[i]);
	}
	td_buf_addz(&b, "</destroy>");
	xml = td_arena_alloc(ch->arena, sizeof(*xml));
	*xml = td_arena_str(ch->arena, td_buf_str(&b));
	td_buf_fini(&b);
	ch->arg = xml;
	ch->destroy = true;
	muc_change_commit(ch);
}

/* ---- all of it ---- */

static void
submitted(struct muc_iq *iq, const struct xmpp_node *x)
{
	struct muc_room *room = iq->room;
	struct xmpp_form form;

	if (xmpp_form_read(muc_scratch(room), x, &form) < 0 ||
	    (form.kind != FORM_SUBMIT && form.kind != FORM_CANCEL)) {
		muc_refuse(room, iq->s, XE_BAD_REQUEST, NULL);
	} else if (form.kind == FORM_SUBMIT) {
		configure(iq, &form);
	} else if (room->state == MUC_LOCKED) {
		destroy(iq, NULL); /* 10.1.3 */
	} else {
		muc_result(room, iq->s, TD_STR_NULL);
	}
}

void
muc_owner_set(struct muc_iq *iq)
{
	struct muc_room *room = iq->room;
	const struct xmpp_node *x = xmpp_form_find(iq->payload),
			       *end = xmpp_node_child(iq->payload, NS_MUC_OWNER, "destroy");

	if ((x == NULL) == (end == NULL)) {
		muc_refuse(room, iq->s, XE_BAD_REQUEST, NULL);
		return;
	}
	if (room->state == MUC_ABSENT) { /* made by its form, without entering */
		if (end != NULL || !td_str_eqc(xmpp_node_attr(x, "type"), "submit")) {
			muc_refuse(room, iq->s, XE_ITEM_NOT_FOUND, NULL);
			return;
		}
		if (!room->counted) {
			muc_room_ask(room, iq->s);
			return;
		}
		muc_room_create(room, iq->s->from.bare);
		room->keep_until = td_wall_ms() + 60000;
	}
	if (end != NULL)
		destroy(iq, end);
	else
		submitted(iq, x);
}
