/* scopes - which scopes exist, which options stand in them, and what a misspelt name
 * may have meant.  The index over conf_options[] is built once per process. */
#include "conf/conf_priv.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#define MTA_HINT "bindings belong to the MTA; set the option in a domain or at global level"
#define PATHWAY_HINT "pathways do not exist here; use Peer blocks inside the listener"
#define SMTP_HINT "the MTA takes mail; Tandem sees it through milter_listener"

// clang-format off
const struct conf_kind conf_kinds[] = {
	{ "global", "global", CS_GLOBAL, 0, CN_NONE, 0, NULL },
	{ "domain", "domain", CS_DOMAIN, CS_GLOBAL, CN_REQUIRED, CK_REGEX | CK_FOLD, NULL },
	{ "xmpp", "xmpp", CS_XMPP, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "xmpp_listener", "xmpp_listener", CS_XMPP_LISTENER, CS_GLOBAL, CN_OPTIONAL, 0, NULL },
	{ "milter_listener", "milter_listener", CS_MILTER_LISTENER, CS_GLOBAL, CN_OPTIONAL, 0, NULL },
	{ "control_listener", "control_listener", CS_CONTROL_LISTENER, CS_GLOBAL, CN_OPTIONAL, 0, NULL },
	{ "http_listener", "http_listener", CS_HTTP_LISTENER, CS_GLOBAL, CN_OPTIONAL, 0, NULL },
	{ "listen", "Listen", CS_LISTEN, CS_LISTENERS, CN_REQUIRED, 0, NULL },
	{ "peer", "Peer", CS_PEER, CS_LISTENERS | CS_LISTEN, CN_REQUIRED, CK_FOLD, NULL },
	{ "xmpp_logger", "xmpp_logger", CS_XMPP_LOGGER, CS_GLOBAL, CN_REQUIRED, 0, NULL },
	{ "ec_logger", "ec_logger", CS_EC_LOGGER, CS_GLOBAL, CN_REQUIRED, 0, NULL },
	{ "scriptlet", "scriptlet", CS_SCRIPTLET, CS_GLOBAL, CN_OPTIONAL, CK_SINGLE, NULL },
	{ "script", "script", CS_SCRIPT, CS_SCRIPTLET, CN_REQUIRED, CK_FREE, NULL },
	{ "security", "Security", CS_SECURITY, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "threadpool", "ThreadPool", CS_THREADPOOL, CS_GLOBAL, CN_REQUIRED, CK_FOLD, NULL },
	{ "mail", "mail", CS_MAIL, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "milter", "milter", CS_MILTER, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "store", "store", CS_STORE, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "component", "component", CS_COMPONENT, CS_GLOBAL, CN_REQUIRED, CK_FOLD, NULL },
	{ "contact", "contact", CS_CONTACT, CS_DOMAIN, CN_REQUIRED, CK_FOLD, NULL },
	{ "external_service", "external_service", CS_EXTERNAL_SERVICE, CS_DOMAIN, CN_REQUIRED, 0, NULL },
	{ "authorization", "Authorization", CS_AUTHORIZATION, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "role", "Role", CS_ROLE, CS_AUTHORIZATION, CN_REQUIRED, 0, NULL },
	{ "debug_flags", "Debug_Flags", CS_DEBUG_FLAGS, CS_GLOBAL, CN_NONE, CK_SINGLE, NULL },
	{ "datasource", "Datasource", CS_DATASOURCE, CS_GLOBAL, CN_REQUIRED, 0, NULL },
	/* accepted so that old files load */
	{ "alerting", "alerting", 0, CS_GLOBAL, CN_OPTIONAL, CK_NOOP, NULL },
	{ "ds_core", "ds_core", 0, CS_GLOBAL, CN_OPTIONAL, CK_NOOP, NULL },
	{ "syslog_io", "syslog_io", 0, CS_GLOBAL, CN_OPTIONAL, CK_NOOP, NULL },
	{ "ac_auth", "ac_auth", 0, CS_GLOBAL, CN_OPTIONAL, CK_NOOP, NULL },
	/* known, and refused with a hint */
	{ "binding", "Binding", 0, CS_GLOBAL | CS_DOMAIN, CN_OPTIONAL, CK_UNSUPPORTED, MTA_HINT },
	{ "binding_group", "Binding_Group", 0, CS_GLOBAL | CS_DOMAIN, CN_OPTIONAL, CK_UNSUPPORTED, MTA_HINT },
	{ "pathway", "Pathway", 0, CS_GLOBAL | CS_LISTENERS, CN_OPTIONAL, CK_UNSUPPORTED, PATHWAY_HINT },
	{ "pathway_group", "Pathway_Group", 0, CS_GLOBAL | CS_LISTENERS, CN_OPTIONAL, CK_UNSUPPORTED, PATHWAY_HINT },
	{ "host", "Host", 0, CS_GLOBAL | CS_DOMAIN, CN_OPTIONAL, CK_UNSUPPORTED | CK_REGEX, "set the option in the domain instead" },
	{ "esmtp_listener", "ESMTP_Listener", 0, CS_GLOBAL, CN_OPTIONAL, CK_UNSUPPORTED, SMTP_HINT },
	{ "ecstream_listener", "ECStream_Listener", 0, CS_GLOBAL, CN_OPTIONAL, CK_UNSUPPORTED, SMTP_HINT },
	{ "auth_ds", "auth_ds", 0, CS_GLOBAL, CN_OPTIONAL, CK_UNSUPPORTED,
	  "use uri = \"store://\" or register a scheme from Lua (msys.registerAuth)" },
	{ "event_loop", "Event_Loop", 0, CS_GLOBAL, CN_OPTIONAL, CK_UNSUPPORTED, "set workers = N instead" },
	{ "snmp", "SNMP", 0, CS_GLOBAL, CN_OPTIONAL, CK_UNSUPPORTED, "figures are at /metrics of an http_listener" },
	{ "cluster", "cluster", 0, CS_GLOBAL, CN_OPTIONAL, CK_UNSUPPORTED, "remove it" },
	{ NULL, NULL, 0, 0, CN_NONE, 0, NULL },
};
// clang-format on

