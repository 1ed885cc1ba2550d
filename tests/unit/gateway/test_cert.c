/* cert: chains, names and TLSA records, each over a handshake of its own. */
#include "gateway/cert.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include "gateway/base/err.h"
#include "gateway/tls.h"
#include "suite.h"
#include "tls_rig.h"

#define SRV "otherName:1.3.6.1.5.5.7.8.7;IA5:"
#define XMPP "otherName:1.3.6.1.5.5.7.8.5;UTF8:"
#define DAY 86400L

/* ---- a small CA ---- */

struct cert {
	X509 *x;
	EVP_PKEY *key;
};
struct spec {
	const char *cn, *san; /* san NULL = none */
	const char *eku;      /* NULL = both, "" = none */
	bool ca;
	long from, to; /* days from now; both 0 = -1 .. 30 */
	const char *constraints;
};

static struct cert root, inter, other_root;
static char dir[64], ca_path[128], other_path[128];
static struct gw_ca *ca, *other_ca;
static struct gw_tls_client *client;
static struct td_err err;

static void
add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX v3;

	X509V3_set_ctx_nodb(&v3);
	X509V3_set_ctx(&v3, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &v3, nid, value);
	ck_assert_msg(e != NULL, "%s", value);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static X509 *
begin_cert(const struct spec *s, EVP_PKEY *key)
{
	static long serial = 1;
	X509 *x = X509_new();
	X509_NAME *subject;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(x), s->to == 0 ? -DAY : s->from * DAY);
	X509_gmtime_adj(X509_getm_notAfter(x), (s->to == 0 ? 30 : s->to) * DAY);
	X509_set_pubkey(x, key);
	subject = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)s->cn, -1,
				   -1, 0);
	return x;
}

/* <issuer> NULL = itself. */
static struct cert
make(const struct spec *s, const struct cert *issuer)
{
	struct cert c = { .key = EVP_EC_gen("P-256") };

	c.x = begin_cert(s, c.key);
	if (issuer == NULL)
		issuer = &c;
	X509_set_issuer_name(c.x, X509_get_subject_name(issuer->x));
	add_ext(c.x, issuer->x, NID_basic_constraints, s->ca ? "critical,CA:TRUE" : "CA:FALSE");
	add_ext(c.x, issuer->x, NID_subject_key_identifier, "hash");
	if (s->ca)
		add_ext(c.x, issuer->x, NID_key_usage, "critical,keyCertSign");
	if (s->san != NULL)
		add_ext(c.x, issuer->x, NID_subject_alt_name, s->san);
	if (!s->ca && s->eku == NULL)
		add_ext(c.x, issuer->x, NID_ext_key_usage, "serverAuth,clientAuth");
	else if (s->eku != NULL && *s->eku != '\0')
		add_ext(c.x, issuer->x, NID_ext_key_usage, s->eku);
	if (s->constraints != NULL)
		add_ext(c.x, issuer->x, NID_name_constraints, s->constraints);
	ck_assert_int_gt(X509_sign(c.x, issuer->key, EVP_sha256()), 0);
	return c;
}

static void
drop(struct cert *c)
{
	X509_free(c->x);
	EVP_PKEY_free(c->key);
}

