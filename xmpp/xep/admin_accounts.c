/* admin_accounts - commands about accounts: each is done by the worker that owns it, one after the other.
 *
 *   command -> walk -> item to its owner -> do -> item_done -> back here -> the next, or the answer
 *
 * The walk, its arena and its items are with one worker at a time. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/c2s_priv.h"
#include "xmpp/im.h"
#include "xmpp/sasl.h"
#include "xmpp/signin.h"
#include "xmpp/xep/admin_priv.h"

#define ACCOUNTS_MAX 200u

struct walk;
struct item {
	struct walk *w;
	struct xmpp_jid jid;
	int rc;
};
typedef void item_fn(struct xmpp_env *env, struct item *it);

struct walk {
	struct xmpp_command_call *call;
	struct td_arena *a;
	const char *event; /* for the log */
	unsigned home;     /* worker of who asks */
	struct td_str by;
	struct td_str keep; /* a resource that stays: who asks about its own account */
	item_fn *fn;
	struct item *items;
	size_t n, at, failed;
	int rc;            /* the first failure */
	struct td_buf out; /* the result's forms */
	struct td_buf notes;
	struct store_account account; /* add, password */
	struct td_str vcard;
};

static void walk_next(struct xmpp_env *env, struct walk *w);

static void
walk_end(struct walk *w)
{
	struct xmpp_command_call *call = w->call;
	enum xmpp_command_result result = COMMAND_DONE;

	if (w->failed == w->n && w->n > 0) {
		result = admin_store_failed(call, w->rc);
	} else {
		td_buf_adds(&call->out, td_buf_str(&w->out));
		td_buf_adds(&call->out, td_buf_str(&w->notes));
	}
	td_buf_fini(&w->out);
	td_buf_fini(&w->notes);
	td_wipe(&w->account, sizeof(w->account));
	td_arena_free(w->a);
	free(w);
	xmpp_command_finish(call, result);
}

static void
item_back(struct xmpp_env *env, void *arg)
{
	struct item *it = arg;
	struct walk *w = it->w;

	if (it->rc < 0) {
		if (w->failed++ == 0)
			w->rc = it->rc;
		td_buf_addz(&w->notes, "<note type='warn'>");
		td_buf_add_xml(&w->notes, it->jid.full);
		td_buf_addz(&w->notes, it->rc == TD_E_NOTFOUND ? " was not found</note>"
							       : " could not be changed</note>");
	} else if (w->event != NULL) {
		td_log_notice(&env->log, "admin-command", "command=%s jid=%s by=%s", w->event,
			      td_esc(it->jid.full), td_esc(w->by));
	}
	w->at++;
	walk_next(env, w);
}

static void
item_done(struct xmpp_env *env, struct item *it, int rc)
{
	it->rc = rc;
	if (env->index == it->w->home)
		item_back(env, it);
	else
		env->host->post(env, it->w->home, item_back, it);
}

static void
item_here(struct xmpp_env *env, void *arg)
{
	struct item *it = arg;

	it->w->fn(env, it);
}

static void
walk_next(struct xmpp_env *env, struct walk *w)
{
	struct item *it = &w->items[w->at];
	unsigned owner;

	if (w->at >= w->n) {
		walk_end(w);
		return;
	}
	owner = xmpp_owner(env, it->jid.bare);
	if (owner == env->index)
		item_here(env, it);
	else
		env->host->post(env, owner, item_here, it);
}

/* One address of an account of the domain into <w>; an error is set otherwise. */
static bool
add_item(struct xmpp_command_call *call, struct walk *w, struct td_str text, bool full)
{
	struct xmpp_jid j;

	if (xmpp_jid_parse(w->a, text, &j, NULL) < 0 || j.local.p == NULL ||
	    (j.resource.p != NULL && !full)) {
		(void)xmpp_command_bad_payload(call, "This is no address of an account.");
		return false;
	}
	if (!td_str_eq(j.domain, call->domain)) {
		(void)admin_fail(call, XE_NOT_ALLOWED, "The account is not one of this domain.");
		return false;
	}
	if (admin_outranks(call->env, call->domain, j.bare, call->from.bare)) {
		(void)admin_fail(call, XE_NOT_ALLOWED, "The account may do more than you.");
		return false;
	}
	for (size_t i = 0; i < w->n; i++)
		if (xmpp_jid_eq(&w->items[i].jid, &j))
			return true;
	w->items[w->n++] = (struct item){ .w = w, .jid = j };
	return true;
}

