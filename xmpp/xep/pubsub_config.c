/* pubsub_config - what can be set at a node: one table from which forms are written and read, preconditions
 * checked, and the store's notation made (XEP-0060 8.2, 7.1.5, 16.4). */
#include "xmpp/xep/pubsub.h"

#include <stdio.h>

#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"

#define TEXT_MAX 1024u

enum kind {
	K_BOOL = 0,
	K_WORD,
	K_INT, /* or "max" */
	K_TEXT,
	K_LINES,
	K_JIDS /* as K_LINES, bare or full addresses */
};

struct option {
	const char *var; /* without "pubsub#" */
	enum kind kind;
	size_t at;
	const struct xmpp_form_option *words;
	int64_t min;
	const char *label; /* NULL: kept and shown, not to be set */
};

static const struct xmpp_form_option access_words[] = {
	{ "open", "Anyone" },
	{ "presence", "Subscribers to my presence" },
	{ "roster", "Members of some roster groups" },
	{ "authorize", "Whom an owner let in" },
	{ "whitelist", "Members" },
	{ NULL, NULL },
};
static const struct xmpp_form_option publish_words[] = {
	{ "publishers", "Publishers" },
	{ "subscribers", "Subscribers" },
	{ "open", "Anyone" },
	{ NULL, NULL },
};
static const struct xmpp_form_option last_words[] = {
	{ "never", "Never" },
	{ "on_sub", "When a new subscription is made" },
	{ "on_sub_and_presence", "When a subscriber comes online, too" },
	{ NULL, NULL },
};
static const struct xmpp_form_option reply_words[] = {
	{ "owner", "Owner" },
	{ "publisher", "Publisher" },
	{ "none", "Nobody is named" },
	{ NULL, NULL },
};
static const struct xmpp_form_option node_words[] = { { "leaf", "Items" }, { NULL, NULL } };
static const struct xmpp_form_option type_words[] = {
	{ "headline", "Headline" },
	{ "normal", "Normal" },
	{ "chat", "Chat" },
	{ NULL, NULL },
};
static const struct xmpp_form_option full_words[] = {
	{ "retract-oldest", "The oldest item goes" },
	{ "discard-oldest", "The oldest item goes unsaid" },
	{ "reject", "The new item is refused" },
	{ NULL, NULL },
};

#define AT(field) offsetof(struct ps_config, field)
// clang-format off
static const struct option options[] = {
	{ "node_type", K_WORD, AT(node_type), node_words, 0, "What the node holds" },
	{ "creator", K_TEXT, AT(creator), NULL, 0, NULL },
	{ "title", K_TEXT, AT(title), NULL, 0, "A friendly name for the node" },
	{ "description", K_TEXT, AT(description), NULL, 0, "A description of the node" },
	{ "language", K_TEXT, AT(language), NULL, 0, "The default language of the node" },
	{ "type", K_TEXT, AT(type), NULL, 0, "The type of node data (namespace of the payload)" },
	{ "contact", K_JIDS, AT(contact), NULL, 0, "Addresses of those to contact with questions" },
	{ "access_model", K_WORD, AT(access), access_words, 0, "Who may subscribe and retrieve items" },
	{ "roster_groups_allowed", K_LINES, AT(groups), NULL, 0, "Roster groups that may subscribe" },
	{ "publish_model", K_WORD, AT(publish), publish_words, 0, "Who may publish" },
	{ "persist_items", K_BOOL, AT(persist), NULL, 0, "Keep items" },
	{ "max_items", K_INT, AT(max_items), NULL, 1, "How many items to keep" },
	{ "item_expire", K_INT, AT(item_expire), NULL, 0, "Seconds after which an item goes; 0 = never" },
	{ "max_payload_size", K_INT, AT(max_payload), NULL, 0, "Largest payload in bytes" },
	{ "publish_node_full", K_WORD, AT(node_full), full_words, 0, "When the node is full" },
	{ "send_last_published_item", K_WORD, AT(send_last), last_words, 0, "When to send the last item" },
	{ "deliver_notifications", K_BOOL, AT(deliver_notifications), NULL, 0, "Notify subscribers" },
	{ "deliver_payloads", K_BOOL, AT(deliver_payloads), NULL, 0, "Notifications carry the payload" },
	{ "notification_type", K_WORD, AT(notification), type_words, 0, "Type of notifications" },
	{ "notify_config", K_BOOL, AT(notify_config), NULL, 0, "Tell when the configuration changes" },
	{ "notify_delete", K_BOOL, AT(notify_delete), NULL, 0, "Tell when the node is deleted" },
	{ "notify_retract", K_BOOL, AT(notify_retract), NULL, 0, "Tell when items are removed" },
	{ "notify_sub", K_BOOL, AT(notify_sub), NULL, 0, "Tell owners of new subscribers" },
	{ "presence_based_delivery", K_BOOL, AT(presence_based), NULL, 0, "Notify only who is online" },
	{ "purge_offline", K_BOOL, AT(purge_offline), NULL, 0, "Purge items when the publisher goes offline" },
	{ "subscribe", K_BOOL, AT(subscribe), NULL, 0, "Allow subscriptions" },
	{ "itemreply", K_WORD, AT(itemreply), reply_words, 0, "Whom replies to items go to" },
};
// clang-format on
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static const char *const form_types[] = { "text-single", "list-single", "text-single",
					  "text-single", "text-multi",  "jid-multi" };

