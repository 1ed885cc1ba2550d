/* pattern - string.find, match, gmatch and gsub with their work counted.
 *
 * Lua's own matcher backtracks without end ("a?" thirty times) and no hook runs in it, so this
 * one does the same language (reference manual 6.4.1) and charges each step to the budget.
 * Nothing is on the heap while it runs: it may be left by an error at any step. */
#include <ctype.h>

#include "lua/lua_priv.h"

#define MAX_CAPTURES 32
#define MAX_DEPTH 150
#define CAP_OPEN (-1)
#define CAP_POS (-2)
#define CHARGE_EVERY 128

struct pm {
	lua_State *L;
	const char *src, *end, *pend; /* subject, its end, the pattern's end */
	unsigned steps;
	int depth, level;
	struct {
		const char *init;
		ptrdiff_t len;
	} cap[MAX_CAPTURES];
};

static const char *match_here(struct pm *m, const char *s, const char *p);

static void
step(struct pm *m, unsigned n)
{
	m->steps += n;
	if (m->steps >= CHARGE_EVERY) {
		tlua_charge(m->L, m->steps);
		m->steps = 0;
	}
}

static int
uc(const char *p)
{
	return (unsigned char)*p;
}

/* The end of the single-character item at <p>. */
static const char *
item_end(struct pm *m, const char *p)
{
	char c = *p++;

	if (c == '%') {
		if (p == m->pend)
			luaL_error(m->L, "malformed pattern (ends with '%%')");
		return p + 1;
	}
	if (c != '[')
		return p;
	if (p < m->pend && *p == '^')
		p++;
	do { /* a first ']' is a plain character */
		if (p == m->pend)
			luaL_error(m->L, "malformed pattern (missing ']')");
		if (*p++ == '%') {
			if (p == m->pend)
				luaL_error(m->L, "malformed pattern (missing ']')");
			p++;
		}
	} while (p == m->pend || *p != ']');
	return p + 1;
}

static bool
is_class(int c, int cl)
{
	bool yes;

	switch (tolower(cl)) {
	case 'a': yes = isalpha(c); break;
	case 'c': yes = iscntrl(c); break;
	case 'd': yes = isdigit(c); break;
	case 'g': yes = isgraph(c); break;
	case 'l': yes = islower(c); break;
	case 'p': yes = ispunct(c); break;
	case 's': yes = isspace(c); break;
	case 'u': yes = isupper(c); break;
	case 'w': yes = isalnum(c); break;
	case 'x': yes = isxdigit(c); break;
	default: return cl == c;
	}
	return isupper(cl) ? !yes : yes;
}

/* Is <c> in the set at <p> ('[') that ends before <ep>? */
static bool
in_set(struct pm *m, int c, const char *p, const char *ep)
{
	const char *last = ep - 1; /* the ']' */
	bool sense = true;

	step(m, (unsigned)((ep - p) / 8));
	if (p[1] == '^') {
		sense = false;
		p++;
	}
	while (++p < last) {
		if (*p == '%') {
			p++;
			if (is_class(c, uc(p)))
				return sense;
		} else if (p[1] == '-' && p + 2 < last) {
			if (uc(p) <= c && c <= uc(p + 2))
				return sense;
			p += 2;
		} else if (uc(p) == c) {
			return sense;
		}
	}
	return !sense;
}

static bool
item_matches(struct pm *m, const char *s, const char *p, const char *ep)
{
	int c;

	if (s >= m->end)
		return false;
	c = uc(s);
	switch (*p) {
	case '.': return true;
	case '%': return is_class(c, uc(p + 1));
	case '[': return in_set(m, c, p, ep);
	default: return uc(p) == c;
	}
}

static const char *
match_balance(struct pm *m, const char *s, const char *p)
{
	char open, close;
	int n = 1;

	if (p + 1 >= m->pend)
		luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
	if (s >= m->end || *s != *p)
		return NULL;
	open = *p;
	close = p[1];
	while (++s < m->end) {
		step(m, 1);
		if (*s == close) {
			if (--n == 0)
				return s + 1;
		} else if (*s == open) {
			n++;
		}
	}
	return NULL;
}

