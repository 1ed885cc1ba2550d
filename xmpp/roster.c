/* roster - the contacts of an account: reading, changing, pushing (RFC 6121 section 2).
 *
 * The truth in memory is user->roster; every change is written through to the store and told
 * to the clients only after its commit.  Replies of the store about one account come in order,
 * so pushes carry rising versions.
 *
 * Versions are the store's counter as text.  While a client catches up after an absence it may
 * also hold "N.k": everything up to N and some of the removals after it (2.6.3). */
#include "xmpp/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/component.h"
#include "xmpp/im.h"

#define HIDDEN_MAX 1000u /* requests of strangers that wait for an answer */
#define NAME_MAX_LEN 1023u
#define GROUP_MAX_LEN 1023u
#define GROUPS_MAX 100u

/* ---- contacts ---- */

static struct td_str
put_str(char **at, struct td_str s)
{
	char *p = *at;

	if (s.p == NULL)
		return TD_STR_NULL;
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	*at = p + s.len + 1;
	return td_str(p, s.len);
}

struct xmpp_contact *
xmpp_contact_new(const struct store_contact *from)
{
	size_t n = sizeof(struct xmpp_contact) + from->n_groups * sizeof(struct td_str) +
		   from->jid.len + from->name.len + from->pending_stanza.len + 3;
	struct xmpp_contact *c;
	char *at;

	for (size_t i = 0; i < from->n_groups; i++)
		n += from->groups[i].len + 1;
	c = td_zalloc(n);
	c->groups = (struct td_str *)(c + 1);
	at = (char *)(c->groups + from->n_groups);
	c->jid = put_str(&at, from->jid);
	c->name = put_str(&at, from->name);
	c->pending = put_str(&at, from->pending_stanza);
	for (size_t i = 0; i < from->n_groups; i++)
		c->groups[i] = put_str(&at, from->groups[i]);
	c->n_groups = (uint16_t)from->n_groups;
	c->sub = (uint8_t)from->sub;
	c->flags = (uint8_t)from->flags;
	c->ver = from->ver;
	return c;
}

struct store_contact
xmpp_contact_view(const struct xmpp_contact *c)
{
	return (struct store_contact){
		.jid = c->jid,
		.name = c->name,
		.sub = (enum store_subscription)c->sub,
		.flags = c->flags,
		.groups = c->groups,
		.n_groups = c->n_groups,
		.pending_stanza = c->pending,
		.ver = c->ver,
	};
}

void
xmpp_roster_load(struct xmpp_user *u, const struct store_roster *ro)
{
	for (size_t i = 0; i < ro->n; i++) {
		struct xmpp_contact *c;

		if (ro->contacts[i].n_groups > UINT16_MAX)
			continue;
		c = xmpp_contact_new(&ro->contacts[i]);
		free(td_map_set(&u->roster, c->jid, c));
	}
	u->roster_ver = ro->ver;
}

void
xmpp_roster_free(struct xmpp_user *u)
{
	struct xmpp_contact *c;
	size_t i = 0;

	while ((c = td_map_next(&u->roster, &i)) != NULL)
		free(c);
	td_map_fini(&u->roster);
}

static bool
shown(const struct xmpp_contact *c)
{
	return (c->flags & STORE_ROSTER_HIDDEN) == 0;
}

static size_t
count(const struct xmpp_user *u, bool hidden)
{
	const struct xmpp_contact *c;
	size_t i = 0, n = 0;

	while ((c = td_map_next(&u->roster, &i)) != NULL)
		n += shown(c) != hidden;
	return n;
}

bool
xmpp_roster_has_room(const struct xmpp_user *u, bool hidden)
{
	struct conf_at at = { .protocol = "xmpp", .domain = u->domain };
	size_t max = HIDDEN_MAX;

	if (!hidden) {
		at.scope = conf_next(u->env->conf, NULL, "xmpp", NULL);
		max = (size_t)conf_int(u->env->conf, &at, "max_roster");
	}
	/* the map holds both kinds: most rosters need no walk */
	return u->roster.len < max || count(u, hidden) < max;
}

