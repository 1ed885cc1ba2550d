/* account - who may sign in: verifiers, the disabled flag, and who exists at all. */
#include "store/store.h"

#include <stdlib.h>
#include "gateway/base/log.h"
#include "store/op.h"

struct account_op {
	struct store_op op;
	struct store_account a; /* argument, or the answer of a get */
};

struct list_op {
	struct store_op op;
	struct td_str domain;
	struct td_str *jids;
	size_t n;
};

static void
wipe_account(struct store_op *op)
{
	struct account_op *o = (struct account_op *)op;

	td_wipe(&o->a.sha1, sizeof(o->a.sha1));
	td_wipe(&o->a.sha256, sizeof(o->a.sha256));
}

static struct td_str
domain_of(struct td_str jid)
{
	ptrdiff_t at = td_str_chr(jid, '@');

	return at < 0 ? jid : td_str(jid.p + at + 1, jid.len - (size_t)at - 1);
}

int
store_account_id(struct store_op *op, struct store_db *db, struct td_str jid, int64_t *id)
{
	int rc = store_db_int(db, &op->err, id, "SELECT id FROM accounts WHERE jid = ?1",
			      SV(sv_text(jid)));

	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no account %s", td_esc(jid));
	return rc < 0 ? rc : 0;
}

/* ---- get ---- */

/* Copy a blob column into an array of <cap> bytes; what does not fit cannot be ours. */
static size_t
col_bytes(sqlite3_stmt *q, int i, unsigned char *out, size_t cap)
{
	const void *p = sqlite3_column_blob(q, i);
	size_t n = (size_t)sqlite3_column_bytes(q, i);

	if (p == NULL || n > cap)
		return 0;
	memcpy(out, p, n);
	return n;
}

/* Columns i .. i + 3. */
static void
col_scram(sqlite3_stmt *q, int i, struct store_scram *s)
{
	s->iterations = (unsigned)sqlite3_column_int64(q, i);
	s->salt_len = col_bytes(q, i + 1, s->salt, sizeof(s->salt));
	s->key_len = col_bytes(q, i + 2, s->stored_key, sizeof(s->stored_key));
	if (col_bytes(q, i + 3, s->server_key, sizeof(s->server_key)) != s->key_len)
		s->key_len = 0;
}

