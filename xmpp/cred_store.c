/* cred_store - store://: the accounts of the embedded store, SCRAM verifiers only. */
#include "xmpp/cred.h"

#include <stdlib.h>

#include "gateway/base/err.h"
#include "store/store.h"

struct cred_store {
	struct xmpp_cred_source base;
	struct store *store; /* outlives every source */
};

struct pending {
	xmpp_cred_cb *cb;
	void *arg;
};

/* What the database holds is only used when it makes sense. */
static void
take_key(const struct store_scram *in, struct store_scram *out)
{
	if (in->key_len > 0 && in->key_len <= sizeof(out->stored_key) &&
	    in->salt_len <= sizeof(out->salt) && in->iterations > 0)
		*out = *in;
}

static void
on_account(void *arg, const struct store_result *r, const struct store_account *a)
{
	struct pending *p = arg;
	struct xmpp_credentials cred = { 0 };
	int rc = r->rc == TD_E_NOTFOUND ? 0 : r->rc;

	if (r->rc == 0) {
		cred.found = true;
		cred.disabled = a->disabled;
		take_key(&a->sha1, &cred.sha1);
		take_key(&a->sha256, &cred.sha256);
	}
	p->cb(p->arg, rc, &cred);
	xmpp_credentials_fini(&cred);
	free(p);
}

static void
store_fetch(struct xmpp_cred_source *base, struct td_str bare_jid, struct td_loop *loop,
	    xmpp_cred_cb *cb, void *arg)
{
	struct cred_store *s = (struct cred_store *)base;
	struct pending *p = td_alloc(sizeof(*p));

	*p = (struct pending){ .cb = cb, .arg = arg };
	store_account_get(s->store, bare_jid, loop, on_account, p);
}

static void
store_free(struct xmpp_cred_source *base)
{
	free(base);
}

static int
store_source_open(const char *path, struct store *st, struct xmpp_cred_source **out,
		  struct td_err *err)
{
	struct cred_store *s;

	if (*path != '\0')
		return td_fail(err, TD_E_INVAL, "store:// takes no path, got %s", path);
	if (st == NULL)
		return td_fail(err, TD_E_INVAL, "store:// needs a store");
	s = td_zalloc(sizeof(*s));
	s->base.ops = &xmpp_cred_store_ops;
	s->base.refs = 1;
	s->store = st;
	*out = &s->base;
	return 0;
}

const struct xmpp_cred_ops xmpp_cred_store_ops = {
	.scheme = "store",
	.open = store_source_open,
	.fetch = store_fetch,
	.free = store_free,
};
