/* cred - what a credential source is made of; callers use xmpp/sasl.h.
 * Thread: a source is shared by all workers; each function says what it locks. */
#ifndef XMPP_CRED_H
#define XMPP_CRED_H
#include <stdatomic.h>
#include "xmpp/sasl.h"

/* Iterations of a new verifier, and of the clear text in a file: there the password lies
 * beside its verifier, so the count protects nothing and costs the loop. */
#define CRED_ITERATIONS 10000u
#define CRED_ITERATIONS_CLEAR 4096u
#define CRED_ITERATIONS_MAX 1000000u
#define CRED_SALT_LEN 16u

/* What the exchange of an unknown account must look like. */
struct xmpp_cred_hints {
	unsigned iterations; /* 0: checking a password here takes no key derivation */
	char realm[256];     /* DIGEST-MD5 */
};

struct xmpp_cred_ops {
	const char *scheme; /* before "://" */
	/* <path>: what follows "://". */
	int (*open)(const char *path, struct store *st, struct xmpp_cred_source **out,
		    struct td_err *err);
	/* See xmpp_cred_fetch; no lock is held while the callback runs. */
	void (*fetch)(struct xmpp_cred_source *s, struct td_str bare_jid, struct td_loop *loop,
		      xmpp_cred_cb *cb, void *arg);
	/* Change what is not as preset; may be NULL. */
	void (*hints)(struct xmpp_cred_source *s, struct xmpp_cred_hints *hints);
	void (*free)(struct xmpp_cred_source *s);
};

/* First member of every source. */
struct xmpp_cred_source {
	const struct xmpp_cred_ops *ops;
	atomic_int refs; /* starts at 1 */
};

extern const struct xmpp_cred_ops xmpp_cred_store_ops;
extern const struct xmpp_cred_ops xmpp_cred_file_ops;
extern const struct xmpp_cred_ops xmpp_cred_digest_ops;

void xmpp_cred_get_hints(struct xmpp_cred_source *s, struct td_str domain,
			 struct xmpp_cred_hints *out);
/* Deep copy; finish <out> with xmpp_credentials_fini. */
void xmpp_credentials_copy(const struct xmpp_credentials *c, struct xmpp_credentials *out);
#endif
