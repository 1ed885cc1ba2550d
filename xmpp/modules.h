/* modules - the descriptors of all features (xmpp/modules.c lists them in start order). */
#ifndef XMPP_MODULES_H
#define XMPP_MODULES_H
#include "xmpp/xmpp.h"
extern const struct xmpp_module xmpp_rfc6121;
extern const struct xmpp_module xep_0030_disco;
extern const struct xmpp_module xep_0012_last;
extern const struct xmpp_module xep_0157_contact;
extern const struct xmpp_module xep_0215_extdisco;
extern const struct xmpp_module xep_0232_software;
extern const struct xmpp_module xep_0279_ip_check;
extern const struct xmpp_module xep_0328_jid_prep;
extern const struct xmpp_module xep_0049_private;
extern const struct xmpp_module xep_0054_vcard;
extern const struct xmpp_module xep_0060_pubsub;
extern const struct xmpp_module xep_0115_caps;
extern const struct xmpp_module xep_0163_pep;
extern const struct xmpp_module xep_0398_avatar;
extern const struct xmpp_module xep_0402_bookmarks;
extern const struct xmpp_module xep_0485_serverinfo;
extern const struct xmpp_module xep_0092_version;
extern const struct xmpp_module xep_0114_component;
extern const struct xmpp_module xep_0160_offline;
extern const struct xmpp_module xep_0198_sm;
extern const struct xmpp_module xep_0199_ping;
extern const struct xmpp_module xep_0202_time;
extern const struct xmpp_module xep_0050_adhoc;
extern const struct xmpp_module xep_0077_register;
extern const struct xmpp_module xep_0175_anonymous;
extern const struct xmpp_module xep_0379_pars;
extern const struct xmpp_module xep_0401_invite;
extern const struct xmpp_module xep_0445_preauth;
extern const struct xmpp_module xep_0386_bind2;
extern const struct xmpp_module xep_0355_delegation;
extern const struct xmpp_module xep_0356_privilege;
extern const struct xmpp_module xep_0388_sasl2;
extern const struct xmpp_module xep_0478_limits;
extern const struct xmpp_module xep_0045_muc;
extern const struct xmpp_module xep_0249_direct_invite;
extern const struct xmpp_module xep_0307_unique_name;
extern const struct xmpp_module xep_0317_hats;
extern const struct xmpp_module xep_0363_upload;
extern const struct xmpp_module xep_0410_self_ping;
extern const struct xmpp_module xep_0421_occupant_id;
extern const struct xmpp_module xep_0425_moderation;
extern const struct xmpp_module xep_0433_channel_search;
extern const struct xmpp_module xep_0486_muc_avatar;
extern const struct xmpp_module xep_0480_upgrade;
extern const struct xmpp_module xep_0484_fast;
extern const struct xmpp_module xep_0313_mam;
extern const struct xmpp_module xep_0191_blocking;
extern const struct xmpp_module xep_0280_carbons;
extern const struct xmpp_module xep_0297_forward;
extern const struct xmpp_module xep_0352_csi;
extern const struct xmpp_module xep_0357_push;
#endif
