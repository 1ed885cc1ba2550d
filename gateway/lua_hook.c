/* lua_hook - callouts of chat: asking the modules in turn, what they may answer, and the account
 * object.
 *
 * A callout of a stanza may answer
 *   nothing, 0            go on
 *   another number        consumed (xmpp.DONE)
 *   text [, more text]    refuse it: an error condition, words for a person
 *   a node                goes on in its place; who it is from cannot be changed
 * and one of a stream or a sign-in with a condition of those.  A callout that fails has said
 * nothing, but for sign_in, where lua_error_action decides. */
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"
#include "gateway/scripts.h"
#include "xmpp/c2s.h"
#include "xmpp/sasl.h"

#define KEPT_MAX 8192u     /* bytes a script keeps with an account */
#define CONTACTS_MAX 2000u /* in a list of them */

static const char account_mt[] = "gwl.account";

/* ---- what was answered ---- */

bool
gwl_condition(const char *name, enum xmpp_error *out)
{
	for (unsigned e = 0; e < XE_COUNT; e++)
		if (strcmp(xmpp_error_name((enum xmpp_error)e), name) == 0) {
			*out = (enum xmpp_error)e;
			return true;
		}
	return false;
}

/* A condition of a SASL failure or a stream error, as a constant; NULL: there is none of that name. */
static const char *
stream_condition(enum gwl_hook h, const char *name)
{
	static const char *const stream[] = {
		"policy-violation",    "not-authorized",  "host-unknown",
		"resource-constraint", "system-shutdown", "remote-connection-failed",
		"undefined-condition", "reset",           "conflict"
	};

	for (unsigned e = 0; h == GH_SIGN_IN && e < SASL_ERROR_COUNT; e++)
		if (strcmp(xmpp_sasl_error_name((enum xmpp_sasl_error)e), name) == 0)
			return xmpp_sasl_error_name((enum xmpp_sasl_error)e);
	for (size_t i = 0; h == GH_STREAM_OPEN && i < sizeof(stream) / sizeof(stream[0]); i++)
		if (strcmp(stream[i], name) == 0)
			return stream[i];
	return NULL;
}

static void
take_refusal(lua_State *L, struct gwl_call *call, const char *name, int text)
{
	struct xmpp_hook_call *hc = call->hc;
	struct td_str why = TD_STR_NULL;

	if (call->stanza == NULL)
		hc->condition = stream_condition(call->hook, name);
	if (call->stanza != NULL ? !gwl_condition(name, &hc->error) : hc->condition == NULL)
		luaL_error(L, "%s: there is no condition \"%s\"", gwl_hook_name(call->hook), name);
	if (lua_type(L, text) == LUA_TSTRING)
		why = tlua_checkstr(L, text);
	why.len = td_utf8_cut(why, sizeof(hc->why) - 1);
	if (why.len > 0)
		memcpy(hc->why, why.p, why.len);
	hc->why[why.len] = '\0';
	call->verdict = XV_BOUNCE;
}

/* NULL, or why <n> cannot stand for <s>. */
static const char *
fit(struct xmpp_stanza *n, const struct xmpp_stanza *s, const struct gwl_call *call)
{
	bool out = call->hook == GH_ARRIVED || call->hook == GH_BEFORE_SEND;

	if (n->kind != s->kind)
		return "it is another kind of stanza";
	if (n->type == XT_UNKNOWN)
		return "it has no known type";
	if (!out && n->flags & XF_BAD_TO)
		return "its 'to' is no address";
	xmpp_stanza_set_from(n, s->from.full.p != NULL ? &s->from : NULL);
	if (out)
		xmpp_stanza_set_to(n, &s->to);
	if (s->id.p != NULL)
		xmpp_stanza_set_id(n, s->id);
	return NULL;
}

static void
take_stanza(lua_State *L, struct gwl_call *call, int i)
{
	struct xmpp_node *n = gwl_check_node(L, i);
	struct xmpp_stanza *s;
	struct td_arena *a;
	const char *why;

	if (gwl_is_stanza(L, i, call->stanza)) /* itself, maybe changed in its place */
		return;
	luaL_argcheck(L, n->name != NULL, i, "a text node");
	tlua_charge(L, 500);
	a = td_arena_new(2048); /* nothing raises while it is ours */
	n = xmpp_node_copy(a, n);
	gwl_default_ns(n);
	(void)xmpp_stanza_from_node(a, n, &s, NULL);
	why = fit(s, call->stanza, call);
	if (why != NULL) {
		xmpp_stanza_unref(&s);
		luaL_error(L, "%s: what was returned cannot take the stanza's place: %s",
			   gwl_hook_name(call->hook), why);
	}
	call->hc->replaced = s;
	call->verdict = XV_REPLACE;
}

