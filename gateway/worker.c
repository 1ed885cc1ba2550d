/* worker - the threads that do the work: made, started, given a new configuration, joined.
 *
 * main makes loops and XMPP instances before any thread runs, so that a failure is a failed start
 * and scripts can be loaded into them in peace. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/conn.h"
#include "gateway/dial.h"
#include "gateway/gateway.h"
#include "gateway/proxy65.h"
#include "gateway/resolver.h"
#include "gateway/http/http.h"

#define READ_BUFFER (64u << 10)
#define SETTLE_MS 5000u

unsigned
gw_workers_wanted(const struct conf *c)
{
	long n = (long)conf_int(c, NULL, "workers");

	if (n == 0)
		n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > GW_MAX_WORKERS ? GW_MAX_WORKERS : (unsigned)n;
}

int
gw_workers_new(struct gw *gw, struct td_err *err)
{
	struct gw_domains *d = gw_domains_build(gw->conf);

	for (unsigned i = 0; i < gw->n_workers; i++) {
		struct gw_worker *w = td_zalloc(sizeof(*w));

		w->gw = gw;
		w->index = i;
		w->loop = td_loop_new(i);
		td_loop_set_data(w->loop, w);
		w->readbuf_len = READ_BUFFER;
		w->readbuf = td_alloc(w->readbuf_len);
		w->domains = gw_domains_ref(d);
		gw_conns_init(w);
		gw->workers[i] = w;
		w->env = xmpp_env_new(w->loop, i, gw->n_workers, &gw_xmpp_host, w, gw->store,
				      gw->conf);
		if (w->env == NULL) {
			gw_domains_unref(&d);
			return td_fail(err, TD_E_IO, "worker %u could not be made", i);
		}
	}
	gw_domains_unref(&d);
	return 0;
}

static void *
run(void *arg)
{
	struct gw_worker *w = arg;
	char name[16];

	(void)snprintf(name, sizeof(name), "worker-%u", w->index);
	(void)pthread_setname_np(pthread_self(), name);
	td_loop_run(w->loop);
	return NULL;
}

int
gw_workers_start(struct gw *gw, struct td_err *err)
{
	for (unsigned i = 0; i < gw->n_workers; i++) {
		struct gw_worker *w = gw->workers[i];
		pthread_t *t = td_alloc(sizeof(*t));
		int rc;

		gw_proxy65_apply(w);
		rc = pthread_create(t, NULL, run, w);

		if (rc != 0) {
			free(t);
			return td_fail(err, TD_E_IO, "cannot start a thread: %s", strerror(rc));
		}
		w->thread = t;
	}
	return 0;
}

/* ---- all of them at once ---- */

/* Shared by the errands of one call; main's but for the posts. */
struct roll_call {
	unsigned left;
	bool given_up;
	struct gw *gw;
	void (*fn)(struct gw_worker *, void *);
	void *arg;
};

struct answer {
	struct td_mail mail;
	struct roll_call *rc;
};

static void
on_answer(struct td_mail *m, struct td_loop *loop)
{
	struct roll_call *rc = ((struct answer *)m)->rc;

	(void)loop;
	free(m);
	if (--rc->left == 0 && rc->given_up)
		free(rc);
}

static void
answer(struct gw_worker *w, void *arg)
{
	struct roll_call *rc = arg;
	struct answer *a = td_alloc(sizeof(*a));

	if (rc->fn != NULL)
		rc->fn(w, rc->arg);
	a->mail.run = on_answer;
	a->rc = rc;
	td_loop_post(w->gw->main_loop, &a->mail);
}

bool
gw_workers_each(struct gw *gw, void (*fn)(struct gw_worker *, void *), void *arg, unsigned ms)
{
	struct roll_call *rc = td_zalloc(sizeof(*rc));
	uint64_t end = td_mono_ms() + ms;

	rc->fn = fn;
	rc->arg = arg;
	for (unsigned i = 0; i < gw->n_workers; i++) {
		if (gw->workers[i] == NULL || gw->workers[i]->thread == NULL)
			continue;
		rc->left++;
		gw_worker_post(gw->workers[i], answer, rc);
	}
	while (rc->left > 0 && td_mono_ms() < end)
		td_loop_turn(gw->main_loop, true);
	if (rc->left > 0) {
		rc->given_up = true; /* the last answer frees it */
		return false;
	}
	free(rc);
	return true;
}

/* ---- a new configuration ---- */

struct orders {
	struct conf *conf;
	struct gw_domains *domains;
};

