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

/* The two hashes by what PBKDF2 needs of them.  <words> of state, big-endian in the digest. */
union state {
	SHA_CTX sha1;
	SHA256_CTX sha256;
};
struct hash {
	size_t words;
	void (*init)(union state *s);
	void (*block)(union state *s, const unsigned char *block);
	uint32_t *(*chain)(union state *s);
};

static void
init1(union state *s)
{
	(void)SHA1_Init(&s->sha1);
}

static void
block1(union state *s, const unsigned char *b)
{
	SHA1_Transform(&s->sha1, b);
}

/* h0 to h4 stand one after the other, in front of all else. */
static uint32_t *
chain1(union state *s)
{
	_Static_assert(offsetof(SHA_CTX, h4) == 16 && sizeof(SHA_LONG) == 4, "five words");
	return (uint32_t *)(void *)s;
}

static void
init256(union state *s)
{
	(void)SHA256_Init(&s->sha256);
}

static void
block256(union state *s, const unsigned char *b)
{
	SHA256_Transform(&s->sha256, b);
}

static uint32_t *
chain256(union state *s)
{
	return s->sha256.h;
}

static const struct hash hash1 = { 5, init1, block1, chain1 };
static const struct hash hash256 = { 8, init256, block256, chain256 };

static void
put_words(const struct hash *h, union state *s, unsigned char *out)
{
	const uint32_t *w = h->chain(s);

	for (size_t i = 0; i < h->words; i++) {
		out[4 * i] = (unsigned char)(w[i] >> 24);
		out[4 * i + 1] = (unsigned char)(w[i] >> 16);
		out[4 * i + 2] = (unsigned char)(w[i] >> 8);
		out[4 * i + 3] = (unsigned char)w[i];
	}
}

/* The state after the block of the key xored with <pad>. */
static void
keyed(const struct hash *h, const unsigned char key[BLOCK], unsigned char pad, union state *out)
{
	unsigned char b[BLOCK];

	for (size_t i = 0; i < BLOCK; i++)
		b[i] = key[i] ^ pad;
	h->init(out);
	h->block(out, b);
	td_wipe(b, sizeof(b));
}

/* One digest as the last block of a message of a block and a digest. */
static void
pad_digest(const struct hash *h, unsigned char b[BLOCK])
{
	unsigned bits = (unsigned)(BLOCK + 4 * h->words) * 8;

	memset(b + 4 * h->words, 0, BLOCK - 4 * h->words);
	b[4 * h->words] = 0x80;
	b[BLOCK - 2] = (unsigned char)(bits >> 8);
	b[BLOCK - 1] = (unsigned char)bits;
}

/* Hi() of RFC 5802: PBKDF2 with HMAC, one block long. */
static bool
hi(const EVP_MD *md, const char *password, const struct store_scram *key, unsigned char *out)
{
	const struct hash *h = md == EVP_sha1() ? &hash1 : &hash256;
	unsigned char k[BLOCK] = { 0 }, b[BLOCK], first[sizeof(key->salt) + 4];
	union state inner, outer, s;
	uint32_t acc[8];
	unsigned len = (unsigned)strlen(password);
	bool ok = true;

	if (len > BLOCK)
		ok = EVP_Digest(password, len, k, &len, md, NULL) == 1;
	else
		memcpy(k, password, len);
	keyed(h, k, 0x36, &inner);
	keyed(h, k, 0x5c, &outer);
	memcpy(first, key->salt, key->salt_len);
	memcpy(first + key->salt_len, "\0\0\0\1", 4);
	len = 0;
	ok = ok && HMAC(md, k, BLOCK, first, key->salt_len + 4, b, &len) != NULL &&
	     len == 4 * h->words;
	for (size_t i = 0; i < h->words; i++)
		acc[i] = (uint32_t)b[4 * i] << 24 | (uint32_t)b[4 * i + 1] << 16 |
			 (uint32_t)b[4 * i + 2] << 8 | b[4 * i + 3];
	for (unsigned round = 1; ok && round < key->iterations; round++) {
		pad_digest(h, b);
		s = inner;
		h->block(&s, b);
		put_words(h, &s, b);
		s = outer;
		h->block(&s, b);
		put_words(h, &s, b);
		for (size_t i = 0; i < h->words; i++)
			acc[i] ^= h->chain(&s)[i];
	}
	memcpy(h->chain(&s), acc, 4 * h->words);
	put_words(h, &s, out);
	td_wipe(k, sizeof(k));
	td_wipe(b, sizeof(b));
	td_wipe(acc, sizeof(acc));
	td_wipe(&inner, sizeof(inner));
	td_wipe(&outer, sizeof(outer));
	td_wipe(&s, sizeof(s));
	return ok;
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
	bool ok;

	ok = key->iterations > 0 && key->salt_len <= sizeof(key->salt) &&
	     hi(md, password, key, salted) && keys_from_salted(md, salted, key);
	td_wipe(salted, sizeof(salted));
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
	if (sasl_scram_keys(EVP_sha1(), prepared, sha1) < 0 ||
	    sasl_scram_keys(EVP_sha256(), prepared, sha256) < 0)
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
	if (!td_str_to_i64(field[0], 1, CRED_ITERATIONS_MAX, &iterations))
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
