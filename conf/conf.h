/* conf - the config language and its immutable snapshots (docs/reference/config.md).
 * Thread: a loaded struct conf is read-only and may be read by any thread that holds a
 * reference; loading is for main (it reads files).
 *
 * A file is a tree of scopes; an option is legal in the scopes its row in conf_options[]
 * names.  Look-ups go from the most specific scope outward:
 *   listener session: Listen::Peer, Listen, Listener::Peer, Listener, global, default
 *   domain:           "#protocol#name" exact, "name" exact, regex domains in file order
 *                     (matched against "#protocol#name", then "name"), global, default
 *   module stanza:    the stanza, global, default
 * Each option is resolved by itself; only an unset option falls back.  With both a domain
 * and a scope the domain comes first (SNI).  An option of exactly one module stanza
 * (xmpp {}, mail {}...) is found there without naming it: after Listener, before global.
 * Several rows may share a name in different scopes; they are different options. */
#ifndef CONF_CONF_H
#define CONF_CONF_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include "gateway/base/str.h"

struct td_err;
struct sockaddr;
struct conf;
struct conf_scope;

/* ---- schema: one row per option ---- */

enum conf_type {
	CT_STRING = 0,
	CT_BOOL, /* true/false on/off enabled/disabled yes/no 1/0, any case */
	CT_INT,  /* strtol base 0 */
	CT_SIZE, /* non-negative integer of bytes; no unit suffixes */
	CT_FLOAT,
	CT_MODE,     /* octal, with or without leading 0 */
	CT_ENUM,     /* one of conf_option.words, any case */
	CT_SOCKADDR, /* a.b.c.d:port or [v6]:port */
	CT_THROTTLE, /* N or N/W: N per W seconds; 0 = unlimited */
	CT_LIST,     /* ( a b c ); a single scalar is a list of one */
	CT_DICT,     /* [ k = v ... ], scalars only */
	CT_COUNT     /* must be last */
};

/* Scopes where an option may stand (bit mask). */
#define CS_GLOBAL 0x00001u
#define CS_DOMAIN 0x00002u
#define CS_XMPP 0x00004u /* xmpp {} */
#define CS_XMPP_LISTENER 0x00008u
#define CS_MILTER_LISTENER 0x00010u
#define CS_CONTROL_LISTENER 0x00020u
#define CS_HTTP_LISTENER 0x00040u
#define CS_LISTEN 0x00080u      /* Listen inside any listener named by the other bits */
#define CS_PEER 0x00100u        /* Peer inside a Listener or Listen */
#define CS_XMPP_LOGGER 0x00200u /* xmpp_logger "name" */
#define CS_EC_LOGGER 0x00400u
#define CS_SCRIPTLET 0x00800u
#define CS_SCRIPT 0x01000u /* script "name" inside scriptlet; also takes free options */
#define CS_SECURITY 0x02000u
#define CS_THREADPOOL 0x04000u
#define CS_MAIL 0x08000u   /* mail {} */
#define CS_MILTER 0x10000u /* milter {} */
#define CS_STORE 0x20000u  /* store {} */
#define CS_COMPONENT 0x40000u
#define CS_CONTACT 0x80000u /* contact "abuse" inside domain */
#define CS_EXTERNAL_SERVICE 0x100000u
#define CS_AUTHORIZATION 0x200000u
#define CS_ROLE 0x400000u /* Role inside Authorization */
#define CS_DEBUG_FLAGS 0x800000u
#define CS_DATASOURCE 0x1000000u /* read by scripts (msys.db) */
#define CS_LISTENERS \
	(CS_XMPP_LISTENER | CS_MILTER_LISTENER | CS_CONTROL_LISTENER | CS_HTTP_LISTENER)

#define CO_SECRET 0x1u  /* masked in every dump */
#define CO_RESTART 0x2u /* a change on reload only warns */
#define CO_IGNORED 0x4u /* accepted for compatibility, has no effect (see conf_notes) */
#define CO_NONE 0x8u    /* the word "none" reads as unset and stops fallback */

