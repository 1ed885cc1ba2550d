/* milt_io - what the milter may ask of the MTA; libmilter stands behind it, or a recorder.
 * Thread: the callback that was handed it, and only until that returns.
 * All return 0 or a negative TD_E_*; 0 means "sent", not "done". */
#ifndef MILTER_MILT_IO_H
#define MILTER_MILT_IO_H
#include "gateway/base/str.h"

#define MILT_REPLY_LINES 32
#define MILT_REPLY_LINE 980

struct milt_io {
	/* Value of a macro ("i", "{auth_type}"), or NULL; valid until the callback returns. */
	const char *(*macro)(struct milt_io *io, const char *name);
	/* The one reply of this phase.  lines[] are clean, at most MILT_REPLY_LINE bytes, '%' is
	 * not doubled yet (the implementation does it); xcode may be "". */
	int (*set_reply)(struct milt_io *io, unsigned code, const char *xcode,
			 const char *const *lines, size_t n);
	/* End of message only. */
	int (*progress)(struct milt_io *io);
	int (*add_header)(struct milt_io *io, const char *name, const char *value);
	int (*insert_header)(struct milt_io *io, int at, const char *name, const char *value);
	/* <index> 1-based among <name>; value NULL deletes. */
	int (*change_header)(struct milt_io *io, const char *name, int index, const char *value);
	int (*replace_body)(struct milt_io *io, const void *p, size_t n);
	int (*change_from)(struct milt_io *io, const char *addr);
	int (*add_rcpt)(struct milt_io *io, const char *addr);
	int (*delete_rcpt)(struct milt_io *io, const char *raw);
	int (*quarantine)(struct milt_io *io, const char *reason);
};

/* Cut <text> into clean reply lines (CR, LF, NUL and controls gone, what is not
 * ASCII becomes '?', at most MILT_REPLY_LINE bytes each, MILT_REPLY_LINES lines) in <a>;
 * return how many, at least 1 when text is not empty. */
struct td_arena;
size_t milt_reply_lines(struct td_arena *a, const char *text, const char *lines[MILT_REPLY_LINES]);
#endif
