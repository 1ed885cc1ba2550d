/* xep_0050_adhoc - ad-hoc commands of our domains (XEP-0050 1.3).
 *
 *   <command node> -> session, step -> form -> <command sessionid> -> step -> ... -> completed
 *
 * A session without another step to come is never kept.  Who asks from elsewhere, or as a guest, may nothing. */
#include "xmpp/xep/xep_0050_adhoc.h"

#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/xep/xep_0133_admin.h"

#define SESSION_MS 600000u /* since its last step */
#define SESSIONS_MAX 2000u /* of a worker */
#define SESSIONS_EACH 10u  /* of one client */
#define ENDED_KEPT 64u     /* ids of which we say that they are over */

struct command_session {
	TAILQ_ENTRY(command_session) link;
	const struct xmpp_command *command;
	char id[25];
	char *from, *domain; /* full JID; whom it asked */
	unsigned stage, actions;
	enum xmpp_command_action standard;
	void *data;
	void (*free_data)(void *);
	bool busy; /* a step is under way */
	uint64_t due;
};

struct adhoc {
	struct command_row {
		struct command_row *next;
		const struct xmpp_command *command;
	} * rows, **last;
	TAILQ_HEAD(, command_session) sessions; /* the one unused longest first */
	unsigned n;
	struct td_timer timer;
	struct xmpp_env *env;
	char ended[ENDED_KEPT][25];
	unsigned at;
};

/* A step: what its function sees, and what we need to answer. */
struct run {
	struct xmpp_call call; /* first: the env may go while a step is under way */
	struct xmpp_command_call cc;
	struct xmpp_stanza *iq;
	struct command_session *cs;
	struct xmpp_form form;
};

static struct adhoc *
adhoc_of(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_ADHOC];
}

void
xmpp_command_register(struct xmpp_env *env, const struct xmpp_command *c)
{
	struct adhoc *a = adhoc_of(env);
	struct command_row *row = td_zalloc(sizeof(*row));

	row->command = c;
	*a->last = row;
	a->last = &row->next;
}

static const struct xmpp_command *
find_command(struct xmpp_env *env, struct td_str node)
{
	for (const struct command_row *r = adhoc_of(env)->rows; r != NULL; r = r->next)
		if (td_str_eqc(node, r->command->node))
			return r->command;
	return NULL;
}

/* ---- who may ---- */

bool
xmpp_is_conf_admin(struct xmpp_env *env, struct td_str domain, struct td_str bare)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };
	size_t n;
	const struct td_str *list = conf_list(env->conf, &at, "admins", &n);
	struct td_arena *a = td_arena_new(256);
	struct xmpp_jid j;
	bool found = false;

	for (size_t i = 0; i < n && !found; i++)
		found = xmpp_jid_parse(a, list[i], &j, NULL) == 0 && td_str_eq(j.full, bare);
	td_arena_free(a);
	return found;
}

bool
xmpp_is_admin(struct xmpp_env *env, struct td_str domain, struct td_str bare)
{
	return xmpp_is_conf_admin(env, domain, bare) || xmpp_is_stored_admin(env, domain, bare);
}

static bool
may_run(struct xmpp_env *env, const struct xmpp_command *c, const struct xmpp_stanza *s)
{
	const struct xmpp_user *u;

	/* only a client of ours, on the worker that knows it */
	if (!(s->flags & XF_FROM_CLIENT) || s->from.resource.p == NULL)
		return false;
	u = xmpp_user_find(env, s->from.bare);
	if (u == NULL || !u->exists || u->anonymous || u->disabled)
		return false;
	if (c->who == COMMAND_ADMINS ? !xmpp_is_admin(env, s->to.domain, s->from.bare)
				     : !td_str_eq(s->from.domain, s->to.domain))
		return false;
	return c->may == NULL || c->may(env, s->to.domain, &s->from);
}

/* ---- sessions ---- */

