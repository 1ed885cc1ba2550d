/* store - the queue, the writer and the readers.
 *
 * Every call is an op.  A write goes to the writer's queue; a read goes to a reader, unless
 * the writer has something queued for one of its keys: then it follows that.  The writer
 * takes all that waits, runs it as one transaction (when an op fails, again, with a savepoint
 * each, so that it does not spoil the rest), commits, and only then posts the replies.  An op whose key
 * has reads under way at a reader stays in the queue, with all behind it that share a key.
 * What a loop asks for in one turn wakes the threads once, at its end: a wake per op would let
 * them run for one op at a time, each time in place of the loop when cores are few.
 * Lazy ops do not make it begin by themselves, for as long as each may wait; they keep their place.
 * A transaction takes no more ops when it has lasted some time: who is in it waits for all of it.
 *
 * New rows of archives stay in a log until they are sorted into their place (archive_log.c): when there are many,
 * when some time has passed, and before a read of an archive that has some.  Such a read goes to the writer.
 *
 * When a transaction breaks (disk full, I/O), its ops are run again one by one: what still
 * can succeed does, the others get their own error, and nothing was answered too early. */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "gateway/base/log.h"
#include "store/op.h"

#define KEYS (STORE_BUCKETS + STORE_TOPIC_COUNT)
#define BATCH_MAX 4096u          /* ops taken at a time */
#define COMMIT_MS 25u            /* ops go into a transaction for so long */
#define READ_BATCH 64u           /* reads per snapshot: a long one would hold up checkpoints */
#define QUEUE_BYTES (256u << 20) /* then callers are told BUSY */
#define READERS_MAX 16u
#define WAKE_MAX 16u          /* ops that wait for the end of a loop's turn */
#define LAZY_MAX 256u         /* lazy ops that may wait for others */
#define WARY 100u             /* batches with savepoints after an op failed */
#define SORT_MS 500u          /* rows wait so long in the log of archives */
#define SORT_AGAIN_MS 10000u  /* after it failed */
#define SORT_BYTES (8u << 20) /* of rows in the log */
#define SORT_AIM_MS 40u       /* what sorting may take: all wait for it */
#define SORT_ROWS_MIN 1024u
#define SORT_ROWS_MAX 16384u
#define PURGE_FIRST_MS 60000u
#define PURGE_EVERY_MS 3600000u

struct key {
	uint32_t queued;  /* ops with the writer, not yet answered */
	uint32_t reading; /* ops with a reader, not yet answered */
	uint32_t parked;  /* used inside take() */
	uint64_t
		logged; /* which op was the last to leave rows in the log of archives; 0 = none did */
};

struct reader {
	struct store *st;
	struct store_db *db;
	pthread_t thread;
	pthread_cond_t more;
	struct store_ops ops;
};

struct store {
	/* set at open */
	bool memory; /* no second connection can see it: the writer reads too */
	unsigned n_readers, max_offline, patience;
	_Atomic int64_t dedup_ms;
	struct store_db *db; /* the writer's */
	struct store_known *known;
	struct store_jids *jids; /* writer only */
	pthread_t writer;
	bool started; /* the writer runs */
	unsigned n_started;

	pthread_mutex_t lock; /* the fields below, and each reader's ops */
	pthread_cond_t more;
	struct store_ops ops;
	struct key keys[KEYS];
	uint64_t queued, bytes; /* all ops not yet answered */
	bool parked;            /* ops wait for reads to end */
	bool urgent;            /* <ops> has one that is not lazy, or was not taken */
	unsigned n_lazy;        /* those that came since the last take() */
	uint64_t lazy_at;       /* mono ms: one of them has waited enough */
	bool closing, readers_stop, hold_readers, hold_writer;
	uint64_t purge_at; /* mono ms */
	uint64_t sorted;   /* the log of archives has nothing of the ops up to here */
	uint64_t sort_at;  /* mono ms: it has been there long enough; UINT64_MAX = nothing is */
	struct reader readers[READERS_MAX];

	unsigned char archive_key[16];
	_Atomic int64_t shift;
	_Atomic uint64_t writes, commits, reads, errors;
	/* writer only */
	int trouble;        /* what the last transaction broke on */
	unsigned wary;      /* this many batches get savepoints */
	uint64_t logged;    /* ops that left rows in the log of archives */
	uint64_t log_rows;  /* in it, */
	uint64_t log_bytes; /* or a little more */
	uint64_t sort_rows; /* when there are so many, it is sorted */
};

/* Whom this thread's loop wakes at the end of its turn. */
struct waker {
	struct td_task task;
	struct td_loop *loop;
	struct store *st; /* NULL: nobody's threads */
	uint32_t who;
	unsigned n;
};

/* A set of the threads of a store. */
#define WRITER 1u
#define READER(i) (2u << (i))

