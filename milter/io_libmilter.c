/* io_libmilter - the actions of a milter as smfi_* calls.  libmilter's prototypes lack const;
 * it copies or sends at once and changes nothing. */
#include "milter/io_libmilter.h"

#include <stdio.h>
#include <libmilter/mfapi.h>
#include "gateway/base/err.h"

#define BARE(p) ((char *)(uintptr_t)(p))

static SMFICTX *
ctx_of(struct milt_io *io)
{
	return ((struct milt_io_libmilter *)(void *)io)->ctx;
}

static int
result(int rc)
{
	return rc == MI_SUCCESS ? 0 : TD_E_IO;
}

static const char *
lm_macro(struct milt_io *io, const char *name)
{
	return smfi_getsymval(ctx_of(io), BARE(name));
}

/* A lone % makes Sendmail drop the whole text (milter.md 5). */
static void
double_percent(const char *line, char out[2 * MILT_REPLY_LINE + 1])
{
	size_t o = 0;

	/* what is doubled counts for the limit, too */
	for (; *line != '\0' && o + 2 <= MILT_REPLY_LINE; line++) {
		if (*line == '%')
			out[o++] = '%';
		out[o++] = *line;
	}
	out[o] = '\0';
}

static int
lm_set_reply(struct milt_io *io, unsigned code, const char *xcode, const char *const *lines,
	     size_t n)
{
	static const size_t size = 2 * MILT_REPLY_LINE + 1;
	char *l[MILT_REPLY_LINES] = { NULL }, rcode[8];
	struct td_buf space = { 0 };
	char *x = xcode[0] != '\0' ? BARE(xcode) : NULL, *base;
	int rc;

	(void)snprintf(rcode, sizeof(rcode), "%u", code);
	if (n > MILT_REPLY_LINES)
		n = MILT_REPLY_LINES;
	base = td_buf_reserve(&space, size * (n > 0 ? n : 1));
	for (size_t i = 0; i < n; i++) {
		l[i] = base + i * size;
		double_percent(lines[i], l[i]);
	}
	if (n < 2)
		rc = smfi_setreply(ctx_of(io), rcode, x, l[0]);
	else /* the list ends at the first NULL */
		rc = smfi_setmlreply(ctx_of(io), rcode, x, l[0], l[1], l[2], l[3], l[4], l[5], l[6],
				     l[7], l[8], l[9], l[10], l[11], l[12], l[13], l[14], l[15],
				     l[16], l[17], l[18], l[19], l[20], l[21], l[22], l[23], l[24],
				     l[25], l[26], l[27], l[28], l[29], l[30], l[31], (char *)NULL);
	td_buf_fini(&space);
	return result(rc);
}

static int
lm_progress(struct milt_io *io)
{
	return result(smfi_progress(ctx_of(io)));
}

static int
lm_add_header(struct milt_io *io, const char *name, const char *value)
{
	return result(smfi_addheader(ctx_of(io), BARE(name), BARE(value)));
}

static int
lm_insert_header(struct milt_io *io, int at, const char *name, const char *value)
{
	return result(smfi_insheader(ctx_of(io), at, BARE(name), BARE(value)));
}

static int
lm_change_header(struct milt_io *io, const char *name, int index, const char *value)
{
	return result(smfi_chgheader(ctx_of(io), BARE(name), index, BARE(value)));
}

static int
lm_replace_body(struct milt_io *io, const void *p, size_t n)
{
	return result(smfi_replacebody(ctx_of(io), (unsigned char *)BARE(p), (int)n));
}

static int
lm_change_from(struct milt_io *io, const char *addr)
{
	return result(smfi_chgfrom(ctx_of(io), BARE(addr), NULL));
}

static int
lm_add_rcpt(struct milt_io *io, const char *addr)
{
	return result(smfi_addrcpt(ctx_of(io), BARE(addr)));
}

static int
lm_delete_rcpt(struct milt_io *io, const char *raw)
{
	return result(smfi_delrcpt(ctx_of(io), BARE(raw)));
}

static int
lm_quarantine(struct milt_io *io, const char *reason)
{
	return result(smfi_quarantine(ctx_of(io), BARE(reason)));
}

void
milt_io_libmilter_init(struct milt_io_libmilter *l, struct smfi_str *ctx)
{
	static const struct milt_io calls = {
		.macro = lm_macro,
		.set_reply = lm_set_reply,
		.progress = lm_progress,
		.add_header = lm_add_header,
		.insert_header = lm_insert_header,
		.change_header = lm_change_header,
		.replace_body = lm_replace_body,
		.change_from = lm_change_from,
		.add_rcpt = lm_add_rcpt,
		.delete_rcpt = lm_delete_rcpt,
		.quarantine = lm_quarantine,
	};

	l->io = calls;
	l->ctx = ctx;
}
