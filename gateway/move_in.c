/* move_in - pieces of accounts from other servers, made into rows (XEP-0227).
 *
 * Each <user/> of a request becomes one transaction of the store (store/move.h).  What a piece says is checked as if a
 * client had said it; a piece that cannot be taken is told of and left out, the account is made all the same.
 * Limits that keep clients from filling the disk do not apply: what people had they keep. */
#include "gateway/move.h"

#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "store/move.h"
#include "xmpp/form.h"
#include "xmpp/sasl.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0054_vcard.h"

#define NAME_MAX_BYTES 1023u
#define GROUPS_MAX 200u
#define KEY_MAX 512u   /* of a private document: namespace and name */
#define JIDS_MAX 2000u /* blocked ones, as many as a client may block */
#define NS_BLOCKING "urn:xmpp:blocking"
#define NS_PRIVACY "jabber:iq:privacy"
#define NS_MAM_0 "urn:xmpp:mam:2"
#define NS_SID "urn:xmpp:sid:0"
#define NS_MAM_TMP "urn:xmpp:mam:tmp"

enum count {
	N_CONTACTS = 0,
	N_REQUESTS,
	N_MESSAGES,
	N_PRIVATE,
	N_VCARDS,
	N_BLOCKED,
	N_BOOKMARKS,
	N_NODES,
	N_ITEMS,
	N_ARCHIVED,
	N_COUNT /* must be last */
};
static const char *const count_names[N_COUNT] = { "contacts",  "requests", "offline-messages",
						  "documents", "vcards",   "blocked",
						  "bookmarks", "nodes",    "items",
						  "archived" };

struct load {
	struct ctl_request *r;
	struct conf *conf;
	struct gw_domains *domains;
	struct td_buf notes;
	uint64_t counts[N_COUNT];
	unsigned left, n; /* accounts not yet answered, +1 while they are being read */
};

/* One <user/>. */
struct incoming {
	struct load *l;
	unsigned index;
	struct td_arena *a; /* the request's */
	struct xmpp_jid jid;
	struct store_move m;
	struct store_move_part *parts;
	size_t n, cap;
	uint64_t counts[N_COUNT];
	int64_t piece; /* the one being read */
	bool kick;
};

/* ---- telling ---- */

