/* lua_xmpp - what scripts do on the chat side: route stanzas, and the session object.
 *
 * A stanza routed while a mail is looked at waits for the end of that mail: it is committed
 * with the others before the MTA is answered, and dropped when the mail goes another way. */
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"
#include "gateway/scripts.h"
#include "xmpp/c2s.h"

#define CHATS_MAX 1000 /* of one mail */
#define KEYS_MAX 100   /* of sess:set */

static const struct td_logctx xlog = { .domain = "lua" };
static const char session_mt[] = "gwl.session";

/* ---- routing ---- */

/* Elements made without a namespace are jabber:client (momentum.md 6.7). */
void
gwl_default_ns(struct xmpp_node *n)
{
	if (n->name == NULL || n->ns != NULL)
		return;
	n->ns = NS_CLIENT;
	for (struct xmpp_node *c = n->first; c != NULL; c = c->next)
		gwl_default_ns(c);
}

const char *
gwl_why_not(struct gwl_state *st, const struct xmpp_stanza *s)
{
	struct gw_domain d;

	if (s->kind == XK_OTHER)
		return "no message, presence or iq";
	if (s->to.full.p == NULL)
		return "no valid to";
	if (s->from.full.p == NULL)
		return "no valid from";
	if (!gw_domains_find(st->set->domains, s->from.domain, &d) ||
	    (d.kind != XD_LOCAL && d.kind != XD_SERVICE && d.kind != XD_MAIL))
		return "from is in no domain of ours";
	return NULL;
}

/* Put <s> (taken) with its mail. */
static const char *
collect(struct gwl_state *st, struct xmpp_stanza *s, bool notice)
{
	struct gwl_call *call = st->call;
	struct gwl_mail *gm = call->mail->user;
	struct gwl_chat *chat;
	struct gw_domain d;
	bool local;

	if (gm->n_chats >= CHATS_MAX)
		return "too many stanzas for one mail";
	local = s->to.local.p != NULL && gw_domains_find(st->set->domains, s->to.domain, &d) &&
		d.kind == XD_LOCAL;
	/* one unknown recipient would make the commit of all fail */
	if (local && s->kind == XK_MESSAGE &&
	    store_account_exists_now(st->set->gw->store, s->to.bare) != 1)
		return "no such account";
	chat = td_zalloc(sizeof(*chat));
	chat->s = s;
	chat->rcpt = call->hook == GH_ENQUEUE ? call->rcpt : NULL;
	chat->local = local && s->kind == XK_MESSAGE;
	chat->notice = notice;
	*gm->chats_end = chat;
	gm->chats_end = &chat->next;
	gm->n_chats++;
	return NULL;
}

/* Route a copy of <n>, which lives anywhere.  Raises nothing. */
static bool
route(struct gwl_state *st, struct td_arena *a, struct xmpp_node *n, bool notice)
{
	struct gwl_call *call = st->call;
	struct xmpp_stanza *s;
	const char *why;
	char id[17];

	gwl_default_ns(n);
	(void)xmpp_stanza_from_node(a, n, &s, NULL);
	why = gwl_why_not(st, s);
	if (why == NULL && s->id.p == NULL) {
		td_random_id(id, sizeof(id) - 1);
		xmpp_stanza_set_id(s, td_cstr(id));
	}
	if (why == NULL) {
		bool mail = call != NULL && call->mail != NULL;

		if (mail || (call != NULL && call->conn != NULL))
			s->flags |= XF_FROM_MAIL;
		xmpp_stanza_seal(s);
		if (mail)
			why = collect(st, s, notice);
		else
			gw_route(st->set->gw, s);
	}
	if (call != NULL) {
		call->routed += why == NULL;
		call->refused += why != NULL;
	}
	if (why == NULL)
		return true;
	td_log_warn(&xlog, "script-route", "script=%s from=%s to=%s text=%s, ignoring",
		    td_escz(tlua_script(st->t)), td_esc(xmpp_node_attr(n, "from")),
		    td_esc(xmpp_node_attr(n, "to")), td_escz(why));
	xmpp_stanza_unref(&s);
	return false;
}

/* route(node [, notice]) -> boolean */
static int
x_route(lua_State *L)
{
	struct xmpp_node *n = gwl_check_node(L, 1);
	bool notice = lua_toboolean(L, 2);
	struct td_arena *a;

	luaL_argcheck(L, n->name != NULL, 1, "a text node");
	tlua_charge(L, 500);
	a = td_arena_new(2048); /* the stanza's; nothing raises from here on */
	lua_pushboolean(L, route(gwl_state_of(L), a, xmpp_node_copy(a, n), notice));
	return 1;
}