static void
session_free(struct adhoc *a, struct command_session *cs)
{
	TAILQ_REMOVE(&a->sessions, cs, link);
	a->n--;
	memcpy(a->ended[a->at++ % ENDED_KEPT], cs->id, sizeof(cs->id));
	if (cs->free_data != NULL)
		cs->free_data(cs->data);
	free(cs->from);
	free(cs->domain);
	free(cs);
}

static void
expire(struct adhoc *a)
{
	uint64_t now = td_loop_now(a->env->loop);
	struct command_session *cs, *next;

	for (cs = TAILQ_FIRST(&a->sessions); cs != NULL && cs->due <= now; cs = next) {
		next = TAILQ_NEXT(cs, link);
		if (!cs->busy)
			session_free(a, cs);
	}
	if (!TAILQ_EMPTY(&a->sessions))
		td_timer_set(a->env->loop, &a->timer, SESSION_MS / 10);
}

static void
on_timer(struct td_timer *t)
{
	expire((struct adhoc *)(void *)((char *)t - offsetof(struct adhoc, timer)));
}

static void
session_used(struct adhoc *a, struct command_session *cs)
{
	cs->due = td_loop_now(a->env->loop) + SESSION_MS;
	TAILQ_REMOVE(&a->sessions, cs, link);
	TAILQ_INSERT_TAIL(&a->sessions, cs, link);
}

/* NULL: too many. */
static struct command_session *
session_new(struct adhoc *a, const struct xmpp_command *c, const struct xmpp_stanza *s)
{
	struct command_session *cs, *oldest = NULL;
	unsigned mine = 0;

	TAILQ_FOREACH(cs, &a->sessions, link)
	if (td_str_eqc(s->from.full, cs->from)) {
		if (oldest == NULL && !cs->busy)
			oldest = cs;
		mine++;
	}
	if (mine >= SESSIONS_EACH && oldest != NULL)
		session_free(a, oldest); /* it began others and left them */
	else if (mine >= SESSIONS_EACH || a->n >= SESSIONS_MAX)
		return NULL;
	cs = td_zalloc(sizeof(*cs));
	cs->command = c;
	td_random_id(cs->id, sizeof(cs->id) - 1);
	cs->from = td_strndup(s->from.full);
	cs->domain = td_strndup(s->to.domain);
	cs->due = td_loop_now(a->env->loop) + SESSION_MS;
	TAILQ_INSERT_TAIL(&a->sessions, cs, link);
	if (a->n++ == 0)
		td_timer_set(a->env->loop, &a->timer, SESSION_MS / 10);
	return cs;
}

/* ---- answers ---- */

static void
add_cmd_error(struct xmpp_iq *iq, enum xmpp_error e, const char *condition, const char *text)
{
	struct td_buf app = { 0 };

	if (condition != NULL)
		td_buf_addf(&app, "<%s xmlns='" NS_COMMANDS "'/>", condition);
	xmpp_iq_error_with(iq, e, text, td_buf_str(&app));
	td_buf_fini(&app);
}

static void
write_actions(struct td_buf *out, const struct command_session *cs)
{
	td_buf_addf(out, "<actions execute='%s'>",
		    cs->standard == COMMAND_NEXT ? "next" : "complete");
	if (cs->actions & COMMAND_MAY_PREV)
		td_buf_addz(out, "<prev/>");
	if (cs->actions & COMMAND_MAY_NEXT)
		td_buf_addz(out, "<next/>");
	if (cs->actions & COMMAND_MAY_COMPLETE)
		td_buf_addz(out, "<complete/>");
	td_buf_addz(out, "</actions>");
}

static void
answer(struct xmpp_iq *iq, const struct command_session *cs, const char *status,
       const struct td_buf *payload)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "<command xmlns='" NS_COMMANDS "' sessionid='%s' node='", cs->id);
	td_buf_add_xml(&b, td_cstr(cs->command->node));
	td_buf_addf(&b, "' status='%s' xml:lang='en'>", status);
	if (strcmp(status, "executing") == 0)
		write_actions(&b, cs);
	if (payload != NULL)
		td_buf_adds(&b, td_buf_str(payload));
	td_buf_addz(&b, "</command>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
}

