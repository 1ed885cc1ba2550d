/* muc_service - the service itself: which rooms it has, found by disco (XEP-0045 6.2, 6.3), by search (XEP-0433);
 * names nobody has (XEP-0307).
 *
 * The rooms are spread over the workers, so the worker that owns the service's domain keeps a directory: an
 * entry per room, from the store at first use, then from the rooms' workers as they change.  It also says
 * whether one more room may be made, which makes max_rooms exact.  What comes before the directory is loaded
 * waits in order. */
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/modules.h"
#include "xmpp/rsm.h"
#include "xmpp/xep/muc.h"
#include "xmpp/xep/xep_0030_disco.h"

#define PAGE_DEFAULT 250u /* rooms in one answer, when nothing was asked */
#define PAGE_MAX 500u
#define SEARCH_MIN 3u /* characters of a search term */
#define SEARCH_TERMS 8u
#define NS_SEARCH_PARAMS "urn:xmpp:channel-search:0:search-params"
#define NS_SEARCH_ERROR "urn:xmpp:channel-search:0:error"
#define KEY_ADDRESS "{urn:xmpp:channel-search:0:order}address"
#define KEY_NUSERS "{urn:xmpp:channel-search:0:order}nusers"

struct entry { /* one malloc with its strings */
	struct td_str jid, name, desc, lang;
	unsigned nusers;
	bool public_room, open, shows_jids;
};
enum op {
	OP_ASK = 0,
	OP_UPDATE,
	OP_DROP,
	OP_STANZA,
};
struct message { /* one malloc with its strings */
	STAILQ_ENTRY(message) link;
	enum op op;
	unsigned from;
	struct entry e;
	struct xmpp_stanza *s; /* OP_STANZA: a reference */
};
struct load {
	struct muc_service *svc; /* NULL: gone */
};
struct muc_service {
	struct muc *muc;
	struct td_map entries; /* room JID -> struct entry */
	struct entry **sorted; /* the public ones by JID; valid unless stale */
	size_t n_sorted;
	bool stale, loaded;
	struct load *load; /* under way */
	STAILQ_HEAD(, message) waiting;
	struct td_str domain; /* malloc'd */
};

/* ---- entries ---- */

static struct td_str
put(char **p, struct td_str s)
{
	struct td_str out = s.p != NULL ? td_str(*p, s.len) : TD_STR_NULL;

	if (s.p != NULL && s.len > 0)
		memcpy(*p, s.p, s.len);
	*p += s.len;
	return out;
}

static void
copy_entry(struct entry *to, const struct entry *from, char *p)
{
	*to = *from;
	to->jid = put(&p, from->jid);
	to->name = put(&p, from->name);
	to->desc = put(&p, from->desc);
	to->lang = put(&p, from->lang);
}

static size_t
strings_of(const struct entry *e)
{
	return e->jid.len + e->name.len + e->desc.len + e->lang.len;
}

static void
set_entry(struct muc_service *svc, const struct entry *e)
{
	struct entry *now = td_alloc(sizeof(*now) + strings_of(e)), *old;

	copy_entry(now, e, (char *)(now + 1));
	old = td_map_set(&svc->entries, now->jid, now);
	if (old == NULL || old->public_room || now->public_room)
		svc->stale = true;
	free(old);
}

static void
drop_entry(struct muc_service *svc, struct td_str jid)
{
	struct entry *old = td_map_del(&svc->entries, jid);

	svc->stale = true;
	free(old);
}

static int
by_jid(const void *a, const void *b)
{
	struct td_str x = (*(struct entry *const *)a)->jid, y = (*(struct entry *const *)b)->jid;
	int c = memcmp(x.p, y.p, x.len < y.len ? x.len : y.len);

	return c != 0 ? c : (x.len > y.len) - (x.len < y.len);
}

static void
sort(struct muc_service *svc)
{
	struct entry *e;
	size_t i = 0;

	if (!svc->stale)
		return;
	svc->sorted = td_realloc(svc->sorted, (svc->entries.len + 1) * sizeof(struct entry *));
	svc->n_sorted = 0;
	while ((e = td_map_next(&svc->entries, &i)) != NULL)
		if (e->public_room)
			svc->sorted[svc->n_sorted++] = e;
	qsort(svc->sorted, svc->n_sorted, sizeof(struct entry *), by_jid);
	svc->stale = false;
}

