/* shared - numbers and values that all Lua states of the process see.
 * Thread: any.  Names are at most 256 bytes, at most 20000 of each kind: TD_E_LIMIT. */
#ifndef LUA_SHARED_H
#define LUA_SHARED_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"

/* Counters (msys.counter): made at first use. */
int tlua_counter_add(struct td_str path, int64_t n, int64_t *now_out);
int64_t tlua_counter_read(struct td_str path);
int64_t tlua_counter_reset(struct td_str path); /* the value before */
void tlua_counter_unlink(struct td_str path);
/* Every counter, for metrics; <cb> runs under the lock. */
void tlua_counter_each(void (*cb)(void *arg, struct td_str path, int64_t value), void *arg);

/* Gauges (msys.gauge_cache): counters per key that are forgotten <ttl> seconds after their last
 * change; the oldest goes when <max> keys are full.  Defining again changes max and ttl. */
int tlua_gauge_define(struct td_str name, unsigned max, unsigned ttl_s);
/* TD_E_NOTFOUND: not defined. */
int tlua_gauge_add(struct td_str name, struct td_str key, int64_t n, int64_t *now_out);
int tlua_gauge_get(struct td_str name, struct td_str key, int64_t *out);
void tlua_gauge_remove(struct td_str name, struct td_str key);

/* Values (msys.shareGet): any bytes, at most 64 KiB.  value.p NULL removes. */
int tlua_share_set(struct td_str key, struct td_str value);
/* Append the value; false when there is none. */
bool tlua_share_get(struct td_str key, struct td_buf *out);
#endif
