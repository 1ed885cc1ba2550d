/* xep_0115_caps - what clients can do, learned from the hash in their presence.
 * Thread: the worker of the env.  The cache is the worker's; entries are shared by reference. */
#ifndef XMPP_XEP_0115_CAPS_H
#define XMPP_XEP_0115_CAPS_H
#include "xmpp/xmpp.h"

struct xmpp_caps;

struct xmpp_caps *xmpp_caps_ref(struct xmpp_caps *c);
void xmpp_caps_unref(struct xmpp_caps **c);
/* Of a session of ours; NULL while unknown. */
struct xmpp_caps *xmpp_caps_of(const struct xmpp_session *sess);
/* Does it ask for events of <node> ("<node>+notify")? */
bool xmpp_caps_notifies(const struct xmpp_caps *c, struct td_str node);
/* Every node it asks for. */
size_t xmpp_caps_nodes(const struct xmpp_caps *c, const struct td_str **out);
/* Such a set made by hand, for another worker's. */
struct xmpp_caps *xmpp_caps_new(const struct td_str *nodes, size_t n);
/* Find out what the sender of presence <s> can do, asking as <from> if need be; fn(caps, arg) now or later, caps NULL: it
 * has none, or did not say.  Borrowed.  fn may run when the env goes away: then caps is NULL. */
void xmpp_caps_resolve(struct xmpp_env *env, const struct xmpp_stanza *s,
		       const struct xmpp_jid *from,
		       void (*fn)(struct xmpp_env *env, struct xmpp_caps *c, void *arg), void *arg);

/* The verification string of a disco#info <query/>, hashed with <algo> ("sha-1"), base64.  TD_E_INVAL: ill-formed
 * (section 5.4: something twice), TD_E_UNSUPPORTED: no such hash. */
int xmpp_caps_hash(const struct xmpp_node *query, struct td_str algo, struct td_buf *out);
#endif
