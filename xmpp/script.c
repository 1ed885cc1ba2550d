/* script - where scripts are asked on a stanza's way, and the requests and features they add.
 *
 *   from a client or a component    xmpp_hook_received
 *   for an account                  the module's arrived, delivered
 *   to a client                     xmpp_hook_sending
 *
 * A script may let a stanza go on, drop it, refuse it with a condition or put another in its
 * place.  The new one has the promise, the row and the flags of the old one: acknowledgements and
 * the store do not notice. */
#include "xmpp/script.h"

#include <stdlib.h>
#include "xmpp/c2s.h"
#include "xmpp/modules.h"

static enum xmpp_verdict
ask(struct xmpp_env *env, struct xmpp_hook_call *c)
{
	return env->host->hook(env, c);
}

/* A row of the message store that nobody will get. */
static void
forget_row(struct xmpp_user *u, const struct xmpp_stanza *s)
{
	if (s->row == 0)
		return;
	store_message_del(u->env->store, &s->row, 1, (struct store_to){ 0 });
	if (xmpp_user_row_in_flight(u, s->row))
		xmpp_user_row_end(u, s->row);
}

static bool
wants_answer(const struct xmpp_stanza *s)
{
	return s->type != XT_ERROR && s->type != XT_RESULT;
}

/* ---- received ---- */

static void
refuse_to_client(struct xmpp_session *sess, const struct xmpp_hook_call *c)
{
	struct xmpp_stanza *r = xmpp_stanza_error(c->s, c->error, td_cstr(c->why));

	if (r == NULL)
		return;
	sess->env->stats.errors++;
	if (r->to.full.p == NULL) /* the client need not say who it is */
		xmpp_stanza_set_to(r, &sess->jid);
	xmpp_stanza_seal(r);
	xmpp_session_send(sess, r);
	xmpp_stanza_unref(&r);
}

bool
xmpp_hook_received(struct xmpp_env *env, struct xmpp_session *sess, struct xmpp_stanza **s)
{
	static const enum xmpp_hook client[] = { [XK_MESSAGE] = XH_CLIENT_MESSAGE,
						 [XK_PRESENCE] = XH_CLIENT_PRESENCE,
						 [XK_IQ] = XH_CLIENT_IQ };
	static const enum xmpp_hook server[] = { [XK_MESSAGE] = XH_SERVER_MESSAGE,
						 [XK_PRESENCE] = XH_SERVER_PRESENCE,
						 [XK_IQ] = XH_SERVER_IQ };
	struct xmpp_hook_call c = { .sess = sess, .s = *s };

	if ((*s)->kind == XK_OTHER)
		return false;
	c.hook = sess != NULL ? client[(*s)->kind] : server[(*s)->kind];
	c.user = sess != NULL ? sess->user : NULL;
	if (!xmpp_hooked(env, c.hook))
		return false;
	switch (ask(env, &c)) {
	case XV_GO: return false;
	case XV_DROP: break;
	case XV_BOUNCE:
		if (sess != NULL)
			refuse_to_client(sess, &c);
		else
			xmpp_bounce(env, *s, c.error, c.why);
		break;
	case XV_REPLACE:
		c.replaced->flags = (*s)->flags & ~XF_BAD_TO;
		c.replaced->promise = (*s)->promise;
		(*s)->promise = NULL;
		xmpp_stanza_unref(s);
		*s = c.replaced;
		return false;
	}
	xmpp_stanza_unref(s);
	return true;
}

/* ---- to a client ---- */

/* <n> becomes what <s> was: its copy in the store, its acknowledgements. */
static void
stand_in(struct xmpp_stanza *n, struct xmpp_stanza *s)
{
	n->flags = s->flags;
	n->row = s->row;
	n->archived = s->archived;
	xmpp_stanza_seal(n);
}

bool
xmpp_hook_sending(struct xmpp_session *sess, struct xmpp_stanza **s)
{
	struct xmpp_hook_call c = {
		.hook = XH_BEFORE_SEND, .sess = sess, .user = sess->user, .s = *s
	};

	switch (ask(sess->env, &c)) {
	case XV_GO: return false;
	case XV_DROP: break;
	case XV_BOUNCE:
		if (wants_answer(*s))
			xmpp_bounce(sess->env, *s, c.error, c.why);
		break;
	case XV_REPLACE:
		stand_in(c.replaced, *s);
		/* others may have <s> too: whose promise it is stays open till all are through */
		c.replaced->base = xmpp_stanza_ref(*s);
		*s = c.replaced;
		return false;
	}
	forget_row(sess->user, *s);
	return true;
}

