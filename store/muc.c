/* muc - rooms in the store: a row each, and their properties and affiliations by its id. */
#include "store/muc.h"

#include "store/op.h"

struct muc_op {
	struct store_op op;
	struct td_str jid, domain;
	struct store_muc_room room; /* argument, or the answer of a get */
	struct store_muc_prop *props;
	struct store_muc_affil *affils;
};

struct list_op {
	struct store_op op;
	struct td_str domain;
	struct store_muc_room *rooms;
	size_t n;
};

static struct td_str
domain_of(struct td_str jid)
{
	ptrdiff_t at = td_str_chr(jid, '@');

	return at < 0 ? jid : td_str(jid.p + at + 1, jid.len - (size_t)at - 1);
}

/* ---- get ---- */

static int
load_props(struct muc_op *o, struct store_db *db, int64_t id)
{
	struct td_arena *a = o->op.arena;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT key, value FROM muc_props WHERE room = ?1", SV(sv_int(id)));

	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		o->props = store_op_grow(&o->op, o->props, o->room.n_props, sizeof(*o->props));
		o->props[o->room.n_props++] = (struct store_muc_prop){
			.key = store_db_str(q, 0, a),
			.value = store_db_str(q, 1, a),
		};
	}
	o->room.props = o->props;
	return rc;
}

static int
load_affils(struct muc_op *o, struct store_db *db, int64_t id)
{
	struct td_arena *a = o->op.arena;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT jid, affiliation, nick, reason FROM muc_affiliations"
				" WHERE room = ?1",
				SV(sv_int(id)));

	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		o->affils = store_op_grow(&o->op, o->affils, o->room.n_affils, sizeof(*o->affils));
		o->affils[o->room.n_affils++] = (struct store_muc_affil){
			.jid = store_db_str(q, 0, a),
			.affiliation = sqlite3_column_int(q, 1),
			.nick = store_db_str(q, 2, a),
			.reason = store_db_str(q, 3, a),
		};
	}
	o->room.affils = o->affils;
	return rc;
}

static int
get_run(struct store_op *op, struct store_db *db)
{
	struct muc_op *o = (struct muc_op *)op;
	int64_t id = 0;
	int rc;

	o->room = (struct store_muc_room){ .jid = o->jid };
	rc = store_db_int(db, &op->err, &id, "SELECT id FROM muc_rooms WHERE jid = ?1",
			  SV(sv_text(o->jid)));
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such room");
	if (rc < 0 || (rc = load_props(o, db, id)) < 0)
		return rc;
	return load_affils(o, db, id);
}

static void
get_reply(struct store_op *op)
{
	struct muc_op *o = (struct muc_op *)op;

	op->cb.muc(op->arg, &op->res, op->res.rc == 0 ? &o->room : NULL);
}

static const struct store_opdef muc_get = {
	.name = "muc-get",
	.run = get_run,
	.reply = get_reply,
};

void
store_muc_get(struct store *st, struct td_str jid, struct td_loop *loop, store_muc_cb *cb,
	      void *arg)
{
	struct muc_op *o = store_op_new(st, &muc_get, sizeof(*o), jid.len);

	o->jid = store_op_str(&o->op, jid);
	o->op.loop = loop;
	o->op.cb.muc = cb;
	o->op.arg = arg;
	store_op_key(&o->op, jid);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS); /* deleting one touches affiliations */
	store_op_submit(&o->op);
}

/* ---- list ---- */

static int
list_run(struct store_op *op, struct store_db *db)
{
	struct list_op *o = (struct list_op *)op;
	struct store_muc_prop *props = NULL;
	int64_t last = 0;
	sqlite3_stmt *q;
	int rc;

	o->rooms = NULL;
	o->n = 0;
	rc = store_db_query(
		db, &op->err, &q,
		"SELECT r.id, r.jid, p.key, p.value FROM muc_rooms r"
		" LEFT JOIN muc_props p ON p.room = r.id AND p.key >= '+' AND p.key < ','"
		" WHERE r.domain = ?1 ORDER BY r.jid",
		SV(sv_text(o->domain)));
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		int64_t id = sqlite3_column_int64(q, 0);
		struct store_muc_room *r;

		if (o->n == 0 || id != last) {
			o->rooms = store_op_grow(op, o->rooms, o->n, sizeof(*o->rooms));
			o->rooms[o->n++] =
				(struct store_muc_room){ .jid = store_db_str(q, 1, op->arena) };
			last = id;
		}
		r = &o->rooms[o->n - 1];
		if (sqlite3_column_type(q, 2) == SQLITE_NULL)
			continue;
		props = store_op_grow(op, r->n_props == 0 ? NULL : props, r->n_props,
				      sizeof(*props));
		props[r->n_props++] = (struct store_muc_prop){
			.key = store_db_str(q, 2, op->arena),
			.value = store_db_str(q, 3, op->arena),
		};
		r->props = props;
	}
	return rc;
}

