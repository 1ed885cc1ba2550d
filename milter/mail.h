/* mail - one message being received by the milter, and the MTA connection it came on.
 * Thread: one at a time (libmilter never runs two callbacks of a connection together, but
 * each may come on another thread).  No GMime objects in here: see milter/mime.h.
 *
 * Ownership: struct milt_conn lives from connect to close, struct milt_mail from MAIL to the
 * end of the message; each has an arena, and a mail's td_str all point into its own.  Those of
 * a connection are replaced when the MTA says them again (a second HELO).  Hooks may keep
 * nothing of a mail after their mail_end (milter/milter.h).
 *
 * Changes are not sent when they are asked for: they change this object, and the difference
 * to what came is sent in one batch at end of message (milter.md 5: only legal there).
 * So a script that adds a header in one phase sees it in the next. */
#ifndef MILTER_MAIL_H
#define MILTER_MAIL_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/map.h"
#include "gateway/base/str.h"

struct td_arena;
struct td_err;
struct milt_io;

/* ---- addresses ---- */

/* RFC 5321 mailbox.  raw: the argument of the SMTP command, byte for byte (only it can delete
 * the recipient).  full: "local@domain", local part quoted again when it must be, domain lower
 * case; empty = null sender.  local: unquoted, case kept.  user, detail: local cut at the first
 * separator ("ann+lists": "ann", "lists"); detail.p NULL = none.  All NUL-terminated except
 * user.  When !valid only raw and full (cleaned text of raw) are set. */
struct milt_addr {
	struct td_str raw, full, local, user, detail, domain;
	bool valid;
	bool utf8; /* needs SMTPUTF8 */
};

/* Strip < >, source route and quotes, lower-case the domain, drop its final dot.  <seps>: the
 * characters that may start a detail, NULL = "+".  Return 0, or TD_E_INVAL with out->valid
 * false.  Wide on purpose, the MTA took it already: no controls, no blanks outside quotes,
 * local and domain at most 255 bytes, well-formed UTF-8; the domain may be missing. */
int milt_addr_parse(struct td_arena *a, struct td_str raw, const char *seps, struct milt_addr *out,
		    struct td_err *err);

/* ---- dictionaries of strings (Momentum's contexts) ---- */

/* Zero-initialised is empty; keys and values are copied.  At most 1000 keys. */
struct milt_dict {
	struct td_map map;
};
/* TD_STR_NULL when absent. */
struct td_str milt_dict_get(const struct milt_dict *d, struct td_str key);
/* value.p NULL deletes.  Return 0, or TD_E_LIMIT. */
int milt_dict_set(struct milt_dict *d, struct td_str key, struct td_str value);
/* Walk: size_t i = 0; while (milt_dict_each(...)). */
bool milt_dict_each(const struct milt_dict *d, size_t *pos, struct td_str *key_out,
		    struct td_str *value_out);
void milt_dict_fini(struct milt_dict *d);

/* ---- MTA macros ---- */

enum milt_macro {
	MM_J = 0,          /* j: the MTA's name */
	MM_CLIENT,         /* _ */
	MM_VERSION,        /* v */
	MM_DAEMON_NAME,    /* {daemon_name} */
	MM_DAEMON_ADDR,    /* {daemon_addr} */
	MM_DAEMON_PORT,    /* {daemon_port} */
	MM_CLIENT_ADDR,    /* {client_addr} */
	MM_CLIENT_NAME,    /* {client_name} */
	MM_CLIENT_PTR,     /* {client_ptr} */
	MM_CLIENT_PORT,    /* {client_port} */
	MM_CLIENT_RESOLVE, /* {client_resolve} */
	MM_TLS_VERSION,    /* {tls_version} */
	MM_CIPHER,         /* {cipher} */
	MM_CIPHER_BITS,    /* {cipher_bits} */
	MM_CERT_SUBJECT,   /* {cert_subject} */
	MM_CERT_ISSUER,    /* {cert_issuer} */
	MM_I,              /* i: queue id; Postfix knows it from DATA on */
	MM_AUTH_TYPE,      /* {auth_type} */
	MM_AUTH_AUTHEN,    /* {auth_authen} */
	MM_AUTH_AUTHOR,    /* {auth_author} */
	MM_MAIL_ADDR,      /* {mail_addr} */
	MM_MAIL_HOST,      /* {mail_host} */
	MM_MAIL_MAILER,    /* {mail_mailer} */
	MM_MSG_ID,         /* {msg_id}: Sendmail, end of message */
	MM_RCPT_ADDR,      /* {rcpt_addr}; the rcpt ones are per recipient */
	MM_RCPT_HOST,      /* {rcpt_host} */
	MM_RCPT_MAILER,    /* {rcpt_mailer} */
	MM_COUNT           /* must be last */
};
const char *milt_macro_name(enum milt_macro m); /* "{auth_authen}" */

/* ---- the connection ---- */

/* What the MTA is to be told when a phase refuses; code 0 = none set. */
struct milt_reply {
	unsigned code;  /* 4xx or 5xx */
	char xcode[12]; /* "5.7.1", may be empty */
	char *text;     /* heap; lines separated by LF; may be NULL */
};

