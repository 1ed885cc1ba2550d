/* mail - the message being received: what came, what is wanted instead, and the batch that
 * tells the MTA the difference. */
#include "milter/mail.h"

#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "milter/milt_io.h"

#define MAX_BODY (16u * 1024 * 1024)
#define MAX_HEADER_BYTES (256u * 1024)
#define MAX_HEADERS 2000u
#define MAX_RCPTS 1000u
#define MAX_ARGS 32u
#define VALUE_MAX 60000u /* Postfix cuts there */
#define FOLD_AT 900u

/* ---- names ---- */

static const char *const macro_names[MM_COUNT] = {
	[MM_J] = "j",
	[MM_CLIENT] = "_",
	[MM_VERSION] = "v",
	[MM_DAEMON_NAME] = "{daemon_name}",
	[MM_DAEMON_ADDR] = "{daemon_addr}",
	[MM_DAEMON_PORT] = "{daemon_port}",
	[MM_CLIENT_ADDR] = "{client_addr}",
	[MM_CLIENT_NAME] = "{client_name}",
	[MM_CLIENT_PTR] = "{client_ptr}",
	[MM_CLIENT_PORT] = "{client_port}",
	[MM_CLIENT_RESOLVE] = "{client_resolve}",
	[MM_TLS_VERSION] = "{tls_version}",
	[MM_CIPHER] = "{cipher}",
	[MM_CIPHER_BITS] = "{cipher_bits}",
	[MM_CERT_SUBJECT] = "{cert_subject}",
	[MM_CERT_ISSUER] = "{cert_issuer}",
	[MM_I] = "i",
	[MM_AUTH_TYPE] = "{auth_type}",
	[MM_AUTH_AUTHEN] = "{auth_authen}",
	[MM_AUTH_AUTHOR] = "{auth_author}",
	[MM_MAIL_ADDR] = "{mail_addr}",
	[MM_MAIL_HOST] = "{mail_host}",
	[MM_MAIL_MAILER] = "{mail_mailer}",
	[MM_MSG_ID] = "{msg_id}",
	[MM_RCPT_ADDR] = "{rcpt_addr}",
	[MM_RCPT_HOST] = "{rcpt_host}",
	[MM_RCPT_MAILER] = "{rcpt_mailer}",
};

const char *
milt_macro_name(enum milt_macro m)
{
	return (unsigned)m < MM_COUNT ? macro_names[m] : "?";
}

const char *
milt_fate_name(enum milt_fate f)
{
	static const char *const names[MF_COUNT] = { "mail", "chat", "both", "hold", "refuse" };

	return (unsigned)f < MF_COUNT ? names[f] : "?";
}

/* ---- replies ---- */

/* Length of an enhanced status code of class <cls> that starts <s>, or 0. */
static size_t
xcode_len(struct td_str s, unsigned cls)
{
	size_t i = 1, dots = 0, digits;

	if (s.len < 5 || s.p[0] != (char)('0' + cls))
		return 0;
	while (i < s.len && s.p[i] == '.' && dots < 2) {
		dots++;
		for (i++, digits = 0; i < s.len && s.p[i] >= '0' && s.p[i] <= '9'; i++)
			digits++;
		if (digits == 0 || digits > 3)
			return 0;
	}
	return dots == 2 && (i == s.len || s.p[i] == ' ' || s.p[i] == '\n') ? i : 0;
}

int
milt_conn_set_reply(struct milt_conn *c, unsigned code, struct td_str text)
{
	struct milt_reply *r = &c->reply;
	size_t n;

	if (code < 400 || code > 599)
		return TD_E_INVAL;
	text = td_str_trim(text);
	n = xcode_len(text, code / 100);
	r->code = code;
	(void)snprintf(r->xcode, sizeof(r->xcode), "%.*s", (int)n, n > 0 ? text.p : "");
	free(r->text);
	r->text = td_strndup(td_str_trim(td_str(text.p + n, text.len - n)));
	return 0;
}

void
milt_conn_progress(struct milt_conn *c)
{
	if (c != NULL && c->io != NULL)
		(void)c->io->progress(c->io);
}

