/* bind_pcre - require "msys.pcre": Perl's expressions (PCRE2) with bounded matching.
 *
 * PCRE2 counts backtracking per start position, so a long subject multiplies its limit.
 * Matching therefore goes window by window (PCRE2_USE_OFFSET_LIMIT), and the budget is asked
 * after each.  Compiled expressions are kept per state. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "lua/lua_priv.h"

#define MATCH_LIMIT 20000 /* backtracks per start position */
#define HEAP_KIB 4096
#define WINDOW 512 /* start positions tried between looks at the budget */
#define SUBJECT_MAX (4u << 20)
#define RE_MAX 8192
#define CACHE_MAX 64

struct tlua_re {
	struct tlua_re *next; /* most recently used first */
	pcre2_code *code;
	pcre2_match_data *md;
	pcre2_match_context *ctx;
	bool utf;
	size_t len;
	char text[];
};

static void
re_free(struct tlua_re *re)
{
	if (re == NULL)
		return;
	pcre2_match_data_free(re->md);
	pcre2_match_context_free(re->ctx);
	pcre2_code_free(re->code);
	free(re);
}

void
tlua_free_res(struct tlua *t)
{
	struct tlua_re *re = t->res, *next;

	for (; re != NULL; re = next) {
		next = re->next;
		re_free(re);
	}
	t->res = NULL;
}

static struct tlua_re *
re_new(struct td_str text, bool utf, int *code, size_t *where)
{
	struct tlua_re *re = td_zalloc(sizeof(*re) + text.len + 1);

	re->len = text.len;
	memcpy(re->text, text.p, text.len);
	re->utf = utf;
	re->code = pcre2_compile((PCRE2_SPTR)text.p, text.len,
				 PCRE2_USE_OFFSET_LIMIT | PCRE2_NEVER_BACKSLASH_C |
					 (utf ? PCRE2_UTF | PCRE2_NO_UTF_CHECK : 0),
				 code, where, NULL);
	if (re->code == NULL) {
		re_free(re);
		return NULL;
	}
	re->md = pcre2_match_data_create_from_pattern(re->code, NULL);
	re->ctx = pcre2_match_context_create(NULL);
	pcre2_set_match_limit(re->ctx, MATCH_LIMIT);
	pcre2_set_heap_limit(re->ctx, HEAP_KIB);
	return re;
}

/* The compiled form of <text>; NULL with the error's text and number pushed. */
static struct tlua_re *
re_get(lua_State *L, struct td_str text, bool utf)
{
	struct tlua *t = tlua_of(L);
	struct tlua_re **p, *re;
	char msg[160];
	int code = 0;
	size_t where = 0;

	if (text.len > RE_MAX)
		luaL_error(L, "pcre: expression too long");
	for (p = &t->res; (re = *p) != NULL; p = &re->next)
		if (re->utf == utf && td_str_eq(td_str(re->text, re->len), text))
			break;
	if (re != NULL) {
		*p = re->next;
		t->n_res--;
	} else {
		tlua_charge(L, 500 + 20 * text.len);
		re = re_new(text, utf, &code, &where);
	}
	if (re == NULL) {
		pcre2_get_error_message(code, (PCRE2_UCHAR *)msg, sizeof(msg));
		lua_pushfstring(L, "%s (at character %d)", msg, (int)where);
		lua_pushinteger(L, code);
		return NULL;
	}
	if (t->n_res == CACHE_MAX && t->res != NULL) {
		for (p = &t->res; (*p)->next != NULL; p = &(*p)->next)
			;
		re_free(*p);
		*p = NULL;
		t->n_res--;
	}
	re->next = t->res;
	t->res = re;
	t->n_res++;
	return re;
}

