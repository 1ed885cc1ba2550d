/* test_sasl - whole exchanges: the RFC vectors, GNU SASL's client, and a client that cheats. */
#include <check.h>
#include <fcntl.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "store/store.h"
#include "xmpp/sasl_priv.h"

#define RFC_SHA1 "4096$QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=$D+CSWLOshSulAsxiupA+qs2/fTE="
#define RFC_SHA256                                                                    \
	"4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$" \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define SASL_ALL 0x3Fu
#define SASL_NO_PLUS (SASL_ALL & ~(SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS))
#define D TD_STR("example.org")

static const char users[] =
	"ann:pencil\n"
	"user:{SCRAM-SHA-1}" RFC_SHA1 "\n"
	"user:{SCRAM-SHA-256}" RFC_SHA256 "\n"
	"one:{SCRAM-SHA-1}" RFC_SHA1 "\n"
	"cy:{CRYPT}$6$rounds=1000$saltsalt$bbY.T.ZpN43KapLdmlSbP6MmxBlkMSbhrh.Y1rmY0fYa"
	"RO/t.4sKqUiU.Z8byKf8Oa1yagMn/0fncuHSYrb9h.\n"
	"a=b,c:pencil\n"
	"j\xC3\xBCrgen:p\xC3\xA4ss wort\n";
static const char ha1s[] = "ann:Momentum:38f909993031eeb944a759790e61fae7\n";
static const struct xmpp_cb_data binding = { TD_STR("0123456789abcdef0123456789abcdef"),
					     TD_STR("\x01\x02hash of the certificate\xFF\x00"),
					     TD_STR_NULL };

static char dir[64];
static struct xmpp_cred_source *file, *digest;
static struct td_err err;
static enum xmpp_sasl_error error;

static struct xmpp_cred_source *
make_source(const char *scheme, const char *text)
{
	struct xmpp_cred_source *s;
	char path[96], uri[128];
	int fd, rc;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, scheme);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	(void)snprintf(uri, sizeof(uri), "%s://%s", scheme, path);
	rc = xmpp_cred_source_open(uri, NULL, &s, &err);
	ck_assert_msg(rc == 0, "%s", err.text);
	return s;
}

static void
setup(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/tandem-sasl-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(td_log_open("/dev/null", &err), 0);
	ck_assert_int_eq(xmpp_sasl_init(TD_STR("secret"), &err), 0);
	file = make_source("file", users);
	digest = make_source("digest", ha1s);
	error = SASL_ERROR_COUNT;
}

