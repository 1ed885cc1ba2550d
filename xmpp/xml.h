/* xml - the tree a stanza is parsed into, writing it back, and reading streams of it.
 * Thread: a tree belongs to its stanza; a reader and its pool to one worker.
 *
 * Idle streams hold no parser: expat parsers live in a pool per worker and are lent while a
 * stanza is incomplete.  A parser that stands between two stanzas depends only on the
 * namespaces its stream header declared, so it is kept under that text and goes unchanged
 * to the next stream with the same header. */
#ifndef XMPP_XML_H
#define XMPP_XML_H
#include <stdbool.h>
#include "gateway/base/str.h"

struct td_arena;
struct xmpp_stanza;

struct xmpp_attr {
	struct xmpp_attr *next;
	const char *name;
	const char *ns; /* NULL = none; NS_XML for xml:lang */
	struct td_str value;
};

/* An element, or text when name == NULL.  All memory is the arena's. */
struct xmpp_node {
	struct xmpp_node *parent, *next, *first, *last;
	const char *name;
	const char *ns;
	struct xmpp_attr *attrs;
	struct td_str text; /* of a text node: unescaped */
};

struct xmpp_node *xmpp_node_new(struct td_arena *a, const char *name, const char *ns);
/* Append a new child element; ns NULL = the parent's. */
struct xmpp_node *xmpp_node_add(struct td_arena *a, struct xmpp_node *parent, const char *name,
				const char *ns);
void xmpp_node_add_text(struct td_arena *a, struct xmpp_node *parent, struct td_str text);
void xmpp_node_append(struct xmpp_node *parent, struct xmpp_node *child);
void xmpp_node_unlink(struct xmpp_node *n);
/* Set (or remove: value.p == NULL) an attribute without namespace; copies the value. */
void xmpp_node_set(struct td_arena *a, struct xmpp_node *n, const char *name, struct td_str value);
/* A boolean of XML Schema: "true", "1", "false" or "0"; false: it is none, and *out as it was. */
bool xmpp_bool(struct td_str v, bool *out);
/* "true" or "1"? */
bool xmpp_is_true(struct td_str v);
/* TD_STR_NULL when absent. */
struct td_str xmpp_node_attr(const struct xmpp_node *n, const char *name);
struct td_str xmpp_node_lang(const struct xmpp_node *n); /* its own xml:lang */
void xmpp_node_set_lang(struct td_arena *a, struct xmpp_node *n, struct td_str value);
bool xmpp_node_is(const struct xmpp_node *n, const char *ns, const char *name);
/* First child element with that name; ns NULL = any.  NULL name = any element. */
struct xmpp_node *xmpp_node_child(const struct xmpp_node *n, const char *ns, const char *name);
struct xmpp_node *xmpp_node_next_elem(const struct xmpp_node *n); /* next sibling element */
/* Concatenated direct text; borrows when there is one text node, else copies into <a>. */
struct td_str xmpp_node_text(struct td_arena *a, const struct xmpp_node *n);
/* Deep copy. */
struct xmpp_node *xmpp_node_copy(struct td_arena *a, const struct xmpp_node *n);
/* Serialise; <inherited_ns> is the default namespace in force around it (NULL = none). */
void xmpp_node_write(struct td_buf *out, const struct xmpp_node *n, const char *inherited_ns);
/* Attributes only, those <wanted> (NULL = all), each with a leading blank. */
void xmpp_node_write_attrs(struct td_buf *out, const struct xmpp_attr *at,
			   bool (*wanted)(const struct xmpp_attr *));
/* Serialise only the children of <n>. */
void xmpp_node_write_children(struct td_buf *out, const struct xmpp_node *n,
			      const char *inherited_ns);
/* Without the XML declaration, and the blanks behind it, that a stream may not carry but a text may. */
struct td_str xmpp_xml_skip_declaration(struct td_str s);
/* As deep as max_depth may let a stanza be, and what is wrapped around it. */
#define XMPP_XML_DEPTH 1100u
/* Parse one element from memory (Lua, stored stanzas): restricted XML as on a stream, at most XMPP_XML_DEPTH
 * elements inside each other.  <default_ns> applies when the text declares none.  NULL + *why (may be NULL) on failure. */
struct xmpp_node *xmpp_xml_parse(struct td_arena *a, struct td_str text, const char *default_ns,
				 const char **why);

/* ---- streams ---- */

struct xmpp_xmlpool;
struct xmpp_decls;
struct xmpp_parse;
struct xmpp_xmlpool *xmpp_xmlpool_new(void);
void xmpp_xmlpool_free(struct xmpp_xmlpool *p);

enum xmpp_read {
	XR_MORE = 0, /* all input used, nothing complete */
	XR_OPEN,     /* stream header: reader.header (valid until the next call) */
	XR_STANZA,   /* reader.stanza: yours (one reference) */
	XR_CLOSE,    /* </stream:stream> */
	XR_ERROR,    /* reader.error: a stream error condition name */
};

/* Embed in a stream; zeroed + xmpp_reader_init.  64 bytes and nothing else while idle. */
struct xmpp_reader {
	struct xmpp_xmlpool *pool;
	struct xmpp_parse *parse; /* lent state, NULL between stanzas */
	struct xmpp_decls *decls; /* the header's namespace declarations, shared in the pool */
	const char *error;        /* static */
	const struct xmpp_node *header;
	struct xmpp_stanza *stanza;
	uint32_t max_stanza; /* bytes */
	uint16_t max_depth;
	bool opened, closed;
	bool component; /* the header's default namespace is NS_COMPONENT, read as NS_CLIENT */
};
void xmpp_reader_init(struct xmpp_reader *r, struct xmpp_xmlpool *pool, uint32_t max_stanza,
		      uint16_t max_depth);
void xmpp_reader_fini(struct xmpp_reader *r);
/* Start over for a new stream header (after TLS, after SASL); unread input is dropped. */
void xmpp_reader_restart(struct xmpp_reader *r);
/* To another worker: leave here, between two stanzas (unread input is dropped), and enter there.  In
 * between nothing may be fed; fini is fine on either side. */
void xmpp_reader_leave(struct xmpp_reader *r);
void xmpp_reader_enter(struct xmpp_reader *r, struct xmpp_xmlpool *pool);
/* Feed bytes: call until XR_MORE, with (data, len) the first time and (NULL, 0) for what is
 * left of them.  After XR_ERROR or XR_CLOSE nothing more is read. */
enum xmpp_read xmpp_reader_feed(struct xmpp_reader *r, const char *data, size_t len);
/* The default namespace the header declared; "" when none. */
struct td_str xmpp_reader_default_ns(const struct xmpp_reader *r);
/* Bytes given but not yet read (after a stanza that ends this stream's present use). */
bool xmpp_reader_has_input(const struct xmpp_reader *r);
/* Append those bytes to <out> and forget them, so that they can be fed again later. */
void xmpp_reader_take_rest(struct xmpp_reader *r, struct td_buf *out);
#endif
