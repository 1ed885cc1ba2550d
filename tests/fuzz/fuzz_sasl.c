/* fuzz_sasl - whole exchanges.  The low half of the first byte picks the mechanism, the high half is for that mechanism
 * (below), the second says how the source and the store behave; the rest is client messages, one a line.  A line
 * starting with '!' goes as it is, others are base64-encoded first.  SCRAM nonces end in NONCE and tokens are made from
 * one seed, so a seed can succeed.  The store of tokens is ours: no thread, no file. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/err.h"
#include "store/signin.h"
#include "xmpp/sasl_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LATE 0x01    /* answer after the step */
#define NEVER 0x02   /* answer after the exchange was freed */
#define FAILING 0x04 /* temporary failure */
#define DISABLED 0x08
#define HA1 0x10 /* digest; a token: no client is named */
#define NO_CB 0x20
#define STORE_FAILS 0x40
#define STORE_NONE 0x80       /* no token; at its use: it is gone.  With FAILS: never an answer */
#define AT_USE (LATE | NEVER) /* ... not when tokens are read, but when one is used */

/* the high half of the first byte: a token's */
#define NEW 0x10   /* not used yet; it has seen 7, else 5 */
#define COUNT 0x20 /* comes with the count 6 */
#define FORGET 0x40
#define EXPIRED 0x80
/* EXTERNAL: how many addresses the certificate has; SCRAM: */
#define ANNOUNCED 0x10
#define BINDINGS(b) ((unsigned)(b) >> 5 & 3u)

static const char *const mechs[] = {
	"SCRAM-SHA-256",   "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1",     "SCRAM-SHA-1-PLUS",
	"PLAIN",           "DIGEST-MD5",         "HT-SHA-256-NONE", "HT-SHA-256-ENDP",
	"HT-SHA-256-EXPR", "ANONYMOUS",          "EXTERNAL",
};
_Static_assert(sizeof(mechs) / sizeof(mechs[0]) == XMPP_SASL_NAMES, "every mechanism");
#define ALL ((1u << XMPP_SASL_NAMES) - 1)

static const struct xmpp_cb_data binding = { TD_STR("exporter"), TD_STR("end point"), TD_STR_NULL };
static struct xmpp_credentials ann;

static struct {
	unsigned mode, own; /* second byte; high half of the first */
	const char *mech;
	/* what is waited for: one of them */
	xmpp_cred_cb *cb;
	store_tokens_cb *tokens;
	void (*used)(void *, const struct store_result *);
	void *arg;
	int woken;
} now;

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- credentials ---- */

static void
answer_credentials(xmpp_cred_cb *cb)
{
	struct xmpp_credentials none = { 0 };

	now.cb = NULL;
	ann.disabled = (now.mode & DISABLED) != 0;
	if ((now.mode & FAILING) != 0)
		cb(now.arg, TD_E_IO, &none);
	else
		cb(now.arg, 0, &ann);
}

static void
fetch(struct xmpp_cred_source *s, struct td_str jid, struct td_loop *loop, xmpp_cred_cb *cb,
      void *arg)
{
	struct xmpp_credentials none = { 0 };

	(void)s;
	(void)loop;
	if (!td_str_eqc(jid, "ann@example.org")) {
		cb(arg, 0, &none);
		return;
	}
	now.cb = cb;
	now.arg = arg;
	if ((now.mode & (LATE | NEVER)) == 0)
		answer_credentials(cb);
}

static void
hints(struct xmpp_cred_source *s, struct xmpp_cred_hints *h)
{
	(void)s;
	h->iterations = (now.mode & HA1) != 0 ? 0 : 1;
}

static const struct xmpp_cred_ops ops = { .scheme = "fuzz", .fetch = fetch, .hints = hints };
static struct xmpp_cred_source source = { .ops = &ops, .refs = 1 };

/* ---- tokens ---- */

#define SEED "0123456789abcdef"

void
store_token_get(struct store *st, struct td_str jid, struct td_str agent, struct td_loop *loop,
		store_tokens_cb *cb, void *arg)
{
	(void)st;
	(void)loop;
	must(td_str_ends(jid, "@example.org") && td_str_eqc(agent, "agent"));
	now.tokens = cb;
	now.arg = arg;
}

