/* vm - states under a budget.
 *
 * Main path: tlua_run sets the limits, calls through lua_pcall, and turns an error into
 * TD_E_SCRIPT.  The surprising things:
 *  - The count hook raises, and a loop around pcall would swallow that; so once over budget
 *    the hook is re-armed with count 1 and raises at every instruction (style.md 5.11).
 *  - The hook does not run inside C functions.  Those that can work long for little input are
 *    replaced (sandbox.c, pattern.c) or charge their work with tlua_charge.
 *  - Hooks are off in __gc, so scripts cannot set one (sandbox.c). */
#include "lua/vm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/base/arena.h"
#include "lua/compat.h"
#include "lua/lua_priv.h"

#define HOOK_EVERY 256   /* instructions between looks at the budget */
#define CLOCK_EVERY 2048 /* and at the clock */
#define LOAD_INSTRUCTIONS 200000000u
#define LOAD_MS 10000

static const char loaded_key[] = "tlua.loaded";
static const char preload_key[] = "tlua.preload";
static const char buf_mt[] = "tlua.buf";
static const char arena_mt[] = "tlua.arena";

struct tlua *
tlua_of(lua_State *L)
{
	struct tlua *t;

	memcpy(&t, lua_getextraspace(L), sizeof(t));
	assert(t->magic == TLUA_MAGIC);
	return t;
}

lua_State *
tlua_state(struct tlua *t)
{
	return t->L;
}

void *
tlua_user(lua_State *L)
{
	return tlua_of(L)->user;
}

void
tlua_set_compat(struct tlua *t, bool on)
{
	t->compat = on;
}

size_t
tlua_memory(const struct tlua *t)
{
	return t->mem + t->ext;
}

const char *
tlua_last_trace(const struct tlua *t)
{
	return t->trace;
}

const char *
tlua_script(const struct tlua *t)
{
	return t->script != NULL ? t->script : "";
}

void
tlua_set_script(struct tlua *t, const char *name)
{
	t->script = name;
}

/* ---- memory ---- */

/* "a.lua:3 < b.lua:9" of the innermost Lua frames.  It allocates nothing. */
static void
note_trace(lua_State *L, struct tlua *t)
{
	size_t len = 0;
	lua_Debug ar;

	t->trace[0] = '\0';
	for (int level = 0, n = 0; n < 6 && lua_getstack(L, level, &ar); level++) {
		const char *base;
		int w;

		if (lua_getinfo(L, "Sl", &ar) == 0 || ar.currentline <= 0)
			continue;
		base = strrchr(ar.short_src, '/');
		w = snprintf(t->trace + len, sizeof(t->trace) - len, "%s%s:%d", n > 0 ? " < " : "",
			     base != NULL ? base + 1 : ar.short_src, ar.currentline);
		if (w < 0 || (size_t)w >= sizeof(t->trace) - len)
			break;
		len += (size_t)w;
		n++;
	}
}

/* Running out of memory unwinds the stack before anybody may look at it, so the place is noted
 * when it is refused.  Only for new objects: while a block grows it may be the stack itself,
 * with Lua's pointers into it not valid; then what on_count noted last must do. */
static void
refused(struct tlua *t, bool fresh)
{
	if (fresh && t->L != NULL && t->depth > 0)
		note_trace(t->L, t);
}

static void *
on_alloc(void *ud, void *p, size_t osize, size_t nsize)
{
	struct tlua *t = ud;
	void *n;

	if (p == NULL)
		osize = 0; /* it is a type tag then */
	if (nsize == 0) {
		free(p);
		t->mem -= osize;
		return NULL;
	}
	if (nsize > osize && (nsize - osize > t->limits.memory ||
			      t->mem + t->ext > t->limits.memory - (nsize - osize))) {
		refused(t, p == NULL);
		return NULL;
	}
	n = realloc(p, nsize);
	if (n != NULL)
		t->mem += nsize - osize;
	return n;
}

