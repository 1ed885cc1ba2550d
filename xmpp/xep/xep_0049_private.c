/* xep-0049 - private XML storage: one document per element name and namespace, for the account alone.
 *
 * storage:bookmarks is no document of its own but a view of the bookmarks (xep_0402_bookmarks.c). */
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"

#define KEY_MAX 512u

struct private_call {
	struct xmpp_call call;
	struct xmpp_stanza *iq;
};

static void
answer(struct private_call *c, struct td_str xml)
{
	struct xmpp_iq iq = { .env = c->call.env, .s = c->iq, .user = c->call.user };

	xmpp_iq_result(&iq, xml);
}

static void
refuse(struct private_call *c, int rc)
{
	struct xmpp_iq iq = { .env = c->call.env, .s = c->iq, .user = c->call.user };

	xmpp_iq_error(&iq, rc == TD_E_FULL ? XE_RESOURCE_CONSTRAINT : XE_INTERNAL_SERVER_ERROR,
		      NULL);
}

static struct private_call *
call_new(struct xmpp_iq *iq)
{
	struct private_call *c = td_zalloc(sizeof(*c));

	c->iq = xmpp_stanza_ref(iq->s);
	xmpp_call_begin(&c->call, iq->user);
	return c;
}

static void
call_end(struct private_call *c)
{
	xmpp_stanza_unref(&c->iq);
	xmpp_call_end(&c->call);
	free(c);
}

/* The one element asked for; NULL when answered with an error. */
static struct xmpp_node *
document(struct xmpp_iq *iq)
{
	struct xmpp_node *n = xmpp_node_child(iq->payload, NULL, NULL);
	size_t len;

	if (n == NULL || xmpp_node_next_elem(n) != NULL) {
		xmpp_iq_error(iq, n == NULL ? XE_BAD_REQUEST : XE_NOT_ACCEPTABLE, NULL);
		return NULL;
	}
	len = n->ns != NULL ? strlen(n->ns) : 0;
	/* section 4: these namespaces are not for private data */
	if (len == 0 || len + strlen(n->name) > KEY_MAX ||
	    strncmp(n->ns, "jabber:", sizeof("jabber:") - 1) == 0 || strcmp(n->ns, NS_VCARD) == 0) {
		xmpp_iq_error(iq, XE_NOT_ACCEPTABLE, NULL);
		return NULL;
	}
	return n;
}

static void
make_key(struct td_buf *b, const struct xmpp_node *n)
{
	td_buf_addf(b, "private:%s %s", n->ns, n->name);
}

static bool
is_bookmarks(const struct xmpp_node *n)
{
	return xmpp_node_is(n, NS_BOOKMARKS_OLD, "storage");
}

static void
bookmarks(struct ps_host *h, void *arg)
{
	struct xmpp_stanza *s = arg;

	if (h != NULL && !h->loaded)
		ps_refuse(h, s, XE_INTERNAL_SERVER_ERROR, NULL);
	else if (h != NULL && s->type == XT_GET)
		ps_bookmarks_get(h, s);
	else if (h != NULL)
		ps_bookmarks_set(h, s, xmpp_node_child(xmpp_stanza_payload(s), NULL, NULL));
	xmpp_stanza_unref(&s);
}

/* ---- get ---- */

static void
on_got(void *arg, const struct store_result *r, struct td_str value)
{
	struct private_call *c = arg;
	const struct xmpp_node *n = xmpp_node_child(xmpp_stanza_payload(c->iq), NULL, NULL);
	struct td_buf b = { 0 };

	if (c->call.env == NULL) {
		;
	} else if (r->rc < 0 && r->rc != TD_E_NOTFOUND) {
		refuse(c, r->rc);
	} else {
		td_buf_addz(&b, "<query xmlns='" NS_PRIVATE "'>");
		if (r->rc == 0)
			td_buf_adds(&b, value);
		else
			xmpp_node_write(&b, n, NS_PRIVATE); /* as it was asked for: empty */
		td_buf_addz(&b, "</query>");
		answer(c, td_buf_str(&b));
	}
	td_buf_fini(&b);
	call_end(c);
}

static int
private_get(struct xmpp_iq *iq)
{
	struct xmpp_node *n = document(iq);
	struct td_buf key = { 0 };

	if (n == NULL)
		return XMPP_DONE;
	if (is_bookmarks(n)) {
		ps_host_with(ps_host_pep(iq->user), bookmarks, xmpp_stanza_ref(iq->s));
		return XMPP_LATER;
	}
	make_key(&key, n);
	store_setting_get(iq->env->store, iq->user->bare, td_buf_str(&key), iq->env->loop, on_got,
			  call_new(iq));
	td_buf_fini(&key);
	return XMPP_LATER;
}

/* ---- set ---- */

static void
on_set(void *arg, const struct store_result *r)
{
	struct private_call *c = arg;

	if (c->call.env != NULL && r->rc < 0)
		refuse(c, r->rc);
	else if (c->call.env != NULL)
		answer(c, TD_STR_NULL);
	call_end(c);
}

static int
private_set(struct xmpp_iq *iq)
{
	struct conf_at at = { .protocol = "xmpp", .domain = iq->user->domain };
	struct xmpp_node *n = document(iq);
	struct td_buf key = { 0 }, xml = { 0 };

	if (n == NULL)
		return XMPP_DONE;
	if (is_bookmarks(n)) {
		ps_host_with(ps_host_pep(iq->user), bookmarks, xmpp_stanza_ref(iq->s));
		return XMPP_LATER;
	}
	make_key(&key, n);
	xmpp_node_write(&xml, n, NS_PRIVATE);
	store_private_set(iq->env->store, iq->user->bare, td_buf_str(&key), td_buf_str(&xml),
			  (uint64_t)conf_int(iq->env->conf, &at, "private_quota"),
			  (struct store_to){ iq->env->loop, on_set, call_new(iq) });
	td_buf_fini(&key);
	td_buf_fini(&xml);
	return XMPP_LATER;
}

static const char *const private_features[] = { NS_PRIVATE, NULL };
static const struct xmpp_iq_entry private_iqs[] = {
	{ NS_PRIVATE, "query", IQ_GET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, private_get },
	{ NS_PRIVATE, "query", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, private_set },
	{ 0 },
};

const struct xmpp_module xep_0049_private = {
	.name = "xep-0049-private",
	.xep = "0049",
	.doc = "Private XML storage with a quota",
	.version = "1.2",
	.features = private_features,
	.account_features = private_features,
	.iqs = private_iqs,
};
