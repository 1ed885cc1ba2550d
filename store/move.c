/* move - accounts from elsewhere: the row, and all kinds of what belongs to it, in one transaction.
 *
 * The setting "moving" marks an account that is being made; its value says whether it is to be disabled in the end. */
#include "store/move.h"

#include "store/op.h"

#define MARK "moving"

struct move_op {
	struct store_op op;
	struct store_move m;
	struct store_move_part *parts;
	int64_t id;  /* of the account */
	int64_t ver; /* its roster's */
};

/* ---- the account ---- */

static int
set_mark(struct move_op *o, struct store_db *db)
{
	return store_db_do(db, &o->op.err,
			   "INSERT OR REPLACE INTO settings (owner, key, value)"
			   " VALUES (?1, '" MARK "', ?2)",
			   SV(sv_text(o->m.account.jid),
			      sv_text(o->m.account.disabled ? TD_STR("1") : TD_STR("0"))));
}

/* 1 = being made (*disabled: how it will be), 0 = not. */
static int
get_mark(struct move_op *o, struct store_db *db, bool *disabled)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT value FROM settings WHERE owner = ?1 AND key = '" MARK "'",
				SV(sv_text(o->m.account.jid)));

	if (rc < 0 || (rc = store_db_next(db, &o->op.err, q)) <= 0)
		return rc;
	*disabled = td_str_eqc(store_db_str(q, 0, o->op.arena), "1");
	return 1;
}

static struct store_val
sv_key(const unsigned char *p, size_t n, size_t key_len)
{
	return key_len > 0 ? sv_blob(td_str((const char *)p, n))
			   : (struct store_val){ .type = SV_NULL };
}

#define SV_SCRAM(s)                                                                         \
	((s).key_len > 0 ? sv_int((s).iterations) : (struct store_val){ .type = SV_NULL }), \
		sv_key((s).salt, (s).salt_len, (s).key_len),                                \
		sv_key((s).stored_key, (s).key_len, (s).key_len),                           \
		sv_key((s).server_key, (s).key_len, (s).key_len)

/* What belongs to the account goes; its row stays, and with it what others know of it. */
static int
clear(struct move_op *o, struct store_db *db, bool disabled)
{
	const struct store_account *a = &o->m.account;
	struct td_err *err = &o->op.err;
	int rc = store_db_do(db, err, "DELETE FROM roster WHERE account = ?1", SV(sv_int(o->id)));

	if (rc >= 0)
		rc = store_db_do(db, err, "DELETE FROM roster_removed WHERE account = ?1",
				 SV(sv_int(o->id)));
	if (rc >= 0)
		rc = store_db_do(db, err, "DELETE FROM messages WHERE account = ?1",
				 SV(sv_int(o->id)));
	if (rc >= 0)
		rc = store_db_do(db, err, "DELETE FROM tokens WHERE account = ?1",
				 SV(sv_int(o->id)));
	if (rc >= 0)
		rc = store_db_do(db, err, "DELETE FROM settings WHERE owner = ?1",
				 SV(sv_text(a->jid)));
	if (rc >= 0)
		rc = store_db_do(db, err, "DELETE FROM ps_nodes WHERE owner = ?1",
				 SV(sv_text(a->jid)));
	if (rc >= 0)
		rc = store_db_do(
			db, err,
			"UPDATE accounts SET disabled = ?2, roster_ver = max(roster_ver, ?3),"
			" roster_floor = max(roster_ver, ?3) WHERE id = ?1",
			SV(sv_int(o->id), sv_int(disabled), sv_int((int64_t)store_now(o->op.st))));
	return rc;
}

/* The end: its verifiers, when there are any. */
static int
set_verifiers(struct move_op *o, struct store_db *db)
{
	const struct store_account *a = &o->m.account;

	if (a->sha1.key_len == 0 && a->sha256.key_len == 0)
		return 0;
	return store_db_do(
		db, &o->op.err,
		"UPDATE accounts SET"
		" sha1_iter = ?2, sha1_salt = ?3, sha1_stored = ?4, sha1_server = ?5,"
		" sha256_iter = ?6, sha256_salt = ?7, sha256_stored = ?8, sha256_server = ?9"
		" WHERE id = ?1",
		SV(sv_int(o->id), SV_SCRAM(a->sha1), SV_SCRAM(a->sha256)));
}

static int
check_archive(struct move_op *o, struct store_db *db)
{
	int64_t one = 0;
	int rc = store_archive_sort(&o->op, db);

	if (rc >= 0)
		rc = store_db_int(db, &o->op.err, &one,
				  "SELECT 1 FROM archive WHERE owner ="
				  " (SELECT id FROM archive_jids WHERE jid = ?1) LIMIT 1",
				  SV(sv_text(o->m.account.jid)));

	return rc == 1 ? td_fail(&o->op.err, TD_E_LIMIT, "it has an archive") : rc;
}

