/* xep-0054 - vcard-temp: get by anybody (option public_vcards), set by the account.
 *
 * The vCard is the setting "vcard", read when asked for.  "+photo" holds the SHA-1 of its photo and is in memory with the
 * account, for presence (XEP-0153).  A photo that came from the avatar (XEP-0398) is marked by "+photo-pep": those who may
 * not read the avatar get the vCard without it.  Who may read the account's vCard4 gets that, in the old form
 * (XEP-0292). */
#include "xmpp/xep/xep_0054_vcard.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0292_vcard4.h"

#define KEY "vcard"
#define KEY_PHOTO "+photo"
#define KEY_PEP "+photo-pep"

struct vcard_call {
	struct xmpp_call call;
	struct xmpp_stanza *iq; /* get, set */
	bool hide;              /* get: without the photo */
	struct ps_call ps;      /* get: reading the vCard4 */
	struct td_buf v4;       /* get: it; set: the new vCard */
	struct td_buf image;    /* set: decoded photo */
	char hash[41], type[64];
	struct td_buf base64; /* xmpp_vcard_set_photo */
	bool converted;
};

static struct vcard_call *
call_new(struct xmpp_user *u, struct xmpp_stanza *iq)
{
	struct vcard_call *c = td_zalloc(sizeof(*c));

	c->iq = iq != NULL ? xmpp_stanza_ref(iq) : NULL;
	xmpp_call_begin(&c->call, u);
	return c;
}

static void
call_end(struct vcard_call *c)
{
	xmpp_stanza_unref(&c->iq);
	td_buf_fini(&c->image);
	td_buf_fini(&c->base64);
	td_buf_fini(&c->v4);
	xmpp_call_end(&c->call);
	free(c);
}

static void
refuse(struct vcard_call *c, enum xmpp_error e)
{
	struct xmpp_iq iq = { .env = c->call.env, .s = c->iq, .user = c->call.user };

	xmpp_iq_error(&iq, e, NULL);
}

static void
answer(struct vcard_call *c, struct td_str xml)
{
	struct xmpp_iq iq = { .env = c->call.env, .s = c->iq, .user = c->call.user };

	xmpp_iq_result(&iq, xml);
}

struct td_str
xmpp_vcard_photo(const struct xmpp_user *u)
{
	struct td_str s = xmpp_user_setting(u, KEY_PHOTO);

	return s.len > 0 ? s : TD_STR_NULL;
}

bool
xmpp_avatar_decode(struct td_str text, struct td_buf *image, char *hash)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	struct td_buf clean = { 0 }, hex = { 0 };
	unsigned len = 0;
	bool ok;

	for (size_t i = 0; i < text.len; i++)
		if (text.p[i] != ' ' && text.p[i] != '\n' && text.p[i] != '\r' && text.p[i] != '\t')
			td_buf_addc(&clean, text.p[i]);
	ok = clean.len > 0 && td_base64_decode(td_buf_str(&clean), image) == 0 && image->len > 0 &&
	     EVP_Digest(image->p, image->len, md, &len, EVP_sha1(), NULL) == 1;
	td_buf_fini(&clean);
	if (!ok)
		return false;
	td_buf_add_hex(&hex, md, len);
	memcpy(hash, hex.p, 40);
	hash[40] = '\0';
	td_buf_fini(&hex);
	return true;
}

/* ---- get ---- */

static void
without_photo(struct td_arena *a, struct xmpp_node *card)
{
	struct xmpp_node *n;

	(void)a;
	while ((n = xmpp_node_child(card, NS_VCARD, "PHOTO")) != NULL)
		xmpp_node_unlink(n);
}

/* What is stored (may be empty) without what the asker may not see and with what the vCard4 says. */
static void
answer_made(struct vcard_call *c, struct td_str value)
{
	struct td_arena *a = td_arena_new(value.len + 1024);
	struct xmpp_node *card = value.len > 0 ? xmpp_xml_parse(a, value, NULL, NULL) : NULL, *v4;
	struct td_buf b = { 0 };

	if (card != NULL && c->hide)
		without_photo(a, card);
	v4 = c->v4.len > 0 ? xmpp_xml_parse(a, td_buf_str(&c->v4), NULL, NULL) : NULL;
	if (v4 != NULL && xmpp_node_is(v4, NS_VCARD4, "vcard"))
		card = xmpp_vcard4_view(a, v4, card);
	if (card != NULL)
		xmpp_node_write(&b, card, NS_CLIENT);
	answer(c, td_buf_str(&b));
	td_buf_fini(&b);
	td_arena_free(a);
}

