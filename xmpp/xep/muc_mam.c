/* muc_mam - the archive of a room (XEP-0313 6.1.2): what was said, by whom, for those who may enter.
 *
 * The stanza-id of a message is its id in the archive.  Rows hold the message as it went out, the
 * sender's real address beside it: shown to those who may know it, searched for by them only.
 * When a room is loaded again its last messages come back from here as its history. */
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/message.h"
#include "xmpp/xep/muc.h"

bool
muc_mam_on(const struct muc_room *room)
{
	return xmpp_mam_on(room->env, room->jid.domain);
}

/* ---- keeping ---- */

static bool
is_kept(const struct xmpp_stanza *s)
{
	if (xmpp_message_has_hint(s, "no-store") || xmpp_message_has_hint(s, "no-permanent-store"))
		return false;
	return xmpp_message_has_body(s) || xmpp_message_is_signal(s) ||
	       xmpp_message_has_hint(s, "store") ||
	       xmpp_node_child(s->root, NS_CLIENT, "subject") != NULL;
}

void
muc_mam_keep(struct muc_room *room, struct xmpp_stanza *s, const struct xmpp_jid *real,
	     const char *id, struct xmpp_promise *promise)
{
	uint64_t n;

	if (muc_mam_on(room) && is_kept(s) &&
	    store_archive_named(room->env->store, room->jid.full, td_cstr(id), &n))
		xmpp_mam_keep_as(room->env, room->jid.full, real, STORE_ARCHIVED_GROUPCHAT, s, n,
				 promise);
}

/* An id that decrypts to this room's was given out by it. */
bool
muc_mam_has(const struct muc_room *room, struct td_str id)
{
	uint64_t n;

	return muc_mam_on(room) && store_archive_named(room->env->store, room->jid.full, id, &n);
}

/* ---- reading rows ---- */

static struct xmpp_stanza *
read_row(const struct store_archived *row)
{
	struct td_arena *a = td_arena_new(row->stanza.len * 2 + 512);
	struct xmpp_node *n = xmpp_xml_parse(a, row->stanza, NS_CLIENT, NULL);
	struct xmpp_stanza *s = NULL;

	if (n == NULL)
		td_arena_free(a);
	else if (xmpp_stanza_from_node(a, n, &s, NULL) < 0 || s->kind != XK_MESSAGE)
		xmpp_stanza_unref(&s);
	return s;
}

static struct td_str
occupant_of(const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_node_child(s->root, NS_OCCUPANT_ID, "occupant-id");

	return n != NULL ? xmpp_node_attr(n, "id") : TD_STR("");
}

/* ---- retracting ---- */

struct retract {
	struct muc_call call;
	char oid[65];           /* "": a moderator did it */
	struct xmpp_stanza *by; /* the retraction; a reference */
};

/* XEP-0424 section 4: the message's place and sender stay, its content goes.  XEP-0425 section 4: and who did it and
 * why is said. */
static void
put_tombstone(struct muc_room *room, const struct store_archived *row, struct xmpp_stanza *s,
	      const struct retract *rt)
{
	const struct xmpp_node *why = xmpp_node_child(rt->by->root, NS_RETRACT, "retract");
	struct xmpp_node *n, *next;
	struct td_buf xml = { 0 };
	char stamp[32];

	for (n = s->root->first; n != NULL; n = next) {
		next = n->next;
		if (!xmpp_node_is(n, NS_OCCUPANT_ID, "occupant-id") &&
		    !xmpp_node_is(n, NS_SID, "stanza-id"))
			xmpp_node_unlink(n);
	}
	td_stamp(td_wall_ms(), stamp);
	n = xmpp_node_add(s->arena, s->root, "retracted", NS_RETRACT);
	xmpp_node_set(s->arena, n, "stamp", td_cstr(stamp));
	xmpp_node_set(s->arena, n, "id", rt->by->id);
	for (const struct xmpp_node *c = rt->oid[0] == '\0' ? xmpp_node_child(why, NULL, NULL)
							    : NULL;
	     c != NULL; c = xmpp_node_next_elem(c))
		xmpp_node_append(n, xmpp_node_copy(s->arena, c));
	xmpp_stanza_touch(s);
	xmpp_stanza_write(s, true, &xml);
	store_archive_replace(room->env->store, room->jid.full, row->id, td_buf_str(&xml),
			      (struct store_to){ 0 });
	td_buf_fini(&xml);
}

