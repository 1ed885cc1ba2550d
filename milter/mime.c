/* mime - the read side on GMime: guard, parse, walk into a flat list of parts, then choose the
 * text.  No GMime object outlives a call.
 * Only what the guard (guard.c) lets through is parsed. */
#include "milter/mime.h"
#include "milter/mime_priv.h"

#include <iconv.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <gmime/gmime.h>
#include <libxml/parser.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "milter/mail.h"
#include "milter/text.h"

#define TEXT_MAX (256u * 1024)
#define DECODED_MAX (32u * 1024 * 1024)
#define HTML_MAX (1024u * 1024) /* what is looked at of one HTML part */
#define ADDRS_MAX 1000u
#define IDS_MAX 200u
#define ID_LEN_MAX 998u
#define NAME_MAX_BYTES 255u
#define REPORT_RCPTS 100u
#define REPORT_MAX (64u * 1024)
#define VALUE_MAX (64u * 1024)
#define PUNCT_MAX 2000u

static pthread_once_t mime_once = PTHREAD_ONCE_INIT;

/* ---- composing what is parsed ---- */

static bool
is_address_field(struct td_str name)
{
	static const char *const names[] = { "from", "sender", "reply-to", "to", "cc", "bcc" };

	if (name.len > 7 && strncasecmp(name.p, "resent-", 7) == 0)
		name = td_str(name.p + 7, name.len - 7);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (td_str_ieq(name, td_cstr(names[i])))
			return true;
	return false;
}

/* An address list is cut at its 2000th comma or colon: GMime's loose reading of one without
 * any '@' is quadratic in them. */
static struct td_str
cut_addresses(struct td_str v)
{
	unsigned n = 0;

	for (size_t i = 0; i < v.len; i++)
		if ((v.p[i] == ',' || v.p[i] == ':') && ++n > PUNCT_MAX)
			return td_str(v.p, i);
	return v;
}

/* A value as a parser may see it: no NUL, every line after the first begins with a blank. */
static void
add_value(struct td_buf *b, struct td_str value, size_t max)
{
	size_t n = value.len < max ? value.len : max, run;

	for (size_t i = 0; i < n; i += run + 1) {
		run = 0;
		while (i + run < n && value.p[i + run] != '\r' && value.p[i + run] != '\n' &&
		       value.p[i + run] != '\0')
			run++;
		td_buf_add(b, value.p + i, run);
		if (i + run == n || value.p[i + run] != '\n')
			continue;
		td_buf_addc(b, '\n');
		run++;
		if (i + run == n || (value.p[i + run] != ' ' && value.p[i + run] != '\t'))
			td_buf_addc(b, ' ');
		run--;
	}
}

static bool
is_mime_field(struct td_str name)
{
	return (name.len >= 8 && strncasecmp(name.p, "content-", 8) == 0) ||
	       td_str_ieq(name, TD_STR("mime-version"));
}

static void
add_field(struct td_buf *b, struct td_str name, struct td_str value)
{
	td_buf_adds(b, name);
	td_buf_addz(b, ": ");
	if (is_address_field(name))
		value = cut_addresses(value);
	add_value(b, value, is_mime_field(name) ? MILT_TYPE_FIELD : VALUE_MAX);
	td_buf_addc(b, '\n');
}

/* Headers (<all>, or those that say what the body is) and as much of the body as the guard
 * lets through, in a buffer of ours. */
static void
compose(const struct milt_mail *m, bool all, struct td_buf *b, bool *cut)
{
	const struct milt_header *h;
	struct td_str body = td_buf_str(&m->body);
	size_t i = 0, n;
	struct td_str type = TD_STR("");

	while ((h = milt_mail_header(m, TD_STR_NULL, &i)) != NULL) {
		if (all || is_mime_field(h->name))
			add_field(b, h->name, h->value);
		if (td_str_ieq(h->name, TD_STR("content-type")) &&
		    !milt_contains_i(type, "message"))
			type = h->value; /* of several, the one that would cost more */
	}
	td_buf_addc(b, '\n');
	n = milt_mime_guard(body, type);
	*cut = *cut || n < body.len || m->body_cut || m->headers_cut;
	(void)td_buf_reserve(b, n + 1);
	td_buf_add(b, body.p, n);
}

static GMimeParserOptions *
parser_options(void)
{
	static const char *fallback[] = { "utf-8", "windows-1252", NULL };
	GMimeParserOptions *o = g_mime_parser_options_new();

	g_mime_parser_options_set_fallback_charsets(o, fallback);
	g_mime_parser_options_set_allow_addresses_without_domain(o, TRUE);
	return o;
}

/* The message in <raw>, whose memory is taken. */
static GMimeMessage *
parse_bytes(struct td_buf *raw)
{
	GMimeParserOptions *o = parser_options();
	GMimeStream *stream;
	GMimeParser *parser;
	GMimeMessage *msg;

	(void)td_buf_cstr(raw);
	/* g_free is free */
	stream = g_mime_stream_mem_new_with_byte_array(
		g_byte_array_new_take((guint8 *)raw->p, raw->len));
	*raw = (struct td_buf){ 0 };
	parser = g_mime_parser_new_with_stream(stream);
	g_mime_parser_set_format(parser, GMIME_FORMAT_MESSAGE);
	msg = g_mime_parser_construct_message(parser, o);
	g_object_unref(parser);
	g_object_unref(stream);
	g_mime_parser_options_free(o);
	return msg;
}

struct _GMimeMessage *
milt_mime_message(struct td_str raw, bool *cut)
{
	struct milt_mail *m = milt_mail_from_raw(NULL, raw, NULL);
	struct td_buf b = { 0 };
	GMimeMessage *msg;

	milt_mime_init();
	*cut = false;
	compose(m, true, &b, cut);
	milt_mail_free(m);
	msg = parse_bytes(&b);
	return msg;
}

