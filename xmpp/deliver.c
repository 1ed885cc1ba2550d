/* deliver - the delivery rules of RFC 6121 section 8, and what a client may send.
 *
 * message: type x (resource matches | no match | bare)  -> rule table below (8.5.4)
 * presence: presence.c and subscription.c
 * iq: to a resource as it is; to the account or the server by the modules' tables */
#include "xmpp/deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include "xmpp/c2s.h"
#include "xmpp/captcha.h"
#include "xmpp/component.h"
#include "xmpp/script.h"
#include "xmpp/sm.h"
#include "xmpp/xep/xep_0012_last.h"

/* ---- sending ---- */

void
xmpp_route(struct xmpp_env *env, struct xmpp_stanza *s)
{
	xmpp_stanza_seal(s);
	env->host->route(env, s);
}

void
xmpp_bounce(struct xmpp_env *env, const struct xmpp_stanza *s, enum xmpp_error e, const char *text)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, td_cstr(text));

	if (r == NULL || r->to.full.p == NULL) {
		xmpp_stanza_unref(&r);
		return;
	}
	env->stats.errors++;
	r->flags |= XF_NO_BOUNCE;
	xmpp_route(env, r);
}

/* ---- iq ---- */

static size_t
iq_key(char *out, size_t size, const char *ns, const char *name)
{
	int n = snprintf(out, size, "%s %s", ns != NULL ? ns : "", name);

	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

struct iq_slot {
	const struct xmpp_iq_entry *entry;
	struct iq_slot *more; /* same payload, other conditions */
	char key[];
};

void
xmpp_iqs_register(struct xmpp_env *env)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++) {
		for (const struct xmpp_iq_entry *e = (*m)->iqs; e != NULL && e->ns != NULL; e++) {
			char key[256];
			size_t n = iq_key(key, sizeof(key), e->ns, e->name);
			struct iq_slot *slot = td_zalloc(sizeof(*slot) + n + 1);

			memcpy(slot->key, key, n + 1);
			slot->entry = e;
			slot->more = td_map_set(&env->iqs, td_str(slot->key, n), slot);
		}
	}
}

void
xmpp_iqs_free(struct xmpp_env *env)
{
	struct iq_slot *slot, *more;
	size_t i = 0;

	while ((slot = td_map_next(&env->iqs, &i)) != NULL)
		for (; slot != NULL; slot = more) {
			more = slot->more;
			free(slot);
		}
	td_map_fini(&env->iqs);
}

void
xmpp_iq_result(struct xmpp_iq *iq, struct td_str payload_xml)
{
	struct xmpp_stanza *r = xmpp_stanza_result(iq->s);

	if (payload_xml.p != NULL)
		xmpp_stanza_append_raw(r, payload_xml);
	if (r->to.full.p == NULL)
		xmpp_stanza_unref(&r);
	else
		xmpp_route(iq->env, r);
}

void
xmpp_iq_error(struct xmpp_iq *iq, enum xmpp_error e, const char *text)
{
	xmpp_bounce(iq->env, iq->s, e, text);
}

void
xmpp_iq_error_with(struct xmpp_iq *iq, enum xmpp_error e, const char *text, struct td_str app_xml)
{
	struct xmpp_stanza *r = xmpp_stanza_error_with(iq->s, e, text, app_xml);

	if (r == NULL || r->to.full.p == NULL) {
		xmpp_stanza_unref(&r);
		return;
	}
	iq->env->stats.errors++;
	r->flags |= XF_NO_BOUNCE;
	xmpp_route(iq->env, r);
}

