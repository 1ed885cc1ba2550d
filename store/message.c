/* message - stanzas that wait for an account, and mail that becomes one. */
#include "store/store.h"

#include <stdlib.h>
#include "gateway/base/log.h"
#include "store/op.h"

struct add_op {
	struct store_op op;
	struct store_message m;
};

struct get_op {
	struct store_op op;
	struct td_str to;
	uint64_t after;
	unsigned max;
	struct store_message *m;
	size_t n;
};

struct del_op {
	struct store_op op;
	uint64_t *ids;
	size_t n;
};

struct chats_op {
	struct store_op op;
	struct store_chat *c;
	size_t n;
};

int
store_message_insert(struct store_op *op, struct store_db *db, int64_t account,
		     struct td_str stanza, uint64_t when, unsigned limit, uint64_t *id)
{
	int64_t count = 0;
	int rc = 0;

	if (limit > 0)
		rc = store_db_int(db, &op->err, &count,
				  "SELECT count(*) FROM"
				  " (SELECT 1 FROM messages WHERE account = ?1 LIMIT ?2)",
				  SV(sv_int(account), sv_int((int64_t)limit)));
	if (rc < 0)
		return rc;
	if (limit > 0 && count >= limit)
		return td_fail(&op->err, TD_E_LIMIT, "%u messages wait for this account already",
			       limit);
	rc = store_db_do(db, &op->err,
			 "INSERT INTO messages (account, at, stanza) VALUES (?1, ?2, ?3)",
			 SV(sv_int(account), sv_int((int64_t)when), sv_blob(stanza)));
	if (rc >= 0)
		*id = (uint64_t)sqlite3_last_insert_rowid(store_db_handle(db));
	return rc;
}

/* ---- add ---- */

static int
message_add_run(struct store_op *op, struct store_db *db)
{
	struct add_op *o = (struct add_op *)op;
	int64_t account = 0;
	int rc = store_account_id(op, db, o->m.to, &account);

	if (rc < 0)
		return rc;
	return store_message_insert(op, db, account, o->m.stanza, o->m.when,
				    store_max_offline(op->st), &op->res.id);
}

static const struct store_opdef message_add = {
	.name = "message-add",
	.write = true,
	.run = message_add_run,
	.reply = store_op_reply,
};

void
store_message_add(struct store *st, struct td_str to, struct td_str stanza, uint64_t when,
		  struct store_to to_)
{
	struct add_op *o = store_op_new(st, &message_add, sizeof(*o), to.len + stanza.len);

	o->m.to = store_op_str(&o->op, to);
	o->m.stanza = store_op_str(&o->op, stanza);
	o->m.when = when;
	store_op_to(&o->op, to_);
	store_op_key(&o->op, to);
	store_op_submit(&o->op);
}

/* ---- get ---- */

static int
messages_get_run(struct store_op *op, struct store_db *db)
{
	struct get_op *o = (struct get_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(
		db, &op->err, &q,
		"SELECT id, at, stanza FROM messages"
		" WHERE account = (SELECT id FROM accounts WHERE jid = ?1) AND id > ?2"
		" ORDER BY id LIMIT ?3",
		SV(sv_text(o->to), sv_int(o->after > INT64_MAX ? INT64_MAX : (int64_t)o->after),
		   sv_int(o->max)));

	o->n = 0;
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		o->m = store_op_grow(op, o->m, o->n, sizeof(*o->m));
		o->m[o->n++] = (struct store_message){
			.id = (uint64_t)sqlite3_column_int64(q, 0),
			.to = o->to,
			.when = (uint64_t)sqlite3_column_int64(q, 1),
			.stanza = store_db_str(q, 2, op->arena),
		};
	}
	op->res.id = o->n;
	return rc;
}

static void
messages_get_reply(struct store_op *op)
{
	struct get_op *o = (struct get_op *)op;

	op->cb.messages(op->arg, &op->res, o->m, op->res.rc == 0 ? o->n : 0);
}

static const struct store_opdef messages_get = {
	.name = "messages-get",
	.run = messages_get_run,
	.reply = messages_get_reply,
};

void
store_messages_get(struct store *st, struct td_str to, uint64_t after, unsigned max,
		   struct td_loop *loop, store_messages_cb *cb, void *arg)
{
	struct get_op *o = store_op_new(st, &messages_get, sizeof(*o), to.len);

	o->to = store_op_str(&o->op, to);
	o->after = after;
	o->max = max;
	o->op.loop = loop;
	o->op.cb.messages = cb;
	o->op.arg = arg;
	store_op_key(&o->op, to);
	store_op_topic(&o->op, STORE_ALL_MESSAGES);
	store_op_submit(&o->op);
}

/* ---- del ---- */

static int
message_del_run(struct store_op *op, struct store_db *db)
{
	struct del_op *o = (struct del_op *)op;
	uint64_t gone = 0;

	for (size_t i = 0; i < o->n; i++) {
		int rc = store_db_do(db, &op->err, "DELETE FROM messages WHERE id = ?1",
				     SV(sv_int((int64_t)o->ids[i])));

		if (rc < 0)
			return rc;
		gone += (uint64_t)rc;
	}
	op->res.id = gone;
	return 0;
}

static const struct store_opdef message_del = {
	.name = "message-del",
	.write = true,
	.run = message_del_run,
	.reply = store_op_reply,
};

