/* op - one call on its way: made by any thread, run by a store thread, answered on a loop.
 * Thread: whoever holds the op; it is handed on whole, never shared.
 * Ownership: an op lives in its own arena, with copies of its arguments and all it answers.
 *
 * A kind of call is a struct whose first member is a struct store_op, a constant
 * struct store_opdef, and the public function that fills one in and submits it. */
#ifndef STORE_OP_H
#define STORE_OP_H
#include <sys/queue.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "store/archive.h"
#include "store/db.h"
#include "store/directory.h"
#include "store/muc.h"
#include "store/pubsub.h"
#include "store/store.h"
#include "store/upload.h"

#define STORE_LAZY_MS 50u /* for what nobody waits for */

struct store_op;
struct store_token; /* store/signin.h */
struct store_invite;

struct store_opdef {
	const char *name;
	bool write;
	bool accounts; /* success changes which accounts exist */
	bool logs;     /* success leaves res.id rows of its keys in archive_log */
	bool sorts;    /* success leaves none there */
	bool sorted;   /* it reads archives: what is in the log has to be sorted before */
	/* On a store thread, inside a transaction; may run again when that is rolled back.
	 * 0 or TD_E_* with the text in op->err; op->res.id is its to set. */
	int (*run)(struct store_op *op, struct store_db *db);
	/* On the loop's thread: call op->cb with what run left. */
	void (*reply)(struct store_op *op);
	void (*wipe)(struct store_op *op); /* clear secrets; NULL = it holds none */
};

/* The caller's function; which member is the opdef's matter. */
union store_reply {
	store_cb *result;
	store_account_cb *account;
	store_strs_cb *strs;
	store_roster_cb *roster;
	store_messages_cb *messages;
	store_chats_cb *chats;
	store_thread_cb *thread;
	store_mails_cb *mails;
	store_value_cb *value;
	store_muc_cb *muc;
	store_muc_list_cb *muc_list;
	void (*tokens)(void *, const struct store_result *, const struct store_token *, size_t);
	void (*invite)(void *, const struct store_result *, const struct store_invite *);
	store_archive_cb *archive;
	store_upload_cb *upload;
	void (*any)(void); /* of a type that only its file knows: cast there */
	store_dir_cb *directory;
};

struct store_op {
	struct td_mail mail; /* first: the op is its own reply message */
	STAILQ_ENTRY(store_op) link;
	const struct store_opdef *def;
	struct store *st; /* for run; not to be touched by reply */
	struct td_arena *arena;
	struct td_loop *loop;              /* NULL: reply on the store's thread */
	struct store_wait *wait;           /* set: hand the op over to who waits */
	void (*late)(struct store_op *op); /* who waited is gone; may be NULL */
	union store_reply cb;
	void *arg;
	struct store_result res;
	struct td_err err;
	size_t bytes;     /* counted against the queue's limit */
	uint16_t lazy_ms; /* a write may wait so long for others to share its commit */
	/* What it touches: ops that share a key run and answer in the order made. */
	uint16_t *keys;
	size_t n_keys, max_keys;
	uint16_t key_buf[4];
};
STAILQ_HEAD(store_ops, store_op);

/* Keys: a bucket per hash of an address, and these for what has no one address. */
#define STORE_BUCKETS 1024u
enum store_topic {
	STORE_ALL_ACCOUNTS = 0,
	STORE_ALL_MESSAGES, /* deletions name rows, not accounts */
	STORE_OUTBOX,
	STORE_TOPIC_COUNT /* must be last */
};

/* Zeroed struct of <size> in a new arena with room for <extra> bytes of arguments. */
void *store_op_new(struct store *st, const struct store_opdef *def, size_t size, size_t extra);
void store_op_to(struct store_op *op, struct store_to to);
/* Room for <n> keys more than the four there are. */
void store_op_room(struct store_op *op, size_t n);
void store_op_key(struct store_op *op, struct td_str address);
void store_op_topic(struct store_op *op, enum store_topic topic);
struct td_str store_op_str(struct store_op *op, struct td_str s); /* copy into the op */
/* Give the op away. */
void store_op_submit(struct store_op *op);
/* Submit and wait up to <ms>; 0 = it ran: look at op->res, then store_op_free it.
 * TD_E_TIMEOUT: the op is no longer ours. */
