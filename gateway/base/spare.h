/* spare - blocks just above what malloc's cache per thread holds, kept by the thread that
 * frees them: the arenas of stanzas come and go with every message, and each way through
 * malloc's bins sorts what else was freed meanwhile.
 * Thread: any; each has a handful of its own, freed with it.  Blocks are malloc'd: whoever
 * gets one may free() it. */
#ifndef TD_SPARE_H
#define TD_SPARE_H
#include <stddef.h>

/* A block of at least <n> bytes, or NULL when malloc itself failed. */
void *td_spare_alloc(size_t n) __attribute__((malloc, alloc_size(1)));
/* free(), or keep for the next td_spare_alloc.  NULL is fine. */
void td_spare_free(void *p);
#endif
