/* xep_0054_vcard - the vCard of an account, and the hash of its photo.
 * Thread: the worker of the account. */
#ifndef XMPP_XEP_0054_VCARD_H
#define XMPP_XEP_0054_VCARD_H
#include "xmpp/xmpp.h"

/* SHA-1 (hex) of the vCard's photo; TD_STR_NULL = there is none. */
struct td_str xmpp_vcard_photo(const struct xmpp_user *u);
/* The account's avatar changed: this is the photo from now on (base64; TD_STR_NULL = none).  <type> a media type. */
void xmpp_vcard_set_photo(struct xmpp_user *u, struct td_str base64, struct td_str type,
			  struct td_str hash);
/* Decode base64 with whatever blanks in it; false: it is none, or empty.  <hash>: 41 bytes. */
bool xmpp_avatar_decode(struct td_str text, struct td_buf *image, char *hash);
/* xep_0398_avatar.c: the vCard was set; the photo is <image> now (len 0: none). */
void xmpp_avatar_from_vcard(struct xmpp_user *u, struct td_str image, struct td_str type,
			    struct td_str hash);
/* Say the new hash to everybody: the last presence of each session again. */
void xmpp_avatar_announce(struct xmpp_user *u);
#endif