#define SLOTS (CONF_MAX_OPTIONS * 2)

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static size_t n_rows;
static const struct conf_option *slots[SLOTS];
static const struct conf_option *same_name[CONF_MAX_OPTIONS]; /* next row of the name */
static const struct conf_value *defaults[CONF_MAX_OPTIONS];

static uint32_t
name_hash(struct td_str s)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		h = (h ^ c) * 16777619u;
	}
	return h;
}

static size_t
slot_of(struct td_str name)
{
	size_t i = name_hash(name) % SLOTS;

	while (slots[i] != NULL && !td_str_ieq(td_cstr(slots[i]->name), name))
		i = (i + 1) % SLOTS;
	return i;
}

/* Defaults are text in the table; a row whose default does not pass its own check is a
 * bug in the table and ends the process at the first look. */
static const struct conf_value *
parse_default(const struct conf_option *o)
{
	struct conf_value *v;
	struct td_buf why = { 0 };
	bool ok;

	if (o->def == NULL)
		return NULL;
	v = td_zalloc(sizeof(*v));
	v->row = o;
	v->items = td_zalloc(sizeof(*v->items));
	v->items[0] = td_cstr(o->def);
	v->n = 1;
	v->shape = CT_STRING;
	ok = conf_value_check(v, &why);
	assert(ok && "default of an option does not pass its own check");
	(void)ok;
	td_buf_fini(&why);
	return v;
}

static void
build_index(void)
{
	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		size_t i = slot_of(td_cstr(o->name));

		assert(n_rows < CONF_MAX_OPTIONS);
		n_rows++;
		if (slots[i] == NULL) {
			slots[i] = o;
		} else {
			const struct conf_option *last = slots[i];

			while (same_name[last - conf_options] != NULL)
				last = same_name[last - conf_options];
			same_name[last - conf_options] = o;
		}
		defaults[o - conf_options] = parse_default(o);
	}
}

size_t
conf_row_index(const struct conf_option *o)
{
	return (size_t)(o - conf_options);
}

const struct conf_option *
conf_row_first(struct td_str name)
{
	pthread_once(&index_once, build_index);
	return slots[slot_of(name)];
}

const struct conf_option *
conf_row_next(const struct conf_option *o)
{
	return same_name[o - conf_options];
}

