/* sasl_keys: our PBKDF2 against OpenSSL's, and verifiers against RFC 5802 and 7677. */
#include <check.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "gateway/base/err.h"
#include "xmpp/sasl_priv.h"

static void
expect(const EVP_MD *md, const char *password, struct store_scram *key)
{
	unsigned char salted[EVP_MAX_MD_SIZE], mac[EVP_MAX_MD_SIZE];
	int size = EVP_MD_get_size(md);
	unsigned len = 0;

	ck_assert_int_eq(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), key->salt,
					   (int)key->salt_len, (int)key->iterations, md, size,
					   salted),
			 1);
	ck_assert_int_eq(sasl_scram_keys(md, password, key), 0);
	ck_assert_uint_eq(key->key_len, (size_t)size);
	ck_assert_ptr_nonnull(
		HMAC(md, salted, size, (const unsigned char *)"Server Key", 10, mac, &len));
	ck_assert_mem_eq(mac, key->server_key, len);
}

START_TEST(as_openssl)
{
	static const size_t lens[] = { 1, 19, 55, 56, 63, 64, 65, 127, 128, 200, 1023 };
	static const size_t salts[] = { 1, 16, 36, 45, 64 };
	static const unsigned rounds[] = { 1, 2, 3, 100, 4096 };
	char password[1024];

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		for (size_t k = 0; k < 5; k++) {
			struct store_scram key = { .iterations = rounds[(i + k) % 5] };

			memset(password, (int)('a' + i), lens[i]);
			password[lens[i]] = '\0';
			key.salt_len = salts[k];
			td_random(key.salt, key.salt_len);
			expect(EVP_sha1(), password, &key);
			expect(EVP_sha256(), password, &key);
		}
}
END_TEST

/* RFC 7677 section 3: user "user", password "pencil" */
START_TEST(rfc7677)
{
	struct store_scram key = { .iterations = 4096 };
	struct td_buf salt = { 0 }, proof = { 0 };
	unsigned char sig[32], client[32], stored[32];
	static const char msg[] = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%"
				  "hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				  "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
				  "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
	unsigned len = 32;

	ck_assert_int_eq(td_base64_decode(TD_STR("W22ZaJ0SNY7soEsUEjb6gQ=="), &salt), 0);
	memcpy(key.salt, salt.p, key.salt_len = salt.len);
	ck_assert_int_eq(sasl_scram_keys(EVP_sha256(), "pencil", &key), 0);
	ck_assert_int_eq(
		td_base64_decode(TD_STR("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), &proof),
		0);
	ck_assert_ptr_nonnull(HMAC(EVP_sha256(), key.stored_key, 32, (const unsigned char *)msg,
				   sizeof(msg) - 1, sig, &len));
	for (size_t i = 0; i < 32; i++)
		client[i] = sig[i] ^ (unsigned char)proof.p[i];
	ck_assert_int_eq(EVP_Digest(client, 32, stored, &len, EVP_sha256(), NULL), 1);
	ck_assert_mem_eq(stored, key.stored_key, 32);
	td_buf_fini(&salt);
	td_buf_fini(&proof);
}
END_TEST

START_TEST(refused)
{
	struct store_scram a, b, none = { .salt_len = 16 };
	struct td_err err;

	ck_assert_int_eq(sasl_scram_keys(EVP_sha1(), "x", &none), TD_E_IO); /* no rounds */
	ck_assert_int_eq(xmpp_scram_derive(TD_STR(""), 4096, &a, &b, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("x"), 2000000, &a, &b, &err), TD_E_INVAL);
	ck_assert_int_eq(xmpp_scram_derive(TD_STR("x"), 4096, &a, &b, &err), 0);
	ck_assert_uint_eq(a.iterations, 4096);
	ck_assert_uint_eq(b.iterations, 4096);
	/* made together or each by itself: the same */
	ck_assert(sasl_scram_check(EVP_sha1(), "x", &a));
	ck_assert(sasl_scram_check(EVP_sha256(), "x", &b));
	ck_assert(!sasl_scram_check(EVP_sha256(), "y", &b));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sasl_keys");
	TCase *t = tcase_create("sasl_keys");
	SRunner *r;
	int failed;

	tcase_add_test(t, as_openssl);
	tcase_add_test(t, rfc7677);
	tcase_add_test(t, refused);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
