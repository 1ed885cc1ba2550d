/* archive_priv - what archive.c and archive_log.c share: rows in the tables, alone and packed.
 * Thread: store threads. */
#ifndef STORE_ARCHIVE_PRIV_H
#define STORE_ARCHIVE_PRIV_H
#include "store/archive.h"
#include "store/op.h"

/* A flag of a row of the table only: its <stanza> is a pack, of messages with one peer that nothing else of the owner
 * lies between.  The row's id is that of the first. */
#define ARCHIVE_PACK 0x80000000u
#define PACK_ROWS 64u                    /* at most, */
#define PACK_BYTES 8192u                 /* and no row is added to so many, */
#define PACK_SPAN ((int64_t)10000 << 20) /* in ids: ten seconds */

/* Write <r> to <out> (NULL = count only) behind <prev> (NULL = it is the first); bytes. */
size_t archive_pack_put(char *out, const struct store_archived *r,
			const struct store_archived *prev);
/* Take the next row off <left>; <r> holds the one before it, or is zeroed.  False: there is none.  Its strings are those
 * of <left>. */
bool archive_pack_next(struct td_str *left, struct store_archived *r);

/* Number of an address: 0 = it has none. */
int archive_find_jid(struct store_op *op, struct store_db *db, struct td_str jid, int64_t *id);
/* On the writer only: give it one. */
int archive_make_jid(struct store_op *op, struct store_db *db, struct td_str jid, int64_t *id);

/* The row of the table that has the message <id>, if any has: the last that does not begin after it. */
struct archive_at {
	int64_t id;
	uint32_t flags;
	struct td_str stanza; /* until the next archive_at, or store_db_settle */
};
/* 1 = there is one, 0 = no, or TD_E_*. */
int archive_at(struct store_op *op, struct store_db *db, int64_t owner, int64_t id,
	       struct archive_at *out);
/* Is <id> one of its messages? */
bool archive_has(const struct archive_at *at, int64_t id);
/* The last of its messages. */
int64_t archive_last(const struct archive_at *at);
/* Insert one row of its own, which may lie within a pack: that is taken apart.  Takes the next id that is free. */
int archive_place(struct store_op *op, struct store_db *db, int64_t owner, int64_t peer,
		  const struct store_archived *r);
/* Add a pack to the log: rows with their owners and peers. */
int archive_log_add(struct store_op *op, struct store_db *db, struct td_str rows);
#endif