struct conf_option {
	const char *name; /* lower case; looked up without regard to case */
	enum conf_type type;
	uint32_t scopes;
	const char *def;          /* default as text, NULL = unset */
	int64_t min, max;         /* CT_INT, CT_SIZE; 0,0 = no bounds */
	const char *const *words; /* CT_ENUM, or CT_LIST/CT_STRING restricted to words, or the
				   * keys of CT_DICT; NULL-terminated */
	uint32_t flags;
	const char *doc; /* one line */
};
extern const struct conf_option conf_options[]; /* ends with name == NULL; conf/options.c */

/* ---- loading ---- */

/* All errors of one run, in file order: "file:line:col: message" (or "...: warning: ...").
 * A load fills it anew; conf_report_fini it after each. */
struct conf_report {
	struct td_buf text; /* one per line */
	unsigned errors, warnings;
};

/* Load <path> with its includes; <extra_search> (":"-separated, may be NULL) is searched
 * for relative includes after the including file's folder.
 * On success *out has one reference (conf_unref).  On any error returns TD_E_INVAL with
 * every error in <report>, *out untouched.  Warnings do not fail. */
int conf_load(const char *path, const char *extra_search, struct conf **out,
	      struct conf_report *report);
/* Same from memory; <name> stands for the file in messages. */
int conf_load_text(const char *name, struct td_str text, struct conf **out,
		   struct conf_report *report);
void conf_report_fini(struct conf_report *r);
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf **c); /* clears the pointer; NULL is fine */
uint64_t conf_generation(const struct conf *c);
const char *conf_path(const struct conf *c); /* the main file */

/* Build a new generation: <base> with one option set (value NULL: unset) at <path>, e.g.
 * "xmpp_listener listen *:5222"; config set/unset.  Errors as conf_load. */
int conf_with(const struct conf *base, struct td_str path, struct td_str option,
	      const struct td_str *value, struct conf **out, struct conf_report *report);
/* Names of CO_RESTART options that differ between the two, blank-separated, into <out>. */
void conf_diff_restart(const struct conf *a, const struct conf *b, struct td_buf *out);

/* ---- looking up ---- */

/* Where a question is asked from; zero-initialise and set what is known. */
struct conf_at {
	const struct conf_scope *scope; /* Listen, listener, or a module/script stanza */
	const struct sockaddr *peer;    /* with a listener scope: selects Peer blocks */
	/* in place of <peer>: an address in the network of this Peer and in no narrower one */
	const struct conf_scope *peer_net;
	const char *protocol; /* "xmpp": try "#xmpp#domain" before "domain" */
	struct td_str domain; /* prepared, lower case */
};

/* Effective value; all return the default (or NULL/false/0 when there is none) if unset.
 * <option> must be a row of conf_options[] (asserted).  Strings live as long as <c>. */
struct td_str conf_str(const struct conf *c, const struct conf_at *at, const char *option);
bool conf_bool(const struct conf *c, const struct conf_at *at, const char *option);
int64_t conf_int(const struct conf *c, const struct conf_at *at, const char *option);
double conf_float(const struct conf *c, const struct conf_at *at, const char *option);
/* Throttle: *count per *seconds; false when unlimited. */
bool conf_throttle(const struct conf *c, const struct conf_at *at, const char *option,
		   unsigned *count, unsigned *seconds);
/* List items: NULL and *n = 0 when unset or empty. */
const struct td_str *conf_list(const struct conf *c, const struct conf_at *at, const char *option,
			       size_t *n);
bool conf_list_has(const struct conf *c, const struct conf_at *at, const char *option,
		   const char *word);
/* Dictionary entry; TD_STR_NULL when the dictionary or the key is absent. */
struct td_str conf_dict(const struct conf *c, const struct conf_at *at, const char *option,
			const char *key);
/* A whole dictionary: *n pairs, key before value; NULL and *n = 0 when unset or empty. */
const struct td_str *conf_pairs(const struct conf *c, const struct conf_at *at, const char *option,
				size_t *n);
/* The scope that set the effective value, NULL when it is the default.  Scopes that inherit a
 * throttle share one bucket with this one (momentum.md 1.6). */
