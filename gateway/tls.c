/* tls - contexts per listener, per domain, and for what we dial.
 *
 * A listener's context decides protocols, ciphers and client certificates; a domain's only brings
 * another certificate (SSL_set_SSL_CTX copies no more than that), so domains are loaded once per
 * generation.  The certificate is chosen by SNI, else by the 'to' of the stream.
 *
 * Tickets are stateless (their keys live and die with the context), and no session is cached.
 *
 * Streams of servers get no tickets: a resumed session would show no certificate, and one is asked
 * for in each.  No certificate of a server ends a handshake; what it is worth, gw_cert_judge says. */
#include "gateway/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <idn2.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "gateway/base/err.h"
#include "gateway/cert.h"
#include "xmpp/c2s.h"
#include "gateway/base/map.h"
#include "xmpp/sasl.h"

#define CIPHERS_DEFAULT "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK:!SRP"
#define SELF_SIGNED_DAYS 3650
#define ALPN_MAX 64
#define ALPN_SERVER "xmpp-server"
#define ALPN_CLIENT "xmpp-client"

struct cert_entry {
	SSL_CTX *ctx;
	char *name, *ascii; /* prepared; A-labels when they differ */
};

struct gw_certs {
	atomic_int refs;
	struct td_map by_name; /* -> struct cert_entry */
	struct cert_entry **all;
	size_t n;
};

struct gw_tls {
	atomic_int refs;
	SSL_CTX *ctx;
	struct gw_certs *certs;         /* may be NULL */
	char *ciphers;                  /* NULL = ours */
	STACK_OF(X509_NAME) * ca_names; /* NULL = no client CA */
	unsigned char alpn[ALPN_MAX];   /* as on the wire: each with its length before */
	unsigned alpn_len;              /* 0 = none */
	bool servers_only;
};

struct gw_tls_client {
	atomic_int refs;
	SSL_CTX *ctx;
	struct gw_certs *certs; /* may be NULL */
};

const char *
gw_tls_error(void)
{
	static _Thread_local char text[200];
	unsigned long e = ERR_get_error();

	if (e == 0)
		(void)snprintf(text, sizeof(text), "%s",
			       errno != 0 ? strerror(errno) : "unknown error");
	else
		ERR_error_string_n(e, text, sizeof(text));
	ERR_clear_error();
	return text;
}

/* ---- certificates ---- */

static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1; /* a daemon cannot be asked */
}

static int
load_pair(SSL_CTX *ctx, const char *cert, const char *key, struct td_err *err)
{
	if (key == NULL)
		key = cert;
	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return td_fail(err, TD_E_INVAL, "certificate %s: %s", cert, gw_tls_error());
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return td_fail(err, TD_E_INVAL, "key %s: %s", key, gw_tls_error());
	if (SSL_CTX_check_private_key(ctx) != 1)
		return td_fail(err, TD_E_INVAL, "key %s does not belong to certificate %s", key,
			       cert);
	return 0;
}

/* The peer's certificate is judged by who asks for it (SASL EXTERNAL), not by the handshake. */
static int
verify_later(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

/* Of a server's stream; a function of its own, since it marks such a session. */
static int
verify_server(int ok, X509_STORE_CTX *store)
{
	return verify_later(ok, store);
}

/* The other end is a server: let it show its certificate (XEP-0178 3).  Whatever the listener wants
 * of clients is not meant: no names of CAs are sent, and nothing ends the handshake. */
static void
ask_server(SSL *ssl)
{
	SSL_set_verify(ssl, SSL_VERIFY_PEER, verify_server);
	SSL_set_client_CA_list(ssl, sk_X509_NAME_new_null());
	(void)SSL_set_num_tickets(ssl, 0);
	SSL_set_options(ssl, SSL_OP_NO_TICKET);
}

static bool
is_server_stream(const SSL *ssl)
{
	return SSL_get_verify_callback(ssl) == verify_server;
}

/* The first protocol the client asks for that is ours, too. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
	unsigned inlen, void *arg)
{
	const struct gw_tls *t = SSL_get_app_data(ssl);
	unsigned char *chosen;

	(void)arg;
	if (t->alpn_len == 0)
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_select_next_proto(&chosen, outlen, in, inlen, t->alpn, t->alpn_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2 */
	*out = chosen;
	if (td_str_eqc(td_str((const char *)chosen, *outlen), ALPN_SERVER))
		ask_server(ssl);
	return SSL_TLSEXT_ERR_OK;
}

