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

/* Both ends of a handshake over a socket pair; false when either gives up. */
struct pair {
	SSL *server, *client;
	int fd[2];
};

static bool
shake(struct pair *p)
{
	bool s = false, c = false;

	for (int i = 0; i < 20 && !(s && c); i++) {
		int n;

		if (!c) {
			n = SSL_do_handshake(p->client);
			c = n == 1;
			if (n != 1 && SSL_get_error(p->client, n) != SSL_ERROR_WANT_READ)
				return false;
		}
		if (!s) {
			n = SSL_do_handshake(p->server);
			s = n == 1;
			if (n != 1 && SSL_get_error(p->server, n) != SSL_ERROR_WANT_READ)
				return false;
		}
	}
	return s && c;
}

static void
pair_up(struct pair *p, struct gw_tls *t, SSL_CTX *ctx, const char *domain, const char *sni)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
	p->server = gw_tls_accept(t, p->fd[0], td_cstr(domain));
	p->client = SSL_new(ctx);
	SSL_set_fd(p->client, p->fd[1]);
	SSL_set_connect_state(p->client);
	if (sni != NULL)
		SSL_set_tlsext_host_name(p->client, sni);
}

static void
pair_free(struct pair *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
	close(p->fd[0]);
	close(p->fd[1]);
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
}

int
main(void)
{
	return run_suite("tls", fill);
}
