/* conf_priv - what the files of conf/ share: the tree, the lexer, the loader.
 * Thread: the tree is written by main while it loads, and only read afterwards.
 * Ownership: everything hangs on conf.arena, except what PCRE2 and td_map allocate. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H
#include <stdatomic.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/map.h"

struct conf_loader;

#define CONF_MAX_OPTIONS 512       /* rows of conf_options[]; checked at start */
#define CONF_MAX_FILE (8u << 20)   /* bytes of one file */
#define CONF_MAX_TOTAL (64u << 20) /* bytes of all files of one load */
#define CONF_MAX_INCLUDE 16        /* momentum.md 1.4 */
#define CONF_MAX_ERRORS 100
#define CONF_MAX_DOMAIN 1023 /* RFC 7622 3.2 */

struct conf_pos {
	const char *file; /* in the arena */
	unsigned line, col;
	uint64_t ord; /* grows with every token read: sorts messages over includes */
};

/* One option set in one scope; <items> is what was written, the rest what it means. */
struct conf_value {
	const struct conf_option *row; /* NULL: free-form */
	struct td_str name;            /* free-form: as written */
	enum conf_type shape;          /* CT_STRING, CT_LIST or CT_DICT */
	struct td_str *items;          /* NUL-terminated each; dictionary: k, v, k, v... */
	size_t n;
	int64_t num;  /* CT_BOOL, CT_INT, CT_SIZE, CT_MODE; CT_THROTTLE: count */
	unsigned per; /* CT_THROTTLE: seconds */
	double real;
	struct conf_pos pos, value_pos;
};

enum conf_naming {
	CN_NONE = 0,
	CN_OPTIONAL,
	CN_REQUIRED
};

#define CK_SINGLE 0x1u       /* one instance (name) only */
#define CK_REGEX 0x2u        /* the name may be a /regex/ */
#define CK_FOLD 0x4u         /* names are compared without regard to case */
#define CK_FREE 0x8u         /* takes options that have no row */
#define CK_NOOP 0x10u        /* accepted, content not looked at */
#define CK_UNSUPPORTED 0x20u /* an error; <hint> says what to do instead */

struct conf_kind {
	const char *name;  /* lower case */
	const char *shown; /* as documentation writes it */
	uint32_t bit;      /* CS_*, 0 for those without options */
	uint32_t parents;  /* CS_* bits of scopes it may stand in */
	enum conf_naming naming;
	uint32_t flags;
	const char *hint;
};

/* A Peer's network; IPv4 and IPv6 never match each other. */
struct conf_cidr {
	int family;
	unsigned bits;
	unsigned char addr[16];
};

struct conf_scope {
	const struct conf_kind *kind;
	struct td_str name; /* regex: with its slashes */
	struct conf_scope *parent, *next, *first, *last;
	struct conf_value **values; /* in the order first set */
	size_t n_values, cap_values;
	uint64_t set[CONF_MAX_OPTIONS / 64]; /* which rows are set */
	void *regex;                         /* pcre2_code */
	struct conf_cidr cidr;               /* kind peer */
	struct conf_scope **peers;           /* longest prefix first */
	size_t n_peers;
	struct conf_pos pos;
	const char *where;
	bool bad; /* something in it could not be read: no rule draws conclusions from it */
};

struct conf {
	atomic_int refs;
	uint64_t generation;
	struct td_arena *arena;
	const char *path;
	struct conf_scope *root;
	struct td_map domains;       /* exact names, lower case */
	struct td_map regex_names;   /* "/re/" as written */
	struct conf_scope **regexes; /* file order */
	size_t n_regexes;
	size_t cache_slots;
	const struct conf_scope *singles[32]; /* by bit number of CS_* */
};

/* ---- conf.c ---- */
struct conf *conf_new(const char *path);
/* The child of <parent> of that kind and name, or NULL. */
struct conf_scope *conf_child(const struct conf *c, const struct conf_scope *parent,
			      const struct conf_kind *kind, struct td_str name);
struct conf_scope *conf_add_scope(struct conf *c, struct conf_scope *parent,
				  const struct conf_kind *kind, struct td_str name,
				  struct conf_pos pos);
/* Add, or replace the value of the same row (or free-form name). */
void conf_add_value(struct conf *c, struct conf_scope *s, struct conf_value *v);
void conf_del_value(struct conf_scope *s, const struct conf_value *v);
/* Build what look-ups need; the tree is complete. */
void conf_finish(struct conf *c);
/* ---- check.c: cross checks, by conf_error and conf_warn ---- */
void conf_check(struct conf_loader *l);

/* ---- scopes.c: kinds and rows ---- */
extern const struct conf_kind conf_kinds[]; /* [0] is global; ends with name == NULL */
const struct conf_kind *conf_kind_find(struct td_str name);
bool conf_kind_fits(const struct conf_kind *k, const struct conf_scope *parent);
bool conf_row_fits(const struct conf_option *o, const struct conf_scope *s);
size_t conf_row_index(const struct conf_option *o);
/* Rows of one name: first, then the next of the same name (any case). */
const struct conf_option *conf_row_first(struct td_str name);
const struct conf_option *conf_row_next(const struct conf_option *o);
/* The row that is valid in <s>, or NULL. */
const struct conf_option *conf_row_in(struct td_str name, const struct conf_scope *s);
/* Default of a row, parsed; NULL when it has none. */
const struct conf_value *conf_row_default(const struct conf_option *o);
/* "xmpp_listener, Listen" into <out>. */
void conf_scopes_text(uint32_t scopes, struct td_buf *out);
/* Nearest name by edit distance that is near enough, or NULL: options and scopes that
 * are legal in <s> first. *foreign_out: legal elsewhere only. */
