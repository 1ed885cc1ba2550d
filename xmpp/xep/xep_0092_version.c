/* xep-0092 - software version: name and version; the operating system is nobody's business. */
#include "xmpp/modules.h"

static int
version_get(struct xmpp_iq *iq)
{
	xmpp_iq_result(iq, TD_STR("<query xmlns='" NS_VERSION "'><name>Tandem</name>"
				  "<version>" TANDEM_VERSION "</version></query>"));
	return XMPP_DONE;
}

static const char *const version_features[] = { NS_VERSION, NULL };

static const struct xmpp_iq_entry version_iqs[] = {
	{ NS_VERSION, "query", IQ_GET | IQ_TO_HOST, version_get },
	{ 0 },
};

const struct xmpp_module xep_0092_version = {
	.name = "xep-0092-version",
	.xep = "0092",
	.doc = "Name and version of the server, without its operating system",
	.version = "1.1",
	.features = version_features,
	.iqs = version_iqs,
};
