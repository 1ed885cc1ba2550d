/* muc_history - what was said lately: shown to newcomers (XEP-0045 7.2.13-7.2.15), looked up by moderators; and
 * the stanza-ids (XEP-0359).
 *
 * Kept in memory: the last messages with something to read, bounded by number and bytes, and the ids of more of
 * them.  All of them go to the archive (muc_mam.c), which knows what is older. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "xmpp/modules.h"
#include "xmpp/xep/muc.h"

#define HISTORY_BYTES 1048576u
#define IDS_MAX 1024u

void
muc_stanza_id(struct muc_room *room, char out[MUC_ID])
{
	store_archive_name(room->env->store, room->jid.full, xmpp_mam_id(room->env), out);
}

/* ---- keeping ---- */

static void
drop(struct muc_room *room, struct muc_message *m)
{
	TAILQ_REMOVE(&room->history, m, link);
	room->n_history--;
	room->history_bytes -= m->s->inner.len;
	xmpp_stanza_unref(&m->s);
	xmpp_stanza_unref(&m->delayed);
	free(m);
}

void
muc_history_clear(struct muc_room *room)
{
	struct muc_message *m;

	while ((m = TAILQ_FIRST(&room->history)) != NULL)
		drop(room, m);
}

static void
note_id(struct muc_room *room, const char *id)
{
	if (room->n_ids < IDS_MAX) {
		if ((room->n_ids & (room->n_ids - 1)) == 0) /* full at 0 and powers of two */
			room->ids = td_realloc(room->ids, (room->n_ids > 0 ? room->n_ids * 2 : 1) *
								  sizeof(*room->ids));
		room->n_ids++;
		room->next_id = room->n_ids - 1;
	} else {
		room->next_id = (room->next_id + 1) % IDS_MAX;
	}
	memcpy(room->ids[room->next_id], id, MUC_ID);
}

/* Something to read later: not chat states and their like. */
static bool
is_worth_showing(const struct xmpp_stanza *s)
{
	if (xmpp_node_child(s->root, NS_HINTS, "no-store") != NULL)
		return false;
	return xmpp_node_child(s->root, NS_CLIENT, "body") != NULL ||
	       xmpp_node_child(s->root, NS_HINTS, "store") != NULL;
}

void
muc_history_add(struct muc_room *room, struct xmpp_stanza *s, const char *id, const char *oid,
		uint64_t at)
{
	struct muc_message *m;

	if (room->cfg->history == 0)
		return;
	m = td_zalloc(sizeof(*m));
	m->at = at;
	m->s = xmpp_stanza_ref(s);
	(void)snprintf(m->id, sizeof(m->id), "%s", id);
	(void)snprintf(m->oid, sizeof(m->oid), "%s", oid);
	TAILQ_INSERT_TAIL(&room->history, m, link);
	room->n_history++;
	room->history_bytes += s->inner.len;
	while (room->n_history > (uint64_t)room->cfg->history ||
	       room->history_bytes > HISTORY_BYTES)
		drop(room, TAILQ_FIRST(&room->history));
}

void
muc_archive(struct muc_room *room, struct xmpp_stanza *s, const struct muc_occ *occ,
	    const struct xmpp_jid *real, const char *id, struct xmpp_promise *promise)
{
	note_id(room, id);
	muc_mam_keep(room, s, occ != NULL ? real : &room->jid, id, promise);
	if (occ != NULL && is_worth_showing(s))
		muc_history_add(room, s, id, occ->oid, td_wall_ms());
}

/* ---- looking up ---- */

bool
muc_may_read(const struct muc_room *room, const struct xmpp_jid *who)
{
	enum muc_affiliation a;

	if (room->state != MUC_OPEN)
		return false;
	a = muc_affiliation(room, who);
	if (!muc_affiliation_may(a, MAP_ENTER))
		return false;
	if (room->cfg->members_only)
		return muc_affiliation_may(a, MAP_ENTER_MEMBERS_ONLY);
	/* behind a password: who showed that it knows it, or needs none to be trusted */
	return !room->cfg->password || a >= MA_MEMBER || muc_occ_of(room, who->bare) != NULL;
}

bool
muc_archive_has(const struct muc_room *room, struct td_str id)
{
	for (unsigned i = 0; i < room->n_ids; i++)
		if (td_str_eqc(id, room->ids[i]))
			return true;
	return muc_mam_has(room, id);
}

void
muc_archive_retract(struct muc_room *room, struct td_str id, const char *oid,
		    const struct xmpp_stanza *by)
{
	struct muc_message *m;

	muc_mam_retract(room, id, oid, by);
	TAILQ_FOREACH(m, &room->history, link)
	if (td_str_eqc(id, m->id)) {
		if (oid == NULL || strcmp(oid, m->oid) == 0)
			drop(room, m);
		return;
	}
}

/* ---- showing ---- */

struct wanted {
	int64_t chars, stanzas;
	uint64_t since;
};

