/* mime - what a mail says: text fit for a chat, attachments, ids, reports (GMime 3, libxml2).
 * Thread: any; a call touches only its arguments and ends all GMime objects it made.
 *
 * Whatever the bytes, it ends in linear time and memory bounded by the limits; the worst mail
 * gives an empty view with `cut` set.  All strings live in the arena of the call, are valid
 * UTF-8 and XML-safe (milter/text.h). */
#ifndef MILTER_MIME_H
#define MILTER_MIME_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"

struct td_arena;
struct td_err;
struct milt_mail;

struct milt_mime_limits {
	unsigned depth; /* 0 = 20 */
	unsigned parts; /* 0 = 200 */
	size_t decoded; /* bytes decoded in all, text and attachments; 0 = 32 MiB */
	size_t text;    /* bytes of each text given back; 0 = 256 KiB */
	bool thorough;  /* GMime reads everything, also what needs none: tests compare */
};

/* A mailbox of a header.  name may be empty. */
struct milt_mbox {
	struct td_str name, addr; /* addr: "local@domain", domain lower case */
};

/* One part of the tree, in walk order (depth first); containers too. */
struct milt_part {
	unsigned depth;                                 /* 0 = the message itself */
	int parent;                                     /* index, -1 for the first */
	struct td_str type;                             /* "text/plain", lower case */
	struct td_str charset, encoding, filename, cid; /* .p NULL = none */
	bool container;                                 /* multipart/... or message/rfc822 */
	bool attachment;    /* Content-Disposition: attachment, or a name and no text */
	bool inlined;       /* an image with a Content-ID inside multipart/related */
	uint64_t size;      /* decoded bytes; leaves only */
	struct td_str text; /* text/... that is no attachment: as text; .p NULL otherwise */
	struct td_str html; /* text/html that is no attachment: its source in UTF-8 */
	struct td_str head; /* message/rfc822: "From: ...\nSubject: ...\n" of the message inside */
};

/* multipart/report (RFC 3464, 8098, 5965). */
enum milt_report_kind {
	MR_NONE = 0,
	MR_DSN,
	MR_MDN,
	MR_FEEDBACK,
	MR_COUNT /* must be last */
};
struct milt_report_rcpt {
	struct td_str original, final; /* addresses without "rfc822;" */
	struct td_str action;          /* lower case: failed delayed delivered relayed expanded;
					* MDN: the disposition type, "displayed" */
	struct td_str status;          /* "5.1.1" */
	struct td_str diagnostic;      /* without "smtp;" */
};
struct milt_report {
	enum milt_report_kind kind;
	struct td_str original_id; /* Message-ID of the mail it is about, without < > */
	struct td_str envelope_id; /* ENVID */
	struct milt_report_rcpt *rcpts;
	size_t n_rcpts;
};

struct milt_mime {
	/* decoded headers; .p NULL = absent */
	struct td_str subject, message_id /* without < > */, list_id /* without < > */;
	struct td_str auto_submitted, precedence; /* lower case, no parameters */
	struct td_str jabber_id;
	struct milt_mbox from; /* first of From; both empty when there is none */
	struct milt_mbox *to, *cc, *reply_to;
	size_t n_to, n_cc, n_reply_to;
	struct td_str *references, *in_reply_to; /* ids without < >, oldest first */
	size_t n_references, n_in_reply_to;
	int64_t date; /* wall ms; 0 = none or nonsense */
	/* content */
	struct td_str text; /* the best body; empty when there is none */
	bool text_from_html;
	bool encrypted, is_signed; /* PGP/MIME or S/MIME */
	struct milt_part *parts;
	size_t n_parts;
	struct milt_report report;
	bool cut; /* a limit struck: there was more */
};

/* Must be called once before threads start using this file or mailbuild; more is harmless. */
void milt_mime_init(void);

/* Read the message.  <limits> may be NULL.  Never fails on content. */
void milt_mime_parse(struct td_arena *a, const struct milt_mail *m,
		     const struct milt_mime_limits *limits, struct milt_mime *out);
void milt_mime_parse_raw(struct td_arena *a, struct td_str raw,
			 const struct milt_mime_limits *limits, struct milt_mime *out);
/* Decoded bytes of part <index> (as in parts[], same limits) into <out>.  TD_E_NOTFOUND,
 * TD_E_LIMIT over <max> (out keeps the beginning). */
int milt_mime_extract(const struct milt_mail *m, const struct milt_mime_limits *limits,
		      size_t index, size_t max, struct td_buf *out, struct td_err *err);

/* ---- header values, for scripts ---- */

/* RFC 2047 words decoded, unfolded, XML-safe. */
struct td_str milt_mime_decode(struct td_arena *a, struct td_str value);

/* Components of an address header (momentum.md 6.6). */
enum milt_addr_part {
	MAP_ALL = 0, /* "Name <local@domain>" as decoded text */
	MAP_ADDRESS, /* local@domain */
	MAP_LOCALPART,
	MAP_USER,
	MAP_DETAIL,
	MAP_DOMAIN,
	MAP_COUNT /* must be last */
};
/* "all", "address", "localpart", "user", "detail", "domain"; MAP_COUNT when none. */
enum milt_addr_part milt_addr_part_from_name(struct td_str name);
/* One entry per mailbox of <value> (groups flattened, at most 1000). */
size_t milt_mime_addresses(struct td_arena *a, struct td_str value, enum milt_addr_part part,
			   struct td_str **out);
/* Message ids in <value>, without < >, at most 200. */
size_t milt_mime_ids(struct td_arena *a, struct td_str value, struct td_str **out);

/* ---- RFC 3834, 5230: must nothing be sent back for this mail? ---- */
/* Null sender, Auto-Submitted other than no, Precedence bulk/junk/list, List-*, X-Loop,
 * MAILER-DAEMON, noreply, or <max_hops> X-Tandem-Loop hops or more.  <why> (may be NULL) gets
 * a short constant text. */
bool milt_mail_is_auto(const struct milt_mail *m, unsigned max_hops, const char **why);
/* Hops so far: the largest "hops=N" in X-Tandem-Loop, or how many of these there are. */
unsigned milt_mail_hops(const struct milt_mail *m);
#endif
