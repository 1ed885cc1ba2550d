/* xep-0232 - software information: name and version as a form in disco#info, unless hide_version is set. */
#include "xmpp/xep/xep_0232_software.h"

#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/component.h"
#include "xmpp/form.h"
#include "xmpp/modules.h"
#include "xmpp/xep/xep_0030_disco.h"
#include "xmpp/xep/xep_0231_bob.h"

#define NS_MEDIA "urn:xmpp:media-element"
#define NS_SOFTWAREINFO "urn:xmpp:dataforms:softwareinfo"

/* Two wheels and a bar. */
static const char icon[] =
	"<svg xmlns='http://www.w3.org/2000/svg' width='32' height='32' viewBox='0 0 32 32'>"
	"<g fill='none' stroke='#246' stroke-width='3'><circle cx='8' cy='21' r='6'/>"
	"<circle cx='24' cy='21' r='6'/><path d='M8 21 14 9h8l2 12M14 9l4 12'/></g></svg>";

struct software {
	struct xmpp_disco_ext ext; /* first */
	char cid[XMPP_BOB_CID];
};

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
	if (xmpp_version_hidden(env, domain))
		return;
	if (!env->delegates || !xmpp_delegation_hides(env, domain, NS_VERSION))
		td_buf_addz(out, "<feature var='" NS_VERSION "'/>");
	xmpp_form_open(out, FORM_RESULT, NS_SOFTWAREINFO);
	xmpp_form_add1(out, NULL, "software", NULL, TD_STR("Tandem"));
	xmpp_form_add1(out, NULL, "software_version", NULL, TD_STR(TANDEM_VERSION));
	td_buf_addf(
		out,
		"<field var='icon'><media xmlns='" NS_MEDIA
		"' height='32' width='32'><uri type='image/svg+xml'>cid:%s</uri></media></field>",
		((struct software *)self)->cid);
	xmpp_form_close(out);
}

static void
software_start(struct xmpp_env *env)
{
	struct software *sw = td_zalloc(sizeof(*sw));

	sw->ext.info = software_info;
	xmpp_bob_keep(env, "image/svg+xml", td_cstr(icon), sw->cid);
	xmpp_disco_extend(env, &sw->ext);
	env->module_data[XMPP_SLOT_SOFTWARE] = sw;
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
