/* move_out - accounts as XEP-0227 has them, a bounded piece per request.
 *
 * A walk goes through the accounts named, and through the stages of each: first what is small, by a chain of reads, then
 * pages of waiting messages, items and archived messages.  When the answer is large enough it ends with a cursor that says
 * where to go on: nothing is kept here in between. */
#include "gateway/move.h"

#include <inttypes.h>
#include <stdio.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "store/archive.h"
#include "xmpp/xep/pubsub.h"

#define ANSWER_BYTES (1u << 20)
#define PAGE 100u
#define NS_PROSODY \
	"http://prosody.im/protocol/extended-xep0227" /* the one that has names for these */

enum stage {
	ST_ACCOUNT = 0,
	ST_MESSAGES,
	ST_ITEMS,
	ST_ARCHIVE,
	ST_COUNT /* must be last */
};

struct walk {
	struct ctl_request *r;
	struct td_arena *a;
	struct conf *conf;
	struct td_buf missing, xml;
	size_t i; /* account, an argument of the request behind the cursor */
	enum stage stage;
	struct td_str jid, domain;
	uint64_t at;         /* row, node or archive id to go on behind */
	struct td_str after; /* item id; TD_STR_NULL = from the first */
	const struct td_str *nodes;
	size_t n_nodes;
	bool loaded; /* <nodes> are */
	bool open;   /* the stage's element is */
};

static void step(struct walk *w);

/* ---- the answer ---- */

static void
finish(struct walk *w)
{
	struct ctl_request *r = w->r;

	if (w->i + 1 >= r->argc) {
		td_buf_addz(&r->out, "-\n");
	} else {
		td_buf_addf(&r->out, "%zu %d %d %" PRIu64 " ", w->i, w->stage, w->open, w->at);
		if (w->after.p != NULL) {
			td_buf_addc(&r->out, 'x');
			td_buf_add_hex(&r->out, w->after.p, w->after.len);
		}
		td_buf_addc(&r->out, '\n');
	}
	td_buf_adds(&r->out, td_buf_str(&w->missing));
	td_buf_addc(&r->out, '\n');
	td_buf_adds(&r->out, td_buf_str(&w->xml));
	td_wipe(w->xml.p, w->xml.len);
	td_buf_fini(&w->xml);
	td_buf_fini(&w->missing);
	conf_unref(&w->conf);
	ctl_done(r, 0);
}

static void
fail(struct walk *w, const struct store_result *res)
{
	td_buf_fini(&w->xml);
	td_buf_fini(&w->missing);
	conf_unref(&w->conf);
	ctl_fail(w->r, "the store failed: %s", res->error != NULL ? res->error : "?");
}

/* What was read so far is in <xml>: go on, now or with the next request. */
static void
go_on(struct walk *w)
{
	if (w->xml.len >= ANSWER_BYTES)
		finish(w);
	else
		step(w);
}

static void
next_stage(struct walk *w)
{
	w->stage++;
	w->open = false;
	w->at = 0;
	w->after = TD_STR_NULL;
	if (w->stage == ST_COUNT) {
		td_buf_addz(&w->xml, "</user>\n");
		w->stage = ST_ACCOUNT;
		w->i++;
		w->loaded = false;
	}
	go_on(w);
}

/* ---- what is small ---- */

static void
add_blocked(struct td_buf *b, struct td_str text)
{
	unsigned order = 0;

	td_buf_addz(b, "<query xmlns='jabber:iq:privacy'><default name='blocked'/>"
		       "<list name='blocked'>");
	while (text.len > 0) {
		struct td_str jid = td_str_cut(&text, '\n');

		if (jid.len > 0) {
			td_buf_addz(b, "<item type='jid'");
			td_buf_add_attr(b, "value", jid);
			td_buf_addf(b, " action='deny' order='%u'/>", order++);
		}
	}
	td_buf_addz(b, "</list></query>");
}

