/* lua_vctx - the validation context (vctx) and the accepted connection (ac) of mail callouts. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/lua_priv.h"

#define TARPIT_MAX_MS 5000 /* of one callback; Postfix waits 30 s for us */

static const char vctx_mt[] = "gwl.vctx";
static const char ac_mt[] = "gwl.ac";

static void
push_lent(lua_State *L, const char *mt)
{
	uint64_t *epoch = lua_newuserdatauv(L, sizeof(*epoch), 0);

	*epoch = gwl_state_of(L)->epoch;
	luaL_setmetatable(L, mt);
}

void
gwl_push_vctx(lua_State *L)
{
	push_lent(L, vctx_mt);
}

void
gwl_push_ac(lua_State *L)
{
	push_lent(L, ac_mt);
}

static struct gwl_call *
check_lent(lua_State *L, const char *mt)
{
	uint64_t *epoch = luaL_checkudata(L, 1, mt);
	struct gwl_state *st = gwl_state_of(L);

	if (*epoch != st->epoch || st->call == NULL || st->call->conn == NULL)
		luaL_error(L, "this object's callout is over");
	tlua_charge(L, 20);
	return st->call;
}

/* ---- contexts ---- */

static struct milt_dict *
check_dict(lua_State *L, struct gwl_call *call, int i)
{
	lua_Integer type = luaL_checkinteger(L, i);

	luaL_argcheck(L, type == 1 || type == 2, i, "VCTX_MESS or VCTX_CONN");
	if (type == 2)
		return milt_conn_ctx(call->conn);
	return call->mail != NULL ? milt_mail_ctx(call->mail) : NULL;
}

static int
v_get(lua_State *L)
{
	struct milt_dict *d = check_dict(L, check_lent(L, vctx_mt), 2);
	struct td_str v = d != NULL ? milt_dict_get(d, tlua_checkstr(L, 3)) : TD_STR_NULL;

	tlua_pushstr(L, v.p != NULL ? v : TD_STR(""));
	return 1;
}

static int
v_set(lua_State *L)
{
	struct milt_dict *d = check_dict(L, check_lent(L, vctx_mt), 2);
	struct td_str key, v;

	/* as documented: a nil key or value is no error */
	if (d == NULL || lua_isnoneornil(L, 3) || lua_isnoneornil(L, 4))
		return 0;
	key = tlua_checkstr(L, 3);
	v.p = luaL_tolstring(L, 4, &v.len);
	if (milt_dict_set(d, key, v) < 0)
		return luaL_error(L, "vctx:set: too many keys");
	return 0;
}

/* ---- verdicts ---- */

static unsigned
check_code(lua_State *L, int i)
{
	int64_t n = 0;

	if (!td_str_to_i64(tlua_checkstr(L, i), 200, 599, &n))
		luaL_argerror(L, i, "an SMTP code");
	return (unsigned)n;
}

static int
v_set_code(lua_State *L)
{
	struct gwl_call *call = check_lent(L, vctx_mt);
	unsigned code = check_code(L, 2);
	struct td_str text = tlua_optstr(L, 3);

	if (code < 400) { /* take a refusal back */
		free(call->conn->reply.text);
		call->conn->reply = (struct milt_reply){ 0 };
		return 0;
	}
	if (milt_conn_set_reply(call->conn, code, text.p != NULL ? text : TD_STR("")) < 0)
		return luaL_error(L, "vctx:set_code: not a code for a refusal");
	return 0;
}

/* 421 makes the MTA close; another code refuses, and the MTA decides about the rest. */
static int
v_disconnect(lua_State *L)
{
	if (lua_isnoneornil(L, 2)) {
		lua_settop(L, 1);
		lua_pushliteral(L, "421");
	}
	return v_set_code(L);
}

/* Waits after the callout, when the state is given back. */
static int
v_tarpit(lua_State *L)
{
	struct gwl_call *call = check_lent(L, vctx_mt);
	lua_Number s = luaL_checknumber(L, 2);
	double ms = s > 0 ? s * 1000 + call->tarpit_ms : call->tarpit_ms;

	call->tarpit_ms = ms < TARPIT_MAX_MS ? (unsigned)ms : TARPIT_MAX_MS;
	return 0;
}

/* ---- recipients ---- */

static struct milt_mail *
check_changeable(lua_State *L)
{
	struct gwl_call *call = check_lent(L, vctx_mt);

	if (call->mail == NULL)
		luaL_error(L, "there is no message yet");
	if (call->hook == GH_RCPTTO)
		luaL_error(L, "the recipient list is not complete in validate_rcptto");
	if (call->hook == GH_ENQUEUE || call->hook == GH_ROUTING_DOMAIN)
		luaL_error(L, "it is too late to change recipients");
	return call->mail;
}

static void
one_rcpt(lua_State *L, struct milt_mail *m, int i, bool add)
{
	struct td_str addr = tlua_checkstr(L, i);
	struct td_err err = { 0 };

	tlua_charge(L, 500);
	if (!add)
		(void)milt_mail_remove_rcpt(m, addr);
	else if (milt_mail_add_rcpt(m, addr, &err) < 0)
		tlua_raise(L, &err);
}

