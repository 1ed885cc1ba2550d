/* log - structured events, one line each: time level domain fields event=NAME key=value...
 * Thread: any; a line is one write(2), so lines never mix.
 *
 *   td_log_info(&s->log, "auth-ok", "mech=%s user=%s", mech, td_esc(user));
 *   2026-11-23T17:40:01.123Z info xmpp.c2s sid=4f1c peer=... event=auth-ok mech=... user=ann
 *
 * Event names are stable and listed in docs/reference/events.md.  Text from a
 * peer always goes through td_esc.  Debug arguments are not evaluated when off. */
#ifndef TD_LOG_H
#define TD_LOG_H
#include <stdbool.h>
#include "gateway/base/err.h"
#include "gateway/base/str.h"

enum td_loglevel {
	TD_LOG_ERROR = 0, /* we are broken, act */
	TD_LOG_WARN,      /* we go on */
	TD_LOG_NOTICE,
	TD_LOG_INFO, /* one line per session or mail */
	TD_LOG_DEBUG,
	TD_LOG_COUNT /* must be last */
};

/* Fields are written on demand, so a context costs three pointers per session. */
struct td_logctx {
	const struct td_logctx *parent; /* its fields come first; may be NULL */
	const char *domain;             /* "xmpp.c2s"; NULL = the parent's */
	/* Append " key=value"... ; may be NULL. */
	void (*fields)(const struct td_logctx *self, struct td_buf *out);
};

/* Log to <path> (NULL or "-" = stderr).  Opens it, mode 0640. */
int td_log_open(const char *path, struct td_err *err);
/* Close and open the same path again (rotation, USR1). */
int td_log_reopen(struct td_err *err);
/* Level for every domain, or for those starting with <domain>. */
void td_log_set_level(const char *domain, enum td_loglevel level);
enum td_loglevel td_log_level_from_name(const char *name); /* TD_LOG_COUNT if none */
const char *td_log_level_name(enum td_loglevel level);
bool td_log_on(const struct td_logctx *ctx, enum td_loglevel level);
void td_log_write(const struct td_logctx *ctx, enum td_loglevel level, const char *event,
		  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Error-level lines written so far (tests: none unless declared). */
unsigned long td_log_errors(void);

/* Peer text made safe for one log field: controls, blanks, quotes and bytes over
 * 0x7f that are not UTF-8 become \xNN; cut at 200 bytes.  The result lives in a
 * ring of 16 buffers per thread: use it in the same statement. */
const char *td_esc(struct td_str s);
const char *td_escz(const char *s);

#define TD_LOG_(ctx, lvl, ...)                                   \
	do {                                                     \
		if (td_log_on((ctx), (lvl)))                     \
			td_log_write((ctx), (lvl), __VA_ARGS__); \
	} while (0)
/* (ctx, event, fmt, ...): fmt may be "" */
#define td_log_error(ctx, ...) TD_LOG_(ctx, TD_LOG_ERROR, __VA_ARGS__)
#define td_log_warn(ctx, ...) TD_LOG_(ctx, TD_LOG_WARN, __VA_ARGS__)
#define td_log_notice(ctx, ...) TD_LOG_(ctx, TD_LOG_NOTICE, __VA_ARGS__)
#define td_log_info(ctx, ...) TD_LOG_(ctx, TD_LOG_INFO, __VA_ARGS__)
#define td_log_debug(ctx, ...) TD_LOG_(ctx, TD_LOG_DEBUG, __VA_ARGS__)
#endif
