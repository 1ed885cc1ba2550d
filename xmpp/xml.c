/* xml - expat lent to streams: restricted XML in, one stanza at a time out.
 *
 * Between two stanzas a parser's state is the root element's namespace declarations and
 * nothing else.  So a reader that is between stanzas gives its parser back to the pool under
 * the text of those declarations, and takes any parser of that list when bytes come again.
 * The closing tag of the stream is seen before expat would see it, since a parser taken from
 * the list has another stream's root open.
 *
 * Handlers run outside expat: the parser is suspended at the end of a stanza when bytes are
 * left, so a handler may restart, move or free the stream. */
#include "xmpp/xml.h"

#include <expat.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

#define SEP '\x01'
#define STANZA_ARENA 1536u
#define DECLS_MAX 2048u        /* bytes of namespace declarations in a stream header */
#define POOL_KEEP 16u          /* idle parsers kept per header */
#define POOL_HEADERS 32u       /* headers remembered when no stream uses them */
#define TOKEN_MAX 16384L       /* one tag: expat reads an unfinished one again at each feed */
#define RETIRE_BYTES (8 << 20) /* expat keeps every name it met: start afresh now and then */

/* expat 2.6, and 2.5 with Debian's security fixes */
extern XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled)
	__attribute__((weak));

struct xmpp_parse {
	struct xmpp_parse *next; /* in a free list */
	XML_Parser xp;
	const char *chunk;   /* the caller's bytes of this feed */
	long base;           /* stream offset of chunk[0] */
	long total;          /* bytes given to expat */
	long boundary;       /* where the last top-level thing ended */
	long progress;       /* how far the callbacks came */
	long start, tag_end; /* of the stanza being read */
	struct td_arena *arena;
	struct xmpp_node *root, *cur;
	unsigned depth;
	unsigned max_depth;
	uint32_t max_bytes;
	bool raw_ok, suspended, priming, single, root_closed;
	bool component; /* NS_COMPONENT stands for NS_CLIENT, the content namespace of every stanza */
	enum xmpp_read event;
	const char *error;
	struct xmpp_stanza *stanza;
	struct xmpp_node *header;
	struct td_arena *header_arena;
	struct td_buf partial; /* bytes of earlier feeds since the boundary: [base - len, base) */
	struct td_buf text;    /* character data not yet in the tree */
	struct td_buf decls;   /* of the header being read */
};

struct xmpp_decls {
	struct xmpp_decls *next;
	char *text;
	unsigned refs;
	struct xmpp_parse *free;
	unsigned n_free;
};

struct xmpp_xmlpool {
	struct xmpp_decls *decls;
	unsigned n_decls;
	struct xmpp_parse *blank;
	unsigned n_blank;
};

/* ---- expat callbacks ---- */

static void
stop(struct xmpp_parse *p, const char *error)
{
	if (p->error == NULL)
		p->error = error;
	p->event = XR_ERROR;
	(void)XML_StopParser(p->xp, XML_FALSE);
}

/* "uri SEP local SEP prefix" or "local". */
struct triple {
	const char *uri, *local;
	size_t uri_len, local_len;
	bool prefixed;
};

static struct triple
split_name(const char *s)
{
	struct triple t = { NULL, s, 0, 0, false };
	const char *a = strchr(s, SEP), *b;

	if (a == NULL) {
		t.local_len = strlen(s);
		return t;
	}
	b = strchr(a + 1, SEP);
	t.uri = s;
	t.uri_len = (size_t)(a - s);
	t.local = a + 1;
	t.local_len = b != NULL ? (size_t)(b - a - 1) : strlen(a + 1);
	t.prefixed = b != NULL;
	return t;
}

static void
progressed(struct xmpp_parse *p)
{
	p->progress = XML_GetCurrentByteIndex(p->xp) + XML_GetCurrentByteCount(p->xp);
}