/* There is one of that name, made (<mark> 0) or half made. */
static int
begin_again(struct move_op *o, struct store_db *db, bool disabled, int mark)
{
	int rc;

	if (mark == 0 && !o->m.replace)
		return td_fail(&o->op.err, TD_E_EXISTS, "the account exists already");
	rc = check_archive(o, db);
	if (rc >= 0)
		rc = clear(o, db, disabled);
	if (rc >= 0 && o->m.end)
		rc = set_verifiers(o, db);
	o->op.res.id = mark == 0;
	return rc;
}

static int
begin(struct move_op *o, struct store_db *db)
{
	struct store_account a = o->m.account;
	bool ignored;
	int rc, mark;

	if ((mark = get_mark(o, db, &ignored)) < 0)
		return mark;
	a.disabled = a.disabled || !o->m.end;
	rc = store_account_id(&o->op, db, a.jid, &o->id);
	if (rc == TD_E_NOTFOUND) {
		rc = store_account_insert(&o->op, db, &a);
		o->id = (int64_t)o->op.res.id;
		o->op.res.id = 0;
	} else if (rc == 0) {
		rc = begin_again(o, db, a.disabled, mark);
	}
	return rc >= 0 && !o->m.end ? set_mark(o, db) : rc;
}

/* Go on with an account, or end it. */
static int
go_on(struct move_op *o, struct store_db *db)
{
	bool disabled = false;
	int rc = get_mark(o, db, &disabled);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return td_fail(&o->op.err, TD_E_DENIED, "the account is not being made");
	if ((rc = store_account_id(&o->op, db, o->m.account.jid, &o->id)) < 0 || !o->m.end)
		return rc;
	rc = store_db_do(db, &o->op.err,
			 "DELETE FROM settings WHERE owner = ?1 AND key = '" MARK "'",
			 SV(sv_text(o->m.account.jid)));
	if (rc >= 0)
		rc = store_db_do(db, &o->op.err, "UPDATE accounts SET disabled = ?2 WHERE id = ?1",
				 SV(sv_int(o->id), sv_int(disabled)));
	return rc < 0 ? rc : set_verifiers(o, db);
}

/* ---- the parts ---- */

/* Each change of a roster has a version of its own, as when the owner makes it. */
static int
next_version(struct move_op *o, struct store_db *db)
{
	int rc = store_db_do(db, &o->op.err,
			     "UPDATE accounts SET roster_ver = roster_ver + 1 WHERE id = ?1",
			     SV(sv_int(o->id)));

	if (rc >= 0)
		rc = store_db_int(db, &o->op.err, &o->ver,
				  "SELECT roster_ver FROM accounts WHERE id = ?1",
				  SV(sv_int(o->id)));
	return rc;
}

static int
put_contact(struct move_op *o, struct store_db *db, const struct store_contact *c)
{
	struct td_err *err = &o->op.err;
	int rc = next_version(o, db);

	if (rc >= 0)
		rc = store_db_do(db, err,
				 "INSERT INTO roster (account, jid, name, sub, flags, ver)"
				 " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
				 " ON CONFLICT (account, jid) DO UPDATE SET name = ?3, sub = ?4,"
				 " flags = ?5 | (flags & 2), ver = ?6",
				 SV(sv_int(o->id), sv_text(c->jid), sv_opt(c->name), sv_int(c->sub),
				    sv_int(c->flags), sv_int(o->ver)));
	if (rc >= 0)
		rc = store_db_do(db, err,
				 "DELETE FROM roster_groups WHERE account = ?1 AND jid = ?2",
				 SV(sv_int(o->id), sv_text(c->jid)));
	for (size_t i = 0; rc >= 0 && i < c->n_groups; i++)
		rc = store_db_do(db, err,
				 "INSERT INTO roster_groups (account, jid, pos, name)"
				 " VALUES (?1, ?2, ?3, ?4)",
				 SV(sv_int(o->id), sv_text(c->jid), sv_int((int64_t)i),
				    sv_text(c->groups[i])));
	return rc;
}

static int
put_pending(struct move_op *o, struct store_db *db, const struct store_contact *c)
{
	_Static_assert(STORE_ROSTER_PENDING_IN == 2, "as in the statements");
	return store_db_do(
		db, &o->op.err,
		"INSERT INTO roster (account, jid, sub, flags, ver, stanza)"
		" VALUES (?1, ?2, 0, ?3, (SELECT roster_ver FROM accounts WHERE id = ?1), ?4)"
		" ON CONFLICT (account, jid) DO UPDATE SET flags = flags | 2, stanza = ?4",
		SV(sv_int(o->id), sv_text(c->jid),
		   sv_int(STORE_ROSTER_PENDING_IN | STORE_ROSTER_HIDDEN),
		   sv_text(c->pending_stanza)));
}

static int
put_node(struct move_op *o, struct store_db *db, const struct store_move_part *p)
{
	struct store_ps_change c = { .verb = PS_NODE_ADD, .node = p->key, .value = p->value };
	int64_t have = 0;
	int rc = store_db_int(db, &o->op.err, &have,
			      "SELECT 1 FROM ps_nodes WHERE owner = ?1 AND name = ?2",
			      SV(sv_text(o->m.account.jid), sv_text(p->key)));

	if (rc < 0 || (rc == 1 && p->kind == MV_NODE_DEFAULT))
		return rc;
	if (rc == 1)
		c.verb = PS_NODE_SET;
	return store_ps_run(&o->op, db, o->m.account.jid, &c);
}

