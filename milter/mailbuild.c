/* mailbuild - the write side on GMime.  Every input passes one of three gates first: one_line
 * (text of headers), address (envelope and address headers) or id; GMime does the encoding. */
#include "milter/mailbuild.h"

#include <strings.h>
#include <gmime/gmime.h>
#include <idn2.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "milter/mail.h"
#include "milter/mime.h"
#include "milter/mime_priv.h"
#include "milter/text.h"

#define ADDR_MAX 254u
#define ID_MAX 900u
#define SUBJECT_MAX 2000u
#define VALUE_MAX 16384u
#define REFS_KEPT 20u
#define TOTAL_MAX (64u * 1024 * 1024)
#define WIDTH 72u

/* ---- the gates ---- */

static struct td_str
one_line(struct td_arena *a, struct td_str s, size_t max)
{
	s = milt_text_line(a, s);
	if (s.len > max)
		s = td_arena_str(a, td_str(s.p, milt_text_cut(s, max)));
	return s;
}

static bool
is_ascii(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

bool
milt_build_addr_ok(struct td_str addr, bool *utf8_out)
{
	const char *at = addr.len > 0 ? memrchr(addr.p, '@', addr.len) : NULL;
	size_t local = at != NULL ? (size_t)(at - addr.p) : 0;

	if (local == 0 || local > 64 || local + 1 >= addr.len || addr.len > ADDR_MAX ||
	    !td_utf8_valid(addr))
		return false;
	for (size_t i = 0; i < addr.len; i++) {
		unsigned char c = (unsigned char)addr.p[i];
		bool quoted = addr.p[0] == '"' && i < local;

		if (c < 0x20 || c == 0x7F || (c == ' ' && !quoted))
			return false;
		if (!quoted && strchr("<>()[]\\,;:\"", c) != NULL &&
		    !(i > local && strchr("[]:", c) != NULL))
			return false;
	}
	if (addr.p[0] == '"' && (local < 2 || at[-1] != '"'))
		return false;
	if (utf8_out != NULL)
		*utf8_out = !is_ascii(addr);
	return true;
}

/* As it goes over the wire: a domain of U-labels becomes A-labels unless the local part needs
 * SMTPUTF8 anyway.  <what> names the field in errors. */
static int
address(struct td_arena *a, struct td_str in, const char *what, struct td_str *out, bool *smtputf8,
	struct td_err *err)
{
	struct milt_addr p;
	bool utf8 = false;
	char *ascii = NULL;

	if (milt_addr_parse(a, in, NULL, &p, NULL) < 0 || !milt_build_addr_ok(p.full, &utf8))
		return td_fail(err, TD_E_INVAL, "%s is no mail address: %s", what, td_esc(in));
	if (utf8 && is_ascii(p.local)) {
		if (idn2_to_ascii_8z(p.domain.p, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) !=
		    IDN2_OK)
			return td_fail(err, TD_E_INVAL, "%s has a bad domain: %s", what,
				       td_esc(in));
		p.full = td_cstr(td_arena_printf(a, "%.*s@%s", (int)(p.full.len - p.domain.len - 1),
						 p.full.p, ascii));
		idn2_free(ascii);
		utf8 = false;
	}
	*out = p.full;
	*smtputf8 = *smtputf8 || utf8;
	return 0;
}

/* A Message-ID without < >: printable ASCII, no angle brackets. */
static struct td_str
id_of(struct td_str s)
{
	s = td_str_trim(s);
	if (s.len >= 2 && s.p[0] == '<' && s.p[s.len - 1] == '>')
		s = td_str(s.p + 1, s.len - 2);
	if (s.len == 0 || s.len > ID_MAX)
		return TD_STR_NULL;
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7F || s.p[i] == '<' || s.p[i] == '>')
			return TD_STR_NULL;
	return s;
}

/* ---- format=flowed (RFC 3676 4.2) ---- */

static size_t
columns(const char *p, size_t n)
{
	size_t c = 0;

	for (size_t i = 0; i < n; i++)
		c += ((unsigned char)p[i] & 0xC0) != 0x80;
	return c;
}

