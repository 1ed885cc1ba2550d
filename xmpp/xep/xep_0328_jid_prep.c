/* xep-0328 - JID preparation and validation, for our own users: what stanza_rate lets them ask costs less
 * than any other stanza. */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/modules.h"

#define NS_JIDPREP "urn:xmpp:jidprep:1"
#define NS_JIDPREP_BASE64 "urn:xmpp:jidprep:base64:1"

static void
add_part(struct td_buf *b, const char *name, struct td_str part)
{
	if (part.p == NULL)
		return;
	td_buf_addf(b, "<%s>", name);
	td_buf_add_xml(b, part);
	td_buf_addf(b, "</%s>", name);
}

static void
answer(struct xmpp_iq *iq, struct td_str jid)
{
	struct td_arena *a = td_arena_new(1024);
	struct td_err err = { 0 };
	struct td_buf b = { 0 };
	struct xmpp_jid j;

	td_buf_addz(&b, "<jid-validate-result xmlns='" NS_JIDPREP "'>");
	if (td_utf8_valid(jid) && xmpp_jid_parse(a, jid, &j, &err) == 0) {
		td_buf_addz(&b, "<valid-jid>");
		add_part(&b, "localpart", j.local);
		add_part(&b, "domainpart", j.domain);
		add_part(&b, "resourcepart", j.resource);
		td_buf_addz(&b, "</valid-jid>");
	} else {
		td_buf_addz(&b, "<invalid-jid>");
		add_part(&b, "reason",
			 err.text[0] != '\0' ? td_cstr(err.text) : TD_STR("not UTF-8"));
		td_buf_addz(&b, "</invalid-jid>");
	}
	td_buf_addz(&b, "</jid-validate-result>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	td_arena_free(a);
}

static int
validate(struct xmpp_iq *iq)
{
	const struct xmpp_node *n = xmpp_node_child(iq->payload, NS_JIDPREP, "maybe-jid");

	if (n == NULL)
		xmpp_iq_error(iq, XE_BAD_REQUEST, NULL);
	else
		answer(iq, xmpp_node_text(iq->s->arena, n));
	return XMPP_DONE;
}

static int
validate_base64(struct xmpp_iq *iq)
{
	const struct xmpp_node *n = xmpp_node_child(iq->payload, NS_JIDPREP, "base64-maybe-jid");
	struct td_buf b = { 0 };

	if (n == NULL || td_base64_decode(td_str_trim(xmpp_node_text(iq->s->arena, n)), &b) < 0)
		xmpp_iq_error(iq, XE_BAD_REQUEST, NULL);
	else
		answer(iq, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static const char *const jidprep_features[] = { NS_JIDPREP, NS_JIDPREP_BASE64, NULL };

static const struct xmpp_iq_entry jidprep_iqs[] = {
	{ NS_JIDPREP, "jid-validate-request", IQ_GET | IQ_TO_HOST | IQ_FROM_CLIENT, validate },
	{ NS_JIDPREP, "jid-validate-base64-request", IQ_GET | IQ_TO_HOST | IQ_FROM_CLIENT,
	  validate_base64 },
	{ 0 },
};

const struct xmpp_module xep_0328_jid_prep = {
	.name = "xep-0328-jid-prep",
	.xep = "0328",
	.doc = "Preparation and validation of addresses, for users of this server",
	.version = "0.2.1",
	.features = jidprep_features,
	.iqs = jidprep_iqs,
};