void
tlua_ext_add(lua_State *L, size_t n)
{
	struct tlua *t = tlua_of(L);

	/* Lua sees only its own bytes: what hangs on them must push its collector too */
	if (t->ext + n > t->ext_gc) {
		lua_gc(L, LUA_GCCOLLECT);
		tlua_charge(L, t->mem / 64);
		t->ext_gc = 2 * (t->ext + n) + (1u << 20);
	}
	if (n > t->limits.memory || t->mem + t->ext > t->limits.memory - n)
		luaL_error(L, "not enough memory");
	t->ext += n;
}

void
tlua_ext_sub(struct tlua *t, size_t n)
{
	t->ext -= n < t->ext ? n : t->ext;
}

static int
buf_gc(lua_State *L)
{
	td_buf_fini(lua_touserdata(L, 1));
	return 0;
}

static int
arena_gc(lua_State *L)
{
	struct td_arena **a = lua_touserdata(L, 1);

	td_arena_free(*a);
	*a = NULL;
	return 0;
}

struct td_buf *
tlua_newbuf(lua_State *L)
{
	struct td_buf *b = lua_newuserdatauv(L, sizeof(*b), 0);

	memset(b, 0, sizeof(*b));
	luaL_setmetatable(L, buf_mt);
	return b;
}

struct td_arena *
tlua_newarena(lua_State *L)
{
	struct td_arena **a = lua_newuserdatauv(L, sizeof(struct td_arena *), 0);

	*a = NULL;
	luaL_setmetatable(L, arena_mt);
	*a = td_arena_new(0);
	return *a;
}

struct td_arena *
tlua_scratch(lua_State *L)
{
	struct tlua *t = tlua_of(L);

	td_arena_free(t->scratch);
	t->scratch = td_arena_new(0);
	return t->scratch;
}

void
tlua_endbuf(lua_State *L, int i)
{
	td_buf_fini(luaL_checkudata(L, i, buf_mt));
}

void
tlua_endarena(lua_State *L, int i)
{
	struct td_arena **a = luaL_checkudata(L, i, arena_mt);

	td_arena_free(*a);
	*a = NULL;
}

static void
make_holder(lua_State *L, const char *name, lua_CFunction gc)
{
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, gc);
	lua_setfield(L, -2, "__gc");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

/* ---- the budget ---- */

static uint64_t
cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* "file:line: " of the innermost Lua code; luaL_where does not know the hook's. */
static void
push_where(lua_State *L)
{
	lua_Debug ar;

	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		if (lua_getinfo(L, "Sl", &ar) == 0 || ar.currentline <= 0)
			continue;
		lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
		return;
	}
	lua_pushliteral(L, "");
}

/* Raise when the budget is used up. */
static void
check_budget(lua_State *L, struct tlua *t)
{
	if (t->over == TO_NONE && t->used >= t->max)
		t->over = TO_INSTRUCTIONS;
	if (t->over == TO_NONE && t->used >= t->next_clock) {
		t->next_clock = t->used + CLOCK_EVERY;
		/* the clock is a system call: short calls never ask it */
		if (t->deadline_ms == 0)
			t->deadline_ms = cpu_ms() + t->time_ms;
		else if (cpu_ms() > t->deadline_ms)
			t->over = TO_TIME;
	}
	if (t->over == TO_NONE)
		return;
	tlua_arm(L);
	push_where(L);
	if (t->over == TO_TIME)
		lua_pushfstring(L, "the script ran longer than %d ms", (int)t->time_ms);
	else
		lua_pushfstring(L, "the script ran over %d instructions",
				(int)(t->max < INT32_MAX ? t->max : INT32_MAX));
	lua_concat(L, 2);
	lua_error(L);
}

static void
on_count(lua_State *L, lua_Debug *ar)
{
	struct tlua *t = tlua_of(L);

	(void)ar;
	/* a coroutine of an earlier call may still be armed with 1 */
	if (t->over == TO_NONE && lua_gethookcount(L) != HOOK_EVERY)
		tlua_arm(L);
	t->used += HOOK_EVERY;
	if (t->mem + t->ext > t->limits.memory / 2)
		note_trace(L, t); /* a block that doubles may be refused from here on */
	check_budget(L, t);
}