static __thread struct waker waker;
static const struct td_logctx store_log = { .domain = "store" };

/* ---- ops ---- */

void *
store_op_new(struct store *st, const struct store_opdef *def, size_t size, size_t extra)
{
	/* the NULs and alignment of copied strings, and a small answer */
	struct td_arena *a = td_arena_new(size + extra + 256);
	struct store_op *op = td_arena_zalloc(a, size);

	op->arena = a;
	op->def = def;
	op->st = st;
	op->keys = op->key_buf;
	op->max_keys = sizeof(op->key_buf) / sizeof(op->key_buf[0]);
	return op;
}

void
store_op_free(struct store_op *op)
{
	if (op == NULL)
		return;
	if (op->def->wipe != NULL)
		op->def->wipe(op);
	td_arena_free(op->arena);
}

void
store_op_to(struct store_op *op, struct store_to to)
{
	op->loop = to.loop;
	op->cb.result = to.cb;
	op->arg = to.arg;
}

void
store_op_room(struct store_op *op, size_t n)
{
	size_t max = op->max_keys + n;
	uint16_t *keys = td_arena_alloc(op->arena, max * sizeof(*keys));

	memcpy(keys, op->keys, op->n_keys * sizeof(*keys));
	op->keys = keys;
	op->max_keys = max;
}

void
store_op_key(struct store_op *op, struct td_str address)
{
	if (op->n_keys == op->max_keys)
		store_op_room(op, op->max_keys);
	op->keys[op->n_keys++] =
		(uint16_t)(STORE_TOPIC_COUNT + td_str_hash(address) % STORE_BUCKETS);
}

void
store_op_topic(struct store_op *op, enum store_topic topic)
{
	if (op->n_keys == op->max_keys)
		store_op_room(op, op->max_keys);
	op->keys[op->n_keys++] = (uint16_t)topic;
}

struct td_str
store_op_str(struct store_op *op, struct td_str s)
{
	return td_arena_str(op->arena, s);
}

void *
store_op_grow(struct store_op *op, void *array, size_t n, size_t size)
{
	void *p;

	/* full at 0 and at every power of two from 8 on */
	if (n != 0 && (n < 8 || (n & (n - 1)) != 0))
		return array;
	p = td_arena_alloc(op->arena, (n == 0 ? 8 : n * 2) * size);
	if (n > 0)
		memcpy(p, array, n * size);
	return p;
}

void
store_op_reply(struct store_op *op)
{
	op->cb.result(op->arg, &op->res);
}

static void
run_reply(struct td_mail *m, struct td_loop *loop)
{
	struct store_op *op = (struct store_op *)m;

	(void)loop;
	op->def->reply(op);
	store_op_free(op);
}

/* The op is gone after this. */
static void
answer(struct store_op *op)
{
	op->mail.run = run_reply;
	if (op->wait != NULL)
		store_wait_give(op->wait, op);
	else if (op->cb.result == NULL)
		store_op_free(op);
	else if (op->loop == NULL)
		run_reply(&op->mail, NULL);
	else
		td_loop_post(op->loop, &op->mail);
}

static void
set_result(struct store_op *op, int rc)
{
	op->res.rc = rc;
	op->res.error = NULL;
	if (rc >= 0)
		return;
	if (op->err.text[0] == '\0')
		(void)td_fail(&op->err, rc, "%s", td_errname(rc));
	op->res.error = op->err.text;
}

/* Is it the machine that failed, not the request? */
static bool
is_trouble(int rc)
{
	return rc == TD_E_FULL || rc == TD_E_IO || rc == TD_E_BUSY || rc == TD_E_CORRUPT;
}

static int
run_op(struct store_op *op, struct store_db *db)
{
	int rc;

	op->res = (struct store_result){ 0 };
	op->err.code = 0;
	op->err.text[0] = '\0';
	rc = op->def->run(op, db);
	store_db_settle(db);
	set_result(op, rc < 0 ? rc : 0);
	return op->res.rc;
}

/* ---- the queue; st->lock is held in these ---- */

/* May the log of archives have something for <op>? */
static bool
is_unsorted(const struct store *st, const struct store_op *op)
{
	for (size_t i = 0; i < op->n_keys; i++)
		if (st->keys[op->keys[i]].logged > st->sorted)
			return true;
	return false;
}

static bool
goes_to_writer(const struct store *st, const struct store_op *op)
{
	if (op->def->write || st->memory || (op->def->sorted && is_unsorted(st, op)))
		return true;
	for (size_t i = 0; i < op->n_keys; i++)
		if (st->keys[op->keys[i]].queued > 0)
			return true;
	return false;
}

/* Does a queued <op> draw later reads of its key <i> after it?  The topics a read shares
 * with others (it looks at messages) are no reason; its own key, the first, is. */