static void
teardown(void)
{
	char path[96];

	xmpp_cred_source_unref(&file);
	xmpp_cred_source_unref(&digest);
	xmpp_sasl_fini();
	(void)snprintf(path, sizeof(path), "%s/file", dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/digest", dir);
	(void)unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- plumbing ---- */

static void
no_wake(void *arg)
{
	(void)arg;
	ck_abort_msg("woken though nothing waited");
}

static struct xmpp_sasl *
start_with(struct xmpp_cred_source *src, const char *mech, unsigned offered)
{
	struct xmpp_sasl *s = xmpp_sasl_start(td_cstr(mech), offered, D, &binding, src, NULL,
					      no_wake, NULL, &error);

	ck_assert_ptr_nonnull(s);
	ck_assert_str_eq(xmpp_sasl_mechanism(s), mech);
	return s;
}

static struct xmpp_sasl *
start(const char *mech)
{
	return start_with(file, mech, SASL_ALL);
}

/* Send <in> (raw) and decode what comes back into <out>. */
static enum xmpp_sasl_step
send_raw(struct xmpp_sasl *s, struct td_str in, struct td_buf *out)
{
	struct td_buf b64 = { 0 }, raw = { 0 };
	enum xmpp_sasl_step step;

	td_buf_add_base64(&b64, in.p, in.len);
	if (in.len == 0)
		td_buf_addc(&b64, '=');
	step = xmpp_sasl_step(s, td_buf_str(&b64), &raw, &error);
	td_buf_clear(out);
	ck_assert_int_eq(td_base64_decode(td_buf_str(&raw), out), 0);
	td_buf_cstr(out);
	td_buf_fini(&b64);
	td_buf_fini(&raw);
	return step;
}

static enum xmpp_sasl_step
send_text(struct xmpp_sasl *s, const char *in, struct td_buf *out)
{
	return send_raw(s, td_cstr(in), out);
}

#define ck_fails(step, e)                                           \
	do {                                                        \
		ck_assert_int_eq((step), SASL_FAILURE);             \
		ck_assert_str_eq(xmpp_sasl_error_name(error), (e)); \
	} while (0)

/* ---- names ---- */

START_TEST(names)
{
	const char *n[XMPP_SASL_NAMES];
	enum xmpp_sasl_error e;

	ck_assert_uint_eq(xmpp_sasl_names(0xFF, n), 8);
	ck_assert_str_eq(n[1], "SCRAM-SHA-256-PLUS");
	ck_assert_uint_eq(
		xmpp_sasl_names(SASL_M_PLAIN | SASL_M_SCRAM_SHA1 | SASL_M_SCRAM_SHA256_PLUS, n), 3);
	ck_assert_str_eq(n[0], "SCRAM-SHA-256-PLUS");
	ck_assert_str_eq(n[1], "SCRAM-SHA-1");
	ck_assert_str_eq(n[2], "PLAIN");
	for (size_t i = 0; i < xmpp_sasl_names(0xFF, n); i++)
		ck_assert_uint_ne(xmpp_sasl_bit(td_cstr(n[i])), 0);
	ck_assert_uint_eq(xmpp_sasl_bit(TD_STR("plain")), 0);
	ck_assert_uint_eq(xmpp_sasl_bit(TD_STR_NULL), 0);
	ck_assert_str_eq(xmpp_sasl_error_name(SASL_ABORTED), "aborted");
	ck_assert_str_eq(xmpp_sasl_error_name(SASL_TEMPORARY_AUTH_FAILURE),
			 "temporary-auth-failure");

	static const char *const refused[] = { "CRAM-MD5", "HT-SHA-256-UNIQ", "", "plain" };
	for (size_t i = 0; i < 4; i++) {
		e = SASL_ERROR_COUNT;
		ck_assert_ptr_null(xmpp_sasl_start(td_cstr(refused[i]), 0xFF, D, NULL, file, NULL,
						   no_wake, NULL, &e));
		ck_assert_int_eq(e, SASL_INVALID_MECHANISM);
	}
	e = SASL_ERROR_COUNT;
	ck_assert_ptr_null(xmpp_sasl_start(TD_STR("PLAIN"), SASL_ALL & ~SASL_M_PLAIN, D, NULL, file,
					   NULL, no_wake, NULL, &e));
	ck_assert_int_eq(e, SASL_INVALID_MECHANISM);
}
END_TEST

/* ---- RFC vectors ---- */

static const struct vector {
	const char *mech, *c1, *nonce, *s1, *c2, *s2;
} vectors[] = {
	/* RFC 5802 section 5 */
	{ "SCRAM-SHA-1", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j",
	  "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
	  "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
	  "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
	/* RFC 7677 section 3 */
	{ "SCRAM-SHA-256", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
	  "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	  "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
	  "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	  "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
};

START_TEST(vector)
{
	const struct vector *v = &vectors[_i];
	struct xmpp_sasl *s = start(v->mech);
	struct td_buf out = { 0 };

	s->nonce = v->nonce;
	ck_assert_int_eq(send_text(s, v->c1, &out), SASL_CONTINUE);
	ck_assert_str_eq(out.p, v->s1);
	ck_assert_int_eq(send_text(s, v->c2, &out), SASL_SUCCESS);
	ck_assert_str_eq(out.p, v->s2);
	ck_assert(td_str_eqc(xmpp_sasl_user(s), "user"));
	ck_fails(send_text(s, v->c2, &out), "malformed-request"); /* it is over */
	xmpp_sasl_free(s);

	/* without an initial response: an empty challenge first */
	s = start(v->mech);
	s->nonce = v->nonce;
	td_buf_clear(&out);
	ck_assert_int_eq(xmpp_sasl_step(s, TD_STR_NULL, &out, &error), SASL_CONTINUE);
	ck_assert_uint_eq(out.len, 0);
	ck_assert_int_eq(send_text(s, v->c1, &out), SASL_CONTINUE);
	ck_assert_int_eq(send_text(s, v->c2, &out), SASL_SUCCESS);
	xmpp_sasl_free(s);
	td_buf_fini(&out);
}
END_TEST

/* ---- GNU SASL as the client ---- */

struct who {
	const char *user, *password, *authzid, *realm;
};

/* A whole exchange; the server's last word. */
static enum xmpp_sasl_step
converse(struct xmpp_sasl *s, const struct who *w, struct td_buf *out)
{
	enum xmpp_sasl_step step = SASL_CONTINUE;
	Gsasl_session *c;
	Gsasl *ctx;
	char *b64;
	int rc;

	ck_assert_int_eq(gsasl_init(&ctx), GSASL_OK);
	ck_assert_int_eq(gsasl_client_start(ctx, s->mech->name, &c), GSASL_OK);
	gsasl_property_set(c, GSASL_AUTHID, w->user);
	gsasl_property_set(c, GSASL_PASSWORD, w->password);
	gsasl_property_set(c, GSASL_SERVICE, "xmpp");
	gsasl_property_set(c, GSASL_HOSTNAME, "example.org");
	if (w->realm != NULL)
		gsasl_property_set(c, GSASL_REALM, w->realm);
	if (w->authzid != NULL)
		gsasl_property_set(c, GSASL_AUTHZID, w->authzid);
	if (s->mech->plus) {
		struct td_buf cb = { 0 };

		td_buf_add_base64(&cb, binding.tls_exporter.p, binding.tls_exporter.len);
		gsasl_property_set(c, GSASL_CB_TLS_EXPORTER, td_buf_cstr(&cb));
		td_buf_fini(&cb);
	}
	td_buf_clear(out);
	if (!s->mech->client_first)
		step = xmpp_sasl_step(s, TD_STR_NULL, out, &error);
	while (step == SASL_CONTINUE) {
		rc = gsasl_step64(c, td_buf_cstr(out), &b64);
		ck_assert_msg(rc == GSASL_OK || rc == GSASL_NEEDS_MORE, "client: %s",
			      gsasl_strerror(rc));
		td_buf_clear(out);
		step = xmpp_sasl_step(s, td_cstr(b64), out, &error);
		gsasl_free(b64);
	}
	if (step == SASL_SUCCESS && out->len > 0) {
		/* the client believes us too */
		rc = gsasl_step64(c, td_buf_cstr(out), &b64);
		ck_assert_msg(rc == GSASL_OK, "client: %s", gsasl_strerror(rc));
		gsasl_free(b64);
	}
	gsasl_finish(c);
	gsasl_done(ctx);
	return step;
}

static const struct interop {
	bool digest; /* source */
	const char *mech;
	unsigned offered;
	struct who w;
	const char *fails, *user;
} interops[] = {
	{ false, "SCRAM-SHA-1", SASL_NO_PLUS, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ false, "SCRAM-SHA-256", SASL_NO_PLUS, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ false, "SCRAM-SHA-1-PLUS", SASL_ALL, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ false, "SCRAM-SHA-256-PLUS", SASL_ALL, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ false, "SCRAM-SHA-256", SASL_NO_PLUS, { "user", "pencil", NULL, NULL }, NULL, "user" },
	{ false, "SCRAM-SHA-256", SASL_NO_PLUS, { "a=b,c", "pencil", NULL, NULL }, NULL, "a=b,c" },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "j\xC3\xBCrgen", "p\xC3\xA4ss wort", NULL, NULL },
	  NULL,
	  "j\xC3\xBCrgen" },
	{ false, "SCRAM-SHA-256", SASL_NO_PLUS, { "ANN", "pencil", NULL, NULL }, NULL, "ann" },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "pencil", "ann@example.org", NULL },
	  NULL,
	  "ann" },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "pencil", "Ann@Example.org.", NULL },
	  NULL,
	  "ann" },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "pencil", "bob@example.org", NULL },
	  "invalid-authzid",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "pencil", "ann@example.org/x", NULL },
	  "invalid-authzid",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "wrong", "bob@example.org", NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-1",
	  SASL_NO_PLUS,
	  { "ann", "wrong", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "wrong", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "ann", "wrong", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "nobody", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-1",
	  SASL_NO_PLUS,
	  { "nobody", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "no body", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann@example.org", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "one", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false, "SCRAM-SHA-1", SASL_NO_PLUS, { "one", "pencil", NULL, NULL }, NULL, "one" },
	{ false,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "cy", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ false, "PLAIN", SASL_ALL, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ false, "PLAIN", SASL_ALL, { "user", "pencil", NULL, NULL }, NULL, "user" },
	{ false, "PLAIN", SASL_ALL, { "one", "pencil", NULL, NULL }, NULL, "one" },
	{ false, "PLAIN", SASL_ALL, { "cy", "pencil", NULL, NULL }, NULL, "cy" },
	{ false,
	  "PLAIN",
	  SASL_ALL,
	  { "j\xC3\xBCrgen", "p\xC3\xA4ss wort", NULL, NULL },
	  NULL,
	  "j\xC3\xBCrgen" },
	{ false, "PLAIN", SASL_ALL, { "ann", "pencil", "ann@example.org", NULL }, NULL, "ann" },
	{ false,
	  "PLAIN",
	  SASL_ALL,
	  { "ann", "pencil", "bob@example.org", NULL },
	  "invalid-authzid",
	  NULL },
	{ false, "PLAIN", SASL_ALL, { "ann", "wrong", NULL, NULL }, "not-authorized", NULL },
	{ false, "PLAIN", SASL_ALL, { "user", "wrong", NULL, NULL }, "not-authorized", NULL },
	{ false, "PLAIN", SASL_ALL, { "one", "wrong", NULL, NULL }, "not-authorized", NULL },
	{ false, "PLAIN", SASL_ALL, { "cy", "wrong", NULL, NULL }, "not-authorized", NULL },
	{ false, "PLAIN", SASL_ALL, { "nobody", "pencil", NULL, NULL }, "not-authorized", NULL },
	{ false, "DIGEST-MD5", SASL_ALL, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ false,
	  "DIGEST-MD5",
	  SASL_ALL,
	  { "j\xC3\xBCrgen", "p\xC3\xA4ss wort", NULL, NULL },
	  NULL,
	  "j\xC3\xBCrgen" },
	{ false,
	  "DIGEST-MD5",
	  SASL_ALL,
	  { "ann", "pencil", "ann@example.org", NULL },
	  NULL,
	  "ann" },
	{ false,
	  "DIGEST-MD5",
	  SASL_ALL,
	  { "ann", "pencil", "bob@example.org", NULL },
	  "invalid-authzid",
	  NULL },
	{ false, "DIGEST-MD5", SASL_ALL, { "ann", "wrong", NULL, NULL }, "not-authorized", NULL },
	{ false, "DIGEST-MD5", SASL_ALL, { "user", "pencil", NULL, NULL }, "not-authorized", NULL },
	{ false,
	  "DIGEST-MD5",
	  SASL_ALL,
	  { "nobody", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
	{ true, "DIGEST-MD5", SASL_ALL, { "ann", "pencil", NULL, "Momentum" }, NULL, "ann" },
	{ true,
	  "DIGEST-MD5",
	  SASL_ALL,
	  { "ann", "wrong", NULL, "Momentum" },
	  "not-authorized",
	  NULL },
	{ true,
	  "DIGEST-MD5",
	  SASL_ALL,
	  { "nobody", "pencil", NULL, "Momentum" },
	  "not-authorized",
	  NULL },
	{ true, "PLAIN", SASL_ALL, { "ann", "pencil", NULL, NULL }, NULL, "ann" },
	{ true, "PLAIN", SASL_ALL, { "ann", "wrong", NULL, NULL }, "not-authorized", NULL },
	{ true, "PLAIN", SASL_ALL, { "nobody", "pencil", NULL, NULL }, "not-authorized", NULL },
	{ true,
	  "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "ann", "pencil", NULL, NULL },
	  "not-authorized",
	  NULL },
};

START_TEST(interop)
{
	const struct interop *t = &interops[_i];
	struct xmpp_sasl *s = start_with(t->digest ? digest : file, t->mech, t->offered);
	struct td_buf out = { 0 };
	enum xmpp_sasl_step step = converse(s, &t->w, &out);

	if (t->fails != NULL) {
		ck_fails(step, t->fails);
	} else {
		ck_assert_msg(step == SASL_SUCCESS, "%s", xmpp_sasl_error_name(error));
		ck_assert(td_str_eqc(xmpp_sasl_user(s), t->user));
	}
	xmpp_sasl_free(s);
	td_buf_fini(&out);
}
END_TEST

/* ---- a client of our own, that can cheat ---- */

struct cheat {
	const char *gs2;       /* header sent first */
	const char *gs2_last;  /* header in c=, NULL = the same */
	struct td_str data;    /* binding data in c= */
	const char *nonce_end; /* appended to the nonce in the last message */
	const char *ext1, *ext2;
	int flip; /* bit of the proof, -1 = none */
};

static void
hmac(const EVP_MD *md, const void *key, size_t klen, struct td_str in, unsigned char *out)
{
	unsigned len;

	ck_assert_ptr_nonnull(
		HMAC(md, key, (int)klen, (const unsigned char *)in.p, in.len, out, &len));
}

/* The last message for "pencil", by RFC 5802 section 3. */
static void
client_last(const EVP_MD *md, const struct cheat *c, const char *first_bare,
	    const char *server_first, struct td_buf *out)
{
	unsigned char salted[64], ck[64], stored[64], sig[64];
	struct td_buf b = { 0 }, auth = { 0 };
	char nonce[200], salt[100];
	size_t size = (size_t)EVP_MD_get_size(md);
	unsigned iter, len;

	ck_assert_int_eq(sscanf(server_first, "r=%199[^,],s=%99[^,],i=%u", nonce, salt, &iter), 3);
	ck_assert_int_eq(td_base64_decode(td_cstr(salt), &b), 0);
	ck_assert_int_eq(PKCS5_PBKDF2_HMAC("pencil", 6, (unsigned char *)b.p, (int)b.len, (int)iter,
					   md, (int)size, salted),
			 1);
	hmac(md, salted, size, TD_STR("Client Key"), ck);
	EVP_Digest(ck, size, stored, &len, md, NULL);
	td_buf_clear(&b);
	td_buf_addz(&b, c->gs2_last != NULL ? c->gs2_last : c->gs2);
	td_buf_adds(&b, c->data);
	td_buf_clear(out);
	td_buf_addz(out, "c=");
	td_buf_add_base64(out, b.p, b.len);
	td_buf_addf(out, ",r=%s%s%s", nonce, c->nonce_end ? c->nonce_end : "",
		    c->ext2 ? c->ext2 : "");
	td_buf_addf(&auth, "%s,%s,%.*s", first_bare, server_first, (int)out->len, out->p);
	hmac(md, stored, size, td_buf_str(&auth), sig);
	for (size_t i = 0; i < size; i++)
		ck[i] ^= sig[i];
	if (c->flip >= 0)
		ck[c->flip / 8] ^= (unsigned char)(1 << (c->flip % 8));
	td_buf_addz(out, ",p=");
	td_buf_add_base64(out, ck, size);
	td_buf_fini(&b);
	td_buf_fini(&auth);
}

static enum xmpp_sasl_step
cheat(struct xmpp_sasl *s, const struct cheat *c)
{
	struct td_buf out = { 0 }, msg = { 0 };
	char bare[200], server_first[400];
	enum xmpp_sasl_step step;

	(void)snprintf(bare, sizeof(bare), "n=ann,r=abcdef%s", c->ext1 ? c->ext1 : "");
	td_buf_addf(&msg, "%s%s", c->gs2, bare);
	step = send_raw(s, td_buf_str(&msg), &out);
	if (step == SASL_CONTINUE) {
		(void)snprintf(server_first, sizeof(server_first), "%s", out.p);
		client_last(s->mech->md(), c, bare, server_first, &msg);
		step = send_raw(s, td_buf_str(&msg), &out);
	}
	td_buf_fini(&out);
	td_buf_fini(&msg);
	return step;
}

#define EXPORTER TD_STR("0123456789abcdef0123456789abcdef")
#define END_POINT TD_STR("\x01\x02hash of the certificate\xFF\x00")
#define NONE TD_STR_NULL

static const struct cheating {
	const char *mech;
	unsigned offered;
	struct cheat c;
	const char *fails;
} cheatings[] = {
	{ "SCRAM-SHA-256", SASL_NO_PLUS, { "n,,", NULL, NONE, NULL, NULL, NULL, -1 }, NULL },
	{ "SCRAM-SHA-1", SASL_NO_PLUS, { "y,,", NULL, NONE, NULL, NULL, NULL, -1 }, NULL },
	{ "SCRAM-SHA-256", SASL_ALL, { "n,,", NULL, NONE, NULL, NULL, NULL, -1 }, NULL },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "p=tls-exporter,,", NULL, EXPORTER, NULL, NULL, NULL, -1 },
	  NULL },
	{ "SCRAM-SHA-1-PLUS",
	  SASL_ALL,
	  { "p=tls-server-end-point,,", NULL, END_POINT, NULL, NULL, NULL, -1 },
	  NULL },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "p=tls-server-end-point,a=ann@example.org,", NULL, END_POINT, NULL, NULL, NULL, -1 },
	  NULL },
	/* extensions are ignored, mandatory ones are not */
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, NULL, ",x=1,Y=a=b", ",z=2", -1 },
	  NULL },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, NULL, ",m=1", NULL, -1 },
	  "malformed-request" },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, NULL, NULL, ",m=1", -1 },
	  "malformed-request" },
	/* downgrade: it saw no -PLUS, we offered one */
	{ "SCRAM-SHA-256",
	  SASL_ALL,
	  { "y,,", NULL, NONE, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-1",
	  SASL_M_SCRAM_SHA1 | SASL_M_SCRAM_SHA256_PLUS,
	  { "y,,", NULL, NONE, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", "y,,", NONE, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "y,,", "n,,", NONE, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	/* binding that does not match */
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "p=tls-exporter,,", NULL, END_POINT, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "p=tls-exporter,,", NULL, NONE, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "p=tls-exporter,,", "p=tls-server-end-point,,", END_POINT, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "p=tls-unique,,", NULL, EXPORTER, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "n,,", NULL, NONE, NULL, NULL, NULL, -1 },
	  "malformed-request" },
	{ "SCRAM-SHA-256-PLUS",
	  SASL_ALL,
	  { "y,,", NULL, NONE, NULL, NULL, NULL, -1 },
	  "malformed-request" },
	{ "SCRAM-SHA-256",
	  SASL_ALL,
	  { "p=tls-exporter,,", NULL, EXPORTER, NULL, NULL, NULL, -1 },
	  "malformed-request" },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, EXPORTER, NULL, NULL, NULL, -1 },
	  "not-authorized" },
	/* nonce and proof */
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, "x", NULL, NULL, -1 },
	  "not-authorized" },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, NULL, NULL, NULL, 0 },
	  "not-authorized" },
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, NULL, NULL, NULL, 255 },
	  "not-authorized" },
	{ "SCRAM-SHA-1",
	  SASL_NO_PLUS,
	  { "n,,", NULL, NONE, NULL, NULL, NULL, 77 },
	  "not-authorized" },
	/* authzid: changed on the way */
	{ "SCRAM-SHA-256",
	  SASL_NO_PLUS,
	  { "n,a=ann@example.org,", "n,,", NONE, NULL, NULL, NULL, -1 },
	  "not-authorized" },
};