static void
write_pem(char path[128], const char *name, const struct cert *c, bool key)
{
	FILE *f;

	(void)snprintf(path, 128, "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	PEM_write_X509(f, c->x);
	if (key)
		PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void
setup(void)
{
	static const struct spec r = { .cn = "root", .ca = true },
				 i = { .cn = "inter", .ca = true },
				 o = { .cn = "other", .ca = true };
	struct gw_tls_client_conf cc = { 0 };

	(void)stpcpy(dir, "/tmp/test_cert.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	root = make(&r, NULL);
	inter = make(&i, &root);
	other_root = make(&o, NULL);
	write_pem(ca_path, "ca.pem", &root, false);
	write_pem(other_path, "other.pem", &other_root, false);
	ck_assert_int_eq(gw_ca_new(ca_path, &ca, &err), 0);
	ck_assert_int_eq(gw_ca_new(other_path, &other_ca, &err), 0);
	ck_assert_int_eq(gw_tls_client_new(&cc, &client, &err), 0);
}

static void
teardown(void)
{
	gw_tls_client_unref(&client);
	gw_ca_unref(&ca);
	gw_ca_unref(&other_ca);
	drop(&root);
	drop(&inter);
	drop(&other_root);
	unlink(ca_path);
	unlink(other_path);
	rmdir(dir);
}

/* ---- one question ---- */

/* Shake hands with a server that shows <leaf> and <n> of <chain>; judge it. */
static enum gw_cert_verdict
judge(const struct cert *leaf, const struct cert *const *chain, size_t n,
      const struct gw_cert_ask *ask, struct gw_cert_report *rep)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	enum gw_cert_verdict v;
	struct pair p;

	SSL_CTX_set_security_level(ctx, 0); /* it shows whatever it is told to */
	ck_assert_int_eq(SSL_CTX_use_certificate(ctx, leaf->x), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, leaf->key), 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(SSL_CTX_add1_chain_cert(ctx, chain[i]->x), 1);
	pair_open(&p);
	p.server = SSL_new(ctx);
	SSL_set_fd(p.server, p.fd[0]);
	SSL_set_accept_state(p.server);
	p.client = gw_tls_connect(client, p.fd[1], ask->domain, TD_STR("we.test"), false);
	ck_assert(shake(&p));
	v = gw_cert_judge(p.client, ask, rep);
	ck_assert_int_eq(gw_cert_judge(p.client, ask, NULL), v);
	ck_assert_int_eq(rep->verdict, v);
	pair_free(&p);
	SSL_CTX_free(ctx);
	return v;
}

/* As a rule: leaf below inter below root, which is trusted. */
static enum gw_cert_verdict
judge_spec(const struct spec *s, const struct gw_cert_ask *ask, struct gw_cert_report *rep)
{
	const struct cert *chain[] = { &inter };
	struct cert leaf = make(s, &inter);
	enum gw_cert_verdict v = judge(&leaf, chain, 1, ask, rep);

	drop(&leaf);
	return v;
}

/* ---- names ---- */

#define UML "m\xc3\xbcnchen.test"
#define UML_A "xn--mnchen-3ya.test"

static const struct {
	const char *san, *domain, *host;
	const char *matched; /* NULL = none does */
} names[] = {
	{ "DNS:a.test", "a.test", NULL, "DNS:a.test" },
	{ "DNS:A.Test", "a.test", NULL, "DNS:A.Test" },
	{ "DNS:b.test,DNS:a.test", "a.test", NULL, "DNS:a.test" },
	{ "DNS:b.test", "a.test", NULL, NULL },
	{ "DNS:xa.test", "a.test", NULL, NULL },
	{ "DNS:a.test.evil.test", "a.test", NULL, NULL },
	{ "DNS:a.test", "chat.a.test", NULL, NULL },
	{ NULL, "a.test", NULL, NULL }, /* the common name says so: no matter */
	{ "email:x@a.test", "a.test", NULL, NULL },
	{ "URI:xmpp:a.test", "a.test", NULL, NULL },
	/* wildcards */
	{ "DNS:*.a.test", "chat.a.test", NULL, "DNS:*.a.test" },
	{ "DNS:*.a.test", "a.test", NULL, NULL },
	{ "DNS:*.a.test", "x.chat.a.test", NULL, NULL },
	{ "DNS:*.test", "a.test", NULL, NULL },
	{ "DNS:*", "a.test", NULL, NULL },
	{ "DNS:c*.a.test", "chat.a.test", NULL, NULL },
	{ "DNS:*t.a.test", "chat.a.test", NULL, NULL },
	{ "DNS:x.*.test", "x.a.test", NULL, NULL },
	{ "DNS:*.*.test", "x.a.test", NULL, NULL },
	{ "DNS:*." UML_A, "chat." UML, NULL, "DNS:*." UML_A },
	{ "DNS:*.a.test", UML "..a.test", NULL, NULL },
	/* SRVName */
	{ SRV "_xmpp-server.a.test", "a.test", NULL, "SRV:_xmpp-server.a.test" },
	{ SRV "_XMPP-Server.A.test", "a.test", NULL, "SRV:_XMPP-Server.A.test" },
	{ SRV "_xmpp-client.a.test", "a.test", NULL, NULL },
	{ SRV "_xmpp-server.b.test", "a.test", NULL, NULL },
	{ SRV "_xmpp-server.*.a.test", "chat.a.test", NULL, NULL },
	{ SRV "_xmpp-server.", "a.test", NULL, NULL },
	{ SRV "a.test", "a.test", NULL, NULL },
	{ SRV "_xmpp-server." UML_A, UML, NULL, "SRV:_xmpp-server." UML_A },
	{ "otherName:1.3.6.1.5.5.7.8.7;UTF8:_xmpp-server.a.test", "a.test", NULL, NULL },
	{ "otherName:1.3.6.1.5.5.7.8.9;UTF8:a.test", "a.test", NULL, NULL },
	/* XmppAddr */
	{ XMPP "a.test", "a.test", NULL, "XMPP:a.test" },
	{ XMPP "A.TEST", "a.test", NULL, "XMPP:A.TEST" },
	{ XMPP "ann@a.test", "a.test", NULL, NULL },
	{ XMPP "a.test/x", "a.test", NULL, NULL },
	{ XMPP "*.a.test", "chat.a.test", NULL, NULL },
	{ XMPP UML_A, UML, NULL, "XMPP:" UML_A },
	{ "otherName:1.3.6.1.5.5.7.8.5;IA5:a.test", "a.test", NULL, NULL },
	/* U-labels against A-labels */
	{ "DNS:" UML_A, UML, NULL, "DNS:" UML_A },
	{ "DNS:" UML_A, UML_A, NULL, "DNS:" UML_A },
	{ "DNS:mnchen.test", UML, NULL, NULL },
	/* addresses */
	{ "IP:192.0.2.1", "192.0.2.1", NULL, "IP:192.0.2.1" },
	{ "IP:192.0.2.2", "192.0.2.1", NULL, NULL },
	{ "DNS:192.0.2.1", "192.0.2.1", NULL, NULL },
	{ "IP:2001:db8::1", "[2001:db8::1]", NULL, "IP:2001:db8::1" },
	{ "IP:2001:db8::1", "[2001:db8:0::1]", NULL, "IP:2001:db8::1" },
	{ "IP:2001:db8::2", "[2001:db8::1]", NULL, NULL },
	{ "IP:192.0.2.1", "[::ffff:192.0.2.1]", NULL, NULL },
	/* the host of a signed SRV record: a DNS-ID, nothing else */
	{ "DNS:x1.host.test", "a.test", "x1.host.test", "DNS:x1.host.test" },
	{ "DNS:*.host.test", "a.test", "x1.host.test", "DNS:*.host.test" },
	{ "DNS:x2.host.test", "a.test", "x1.host.test", NULL },
	{ SRV "_xmpp-server.x1.host.test", "a.test", "x1.host.test", NULL },
	{ XMPP "x1.host.test", "a.test", "x1.host.test", NULL },
};

START_TEST(test_names)
{
	struct spec s = { .cn = "a.test", .san = names[_i].san };
	struct gw_cert_ask ask = {
		.domain = td_cstr(names[_i].domain),
		.host = td_cstr(names[_i].host),
		.host_secure = names[_i].host != NULL,
		.ca = ca,
	};
	struct gw_cert_report rep;
	enum gw_cert_verdict v = judge_spec(&s, &ask, &rep);
	const char *want = names[_i].matched;

	ck_assert(rep.chain_ok);
	ck_assert_int_eq(rep.by, GW_BY_PKIX);
	ck_assert_msg(v == (want != NULL ? GW_CERT_GOOD : GW_CERT_BAD), "%s for %s: %s",
		      names[_i].san, names[_i].domain, rep.why);
	ck_assert_str_eq(rep.matched, want != NULL ? want : "");
	ck_assert_str_eq(rep.why, want != NULL ? "" : "name does not match");
	if (ask.host_secure && want != NULL) { /* an unsigned SRV record proves nothing */
		ask.host_secure = false;
		ck_assert_int_eq(judge_spec(&s, &ask, &rep), GW_CERT_BAD);
	}
	ask.names = GW_NAMES_ANY;
	ck_assert_int_eq(judge_spec(&s, &ask, &rep), GW_CERT_GOOD);
}
END_TEST

/* A name with a NUL in it is not what is before the NUL. */
START_TEST(test_nul)
{
	static const unsigned char bad[] = "a.test\0.evil.test";
	GENERAL_NAMES *san = sk_GENERAL_NAME_new_null();
	const int types[] = { V_ASN1_IA5STRING, V_ASN1_UTF8STRING };
	const int nids[] = { NID_SRVName, NID_XmppAddr };
	char text[GW_CERT_NAME_TEXT];
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();

	ASN1_STRING_set(s, bad, sizeof(bad) - 1);
	GENERAL_NAME_set0_value(g, GEN_DNS, s);
	sk_GENERAL_NAME_push(san, g);
	for (int i = 0; i < 2; i++) {
		ASN1_TYPE *v = ASN1_TYPE_new();
		unsigned char buf[64];
		size_t n = i == 0 ? 13 : 0;

		memcpy(buf, "_xmpp-server.", n);
		memcpy(buf + n, bad, sizeof(bad) - 1);
		s = ASN1_STRING_type_new(types[i]);
		ASN1_STRING_set(s, buf, (int)(n + sizeof(bad) - 1));
		ASN1_TYPE_set(v, types[i], s);
		g = GENERAL_NAME_new();
		GENERAL_NAME_set0_othername(g, OBJ_dup(OBJ_nid2obj(nids[i])), v);
		sk_GENERAL_NAME_push(san, g);
	}
	ck_assert(!gw_cert_find_name(san, TD_STR("a.test"), TD_STR("a.test"), text));
	ck_assert(!gw_cert_find_name(san, td_str((const char *)bad, sizeof(bad) - 1), TD_STR_NULL,
				     text));
	GENERAL_NAMES_free(san);
}
END_TEST

START_TEST(test_ascii)
{
	static const struct {
		const char *in, *out; /* NULL = none */
	} rows[] = {
		{ "a.test", "a.test" },
		{ "A.TEST.", "a.test" },
		{ "my_host.test", "my_host.test" },
		{ "localhost", "localhost" },
		{ UML, UML_A },
		{ "", NULL },
		{ ".", NULL },
		{ "a..test", NULL },
		{ ".a.test", NULL },
		{ "192.0.2.1", NULL },
		{ "192.0.2.1.", NULL },
		{ "\xef\xbc\x91\x39\x32.0.2.1", NULL }, /* a full-width 1 */
		{ "[::1]", NULL },
		{ "a b.test", NULL },
		{ "a/b.test", NULL },
		{ "\xff\xfe.test", NULL },
		{ "0123456789012345678901234567890123456789012345678901234567890123.test", NULL },
	};
	char out[256], big[400];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_msg(gw_cert_ascii(td_cstr(rows[i].in), out) == (rows[i].out != NULL),
			      "%s", rows[i].in);
		if (rows[i].out != NULL)
			ck_assert_str_eq(out, rows[i].out);
	}
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 2 == 0 ? 'a' : '.';
	ck_assert(!gw_cert_ascii(td_str(big, 399), out));
	ck_assert(gw_cert_ascii(td_str(big, 253), out));
	ck_assert(!gw_cert_ascii(td_str("a\0b", 3), out));
}
END_TEST

/* ---- chains ---- */

START_TEST(test_chain)
{
	static const struct {
		struct spec s;
		const char *why; /* NULL = good */
	} rows[] = {
		{ { .cn = "a", .san = "DNS:a.test" }, NULL },
		{ { .cn = "a", .san = "DNS:a.test", .from = -9, .to = -1 }, "expired" },
		{ { .cn = "a", .san = "DNS:a.test", .from = 2, .to = 9 }, "not yet valid" },
		{ { .cn = "a", .san = "DNS:a.test", .eku = "clientAuth" }, NULL },
		{ { .cn = "a", .san = "DNS:a.test", .eku = "serverAuth" }, NULL },
		{ { .cn = "a", .san = "DNS:a.test", .eku = "" }, NULL },
		{ { .cn = "a", .san = "DNS:a.test", .eku = "anyExtendedKeyUsage" }, NULL },
		{ { .cn = "a", .san = "DNS:a.test", .eku = "codeSigning" }, "not for TLS" },
	};
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	struct gw_cert_report rep;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum gw_cert_verdict v = judge_spec(&rows[i].s, &ask, &rep);

		ck_assert_str_eq(rep.why, rows[i].why != NULL ? rows[i].why : "");
		ck_assert_int_eq(v, rows[i].why != NULL ? GW_CERT_BAD : GW_CERT_GOOD);
		ck_assert(rep.name_ok);
	}
	/* the same one, at another time */
	ask.now = time(NULL) - 5 * DAY;
	ck_assert_int_eq(judge_spec(&rows[0].s, &ask, &rep), GW_CERT_BAD);
	ck_assert(td_str_starts(td_cstr(rep.why), "not yet valid"));
}
END_TEST

