/* signin - the options of each domain about signing in, kept until the configuration changes. */
#include "xmpp/signin.h"

#include <stdlib.h>
#include "conf/conf.h"

/* Streams to more domains than this (by regex) are rare: then it begins anew. */
#define DOMAINS_MAX 1000u
#define CHANGED 64u

struct signin_domain {
	struct xmpp_signin s;
	char name[];
};

struct signin_env {
	struct conf *conf; /* what <domains> is from; a reference */
	struct td_map domains;
	struct xmpp_sasl2_offer *offers;
	/* the last changes of accounts; older ones than a negotiation takes tell nothing */
	struct {
		uint64_t account; /* hash of the bare JID */
		uint64_t at;
	} changed[CHANGED];
	unsigned n_changed;
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

/* Addresses of this host share a proxy, or a test: they count only where somebody asked for it. */
static void
look_up_rate(struct conf *c, const struct conf_at *at, const char *option, struct xmpp_rate *r)
{
	if (!conf_throttle(c, at, option, &r->count, &r->seconds))
		r->count = 0;
	r->local = conf_is_set(c, at, option);
}

static void
look_up(struct conf *c, struct td_str domain, struct xmpp_signin *s)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };

	struct td_str invites = conf_str(c, &at, "invites");

	s->token_life = (unsigned)conf_int(c, &at, "fast_token_life");
	s->anonymous = conf_bool(c, &at, "anonymous");
	s->registration = conf_bool(c, &at, "registration");
	s->registration_captcha = conf_bool(c, &at, "registration_captcha");
	s->captcha_strangers = conf_bool(c, &at, "captcha_strangers");
	s->self_service = conf_bool(c, &at, "account_self_service");
	s->invites = td_str_ieq(invites, TD_STR("users"))    ? XI_USERS
		     : td_str_ieq(invites, TD_STR("admins")) ? XI_ADMINS
							     : XI_NONE;
	s->invite_life = (unsigned)conf_int(c, &at, "invite_life");
	s->password_min = (unsigned)conf_int(c, &at, "password_min_length");
	s->reserve = (uint64_t)conf_int(c, &at, "registration_reserve");
	look_up_rate(c, &at, "registration_throttle", &s->registrations);
	look_up_rate(c, &at, "login_throttle", &s->logins);
	look_up_rate(c, &at, "account_login_throttle", &s->account_logins);
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

void
xmpp_signin_changed(struct xmpp_env *env, struct td_str bare)
{
	struct signin_env *se = env_of(env);
	unsigned i = se->n_changed++ % CHANGED;

	se->changed[i].account = td_str_hash(bare);
	se->changed[i].at = td_mono_ms();
}

bool
xmpp_signin_is_stale(struct xmpp_env *env, struct td_str bare, uint64_t at)
{
	struct signin_env *se = env_of(env);
	unsigned n = se->n_changed < CHANGED ? se->n_changed : CHANGED;
	uint64_t hash = n > 0 ? td_str_hash(bare) : 0;

	for (unsigned i = 0; i < n; i++)
		if (se->changed[i].account == hash && se->changed[i].at >= at)
			return true;
	return false;
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
