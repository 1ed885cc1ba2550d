/* throttle - leaky buckets for rare and hostile things (xmpp/throttle.h). */
#include "xmpp/throttle.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "gateway/base/loop.h"

#define SLOTS 8192u /* a power of two */
#define PROBES 8u

struct bucket {
	uint64_t key; /* 0 = free */
	uint64_t at;  /* ms */
	double level;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bucket buckets[SLOTS]; /* under the lock */
static _Atomic bool any;             /* nothing was ever counted: nobody needs the lock */

static uint64_t
hash_of(enum xmpp_throttle kind, const char *key)
{
	char text[1100];
	int n = snprintf(text, sizeof(text), "%d %s", (int)kind, key);
	uint64_t h = td_str_hash(
		td_str(text, n > 0 && (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));

	return h != 0 ? h : 1;
}

/* The bucket as it is now; NULL: there is none, and none is made. */
static struct bucket *
find(uint64_t key, const struct xmpp_rate *r, bool make)
{
	uint64_t now = td_mono_ms();
	struct bucket *b, *spare = NULL;

	for (unsigned i = 0; i < PROBES; i++) {
		b = &buckets[(key + i) & (SLOTS - 1)];
		if (b->key == key) {
			b->level -= (double)(now - b->at) * r->count / (r->seconds * 1000.0);
			b->level = b->level > 0 ? b->level : 0;
			b->at = now;
			return b;
		}
		if (spare == NULL || b->key == 0 || (spare->key != 0 && b->level < spare->level))
			spare = b;
	}
	if (!make)
		return NULL;
	*spare = (struct bucket){ .key = key, .at = now };
	return spare;
}

bool
xmpp_throttle_over(enum xmpp_throttle kind, const char *key, const struct xmpp_rate *r)
{
	const struct bucket *b;
	bool over;

	if (r->count == 0 || *key == '\0' || !atomic_load_explicit(&any, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&lock);
	b = find(hash_of(kind, key), r, false);
	over = b != NULL && b->level > r->count - 1.0 + 0.001;
	pthread_mutex_unlock(&lock);
	return over;
}

void
xmpp_throttle_count(enum xmpp_throttle kind, const char *key, const struct xmpp_rate *r)
{
	struct bucket *b;

	if (r->count == 0 || *key == '\0')
		return;
	pthread_mutex_lock(&lock);
	b = find(hash_of(kind, key), r, true);
	if (b->level < r->count)
		b->level += 1;
	atomic_store_explicit(&any, true, memory_order_relaxed);
	pthread_mutex_unlock(&lock);
}

static void
write_v4(const unsigned char *a, bool local, char out[XMPP_NETWORK_MAX])
{
	if (a[0] == 127 && !local)
		out[0] = '\0';
	else
		(void)snprintf(out, XMPP_NETWORK_MAX, "%u.%u.%u", a[0], a[1], a[2]);
}

void
xmpp_throttle_network(const char *peer, const struct xmpp_rate *r, char out[XMPP_NETWORK_MAX])
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	const char *colon = strrchr(peer, ':');
	char host[INET6_ADDRSTRLEN + 1] = "";
	unsigned char a[16];
	size_t n = colon != NULL ? (size_t)(colon - peer) : strlen(peer);

	out[0] = '\0';
	if (n > 1 && peer[0] == '[' && peer[n - 1] == ']') {
		peer++;
		n -= 2;
	}
	if (n < sizeof(host))
		memcpy(host, peer, n);
	if (inet_pton(AF_INET, host, a) == 1) {
		write_v4(a, r->local, out);
	} else if (inet_pton(AF_INET6, host, a) == 1) {
		if (memcmp(a, mapped, sizeof(mapped)) == 0)
			write_v4(a + 12, r->local, out);
		else if (r->local || memcmp(a, &in6addr_loopback, 16) != 0)
			(void)snprintf(out, XMPP_NETWORK_MAX, "%02x%02x:%02x%02x:%02x%02x:%02x%02x",
				       a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
	} else if (r->local) {
		(void)snprintf(out, XMPP_NETWORK_MAX, "local"); /* a Unix socket */
	}
}