static void
list_reply(struct store_op *op)
{
	struct list_op *o = (struct list_op *)op;

	op->cb.muc_list(op->arg, &op->res, o->rooms, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef muc_list = {
	.name = "muc-list",
	.run = list_run,
	.reply = list_reply,
};

void
store_muc_list(struct store *st, struct td_str domain, struct td_loop *loop, store_muc_list_cb *cb,
	       void *arg)
{
	struct list_op *o = store_op_new(st, &muc_list, sizeof(*o), domain.len);

	o->domain = store_op_str(&o->op, domain);
	o->op.loop = loop;
	o->op.cb.muc_list = cb;
	o->op.arg = arg;
	store_op_key(&o->op, domain);
	store_op_submit(&o->op);
}

/* ---- set and delete ---- */

static int
put_prop(struct muc_op *o, struct store_db *db, int64_t id, const struct store_muc_prop *p)
{
	if (p->value.p == NULL)
		return store_db_do(db, &o->op.err,
				   "DELETE FROM muc_props WHERE room = ?1 AND key = ?2",
				   SV(sv_int(id), sv_text(p->key)));
	return store_db_do(db, &o->op.err,
			   "INSERT INTO muc_props (room, key, value) VALUES (?1, ?2, ?3)"
			   " ON CONFLICT (room, key) DO UPDATE SET value = ?3",
			   SV(sv_int(id), sv_text(p->key), sv_blob(p->value)));
}

static int
put_affil(struct muc_op *o, struct store_db *db, int64_t id, const struct store_muc_affil *f)
{
	if (f->affiliation < 0)
		return store_db_do(db, &o->op.err,
				   "DELETE FROM muc_affiliations WHERE room = ?1 AND jid = ?2",
				   SV(sv_int(id), sv_text(f->jid)));
	return store_db_do(db, &o->op.err,
			   "INSERT INTO muc_affiliations (room, jid, affiliation, nick, reason)"
			   " VALUES (?1, ?2, ?3, ?4, ?5)"
			   " ON CONFLICT (room, jid) DO UPDATE SET"
			   " affiliation = ?3, nick = ?4, reason = ?5",
			   SV(sv_int(id), sv_text(f->jid), sv_int(f->affiliation), sv_opt(f->nick),
			      sv_opt(f->reason)));
}

static int
set_run(struct store_op *op, struct store_db *db)
{
	struct muc_op *o = (struct muc_op *)op;
	int64_t id = 0;
	int rc = store_db_do(db, &op->err,
			     "INSERT INTO muc_rooms (jid, domain, created) VALUES (?1, ?2, ?3)"
			     " ON CONFLICT (jid) DO NOTHING",
			     SV(sv_text(o->jid), sv_text(domain_of(o->jid)),
				sv_int((int64_t)store_now(op->st))));

	if (rc >= 0)
		rc = store_db_int(db, &op->err, &id, "SELECT id FROM muc_rooms WHERE jid = ?1",
				  SV(sv_text(o->jid)));
	for (size_t i = 0; rc >= 0 && i < o->room.n_props; i++)
		rc = put_prop(o, db, id, &o->props[i]);
	for (size_t i = 0; rc >= 0 && i < o->room.n_affils; i++)
		rc = put_affil(o, db, id, &o->affils[i]);
	return rc;
}

static int
delete_run(struct store_op *op, struct store_db *db)
{
	/* properties and affiliations go by foreign key */
	return store_db_do(db, &op->err, "DELETE FROM muc_rooms WHERE jid = ?1",
			   SV(sv_text(((struct muc_op *)op)->jid)));
}

static const struct store_opdef muc_set = {
	.name = "muc-set",
	.write = true,
	.run = set_run,
	.reply = store_op_reply,
};

static const struct store_opdef muc_delete = {
	.name = "muc-delete",
	.write = true,
	.run = delete_run,
	.reply = store_op_reply,
};

void
store_muc_set(struct store *st, const struct store_muc_room *c, struct store_to to)
{
	size_t n = c->jid.len + c->n_props * sizeof(*c->props) + c->n_affils * sizeof(*c->affils);
	struct muc_op *o;

	for (size_t i = 0; i < c->n_props; i++)
		n += c->props[i].key.len + c->props[i].value.len + 32;
	for (size_t i = 0; i < c->n_affils; i++)
		n += c->affils[i].jid.len + c->affils[i].nick.len + c->affils[i].reason.len + 48;
	o = store_op_new(st, &muc_set, sizeof(*o), n);
	o->jid = store_op_str(&o->op, c->jid);
	o->room.n_props = c->n_props;
	o->room.n_affils = c->n_affils;
	o->props = td_arena_alloc(o->op.arena, (c->n_props + 1) * sizeof(*o->props));
	o->affils = td_arena_alloc(o->op.arena, (c->n_affils + 1) * sizeof(*o->affils));
	for (size_t i = 0; i < c->n_props; i++)
		o->props[i] = (struct store_muc_prop){
			.key = store_op_str(&o->op, c->props[i].key),
			.value = store_op_str(&o->op, c->props[i].value),
		};
	for (size_t i = 0; i < c->n_affils; i++)
		o->affils[i] = (struct store_muc_affil){
			.jid = store_op_str(&o->op, c->affils[i].jid),
			.affiliation = c->affils[i].affiliation,
			.nick = store_op_str(&o->op, c->affils[i].nick),
			.reason = store_op_str(&o->op, c->affils[i].reason),
		};
	store_op_to(&o->op, to);
	store_op_key(&o->op, c->jid);
	store_op_key(&o->op, domain_of(c->jid));
	store_op_submit(&o->op);
}

void
store_muc_delete(struct store *st, struct td_str jid, struct store_to to)
{
	struct muc_op *o = store_op_new(st, &muc_delete, sizeof(*o), jid.len);

	o->jid = store_op_str(&o->op, jid);
	store_op_to(&o->op, to);
	store_op_key(&o->op, jid);
	store_op_key(&o->op, domain_of(jid));
	store_op_submit(&o->op);
}