START_TEST(cheats)
{
	const struct cheating *t = &cheatings[_i];
	struct xmpp_sasl *s = start_with(file, t->mech, t->offered);
	enum xmpp_sasl_step step = cheat(s, &t->c);

	if (t->fails != NULL)
		ck_fails(step, t->fails);
	else
		ck_assert_msg(step == SASL_SUCCESS, "%s", xmpp_sasl_error_name(error));
	xmpp_sasl_free(s);
}
END_TEST

START_TEST(binding_not_available)
{
	struct cheat c = { .gs2 = "p=tls-exporter,,", .data = EXPORTER, .flip = -1 };
	struct xmpp_cb_data only = { .tls_server_end_point = END_POINT };
	struct xmpp_sasl *s;

	s = xmpp_sasl_start(TD_STR("SCRAM-SHA-256-PLUS"), SASL_ALL, D, NULL, file, NULL, no_wake,
			    NULL, &error);
	ck_fails(cheat(s, &c), "not-authorized");
	xmpp_sasl_free(s);
	s = xmpp_sasl_start(TD_STR("SCRAM-SHA-256-PLUS"), SASL_ALL, D, &only, file, NULL, no_wake,
			    NULL, &error);
	ck_fails(cheat(s, &c), "not-authorized");
	xmpp_sasl_free(s);
}
END_TEST

