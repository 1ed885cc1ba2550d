/* sasl - one exchange from <auth/> to <success/>: decode, hand to the mechanism, encode.
 *
 * Main path: xmpp_sasl_step -> mech->step -> sasl_lookup -> (the source answers at once, or
 * SASL_WAIT, wake, xmpp_sasl_resume) -> mech->resume -> ... -> sasl_verdict.
 *
 * The surprising thing: whatever is asked about an unknown account runs to the end against a
 * verifier made up for it, so only the last answer is a refusal, the same as for a wrong
 * password. */
#include "xmpp/sasl.h"

#include <stdlib.h>
#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/jid.h"
#include "xmpp/jid_priv.h"
#include "xmpp/sasl_priv.h"

struct sasl_fetch {
	struct xmpp_sasl *s; /* NULL: nobody waits any more */
	bool in_lookup;      /* the call is still on the stack; it frees this */
	bool answered;
};

/* Written by xmpp_sasl_init before any other thread is there, then only read. */
static Gsasl *gsasl_ctx;
static unsigned char server_secret[32];

/* Strongest first. */
static const struct {
	const char *name;
	unsigned bit;
	const struct sasl_mech *mech;
} mechanisms[] = {
	{ "EXTERNAL", SASL_M_EXTERNAL, &sasl_external },
	{ "SCRAM-SHA-256-PLUS", SASL_M_SCRAM_SHA256_PLUS, &sasl_scram_sha256_plus },
	{ "SCRAM-SHA-1-PLUS", SASL_M_SCRAM_SHA1_PLUS, &sasl_scram_sha1_plus },
	{ "SCRAM-SHA-256", SASL_M_SCRAM_SHA256, &sasl_scram_sha256 },
	{ "SCRAM-SHA-1", SASL_M_SCRAM_SHA1, &sasl_scram_sha1 },
	{ "PLAIN", SASL_M_PLAIN, &sasl_plain },
	{ "DIGEST-MD5", SASL_M_DIGEST_MD5, &sasl_digest_md5 },
	{ "ANONYMOUS", SASL_M_ANONYMOUS, &sasl_anonymous },
	{ "HT-SHA-256-EXPR", SASL_M_HT_EXPR, &sasl_ht_expr },
	{ "HT-SHA-256-ENDP", SASL_M_HT_ENDP, &sasl_ht_endp },
	{ "HT-SHA-256-NONE", SASL_M_HT_NONE, &sasl_ht_none },
};
#define N_MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

const char *
xmpp_sasl_error_name(enum xmpp_sasl_error e)
{
	static const char *const names[SASL_ERROR_COUNT] = {
		[SASL_ABORTED] = "aborted",
		[SASL_ACCOUNT_DISABLED] = "account-disabled",
		[SASL_CREDENTIALS_EXPIRED] = "credentials-expired",
		[SASL_ENCRYPTION_REQUIRED] = "encryption-required",
		[SASL_INCORRECT_ENCODING] = "incorrect-encoding",
		[SASL_INVALID_AUTHZID] = "invalid-authzid",
		[SASL_INVALID_MECHANISM] = "invalid-mechanism",
		[SASL_MALFORMED_REQUEST] = "malformed-request",
		[SASL_MECHANISM_TOO_WEAK] = "mechanism-too-weak",
		[SASL_NOT_AUTHORIZED] = "not-authorized",
		[SASL_TEMPORARY_AUTH_FAILURE] = "temporary-auth-failure",
	};

	return (unsigned)e < SASL_ERROR_COUNT ? names[e] : "not-authorized";
}

size_t
xmpp_sasl_names(unsigned set, const char *out[XMPP_SASL_NAMES])
{
	size_t n = 0;

	_Static_assert(N_MECHANISMS == XMPP_SASL_NAMES, "the caller has room for all");
	for (size_t i = 0; i < N_MECHANISMS; i++) {
		if ((set & mechanisms[i].bit) != 0)
			out[n++] = mechanisms[i].name;
	}
	return n;
}

unsigned
xmpp_sasl_bit(struct td_str name)
{
	for (size_t i = 0; i < N_MECHANISMS; i++) {
		if (td_str_eqc(name, mechanisms[i].name))
			return mechanisms[i].bit;
	}
	return 0;
}

/* ---- process-wide ---- */

