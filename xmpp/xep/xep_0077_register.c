/* xep_0077_register - accounts made, changed and given up by their users (XEP-0077 2.4), by invitation too
 * (XEP-0445 0.2).
 *
 * Before authentication, under TLS: fields, <preauth/>, the new account.  Afterwards, about one's own account: what is
 * on file, another password, the end of it.  Passwords are never sent back, nor logged. */
#include "xmpp/xep/xep_0077_register.h"

#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "store/signin.h"
#include "xmpp/c2s_priv.h"
#include "xmpp/captcha.h"
#include "xmpp/form.h"
#include "xmpp/im.h"
#include "xmpp/invite.h"
#include "xmpp/modules.h"
#include "xmpp/signin.h"
#include "xmpp/throttle.h"

#define CHALLENGES_MAX 10u /* on one stream */

struct register_call;

struct xmpp_register {
	bool done;                           /* an account was made on this stream */
	bool invited;                        /* an invitation was shown */
	unsigned challenges;                 /* put here */
	bool human;                          /* a challenge was answered (XEP-0158) */
	char challenge[XMPP_CAPTCHA_ID + 1]; /* the latest; "" = none is open */
	unsigned char hash[STORE_HASH_LEN];
	char *username, *inviter; /* of the invitation; NULL = none */
	bool roster;
	struct register_call *call; /* NULL: nothing is awaited */
};

struct register_call {
	struct xmpp_c2s *c; /* NULL = gone */
	struct xmpp_env *env;
	struct xmpp_stanza *iq;
	char *bare;
};

void
xmpp_register_free(struct xmpp_register *r)
{
	if (r == NULL)
		return;
	if (r->call != NULL)
		r->call->c = NULL;
	if (r->challenge[0] != '\0')
		xmpp_captcha_drop(r->challenge);
	free(r->username);
	free(r->inviter);
	free(r);
}

static struct xmpp_register *
register_of(struct xmpp_c2s *c)
{
	if (c->nego->reg == NULL)
		c->nego->reg = td_zalloc(sizeof(*c->nego->reg));
	return c->nego->reg;
}

/* ---- answers ---- */

/* Clients of this protocol may know the numbers only (section 9, XEP-0086). */
static const char *
legacy_code(enum xmpp_error e)
{
	switch (e) {
	case XE_BAD_REQUEST:
	case XE_UNEXPECTED_REQUEST: return "400";
	case XE_NOT_AUTHORIZED: return "401";
	case XE_FORBIDDEN: return "403";
	case XE_ITEM_NOT_FOUND: return "404";
	case XE_NOT_ALLOWED: return "405";
	case XE_NOT_ACCEPTABLE: return "406";
	case XE_CONFLICT: return "409";
	case XE_SERVICE_UNAVAILABLE: return "503";
	default: return "500";
	}
}

/* Without the request in it: that has a password. */
static struct xmpp_stanza *
make_error(const struct xmpp_stanza *s, enum xmpp_error e, const char *text)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, td_cstr(text));
	struct xmpp_node *n, *next;

	for (n = r != NULL ? r->root->first : NULL; n != NULL; n = next) {
		next = n->next;
		if (n->name != NULL && strcmp(n->name, "error") == 0)
			xmpp_node_set(r->arena, n, "code", td_cstr(legacy_code(e)));
		else
			xmpp_node_unlink(n);
	}
	if (r != NULL)
		xmpp_stanza_touch(r);
	return r;
}

static void
stream_error(struct xmpp_c2s *c, const struct xmpp_stanza *s, enum xmpp_error e, const char *text)
{
	struct xmpp_stanza *r = make_error(s, e, text);

	if (r == NULL)
		return;
	xmpp_stanza_write(r, false, xmpp_c2s_out(c));
	xmpp_stanza_unref(&r);
}

static void
stream_result(struct xmpp_c2s *c, const struct xmpp_stanza *s, struct td_str payload)
{
	struct xmpp_stanza *r = xmpp_stanza_result(s);

	if (payload.len > 0)
		xmpp_stanza_append_raw(r, payload);
	xmpp_stanza_write(r, false, xmpp_c2s_out(c));
	xmpp_stanza_unref(&r);
}

/* ---- what was filled in ---- */

