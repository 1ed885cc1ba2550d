/* map - open-addressing string map. */
#include "gateway/base/map.h"

#include <stdlib.h>

static char dead_mark;
#define DEAD ((void *)&dead_mark)

/* Callers pick threads and shards by the hash's low bits: what meets here shares them. */
static size_t
first_slot(const struct td_map *m, uint64_t hash)
{
	return (size_t)((hash * 0x9E3779B97F4A7C15ULL) >> 32) & (m->cap - 1);
}

void
td_map_fini(struct td_map *m)
{
	free(m->slots);
	*m = (struct td_map){ 0 };
}

static struct td_map_slot *
find_slot(const struct td_map *m, struct td_str key, uint64_t hash)
{
	if (m->cap == 0)
		return NULL;
	for (size_t i = first_slot(m, hash);; i = (i + 1) & (m->cap - 1)) {
		struct td_map_slot *s = &m->slots[i];

		if (s->value == NULL)
			return NULL;
		if (s->value != DEAD && s->hash == hash && td_str_eq(s->key, key))
			return s;
	}
}

void *
td_map_find(const struct td_map *m, struct td_str key)
{
	struct td_map_slot *s = m->len > 0 ? find_slot(m, key, td_str_hash(key)) : NULL;

	return s != NULL ? s->value : NULL;
}

static void
put_new(struct td_map *m, struct td_str key, uint64_t hash, void *value)
{
	size_t i = first_slot(m, hash);

	while (m->slots[i].value != NULL && m->slots[i].value != DEAD)
		i = (i + 1) & (m->cap - 1);
	if (m->slots[i].value == DEAD)
		m->dead--;
	m->slots[i] = (struct td_map_slot){ hash, key, value };
	m->len++;
}

static void
rehash(struct td_map *m)
{
	struct td_map old = *m;
	uint32_t cap = 16;

	while (cap < (old.len + 1) * 2)
		cap *= 2;
	m->slots = td_zalloc((size_t)cap * sizeof(*m->slots));
	m->cap = cap;
	m->len = m->dead = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].value != NULL && old.slots[i].value != DEAD)
			put_new(m, old.slots[i].key, old.slots[i].hash, old.slots[i].value);
	free(old.slots);
}

void *
td_map_set(struct td_map *m, struct td_str key, void *value)
{
	uint64_t hash = td_str_hash(key);
	struct td_map_slot *s = find_slot(m, key, hash);
	void *old;

	if (s != NULL) {
		old = s->value;
		s->key = key;
		s->value = value;
		return old;
	}
	if (((uint64_t)m->len + m->dead + 1) * 4 > (uint64_t)m->cap * 3)
		rehash(m);
	put_new(m, key, hash, value);
	return NULL;
}

void *
td_map_del(struct td_map *m, struct td_str key)
{
	struct td_map_slot *s = m->len > 0 ? find_slot(m, key, td_str_hash(key)) : NULL;
	void *old;

	if (s == NULL)
		return NULL;
	old = s->value;
	s->value = DEAD;
	m->len--;
	m->dead++;
	return old;
}

void *
td_map_next(const struct td_map *m, size_t *pos)
{
	while (*pos < m->cap) {
		void *v = m->slots[(*pos)++].value;

		if (v != NULL && v != DEAD)
			return v;
	}
	return NULL;
}