static void
entry_from_config(const struct muc_config *c, struct entry *e)
{
	e->name = c->name;
	e->desc = c->desc;
	e->lang = c->lang;
	e->public_room = c->public_room;
	e->open = !c->password && !c->members_only;
	e->shows_jids = c->whois != 0;
}

/* ---- pages ---- */

struct page {
	size_t from, n;
	bool whole;
};

/* Which of the <n> entries of <v> are asked for; false: after or before an entry that is not there. */
static bool
page_of(const struct xmpp_rsm *rsm, struct entry *const *v, size_t n, bool sorted_by_jid,
	struct page *out)
{
	unsigned limit = xmpp_rsm_limit(rsm, PAGE_DEFAULT, PAGE_MAX);
	struct td_str key = rsm->after.p != NULL ? rsm->after : rsm->before;
	size_t at = 0;

	*out = (struct page){ 0 };
	if (key.len > 0) {
		struct entry e = { .jid = key }, *pe = &e;

		while (at < n && !td_str_eq(v[at]->jid, key) &&
		       !(sorted_by_jid && by_jid(&v[at], (const void *)&pe) > 0))
			at++;
		if (at == n && !sorted_by_jid)
			return false;
		if (rsm->after.p != NULL && at < n && td_str_eq(v[at]->jid, key))
			at++;
	}
	if (rsm->after.p != NULL) {
		out->from = at;
		out->n = n - at;
	} else if (rsm->before.p != NULL) { /* the last ones before it */
		out->n = key.len > 0 ? at : n;
		if (out->n > limit) {
			out->from = out->n - limit;
			out->n = limit;
		}
	} else {
		out->from = rsm->index > 0 ? (size_t)rsm->index : 0;
		if (out->from > n)
			out->from = n;
		out->n = n - out->from;
	}
	if (out->n > limit)
		out->n = limit;
	out->whole = out->n == n;
	return true;
}

static void
write_set(struct td_buf *b, const struct xmpp_rsm *rsm, struct entry *const *v, size_t n,
	  const struct page *p)
{
	if (!rsm->asked && p->whole)
		return;
	xmpp_rsm_write(b, p->n > 0 ? v[p->from]->jid : TD_STR_NULL, (int64_t)p->from,
		       p->n > 0 ? v[p->from + p->n - 1]->jid : TD_STR_NULL, (int64_t)n);
}

/* ---- disco ---- */

static void
result(struct xmpp_env *env, const struct xmpp_stanza *s, struct td_buf *b)
{
	struct xmpp_stanza *r = xmpp_stanza_result(s);

	xmpp_stanza_append_raw(r, td_buf_str(b));
	td_buf_fini(b);
	xmpp_route(env, r);
}

static void
disco_info(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	static const char *const features[] = {
		NS_DISCO_INFO,
		NS_DISCO_ITEMS,
		NS_MUC,
		NS_MUC "#stable_id",
		NS_MUC_UNIQUE,
		NS_RSM,
		NS_CHANNEL_SEARCH,
		NS_OCCUPANT_ID,
		NS_VCARD,
		NS_SID,
		NS_PING,
		NS_TIME,
		NS_VERSION,
		"muc_rooms",
	};
	struct td_str node = xmpp_node_attr(xmpp_stanza_payload(s), "node");
	struct td_buf b = { 0 };

	if (node.len > 0) {
		xmpp_bounce(env, s, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "'>"
			"<identity category='conference' type='text' name='Chatrooms'/>");
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		td_buf_addf(&b, "<feature var='%s'/>", features[i]);
	td_buf_addz(&b, "</query>");
	result(env, s, &b);
}

static void
disco_items(struct muc_service *svc, const struct xmpp_stanza *s)
{
	struct xmpp_env *env = svc->muc->env;
	const struct xmpp_node *q = xmpp_stanza_payload(s);
	struct td_arena *a = td_arena_new(512);
	struct xmpp_rsm rsm;
	struct td_buf b = { 0 };
	struct page page;

	sort(svc);
	if (xmpp_node_attr(q, "node").len > 0) {
		xmpp_bounce(env, s, XE_ITEM_NOT_FOUND, NULL);
	} else if (!xmpp_rsm_read(q, a, &rsm)) {
		xmpp_bounce(env, s, XE_BAD_REQUEST, NULL);
	} else if (page_of(&rsm, svc->sorted, svc->n_sorted, true, &page)) {
		td_buf_addz(&b, "<query xmlns='" NS_DISCO_ITEMS "'>");
		for (size_t i = 0; i < page.n; i++) {
			const struct entry *e = svc->sorted[page.from + i];

			xmpp_disco_write_item(&b, e->jid,
					      e->name.len > 0 ? e->name
							      : xmpp_jid_view(e->jid).local);
		}
		write_set(&b, &rsm, svc->sorted, svc->n_sorted, &page);
		td_buf_addz(&b, "</query>");
		result(env, s, &b);
	}
	td_arena_free(a);
}

/* ---- search (XEP-0433) ---- */

static void
search_error(struct xmpp_env *env, const struct xmpp_stanza *s, enum xmpp_error e, const char *type,
	     const char *condition, const char *text)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, td_cstr(text));
	struct xmpp_node *err, *n;

	if (r == NULL)
		return;
	err = xmpp_node_child(r->root, NULL, "error");
	xmpp_node_set(r->arena, err, "type", td_cstr(type));
	n = xmpp_node_add(r->arena, err, condition, NS_SEARCH_ERROR);
	if (strcmp(condition, "conflicting-fields") == 0) {
		xmpp_node_add_text(r->arena, xmpp_node_add(r->arena, n, "var", NULL),
				   TD_STR("all"));
		xmpp_node_add_text(r->arena, xmpp_node_add(r->arena, n, "var", NULL), TD_STR("q"));
	}
	xmpp_route(env, r);
}

