/* shared - one table per kind behind one lock; every operation is short. */
#include "lua/shared.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "gateway/base/map.h"

#define NAMES_MAX 20000
#define NAME_MAX_LEN 256
#define VALUE_MAX 65536

struct counter {
	int64_t value;
	size_t len;
	char name[];
};

struct gauge_key {
	TAILQ_ENTRY(gauge_key) link; /* oldest change first */
	int64_t value;
	uint64_t changed; /* mono ms */
	size_t len;
	char name[];
};

struct gauge {
	struct td_map keys;
	TAILQ_HEAD(, gauge_key) by_age;
	unsigned max;
	uint64_t ttl_ms;
	size_t len;
	char name[];
};

struct value {
	struct td_str text;
	size_t len;
	char name[];
};

/* guards all three tables */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct td_map counters, gauges, values;

static bool
name_fits(const struct td_map *m, struct td_str name)
{
	return name.len <= NAME_MAX_LEN && m->len < NAMES_MAX;
}

/* ---- counters ---- */

static struct counter *
counter_get(struct td_str path, bool make)
{
	struct counter *c = td_map_find(&counters, path);

	if (c != NULL || !make || !name_fits(&counters, path))
		return c;
	c = td_zalloc(sizeof(*c) + path.len + 1);
	c->len = path.len;
	memcpy(c->name, path.p, path.len);
	td_map_set(&counters, td_str(c->name, c->len), c);
	return c;
}

int
tlua_counter_add(struct td_str path, int64_t n, int64_t *now_out)
{
	struct counter *c;

	pthread_mutex_lock(&lock);
	c = counter_get(path, true);
	if (c != NULL)
		*now_out = c->value = (int64_t)((uint64_t)c->value + (uint64_t)n);
	pthread_mutex_unlock(&lock);
	return c != NULL ? 0 : TD_E_LIMIT;
}

int64_t
tlua_counter_read(struct td_str path)
{
	struct counter *c;
	int64_t v;

	pthread_mutex_lock(&lock);
	c = counter_get(path, false);
	v = c != NULL ? c->value : 0;
	pthread_mutex_unlock(&lock);
	return v;
}

int64_t
tlua_counter_reset(struct td_str path)
{
	struct counter *c;
	int64_t v = 0;

	pthread_mutex_lock(&lock);
	c = counter_get(path, false);
	if (c != NULL) {
		v = c->value;
		c->value = 0;
	}
	pthread_mutex_unlock(&lock);
	return v;
}

void
tlua_counter_unlink(struct td_str path)
{
	pthread_mutex_lock(&lock);
	free(td_map_del(&counters, path));
	pthread_mutex_unlock(&lock);
}

void
tlua_counter_each(void (*cb)(void *arg, struct td_str path, int64_t value), void *arg)
{
	struct counter *c;
	size_t i = 0;

	pthread_mutex_lock(&lock);
	while ((c = td_map_next(&counters, &i)) != NULL)
		cb(arg, td_str(c->name, c->len), c->value);
	pthread_mutex_unlock(&lock);
}

/* ---- gauges ---- */

static void
gauge_drop(struct gauge *g, struct gauge_key *k)
{
	td_map_del(&g->keys, td_str(k->name, k->len));
	TAILQ_REMOVE(&g->by_age, k, link);
	free(k);
}

static void
gauge_expire(struct gauge *g)
{
	uint64_t now = td_mono_ms();
	struct gauge_key *k;

	while ((k = TAILQ_FIRST(&g->by_age)) != NULL &&
	       (g->keys.len > g->max || (g->ttl_ms > 0 && now - k->changed >= g->ttl_ms)))
		gauge_drop(g, k);
}

