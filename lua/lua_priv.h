/* lua_priv - what the files of this folder share.
 * Thread: as vm.h. */
#ifndef LUA_LUA_PRIV_H
#define LUA_LUA_PRIV_H
#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>
#include "gateway/base/err.h"
#include "lua/vm.h"

#define TLUA_MAGIC 0x746c7561u     /* "tlua" */
#define TLUA_SOURCE_MAX (1u << 20) /* bytes of one source or load()ed text */
#define TLUA_DEPTH 100             /* of nested tables in json, freeze, dumper */
#define TLUA_COUNT_MAX (1 << 22)   /* elements a table function may walk */

enum tlua_over {
	TO_NONE = 0,
	TO_INSTRUCTIONS,
	TO_TIME,
};

struct tlua_re;

struct tlua {
	uint32_t magic;
	lua_State *L;
	struct tlua_limits limits;
	struct tlua_bundle *bundle;
	bool compat, unsafe;
	void *user;
	void (*log)(void *user, const char *script, int level, const char *event,
		    struct td_str text);
	int (*config_get)(void *user, struct td_str path, struct td_str option, struct td_buf *out,
			  struct td_err *err);
	char **read_dirs;
	size_t mem, ext, ext_gc; /* bytes: Lua's, the bindings', when to collect next */
	/* the call now */
	unsigned depth;
	uint64_t used, max;
	uint64_t deadline_ms; /* on this thread's processor clock; 0 = not looked at yet */
	unsigned time_ms;
	uint64_t next_clock; /* look at the clock when used gets there */
	enum tlua_over over;
	uint64_t once_instructions;
	unsigned once_ms;
	const char *script;
	char trace[256];
	struct td_arena *scratch; /* of tlua_scratch */
	struct tlua_re *res;      /* compiled expressions (bind_pcre.c) */
	unsigned n_res;
};

/* Set or restore the count hook of the running thread. */
void tlua_arm(lua_State *L);
/* Compile text named <path>; rewritten when <compat>.  Function on top, or raises. */
TLUA_RAISES void tlua_compile(lua_State *L, struct td_str text, const char *path, bool compat);

/* openers; each returns 1 (a module table) unless said otherwise */
void tlua_open_sandbox(lua_State *L);  /* globals; leaves nothing */
void tlua_open_unsafe(lua_State *L);   /* after it: what it left out */
void tlua_open_patterns(lua_State *L); /* into the table on top */
int tlua_open_json(lua_State *L);
int tlua_open_pcre(lua_State *L);
int tlua_open_base(lua_State *L); /* "tandem.base" */
void tlua_free_res(struct tlua *t);
#endif