/* ---- values ---- */

static bool *
bool_at(struct ps_config *c, const struct option *o)
{
	return (bool *)((char *)c + o->at);
}

static uint8_t *
word_at(struct ps_config *c, const struct option *o)
{
	return (uint8_t *)((char *)c + o->at);
}

static int64_t *
int_at(struct ps_config *c, const struct option *o)
{
	return (int64_t *)(void *)((char *)c + o->at);
}

static struct td_str *
text_at(struct ps_config *c, const struct option *o)
{
	return (struct td_str *)(void *)((char *)c + o->at);
}

static bool
parse_word(const struct xmpp_form_option *words, struct td_str v, uint8_t *out)
{
	for (uint8_t i = 0; words[i].value != NULL; i++)
		if (td_str_eqc(v, words[i].value)) {
			*out = i;
			return true;
		}
	return false;
}

static bool
parse_int(const struct option *o, struct td_str v, int64_t *out)
{
	if (td_str_eqc(v, "max")) {
		*out = PS_MAX;
		return true;
	}
	if (v.len == 0) {
		*out = o->min;
		return o->min == 0;
	}
	return td_str_to_dec(v, o->min, INT64_C(0xffffffffff), out);
}

/* Put <values> into the option's place. */
static bool
set_values(struct td_arena *a, const struct option *o, const struct td_str *values, size_t n,
	   struct ps_config *c)
{
	struct td_str v = n > 0 ? values[0] : TD_STR("");
	struct td_buf b = { 0 };

	switch (o->kind) {
	case K_BOOL: return xmpp_bool(td_str_trim(v), bool_at(c, o));
	case K_WORD: return parse_word(o->words, td_str_trim(v), word_at(c, o));
	case K_INT: return parse_int(o, td_str_trim(v), int_at(c, o));
	case K_TEXT:
		if (v.len > TEXT_MAX)
			return false;
		*text_at(c, o) = td_arena_str(a, v.p != NULL ? v : TD_STR(""));
		return true;
	case K_LINES:
	case K_JIDS:
		for (size_t i = 0; i < n; i++) {
			if (b.len > 0)
				td_buf_addc(&b, '\n');
			td_buf_adds(&b, values[i]);
		}
		if (b.len <= 4 * TEXT_MAX)
			*text_at(c, o) = td_arena_str(a, td_str(b.p != NULL ? b.p : "", b.len));
		td_buf_fini(&b);
		return text_at(c, o)->len <= 4 * TEXT_MAX;
	}
	return false;
}

static const struct option *
find_option(struct td_str var)
{
	if (!td_str_starts(var, "pubsub#"))
		return NULL;
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (options[i].label != NULL &&
		    td_str_eqc(td_str(var.p + 7, var.len - 7), options[i].var))
			return &options[i];
	return NULL;
}

/* ---- defaults ---- */

/* Nodes that must never be seen by others unless their owner says so (XEP-0402, 0490, 0292, 0223). */
static bool
is_private_node(struct td_str name)
{
	return td_str_eqc(name, NS_BOOKMARKS) || td_str_eqc(name, NS_BOOKMARKS_OLD) ||
	       td_str_eqc(name, "urn:xmpp:mds:displayed:0") ||
	       td_str_eqc(name, "urn:xmpp:contacts");
}