struct milt_conn {
	struct td_arena *arena;
	char id[14];            /* for logs */
	struct td_str hostname; /* "[1.2.3.4]" when it has no good name */
	struct td_str addr;     /* "192.0.2.1", "2001:db8::1", a path, or "" (unknown family) */
	unsigned port;
	struct td_str helo;
	struct td_str macro[MM_COUNT]; /* those of connect, helo; and of MAIL for auth, tls */
	struct milt_dict ctx;          /* VCTX_CONN; see milt_conn_ctx */
	unsigned ctx_due, ctx_rcpts;   /* of ctx.c */
	struct milt_reply reply;       /* cleared before each phase */
	struct milt_io *io;            /* only inside a callback, NULL otherwise */
	uint64_t started;              /* wall ms */
	unsigned mails, rcpts;         /* so far */
	unsigned actions;              /* MA_* the MTA granted */
	bool tls;
	void *user; /* the policy's; released in conn_end */
};

/* Set the reply: 400..599, else TD_E_INVAL.  <text> may start with an enhanced code of the
 * same class ("5.7.1 No."), may hold LF for several lines, and is cleaned when it is sent. */
int milt_conn_set_reply(struct milt_conn *c, unsigned code, struct td_str text);
/* Tell the MTA we are still at work (end of message only; otherwise nothing happens). */
void milt_conn_progress(struct milt_conn *c);

/* Actions the MTA may grant; same bits as SMFIF_*. */
#define MA_ADDHDRS 0x01u
#define MA_CHGBODY 0x02u
#define MA_ADDRCPT 0x04u
#define MA_DELRCPT 0x08u
#define MA_CHGHDRS 0x10u
#define MA_QUARANTINE 0x20u
#define MA_CHGFROM 0x40u
#define MA_ADDRCPT_PAR 0x80u

/* ---- the message ---- */

/* What becomes of one recipient; MAIL unless the enqueue hook says otherwise. */
enum milt_fate {
	MF_MAIL = 0, /* stays in the mail */
	MF_CHAT,     /* taken: leaves the mail, once the commit succeeded */
	MF_BOTH,     /* chat gets it too, stays in the mail */
	MF_HOLD,     /* the message is to be held by the MTA (quarantine; all of its recipients) */
	MF_REFUSE,   /* the whole transaction is refused (end of message has one answer) */
	MF_COUNT     /* must be last */
};
const char *milt_fate_name(enum milt_fate f);

struct milt_rcpt {
	struct milt_addr addr;
	const struct td_str *args; /* ESMTP arguments, "NOTIFY=NEVER" */
	size_t n_args;
	struct td_str macro_addr, macro_host, macro_mailer; /* {rcpt_*} */
	enum milt_fate fate;
	bool added;   /* by a script; was not in the envelope */
	bool removed; /* by a script */
	bool refused; /* the MTA refused it itself (MW_REFUSED); never in play */
	void *user;   /* the policy's */
};

struct milt_header {
	struct td_str name;    /* case kept */
	struct td_str value;   /* folded lines separated by LF; the one leading space is gone */
	unsigned index;        /* 1-based among its name as it came; 0 = added by a script */
	bool changed, deleted; /* a deleted one stays in the list, for the batch */
	bool front;            /* added by prepend */
};

struct milt_limits {
	size_t max_body;         /* bytes kept; the rest is counted or skipped.  0 = 16 MiB */
	size_t max_header_bytes; /* 0 = 256 KiB */
	unsigned max_headers;    /* 0 = 2000 */
	unsigned max_rcpts;      /* more are told 452; 0 = 1000 */
};

struct milt_mail {
	struct td_arena *arena;
	struct milt_conn *conn;
	struct milt_limits limits;
	char id[14];           /* for logs and msg.id */
	struct milt_addr from; /* empty full = null sender */
	const struct td_str *from_args;
	size_t n_from_args;
	struct td_str macro[MM_COUNT]; /* those of MAIL on; connection ones: conn->macro */
	struct milt_rcpt **rcpts;      /* in order; see removed, refused */
	size_t n_rcpts;
	struct milt_header **headers; /* in order; see deleted */
	size_t n_headers, header_bytes;
	struct td_buf body;         /* CRLF lines, NULs allowed; empty when nobody asked for it */
	uint64_t body_size;         /* as received so far (not when the MTA was told to skip) */
	bool has_headers, has_body; /* were they collected at all? */
	bool headers_cut, body_cut; /* limits struck; what is here is a beginning */
	/* changes wanted besides the header and recipient marks */
	bool new_body;
	struct td_str new_from;   /* .p NULL = unchanged; empty = null sender */
	struct td_str quarantine; /* reason; .p NULL = no */
	bool discard;             /* drop it silently */
	struct milt_dict ctx;     /* VCTX_MESS; see milt_mail_ctx */
	bool ctx_from_due;        /* of ctx.c */
	const struct milt_rcpt *ctx_rcpt;
	uint64_t started; /* wall ms */
	void *user;       /* the policy's; released in mail_end */
};