START_TEST(test_trust)
{
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test" };
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	const struct cert *chain[] = { &inter, &root };
	struct cert leaf = make(&s, &inter), self = make(&s, NULL);
	struct gw_cert_report rep;
	struct gw_ca *pinned;
	char path[128];

	ck_assert_int_eq(judge(&leaf, chain, 1, &ask, &rep), GW_CERT_GOOD);
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), GW_CERT_GOOD);
	ck_assert_int_eq(judge(&leaf, chain, 0, &ask, &rep), GW_CERT_BAD); /* inter is missing */
	ck_assert_str_eq(rep.why, "unknown CA");
	ck_assert_int_eq(judge(&self, NULL, 0, &ask, &rep), GW_CERT_BAD);
	ck_assert_str_eq(rep.why, "self-signed");
	ask.ca = other_ca;
	ck_assert_int_eq(judge(&leaf, chain, 1, &ask, &rep), GW_CERT_BAD);
	ck_assert_str_eq(rep.why, "unknown CA");
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), GW_CERT_BAD);
	ck_assert_str_eq(rep.why, "unknown CA");
	ask.ca = NULL;
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), GW_CERT_BAD);
	/* a partner's self-signed certificate as tls_ca */
	write_pem(path, "self.pem", &self, false);
	ck_assert_int_eq(gw_ca_new(path, &pinned, &err), 0);
	ask.ca = pinned;
	ck_assert_int_eq(judge(&self, NULL, 0, &ask, &rep), GW_CERT_GOOD);
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), GW_CERT_BAD);
	gw_ca_unref(&pinned);
	unlink(path);
	drop(&leaf);
	drop(&self);
}
END_TEST

