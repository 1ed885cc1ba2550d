/* cert - the chain by OpenSSL, DANE by OpenSSL, the names by us.
 *
 * Main path: gw_cert_judge -> (usable TLSA records? they decide : the trust anchors do) -> check_chain
 * -> find_name.  OpenSSL's own DANE code is used on the finished session's certificates: it hangs on
 * an SSL, so a bare one carries the records (the session itself was set up before they were judged,
 * and may be a server's).
 *
 * Names are ours because OpenSSL knows neither SRVName nor XmppAddr, takes common names, and lets a
 * wildcard stand for part of a label. */
#include "gateway/cert.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "gateway/base/err.h"
#include "gateway/tls.h"

#define DEPTH_MAX 10
#define LABEL_MAX 63
#define NAME_MAX_DNS 253
#define SRV_PREFIX "_xmpp-server."

struct gw_ca {
	atomic_int refs;
	X509_STORE *store;
};

/* What the certificate may say: reference identifiers (RFC 9525 6.1). */
struct refs {
	char domain[256], host[256]; /* A-labels; "" = none */
	unsigned char ip[16];        /* the domain is an address */
	size_t n_ip;
	struct td_str jid; /* the domain as it is */
};

/* One question while it is answered. */
struct judging {
	const struct gw_cert_ask *ask;
	struct gw_cert_report *rep;
	SSL *ssl;
	SSL *dane; /* NULL = PKIX alone */
	X509 *leaf;
	X509_STORE_CTX *ctx;
	struct refs refs;
	int error, depth; /* of the verification */
};

const char *
gw_cert_verdict_name(enum gw_cert_verdict v)
{
	static const char *const names[] = { "none", "good", "bad" };

	return v < GW_CERT_VERDICT_COUNT ? names[v] : "?";
}

const char *
gw_cert_by_name(enum gw_cert_by by)
{
	static const char *const names[] = { "nothing", "PKIX",    "DANE",   "PKIX-TA",
					     "PKIX-EE", "DANE-TA", "DANE-EE" };

	return by < GW_BY_COUNT ? names[by] : "?";
}

/* ---- trust anchors ---- */

/* One file with all anchors, where systems keep it: read here and now, while OpenSSL's own default
 * is a folder that it reads in the midst of a verification. */
static bool
load_system(X509_STORE *store)
{
	const char *const files[] = {
		getenv(X509_get_default_cert_file_env()),
		X509_get_default_cert_file(),
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (files[i] != NULL && X509_STORE_load_file(store, files[i]) == 1)
			return true;
		ERR_clear_error();
	}
	return X509_STORE_set_default_paths(store) == 1;
}

int
gw_ca_new(const char *path, struct gw_ca **out, struct td_err *err)
{
	struct gw_ca *ca = td_zalloc(sizeof(*ca));
	bool ok;

	atomic_init(&ca->refs, 1);
	ca->store = X509_STORE_new();
	if (ca->store == NULL)
		abort();
	ERR_clear_error();
	ok = path != NULL ? X509_STORE_load_file(ca->store, path) == 1 : load_system(ca->store);
	if (!ok) {
		gw_ca_unref(&ca);
		return td_fail(err, TD_E_INVAL, "CA %s: %s", path != NULL ? path : "of the system",
			       gw_tls_error());
	}
	*out = ca;
	return 0;
}

struct gw_ca *
gw_ca_ref(struct gw_ca *ca)
{
	if (ca != NULL)
		atomic_fetch_add(&ca->refs, 1);
	return ca;
}

void
gw_ca_unref(struct gw_ca **cap)
{
	struct gw_ca *ca = *cap;

	*cap = NULL;
	if (ca == NULL || atomic_fetch_sub(&ca->refs, 1) != 1)
		return;
	X509_STORE_free(ca->store);
	free(ca);
}

/* ---- names ---- */

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Labels of 1 to 63 letters, digits, '-' and '_'; lower-cased into <out>. */
static bool
copy_ascii(struct td_str s, char out[256])
{
	size_t label = 0;

	if (s.len > 0 && s.p[s.len - 1] == '.')
		s.len--;
	if (s.len == 0 || s.len > NAME_MAX_DNS)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = lower(s.p[i]);

		if (c == '.' ? label == 0 : ++label > LABEL_MAX)
			return false;
		if (c == '.')
			label = 0;
		else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
			   c == '_'))
			return false;
		out[i] = c;
	}
	out[s.len] = '\0';
	return label > 0;
}

