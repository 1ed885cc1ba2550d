/* xep_0401_invite - invitations by command (XEP-0401 0.6), and what comes of one that somebody with an account
 * elsewhere shows in a subscription request (XEP-0379 0.3).
 *
 * A token is 100 random bits, good once and for a while.  One we did not give is nothing to us: the request goes on as
 * it is, maybe the client gave it. */
#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "store/signin.h"
#include "xmpp/deliver.h"
#include "xmpp/im.h"
#include "xmpp/invite.h"
#include "xmpp/modules.h"
#include "xmpp/roster.h"
#include "xmpp/signin.h"
#include "xmpp/xep/xep_0050_adhoc.h"

#define NODE_INVITE "urn:xmpp:invite#invite"
#define NODE_CREATE "urn:xmpp:invite#create-account"
#define FORM_INVITATION "urn:xmpp:invite#invitation"
#define TOKEN_CHARS 20u
#define OPEN_MAX 20u /* invitations of one user that nobody used yet */

void
xmpp_invite_hash(struct td_str token, unsigned char hash[32])
{
	unsigned len = 32;

	(void)EVP_Digest(token.p != NULL ? token.p : "", token.len, hash, &len, EVP_sha256(), NULL);
}

/* ---- contacts ---- */

struct befriend {
	struct td_str me, other;
	char text[];
};

static void
on_saved(struct xmpp_user *u, int rc, void *arg)
{
	struct befriend *b = arg;
	const struct xmpp_contact *c = u != NULL ? xmpp_user_contact(u, b->other) : NULL;
	struct xmpp_jid to = xmpp_jid_view(b->other);

	if (rc >= 0 && c != NULL) {
		xmpp_roster_push(u, c, false);
		(void)xmpp_presence_send_all(u, &to);
	}
	free(b);
}

static void
save_contact(struct xmpp_user *u, void *arg)
{
	struct befriend *b = arg;
	const struct xmpp_contact *have = xmpp_user_contact(u, b->other);
	struct store_contact sc =
		have != NULL ? xmpp_contact_view(have) : (struct store_contact){ .jid = b->other };

	if (!u->exists) {
		free(b);
		return;
	}
	sc.sub = STORE_SUB_BOTH;
	sc.flags &= ~(STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN | STORE_ROSTER_HIDDEN);
	sc.pending_stanza = TD_STR_NULL;
	xmpp_roster_save(u, xmpp_contact_new(&sc), on_saved, b);
}

static void
on_owner(struct xmpp_env *env, void *arg)
{
	struct befriend *b = arg;

	xmpp_user_with(env, b->me, save_contact, b);
}

static void
befriend_one(struct xmpp_env *env, struct td_str me, struct td_str other)
{
	struct befriend *b = td_alloc(sizeof(*b) + me.len + other.len);
	unsigned owner = xmpp_owner(env, me);

	memcpy(b->text, me.p, me.len);
	memcpy(b->text + me.len, other.p, other.len);
	b->me = td_str(b->text, me.len);
	b->other = td_str(b->text + me.len, other.len);
	if (owner == env->index)
		on_owner(env, b);
	else
		env->host->post(env, owner, on_owner, b);
}

void
xmpp_invite_befriend(struct xmpp_env *env, struct td_str a, struct td_str b)
{
	befriend_one(env, a, b);
	befriend_one(env, b, a);
}

/* ---- the commands ---- */

/* An invitation being written. */
struct giving {
	struct xmpp_command_call *call;
	char token[TOKEN_CHARS + 1];
	char *path; /* of the URI, escaped */
	bool contact, account;
	uint64_t expires;
};

/* RFC 5122 2.7: what may stand in the path of an xmpp URI as it is. */
static char *
escape_path(struct td_str s)
{
	struct td_buf b = { 0 };
	char *out;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-._~!$()*+,=@", c) != NULL)
			td_buf_addc(&b, (char)c);
		else
			td_buf_addf(&b, "%%%02X", c);
	}
	out = td_strdup(td_buf_cstr(&b));
	td_buf_fini(&b);
	return out;
}

static void
write_landing(struct xmpp_env *env, struct td_str domain, const char *token, struct td_buf *url)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };
	struct td_str t = conf_str(env->conf, &at, "invite_url");

	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] == '%' && i + 1 < t.len && t.p[i + 1] == 't') {
			td_buf_addz(url, token);
			i++;
		} else {
			td_buf_addc(url, t.p[i]);
		}
	}
}