struct fields {
	struct td_str username, password; /* .p NULL = left out */
	bool remove;
};

static bool
read_fields(struct td_arena *a, const struct xmpp_node *query, struct fields *f)
{
	const struct xmpp_node *x = xmpp_form_find(query), *n;
	struct xmpp_form form;

	*f = (struct fields){ 0 };
	f->remove = xmpp_node_child(query, NS_REGISTER, "remove") != NULL;
	if (x != NULL) { /* section 4, rule 5: the form goes first */
		if (xmpp_form_read(a, x, &form) < 0)
			return false;
		f->username = xmpp_form_value(&form, "username");
		f->password = xmpp_form_value(&form, "password");
		return true;
	}
	if ((n = xmpp_node_child(query, NS_REGISTER, "username")) != NULL)
		f->username = td_str_trim(xmpp_node_text(a, n));
	if ((n = xmpp_node_child(query, NS_REGISTER, "password")) != NULL)
		f->password = xmpp_node_text(a, n);
	return true;
}

/* Letters of two scripts that look alike, in one name: somebody else's in disguise. */
static bool
mixes_scripts(struct td_str s)
{
	bool latin = false, greek = false, cyrillic = false;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char b = (unsigned char)s.p[i];

		latin = latin || (b >= 'a' && b <= 'z') || (b >= 0xc3 && b <= 0xc9);
		greek = greek || (b >= 0xcd && b <= 0xcf);
		cyrillic = cyrillic || (b >= 0xd0 && b <= 0xd4);
	}
	return (latin && (greek || cyrillic)) || (greek && cyrillic);
}

/* Is <name> one of the blank-separated words? */
static bool
has_word(struct td_str words, struct td_str name)
{
	while (words.len > 0) {
		ptrdiff_t blank = td_str_chr(words, ' ');
		size_t n = blank < 0 ? words.len : (size_t)blank;

		if (td_str_ieq(td_str(words.p, n), name))
			return true;
		n += blank < 0 ? 0 : 1;
		words = td_str(words.p + n, words.len - n);
	}
	return false;
}

static bool
is_blocked(struct xmpp_env *env, const struct xmpp_jid *j)
{
	struct conf_at at = { .protocol = "xmpp", .domain = j->domain };
	size_t n;
	const struct td_str *list = conf_list(env->conf, &at, "registration_blocked", &n);

	for (size_t i = 0; i < n; i++)
		if (has_word(list[i], j->local)) /* the default is one text */
			return true;
	return mixes_scripts(j->local);
}

/* Verifiers of a password that may be one; false: *why says what is wrong. */
static bool
make_verifiers(const struct xmpp_signin *si, struct td_str password, struct store_account *a,
	       const char **why)
{
	struct td_err err;

	*why = "The password is too short.";
	if (password.len < si->password_min)
		return false;
	*why = "This cannot be a password.";
	return password.len > 0 && xmpp_scram_derive(password, 0, &a->sha1, &a->sha256, &err) == 0;
}

/* ---- before authentication ---- */

static struct register_call *
call_new(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct register_call *call = td_zalloc(sizeof(*call));

	call->c = c;
	call->env = c->env;
	call->iq = xmpp_stanza_ref(s);
	register_of(c)->call = call;
	c2s_wait(c);
	return call;
}

/* The stream it came back to, which must be let go on; NULL: it went away. */
static struct xmpp_c2s *
call_end(struct register_call *call)
{
	struct xmpp_c2s *c = call->c;

	if (c != NULL)
		c->nego->reg->call = NULL;
	return c;
}

static void
call_free(struct register_call *call)
{
	xmpp_stanza_unref(&call->iq);
	free(call->bare);
	free(call);
}

static void
network_of(const struct xmpp_c2s *c, const struct xmpp_rate *r, char out[XMPP_NETWORK_MAX])
{
	xmpp_throttle_network(c->cc->ops->peer(c->io), r, out);
}

