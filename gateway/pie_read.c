/* pie_read - see the header.  One expat parser per open file, one chain of levels through all of them:
 * an include at some level is read by another parser that stands at the same level.
 *
 * Levels: what the next element may be.  Below the level of pieces the element is copied out, with namespace
 * declarations of its own, until it closes. */
#include "gateway/pie_read.h"

#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEP '\n' /* between namespace and name, as expat gives them */
#define NS_PIE "urn:xmpp:pie:0"
#define NS_PIE_OLD "http://www.xmpp.org/extensions/xep-0227.html#ns" /* before it was a draft */
#define NS_XI "http://www.w3.org/2001/XInclude"
#define NS_PROSODY "http://prosody.im/protocol/extended-xep0227"
#define NS_XML "http://www.w3.org/XML/1998/namespace"
#define READ_SIZE 65536

enum level {
	L_TOP = 0, /* <server-data/> is to come */
	L_SERVER,  /* <host/> */
	L_HOST,    /* <user/> */
	L_USER,    /* what belongs to a user */
	L_SPLIT,   /* inside something that is handed on child by child */
	L_NODES,   /* in <pubsub/>: <items/> */
	L_ITEMS,   /* <item/> */
};

/* What is split, and into what. */
static const struct container {
	const char *ns, *name, *kind; /* kind NULL: see L_NODES */
} containers[] = {
	{ "jabber:iq:roster", "query", "roster" },
	{ NS_PIE, "offline-messages", "offline" },
	{ NS_PIE_OLD, "offline-messages", "offline" },
	{ "jabber:iq:private", "query", "private" },
	{ "urn:xmpp:pie:0#mam", "archive", "archive" },
	{ "http://jabber.org/protocol/pubsub#owner", "pubsub", "owner" },
	{ "http://jabber.org/protocol/pubsub", "pubsub", NULL },
};

struct pie_file {
	struct pie_file *outer;
	struct pie_reader *r;
	XML_Parser parser;
	char *name; /* as told to people */
	char *dir;  /* relative to the root folder, "" or with a slash at its end */
	bool root_seen;
	bool broken;  /* stop */
	uint64_t fed; /* bytes given to the parser */
};

struct pie_reader {
	struct pie_sink sink;
	struct pie_file *file; /* innermost */
	unsigned depth;        /* of files */
	int root;              /* folder of the first file; -1 = no includes */
	char **names;          /* of all files ever */
	size_t n_names;

	enum level level;
	struct td_buf domain, node, prefix; /* prefix: of names as told to people */
	const char *kind;                   /* of L_SPLIT's pieces */
	bool in_host, in_user, user_whole;
	bool failed; /* some file could not be read to its end */

	struct td_buf piece; /* being copied; depth > 0 */
	unsigned piece_depth;
	const char *piece_kind;
	unsigned long piece_line;
	char *piece_ns[PIE_DEPTH_MAX + 1]; /* default namespace at each depth */
	unsigned skip;                     /* depth below an element that is left out */
};

/* ---- telling ---- */

static struct pie_place
here(const struct pie_reader *r)
{
	struct pie_place at = { r->file != NULL ? r->file->name : "", 0 };

	if (r->file != NULL && r->file->parser != NULL)
		at.line = XML_GetCurrentLineNumber(r->file->parser);
	return at;
}