static bool
is_ipv4(struct td_str s, unsigned char out[4])
{
	char z[INET_ADDRSTRLEN];

	if (s.len == 0 || s.len >= sizeof(z) || memchr(s.p, '\0', s.len) != NULL)
		return false;
	memcpy(z, s.p, s.len);
	z[s.len] = '\0';
	return inet_pton(AF_INET, z, out) == 1;
}

/* 4, 16, or 0 when <domain> is no literal address. */
static size_t
parse_ip(struct td_str domain, unsigned char out[16])
{
	char z[INET6_ADDRSTRLEN];

	if (is_ipv4(domain, out))
		return 4;
	if (domain.len < 4 || domain.p[0] != '[' || domain.p[domain.len - 1] != ']')
		return 0;
	domain = td_str(domain.p + 1, domain.len - 2);
	if (domain.len >= sizeof(z) || memchr(domain.p, '\0', domain.len) != NULL)
		return 0;
	memcpy(z, domain.p, domain.len);
	z[domain.len] = '\0';
	return inet_pton(AF_INET6, z, out) == 1 ? 16 : 0;
}

static bool
to_ascii(struct td_str domain, char out[256])
{
	char z[1024], *ascii = NULL;
	bool ok;

	if (td_ascii_run(domain, 0) == domain.len)
		return copy_ascii(domain, out);
	if (domain.len >= sizeof(z) || memchr(domain.p, '\0', domain.len) != NULL)
		return false;
	memcpy(z, domain.p, domain.len);
	z[domain.len] = '\0';
	ok = idn2_to_ascii_8z(z, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK &&
	     copy_ascii(td_cstr(ascii), out);
	idn2_free(ascii);
	return ok;
}

bool
gw_cert_ascii(struct td_str domain, char out[256])
{
	unsigned char ip[4];

	out[0] = '\0';
	/* other digits than ASCII's, and a dot at the end, are gone by now: is it an address? */
	if (domain.len > 0 && to_ascii(domain, out) && !is_ipv4(td_cstr(out), ip))
		return true;
	out[0] = '\0';
	return false;
}

/* ASCII, any case; a NUL in <a> equals nothing. */
static bool
same_name(struct td_str a, const char *b)
{
	return td_str_ieq(a, td_cstr(b));
}

bool
gw_cert_dns_match(struct td_str pattern, const char *name)
{
	const char *dot = strchr(name, '.');

	if (*name == '\0')
		return false;
	if (pattern.len < 2 || pattern.p[0] != '*' || pattern.p[1] != '.')
		return same_name(pattern, name);
	return dot != NULL && strchr(dot + 1, '.') != NULL &&
	       same_name(td_str(pattern.p + 1, pattern.len - 1), dot);
}

static struct td_str
asn1_str(const ASN1_STRING *s)
{
	return td_str((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

enum kind {
	K_OTHER = 0, /* no identity of a server */
	K_DNS,
	K_SRV,
	K_XMPP,
	K_IP,
};
static const char *const kind_names[] = { "", "DNS", "SRV", "XMPP", "IP" };

/* The kind and the bytes of one name of the certificate. */
static enum kind
read_name(const GENERAL_NAME *g, struct td_str *out)
{
	const OTHERNAME *o;

	switch (g->type) {
	case GEN_DNS: *out = asn1_str(g->d.dNSName); return K_DNS;
	case GEN_IPADD:
		*out = asn1_str(g->d.iPAddress);
		return out->len == 4 || out->len == 16 ? K_IP : K_OTHER;
	case GEN_OTHERNAME: break;
	default: return K_OTHER;
	}
	o = g->d.otherName;
	switch (OBJ_obj2nid(o->type_id)) {
	case NID_SRVName: /* RFC 4985 2 */
		if (ASN1_TYPE_get(o->value) != V_ASN1_IA5STRING)
			return K_OTHER;
		*out = asn1_str(o->value->value.ia5string);
		return K_SRV;
	case NID_XmppAddr: /* RFC 6120 13.7.1.4 */
		if (ASN1_TYPE_get(o->value) != V_ASN1_UTF8STRING)
			return K_OTHER;
		*out = asn1_str(o->value->value.utf8string);
		return K_XMPP;
	default: return K_OTHER;
	}
}

/* A JID that is a domain, and that one. */
static bool
xmpp_match(struct td_str addr, const struct refs *r)
{
	char ascii[256];

	if (addr.len == 0 || td_str_chr(addr, '@') >= 0 || td_str_chr(addr, '/') >= 0)
		return false;
	if (r->n_ip > 0)
		return td_str_ieq(addr, r->jid);
	return r->domain[0] != '\0' && gw_cert_ascii(addr, ascii) && strcmp(ascii, r->domain) == 0;
}

static bool
kind_matches(enum kind k, struct td_str v, const struct refs *r)
{
	switch (k) {
	case K_DNS: return gw_cert_dns_match(v, r->domain) || gw_cert_dns_match(v, r->host);
	case K_SRV: /* no wildcards: RFC 4985 knows none; the host is no name of the service */
		return r->domain[0] != '\0' && v.len > sizeof(SRV_PREFIX) - 1 &&
		       td_str_ieq(td_str(v.p, sizeof(SRV_PREFIX) - 1), TD_STR(SRV_PREFIX)) &&
		       same_name(td_str(v.p + sizeof(SRV_PREFIX) - 1,
					v.len - (sizeof(SRV_PREFIX) - 1)),
				 r->domain);
	case K_XMPP: return xmpp_match(v, r);
	case K_IP: return r->n_ip > 0 && v.len == r->n_ip && memcmp(v.p, r->ip, v.len) == 0;
	case K_OTHER: break;
	}
	return false;
}

/* "DNS:name" for people and logs. */
static void
show_name(enum kind k, struct td_str v, char *out, size_t cap)
{
	char ip[INET6_ADDRSTRLEN];
	int n;

	if (k == K_IP) {
		(void)inet_ntop(v.len == 4 ? AF_INET : AF_INET6, v.p, ip, sizeof(ip));
		v = td_cstr(ip);
	}
	n = snprintf(out, cap, "%s:", kind_names[k]);
	for (size_t i = 0; i < v.len && (size_t)n + 1 < cap; i++)
		out[n++] = v.p[i] > ' ' && v.p[i] < 127 && v.p[i] != '"' ? v.p[i] : '?';
	out[n] = '\0';
}

static void
load_refs(struct refs *r, struct td_str domain, struct td_str host)
{
	memset(r, 0, sizeof(*r));
	r->jid = domain;
	r->n_ip = parse_ip(domain, r->ip);
	(void)gw_cert_ascii(domain, r->domain);
	(void)gw_cert_ascii(host, r->host);
}

static enum kind
find_name(const GENERAL_NAMES *names, const struct refs *r, char *text, size_t cap)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		struct td_str v = TD_STR_NULL;
		enum kind k = read_name(sk_GENERAL_NAME_value(names, i), &v);

		if (kind_matches(k, v, r)) {
			show_name(k, v, text, cap);
			return k;
		}
	}
	return K_OTHER;
}

bool
gw_cert_find_name(const struct stack_st_GENERAL_NAME *names, struct td_str domain,
		  struct td_str host, char text[GW_CERT_NAME_TEXT])
{
	struct refs r;

	load_refs(&r, domain, host);
	return find_name(names, &r, text, GW_CERT_NAME_TEXT) != K_OTHER;
}

/* ---- name constraints ---- */

/* RFC 5280 4.2.1.10: the name is <base>, or lies below it. */
static bool
below(const char *name, struct td_str base)
{
	size_t n = strlen(name);

	if (base.len > 0 && base.p[0] == '.')
		base = td_str(base.p + 1, base.len - 1);
	if (base.len == 0)
		return true;
	return n >= base.len && td_str_ieq(td_str(name + n - base.len, base.len), base) &&
	       (n == base.len || name[n - base.len - 1] == '.');
}

static bool
in_subtrees(const STACK_OF(GENERAL_SUBTREE) * trees, const char *name, bool *any)
{
	bool in = false;

	*any = false;
	for (int i = 0; i < sk_GENERAL_SUBTREE_num(trees); i++) {
		const GENERAL_NAME *g = sk_GENERAL_SUBTREE_value(trees, i)->base;

		if (g->type != GEN_DNS)
			continue;
		*any = true;
		in = in || below(name, asn1_str(g->d.dNSName));
	}
	return in;
}

/* May every CA of <chain> speak for <name>?  OpenSSL has asked that for a dNSName; an SRVName and an
 * XmppAddr are other kinds to it, which a CA bound to some domains could fill with any. */
static bool
may_name(STACK_OF(X509) * chain, const char *name)
{
	bool ok = true;

	for (int i = 1; ok && i < sk_X509_num(chain); i++) {
		NAME_CONSTRAINTS *nc =
			X509_get_ext_d2i(sk_X509_value(chain, i), NID_name_constraints, NULL, NULL);
		bool any, in;

		if (nc == NULL)
			continue;
		in = in_subtrees(nc->permittedSubtrees, name, &any);
		ok = (in || !any) && !in_subtrees(nc->excludedSubtrees, name, &any);
		NAME_CONSTRAINTS_free(nc);
	}
	return ok;
}

/* ---- what is in the certificate ---- */

static int64_t
asn1_seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void
show_dn(const X509_NAME *dn, char *out, size_t cap)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p;
	long n;

	if (b == NULL)
		abort();
	(void)X509_NAME_print_ex(b, dn, 0, XN_FLAG_RFC2253);
	n = BIO_get_mem_data(b, &p);
	(void)snprintf(out, cap, "%.*s", n > 0 ? (int)n : 0, n > 0 ? p : "");
	BIO_free(b);
}

static void
describe(const struct judging *j, const GENERAL_NAMES *names)
{
	struct gw_cert_report *rep = j->rep;

	show_dn(X509_get_subject_name(j->leaf), rep->subject, sizeof(rep->subject));
	show_dn(X509_get_issuer_name(j->leaf), rep->issuer, sizeof(rep->issuer));
	rep->not_before = asn1_seconds(X509_get0_notBefore(j->leaf));
	rep->not_after = asn1_seconds(X509_get0_notAfter(j->leaf));
	(void)X509_digest(j->leaf, EVP_sha256(), rep->sha256, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		struct td_str v = TD_STR_NULL;
		enum kind k = read_name(sk_GENERAL_NAME_value(names, i), &v);

		if (k == K_OTHER || rep->n_names >= GW_CERT_NAMES_MAX)
			continue;
		show_name(k, v, rep->names[rep->n_names], sizeof(rep->names[0]));
		rep->n_names++;
	}
}

/* ---- the chain ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static X509_STORE *nobody; /* trusts no one */
static SSL_CTX *dane_ctx;

static void
make_shared(void)
{
	nobody = X509_STORE_new();
	dane_ctx = SSL_CTX_new(TLS_client_method());
	if (nobody == NULL || dane_ctx == NULL || SSL_CTX_dane_enable(dane_ctx) != 1)
		abort();
}

/* The usable records on a bare SSL, NULL when there are none (RFC 7671 4.1 and 10.3: unknown usages,
 * selectors and matching types, and digests of a wrong length, are as if not there). */
static SSL *
load_tlsa(const struct gw_cert_ask *ask, size_t *n_out)
{
	SSL *ssl;

	*n_out = 0;
	if (!ask->tlsa_secure || ask->n_tlsa == 0)
		return NULL;
	ssl = SSL_new(dane_ctx);
	if (ssl == NULL || SSL_dane_enable(ssl, NULL) != 1)
		abort();
	for (size_t i = 0; i < ask->n_tlsa; i++) {
		const struct gw_tlsa *t = &ask->tlsa[i];

		if (SSL_dane_tlsa_add(ssl, t->usage, t->selector, t->matching,
				      (const unsigned char *)t->data.p, t->data.len) == 1)
			++*n_out;
	}
	ERR_clear_error();
	if (*n_out == 0) {
		SSL_free(ssl);
		return NULL;
	}
	return ssl;
}

static bool
verify_for(struct judging *j, int purpose)
{
	X509_STORE *store = j->ask->ca != NULL ? j->ask->ca->store : nobody;
	X509_VERIFY_PARAM *param;

	X509_STORE_CTX_cleanup(j->ctx);
	/* on the server's side the leaf is not in the peer's chain; on the client's it is, and is no
	 * harm there */
	if (X509_STORE_CTX_init(j->ctx, store, j->leaf, SSL_get_peer_cert_chain(j->ssl)) != 1)
		abort();
	param = X509_STORE_CTX_get0_param(j->ctx);
	X509_VERIFY_PARAM_set_depth(param, DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(j->ssl));
	if (j->ask->now != 0)
		X509_VERIFY_PARAM_set_time(param, (time_t)j->ask->now);
	if (purpose != X509_PURPOSE_ANY)
		X509_STORE_CTX_set_purpose(j->ctx, purpose);
	if (j->dane != NULL)
		X509_STORE_CTX_set0_dane(j->ctx, SSL_get0_dane(j->dane));
	if (X509_verify_cert(j->ctx) == 1)
		return true;
	j->error = X509_STORE_CTX_get_error(j->ctx);
	j->depth = X509_STORE_CTX_get_error_depth(j->ctx);
	return false;
}

/* A server's certificate serves in both directions: CAs that issue for servers do not mark it for
 * clients, too, and XMPP servers have long taken either. */
static bool
check_chain(struct judging *j)
{
	static const int purposes[] = { X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT };

	for (size_t i = 0; i < sizeof(purposes) / sizeof(purposes[0]); i++) {
		if (verify_for(j, purposes[i]))
			return true;
		if (j->error != X509_V_ERR_INVALID_PURPOSE)
			return false;
	}
	return (X509_get_extended_key_usage(j->leaf) & XKU_ANYEKU) != 0 && j->depth == 0 &&
	       verify_for(j, X509_PURPOSE_ANY);
}

static void
set_why(struct judging *j)
{
	static const struct {
		int error;
		const char *why;
	} rows[] = {
		{ X509_V_ERR_CERT_HAS_EXPIRED, "expired" },
		{ X509_V_ERR_CERT_NOT_YET_VALID, "not yet valid" },
		{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "self-signed" },
		{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "unknown CA" },
		{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "unknown CA" },
		{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "unknown CA" },
		{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "unknown CA" },
		{ X509_V_ERR_CERT_UNTRUSTED, "unknown CA" },
		{ X509_V_ERR_CERT_SIGNATURE_FAILURE, "signature is wrong" },
		{ X509_V_ERR_INVALID_PURPOSE, "not for TLS" },
		{ X509_V_ERR_EE_KEY_TOO_SMALL, "key is too weak" },
		{ X509_V_ERR_CA_KEY_TOO_SMALL, "key is too weak" },
		{ X509_V_ERR_CA_MD_TOO_WEAK, "signature is too weak" },
		{ X509_V_ERR_DANE_NO_MATCH, "DANE mismatch" },
	};
	const char *why = NULL;

	for (size_t i = 0; why == NULL && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].error == j->error)
			why = rows[i].why;
	/* whatever else is wrong: no record is about this chain */
	if (j->dane != NULL && SSL_get0_dane_authority(j->dane, NULL, NULL) < 0)
		why = "DANE mismatch";
	if (why == NULL)
		why = X509_verify_cert_error_string(j->error);
	(void)snprintf(j->rep->why, sizeof(j->rep->why), "%s%s", why,
		       j->depth > 0 && (j->error == X509_V_ERR_CERT_HAS_EXPIRED ||
					j->error == X509_V_ERR_CERT_NOT_YET_VALID)
			       ? " (a CA of its chain)"
			       : "");
}