static void
on_account_made(void *arg, const struct store_result *r)
{
	struct register_call *call = arg;
	struct xmpp_c2s *c = call_end(call);
	struct xmpp_register *reg = c != NULL ? c->nego->reg : NULL;
	char net[XMPP_NETWORK_MAX];

	if (r->rc == 0 || r->rc > 0)
		td_log_info(&call->env->log, "account-made", "user=%s invited=%d",
			    td_escz(call->bare), reg != NULL && reg->invited);
	if (c == NULL) {
		call_free(call);
		return;
	}
	if (r->rc >= 0) {
		const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));

		reg->done = true;
		network_of(c, &si->registrations, net);
		if (!reg->invited)
			xmpp_throttle_count(XT_REGISTER, net, &si->registrations);
		if (reg->inviter != NULL && reg->roster)
			xmpp_invite_befriend(c->env, td_cstr(reg->inviter), td_cstr(call->bare));
		stream_result(c, call->iq, TD_STR_NULL);
	} else if (r->rc == TD_E_EXISTS) {
		stream_error(c, call->iq, XE_CONFLICT, "The name is taken.");
	} else if (r->rc == TD_E_NOTFOUND) {
		stream_error(c, call->iq, XE_NOT_ALLOWED,
			     "The invitation is not for this, or was used.");
	} else {
		stream_error(c, call->iq, XE_INTERNAL_SERVER_ERROR, NULL);
	}
	call_free(call);
	c2s_go_on(c); /* c may be gone from here on */
}

static void
make_account(struct xmpp_c2s *c, struct xmpp_stanza *s, const struct fields *f)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	struct xmpp_register *reg = register_of(c);
	struct store_account a = { .created = td_wall_ms() / 1000 };
	struct register_call *call;
	struct xmpp_jid j;
	const char *why;

	if (xmpp_jid_make(s->arena, f->username, td_cstr(c->domain), TD_STR_NULL, &j, NULL) < 0) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, "This cannot be a name.");
		return;
	}
	if (reg->username != NULL && !td_str_eqc(j.local, reg->username)) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, "The invitation is for another name.");
		return;
	}
	if (reg->username == NULL && is_blocked(c->env, &j)) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, "This name is not given away.");
		return;
	}
	if (!make_verifiers(si, f->password, &a, &why)) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, why);
		return;
	}
	a.jid = j.bare;
	call = call_new(c, s);
	call->bare = td_strndup(j.bare);
	store_register(c->env->store, &a, reg->invited ? reg->hash : NULL, si->reserve,
		       (struct store_to){ c->env->loop, on_account_made, call });
	td_wipe(&a, sizeof(a));
}

/* May an account be made on this stream?  False: it was told why not. */
static bool
may_register(struct xmpp_c2s *c, const struct xmpp_stanza *s)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	const struct xmpp_register *reg = register_of(c);
	char net[XMPP_NETWORK_MAX];

	if (!si->registration && !reg->invited) {
		stream_error(c, s, XE_NOT_ALLOWED, "An invitation is needed.");
		return false;
	}
	network_of(c, &si->registrations, net);
	if (reg->done ||
	    (!reg->invited && xmpp_throttle_over(XT_REGISTER, net, &si->registrations))) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, "No more accounts for now.");
		return false;
	}
	return true;
}

/* ---- XEP-0158 section 4 ---- */

static bool
needs_answer(struct xmpp_c2s *c)
{
	const struct xmpp_register *reg = register_of(c);

	return xmpp_signin_of(c->env, td_cstr(c->domain))->registration_captcha && !reg->invited &&
	       !reg->human;
}

/* Another challenge takes the place of the stream's.  False: no more for now. */
static bool
new_challenge(struct xmpp_c2s *c, struct xmpp_captcha *out)
{
	static const struct xmpp_rate any = { .count = 1, .seconds = 1 };
	struct xmpp_register *reg = register_of(c);
	struct td_str domain = td_cstr(c->domain);
	struct xmpp_captcha_ask ask = { CAPTCHA_REGISTER, TD_STR_NULL, domain, domain };
	char net[XMPP_NETWORK_MAX];

	network_of(c, &any, net);
	ask.who = td_cstr(net);
	if (reg->challenge[0] != '\0')
		xmpp_captcha_drop(reg->challenge);
	reg->challenge[0] = '\0';
	if (reg->challenges++ >= CHALLENGES_MAX || !xmpp_captcha_new(c->env, &ask, out))
		return false;
	memcpy(reg->challenge, out->id, sizeof(reg->challenge));
	return true;
}

