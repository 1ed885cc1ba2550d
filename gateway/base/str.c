/* str - counted strings, growing buffers and escapes. */
#include "gateway/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>
#include <openssl/crypto.h>

/* ---- memory ---- */

static void
die_oom(void)
{
	static const char msg[] = "tandem: out of memory\n";

	fputs(msg, stderr);
	abort();
}

void *
td_alloc(size_t n)
{
	void *p = malloc(n > 0 ? n : 1);

	if (p == NULL)
		die_oom();
	return p;
}

void *
td_zalloc(size_t n)
{
	void *p = calloc(1, n > 0 ? n : 1);

	if (p == NULL)
		die_oom();
	return p;
}

void *
td_realloc(void *p, size_t n)
{
	p = realloc(p, n > 0 ? n : 1);
	if (p == NULL)
		die_oom();
	return p;
}

char *
td_strndup(struct td_str s)
{
	char *p = td_alloc(s.len + 1);

	if (s.len > 0)
		memcpy(p, s.p, s.len);
	p[s.len] = '\0';
	return p;
}

char *
td_strdup(const char *s)
{
	return td_strndup(td_cstr(s));
}

void
td_wipe(void *p, size_t n)
{
	if (p != NULL)
		OPENSSL_cleanse(p, n);
}

void
td_random(void *p, size_t n)
{
	unsigned char *c = p;

	while (n > 0) {
		ssize_t r = getrandom(c, n, 0);

		if (r < 0) {
			if (errno == EINTR)
				continue;
			abort();
		}
		c += r;
		n -= (size_t)r;
	}
}

void
td_random_id(char *out, size_t n)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	/* drawn ahead: an id is not worth a system call; used bytes are wiped */
	static _Thread_local unsigned char pool[256];
	static _Thread_local size_t left;

	for (size_t i = 0; i < n; i++) {
		if (left == 0) {
			td_random(pool, sizeof(pool));
			left = sizeof(pool);
		}
		left--;
		out[i] = alphabet[pool[left] & 31];
		pool[left] = 0;
	}
	out[n] = '\0';
}

/* ---- strings ---- */

