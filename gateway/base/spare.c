/* spare - one size of block; how large a block is malloc remembers. */
#include "gateway/base/spare.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#define KEEP 0 /* a block used after it was freed must be found */
#else
#define KEEP 8
#endif

/* Requests above MIN are made SIZE large; a block of up to SLACK more is one of ours too. */
#define MIN 1032u
#define SIZE 1600u
#define SLACK 64u

struct spares {
	void *block[KEEP + 1];
	int n;
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
	while (s->n > 0)
		free(s->block[--s->n]);
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

	if (n <= MIN || n > SIZE)
		return malloc(n);
	return s->n > 0 ? s->block[--s->n] : malloc(SIZE);
}

void
td_spare_free(void *p)
{
	size_t size = malloc_usable_size(p); /* 0 for NULL */
	struct spares *s = &spares;

	if (size >= SIZE && size - SIZE <= SLACK && s->n < KEEP && is_known(s))
		s->block[s->n++] = p;
	else
		free(p);
}
