/* mam - message archives (XEP-0313) of accounts, and what a room needs to keep its own.
 * Thread: the worker of the env, which must own the archive's JID. */
#ifndef XMPP_MAM_H
#define XMPP_MAM_H
#include "store/archive.h"
#include "xmpp/xmpp.h"

#define NS_MAM "urn:xmpp:mam:2"
#define NS_SID "urn:xmpp:sid:0"

/* Keep <s> in the archive of <owner>; <peer> is the other side (in a room: the sender's real JID), <flags>
 * STORE_ARCHIVED_*.  Returns the id.  The commit comes later, with those of the same turn; what was promised to the
 * sender of <s> (sm.h) waits for it too.  Seals <s>. */
uint64_t xmpp_mam_keep(struct xmpp_env *env, struct td_str owner, const struct xmpp_jid *peer,
		       uint32_t flags, struct xmpp_stanza *s);
/* The same under an id of xmpp_mam_id, and with a promise that <s> does not carry (may be NULL). */
void xmpp_mam_keep_as(struct xmpp_env *env, struct td_str owner, const struct xmpp_jid *peer,
		      uint32_t flags, struct xmpp_stanza *s, uint64_t id,
		      struct xmpp_promise *promise);
/* The next id on this worker. */
uint64_t xmpp_mam_id(struct xmpp_env *env);
/* Does the domain keep archives? */
bool xmpp_mam_on(struct xmpp_env *env, struct td_str domain);
/* Append <stanza-id/> (XEP-0359) by <owner>. */
void xmpp_mam_stanza_id(struct xmpp_env *env, struct td_str owner, uint64_t id, struct td_buf *out);

/* How kept messages are shown; NULL members: as they were kept. */
struct xmpp_mam_view {
	/* Append the <message/> to <out>; false: this one is not shown.  <arg> is a copy of what the query was started with. */
	bool (*write)(const void *arg, const struct store_archived *row, struct td_buf *out);
	const void *arg;
	size_t arg_len;
	bool no_with; /* the asker may not search by peer */
};
/* Answer a query or metadata request (urn:xmpp:mam:2) for the archive of <owner>; who may ask is the caller's business.
 * XMPP_PASS: it is none of these.  <view> may be NULL. */
int xmpp_mam_answer(struct xmpp_iq *iq, struct td_str owner, const struct xmpp_mam_view *view);
/* First and last id as <metadata/> (Bind 2), of the moment <done> is called: what is archived meanwhile counts.  With
 * nothing to say, because archives are off or cannot be read, <xml> is empty.  env NULL: the worker's server is gone. */
typedef void xmpp_mam_metadata_fn(struct xmpp_env *env, struct td_str xml, void *arg);
void xmpp_mam_metadata(struct xmpp_env *env, struct td_str owner, struct td_str domain,
		       xmpp_mam_metadata_fn *done, void *arg);
/* Everything of the owner goes. */
void xmpp_mam_forget(struct xmpp_env *env, struct td_str owner);
#endif
