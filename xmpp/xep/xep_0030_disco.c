/* xep-0030 - service discovery: what our domains and accounts are and can do.
 *
 * Features come from the modules' descriptors.  About an account only the account itself and
 * those who may see its presence learn anything; everyone else gets the error that an account
 * which does not exist gives (RFC 6121 8.5.1), for disco#items too: an empty list for strangers
 * (XEP-0030 section 8, rule 2) next to that error would tell who is here. */
#include "xmpp/xep/xep_0030_disco.h"

#include <stdlib.h>
#include "xmpp/component.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/script.h"

struct disco {
	STAILQ_HEAD(, xmpp_disco_ext) exts;
	struct td_buf host_features, account_features; /* written at the first request */
};

static const char *const disco_features[] = { NS_DISCO_INFO, NS_DISCO_ITEMS, NULL };

/* ---- features ---- */

static const char *const *
list_of(const struct xmpp_module *m, bool account)
{
	return account ? m->account_features : m->features;
}

/* Is list[at] of module <m> the first of its name? */
static bool
is_first(const struct xmpp_module *const *m, const char *const *at, bool account)
{
	for (const struct xmpp_module *const *o = xmpp_modules; o <= m; o++)
		for (const char *const *f = list_of(*o, account);
		     f != NULL && *f != NULL && f != at; f++)
			if (strcmp(*f, *at) == 0)
				return false;
	return true;
}

/* <domain>.p: leave out what a component took over there. */
static void
write_features(struct xmpp_env *env, struct td_str domain, bool account, struct td_buf *b)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++) {
		for (const char *const *f = list_of(*m, account); f != NULL && *f != NULL; f++) {
			if (!is_first(m, f, account) ||
			    (domain.p != NULL && xmpp_delegation_hides(env, domain, *f)))
				continue;
			td_buf_addz(b, "<feature var='");
			td_buf_add_xml(b, td_cstr(*f));
			td_buf_addz(b, "'/>");
		}
	}
}

static void
features(struct xmpp_env *env, struct td_str domain, bool account, struct td_buf *out)
{
	struct disco *d = env->module_data[XMPP_SLOT_DISCO];
	struct td_buf *b = account ? &d->account_features : &d->host_features;

	if (env->delegates) {
		write_features(env, domain, account, out);
		xmpp_delegation_info(env, domain, account, out);
		return;
	}
	if (b->len == 0)
		write_features(env, TD_STR_NULL, account, b);
	td_buf_adds(out, td_buf_str(b));
}

/* ---- answering ---- */

/* May the asker know of this target?  False: it gets what nobody there would give. */
static bool
may_ask(const struct xmpp_iq *iq)
{
	if (iq->user != NULL)
		return iq->user->exists &&
		       (iq->user->anonymous || xmpp_presence_may_see(iq->user, &iq->s->from));
	return iq->env->host->domain(iq->env, iq->s->to.domain) == XD_LOCAL;
}

/* Nodes belong to other protocols, which take their requests before us. */
static bool
has_node(const struct xmpp_iq *iq)
{
	return xmpp_node_attr(iq->payload, "node").len > 0;
}

void
xmpp_disco_host_info(struct xmpp_env *env, struct td_str domain, struct td_buf *out)
{
	struct disco *d = env->module_data[XMPP_SLOT_DISCO];
	struct xmpp_disco_ext *ext;

	td_buf_addz(out, "<identity category='server' type='im' name='Tandem'/>");
	xmpp_script_identities(env, IQ_TO_HOST, out);
	features(env, domain, false, out);
	STAILQ_FOREACH(ext, &d->exts, link)
	if (ext->info != NULL)
		ext->info(ext, env, domain, out);
	xmpp_script_features(env, IQ_TO_HOST, out);
}

