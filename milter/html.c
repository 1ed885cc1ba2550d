/* html - HTML of a mail to text, by libxml2's HTML parser in its event form: no tree is built.
 * Mail HTML is hostile; nesting over DEPTH_MAX ends the parsing (an end tag costs a walk up the
 * open elements), and the rest is only stripped of its tags. */
#include "milter/text.h"

#include <strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>

#define DEPTH_MAX 400u
#define QUOTE_MAX 8u
#define URL_MAX 2000u
#define LISTS_MAX 16u
#define TAG_BLANKS_MAX 1000u

enum el_kind {
	EK_BLOCK = 1, /* on lines of its own */
	EK_PARA,      /* with an empty line around */
	EK_BREAK,
	EK_RULE,
	EK_LIST,
	EK_ITEM,
	EK_CELL,
	EK_QUOTE,
	EK_PRE,
	EK_LINK,
	EK_IMAGE,
	EK_HIDE,
};

// clang-format off
static const struct {
	const char *name;
	enum el_kind kind;
} elements[] = {
	{ "a", EK_LINK }, { "address", EK_BLOCK }, { "applet", EK_HIDE }, { "article", EK_BLOCK },
	{ "audio", EK_HIDE }, { "blockquote", EK_QUOTE }, { "br", EK_BREAK }, { "caption", EK_BLOCK },
	{ "center", EK_BLOCK }, { "dd", EK_BLOCK }, { "div", EK_BLOCK }, { "dl", EK_PARA },
	{ "dt", EK_BLOCK }, { "embed", EK_HIDE }, { "fieldset", EK_BLOCK }, { "footer", EK_BLOCK },
	{ "form", EK_BLOCK }, { "frame", EK_HIDE }, { "h1", EK_PARA }, { "h2", EK_PARA },
	{ "h3", EK_PARA }, { "h4", EK_PARA }, { "h5", EK_PARA }, { "h6", EK_PARA },
	{ "head", EK_HIDE }, { "header", EK_BLOCK }, { "hr", EK_RULE }, { "iframe", EK_HIDE },
	{ "img", EK_IMAGE }, { "li", EK_ITEM }, { "main", EK_BLOCK }, { "math", EK_HIDE },
	{ "nav", EK_BLOCK }, { "noscript", EK_HIDE }, { "object", EK_HIDE }, { "ol", EK_LIST },
	{ "p", EK_PARA }, { "pre", EK_PRE }, { "script", EK_HIDE }, { "section", EK_BLOCK },
	{ "select", EK_HIDE }, { "style", EK_HIDE }, { "svg", EK_HIDE }, { "table", EK_BLOCK },
	{ "td", EK_CELL }, { "template", EK_HIDE }, { "textarea", EK_HIDE }, { "th", EK_CELL },
	{ "title", EK_HIDE }, { "tr", EK_BLOCK }, { "ul", EK_LIST }, { "video", EK_HIDE },
};
// clang-format on

struct writer {
	struct td_buf *out;
	size_t start, max;
	htmlParserCtxtPtr ctxt;
	unsigned depth, hidden; /* hidden: open elements inside the hidden one, itself counted */
	unsigned quote, pre, lines, n_lists;
	unsigned gap; /* quote depth of the empty lines that are due: the least since they were */
	int lists[LISTS_MAX];    /* next number, 0 = unordered */
	bool blank, begun, item; /* a blank is due; text was written; right behind "- " */
	size_t link_at;
	char link[URL_MAX + 1];
	bool stopped; /* too deep: the rest is for strip_tags */
	bool full;
};

static int
element_order(const void *key, const void *el)
{
	return strcasecmp(key, *(const char *const *)el);
}

static enum el_kind
kind_of(const char *name)
{
	const void *e = bsearch(name, elements, sizeof(elements) / sizeof(elements[0]),
				sizeof(elements[0]), element_order);

	return e != NULL ? elements[((const char *)e - (const char *)elements) /
				    (ptrdiff_t)sizeof(elements[0])]
				   .kind
			 : (enum el_kind)0;
}

/* ---- writing ---- */

static void
want_lines(struct writer *w, unsigned n)
{
	if (w->begun && !w->item && n > w->lines) {
		w->gap = w->lines == 0 ? w->quote : w->gap;
		w->lines = n;
	}
	w->blank = false;
}

