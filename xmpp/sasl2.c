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
#include "store/signin.h"
#include "xmpp/cred.h"
#include "xmpp/mam.h"
#include "xmpp/modules.h"
#include "xmpp/signin.h"
#include "xmpp/sm.h"

#define AGENT_LEN 36u /* of a UUID */
#define TASK_SHA256 "UPGR-SCRAM-SHA-256"

/* The account is being loaded, or the store writes something: go on then, unless the stream went away. */
struct sasl2_call {
	struct xmpp_c2s *c; /* NULL = gone */
};

struct xmpp_sasl2 {
	struct xmpp_stanza *auth; /* <authenticate/> */
	char *agent;              /* id of the user agent, lower case; NULL = none */
	struct td_buf data;       /* additional data for <success/>, base64 */
	struct td_buf inside;     /* what else stands in it, behind the identity */
	struct td_buf archive;    /* what <bound/> says of the archive */
	struct sasl2_call *call;  /* NULL: nothing is awaited */
	struct xmpp_c2s *c;
	struct td_task bind_later;
	/* tokens: that it signed in with (0 = none), and whether it takes that back */
	uint64_t token_created, token_expires;
	const char *token_mech;
	bool token_forget;
	/* the task under way (XS_TASK) */
	bool task_begun;
	struct store_scram upgrade;
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
	td_buf_fini(&s2->archive);
	td_wipe(&s2->upgrade, sizeof(s2->upgrade));
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
struct xmpp_sasl2_offer {
	struct xmpp_sasl2_offer *next;
	unsigned offered, fast;
	bool upgrade;
	struct td_buf xml;
};

static void
write_names(struct td_buf *out, unsigned set)
{
	const char *names[XMPP_SASL_NAMES];
	size_t n = xmpp_sasl_names(set, names);

	for (size_t i = 0; i < n; i++)
		td_buf_addf(out, "<mechanism>%s</mechanism>", names[i]);
}

static void
write_offer(struct xmpp_sasl2_offer *o)
{
	td_buf_addz(&o->xml, "<authentication xmlns='" NS_SASL2 "'>");
	write_names(&o->xml, o->offered);
	td_buf_addz(&o->xml, "<inline><sm xmlns='" NS_SM "'/>");
	xmpp_bind2_feature(&o->xml);
	if (o->fast != 0) {
		td_buf_addz(&o->xml, "<fast xmlns='" NS_FAST "'>");
		write_names(&o->xml, o->fast);
		td_buf_addz(&o->xml, "</fast>");
	}
	td_buf_addz(&o->xml, "</inline>");
	if (o->upgrade)
		td_buf_addz(&o->xml, "<upgrade xmlns='" NS_UPGRADE "'>" TASK_SHA256 "</upgrade>");
	td_buf_addz(&o->xml, "</authentication>");
}

void
xmpp_sasl2_features(struct xmpp_c2s *c, unsigned bindings, struct td_buf *out)
{
	struct xmpp_sasl2_offer **at = xmpp_signin_offers(c->env), *o;
	unsigned offered = c->nego->offered, fast = 0;
	/* whoever asks sees the same: which accounts lack the verifier shows after sign-in only */
	bool upgrade = xmpp_cred_source_is_store(c->cc->creds);

	if (xmpp_signin_of(c->env, td_cstr(c->domain))->token_life > 0)
		fast = SASL_M_HT_NONE | (bindings & XB_TLS_SERVER_END_POINT ? SASL_M_HT_ENDP : 0) |
		       (bindings & XB_TLS_EXPORTER ? SASL_M_HT_EXPR : 0);
	c->nego->fast = fast;
	for (o = *at; o != NULL; o = o->next)
		if (o->offered == offered && o->fast == fast && o->upgrade == upgrade)
			break;
	if (o == NULL) {
		o = td_zalloc(sizeof(*o));
		o->offered = offered;
		o->fast = fast;
		o->upgrade = upgrade;
		o->next = *at;
		*at = o;
		write_offer(o);
	}
	td_buf_adds(out, td_buf_str(&o->xml));
}

static void
sasl2_stop(struct xmpp_env *env)
{
	struct xmpp_sasl2_offer *o = *xmpp_signin_offers(env), *next;

	for (; o != NULL; o = next) {
		next = o->next;
		td_buf_fini(&o->xml);
		free(o);
	}
	xmpp_signin_stop(env);
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

static bool
is_token(struct td_str mech)
{
	return (xmpp_sasl_bit(mech) & SASL_M_HT) != 0;
}

/* What XEP-0484 3.4 and 3.6 want beside the token; false: it must not be used so. */
bool
xmpp_sasl2_token(struct xmpp_c2s *c, struct xmpp_sasl *sasl)
{
	const struct xmpp_sasl2 *s2 = c->nego->sasl2;
	const struct xmpp_node *fast = xmpp_node_child(s2->auth->root, NS_FAST, "fast");
	struct xmpp_sasl_token *t = xmpp_sasl_token(sasl);
	struct td_str count;

	if (fast == NULL || s2->agent == NULL)
		return false;
	count = xmpp_node_attr(fast, "count");
	t->store = c->env->store;
	t->agent = s2->agent;
	t->forget = xmpp_is_true(xmpp_node_attr(fast, "invalidate"));
	return count.p == NULL || td_str_to_dec(count, 1, INT64_MAX, &t->count);
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
	return c2s_exchange(c, mech, is_token(mech) ? c->nego->fast : c->nego->offered, in);
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
	if (c2s_may_bind(c, u))
		return true;
	take_back(c, u->failed     ? SASL_TEMPORARY_AUTH_FAILURE
		     : u->disabled ? SASL_ACCOUNT_DISABLED
				   : SASL_NOT_AUTHORIZED);
	return false;
}

/* The state of the archive is known, and that of this moment: bind now (XEP-0386 3.2). */
static void
bind_user(struct xmpp_user *u, void *arg)
{
	struct xmpp_c2s *c = call_end(arg);
	struct td_buf bound = { 0 };
	struct xmpp_session *sess;

	if (c == NULL || !may_go_on(c, u))
		return;
	sess = xmpp_bind2(c, u, c->nego->sasl2->auth->root, c->nego->sasl2->agent,
			  td_buf_str(&c->nego->sasl2->archive), &bound);
	if (sess != NULL)
		with_session(c, sess, td_buf_str(&bound));
	else
		without_session(c);
	td_buf_fini(&bound);
}

static void
on_archive(struct xmpp_env *env, struct td_str metadata, void *arg)
{
	struct sasl2_call *call = arg;

	if (env == NULL || call->c == NULL) {
		free(call);
		return;
	}
	td_buf_adds(&call->c->nego->sasl2->archive, metadata);
	xmpp_user_with(env, td_cstr(call->c->bare), bind_user, call);
}

static void
bind_or_not(struct xmpp_c2s *c, struct xmpp_user *u)
{
	if (xmpp_node_child(c->nego->sasl2->auth->root, NS_BIND2, "bind") == NULL)
		without_session(c);
	else
		xmpp_mam_metadata(c->env, u->bare, u->domain, on_archive, call_new(c));
}

/* ---- on the owner ---- */

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

/* ---- tokens (XEP-0484) ---- */

/* For which mechanism a new one is wanted, or due; NULL = none. */
static const char *
token_wanted(const struct xmpp_c2s *c)
{
	const struct xmpp_sasl2 *s2 = c->nego->sasl2;
	const struct xmpp_node *want = xmpp_node_child(s2->auth->root, NS_FAST, "request-token");
	const char *names[XMPP_SASL_NAMES];
	size_t n = xmpp_sasl_names(c->nego->fast, names);

	if (s2->agent == NULL)
		return NULL;
	for (size_t i = 0; want != NULL && i < n; i++)
		if (td_str_eqc(xmpp_node_attr(want, "mechanism"), names[i]))
			return names[i];
	/* 3.5: half of its life is over */
	if (s2->token_mech != NULL && !s2->token_forget &&
	    td_wall_ms() / 1000 > s2->token_created + (s2->token_expires - s2->token_created) / 2)
		return s2->token_mech;
	return NULL;
}

static void
on_token_user(struct xmpp_user *u, void *arg)
{
	struct xmpp_c2s *c = call_end(arg);

	if (c != NULL && may_go_on(c, u))
		resume_or_bind(c, u);
}

static void
on_token(void *arg, const struct store_result *r)
{
	struct sasl2_call *call = arg;
	struct xmpp_c2s *c = call->c;

	if (c == NULL) {
		free(call);
		return;
	}
	if (r->rc < 0) {
		td_log_warn(&c->log, "token-failed", "error=%s, ignoring", td_escz(r->error));
		td_buf_clear(&c->nego->sasl2->inside);
	}
	xmpp_user_with(c->env, td_cstr(c->bare), on_token_user, call);
}

/* False: no token is wanted. */
static bool
make_token(struct xmpp_c2s *c)
{
	unsigned life = xmpp_signin_of(c->env, td_cstr(c->domain))->token_life;
	const char *mech = life > 0 ? token_wanted(c) : NULL;
	struct xmpp_sasl2 *s2 = c->nego->sasl2;
	struct store_token t = { .slot = 1 };
	char text[XMPP_TOKEN_LEN + 1], stamp[32];

	if (mech == NULL)
		return false;
	t.mech = td_cstr(mech);
	t.created = td_wall_ms() / 1000;
	t.expires = t.created + life;
	td_random(t.seed, sizeof(t.seed));
	xmpp_token_text(td_cstr(c->bare), s2->agent, mech, t.seed, text);
	td_stamp(t.expires * 1000, stamp);
	td_buf_addf(&s2->inside, "<token xmlns='" NS_FAST "' expiry='%s' token='%s'/>", stamp,
		    text);
	td_wipe(text, sizeof(text));
	/* kept before it is given: what the client has is good after a crash, too */
	store_token_put(c->env->store, td_cstr(c->bare), td_cstr(s2->agent), &t,
			(struct store_to){ c->env->loop, on_token, call_new(c) });
	td_wipe(&t, sizeof(t));
	return true;
}

static void
on_user(struct xmpp_user *u, void *arg)
{
	struct xmpp_c2s *c = call_end(arg);

	if (c != NULL && may_go_on(c, u) && !make_token(c))
		resume_or_bind(c, u);
}

void
xmpp_sasl2_moved(struct xmpp_c2s *c)
{
	c2s_wait(c);
	xmpp_user_with(c->env, td_cstr(c->bare), on_user, call_new(c));
}

bool
xmpp_sasl2_resumed(struct xmpp_c2s *c, struct td_str jid, struct td_str resumed_xml)
{
	if (c->nego == NULL || c->nego->sasl2 == NULL)
		return false;
	write_success(c, jid, resumed_xml);
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
	if (!c2s_move(c, td_cstr(c->bare)))
		xmpp_sasl2_moved(c); /* c may be gone from here on */
}

/* ---- upgrade of the verifier (XEP-0480) ---- */

static bool
asked_for_upgrade(const struct xmpp_sasl2 *s2)
{
	for (const struct xmpp_node *n = s2->auth->root->first; n != NULL; n = n->next)
		if (xmpp_node_is(n, NS_UPGRADE, "upgrade") &&
		    td_str_eqc(td_str_trim(xmpp_node_text(s2->auth->arena, n)), TASK_SHA256))
			return true;
	return false;
}

/* Only who just proved the password may leave another form of it, and only where nobody in between can be
 * listening: on a bound channel, or when the password itself came over this one. */
static bool
is_upgraded(const struct xmpp_c2s *c)
{
	const struct xmpp_sasl *s = c->nego->sasl;

	/* also where SCRAM-SHA-256 is not offered yet, because of those who lack it (docs/guide/moving.md) */
	return (xmpp_sasl_mechanism_bit(s) & (SASL_M_PLUS | SASL_M_PLAIN)) != 0 &&
	       xmpp_sasl_lacks(s) != 0 && asked_for_upgrade(c->nego->sasl2);
}

static void
send_continue(struct xmpp_c2s *c)
{
	struct xmpp_sasl2 *s2 = c->nego->sasl2;
	struct td_buf *out = xmpp_c2s_out(c);

	td_buf_addz(out, "<continue xmlns='" NS_SASL2 "'>");
	if (s2->data.len > 0)
		td_buf_addf(out, "<additional-data>%.*s</additional-data>",
			    TD_STR_ARG(td_buf_str(&s2->data)));
	td_buf_addz(out, "<tasks><task>" TASK_SHA256 "</task></tasks></continue>");
	td_buf_clear(&s2->data); /* said once */
	c2s_goto(c, XS_TASK, "task");
}

bool
xmpp_sasl2_next(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct xmpp_sasl2 *s2 = c->nego->sasl2;
	struct td_buf *out = xmpp_c2s_out(c);

	if (s2->task_begun || !td_str_eqc(xmpp_node_attr(s->root, "task"), TASK_SHA256)) {
		c2s_auth_failed(c, SASL_MALFORMED_REQUEST);
		return c->state != XS_CLOSED;
	}
	s2->task_begun = true;
	s2->upgrade =
		(struct store_scram){ .iterations = CRED_ITERATIONS, .salt_len = CRED_SALT_LEN };
	td_random(s2->upgrade.salt, s2->upgrade.salt_len);
	td_buf_addf(out,
		    "<task-data xmlns='" NS_SASL2 "'><salt xmlns='" NS_SCRAM_UPGRADE
		    "' iterations='%u'>",
		    s2->upgrade.iterations);
	td_buf_add_base64(out, s2->upgrade.salt, s2->upgrade.salt_len);
	td_buf_addz(out, "</salt></task-data>");
	return true;
}

static void
on_upgraded(void *arg, const struct store_result *r)
{
	struct xmpp_c2s *c = call_end(arg);

	if (c == NULL)
		return;
	if (r->rc < 0 && r->rc != TD_E_EXISTS) {
		c2s_auth_failed(c, SASL_TEMPORARY_AUTH_FAILURE);
		if (c->state != XS_CLOSED)
			c2s_go_on(c);
		return;
	}
	td_log_info(&c->log, "verifier-added", "mech=SCRAM-SHA-256 user=%.*s",
		    TD_STR_ARG(xmpp_sasl_user(c->nego->sasl)));
	c->cc->ops->pause(c->io, false);
	finish(c); /* c may be gone from here on */
}

bool
xmpp_sasl2_task_data(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	const struct xmpp_node *hash = xmpp_node_child(s->root, NS_SCRAM_UPGRADE, "hash");
	struct xmpp_sasl2 *s2 = c->nego->sasl2;
	struct td_buf salted = { 0 }, bare = { 0 };
	bool ok;

	ok = s2->task_begun && hash != NULL &&
	     td_base64_decode(td_str_trim(xmpp_node_text(s->arena, hash)), &salted) == 0 &&
	     xmpp_scram_from_salted(td_buf_str(&salted), &s2->upgrade);
	td_wipe(salted.p, salted.len);
	td_buf_fini(&salted);
	if (!ok) {
		c2s_auth_failed(c, SASL_MALFORMED_REQUEST);
		return c->state != XS_CLOSED;
	}
	td_buf_addf(&bare, "%.*s@%s", TD_STR_ARG(xmpp_sasl_user(c->nego->sasl)), c->domain);
	c2s_wait(c);
	store_account_upgrade(c->env->store, td_buf_str(&bare), &s2->upgrade,
			      (struct store_to){ c->env->loop, on_upgraded, call_new(c) });
	td_buf_fini(&bare);
	return false;
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
	if (xmpp_sasl_mechanism_bit(n->sasl) & SASL_M_HT) {
		const struct xmpp_sasl_token *t = xmpp_sasl_token(n->sasl);

		n->sasl2->token_mech = xmpp_sasl_mechanism(n->sasl);
		n->sasl2->token_created = t->created;
		n->sasl2->token_expires = t->expires;
		n->sasl2->token_forget = t->forget;
	}
	if (is_upgraded(c))
		send_continue(c);
	else
		finish(c); /* c may be gone from here on */
}

const struct xmpp_module xep_0388_sasl2 = {
	.name = "xep-0388-sasl2",
	.xep = "0388",
	.doc = "Extensible SASL profile: sign in, resume or bind in one exchange, under TLS",
	.version = "1.0.4",
	.stop = sasl2_stop,
};

const struct xmpp_module xep_0480_upgrade = {
	.name = "xep-0480-upgrade",
	.xep = "0480",
	.doc = "An account without a SCRAM-SHA-256 verifier gets one from its client, on a bound "
	       "channel",
	.version = "0.2.0",
};

const struct xmpp_module xep_0484_fast = {
	.name = "xep-0484-fast",
	.xep = "0484",
	.doc = "Tokens for one client each, to sign in within one round trip; gone with the "
	       "password",
	.version = "0.2.0",
};
