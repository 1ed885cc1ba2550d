/* xep-0317 - hats: titles a room gives to people, shown in their presence.
 *
 * Owners make them and hand them out with commands (XEP-0050) at the room's JID: each is one form, so there
 * is no state between its steps.  Stored as a property per hat: "hat:" URI = title, hue, wearers, one a line. */
#include <stdio.h>
#include <stdlib.h>
#include "xmpp/modules.h"
#include "xmpp/xep/muc.h"

#define FORM_HATS "urn:xmpp:hats:commands"
#define NODE "urn:xmpp:hats:commands:"
#define HATS_MAX 50u
#define WEARERS_MAX 1000u
#define TEXT_MAX 256u

struct muc_hat {
	TAILQ_ENTRY(muc_hat) link;
	struct td_map wearers;   /* bare JID -> itself, malloc'd */
	char *uri, *title, *hue; /* hue NULL = none */
};

/* ---- memory ---- */

static struct muc_hat *
find(const struct muc_room *room, struct td_str uri)
{
	struct muc_hat *h;

	TAILQ_FOREACH(h, &room->hats, link)
	if (td_str_eqc(uri, h->uri))
		return h;
	return NULL;
}

static void
hat_free(struct muc_room *room, struct muc_hat *h)
{
	size_t i = 0;
	void *v;

	TAILQ_REMOVE(&room->hats, h, link);
	room->n_hats--;
	while ((v = td_map_next(&h->wearers, &i)) != NULL)
		free(v);
	td_map_fini(&h->wearers);
	free(h->uri);
	free(h->title);
	free(h->hue);
	free(h);
}

void
muc_hats_free(struct muc_room *room)
{
	struct muc_hat *h;

	while ((h = TAILQ_FIRST(&room->hats)) != NULL)
		hat_free(room, h);
}

static void
wear(struct muc_hat *h, struct td_str bare)
{
	char *copy = td_strndup(bare);

	free(td_map_set(&h->wearers, td_str(copy, bare.len), copy));
}

/* Make the hat what <value> says. */
static void
take_in(struct muc_room *room, struct td_str uri, struct td_str value)
{
	struct muc_hat *h = find(room, uri);
	struct td_str hue;

	if (h != NULL)
		hat_free(room, h);
	h = td_zalloc(sizeof(*h));
	h->uri = td_strndup(uri);
	h->title = td_strndup(td_str_cut(&value, '\n'));
	hue = td_str_cut(&value, '\n');
	h->hue = hue.len > 0 ? td_strndup(hue) : NULL;
	while (value.len > 0)
		wear(h, td_str_cut(&value, '\n'));
	TAILQ_INSERT_TAIL(&room->hats, h, link);
	room->n_hats++;
}

void
muc_hats_load(struct muc_room *room, const struct store_muc_prop *props, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (td_str_starts(props[i].key, "hat:"))
			take_in(room, td_str(props[i].key.p + 4, props[i].key.len - 4),
				props[i].value);
}

/* The property of hat <uri> with these values; the wearers of <h> (may be NULL) but <without>, and <with>. */
static void
write_prop(struct muc_change *ch, struct td_str uri, struct td_str title, struct td_str hue,
	   const struct muc_hat *h, struct td_str with, struct td_str without)
{
	struct td_buf key = { 0 }, b = { 0 };
	const char *jid;
	size_t i = 0;

	td_buf_addz(&key, "hat:");
	td_buf_adds(&key, uri);
	td_buf_adds(&b, title);
	td_buf_addc(&b, '\n');
	td_buf_adds(&b, hue);
	while (h != NULL && (jid = td_map_next(&h->wearers, &i)) != NULL)
		if (!td_str_eqc(without, jid) && !td_str_eqc(with, jid))
			td_buf_addf(&b, "\n%s", jid);
	if (with.p != NULL) {
		td_buf_addc(&b, '\n');
		td_buf_adds(&b, with);
	}
	muc_change_prop(ch, td_buf_cstr(&key), td_buf_str(&b));
	td_buf_fini(&key);
	td_buf_fini(&b);
}