static const char *
expand_max(struct pm *m, const char *s, const char *p, const char *ep)
{
	ptrdiff_t i = 0;

	while (item_matches(m, s + i, p, ep)) {
		step(m, 1);
		i++;
	}
	for (; i >= 0; i--) {
		const char *r = match_here(m, s + i, ep + 1);

		if (r != NULL)
			return r;
	}
	return NULL;
}

static const char *
expand_min(struct pm *m, const char *s, const char *p, const char *ep)
{
	for (;;) {
		const char *r = match_here(m, s, ep + 1);

		if (r != NULL)
			return r;
		if (!item_matches(m, s, p, ep))
			return NULL;
		s++;
	}
}

static const char *
open_capture(struct pm *m, const char *s, const char *p, ptrdiff_t what)
{
	const char *r;

	if (m->level >= MAX_CAPTURES)
		luaL_error(m->L, "too many captures");
	m->cap[m->level].init = s;
	m->cap[m->level].len = what;
	m->level++;
	r = match_here(m, s, p);
	if (r == NULL)
		m->level--;
	return r;
}

static const char *
close_capture(struct pm *m, const char *s, const char *p)
{
	const char *r;
	int l = m->level;

	while (--l >= 0 && m->cap[l].len != CAP_OPEN)
		;
	if (l < 0)
		luaL_error(m->L, "invalid pattern capture");
	m->cap[l].len = s - m->cap[l].init;
	r = match_here(m, s, p);
	if (r == NULL)
		m->cap[l].len = CAP_OPEN;
	return r;
}

static const char *
match_back(struct pm *m, const char *s, int c)
{
	int l = c - '1';
	size_t len;

	if (l < 0 || l >= m->level || m->cap[l].len == CAP_OPEN)
		luaL_error(m->L, "invalid capture index %%%d", l + 1);
	if (m->cap[l].len == CAP_POS)
		luaL_error(m->L, "invalid capture index %%%d", l + 1);
	len = (size_t)m->cap[l].len;
	step(m, (unsigned)(len / 16));
	if ((size_t)(m->end - s) < len || memcmp(m->cap[l].init, s, len) != 0)
		return NULL;
	return s + len;
}

/* %f[set]: between a character outside the set and one inside. */
static const char *
match_frontier(struct pm *m, const char *s, const char *p, const char **after)
{
	const char *ep;
	int prev = s == m->src ? 0 : uc(s - 1), here = s < m->end ? uc(s) : 0;

	if (p == m->pend || *p != '[')
		luaL_error(m->L, "missing '[' after '%%f' in pattern");
	ep = item_end(m, p);
	*after = ep;
	return !in_set(m, prev, p, ep) && in_set(m, here, p, ep) ? s : NULL;
}

/* The '%' items that are no single character.  True when <p> was one; then *s and *p moved on,
 * *s NULL when it did not match. */
static bool
match_special(struct pm *m, const char **s, const char **p)
{
	if (**p != '%' || *p + 1 == m->pend)
		return false;
	switch ((*p)[1]) {
	case 'b':
		*s = match_balance(m, *s, *p + 2);
		*p += 4;
		return true;
	case 'f': *s = match_frontier(m, *s, *p + 2, p); return true;
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		*s = match_back(m, *s, uc(*p + 1));
		*p += 2;
		return true;
	default: return false;
	}
}

static const char *
match_loop(struct pm *m, const char *s, const char *p)
{
	while (s != NULL && p < m->pend) {
		const char *ep;
		char suffix;

		step(m, 1);
		if (*p == '(')
			return p + 1 < m->pend && p[1] == ')' ? open_capture(m, s, p + 2, CAP_POS)
							      : open_capture(m, s, p + 1, CAP_OPEN);
		if (*p == ')')
			return close_capture(m, s, p + 1);
		if (*p == '$' && p + 1 == m->pend)
			return s == m->end ? s : NULL;
		if (match_special(m, &s, &p))
			continue;
		ep = item_end(m, p);
		suffix = ep < m->pend ? *ep : '\0';
		if (suffix == '*')
			return expand_max(m, s, p, ep);
		if (suffix == '-')
			return expand_min(m, s, p, ep);
		if (!item_matches(m, s, p, ep)) {
			if (suffix != '?')
				return NULL;
			p = ep + 1;
			continue;
		}
		if (suffix == '+')
			return expand_max(m, s + 1, p, ep);
		if (suffix == '?') {
			const char *r = match_here(m, s + 1, ep + 1);

			if (r != NULL)
				return r;
			p = ep + 1;
			continue;
		}
		s++;
		p = ep;
	}
	return s;
}

