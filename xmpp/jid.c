/* jid - addresses.  Main path: split at the first '/' and then at the first '@', prepare each
 * part into a buffer on the stack, copy the whole once into the arena.  ASCII is prepared by
 * one table pass per part; only other input reaches libidn.
 *
 * The surprising thing: domains follow IDNA2003 (RFC 6122), so "straße.de" is "strasse.de"; an
 * A-label that only IDNA2008 can decode stays an A-label, for it could not be told from the
 * IDNA2003 mapping once decoded. */
#include "xmpp/jid.h"

#include <stdlib.h>
#include <arpa/inet.h>
#include <idna.h> /* before idn2.h, which else redefines its names */
#include <idn2.h>

#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/jid_priv.h"

#define PART_MAX PREP_IN_MAX
#define JID_MAX (3 * PART_MAX + 2)
#define LABEL_MAX 63u
/* Room while preparing: case folding makes at most 3 of 1, NFKC up to 18 (U+FDFA); what NFKC
 * makes longer than this is longer than PART_MAX in any case. */
#define PREP_POINTS 4096u

/* ---- ASCII ---- */

#define C_LOCAL 0x01
#define C_DOMAIN 0x02
#define C_RES 0x04
#define C_UPPER 0x20 /* also the bit that folds it */
#define C_LR (C_LOCAL | C_RES)
#define C_ALL (C_LR | C_DOMAIN)

/* What each part may hold as it is: nodeprep, LDH, resourceprep. */
static const unsigned char ascii_class[256] = {
	[' '] = C_RES,
	['!'] = C_LR,
	['"'] = C_RES,
	['#' ... '%'] = C_LR,
	['&' ... '\''] = C_RES,
	['(' ... ','] = C_LR,
	['-' ... '.'] = C_ALL,
	['/'] = C_RES,
	['0' ... '9'] = C_ALL,
	[':'] = C_RES,
	[';'] = C_LR,
	['<'] = C_RES,
	['='] = C_LR,
	['>'] = C_RES,
	['?'] = C_LR,
	['@'] = C_RES,
	['A' ... 'Z'] = C_ALL | C_UPPER,
	['[' ... '`'] = C_LR,
	['a' ... 'z'] = C_ALL,
	['{' ... '~'] = C_LR,
};

/* Copy <in> to <out>, lower-cased if fold is C_UPPER; false when a byte is not of <want>. */
static inline bool
map_ascii(struct td_str in, unsigned want, unsigned fold, char *out)
{
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];
		unsigned cls = ascii_class[c];

		want &= cls;
		out[i] = (char)(c | (cls & fold));
	}
	return want != 0;
}

/* ---- stringprep ---- */

static const char *
prep_reason(int rc)
{
	switch (rc) {
	case STRINGPREP_CONTAINS_UNASSIGNED: return "unassigned code point";
	case STRINGPREP_CONTAINS_PROHIBITED: return "forbidden character";
	case STRINGPREP_BIDI_BOTH_L_AND_RAL:
	case STRINGPREP_BIDI_LEADTRAIL_NOT_RAL:
	case STRINGPREP_BIDI_CONTAINS_PROHIBITED: return "mixed writing directions";
	case STRINGPREP_TOO_SMALL_BUFFER: return "too long";
	default: return "cannot be prepared";
	}
}

/* Well-formed UTF-8 to code points; returns how many (at most PREP_IN_MAX). */
static size_t
decode(struct td_str in, uint32_t *cp)
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; n++) {
		unsigned char c = (unsigned char)in.p[i];
		size_t len = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
		char one[8] = { 0 }; /* the view is not NUL-terminated, libidn looks ahead */

		memcpy(one, in.p + i, len);
		cp[n] = stringprep_utf8_to_unichar(one);
		i += len;
	}
	return n;
}

static int
encode(const uint32_t *cp, size_t n, char *out, size_t cap, size_t *len_out)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		char one[8];
		int k = stringprep_unichar_to_utf8(cp[i], one);

		if (k <= 0 || (size_t)k > cap - len)
			return -1;
		memcpy(out + len, one, (size_t)k);
		len += (size_t)k;
	}
	*len_out = len;
	return 0;
}

