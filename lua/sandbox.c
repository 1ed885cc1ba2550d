/* sandbox - the globals a script may have.
 *
 * Started from nothing: only what is listed in opened[] exists.  Replaced are the functions
 * that could work long, unseen by the count hook, for a few bytes of input: string.rep of an
 * empty string, table functions led on by __len, pattern matching (pattern.c); and those that
 * would slip out of the budget: a message handler that runs for the hook's own error has its
 * hooks off, so has __gc, so has a coroutine that the hook has killed. */
#include <limits.h>

#include "lua/compat.h"
#include "lua/lua_priv.h"

#define REP_MAX (64u << 20)

/* ---- coroutines ---- */

static lua_State *
check_co(lua_State *L, int i)
{
	lua_State *co = lua_tothread(L, i);

	luaL_argexpected(L, co != NULL, i, "coroutine");
	return co;
}

/* Every coroutine starts with a fresh count of instructions to its first hook; many short
 * ones would never be seen. */
static int
co_create(lua_State *L)
{
	lua_State *co;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	tlua_charge(L, 256);
	co = lua_newthread(L);
	tlua_arm(co);
	lua_pushvalue(L, 1);
	lua_xmove(L, co, 1);
	return 1;
}

/* Results (or the error, -1) are on L's stack. */
static int
resume(lua_State *L, lua_State *co, int nargs)
{
	int nres, status;

	tlua_charge(L, 8);
	if (!lua_checkstack(co, nargs)) {
		lua_pushliteral(L, "too many arguments to resume");
		return -1;
	}
	lua_xmove(L, co, nargs);
	status = lua_resume(co, L, nargs, &nres);
	if (status != LUA_OK && status != LUA_YIELD) {
		lua_xmove(co, L, 1);
		tlua_charge(L, 0); /* over budget: no more of this */
		return -1;
	}
	if (!lua_checkstack(L, nres + 1)) {
		lua_pop(co, nres);
		lua_pushliteral(L, "too many results to resume");
		return -1;
	}
	lua_xmove(co, L, nres);
	return nres;
}

static int
co_resume(lua_State *L)
{
	int n = resume(L, check_co(L, 1), lua_gettop(L) - 1);

	lua_pushboolean(L, n >= 0);
	if (n < 0)
		n = 1;
	lua_insert(L, -(n + 1));
	return n + 1;
}

static int
wrapped(lua_State *L)
{
	lua_State *co = lua_tothread(L, lua_upvalueindex(1));
	int n = resume(L, co, lua_gettop(L));

	if (n >= 0)
		return n;
	if (lua_type(L, -1) == LUA_TSTRING) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
	}
	return lua_error(L);
}

static int
co_wrap(lua_State *L)
{
	co_create(L);
	lua_pushcclosure(L, wrapped, 1);
	return 1;
}

/* upvalue: coroutine.close */
static int
co_close(lua_State *L)
{
	tlua_charge(L, 8);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* ---- base ---- */

/* xpcall's handler: not for the budget's own error, its hooks would be off. */
static int
guarded_handler(lua_State *L)
{
	if (tlua_of(L)->over != TO_NONE)
		return 1;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, 1);
	return 1;
}

