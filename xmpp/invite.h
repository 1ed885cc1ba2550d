/* invite - invitations: their tokens, and the contacts that come of them (XEP-0379, 0401).
 * Thread: the worker of the env; xmpp_invite_hash any. */
#ifndef XMPP_INVITE_H
#define XMPP_INVITE_H
#include "xmpp/xmpp.h"

/* What the store knows a token by. */
void xmpp_invite_hash(struct td_str token, unsigned char hash[32]);
/* <a> and <b>, accounts of ours, see each other's presence from now on; their clients are told. */
void xmpp_invite_befriend(struct xmpp_env *env, struct td_str a, struct td_str b);
#endif