/* ---- strings ---- */

static struct td_str
line_of(struct td_arena *a, const char *s)
{
	return s != NULL ? milt_text_line(a, td_cstr(s)) : TD_STR_NULL;
}

static struct td_str
lower_of(struct td_arena *a, struct td_str s)
{
	char *p;

	if (s.p == NULL)
		return s;
	p = td_arena_strndup(a, s.p, s.len);
	for (size_t i = 0; i < s.len; i++)
		p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
	return td_str(p, s.len);
}

static struct td_str
cut_line(struct td_str s, size_t max)
{
	s.len = milt_text_cut(s, max);
	return s;
}

struct td_str
milt_mime_decode(struct td_arena *a, struct td_str value)
{
	GMimeParserOptions *o;
	struct td_str r;
	char *in, *out;

	if (value.p == NULL)
		return TD_STR_NULL;
	if (milt_plain_line(value))
		return td_arena_str(a, td_str_trim(value));
	milt_mime_init();
	if (value.len > VALUE_MAX)
		value.len = VALUE_MAX;
	o = parser_options();
	in = td_strndup(value);
	out = g_mime_utils_header_decode_text(o, in);
	r = line_of(a, out != NULL ? out : in);
	g_free(out);
	free(in);
	g_mime_parser_options_free(o);
	return r;
}

/* "<a@b>" or "a@b" without what surrounds it; nothing that could break a line or an attribute. */
static struct td_str
clean_id(struct td_arena *a, const char *s)
{
	struct td_str id = line_of(a, s);

	if (id.p == NULL)
		return id;
	if (id.len >= 2 && id.p[0] == '<' && id.p[id.len - 1] == '>')
		id = td_str_trim(td_str(id.p + 1, id.len - 2));
	if (id.len == 0 || id.len > ID_LEN_MAX || td_str_chr(id, ' ') >= 0)
		return TD_STR_NULL;
	return td_arena_str(a, id);
}

size_t
milt_mime_ids(struct td_arena *a, struct td_str value, struct td_str **out)
{
	GMimeReferences *refs;
	struct td_str plain;
	size_t n = 0;
	int have;
	char *in;

	*out = NULL;
	if (value.len == 0)
		return 0;
	if (milt_plain_id(value, &plain)) {
		*out = td_arena_alloc(a, sizeof(**out));
		(*out)[0] = td_arena_str(a, plain);
		return 1;
	}
	milt_mime_init();
	if (value.len > VALUE_MAX)
		value.len = VALUE_MAX;
	in = td_strndup(value);
	refs = g_mime_references_parse(NULL, in);
	have = refs != NULL ? g_mime_references_length(refs) : 0;
	if (have > 0)
		*out = td_arena_alloc(a, (size_t)(have < (int)IDS_MAX ? have : (int)IDS_MAX) *
						 sizeof(**out));
	for (int i = 0; i < have && i < (int)IDS_MAX; i++) {
		/* of too many, the first and the latest matter */
		int at = i == 0 || have <= (int)IDS_MAX ? i : have - (int)IDS_MAX + i;
		struct td_str id = clean_id(a, g_mime_references_get_message_id(refs, at));

		if (id.p != NULL)
			(*out)[n++] = id;
	}
	if (refs != NULL)
		g_mime_references_free(refs);
	free(in);
	return n;
}

/* ---- addresses ---- */

struct mboxes {
	struct td_arena *a;
	struct milt_mbox *v;
	size_t n, cap;
};

/* <name> is clean. */
static void
put_mbox(struct mboxes *l, struct td_str raw, struct td_str name)
{
	struct milt_mbox *m;
	struct milt_addr addr;

	if (l->n == l->cap) {
		struct milt_mbox *v =
			td_arena_alloc(l->a, (l->cap = l->cap > 0 ? l->cap * 2 : 4) * sizeof(*v));

		if (l->n > 0)
			memcpy(v, l->v, l->n * sizeof(*v));
		l->v = v;
	}
	if (milt_addr_parse(l->a, raw, NULL, &addr, NULL) < 0)
		return;
	m = &l->v[l->n++];
	m->addr = addr.full;
	m->name = name.len > 0 ? td_arena_str(l->a, cut_line(name, NAME_MAX_BYTES)) : TD_STR("");
}

static void
add_mbox(struct mboxes *l, InternetAddress *ia)
{
	const char *raw = internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(ia));

	if (raw != NULL)
		put_mbox(l, line_of(l->a, raw), line_of(l->a, internet_address_get_name(ia)));
}

static void
collect(struct mboxes *l, InternetAddressList *list, unsigned depth)
{
	int have = list != NULL ? internet_address_list_length(list) : 0;

	for (int i = 0; i < have && l->n < ADDRS_MAX; i++) {
		InternetAddress *ia = internet_address_list_get_address(list, i);

		if (INTERNET_ADDRESS_IS_MAILBOX(ia))
			add_mbox(l, ia);
		else if (INTERNET_ADDRESS_IS_GROUP(ia) && depth < 4)
			collect(l, internet_address_group_get_members(INTERNET_ADDRESS_GROUP(ia)),
				depth + 1);
	}
}

static size_t
mboxes_of(struct td_arena *a, InternetAddressList *list, struct milt_mbox **out)
{
	struct mboxes l = { .a = a };

	collect(&l, list, 0);
	*out = l.v;
	return l.n;
}

enum milt_addr_part
milt_addr_part_from_name(struct td_str name)
{
	static const char *const names[MAP_COUNT] = { "all",  "address", "localpart",
						      "user", "detail",  "domain" };
	int i;

	for (i = 0; i < MAP_COUNT; i++)
		if (td_str_ieq(name, td_cstr(names[i])))
			break;
	return (enum milt_addr_part)i;
}