static void
on_got(void *arg, const struct store_result *r, struct td_str value)
{
	struct vcard_call *c = arg;
	struct xmpp_user *u = c->call.user;

	if (c->call.env == NULL) {
		;
	} else if (r->rc == TD_E_NOTFOUND && c->v4.len > 0) {
		answer_made(c, TD_STR(""));
	} else if (r->rc == TD_E_NOTFOUND) {
		/* others: as if there was no such account (section 3.3) */
		if (td_str_eq(c->iq->from.bare, u->bare))
			answer(c, TD_STR("<vCard xmlns='" NS_VCARD "'/>"));
		else
			refuse(c, XE_SERVICE_UNAVAILABLE);
	} else if (r->rc < 0) {
		refuse(c, XE_INTERNAL_SERVER_ERROR);
	} else if (c->hide || c->v4.len > 0) {
		answer_made(c, value);
	} else {
		answer(c, value);
	}
	call_end(c);
}

static void
read_card(struct vcard_call *c)
{
	store_setting_get(c->call.env->store, c->call.user->bare, TD_STR(KEY), c->call.env->loop,
			  on_got, c);
}

static void
on_vcard4(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct vcard_call *c = arg;

	if (c->ps.host != NULL && r->rc == 0 && got->n > 0)
		td_buf_adds(&c->v4, got->items[0].payload);
	ps_call_end(&c->ps);
	if (c->call.env == NULL)
		call_end(c);
	else
		read_card(c);
}

/* The photo may be the avatar, and there may be a vCard4: for those who may read them. */
static void
check_asker(struct ps_host *h, void *arg)
{
	struct vcard_call *c = arg;
	struct td_str name = TD_STR(NODE_VCARD4);
	struct ps_node *data, *meta, *v4;
	struct ps_refusal why;
	uint64_t since = 0;

	if (c->call.env == NULL || h == NULL) {
		call_end(c);
		return;
	}
	data = ps_node_find(h, TD_STR(NS_AVATAR_DATA));
	meta = ps_node_find(h, TD_STR(NS_AVATAR_METADATA));
	c->hide = xmpp_user_setting(c->call.user, KEY_PEP).len > 0 &&
		  (data == NULL || meta == NULL || !ps_may_read(data, &c->iq->from, false, &why) ||
		   !ps_may_read(meta, &c->iq->from, false, &why));
	v4 = ps_node_find(h, name);
	if (v4 == NULL || !ps_may_read(v4, &c->iq->from, false, &why)) {
		read_card(c);
		return;
	}
	ps_call_begin(&c->ps, h);
	store_ps_last(h->env->store, h->jid, &name, &since, 1, h->env->loop, on_vcard4, c);
}

static int
vcard_get(struct xmpp_iq *iq)
{
	struct conf_at at = { .protocol = "xmpp", .domain = iq->user->domain };
	struct vcard_call *c;

	if (!xmpp_presence_may_see(iq->user, &iq->s->from) &&
	    !conf_bool(iq->env->conf, &at, "public_vcards"))
		return XMPP_PASS;
	c = call_new(iq->user, iq->s);
	if (!iq->user->has_nodes)
		read_card(c);
	else
		ps_host_with(ps_host_pep(iq->user), check_asker, c);
	return XMPP_LATER;
}

/* ---- set ---- */

static void
on_published(void *arg)
{
	struct vcard_call *c = arg;

	if (c->call.env != NULL) {
		answer(c, TD_STR_NULL);
		if (c->converted)
			xmpp_avatar_from_vcard(c->call.user, td_buf_str(&c->image),
					       td_cstr(c->type), td_cstr(c->hash));
	}
	call_end(c);
}

static void
on_set(void *arg, const struct store_result *r)
{
	struct vcard_call *c = arg;

	if (c->call.env != NULL && r->rc == 0) {
		xmpp_vcard4_from_vcard(c->call.user, td_buf_str(&c->v4), on_published, c);
		return;
	}
	if (c->call.env != NULL)
		refuse(c, XE_INTERNAL_SERVER_ERROR);
	call_end(c);
}

/* What the vCard says of the photo, into <c>; false: the photo is broken. */
static bool
read_photo(struct vcard_call *c, const struct xmpp_node *card)
{
	const struct xmpp_node *photo = xmpp_node_child(card, NS_VCARD, "PHOTO");
	const struct xmpp_node *n;
	struct td_arena *a;
	struct td_str text;
	bool ok = true;

	if (photo == NULL || (n = xmpp_node_child(photo, NS_VCARD, "BINVAL")) == NULL)
		return true;
	a = td_arena_new(1024);
	text = td_str_trim(xmpp_node_text(a, n));
	if (text.len > 0)
		ok = xmpp_avatar_decode(text, &c->image, c->hash);
	n = xmpp_node_child(photo, NS_VCARD, "TYPE");
	if (n != NULL)
		(void)snprintf(c->type, sizeof(c->type), "%.*s",
			       TD_STR_ARG(td_str_trim(xmpp_node_text(a, n))));
	td_arena_free(a);
	return ok;
}

