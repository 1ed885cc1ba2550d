/* hmac - keyed hashes (RFC 2104) without the search for the algorithm that OpenSSL's HMAC() makes
 * at each call and that costs more than the hash of a short text.
 * Thread: any. */
#ifndef XMPP_HMAC_H
#define XMPP_HMAC_H
#include <stdbool.h>
#include <openssl/evp.h>
#include "gateway/base/str.h"

/* HMAC of <text> into out[EVP_MD_get_size(md)]; false when the library fails. */
bool xmpp_hmac(const EVP_MD *md, const void *key, size_t key_len, struct td_str text,
	       unsigned char *out);
#endif
