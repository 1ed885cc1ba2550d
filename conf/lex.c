/* lex - bytes to tokens, after momentum.md 1.1.
 * What a '/' means depends on the place: "/ *" opens a comment where a token may start,
 * after a regex-named scope keyword a word may be a regex, elsewhere it is an ordinary
 * character (paths are written bare).  A lexer is a plain value: copy it to rewind. */
#include "conf/conf_priv.h"

#include <stdio.h>

/* Quotation marks that word processors put in place of plain ones. */
static const struct typo {
	const char *bytes, *close, *name;
} typos[] = {
	{ "\xe2\x80\x9c", "\xe2\x80\x9d", "U+201C (left double quotation mark)" },
	{ "\xe2\x80\x9d", "\xe2\x80\x9d", "U+201D (right double quotation mark)" },
	{ "\xe2\x80\x9e", "\xe2\x80\x9c", "U+201E (double low quotation mark)" },
	{ "\xe2\x80\x9f", "\xe2\x80\x9d", "U+201F (double high-reversed quotation mark)" },
	{ "\xe2\x80\x98", "\xe2\x80\x99", "U+2018 (left single quotation mark)" },
	{ "\xe2\x80\x99", "\xe2\x80\x99", "U+2019 (right single quotation mark)" },
	{ "\xe2\x80\x9a", "\xe2\x80\x98", "U+201A (single low quotation mark)" },
	{ "\xe2\x80\x9b", "\xe2\x80\x99", "U+201B (single high-reversed quotation mark)" },
	{ "\xc2\xab", "\xc2\xbb", "U+00AB (left guillemet)" },
	{ "\xc2\xbb", "\xc2\xab", "U+00BB (right guillemet)" },
};
#define N_TYPOS (sizeof(typos) / sizeof(typos[0]))

void
conf_lex_init(struct conf_lexer *lx, struct conf_loader *l, const char *file, struct td_str src)
{
	*lx = (struct conf_lexer){
		.src = src, .file = file, .line = 1, .col = 1, .line_start = true, .loader = l
	};
	if (td_str_starts(src, "\xef\xbb\xbf"))
		lx->i = 3;
}

static bool
at_end(const struct conf_lexer *lx)
{
	return lx->i >= lx->src.len;
}

static char
look(const struct conf_lexer *lx, size_t ahead)
{
	return lx->src.len - lx->i > ahead ? lx->src.p[lx->i + ahead] : '\0';
}

/* Go one byte on; columns count characters, not bytes. */
static char
step(struct conf_lexer *lx)
{
	char c = lx->src.p[lx->i++];

	if (c == '\n') {
		lx->line++;
		lx->col = 1;
		lx->line_start = true;
	} else if (at_end(lx) || ((unsigned char)lx->src.p[lx->i] & 0xc0) != 0x80) {
		lx->col++;
	}
	return c;
}