static void trouble(struct pie_reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void
trouble(struct pie_reader *r, const char *fmt, ...)
{
	struct pie_place at = here(r);
	struct td_buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	td_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	r->sink.trouble(r->sink.arg, &at, td_buf_cstr(&b));
	td_buf_fini(&b);
}

/* The file is at its end for us. */
static void
give_up(struct pie_reader *r)
{
	r->file->broken = r->failed = true;
	r->user_whole = false;
	(void)XML_StopParser(r->file->parser, XML_FALSE);
}

/* ---- names ---- */

/* "ns\nname" or "name"; <ns> lives in <buf>. */
static const char *
split_name(const char *full, struct td_buf *buf)
{
	const char *sep = strchr(full, SEP);

	td_buf_clear(buf);
	if (sep != NULL)
		td_buf_add(buf, full, (size_t)(sep - full));
	(void)td_buf_cstr(buf);
	return sep != NULL ? sep + 1 : full;
}

static const char *
attr(const char **attrs, const char *name)
{
	for (; *attrs != NULL; attrs += 2)
		if (strcmp(attrs[0], name) == 0)
			return attrs[1];
	return NULL;
}

static bool
is_pie(const char *ns)
{
	return strcmp(ns, NS_PIE) == 0 || strcmp(ns, NS_PIE_OLD) == 0;
}

/* ---- pieces ---- */

static void
piece_attrs(struct td_buf *b, const char **attrs)
{
	struct td_buf ns = { 0 };
	unsigned n = 0;

	for (; *attrs != NULL; attrs += 2) {
		const char *name = split_name(attrs[0], &ns);

		if (ns.len == 0)
			td_buf_addf(b, " %s='", name);
		else if (strcmp(ns.p, NS_XML) == 0)
			td_buf_addf(b, " xml:%s='", name);
		else {
			td_buf_addf(b, " xmlns:a%u='", n);
			td_buf_add_xml(b, td_buf_str(&ns));
			td_buf_addf(b, "' a%u:%s='", n++, name);
		}
		td_buf_add_xml(b, td_cstr(attrs[1]));
		td_buf_addc(b, '\'');
	}
	td_buf_fini(&ns);
}

static bool
piece_fits(struct pie_reader *r)
{
	if (r->piece.len <= PIE_PIECE_MAX && r->piece_depth < PIE_DEPTH_MAX)
		return true;
	trouble(r, "left out: an element of more than %u bytes or %u levels", PIE_PIECE_MAX,
		PIE_DEPTH_MAX);
	for (; r->piece_depth > 0; r->piece_depth--, r->skip++)
		free(r->piece_ns[r->piece_depth]);
	td_buf_fini(&r->piece);
	return false;
}

static void
piece_open(struct pie_reader *r, const char *full, const char **attrs)
{
	struct td_buf ns = { 0 };
	const char *name = split_name(full, &ns);
	const char *around = r->piece_depth > 0 ? r->piece_ns[r->piece_depth] : NULL;

	td_buf_addf(&r->piece, "<%s", name);
	if (around == NULL || strcmp(around, ns.p) != 0) {
		td_buf_addz(&r->piece, " xmlns='");
		td_buf_add_xml(&r->piece, td_buf_str(&ns));
		td_buf_addc(&r->piece, '\'');
	}
	piece_attrs(&r->piece, attrs);
	td_buf_addc(&r->piece, '>');
	r->piece_ns[++r->piece_depth] = td_strdup(ns.p);
	td_buf_fini(&ns);
	(void)piece_fits(r);
}

static void
piece_start(struct pie_reader *r, const char *kind, const char *full, const char **attrs)
{
	td_buf_clear(&r->piece);
	r->piece_kind = kind;
	r->piece_line = here(r).line;
	piece_open(r, full, attrs);
}

static void
piece_close(struct pie_reader *r, const char *full)
{
	const char *sep = strchr(full, SEP);
	struct pie_place at = { r->file->name, r->piece_line };

	td_buf_addf(&r->piece, "</%s>", sep != NULL ? sep + 1 : full);
	free(r->piece_ns[r->piece_depth--]);
	if (r->piece_depth > 0)
		return;
	if (r->piece.len <= PIE_PIECE_MAX)
		r->sink.piece(r->sink.arg, r->piece_kind, td_buf_str(&r->node),
			      td_buf_str(&r->piece), &at);
	else
		trouble(r, "left out: an element of more than %u bytes", PIE_PIECE_MAX);
	if (r->piece.cap > (1u << 20))
		td_buf_fini(&r->piece);
}

/* ---- the document's own elements ---- */

static void
leave_out(struct pie_reader *r, const char *full)
{
	struct td_buf ns = { 0 };
	const char *name = split_name(full, &ns);

	trouble(r, "left out: <%s xmlns='%s'/> is not expected here", name, ns.p);
	td_buf_fini(&ns);
	r->skip = 1;
}

static void
start_host(struct pie_reader *r, const char **attrs)
{
	const char *jid = attr(attrs, "jid");

	td_buf_clear(&r->domain);
	if (jid == NULL || jid[0] == '\0')
		trouble(r, "a <host/> without 'jid': its users are left out");
	else
		td_buf_addz(&r->domain, jid);
	r->in_host = true;
	r->level = L_HOST;
}

static void
start_user(struct pie_reader *r, const char **attrs)
{
	const char *name = attr(attrs, "name"), *created = attr(attrs, NS_PROSODY "\ncreated");
	const char *disabled = attr(attrs, NS_PROSODY "\ndisabled");
	struct pie_user u = { 0 };
	struct pie_place at = here(r);

	if (name == NULL || name[0] == '\0' || r->domain.len == 0) {
		if (r->domain.len > 0 || !r->in_host)
			trouble(r, "left out: a <user/> without %s",
				name == NULL || name[0] == '\0' ? "'name'" : "a <host/> around it");
		r->skip = 1;
		return;
	}
	u.name = td_cstr(name);
	u.domain = td_buf_str(&r->domain);
	u.password = td_cstr(attr(attrs, "password"));
	u.disabled = disabled != NULL && strcmp(disabled, "true") == 0;
	u.created = created != NULL ? strtoull(created, NULL, 10) : 0;
	r->in_user = r->user_whole = true;
	r->level = L_USER;
	r->sink.user(r->sink.arg, &u, &at);
}

static void
start_child(struct pie_reader *r, const char *full, const char **attrs)
{
	struct td_buf ns = { 0 };
	const char *name = split_name(full, &ns);
	bool scram = strcmp(ns.p, NS_PIE "#scram") == 0;

	for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
		const struct container *c = &containers[i];

		if (strcmp(ns.p, c->ns) != 0 || strcmp(name, c->name) != 0)
			continue;
		r->kind = c->kind;
		r->level = c->kind != NULL ? L_SPLIT : L_NODES;
		td_buf_fini(&ns);
		return;
	}
	td_buf_fini(&ns);
	piece_start(r, scram ? "scram" : "child", full, attrs);
}

