/* mime_plain - the forms most mail comes in, read without a GMime object: one text part, headers
 * of plain ASCII, one mailbox.  What is not clearly such a form is declined and left to GMime,
 * which gives the same for all that is taken here (tests/fuzz/fuzz_mime.c compares the two). */
#include "milter/mime_priv.h"

#include <gmime/gmime.h>
#include "milter/mail.h"

#define VALUE_MAX 900u /* longer is not common; an id may have 998 bytes */

/* ---- characters ---- */

static bool
is_alnum(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Of what a token may have, that which means nothing anywhere. */
static bool
is_token(unsigned char c)
{
	return is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '+';
}

static size_t
skip_blanks(struct td_str v, size_t i)
{
	while (i < v.len && (v.p[i] == ' ' || v.p[i] == '\t' || v.p[i] == '\r' || v.p[i] == '\n'))
		i++;
	return i;
}

static struct td_str
take_token(struct td_str v, size_t *i)
{
	size_t from = *i;

	while (*i < v.len && is_token((unsigned char)v.p[*i]))
		(*i)++;
	return td_str(v.p + from, *i - from);
}

/* ---- one text part ---- */

static bool
take_param(struct td_str v, size_t *i, struct td_str *name, struct td_str *value)
{
	bool quoted;

	*name = take_token(v, i);
	if (name->len == 0 || *i >= v.len || v.p[*i] != '=')
		return false;
	(*i)++;
	quoted = *i < v.len && v.p[*i] == '"';
	*i += quoted;
	*value = take_token(v, i);
	if (value->len == 0 || (quoted && (*i >= v.len || v.p[*i] != '"')))
		return false;
	*i += quoted;
	return true;
}

static bool
set_once(char *dst, size_t cap, struct td_str v)
{
	if (dst[0] != '\0' || v.len >= cap)
		return false;
	memcpy(dst, v.p, v.len);
	dst[v.len] = '\0';
	return true;
}

/* "text/plain; charset=utf-8; format=flowed; delsp=yes" */
static bool
read_type(struct td_str v, struct milt_plain *out)
{
	struct td_str name, value;
	size_t i;

	v = td_str_trim(v);
	if (milt_starts_i(v, "text/plain"))
		i = 10;
	else if (milt_starts_i(v, "text/html"))
		i = 9;
	else
		return false;
	out->html = i == 9;
	for (;;) {
		char *dst;

		i = skip_blanks(v, i);
		if (i == v.len)
			return true;
		if (v.p[i] != ';')
			return false;
		i = skip_blanks(v, i + 1);
		if (!take_param(v, &i, &name, &value))
			return false;
		dst = td_str_ieq(name, TD_STR("charset"))  ? out->charset
		      : td_str_ieq(name, TD_STR("format")) ? out->format
		      : td_str_ieq(name, TD_STR("delsp"))  ? out->delsp
							   : NULL;
		if (dst == NULL || !set_once(dst, sizeof(out->charset), value))
			return false;
	}
}

static const struct {
	const char *name;
	GMimeContentEncoding gmime;
} encodings[] = {
	{ "7bit", GMIME_CONTENT_ENCODING_7BIT },
	{ "8bit", GMIME_CONTENT_ENCODING_8BIT },
	{ "quoted-printable", GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE },
	{ "base64", GMIME_CONTENT_ENCODING_BASE64 },
};

static bool
read_encoding(struct td_str v, struct milt_plain *out)
{
	v = td_str_trim(v);
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++)
		if (td_str_ieq(v, td_cstr(encodings[i].name))) {
			out->encoding = encodings[i].name;
			return true;
		}
	return false;
}

bool
milt_plain_read(const struct milt_mail *m, struct milt_plain *out)
{
	const struct milt_header *h;
	bool typed = false;
	size_t i = 0;

	*out = (struct milt_plain){ 0 };
	while ((h = milt_mail_header(m, TD_STR_NULL, &i)) != NULL) {
		if (!milt_starts_i(h->name, "content-"))
			continue;
		if (h->value.len > VALUE_MAX)
			return false;
		if (td_str_ieq(h->name, TD_STR("content-type"))) {
			if (typed || !read_type(h->value, out))
				return false;
			typed = true;
		} else if (!td_str_ieq(h->name, TD_STR("content-transfer-encoding")) ||
			   out->encoding != NULL || !read_encoding(h->value, out)) {
			return false;
		}
	}
	return true;
}

