/* delegation_client - namespaces that a user lets an entity manage (XEP-0355 section 5, "client mode").
 *
 *   entity --iq, <query to=user>--> domain --form--> the user's clients --form submitted--> granted
 *   request of or to the user, in the namespace --> the entity (xep_0355_delegation.c), until it is revoked
 *
 * Only what the domain's option client_delegation lists may be asked for, and only by services (addresses without a local part).
 * A grant ends with the user's last session (section 2), or by the command #configure.  All of it is on the worker that
 * owns the user. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "xmpp/component.h"
#include "xmpp/form.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/throttle.h"
#include "xmpp/xep/delegation.h"
#include "xmpp/xep/xep_0050_adhoc.h"

#define CONFIGURE NS_DELEGATION "#configure"
#define ASKED_MS 600000u /* for the user to answer */
#define ASKED_MAX 1000u  /* questions open on this worker */
#define NAMESPACES_MAX 16u
#define GRANTS_MAX 64u /* of one user */
#define ID_CHARS 24u

static const struct xmpp_rate questions = { .count = 5, .seconds = 600, .local = true };

/* What people call them. */
static const struct {
	const char *ns, *name;
} names[] = {
	{ "http://jabber.org/protocol/pubsub", "your published data: avatar, mood, bookmarks" },
	{ "jabber:iq:roster", "your contacts" },
	{ "jabber:iq:private", "your private data" },
	{ "vcard-temp", "your business card" },
	{ "urn:xmpp:mam:2", "the archive of your messages" },
	{ "urn:xmpp:blocking", "whom you block" },
	{ "http://jabber.org/protocol/disco#items", "what others find at your address" },
};

struct grant { /* one malloc with its strings */
	LIST_ENTRY(grant) link;
	const char *ns, *entity;
	char text[];
};
struct grants { /* of a user */
	LIST_HEAD(, grant) list;
	unsigned n;
};
struct question {
	LIST_ENTRY(question) link;
	struct xmpp_env *env;
	struct td_timer timer;
	struct xmpp_stanza *s; /* the request */
	struct td_str user;    /* bare; malloc'd */
	char id[ID_CHARS + 1]; /* the challenge */
};
struct client_mode { /* a worker's */
	LIST_HEAD(, question) questions;
	unsigned n;
};

static struct client_mode *
mode_of(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_DELEGATION_CLIENT];
}

static struct grants *
grants_of(const struct xmpp_user *u)
{
	return xmpp_user_data(u, XMPP_USER_SLOT_DELEGATION);
}

/* ---- grants ---- */

static struct grant *
grant_find(const struct xmpp_user *u, const char *ns)
{
	const struct grants *gs = grants_of(u);
	struct grant *g;

	if (gs != NULL)
		LIST_FOREACH(g, &gs->list, link)
	if (strcmp(g->ns, ns) == 0)
		return g;
	return NULL;
}

static void
grant_drop(struct xmpp_user *u, struct grant *g)
{
	LIST_REMOVE(g, link);
	grants_of(u)->n--;
	u->env->user_delegations--;
	free(g);
}

static void
grant_add(struct xmpp_user *u, const char *ns, struct td_str entity)
{
	struct grants *gs = grants_of(u);
	size_t n = strlen(ns) + 1;
	struct grant *g;

	if (gs == NULL) {
		gs = td_zalloc(sizeof(*gs));
		xmpp_user_set_data(u, XMPP_USER_SLOT_DELEGATION, gs);
	}
	if (gs->n >= GRANTS_MAX)
		return;
	g = td_zalloc(sizeof(*g) + n + entity.len + 1);
	memcpy(g->text, ns, n);
	memcpy(g->text + n, entity.p, entity.len);
	g->ns = g->text;
	g->entity = g->text + n;
	LIST_INSERT_HEAD(&gs->list, g, link);
	gs->n++;
	u->env->user_delegations++;
}