/* What every context of ours has in common. */
static SSL_CTX *
base_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL)
		abort();
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx,
			    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(
		ctx, 1); /* one recv for header and record; SSL_has_pending tells what is left */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_set_cipher_list(ctx, CIPHERS_DEFAULT) != 1)
		abort();
	return ctx;
}

static SSL_CTX *
server_ctx(void)
{
	SSL_CTX *ctx = base_ctx(TLS_server_method());

	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tandem", 6);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	return ctx;
}

struct gw_certs *
gw_certs_new(void)
{
	struct gw_certs *c = td_zalloc(sizeof(*c));

	atomic_init(&c->refs, 1);
	return c;
}

int
gw_certs_add(struct gw_certs *c, struct td_str name, const char *cert, const char *key,
	     struct td_err *err)
{
	struct cert_entry *e;
	SSL_CTX *ctx = server_ctx();
	char *ascii = NULL;
	int rc = load_pair(ctx, cert, key, err);

	if (rc < 0) {
		SSL_CTX_free(ctx);
		return td_wrap(err, "domain %.*s", TD_STR_ARG(name));
	}
	e = td_zalloc(sizeof(*e));
	e->ctx = ctx;
	e->name = td_strndup(name);
	if (idn2_to_ascii_8z(e->name, &ascii, IDN2_NONTRANSITIONAL) == IDN2_OK &&
	    strcmp(ascii, e->name) != 0)
		e->ascii = td_strdup(ascii);
	idn2_free(ascii);
	c->all = td_realloc(c->all, (c->n + 1) * sizeof(struct cert_entry *));
	c->all[c->n++] = e;
	(void)td_map_set(&c->by_name, td_cstr(e->name), e);
	if (e->ascii != NULL)
		(void)td_map_set(&c->by_name, td_cstr(e->ascii), e);
	return 0;
}