/* An address or an array of them. */
static void
each_rcpt(lua_State *L, struct milt_mail *m, int i, bool add)
{
	if (!lua_istable(L, i)) {
		one_rcpt(L, m, i, add);
		return;
	}
	for (lua_Integer k = 1; lua_rawgeti(L, i, k) != LUA_TNIL; k++) {
		one_rcpt(L, m, lua_gettop(L), add);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static int
v_add_recipient(lua_State *L)
{
	each_rcpt(L, check_changeable(L), 2, true);
	return 0;
}

static int
v_remove_recipient(lua_State *L)
{
	each_rcpt(L, check_changeable(L), 2, false);
	return 0;
}

/* recipient_list() -> array; recipient_list(address or array): these instead */
static int
v_recipient_list(lua_State *L)
{
	struct gwl_call *call = check_lent(L, vctx_mt);
	struct milt_rcpt *r;
	lua_Integer n = 0;
	size_t i = 0;

	if (!lua_isnoneornil(L, 2)) {
		struct milt_mail *m = check_changeable(L);

		while ((r = milt_mail_rcpt(m, &i)) != NULL)
			r->removed = true;
		each_rcpt(L, m, 2, true);
	}
	if (call->mail == NULL || call->hook == GH_RCPTTO)
		return luaL_error(L, "the recipient list is not complete here");
	lua_newtable(L);
	i = 0;
	while ((r = milt_mail_rcpt(call->mail, &i)) != NULL) {
		tlua_pushstr(L, r->addr.full);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static int
v_index(lua_State *L)
{
	struct gwl_call *call = check_lent(L, vctx_mt);
	const char *key = luaL_checkstring(L, 2);

	if (strcmp(key, "code") == 0) {
		lua_pushinteger(L, call->conn->reply.code);
		return 1;
	}
	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(1));
	return 1;
}

/* ---- the connection ---- */

/* "1.2.3.4" or an IPv6 address as 16 bytes. */
static bool
to_bytes(const char *text, unsigned char out[16])
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	return inet_pton(AF_INET, text, out + 12) == 1 || inet_pton(AF_INET6, text, out) == 1;
}

struct counting {
	unsigned char net[16];
	unsigned bits, n;
};

static void
count_one(void *arg, const struct milt_session_info *i)
{
	struct counting *c = arg;
	unsigned char a[16];
	char text[64];
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	snprintf(text, sizeof(text), "%.*s", (int)strcspn(i->peer, " "), i->peer);
	if (to_bytes(text, a) && memcmp(a, c->net, whole) == 0 &&
	    (rest == 0 || (a[whole] >> (8 - rest)) == (c->net[whole] >> (8 - rest))))
		c->n++;
}

/* inbound_session_count([cidr [, service]]): "/24" (of this client), "addr", "addr/24" */
static int
a_session_count(lua_State *L)
{
	struct gwl_call *call = check_lent(L, ac_mt);
	const char *cidr = luaL_optstring(L, 2, ""), *slash = strchr(cidr, '/');
	const char *service = luaL_optstring(L, 3, "SMTP");
	struct counting c = { .n = 0 };
	struct td_str own = call->conn->addr;
	size_t len = slash != NULL ? (size_t)(slash - cidr) : strlen(cidr);
	char addr[64];
	int64_t bits;

	if (strcmp(service, "SMTP") != 0)
		return luaL_error(L, "no service %s", service);
	snprintf(addr, sizeof(addr), "%.*s", (int)len, cidr);
	if (addr[0] == '\0')
		snprintf(addr, sizeof(addr), "%.*s", TD_STR_ARG(own));
	if (!to_bytes(addr, c.net))
		return luaL_error(L, "no address: %s", addr);
	c.bits = 128;
	if (slash != NULL) {
		bool v4 = strchr(addr, ':') == NULL;

		if (!td_str_to_i64(td_cstr(slash + 1), 0, v4 ? 32 : 128, &bits))
			return luaL_error(L, "no prefix length: %s", slash + 1);
		c.bits = (unsigned)bits + (v4 ? 96 : 0);
	}
	(void)milt_session_each(count_one, &c);
	lua_pushinteger(L, c.n);
	return 1;
}

static int
a_unsupported(lua_State *L)
{
	return luaL_error(L, "not supported in a milter");
}

static int
a_index(lua_State *L)
{
	struct gwl_call *call = check_lent(L, ac_mt);
	const char *key = luaL_checkstring(L, 2);
	struct milt_conn *c = call->conn;

	if (strcmp(key, "remote_addr") == 0)
		tlua_pushstr(L, c->addr.p != NULL ? c->addr : TD_STR(""));
	else if (strcmp(key, "remote_port") == 0)
		lua_pushinteger(L, c->port);
	else if (strcmp(key, "remote_host") == 0)
		tlua_pushstr(L, c->hostname.p != NULL ? c->hostname : TD_STR(""));
	else if (strcmp(key, "protocol") == 0)
		lua_pushliteral(L, "SMTP");
	else {
		lua_pushvalue(L, 2);
		lua_rawget(L, lua_upvalueindex(1));
	}
	return 1;
}

static void
make_class(lua_State *L, const char *mt, const luaL_Reg *methods, lua_CFunction index)
{
	luaL_newmetatable(L, mt);
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_pushcclosure(L, index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

void
gwl_open_vctx(lua_State *L)
{
	static const luaL_Reg vctx[] = {
		{ "get", v_get },
		{ "set", v_set },
		{ "set_code", v_set_code },
		{ "disconnect", v_disconnect },
		{ "tarpit", v_tarpit },
		{ "recipient_list", v_recipient_list },
		{ "add_recipient", v_add_recipient },
		{ "remove_recipient", v_remove_recipient },
		{ NULL, NULL },
	};
	static const luaL_Reg ac[] = {
		{ "inbound_session_count", a_session_count },
		{ "esmtp_capability_add", a_unsupported },
		{ "esmtp_capability_remove", a_unsupported },
		{ NULL, NULL },
	};

	make_class(L, vctx_mt, vctx, v_index);
	make_class(L, ac_mt, ac, a_index);
}
