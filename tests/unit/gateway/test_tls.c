/* tls: certificates that are made, chosen by name, refused; protocols; client certificates. */
#include "gateway/tls.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "gateway/base/err.h"
#include "xmpp/sasl.h"
#include "suite.h"
#include "tls_rig.h"

static char dir[64], path_a[128], path_b[128], key_b[128];
static struct td_err err;

static void
setup(void)
{
	static const struct td_str names[] = { { "a.test", 6 }, { "m\xc3\xbcnchen.test", 13 } };

	(void)stpcpy(dir, "/tmp/test_tls.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path_a, sizeof(path_a), "%s/sub/a.pem", dir);
	(void)snprintf(path_b, sizeof(path_b), "%s/b.crt", dir);
	(void)snprintf(key_b, sizeof(key_b), "%s/keys/b.key", dir);
	ck_assert_int_eq(gw_tls_self_signed(path_a, NULL, "host.a.test", names, 2, &err), 0);
	ck_assert_int_eq(gw_tls_self_signed(path_b, key_b, "b.test", NULL, 0, &err), 0);
}

static void
teardown(void)
{
	char sub[128];

	unlink(path_a);
	unlink(path_b);
	unlink(key_b);
	(void)snprintf(sub, sizeof(sub), "%s/sub", dir);
	rmdir(sub);
	(void)snprintf(sub, sizeof(sub), "%s/keys", dir);
	rmdir(sub);
	rmdir(dir);
}

static void
pair_up(struct pair *p, struct gw_tls *t, SSL_CTX *ctx, const char *domain, const char *sni)
{
	pair_open(p);
	p->server = gw_tls_accept(t, p->fd[0], td_cstr(domain));
	p->client = SSL_new(ctx);
	SSL_set_fd(p->client, p->fd[1]);
	SSL_set_connect_state(p->client);
	if (sni != NULL)
		SSL_set_tlsext_host_name(p->client, sni);
}

static void
check_cn(struct pair *p, const char *cn)
{
	X509 *x = SSL_get1_peer_certificate(p->client);
	char buf[64];

	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, buf, sizeof(buf));
	ck_assert_str_eq(buf, cn);
	X509_free(x);
}