/* A leaf that signs another certificate is no CA; an expired CA ends the chain. */
START_TEST(test_bad_issuers)
{
	static const struct spec leaf_spec = { .cn = "x.test", .san = "DNS:x.test" };
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test" };
	static const struct spec old = { .cn = "old", .ca = true, .from = -9, .to = -1 };
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	struct cert x = make(&leaf_spec, &inter), below_x = make(&s, &x);
	struct cert expired = make(&old, &root), below_old = make(&s, &expired);
	const struct cert *chain[] = { &x, &inter }, *old_chain[] = { &expired };
	struct gw_cert_report rep;

	ck_assert_int_eq(judge(&below_x, chain, 2, &ask, &rep), GW_CERT_BAD);
	ck_assert_int_eq(judge(&below_old, old_chain, 1, &ask, &rep), GW_CERT_BAD);
	ck_assert_str_eq(rep.why, "expired (a CA of its chain)");
	drop(&x);
	drop(&below_x);
	drop(&expired);
	drop(&below_old);
}
END_TEST

/* A CA bound to some domains cannot get around that by another kind of name. */
START_TEST(test_constraints)
{
	static const struct {
		const char *constraints, *san;
		bool good;
	} rows[] = {
		{ "permitted;DNS:a.test", "DNS:a.test", true },
		{ "permitted;DNS:a.test", XMPP "a.test", true },
		{ "permitted;DNS:b.test", "DNS:a.test", false },
		{ "permitted;DNS:b.test", XMPP "a.test", false },
		{ "permitted;DNS:b.test", SRV "_xmpp-server.a.test", false },
		{ "permitted;DNS:test", SRV "_xmpp-server.a.test", true },
		{ "excluded;DNS:a.test", SRV "_xmpp-server.a.test", false },
		{ "excluded;DNS:b.test", SRV "_xmpp-server.a.test", true },
		{ "permitted;email:b.test", XMPP "a.test", true },
	};
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	struct gw_cert_report rep;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct spec c = { .cn = "bound", .ca = true, .constraints = rows[i].constraints };
		struct spec s = { .cn = "Some One", .san = rows[i].san };
		struct cert bound = make(&c, &root), leaf = make(&s, &bound);
		const struct cert *chain[] = { &bound };

		ck_assert_msg(judge(&leaf, chain, 1, &ask, &rep) ==
				      (rows[i].good ? GW_CERT_GOOD : GW_CERT_BAD),
			      "%s %s: %s", rows[i].constraints, rows[i].san, rep.why);
		drop(&bound);
		drop(&leaf);
	}
}
END_TEST