static struct conf_pos
here(struct conf_lexer *lx)
{
	return (struct conf_pos){ lx->file, lx->line, lx->col, ++lx->loader->ord };
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

static bool
is_punct(char c)
{
	return c != '\0' && strchr("{}()[]=", c) != NULL;
}

/* Does a bare word end before <c>? */
static bool
ends_word(char c, unsigned flags)
{
	return is_blank(c) || is_punct(c) || c == '#' || c == '"' || c == '\'' ||
	       (c == ',' && (flags & LX_LIST));
}

static const struct typo *
typo_here(const struct conf_lexer *lx)
{
	struct td_str rest = td_str(lx->src.p + lx->i, lx->src.len - lx->i);

	if (rest.len == 0 || (unsigned char)rest.p[0] < 0x80)
		return NULL;
	for (size_t k = 0; k < N_TYPOS; k++)
		if (td_str_starts(rest, typos[k].bytes))
			return &typos[k];
	return NULL;
}

static void
skip_blanks(struct conf_lexer *lx)
{
	while (!at_end(lx)) {
		struct conf_pos pos;

		if (is_blank(look(lx, 0))) {
			step(lx);
		} else if (look(lx, 0) == '#') {
			while (!at_end(lx) && look(lx, 0) != '\n')
				step(lx);
		} else if (look(lx, 0) == '/' && look(lx, 1) == '*') {
			pos = here(lx);
			step(lx);
			step(lx);
			while (!at_end(lx) && !(look(lx, 0) == '*' && look(lx, 1) == '/'))
				step(lx);
			if (at_end(lx)) {
				conf_error(lx->loader, pos, "this /* comment is never closed");
				return;
			}
			step(lx);
			step(lx);
		} else {
			return;
		}
	}
}

/* The five escapes of momentum.md 1.1; any other backslash stays, so "\." survives. */
static void
add_escaped(struct conf_lexer *lx, struct td_buf *b)
{
	static const char from[] = "\"\\nrt", to[] = "\"\\\n\r\t";
	const char *k = at_end(lx) || look(lx, 0) == '\0' ? NULL : strchr(from, look(lx, 0));

	if (k == NULL) {
		td_buf_addc(b, '\\');
		return;
	}
	td_buf_addc(b, to[k - from]);
	step(lx);
}

static struct td_str
take(struct conf_lexer *lx, struct td_buf *b)
{
	struct td_str s = td_str(td_arena_strndup(lx->loader->c->arena, b->p, b->len), b->len);

	td_wipe(b->p, b->len);
	td_buf_fini(b);
	return s;
}

static void
lex_string(struct conf_lexer *lx, struct conf_token *t)
{
	struct td_buf b = { 0 };
	char quote = step(lx);

	t->type = LT_STRING;
	while (!at_end(lx) && look(lx, 0) != quote) {
		char c = step(lx);

		if (c == '\\' && quote == '"')
			add_escaped(lx, &b);
		else
			td_buf_addc(&b, c);
	}
	if (at_end(lx))
		conf_error(lx->loader, t->pos, "this string is never closed: a %c is missing",
			   quote);
	else
		step(lx);
	t->text = take(lx, &b);
}

/* Report once, then read on as if the quotes had been plain ones. */
static void
lex_typographic(struct conf_lexer *lx, struct conf_token *t, const struct typo *q)
{
	struct td_buf b = { 0 };

	conf_error(lx->loader, t->pos, "typographic quote %s; write a plain \" instead", q->name);
	for (size_t n = strlen(q->bytes); n > 0; n--)
		step(lx);
	while (!at_end(lx) && look(lx, 0) != '\n') {
		const struct typo *end = typo_here(lx);

		if (end != NULL || look(lx, 0) == '"') {
			for (size_t n = end != NULL ? strlen(end->bytes) : 1; n > 0; n--)
				step(lx);
			break;
		}
		td_buf_addc(&b, step(lx));
	}
	t->type = LT_STRING;
	t->text = take(lx, &b);
}

/* Length of the regex literal that starts here, 0 when it is none. */
static size_t
regex_len(const struct conf_lexer *lx)
{
	for (size_t k = 1; lx->src.len - lx->i > k && look(lx, k) != '\n'; k++) {
		if (look(lx, k) == '\\') {
			k++;
			continue;
		}
		if (look(lx, k) != '/')
			continue;
		if (lx->src.len - lx->i == k + 1 || is_blank(look(lx, k + 1)) ||
		    look(lx, k + 1) == '{')
			return k + 1;
	}
	return 0;
}

/* To the closing quote if that is on the line, else to the end of the word. */
static void
skip_stray_quote(struct conf_lexer *lx)
{
	char quote = step(lx);
	struct conf_lexer line = *lx;

	while (!at_end(&line) && look(&line, 0) != '\n' && look(&line, 0) != quote)
		step(&line);
	if (!at_end(&line) && look(&line, 0) == quote) {
		step(&line);
		*lx = line;
		return;
	}
	while (!at_end(lx) && !is_blank(look(lx, 0)) && !is_punct(look(lx, 0)))
		step(lx);
}

static void
lex_word(struct conf_lexer *lx, struct conf_token *t, unsigned flags)
{
	size_t start = lx->i, n = 0;
	struct td_buf b = { 0 };

	if ((flags & LX_REGEX) && look(lx, 0) == '/')
		n = regex_len(lx);
	t->type = n > 0 ? LT_REGEX : LT_WORD;
	for (; n > 0; n--)
		step(lx);
	while (t->type == LT_WORD && !at_end(lx) && !ends_word(look(lx, 0), flags)) {
		const struct typo *q = typo_here(lx);

		if (q != NULL) {
			conf_error(lx->loader, here(lx),
				   "typographic quote %s; write a plain \" instead", q->name);
			for (size_t k = strlen(q->bytes); k > 0; k--)
				step(lx);
			continue;
		}
		step(lx);
	}
	td_buf_add(&b, lx->src.p + start, lx->i - start);
	t->text = take(lx, &b);
	if (!at_end(lx) && t->type == LT_WORD && (look(lx, 0) == '\'' || look(lx, 0) == '"')) {
		conf_error(lx->loader, here(lx),
			   "a %c in the middle of a word; put the whole value in quotes",
			   look(lx, 0));
		skip_stray_quote(lx);
	}
}

struct conf_token
conf_lex(struct conf_lexer *lx, unsigned flags)
{
	struct conf_token t = { .type = LT_EOF };
	const struct typo *q;
	char c;

	skip_blanks(lx);
	t.pos = here(lx);
	t.first = lx->line_start;
	lx->line_start = false;
	if (at_end(lx))
		return t;
	c = look(lx, 0);
	q = typo_here(lx);
	if (is_punct(c) || (c == ',' && (flags & LX_LIST))) {
		t.type = LT_PUNCT;
		t.punct = step(lx);
	} else if (c == '"' || c == '\'') {
		lex_string(lx, &t);
	} else if (q != NULL) {
		lex_typographic(lx, &t, q);
	} else {
		lex_word(lx, &t, flags);
	}
	return t;
}

const char *
conf_token_text(struct conf_loader *l, const struct conf_token *t)
{
	if (t->type == LT_EOF)
		return "the end of the file";
	if (t->type == LT_PUNCT)
		return td_arena_printf(l->c->arena, "\"%c\"", t->punct);
	return conf_shown(l, t->text);
}

bool
conf_is_bareword(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (ends_word(s.p[i], LX_LIST) || s.p[i] == '/' || (unsigned char)s.p[i] <= ' ' ||
		    (unsigned char)s.p[i] >= 0x7f)
			return false;
	return s.len > 0;
}

void
conf_quote(struct td_buf *out, struct td_str s)
{
	td_buf_addc(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
		const char *k = s.p[i] != '\0' ? strchr(from, s.p[i]) : NULL;

		if (k != NULL) {
			td_buf_addc(out, '\\');
			td_buf_addc(out, to[k - from]);
		} else {
			td_buf_addc(out, s.p[i]);
		}
	}
	td_buf_addc(out, '"');
}