static struct xmpp_attr *
read_attrs(struct xmpp_parse *p, struct td_arena *a, const char **atts)
{
	struct xmpp_attr *first = NULL, **tail = &first;

	for (; atts[0] != NULL; atts += 2) {
		struct xmpp_attr *at = td_arena_alloc(a, sizeof(*at));
		struct triple t = split_name(atts[0]);

		at->next = NULL;
		at->name = td_arena_strndup(a, t.local, t.local_len);
		at->ns = t.uri == NULL ? NULL : td_arena_strndup(a, t.uri, t.uri_len);
		if (at->ns != NULL && strcmp(at->ns, NS_XML) != 0)
			p->raw_ok = false;
		at->value = td_arena_str(a, td_cstr(atts[1]));
		*tail = at;
		tail = &at->next;
	}
	return first;
}

static struct xmpp_node *
read_element(struct xmpp_parse *p, struct td_arena *a, const char *name, const char **atts)
{
	struct xmpp_node *n = td_arena_zalloc(a, sizeof(*n));
	struct triple t = split_name(name);
	const char *up = p->cur != NULL ? p->cur->ns : NULL;

	if (t.prefixed)
		p->raw_ok = false;
	n->name = td_arena_strndup(a, t.local, t.local_len);
	if (t.uri != NULL)
		n->ns = up != NULL && strlen(up) == t.uri_len && memcmp(up, t.uri, t.uri_len) == 0
				? up
				: td_arena_strndup(a, t.uri, t.uri_len);
	if (p->component && n->ns != NULL && strcmp(n->ns, NS_COMPONENT) == 0)
		n->ns = up != NULL && strcmp(up, NS_CLIENT) == 0 ? up : NS_CLIENT;
	n->attrs = read_attrs(p, a, atts);
	return n;
}

static void
flush_text(struct xmpp_parse *p)
{
	if (p->text.len == 0)
		return;
	xmpp_node_add_text(p->arena, p->cur, td_buf_str(&p->text));
	td_buf_clear(&p->text);
}

static void
pause_unless_done(struct xmpp_parse *p)
{
	if (p->boundary < p->total) {
		p->suspended = true;
		(void)XML_StopParser(p->xp, XML_TRUE);
	}
}

static void XMLCALL
on_start(void *arg, const XML_Char *name, const XML_Char **atts)
{
	struct xmpp_parse *p = arg;

	if (p->event == XR_ERROR)
		return;
	progressed(p);
	if (p->priming) {
		p->depth = 1;
		return;
	}
	if (p->depth == 0) {
		p->component = strstr(td_buf_cstr(&p->decls), " xmlns='" NS_COMPONENT "'") != NULL;
		p->header_arena = td_arena_new(1024);
		p->header = read_element(p, p->header_arena, name, atts);
		p->depth = 1;
		p->event = XR_OPEN;
		p->boundary = p->progress;
		pause_unless_done(p);
		return;
	}
	if (p->depth >= p->max_depth) {
		stop(p, "policy-violation");
		return;
	}
	if (p->depth == 1) {
		if (p->single && p->root != NULL) {
			stop(p, "not-well-formed");
			return;
		}
		if (p->arena == NULL)
			p->arena = td_arena_new(STANZA_ARENA);
		p->raw_ok = true;
		p->start = XML_GetCurrentByteIndex(p->xp);
		p->tag_end = p->progress;
		p->cur = p->root = read_element(p, p->arena, name, atts);
	} else {
		struct xmpp_node *n;

		flush_text(p);
		n = read_element(p, p->arena, name, atts);
		xmpp_node_append(p->cur, n);
		p->cur = n;
	}
	p->depth++;
}

/* The bytes [from, to) of the stream, which lie in <partial> and the present chunk. */
static struct td_str
raw_bytes(struct xmpp_parse *p, long from, long to)
{
	long first = p->base - (long)p->partial.len; /* offset of partial[0] */
	char *out;

	if (to <= from)
		return TD_STR("");
	if (from >= p->base) {
		return td_str(td_arena_strndup(p->arena, p->chunk + (from - p->base),
					       (size_t)(to - from)),
			      (size_t)(to - from));
	}
	out = td_arena_alloc(p->arena, (size_t)(to - from));
	if (to <= p->base) {
		memcpy(out, p->partial.p + (from - first), (size_t)(to - from));
	} else {
		memcpy(out, p->partial.p + (from - first), (size_t)(p->base - from));
		memcpy(out + (p->base - from), p->chunk, (size_t)(to - p->base));
	}
	return td_str(out, (size_t)(to - from));
}

