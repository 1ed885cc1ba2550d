/* pubsub - nodes and items in SQLite.
 *
 * A change is a list of small verbs run in one transaction: a publish that makes its node, keeps
 * the item and drops the oldest is one call.  Triggers keep count of the bytes of each node, so that a
 * quota costs no scan. */
#include "store/pubsub.h"

#include "store/op.h"

#define ANSWER_BYTES (512u << 10) /* of ids and payload in one answer, but one item at least */

struct load_op {
	struct store_op op;
	struct td_str owner;
	struct store_ps_node *nodes;
	struct store_ps_link *affiliations, *subscriptions;
	size_t n_nodes, n_affiliations, n_subscriptions;
};

struct change_op {
	struct store_op op;
	struct td_str owner;
	struct store_ps_change *c;
	size_t n;
	uint64_t quota;
};

struct items_op {
	struct store_op op;
	struct td_str owner;
	struct store_ps_query q;
	const struct td_str *nodes; /* store_ps_last */
	const uint64_t *since;
	size_t n_nodes;
	struct store_ps_item *items;
	size_t n, bytes;
	int64_t index, count;
	bool more;
};

struct private_op {
	struct store_op op;
	struct td_str owner, key, value;
	uint64_t quota;
};

/* ---- load ---- */

static int
load_nodes(struct load_op *o, struct store_db *db)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT name, config, created FROM ps_nodes WHERE owner = ?1"
				" ORDER BY id",
				SV(sv_text(o->owner)));

	o->n_nodes = 0;
	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		o->nodes = store_op_grow(&o->op, o->nodes, o->n_nodes, sizeof(*o->nodes));
		o->nodes[o->n_nodes++] = (struct store_ps_node){
			.name = store_db_str(q, 0, o->op.arena),
			.config = store_db_str(q, 1, o->op.arena),
			.created = (uint64_t)sqlite3_column_int64(q, 2),
		};
	}
	return rc;
}

static int
load_links(struct load_op *o, struct store_db *db, sqlite3_stmt *q, struct store_ps_link **out,
	   size_t *n_out)
{
	struct store_ps_link *l = NULL;
	size_t n = 0;
	int rc;

	while ((rc = store_db_next(db, &o->op.err, q)) == 1) {
		l = store_op_grow(&o->op, l, n, sizeof(*l));
		l[n++] = (struct store_ps_link){
			.node = store_db_str(q, 0, o->op.arena),
			.jid = store_db_str(q, 1, o->op.arena),
			.state = sqlite3_column_int(q, 2),
			.options = store_db_str(q, 3, o->op.arena),
			.subid = store_db_str(q, 4, o->op.arena),
		};
	}
	*out = l;
	*n_out = n;
	return rc;
}

static int
load_run(struct store_op *op, struct store_db *db)
{
	struct load_op *o = (struct load_op *)op;
	sqlite3_stmt *q;
	int rc = load_nodes(o, db);

	if (rc < 0 || o->n_nodes == 0)
		return rc;
	rc = store_db_query(
		db, &op->err, &q,
		"SELECT n.name, a.jid, a.state, '', '' FROM ps_affiliations a"
		" JOIN ps_nodes n ON n.id = a.node WHERE n.owner = ?1 ORDER BY n.id, a.jid",
		SV(sv_text(o->owner)));
	if (rc < 0 || (rc = load_links(o, db, q, &o->affiliations, &o->n_affiliations)) < 0)
		return rc;
	rc = store_db_query(
		db, &op->err, &q,
		"SELECT n.name, s.jid, s.state, s.options, s.subid FROM ps_subscriptions s"
		" JOIN ps_nodes n ON n.id = s.node WHERE n.owner = ?1 ORDER BY n.id, s.jid",
		SV(sv_text(o->owner)));
	return rc < 0 ? rc : load_links(o, db, q, &o->subscriptions, &o->n_subscriptions);
}

static void
load_reply(struct store_op *op)
{
	struct load_op *o = (struct load_op *)op;
	const struct store_ps_owner own = {
		.nodes = o->nodes,
		.affiliations = o->affiliations,
		.subscriptions = o->subscriptions,
		.n_nodes = o->n_nodes,
		.n_affiliations = o->n_affiliations,
		.n_subscriptions = o->n_subscriptions,
	};

	((store_ps_owner_cb *)op->cb.any)(op->arg, &op->res, op->res.rc == 0 ? &own : NULL);
}