static bool
draws(const struct store_op *op, size_t i)
{
	return op->def->write || i == 0 || op->keys[i] >= STORE_TOPIC_COUNT;
}

/* May <op> wake the writer?  The first lazy one does, to set its clock, and one that waits less. */
static bool
wakes(struct store *st, const struct store_op *op)
{
	uint64_t at;

	if (op->lazy_ms == 0 || ++st->n_lazy >= LAZY_MAX) {
		st->urgent = true;
		return true;
	}
	at = td_mono_ms() + op->lazy_ms;
	if (st->n_lazy > 1 && at >= st->lazy_at)
		return false;
	st->lazy_at = at;
	return true;
}

static bool
push_to_writer(struct store *st, struct store_op *op)
{
	st->queued++;
	st->bytes += op->bytes;
	for (size_t i = 0; i < op->n_keys; i++)
		st->keys[op->keys[i]].queued += draws(op, i);
	STAILQ_INSERT_TAIL(&st->ops, op, link);
	return wakes(st, op);
}

/* Have the log sorted now; before <reader>, in whose place in the order it stands then. */
static void
push_sort(struct store *st, const struct store_op *reader)
{
	struct store_op *op = store_archive_sort_op(st);

	if (reader != NULL) {
		store_op_room(op, reader->n_keys);
		memcpy(op->keys, reader->keys, reader->n_keys * sizeof(*op->keys));
		op->n_keys = reader->n_keys;
	}
	op->bytes = td_arena_used(op->arena);
	(void)push_to_writer(st, op);
}

/* Who is to be woken for it, if anybody: with the lock given back, or it would wake only to wait
 * for that. */
static uint32_t
push(struct store *st, struct store_op *op)
{
	unsigned r = op->n_keys > 0 ? op->keys[0] % st->n_readers : 0;

	if (goes_to_writer(st, op)) {
		if (op->def->sorted)
			push_sort(st, op);
		return push_to_writer(st, op) ? WRITER : 0;
	}
	/* reads of one key meet the same reader, so they keep their order */
	st->queued++;
	st->bytes += op->bytes;
	for (size_t i = 0; i < op->n_keys; i++)
		st->keys[op->keys[i]].reading++;
	STAILQ_INSERT_TAIL(&st->readers[r].ops, op, link);
	return READER(r);
}

static bool
must_wait(const struct store *st, const struct store_op *op)
{
	for (size_t i = 0; i < op->n_keys; i++) {
		const struct key *k = &st->keys[op->keys[i]];

		if (k->parked > 0 || (op->def->write && k->reading > 0))
			return true;
	}
	return false;
}

static void
set_parked(struct store *st, const struct store_op *op, uint32_t parked)
{
	for (size_t i = 0; i < op->n_keys; i++)
		st->keys[op->keys[i]].parked = parked;
}

/* Move what may run now from the queue to <batch>, in order. */
static void
take(struct store *st, struct store_ops *batch)
{
	struct store_ops all = STAILQ_HEAD_INITIALIZER(all);
	struct store_ops stay = STAILQ_HEAD_INITIALIZER(stay);
	struct store_op *op;
	unsigned n = 0;

	STAILQ_INIT(batch);
	STAILQ_CONCAT(&all, &st->ops);
	while (n < BATCH_MAX && (op = STAILQ_FIRST(&all)) != NULL) {
		STAILQ_REMOVE_HEAD(&all, link);
		if (must_wait(st, op)) {
			set_parked(st, op, 1);
			STAILQ_INSERT_TAIL(&stay, op, link);
		} else {
			STAILQ_INSERT_TAIL(batch, op, link);
			n++;
		}
	}
	st->parked = !STAILQ_EMPTY(&stay);
	STAILQ_FOREACH(op, &stay, link)
	for (size_t i = 0; i < op->n_keys; i++)
		st->keys[op->keys[i]].parked = 0;
	STAILQ_CONCAT(&st->ops, &stay);
	STAILQ_CONCAT(&st->ops, &all);
	st->urgent = !STAILQ_EMPTY(&st->ops);
	st->n_lazy = 0;
}

/* What answered ops leave behind: the counters may change only when the answers are posted
 * (or a later op could overtake), and then the ops are no longer ours to look at. */
struct done {
	uint64_t ops, bytes;
	size_t n, cap;
	struct done_key {
		uint16_t key;
		uint64_t logged; /* 0 = it left nothing in the log of archives */
	} * keys;
	uint64_t sorted; /* 0 = it was not sorted */
	bool unsorted;   /* that failed */
};

static void
done_add(struct done *d, const struct store_op *op, bool writer)
{
	uint64_t logged = op->def->logs && op->res.rc == 0 ? op->st->logged : 0;

	d->ops++;
	d->bytes += op->bytes;
	if (d->n + op->n_keys > d->cap) {
		d->cap = (d->n + op->n_keys) * 2;
		d->keys = td_realloc(d->keys, d->cap * sizeof(*d->keys));
	}
	for (size_t i = 0; i < op->n_keys; i++)
		if (!writer || draws(op, i))
			d->keys[d->n++] = (struct done_key){ op->keys[i], logged };
}