static struct td_str
component(struct td_arena *a, const struct milt_mbox *m, enum milt_addr_part part)
{
	struct milt_addr addr;

	if (part == MAP_ALL && m->name.len > 0)
		return td_cstr(td_arena_printf(a, "%.*s <%.*s>", TD_STR_ARG(m->name),
					       TD_STR_ARG(m->addr)));
	if (part == MAP_ALL || part == MAP_ADDRESS ||
	    milt_addr_parse(a, m->addr, NULL, &addr, NULL) < 0)
		return m->addr;
	switch (part) {
	case MAP_LOCALPART: return addr.local;
	case MAP_USER: return addr.user;
	case MAP_DETAIL: return addr.detail.p != NULL ? addr.detail : TD_STR("");
	case MAP_DOMAIN: return addr.domain;
	case MAP_ALL:
	case MAP_ADDRESS:
	case MAP_COUNT: break;
	}
	return m->addr;
}

size_t
milt_mime_addresses(struct td_arena *a, struct td_str value, enum milt_addr_part part,
		    struct td_str **out)
{
	InternetAddressList *list;
	GMimeParserOptions *o;
	struct milt_mbox *v;
	char *in;
	size_t n;

	milt_mime_init();
	*out = NULL;
	value = cut_addresses(td_str(value.p, value.len < VALUE_MAX ? value.len : VALUE_MAX));
	in = td_strndup(value);
	o = parser_options();
	list = internet_address_list_parse(o, in);
	n = mboxes_of(a, list, &v);
	if (n > 0)
		*out = td_arena_alloc(a, n * sizeof(**out));
	for (size_t i = 0; i < n; i++)
		(*out)[i] = component(a, &v[i], part);
	if (list != NULL)
		g_object_unref(list);
	g_mime_parser_options_free(o);
	free(in);
	return n;
}

/* ---- decoding parts ---- */

struct walk {
	struct td_arena *a;
	struct milt_mime_limits lim;
	struct milt_mime *m;
	size_t cap;
	size_t decoded;
	/* milt_mime_extract: give this part's bytes */
	ptrdiff_t want;
	size_t want_max;
	struct td_buf *want_out;
	bool wanted_cut;
};

/* Decoded bytes of <part>: counted only when <out> is NULL, else at most <max> are kept. */
static uint64_t
decode_part(struct walk *w, GMimePart *part, struct td_buf *out, size_t max)
{
	GMimeDataWrapper *data = g_mime_part_get_content(part);
	GMimeStream *stream;
	gint64 raw, n;

	if (data == NULL)
		return 0;
	raw = g_mime_stream_length(g_mime_data_wrapper_get_stream(data));
	if (raw > 0 && (uint64_t)raw > w->lim.decoded - w->decoded) {
		w->m->cut = true;
		return 0;
	}
	w->decoded += raw > 0 ? (size_t)raw : 0;
	stream = out == NULL ? g_mime_stream_null_new() : g_mime_stream_mem_new();
	(void)g_mime_data_wrapper_write_to_stream(data, stream);
	if (out == NULL) {
		n = (gint64)GMIME_STREAM_NULL(stream)->written;
	} else {
		GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));

		n = bytes != NULL ? (gint64)bytes->len : 0;
		if (bytes != NULL)
			td_buf_add(out, bytes->data, bytes->len < max ? bytes->len : max);
	}
	g_object_unref(stream);
	return n > 0 ? (uint64_t)n : 0;
}

/* Clean, cut to the limit, into the arena. */
static struct td_str
finish_text(struct walk *w, struct td_str in)
{
	struct td_buf b = { 0 };
	struct td_str r;

	milt_text_clean(in, &b);
	if (b.len > w->lim.text)
		w->m->cut = true;
	r = td_str(b.p != NULL ? b.p : "", b.len);
	r.len = milt_text_cut(r, w->lim.text);
	r = td_arena_str(w->a, r);
	td_buf_fini(&b);
	return r;
}

/* Parameters of a Content-Type; NULL = not there. */
struct params {
	const char *charset, *format, *delsp;
};

/* How much of a text is looked at. */
static size_t
text_max(const struct walk *w, const struct milt_part *p)
{
	return td_str_eqc(p->type, "text/html") ? HTML_MAX : 4 * w->lim.text;
}

/* The text of <p> from its bytes <raw>, text_max() of p->size. */
static void
set_text(struct walk *w, struct milt_part *p, struct td_str raw, struct params ct)
{
	struct td_buf utf8 = { 0 }, other = { 0 }, *text = &other;

	if (p->size > text_max(w, p))
		w->m->cut = true;
	milt_text_decode(raw, ct.charset, &utf8);
	if (td_str_eqc(p->type, "text/html")) {
		struct td_buf clean = { 0 };

		milt_text_clean(td_buf_str(&utf8), &clean);
		milt_text_from_html(td_buf_str(&clean), w->lim.text, text);
		p->html = td_arena_str(
			w->a,
			cut_line(td_str(clean.p != NULL ? clean.p : "", clean.len), w->lim.text));
		td_buf_fini(&clean);
	} else if (ct.format != NULL && strcasecmp(ct.format, "flowed") == 0) {
		milt_text_unflow(td_buf_str(&utf8),
				 ct.delsp != NULL && strcasecmp(ct.delsp, "yes") == 0, text);
	} else {
		text = &utf8;
	}
	p->text = finish_text(w, td_buf_str(text));
	td_buf_fini(&utf8);
	td_buf_fini(&other);
}

static void
take_text(struct walk *w, struct milt_part *p, GMimePart *part)
{
	GMimeContentType *ct = g_mime_object_get_content_type(GMIME_OBJECT(part));
	struct td_buf raw = { 0 };

	p->size = decode_part(w, part, &raw, text_max(w, p));
	set_text(w, p, td_buf_str(&raw),
		 (struct params){ g_mime_content_type_get_parameter(ct, "charset"),
				  g_mime_content_type_get_parameter(ct, "format"),
				  g_mime_content_type_get_parameter(ct, "delsp") });
	td_buf_fini(&raw);
}