static void
stanza_done(struct xmpp_parse *p)
{
	long end_tag = XML_GetCurrentByteIndex(p->xp);
	struct td_arena *a = p->arena;

	p->boundary = p->progress;
	if (p->boundary - p->start > (long)p->max_bytes) {
		stop(p, "policy-violation");
		return;
	}
	if (p->single) {
		p->event = XR_STANZA;
		return;
	}
	if (p->root->ns == NULL || strcmp(p->root->ns, NS_CLIENT) != 0)
		p->raw_ok = false;
	{
		struct td_str inner = p->raw_ok ? raw_bytes(p, p->tag_end, end_tag) : TD_STR_NULL;

		p->arena = NULL;
		(void)xmpp_stanza_from_node(a, p->root, &p->stanza, NULL);
		p->stanza->inner_raw = p->raw_ok;
		p->stanza->inner = inner;
	}
	p->root = p->cur = NULL;
	td_buf_clear(&p->partial);
	p->event = XR_STANZA;
	pause_unless_done(p);
}

static void XMLCALL
on_end(void *arg, const XML_Char *name)
{
	struct xmpp_parse *p = arg;

	(void)name;
	if (p->event == XR_ERROR || p->depth == 0)
		return;
	progressed(p);
	p->depth--;
	if (p->depth == 0) {
		/* "<stream:stream/>": first it opens */
		if (p->event == XR_OPEN)
			p->root_closed = true;
		else
			p->event = XR_CLOSE;
		return;
	}
	flush_text(p);
	if (p->depth == 1)
		stanza_done(p);
	else
		p->cur = p->cur->parent;
}

static void XMLCALL
on_text(void *arg, const XML_Char *s, int len)
{
	struct xmpp_parse *p = arg;

	progressed(p);
	if (p->depth > 1) {
		td_buf_add(&p->text, s, (size_t)len);
		return;
	}
	for (int i = 0; i < len; i++)
		if (strchr(" \t\r\n", s[i]) == NULL) {
			stop(p, "bad-format");
			return;
		}
}

static void XMLCALL
on_ns(void *arg, const XML_Char *prefix, const XML_Char *uri)
{
	struct xmpp_parse *p = arg;

	/* said again inside a stanza, it would not go along into a stream with the other name */
	if (p->depth > 1 && p->cur != NULL && p->cur->ns != NULL && uri != NULL &&
	    strcmp(p->cur->ns, NS_CLIENT) == 0 &&
	    (strcmp(uri, NS_CLIENT) == 0 || strcmp(uri, NS_COMPONENT) == 0))
		p->raw_ok = false;
	if (p->depth != 0 || p->priming || p->decls.len > DECLS_MAX)
		return;
	td_buf_addz(&p->decls, " xmlns");
	if (prefix != NULL) {
		td_buf_addc(&p->decls, ':');
		td_buf_addz(&p->decls, prefix);
	}
	td_buf_addz(&p->decls, "='");
	td_buf_add_xml(&p->decls, td_cstr(uri));
	td_buf_addc(&p->decls, '\'');
}

static void XMLCALL
on_comment(void *arg, const XML_Char *s)
{
	(void)s;
	stop(arg, "restricted-xml");
}

static void XMLCALL
on_pi(void *arg, const XML_Char *target, const XML_Char *data)
{
	(void)target;
	(void)data;
	stop(arg, "restricted-xml");
}

static void XMLCALL
on_doctype(void *arg, const XML_Char *a, const XML_Char *b, const XML_Char *c, int d)
{
	(void)a;
	(void)b;
	(void)c;
	(void)d;
	stop(arg, "restricted-xml");
}

static void XMLCALL
on_decl(void *arg, const XML_Char *version, const XML_Char *encoding, int standalone)
{
	(void)standalone;
	if (encoding != NULL && !td_str_ieq(td_cstr(encoding), TD_STR("utf-8")))
		stop(arg, "unsupported-encoding");
	else if (version != NULL && strcmp(version, "1.0") != 0)
		stop(arg, "not-well-formed");
}

