/* move - whole accounts that come from elsewhere (XEP-0227), in pieces of any size.
 * Thread: any may call; replies come on the loop given.  Arguments are copied.
 * Errors: as in store.h.
 *
 * One call is one transaction.  An account that takes several calls is disabled until the last of them; when that never
 * comes, the next begin takes the rest away and starts again. */
#ifndef STORE_MOVE_H
#define STORE_MOVE_H
#include "store/archive.h"
#include "store/pubsub.h"
#include "store/store.h"

enum store_move_kind {
	MV_CONTACT = 0, /* contact; keeps the request there may be */
	MV_PENDING, /* contact.jid asked with contact.pending_stanza; keeps the item there may be */
	MV_MESSAGE, /* value waits since <when> */
	MV_SETTING, /* key, value */
	MV_NODE,    /* key = name, value = configuration */
	MV_NODE_DEFAULT, /* the same, unless there is one of that name */
	MV_PUBSUB,       /* ps: one verb */
	MV_ITEM_DEFAULT, /* ps: PS_ITEM_SET, unless there is one of that id */
	MV_ARCHIVED,     /* archived (owner and id are made), of <when> */
};
struct store_move_part {
	enum store_move_kind kind;
	uint64_t when; /* wall ms */
	struct td_str key, value;
	union {
		struct store_contact contact;
		struct store_ps_change ps;
		struct store_archived archived;
	};
};
struct store_move {
	struct store_account
		account; /* verifiers are taken at the end; without any it keeps those it has */
	bool begin;      /* make it */
	bool replace;    /* ... and take away the one of that name first */
	bool end;        /* that was all: it may be used */
	const struct store_move_part *parts;
	size_t n;
};
/* EXISTS: it is there, and not <replace>.  DENIED: no begin, and it is not being made.  LIMIT: what was there has an
 * archive, which is too much to be deleted in one transaction: purge it (archive.h) and call again.  Result id: 1 when
 * one was replaced. */
void store_move_put(struct store *st, const struct store_move *m, struct store_to to);
#endif
