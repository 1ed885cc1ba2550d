/* directory - who is online where, for threads that own no address (milter, outbox, control).
 * 64 shards by bare JID, each behind a read-write lock; a lock is held for a copy, never longer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "gateway/base/map.h"
#include "gateway/gateway.h"

#define SHARDS 64u

struct resource {
	struct resource *next; /* newest change first */
	char *status;          /* NULL = none */
	int priority;
	char show[8];
	char name[];
};

struct account {
	struct resource *first;
	char bare[];
};

struct shard {
	pthread_rwlock_t lock; /* guards the map and all below it */
	struct td_map accounts;
};

struct gw_directory {
	struct shard shards[SHARDS];
	_Atomic size_t count; /* accounts with a resource */
};

struct gw_directory *
gw_directory_new(void)
{
	struct gw_directory *d = td_zalloc(sizeof(*d));

	for (unsigned i = 0; i < SHARDS; i++)
		pthread_rwlock_init(&d->shards[i].lock, NULL);
	return d;
}

static void
free_resource(struct resource *r)
{
	free(r->status);
	free(r);
}

static void
free_account(struct account *a)
{
	struct resource *r;

	while ((r = a->first) != NULL) {
		a->first = r->next;
		free_resource(r);
	}
	free(a);
}

void
gw_directory_free(struct gw_directory *d)
{
	if (d == NULL)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct account *a;
		size_t pos = 0;

		while ((a = td_map_next(&d->shards[i].accounts, &pos)) != NULL)
			free_account(a);
		td_map_fini(&d->shards[i].accounts);
		pthread_rwlock_destroy(&d->shards[i].lock);
	}
	free(d);
}

static struct shard *
shard_of(struct gw_directory *d, struct td_str bare)
{
	return &d->shards[td_str_hash(bare) % SHARDS];
}

static struct resource *
take_out(struct account *a, struct td_str name)
{
	for (struct resource **rp = &a->first; *rp != NULL; rp = &(*rp)->next) {
		struct resource *r = *rp;

		if (td_str_eqc(name, r->name)) {
			*rp = r->next;
			return r;
		}
	}
	return NULL;
}

static void
fill_resource(struct resource *r, int priority, struct td_str show, struct td_str status)
{
	size_t n = show.len < sizeof(r->show) ? show.len : 0;

	r->priority = priority;
	if (n > 0)
		memcpy(r->show, show.p, n);
	r->show[n] = '\0';
	free(r->status);
	r->status = NULL;
	status.len = td_utf8_cut(status, sizeof(((struct gw_presence *)0)->status) - 1);
	if (status.len > 0)
		r->status = td_strndup(status);
}

void
gw_directory_set(struct gw_directory *d, const struct xmpp_jid *full, int priority,
		 struct td_str show, struct td_str status, bool available)
{
	struct shard *s = shard_of(d, full->bare);
	struct td_str name = full->resource.p != NULL ? full->resource : TD_STR("");
	struct account *a;
	struct resource *r;

	pthread_rwlock_wrlock(&s->lock);
	a = td_map_find(&s->accounts, full->bare);
	if (a == NULL && available) {
		a = td_zalloc(sizeof(*a) + full->bare.len + 1);
		memcpy(a->bare, full->bare.p, full->bare.len);
		(void)td_map_set(&s->accounts, td_cstr(a->bare), a);
		atomic_fetch_add(&d->count, 1);
	}
	if (a == NULL)
		goto out;
	r = take_out(a, name);
	if (available) {
		if (r == NULL) {
			r = td_zalloc(sizeof(*r) + name.len + 1);
			memcpy(r->name, name.p, name.len);
		}
		fill_resource(r, priority, show, status);
		r->next = a->first;
		a->first = r;
		goto out;
	}
	if (r != NULL)
		free_resource(r);
	if (a->first == NULL) {
		(void)td_map_del(&s->accounts, full->bare);
		free_account(a);
		atomic_fetch_sub(&d->count, 1);
	}
out:
	pthread_rwlock_unlock(&s->lock);
}

/* Of two resources with one priority the more attentive person is better. */
static int
show_rank(const char *show)
{
	static const char *const ranks[] = { "dnd", "xa", "away", "", "chat" };
	int i = 0;

	while (i < 4 && strcmp(show, ranks[i]) != 0)
		i++;
	return i;
}

static bool
better(const struct resource *a, const struct resource *b)
{
	return b == NULL || a->priority > b->priority ||
	       (a->priority == b->priority && show_rank(a->show) > show_rank(b->show));
}

bool
gw_directory_get(struct gw_directory *d, struct td_str jid, struct gw_presence *out)
{
	ptrdiff_t slash = td_str_chr(jid, '/');
	struct td_str bare = slash < 0 ? jid : td_str(jid.p, (size_t)slash);
	struct td_str name =
		slash < 0 ? TD_STR_NULL : td_str(jid.p + slash + 1, jid.len - (size_t)slash - 1);
	struct shard *s = shard_of(d, bare);
	const struct resource *best = NULL;
	const struct account *a;

	memset(out, 0, sizeof(*out));
	pthread_rwlock_rdlock(&s->lock);
	a = td_map_find(&s->accounts, bare);
	for (const struct resource *r = a != NULL ? a->first : NULL; r != NULL; r = r->next) {
		/* RFC 6121 4.7.2.3: a negative priority takes nothing sent to the account */
		if (r->priority >= 0)
			out->resources++;
		if (name.p != NULL ? td_str_eqc(name, r->name)
				   : r->priority >= 0 && better(r, best))
			best = r;
	}
	if (best != NULL) {
		out->available = true;
		out->priority = best->priority;
		memcpy(out->show, best->show, sizeof(out->show));
		if (best->status != NULL)
			memcpy(out->status, best->status, strlen(best->status) + 1);
	}
	pthread_rwlock_unlock(&s->lock);
	return out->available;
}

size_t
gw_directory_count(struct gw_directory *d)
{
	return atomic_load(&d->count);
}