/* ---- parsers and their pool ---- */

static void
set_handlers(struct xmpp_parse *p)
{
	XML_SetUserData(p->xp, p);
	/* a stanza must be seen when its last byte is there; TOKEN_MAX bounds the cost */
	if (XML_SetReparseDeferralEnabled != NULL)
		(void)XML_SetReparseDeferralEnabled(p->xp, XML_FALSE);
	XML_SetReturnNSTriplet(p->xp, 1);
	XML_SetElementHandler(p->xp, on_start, on_end);
	XML_SetCharacterDataHandler(p->xp, on_text);
	XML_SetNamespaceDeclHandler(p->xp, on_ns, NULL);
	XML_SetCommentHandler(p->xp, on_comment);
	XML_SetProcessingInstructionHandler(p->xp, on_pi);
	XML_SetStartDoctypeDeclHandler(p->xp, on_doctype);
	XML_SetXmlDeclHandler(p->xp, on_decl);
}

static struct xmpp_parse *
parse_new(void)
{
	struct xmpp_parse *p = td_zalloc(sizeof(*p));

	p->xp = XML_ParserCreateNS("UTF-8", SEP);
	if (p->xp == NULL)
		abort();
	set_handlers(p);
	return p;
}

/* Forget the stanza being built; the tree and its bytes go. */
static void
parse_clean(struct xmpp_parse *p)
{
	td_arena_free(p->arena);
	td_arena_free(p->header_arena);
	xmpp_stanza_unref(&p->stanza);
	p->arena = p->header_arena = NULL;
	p->header = p->root = p->cur = NULL;
	p->event = XR_MORE;
	p->error = NULL;
	p->suspended = p->root_closed = p->component = false;
	/* buffers that grew large go back, small ones stay warm */
	if (p->partial.cap > 16384)
		td_buf_fini(&p->partial);
	if (p->text.cap > 16384)
		td_buf_fini(&p->text);
	td_buf_clear(&p->partial);
	td_buf_clear(&p->text);
	td_buf_clear(&p->decls);
}

static void
parse_free(struct xmpp_parse *p)
{
	if (p == NULL)
		return;
	parse_clean(p);
	td_buf_fini(&p->partial);
	td_buf_fini(&p->text);
	td_buf_fini(&p->decls);
	XML_ParserFree(p->xp);
	free(p);
}

static void
give_blank(struct xmpp_xmlpool *pool, struct xmpp_parse *p)
{
	if (pool->n_blank >= POOL_KEEP) {
		parse_free(p);
		return;
	}
	parse_clean(p);
	(void)XML_ParserReset(p->xp, "UTF-8");
	set_handlers(p);
	p->total = p->boundary = p->base = p->progress = 0;
	p->depth = 0;
	p->next = pool->blank;
	pool->blank = p;
	pool->n_blank++;
}

static struct xmpp_parse *
take_blank(struct xmpp_xmlpool *pool)
{
	struct xmpp_parse *p = pool->blank;

	if (p == NULL)
		return parse_new();
	pool->blank = p->next;
	pool->n_blank--;
	return p;
}

struct xmpp_xmlpool *
xmpp_xmlpool_new(void)
{
	return td_zalloc(sizeof(struct xmpp_xmlpool));
}

static void
decls_free(struct xmpp_decls *d)
{
	for (struct xmpp_parse *p = d->free, *next; p != NULL; p = next) {
		next = p->next;
		parse_free(p);
	}
	free(d->text);
	free(d);
}

void
xmpp_xmlpool_free(struct xmpp_xmlpool *pool)
{
	if (pool == NULL)
		return;
	for (struct xmpp_decls *d = pool->decls, *next; d != NULL; d = next) {
		next = d->next;
		decls_free(d);
	}
	for (struct xmpp_parse *p = pool->blank, *next; p != NULL; p = next) {
		next = p->next;
		parse_free(p);
	}
	free(pool);
}

