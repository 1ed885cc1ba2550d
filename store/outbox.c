/* outbox - mail made from chat, kept until the MTA has taken it or it has failed for good. */
#include "store/store.h"

#include <stdlib.h>
#include "store/op.h"

struct mail_op {
	struct store_op op;
	struct store_mail m;   /* add: the mail; others: id and what changes */
	struct store_thread t; /* add: account.p == NULL = none */
	struct td_str bounce_to, stanza;
	uint64_t when;
};

struct mails_op {
	struct store_op op;
	uint64_t now;
	unsigned max;
	struct store_mail *m;
	size_t n;
};

static int64_t
ms_of(uint64_t ms)
{
	return ms > INT64_MAX ? INT64_MAX : (int64_t)ms;
}

/* ---- add ---- */

static int
outbox_add_run(struct store_op *op, struct store_db *db)
{
	struct mail_op *o = (struct mail_op *)op;
	const struct store_mail *m = &o->m;
	int rc = store_db_do(
		db, &op->err,
		"INSERT INTO outbox (account, stanza_id, sender, rcpt, created, next_try,"
		" expires, data, jid) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
		SV(sv_text(m->account), sv_opt(m->stanza_id), sv_text(m->from), sv_text(m->to),
		   sv_int(ms_of(store_now(op->st))), sv_int(ms_of(m->next_try)),
		   sv_int(ms_of(m->expires)), sv_blob(m->data), sv_text(m->jid)));

	if (rc < 0)
		return rc;
	op->res.id = (uint64_t)sqlite3_last_insert_rowid(store_db_handle(db));
	if (m->replaces != 0)
		rc = store_db_do(db, &op->err, "DELETE FROM outbox WHERE id = ?1",
				 SV(sv_int((int64_t)m->replaces)));
	if (rc < 0)
		return rc;
	return o->t.account.p != NULL ? store_thread_insert(op, db, &o->t) : 0;
}

static const struct store_opdef outbox_add = {
	.name = "outbox-add",
	.write = true,
	.run = outbox_add_run,
	.reply = store_op_reply,
};

void
store_outbox_add(struct store *st, const struct store_mail *m, const struct store_thread *thread,
		 struct store_to to)
{
	struct mail_op *o =
		store_op_new(st, &outbox_add, sizeof(*o),
			     m->data.len + m->account.len + m->from.len + m->to.len + 256);

	o->m = (struct store_mail){
		.account = store_op_str(&o->op, m->account),
		.jid = store_op_str(&o->op, m->jid),
		.stanza_id = store_op_str(&o->op, m->stanza_id),
		.from = store_op_str(&o->op, m->from),
		.to = store_op_str(&o->op, m->to),
		.data = store_op_str(&o->op, m->data),
		.next_try = m->next_try,
		.expires = m->expires,
		.replaces = m->replaces,
	};
	store_op_to(&o->op, to);
	store_op_topic(&o->op, STORE_OUTBOX);
	if (thread != NULL) {
		o->t = store_thread_copy(o->op.arena, thread);
		if (o->t.account.p == NULL)
			o->t.account = TD_STR(""); /* given, though wrong: the insert says so */
		store_op_key(&o->op, thread->account);
	}
	store_op_submit(&o->op);
}

/* ---- due and list ---- */

/* Columns: id, account, stanza_id, sender, rcpt, created, next_try, expires, tries,
 * last_error, data (absent in a list), jid. */
static int
read_mails(struct mails_op *o, struct store_db *db, sqlite3_stmt *q)
{
	struct td_arena *a = o->op.arena;
	int rc;

	o->n = 0;
	while ((rc = store_db_next(db, &o->op.err, q)) == 1) {
		o->m = store_op_grow(&o->op, o->m, o->n, sizeof(*o->m));
		o->m[o->n++] = (struct store_mail){
			.id = (uint64_t)sqlite3_column_int64(q, 0),
			.account = store_db_str(q, 1, a),
			.jid = store_db_str(q, 11, a),
			.stanza_id = store_db_str(q, 2, a),
			.from = store_db_str(q, 3, a),
			.to = store_db_str(q, 4, a),
			.created = (uint64_t)sqlite3_column_int64(q, 5),
			.next_try = (uint64_t)sqlite3_column_int64(q, 6),
			.expires = (uint64_t)sqlite3_column_int64(q, 7),
			.tries = (unsigned)sqlite3_column_int64(q, 8),
			.last_error = store_db_str(q, 9, a),
			.data = store_db_str(q, 10, a),
		};
	}
	o->op.res.id = o->n;
	return rc;
}