/* What <entity> manages of the user now (example 15; section 8, rule 3). */
static void
tell(struct xmpp_user *u, struct td_str entity)
{
	struct xmpp_stanza *m = xmpp_stanza_new(XK_MESSAGE, XT_NONE);
	struct xmpp_jid from = xmpp_jid_view(u->domain), to = xmpp_jid_view(entity);
	const struct grants *gs = grants_of(u);
	const struct grant *g;
	struct td_buf b = { 0 };
	char id[17];

	if (u->env->ending) {
		xmpp_stanza_unref(&m);
		return;
	}
	td_buf_addz(&b, "<delegation xmlns='" NS_DELEGATION "'");
	td_buf_add_attr(&b, "to", u->bare);
	td_buf_addc(&b, '>');
	if (gs != NULL)
		LIST_FOREACH(g, &gs->list, link)
	if (td_str_eqc(entity, g->entity)) {
		td_buf_addz(&b, "<delegated");
		td_buf_add_attr(&b, "namespace", td_cstr(g->ns));
		td_buf_addz(&b, "/>");
	}
	td_buf_addz(&b, "</delegation>");
	td_random_id(id, 16);
	xmpp_stanza_set_id(m, td_cstr(id));
	xmpp_stanza_set_from(m, &from);
	xmpp_stanza_set_to(m, &to);
	xmpp_stanza_append_raw(m, td_buf_str(&b));
	m->flags |= XF_NO_BOUNCE;
	xmpp_route(u->env, m);
	td_buf_fini(&b);
}

static void
revoke(struct xmpp_user *u, struct grant *g)
{
	char *entity = td_strdup(g->entity);

	td_log_info(&u->env->log, "delegation-revoked", "user=%s entity=%s namespace=%s",
		    td_esc(u->bare), td_escz(entity), td_escz(g->ns));
	grant_drop(u, g);
	tell(u, td_cstr(entity));
	free(entity);
}

static void
revoke_all(struct xmpp_user *u)
{
	const struct grants *gs = grants_of(u);
	struct grant *g, *next;

	for (g = gs != NULL ? LIST_FIRST(&gs->list) : NULL; g != NULL; g = next) {
		next = LIST_NEXT(g, link);
		revoke(u, g);
	}
}

/* ---- the question ---- */

static const char *
name_of(struct td_str ns)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (td_str_eqc(ns, names[i].ns))
			return names[i].name;
	return NULL;
}

static void
question_free(struct question *q)
{
	LIST_REMOVE(q, link);
	mode_of(q->env)->n--;
	td_timer_clear(q->env->loop, &q->timer);
	xmpp_stanza_unref(&q->s);
	free((void *)(uintptr_t)q->user.p);
	free(q);
}

static void
on_timer(struct td_timer *t)
{
	question_free((struct question *)(void *)((char *)t - offsetof(struct question, timer)));
}

static const struct xmpp_node *
delegate_at(const struct xmpp_node *n)
{
	while (n != NULL && !xmpp_node_is(n, NS_DELEGATION, "delegate"))
		n = xmpp_node_next_elem(n);
	return n;
}

/* The namespaces a request asks for, one after the other. */
static const struct xmpp_node *
first_delegate(const struct xmpp_stanza *s)
{
	return delegate_at(xmpp_node_child(xmpp_stanza_payload(s), NULL, NULL));
}

static const struct xmpp_node *
next_delegate(const struct xmpp_node *n)
{
	return delegate_at(xmpp_node_next_elem(n));
}

static void
write_field(struct td_buf *b, struct td_str ns)
{
	static const struct xmpp_form_option options[] = { { "0", "No" },
							   { "1", "Yes" },
							   { NULL, NULL } };
	struct td_str no = TD_STR("0");
	const char *name = name_of(ns);
	struct td_buf label = { 0 }, var = { 0 };

	td_buf_addz(&label, "Manage ");
	if (name != NULL)
		td_buf_addf(&label, "%s (", name);
	td_buf_adds(&label, ns);
	if (name != NULL)
		td_buf_addc(&label, ')');
	td_buf_adds(&var, ns);
	xmpp_form_add(b, "list-single", td_buf_cstr(&var), td_buf_cstr(&label), &no, 1, options);
	td_buf_fini(&label);
	td_buf_fini(&var);
}