/* ---- reports ---- */

/* "rfc822; a@b" without its type. */
static struct td_str
typed_value(struct td_arena *a, struct td_str v)
{
	ptrdiff_t semi = td_str_chr(v, ';');

	return td_arena_str(
		a, td_str_trim(semi >= 0 ? td_str(v.p + semi + 1, v.len - (size_t)semi - 1) : v));
}

static struct milt_report_rcpt *
report_rcpt(struct walk *w, bool fresh)
{
	struct milt_report *r = &w->m->report;

	if (r->rcpts == NULL)
		r->rcpts = td_arena_zalloc(w->a, REPORT_RCPTS * sizeof(*r->rcpts));
	if (fresh && r->n_rcpts < REPORT_RCPTS)
		r->n_rcpts++;
	return r->n_rcpts > 0 ? &r->rcpts[r->n_rcpts - 1] : NULL;
}

static void
report_field(struct walk *w, struct td_str name, struct td_str value, bool *fresh)
{
	static const struct {
		const char *name;
		size_t at; /* in milt_report_rcpt */
		bool typed, lower;
	} fields[] = {
		{ "Original-Recipient", offsetof(struct milt_report_rcpt, original), true, false },
		{ "Final-Recipient", offsetof(struct milt_report_rcpt, final), true, false },
		{ "Action", offsetof(struct milt_report_rcpt, action), false, true },
		{ "Status", offsetof(struct milt_report_rcpt, status), false, false },
		{ "Diagnostic-Code", offsetof(struct milt_report_rcpt, diagnostic), true, false },
		{ "Disposition", offsetof(struct milt_report_rcpt, action), true, true },
	};
	struct milt_report *r = &w->m->report;

	value = milt_text_line(w->a, value);
	if (td_str_ieq(name, TD_STR("Original-Envelope-Id")))
		r->envelope_id = value;
	else if (td_str_ieq(name, TD_STR("Original-Message-ID")))
		r->original_id = clean_id(w->a, value.p);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct milt_report_rcpt *rc;
		ptrdiff_t slash;

		if (!td_str_ieq(name, td_cstr(fields[i].name)))
			continue;
		if ((rc = report_rcpt(w, *fresh)) == NULL)
			return;
		*fresh = false;
		value = fields[i].typed ? typed_value(w->a, value) : value;
		if (fields[i].lower) {
			value = lower_of(w->a, value);
			slash = td_str_chr(value, '/'); /* "displayed/error" */
			value.len = slash >= 0 ? (size_t)slash : value.len;
		}
		memcpy((char *)rc + fields[i].at, &value, sizeof(value));
	}
}

/* Blocks of "Name: value" lines; in a DSN each block after the first is a recipient. */
static void
take_report(struct walk *w, enum milt_report_kind kind, GMimePart *part)
{
	struct td_buf raw = { 0 }, field = { 0 };
	struct td_str s;
	bool fresh = true;

	w->m->report.kind = kind;
	(void)decode_part(w, part, &raw, REPORT_MAX);
	s = td_buf_str(&raw);
	for (size_t i = 0; i < s.len;) {
		const char *nl = memchr(s.p + i, '\n', s.len - i);
		size_t next = nl != NULL ? (size_t)(nl - s.p) + 1 : s.len;
		struct td_str line = td_str(s.p + i, next - i);
		bool folded = next < s.len && (s.p[next] == ' ' || s.p[next] == '\t');
		ptrdiff_t colon;

		i = next;
		td_buf_adds(&field, line);
		if (folded)
			continue;
		line = td_str_trim(td_buf_str(&field));
		colon = td_str_chr(line, ':');
		if (line.len == 0)
			fresh = kind == MR_DSN || w->m->report.n_rcpts == 0;
		else if (colon > 0)
			report_field(w, td_str_trim(td_str(line.p, (size_t)colon)),
				     td_str(line.p + colon + 1, line.len - (size_t)colon - 1),
				     &fresh);
		td_buf_clear(&field);
	}
	td_buf_fini(&raw);
	td_buf_fini(&field);
}

/* text/rfc822-headers, the third part of many reports. */
static void
take_report_headers(struct walk *w, GMimePart *part)
{
	struct td_buf raw = { 0 };
	GMimeMessage *msg;

	(void)decode_part(w, part, &raw, REPORT_MAX);
	td_buf_addz(&raw, "\n\n");
	raw.len = milt_mime_guard(td_buf_str(&raw), TD_STR("message"));
	msg = parse_bytes(&raw);
	if (msg != NULL) {
		if (w->m->report.original_id.p == NULL)
			w->m->report.original_id =
				clean_id(w->a, g_mime_message_get_message_id(msg));
		g_object_unref(msg);
	}
}

/* ---- the walk ---- */

static struct milt_part *
new_part(struct walk *w, unsigned depth, int parent)
{
	struct milt_mime *m = w->m;
	struct milt_part *p;

	if (m->n_parts >= w->lim.parts || depth > w->lim.depth) {
		m->cut = true;
		return NULL;
	}
	if (m->n_parts == w->cap) {
		struct milt_part *v =
			td_arena_alloc(w->a, (w->cap = w->cap > 0 ? w->cap * 2 : 8) * sizeof(*v));

		if (m->n_parts > 0)
			memcpy(v, m->parts, m->n_parts * sizeof(*v));
		m->parts = v;
	}
	p = &m->parts[m->n_parts++];
	*p = (struct milt_part){ .depth = depth, .parent = parent };
	return p;
}

static bool
type_is(const struct milt_part *p, const char *prefix)
{
	return td_str_starts(p->type, prefix);
}

