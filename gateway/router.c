/* router - the junction: every stanza asks here where to go.
 *
 *   no address, our domain itself      the modules, on this worker
 *   a local account                    its owner (this worker or a mailbox post)
 *   a gateway service, a mail domain   the bridge, when one of our users sent it
 *   anything else                      an error: nobody of that name is reachable
 *
 * gw_xmpp_host is how xmpp reaches the process. */
#include <stdlib.h>
#include "gateway/gateway.h"
#include "gateway/proxy65.h"
#include "gateway/scripts.h"
#include "gateway/xmpp_log.h"
#include "xmpp/component.h"

static enum xmpp_domain_kind
host_domain(struct xmpp_env *env, struct td_str domain)
{
	struct gw_domain d;

	return gw_domains_find(gw_worker_of(env)->domains, domain, &d) ? d.kind : XD_UNKNOWN;
}

/* ---- between workers ---- */

struct route_mail {
	struct td_mail mail;
	struct xmpp_stanza *s;
};

static void
on_delivery(struct td_mail *m, struct td_loop *loop)
{
	struct route_mail *r = (struct route_mail *)m;
	struct gw_worker *w = td_loop_data(loop);

	xmpp_deliver(w->env, r->s);
	free(r);
}

static void
on_route(struct td_mail *m, struct td_loop *loop)
{
	struct route_mail *r = (struct route_mail *)m;
	struct gw_worker *w = td_loop_data(loop);

	xmpp_route(w->env, r->s);
	free(r);
}

static void
post(struct gw_worker *w, struct xmpp_stanza *s, void (*run)(struct td_mail *, struct td_loop *))
{
	struct route_mail *r = td_alloc(sizeof(*r));

	r->mail.run = run;
	r->s = s;
	td_loop_post(w->loop, &r->mail);
}

struct gw_worker *
gw_owner(struct gw *gw, struct td_str bare)
{
	return gw->workers[xmpp_owner(gw->workers[0]->env, bare)];
}

void
gw_route(struct gw *gw, struct xmpp_stanza *s)
{
	xmpp_stanza_seal(s);
	if (s->to.full.p == NULL) {
		xmpp_stanza_unref(&s);
		return;
	}
	post(gw_owner(gw, s->to.bare), s, on_route);
}

/* ---- where to ---- */

static void
to_account(struct xmpp_env *env, struct xmpp_stanza *s)
{
	unsigned owner = xmpp_owner(env, s->to.bare);

	if (owner == env->index)
		xmpp_deliver(env, s);
	else
		post(gw_worker_of(env)->gw->workers[owner], s, on_delivery);
}

static void
refuse(struct xmpp_env *env, struct xmpp_stanza *s, enum xmpp_error e)
{
	xmpp_bounce(env, s, e, NULL);
	xmpp_stanza_unref(&s);
}

static void
on_service(struct td_mail *m, struct td_loop *loop)
{
	struct route_mail *r = (struct route_mail *)m;
	struct gw_worker *w = td_loop_data(loop);

	xmpp_deliver_service(w->env, r->s);
	free(r);
}

/* A JID at a service of ours: its module, on the owner; or the mail gateway. */
static void
to_service(struct xmpp_env *env, struct xmpp_stanza *s, const struct gw_domain *d)
{
	/* the whole of a component is where its stream is */
	unsigned owner = xmpp_owner(env, d->component != NULL ? d->component->name : s->to.bare);

	if (strcmp(d->service, "proxy65") == 0)
		owner = gw_proxy65_worker(gw_worker_of(env)->gw);
	if (strcmp(d->service, "gateway") != 0) {
		if (owner == env->index)
			xmpp_deliver_service(env, s);
		else
			post(gw_worker_of(env)->gw->workers[owner], s, on_service);
	} else if (s->to.local.p == NULL) {
		xmpp_deliver_server(env, s);
	} else if (s->kind == XK_MESSAGE && strcmp(d->service, "gateway") == 0 &&
		   gw_bridge_to_mail(env, s)) {
		xmpp_stanza_unref(&s);
	} else if (s->kind == XK_PRESENCE) {
		xmpp_stanza_unref(&s);
	} else {
		refuse(env, s, XE_SERVICE_UNAVAILABLE);
	}
}