static void
add_settings(struct td_buf *b, const struct store_setting *s, size_t n)
{
	size_t documents = 0;

	for (size_t i = 0; i < n; i++) {
		if (td_str_eqc(s[i].key, "vcard") || td_str_eqc(s[i].key, "+mam"))
			td_buf_adds(b, s[i].value);
		else if (td_str_eqc(s[i].key, "+block"))
			add_blocked(b, s[i].value);
	}
	for (size_t i = 0; i < n; i++) {
		bool links = td_str_eqc(s[i].key, "bookmarks-rest");

		if (!links && !td_str_starts(s[i].key, "private:"))
			continue;
		if (documents++ == 0)
			td_buf_addz(b, "<query xmlns='jabber:iq:private'>");
		if (links)
			td_buf_addz(b, "<storage xmlns='" NS_BOOKMARKS_OLD "'>");
		td_buf_adds(b, s[i].value);
		if (links)
			td_buf_addz(b, "</storage>");
	}
	if (documents > 0)
		td_buf_addz(b, "</query>");
}

static void
add_links(struct td_buf *b, const struct store_ps_link *l, size_t n, struct td_str node,
	  const char *list, const char *name)
{
	bool open = false;

	for (size_t i = 0; i < n; i++) {
		bool affil = strcmp(name, "affiliation") == 0;

		if (!td_str_eq(l[i].node, node))
			continue;
		if (!open) {
			td_buf_addf(b, "<%s", list);
			td_buf_add_attr(b, "node", node);
			td_buf_addc(b, '>');
		}
		open = true;
		td_buf_addf(b, "<%s", name);
		td_buf_add_attr(b, "jid", l[i].jid);
		td_buf_add_attr(b, name,
				td_cstr(affil ? ps_affiliation_name((enum ps_affiliation)l[i].state)
					      : ps_state_name((enum ps_state)l[i].state)));
		if (!affil)
			td_buf_add_attr(b, "subid", l[i].subid);
		td_buf_addz(b, "/>");
	}
	if (open)
		td_buf_addf(b, "</%s>", list);
}

static void
on_nodes(void *arg, const struct store_result *res, const struct store_ps_owner *o)
{
	struct walk *w = arg;
	struct td_buf *b = &w->xml;
	struct td_str *names;

	if (res->rc < 0) {
		fail(w, res);
		return;
	}
	names = td_arena_alloc(w->a, (o->n_nodes + 1) * sizeof(*names));
	for (size_t i = 0; i < o->n_nodes; i++)
		names[i] = td_arena_str(w->a, o->nodes[i].name);
	w->nodes = names;
	w->n_nodes = o->n_nodes;
	w->loaded = true;
	if (w->stage != ST_ACCOUNT) {
		go_on(w);
		return;
	}
	if (o->n_nodes > 0)
		td_buf_addz(b, "<pubsub xmlns='" NS_PUBSUB_OWNER "'>");
	for (size_t i = 0; i < o->n_nodes; i++) {
		td_buf_addz(b, "<configure");
		td_buf_add_attr(b, "node", names[i]);
		td_buf_addc(b, '>');
		ps_config_give(w->conf, w->domain, names[i], o->nodes[i].config, b);
		td_buf_addz(b, "</configure>");
		add_links(b, o->affiliations, o->n_affiliations, names[i], "affiliations",
			  "affiliation");
		add_links(b, o->subscriptions, o->n_subscriptions, names[i], "subscriptions",
			  "subscription");
	}
	if (o->n_nodes > 0)
		td_buf_addz(b, "</pubsub>");
	next_stage(w);
}

static void
on_settings(void *arg, const struct store_result *res, const struct store_setting *s, size_t n)
{
	struct walk *w = arg;

	if (res->rc < 0) {
		fail(w, res);
		return;
	}
	add_settings(&w->xml, s, n);
	store_ps_load(w->r->gw->store, w->jid, w->r->gw->main_loop, on_nodes, w);
}

static void
add_contact(struct td_buf *b, const struct store_contact *c)
{

	td_buf_addz(b, "<item");
	td_buf_add_attr(b, "jid", c->jid);
	if (c->name.p != NULL)
		td_buf_add_attr(b, "name", c->name);
	td_buf_add_attr(b, "subscription", td_cstr(store_sub_names[c->sub]));
	if (c->flags & STORE_ROSTER_ASK)
		td_buf_addz(b, " ask='subscribe'");
	if (c->flags & STORE_ROSTER_APPROVED)
		td_buf_addz(b, " approved='true'");
	td_buf_addc(b, '>');
	for (size_t i = 0; i < c->n_groups; i++) {
		td_buf_addz(b, "<group>");
		td_buf_add_xml(b, c->groups[i]);
		td_buf_addz(b, "</group>");
	}
	td_buf_addz(b, "</item>");
}