void
muc_hats_props(struct muc_change *ch)
{
	const struct muc_hat *h;

	TAILQ_FOREACH(h, &ch->room->hats, link)
	write_prop(ch, td_cstr(h->uri), td_cstr(h->title), td_cstr(h->hue), h, TD_STR_NULL,
		   TD_STR_NULL);
}

/* ---- showing ---- */

static void
attr(struct td_buf *b, const char *name, const char *value)
{
	if (value == NULL)
		return;
	td_buf_addf(b, " %s='", name);
	td_buf_add_xml(b, td_cstr(value));
	td_buf_addc(b, '\'');
}

void
muc_hats_write(const struct muc_room *room, struct td_str bare, struct td_buf *b)
{
	const struct muc_hat *h;
	bool open = false;

	TAILQ_FOREACH(h, &room->hats, link)
	{
		if (td_map_find(&h->wearers, bare) == NULL)
			continue;
		if (!open)
			td_buf_addz(b, "<hats xmlns='" NS_HATS "'>");
		open = true;
		td_buf_addz(b, "<hat");
		attr(b, "title", h->title);
		attr(b, "uri", h->uri);
		attr(b, "hue", h->hue);
		td_buf_addz(b, "/>");
	}
	if (open)
		td_buf_addz(b, "</hats>");
}

void
muc_hats_info(const struct muc_room *room, struct td_buf *out)
{
	const struct muc_hat *h;
	uint64_t hash = 14695981039346656037u; /* FNV-1a: the same after a restart */
	char text[24];

	if (room->n_hats == 0)
		return;
	TAILQ_FOREACH(h, &room->hats, link)
	for (const char *p = h->uri;; p++) {
		hash = (hash ^ (unsigned char)*p) * 1099511628211u;
		if (*p == '\0')
			break;
	}
	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)hash);
	xmpp_form_add1(out, NULL, "hats#hash", "Hats hash", td_cstr(text));
}

/* ---- commands ---- */

struct command;
static void list_hats(struct muc_iq *iq, struct td_buf *b);
static void list_assigned(struct muc_iq *iq, struct td_buf *b);
static int create(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch);
static int destroy(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch);
static int assign(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch);
static int unassign(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch);