void
store_token_use(struct store *st, struct td_str jid, struct td_str agent,
		const struct store_token *t, int64_t count, bool forget, struct store_to to)
{
	(void)st;
	must(td_str_eqc(jid, "ann@example.org") && td_str_eqc(agent, "agent"));
	must(memcmp(t->seed, SEED, STORE_SEED_LEN) == 0 && td_str_eqc(t->mech, now.mech));
	must(count == ((now.own & COUNT) ? 6 : -1) && forget == ((now.own & FORGET) != 0));
	now.used = to.cb;
	now.arg = to.arg;
}

/* What the store does to the call that is waited for. */
static unsigned
trouble(bool use)
{
	return ((now.mode & AT_USE) == AT_USE) == use ? now.mode & (STORE_FAILS | STORE_NONE) : 0;
}

static void
answer_tokens(store_tokens_cb *cb)
{
	struct store_result r = { .rc = (trouble(false) & STORE_FAILS) ? TD_E_IO : 0 };
	struct store_token t[2] = {
		{ .mech = TD_STR("HT-SHA-512-EXPR-OF-A-LONG-NAME"), .expires = 1 },
		{ .slot = (now.own & NEW) != 0,
		  .mech = td_cstr(now.mech),
		  .expires = (now.own & EXPIRED) ? 1 : UINT32_MAX * UINT64_C(10),
		  .count = (now.own & NEW) ? 7 : 5 },
	};

	memcpy(t[1].seed, SEED, STORE_SEED_LEN);
	now.tokens = NULL;
	cb(now.arg, &r, t, r.rc < 0 || (trouble(false) & STORE_NONE) ? 0 : 2);
}

static void
answer_used(void (*cb)(void *, const struct store_result *))
{
	struct store_result r = { .rc = (trouble(true) & STORE_NONE)    ? TD_E_NOTFOUND
					: (trouble(true) & STORE_FAILS) ? TD_E_IO
									: 0 };

	now.used = NULL;
	cb(now.arg, &r);
}

/* ---- the exchange ---- */

static bool
pending(void)
{
	return now.cb != NULL || now.tokens != NULL || now.used != NULL;
}

static void
answer(void)
{
	if (now.cb != NULL)
		answer_credentials(now.cb);
	else if (now.tokens != NULL)
		answer_tokens(now.tokens);
	else if (now.used != NULL)
		answer_used(now.used);
}

/* Before the exchange is freed? */
static bool
in_time(void)
{
	if (now.cb != NULL)
		return (now.mode & LATE) != 0;
	return trouble(now.used != NULL) != (STORE_FAILS | STORE_NONE);
}

static void
set_up(void)
{
	static const unsigned char salt[] = "salt";

	if (ann.found)
		return;
	must(xmpp_sasl_init(TD_STR("fuzz"), NULL) == 0);
	ann.found = true;
	ann.sha256.iterations = ann.sha1.iterations = 1;
	ann.sha256.salt_len = ann.sha1.salt_len = 4;
	memcpy(ann.sha1.salt, salt, 4);
	memcpy(ann.sha256.salt, salt, 4);
	must(sasl_scram_keys(EVP_sha1(), "pencil", &ann.sha1) == 0);
	must(sasl_scram_keys(EVP_sha256(), "pencil", &ann.sha256) == 0);
	ann.digest_ha1 = td_strdup("fc23d9660db3b751ce8cb5fe48777a2c");
}

static void
wake(void *arg)
{
	(void)arg;
	now.woken++;
}

static enum xmpp_sasl_step
send_line(struct xmpp_sasl *s, struct td_str line, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct td_buf b64 = { 0 };
	enum xmpp_sasl_step step;

	if (line.len > 0 && line.p[0] == '!') {
		line = td_str(line.p + 1, line.len - 1);
	} else {
		td_buf_add_base64(&b64, line.p, line.len);
		line = td_buf_str(&b64);
	}
	step = xmpp_sasl_step(s, line, out, error);
	td_buf_fini(&b64);
	return step;
}

