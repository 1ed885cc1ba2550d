/* xep-0092 - software version: name and version; the operating system is nobody's business.
 * The feature is announced by xep_0232_software.c, which knows whether the version is hidden. */
#include "xmpp/modules.h"
#include "xmpp/xep/xep_0232_software.h"

static int
version_get(struct xmpp_iq *iq)
{
	if (xmpp_version_hidden(iq->env, iq->s->to.domain))
		return XMPP_PASS;
	xmpp_iq_result(iq, TD_STR("<query xmlns='" NS_VERSION "'><name>Tandem</name>"
				  "<version>" TANDEM_VERSION "</version></query>"));
	return XMPP_DONE;
}

static const struct xmpp_iq_entry version_iqs[] = {
	{ NS_VERSION, "query", IQ_GET | IQ_TO_HOST, version_get },
	{ 0 },
};

const struct xmpp_module xep_0092_version = {
	.name = "xep-0092-version",
	.xep = "0092",
	.doc = "Name and version of the server, without its operating system; not with "
	       "hide_version",
	.version = "1.1",
	.iqs = version_iqs,
};
