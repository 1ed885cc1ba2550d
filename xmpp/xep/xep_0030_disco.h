/* xep_0030_disco - what other parts add to the answers about our domains.
 * Thread: the worker of the env. */
#ifndef XMPP_XEP_0030_DISCO_H
#define XMPP_XEP_0030_DISCO_H
#include "xmpp/xmpp.h"

/* Embed, fill in, hand over between the start of the modules and their stop.  It is asked at
 * every request, so it may answer from the configuration of the moment. */
struct xmpp_disco_ext {
	STAILQ_ENTRY(xmpp_disco_ext) link;
	/* Append identities, features or forms of <domain> to disco#info; may be NULL. */
	void (*info)(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
		     struct td_buf *out);
	/* Append features or identities of the account to its disco#info; may be NULL. */
	void (*account)(struct xmpp_disco_ext *self, struct xmpp_user *u, struct td_buf *out);
	/* Append <item/> elements (services of <domain>) to disco#items; may be NULL. */
	void (*items)(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
		      struct td_buf *out);
	/* The same for an account, asked by somebody who may know of it; may be NULL. */
	void (*account_items)(struct xmpp_disco_ext *self, struct xmpp_user *u,
			      const struct xmpp_jid *who, struct td_buf *out);
};
/* What disco#info of our domain answers, without <query/>. */
void xmpp_disco_host_info(struct xmpp_env *env, struct td_str domain, struct td_buf *out);
void xmpp_disco_extend(struct xmpp_env *env, struct xmpp_disco_ext *ext);
/* One <item jid= name=/>; name may be TD_STR_NULL. */
void xmpp_disco_write_item(struct td_buf *out, struct td_str jid, struct td_str name);
#endif
