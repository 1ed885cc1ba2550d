/* sasl2 - <authenticate/> from its first to its last element (XEP-0388).
 *
 *   authenticate -> c2s_exchange ... -> xmpp_sasl2_success -> [task: continue, next, task-data] -> finish
 *     -> the account's worker -> account loaded -> token -> resume | bind -> <success/>, features
 *
 * What was asked for inline stays in the <authenticate/> element, which is kept until the end; nothing of
 * it is looked at before the exchange succeeded (2.6.2). */
#include "xmpp/sasl2.h"

#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/c2s_priv.h"
#include "xmpp/modules.h"
#include "xmpp/sm.h"

#define AGENT_LEN 36u /* of a UUID */

/* The account is being loaded, or the store writes something: go on then, unless the stream went away. */
struct sasl2_call {
	struct xmpp_c2s *c; /* NULL = gone */
};

struct xmpp_sasl2 {
	struct xmpp_stanza *auth; /* <authenticate/> */
	char *agent;              /* id of the user agent, lower case; NULL = none */
	struct td_buf data;       /* additional data for <success/>, base64 */
	struct td_buf inside;     /* what else stands in it, behind the identity */
	struct sasl2_call *call;  /* NULL: nothing is awaited */
	struct xmpp_c2s *c;
	struct td_task bind_later;
};

void
xmpp_sasl2_free(struct xmpp_sasl2 *s2)
{
	if (s2 == NULL)
		return;
	if (s2->call != NULL)
		s2->call->c = NULL;
	if (s2->bind_later.queued)
		td_loop_undefer(s2->c->env->loop, &s2->bind_later);
	xmpp_stanza_unref(&s2->auth);
	td_buf_fini(&s2->data);
	td_buf_fini(&s2->inside);
	free(s2->agent);
	free(s2);
}

const char *
xmpp_sasl2_agent(const struct xmpp_sasl2 *s2)
{
	return s2->agent;
}

const struct xmpp_node *
xmpp_sasl2_request(const struct xmpp_sasl2 *s2)
{
	return s2->auth->root;
}

/* ---- what is offered ---- */

/* The element is the same for nearly every stream: made once for each set of mechanisms. */
struct offer {
	struct offer *next;
	unsigned offered, bindings;
	struct td_buf xml;
};

static void
write_offer(struct offer *o)
{
	const char *names[XMPP_SASL_NAMES];
	size_t n = xmpp_sasl_names(o->offered, names);

	td_buf_addz(&o->xml, "<authentication xmlns='" NS_SASL2 "'>");
	for (size_t i = 0; i < n; i++)
		td_buf_addf(&o->xml, "<mechanism>%s</mechanism>", names[i]);
	td_buf_addz(&o->xml, "<inline><sm xmlns='" NS_SM "'/>");
	xmpp_bind2_feature(&o->xml);
	td_buf_addz(&o->xml, "</inline></authentication>");
}

void
xmpp_sasl2_features(struct xmpp_c2s *c, unsigned bindings, struct td_buf *out)
{
	struct offer **at = (struct offer **)&c->env->module_data[XMPP_SLOT_SIGNIN], *o;

	for (o = *at; o != NULL; o = o->next)
		if (o->offered == c->nego->offered && o->bindings == bindings)
			break;
	if (o == NULL) {
		o = td_zalloc(sizeof(*o));
		o->offered = c->nego->offered;
		o->bindings = bindings;
		o->next = *at;
		*at = o;
		write_offer(o);
	}
	td_buf_adds(out, td_buf_str(&o->xml));
}

static void
sasl2_stop(struct xmpp_env *env)
{
	struct offer *o = env->module_data[XMPP_SLOT_SIGNIN], *next;

	for (; o != NULL; o = next) {
		next = o->next;
		td_buf_fini(&o->xml);
		free(o);
	}
	env->module_data[XMPP_SLOT_SIGNIN] = NULL;
}

/* ---- <authenticate/> ---- */

/* 2.3: the id of a user agent is a UUID. */
static bool
read_agent(const struct xmpp_node *auth, char **agent_out)
{
	const struct xmpp_node *n = xmpp_node_child(auth, NS_SASL2, "user-agent");
	struct td_str id = n != NULL ? xmpp_node_attr(n, "id") : TD_STR_NULL;

	*agent_out = NULL;
	if (id.p == NULL)
		return true;
	if (id.len != AGENT_LEN)
		return false;
	for (size_t i = 0; i < AGENT_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? id.p[i] != '-' : strchr("0123456789abcdefABCDEF", id.p[i]) == NULL)
			return false;
	}
	*agent_out = td_strndup(id);
	for (char *p = *agent_out; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'F')
			*p += 'a' - 'A';
	return true;
}