/* Names decide nothing but the label; the path in one is not the sender's to choose. */
static struct td_str
clean_filename(struct td_arena *a, const char *s)
{
	struct td_str n = line_of(a, s);

	if (n.p == NULL)
		return n;
	for (size_t i = n.len; i-- > 0;)
		if (n.p[i] == '/' || n.p[i] == '\\') {
			n = td_str(n.p + i + 1, n.len - i - 1);
			break;
		}
	n = cut_line(n, NAME_MAX_BYTES);
	return n.len > 0 ? td_arena_str(a, n) : TD_STR_NULL;
}

static void
describe(struct walk *w, struct milt_part *p, GMimeObject *obj)
{
	GMimeContentType *ct = g_mime_object_get_content_type(obj);
	char *type = ct != NULL ? g_mime_content_type_get_mime_type(ct) : NULL;

	p->type = lower_of(w->a, type != NULL ? cut_line(line_of(w->a, type), 100)
					      : TD_STR("text/plain"));
	g_free(type);
	if (ct != NULL)
		p->charset = line_of(w->a, g_mime_content_type_get_parameter(ct, "charset"));
	p->cid = clean_id(w->a, g_mime_object_get_content_id(obj));
	if (GMIME_IS_PART(obj)) {
		p->encoding =
			line_of(w->a, g_mime_content_encoding_to_string(
					      g_mime_part_get_content_encoding(GMIME_PART(obj))));
		p->filename = clean_filename(w->a, g_mime_part_get_filename(GMIME_PART(obj)));
	}
}

/* Signatures and control parts of PGP and S/MIME are nothing to show. */
static bool
is_crypto_part(const struct milt_part *p)
{
	return td_str_eqc(p->type, "application/pgp-signature") ||
	       td_str_eqc(p->type, "application/pgp-encrypted") ||
	       td_str_eqc(p->type, "application/pkcs7-signature") ||
	       td_str_eqc(p->type, "application/x-pkcs7-signature");
}

static void
take_leaf(struct walk *w, size_t at, GMimePart *part, const char *parent_type)
{
	struct milt_part *p = &w->m->parts[at];
	const char *disp = g_mime_object_get_disposition(GMIME_OBJECT(part));
	bool text = type_is(p, "text/");

	if (w->want == (ptrdiff_t)at) {
		p->size = decode_part(w, part, w->want_out, w->want_max);
		w->wanted_cut = p->size > w->want_max;
		return;
	}
	if (w->want >= 0)
		return;
	if (td_str_eqc(p->type, "message/delivery-status") ||
	    td_str_eqc(p->type, "message/global-delivery-status"))
		take_report(w, MR_DSN, part);
	else if (td_str_eqc(p->type, "message/disposition-notification"))
		take_report(w, MR_MDN, part);
	else if (td_str_eqc(p->type, "message/feedback-report"))
		take_report(w, MR_FEEDBACK, part);
	else if (td_str_eqc(p->type, "text/rfc822-headers"))
		take_report_headers(w, part);
	if (w->m->report.kind != MR_NONE &&
	    (type_is(p, "message/") || td_str_eqc(p->type, "text/rfc822-headers")))
		return;
	if (type_is(p, "application/pkcs7-mime") || type_is(p, "application/x-pkcs7-mime"))
		w->m->encrypted = true;
	p->inlined = type_is(p, "image/") && p->cid.p != NULL &&
		     strcmp(parent_type, "multipart/related") == 0;
	p->attachment =
		!is_crypto_part(p) &&
		((disp != NULL && strcasecmp(disp, "attachment") == 0) || (!text && !p->inlined) ||
		 (text && p->filename.p != NULL &&
		  (disp == NULL || strcasecmp(disp, "inline") != 0)));
	if (text && !p->attachment)
		take_text(w, p, part);
	else
		p->size = decode_part(w, part, NULL, 0);
}

static void walk_object(struct walk *w, GMimeObject *obj, unsigned depth, int parent,
			const char *parent_type);

static void
walk_multipart(struct walk *w, GMimeMultipart *mp, unsigned depth, int at)
{
	struct td_str type = w->m->parts[at].type;
	int n = g_mime_multipart_get_count(mp);

	w->m->parts[at].container = true;
	w->m->encrypted = w->m->encrypted || td_str_eqc(type, "multipart/encrypted");
	w->m->is_signed = w->m->is_signed || td_str_eqc(type, "multipart/signed");
	for (int i = 0; i < n && w->m->n_parts < w->lim.parts; i++)
		walk_object(w, g_mime_multipart_get_part(mp, i), depth + 1, at, type.p);
	if (n > 0 && w->m->n_parts >= w->lim.parts)
		w->m->cut = true;
}

