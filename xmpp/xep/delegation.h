/* delegation - what the two modes of XEP-0355 share: xep_0355_delegation.c (admin mode), delegation_client.c (client mode).
 * Thread: the worker of the env. */
#ifndef XMPP_XEP_DELEGATION_H
#define XMPP_XEP_DELEGATION_H
#include "xmpp/xmpp.h"

/* Send the request to <entity> in the name of <domain>, and its answer back as ours (4.3). */
void delegation_hand_on(struct xmpp_iq *iq, struct td_str entity, struct td_str domain);

/* ---- delegation_client.c ---- */

/* An entity asks to manage namespaces of a user (5.1): an iq handler. */
int delegation_request(struct xmpp_iq *iq);
void delegation_session_ended(struct xmpp_session *sess);
void delegation_user_unloaded(struct xmpp_user *u);
void delegation_client_start(struct xmpp_env *env);
void delegation_client_stop(struct xmpp_env *env);
#endif