bool
xmpp_sasl2_authenticate(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	const struct xmpp_node *initial = xmpp_node_child(s->root, NS_SASL2, "initial-response");
	struct xmpp_sasl2 *s2 = td_zalloc(sizeof(*s2));
	struct td_str in = TD_STR_NULL, mech = xmpp_node_attr(s->root, "mechanism");

	c->nego->sasl2 = s2;
	s2->c = c;
	s2->auth = xmpp_stanza_ref(s);
	if (mech.len == 0 || !read_agent(s->root, &s2->agent)) {
		c2s_auth_failed(c, SASL_MALFORMED_REQUEST);
		return false;
	}
	if (initial != NULL) {
		in = td_str_trim(xmpp_node_text(s->arena, initial));
		if (td_str_eqc(in, "=")) { /* of RFC 6120 only: here an empty element says it */
			c2s_auth_failed(c, SASL_INCORRECT_ENCODING);
			return false;
		}
		if (in.len == 0)
			in = TD_STR("=");
	}
	return c2s_exchange(c, mech, c->nego->offered, in);
}

/* ---- <success/> ---- */

static void
write_success(struct xmpp_c2s *c, struct td_str identity, struct td_str more)
{
	struct xmpp_sasl2 *s2 = c->nego->sasl2;
	struct td_buf *out = xmpp_c2s_out(c);

	td_buf_addz(out, "<success xmlns='" NS_SASL2 "'>");
	if (s2->data.len > 0)
		td_buf_addf(out, "<additional-data>%.*s</additional-data>",
			    TD_STR_ARG(td_buf_str(&s2->data)));
	td_buf_addz(out, "<authorization-identifier>");
	td_buf_add_xml(out, identity);
	td_buf_addz(out, "</authorization-identifier>");
	td_buf_adds(out, td_buf_str(&s2->inside));
	td_buf_adds(out, more);
	td_buf_addz(out, "</success>");
	c->nego->sasl2 = NULL;
	xmpp_sasl2_free(s2);
}

/* No session yet: the client binds one by RFC 6120, or resumes one. */
static void
without_session(struct xmpp_c2s *c)
{
	write_success(c, td_cstr(c->bare), TD_STR_NULL);
	c2s_goto(c, XS_BIND, "success");
	c2s_send_features(c);
	c2s_go_on(c); /* c may be gone from here on */
}

static void
with_session(struct xmpp_c2s *c, struct xmpp_session *sess, struct td_str bound)
{
	write_success(c, sess->jid.full, bound);
	c->session = sess;
	c2s_send_features(c);
	td_log_info(&c->log, "session-start", "jid=%s", td_esc(sess->jid.full));
	xmpp_session_started(sess);
	if (sess->dead) { /* a script would have none of it */
		xmpp_c2s_end(c, "policy-violation", NULL);
		return;
	}
	c->nego->waiting = false;
	c->cc->ops->pause(c->io, false);
	xmpp_c2s_adopt(c, sess); /* c may be gone from here on */
}

static void
bind_or_not(struct xmpp_c2s *c, struct xmpp_user *u)
{
	const struct xmpp_node *auth = c->nego->sasl2->auth->root;
	struct td_buf bound = { 0 };
	struct xmpp_session *sess = NULL;

	if (xmpp_node_child(auth, NS_BIND2, "bind") != NULL)
		sess = xmpp_bind2(c, u, auth, c->nego->sasl2->agent, &bound);
	if (sess != NULL)
		with_session(c, sess, td_buf_str(&bound));
	else
		without_session(c);
	td_buf_fini(&bound);
}

/* ---- on the owner ---- */

static struct sasl2_call *
call_new(struct xmpp_c2s *c)
{
	struct sasl2_call *call = td_zalloc(sizeof(*call));

	call->c = c;
	c->nego->sasl2->call = call;
	return call;
}

/* The stream of a call that came back; NULL: it went away. */
static struct xmpp_c2s *
call_end(struct sasl2_call *call)
{
	struct xmpp_c2s *c = call->c;

	free(call);
	if (c != NULL)
		c->nego->sasl2->call = NULL;
	return c;
}

/* It cannot be had after all: back to where it was before. */
static void
take_back(struct xmpp_c2s *c, enum xmpp_sasl_error e)
{
	char *bare = c->bare;

	c->domain = td_strdup(c->domain);
	c->bare = NULL;
	free(bare);
	c->reader.max_stanza = c->cc->max_stanza_unauth;
	c->env->stats.logins--;
	c2s_auth_failed(c, e);
	if (c->state != XS_CLOSED)
		c2s_go_on(c);
}

