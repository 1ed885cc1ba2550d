/* log - structured events to a file or stderr; levels per domain prefix. */
#include "gateway/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_DOMAINS 32

struct domain_level {
	char prefix[32];
	_Atomic int level; /* changes while others read */
};

static _Atomic int log_fd = 2;
static char *log_path;
static _Atomic int global_level = TD_LOG_INFO;
static _Atomic int n_domains;
static struct domain_level domains[MAX_DOMAINS];
/* guards log_path, domains[] against a second writer; readers see n_domains last */
static pthread_mutex_t set_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned long error_count;

static const char *const level_names[TD_LOG_COUNT] = { "error", "warn", "notice", "info", "debug" };

const char *
td_log_level_name(enum td_loglevel level)
{
	return level < TD_LOG_COUNT ? level_names[level] : "?";
}

enum td_loglevel
td_log_level_from_name(const char *name)
{
	int i;

	for (i = 0; i < TD_LOG_COUNT; i++)
		if (strcmp(name, level_names[i]) == 0)
			break;
	return (enum td_loglevel)i;
}

static int
open_path(const char *path, struct td_err *err)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0)
		return td_fail(err, TD_E_IO, "cannot open log %s: %s", path, strerror(errno));
	return fd;
}

int
td_log_open(const char *path, struct td_err *err)
{
	int fd = 2, old;

	if (path != NULL && strcmp(path, "-") != 0 && (fd = open_path(path, err)) < 0)
		return fd;
	pthread_mutex_lock(&set_lock);
	free(log_path);
	log_path = fd == 2 ? NULL : td_strdup(path);
	old = atomic_load(&log_fd);
	/* a writer may be about to use the old number: put the new file behind it, never close it */
	if (old > 2 && fd > 2 && dup3(fd, old, O_CLOEXEC) >= 0)
		close(fd);
	else
		atomic_store(&log_fd, fd);
	pthread_mutex_unlock(&set_lock);
	return 0;
}

int
td_log_reopen(struct td_err *err)
{
	int rc = 0;

	pthread_mutex_lock(&set_lock);
	if (log_path != NULL) {
		int fd = open_path(log_path, err);

		if (fd < 0) {
			rc = fd;
		} else {
			/* keep the number: a writer may be about to use it */
			if (dup3(fd, atomic_load(&log_fd), O_CLOEXEC) < 0)
				rc = td_fail(err, TD_E_IO, "dup: %s", strerror(errno));
			close(fd);
		}
	}
	pthread_mutex_unlock(&set_lock);
	return rc;
}

void
td_log_set_level(const char *domain, enum td_loglevel level)
{
	int i, n;

	if (domain == NULL || *domain == '\0') {
		atomic_store(&global_level, (int)level);
		return;
	}
	pthread_mutex_lock(&set_lock);
	n = atomic_load(&n_domains);
	for (i = 0; i < n && strcmp(domains[i].prefix, domain) != 0; i++)
		;
	if (i < n) {
		atomic_store(&domains[i].level, (int)level);
	} else if (n < MAX_DOMAINS) {
		(void)snprintf(domains[n].prefix, sizeof(domains[n].prefix), "%s", domain);
		atomic_store(&domains[n].level, (int)level);
		atomic_store(&n_domains, n + 1);
	}
	pthread_mutex_unlock(&set_lock);
}

static const char *
domain_of(const struct td_logctx *ctx)
{
	for (; ctx != NULL; ctx = ctx->parent)
		if (ctx->domain != NULL)
			return ctx->domain;
	return "tandem";
}

bool
td_log_on(const struct td_logctx *ctx, enum td_loglevel level)
{
	int n = atomic_load_explicit(&n_domains, memory_order_acquire);
	enum td_loglevel max =
		(enum td_loglevel)atomic_load_explicit(&global_level, memory_order_relaxed);
	size_t best = 0;

	if (n > 0) {
		struct td_str d = td_cstr(domain_of(ctx));

		for (int i = 0; i < n; i++) {
			size_t len = strlen(domains[i].prefix);

			if (len >= best && td_str_starts(d, domains[i].prefix)) {
				best = len;
				max = (enum td_loglevel)atomic_load_explicit(&domains[i].level,
									     memory_order_relaxed);
			}
		}
	}
	return level <= max;
}

static void
add_fields(const struct td_logctx *ctx, struct td_buf *out)
{
	if (ctx == NULL)
		return;
	add_fields(ctx->parent, out);
	if (ctx->fields != NULL)
		ctx->fields(ctx, out);
}

void
td_log_write(const struct td_logctx *ctx, enum td_loglevel level, const char *event,
	     const char *fmt, ...)
{
	struct td_buf b = { 0 };
	struct timespec ts;
	struct tm tm;
	char when[32];
	va_list ap;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	td_buf_addf(&b, "%s.%03ldZ %s %s", when, ts.tv_nsec / 1000000, level_names[level],
		    domain_of(ctx));
	add_fields(ctx, &b);
	td_buf_addf(&b, " event=%s", event);
	if (fmt[0] != '\0') {
		td_buf_addc(&b, ' ');
		va_start(ap, fmt);
		td_buf_vaddf(&b, fmt, ap);
		va_end(ap);
	}
	td_buf_addc(&b, '\n');
	if (level == TD_LOG_ERROR)
		atomic_fetch_add(&error_count, 1);
	/* a full log disk must not stop the service */
	(void)!write(atomic_load(&log_fd), b.p, b.len);
	td_buf_fini(&b);
}

unsigned long
td_log_errors(void)
{
	return atomic_load(&error_count);
}

const char *
td_esc(struct td_str s)
{
	static _Thread_local char ring[16][840];
	static _Thread_local unsigned turn;
	char *out = ring[turn++ % 16], *o = out;
	size_t n = td_utf8_cut(s, 200);
	bool utf8 = td_utf8_valid(td_str(s.p, n));

	if (s.p == NULL)
		return "-";
	if (n == 0)
		return "\"\"";
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 0x20 || c == 0x7F || c == '"' || c == '\\' || (c >= 0x80 && !utf8))
			o += snprintf(o, 5, "\\x%02x", c);
		else
			*o++ = (char)c;
	}
	if (n < s.len)
		o = stpcpy(o, "...");
	*o = '\0';
	return out;
}

const char *
td_escz(const char *s)
{
	return td_esc(td_cstr(s));
}
