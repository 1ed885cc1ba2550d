/* test_cred - credential sources: files, their re-reading and refusal, the store. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "store/store.h"
#include "xmpp/cred.h"
#include "xmpp/sasl_priv.h"

/* The users of RFC 5802 section 5 and RFC 7677 section 3. */
#define RFC_SHA1 "4096$QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=$D+CSWLOshSulAsxiupA+qs2/fTE="
#define RFC_SHA256                                                                    \
	"4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$" \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static char dir[64], path[96], uri[128];
static struct td_err err;

static void
setup(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/tandem-cred-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/users", dir);
	ck_assert_int_eq(xmpp_sasl_init(TD_STR("test"), &err), 0);
	ck_assert_int_eq(td_log_open("/dev/null", &err), 0);
}

static void
teardown(void)
{
	xmpp_sasl_fini();
	(void)unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void
write_mode(struct td_str text, mode_t mode)
{
	int fd;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text.p, text.len), (ssize_t)text.len);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static void
write_file(const char *text)
{
	write_mode(td_cstr(text), 0600);
}

static struct xmpp_cred_source *
open_source(const char *scheme)
{
	struct xmpp_cred_source *s = NULL;
	int rc;

	(void)snprintf(uri, sizeof(uri), "%s://%s", scheme, path);
	rc = xmpp_cred_source_open(uri, NULL, &s, &err);
	ck_assert_msg(rc == 0, "%s", err.text);
	return s;
}

/* ---- fetching ---- */

static struct {
	int calls, rc;
	struct xmpp_credentials cred;
} got;

static void
on_cred(void *arg, int rc, const struct xmpp_credentials *cred)
{
	ck_assert_ptr_eq(arg, &got);
	got.calls++;
	got.rc = rc;
	xmpp_credentials_fini(&got.cred);
	xmpp_credentials_copy(cred, &got.cred);
}

static int
fetch(struct xmpp_cred_source *s, const char *jid)
{
	int before = got.calls;

	xmpp_cred_fetch(s, td_cstr(jid), NULL, on_cred, &got);
	ck_assert_int_eq(got.calls, before + 1);
	return got.rc;
}

/* ---- file:// ---- */

START_TEST(file_forms)
{
	struct xmpp_cred_source *s;

	write_file("# users\n"
		   "\n"
		   "ann:pencil\r\n"
		   "Bob@Example.org:pen:cil \n"
		   "user:{SCRAM-SHA-1}" RFC_SHA1 "\n"
		   "user:{SCRAM-SHA-256}" RFC_SHA256 "\n"
		   "cy:{CRYPT}$6$rounds=1000$saltsalt$abc\n"
		   "j\xC3\x9Crgen:{smile}\n"
		   "dan@example.org:full\n"
		   "dan:local\n"
		   "last:line");
	s = open_source("file");

	ck_assert_int_eq(fetch(s, "ann@example.org"), 0);
	ck_assert(got.cred.found && !got.cred.disabled);
	ck_assert_str_eq(got.cred.password, "pencil");
	ck_assert_uint_eq(got.cred.sha1.key_len, 20);
	ck_assert_uint_eq(got.cred.sha256.key_len, 32);
	ck_assert(sasl_scram_check(EVP_sha1(), "pencil", &got.cred.sha1));
	ck_assert(sasl_scram_check(EVP_sha256(), "pencil", &got.cred.sha256));
	ck_assert(!sasl_scram_check(EVP_sha256(), "pencils", &got.cred.sha256));

	ck_assert_int_eq(fetch(s, "bob@example.org"), 0);
	ck_assert_str_eq(got.cred.password, "pen:cil ");
	ck_assert_int_eq(fetch(s, "bob@example.net"), 0);
	ck_assert(!got.cred.found);

	ck_assert_int_eq(fetch(s, "user@any.example"), 0);
	ck_assert(got.cred.found && got.cred.password == NULL);
	ck_assert_uint_eq(got.cred.sha1.iterations, 4096);
	ck_assert_uint_eq(got.cred.sha1.salt_len, 12);
	ck_assert(sasl_scram_check(EVP_sha1(), "pencil", &got.cred.sha1));
	ck_assert(sasl_scram_check(EVP_sha256(), "pencil", &got.cred.sha256));

	ck_assert_int_eq(fetch(s, "cy@d"), 0);
	ck_assert_str_eq(got.cred.crypt, "$6$rounds=1000$saltsalt$abc");
	ck_assert_uint_eq(got.cred.sha256.key_len, 0);
	ck_assert_int_eq(fetch(s, "j\xC3\xBCrgen@d"), 0);
	ck_assert_str_eq(got.cred.password, "{smile}");
	ck_assert_int_eq(fetch(s, "dan@example.org"), 0);
	ck_assert_str_eq(got.cred.password, "full");
	ck_assert_int_eq(fetch(s, "dan@example.net"), 0);
	ck_assert_str_eq(got.cred.password, "local");
	ck_assert_int_eq(fetch(s, "last@d"), 0);
	ck_assert_str_eq(got.cred.password, "line");
	ck_assert_int_eq(fetch(s, "nobody@example.org"), 0);
	ck_assert(!got.cred.found && got.cred.password == NULL);
	xmpp_cred_source_unref(&s);
	ck_assert_ptr_null(s);
}
END_TEST

