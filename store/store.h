/* store - what must outlive the process: accounts, roster, messages, outbox, dedup, settings.
 * Thread: any may call; replies come on the loop given.  SQLite behind it (WAL,
 * synchronous=FULL): one writer thread groups what waits into one transaction, reader
 * threads beside it.  Calls from one loop about one key are answered in the order made.
 *
 * Every call takes `struct store_to to`: the callback runs on to.loop's thread, exactly
 * once, after the change is COMMITTED (writes) or read.  rc is 0 or TD_E_*: NOTFOUND,
 * EXISTS, FULL (disk), BUSY (locked longer than busy_ms), IO, CORRUPT.  Arguments are
 * copied before the call returns; what a callback is given lives until it returns.
 * With to.cb == NULL the result is dropped (deletions, counters). */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"

struct td_loop;
struct td_err;
struct store;

struct store_conf {
	const char *path;     /* database file, or ":memory:" */
	unsigned readers;     /* reader threads, 0 = 2 */
	unsigned busy_ms;     /* how long a locked file is waited for, 0 = 5000 */
	unsigned max_offline; /* messages kept per account, 0 = 1000 */
};

/* Open, check integrity (quick_check), migrate the schema.  Loading function: main only.
 * TD_E_CORRUPT names the file and what to do. */
int store_open(const struct store_conf *sc, struct store **out, struct td_err *err);
/* Finish what is queued, checkpoint, stop the threads.  Callbacks still owed are posted
 * to their loops before this returns. */
void store_close(struct store **st);
/* How long a mail that became chat is remembered; a day until said otherwise.  Any thread. */
void store_set_dedup_life(struct store *st, int64_t seconds);
/* Counters for `summary` and metrics. */
struct store_stats {
	uint64_t writes, commits, reads, errors, queue; /* queue = waiting now */
};
void store_get_stats(struct store *st, struct store_stats *out);

/* ---- generic reply ---- */
struct store_result {
	int rc;            /* 0 or TD_E_* */
	const char *error; /* text when rc < 0 */
	uint64_t id;       /* row id where one was made; count where one was asked */
};
typedef void store_cb(void *arg, const struct store_result *r);

/* Where a reply goes. */
struct store_to {
	struct td_loop *loop;
	store_cb *cb;
	void *arg;
};
/* The same for a caller that may block (milter threads, tandemctl jobs): make one of these,
 * pass store_to_wait(&w), then store_wait() up to ms.  On TD_E_TIMEOUT the reply is
 * discarded safely (w is refcounted inside). */
struct store_wait;
struct store_wait *store_wait_new(void);
struct store_to store_to_wait(struct store_wait *w);
int store_wait_for(struct store_wait *w, unsigned ms, uint64_t *id_out, struct td_err *err);
void store_wait_free(struct store_wait *w);

/* ---- accounts ---- */
struct store_scram {
	unsigned iterations;
	unsigned char salt[64]; /* other servers have up to 45 bytes; ours are 16 */
	size_t salt_len;
	unsigned char stored_key[64], server_key[64];
	size_t key_len; /* 20 for SHA-1, 32 for SHA-256 */
};
struct store_account {
	struct td_str jid; /* bare, prepared */
	bool disabled;
	struct store_scram sha1, sha256; /* key_len 0 = none */
	uint64_t created;                /* Unix seconds */
	/* of a get only (store/admin.h) */
	bool never;               /* it never signed in */
	uint64_t login;           /* when it did last; 0 = not known */
	uint64_t logins, counted; /* how often since when */
};
typedef void store_account_cb(void *arg, const struct store_result *r,
			      const struct store_account *a);

/* NOTFOUND when there is none. */
void store_account_get(struct store *st, struct td_str jid, struct td_loop *loop,
		       store_account_cb *cb, void *arg);
/* EXISTS when it is there. */
void store_account_add(struct store *st, const struct store_account *a, struct store_to to);
/* Replace its verifiers, revoke its tokens; whether it is disabled stays.  NOTFOUND. */
void store_account_update(struct store *st, const struct store_account *a, struct store_to to);
/* With its roster, offline messages, settings, tokens; its name is remembered (store_register). */
void store_account_delete(struct store *st, struct td_str jid, struct store_to to);
/* Bare JIDs, sorted; <domain> TD_STR_NULL = all. */
typedef void store_strs_cb(void *arg, const struct store_result *r, const struct td_str *strs,
			   size_t n);
void store_account_list(struct store *st, struct td_str domain, struct td_loop *loop,
			store_strs_cb *cb, void *arg);
/* Does it exist?  Blocking form for milter threads; 1, 0 or TD_E_*.  Cached up to 5 s
 * (the cache is dropped by add and delete). */
