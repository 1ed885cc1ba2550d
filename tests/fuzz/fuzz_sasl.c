/* fuzz_sasl - whole exchanges.  The first byte picks the mechanism, the second how the source
 * behaves; the rest is client messages, one a line.  A line starting with '!' goes as it is,
 * others are base64-encoded first.  SCRAM nonces end in NONCE, so a seed can succeed. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/err.h"
#include "xmpp/sasl_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LATE 0x01    /* answer after the step */
#define NEVER 0x02   /* answer after the exchange was freed */
#define FAILING 0x04 /* temporary failure */
#define DISABLED 0x08
#define HA1 0x10 /* digest only */
#define NO_CB 0x20

static const struct xmpp_cb_data binding = { TD_STR("exporter"), TD_STR("end point"), TD_STR_NULL };
static struct xmpp_credentials ann;

static struct {
	unsigned mode;
	xmpp_cred_cb *cb;
	void *arg;
	int woken;
} now;

static void
answer(void)
{
	struct xmpp_credentials none = { 0 };
	xmpp_cred_cb *cb = now.cb;

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
		answer();
}

static void
hints(struct xmpp_cred_source *s, struct xmpp_cred_hints *h)
{
	(void)s;
	h->iterations = (now.mode & HA1) != 0 ? 0 : 1;
}

static const struct xmpp_cred_ops ops = { .scheme = "fuzz", .fetch = fetch, .hints = hints };
static struct xmpp_cred_source source = { .ops = &ops, .refs = 1 };

static void
must(bool ok)
{
	if (!ok)
		abort();
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const mechs[] = { "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
					     "SCRAM-SHA-1",   "SCRAM-SHA-1-PLUS",
					     "PLAIN",         "DIGEST-MD5" };
	enum xmpp_sasl_error error = SASL_ERROR_COUNT;
	enum xmpp_sasl_step step = SASL_CONTINUE;
	struct td_buf out = { 0 }, plain = { 0 };
	struct td_str rest;
	struct xmpp_sasl *s;

	if (size < 2)
		return 0;
	set_up();
	now.mode = data[1];
	now.cb = NULL;
	now.woken = 0;
	s = xmpp_sasl_start(td_cstr(mechs[data[0] % 6]), 0x3F, TD_STR("example.org"),
			    (now.mode & NO_CB) != 0 ? NULL : &binding, &source, NULL, wake, NULL,
			    &error);
	must(s != NULL);
	s->nonce = "NONCE";
	rest = td_str((const char *)data + 2, size - 2);
	while (rest.p != NULL) {
		ptrdiff_t nl = td_str_chr(rest, '\n');
		struct td_str line = td_str(rest.p, nl < 0 ? rest.len : (size_t)nl);

		rest = nl < 0 ? TD_STR_NULL : td_str(rest.p + nl + 1, rest.len - (size_t)nl - 1);
		td_buf_clear(&out);
		td_buf_clear(&plain);
		step = send_line(s, line, &out, &error);
		must(step != SASL_WAIT || now.cb != NULL);
		if (step == SASL_WAIT && (now.mode & LATE) != 0) {
			answer();
			must(now.woken == 1);
			step = xmpp_sasl_resume(s, &out, &error);
		}
		must(td_base64_decode(td_buf_str(&out), &plain) == 0);
		if (step == SASL_SUCCESS)
			must(td_str_eqc(xmpp_sasl_user(s), "ann") &&
			     (now.mode & (DISABLED | FAILING)) == 0);
		if (step == SASL_FAILURE)
			must(error < SASL_ERROR_COUNT && out.len == 0);
	}
	xmpp_sasl_free(s);
	if (now.cb != NULL)
		answer();
	must(source.refs == 1);
	td_buf_fini(&out);
	td_buf_fini(&plain);
	return 0;
}