static int
disco_info(struct xmpp_iq *iq)
{
	struct disco *d = iq->env->module_data[XMPP_SLOT_DISCO];
	struct td_buf b = { 0 };
	struct xmpp_disco_ext *ext;

	if (!may_ask(iq))
		return XMPP_PASS;
	if (has_node(iq)) {
		if (iq->env->delegates && iq->user != NULL && xmpp_delegate_node(iq))
			return XMPP_LATER;
		xmpp_iq_error(iq, XE_ITEM_NOT_FOUND, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "'>");
	if (iq->user != NULL) {
		td_buf_addf(&b, "<identity category='account' type='%s'/>",
			    iq->user->anonymous ? "anonymous" : "registered");
		xmpp_script_identities(iq->env, IQ_TO_ACCOUNT, &b);
		features(iq->env, iq->user->domain, true, &b);
		STAILQ_FOREACH(ext, &d->exts, link)
		if (ext->account != NULL)
			ext->account(ext, iq->user, &b);
		xmpp_script_features(iq->env, IQ_TO_ACCOUNT, &b);
	} else {
		xmpp_disco_host_info(iq->env, iq->s->to.domain, &b);
	}
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

void
xmpp_disco_write_item(struct td_buf *out, struct td_str jid, struct td_str name)
{
	td_buf_addz(out, "<item jid='");
	td_buf_add_xml(out, jid);
	if (name.p != NULL) {
		td_buf_addz(out, "' name='");
		td_buf_add_xml(out, name);
	}
	td_buf_addz(out, "'/>");
}

struct service_list {
	struct td_buf *out;
	struct td_str domain;
};

/* A service belongs to the domain it is below. */
static void
add_service(void *arg, struct td_str name, const char *service)
{
	const struct service_list *l = arg;
	size_t n = l->domain.len;

	(void)service;
	if (name.len > n + 1 && name.p[name.len - n - 1] == '.' &&
	    td_str_eq(td_str(name.p + name.len - n, n), l->domain))
		xmpp_disco_write_item(l->out, name, TD_STR_NULL);
}

static int
disco_items(struct xmpp_iq *iq)
{
	struct disco *d = iq->env->module_data[XMPP_SLOT_DISCO];
	struct td_buf b = { 0 };
	struct xmpp_disco_ext *ext;
	struct xmpp_session *sess;

	if (!may_ask(iq))
		return XMPP_PASS;
	if (iq->env->delegates && iq->user != NULL && xmpp_delegate_items(iq))
		return XMPP_LATER;
	if (has_node(iq)) {
		xmpp_iq_error(iq, XE_ITEM_NOT_FOUND, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_ITEMS "'>");
	if (iq->user != NULL) {
		TAILQ_FOREACH(sess, &iq->user->sessions, link)
		if (sess->available && !sess->dead)
			xmpp_disco_write_item(&b, sess->jid.full, TD_STR_NULL);
		STAILQ_FOREACH(ext, &d->exts, link)
		if (ext->account_items != NULL)
			ext->account_items(ext, iq->user, &iq->s->from, &b);
	} else {
		struct service_list list = { &b, iq->s->to.domain };

		if (iq->env->host->services != NULL)
			iq->env->host->services(iq->env, add_service, &list);
		STAILQ_FOREACH(ext, &d->exts, link)
		if (ext->items != NULL)
			ext->items(ext, iq->env, iq->s->to.domain, &b);
	}
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

void
xmpp_disco_extend(struct xmpp_env *env, struct xmpp_disco_ext *ext)
{
	struct disco *d = env->module_data[XMPP_SLOT_DISCO];

	STAILQ_INSERT_TAIL(&d->exts, ext, link);
}

static void
disco_start(struct xmpp_env *env)
{
	struct disco *d = td_zalloc(sizeof(*d));

	STAILQ_INIT(&d->exts);
	env->module_data[XMPP_SLOT_DISCO] = d;
}

static void
disco_stop(struct xmpp_env *env)
{
	struct disco *d = env->module_data[XMPP_SLOT_DISCO];

	td_buf_fini(&d->host_features);
	td_buf_fini(&d->account_features);
	free(d);
	env->module_data[XMPP_SLOT_DISCO] = NULL;
}

static const struct xmpp_iq_entry disco_iqs[] = {
	{ NS_DISCO_INFO, "query", IQ_GET | IQ_TO_HOST | IQ_TO_ACCOUNT, disco_info },
	{ NS_DISCO_ITEMS, "query", IQ_GET | IQ_TO_HOST | IQ_TO_ACCOUNT, disco_items },
	{ 0 },
};

const struct xmpp_module xep_0030_disco = {
	.name = "xep-0030-disco",
	.xep = "0030",
	.doc = "Identities, features and services of our domains; accounts for those who may see "
	       "them",
	.version = "2.5.0",
	.features = disco_features,
	.account_features = disco_features,
	.iqs = disco_iqs,
	.start = disco_start,
	.stop = disco_stop,
};