/* Those that are only told. */
static bool
is_decision(enum gwl_hook h)
{
	switch (h) {
	case GH_SESSION_START:
	case GH_SESSION_END:
	case GH_DELIVERED:
	case GH_PRESENCE:
	case GH_SUBSCRIPTION:
	case GH_ACCOUNT_REMOVED: return false;
	default: return true;
	}
}

void
gwl_take_verdict(lua_State *L, struct gwl_call *call)
{
	int i = lua_gettop(L) - 1;

	call->verdict = XV_GO;
	if (!is_decision(call->hook))
		return;
	if (lua_type(L, i) == LUA_TSTRING)
		take_refusal(L, call, lua_tostring(L, i), i + 1);
	else if (lua_type(L, i) == LUA_TNUMBER)
		call->verdict = lua_tonumber(L, i) != 0 ? XV_DROP : XV_GO;
	else if (call->stanza != NULL && gwl_is_node(L, i))
		take_stanza(L, call, i);
}

/* ---- asking ---- */

/* One module.  <s>: the stanza as the modules before left it. */
static enum xmpp_verdict
ask(struct gwl_state *st, struct gwl_module *m, struct gwl_call *call)
{
	struct td_err err = { 0 };
	int rc = gwl_invoke(st, m, call, &err);

	if (rc == 0)
		return call->verdict;
	xmpp_stanza_unref(&call->hc->replaced); /* it failed after it had answered */
	/* a fault is logged and counted; the stanza goes its usual way */
	if (call->hook != GH_SIGN_IN || rc == TD_E_BUSY || st->set->scripts[m->script].accept)
		return XV_GO;
	call->hc->condition = xmpp_sasl_error_name(SASL_TEMPORARY_AUTH_FAILURE);
	return XV_BOUNCE;
}

int
gw_scripts_xmpp_hook(struct xmpp_env *env, struct xmpp_hook_call *hc)
{
	struct gwl_state *st = gw_worker_of(env)->lua;
	enum gwl_hook gh = (enum gwl_hook)(GH_CLIENT_MESSAGE + hc->hook);
	struct xmpp_stanza *now = NULL; /* put in the place of hc->s */
	enum xmpp_verdict v = XV_GO;

	for (size_t i = 0; st != NULL && i < st->n_modules && v == XV_GO; i++) {
		struct gwl_call call = { .hook = gh,
					 .env = env,
					 .sess = hc->sess,
					 .stanza = now != NULL ? now : hc->s,
					 .hc = hc };

		if ((st->modules[i].hooks & (UINT64_C(1) << gh)) == 0)
			continue;
		v = ask(st, &st->modules[i], &call);
		if (v == XV_REPLACE) {
			xmpp_stanza_unref(&now);
			now = hc->replaced;
			hc->replaced = NULL;
			v = XV_GO; /* the next may look at it */
		}
	}
	if (hc->hook == XH_SESSION_END)
		gwl_session_end(hc->sess);
	if (now != NULL && v == XV_GO) {
		hc->replaced = now;
		return XV_REPLACE;
	}
	xmpp_stanza_unref(&now);
	return v;
}

/* ---- facts of a stream ---- */

void
gwl_push_info(lua_State *L, struct xmpp_hook_call *hc)
{
	struct td_str bare = hc->jid.p != NULL ? hc->jid : xmpp_c2s_bare(hc->stream);

	lua_createtable(L, 0, 5);
	lua_pushstring(L, xmpp_c2s_peer(hc->stream));
	lua_setfield(L, -2, "address");
	tlua_pushstr(L, xmpp_c2s_domain(hc->stream));
	lua_setfield(L, -2, "domain");
	lua_pushboolean(L, xmpp_c2s_is_tls(hc->stream));
	lua_setfield(L, -2, "tls");
	tlua_pushstr(L, bare);
	lua_setfield(L, -2, "user");
	lua_pushstring(L, hc->mechanism);
	lua_setfield(L, -2, "mechanism");
}

/* ---- the account of a callout ---- */

struct laccount {
	uint64_t epoch;
	struct xmpp_user *u;
};

void
gwl_push_account(lua_State *L, struct xmpp_user *u)
{
	struct laccount *o;

	if (u == NULL) {
		lua_pushnil(L);
		return;
	}
	o = lua_newuserdatauv(L, sizeof(*o), 0);
	*o = (struct laccount){ gwl_state_of(L)->epoch, u };
	luaL_setmetatable(L, account_mt);
}

static struct xmpp_user *
check_account(lua_State *L)
{
	struct laccount *o = luaL_checkudata(L, 1, account_mt);

	if (o->epoch != gwl_state_of(L)->epoch)
		luaL_error(L, "this account object's callout is over");
	tlua_charge(L, 10);
	return o->u;
}

/* account:jid() */
static int
a_jid(lua_State *L)
{
	gwl_push_jid(L, check_account(L)->bare);
	return 1;
}