/* ---- bad syntax ---- */

static const struct {
	const char *mech;
	struct td_str first, second; /* second NULL: the first fails */
	const char *fails;
} syntax[] = {
	{ "SCRAM-SHA-1", TD_STR("x"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("x,,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR(",,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("nn,,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,b,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,a=,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,a==,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,m=x,n=ann,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=a=b,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=a=2,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=a=2c,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=a\0b,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=\xFF,r=a"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r="), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a b"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=\xC3\xA9"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a,"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,r=a,n=ann"), NONE, "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c"), "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws"), "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=!,r=aNONCE,p=AAAA"),
	  "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws,r=aNONCE"), "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws,r=aNONCE,p="),
	  "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws,r=aNONCE,p=!"),
	  "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws,r=aNONCE,p=AAAA,x=1"),
	  "malformed-request" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws,r=aNONCE,p=AAAA"),
	  "not-authorized" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR("c=biws,r=a,p=AAAA"), "not-authorized" },
	{ "SCRAM-SHA-1", TD_STR("n,,n=ann,r=a"), TD_STR(""), "malformed-request" },
	{ "PLAIN", TD_STR(""), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("ann"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0ann"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0ann\0"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0\0pencil"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0ann\0pencil\0"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0ann\0\xFF"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0\xFF\0pencil"), NONE, "malformed-request" },
	{ "PLAIN", TD_STR("\0ann\0a\x07"), NONE, "not-authorized" },
	{ "PLAIN", TD_STR("\0a b\0pencil"), NONE, "not-authorized" },
	{ "PLAIN", TD_STR("x y\0ann\0pencil"), NONE, "invalid-authzid" },
	{ "PLAIN", TD_STR("ann\0ann\0pencil"), NONE, "invalid-authzid" },
	/* RFC 2831 subsequent authentication: no initial response is taken */
	{ "DIGEST-MD5", TD_STR("username=\"ann\""), NONE, "malformed-request" },
	{ "DIGEST-MD5", TD_STR(""), NONE, "malformed-request" },
};