const struct conf_scope *conf_origin(const struct conf *c, const struct conf_at *at,
				     const char *option);
/* Is it set anywhere on the way (not just defaulted)? */
bool conf_is_set(const struct conf *c, const struct conf_at *at, const char *option);
/* Free-form option of a script stanza: raw text, TD_STR_NULL when absent.  Typed by the script. */
struct td_str conf_raw(const struct conf_scope *s, const char *option);
/* Walk the free-form and known options of a scope: size_t i = 0; while (conf_each_option(...)). */
bool conf_each_option(const struct conf_scope *s, size_t *pos, struct td_str *name_out,
		      enum conf_type *shape_out /* CT_STRING, CT_LIST or CT_DICT as written */,
		      const struct td_str **items_out, size_t *n_out /* dict: k,v,k,v... */);

/* Append where clients of <domain> reach the http_listener, without a slash at the end: public_url, else https and the
 * port of the first Listen with TLS.  False: there is none. */
bool conf_public_url(const struct conf *c, struct td_str domain, struct td_buf *out);

/* May requests of this namespace be left to somebody else (XEP-0355)? */
bool conf_may_delegate(struct td_str ns);

/* ---- walking scopes ---- */

/* Next child scope of <parent> (NULL = global) of kind <kind> ("xmpp_listener", "listen",
 * "domain", "script"...) after <prev> (NULL = first), in file order. */
const struct conf_scope *conf_next(const struct conf *c, const struct conf_scope *parent,
				   const char *kind, const struct conf_scope *prev);
/* Next stanza of <kind> inside the stanza of the XMPP domain <name>: that of the nearest of "#xmpp#name", "name" and
 * the regex domains which has one. */
const struct conf_scope *conf_next_in_domain(const struct conf *c, struct td_str name,
					     const char *kind, const struct conf_scope *prev);
struct td_str conf_scope_name(const struct conf_scope *s); /* instance name; may be empty */
const char *conf_scope_kind(const struct conf_scope *s);   /* lower case */
bool conf_scope_is_regex(const struct conf_scope *s);
const struct conf_scope *conf_scope_parent(const struct conf_scope *s); /* NULL = global */
/* The narrowest Peer of <listen> and its listener that holds the address, NULL when none does.
 * Which Peers hold an address follows from the narrowest, so this stands for it (peer_net). */
const struct conf_scope *conf_peer(const struct conf_scope *listen, const struct sockaddr *sa);
/* "file:line:col" where the scope was first opened. */
const char *conf_scope_where(const struct conf_scope *s);

/* ---- printing ---- */

/* The effective tree in config syntax that loads again; secrets as "********". */
void conf_dump(const struct conf *c, struct td_buf *out);
/* One line "file:line:col: note: ..." for each option that has no effect here (-v). */
void conf_notes(const struct conf *c, struct td_buf *out);
/* Every option: name, type, scopes, default, bounds, doc; as Markdown for docs/reference. */
void conf_list_options(struct td_buf *out, bool markdown);
/* Console forms (momentum.md 1.9); each appends to <out>, or fills err and returns < 0. */
int conf_cmd_get(const struct conf *c, struct td_str path, struct td_str option, struct td_buf *out,
		 struct td_err *err);
int conf_cmd_eval(const struct conf *c, struct td_str path, struct td_str option,
		  struct td_buf *out, struct td_err *err);
int conf_cmd_show(const struct conf *c, struct td_str path, bool recurse, struct td_buf *out,
		  struct td_err *err);
int conf_cmd_locate(const struct conf *c, struct td_str kind, struct td_str regex,
		    struct td_buf *out, struct td_err *err);

/* ---- addresses ---- */

/* A Listen name: "*:5222" ":5222" "1.2.3.4:5" "[*]:5" "[::1]:5" or "/path.sock".
 * unix: family AF_UNIX.  Return 0 or TD_E_INVAL. */
struct sockaddr_storage;
int conf_parse_listen(struct td_str s, struct sockaddr_storage *out, socklen_t *len_out,
		      struct td_err *err);
#endif
