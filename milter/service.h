/* service - libmilter inside our process: one socket, its own thread, an orderly end.
 * Thread: start, stop and the readers from any one thread that may block (not a loop).
 * libmilter is one per process and cannot be started twice (milter.md 0.5): after a stop,
 * start fails with TD_E_EXISTS. */
#ifndef MILTER_SERVICE_H
#define MILTER_SERVICE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct td_err;
struct milt_policy;

struct milt_service_conf {
	const char *socket; /* "/path", "unix:/path", "inet:port@host", "inet6:port@[::1]" */
	const char *name;   /* filter name; NULL = "tandem" */
	mode_t file_mode;   /* of a unix socket; 0 = 0660 */
	gid_t group;        /* of a unix socket; 0 = as it comes */
	unsigned timeout;   /* seconds; 0 = libmilter's own 7210 */
	int backlog;        /* 0 = SOMAXCONN */
	size_t max_packet;  /* 0 = 1 MiB (libmilter's own is 64 KiB) */
	/* smfi_main came back without being asked to (a TERM that libmilter took, or its
	 * listener broke): called once, on the milter thread.  May be NULL. */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* Register, bind, listen; start the thread with all signals blocked.  <p> must outlive the
 * process's milter.  TD_E_INVAL (socket syntax, path over 107 bytes), TD_E_IO, TD_E_EXISTS. */
int milt_service_start(const struct milt_service_conf *c, const struct milt_policy *p,
		       struct td_err *err);
/* The port of an inet listener (0 for unix): "inet:0@127.0.0.1" lets the system choose. */
unsigned milt_service_port(void);
/* Stop taking new messages: unlink the unix socket; MAIL of live sessions is told to come
 * back (or let through, by the policy's on_fault).  Returns at once. */
void milt_service_drain(void);
/* Drain, wait at most <ms> for open messages, stop libmilter, join its thread.  True when
 * nothing was cut off.  Sessions left are dropped by the end of the process. */
bool milt_service_stop(unsigned ms);

#endif
