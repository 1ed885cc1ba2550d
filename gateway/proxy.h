/* proxy - the PROXY protocol header, versions 1 and 2.
 * Thread: any; touches only its arguments.  Errors: TD_E_INVAL for bytes that are no header.
 * Spec: HAProxy's proxy-protocol.txt, sections 2.1 and 2.2. */
#ifndef GATEWAY_PROXY_H
#define GATEWAY_PROXY_H
#include <sys/socket.h>
#include "gateway/base/str.h"

#define GW_PROXY_MAX 536

/* Look at the first bytes of a connection.  > 0: the header's length, *peer filled in (ss_family
 * AF_UNSPEC: keep the socket's own peer); 0: more bytes are needed; TD_E_INVAL: no header. */
int gw_proxy_parse(struct td_str head, struct sockaddr_storage *peer);
#endif