static struct xmpp_decls *
decls_ref(struct xmpp_xmlpool *pool, const char *text)
{
	struct xmpp_decls *d;

	for (d = pool->decls; d != NULL; d = d->next)
		if (strcmp(d->text, text) == 0)
			break;
	if (d == NULL) {
		d = td_zalloc(sizeof(*d));
		d->text = td_strdup(text);
		d->next = pool->decls;
		pool->decls = d;
		pool->n_decls++;
	}
	d->refs++;
	return d;
}

static void
decls_unref(struct xmpp_xmlpool *pool, struct xmpp_decls *d)
{
	if (d == NULL || --d->refs > 0 || pool->n_decls <= POOL_HEADERS)
		return;
	for (struct xmpp_decls **at = &pool->decls; *at != NULL; at = &(*at)->next)
		if (*at == d) {
			*at = d->next;
			break;
		}
	pool->n_decls--;
	decls_free(d);
}

/* A parser that stands behind a header with these declarations. */
static struct xmpp_parse *
take_primed(struct xmpp_xmlpool *pool, struct xmpp_decls *d)
{
	struct xmpp_parse *p = d->free;
	struct td_buf b = { 0 };

	if (p != NULL) {
		d->free = p->next;
		d->n_free--;
		return p;
	}
	p = take_blank(pool);
	td_buf_addf(&b, "<x%s>", d->text);
	p->priming = true;
	(void)XML_Parse(p->xp, b.p, (int)b.len, 0);
	p->priming = false;
	p->depth = 1;
	p->total = p->boundary = p->progress = (long)b.len;
	td_buf_fini(&b);
	return p;
}

static void
give_primed(struct xmpp_xmlpool *pool, struct xmpp_decls *d, struct xmpp_parse *p)
{
	if (p->total > RETIRE_BYTES || d->n_free >= POOL_KEEP) {
		give_blank(pool, p);
		return;
	}
	parse_clean(p);
	p->next = d->free;
	d->free = p;
	d->n_free++;
}

/* ---- readers ---- */

void
xmpp_reader_init(struct xmpp_reader *r, struct xmpp_xmlpool *pool, uint32_t max_stanza,
		 uint16_t max_depth)
{
	*r = (struct xmpp_reader){ .pool = pool, .max_stanza = max_stanza, .max_depth = max_depth };
}

void
xmpp_reader_fini(struct xmpp_reader *r)
{
	xmpp_reader_restart(r);
}

void
xmpp_reader_restart(struct xmpp_reader *r)
{
	if (r->parse != NULL)
		give_blank(r->pool, r->parse);
	if (r->pool != NULL)
		decls_unref(r->pool, r->decls);
	else if (r->decls != NULL)
		decls_free(r->decls);
	xmpp_stanza_unref(&r->stanza);
	r->parse = NULL;
	r->decls = NULL;
	r->header = NULL;
	r->error = NULL;
	r->opened = r->closed = r->component = false;
}

/* Without a pool <decls> is the reader's own. */
void
xmpp_reader_leave(struct xmpp_reader *r)
{
	struct xmpp_decls *shared = r->decls;

	if (r->parse != NULL)
		give_blank(r->pool, r->parse);
	r->parse = NULL;
	r->header = NULL;
	if (shared != NULL) {
		r->decls = td_zalloc(sizeof(*r->decls));
		r->decls->text = td_strdup(shared->text);
		decls_unref(r->pool, shared);
	}
	r->pool = NULL;
}

void
xmpp_reader_enter(struct xmpp_reader *r, struct xmpp_xmlpool *pool)
{
	struct xmpp_decls *own = r->decls;

	r->pool = pool;
	if (own != NULL) {
		r->decls = decls_ref(pool, own->text);
		decls_free(own);
	}
}

static enum xmpp_read
fail(struct xmpp_reader *r, const char *error)
{
	r->error = error;
	r->closed = true;
	return XR_ERROR;
}

