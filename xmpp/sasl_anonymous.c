/* sasl_anonymous - ANONYMOUS (RFC 4505, XEP-0175): a guest gets an address of random letters; what it says about
 * itself is thrown away. */
#include "xmpp/sasl_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define TRACE_MAX 255u /* RFC 4505 section 2 */

static enum xmpp_sasl_step
anonymous_step(struct xmpp_sasl *s, struct td_str in, struct td_buf *out,
	       enum xmpp_sasl_error *error)
{
	unsigned char r[16];
	char name[37];

	(void)out;
	if (in.len > TRACE_MAX * 4u || !td_utf8_valid(in))
		return sasl_fail(error, SASL_MALFORMED_REQUEST);
	td_random(r, sizeof(r));
	(void)snprintf(name, sizeof(name),
		       "%02x%02x%02x%02x-%02x%02x-4%x%02x-%x%x%02x-%02x%02x%02x%02x%02x%02x", r[0],
		       r[1], r[2], r[3], r[4], r[5], r[6] & 0xfu, r[7], 8u | (r[8] & 3u), r[8] >> 4,
		       r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
	return sasl_assume(s, td_cstr(name)) ? SASL_SUCCESS
					     : sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE);
}

static void
anonymous_fini(struct xmpp_sasl *s)
{
	(void)s;
}

const struct sasl_mech sasl_anonymous = {
	.name = "ANONYMOUS",
	.bit = SASL_M_ANONYMOUS,
	.size = 1,
	.client_first = true,
	.step = anonymous_step,
	.fini = anonymous_fini,
};