static void
done_settle(struct store *st, struct done *d, bool writer)
{
	for (size_t i = 0; i < d->n; i++) {
		struct key *k = &st->keys[d->keys[i].key];

		if (writer)
			k->queued--;
		else
			k->reading--;
		if (d->keys[i].logged > 0)
			k->logged = d->keys[i].logged;
	}
	st->queued -= d->ops;
	st->bytes -= d->bytes;
	if (!writer && st->parked)
		pthread_cond_signal(&st->more);
	d->ops = d->bytes = d->n = 0;
}

/* <rows> took <ms>, which is what everybody waited. */
static void
adapt_sort(struct store *st, uint64_t rows, uint64_t ms)
{
	if (rows < SORT_ROWS_MIN)
		return;
	rows = rows * SORT_AIM_MS / (ms > 0 ? ms : 1);
	st->sort_rows = rows < SORT_ROWS_MIN   ? SORT_ROWS_MIN
			: rows > SORT_ROWS_MAX ? SORT_ROWS_MAX
					       : rows;
}

/* When the log of archives is to be sorted next, or now. */
static void
plan_sort(struct store *st, struct done *d)
{
	uint64_t now = td_mono_ms();

	if (d->sorted > 0)
		st->sorted = d->sorted;
	if (st->log_rows == 0)
		st->sort_at = UINT64_MAX;
	else if (d->unsorted)
		st->sort_at = now + SORT_AGAIN_MS;
	else if (d->sorted > 0 || st->sort_at == UINT64_MAX)
		st->sort_at = now + SORT_MS;
	/* not sooner than SORT_AGAIN_MS after it failed */
	if (st->sort_at <= now + SORT_MS &&
	    (st->log_rows >= st->sort_rows || st->log_bytes >= SORT_BYTES))
		st->sort_at = now;
	d->sorted = 0;
	d->unsorted = false;
}

static void
signal_to(struct store *st, uint32_t who)
{
	if (who & WRITER)
		pthread_cond_signal(&st->more);
	for (unsigned i = 0; who >= READER(i); i++)
		if (who & READER(i))
			pthread_cond_signal(&st->readers[i].more);
}

static void
end_of_turn(struct td_task *task)
{
	struct waker *w = (struct waker *)task;

	signal_to(w->st, w->who);
	w->st = NULL;
	w->who = w->n = 0;
}

static void
wake_now(struct waker *w)
{
	td_loop_undefer(w->loop, &w->task);
	end_of_turn(&w->task);
}

/* <loop>: whose thread this may be, or NULL. */
static void
wake(struct store *st, uint32_t who, struct td_loop *loop)
{
	struct waker *w = &waker;

	if (loop == NULL || !td_loop_is_turning(loop)) {
		signal_to(st, who);
		return;
	}
	if (w->st != NULL && (w->st != st || w->loop != loop))
		wake_now(w);
	w->task.run = end_of_turn;
	w->loop = loop;
	w->st = st;
	w->who |= who;
	td_loop_defer(loop, &w->task);
	if (++w->n >= WAKE_MAX)
		wake_now(w);
}

void
store_op_submit(struct store_op *op)
{
	struct store *st = op->st;
	const char *refused = NULL;
	struct td_loop *loop = op->loop; /* the op may be gone once it is pushed */
	uint32_t who = 0;

	op->bytes = td_arena_used(op->arena);
	pthread_mutex_lock(&st->lock);
	if (st->closing)
		refused = "the store is closing";
	else if (st->bytes + op->bytes > QUEUE_BYTES)
		refused = "the store's queue is full";
	else
		who = push(st, op);
	pthread_mutex_unlock(&st->lock);
	if (who != 0)
		wake(st, who, loop);
	if (refused != NULL) {
		atomic_fetch_add(&st->errors, 1);
		set_result(op, td_fail(&op->err, TD_E_BUSY, "%s", refused));
		answer(op);
	}
}

/* ---- the writer ---- */

/* Log once when writing begins to fail and once when it works again. */
static void
note_trouble(struct store *st, const struct td_err *err)
{
	int rc = err != NULL ? err->code : 0;

	if (rc != 0 && st->trouble == 0)
		td_log_warn(&store_log, "store-trouble", "code=%s error=%s", td_errname(rc),
			    td_escz(err->text));
	else if (rc == 0 && st->trouble != 0)
		td_log_notice(&store_log, "store-recovered", "after=%s", td_errname(st->trouble));
	st->trouble = rc;
}

