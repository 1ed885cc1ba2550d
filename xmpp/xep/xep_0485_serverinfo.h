/* xep_0485_serverinfo - where this server's information is published.
 * Thread: the worker of the env. */
#ifndef XMPP_XEP_0485_SERVERINFO_H
#define XMPP_XEP_0485_SERVERINFO_H
#include "xmpp/xmpp.h"

/* Append the URI of the node with information about <domain>; false: none is published. */
bool xmpp_serverinfo_node(struct xmpp_env *env, struct td_str domain, struct td_buf *uri);
#endif