static int
try_slot(struct xmpp_iq *iq, const struct iq_slot *slot, bool own)
{
	uint32_t f = slot->entry->flags;

	if ((f & (iq->s->type == XT_GET ? IQ_GET : IQ_SET)) == 0 ||
	    (f & (iq->user != NULL ? IQ_TO_ACCOUNT : IQ_TO_HOST)) == 0)
		return XMPP_PASS;
	if ((f & IQ_OWN_ONLY) && iq->user != NULL && !own && !(iq->s->flags & XF_PRIVILEGED)) {
		/* RFC 6121 2.3.3; the same for accounts that do not exist */
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	if (iq->user != NULL && !iq->user->exists && !(f & IQ_ANY_ACCOUNT))
		return XMPP_PASS;
	if ((f & IQ_FROM_CLIENT) && !(iq->s->flags & XF_FROM_CLIENT)) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	return slot->entry->handle(iq);
}

static int
from_scripts(struct xmpp_iq *iq, bool own)
{
	if (iq->user != NULL)
		return iq->user->exists ? xmpp_script_request(iq, IQ_TO_ACCOUNT, own) : XMPP_PASS;
	return iq->env->host->domain(iq->env, iq->s->to.domain) == XD_LOCAL
		       ? xmpp_script_request(iq, IQ_TO_HOST, own)
		       : XMPP_PASS;
}

void
xmpp_iq_dispatch(struct xmpp_env *env, struct xmpp_user *u, struct xmpp_session *sess,
		 struct xmpp_stanza *s)
{
	struct xmpp_iq iq = { env, s, xmpp_stanza_payload(s), u, sess, NULL };
	bool own = u != NULL && td_str_eq(s->from.bare, u->bare);
	char key[256];
	int rc = XMPP_PASS;

	if (s->type != XT_GET && s->type != XT_SET) {
		if (!xmpp_request_answer(env, s))
			xmpp_stanza_unref(&s);
		return;
	}
	if ((env->delegates && xmpp_delegate(&iq)) ||
	    (env->user_delegations > 0 && xmpp_delegate_client(&iq))) {
		xmpp_stanza_unref(&s);
		return;
	}
	if (iq.payload != NULL) {
		size_t n = iq_key(key, sizeof(key), iq.payload->ns, iq.payload->name);
		struct iq_slot *slot = n > 0 ? td_map_find(&env->iqs, td_str(key, n)) : NULL;

		for (; slot != NULL && rc == XMPP_PASS; slot = slot->more)
			rc = try_slot(&iq, slot, own);
	}
	if (rc == XMPP_PASS && env->additions != NULL)
		rc = from_scripts(&iq, own);
	if (rc == XMPP_PASS)
		xmpp_iq_error(&iq, XE_SERVICE_UNAVAILABLE, NULL);
	xmpp_stanza_unref(&s);
}

/* ---- messages to an account ---- */

enum rule {
	R_IGNORE = 0,
	R_ERROR, /* service-unavailable */
	R_BEST,  /* the resources of the highest priority, else offline */
	R_ALL,   /* every resource with priority >= 0, else ignore */
};
/* RFC 6121 8.5.4, by enum xmpp_type from XT_NONE to XT_HEADLINE. */
static const struct {
	uint8_t bare, no_match;
} message_rules[] = {
	[XT_NONE] = { R_BEST, R_ERROR },       [XT_ERROR] = { R_IGNORE, R_IGNORE },
	[XT_CHAT] = { R_BEST, R_BEST },        [XT_NORMAL] = { R_BEST, R_ERROR },
	[XT_GROUPCHAT] = { R_ERROR, R_ERROR }, [XT_HEADLINE] = { R_ALL, R_IGNORE },
};

static int
best_priority(struct xmpp_user *u)
{
	struct xmpp_session *x;
	int best = -1;

	TAILQ_FOREACH(x, &u->sessions, link)
	if (x->available && x->priority > best)
		best = x->priority;
	return best;
}

void
xmpp_deliver_message_bare(struct xmpp_user *u, struct xmpp_stanza *s)
{
	int best = best_priority(u);
	struct xmpp_session *x, *next;

	if (best < 0) {
		xmpp_offline_store(u, s);
		return;
	}
	for (x = TAILQ_FIRST(&u->sessions); x != NULL; x = next) {
		next = TAILQ_NEXT(x, link);
		if (x->available && x->priority == best)
			xmpp_session_send(x, s);
	}
}

static void
message_by_rule(struct xmpp_user *u, struct xmpp_stanza *s, enum rule rule)
{
	struct xmpp_session *x, *next;

	switch (rule) {
	case R_IGNORE: break;
	case R_ERROR: xmpp_bounce(u->env, s, XE_SERVICE_UNAVAILABLE, NULL); break;
	case R_BEST: xmpp_deliver_message_bare(u, s); break;
	case R_ALL:
		for (x = TAILQ_FIRST(&u->sessions); x != NULL; x = next) {
			next = TAILQ_NEXT(x, link);
			if (x->available && x->priority >= 0)
				xmpp_session_send(x, s);
		}
		break;
	}
}

static void
deliver_message(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct xmpp_session *x = xmpp_session_find(u, s->to.resource);
	enum rule rule = (enum rule)(s->to.resource.p == NULL ? message_rules[s->type].bare
							      : message_rules[s->type].no_match);

	if (s->row != 0 && rule != R_ALL)
		rule = R_BEST; /* it is in the store to reach somebody: a mail, or the failure of one */
	if (x != NULL)
		xmpp_session_send(x, s);
	else
		message_by_rule(u, s, rule);
}

/* How many resources have <s> now. */
static unsigned
count_took(const struct xmpp_user *u, const struct xmpp_stanza *s)
{
	const struct xmpp_session *x;
	unsigned n = 0;

	TAILQ_FOREACH(x, &u->sessions, link)
	if (x->took == s)
		n++;
	return n;
}

static void
forget_took(struct xmpp_user *u)
{
	struct xmpp_session *x;

	TAILQ_FOREACH(x, &u->sessions, link)
	x->took = NULL;
}

/* The message, and what the modules make of who got it. */
static void
deliver_message_staged(struct xmpp_user *u, struct xmpp_stanza *s)
{
	const struct xmpp_module **m = u->env->on[STAGE_DELIVERED];
	unsigned took;

	if (*m == NULL) {
		deliver_message(u, s);
		return;
	}
	forget_took(u);
	deliver_message(u, s);
	took = count_took(u, s);
	for (; *m != NULL; m++)
		(*m)->delivered(u, s, took);
}

static void
deliver_unknown(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct xmpp_env *env = u->env;

	if (u->failed) {
		xmpp_bounce(env, s, XE_INTERNAL_SERVER_ERROR,
			    "The store did not answer; try again later.");
		return;
	}
	if (s->kind == XK_MESSAGE && env->host->to_mail != NULL && env->host->to_mail(env, s))
		return;
	if (s->kind == XK_IQ && s->to.resource.p == NULL) {
		xmpp_iq_dispatch(env, u, NULL, xmpp_stanza_ref(s));
		return;
	}
	if (s->kind == XK_MESSAGE && s->type == XT_HEADLINE && s->to.resource.p == NULL)
		return; /* table 1 of RFC 6121: silent, as for an account that is offline */
	if (s->kind == XK_PRESENCE && s->type == XT_PROBE)
		xmpp_presence_in(u, s);  /* as for a stranger's probe of an account that exists */
	else if (s->kind != XK_PRESENCE) /* 8.5.1: presence to nobody is ignored */
		xmpp_bounce(env, s, XE_SERVICE_UNAVAILABLE, NULL);
}

void
xmpp_deliver_loaded(struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct xmpp_session *x;

	if (xmpp_subscription_holds(u, s)) {
		xmpp_stanza_unref(&s); /* it waits behind a subscription that is being committed */
		return;
	}
	if (s->kind == XK_IQ && s->to.resource.p != NULL && xmpp_last_forbids(u, s)) {
		xmpp_bounce(u->env, s, XE_FORBIDDEN, NULL);
		xmpp_stanza_unref(&s);
		return;
	}
	if (u->exists && !u->disabled)
		for (const struct xmpp_module **m = u->env->on[STAGE_ARRIVED]; *m != NULL; m++)
			if ((*m)->arrived(u, &s) == XMPP_DONE) {
				xmpp_stanza_unref(&s);
				return;
			}
	if (!u->exists || u->disabled) {
		deliver_unknown(u, s);
	} else if (s->kind == XK_MESSAGE) {
		deliver_message_staged(u, s);
	} else if (s->kind == XK_PRESENCE) {
		xmpp_presence_in(u, s);
	} else if (s->to.resource.p == NULL) {
		x = td_str_eq(s->from.bare, u->bare) ? xmpp_session_find(u, s->from.resource)
						     : NULL;
		xmpp_iq_dispatch(u->env, u, x, s);
		return;
	} else if ((x = xmpp_session_find(u, s->to.resource)) != NULL) {
		xmpp_session_send(x, s);
	} else {
		xmpp_bounce(u->env, s, XE_SERVICE_UNAVAILABLE, NULL);
	}
	xmpp_stanza_unref(&s);
}

void
xmpp_deliver_service(struct xmpp_env *env, struct xmpp_stanza *s)
{
	char service[16];

	if (xmpp_request_answer(env, s))
		return;
	if (env->host->service != NULL && env->host->service(env, s->to.domain, service))
		for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
			if ((*m)->service != NULL && strcmp((*m)->service, service) == 0) {
				/* our own broadcasts come as bytes; a component gets them so */
				if (strcmp(service, "component") != 0)
					s = xmpp_stanza_whole(s);
				(*m)->service_deliver(env, s);
				return;
			}
	if (s->to.local.p == NULL) {
		xmpp_deliver_server(env, s);
		return;
	}
	xmpp_bounce(env, s, XE_SERVICE_UNAVAILABLE, NULL);
	xmpp_stanza_unref(&s);
}

void
xmpp_deliver_server(struct xmpp_env *env, struct xmpp_stanza *s)
{
	if (s->kind == XK_IQ) {
		xmpp_iq_dispatch(env, NULL, NULL, s);
		return;
	}
	if (s->kind == XK_MESSAGE && s->type == XT_ERROR)
		xmpp_captcha_declined(env, s);
	else if (s->kind == XK_MESSAGE && !xmpp_delegation_form(env, s))
		xmpp_bounce(env, s, xmpp_is_multicast(s) ? XE_FORBIDDEN : XE_SERVICE_UNAVAILABLE,
			    NULL);
	xmpp_stanza_unref(&s);
}

/* ---- from our clients ---- */

/* RFC 6120 8.2.3: id, a known type, and for get and set exactly one payload. */
static bool
iq_valid(const struct xmpp_stanza *s)
{
	struct xmpp_node *first = xmpp_stanza_payload(s);

	if (s->id.p == NULL || s->type == XT_NONE || s->type == XT_UNKNOWN)
		return false;
	if (s->type == XT_GET || s->type == XT_SET)
		return first != NULL && xmpp_node_next_elem(first) == NULL;
	return true;
}

static void
bad_request(struct xmpp_session *sess, struct xmpp_stanza *s, enum xmpp_error e)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, TD_STR_NULL);

	if (r == NULL)
		return;
	xmpp_stanza_seal(r);
	xmpp_session_send(sess, r);
	xmpp_stanza_unref(&r);
}

