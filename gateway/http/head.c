/* head - the request line, the fields, and what they say about the body.
 *
 * gw_head_parse is given what has come so far, again and again; only a whole head is looked into.  Chunked
 * bodies are answered 411: nobody who speaks BOSH or uploads a file needs them, and what is not parsed cannot
 * be parsed differently from a proxy before us. */
#include "gateway/http/head.h"

#include <strings.h>

#define LINE_MAX_BYTES 8192u

static const char *const methods[HM_COUNT] = { "GET", "HEAD", "POST", "PUT", "OPTIONS", NULL };

static bool
is_tchar(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
is_token(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_tchar((unsigned char)s.p[i]))
			return false;
	return s.len > 0;
}

static struct td_str
trim_ows(struct td_str s)
{
	while (s.len > 0 && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* The next line without its CRLF, taken off *rest; false: a bare CR or LF. */
static bool
take_line(struct td_str *rest, struct td_str *line)
{
	const char *lf = memchr(rest->p, '\n', rest->len);
	size_t n;

	if (lf == NULL || lf == rest->p || lf[-1] != '\r')
		return false;
	n = (size_t)(lf - rest->p) - 1;
	*line = td_str(rest->p, n);
	rest->p = lf + 1;
	rest->len -= n + 2;
	return memchr(line->p, '\r', n) == NULL;
}

/* RFC 9112 3.2.2: a server takes the absolute form too. */
static bool
take_target(struct td_str t, struct gw_head *out)
{
	ptrdiff_t q;

	for (size_t i = 0; i < t.len; i++)
		if ((unsigned char)t.p[i] <= ' ' || (unsigned char)t.p[i] >= 0x7f)
			return false;
	if (td_str_starts(t, "http://") || td_str_starts(t, "https://")) {
		size_t skip = t.p[4] == 's' ? 8 : 7;
		ptrdiff_t slash = td_str_chr(td_str(t.p + skip, t.len - skip), '/');

		if (slash <= 0)
			return false;
		t.p += skip + (size_t)slash;
		t.len -= skip + (size_t)slash;
	}
	q = td_str_chr(t, '?');
	if (q >= 0)
		t.len = (size_t)q;
	out->path = t;
	return t.len > 0 && (*t.p == '/' || (t.len == 1 && *t.p == '*'));
}

static int
parse_line(struct td_str line, struct gw_head *out)
{
	ptrdiff_t a = td_str_chr(line, ' '), b;
	struct td_str method, target, version;

	if (a <= 0)
		return 400;
	method = td_str(line.p, (size_t)a);
	target = td_str(line.p + a + 1, line.len - (size_t)a - 1);
	b = td_str_chr(target, ' ');
	if (b <= 0 || !is_token(method))
		return 400;
	version = td_str(target.p + b + 1, target.len - (size_t)b - 1);
	target.len = (size_t)b;
	if (version.len != 8 || !td_str_starts(version, "HTTP/") || version.p[6] != '.')
		return 400;
	if (version.p[5] != '1' || version.p[7] < '0' || version.p[7] > '9')
		return 505;
	out->minor = version.p[7] == '0' ? 0 : 1;
	out->method = HM_OTHER;
	for (unsigned i = 0; i < HM_OTHER; i++)
		if (td_str_eqc(method, methods[i]))
			out->method = (enum gw_method)i;
	return take_target(target, out) ? 0 : 400;
}

static int
parse_field(struct td_str line, struct gw_head *out)
{
	ptrdiff_t colon = td_str_chr(line, ':');
	struct gw_field f;

	if (colon <= 0)
		return 400;
	f.name = td_str(line.p, (size_t)colon);
	f.value = trim_ows(td_str(line.p + colon + 1, line.len - (size_t)colon - 1));
	if (!is_token(f.name)) /* a blank before the colon, a folded line */
		return 400;
	for (size_t i = 0; i < f.value.len; i++) {
		unsigned char c = (unsigned char)f.value.p[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return 400;
	}
	if (out->n == GW_HEAD_FIELDS)
		return 431;
	out->fields[out->n++] = f;
	return 0;
}

static bool
host_ok(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    (c == '\0' || strchr("-._:[]", c) == NULL))
			return false;
	}
	return true;
}

/* What the fields say about the message itself. */
static int
check_fields(struct gw_head *h)
{
	struct td_str cl = gw_head_field(h, "content-length");
	struct td_str te = gw_head_field(h, "transfer-encoding");
	size_t hosts = gw_head_count(h, "host");

	if (hosts > 1 || (hosts == 0 && h->minor > 0))
		return 400;
	h->host = gw_head_field(h, "host");
	if (!host_ok(h->host) || gw_head_count(h, "content-length") > 1)
		return 400;
	if (te.p != NULL) {
		/* 6.1: both lengths, or HTTP/1.0, is how requests are smuggled */
		if (cl.p != NULL || h->minor == 0)
			return 400;
		return td_str_ieq(te, TD_STR("chunked")) ? 411 : 501;
	}
	h->length = -1;
	if (cl.p != NULL) {
		if (cl.len == 0 || cl.len > 15)
			return 400;
		h->length = 0;
		for (size_t i = 0; i < cl.len; i++) {
			if (cl.p[i] < '0' || cl.p[i] > '9')
				return 400;
			h->length = h->length * 10 + (cl.p[i] - '0');
		}
	}
	h->keep_alive = h->minor > 0 ? !gw_head_has_token(h, "connection", "close")
				     : gw_head_has_token(h, "connection", "keep-alive");
	h->expect = h->minor > 0 && td_str_ieq(gw_head_field(h, "expect"), TD_STR("100-continue"));
	return 0;
}

long
gw_head_parse(struct td_str in, struct gw_head *out)
{
	size_t max = in.len < GW_HEAD_MAX ? in.len : GW_HEAD_MAX, skipped = 0;
	struct td_str rest, line;
	const char *end;
	int status;

	out->n = 0;
	/* 2.2: an empty line before the request is left over from a clumsy client */
	if (in.len >= 2 && in.p[0] == '\r' && in.p[1] == '\n')
		skipped = 2;
	end = max > skipped ? memmem(in.p + skipped, max - skipped, "\r\n\r\n", 4) : NULL;
	if (end == NULL) {
		const char *lf = max > skipped ? memchr(in.p + skipped, '\n', max - skipped) : NULL;

		/* do not wait for the rest of what is refused anyway */
		if (lf != NULL && (lf == in.p + skipped || lf[-1] != '\r'))
			return -400;
		if (lf == NULL && max - skipped > LINE_MAX_BYTES)
			return -414;
		return in.len >= GW_HEAD_MAX ? -431 : 0;
	}
	rest = td_str(in.p + skipped, (size_t)(end - in.p) - skipped + 2);
	if (!take_line(&rest, &line))
		return -400;
	if (line.len > LINE_MAX_BYTES)
		return -414;
	status = parse_line(line, out);
	while (status == 0 && rest.len > 0)
		status = take_line(&rest, &line) ? parse_field(line, out) : 400;
	if (status == 0)
		status = check_fields(out);
	return status != 0 ? -status : end + 4 - in.p;
}

struct td_str
gw_head_field(const struct gw_head *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (td_str_ieq(h->fields[i].name, td_cstr(name)))
			return h->fields[i].value;
	return TD_STR_NULL;
}

size_t
gw_head_count(const struct gw_head *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += td_str_ieq(h->fields[i].name, td_cstr(name));
	return n;
}

static bool
list_has(struct td_str list, const char *token)
{
	while (list.len > 0) {
		ptrdiff_t comma = td_str_chr(list, ',');
		size_t n = comma < 0 ? list.len : (size_t)comma;

		if (td_str_ieq(trim_ows(td_str(list.p, n)), td_cstr(token)))
			return true;
		n += comma >= 0;
		list.p += n;
		list.len -= n;
	}
	return false;
}

bool
gw_head_has_token(const struct gw_head *h, const char *name, const char *token)
{
	for (size_t i = 0; i < h->n; i++)
		if (td_str_ieq(h->fields[i].name, td_cstr(name)) &&
		    list_has(h->fields[i].value, token))
			return true;
	return false;
}

bool
gw_path_decode(struct td_str s, struct td_buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '%') {
			if (i + 2 >= s.len || !td_hex_decode(td_str(s.p + i + 1, 2), &c, 1))
				return false;
			i += 2;
		}
		if (c < ' ' || c == 0x7f)
			return false;
		td_buf_addc(out, (char)c);
	}
	return true;
}

unsigned
gw_range_parse(struct td_str field, uint64_t size, uint64_t *at, uint64_t *end)
{
	int64_t first = -1, last = -1;
	struct td_str from, to;

	*at = 0;
	*end = size;
	if (!td_str_starts(field, "bytes=") || td_str_chr(field, ',') >= 0)
		return 200;
	to = td_str_trim(td_str(field.p + 6, field.len - 6));
	if (td_str_chr(to, '-') < 0)
		return 200;
	from = td_str_cut(&to, '-');
	if ((from.len > 0 && !td_str_to_dec(from, 0, INT64_MAX, &first)) ||
	    (to.len > 0 && !td_str_to_dec(to, 0, INT64_MAX, &last)) ||
	    (from.len == 0 && to.len == 0))
		return 200;
	if (from.len == 0) { /* the last bytes, so many */
		if (last == 0 || size == 0)
			return 416;
		*at = (uint64_t)last < size ? size - (uint64_t)last : 0;
		return 206;
	}
	if (to.len > 0 && last < first)
		return 200;
	if ((uint64_t)first >= size)
		return 416;
	*at = (uint64_t)first;
	if (to.len > 0 && (uint64_t)last < size - 1)
		*end = (uint64_t)last + 1;
	return 206;
}