START_TEST(bad_syntax)
{
	struct xmpp_sasl *s = start(syntax[_i].mech);
	struct td_buf out = { 0 };

	s->nonce = "NONCE";
	if (syntax[_i].second.p != NULL) {
		ck_assert_int_eq(send_raw(s, syntax[_i].first, &out), SASL_CONTINUE);
		ck_fails(send_raw(s, syntax[_i].second, &out), syntax[_i].fails);
	} else {
		ck_fails(send_raw(s, syntax[_i].first, &out), syntax[_i].fails);
	}
	ck_fails(send_raw(s, TD_STR("x"), &out), "malformed-request");
	xmpp_sasl_free(s);
	td_buf_fini(&out);
}
END_TEST

static const char *const digest_bad[] = {
	"x",
	"username=\"ann\"",
	"username=\"ann",
	"username=\"\",digest-uri=\"xmpp/example.org\"",
	"username=\"ann\",digest-uri=\"xmpp/example.org\"",
	"username=\"ann\",digest-uri=\"imap/example.org\"",
	("username=\"ann\",digest-uri=\"xmpp/example.org\",nonce=\"x\",nc=00000001,cnonce=\"y\","
	 "response=00000000000000000000000000000000,qop=auth"),
	",,,===,\"",
};

START_TEST(digest_syntax)
{
	struct xmpp_sasl *s = start("DIGEST-MD5");
	struct td_buf out = { 0 };

	ck_assert_int_eq(xmpp_sasl_step(s, TD_STR_NULL, &out, &error), SASL_CONTINUE);
	ck_assert_int_eq(send_text(s, digest_bad[_i], &out), SASL_FAILURE);
	ck_assert(error == SASL_MALFORMED_REQUEST || error == SASL_NOT_AUTHORIZED);
	xmpp_sasl_free(s);
	td_buf_fini(&out);
}
END_TEST