static int
begin(struct store *st, struct td_err *err)
{
	int rc = store_db_do(st->db, err, "BEGIN IMMEDIATE", SV_NONE);

	return rc < 0 ? rc : 0;
}

static void
rollback(struct store *st)
{
	store_jids_drop(st->jids);
	/* SQLite may have done so itself */
	if (!sqlite3_get_autocommit(store_db_handle(st->db)))
		(void)store_db_do(st->db, NULL, "ROLLBACK", SV_NONE);
}

static int
commit(struct store *st, struct td_err *err)
{
	int rc = store_db_do(st->db, err, "COMMIT", SV_NONE);

	if (rc < 0) {
		rollback(st);
		return rc;
	}
	atomic_fetch_add(&st->commits, 1);
	note_trouble(st, NULL);
	return 0;
}

static void
fail_op(struct store_op *op, const struct td_err *why)
{
	op->err = *why;
	set_result(op, why->code);
}

/* One op in its own transaction. */
static void
run_alone(struct store *st, struct store_op *op)
{
	struct td_err err = { 0 };

	if (!op->def->write) {
		(void)run_op(op, st->db);
		return;
	}
	if (begin(st, &err) < 0) {
		fail_op(op, &err);
		note_trouble(st, &err);
		return;
	}
	if (run_op(op, st->db) < 0) {
		rollback(st);
		if (is_trouble(op->res.rc))
			note_trouble(st, &op->err);
	} else if (commit(st, &err) < 0) {
		fail_op(op, &err);
		note_trouble(st, &err);
	}
}

/* <waited>: the lock has been waited for in vain already. */
static void
run_each(struct store *st, struct store_ops *batch, const struct td_err *waited)
{
	const struct td_err *busy = waited;
	struct store_op *op;

	STAILQ_FOREACH(op, batch, link)
	{
		/* waited for once: not again for each that stands behind */
		if (busy != NULL && op->def->write)
			fail_op(op, busy);
		else
			run_alone(st, op);
		if (op->def->write && op->res.rc == TD_E_BUSY)
			busy = &op->err;
	}
}

/* All of <todo> that there is time for, in the transaction just begun; what was run is in <batch> then.
 * When it breaks nothing of it is stored.  Without <savepoints>, which cost as much as a small op, an op
 * that fails breaks it too. */
static int
run_together(struct store *st, struct store_ops *todo, struct store_ops *batch, bool savepoints,
	     struct td_err *err)
{
	uint64_t until = td_mono_ms() + COMMIT_MS;
	struct store_op *op;
	int rc;

	while ((op = STAILQ_FIRST(todo)) != NULL) {
		STAILQ_REMOVE_HEAD(todo, link);
		STAILQ_INSERT_TAIL(batch, op, link);
		if (!op->def->write) {
			(void)run_op(op, st->db);
			continue;
		}
		if (savepoints && (rc = store_db_do(st->db, err, "SAVEPOINT op", SV_NONE)) < 0)
			goto broken;
		rc = run_op(op, st->db);
		if (is_trouble(rc) || (rc < 0 && !savepoints)) {
			*err = op->err;
			goto broken;
		}
		if (rc < 0) {
			store_jids_drop(st->jids);
			if ((rc = store_db_do(st->db, err, "ROLLBACK TO op", SV_NONE)) < 0)
				goto broken;
		}
		if (savepoints && (rc = store_db_do(st->db, err, "RELEASE op", SV_NONE)) < 0)
			goto broken;
		if (td_mono_ms() >= until)
			break;
	}
	if ((rc = commit(st, err)) == 0)
		return 0;
	goto again;
broken:
	rollback(st);
again:
	STAILQ_CONCAT(batch, todo);
	STAILQ_CONCAT(todo, batch);
	return rc;
}

/* Run the first of <todo>, one at least, and move them to <batch>. */
static void
run_batch(struct store *st, struct store_ops *todo, struct store_ops *batch)
{
	struct td_err err = { 0 };
	unsigned writes = 0;
	struct store_op *op;
	bool begun;
	int rc;

	STAILQ_INIT(batch);
	STAILQ_FOREACH(op, todo, link)
	writes += op->def->write;
	if (writes < 2) {
		STAILQ_CONCAT(batch, todo);
		run_each(st, batch, NULL);
		return;
	}
	begun = (rc = begin(st, &err)) == 0;
	if (begun) {
		rc = run_together(st, todo, batch, st->wary > 0, &err);
		st->wary -= st->wary > 0;
	}
	if (begun && rc < 0 && !is_trouble(rc)) {
		/* one was refused: the others need not suffer, nor those of the next batches */
		st->wary = WARY;
		begun = (rc = begin(st, &err)) == 0;
		if (begun)
			rc = run_together(st, todo, batch, true, &err);
	}
	if (rc == 0)
		return;
	STAILQ_CONCAT(batch, todo);
	note_trouble(st, &err);
	run_each(st, batch, !begun && err.code == TD_E_BUSY ? &err : NULL);
}

