/* request - iq requests the server makes itself (caps, push, vCards of occupants) and their answers.
 *
 * The id says which worker asked, because an answer to a domain's own JID arrives on the worker of
 * whoever answered: "<worker>.<number>.<random>". */
#include <stdio.h>
#include <stdlib.h>
#include "xmpp/xmpp.h"

struct request {
	struct td_timer timer;
	struct xmpp_env *env;
	xmpp_answer_fn *fn;
	void *arg;
	char *from, *to; /* an answer must come from <to>; malloc'd */
	char id[48];
};

static void
request_end(struct request *r, const struct xmpp_stanza *answer)
{
	struct xmpp_env *env = r->env;

	td_timer_clear(env->loop, &r->timer);
	(void)td_map_del(&env->requests, td_cstr(r->id));
	r->fn(env, answer, r->arg);
	free(r->from);
	free(r->to);
	free(r);
}

static void
on_timeout(struct td_timer *t)
{
	request_end((struct request *)(void *)((char *)t - offsetof(struct request, timer)), NULL);
}

void
xmpp_request(struct xmpp_env *env, struct xmpp_stanza *s, unsigned timeout_ms, xmpp_answer_fn *fn,
	     void *arg)
{
	struct request *r = td_zalloc(sizeof(*r));
	char random[17];

	td_random_id(random, 16);
	(void)snprintf(r->id, sizeof(r->id), "%u.%llu.%s", env->index,
		       (unsigned long long)++env->request_no, random);
	r->env = env;
	r->fn = fn;
	r->arg = arg;
	r->from = td_strndup(s->from.full);
	r->to = td_strndup(s->to.full);
	r->timer.fire = on_timeout;
	(void)td_map_set(&env->requests, td_cstr(r->id), r);
	td_timer_set(env->loop, &r->timer, timeout_ms);
	xmpp_stanza_set_id(s, td_cstr(r->id));
	xmpp_route(env, s);
}

static void
answer_there(struct xmpp_env *env, void *arg)
{
	struct xmpp_stanza *s = arg;

	if (!xmpp_request_answer(env, s))
		xmpp_stanza_unref(&s);
}

/* The worker the id names; our own index when it is no id of ours. */
static unsigned
asked_by(const struct xmpp_env *env, struct td_str id)
{
	ptrdiff_t dot = td_str_chr(id, '.');
	int64_t index;

	if (dot <= 0 || !td_str_to_dec(td_str(id.p, (size_t)dot), 0, env->n_workers - 1, &index))
		return env->index;
	return (unsigned)index;
}

bool
xmpp_request_answer(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct request *r;
	unsigned index;

	if (s->kind != XK_IQ || (s->type != XT_RESULT && s->type != XT_ERROR) || s->id.p == NULL)
		return false;
	index = asked_by(env, s->id);
	if (index != env->index) {
		env->host->post(env, index, answer_there, s);
		return true;
	}
	r = td_map_find(&env->requests, s->id);
	/* the id is no secret to who was asked, and only they may answer */
	if (r == NULL || !td_str_eqc(s->from.full, r->to) || !td_str_eqc(s->to.full, r->from))
		return false;
	s = xmpp_stanza_whole(s);
	request_end(r, s);
	xmpp_stanza_unref(&s);
	return true;
}

void
xmpp_requests_free(struct xmpp_env *env)
{
	struct request *r;
	size_t i = 0;

	env->ending = true;
	while ((r = td_map_next(&env->requests, &i)) != NULL) {
		td_timer_clear(env->loop, &r->timer);
		r->fn(env, NULL, r->arg);
		free(r->from);
		free(r->to);
		free(r);
	}
	td_map_fini(&env->requests);
}
