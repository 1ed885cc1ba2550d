/* xep-0157 - contact addresses: the serverinfo form in disco#info, from the contact stanzas of the domain. */
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/form.h"
#include "xmpp/modules.h"
#include "xmpp/xep/xep_0030_disco.h"
#include "xmpp/xep/xep_0485_serverinfo.h"

#define NS_SERVERINFO "http://jabber.org/network/serverinfo"

/* contact "abuse" is the field abuse-addresses. */
static void
add_contact(struct xmpp_env *env, const struct conf_scope *s, struct td_buf *out)
{
	const struct conf_at at = { .scope = s };
	struct td_str name = conf_scope_name(s);
	struct td_buf var = { 0 };
	size_t n;
	const struct td_str *uris = conf_list(env->conf, &at, "uri", &n);

	for (size_t i = 0; i < name.len; i++)
		td_buf_addc(&var, name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32)
								       : name.p[i]);
	td_buf_addz(&var, "-addresses");
	if (n > 0)
		xmpp_form_add(out, "list-multi", td_buf_cstr(&var), NULL, uris, n, NULL);
	td_buf_fini(&var);
}

static void
contact_info(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
	     struct td_buf *out)
{
	const struct conf_scope *s = conf_next_in_domain(env->conf, domain, "contact", NULL);

	struct td_buf uri = { 0 };
	bool published = xmpp_serverinfo_node(env, domain, &uri);

	(void)self;
	if (s == NULL && !published)
		return;
	/* one form for both: two of one type would spoil the capabilities' hash (XEP-0115 5.4) */
	xmpp_form_open(out, FORM_RESULT, NS_SERVERINFO);
	for (; s != NULL; s = conf_next_in_domain(env->conf, domain, "contact", s))
		add_contact(env, s, out);
	if (published)
		xmpp_form_add1(out, NULL, "serverinfo-pubsub-node", NULL, td_buf_str(&uri));
	xmpp_form_close(out);
	td_buf_fini(&uri);
}

static void
contact_start(struct xmpp_env *env)
{
	struct xmpp_disco_ext *ext = td_zalloc(sizeof(*ext));

	ext->info = contact_info;
	xmpp_disco_extend(env, ext);
	env->module_data[XMPP_SLOT_CONTACT] = ext;
}

static void
contact_stop(struct xmpp_env *env)
{
	free(env->module_data[XMPP_SLOT_CONTACT]);
	env->module_data[XMPP_SLOT_CONTACT] = NULL;
}

const struct xmpp_module xep_0157_contact = {
	.name = "xep-0157-contact",
	.xep = "0157",
	.doc = "Addresses for abuse, support and the like, in disco#info of a domain",
	.version = "1.1.1",
	.start = contact_start,
	.stop = contact_stop,
};
