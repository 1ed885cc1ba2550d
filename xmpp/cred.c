/* cred - credential sources: the table of schemes, counting references, new verifiers. */
#include "xmpp/cred.h"

#include <stdlib.h>

#include "gateway/base/err.h"
#include "xmpp/sasl_priv.h"

static const struct xmpp_cred_ops *const schemes[] = {
	&xmpp_cred_store_ops,
	&xmpp_cred_file_ops,
	&xmpp_cred_digest_ops,
};

int
xmpp_cred_source_open(const char *uri, struct store *st, struct xmpp_cred_source **out,
		      struct td_err *err)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = strlen(schemes[i]->scheme);

		if (strncmp(uri, schemes[i]->scheme, n) == 0 && strncmp(uri + n, "://", 3) == 0)
			return schemes[i]->open(uri + n + 3, st, out, err);
	}
	return td_fail(err, TD_E_UNSUPPORTED, "credential source %s: unknown scheme", uri);
}

bool
xmpp_cred_source_is_store(const struct xmpp_cred_source *s)
{
	return s != NULL && s->ops == &xmpp_cred_store_ops;
}

struct xmpp_cred_source *
xmpp_cred_source_ref(struct xmpp_cred_source *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
xmpp_cred_source_unref(struct xmpp_cred_source **s)
{
	struct xmpp_cred_source *src = *s;

	*s = NULL;
	if (src != NULL && atomic_fetch_sub(&src->refs, 1) == 1)
		src->ops->free(src);
}

void
xmpp_cred_fetch(struct xmpp_cred_source *s, struct td_str bare_jid, struct td_loop *loop,
		xmpp_cred_cb *cb, void *arg)
{
	s->ops->fetch(s, bare_jid, loop, cb, arg);
}

void
xmpp_cred_get_hints(struct xmpp_cred_source *s, struct td_str domain, struct xmpp_cred_hints *out)
{
	size_t n = td_utf8_cut(domain, sizeof(out->realm) - 1);

	*out = (struct xmpp_cred_hints){ .iterations = CRED_ITERATIONS };
	memcpy(out->realm, domain.p, n);
	if (s->ops->hints != NULL)
		s->ops->hints(s, out);
}

void
xmpp_credentials_fini(struct xmpp_credentials *c)
{
	sasl_free_secret(&c->password);
	sasl_free_secret(&c->digest_ha1);
	sasl_free_secret(&c->crypt);
	td_wipe(c, sizeof(*c));
}

void
xmpp_credentials_copy(const struct xmpp_credentials *c, struct xmpp_credentials *out)
{
	*out = *c;
	out->password = c->password != NULL ? td_strdup(c->password) : NULL;
	out->digest_ha1 = c->digest_ha1 != NULL ? td_strdup(c->digest_ha1) : NULL;
	out->crypt = c->crypt != NULL ? td_strdup(c->crypt) : NULL;
}

int
xmpp_scram_derive(struct td_str password, unsigned iterations, struct store_scram *sha1,
		  struct store_scram *sha256, struct td_err *err)
{
	char *prepared;
	int rc = 0;

	if (iterations == 0)
		iterations = CRED_ITERATIONS;
	if (iterations > CRED_ITERATIONS_MAX)
		return td_fail(err, TD_E_INVAL, "more than %u iterations", CRED_ITERATIONS_MAX);
	prepared = sasl_prep_password(password, false);
	if (prepared == NULL)
		return td_fail(err, TD_E_INVAL,
			       "password is empty, too long or has forbidden characters");
	*sha1 = (struct store_scram){ .iterations = iterations, .salt_len = CRED_SALT_LEN };
	*sha256 = *sha1;
	td_random(sha1->salt, sha1->salt_len);
	td_random(sha256->salt, sha256->salt_len);
	if (sasl_scram_keys(EVP_sha1(), prepared, sha1) < 0 ||
	    sasl_scram_keys(EVP_sha256(), prepared, sha256) < 0)
		rc = td_fail(err, TD_E_IO, "key derivation failed");
	sasl_free_secret(&prepared);
	return rc;
}

/* base64 of <min> to <max> bytes. */
static bool
decode(struct td_str b64, unsigned char *out, size_t min, size_t max, size_t *len_out)
{
	struct td_buf raw = { 0 };
	bool ok = td_base64_decode(b64, &raw) == 0 && raw.len >= min && raw.len <= max;

	if (ok) {
		memcpy(out, raw.p, raw.len);
		*len_out = raw.len;
	}
	td_wipe(raw.p, raw.len);
	td_buf_fini(&raw);
	return ok;
}

bool
xmpp_scram_parse(struct td_str s, size_t key_len, struct store_scram *key, const char **why)
{
	struct store_scram k = { .key_len = key_len };
	struct td_str field[4];
	size_t len;
	int64_t iterations;

	*why = "want iterations$salt$stored-key$server-key";
	for (size_t n = 0; n < 4; n++) {
		ptrdiff_t i = td_str_chr(s, '$');

		if ((i < 0) != (n == 3))
			return false;
		field[n] = td_str(s.p, i < 0 ? s.len : (size_t)i);
		s = td_str(s.p + i + 1, s.len - (size_t)(i + 1));
	}
	*why = "bad iteration count";
	if (!td_str_to_i64(field[0], 1, CRED_ITERATIONS_MAX, &iterations))
		return false;
	k.iterations = (unsigned)iterations;
	*why = "bad salt";
	if (!decode(field[1], k.salt, 1, sizeof(k.salt), &k.salt_len))
		return false;
	*why = "bad key";
	if (!decode(field[2], k.stored_key, key_len, key_len, &len) ||
	    !decode(field[3], k.server_key, key_len, key_len, &len))
		return false;
	*key = k;
	return true;
}
