/* signin - what signing in without a password, and becoming a user, need to keep: tokens (XEP-0484),
 * invitations (XEP-0379, 0401, 0445), names of accounts that are gone.
 * Thread: any may call; replies come on the loop given (store/store.h).
 *
 * Secrets are not here: a token is made from its <seed> under a secret of the server, an invitation is known
 * by the hash of its text.  Tokens go with their account, and with its password. */
#ifndef STORE_SIGNIN_H
#define STORE_SIGNIN_H
#include "store/store.h"

/* ---- tokens ---- */

#define STORE_SEED_LEN 16u
#define STORE_AGENTS_MAX \
	50u /* clients of one account that have one; the one unused longest loses it */

struct store_token {
	unsigned slot; /* 0: the client has used it; 1: given out, not used yet */
	unsigned char seed[STORE_SEED_LEN];
	struct td_str mech;        /* the only mechanism it is good for */
	uint64_t created, expires; /* Unix seconds */
	uint64_t count;            /* the last one seen */
};
typedef void store_tokens_cb(void *arg, const struct store_result *r, const struct store_token *t,
			     size_t n);
/* Those of client <agent> of account <jid>, slot 1 first; none is rc 0. */
void store_token_get(struct store *st, struct td_str jid, struct td_str agent, struct td_loop *loop,
		     store_tokens_cb *cb, void *arg);
/* Into slot 1, in place of what was there.  NOTFOUND: no such account. */
void store_token_put(struct store *st, struct td_str jid, struct td_str agent,
		     const struct store_token *t, struct store_to to);
/* It was used: out of slot 1 it replaces that of slot 0.  <count> >= 0 must be above the last one.  <forget>: it is
 * invalid now.  NOTFOUND when it is gone or the count was seen. */
void store_token_use(struct store *st, struct td_str jid, struct td_str agent,
		     const struct store_token *t, int64_t count, bool forget, struct store_to to);
/* All of the account. */
void store_token_revoke(struct store *st, struct td_str jid, struct store_to to);

/* ---- verifiers ---- */

/* Add the SCRAM-SHA-256 verifier of an account that has none; EXISTS when it has. */
void store_account_upgrade(struct store *st, struct td_str jid, const struct store_scram *sha256,
			   struct store_to to);

/* ---- invitations ---- */

#define STORE_HASH_LEN 32u
struct store_invite {
	unsigned char hash[STORE_HASH_LEN]; /* SHA-256 of the token */
	struct td_str domain;               /* where an account may be made */
	struct td_str inviter;              /* bare JID; TD_STR_NULL = an operator */
	struct td_str username;             /* local part it is for; TD_STR_NULL = any */
	bool roster;                        /* a contact of the inviter comes of it */
	bool account;                       /* an account may be made with it */
	unsigned uses;                      /* left */
	uint64_t expires;                   /* Unix seconds; 0 = never */
};
typedef void store_invite_cb(void *arg, const struct store_result *r, const struct store_invite *i);
/* LIMIT when the inviter has <max> open ones (0 = no limit); EXISTS when <username> is taken or reserved. */
void store_invite_add(struct store *st, const struct store_invite *i, unsigned max,
		      struct store_to to);
/* NOTFOUND also when it expired or has no uses left. */
void store_invite_get(struct store *st, const unsigned char hash[STORE_HASH_LEN],
		      struct td_loop *loop, store_invite_cb *cb, void *arg);
/* One use of the invitation of <inviter>, for a contact.  NOTFOUND likewise, or when it is another's. */
void store_invite_use(struct store *st, const unsigned char hash[STORE_HASH_LEN],
		      struct td_str inviter, struct store_to to);

/* ---- becoming a user ---- */

/* Make the account, using up <hash> (NULL = without an invitation; whether it expired was looked at before).  EXISTS:
 * the name is taken, reserved by another invitation, or of an account that went less than <reserve> seconds ago.
 * NOTFOUND: no such invitation any more, or it is for another name. */
void store_register(struct store *st, const struct store_account *a, const unsigned char *hash,
		    uint64_t reserve, struct store_to to);
#endif
