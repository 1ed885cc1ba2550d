/* sasl_plain - PLAIN (RFC 4616): the password itself, checked against whatever the source has.
 *
 * Against a verifier one check costs a whole key derivation (10,000 rounds of HMAC-SHA-256,
 * some 5 ms) on the stream's own thread.  An unknown name costs the same. */
#include "xmpp/sasl_priv.h"

#include <crypt.h>
#include <stdlib.h>
#include <openssl/crypto.h>

struct plain {
	char *password; /* prepared; NULL: it cannot be anyone's */
};

static bool
same_text(const char *a, const char *b)
{
	size_t n = strlen(a);

	return n == strlen(b) && CRYPTO_memcmp(a, b, n) == 0;
}

static bool
crypt_matches(const char *password, const char *hash)
{
	struct crypt_data *cd = td_zalloc(sizeof(*cd)); /* 32 KiB: not for the stack */
	const char *got = crypt_r(password, hash, cd);
	bool same = got != NULL && got[0] != '*' && same_text(got, hash);

	td_wipe(cd, sizeof(*cd));
	free(cd);
	return same;
}

static bool
ha1_matches(const struct xmpp_sasl *s, const char *password)
{
	const char *known = s->cred.digest_ha1 != NULL ? s->cred.digest_ha1 : "";
	char got[33];
	bool same;

	sasl_digest_ha1(s->user != NULL ? s->user : s->name, s->hints.realm, password, got);
	same = same_text(got, known);
	td_wipe(got, sizeof(got));
	return same;
}

static bool
password_is_right(const struct xmpp_sasl *s, const char *password)
{
	const struct xmpp_credentials *c = &s->cred;
	struct store_scram fake;
	bool right;

	/* Clear text has verifiers beside it, and goes the slow way too: so do unknown names. */
	if (c->sha256.key_len > 0)
		return sasl_scram_check(EVP_sha256(), password, &c->sha256);
	if (c->sha1.key_len > 0)
		return sasl_scram_check(EVP_sha1(), password, &c->sha1);
	if (c->crypt != NULL)
		return crypt_matches(password, c->crypt);
	if (c->digest_ha1 != NULL || s->hints.iterations == 0)
		return ha1_matches(s, password);
	if (c->password != NULL)
		return same_text(password, c->password);
	sasl_scram_pick(s, EVP_sha256(), &fake);
	right = sasl_scram_check(EVP_sha256(), password, &fake);
	td_wipe(&fake, sizeof(fake));
	return right;
}

static enum xmpp_sasl_step
plain_resume(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct plain *pl = s->state;
	bool right = pl->password != NULL && password_is_right(s, pl->password);

	(void)out;
	sasl_free_secret(&pl->password);
	return sasl_verdict(s, right, error);
}

/* [authzid] NUL authcid NUL passwd */
static enum xmpp_sasl_step
plain_step(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct plain *pl = s->state;
	struct td_str part[3];

	for (size_t i = 0; i < 3; i++) {
		ptrdiff_t nul = td_str_chr(in, '\0');

		if ((nul < 0) != (i == 2))
			return sasl_fail(error, SASL_MALFORMED_REQUEST);
		part[i] = nul < 0 ? in : td_str(in.p, (size_t)nul);
		in = nul < 0 ? TD_STR_NULL : td_str(in.p + nul + 1, in.len - (size_t)nul - 1);
		if (!td_utf8_valid(part[i]) || (i > 0 && part[i].len == 0))
			return sasl_fail(error, SASL_MALFORMED_REQUEST);
	}
	pl->password = sasl_prep_password(part[2], true);
	return sasl_lookup(s, part[1], part[0], out, error);
}

static void
plain_fini(struct xmpp_sasl *s)
{
	struct plain *pl = s->state;

	sasl_free_secret(&pl->password);
}

const struct sasl_mech sasl_plain = {
	.name = "PLAIN",
	.bit = SASL_M_PLAIN,
	.size = sizeof(struct plain),
	.client_first = true,
	.step = plain_step,
	.resume = plain_resume,
	.fini = plain_fini,
};