/* ---- change ---- */

static void
settle(struct xmpp_change *ch, struct xmpp_user *u, const struct store_result *r, int rc)
{
	struct xmpp_contact *cur = td_map_find(&u->roster, ch->jid);

	if (rc == 0) {
		if (cur != NULL && cur == ch->now)
			cur->ver = r->id;
		if (r->id > u->roster_ver)
			u->roster_ver = r->id;
		return;
	}
	if (rc != TD_E_NOTFOUND) /* the account was deleted just now */
		td_log_error(&u->env->log, "roster-write-failed", "user=%s contact=%s error=%s",
			     td_esc(u->bare), td_esc(ch->jid), td_escz(r->error));
	if (cur != ch->now)
		return; /* a later change stands on this one and will tell */
	if (ch->old != NULL)
		(void)td_map_set(&u->roster, ch->old->jid, ch->old);
	else
		(void)td_map_del(&u->roster, ch->jid);
	ch->old = NULL;
	free(cur);
}

static bool
same_groups(const struct xmpp_contact *a, const struct xmpp_contact *b)
{
	unsigned n = a != NULL ? a->n_groups : 0;

	if (n != (b != NULL ? b->n_groups : 0u))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (!td_str_eq(a->groups[i], b->groups[i]))
			return false;
	return true;
}

static void
tell_modules(struct xmpp_user *u, struct td_str jid, const struct xmpp_contact *old)
{
	const struct xmpp_contact *now = xmpp_user_contact(u, jid);
	unsigned before = old != NULL ? old->sub : STORE_SUB_NONE;
	unsigned after = now != NULL ? now->sub : STORE_SUB_NONE;

	if (before == after && same_groups(old, now))
		return;
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->subscription != NULL)
			(*m)->subscription(u, jid, before, after);
}

static void
on_committed(void *arg, const struct store_result *r)
{
	struct xmpp_change *ch = arg;
	struct xmpp_env *env = ch->call.env;
	struct xmpp_user *u = ch->call.user;
	char *jid = ch->jid_mem;
	struct xmpp_contact *old;
	int rc = r->rc;

	/* removing what was never committed */
	if (rc == TD_E_NOTFOUND && ch->now == NULL)
		rc = 0;
	if (env != NULL) {
		settle(ch, u, r, rc);
		LIST_REMOVE(&ch->call, link);
	} else {
		rc = TD_E_BUSY;
	}
	old = ch->old;
	if (env != NULL && rc == 0)
		tell_modules(u, td_str(jid, ch->jid.len), old);
	ch->done(ch, env, u, rc); /* ch is gone from here on */
	free(old);
	free(jid);
	if (env != NULL)
		xmpp_user_release(u);
}

void
xmpp_roster_commit(struct xmpp_user *u, struct td_str jid, struct xmpp_contact *next,
		   struct xmpp_change *ch)
{
	struct store_to to = { u->env->loop, on_committed, ch };

	/* <jid> may live in the contact that goes */
	ch->jid_mem = td_strndup(jid);
	ch->jid = td_str(ch->jid_mem, jid.len);
	ch->now = next;
	xmpp_call_begin(&ch->call, u);
	if (next != NULL) {
		struct store_contact sc = xmpp_contact_view(next);

		ch->old = td_map_set(&u->roster, next->jid, next);
		store_roster_set(u->env->store, u->bare, &sc, to);
	} else {
		ch->old = td_map_del(&u->roster, ch->jid);
		store_roster_del(u->env->store, u->bare, ch->jid, to);
	}
}

struct save {
	struct xmpp_change ch;
	void (*done)(struct xmpp_user *, int, void *);
	void *arg;
};

static void
save_done(struct xmpp_change *ch, struct xmpp_env *env, struct xmpp_user *u, int rc)
{
	struct save *sv = (struct save *)ch;

	(void)env;
	if (sv->done != NULL)
		sv->done(u, rc, sv->arg);
	free(sv);
}