void
tlua_arm(lua_State *L)
{
	lua_sethook(L, on_count, LUA_MASKCOUNT, tlua_of(L)->over != TO_NONE ? 1 : HOOK_EVERY);
}

void
tlua_charge(lua_State *L, uint64_t n)
{
	struct tlua *t = tlua_of(L);

	t->used += n;
	if (t->over != TO_NONE || t->used >= t->max || t->used >= t->next_clock)
		check_budget(L, t);
}

void
tlua_next_limits(struct tlua *t, uint64_t instructions, unsigned time_ms)
{
	t->once_instructions = instructions;
	t->once_ms = time_ms;
}

static void
begin(struct tlua *t)
{
	t->used = 0;
	t->over = TO_NONE;
	t->next_clock = CLOCK_EVERY;
	t->max = t->once_instructions > 0 ? t->once_instructions : t->limits.instructions;
	t->time_ms = t->once_ms > 0 ? t->once_ms : t->limits.time_ms;
	t->deadline_ms = 0;
	t->once_instructions = 0;
	t->once_ms = 0;
	t->trace[0] = '\0';
	tlua_arm(t->L);
}

/* ---- calls ---- */

/* Message handler: errors are made text here, where a __tostring still has a budget. */
static int
on_error(lua_State *L)
{
	note_trace(L, tlua_of(L));
	if (lua_type(L, 1) != LUA_TSTRING) {
		if (lua_isnoneornil(L, 1))
			lua_pushliteral(L, "error without a message");
		else
			luaL_tolstring(L, 1, NULL);
	}
	return 1;
}

int
tlua_run(struct tlua *t, struct tlua_stats *stats, lua_CFunction fn, void *arg, struct td_err *err)
{
	lua_State *L = t->L;
	int top = lua_gettop(L), rc = 0, status;

	if (t->depth > 0)
		return td_fail(err, TD_E_BUSY, "the script is running already");
	t->depth++;
	begin(t);
	lua_pushcfunction(L, on_error);
	lua_pushcfunction(L, fn);
	lua_pushlightuserdata(L, arg);
	status = lua_pcall(L, 1, 0, top + 1);
	if (status != LUA_OK) {
		const char *text = lua_tostring(L, -1);
		int where = (int)strcspn(t->trace, " ");

		if (status == LUA_ERRMEM)
			rc = td_fail(err, TD_E_SCRIPT, "%.*s%snot enough memory", where, t->trace,
				     where > 0 ? ": " : "");
		else
			rc = td_fail(err, TD_E_SCRIPT, "%s",
				     text != NULL ? text : "error without a message");
	}
	lua_settop(L, top + 1);
	lua_pop(L, 1);
	assert(lua_gettop(L) == top);
	if (stats != NULL) {
		stats->runs++;
		stats->faults += rc < 0;
		stats->overruns += t->over != TO_NONE;
	}
	td_arena_free(t->scratch);
	t->scratch = NULL;
	t->over = TO_NONE;
	t->depth--;
	return rc;
}

/* ---- modules ---- */

void
tlua_compile(lua_State *L, struct td_str text, const char *path, bool compat)
{
	struct td_buf *b = NULL;

	if (text.len > TLUA_SOURCE_MAX)
		luaL_error(L, "%s: source over %d bytes", path, (int)TLUA_SOURCE_MAX);
	tlua_charge(L, text.len / 4);
	if (compat) {
		b = tlua_newbuf(L);
		tlua_compat_rewrite(text, b);
		text = td_buf_str(b);
	}
	lua_pushfstring(L, "@%s", path);
	if (luaL_loadbufferx(L, text.p != NULL ? text.p : "", text.len, lua_tostring(L, -1), "t") !=
	    LUA_OK)
		lua_error(L);
	lua_remove(L, -2);
	if (b != NULL) {
		td_buf_fini(b);
		lua_remove(L, -2);
	}
}

