/* delegate - what no component gets, whatever the configuration says (XEP-0355 section 8). */
#include "conf/conf.h"

bool
conf_may_delegate(struct td_str ns)
{
	/* those of the stream and of the component itself */
	static const char *const never[] = {
		"urn:xmpp:delegation:",
		"urn:xmpp:privilege:",
		"urn:ietf:params:xml:ns:xmpp-",
		"urn:xmpp:sm:",
		"urn:xmpp:sasl:",
		"urn:xmpp:bind:",
		"jabber:client",
		"http://etherx.jabber.org/streams",
		NULL,
	};

	if (td_str_eqc(ns, "urn:xmpp:delegation:2:bare:disco#info:*") ||
	    td_str_eqc(ns, "urn:xmpp:delegation:2:bare:disco#items:*"))
		return true;
	for (size_t i = 0; never[i] != NULL; i++)
		if (td_str_starts(ns, never[i]))
			return false;
	return ns.len > 0;
}
