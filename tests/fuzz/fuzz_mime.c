/* fuzz_mime - any bytes as a mail: what comes out is fit for a stanza, within the limits. */
#include <stdint.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "milter/mail.h"
#include "milter/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct milt_mime_limits limits = {
	.depth = 10, .parts = 50, .decoded = 1 << 20, .text = 4096
};

static void
check(struct td_str s)
{
	if (s.p == NULL)
		return;
	if (!td_utf8_valid(s))
		abort();
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\n' && s.p[i] != '\t') ||
		    s.p[i] == 0x7F)
			abort();
}

static void
check_view(const struct milt_mime *m)
{
	if (m->n_parts > limits.parts || m->text.len > limits.text)
		abort();
	check(m->text);
	check(m->subject);
	check(m->message_id);
	check(m->list_id);
	check(m->from.name);
	check(m->from.addr);
	for (size_t i = 0; i < m->n_references; i++)
		check(m->references[i]);
	for (size_t i = 0; i < m->report.n_rcpts; i++) {
		check(m->report.rcpts[i].final);
		check(m->report.rcpts[i].diagnostic);
	}
	for (size_t i = 0; i < m->n_parts; i++) {
		if (m->parts[i].parent >= (int)i || m->parts[i].depth > limits.depth)
			abort();
		check(m->parts[i].text);
		check(m->parts[i].html);
		check(m->parts[i].filename);
		check(m->parts[i].head);
	}
}

/* ---- what is read without GMime says the same ---- */

static const struct milt_mime_limits thorough = {
	.depth = 10, .parts = 50, .decoded = 1 << 20, .text = 4096, .thorough = true
};

static void
same(struct td_str a, struct td_str b)
{
	if ((a.p == NULL) != (b.p == NULL) || !td_str_eq(a, b))
		abort();
}

static void
same_mboxes(const struct milt_mbox *a, size_t n, const struct milt_mbox *b, size_t m)
{
	if (n != m)
		abort();
	for (size_t i = 0; i < n; i++) {
		same(a[i].name, b[i].name);
		same(a[i].addr, b[i].addr);
	}
}

static void
same_parts(const struct milt_mime *v, const struct milt_mime *g)
{
	if (v->n_parts != g->n_parts)
		abort();
	for (size_t i = 0; i < v->n_parts; i++) {
		const struct milt_part *a = &v->parts[i], *b = &g->parts[i];

		same(a->type, b->type);
		same(a->charset, b->charset);
		same(a->encoding, b->encoding);
		same(a->filename, b->filename);
		same(a->cid, b->cid);
		same(a->text, b->text);
		same(a->html, b->html);
		same(a->head, b->head);
		if (a->size != b->size || a->attachment != b->attachment ||
		    a->parent != b->parent || a->depth != b->depth)
			abort();
	}
}

static void
same_view(const struct milt_mime *v, const struct milt_mime *g)
{
	same(v->subject, g->subject);
	same(v->message_id, g->message_id);
	same(v->list_id, g->list_id);
	same(v->auto_submitted, g->auto_submitted);
	same(v->precedence, g->precedence);
	same(v->jabber_id, g->jabber_id);
	same_mboxes(&v->from, 1, &g->from, 1);
	same_mboxes(v->to, v->n_to, g->to, g->n_to);
	same_mboxes(v->cc, v->n_cc, g->cc, g->n_cc);
	same_mboxes(v->reply_to, v->n_reply_to, g->reply_to, g->n_reply_to);
	same(v->text, g->text);
	same_parts(v, g);
	if (v->cut != g->cut || v->date != g->date || v->text_from_html != g->text_from_html)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_str raw = td_str((const char *)data, size), *v;
	struct td_arena *a = td_arena_new(0);
	struct milt_mail *m = milt_mail_from_raw(NULL, raw, NULL);
	struct td_buf out = { 0 };
	struct milt_mime view, all;
	size_t n;

	milt_mime_parse(a, m, &limits, &view);
	check_view(&view);
	milt_mime_parse(a, m, &thorough, &all);
	same_view(&view, &all);
	for (size_t i = 0; i < view.n_parts && i < 4; i++) {
		td_buf_clear(&out);
		(void)milt_mime_extract(m, &limits, i, 1000, &out, NULL);
		if (out.len > 1000)
			abort();
	}
	(void)milt_mail_is_auto(m, 3, NULL);
	check(milt_mime_decode(a, td_str(raw.p, size < 2000 ? size : 2000)));
	for (int p = 0; p < MAP_COUNT; p++) {
		n = milt_mime_addresses(a, td_str(raw.p, size < 500 ? size : 500),
					(enum milt_addr_part)p, &v);
		for (size_t i = 0; i < n; i++)
			check(v[i]);
	}
	milt_mail_free(m);
	td_buf_fini(&out);
	td_arena_free(a);
	return 0;
}