/* "> > " at the start of a chat quote: kept on every line it is broken into. */
static size_t
quote_prefix(struct td_str line)
{
	size_t n = 0;

	while (n < line.len && line.p[n] == '>' && n < 40)
		n += n + 1 < line.len && line.p[n + 1] == ' ' && n + 2 < line.len &&
				     line.p[n + 2] == '>'
			     ? 2
			     : 1;
	return n;
}

static void
flow_line(struct td_buf *out, struct td_str line)
{
	size_t q = quote_prefix(line);
	struct td_str prefix = td_str(line.p, q), rest = td_str(line.p + q, line.len - q);
	bool sig = q == 0 && td_str_eqc(rest, "-- ");

	while (!sig && rest.len > 0 && rest.p[rest.len - 1] == ' ')
		rest.len--; /* a blank at the end would join it to the next */
	do {
		size_t n = 0, fit = 0;

		while (n < rest.len && (fit == 0 || columns(rest.p, n) <= WIDTH)) {
			const char *sp = memchr(rest.p + n, ' ', rest.len - n);

			n = sp != NULL ? (size_t)(sp - rest.p) + 1 : rest.len;
			if (fit == 0 || columns(rest.p, n) <= WIDTH)
				fit = n;
		}
		for (size_t i = 0; i < prefix.len; i++)
			if (prefix.p[i] == '>')
				td_buf_addc(out, '>');
		if (q > 0 ? rest.len > 0 && rest.p[0] != ' '
			  : rest.len > 0 && (rest.p[0] == ' ' || td_str_starts(rest, "From ")))
			td_buf_addc(out, ' '); /* stuffing */
		td_buf_add(out, rest.p, fit);
		td_buf_addc(out, '\n');
		rest = td_str(rest.p + fit, rest.len - fit);
	} while (rest.len > 0);
}

static void
flow(struct td_str text, struct td_buf *out)
{
	for (size_t i = 0; i < text.len;) {
		const char *nl = memchr(text.p + i, '\n', text.len - i);
		size_t end = nl != NULL ? (size_t)(nl - text.p) : text.len;

		flow_line(out, td_str(text.p + i, end - i));
		i = end + 1;
	}
}

/* ---- parts ---- */

static void
set_content(GMimePart *part, struct td_str bytes)
{
	GMimeStream *s =
		g_mime_stream_mem_new_with_buffer(bytes.p != NULL ? bytes.p : "", bytes.len);
	GMimeDataWrapper *w =
		g_mime_data_wrapper_new_with_stream(s, GMIME_CONTENT_ENCODING_DEFAULT);

	g_mime_part_set_content(part, w);
	g_object_unref(w);
	g_object_unref(s);
}

static GMimeObject *
text_part(struct td_str text, bool flowed)
{
	GMimeTextPart *tp = g_mime_text_part_new_with_subtype("plain");
	struct td_buf clean = { 0 }, b = { 0 };

	milt_text_clean(text, &clean);
	if (flowed)
		flow(td_buf_str(&clean), &b);
	else
		td_buf_adds(&b, td_buf_str(&clean));
	if (b.len == 0 || b.p[b.len - 1] != '\n')
		td_buf_addc(&b, '\n');
	g_mime_object_set_content_type_parameter(GMIME_OBJECT(tp), "charset", "utf-8");
	if (flowed)
		g_mime_object_set_content_type_parameter(GMIME_OBJECT(tp), "format", "flowed");
	set_content(GMIME_PART(tp), td_buf_str(&b));
	td_buf_fini(&clean);
	td_buf_fini(&b);
	return GMIME_OBJECT(tp);
}

/* "type/subtype; parameters" as GMime reads it, or NULL when it is none. */
static GMimeContentType *
content_type(struct td_arena *a, struct td_str s)
{
	struct td_str line = one_line(a, s, 500);
	size_t slash = 0;

	while (slash < line.len && g_ascii_isgraph(line.p[slash]) &&
	       strchr("/;", line.p[slash]) == NULL)
		slash++;
	if (slash == 0 || slash + 1 >= line.len || line.p[slash] != '/' || !is_ascii(line))
		return NULL;
	return g_mime_content_type_parse(NULL, line.p);
}

