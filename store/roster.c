/* roster - contacts, roster versions (RFC 6121 2.6) and what was removed since one.
 *
 * A contact with STORE_ROSTER_HIDDEN was never shown to the user: coming and going it
 * leaves the memory of removals as it is, but hiding a contact that was shown removes it
 * in the eyes of clients. */
#include "store/store.h"

#include <stdlib.h>
#include "gateway/base/log.h"
#include "store/op.h"

#define GROUPS_MAX 1000u

struct get_op {
	struct store_op op;
	struct td_str jid;
	struct store_roster ro;
	struct store_contact *contacts;
	struct store_setting *settings;
};

struct set_op {
	struct store_op op;
	struct td_str jid;
	struct store_contact c;
};

struct removed_op {
	struct store_op op;
	struct td_str jid;
	uint64_t ver;
	struct td_str *jids;
	size_t n;
};

const char *const store_sub_names[4] = {
	[STORE_SUB_NONE] = "none",
	[STORE_SUB_TO] = "to",
	[STORE_SUB_FROM] = "from",
	[STORE_SUB_BOTH] = "both",
};

/* ---- get ---- */

static int
load_account(struct get_op *o, struct store_db *db, int64_t *id)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT id, disabled, roster_ver,"
				" (SELECT count(*) FROM messages WHERE account = accounts.id),"
				" EXISTS (SELECT 1 FROM ps_nodes WHERE owner = ?1), login IS NULL"
				" FROM accounts WHERE jid = ?1",
				SV(sv_text(o->jid)));

	if (rc < 0 || (rc = store_db_next(db, &o->op.err, q)) <= 0)
		return rc;
	*id = sqlite3_column_int64(q, 0);
	o->ro.account_exists = true;
	o->ro.account_disabled = sqlite3_column_int64(q, 1) != 0;
	o->ro.ver = (uint64_t)sqlite3_column_int64(q, 2);
	o->ro.offline_count = (uint64_t)sqlite3_column_int64(q, 3);
	o->ro.has_nodes = sqlite3_column_int64(q, 4) != 0;
	o->ro.account_fresh = sqlite3_column_int(q, 5) != 0;
	return 1;
}

static int
load_contacts(struct get_op *o, struct store_db *db, int64_t id)
{
	struct td_arena *a = o->op.arena;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT jid, name, sub, flags, ver, stanza FROM roster"
				" WHERE account = ?1 ORDER BY jid",
				SV(sv_int(id)));

	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		o->contacts = store_op_grow(&o->op, o->contacts, o->ro.n, sizeof(*o->contacts));
		o->contacts[o->ro.n++] = (struct store_contact){
			.jid = store_db_str(q, 0, a),
			.name = store_db_str(q, 1, a),
			.sub = (enum store_subscription)(sqlite3_column_int(q, 2) & STORE_SUB_BOTH),
			.flags = (uint32_t)sqlite3_column_int64(q, 3),
			.ver = (uint64_t)sqlite3_column_int64(q, 4),
			.pending_stanza = store_db_str(q, 5, a),
		};
	}
	o->ro.contacts = o->contacts;
	return rc;
}

/* Both lists come in the order of the contact's JID: one walk joins them. */
static int
load_groups(struct get_op *o, struct store_db *db, int64_t id)
{
	struct td_str *groups = NULL;
	size_t at = 0, n = 0;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT jid, name FROM roster_groups WHERE account = ?1"
				" ORDER BY jid, pos",
				SV(sv_int(id)));

	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		const char *p = sqlite3_column_blob(q, 0);
		struct td_str jid = td_str(p, (size_t)sqlite3_column_bytes(q, 0));
		struct store_contact *c;

		while (at < o->ro.n && !td_str_eq(o->contacts[at].jid, jid)) {
			at++;
			n = 0;
		}
		if (at == o->ro.n)
			return td_fail(&o->op.err, TD_E_CORRUPT,
				       "a roster group without its contact");
		c = &o->contacts[at];
		groups = store_op_grow(&o->op, n == 0 ? NULL : groups, n, sizeof(*groups));
		groups[n++] = store_db_str(q, 1, o->op.arena);
		c->groups = groups;
		c->n_groups = n;
	}
	return rc;
}

/* "," is what follows "+": a range the primary key answers. */
static int
load_settings(struct get_op *o, struct store_db *db)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT key, value FROM settings"
				" WHERE owner = ?1 AND key >= '+' AND key < ','",
				SV(sv_text(o->jid)));

	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		o->settings =
			store_op_grow(&o->op, o->settings, o->ro.n_settings, sizeof(*o->settings));
		o->settings[o->ro.n_settings++] = (struct store_setting){
			.key = store_db_str(q, 0, o->op.arena),
			.value = store_db_str(q, 1, o->op.arena),
		};
	}
	o->ro.settings = o->settings;
	return rc;
}