void
xmpp_roster_save(struct xmpp_user *u, struct xmpp_contact *c,
		 void (*done)(struct xmpp_user *, int rc, void *), void *arg)
{
	struct save *sv = td_zalloc(sizeof(*sv));

	sv->ch.done = save_done;
	sv->done = done;
	sv->arg = arg;
	xmpp_roster_commit(u, c->jid, c, &sv->ch);
}

/* ---- items and pushes ---- */

static void
write_removed(struct td_buf *b, struct td_str jid)
{
	td_buf_addz(b, "<item jid='");
	td_buf_add_xml(b, jid);
	td_buf_addz(b, "' subscription='remove'/>");
}

static void
write_item(struct td_buf *b, const struct xmpp_contact *c)
{
	td_buf_addz(b, "<item jid='");
	td_buf_add_xml(b, c->jid);
	if (c->name.p != NULL) {
		td_buf_addz(b, "' name='");
		td_buf_add_xml(b, c->name);
	}
	td_buf_addz(b, "' subscription='");
	td_buf_addz(b, store_sub_names[c->sub & STORE_SUB_BOTH]);
	if (c->flags & STORE_ROSTER_ASK)
		td_buf_addz(b, "' ask='subscribe");
	if (c->flags & STORE_ROSTER_APPROVED)
		td_buf_addz(b, "' approved='true");
	if (c->n_groups == 0) {
		td_buf_addz(b, "'/>");
		return;
	}
	td_buf_addz(b, "'>");
	for (unsigned i = 0; i < c->n_groups; i++) {
		td_buf_addz(b, "<group>");
		td_buf_add_xml(b, c->groups[i]);
		td_buf_addz(b, "</group>");
	}
	td_buf_addz(b, "</item>");
}

/* One push: <removed> when c is NULL. */
static void
write_push(struct td_buf *b, const char *ver, const struct xmpp_contact *c, struct td_str removed)
{
	td_buf_addf(b, "<query xmlns='" NS_ROSTER "' ver='%s'>", ver);
	if (c != NULL)
		write_item(b, c);
	else
		write_removed(b, removed);
	td_buf_addz(b, "</query>");
}

static void
push_to(struct xmpp_session *sess, struct td_str query)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_IQ, XT_SET);
	char id[16] = "push-";

	td_random_id(id + 5, 10);
	xmpp_stanza_set_id(s, td_cstr(id));
	/* no 'from': implicitly the account (2.1.6) */
	xmpp_stanza_set_to(s, &sess->jid);
	xmpp_stanza_append_raw(s, query);
	xmpp_stanza_seal(s);
	xmpp_session_send(sess, s);
	xmpp_stanza_unref(&s);
}

void
xmpp_roster_push(struct xmpp_user *u, const struct xmpp_contact *c, bool removed)
{
	struct xmpp_session *sess, *next;
	struct td_buf b = { 0 };
	char ver[24];

	(void)snprintf(ver, sizeof(ver), "%llu", (unsigned long long)u->roster_ver);
	write_push(&b, ver, removed ? NULL : c, c->jid);
	for (sess = TAILQ_FIRST(&u->sessions); sess != NULL; sess = next) {
		next = TAILQ_NEXT(sess, link);
		if (sess->interested && !sess->dead)
			push_to(sess, td_buf_str(&b));
	}
	xmpp_privilege_push(u, td_buf_str(&b));
	td_buf_fini(&b);
}

/* ---- get ---- */

struct catch_up {
	struct xmpp_call call;
	struct xmpp_stanza *s; /* the roster get */
	uint64_t base;
};

/* "N" or "N.k"; exact: the client has all of N and nothing after. */
static bool
parse_ver(struct td_str s, uint64_t *base, bool *exact)
{
	ptrdiff_t dot = td_str_chr(s, '.');
	int64_t n;

	*exact = dot < 0;
	if (dot >= 0)
		s.len = (size_t)dot;
	if (s.len == 0 || !td_str_to_dec(s, 0, INT64_MAX, &n))
		return false;
	*base = (uint64_t)n;
	return true;
}

