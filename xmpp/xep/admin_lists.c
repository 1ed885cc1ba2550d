/* admin_lists - numbers and lists of users.
 *
 * Who is registered is in the store.  Who is online is in the memory of the workers: each makes its part, the worker of who
 * asks puts them together.  Active is who has a resource that is available, looked at (XEP-0352), and not away;
 * everybody else who is online is idle. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/xep/admin_priv.h"

#define LIST_MAX 2000u /* addresses in one answer, whatever is asked for */
#define LIST_DEFAULT 100u

enum who {
	WHO_ONLINE = 0,
	WHO_ACTIVE,
	WHO_IDLE
};

/* ---- online, active, idle ---- */

static bool
is_away(const struct xmpp_session *sess)
{
	struct td_arena *a;
	struct xmpp_node *n, *show;
	struct td_buf b = { 0 };
	struct td_str word = TD_STR("");
	bool away = false;

	if (sess->presence.len == 0 ||
	    memmem(sess->presence.p, sess->presence.len, "show", 4) == NULL)
		return false;
	a = td_arena_new(sess->presence.len + 512);
	td_buf_addz(&b, "<presence xmlns='" NS_CLIENT "'>");
	td_buf_adds(&b, sess->presence);
	td_buf_addz(&b, "</presence>");
	n = xmpp_xml_parse(a, td_buf_str(&b), NS_CLIENT, NULL);
	show = n != NULL ? xmpp_node_child(n, NS_CLIENT, "show") : NULL;
	if (show != NULL)
		word = td_str_trim(xmpp_node_text(a, show));
	away = td_str_eqc(word, "away") || td_str_eqc(word, "xa");
	td_buf_fini(&b);
	td_arena_free(a);
	return away;
}

static bool
is_active(const struct xmpp_user *u)
{
	const struct xmpp_session *s;

	TAILQ_FOREACH(s, &u->sessions, link)
	if (s->available && s->stream != NULL && !s->inactive && !is_away(s))
		return true;
	return false;
}

static bool
counts(const struct xmpp_user *u, struct td_str domain, enum who who)
{
	return u->n_sessions > 0 && u->exists && td_str_eq(u->domain, domain) &&
	       (who == WHO_ONLINE || is_active(u) == (who == WHO_ACTIVE));
}

struct poll;
struct part {
	struct poll *p;
	struct td_arena *a;
	struct td_str *jids; /* sorted, at most as many as are asked for */
	size_t n, total;     /* total: also those that did not fit or are before */
};
struct poll {
	struct xmpp_command_call *call;
	unsigned home, left, n_parts;
	enum who who;
	struct td_str domain, after; /* of the call's arena, which nobody else uses meanwhile */
	size_t max;                  /* 0: only the number */
	const char *var, *label;
	void (*end)(struct poll *p);
	struct part parts[];
};