static void include(struct pie_reader *r, const char **attrs);

/* An element where the document's own are. */
static void
start_level(struct pie_reader *r, const char *full, const char **attrs)
{
	struct td_buf ns = { 0 };
	const char *name = split_name(full, &ns);
	bool pie = is_pie(ns.p), pubsub = strcmp(ns.p, "http://jabber.org/protocol/pubsub") == 0;
	bool xi = strcmp(ns.p, NS_XI) == 0 && strcmp(name, "include") == 0;

	td_buf_fini(&ns);
	if (xi && r->level >= L_SERVER && r->level <= L_USER) {
		r->skip = 1;
		include(r, attrs);
	} else if (r->level == L_TOP && pie && strcmp(name, "server-data") == 0) {
		r->level = L_SERVER;
	} else if (r->level <= L_SERVER && pie && strcmp(name, "host") == 0) {
		start_host(r, attrs);
	} else if (r->level == L_HOST && pie && strcmp(name, "user") == 0) {
		start_user(r, attrs);
	} else if (r->level == L_USER) {
		start_child(r, full, attrs);
	} else if (r->level == L_SPLIT) {
		piece_start(r, r->kind, full, attrs);
	} else if (r->level == L_NODES && pubsub && strcmp(name, "items") == 0) {
		const char *node = attr(attrs, "node");

		td_buf_clear(&r->node);
		td_buf_addz(&r->node, node != NULL ? node : "");
		r->level = L_ITEMS;
	} else if (r->level == L_ITEMS && pubsub && strcmp(name, "item") == 0) {
		piece_start(r, "item", full, attrs);
	} else {
		leave_out(r, full);
	}
}

static void
end_level(struct pie_reader *r)
{
	switch (r->level) {
	case L_TOP:
	case L_SERVER: r->level = L_TOP; break;
	case L_HOST:
		r->in_host = false;
		td_buf_clear(&r->domain);
		r->level = L_SERVER;
		break;
	case L_USER:
		r->in_user = false;
		r->level = L_HOST;
		r->sink.user_end(r->sink.arg, r->user_whole);
		break;
	case L_SPLIT:
	case L_NODES: r->level = L_USER; break;
	case L_ITEMS:
		td_buf_clear(&r->node);
		r->level = L_NODES;
		break;
	}
}

/* ---- expat ---- */

static void XMLCALL
on_start(void *arg, const char *full, const char **attrs)
{
	struct pie_file *f = arg;
	struct pie_reader *r = f->r;

	if (f->broken)
		return;
	if (!f->root_seen && f->outer == NULL)
		r->level = L_TOP;
	f->root_seen = true;
	if (r->skip > 0)
		r->skip++;
	else if (r->piece_depth > 0)
		piece_open(r, full, attrs);
	else
		start_level(r, full, attrs);
}

static void XMLCALL
on_end(void *arg, const char *full)
{
	struct pie_file *f = arg;
	struct pie_reader *r = f->r;

	if (f->broken)
		return;
	if (r->skip > 0)
		r->skip--;
	else if (r->piece_depth > 0)
		piece_close(r, full);
	else
		end_level(r);
}

