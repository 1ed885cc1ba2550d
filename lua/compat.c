/* compat - a scanner that knows just enough Lua to tell operators from text. */
#include "lua/compat.h"

/* Level of the long bracket opening at <i> ("[[" 0, "[=[" 1, ...), or -1. */
static int
long_level(struct td_str s, size_t i)
{
	size_t j = i + 1;

	if (i >= s.len || s.p[i] != '[')
		return -1;
	while (j < s.len && s.p[j] == '=')
		j++;
	return j < s.len && s.p[j] == '[' ? (int)(j - i - 1) : -1;
}

/* First byte after the long bracket that opens at <i> with <level>; the end when unclosed. */
static size_t
long_end(struct td_str s, size_t i, int level)
{
	size_t n = (size_t)level;

	for (i += n + 2; i < s.len; i++) {
		size_t j = i + 1;

		if (s.p[i] != ']')
			continue;
		while (j < s.len && s.p[j] == '=')
			j++;
		if (j - i - 1 == n && j < s.len && s.p[j] == ']')
			return j + 1;
	}
	return s.len;
}

/* First byte after the quoted string opening at <i>.  A line end closes it: there it is an
 * error for Lua, and what follows is code again. */
static size_t
quote_end(struct td_str s, size_t i)
{
	char q = s.p[i++];

	while (i < s.len && s.p[i] != q && s.p[i] != '\n') {
		if (s.p[i] == '\\' && i + 1 < s.len)
			i++;
		i++;
	}
	return i < s.len ? i + 1 : s.len;
}

/* End of the comment opening at <i> ("--" seen). */
static size_t
comment_end(struct td_str s, size_t i)
{
	int level = long_level(s, i + 2);

	if (level >= 0)
		return long_end(s, i + 2, level);
	while (i < s.len && s.p[i] != '\n')
		i++;
	return i;
}

void
tlua_compat_rewrite(struct td_str s, struct td_buf *out)
{
	size_t i = 0;

	/* a "#!" line is skipped by Lua */
	if (s.len > 0 && s.p[0] == '#')
		while (i < s.len && s.p[i] != '\n')
			i++;
	td_buf_add(out, s.p, i);
	while (i < s.len) {
		char c = s.p[i], next = i + 1 < s.len ? s.p[i + 1] : '\0';
		size_t end = i + 1;

		if (c == '-' && next == '-')
			end = comment_end(s, i);
		else if (c == '"' || c == '\'')
			end = quote_end(s, i);
		else if (c == '[' && long_level(s, i) >= 0)
			end = long_end(s, i, long_level(s, i));
		else if ((c == '!' && next == '=') || (c == '^' && next == '^')) {
			td_buf_add(out, c == '!' ? "~=" : "~ ", 2);
			i += 2;
			continue;
		} else if (c == '\\') {
			td_buf_add(out, "//", 2);
			i++;
			continue;
		}
		td_buf_add(out, s.p + i, end - i);
		i = end;
	}
}