START_TEST(test_self_signed)
{
	FILE *f = fopen(path_a, "r");
	X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
	struct stat st;

	fclose(f);
	ck_assert_ptr_nonnull(x);
	ck_assert_int_eq(X509_check_host(x, "host.a.test", 0, 0, NULL), 1);
	ck_assert_int_eq(X509_check_host(x, "a.test", 0, 0, NULL), 1);
	ck_assert_int_eq(X509_check_host(x, "xn--mnchen-3ya.test", 0, 0, NULL), 1);
	ck_assert_int_eq(X509_check_host(x, "b.test", 0, 0, NULL), 0);
	ck_assert_int_eq(X509_cmp_current_time(X509_get0_notBefore(x)), -1);
	ck_assert_int_eq(X509_cmp_current_time(X509_get0_notAfter(x)), 1);
	X509_free(x);
	ck_assert_int_eq(stat(path_a, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(stat(key_b, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	/* what is there is never written over */
	ck_assert_int_eq(gw_tls_self_signed(path_a, NULL, "x.test", NULL, 0, &err), TD_E_EXISTS);
}
END_TEST

START_TEST(test_names)
{
	static const struct {
		const char *domain, *sni, *cn;
	} rows[] = {
		{ NULL, NULL, "host.a.test" },
		{ NULL, "b.test", "b.test" },
		{ "b.test", NULL, "b.test" },
		{ "b.test", "unknown.test", "b.test" },
		{ "unknown.test", "B.Test", "b.test" },
		{ "unknown.test", "unknown.test", "host.a.test" },
		{ "m\xc3\xbcnchen.test", NULL, "b.test" },
		{ NULL, "xn--mnchen-3ya.test", "b.test" },
	};
	struct gw_certs *certs = gw_certs_new();
	struct gw_tls_conf tc = { .cert = path_a, .certs = certs };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct gw_tls *t;
	struct pair p;

	ck_assert_int_eq(gw_certs_add(certs, TD_STR("b.test"), path_b, key_b, &err), 0);
	ck_assert_int_eq(gw_certs_add(certs, TD_STR("m\xc3\xbcnchen.test"), path_b, key_b, &err),
			 0);
	ck_assert_uint_eq(gw_certs_count(certs), 2);
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	gw_certs_unref(&certs);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pair_up(&p, t, ctx, rows[i].domain, rows[i].sni);
		ck_assert(shake(&p));
		check_cn(&p, rows[i].cn);
		pair_free(&p);
	}
	gw_tls_unref(&t);
	SSL_CTX_free(ctx);
}
END_TEST

START_TEST(test_only_domains)
{
	struct gw_certs *certs = gw_certs_new();
	struct gw_tls_conf tc = { .certs = certs };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct gw_tls *t;
	struct pair p;

	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), TD_E_INVAL); /* none at all */
	ck_assert_int_eq(gw_certs_add(certs, TD_STR("b.test"), path_b, key_b, &err), 0);
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	pair_up(&p, t, ctx, NULL, NULL);
	ck_assert(shake(&p));
	check_cn(&p, "b.test");
	pair_free(&p);
	gw_tls_unref(&t);
	gw_certs_unref(&certs);
	SSL_CTX_free(ctx);
}
END_TEST

START_TEST(test_bad_files)
{
	struct gw_tls_conf tc = { .cert = "/nonexistent/x.pem" };
	struct gw_certs *certs = gw_certs_new();
	struct gw_tls *t = NULL;

	ck_assert_int_lt(gw_tls_new(&tc, &t, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/x.pem"));
	tc.cert = path_b; /* without its key */
	ck_assert_int_lt(gw_tls_new(&tc, &t, &err), 0);
	tc.cert = path_a;
	tc.key = key_b; /* of another */
	ck_assert_int_lt(gw_tls_new(&tc, &t, &err), 0);
	tc.key = NULL;
	tc.client_ca = "/nonexistent/ca.pem";
	ck_assert_int_lt(gw_tls_new(&tc, &t, &err), 0);
	tc.client_ca = NULL;
	tc.ciphers = "NO-SUCH-CIPHER";
	ck_assert_int_lt(gw_tls_new(&tc, &t, &err), 0);
	ck_assert_int_lt(gw_certs_add(certs, TD_STR("b.test"), path_b, NULL, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "b.test"));
	ck_assert_ptr_null(t);
	gw_certs_unref(&certs);
}
END_TEST

static const struct {
	const char *protocols;
	int client; /* version the client insists on */
	bool ok;
} versions[] = {
	{ NULL, TLS1_2_VERSION, true },
	{ NULL, TLS1_3_VERSION, true },
	{ NULL, TLS1_1_VERSION, false },
	{ "+ALL", TLS1_1_VERSION, false },
	{ "+TLSv1 +TLSv1.1 +TLSv1.2", TLS1_1_VERSION, false },
	{ "+ALL -TLSv1.2", TLS1_2_VERSION, false },
	{ "+ALL -TLSv1.2", TLS1_3_VERSION, true },
	{ "+ALL,-TLSv1.3", TLS1_3_VERSION, false },
	{ "TLSv1.2", TLS1_2_VERSION, true },
};

START_TEST(test_versions)
{
	struct gw_tls_conf tc = { .cert = path_a, .protocols = versions[_i].protocols };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct gw_tls *t;
	struct pair p;

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, versions[_i].client);
	SSL_CTX_set_max_proto_version(ctx, versions[_i].client);
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	pair_up(&p, t, ctx, NULL, NULL);
	ck_assert_int_eq(shake(&p), versions[_i].ok);
	pair_free(&p);
	gw_tls_unref(&t);
	SSL_CTX_free(ctx);
}
END_TEST

START_TEST(test_bad_protocols)
{
	static const char *const bad[] = { "TLSv9", "-ALL", "+SSLv3", "+ALL -TLSv1.2 -TLSv1.3" };
	struct gw_tls *t = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gw_tls_conf tc = { .cert = path_a, .protocols = bad[i] };

		ck_assert_msg(gw_tls_new(&tc, &t, &err) < 0, "%s", bad[i]);
	}
}
END_TEST

/* The CA of the client's certificate is the listener's, whichever certificate the server shows. */
START_TEST(test_client_certificate)
{
	struct gw_certs *certs = gw_certs_new();
	struct gw_tls_conf tc = {
		.cert = path_a, .client_ca = path_a, .verify = GW_VERIFY_REQUIRE, .certs = certs
	};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct gw_tls *t;
	struct pair p;
	char c;

	ck_assert_int_eq(gw_certs_add(certs, TD_STR("b.test"), path_b, key_b, &err), 0);
	SSL_CTX_set_max_proto_version(
		ctx, TLS1_2_VERSION); /* the client hears of a refusal in the handshake */
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	for (int sni = 0; sni < 2; sni++) {
		pair_up(&p, t, ctx, NULL, sni ? "b.test" : NULL);
		ck_assert(!shake(&p)); /* none given */
		pair_free(&p);
	}
	ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(ctx, path_a), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(ctx, path_a, SSL_FILETYPE_PEM), 1);
	for (int sni = 0; sni < 2; sni++) {
		pair_up(&p, t, ctx, NULL, sni ? "b.test" : NULL);
		ck_assert(shake(&p));
		check_cn(&p, sni ? "b.test" : "host.a.test");
		ck_assert_int_eq(SSL_get_verify_result(p.server), X509_V_OK);
		pair_free(&p);
	}
	gw_tls_unref(&t);
	tc.verify = GW_VERIFY_OPTIONAL;
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(ctx, path_b), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(ctx, key_b, SSL_FILETYPE_PEM), 1);
	pair_up(&p, t, ctx, NULL, NULL);
	ck_assert(shake(&p)); /* of a stranger: recorded, not refused */
	ck_assert_int_ne(SSL_get_verify_result(p.server), X509_V_OK);
	ck_assert_int_eq(SSL_read(p.server, &c, 1), -1);
	pair_free(&p);
	gw_tls_unref(&t);
	gw_certs_unref(&certs);
	SSL_CTX_free(ctx);
}
END_TEST