void
tlua_preload(lua_State *L, const char *name, lua_CFunction open)
{
	lua_getfield(L, LUA_REGISTRYINDEX, preload_key);
	lua_pushcfunction(L, open);
	lua_setfield(L, -2, name);
	lua_pop(L, 1);
}

/* require(name): 1 result. */
static int
on_require(lua_State *L)
{
	struct tlua *t = tlua_of(L);
	const char *name = luaL_checkstring(L, 1);
	const struct tlua_source *src;
	struct td_err err = { 0 };

	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, loaded_key); /* 2 */
	if (lua_getfield(L, 2, name) == LUA_TLIGHTUSERDATA)
		return luaL_error(L, "require: %s and a module it needs require each other", name);
	if (!lua_isnil(L, -1))
		return 1;
	lua_pop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, preload_key); /* 3 */
	if (lua_getfield(L, 3, name) == LUA_TNIL) {
		lua_pop(L, 1);
		if (tlua_bundle_find(t->bundle, name, &src, &err) < 0)
			return luaL_error(L, "require: %s", err.text);
		tlua_compile(L, src->text, src->path, t->compat && !src->shipped);
	}
	lua_pushlightuserdata(L, t);
	lua_setfield(L, 2, name);
	lua_pushnil(L);
	lua_setfield(L, 2, name); /* cleared first: an error must not leave the mark */
	lua_pushlightuserdata(L, t);
	lua_setfield(L, 2, name);
	lua_pushvalue(L, 1);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
		lua_pushnil(L);
		lua_setfield(L, 2, name);
		return lua_error(L);
	}
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

void
tlua_require(lua_State *L, const char *name)
{
	lua_pushcfunction(L, on_require);
	lua_pushstring(L, name);
	lua_call(L, 1, 1);
}

struct load_arg {
	struct tlua *t;
	const char *name, *source;
	lua_CFunction prep;
	void *arg;
};

static int
load_script(lua_State *L)
{
	struct load_arg *a = lua_touserdata(L, 1);
	const struct tlua_source *src;
	struct td_err err = { 0 };

	lua_settop(L, 0);
	if (tlua_bundle_find(a->t->bundle, a->source, &src, &err) < 0)
		return tlua_raise(L, &err);
	tlua_compile(L, src->text, src->path, a->t->compat && !src->shipped); /* 1 */
	/* globals of its own, over the shared ones */
	lua_newtable(L); /* 2 */
	lua_pushvalue(L, 2);
	lua_setfield(L, 2, "_G");
	lua_newtable(L);
	lua_pushglobaltable(L);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, 2);
	if (a->prep != NULL) {
		lua_pushcfunction(L, a->prep);
		lua_pushlightuserdata(L, a->arg);
		lua_pushvalue(L, 2);
		lua_call(L, 2, 0);
	}
	lua_pushvalue(L, 2);
	if (lua_setupvalue(L, 1, 1) == NULL)
		lua_pop(L, 1);
	lua_pushvalue(L, 1);
	lua_pushstring(L, a->name);
	lua_call(L, 1, 0);
	return 0;
}

int
tlua_load_script(struct tlua *t, const char *name, const char *source, struct tlua_stats *stats,
		 lua_CFunction prep, void *arg, struct td_err *err)
{
	struct load_arg a = { t, name, source, prep, arg };
	const char *before = t->script;
	int rc;

	t->script = name;
	tlua_next_limits(t, LOAD_INSTRUCTIONS, LOAD_MS);
	rc = tlua_run(t, stats, load_script, &a, err);
	t->script = before;
	return rc;
}

/* ---- small help for bindings ---- */

struct td_str
tlua_checkstr(lua_State *L, int i)
{
	size_t len;
	const char *p = luaL_checklstring(L, i, &len);

	return td_str(p, len);
}

