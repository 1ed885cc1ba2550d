/* xep_0357_push - wake an app whose client is away (XEP-0357).
 *
 * The setting "+push" holds what clients enabled: one <enable/> each, as it came.  A message that
 * nobody really received - no resource took it, or only such as are hibernated or inactive - is
 * told to every app server, without content: how many wait.  At most one notification a second
 * goes to an account's servers; those that come meanwhile are one more at the end of it.  A server
 * that answers with an error that will stay is forgotten. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "xmpp/form.h"
#include "xmpp/im.h"
#include "xmpp/message.h"
#include "xmpp/modules.h"

#define NS_PUSH "urn:xmpp:push:0"
#define SETTING "+push"
#define APPS_MAX 20u
#define OPTIONS_MAX 4096u
#define PAUSE_MS 1000u
#define ANSWER_MS 60000u
#define FAILURES_MAX 10u

struct app {
	STAILQ_ENTRY(app) link;
	struct td_str jid, node, options; /* options: the <x/> serialised, "" = none */
	unsigned failures;
	char text[];
};
struct push {
	STAILQ_HEAD(, app) apps;
	unsigned n;
	struct td_timer pause;
	struct xmpp_user *u;
	unsigned waiting; /* messages since the last notification */
	unsigned unread;  /* since a client was last here */
};

/* ---- the list ---- */

static struct app *
app_new(struct td_str jid, struct td_str node, struct td_str options)
{
	struct app *a = td_zalloc(sizeof(*a) + jid.len + node.len + options.len + 3);
	const struct td_str parts[] = { jid, node, options };
	struct td_str *to[] = { &a->jid, &a->node, &a->options };
	char *p = a->text;

	for (size_t i = 0; i < 3; i++) {
		if (parts[i].len > 0)
			memcpy(p, parts[i].p, parts[i].len);
		*to[i] = td_str(p, parts[i].len);
		p += parts[i].len + 1;
	}
	return a;
}

static struct push *
push_of(struct xmpp_user *u)
{
	return xmpp_user_data(u, XMPP_USER_SLOT_PUSH);
}

static void on_pause(struct td_timer *t);

static struct push *
make_push(struct xmpp_user *u)
{
	struct push *p = push_of(u);

	if (p != NULL)
		return p;
	p = td_zalloc(sizeof(*p));
	STAILQ_INIT(&p->apps);
	p->u = u;
	p->pause.fire = on_pause;
	xmpp_user_set_data(u, XMPP_USER_SLOT_PUSH, p);
	return p;
}

static struct app *
find_app(struct push *p, struct td_str jid, struct td_str node)
{
	struct app *a;

	STAILQ_FOREACH(a, &p->apps, link)
	if (td_str_eq(a->jid, jid) && td_str_eq(a->node, node))
		return a;
	return NULL;
}

static void
drop_app(struct push *p, struct app *a)
{
	STAILQ_REMOVE(&p->apps, a, app, link);
	p->n--;
	free(a);
}

static void
add_app(struct push *p, struct td_str jid, struct td_str node, struct td_str options)
{
	struct app *old = find_app(p, jid, node), *a = app_new(jid, node, options);

	if (old != NULL)
		drop_app(p, old);
	STAILQ_INSERT_TAIL(&p->apps, a, link);
	p->n++;
}

static void
save(struct xmpp_user *u, void (*done)(struct xmpp_user *, int, void *), void *arg)
{
	struct push *p = push_of(u);
	struct td_buf b = { 0 };
	struct app *a;

	td_buf_addz(&b, "<push>");
	STAILQ_FOREACH(a, &p->apps, link)
	{
		td_buf_addz(&b, "<enable jid='");
		td_buf_add_xml(&b, a->jid);
		td_buf_addz(&b, "' node='");
		td_buf_add_xml(&b, a->node);
		td_buf_addz(&b, "'>");
		td_buf_adds(&b, a->options);
		td_buf_addz(&b, "</enable>");
	}
	td_buf_addz(&b, "</push>");
	xmpp_user_set_setting(u, SETTING, p->n > 0 ? td_buf_str(&b) : TD_STR_NULL, done, arg);
	td_buf_fini(&b);
}

static void
write_options(const struct xmpp_node *enable, struct td_buf *out)
{
	const struct xmpp_node *x = xmpp_form_find(enable);

	if (x != NULL)
		xmpp_node_write(out, x, NULL);
}