static int
compare(const void *a, const void *b)
{
	const struct td_str *x = a, *y = b;
	int c = memcmp(x->p, y->p, x->len < y->len ? x->len : y->len);

	return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static bool
is_behind(struct td_str jid, struct td_str after)
{
	return after.p == NULL || compare(&jid, &after) > 0;
}

static void
part_back(struct xmpp_env *env, void *arg)
{
	struct poll *p = ((struct part *)arg)->p;

	(void)env;
	if (--p->left > 0)
		return;
	p->end(p);
	for (unsigned i = 0; i < p->n_parts; i++)
		td_arena_free(p->parts[i].a);
	free(p);
}

static void
part_here(struct xmpp_env *env, void *arg)
{
	struct part *part = arg;
	const struct poll *p = part->p;
	const struct xmpp_user *u;
	struct td_str *all = NULL;
	size_t i = 0, n = 0;

	if (p->max > 0)
		all = td_alloc((env->users.len + 1) * sizeof(*all));
	while ((u = td_map_next(&env->users, &i)) != NULL) {
		if (!counts(u, p->domain, p->who))
			continue;
		part->total++;
		if (all != NULL && is_behind(u->bare, p->after))
			all[n++] = u->bare;
	}
	if (n > 0) {
		qsort(all, n, sizeof(*all), compare);
		part->n = n < p->max + 1 ? n : p->max + 1; /* one more: there is more */
		part->a = td_arena_new(0);
		part->jids = td_arena_alloc(part->a, part->n * sizeof(*part->jids));
		for (i = 0; i < part->n; i++)
			part->jids[i] = td_arena_str(part->a, all[i]);
	}
	free(all);
	if (env->index == p->home)
		part_back(env, part);
	else
		env->host->post(env, p->home, part_back, part);
}

static enum xmpp_command_result
poll_workers(struct xmpp_command_call *call, const struct poll *what)
{
	struct xmpp_env *env = call->env;
	struct poll *p = td_zalloc(sizeof(*p) + env->n_workers * sizeof(p->parts[0]));

	*p = *what;
	p->call = call;
	p->home = env->index;
	p->domain = call->domain;
	p->n_parts = p->left = env->n_workers;
	for (unsigned i = 0; i < p->n_parts; i++)
		p->parts[i].p = p;
	for (unsigned i = 0; i < p->n_parts; i++)
		if (i != env->index)
			env->host->post(env, i, part_here, &p->parts[i]);
	part_here(env, &p->parts[env->index]);
	return COMMAND_LATER;
}

/* ---- numbers ---- */

static void
write_number(struct xmpp_command_call *call, const char *var, const char *label, uint64_t n)
{
	admin_result_open(&call->out);
	xmpp_form_add_int(&call->out, "text-single", var, label, (int64_t)n);
	xmpp_form_close(&call->out);
}

static void
number_end(struct poll *p)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < p->n_parts; i++)
		n += p->parts[i].total;
	write_number(p->call, p->var, p->label, n);
	xmpp_command_finish(p->call, COMMAND_DONE);
}

enum xmpp_command_result
admin_online_num(struct xmpp_command_call *call)
{
	return poll_workers(call, &(struct poll){ .who = WHO_ONLINE,
						  .var = "onlineusersnum",
						  .label = "The number of online users",
						  .end = number_end });
}

enum xmpp_command_result
admin_active_num(struct xmpp_command_call *call)
{
	return poll_workers(call, &(struct poll){ .who = WHO_ACTIVE,
						  .var = "activeusersnum",
						  .label = "The number of active users",
						  .end = number_end });
}

enum xmpp_command_result
admin_idle_num(struct xmpp_command_call *call)
{
	return poll_workers(call, &(struct poll){ .who = WHO_IDLE,
						  .var = "idleusersnum",
						  .label = "The number of idle users",
						  .end = number_end });
}

static void
on_registered_num(void *arg, const struct store_result *r, const struct td_str *strs, size_t n)
{
	struct xmpp_command_call *call = arg;

	(void)strs;
	(void)n;
	if (r->rc >= 0)
		write_number(call, "registeredusersnum", "The number of registered users", r->id);
	xmpp_command_finish(call, r->rc < 0 ? admin_store_failed(call, r->rc) : COMMAND_DONE);
}

static void
on_disabled_num(void *arg, const struct store_result *r, const struct td_str *strs, size_t n)
{
	struct xmpp_command_call *call = arg;

	(void)strs;
	(void)n;
	if (r->rc >= 0)
		write_number(call, "disabledusersnum", "The number of disabled users", r->id);
	xmpp_command_finish(call, r->rc < 0 ? admin_store_failed(call, r->rc) : COMMAND_DONE);
}

enum xmpp_command_result
admin_registered_num(struct xmpp_command_call *call)
{
	store_account_page(call->env->store, call->domain, false, TD_STR_NULL, 0, call->env->loop,
			   on_registered_num, call);
	return COMMAND_LATER;
}

enum xmpp_command_result
admin_disabled_num(struct xmpp_command_call *call)
{
	store_account_page(call->env->store, call->domain, true, TD_STR_NULL, 0, call->env->loop,
			   on_disabled_num, call);
	return COMMAND_LATER;
}

/* ---- lists ---- */