static void
on_orders(struct gw_worker *w, void *arg)
{
	struct orders *o = arg;
	struct xmpp_session *s, *next;
	struct gw_domain d;

	gw_domains_unref(&w->domains);
	w->domains = o->domains;
	xmpp_env_set_conf(w->env, o->conf);
	gw_proxy65_apply(w);
	conf_unref(&o->conf);
	free(o);
	/* momentum.md 1.8: domains that lost "server" */
	for (s = TAILQ_FIRST(&w->env->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, env_link);
		if (s->stream != NULL &&
		    (!gw_domains_find(w->domains, s->jid.domain, &d) || d.kind != XD_LOCAL))
			xmpp_c2s_end(s->stream, "host-gone", NULL);
	}
}

void
gw_workers_switch(struct gw *gw, struct conf *c, struct gw_domains *d)
{
	for (unsigned i = 0; i < gw->n_workers; i++) {
		struct orders *o = td_alloc(sizeof(*o));

		o->conf = conf_ref(c);
		o->domains = gw_domains_ref(d);
		gw_worker_post(gw->workers[i], on_orders, o);
	}
}

/* ---- the end ---- */

/* Streams are gone; what their sessions still hold goes back to where it is kept. */
static void
end_sessions(struct gw_worker *w, void *arg)
{
	struct xmpp_session *s;

	(void)arg;
	while ((s = TAILQ_FIRST(&w->env->sessions)) != NULL)
		xmpp_session_end(s, "system-shutdown");
}

/* Nothing is on its way between workers, and the store owes no answer. */
static bool
settle(struct gw *gw)
{
	uint64_t end = td_mono_ms() + SETTLE_MS;
	unsigned quiet = 0;

	while (quiet < 2) {
		struct store_stats st = { 0 };

		if (td_mono_ms() > end || !gw_workers_each(gw, NULL, NULL, SETTLE_MS))
			return false;
		store_get_stats(gw->store, &st);
		quiet = st.queue == 0 ? quiet + 1 : 0;
		if (quiet == 0)
			td_loop_turn(gw->main_loop, true);
	}
	return true;
}

bool
gw_workers_stop(struct gw *gw)
{
	bool calm;

	calm = gw_workers_each(gw, end_sessions, NULL, SETTLE_MS) && settle(gw);
	if (!calm)
		td_log_warn(&gw->log, "stop-unsettled", "hint=some-work-was-cut-off");
	for (unsigned i = 0; i < gw->n_workers; i++)
		if (gw->workers[i] != NULL && gw->workers[i]->thread != NULL)
			td_loop_stop(gw->workers[i]->loop);
	for (unsigned i = 0; calm && i < gw->n_workers; i++) {
		struct gw_worker *w = gw->workers[i];

		if (w == NULL || w->thread == NULL)
			continue;
		pthread_join(*(pthread_t *)w->thread, NULL);
		free(w->thread);
		w->thread = NULL;
	}
	return calm;
}

/* What the workers asked the store comes back to their loops: those stay until nothing is on its way.  In a start that
 * failed nobody has waited for it. */
static void
await_store(struct gw *gw)
{
	struct store_stats stats = { 0 };
	uint64_t end = td_mono_ms() + SETTLE_MS;

	do {
		for (unsigned i = 0; i < gw->n_workers; i++)
			if (gw->workers[i] != NULL) /* blocks for a tick at most */
				td_loop_turn(gw->workers[i]->loop, stats.queue > 0);
		if (gw->store != NULL)
			store_get_stats(gw->store, &stats);
	} while (stats.queue > 0 && td_mono_ms() < end);
}

void
gw_workers_free(struct gw *gw)
{
	await_store(gw);
	for (unsigned i = 0; i < gw->n_workers; i++) {
		struct gw_worker *w = gw->workers[i];

		if (w == NULL)
			continue;
		gw_dial_fini(w);
		gw_bridge_worker_fini(w);
		gw_proxy65_fini(w);
		xmpp_env_free(w->env);
		w->env = NULL;
	}
	for (unsigned i = 0; i < gw->n_workers; i++) {
		struct gw_worker *w = gw->workers[i];

		if (w == NULL)
			continue;
		gw_dns_fini(w);
		td_loop_free(w->loop);
		gw_bosh_fini(w);
		gw_conns_fini(w);
		gw_domains_unref(&w->domains);
		free(w->readbuf);
		free(w);
		gw->workers[i] = NULL;
	}
}