size_t
milt_reply_lines(struct td_arena *a, const char *text, const char *lines[MILT_REPLY_LINES])
{
	size_t n = 0;

	while (text != NULL && *text != '\0' && n < MILT_REPLY_LINES) {
		size_t len = strcspn(text, "\n"),
		       keep = len < MILT_REPLY_LINE ? len : MILT_REPLY_LINE;
		char *line = td_arena_strndup(a, text, keep), *o = line;

		for (const char *p = line; *p != '\0'; p++)
			if ((unsigned char)*p >= 0x80)
				*o++ = '?';
			else if ((unsigned char)*p >= 0x20 && *p != 0x7F)
				*o++ = *p;
			else if (*p == '\t')
				*o++ = ' ';
		*o = '\0';
		lines[n++] = line;
		text += len + (text[len] == '\n');
	}
	return n;
}

/* ---- the message ---- */

struct td_str
milt_mail_macro(const struct milt_mail *m, enum milt_macro which)
{
	if ((unsigned)which >= MM_COUNT)
		return TD_STR_NULL;
	if (m->macro[which].p != NULL || m->conn == NULL)
		return m->macro[which];
	return m->conn->macro[which];
}

struct td_str
milt_mail_macro_by_name(const struct milt_mail *m, struct td_str name)
{
	for (int i = 0; i < MM_COUNT; i++) {
		struct td_str n = td_cstr(macro_names[i]);

		if (td_str_eq(n, name) ||
		    (n.len > 2 && td_str_eq(td_str(n.p + 1, n.len - 2), name)))
			return milt_mail_macro(m, (enum milt_macro)i);
	}
	return TD_STR_NULL;
}

struct milt_mail *
milt_mail_new(struct milt_conn *c, const struct milt_limits *limits)
{
	struct td_arena *a = td_arena_new(4096);
	struct milt_mail *m = td_arena_zalloc(a, sizeof(*m));
	struct milt_limits *l = &m->limits;

	m->arena = a;
	m->conn = c;
	if (limits != NULL)
		*l = *limits;
	l->max_body = l->max_body > 0 ? l->max_body : MAX_BODY;
	l->max_header_bytes = l->max_header_bytes > 0 ? l->max_header_bytes : MAX_HEADER_BYTES;
	l->max_headers = l->max_headers > 0 ? l->max_headers : MAX_HEADERS;
	l->max_rcpts = l->max_rcpts > 0 ? l->max_rcpts : MAX_RCPTS;
	td_random_id(m->id, sizeof(m->id) - 1);
	m->started = td_wall_ms();
	m->from.valid = true;
	return m;
}

void
milt_mail_free(struct milt_mail *m)
{
	if (m == NULL)
		return;
	free(m->rcpts);
	free(m->headers);
	td_buf_fini(&m->body);
	milt_dict_fini(&m->ctx);
	td_arena_free(m->arena); /* m is in it */
}

static size_t
copy_args(struct td_arena *a, const char *const *argv, const struct td_str **out)
{
	struct td_str *v;
	size_t n = 0;

	while (n < MAX_ARGS && argv[n] != NULL)
		n++;
	v = td_arena_alloc(a, (n > 0 ? n : 1) * sizeof(*v));
	for (size_t i = 0; i < n; i++)
		v[i] = td_arena_str(a, td_cstr(argv[i]));
	*out = v;
	return n;
}

void
milt_mail_set_envelope_from(struct milt_mail *m, const char *const *argv)
{
	(void)milt_addr_parse(m->arena, td_cstr(argv[0] != NULL ? argv[0] : ""), NULL, &m->from,
			      NULL);
	if (argv[0] != NULL)
		m->n_from_args = copy_args(m->arena, argv + 1, &m->from_args);
}

/* Room for one more in an array that doubles. */
static void *
more(void *p, size_t n, size_t size)
{
	if (n != 0 && (n & (n - 1)) != 0)
		return p;
	return td_realloc(p, (n == 0 ? 1 : n * 2) * size);
}

static struct milt_rcpt *
new_rcpt(struct milt_mail *m)
{
	struct milt_rcpt *r = td_arena_zalloc(m->arena, sizeof(*r));

	m->rcpts = more(m->rcpts, m->n_rcpts, sizeof(struct milt_rcpt *));
	m->rcpts[m->n_rcpts++] = r;
	return r;
}

