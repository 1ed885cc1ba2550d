/* vm - a Lua 5.4 state that cannot run away: memory, instructions and time are bounded.
 * Thread: a state is used by one thread at a time (not bound to one); a bundle by any.
 * Errors: TD_E_SCRIPT with "file:line: text"; nothing raises out of these functions.
 *
 * Everything that may allocate in Lua runs inside tlua_run, so that running out of memory is
 * an error and not a panic.  Bindings may raise: they hold nothing but what Lua collects
 * (tlua_newbuf, tlua_newarena) while they can. */
#ifndef LUA_VM_H
#define LUA_VM_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <lua.h>
#include "gateway/base/str.h"

struct td_arena;
struct td_err;
struct tlua;

/* ---- sources: module name -> text, read once ---- */

/* A later state of the same configuration runs the same text as the first one, whatever
 * happened to the files meanwhile. */
struct tlua_bundle;
struct tlua_source {
	char *name;   /* "a/b" */
	char *path;   /* file, for messages */
	bool shipped; /* ours: never rewritten by the dialect shim */
	struct td_str text;
};
/* <dirs> (NULL-terminated, copied) are looked through in order, then the shipped folder
 * (NULL = where this program's own scripts are; see tlua_shipped_dir). */
struct tlua_bundle *tlua_bundle_new(const char *const *dirs, const char *shipped);
struct tlua_bundle *tlua_bundle_ref(struct tlua_bundle *b);
void tlua_bundle_unref(struct tlua_bundle **b);
/* Module "a.b" or "a/b" (a final ".lua" is dropped): a/b.lua or a/b/init.lua of each folder,
 * and scripts/a/b.lua of the shipped one.  TD_E_INVAL (a name that is no module name),
 * TD_E_NOTFOUND (says where it looked), TD_E_LIMIT (over 1 MiB), TD_E_IO. */
int tlua_bundle_find(struct tlua_bundle *b, const char *name, const struct tlua_source **out,
		     struct td_err *err);
/* The source tree when the program runs from it, else the installed folder. */
const char *tlua_shipped_dir(void);

/* ---- states ---- */

struct tlua_limits {
	size_t memory;         /* bytes of one state, with what bindings hold; 0 = 32 MiB */
	uint64_t instructions; /* of one call; 0 = 20 million */
	unsigned time_ms;      /* of one call on the processor, waiting not counted; 0 = 200 */
};

/* Counters of one script over all states; the host owns it. */
struct tlua_stats {
	_Atomic uint64_t runs, faults, overruns;
};

struct tlua_conf {
	struct tlua_limits limits;
	struct tlua_bundle *bundle; /* referenced */
	bool compat;                /* rewrite Momentum's dialect, define the names it had */
	bool unsafe;                /* no sandbox: io, os, debug, package; budgets stay */
	int gc_pause, gc_stepmul;   /* 0 = Lua's own */
	void *user;                 /* the host's; tlua_user */
	/* More bindings, after ours and before the first script; runs protected; may be NULL. */
	int (*open)(lua_State *L);
	/* A line of print() or tandem.log; <where> is "file:line". */
	void (*log)(void *user, const char *script, int level, const char *event,
		    struct td_str text);
	/* msys.config("get", path..., option): append the value; < 0 with err when there is none. */
	int (*config_get)(void *user, struct td_str path, struct td_str option, struct td_buf *out,
			  struct td_err *err);
	/* Folders whose files scripts may read (NULL-terminated, copied); NULL = none. */
	const char *const *read_dirs;
};

/* TD_E_SCRIPT (the prelude failed), TD_E_LIMIT (no memory for it). */
struct tlua *tlua_new(const struct tlua_conf *c, struct td_err *err);
void tlua_free(struct tlua *t); /* NULL is fine */
struct tlua *tlua_of(lua_State *L);
lua_State *tlua_state(struct tlua *t);
void *tlua_user(lua_State *L);
/* Is what is compiled from now on written in the dialect? */
void tlua_set_compat(struct tlua *t, bool on);
size_t tlua_memory(const struct tlua *t); /* in use now, with ext */

/* Call fn(L) protected, under a fresh budget; lua_touserdata(L, 1) is <arg>.  <stats> may be
 * NULL.  The stack is as before afterwards (asserted).  Not to be nested: TD_E_BUSY. */
int tlua_run(struct tlua *t, struct tlua_stats *stats, lua_CFunction fn, void *arg,
	     struct td_err *err);
/* Other limits for the next tlua_run only (loading is allowed more). */
void tlua_next_limits(struct tlua *t, uint64_t instructions, unsigned time_ms);
/* Where the last fault happened, innermost first: "a.lua:3 < b.lua:9"; "" when unknown. */
const char *tlua_last_trace(const struct tlua *t);
/* Load script <source> with globals of its own and run it: what it sets is private to it, what
 * it reads comes from the shared ones.  prep(L, arg), when given, finds that table on top and
 * may add to it.  TD_E_SCRIPT names file and line. */
int tlua_load_script(struct tlua *t, const char *name, const char *source, struct tlua_stats *stats,
		     lua_CFunction prep, void *arg, struct td_err *err);
/* Name of the script being loaded or run, as the host set it; "" = none. */
const char *tlua_script(const struct tlua *t);
void tlua_set_script(struct tlua *t, const char *name); /* borrowed until the next call */

/* ---- for bindings: inside tlua_run only; all may raise ---- */
#define TLUA_RAISES /* marks a call that may leave by an error */

/* Work done in C counts too: <n> instructions' worth. */
TLUA_RAISES void tlua_charge(lua_State *L, uint64_t n);
/* Memory held by bindings: grown by n (collects, then raises over the limit) or given back. */
TLUA_RAISES void tlua_ext_add(lua_State *L, size_t n);
void tlua_ext_sub(struct tlua *t, size_t n);
/* A buffer or arena that Lua collects; pushed.  Release early with tlua_endbuf/endarena. */
TLUA_RAISES struct td_buf *tlua_newbuf(lua_State *L);
TLUA_RAISES struct td_arena *tlua_newarena(lua_State *L);
/* An arena for what a C function needs till it returns or calls Lua; never to be freed.  Cheaper
 * than one that is collected: the next call of this empties it. */
struct td_arena *tlua_scratch(lua_State *L);
void tlua_endbuf(lua_State *L, int index);
void tlua_endarena(lua_State *L, int index);
/* Argument <i> as bytes (numbers become text). */
TLUA_RAISES struct td_str tlua_checkstr(lua_State *L, int i);
/* The same, TD_STR_NULL when nil or absent. */
TLUA_RAISES struct td_str tlua_optstr(lua_State *L, int i);
TLUA_RAISES void tlua_pushstr(lua_State *L, struct td_str s); /* .p NULL pushes nil */
TLUA_RAISES int tlua_raise(lua_State *L, const struct td_err *err);
/* Make module <name> of <open> known to require. */
TLUA_RAISES void tlua_preload(lua_State *L, const char *name, lua_CFunction open);
/* Run require(name); the module is on top. */
TLUA_RAISES void tlua_require(lua_State *L, const char *name);
/* Plain data to bytes and back (nil, booleans, numbers, strings, tables of them at most 100
 * deep): append the value at <i>; other values inside are left out. */
TLUA_RAISES void tlua_freeze(lua_State *L, int i, struct td_buf *out);
TLUA_RAISES void tlua_thaw(lua_State *L, struct td_str data);
/* Quoted-printable of text: lines end with CRLF, at most 76 bytes. */
void tlua_qp_encode(struct td_str in, bool dotstuff, struct td_buf *out);
#endif