START_TEST(encoding)
{
	static const char *const bad[] = { "!",        "QQ",   "QQ=",    "Q===", "====",
					   "QQ==QQ==", "QR==", "AA\nAA", " ",    "==" };
	struct td_buf out = { 0 };
	struct xmpp_sasl *s;
	char big[8200];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		s = start("PLAIN");
		ck_fails(xmpp_sasl_step(s, td_cstr(bad[i]), &out, &error), "incorrect-encoding");
		xmpp_sasl_free(s);
	}
	memset(big, 'A', sizeof(big));
	s = start("PLAIN");
	ck_fails(xmpp_sasl_step(s, td_str(big, 8196), &out, &error), "malformed-request");
	xmpp_sasl_free(s);
	/* the largest is still looked at */
	s = start("PLAIN");
	ck_fails(xmpp_sasl_step(s, td_str(big, 8192), &out, &error), "malformed-request");
	xmpp_sasl_free(s);
	/* an empty response in the middle */
	s = start("SCRAM-SHA-256");
	ck_assert_int_eq(xmpp_sasl_step(s, TD_STR(""), &out, &error), SASL_CONTINUE);
	ck_fails(xmpp_sasl_step(s, TD_STR(""), &out, &error), "malformed-request");
	ck_assert_uint_eq(out.len, 0);
	xmpp_sasl_free(s);
	xmpp_sasl_free(NULL);
	td_buf_fini(&out);
}
END_TEST