static void note(struct incoming *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
note(struct incoming *u, const char *fmt, ...)
{
	struct td_buf *b = &u->l->notes;
	va_list ap;
	size_t at;

	td_buf_addf(b, "! %lld ", (long long)u->piece);
	at = b->len;
	va_start(ap, fmt);
	td_buf_vaddf(b, fmt, ap);
	va_end(ap);
	for (; at < b->len; at++)
		if ((unsigned char)b->p[at] < ' ')
			b->p[at] = ' ';
	td_buf_addc(b, '\n');
}

static struct store_move_part *
part(struct incoming *u, enum store_move_kind kind)
{
	if (u->n == u->cap) {
		size_t cap = u->cap > 0 ? u->cap * 2 : 16;
		struct store_move_part *p = td_arena_alloc(u->a, cap * sizeof(*p));

		if (u->n > 0)
			memcpy(p, u->parts, u->n * sizeof(*p));
		u->parts = p;
		u->cap = cap;
	}
	u->parts[u->n] = (struct store_move_part){ .kind = kind };
	return &u->parts[u->n++];
}

static void
setting(struct incoming *u, struct td_str key, struct td_str value)
{
	struct store_move_part *p = part(u, MV_SETTING);

	p->key = key;
	p->value = value;
}

/* <n> as text in the arena. */
static struct td_str
written(struct incoming *u, const struct xmpp_node *n, const char *inherited_ns)
{
	struct td_buf b = { 0 };
	struct td_str out;

	xmpp_node_write(&b, n, inherited_ns);
	out = td_arena_str(u->a, td_buf_str(&b));
	td_buf_fini(&b);
	return out;
}

static struct td_str
kid_text(struct incoming *u, const struct xmpp_node *n, const char *name)
{
	const struct xmpp_node *c = xmpp_node_child(n, n->ns, name);

	return c != NULL ? td_str_trim(xmpp_node_text(u->a, c)) : TD_STR("");
}

/* ---- verifiers ---- */

/* Base64 of <want> bytes; ejabberd 23 writes base64 of base64.  *twice: that was so. */
static bool
key_of(struct td_str b64, size_t want, unsigned char *out, bool *twice)
{
	struct td_buf once = { 0 }, again = { 0 };
	bool ok = td_base64_decode(b64, &once) == 0;

	*twice = ok && once.len != want && td_base64_decode(td_buf_str(&once), &again) == 0;
	ok = ok && (*twice ? again.len : once.len) == want;
	if (ok)
		memcpy(out, *twice ? again.p : once.p, want);
	td_wipe(once.p, once.len);
	td_wipe(again.p, again.len);
	td_buf_fini(&once);
	td_buf_fini(&again);
	return ok;
}

static bool
salt_of(struct td_str b64, bool twice, struct store_scram *key)
{
	struct td_buf once = { 0 }, again = { 0 };
	const struct td_buf *b = twice ? &again : &once;
	bool ok = td_base64_decode(b64, &once) == 0 &&
		  (!twice || td_base64_decode(td_buf_str(&once), &again) == 0) && b->len > 0 &&
		  b->len <= sizeof(key->salt);

	if (ok) {
		memcpy(key->salt, b->p, b->len);
		key->salt_len = b->len;
	}
	td_buf_fini(&once);
	td_buf_fini(&again);
	return ok;
}

/* Both keys of <len> bytes. */
static bool
keys_of(struct incoming *u, const struct xmpp_node *n, size_t len, struct store_scram *key,
	bool *twice)
{
	bool too = false;

	key->key_len = len;
	return key_of(kid_text(u, n, "stored-key"), len, key->stored_key, twice) &&
	       key_of(kid_text(u, n, "server-key"), len, key->server_key, &too) && too == *twice;
}

static void
take_scram(struct incoming *u, const struct xmpp_node *n)
{
	struct td_str mech = xmpp_node_attr(n, "mechanism");
	struct store_scram key = { 0 };
	bool twice = false;
	int64_t rounds = 0;

	if (!td_str_eqc(mech, "SCRAM-SHA-1") && !td_str_eqc(mech, "SCRAM-SHA-256")) {
		note(u, "password for %s: no such mechanism here", td_esc(mech));
		return;
	}
	/* the length says which of the two it is: prosody-migrator calls either SCRAM-SHA-1 */
	if (!td_str_to_dec(kid_text(u, n, "iter-count"), 1, 1000000, &rounds))
		note(u, "%s: the iteration count is not in 1..1000000", td_esc(mech));
	else if (!keys_of(u, n, 20, &key, &twice) && !keys_of(u, n, 32, &key, &twice))
		note(u, "%s: the keys are not base64 of 20 or 32 bytes", td_esc(mech));
	else if (!salt_of(kid_text(u, n, "salt"), twice, &key))
		note(u, "%s: the salt is not base64 of 1 to %zu bytes", td_esc(mech),
		     sizeof(key.salt));
	else {
		key.iterations = (unsigned)rounds;
		*(key.key_len == 20 ? &u->m.account.sha1 : &u->m.account.sha256) = key;
	}
	td_wipe(&key, sizeof(key));
}

/* ---- roster ---- */

/* Every name once, into the arena. */
static void
take_groups(struct incoming *u, const struct xmpp_node *n, struct store_contact *c)
{
	const struct xmpp_node *first = xmpp_node_child(n, n->ns, "group"), *g;
	struct td_str *groups;
	size_t most = 0;

	for (g = first; g != NULL && most < GROUPS_MAX; g = xmpp_node_next_elem(g))
		most++;
	if (most == 0)
		return;
	groups = td_arena_alloc(u->a, most * sizeof(*groups));
	for (g = first; g != NULL && c->n_groups < most; g = xmpp_node_next_elem(g)) {
		struct td_str name = xmpp_node_text(u->a, g);
		bool known = !xmpp_node_is(g, n->ns, "group") || name.len == 0 ||
			     name.len > NAME_MAX_BYTES;

		for (size_t i = 0; i < c->n_groups && !known; i++)
			known = td_str_eq(groups[i], name);
		if (!known)
			groups[c->n_groups++] = name;
	}
	c->groups = groups;
}

static void
take_contact(struct incoming *u, const struct xmpp_node *n)
{
	struct td_str sub = xmpp_node_attr(n, "subscription"), name = xmpp_node_attr(n, "name");
	struct store_move_part *p;
	struct xmpp_jid j;
	int state = sub.p == NULL ? 0 : -1;

	for (int i = 0; i < 4; i++)
		if (td_str_eqc(sub, store_sub_names[i]))
			state = i;
	if (strcmp(n->name, "item") != 0 || state < 0 ||
	    xmpp_jid_parse(u->a, xmpp_node_attr(n, "jid"), &j, NULL) < 0) {
		note(u, "no contact: %s", td_esc(xmpp_node_attr(n, "jid")));
		return;
	}
	p = part(u, MV_CONTACT);
	p->contact.jid = j.bare;
	if (name.len > 0)
		p->contact.name = td_str(name.p, td_utf8_cut(name, NAME_MAX_BYTES));
	p->contact.sub = (enum store_subscription)state;
	if (td_str_eqc(xmpp_node_attr(n, "ask"), "subscribe") && !(state & STORE_SUB_TO))
		p->contact.flags |= STORE_ROSTER_ASK;
	if (td_str_eqc(xmpp_node_attr(n, "approved"), "true") && !(state & STORE_SUB_FROM))
		p->contact.flags |= STORE_ROSTER_APPROVED;
	take_groups(u, n, &p->contact);
	u->counts[N_CONTACTS]++;
}

static void
take_presence(struct incoming *u, struct xmpp_node *n)
{
	struct store_move_part *p;
	struct xmpp_jid from;

	if (!td_str_eqc(xmpp_node_attr(n, "type"), "subscribe") ||
	    xmpp_jid_parse(u->a, xmpp_node_attr(n, "from"), &from, NULL) < 0) {
		note(u, "presence that is no request for a subscription");
		return;
	}
	xmpp_node_set(u->a, n, "from", from.bare);
	xmpp_node_set(u->a, n, "to", u->jid.bare);
	p = part(u, MV_PENDING);
	p->contact.jid = from.bare;
	p->contact.pending_stanza = written(u, n, NULL);
	u->counts[N_REQUESTS]++;
}

/* ---- messages ---- */

/* Ids that only we give, and what others' archives left behind. */
static void
strip_ids(struct incoming *u, struct xmpp_node *msg)
{
	struct xmpp_node *n, *next;

	for (n = xmpp_node_child(msg, NULL, NULL); n != NULL; n = next) {
		next = xmpp_node_next_elem(n);
		if (xmpp_node_is(n, NS_MAM_TMP, "archived") ||
		    (xmpp_node_is(n, NS_SID, "stanza-id") &&
		     td_str_eq(xmpp_node_attr(n, "by"), u->jid.bare)))
			xmpp_node_unlink(n);
	}
}

/* The stamp by us, or else the first there is. */
static bool
stamp_of(struct incoming *u, const struct xmpp_node *n, uint64_t *when, bool *ours)
{
	bool found = false;

	*ours = false;
	for (n = xmpp_node_child(n, NS_DELAY, "delay"); n != NULL && !*ours;
	     n = xmpp_node_next_elem(n)) {
		uint64_t at;

		if (!xmpp_node_is(n, NS_DELAY, "delay") ||
		    !td_stamp_parse(td_str_trim(xmpp_node_attr(n, "stamp")), &at))
			continue;
		*ours = td_str_eq(xmpp_node_attr(n, "from"), u->jid.domain);
		if (!found || *ours)
			*when = at;
		found = true;
	}
	return found;
}

/* Both addresses, prepared; false: it has not got them. */
static bool
addresses(struct incoming *u, struct xmpp_node *msg, struct xmpp_jid *from, struct xmpp_jid *to)
{
	struct td_str f = xmpp_node_attr(msg, "from"), t = xmpp_node_attr(msg, "to");

	/* what one sends oneself, or to nobody in particular, is to or from oneself */
	if (xmpp_jid_parse(u->a, f.len > 0 ? f : u->jid.bare, from, NULL) < 0 ||
	    xmpp_jid_parse(u->a, t.len > 0 ? t : u->jid.bare, to, NULL) < 0)
		return false;
	xmpp_node_set(u->a, msg, "from", from->full);
	xmpp_node_set(u->a, msg, "to", to->full);
	return true;
}

static void
take_offline(struct incoming *u, struct xmpp_node *n)
{
	struct store_move_part *p;
	struct xmpp_jid from, to;
	struct xmpp_node *d;
	uint64_t when = td_wall_ms();
	char stamp[32];
	bool ours;

	if (!xmpp_node_is(n, NS_CLIENT, "message") || xmpp_node_attr(n, "from").len == 0 ||
	    !addresses(u, n, &from, &to)) {
		note(u, "a waiting message without a sender");
		return;
	}
	strip_ids(u, n);
	(void)stamp_of(u, n, &when, &ours);
	if (!ours) {
		td_stamp(when, stamp);
		d = xmpp_node_add(u->a, n, "delay", NS_DELAY);
		xmpp_node_set(u->a, d, "from", u->jid.domain);
		xmpp_node_set(u->a, d, "stamp", td_cstr(stamp));
	}
	p = part(u, MV_MESSAGE);
	p->when = when;
	p->value = written(u, n, NULL);
	u->counts[N_MESSAGES]++;
}

static void
take_archived(struct incoming *u, const struct xmpp_node *n)
{
	const struct xmpp_node *f = xmpp_node_child(n, NS_FORWARD, "forwarded");
	struct xmpp_node *msg = f != NULL ? xmpp_node_child(f, NS_CLIENT, "message") : NULL;
	struct store_move_part *p;
	struct xmpp_jid from, to;
	const struct xmpp_jid *peer;
	uint64_t when = 0;
	bool ours;

	if (msg == NULL || !stamp_of(u, f, &when, &ours) || !addresses(u, msg, &from, &to)) {
		note(u, "an archived message without its time or its addresses");
		return;
	}
	strip_ids(u, msg);
	p = part(u, MV_ARCHIVED);
	p->when = when;
	if (td_str_eq(from.bare, u->jid.bare) && !td_str_eq(to.bare, u->jid.bare))
		p->archived.flags |= STORE_ARCHIVED_OUT;
	if (td_str_eqc(xmpp_node_attr(msg, "type"), "groupchat"))
		p->archived.flags |= STORE_ARCHIVED_GROUPCHAT;
	peer = (p->archived.flags & STORE_ARCHIVED_OUT) ? &to : &from;
	p->archived.peer = peer->bare;
	p->archived.resource = peer->resource;
	p->archived.stanza = written(u, msg, NULL);
	u->counts[N_ARCHIVED]++;
}

/* ---- nodes ---- */

static void
node_default(struct incoming *u, struct td_str name, enum store_move_kind kind,
	     const struct xmpp_form *f)
{
	struct store_move_part *p;
	struct td_buf b = { 0 };
	const char *why;

	if (!ps_config_take(u->l->conf, u->jid.domain, name, f, &b, &why))
		note(u, "node %s: %s is not possible here: its items are for the owner alone",
		     td_esc(name), why);
	p = part(u, kind);
	p->key = name;
	p->value = td_arena_str(u->a, td_buf_str(&b));
	td_buf_fini(&b);
}

static struct store_ps_change *
verb(struct incoming *u, enum store_ps_verb v, struct td_str node)
{
	struct store_move_part *p = part(u, MV_PUBSUB);

	p->ps.verb = v;
	p->ps.node = node;
	return &p->ps;
}

/* The old bookmarks: what the items have already stays as it is there. */
static void
take_bookmarks(struct incoming *u, const struct xmpp_node *storage)
{
	struct td_buf rest = { 0 };

	node_default(u, TD_STR(NS_BOOKMARKS), MV_NODE_DEFAULT, NULL);
	for (const struct xmpp_node *c = xmpp_node_child(storage, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c)) {
		struct store_move_part *p;
		struct td_buf b = { 0 };
		struct td_str id;

		if (!xmpp_node_is(c, NS_BOOKMARKS_OLD, "conference")) {
			xmpp_node_write(&rest, c, NS_BOOKMARKS_OLD);
			continue;
		}
		if (!ps_bookmark_from_old(u->a, c, &id, &b)) {
			note(u, "a bookmark of no room: %s", td_esc(xmpp_node_attr(c, "jid")));
			td_buf_fini(&b);
			continue;
		}
		p = part(u, MV_ITEM_DEFAULT);
		p->ps.verb = PS_ITEM_SET;
		p->ps.node = TD_STR(NS_BOOKMARKS);
		p->ps.key = id;
		p->ps.who = u->jid.bare;
		p->ps.value = td_arena_str(u->a, td_buf_str(&b));
		u->counts[N_BOOKMARKS]++;
		td_buf_fini(&b);
	}
	if (rest.len > 0)
		setting(u, TD_STR("bookmarks-rest"), td_arena_str(u->a, td_buf_str(&rest)));
	td_buf_fini(&rest);
}

static void
take_item(struct incoming *u, const struct xmpp_node *n, struct td_str node)
{
	const struct xmpp_node *payload = xmpp_node_child(n, NULL, NULL);
	struct td_str id = xmpp_node_attr(n, "id");
	struct store_ps_change *c;
	struct xmpp_jid who;
	char random[17];

	if (node.len == 0 || node.len > PS_NAME_MAX || id.len > PS_NAME_MAX) {
		note(u, "an item of no node, or with too long a name");
		return;
	}
	if (td_str_eqc(node, NS_BOOKMARKS_OLD)) {
		if (payload != NULL && xmpp_node_is(payload, NS_BOOKMARKS_OLD, "storage"))
			take_bookmarks(u, payload);
		return;
	}
	if (id.len == 0) {
		td_random_id(random, 16);
		id = td_arena_str(u->a, td_cstr(random));
	}
	node_default(u, node, MV_NODE_DEFAULT, NULL);
	c = verb(u, PS_ITEM_SET, node);
	c->key = id;
	c->who = xmpp_jid_parse(u->a, xmpp_node_attr(n, "publisher"), &who, NULL) == 0
			 ? who.bare
			 : u->jid.bare;
	c->value = payload != NULL ? written(u, payload, "") : TD_STR("");
	u->counts[td_str_eqc(node, NS_BOOKMARKS) ? N_BOOKMARKS : N_ITEMS]++;
}

static void
take_affiliations(struct incoming *u, const struct xmpp_node *n, struct td_str node)
{
	for (n = xmpp_node_child(n, NULL, "affiliation"); n != NULL; n = xmpp_node_next_elem(n)) {
		int state = ps_affiliation_of(xmpp_node_attr(n, "affiliation"));
		struct store_ps_change *c;
		struct xmpp_jid j;

		if (xmpp_jid_parse(u->a, xmpp_node_attr(n, "jid"), &j, NULL) < 0 || state < 0)
			note(u, "node %s: no affiliation: %s", td_esc(node),
			     td_esc(xmpp_node_attr(n, "jid")));
		else if (state != PSF_NONE && !td_str_eq(j.bare, u->jid.bare)) {
			c = verb(u, PS_AFFILIATION, node);
			c->key = j.bare;
			c->n = state;
		}
	}
}

static void
take_subscriptions(struct incoming *u, const struct xmpp_node *n, struct td_str node)
{
	for (n = xmpp_node_child(n, NULL, "subscription"); n != NULL; n = xmpp_node_next_elem(n)) {
		struct td_str said = xmpp_node_attr(n, "subscription"),
			      subid = xmpp_node_attr(n, "subid");
		struct store_ps_change *c;
		struct xmpp_jid j;
		int state;

		/* Prosody 0.12 has the attribute's name wrong */
		if (said.p == NULL)
			said = xmpp_node_attr(n, "subscribed");
		state = ps_state_of(said);
		if (xmpp_jid_parse(u->a, xmpp_node_attr(n, "jid"), &j, NULL) < 0 || state < 0)
			note(u, "node %s: no subscription: %s", td_esc(node),
			     td_esc(xmpp_node_attr(n, "jid")));
		else if (state != PSS_NONE) {
			c = verb(u, PS_SUBSCRIPTION, node);
			c->key = j.full;
			if (subid.len > 0 && subid.len <= PS_SUBID_MAX)
				c->who = subid;
			c->n = state;
			c->value = TD_STR("");
		}
	}
}

static void
take_owner(struct incoming *u, const struct xmpp_node *n)
{
	struct td_str node = xmpp_node_attr(n, "node");
	const struct xmpp_node *x = xmpp_form_find(n);
	struct xmpp_form f;
	bool form;

	if (node.len == 0 || node.len > PS_NAME_MAX) {
		note(u, "<%s/> of no node", n->name);
		return;
	}
	if (td_str_eqc(node, NS_BOOKMARKS_OLD))
		return; /* a view of the other */
	if (strcmp(n->name, "configure") == 0) {
		form = x != NULL && xmpp_form_read(u->a, x, &f) == 0;
		if (x != NULL && !form)
			note(u, "node %s: its configuration is no form", td_esc(node));
		node_default(u, node, MV_NODE, form ? &f : NULL);
		u->counts[N_NODES]++;
		return;
	}
	node_default(u, node, MV_NODE_DEFAULT, NULL);
	if (strcmp(n->name, "affiliations") == 0)
		take_affiliations(u, n, node);
	else if (strcmp(n->name, "subscriptions") == 0)
		take_subscriptions(u, n, node);
	else
		note(u, "node %s: <%s/> is unknown", td_esc(node), n->name);
}

/* ---- settings ---- */

static void
take_private(struct incoming *u, const struct xmpp_node *n)
{
	size_t len = n->ns != NULL ? strlen(n->ns) : 0;

	if (xmpp_node_is(n, NS_BOOKMARKS_OLD, "storage")) {
		take_bookmarks(u, n);
		return;
	}
	if (len == 0 || len + strlen(n->name) > KEY_MAX || strncmp(n->ns, "jabber:", 7) == 0 ||
	    strcmp(n->ns, NS_VCARD) == 0) {
		note(u, "private <%s/>: not in a namespace private data may have", n->name);
		return;
	}
	setting(u, td_cstr(td_arena_printf(u->a, "private:%s %s", n->ns, n->name)),
		written(u, n, NS_PRIVATE));
	u->counts[N_PRIVATE]++;
}

static void
take_vcard(struct incoming *u, const struct xmpp_node *n)
{
	const struct xmpp_node *photo = xmpp_node_child(n, NS_VCARD, "PHOTO");
	struct td_buf image = { 0 };
	char hash[41];

	setting(u, TD_STR("vcard"), written(u, n, NS_CLIENT));
	if (photo != NULL && xmpp_avatar_decode(kid_text(u, photo, "BINVAL"), &image, hash))
		setting(u, TD_STR("+photo"), td_arena_str(u->a, td_cstr(hash)));
	td_buf_fini(&image);
	u->counts[N_VCARDS]++;
}

/* The addresses in the "jid" of the <item/>s that <is_one> of <list>, as the setting has them. */
static void
block(struct incoming *u, const struct xmpp_node *list, const char *attr,
      bool (*is_one)(const struct xmpp_node *))
{
	struct td_buf b = { 0 };
	size_t n = 0;

	for (const struct xmpp_node *i = xmpp_node_child(list, NULL, "item"); i != NULL;
	     i = xmpp_node_next_elem(i)) {
		struct xmpp_jid j;

		if (is_one != NULL && !is_one(i)) {
			note(u, "a privacy rule other than to block an address: %s %s",
			     td_esc(xmpp_node_attr(i, "action")),
			     td_esc(xmpp_node_attr(i, "value")));
		} else if (xmpp_jid_parse(u->a, xmpp_node_attr(i, attr), &j, NULL) < 0) {
			note(u, "not an address: %s", td_esc(xmpp_node_attr(i, attr)));
		} else if (n++ < JIDS_MAX) {
			td_buf_adds(&b, j.full);
			td_buf_addc(&b, '\n');
		}
	}
	if (n > JIDS_MAX)
		note(u, "%zu addresses are blocked: only %u are", n, JIDS_MAX);
	if (b.len > 0)
		setting(u, TD_STR("+block"), td_arena_str(u->a, td_buf_str(&b)));
	td_buf_fini(&b);
	u->counts[N_BLOCKED] += n < JIDS_MAX ? n : JIDS_MAX;
}

/* Does the rule shut out an address altogether? */
static bool
is_block(const struct xmpp_node *item)
{
	static const char *const kinds[] = { "message", "iq", "presence-in" };
	size_t named = 0;

	for (size_t i = 0; i < 3; i++)
		named += xmpp_node_child(item, NULL, kinds[i]) != NULL;
	return td_str_eqc(xmpp_node_attr(item, "type"), "jid") &&
	       td_str_eqc(xmpp_node_attr(item, "action"), "deny") &&
	       (xmpp_node_child(item, NULL, NULL) == NULL || named == 3);
}

/* There are no privacy lists here (XEP-0016 is deprecated): the default list's blocked addresses are taken over. */
static void
take_privacy(struct incoming *u, const struct xmpp_node *n)
{
	const struct xmpp_node *d = xmpp_node_child(n, NS_PRIVACY, "default"), *l;
	struct td_str name = d != NULL ? xmpp_node_attr(d, "name") : TD_STR_NULL;

	for (l = xmpp_node_child(n, NS_PRIVACY, "list"); l != NULL; l = xmpp_node_next_elem(l)) {
		if (!xmpp_node_is(l, NS_PRIVACY, "list"))
			continue;
		if (d != NULL && td_str_eq(xmpp_node_attr(l, "name"), name))
			block(u, l, "value", is_block);
		else
			note(u, "the privacy list %s, which is not the default one",
			     td_esc(xmpp_node_attr(l, "name")));
	}
}

static void
take_blocklist(struct incoming *u, const struct xmpp_node *n)
{
	block(u, n, "jid", NULL);
}

static void
take_prefs(struct incoming *u, const struct xmpp_node *n)
{
	struct td_str dflt = xmpp_node_attr(n, "default");

	if (!td_str_eqc(dflt, "always") && !td_str_eqc(dflt, "never") &&
	    !td_str_eqc(dflt, "roster")) {
		note(u, "archive preferences without a default");
		return;
	}
	setting(u, TD_STR("+mam"), written(u, n, NULL));
}

/* ---- pieces ---- */

static void
take_child(struct incoming *u, struct xmpp_node *n)
{
	if (xmpp_node_is(n, NS_CLIENT, "presence"))
		take_presence(u, n);
	else if (xmpp_node_is(n, NS_VCARD, "vCard"))
		take_vcard(u, n);
	else if (xmpp_node_is(n, NS_PRIVACY, "query"))
		take_privacy(u, n);
	else if (xmpp_node_is(n, NS_BLOCKING, "blocklist"))
		take_blocklist(u, n);
	else if (xmpp_node_is(n, NS_MAM_0, "prefs"))
		take_prefs(u, n);
	else
		note(u, "<%s xmlns='%s'/> is unknown here", n->name,
		     n->ns != NULL ? td_escz(n->ns) : "");
}

/* Prosody 0.12 leaves the namespace of stanzas out; they are in that of the file then. */
static void
as_client(struct xmpp_node *n)
{
	if (n->name == NULL || n->ns == NULL || strcmp(n->ns, NS_PIE) != 0)
		return;
	n->ns = NS_CLIENT;
	for (struct xmpp_node *c = n->first; c != NULL; c = c->next)
		as_client(c);
}

static void
take_piece(struct incoming *u, const struct xmpp_node *p)
{
	struct td_str kind = xmpp_node_attr(p, "k");
	struct xmpp_node *n = xmpp_node_child(p, NULL, NULL);

	if (!td_str_to_dec(xmpp_node_attr(p, "n"), 0, INT64_MAX, &u->piece) || n == NULL)
		return;
	as_client(n);
	if (td_str_eqc(kind, "roster"))
		take_contact(u, n);
	else if (td_str_eqc(kind, "offline"))
		take_offline(u, n);
	else if (td_str_eqc(kind, "private"))
		take_private(u, n);
	else if (td_str_eqc(kind, "archive"))
		take_archived(u, n);
	else if (td_str_eqc(kind, "item"))
		take_item(u, n, xmpp_node_attr(p, "node"));
	else if (td_str_eqc(kind, "owner"))
		take_owner(u, n);
	else
		take_child(u, n);
}

/* ---- accounts ---- */

static void
load_end(struct load *l)
{
	struct ctl_request *r = l->r;

	if (--l->left > 0)
		return;
	td_buf_adds(&r->out, td_buf_str(&l->notes));
	for (unsigned i = 0; i < N_COUNT; i++)
		if (l->counts[i] > 0)
			td_buf_addf(&r->out, "+ %s %llu\n", count_names[i],
				    (unsigned long long)l->counts[i]);
	td_buf_fini(&l->notes);
	gw_domains_unref(&l->domains);
	conf_unref(&l->conf);
	ctl_done(r, 0);
}

/* The last of <u>: the request may be gone after this. */
static void
say(struct incoming *u, const char *status, const char *text)
{
	td_wipe(&u->m.account.sha1, sizeof(u->m.account.sha1));
	td_wipe(&u->m.account.sha256, sizeof(u->m.account.sha256));
	td_buf_addf(&u->l->notes, "= %u %s %s\n", u->index, status, text != NULL ? text : "");
	load_end(u->l);
}

/* Whoever is signed in comes back and finds what is there now. */
static void
unload_here(struct gw_worker *w, void *arg)
{
	char *bare = arg;
	struct xmpp_user *u = xmpp_user_find(w->env, td_cstr(bare));

	if (u != NULL)
		xmpp_user_kick(u, "reset");
	free(bare);
}

static void
unload(struct incoming *u)
{
	gw_worker_post(gw_owner(u->l->r->gw, u->jid.bare), unload_here, td_strndup(u->jid.bare));
}

static void on_put(void *arg, const struct store_result *res);

static void
put(struct incoming *u)
{
	store_move_put(u->l->r->gw->store, &u->m,
		       (struct store_to){ u->l->r->gw->main_loop, on_put, u });
}

static void
on_purged(void *arg, const struct store_result *res)
{
	struct incoming *u = arg;

	if (res->rc < 0)
		say(u, "failed", res->error);
	else if (res->id > 0)
		store_archive_purge(u->l->r->gw->store, u->jid.bare, TD_STR_NULL, UINT64_MAX,
				    (struct store_to){ u->l->r->gw->main_loop, on_purged, u });
	else
		put(u);
}

static void
on_put(void *arg, const struct store_result *res)
{
	struct incoming *u = arg;

	if (res->rc == TD_E_LIMIT) {
		on_purged(u, &(struct store_result){ .id = 1 });
	} else if (res->rc == TD_E_EXISTS || res->rc == TD_E_DENIED) {
		say(u, "exists", NULL);
	} else if (res->rc < 0) {
		say(u, "failed", res->error);
	} else {
		for (unsigned i = 0; i < N_COUNT; i++)
			u->l->counts[i] += u->counts[i];
		/* an account in several parts was disabled and may have been loaded so */
		if (res->id != 0 || (u->m.end && !u->m.begin))
			unload(u);
		say(u, !u->m.begin ? "going" : res->id != 0 ? "replaced" : "added", NULL);
	}
}

static bool
flag(const struct xmpp_node *n, const char *name)
{
	return td_str_eqc(xmpp_node_attr(n, name), "1");
}

static bool
is_hosted(const struct load *l, struct td_str domain)
{
	struct gw_domain dom;

	return gw_domains_find(l->domains, domain, &dom) && dom.kind == XD_LOCAL;
}

static void
take_user(struct load *l, const struct xmpp_node *n)
{
	struct incoming *u = td_arena_zalloc(l->r->a, sizeof(*u));
	struct td_err err = { 0 };
	int64_t created = 0;

	u->l = l;
	u->a = l->r->a;
	u->index = l->n++;
	l->left++;
	if (xmpp_jid_parse(u->a, xmpp_node_attr(n, "jid"), &u->jid, &err) < 0 ||
	    u->jid.local.p == NULL || u->jid.resource.p != NULL) {
		say(u, "failed", "not an account address (user@domain)");
		return;
	}
	if (!is_hosted(l, u->jid.domain)) {
		say(u, "failed",
		    "the domain is not hosted here: no domain stanza with XMPP_Role = \"server\"");
		return;
	}
	(void)td_str_to_dec(xmpp_node_attr(n, "created"), 0, INT64_C(1) << 40, &created);
	u->m.account.jid = u->jid.bare;
	u->m.account.disabled = flag(n, "disabled");
	u->m.account.created = (uint64_t)created;
	u->m.begin = flag(n, "begin");
	u->m.end = flag(n, "end");
	u->m.replace = flag(n, "replace");
	for (const struct xmpp_node *c = xmpp_node_child(n, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c)) {
		if (xmpp_node_is(c, NS_LOAD, "p"))
			take_piece(u, c);
		else if (xmpp_node_is(c, NS_PIE_SCRAM, "scram-credentials"))
			take_scram(u, c);
	}
	u->m.parts = u->parts;
	u->m.n = u->n;
	put(u);
}

void
ctl_account_load(struct ctl_request *r)
{
	const char *why = NULL;
	struct xmpp_node *root = xmpp_xml_parse(r->a, r->input, NULL, &why);
	struct load *l;

	if (root == NULL || !xmpp_node_is(root, NS_LOAD, "load")) {
		ctl_fail(r, "not what tandemctl account import sends: %s",
			 root == NULL && why != NULL ? why : "another element");
		return;
	}
	l = td_arena_zalloc(r->a, sizeof(*l));
	l->r = r;
	l->conf = gw_conf_get(r->gw);
	l->domains = gw_domains_build(l->conf);
	l->left = 1;
	for (const struct xmpp_node *n = xmpp_node_child(root, NS_LOAD, "user"); n != NULL;
	     n = xmpp_node_next_elem(n))
		take_user(l, n);
	load_end(l);
}