void
xmpp_command_note(struct xmpp_command_call *call, const char *type, const char *text)
{
	td_buf_addf(&call->out, "<note type='%s'>", type);
	td_buf_add_xml(&call->out, td_cstr(text));
	td_buf_addz(&call->out, "</note>");
}

enum xmpp_command_result
xmpp_command_bad_payload(struct xmpp_command_call *call, const char *text)
{
	call->error = XE_BAD_REQUEST;
	call->condition = "bad-payload";
	call->text = text;
	return COMMAND_ERROR;
}

/* ---- steps ---- */

static void
run_free(struct run *r)
{
	td_buf_fini(&r->cc.out);
	td_arena_free(r->cc.arena);
	xmpp_stanza_unref(&r->iq);
	free(r);
}

static void
run_end(struct run *r, enum xmpp_command_result result)
{
	struct xmpp_env *env = r->cc.env;
	struct xmpp_iq iq = { .env = env, .s = r->iq, .payload = xmpp_stanza_payload(r->iq) };
	struct adhoc *a = adhoc_of(env);
	struct command_session *cs = r->cs;

	cs->busy = false;
	cs->data = r->cc.data;
	cs->free_data = r->cc.free_data;
	switch (result) {
	case COMMAND_FORM:
		cs->stage = r->cc.stage;
		cs->actions = r->cc.actions != 0 ? r->cc.actions : COMMAND_MAY_COMPLETE;
		cs->standard = cs->actions & COMMAND_MAY_COMPLETE ? COMMAND_COMPLETE : COMMAND_NEXT;
		if (r->cc.standard == COMMAND_NEXT && (cs->actions & COMMAND_MAY_NEXT))
			cs->standard = COMMAND_NEXT;
		session_used(a, cs);
		answer(&iq, cs, "executing", &r->cc.out);
		break;
	case COMMAND_DONE:
	case COMMAND_LATER:
		answer(&iq, cs, "completed", &r->cc.out);
		session_free(a, cs);
		break;
	case COMMAND_ERROR:
		add_cmd_error(&iq, r->cc.error, r->cc.condition, r->cc.text);
		/* a form may be mended and sent again */
		if (r->cc.condition == NULL || cs->actions == 0)
			session_free(a, cs);
		break;
	}
}

struct xmpp_env *
xmpp_command_env(const struct xmpp_command_call *call)
{
	return ((const struct run *)(const void *)((const char *)call - offsetof(struct run, cc)))
		->call.env;
}

void
xmpp_command_finish(struct xmpp_command_call *call, enum xmpp_command_result result)
{
	struct run *r = (struct run *)(void *)((char *)call - offsetof(struct run, cc));

	if (r->call.env != NULL)
		run_end(r, result);
	xmpp_call_end(&r->call);
	run_free(r);
}