static bool
may_go_on(struct xmpp_c2s *c, struct xmpp_user *u)
{
	if (!u->exists && !u->failed && c->cc->provision) {
		struct store_account a = { .jid = u->bare, .created = td_wall_ms() / 1000 };

		store_account_add(c->env->store, &a, (struct store_to){ 0 });
		u->exists = true;
	}
	if (u->exists && !u->disabled)
		return true;
	take_back(c, u->failed     ? SASL_TEMPORARY_AUTH_FAILURE
		     : u->disabled ? SASL_ACCOUNT_DISABLED
				   : SASL_NOT_AUTHORIZED);
	return false;
}

static void
on_bind_user(struct xmpp_user *u, void *arg)
{
	struct xmpp_c2s *c = call_end(arg);

	if (c != NULL && may_go_on(c, u))
		bind_or_not(c, u);
}

static void
on_bind_later(struct td_task *t)
{
	struct xmpp_sasl2 *s2 =
		(struct xmpp_sasl2 *)(void *)((char *)t - offsetof(struct xmpp_sasl2, bind_later));

	xmpp_user_with(s2->c->env, td_cstr(s2->c->bare), on_bind_user, call_new(s2->c));
}

static void
resume_or_bind(struct xmpp_c2s *c, struct xmpp_user *u)
{
	struct xmpp_sasl2 *s2 = c->nego->sasl2;
	const struct xmpp_node *resume = xmpp_node_child(s2->auth->root, NS_SM, "resume");

	if (resume != NULL) {
		if (xmpp_sm_resume(c, resume))
			return; /* c may be gone */
		td_buf_addz(&s2->inside,
			    "<failed xmlns='" NS_SM "'><item-not-found xmlns='" NS_STANZA_ERRORS
			    "'/></failed>");
	}
	bind_or_not(c, u);
}

static void
on_user(struct xmpp_user *u, void *arg)
{
	struct xmpp_c2s *c = call_end(arg);

	if (c != NULL && may_go_on(c, u))
		resume_or_bind(c, u);
}

void
xmpp_sasl2_moved(struct xmpp_c2s *c)
{
	c2s_wait(c);
	xmpp_user_with(c->env, td_cstr(c->bare), on_user, call_new(c));
}

bool
xmpp_sasl2_resumed(struct xmpp_c2s *c, struct td_str resumed_xml)
{
	if (c->nego == NULL || c->nego->sasl2 == NULL)
		return false;
	write_success(c, td_cstr(c->bare), resumed_xml);
	c->nego->waiting = false; /* held goes with the negotiation, and reading goes on */
	return true;
}

bool
xmpp_sasl2_not_resumed(struct xmpp_c2s *c)
{
	struct xmpp_sasl2 *s2 = c->nego != NULL ? c->nego->sasl2 : NULL;

	if (s2 == NULL)
		return false;
	c->nego->held = false;
	td_buf_addz(&s2->inside, "<failed xmlns='" NS_SM
				 "'><item-not-found xmlns='" NS_STANZA_ERRORS "'/></failed>");
	s2->bind_later.run = on_bind_later;
	td_loop_defer(c->env->loop, &s2->bind_later);
	return true;
}

/* ---- after the exchange ---- */

static void
finish(struct xmpp_c2s *c)
{
	c2s_authenticated(c);
	c2s_goto(c, XS_INLINE, "auth-ok");
	c->nego->waiting = true; /* what was sent ahead is kept, and goes with the stream */
	if (!c2s_move(c))
		xmpp_sasl2_moved(c); /* c may be gone from here on */
}

void
xmpp_sasl2_success(struct xmpp_c2s *c, struct td_str more)
{
	struct c2s_nego *n = c->nego;

	/* 2.3, 4.4: whom it wants to be and whom it said it is are the same */
	if (n->from != NULL && !td_str_eqc(xmpp_sasl_authzid(n->sasl), "") &&
	    !td_str_eqc(xmpp_sasl_authzid(n->sasl), n->from)) {
		c2s_auth_failed(c, SASL_INVALID_AUTHZID);
		return;
	}
	td_buf_adds(&n->sasl2->data, more);
	finish(c);
}

bool
xmpp_sasl2_next(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	(void)s;
	c2s_auth_failed(c, SASL_MALFORMED_REQUEST);
	return false;
}

bool
xmpp_sasl2_task_data(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	(void)s;
	c2s_auth_failed(c, SASL_MALFORMED_REQUEST);
	return false;
}

const struct xmpp_module xep_0388_sasl2 = {
	.name = "xep-0388-sasl2",
	.xep = "0388",
	.doc = "Extensible SASL profile: sign in, resume or bind in one exchange, under TLS",
	.version = "1.0.4",
	.stop = sasl2_stop,
};