/* The accounts of field <var>; NULL: the error is set. */
static struct walk *
walk_new(struct xmpp_command_call *call, const char *var, bool full, item_fn *fn, const char *event)
{
	const struct xmpp_form_field *f = xmpp_form_field(call->form, var);
	struct walk *w = td_zalloc(sizeof(*w));
	size_t n = strcmp(var, "accountjid") == 0 ? 1 : f->n; /* jid-single */
	bool ok = n <= ACCOUNTS_MAX;

	w->call = call;
	w->a = td_arena_new(0);
	w->home = call->env->index;
	w->by = td_arena_str(w->a, call->from.bare);
	w->fn = fn;
	w->event = event;
	w->items = td_arena_alloc(w->a, n * sizeof(*w->items));
	if (!ok)
		(void)xmpp_command_bad_payload(call, "These are too many accounts.");
	for (size_t i = 0; ok && i < n; i++) {
		struct td_str text = td_str_trim(f->values[i]);

		ok = text.len == 0 || add_item(call, w, text, full);
	}
	if (ok)
		return w;
	td_arena_free(w->a);
	free(w);
	return NULL;
}

static enum xmpp_command_result
walk(struct xmpp_command_call *call, const char *var, item_fn *fn, const char *event)
{
	struct walk *w = walk_new(call, var, false, fn, event);

	if (w == NULL)
		return COMMAND_ERROR;
	walk_next(call->env, w);
	return COMMAND_LATER;
}

/* A store call about an item, made on its owner. */
struct asked {
	struct xmpp_env *env;
	struct item *it;
};

static struct asked *
asked_new(struct xmpp_env *env, struct item *it)
{
	struct asked *q = td_alloc(sizeof(*q));

	q->env = env;
	q->it = it;
	return q;
}

/* ---- add, delete ---- */

static void
on_added(void *arg, const struct store_result *r)
{
	struct asked *q = arg;
	struct walk *w = q->it->w;

	if (r->rc >= 0 && w->vcard.p != NULL)
		store_setting_set(q->env->store, q->it->jid.bare, TD_STR("vcard"), w->vcard,
				  (struct store_to){ 0 });
	item_done(q->env, q->it, r->rc);
	free(q);
}

static void
do_add(struct xmpp_env *env, struct item *it)
{
	it->w->account.jid = it->jid.bare;
	it->w->account.created = td_wall_ms() / 1000;
	store_account_add(env->store, &it->w->account,
			  (struct store_to){ env->loop, on_added, asked_new(env, it) });
}

static void
add_element(struct td_buf *b, const char *name, struct td_str text)
{
	td_buf_addf(b, "<%s>", name);
	td_buf_add_xml(b, text);
	td_buf_addf(b, "</%s>", name);
}

/* What the form says of the person, as a vCard; TD_STR_NULL: nothing. */
static struct td_str
make_vcard(struct td_arena *a, const struct xmpp_form *f)
{
	struct td_str email = td_str_trim(xmpp_form_value(f, "email")),
		      given = td_str_trim(xmpp_form_value(f, "given_name")),
		      family = td_str_trim(xmpp_form_value(f, "surname")), out;
	struct td_buf b = { 0 };

	if (email.len + given.len + family.len == 0)
		return TD_STR_NULL;
	td_buf_addz(&b, "<vCard xmlns='" NS_VCARD "'>");
	if (given.len + family.len > 0) {
		td_buf_addz(&b, "<FN>");
		td_buf_add_xml(&b, given);
		if (given.len > 0 && family.len > 0)
			td_buf_addc(&b, ' ');
		td_buf_add_xml(&b, family);
		td_buf_addz(&b, "</FN><N>");
		add_element(&b, "FAMILY", family);
		add_element(&b, "GIVEN", given);
		td_buf_addz(&b, "</N>");
	}
	if (email.len > 0) {
		td_buf_addz(&b, "<EMAIL><INTERNET/>");
		add_element(&b, "USERID", email);
		td_buf_addz(&b, "</EMAIL>");
	}
	td_buf_addz(&b, "</vCard>");
	out = td_arena_str(a, td_buf_str(&b));
	td_buf_fini(&b);
	return out;
}