struct td_str
tlua_optstr(lua_State *L, int i)
{
	return lua_isnoneornil(L, i) ? TD_STR_NULL : tlua_checkstr(L, i);
}

void
tlua_pushstr(lua_State *L, struct td_str s)
{
	if (s.p == NULL)
		lua_pushnil(L);
	else
		lua_pushlstring(L, s.p, s.len);
}

int
tlua_raise(lua_State *L, const struct td_err *err)
{
	return luaL_error(L, "%s", err->text);
}

/* ---- states ---- */

static int
open_state(lua_State *L)
{
	int (*open)(lua_State *) = NULL;

	memcpy(&open, lua_touserdata(L, 1), sizeof(open));
	make_holder(L, buf_mt, buf_gc);
	make_holder(L, arena_mt, arena_gc);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, loaded_key);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, preload_key);
	tlua_open_sandbox(L);
	if (tlua_of(L)->unsafe)
		tlua_open_unsafe(L);
	lua_pushcfunction(L, on_require);
	lua_setglobal(L, "require");
	/* old scripts look into package.loaded; the rest of package is not for them */
	lua_newtable(L);
	lua_getfield(L, LUA_REGISTRYINDEX, loaded_key);
	lua_setfield(L, -2, "loaded");
	if (tlua_of(L)->unsafe) {
		lua_pushcfunction(L, luaopen_package);
		lua_call(L, 0, 1);
		lua_getfield(L, -1, "loadlib");
		lua_setfield(L, -3, "loadlib");
		lua_pop(L, 1);
	}
	lua_setglobal(L, "package");
	tlua_preload(L, "tandem.base", tlua_open_base);
	tlua_preload(L, "json", tlua_open_json);
	tlua_preload(L, "msys.pcre", tlua_open_pcre);
	if (open != NULL)
		open(L);
	return 0;
}

static char **
dup_list(const char *const *list)
{
	size_t n = 0;
	char **out;

	while (list != NULL && list[n] != NULL)
		n++;
	out = td_zalloc((n + 1) * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = td_strdup(list[i]);
	return out;
}

struct tlua *
tlua_new(const struct tlua_conf *c, struct td_err *err)
{
	struct tlua *t = td_zalloc(sizeof(*t));
	int (*open)(lua_State *) = c->open;

	t->magic = TLUA_MAGIC;
	t->limits = c->limits;
	if (t->limits.memory == 0)
		t->limits.memory = 32u << 20;
	if (t->limits.instructions == 0)
		t->limits.instructions = 20000000;
	if (t->limits.time_ms == 0)
		t->limits.time_ms = 200;
	t->bundle = tlua_bundle_ref(c->bundle);
	t->compat = c->compat;
	t->unsafe = c->unsafe;
	t->user = c->user;
	t->log = c->log;
	t->config_get = c->config_get;
	t->read_dirs = dup_list(c->read_dirs);
	t->ext_gc = 1u << 20;
	t->L = lua_newstate(on_alloc, t);
	if (t->L == NULL) {
		td_fail(err, TD_E_LIMIT, "no memory for a Lua state");
		tlua_free(t);
		return NULL;
	}
	memcpy(lua_getextraspace(t->L), &t, sizeof(t));
	lua_gc(t->L, LUA_GCINC, c->gc_pause, c->gc_stepmul, 0);
	tlua_next_limits(t, LOAD_INSTRUCTIONS, LOAD_MS);
	if (tlua_run(t, NULL, open_state, &open, err) < 0) {
		td_wrap(err, "Lua prelude");
		tlua_free(t);
		return NULL;
	}
	return t;
}

void
tlua_free(struct tlua *t)
{
	if (t == NULL)
		return;
	if (t->L != NULL)
		lua_close(t->L);
	tlua_free_res(t);
	for (size_t i = 0; t->read_dirs[i] != NULL; i++)
		free(t->read_dirs[i]);
	free(t->read_dirs);
	tlua_bundle_unref(&t->bundle);
	t->magic = 0;
	free(t);
}
