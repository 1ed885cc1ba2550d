/* process - what the process is to the system: user, limits, folder, pid file, readiness.
 * Thread: main, before the workers start (gw_process_notify and gw_process_own: main at any time).
 * Errors: TD_E_* with a text that says what to do. */
#ifndef GATEWAY_PROCESS_H
#define GATEWAY_PROCESS_H
#include "gateway/gateway.h"

#define GW_SECRET_LEN 32

/* Block all signals and ignore SIGPIPE: handlers run on the main loop only (gw_process_unblock). */
void gw_process_block_signals(void);
void gw_process_unblock_signals(void);
/* Go to the background: the parent waits and exits with the child's word, or with 1 when it dies. */
int gw_process_daemonise(struct td_err *err);
/* Open descriptors as server_max_file_descriptors says; 0 = up to the hard limit. */
int gw_process_rlimit(const struct conf *c, struct td_err *err);
/* The group that file_group names at <at>; 0 = none is named. */
int gw_process_group(const struct conf *c, const struct conf_at *at, gid_t *out,
		     struct td_err *err);
/* Find the user to become (NULL stanza or not root: none). */
int gw_process_find_user(const struct conf *c, struct td_err *err);
/* Make <data_dir> when missing, and hold a lock in it: one process per folder. */
int gw_process_data_dir(struct gw *gw, struct td_err *err);
/* Folders of the Unix sockets that others bind after the drop of privileges. */
void gw_process_socket_dirs(struct gw *gw, const struct conf *c);
/* The file belongs to the user we become. */
void gw_process_own(struct gw *gw, const char *path);
/* chroot, groups, group, user, capabilities; no new privileges from here on. */
int gw_process_drop(struct gw *gw, const struct conf *c, struct td_err *err);
/* Random bytes kept in data_dir/secret, made at the first start. */
int gw_process_secret(struct gw *gw, unsigned char out[GW_SECRET_LEN], struct td_err *err);
int gw_process_pidfile(struct gw *gw, const struct conf *c, struct td_err *err);
/* systemd: "READY=1", "STOPPING=1", ...; and the parent of a daemonised start is let go at READY. */
void gw_process_ready(struct gw *gw);
void gw_process_notify(const char *text);
/* Could the program begin anew from where it is?  False: *why says why not. */
bool gw_process_may_restart(const char **why);
/* Do so, after the end: by exec, or under systemd by its status.  Does not return. */
void gw_process_again(char **argv) __attribute__((noreturn));
/* Remember where the program is; before the working folder changes. */
void gw_process_remember(void);
/* Remove the pid file, let go of the folder. */
void gw_process_fini(void);
#endif