/* Example 13. */
static void
send_form(struct xmpp_user *u, const struct question *q)
{
	struct xmpp_stanza *m = xmpp_stanza_new(XK_MESSAGE, XT_NORMAL);
	struct xmpp_jid from = xmpp_jid_view(u->domain), to = xmpp_jid_view(u->bare);
	const struct xmpp_node *n;
	struct td_buf b = { 0 }, text = { 0 };

	td_buf_adds(&text, q->s->from.full);
	td_buf_addz(&text, " wants to manage features that this server manages for you. Do you "
			   "allow it?");
	td_buf_addz(&b, "<body>");
	td_buf_add_xml(&b, td_buf_str(&text));
	td_buf_addz(&b, " Be careful: it will see and answer all requests about them. Think twice "
			"whether you can trust it.</body>");
	xmpp_form_open(&b, FORM_FORM, NS_DELEGATION);
	xmpp_form_title(&b, "Delegation request", td_buf_cstr(&text));
	xmpp_form_add1(&b, "hidden", "challenge", NULL, td_cstr(q->id));
	for (n = first_delegate(q->s); n != NULL; n = next_delegate(n))
		write_field(&b, xmpp_node_attr(n, "namespace"));
	xmpp_form_close(&b);
	td_buf_addz(&b, "<no-store xmlns='urn:xmpp:hints'/>");
	xmpp_stanza_set_id(m, td_cstr(q->id));
	xmpp_stanza_set_from(m, &from);
	xmpp_stanza_set_to(m, &to);
	xmpp_stanza_append_raw(m, td_buf_str(&b));
	m->flags |= XF_NO_STORE | XF_NO_BOUNCE;
	xmpp_route(u->env, m);
	td_buf_fini(&b);
	td_buf_fini(&text);
}

static void
ask_loaded(struct xmpp_user *u, void *arg)
{
	struct xmpp_stanza *s = arg;
	struct client_mode *cm = mode_of(u->env);
	struct question *q, *next;

	if (!u->exists || u->disabled || u->anonymous || u->n_available == 0 ||
	    cm->n >= ASKED_MAX || xmpp_is_blocked(u, &s->from)) {
		xmpp_stanza_unref(&s); /* nobody to ask; the entity is not told that */
		return;
	}
	for (q = LIST_FIRST(&cm->questions); q != NULL; q = next) { /* the latest counts */
		next = LIST_NEXT(q, link);
		if (td_str_eq(q->user, u->bare) && td_str_eq(q->s->from.full, s->from.full))
			question_free(q);
	}
	q = td_zalloc(sizeof(*q));
	q->env = u->env;
	q->s = s;
	q->user = td_str(td_strndup(u->bare), u->bare.len);
	td_random_id(q->id, ID_CHARS);
	q->timer.fire = on_timer;
	td_timer_set(u->env->loop, &q->timer, ASKED_MS);
	LIST_INSERT_HEAD(&cm->questions, q, link);
	cm->n++;
	send_form(u, q);
}

struct errand {
	struct xmpp_stanza *s;
	struct td_str user; /* in <s> */
};

static void
ask_there(struct xmpp_env *env, void *arg)
{
	struct errand *e = arg;

	xmpp_user_with(env, e->user, ask_loaded, e->s);
	free(e);
}

/* ---- the request of an entity ---- */

static bool
may_ask_for(const struct xmpp_env *env, struct td_str domain, struct td_str ns)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };
	size_t n;
	const struct td_str *list = conf_list(env->conf, &at, "client_delegation", &n);

	for (size_t i = 0; i < n; i++)
		if (td_str_eq(list[i], ns))
			return conf_may_delegate(ns) && !td_str_starts(ns, NS_DELEGATION);
	return false;
}