static void
write_invitation(struct giving *g)
{
	struct td_buf *out = &g->call->out, uri = { 0 }, landing = { 0 };
	char stamp[32];

	td_buf_addf(&uri, "xmpp:%s?%s;preauth=%s%s", g->path, g->contact ? "roster" : "register",
		    g->token, g->contact && g->account ? ";ibr=y" : "");
	write_landing(g->call->env, g->call->domain, g->token, &landing);
	xmpp_form_open(out, FORM_RESULT, FORM_INVITATION);
	xmpp_form_add1(out, "text-single", "uri", NULL, td_buf_str(&uri));
	if (landing.len > 0)
		xmpp_form_add1(out, "text-single", "landing-url", NULL, td_buf_str(&landing));
	if (g->expires > 0) {
		td_stamp(g->expires * 1000, stamp);
		xmpp_form_add1(out, "text-single", "expire", NULL, td_cstr(stamp));
	}
	xmpp_form_close(out);
	td_buf_fini(&uri);
	td_buf_fini(&landing);
}

static void
on_invite_kept(void *arg, const struct store_result *r)
{
	struct giving *g = arg;
	struct xmpp_command_call *call = g->call;
	enum xmpp_command_result result = COMMAND_DONE;

	if (r->rc >= 0) {
		if (xmpp_command_env(call) != NULL)
			write_invitation(g);
	} else {
		result = COMMAND_ERROR;
		call->error = r->rc == TD_E_EXISTS  ? XE_CONFLICT
			      : r->rc == TD_E_LIMIT ? XE_RESOURCE_CONSTRAINT
						    : XE_INTERNAL_SERVER_ERROR;
		call->text = r->rc == TD_E_EXISTS  ? "The name is taken."
			     : r->rc == TD_E_LIMIT ? "Too many invitations are open."
						   : NULL;
	}
	free(g->path);
	free(g);
	xmpp_command_finish(call, result);
}

static enum xmpp_command_result
give(struct xmpp_command_call *call, struct store_invite *i, struct td_str path, bool contact)
{
	const struct xmpp_signin *si = xmpp_signin_of(call->env, call->domain);
	struct giving *g = td_zalloc(sizeof(*g));

	g->call = call;
	g->contact = contact;
	g->account = i->account;
	g->path = escape_path(path);
	g->expires = si->invite_life > 0 ? td_wall_ms() / 1000 + si->invite_life : 0;
	td_random_id(g->token, TOKEN_CHARS);
	xmpp_invite_hash(td_cstr(g->token), i->hash);
	i->domain = call->domain;
	i->inviter = call->from.bare;
	i->uses = 1;
	i->expires = g->expires;
	store_invite_add(call->env->store, i,
			 xmpp_is_admin(call->env, call->domain, call->from.bare) ? 0 : OPEN_MAX,
			 (struct store_to){ call->env->loop, on_invite_kept, g });
	return COMMAND_LATER;
}

static enum xmpp_command_result
invite_step(struct xmpp_command_call *call)
{
	struct store_invite i = { .roster = true, .account = true };

	return give(call, &i, call->from.bare, true);
}

static enum xmpp_command_result
create_step(struct xmpp_command_call *call)
{
	struct store_invite i = { .account = true };
	struct td_str name;
	struct xmpp_jid j;

	if (call->stage == 0) {
		xmpp_form_open(&call->out, FORM_FORM, NODE_CREATE);
		xmpp_form_title(&call->out, "Invite to an account",
				"Leave the name open to let the guest choose it.");
		xmpp_form_add(&call->out, "text-single", "username", "Name", NULL, 0, NULL);
		xmpp_form_add_bool(&call->out, "roster-subscription", "Become contacts", false);
		xmpp_form_close(&call->out);
		call->stage = 1;
		call->actions = COMMAND_MAY_COMPLETE;
		return COMMAND_FORM;
	}
	if (call->form == NULL)
		return xmpp_command_bad_payload(call, "The form is missing.");
	if (!xmpp_form_bool(call->form, "roster-subscription", &i.roster))
		return xmpp_command_bad_payload(call, "roster-subscription is yes or no.");
	name = td_str_trim(xmpp_form_value(call->form, "username"));
	if (name.len == 0)
		return give(call, &i, call->domain, false);
	if (xmpp_jid_make(call->arena, name, call->domain, TD_STR_NULL, &j, NULL) < 0)
		return xmpp_command_bad_payload(call, "This cannot be a name.");
	i.username = j.local;
	return give(call, &i, j.bare, false);
}