struct milt_rcpt *
milt_mail_put_rcpt(struct milt_mail *m, const char *const *argv)
{
	struct milt_rcpt *r;

	if (m->n_rcpts >= m->limits.max_rcpts || argv[0] == NULL)
		return NULL;
	r = new_rcpt(m);
	(void)milt_addr_parse(m->arena, td_cstr(argv[0]), NULL, &r->addr, NULL);
	r->n_args = copy_args(m->arena, argv + 1, &r->args);
	return r;
}

static struct milt_header *
new_header(struct milt_mail *m, size_t at, struct td_str name, struct td_str value)
{
	struct milt_header *h = td_arena_zalloc(m->arena, sizeof(*h));

	m->headers = more(m->headers, m->n_headers, sizeof(struct milt_header *));
	memmove(m->headers + at + 1, m->headers + at,
		(m->n_headers - at) * sizeof(struct milt_header *));
	m->headers[at] = h;
	m->n_headers++;
	h->name = td_arena_str(m->arena, name);
	h->value = td_arena_str(m->arena, value);
	m->header_bytes += name.len + value.len + 4;
	return h;
}

void
milt_mail_put_header(struct milt_mail *m, struct td_str name, struct td_str value)
{
	unsigned index = 1;
	struct milt_header *h;

	m->has_headers = true;
	if (m->headers_cut || m->n_headers >= m->limits.max_headers ||
	    m->header_bytes + name.len + value.len + 4 > m->limits.max_header_bytes) {
		m->headers_cut = true; /* and stays so, or an index could skip one */
		return;
	}
	for (size_t i = m->n_headers; i-- > 0;)
		if (m->headers[i]->index > 0 && td_str_ieq(m->headers[i]->name, name)) {
			index = m->headers[i]->index + 1;
			break;
		}
	if (value.len > 0 && value.p[0] == ' ')
		value = td_str(value.p + 1, value.len - 1); /* the MTA kept it */
	h = new_header(m, m->n_headers, name, value);
	h->index = index;
}

bool
milt_mail_put_body(struct milt_mail *m, const void *p, size_t n)
{
	size_t room = m->limits.max_body - m->body.len;

	m->has_body = true;
	m->body_size += n;
	if (n > room) {
		m->body_cut = true;
		n = room;
	}
	td_buf_add(&m->body, p, n);
	return !m->body_cut;
}

/* Take one line, with what follows it folded, off *s; false when it is no header. */
static bool
take_header(struct td_str *s, struct td_str *name, struct td_buf *value)
{
	size_t i = 0;

	while (i < s->len && s->p[i] > 0x20 && s->p[i] < 0x7F && s->p[i] != ':')
		i++;
	if (i == 0 || i >= s->len || s->p[i] != ':')
		return false;
	*name = td_str(s->p, i);
	td_buf_clear(value);
	for (i++; i < s->len; i++) {
		if (s->p[i] == '\n' &&
		    !(i + 1 < s->len && (s->p[i + 1] == ' ' || s->p[i + 1] == '\t')))
			break;
		if (s->p[i] != '\r')
			td_buf_addc(value, s->p[i]);
	}
	i += i < s->len;
	*s = td_str(s->p + i, s->len - i);
	return true;
}

struct milt_mail *
milt_mail_from_raw(struct milt_conn *c, struct td_str raw, const struct milt_limits *limits)
{
	struct milt_mail *m = milt_mail_new(c, limits);
	struct td_buf value = { 0 };
	struct td_str name;
	size_t run = 0;

	while (take_header(&raw, &name, &value))
		milt_mail_put_header(m, name, td_buf_str(&value));
	if (raw.len > 0 && raw.p[0] == '\r')
		raw = td_str(raw.p + 1, raw.len - 1);
	if (raw.len > 0 && raw.p[0] == '\n')
		raw = td_str(raw.p + 1, raw.len - 1);
	m->has_headers = m->has_body = true;
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.p[i] != '\n' || (i > 0 && raw.p[i - 1] == '\r'))
			continue;
		if (!milt_mail_put_body(m, raw.p + run, i - run) || !milt_mail_put_body(m, "\r", 1))
			break;
		run = i;
	}
	if (!m->body_cut && raw.len > run)
		(void)milt_mail_put_body(m, raw.p + run, raw.len - run);
	td_buf_fini(&value);
	return m;
}

