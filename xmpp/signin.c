/* signin - the options of each domain about signing in, kept until the configuration changes. */
#include "xmpp/signin.h"

#include <stdlib.h>
#include "conf/conf.h"

/* Streams to more domains than this (by regex) are rare: then it begins anew. */
#define DOMAINS_MAX 1000u

struct signin_domain {
	struct xmpp_signin s;
	char name[];
};

struct signin_env {
	struct conf *conf; /* what <domains> is from; a reference */
	struct td_map domains;
	struct xmpp_sasl2_offer *offers;
};

static struct signin_env *
env_of(struct xmpp_env *env)
{
	if (env->module_data[XMPP_SLOT_SIGNIN] == NULL)
		env->module_data[XMPP_SLOT_SIGNIN] = td_zalloc(sizeof(struct signin_env));
	return env->module_data[XMPP_SLOT_SIGNIN];
}

static void
forget(struct signin_env *se)
{
	struct signin_domain *d;
	size_t i = 0;

	while ((d = td_map_next(&se->domains, &i)) != NULL)
		free(d);
	td_map_fini(&se->domains);
	se->domains = (struct td_map){ 0 };
	conf_unref(&se->conf);
}

static void
look_up(struct conf *c, struct td_str domain, struct xmpp_signin *s)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };

	s->token_life = (unsigned)conf_int(c, &at, "fast_token_life");
}

const struct xmpp_signin *
xmpp_signin_of(struct xmpp_env *env, struct td_str domain)
{
	struct signin_env *se = env_of(env);
	struct signin_domain *d;

	if (se->conf != env->conf || se->domains.len >= DOMAINS_MAX)
		forget(se);
	if (se->conf == NULL)
		se->conf = conf_ref(env->conf);
	d = td_map_find(&se->domains, domain);
	if (d == NULL) {
		d = td_zalloc(sizeof(*d) + domain.len + 1);
		memcpy(d->name, domain.p, domain.len);
		look_up(env->conf, domain, &d->s);
		(void)td_map_set(&se->domains, td_str(d->name, domain.len), d);
	}
	return &d->s;
}

struct xmpp_sasl2_offer **
xmpp_signin_offers(struct xmpp_env *env)
{
	return &env_of(env)->offers;
}

void
xmpp_signin_stop(struct xmpp_env *env)
{
	struct signin_env *se = env->module_data[XMPP_SLOT_SIGNIN];

	if (se == NULL)
		return;
	forget(se);
	free(se);
	env->module_data[XMPP_SLOT_SIGNIN] = NULL;
}