START_TEST(test_weak)
{
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test" };
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	struct gw_tls_client_conf cc = { .ciphers = "DEFAULT@SECLEVEL=2" };
	struct cert leaf = { .key = EVP_EC_gen("P-256") };
	const struct cert *chain[] = { &inter };
	struct gw_cert_report rep;

	gw_tls_client_unref(&client);
	ck_assert_int_eq(gw_tls_client_new(&cc, &client, &err), 0);
	leaf.x = begin_cert(&s, leaf.key);
	X509_set_issuer_name(leaf.x, X509_get_subject_name(inter.x));
	add_ext(leaf.x, inter.x, NID_subject_alt_name, s.san);
	ck_assert_int_gt(X509_sign(leaf.x, inter.key, EVP_sha1()), 0);
	ck_assert_int_eq(judge(&leaf, chain, 1, &ask, &rep), GW_CERT_BAD);
	ck_assert_str_eq(rep.why, "signature is too weak");
	drop(&leaf);
}
END_TEST

/* ---- DANE ---- */

/* The association data for <c>: selector, matching type. */
static struct td_str
tlsa_data(const struct cert *c, int selector, int matching, unsigned char md[64])
{
	static unsigned char der[8192];
	unsigned char *p = der;
	unsigned n;
	int len = selector == 0 ? i2d_X509(c->x, &p)
				: i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x), &p);

	if (matching == 0)
		return td_str((char *)der, (size_t)len);
	EVP_Digest(der, (size_t)len, md, &n, matching == 1 ? EVP_sha256() : EVP_sha512(), NULL);
	return td_str((char *)md, n);
}