/* The action that counts for a session; false: it is not allowed now. */
static bool
read_action(const struct command_session *cs, struct td_str word, enum xmpp_command_action *out)
{
	static const struct {
		const char *word;
		unsigned bit;
		enum xmpp_command_action action;
	} rows[] = { { "prev", COMMAND_MAY_PREV, COMMAND_PREV },
		     { "next", COMMAND_MAY_NEXT, COMMAND_NEXT },
		     { "complete", COMMAND_MAY_COMPLETE, COMMAND_COMPLETE } };

	if (word.len == 0 || td_str_eqc(word, "execute")) {
		*out = cs->standard;
		return true;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (td_str_eqc(word, rows[i].word)) {
			*out = rows[i].action;
			return (cs->actions & rows[i].bit) != 0;
		}
	return false;
}

static void
run_step(struct xmpp_iq *iq, struct command_session *cs, enum xmpp_command_action action)
{
	const struct xmpp_node *x = xmpp_form_find(iq->payload);
	struct run *r = td_zalloc(sizeof(*r));
	enum xmpp_command_result result;

	r->iq = xmpp_stanza_ref(iq->s);
	r->cs = cs;
	r->cc.env = iq->env;
	r->cc.command = cs->command;
	r->cc.arena = td_arena_new(0);
	r->cc.domain = iq->s->to.domain;
	r->cc.from = iq->s->from;
	r->cc.action = action;
	r->cc.stage = cs->stage;
	r->cc.data = cs->data;
	r->cc.free_data = cs->free_data;
	r->cc.standard = COMMAND_COMPLETE;
	cs->busy = true;
	/* the asker is signed in here: its account holds the worker's memory of the call */
	xmpp_call_begin(&r->call, xmpp_user_find(iq->env, iq->s->from.bare));
	if (x != NULL && xmpp_form_read(r->cc.arena, x, &r->form) < 0) {
		result = xmpp_command_bad_payload(&r->cc, "The form cannot be read.");
	} else {
		r->cc.form = x != NULL ? &r->form : NULL;
		result = cs->command->step(&r->cc); /* COMMAND_LATER: r may be gone */
	}
	if (result == COMMAND_LATER)
		return;
	xmpp_command_finish(&r->cc, result);
}

static const char *const actions[] = { "execute", "cancel", "prev", "next", "complete", NULL };

static bool
is_action(struct td_str word)
{
	for (size_t i = 0; actions[i] != NULL; i++)
		if (td_str_eqc(word, actions[i]))
			return true;
	return word.len == 0;
}

/* A request with a sessionid: its session; NULL = an error was sent. */
static struct command_session *
find_session(struct xmpp_iq *iq, const struct xmpp_command *c, struct td_str id)
{
	struct adhoc *a = adhoc_of(iq->env);
	struct command_session *cs;

	expire(a);
	TAILQ_FOREACH(cs, &a->sessions, link)
	if (td_str_eqc(id, cs->id) && cs->command == c && !cs->busy &&
	    td_str_eqc(iq->s->from.full, cs->from) && td_str_eqc(iq->s->to.domain, cs->domain))
		return cs;
	for (unsigned i = 0; i < ENDED_KEPT; i++)
		if (id.len > 0 && td_str_eqc(id, a->ended[i])) {
			add_cmd_error(iq, XE_NOT_ALLOWED, "session-expired", NULL);
			return NULL;
		}
	add_cmd_error(iq, XE_BAD_REQUEST, "bad-sessionid", NULL);
	return NULL;
}

static int
on_command(struct xmpp_iq *iq)
{
	struct td_str id = xmpp_node_attr(iq->payload, "sessionid"),
		      word = xmpp_node_attr(iq->payload, "action");
	const struct xmpp_command *c = find_command(iq->env, xmpp_node_attr(iq->payload, "node"));
	enum xmpp_command_action action = COMMAND_EXECUTE;
	struct command_session *cs;

	if (iq->env->host->domain(iq->env, iq->s->to.domain) != XD_LOCAL)
		return XMPP_PASS;
	if (c == NULL) {
		/* XEP-0133 table 1 has its own word for it */
		xmpp_iq_error(iq,
			      td_str_starts(xmpp_node_attr(iq->payload, "node"), NS_ADMIN "#")
				      ? XE_FEATURE_NOT_IMPLEMENTED
				      : XE_ITEM_NOT_FOUND,
			      NULL);
	} else if (!may_run(iq->env, c, iq->s)) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
	} else if (!is_action(word)) {
		add_cmd_error(iq, XE_BAD_REQUEST, "malformed-action", NULL);
	} else if (id.p == NULL) {
		cs = word.len == 0 || td_str_eqc(word, "execute")
			     ? session_new(adhoc_of(iq->env), c, iq->s)
			     : NULL;
		if (cs != NULL)
			run_step(iq, cs, action);
		else if (word.len == 0 || td_str_eqc(word, "execute"))
			xmpp_iq_error(iq, XE_RESOURCE_CONSTRAINT, "Too many commands are open.");
		else
			add_cmd_error(iq, XE_BAD_REQUEST, "bad-action", NULL);
	} else if ((cs = find_session(iq, c, id)) == NULL) {
		return XMPP_DONE;
	} else if (td_str_eqc(word, "cancel")) {
		answer(iq, cs, "canceled", NULL);
		session_free(adhoc_of(iq->env), cs);
	} else if (!read_action(cs, word, &action)) {
		add_cmd_error(iq, XE_BAD_REQUEST, "bad-action", NULL);
	} else {
		run_step(iq, cs, action);
	}
	return XMPP_DONE;
}