int
xmpp_prep(const Stringprep_profile *profile, bool query, struct td_str in, char *out, size_t cap,
	  size_t *len_out, const char **why_out)
{
	uint32_t cp[PREP_POINTS];
	size_t n;
	int rc;

	*why_out = "too long";
	if (in.len > PREP_IN_MAX) /* before and after: NFKC is quadratic in combining marks */
		return -1;
	*why_out = "not UTF-8";
	if (!td_utf8_valid(in) || td_str_chr(in, '\0') >= 0)
		return -1;
	n = decode(in, cp);
	/* Not stringprep(): it grows its buffer by 50 points at a time and starts over. */
	rc = stringprep_4i(cp, &n, PREP_POINTS, query ? 0 : STRINGPREP_NO_UNASSIGNED, profile);
	if (rc != STRINGPREP_OK) {
		*why_out = prep_reason(rc);
		n = PREP_POINTS; /* libidn does not say how far it got */
	} else {
		*why_out = "too long";
		rc = encode(cp, n, out, cap, len_out);
	}
	td_wipe(cp, n * sizeof(cp[0])); /* it may be a password */
	return rc == 0 ? 0 : -1;
}

/* A part that stringprep prepares. */
struct part {
	const char *name;
	const Stringprep_profile *profile;
	unsigned want, fold; /* for map_ascii */
	bool unassigned;     /* code points newer than Unicode 3.2 are let through */
};

static const struct part part_local = { "local part", stringprep_xmpp_nodeprep, C_LOCAL, C_UPPER,
					false };
/* today's emoji are common in resources and nicknames, and they name no account */
static const struct part part_resource = { "resource", stringprep_xmpp_resourceprep, C_RES, 0,
					   true };

/* Write <in> prepared to out[PART_MAX]. */
static int
prep_part(const struct part *part, struct td_str in, char *out, size_t *len, struct td_err *err)
{
	const char *why;

	if (in.len == 0)
		return td_fail(err, TD_E_INVAL, "%s: empty", part->name);
	if (in.len <= PART_MAX && map_ascii(in, part->want, part->fold, out)) {
		*len = in.len;
		return 0;
	}
	if (xmpp_prep(part->profile, part->unassigned, in, out, PART_MAX, len, &why) < 0)
		return td_fail(err, TD_E_INVAL, "%s: %s", part->name, why);
	if (*len == 0)
		return td_fail(err, TD_E_INVAL, "%s: empty", part->name);
	return 0;
}

/* ---- domains ---- */

enum labels {
	LABELS_BAD = 0,
	LABELS_PLAIN,
	LABELS_IDNA, /* at least one starts with xn-- */
};

/* RFC 1034 3.5 syntax (RFC 3490 UseSTD3ASCIIRules) of lower-case LDH; *len loses a final dot. */
static enum labels
check_labels(const char *d, size_t *len)
{
	enum labels res = LABELS_PLAIN;
	size_t n = *len, start = 0;

	if (n > 0 && d[n - 1] == '.')
		n--;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && d[i] != '.')
			continue;
		if (i == start || i - start > LABEL_MAX || d[start] == '-' || d[i - 1] == '-')
			return LABELS_BAD;
		if (i - start > 4 && memcmp(d + start, "xn--", 4) == 0)
			res = LABELS_IDNA;
		start = i + 1;
	}
	*len = n;
	return res;
}

/* Labels IDNA2003 left encoded must at least be good A-labels of IDNA2008. */
static bool
check_a_labels(const char *domain)
{
	const char *p = domain;

	while (*p != '\0') {
		size_t n = strcspn(p, ".");

		if (n > 4 && n <= LABEL_MAX && memcmp(p, "xn--", 4) == 0) {
			uint8_t label[LABEL_MAX + 1], *res = NULL;
			int rc;

			memcpy(label, p, n);
			label[n] = '\0';
			rc = idn2_lookup_u8(label, &res, IDN2_NONTRANSITIONAL);
			idn2_free(res);
			if (rc != IDN2_OK)
				return false;
		}
		p += n;
		if (*p == '.')
			p++;
	}
	return true;
}