/* What the form asks for; false: the error is set. */
static bool
read_page(struct xmpp_command_call *call, size_t *max, struct td_str *after)
{
	struct td_str v = td_str_trim(xmpp_form_value(call->form, "max_items"));
	int64_t n = LIST_DEFAULT;

	if (td_str_eqc(v, "none")) {
		n = LIST_MAX;
	} else if (v.len > 0 && !td_str_to_dec(v, 1, INT64_MAX, &n)) {
		(void)xmpp_command_bad_payload(call, "max_items is a number, or none.");
		return false;
	}
	*max = n < (int64_t)LIST_MAX ? (size_t)n : LIST_MAX;
	*after = td_str_trim(xmpp_form_value(call->form, ADMIN_AFTER));
	*after = after->len > 0 ? td_arena_str(call->arena, *after) : TD_STR_NULL;
	return true;
}

/* The page, and that there is more behind it when <n> says so. */
static void
write_list(struct xmpp_command_call *call, const char *var, const char *label,
	   const struct td_str *jids, size_t n, size_t max, uint64_t total)
{
	size_t shown = n < max ? n : max;

	admin_result_open(&call->out);
	xmpp_form_add(&call->out, "jid-multi", var, label, jids, shown, NULL);
	xmpp_form_close(&call->out);
	if (n > max)
		xmpp_command_note(call, "info",
				  td_arena_printf(call->arena,
						  "%zu of %llu; the next page begins behind %.*s",
						  shown, (unsigned long long)total,
						  TD_STR_ARG(jids[shown - 1])));
}

static void
list_end(struct poll *p)
{
	size_t n = 0, total = 0;
	struct td_str *all;

	for (unsigned i = 0; i < p->n_parts; i++) {
		n += p->parts[i].n;
		total += p->parts[i].total;
	}
	all = td_alloc((n + 1) * sizeof(*all));
	n = 0;
	for (unsigned i = 0; i < p->n_parts; i++)
		for (size_t k = 0; k < p->parts[i].n; k++)
			all[n++] = p->parts[i].jids[k];
	qsort(all, n, sizeof(*all), compare);
	write_list(p->call, p->var, p->label, all, n, p->max, total);
	free(all);
	xmpp_command_finish(p->call, COMMAND_DONE);
}

static enum xmpp_command_result
list_online(struct xmpp_command_call *call, enum who who, const char *var, const char *label)
{
	struct poll p = { .who = who, .var = var, .label = label, .end = list_end };

	return read_page(call, &p.max, &p.after) ? poll_workers(call, &p) : COMMAND_ERROR;
}

enum xmpp_command_result
admin_online_list(struct xmpp_command_call *call)
{
	return list_online(call, WHO_ONLINE, "onlineuserjids", "The list of all online users");
}

enum xmpp_command_result
admin_active_list(struct xmpp_command_call *call)
{
	return list_online(call, WHO_ACTIVE, "activeuserjids", "The list of active users");
}

/* Section 4.22 has no name of its own for the field. */
enum xmpp_command_result
admin_idle_list(struct xmpp_command_call *call)
{
	return list_online(call, WHO_IDLE, "activeuserjids", "The list of idle users");
}

struct listing {
	struct xmpp_command_call *call;
	const char *var, *label;
	size_t max;
};

static void
on_page(void *arg, const struct store_result *r, const struct td_str *strs, size_t n)
{
	struct listing *l = arg;
	struct xmpp_command_call *call = l->call;

	if (r->rc >= 0)
		write_list(call, l->var, l->label, strs, n, l->max, r->id);
	xmpp_command_finish(call, r->rc < 0 ? admin_store_failed(call, r->rc) : COMMAND_DONE);
}

static enum xmpp_command_result
list_stored(struct xmpp_command_call *call, bool disabled, const char *var, const char *label)
{
	struct listing *l = td_arena_zalloc(call->arena, sizeof(*l));
	struct td_str after;

	if (!read_page(call, &l->max, &after))
		return COMMAND_ERROR;
	l->call = call;
	l->var = var;
	l->label = label;
	store_account_page(call->env->store, call->domain, disabled, after, (unsigned)l->max + 1,
			   call->env->loop, on_page, l);
	return COMMAND_LATER;
}

enum xmpp_command_result
admin_registered_list(struct xmpp_command_call *call)
{
	return list_stored(call, false, "registereduserjids", "The list of all users");
}

enum xmpp_command_result
admin_disabled_list(struct xmpp_command_call *call)
{
	return list_stored(call, true, "disableduserjids", "The list of all disabled users");
}