static void
push_load(struct xmpp_user *u)
{
	struct td_str xml = xmpp_user_setting(u, SETTING);
	struct td_arena *a;
	struct xmpp_node *n;

	if (xml.p == NULL)
		return;
	a = td_arena_new(xml.len * 2 + 512);
	n = xmpp_xml_parse(a, xml, NS_PUSH, NULL);
	n = n != NULL ? xmpp_node_child(n, NULL, NULL) : NULL;
	for (; n != NULL; n = xmpp_node_next_elem(n)) {
		struct td_buf b = { 0 };

		write_options(n, &b);
		add_app(make_push(u), xmpp_node_attr(n, "jid"), xmpp_node_attr(n, "node"),
			td_buf_str(&b));
		td_buf_fini(&b);
	}
	td_arena_free(a);
}

static void
push_unload(struct xmpp_user *u)
{
	struct push *p = push_of(u);
	struct app *a;

	if (p == NULL)
		return;
	td_timer_clear(u->env->loop, &p->pause);
	while ((a = STAILQ_FIRST(&p->apps)) != NULL)
		drop_app(p, a);
	free(p);
}

/* ---- telling ---- */

struct told {
	char *bare;
	struct td_str jid, node; /* views of <mem> */
	char *mem;
};

/* Errors that pass by themselves; all others end the registration (section 7.1). */
static bool
may_pass(const struct xmpp_stanza *answer)
{
	const struct xmpp_node *e =
		answer != NULL ? xmpp_node_child(answer->root, NULL, "error") : NULL;

	return e == NULL || td_str_eqc(xmpp_node_attr(e, "type"), "wait");
}

static void
on_answer(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg)
{
	struct told *t = arg;
	struct xmpp_user *u = xmpp_user_find(env, td_cstr(t->bare));
	struct push *p = u != NULL ? push_of(u) : NULL;
	struct app *a = p != NULL ? find_app(p, t->jid, t->node) : NULL;

	if (a != NULL && answer != NULL && answer->type == XT_RESULT) {
		a->failures = 0;
	} else if (a != NULL && answer != NULL &&
		   (!may_pass(answer) || ++a->failures >= FAILURES_MAX)) {
		td_log_info(&env->log, "push-disabled", "user=%s server=%s node=%s",
			    td_esc(u->bare), td_esc(a->jid), td_esc(a->node));
		drop_app(p, a);
		save(u, NULL, NULL);
	}
	free(t->bare);
	free(t->mem);
	free(t);
}

static void
tell(struct xmpp_user *u, const struct app *a, unsigned count)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_IQ, XT_SET);
	struct xmpp_jid me = xmpp_jid_view(u->bare), to = xmpp_jid_view(a->jid);
	struct told *t = td_zalloc(sizeof(*t));
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><publish node='");
	td_buf_add_xml(&b, a->node);
	td_buf_addz(&b, "'><item><notification xmlns='" NS_PUSH "'>");
	xmpp_form_open(&b, FORM_FORM, "urn:xmpp:push:summary");
	xmpp_form_add_int(&b, NULL, "message-count", NULL, count);
	xmpp_form_close(&b);
	td_buf_addz(&b, "</notification></item></publish>");
	if (a->options.len > 0) {
		td_buf_addz(&b, "<publish-options>");
		td_buf_adds(&b, a->options);
		td_buf_addz(&b, "</publish-options>");
	}
	td_buf_addz(&b, "</pubsub>");
	xmpp_stanza_set_from(s, &me);
	xmpp_stanza_set_to(s, &to);
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	td_buf_fini(&b);
	t->bare = td_strndup(u->bare);
	t->mem = td_alloc(a->jid.len + a->node.len + 1);
	memcpy(t->mem, a->jid.p, a->jid.len);
	memcpy(t->mem + a->jid.len, a->node.p, a->node.len);
	t->jid = td_str(t->mem, a->jid.len);
	t->node = td_str(t->mem + a->jid.len, a->node.len);
	xmpp_request(u->env, s, ANSWER_MS, on_answer, t);
}

static void
tell_all(struct push *p)
{
	struct app *a, *next;
	unsigned count = p->unread;

	p->waiting = 0;
	for (a = STAILQ_FIRST(&p->apps); a != NULL; a = next) {
		next = STAILQ_NEXT(a, link); /* an error at once drops it */
		tell(p->u, a, count);
	}
	td_timer_set(p->u->env->loop, &p->pause, PAUSE_MS);
}

static void
on_pause(struct td_timer *t)
{
	struct push *p = (struct push *)(void *)((char *)t - offsetof(struct push, pause));

	if (p->waiting > 0 && p->n > 0)
		tell_all(p);
}

/* Did a client that is there get it? */
static bool
was_seen(const struct xmpp_user *u, const struct xmpp_stanza *s)
{
	const struct xmpp_session *x;

	TAILQ_FOREACH(x, &u->sessions, link)
	if (x->took == s && x->stream != NULL && !x->inactive)
		return true;
	return false;
}