/* Match from byte <at>: > 0 found (ovector set), 0 no match, < 0 PCRE2's error. */
static int
re_match(lua_State *L, struct tlua_re *re, struct td_str s, size_t at, uint32_t options)
{
	for (;;) {
		size_t limit = s.len - at > WINDOW ? at + WINDOW : s.len;
		int rc;

		while (re->utf && limit < s.len && ((unsigned char)s.p[limit] & 0xc0) == 0x80)
			limit++;
		pcre2_set_offset_limit(re->ctx, limit);
		rc = pcre2_match(re->code, (PCRE2_SPTR)s.p, s.len, at, options | PCRE2_NO_UTF_CHECK,
				 re->md, re->ctx);
		tlua_charge(L, 50 + (limit - at));
		if (rc != PCRE2_ERROR_NOMATCH)
			return rc;
		if (limit == s.len)
			return 0;
		at = limit;
	}
}

static struct td_str
check_subject(lua_State *L, int i, bool *utf)
{
	struct td_str s = tlua_checkstr(L, i);

	if (s.len > SUBJECT_MAX)
		luaL_error(L, "pcre: subject too long");
	tlua_charge(L, s.len / 32);
	*utf = td_utf8_valid(s);
	return s;
}

static bool
captured(const PCRE2_SIZE *ov, int n, int i)
{
	return i < n && ov[2 * i] != PCRE2_UNSET && ov[2 * i + 1] >= ov[2 * i];
}

/* The table of a match: [0] whole, [1].. groups, names. */
static void
push_match(lua_State *L, struct tlua_re *re, struct td_str s, int n)
{
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(re->md);
	uint32_t names = 0, width = 0;
	PCRE2_SPTR table = NULL;

	lua_newtable(L);
	for (int i = 0; i < n; i++) {
		if (!captured(ov, n, i))
			continue;
		lua_pushlstring(L, s.p + ov[2 * i], ov[2 * i + 1] - ov[2 * i]);
		lua_rawseti(L, -2, i);
	}
	pcre2_pattern_info(re->code, PCRE2_INFO_NAMECOUNT, &names);
	pcre2_pattern_info(re->code, PCRE2_INFO_NAMEENTRYSIZE, &width);
	pcre2_pattern_info(re->code, PCRE2_INFO_NAMETABLE, &table);
	for (uint32_t k = 0; k < names; k++, table += width) {
		int i = (table[0] << 8) | table[1];

		if (!captured(ov, n, i))
			continue;
		lua_pushlstring(L, s.p + ov[2 * i], ov[2 * i + 1] - ov[2 * i]);
		lua_setfield(L, -2, (const char *)table + 2);
	}
}

/* nil, text, number of PCRE2 error <rc> */
static int
push_error(lua_State *L, int rc)
{
	char msg[160];

	pcre2_get_error_message(rc, (PCRE2_UCHAR *)msg, sizeof(msg));
	lua_pushnil(L);
	lua_pushstring(L, msg);
	lua_pushinteger(L, rc);
	return 3;
}

/* match(subject, expression) -> table, nil when there is none, or nil, text, number */
static int
p_match(lua_State *L)
{
	bool utf;
	struct td_str s = check_subject(L, 1, &utf), text = tlua_checkstr(L, 2);
	struct tlua_re *re;
	int rc;

	lua_settop(L, 2);
	lua_pushnil(L);
	re = re_get(L, text, utf && td_utf8_valid(text));
	if (re == NULL)
		return 3;
	rc = re_match(L, re, s, 0, 0);
	if (rc < 0)
		return push_error(L, rc);
	if (rc == 0)
		return 1;
	push_match(L, re, s, rc);
	return 1;
}

/* Append <repl>, where \1, $1, ${1}, ${name} are groups, \0 and $0 the match, $$ and \\ themselves. */
static void
add_expanded(lua_State *L, struct tlua_re *re, struct td_str s, int n, struct td_str repl,
	     struct td_buf *out)
{
	const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(re->md);