static void
on_roster(void *arg, const struct store_result *res, const struct store_roster *ro)
{
	struct walk *w = arg;
	struct td_buf *b = &w->xml;

	if (res->rc < 0) {
		fail(w, res);
		return;
	}
	td_buf_addz(b, "<query xmlns='" NS_ROSTER "'>");
	for (size_t i = 0; i < ro->n; i++)
		if (!(ro->contacts[i].flags & STORE_ROSTER_HIDDEN))
			add_contact(b, &ro->contacts[i]);
	td_buf_addz(b, "</query>");
	for (size_t i = 0; i < ro->n; i++)
		if (ro->contacts[i].flags & STORE_ROSTER_PENDING_IN)
			td_buf_adds(b, ro->contacts[i].pending_stanza);
	store_setting_list(w->r->gw->store, w->jid, w->r->gw->main_loop, on_settings, w);
}

static void
on_account(void *arg, const struct store_result *res, const struct store_account *acc)
{
	struct walk *w = arg;
	struct td_buf *b = &w->xml;
	ptrdiff_t at = td_str_chr(w->jid, '@');

	if (res->rc == TD_E_NOTFOUND) {
		td_buf_addf(&w->missing, "? %.*s\n", TD_STR_ARG(w->jid));
		w->i++;
		go_on(w);
		return;
	}
	if (res->rc < 0) {
		fail(w, res);
		return;
	}
	td_buf_addz(b, "<user");
	td_buf_add_attr(b, "name", td_str(w->jid.p, (size_t)at));
	td_buf_addf(b, " xmlns:p='" NS_PROSODY "' p:created='%" PRIu64 "'%s>", acc->created,
		    acc->disabled ? " p:disabled='true'" : "");
	move_add_verifier(b, "SCRAM-SHA-1", &acc->sha1);
	move_add_verifier(b, "SCRAM-SHA-256", &acc->sha256);
	store_roster_get(w->r->gw->store, w->jid, w->r->gw->main_loop, on_roster, w);
}

/* ---- pages ---- */

static void
on_messages(void *arg, const struct store_result *res, const struct store_message *m, size_t n)
{
	struct walk *w = arg;

	if (res->rc < 0) {
		fail(w, res);
		return;
	}
	if (n > 0 && !w->open)
		td_buf_addz(&w->xml, "<offline-messages>");
	w->open |= n > 0;
	for (size_t i = 0; i < n; i++) {
		td_buf_adds(&w->xml, m[i].stanza);
		w->at = m[i].id;
	}
	if (n == PAGE) {
		go_on(w);
		return;
	}
	if (w->open)
		td_buf_addz(&w->xml, "</offline-messages>");
	next_stage(w);
}

static void
add_item(struct walk *w, const struct store_ps_item *it)
{
	struct td_buf *b = &w->xml;

	td_buf_addz(b, "<item");
	td_buf_add_attr(b, "id", it->id);
	if (!td_str_eq(it->publisher, w->jid))
		td_buf_add_attr(b, "publisher", it->publisher);
	td_buf_addc(b, '>');
	td_buf_adds(b, it->payload);
	td_buf_addz(b, "</item>");
}

static void
on_items(void *arg, const struct store_result *res, const struct store_ps_items *got)
{
	struct walk *w = arg;
	bool gone = res->rc == TD_E_NOTFOUND; /* the node, or the item to go on behind */

	if (res->rc < 0 && !gone) {
		fail(w, res);
		return;
	}
	if (w->after.p == NULL) {
		td_buf_addz(&w->xml, "<items");
		td_buf_add_attr(&w->xml, "node", w->nodes[w->at]);
		td_buf_addc(&w->xml, '>');
	}
	for (size_t i = 0; !gone && i < got->n; i++)
		add_item(w, &got->items[i]);
	if (!gone && got->n > 0 && (got->more || got->n == PAGE)) {
		w->after = td_arena_str(w->a, got->items[got->n - 1].id);
	} else {
		td_buf_addz(&w->xml, "</items>");
		w->after = TD_STR_NULL;
		w->at++;
	}
	go_on(w);
}