/* Every usage, selector and matching type, for what it is about and for something else. */
START_TEST(test_dane)
{
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test" };
	static const enum gw_cert_by by[] = { GW_BY_PKIX_TA, GW_BY_PKIX_EE, GW_BY_DANE_TA,
					      GW_BY_DANE_EE };
	uint8_t usage = (uint8_t)(_i / 6), selector = (uint8_t)(_i / 3 % 2),
		matching = (uint8_t)(_i % 3);
	const struct cert *chain[] = { &inter, &root };
	struct cert leaf = make(&s, &inter);
	const struct cert *about = usage == 1 || usage == 3 ? &leaf : &inter;
	struct gw_tlsa t = { .usage = usage, .selector = selector, .matching = matching };
	struct gw_cert_ask ask = {
		.domain = TD_STR("a.test"), .tlsa = &t, .n_tlsa = 1, .tlsa_secure = true
	};
	bool pkix = usage < 2;
	struct gw_cert_report rep;
	unsigned char md[64];

	t.data = tlsa_data(about, selector, matching, md);
	ask.ca = ca;
	ck_assert_msg(judge(&leaf, chain, 2, &ask, &rep) == GW_CERT_GOOD, "%d %d %d: %s", usage,
		      selector, matching, rep.why);
	ck_assert_int_eq(rep.by, by[usage]);
	ck_assert_uint_eq(rep.n_tlsa_usable, 1);
	/* without a CA only the DANE usages are good */
	ask.ca = NULL;
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), pkix ? GW_CERT_BAD : GW_CERT_GOOD);
	/* about another certificate: no good, though PKIX says so */
	ask.ca = ca;
	t.data = tlsa_data(&other_root, selector, matching, md);
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), GW_CERT_BAD);
	ck_assert_str_eq(rep.why, "DANE mismatch");
	ck_assert_int_eq(rep.by, GW_BY_DANE);
	/* not signed: as if it were not there */
	ask.tlsa_secure = false;
	ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep), GW_CERT_GOOD);
	ck_assert_int_eq(rep.by, GW_BY_PKIX);
	drop(&leaf);
}
END_TEST

/* A whole trust anchor in the record needs not be in the chain. */
START_TEST(test_dane_full_anchor)
{
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test" };
	struct cert leaf = make(&s, &inter);
	struct gw_tlsa t = { .usage = 2 };
	struct gw_cert_ask ask = {
		.domain = TD_STR("a.test"), .tlsa = &t, .n_tlsa = 1, .tlsa_secure = true
	};
	struct gw_cert_report rep;

	for (t.selector = 0; t.selector < 2; t.selector++) {
		t.data = tlsa_data(&inter, t.selector, 0, NULL);
		ck_assert_int_eq(judge(&leaf, NULL, 0, &ask, &rep), GW_CERT_GOOD);
		ck_assert_int_eq(rep.by, GW_BY_DANE_TA);
	}
	drop(&leaf);
}
END_TEST