static const struct store_opdef ps_load = {
	.name = "pubsub-load",
	.run = load_run,
	.reply = load_reply,
};

void
store_ps_load(struct store *st, struct td_str owner, struct td_loop *loop, store_ps_owner_cb *cb,
	      void *arg)
{
	struct load_op *o = store_op_new(st, &ps_load, sizeof(*o), owner.len);

	o->owner = store_op_str(&o->op, owner);
	o->op.cb.any = (void (*)(void))cb;
	o->op.loop = loop;
	o->op.arg = arg;
	store_op_key(&o->op, owner);
	store_op_submit(&o->op);
}

/* ---- change ---- */

static int
node_id(struct store_op *op, struct store_db *db, struct td_str owner, struct td_str name,
	int64_t *id)
{
	int rc = store_db_int(db, &op->err, id,
			      "SELECT id FROM ps_nodes WHERE owner = ?1 AND name = ?2",
			      SV(sv_text(owner), sv_text(name)));

	return rc == 0 ? td_fail(&op->err, TD_E_NOTFOUND, "no such node") : rc;
}

static int
add_node(struct store_op *op, struct store_db *db, struct td_str owner,
	 const struct store_ps_change *c)
{
	int rc = store_db_do(db, &op->err,
			     "INSERT INTO ps_nodes (owner, name, config, created)"
			     " VALUES (?1, ?2, ?3, ?4)",
			     SV(sv_text(owner), sv_text(c->node), sv_text(c->value),
				sv_int((int64_t)store_now(op->st))));

	return rc == TD_E_EXISTS ? td_fail(&op->err, rc, "the node exists already") : rc;
}

static int
set_link(struct store_op *op, struct store_db *db, const struct store_ps_change *c, int64_t node)
{
	if (c->verb == PS_AFFILIATION && c->n == 0)
		return store_db_do(db, &op->err,
				   "DELETE FROM ps_affiliations WHERE node = ?1 AND jid = ?2",
				   SV(sv_int(node), sv_text(c->key)));
	if (c->verb == PS_AFFILIATION)
		return store_db_do(db, &op->err,
				   "INSERT INTO ps_affiliations (node, jid, state)"
				   " VALUES (?1, ?2, ?3)"
				   " ON CONFLICT (node, jid) DO UPDATE SET state = ?3",
				   SV(sv_int(node), sv_text(c->key), sv_int(c->n)));
	if (c->n == 0)
		return store_db_do(db, &op->err,
				   "DELETE FROM ps_subscriptions WHERE node = ?1 AND jid = ?2"
				   " AND subid = ifnull(?3, subid)",
				   SV(sv_int(node), sv_text(c->key), sv_opt(c->who)));
	return store_db_do(
		db, &op->err,
		"INSERT INTO ps_subscriptions (node, jid, subid, state, options)"
		" VALUES (?1, ?2, coalesce(?5, (SELECT subid FROM ps_subscriptions"
		"  WHERE node = ?1 AND jid = ?2 LIMIT 1), lower(hex(randomblob(8)))), ?3, ?4)"
		" ON CONFLICT (node, jid, subid) DO UPDATE SET state = ?3, options = ?4",
		SV(sv_int(node), sv_text(c->key), sv_int(c->n), sv_text(c->value), sv_opt(c->who)));
}

static int
set_item(struct store_op *op, struct store_db *db, const struct store_ps_change *c, int64_t node)
{
	/* a new row, so that what is published again is the newest (XEP-0060 12.1) */
	int rc = store_db_do(db, &op->err, "DELETE FROM ps_items WHERE node = ?1 AND id = ?2",
			     SV(sv_int(node), sv_text(c->key)));

	if (rc < 0)
		return rc;
	return store_db_do(db, &op->err,
			   "INSERT INTO ps_items (node, id, at, publisher, payload)"
			   " VALUES (?1, ?2, ?3, ?4, ?5)",
			   SV(sv_int(node), sv_text(c->key),
			      sv_int(c->n > 0 ? c->n : (int64_t)store_now(op->st)), sv_text(c->who),
			      sv_blob(c->value)));
}