static void XMLCALL
on_text(void *arg, const char *s, int len)
{
	struct pie_file *f = arg;
	struct pie_reader *r = f->r;

	if (f->broken || r->skip > 0 || r->piece_depth == 0)
		return;
	td_buf_add_xml(&r->piece, td_str(s, (size_t)len));
	(void)piece_fits(r);
}

static void XMLCALL
on_doctype(void *arg, const char *name, const char *sysid, const char *pubid, int internal)
{
	struct pie_reader *r = ((struct pie_file *)arg)->r;

	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;
	trouble(r, "document types are refused: the rest of this is not read");
	give_up(r);
}

static bool
feed(struct pie_reader *r, const char *p, size_t n, bool last)
{
	struct pie_file *f = r->file;
	long done;

	f->fed += n;
	if (XML_Parse(f->parser, p, (int)n, last) != XML_STATUS_OK) {
		if (!f->broken)
			trouble(r, "not well-formed: %s",
				XML_ErrorString(XML_GetErrorCode(f->parser)));
		give_up(r);
		return false;
	}
	done = (long)XML_GetCurrentByteIndex(f->parser);
	if (!last && done >= 0 && f->fed - (uint64_t)done > PIE_PIECE_MAX) {
		trouble(r, "one tag of more than %u bytes", PIE_PIECE_MAX);
		give_up(r);
	}
	return !f->broken;
}

/* ---- files ---- */

static char *
remember(struct pie_reader *r, const char *name)
{
	if ((r->n_names & (r->n_names - 1)) == 0)
		r->names = td_realloc(r->names,
				      (r->n_names > 0 ? r->n_names * 2 : 1) * sizeof(*r->names));
	return r->names[r->n_names++] = td_strdup(name);
}

static void
file_begin(struct pie_reader *r, struct pie_file *f, char *name, char *dir)
{
	*f = (struct pie_file){ .outer = r->file, .r = r, .name = name, .dir = dir };
	f->parser = XML_ParserCreateNS(NULL, SEP);
	if (f->parser == NULL)
		abort();
	XML_SetUserData(f->parser, f);
	XML_SetElementHandler(f->parser, on_start, on_end);
	XML_SetCharacterDataHandler(f->parser, on_text);
	XML_SetStartDoctypeDeclHandler(f->parser, on_doctype);
	XML_SetParamEntityParsing(f->parser, XML_PARAM_ENTITY_PARSING_NEVER);
	r->file = f;
	r->depth++;
}

static void
file_end(struct pie_reader *r, struct pie_file *f)
{
	XML_ParserFree(f->parser);
	r->file = f->outer;
	r->depth--;
	free(f->dir);
}

static bool
read_fd(struct pie_reader *r, int fd)
{
	char *buf = td_alloc(READ_SIZE);
	ssize_t n;
	bool ok = true;

	do {
		do
			n = read(fd, buf, READ_SIZE);
		while (n < 0 && errno == EINTR);
		if (n < 0) {
			trouble(r, "%s", strerror(errno));
			give_up(r);
			ok = false;
		} else {
			ok = feed(r, buf, (size_t)n, n == 0);
		}
	} while (ok && n > 0);
	free(buf);
	return ok;
}

static bool
is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* "%41" to "A"; false: not a relative reference to a file that we follow. */
static bool
decode_href(const char *href, struct td_buf *out)
{
	for (; *href != '\0'; href++) {
		unsigned char c = (unsigned char)*href;

		if (c == '#' || c == '?' || c == ':')
			return false;
		if (c == '%') {
			if (strlen(href) < 3 || !td_hex_decode(td_str(href + 1, 2), &c, 1) ||
			    c == '\0' || c == '/')
				return false;
			href += 2;
		}
		td_buf_addc(out, (char)c);
	}
	return out->len > 0 && out->p[0] != '/';
}

