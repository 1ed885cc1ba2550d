/* str - counted strings, growing buffers, and the escapes every layer needs.
 * Thread: any; touches only its arguments.
 *
 * Bytes from the wire are a struct td_str (not NUL-terminated unless said so);
 * char * always means NUL-terminated. */
#ifndef TD_STR_H
#define TD_STR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <string.h>

struct td_arena;

struct td_str {
	const char *p;
	size_t len;
};

/* A td_str over a string literal; TD_STR_NULL has p == NULL ("absent"). */
#define TD_STR(lit) ((struct td_str){ "" lit, sizeof(lit) - 1 })
#define TD_STR_NULL ((struct td_str){ NULL, 0 })
/* For printf("%.*s"): TD_STR_ARG(s). */
#define TD_STR_ARG(s) (int)(s).len, ((s).p != NULL ? (s).p : "")

static inline struct td_str
td_str(const char *p, size_t len)
{
	return (struct td_str){ p, len };
}

/* View of a NUL-terminated string; NULL gives TD_STR_NULL. */
static inline struct td_str
td_cstr(const char *s)
{
	return (struct td_str){ s, s != NULL ? strlen(s) : 0 };
}

static inline bool
td_str_eq(struct td_str a, struct td_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool
td_str_eqc(struct td_str a, const char *b)
{
	return td_str_eq(a, td_cstr(b));
}

bool td_str_ieq(struct td_str a, struct td_str b); /* ASCII case folded */
/* Cut off what is before the next <sep> (else all) and take that away, too. */
struct td_str td_str_cut(struct td_str *s, char sep);
bool td_str_starts(struct td_str s, const char *prefix);
bool td_str_ends(struct td_str s, const char *suffix);
struct td_str td_str_trim(struct td_str s); /* blanks, tabs, CR, LF */
/* Index of byte <c>, or -1. */
ptrdiff_t td_str_chr(struct td_str s, char c);
/* Parse a decimal/0x/0-leading number in [min, max]; false when it is none.  For what people write in files. */
bool td_str_to_i64(struct td_str s, int64_t min, int64_t max, int64_t *out);
/* Decimal whatever it begins with, as every protocol means it. */
bool td_str_to_dec(struct td_str s, int64_t min, int64_t max, int64_t *out);
/* SipHash-2-4 with a per-process random key: safe for keys peers choose. */
uint64_t td_str_hash(struct td_str s);
/* How many bytes of <s> from <i> on are ASCII, one after the other. */
size_t td_ascii_run(struct td_str s, size_t i);
/* True when all of <s> is well-formed UTF-8 (no surrogates, no overlongs). */
bool td_utf8_valid(struct td_str s);
/* Largest n <= <max> such that the first n bytes end on a UTF-8 boundary. */
size_t td_utf8_cut(struct td_str s, size_t max);

/* A growing byte buffer.  Zero-initialised is empty; td_buf_fini frees.
 * Running out of memory ends the process (style: limits come before). */
struct td_buf {
	char *p;
	size_t len, cap;
};
void td_buf_fini(struct td_buf *b);
static inline void
td_buf_clear(struct td_buf *b)
{
	b->len = 0;
}
/* Make room for <n> more bytes; return where to write them. */
char *td_buf_grow(struct td_buf *b, size_t n);
static inline char *
td_buf_reserve(struct td_buf *b, size_t n)
{
	return b->cap - b->len < n ? td_buf_grow(b, n) : b->p + b->len;
}
static inline void
td_buf_add(struct td_buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	memcpy(td_buf_reserve(b, n), p, n);
	b->len += n;
}
static inline void
td_buf_adds(struct td_buf *b, struct td_str s)
{
	td_buf_add(b, s.p, s.len);
}
static inline void
td_buf_addc(struct td_buf *b, char c)
{
	*td_buf_reserve(b, 1) = c;
	b->len++;
}
static inline void
td_buf_addz(struct td_buf *b, const char *s)
{
	td_buf_add(b, s, strlen(s));
}
void td_buf_addf(struct td_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void td_buf_vaddf(struct td_buf *b, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
/* Drop the first <n> bytes. */
void td_buf_drain(struct td_buf *b, size_t n);
/* NUL-terminate (the NUL is not counted) and return the bytes. */
char *td_buf_cstr(struct td_buf *b);
static inline struct td_str
td_buf_str(const struct td_buf *b)
{
	return (struct td_str){ b->p, b->len };
}

/* Append <s> with & < > " ' replaced by entities; code points XML 1.0 forbids
 * become U+FFFD.  Safe in text and in attribute values. */
void td_buf_add_xml(struct td_buf *b, struct td_str s);
/* An XML attribute with a blank before it; none when value.p is NULL. */
void td_buf_add_attr(struct td_buf *b, const char *name, struct td_str value);
/* Append <s> as a JSON string with its quotes. */
void td_buf_add_json(struct td_buf *b, struct td_str s);
void td_buf_add_hex(struct td_buf *b, const void *p, size_t n);
void td_buf_add_base64(struct td_buf *b, const void *p, size_t n);
/* Strict base64 (RFC 4648 section 4, padding required); -1 when malformed. */
int td_base64_decode(struct td_str in, struct td_buf *out);
/* Decode hex digits; false on odd length or a foreign character. */
bool td_hex_decode(struct td_str in, unsigned char *out, size_t outlen);

/* malloc family that ends the process instead of returning NULL. */
void *td_alloc(size_t n) __attribute__((malloc, alloc_size(1)));
void *td_zalloc(size_t n) __attribute__((malloc, alloc_size(1)));
void *td_realloc(void *p, size_t n);
char *td_strdup(const char *s);
char *td_strndup(struct td_str s);
void td_wipe(void *p, size_t n); /* not optimised away: for secrets */
/* Fill with bytes of the kernel's generator. */
void td_random(void *p, size_t n);
/* <n> random characters of [a-z2-7] plus NUL into out[n + 1]. */
void td_random_id(char *out, size_t n);
#endif