static bool
header_name_ok(struct td_str n)
{
	if (n.len == 0 || n.len > 76)
		return false;
	for (size_t i = 0; i < n.len; i++)
		if (n.p[i] <= 0x20 || n.p[i] >= 0x7F || n.p[i] == ':')
			return false;
	return true;
}

static bool
is_mime_header(struct td_str n)
{
	return (n.len >= 8 && strncasecmp(n.p, "content-", 8) == 0) ||
	       td_str_ieq(n, TD_STR("mime-version"));
}

static int
put_header(struct td_arena *a, GMimeObject *o, struct td_str name, struct td_str value,
	   struct td_err *err)
{
	struct td_str v;

	if (!header_name_ok(name))
		return td_fail(err, TD_E_INVAL, "bad header name %s", td_esc(name));
	v = one_line(a, value, VALUE_MAX);
	g_mime_object_append_header(o, td_arena_strndup(a, name.p, name.len),
				    v.p != NULL ? v.p : "", "utf-8");
	return 0;
}

/* GMime's own encode does not look into attached messages. */
static void
encode_7bit(GMimeObject *o, unsigned depth)
{
	if (o == NULL || depth > 20)
		return;
	if (GMIME_IS_MESSAGE(o)) {
		encode_7bit(g_mime_message_get_mime_part(GMIME_MESSAGE(o)), depth + 1);
	} else if (GMIME_IS_MESSAGE_PART(o)) {
		GMimeMessage *msg = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));

		encode_7bit(msg != NULL ? GMIME_OBJECT(msg) : NULL, depth + 1);
	} else if (GMIME_IS_MULTIPART(o)) {
		for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(o)); i++)
			encode_7bit(g_mime_multipart_get_part(GMIME_MULTIPART(o), i), depth + 1);
	} else {
		g_mime_object_encode(o, GMIME_ENCODING_CONSTRAINT_7BIT);
	}
}

/* RFC 2046 5.2.1: a message has no encoding of its own, so all of it must fit the wire. */
static bool
fits_wire(GMimeMessage *msg)
{
	GMimeStream *s = g_mime_stream_mem_new();
	GByteArray *b;
	size_t line = 0;
	bool fits = true;

	g_mime_object_write_to_stream(GMIME_OBJECT(msg), NULL, s);
	b = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(s));
	for (guint i = 0; i < b->len && fits; i++) {
		line = b->data[i] == '\n' ? 0 : line + 1;
		fits = b->data[i] < 0x80 && b->data[i] != 0 && b->data[i] != '\r' && line <= 990;
	}
	g_object_unref(s);
	return fits;
}

static GMimeObject *
message_part(struct td_str content)
{
	bool cut;
	GMimeMessage *msg = milt_mime_message(content, &cut);
	GMimeMessagePart *mp;

	if (msg != NULL)
		encode_7bit(GMIME_OBJECT(msg), 0);
	/* one too odd to be parsed whole, or to be sent as it is, goes as a plain file */
	if (msg == NULL || cut || !fits_wire(msg)) {
		if (msg != NULL)
			g_object_unref(msg);
		return NULL;
	}
	mp = g_mime_message_part_new_with_message("rfc822", msg);
	g_object_unref(msg);
	return GMIME_OBJECT(mp);
}

static int
attachment(struct td_arena *a, const struct milt_attach *at, GMimeObject **out, struct td_err *err)
{
	GMimeContentType *ct = at->type.len > 0 ? content_type(a, at->type) : NULL;
	struct td_str name = one_line(a, at->name, 255);
	GMimeObject *o = NULL;
	int rc = 0;

	if (at->type.len > 0 && ct == NULL)
		return td_fail(err, TD_E_INVAL, "bad content type %s", td_esc(at->type));
	if (ct != NULL && g_mime_content_type_is_type(ct, "message", "rfc822"))
		o = message_part(at->content);
	if (o == NULL) {
		GMimePart *p = g_mime_part_new_with_type("application", "octet-stream");

		/* multipart content would need its own boundary: it is bytes to us */
		if (ct != NULL && !g_mime_content_type_is_type(ct, "multipart", "*") &&
		    !g_mime_content_type_is_type(ct, "message", "*"))
			g_mime_object_set_content_type(GMIME_OBJECT(p), ct);
		set_content(p, at->content);
		g_mime_part_set_content_encoding(p, GMIME_CONTENT_ENCODING_BASE64);
		o = GMIME_OBJECT(p);
	}
	if (ct != NULL)
		g_object_unref(ct);
	g_mime_object_set_disposition(o, GMIME_DISPOSITION_ATTACHMENT);
	if (name.len > 0 && GMIME_IS_PART(o))
		g_mime_part_set_filename(GMIME_PART(o), name.p);
	for (size_t i = 0; i < at->n_headers && rc == 0; i++)
		if (!is_mime_header(at->headers[2 * i]))
			rc = put_header(a, o, at->headers[2 * i], at->headers[2 * i + 1], err);
	if (rc < 0) {
		g_object_unref(o);
		return rc;
	}
	*out = o;
	return 0;
}

