/* ctl_client - tandemctl's side of the control socket: dial, sign in, ask.  Used by tandemctl only.
 * Over TCP it signs in with SCRAM-SHA-256 (RFC 5802, 7677).  Blocking; one thread. */
#ifndef GATEWAY_CTL_CLIENT_H
#define GATEWAY_CTL_CLIENT_H
#include "gateway/base/str.h"

/* "tandemctl: <what>" on stderr; returns 1, an exit status. */
int ctl_say(const char *what);
/* Standard input to its end. */
void ctl_read_all(struct td_buf *b);
/* One line from the terminal, without echo. */
bool ctl_ask_secret(const char *prompt, struct td_buf *b);
/* A connection that takes requests; -1: said why. */
int ctl_connect(const char *where, const char *password_file);
/* A request; false: the server went away. */
bool ctl_send(int fd, const char *const *args, int n, struct td_str input, bool json);
/* Its answer into <b>, the status; -1: the server went away.  Answers come in the order of the requests. */
int ctl_receive(int fd, struct td_buf *b);

/* ---- ctl_import.c, ctl_export.c: whole accounts; argv behind the command's words.  Exit status. ---- */
int ctl_import(int fd, char **argv, int n);
int ctl_export(int fd, char **argv, int n);
/* Are these words for ctl_export (a file is named), not for the daemon? */
bool ctl_export_is_file(char **argv, int n);
#endif