enum xmpp_command_result
admin_add_user(struct xmpp_command_call *call)
{
	struct td_str password = xmpp_form_value(call->form, "password"),
		      again = xmpp_form_value(call->form, "password-verify");
	struct store_account a = { 0 };
	struct td_err err;
	struct walk *w;

	if (again.p != NULL && !td_str_eq(again, password.p != NULL ? password : TD_STR("")))
		return xmpp_command_bad_payload(call, "The passwords differ.");
	if (password.len > 0 && xmpp_scram_derive(password, 0, &a.sha1, &a.sha256, &err) < 0)
		return xmpp_command_bad_payload(call, "This cannot be a password.");
	w = walk_new(call, "accountjid", false, do_add, "add-user");
	if (w == NULL)
		return COMMAND_ERROR;
	w->account = a;
	td_wipe(&a, sizeof(a));
	w->vcard = make_vcard(w->a, call->form);
	if (password.len == 0)
		td_buf_addz(&w->notes,
			    "<note type='info'>Nobody can sign in with a password until it "
			    "is set.</note>");
	walk_next(call->env, w);
	return COMMAND_LATER;
}

static void
on_deleted(void *arg, int rc)
{
	struct asked *q = arg;

	item_done(q->env, q->it, rc);
	free(q);
}

static void
do_delete(struct xmpp_env *env, struct item *it)
{
	xmpp_account_delete(env, it->jid.bare, on_deleted, asked_new(env, it));
}

enum xmpp_command_result
admin_delete_user(struct xmpp_command_call *call)
{
	return walk(call, "accountjids", do_delete, "delete-user");
}

struct deletion {
	struct xmpp_call call; /* first */
	void (*done)(void *arg, int rc);
	void *arg;
};

static void
on_delete_stored(void *arg, const struct store_result *r)
{
	struct deletion *d = arg;
	struct xmpp_env *env = d->call.env;
	struct xmpp_user *u = d->call.user;
	struct xmpp_contact *c;
	size_t i = 0;

	if (env == NULL) {
		free(d);
		return;
	}
	if (r->rc >= 0) {
		while ((c = td_map_next(&u->roster, &i)) != NULL)
			xmpp_subscription_cut(u, c);
		xmpp_signin_changed(env, u->bare);
		xmpp_account_removed(env, u->bare);
	}
	xmpp_call_end(&d->call);
	d->done(d->arg, r->rc);
	free(d);
}

static void
delete_loaded(struct xmpp_user *u, void *arg)
{
	struct deletion *d = arg;

	/* gone from memory, and made again in the store: ask it */
	xmpp_call_begin(&d->call, u);
	store_account_delete(u->env->store, u->bare,
			     (struct store_to){ u->env->loop, on_delete_stored, d });
}

void
xmpp_account_delete(struct xmpp_env *env, struct td_str bare, void (*done)(void *arg, int rc),
		    void *arg)
{
	struct deletion *d = td_zalloc(sizeof(*d));

	d->done = done;
	d->arg = arg;
	xmpp_user_with(env, bare, delete_loaded, d);
}

/* ---- disable, re-enable, password, sessions ---- */

