/* recorder - struct milt_io that writes down what it is asked, one line per call. */
#ifndef TESTS_MILTER_RECORDER_H
#define TESTS_MILTER_RECORDER_H
#include "gateway/base/err.h"
#include "gateway/base/str.h"
#include "milter/milt_io.h"

struct recorder {
	struct milt_io io;
	struct td_buf log;
	const char *macros[16]; /* name, value, ... NULL */
	const char *fail;       /* calls whose line starts with this fail */
};

static inline int
rec_line(struct milt_io *io, const char *line)
{
	struct recorder *r = (struct recorder *)(void *)io;

	td_buf_addz(&r->log, line);
	td_buf_addc(&r->log, '\n');
	return r->fail != NULL && strncmp(line, r->fail, strlen(r->fail)) == 0 ? TD_E_IO : 0;
}

#define REC(io, ...)                                    \
	do {                                            \
		struct td_buf b_ = { 0 };               \
		int rc_;                                \
		td_buf_addf(&b_, __VA_ARGS__);          \
		rc_ = rec_line((io), td_buf_cstr(&b_)); \
		td_buf_fini(&b_);                       \
		return rc_;                             \
	} while (0)

static const char *
rec_macro(struct milt_io *io, const char *name)
{
	struct recorder *r = (struct recorder *)(void *)io;

	for (int i = 0; r->macros[i] != NULL; i += 2)
		if (strcmp(r->macros[i], name) == 0)
			return r->macros[i + 1];
	return NULL;
}
static int
rec_reply(struct milt_io *io, unsigned code, const char *x, const char *const *lines, size_t n)
{
	struct td_buf b = { 0 };
	int rc;

	td_buf_addf(&b, "reply %u %s", code, x);
	for (size_t i = 0; i < n; i++)
		td_buf_addf(&b, "|%s", lines[i]);
	rc = rec_line(io, td_buf_cstr(&b));
	td_buf_fini(&b);
	return rc;
}
static int
rec_progress(struct milt_io *io)
{
	return rec_line(io, "progress");
}
static int
rec_add(struct milt_io *io, const char *name, const char *value)
{
	REC(io, "add %s: %s", name, value);
}
static int
rec_ins(struct milt_io *io, int at, const char *name, const char *value)
{
	REC(io, "ins %d %s: %s", at, name, value);
}
static int
rec_chg(struct milt_io *io, const char *name, int index, const char *value)
{
	REC(io, "chg %s#%d: %s", name, index, value != NULL ? value : "(none)");
}
static int
rec_body(struct milt_io *io, const void *p, size_t n)
{
	REC(io, "body %.*s", (int)n, (const char *)p);
}
static int
rec_from(struct milt_io *io, const char *addr)
{
	REC(io, "from %s", addr);
}
static int
rec_addrcpt(struct milt_io *io, const char *addr)
{
	REC(io, "rcpt+ %s", addr);
}
static int
rec_delrcpt(struct milt_io *io, const char *addr)
{
	REC(io, "rcpt- %s", addr);
}
static int
rec_quarantine(struct milt_io *io, const char *reason)
{
	REC(io, "hold %s", reason);
}

static inline void
recorder_init(struct recorder *r)
{
	*r = (struct recorder){
		.io = { rec_macro, rec_reply, rec_progress, rec_add, rec_ins, rec_chg, rec_body,
			rec_from, rec_addrcpt, rec_delrcpt, rec_quarantine },
	};
}
/* What was asked since the last call. */
static inline const char *
recorded(struct recorder *r)
{
	const char *s = td_buf_cstr(&r->log);

	r->log.len = 0;
	return s;
}
static inline void
recorder_fini(struct recorder *r)
{
	td_buf_fini(&r->log);
}
#endif