static const struct {
	const char *scheme;
	struct td_str text;
	const char *why; /* after the path */
} bad_files[] = {
	{ "file", TD_STR("ann\n"), ":1: want user:password" },
	{ "file", TD_STR("#\n\n:x\n"), ":3: want user:password" },
	{ "file", TD_STR("ann:\n"), ":1: password is empty, too long or has forbidden characters" },
	{ "file", TD_STR("ann:a\0b\n"),
	  ":1: password is empty, too long or has forbidden characters" },
	{ "file", TD_STR("ann:\xFF\n"),
	  ":1: password is empty, too long or has forbidden characters" },
	{ "file", TD_STR("a b:x\n"), ":1: bad user name" },
	{ "file", TD_STR("a@b/c:x\n"), ":1: bad user name" },
	{ "file", TD_STR("@b:x\n"), ":1: bad user name" },
	{ "file", TD_STR("ann:x\nAnn:y\n"), ":2: this user has such a line already" },
	{ "file", TD_STR("ann:{ARGON2}x\n"), ":1: unknown {SCHEME}" },
	{ "file", TD_STR("ann:{CRYPT}\n"), ":1: empty" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}4096$QQ==$QQ==\n"),
	  ":1: want iterations$salt$stored-key$server-key" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}4096$QQ==$QQ==$QQ==$QQ==\n"),
	  ":1: want iterations$salt$stored-key$server-key" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}0$QQ==$QQ==$QQ==\n"), ":1: bad iteration count" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}99999999$QQ==$QQ==$QQ==\n"), ":1: bad iteration count" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}1$$QQ==$QQ==\n"), ":1: bad salt" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}1$QQ==$QQ==$QQ==\n"), ":1: bad key" },
	{ "file", TD_STR("a:{SCRAM-SHA-256}" RFC_SHA1 "\n"), ":1: bad key" },
	{ "file", TD_STR("a:{SCRAM-SHA-1}" RFC_SHA1 "\na:{SCRAM-SHA-1}" RFC_SHA1 "\n"),
	  ":2: this user has such a line already" },
	{ "digest", TD_STR("ann\n"), ":1: want user:realm:hash" },
	{ "digest", TD_STR("ann:x\n"), ":1: want user:realm:hash" },
	{ "digest", TD_STR("ann:x:00\n"), ":1: hash is not 32 hex digits" },
	{ "digest", TD_STR("a b:x:fc23d9660db3b751ce8cb5fe48777a2c\n"), ":1: bad user name" },
};

START_TEST(file_bad)
{
	struct xmpp_cred_source *s = NULL;
	char want[256];

	write_mode(bad_files[_i].text, 0600);
	(void)snprintf(uri, sizeof(uri), "%s://%s", bad_files[_i].scheme, path);
	ck_assert_int_eq(xmpp_cred_source_open(uri, NULL, &s, &err), TD_E_INVAL);
	(void)snprintf(want, sizeof(want), "%s%s", path, bad_files[_i].why);
	ck_assert_str_eq(err.text, want);
	ck_assert_ptr_null(s);
}
END_TEST