static void
on_original(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	    bool complete)
{
	struct retract *rt = arg;
	struct xmpp_stanza *s;

	(void)complete;
	if (rt->call.room != NULL && r->rc == 0 && n == 1 && (s = read_row(&rows[0])) != NULL) {
		if (rt->oid[0] == '\0' || td_str_eqc(occupant_of(s), rt->oid))
			put_tombstone(rt->call.room, &rows[0], s, rt);
		xmpp_stanza_unref(&s);
	}
	if (rt->call.room != NULL)
		muc_call_end(&rt->call);
	xmpp_stanza_unref(&rt->by);
	free(rt);
}

void
muc_mam_retract(struct muc_room *room, struct td_str id, const char *oid,
		const struct xmpp_stanza *by)
{
	struct store_archive_query q = { .owner = room->jid.full, .max = 1 };
	struct retract *rt;
	uint64_t n;

	if (!muc_mam_on(room) || !store_archive_named(room->env->store, room->jid.full, id, &n))
		return;
	rt = td_zalloc(sizeof(*rt));
	(void)snprintf(rt->oid, sizeof(rt->oid), "%s", oid != NULL ? oid : "");
	rt->by = xmpp_stanza_dup(by);
	q.from = q.to = n;
	muc_call_begin(&rt->call, room);
	store_archive_get(room->env->store, &q, room->env->loop, on_original, rt);
}

/* ---- history of a room that comes back ---- */

static void
on_recalled(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	    bool complete)
{
	struct muc_call *c = arg;
	struct muc_room *room = c->room;

	(void)complete;
	for (size_t i = 0; room != NULL && r->rc == 0 && i < n; i++) {
		struct xmpp_stanza *s = read_row(&rows[i]);
		char id[MUC_ID], oid[65];

		if (s == NULL)
			continue;
		if (xmpp_message_has_body(s)) {
			struct td_str o = occupant_of(s);

			store_archive_name(room->env->store, room->jid.full, rows[i].id, id);
			(void)snprintf(oid, sizeof(oid), "%.*s", TD_STR_ARG(o));
			xmpp_stanza_seal(s);
			muc_history_add(room, s, id, oid, store_archive_when(rows[i].id));
		}
		xmpp_stanza_unref(&s);
	}
	if (room != NULL)
		muc_call_end(c);
	free(c);
}

void
muc_mam_recall(struct muc_room *room)
{
	struct store_archive_query q = { .owner = room->jid.full, .backwards = true };
	struct muc_call *c;

	if (!muc_mam_on(room) || room->cfg == NULL || room->cfg->history <= 0)
		return;
	q.max = (unsigned)room->cfg->history;
	c = td_zalloc(sizeof(*c));
	muc_call_begin(c, room);
	store_archive_get(room->env->store, &q, room->env->loop, on_recalled, c);
}

/* ---- asking ---- */

struct view {
	bool real_jids;
};

static bool
write_row(const void *arg, const struct store_archived *row, struct td_buf *out)
{
	static const char end[] = "</message>";
	const struct view *v = arg;
	size_t cut = sizeof(end) - 1;

	if (!v->real_jids || td_str_eq(row->peer, row->owner) || !td_str_ends(row->stanza, end)) {
		td_buf_adds(out, row->stanza);
		return true;
	}
	td_buf_add(out, row->stanza.p, row->stanza.len - cut);
	td_buf_addz(out, "<x xmlns='" NS_MUC_USER "'><item jid='");
	td_buf_add_xml(out, row->peer);
	if (row->resource.len > 0) {
		td_buf_addc(out, '/');
		td_buf_add_xml(out, row->resource);
	}
	td_buf_addz(out, "'/></x>");
	td_buf_addz(out, end);
	return true;
}

void
muc_mam_query(struct muc_iq *iq)
{
	struct muc_room *room = iq->room;
	struct xmpp_iq x = { .env = room->env, .s = iq->s, .payload = iq->payload };
	struct view v = { .real_jids = room->cfg->whois || iq->affiliation >= MA_ADMIN };
	const struct xmpp_mam_view view = {
		.write = write_row, .arg = &v, .arg_len = sizeof(v), .no_with = !v.real_jids
	};

	if (!muc_mam_on(room))
		muc_refuse(room, iq->s, XE_SERVICE_UNAVAILABLE, NULL);
	else if (!muc_may_read(room, &iq->s->from))
		muc_refuse(room, iq->s, XE_FORBIDDEN, NULL);
	else if (xmpp_mam_answer(&x, room->jid.full, &view) == XMPP_PASS)
		muc_refuse(room, iq->s, XE_SERVICE_UNAVAILABLE, NULL);
}