int
xmpp_sasl_init(struct td_str secret, struct td_err *err)
{
	unsigned len = sizeof(server_secret);
	int rc;

	if (secret.len == 0)
		td_random(server_secret, sizeof(server_secret));
	else if (EVP_Digest(secret.p, secret.len, server_secret, &len, EVP_sha256(), NULL) != 1)
		return td_fail(err, TD_E_IO, "SHA-256 is not available");
	if (gsasl_ctx != NULL)
		return 0;
	rc = gsasl_init(&gsasl_ctx);
	if (rc != GSASL_OK) {
		gsasl_ctx = NULL;
		return td_fail(err, TD_E_IO, "GNU SASL: %s", gsasl_strerror(rc));
	}
	return 0;
}

void
xmpp_sasl_fini(void)
{
	if (gsasl_ctx != NULL)
		gsasl_done(gsasl_ctx);
	gsasl_ctx = NULL;
	td_wipe(server_secret, sizeof(server_secret));
}

void
xmpp_secret_mac(struct td_str text, unsigned char out[32])
{
	struct td_buf b = { 0 };
	unsigned len = 32;

	/* the salts of unknown names are made with the same secret, and anyone may ask for those;
	 * but no name has a NUL */
	td_buf_addc(&b, '\0');
	td_buf_adds(&b, text);
	(void)HMAC(EVP_sha256(), server_secret, sizeof(server_secret), (unsigned char *)b.p, b.len,
		   out, &len);
	td_buf_fini(&b);
}

struct Gsasl *
sasl_gsasl(void)
{
	return gsasl_ctx;
}

/* ---- secrets ---- */

void
sasl_stable_salt(const EVP_MD *md, struct td_str name, unsigned char out[CRED_SALT_LEN])
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	struct td_buf msg = { 0 };
	unsigned len;

	td_buf_addf(&msg, "salt %s ", EVP_MD_get0_name(md));
	td_buf_adds(&msg, name);
	if (HMAC(EVP_sha256(), server_secret, sizeof(server_secret), (unsigned char *)msg.p,
		 msg.len, mac, &len) == NULL)
		td_random(mac, sizeof(mac));
	memcpy(out, mac, CRED_SALT_LEN);
	td_buf_fini(&msg);
}

void
sasl_scram_pick(const struct xmpp_sasl *s, const EVP_MD *md, struct store_scram *out)
{
	const struct store_scram *k = md == EVP_sha1() ? &s->cred.sha1 : &s->cred.sha256;

	if (k->key_len == (size_t)EVP_MD_get_size(md)) {
		*out = *k;
		return;
	}
	*out = (struct store_scram){ .salt_len = CRED_SALT_LEN };
	out->iterations = s->hints.iterations > 0 ? s->hints.iterations : CRED_ITERATIONS;
	out->key_len = (size_t)EVP_MD_get_size(md);
	sasl_stable_salt(md, td_cstr(s->bare != NULL ? s->bare : s->name), out->salt);
	td_random(out->stored_key, out->key_len);
	td_random(out->server_key, out->key_len);
}

/* ---- who ---- */

enum xmpp_sasl_step
sasl_fail(enum xmpp_sasl_error *error, enum xmpp_sasl_error e)
{
	*error = e;
	return SASL_FAILURE;
}

static void
on_credentials(void *arg, int rc, const struct xmpp_credentials *cred)
{
	struct sasl_fetch *f = arg;
	struct xmpp_sasl *s = f->s;

	if (s != NULL) {
		s->fetch_rc = rc;
		if (rc == 0)
			xmpp_credentials_copy(cred, &s->cred);
	}
	f->answered = true;
	if (f->in_lookup)
		return;
	free(f);
	if (s == NULL)
		return; /* the exchange was freed */
	s->fetch = NULL;
	if (s->phase != SASL_P_FETCHING)
		return; /* it failed while waiting */
	s->phase = SASL_P_FETCHED;
	s->wake(s->wake_arg); /* s may be gone from here on */
}

/* Credentials are there, or the source failed. */
static enum xmpp_sasl_step
go_on(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	if (s->fetch_rc < 0)
		return sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE);
	return s->mech->resume(s, out, error);
}

static void
prepare_name(struct xmpp_sasl *s, struct td_str name)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_jid jid;

	if (xmpp_jid_make(a, name, td_cstr(s->domain), TD_STR_NULL, &jid, NULL) == 0) {
		s->user = td_strndup(jid.local);
		s->bare = td_strndup(jid.bare);
	}
	td_arena_free(a);
}

