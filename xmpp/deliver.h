/* deliver - what happens to a stanza at its account or at the server (RFC 6121 section 8).
 * Thread: the owner of the account. For the files of xmpp/ only. */
#ifndef XMPP_DELIVER_H
#define XMPP_DELIVER_H
#include "xmpp/xmpp.h"
/* What a client's stanza does once it is counted and checked: <s> of <sess>, stamped, not sealed.  Takes <s>. */
void xmpp_client_stanza(struct xmpp_session *sess, struct xmpp_stanza *s);
/* Is it a message to several addresses (xep/xep_0033_address.c)? */
bool xmpp_is_multicast(const struct xmpp_stanza *s);
/* <s> for a loaded user; takes the reference. */
void xmpp_deliver_loaded(struct xmpp_user *u, struct xmpp_stanza *s);
/* A message as if to the bare address: best resources, else offline. Does not take <s>. */
void xmpp_deliver_message_bare(struct xmpp_user *u, struct xmpp_stanza *s);
/* An iq for the account or the server: modules. Takes <s>. */
void xmpp_iq_dispatch(struct xmpp_env *env, struct xmpp_user *u, struct xmpp_session *sess,
		      struct xmpp_stanza *s);
void xmpp_users_free(struct xmpp_env *env);
/* The modules let go of what they keep with users: before they stop. */
void xmpp_users_unload(struct xmpp_env *env);
void xmpp_iqs_register(struct xmpp_env *env);
void xmpp_iqs_free(struct xmpp_env *env);
#endif