/* 7.2.14: whatever is less counts; what is malformed is left out. */
static void
read_wanted(const struct muc_room *room, const struct xmpp_node *x, struct wanted *w)
{
	const struct xmpp_node *h = xmpp_node_child(x, NS_MUC, "history");
	uint64_t now = td_wall_ms(), since;
	int64_t n;

	*w = (struct wanted){ .chars = INT64_MAX, .stanzas = room->cfg->history };
	if (h == NULL)
		return;
	if (td_str_to_dec(xmpp_node_attr(h, "maxchars"), 0, INT32_MAX, &n))
		w->chars = n;
	if (td_str_to_dec(xmpp_node_attr(h, "maxstanzas"), 0, INT32_MAX, &n) && n < w->stanzas)
		w->stanzas = n;
	if (td_str_to_dec(xmpp_node_attr(h, "seconds"), 0, INT32_MAX, &n))
		w->since = (uint64_t)n * 1000 < now ? now - (uint64_t)n * 1000 : 0;
	if (td_stamp_parse(xmpp_node_attr(h, "since"), &since) && since > w->since)
		w->since = since;
}

static void
write_delay(const struct muc_room *room, uint64_t at, struct td_buf *b)
{
	char stamp[32];

	td_stamp(at, stamp);
	td_buf_addz(b, "<delay xmlns='" NS_DELAY "' from='");
	td_buf_add_xml(b, room->jid.full);
	td_buf_addf(b, "' stamp='%s'/>", stamp);
}

static void
make_delayed(const struct muc_room *room, struct muc_message *m)
{
	struct td_buf b = { 0 };

	if (m->delayed != NULL)
		return;
	write_delay(room, m->at, &b);
	m->delayed = xmpp_stanza_extend(m->s, td_buf_str(&b));
	td_buf_fini(&b);
}

/* Bytes of the stanza as <ses> would get it: never fewer than its characters. */
static int64_t
size_of(const struct muc_message *m, const struct muc_ses *ses)
{
	struct td_buf b = { 0 };
	int64_t n;

	xmpp_stanza_write(m->delayed, false, &b);
	n = (int64_t)(b.len + sizeof(" to=''") - 1 + ses->jid.full.len);
	td_buf_fini(&b);
	return n;
}

static void
send_messages(struct muc_room *room, struct muc_ses *ses, const struct xmpp_node *x)
{
	struct muc_message *m, *first = NULL;
	struct wanted w;
	int64_t n = 0, chars = 0;

	read_wanted(room, x, &w);
	TAILQ_FOREACH_REVERSE(m, &room->history, muc_messages, link)
	{
		if (n >= w.stanzas || m->at < w.since)
			break;
		make_delayed(room, m);
		if (w.chars != INT64_MAX && (chars += size_of(m, ses)) > w.chars)
			break;
		first = m;
		n++;
	}
	for (m = first; m != NULL; m = TAILQ_NEXT(m, link))
		muc_send(room, m->delayed, ses);
}

/* 7.2.15 */
static void
send_subject(struct muc_room *room, struct muc_ses *ses)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, XT_GROUPCHAT);
	struct xmpp_jid from = room->jid;
	struct td_buf b = { 0 };
	char id[17];

	td_random_id(id, 16);
	xmpp_stanza_set_id(s, td_cstr(id));
	if (room->subject.nick.len > 0)
		(void)xmpp_jid_with_resource(s->arena, &room->jid, room->subject.nick, &from, NULL);
	td_buf_adds(&b,
		    room->subject.xml.len > 0 ? room->subject.xml : TD_STR("<subject></subject>"));
	if (room->subject.at != 0)
		write_delay(room, room->subject.at, &b);
	if (room->subject.oid.len > 0) {
		td_buf_addz(&b, "<occupant-id xmlns='" NS_OCCUPANT_ID "' id='");
		td_buf_add_xml(&b, room->subject.oid);
		td_buf_addz(&b, "'/>");
	}
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_stanza_set_from(s, &from);
	xmpp_stanza_seal(s);
	muc_send(room, s, ses);
	xmpp_stanza_unref(&s);
}

void
muc_history_send(struct muc_room *room, struct muc_ses *ses, const struct xmpp_node *x)
{
	send_messages(room, ses, x);
	send_subject(room, ses);
}

/* ---- the subject, stored: four lines, the text, the elements ---- */

void
muc_subject_prop(struct muc_change *ch, struct td_str xml, struct td_str text, struct td_str nick,
		 struct td_str oid, uint64_t at)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "%llu\n%zu\n", (unsigned long long)at, text.len);
	td_buf_adds(&b, nick);
	td_buf_addc(&b, '\n');
	td_buf_adds(&b, oid);
	td_buf_addc(&b, '\n');
	td_buf_adds(&b, text);
	td_buf_adds(&b, xml);
	muc_change_prop(ch, "subject", td_buf_str(&b));
	td_buf_fini(&b);
}

void
muc_subject_load(struct muc_room *room, struct td_str v)
{
	int64_t at, n;
	struct td_str nick, oid;

	if (!td_str_to_dec(td_str_cut(&v, '\n'), 0, INT64_MAX, &at) ||
	    !td_str_to_dec(td_str_cut(&v, '\n'), 0, INT32_MAX, &n))
		return;
	nick = td_str_cut(&v, '\n');
	oid = td_str_cut(&v, '\n');
	if ((uint64_t)n > v.len)
		return;
	muc_subject_set(room, td_str(v.p + n, v.len - (size_t)n), td_str(v.p, (size_t)n), nick, oid,
			(uint64_t)at);
}
