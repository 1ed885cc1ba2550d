/* text - charsets, clean-up, format=flowed.  HTML is in html.c. */
#include "milter/text.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>
#include <glib.h>
#include "gateway/base/arena.h"

#define MARKS_MAX 30u
#define ISOLATES_MAX 16u
#define DEPTH_MAX 100u
#define BACK_MAX 200u
#define BAD_MAX 10000u
#define FFFD "\xEF\xBF\xBD"

/* ---- charsets ---- */

/* What a label really means in mail (WHATWG names the same), and which of iconv's many we let a
 * stranger choose: a label must start with one of these. */
static const struct {
	const char *prefix, *use; /* NULL = as it is */
} charsets[] = {
	{ "iso-8859-1", "windows-1252" }, /* only when the whole label is that */
	{ "latin1", "windows-1252" },
	{ "iso-8859-9", "windows-1254" },
	{ "gb2312", "gb18030" },
	{ "gbk", "gb18030" },
	{ "x-gbk", "gb18030" },
	{ "ks_c_5601-1987", "cp949" },
	{ "shift_jis", "cp932" },
	{ "x-sjis", "cp932" },
	{ "big5", "big5-hkscs" },
	{ "x-mac-roman", "macintosh" },
	{ "tis-620", "cp874" },
	{ "iso-8859-", NULL },
	{ "windows-", NULL },
	{ "cp", NULL },
	{ "ibm8", NULL },
	{ "koi8-", NULL },
	{ "gb18030", NULL },
	{ "hz-gb", NULL },
	{ "big5-hkscs", NULL },
	{ "euc-", NULL },
	{ "iso-2022-jp", NULL },
	{ "iso-2022-kr", NULL },
	{ "utf-16", NULL },
	{ "utf-32", NULL },
	{ "utf-7", NULL },
	{ "macintosh", NULL },
	{ "viscii", NULL },
};

static const char *
iconv_name(const char *label)
{
	size_t n = label != NULL ? strlen(label) : 0;

	if (n == 0 || n > 32 ||
	    strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			  "0123456789-_.") != n)
		return NULL;
	for (size_t i = 0; i < sizeof(charsets) / sizeof(charsets[0]); i++) {
		const char *p = charsets[i].prefix;

		if (charsets[i].use != NULL ? strcasecmp(label, p) == 0
					    : strncasecmp(label, p, strlen(p)) == 0)
			return charsets[i].use != NULL ? charsets[i].use : label;
	}
	return NULL;
}

static bool
convert(struct td_str in, const char *from, struct td_buf *out)
{
	iconv_t cd = iconv_open("UTF-8", from);
	char *src = (char *)(uintptr_t)in.p;
	size_t left = in.len, bad = 0;

	if (cd == (iconv_t)-1)
		return false;
	while (left > 0) {
		char tmp[4096], *dst = tmp;
		size_t room = sizeof(tmp), rc = iconv(cd, &src, &left, &dst, &room);

		td_buf_add(out, tmp, sizeof(tmp) - room);
		if (rc != (size_t)-1 || errno == E2BIG)
			continue;
		td_buf_addz(out, FFFD);
		if (errno != EILSEQ || left == 0 || ++bad > BAD_MAX)
			break; /* EINVAL: cut in the middle of a character */
		src++;
		left--;
	}
	iconv_close(cd);
	return true;
}

/* Length of the well-formed character at s.p[i], or 0; *cp_out is it. */
static size_t
next_char(struct td_str s, size_t i, uint32_t *cp_out)
{
	size_t left = s.len - i < 6 ? s.len - i : 6;
	gunichar c;

	if ((unsigned char)s.p[i] < 0x80) {
		*cp_out = (unsigned char)s.p[i];
		return 1;
	}
	c = g_utf8_get_char_validated(s.p + i, (gssize)left);
	if (c >= 0x110000)
		return 0;
	*cp_out = c;
	return (size_t)(g_utf8_skip[(unsigned char)s.p[i]]);
}

static bool
is_ascii(struct td_str s)
{
	return td_ascii_run(s, 0) == s.len;
}

/* Is there one well-formed character that is not ASCII? */
static bool
has_utf8(struct td_str s)
{
	uint32_t cp;

	for (size_t i = td_ascii_run(s, 0); i < s.len; i++)
		if ((unsigned char)s.p[i] >= 0xC2 && next_char(s, i, &cp) > 1)
			return true;
	return false;
}

static bool
keeps_ascii(const char *name)
{
	return strncasecmp(name, "iso-8859-", 9) == 0 || strncasecmp(name, "windows-", 8) == 0;
}