#define F_TITLE 0x1u
#define F_URI 0x2u
#define F_HUE 0x4u
#define F_JID 0x8u
#define F_CHOICE 0x10u /* the URI is one of those there are */
static const struct command {
	const char *node, *name, *instructions;
	unsigned fields;
	/* Fill in <ch>; MUC_OK or an error. */
	int (*submit)(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch);
	void (*list)(struct muc_iq *iq, struct td_buf *b);
} commands[] = {
	{ NODE "create", "Creating a Hat", "Fill out this form to create a hat.",
	  F_TITLE | F_URI | F_HUE, create, NULL },
	{ NODE "destroy", "Destroying a Hat", "Fill out this form to destroy a hat.", F_CHOICE,
	  destroy, NULL },
	{ NODE "list", "Hats List", NULL, 0, NULL, list_hats },
	{ NODE "assign", "Assigning a Hat", "Fill out this form to assign a hat.", F_JID | F_CHOICE,
	  assign, NULL },
	{ NODE "unassign", "Removing a Hat", "Fill out this form to remove a hat.",
	  F_JID | F_CHOICE, unassign, NULL },
	{ NODE "list-assigned", "Assigned Hats List", NULL, 0, NULL, list_assigned },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static struct td_str
value(const struct xmpp_form *f, const char *var)
{
	struct td_str v = td_str_trim(xmpp_form_value(f, var));

	return v.len > 0 && v.len <= TEXT_MAX && td_str_chr(v, '\n') < 0 ? v : TD_STR_NULL;
}

static struct td_str
uri_of(const struct xmpp_form *f)
{
	struct td_str uri = value(f, "hats#uri");

	return uri.p != NULL ? uri : value(f, "hat");
}

static int
create(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch)
{
	struct td_str uri = uri_of(f), title = value(f, "hats#title");
	const struct muc_hat *h;

	if (uri.p == NULL || title.p == NULL)
		return XE_BAD_REQUEST;
	h = find(iq->room, uri);
	if (h == NULL && iq->room->n_hats >= HATS_MAX)
		return XE_RESOURCE_CONSTRAINT;
	write_prop(ch, uri, title, value(f, "hats#hue"), h, TD_STR_NULL, TD_STR_NULL);
	return MUC_OK;
}

static int
destroy(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch)
{
	struct td_str uri = uri_of(f);
	struct td_buf key = { 0 };

	if (uri.p == NULL)
		return XE_BAD_REQUEST;
	if (find(iq->room, uri) == NULL)
		return XE_ITEM_NOT_FOUND;
	td_buf_addz(&key, "hat:");
	td_buf_adds(&key, uri);
	muc_change_prop(ch, td_buf_cstr(&key), TD_STR_NULL);
	td_buf_fini(&key);
	return MUC_OK;
}

static int
reassign(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch, bool add)
{
	const struct muc_hat *h = find(iq->room, uri_of(f));
	struct xmpp_jid j;

	if (uri_of(f).p == NULL)
		return XE_BAD_REQUEST;
	if (h == NULL)
		return XE_ITEM_NOT_FOUND;
	if (xmpp_jid_parse(ch->arena, xmpp_form_value(f, "hats#jid"), &j, NULL) < 0)
		return XE_BAD_REQUEST;
	if (add && h->wearers.len >= WEARERS_MAX)
		return XE_RESOURCE_CONSTRAINT;
	write_prop(ch, td_cstr(h->uri), td_cstr(h->title), td_cstr(h->hue), h,
		   add ? j.bare : TD_STR_NULL, add ? TD_STR_NULL : j.bare);
	return MUC_OK;
}

static int
assign(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch)
{
	return reassign(iq, f, ch, true);
}

static int
unassign(struct muc_iq *iq, const struct xmpp_form *f, struct muc_change *ch)
{
	return reassign(iq, f, ch, false);
}

/* ---- lists ---- */

static void
item_field(struct td_buf *b, const char *var, const char *text)
{
	xmpp_form_add1(b, NULL, var, NULL, td_cstr(text != NULL ? text : ""));
}

static void
list_hats(struct muc_iq *iq, struct td_buf *b)
{
	const struct muc_hat *h;

	td_buf_addz(b, "<reported><field var='hats#title'/><field var='hats#uri'/>"
		       "<field var='hats#hue'/></reported>");
	TAILQ_FOREACH(h, &iq->room->hats, link)
	{
		td_buf_addz(b, "<item>");
		item_field(b, "hats#title", h->title);
		item_field(b, "hats#uri", h->uri);
		item_field(b, "hats#hue", h->hue);
		td_buf_addz(b, "</item>");
	}
}

static void
list_assigned(struct muc_iq *iq, struct td_buf *b)
{
	const struct muc_hat *h;
	const char *jid;

	td_buf_addz(b, "<reported><field var='hats#jid'/><field var='hats#uri'/>"
		       "<field var='hats#title'/><field var='hats#hue'/></reported>");
	TAILQ_FOREACH(h, &iq->room->hats, link)
	for (size_t i = 0; (jid = td_map_next(&h->wearers, &i)) != NULL;) {
		td_buf_addz(b, "<item>");
		item_field(b, "hats#jid", jid);
		item_field(b, "hats#uri", h->uri);
		item_field(b, "hats#title", h->title);
		item_field(b, "hats#hue", h->hue);
		td_buf_addz(b, "</item>");
	}
}

/* ---- requests ---- */

static void
open_answer(struct td_buf *b, const struct command *c, struct td_str session, const char *status)
{
	char id[17];

	td_buf_addf(b, "<command xmlns='" NS_COMMANDS "' node='%s' status='%s' sessionid='",
		    c->node, status);
	if (session.len > 0) {
		td_buf_add_xml(b, session);
	} else {
		td_random_id(id, 16);
		td_buf_addz(b, id);
	}
	td_buf_addz(b, "'>");
}

static void
answer(struct muc_room *room, const struct xmpp_stanza *s, struct td_buf *b)
{
	td_buf_addz(b, "</command>");
	muc_result(room, s, td_buf_str(b));
	td_buf_fini(b);
}

static void
send_form(struct muc_iq *iq, const struct command *c)
{
	struct xmpp_form_option options[HATS_MAX + 1];
	const struct muc_hat *h;
	struct td_buf b = { 0 };
	size_t n = 0;

	open_answer(&b, c, TD_STR_NULL, "executing");
	td_buf_addz(&b, "<actions execute='complete'><complete/></actions>");
	xmpp_form_open(&b, FORM_FORM, FORM_HATS);
	xmpp_form_title(&b, c->name, c->instructions);
	if (c->fields & F_TITLE)
		td_buf_addz(&b, "<field var='hats#title' type='text-single' label='Hat Title'>"
				"<required/></field>");
	if (c->fields & F_URI)
		td_buf_addz(&b, "<field var='hats#uri' type='text-single' label='Hat URI'>"
				"<required/></field>");
	if (c->fields & F_HUE)
		td_buf_addz(&b, "<field var='hats#hue' type='text-single' label='Hat Hue'/>");
	if (c->fields & F_JID)
		td_buf_addz(&b, "<field var='hats#jid' type='jid-single' label='User Address'>"
				"<required/></field>");
	if (c->fields & F_CHOICE) {
		TAILQ_FOREACH(h, &iq->room->hats, link)
		options[n++] = (struct xmpp_form_option){ h->uri, h->title };
		options[n] = (struct xmpp_form_option){ NULL, NULL };
		xmpp_form_add(&b, "list-single", "hats#uri", "The role", NULL, 0, options);
	}
	xmpp_form_close(&b);
	answer(iq->room, iq->s, &b);
}

/* What <occ> wears, to compare. */
static uint64_t
looks(const struct muc_room *room, const struct muc_occ *occ)
{
	struct td_buf b = { 0 };
	uint64_t h;

	muc_hats_write(room, occ->bare, &b);
	h = td_str_hash(td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	return h;
}

/* The change <ch> in memory. */
static void
apply(struct muc_room *room, const struct muc_change *ch)
{
	/* last: a change that made the room persistent put everything else before it */
	const struct store_muc_prop *p = &ch->props[ch->n_props - 1];
	struct td_str uri = td_str(p->key.p + 4, p->key.len - 4);
	struct muc_hat *h = find(room, uri);

	if (p->value.p != NULL)
		take_in(room, uri, p->value);
	else if (h != NULL)
		hat_free(room, h);
}

static void
changed(struct muc_change *ch, int rc)
{
	static const struct muc_note note = { .gone = false };
	struct muc_room *room = ch->room;
	const struct command *c = ch->arg;
	const struct xmpp_node *payload = xmpp_stanza_payload(ch->s);
	struct td_buf b = { 0 };
	struct muc_occ *occ;
	uint64_t *before;
	size_t n = 0, i = 0;

	if (rc < 0) {
		muc_refuse(room, ch->s, XE_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	TAILQ_FOREACH(occ, &room->occs, link)
	n++;
	before = td_arena_alloc(ch->arena, (n + 1) * sizeof(*before));
	TAILQ_FOREACH(occ, &room->occs, link)
	before[i++] = looks(room, occ);
	apply(room, ch);
	open_answer(&b, c, xmpp_node_attr(payload, "sessionid"), "completed");
	answer(room, ch->s, &b);
	muc_tell_code(room, 104);
	/* 3.2, 3.5: who looks otherwise now is shown so */
	i = 0;
	TAILQ_FOREACH(occ, &room->occs, link)
	if (before[i++] != looks(room, occ) && muc_is_shown(room, occ))
		muc_presence(room, occ, TAILQ_LAST(&occ->sessions, muc_occ_sessions), &note,
			     MUC_TO_SELF | MUC_TO_OTHERS);
}

static void
submit(struct muc_iq *iq, const struct command *c, const struct xmpp_node *x)
{
	struct muc_change *ch;
	struct xmpp_form form;
	int e = XE_BAD_REQUEST;

	ch = muc_change_new(iq->room, iq->s, changed);
	if (xmpp_form_read(ch->arena, x, &form) == 0 && form.kind == FORM_SUBMIT &&
	    (form.type.p == NULL || td_str_eqc(form.type, FORM_HATS)))
		e = c->submit(iq, &form, ch);
	if (e != MUC_OK) {
		muc_refuse(iq->room, iq->s, (enum xmpp_error)e, NULL);
		xmpp_stanza_unref(&ch->s);
		td_arena_free(ch->arena);
		return;
	}
	ch->arg = (void *)(uintptr_t)c;
	muc_change_commit(ch);
}

void
muc_command_set(struct muc_iq *iq)
{
	struct td_str node = xmpp_node_attr(iq->payload, "node"),
		      action = xmpp_node_attr(iq->payload, "action");
	const struct xmpp_node *x = xmpp_form_find(iq->payload);
	const struct command *c = NULL;
	struct td_buf b = { 0 };

	for (size_t i = 0; i < N_COMMANDS; i++)
		if (td_str_eqc(node, commands[i].node))
			c = &commands[i];
	if (c == NULL) {
		muc_refuse(iq->room, iq->s, XE_ITEM_NOT_FOUND, NULL);
	} else if (c->submit != NULL ? iq->affiliation < MA_ADMIN
				     : iq->occ == NULL && iq->affiliation < MA_MEMBER) {
		muc_refuse(iq->room, iq->s, XE_FORBIDDEN, NULL);
	} else if (c->list == list_assigned && iq->affiliation < MA_ADMIN &&
		   !muc_shows_jids(iq->room)) {
		muc_refuse(iq->room, iq->s, XE_FORBIDDEN, NULL); /* it names people */
	} else if (td_str_eqc(action, "cancel")) {
		open_answer(&b, c, xmpp_node_attr(iq->payload, "sessionid"), "canceled");
		answer(iq->room, iq->s, &b);
	} else if (c->list != NULL) {
		open_answer(&b, c, TD_STR_NULL, "completed");
		xmpp_form_open(&b, FORM_RESULT, NULL);
		xmpp_form_title(&b, c->name, NULL);
		c->list(iq, &b);
		xmpp_form_close(&b);
		answer(iq->room, iq->s, &b);
	} else if (x == NULL) {
		send_form(iq, c);
	} else {
		submit(iq, c, x);
	}
}

void
muc_command_items(struct muc_iq *iq)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<query xmlns='http://jabber.org/protocol/disco#items' node='" NS_COMMANDS
			"'>");
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (iq->affiliation < (commands[i].submit != NULL ? MA_ADMIN : MA_MEMBER))
			continue;
		td_buf_addz(&b, "<item jid='");
		td_buf_add_xml(&b, iq->room->jid.full);
		td_buf_addf(&b, "' node='%s' name='%s'/>", commands[i].node, commands[i].name);
	}
	td_buf_addz(&b, "</query>");
	muc_result(iq->room, iq->s, td_buf_str(&b));
	td_buf_fini(&b);
}

const struct xmpp_module xep_0317_hats = {
	.name = "xep-0317-hats",
	.xep = "0317",
	.doc = "Titles that a room's admins make and give to people; commands at the room's JID",
	.version = "0.3.1",
};