/* ---- unknown accounts look like known ones ---- */

static void
first_answer(const char *user, const char *mech, char *salt, unsigned *iter)
{
	struct xmpp_sasl *s = start(mech);
	struct td_buf out = { 0 };
	char msg[100];

	(void)snprintf(msg, sizeof(msg), "n,,n=%s,r=abc", user);
	ck_assert_int_eq(send_text(s, msg, &out), SASL_CONTINUE);
	ck_assert_int_eq(sscanf(out.p, "r=%*[^,],s=%99[^,],i=%u", salt, iter), 2);
	xmpp_sasl_free(s);
	td_buf_fini(&out);
}

START_TEST(unknown_account)
{
	char known[100], salt[100], again[100], other[100];
	unsigned known_iter, iter;

	first_answer("ann", "SCRAM-SHA-256", known, &known_iter);
	first_answer("nobody", "SCRAM-SHA-256", salt, &iter);
	ck_assert_uint_eq(iter, known_iter);
	ck_assert_uint_eq(strlen(salt), strlen(known));
	first_answer("Nobody", "SCRAM-SHA-256", again, &iter);
	ck_assert_str_eq(salt, again);
	first_answer("nobody", "SCRAM-SHA-1", other, &iter);
	ck_assert_str_ne(salt, other);
	first_answer("no body", "SCRAM-SHA-256", other, &iter);
	ck_assert_str_ne(salt, other);
	first_answer("no body", "SCRAM-SHA-256", again, &iter);
	ck_assert_str_eq(other, again);
	/* the secret outlives a restart, and another one gives other salts */
	ck_assert_int_eq(xmpp_sasl_init(TD_STR("secret"), &err), 0);
	first_answer("nobody", "SCRAM-SHA-256", again, &iter);
	ck_assert_str_eq(salt, again);
	ck_assert_int_eq(xmpp_sasl_init(TD_STR("other"), &err), 0);
	first_answer("nobody", "SCRAM-SHA-256", again, &iter);
	ck_assert_str_ne(salt, again);
}
END_TEST

START_TEST(nonces_differ)
{
	struct td_buf one = { 0 }, two = { 0 };
	struct xmpp_sasl *s;

	s = start("SCRAM-SHA-256");
	send_text(s, "n,,n=ann,r=abc", &one);
	xmpp_sasl_free(s);
	s = start("SCRAM-SHA-256");
	send_text(s, "n,,n=ann,r=abc", &two);
	xmpp_sasl_free(s);
	ck_assert_int_eq(strncmp(one.p, "r=abc", 5), 0);
	ck_assert_uint_eq(strcspn(one.p, ","), 2 + 3 + 24);
	ck_assert_str_ne(one.p, two.p);
	td_buf_fini(&one);
	td_buf_fini(&two);
}
END_TEST

/* ---- waiting for the store ---- */

struct waiting {
	struct xmpp_sasl *s;
	int woken;
	bool free_in_wake, added;
};

static void
on_wake(void *arg)
{
	struct waiting *w = arg;

	w->woken++;
	if (w->free_in_wake)
		xmpp_sasl_free(w->s);
}

static void
on_added(void *arg, const struct store_result *r)
{
	ck_assert_int_eq(r->rc, 0);
	((struct waiting *)arg)->added = true;
}

static void
add_account(struct store *st, struct td_loop *loop, const char *jid, bool disabled,
	    struct waiting *w)
{
	struct store_account a = { .jid = td_cstr(jid), .disabled = disabled };
	struct store_scram sha1, sha256;

	ck_assert_int_eq(xmpp_scram_derive(TD_STR("pencil"), 0, &sha1, &sha256, &err), 0);
	a.sha256.iterations = sha256.iterations;
	a.sha256.salt_len = sha256.salt_len;
	a.sha256.key_len = sha256.key_len;
	memcpy(a.sha256.salt, sha256.salt, sizeof(sha256.salt));
	memcpy(a.sha256.stored_key, sha256.stored_key, sizeof(sha256.stored_key));
	memcpy(a.sha256.server_key, sha256.server_key, sizeof(sha256.server_key));
	w->added = false;
	store_account_add(st, &a, (struct store_to){ loop, on_added, w });
	while (!w->added)
		td_loop_turn(loop, true);
}

