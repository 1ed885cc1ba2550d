/* logging - the event log as the configuration wants it: file, levels, debug flags.
 * Thread: main. */
#ifndef GATEWAY_LOGGING_H
#define GATEWAY_LOGGING_H
#include "gateway/gateway.h"

/* Open log_file (<reload>: when it is not the one in use), set levels.  Nothing is changed when the file
 * cannot be opened. */
int gw_logging_apply(struct gw *gw, const struct conf *c, bool reload, struct td_err *err);
/* Does the log go to a file (and not to standard error)? */
bool gw_logging_to_file(void);
#endif
