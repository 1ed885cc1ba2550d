/* guard - how much of a mail may be handed to GMime, from one look at its bytes.
 *
 * GMime recurses per nested entity and makes objects per part and header, so a mail of nothing
 * but boundaries could cost gigabytes or the stack, and a few header forms cost it the square of
 * their length.  What looks like a boundary, a Content-Type or a header block is counted,
 * whether it is one or not; no honest mail comes near the limits. */
#include "milter/mime_priv.h"

#include <strings.h>

#define G_DASHES 2000u          /* lines that start with "--" */
#define G_TYPES 400u            /* Content-Type lines */
#define G_BLOCK (64u * 1024)    /* one header block of a part */
#define G_HEADERS (512u * 1024) /* all header blocks together */
#define G_PUNCT 8000u           /* commas and colons in them */

bool
milt_starts_i(struct td_str s, const char *word)
{
	size_t len = strlen(word);

	return s.len >= len && strncasecmp(s.p, word, len) == 0;
}

bool
milt_contains_i(struct td_str s, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= s.len; i++)
		if (strncasecmp(s.p + i, word, n) == 0)
			return true;
	return false;
}

struct guard {
	bool in_headers; /* or what could be such */
	bool message;    /* this block names message/...: another block follows */
	bool digest;     /* parts are messages without saying so */
	bool type_field;
	size_t block, field, headers;
	unsigned dashes, types, punct;
};

static bool
guard_header_line(struct guard *g, const char *p, size_t n)
{
	if (p[0] != ' ' && p[0] != '\t') {
		g->type_field = milt_starts_i(td_str(p, n), "content-");
		g->field = 0;
	}
	g->block += n;
	g->field += n;
	g->headers += n;
	for (size_t i = 0; i < n; i++)
		g->punct += p[i] == ',' || p[i] == ':';
	/* the word is enough: what stands around it may be comments */
	g->message = g->message || milt_contains_i(td_str(p, n), "message");
	g->digest = g->digest || milt_contains_i(td_str(p, n), "digest");
	return g->block <= G_BLOCK && g->headers <= G_HEADERS && g->punct <= G_PUNCT &&
	       !(g->type_field && g->field > MILT_TYPE_FIELD);
}

/* One line without its end; false: stop in front of it. */
static bool
guard_line(struct guard *g, const char *p, size_t n)
{
	if (n > 0 && p[n - 1] == '\r')
		n--;
	if (milt_starts_i(td_str(p, n), "content-type") && ++g->types > G_TYPES)
		return false;
	if (n >= 2 && p[0] == '-' && p[1] == '-') {
		g->in_headers = true;
		g->message = g->digest;
		g->block = g->field = 0;
		return ++g->dashes <= G_DASHES;
	}
	if (!g->in_headers)
		return true;
	if (n == 0) {
		g->in_headers = g->message;
		g->message = false;
		g->block = g->field = 0;
		return true;
	}
	return guard_header_line(g, p, n);
}

size_t
milt_mime_guard(struct td_str body, struct td_str type)
{
	bool message = milt_contains_i(type, "message"), digest = milt_contains_i(type, "digest");
	struct guard g = { .in_headers = message, .digest = digest };

	for (size_t i = 0; i < body.len;) {
		const char *nl = memchr(body.p + i, '\n', body.len - i);
		size_t end = nl != NULL ? (size_t)(nl - body.p) : body.len;

		if (!guard_line(&g, body.p + i, end - i))
			return i;
		i = end + 1;
	}
	return body.len;
}
