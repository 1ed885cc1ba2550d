/* modules - the features, one line each, in start order. */
#include "xmpp/modules.h"

// clang-format off
const struct xmpp_module *const xmpp_modules[] = {
	&xmpp_rfc6121,
	&xep_0030_disco,
	&xep_0092_version,
	&xep_0160_offline,
	&xep_0198_sm,
	&xep_0199_ping,
	&xep_0202_time,
	&xep_0386_bind2,
	&xep_0388_sasl2,
	&xep_0478_limits,
	NULL,
};
// clang-format on