static int64_t
chain_end(STACK_OF(X509) * chain)
{
	int64_t end = 0;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t t = asn1_seconds(X509_get0_notAfter(sk_X509_value(chain, i)));

		if (end == 0 || t < end)
			end = t;
	}
	return end;
}

static enum gw_cert_by
decided_by(const struct judging *j)
{
	static const enum gw_cert_by by[] = { GW_BY_PKIX_TA, GW_BY_PKIX_EE, GW_BY_DANE_TA,
					      GW_BY_DANE_EE };
	uint8_t usage, selector, matching;
	const unsigned char *data;
	size_t n;

	if (j->dane == NULL)
		return GW_BY_PKIX;
	if (SSL_get0_dane_tlsa(j->dane, &usage, &selector, &matching, &data, &n) < 0 || usage > 3)
		return GW_BY_DANE;
	return by[usage];
}

/* ---- the verdict ---- */

static enum gw_cert_verdict
decide(struct judging *j, const GENERAL_NAMES *names)
{
	struct gw_cert_report *rep = j->rep;
	STACK_OF(X509) * chain;
	enum kind k;

	rep->chain_ok = check_chain(j);
	if (!rep->chain_ok)
		set_why(j);
	rep->by = decided_by(j);
	k = find_name(names, &j->refs, rep->matched, sizeof(rep->matched));
	rep->name_ok = k != K_OTHER;
	if (!rep->chain_ok)
		return GW_CERT_BAD;
	if (rep->by == GW_BY_DANE_EE) /* RFC 7671 5.1: neither names nor dates count */
		return GW_CERT_GOOD;
	chain = X509_STORE_CTX_get0_chain(j->ctx);
	rep->good_until = chain_end(chain);
	if ((k == K_SRV || k == K_XMPP) && !may_name(chain, j->refs.domain)) {
		rep->name_ok = false;
		rep->matched[0] = '\0';
	}
	if (rep->name_ok || j->ask->names == GW_NAMES_ANY)
		return GW_CERT_GOOD;
	(void)snprintf(rep->why, sizeof(rep->why), "name does not match");
	return GW_CERT_BAD;
}

