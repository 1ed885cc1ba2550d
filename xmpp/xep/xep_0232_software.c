/* xep-0232 - software information: name and version as a form in disco#info, unless hide_version is set. */
#include "xmpp/xep/xep_0232_software.h"

#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/component.h"
#include "xmpp/form.h"
#include "xmpp/modules.h"
#include "xmpp/xep/xep_0030_disco.h"

#define NS_SOFTWAREINFO "urn:xmpp:dataforms:softwareinfo"

bool
xmpp_version_hidden(struct xmpp_env *env, struct td_str domain)
{
	const struct conf_at at = { .protocol = "xmpp", .domain = domain };

	return conf_bool(env->conf, &at, "hide_version");
}

static void
software_info(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
	      struct td_buf *out)
{
	(void)self;
	if (xmpp_version_hidden(env, domain))
		return;
	if (!env->delegates || !xmpp_delegation_hides(env, domain, NS_VERSION))
		td_buf_addz(out, "<feature var='" NS_VERSION "'/>");
	xmpp_form_open(out, FORM_RESULT, NS_SOFTWAREINFO);
	xmpp_form_add1(out, NULL, "software", NULL, TD_STR("Tandem"));
	xmpp_form_add1(out, NULL, "software_version", NULL, TD_STR(TANDEM_VERSION));
	xmpp_form_close(out);
}

static void
software_start(struct xmpp_env *env)
{
	struct xmpp_disco_ext *ext = td_zalloc(sizeof(*ext));

	ext->info = software_info;
	xmpp_disco_extend(env, ext);
	env->module_data[XMPP_SLOT_SOFTWARE] = ext;
}

static void
software_stop(struct xmpp_env *env)
{
	free(env->module_data[XMPP_SLOT_SOFTWARE]);
	env->module_data[XMPP_SLOT_SOFTWARE] = NULL;
}

const struct xmpp_module xep_0232_software = {
	.name = "xep-0232-software",
	.xep = "0232",
	.doc = "Name and version of the software in disco#info; hide_version = true leaves them "
	       "out",
	.version = "0.3",
	.start = software_start,
	.stop = software_stop,
};
