/* muc - rooms that outlive the process (XEP-0045): properties, affiliations, reserved nicks.
 * Thread: any may call; replies come on the loop given.  Arguments are copied.
 * Errors: as in store.h.  What a property means is the caller's business; the keys of those that describe
 * the room to people who are not in it begin with '+'. */
#ifndef STORE_MUC_H
#define STORE_MUC_H
#include "store/store.h"

struct store_muc_prop {
	struct td_str key, value; /* value TD_STR_NULL: remove it */
};
struct store_muc_affil {
	struct td_str jid;
	int affiliation;            /* the caller's number; < 0: remove the row */
	struct td_str nick, reason; /* TD_STR_NULL = none */
};
/* A room as it is stored, or a change to one: what is not named stays. */
struct store_muc_room {
	struct td_str jid; /* bare */
	const struct store_muc_prop *props;
	size_t n_props;
	const struct store_muc_affil *affils;
	size_t n_affils;
};
typedef void store_muc_cb(void *arg, const struct store_result *r,
			  const struct store_muc_room *room);
typedef void store_muc_list_cb(void *arg, const struct store_result *r,
			       const struct store_muc_room *rooms, size_t n);

/* NOTFOUND: no such room. */
void store_muc_get(struct store *st, struct td_str jid, struct td_loop *loop, store_muc_cb *cb,
		   void *arg);
/* All rooms of a domain by JID, with their '+' properties and nothing else. */
void store_muc_list(struct store *st, struct td_str domain, struct td_loop *loop,
		    store_muc_list_cb *cb, void *arg);
/* One transaction.  The room is made when it is not there. */
void store_muc_set(struct store *st, const struct store_muc_room *change, struct store_to to);
/* With all that belongs to it; a room that is not there is fine. */
void store_muc_delete(struct store *st, struct td_str jid, struct store_to to);
#endif