static struct xmpp_sasl *
start(void)
{
	static const struct td_str ids[] = { TD_STR("ann@example.org"), TD_STR("bob@example.org"),
					     TD_STR("carl@example.org") };
	enum xmpp_sasl_error error = SASL_ERROR_COUNT;
	struct xmpp_sasl *s = xmpp_sasl_start(td_cstr(now.mech), ALL, TD_STR("example.org"),
					      (now.mode & NO_CB) != 0 ? NULL : &binding, &source,
					      NULL, wake, NULL, &error);
	struct xmpp_sasl_token *t;

	must(s != NULL && xmpp_sasl_bit(td_cstr(now.mech)) == xmpp_sasl_mechanism_bit(s));
	s->nonce = "NONCE";
	if ((s->mech->bit & SASL_M_HT) != 0) {
		t = xmpp_sasl_token(s);
		t->store = (struct store *)(void *)&now; /* only handed through */
		t->agent = (now.mode & HA1) ? NULL : "agent";
		t->count = (now.own & COUNT) ? 6 : -1;
		t->forget = (now.own & FORGET) != 0;
	} else if (s->mech->bit == SASL_M_EXTERNAL) {
		xmpp_sasl_certificate(s, ids, (now.own >> 4) % 4);
	} else if ((now.own & ANNOUNCED) != 0) {
		xmpp_sasl_announced(s, BINDINGS(now.own));
	}
	return s;
}

static void
check(struct xmpp_sasl *s, enum xmpp_sasl_step step, struct td_str out, enum xmpp_sasl_error error)
{
	struct td_buf plain = { 0 };

	must(step != SASL_WAIT || pending());
	must(td_base64_decode(out, &plain) == 0);
	td_buf_fini(&plain);
	if (step == SASL_FAILURE)
		must(error < SASL_ERROR_COUNT && out.len == 0);
	if (step != SASL_SUCCESS)
		return;
	if (s->mech->bit == SASL_M_ANONYMOUS) {
		must(xmpp_sasl_user(s).len == 36);
		return;
	}
	must(td_str_eqc(xmpp_sasl_user(s), "ann") && (now.mode & (DISABLED | FAILING)) == 0);
	if ((s->mech->bit & SASL_M_HT) != 0)
		must((now.own & EXPIRED) == 0 && (now.own & (NEW | COUNT)) != (NEW | COUNT) &&
		     trouble((now.own & (NEW | COUNT | FORGET)) != 0 &&
			     (now.mode & AT_USE) == AT_USE) == 0);
	if (s->mech->bit == SASL_M_EXTERNAL)
		must((now.own >> 4) % 4 != 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum xmpp_sasl_error error = SASL_ERROR_COUNT;
	enum xmpp_sasl_step step = SASL_CONTINUE;
	struct td_buf out = { 0 };
	struct td_str rest;
	struct xmpp_sasl *s;

	if (size < 2)
		return 0;
	set_up();
	memset(&now, 0, sizeof(now));
	now.mode = data[1];
	now.own = data[0] & 0xf0;
	now.mech = mechs[(data[0] & 0x0f) % XMPP_SASL_NAMES];
	s = start();
	rest = td_str((const char *)data + 2, size - 2);
	while (rest.p != NULL) {
		ptrdiff_t nl = td_str_chr(rest, '\n');
		struct td_str line = td_str(rest.p, nl < 0 ? rest.len : (size_t)nl);

		rest = nl < 0 ? TD_STR_NULL : td_str(rest.p + nl + 1, rest.len - (size_t)nl - 1);
		td_buf_clear(&out);
		step = send_line(s, line, &out, &error);
		while (step == SASL_WAIT && in_time()) {
			int before = now.woken;

			answer();
			must(now.woken == before + 1);
			step = xmpp_sasl_resume(s, &out, &error);
		}
		check(s, step, td_buf_str(&out), error);
	}
	xmpp_sasl_free(s);
	answer();
	must(source.refs == 1 && !pending());
	td_buf_fini(&out);
	return 0;
}