struct td_str
milt_plain_decode(const struct milt_plain *pl, struct td_str body, struct td_buf *buf)
{
	GMimeContentEncoding which = GMIME_CONTENT_ENCODING_DEFAULT;
	GMimeEncoding enc;

	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++)
		if (encodings[i].name == pl->encoding)
			which = encodings[i].gmime;
	if (which != GMIME_CONTENT_ENCODING_BASE64 &&
	    which != GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE)
		return body;
	g_mime_encoding_init_decode(&enc, which);
	(void)td_buf_reserve(buf, g_mime_encoding_outlen(&enc, body.len) + 1);
	buf->len = g_mime_encoding_flush(&enc, body.p, body.len, buf->p);
	return td_buf_str(buf);
}

/* ---- headers ---- */

bool
milt_plain_line(struct td_str v)
{
	if (v.len > VALUE_MAX)
		return false;
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] < 0x20 || (unsigned char)v.p[i] >= 0x7F ||
		    (v.p[i] == '=' && i + 1 < v.len && v.p[i + 1] == '?'))
			return false;
	return true;
}

/* Words of letters and digits with a dot between them, from <i> on. */
static size_t
skip_dotted(struct td_str v, size_t i)
{
	size_t from = i;

	while (i < v.len && (is_alnum((unsigned char)v.p[i]) || v.p[i] == '-' || v.p[i] == '_' ||
			     v.p[i] == '+' || (v.p[i] == '.' && i > from && v.p[i - 1] != '.')))
		i++;
	return i > from && v.p[i - 1] != '.' ? i : from;
}

/* "local@domain" at <i>; where it ends, or <i>.  GMime undoes punycode. */
static size_t
skip_address(struct td_str v, size_t i)
{
	size_t at = skip_dotted(v, i), end;

	if (at == i || at >= v.len || v.p[at] != '@')
		return i;
	end = skip_dotted(v, at + 1);
	return end > at + 1 && !milt_contains_i(td_str(v.p + at, end - at), "xn--") ? end : i;
}

bool
milt_plain_id(struct td_str v, struct td_str *id_out)
{
	size_t end;

	v = td_str_trim(v);
	if (v.len < 5 || v.len > VALUE_MAX || v.p[0] != '<')
		return false;
	end = skip_address(v, 1);
	if (end == 1 || end + 1 != v.len || v.p[end] != '>')
		return false;
	*id_out = td_str(v.p + 1, end - 1);
	return true;
}

/* Words of letters and digits, one blank between them. */
static bool
is_words(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum((unsigned char)s.p[i]) &&
		    !(s.p[i] == ' ' && i > 0 && i + 1 < s.len && s.p[i - 1] != ' '))
			return false;
	return s.len > 0;
}

bool
milt_plain_mailbox(struct td_str v, struct td_str *name_out, struct td_str *addr_out)
{
	size_t end;
	ptrdiff_t lt;

	*name_out = TD_STR("");
	v = td_str_trim(v);
	if (v.len == 0 || v.len > VALUE_MAX)
		return false;
	end = skip_address(v, 0);
	if (end == v.len) {
		*addr_out = v;
		return true;
	}
	lt = td_str_chr(v, '<');
	if (lt < 0)
		return false;
	end = skip_address(v, (size_t)lt + 1);
	if (end == (size_t)lt + 1 || end + 1 != v.len || v.p[end] != '>')
		return false;
	*addr_out = td_str(v.p + lt + 1, end - (size_t)lt - 1);
	if (lt == 0)
		return true;
	if (v.p[lt - 1] != ' ')
		return false;
	v = td_str(v.p, (size_t)lt - 1);
	if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"')
		v = td_str(v.p + 1, v.len - 2);
	*name_out = v;
	return is_words(v);
}