/* Keep count of what is in the log of archives. */
static void
note_log(struct store *st, const struct store_op *op, struct done *d)
{
	if (op->def->sorts) {
		d->unsorted = op->res.rc < 0;
		if (op->res.rc < 0)
			return;
		d->sorted = st->logged;
		st->log_rows = st->log_bytes = 0;
	} else if (op->def->logs && op->res.rc == 0) {
		st->logged++;
		st->log_rows += op->res.id;
		st->log_bytes += op->bytes;
	}
}

static void
answer_batch(struct store *st, struct store_ops *batch, struct done *d)
{
	uint64_t errors = 0, writes = 0, reads = 0;
	bool drop = false;
	struct store_op *op;

	STAILQ_FOREACH(op, batch, link)
	{
		errors += is_trouble(op->res.rc);
		if (op->def->write)
			writes++;
		else
			reads++;
		drop |= op->def->accounts && op->res.rc == 0;
		note_log(st, op, d);
		done_add(d, op, true);
	}
	if (drop)
		store_known_drop(st->known);
	atomic_fetch_add(&st->errors, errors);
	atomic_fetch_add(&st->writes, writes);
	atomic_fetch_add(&st->reads, reads);
	while ((op = STAILQ_FIRST(batch)) != NULL) {
		STAILQ_REMOVE_HEAD(batch, link);
		answer(op);
	}
}

static struct timespec
mono_time(uint64_t ms)
{
	return (struct timespec){ .tv_sec = (time_t)(ms / 1000),
				  .tv_nsec = (long)(ms % 1000) * 1000000 };
}

static void
on_purged(void *arg, const struct store_result *r)
{
	struct store *st = arg;

	/* on the writer's thread, with nothing locked; more to do: come back soon */
	pthread_mutex_lock(&st->lock);
	if (r->rc == 0 && r->id > 0)
		st->purge_at = td_mono_ms() + 1000;
	pthread_mutex_unlock(&st->lock);
}

/* Is there something that should run now? */
static bool
is_time(const struct store *st)
{
	return !st->hold_writer &&
	       (st->urgent || st->closing || (st->n_lazy > 0 && td_mono_ms() >= st->lazy_at));
}

/* Before <at> comes something else to do. */
static uint64_t
wait_until(const struct store *st)
{
	uint64_t at = st->purge_at;

	if (st->hold_writer)
		return at;
	if (st->n_lazy > 0 && st->lazy_at < at)
		at = st->lazy_at;
	return st->sort_at < at ? st->sort_at : at;
}

/* Wait until there is work; false when closing and all is done.  The lock is held. */
static bool
next_batch(struct store *st, struct store_ops *batch)
{
	for (;;) {
		struct timespec until = mono_time(wait_until(st));

		STAILQ_INIT(batch);
		if (!st->hold_writer && td_mono_ms() >= st->sort_at) {
			st->sort_at = UINT64_MAX;
			push_sort(st, NULL);
		}
		if (is_time(st))
			take(st, batch);
		if (!STAILQ_EMPTY(batch))
			return true;
		if (st->closing && STAILQ_EMPTY(&st->ops)) {
			if (st->sort_at == UINT64_MAX)
				return false;
			st->sort_at = st->sort_at <= td_mono_ms() + SORT_MS ? 0 : UINT64_MAX;
			continue;
		}
		if (td_mono_ms() >= st->purge_at && !st->closing) {
			st->purge_at = td_mono_ms() + PURGE_EVERY_MS;
			pthread_mutex_unlock(&st->lock);
			store_purge(st, (struct store_to){ NULL, on_purged, st });
			pthread_mutex_lock(&st->lock);
			continue;
		}
		(void)pthread_cond_timedwait(&st->more, &st->lock, &until);
	}
}

static void *
writer_main(void *arg)
{
	struct store *st = arg;
	struct done d = { 0 };
	struct store_ops todo, batch;

	pthread_mutex_lock(&st->lock);
	while (next_batch(st, &todo)) {
		while (!STAILQ_EMPTY(&todo)) {
			uint64_t rows = st->log_rows, began = td_mono_ms();

			pthread_mutex_unlock(&st->lock);
			run_batch(st, &todo, &batch);
			answer_batch(st, &batch, &d);
			if (d.sorted > 0)
				adapt_sort(st, rows, td_mono_ms() - began);
			pthread_mutex_lock(&st->lock);
			done_settle(st, &d, true);
			plan_sort(st, &d);
		}
	}
	pthread_mutex_unlock(&st->lock);
	free(d.keys);
	return NULL;
}

/* ---- readers ---- */