static void
presence_from_client(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	bool addressed = s->to.full.p != NULL;

	switch ((enum xmpp_type)s->type) {
	case XT_SUBSCRIBE:
	case XT_SUBSCRIBED:
	case XT_UNSUBSCRIBE:
	case XT_UNSUBSCRIBED:
		if (addressed)
			xmpp_subscription_out(sess, s);
		else
			bad_request(sess, s, XE_BAD_REQUEST);
		break;
	case XT_UNKNOWN: bad_request(sess, s, XE_BAD_REQUEST); break;
	default:
		if (addressed)
			xmpp_presence_directed(sess, s);
		else
			xmpp_presence_broadcast(sess, s);
		break;
	}
	xmpp_stanza_unref(&s);
}

static void
account_iq(struct xmpp_user *u, void *arg)
{
	struct xmpp_stanza *s = arg;

	xmpp_iq_dispatch(u->env, u, xmpp_session_find(u, s->from.resource), s);
}

void
xmpp_from_client(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_env *env = sess->env;

	s->flags |= XF_FROM_CLIENT;
	sess->user->stanzas++;
	if (sess->sm != NULL)
		xmpp_sm_received(sess, s->kind == XK_MESSAGE ? s : NULL);
	if (s->flags & XF_BAD_TO) {
		bad_request(sess, s, XE_JID_MALFORMED);
		xmpp_stanza_unref(&s);
		return;
	}
	if (s->kind == XK_IQ && !iq_valid(s)) {
		bad_request(sess, s, XE_BAD_REQUEST);
		xmpp_stanza_unref(&s);
		return;
	}
	if (env->hooks != 0) {
		if (xmpp_hook_received(env, sess, &s))
			return;
		if (sess->dead || (s->kind == XK_IQ && !iq_valid(s))) { /* a script's doing */
			bad_request(sess, s, XE_BAD_REQUEST);
			xmpp_stanza_unref(&s);
			return;
		}
	}
	if (s->to.full.p == NULL &&
	    s->kind == XK_MESSAGE) { /* 10.3.1: as if to the sender's bare address */
		struct xmpp_jid bare = sess->jid;

		bare.full = bare.bare;
		bare.resource = TD_STR_NULL;
		xmpp_stanza_set_to(s, &bare);
	}
	xmpp_client_stanza(sess, s);
}

void
xmpp_client_stanza(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_env *env = sess->env;

	for (const struct xmpp_module **m = env->on[STAGE_SENT]; *m != NULL; m++)
		if ((*m)->sent(sess, s) == XMPP_DONE) {
			xmpp_stanza_unref(&s);
			return;
		}
	if (s->kind == XK_PRESENCE) {
		env->stats.presences_in++;
		presence_from_client(sess, s);
		return;
	}
	if (s->kind == XK_MESSAGE)
		env->stats.messages_in++;
	else
		env->stats.iqs_in++;
	if (s->to.full.p == NULL && s->kind == XK_IQ) {
		/* 10.3.3: the server answers for the sender's own account */
		xmpp_stanza_seal(s);
		xmpp_user_with(env, sess->user->bare, account_iq, s);
		return;
	}
	xmpp_subscription_route(sess->user, s);
}
