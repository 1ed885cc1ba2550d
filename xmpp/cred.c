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
