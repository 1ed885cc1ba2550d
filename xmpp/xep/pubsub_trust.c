/* pubsub_trust - the access models presence and roster at a service: what the owners' rosters say (XEP-0060 4.5).
 *
 * A roster is with its account, maybe on another worker: before a request about such a node runs, and before an event goes
 * out, a question travels to the owners that are accounts of ours, one after the other, and back.  What it found is kept with
 * the node until it is asked again. */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"

#define TRUSTED_MAX 4096u

struct question {
	struct td_arena *
		arena; /* this struct lives in it; it belongs to the worker that has the question */
	unsigned home; /* who asked */
	struct td_str service, node, groups;
	bool roster; /* the access model */
	struct td_str *owners, *jids;
	bool *yes;
	size_t n_owners, at, n_jids;
	void (*fn)(struct ps_host *h, struct ps_node *n, void *arg);
	void *arg;
};

bool
ps_needs_trust(const struct ps_node *n)
{
	return !n->host->pep && (n->cfg.access == PSA_PRESENCE || n->cfg.access == PSA_ROSTER);
}

bool
ps_is_trusted(const struct ps_node *n, const struct xmpp_jid *who)
{
	return td_map_find(&n->trusted, who->bare) != NULL;
}

void
ps_trust_clear(struct ps_node *n)
{
	size_t i = 0;
	void *v;

	while ((v = td_map_next(&n->trusted, &i)) != NULL)
		free(v);
	td_map_fini(&n->trusted);
	n->trusted = (struct td_map){ 0 };
}

/* ---- back home ---- */

static void
take_answer(struct ps_node *n, const struct question *q)
{
	if (n->trusted.len + q->n_jids > TRUSTED_MAX)
		ps_trust_clear(n);
	for (size_t i = 0; i < q->n_jids; i++) {
		char *copy;

		free(td_map_del(&n->trusted, q->jids[i]));
		if (!q->yes[i])
			continue;
		copy = td_strndup(q->jids[i]);
		(void)td_map_set(&n->trusted, td_str(copy, q->jids[i].len), copy);
	}
}

static void
answered(struct xmpp_env *env, void *arg)
{
	struct question *q = arg;
	struct ps_host *h = env->ending ? NULL : ps_host_service(env, q->service);
	struct ps_node *n = h != NULL && h->loaded ? ps_node_find(h, q->node) : NULL;

	if (n != NULL && ps_needs_trust(n))
		take_answer(n, q);
	q->fn(h, n, q->arg);
	td_arena_free(q->arena);
}

/* ---- at an owner ---- */

static void ask(struct xmpp_env *env, struct question *q);

static void
look(struct xmpp_user *u, void *arg)
{
	struct question *q = arg;

	for (size_t i = 0; u->exists && i < q->n_jids; i++) {
		struct xmpp_jid who = xmpp_jid_view(q->jids[i]);

		if (xmpp_presence_may_see(u, &who) &&
		    (!q->roster || ps_in_groups(u, &who, q->groups)))
			q->yes[i] = true;
	}
	q->at++;
	ask(u->env, q);
}

static void
ask_here(struct xmpp_env *env, void *arg)
{
	struct question *q = arg;

	xmpp_user_with(env, q->owners[q->at], look, q);
}

static void
go(struct xmpp_env *env, unsigned index, void (*fn)(struct xmpp_env *, void *), struct question *q)
{
	if (index == env->index)
		fn(env, q);
	else
		env->host->post(env, index, fn, q);
}

static void
ask(struct xmpp_env *env, struct question *q)
{
	if (q->at == q->n_owners)
		go(env, q->home, answered, q);
	else
		go(env, xmpp_owner(env, q->owners[q->at]), ask_here, q);
}

void
ps_trust_ask(struct ps_node *n, const struct td_str *bares, size_t count,
	     void (*fn)(struct ps_host *h, struct ps_node *n, void *arg), void *arg)
{
	struct td_arena *a = td_arena_new(1024);
	struct question *q = td_arena_zalloc(a, sizeof(*q));
	struct xmpp_env *env = n->host->env;
	const struct ps_affil *af;
	size_t i = 0;

	q->arena = a;
	q->home = env->index;
	q->service = td_arena_str(a, n->host->jid);
	q->node = td_arena_str(a, n->name);
	q->groups = td_arena_str(a, n->cfg.groups);
	q->roster = n->cfg.access == PSA_ROSTER;
	q->fn = fn;
	q->arg = arg;
	q->jids = td_arena_alloc(a, (count + 1) * sizeof(*q->jids));
	q->yes = td_arena_zalloc(a, (count + 1) * sizeof(*q->yes));
	for (; q->n_jids < count; q->n_jids++)
		q->jids[q->n_jids] = td_arena_str(a, bares[q->n_jids]);
	q->owners = td_arena_alloc(a, (n->affils.len + 1) * sizeof(*q->owners));
	while ((af = td_map_next(&n->affils, &i)) != NULL) {
		struct xmpp_jid j = xmpp_jid_view(af->jid);

		if (af->affiliation == PSF_OWNER && j.local.p != NULL &&
		    env->host->domain(env, j.domain) == XD_LOCAL)
			q->owners[q->n_owners++] = td_arena_str(a, af->jid);
	}
	ask(env, q);
}
