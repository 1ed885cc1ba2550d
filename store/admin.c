/* admin - what administrators set (store/admin.h). */
#include "store/admin.h"

#include "store/op.h"

struct admin_op {
	struct store_op op;
	struct td_str name; /* JID of an account, or a domain */
	struct td_str mark, text;
	enum store_text kind;
	bool flag;
	unsigned max;
	struct td_str *strs; /* an argument, or the answer */
	size_t n;
	struct store_admin_row *rows;
};

/* ---- accounts ---- */

static int
disable_run(struct store_op *op, struct store_db *db)
{
	struct admin_op *o = (struct admin_op *)op;
	int rc = store_db_do(db, &op->err, "UPDATE accounts SET disabled = ?2 WHERE jid = ?1",
			     SV(sv_text(o->name), sv_int(o->flag)));

	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such account");
	if (rc > 0 && o->flag)
		rc = store_db_do(db, &op->err,
				 "DELETE FROM tokens WHERE account ="
				 " (SELECT id FROM accounts WHERE jid = ?1)",
				 SV(sv_text(o->name)));
	return rc < 0 ? rc : 0;
}

static int
login_run(struct store_op *op, struct store_db *db)
{
	struct admin_op *o = (struct admin_op *)op;

	return store_db_do(db, &op->err,
			   "UPDATE accounts SET login = ?2, logins = logins + 1 WHERE jid = ?1",
			   SV(sv_text(o->name), sv_int((int64_t)(store_now(op->st) / 1000))));
}

static int
page_run(struct store_op *op, struct store_db *db)
{
	struct admin_op *o = (struct admin_op *)op;
	int64_t total = 0;
	sqlite3_stmt *q;
	int rc = o->flag ? store_db_int(db, &op->err, &total,
					"SELECT count(*) FROM accounts"
					" WHERE domain = ?1 AND disabled != 0",
					SV(sv_text(o->name)))
			 : store_db_int(db, &op->err, &total,
					"SELECT count(*) FROM accounts WHERE domain = ?1",
					SV(sv_text(o->name)));

	o->n = 0;
	if (rc >= 0)
		rc = store_db_query(
			db, &op->err, &q,
			"SELECT jid FROM accounts WHERE domain = ?1 AND jid > ?2"
			" AND (?3 = 0 OR disabled != 0) ORDER BY jid LIMIT ?4",
			SV(sv_text(o->name), sv_text(o->text), sv_int(o->flag), sv_int(o->max)));
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		o->strs = store_op_grow(op, o->strs, o->n, sizeof(*o->strs));
		o->strs[o->n++] = store_db_str(q, 0, op->arena);
	}
	op->res.id = (uint64_t)total;
	return rc;
}

static void
page_reply(struct store_op *op)
{
	struct admin_op *o = (struct admin_op *)op;

	op->cb.strs(op->arg, &op->res, o->strs, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef disable_def = {
	.name = "account-disable",
	.write = true,
	.run = disable_run,
	.reply = store_op_reply,
};
static const struct store_opdef login_def = {
	.name = "account-login",
	.write = true,
	.run = login_run,
	.reply = store_op_reply,
};
static const struct store_opdef page_def = {
	.name = "account-page",
	.run = page_run,
	.reply = page_reply,
};

static struct admin_op *
admin_op_new(struct store *st, const struct store_opdef *def, struct td_str name,
	     struct td_str mark, struct td_str text)
{
	struct admin_op *o = store_op_new(st, def, sizeof(*o), name.len + mark.len + text.len);

	o->name = store_op_str(&o->op, name);
	o->mark = store_op_str(&o->op, mark);
	o->text = store_op_str(&o->op, text);
	store_op_key(&o->op, name);
	return o;
}

void
store_account_disable(struct store *st, struct td_str jid, bool disabled, struct store_to to)
{
	struct admin_op *o = admin_op_new(st, &disable_def, jid, TD_STR_NULL, TD_STR_NULL);

	o->flag = disabled;
	store_op_to(&o->op, to);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}

void
store_account_login(struct store *st, struct td_str jid, struct store_to to)
{
	struct admin_op *o = admin_op_new(st, &login_def, jid, TD_STR_NULL, TD_STR_NULL);

	store_op_to(&o->op, to);
	o->op.lazy_ms = to.cb == NULL ? STORE_LAZY_MS : 0;
	store_op_submit(&o->op);
}

void
store_account_page(struct store *st, struct td_str domain, bool disabled, struct td_str after,
		   unsigned max, struct td_loop *loop, store_strs_cb *cb, void *arg)
{
	struct admin_op *o = admin_op_new(st, &page_def, domain, TD_STR_NULL, after);

	o->flag = disabled;
	o->max = max;
	o->op.loop = loop;
	o->op.cb.strs = cb;
	o->op.arg = arg;
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}

/* ---- what belongs to a domain ---- */

static struct store_admin_row *
add_row(struct admin_op *o)
{
	o->rows = store_op_grow(&o->op, o->rows, o->n, sizeof(*o->rows));
	o->rows[o->n] = (struct store_admin_row){ 0 };
	return &o->rows[o->n++];
}

static int
load_run(struct store_op *op, struct store_db *db)
{
	struct admin_op *o = (struct admin_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q,
				"SELECT domain, jid FROM admins ORDER BY domain, jid", SV_NONE);

	o->n = 0;
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		struct store_admin_row *row = add_row(o);

		row->domain = store_db_str(q, 0, op->arena);
		row->admin = store_db_str(q, 1, op->arena);
	}
	if (rc >= 0)
		rc = store_db_query(db, &op->err, &q,
				    "SELECT domain, kind, mark, text FROM domain_texts", SV_NONE);
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		int kind = sqlite3_column_int(q, 1);
		struct store_admin_row *row;

		if (kind < 0 || kind >= STORE_TEXTS)
			continue;
		row = add_row(o);
		row->domain = store_db_str(q, 0, op->arena);
		row->kind = (enum store_text)kind;
		row->mark = store_db_str(q, 2, op->arena);
		row->text = store_db_str(q, 3, op->arena);
	}
	return rc;
}