static const char *
expat_condition(XML_Parser xp)
{
	switch (XML_GetErrorCode(xp)) {
	case XML_ERROR_UNDEFINED_ENTITY:
	case XML_ERROR_RECURSIVE_ENTITY_REF:
	case XML_ERROR_ASYNC_ENTITY:
	case XML_ERROR_EXTERNAL_ENTITY_HANDLING: return "restricted-xml";
	case XML_ERROR_UNKNOWN_ENCODING:
	case XML_ERROR_INCORRECT_ENCODING: return "unsupported-encoding";
	default: return "not-well-formed";
	}
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without the white space it begins with: between stanzas that means nothing. */
static struct td_str
skip_space(struct td_str s)
{
	while (s.len > 0 && is_space(*s.p)) {
		s.p++;
		s.len--;
	}
	return s;
}

/* What of this feed lies behind the last boundary. */
static struct td_str
behind_boundary(const struct xmpp_parse *p)
{
	return skip_space(
		td_str(p->chunk + (p->boundary - p->base), (size_t)(p->total - p->boundary)));
}

static enum xmpp_read
take_event(struct xmpp_reader *r, struct xmpp_parse *p)
{
	enum xmpp_read ev = p->event;

	p->event = XR_MORE;
	if (ev == XR_OPEN) {
		if (p->decls.len > DECLS_MAX)
			return fail(r, "policy-violation");
		r->opened = true;
		r->decls = decls_ref(r->pool, td_buf_cstr(&p->decls));
		r->header = p->header;
		r->component = p->component;
	} else if (ev == XR_STANZA) {
		r->stanza = p->stanza;
		p->stanza = NULL;
	} else if (ev == XR_CLOSE) {
		r->closed = true;
	}
	return ev;
}

/* An unfinished stanza or tag: its bytes outlive the caller's. */
static void
keep_partial(struct xmpp_parse *p)
{
	long from = p->boundary > p->base ? p->boundary : p->base;

	td_buf_add(&p->partial, p->chunk + (from - p->base), (size_t)(p->total - from));
}

/* What expat's return means; the parse may be given back to the pool here. */
static enum xmpp_read
after_parse(struct xmpp_reader *r, struct xmpp_parse *p, enum XML_Status st)
{
	if (p->event == XR_ERROR)
		return fail(r, p->error);
	if (p->event != XR_MORE)
		return take_event(r, p);
	if (st == XML_STATUS_ERROR) {
		if (XML_GetErrorCode(p->xp) == XML_ERROR_TAG_MISMATCH && p->depth == 1 &&
		    p->root == NULL && r->opened) {
			r->closed = true; /* "<" and "/stream:stream>" came apart */
			return XR_CLOSE;
		}
		return fail(r, expat_condition(p->xp));
	}
	if (p->total - p->boundary > (long)r->max_stanza || p->total - p->progress > TOKEN_MAX)
		return fail(r, "policy-violation");
	if (p->depth == 0)
		return XR_MORE;
	if (p->root != NULL || p->boundary < p->base) {
		keep_partial(p);
		return XR_MORE;
	}
	if (behind_boundary(p).len == 0) {
		p->boundary = p->total;
		give_primed(r->pool, r->decls, p);
		r->parse = NULL;
	} else {
		keep_partial(p); /* the beginning of a tag */
	}
	return XR_MORE;
}

/* Between stanzas "</" can only be the end of the stream. */
static bool
is_close(struct td_str s)
{
	return td_str_starts(s, "</");
}

static enum xmpp_read
feed_rest(struct xmpp_reader *r)
{
	struct xmpp_parse *p = r->parse;

	if (p == NULL || r->closed)
		return XR_MORE;
	if (p->header != NULL && r->opened) {
		td_arena_free(p->header_arena);
		p->header_arena = NULL;
		p->header = NULL;
		r->header = NULL;
	}
	if (p->root_closed) {
		r->closed = true;
		return XR_CLOSE;
	}
	if (!p->suspended) /* the event was at the end of the bytes */
		return after_parse(r, p, XML_STATUS_OK);
	if (p->boundary >= p->base && is_close(behind_boundary(p))) {
		r->closed = true;
		return XR_CLOSE;
	}
	p->suspended = false;
	return after_parse(r, p, XML_ResumeParser(p->xp));
}

enum xmpp_read
xmpp_reader_feed(struct xmpp_reader *r, const char *data, size_t len)
{
	struct xmpp_parse *p;

	r->stanza = NULL;
	if (data == NULL)
		return feed_rest(r);
	if (r->closed)
		return XR_MORE;
	if (r->parse == NULL) {
		struct td_str in = skip_space(td_str(data, len));

		data = in.p;
		len = in.len;
		if (len == 0)
			return XR_MORE;
		if (r->opened && is_close(in)) {
			r->closed = true;
			return XR_CLOSE;
		}
		r->parse = r->opened ? take_primed(r->pool, r->decls) : take_blank(r->pool);
	}
	/* expat takes UTF-16 for what it looks like, whatever it was told; our offsets and the bytes
	 * we pass on are UTF-8 (RFC 6120 11.6) */
	if (!r->opened && memchr(data, '\0', len) != NULL)
		return fail(r, "unsupported-encoding");
	p = r->parse;
	p->max_bytes = r->max_stanza;
	p->max_depth = r->max_depth + 1u; /* the stream element is one */
	p->component = r->component;
	p->chunk = data;
	p->base = p->total;
	p->total += (long)len;
	return after_parse(r, p, XML_Parse(p->xp, data, (int)len, 0));
}

struct td_str
xmpp_reader_default_ns(const struct xmpp_reader *r)
{
	static const char mark[] = " xmlns='";
	const char *at = r->decls != NULL ? strstr(r->decls->text, mark) : NULL;

	if (at == NULL)
		return TD_STR("");
	at += sizeof(mark) - 1;
	return td_str(at, strcspn(at, "'"));
}

bool
xmpp_reader_has_input(const struct xmpp_reader *r)
{
	return r->parse != NULL && r->parse->suspended;
}

void
xmpp_reader_take_rest(struct xmpp_reader *r, struct td_buf *out)
{
	struct xmpp_parse *p = r->parse;

	if (p == NULL || !p->suspended || p->boundary < p->base)
		return;
	td_buf_add(out, p->chunk + (p->boundary - p->base), (size_t)(p->total - p->boundary));
	give_blank(r->pool, p);
	r->parse = NULL;
	r->header = NULL;
}

/* ---- one element from memory ---- */

struct td_str
xmpp_xml_skip_declaration(struct td_str s)
{
	const char *end;

	if (!td_str_starts(s, "<?xml "))
		return s;
	end = memmem(s.p, s.len, "?>", 2);
	return end == NULL ? s : td_str_trim(td_str(end + 2, s.len - (size_t)(end + 2 - s.p)));
}

struct xmpp_node *
xmpp_xml_parse(struct td_arena *a, struct td_str text, const char *default_ns, const char **why)
{
	struct xmpp_parse *p = parse_new();
	struct td_buf b = { 0 };
	struct xmpp_node *root = NULL;
	const char *unasked;

	if (why == NULL)
		why = &unasked;
	*why = NULL;
	td_buf_addz(&b, "<x xmlns:stream='" NS_STREAM "'");
	if (default_ns != NULL) {
		td_buf_addz(&b, " xmlns='");
		td_buf_add_xml(&b, td_cstr(default_ns));
		td_buf_addc(&b, '\'');
	}
	td_buf_addc(&b, '>');
	p->arena = a;
	p->single = true;
	p->max_depth = XMPP_XML_DEPTH + 1; /* <x> is one */
	p->max_bytes = UINT32_MAX >> 1;
	p->priming = true;
	(void)XML_Parse(p->xp, b.p, (int)b.len, 0);
	p->priming = false;
	p->depth = 1;
	if (text.len > INT32_MAX / 2 ||
	    XML_Parse(p->xp, text.p, (int)text.len, 0) == XML_STATUS_ERROR)
		*why = p->error != NULL ? p->error : expat_condition(p->xp);
	else if (p->event != XR_STANZA || p->depth != 1)
		*why = "not-well-formed";
	else
		root = p->root;
	if (root != NULL && XML_Parse(p->xp, "</x>", 4, 1) == XML_STATUS_ERROR) {
		*why = "not-well-formed";
		root = NULL;
	}
	p->arena = NULL; /* the caller's */
	td_buf_fini(&b);
	parse_free(p);
	return root;
}
