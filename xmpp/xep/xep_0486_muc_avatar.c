/* xep-0486 - a room's picture: a vCard at its bare JID, for owners to set and everybody to see. */
#include <stdlib.h>
#include <openssl/evp.h>
#include "xmpp/modules.h"
#include "xmpp/xep/muc.h"

/* XEP-0153: SHA-1 of each photo's bytes, one a line. */
static void
hash_photos(struct td_arena *a, const struct xmpp_node *vcard, struct td_buf *out)
{
	const struct xmpp_node *photo, *data;

	for (photo = xmpp_node_child(vcard, NULL, NULL); photo != NULL;
	     photo = xmpp_node_next_elem(photo)) {
		struct td_buf packed = { 0 }, raw = { 0 };
		unsigned char sha[EVP_MAX_MD_SIZE];
		struct td_str text;
		unsigned n = 0;

		if (!xmpp_node_is(photo, NS_VCARD, "PHOTO") ||
		    (data = xmpp_node_child(photo, NS_VCARD, "BINVAL")) == NULL)
			continue;
		text = xmpp_node_text(a, data);
		for (size_t i = 0; i < text.len; i++) /* base64 may come in lines */
			if (strchr(" \t\r\n", text.p[i]) == NULL)
				td_buf_addc(&packed, text.p[i]);
		if (packed.len > 0 && td_base64_decode(td_buf_str(&packed), &raw) == 0 &&
		    EVP_Digest(raw.p, raw.len, sha, &n, EVP_sha1(), NULL) == 1) {
			if (out->len > 0)
				td_buf_addc(out, '\n');
			td_buf_add_hex(out, sha, n);
		}
		td_buf_fini(&packed);
		td_buf_fini(&raw);
	}
}

static void
keep(struct td_str *at, struct td_str value)
{
	free((void *)(uintptr_t)at->p);
	*at = value.len > 0 ? td_str(td_strndup(value), value.len) : TD_STR_NULL;
}

void
muc_avatar_load(struct muc_room *room, struct td_str vcard)
{
	struct td_arena *a = td_arena_new(0);
	const struct xmpp_node *n = vcard.len > 0 ? xmpp_xml_parse(a, vcard, NS_VCARD, NULL) : NULL;
	struct td_buf hashes = { 0 };

	if (n != NULL)
		hash_photos(a, n, &hashes);
	keep(&room->vcard, n != NULL ? vcard : TD_STR_NULL);
	keep(&room->avatars, td_buf_str(&hashes));
	td_buf_fini(&hashes);
	td_arena_free(a);
}

void
muc_avatar_info(const struct muc_room *room, struct td_buf *out)
{
	struct td_str left = room->avatars;
	struct td_str v[8];
	size_t n = 0;

	while (left.len > 0 && n < 8) {
		ptrdiff_t nl = td_str_chr(left, '\n');
		size_t len = nl < 0 ? left.len : (size_t)nl;

		v[n++] = td_str(left.p, len);
		len += nl >= 0;
		left = td_str(left.p + len, left.len - len);
	}
	if (n > 0)
		xmpp_form_add(out, "text-multi", "muc#roominfo_avatarhash", "Avatar hash", v, n,
			      NULL);
}

void
muc_vcard_get(struct muc_iq *iq)
{
	muc_result(iq->room, iq->s,
		   iq->room->vcard.p != NULL ? iq->room->vcard
					     : TD_STR("<vCard xmlns='" NS_VCARD "'/>"));
}

static void
vcard_done(struct muc_change *ch, int rc)
{
	const struct td_str *xml = ch->arg;

	if (rc < 0) {
		muc_refuse(ch->room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	muc_avatar_load(ch->room, *xml);
	muc_result(ch->room, ch->s, TD_STR_NULL);
	muc_tell_code(ch->room, 104);
}

void
muc_vcard_set(struct muc_iq *iq)
{
	struct muc_change *ch;
	struct td_str *xml;
	struct td_buf b = { 0 };

	if (!muc_affiliation_may(iq->affiliation, MAP_CONFIGURE)) {
		muc_refuse(iq->room, iq->s, XE_FORBIDDEN,
			   "Only owners are allowed to set avatars.");
		return;
	}
	if (xmpp_node_child(iq->payload, NULL, NULL) != NULL)
		xmpp_node_write(&b, iq->payload, NS_CLIENT);
	if (b.len > MUC_VCARD_MAX) {
		muc_refuse(iq->room, iq->s, XE_NOT_ACCEPTABLE, "The vCard is too large.");
		td_buf_fini(&b);
		return;
	}
	ch = muc_change_new(iq->room, iq->s, vcard_done);
	xml = td_arena_alloc(ch->arena, sizeof(*xml));
	*xml = td_arena_str(ch->arena, td_buf_str(&b)); /* empty: it goes */
	td_buf_fini(&b);
	ch->arg = xml;
	muc_change_prop(ch, "vcard", *xml);
	muc_change_commit(ch);
}

const struct xmpp_module xep_0486_muc_avatar = {
	.name = "xep-0486-muc-avatar",
	.xep = "0486",
	.doc = "Owners give a room a vCard with a picture; its hash is in the room's disco#info",
	.version = "0.1.0",
};