/* ---- reading ---- */

static struct milt_header *
find_header(const struct milt_mail *m, struct td_str name, size_t *pos)
{
	while (*pos < m->n_headers) {
		struct milt_header *h = m->headers[(*pos)++];

		if (!h->deleted && (name.p == NULL || td_str_ieq(h->name, name)))
			return h;
	}
	return NULL;
}

const struct milt_header *
milt_mail_header(const struct milt_mail *m, struct td_str name, size_t *pos)
{
	return find_header(m, name, pos);
}

struct td_str
milt_mail_header_value(struct milt_mail *m, const char *name)
{
	size_t i = 0, o = 0;
	const struct milt_header *h = find_header(m, td_cstr(name), &i);
	char *flat;

	if (h == NULL)
		return TD_STR_NULL;
	if (td_str_chr(h->value, '\n') < 0)
		return td_str_trim(h->value);
	flat = td_arena_strndup(m->arena, h->value.p, h->value.len);
	for (i = 0; i < h->value.len; i++)
		if (flat[i] != '\n' && flat[i] != '\r')
			flat[o++] = flat[i];
	flat[o] = '\0';
	return td_str_trim(td_str(flat, o));
}

struct milt_rcpt *
milt_mail_rcpt(const struct milt_mail *m, size_t *pos)
{
	while (*pos < m->n_rcpts) {
		struct milt_rcpt *r = m->rcpts[(*pos)++];

		if (!r->removed && !r->refused)
			return r;
	}
	return NULL;
}

struct td_str
milt_mail_sender(const struct milt_mail *m)
{
	return m->new_from.p != NULL ? m->new_from : m->from.full;
}

static void
add_crlf_lines(struct td_buf *out, struct td_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			td_buf_addc(out, '\r');
		td_buf_addc(out, s.p[i]);
	}
}

void
milt_mail_raw(const struct milt_mail *m, struct td_buf *out)
{
	const struct milt_header *h;
	size_t i = 0;

	while ((h = find_header(m, TD_STR_NULL, &i)) != NULL) {
		td_buf_adds(out, h->name);
		td_buf_addz(out, h->value.len > 0 && h->value.p[0] == '\t' ? ":" : ": ");
		add_crlf_lines(out, h->value);
		td_buf_addz(out, "\r\n");
	}
	td_buf_addz(out, "\r\n");
	td_buf_adds(out, td_buf_str(&m->body));
}

/* ---- changing ---- */

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

/* No input may start a header of its own: a line break is followed by a blank or is gone,
 * other controls are dropped; long lines are folded at a blank. */
static struct td_str
clean_value(struct td_arena *a, struct td_str v)
{
	struct td_buf b = { 0 };
	size_t line = 0;
	struct td_str r;

	v = td_str_trim(v);
	if (v.len > VALUE_MAX)
		v.len = td_utf8_cut(v, VALUE_MAX);
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '\r' || c == '\n') {
			while (i + 1 < v.len && strchr("\r\n\t ", v.p[i + 1]) != NULL &&
			       v.p[i + 1] != '\0')
				i++;
			td_buf_addz(&b, "\n ");
			line = 1;
		} else if ((c == ' ' || c == '\t') && line >= FOLD_AT && i + 1 < v.len &&
			   (unsigned char)v.p[i + 1] > 0x20) {
			td_buf_addz(&b, "\n ");
			line = 1;
		} else if (c >= 0x20 ? c != 0x7F : c == '\t') {
			td_buf_addc(&b, (char)c);
			line++;
		}
	}
	r = td_arena_str(a, b.p != NULL ? td_str_trim(td_buf_str(&b)) : TD_STR(""));
	td_buf_fini(&b);
	return r;
}

static int
add_header(struct milt_mail *m, bool front, struct td_str name, struct td_str value)
{
	struct milt_header *h;

	if (!header_name_ok(name))
		return TD_E_INVAL;
	if (m->n_headers >= 2 * (size_t)m->limits.max_headers)
		return TD_E_LIMIT;
	h = new_header(m, front ? 0 : m->n_headers, name, clean_value(m->arena, value));
	h->front = front;
	return 0;
}

