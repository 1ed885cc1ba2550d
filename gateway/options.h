/* options - the command line of tandemd.
 * Thread: main, first thing. */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H
#include "gateway/gateway.h"

struct gw_options {
	bool foreground;
};
extern struct gw_options gw_options;

/* Parse, load the configuration into gw->conf and set conf_path, data_dir, hostname.  >= 0: exit with
 * that status (all is printed); -1: go on. */
int gw_options_parse(struct gw *gw, int argc, char **argv);
void gw_options_fini(struct gw *gw);
#endif
