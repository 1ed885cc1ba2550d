/* addr - the argument of MAIL and RCPT as an address: brackets, source route, quotes, detail. */
#include "milter/mail.h"

#include <glib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/log.h"

#define PART_MAX 255u

/* RFC 5322 atext, the dot, and anything that is not ASCII (RFC 6531). */
static bool
is_dot_atom(unsigned char c)
{
	return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || (c != '\0' && strchr(".!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
has_control(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F)
			return true;
	return false;
}

/* "<@relay,@relay2:user@host>" to "user@host". */
static struct td_str
strip_path(struct td_str s)
{
	ptrdiff_t colon;

	s = td_str_trim(s);
	if (s.len >= 2 && s.p[0] == '<' && s.p[s.len - 1] == '>')
		s = td_str_trim(td_str(s.p + 1, s.len - 2));
	if (s.len > 0 && s.p[0] == '@' && (colon = td_str_chr(s, ':')) > 0)
		s = td_str(s.p + colon + 1, s.len - (size_t)colon - 1);
	return s;
}

/* Unquote the local part at the start of <s> into <local>; *rest_out starts at '@' or is empty. */
static bool
take_local(struct td_str s, struct td_buf *local, struct td_str *rest_out)
{
	size_t i = 1;

	if (s.p[0] != '"') {
		const char *at = memrchr(s.p, '@', s.len);
		size_t n = at != NULL ? (size_t)(at - s.p) : s.len;

		if (memchr(s.p, ' ', n) != NULL)
			return false;
		td_buf_add(local, s.p, n);
		*rest_out = td_str(s.p + n, s.len - n);
		return true;
	}
	for (; i < s.len && s.p[i] != '"'; i++) {
		if (s.p[i] == '\\' && i + 1 < s.len)
			i++;
		td_buf_addc(local, s.p[i]);
	}
	if (i >= s.len)
		return false;
	i++;
	*rest_out = td_str(s.p + i, s.len - i);
	return rest_out->len == 0 || rest_out->p[0] == '@';
}

static void
add_local(struct td_buf *b, struct td_str local)
{
	bool plain = local.len > 0;

	for (size_t i = 0; i < local.len && plain; i++)
		plain = is_dot_atom((unsigned char)local.p[i]);
	if (plain) {
		td_buf_adds(b, local);
		return;
	}
	td_buf_addc(b, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			td_buf_addc(b, '\\');
		td_buf_addc(b, local.p[i]);
	}
	td_buf_addc(b, '"');
}

/* RFC 5321 2.3.5 domains know no case; U-labels are folded as Unicode. */
static bool
take_domain(struct td_arena *a, struct td_str d, struct td_str *out)
{
	char *low;

	if (d.len > 0 && d.p[d.len - 1] == '.')
		d.len--;
	if (d.len == 0 || d.len > PART_MAX || td_str_chr(d, ' ') >= 0 || td_str_chr(d, '@') >= 0 ||
	    td_str_chr(d, '<') >= 0 || td_str_chr(d, '>') >= 0)
		return false;
	if (td_ascii_run(d, 0) == d.len) {
		low = td_arena_strndup(a, d.p, d.len);
		for (size_t i = 0; i < d.len; i++)
			low[i] = g_ascii_tolower(low[i]);
		*out = td_str_trim(td_str(low, strlen(low)));
		return true;
	}
	low = g_utf8_strdown(d.p, (gssize)d.len);
	*out = td_str_trim(td_arena_str(a, td_cstr(low)));
	g_free(low);
	return true;
}

static int
bad_addr(struct td_arena *a, struct milt_addr *out, const char *why, struct td_err *err)
{
	char *full = td_arena_strndup(a, out->raw.p, out->raw.len < 255 ? out->raw.len : 255);

	for (char *p = full; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7F)
			*p = '?';
	out->full = td_cstr(full);
	return td_fail(err, TD_E_INVAL, "bad address %s: %s", td_esc(out->raw), why);
}

int
milt_addr_parse(struct td_arena *a, struct td_str raw, const char *seps, struct milt_addr *out,
		struct td_err *err)
{
	struct td_buf local = { 0 }, full = { 0 };
	struct td_str s = strip_path(raw), rest = TD_STR_NULL;
	struct milt_addr r = { .raw = td_arena_str(a, raw) };
	size_t cut;

	*out = r;
	r.full = r.local = r.user = TD_STR("");
	r.domain = TD_STR("");
	r.valid = true;
	if (s.p == NULL || s.len == 0) {
		*out = r;
		return 0;
	}
	if (has_control(s) || !td_utf8_valid(s))
		return bad_addr(a, out, "controls or broken UTF-8", err);
	if (!take_local(s, &local, &rest) || local.len == 0 || local.len > PART_MAX ||
	    (rest.len > 0 && !take_domain(a, td_str(rest.p + 1, rest.len - 1), &r.domain))) {
		td_buf_fini(&local);
		return bad_addr(a, out, "not local@domain", err);
	}
	r.local = td_arena_str(a, td_buf_str(&local));
	add_local(&full, r.local);
	if (r.domain.len > 0) {
		td_buf_addc(&full, '@');
		td_buf_adds(&full, r.domain);
	}
	r.full = td_arena_str(a, td_buf_str(&full));
	for (size_t i = 0; i < r.full.len; i++)
		r.utf8 = r.utf8 || (unsigned char)r.full.p[i] >= 0x80;
	seps = seps != NULL ? seps : "+";
	/* a separator in front starts no detail: "+49..@x" is a user */
	for (cut = 1; cut < r.local.len && strchr(seps, r.local.p[cut]) == NULL; cut++)
		;
	r.user = td_str(r.local.p, cut < r.local.len ? cut : r.local.len);
	if (cut < r.local.len)
		r.detail = td_str(r.local.p + cut + 1, r.local.len - cut - 1);
	td_buf_fini(&local);
	td_buf_fini(&full);
	*out = r;
	return 0;
}