/* send(xml) -> boolean */
static int
x_send(lua_State *L)
{
	struct td_str text = tlua_checkstr(L, 1);
	struct td_arena *a;
	struct xmpp_node *n;
	const char *why;
	bool ok = false;

	luaL_argcheck(L, text.len <= 1u << 20, 1, "over 1 MiB");
	tlua_charge(L, 500 + text.len / 4);
	a = td_arena_new(2048);
	n = xmpp_xml_parse(a, td_str_trim(text), NS_CLIENT, &why);
	if (n != NULL) {
		ok = route(gwl_state_of(L), a, n, false);
	} else {
		if (gwl_state_of(L)->call != NULL)
			gwl_state_of(L)->call->refused++;
		td_log_warn(&xlog, "script-route", "script=%s text=%s, ignoring",
			    td_escz(tlua_script(tlua_of(L))), td_escz(why));
		td_arena_free(a);
	}
	lua_pushboolean(L, ok);
	return 1;
}

/* jid(text) -> full, bare, local, domain, resource; or nil, error */
static int
x_jid(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	struct td_arena *a = tlua_scratch(L);
	struct td_err err = { 0 };
	struct xmpp_jid j;

	tlua_charge(L, 50 + s.len);
	if (xmpp_jid_parse(a, s, &j, &err) < 0) {
		lua_pushnil(L);
		lua_pushstring(L, err.text);
		return 2;
	}
	tlua_pushstr(L, j.full);
	tlua_pushstr(L, j.bare);
	tlua_pushstr(L, j.local);
	tlua_pushstr(L, j.domain);
	tlua_pushstr(L, j.resource);
	return 5;
}

/* jid_make(local, domain [, resource]) -> text, or nil, error */
static int
x_jid_make(lua_State *L)
{
	struct td_str local = tlua_optstr(L, 1), domain = tlua_checkstr(L, 2),
		      res = tlua_optstr(L, 3);
	struct td_arena *a = tlua_scratch(L);
	struct td_err err = { 0 };
	struct xmpp_jid j;

	tlua_charge(L, 50 + local.len + domain.len);
	if (xmpp_jid_make(a, local, domain, res, &j, &err) < 0) {
		lua_pushnil(L);
		lua_pushstring(L, err.text);
		return 2;
	}
	tlua_pushstr(L, j.full);
	return 1;
}

/* ---- the session of a chat callout ---- */

struct lsession {
	uint64_t epoch;
	struct xmpp_session *sess; /* may be NULL */
};

void
gwl_push_session(lua_State *L, struct xmpp_session *sess)
{
	struct lsession *o = lua_newuserdatauv(L, sizeof(*o), 0);

	*o = (struct lsession){ gwl_state_of(L)->epoch, sess };
	luaL_setmetatable(L, session_mt);
}

static struct xmpp_session *
check_session(lua_State *L)
{
	struct lsession *o = luaL_checkudata(L, 1, session_mt);

	if (o->epoch != gwl_state_of(L)->epoch)
		luaL_error(L, "this session object's callout is over");
	tlua_charge(L, 10);
	return o->sess;
}

static struct xmpp_session *
need_session(lua_State *L)
{
	struct xmpp_session *sess = check_session(L);

	if (sess == NULL)
		luaL_error(L, "there is no session here");
	return sess;
}

void
gwl_push_jid(lua_State *L, struct td_str jid)
{
	if (jid.p == NULL) {
		lua_pushnil(L);
		return;
	}
	tlua_require(L, "tandem.jid");
	tlua_pushstr(L, jid);
	lua_call(L, 1, 1);
}

/* sess:jid() -> JID object, nil without a session */
static int
s_jid(lua_State *L)
{
	struct xmpp_session *sess = check_session(L);

	gwl_push_jid(L, sess != NULL ? sess->jid.full : TD_STR_NULL);
	return 1;
}

/* sess:account() -> the account's object, nil without a session */
static int
s_account(lua_State *L)
{
	struct xmpp_session *sess = check_session(L);

	gwl_push_account(L, sess != NULL ? sess->user : NULL);
	return 1;
}

static int
s_kind(lua_State *L)
{
	lua_pushstring(L, check_session(L) != NULL ? "c2s" : "s2s");
	return 1;
}

static int
s_get(lua_State *L)
{
	struct xmpp_session *sess = check_session(L);
	const char *key = luaL_checkstring(L, 2);
	struct gwl_kept *k = sess != NULL && sess->script_data != NULL
				     ? gwl_kept_get(sess->script_data, key, false)
				     : NULL;

	if (k == NULL || k->data.len == 0)
		lua_pushnil(L);
	else
		tlua_thaw(L, td_buf_str(&k->data));
	return 1;
}

/* sess:context(key) -> what the Listen's option context says, or nil */
static int
s_context(lua_State *L)
{
	struct xmpp_session *sess = check_session(L);
	struct td_str key = tlua_checkstr(L, 2), v = TD_STR_NULL;

	if (sess != NULL && sess->stream != NULL)
		v = xmpp_c2s_context(sess->stream, key);
	tlua_pushstr(L, v);
	return 1;
}