void
store_message_del(struct store *st, const uint64_t *ids, size_t n, struct store_to to)
{
	struct del_op *o = store_op_new(st, &message_del, sizeof(*o), n * sizeof(*ids));

	o->ids = td_arena_alloc(o->op.arena, n * sizeof(*ids));
	if (n > 0)
		memcpy(o->ids, ids, n * sizeof(*ids));
	o->n = n;
	/* most are of messages just delivered: a commit for each would double the commits */
	o->op.lazy_ms = to.cb == NULL ? STORE_LAZY_MS : 0;
	store_op_to(&o->op, to);
	store_op_topic(&o->op, STORE_ALL_MESSAGES);
	store_op_submit(&o->op);
}

/* ---- mail become chat ---- */

/* 1 = seen within dedup_life, 0 = new and remembered now. */
static int
is_repeat(struct store_op *op, struct store_db *db, const struct store_chat *c, uint64_t now)
{
	int64_t at = 0;
	int rc;

	if (c->mail_id.p == NULL)
		return 0;
	rc = store_db_int(db, &op->err, &at,
			  "SELECT at FROM dedup WHERE mail_id = ?1 AND account = ?2",
			  SV(sv_text(c->mail_id), sv_text(c->to)));
	if (rc < 0)
		return rc;
	if (rc == 1 && at > (int64_t)now - store_dedup_ms(op->st))
		return 1;
	rc = store_db_do(db, &op->err,
			 "INSERT INTO dedup (mail_id, account, at) VALUES (?1, ?2, ?3)"
			 " ON CONFLICT (mail_id, account) DO UPDATE SET at = ?3",
			 SV(sv_text(c->mail_id), sv_text(c->to), sv_int((int64_t)now)));
	return rc < 0 ? rc : 0;
}

static int
add_chat(struct store_op *op, struct store_db *db, struct store_chat *c, uint64_t now)
{
	int64_t account = 0;
	int rc;

	c->row_out = 0;
	if ((rc = store_account_id(op, db, c->to, &account)) < 0)
		return rc;
	if ((rc = is_repeat(op, db, c, now)) != 0)
		return rc;
	rc = store_message_insert(op, db, account, c->stanza, now, store_max_offline(op->st),
				  &c->row_out);
	if (rc >= 0 && c->mail_id.p != NULL && c->thread.p != NULL) {
		struct store_thread t = {
			.account = c->to,
			.peer = c->peer,
			.mail_id = c->mail_id,
			.thread = c->thread,
			.subject = c->subject,
		};

		rc = store_thread_insert(op, db, &t);
	}
	return rc;
}

static int
chats_add_run(struct store_op *op, struct store_db *db)
{
	struct chats_op *o = (struct chats_op *)op;
	uint64_t now = store_now(op->st);

	op->res.id = 0;
	for (size_t i = 0; i < o->n; i++) {
		int rc = add_chat(op, db, &o->c[i], now);

		if (rc < 0)
			return rc;
		op->res.id += o->c[i].row_out != 0;
	}
	return 0;
}

static void
chats_add_reply(struct store_op *op)
{
	struct chats_op *o = (struct chats_op *)op;

	/* nothing was stored when it failed half way */
	for (size_t i = 0; op->res.rc < 0 && i < o->n; i++)
		o->c[i].row_out = 0;
	op->cb.chats(op->arg, &op->res, o->c, o->n);
}

static const struct store_opdef chats_add = {
	.name = "chats-add",
	.write = true,
	.run = chats_add_run,
	.reply = chats_add_reply,
};

static struct chats_op *
chats_op_new(struct store *st, const struct store_chat *c, size_t n)
{
	struct chats_op *o;
	size_t bytes = n * sizeof(*c);

	for (size_t i = 0; i < n; i++)
		bytes += c[i].to.len + c[i].stanza.len + c[i].mail_id.len + c[i].thread.len +
			 c[i].peer.len + c[i].subject.len;
	o = store_op_new(st, &chats_add, sizeof(*o), bytes);
	o->c = td_arena_alloc(o->op.arena, n * sizeof(*c));
	o->n = n;
	store_op_room(&o->op, n);
	for (size_t i = 0; i < n; i++) {
		o->c[i] = (struct store_chat){
			.to = store_op_str(&o->op, c[i].to),
			.stanza = store_op_str(&o->op, c[i].stanza),
			.mail_id = store_op_str(&o->op, c[i].mail_id),
			.thread = store_op_str(&o->op, c[i].thread),
			.peer = store_op_str(&o->op, c[i].peer),
			.subject = store_op_str(&o->op, c[i].subject),
		};
		store_op_key(&o->op, c[i].to);
	}
	return o;
}

void
store_chats_add(struct store *st, const struct store_chat *c, size_t n, struct td_loop *loop,
		store_chats_cb *cb, void *arg)
{
	struct chats_op *o = chats_op_new(st, c, n);

	o->op.loop = loop;
	o->op.cb.chats = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

int
store_chats_add_wait(struct store *st, struct store_chat *c, size_t n, unsigned ms,
		     store_chats_cb *late, void *arg, struct td_err *err)
{
	struct chats_op *o = chats_op_new(st, c, n);
	int rc;

	if (late != NULL)
		o->op.late = chats_add_reply;
	o->op.cb.chats = late;
	o->op.arg = arg;

	for (size_t i = 0; i < n; i++)
		c[i].row_out = 0;
	if ((rc = store_op_submit_wait(&o->op, ms, err)) < 0)
		return rc;
	rc = o->op.res.rc;
	if (rc < 0)
		(void)td_fail(err, rc, "%s", o->op.res.error);
	for (size_t i = 0; rc == 0 && i < n; i++)
		c[i].row_out = o->c[i].row_out;
	store_op_free(&o->op);
	return rc;
}