enum xmpp_sasl_step
sasl_lookup(struct xmpp_sasl *s, struct td_str name, struct td_str authzid, struct td_buf *out,
	    enum xmpp_sasl_error *error)
{
	struct sasl_fetch *f;

	s->name = td_strndup(name);
	s->authzid = authzid.len > 0 ? td_strndup(authzid) : NULL;
	prepare_name(s, name);
	xmpp_cred_get_hints(s->source, td_cstr(s->domain), &s->hints);
	if (s->user == NULL) /* no address, so nobody's; go on as with any unknown name */
		return go_on(s, out, error);
	f = td_zalloc(sizeof(*f));
	f->s = s;
	f->in_lookup = true;
	xmpp_cred_fetch(s->source, td_cstr(s->bare), s->loop, on_credentials, f);
	f->in_lookup = false;
	if (f->answered) {
		free(f);
		return go_on(s, out, error);
	}
	s->fetch = f;
	s->phase = SASL_P_FETCHING;
	return SASL_WAIT;
}

bool
sasl_assume(struct xmpp_sasl *s, struct td_str name)
{
	prepare_name(s, name);
	return s->user != NULL;
}

/* RFC 6120 6.3.8: the authorization identity is a bare JID; nobody acts for others here. */
static bool
may_act(const struct xmpp_sasl *s)
{
	struct td_arena *a;
	struct xmpp_jid jid;
	bool ok;

	if (s->authzid == NULL)
		return true;
	a = td_arena_new(0);
	ok = xmpp_jid_parse(a, td_cstr(s->authzid), &jid, NULL) == 0 &&
	     td_str_eqc(jid.full, s->bare);
	td_arena_free(a);
	return ok;
}

enum xmpp_sasl_step
sasl_verdict(struct xmpp_sasl *s, bool proved, enum xmpp_sasl_error *error)
{
	/* In this order: nothing is told about an account before its password was right. */
	if (!proved || !s->cred.found || s->user == NULL)
		return sasl_fail(error, SASL_NOT_AUTHORIZED);
	if (s->cred.disabled)
		return sasl_fail(error, SASL_ACCOUNT_DISABLED);
	if (!may_act(s))
		return sasl_fail(error, SASL_INVALID_AUTHZID);
	return SASL_SUCCESS;
}

/* ---- one exchange ---- */

static char *
dup_bytes(struct td_str s, size_t *len_out)
{
	*len_out = s.len;
	return s.len > 0 ? td_strndup(s) : NULL;
}

struct xmpp_sasl * /* NOLINTNEXTLINE(readability-function-size): all of it is needed */
xmpp_sasl_start(struct td_str mechanism, unsigned offered, struct td_str domain,
		const struct xmpp_cb_data *cb, struct xmpp_cred_source *source,
		struct td_loop *loop, xmpp_sasl_wake *wake, void *wake_arg,
		enum xmpp_sasl_error *error)
{
	const struct sasl_mech *mech = NULL;
	struct xmpp_sasl *s;

	for (size_t i = 0; i < N_MECHANISMS; i++) {
		if (td_str_eqc(mechanism, mechanisms[i].name) && (offered & mechanisms[i].bit) != 0)
			mech = mechanisms[i].mech;
	}
	if (mech == NULL) {
		*error = SASL_INVALID_MECHANISM;
		return NULL;
	}
	if (gsasl_ctx == NULL) {
		*error = SASL_TEMPORARY_AUTH_FAILURE;
		return NULL;
	}
	s = td_zalloc(sizeof(*s));
	s->mech = mech;
	s->offered = offered;
	s->source = source != NULL ? xmpp_cred_source_ref(source) : NULL;
	s->loop = loop;
	s->wake = wake;
	s->wake_arg = wake_arg;
	s->domain = td_strndup(domain);
	s->token.count = -1;
	if (cb != NULL) {
		s->cb_exporter = dup_bytes(cb->tls_exporter, &s->cb_exporter_len);
		s->cb_end_point = dup_bytes(cb->tls_server_end_point, &s->cb_end_point_len);
		s->cb_unique = dup_bytes(cb->tls_unique, &s->cb_unique_len);
	}
	s->state = td_zalloc(mech->size);
	return s;
}

void
xmpp_sasl_announced(struct xmpp_sasl *s, unsigned bindings)
{
	s->announced = true;
	s->bindings = bindings;
}

