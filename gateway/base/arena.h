/* arena - memory that lives and dies together: a stanza, a mail, a config.
 * Thread: one at a time.  Alloc-only; everything goes at td_arena_free. */
#ifndef TD_ARENA_H
#define TD_ARENA_H
#include <stddef.h>
#include "gateway/base/str.h"

struct td_arena;

/* New arena whose first block holds <hint> bytes (0 = a little under 1 KiB). One malloc. */
struct td_arena *td_arena_new(size_t hint);
/* Free the arena and all that came from it; NULL is fine. */
void td_arena_free(struct td_arena *a);
/* <n> bytes aligned for any type, not cleared. */
void *td_arena_alloc(struct td_arena *a, size_t n) __attribute__((alloc_size(2)));
void *td_arena_zalloc(struct td_arena *a, size_t n) __attribute__((alloc_size(2)));
/* Bytes handed out so far (for limits and budgets). */
size_t td_arena_used(const struct td_arena *a);
/* Copies; both are NUL-terminated.  td_arena_str keeps "absent" absent. */
char *td_arena_strndup(struct td_arena *a, const char *s, size_t n);
struct td_str td_arena_str(struct td_arena *a, struct td_str s);
char *td_arena_printf(struct td_arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#endif