START_TEST(file_refused)
{
	static const mode_t modes[] = { 0640, 0604, 0620, 0666 };
	struct xmpp_cred_source *s = NULL;

	(void)snprintf(uri, sizeof(uri), "file://%s", path);
	ck_assert_int_eq(xmpp_cred_source_open(uri, NULL, &s, &err), TD_E_IO);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		write_mode(TD_STR("ann:x\n"), modes[i]);
		ck_assert_int_eq(xmpp_cred_source_open(uri, NULL, &s, &err), TD_E_DENIED);
	}
	(void)snprintf(uri, sizeof(uri), "file://%s", dir);
	ck_assert_int_eq(xmpp_cred_source_open(uri, NULL, &s, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_cred_source_open("file://users", NULL, &s, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_cred_source_open("ldap://x", NULL, &s, &err), TD_E_UNSUPPORTED);
	ck_assert_int_eq(xmpp_cred_source_open("file:/x", NULL, &s, &err), TD_E_UNSUPPORTED);
	ck_assert_int_eq(xmpp_cred_source_open("store://", NULL, &s, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_cred_source_open("", NULL, &s, &err), TD_E_UNSUPPORTED);
	ck_assert_ptr_null(s);
}
END_TEST

START_TEST(file_changes)
{
	struct xmpp_cred_source *s;
	struct store_scram key;

	write_file("ann:one\nbob:two\n");
	s = open_source("file");
	ck_assert_int_eq(fetch(s, "ann@d"), 0);
	key = got.cred.sha256;

	write_file("ann:one\ncy:three\n");
	ck_assert_int_eq(fetch(s, "bob@d"), 0);
	ck_assert(!got.cred.found);
	ck_assert_int_eq(fetch(s, "cy@d"), 0);
	ck_assert_str_eq(got.cred.password, "three");
	ck_assert_int_eq(fetch(s, "ann@d"), 0);
	ck_assert_mem_eq(&key, &got.cred.sha256, sizeof(key));

	write_file("ann:new\n");
	ck_assert_int_eq(fetch(s, "ann@d"), 0);
	ck_assert_str_eq(got.cred.password, "new");
	ck_assert(sasl_scram_check(EVP_sha256(), "new", &got.cred.sha256));
	ck_assert_mem_eq(key.salt, got.cred.sha256.salt, CRED_SALT_LEN);

	write_file("ann:new\nbroken\n");
	ck_assert_int_eq(fetch(s, "ann@d"), TD_E_INVAL);
	ck_assert(!got.cred.found);
	ck_assert_int_eq(fetch(s, "ann@d"), TD_E_INVAL);
	write_file("ann:mended\n");
	ck_assert_int_eq(fetch(s, "ann@d"), 0);
	ck_assert_str_eq(got.cred.password, "mended");

	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(fetch(s, "ann@d"), TD_E_DENIED);
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(fetch(s, "ann@d"), 0);

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(fetch(s, "ann@d"), TD_E_IO);
	write_file("ann:back\n");
	ck_assert_int_eq(fetch(s, "ann@d"), 0);
	ck_assert_str_eq(got.cred.password, "back");
	xmpp_cred_source_unref(&s);
}
END_TEST

/* Clear text costs a derivation once; which name is asked for must not show in that. */
START_TEST(file_warming)
{
	struct xmpp_cred_source *s;
	struct xmpp_cred_hints h;
	unsigned char salt[CRED_SALT_LEN];

	write_file("ann:one\nbob:two\ncy:three\n");
	s = open_source("file");
	xmpp_cred_get_hints(s, TD_STR("d"), &h);
	ck_assert_uint_eq(h.iterations, CRED_ITERATIONS_CLEAR);
	ck_assert_str_eq(h.realm, "d");
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(fetch(s, "nobody@d"), 0);
	ck_assert_int_eq(fetch(s, "bob@d"), 0);
	ck_assert(sasl_scram_check(EVP_sha1(), "two", &got.cred.sha1));
	sasl_stable_salt(EVP_sha256(), TD_STR("bob"), salt);
	ck_assert_mem_eq(salt, got.cred.sha256.salt, sizeof(salt));
	sasl_stable_salt(EVP_sha1(), TD_STR("bob"), salt);
	ck_assert_mem_ne(salt, got.cred.sha256.salt, sizeof(salt));
	xmpp_cred_source_unref(&s);

	write_file("ann:one\nuser:{SCRAM-SHA-1}" RFC_SHA1 "\n");
	s = open_source("file");
	ck_assert_int_eq(fetch(s, "ann@d"), 0);
	ck_assert_uint_eq(got.cred.sha256.iterations, 4096);
	xmpp_cred_source_unref(&s);
}
END_TEST

/* ---- digest:// ---- */

START_TEST(digest)
{
	struct xmpp_cred_source *s;
	struct xmpp_cred_hints h;

	write_file("# htdigest\nann:Momentum:38F909993031EEB944A759790E61FAE7\n");
	s = open_source("digest");
	xmpp_cred_get_hints(s, TD_STR("example.org"), &h);
	ck_assert_str_eq(h.realm, "Momentum");
	ck_assert_uint_eq(h.iterations, 0);
	ck_assert_int_eq(fetch(s, "ann@example.org"), 0);
	ck_assert(got.cred.found);
	ck_assert_str_eq(got.cred.digest_ha1, "38f909993031eeb944a759790e61fae7");
	ck_assert_int_eq(fetch(s, "bob@example.org"), 0);
	ck_assert(!got.cred.found);

	write_file("ann:example.org:fc23d9660db3b751ce8cb5fe48777a2c\n"
		   "bob:other:0d43b157d58f47abcb456e1432139a0e\n");
	xmpp_cred_get_hints(s, TD_STR("example.org"), &h);
	ck_assert_str_eq(h.realm, "example.org");
	ck_assert_int_eq(fetch(s, "ann@example.org"), 0);
	ck_assert_str_eq(got.cred.digest_ha1, "fc23d9660db3b751ce8cb5fe48777a2c");
	ck_assert_int_eq(fetch(s, "bob@example.org"), 0);
	ck_assert(!got.cred.found);
	ck_assert_int_eq(fetch(s, "bob@other"), 0);
	ck_assert(got.cred.found);
	xmpp_cred_source_unref(&s);
}
END_TEST

/* ---- store:// ---- */

static void
on_done(void *arg, const struct store_result *r)
{
	ck_assert_int_eq(r->rc, 0);
	*(bool *)arg = true;
}

START_TEST(store)
{
	struct store_conf sc = { .path = ":memory:" };
	struct store_account acc = { .jid = TD_STR("ann@example.org"), .disabled = true };
	struct td_loop *loop = td_loop_new(0);
	struct store_scram sha1, sha256;
	struct xmpp_cred_source *s = NULL;
	struct store *st = NULL;
	bool done = false;

	ck_assert_int_eq(store_open(&sc, &st, &err), 0);
	ck_assert_int_eq(xmpp_cred_source_open("store://x", st, &s, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_cred_source_open("store://", st, &s, &err), 0);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("pencil"), 0, &sha1, &sha256, &err), 0);
	acc.sha256.iterations = sha256.iterations;
	acc.sha256.salt_len = sha256.salt_len;
	acc.sha256.key_len = sha256.key_len;
	memcpy(acc.sha256.salt, sha256.salt, sizeof(sha256.salt));
	memcpy(acc.sha256.stored_key, sha256.stored_key, sizeof(sha256.stored_key));
	memcpy(acc.sha256.server_key, sha256.server_key, sizeof(sha256.server_key));
	store_account_add(st, &acc, (struct store_to){ loop, on_done, &done });
	while (!done)
		td_loop_turn(loop, true);

	got.calls = 0;
	xmpp_cred_fetch(s, TD_STR("ann@example.org"), loop, on_cred, &got);
	while (got.calls == 0)
		td_loop_turn(loop, true);
	ck_assert_int_eq(got.rc, 0);
	ck_assert(got.cred.found && got.cred.disabled);
	ck_assert_uint_eq(got.cred.sha1.key_len, 0);
	ck_assert_uint_eq(got.cred.sha256.iterations, CRED_ITERATIONS);
	ck_assert(sasl_scram_check(EVP_sha256(), "pencil", &got.cred.sha256));

	xmpp_cred_fetch(s, TD_STR("bob@example.org"), loop, on_cred, &got);
	while (got.calls == 1)
		td_loop_turn(loop, true);
	ck_assert_int_eq(got.rc, 0);
	ck_assert(!got.cred.found);
	xmpp_credentials_fini(&got.cred);
	xmpp_cred_source_unref(&s);
	store_close(&st);
	td_loop_free(loop);
}
END_TEST

/* ---- new verifiers ---- */

START_TEST(derive)
{
	struct store_scram a1, a2, b1, b2;

	ck_assert_int_eq(xmpp_scram_derive(TD_STR("pencil"), 0, &a1, &a2, &err), 0);
	ck_assert_uint_eq(a1.iterations, 10000);
	ck_assert_uint_eq(a1.key_len, 20);
	ck_assert_uint_eq(a2.key_len, 32);
	ck_assert(sasl_scram_check(EVP_sha1(), "pencil", &a1));
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("pencil"), 5000, &b1, &b2, &err), 0);
	ck_assert_uint_eq(b2.iterations, 5000);
	ck_assert_mem_ne(a2.salt, b2.salt, CRED_SALT_LEN);
	/* SASLprep: U+2168 is "IX", a soft hyphen is nothing */
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("I\xC2\xADX"), 1, &a1, &a2, &err), 0);
	ck_assert(sasl_scram_check(EVP_sha256(), "IX", &a2));
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("\xE2\x85\xA8"), 1, &a1, &a2, &err), 0);
	ck_assert(sasl_scram_check(EVP_sha256(), "IX", &a2));

	ck_assert_int_eq(xmpp_scram_derive(TD_STR(""), 0, &a1, &a2, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("\xC2\xAD"), 0, &a1, &a2, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("a\x07"), 0, &a1, &a2, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("\xD8\xA7"
						  "1"),
					   0, &a1, &a2, &err),
			 TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("\xFF"), 0, &a1, &a2, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("x"), 2000000, &a1, &a2, &err), TD_E_INVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("cred");
	TCase *tc = tcase_create("cred");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, file_forms);
	tcase_add_loop_test(tc, file_bad, 0, (int)(sizeof(bad_files) / sizeof(bad_files[0])));
	tcase_add_test(tc, file_refused);
	tcase_add_test(tc, file_changes);
	tcase_add_test(tc, file_warming);
	tcase_add_test(tc, digest);
	tcase_add_test(tc, store);
	tcase_add_test(tc, derive);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	xmpp_credentials_fini(&got.cred);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