START_TEST(test_bindings)
{
	struct gw_tls_conf tc = { .cert = path_a };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	unsigned char mine[32], md[EVP_MAX_MD_SIZE];
	struct xmpp_cb_data cb;
	struct gw_cb_buf buf;
	struct gw_tls *t;
	struct pair p;
	unsigned n;
	X509 *x;

	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
		SSL_CTX_set_max_proto_version(ctx, v);
		pair_up(&p, t, ctx, NULL, NULL);
		ck_assert(shake(&p));
		gw_tls_binding(p.server, &buf, &cb);
		ck_assert_int_eq(SSL_export_keying_material(p.client, mine, 32,
							    "EXPORTER-Channel-Binding", 24,
							    (const unsigned char *)"", 0, 1),
				 1);
		ck_assert(td_str_eq(cb.tls_exporter, td_str((char *)mine, 32)));
		x = SSL_get1_peer_certificate(p.client);
		X509_digest(x, EVP_sha256(), md, &n);
		ck_assert(td_str_eq(cb.tls_server_end_point, td_str((char *)md, n)));
		X509_free(x);
		pair_free(&p);
	}
	/* without the extended master secret TLS 1.2 has nothing unique (RFC 9266 4.2) */
	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
	pair_up(&p, t, ctx, NULL, NULL);
	ck_assert(shake(&p));
	gw_tls_binding(p.server, &buf, &cb);
	ck_assert_uint_eq(cb.tls_exporter.len, 0);
	ck_assert_uint_eq(cb.tls_unique.len, 0);
	ck_assert_uint_eq(cb.tls_server_end_point.len, 32);
	pair_free(&p);
	gw_tls_unref(&t);
	SSL_CTX_free(ctx);
}
END_TEST