/* XE_COUNT: it may be asked. */
static enum xmpp_error
check_request(const struct xmpp_iq *iq, struct xmpp_jid *user)
{
	const struct xmpp_node *d;
	char *key;
	bool over;
	unsigned n = 0;

	if (iq->s->from.local.p != NULL)
		return XE_FORBIDDEN;
	if (xmpp_jid_parse(iq->s->arena, xmpp_node_attr(iq->payload, "to"), user, NULL) < 0)
		return XE_JID_MALFORMED;
	if (user->local.p == NULL || user->resource.p != NULL ||
	    !td_str_eq(user->domain, iq->s->to.domain))
		return XE_BAD_REQUEST;
	for (d = first_delegate(iq->s); d != NULL; d = next_delegate(d)) {
		if (++n > NAMESPACES_MAX || xmpp_node_attr(d, "namespace").len == 0)
			return XE_BAD_REQUEST;
		if (!may_ask_for(iq->env, user->domain, xmpp_node_attr(d, "namespace")))
			return XE_FORBIDDEN; /* section 8, rule 5 */
	}
	if (n == 0)
		return XE_BAD_REQUEST;
	key = td_strndup(td_cstr(td_arena_printf(
		iq->s->arena, "%.*s %.*s", TD_STR_ARG(iq->s->from.full), TD_STR_ARG(user->bare))));
	over = xmpp_throttle_over(XT_DELEGATION, key, &questions);
	xmpp_throttle_count(XT_DELEGATION, key, &questions);
	free(key);
	return over ? XE_RESOURCE_CONSTRAINT : XE_COUNT;
}

int
delegation_request(struct xmpp_iq *iq)
{
	struct conf_at at = { .protocol = "xmpp", .domain = iq->s->to.domain };
	struct errand *e;
	struct xmpp_jid user;
	enum xmpp_error err;
	size_t n;

	(void)conf_list(iq->env->conf, &at, "client_delegation", &n);
	if (n == 0)
		return XMPP_PASS;
	err = check_request(iq, &user);
	if (err != XE_COUNT) {
		xmpp_iq_error(iq, err, NULL);
		return XMPP_DONE;
	}
	xmpp_iq_result(iq, TD_STR_NULL);
	e = td_zalloc(sizeof(*e));
	e->s = xmpp_stanza_ref(iq->s);
	e->user = user.bare;
	iq->env->host->post(iq->env, xmpp_owner(iq->env, user.bare), ask_there, e);
	return XMPP_DONE;
}

/* ---- the user's answer ---- */

static void
take_answer(struct xmpp_user *u, struct question *q, const struct xmpp_form *form)
{
	struct xmpp_stanza *s = xmpp_stanza_ref(q->s);
	const struct xmpp_node *n;
	unsigned granted = 0;

	question_free(q);
	for (n = first_delegate(s); n != NULL; n = next_delegate(n)) {
		char *ns = td_strndup(xmpp_node_attr(n, "namespace"));
		struct grant *old = grant_find(u, ns);

		if (td_str_eqc(xmpp_form_value(form, ns), "1")) {
			if (old != NULL && !td_str_eqc(s->from.full, old->entity))
				revoke(u, old);
			else if (old != NULL)
				grant_drop(u, old);
			grant_add(u, ns, s->from.full);
			granted++;
			td_log_info(&u->env->log, "delegation-granted",
				    "user=%s entity=%s namespace=%s", td_esc(u->bare),
				    td_esc(s->from.full), td_escz(ns));
		}
		free(ns);
	}
	if (granted > 0)
		tell(u, s->from.full);
	xmpp_stanza_unref(&s);
}

bool
xmpp_delegation_form(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	const struct xmpp_node *x;
	struct xmpp_user *u;
	struct xmpp_form form;
	struct td_str id;
	struct question *q;

	if (mode_of(env)->n == 0 || !(s->flags & XF_FROM_CLIENT) || s->type == XT_ERROR ||
	    (x = xmpp_form_find(s->root)) == NULL ||
	    (u = xmpp_user_find(env, s->from.bare)) == NULL || !u->exists ||
	    xmpp_form_read(s->arena, x, &form) < 0)
		return false;
	id = xmpp_form_value(&form, "challenge");
	LIST_FOREACH(q, &mode_of(env)->questions, link)
	if (td_str_eqc(id, q->id) && td_str_eq(q->user, u->bare))
		break;
	if (q == NULL)
		return false;
	if (form.kind == FORM_SUBMIT)
		take_answer(u, q, &form);
	else
		question_free(q);
	return true;
}

/* ---- requests ---- */