static int
account_get_run(struct store_op *op, struct store_db *db)
{
	struct account_op *o = (struct account_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(
		db, &op->err, &q,
		"SELECT disabled, created, sha1_iter, sha1_salt, sha1_stored, sha1_server,"
		" sha256_iter, sha256_salt, sha256_stored, sha256_server, login, logins, counted"
		" FROM accounts WHERE jid = ?1",
		SV(sv_text(o->a.jid)));

	if (rc < 0 || (rc = store_db_next(db, &op->err, q)) < 0)
		return rc;
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such account");
	o->a.disabled = sqlite3_column_int64(q, 0) != 0;
	o->a.created = (uint64_t)sqlite3_column_int64(q, 1);
	col_scram(q, 2, &o->a.sha1);
	col_scram(q, 6, &o->a.sha256);
	o->a.never = sqlite3_column_type(q, 10) == SQLITE_NULL;
	o->a.login = (uint64_t)sqlite3_column_int64(q, 10);
	o->a.logins = (uint64_t)sqlite3_column_int64(q, 11);
	o->a.counted = sqlite3_column_type(q, 12) == SQLITE_NULL
			       ? o->a.created
			       : (uint64_t)sqlite3_column_int64(q, 12);
	return 0;
}

static void
account_get_reply(struct store_op *op)
{
	struct account_op *o = (struct account_op *)op;

	op->cb.account(op->arg, &op->res, op->res.rc == 0 ? &o->a : NULL);
}

static const struct store_opdef account_get = {
	.name = "account-get",
	.run = account_get_run,
	.reply = account_get_reply,
	.wipe = wipe_account,
};

void
store_account_get(struct store *st, struct td_str jid, struct td_loop *loop, store_account_cb *cb,
		  void *arg)
{
	struct account_op *o = store_op_new(st, &account_get, sizeof(*o), jid.len);

	o->a.jid = store_op_str(&o->op, jid);
	o->op.loop = loop;
	o->op.cb.account = cb;
	o->op.arg = arg;
	store_op_key(&o->op, jid);
	store_op_submit(&o->op);
}

/* ---- add, update, delete ---- */

static struct store_val
sv_bytes(const unsigned char *p, size_t n, bool there)
{
	if (!there)
		return (struct store_val){ .type = SV_NULL };
	return sv_blob(td_str((const char *)p, n));
}

#define SV_SCRAM(s)                                                                         \
	((s).key_len > 0 ? sv_int((s).iterations) : (struct store_val){ .type = SV_NULL }), \
		sv_bytes((s).salt, (s).salt_len, (s).key_len > 0),                          \
		sv_bytes((s).stored_key, (s).key_len, (s).key_len > 0),                     \
		sv_bytes((s).server_key, (s).key_len, (s).key_len > 0)

static bool
fits(const struct store_scram *s)
{
	return s->salt_len <= sizeof(s->salt) && s->key_len <= sizeof(s->stored_key);
}

int
store_account_insert(struct store_op *op, struct store_db *db, const struct store_account *a)
{
	uint64_t now = store_now(op->st);
	int rc;

	if (a->jid.len == 0 || !fits(&a->sha1) || !fits(&a->sha256))
		return td_fail(&op->err, TD_E_INVAL, "not an account");
	/* Roster versions start at the clock: an account made again under the same name never
	 * repeats a version that a client of the former one remembers. */
	rc = store_db_do(
		db, &op->err,
		"INSERT INTO accounts (jid, domain, disabled, created, roster_ver, roster_floor,"
		" sha1_iter, sha1_salt, sha1_stored, sha1_server,"
		" sha256_iter, sha256_salt, sha256_stored, sha256_server)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
		SV(sv_text(a->jid), sv_text(domain_of(a->jid)), sv_int(a->disabled),
		   sv_int((int64_t)(a->created != 0 ? a->created : now / 1000)),
		   sv_int((int64_t)now), SV_SCRAM(a->sha1), SV_SCRAM(a->sha256)));
	if (rc == TD_E_EXISTS)
		return td_fail(&op->err, rc, "the account exists already");
	if (rc < 0)
		return rc;
	op->res.id = (uint64_t)sqlite3_last_insert_rowid(store_db_handle(db));
	return store_db_do(db, &op->err, "DELETE FROM tombstones WHERE jid = ?1",
			   SV(sv_text(a->jid)));
}

static int
account_add_run(struct store_op *op, struct store_db *db)
{
	return store_account_insert(op, db, &((struct account_op *)op)->a);
}

static int
account_update_run(struct store_op *op, struct store_db *db)
{
	struct account_op *o = (struct account_op *)op;
	int rc;

	if (!fits(&o->a.sha1) || !fits(&o->a.sha256))
		return td_fail(&op->err, TD_E_INVAL, "not an account");
	rc = store_db_do(
		db, &op->err,
		"UPDATE accounts SET"
		" sha1_iter = ?2, sha1_salt = ?3, sha1_stored = ?4, sha1_server = ?5,"
		" sha256_iter = ?6, sha256_salt = ?7, sha256_stored = ?8, sha256_server = ?9"
		" WHERE jid = ?1",
		SV(sv_text(o->a.jid), SV_SCRAM(o->a.sha1), SV_SCRAM(o->a.sha256)));
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such account");
	if (rc > 0) /* whoever got one with the old password is out, too (XEP-0484 section 6) */
		rc = store_db_do(db, &op->err,
				 "DELETE FROM tokens WHERE account ="
				 " (SELECT id FROM accounts WHERE jid = ?1)",
				 SV(sv_text(o->a.jid)));
	return rc;
}

static int
account_delete_run(struct store_op *op, struct store_db *db)
{
	struct account_op *o = (struct account_op *)op;
	/* roster, messages, tokens and invitations go by foreign key */
	int rc = store_db_do(db, &op->err, "DELETE FROM accounts WHERE jid = ?1",
			     SV(sv_text(o->a.jid)));

	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such account");
	if (rc > 0)
		rc = store_db_do(db, &op->err, "DELETE FROM settings WHERE owner = ?1",
				 SV(sv_text(o->a.jid)));
	if (rc >= 0)
		rc = store_db_do(db, &op->err, "DELETE FROM threads WHERE account = ?1",
				 SV(sv_text(o->a.jid)));
	/* what the next one of that name must not inherit; a ban (0) stays */
	if (rc >= 0)
		rc = store_db_do(db, &op->err,
				 "DELETE FROM muc_affiliations WHERE jid = ?1 AND affiliation > 0",
				 SV(sv_text(o->a.jid)));
	if (rc >= 0)
		rc = store_db_do(
			db, &op->err, "INSERT OR REPLACE INTO tombstones VALUES (?1, ?2)",
			SV(sv_text(o->a.jid), sv_int((int64_t)(store_now(op->st) / 1000))));
	/* the rows go after their files */
	if (rc >= 0)
		rc = store_db_do(db, &op->err, "UPDATE uploads SET expires = 0 WHERE owner = ?1",
				 SV(sv_text(o->a.jid)));
	if (rc >= 0)
		rc = store_db_do(db, &op->err, "DELETE FROM ps_nodes WHERE owner = ?1",
				 SV(sv_text(o->a.jid)));
	return rc;
}

static const struct store_opdef account_add = {
	.name = "account-add",
	.write = true,
	.accounts = true,
	.run = account_add_run,
	.reply = store_op_reply,
	.wipe = wipe_account,
};

static const struct store_opdef account_update = {
	.name = "account-update",
	.write = true,
	.run = account_update_run,
	.reply = store_op_reply,
	.wipe = wipe_account,
};

static const struct store_opdef account_delete = {
	.name = "account-delete",
	.write = true,
	.accounts = true,
	.run = account_delete_run,
	.reply = store_op_reply,
};

static void
change(struct store *st, const struct store_opdef *def, const struct store_account *a,
       struct store_to to)
{
	struct account_op *o = store_op_new(st, def, sizeof(*o), a->jid.len);

	o->a = *a;
	o->a.jid = store_op_str(&o->op, a->jid);
	store_op_to(&o->op, to);
	store_op_key(&o->op, a->jid);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}

void
store_account_add(struct store *st, const struct store_account *a, struct store_to to)
{
	change(st, &account_add, a, to);
}

void
store_account_update(struct store *st, const struct store_account *a, struct store_to to)
{
	change(st, &account_update, a, to);
}

void
store_account_delete(struct store *st, struct td_str jid, struct store_to to)
{
	struct store_account a = { .jid = jid };

	change(st, &account_delete, &a, to);
}

/* ---- list ---- */

static int
account_list_run(struct store_op *op, struct store_db *db)
{
	struct list_op *o = (struct list_op *)op;
	sqlite3_stmt *q;
	int rc;

	o->n = 0;
	if (o->domain.p != NULL)
		rc = store_db_query(db, &op->err, &q,
				    "SELECT jid FROM accounts WHERE domain = ?1 ORDER BY jid",
				    SV(sv_text(o->domain)));
	else
		rc = store_db_query(db, &op->err, &q, "SELECT jid FROM accounts ORDER BY jid",
				    SV_NONE);
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		o->jids = store_op_grow(op, o->jids, o->n, sizeof(*o->jids));
		o->jids[o->n++] = store_db_str(q, 0, op->arena);
	}
	op->res.id = o->n;
	return rc;
}