static int
del_item(struct store_op *op, struct store_db *db, const struct store_ps_change *c, int64_t node)
{
	int64_t foreign = 0;
	int rc;

	if (c->who.p != NULL) {
		rc = store_db_int(db, &op->err, &foreign,
				  "SELECT 1 FROM ps_items WHERE node = ?1 AND id = ?2"
				  " AND publisher <> ?3",
				  SV(sv_int(node), sv_text(c->key), sv_text(c->who)));
		if (rc < 0)
			return rc;
		if (rc == 1)
			return td_fail(&op->err, TD_E_DENIED, "somebody else published the item");
	}
	rc = store_db_do(db, &op->err, "DELETE FROM ps_items WHERE node = ?1 AND id = ?2",
			 SV(sv_int(node), sv_text(c->key)));
	if (rc == 0 && c->verb == PS_ITEM_DEL)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such item");
	return rc;
}

static int
check_room(struct store_op *op, struct store_db *db, const struct store_ps_change *c, int64_t node)
{
	int64_t count = 0;
	int rc = store_db_int(db, &op->err, &count,
			      "SELECT count(*) FROM ps_items WHERE node = ?1 AND id <> ?2",
			      SV(sv_int(node), sv_text(c->key)));

	if (rc >= 0 && count >= c->n)
		return td_fail(&op->err, TD_E_LIMIT, "the node is full");
	return rc;
}

int
store_ps_run(struct store_op *op, struct store_db *db, struct td_str owner,
	     const struct store_ps_change *c)
{
	int64_t node = 0;
	int rc;

	if (c->verb == PS_NODE_ADD)
		return add_node(op, db, owner, c);
	if ((rc = node_id(op, db, owner, c->node, &node)) < 0)
		return rc;
	switch (c->verb) {
	case PS_NODE_ADD: break;
	case PS_NODE_SET:
		return store_db_do(db, &op->err, "UPDATE ps_nodes SET config = ?2 WHERE id = ?1",
				   SV(sv_int(node), sv_text(c->value)));
	case PS_NODE_DEL:
		return store_db_do(db, &op->err, "DELETE FROM ps_nodes WHERE id = ?1",
				   SV(sv_int(node)));
	case PS_AFFILIATION:
	case PS_SUBSCRIPTION: return set_link(op, db, c, node);
	case PS_ITEM_SET: return set_item(op, db, c, node);
	case PS_ITEM_DEL:
	case PS_ITEM_DROP: return del_item(op, db, c, node);
	case PS_ROOM: return check_room(op, db, c, node);
	case PS_KEEP:
		return store_db_do(
			db, &op->err,
			"DELETE FROM ps_items WHERE node = ?1 AND seq <="
			" (SELECT seq FROM ps_items WHERE node = ?1 ORDER BY seq DESC LIMIT 1"
			"  OFFSET ?2)",
			SV(sv_int(node), sv_int(c->n)));
	case PS_EXPIRE:
		return store_db_do(db, &op->err, "DELETE FROM ps_items WHERE node = ?1 AND at < ?2",
				   SV(sv_int(node), sv_int(c->n)));
	case PS_PURGE:
		return store_db_do(db, &op->err, "DELETE FROM ps_items WHERE node = ?1",
				   SV(sv_int(node)));
	}
	return td_fail(&op->err, TD_E_INVAL, "no such change");
}

static int
change_run(struct store_op *op, struct store_db *db)
{
	struct change_op *o = (struct change_op *)op;
	int64_t bytes = 0;
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < o->n; i++)
		rc = store_ps_run(op, db, o->owner, &o->c[i]);
	if (rc < 0 || o->quota == 0)
		return rc < 0 ? rc : 0;
	rc = store_db_int(db, &op->err, &bytes,
			  "SELECT ifnull(sum(bytes), 0) FROM ps_nodes WHERE owner = ?1",
			  SV(sv_text(o->owner)));
	if (rc >= 0 && (uint64_t)bytes > o->quota)
		return td_fail(&op->err, TD_E_FULL, "the quota is used up");
	return rc < 0 ? rc : 0;
}

