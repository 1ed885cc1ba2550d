/* thread - which chat thread a mail belongs to, and which mail a thread last saw. */
#include "store/store.h"

#include <stdlib.h>
#include "gateway/base/log.h"
#include "store/op.h"

/* A References header may name any number; the nearest ones come first. */
#define IDS_MAX 256u

struct thread_op {
	struct store_op op;
	struct store_thread t; /* argument, or the answer of a query */
	struct td_str account, peer, thread;
	struct td_str *ids;
	size_t n_ids;
};

struct store_thread
store_thread_copy(struct td_arena *a, const struct store_thread *t)
{
	return (struct store_thread){
		.account = td_arena_str(a, t->account),
		.peer = td_arena_str(a, t->peer),
		.mail_id = td_arena_str(a, t->mail_id),
		.thread = td_arena_str(a, t->thread),
		.subject = td_arena_str(a, t->subject),
	};
}

/* ---- put ---- */

int
store_thread_insert(struct store_op *op, struct store_db *db, const struct store_thread *t)
{
	if (t->account.len == 0 || t->mail_id.len == 0)
		return td_fail(&op->err, TD_E_INVAL, "a thread needs an account and a Message-ID");
	/* REPLACE gives a new row id, so the mail put last is the latest of its thread */
	return store_db_do(
		db, &op->err,
		"INSERT OR REPLACE INTO threads (account, mail_id, peer, thread, subject, at)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
		SV(sv_text(t->account), sv_text(t->mail_id), sv_text(t->peer), sv_opt(t->thread),
		   sv_opt(t->subject), sv_int((int64_t)store_now(op->st))));
}

static int
thread_put_run(struct store_op *op, struct store_db *db)
{
	return store_thread_insert(op, db, &((struct thread_op *)op)->t);
}

static const struct store_opdef thread_put = {
	.name = "thread-put",
	.write = true,
	.run = thread_put_run,
	.reply = store_op_reply,
};

void
store_thread_put(struct store *st, const struct store_thread *t, struct store_to to)
{
	struct thread_op *o = store_op_new(st, &thread_put, sizeof(*o),
					   t->account.len + t->peer.len + t->mail_id.len +
						   t->thread.len + t->subject.len);

	o->t = store_thread_copy(o->op.arena, t);
	store_op_to(&o->op, to);
	store_op_key(&o->op, t->account);
	store_op_submit(&o->op);
}

/* ---- find ---- */

/* Fill o->t from a row (peer, mail_id, thread, subject); 1, 0 = no row, or TD_E_*. */
static int
next_thread(struct thread_op *o, struct store_db *db, sqlite3_stmt *q)
{
	struct td_arena *a = o->op.arena;
	int rc = store_db_next(db, &o->op.err, q);

	if (rc == 1)
		o->t = (struct store_thread){
			.account = o->account,
			.peer = store_db_str(q, 0, a),
			.mail_id = store_db_str(q, 1, a),
			.thread = store_db_str(q, 2, a),
			.subject = store_db_str(q, 3, a),
		};
	return rc;
}

static int
thread_by_mail_run(struct store_op *op, struct store_db *db)
{
	struct thread_op *o = (struct thread_op *)op;

	for (size_t i = 0; i < o->n_ids; i++) {
		sqlite3_stmt *q;
		int rc = store_db_query(db, &op->err, &q,
					"SELECT peer, mail_id, thread, subject FROM threads"
					" WHERE account = ?1 AND mail_id = ?2",
					SV(sv_text(o->account), sv_text(o->ids[i])));

		if (rc < 0 || (rc = next_thread(o, db, q)) != 0)
			return rc;
	}
	return td_fail(&op->err, TD_E_NOTFOUND, "no such thread");
}

static int
thread_latest_run(struct store_op *op, struct store_db *db)
{
	struct thread_op *o = (struct thread_op *)op;
	sqlite3_stmt *q;
	int rc;

	if (o->thread.p != NULL)
		rc = store_db_query(db, &op->err, &q,
				    "SELECT peer, mail_id, thread, subject FROM threads"
				    " WHERE account = ?1 AND peer = ?2 AND thread = ?3"
				    " ORDER BY id DESC LIMIT 1",
				    SV(sv_text(o->account), sv_text(o->peer), sv_text(o->thread)));
	else
		rc = store_db_query(db, &op->err, &q,
				    "SELECT peer, mail_id, thread, subject FROM threads"
				    " WHERE account = ?1 AND peer = ?2 ORDER BY id DESC LIMIT 1",
				    SV(sv_text(o->account), sv_text(o->peer)));
	if (rc == 0 && (rc = next_thread(o, db, q)) == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such thread");
	return rc;
}

static void
thread_reply(struct store_op *op)
{
	struct thread_op *o = (struct thread_op *)op;

	op->cb.thread(op->arg, &op->res, op->res.rc == 0 ? &o->t : NULL);
}

static const struct store_opdef thread_by_mail = {
	.name = "thread-by-mail",
	.run = thread_by_mail_run,
	.reply = thread_reply,
};

static const struct store_opdef thread_latest = {
	.name = "thread-latest",
	.run = thread_latest_run,
	.reply = thread_reply,
};

static struct thread_op *
by_mail_new(struct store *st, struct td_str account, const struct td_str *ids, size_t n)
{
	struct thread_op *o = store_op_new(st, &thread_by_mail, sizeof(*o), account.len);

	o->account = store_op_str(&o->op, account);
	o->n_ids = n < IDS_MAX ? n : IDS_MAX;
	o->ids = td_arena_alloc(o->op.arena, o->n_ids * sizeof(*o->ids));
	for (size_t i = 0; i < o->n_ids; i++)
		o->ids[i] = store_op_str(&o->op, ids[i]);
	store_op_key(&o->op, account);
	return o;
}

void
store_thread_by_mail(struct store *st, struct td_str account, const struct td_str *ids, size_t n,
		     struct td_loop *loop, store_thread_cb *cb, void *arg)
{
	struct thread_op *o = by_mail_new(st, account, ids, n);

	o->op.loop = loop;
	o->op.cb.thread = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

int
store_thread_by_mail_now(struct store *st, struct td_arena *a, struct td_str account,
			 const struct td_str *ids, size_t n, struct store_thread *out)
{
	struct thread_op *o = by_mail_new(st, account, ids, n);
	int rc = store_op_submit_wait(&o->op, store_patience(st), NULL);

	if (rc < 0)
		return rc;
	rc = o->op.res.rc;
	if (rc == 0)
		*out = store_thread_copy(a, &o->t);
	store_op_free(&o->op);
	return rc;
}

void
store_thread_latest(struct store *st, struct td_str account, struct td_str peer,
		    struct td_str thread, struct td_loop *loop, store_thread_cb *cb, void *arg)
{
	struct thread_op *o =
		store_op_new(st, &thread_latest, sizeof(*o), account.len + peer.len + thread.len);

	o->account = store_op_str(&o->op, account);
	o->peer = store_op_str(&o->op, peer);
	o->thread = store_op_str(&o->op, thread);
	o->op.loop = loop;
	o->op.cb.thread = cb;
	o->op.arg = arg;
	store_op_key(&o->op, account);
	store_op_submit(&o->op);
}