int
milt_mail_header_append(struct milt_mail *m, struct td_str name, struct td_str value)
{
	return add_header(m, false, name, value);
}

int
milt_mail_header_prepend(struct milt_mail *m, struct td_str name, struct td_str value)
{
	return add_header(m, true, name, value);
}

int
milt_mail_header_replace(struct milt_mail *m, struct td_str name, struct td_str value)
{
	size_t i = 0;
	struct milt_header *h = find_header(m, name, &i);

	if (!header_name_ok(name))
		return TD_E_INVAL;
	if (h == NULL)
		return add_header(m, false, name, value);
	h->value = clean_value(m->arena, value);
	h->changed = true;
	while ((h = find_header(m, name, &i)) != NULL)
		h->deleted = true;
	return 0;
}

int
milt_mail_header_set(struct milt_mail *m, struct td_str name, unsigned n, struct td_str value)
{
	struct milt_header *h = NULL;
	size_t i = 0;

	if (!header_name_ok(name) || n == 0)
		return TD_E_INVAL;
	while (n-- > 0)
		if ((h = find_header(m, name, &i)) == NULL)
			return TD_E_NOTFOUND;
	if (value.p == NULL) {
		h->deleted = true;
		return 0;
	}
	h->value = clean_value(m->arena, value);
	h->changed = true;
	return 0;
}

size_t
milt_mail_header_delete(struct milt_mail *m, struct td_str name)
{
	struct milt_header *h;
	size_t i = 0, n = 0;

	for (; name.p != NULL && (h = find_header(m, name, &i)) != NULL; n++)
		h->deleted = true;
	return n;
}

int
milt_mail_set_body(struct milt_mail *m, struct td_str body)
{
	struct td_buf b = { 0 };

	if (body.len > m->limits.max_body)
		return TD_E_LIMIT;
	for (size_t i = 0; i < body.len; i++) {
		if (body.p[i] == '\r' || body.p[i] == '\n') {
			td_buf_addz(&b, "\r\n");
			i += body.p[i] == '\r' && i + 1 < body.len && body.p[i + 1] == '\n';
		} else {
			td_buf_addc(&b, body.p[i]);
		}
	}
	td_buf_fini(&m->body);
	m->body = b;
	m->new_body = m->has_body = true;
	m->body_cut = false;
	return 0;
}

int
milt_mail_set_sender(struct milt_mail *m, struct td_str addr, struct td_err *err)
{
	struct milt_addr a;
	int rc = milt_addr_parse(m->arena, addr, NULL, &a, err);

	if (rc == 0)
		m->new_from = a.full;
	return rc;
}

int
milt_mail_add_rcpt(struct milt_mail *m, struct td_str addr, struct td_err *err)
{
	struct milt_addr a;
	struct milt_rcpt *r;
	int rc = milt_addr_parse(m->arena, addr, NULL, &a, err);

	if (rc < 0)
		return rc;
	if (a.full.len == 0)
		return td_fail(err, TD_E_INVAL, "a recipient needs an address");
	for (size_t i = 0; i < m->n_rcpts; i++) {
		r = m->rcpts[i];
		if (r->refused || !td_str_ieq(r->addr.full, a.full))
			continue;
		r->removed = false;
		return 0;
	}
	if (m->n_rcpts >= 2 * (size_t)m->limits.max_rcpts)
		return td_fail(err, TD_E_LIMIT, "too many recipients");
	r = new_rcpt(m);
	r->addr = a;
	r->added = true;
	return 0;
}

size_t
milt_mail_remove_rcpt(struct milt_mail *m, struct td_str addr)
{
	struct milt_addr a;
	struct milt_rcpt *r;
	size_t i = 0, n = 0;

	if (milt_addr_parse(m->arena, addr, NULL, &a, NULL) < 0)
		a.full = TD_STR_NULL;
	while ((r = milt_mail_rcpt(m, &i)) != NULL)
		if (td_str_eq(r->addr.raw, addr) ||
		    (a.full.len > 0 && td_str_ieq(r->addr.full, a.full))) {
			r->removed = true;
			n++;
		}
	return n;
}