enum gw_cert_verdict
gw_cert_judge(SSL *ssl, const struct gw_cert_ask *ask, struct gw_cert_report *rep)
{
	struct gw_cert_report own;
	struct judging j = { .ask = ask, .rep = &own, .ssl = ssl };
	GENERAL_NAMES *names;

	(void)pthread_once(&once, make_shared);
	if (rep != NULL)
		j.rep = rep;
	memset(j.rep, 0, sizeof(*j.rep));
	j.leaf = SSL_get0_peer_certificate(ssl);
	if (j.leaf == NULL) {
		(void)snprintf(j.rep->why, sizeof(j.rep->why), "no certificate");
		return GW_CERT_NONE;
	}
	ERR_clear_error();
	load_refs(&j.refs, ask->domain, ask->host_secure ? ask->host : TD_STR_NULL);
	names = X509_get_ext_d2i(j.leaf, NID_subject_alt_name, NULL, NULL);
	describe(&j, names);
	j.dane = load_tlsa(ask, &j.rep->n_tlsa_usable);
	j.ctx = X509_STORE_CTX_new();
	if (j.ctx == NULL)
		abort();
	j.rep->verdict = decide(&j, names);
	X509_STORE_CTX_free(j.ctx);
	SSL_free(j.dane);
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return j.rep->verdict;
}