/* ---- streams and sessions ---- */

const char *
xmpp_hook_sign_in(struct xmpp_c2s *c, const char *bare, const char *mechanism)
{
	struct xmpp_hook_call call = {
		.hook = XH_SIGN_IN, .stream = c, .jid = td_cstr(bare), .mechanism = mechanism
	};
	struct xmpp_env *env = xmpp_c2s_env(c);

	if (!xmpp_hooked(env, XH_SIGN_IN) || ask(env, &call) == XV_GO)
		return NULL;
	return call.condition != NULL ? call.condition : "not-authorized";
}

const char *
xmpp_hook_stream(struct xmpp_c2s *c, char why[200])
{
	struct xmpp_hook_call call = { .hook = XH_STREAM_OPEN, .stream = c };
	struct xmpp_env *env = xmpp_c2s_env(c);

	why[0] = '\0';
	if (!xmpp_hooked(env, XH_STREAM_OPEN) || ask(env, &call) == XV_GO)
		return NULL;
	memcpy(why, call.why, sizeof(call.why));
	return call.condition != NULL ? call.condition : "policy-violation";
}

void
xmpp_hook_session(struct xmpp_session *sess, enum xmpp_hook h)
{
	struct xmpp_hook_call c = { .hook = h, .sess = sess, .user = sess->user };

	(void)ask(sess->env, &c);
}

/* ---- for an account ---- */

static int
script_arrived(struct xmpp_user *u, struct xmpp_stanza **s)
{
	struct xmpp_hook_call c = { .hook = XH_ARRIVED, .user = u, .s = *s };

	if (!xmpp_hooked(u->env, XH_ARRIVED))
		return XMPP_PASS;
	switch (ask(u->env, &c)) {
	case XV_GO: return XMPP_PASS;
	case XV_DROP: break;
	case XV_BOUNCE:
		if (wants_answer(*s))
			xmpp_bounce(u->env, *s, c.error, c.why);
		break;
	case XV_REPLACE:
		stand_in(c.replaced, *s);
		c.replaced->promise = (*s)->promise;
		(*s)->promise = NULL;
		xmpp_stanza_unref(s);
		*s = c.replaced;
		return XMPP_PASS;
	}
	forget_row(u, *s);
	return XMPP_DONE;
}

static void
script_delivered(struct xmpp_user *u, struct xmpp_stanza *s, unsigned took)
{
	struct xmpp_hook_call c = { .hook = XH_DELIVERED, .user = u, .s = s, .count = took };

	if (xmpp_hooked(u->env, XH_DELIVERED))
		(void)ask(u->env, &c);
}

static void
script_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	struct xmpp_hook_call c = { .hook = XH_PRESENCE,
				    .sess = sess,
				    .user = sess->user,
				    .s = s,
				    .available = available,
				    .first = first };

	if (xmpp_hooked(sess->env, XH_PRESENCE))
		(void)ask(sess->env, &c);
}

static void
script_subscription(struct xmpp_user *u, struct td_str contact, unsigned before, unsigned after)
{
	struct xmpp_hook_call c = {
		.hook = XH_SUBSCRIPTION, .user = u, .jid = contact, .before = before, .after = after
	};

	if (xmpp_hooked(u->env, XH_SUBSCRIPTION))
		(void)ask(u->env, &c);
}

static void
script_account_removed(struct xmpp_env *env, struct td_str bare)
{
	struct xmpp_hook_call c = { .hook = XH_ACCOUNT_REMOVED, .jid = bare };

	if (xmpp_hooked(env, XH_ACCOUNT_REMOVED))
		(void)ask(env, &c);
}

/* ---- what is added ---- */

/* Namespaces that are answered or read elsewhere than in a module's table. */
static const struct {
	const char *ns, *owner;
} built_in[] = {
	{ NS_BIND, "rfc6120" },
	{ NS_SESSION, "rfc3921" },
	{ NS_CLIENT, "rfc6120" },
	{ NS_SERVER, "rfc6120" },
	{ NS_COMPONENT, "xep-0114-component" },
	{ NS_STREAM, "rfc6120" },
	{ NS_STANZA_ERRORS, "rfc6120" },
	{ NS_PUBSUB, "xep-0060-pubsub" },
	{ NS_PUBSUB_OWNER, "xep-0060-pubsub" },
	{ "http://jabber.org/protocol/bytestreams", "xep-0065-bytestreams" },
	{ "http://jabber.org/protocol/muc", "xep-0045-muc" },
	{ "http://jabber.org/protocol/muc#admin", "xep-0045-muc" },
	{ "http://jabber.org/protocol/muc#owner", "xep-0045-muc" },
	{ "http://jabber.org/protocol/muc#unique", "xep-0307-unique-name" },
	{ "urn:xmpp:message-moderate:1", "xep-0425-moderation" },
	{ "urn:xmpp:channel-search:0:search", "xep-0433-channel-search" },
	{ "jabber:iq:search", "xep-0055-search" },
	{ "urn:xmpp:http:upload:0", "xep-0363-upload" },
};