struct gw_certs *
gw_certs_ref(struct gw_certs *c)
{
	if (c != NULL)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

void
gw_certs_unref(struct gw_certs **cp)
{
	struct gw_certs *c = *cp;

	*cp = NULL;
	if (c == NULL || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	for (size_t i = 0; i < c->n; i++) {
		SSL_CTX_free(c->all[i]->ctx);
		free(c->all[i]->name);
		free(c->all[i]->ascii);
		free(c->all[i]);
	}
	free(c->all);
	td_map_fini(&c->by_name);
	free(c);
}

size_t
gw_certs_count(const struct gw_certs *c)
{
	return c != NULL ? c->n : 0;
}

static SSL_CTX *
cert_for(const struct gw_certs *c, struct td_str name)
{
	char low[256];
	struct cert_entry *e;

	if (c == NULL || name.len == 0 || name.len >= sizeof(low))
		return NULL;
	for (size_t i = 0; i < name.len; i++)
		low[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
	if (low[name.len - 1] == '.')
		name.len--;
	e = td_map_find(&c->by_name, td_str(low, name.len));
	return e != NULL ? e->ctx : NULL;
}

/* ---- a listener's context ---- */

/* Show another certificate.  What else hangs on a context goes with it, so the listener's ciphers
 * and client CAs are put on the session. */
static void
switch_ctx(const struct gw_tls *t, SSL *ssl, SSL_CTX *ctx)
{
	SSL_set_SSL_CTX(ssl, ctx);
	if (t->ciphers != NULL)
		(void)SSL_set_cipher_list(ssl, t->ciphers);
	if (t->ca_names != NULL && !is_server_stream(ssl)) {
		SSL_set1_verify_cert_store(ssl, SSL_CTX_get_cert_store(t->ctx));
		SSL_set_client_CA_list(ssl, SSL_dup_CA_list(t->ca_names));
	}
}

static int
on_sni(SSL *ssl, int *alert, void *arg)
{
	struct gw_tls *t = arg;
	SSL_CTX *ctx =
		cert_for(t->certs, td_cstr(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)));

	(void)alert;
	if (ctx == NULL)
		return SSL_TLSEXT_ERR_NOACK; /* keep what gw_tls_accept chose */
	switch_ctx(t, ssl, ctx);
	return SSL_TLSEXT_ERR_OK;
}

/* "+ALL -TLSv1.2", blanks or commas between; a name without sign adds. */
static int
set_protocols(SSL_CTX *ctx, const char *text, struct td_err *err)
{
	static const struct {
		const char *name;
		unsigned bits; /* 1 = TLS 1.2, 2 = TLS 1.3 */
	} words[] = {
		{ "ALL", 3 },     { "SSLv2", 0 },   { "SSLv3", 0 },   { "TLSv1", 0 },
		{ "TLSv1.0", 0 }, { "TLSv1.1", 0 }, { "TLSv1.2", 1 }, { "TLSv1.3", 2 },
	};
	unsigned on = 0;

	for (const char *p = text; *p != '\0';) {
		size_t n = strcspn(p, " ,\t"), i;
		bool add = *p != '-';
		struct td_str w = td_str(p, n);

		p += n;
		p += strspn(p, " ,\t");
		if (w.len > 0 && (w.p[0] == '+' || w.p[0] == '-'))
			w.p++, w.len--;
		if (w.len == 0)
			continue;
		for (i = 0;
		     i < sizeof(words) / sizeof(words[0]) && !td_str_ieq(w, td_cstr(words[i].name));
		     i++)
			;
		if (i == sizeof(words) / sizeof(words[0]))
			return td_fail(err, TD_E_INVAL, "tls_protocols: %.*s is no protocol",
				       TD_STR_ARG(w));
		on = add ? on | words[i].bits : on & ~words[i].bits;
	}
	if (on == 0)
		return td_fail(err, TD_E_INVAL,
			       "tls_protocols '%s' leaves none of TLSv1.2 and TLSv1.3", text);
	SSL_CTX_set_min_proto_version(ctx, (on & 1u) != 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
	SSL_CTX_set_max_proto_version(ctx, (on & 2u) != 0 ? 0 : TLS1_2_VERSION);
	return 0;
}

static int
set_verify(struct gw_tls *t, const struct gw_tls_conf *tc, struct td_err *err)
{
	SSL_CTX *ctx = t->ctx;

	if (tc->client_ca != NULL) {
		t->ca_names = SSL_load_client_CA_file(tc->client_ca);
		if (t->ca_names == NULL || SSL_CTX_load_verify_file(ctx, tc->client_ca) != 1)
			return td_fail(err, TD_E_INVAL, "client CA %s: %s", tc->client_ca,
				       gw_tls_error());
		SSL_CTX_set_client_CA_list(ctx, SSL_dup_CA_list(t->ca_names));
	}
	if (tc->verify == GW_VERIFY_REQUIRE)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	else if (tc->verify == GW_VERIFY_OPTIONAL)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, verify_later);
	return 0;
}

/* Protocols and ciphers; *own_out (when not NULL): ours to free, NULL = the default. */
static int
set_strength(SSL_CTX *ctx, const char *protocols, const char *ciphers, char **own_out,
	     struct td_err *err)
{
	int rc = 0;

	if (protocols != NULL && *protocols != '\0')
		rc = set_protocols(ctx, protocols, err);
	if (rc < 0 || ciphers == NULL || *ciphers == '\0' || strcasecmp(ciphers, "DEFAULT") == 0)
		return rc;
	if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
		return td_fail(err, TD_E_INVAL, "tls_ciphers '%s': %s", ciphers, gw_tls_error());
	if (own_out != NULL)
		*own_out = td_strdup(ciphers);
	return 0;
}

/* "a,b" as on the wire. */
static int
set_alpn(struct gw_tls *t, const char *text, struct td_err *err)
{
	struct td_str rest = td_cstr(text), name;

	while (rest.len > 0) {
		name = td_str_cut(&rest, ',');
		if (name.len == 0 || t->alpn_len + 1 + name.len > sizeof(t->alpn))
			return td_fail(err, TD_E_INVAL, "ALPN '%s' is no list", text);
		t->alpn[t->alpn_len] = (unsigned char)name.len;
		memcpy(t->alpn + t->alpn_len + 1, name.p, name.len);
		t->alpn_len += 1u + (unsigned)name.len;
	}
	return 0;
}

static int
setup(struct gw_tls *t, const struct gw_tls_conf *tc, struct td_err *err)
{
	int rc = 0;

	if (tc->cert != NULL)
		rc = load_pair(t->ctx, tc->cert, tc->key, err);
	else if (gw_certs_count(tc->certs) == 0)
		rc = td_fail(err, TD_E_INVAL, "no certificate");
	if (rc == 0)
		rc = set_strength(t->ctx, tc->protocols, tc->ciphers, &t->ciphers, err);
	if (rc == 0)
		rc = set_verify(t, tc, err);
	if (rc == 0 && tc->alpn != NULL)
		rc = set_alpn(t, tc->alpn, err);
	if (rc < 0)
		return rc;
	t->servers_only = tc->servers_only;
	SSL_CTX_set_tlsext_servername_callback(t->ctx, on_sni);
	SSL_CTX_set_tlsext_servername_arg(t->ctx, t);
	return 0;
}

int
gw_tls_new(const struct gw_tls_conf *tc, struct gw_tls **out, struct td_err *err)
{
	struct gw_tls *t = td_zalloc(sizeof(*t));
	int rc;

	atomic_init(&t->refs, 1);
	t->ctx = server_ctx();
	t->certs = gw_certs_ref(tc->certs);
	rc = setup(t, tc, err);
	if (rc < 0)
		gw_tls_unref(&t);
	else
		*out = t;
	return rc;
}

struct gw_tls *
gw_tls_ref(struct gw_tls *t)
{
	if (t != NULL)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void
gw_tls_unref(struct gw_tls **tp)
{
	struct gw_tls *t = *tp;

	*tp = NULL;
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	SSL_CTX_free(t->ctx);
	sk_X509_NAME_pop_free(t->ca_names, X509_NAME_free);
	free(t->ciphers);
	gw_certs_unref(&t->certs);
	free(t);
}

static SSL *
accept_stream(struct gw_tls *t, int fd, struct td_str domain, bool server)
{
	SSL *ssl = SSL_new(t->ctx);
	SSL_CTX *ctx = cert_for(t->certs, domain);

	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
		abort(); /* out of memory */
	/* with no certificate of its own the listener shows that of its first domain */
	if (ctx == NULL && SSL_CTX_get0_certificate(t->ctx) == NULL)
		ctx = t->certs->all[0]->ctx;
	SSL_set_app_data(ssl, t);
	if (server)
		ask_server(ssl);
	if (ctx != NULL)
		switch_ctx(t, ssl, ctx);
	SSL_set_accept_state(ssl);
	return ssl;
}

SSL *
gw_tls_accept(struct gw_tls *t, int fd, struct td_str domain)
{
	return accept_stream(t, fd, domain, t->servers_only);
}

SSL *
gw_tls_accept_server(struct gw_tls *t, int fd, struct td_str domain)
{
	return accept_stream(t, fd, domain, true);
}

enum gw_alpn
gw_tls_alpn(const SSL *ssl)
{
	const unsigned char *p;
	unsigned n;
	struct td_str name;

	SSL_get0_alpn_selected(ssl, &p, &n);
	name = td_str((const char *)p, n);
	return n == 0                          ? GW_ALPN_NONE
	       : td_str_eqc(name, ALPN_SERVER) ? GW_ALPN_SERVER
	       : td_str_eqc(name, ALPN_CLIENT) ? GW_ALPN_CLIENT
					       : GW_ALPN_OTHER;
}

void
gw_tls_keep_buffers(SSL *ssl, bool keep)
{
	if (keep) {
		SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
		return;
	}
	SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_free_buffers(
		ssl); /* refused when something is in them: then the next read does it */
}

/* ---- towards other servers ---- */

/* In place of OpenSSL's whole verification, which would build a chain for nothing. */
static int
verify_nothing(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION); /* never "good" */
	return 1;
}

int
gw_tls_client_new(const struct gw_tls_client_conf *cc, struct gw_tls_client **out,
		  struct td_err *err)
{
	struct gw_tls_client *t = td_zalloc(sizeof(*t));
	int rc = 0;

	atomic_init(&t->refs, 1);
	t->ctx = base_ctx(TLS_client_method());
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(t->ctx, verify_nothing, NULL);
	t->certs = gw_certs_ref(cc->certs);
	if (cc->cert != NULL)
		rc = load_pair(t->ctx, cc->cert, cc->key, err);
	if (rc == 0)
		rc = set_strength(t->ctx, cc->protocols, cc->ciphers, NULL, err);
	if (rc < 0)
		gw_tls_client_unref(&t);
	else
		*out = t;
	return rc;
}

struct gw_tls_client *
gw_tls_client_ref(struct gw_tls_client *t)
{
	if (t != NULL)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void
gw_tls_client_unref(struct gw_tls_client **tp)
{
	struct gw_tls_client *t = *tp;

	*tp = NULL;
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	SSL_CTX_free(t->ctx);
	gw_certs_unref(&t->certs);
	free(t);
}

/* The certificate, key and chain of <from>, and nothing else of it. */
static void
show_cert(SSL *ssl, SSL_CTX *from)
{
	STACK_OF(X509) *chain = NULL;

	SSL_CTX_get0_chain_certs(from, &chain);
	if (SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(from), SSL_CTX_get0_privatekey(from),
				 chain, 1) != 1)
		ERR_clear_error(); /* too weak for this context: then none is shown */
}

SSL *
gw_tls_connect(struct gw_tls_client *t, int fd, struct td_str remote, struct td_str local,
	       bool direct)
{
	static const unsigned char alpn[] = "\x0b" ALPN_SERVER;
	SSL *ssl = SSL_new(t->ctx);
	SSL_CTX *own = cert_for(t->certs, local);
	char sni[256];

	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
		abort(); /* out of memory */
	if (own != NULL)
		show_cert(ssl, own);
	if (gw_cert_ascii(remote, sni) && SSL_set_tlsext_host_name(ssl, sni) != 1)
		ERR_clear_error();
	if (direct && SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1) != 0)
		abort();
	SSL_set_connect_state(ssl);
	return ssl;
}

/* ---- channel bindings ---- */

/* RFC 5929 4.1: the hash of the certificate's own signature, MD5 and SHA-1 replaced by SHA-256;
 * undefined for signatures without one (EdDSA). */
static size_t
hash_end_point(SSL *ssl, unsigned char *out)
{
	X509 *cert = SSL_get_certificate(ssl);
	const EVP_MD *md;
	int md_nid = NID_undef;
	unsigned n = 0;

	if (cert == NULL || X509_get_signature_info(cert, &md_nid, NULL, NULL, NULL) != 1 ||
	    md_nid == NID_undef)
		return 0;
	if (md_nid == NID_md5 || md_nid == NID_sha1 || md_nid == NID_md5_sha1)
		md_nid = NID_sha256;
	md = EVP_get_digestbynid(md_nid);
	if (md == NULL || EVP_MD_get_size(md) > GW_CB_MAX || X509_digest(cert, md, out, &n) != 1)
		return 0;
	return n;
}

/* RFC 9266 4.2: below TLS 1.3 only with the extended master secret. */
static bool
is_unique(SSL *ssl)
{
	return SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;
}

unsigned
gw_tls_binding_types(SSL *ssl)
{
	X509 *cert = SSL_get_certificate(ssl);
	int md_nid = NID_undef;
	bool hashed = cert != NULL &&
		      X509_get_signature_info(cert, &md_nid, NULL, NULL, NULL) == 1 &&
		      md_nid != NID_undef;

	return (is_unique(ssl) ? XB_TLS_EXPORTER : 0) | (hashed ? XB_TLS_SERVER_END_POINT : 0);
}

void
gw_tls_binding(SSL *ssl, struct gw_cb_buf *buf, struct xmpp_cb_data *out)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	bool unique = is_unique(ssl);

	memset(out, 0, sizeof(*out));
	out->tls_server_end_point =
		td_str((char *)buf->end_point, hash_end_point(ssl, buf->end_point));
	/* section 2: the context is a zero-length string, not absent */
	if (unique &&
	    SSL_export_keying_material(ssl, buf->exporter, sizeof(buf->exporter), label,
				       sizeof(label) - 1, (const unsigned char *)"", 0, 1) == 1)
		out->tls_exporter = td_str((char *)buf->exporter, sizeof(buf->exporter));
	if (unique) { /* RFC 5929 3.1: the first Finished message; the client's in a full handshake */
		size_t n = SSL_session_reused(ssl)
				   ? SSL_get_finished(ssl, buf->unique, sizeof(buf->unique))
				   : SSL_get_peer_finished(ssl, buf->unique, sizeof(buf->unique));

		out->tls_unique = td_str((char *)buf->unique, n <= sizeof(buf->unique) ? n : 0);
	}
}

