/* sasl_ht - HT-SHA-256-NONE, -ENDP, -EXPR: sign in with a token in one message (XEP-0484, draft-schmaus-kitten-sasl-ht).
 *
 *   client: authcid NUL HMAC(token, "Initiator" binding)   server: HMAC(token, "Responder" binding)
 *
 * A token is not kept: it is made from its seed in the store under the server's secret, so a copy of the store
 * signs nobody in.  Credentials (does the account live?) and tokens are fetched one after the other; a use that
 * changes something is committed before the answer. */
#include "xmpp/sasl_priv.h"

#include <stdlib.h>
#include <openssl/crypto.h>

#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "store/signin.h"
#include "xmpp/hmac.h"

#define MAC_LEN 32u

enum ht_stage {
	HT_CREDENTIALS = 0,
	HT_TOKENS, /* being read */
	HT_USE     /* being written */
};

struct ht_call; /* outlives the exchange when that is freed meanwhile */

struct ht {
	enum ht_stage stage;
	unsigned char proof[MAC_LEN];
	struct ht_call *call;
	int rc;
	struct store_token tokens[2]; /* mech: of <names> */
	char names[2][24];
	size_t n;
	const struct store_token *match;
	unsigned char answer[MAC_LEN];
};

struct ht_call {
	struct xmpp_sasl *s; /* NULL: nobody waits any more */
};

void
xmpp_token_text(struct td_str bare, const char *agent, const char *mech, const unsigned char *seed,
		char out[XMPP_TOKEN_LEN + 1])
{
	unsigned char mac[MAC_LEN];
	struct td_buf b = { 0 };

	td_buf_addf(&b, "fast %.*s %s %s ", TD_STR_ARG(bare), agent, mech);
	td_buf_add(&b, seed, STORE_SEED_LEN);
	xmpp_secret_mac(td_buf_str(&b), mac);
	td_buf_clear(&b);
	td_buf_add_base64(&b, mac, sizeof(mac));
	memcpy(out, td_buf_cstr(&b), XMPP_TOKEN_LEN + 1);
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
	td_wipe(mac, sizeof(mac));
}

static struct td_str
binding_of(const struct xmpp_sasl *s)
{
	if (s->mech->bit == SASL_M_HT_EXPR)
		return td_str(s->cb_exporter, s->cb_exporter_len);
	if (s->mech->bit == SASL_M_HT_ENDP)
		return td_str(s->cb_end_point, s->cb_end_point_len);
	return TD_STR("");
}

/* HMAC(token, <who> binding). */
static void
mac_of(const char *token, const char *who, struct td_str binding, unsigned char out[MAC_LEN])
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, who);
	td_buf_adds(&b, binding);
	if (!xmpp_hmac(EVP_sha256(), token, XMPP_TOKEN_LEN, td_buf_str(&b), out))
		td_random(out, MAC_LEN); /* nobody's */
	td_buf_fini(&b);
}

/* Is it made with this token?  Then the answer is ready, too. */
static bool
made_with(struct xmpp_sasl *s, const struct store_token *t)
{
	struct ht *h = s->state;
	struct td_str binding = binding_of(s);
	char token[XMPP_TOKEN_LEN + 1];
	unsigned char mac[MAC_LEN];
	bool same;

	xmpp_token_text(td_cstr(s->bare), s->token.agent, s->mech->name, t->seed, token);
	mac_of(token, "Initiator", binding, mac);
	same = CRYPTO_memcmp(mac, h->proof, MAC_LEN) == 0;
	if (same)
		mac_of(token, "Responder", binding, h->answer);
	td_wipe(token, sizeof(token));
	td_wipe(mac, sizeof(mac));
	return same;
}

/* ---- the store ---- */

static struct ht_call *
call_new(struct xmpp_sasl *s, enum ht_stage stage)
{
	struct ht *h = s->state;

	h->call = td_zalloc(sizeof(*h->call));
	h->call->s = s;
	h->stage = stage;
	s->phase = SASL_P_FETCHING;
	return h->call;
}

/* The exchange a call came back to; NULL: it was freed. */
static struct xmpp_sasl *
call_end(void *arg, int rc)
{
	struct ht_call *call = arg;
	struct xmpp_sasl *s = call->s;
	struct ht *h;

	free(call);
	if (s == NULL)
		return NULL;
	h = s->state;
	h->call = NULL;
	h->rc = rc;
	s->phase = SASL_P_FETCHED;
	return s;
}

