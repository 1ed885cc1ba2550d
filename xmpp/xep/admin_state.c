/* admin_state - what administrators set, a copy in every worker.
 *
 *   store (admin.c) <- change, committed -> struct change -> apply, on each worker
 *
 * A message of the day has a mark; an account that got it has the mark as its setting "+motd".  So a domain without one costs
 * nothing, and everybody gets it once, also after a restart. */
#include <stdatomic.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/admin_priv.h"

#define SEEN "+motd"
#define MARK_CHARS 12u

struct admin_domain {
	struct td_arena *admins_mem;
	struct td_str *admins;
	size_t n_admins;
	char *texts[STORE_TEXTS], *mark; /* mark: of the message of the day */
	struct td_map lists[2]; /* black, white: addresses; the value is the key's memory */
	bool changed;           /* since the start: what is loaded late is older */
	char name[];
};

struct admin_env {
	struct td_map domains;
	bool filters; /* some domain has a black- or whitelist */
};

/* One change on its way to all workers; the last one frees it. */
struct change {
	_Atomic unsigned refs;
	struct td_arena *a;
	void (*apply)(struct xmpp_env *env, const struct change *c);
	struct td_str domain; /* TD_STR_NULL: all */
	enum store_text kind;
	struct td_str mark, text;
	struct td_str *jids;
	size_t n;
	bool tell; /* who is online gets the message of the day now */
	void (*done)(void *arg, int rc);
	void *arg;
	struct xmpp_env *env; /* where it came from */
};

static struct admin_env *
admin_of(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_ADMIN];
}

static struct admin_domain *
find_domain(struct xmpp_env *env, struct td_str name)
{
	if (admin_of(env) == NULL) /* the server goes down */
		return NULL;
	return td_map_find(&admin_of(env)->domains, name);
}

static struct admin_domain *
need_domain(struct xmpp_env *env, struct td_str name)
{
	struct admin_domain *d = find_domain(env, name);

	if (d != NULL)
		return d;
	d = td_zalloc(sizeof(*d) + name.len + 1);
	memcpy(d->name, name.p, name.len);
	(void)td_map_set(&admin_of(env)->domains, td_str(d->name, name.len), d);
	return d;
}

/* ---- lists of addresses ---- */

static void
list_clear(struct td_map *m)
{
	char *jid;
	size_t i = 0;

	while ((jid = td_map_next(m, &i)) != NULL)
		free(jid);
	td_map_fini(m);
	*m = (struct td_map){ 0 };
}

static void
list_fill(struct td_map *m, struct td_str text)
{
	list_clear(m);
	while (text.len > 0) {
		ptrdiff_t nl = td_str_chr(text, '\n');
		size_t len = nl < 0 ? text.len : (size_t)nl;
		char *jid = td_strndup(td_str(text.p, len));

		free(td_map_set(m, td_str(jid, len), jid));
		len += nl < 0 ? 0 : 1;
		text = td_str(text.p + len, text.len - len);
	}
}

/* XEP-0016 2.1: user@domain/resource, user@domain, domain/resource, domain. */
static bool
list_has(const struct td_map *m, const struct xmpp_jid *j)
{
	char buf[2200];
	size_t n = j->domain.len + 1 + j->resource.len;

	if (m->len == 0)
		return false;
	if (td_map_find(m, j->full) != NULL || td_map_find(m, j->bare) != NULL ||
	    td_map_find(m, j->domain) != NULL)
		return true;
	if (j->resource.p == NULL || n > sizeof(buf))
		return false;
	memcpy(buf, j->domain.p, j->domain.len);
	buf[j->domain.len] = '/';
	memcpy(buf + j->domain.len + 1, j->resource.p, j->resource.len);
	return td_map_find(m, td_str(buf, n)) != NULL;
}

static bool
is_below(struct td_str name, struct td_str domain)
{
	return td_str_eq(name, domain) ||
	       (name.len > domain.len + 1 && name.p[name.len - domain.len - 1] == '.' &&
		td_str_eq(td_str(name.p + name.len - domain.len, domain.len), domain));
}

/* May the account and <other> not talk?  Everybody talks with oneself and with one's domain, where administrators are. */
static bool
is_barred(const struct xmpp_user *u, const struct xmpp_jid *other)
{
	const struct admin_domain *d = find_domain(u->env, u->domain);
	struct xmpp_jid me;

	if (d == NULL || (d->lists[0].len == 0 && d->lists[1].len == 0) ||
	    td_str_eq(other->bare, u->bare) || td_str_eq(other->bare, u->domain))
		return false;
	me = xmpp_jid_view(u->bare);
	if (list_has(&d->lists[0], other) || td_map_find(&d->lists[0], me.bare) != NULL)
		return true;
	return d->lists[1].len > 0 && !is_below(other->domain, u->domain) &&
	       !list_has(&d->lists[1], other);
}

