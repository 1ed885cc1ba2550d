/* env - one worker's XMPP server: made, given a configuration, taken down. */
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/deliver.h"
#include "xmpp/xmpp.h"

unsigned
xmpp_owner(const struct xmpp_env *env, struct td_str bare)
{
	return env->n_workers > 1 ? (unsigned)(td_str_hash(bare) % env->n_workers) : 0;
}

static void
read_limits(const struct conf *c, struct td_str domain, struct xmpp_limits *l)
{
	struct conf_at at = { .scope = conf_next(c, NULL, "xmpp", NULL),
			      .protocol = "xmpp",
			      .domain = domain };
	struct td_str conflict = conf_str(c, &at, "resource_conflict");

	l->sm_resume_timeout_s = (unsigned)conf_int(c, &at, "sm_resume_timeout");
	l->sm_max_queue = (unsigned)conf_int(c, &at, "sm_max_queue");
	l->sm_max_bytes = (uint64_t)conf_int(c, &at, "sm_max_queue_size");
	l->max_resources = (unsigned)conf_int(c, &at, "max_resources");
	l->ack_stored = !td_str_ieq(conf_str(c, &at, "ack_policy"), TD_STR("handled"));
	l->offline = conf_bool(c, &at, "offline_messages");
	l->conflict = td_str_ieq(conflict, TD_STR("reject"))   ? XC_REJECT
		      : td_str_ieq(conflict, TD_STR("rename")) ? XC_RENAME
							       : XC_REPLACE;
}

static bool
same_limits(const struct xmpp_limits *a, const struct xmpp_limits *b)
{
	return a->sm_resume_timeout_s == b->sm_resume_timeout_s &&
	       a->sm_max_queue == b->sm_max_queue && a->sm_max_bytes == b->sm_max_bytes &&
	       a->max_resources == b->max_resources && a->ack_stored == b->ack_stored &&
	       a->offline == b->offline && a->conflict == b->conflict;
}

/* Kept by what they say, not by name: names come from peers where a regex hosts domains. */
struct xmpp_limits *
xmpp_limits_of(struct xmpp_env *env, struct td_str domain)
{
	struct xmpp_limits l = { 0 }, *at;

	read_limits(env->conf, domain, &l);
	for (at = env->limits; at != NULL; at = at->next)
		if (same_limits(at, &l))
			return at;
	at = td_alloc(sizeof(*at));
	*at = l;
	at->next = env->limits;
	env->limits = at;
	return at;
}

static void
free_limits(struct xmpp_limits *l)
{
	struct xmpp_limits *next;

	for (; l != NULL; l = next) {
		next = l->next;
		free(l);
	}
}

/* Which modules join which stage of a stanza's way. */
static void
list_stages(struct xmpp_env *env)
{
	size_t total = 0, n[STAGE_COUNT] = { 0 };

	while (xmpp_modules[total] != NULL)
		total++;
	for (unsigned st = 0; st < STAGE_COUNT; st++)
		env->on[st] = td_zalloc((total + 1) * sizeof(*env->on[st]));
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++) {
		const bool has[STAGE_COUNT] = {
			[STAGE_SENT] = (*m)->sent != NULL,
			[STAGE_ARRIVED] = (*m)->arrived != NULL,
			[STAGE_DELIVERED] = (*m)->delivered != NULL,
			[STAGE_TO_SESSION] = (*m)->to_session != NULL,
		};

		for (unsigned st = 0; st < STAGE_COUNT; st++)
			if (has[st])
				env->on[st][n[st]++] = *m;
	}
}

static void
env_fields(const struct td_logctx *self, struct td_buf *out)
{
	const struct xmpp_env *env =
		(const struct xmpp_env *)((const char *)self - offsetof(struct xmpp_env, log));

	td_buf_addf(out, " worker=%u", env->index);
}

void
xmpp_stats_add(struct xmpp_stats *to, const struct xmpp_stats *from)
{
	const uint64_t *f = (const uint64_t *)from;
	uint64_t *t = (uint64_t *)to;

	for (size_t i = 0; i < sizeof(*to) / sizeof(uint64_t); i++)
		t[i] += f[i];
}

struct xmpp_env *
xmpp_env_new(struct td_loop *loop, unsigned index, unsigned n_workers, const struct xmpp_host *host,
	     void *host_data, struct store *store, struct conf *conf)
{
	struct xmpp_env *env = td_zalloc(sizeof(*env));

	env->loop = loop;
	env->index = index;
	env->n_workers = n_workers;
	env->host = host;
	env->host_data = host_data;
	env->store = store;
	env->xmlpool = xmpp_xmlpool_new();
	env->log = (struct td_logctx){ NULL, "xmpp", env_fields };
	TAILQ_INIT(&env->sessions);
	env->conf = conf_ref(conf);
	xmpp_iqs_register(env);
	list_stages(env);
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->start != NULL)
			(*m)->start(env);
	return env;
}

void
xmpp_env_set_conf(struct xmpp_env *env, struct conf *conf)
{
	struct xmpp_limits *gone = env->limits;
	struct conf *old = env->conf;
	struct xmpp_user *u, *before = NULL;
	size_t i = 0;

	env->conf = conf_ref(conf);
	conf_unref(&old);
	env->limits = NULL;
	/* most accounts are of one domain */
	for (; (u = td_map_next(&env->users, &i)) != NULL; before = u)
		u->lim = before != NULL && td_str_eq(before->domain, u->domain)
				 ? before->lim
				 : xmpp_limits_of(env, u->domain);
	free_limits(gone);
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->reconfigured != NULL)
			(*m)->reconfigured(env);
}

void
xmpp_env_closing(struct xmpp_env *env)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->closing != NULL)
			(*m)->closing(env);
}

void
xmpp_env_free(struct xmpp_env *env)
{
	struct xmpp_session *s;

	if (env == NULL)
		return;
	while ((s = TAILQ_FIRST(&env->sessions)) != NULL)
		xmpp_session_end(s, "shutdown");
	xmpp_requests_free(env); /* who waits for an answer is told that none comes */
	xmpp_users_unload(env);
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->stop != NULL)
			(*m)->stop(env);
	xmpp_users_free(env);
	xmpp_iqs_free(env);
	for (unsigned st = 0; st < STAGE_COUNT; st++)
		free(env->on[st]);
	xmpp_xmlpool_free(env->xmlpool);
	free_limits(env->limits);
	conf_unref(&env->conf);
	free(env);
}