void
xmpp_sasl_free(struct xmpp_sasl *s)
{
	if (s == NULL)
		return;
	s->mech->fini(s);
	td_wipe(s->state, s->mech->size);
	free(s->state);
	if (s->fetch != NULL)
		s->fetch->s = NULL; /* on_credentials frees it */
	xmpp_credentials_fini(&s->cred);
	if (s->source != NULL)
		xmpp_cred_source_unref(&s->source);
	free(s->domain);
	free(s->cb_exporter);
	free(s->cb_end_point);
	free(s->cb_unique);
	free(s->name);
	free(s->user);
	free(s->bare);
	free(s->authzid);
	free(s);
}

/* Encode what the mechanism said and end the exchange if that is its end. */
static enum xmpp_sasl_step
answer(struct xmpp_sasl *s, enum xmpp_sasl_step step, struct td_buf *raw, struct td_buf *out)
{
	if (step == SASL_FAILURE || step == SASL_SUCCESS)
		s->phase = SASL_P_DONE;
	else if (step == SASL_CONTINUE)
		s->phase = SASL_P_RUNNING;
	if ((step == SASL_CONTINUE || step == SASL_SUCCESS) && raw->len > 0)
		td_buf_add_base64(out, raw->p, raw->len);
	td_buf_fini(raw);
	return step;
}

enum xmpp_sasl_step
xmpp_sasl_step(struct xmpp_sasl *s, struct td_str in_b64, struct td_buf *out,
	       enum xmpp_sasl_error *error)
{
	struct td_buf in = { 0 }, raw = { 0 };
	enum xmpp_sasl_step step = SASL_CONTINUE;
	bool first = s->phase == SASL_P_FIRST;

	/* RFC 6120 6.4.2: nothing is no initial response, "=" is an empty one. */
	bool none = first && in_b64.len == 0;

	if ((!first && s->phase != SASL_P_RUNNING) || in_b64.len > SASL_MESSAGE_MAX ||
	    (first && !none && !s->mech->client_first))
		return answer(s, sasl_fail(error, SASL_MALFORMED_REQUEST), &raw, out);
	if (!td_str_eqc(in_b64, "=")) {
		td_buf_reserve(&in, in_b64.len + 1); /* one piece: it is wiped below */
		if (in_b64.len > 0 && td_base64_decode(in_b64, &in) < 0)
			step = sasl_fail(error, SASL_INCORRECT_ENCODING);
	}
	/* Without an initial response a client-first mechanism gets an empty challenge. */
	if (step == SASL_CONTINUE && !(none && s->mech->client_first))
		step = s->mech->step(s, td_buf_str(&in), &raw, error);
	td_wipe(in.p, in.cap);
	td_buf_fini(&in);
	return answer(s, step, &raw, out);
}

enum xmpp_sasl_step
xmpp_sasl_resume(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct td_buf raw = { 0 };

	if (s->phase == SASL_P_FETCHING)
		return SASL_WAIT;
	if (s->phase != SASL_P_FETCHED)
		return answer(s, sasl_fail(error, SASL_MALFORMED_REQUEST), &raw, out);
	return answer(s, go_on(s, &raw, error), &raw, out);
}

const char *
xmpp_sasl_bare(const struct xmpp_sasl *s)
{
	return s->bare;
}

struct td_str
xmpp_sasl_user(const struct xmpp_sasl *s)
{
	return td_cstr(s->user);
}

struct td_str
xmpp_sasl_authzid(const struct xmpp_sasl *s)
{
	/* sasl_verdict let it pass: then it is the account's own address */
	return s->authzid != NULL ? td_cstr(s->bare) : TD_STR("");
}

struct xmpp_sasl_token *
xmpp_sasl_token(struct xmpp_sasl *s)
{
	return &s->token;
}

unsigned
xmpp_sasl_mechanism_bit(const struct xmpp_sasl *s)
{
	return s->mech->bit;
}

unsigned
xmpp_sasl_lacks(const struct xmpp_sasl *s)
{
	return xmpp_cred_source_is_store(s->source) && s->cred.found && s->cred.sha256.key_len == 0
		       ? SASL_M_SCRAM_SHA256
		       : 0;
}

const char *
xmpp_sasl_mechanism(const struct xmpp_sasl *s)
{
	return s->mech->name;
}
