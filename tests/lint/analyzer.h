/* analyzer - what the analyzer must know of functions it cannot see: these do not return.
 * Included into every file clang-tidy reads, and nowhere else. */
#include <lua.h>
#include <lauxlib.h>

#define NO_RETURN __attribute__((analyzer_noreturn))

int lua_error(lua_State *L) NO_RETURN;
int luaL_error(lua_State *L, const char *fmt, ...) NO_RETURN;
int luaL_argerror(lua_State *L, int arg, const char *extramsg) NO_RETURN;
int luaL_typeerror(lua_State *L, int arg, const char *tname) NO_RETURN;
