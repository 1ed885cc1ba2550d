/* report - the messages of one load, sorted into file order at the end. */
#include "conf/conf_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define SHOWN_MAX 48

static void __attribute__((format(printf, 4, 0)))
add_message(struct conf_loader *l, struct conf_pos pos, bool warning, const char *fmt, va_list ap)
{
	struct td_buf b = { 0 };
	struct conf_message *m;

	if (!warning && l->errors++ >= CONF_MAX_ERRORS)
		return;
	if (l->n_msgs > 2 * CONF_MAX_ERRORS)
		return;
	if (l->n_msgs == l->cap_msgs) {
		l->cap_msgs = l->cap_msgs > 0 ? l->cap_msgs * 2 : 16;
		l->msgs = td_realloc(l->msgs, l->cap_msgs * sizeof(*l->msgs));
	}
	td_buf_addf(&b, "%s:%u:%u: %s", pos.file, pos.line, pos.col, warning ? "warning: " : "");
	td_buf_vaddf(&b, fmt, ap);
	td_buf_cstr(&b);
	m = &l->msgs[l->n_msgs];
	*m = (struct conf_message){ pos.ord, (unsigned)l->n_msgs, warning, b.p };
	l->n_msgs++;
}

void
conf_error(struct conf_loader *l, struct conf_pos pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_message(l, pos, false, fmt, ap);
	va_end(ap);
}

void
conf_warn(struct conf_loader *l, struct conf_pos pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_message(l, pos, true, fmt, ap);
	va_end(ap);
}

static int
by_place(const void *a, const void *b)
{
	const struct conf_message *x = a, *y = b;

	if (x->ord != y->ord)
		return x->ord < y->ord ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void
conf_report_take(struct conf_loader *l, struct conf_report *report)
{
	if (l->n_msgs > 1)
		qsort(l->msgs, l->n_msgs, sizeof(*l->msgs), by_place);
	for (size_t i = 0; i < l->n_msgs; i++) {
		if (report != NULL) {
			td_buf_addf(&report->text, "%s\n", l->msgs[i].text);
			if (l->msgs[i].warning)
				report->warnings++;
			else
				report->errors++;
		}
		free(l->msgs[i].text);
	}
	if (report != NULL && l->errors > CONF_MAX_ERRORS)
		td_buf_addf(&report->text, "%s:1:1: and %u more errors\n", l->c->path,
			    l->errors - CONF_MAX_ERRORS);
	if (report != NULL)
		td_buf_cstr(&report->text);
	free(l->msgs);
	l->msgs = NULL;
	l->n_msgs = l->cap_msgs = 0;
}

void
conf_report_fini(struct conf_report *r)
{
	td_buf_fini(&r->text);
	*r = (struct conf_report){ 0 };
}

const char *
conf_shown(struct conf_loader *l, struct td_str s)
{
	struct td_buf b = { 0 };
	bool cut = s.len > SHOWN_MAX;
	char *out;

	if (cut)
		s.len = td_utf8_cut(s, SHOWN_MAX);
	td_buf_addc(&b, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\n')
			td_buf_addz(&b, "\\n");
		else if (c < ' ' || c == 0x7f)
			td_buf_addf(&b, "\\x%02x", c);
		else
			td_buf_addc(&b, (char)c);
	}
	td_buf_addz(&b, cut ? "...\"" : "\"");
	out = td_arena_strndup(l->c->arena, b.p, b.len);
	td_buf_fini(&b);
	return out;
}