/* upvalue: the original */
static int
base_xpcall(lua_State *L)
{
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushvalue(L, 2);
	lua_pushcclosure(L, guarded_handler, 1);
	lua_replace(L, 2);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static int
base_setmetatable(lua_State *L)
{
	int type = lua_type(L, 2);

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	if (type == LUA_TTABLE) {
		lua_pushliteral(L, "__gc");
		if (lua_rawget(L, 2) != LUA_TNIL)
			return luaL_error(L, "a script's metatable cannot have __gc");
	}
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

/* The collector runs by itself; scripts may ask, not command. */
static int
base_collectgarbage(lua_State *L)
{
	const char *what = luaL_optstring(L, 1, "collect");

	if (strcmp(what, "count") == 0)
		lua_pushnumber(L, (lua_Number)tlua_of(L)->mem / 1024);
	else
		lua_pushinteger(L, 0);
	return 1;
}

/* load(text or function [, name [, mode [, env]]]): text only. */
static int
base_load(lua_State *L)
{
	struct tlua *t = tlua_of(L);
	bool has_env = !lua_isnone(L, 4);
	const char *name = luaL_optstring(L, 2, "=(load)");
	struct td_str text;
	struct td_buf *b;
	int rc;

	lua_settop(L, 4);
	b = tlua_newbuf(L); /* 5 */
	if (lua_type(L, 1) == LUA_TFUNCTION) {
		for (;;) {
			lua_pushvalue(L, 1);
			lua_call(L, 0, 1);
			if (lua_isnil(L, -1))
				break;
			text = tlua_checkstr(L, -1);
			if (text.len == 0)
				break;
			if (b->len + text.len > TLUA_SOURCE_MAX)
				return luaL_error(L, "load: text too long");
			td_buf_adds(b, text);
			lua_pop(L, 1);
		}
		text = td_buf_str(b);
	} else {
		text = tlua_checkstr(L, 1);
	}
	lua_settop(L, 5);
	if (text.len > TLUA_SOURCE_MAX)
		return luaL_error(L, "load: text too long");
	tlua_charge(L, text.len / 4);
	if (t->compat) {
		struct td_buf *r = tlua_newbuf(L);

		tlua_compat_rewrite(text, r);
		text = td_buf_str(r);
	}
	rc = luaL_loadbufferx(L, text.p != NULL ? text.p : "", text.len, name, "t");
	tlua_endbuf(L, 5);
	if (rc != LUA_OK) {
		lua_pushnil(L);
		lua_insert(L, -2);
		return 2;
	}
	if (has_env) {
		lua_pushvalue(L, 4);
		if (lua_setupvalue(L, -2, 1) == NULL)
			lua_pop(L, 1);
	}
	return 1;
}

static int
base_print(lua_State *L)
{
	struct tlua *t = tlua_of(L);
	int n = lua_gettop(L);
	luaL_Buffer b;
	size_t len;
	const char *p;

	luaL_buffinit(L, &b);
	for (int i = 1; i <= n; i++) {
		if (i > 1)
			luaL_addchar(&b, '\t');
		luaL_tolstring(L, i, NULL);
		luaL_addvalue(&b);
	}
	luaL_pushresult(&b);
	p = lua_tolstring(L, -1, &len);
	tlua_charge(L, 100 + len);
	if (t->log != NULL)
		t->log(t->user, tlua_script(t), 3 /* info */, "script-print", td_str(p, len));
	return 0;
}

/* ---- string, table ---- */

static int
str_rep(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	lua_Integer n = luaL_checkinteger(L, 2);
	size_t sep = tlua_optstr(L, 3).len;

	if (n <= 0 || s.len + sep == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if ((uint64_t)n > REP_MAX / (s.len + sep))
		return luaL_error(L, "string.rep: result too large");
	tlua_charge(L, (uint64_t)n / 16 + (uint64_t)n * (s.len + sep) / 256);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, 1);
	return 1;
}

/* Call the original (upvalue 1) once the table's length is known to be honest and small. */
static int
tab_guard(lua_State *L)
{
	lua_Integer n;

	luaL_checkany(L, 1);
	if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL)
		return luaL_error(L, "table functions do not take tables with __len");
	n = lua_istable(L, 1) ? (lua_Integer)lua_rawlen(L, 1) : 0;
	if (n > TLUA_COUNT_MAX)
		return luaL_error(L, "table too long");
	tlua_charge(L, (uint64_t)n / (uint64_t)lua_tointeger(L, lua_upvalueindex(2)));
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* concat(t, sep, i, j), unpack(t, i, j), move(t, f, e, ...): <first> is where the range is. */
static int
range_guard(lua_State *L, int first)
{
	lua_Integer i = luaL_optinteger(L, first, 1), j;

	if (lua_isnoneornil(L, first + 1))
		return tab_guard(L);
	j = luaL_checkinteger(L, first + 1);
	if (j >= i && (uint64_t)j - (uint64_t)i > TLUA_COUNT_MAX)
		return luaL_error(L, "too many elements");
	tlua_charge(L, j > i ? (uint64_t)(j - i) / 4 : 0);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static int
tab_concat(lua_State *L)
{
	return range_guard(L, 3);
}

static int
tab_range(lua_State *L)
{
	return range_guard(L, 2);
}

/* ---- names Lua 5.1 had ---- */

static int
old_getn(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
	return 1;
}

static int
old_pow(lua_State *L)
{
	lua_pushnumber(L, luaL_checknumber(L, 1));
	lua_pushnumber(L, luaL_checknumber(L, 2));
	lua_arith(L, LUA_OPPOW);
	return 1;
}

/* ---- putting it together ---- */

/* Table on top: field <name> becomes <fn> with the original as upvalue 1 and <weight>. */
static void
wrap(lua_State *L, const char *name, lua_CFunction fn, int weight)
{
	lua_getfield(L, -1, name);
	lua_pushinteger(L, weight);
	lua_pushcclosure(L, fn, 2);
	lua_setfield(L, -2, name);
}

static void
drop(lua_State *L, const char *const *names)
{
	for (; *names != NULL; names++) {
		lua_pushnil(L);
		lua_setfield(L, -2, *names);
	}
}

static void
open_base(lua_State *L)
{
	static const char *const gone[] = { "dofile", "loadfile", NULL };

	luaL_requiref(L, "_G", luaopen_base, 1);
	drop(L, gone);
	wrap(L, "xpcall", base_xpcall, 1);
	lua_pushcfunction(L, base_setmetatable);
	lua_setfield(L, -2, "setmetatable");
	lua_pushcfunction(L, base_collectgarbage);
	lua_setfield(L, -2, "collectgarbage");
	lua_pushcfunction(L, base_load);
	lua_setfield(L, -2, "load");
	lua_pushcfunction(L, base_print);
	lua_setfield(L, -2, "print");
	lua_pop(L, 1);
}

static void
open_string(lua_State *L)
{
	static const char *const gone[] = { "dump", NULL };

	luaL_requiref(L, "string", luaopen_string, 1);
	drop(L, gone);
	wrap(L, "rep", str_rep, 1);
	tlua_open_patterns(L);
	lua_pop(L, 1);
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 2);
}

static void
open_table(lua_State *L)
{
	luaL_requiref(L, "table", luaopen_table, 1);
	wrap(L, "insert", tab_guard, 8);
	wrap(L, "remove", tab_guard, 8);
	wrap(L, "sort", tab_guard, 1);
	wrap(L, "concat", tab_concat, 4);
	wrap(L, "unpack", tab_range, 4);
	wrap(L, "move", tab_range, 4);
	lua_pop(L, 1);
}

static void
open_coroutine(lua_State *L)
{
	luaL_requiref(L, "coroutine", luaopen_coroutine, 1);
	wrap(L, "create", co_create, 1);
	wrap(L, "resume", co_resume, 1);
	wrap(L, "wrap", co_wrap, 1);
	wrap(L, "close", co_close, 1);
	lua_pop(L, 1);
}

static void
open_os(lua_State *L)
{
	static const char *const gone[] = { "execute", "exit",    "getenv",    "remove",
					    "rename",  "tmpname", "setlocale", NULL };

	luaL_requiref(L, "os", luaopen_os, 1);
	drop(L, gone);
	lua_pop(L, 1);
}

static void
open_old_names(lua_State *L)
{
	lua_getglobal(L, "table");
	lua_getfield(L, -1, "unpack");
	lua_setglobal(L, "unpack");
	lua_pushcfunction(L, old_getn);
	lua_setfield(L, -2, "getn");
	lua_pop(L, 1);
	lua_getglobal(L, "load");
	lua_setglobal(L, "loadstring");
	lua_getglobal(L, "math");
	lua_pushcfunction(L, old_pow);
	lua_setfield(L, -2, "pow");
	lua_pop(L, 1);
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "gmatch");
	lua_setfield(L, -2, "gfind");
	lua_pop(L, 1);
}

void
tlua_open_sandbox(lua_State *L)
{
	open_base(L);
	open_string(L);
	open_table(L);
	open_coroutine(L);
	open_os(L);
	luaL_requiref(L, "math", luaopen_math, 1);
	luaL_requiref(L, "utf8", luaopen_utf8, 1);
	lua_pop(L, 2);
	if (tlua_of(L)->compat)
		open_old_names(L);
}

/* lua_unsafe: the whole libraries.  The replaced functions stay, they are stricter, not less. */
void
tlua_open_unsafe(lua_State *L)
{
	static const char *const os_names[] = { "execute", "exit",    "getenv",   "remove",
						"rename",  "tmpname", "setlocale" };

	luaL_requiref(L, "io", luaopen_io, 1);
	luaL_requiref(L, "debug", luaopen_debug, 1);
	lua_pushcfunction(L, luaopen_os);
	lua_call(L, 0, 1);
	lua_getglobal(L, "os");
	for (size_t i = 0; i < sizeof(os_names) / sizeof(*os_names); i++) {
		lua_getfield(L, -2, os_names[i]);
		lua_setfield(L, -2, os_names[i]);
	}
	lua_pop(L, 4);
}