static void
load_reply(struct store_op *op)
{
	struct admin_op *o = (struct admin_op *)op;

	((store_admin_cb *)op->cb.any)(op->arg, &op->res, o->rows, op->res.rc == 0 ? o->n : 0);
}

static int
admins_run(struct store_op *op, struct store_db *db)
{
	struct admin_op *o = (struct admin_op *)op;
	int rc = store_db_do(db, &op->err, "DELETE FROM admins WHERE domain = ?1",
			     SV(sv_text(o->name)));

	for (size_t i = 0; i < o->n && rc >= 0; i++)
		rc = store_db_do(db, &op->err, "INSERT OR IGNORE INTO admins VALUES (?1, ?2)",
				 SV(sv_text(o->name), sv_text(o->strs[i])));
	return rc < 0 ? rc : 0;
}

static int
text_run(struct store_op *op, struct store_db *db)
{
	struct admin_op *o = (struct admin_op *)op;
	struct store_val domain = sv_text(o->name), kind = sv_int(o->kind);
	int rc =
		o->text.p != NULL
			? store_db_do(db, &op->err,
				      "INSERT OR REPLACE INTO domain_texts VALUES (?1, ?2, ?3, ?4)",
				      SV(domain, kind, sv_text(o->mark), sv_text(o->text)))
			: store_db_do(db, &op->err,
				      "DELETE FROM domain_texts WHERE domain = ?1 AND kind = ?2",
				      SV(domain, kind));

	/* who has seen a message that is no more */
	if (rc >= 0 && o->kind == STORE_TEXT_MOTD)
		rc = store_db_do(db, &op->err,
				 "DELETE FROM settings WHERE key = '+motd' AND value != ?2"
				 " AND substr(owner, -length(?1) - 1) = '@' || ?1",
				 SV(domain, sv_blob(o->text.p != NULL ? o->mark : TD_STR(""))));
	return rc < 0 ? rc : 0;
}

static const struct store_opdef load_def = {
	.name = "admin-load",
	.run = load_run,
	.reply = load_reply,
};
static const struct store_opdef admins_def = {
	.name = "admins-set",
	.write = true,
	.run = admins_run,
	.reply = store_op_reply,
};
static const struct store_opdef text_def = {
	.name = "domain-text",
	.write = true,
	.run = text_run,
	.reply = store_op_reply,
};

void
store_admin_load(struct store *st, struct td_loop *loop, store_admin_cb *cb, void *arg)
{
	struct admin_op *o = admin_op_new(st, &load_def, TD_STR(""), TD_STR_NULL, TD_STR_NULL);

	o->op.loop = loop;
	o->op.cb.any = (void (*)(void))cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

void
store_admins_set(struct store *st, struct td_str domain, const struct td_str *jids, size_t n,
		 struct store_to to)
{
	struct admin_op *o = admin_op_new(st, &admins_def, domain, TD_STR_NULL, TD_STR_NULL);

	o->strs = td_arena_alloc(o->op.arena, (n > 0 ? n : 1) * sizeof(*o->strs));
	for (size_t i = 0; i < n; i++)
		o->strs[i] = store_op_str(&o->op, jids[i]);
	o->n = n;
	store_op_to(&o->op, to);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}

void
store_domain_text(struct store *st, struct td_str domain, enum store_text kind, struct td_str mark,
		  struct td_str text, struct store_to to)
{
	struct admin_op *o = admin_op_new(st, &text_def, domain, mark, text);

	o->kind = kind;
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}