void
milt_text_decode(struct td_str in, const char *charset, struct td_buf *out)
{
	const char *name = iconv_name(charset);

	if (in.len == 0)
		return;
	/* what most mail is needs no converter: ASCII, in a charset that has it where it is */
	if (name != NULL && !(keeps_ascii(name) && is_ascii(in)) && convert(in, name, out))
		return;
	/* no label, a lie, or UTF-8 with scars: what looks like UTF-8 is */
	if (td_utf8_valid(in) || has_utf8(in))
		td_buf_adds(out, in);
	else if (!convert(in, "windows-1252", out))
		td_buf_adds(out, in);
}

/* ---- cleaning ---- */

enum {
	CC_KEEP = 0,
	CC_DROP,
	CC_NEWLINE,
	CC_OPEN,
	CC_CLOSE,
	CC_MARK
};

static int
class_of(uint32_t c)
{
	if (c == '\n' || c == 0x2028 || c == 0x2029)
		return CC_NEWLINE;
	if ((c < 0x20 && c != '\t') || (c >= 0x7F && c < 0xA0))
		return CC_DROP;
	if (c < 0x300)
		return CC_KEEP;
	if ((c >= 0x202A && c <= 0x202E) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
	    (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE || c == 0xE0001)
		return CC_DROP;
	if (c >= 0x2066 && c <= 0x2068)
		return CC_OPEN;
	if (c == 0x2069)
		return CC_CLOSE;
	return g_unichar_ismark(c) || g_unichar_combining_class(c) != 0 ? CC_MARK : CC_KEEP;
}

struct cleaner {
	struct td_buf *out;
	unsigned isolates, marks;
};

static void
end_line(struct cleaner *k)
{
	for (; k->isolates > 0; k->isolates--)
		td_buf_addz(k->out, "\xE2\x81\xA9");
}

static void
clean_char(struct cleaner *k, uint32_t c, const char *p, size_t n)
{
	int cls = class_of(c);

	k->marks = cls == CC_MARK ? k->marks + 1 : 0;
	switch (cls) {
	case CC_DROP: return;
	case CC_NEWLINE:
		end_line(k);
		td_buf_addc(k->out, '\n');
		return;
	case CC_OPEN:
		if (k->isolates >= ISOLATES_MAX)
			return;
		k->isolates++;
		break;
	case CC_CLOSE:
		if (k->isolates == 0)
			return;
		k->isolates--;
		break;
	case CC_MARK:
		/* also keeps normalisation, which sorts marks, from going quadratic */
		if (k->marks > MARKS_MAX)
			return;
		break;
	}
	td_buf_add(k->out, p, n);
}

/* May a segment begin here?  Not with what could combine with the character before: marks, and
 * the vowels and finals of Hangul. */
static bool
starts_segment(uint32_t c)
{
	return !(c >= 0x1100 && c <= 0x11FF) && !g_unichar_ismark(c) &&
	       g_unichar_combining_class(c) == 0;
}

/* NFC of out[start..], in segments: GLib moves the rest of its input for each pair it joins. */
static void
normalize(struct td_buf *out, size_t start)
{
	struct td_str s = td_str(out->p + start, out->len - start);
	struct td_buf b = { 0 };
	bool plain = true;
	size_t from = 0;

	for (size_t i = 0; i <= s.len;) {
		uint32_t c = 0;
		size_t n = i < s.len ? next_char(s, i, &c) : 1;

		if (i == s.len || (i - from >= 64 && starts_segment(c))) {
			char *nfc = plain ? NULL
					  : g_utf8_normalize(s.p + from, (gssize)(i - from),
							     G_NORMALIZE_NFC);

			if (nfc != NULL)
				td_buf_addz(&b, nfc);
			else
				td_buf_add(&b, s.p + from, i - from);
			g_free(nfc);
			from = i;
			plain = true;
		}
		plain = plain && c < 0x80;
		i += n > 0 ? n : 1;
	}
	out->len = start;
	td_buf_adds(out, td_buf_str(&b));
	td_buf_fini(&b);
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Bytes of <s> from <i> on that stay as they are: ASCII without controls, except tabs. */
static size_t
plain_run(struct td_str s, size_t i)
{
	size_t from = i;

	for (;;) {
		unsigned char c;
		uint64_t w, del;

		for (; i + sizeof(w) <= s.len; i += sizeof(w)) {
			memcpy(&w, s.p + i, sizeof(w));
			del = w ^ EACH_BYTE(0x7F);
			/* a byte under 0x20, over 0x7F, or 0x7F (a zero of del) */
			if ((((w - EACH_BYTE(0x20)) & ~w) | w | ((del - EACH_BYTE(1)) & ~del)) &
			    EACH_BYTE(0x80))
				break;
		}
		for (size_t k = 0; k < sizeof(w) && i < s.len; k++, i++) {
			c = (unsigned char)s.p[i];
			if ((c < 0x20 && c != '\t') || c >= 0x7F)
				return i - from;
		}
		if (i == s.len)
			return i - from;
	}
}

void
milt_text_clean(struct td_str in, struct td_buf *out)
{
	struct cleaner k = { .out = out };
	size_t start = out->len;

	if (in.len > 0)
		(void)td_buf_reserve(out, in.len);
	for (size_t i = 0; i < in.len;) {
		size_t n = plain_run(in, i);
		uint32_t c = 0;

		if (n > 0) {
			td_buf_add(out, in.p + i, n);
			k.marks = 0;
			i += n;
			continue;
		}
		n = next_char(in, i, &c);
		if (n == 0) {
			td_buf_addz(out, FFFD);
			k.marks = 0;
			i++;
			continue;
		}
		if (c == '\r') {
			c = '\n';
			n = i + 1 < in.len && in.p[i + 1] == '\n' ? 2 : 1;
		}
		clean_char(&k, c, in.p + i, n);
		i += n;
	}
	end_line(&k);
	if (out->len > start && !is_ascii(td_str(out->p + start, out->len - start)))
		normalize(out, start);
}

struct td_str
milt_text_line(struct td_arena *a, struct td_str in)
{
	struct td_buf b = { 0 };
	struct td_str r;
	bool fold = false;
	size_t o = 0;

	milt_text_clean(in, &b);
	for (size_t i = 0; i < b.len; i++) {
		char c = b.p[i] == '\n' || b.p[i] == '\t' ? ' ' : b.p[i];

		fold = c != b.p[i] || (fold && c == ' ');
		if (fold && o > 0 && b.p[o - 1] == ' ')
			continue;
		b.p[o++] = c;
	}
	r = td_arena_str(a, td_str_trim(td_str(b.p != NULL ? b.p : "", o)));
	td_buf_fini(&b);
	return r;
}

/* ---- cutting ---- */

/* Does <c> belong to the character before it? */
static bool
extends(uint32_t c)
{
	return c == 0x200D || c == 0xFE0F || (c >= 0x1F3FB && c <= 0x1F3FF) ||
	       (c >= 0xE0020 && c <= 0xE007F) || g_unichar_ismark(c);
}

static bool
is_flag(uint32_t c)
{
	return c >= 0x1F1E6 && c <= 0x1F1FF;
}

static size_t
prev_start(struct td_str s, size_t i)
{
	do
		i--;
	while (i > 0 && ((unsigned char)s.p[i] & 0xC0) == 0x80);
	return i;
}

size_t
milt_text_cut(struct td_str s, size_t max)
{
	size_t cut = td_utf8_cut(s, max), floor = cut > BACK_MAX ? cut - BACK_MAX : 0, plain = cut;

	for (; cut > floor && cut < s.len; cut = prev_start(s, cut)) {
		size_t before = prev_start(s, cut), flags = 0;
		uint32_t c = 0, p = 0;

		if (next_char(s, cut, &c) == 0 || next_char(s, before, &p) == 0)
			return plain;
		if (extends(c) || p == 0x200D)
			continue;
		if (!is_flag(c) || !is_flag(p))
			return cut;
		/* a flag is a pair: an even number may stand before the cut */
		for (size_t i = before; is_flag(p) && flags < BACK_MAX / 4; flags++) {
			if (i == 0) {
				flags++;
				break;
			}
			i = prev_start(s, i);
			if (next_char(s, i, &p) == 0)
				p = 0;
		}
		if (flags % 2 == 0)
			return cut;
	}
	return cut > floor || cut == s.len || floor == 0 ? cut : plain;
}

/* ---- format=flowed (RFC 3676 4) ---- */

void
milt_text_unflow(struct td_str in, bool delsp, struct td_buf *out)
{
	bool open = false; /* the last line was flowed and waits for more */
	size_t depth = 0;

	for (size_t i = 0; i < in.len;) {
		const char *nl = memchr(in.p + i, '\n', in.len - i);
		size_t end = nl != NULL ? (size_t)(nl - in.p) : in.len, next = end + 1, d = 0;
		bool flowed, sig;

		if (end > i && in.p[end - 1] == '\r')
			end--;
		for (; i < end && in.p[i] == '>'; i++)
			d++;
		if (i < end && in.p[i] == ' ')
			i++; /* stuffing */
		d = d < DEPTH_MAX ? d : DEPTH_MAX;
		sig = end - i == 3 && memcmp(in.p + i, "-- ", 3) == 0;
		if (open && (d != depth || sig)) {
			td_buf_addc(out, '\n'); /* 4.5: a change of depth ends the paragraph */
			open = false;
		}
		if (!open)
			for (size_t k = 0; k < d; k++)
				td_buf_addz(out, "> ");
		flowed = !sig && end > i && in.p[end - 1] == ' ';
		td_buf_add(out, in.p + i, end - i - (flowed && delsp));
		if (!flowed && (nl != NULL || open))
			td_buf_addc(out, '\n');
		open = flowed;
		depth = d;
		i = next;
	}
	if (open)
		td_buf_addc(out, '\n');
}
