/* xep-0231 - bits of binary: images of the server's own (an icon, a captcha) by the hash of their bytes.
 *
 * Each worker has all of them, so that any can answer; only what was put here is served, and nothing of clients is
 * kept. */
#include "xmpp/xep/xep_0231_bob.h"

#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include "xmpp/modules.h"

#define CACHE_MAX (1u << 20) /* bytes kept by a worker */

struct piece {
	TAILQ_ENTRY(piece) link;
	char cid[XMPP_BOB_CID];
	char type[32];
	uint64_t until; /* td_mono_ms; 0 = for good */
	size_t len;
	char data[];
};
struct bob {
	TAILQ_HEAD(, piece) pieces; /* oldest first */
	struct td_map by_cid;
	size_t bytes;
};

static struct bob *
bob_of(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_BOB];
}

static void
drop(struct bob *b, struct piece *p)
{
	TAILQ_REMOVE(&b->pieces, p, link);
	(void)td_map_del(&b->by_cid, td_cstr(p->cid));
	b->bytes -= p->len;
	free(p);
}

/* Those whose time is over, and as many as the cap wants. */
static void
make_room(struct bob *b, size_t wanted)
{
	uint64_t now = td_mono_ms();
	struct piece *p, *next;

	for (p = TAILQ_FIRST(&b->pieces); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->until != 0 && (p->until <= now || b->bytes + wanted > CACHE_MAX))
			drop(b, p);
	}
}

static void
take(struct xmpp_env *env, void *arg)
{
	struct bob *b = bob_of(env);
	struct piece *p = arg, *old = td_map_find(&b->by_cid, td_cstr(p->cid));

	if (old != NULL)
		drop(b, old);
	make_room(b, p->len);
	TAILQ_INSERT_TAIL(&b->pieces, p, link);
	(void)td_map_set(&b->by_cid, td_cstr(p->cid), p);
	b->bytes += p->len;
}

static struct piece *
piece_new(const char *type, struct td_str data, unsigned max_age)
{
	struct piece *p = td_zalloc(sizeof(*p) + data.len);
	struct td_buf hex = { 0 };
	unsigned char hash[20];

	if (EVP_Digest(data.p, data.len, hash, NULL, EVP_sha1(), NULL) != 1)
		abort();
	td_buf_add_hex(&hex, hash, sizeof(hash));
	(void)snprintf(p->cid, sizeof(p->cid), "sha1+%s@bob.xmpp.org", td_buf_cstr(&hex));
	(void)snprintf(p->type, sizeof(p->type), "%s", type);
	td_buf_fini(&hex);
	p->until = max_age > 0 ? td_mono_ms() + (uint64_t)max_age * 1000 : 0;
	p->len = data.len;
	memcpy(p->data, data.p, data.len);
	return p;
}

void
xmpp_bob_keep(struct xmpp_env *env, const char *type, struct td_str data, char cid[XMPP_BOB_CID])
{
	struct piece *p = piece_new(type, data, 0);

	memcpy(cid, p->cid, sizeof(p->cid));
	take(env, p);
}

void
xmpp_bob_put(struct xmpp_env *env, const char *type, struct td_str data, unsigned max_age,
	     char cid[XMPP_BOB_CID])
{
	struct piece *mine = piece_new(type, data, max_age);

	memcpy(cid, mine->cid, sizeof(mine->cid));
	take(env, mine);
	for (unsigned w = 0; w < env->n_workers; w++)
		if (w != env->index)
			env->host->post(env, w, take, piece_new(type, data, max_age));
}

int
xmpp_bob_get(struct xmpp_iq *iq)
{
	struct bob *bob = bob_of(iq->env);
	struct td_str cid = xmpp_node_attr(iq->payload, "cid");
	uint64_t now = td_mono_ms();
	struct td_buf b = { 0 };
	const struct piece *p = cid.len > 0 ? td_map_find(&bob->by_cid, cid) : NULL;

	if (cid.len == 0) {
		xmpp_iq_error(iq, XE_BAD_REQUEST, NULL);
		return XMPP_DONE;
	}
	if (p == NULL || (p->until != 0 && p->until <= now)) {
		xmpp_iq_error(iq, XE_ITEM_NOT_FOUND, NULL);
		return XMPP_DONE;
	}
	td_buf_addf(&b, "<data xmlns='" NS_BOB "' cid='%s' type='%s' max-age='%llu'>", p->cid,
		    p->type,
		    p->until != 0 ? (unsigned long long)(p->until - now) / 1000 : 86400ull);
	td_buf_add_base64(&b, p->data, p->len);
	td_buf_addz(&b, "</data>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static void
bob_start(struct xmpp_env *env)
{
	struct bob *b = td_zalloc(sizeof(*b));

	TAILQ_INIT(&b->pieces);
	env->module_data[XMPP_SLOT_BOB] = b;
}

static void
bob_stop(struct xmpp_env *env)
{
	struct bob *b = bob_of(env);
	struct piece *p;

	while ((p = TAILQ_FIRST(&b->pieces)) != NULL)
		drop(b, p);
	td_map_fini(&b->by_cid);
	free(b);
	env->module_data[XMPP_SLOT_BOB] = NULL;
}

static const char *const bob_features[] = { NS_BOB, NULL };

static const struct xmpp_iq_entry bob_iqs[] = {
	{ NS_BOB, "data", IQ_GET | IQ_TO_HOST, xmpp_bob_get },
	{ 0 },
};

const struct xmpp_module xep_0231_bob = {
	.name = "xep-0231-bob",
	.xep = "0231",
	.doc = "Small images of the server's own, by the hash of their bytes",
	.version = "1.1",
	.features = bob_features,
	.iqs = bob_iqs,
	.start = bob_start,
	.stop = bob_stop,
};