	for (size_t i = 0; i < repl.len; i++) {
		char c = repl.p[i], d = i + 1 < repl.len ? repl.p[i + 1] : '\0';
		int g = -1;

		if (c != '\\' && c != '$') {
			td_buf_addc(out, c);
			continue;
		}
		if (d >= '0' && d <= '9') {
			g = d - '0';
			i++;
		} else if (c == '$' && d == '{') {
			struct td_str name = td_str(repl.p + i + 2, repl.len - i - 2);
			ptrdiff_t close = td_str_chr(name, '}');
			char key[64];
			int64_t number;

			if (close < 0 || (size_t)close >= sizeof(key))
				luaL_error(L, "pcre: unclosed ${ in replacement");
			name.len = (size_t)close;
			memcpy(key, name.p, name.len);
			key[name.len] = '\0';
			if (td_str_to_i64(name, 0, 99, &number))
				g = (int)number;
			else
				g = pcre2_substring_number_from_name(re->code, (PCRE2_SPTR)key);
			if (g < 0)
				luaL_error(L, "pcre: no group named %s", key);
			i += 2 + (size_t)close;
		} else {
			td_buf_addc(out, c);
			i += d == c;
			continue;
		}
		if (captured(ov, n, g))
			td_buf_add(out, s.p + ov[2 * g], ov[2 * g + 1] - ov[2 * g]);
	}
}

/* replace(subject, expression, replacement) -> text with every match replaced, count; or nil,
 * text, number */
static int
p_replace(lua_State *L)
{
	bool utf, empty = false;
	struct td_str s = check_subject(L, 1, &utf), text = tlua_checkstr(L, 2);
	struct td_str repl = tlua_checkstr(L, 3);
	size_t at = 0, copied = 0;
	lua_Integer count = 0;
	struct tlua_re *re;
	struct td_buf *out;
	int rc;

	lua_settop(L, 3);
	out = tlua_newbuf(L);
	lua_pushnil(L);
	re = re_get(L, text, utf && td_utf8_valid(text));
	if (re == NULL)
		return 3;
	while (at <= s.len &&
	       (rc = re_match(L, re, s, at, empty ? PCRE2_NOTEMPTY_ATSTART : 0)) != 0) {
		const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(re->md);
		size_t from = ov[0], to = ov[1];

		if (rc < 0)
			return push_error(L, rc);
		if (to < from) /* \K in a lookahead */
			return luaL_error(L, "pcre: a match ends before it begins");
		td_buf_add(out, s.p + copied, from > copied ? from - copied : 0);
		add_expanded(L, re, s, rc, repl, out);
		if (out->len > tlua_of(L)->limits.memory / 4)
			return luaL_error(L, "pcre: result too long");
		empty = to == from;
		copied = at = to;
		count++;
	}
	td_buf_add(out, s.p + copied, s.len - copied);
	lua_pushlstring(L, td_buf_cstr(out), out->len);
	td_buf_fini(out);
	lua_pushinteger(L, count);
	return 2;
}

/* split(subject, expression) -> array of what lies between matches; or nil, text, number */
static int
p_split(lua_State *L)
{
	bool utf;
	struct td_str s = check_subject(L, 1, &utf), text = tlua_checkstr(L, 2);
	size_t at = 0, begin = 0;
	lua_Integer n = 0;
	struct tlua_re *re;
	int rc;

	lua_settop(L, 2);
	lua_pushnil(L);
	re = re_get(L, text, utf && td_utf8_valid(text));
	if (re == NULL)
		return 3;
	lua_newtable(L);
	while (at < s.len && (rc = re_match(L, re, s, at, PCRE2_NOTEMPTY)) != 0) {
		const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(re->md);

		if (rc < 0)
			return push_error(L, rc);
		if (ov[1] <= at || ov[0] < begin)
			return luaL_error(L, "pcre: a match ends before it begins");
		lua_pushlstring(L, s.p + begin, ov[0] - begin);
		lua_rawseti(L, -2, ++n);
		at = begin = ov[1];
	}
	lua_pushlstring(L, s.p + begin, s.len - begin);
	lua_rawseti(L, -2, ++n);
	return 1;
}

int
tlua_open_pcre(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "match", p_match },
		{ "replace", p_replace },
		{ "split", p_split },
		{ NULL, NULL },
	};

	luaL_newlib(L, fns);
	return 1;
}
