/* mailbuild - make a mail: from a chat, or from a script's parts (GMime encodes everything).
 * Thread: any; a call touches only its arguments.  Call milt_mime_init once before.
 *
 * Header injection is impossible: CR, LF, NUL and other controls in any input become blanks or
 * are refused (addresses, ids, header names).  Output has CRLF lines, 7-bit content,
 * no line over 998 bytes. */
#ifndef MILTER_MAILBUILD_H
#define MILTER_MAILBUILD_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"

struct td_arena;
struct td_err;

struct milt_attach {
	struct td_str type; /* "image/png"; empty = application/octet-stream */
	struct td_str name; /* file name; may be empty */
	struct td_str content;
	/* more headers of the part, name, value, name, value...; Content-Type, -Disposition and
	 * -Transfer-Encoding among them are ignored */
	const struct td_str *headers;
	size_t n_headers; /* pairs */
};

/* A mail made from chat.  Empty or absent fields are left out unless said otherwise. */
struct milt_draft {
	struct td_str env_from; /* envelope; empty = null sender */
	struct td_str env_to;
	struct td_str from_name, from_addr; /* From; addr required */
	struct td_str to_name, to_addr;     /* To; addr empty = env_to */
	struct td_str reply_to;
	struct td_str subject;
	struct td_str text;       /* UTF-8; bad bytes are replaced */
	bool flowed;              /* format=flowed */
	struct td_str message_id; /* with or without < >; required */
	struct td_str in_reply_to;
	const struct td_str *references; /* oldest first; the first and the last 20 are kept */
	size_t n_references;
	struct td_str auto_submitted; /* "no", "auto-generated", "auto-replied" */
	struct td_str loop;      /* X-Tandem-Loop, one more is added for each hop seen: host name */
	unsigned hops;           /* hops before this one */
	struct td_str jabber_id; /* RFC 7259 */
	int64_t date;            /* wall ms; 0 = now */
	const struct milt_attach *attach;
	size_t n_attach;
};

struct milt_built {
	struct td_str data;     /* the message, CRLF */
	struct td_str from, to; /* envelope, without < > */
	bool smtputf8;          /* a needed address is not ASCII */
};

/* TD_E_INVAL names the field (bad address, missing id), TD_E_LIMIT. */
int milt_build_chat(struct td_arena *a, const struct milt_draft *d, struct milt_built *out,
		    struct td_err *err);

/* Momentum's msg:build: headers and parts as given.  Several parts become
 * multipart/alternative in the order given; text/... without a charset is quoted-printable
 * UTF-8, anything else (and text with a charset) base64; attachments make it
 * multipart/mixed, "message/rfc822" ones are embedded.  Header values are RFC 2047 encoded
 * only when they are not ASCII; MIME-Version, Date and Message-ID (at <host>) are added when
 * missing; Content-* headers are ignored. */
struct milt_pair {
	struct td_str name, value; /* header name and value, or content type and text */
};
struct milt_composition {
	const struct milt_pair *headers;
	size_t n_headers;
	const struct milt_pair *parts;
	size_t n_parts;
	const struct milt_attach *attach;
	size_t n_attach;
	struct td_str host;
};
int milt_build(struct td_arena *a, const struct milt_composition *c, struct td_str *out,
	       struct td_err *err);

/* Is <addr> fit for an envelope: local@domain, no controls or blanks, at most 254 bytes, UTF-8? */
bool milt_build_addr_ok(struct td_str addr, bool *utf8_out);
#endif