/* ---- certificates of clients ---- */

#define OID_XMPP_ADDR "1.3.6.1.5.5.7.8.5" /* RFC 6120 13.7.1.4 */

static struct td_str
asn1_text(struct td_arena *a, const ASN1_STRING *v)
{
	return td_arena_str(
		a, td_str((const char *)ASN1_STRING_get0_data(v), (size_t)ASN1_STRING_length(v)));
}

static bool
is_xmpp_addr(const OTHERNAME *o)
{
	char oid[64];

	return OBJ_obj2txt(oid, sizeof(oid), o->type_id, 1) > 0 &&
	       strcmp(oid, OID_XMPP_ADDR) == 0 && ASN1_TYPE_get(o->value) == V_ASN1_UTF8STRING;
}

static void
read_alt_names(X509 *x, struct td_arena *a, struct xmpp_cert *out)
{
	const size_t max = sizeof(out->addr) / sizeof(out->addr[0]);
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		if (g->type == GEN_OTHERNAME && is_xmpp_addr(g->d.otherName) && out->n_addr < max)
			out->addr[out->n_addr++] =
				asn1_text(a, g->d.otherName->value->value.utf8string);
		else if (g->type == GEN_EMAIL && out->n_email < max)
			out->email[out->n_email++] = asn1_text(a, g->d.rfc822Name);
	}
	GENERAL_NAMES_free(names);
}

