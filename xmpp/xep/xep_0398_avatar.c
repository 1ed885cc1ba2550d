/* xep-0398 - one avatar in three forms: PEP (XEP-0084), the photo of the vCard, and its hash in presence (XEP-0153).
 *
 * Published metadata put the image into the vCard; a vCard with a new photo is published as data and metadata, marked
 * so that nothing follows from that (ps_change_quiet).  The hash is put into available presence on its way out, and said
 * anew when it changes. */
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0054_vcard.h"

/* ---- presence ---- */

/* One element says what the photo is; a second one would let readers choose. */
static void
keep_first(struct xmpp_stanza *s, struct xmpp_node *x)
{
	struct xmpp_node *next;

	for (x = xmpp_node_next_elem(x); x != NULL; x = next) {
		next = xmpp_node_next_elem(x);
		if (xmpp_node_is(x, NS_VCARD_UPDATE, "x")) {
			xmpp_node_unlink(x);
			xmpp_stanza_touch(s);
		}
	}
}

/* The hash into <s>: in place of what the client put there, unless it said that it shows no photo (section 4). */
static void
inject(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct td_str hash = xmpp_vcard_photo(u);
	struct xmpp_node *x = xmpp_node_child(s->root, NS_VCARD_UPDATE, "x"), *photo;

	if (hash.p == NULL && x == NULL)
		return;
	if (x != NULL)
		keep_first(s, x);
	photo = x != NULL ? xmpp_node_child(x, NS_VCARD_UPDATE, "photo") : NULL;
	if (photo != NULL &&
	    (hash.p == NULL || td_str_trim(xmpp_node_text(s->arena, photo)).len == 0))
		return;
	while ((x = xmpp_node_child(s->root, NS_VCARD_UPDATE, "x")) != NULL)
		xmpp_node_unlink(x);
	x = xmpp_node_add(s->arena, s->root, "x", NS_VCARD_UPDATE);
	photo = xmpp_node_add(s->arena, x, "photo", NULL);
	if (hash.p != NULL)
		xmpp_node_add_text(s->arena, photo, hash);
	xmpp_stanza_touch(s);
}

static int
avatar_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	if (s->kind == XK_PRESENCE && s->type == XT_NONE)
		inject(sess->user, s);
	return XMPP_PASS;
}

static void
say_again(struct xmpp_session *sess)
{
	struct td_arena *a = td_arena_new(1024);
	struct xmpp_stanza *s = NULL;
	struct xmpp_node *root;
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<presence xmlns='" NS_CLIENT "'>");
	td_buf_adds(&b, sess->presence);
	td_buf_addz(&b, "</presence>");
	root = xmpp_xml_parse(a, td_buf_str(&b), NULL, NULL);
	td_buf_fini(&b);
	if (root == NULL) {
		td_arena_free(a);
		return;
	}
	(void)xmpp_stanza_from_node(a, root, &s, NULL);
	xmpp_stanza_set_from(s, &sess->jid);
	s->flags |= XF_FROM_CLIENT;
	inject(sess->user, s);
	xmpp_presence_broadcast(sess, s);
	xmpp_stanza_unref(&s);
}

void
xmpp_avatar_announce(struct xmpp_user *u)
{
	struct xmpp_session *sess, *next;

	for (sess = TAILQ_FIRST(&u->sessions); sess != NULL; sess = next) {
		next = TAILQ_NEXT(sess, link);
		if (sess->available && !sess->dead)
			say_again(sess);
	}
}

/* ---- from the vCard to PEP ---- */

struct to_pep {
	struct td_buf image;
	char hash[41], type[64];
};

static void
publish_avatar(struct ps_host *h, void *arg)
{
	struct to_pep *p = arg;
	struct ps_change *c;
	struct ps_node *data, *meta;
	struct td_buf d = { 0 }, m = { 0 };
	struct ps_own_item item = { .id = td_cstr(p->hash) };

	if (h != NULL && h->loaded &&
	    (p->image.len > 0 || ps_node_find(h, TD_STR(NS_AVATAR_METADATA)) != NULL)) {
		c = ps_change_new(h, NULL);
		meta = ps_change_node(c, TD_STR(NS_AVATAR_METADATA));
		td_buf_addz(&m, "<metadata xmlns='" NS_AVATAR_METADATA "'>");
		if (p->image.len > 0) {
			data = ps_change_node(c, TD_STR(NS_AVATAR_DATA));
			td_buf_addz(&d, "<data xmlns='" NS_AVATAR_DATA "'>");
			td_buf_add_base64(&d, p->image.p, p->image.len);
			td_buf_addz(&d, "</data>");
			item.payload = td_buf_str(&d);
			ps_change_publish(c, data, &item, 1, h->jid);
			td_buf_addf(&m, "<info id='%s' bytes='%zu' type='", p->hash, p->image.len);
			td_buf_add_xml(&m, td_cstr(p->type));
			td_buf_addz(&m, "'/>");
		} else {
			item.id = TD_STR("current");
		}
		td_buf_addz(&m, "</metadata>");
		item.payload = td_buf_str(&m);
		ps_change_publish(c, meta, &item, 1, h->jid);
		ps_change_quiet(c);
		ps_change_commit(c);
	}
	td_buf_fini(&d);
	td_buf_fini(&m);
	td_buf_fini(&p->image);
	free(p);
}

