/* mime_priv - what the files of the read side and mailbuild.c share.
 * Thread: any; a call touches only its arguments. */
#ifndef MILTER_MIME_PRIV_H
#define MILTER_MIME_PRIV_H
#include <stdbool.h>
#include "gateway/base/str.h"

struct milt_mail;
struct _GMimeMessage;

#define MILT_TYPE_FIELD (8u * 1024) /* bytes of one Content-* field that are looked at */

/* How much of <body> may be parsed; <type>: Content-Type of the whole. */
size_t milt_mime_guard(struct td_str body, struct td_str type);
/* Parse <raw> as far as the guard lets it; *cut tells that something is missing.  The object
 * is the caller's (g_object_unref); may be NULL. */
struct _GMimeMessage *milt_mime_message(struct td_str raw, bool *cut);

/* ---- mime_plain.c: common forms without GMime; false = not one of them, ask GMime ---- */

/* What the Content-* fields of a mail say that is one text part. */
struct milt_plain {
	bool html;
	const char *encoding;                    /* as GMime names it; NULL = none is given */
	char charset[40], format[40], delsp[40]; /* empty = none */
};
bool milt_plain_read(const struct milt_mail *m, struct milt_plain *out);
/* The bytes of the part: <body> itself, or decoded into <buf>. */
struct td_str milt_plain_decode(const struct milt_plain *pl, struct td_str body,
				struct td_buf *buf);
/* Is a header's value its own text, but for blanks around it? */
bool milt_plain_line(struct td_str v);
/* "<id>" */
bool milt_plain_id(struct td_str v, struct td_str *id_out);
/* One mailbox, "addr", "Name <addr>" or "\"Name\" <addr>"; the name may be empty. */
bool milt_plain_mailbox(struct td_str v, struct td_str *name_out, struct td_str *addr_out);

/* ASCII case ignored. */
bool milt_starts_i(struct td_str s, const char *word);
bool milt_contains_i(struct td_str s, const char *word);
#endif