/* Is it a person?  False: it was told no. */
static bool
check_answer(struct xmpp_c2s *c, struct xmpp_stanza *s, const struct xmpp_node *query)
{
	static const struct xmpp_rate any = { .count = 1, .seconds = 1 };
	struct xmpp_register *reg = register_of(c);
	const struct xmpp_node *x = xmpp_form_find(query);
	struct xmpp_form form = { 0 };
	char net[XMPP_NETWORK_MAX];
	struct td_str id;

	if (!needs_answer(c))
		return true;
	/* a plain request will do when the web page was used */
	if (x != NULL)
		(void)xmpp_form_read(s->arena, x, &form);
	id = x != NULL ? xmpp_form_value(&form, "challenge")
		       : td_arena_str(s->arena, td_cstr(reg->challenge));
	network_of(c, &any, net);
	if (id.len > 0 && td_str_eqc(id, reg->challenge)) {
		reg->challenge[0] = '\0';
		reg->human = xmpp_captcha_answer(c->env, id, td_cstr(net), &form) == CAPTCHA_RIGHT;
	}
	if (!reg->human)
		stream_error(c, s, XE_NOT_ACCEPTABLE,
			     "The challenge was not answered; ask for another one.");
	return reg->human;
}

/* What the plain request says to who does not know the form. */
static void
write_instructions(struct xmpp_c2s *c, const struct xmpp_captcha *asked, struct td_buf *b)
{
	struct td_buf url = { 0 };

	td_buf_addz(b, "<instructions>Choose a name and a password.");
	if (asked != NULL && xmpp_captcha_url(c->env, td_cstr(c->domain), asked->id, &url)) {
		td_buf_addz(b, " Before that, visit ");
		td_buf_add_xml(b, td_buf_str(&url));
	}
	td_buf_addz(b, "</instructions>");
	if (url.len > 0) {
		td_buf_addz(b, "<x xmlns='jabber:x:oob'><url>");
		td_buf_add_xml(b, td_buf_str(&url));
		td_buf_addz(b, "</url></x>");
	}
	td_buf_fini(&url);
}

/* <asked> NULL: without a challenge. */
static void
write_fields(struct xmpp_c2s *c, const struct xmpp_stanza *s, const struct xmpp_captcha *asked,
	     struct td_buf *b)
{
	struct td_str name = td_cstr(register_of(c)->username);
	struct td_buf data = { 0 };

	td_buf_addz(b, "<query xmlns='" NS_REGISTER "'>");
	write_instructions(c, asked, b);
	td_buf_addz(b, "<username>");
	td_buf_add_xml(b, name);
	td_buf_addz(b, "</username><password/>");
	xmpp_form_open(b, FORM_FORM, NS_REGISTER);
	xmpp_form_title(b, "New account", "Choose a name and a password.");
	if (asked != NULL) {
		xmpp_form_add1(b, "hidden", "challenge", NULL, td_cstr(asked->id));
		xmpp_form_add1(b, "hidden", "sid", NULL, s->id);
		xmpp_captcha_fields(c->env, asked, td_cstr(c->domain), b, &data);
	}
	xmpp_form_add_required(b, "text-single", "username", "Name", &name, name.p != NULL ? 1 : 0,
			       NULL);
	xmpp_form_add_required(b, "text-private", "password", "Password", NULL, 0, NULL);
	xmpp_form_close(b);
	td_buf_adds(b, td_buf_str(&data)); /* a stream without an account can fetch nothing */
	td_buf_addz(b, "</query>");
	td_buf_fini(&data);
}