static void
answer_whole(struct xmpp_iq *iq)
{
	const struct xmpp_contact *c;
	struct td_buf b = { 0 };
	size_t i = 0;

	td_buf_addf(&b, "<query xmlns='" NS_ROSTER "' ver='%llu'",
		    (unsigned long long)iq->user->roster_ver);
	if (iq->user->roster.len == 0) {
		td_buf_addz(&b, "/>");
	} else {
		td_buf_addc(&b, '>');
		while ((c = td_map_next(&iq->user->roster, &i)) != NULL)
			if (shown(c))
				write_item(&b, c);
		td_buf_addz(&b, "</query>");
	}
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
}

static int
by_ver(const void *a, const void *b)
{
	const struct xmpp_contact *const *x = a, *const *y = b;

	return ((*x)->ver > (*y)->ver) - ((*x)->ver < (*y)->ver);
}

/* Contacts changed after <base>, oldest first; the caller frees the list. */
static const struct xmpp_contact **
changed_since(const struct xmpp_user *u, uint64_t base, size_t *n_out)
{
	const struct xmpp_contact **list = td_alloc((u->roster.len + 1) * sizeof(*list));
	const struct xmpp_contact *c;
	size_t i = 0, n = 0;

	while ((c = td_map_next(&u->roster, &i)) != NULL)
		if (shown(c) && c->ver > base)
			list[n++] = c;
	if (n > 1)
		qsort(list, n, sizeof(struct xmpp_contact *), by_ver);
	*n_out = n;
	return list;
}

static void
push_version(struct xmpp_session *sess, const char *ver, const struct xmpp_contact *c,
	     struct td_str removed)
{
	struct td_buf b = { 0 };

	write_push(&b, ver, c, removed);
	push_to(sess, td_buf_str(&b));
	td_buf_fini(&b);
}

/* The empty result, removals, changes in order; the last push brings the client to the present
 * version.  False: the whole roster is shorter, nothing was sent. */
static bool
send_changes(struct xmpp_session *sess, struct xmpp_stanza *get, uint64_t base,
	     const struct td_str *gone, size_t n_gone)
{
	struct xmpp_user *u = sess->user;
	unsigned long long now = u->roster_ver;
	struct xmpp_stanza *result;
	const struct xmpp_contact **changed;
	size_t n, left;
	char ver[48];

	changed = changed_since(u, base, &n);
	if (n + n_gone > count(u, false)) {
		free(changed);
		return false;
	}
	/* straight to the session: the pushes must not overtake it */
	result = xmpp_stanza_result(get);
	xmpp_stanza_seal(result);
	xmpp_session_send(sess, result);
	xmpp_stanza_unref(&result);
	left = n + n_gone;
	for (size_t i = 0; i < n_gone && !sess->dead; i++) {
		const struct xmpp_contact *c = td_map_find(&u->roster, gone[i]);

		if (--left == 0)
			(void)snprintf(ver, sizeof(ver), "%llu", now);
		else
			(void)snprintf(ver, sizeof(ver), "%llu.%zu", (unsigned long long)base,
				       i + 1);
		/* it may have come back since the store was asked */
		push_version(sess, ver, c != NULL && shown(c) ? c : NULL, gone[i]);
	}
	for (size_t i = 0; i < n && !sess->dead; i++) {
		(void)snprintf(ver, sizeof(ver), "%llu",
			       --left == 0 ? now : (unsigned long long)changed[i]->ver);
		push_version(sess, ver, changed[i], TD_STR_NULL);
	}
	free(changed);
	return true;
}

static void
on_removed(void *arg, const struct store_result *r, const struct td_str *gone, size_t n)
{
	struct catch_up *cu = arg;
	struct xmpp_user *u = cu->call.user;
	struct xmpp_session *sess = u != NULL ? xmpp_session_find(u, cu->s->from.resource) : NULL;

	if (sess != NULL && !sess->dead) {
		struct xmpp_iq iq = { .env = u->env, .s = cu->s, .user = u, .sess = sess };

		sess->interested = true;
		if (r->rc < 0 || r->id == 0 || !send_changes(sess, cu->s, cu->base, gone, n))
			answer_whole(&iq);
	}
	xmpp_stanza_unref(&cu->s);
	xmpp_call_end(&cu->call);
	free(cu);
}