/* sess:set(key, plain value or nil) */
static int
s_set(lua_State *L)
{
	struct xmpp_session *sess = need_session(L);
	const char *key = luaL_checkstring(L, 2);
	struct td_buf *b = tlua_newbuf(L);
	struct gwl_conn *gc = sess->script_data;
	struct gwl_kept *k;

	luaL_argcheck(L, strlen(key) <= 200, 2, "too long");
	if (!lua_isnoneornil(L, 3))
		tlua_freeze(L, 3, b);
	luaL_argcheck(L, b->len <= 65536, 3, "too large");
	if (gc == NULL)
		sess->script_data = gc = td_zalloc(sizeof(*gc));
	k = gwl_kept_get(gc, key, gc->kept.len < KEYS_MAX);
	if (k == NULL)
		return luaL_error(L, "a session keeps at most %d keys", KEYS_MAX);
	td_buf_clear(&k->data);
	td_buf_adds(&k->data, td_buf_str(b));
	td_buf_fini(b);
	return 0;
}

/* sess:send(node): to this client only */
static int
s_send(lua_State *L)
{
	struct xmpp_session *sess = need_session(L);
	struct xmpp_node *n = gwl_check_node(L, 2);
	struct xmpp_stanza *s;
	struct td_arena *a;

	luaL_argcheck(L, n->name != NULL, 2, "a text node");
	tlua_charge(L, 500);
	a = td_arena_new(2048);
	n = xmpp_node_copy(a, n);
	gwl_default_ns(n);
	(void)xmpp_stanza_from_node(a, n, &s, NULL);
	if (s->kind != XK_OTHER) {
		if (s->to.full.p == NULL)
			xmpp_stanza_set_to(s, &sess->jid);
		xmpp_stanza_seal(s);
		xmpp_session_send(sess, s);
	}
	lua_pushboolean(L, s->kind != XK_OTHER);
	xmpp_stanza_unref(&s);
	return 1;
}

struct closing {
	char *jid;
	char cond[64];
};

/* Ends the session after the callout: its caller still uses it. */
static void
close_session(struct gw_worker *w, void *arg)
{
	struct closing *c = arg;
	struct td_arena *a = td_arena_new(0);
	struct xmpp_user *u;
	struct xmpp_session *sess = NULL;
	struct xmpp_jid j;

	if (xmpp_jid_parse(a, td_cstr(c->jid), &j, NULL) == 0 &&
	    (u = xmpp_user_find(w->env, j.bare)) != NULL)
		sess = xmpp_session_find(u, j.resource);
	if (sess != NULL && sess->stream != NULL)
		xmpp_c2s_end(sess->stream, c->cond, "Closed by a rule");
	else if (sess != NULL)
		xmpp_session_end(sess, c->cond);
	td_arena_free(a);
	free(c->jid);
	free(c);
}

/* sess:close([condition]) */
static int
s_close(lua_State *L)
{
	static const char *const conds[] = {
		"policy-violation",
		"not-authorized",
		"conflict",
		"reset",
		"resource-constraint",
		"system-shutdown",
		"undefined-condition",
		"remote-connection-failed",
		NULL,
	};
	struct xmpp_session *sess = need_session(L);
	int cond = luaL_checkoption(L, 2, "policy-violation", conds);
	struct closing *c = td_zalloc(sizeof(*c));

	c->jid = td_strndup(sess->jid.full);
	(void)stpcpy(c->cond, conds[cond]);
	gw_worker_post(gw_worker_of(sess->env), close_session, c);
	return 0;
}

/* Methods, and the field vctx. */
static int
s_index(lua_State *L)
{
	const char *key = luaL_checkstring(L, 2);

	if (strcmp(key, "vctx") == 0) {
		(void)check_session(L);
		tlua_require(L, "tandem.sessctx");
		lua_pushvalue(L, 1);
		lua_call(L, 1, 1);
		return 1;
	}
	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(1));
	return 1;
}

void
gwl_session_end(struct xmpp_session *sess)
{
	if (sess == NULL)
		return;
	gwl_conn_free(sess->script_data);
	sess->script_data = NULL;
}

void
gwl_open_xmpp(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "route", x_route },       { "send", x_send }, { "jid", x_jid },
		{ "jid_make", x_jid_make }, { NULL, NULL },
	};
	static const luaL_Reg methods[] = {
		{ "jid", s_jid },         { "kind", s_kind },       { "get", s_get },
		{ "set", s_set },         { "send", s_send },       { "close", s_close },
		{ "context", s_context }, { "account", s_account }, { NULL, NULL },
	};

	luaL_setfuncs(L, fns, 0);
	luaL_newmetatable(L, session_mt);
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_pushcclosure(L, s_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}