static int
roster_get_run(struct store_op *op, struct store_db *db)
{
	struct get_op *o = (struct get_op *)op;
	int64_t id = 0;
	int rc;

	o->ro = (struct store_roster){ 0 };
	rc = load_account(o, db, &id);
	if (rc == 1 && (rc = load_contacts(o, db, id)) == 0 &&
	    (o->ro.n == 0 || (rc = load_groups(o, db, id)) == 0))
		rc = load_settings(o, db);
	op->res.id = o->ro.ver;
	return rc;
}

static void
roster_get_reply(struct store_op *op)
{
	struct get_op *o = (struct get_op *)op;

	op->cb.roster(op->arg, &op->res, op->res.rc == 0 ? &o->ro : NULL);
}

static const struct store_opdef roster_get = {
	.name = "roster-get",
	.run = roster_get_run,
	.reply = roster_get_reply,
};

void
store_roster_get(struct store *st, struct td_str jid, struct td_loop *loop, store_roster_cb *cb,
		 void *arg)
{
	struct get_op *o = store_op_new(st, &roster_get, sizeof(*o), jid.len);

	o->jid = store_op_str(&o->op, jid);
	o->op.loop = loop;
	o->op.cb.roster = cb;
	o->op.arg = arg;
	store_op_key(&o->op, jid);
	store_op_topic(&o->op, STORE_ALL_MESSAGES); /* it counts them */
	store_op_submit(&o->op);
}

/* ---- set and del ---- */

static int
next_version(struct set_op *o, struct store_db *db, int64_t *id)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"UPDATE accounts SET roster_ver = roster_ver + 1 WHERE jid = ?1"
				" RETURNING id, roster_ver",
				SV(sv_text(o->jid)));

	if (rc < 0 || (rc = store_db_next(db, &o->op.err, q)) < 0)
		return rc;
	if (rc == 0)
		return td_fail(&o->op.err, TD_E_NOTFOUND, "no account %s", td_esc(o->jid));
	*id = sqlite3_column_int64(q, 0);
	o->op.res.id = (uint64_t)sqlite3_column_int64(q, 1);
	store_db_settle(db);
	return 0;
}

/* 1 = there and shown, 0 = there but hidden, NOTFOUND. */
static int
was_shown(struct set_op *o, struct store_db *db, int64_t id)
{
	int64_t flags = 0;
	int rc = store_db_int(db, &o->op.err, &flags,
			      "SELECT flags FROM roster WHERE account = ?1 AND jid = ?2",
			      SV(sv_int(id), sv_text(o->c.jid)));

	if (rc < 0)
		return rc;
	return rc == 0 ? TD_E_NOTFOUND : (flags & STORE_ROSTER_HIDDEN) == 0;
}

static int
remember_removal(struct set_op *o, struct store_db *db, int64_t id)
{
	return store_db_do(
		db, &o->op.err,
		"INSERT INTO roster_removed (account, jid, ver, at) VALUES (?1, ?2, ?3, ?4)"
		" ON CONFLICT (account, jid) DO UPDATE SET ver = ?3, at = ?4",
		SV(sv_int(id), sv_text(o->c.jid), sv_int((int64_t)o->op.res.id),
		   sv_int((int64_t)store_now(o->op.st))));
}

static int
put_contact(struct set_op *o, struct store_db *db, int64_t id)
{
	struct td_err *err = &o->op.err;
	const struct store_contact *c = &o->c;
	/* not REPLACE: that deletes first, and the groups with it by foreign key */
	int rc = store_db_do(db, err,
			     "INSERT INTO roster (account, jid, name, sub, flags, ver, stanza)"
			     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
			     " ON CONFLICT (account, jid) DO UPDATE SET name = ?3, sub = ?4,"
			     " flags = ?5, ver = ?6, stanza = ?7",
			     SV(sv_int(id), sv_text(c->jid), sv_opt(c->name), sv_int(c->sub),
				sv_int(c->flags), sv_int((int64_t)o->op.res.id),
				sv_opt(c->pending_stanza)));

	if (rc >= 0)
		rc = store_db_do(db, err,
				 "DELETE FROM roster_groups WHERE account = ?1 AND jid = ?2",
				 SV(sv_int(id), sv_text(c->jid)));
	for (size_t i = 0; rc >= 0 && i < c->n_groups; i++)
		rc = store_db_do(
			db, err,
			"INSERT INTO roster_groups (account, jid, pos, name)"
			" VALUES (?1, ?2, ?3, ?4)",
			SV(sv_int(id), sv_text(c->jid), sv_int((int64_t)i), sv_text(c->groups[i])));
	return rc;
}

static int
roster_set_run(struct store_op *op, struct store_db *db)
{
	struct set_op *o = (struct set_op *)op;
	bool hidden = (o->c.flags & STORE_ROSTER_HIDDEN) != 0;
	int64_t id = 0;
	int rc, shown;

	if (o->c.jid.len == 0 || o->c.n_groups > GROUPS_MAX)
		return td_fail(&op->err, TD_E_INVAL, "not a roster item");
	if ((rc = next_version(o, db, &id)) < 0)
		return rc;
	shown = was_shown(o, db, id);
	if (shown < 0 && shown != TD_E_NOTFOUND)
		return shown;
	if ((rc = put_contact(o, db, id)) < 0)
		return rc;
	if (hidden)
		return shown == 1 ? remember_removal(o, db, id) : 0;
	return store_db_do(db, &op->err,
			   "DELETE FROM roster_removed WHERE account = ?1 AND jid = ?2",
			   SV(sv_int(id), sv_text(o->c.jid)));
}