int
tlua_gauge_define(struct td_str name, unsigned max, unsigned ttl_s)
{
	struct gauge *g;
	int rc = 0;

	pthread_mutex_lock(&lock);
	g = td_map_find(&gauges, name);
	if (g == NULL && name_fits(&gauges, name)) {
		g = td_zalloc(sizeof(*g) + name.len + 1);
		g->len = name.len;
		memcpy(g->name, name.p, name.len);
		TAILQ_INIT(&g->by_age);
		td_map_set(&gauges, td_str(g->name, g->len), g);
	}
	if (g != NULL) {
		g->max = max > 0 && max < NAMES_MAX ? max : NAMES_MAX;
		g->ttl_ms = (uint64_t)ttl_s * 1000;
		gauge_expire(g);
	} else {
		rc = TD_E_LIMIT;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

int
tlua_gauge_add(struct td_str name, struct td_str key, int64_t n, int64_t *now_out)
{
	struct gauge *g;
	struct gauge_key *k;
	int rc = 0;

	pthread_mutex_lock(&lock);
	g = td_map_find(&gauges, name);
	if (g == NULL || key.len > NAME_MAX_LEN) {
		rc = g == NULL ? TD_E_NOTFOUND : TD_E_LIMIT;
		goto out;
	}
	gauge_expire(g);
	k = td_map_find(&g->keys, key);
	if (k == NULL) {
		k = td_zalloc(sizeof(*k) + key.len + 1);
		k->len = key.len;
		memcpy(k->name, key.p, key.len);
		td_map_set(&g->keys, td_str(k->name, k->len), k);
	} else {
		TAILQ_REMOVE(&g->by_age, k, link);
	}
	k->value = (int64_t)((uint64_t)k->value + (uint64_t)n);
	k->changed = td_mono_ms();
	TAILQ_INSERT_TAIL(&g->by_age, k, link);
	*now_out = k->value;
	gauge_expire(g);
out:
	pthread_mutex_unlock(&lock);
	return rc;
}

int
tlua_gauge_get(struct td_str name, struct td_str key, int64_t *out)
{
	struct gauge *g;
	struct gauge_key *k;

	*out = 0;
	pthread_mutex_lock(&lock);
	g = td_map_find(&gauges, name);
	if (g != NULL) {
		gauge_expire(g);
		k = td_map_find(&g->keys, key);
		*out = k != NULL ? k->value : 0;
	}
	pthread_mutex_unlock(&lock);
	return g != NULL ? 0 : TD_E_NOTFOUND;
}

void
tlua_gauge_remove(struct td_str name, struct td_str key)
{
	struct gauge *g;
	struct gauge_key *k;

	pthread_mutex_lock(&lock);
	g = td_map_find(&gauges, name);
	k = g != NULL ? td_map_find(&g->keys, key) : NULL;
	if (k != NULL)
		gauge_drop(g, k);
	pthread_mutex_unlock(&lock);
}

/* ---- values ---- */

static void
value_free(struct value *v)
{
	char *text;

	if (v == NULL)
		return;
	memcpy(&text, &v->text.p, sizeof(text)); /* made by td_strndup below */
	free(text);
	free(v);
}

int
tlua_share_set(struct td_str key, struct td_str value)
{
	struct value *v;
	int rc = 0;

	if (key.len > NAME_MAX_LEN || value.len > VALUE_MAX)
		return TD_E_LIMIT;
	pthread_mutex_lock(&lock);
	value_free(td_map_del(&values, key));
	if (value.p != NULL && !name_fits(&values, key)) {
		rc = TD_E_LIMIT;
	} else if (value.p != NULL) {
		v = td_zalloc(sizeof(*v) + key.len + 1);
		v->len = key.len;
		memcpy(v->name, key.p, key.len);
		v->text = td_str(td_strndup(value), value.len);
		td_map_set(&values, td_str(v->name, v->len), v);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

bool
tlua_share_get(struct td_str key, struct td_buf *out)
{
	struct value *v;

	pthread_mutex_lock(&lock);
	v = td_map_find(&values, key);
	if (v != NULL)
		td_buf_adds(out, v->text);
	pthread_mutex_unlock(&lock);
	return v != NULL;
}