bool
td_str_ieq(struct td_str a, struct td_str b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

bool
td_str_starts(struct td_str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len >= n && memcmp(s.p, prefix, n) == 0;
}

bool
td_str_ends(struct td_str s, const char *suffix)
{
	size_t n = strlen(suffix);

	return s.len >= n && memcmp(s.p + s.len - n, suffix, n) == 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct td_str
td_str_trim(struct td_str s)
{
	while (s.len > 0 && is_blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

ptrdiff_t
td_str_chr(struct td_str s, char c)
{
	const char *p = s.len > 0 ? memchr(s.p, c, s.len) : NULL;

	return p != NULL ? p - s.p : -1;
}

struct td_str
td_str_cut(struct td_str *s, char sep)
{
	ptrdiff_t at = td_str_chr(*s, sep);
	struct td_str out = td_str(s->p, at < 0 ? s->len : (size_t)at);
	size_t used = out.len + (at >= 0);

	*s = td_str(s->p + used, s->len - used);
	return out;
}

static bool
to_i64(struct td_str s, int base, int64_t min, int64_t max, int64_t *out)
{
	char tmp[32], *end;
	long long v;

	/* blanks of any kind, which strtoll skips, are none */
	if (s.len == 0 || s.len >= sizeof(tmp) || isspace((unsigned char)s.p[0]))
		return false;
	memcpy(tmp, s.p, s.len);
	tmp[s.len] = '\0';
	errno = 0;
	v = strtoll(tmp, &end, base);
	if (errno != 0 || end != tmp + s.len || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool
td_str_to_i64(struct td_str s, int64_t min, int64_t max, int64_t *out)
{
	return to_i64(s, 0, min, max, out);
}

bool
td_str_to_dec(struct td_str s, int64_t min, int64_t max, int64_t *out)
{
	return to_i64(s, 10, min, max, out);
}

/* SipHash-2-4 (Aumasson, Bernstein). */
#define ROTL(x, b) (uint64_t)(((x) << (b)) | ((x) >> (64 - (b))))
#define SIPROUND                   \
	do {                       \
		v0 += v1;          \
		v1 = ROTL(v1, 13); \
		v1 ^= v0;          \
		v0 = ROTL(v0, 32); \
		v2 += v3;          \
		v3 = ROTL(v3, 16); \
		v3 ^= v2;          \
		v0 += v3;          \
		v3 = ROTL(v3, 21); \
		v3 ^= v0;          \
		v2 += v1;          \
		v1 = ROTL(v1, 17); \
		v1 ^= v2;          \
		v2 = ROTL(v2, 32); \
	} while (0)

static uint64_t sip_key[2];
static pthread_once_t sip_once = PTHREAD_ONCE_INIT;

static void
sip_seed(void)
{
	td_random(sip_key, sizeof(sip_key));
}

uint64_t
td_str_hash(struct td_str s)
{
	uint64_t v0, v1, v2, v3, m, b = (uint64_t)s.len << 56;
	size_t i = 0;

	pthread_once(&sip_once, sip_seed);
	v0 = sip_key[0] ^ 0x736f6d6570736575ULL;
	v1 = sip_key[1] ^ 0x646f72616e646f6dULL;
	v2 = sip_key[0] ^ 0x6c7967656e657261ULL;
	v3 = sip_key[1] ^ 0x7465646279746573ULL;
	for (; i + 8 <= s.len; i += 8) {
		memcpy(&m, s.p + i, 8);
		v3 ^= m;
		SIPROUND;
		SIPROUND;
		v0 ^= m;
	}
	m = 0;
	if (s.len > i)
		memcpy(&m, s.p + i, s.len - i);
	b |= m;
	v3 ^= b;
	SIPROUND;
	SIPROUND;
	v0 ^= b;
	v2 ^= 0xff;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

/* ---- UTF-8 ---- */

/* Decode one code point of <s> at <i>; return its length, or 0 if malformed. */
static size_t
utf8_next(struct td_str s, size_t i, uint32_t *cp)
{
	const unsigned char *p = (const unsigned char *)s.p + i;
	size_t left = s.len - i, n;
	uint32_t c = p[0];

	if (c < 0x80) {
		*cp = c;
		return 1;
	}
	if (c >= 0xC2 && c <= 0xDF)
		n = 2;
	else if ((c & 0xF0) == 0xE0)
		n = 3;
	else if (c >= 0xF0 && c <= 0xF4)
		n = 4;
	else
		return 0;
	if (left < n)
		return 0;
	c &= 0xFFu >> (n + 1);
	for (size_t k = 1; k < n; k++) {
		if ((p[k] & 0xC0) != 0x80)
			return 0;
		c = (c << 6) | (p[k] & 0x3Fu);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF))) ||
	    (n == 4 && (c < 0x10000 || c > 0x10FFFF)))
		return 0;
	*cp = c;
	return n;
}

size_t
td_ascii_run(struct td_str s, size_t i)
{
	size_t from = i;
	uint64_t w;

	for (; i + sizeof(w) <= s.len; i += sizeof(w)) {
		memcpy(&w, s.p + i, sizeof(w));
		if (w & UINT64_C(0x8080808080808080))
			break;
	}
	while (i < s.len && (unsigned char)s.p[i] < 0x80)
		i++;
	return i - from;
}

bool
td_utf8_valid(struct td_str s)
{
	uint32_t cp;

	for (size_t i = td_ascii_run(s, 0); i < s.len; i += td_ascii_run(s, i)) {
		size_t n = utf8_next(s, i, &cp);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

size_t
td_utf8_cut(struct td_str s, size_t max)
{
	if (s.len <= max)
		return s.len;
	while (max > 0 && ((unsigned char)s.p[max] & 0xC0) == 0x80)
		max--;
	return max;
}

/* ---- buffers ---- */

void
td_buf_fini(struct td_buf *b)
{
	free(b->p);
	*b = (struct td_buf){ 0 };
}

char *
td_buf_grow(struct td_buf *b, size_t n)
{
	size_t cap = b->cap > 0 ? b->cap : 128;

	while (cap - b->len < n)
		cap *= 2;
	b->p = td_realloc(b->p, cap);
	b->cap = cap;
	return b->p + b->len;
}

void
td_buf_vaddf(struct td_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	char small[256];
	int n;

	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n >= 0 && (size_t)n < sizeof(small)) {
		td_buf_add(b, small, (size_t)n);
	} else if (n >= 0) {
		char *p = td_buf_reserve(b, (size_t)n + 1);

		(void)vsnprintf(p, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
td_buf_addf(struct td_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	td_buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void
td_buf_drain(struct td_buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->p, b->p + n, b->len - n);
	b->len -= n;
}

char *
td_buf_cstr(struct td_buf *b)
{
	*td_buf_reserve(b, 1) = '\0';
	return b->p;
}

/* Bytes that td_buf_add_xml copies as they are: ASCII but for the five specials and C0 controls. */
static const bool xml_plain[256] = {
	['\t'] = true,          ['\n'] = true, [0x20 ... 0x21] = true, [0x23 ... 0x25] = true,
	[0x28 ... 0x3B] = true, ['='] = true,  [0x3F ... 0x7F] = true,
};

static void
add_xml_char(struct td_buf *b, uint32_t cp, const char *raw, size_t n)
{
	switch (cp) {
	case '&': td_buf_addz(b, "&amp;"); return;
	case '<': td_buf_addz(b, "&lt;"); return;
	case '>': td_buf_addz(b, "&gt;"); return;
	case '"': td_buf_addz(b, "&quot;"); return;
	case '\'': td_buf_addz(b, "&apos;"); return;
	case '\r': td_buf_addz(b, "&#13;"); return;
	}
	if (cp < 0x20 || cp == 0xFFFE || cp == 0xFFFF)
		td_buf_addz(b, "\xEF\xBF\xBD");
	else
		td_buf_add(b, raw, n);
}

void
td_buf_add_attr(struct td_buf *b, const char *name, struct td_str value)
{
	if (value.p == NULL)
		return;
	td_buf_addf(b, " %s='", name);
	td_buf_add_xml(b, value);
	td_buf_addc(b, '\'');
}

void
td_buf_add_xml(struct td_buf *b, struct td_str s)
{
	size_t run = 0;

	for (size_t i = 0; i < s.len;) {
		uint32_t cp = 0;
		size_t n;

		if (xml_plain[(unsigned char)s.p[i]]) {
			i++;
			continue;
		}
		td_buf_add(b, s.p + run, i - run);
		n = utf8_next(s, i, &cp);
		if (n == 0) {
			td_buf_addz(b, "\xEF\xBF\xBD");
			n = 1;
		} else {
			add_xml_char(b, cp, s.p + i, n);
		}
		i += n;
		run = i;
	}
	if (s.len > run)
		td_buf_add(b, s.p + run, s.len - run);
}

void
td_buf_add_json(struct td_buf *b, struct td_str s)
{
	td_buf_addc(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			td_buf_addf(b, "\\%c", c);
		else if (c == '\n')
			td_buf_addz(b, "\\n");
		else if (c < 0x20 || c == 0x7F)
			td_buf_addf(b, "\\u%04x", c);
		else
			td_buf_addc(b, (char)c);
	}
	td_buf_addc(b, '"');
}

void
td_buf_add_hex(struct td_buf *b, const void *p, size_t n)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		td_buf_addf(b, "%02x", c[i]);
}

void
td_buf_add_base64(struct td_buf *b, const void *p, size_t n)
{
	static const char t[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)c[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)c[i + 1] << 8;
		if (i + 2 < n)
			v |= c[i + 2];
		td_buf_addc(b, t[v >> 18]);
		td_buf_addc(b, t[(v >> 12) & 63]);
		td_buf_addc(b, i + 1 < n ? t[(v >> 6) & 63] : '=');
		td_buf_addc(b, i + 2 < n ? t[v & 63] : '=');
	}
}

static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int
td_base64_decode(struct td_str in, struct td_buf *out)
{
	size_t start = out->len;

	if (in.len % 4 != 0)
		return -1;
	for (size_t i = 0; i < in.len; i += 4) {
		size_t pad = 0;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = b64_value(in.p[i + k]);

			if (d < 0) {
				if (in.p[i + k] != '=' || i + 4 != in.len || k < 2)
					goto bad;
				pad++;
				d = 0;
			} else if (pad > 0) {
				goto bad;
			}
			v = (v << 6) | (uint32_t)d;
		}
		if ((pad == 1 && (v & 0xFF) != 0) || (pad == 2 && (v & 0xFFFF) != 0))
			goto bad; /* RFC 4648 3.5: pad bits must be zero */
		td_buf_addc(out, (char)(v >> 16));
		if (pad < 2)
			td_buf_addc(out, (char)(v >> 8));
		if (pad < 1)
			td_buf_addc(out, (char)v);
	}
	return 0;
bad:
	out->len = start;
	return -1;
}

bool
td_hex_decode(struct td_str in, unsigned char *out, size_t outlen)
{
	if (in.len != outlen * 2)
		return false;
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];
		int v = isdigit(c) ? c - '0' : isxdigit(c) ? (tolower(c) - 'a' + 10) : -1;

		if (v < 0)
			return false;
		out[i / 2] = (unsigned char)(i % 2 == 0 ? v << 4 : out[i / 2] | v);
	}
	return true;
}