static int
roster_get(struct xmpp_iq *iq)
{
	struct xmpp_user *u = iq->user;
	struct td_str ver = xmpp_node_attr(iq->payload, "ver");
	struct catch_up *cu;
	uint64_t base = 0;
	bool exact;

	if (xmpp_node_child(iq->payload, NULL, "item") != NULL) {
		xmpp_iq_error(iq, XE_BAD_REQUEST, "a roster get holds no item");
		return XMPP_DONE;
	}
	if (ver.p == NULL || iq->sess == NULL || !parse_ver(ver, &base, &exact) ||
	    base > u->roster_ver) {
		if (iq->sess != NULL)
			iq->sess->interested = true;
		answer_whole(iq);
		return XMPP_DONE;
	}
	if (exact && base == u->roster_ver) {
		iq->sess->interested = true;
		xmpp_iq_result(iq, TD_STR_NULL);
		return XMPP_DONE;
	}
	cu = td_zalloc(sizeof(*cu));
	cu->s = xmpp_stanza_ref(iq->s);
	cu->base = base;
	xmpp_call_begin(&cu->call, u);
	store_roster_removed(iq->env->store, u->bare, base, iq->env->loop, on_removed, cu);
	return XMPP_LATER;
}

/* ---- set ---- */

struct item {
	struct xmpp_jid jid;
	struct td_str name;
	struct td_str groups[GROUPS_MAX];
	size_t n_groups;
	bool remove;
};
struct verdict {
	bool bad;
	enum xmpp_error e;
	const char *text;
};

static struct verdict
refuse(enum xmpp_error e, const char *text)
{
	return (struct verdict){ true, e, text };
}

static struct verdict
parse_groups(struct td_arena *a, const struct xmpp_node *n, struct item *it)
{
	const struct xmpp_node *g;

	for (g = xmpp_node_child(n, NULL, NULL); g != NULL; g = xmpp_node_next_elem(g)) {
		struct td_str text;

		if (!xmpp_node_is(g, NS_ROSTER, "group"))
			continue;
		text = xmpp_node_text(a, g);
		if (text.len == 0)
			return refuse(XE_NOT_ACCEPTABLE, "a group without a name");
		if (text.len > GROUP_MAX_LEN || it->n_groups == GROUPS_MAX)
			return refuse(XE_NOT_ACCEPTABLE,
				      "a group name too long, or too many groups");
		for (size_t i = 0; i < it->n_groups; i++)
			if (td_str_eq(it->groups[i], text))
				return refuse(XE_BAD_REQUEST, "the same group twice");
		it->groups[it->n_groups++] = text;
	}
	return (struct verdict){ 0 };
}

/* RFC 6121 2.1.5, 2.3.3; 'ask', 'approved' and other values of 'subscription' do not count. */
static struct verdict
parse_item(const struct xmpp_iq *iq, struct td_arena *a, struct item *it)
{
	const struct xmpp_node *n = xmpp_node_child(iq->payload, NS_ROSTER, "item");
	struct td_str jid;

	if (n == NULL)
		return refuse(XE_BAD_REQUEST, "no item");
	for (const struct xmpp_node *o = xmpp_node_next_elem(n); o != NULL;
	     o = xmpp_node_next_elem(o))
		if (xmpp_node_is(o, NS_ROSTER, "item"))
			return refuse(XE_BAD_REQUEST, "more than one item");
	jid = xmpp_node_attr(n, "jid");
	if (jid.p == NULL)
		return refuse(XE_BAD_REQUEST, "an item without jid");
	if (xmpp_jid_parse(a, jid, &it->jid, NULL) < 0)
		return refuse(XE_JID_MALFORMED, NULL);
	if (!xmpp_jid_is_bare(&it->jid))
		return refuse(XE_BAD_REQUEST, "contacts have bare addresses");
	it->remove = td_str_eqc(xmpp_node_attr(n, "subscription"), "remove");
	if (it->remove)
		return (struct verdict){ 0 };
	if (td_str_eq(it->jid.bare, iq->user->bare))
		return refuse(XE_NOT_ALLOWED, "this is your own address");
	it->name = xmpp_node_attr(n, "name");
	if (it->name.len == 0)
		it->name = TD_STR_NULL;
	if (it->name.len > NAME_MAX_LEN)
		return refuse(XE_NOT_ACCEPTABLE, "the name is too long");
	return parse_groups(a, n, it);
}