static const struct {
	const char *offer;  /* of the listener */
	const char *wanted; /* of the client, on the wire; NULL = no ALPN */
	bool ok;
	enum gw_alpn got;
	bool asked; /* for the client's certificate */
} alpns[] = {
	{ "xmpp-client,xmpp-server", NULL, true, GW_ALPN_NONE, false },
	{ "xmpp-client,xmpp-server", "\x0bxmpp-client", true, GW_ALPN_CLIENT, false },
	{ "xmpp-client,xmpp-server", "\x0bxmpp-server", true, GW_ALPN_SERVER, true },
	{ "xmpp-client,xmpp-server", "\x02h2\x0bxmpp-server", true, GW_ALPN_SERVER, true },
	{ "xmpp-client,xmpp-server", "\x0bxmpp-client\x0bxmpp-server", true, GW_ALPN_CLIENT,
	  false },
	{ "xmpp-client,xmpp-server", "\x0bxmpp-server\x0bxmpp-client", true, GW_ALPN_SERVER, true },
	{ "xmpp-client,xmpp-server", "\x02h2", false, GW_ALPN_NONE, false },
	{ "xmpp-client", "\x0bxmpp-server", false, GW_ALPN_NONE, false },
	{ "xmpp-server", "\x0bxmpp-client", false, GW_ALPN_NONE, false },
	{ "http/1.1", "\x02h2\x08http/1.1", true, GW_ALPN_OTHER, false },
	{ NULL, "\x0bxmpp-server", true, GW_ALPN_NONE, false },
};

START_TEST(test_alpn)
{
	struct gw_tls_conf tc = { .cert = path_a, .alpn = alpns[_i].offer };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct gw_tls *t;
	struct pair p;

	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	SSL_CTX_use_certificate_chain_file(ctx, path_b);
	SSL_CTX_use_PrivateKey_file(ctx, key_b, SSL_FILETYPE_PEM);
	for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
		const char *wanted = alpns[_i].wanted;

		SSL_CTX_set_max_proto_version(ctx, v);
		pair_up(&p, t, ctx, NULL, NULL);
		if (wanted != NULL)
			SSL_set_alpn_protos(p.client, (const unsigned char *)wanted,
					    (unsigned)strlen(wanted));
		ck_assert_int_eq(shake(&p), alpns[_i].ok);
		ck_assert_int_eq(gw_tls_alpn(p.server), alpns[_i].got);
		ck_assert_int_eq(SSL_get0_peer_certificate(p.server) != NULL, alpns[_i].asked);
		pair_free(&p);
	}
	gw_tls_unref(&t);
	SSL_CTX_free(ctx);
}
END_TEST

/* Requested of servers whatever the listener wants of clients, with no names of CAs, no tickets, and
 * under a certificate chosen by SNI, too. */
START_TEST(test_servers)
{
	static const enum gw_tls_verify modes[] = { GW_VERIFY_NONE, GW_VERIFY_REQUIRE };
	struct gw_certs *certs = gw_certs_new();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct pair p;
	char c;

	ck_assert_int_eq(gw_certs_add(certs, TD_STR("b.test"), path_b, key_b, &err), 0);
	for (int i = 0; i < 16; i++) {
		struct gw_tls_conf tc = { .cert = path_a,
					  .client_ca = i & 4 ? path_a : NULL,
					  .verify = modes[i & 1],
					  .certs = certs };
		bool shows = (i & 2) != 0;
		struct gw_tls *t;

		ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
		SSL_CTX_set_max_proto_version(ctx, i & 8 ? TLS1_3_VERSION : TLS1_2_VERSION);
		pair_open(&p);
		p.server = gw_tls_accept_server(t, p.fd[0], TD_STR("a.test"));
		p.client = SSL_new(ctx);
		SSL_set_fd(p.client, p.fd[1]);
		SSL_set_connect_state(p.client);
		SSL_set_tlsext_host_name(p.client, "b.test");
		if (shows) {
			SSL_use_certificate_file(p.client, path_b, SSL_FILETYPE_PEM);
			SSL_use_PrivateKey_file(p.client, key_b, SSL_FILETYPE_PEM);
		}
		ck_assert(shake(&p));
		check_cn(&p, "b.test");
		ck_assert_int_eq(SSL_get0_peer_certificate(p.server) != NULL, shows);
		ck_assert_int_eq(sk_X509_NAME_num(SSL_get0_peer_CA_list(p.client)) > 0, false);
		ck_assert_int_eq(SSL_read(p.client, &c, 1), -1);
		ck_assert(!SSL_SESSION_has_ticket(SSL_get0_session(p.client)));
		pair_free(&p);
		gw_tls_unref(&t);
	}
	gw_certs_unref(&certs);
	SSL_CTX_free(ctx);
}
END_TEST