bool
xmpp_delegate_client(struct xmpp_iq *iq)
{
	struct xmpp_user *u = iq->user;
	const struct grant *g;
	struct xmpp_jid entity;

	/* 5.2, rule 1: to the server, from the user; the user's worker is this one */
	if (u == NULL && (iq->s->flags & XF_FROM_CLIENT))
		u = xmpp_user_find(iq->env, iq->s->from.bare);
	if (u == NULL || !u->exists || iq->payload == NULL || iq->payload->ns == NULL ||
	    (iq->user == NULL && !td_str_eq(iq->s->to.domain, u->domain)) ||
	    (g = grant_find(u, iq->payload->ns)) == NULL)
		return false;
	entity = xmpp_jid_view(td_cstr(g->entity));
	if (td_str_eq(iq->s->from.domain, entity.domain)) /* rule 2 */
		return false;
	delegation_hand_on(iq, entity.full, u->domain);
	return true;
}

/* ---- checking and revoking (section 6) ---- */

static bool
may_configure(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };
	size_t n;

	(void)from;
	(void)conf_list(env->conf, &at, "client_delegation", &n);
	return n > 0;
}

static enum xmpp_command_result
list_grants(struct xmpp_command_call *call, const struct grants *gs)
{
	struct xmpp_form_option options[GRANTS_MAX + 1];
	const struct grant *g;
	size_t n = 0;

	LIST_FOREACH(g, &gs->list, link)
	options[n++] = (struct xmpp_form_option){ g->ns, td_arena_printf(call->arena, "%s: %s",
									 g->entity, g->ns) };
	options[n] = (struct xmpp_form_option){ NULL, NULL };
	xmpp_form_open(&call->out, FORM_FORM, CONFIGURE);
	xmpp_form_title(&call->out, "Delegated features", "Choose those to take back.");
	xmpp_form_add(&call->out, "list-multi", "revoke", "Take back", NULL, 0, options);
	xmpp_form_close(&call->out);
	call->stage = 1;
	call->actions = COMMAND_MAY_COMPLETE;
	return COMMAND_FORM;
}

static enum xmpp_command_result
configure_step(struct xmpp_command_call *call)
{
	struct xmpp_user *u = xmpp_user_find(call->env, call->from.bare);
	const struct grants *gs = u != NULL ? grants_of(u) : NULL;
	const struct xmpp_form_field *f;
	char *ns;
	struct grant *g;

	if (gs == NULL || LIST_EMPTY(&gs->list)) {
		xmpp_command_note(call, "info", "Nothing is delegated.");
		return COMMAND_DONE;
	}
	if (call->stage == 0)
		return list_grants(call, gs);
	if (call->form == NULL)
		return xmpp_command_bad_payload(call, "The form is missing.");
	f = xmpp_form_field(call->form, "revoke");
	for (size_t i = 0; f != NULL && i < f->n; i++) {
		ns = td_strndup(f->values[i]);
		g = grant_find(u, ns);
		free(ns);
		if (g != NULL)
			revoke(u, g);
	}
	xmpp_command_note(call, "info", "Done.");
	return COMMAND_DONE;
}

static const struct xmpp_command configure_command = {
	.node = CONFIGURE,
	.name = "Delegated features",
	.who = COMMAND_USERS,
	.may = may_configure,
	.step = configure_step,
};

/* ---- the life of it ---- */

void
delegation_session_ended(struct xmpp_session *sess)
{
	if (sess->user->n_sessions == 0)
		revoke_all(sess->user);
}

void
delegation_user_unloaded(struct xmpp_user *u)
{
	struct grants *gs = grants_of(u);
	struct grant *g, *next;

	if (gs == NULL)
		return;
	for (g = LIST_FIRST(&gs->list); g != NULL; g = next) {
		next = LIST_NEXT(g, link);
		grant_drop(u, g);
	}
	xmpp_user_set_data(u, XMPP_USER_SLOT_DELEGATION, NULL);
	free(gs);
}

void
delegation_client_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_DELEGATION_CLIENT] = td_zalloc(sizeof(struct client_mode));
	xmpp_command_register(env, &configure_command);
}

void
delegation_client_stop(struct xmpp_env *env)
{
	struct client_mode *cm = mode_of(env);
	struct question *q, *next;

	for (q = LIST_FIRST(&cm->questions); q != NULL; q = next) {
		next = LIST_NEXT(q, link);
		question_free(q);
	}
	free(cm);
	env->module_data[XMPP_SLOT_DELEGATION_CLIENT] = NULL;
}