static void
read_common_name(X509 *x, struct td_arena *a, struct xmpp_cert *out)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const X509_NAME_ENTRY *e = i >= 0 ? X509_NAME_get_entry(subject, i) : NULL;
	unsigned char *utf8 = NULL;
	int n = e != NULL ? ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e)) : -1;

	if (n > 0)
		out->name = td_arena_str(a, td_str((char *)utf8, (size_t)n));
	OPENSSL_free(utf8);
}

void
gw_cert_read(X509 *x, struct td_arena *a, struct xmpp_cert *out)
{
	read_alt_names(x, a, out);
	read_common_name(x, a, out);
}

bool
gw_tls_certificate(SSL *ssl, struct td_arena *a, struct xmpp_cert *out)
{
	X509 *x = SSL_get0_peer_certificate(ssl);

	/* without a CA for clients nothing verifies; a bad certificate did not end the handshake */
	if (x == NULL || SSL_get_verify_result(ssl) != X509_V_OK)
		return false;
	gw_cert_read(x, a, out);
	return true;
}

/* ---- self-signed ---- */

static void
add_ext(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX v3;

	X509V3_set_ctx_nodb(&v3);
	X509V3_set_ctx(&v3, x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &v3, nid, value);
	if (e != NULL)
		X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

static void
add_name(GENERAL_NAMES *san, struct td_str name)
{
	char *z = td_strndup(name), *ascii = NULL;
	GENERAL_NAME *gn = GENERAL_NAME_new();
	ASN1_IA5STRING *ia5 = ASN1_IA5STRING_new();

	if (gn == NULL || ia5 == NULL)
		abort();
	if (name.len > 0 && idn2_to_ascii_8z(z, &ascii, IDN2_NONTRANSITIONAL) == IDN2_OK) {
		ASN1_STRING_set(ia5, ascii, -1);
		GENERAL_NAME_set0_value(gn, GEN_DNS, ia5);
		sk_GENERAL_NAME_push(san, gn);
	} else {
		ASN1_IA5STRING_free(ia5);
		GENERAL_NAME_free(gn);
	}
	idn2_free(ascii);
	free(z);
}

static X509 *
make_cert(EVP_PKEY *key, const char *cn, const struct td_str *names, size_t n)
{
	X509 *x = X509_new();
	X509_NAME *subject;
	GENERAL_NAMES *san = sk_GENERAL_NAME_new_null();
	uint64_t serial;

	if (x == NULL || san == NULL)
		abort();
	td_random(&serial, sizeof(serial));
	X509_set_version(x, 2);
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1 | 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -86400L);
	X509_time_adj_ex(X509_getm_notAfter(x), SELF_SIGNED_DAYS, 0, NULL);
	X509_set_pubkey(x, key);
	subject = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)cn,
				   (int)strnlen(cn, 64), -1, 0);
	X509_set_issuer_name(x, subject);
	add_name(san, td_cstr(cn));
	for (size_t i = 0; i < n; i++)
		if (!td_str_eqc(names[i], cn))
			add_name(san, names[i]);
	X509_add1_ext_i2d(x, NID_subject_alt_name, san, 0, 0);
	GENERAL_NAMES_free(san);
	add_ext(x, NID_basic_constraints, "critical,CA:FALSE");
	add_ext(x, NID_ext_key_usage, "serverAuth,clientAuth");
	if (X509_sign(x, key, EVP_sha256()) == 0) {
		X509_free(x);
		return NULL;
	}
	return x;
}