/* The head is what a reader needs to know of a forwarded mail. */
static void
walk_message(struct walk *w, GMimeMessage *msg, unsigned depth, int at)
{
	struct milt_mbox *from;
	struct td_str subject;
	struct td_buf b = { 0 };

	w->m->parts[at].container = true;
	if (msg == NULL)
		return;
	if (w->m->report.kind != MR_NONE && w->m->report.original_id.p == NULL)
		w->m->report.original_id = clean_id(w->a, g_mime_message_get_message_id(msg));
	if (mboxes_of(w->a, g_mime_message_get_from(msg), &from) > 0)
		td_buf_addf(&b, "From: %s%s<%s>\n", from[0].name.p, from[0].name.len > 0 ? " " : "",
			    from[0].addr.p);
	subject = cut_line(line_of(w->a, g_mime_message_get_subject(msg)), 500);
	if (subject.len > 0)
		td_buf_addf(&b, "Subject: %.*s\n", TD_STR_ARG(subject));
	w->m->parts[at].head = td_arena_str(w->a, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	if (g_mime_message_get_mime_part(msg) != NULL)
		walk_object(w, g_mime_message_get_mime_part(msg), depth + 1, at, "message/rfc822");
}

static void
walk_object(struct walk *w, GMimeObject *obj, unsigned depth, int parent, const char *parent_type)
{
	struct milt_part *p = obj != NULL ? new_part(w, depth, parent) : NULL;
	int at = (int)w->m->n_parts - 1; /* parts[] may move: no pointer is kept */

	if (p == NULL)
		return;
	describe(w, p, obj);
	if (GMIME_IS_MULTIPART(obj))
		walk_multipart(w, GMIME_MULTIPART(obj), depth, at);
	else if (GMIME_IS_MESSAGE_PART(obj))
		walk_message(w, g_mime_message_part_get_message(GMIME_MESSAGE_PART(obj)), depth,
			     at);
	else if (GMIME_IS_PART(obj))
		take_leaf(w, (size_t)at, GMIME_PART(obj), parent_type);
}

/* ---- choosing the text ---- */

struct chooser {
	const struct milt_mime *m;
	struct td_buf *out;
	size_t max;
	bool html;
};

static size_t choose(struct chooser *c, int at);

static int
next_child(const struct chooser *c, int parent, int after)
{
	for (size_t i = (size_t)(after < 0 ? parent : after) + 1; i < c->m->n_parts; i++)
		if (c->m->parts[i].parent == parent)
			return (int)i;
	return -1;
}

/* "Your mail program cannot show HTML." is no text. */
static bool
is_stub(struct td_str plain, struct td_str html)
{
	static const char *const signs[] = { "html", "browser", "view this email",
					     "view this message", "view online" };

	plain = td_str_trim(plain);
	html = td_str_trim(html);
	if (plain.len == 0)
		return html.len > 0;
	if (plain.len > 300 || html.len < 2 * plain.len)
		return false;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (milt_contains_i(plain, signs[i]))
			return true;
	return false;
}

/* First text part below <at> whose type is <type>. */
static int
find_text(const struct chooser *c, int at, const char *type)
{
	const struct milt_part *top = &c->m->parts[at];

	for (size_t i = (size_t)at; i < c->m->n_parts; i++) {
		const struct milt_part *p = &c->m->parts[i];

		if (i > (size_t)at && p->depth <= top->depth)
			break;
		if (p->text.p != NULL && td_str_eqc(p->type, type))
			return (int)i;
	}
	return -1;
}

static size_t
put_part(struct chooser *c, int at)
{
	const struct milt_part *p = &c->m->parts[at];
	struct td_str t = td_str_trim(p->text);

	if (t.len == 0 || c->out->len >= c->max)
		return 0;
	if (c->out->len > 0)
		td_buf_addz(c->out, c->out->p[c->out->len - 1] == '\n' ? "\n" : "\n\n");
	/* leading blanks of the first line may be meant; empty lines are not */
	td_buf_adds(c->out, t);
	c->html = c->html || td_str_eqc(p->type, "text/html");
	return t.len;
}

static size_t
choose_alternative(struct chooser *c, int at)
{
	int plain = find_text(c, at, "text/plain"), html = find_text(c, at, "text/html");
	size_t n = 0;

	if (plain >= 0 && html >= 0)
		return put_part(
			c, is_stub(c->m->parts[plain].text, c->m->parts[html].text) ? html : plain);
	if (plain >= 0 || html >= 0)
		return put_part(c, plain >= 0 ? plain : html);
	for (int i = next_child(c, at, -1); i >= 0 && n == 0; i = next_child(c, at, i))
		n = choose(c, i);
	return n;
}

static size_t
choose_message(struct chooser *c, int at)
{
	const struct milt_part *p = &c->m->parts[at];
	int child = next_child(c, at, -1);

	if (c->out->len > 0)
		td_buf_addz(c->out, "\n\n");
	td_buf_addz(c->out, "---- Forwarded message ----\n");
	td_buf_adds(c->out, p->head);
	return 1 + (child >= 0 ? choose(c, child) : 0);
}

/* Append the text of the tree at <at>; returns how much there was. */
static size_t
choose(struct chooser *c, int at)
{
	const struct milt_part *p = &c->m->parts[at];
	bool first_only = type_is(p, "multipart/related") || type_is(p, "multipart/signed") ||
			  type_is(p, "multipart/report") || type_is(p, "multipart/appledouble");
	size_t n = 0;

	if (c->out->len >= c->max)
		return 0;
	if (!p->container)
		return p->text.p != NULL ? put_part(c, at) : 0;
	if (type_is(p, "multipart/alternative"))
		return choose_alternative(c, at);
	if (type_is(p, "message/"))
		return choose_message(c, at);
	for (int i = next_child(c, at, -1); i >= 0; i = next_child(c, at, i)) {
		n += choose(c, i);
		if (first_only && n > 0)
			break;
	}
	return n;
}

static void
take_best_text(struct walk *w)
{
	struct td_buf b = { 0 };
	struct chooser c = { .m = w->m, .out = &b, .max = w->lim.text };
	struct td_str t;

	w->m->text = TD_STR("");
	if (w->m->n_parts == 0)
		return;
	(void)choose(&c, 0);
	t = td_str(b.p != NULL ? b.p : "", b.len);
	if (t.len > w->lim.text)
		w->m->cut = true;
	t.len = milt_text_cut(t, w->lim.text);
	w->m->text = td_arena_str(w->a, t);
	w->m->text_from_html = c.html;
	td_buf_fini(&b);
}

/* ---- headers ---- */

/* Read from the mail itself: a GMime object for each would cost more than all else here.
 * Where GMime's message takes the last of several headers, so do we. */
struct headers {
	const struct milt_mail *m;
	bool thorough;
	GMimeParserOptions *options; /* see options_of */
};

/* Made when the first header needs it. */
static GMimeParserOptions *
options_of(struct headers *hs)
{
	if (hs->options == NULL)
		hs->options = parser_options();
	return hs->options;
}

/* Header <name>, NULL when there is none.  Of several the first, or <last>, counts. */
static const struct milt_header *
pick(const struct headers *hs, const char *name, bool last)
{
	const struct milt_header *h, *found = NULL;
	size_t i = 0;

	while ((found == NULL || last) && (h = milt_mail_header(hs->m, td_cstr(name), &i)) != NULL)
		found = h;
	return found;
}

/* The value of <h>, which may be NULL; g_free it. */
static char *
raw_value(const struct milt_header *h)
{
	struct td_buf b = { 0 };
	char *out;

	if (h == NULL)
		return NULL;
	add_value(&b, h->value, VALUE_MAX);
	out = g_mime_utils_header_unfold(td_buf_cstr(&b));
	td_buf_fini(&b);
	return out;
}

/* The same with RFC 2047 words decoded. */
static char *
text_value(struct headers *hs, const struct milt_header *h)
{
	char *raw = raw_value(h);
	char *out = raw != NULL ? g_mime_utils_header_decode_text(options_of(hs), raw) : NULL;

	if (out == NULL)
		return raw;
	g_free(raw);
	return out;
}

static struct td_str
line_value(struct headers *hs, struct td_arena *a, const char *name, bool last)
{
	const struct milt_header *h = pick(hs, name, last);
	struct td_str r;
	char *s;

	if (h != NULL && !hs->thorough && milt_plain_line(h->value))
		return td_arena_str(a, td_str_trim(h->value));
	s = text_value(hs, h);
	r = line_of(a, s);
	g_free(s);
	return r;
}

/* The mailboxes of all headers <name>. */
static size_t
mboxes_value(struct headers *hs, struct td_arena *a, const char *name, struct milt_mbox **out)
{
	const struct milt_header *h;
	struct mboxes l = { .a = a };
	struct td_buf b = { 0 };
	size_t i = 0;

	while ((h = milt_mail_header(hs->m, td_cstr(name), &i)) != NULL) {
		InternetAddressList *list;
		struct td_str box, addr;

		if (!hs->thorough && milt_plain_mailbox(h->value, &box, &addr)) {
			put_mbox(&l, addr, box);
			continue;
		}
		td_buf_clear(&b);
		add_value(&b, cut_addresses(h->value), VALUE_MAX);
		list = internet_address_list_parse(options_of(hs), td_buf_cstr(&b));
		collect(&l, list, 0);
		if (list != NULL)
			g_object_unref(list);
	}
	td_buf_fini(&b);
	*out = l.v;
	return l.n;
}

static size_t
ids_value(struct headers *hs, struct td_arena *a, const char *name, struct td_str **out)
{
	char *s = text_value(hs, pick(hs, name, false));
	size_t n = milt_mime_ids(a, td_cstr(s), out);

	g_free(s);
	return n;
}

static struct td_str
message_id_value(struct headers *hs, struct td_arena *a)
{
	const struct milt_header *h = pick(hs, "Message-ID", true);
	struct td_str r;
	char *s, *id;

	if (h != NULL && !hs->thorough && milt_plain_id(h->value, &r))
		return td_arena_str(a, r);
	s = text_value(hs, h);
	id = s != NULL ? g_mime_utils_decode_message_id(s) : NULL;
	r = clean_id(a, id != NULL ? id : s);
	g_free(id);
	g_free(s);
	return r;
}

/* Wall ms; 0 = none. */
static int64_t
date_value(struct headers *hs)
{
	char *s = raw_value(pick(hs, "Date", true));
	GDateTime *date = s != NULL ? g_mime_utils_header_decode_date(s) : NULL;
	int64_t t = date != NULL ? g_date_time_to_unix(date) : 0;

	if (date != NULL)
		g_date_time_unref(date);
	g_free(s);
	return t > 0 ? t * 1000 : 0;
}

/* The word before parameters and comments, lower case: "auto-replied; x" */
static struct td_str
first_word(struct td_arena *a, struct td_str v)
{
	size_t n = 0;

	if (v.p == NULL)
		return v;
	while (n < v.len && v.p[n] != ';' && v.p[n] != ' ' && v.p[n] != '(')
		n++;
	return lower_of(a, td_str(v.p, n));
}

static struct td_str
list_id(struct td_arena *a, struct td_str v)
{
	const char *lt = v.p != NULL ? memrchr(v.p, '<', v.len) : NULL;
	const char *gt = lt != NULL ? memchr(lt, '>', v.len - (size_t)(lt - v.p)) : NULL;

	if (gt != NULL)
		v = td_str(lt + 1, (size_t)(gt - lt) - 1);
	v = td_str_trim(v);
	return v.p != NULL && v.len > 0 && v.len <= 255 ? lower_of(a, v) : TD_STR_NULL;
}

static void
take_headers(struct walk *w, const struct milt_mail *mail)
{
	struct headers hs = { .m = mail, .thorough = w->lim.thorough };
	struct td_arena *a = w->a;
	struct milt_mime *m = w->m;
	struct milt_mbox *from;

	m->subject = cut_line(line_value(&hs, a, "Subject", true), 4000);
	m->message_id = message_id_value(&hs, a);
	m->list_id = list_id(a, line_value(&hs, a, "List-Id", false));
	m->auto_submitted = first_word(a, line_value(&hs, a, "Auto-Submitted", false));
	m->precedence = first_word(a, line_value(&hs, a, "Precedence", false));
	m->jabber_id = line_value(&hs, a, "Jabber-ID", false);
	if (mboxes_value(&hs, a, "From", &from) > 0)
		m->from = from[0];
	m->n_to = mboxes_value(&hs, a, "To", &m->to);
	m->n_cc = mboxes_value(&hs, a, "Cc", &m->cc);
	m->n_reply_to = mboxes_value(&hs, a, "Reply-To", &m->reply_to);
	m->n_references = ids_value(&hs, a, "References", &m->references);
	m->n_in_reply_to = ids_value(&hs, a, "In-Reply-To", &m->in_reply_to);
	m->date = date_value(&hs);
	if (hs.options != NULL)
		g_mime_parser_options_free(hs.options);
}

/* ---- one text part, without GMime ---- */

static const char *
or_null(const char *s)
{
	return s[0] != '\0' ? s : NULL;
}

/* False when this mail is more than that. */
static bool
read_plain(struct walk *w, const struct milt_mail *m)
{
	struct td_str body = td_buf_str(&m->body), raw;
	struct td_buf buf = { 0 };
	struct milt_plain pl;
	struct milt_part *p;
	size_t max;

	if (w->lim.thorough || body.len > w->lim.decoded || !milt_plain_read(m, &pl))
		return false;
	body.len = milt_mime_guard(body, TD_STR(""));
	w->m->cut = body.len < m->body.len || m->body_cut || m->headers_cut;
	p = new_part(w, 0, -1);
	p->type = pl.html ? TD_STR("text/html") : TD_STR("text/plain");
	p->charset = line_of(w->a, or_null(pl.charset));
	p->encoding = line_of(w->a, pl.encoding);
	raw = milt_plain_decode(&pl, body, &buf);
	p->size = raw.len;
	max = text_max(w, p);
	raw.len = raw.len < max ? raw.len : max;
	set_text(w, p, raw,
		 (struct params){ or_null(pl.charset), or_null(pl.format), or_null(pl.delsp) });
	td_buf_fini(&buf);
	return true;
}

/* ---- entry ---- */

/* glibc unloads a converter with its last user: the common ones stay. */
static volatile iconv_t kept[3]; /* never read: the compiler must not drop it */

/* One mail with every kind of part, so that all types are known to GObject before there are
 * threads. */
static void
init_libraries(void)
{
	static const char sample[] = "From: a@b\nContent-Type: multipart/mixed; boundary=b\n\n"
				     "--b\n\nx\n--b\nContent-Type: application/x\n\nx\n"
				     "--b\nContent-Type: message/rfc822\n\n\nx\n"
				     "--b\nContent-Type: message/partial; id=1\n\nx\n--b--\n";
	struct td_buf b = { 0 };
	GMimeMessage *msg;

	g_mime_init();
	xmlInitParser();
	kept[0] = iconv_open("UTF-8", "windows-1252");
	kept[1] = iconv_open("UTF-8", "iso-8859-1");
	kept[2] = iconv_open("UTF-8", "iso-8859-15");
	td_buf_addz(&b, sample);
	msg = parse_bytes(&b);
	if (msg != NULL)
		g_object_unref(msg);
}

void
milt_mime_init(void)
{
	pthread_once(&mime_once, init_libraries);
}

static void
set_limits(struct walk *w, const struct milt_mime_limits *l)
{
	if (l != NULL)
		w->lim = *l;
	w->lim.depth = w->lim.depth > 0 ? w->lim.depth : 20;
	w->lim.parts = w->lim.parts > 0 ? w->lim.parts : 200;
	w->lim.decoded = w->lim.decoded > 0 ? w->lim.decoded : DECODED_MAX;
	w->lim.text = w->lim.text > 0 ? w->lim.text : TEXT_MAX;
}

static void
read_message(struct walk *w, const struct milt_mail *m)
{
	struct td_buf raw = { 0 };
	GMimeMessage *msg;

	milt_mime_init();
	*w->m = (struct milt_mime){ 0 };
	w->m->text = w->m->from.name = w->m->from.addr = TD_STR("");
	if (w->want < 0) {
		take_headers(w, m);
		if (read_plain(w, m))
			return;
	}
	compose(m, false, &raw, &w->m->cut);
	msg = parse_bytes(&raw);
	if (msg == NULL)
		return;
	if (g_mime_message_get_mime_part(msg) != NULL)
		walk_object(w, g_mime_message_get_mime_part(msg), 0, -1, "");
	g_object_unref(msg);
}

void
milt_mime_parse(struct td_arena *a, const struct milt_mail *m,
		const struct milt_mime_limits *limits, struct milt_mime *out)
{
	struct walk w = { .a = a, .m = out, .want = -1 };

	set_limits(&w, limits);
	read_message(&w, m);
	take_best_text(&w);
	/* a multipart whose boundary is missing or wrong: its bytes are better than nothing */
	if (out->n_parts == 1 && out->parts[0].container && m->body.len > 0) {
		struct td_buf utf8 = { 0 };

		milt_text_decode(td_str(m->body.p, m->body.len < 4 * w.lim.text ? m->body.len
										: 4 * w.lim.text),
				 NULL, &utf8);
		out->text = td_str_trim(finish_text(&w, td_buf_str(&utf8)));
		td_buf_fini(&utf8);
	}
}

void
milt_mime_parse_raw(struct td_arena *a, struct td_str raw, const struct milt_mime_limits *limits,
		    struct milt_mime *out)
{
	struct milt_mail *m = milt_mail_from_raw(NULL, raw, NULL);

	milt_mime_parse(a, m, limits, out);
	milt_mail_free(m);
}

int
milt_mime_extract(const struct milt_mail *m, const struct milt_mime_limits *limits, size_t index,
		  size_t max, struct td_buf *out, struct td_err *err)
{
	struct milt_mime view = { 0 };
	struct walk w = { .a = td_arena_new(0),
			  .m = &view,
			  .want = (ptrdiff_t)index,
			  .want_max = max,
			  .want_out = out };
	int rc = 0;

	set_limits(&w, limits);
	read_message(&w, m);
	if (index >= view.n_parts || view.parts[index].container)
		rc = td_fail(err, TD_E_NOTFOUND, "the mail has no part %zu with content", index);
	else if (w.wanted_cut)
		rc = td_fail(err, TD_E_LIMIT, "part %zu is over %zu bytes", index, max);
	td_arena_free(w.a);
	return rc;
}