static void
search_form(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	static const struct xmpp_form_option types[] = {
		{ "xep-0045", "XEP-0045 Multi-User Chat" },
		{ NULL, NULL },
	};
	static const struct xmpp_form_option keys[] = {
		{ KEY_NUSERS, "Number of online users" },
		{ KEY_ADDRESS, "Address" },
		{ NULL, NULL },
	};
	struct td_str type = TD_STR("xep-0045"), key = TD_STR(KEY_ADDRESS);
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<search xmlns='" NS_CHANNEL_SEARCH "'>");
	xmpp_form_open(&b, FORM_FORM, NS_SEARCH_PARAMS);
	xmpp_form_add(&b, "text-single", "q", "Search for", NULL, 0, NULL);
	xmpp_form_add_bool(&b, "all", "Return all entries (ignore search terms)", false);
	xmpp_form_add_bool(&b, "sinname", "Search in name", true);
	xmpp_form_add_bool(&b, "sindescription", "Search in description", true);
	xmpp_form_add_bool(&b, "sinaddress", "Search in address", true);
	xmpp_form_add_int(&b, "text-single", "min_users", "Minimum number of users", 0);
	xmpp_form_add(&b, "list-multi", "types", "Service types", &type, 1, types);
	xmpp_form_add(&b, "list-single", "key", "Sort results by", &key, 1, keys);
	xmpp_form_close(&b);
	td_buf_addz(&b, "</search>");
	result(env, s, &b);
}

struct query {
	struct td_str terms[SEARCH_TERMS];
	size_t n;
	bool all, in_name, in_desc, in_address, by_users, none;
	int64_t min_users;
};