struct set {
	struct xmpp_change ch;
	struct xmpp_stanza *s;
	bool remove;
};

static void
set_done(struct xmpp_change *ch, struct xmpp_env *env, struct xmpp_user *u, int rc)
{
	struct set *st = (struct set *)ch;

	if (env != NULL) {
		struct xmpp_iq iq = { .env = env, .s = st->s, .user = u };

		iq.payload = xmpp_stanza_payload(st->s);
		if (td_str_eq(st->s->from.bare, u->bare))
			iq.sess = xmpp_session_find(u, st->s->from.resource);
		if (rc < 0) {
			xmpp_iq_error(&iq,
				      rc == TD_E_FULL ? XE_RESOURCE_CONSTRAINT
						      : XE_INTERNAL_SERVER_ERROR,
				      "the roster could not be written");
		} else {
			const struct xmpp_contact *c =
				st->remove ? ch->old : xmpp_user_contact(u, ch->jid);

			xmpp_iq_result(&iq, TD_STR_NULL);
			if (c != NULL)
				xmpp_roster_push(u, c, st->remove);
			if (c != NULL && st->remove)
				xmpp_subscription_cut(u, c);
		}
	}
	xmpp_stanza_unref(&st->s);
	free(st);
}

static struct verdict
start_set(struct xmpp_iq *iq, const struct item *it)
{
	struct xmpp_user *u = iq->user;
	const struct xmpp_contact *have = xmpp_user_contact(u, it->jid.bare);
	struct store_contact sc = { .jid = it->jid.bare };
	struct set *st;

	if (it->remove && (have == NULL || !shown(have)))
		return refuse(XE_ITEM_NOT_FOUND, NULL);
	if (!it->remove && (have == NULL || !shown(have)) && !xmpp_roster_has_room(u, false))
		return refuse(XE_RESOURCE_CONSTRAINT, "the roster is full");
	if (have != NULL)
		sc = xmpp_contact_view(have);
	sc.flags &= ~STORE_ROSTER_HIDDEN;
	sc.name = it->name;
	sc.groups = it->groups;
	sc.n_groups = it->n_groups;
	st = td_zalloc(sizeof(*st));
	st->ch.done = set_done;
	st->s = xmpp_stanza_ref(iq->s);
	st->remove = it->remove;
	xmpp_roster_commit(u, it->jid.bare, it->remove ? NULL : xmpp_contact_new(&sc), &st->ch);
	return (struct verdict){ 0 };
}

static int
roster_set(struct xmpp_iq *iq)
{
	struct td_arena *a = td_arena_new(4096);
	struct item *it = td_arena_zalloc(a, sizeof(*it));
	struct verdict v = parse_item(iq, a, it);

	if (!v.bad)
		v = start_set(iq, it);
	if (v.bad)
		xmpp_iq_error(iq, v.e, v.text);
	td_arena_free(a);
	return v.bad ? XMPP_DONE : XMPP_LATER;
}

int
xmpp_roster_iq(struct xmpp_iq *iq)
{
	/* the dispatcher lets only the account itself in (IQ_OWN_ONLY); rosters are private
	 * enough to look twice */
	if (iq->user == NULL ||
	    (!td_str_eq(iq->s->from.bare, iq->user->bare) && !(iq->s->flags & XF_PRIVILEGED))) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	return iq->s->type == XT_GET ? roster_get(iq) : roster_set(iq);
}