static void
set_hash(struct xmpp_user *u, const char *hash, bool from_pep)
{
	bool has = hash[0] != '\0', marked = xmpp_user_setting(u, KEY_PEP).len > 0;

	if (!td_str_eqc(xmpp_user_setting(u, KEY_PHOTO), hash))
		xmpp_user_set_setting(u, KEY_PHOTO, has ? td_cstr(hash) : TD_STR_NULL, NULL, NULL);
	if (marked != (has && from_pep))
		xmpp_user_set_setting(u, KEY_PEP, has && from_pep ? TD_STR("1") : TD_STR_NULL, NULL,
				      NULL);
}

static int
vcard_set(struct xmpp_iq *iq)
{
	struct conf_at at = { .protocol = "xmpp", .domain = iq->user->domain };
	struct td_buf xml = { 0 };
	struct vcard_call *c;
	bool changed;

	xmpp_node_write(&xml, iq->payload, NS_CLIENT);
	if ((int64_t)xml.len > conf_int(iq->env->conf, &at, "max_vcard_size")) {
		td_buf_fini(&xml);
		xmpp_iq_error(iq, XE_NOT_ACCEPTABLE, "The vCard is too large.");
		return XMPP_DONE;
	}
	c = call_new(iq->user, iq->s);
	if (!read_photo(c, iq->payload)) {
		refuse(c, XE_BAD_REQUEST);
		call_end(c);
		td_buf_fini(&xml);
		return XMPP_DONE;
	}
	changed = !td_str_eqc(xmpp_user_setting(iq->user, KEY_PHOTO), c->hash);
	c->converted = changed;
	/* the same photo stays what it was: the avatar */
	set_hash(iq->user, c->hash, !changed && xmpp_user_setting(iq->user, KEY_PEP).len > 0);
	c->v4 = xml;
	store_setting_set(iq->env->store, iq->user->bare, TD_STR(KEY), td_buf_str(&xml),
			  (struct store_to){ iq->env->loop, on_set, c });
	if (changed)
		xmpp_avatar_announce(iq->user);
	return XMPP_LATER;
}

/* ---- the photo from the avatar ---- */

static void
on_photo_set(void *arg, const struct store_result *r)
{
	struct vcard_call *c = arg;

	if (c->call.env != NULL && r->rc < 0)
		td_log_error(&c->call.env->log, "vcard-write-failed", "user=%s error=%s",
			     td_esc(c->call.user->bare), td_escz(r->error));
	call_end(c);
}

static void
on_card_for_photo(void *arg, const struct store_result *r, struct td_str value)
{
	struct vcard_call *c = arg;
	struct td_arena *a = td_arena_new(4096);
	struct xmpp_node *card, *photo, *n;
	struct td_buf b = { 0 };

	if (c->call.env == NULL || (r->rc < 0 && r->rc != TD_E_NOTFOUND)) {
		td_arena_free(a);
		call_end(c);
		return;
	}
	card = r->rc == 0 ? xmpp_xml_parse(a, value, NULL, NULL) : NULL;
	if (card == NULL)
		card = xmpp_node_new(a, "vCard", NS_VCARD);
	without_photo(a, card);
	if (c->base64.len > 0) {
		photo = xmpp_node_add(a, card, "PHOTO", NULL);
		n = xmpp_node_add(a, photo, "TYPE", NULL);
		xmpp_node_add_text(a, n, td_cstr(c->type));
		n = xmpp_node_add(a, photo, "BINVAL", NULL);
		xmpp_node_add_text(a, n, td_buf_str(&c->base64));
	}
	xmpp_node_write(&b, card, NS_CLIENT);
	set_hash(c->call.user, c->hash, true);
	store_setting_set(c->call.env->store, c->call.user->bare, TD_STR(KEY), td_buf_str(&b),
			  (struct store_to){ c->call.env->loop, on_photo_set, c });
	xmpp_avatar_announce(c->call.user);
	td_buf_fini(&b);
	td_arena_free(a);
}

void
xmpp_vcard_set_photo(struct xmpp_user *u, struct td_str base64, struct td_str type,
		     struct td_str hash)
{
	struct vcard_call *c = call_new(u, NULL);

	if (base64.p != NULL) {
		td_buf_adds(&c->base64, base64);
		(void)snprintf(c->hash, sizeof(c->hash), "%.*s", TD_STR_ARG(hash));
	}
	(void)snprintf(c->type, sizeof(c->type), "%.*s", TD_STR_ARG(type));
	store_setting_get(u->env->store, u->bare, TD_STR(KEY), u->env->loop, on_card_for_photo, c);
}

static const char *const vcard_features[] = { NS_VCARD, NULL };
static const struct xmpp_iq_entry vcard_iqs[] = {
	{ NS_VCARD, "vCard", IQ_GET | IQ_TO_ACCOUNT, vcard_get },
	{ NS_VCARD, "vCard", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, vcard_set },
	{ 0 },
};

const struct xmpp_module xep_0054_vcard = {
	.name = "xep-0054-vcard",
	.xep = "0054",
	.doc = "vCards: read by anybody unless public_vcards is off, set by the account",
	.version = "1.3.0",
	.features = vcard_features,
	.account_features = vcard_features,
	.iqs = vcard_iqs,
};