const struct conf_value *
conf_row_default(const struct conf_option *o)
{
	pthread_once(&index_once, build_index);
	return defaults[o - conf_options];
}

bool
conf_row_fits(const struct conf_option *o, const struct conf_scope *s)
{
	uint32_t bit = s->kind->bit;

	if ((o->scopes & bit) == 0)
		return false;
	if (bit != CS_LISTEN && bit != CS_PEER)
		return true;
	while (s != NULL && (s->kind->bit & CS_LISTENERS) == 0)
		s = s->parent;
	return s != NULL && (o->scopes & s->kind->bit) != 0;
}

const struct conf_option *
conf_row_in(struct td_str name, const struct conf_scope *s)
{
	for (const struct conf_option *o = conf_row_first(name); o != NULL; o = conf_row_next(o))
		if (conf_row_fits(o, s))
			return o;
	return NULL;
}

const struct conf_kind *
conf_kind_find(struct td_str name)
{
	for (const struct conf_kind *k = conf_kinds + 1; k->name != NULL; k++)
		if (td_str_ieq(td_cstr(k->name), name))
			return k;
	return NULL;
}

bool
conf_kind_fits(const struct conf_kind *k, const struct conf_scope *parent)
{
	return (k->parents & parent->kind->bit) != 0;
}

void
conf_scopes_text(uint32_t scopes, struct td_buf *out)
{
	bool any = false;

	for (const struct conf_kind *k = conf_kinds; k->name != NULL; k++) {
		if ((k->bit & scopes) == 0)
			continue;
		td_buf_addf(out, "%s%s", any ? ", " : "", k->shown);
		any = true;
	}
}

/* ---- did you mean ---- */

#define NAME_MAX_LEN 40

/* Edits (insert, delete, replace, swap neighbours) between two short names. */
static unsigned
distance(struct td_str a, const char *b)
{
	unsigned d[3][NAME_MAX_LEN + 2];
	size_t n = strlen(b);

	if (a.len > NAME_MAX_LEN || n > NAME_MAX_LEN)
		return 99;
	for (size_t j = 0; j <= n; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			char x = (char)(a.p[i - 1] >= 'A' && a.p[i - 1] <= 'Z' ? a.p[i - 1] | 0x20
									       : a.p[i - 1]);
			unsigned best = up[j - 1] + (x != b[j - 1]);

			if (up[j] + 1 < best)
				best = up[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && x == b[j - 2] &&
			    (a.p[i - 2] | 0x20) == (b[j - 1] | 0x20) && up2[j - 2] + 1 < best)
				best = up2[j - 2] + 1;
			row[j] = best;
		}
	}
	return d[a.len % 3][n];
}

/* Far enough to be another word? */
static unsigned
allowed(struct td_str name)
{
	return name.len <= 3 ? 1 : name.len <= 8 ? 2 : 3;
}

const char *
conf_suggest(const struct conf_scope *s, struct td_str name, bool *foreign_out)
{
	const char *best = NULL;
	unsigned best_d = 99;

	*foreign_out = false;
	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		bool foreign = !conf_row_fits(o, s);
		unsigned d = distance(name, o->name) * 2 + foreign; /* the near one wins a tie */

		if (d < best_d) {
			best_d = d;
			best = o->name;
			*foreign_out = foreign;
		}
	}
	for (const struct conf_kind *k = conf_kinds + 1; k->name != NULL; k++) {
		bool foreign = !conf_kind_fits(k, s);
		unsigned d = distance(name, k->name) * 2 + foreign;

		if (d < best_d && (k->flags & CK_UNSUPPORTED) == 0) {
			best_d = d;
			best = k->shown;
			*foreign_out = foreign;
		}
	}
	return best_d / 2 <= allowed(name) ? best : NULL;
}

const char *
conf_suggest_word(const char *const *words, struct td_str name)
{
	const char *best = NULL;
	unsigned best_d = 99;

	for (size_t i = 0; words[i] != NULL; i++) {
		unsigned d = distance(name, words[i]);

		if (d < best_d) {
			best_d = d;
			best = words[i];
		}
	}
	return best_d <= allowed(name) ? best : NULL;
}