const char *conf_suggest(const struct conf_scope *s, struct td_str name, bool *foreign_out);
const char *conf_suggest_word(const char *const *words, struct td_str name);

/* ---- value.c ---- */
/* Fill the typed part of <v> by its row; false with the reason in <why>. */
bool conf_value_check(struct conf_value *v, struct td_buf *why);
struct conf_value *conf_value_dup(struct td_arena *a, const struct conf_value *v);
/* "a number from 1 to 9": what the row accepts. */
void conf_accepts_text(const struct conf_option *o, struct td_buf *out);
const char *conf_type_name(enum conf_type t);

/* ---- lex.c ---- */
enum conf_tok {
	LT_EOF = 0,
	LT_WORD,   /* bare */
	LT_STRING, /* quoted */
	LT_REGEX,  /* bare /re/ with its slashes */
	LT_PUNCT   /* one of { } ( ) [ ] = , */
};
#define LX_LIST 0x1u  /* a comma ends a bare word and is a token */
#define LX_REGEX 0x2u /* a word that starts with '/' may be a regex */

struct conf_token {
	enum conf_tok type;
	char punct;
	bool first; /* on its line */
	struct td_str text;
	struct conf_pos pos;
};

struct conf_lexer {
	struct td_str src;
	size_t i;
	const char *file;
	unsigned line, col;
	bool line_start;
	struct conf_loader *loader;
};
void conf_lex_init(struct conf_lexer *lx, struct conf_loader *l, const char *file,
		   struct td_str src);
struct conf_token conf_lex(struct conf_lexer *lx, unsigned flags);
/* For messages: "foo", '{', end of file. */
const char *conf_token_text(struct conf_loader *l, const struct conf_token *t);
bool conf_is_bareword(struct td_str s);
/* Append <s> in double quotes, escaped. */
void conf_quote(struct td_buf *out, struct td_str s);

/* ---- report.c ---- */
struct conf_message {
	uint64_t ord;
	unsigned seq;
	bool warning;
	char *text;
};
/* Identity of a file, for cycles. */
struct conf_file {
	dev_t dev;
	ino_t ino;
};
struct conf_loader {
	struct conf *c;
	struct conf_message *msgs;
	size_t n_msgs, cap_msgs;
	unsigned errors;
	uint64_t ord;
	size_t total;
	const char *search; /* ":"-separated, may be NULL */
	bool files;         /* include is possible */
	struct conf_file stack[CONF_MAX_INCLUDE + 1];
	unsigned depth;
	struct conf_file *seen; /* every file read */
	size_t n_seen;
};
void conf_error(struct conf_loader *l, struct conf_pos pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void conf_warn(struct conf_loader *l, struct conf_pos pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Sort and move the messages into <report> (may be NULL). */
void conf_report_take(struct conf_loader *l, struct conf_report *report);
/* Text for a message: cut, controls escaped; lives in the arena of the load. */
const char *conf_shown(struct conf_loader *l, struct td_str s);

/* ---- parse.c ---- */
/* Parse <src> into scope <into>. */
void conf_parse(struct conf_loader *l, const char *file, struct td_str src,
		struct conf_scope *into);
/* Parse "name = value" and nothing else (config set). */
void conf_parse_option(struct conf_loader *l, const char *file, struct td_str name,
		       struct td_str value, struct conf_scope *into);
/* Open (or find) a child scope; NULL after an error message. */
struct conf_scope *conf_open_scope(struct conf_loader *l, struct conf_scope *parent,
				   const struct conf_token *kind, const struct conf_token *name);

/* ---- file.c ---- */
/* Read and parse one file; <pos> is the include, NULL file for the main one. */
void conf_read_file(struct conf_loader *l, const char *path, struct conf_pos pos,
		    struct conf_scope *into);
void conf_include(struct conf_loader *l, struct conf_pos pos, struct td_str name,
		  struct conf_scope *into);
/* The file <name> (no error when it is not there) on top of everything else. */
void conf_read_local_changes(struct conf_loader *l);

/* ---- addr.c ---- */
bool conf_parse_cidr(struct td_str s, struct conf_cidr *out);
bool conf_cidr_has(const struct conf_cidr *n, const struct sockaddr *sa);
/* Is all of <inner> in <n>? */
bool conf_cidr_holds(const struct conf_cidr *n, const struct conf_cidr *inner);
bool conf_sockaddr_is_loopback(const struct sockaddr_storage *ss);

/* ---- lookup.c ---- */
const struct conf_value *conf_value_in(const struct conf_scope *s, const struct conf_option *o);
/* Effective value; NULL when unset and without default.  *from: the scope that set it. */
const struct conf_value *conf_find(const struct conf *c, const struct conf_at *at,
				   const struct conf_option *o, const struct conf_scope **from);
const struct conf_option *conf_row_for(const struct conf_at *at, struct td_str option);

/* ---- dump.c ---- */
void conf_dump_value(const struct conf_value *v, struct td_buf *out);
void conf_dump_scope_head(const struct conf_scope *s, struct td_buf *out);
/* <levels> of children are written out, deeper ones as "{ ... }". */
void conf_dump_scope(const struct conf_scope *s, unsigned indent, unsigned levels,
		     struct td_buf *out);
#endif