/* Put attachments behind <body>, which is taken; *out is the whole. */
static int
with_attachments(struct td_arena *a, GMimeObject *body, const struct milt_attach *at, size_t n,
		 GMimeObject **out, struct td_err *err)
{
	GMimeMultipart *mixed;

	*out = body;
	if (n == 0)
		return 0;
	mixed = g_mime_multipart_new_with_subtype("mixed");
	*out = GMIME_OBJECT(mixed);
	if (body != NULL) {
		g_mime_multipart_add(mixed, body);
		g_object_unref(body);
	}
	for (size_t i = 0; i < n; i++) {
		GMimeObject *o = NULL;
		int rc = attachment(a, &at[i], &o, err);

		if (rc < 0)
			return rc;
		g_mime_multipart_add(mixed, o);
		g_object_unref(o);
	}
	return 0;
}

/* ---- writing ---- */

static struct td_str
write_out(struct td_arena *a, GMimeMessage *msg)
{
	GMimeFormatOptions *f = g_mime_format_options_new();
	GMimeStream *s = g_mime_stream_mem_new();
	GByteArray *bytes;
	struct td_str r;

	g_mime_format_options_set_newline_format(f, GMIME_NEWLINE_FORMAT_DOS);
	g_mime_object_encode(GMIME_OBJECT(msg), GMIME_ENCODING_CONSTRAINT_7BIT);
	g_mime_object_write_to_stream(GMIME_OBJECT(msg), f, s);
	bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(s));
	r = td_arena_str(a, td_str((const char *)bytes->data, bytes->len));
	g_object_unref(s);
	g_mime_format_options_free(f);
	return r;
}

static void
put_mailbox(GMimeMessage *msg, GMimeAddressType type, struct td_str name, struct td_str addr)
{
	g_mime_message_add_mailbox(msg, type, name.len > 0 ? name.p : NULL, addr.p);
}

static void
put_date(GMimeMessage *msg, int64_t wall_ms)
{
	GDateTime *d = g_date_time_new_from_unix_utc(
		wall_ms > 0 && wall_ms < INT64_C(253402300800000) ? wall_ms / 1000
								  : (int64_t)(td_wall_ms() / 1000));

	g_mime_message_set_date(msg, d);
	g_date_time_unref(d);
}

static void
set_plain(GMimeMessage *msg, const char *name, const char *value)
{
	g_mime_object_set_header(GMIME_OBJECT(msg), name, value, "utf-8");
}

/* ---- a mail from chat ---- */

struct checked {
	struct td_str from, to, reply_to, id, irt;
};

static int
check_draft(struct td_arena *a, const struct milt_draft *d, struct checked *c,
	    struct milt_built *out, struct td_err *err)
{
	size_t total = d->text.len;
	int rc;

	for (size_t i = 0; i < d->n_attach; i++)
		total += d->attach[i].content.len;
	if (total > TOTAL_MAX)
		return td_fail(err, TD_E_LIMIT, "a mail of %zu bytes is too large", total);
	out->from = out->to = TD_STR("");
	if (d->env_from.len > 0 &&
	    (rc = address(a, d->env_from, "envelope sender", &out->from, &out->smtputf8, err)) < 0)
		return rc;
	if ((rc = address(a, d->env_to, "envelope recipient", &out->to, &out->smtputf8, err)) < 0 ||
	    (rc = address(a, d->from_addr, "From", &c->from, &out->smtputf8, err)) < 0)
		return rc;
	c->to = out->to;
	if (d->to_addr.len > 0 &&
	    (rc = address(a, d->to_addr, "To", &c->to, &out->smtputf8, err)) < 0)
		return rc;
	if (d->reply_to.len > 0 &&
	    (rc = address(a, d->reply_to, "Reply-To", &c->reply_to, &out->smtputf8, err)) < 0)
		return rc;
	c->id = id_of(d->message_id);
	if (c->id.p == NULL)
		return td_fail(err, TD_E_INVAL, "bad Message-ID %s", td_esc(d->message_id));
	c->irt = id_of(d->in_reply_to); /* a strange one of a stranger is left out */
	return 0;
}