int store_account_exists_now(struct store *st, struct td_str jid);

/* ---- roster (RFC 6121 section 2) ---- */
enum store_subscription {
	STORE_SUB_NONE = 0,
	STORE_SUB_TO = 1,
	STORE_SUB_FROM = 2,
	STORE_SUB_BOTH = 3
};
extern const char *const store_sub_names[4]; /* as RFC 6121 2.1.2.5 has them */
#define STORE_ROSTER_ASK 0x1u                /* pending out: ask='subscribe' */
#define STORE_ROSTER_PENDING_IN \
	0x2u /* pending in: they asked us; not shown in the roster when sub none and not added */
#define STORE_ROSTER_APPROVED 0x4u /* pre-approved */
#define STORE_ROSTER_HIDDEN 0x8u   /* only a pending-in record, no roster item */
struct store_contact {
	struct td_str jid, name; /* name TD_STR_NULL = none */
	enum store_subscription sub;
	uint32_t flags;
	const struct td_str *groups;
	size_t n_groups;
	struct td_str pending_stanza; /* the subscribe stanza kept for PENDING_IN, serialised */
	uint64_t ver;                 /* roster version of its last change */
};
struct store_setting {
	struct td_str key, value;
};
struct store_roster {
	bool account_exists, account_disabled;
	bool account_fresh; /* it never signed in */
	uint64_t ver;       /* the account's roster version */
	const struct store_contact *contacts;
	size_t n;
	uint64_t offline_count;               /* messages waiting */
	bool has_nodes;                       /* something is published (pubsub.h) */
	const struct store_setting *settings; /* of the account, those whose key begins with '+' */
	size_t n_settings;
};
typedef void store_roster_cb(void *arg, const struct store_result *r,
			     const struct store_roster *ro);
/* The whole account state a server needs at load: one read.  No such account is rc 0 with
 * account_exists false. */
void store_roster_get(struct store *st, struct td_str jid, struct td_loop *loop,
		      store_roster_cb *cb, void *arg);
/* Insert or replace; result id = the new roster version. */
void store_roster_set(struct store *st, struct td_str jid, const struct store_contact *c,
		      struct store_to to);
/* Remove; result id = the new roster version; NOTFOUND. */
void store_roster_del(struct store *st, struct td_str jid, struct td_str contact,
		      struct store_to to);
/* JIDs removed after <ver> are remembered for a while; false in result id (0) means "too
 * old, send everything". strs = removed JIDs. */
void store_roster_removed(struct store *st, struct td_str jid, uint64_t ver, struct td_loop *loop,
			  store_strs_cb *cb, void *arg);

/* ---- messages waiting for an account (XEP-0160), also the pending store of section 6 ---- */
struct store_message {
	uint64_t id;          /* row */
	struct td_str to;     /* bare JID of the account */
	struct td_str stanza; /* serialised, with its delay stamp */
	uint64_t when;        /* wall ms */
};
typedef void store_messages_cb(void *arg, const struct store_result *r,
			       const struct store_message *m, size_t n);
/* FULL-quota: TD_E_LIMIT when the account has max_offline already; NOTFOUND: no account. */
void store_message_add(struct store *st, struct td_str to, struct td_str stanza, uint64_t when,
		       struct store_to to_);
/* Oldest first, id > after, at most <max>. */
void store_messages_get(struct store *st, struct td_str to, uint64_t after, unsigned max,
			struct td_loop *loop, store_messages_cb *cb, void *arg);
void store_message_del(struct store *st, const uint64_t *ids, size_t n, struct store_to to);

/* ---- mail become chat: dedup and message in one transaction ---- */
struct store_chat {
	struct td_str to; /* bare JID of the account */
	struct td_str stanza;
	struct td_str mail_id; /* Message-ID; TD_STR_NULL = no dedup */
	struct td_str thread;  /* chat thread to remember for mail_id; may be absent */
	struct td_str peer;    /* the correspondent's address, for the thread table */
	struct td_str subject; /* of the mail, likewise: an answer takes it up */
	uint64_t row_out;      /* filled in the reply: row id, 0 = was a repeat */
};
typedef void store_chats_cb(void *arg, const struct store_result *r, const struct store_chat *c,
			    size_t n);
/* All or nothing.  Repeats of (mail_id, to) within a day add nothing and give row_out 0. */
void store_chats_add(struct store *st, const struct store_chat *c, size_t n, struct td_loop *loop,
		     store_chats_cb *cb, void *arg);
/* Blocking form for milter threads: fills row_out of each; waits up to ms.  TD_E_TIMEOUT: it may
 * be done yet; <late> (NULL = nobody cares) gets the answer then, on the store's thread. */