/* Our side of a stream to another server: names, the certificate of the domain, ALPN. */
START_TEST(test_connect)
{
	static const struct {
		const char *remote, *local, *sni, *cn; /* what the server sees; NULL = nothing */
		bool direct;
	} rows[] = {
		{ "a.test", "b.test", "a.test", "b.test", false },
		{ "a.test", "b.test", "a.test", "b.test", true },
		{ "a.test", "unknown.test", "a.test", "host.a.test", true },
		{ "m\xc3\xbcnchen.test", "B.test", "xn--mnchen-3ya.test", "b.test", true },
		{ "192.0.2.1", "b.test", NULL, "b.test", false },
		{ "[2001:db8::1]", "b.test", NULL, "b.test", false },
	};
	struct gw_certs *certs = gw_certs_new();
	struct gw_tls_conf tc = { .cert = path_a, .alpn = "xmpp-client,xmpp-server" };
	struct gw_tls_client_conf cc = { .cert = path_a, .certs = certs };
	struct gw_tls_client *c;
	struct gw_tls *t;
	struct pair p;

	ck_assert_int_eq(gw_certs_add(certs, TD_STR("b.test"), path_b, key_b, &err), 0);
	ck_assert_int_eq(gw_tls_new(&tc, &t, &err), 0);
	ck_assert_int_eq(gw_tls_client_new(&cc, &c, &err), 0);
	gw_certs_unref(&certs);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char cn[64];
		X509 *x;

		pair_open(&p);
		p.server = rows[i].direct ? gw_tls_accept(t, p.fd[0], TD_STR_NULL)
					  : gw_tls_accept_server(t, p.fd[0], TD_STR_NULL);
		p.client = gw_tls_connect(c, p.fd[1], td_cstr(rows[i].remote),
					  td_cstr(rows[i].local), rows[i].direct);
		ck_assert(shake(&p)); /* though it knows none of our CAs */
		ck_assert_int_ne(SSL_get_verify_result(p.client), X509_V_OK);
		ck_assert_pstr_eq(SSL_get_servername(p.server, TLSEXT_NAMETYPE_host_name),
				  rows[i].sni);
		ck_assert_int_eq(gw_tls_alpn(p.server),
				 rows[i].direct ? GW_ALPN_SERVER : GW_ALPN_NONE);
		ck_assert_int_eq(gw_tls_alpn(p.client), gw_tls_alpn(p.server));
		x = SSL_get0_peer_certificate(p.server);
		ck_assert_ptr_nonnull(x);
		X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof(cn));
		ck_assert_str_eq(cn, rows[i].cn);
		pair_free(&p);
	}
	gw_tls_client_unref(&c);
	cc.ciphers = "NO-SUCH-CIPHER";
	cc.certs = NULL;
	ck_assert_int_lt(gw_tls_client_new(&cc, &c, &err), 0);
	cc = (struct gw_tls_client_conf){ .protocols = "-ALL" };
	ck_assert_int_lt(gw_tls_client_new(&cc, &c, &err), 0);
	cc = (struct gw_tls_client_conf){ .cert = "/nonexistent/x.pem" };
	ck_assert_int_lt(gw_tls_client_new(&cc, &c, &err), 0);
	ck_assert_ptr_null(c);
	gw_tls_unref(&t);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_self_signed);
	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_only_domains);
	tcase_add_test(tc, test_bad_files);
	tcase_add_loop_test(tc, test_versions, 0, sizeof(versions) / sizeof(versions[0]));
	tcase_add_test(tc, test_bad_protocols);
	tcase_add_test(tc, test_client_certificate);
	tcase_add_test(tc, test_bindings);
	tcase_add_loop_test(tc, test_alpn, 0, sizeof(alpns) / sizeof(alpns[0]));
	tcase_add_test(tc, test_servers);
	tcase_add_test(tc, test_connect);
}

int
main(void)
{
	return run_suite("tls", fill);
}