static bool
has_filters(struct xmpp_env *env)
{
	return admin_of(env) != NULL && admin_of(env)->filters;
}

int
admin_state_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_stanza *e;

	if (!has_filters(sess->env) || s->to.full.p == NULL || !is_barred(sess->user, &s->to))
		return XMPP_PASS;
	/* not by the router: it comes from who may not talk with us */
	e = xmpp_stanza_error(s, XE_NOT_ALLOWED,
			      TD_STR("This server does not talk with that address."));
	if (e != NULL) {
		xmpp_stanza_seal(e);
		xmpp_session_send(sess, e);
		xmpp_stanza_unref(&e);
	}
	return XMPP_DONE;
}

int
admin_state_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp;

	if (!has_filters(u->env) || s->from.full.p == NULL || !is_barred(u, &s->from))
		return XMPP_PASS;
	if (s->kind != XK_PRESENCE)
		xmpp_bounce(u->env, s, XE_SERVICE_UNAVAILABLE, NULL);
	return XMPP_DONE;
}

/* ---- messages ---- */

static struct xmpp_stanza *
message_from(struct td_str domain, enum xmpp_type type, struct td_str text)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, type);
	struct xmpp_jid from = xmpp_jid_view(domain);
	struct td_buf b = { 0 };
	char id[17];

	td_random_id(id, 16);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_stanza_set_from(s, &from);
	td_buf_addz(&b, "<body>");
	td_buf_add_xml(&b, text);
	td_buf_addz(&b, "</body>");
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	td_buf_fini(&b);
	return s;
}

static void
tell(struct xmpp_session *sess, enum xmpp_type type, struct td_str text)
{
	struct xmpp_stanza *s = message_from(sess->user->domain, type, text);

	xmpp_stanza_set_to(s, &sess->jid);
	xmpp_route(sess->env, s);
}

/* To every session here of <domain>.  All copies are made before the first is sent: that may end a session. */
static void
tell_all(struct xmpp_env *env, struct td_str domain, struct td_str text)
{
	struct xmpp_stanza **list = td_alloc((env->stats.sessions + 1) *
					     sizeof(struct xmpp_stanza *)),
			   *s = NULL;
	const struct xmpp_session *sess;
	size_t n = 0;

	TAILQ_FOREACH(sess, &env->sessions, env_link)
	{
		if (n == env->stats.sessions ||
		    (domain.p != NULL && !td_str_eq(sess->user->domain, domain)))
			continue;
		if (s == NULL || !td_str_eq(s->from.full, sess->user->domain)) {
			xmpp_stanza_unref(&s);
			s = message_from(sess->user->domain, XT_HEADLINE, text);
			xmpp_stanza_seal(s);
		}
		list[n++] = xmpp_stanza_share(s, &sess->jid);
	}
	xmpp_stanza_unref(&s);
	for (size_t i = 0; i < n; i++)
		xmpp_route(env, list[i]);
	free(list);
}

static void
mark_seen(struct xmpp_user *u, const char *mark)
{
	if (!u->anonymous && !td_str_eqc(xmpp_user_setting(u, SEEN), mark))
		xmpp_user_set_setting(u, SEEN, td_cstr(mark), NULL, NULL);
}

static void
tell_motd(struct xmpp_env *env, const struct admin_domain *d, struct td_str domain)
{
	struct xmpp_user *u;
	size_t i = 0;

	while ((u = td_map_next(&env->users, &i)) != NULL)
		if (u->n_sessions > 0 && u->exists && td_str_eq(u->domain, domain))
			mark_seen(u, d->mark);
	tell_all(env, domain, td_cstr(d->texts[STORE_TEXT_MOTD]));
}

void
admin_state_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	struct xmpp_user *u = sess->user;
	const struct admin_domain *d;
	bool fresh = u->fresh;

	(void)s;
	if (!available || !first || !u->exists)
		return;
	u->fresh = false;
	d = find_domain(sess->env, u->domain);
	if (d == NULL)
		return;
	if (fresh && d->texts[STORE_TEXT_WELCOME] != NULL)
		tell(sess, XT_NORMAL, td_cstr(d->texts[STORE_TEXT_WELCOME]));
	if (d->mark != NULL && !td_str_eqc(xmpp_user_setting(u, SEEN), d->mark)) {
		mark_seen(u, d->mark);
		tell(sess, XT_HEADLINE, td_cstr(d->texts[STORE_TEXT_MOTD]));
	}
}

