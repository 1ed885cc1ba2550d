/* message - what a message is about: one table of what counts as conversation. */
#include "xmpp/message.h"

static const char *const signals[] = {
	"urn:xmpp:receipts",
	"urn:xmpp:chat-markers:0",
	"urn:xmpp:reactions:0",
	"urn:xmpp:message-retract:1",
	"urn:xmpp:message-correct:0",
	"urn:xmpp:jingle-message:0",
	"urn:xmpp:eme:0",
	"eu.siacs.conversations.axolotl",
	"urn:xmpp:omemo:2",
	"urn:xmpp:openpgp:0",
	"jabber:x:encrypted",
	"jabber:x:conference",
	"jabber:x:oob",
};

bool
xmpp_message_has_body(const struct xmpp_stanza *s)
{
	return xmpp_node_child(s->root, s->root->ns, "body") != NULL;
}

static bool
is_signal(const struct xmpp_node *n)
{
	if (n->ns == NULL)
		return false;
	if (strcmp(n->ns, "urn:xmpp:receipts") == 0 && strcmp(n->name, "request") == 0)
		return false; /* a question about a message that is not there */
	if (strcmp(n->ns, NS_MUC_USER) == 0)
		return xmpp_node_child(n, NS_MUC_USER, "invite") != NULL;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (strcmp(n->ns, signals[i]) == 0)
			return true;
	return false;
}

bool
xmpp_message_is_signal(const struct xmpp_stanza *s)
{
	for (const struct xmpp_node *n = xmpp_node_child(s->root, NULL, NULL); n != NULL;
	     n = xmpp_node_next_elem(n))
		if (is_signal(n))
			return true;
	return false;
}

bool
xmpp_message_has_hint(const struct xmpp_stanza *s, const char *name)
{
	return xmpp_node_child(s->root, NS_HINTS, name) != NULL;
}

bool
xmpp_message_only_chat_state(const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_node_child(s->root, NULL, NULL);
	bool state = false;

	for (; n != NULL; n = xmpp_node_next_elem(n)) {
		if (n->ns != NULL && strcmp(n->ns, NS_CHATSTATES) == 0)
			state = true;
		else if (!xmpp_node_is(n, s->root->ns, "thread") &&
			 (n->ns == NULL || strcmp(n->ns, NS_HINTS) != 0))
			return false;
	}
	return state;
}

bool
xmpp_message_is_invite(const struct xmpp_stanza *s)
{
	const struct xmpp_node *x = xmpp_node_child(s->root, NS_MUC_USER, "x");

	return (x != NULL && xmpp_node_child(x, NS_MUC_USER, "invite") != NULL) ||
	       xmpp_node_child(s->root, "jabber:x:conference", "x") != NULL;
}

bool
xmpp_message_is_muc_pm(const struct xmpp_stanza *s)
{
	return s->type != XT_GROUPCHAT && xmpp_node_child(s->root, NS_MUC_USER, "x") != NULL &&
	       !xmpp_message_is_invite(s);
}
