/* control - the operator's socket: one JSON request per line, one framed reply.
 *
 *   {"args":["account","add","ann@example.org"],"input":"secret","json":false}\n
 *   <length> <exit status>\n<length bytes>
 *
 * Thread: main loop.  Start and stop are in gateway.h; commands are in commands.c. */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H
#include "gateway/gateway.h"

/* One request being answered; lives until ctl_done. */
struct ctl_request {
	struct gw *gw;
	struct td_arena *a;
	const char *const *argv; /* after the command's own words */
	size_t argc;
	struct td_str input; /* what came on stdin: password, import data */
	bool json;
	struct td_buf out;
	void *conn; /* NULL once the client is gone */
};

/* Run the command of <args> (all words); answers with ctl_done, now or later. */
void ctl_run(struct ctl_request *r, const char *const *args, size_t n);
/* Send what is in r->out with <status> (0 fine, 1 error, 2 usage) and free <r>. */
void ctl_done(struct ctl_request *r, int status);
/* One line of error text and status 1. */
void ctl_fail(struct ctl_request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- commands with a file of their own ---- */
void ctl_s2s_test(struct ctl_request *r); /* ctl_s2s.c */
#endif
