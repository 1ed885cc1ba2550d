/* mime_priv - what mime.c and mailbuild.c share.
 * Thread: any; the object is the caller's (g_object_unref). */
#ifndef MILTER_MIME_PRIV_H
#define MILTER_MIME_PRIV_H
#include <stdbool.h>
#include "gateway/base/str.h"

struct _GMimeMessage;

/* Parse <raw> as far as the guard lets it; *cut tells that something is missing.  May be NULL. */
struct _GMimeMessage *milt_mime_message(struct td_str raw, bool *cut);
#endif
