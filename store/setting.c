/* setting - small values per account, and the store's housekeeping. */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include "store/op.h"

#define DAY_MS INT64_C(86400000)
#define PURGE_BATCH 1000

struct setting_op {
	struct store_op op;
	struct td_str owner, key, value;
};

struct list_op {
	struct store_op op;
	struct td_str owner;
	struct store_setting *s;
	size_t n;
};

struct house_op {
	struct store_op op;
	unsigned pages;
};

/* ---- settings ---- */

static int
setting_get_run(struct store_op *op, struct store_db *db)
{
	struct setting_op *o = (struct setting_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q,
				"SELECT value FROM settings WHERE owner = ?1 AND key = ?2",
				SV(sv_text(o->owner), sv_text(o->key)));

	if (rc < 0 || (rc = store_db_next(db, &op->err, q)) < 0)
		return rc;
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such setting");
	o->value = store_db_str(q, 0, op->arena);
	return 0;
}

static void
setting_get_reply(struct store_op *op)
{
	op->cb.value(op->arg, &op->res,
		     op->res.rc == 0 ? ((struct setting_op *)op)->value : TD_STR_NULL);
}

static int
setting_set_run(struct store_op *op, struct store_db *db)
{
	struct setting_op *o = (struct setting_op *)op;

	if (o->value.p == NULL)
		return store_db_do(db, &op->err,
				   "DELETE FROM settings WHERE owner = ?1 AND key = ?2",
				   SV(sv_text(o->owner), sv_text(o->key)));
	return store_db_do(db, &op->err,
			   "INSERT INTO settings (owner, key, value) VALUES (?1, ?2, ?3)"
			   " ON CONFLICT (owner, key) DO UPDATE SET value = ?3",
			   SV(sv_text(o->owner), sv_text(o->key), sv_blob(o->value)));
}

static const struct store_opdef setting_get = {
	.name = "setting-get",
	.run = setting_get_run,
	.reply = setting_get_reply,
};

static const struct store_opdef setting_set = {
	.name = "setting-set",
	.write = true,
	.run = setting_set_run,
	.reply = store_op_reply,
};

static struct setting_op *
setting_op_new(struct store *st, const struct store_opdef *def, struct td_str owner,
	       struct td_str key, struct td_str value)
{
	struct setting_op *o = store_op_new(st, def, sizeof(*o), owner.len + key.len + value.len);

	o->owner = store_op_str(&o->op, owner);
	o->key = store_op_str(&o->op, key);
	o->value = store_op_str(&o->op, value);
	store_op_key(&o->op, owner);
	return o;
}

void
store_setting_get(struct store *st, struct td_str owner, struct td_str key, struct td_loop *loop,
		  store_value_cb *cb, void *arg)
{
	struct setting_op *o = setting_op_new(st, &setting_get, owner, key, TD_STR_NULL);

	o->op.loop = loop;
	o->op.cb.value = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

void
store_setting_set(struct store *st, struct td_str owner, struct td_str key, struct td_str value,
		  struct store_to to)
{
	struct setting_op *o = setting_op_new(st, &setting_set, owner, key, value);

	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

static int
setting_list_run(struct store_op *op, struct store_db *db)
{
	struct list_op *o = (struct list_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q,
				"SELECT key, value FROM settings WHERE owner = ?1 ORDER BY key",
				SV(sv_text(o->owner)));

	o->n = 0;
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		o->s = store_op_grow(op, o->s, o->n, sizeof(*o->s));
		o->s[o->n++] = (struct store_setting){
			.key = store_db_str(q, 0, op->arena),
			.value = store_db_str(q, 1, op->arena),
		};
	}
	return rc;
}

static void
setting_list_reply(struct store_op *op)
{
	struct list_op *o = (struct list_op *)op;

	((store_settings_cb *)op->cb.any)(op->arg, &op->res, o->s, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef setting_list = {
	.name = "setting-list",
	.run = setting_list_run,
	.reply = setting_list_reply,
};

void
store_setting_list(struct store *st, struct td_str owner, struct td_loop *loop,
		   store_settings_cb *cb, void *arg)
{
	struct list_op *o = store_op_new(st, &setting_list, sizeof(*o), owner.len);

	o->owner = store_op_str(&o->op, owner);
	o->op.loop = loop;
	o->op.cb.any = (void (*)(void))cb;
	o->op.arg = arg;
	store_op_key(&o->op, owner);
	store_op_submit(&o->op);
}

/* ---- housekeeping ---- */

static int
purge_run(struct store_op *op, struct store_db *db)
{
	int64_t now = (int64_t)store_now(op->st);
	struct store_val old = sv_int(now - store_dedup_ms(op->st)),
			 month = sv_int(now - 30 * DAY_MS);
	int dedup, threads, removed, rc;

	dedup = store_db_do(db, &op->err,
			    "DELETE FROM dedup WHERE (mail_id, account) IN"
			    " (SELECT mail_id, account FROM dedup WHERE at <= ?1 LIMIT ?2)",
			    SV(old, sv_int(PURGE_BATCH)));
	if (dedup < 0)
		return dedup;
	threads = store_db_do(db, &op->err,
			      "DELETE FROM threads WHERE id IN"
			      " (SELECT id FROM threads WHERE at <= ?1 LIMIT ?2)",
			      SV(month, sv_int(PURGE_BATCH)));
	if (threads < 0)
		return threads;
	/* who knows a version older than the last removal forgotten must load all again */
	rc = store_db_do(
		db, &op->err,
		"UPDATE accounts SET roster_floor = max(roster_floor,"
		" (SELECT max(ver) FROM roster_removed WHERE account = accounts.id AND at <= ?1))"
		" WHERE id IN (SELECT account FROM roster_removed WHERE at <= ?1)",
		SV(month));
	if (rc < 0)
		return rc;
	removed = store_db_do(db, &op->err, "DELETE FROM roster_removed WHERE at <= ?1", SV(month));
	if (removed < 0)
		return removed;
	op->res.id = (uint64_t)dedup + (uint64_t)threads + (uint64_t)removed;
	return 0;
}

static int
max_pages_run(struct store_op *op, struct store_db *db)
{
	char sql[64];
	unsigned pages = ((struct house_op *)op)->pages;

	(void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %u",
		       pages > 0 ? pages : 0xfffffffeu);
	return store_db_script(db, &op->err, sql);
}

static const struct store_opdef purge = {
	.name = "purge",
	.write = true,
	.run = purge_run,
	.reply = store_op_reply,
};

static const struct store_opdef max_pages = {
	.name = "max-pages",
	.write = true,
	.run = max_pages_run,
	.reply = store_op_reply,
};

void
store_purge(struct store *st, struct store_to to)
{
	struct house_op *o = store_op_new(st, &purge, sizeof(*o), 0);

	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_set_max_pages(struct store *st, unsigned pages, struct store_to to)
{
	struct house_op *o = store_op_new(st, &max_pages, sizeof(*o), 0);

	o->pages = pages;
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}
