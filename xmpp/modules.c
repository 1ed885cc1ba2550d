/* modules - the features, one line each, in start order. */
#include "xmpp/modules.h"

// clang-format off
const struct xmpp_module *const xmpp_modules[] = {
	&xmpp_rfc6121,
	&xep_0030_disco,
	&xep_0092_version,
	&xep_0114_component,
	&xep_0160_offline,
	&xep_0198_sm,
	&xep_0199_ping,
	&xep_0202_time,
	&xep_0386_bind2,
	&xep_0388_sasl2,
	&xep_0478_limits,
	&xep_0045_muc,
	&xep_0249_direct_invite,
	&xep_0307_unique_name,
	&xep_0317_hats,
	&xep_0410_self_ping,
	&xep_0421_occupant_id,
	&xep_0425_moderation,
	&xep_0433_channel_search,
	&xep_0486_muc_avatar,
	&xep_0480_upgrade,
	&xep_0484_fast,
	/* in the order a message passes them */
	&xep_0297_forward,
	&xep_0191_blocking,
	&xep_0313_mam,
	&xep_0280_carbons,
	&xep_0352_csi,
	&xep_0357_push,
	NULL,
};
// clang-format on