/* ---- lists ---- */

static int
on_items(struct xmpp_iq *iq)
{
	struct td_buf b = { 0 };

	if (!td_str_eqc(xmpp_node_attr(iq->payload, "node"), NS_COMMANDS) ||
	    iq->env->host->domain(iq->env, iq->s->to.domain) != XD_LOCAL)
		return XMPP_PASS;
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_ITEMS "' node='" NS_COMMANDS "'>");
	for (const struct command_row *r = adhoc_of(iq->env)->rows; r != NULL; r = r->next) {
		if (!may_run(iq->env, r->command, iq->s))
			continue;
		td_buf_addz(&b, "<item jid='");
		td_buf_add_xml(&b, iq->s->to.domain);
		td_buf_addz(&b, "' node='");
		td_buf_add_xml(&b, td_cstr(r->command->node));
		td_buf_addz(&b, "' name='");
		td_buf_add_xml(&b, td_cstr(r->command->name));
		td_buf_addz(&b, "'/>");
	}
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static int
on_info(struct xmpp_iq *iq)
{
	struct td_str node = xmpp_node_attr(iq->payload, "node");
	bool list = td_str_eqc(node, NS_COMMANDS);
	const struct xmpp_command *c = node.len > 0 ? find_command(iq->env, node) : NULL;
	struct td_buf b = { 0 };

	if ((c == NULL && !list) || iq->env->host->domain(iq->env, iq->s->to.domain) != XD_LOCAL)
		return XMPP_PASS;
	if (c != NULL && !may_run(iq->env, c, iq->s)) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "' node='");
	td_buf_add_xml(&b, node);
	td_buf_addf(&b, "'><identity category='automation' type='%s' name='",
		    list ? "command-list" : "command-node");
	td_buf_add_xml(&b, td_cstr(list ? "Commands" : c->name));
	td_buf_addz(&b,
		    "'/><feature var='" NS_COMMANDS "'/><feature var='" NS_DATA_FORM "'/></query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

/* ---- the module ---- */

static void
adhoc_start(struct xmpp_env *env)
{
	struct adhoc *a = td_zalloc(sizeof(*a));

	TAILQ_INIT(&a->sessions);
	a->last = &a->rows;
	a->env = env;
	a->timer.fire = on_timer;
	env->module_data[XMPP_SLOT_ADHOC] = a;
}

static void
adhoc_stop(struct xmpp_env *env)
{
	struct adhoc *a = adhoc_of(env);
	struct command_row *r, *next;

	while (!TAILQ_EMPTY(&a->sessions))
		session_free(a, TAILQ_FIRST(&a->sessions));
	td_timer_clear(env->loop, &a->timer);
	for (r = a->rows; r != NULL; r = next) {
		next = r->next;
		free(r);
	}
	free(a);
	env->module_data[XMPP_SLOT_ADHOC] = NULL;
}

static const char *const adhoc_features[] = { NS_COMMANDS, NULL };

static const struct xmpp_iq_entry adhoc_iqs[] = {
	{ NS_COMMANDS, "command", IQ_SET | IQ_TO_HOST, on_command },
	{ NS_DISCO_ITEMS, "query", IQ_GET | IQ_TO_HOST, on_items },
	{ NS_DISCO_INFO, "query", IQ_GET | IQ_TO_HOST, on_info },
	{ 0 },
};

const struct xmpp_module xep_0050_adhoc = {
	.name = "xep-0050-adhoc",
	.xep = "0050",
	.doc = "Commands of our domains for those who are signed in here; every step is permitted "
	       "anew",
	.version = "1.3.0",
	.features = adhoc_features,
	.iqs = adhoc_iqs,
	.start = adhoc_start,
	.stop = adhoc_stop,
};
