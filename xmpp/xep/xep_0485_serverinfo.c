/* xep-0485 - what this server is, published at its pubsub service: only where the operator says so (serverinfo).
 *
 * The worker that owns the service's domain publishes, when it starts and after each change of the configuration.
 * Other servers are not named: they would have to agree. */
#include "xmpp/xep/xep_0485_serverinfo.h"

#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0030_disco.h"

#define NS_SERVERINFO "urn:xmpp:serverinfo:0"
#define NODE "serverinfo"
#define LOOK_MS 5000u

struct info_env {
	struct xmpp_disco_ext ext; /* first */
	struct td_timer timer;
	struct xmpp_env *env;
	uint64_t generation; /* what was published last */
};

/* The domain above a service's. */
static struct td_str
parent_of(struct td_str service)
{
	ptrdiff_t dot = td_str_chr(service, '.');

	return dot < 0 ? TD_STR_NULL : td_str(service.p + dot + 1, service.len - (size_t)dot - 1);
}

static bool
wanted(struct xmpp_env *env, struct td_str domain)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };

	return domain.len > 0 && env->host->domain(env, domain) == XD_LOCAL &&
	       conf_bool(env->conf, &at, "serverinfo");
}

static void
publish(struct ps_host *h, void *arg)
{
	struct td_str domain = td_cstr(arg);
	struct td_buf b = { 0 };

	if (h != NULL && h->loaded) {
		struct ps_change *c = ps_change_new(h, NULL);
		struct ps_own_item item = { .id = TD_STR("current") };
		struct ps_node *n = ps_node_find(h, TD_STR(NODE));
		struct ps_config cfg;

		if (n == NULL) {
			ps_config_default(h, TD_STR(NODE), &cfg);
			cfg.creator = domain;
			n = ps_change_make_node(c, TD_STR(NODE), &cfg);
		}
		td_buf_addz(&b, "<serverinfo xmlns='" NS_SERVERINFO "'><domain name='");
		td_buf_add_xml(&b, domain);
		td_buf_addz(&b, "'><federation/></domain></serverinfo>");
		item.payload = td_buf_str(&b);
		if (ps_affiliation(n, &(struct xmpp_jid){ .bare = domain }) == PSF_OWNER)
			ps_change_publish(c, n, &item, 1, domain);
		ps_change_commit(c);
	}
	td_buf_fini(&b);
	free(arg);
}

static void
each_service(void *arg, struct td_str name, const char *service)
{
	struct info_env *i = arg;
	struct td_str domain = parent_of(name);

	if (strcmp(service, "pubsub") == 0 && xmpp_owner(i->env, name) == i->env->index &&
	    wanted(i->env, domain))
		ps_host_with(ps_host_service(i->env, name), publish, td_strndup(domain));
}

static void
on_timer(struct td_timer *t)
{
	struct info_env *i =
		(struct info_env *)(void *)((char *)t - offsetof(struct info_env, timer));
	uint64_t generation = conf_generation(i->env->conf);

	if (generation != i->generation && i->env->host->services != NULL) {
		i->generation = generation;
		i->env->host->services(i->env, each_service, i);
	}
	td_timer_set(i->env->loop, t, LOOK_MS);
}

struct find {
	struct td_str domain;
	struct td_buf *uri;
};

static void
find_service(void *arg, struct td_str name, const char *service)
{
	struct find *f = arg;

	if (f->uri->len == 0 && strcmp(service, "pubsub") == 0 &&
	    td_str_eq(parent_of(name), f->domain))
		td_buf_addf(f->uri, "xmpp:%.*s?;node=" NODE, TD_STR_ARG(name));
}

bool
xmpp_serverinfo_node(struct xmpp_env *env, struct td_str domain, struct td_buf *uri)
{
	struct find f = { domain, uri };

	if (env->host->services == NULL || !wanted(env, domain))
		return false;
	env->host->services(env, find_service, &f);
	return uri->len > 0;
}

/* The feature; the address is in the form of xep_0157_contact.c. */
static void
disco(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain, struct td_buf *out)
{
	struct td_buf uri = { 0 };

	(void)self;
	if (xmpp_serverinfo_node(env, domain, &uri))
		td_buf_addz(out, "<feature var='" NS_SERVERINFO "'/>");
	td_buf_fini(&uri);
}

static void
info_start(struct xmpp_env *env)
{
	struct info_env *i = td_zalloc(sizeof(*i));

	i->env = env;
	i->ext.info = disco;
	i->timer.fire = on_timer;
	env->module_data[XMPP_SLOT_SERVERINFO] = i;
	xmpp_disco_extend(env, &i->ext);
	td_timer_set(env->loop, &i->timer, 1000);
}

static void
info_stop(struct xmpp_env *env)
{
	struct info_env *i = env->module_data[XMPP_SLOT_SERVERINFO];

	td_timer_clear(env->loop, &i->timer);
	free(i);
	env->module_data[XMPP_SLOT_SERVERINFO] = NULL;
}

const struct xmpp_module xep_0485_serverinfo = {
	.name = "xep-0485-serverinfo",
	.xep = "0485",
	.doc = "Information about this server at its pubsub service, when the option serverinfo is "
	       "on",
	.version = "1.0.0",
	.start = info_start,
	.stop = info_stop,
};