/* Put down what is due before a visible character. */
static void
put_due(struct writer *w)
{
	struct td_buf *b = w->out;
	bool fresh = w->lines > 0 || !w->begun;

	for (; w->lines > 0; w->lines--) {
		td_buf_addc(b, '\n');
		if (w->lines > 1)
			for (unsigned q = 0; q < w->gap; q++)
				td_buf_addz(b, q + 1 < w->gap ? "> " : ">");
	}
	if (fresh)
		for (unsigned q = 0; q < w->quote; q++)
			td_buf_addz(b, "> ");
	else if (w->blank && !w->item)
		td_buf_addc(b, ' ');
	w->blank = w->item = false;
	w->begun = true;
}

/* Characters that mails use to fill a preview line, and that show nothing. */
static size_t
filler(const char *p, size_t n, bool after_blank)
{
	if (n >= 2 && memcmp(p, "\xC2\xAD", 2) == 0) /* U+00AD */
		return 2;
	if (n >= 2 && memcmp(p, "\xCD\x8F", 2) == 0) /* U+034F */
		return 2;
	if (n >= 3 && (memcmp(p, "\xE2\x80\x8B", 3) == 0 || memcmp(p, "\xEF\xBB\xBF", 3) == 0))
		return 3; /* U+200B, U+FEFF */
	/* joiners mean something between letters only */
	if (after_blank && n >= 3 &&
	    (memcmp(p, "\xE2\x80\x8C", 3) == 0 || memcmp(p, "\xE2\x80\x8D", 3) == 0))
		return 3;
	return 0;
}

static void
put_text(struct writer *w, const char *p, size_t n)
{
	for (size_t i = 0, skip; i < n; i++) {
		if (w->out->len - w->start >= w->max) {
			w->full = true;
			return;
		}
		if (p[i] == '\n' && w->pre > 0) {
			want_lines(w, w->lines < 3 ? w->lines + 1 : 3);
		} else if (p[i] == ' ' && w->pre > 0) {
			put_due(w);
			td_buf_addc(w->out, ' ');
		} else if (p[i] == ' ' || p[i] == '\n' || p[i] == '\t' || p[i] == '\r' ||
			   p[i] == '\f') {
			w->blank = w->begun && w->lines == 0;
		} else if (n - i >= 2 && memcmp(p + i, "\xC2\xA0", 2) == 0) {
			w->blank = w->begun && w->lines == 0;
			i++;
		} else if ((skip = filler(p + i, n - i, w->blank || w->lines > 0 || !w->begun)) >
			   0) {
			i += skip - 1;
		} else {
			put_due(w);
			td_buf_addc(w->out, p[i]);
		}
	}
}

/* ---- attributes ---- */

static const char *
attr(const xmlChar **atts, const char *name)
{
	for (; atts != NULL && atts[0] != NULL; atts += 2)
		if (strcasecmp((const char *)atts[0], name) == 0)
			return atts[1] != NULL ? (const char *)atts[1] : "";
	return NULL;
}

/* "max-height:0", but not "max-height:0.5em": the value is zero whatever its unit. */
static bool
is_zero(const char *v)
{
	if (*v != '0')
		return false;
	for (v++; *v == '0' || *v == '.'; v++)
		;
	return *v < '1' || *v > '9';
}

/* Preheaders and what only another screen size shows. */
static bool
is_hidden(const xmlChar **atts)
{
	const char *style = attr(atts, "style"), *p;
	char flat[512];
	size_t n = 0;

	if (attr(atts, "hidden") != NULL)
		return true;
	for (p = style; p != NULL && *p != '\0' && n + 1 < sizeof(flat); p++)
		if (*p != ' ' && *p != '\t' && *p != '\n' && *p != '\r')
			flat[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
	flat[n] = '\0';
	if (strstr(flat, "display:none") != NULL || strstr(flat, "visibility:hidden") != NULL)
		return true;
	if ((p = strstr(flat, "max-height:")) != NULL && is_zero(p + 11))
		return true;
	return (p = strstr(flat, "opacity:")) != NULL && is_zero(p + 8) &&
	       (p == flat || p[-1] == ';');
}

/* ---- links ---- */

static void
open_link(struct writer *w, const char *href)
{
	static const char *const schemes[] = { "http://", "https://", "mailto:", "xmpp:",
					       "tel:",    "ftp://",   "sip:",    "geo:" };
	size_t n = href != NULL ? strlen(href) : 0, o = 0;

	w->link[0] = '\0';
	w->link_at = w->out->len;
	if (n == 0 || n > URL_MAX)
		return;
	while (*href == ' ' || *href == '\n' || *href == '\t' || *href == '\r')
		href++;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (strncasecmp(href, schemes[i], strlen(schemes[i])) != 0)
			continue;
		/* a blank or an angle bracket would end it early for the reader's client */
		for (; *href != '\0'; href++)
			if ((unsigned char)*href > 0x20 && *href != '<' && *href != '>' &&
			    *href != 0x7F)
				w->link[o++] = *href;
		w->link[o] = '\0';
		return;
	}
}