/* The long way: ToASCII checks every label, ToUnicode gives the canonical form. */
static const char *
prep_idna(struct td_str in, char *out, size_t *len)
{
	char raw[PART_MAX + 1], *ascii = NULL, *uni = NULL;
	const char *why = "not a domain name";
	size_t n;

	if (!td_utf8_valid(in) || td_str_chr(in, '\0') >= 0)
		return "not UTF-8";
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];

		raw[i] = (char)(c | (ascii_class[c] & C_UPPER));
	}
	raw[in.len] = '\0';
	if (idna_to_ascii_8z(raw, &ascii, IDNA_USE_STD3_ASCII_RULES) != IDNA_SUCCESS)
		goto out;
	n = strlen(ascii);
	if (n > PART_MAX || !map_ascii(td_str(ascii, n), C_DOMAIN, C_UPPER, ascii) ||
	    check_labels(ascii, &n) == LABELS_BAD)
		goto out;
	ascii[n] = '\0';
	if (idna_to_unicode_8z8z(ascii, &uni, IDNA_USE_STD3_ASCII_RULES) != IDNA_SUCCESS ||
	    !check_a_labels(uni))
		goto out;
	n = strlen(uni);
	if (n > PART_MAX) {
		why = "too long";
		goto out;
	}
	memcpy(out, uni, n);
	*len = n;
	why = NULL;
out:
	free(ascii);
	free(uni);
	return why;
}

/* "[v6]" in its one canonical spelling. */
static const char *
prep_ipv6(struct td_str in, char *out, size_t *len)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (in.len < 4 || in.len - 2 >= sizeof(text) || in.p[in.len - 1] != ']')
		return "bad IPv6 address";
	memcpy(text, in.p + 1, in.len - 2);
	text[in.len - 2] = '\0';
	if (strlen(text) != in.len - 2 || inet_pton(AF_INET6, text, &addr) != 1 ||
	    inet_ntop(AF_INET6, &addr, text, sizeof(text)) == NULL)
		return "bad IPv6 address";
	*len = strlen(text) + 2;
	out[0] = '[';
	memcpy(out + 1, text, *len - 2);
	out[*len - 1] = ']';
	return NULL;
}

static int
prep_domain(struct td_str in, char *out, size_t *len, struct td_err *err)
{
	const char *why = NULL;
	enum labels kind;

	if (in.p == NULL || in.len == 0)
		return td_fail(err, TD_E_INVAL, "domain: empty");
	if (in.len > PART_MAX)
		return td_fail(err, TD_E_INVAL, "domain: too long");
	if (in.p[0] == '[') {
		why = prep_ipv6(in, out, len);
	} else if (!map_ascii(in, C_DOMAIN, C_UPPER, out)) {
		why = prep_idna(in, out, len);
	} else {
		*len = in.len;
		kind = check_labels(out, len);
		if (kind == LABELS_IDNA)
			why = prep_idna(td_str(out, *len), out, len);
		else if (kind == LABELS_BAD)
			why = "not a domain name";
	}
	return why == NULL ? 0 : td_fail(err, TD_E_INVAL, "domain: %s", why);
}

/* ---- whole addresses ---- */

/* Point <out> into <full>; lengths as prepared, 0 = part absent. */
static void
set_views(struct xmpp_jid *out, const char *full, size_t local, size_t domain, size_t resource)
{
	size_t at = local > 0 ? local + 1 : 0;
	size_t bare = at + domain;

	out->local = local > 0 ? td_str(full, local) : TD_STR_NULL;
	out->domain = td_str(full + at, domain);
	out->bare = td_str(full, bare);
	out->resource = resource > 0 ? td_str(full + bare + 1, resource) : TD_STR_NULL;
	out->full = td_str(full, resource > 0 ? bare + 1 + resource : bare);
}

int
xmpp_jid_make(struct td_arena *a, struct td_str local, struct td_str domain, struct td_str resource,
	      struct xmpp_jid *out, struct td_err *err)
{
	size_t n = 0, nl = 0, nd = 0, nr = 0;
	char buf[JID_MAX];
	int rc;

