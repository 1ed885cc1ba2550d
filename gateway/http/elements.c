/* elements - cut XML text at the ends of its top-level elements.
 *
 * Tags are counted; quotes in tags and CDATA sections are stepped over.  Comments, instructions and
 * doctypes do not occur on a stream (RFC 6120 11.1): they count as no element. */
#include "gateway/http/elements.h"

#include "xmpp/ns.h"

#define CDATA "<![CDATA["

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The '>' that ends the tag at <p>; NULL: not there. */
static const char *
tag_end(const char *p, const char *end)
{
	char quote = 0;

	for (; p < end; p++) {
		if (quote != 0) {
			if (*p == quote)
				quote = 0;
		} else if (*p == '"' || *p == '\'') {
			quote = *p;
		} else if (*p == '>') {
			return p;
		}
	}
	return NULL;
}

/* Does the opening tag in [p, end) have an attribute xmlns? */
static bool
declares_default(const char *p, const char *end)
{
	char quote = 0;

	for (; p < end; p++) {
		if (quote != 0) {
			if (*p == quote)
				quote = 0;
		} else if (*p == '"' || *p == '\'') {
			quote = *p;
		} else if (is_space(*p) && end - p > 6 && memcmp(p + 1, "xmlns", 5) == 0 &&
			   (p[6] == '=' || is_space(p[6]))) {
			return true;
		}
	}
	return false;
}

static void
read_open_tag(const char *p, const char *gt, struct gw_element *out)
{
	const char *q = p + 1;

	while (q < gt && !is_space(*q) && *q != '/')
		q++;
	out->name = td_str(p + 1, (size_t)(q - p - 1));
	out->has_ns = declares_default(q, gt);
}

bool
gw_element_first(struct td_str s, struct gw_element *out)
{
	const char *p = s.p, *end = s.p + s.len, *gt;
	size_t depth = 0;

	if (s.len < 4 || *p != '<' || p[1] == '/' || p[1] == '!' || p[1] == '?')
		return false;
	do {
		if ((size_t)(end - p) > sizeof(CDATA) - 1 &&
		    memcmp(p, CDATA, sizeof(CDATA) - 1) == 0) {
			gt = memmem(p, (size_t)(end - p), "]]>", 3);
			if (gt == NULL)
				return false;
			gt += 2;
		} else {
			gt = tag_end(p, end);
			if (gt == NULL || p[1] == '!' || p[1] == '?')
				return false;
			if (p == s.p)
				read_open_tag(p, gt, out);
			if (p[1] == '/')
				depth--;
			else if (gt[-1] != '/')
				depth++;
		}
		if (depth == 0) {
			out->all = td_str(s.p, (size_t)(gt + 1 - s.p));
			return true;
		}
		p = memchr(gt, '<', (size_t)(end - gt));
	} while (p != NULL && end - p >= 2);
	return false;
}

void
gw_element_write(struct td_buf *out, const struct gw_element *e)
{
	size_t head = (size_t)(e->name.p + e->name.len - e->all.p);

	td_buf_add(out, e->all.p, head);
	if (td_str_starts(e->name, "stream:"))
		td_buf_addz(out, " xmlns:stream='" NS_STREAM "'");
	if (!e->has_ns && td_str_chr(e->name, ':') < 0)
		td_buf_addz(out, " xmlns='" NS_CLIENT "'");
	td_buf_add(out, e->all.p + head, e->all.len - head);
}