static void
items(struct walk *w)
{
	struct store_ps_query q = { .after = w->after, .index = -1, .max = PAGE };

	if (!w->loaded) {
		store_ps_load(w->r->gw->store, w->jid, w->r->gw->main_loop, on_nodes, w);
		return;
	}
	if (w->at >= w->n_nodes) {
		if (w->open)
			td_buf_addz(&w->xml, "</pubsub>");
		next_stage(w);
		return;
	}
	if (!w->open)
		td_buf_addz(&w->xml, "<pubsub xmlns='" NS_PUBSUB "'>");
	w->open = true;
	q.node = w->nodes[w->at];
	store_ps_items(w->r->gw->store, w->jid, &q, w->r->gw->main_loop, on_items, w);
}

static void
on_archive(void *arg, const struct store_result *res, const struct store_archived *rows, size_t n,
	   bool complete)
{
	struct walk *w = arg;

	if (res->rc < 0) {
		fail(w, res);
		return;
	}
	if (n > 0 && !w->open)
		td_buf_addz(&w->xml, "<archive xmlns='" NS_PIE_MAM "'>");
	w->open |= n > 0;
	for (size_t i = 0; i < n; i++) {
		char name[STORE_ARCHIVE_NAME + 1], stamp[32];

		store_archive_name(w->r->gw->store, w->jid, rows[i].id, name);
		td_stamp(store_archive_when(rows[i].id), stamp);
		td_buf_addf(&w->xml,
			    "<result xmlns='urn:xmpp:mam:2' id='%s'><forwarded xmlns='" NS_FORWARD
			    "'><delay xmlns='" NS_DELAY "' stamp='%s'/>",
			    name, stamp);
		td_buf_adds(&w->xml, rows[i].stanza);
		td_buf_addz(&w->xml, "</forwarded></result>");
		w->at = rows[i].id;
	}
	if (!complete && n > 0) {
		go_on(w);
		return;
	}
	if (w->open)
		td_buf_addz(&w->xml, "</archive>");
	next_stage(w);
}

static void
archive(struct walk *w)
{
	struct store_archive_query q = { .owner = w->jid, .from = w->at + 1, .max = PAGE };

	store_archive_get(w->r->gw->store, &q, w->r->gw->main_loop, on_archive, w);
}

/* ---- the walk ---- */

static void
step(struct walk *w)
{
	struct gw *gw = w->r->gw;
	struct xmpp_jid j;

	if (w->i + 1 >= w->r->argc) {
		finish(w);
		return;
	}
	if (xmpp_jid_parse(w->a, td_cstr(w->r->argv[w->i + 1]), &j, NULL) < 0 ||
	    j.local.p == NULL || j.resource.p != NULL) {
		td_buf_addf(&w->missing, "? %s\n", td_escz(w->r->argv[w->i + 1]));
		w->i++;
		go_on(w);
		return;
	}
	w->jid = j.bare;
	w->domain = j.domain;
	switch (w->stage) {
	case ST_ACCOUNT: store_account_get(gw->store, w->jid, gw->main_loop, on_account, w); break;
	case ST_MESSAGES:
		store_messages_get(gw->store, w->jid, w->at, PAGE, gw->main_loop, on_messages, w);
		break;
	case ST_ITEMS: items(w); break;
	case ST_ARCHIVE: archive(w); break;
	case ST_COUNT: break;
	}
}

/* "i stage open at xHEX"; "0" is the beginning. */
static bool
read_cursor(struct walk *w, const char *text)
{
	unsigned i = 0, stage = 0, open = 0;
	unsigned long long at = 0;
	const char *hex = strchr(text, 'x');
	int n = sscanf(text, "%u %u %u %llu", &i, &stage, &open, &at);

	if ((n != 1 && n != 4) || stage >= ST_COUNT || open > 1)
		return false;
	w->i = i;
	w->stage = (enum stage)stage;
	w->open = open != 0;
	w->at = at;
	if (hex != NULL) {
		size_t len = strlen(hex + 1) / 2;
		unsigned char *p = td_arena_alloc(w->a, len + 1);

		if (!td_hex_decode(td_cstr(hex + 1), p, len))
			return false;
		w->after = td_str((const char *)p, len);
	}
	return true;
}

void
ctl_account_dump(struct ctl_request *r)
{
	struct walk *w = td_arena_zalloc(r->a, sizeof(*w));

	w->r = r;
	w->a = r->a;
	if (!read_cursor(w, r->argv[0])) {
		ctl_fail(r, "'%s' is not a cursor", r->argv[0]);
		return;
	}
	w->conf = gw_conf_get(r->gw);
	step(w);
}
