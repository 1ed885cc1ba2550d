/* mime_priv - what the files of the read side and mailbuild.c share.
 * Thread: any; a call touches only its arguments. */
#ifndef MILTER_MIME_PRIV_H
#define MILTER_MIME_PRIV_H
#include <stdbool.h>
#include "gateway/base/str.h"

struct _GMimeMessage;

#define MILT_TYPE_FIELD (8u * 1024) /* bytes of one Content-* field that are looked at */

/* How much of <body> may be parsed; <type>: Content-Type of the whole. */
size_t milt_mime_guard(struct td_str body, struct td_str type);
/* Parse <raw> as far as the guard lets it; *cut tells that something is missing.  The object
 * is the caller's (g_object_unref); may be NULL. */
struct _GMimeMessage *milt_mime_message(struct td_str raw, bool *cut);

/* ASCII case ignored. */
bool milt_starts_i(struct td_str s, const char *word);
bool milt_contains_i(struct td_str s, const char *word);
#endif