/* End the sessions of the account but <keep>; how many there were. */
static unsigned
end_sessions(struct xmpp_env *env, struct td_str bare, struct td_str only, struct td_str keep,
	     const char *condition, const char *text)
{
	struct xmpp_user *u = xmpp_user_find(env, bare);
	struct xmpp_session *s, *next;
	unsigned n = 0;

	if (u == NULL)
		return 0;
	xmpp_user_hold(u);
	for (s = TAILQ_FIRST(&u->sessions); s != NULL; s = next) {
		struct xmpp_c2s *c = s->stream;

		next = TAILQ_NEXT(s, link);
		if ((only.p != NULL && !td_str_eq(s->jid.resource, only)) ||
		    (keep.p != NULL && td_str_eq(s->jid.resource, keep)))
			continue;
		n++;
		xmpp_session_end(s, "ended-by-admin");
		if (c != NULL)
			xmpp_c2s_end(c, condition, text);
	}
	xmpp_user_release(u);
	return n;
}

void
xmpp_account_disabled(struct xmpp_env *env, struct td_str bare, bool disabled)
{
	struct xmpp_user *u = xmpp_user_find(env, bare);

	if (u != NULL)
		u->disabled = disabled;
	if (!disabled)
		return;
	xmpp_signin_changed(env, bare); /* who is about to have a session */
	(void)end_sessions(env, bare, TD_STR_NULL, TD_STR_NULL, "not-authorized",
			   "The account was disabled");
}

static void
on_disabled(void *arg, const struct store_result *r)
{
	struct asked *q = arg;

	if (r->rc >= 0)
		xmpp_account_disabled(q->env, q->it->jid.bare, true);
	item_done(q->env, q->it, r->rc);
	free(q);
}

static void
on_enabled(void *arg, const struct store_result *r)
{
	struct asked *q = arg;

	if (r->rc >= 0)
		xmpp_account_disabled(q->env, q->it->jid.bare, false);
	item_done(q->env, q->it, r->rc);
	free(q);
}

static void
do_disable(struct xmpp_env *env, struct item *it)
{
	store_account_disable(env->store, it->jid.bare, true,
			      (struct store_to){ env->loop, on_disabled, asked_new(env, it) });
}

static void
do_enable(struct xmpp_env *env, struct item *it)
{
	store_account_disable(env->store, it->jid.bare, false,
			      (struct store_to){ env->loop, on_enabled, asked_new(env, it) });
}

enum xmpp_command_result
admin_disable_user(struct xmpp_command_call *call)
{
	return walk(call, "accountjids", do_disable, "disable-user");
}

enum xmpp_command_result
admin_reenable_user(struct xmpp_command_call *call)
{
	return walk(call, "accountjids", do_enable, "reenable-user");
}

static void
do_end_session(struct xmpp_env *env, struct item *it)
{
	unsigned n = end_sessions(env, it->jid.bare, it->jid.resource, TD_STR_NULL,
				  "policy-violation", "Ended by the administrator");

	item_done(env, it, n > 0 ? 0 : TD_E_NOTFOUND);
}

enum xmpp_command_result
admin_end_session(struct xmpp_command_call *call)
{
	struct walk *w = walk_new(call, "accountjids", true, do_end_session, "end-user-session");

	if (w == NULL)
		return COMMAND_ERROR;
	walk_next(call->env, w);
	return COMMAND_LATER;
}

static void
on_password(void *arg, const struct store_result *r)
{
	struct asked *q = arg;
	struct item *it = q->it;

	if (r->rc >= 0) {
		xmpp_signin_changed(q->env, it->jid.bare);
		(void)end_sessions(q->env, it->jid.bare, TD_STR_NULL, it->w->keep, "not-authorized",
				   "The password was changed");
	}
	item_done(q->env, it, r->rc);
	free(q);
}

static void
do_password(struct xmpp_env *env, struct item *it)
{
	it->w->account.jid = it->jid.bare;
	store_account_update(env->store, &it->w->account,
			     (struct store_to){ env->loop, on_password, asked_new(env, it) });
}