/* Open <path> below the root folder, one part after the other: "..", and links, lead nowhere. */
static int
open_below(int root, char *path, const char **why)
{
	int dir = dup(root), fd = -1;
	char *part, *rest = path;

	*why = "it is not below the folder of the first file, or behind a link";
	while (dir >= 0 && (part = strsep(&rest, "/")) != NULL) {
		bool last = rest == NULL;

		if (!last && (part[0] == '\0' || strcmp(part, ".") == 0))
			continue;
		fd = part[0] == '\0' || strcmp(part, "..") == 0
			     ? -1
			     : openat(dir, part,
				      O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
					      (last ? 0 : O_DIRECTORY));
		if (fd < 0 && (errno == ENOENT || errno == EACCES) && strcmp(part, "..") != 0)
			*why = strerror(errno);
		close(dir);
		dir = last ? -1 : fd;
	}
	if (fd >= 0 && !is_file(fd)) {
		*why = "it is not a file";
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A file that ended early left us where it stood. */
static void
back_to(struct pie_reader *r, enum level level)
{
	for (; r->piece_depth > 0; r->piece_depth--)
		free(r->piece_ns[r->piece_depth]);
	if (r->in_user && level < L_USER) {
		r->in_user = false;
		r->sink.user_end(r->sink.arg, false);
	}
	if (level < L_HOST) {
		r->in_host = false;
		td_buf_clear(&r->domain);
	}
	td_buf_clear(&r->node);
	r->level = level;
	r->skip = 0;
}

static void
include(struct pie_reader *r, const char **attrs)
{
	const char *href = attr(attrs, "href"), *parse = attr(attrs, "parse"), *why = NULL;
	struct td_buf path = { 0 }, full = { 0 };
	unsigned skip = r->skip;
	enum level level = r->level;
	struct pie_file f;
	char *slash;
	int fd = -1;

	td_buf_addz(&full, r->file->dir);
	if (href == NULL || attr(attrs, "xpointer") != NULL ||
	    (parse != NULL && strcmp(parse, "xml") != 0) || !decode_href(href, &path))
		why = "only relative references to XML files are followed";
	else if (r->depth >= PIE_FILES_MAX)
		why = "too many files include each other";
	else if (r->root < 0)
		why = "there is no folder to look in";
	td_buf_adds(&full, td_buf_str(&path));
	if (why == NULL) {
		char *copy = td_strdup(td_buf_cstr(&full));

		errno = 0;
		fd = open_below(r->root, copy, &why);
		free(copy);
	}
	if (fd < 0) {
		trouble(r, "left out: the file %s: %s", href != NULL ? href : "(no href)", why);
		r->user_whole = false;
		r->failed = true;
	} else {
		char *name;

		td_buf_clear(&path);
		td_buf_adds(&path, td_buf_str(&r->prefix));
		td_buf_adds(&path, td_buf_str(&full));
		name = remember(r, td_buf_cstr(&path));
		slash = strrchr(td_buf_cstr(&full), '/');
		file_begin(r, &f, name,
			   td_strndup(td_str(full.p,
					     slash == NULL ? 0 : (size_t)(slash + 1 - full.p))));
		r->skip = 0;
		(void)read_fd(r, fd);
		file_end(r, &f);
		close(fd);
		back_to(r, level);
		r->skip = skip;
	}
	td_buf_fini(&path);
	td_buf_fini(&full);
}

/* ---- from outside ---- */

struct pie_reader *
pie_reader_new(const struct pie_sink *sink)
{
	struct pie_reader *r = td_zalloc(sizeof(*r));

	r->sink = *sink;
	r->root = -1;
	return r;
}

void
pie_reader_free(struct pie_reader *r)
{
	for (size_t i = 0; i < r->n_names; i++)
		free(r->names[i]);
	free(r->names);
	td_buf_fini(&r->domain);
	td_buf_fini(&r->node);
	td_buf_fini(&r->prefix);
	td_buf_fini(&r->piece);
	free(r);
}

bool
pie_read_text(struct pie_reader *r, struct td_str text)
{
	struct pie_file f;
	bool ok;

	r->failed = false;
	file_begin(r, &f, remember(r, "(text)"), td_strdup(""));
	ok = feed(r, text.p != NULL ? text.p : "", text.len, true);
	file_end(r, &f);
	back_to(r, L_TOP);
	return ok && !r->failed;
}

bool
pie_read(struct pie_reader *r, const char *path, int fd, struct td_str head)
{
	const char *slash = strrchr(path, '/');
	bool named = strcmp(path, "-") != 0, ok;
	struct pie_file f;
	char *dir;

	r->failed = false;
	td_buf_clear(&r->prefix);
	td_buf_add(&r->prefix, path, slash != NULL ? (size_t)(slash + 1 - path) : 0);
	file_begin(r, &f, remember(r, named ? path : "(stdin)"), td_strdup(""));
	if (named) {
		dir = slash != NULL ? td_strndup(td_str(path, (size_t)(slash + 1 - path)))
				    : td_strdup(".");
		r->root = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
		free(dir);
	}
	ok = feed(r, head.p != NULL ? head.p : "", head.len, false) && read_fd(r, fd);
	if (r->root >= 0)
		close(r->root);
	r->root = -1;
	file_end(r, &f);
	back_to(r, L_TOP);
	return ok && !r->failed;
}