void
ps_config_default(const struct ps_host *h, struct td_str name, struct ps_config *out)
{
	*out = (struct ps_config){
		.access = PSA_OPEN,
		.publish = PSP_PUBLISHERS,
		.send_last = PSL_ON_SUB_AND_PRESENCE, /* 4.3: #last-published is announced */
		.itemreply = PSR_NONE,
		.persist = true,
		.deliver_notifications = true,
		.deliver_payloads = true,
		.notify_delete = true,
		.notify_retract = true,
		.subscribe = true,
		.max_items = h->pep ? 1 : 20,
		.max_payload = ps_limit(h, "pubsub_max_item_size"),
		.creator = TD_STR(""),
		.title = TD_STR(""),
		.description = TD_STR(""),
		.language = TD_STR(""),
		.type = TD_STR(""),
		.contact = TD_STR(""),
		.groups = TD_STR(""),
	};
	if (h->pep)
		out->access = PSA_PRESENCE;
	if (h->pep && is_private_node(name)) {
		out->access = PSA_WHITELIST;
		out->send_last = PSL_NEVER;
		out->max_items = PS_MAX;
	}
	if (h->pep && td_str_eqc(name, NS_BOOKMARKS_OLD)) {
		out->max_items = 1;
		out->send_last = PSL_ON_SUB_AND_PRESENCE;
	}
}

/* ---- the store's notation ---- */

static void
write_value(struct td_buf *out, struct ps_config *c, const struct option *o)
{
	struct td_str v;

	switch (o->kind) {
	case K_BOOL: td_buf_addc(out, *bool_at(c, o) ? '1' : '0'); break;
	case K_WORD: td_buf_addz(out, o->words[*word_at(c, o)].value); break;
	case K_INT:
		if (*int_at(c, o) == PS_MAX)
			td_buf_addz(out, "max");
		else
			td_buf_addf(out, "%lld", (long long)*int_at(c, o));
		break;
	case K_TEXT:
	case K_LINES:
	case K_JIDS:
		v = *text_at(c, o);
		for (size_t i = 0; i < v.len; i++)
			if (v.p[i] == '\n')
				td_buf_add(out, "\\n", 2);
			else if (v.p[i] == '\\')
				td_buf_add(out, "\\\\", 2);
			else
				td_buf_addc(out, v.p[i]);
		break;
	}
}

void
ps_config_write(const struct ps_config *c, struct td_buf *out)
{
	struct ps_config copy = *c;

	for (size_t i = 0; i < N_OPTIONS; i++) {
		td_buf_addz(out, options[i].var);
		td_buf_addc(out, '=');
		write_value(out, &copy, &options[i]);
		td_buf_addc(out, '\n');
	}
}

static void
read_line(struct td_arena *a, struct td_str name, struct td_str value, struct ps_config *out)
{
	char *p = td_arena_alloc(a, value.len + 1);
	size_t n = 0;
	struct td_str v;

	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] == '\\' && i + 1 < value.len)
			p[n++] = value.p[++i] == 'n' ? '\n' : value.p[i];
		else
			p[n++] = value.p[i];
	}
	v = td_str(p, n);
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (td_str_eqc(name, options[i].var))
			(void)set_values(a, &options[i], &v, 1, out);
}

void
ps_config_read(struct td_arena *a, struct td_str text, struct ps_config *out)
{
	while (text.len > 0) {
		struct td_str line = td_str_cut(&text, '\n'), name = td_str_cut(&line, '=');

		read_line(a, name, line, out);
	}
}

/* ---- forms ---- */

/* Can its access model work at this host? */
static bool
access_allowed(const struct ps_host *h, struct td_str name, const struct ps_config *c)
{
	/* bookmarks are nobody else's, in whatever form (XEP-0402, 0411 section 5) */
	if (h->pep && c->access != PSA_WHITELIST &&
	    (td_str_eqc(name, NS_BOOKMARKS) || td_str_eqc(name, NS_BOOKMARKS_OLD)))
		return false;
	/* a roster is there for owners that are accounts of ours */
	if (!h->pep && (c->access == PSA_PRESENCE || c->access == PSA_ROSTER)) {
		struct xmpp_jid creator = xmpp_jid_view(c->creator);

		return creator.local.p != NULL &&
		       h->env->host->domain(h->env, creator.domain) == XD_LOCAL;
	}
	return true;
}

