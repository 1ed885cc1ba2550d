/* sasl_keys - from passwords to verifiers: SASLprep, PBKDF2, the SCRAM keys, and their text form.
 *
 * PBKDF2 is ours: OpenSSL's goes through its digest interface for every one of the thousands of rounds, which costs
 * five times what the two hash blocks of a round do.  Here the inner and outer state of the HMAC are made once and
 * each round is two calls of the block function on them (RFC 8018 5.2; a password at its first login, and a
 * hundred thousand accounts at once, wait for nothing else).  The unit test compares it with OpenSSL's.
 *
 * This file needs no other of the layer but jid.c: tandemctl links it. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the block functions have no other name */
#include "xmpp/sasl_priv.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "gateway/base/err.h"
#include "xmpp/jid_priv.h"

#define BLOCK 64u /* of both hashes */

/* ---- passwords ---- */

void
sasl_free_secret(char **s)
{
	if (*s != NULL)
		td_wipe(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

char *
sasl_prep_password(struct td_str password, bool query)
{
	char buf[SASL_PASSWORD_MAX];
	const char *why;
	char *res = NULL;
	size_t n = 0;

	if (password.len == 0)
		return NULL;
	if (xmpp_prep(stringprep_saslprep, query, password, buf, sizeof(buf), &n, &why) == 0 &&
	    n > 0)
		res = td_strndup(td_str(buf, n));
	td_wipe(buf, n);
	return res;
}

/* ---- PBKDF2 ---- */

/* The two hashes by what PBKDF2 needs of them: chaining values of <words> words, and the block function. */
union state {
	SHA_CTX sha1;
	SHA256_CTX sha256;
};

/* SHA-1's h0 to h4 stand one after the other, in front of all else. */
_Static_assert(offsetof(SHA_CTX, h0) == 0 && offsetof(SHA_CTX, h4) == 16 && sizeof(SHA_LONG) == 4 &&
		       offsetof(SHA256_CTX, h) == 0,
	       "the chaining values come first");

static inline uint32_t *
chain(union state *s)
{
	return (uint32_t *)(void *)s;
}

static inline void
block(size_t words, union state *s, const unsigned char *b)
{
	if (words == 5)
		SHA1_Transform(&s->sha1, b);
	else
		SHA256_Transform(&s->sha256, b);
}

static inline void
put_words(size_t words, union state *s, unsigned char *out)
{
	for (size_t i = 0; i < words; i++) {
		uint32_t w = htonl(chain(s)[i]);

		memcpy(out + 4 * i, &w, 4);
	}
}

/* The state after the block of the key xored with <pad>. */
static void
keyed(size_t words, const unsigned char key[BLOCK], unsigned char pad, union state *out)
{
	unsigned char b[BLOCK];

	for (size_t i = 0; i < BLOCK; i++)
		b[i] = key[i] ^ pad;
	if (words == 5)
		(void)SHA1_Init(&out->sha1);
	else
		(void)SHA256_Init(&out->sha256);
	block(words, out, b);
	td_wipe(b, sizeof(b));
}

/* Hi() of RFC 5802, which is PBKDF2 with HMAC, one block long, on its way. */
struct hi {
	union state inner, outer, s;
	unsigned char b
		[BLOCK]; /* the last digest, padded as the end of a message of a block and a digest */
	uint32_t acc[8];
};

static void
hi_wipe(struct hi *h)
{
	td_wipe(h, sizeof(*h));
}

/* The first round. */
static bool
hi_begin(struct hi *h, const EVP_MD *md, const char *password, const struct store_scram *key)
{
	size_t words = md == EVP_sha1() ? 5 : 8;
	unsigned char k[BLOCK] = { 0 }, first[sizeof(key->salt) + 4];
	unsigned len = (unsigned)strlen(password), bits = (unsigned)(BLOCK + 4 * words) * 8;
	bool ok = key->iterations > 0 && key->salt_len <= sizeof(key->salt);

	*h = (struct hi){ 0 };
	if (!ok)
		return false;
	if (len > BLOCK)
		ok = EVP_Digest(password, len, k, &len, md, NULL) == 1;
	else
		memcpy(k, password, len);
	keyed(words, k, 0x36, &h->inner);
	keyed(words, k, 0x5c, &h->outer);
	h->s = h->inner;
	memcpy(first, key->salt, key->salt_len);
	memcpy(first + key->salt_len, "\0\0\0\1", 4);
	ok = ok && HMAC(md, k, BLOCK, first, key->salt_len + 4, h->b, &len) != NULL &&
	     len == 4 * words;
	for (size_t i = 0; i < words; i++) {
		uint32_t w;

		memcpy(&w, h->b + 4 * i, 4);
		h->acc[i] = ntohl(w);
	}
	h->b[4 * words] = 0x80;
	h->b[BLOCK - 2] = (unsigned char)(bits >> 8);
	h->b[BLOCK - 1] = (unsigned char)bits;
	td_wipe(k, sizeof(k));
	return ok;
}

static inline void
half_round(size_t words, struct hi *h, const union state *from)
{
	memcpy(&h->s, from, 4 * words);
	block(words, &h->s, h->b);
}

static inline void
sum(size_t words, struct hi *h)
{
	put_words(words, &h->s, h->b);
	for (size_t i = 0; i < words; i++)
		h->acc[i] ^= chain(&h->s)[i];
}

static inline void
more_rounds(size_t words, struct hi *h, unsigned rounds)
{
	for (unsigned round = 1; round < rounds; round++) {
		half_round(words, h, &h->inner);
		put_words(words, &h->s, h->b);
		half_round(words, h, &h->outer);
		sum(words, h);
	}
}

/* Both hashes side by side: the processor works on one while it waits for the other. */
static void
rounds_of_both(struct hi *h1, struct hi *h256, unsigned rounds)
{
	for (unsigned round = 1; round < rounds; round++) {
		half_round(5, h1, &h1->inner);
		half_round(8, h256, &h256->inner);
		put_words(5, &h1->s, h1->b);
		put_words(8, &h256->s, h256->b);
		half_round(5, h1, &h1->outer);
		half_round(8, h256, &h256->outer);
		sum(5, h1);
		sum(8, h256);
	}
}

static void
hi_end(struct hi *h, size_t words, unsigned char *out)
{
	for (size_t i = 0; i < words; i++) {
		uint32_t w = htonl(h->acc[i]);

		memcpy(out + 4 * i, &w, 4);
	}
}

/* ---- SCRAM ---- */

static bool
keys_from_salted(const EVP_MD *md, const unsigned char *salted, struct store_scram *key)
{
	static const unsigned char ck[] = "Client Key", sk[] = "Server Key";
	unsigned char client[EVP_MAX_MD_SIZE];
	int size = EVP_MD_get_size(md);
	unsigned len;
	bool ok;

	ok = HMAC(md, salted, size, ck, sizeof(ck) - 1, client, &len) != NULL &&
	     EVP_Digest(client, len, key->stored_key, &len, md, NULL) == 1 &&
	     HMAC(md, salted, size, sk, sizeof(sk) - 1, key->server_key, &len) != NULL;
	key->key_len = ok ? (size_t)size : 0;
	td_wipe(client, sizeof(client));
	return ok;
}

int
sasl_scram_keys(const EVP_MD *md, const char *password, struct store_scram *key)
{
	unsigned char salted[EVP_MAX_MD_SIZE];
	struct hi h;
	bool ok = hi_begin(&h, md, password, key);

	/* two calls, so that each is compiled for its number of words */
	if (ok && md == EVP_sha1())
		more_rounds(5, &h, key->iterations);
	else if (ok)
		more_rounds(8, &h, key->iterations);
	hi_end(&h, md == EVP_sha1() ? 5 : 8, salted);
	ok = ok && keys_from_salted(md, salted, key);
	td_wipe(salted, sizeof(salted));
	hi_wipe(&h);
	return ok ? 0 : TD_E_IO;
}

/* Of as many rounds. */
static int
both_keys(const char *password, struct store_scram *sha1, struct store_scram *sha256)
{
	unsigned char salted1[EVP_MAX_MD_SIZE], salted256[EVP_MAX_MD_SIZE];
	struct hi h1, h256;
	bool ok = hi_begin(&h1, EVP_sha1(), password, sha1);

	ok = hi_begin(&h256, EVP_sha256(), password, sha256) && ok;
	if (ok)
		rounds_of_both(&h1, &h256, sha1->iterations);
	hi_end(&h1, 5, salted1);
	hi_end(&h256, 8, salted256);
	ok = ok && keys_from_salted(EVP_sha1(), salted1, sha1) &&
	     keys_from_salted(EVP_sha256(), salted256, sha256);
	td_wipe(salted1, sizeof(salted1));
	td_wipe(salted256, sizeof(salted256));
	hi_wipe(&h1);
	hi_wipe(&h256);
	return ok ? 0 : TD_E_IO;
}

bool
xmpp_scram_from_salted(struct td_str salted, struct store_scram *key)
{
	return salted.len == (size_t)EVP_MD_get_size(EVP_sha256()) &&
	       keys_from_salted(EVP_sha256(), (const unsigned char *)salted.p, key);
}

bool
sasl_scram_check(const EVP_MD *md, const char *password, const struct store_scram *key)
{
	struct store_scram got = *key;
	bool same;

	same = sasl_scram_keys(md, password, &got) == 0 && got.key_len == key->key_len &&
	       CRYPTO_memcmp(got.stored_key, key->stored_key, key->key_len) == 0;
	td_wipe(&got, sizeof(got));
	return same;
}

int
xmpp_scram_derive(struct td_str password, unsigned iterations, struct store_scram *sha1,
		  struct store_scram *sha256, struct td_err *err)
{
	char *prepared;
	int rc = 0;

	if (iterations == 0)
		iterations = CRED_ITERATIONS;
	if (iterations > CRED_ITERATIONS_MAX)
		return td_fail(err, TD_E_INVAL, "more than %u iterations", CRED_ITERATIONS_MAX);
	prepared = sasl_prep_password(password, false);
	if (prepared == NULL)
		return td_fail(err, TD_E_INVAL,
			       "password is empty, too long or has forbidden characters");
	*sha1 = (struct store_scram){ .iterations = iterations, .salt_len = CRED_SALT_LEN };
	*sha256 = *sha1;
	td_random(sha1->salt, sha1->salt_len);
	td_random(sha256->salt, sha256->salt_len);
	if (both_keys(prepared, sha1, sha256) < 0)
		rc = td_fail(err, TD_E_IO, "key derivation failed");
	sasl_free_secret(&prepared);
	return rc;
}

/* base64 of <min> to <max> bytes. */
static bool
decode(struct td_str b64, unsigned char *out, size_t min, size_t max, size_t *len_out)
{
	struct td_buf raw = { 0 };
	bool ok = td_base64_decode(b64, &raw) == 0 && raw.len >= min && raw.len <= max;

	if (ok) {
		memcpy(out, raw.p, raw.len);
		*len_out = raw.len;
	}
	td_wipe(raw.p, raw.len);
	td_buf_fini(&raw);
	return ok;
}

bool
xmpp_scram_parse(struct td_str s, size_t key_len, struct store_scram *key, const char **why)
{
	struct store_scram k = { .key_len = key_len };
	struct td_str field[4];
	size_t len;
	int64_t iterations;

	*why = "want iterations$salt$stored-key$server-key";
	for (size_t n = 0; n < 4; n++) {
		ptrdiff_t i = td_str_chr(s, '$');

		if ((i < 0) != (n == 3))
			return false;
		field[n] = td_str(s.p, i < 0 ? s.len : (size_t)i);
		s = td_str(s.p + i + 1, s.len - (size_t)(i + 1));
	}
	*why = "bad iteration count";
	if (!td_str_to_dec(field[0], 1, CRED_ITERATIONS_MAX, &iterations))
		return false;
	k.iterations = (unsigned)iterations;
	*why = "bad salt";
	if (!decode(field[1], k.salt, 1, sizeof(k.salt), &k.salt_len))
		return false;
	*why = "bad key";
	if (!decode(field[2], k.stored_key, key_len, key_len, &len) ||
	    !decode(field[3], k.server_key, key_len, key_len, &len))
		return false;
	*key = k;
	return true;
}