/* Is the text of the link its address already? */
static bool
says_url(struct td_str text, const char *url)
{
	static const char *const skip[] = { "http://", "https://", "mailto:", "tel:" };
	struct td_str u = td_cstr(url);

	text = td_str_trim(text);
	for (int pass = 0; pass < 2; pass++) {
		struct td_str t = text, v = u;

		if (t.len > 0 && t.p[t.len - 1] == '/')
			t.len--;
		if (v.len > 0 && v.p[v.len - 1] == '/')
			v.len--;
		if (td_str_ieq(t, v))
			return true;
		for (size_t i = 0; i < sizeof(skip) / sizeof(skip[0]); i++)
			if (td_str_starts(u, skip[i])) {
				u = td_str(u.p + strlen(skip[i]), u.len - strlen(skip[i]));
				break;
			}
	}
	return false;
}

static void
close_link(struct writer *w)
{
	struct td_str text;

	if (w->link[0] == '\0' || w->out->len <= w->link_at)
		return;
	text = td_str(w->out->p + w->link_at, w->out->len - w->link_at);
	if (!says_url(text, w->link) && w->out->len - w->start < w->max) {
		td_buf_addz(w->out, " <");
		td_buf_addz(w->out, w->link);
		td_buf_addc(w->out, '>');
	}
	w->link[0] = '\0';
}

/* ---- elements ---- */

static void
open_item(struct writer *w)
{
	int *next = w->n_lists > 0 ? &w->lists[w->n_lists - 1] : NULL;

	want_lines(w, 1);
	put_due(w);
	for (unsigned i = 1; i < w->n_lists; i++)
		td_buf_addz(w->out, "  ");
	if (next != NULL && *next > 0)
		td_buf_addf(w->out, "%d. ", (*next)++);
	else
		td_buf_addz(w->out, "- ");
	w->item = true;
}

static void
open_element(struct writer *w, enum el_kind kind, const char *name, const xmlChar **atts)
{
	const char *alt;

	switch (kind) {
	case EK_BLOCK: want_lines(w, 1); break;
	case EK_PARA: want_lines(w, 2); break;
	case EK_BREAK: want_lines(w, w->lines < 2 ? w->lines + 1 : 2); break;
	case EK_RULE:
		want_lines(w, 1);
		put_text(w, "---", 3);
		want_lines(w, 1);
		break;
	case EK_LIST:
		w->item = false;
		want_lines(w, w->n_lists == 0 ? 2 : 1);
		if (w->n_lists < LISTS_MAX)
			w->lists[w->n_lists++] = strcasecmp(name, "ol") == 0;
		break;
	case EK_ITEM: open_item(w); break;
	case EK_CELL: w->blank = w->begun && w->lines == 0; break;
	case EK_QUOTE:
		want_lines(w, 1);
		if (w->quote < QUOTE_MAX)
			w->quote++;
		break;
	case EK_PRE:
		want_lines(w, 2);
		w->pre++;
		break;
	case EK_LINK: open_link(w, attr(atts, "href")); break;
	case EK_IMAGE:
		alt = attr(atts, "alt");
		if (alt != NULL && strlen(alt) <= 200)
			put_text(w, alt, strlen(alt));
		break;
	case EK_HIDE: break;
	}
}

static void
close_element(struct writer *w, enum el_kind kind)
{
	switch (kind) {
	case EK_BLOCK:
	case EK_ITEM:
		w->item = false;
		want_lines(w, 1);
		break;
	case EK_PARA: want_lines(w, 2); break;
	case EK_LIST:
		w->item = false;
		if (w->n_lists > 0)
			w->n_lists--;
		want_lines(w, w->n_lists == 0 ? 2 : 1);
		break;
	case EK_CELL: w->blank = w->begun && w->lines == 0; break;
	case EK_QUOTE:
		/* what is due belongs outside: the prefix is written with the next text */
		if (w->quote > 0)
			w->quote--;
		w->gap = w->gap < w->quote ? w->gap : w->quote;
		want_lines(w, 1);
		break;
	case EK_PRE:
		if (w->pre > 0)
			w->pre--;
		want_lines(w, 2);
		break;
	case EK_LINK: close_link(w); break;
	case EK_BREAK:
	case EK_RULE:
	case EK_IMAGE:
	case EK_HIDE: break;
	}
}

