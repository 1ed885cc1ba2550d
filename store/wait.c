/* wait - calls that block, for threads that may: milter callbacks, operator's jobs.
 *
 * A wait is shared by the waiter and the call under way, and freed by the last of them: so
 * a waiter that gave up leaves nothing behind that could be written to. */
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "gateway/base/map.h"
#include "store/op.h"

#define KNOWN_MS 5000u
#define KNOWN_MAX 16384u

struct store_wait {
	pthread_mutex_t lock; /* all below */
	pthread_cond_t cond;
	unsigned refs;
	unsigned awaited; /* replies still to come */
	bool gone;        /* nobody waits for <op> any more */
	int rc;
	uint64_t id;
	struct td_err err;
	struct store_op *op;
};

struct store_wait *
store_wait_new(void)
{
	struct store_wait *w = td_zalloc(sizeof(*w));
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, &attr);
	pthread_condattr_destroy(&attr);
	w->refs = 1;
	return w;
}

/* Drop a reference and the lock, which is held. */
static void
unlock_unref(struct store_wait *w)
{
	bool last = --w->refs == 0;

	pthread_mutex_unlock(&w->lock);
	if (!last)
		return;
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void
store_wait_free(struct store_wait *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	unlock_unref(w);
}

static void
on_reply(void *arg, const struct store_result *r)
{
	struct store_wait *w = arg;

	pthread_mutex_lock(&w->lock);
	w->rc = r->rc;
	w->id = r->id;
	w->err = (struct td_err){ 0 };
	if (r->rc < 0)
		(void)td_fail(&w->err, r->rc, "%s", r->error);
	w->awaited--;
	pthread_cond_signal(&w->cond);
	unlock_unref(w);
}

struct store_to
store_to_wait(struct store_wait *w)
{
	pthread_mutex_lock(&w->lock);
	w->refs++;
	w->awaited++;
	pthread_mutex_unlock(&w->lock);
	return (struct store_to){ NULL, on_reply, w };
}

/* Wait for every reply owed; the lock is held.  False when <ms> ran out first. */
static bool
wait_all(struct store_wait *w, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (w->awaited > 0)
		if (pthread_cond_timedwait(&w->cond, &w->lock, &until) != 0 && w->awaited > 0)
			return false;
	return true;
}

int
store_wait_for(struct store_wait *w, unsigned ms, uint64_t *id_out, struct td_err *err)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	if (!wait_all(w, ms)) {
		rc = td_fail(err, TD_E_TIMEOUT, "the store did not answer within %u ms", ms);
	} else if ((rc = w->rc) < 0) {
		(void)td_fail(err, rc, "%s", w->err.text);
	} else if (id_out != NULL) {
		*id_out = w->id;
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

void
store_wait_give(struct store_wait *w, struct store_op *op)
{
	bool gone;

	pthread_mutex_lock(&w->lock);
	w->awaited--;
	gone = w->gone;
	if (!gone)
		w->op = op;
	pthread_cond_signal(&w->cond);
	unlock_unref(w);
	if (!gone)
		return;
	if (op->late != NULL)
		op->late(op);
	store_op_free(op);
}

int
store_op_submit_wait(struct store_op *op, unsigned ms, struct td_err *err)
{
	struct store_wait *w = store_wait_new();
	int rc = 0;

	w->refs++;
	w->awaited++;
	op->wait = w;
	store_op_submit(op);
	pthread_mutex_lock(&w->lock);
	if (!wait_all(w, ms)) {
		w->gone = true;
		rc = td_fail(err, TD_E_TIMEOUT, "the store did not answer within %u ms", ms);
	}
	unlock_unref(w);
	return rc;
}

/* ---- who exists ---- */

struct known {
	uint64_t until; /* mono ms */
	bool exists;
	struct td_str jid;
};

struct store_known {
	pthread_mutex_t lock; /* all below */
	struct td_map map;
	uint64_t gen;
};

struct store_known *
store_known_new(void)
{
	struct store_known *k = td_zalloc(sizeof(*k));

	pthread_mutex_init(&k->lock, NULL);
	return k;
}

static void
forget_all(struct store_known *k)
{
	struct known *e;

	for (size_t i = 0; (e = td_map_next(&k->map, &i)) != NULL;)
		free(e);
	td_map_fini(&k->map);
}

void
store_known_free(struct store_known *k)
{
	if (k == NULL)
		return;
	forget_all(k);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

void
store_known_drop(struct store_known *k)
{
	pthread_mutex_lock(&k->lock);
	k->gen++;
	forget_all(k);
	pthread_mutex_unlock(&k->lock);
}

int
store_known_get(struct store_known *k, struct td_str jid, uint64_t *gen)
{
	const struct known *e;
	int known = -1;

	pthread_mutex_lock(&k->lock);
	*gen = k->gen;
	e = td_map_find(&k->map, jid);
	if (e != NULL && e->until > td_mono_ms())
		known = e->exists;
	pthread_mutex_unlock(&k->lock);
	return known;
}

void
store_known_put(struct store_known *k, struct td_str jid, bool exists, uint64_t gen)
{
	struct known *e = td_alloc(sizeof(*e) + jid.len + 1);
	char *key = (char *)(e + 1);

	if (jid.len > 0)
		memcpy(key, jid.p, jid.len);
	*e = (struct known){ td_mono_ms() + KNOWN_MS, exists, td_str(key, jid.len) };
	pthread_mutex_lock(&k->lock);
	if (k->gen == gen) {
		if (k->map.len >= KNOWN_MAX)
			forget_all(k);
		free(td_map_set(&k->map, e->jid, e));
	} else {
		free(e); /* read before a change: may be old */
	}
	pthread_mutex_unlock(&k->lock);
}