static void
answer_get(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct td_buf b = { 0 };
	struct xmpp_captcha asked;
	bool asks = needs_answer(c);

	if (asks && !new_challenge(c, &asked)) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, "Too many challenges; try again later.");
		return;
	}
	write_fields(c, s, asks ? &asked : NULL, &b);
	stream_result(c, s, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
stream_query(struct xmpp_c2s *c, struct xmpp_stanza *s, const struct xmpp_node *query)
{
	struct fields f;

	if (!may_register(c, s))
		return;
	if (s->type == XT_GET) {
		answer_get(c, s);
	} else if (!read_fields(s->arena, query, &f)) {
		stream_error(c, s, XE_BAD_REQUEST, NULL);
	} else if (f.remove) {
		stream_error(c, s, XE_UNEXPECTED_REQUEST, NULL); /* table 1: nobody is signed in */
	} else if (f.username.len == 0 || f.password.len == 0) {
		stream_error(c, s, XE_NOT_ACCEPTABLE, NULL);
	} else if (check_answer(c, s, query)) {
		make_account(c, s, &f);
	}
}

/* ---- XEP-0445 ---- */

static void
on_invite(void *arg, const struct store_result *r, const struct store_invite *i)
{
	struct register_call *call = arg;
	struct xmpp_c2s *c = call_end(call);
	const struct xmpp_signin *si;
	struct xmpp_register *reg;
	char net[XMPP_NETWORK_MAX];

	if (c == NULL) {
		call_free(call);
		return;
	}
	reg = c->nego->reg;
	if (r->rc == 0 && i->account && td_str_eqc(i->domain, c->domain)) {
		free(reg->username);
		free(reg->inviter);
		reg->invited = true;
		memcpy(reg->hash, i->hash, sizeof(reg->hash));
		reg->username = i->username.p != NULL ? td_strndup(i->username) : NULL;
		reg->inviter = i->inviter.p != NULL ? td_strndup(i->inviter) : NULL;
		reg->roster = i->roster;
		stream_result(c, call->iq, TD_STR_NULL);
	} else if (r->rc < 0 && r->rc != TD_E_NOTFOUND) {
		stream_error(c, call->iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else {
		si = xmpp_signin_of(c->env, td_cstr(c->domain));
		network_of(c, &si->logins, net);
		xmpp_throttle_count(XT_INVITE_GUESS, net, &si->logins);
		stream_error(c, call->iq, XE_ITEM_NOT_FOUND,
			     "The provided token is invalid or expired");
		if (++c->nego->failures >= 10)
			xmpp_c2s_end(c, "policy-violation", "Too many invitations that are none");
	}
	call_free(call);
	if (c->state != XS_CLOSED)
		c2s_go_on(c); /* c may be gone from here on */
}

static void
stream_preauth(struct xmpp_c2s *c, struct xmpp_stanza *s, const struct xmpp_node *n)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	struct td_str token = xmpp_node_attr(n, "token");
	unsigned char hash[STORE_HASH_LEN];
	char net[XMPP_NETWORK_MAX];

	network_of(c, &si->logins, net);
	if (s->type != XT_SET || token.len == 0) {
		stream_error(c, s, XE_BAD_REQUEST, NULL);
	} else if (xmpp_throttle_over(XT_INVITE_GUESS, net, &si->logins)) {
		stream_error(c, s, XE_ITEM_NOT_FOUND, "The provided token is invalid or expired");
	} else {
		xmpp_invite_hash(token, hash);
		store_invite_get(c->env->store, hash, c->env->loop, on_invite, call_new(c, s));
	}
}

int
xmpp_register_stream(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	const struct xmpp_node *n = xmpp_stanza_payload(s);
	bool query = n != NULL && xmpp_node_is(n, NS_REGISTER, "query"),
	     preauth = n != NULL && xmpp_node_is(n, NS_PARS, "preauth");

	if ((!query && !preauth) || (s->type != XT_GET && s->type != XT_SET) || s->id.p == NULL ||
	    !c->tls)
		return XMPP_PASS;
	if ((!si->registration && !si->invites) || !xmpp_cred_source_is_store(c->cc->creds) ||
	    (s->to.full.p != NULL && !td_str_eqc(s->to.full, c->domain)))
		stream_error(c, s, XE_SERVICE_UNAVAILABLE, NULL);
	else if (query)
		stream_query(c, s, n);
	else
		stream_preauth(c, s, n);
	return XMPP_DONE;
}

static void
register_features(struct xmpp_c2s *c, struct td_buf *out)
{
	const struct xmpp_signin *si;

	if (!c->tls || c->domain == NULL)
		return;
	si = xmpp_signin_of(c->env, td_cstr(c->domain));
	if ((!si->registration && !si->invites) || !xmpp_cred_source_is_store(c->cc->creds))
		return;
	td_buf_addz(out, "<register xmlns='" NS_REGISTER_FEATURE "'/>");
	if (si->invites)
		td_buf_addz(out, "<register xmlns='" NS_IBR_TOKEN "'/>");
}

/* ---- one's own account ---- */

struct own_call {
	struct xmpp_call call; /* first */
	struct xmpp_stanza *iq;
	char sid[13]; /* who asks */
	bool remove;
};

static void
own_error(struct xmpp_env *env, const struct xmpp_stanza *s, enum xmpp_error e, const char *text)
{
	struct xmpp_stanza *r = make_error(s, e, text);

	if (r == NULL || r->to.full.p == NULL) {
		xmpp_stanza_unref(&r);
		return;
	}
	r->flags |= XF_NO_BOUNCE;
	xmpp_route(env, r);
}

static void
own_free(struct own_call *o)
{
	xmpp_call_end(&o->call);
	xmpp_stanza_unref(&o->iq);
	free(o);
}

/* Every other session of the account ends: whoever is there came in by the old password. */
static void
end_others(struct xmpp_user *u, const char *sid)
{
	struct xmpp_session *s = TAILQ_FIRST(&u->sessions);

	while (s != NULL) {
		struct xmpp_c2s *c = s->stream;

		if (strcmp(s->sid, sid) == 0) {
			s = TAILQ_NEXT(s, link);
			continue;
		}
		xmpp_session_end(s, "password-changed");
		if (c != NULL)
			xmpp_c2s_end(c, "not-authorized", "The password was changed");
		s = TAILQ_FIRST(&u->sessions);
	}
}

static void
on_password(void *arg, const struct store_result *r)
{
	struct own_call *o = arg;
	struct xmpp_iq iq = { .env = o->call.env,
			      .s = o->iq,
			      .payload = xmpp_stanza_payload(o->iq) };

	if (o->call.env != NULL && r->rc < 0) {
		own_error(o->call.env, o->iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else if (o->call.env != NULL) {
		td_log_info(&o->call.env->log, "password-changed", "user=%s",
			    td_esc(o->call.user->bare));
		xmpp_signin_changed(o->call.env, o->call.user->bare);
		xmpp_iq_result(&iq, TD_STR_NULL);
		end_others(o->call.user, o->sid);
	}
	own_free(o);
}

static void
on_removed(void *arg, const struct store_result *r)
{
	struct own_call *o = arg;
	struct xmpp_env *env = o->call.env;
	struct xmpp_user *u = o->call.user;
	struct xmpp_iq iq = { .env = env, .s = o->iq, .payload = xmpp_stanza_payload(o->iq) };
	struct xmpp_contact *c;
	size_t i = 0;

	if (env != NULL && r->rc < 0) {
		own_error(env, o->iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else if (env != NULL) {
		td_log_info(&env->log, "account-removed", "user=%s", td_esc(u->bare));
		while ((c = td_map_next(&u->roster, &i)) != NULL)
			xmpp_subscription_cut(u, c);
		xmpp_iq_result(&iq, TD_STR_NULL);
		xmpp_signin_changed(env, u->bare);
		xmpp_account_removed(env, u->bare);
	}
	own_free(o);
}

static struct own_call *
own_call_new(struct xmpp_iq *iq, struct xmpp_user *u, const struct xmpp_session *sess)
{
	struct own_call *o = td_zalloc(sizeof(*o));

	o->iq = xmpp_stanza_ref(iq->s);
	memcpy(o->sid, sess->sid, sizeof(o->sid));
	xmpp_call_begin(&o->call, u);
	return o;
}

static void
change_password(struct xmpp_iq *iq, struct xmpp_user *u, const struct xmpp_session *sess,
		const struct fields *f)
{
	const struct xmpp_signin *si = xmpp_signin_of(iq->env, u->domain);
	static const struct xmpp_rate rate = { .count = 10, .seconds = 600, .local = true };
	struct store_account a = { .jid = u->bare };
	struct xmpp_jid j;
	const char *why;

	if (f->username.len == 0 || f->password.p == NULL) {
		own_error(iq->env, iq->s, XE_BAD_REQUEST, NULL);
		return;
	}
	if (xmpp_jid_make(iq->s->arena, f->username, u->domain, TD_STR_NULL, &j, NULL) < 0 ||
	    !td_str_eq(j.bare, u->bare)) {
		own_error(iq->env, iq->s, XE_NOT_ALLOWED, "This is not your name.");
		return;
	}
	/* a new password costs us some milliseconds; u->bare ends with a NUL */
	if (xmpp_throttle_over(XT_PASSWORD, u->bare.p, &rate)) {
		own_error(iq->env, iq->s, XE_RESOURCE_CONSTRAINT, "Not so often.");
		return;
	}
	xmpp_throttle_count(XT_PASSWORD, u->bare.p, &rate);
	if (!make_verifiers(si, f->password, &a, &why)) { /* the old one stays */
		own_error(iq->env, iq->s, XE_NOT_ACCEPTABLE, why);
		return;
	}
	store_account_update(
		iq->env->store, &a,
		(struct store_to){ iq->env->loop, on_password, own_call_new(iq, u, sess) });
	td_wipe(&a, sizeof(a));
}

static void
own_set(struct xmpp_iq *iq, struct xmpp_user *u, const struct xmpp_session *sess)
{
	struct fields f;

	if (!read_fields(iq->s->arena, iq->payload, &f)) {
		own_error(iq->env, iq->s, XE_BAD_REQUEST, NULL);
	} else if (!f.remove) {
		change_password(iq, u, sess, &f);
	} else if (xmpp_node_next_elem(xmpp_node_child(iq->payload, NULL, NULL)) != NULL) {
		own_error(iq->env, iq->s, XE_BAD_REQUEST, NULL); /* table 1: alone */
	} else {
		store_account_delete(
			iq->env->store, u->bare,
			(struct store_to){ iq->env->loop, on_removed, own_call_new(iq, u, sess) });
	}
}

static void
own_get(struct xmpp_iq *iq, const struct xmpp_user *u)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<query xmlns='" NS_REGISTER
			"'><registered/><instructions>You have an account. "
			"Here its password is changed.</instructions><username>");
	td_buf_add_xml(&b, u->local);
	td_buf_addz(&b, "</username><password/></query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
}

static int
on_register_iq(struct xmpp_iq *iq)
{
	struct xmpp_env *env = iq->env;
	const struct xmpp_stanza *s = iq->s;
	struct xmpp_user *u;
	struct xmpp_session *sess;

	/* of a client of ours, about its account here; others have nothing to register for */
	u = (s->flags & XF_FROM_CLIENT) ? xmpp_user_find(env, s->from.bare) : NULL;
	if (u == NULL || !u->exists ||
	    (s->to.full.p != NULL && !td_str_eq(s->to.domain, u->domain)) ||
	    (sess = xmpp_session_find(u, s->from.resource)) == NULL)
		return XMPP_PASS;
	if (!xmpp_signin_of(env, u->domain)->self_service) {
		if (s->type == XT_GET)
			return XMPP_PASS;
		own_error(env, s, XE_NOT_ALLOWED, NULL);
	} else if (u->anonymous || sess->stream == NULL || !xmpp_c2s_has_store(sess->stream)) {
		own_error(env, s, XE_NOT_ALLOWED, NULL); /* the password is not ours to change */
	} else if (s->type == XT_GET) {
		own_get(iq, u);
	} else if (!xmpp_c2s_is_tls(sess->stream)) {
		own_error(env, s, XE_NOT_AUTHORIZED, "Not in clear.");
	} else {
		own_set(iq, u, sess);
	}
	return XMPP_DONE;
}

static const char *const register_disco[] = { NS_REGISTER, NULL };

static const struct xmpp_iq_entry register_iqs[] = {
	{ NS_REGISTER, "query", IQ_GET | IQ_SET | IQ_TO_HOST, on_register_iq },
	{ NS_REGISTER, "query", IQ_GET | IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, on_register_iq },
	{ 0 },
};

const struct xmpp_module xep_0077_register = {
	.name = "xep-0077-register",
	.xep = "0077",
	.doc = "Accounts made before signing in where the domain allows it; their password, their "
	       "end",
	.version = "2.4",
	.features = register_disco,
	.iqs = register_iqs,
	.features_before = register_features,
};

const struct xmpp_module xep_0445_preauth = {
	.name = "xep-0445-preauth",
	.xep = "0445",
	.doc = "An invitation opens the making of an account",
	.version = "0.2.0",
};