void
admin_state_bound(struct xmpp_session *sess)
{
	if (!sess->user->anonymous)
		store_account_login(sess->env->store, sess->user->bare, (struct store_to){ 0 });
}

/* ---- changes ---- */

static struct change *
change_new(struct xmpp_env *env, struct td_str domain)
{
	struct change *c = td_zalloc(sizeof(*c));

	c->a = td_arena_new(0);
	c->env = env;
	c->domain = domain.p != NULL ? td_arena_str(c->a, domain) : TD_STR_NULL;
	return c;
}

static void
change_unref(struct change *c)
{
	if (atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	td_arena_free(c->a);
	free(c);
}

static void
apply_here(struct xmpp_env *env, void *arg)
{
	struct change *c = arg;

	c->apply(env, c);
	change_unref(c);
}

/* On this worker now, on the others soon.  Takes <c>. */
static void
share(struct xmpp_env *env, struct change *c)
{
	bool alone = env->host->post == NULL;

	atomic_store(&c->refs, alone ? 1 : env->n_workers);
	for (unsigned i = 0; i < env->n_workers && !alone; i++)
		if (i != env->index)
			env->host->post(env, i, apply_here, c);
	apply_here(env, c);
}

static void
set_text(struct xmpp_env *env, struct td_str domain, const struct store_admin_row *row)
{
	struct admin_domain *d = need_domain(env, domain);
	struct admin_domain *each;
	size_t i = 0;

	free(d->texts[row->kind]);
	d->texts[row->kind] = row->text.p != NULL ? td_strndup(row->text) : NULL;
	if (row->kind == STORE_TEXT_MOTD) {
		free(d->mark);
		d->mark = row->text.p != NULL ? td_strndup(row->mark) : NULL;
	}
	if (row->kind != STORE_TEXT_BLACKLIST && row->kind != STORE_TEXT_WHITELIST)
		return;
	list_fill(&d->lists[row->kind == STORE_TEXT_WHITELIST], row->text);
	admin_of(env)->filters = false;
	while ((each = td_map_next(&admin_of(env)->domains, &i)) != NULL)
		if (each->lists[0].len > 0 || each->lists[1].len > 0)
			admin_of(env)->filters = true;
}

static void
set_admins(struct admin_domain *d, const struct td_str *jids, size_t n)
{
	td_arena_free(d->admins_mem);
	d->admins_mem = td_arena_new(256);
	d->admins = td_arena_alloc(d->admins_mem, (n > 0 ? n : 1) * sizeof(*d->admins));
	for (size_t i = 0; i < n; i++)
		d->admins[i] = td_arena_str(d->admins_mem, jids[i]);
	d->n_admins = n;
}

static void
apply_text(struct xmpp_env *env, const struct change *c)
{
	const struct store_admin_row row = { .kind = c->kind, .mark = c->mark, .text = c->text };
	struct admin_domain *d = need_domain(env, c->domain);

	d->changed = true;
	set_text(env, c->domain, &row);
	if (c->tell && c->kind == STORE_TEXT_MOTD && d->mark != NULL)
		tell_motd(env, d, c->domain);
}

static void
apply_admins(struct xmpp_env *env, const struct change *c)
{
	struct admin_domain *d = need_domain(env, c->domain);

	d->changed = true;
	set_admins(d, c->jids, c->n);
}

static void
apply_announce(struct xmpp_env *env, const struct change *c)
{
	tell_all(env, c->domain, c->text);
}

/* The account <text> is gone, and with it its rows. */
static void
apply_removed(struct xmpp_env *env, const struct change *c)
{
	struct admin_domain *d;
	size_t i = 0;

	while ((d = td_map_next(&admin_of(env)->domains, &i)) != NULL)
		for (size_t k = 0; k < d->n_admins; k++)
			if (td_str_eq(d->admins[k], c->text))
				d->admins[k--] = d->admins[--d->n_admins];
}

static void
on_committed(void *arg, const struct store_result *r)
{
	struct change *c = arg;
	void (*done)(void *, int) = c->done;
	void *done_arg = c->arg;
	int rc = r->rc;

	if (rc >= 0) {
		share(c->env, c);
	} else {
		atomic_store(&c->refs, 1);
		change_unref(c);
	}
	if (done != NULL)
		done(done_arg, rc);
}

void
xmpp_domain_set_text(struct xmpp_env *env, struct td_str domain, enum store_text kind,
		     struct td_str text, bool again, void (*done)(void *arg, int rc), void *arg)
{
	struct change *c = change_new(env, domain);
	const struct admin_domain *d = find_domain(env, domain);
	char mark[MARK_CHARS + 1];

	td_random_id(mark, MARK_CHARS);
	/* one that is only mended stays what it was to those who have it */
	c->tell = again || d == NULL || d->mark == NULL;
	c->mark = td_arena_str(c->a, c->tell ? td_cstr(mark) : td_cstr(d->mark));
	c->kind = kind;
	c->text = text.p != NULL ? td_arena_str(c->a, text) : TD_STR_NULL;
	c->apply = apply_text;
	c->done = done;
	c->arg = arg;
	store_domain_text(env->store, domain, kind, c->mark, c->text,
			  (struct store_to){ env->loop, on_committed, c });
}

struct td_str
xmpp_domain_text(struct xmpp_env *env, struct td_str domain, enum store_text kind)
{
	const struct admin_domain *d = find_domain(env, domain);

	return d != NULL ? td_cstr(d->texts[kind]) : TD_STR_NULL;
}

void
xmpp_announce(struct xmpp_env *env, struct td_str domain, struct td_str text)
{
	struct change *c = change_new(env, domain);

	c->text = td_arena_str(c->a, text);
	c->apply = apply_announce;
	share(env, c);
}

const struct td_str *
admin_stored(struct xmpp_env *env, struct td_str domain, size_t *n)
{
	const struct admin_domain *d = find_domain(env, domain);

	*n = d != NULL ? d->n_admins : 0;
	return d != NULL ? d->admins : NULL;
}

bool
xmpp_is_stored_admin(struct xmpp_env *env, struct td_str domain, struct td_str bare)
{
	size_t n;
	const struct td_str *list = admin_stored(env, domain, &n);

	for (size_t i = 0; i < n; i++)
		if (td_str_eq(list[i], bare))
			return true;
	return false;
}

void
admin_set_stored(struct xmpp_env *env, struct td_str domain, const struct td_str *jids, size_t n,
		 void (*done)(void *arg, int rc), void *arg)
{
	struct change *c = change_new(env, domain);

	c->jids = td_arena_alloc(c->a, (n > 0 ? n : 1) * sizeof(*c->jids));
	for (size_t i = 0; i < n; i++)
		c->jids[i] = td_arena_str(c->a, jids[i]);
	c->n = n;
	c->apply = apply_admins;
	c->done = done;
	c->arg = arg;
	store_admins_set(env->store, domain, jids, n,
			 (struct store_to){ env->loop, on_committed, c });
}

void
admin_state_removed(struct xmpp_env *env, struct td_str bare)
{
	struct admin_domain *d;
	size_t i = 0;
	bool named = false;

	while ((d = td_map_next(&admin_of(env)->domains, &i)) != NULL)
		for (size_t k = 0; k < d->n_admins; k++)
			named = named || td_str_eq(d->admins[k], bare);
	if (named) {
		struct change *c = change_new(env, TD_STR_NULL);

		c->text = td_arena_str(c->a, bare);
		c->apply = apply_removed;
		share(env, c);
	}
}

/* ---- start and stop ---- */

static void
on_loaded(void *arg, const struct store_result *r, const struct store_admin_row *rows, size_t n)
{
	struct xmpp_env *env = arg;
	size_t i = 0;

	if (r->rc < 0)
		td_log_error(&env->log, "admin-load-failed", "error=%s", td_escz(r->error));
	while (i < n) {
		struct admin_domain *d = need_domain(env, rows[i].domain);
		struct td_str jids[256];
		size_t n_jids = 0;

		if (d->changed) {
			i++;
			continue;
		}
		if (rows[i].admin.p == NULL) {
			set_text(env, rows[i].domain, &rows[i]);
			i++;
			continue;
		}
		/* rows of one domain are together */
		for (; i < n && rows[i].admin.p != NULL && td_str_eqc(rows[i].domain, d->name); i++)
			if (n_jids < sizeof(jids) / sizeof(jids[0]))
				jids[n_jids++] = rows[i].admin;
		set_admins(d, jids, n_jids);
	}
}

void
admin_state_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_ADMIN] = td_zalloc(sizeof(struct admin_env));
	if (env->store != NULL)
		store_admin_load(env->store, env->loop, on_loaded, env);
}

void
admin_state_stop(struct xmpp_env *env)
{
	struct admin_env *a = admin_of(env);
	struct admin_domain *d;
	size_t i = 0;

	while ((d = td_map_next(&a->domains, &i)) != NULL) {
		td_arena_free(d->admins_mem);
		for (unsigned k = 0; k < STORE_TEXTS; k++)
			free(d->texts[k]);
		free(d->mark);
		list_clear(&d->lists[0]);
		list_clear(&d->lists[1]);
		free(d);
	}
	td_map_fini(&a->domains);
	free(a);
	env->module_data[XMPP_SLOT_ADMIN] = NULL;
}
