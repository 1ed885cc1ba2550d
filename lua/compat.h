/* compat - rewrite the operators of Momentum's Lua dialect to those of Lua 5.4.
 * Thread: any; touches only its arguments. */
#ifndef LUA_COMPAT_H
#define LUA_COMPAT_H
#include "gateway/base/str.h"

/* Append <src> with "!=" as "~=", "^^" (exclusive or) as "~ " and "\" (integer division) as
 * "//".  Strings and comments stay byte for byte, and no line is added or removed, so line
 * numbers in messages stay right.  Any bytes are fine: what is no Lua stays no Lua. */
void tlua_compat_rewrite(struct td_str src, struct td_buf *out);
#endif