static void
on_tokens(void *arg, const struct store_result *r, const struct store_token *t, size_t n)
{
	struct xmpp_sasl *s = call_end(arg, r->rc);
	struct ht *h;

	if (s == NULL)
		return;
	h = s->state;
	for (size_t i = 0; i < n && i < 2; i++) {
		size_t len = t[i].mech.len < sizeof(h->names[i]) ? t[i].mech.len : 0;

		h->tokens[i] = t[i];
		memcpy(h->names[i], t[i].mech.p, len);
		h->tokens[i].mech = td_str(h->names[i], len);
		h->n = i + 1;
	}
	s->wake(s->wake_arg); /* s may be gone from here on */
}

static void
on_used(void *arg, const struct store_result *r)
{
	struct xmpp_sasl *s = call_end(arg, r->rc);

	if (s != NULL)
		s->wake(s->wake_arg); /* s may be gone from here on */
}

/* ---- the exchange ---- */

static enum xmpp_sasl_step
succeed(const struct ht *h, struct td_buf *out)
{
	td_buf_add(out, h->answer, sizeof(h->answer));
	return SASL_SUCCESS;
}

static enum xmpp_sasl_step
judge(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct ht *h = s->state;
	const struct store_token *t = NULL;
	enum xmpp_sasl_step step;

	for (size_t i = 0; i < h->n; i++)
		if (td_str_eqc(h->tokens[i].mech, s->mech->name) && made_with(s, &h->tokens[i]) &&
		    t == NULL)
			t = &h->tokens[i];
	step = sasl_verdict(s, t != NULL, error);
	if (step != SASL_SUCCESS || t == NULL)
		return step;
	if (t->expires * 1000 <= td_wall_ms())
		return sasl_fail(error, SASL_CREDENTIALS_EXPIRED);
	if (s->token.count >= 0 && (uint64_t)s->token.count <= t->count)
		return sasl_fail(error, SASL_NOT_AUTHORIZED); /* a replay */
	h->match = t;
	s->token.created = t->created;
	s->token.expires = t->expires;
	if (t->slot == 0 && s->token.count < 0 && !s->token.forget)
		return succeed(h, out); /* nothing changes by it */
	store_token_use(s->token.store, td_cstr(s->bare), td_cstr(s->token.agent), t,
			s->token.count, s->token.forget,
			(struct store_to){ s->loop, on_used, call_new(s, HT_USE) });
	return SASL_WAIT;
}

static enum xmpp_sasl_step
ht_resume(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct ht *h = s->state;

	switch (h->stage) {
	case HT_CREDENTIALS:
		if (s->user == NULL)
			break;
		store_token_get(s->token.store, td_cstr(s->bare), td_cstr(s->token.agent), s->loop,
				on_tokens, call_new(s, HT_TOKENS));
		return SASL_WAIT;
	case HT_TOKENS:
		return h->rc < 0 ? sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE)
				 : judge(s, out, error);
	case HT_USE:
		if (h->rc == TD_E_NOTFOUND) /* somebody was faster: a replay, or it was revoked */
			break;
		return h->rc < 0 ? sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE) : succeed(h, out);
	}
	return sasl_fail(error, SASL_NOT_AUTHORIZED);
}

/* authcid NUL proof */
static enum xmpp_sasl_step
ht_step(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct ht *h = s->state;
	ptrdiff_t nul = td_str_chr(in, '\0');

	if (nul <= 0 || in.len - (size_t)nul - 1 != MAC_LEN || s->token.agent == NULL ||
	    s->token.store == NULL || !td_utf8_valid(td_str(in.p, (size_t)nul)))
		return sasl_fail(error, SASL_MALFORMED_REQUEST);
	if (s->mech->bit != SASL_M_HT_NONE && binding_of(s).len == 0)
		return sasl_fail(error, SASL_NOT_AUTHORIZED);
	memcpy(h->proof, in.p + nul + 1, MAC_LEN);
	return sasl_lookup(s, td_str(in.p, (size_t)nul), TD_STR_NULL, out, error);
}

static void
ht_fini(struct xmpp_sasl *s)
{
	struct ht *h = s->state;

	if (h->call != NULL)
		h->call->s = NULL;
}

#define HT(symbol, text, b)                \
	const struct sasl_mech symbol = {  \
		.name = (text),            \
		.bit = (b),                \
		.size = sizeof(struct ht), \
		.client_first = true,      \
		.step = ht_step,           \
		.resume = ht_resume,       \
		.fini = ht_fini,           \
	}

HT(sasl_ht_none, "HT-SHA-256-NONE", SASL_M_HT_NONE);
HT(sasl_ht_endp, "HT-SHA-256-ENDP", SASL_M_HT_ENDP);
HT(sasl_ht_expr, "HT-SHA-256-EXPR", SASL_M_HT_EXPR);
