/* analyzer - what the analyzer must know of things it cannot see.
 * Included into every file clang-tidy reads, and nowhere else. */
#include <lua.h>
#include <lauxlib.h>
#include <sys/queue.h>

/* These do not return. */

#define NO_RETURN __attribute__((analyzer_noreturn))

int lua_error(lua_State *L) NO_RETURN;
int luaL_error(lua_State *L, const char *fmt, ...) NO_RETURN;
int luaL_argerror(lua_State *L, int arg, const char *extramsg) NO_RETURN;
int luaL_typeerror(lua_State *L, int arg, const char *tname) NO_RETURN;

/* Taking an element out writes the head through a pointer the analyzer does not follow; it would take
 * the next first element for the one just freed. */
void *analyzer_any(void *p);
#undef TAILQ_FIRST
#undef LIST_FIRST
#undef STAILQ_FIRST
#define TAILQ_FIRST(head) ((__typeof__((head)->tqh_first))analyzer_any((head)->tqh_first))
#define LIST_FIRST(head) ((__typeof__((head)->lh_first))analyzer_any((head)->lh_first))
#define STAILQ_FIRST(head) ((__typeof__((head)->stqh_first))analyzer_any((head)->stqh_first))
