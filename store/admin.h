/* admin - what administrators set: who they are, messages of a domain, accounts that are off (XEP-0133).
 * Thread: any may call; replies come on the loop given (store/store.h).  Arguments are copied.
 *
 * An entry of the list of administrators goes with the account it names. */
#ifndef STORE_ADMIN_H
#define STORE_ADMIN_H
#include "store/store.h"

/* ---- accounts ---- */

/* May it sign in?  Turned off, its tokens go, too.  NOTFOUND. */
void store_account_disable(struct store *st, struct td_str jid, bool disabled, struct store_to to);
/* It signed in now: counted, and the time is kept. */
void store_account_login(struct store *st, struct td_str jid, struct store_to to);
/* Those of <domain> behind <after> (TD_STR_NULL: from the start), sorted, at most <max>; result id = how many there are
 * in all.  <disabled>: only those that are off.  max 0: only the number. */
void store_account_page(struct store *st, struct td_str domain, bool disabled, struct td_str after,
			unsigned max, struct td_loop *loop, store_strs_cb *cb, void *arg);

/* ---- what belongs to a domain ---- */

enum store_text {
	STORE_TEXT_MOTD = 0,
	STORE_TEXT_WELCOME,
	STORE_TEXT_BLACKLIST, /* addresses, one a line; likewise the next */
	STORE_TEXT_WHITELIST,
	STORE_TEXTS /* must be last */
};
struct store_admin_row {
	struct td_str domain;
	struct td_str admin; /* bare JID; or TD_STR_NULL: a text */
	enum store_text kind;
	struct td_str mark; /* tells one message from its successor */
	struct td_str text;
};
typedef void store_admin_cb(void *arg, const struct store_result *r,
			    const struct store_admin_row *rows, size_t n);
/* All there is, of all domains. */
void store_admin_load(struct store *st, struct td_loop *loop, store_admin_cb *cb, void *arg);
/* The list of <domain> is this from now on.  NOTFOUND: one of them is no account; nothing changes. */
void store_admins_set(struct store *st, struct td_str domain, const struct td_str *jids, size_t n,
		      struct store_to to);
/* TD_STR_NULL removes it. */
void store_domain_text(struct store *st, struct td_str domain, enum store_text kind,
		       struct td_str mark, struct td_str text, struct store_to to);
#endif