static const struct store_opdef ps_change = {
	.name = "pubsub-change",
	.write = true,
	.run = change_run,
	.reply = store_op_reply,
};

void
store_ps_change(struct store *st, struct td_str owner, const struct store_ps_change *c, size_t n,
		uint64_t quota, struct store_to to)
{
	size_t extra = owner.len + n * (sizeof(*c) + 64);
	struct change_op *o;

	for (size_t i = 0; i < n; i++)
		extra += c[i].node.len + c[i].key.len + c[i].who.len + c[i].value.len;
	o = store_op_new(st, &ps_change, sizeof(*o), extra);
	o->owner = store_op_str(&o->op, owner);
	o->c = td_arena_alloc(o->op.arena, n * sizeof(*o->c) + 1);
	o->n = n;
	o->quota = quota;
	for (size_t i = 0; i < n; i++) {
		o->c[i] = c[i];
		o->c[i].node = store_op_str(&o->op, c[i].node);
		o->c[i].key = store_op_str(&o->op, c[i].key);
		o->c[i].who = store_op_str(&o->op, c[i].who);
		o->c[i].value = store_op_str(&o->op, c[i].value);
	}
	store_op_to(&o->op, to);
	store_op_key(&o->op, owner);
	store_op_submit(&o->op);
}

/* ---- items ---- */

/* A row of (id, at, publisher, payload); false: it would make the answer too large. */
static bool
take_item(struct items_op *o, sqlite3_stmt *q, struct td_str node)
{
	size_t bytes = (size_t)sqlite3_column_bytes(q, 0) + (size_t)sqlite3_column_bytes(q, 3);

	if (o->n > 0 && o->bytes + bytes > ANSWER_BYTES) {
		o->more = true;
		return false;
	}
	o->bytes += bytes + 200;
	o->items = store_op_grow(&o->op, o->items, o->n, sizeof(*o->items));
	o->items[o->n++] = (struct store_ps_item){
		.node = node,
		.id = store_db_str(q, 0, o->op.arena),
		.at = (uint64_t)sqlite3_column_int64(q, 1),
		.publisher = store_db_str(q, 2, o->op.arena),
		.payload = store_db_str(q, 3, o->op.arena),
	};
	return true;
}

static int
take_rows(struct items_op *o, struct store_db *db, sqlite3_stmt *q, struct td_str node)
{
	int rc;

	while ((rc = store_db_next(db, &o->op.err, q)) == 1)
		if (!take_item(o, q, node))
			return 0;
	return rc;
}

static void
turn_round(struct items_op *o)
{
	for (size_t i = 0, j = o->n; i + 1 < j; i++) {
		struct store_ps_item tmp = o->items[i];

		o->items[i] = o->items[--j];
		o->items[j] = tmp;
	}
}

static int
seq_of(struct items_op *o, struct store_db *db, int64_t node, struct td_str id, int64_t *seq)
{
	int rc = store_db_int(db, &o->op.err, seq,
			      "SELECT seq FROM ps_items WHERE node = ?1 AND id = ?2 AND at >= ?3",
			      SV(sv_int(node), sv_text(id), sv_int((int64_t)o->q.since)));

	return rc == 0 ? td_fail(&o->op.err, TD_E_NOTFOUND, "no such item") : rc;
}

static int
by_ids(struct items_op *o, struct store_db *db, int64_t node)
{
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < o->q.n_ids; i++) {
		sqlite3_stmt *q;

		rc = store_db_query(db, &o->op.err, &q,
				    "SELECT id, at, publisher, iif(?4, '', payload) FROM ps_items"
				    " WHERE node = ?1 AND id = ?2 AND at >= ?3",
				    SV(sv_int(node), sv_text(o->q.ids[i]),
				       sv_int((int64_t)o->q.since), sv_int(o->q.ids_only)));
		if (rc >= 0)
			rc = take_rows(o, db, q, o->q.node);
		store_db_settle(db);
	}
	return rc;
}