int store_op_submit_wait(struct store_op *op, unsigned ms, struct td_err *err);
void store_op_free(struct store_op *op);
/* reply of every op answered by a bare store_cb */
void store_op_reply(struct store_op *op);
/* Make room in an arena-held array for one more; returns it, moved when it had to grow. */
void *store_op_grow(struct store_op *op, void *array, size_t n, size_t size);
/* Hand a finished op to its waiter. */
void store_wait_give(struct store_wait *w, struct store_op *op);

/* Schema steps that live with their file. */
extern const char store_schema_archive[], store_schema_archive_log[];
const unsigned char *store_archive_key(const struct store *st); /* 16 bytes */

/* What the writer remembers of archive_jids: to be dropped when something is rolled back. */
struct store_jids;
struct store_jids *store_jids_new(void);
void store_jids_free(struct store_jids *j);
void store_jids_drop(struct store_jids *j);
struct store_jids *store_jids_of(struct store *st);

uint64_t store_now(const struct store *st); /* wall ms, plus the tests' shift */
unsigned store_max_offline(const struct store *st);
int64_t store_dedup_ms(const struct store *st);
/* How long a blocking form without its own limit waits. */
unsigned store_patience(const struct store *st);

/* Who exists, remembered for 5 s (store_account_exists_now).  The generation tells a read
 * that began before a change from one that began after. */
struct store_known;
struct store_known *store_known_new(void);
void store_known_free(struct store_known *k);
void store_known_drop(struct store_known *k); /* after an add or delete is committed */
int store_known_get(struct store_known *k, struct td_str jid, uint64_t *gen); /* 1, 0, -1 */
void store_known_put(struct store_known *k, struct td_str jid, bool exists, uint64_t gen);
struct store_known *store_known_of(struct store *st);

/* ---- shared between kinds of call ---- */

/* Row id of an account: 0, NOTFOUND (naming it) or another TD_E_*. */
int store_account_id(struct store_op *op, struct store_db *db, struct td_str jid, int64_t *id);
/* Insert; EXISTS.  Its id is op->res.id. */
int store_account_insert(struct store_op *op, struct store_db *db, const struct store_account *a);
/* Insert; LIMIT when <limit> (0 = none) are there already. */
int store_message_insert(struct store_op *op, struct store_db *db, int64_t account,
			 struct td_str stanza, uint64_t when, unsigned limit, uint64_t *id);
int store_thread_insert(struct store_op *op, struct store_db *db, const struct store_thread *t);
/* One verb of a change to an owner's nodes. */
int store_ps_run(struct store_op *op, struct store_db *db, struct td_str owner,
		 const struct store_ps_change *c);
/* Put the rows of the log where they belong; the op that does only that. */
int store_archive_sort(struct store_op *op, struct store_db *db);
struct store_op *store_archive_sort_op(struct store *st);
/* Insert what was archived elsewhere: behind all of its millisecond, whatever the id in <r>. */
int store_archive_insert_at(struct store_op *op, struct store_db *db,
			    const struct store_archived *r, uint64_t when);
struct store_thread store_thread_copy(struct td_arena *a, const struct store_thread *t);

/* ---- housekeeping, and hooks for tests ---- */

/* Delete one batch of what is too old (dedup a day, threads and roster removals 30 days);
 * id = rows deleted.  The writer does this by itself once an hour. */
void store_purge(struct store *st, struct store_to to);
/* The hour is over. */
void store_purge_soon(struct store *st);
/* The store's clock runs <ms> ahead from now on. */
void store_shift_clock(struct store *st, int64_t ms);
/* The file may not grow past <pages> (0 = any size): a disk that fills up. */
void store_set_max_pages(struct store *st, unsigned pages, struct store_to to);
/* Keep every reader from starting ops until called with false. */
void store_hold_readers(struct store *st, bool hold);
/* The same for the writer: what is submitted meanwhile becomes one batch. */
void store_hold_writer(struct store *st, bool hold);
#endif