static int
outbox_due_run(struct store_op *op, struct store_db *db)
{
	struct mails_op *o = (struct mails_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(
		db, &op->err, &q,
		"SELECT id, account, stanza_id, sender, rcpt, created, next_try, expires,"
		" tries, last_error, data, jid FROM outbox WHERE next_try <= ?1"
		" ORDER BY next_try, id LIMIT ?2",
		SV(sv_int(ms_of(o->now)), sv_int(o->max)));

	return rc < 0 ? rc : read_mails(o, db, q);
}

static int
outbox_list_run(struct store_op *op, struct store_db *db)
{
	sqlite3_stmt *q;
	int rc = store_db_query(
		db, &op->err, &q,
		"SELECT id, account, stanza_id, sender, rcpt, created, next_try, expires,"
		" tries, last_error, NULL, jid FROM outbox ORDER BY id",
		SV_NONE);

	return rc < 0 ? rc : read_mails((struct mails_op *)op, db, q);
}

static void
mails_reply(struct store_op *op)
{
	struct mails_op *o = (struct mails_op *)op;

	op->cb.mails(op->arg, &op->res, o->m, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef outbox_due = {
	.name = "outbox-due",
	.run = outbox_due_run,
	.reply = mails_reply,
};

static const struct store_opdef outbox_list = {
	.name = "outbox-list",
	.run = outbox_list_run,
	.reply = mails_reply,
};

static void
ask(struct store *st, const struct store_opdef *def, uint64_t now, unsigned max,
    struct td_loop *loop, store_mails_cb *cb, void *arg)
{
	struct mails_op *o = store_op_new(st, def, sizeof(*o), 0);

	o->now = now;
	o->max = max;
	o->op.loop = loop;
	o->op.cb.mails = cb;
	o->op.arg = arg;
	store_op_topic(&o->op, STORE_OUTBOX);
	store_op_submit(&o->op);
}

void
store_outbox_due(struct store *st, uint64_t now, unsigned max, struct td_loop *loop,
		 store_mails_cb *cb, void *arg)
{
	ask(st, &outbox_due, now, max, loop, cb, arg);
}

void
store_outbox_list(struct store *st, struct td_loop *loop, store_mails_cb *cb, void *arg)
{
	ask(st, &outbox_list, 0, 0, loop, cb, arg);
}

/* ---- retry, del, bounce ---- */

static int
need_one(struct store_op *op, int changed)
{
	return changed == 0 ? td_fail(&op->err, TD_E_NOTFOUND, "no such mail in the outbox")
			    : changed;
}

static int
outbox_retry_run(struct store_op *op, struct store_db *db)
{
	struct mail_op *o = (struct mail_op *)op;

	op->res.id = o->m.id;
	return need_one(op, store_db_do(db, &op->err,
					"UPDATE outbox SET tries = tries + 1, next_try = ?2,"
					" last_error = ?3 WHERE id = ?1",
					SV(sv_int(ms_of(o->m.id)), sv_int(ms_of(o->m.next_try)),
					   sv_opt(o->m.last_error))));
}

static int
outbox_del_run(struct store_op *op, struct store_db *db)
{
	struct mail_op *o = (struct mail_op *)op;

	op->res.id = o->m.id;
	return need_one(op, store_db_do(db, &op->err, "DELETE FROM outbox WHERE id = ?1",
					SV(sv_int(ms_of(o->m.id)))));
}

/* The sender may be gone by now: then only the mail goes (id 0).  No quota here: the error
 * takes the place of a mail that was let in. */
static int
outbox_bounce_run(struct store_op *op, struct store_db *db)
{
	struct mail_op *o = (struct mail_op *)op;
	int64_t account = 0;
	int rc = outbox_del_run(op, db);

	op->res.id = 0;
	if (rc < 0)
		return rc;
	rc = store_account_id(op, db, o->bounce_to, &account);
	if (rc == TD_E_NOTFOUND)
		return 0;
	return rc < 0 ? rc
		      : store_message_insert(op, db, account, o->stanza, o->when, 0, &op->res.id);
}

static const struct store_opdef outbox_retry = {
	.name = "outbox-retry",
	.write = true,
	.run = outbox_retry_run,
	.reply = store_op_reply,
};

static const struct store_opdef outbox_del = {
	.name = "outbox-del",
	.write = true,
	.run = outbox_del_run,
	.reply = store_op_reply,
};

static const struct store_opdef outbox_bounce = {
	.name = "outbox-bounce",
	.write = true,
	.run = outbox_bounce_run,
	.reply = store_op_reply,
};

static struct mail_op *
mail_op_new(struct store *st, const struct store_opdef *def, uint64_t id, size_t extra,
	    struct store_to to)
{
	struct mail_op *o = store_op_new(st, def, sizeof(*o), extra);

	o->m.id = id;
	store_op_to(&o->op, to);
	store_op_topic(&o->op, STORE_OUTBOX);
	return o;
}

void
store_outbox_retry(struct store *st, uint64_t id, uint64_t next_try, struct td_str error,
		   struct store_to to)
{
	struct mail_op *o = mail_op_new(st, &outbox_retry, id, error.len, to);

	o->m.next_try = next_try;
	o->m.last_error = store_op_str(&o->op, error);
	store_op_submit(&o->op);
}

void
store_outbox_del(struct store *st, uint64_t id, struct store_to to)
{
	store_op_submit(&mail_op_new(st, &outbox_del, id, 0, to)->op);
}

void
store_outbox_bounce(struct store *st, uint64_t id, struct td_str to, struct td_str stanza,
		    uint64_t when, struct store_to to_)
{
	struct mail_op *o = mail_op_new(st, &outbox_bounce, id, to.len + stanza.len, to_);

	o->bounce_to = store_op_str(&o->op, to);
	o->stanza = store_op_str(&o->op, stanza);
	o->when = when;
	store_op_key(&o->op, to);
	store_op_submit(&o->op);
}