static int
newest(struct items_op *o, struct store_db *db, int64_t node, int64_t below)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &o->op.err, &q,
				"SELECT id, at, publisher, iif(?5, '', payload) FROM ps_items"
				" WHERE node = ?1 AND seq < ?2 AND at >= ?4"
				" ORDER BY seq DESC LIMIT ?3",
				SV(sv_int(node), sv_int(below), sv_int(o->q.max),
				   sv_int((int64_t)o->q.since), sv_int(o->q.ids_only)));

	if (rc >= 0 && (rc = take_rows(o, db, q, o->q.node)) >= 0)
		turn_round(o);
	return rc;
}

static int
page(struct items_op *o, struct store_db *db, int64_t node)
{
	int64_t above = 0, below = INT64_MAX, skip = o->q.index > 0 ? o->q.index : 0;
	sqlite3_stmt *q;
	int rc = 0;

	if (o->q.after.p != NULL)
		rc = seq_of(o, db, node, o->q.after, &above);
	if (rc >= 0 && o->q.before.len > 0)
		rc = seq_of(o, db, node, o->q.before, &below);
	if (rc < 0)
		return rc;
	if (o->q.before.p != NULL)
		return newest(o, db, node, below);
	rc = store_db_query(db, &o->op.err, &q,
			    "SELECT id, at, publisher, iif(?6, '', payload) FROM ps_items"
			    " WHERE node = ?1 AND seq > ?2 AND at >= ?5"
			    " ORDER BY seq LIMIT ?3 OFFSET ?4",
			    SV(sv_int(node), sv_int(above), sv_int(o->q.max), sv_int(skip),
			       sv_int((int64_t)o->q.since), sv_int(o->q.ids_only)));
	return rc < 0 ? rc : take_rows(o, db, q, o->q.node);
}

/* How many there are, and where the first of the answer stands. */
static int
count_items(struct items_op *o, struct store_db *db, int64_t node)
{
	int64_t seq = 0;
	int rc = store_db_int(db, &o->op.err, &o->count,
			      "SELECT count(*) FROM ps_items WHERE node = ?1 AND at >= ?2",
			      SV(sv_int(node), sv_int((int64_t)o->q.since)));

	if (rc < 0 || o->n == 0)
		return rc;
	if ((rc = seq_of(o, db, node, o->items[0].id, &seq)) < 0)
		return rc;
	return store_db_int(
		db, &o->op.err, &o->index,
		"SELECT count(*) FROM ps_items WHERE node = ?1 AND seq < ?2 AND at >= ?3",
		SV(sv_int(node), sv_int(seq), sv_int((int64_t)o->q.since)));
}

static int
items_run(struct store_op *op, struct store_db *db)
{
	struct items_op *o = (struct items_op *)op;
	int64_t node = 0;
	int rc = node_id(op, db, o->owner, o->q.node, &node);

	o->n = o->bytes = 0;
	o->more = false;
	o->index = o->count = -1;
	if (rc < 0)
		return rc;
	if (o->q.ids != NULL)
		rc = by_ids(o, db, node);
	else if (o->q.newest)
		rc = newest(o, db, node, INT64_MAX);
	else
		rc = page(o, db, node);
	store_db_settle(db);
	if (rc >= 0 && o->q.ids == NULL)
		rc = count_items(o, db, node);
	return rc < 0 ? rc : 0;
}

static int
last_run(struct store_op *op, struct store_db *db)
{
	struct items_op *o = (struct items_op *)op;
	int rc = 0;

	o->n = o->bytes = 0;
	o->more = false;
	for (size_t i = 0; rc >= 0 && i < o->n_nodes; i++) {
		sqlite3_stmt *q;

		rc = store_db_query(
			db, &op->err, &q,
			"SELECT i.id, i.at, i.publisher, i.payload FROM ps_items i"
			" JOIN ps_nodes n ON n.id = i.node"
			" WHERE n.owner = ?1 AND n.name = ?2 AND i.at >= ?3"
			" ORDER BY i.seq DESC LIMIT 1",
			SV(sv_text(o->owner), sv_text(o->nodes[i]), sv_int((int64_t)o->since[i])));
		if (rc >= 0)
			rc = take_rows(o, db, q, o->nodes[i]);
		store_db_settle(db);
	}
	return rc < 0 ? rc : 0;
}