/* RFC 7671 5.1: with usage 3 neither names nor dates nor chains count; with 2 they do. */
START_TEST(test_dane_names)
{
	static const struct {
		struct spec s;
		const char *why2; /* of usage 2 */
	} rows[] = {
		{ { .cn = "b", .san = "DNS:b.test" }, "name does not match" },
		{ { .cn = "b", .san = "DNS:x1.host.test" }, NULL },
		{ { .cn = "a", .san = "DNS:a.test", .from = -9, .to = -1 }, "expired" },
	};
	const struct cert *chain[] = { &inter, &root };
	struct gw_cert_report rep;
	unsigned char md[64], md2[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cert leaf = make(&rows[i].s, &inter);
		struct gw_tlsa ee = { 3, 1, 1, tlsa_data(&leaf, 1, 1, md) };
		struct gw_tlsa ta = { 2, 0, 1, tlsa_data(&root, 0, 1, md2) };
		struct gw_cert_ask ask = { .domain = TD_STR("a.test"),
					   .host = TD_STR("x1.host.test"),
					   .host_secure = true,
					   .tlsa = &ee,
					   .n_tlsa = 1,
					   .tlsa_secure = true };

		ck_assert_int_eq(judge(&leaf, NULL, 0, &ask, &rep), GW_CERT_GOOD);
		ck_assert_int_eq(rep.by, GW_BY_DANE_EE);
		ck_assert(rep.good_until == 0);
		ask.tlsa = &ta;
		ck_assert_int_eq(judge(&leaf, chain, 2, &ask, &rep),
				 rows[i].why2 != NULL ? GW_CERT_BAD : GW_CERT_GOOD);
		ck_assert_str_eq(rep.why, rows[i].why2 != NULL ? rows[i].why2 : "");
		drop(&leaf);
	}
}
END_TEST

/* What cannot be used is as if it were not there; among several one is enough. */
START_TEST(test_dane_unusable)
{
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test" };
	struct cert leaf = make(&s, &inter), self = make(&s, NULL);
	const struct cert *chain[] = { &inter };
	unsigned char md[64], self_md[64];
	struct td_str good = tlsa_data(&leaf, 1, 1, md);
	struct gw_tlsa t[] = {
		{ 4, 1, 1, good },
		{ 255, 1, 1, good },
		{ 3, 2, 1, good },
		{ 3, 1, 3, good },
		{ 3, 1, 1, td_str(good.p, 31) },
		{ 3, 1, 2, good },
		{ 3, 1, 1, TD_STR_NULL },
		{ 3, 0, 0, TD_STR("\x30\x03junk") },
		{ 3, 1, 1, tlsa_data(&self, 1, 1, self_md) }, /* usable */
	};
	struct gw_cert_ask ask = {
		.domain = TD_STR("a.test"), .tlsa = t, .n_tlsa = 8, .tlsa_secure = true, .ca = ca
	};
	struct gw_cert_report rep;

	ck_assert_int_eq(judge(&leaf, chain, 1, &ask, &rep), GW_CERT_GOOD);
	ck_assert_uint_eq(rep.n_tlsa_usable, 0);
	ck_assert_int_eq(rep.by, GW_BY_PKIX);
	ck_assert_int_eq(judge(&self, NULL, 0, &ask, &rep), GW_CERT_BAD);
	ask.n_tlsa = 9;
	ck_assert_int_eq(judge(&leaf, chain, 1, &ask, &rep), GW_CERT_BAD);
	ck_assert_uint_eq(rep.n_tlsa_usable, 1);
	ck_assert_int_eq(judge(&self, NULL, 0, &ask, &rep), GW_CERT_GOOD);
	ck_assert_int_eq(rep.by, GW_BY_DANE_EE);
	drop(&leaf);
	drop(&self);
}
END_TEST

/* ---- the other direction, and the report ---- */