/* The value of macro <m>, from the mail or its connection; TD_STR_NULL when not sent. */
struct td_str milt_mail_macro(const struct milt_mail *m, enum milt_macro which);
/* By name, "{auth_authen}" or "auth_authen" or "i". */
struct td_str milt_mail_macro_by_name(const struct milt_mail *m, struct td_str name);

/* ---- contexts (ctx.c) ---- */

/* The contexts, with all that was said so far in them: whoever reads or sets a key asks here. */
struct milt_dict *milt_conn_ctx(struct milt_conn *c);
struct milt_dict *milt_mail_ctx(struct milt_mail *m);
/* The phases: HELO, MAIL, RCPT was said. */
#define MILT_DUE_MAILS 0x1u
#define MILT_DUE_RCPTS 0x2u
#define MILT_DUE_MESSAGE 0x4u
void milt_ctx_helo(struct milt_conn *c);
void milt_ctx_mail(struct milt_conn *c, struct milt_mail *m);
void milt_ctx_rcpt(struct milt_conn *c, struct milt_mail *m, const struct milt_rcpt *r);

/* <limits> may be NULL (defaults).  conn must outlive the mail; NULL = made by a script. */
struct milt_mail *milt_mail_new(struct milt_conn *c, const struct milt_limits *limits);
void milt_mail_free(struct milt_mail *m); /* NULL is fine */

/* -- filling it (the phases; tests; building a mail to look at) -- */
void milt_mail_set_envelope_from(struct milt_mail *m, const char *const *argv);
/* Return the recipient, or NULL when there are max_rcpts. */
struct milt_rcpt *milt_mail_put_rcpt(struct milt_mail *m, const char *const *argv);
/* Headers and body as they came; beyond a limit they set *_cut.  put_body returns false when
 * it wants no more. */
void milt_mail_put_header(struct milt_mail *m, struct td_str name, struct td_str value);
bool milt_mail_put_body(struct milt_mail *m, const void *p, size_t n);
/* A mail from its raw text (CRLF or LF), for scripts' dry runs and tests. */
struct milt_mail *milt_mail_from_raw(struct milt_conn *c, struct td_str raw,
				     const struct milt_limits *limits);

/* -- reading -- */
/* Next header named <name> (ASCII case ignored; name.p NULL = any) that is not deleted:
 * size_t i = 0; while ((h = milt_mail_header(m, name, &i)) != NULL). */
const struct milt_header *milt_mail_header(const struct milt_mail *m, struct td_str name,
					   size_t *pos);
/* Its first value with folding undone (in the arena of m), or TD_STR_NULL. */
struct td_str milt_mail_header_value(struct milt_mail *m, const char *name);
/* Recipients in play (neither removed nor refused): size_t i = 0; while (...). */
struct milt_rcpt *milt_mail_rcpt(const struct milt_mail *m, size_t *pos);
/* The sender as it would be now. */
struct td_str milt_mail_sender(const struct milt_mail *m);
/* Append the whole message as it would be now: headers, blank line, body; CRLF. */
void milt_mail_raw(const struct milt_mail *m, struct td_buf *out);

/* -- changing; TD_E_INVAL for bytes that cannot be in a header name or an address -- */
/* Line breaks in values become folds; NUL and other controls are dropped. */
int milt_mail_header_append(struct milt_mail *m, struct td_str name, struct td_str value);
int milt_mail_header_prepend(struct milt_mail *m, struct td_str name, struct td_str value);
/* The first one changes, the others go; appended when there is none. */
int milt_mail_header_replace(struct milt_mail *m, struct td_str name, struct td_str value);
/* Change the <n>th (1-based) that is not deleted; TD_E_NOTFOUND. value.p NULL deletes it. */
int milt_mail_header_set(struct milt_mail *m, struct td_str name, unsigned n, struct td_str value);
/* Delete all of <name>; returns how many. */
size_t milt_mail_header_delete(struct milt_mail *m, struct td_str name);
/* Bare LF and CR become CRLF.  TD_E_LIMIT over max_body. */
int milt_mail_set_body(struct milt_mail *m, struct td_str body);
int milt_mail_set_sender(struct milt_mail *m, struct td_str addr, struct td_err *err);
/* Adding one that is there already (by full, case of local ignored) changes nothing;
 * adding a removed one takes the removal back. */
int milt_mail_add_rcpt(struct milt_mail *m, struct td_str addr, struct td_err *err);
/* Every recipient whose full or raw form is <addr>; returns how many. */
size_t milt_mail_remove_rcpt(struct milt_mail *m, struct td_str addr);
void milt_mail_set_quarantine(struct milt_mail *m, struct td_str reason);

/* -- the batch -- */
/* Send the changes through <io>, deletions from the highest index down.  Recipients with
 * fate CHAT are deleted.  Return 0, or TD_E_UNSUPPORTED / TD_E_IO: then nothing may be
 * counted on, and the message must not be taken. */
int milt_mail_apply(struct milt_mail *m, struct milt_io *io, struct td_err *err);
/* MA_* bits that milt_mail_apply would need. */
unsigned milt_mail_needs(const struct milt_mail *m);
#endif
