/* xep_0175_anonymous - what a guest may do (XEP-0175 1.2): talk with people and rooms of this server while its session
 * lasts.  Nothing of it is kept, and nothing reaches other servers. */
#include <string.h>
#include "xmpp/modules.h"

static void
refuse(struct xmpp_session *sess, struct xmpp_stanza *s, enum xmpp_error e)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, TD_STR("Guests may not do this."));

	if (r == NULL)
		return;
	xmpp_stanza_seal(r);
	xmpp_session_send(sess, r);
	xmpp_stanza_unref(&r);
}

/* Requests to its own account change what an account keeps; a guest has none. */
static bool
is_own_change(const struct xmpp_session *sess, const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_stanza_payload(s);

	if (s->kind != XK_IQ || s->type != XT_SET ||
	    (s->to.full.p != NULL && !td_str_eq(s->to.full, sess->user->bare)))
		return false;
	return n == NULL || n->ns == NULL || strcmp(n->ns, NS_SESSION) != 0;
}

static bool
is_subscription(const struct xmpp_stanza *s)
{
	return s->kind == XK_PRESENCE && (s->type == XT_SUBSCRIBE || s->type == XT_SUBSCRIBED ||
					  s->type == XT_UNSUBSCRIBE || s->type == XT_UNSUBSCRIBED);
}

/* Accounts here, our domains, rooms; of other services only what they are. */
static bool
may_reach(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_stanza_payload(s);
	char service[16];

	if (s->to.full.p == NULL)
		return true;
	switch (env->host->domain(env, s->to.domain)) {
	case XD_LOCAL: return true;
	case XD_SERVICE:
		if (env->host->service != NULL && env->host->service(env, s->to.domain, service) &&
		    strcmp(service, "muc") == 0)
			return true;
		return s->kind == XK_IQ && s->type == XT_GET && n != NULL && n->ns != NULL &&
		       (strcmp(n->ns, NS_DISCO_INFO) == 0 || strcmp(n->ns, NS_DISCO_ITEMS) == 0);
	default: return false;
	}
}

static int
anonymous_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	if (!sess->user->anonymous)
		return XMPP_PASS;
	if (is_subscription(s) || is_own_change(sess, s))
		refuse(sess, s, XE_NOT_ALLOWED);
	else if (!may_reach(sess->env, s))
		refuse(sess, s, XE_FORBIDDEN);
	else
		return XMPP_PASS;
	return XMPP_DONE;
}

/* Nor does anything from elsewhere reach a guest, nor a request to be a contact. */
static int
anonymous_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp;
	enum xmpp_domain_kind from;

	if (!u->anonymous)
		return XMPP_PASS;
	from = s->from.full.p != NULL ? u->env->host->domain(u->env, s->from.domain) : XD_LOCAL;
	if (from == XD_LOCAL || from == XD_SERVICE) {
		if (!is_subscription(s))
			return XMPP_PASS;
	} else if (s->kind != XK_PRESENCE) {
		xmpp_bounce(u->env, s, XE_SERVICE_UNAVAILABLE, NULL);
	}
	return XMPP_DONE;
}

/* The last session is over: the address is nobody's again. */
static void
anonymous_ended(struct xmpp_session *sess)
{
	struct xmpp_user *u = sess->user;

	if (u->anonymous && u->n_sessions == 0)
		u->exists = u->anonymous = false;
}

const struct xmpp_module xep_0175_anonymous = {
	.name = "xep-0175-anonymous",
	.xep = "0175",
	.doc = "Guests: on domains that let them in, with an address of random letters, confined "
	       "to this server",
	.version = "1.2",
	.sent = anonymous_sent,
	.arrived = anonymous_arrived,
	.session_ended = anonymous_ended,
};