static void
push_delivered(struct xmpp_user *u, struct xmpp_stanza *s, unsigned took)
{
	struct push *p = push_of(u);

	if (p == NULL || p->n == 0 || s->type == XT_ERROR || s->type == XT_HEADLINE ||
	    (s->flags & XF_COPY) || (took > 0 && was_seen(u, s)))
		return;
	if (s->root->first != NULL && !xmpp_message_has_body(s) && !xmpp_message_is_signal(s))
		return;
	p->unread++;
	p->waiting++;
	if (p->pause.due == 0)
		tell_all(p);
}

static void
push_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	struct push *p = push_of(sess->user);

	(void)s;
	if (p != NULL && available && first)
		p->unread = 0;
}

/* ---- enabling ---- */

static void
on_saved(struct xmpp_user *u, int rc, void *arg)
{
	struct xmpp_stanza *s = arg;
	struct xmpp_iq iq = { .env = u->env, .s = s, .user = u };

	if (rc < 0)
		xmpp_iq_error(&iq, XE_INTERNAL_SERVER_ERROR, NULL);
	else
		xmpp_iq_result(&iq, TD_STR_NULL);
	xmpp_stanza_unref(&s);
}

/* XE_COUNT = fine. */
static enum xmpp_error
enable(struct xmpp_iq *iq, const struct xmpp_jid *jid, struct td_str node)
{
	struct push *p = make_push(iq->user);
	struct td_buf options = { 0 };
	enum xmpp_error e = XE_COUNT;
	struct xmpp_form form;
	const struct xmpp_node *x = xmpp_form_find(iq->payload);

	/* an app server is a service, not one of our accounts or ourselves */
	if (iq->env->host->domain(iq->env, jid->domain) == XD_LOCAL)
		return XE_NOT_ALLOWED;
	if (x != NULL && xmpp_form_read(iq->s->arena, x, &form) < 0)
		return XE_BAD_REQUEST;
	write_options(iq->payload, &options);
	if (options.len > OPTIONS_MAX || node.len > 1024)
		e = XE_POLICY_VIOLATION;
	else if (p->n >= APPS_MAX && find_app(p, jid->full, node) == NULL)
		e = XE_RESOURCE_CONSTRAINT;
	else
		add_app(p, jid->full, node, td_buf_str(&options));
	td_buf_fini(&options);
	return e;
}

static enum xmpp_error
disable(struct xmpp_iq *iq, const struct xmpp_jid *jid, struct td_str node)
{
	struct push *p = make_push(iq->user);
	struct app *a, *next;
	bool found = false;

	for (a = STAILQ_FIRST(&p->apps); a != NULL; a = next) {
		next = STAILQ_NEXT(a, link);
		if (!td_str_eq(a->jid, jid->full) || (node.p != NULL && !td_str_eq(a->node, node)))
			continue;
		drop_app(p, a);
		found = true;
	}
	return found ? XE_COUNT : XE_ITEM_NOT_FOUND;
}

static int
push_iq(struct xmpp_iq *iq)
{
	bool on = strcmp(iq->payload->name, "enable") == 0;
	struct td_str node = xmpp_node_attr(iq->payload, "node");
	struct td_arena *a = td_arena_new(0);
	struct xmpp_jid jid;
	enum xmpp_error e;

	if (xmpp_node_attr(iq->payload, "jid").len == 0)
		e = XE_BAD_REQUEST;
	else if (xmpp_jid_parse(a, xmpp_node_attr(iq->payload, "jid"), &jid, NULL) < 0)
		e = XE_JID_MALFORMED;
	else
		e = on ? enable(iq, &jid, node.p != NULL ? node : TD_STR(""))
		       : disable(iq, &jid, node);
	td_arena_free(a);
	if (e != XE_COUNT) {
		xmpp_iq_error(iq, e, NULL);
		return XMPP_DONE;
	}
	save(iq->user, on_saved, xmpp_stanza_ref(iq->s));
	return XMPP_LATER;
}

static const struct xmpp_iq_entry push_iqs[] = {
	{ NS_PUSH, "enable", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, push_iq },
	{ NS_PUSH, "disable", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, push_iq },
	{ 0 },
};
static const char *const push_features[] = { NS_PUSH, NULL };

const struct xmpp_module xep_0357_push = {
	.name = "xep-0357-push",
	.xep = "0357",
	.doc = "App servers are told when messages wait, without their content",
	.version = "0.4.1",
	.account_features = push_features,
	.iqs = push_iqs,
	.delivered = push_delivered,
	.presence = push_presence,
	.user_loaded = push_load,
	.user_unloaded = push_unload,
};
