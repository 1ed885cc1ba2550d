/* hmac - keyed hashes without a search for the algorithm.
 *
 * A context of each hash is made once and copied for each use: copying takes references to what was
 * found, and setting the key searches nothing. */
#include "xmpp/hmac.h"

#include <pthread.h>
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/params.h>

static const char *const names[] = { "SHA1", "SHA256", "SHA512" };
enum {
	N_NAMES = sizeof(names) / sizeof(names[0])
};

static EVP_MAC_CTX *made[N_NAMES]; /* not changed once made */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
make(void)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	for (unsigned i = 0; mac != NULL && i < N_NAMES; i++) {
		char name[8];
		OSSL_PARAM params[2] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };

		(void)OPENSSL_strlcpy(name, names[i], sizeof(name));
		params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
		made[i] = EVP_MAC_CTX_new(mac);
		if (made[i] != NULL && EVP_MAC_CTX_set_params(made[i], params) != 1) {
			EVP_MAC_CTX_free(made[i]);
			made[i] = NULL;
		}
	}
	EVP_MAC_free(mac); /* the contexts hold it */
}

static EVP_MAC_CTX *
context_for(const EVP_MD *md)
{
	(void)pthread_once(&once, make);
	for (unsigned i = 0; i < N_NAMES; i++)
		if (made[i] != NULL && EVP_MD_is_a(md, names[i]))
			return EVP_MAC_CTX_dup(made[i]);
	return NULL;
}

bool
xmpp_hmac(const EVP_MD *md, const void *key, size_t key_len, struct td_str text, unsigned char *out)
{
	EVP_MAC_CTX *ctx = context_for(md);
	size_t len = 0;
	bool ok;

	if (ctx == NULL) /* another hash */
		return HMAC(md, key, (int)key_len, (const unsigned char *)text.p, text.len, out,
			    NULL) != NULL;
	ok = EVP_MAC_init(ctx, key, key_len, NULL) == 1 &&
	     EVP_MAC_update(ctx, (const unsigned char *)text.p, text.len) == 1 &&
	     EVP_MAC_final(ctx, out, &len, EVP_MAX_MD_SIZE) == 1;
	EVP_MAC_CTX_free(ctx);
	return ok;
}