static void
items_reply(struct store_op *op)
{
	struct items_op *o = (struct items_op *)op;
	const struct store_ps_items got = {
		.items = o->items, .n = o->n, .index = o->index, .count = o->count, .more = o->more
	};

	((store_ps_items_cb *)op->cb.any)(op->arg, &op->res, op->res.rc == 0 ? &got : NULL);
}

static const struct store_opdef ps_items = {
	.name = "pubsub-items",
	.run = items_run,
	.reply = items_reply,
};

static const struct store_opdef ps_last = {
	.name = "pubsub-last",
	.run = last_run,
	.reply = items_reply,
};

static const struct td_str *
copy_strs(struct store_op *op, const struct td_str *s, size_t n)
{
	struct td_str *out = td_arena_alloc(op->arena, n * sizeof(*out) + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = store_op_str(op, s[i]);
	return out;
}

static struct items_op *
items_op(struct store *st, const struct store_opdef *def, struct td_str owner, struct td_loop *loop,
	 store_ps_items_cb *cb, void *arg)
{
	struct items_op *o = store_op_new(st, def, sizeof(*o), owner.len + 256);

	o->owner = store_op_str(&o->op, owner);
	o->op.cb.any = (void (*)(void))cb;
	o->op.loop = loop;
	o->op.arg = arg;
	o->index = o->count = -1;
	store_op_key(&o->op, owner);
	return o;
}

void
store_ps_items(struct store *st, struct td_str owner, const struct store_ps_query *q,
	       struct td_loop *loop, store_ps_items_cb *cb, void *arg)
{
	struct items_op *o = items_op(st, &ps_items, owner, loop, cb, arg);

	o->q = *q;
	o->q.node = store_op_str(&o->op, q->node);
	o->q.after = store_op_str(&o->op, q->after);
	o->q.before = store_op_str(&o->op, q->before);
	if (q->ids != NULL)
		o->q.ids = copy_strs(&o->op, q->ids, q->n_ids);
	store_op_submit(&o->op);
}

void
store_ps_last(struct store *st, struct td_str owner, const struct td_str *nodes,
	      const uint64_t *since, size_t n, struct td_loop *loop, store_ps_items_cb *cb,
	      void *arg)
{
	struct items_op *o = items_op(st, &ps_last, owner, loop, cb, arg);
	uint64_t *times = td_arena_alloc(o->op.arena, n * sizeof(*times) + 1);

	memcpy(times, since, n * sizeof(*times));
	o->nodes = copy_strs(&o->op, nodes, n);
	o->since = times;
	o->n_nodes = n;
	store_op_submit(&o->op);
}

/* ---- private XML ---- */

static int
private_run(struct store_op *op, struct store_db *db)
{
	struct private_op *o = (struct private_op *)op;
	int64_t bytes = 0;
	int rc = store_db_do(db, &op->err,
			     "INSERT INTO settings (owner, key, value) VALUES (?1, ?2, ?3)"
			     " ON CONFLICT (owner, key) DO UPDATE SET value = ?3",
			     SV(sv_text(o->owner), sv_text(o->key), sv_blob(o->value)));

	if (rc < 0)
		return rc;
	rc = store_db_int(db, &op->err, &bytes,
			  "SELECT ifnull(sum(length(key) + length(value)), 0) FROM settings"
			  " WHERE owner = ?1 AND key >= 'private:' AND key < 'private;'",
			  SV(sv_text(o->owner)));
	if (rc >= 0 && (uint64_t)bytes > o->quota)
		return td_fail(&op->err, TD_E_FULL, "the quota is used up");
	return rc < 0 ? rc : 0;
}

static const struct store_opdef private_set = {
	.name = "private-set",
	.write = true,
	.run = private_run,
	.reply = store_op_reply,
};

void
store_private_set(struct store *st, struct td_str owner, struct td_str key, struct td_str value,
		  uint64_t quota, struct store_to to)
{
	struct private_op *o =
		store_op_new(st, &private_set, sizeof(*o), owner.len + key.len + value.len);

	o->owner = store_op_str(&o->op, owner);
	o->key = store_op_str(&o->op, key);
	o->value = store_op_str(&o->op, value);
	o->quota = quota;
	store_op_to(&o->op, to);
	store_op_key(&o->op, owner);
	store_op_submit(&o->op);
}