enum xmpp_command_result
admin_change_password(struct xmpp_command_call *call)
{
	struct td_str password = xmpp_form_value(call->form, "password");
	struct store_account a = { 0 };
	struct td_err err;
	struct walk *w;

	if (xmpp_scram_derive(password, 0, &a.sha1, &a.sha256, &err) < 0)
		return xmpp_command_bad_payload(call, "This cannot be a password.");
	w = walk_new(call, "accountjid", false, do_password, "change-user-password");
	if (w == NULL)
		return COMMAND_ERROR;
	w->account = a;
	td_wipe(&a, sizeof(a));
	if (w->n > 0 && td_str_eq(w->items[0].jid.bare, call->from.bare))
		w->keep = td_arena_str(w->a, call->from.resource);
	walk_next(call->env, w);
	return COMMAND_LATER;
}

/* ---- roster, last login, statistics ---- */

static void
write_contact(struct td_buf *out, const struct store_contact *c)
{
	td_buf_addz(out, "<item jid='");
	td_buf_add_xml(out, c->jid);
	if (c->name.len > 0) {
		td_buf_addz(out, "' name='");
		td_buf_add_xml(out, c->name);
	}
	td_buf_addf(out, "' subscription='%s'", store_sub_names[c->sub]);
	if (c->flags & STORE_ROSTER_ASK)
		td_buf_addz(out, " ask='subscribe'");
	if (c->flags & STORE_ROSTER_APPROVED)
		td_buf_addz(out, " approved='true'");
	td_buf_addc(out, '>');
	for (size_t i = 0; i < c->n_groups; i++)
		add_element(out, "group", c->groups[i]);
	td_buf_addz(out, "</item>");
}

static void
on_roster(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	struct asked *q = arg;
	struct td_buf *out = &q->it->w->out;
	int rc = r->rc < 0 ? r->rc : ro->account_exists ? 0 : TD_E_NOTFOUND;

	if (rc == 0) {
		admin_result_open(out);
		xmpp_form_add1(out, "jid-multi", "accountjids", NULL, q->it->jid.bare);
		td_buf_addz(out, "<query xmlns='" NS_ROSTER "'>");
		for (size_t i = 0; i < ro->n; i++)
			if (!(ro->contacts[i].flags & STORE_ROSTER_HIDDEN))
				write_contact(out, &ro->contacts[i]);
		td_buf_addz(out, "</query>");
		xmpp_form_close(out);
	}
	item_done(q->env, q->it, rc);
	free(q);
}

static void
do_roster(struct xmpp_env *env, struct item *it)
{
	store_roster_get(env->store, it->jid.bare, env->loop, on_roster, asked_new(env, it));
}

enum xmpp_command_result
admin_get_roster(struct xmpp_command_call *call)
{
	return walk(call, "accountjids", do_roster, "get-user-roster");
}

static void
on_login(void *arg, const struct store_result *r, const struct store_account *a)
{
	struct asked *q = arg;
	struct td_buf *out = &q->it->w->out;

	if (r->rc == 0) {
		admin_result_open(out);
		xmpp_form_add1(out, "jid-multi", "accountjids", NULL, q->it->jid.bare);
		if (a->login > 0) {
			char stamp[32];

			td_stamp(a->login * 1000, stamp);
			xmpp_form_add1(out, "text-single", "lastlogin", NULL, td_cstr(stamp));
		} else {
			td_buf_addz(&q->it->w->notes, "<note type='info'>");
			td_buf_add_xml(&q->it->w->notes, q->it->jid.bare);
			td_buf_addz(&q->it->w->notes,
				    a->never ? " never signed in</note>" : ": not known</note>");
		}
		xmpp_form_close(out);
	}
	item_done(q->env, q->it, r->rc);
	free(q);
}

static void
do_login(struct xmpp_env *env, struct item *it)
{
	store_account_get(env->store, it->jid.bare, env->loop, on_login, asked_new(env, it));
}

enum xmpp_command_result
admin_last_login(struct xmpp_command_call *call)
{
	return walk(call, "accountjids", do_login, NULL);
}