static const char *
match_here(struct pm *m, const char *s, const char *p)
{
	const char *r;

	if (++m->depth > MAX_DEPTH)
		luaL_error(m->L, "pattern too complex");
	r = match_loop(m, s, p);
	m->depth--;
	return r;
}

/* ---- captures as values ---- */

static void
push_capture(struct pm *m, int i, const char *s, const char *e)
{
	if (i >= m->level) {
		if (i != 0)
			luaL_error(m->L, "invalid capture index %%%d", i + 1);
		lua_pushlstring(m->L, s, (size_t)(e - s));
		return;
	}
	if (m->cap[i].len == CAP_OPEN)
		luaL_error(m->L, "unfinished capture");
	if (m->cap[i].len == CAP_POS)
		lua_pushinteger(m->L, m->cap[i].init - m->src + 1);
	else
		lua_pushlstring(m->L, m->cap[i].init, (size_t)m->cap[i].len);
}

/* All captures, or the whole match when there are none and <s>. */
static int
push_captures(struct pm *m, const char *s, const char *e)
{
	int n = m->level == 0 && s != NULL ? 1 : m->level;

	luaL_checkstack(m->L, n, "too many captures");
	for (int i = 0; i < n; i++)
		push_capture(m, i, s, e);
	return n;
}

static void
pm_init(struct pm *m, lua_State *L, struct td_str s, struct td_str p)
{
	m->L = L;
	m->src = s.p;
	m->end = s.p + s.len;
	m->pend = p.p + p.len;
	m->steps = 0;
	m->depth = m->level = 0;
}

static const char *
try_at(struct pm *m, const char *s, const char *p)
{
	m->level = 0;
	m->depth = 0;
	return match_here(m, s, p);
}

/* ---- the functions ---- */

static bool
is_plain(struct td_str p)
{
	for (size_t i = 0; i < p.len; i++)
		if (p.p[i] != '\0' && strchr("^$*+?.([%-", p.p[i]) != NULL)
			return false;
	return true;
}

/* Where the search starts: 0-based, or past the end + 1 when out of range. */
static size_t
start_of(lua_State *L, int i, size_t len)
{
	lua_Integer n = luaL_optinteger(L, i, 1);

	if (n > 0)
		return (size_t)n - 1;
	if (n == 0 || n < -(lua_Integer)len)
		return 0;
	return len - (size_t)-n;
}

static int
find_or_match(lua_State *L, bool find)
{
	struct td_str s = tlua_checkstr(L, 1), p = tlua_checkstr(L, 2);
	size_t init = start_of(L, 3, s.len);
	const char *at, *pat = p.p;
	bool anchor;
	struct pm m;

	if (init > s.len) {
		lua_pushnil(L);
		return 1;
	}
	if (find && (lua_toboolean(L, 4) || is_plain(p))) {
		const char *r = memmem(s.p + init, s.len - init, p.p, p.len);

		tlua_charge(L, (s.len - init) / 16);
		if (r == NULL) {
			lua_pushnil(L);
			return 1;
		}
		lua_pushinteger(L, r - s.p + 1);
		lua_pushinteger(L, r - s.p + (ptrdiff_t)p.len);
		return 2;
	}
	pm_init(&m, L, s, p);
	anchor = p.len > 0 && *pat == '^';
	pat += anchor;
	at = s.p + init;
	do {
		const char *e = try_at(&m, at, pat);

		if (e != NULL && find) {
			lua_pushinteger(L, at - s.p + 1);
			lua_pushinteger(L, e - s.p);
			return push_captures(&m, NULL, NULL) + 2;
		}
		if (e != NULL)
			return push_captures(&m, at, e);
		step(&m, 1);
	} while (at++ < m.end && !anchor);
	lua_pushnil(L);
	return 1;
}

static int
str_find(lua_State *L)
{
	return find_or_match(L, true);
}