static size_t
characters(struct td_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void
split_terms(struct td_str q, struct query *out)
{
	while (q.len > 0 && out->n < SEARCH_TERMS) {
		size_t len = 0;

		while (len < q.len && strchr(" \t\r\n\"'", q.p[len]) == NULL)
			len++;
		if (characters(td_str(q.p, len)) >= SEARCH_MIN)
			out->terms[out->n++] = td_str(q.p, len);
		len += len < q.len;
		q = td_str(q.p + len, q.len - len);
	}
}

/* False: it was answered. */
static bool
read_query(struct xmpp_env *env, const struct xmpp_stanza *s, const struct xmpp_form *f,
	   struct query *out)
{
	const struct xmpp_form_field *types = xmpp_form_field(f, "types");
	struct td_str q = xmpp_form_value(f, "q"), key = xmpp_form_value(f, "key");

	*out = (struct query){ .in_name = true, .in_desc = true, .in_address = true };
	if (!xmpp_form_bool(f, "all", &out->all) || !xmpp_form_bool(f, "sinname", &out->in_name) ||
	    !xmpp_form_bool(f, "sindescription", &out->in_desc) ||
	    !xmpp_form_bool(f, "sinaddress", &out->in_address) ||
	    !xmpp_form_bool(f, "sinaddr", &out->in_address) ||
	    !xmpp_form_int(f, "min_users", 0, INT32_MAX, &out->min_users)) {
		xmpp_bounce(env, s, XE_BAD_REQUEST, NULL);
		return false;
	}
	out->by_users = td_str_eqc(key, KEY_NUSERS);
	split_terms(q, out);
	for (size_t i = 0; types != NULL && types->n > 0 && i < types->n; i++)
		if (i == 0 || out->none)
			out->none = !td_str_eqc(types->values[i], "xep-0045");
	if (key.len > 0 && !out->by_users && !td_str_eqc(key, KEY_ADDRESS))
		search_error(env, s, XE_FEATURE_NOT_IMPLEMENTED, "modify", "invalid-sort-key",
			     NULL);
	else if (out->all && q.len > 0)
		search_error(env, s, XE_BAD_REQUEST, "modify", "conflicting-fields",
			     "Cannot both return all results and search by keywords.");
	else if (!out->all && q.p == NULL)
		search_error(env, s, XE_BAD_REQUEST, "cancel", "no-search-conditions", NULL);
	else if (!out->all && out->n == 0)
		search_error(env, s, XE_BAD_REQUEST, "modify", "invalid-search-terms",
			     "Search terms must have at least three characters.");
	else
		return true;
	return false;
}

static bool
contains(struct td_str text, struct td_str term)
{
	for (size_t i = 0; i + term.len <= text.len; i++)
		if (td_str_ieq(td_str(text.p + i, term.len), term))
			return true;
	return false;
}

static bool
matches(const struct entry *e, const struct query *q)
{
	if (q->none || e->nusers < (uint64_t)q->min_users)
		return false;
	for (size_t i = 0; !q->all && i < q->n; i++)
		if (!(q->in_name && contains(e->name, q->terms[i])) &&
		    !(q->in_desc && contains(e->desc, q->terms[i])) &&
		    !(q->in_address && contains(e->jid, q->terms[i])))
			return false;
	return true;
}

static int
by_users(const void *a, const void *b)
{
	unsigned x = (*(struct entry *const *)a)->nusers, y = (*(struct entry *const *)b)->nusers;

	return x != y ? (x < y ? 1 : -1) : by_jid(a, b);
}

static void
element(struct td_buf *b, const char *name, struct td_str text)
{
	td_buf_addf(b, "<%s>", name);
	td_buf_add_xml(b, text);
	td_buf_addf(b, "</%s>", name);
}

static void
write_found(struct td_buf *b, const struct entry *e)
{
	td_buf_addz(b, "<item address='");
	td_buf_add_xml(b, e->jid);
	td_buf_addz(b, "'>");
	element(b, "name", e->name.len > 0 ? e->name : xmpp_jid_view(e->jid).local);
	if (e->desc.len > 0)
		element(b, "description", e->desc);
	if (e->lang.len > 0)
		element(b, "language", e->lang);
	td_buf_addf(b, "<nusers>%u</nusers>", e->nusers);
	element(b, "service-type", TD_STR("xep-0045"));
	element(b, "is-open", e->open ? TD_STR("true") : TD_STR("false"));
	element(b, "anonymity-mode",
		e->shows_jids ? TD_STR("{urn:xmpp:channel-search:0:anonymity}none")
			      : TD_STR("muc_semianonymous"));
	td_buf_addz(b, "</item>");
}

static void
find(struct muc_service *svc, const struct xmpp_stanza *s, const struct query *q,
     const struct xmpp_rsm *rsm, struct td_arena *a)
{
	struct xmpp_env *env = svc->muc->env;
	struct entry **v;
	struct td_buf b = { 0 };
	struct page page;
	size_t n = 0;

	sort(svc);
	v = td_arena_alloc(a, (svc->n_sorted + 1) * sizeof(struct entry *));
	for (size_t i = 0; i < svc->n_sorted; i++)
		if (matches(svc->sorted[i], q))
			v[n++] = svc->sorted[i];
	if (q->by_users)
		qsort(v, n, sizeof(struct entry *), by_users);
	if (!page_of(rsm, v, n, !q->by_users, &page)) {
		xmpp_bounce(env, s, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	td_buf_addz(&b, "<result xmlns='" NS_CHANNEL_SEARCH "'>");
	for (size_t i = 0; i < page.n; i++)
		write_found(&b, v[page.from + i]);
	write_set(&b, rsm, v, n, &page);
	td_buf_addz(&b, "</result>");
	result(env, s, &b);
}

static void
search(struct muc_service *svc, const struct xmpp_stanza *s)
{
	struct xmpp_env *env = svc->muc->env;
	const struct xmpp_node *p = xmpp_stanza_payload(s), *x = xmpp_form_find(p);
	struct td_arena *a = td_arena_new(1024);
	struct xmpp_form form;
	struct xmpp_rsm rsm;
	struct query q;

	if (x == NULL)
		search_form(env, s);
	else if (xmpp_form_read(a, x, &form) < 0 || form.kind != FORM_SUBMIT ||
		 !td_str_eqc(form.type, NS_SEARCH_PARAMS) || !xmpp_rsm_read(p, a, &rsm))
		xmpp_bounce(env, s, XE_BAD_REQUEST, NULL);
	else if (read_query(env, s, &form, &q))
		find(svc, s, &q, &rsm, a);
	td_arena_free(a);
}

/* ---- the directory ---- */

struct granted {
	bool yes;
	size_t len;
	char room[];
};

static void
on_granted(struct xmpp_env *env, void *arg)
{
	struct granted *g = arg;

	if (env != NULL)
		muc_room_granted(env->module_data[XMPP_SLOT_MUC], td_str(g->room, g->len), g->yes);
	free(g);
}

static void
call(struct xmpp_env *env, unsigned index, void (*fn)(struct xmpp_env *, void *), void *arg)
{
	if (index == env->index || env->host->post == NULL)
		fn(env, arg);
	else
		env->host->post(env, index, fn, arg);
}

static void
grant(struct muc_service *svc, const struct message *m)
{
	struct xmpp_env *env = svc->muc->env;
	struct conf_at at = { .domain = svc->domain };
	struct granted *g = td_alloc(sizeof(*g) + m->e.jid.len);

	g->len = m->e.jid.len;
	memcpy(g->room, m->e.jid.p, g->len);
	g->yes = td_map_find(&svc->entries, m->e.jid) != NULL ||
		 svc->entries.len < (uint64_t)conf_int(env->conf, &at, "max_rooms");
	if (g->yes)
		set_entry(svc, &m->e);
	call(env, m->from, on_granted, g);
}

static void
message_free(struct message *m)
{
	xmpp_stanza_unref(&m->s);
	free(m);
}

static void
apply(struct muc_service *svc, struct message *m)
{
	switch (m->op) {
	case OP_ASK: grant(svc, m); break;
	case OP_UPDATE: set_entry(svc, &m->e); break;
	case OP_DROP: drop_entry(svc, m->e.jid); break;
	case OP_STANZA:
		if (xmpp_node_is(xmpp_stanza_payload(m->s), NS_DISCO_ITEMS, "query"))
			disco_items(svc, m->s);
		else
			search(svc, m->s);
		break;
	}
	message_free(m);
}

static void
on_listed(void *arg, const struct store_result *r, const struct store_muc_room *rooms, size_t n)
{
	struct load *load = arg;
	struct muc_service *svc = load->svc;
	const struct muc_config_limits lim = { 0 };
	struct message *m;

	free(load);
	if (svc == NULL)
		return;
	svc->load = NULL;
	svc->loaded = r->rc == 0;
	if (r->rc < 0)
		td_log_error(&svc->muc->env->log, "muc-load-failed", "room=%s error=%s",
			     td_esc(svc->domain), td_escz(r->error));
	for (size_t i = 0; i < n; i++) {
		struct muc_config *c = muc_config_load(rooms[i].props, rooms[i].n_props, &lim);
		struct entry e = { .jid = rooms[i].jid };

		entry_from_config(c, &e);
		if (td_map_find(&svc->entries, e.jid) == NULL)
			set_entry(svc, &e);
		muc_config_free(c);
	}
	while ((m = STAILQ_FIRST(&svc->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&svc->waiting, link);
		apply(svc, m);
	}
}

static struct muc_service *
service_of(struct muc *muc, struct td_str domain)
{
	struct muc_service *svc = td_map_find(&muc->services, domain);

	if (svc != NULL)
		return svc;
	svc = td_zalloc(sizeof(*svc));
	svc->muc = muc;
	svc->domain = td_str(td_strndup(domain), domain.len);
	svc->stale = true;
	STAILQ_INIT(&svc->waiting);
	(void)td_map_set(&muc->services, svc->domain, svc);
	return svc;
}

static void
on_message(struct xmpp_env *env, void *arg)
{
	struct message *m = arg;
	struct muc_service *svc;
	struct muc *muc;

	if (env == NULL || (muc = env->module_data[XMPP_SLOT_MUC]) == NULL) {
		message_free(m);
		return;
	}
	svc = service_of(muc,
			 m->op == OP_STANZA ? m->s->to.domain : xmpp_jid_view(m->e.jid).domain);
	if (svc->loaded) {
		apply(svc, m);
		return;
	}
	STAILQ_INSERT_TAIL(&svc->waiting, m, link);
	if (svc->load == NULL) {
		svc->load = td_alloc(sizeof(*svc->load));
		svc->load->svc = svc;
		store_muc_list(env->store, svc->domain, env->loop, on_listed, svc->load);
	}
}

static void
send_message(struct muc_room *room, enum op op, struct entry *e)
{
	struct message *m;

	e->jid = room->jid.full;
	m = td_zalloc(sizeof(*m) + strings_of(e));
	m->op = op;
	m->from = room->env->index;
	copy_entry(&m->e, e, (char *)(m + 1));
	call(room->env, xmpp_owner(room->env, room->jid.domain), on_message, m);
}

void
muc_directory_ask(struct muc_room *room)
{
	struct entry e = { 0 };

	send_message(room, OP_ASK, &e);
}

void
muc_directory_update(struct muc_room *room)
{
	struct entry e = { .nusers = room->by_nick.len };

	if (!room->counted || room->cfg == NULL)
		return;
	entry_from_config(room->cfg, &e);
	if (room->state != MUC_OPEN)
		e.public_room = false;
	send_message(room, OP_UPDATE, &e);
}

void
muc_directory_drop(struct muc_room *room)
{
	struct entry e = { 0 };

	if (room->counted)
		send_message(room, OP_DROP, &e);
	room->counted = false;
}

void
muc_services_free(struct muc *muc)
{
	struct muc_service *svc;
	size_t i = 0;

	while ((svc = td_map_next(&muc->services, &i)) != NULL) {
		struct message *m;
		struct entry *e;
		size_t k = 0;

		if (svc->load != NULL)
			svc->load->svc = NULL;
		while ((m = STAILQ_FIRST(&svc->waiting)) != NULL) {
			STAILQ_REMOVE_HEAD(&svc->waiting, link);
			message_free(m);
		}
		while ((e = td_map_next(&svc->entries, &k)) != NULL)
			free(e);
		td_map_fini(&svc->entries);
		free(svc->sorted);
		free((void *)(uintptr_t)svc->domain.p);
		free(svc);
	}
	td_map_fini(&muc->services);
}

/* ---- requests ---- */

static void
unique(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	struct td_buf b = { 0 };
	char name[25];

	td_random_id(name, 24); /* 120 bits: nobody has it, and nobody can guess it */
	td_buf_addf(&b, "<unique xmlns='" NS_MUC_UNIQUE "'>%s</unique>", name);
	result(env, s, &b);
}

void
muc_on_service(struct xmpp_env *env, struct xmpp_stanza *s)
{
	const struct xmpp_node *p =
		s->kind == XK_IQ && s->type == XT_GET ? xmpp_stanza_payload(s) : NULL;
	struct message *m;

	if (p != NULL && xmpp_node_is(p, NS_DISCO_INFO, "query")) {
		disco_info(env, s);
	} else if (p != NULL && xmpp_node_is(p, NS_MUC_UNIQUE, "unique")) {
		unique(env, s);
	} else if (p != NULL && (xmpp_node_is(p, NS_DISCO_ITEMS, "query") ||
				 xmpp_node_is(p, NS_CHANNEL_SEARCH, "search"))) {
		m = td_zalloc(sizeof(*m));
		m->op = OP_STANZA;
		m->s = s;
		on_message(env, m);
		return;
	} else {
		xmpp_deliver_server(env, s); /* ping, version, time, and the error for the rest */
		return;
	}
	xmpp_stanza_unref(&s);
}

const struct xmpp_module xep_0307_unique_name = {
	.name = "xep-0307-unique-name",
	.xep = "0307",
	.doc = "The chat service names a room that nobody has",
	.version = "0.1",
};
const struct xmpp_module xep_0433_channel_search = {
	.name = "xep-0433-channel-search",
	.xep = "0433",
	.doc = "Search among the public rooms of a chat service",
	.version = "0.1.0",
};
