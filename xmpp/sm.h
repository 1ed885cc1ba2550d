/* sm - stream management (XEP-0198) as a promise: what we acknowledge, is kept.
 * Thread: the session's worker; xmpp_promise_settle any.
 *
 * In: every stanza of an SM session gets a struct xmpp_promise.  It is settled when the last
 * reference of the stanza goes: the recipient's client acknowledged it, the store committed
 * it, or its error was sent.  The server's h counts the unbroken run of settled stanzas.
 * Out: sent stanzas wait in the queue until acknowledged.  Those under someone's promise are
 * committed to the message store when the client has not acknowledged within a tick. */
#ifndef XMPP_SM_H
#define XMPP_SM_H
#include "xmpp/xmpp.h"

struct xmpp_sm;
/* A stanza was read from the client: attach a promise to <s> (or count it at once when <s> is NULL:
 * iq and presence are handled when this turn ends). */
void xmpp_sm_received(struct xmpp_session *sess, struct xmpp_stanza *s);
/* About to write <s>: queue it; false when the queue, <s> in it, is over sm_max_queue or
 * sm_max_queue_size (session must end, which sends the queue elsewhere). */
bool xmpp_sm_sent(struct xmpp_session *sess, struct xmpp_stanza *s);
/* Ask the client how far it is (<r/>), whatever waits. */
void xmpp_sm_request(struct xmpp_session *sess);
/* One more reason to wait; each needs its own settle. */
void xmpp_promise_hold(struct xmpp_promise *p);
/* One reason less; the last one settles it.  The last unref of a stanza with a promise does so.  Any thread. */
void xmpp_promise_settle(struct xmpp_promise *p);
/* Session ends for good: every unacknowledged stanza is re-routed (messages: offline rules) and the
 * queue freed. */
void xmpp_sm_end(struct xmpp_session *sess);
/* The stream was lost; may the session wait for resumption? Arms the timer. */
bool xmpp_sm_hibernate(struct xmpp_session *sess);
/* Resume what <resume> names on <c>, now or when all it sent is settled.  False: there is no such session, nothing
 * was answered.  True: <c> has the session, waits for it (xmpp_sasl2_not_resumed tells that it went meanwhile), or
 * ended with an error. */
bool xmpp_sm_resume(struct xmpp_c2s *c, const struct xmpp_node *resume);
/* A stream that waits to resume is gone. */
void xmpp_sm_stream_gone(struct xmpp_env *env, struct td_str bare, const struct xmpp_c2s *c);
#endif