static int
str_match(lua_State *L)
{
	return find_or_match(L, false);
}

/* upvalues: subject, pattern, next start, end of the last match (or -1) */
static int
gmatch_next(lua_State *L)
{
	struct td_str s, p;
	lua_Integer from = lua_tointeger(L, lua_upvalueindex(3));
	lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
	struct pm m;

	s.p = lua_tolstring(L, lua_upvalueindex(1), &s.len);
	p.p = lua_tolstring(L, lua_upvalueindex(2), &p.len);
	pm_init(&m, L, s, p);
	for (size_t i = (size_t)from; i <= s.len; i++) {
		const char *e = try_at(&m, s.p + i, p.p);

		step(&m, 1);
		if (e == NULL || e - s.p == last)
			continue;
		lua_pushinteger(L, e - s.p);
		lua_copy(L, -1, lua_upvalueindex(3));
		lua_replace(L, lua_upvalueindex(4));
		return push_captures(&m, s.p + i, e);
	}
	return 0;
}

static int
str_gmatch(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	size_t init = start_of(L, 3, s.len);

	tlua_checkstr(L, 2);
	lua_settop(L, 2);
	lua_pushinteger(L, (lua_Integer)(init > s.len ? s.len + 1 : init));
	lua_pushinteger(L, -1);
	lua_pushcclosure(L, gmatch_next, 4);
	return 1;
}

/* Append the replacement text with its %0..%9. */
static void
add_text(struct pm *m, luaL_Buffer *b, const char *s, const char *e)
{
	size_t len;
	const char *news = lua_tolstring(m->L, 3, &len), *stop = news + len;

	for (; news < stop; news++) {
		if (*news != '%') {
			luaL_addchar(b, *news);
			continue;
		}
		if (++news == stop || (*news != '%' && !isdigit(uc(news))))
			luaL_error(m->L, "invalid use of '%%' in replacement string");
		if (*news == '%')
			luaL_addchar(b, '%');
		else if (*news == '0')
			luaL_addlstring(b, s, (size_t)(e - s));
		else {
			push_capture(m, *news - '1', s, e);
			luaL_tolstring(m->L, -1, NULL);
			lua_remove(m->L, -2);
			luaL_addvalue(b);
		}
	}
}

/* Append what replaces [s, e). */
static void
add_replacement(struct pm *m, luaL_Buffer *b, const char *s, const char *e, int type)
{
	lua_State *L = m->L;

	switch (type) {
	case LUA_TFUNCTION:
		lua_pushvalue(L, 3);
		lua_call(L, push_captures(m, s, e), 1);
		break;
	case LUA_TTABLE:
		push_capture(m, 0, s, e);
		lua_gettable(L, 3);
		break;
	default: add_text(m, b, s, e); return;
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		luaL_addlstring(b, s, (size_t)(e - s));
	} else if (!lua_isstring(L, -1)) {
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	} else {
		luaL_addvalue(b);
	}
}

static int
str_gsub(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1), p = tlua_checkstr(L, 2);
	int type = lua_type(L, 3);
	lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)s.len + 1), n = 0;
	bool anchor = p.len > 0 && *p.p == '^';
	const char *at = s.p, *pat = p.p + anchor, *last = NULL;
	luaL_Buffer b;
	struct pm m;

	luaL_argexpected(L,
			 type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
				 type == LUA_TTABLE,
			 3, "string/function/table");
	pm_init(&m, L, s, p);
	luaL_buffinit(L, &b);
	while (n < max) {
		const char *e = try_at(&m, at, pat);

		step(&m, 1);
		if (e != NULL && e != last) {
			n++;
			add_replacement(&m, &b, at, e, type);
			at = last = e;
		} else if (at < m.end) {
			luaL_addchar(&b, *at++);
		} else {
			break;
		}
		if (anchor)
			break;
	}
	luaL_addlstring(&b, at, (size_t)(m.end - at));
	luaL_pushresult(&b);
	lua_pushinteger(L, n);
	return 2;
}

void
tlua_open_patterns(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "find", str_find }, { "match", str_match }, { "gmatch", str_gmatch },
		{ "gsub", str_gsub }, { NULL, NULL },
	};

	luaL_setfuncs(L, fns, 0);
}
