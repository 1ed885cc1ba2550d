/* mam_priv - what the files of message archives share: xep_0313_mam.c, mam_query.c, mam_prefs.c.
 * Thread: the worker of the env. */
#ifndef XMPP_MAM_PRIV_H
#define XMPP_MAM_PRIV_H
#include "xmpp/mam.h"
#include "xmpp/xep/xep_0030_disco.h"

struct mam;
/* First member of what is given to the store: m becomes NULL when the env goes first. */
struct mam_call {
	LIST_ENTRY(mam_call) link;
	struct mam *m;
};
/* Somebody wants to know the ends of an archive at one moment. */
struct mam_ends {
	struct mam_call call; /* first */
	LIST_ENTRY(mam_ends) link;
	uint64_t first, last; /* ids given since it asked; 0 = none */
	xmpp_mam_metadata_fn *done;
	void *arg;
	struct td_str owner;
	char text[];
};
struct mam_expiry {
	struct mam_call call;
};

struct mam {
	struct xmpp_env *env;
	LIST_HEAD(, mam_call) calls;
	LIST_HEAD(, mam_ends) ends;
	uint64_t last_id;
	/* rows of this turn; owner.p is an offset into <text> until they are flushed */
	struct store_archived *rows;
	struct xmpp_promise **held; /* what waits for their commit */
	size_t n, cap, n_held;
	struct td_buf text;
	struct td_task flush;
	/* the last domain asked about */
	const struct conf *known_conf;
	struct td_buf known;
	bool known_on;
	struct td_timer expire;
	size_t expire_next; /* number of the domain stanza */
	struct xmpp_disco_ext disco;
};
void mam_call_begin(struct mam_call *c, struct mam *m);
void mam_call_end(struct mam_call *c);
void mam_flush(struct mam *m);
bool mam_is_on(struct mam *m, struct td_str domain);

/* mam_prefs.c (XEP-0441) */
bool mam_prefs_allow(const struct xmpp_user *u, const struct xmpp_jid *peer);
int mam_prefs_iq(struct xmpp_iq *iq);
void mam_prefs_load(struct xmpp_user *u);
void mam_prefs_unload(struct xmpp_user *u);
#endif