static void
put_references(struct td_arena *a, GMimeMessage *msg, const struct milt_draft *d, struct td_str irt)
{
	struct td_buf b = { 0 };
	struct td_str last = TD_STR_NULL;

	if (irt.p != NULL)
		set_plain(msg, "In-Reply-To", td_arena_printf(a, "<%.*s>", TD_STR_ARG(irt)));
	for (size_t i = 0; i < d->n_references; i++) {
		struct td_str id = id_of(d->references[i]);

		if (id.p == NULL || (i > 0 && i + REFS_KEPT < d->n_references))
			continue;
		td_buf_addf(&b, "%s<%.*s>", b.len > 0 ? " " : "", TD_STR_ARG(id));
		last = id;
	}
	/* RFC 5322 3.6.4: what is answered is the last reference */
	if (irt.p != NULL && !td_str_eq(last, irt))
		td_buf_addf(&b, "%s<%.*s>", b.len > 0 ? " " : "", TD_STR_ARG(irt));
	if (b.len > 0)
		set_plain(msg, "References", td_buf_cstr(&b));
	td_buf_fini(&b);
}

static void
put_chat_headers(struct td_arena *a, GMimeMessage *msg, const struct milt_draft *d,
		 const struct checked *c)
{
	struct td_str s;

	put_date(msg, d->date);
	put_mailbox(msg, GMIME_ADDRESS_TYPE_FROM, one_line(a, d->from_name, 200), c->from);
	put_mailbox(msg, GMIME_ADDRESS_TYPE_TO, one_line(a, d->to_name, 200), c->to);
	if (c->reply_to.p != NULL)
		put_mailbox(msg, GMIME_ADDRESS_TYPE_REPLY_TO, TD_STR(""), c->reply_to);
	s = one_line(a, d->subject, SUBJECT_MAX);
	if (s.len > 0)
		g_mime_message_set_subject(msg, s.p, "utf-8");
	g_mime_message_set_message_id(msg, td_arena_strndup(a, c->id.p, c->id.len));
	put_references(a, msg, d, c->irt);
	s = one_line(a, d->auto_submitted, 100);
	if (s.len > 0)
		set_plain(msg, "Auto-Submitted", s.p);
	s = one_line(a, d->loop, 255);
	if (s.len > 0)
		set_plain(msg, "X-Tandem-Loop",
			  td_arena_printf(a, "%s; hops=%u", s.p, d->hops + 1));
	s = one_line(a, d->jabber_id, 3071);
	if (s.len > 0)
		set_plain(msg, "Jabber-ID", s.p);
}

int
milt_build_chat(struct td_arena *a, const struct milt_draft *d, struct milt_built *out,
		struct td_err *err)
{
	struct checked c = { 0 };
	struct milt_built r = { 0 };
	GMimeObject *body = NULL;
	GMimeMessage *msg;
	int rc;

	milt_mime_init();
	if ((rc = check_draft(a, d, &c, &r, err)) < 0)
		return rc;
	msg = g_mime_message_new(FALSE);
	put_chat_headers(a, msg, d, &c);
	rc = with_attachments(a, text_part(d->text, d->flowed), d->attach, d->n_attach, &body, err);
	if (rc == 0) {
		g_mime_message_set_mime_part(msg, body);
		r.data = write_out(a, msg);
		*out = r;
	}
	g_object_unref(body);
	g_object_unref(msg);
	return rc;
}

/* ---- a mail from a script's parts ---- */

