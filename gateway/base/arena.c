/* arena - bump allocation in a chain of blocks; the first shares the arena's malloc. */
#include "gateway/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/spare.h"

#define ALIGN 16u
#define BLOCK_MIN 976u /* with its head within malloc's cache per thread */

struct block {
	struct block *next;
	size_t cap; /* keeps the bytes behind it 16-aligned */
};

struct td_arena {
	struct block *blocks; /* newest first; the first one is not in the list */
	char *cur, *end;
	size_t used;
	size_t grow;
};

struct td_arena *
td_arena_new(size_t hint)
{
	size_t head = (sizeof(struct td_arena) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	struct td_arena *a;

	if (hint == 0)
		hint = BLOCK_MIN;
	a = td_spare_alloc(head + hint);
	if (a == NULL)
		abort();
	a->blocks = NULL;
	a->cur = (char *)a + head;
	a->end = a->cur + hint;
	a->used = 0;
	a->grow = hint < BLOCK_MIN ? BLOCK_MIN : hint;
	return a;
}

void
td_arena_free(struct td_arena *a)
{
	if (a == NULL)
		return;
	for (struct block *b = a->blocks, *next; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	td_spare_free(a);
}

void *
td_arena_alloc(struct td_arena *a, size_t n)
{
	char *p;

	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if ((size_t)(a->end - a->cur) < n) {
		size_t cap = n > a->grow ? n : a->grow;
		struct block *b = td_alloc(sizeof(*b) + cap);

		b->next = a->blocks;
		b->cap = cap;
		a->blocks = b;
		a->cur = (char *)(b + 1);
		a->end = a->cur + cap;
		if (a->grow < 64u * 1024)
			a->grow *= 2;
	}
	p = a->cur;
	a->cur += n;
	a->used += n;
	return p;
}

void *
td_arena_zalloc(struct td_arena *a, size_t n)
{
	return memset(td_arena_alloc(a, n), 0, n);
}

size_t
td_arena_used(const struct td_arena *a)
{
	return a->used;
}

char *
td_arena_strndup(struct td_arena *a, const char *s, size_t n)
{
	char *p = td_arena_alloc(a, n + 1);

	if (n > 0)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

struct td_str
td_arena_str(struct td_arena *a, struct td_str s)
{
	if (s.p == NULL)
		return s;
	return td_str(td_arena_strndup(a, s.p, s.len), s.len);
}

char *
td_arena_printf(struct td_arena *a, const char *fmt, ...)
{
	struct td_buf b = { 0 };
	va_list ap;
	char *p;

	va_start(ap, fmt);
	td_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	p = td_arena_strndup(a, b.p, b.len);
	td_buf_fini(&b);
	return p;
}