START_TEST(test_incoming)
{
	static const struct spec s = { .cn = "a.test", .san = "DNS:a.test", .eku = "serverAuth" };
	static const struct spec own = { .cn = "we.test", .san = "DNS:we.test" };
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	struct cert leaf = make(&s, &inter), we = make(&own, &inter);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct gw_tls_conf tc = { 0 };
	struct gw_cert_report rep;
	struct gw_tls *t;
	struct pair p;
	char path[128];

	write_pem(path, "we.pem", &we, true);
	tc.cert = path;
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	for (int with = 0; with < 2; with++) {
		if (with) {
			SSL_CTX_use_certificate(ctx, leaf.x);
			SSL_CTX_use_PrivateKey(ctx, leaf.key);
			SSL_CTX_add1_chain_cert(ctx, inter.x);
		}
		pair_open(&p);
		p.server = gw_tls_accept_server(t, p.fd[0], TD_STR("we.test"));
		p.client = SSL_new(ctx);
		SSL_set_fd(p.client, p.fd[1]);
		SSL_set_connect_state(p.client);
		ck_assert(shake(&p));
		ck_assert_int_eq(gw_cert_judge(p.server, &ask, &rep),
				 with ? GW_CERT_GOOD : GW_CERT_NONE);
		ck_assert_str_eq(rep.why, with ? "" : "no certificate");
		ask.domain = TD_STR("b.test");
		ck_assert_int_eq(gw_cert_judge(p.server, &ask, &rep),
				 with ? GW_CERT_BAD : GW_CERT_NONE);
		ask.domain = TD_STR("a.test");
		pair_free(&p);
	}
	gw_tls_unref(&t);
	SSL_CTX_free(ctx);
	unlink(path);
	drop(&leaf);
	drop(&we);
}
END_TEST

START_TEST(test_report)
{
	static const struct spec s = { .cn = "One, \"two\"",
				       .san = "DNS:a.test," XMPP "b\"<.test,IP:192.0.2.1" };
	struct gw_cert_ask ask = { .domain = TD_STR("a.test"), .ca = ca };
	struct gw_cert_report rep;
	struct td_buf out = { 0 };
	const char *z;

	ck_assert_int_eq(judge_spec(&s, &ask, &rep), GW_CERT_GOOD);
	ck_assert_uint_eq(rep.n_names, 3);
	ck_assert_str_eq(rep.names[0], "DNS:a.test");
	ck_assert_str_eq(rep.names[1], "XMPP:b?<.test");
	ck_assert_str_eq(rep.names[2], "IP:192.0.2.1");
	ck_assert_str_eq(rep.issuer, "CN=inter");
	ck_assert(rep.not_before < time(NULL) && rep.not_after > time(NULL));
	ck_assert(rep.good_until > time(NULL) && rep.good_until <= rep.not_after);
	gw_cert_json(&rep, &out);
	z = td_buf_cstr(&out);
	ck_assert_ptr_nonnull(strstr(z, "{\"verdict\":\"good\",\"why\":\"\",\"by\":\"PKIX\""));
	ck_assert_ptr_nonnull(strstr(z, "\"matched\":\"DNS:a.test\""));
	ck_assert_ptr_nonnull(strstr(z, "\"names\":[\"DNS:a.test\",\"XMPP:b?"));
	ck_assert_ptr_nonnull(strstr(z, "T"));
	td_buf_clear(&out);
	rep = (struct gw_cert_report){ .why = "no certificate" };
	gw_cert_json(&rep, &out);
	ck_assert_str_eq(td_buf_cstr(&out), "{\"verdict\":\"none\",\"why\":\"no certificate\"}");
	td_buf_fini(&out);
}
END_TEST

START_TEST(test_ca_files)
{
	struct gw_ca *x = NULL;

	ck_assert_int_eq(gw_ca_new("/nonexistent/ca.pem", &x, &err), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/ca.pem"));
	ck_assert_ptr_null(x);
	ck_assert_int_eq(gw_ca_new(NULL, &x, &err), 0);
	gw_ca_unref(&x);
	gw_ca_unref(&x);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_names, 0, sizeof(names) / sizeof(names[0]));
	tcase_add_test(tc, test_nul);
	tcase_add_test(tc, test_ascii);
	tcase_add_test(tc, test_chain);
	tcase_add_test(tc, test_trust);
	tcase_add_test(tc, test_bad_issuers);
	tcase_add_test(tc, test_constraints);
	tcase_add_test(tc, test_weak);
	tcase_add_loop_test(tc, test_dane, 0, 24);
	tcase_add_test(tc, test_dane_full_anchor);
	tcase_add_test(tc, test_dane_names);
	tcase_add_test(tc, test_dane_unusable);
	tcase_add_test(tc, test_incoming);
	tcase_add_test(tc, test_report);
	tcase_add_test(tc, test_ca_files);
}

int
main(void)
{
	return run_suite("cert", fill);
}