static void
on_start(void *arg, const xmlChar *name, const xmlChar **atts)
{
	struct writer *w = arg;
	enum el_kind kind = kind_of((const char *)name);

	if (++w->depth > DEPTH_MAX || w->full) {
		w->stopped = !w->full;
		xmlStopParser(w->ctxt);
		return;
	}
	if (w->hidden > 0 || kind == EK_HIDE || is_hidden(atts))
		w->hidden++;
	else if (kind != 0)
		open_element(w, kind, (const char *)name, atts);
}

static void
on_end(void *arg, const xmlChar *name)
{
	struct writer *w = arg;
	enum el_kind kind = kind_of((const char *)name);

	if (w->depth > 0)
		w->depth--;
	if (w->hidden > 0)
		w->hidden--;
	else if (kind != 0)
		close_element(w, kind);
}

static void
on_text(void *arg, const xmlChar *p, int n)
{
	struct writer *w = arg;

	if (w->hidden > 0 || w->stopped || n <= 0)
		return;
	put_text(w, (const char *)p, (size_t)n);
	if (w->full)
		xmlStopParser(w->ctxt);
}

static void
on_error(void *arg, const char *fmt, ...)
{
	(void)arg;
	(void)fmt;
}

static void
on_structured(void *arg, xmlErrorPtr e)
{
	(void)arg;
	(void)e;
}

/* What the parser did not get to: tags out, the rest as it is. */
static void
strip_tags(struct writer *w, struct td_str s)
{
	size_t i = 0;

	w->stopped = false;
	while (i < s.len && !w->full) {
		const char *lt = memchr(s.p + i, '<', s.len - i), *gt;
		size_t end = lt != NULL ? (size_t)(lt - s.p) : s.len;

		put_text(w, s.p + i, end - i);
		if (lt == NULL)
			return;
		gt = memchr(lt, '>', s.len - end);
		if (gt == NULL)
			return;
		i = (size_t)(gt - s.p) + 1;
		w->blank = w->begun && w->lines == 0;
	}
}

/* The parser compares each attribute of a tag with all before it: how many can one have? */
static bool
has_monster_tag(struct td_str s)
{
	const char *p = s.p, *end = s.len > 0 ? s.p + s.len : p;

	while (p < end && (p = memchr(p, '<', (size_t)(end - p))) != NULL) {
		unsigned seps = 0;

		if (++p < end && (*p == '!' || *p == '/' || *p == '?'))
			continue;
		for (; p < end && *p != '>'; p++)
			if ((unsigned char)*p <= ' ' || *p == '"' || *p == '\'')
				if (++seps > TAG_BLANKS_MAX)
					return true;
	}
	return false;
}

static void
parse(struct writer *w, struct td_str html)
{
	htmlParserCtxtPtr ctxt = htmlCreateMemoryParserCtxt(html.p, (int)html.len);
	xmlSAXHandler sax = { 0 };
	long at;

	if (ctxt == NULL)
		return;
	sax.startElement = on_start;
	sax.endElement = on_end;
	sax.characters = on_text;
	sax.ignorableWhitespace = on_text;
	sax.cdataBlock = NULL; /* script and style */
	sax.error = on_error;
	sax.warning = on_error;
	sax.fatalError = on_error;
	sax.serror = on_structured;
	*ctxt->sax = sax;
	ctxt->userData = w;
	w->ctxt = ctxt;
	(void)htmlCtxtUseOptions(ctxt,
				 HTML_PARSE_RECOVER | HTML_PARSE_NONET | HTML_PARSE_IGNORE_ENC);
	(void)xmlSwitchEncoding(ctxt, XML_CHAR_ENCODING_UTF8);
	(void)htmlParseDocument(ctxt);
	if (w->stopped && (at = xmlByteConsumed(ctxt)) >= 0 && (size_t)at < html.len)
		strip_tags(w, td_str(html.p + at, html.len - (size_t)at));
	if (ctxt->myDoc != NULL)
		xmlFreeDoc(ctxt->myDoc);
	htmlFreeParserCtxt(ctxt);
}

void
milt_text_from_html(struct td_str html, size_t max, struct td_buf *out)
{
	struct writer *w = td_zalloc(sizeof(*w));

	w->out = out;
	w->start = out->len;
	w->max = max;
	if (has_monster_tag(html))
		strip_tags(w, html);
	else if (html.len > 0 && html.len <= INT32_MAX)
		parse(w, html);
	if (w->begun)
		td_buf_addc(out, '\n');
	free(w);
}
