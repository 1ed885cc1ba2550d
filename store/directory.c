/* directory - the user directory: a row for each account that wants to be found. */
#include "store/directory.h"

#include "store/op.h"

struct dir_op {
	struct store_op op;
	struct store_dir_entry e;
	unsigned limit;
	struct store_dir_entry *found;
	size_t n;
};

static int
read_rows(struct dir_op *o, struct store_db *db, sqlite3_stmt *q, int rc)
{
	o->found = NULL;
	o->n = 0;
	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		struct store_dir_entry *e;

		o->found = store_op_grow(&o->op, o->found, o->n, sizeof(*o->found));
		e = &o->found[o->n++];
		e->jid = store_db_str(q, 0, o->op.arena);
		for (int i = 0; i < STORE_DIR_FIELDS; i++)
			e->fields[i] = store_db_str(q, i + 1, o->op.arena);
	}
	return rc;
}

static void
dir_reply(struct store_op *op)
{
	struct dir_op *o = (struct dir_op *)op;

	op->cb.directory(op->arg, &op->res, o->found, op->res.rc == 0 ? o->n : 0);
}

/* ---- one ---- */

static int
get_run(struct store_op *op, struct store_db *db)
{
	struct dir_op *o = (struct dir_op *)op;
	sqlite3_stmt *q;
	int rc =
		store_db_query(db, &op->err, &q,
			       "SELECT jid, first, last, nick, email FROM directory WHERE jid = ?1",
			       SV(sv_text(o->e.jid)));

	return read_rows(o, db, q, rc);
}

static int
set_run(struct store_op *op, struct store_db *db)
{
	struct dir_op *o = (struct dir_op *)op;
	const struct td_str *f = o->e.fields;
	int64_t id;
	int rc = store_account_id(op, db, o->e.jid, &id);

	if (rc < 0)
		return rc;
	return store_db_do(
		db, &op->err,
		"INSERT INTO directory (jid, first, last, nick, email)"
		" VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (jid) DO UPDATE SET"
		" first = ?2, last = ?3, nick = ?4, email = ?5",
		SV(sv_text(o->e.jid), sv_text(f[0]), sv_text(f[1]), sv_text(f[2]), sv_text(f[3])));
}

static int
delete_run(struct store_op *op, struct store_db *db)
{
	return store_db_do(db, &op->err, "DELETE FROM directory WHERE jid = ?1",
			   SV(sv_text(((struct dir_op *)op)->e.jid)));
}

/* ---- many ---- */

/* What LIKE takes: '*' is its '%', and its own signs mean themselves. */
static struct td_str
pattern(struct store_op *op, struct td_str s)
{
	struct td_buf b = { 0 };
	struct td_str out;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '%' || s.p[i] == '_' || s.p[i] == '\\')
			td_buf_addc(&b, '\\');
		td_buf_addc(&b, s.p[i] == '*' ? '%' : s.p[i]);
	}
	if (s.len == 0)
		td_buf_addc(&b, '%');
	out = td_arena_str(op->arena, td_buf_str(&b));
	td_buf_fini(&b);
	return out;
}

static int
find_run(struct store_op *op, struct store_db *db)
{
	struct dir_op *o = (struct dir_op *)op;
	struct td_str like[STORE_DIR_FIELDS];
	sqlite3_stmt *q;
	int rc;

	for (size_t i = 0; i < STORE_DIR_FIELDS; i++)
		like[i] = pattern(op, o->e.fields[i]);
	rc = store_db_query(db, &op->err, &q,
			    "SELECT jid, first, last, nick, email FROM directory"
			    " WHERE first LIKE ?1 ESCAPE '\\' AND last LIKE ?2 ESCAPE '\\'"
			    " AND nick LIKE ?3 ESCAPE '\\' AND email LIKE ?4 ESCAPE '\\'"
			    " ORDER BY jid LIMIT ?5",
			    SV(sv_text(like[0]), sv_text(like[1]), sv_text(like[2]),
			       sv_text(like[3]), sv_int(o->limit)));
	return read_rows(o, db, q, rc);
}

/* ---- calls ---- */

static const struct store_opdef dir_get = { .name = "directory-get",
					    .run = get_run,
					    .reply = dir_reply };
static const struct store_opdef dir_find = { .name = "directory-find",
					     .run = find_run,
					     .reply = dir_reply };
static const struct store_opdef dir_set = {
	.name = "directory-set", .write = true, .run = set_run, .reply = store_op_reply
};
static const struct store_opdef dir_delete = {
	.name = "directory-delete", .write = true, .run = delete_run, .reply = store_op_reply
};

static struct dir_op *
dir_op_new(struct store *st, const struct store_opdef *def, const struct store_dir_entry *e)
{
	size_t extra = e->jid.len;
	struct dir_op *o;

	for (size_t i = 0; i < STORE_DIR_FIELDS; i++)
		extra += e->fields[i].len;
	o = store_op_new(st, def, sizeof(*o), extra);
	o->e.jid = store_op_str(&o->op, e->jid);
	for (size_t i = 0; i < STORE_DIR_FIELDS; i++)
		o->e.fields[i] =
			e->fields[i].len > 0 ? store_op_str(&o->op, e->fields[i]) : TD_STR("");
	if (e->jid.len > 0)
		store_op_key(&o->op, e->jid);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	return o;
}

void
store_dir_get(struct store *st, struct td_str jid, struct td_loop *loop, store_dir_cb *cb,
	      void *arg)
{
	struct dir_op *o = dir_op_new(st, &dir_get, &(struct store_dir_entry){ .jid = jid });

	o->op.loop = loop;
	o->op.cb.directory = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

void
store_dir_set(struct store *st, const struct store_dir_entry *e, struct store_to to)
{
	struct dir_op *o = dir_op_new(st, &dir_set, e);

	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_dir_delete(struct store *st, struct td_str jid, struct store_to to)
{
	struct dir_op *o = dir_op_new(st, &dir_delete, &(struct store_dir_entry){ .jid = jid });

	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_dir_find(struct store *st, const struct store_dir_entry *like, unsigned limit,
	       struct td_loop *loop, store_dir_cb *cb, void *arg)
{
	struct dir_op *o = dir_op_new(st, &dir_find, like);

	o->limit = limit;
	o->op.loop = loop;
	o->op.cb.directory = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}