/* ---- for people ---- */

static void
add_text(struct td_buf *out, const char *name, const char *value)
{
	td_buf_addf(out, ",\"%s\":", name);
	td_buf_add_json(out, td_cstr(value));
}

static void
add_time(struct td_buf *out, const char *name, int64_t t)
{
	char text[40] = "";
	time_t tt = (time_t)t;
	struct tm tm;

	if (t != 0 && gmtime_r(&tt, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	add_text(out, name, text);
}

void
gw_cert_json(const struct gw_cert_report *rep, struct td_buf *out)
{
	td_buf_addf(out, "{\"verdict\":\"%s\"", gw_cert_verdict_name(rep->verdict));
	add_text(out, "why", rep->why);
	if (rep->verdict != GW_CERT_NONE) {
		add_text(out, "by", gw_cert_by_name(rep->by));
		td_buf_addf(out, ",\"chain\":%s,\"name\":%s", rep->chain_ok ? "true" : "false",
			    rep->name_ok ? "true" : "false");
		add_text(out, "matched", rep->matched);
		td_buf_addz(out, ",\"names\":[");
		for (size_t i = 0; i < rep->n_names; i++) {
			if (i > 0)
				td_buf_addc(out, ',');
			td_buf_add_json(out, td_cstr(rep->names[i]));
		}
		td_buf_addc(out, ']');
		add_text(out, "subject", rep->subject);
		add_text(out, "issuer", rep->issuer);
		add_time(out, "not_before", rep->not_before);
		add_time(out, "not_after", rep->not_after);
		add_time(out, "good_until", rep->good_until);
		td_buf_addz(out, ",\"sha256\":\"");
		td_buf_add_hex(out, rep->sha256, sizeof(rep->sha256));
		td_buf_addf(out, "\",\"tlsa_usable\":%zu", rep->n_tlsa_usable);
	}
	td_buf_addc(out, '}');
}
