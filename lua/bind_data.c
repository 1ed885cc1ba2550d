/* bind_data - require "json", and plain data frozen to bytes between states. */
#include <jansson.h>
#include <math.h>

#include "lua/lua_priv.h"

#define JSON_MAX (1u << 20)

static const char json_mt[] = "tlua.json";       /* holds a json_t while its values are pushed */
static const char value_mt[] = "tlua.jsonvalue"; /* of decoded objects: tostring gives JSON */

/* ---- decode ---- */

static int
holder_gc(lua_State *L)
{
	json_t **j = lua_touserdata(L, 1);

	json_decref(*j);
	*j = NULL;
	return 0;
}

static void
push_json(lua_State *L, json_t *j, int depth)
{
	if (depth > TLUA_DEPTH)
		luaL_error(L, "json: nested too deep");
	luaL_checkstack(L, 6, "json: nested too deep");
	tlua_charge(L, 4);
	switch (json_typeof(j)) {
	case JSON_OBJECT: {
		const char *key;
		json_t *v;

		lua_newtable(L);
		json_object_foreach(j, key, v)
		{
			lua_pushstring(L, key);
			push_json(L, v, depth + 1);
			lua_rawset(L, -3);
		}
		luaL_setmetatable(L, value_mt);
		break;
	}
	case JSON_ARRAY:
		lua_newtable(L);
		for (size_t i = 0; i < json_array_size(j); i++) {
			push_json(L, json_array_get(j, i), depth + 1);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		luaL_setmetatable(L, value_mt);
		break;
	case JSON_STRING: lua_pushlstring(L, json_string_value(j), json_string_length(j)); break;
	case JSON_INTEGER: lua_pushinteger(L, (lua_Integer)json_integer_value(j)); break;
	case JSON_REAL: lua_pushnumber(L, json_real_value(j)); break;
	case JSON_TRUE: lua_pushboolean(L, 1); break;
	case JSON_FALSE: lua_pushboolean(L, 0); break;
	case JSON_NULL: lua_pushlightuserdata(L, NULL); break;
	}
}

/* json.decode(s) -> value, or nil, code, text */
static int
j_decode(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	json_t **hold = lua_newuserdatauv(L, sizeof(json_t *), 0);
	json_error_t e;

	*hold = NULL;
	luaL_setmetatable(L, json_mt);
	if (s.len > JSON_MAX)
		return luaL_error(L, "json: text over 1 MiB");
	tlua_charge(L, s.len / 8);
	*hold = json_loadb(s.p, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
			   &e);
	if (*hold == NULL) {
		lua_pushnil(L);
		lua_pushinteger(L, (lua_Integer)json_error_code(&e));
		lua_pushfstring(L, "line %d, column %d: %s", e.line, e.column, e.text);
		return 3;
	}
	push_json(L, *hold, 0);
	json_decref(*hold);
	*hold = NULL;
	return 1;
}

/* ---- encode ---- */

static void encode(lua_State *L, int i, struct td_buf *out, int depth);

static void
encode_table(lua_State *L, int i, struct td_buf *out, int depth)
{
	size_t n;
	bool first = true;

	if (lua_rawgeti(L, i, 1) != LUA_TNIL) {
		lua_pop(L, 1);
		n = lua_rawlen(L, i);
		td_buf_addc(out, '[');
		for (size_t k = 1; k <= n && k <= TLUA_COUNT_MAX; k++) {
			if (k > 1)
				td_buf_addc(out, ',');
			lua_rawgeti(L, i, (lua_Integer)k);
			encode(L, lua_gettop(L), out, depth + 1);
			lua_pop(L, 1);
		}
		td_buf_addc(out, ']');
		return;
	}
	lua_pop(L, 1);
	td_buf_addc(out, '{');
	lua_pushnil(L);
	while (lua_next(L, i) != 0) {
		struct td_str key;

		lua_pushvalue(L, -2); /* lua_tolstring would change the key for lua_next */
		key.p = luaL_tolstring(L, -1, &key.len);
		if (!first)
			td_buf_addc(out, ',');
		first = false;
		td_buf_add_json(out, key);
		td_buf_addc(out, ':');
		lua_pop(L, 2);
		encode(L, lua_gettop(L), out, depth + 1);
		lua_pop(L, 1);
	}
	td_buf_addc(out, '}');
}

static void
encode(lua_State *L, int i, struct td_buf *out, int depth)
{
	struct td_str s;

	if (depth > TLUA_DEPTH)
		luaL_error(L, "json: nested too deep");
	if (out->len > tlua_of(L)->limits.memory / 2)
		luaL_error(L, "json: text too long");
	luaL_checkstack(L, 6, "json: nested too deep");
	tlua_charge(L, 4);
	switch (lua_type(L, i)) {
	case LUA_TNIL:
	case LUA_TLIGHTUSERDATA: td_buf_addz(out, "null"); break;
	case LUA_TBOOLEAN: td_buf_addz(out, lua_toboolean(L, i) ? "true" : "false"); break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, i))
			td_buf_addf(out, "%lld", (long long)lua_tointeger(L, i));
		else if (isfinite(lua_tonumber(L, i)))
			td_buf_addf(out, "%.17g", lua_tonumber(L, i));
		else
			luaL_error(L, "json: not a finite number");
		break;
	case LUA_TSTRING:
		s.p = lua_tolstring(L, i, &s.len);
		td_buf_add_json(out, s);
		break;
	case LUA_TTABLE: encode_table(L, i, out, depth); break;
	default: luaL_error(L, "json: a %s has no JSON form", luaL_typename(L, i));
	}
}