int store_chats_add_wait(struct store *st, struct store_chat *c, size_t n, unsigned ms,
			 store_chats_cb *late, void *arg, struct td_err *err);

/* ---- threads: which chat thread a Message-ID belongs to, both ways; kept 30 days ---- */
struct store_thread {
	struct td_str account; /* bare JID of our user */
	struct td_str peer;    /* mail address of the other side, lower-cased domain */
	struct td_str mail_id; /* without < > */
	struct td_str thread;
	struct td_str subject;
};
typedef void store_thread_cb(void *arg, const struct store_result *r, const struct store_thread *t);
void store_thread_put(struct store *st, const struct store_thread *t, struct store_to to);
/* By mail_id (any of <ids>, first hit wins); NOTFOUND. */
void store_thread_by_mail(struct store *st, struct td_str account, const struct td_str *ids,
			  size_t n, struct td_loop *loop, store_thread_cb *cb, void *arg);
/* Latest mail of (account, peer), of <thread> when given; NOTFOUND. */
void store_thread_latest(struct store *st, struct td_str account, struct td_str peer,
			 struct td_str thread, struct td_loop *loop, store_thread_cb *cb,
			 void *arg);
/* Blocking form of by_mail for milter threads; *out strings live in <a>. 0, NOTFOUND... */
struct td_arena;
int store_thread_by_mail_now(struct store *st, struct td_arena *a, struct td_str account,
			     const struct td_str *ids, size_t n, struct store_thread *out);

/* ---- outbox: mail to be sent ---- */
struct store_mail {
	uint64_t id;
	struct td_str account; /* who gets the error: full or bare JID */
	struct td_str jid;     /* the chat address it was written to: the error comes from there */
	struct td_str stanza_id;             /* id of the message it came from */
	struct td_str from, to;              /* envelope; from empty = null sender */
	struct td_str data;                  /* the mail, CRLF */
	uint64_t created, next_try, expires; /* wall ms */
	unsigned tries;
	struct td_str last_error;
	uint64_t replaces; /* add: this row goes in the same transaction; 0 = none */
};
typedef void store_mails_cb(void *arg, const struct store_result *r, const struct store_mail *m,
			    size_t n);
/* id, created, tries are filled by the store; <thread> (may be NULL) is put in the same transaction. */
void store_outbox_add(struct store *st, const struct store_mail *m,
		      const struct store_thread *thread, struct store_to to);
/* Due (next_try <= now), oldest first; with data. */
void store_outbox_due(struct store *st, uint64_t now, unsigned max, struct td_loop *loop,
		      store_mails_cb *cb, void *arg);
/* All, without data (tandemctl outbox list). */
void store_outbox_list(struct store *st, struct td_loop *loop, store_mails_cb *cb, void *arg);
void store_outbox_retry(struct store *st, uint64_t id, uint64_t next_try, struct td_str error,
			struct store_to to);
void store_outbox_del(struct store *st, uint64_t id, struct store_to to);
/* A final failure: one transaction deletes the mail and adds <stanza> for <to> (bare). id = message row. */
void store_outbox_bounce(struct store *st, uint64_t id, struct td_str to, struct td_str stanza,
			 uint64_t when, struct store_to to_);

/* ---- settings: small values per account (or per "" = server) ----
 * Those whose key begins with '+' are loaded with the account. */
typedef void store_value_cb(void *arg, const struct store_result *r, struct td_str value);
void store_setting_get(struct store *st, struct td_str owner, struct td_str key,
		       struct td_loop *loop, store_value_cb *cb, void *arg);
/* All of an owner, by key. */
typedef void store_settings_cb(void *arg, const struct store_result *r,
			       const struct store_setting *s, size_t n);
void store_setting_list(struct store *st, struct td_str owner, struct td_loop *loop,
			store_settings_cb *cb, void *arg);
/* value TD_STR_NULL deletes. */
void store_setting_set(struct store *st, struct td_str owner, struct td_str key,
		       struct td_str value, struct store_to to);

/* ---- roster as Momentum's JSON (momentum.md 6.1): pure functions ---- */
/* { "contact@dom": { "name": s, "groups": [s], "pending_requests": {}, "subscription": "both" } }
 * pending_requests: "out": true (ASK), "in": the stanza (PENDING_IN), "approved": true,
 * "hidden": true. */
void store_roster_to_json(const struct store_roster *ro, struct td_buf *out);
/* Contacts live in <a>.  TD_E_INVAL names the key. */
int store_roster_from_json(struct td_str json, struct td_arena *a, struct store_contact **out,
			   size_t *n_out, struct td_err *err);
#endif