static int
put_item(struct move_op *o, struct store_db *db, const struct store_ps_change *c)
{
	int64_t have = 0;
	int rc = store_db_int(db, &o->op.err, &have,
			      "SELECT 1 FROM ps_items WHERE id = ?3 AND node ="
			      " (SELECT id FROM ps_nodes WHERE owner = ?1 AND name = ?2)",
			      SV(sv_text(o->m.account.jid), sv_text(c->node), sv_text(c->key)));

	return rc != 0 ? rc : store_ps_run(&o->op, db, o->m.account.jid, c);
}

static int
put_part(struct move_op *o, struct store_db *db, const struct store_move_part *p)
{
	struct store_archived row;
	uint64_t id;

	switch (p->kind) {
	case MV_CONTACT: return put_contact(o, db, &p->contact);
	case MV_PENDING: return put_pending(o, db, &p->contact);
	case MV_MESSAGE: return store_message_insert(&o->op, db, o->id, p->value, p->when, 0, &id);
	case MV_SETTING:
		return store_db_do(
			db, &o->op.err,
			"INSERT OR REPLACE INTO settings (owner, key, value)"
			" VALUES (?1, ?2, ?3)",
			SV(sv_text(o->m.account.jid), sv_text(p->key), sv_blob(p->value)));
	case MV_NODE:
	case MV_NODE_DEFAULT: return put_node(o, db, p);
	case MV_PUBSUB: return store_ps_run(&o->op, db, o->m.account.jid, &p->ps);
	case MV_ITEM_DEFAULT: return put_item(o, db, &p->ps);
	case MV_ARCHIVED:
		row = p->archived;
		row.owner = o->m.account.jid;
		return store_archive_insert_at(&o->op, db, &row, p->when);
	}
	return td_fail(&o->op.err, TD_E_INVAL, "no such part");
}

static int
move_run(struct store_op *op, struct store_db *db)
{
	struct move_op *o = (struct move_op *)op;
	int rc = o->m.begin ? begin(o, db) : go_on(o, db);

	for (size_t i = 0; rc >= 0 && i < o->m.n; i++)
		rc = put_part(o, db, &o->parts[i]);
	return rc < 0 ? rc : 0;
}

static void
move_wipe(struct store_op *op)
{
	struct move_op *o = (struct move_op *)op;

	td_wipe(&o->m.account.sha1, sizeof(o->m.account.sha1));
	td_wipe(&o->m.account.sha256, sizeof(o->m.account.sha256));
}

static const struct store_opdef move_put = {
	.name = "move-put",
	.write = true,
	.accounts = true,
	.run = move_run,
	.reply = store_op_reply,
	.wipe = move_wipe,
};

/* ---- copying ---- */

static void
copy_part(struct store_op *op, struct store_move_part *to, const struct store_move_part *p)
{
	struct td_str *groups;

	*to = *p;
	to->key = store_op_str(op, p->key);
	to->value = store_op_str(op, p->value);
	switch (p->kind) {
	case MV_CONTACT:
	case MV_PENDING:
		to->contact.jid = store_op_str(op, p->contact.jid);
		to->contact.name = store_op_str(op, p->contact.name);
		to->contact.pending_stanza = store_op_str(op, p->contact.pending_stanza);
		groups = td_arena_alloc(op->arena, (p->contact.n_groups + 1) * sizeof(*groups));
		for (size_t i = 0; i < p->contact.n_groups; i++)
			groups[i] = store_op_str(op, p->contact.groups[i]);
		to->contact.groups = groups;
		break;
	case MV_PUBSUB:
	case MV_ITEM_DEFAULT:
		to->ps.node = store_op_str(op, p->ps.node);
		to->ps.key = store_op_str(op, p->ps.key);
		to->ps.who = store_op_str(op, p->ps.who);
		to->ps.value = store_op_str(op, p->ps.value);
		break;
	case MV_ARCHIVED:
		to->archived.peer = store_op_str(op, p->archived.peer);
		to->archived.resource = store_op_str(op, p->archived.resource);
		to->archived.stanza = store_op_str(op, p->archived.stanza);
		break;
	case MV_MESSAGE:
	case MV_SETTING:
	case MV_NODE:
	case MV_NODE_DEFAULT: break;
	}
}

void
store_move_put(struct store *st, const struct store_move *m, struct store_to to)
{
	struct move_op *o = store_op_new(st, &move_put, sizeof(*o),
					 m->account.jid.len + m->n * (sizeof(*m->parts) + 64));

	o->m = *m;
	o->m.account.jid = store_op_str(&o->op, m->account.jid);
	o->parts = td_arena_alloc(o->op.arena, (m->n + 1) * sizeof(*o->parts));
	for (size_t i = 0; i < m->n; i++)
		copy_part(&o->op, &o->parts[i], &m->parts[i]);
	o->m.parts = o->parts;
	store_op_to(&o->op, to);
	store_op_key(&o->op, m->account.jid);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}