static int
make_folders(const char *path, struct td_err *err)
{
	char *dir = td_strdup(path);
	int rc = 0;

	for (char *p = strchr(dir + 1, '/'); p != NULL && rc == 0; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			rc = td_fail(err, TD_E_IO, "cannot make folder %s: %s", dir,
				     strerror(errno));
		*p = '/';
	}
	free(dir);
	return rc;
}

static int
write_pem(const char *path, X509 *x, EVP_PKEY *key, struct td_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f;
	bool ok;

	if (fd < 0)
		return td_fail(err, errno == EEXIST ? TD_E_EXISTS : TD_E_IO, "cannot make %s: %s",
			       path, strerror(errno));
	f = fdopen(fd, "w");
	if (f == NULL)
		abort();
	ok = x == NULL || PEM_write_X509(f, x) == 1;
	ok = ok && (key == NULL || PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	ok = fflush(f) == 0 && ok && fsync(fd) == 0;
	if (fclose(f) != 0 || !ok) {
		(void)unlink(path);
		return td_fail(err, TD_E_IO, "cannot write %s: %s", path, strerror(errno));
	}
	return 0;
}

int
gw_tls_self_signed(const char *path, const char *key_path, const char *cn,
		   const struct td_str *names, size_t n, struct td_err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = key != NULL ? make_cert(key, cn, names, n) : NULL;
	int rc = x == NULL ? td_fail(err, TD_E_IO, "self-signed certificate: %s", gw_tls_error())
			   : make_folders(path, err);

	if (rc == 0 && key_path != NULL && strcmp(key_path, path) != 0) {
		rc = make_folders(key_path, err);
		if (rc == 0)
			rc = write_pem(key_path, NULL, key, err);
		if (rc == 0 && (rc = write_pem(path, x, NULL, err)) < 0)
			(void)unlink(key_path);
	} else if (rc == 0) {
		rc = write_pem(path, x, key, err);
	}
	X509_free(x);
	EVP_PKEY_free(key);
	return rc;
}
