/* upload - rows of slots and files. */
#include "store/upload.h"

#include "store/op.h"

#define DAY_MS INT64_C(86400000)

struct upload_op {
	struct store_op op;
	struct store_upload u; /* argument, or the answer */
	struct store_upload_limits lim;
	bool there;
	unsigned max;
	struct store_upload *list;
	struct td_str *ids;
	size_t n;
};

#define COLUMNS "id, service, owner, name, type, size, state, made, expires, keep_ms"

static struct store_upload
read_row(sqlite3_stmt *q, struct td_arena *a)
{
	return (struct store_upload){
		.id = store_db_str(q, 0, a),
		.service = store_db_str(q, 1, a),
		.owner = store_db_str(q, 2, a),
		.name = store_db_str(q, 3, a),
		.type = store_db_str(q, 4, a),
		.size = (uint64_t)sqlite3_column_int64(q, 5),
		.state = sqlite3_column_int(q, 6),
		.made = sqlite3_column_int64(q, 7),
		.expires = sqlite3_column_int64(q, 8),
		.keep_ms = sqlite3_column_int64(q, 9),
	};
}

static int
full(struct store_op *op, int64_t retry)
{
	op->res.id = retry > 0 && retry < STORE_UPLOAD_NEVER ? (uint64_t)retry : 0;
	return td_fail(&op->err, TD_E_FULL, "quota reached");
}

/* When enough of what the account has goes that <need> bytes fit; first column: when, second: bytes. */
static int
retry_at(struct store_op *op, struct store_db *db, sqlite3_stmt *q, uint64_t need)
{
	uint64_t freed = 0;
	int64_t when = 0;
	int rc;

	while ((rc = store_db_next(db, &op->err, q)) == 1 && freed < need) {
		when = sqlite3_column_int64(q, 0);
		freed += (uint64_t)sqlite3_column_int64(q, 1);
	}
	return rc < 0 ? rc : full(op, freed >= need ? when : 0);
}

static int
check_quota(struct upload_op *o, struct store_db *db, int64_t now)
{
	struct store_val owner = sv_text(o->u.owner);
	sqlite3_stmt *q;
	int64_t used = 0;
	int rc;

	if (o->lim.quota > 0) {
		rc = store_db_int(db, &o->op.err, &used,
				  "SELECT coalesce(sum(size), 0) FROM uploads"
				  " WHERE owner = ?1 AND expires > ?2",
				  SV(owner, sv_int(now)));
		if (rc < 0)
			return rc;
		if ((uint64_t)used + o->u.size > o->lim.quota) {
			rc = store_db_query(db, &o->op.err, &q,
					    "SELECT expires, size FROM uploads"
					    " WHERE owner = ?1 AND expires > ?2 ORDER BY expires",
					    SV(owner, sv_int(now)));
			return rc < 0 ? rc
				      : retry_at(&o->op, db, q,
						 (uint64_t)used + o->u.size - o->lim.quota);
		}
	}
	if (o->lim.daily == 0)
		return 0;
	/* what expired or was never used counts too */
	rc = store_db_int(db, &o->op.err, &used,
			  "SELECT coalesce(sum(size), 0) FROM uploads"
			  " WHERE owner = ?1 AND made > ?2",
			  SV(owner, sv_int(now - DAY_MS)));
	if (rc < 0 || (uint64_t)used + o->u.size <= o->lim.daily)
		return rc < 0 ? rc : 0;
	rc = store_db_query(db, &o->op.err, &q,
			    "SELECT made + 86400000, size FROM uploads"
			    " WHERE owner = ?1 AND made > ?2 ORDER BY made",
			    SV(owner, sv_int(now - DAY_MS)));
	return rc < 0 ? rc : retry_at(&o->op, db, q, (uint64_t)used + o->u.size - o->lim.daily);
}