bool
ps_config_apply(struct td_arena *a, const struct ps_host *h, struct td_str name,
		const struct xmpp_form *f, bool strict, struct ps_config *c, const char **condition)
{
	*condition = NULL;
	for (size_t i = 0; i < f->n; i++) {
		const struct xmpp_form_field *field = &f->fields[i];
		const struct option *o = find_option(field->var);

		if (td_str_eqc(field->var, "FORM_TYPE"))
			continue;
		if (o == NULL && strict)
			return false;
		if (o != NULL && !set_values(a, o, field->values, field->n, c)) {
			if (o->at == AT(access))
				*condition = "unsupported-access-model";
			return false;
		}
	}
	if (!access_allowed(h, name, c)) {
		*condition = "unsupported-access-model";
		return false;
	}
	return c->max_items <= ps_limit(h, "pubsub_max_items") &&
	       c->max_payload <= ps_limit(h, "pubsub_max_item_size");
}

/* The same value: numbers beyond the server's limit are as good as "max". */
static bool
same_value(const struct ps_host *h, const struct option *o, struct ps_config *want,
	   struct ps_config *have)
{
	int64_t limit = o->at == AT(max_payload) ? ps_limit(h, "pubsub_max_item_size")
						 : ps_limit(h, "pubsub_max_items");
	int64_t w, v;

	switch (o->kind) {
	case K_BOOL: return *bool_at(want, o) == *bool_at(have, o);
	case K_WORD: return *word_at(want, o) == *word_at(have, o);
	case K_INT:
		w = *int_at(want, o) == PS_MAX && o->at != AT(item_expire) ? limit
									   : *int_at(want, o);
		v = *int_at(have, o) == PS_MAX && o->at != AT(item_expire) ? limit
									   : *int_at(have, o);
		return w == v;
	case K_TEXT:
	case K_LINES:
	case K_JIDS: return td_str_eq(*text_at(want, o), *text_at(have, o));
	}
	return false;
}

bool
ps_config_meets(struct td_arena *a, const struct ps_host *h, const struct xmpp_form *f,
		const struct ps_config *c)
{
	struct ps_config want = *c, have = *c;

	for (size_t i = 0; i < f->n; i++) {
		const struct xmpp_form_field *field = &f->fields[i];
		const struct option *o = find_option(field->var);

		if (td_str_eqc(field->var, "FORM_TYPE"))
			continue;
		if (o == NULL || !set_values(a, o, field->values, field->n, &want) ||
		    !same_value(h, o, &want, &have))
			return false;
	}
	return true;
}

/* Split at line ends. */
static size_t
split(struct td_str s, struct td_str *out, size_t max)
{
	size_t n = 0;

	while (s.len > 0 && n < max)
		out[n++] = td_str_cut(&s, '\n');
	return n;
}

static void
form_field(struct td_buf *out, struct ps_config *c, const struct option *o, bool result)
{
	struct td_str values[64];
	struct td_buf v = { 0 };
	char var[64];

	(void)snprintf(var, sizeof(var), "pubsub#%s", o->var);
	switch (o->kind) {
	case K_BOOL: xmpp_form_add_bool(out, var, o->label, *bool_at(c, o)); return;
	case K_LINES:
	case K_JIDS:
		xmpp_form_add(out, form_types[o->kind], var, o->label, values,
			      split(*text_at(c, o), values, 64), NULL);
		return;
	case K_TEXT: xmpp_form_add1(out, "text-single", var, o->label, *text_at(c, o)); return;
	case K_WORD:
	case K_INT: break;
	}
	write_value(&v, c, o);
	values[0] = td_buf_str(&v);
	xmpp_form_add(out, form_types[o->kind], var, o->label, values, 1, result ? NULL : o->words);
	td_buf_fini(&v);
}

void
ps_config_form(const struct ps_config *c, enum xmpp_form_kind kind, struct td_buf *out)
{
	struct ps_config copy = *c;

	xmpp_form_open(out, kind, NS_PUBSUB "#node_config");
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (options[i].label != NULL)
			form_field(out, &copy, &options[i], kind == FORM_RESULT);
	xmpp_form_close(out);
}