static void
host_route(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct gw_domain d = { .kind = XD_UNKNOWN };

	if (s->to.full.p == NULL) {
		xmpp_stanza_unref(&s);
		return;
	}
	(void)gw_domains_find(gw_worker_of(env)->domains, s->to.domain, &d);
	switch (d.kind) {
	case XD_LOCAL:
		if (s->to.local.p == NULL)
			xmpp_deliver_server(env, s);
		else
			to_account(env, s);
		return;
	case XD_SERVICE: to_service(env, s, &d); return;
	case XD_MAIL:
		if (s->kind == XK_MESSAGE && gw_bridge_to_mail(env, s))
			xmpp_stanza_unref(&s);
		else if (s->kind == XK_PRESENCE)
			xmpp_stanza_unref(&s);
		else
			refuse(env, s, XE_SERVICE_UNAVAILABLE);
		return;
	case XD_REMOTE:
	case XD_UNKNOWN: refuse(env, s, XE_REMOTE_SERVER_NOT_FOUND); return;
	}
}

/* ---- the rest of the host ---- */

static void
host_presence(struct xmpp_env *env, const struct xmpp_jid *full, int priority, struct td_str show,
	      struct td_str status, bool available)
{
	gw_directory_set(gw_worker_of(env)->gw->directory, full, priority, show, status, available);
}

static bool
host_service(struct xmpp_env *env, struct td_str domain, char out[16])
{
	struct gw_domain d;

	if (!gw_domains_find(gw_worker_of(env)->domains, domain, &d) || d.kind != XD_SERVICE)
		return false;
	memcpy(out, d.service, sizeof(d.service));
	return true;
}

static void
host_services(struct xmpp_env *env,
	      void (*fn)(void *arg, struct td_str domain, const char *service), void *arg)
{
	struct gw_domain d;

	for (size_t i = 0; gw_domains_service(gw_worker_of(env)->domains, i, &d); i++)
		fn(arg, d.name, d.service);
}

static bool
host_component(struct xmpp_env *env, struct td_str domain, struct xmpp_component_conf *out)
{
	struct gw_domain d;

	if (!gw_domains_find(gw_worker_of(env)->domains, domain, &d) || d.component == NULL ||
	    !td_str_eq(d.component->name, domain))
		return false;
	*out = (struct xmpp_component_conf){ d.component->name, d.component->secret,
					     d.component->subdomains, d.component->scope };
	return true;
}

struct env_call {
	void (*fn)(struct xmpp_env *, void *);
	void *arg;
};

static void
on_env_call(struct gw_worker *w, void *arg)
{
	struct env_call *c = arg;

	c->fn(w->env, c->arg);
	free(c);
}

static void
host_post(struct xmpp_env *env, unsigned index, void (*fn)(struct xmpp_env *, void *), void *arg)
{
	struct env_call *c = td_alloc(sizeof(*c));

	*c = (struct env_call){ fn, arg };
	gw_worker_post(gw_worker_of(env)->gw->workers[index], on_env_call, c);
}

static struct td_str
host_hosted(struct xmpp_env *env, size_t i)
{
	return gw_domains_hosted(gw_worker_of(env)->domains, i);
}

static bool
host_stop(struct xmpp_env *env, bool restart, unsigned delay_s, const char **why)
{
	return gw_shutdown_later(gw_worker_of(env)->gw, restart, delay_s, why);
}

const struct xmpp_host gw_xmpp_host = {
	.domain = host_domain,
	.hosted = host_hosted,
	.route = host_route,
	.to_mail = gw_bridge_to_mail,
	.presence = host_presence,
	.hook = gw_scripts_xmpp_hook,
	.script_iq = gw_scripts_iq,
	.log_stanza = gw_xmpp_log_stanza,
	.service = host_service,
	.services = host_services,
	.component = host_component,
	.bytestream_address = gw_proxy65_address,
	.bytestream_activate = gw_proxy65_activate,
	.stop = host_stop,
	.post = host_post,
};
