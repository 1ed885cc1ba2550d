/* io_libmilter - struct milt_io over libmilter's smfi_* calls.
 * Thread: the callback's; lives on its stack, so that the context is never kept. */
#ifndef MILTER_IO_LIBMILTER_H
#define MILTER_IO_LIBMILTER_H
#include "milter/milt_io.h"

struct smfi_str; /* SMFICTX */

struct milt_io_libmilter {
	struct milt_io io;
	struct smfi_str *ctx;
};
void milt_io_libmilter_init(struct milt_io_libmilter *l, struct smfi_str *ctx);
/* Lines libmilter has logged so far (its syslog calls end in our log, domain milter.lib).
 * Being here also makes the linker take that file before the C library's syslog. */
unsigned long milt_lib_log_lines(void);
#endif
