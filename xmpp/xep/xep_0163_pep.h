/* xep_0163_pep - personal eventing: what presence and capabilities have to do with an account's nodes.
 * Thread: the worker of the account. */
#ifndef XMPP_XEP_0163_PEP_H
#define XMPP_XEP_0163_PEP_H
#include "xmpp/xmpp.h"

struct xmpp_caps;

/* It is known now what this available session's client asks for (<old>: what it asked for before, NULL at first): the last
 * items of its own nodes and of those whose presence it may see go to it. */
void xmpp_pep_online(struct xmpp_session *sess, const struct xmpp_caps *old);
#endif
