/* message - what a message is about, for archives, carbons, push and idle clients.
 * Thread: any; reads only the stanza's tree (copies made for many recipients have none: nothing is found there). */
#ifndef XMPP_MESSAGE_H
#define XMPP_MESSAGE_H
#include "xmpp/stanza.h"

#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_FORWARD "urn:xmpp:forward:0"
#define NS_MUC_USER "http://jabber.org/protocol/muc#user"

bool xmpp_message_has_body(const struct xmpp_stanza *s);
/* Conversation without a body: encrypted, receipts, markers, reactions, calls, invitations. */
bool xmpp_message_is_signal(const struct xmpp_stanza *s);
bool xmpp_message_has_hint(const struct xmpp_stanza *s, const char *name); /* XEP-0334 */
/* What is left when chat states, hints and the thread are taken away: nothing (XEP-0085). */
bool xmpp_message_only_chat_state(const struct xmpp_stanza *s);
/* Through a room: an invitation, or a private message from an occupant. */
bool xmpp_message_is_invite(const struct xmpp_stanza *s);
bool xmpp_message_is_muc_pm(const struct xmpp_stanza *s);
#endif