/* "1.2.3.4:5222", "[::1]:5222" without the port. */
static struct td_str
without_port(struct td_str peer)
{
	size_t n = peer.len;

	while (n > 0 && peer.p[n - 1] != ':')
		n--;
	peer.len = n > 0 ? n - 1 : peer.len;
	if (peer.len >= 2 && peer.p[0] == '[' && peer.p[peer.len - 1] == ']')
		return td_str(peer.p + 1, peer.len - 2);
	return peer;
}

static bool
has_str(const struct td_str *list, size_t n, struct td_str s)
{
	for (size_t i = 0; i < n; i++)
		if (td_str_eq(list[i], s))
			return true;
	return false;
}

/* What is in memory of who is online. */
static void
write_sessions(struct td_buf *out, struct td_arena *a, const struct xmpp_user *u)
{
	size_t n = 0, n_ips = 0;
	struct td_str *ips = td_arena_alloc(a, (u->n_sessions + 1) * sizeof(*ips)),
		      *names = td_arena_alloc(a, (u->n_sessions + 1) * sizeof(*names));
	const struct xmpp_session *s;
	uint64_t since = td_wall_ms();

	TAILQ_FOREACH(s, &u->sessions, link)
	{
		if (n == u->n_sessions)
			break;
		names[n++] = s->jid.resource;
		since = s->bound_at < since ? s->bound_at : since;
		if (s->stream != NULL) {
			struct td_str ip =
				without_port(td_cstr(s->stream->cc->ops->peer(s->stream->io)));

			if (ip.len > 0 && !has_str(ips, n_ips, ip))
				ips[n_ips++] = td_arena_str(a, ip);
		}
	}
	xmpp_form_add(out, "list-multi", "ipaddresses", NULL, ips, n_ips, NULL);
	xmpp_form_add(out, "text-multi", "onlineresources", NULL, names, n, NULL);
	if (n > 0) {
		uint64_t ms = td_wall_ms() - since + 1;
		char *rate = td_arena_printf(a, "%.2f", (double)u->stanzas * 1000 / (double)ms);

		xmpp_form_add1(out, "text-single", "stanzaspersecond", NULL, td_cstr(rate));
	}
}

static void
on_stats_roster(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	struct asked *q = arg;
	struct walk *w = q->it->w;
	const struct xmpp_user *u = xmpp_user_find(q->env, q->it->jid.bare);
	uint64_t now = td_wall_ms() / 1000;
	int64_t size = 0;
	double minutes;

	if (r->rc < 0) {
		item_done(q->env, q->it, r->rc);
		free(q);
		return;
	}
	for (size_t i = 0; i < ro->n; i++)
		size += !(ro->contacts[i].flags & STORE_ROSTER_HIDDEN);
	admin_result_open(&w->out);
	xmpp_form_add_int(&w->out, "text-single", "rostersize", NULL, size);
	if (u != NULL && u->n_sessions > 0)
		write_sessions(&w->out, w->a, u);
	minutes = now > w->account.counted + 60 ? (double)(now - w->account.counted) / 60 : 1;
	xmpp_form_add1(&w->out, "text-single", "loginsperminute", NULL,
		       td_cstr(td_arena_printf(w->a, "%.3f", (double)w->account.logins / minutes)));
	xmpp_form_close(&w->out);
	item_done(q->env, q->it, 0);
	free(q);
}

static void
on_stats(void *arg, const struct store_result *r, const struct store_account *a)
{
	struct asked *q = arg;

	if (r->rc < 0) {
		item_done(q->env, q->it, r->rc);
		free(q);
		return;
	}
	q->it->w->account.logins = a->logins;
	q->it->w->account.counted = a->counted;
	store_roster_get(q->env->store, q->it->jid.bare, q->env->loop, on_stats_roster, q);
}

static void
do_stats(struct xmpp_env *env, struct item *it)
{
	store_account_get(env->store, it->jid.bare, env->loop, on_stats, asked_new(env, it));
}

enum xmpp_command_result
admin_user_stats(struct xmpp_command_call *call)
{
	return walk(call, "accountjid", do_stats, NULL);
}
