/* map - hash table from strings to pointers (open addressing, SipHash).
 * Thread: one at a time.  The map borrows keys: they must live as long as their
 * entry, normally inside the value. */
#ifndef TD_MAP_H
#define TD_MAP_H
#include "gateway/base/str.h"

struct td_map {
	struct td_map_slot *slots;
	uint32_t cap, len, dead;
};
struct td_map_slot {
	uint64_t hash;
	struct td_str key;
	void *value; /* NULL = free, TD_MAP_DEAD = removed */
};

/* Zero-initialised is an empty map. */
void td_map_fini(struct td_map *m);
void *td_map_find(const struct td_map *m, struct td_str key);
/* Insert or replace (then the key is replaced too); returns the old value or NULL. */
void *td_map_set(struct td_map *m, struct td_str key, void *value);
/* Remove; returns the value or NULL. */
void *td_map_del(struct td_map *m, struct td_str key);
/* Walk: size_t i = 0; while ((v = td_map_next(m, &i)) != NULL).  Deleting the
 * entry just returned is fine, inserting is not. */
void *td_map_next(const struct td_map *m, size_t *pos);
#endif
