/* spare - two classes of blocks; how large a block is malloc remembers. */
#include "gateway/base/spare.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#define KEEP 0 /* a block used after it was freed must be found */
#else
#define KEEP 4
#endif

/* Requests above <min> are made <size> large; blocks of [size, size + slack] are of the class. */
static const struct {
	size_t min, size, slack;
} classes[] = {
	{ 1032, 1600, 64 },     /* a stanza's arena */
	{ 16384, 17408, 1024 }, /* a TLS record and what surrounds it */
};
#define CLASSES (sizeof(classes) / sizeof(classes[0]))

struct spares {
	void *block[CLASSES][KEEP + 1];
	int n[CLASSES];
	bool known; /* free_all will be called for it */
};

static _Thread_local struct spares spares;
static pthread_key_t at_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The thread ends.  A destructor after this one may keep blocks again: then it is known again,
 * and called again. */
static void
free_all(void *arg)
{
	struct spares *s = arg;

	s->known = false;
	for (size_t c = 0; c < CLASSES; c++)
		while (s->n[c] > 0)
			free(s->block[c][--s->n[c]]);
}

static void
make_key(void)
{
	if (pthread_key_create(&at_end, free_all) != 0)
		abort();
}

static bool
is_known(struct spares *s)
{
	if (!s->known) {
		(void)pthread_once(&once, make_key);
		s->known = pthread_setspecific(at_end, s) == 0;
	}
	return s->known;
}

void *
td_spare_alloc(size_t n)
{
	struct spares *s = &spares;

	for (size_t c = 0; c < CLASSES; c++) {
		if (n <= classes[c].min || n > classes[c].size)
			continue;
		if (s->n[c] > 0)
			return s->block[c][--s->n[c]];
		n = classes[c].size;
		break;
	}
	return malloc(n);
}

void
td_spare_free(void *p)
{
	size_t size = malloc_usable_size(p); /* 0 for NULL */
	struct spares *s = &spares;

	for (size_t c = 0; c < CLASSES && size >= classes[c].size; c++)
		if (size - classes[c].size <= classes[c].slack && s->n[c] < KEEP && is_known(s)) {
			s->block[c][s->n[c]++] = p;
			return;
		}
	free(p);
}