void
ps_config_metadata(const struct ps_node *n, struct td_buf *out)
{
	static const char *const shown[] = { "title",     "description",   "language",
					     "type",      "contact",       "access_model",
					     "max_items", "publish_model", "creator",
					     NULL };
	struct ps_config copy = n->cfg;
	struct td_str owners[64], publishers[64];
	size_t n_owners = 0, n_publishers = 0, i = 0;
	const struct ps_affil *af;
	char stamp[32];

	xmpp_form_open(out, FORM_RESULT, NS_PUBSUB "#meta-data");
	for (size_t o = 0; o < N_OPTIONS; o++)
		for (const char *const *s = shown; *s != NULL; s++)
			if (strcmp(options[o].var, *s) == 0 &&
			    (options[o].at != AT(creator) || copy.creator.len > 0))
				form_field(out, &copy, &options[o], true);
	td_stamp(n->created, stamp);
	xmpp_form_add1(out, "text-single", "pubsub#creation_date", NULL, td_cstr(stamp));
	if (n->host->pep)
		owners[n_owners++] = n->host->jid;
	while ((af = td_map_next(&n->affils, &i)) != NULL)
		if (af->affiliation == PSF_OWNER && n_owners < 64)
			owners[n_owners++] = af->jid;
		else if (af->affiliation == PSF_PUBLISHER && n_publishers < 64)
			publishers[n_publishers++] = af->jid;
	xmpp_form_add(out, "jid-multi", "pubsub#owner", NULL, owners, n_owners, NULL);
	if (n_publishers > 0)
		xmpp_form_add(out, "jid-multi", "pubsub#publisher", NULL, publishers, n_publishers,
			      NULL);
	xmpp_form_add_int(out, "text-single", "pubsub#num_subscribers", NULL, n->subs_by_jid.len);
	xmpp_form_close(out);
}

/* ---- from and to other servers ---- */

/* As much of an account's host as configuration asks for: there may be none in memory, and its worker is not here. */
struct paper_host {
	struct xmpp_env env;
	struct xmpp_user user;
	struct ps_host host;
};

static struct ps_host *
paper_host(struct td_arena *a, const struct conf *c, struct td_str domain)
{
	struct paper_host *p = td_arena_zalloc(a, sizeof(*p));

	p->env.conf = (struct conf *)(uintptr_t)c;
	p->user.domain = domain;
	p->host.env = &p->env;
	p->host.user = &p->user;
	p->host.pep = true;
	return &p->host;
}

bool
ps_config_take(const struct conf *conf, struct td_str domain, struct td_str name,
	       const struct xmpp_form *f, struct td_buf *out, const char **why)
{
	struct td_arena *a = td_arena_new(sizeof(struct paper_host) + 4096);
	struct ps_host *h = paper_host(a, conf, domain);
	bool whole = true;
	struct ps_config c;

	ps_config_default(h, name, &c);
	for (size_t i = 0; f != NULL && i < f->n; i++) {
		const struct option *o = find_option(f->fields[i].var);

		/* Prosody writes every field, those it has nothing to say about without a value */
		if (o == NULL || f->fields[i].n == 0 || f->fields[i].values[0].len == 0 ||
		    set_values(a, o, f->fields[i].values, f->fields[i].n, &c) ||
		    o->at != AT(access))
			continue;
		c.access = PSA_WHITELIST;
		whole = false;
	}
	if (c.max_items > ps_limit(h, "pubsub_max_items"))
		c.max_items = PS_MAX;
	if (c.max_payload > ps_limit(h, "pubsub_max_item_size"))
		c.max_payload = ps_limit(h, "pubsub_max_item_size");
	if (!access_allowed(h, name, &c)) {
		c.access = PSA_WHITELIST;
		whole = false;
	}
	*why = "pubsub#access_model";
	ps_config_write(&c, out);
	td_arena_free(a);
	return whole;
}

void
ps_config_give(const struct conf *conf, struct td_str domain, struct td_str name,
	       struct td_str text, struct td_buf *out)
{
	struct td_arena *a = td_arena_new(sizeof(struct paper_host) + 4096);
	struct ps_host *h = paper_host(a, conf, domain);
	struct ps_config c;

	ps_config_default(h, name, &c);
	ps_config_read(a, text, &c);
	xmpp_form_open(out, FORM_FORM, NS_PUBSUB "#node_config");
	for (size_t i = 0; i < N_OPTIONS; i++)
		form_field(out, &c, &options[i], true); /* nobody is to choose */
	xmpp_form_close(out);
	td_arena_free(a);
}