static void
run_reads(struct reader *r, struct store_ops *batch, struct done *d)
{
	struct store_op *op;
	uint64_t n = 0, errors = 0;
	/* one snapshot, also across the statements of one op */
	int rc = store_db_do(r->db, NULL, "BEGIN", SV_NONE);

	STAILQ_FOREACH(op, batch, link)
	{
		errors += is_trouble(run_op(op, r->db));
		n++;
		done_add(d, op, false);
	}
	if (rc >= 0 && store_db_do(r->db, NULL, "COMMIT", SV_NONE) < 0 &&
	    !sqlite3_get_autocommit(store_db_handle(r->db)))
		(void)store_db_do(r->db, NULL, "ROLLBACK", SV_NONE);
	atomic_fetch_add(&r->st->reads, n);
	atomic_fetch_add(&r->st->errors, errors);
	while ((op = STAILQ_FIRST(batch)) != NULL) {
		STAILQ_REMOVE_HEAD(batch, link);
		answer(op);
	}
}

static void *
reader_main(void *arg)
{
	struct reader *r = arg;
	struct store *st = r->st;
	struct done d = { 0 };

	pthread_mutex_lock(&st->lock);
	for (;;) {
		struct store_ops batch = STAILQ_HEAD_INITIALIZER(batch);
		struct store_op *op;
		unsigned n = 0;

		while (!st->hold_readers && n++ < READ_BATCH &&
		       (op = STAILQ_FIRST(&r->ops)) != NULL) {
			STAILQ_REMOVE_HEAD(&r->ops, link);
			STAILQ_INSERT_TAIL(&batch, op, link);
		}
		if (STAILQ_EMPTY(&batch)) {
			if (st->readers_stop)
				break;
			pthread_cond_wait(&r->more, &st->lock);
			continue;
		}
		pthread_mutex_unlock(&st->lock);
		run_reads(r, &batch, &d);
		pthread_mutex_lock(&st->lock);
		done_settle(st, &d, false);
	}
	pthread_mutex_unlock(&st->lock);
	free(d.keys);
	return NULL;
}

/* ---- opening and closing ---- */

static void
init_locks(struct store *st)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->more, &attr);
	pthread_condattr_destroy(&attr);
	STAILQ_INIT(&st->ops);
	for (unsigned i = 0; i < READERS_MAX; i++) {
		st->readers[i].st = st;
		STAILQ_INIT(&st->readers[i].ops);
		pthread_cond_init(&st->readers[i].more, NULL);
	}
}

static int
start(struct store *st, struct td_err *err)
{
	int e = 0;

	for (unsigned i = 0; e == 0 && !st->memory && i < st->n_readers; i++)
		if ((e = pthread_create(&st->readers[i].thread, NULL, reader_main,
					&st->readers[i])) == 0)
			st->n_started++;
	if (e == 0 && (e = pthread_create(&st->writer, NULL, writer_main, st)) == 0)
		st->started = true;
	return e == 0 ? 0 : td_fail(err, TD_E_IO, "cannot start a store thread: %s", strerror(e));
}

static int
read_archive_key(struct store *st, struct td_err *err)
{
	sqlite3_stmt *q;
	int rc = store_db_query(
		st->db, err, &q,
		"SELECT value FROM settings WHERE owner = '' AND key = 'archive-key'", SV_NONE);

	if (rc >= 0 && (rc = store_db_next(st->db, err, q)) == 1 &&
	    sqlite3_column_bytes(q, 0) == sizeof(st->archive_key))
		memcpy(st->archive_key, sqlite3_column_blob(q, 0), sizeof(st->archive_key));
	else if (rc >= 0)
		rc = td_fail(err, TD_E_CORRUPT, "the setting archive-key is missing");
	store_db_settle(st->db);
	return rc < 0 ? rc : 0;
}

/* What a process that ended early left in the log of archives may be anybody's. */
static int
find_log(struct store *st, struct td_err *err)
{
	int64_t one = 0;
	int rc = store_db_int(st->db, err, &one, "SELECT 1 FROM archive_log LIMIT 1", SV_NONE);

	st->sort_rows = SORT_ROWS_MAX / 2;
	st->sort_at = rc == 1 ? 0 : UINT64_MAX;
	st->log_rows = st->logged = rc == 1;
	for (size_t i = 0; i < KEYS && rc == 1; i++)
		st->keys[i].logged = 1;
	return rc < 0 ? rc : 0;
}

const unsigned char *
store_archive_key(const struct store *st)
{
	return st->archive_key;
}