static int
script_part(struct td_arena *a, const struct milt_pair *p, GMimeObject **out, struct td_err *err)
{
	GMimeContentType *ct = content_type(a, p->name);
	GMimePart *part;
	bool text;

	if (ct == NULL || g_mime_content_type_is_type(ct, "multipart", "*") ||
	    g_mime_content_type_is_type(ct, "message", "*")) {
		if (ct != NULL)
			g_object_unref(ct);
		return td_fail(err, TD_E_INVAL, "bad content type of a part: %s", td_esc(p->name));
	}
	text = g_mime_content_type_is_type(ct, "text", "*") &&
	       g_mime_content_type_get_parameter(ct, "charset") == NULL;
	part = g_mime_part_new();
	if (text) {
		struct td_buf clean = { 0 };

		g_mime_content_type_set_parameter(ct, "charset", "utf-8");
		milt_text_clean(p->value, &clean);
		set_content(part, td_buf_str(&clean));
		td_buf_fini(&clean);
	} else {
		set_content(part, p->value);
	}
	g_mime_object_set_content_type(GMIME_OBJECT(part), ct);
	g_mime_part_set_content_encoding(part, text ? GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE
						    : GMIME_CONTENT_ENCODING_BASE64);
	g_object_unref(ct);
	*out = GMIME_OBJECT(part);
	return 0;
}

static int
script_body(struct td_arena *a, const struct milt_pair *parts, size_t n, GMimeObject **out,
	    struct td_err *err)
{
	GMimeMultipart *alt;

	*out = NULL;
	if (n == 0) {
		*out = text_part(TD_STR(""), false);
		return 0;
	}
	if (n == 1)
		return script_part(a, &parts[0], out, err);
	alt = g_mime_multipart_new_with_subtype("alternative");
	*out = GMIME_OBJECT(alt);
	for (size_t i = 0; i < n; i++) {
		GMimeObject *o = NULL;
		int rc = script_part(a, &parts[i], &o, err);

		if (rc < 0)
			return rc;
		g_mime_multipart_add(alt, o);
		g_object_unref(o);
	}
	return 0;
}

static int
script_headers(struct td_arena *a, GMimeMessage *msg, const struct milt_pair *h, size_t n,
	       struct td_str host, struct td_err *err)
{
	bool date = false, id = false;
	char rnd[27];
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (is_mime_header(h[i].name))
			continue;
		date = date || td_str_ieq(h[i].name, TD_STR("date"));
		id = id || td_str_ieq(h[i].name, TD_STR("message-id"));
		rc = put_header(a, GMIME_OBJECT(msg), h[i].name, h[i].value, err);
	}
	if (rc < 0)
		return rc;
	if (!date)
		put_date(msg, 0);
	td_random_id(rnd, sizeof(rnd) - 1);
	host = id_of(host);
	if (!id)
		g_mime_message_set_message_id(
			msg, td_arena_printf(a, "%s@%.*s", rnd, host.p != NULL ? (int)host.len : 9,
					     host.p != NULL ? host.p : "localhost"));
	return 0;
}

int
milt_build(struct td_arena *a, const struct milt_composition *c, struct td_str *out,
	   struct td_err *err)
{
	GMimeObject *body = NULL, *whole;
	GMimeMessage *msg;
	size_t total = 0;
	int rc;

	milt_mime_init();
	for (size_t i = 0; i < c->n_parts; i++)
		total += c->parts[i].value.len;
	for (size_t i = 0; i < c->n_attach; i++)
		total += c->attach[i].content.len;
	if (total > TOTAL_MAX || c->n_headers > 1000 || c->n_parts > 100 || c->n_attach > 100)
		return td_fail(err, TD_E_LIMIT, "too much for one mail");
	msg = g_mime_message_new(FALSE);
	whole = NULL;
	rc = script_headers(a, msg, c->headers, c->n_headers, c->host, err);
	if (rc == 0)
		rc = script_body(a, c->parts, c->n_parts, &body, err);
	whole = body;
	if (rc == 0)
		rc = with_attachments(a, body, c->attach, c->n_attach, &whole, err);
	if (rc == 0) {
		g_mime_message_set_mime_part(msg, whole);
		*out = write_out(a, msg);
	}
	if (whole != NULL)
		g_object_unref(whole);
	g_object_unref(msg);
	return rc;
}