static int
add_run(struct store_op *op, struct store_db *db)
{
	struct upload_op *o = (struct upload_op *)op;
	const struct store_upload *u = &o->u;
	int64_t now = (int64_t)store_now(op->st), n = 0, first = 0;
	int rc;

	rc = store_db_int(db, &op->err, &n,
			  "SELECT count(*) FROM uploads"
			  " WHERE owner = ?1 AND state < 2 AND expires > ?2",
			  SV(sv_text(u->owner), sv_int(now)));
	if (rc < 0)
		return rc;
	if (o->lim.slots > 0 && n >= (int64_t)o->lim.slots) {
		rc = store_db_int(db, &op->err, &first,
				  "SELECT min(expires) FROM uploads"
				  " WHERE owner = ?1 AND state < 2 AND expires > ?2",
				  SV(sv_text(u->owner), sv_int(now)));
		return rc < 0 ? rc : full(op, first);
	}
	rc = check_quota(o, db, now);
	if (rc < 0)
		return rc;
	rc = store_db_do(db, &op->err,
			 "INSERT INTO uploads (" COLUMNS ")"
			 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9)",
			 SV(sv_text(u->id), sv_text(u->service), sv_text(u->owner),
			    sv_text(u->name), sv_text(u->type), sv_int((int64_t)u->size),
			    sv_int(now), sv_int(u->expires), sv_int(u->keep_ms)));
	return rc < 0 ? rc : 0;
}

static int
find(struct upload_op *o, struct store_db *db, int state)
{
	sqlite3_stmt *q;
	int rc = store_db_query(
		db, &o->op.err, &q,
		"SELECT " COLUMNS " FROM uploads"
		" WHERE id = ?1 AND state = ?2 AND expires > ?3",
		SV(sv_text(o->u.id), sv_int(state), sv_int((int64_t)store_now(o->op.st))));

	if (rc < 0 || (rc = store_db_next(db, &o->op.err, q)) < 0)
		return rc;
	if (rc == 0)
		return td_fail(&o->op.err, TD_E_NOTFOUND, "no such upload");
	o->list = td_arena_alloc(o->op.arena, sizeof(*o->list));
	o->list[0] = read_row(q, o->op.arena);
	o->n = 1;
	return 0;
}

static int
take_run(struct store_op *op, struct store_db *db)
{
	struct upload_op *o = (struct upload_op *)op;
	int rc = find(o, db, UPLOAD_SLOT);

	if (rc == 0)
		rc = store_db_do(db, &op->err,
				 "UPDATE uploads SET state = 1, expires = ?2 WHERE id = ?1",
				 SV(sv_text(o->u.id),
				    sv_int((int64_t)store_now(op->st) + STORE_UPLOAD_BUSY_MS)));
	return rc < 0 ? rc : 0;
}

static int
get_run(struct store_op *op, struct store_db *db)
{
	return find((struct upload_op *)op, db, UPLOAD_THERE);
}

static int
end_run(struct store_op *op, struct store_db *db)
{
	struct upload_op *o = (struct upload_op *)op;
	struct store_val id = sv_text(o->u.id), now = sv_int((int64_t)store_now(op->st));
	int rc;

	if (o->there)
		rc = store_db_do(
			db, &op->err,
			"UPDATE uploads SET state = 2, expires = min(keep_ms + ?2, 1 << 62)"
			" WHERE id = ?1 AND state = 1 AND expires > 0",
			SV(id, now));
	else
		rc = store_db_do(db, &op->err,
				 "UPDATE uploads SET state = 0, expires = min(expires, made + ?2)"
				 " WHERE id = ?1 AND state = 1",
				 SV(id, sv_int(STORE_UPLOAD_SLOT_MS)));
	return rc == 0 ? td_fail(&op->err, TD_E_NOTFOUND, "the upload was deleted") : rc;
}

static int
expired_run(struct store_op *op, struct store_db *db)
{
	struct upload_op *o = (struct upload_op *)op;
	int64_t now = (int64_t)store_now(op->st);
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q,
				"SELECT " COLUMNS " FROM uploads"
				" WHERE expires <= ?1 AND (state < 3 OR made <= ?2) LIMIT ?3",
				SV(sv_int(now), sv_int(now - DAY_MS), sv_int(o->max)));

	o->n = 0;
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		o->list = store_op_grow(op, o->list, o->n, sizeof(*o->list));
		o->list[o->n++] = read_row(q, op->arena);
	}
	return rc;
}