void
milt_mail_set_quarantine(struct milt_mail *m, struct td_str reason)
{
	struct td_str v = clean_value(m->arena, reason);
	char *one = td_arena_strndup(m->arena, v.p, v.len);

	for (char *p = one; *p != '\0'; p++)
		*p = *p == '\n' ? ' ' : *p;
	m->quarantine = v.len > 0 ? td_str(one, v.len) : TD_STR("held");
}

/* ---- the batch ---- */

static bool
leaves(const struct milt_rcpt *r)
{
	return !r->added && !r->refused && (r->removed || r->fate == MF_CHAT);
}

static bool
joins(const struct milt_rcpt *r)
{
	return r->added && !r->removed && r->fate != MF_CHAT;
}

static bool
edited(const struct milt_header *h)
{
	return h->index > 0 && (h->changed || h->deleted);
}

unsigned
milt_mail_needs(const struct milt_mail *m)
{
	unsigned need = 0;

	for (size_t i = 0; i < m->n_headers; i++) {
		const struct milt_header *h = m->headers[i];

		if (edited(h))
			need |= MA_CHGHDRS;
		else if (h->index == 0 && !h->deleted)
			need |= MA_ADDHDRS;
	}
	for (size_t i = 0; i < m->n_rcpts; i++) {
		if (leaves(m->rcpts[i]))
			need |= MA_DELRCPT;
		if (joins(m->rcpts[i]))
			need |= MA_ADDRCPT;
	}
	return need | (m->new_body ? MA_CHGBODY : 0) | (m->new_from.p != NULL ? MA_CHGFROM : 0) |
	       (m->quarantine.p != NULL ? MA_QUARANTINE : 0);
}

/* From the highest index down: on Postfix a deleted header no longer counts, so those behind
 * it would move up.  Insertions come last for the same reason. */
static int
apply_headers(struct milt_mail *m, struct milt_io *io)
{
	int rc = 0;

	for (size_t i = m->n_headers; i-- > 0 && rc == 0;) {
		const struct milt_header *h = m->headers[i];

		if (edited(h))
			rc = io->change_header(io, h->name.p, (int)h->index,
					       h->deleted ? NULL : h->value.p);
	}
	for (size_t i = 0; i < m->n_headers && rc == 0; i++) {
		const struct milt_header *h = m->headers[i];

		if (h->index == 0 && !h->deleted && !h->front)
			rc = io->add_header(io, h->name.p, h->value.p);
	}
	for (size_t i = m->n_headers; i-- > 0 && rc == 0;) {
		const struct milt_header *h = m->headers[i];

		if (h->index == 0 && !h->deleted && h->front)
			rc = io->insert_header(io, 0, h->name.p, h->value.p);
	}
	return rc;
}

/* Additions first: were the last recipient deleted before, some MTAs drop the message. */
static int
apply_rcpts(struct milt_mail *m, struct milt_io *io)
{
	int rc = 0;

	for (size_t i = 0; i < m->n_rcpts && rc == 0; i++)
		if (joins(m->rcpts[i]))
			rc = io->add_rcpt(
				io, td_arena_printf(m->arena, "<%s>", m->rcpts[i]->addr.full.p));
	for (size_t i = 0; i < m->n_rcpts && rc == 0; i++)
		if (leaves(m->rcpts[i]))
			rc = io->delete_rcpt(io, m->rcpts[i]->addr.raw.p);
	return rc;
}

int
milt_mail_apply(struct milt_mail *m, struct milt_io *io, struct td_err *err)
{
	unsigned missing = milt_mail_needs(m) & ~m->conn->actions;
	int rc;

	if (missing != 0)
		return td_fail(err, TD_E_UNSUPPORTED, "the MTA did not grant actions 0x%x",
			       missing);
	rc = apply_headers(m, io);
	if (rc == 0 && m->new_from.p != NULL)
		rc = io->change_from(io,
				     td_arena_printf(m->arena, "<%.*s>", TD_STR_ARG(m->new_from)));
	if (rc == 0)
		rc = apply_rcpts(m, io);
	if (rc == 0 && m->new_body)
		rc = io->replace_body(io, m->body.p != NULL ? m->body.p : "", m->body.len);
	if (rc == 0 && m->quarantine.p != NULL)
		rc = io->quarantine(io, m->quarantine.p);
	if (rc < 0)
		return td_fail(err, TD_E_IO, "the MTA did not take a change");
	return 0;
}
