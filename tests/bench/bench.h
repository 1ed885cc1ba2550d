/* bench - what the load programs share: clocks, dying, non-blocking sockets, a client's TLS.
 * Thread: any.  Errors: a load program that cannot go on ends with a line on stderr and status 1. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

static inline void __attribute__((noreturn, format(printf, 1, 2))) bench_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static inline int64_t
bench_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		bench_die("clock: %s", strerror(errno));
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t
bench_now(void)
{
	return bench_clock(CLOCK_MONOTONIC);
}

/* CPU time of all threads of <pid>, in nanoseconds; 0 for pid 0. */
static inline int64_t
bench_cpu(pid_t pid)
{
	clockid_t id;

	if (pid == 0)
		return 0;
	if (clock_getcpuclockid(pid, &id) != 0)
		bench_die("no process %d to measure", (int)pid);
	return bench_clock(id);
}

static inline long
bench_number(const char *s, const char *what)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(s, &end, 0);
	if (errno != 0 || *end != '\0' || end == s || n < 0)
		bench_die("%s: '%s' is no number", what, s);
	return n;
}

/* All the descriptors we may have. */
static inline void
bench_files(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
}

#endif