static void
account_list_reply(struct store_op *op)
{
	struct list_op *o = (struct list_op *)op;

	op->cb.strs(op->arg, &op->res, o->jids, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef account_list = {
	.name = "account-list",
	.run = account_list_run,
	.reply = account_list_reply,
};

void
store_account_list(struct store *st, struct td_str domain, struct td_loop *loop, store_strs_cb *cb,
		   void *arg)
{
	struct list_op *o = store_op_new(st, &account_list, sizeof(*o), domain.len);

	o->domain = store_op_str(&o->op, domain);
	o->op.loop = loop;
	o->op.cb.strs = cb;
	o->op.arg = arg;
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}

/* ---- exists ---- */

static int
account_exists_run(struct store_op *op, struct store_db *db)
{
	struct account_op *o = (struct account_op *)op;
	int64_t one = 0;
	int rc = store_db_int(db, &op->err, &one, "SELECT 1 FROM accounts WHERE jid = ?1",
			      SV(sv_text(o->a.jid)));

	op->res.id = rc == 1;
	return rc;
}

static const struct store_opdef account_exists = {
	.name = "account-exists",
	.run = account_exists_run,
	.reply = store_op_reply,
};

int
store_account_exists_now(struct store *st, struct td_str jid)
{
	struct store_known *k = store_known_of(st);
	struct account_op *o;
	uint64_t gen;
	int rc = store_known_get(k, jid, &gen);

	if (rc >= 0)
		return rc;
	o = store_op_new(st, &account_exists, sizeof(*o), jid.len);
	o->a.jid = store_op_str(&o->op, jid);
	store_op_key(&o->op, jid);
	if ((rc = store_op_submit_wait(&o->op, store_patience(st), NULL)) < 0)
		return rc;
	rc = o->op.res.rc < 0 ? o->op.res.rc : (int)o->op.res.id;
	store_op_free(&o->op);
	if (rc >= 0)
		store_known_put(k, jid, rc == 1, gen);
	return rc;
}