START_TEST(waiting)
{
	struct cheat c = { .gs2 = "n,,", .flip = -1 };
	static const struct {
		const char *user, *fails;
		int flip;
	} cases[] = {
		{ "ann", NULL, -1 },
		{ "ann", "not-authorized", 3 },
		{ "off", "account-disabled", -1 },
		{ "off", "not-authorized", 3 }, /* disabled shows only to who knows the password */
		{ "nobody", "not-authorized", -1 },
	};
	struct store_conf sc = { .path = ":memory:" };
	struct td_loop *loop = td_loop_new(0);
	struct xmpp_cred_source *src = NULL;
	struct td_buf out = { 0 }, raw = { 0 }, b64 = { 0 };
	struct waiting w = { 0 };
	struct store *st = NULL;
	char bare[64];

	ck_assert_int_eq(store_open(&sc, &st, &err), 0);
	ck_assert_int_eq(xmpp_cred_source_open("store://", st, &src, &err), 0);
	add_account(st, loop, "ann@example.org", false, &w);
	add_account(st, loop, "off@example.org", true, &w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum xmpp_sasl_step step;

		w = (struct waiting){ 0 };
		w.s = xmpp_sasl_start(TD_STR("SCRAM-SHA-256"), SASL_NO_PLUS, D, NULL, src, loop,
				      on_wake, &w, &error);
		(void)snprintf(bare, sizeof(bare), "n=%s,r=abcdef", cases[i].user);
		td_buf_clear(&b64);
		td_buf_addf(&b64, "n,,%s", bare);
		ck_assert_int_eq(send_raw(w.s, td_buf_str(&b64), &out), SASL_WAIT);
		ck_assert_int_eq(xmpp_sasl_resume(w.s, &out, &error), SASL_WAIT);
		while (w.woken == 0)
			td_loop_turn(loop, true);
		td_buf_clear(&raw);
		td_buf_clear(&out);
		ck_assert_int_eq(xmpp_sasl_resume(w.s, &out, &error), SASL_CONTINUE);
		ck_assert_int_eq(td_base64_decode(td_buf_str(&out), &raw), 0);
		c.flip = cases[i].flip;
		client_last(EVP_sha256(), &c, bare, td_buf_cstr(&raw), &out);
		step = send_raw(w.s, td_buf_str(&out), &raw);
		if (cases[i].fails != NULL)
			ck_fails(step, cases[i].fails);
		else
			ck_assert_int_eq(step, SASL_SUCCESS);
		ck_assert_int_eq(w.woken, 1);
		xmpp_sasl_free(w.s);
	}

	/* freed in the wake; freed while waiting; failed while waiting */
	w = (struct waiting){ .free_in_wake = true };
	w.s = xmpp_sasl_start(TD_STR("PLAIN"), SASL_ALL, D, NULL, src, loop, on_wake, &w, &error);
	ck_assert_int_eq(send_raw(w.s, TD_STR("\0ann\0pencil"), &out), SASL_WAIT);
	while (w.woken == 0)
		td_loop_turn(loop, true);
	w = (struct waiting){ 0 };
	w.s = xmpp_sasl_start(TD_STR("PLAIN"), SASL_ALL, D, NULL, src, loop, on_wake, &w, &error);
	ck_assert_int_eq(send_raw(w.s, TD_STR("\0ann\0pencil"), &out), SASL_WAIT);
	xmpp_sasl_free(w.s);
	w.s = xmpp_sasl_start(TD_STR("PLAIN"), SASL_ALL, D, NULL, src, loop, on_wake, &w, &error);
	ck_assert_int_eq(send_raw(w.s, TD_STR("\0ann\0pencil"), &out), SASL_WAIT);
	ck_fails(send_raw(w.s, TD_STR("\0ann\0pencil"), &out), "malformed-request");
	ck_fails(xmpp_sasl_resume(w.s, &out, &error), "malformed-request");
	xmpp_cred_source_unref(&src); /* exchanges hold theirs */
	store_close(&st);             /* posts what is owed */
	td_loop_turn(loop, false);
	ck_assert_int_eq(w.woken, 0);
	xmpp_sasl_free(w.s);
	td_loop_free(loop);
	td_buf_fini(&out);
	td_buf_fini(&raw);
	td_buf_fini(&b64);
}
END_TEST

START_TEST(source_fails)
{
	char path[96];
	struct td_buf out = { 0 };
	struct xmpp_sasl *s = start("PLAIN");

	(void)snprintf(path, sizeof(path), "%s/file", dir);
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_fails(send_raw(s, TD_STR("\0ann\0pencil"), &out), "temporary-auth-failure");
	xmpp_sasl_free(s);
	td_buf_fini(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sasl");
	TCase *tc = tcase_create("sasl");
	SRunner *sr;
	int failed;

#define LOOP(fn, table) tcase_add_loop_test(tc, fn, 0, (int)(sizeof(table) / sizeof((table)[0])))
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, names);
	LOOP(vector, vectors);
	LOOP(interop, interops);
	LOOP(cheats, cheatings);
	tcase_add_test(tc, binding_not_available);
	LOOP(bad_syntax, syntax);
	LOOP(digest_syntax, digest_bad);
	tcase_add_test(tc, encoding);
	tcase_add_test(tc, unknown_account);
	tcase_add_test(tc, nonces_differ);
	tcase_add_test(tc, waiting);
	tcase_add_test(tc, source_fails);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
