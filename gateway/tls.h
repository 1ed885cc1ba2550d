/* tls - TLS contexts of listeners, domains and outgoing streams, certificates, channel bindings.
 * Thread: built on main; a built struct gw_tls is immutable and shared by references, its SSLs
 * belong to their connection.  Errors: TD_E_* with a text that names the file.
 * Specs: RFC 6120 5, RFC 5929 4, RFC 7301, RFC 9266, XEP-0178, XEP-0368. */
#ifndef GATEWAY_TLS_H
#define GATEWAY_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include "gateway/base/str.h"

struct td_err;
struct gw_certs;
struct gw_tls;
struct ssl_st;
struct xmpp_cb_data;

/* ---- certificates by domain, shared by the listeners of one generation ---- */

/* Empty; one reference. */
struct gw_certs *gw_certs_new(void);
/* Certificate (with its chain) and key for <name> (prepared domain); <key> NULL = in <cert>. */
int gw_certs_add(struct gw_certs *c, struct td_str name, const char *cert, const char *key,
		 struct td_err *err);
struct gw_certs *gw_certs_ref(struct gw_certs *c);
void gw_certs_unref(struct gw_certs **c);
size_t gw_certs_count(const struct gw_certs *c);

/* ---- what one Listen presents ---- */

enum gw_tls_verify {
	GW_VERIFY_NONE = 0,
	GW_VERIFY_OPTIONAL, /* ask; the result is recorded, a bad certificate ends nothing */
	GW_VERIFY_REQUIRE,
	GW_VERIFY_COUNT /* must be last */
};
struct gw_tls_conf {
	const char
		*cert; /* PEM file; NULL = only domains have one (then <certs> must not be empty) */
	const char *key;       /* NULL = in <cert> */
	const char *client_ca; /* NULL = none */
	const char *ciphers;   /* TLS 1.2 list; NULL, "" or "DEFAULT" = ours */
	const char *protocols; /* "+ALL -TLSv1.2"; NULL = all.  Below TLS 1.2 is never spoken */
	enum gw_tls_verify verify;
	/* Protocols a session may be for, "xmpp-client,xmpp-server": the first that the client asks for
	 * is taken, and one that asks only for others is refused.  NULL = no ALPN. */
	const char *alpn;
	bool servers_only;      /* whoever comes is a server: each is asked for its certificate */
	struct gw_certs *certs; /* borrowed; NULL = none */
};
int gw_tls_new(const struct gw_tls_conf *tc, struct gw_tls **out, struct td_err *err);
struct gw_tls *gw_tls_ref(struct gw_tls *t);
void gw_tls_unref(struct gw_tls **t);
/* Server side of a new session on <fd>.  <domain>: what the stream was opened to; used when the
 * client sends no SNI that we know. */
struct ssl_st *gw_tls_accept(struct gw_tls *t, int fd, struct td_str domain);
/* The same for a stream that is a server's: its certificate is asked for, and not judged here
 * (gw_cert_judge does, later), whatever <verify> of the listener wants of clients.  gw_tls_accept does
 * likewise for servers_only and for a client that asks for ALPN xmpp-server. */
struct ssl_st *gw_tls_accept_server(struct gw_tls *t, int fd, struct td_str domain);
/* Keep record buffers (33 kB) between records, or give them back when they are empty, which is
 * how a session begins. */
void gw_tls_keep_buffers(struct ssl_st *ssl, bool keep);

/* ---- towards other servers ---- */

struct gw_tls_client;
struct gw_tls_client_conf {
	const char *cert; /* shown for local domains that <certs> has none for; NULL = nothing */
	const char *key;  /* NULL = in <cert> */
	const char *ciphers, *protocols; /* as of gw_tls_conf */
	struct gw_certs *certs;          /* borrowed; NULL = <cert> is shown for every domain */
};
int gw_tls_client_new(const struct gw_tls_client_conf *cc, struct gw_tls_client **out,
		      struct td_err *err);
struct gw_tls_client *gw_tls_client_ref(struct gw_tls_client *t);
void gw_tls_client_unref(struct gw_tls_client **t);
/* Client side of a new session on <fd>, to domain <remote> (U-labels are converted; an IP literal
 * gives no SNI) from our <local>, whose certificate is shown when we are asked.  <direct>: without
 * STARTTLS, so ALPN says xmpp-server (XEP-0368).  No certificate ends the handshake: judge it then. */
struct ssl_st *gw_tls_connect(struct gw_tls_client *t, int fd, struct td_str remote,
			      struct td_str local, bool direct);

/* ---- questions to a session ---- */

enum gw_alpn {
	GW_ALPN_NONE = 0, /* not asked for, or not offered here */
	GW_ALPN_CLIENT,
	GW_ALPN_SERVER,
	GW_ALPN_OTHER, /* http/1.1 */
	GW_ALPN_COUNT  /* must be last */
};
/* What kind of stream both ends agreed on. */
enum gw_alpn gw_tls_alpn(const struct ssl_st *ssl);

#define GW_CB_MAX 64
struct gw_cb_buf {
	unsigned char exporter[32], end_point[GW_CB_MAX], unique[GW_CB_MAX];
};
/* Channel bindings, into <buf>; empty where a type is not available. */
void gw_tls_binding(struct ssl_st *ssl, struct gw_cb_buf *buf, struct xmpp_cb_data *out);
/* XB_* bits of the types gw_tls_binding would fill in. */
unsigned gw_tls_binding_types(struct ssl_st *ssl);
/* The peer's certificate, when it was checked and is good; strings in <a>. */
struct td_arena;
struct xmpp_cert;
bool gw_tls_certificate(struct ssl_st *ssl, struct td_arena *a, struct xmpp_cert *out);
/* What a certificate says of its owner, checked or not. */
struct x509_st;
void gw_cert_read(struct x509_st *x, struct td_arena *a, struct xmpp_cert *out);
/* Text of the first error OpenSSL queued on this thread, and empty the queue. */
const char *gw_tls_error(void);

/* Make <path> with a self-signed certificate (ECDSA P-256, ten years) for <cn> and <names>, and its
 * key there too or in <key_path>; mode 0600, folders are made.  TD_E_EXISTS when a file is there. */
int gw_tls_self_signed(const char *path, const char *key_path, const char *cn,
		       const struct td_str *names, size_t n, struct td_err *err);
#endif