/* What the script keeps with the account, all of it under one key of the settings; pushed. */
static void
push_kept(lua_State *L, const struct xmpp_user *u)
{
	struct td_str v =
		xmpp_user_setting(u, lua_pushfstring(L, "+lua:%s", tlua_script(tlua_of(L))));

	lua_pop(L, 1);
	if (v.len > 0)
		tlua_thaw(L, v);
	else
		lua_newtable(L);
}

/* account:get(key) -> plain value or nil */
static int
a_get(lua_State *L)
{
	struct xmpp_user *u = check_account(L);

	(void)luaL_checkstring(L, 2);
	push_kept(L, u);
	lua_pushvalue(L, 2);
	lua_rawget(L, -2);
	return 1;
}

/* account:set(key, plain value or nil) -> boolean: is it kept? */
static int
a_set(lua_State *L)
{
	struct xmpp_user *u = check_account(L);
	struct td_buf *b;
	const char *key;
	bool empty;

	lua_settop(
		L,
		3); /* what a script gives too much must not take the buffer's place, nor that of what it left out */
	b = tlua_newbuf(L); /* 4 */
	(void)luaL_checkstring(L, 2);
	if (!u->exists || u->anonymous) {
		lua_pushboolean(L, 0);
		return 1;
	}
	push_kept(L, u); /* 5 */
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 3);
	lua_rawset(L, 5);
	lua_pushnil(L);
	empty = lua_next(L, 5) == 0;
	lua_settop(L, 5);
	if (!empty)
		tlua_freeze(L, 5, b);
	if (b->len > KEPT_MAX)
		return luaL_error(L, "a script keeps at most %d bytes with an account",
				  (int)KEPT_MAX);
	key = lua_pushfstring(L, "+lua:%s", tlua_script(tlua_of(L)));
	tlua_charge(L, 2000);
	if (!td_str_eq(xmpp_user_setting(u, key), td_buf_str(b)))
		xmpp_user_set_setting(u, key, empty ? TD_STR_NULL : td_buf_str(b), NULL, NULL);
	lua_pushboolean(L, 1);
	return 1;
}

static void
push_contact(lua_State *L, const struct xmpp_contact *c)
{

	lua_createtable(L, 0, 3);
	tlua_pushstr(L, c->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, store_sub_names[c->sub & 3]);
	lua_setfield(L, -2, "subscription");
	lua_createtable(L, c->n_groups, 0);
	for (uint16_t i = 0; i < c->n_groups; i++) {
		tlua_pushstr(L, c->groups[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, "groups");
}

/* account:contact(jid) -> { name, subscription, groups }, or nil */
static int
a_contact(lua_State *L)
{
	struct xmpp_user *u = check_account(L);
	struct td_str s = tlua_checkstr(L, 2);
	const struct xmpp_contact *c = NULL;
	struct xmpp_jid j;

	tlua_charge(L, 50 + s.len);
	if (xmpp_jid_parse(tlua_scratch(L), s, &j, NULL) == 0)
		c = xmpp_user_contact(u, j.bare);
	/* what only asks, or waits to be asked, is not on the roster (RFC 6121 3.1.3) */
	if (c == NULL || (c->flags & STORE_ROSTER_HIDDEN))
		lua_pushnil(L);
	else
		push_contact(L, c);
	return 1;
}

/* account:contacts() -> array of bare JIDs */
static int
a_contacts(lua_State *L)
{
	struct xmpp_user *u = check_account(L);
	struct xmpp_contact *c;
	lua_Integer n = 0;
	size_t i = 0;

	lua_newtable(L);
	while (n < (lua_Integer)CONTACTS_MAX && (c = td_map_next(&u->roster, &i)) != NULL) {
		tlua_charge(L, 10);
		if (c->flags & STORE_ROSTER_HIDDEN)
			continue;
		tlua_pushstr(L, c->jid);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

/* account:sessions() -> array of { jid, available, priority } */
static int
a_sessions(lua_State *L)
{
	struct xmpp_user *u = check_account(L);
	struct xmpp_session *x;
	lua_Integer n = 0;

	lua_newtable(L);
	TAILQ_FOREACH(x, &u->sessions, link)
	{
		tlua_charge(L, 20);
		lua_createtable(L, 0, 3);
		tlua_pushstr(L, x->jid.full);
		lua_setfield(L, -2, "jid");
		lua_pushboolean(L, x->available);
		lua_setfield(L, -2, "available");
		lua_pushinteger(L, x->priority);
		lua_setfield(L, -2, "priority");
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

/* account:anonymous() -> is it a guest? */
static int
a_anonymous(lua_State *L)
{
	lua_pushboolean(L, check_account(L)->anonymous);
	return 1;
}

void
gwl_open_hook(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "jid", a_jid },
		{ "get", a_get },
		{ "set", a_set },
		{ "contact", a_contact },
		{ "contacts", a_contacts },
		{ "sessions", a_sessions },
		{ "anonymous", a_anonymous },
		{ NULL, NULL },
	};

	luaL_newmetatable(L, account_mt);
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}
