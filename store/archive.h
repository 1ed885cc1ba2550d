/* archive - kept messages of accounts and rooms (XEP-0313).
 * Thread: any may call; replies come on the loop given (store.h).
 *
 * An id is made by the one worker that owns the archive, before the commit: milliseconds and a counter, so ids are in
 * order, unique, never used again, and say when.  What clients see is that id and its owner encrypted with a key of
 * this store: it can be neither guessed nor counted, and needs no index. */
#ifndef STORE_ARCHIVE_H
#define STORE_ARCHIVE_H
#include "store/store.h"

#define STORE_ARCHIVE_NAME 32 /* characters of an id as clients see it */

#define STORE_ARCHIVED_OUT 0x1u       /* the owner sent it */
#define STORE_ARCHIVED_GROUPCHAT 0x2u /* type groupchat */

struct store_archived {
	uint64_t id;
	struct td_str owner;    /* bare JID of the account or room */
	struct td_str peer;     /* bare JID of the other side; in a room: of the sender */
	struct td_str resource; /* of the other side; TD_STR_NULL = none */
	uint32_t flags;
	struct td_str stanza; /* serialised, with its namespace */
};

/* The id after <last> (0 = none yet) at <now> (wall ms). */
uint64_t store_archive_id(uint64_t last, uint64_t now);
uint64_t store_archive_when(uint64_t id);  /* wall ms */
uint64_t store_archive_first(uint64_t ms); /* the smallest id of that millisecond */
void store_archive_name(const struct store *st, struct td_str owner, uint64_t id,
			char out[STORE_ARCHIVE_NAME + 1]);
/* The id behind a name; false: it is none of this owner's. */
bool store_archive_named(const struct store *st, struct td_str owner, struct td_str name,
			 uint64_t *id);

/* All in one transaction, which they may wait for so long. */
void store_archive_add(struct store *st, const struct store_archived *rows, size_t n,
		       unsigned lazy_ms, struct store_to to);

struct store_archive_query {
	struct td_str owner;
	struct td_str with,
		with_resource;      /* TD_STR_NULL = anyone; a bare address matches its resources */
	uint64_t from, to;          /* ids, both included; to 0 = no end */
	const uint64_t *must_exist; /* NOTFOUND when one of them is not there */
	size_t n_must_exist;
	const uint64_t *ids; /* these only; NULL = all */
	size_t n_ids;
	struct td_str text; /* every word of it occurs in the body; TD_STR_NULL = any */
	bool no_groupchat;
	bool backwards; /* the last <max> of the range instead of the first */
	unsigned max;
	bool count; /* the total is wanted: result id */
};
/* In order of ids.  <complete>: there is nothing more in the direction asked. */
typedef void store_archive_cb(void *arg, const struct store_result *r,
			      const struct store_archived *rows, size_t n, bool complete);
void store_archive_get(struct store *st, const struct store_archive_query *q, struct td_loop *loop,
		       store_archive_cb *cb, void *arg);
/* First and last row (one and the same when there is one): n is 0, 1 or 2; without their stanzas. */
void store_archive_ends(struct store *st, struct td_str owner, struct td_loop *loop,
			store_archive_cb *cb, void *arg);
/* Put another stanza in the place of one (a tombstone); NOTFOUND. */
void store_archive_replace(struct store *st, struct td_str owner, uint64_t id, struct td_str stanza,
			   struct store_to to);
/* Delete what is older than id <before> of the owner; of every owner at <domain> when <owner> is TD_STR_NULL.  At most a
 * batch; result id = rows deleted: call again until that is 0. */
void store_archive_purge(struct store *st, struct td_str owner, struct td_str domain,
			 uint64_t before, struct store_to to);
#endif
