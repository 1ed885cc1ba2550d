/* sasl2 - one sign-in by the extensible SASL profile (XEP-0388 1.0.4) on a client stream: the exchange itself
 * is c2s.c's and sasl.c's, here is what goes with it: tasks (XEP-0480), inline resumption (XEP-0198 9), Bind 2
 * (XEP-0386), tokens (XEP-0484).
 * Thread: the worker that holds the stream; what was asked for inline is done by the owner of the account.
 * Ownership: struct xmpp_sasl2 belongs to the negotiation of its stream (c2s_nego).
 *
 * Order after the exchange: tasks, then (on the owner) token, resume, and only without a resumed session bind. */
#ifndef XMPP_SASL2_H
#define XMPP_SASL2_H
#include "xmpp/xmpp.h"

struct xmpp_sasl;
struct xmpp_sasl2;

/* <authentication/> for the features; <bindings>: XB_* the TLS session has.  Sets nego->fast. */
void xmpp_sasl2_features(struct xmpp_c2s *c, unsigned bindings, struct td_buf *out);
/* Handlers of the state table. */
bool xmpp_sasl2_authenticate(struct xmpp_c2s *c, struct xmpp_stanza *s);
bool xmpp_sasl2_next(struct xmpp_c2s *c, struct xmpp_stanza *s);
bool xmpp_sasl2_task_data(struct xmpp_c2s *c, struct xmpp_stanza *s);
/* Give an exchange by token what it needs from <authenticate/>; false: that is malformed. */
bool xmpp_sasl2_token(struct xmpp_c2s *c, struct xmpp_sasl *sasl);
/* The exchange ended well, with <more> (base64) for the client. */
void xmpp_sasl2_success(struct xmpp_c2s *c, struct td_str more);
/* The stream came to the owner of its account: go on.  It may be gone on return. */
void xmpp_sasl2_moved(struct xmpp_c2s *c);
/* The session of the full <jid> was resumed on <c>: say so inside <success/>.  False: it does not sign in by SASL2. */
bool xmpp_sasl2_resumed(struct xmpp_c2s *c, struct td_str jid, struct td_str resumed_xml);
/* The session <c> waited for is gone: a new one is bound at the end of the turn.  False likewise. */
bool xmpp_sasl2_not_resumed(struct xmpp_c2s *c);
void xmpp_sasl2_free(struct xmpp_sasl2 *s2);
/* The user agent's id in its <authenticate/>; NULL = none. */
const char *xmpp_sasl2_agent(const struct xmpp_sasl2 *s2);
/* The whole <authenticate/>. */
const struct xmpp_node *xmpp_sasl2_request(const struct xmpp_sasl2 *s2);

/* ---- bind2.c ---- */

/* What Bind 2 announces inside <inline/>. */
void xmpp_bind2_feature(struct td_buf *out);
/* Bind a session of the loaded account <u> as <bind> asks; earlier ones of the same user agent end.  <archive>: the
 * <metadata/> of its archive, empty = there is none.  <bound/> goes to <out>.  NULL: refused, nothing was written.  The caller answers, then calls xmpp_session_started. */
struct xmpp_session *xmpp_bind2(struct xmpp_c2s *c, struct xmpp_user *u,
				const struct xmpp_node *request, const char *agent,
				struct td_str archive, struct td_buf *out);
#endif