static int
roster_del_run(struct store_op *op, struct store_db *db)
{
	struct set_op *o = (struct set_op *)op;
	int64_t id = 0;
	int rc, shown;

	if ((rc = next_version(o, db, &id)) < 0)
		return rc;
	shown = was_shown(o, db, id);
	if (shown == TD_E_NOTFOUND) {
		op->res.id = 0;
		return td_fail(&op->err, TD_E_NOTFOUND, "not in the roster");
	}
	if (shown < 0)
		return shown;
	rc = store_db_do(db, &op->err, "DELETE FROM roster WHERE account = ?1 AND jid = ?2",
			 SV(sv_int(id), sv_text(o->c.jid)));
	if (rc >= 0 && shown == 1)
		rc = remember_removal(o, db, id);
	return rc;
}

static const struct store_opdef roster_set = {
	.name = "roster-set",
	.write = true,
	.run = roster_set_run,
	.reply = store_op_reply,
};

static const struct store_opdef roster_del = {
	.name = "roster-del",
	.write = true,
	.run = roster_del_run,
	.reply = store_op_reply,
};

static void
copy_contact(struct store_op *op, struct store_contact *to, const struct store_contact *c)
{
	size_t n = c->n_groups <= GROUPS_MAX ? c->n_groups : 0; /* run refuses more */
	struct td_str *groups = n > 0 ? td_arena_alloc(op->arena, n * sizeof(*groups)) : NULL;

	*to = *c;
	to->jid = store_op_str(op, c->jid);
	to->name = store_op_str(op, c->name);
	to->pending_stanza = store_op_str(op, c->pending_stanza);
	for (size_t i = 0; i < n; i++)
		groups[i] = store_op_str(op, c->groups[i]);
	to->groups = groups;
}

static void
change(struct store *st, const struct store_opdef *def, struct td_str jid,
       const struct store_contact *c, struct store_to to)
{
	struct set_op *o = store_op_new(st, def, sizeof(*o), jid.len + c->jid.len + c->name.len);

	o->jid = store_op_str(&o->op, jid);
	copy_contact(&o->op, &o->c, c);
	store_op_to(&o->op, to);
	store_op_key(&o->op, jid);
	store_op_submit(&o->op);
}

void
store_roster_set(struct store *st, struct td_str jid, const struct store_contact *c,
		 struct store_to to)
{
	change(st, &roster_set, jid, c, to);
}

void
store_roster_del(struct store *st, struct td_str jid, struct td_str contact, struct store_to to)
{
	struct store_contact c = { .jid = contact };

	change(st, &roster_del, jid, &c, to);
}

/* ---- removed since ---- */

static int
roster_removed_run(struct store_op *op, struct store_db *db)
{
	struct removed_op *o = (struct removed_op *)op;
	int64_t id, floor, ver;
	sqlite3_stmt *q;
	int rc;

	o->n = 0;
	rc = store_db_query(db, &op->err, &q,
			    "SELECT id, roster_floor, roster_ver FROM accounts WHERE jid = ?1",
			    SV(sv_text(o->jid)));
	if (rc < 0 || (rc = store_db_next(db, &op->err, q)) < 0)
		return rc;
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no account %s", td_esc(o->jid));
	id = sqlite3_column_int64(q, 0);
	floor = sqlite3_column_int64(q, 1);
	ver = sqlite3_column_int64(q, 2);
	/* a version yet to come is from before a restored backup: as good as unknown */
	if (o->ver < (uint64_t)floor || o->ver > (uint64_t)ver)
		return 0;
	op->res.id = 1;
	rc = store_db_query(
		db, &op->err, &q,
		"SELECT jid FROM roster_removed WHERE account = ?1 AND ver > ?2 ORDER BY ver",
		SV(sv_int(id), sv_int((int64_t)o->ver)));
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		o->jids = store_op_grow(op, o->jids, o->n, sizeof(*o->jids));
		o->jids[o->n++] = store_db_str(q, 0, op->arena);
	}
	return rc;
}

static void
roster_removed_reply(struct store_op *op)
{
	struct removed_op *o = (struct removed_op *)op;

	op->cb.strs(op->arg, &op->res, o->jids, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef roster_removed = {
	.name = "roster-removed",
	.run = roster_removed_run,
	.reply = roster_removed_reply,
};

void
store_roster_removed(struct store *st, struct td_str jid, uint64_t ver, struct td_loop *loop,
		     store_strs_cb *cb, void *arg)
{
	struct removed_op *o = store_op_new(st, &roster_removed, sizeof(*o), jid.len);

	o->jid = store_op_str(&o->op, jid);
	o->ver = ver;
	o->op.loop = loop;
	o->op.cb.strs = cb;
	o->op.arg = arg;
	store_op_key(&o->op, jid);
	store_op_submit(&o->op);
}