static bool
may_invite(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from)
{
	const struct xmpp_signin *si = xmpp_signin_of(env, domain);

	return si->invites == XI_USERS ||
	       (si->invites == XI_ADMINS && xmpp_is_admin(env, domain, from->bare));
}

static const struct xmpp_command invite_command = {
	.node = NODE_INVITE,
	.name = "Invite user",
	.who = COMMAND_USERS,
	.may = may_invite,
	.step = invite_step,
};
static const struct xmpp_command create_command = {
	.node = NODE_CREATE,
	.name = "Create account",
	.who = COMMAND_ADMINS,
	.may = may_invite,
	.step = create_step,
};

static void
invite_start(struct xmpp_env *env)
{
	xmpp_command_register(env, &invite_command);
	xmpp_command_register(env, &create_command);
}

/* ---- subscription requests that show a token (XEP-0379 3.5) ---- */

struct shown {
	struct xmpp_call call; /* first */
	struct xmpp_stanza *s;
};

/* The request that is being let through, on this thread. */
static _Thread_local const struct xmpp_stanza *passing;

static void
say(struct xmpp_user *u, struct td_str to, enum xmpp_type type)
{
	struct xmpp_jid me = xmpp_jid_view(u->bare), them = xmpp_jid_view(to);
	struct xmpp_stanza *p = xmpp_presence_make(type, &me, &them, TD_STR_NULL);

	xmpp_subscription_send(u, p);
	xmpp_stanza_unref(&p);
}

static void
on_token_used(void *arg, const struct store_result *r)
{
	struct shown *sh = arg;
	struct xmpp_user *u = sh->call.user;
	bool ours = r->rc >= 0;

	if (sh->call.env == NULL) {
		xmpp_stanza_unref(&sh->s);
		free(sh);
		return;
	}
	if (ours) /* pre-approved: the request is answered as it comes */
		say(u, sh->s->from.bare, XT_SUBSCRIBED);
	passing = sh->s;
	xmpp_deliver_loaded(u, xmpp_stanza_ref(sh->s));
	passing = NULL;
	if (ours)
		say(u, sh->s->from.bare, XT_SUBSCRIBE);
	xmpp_stanza_unref(&sh->s);
	xmpp_call_end(&sh->call);
	free(sh);
}

static int
pars_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp;
	const struct xmpp_contact *c;
	const struct xmpp_node *n;
	unsigned char hash[STORE_HASH_LEN];
	struct shown *sh;

	if (s->kind != XK_PRESENCE || s->type != XT_SUBSCRIBE || s == passing ||
	    s->root->first == NULL || (n = xmpp_node_child(s->root, NS_PARS, "preauth")) == NULL ||
	    xmpp_node_attr(n, "token").len == 0)
		return XMPP_PASS;
	c = xmpp_user_contact(u, s->from.bare);
	if (c != NULL && ((c->sub & STORE_SUB_FROM) || (c->flags & STORE_ROSTER_APPROVED)))
		return XMPP_PASS;
	xmpp_invite_hash(xmpp_node_attr(n, "token"), hash);
	sh = td_zalloc(sizeof(*sh));
	sh->s = xmpp_stanza_ref(s);
	xmpp_call_begin(&sh->call, u);
	store_invite_use(u->env->store, hash, u->bare,
			 (struct store_to){ u->env->loop, on_token_used, sh });
	return XMPP_DONE;
}

const struct xmpp_module xep_0401_invite = {
	.name = "xep-0401-invite",
	.xep = "0401",
	.doc = "Invitations to become a contact or to make an account, by ad-hoc command",
	.version = "0.6.0",
	.start = invite_start,
};

const struct xmpp_module xep_0379_pars = {
	.name = "xep-0379-pars",
	.xep = "0379",
	.doc = "A subscription request that shows an invitation is answered for the one who "
	       "invited",
	.version = "0.3.3",
	.arrived = pars_arrived,
};
