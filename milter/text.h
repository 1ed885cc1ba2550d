/* text - make text from mail fit for a chat: UTF-8, XML-safe, HTML and format=flowed undone.
 * Thread: any; touches only its arguments.  All are linear in their input. */
#ifndef MILTER_TEXT_H
#define MILTER_TEXT_H
#include <stdbool.h>
#include "gateway/base/str.h"

struct td_arena;

/* Append <in> as clean UTF-8: line ends become LF; C0, C1 and DEL go (LF and TAB stay), so do
 * code points XML 1.0 forbids and non-characters; bad bytes become U+FFFD; bidi embeddings and
 * overrides go, isolates are balanced per line; a run of combining marks is cut at 30; NFC. */
void milt_text_clean(struct td_str in, struct td_buf *out);
/* The same on one line: line ends and tabs become one blank, trimmed; in the arena. */
struct td_str milt_text_line(struct td_arena *a, struct td_str in);
/* Largest n <= max such that cutting <s> (clean) at n splits no user-perceived character. */
size_t milt_text_cut(struct td_str s, size_t max);
/* To UTF-8 from <charset> (NULL or unknown: UTF-8 if it is, else windows-1252). */
void milt_text_decode(struct td_str in, const char *charset, struct td_buf *out);
/* RFC 3676: join flowed lines, undo space stuffing; quote depth becomes "> ". */
void milt_text_unflow(struct td_str in, bool delsp, struct td_buf *out);
/* HTML (UTF-8) to text: no script, style, head or hidden elements; links as "text <url>",
 * table rows as lines, list items as "- ", quotes as "> "; at most <max> bytes are written. */
void milt_text_from_html(struct td_str html, size_t max, struct td_buf *out);
#endif