	if (local.p != NULL) {
		rc = prep_part(&part_local, local, buf, &nl, err);
		if (rc < 0)
			return rc;
		buf[nl] = '@';
		n = nl + 1;
	}
	rc = prep_domain(domain, buf + n, &nd, err);
	if (rc < 0)
		return rc;
	n += nd;
	if (resource.p != NULL) {
		buf[n++] = '/';
		rc = prep_part(&part_resource, resource, buf + n, &nr, err);
		if (rc < 0)
			return rc;
		n += nr;
	}
	set_views(out, td_arena_strndup(a, buf, n), nl, nd, nr);
	return 0;
}

int
xmpp_jid_parse(struct td_arena *a, struct td_str s, struct xmpp_jid *out, struct td_err *err)
{
	struct td_str local = TD_STR_NULL, resource = TD_STR_NULL;
	ptrdiff_t i;

	if (s.len > JID_MAX)
		return td_fail(err, TD_E_INVAL, "address: too long");
	/* RFC 7622 3.2: the slash first, for a resource may hold any '@' and '/'. */
	i = td_str_chr(s, '/');
	if (i >= 0) {
		resource = td_str(s.p + i + 1, s.len - (size_t)i - 1);
		s.len = (size_t)i;
	}
	i = td_str_chr(s, '@');
	if (i >= 0) {
		local = td_str(s.p, (size_t)i);
		s = td_str(s.p + i + 1, s.len - (size_t)i - 1);
	}
	return xmpp_jid_make(a, local, s, resource, out, err);
}

int
xmpp_jid_with_resource(struct td_arena *a, const struct xmpp_jid *j, struct td_str resource,
		       struct xmpp_jid *out, struct td_err *err)
{
	size_t nb = j->bare.len, nl = j->local.len, nd = j->domain.len, nr = 0;
	char buf[JID_MAX];
	int rc;

	memcpy(buf, j->bare.p, nb);
	buf[nb] = '/';
	rc = prep_part(&part_resource, resource, buf + nb + 1, &nr, err);
	if (rc < 0)
		return rc;
	set_views(out, td_arena_strndup(a, buf, nb + 1 + nr), nl, nd, nr);
	return 0;
}

void
xmpp_jid_copy(struct td_arena *a, const struct xmpp_jid *j, struct xmpp_jid *out)
{
	size_t nl = j->local.len, nd = j->domain.len, nr = j->resource.len;

	set_views(out, td_arena_strndup(a, j->full.p, j->full.len), nl, nd, nr);
}

/* ---- XEP-0106 ---- */

/* The character "\hh" at s[i] stands for; 0 when it is no escape.  Case is significant. */
static char
escape_at(struct td_str s, size_t i)
{
	static const char codes[][4] = { " 20", "\"22", "&26", "'27", "/2f",
					 ":3a", "<3c",  ">3e", "@40", "\\5c" };

	if (s.len - i < 3 || s.p[i] != '\\')
		return 0;
	for (size_t k = 0; k < sizeof(codes) / sizeof(codes[0]); k++) {
		if (s.p[i + 1] == codes[k][1] && s.p[i + 2] == codes[k][2])
			return codes[k][0];
	}
	return 0;
}

struct td_str
xmpp_jid_escape(struct td_arena *a, struct td_str s)
{
	static const char hex[] = "0123456789abcdef";
	char *out;
	size_t n = 0;

	/* 4.1 rule 6: \20 must not come first or last, so outer spaces have no escape. */
	while (s.len > 0 && s.p[0] == ' ') {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && s.p[s.len - 1] == ' ')
		s.len--;
	out = td_arena_alloc(a, 3 * s.len + 1);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		/* Rule 7: a backslash only where it would read as an escape. */
		if (c == '\\' ? escape_at(s, i) != 0
			      : c != '\0' && strchr(" \"&'/:<>@", c) != NULL) {
			out[n++] = '\\';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return td_str(out, n);
}

struct td_str
xmpp_jid_unescape(struct td_arena *a, struct td_str s)
{
	char *out = td_arena_alloc(a, s.len + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = escape_at(s, i);

		if (c == ' ' && (i == 0 || i + 3 == s.len))
			c = 0; /* rule 6: here it is no escape */
		out[n++] = c != 0 ? c : s.p[i];
		if (c != 0)
			i += 2;
	}
	out[n] = '\0';
	return td_str(out, n);
}