const char *
xmpp_ns_owner(const char *ns)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		for (const struct xmpp_iq_entry *e = (*m)->iqs; e != NULL && e->ns != NULL; e++)
			if (strcmp(e->ns, ns) == 0)
				return (*m)->name;
	for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]); i++)
		if (strcmp(built_in[i].ns, ns) == 0)
			return built_in[i].owner;
	return NULL;
}

const char *
xmpp_feature_owner(const char *var)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		for (int account = 0; account < 2; account++)
			for (const char *const *f = account ? (*m)->account_features
							    : (*m)->features;
			     f != NULL && *f != NULL; f++)
				if (strcmp(*f, var) == 0)
					return (*m)->name;
	return NULL;
}

int
xmpp_script_request(struct xmpp_iq *iq, uint32_t to, bool own)
{
	const struct xmpp_additions *ad = iq->env->additions;
	uint32_t type = iq->s->type == XT_GET ? IQ_GET : IQ_SET;

	if (ad == NULL || iq->payload == NULL || iq->payload->ns == NULL)
		return XMPP_PASS;
	for (size_t i = 0; i < ad->n_iqs; i++) {
		const struct xmpp_script_iq *e = &ad->iqs[i];

		if ((e->flags & type) == 0 || (e->flags & to) == 0 ||
		    strcmp(e->ns, iq->payload->ns) != 0 ||
		    (e->name != NULL && strcmp(e->name, iq->payload->name) != 0))
			continue;
		if ((e->flags & IQ_OWN_ONLY) && to == IQ_TO_ACCOUNT && !own) {
			xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
			return XMPP_DONE;
		}
		return iq->env->host->script_iq(iq, e->id);
	}
	return XMPP_PASS;
}

/* Append <line> unless <out> has it. */
static void
add_once(struct td_buf *out, struct td_buf *line)
{
	if (out->len == 0 || memmem(out->p, out->len, line->p, line->len) == NULL)
		td_buf_adds(out, td_buf_str(line));
	td_buf_clear(line);
}

void
xmpp_script_identities(struct xmpp_env *env, uint32_t to, struct td_buf *out)
{
	const struct xmpp_additions *ad = env->additions;
	struct td_buf b = { 0 };

	for (size_t i = 0; ad != NULL && i < ad->n_identities; i++) {
		const struct xmpp_script_identity *d = &ad->identities[i];

		if ((d->to & to) == 0)
			continue;
		td_buf_addz(&b, "<identity category='");
		td_buf_add_xml(&b, td_cstr(d->category));
		td_buf_addz(&b, "' type='");
		td_buf_add_xml(&b, td_cstr(d->type));
		if (d->name != NULL) {
			td_buf_addz(&b, "' name='");
			td_buf_add_xml(&b, td_cstr(d->name));
		}
		td_buf_addz(&b, "'/>");
		add_once(out, &b);
	}
	td_buf_fini(&b);
}

void
xmpp_script_features(struct xmpp_env *env, uint32_t to, struct td_buf *out)
{
	const struct xmpp_additions *ad = env->additions;
	struct td_buf b = { 0 };

	for (size_t i = 0; ad != NULL && i < ad->n_features; i++) {
		if ((ad->features[i].to & to) == 0)
			continue;
		td_buf_addz(&b, "<feature var='");
		td_buf_add_xml(&b, td_cstr(ad->features[i].var));
		td_buf_addz(&b, "'/>");
		add_once(out, &b);
	}
	td_buf_fini(&b);
}

const struct xmpp_module xmpp_scripts = {
	.name = "scripts",
	.doc = "Scriptlets: callouts on a stanza's way, requests and features of their own",
	.arrived = script_arrived,
	.delivered = script_delivered,
	.presence = script_presence,
	.subscription = script_subscription,
	.account_removed = script_account_removed,
};
