/* sasl_external - EXTERNAL (RFC 4422 appendix A, XEP-0178 2): whoever holds the certificate is whom it names.
 *
 * That the certificate is good was found out before, by TLS; here it is which of its addresses is meant, and whether
 * there is such an account. */
#include "xmpp/sasl_priv.h"

#include <stdlib.h>

#include "gateway/base/arena.h"
#include "xmpp/jid.h"

void
xmpp_sasl_certificate(struct xmpp_sasl *s, const struct td_str *jids, size_t n)
{
	s->n_ids = n < XMPP_CERT_IDS ? n : XMPP_CERT_IDS;
	for (size_t i = 0; i < s->n_ids; i++)
		s->ids[i] = td_strndup(jids[i]);
}

/* Item 11: the one that is asked for, or the only one. */
static const char *
pick(const struct xmpp_sasl *s, struct td_str authzid)
{
	struct td_arena *a;
	struct xmpp_jid j;
	const char *id = NULL;

	if (authzid.len == 0)
		return s->n_ids == 1 ? s->ids[0] : NULL;
	a = td_arena_new(0);
	if (xmpp_jid_parse(a, authzid, &j, NULL) == 0)
		for (size_t i = 0; i < s->n_ids; i++)
			if (td_str_eqc(j.full, s->ids[i]))
				id = s->ids[i];
	td_arena_free(a);
	return id;
}

static enum xmpp_sasl_step
external_step(struct xmpp_sasl *s, struct td_str in, struct td_buf *out,
	      enum xmpp_sasl_error *error)
{
	const char *id;

	if (!td_utf8_valid(in) || (in.len > 0 && memchr(in.p, '\0', in.len) != NULL))
		return sasl_fail(error, SASL_MALFORMED_REQUEST);
	if (s->n_ids == 0)
		return sasl_fail(error, SASL_NOT_AUTHORIZED);
	id = pick(s, in);
	if (id == NULL)
		return sasl_fail(error, SASL_INVALID_AUTHZID);
	return sasl_lookup(s, td_str(id, strcspn(id, "@")), in, out, error);
}

static enum xmpp_sasl_step
external_resume(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	(void)out;
	return sasl_verdict(s, true, error);
}

static void
external_fini(struct xmpp_sasl *s)
{
	for (size_t i = 0; i < s->n_ids; i++)
		free(s->ids[i]);
	s->n_ids = 0;
}

const struct sasl_mech sasl_external = {
	.name = "EXTERNAL",
	.bit = SASL_M_EXTERNAL,
	.size = 1,
	.client_first = true,
	.step = external_step,
	.resume = external_resume,
	.fini = external_fini,
};