static int
del_run(struct store_op *op, struct store_db *db)
{
	struct upload_op *o = (struct upload_op *)op;
	struct store_val day = sv_int((int64_t)store_now(op->st) - DAY_MS);
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < o->n; i++) {
		struct store_val id = sv_text(o->ids[i]);

		rc = store_db_do(db, &op->err,
				 "DELETE FROM uploads"
				 " WHERE id = ?1 AND (state < 2 OR expires = 0 OR made <= ?2)",
				 SV(id, day));
		/* the day's quota remembers what was there */
		if (rc == 0)
			rc = store_db_do(db, &op->err, "UPDATE uploads SET state = 3 WHERE id = ?1",
					 SV(id));
	}
	return rc < 0 ? rc : 0;
}

static void
upload_reply(struct store_op *op)
{
	struct upload_op *o = (struct upload_op *)op;

	op->cb.upload(op->arg, &op->res, o->list, op->res.rc == 0 ? o->n : 0);
}

#define WRITE(f, r)                                                             \
	{                                                                       \
		.name = "upload-" #f, .write = true, .run = f##_run, .reply = r \
	}
static const struct store_opdef upload_add = WRITE(add, store_op_reply);
static const struct store_opdef upload_take = WRITE(take, upload_reply);
static const struct store_opdef upload_end = WRITE(end, store_op_reply);
static const struct store_opdef upload_del = WRITE(del, store_op_reply);
static const struct store_opdef upload_get = {
	.name = "upload-get",
	.run = get_run,
	.reply = upload_reply,
};
static const struct store_opdef upload_expired = {
	.name = "upload-expired",
	.run = expired_run,
	.reply = upload_reply,
};

void
store_upload_add(struct store *st, const struct store_upload *u,
		 const struct store_upload_limits *lim, struct store_to to)
{
	struct upload_op *o =
		store_op_new(st, &upload_add, sizeof(*o),
			     u->id.len + u->service.len + u->owner.len + u->name.len + u->type.len);

	o->u = *u;
	o->u.id = store_op_str(&o->op, u->id);
	o->u.service = store_op_str(&o->op, u->service);
	o->u.owner = store_op_str(&o->op, u->owner);
	o->u.name = store_op_str(&o->op, u->name);
	o->u.type = store_op_str(&o->op, u->type);
	o->lim = *lim;
	store_op_key(&o->op, o->u.owner);
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

/* A call about one upload. */
static struct upload_op *
about(struct store *st, const struct store_opdef *def, struct td_str id)
{
	struct upload_op *o = store_op_new(st, def, sizeof(*o), id.len);

	o->u.id = store_op_str(&o->op, id);
	store_op_key(&o->op, o->u.id);
	return o;
}

static void
ask(struct upload_op *o, struct td_loop *loop, store_upload_cb *cb, void *arg)
{
	o->op.loop = loop;
	o->op.cb.upload = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

void
store_upload_take(struct store *st, struct td_str id, struct td_loop *loop, store_upload_cb *cb,
		  void *arg)
{
	ask(about(st, &upload_take, id), loop, cb, arg);
}

void
store_upload_get(struct store *st, struct td_str id, struct td_loop *loop, store_upload_cb *cb,
		 void *arg)
{
	ask(about(st, &upload_get, id), loop, cb, arg);
}

void
store_upload_end(struct store *st, struct td_str id, bool there, struct store_to to)
{
	struct upload_op *o = about(st, &upload_end, id);

	o->there = there;
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_upload_expired(struct store *st, unsigned max, struct td_loop *loop, store_upload_cb *cb,
		     void *arg)
{
	struct upload_op *o = store_op_new(st, &upload_expired, sizeof(*o), 0);

	o->max = max;
	ask(o, loop, cb, arg);
}

void
store_upload_del(struct store *st, const struct td_str *ids, size_t n, struct store_to to)
{
	struct upload_op *o = store_op_new(st, &upload_del, sizeof(*o), n * (sizeof(*ids) + 48));

	o->ids = td_arena_alloc(o->op.arena, (n + 1) * sizeof(*ids));
	for (size_t i = 0; i < n; i++)
		o->ids[o->n++] = store_op_str(&o->op, ids[i]);
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}