static int
j_encode(lua_State *L)
{
	struct td_buf *b;

	luaL_checkany(L, 1);
	lua_settop(L, 1);
	b = tlua_newbuf(L);
	encode(L, 1, b, 0);
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	td_buf_fini(b);
	return 1;
}

static int
j_new(lua_State *L)
{
	lua_newtable(L);
	luaL_setmetatable(L, value_mt);
	return 1;
}

static int
j_strerror(lua_State *L)
{
	static const char *const names[] = {
		"unknown error",
		"out of memory",
		"nested too deep",
		"cannot open",
		"invalid argument",
		"invalid UTF-8",
		"premature end of input",
		"end of input expected",
		"invalid syntax",
		"invalid format",
		"wrong type",
		"null character",
		"null value",
		"null byte in key",
		"duplicate key",
		"numeric overflow",
		"item not found",
		"index out of range",
	};
	lua_Integer n = luaL_checkinteger(L, 1);

	lua_pushstring(L, n >= 0 && n < (lua_Integer)(sizeof(names) / sizeof(*names)) ? names[n]
										      : names[0]);
	return 1;
}

int
tlua_open_json(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "decode", j_decode },     { "encode", j_encode }, { "new", j_new },
		{ "strerror", j_strerror }, { NULL, NULL },
	};

	luaL_newmetatable(L, json_mt);
	lua_pushcfunction(L, holder_gc);
	lua_setfield(L, -2, "__gc");
	luaL_newmetatable(L, value_mt);
	lua_pushcfunction(L, j_encode);
	lua_setfield(L, -2, "__tostring");
	lua_pop(L, 2);
	luaL_newlib(L, fns);
	lua_pushlightuserdata(L, NULL);
	lua_setfield(L, -2, "null");
	return 1;
}

/* ---- frozen data: one tag byte, then the value; tables: key, value ... 'e' ---- */

static void
freeze(lua_State *L, int i, struct td_buf *out, int depth)
{
	struct td_str s;
	lua_Integer n;
	lua_Number d;

	if (depth > TLUA_DEPTH)
		luaL_error(L, "data nested too deep");
	if (out->len > tlua_of(L)->limits.memory / 4)
		luaL_error(L, "too much data to keep");
	luaL_checkstack(L, 4, "data nested too deep");
	tlua_charge(L, 2);
	switch (lua_type(L, i)) {
	case LUA_TBOOLEAN: td_buf_addc(out, lua_toboolean(L, i) ? 't' : 'f'); break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, i)) {
			n = lua_tointeger(L, i);
			td_buf_addc(out, 'i');
			td_buf_add(out, &n, sizeof(n));
		} else {
			d = lua_tonumber(L, i);
			td_buf_addc(out, 'd');
			td_buf_add(out, &d, sizeof(d));
		}
		break;
	case LUA_TSTRING:
		s.p = lua_tolstring(L, i, &s.len);
		td_buf_addc(out, 's');
		td_buf_add(out, &s.len, sizeof(s.len));
		td_buf_adds(out, s);
		break;
	case LUA_TTABLE:
		td_buf_addc(out, '{');
		lua_pushnil(L);
		while (lua_next(L, i) != 0) {
			int k = lua_type(L, -2), v = lua_type(L, -1), top = lua_gettop(L);

			if ((k == LUA_TSTRING || k == LUA_TNUMBER || k == LUA_TBOOLEAN) &&
			    (v == LUA_TSTRING || v == LUA_TNUMBER || v == LUA_TBOOLEAN ||
			     v == LUA_TTABLE)) {
				freeze(L, top - 1, out, depth + 1);
				freeze(L, top, out, depth + 1);
			}
			lua_pop(L, 1);
		}
		td_buf_addc(out, 'e');
		break;
	default: td_buf_addc(out, 'n');
	}
}

void
tlua_freeze(lua_State *L, int i, struct td_buf *out)
{
	freeze(L, lua_absindex(L, i), out, 0);
}

static void thaw(lua_State *L, struct td_str *in, int depth);

static void
take(lua_State *L, struct td_str *in, void *out, size_t n)
{
	if (in->len < n)
		luaL_error(L, "kept data is damaged");
	memcpy(out, in->p, n);
	in->p += n;
	in->len -= n;
}

static void
thaw_table(lua_State *L, struct td_str *in, int depth)
{
	lua_newtable(L);
	while (in->len > 0 && *in->p != 'e') {
		thaw(L, in, depth + 1);
		thaw(L, in, depth + 1);
		lua_rawset(L, -3);
	}
	if (in->len > 0) {
		in->p++;
		in->len--;
	}
}

static void
thaw(lua_State *L, struct td_str *in, int depth)
{
	char tag = 'n';
	size_t len;
	lua_Integer n;
	lua_Number d;

	luaL_checkstack(L, 4, "data nested too deep");
	tlua_charge(L, 2);
	if (in->len > 0 && depth <= TLUA_DEPTH)
		take(L, in, &tag, 1);
	switch (tag) {
	case 't':
	case 'f': lua_pushboolean(L, tag == 't'); break;
	case 'i':
		take(L, in, &n, sizeof(n));
		lua_pushinteger(L, n);
		break;
	case 'd':
		take(L, in, &d, sizeof(d));
		lua_pushnumber(L, d);
		break;
	case 's':
		take(L, in, &len, sizeof(len));
		if (in->len < len)
			luaL_error(L, "kept data is damaged");
		lua_pushlstring(L, in->p, len);
		in->p += len;
		in->len -= len;
		break;
	case '{': thaw_table(L, in, depth); break;
	default: lua_pushnil(L);
	}
}

void
tlua_thaw(lua_State *L, struct td_str data)
{
	thaw(L, &data, 0);
}