int
store_open(const struct store_conf *sc, struct store **out, struct td_err *err)
{
	struct store *st;
	unsigned busy_ms = sc->busy_ms != 0 ? sc->busy_ms : 5000;
	int rc;

	if (!sqlite3_threadsafe())
		return td_fail(err, TD_E_UNSUPPORTED, "SQLite was built without threads");
	st = td_zalloc(sizeof(*st));
	init_locks(st);
	st->memory = strcmp(sc->path, ":memory:") == 0;
	st->n_readers = sc->readers == 0            ? 2
			: sc->readers > READERS_MAX ? READERS_MAX
						    : sc->readers;
	st->max_offline = sc->max_offline != 0 ? sc->max_offline : 1000;
	store_set_dedup_life(st, 86400);
	st->patience = busy_ms + 5000;
	st->purge_at = td_mono_ms() + PURGE_FIRST_MS;
	st->known = store_known_new();
	st->jids = store_jids_new();
	rc = store_db_open(sc->path, STORE_DB_WRITER, busy_ms, &st->db, err);
	if (rc == 0)
		rc = read_archive_key(st, err);
	if (rc == 0)
		rc = find_log(st, err);
	for (unsigned i = 0; rc == 0 && !st->memory && i < st->n_readers; i++)
		rc = store_db_open(sc->path, STORE_DB_READER, busy_ms, &st->readers[i].db, err);
	if (rc == 0)
		rc = start(st, err);
	if (rc < 0) {
		store_close(&st);
		return rc;
	}
	*out = st;
	return 0;
}

void
store_close(struct store **stp)
{
	struct store *st = *stp;

	if (st == NULL)
		return;
	*stp = NULL;
	if (waker.st == st)
		wake_now(&waker);
	pthread_mutex_lock(&st->lock);
	st->closing = true;
	st->purge_at = UINT64_MAX / 2;
	st->hold_readers = st->hold_writer = false;
	pthread_cond_signal(&st->more);
	for (unsigned i = 0; i < st->n_readers; i++)
		pthread_cond_signal(&st->readers[i].more);
	pthread_mutex_unlock(&st->lock);
	/* the writer may wait for reads to end: so it goes first */
	if (st->started)
		pthread_join(st->writer, NULL);
	pthread_mutex_lock(&st->lock);
	st->readers_stop = true;
	for (unsigned i = 0; i < st->n_readers; i++)
		pthread_cond_signal(&st->readers[i].more);
	pthread_mutex_unlock(&st->lock);
	for (unsigned i = 0; i < st->n_started; i++)
		pthread_join(st->readers[i].thread, NULL);
	for (unsigned i = 0; i < st->n_readers; i++)
		store_db_close(&st->readers[i].db);
	/* the last connection to close checkpoints and removes the log */
	store_db_close(&st->db);
	store_known_free(st->known);
	store_jids_free(st->jids);
	pthread_cond_destroy(&st->more);
	for (unsigned i = 0; i < READERS_MAX; i++)
		pthread_cond_destroy(&st->readers[i].more);
	pthread_mutex_destroy(&st->lock);
	free(st);
}

void
store_get_stats(struct store *st, struct store_stats *out)
{
	*out = (struct store_stats){
		.writes = atomic_load(&st->writes),
		.commits = atomic_load(&st->commits),
		.reads = atomic_load(&st->reads),
		.errors = atomic_load(&st->errors),
	};
	pthread_mutex_lock(&st->lock);
	out->queue = st->queued;
	pthread_mutex_unlock(&st->lock);
}

uint64_t
store_now(const struct store *st)
{
	return td_wall_ms() + (uint64_t)atomic_load(&st->shift);
}

int64_t
store_dedup_ms(const struct store *st)
{
	return atomic_load(&st->dedup_ms);
}

void
store_set_dedup_life(struct store *st, int64_t seconds)
{
	/* further back than the clock reaches is for ever */
	atomic_store(&st->dedup_ms, seconds < INT64_MAX / 2000 ? seconds * 1000 : INT64_MAX / 2);
}

unsigned
store_max_offline(const struct store *st)
{
	return st->max_offline;
}

unsigned
store_patience(const struct store *st)
{
	return st->patience;
}

struct store_known *
store_known_of(struct store *st)
{
	return st->known;
}

struct store_jids *
store_jids_of(struct store *st)
{
	return st->jids;
}

void
store_shift_clock(struct store *st, int64_t ms)
{
	atomic_store(&st->shift, ms);
}

void
store_purge_soon(struct store *st)
{
	pthread_mutex_lock(&st->lock);
	st->purge_at = 0;
	pthread_cond_signal(&st->more);
	pthread_mutex_unlock(&st->lock);
}

static void
hold(struct store *st, bool *what, bool on)
{
	pthread_mutex_lock(&st->lock);
	*what = on;
	pthread_cond_signal(&st->more);
	for (unsigned i = 0; i < st->n_readers; i++)
		pthread_cond_signal(&st->readers[i].more);
	pthread_mutex_unlock(&st->lock);
}

void
store_hold_readers(struct store *st, bool on)
{
	hold(st, &st->hold_readers, on);
}

void
store_hold_writer(struct store *st, bool on)
{
	hold(st, &st->hold_writer, on);
}
