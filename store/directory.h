/* directory - the entries users put into the user directory (XEP-0055).
 * Thread: any may call; replies come on the loop given.  Arguments are copied.
 * Errors: as in store.h. */
#ifndef STORE_DIRECTORY_H
#define STORE_DIRECTORY_H
#include "store/store.h"

enum store_dir_field {
	STORE_DIR_FIRST = 0,
	STORE_DIR_LAST,
	STORE_DIR_NICK,
	STORE_DIR_EMAIL,
	STORE_DIR_FIELDS /* must be last */
};
struct store_dir_entry {
	struct td_str jid; /* bare, of an account */
	struct td_str fields[STORE_DIR_FIELDS];
};
typedef void store_dir_cb(void *arg, const struct store_result *r,
			  const struct store_dir_entry *entries, size_t n);

/* The entry of one account: 0 or 1 of them. */
void store_dir_get(struct store *st, struct td_str jid, struct td_loop *loop, store_dir_cb *cb,
		   void *arg);
/* Make or replace; NOTFOUND: no such account.  It goes with the account. */
void store_dir_set(struct store *st, const struct store_dir_entry *e, struct store_to to);
/* An entry that is not there is fine. */
void store_dir_delete(struct store *st, struct td_str jid, struct store_to to);
/* Entries that have what the fields of <like> say (empty: whatever): ASCII letters in either case, '*' stands for
 * any text.  At most <limit>, by JID. */
void store_dir_find(struct store *st, const struct store_dir_entry *like, unsigned limit,
		    struct td_loop *loop, store_dir_cb *cb, void *arg);
#endif