void
xmpp_avatar_from_vcard(struct xmpp_user *u, struct td_str image, struct td_str type,
		       struct td_str hash)
{
	struct to_pep *p = td_zalloc(sizeof(*p));

	td_buf_adds(&p->image, image);
	(void)snprintf(p->hash, sizeof(p->hash), "%.*s", TD_STR_ARG(hash));
	(void)snprintf(p->type, sizeof(p->type), "%.*s",
		       TD_STR_ARG(type.len > 0 ? type : TD_STR("image/png")));
	ps_host_with(ps_host_pep(u), publish_avatar, p);
}

/* ---- from PEP to the vCard ---- */

struct from_pep {
	struct ps_call call;
	char id[41], type[64];
};

static void
on_data(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct from_pep *p = arg;
	struct ps_host *h = p->call.host;
	struct td_arena *a = td_arena_new(1024);
	struct td_buf image = { 0 }, clean = { 0 };
	struct xmpp_node *n = NULL;
	char hash[41];

	if (h != NULL && r->rc == 0 && got->n == 1)
		n = xmpp_xml_parse(a, got->items[0].payload, NULL, NULL);
	if (n != NULL && xmpp_node_is(n, NS_AVATAR_DATA, "data") &&
	    xmpp_avatar_decode(xmpp_node_text(a, n), &image, hash) && strcmp(hash, p->id) == 0) {
		td_buf_add_base64(&clean, image.p, image.len);
		xmpp_vcard_set_photo(h->user, td_buf_str(&clean), td_cstr(p->type), td_cstr(hash));
	}
	td_buf_fini(&image);
	td_buf_fini(&clean);
	td_arena_free(a);
	ps_call_end(&p->call);
	free(p);
}

/* The image that is in the data node: the one without a URL. */
static const struct xmpp_node *
inband(const struct xmpp_node *metadata)
{
	for (const struct xmpp_node *i = xmpp_node_child(metadata, NULL, NULL); i != NULL;
	     i = xmpp_node_next_elem(i))
		if (xmpp_node_is(i, NS_AVATAR_METADATA, "info") &&
		    xmpp_node_attr(i, "url").p == NULL && xmpp_node_attr(i, "id").len == 40)
			return i;
	return NULL;
}

static void
on_metadata(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct from_pep *p = arg;
	struct ps_host *h = p->call.host;
	struct td_arena *a = td_arena_new(1024);
	struct xmpp_node *m = NULL;
	const struct xmpp_node *info;

	if (h != NULL && r->rc == 0 && got->n == 1)
		m = xmpp_xml_parse(a, got->items[0].payload, NULL, NULL);
	info = m != NULL && xmpp_node_is(m, NS_AVATAR_METADATA, "metadata") ? inband(m) : NULL;
	if (info != NULL && !td_str_eq(xmpp_node_attr(info, "id"), xmpp_vcard_photo(h->user))) {
		struct td_str id = xmpp_node_attr(info, "id"), type = xmpp_node_attr(info, "type");
		struct store_ps_query q = {
			.node = TD_STR(NS_AVATAR_DATA), .ids = &id, .n_ids = 1, .index = -1
		};

		(void)snprintf(p->id, sizeof(p->id), "%.*s", TD_STR_ARG(id));
		(void)snprintf(p->type, sizeof(p->type), "%.*s",
			       TD_STR_ARG(type.len > 0 ? type : TD_STR("image/png")));
		store_ps_items(h->env->store, h->jid, &q, h->env->loop, on_data, p);
		td_arena_free(a);
		return;
	}
	/* no metadata, or none with an image: the avatar was taken away */
	if (h != NULL && r->rc == 0 && info == NULL &&
	    (m == NULL || xmpp_node_child(m, NULL, NULL) == NULL) &&
	    xmpp_vcard_photo(h->user).p != NULL)
		xmpp_vcard_set_photo(h->user, TD_STR_NULL, TD_STR(""), TD_STR(""));
	td_arena_free(a);
	ps_call_end(&p->call);
	free(p);
}

void
ps_avatar_changed(struct ps_host *h)
{
	struct from_pep *p = td_zalloc(sizeof(*p));
	struct td_str node = TD_STR(NS_AVATAR_METADATA);
	uint64_t since = 0;

	ps_call_begin(&p->call, h);
	store_ps_last(h->env->store, h->jid, &node, &since, 1, h->env->loop, on_metadata, p);
}

static const char *const avatar_features[] = { "urn:xmpp:pep-vcard-conversion:0", NULL };

const struct xmpp_module xep_0398_avatar = {
	.name = "xep-0398-avatar",
	.xep = "0398",
	.doc = "Avatars of PEP and vCard kept in step, their hash in presence (XEP-0153)",
	.version = "1.0.0",
	.account_features = avatar_features,
	.sent = avatar_sent,
};
