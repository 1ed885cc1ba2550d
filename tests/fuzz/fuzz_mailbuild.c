/* fuzz_mailbuild - hostile fields in, a well-formed mail out: CRLF lines of at most 998 bytes,
 * no NUL, and no header that was not asked for.  Fields are separated by 0xfe bytes. */
#include <stdint.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "milter/mail.h"
#include "milter/mailbuild.h"
#include "milter/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_wire(struct td_str d)
{
	size_t line = 0;

	for (size_t i = 0; i < d.len; i++) {
		line = d.p[i] == '\n' ? 0 : line + 1;
		if (d.p[i] == '\0' || line > 999 ||
		    (d.p[i] == '\n' && (i == 0 || d.p[i - 1] != '\r')) ||
		    (d.p[i] == '\r' && (i + 1 == d.len || d.p[i + 1] != '\n')))
			abort();
	}
}

static void
check_headers(struct td_str d)
{
	static const char *const known[] = {
		"From",
		"To",
		"Reply-To",
		"Subject",
		"Message-Id",
		"In-Reply-To",
		"References",
		"Date",
		"Auto-Submitted",
		"X-Tandem-Loop",
		"Jabber-ID",
		"MIME-Version",
		"Content-Type",
		"Content-Transfer-Encoding",
		"Content-Disposition",
	};
	struct milt_mail *m = milt_mail_from_raw(NULL, d, NULL);

	for (size_t i = 0; i < m->n_headers; i++) {
		size_t k;

		for (k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			if (td_str_ieq(m->headers[i]->name, td_cstr(known[k])))
				break;
		if (k == sizeof(known) / sizeof(known[0]) || m->headers[i]->index > 1)
			abort();
	}
	milt_mail_free(m);
}

static struct td_str
field(struct td_str *in)
{
	ptrdiff_t end = td_str_chr(*in, (char)0xfe);
	size_t n = end >= 0 ? (size_t)end : in->len;
	struct td_str r = td_str(in->p, n);

	n += end >= 0;
	*in = td_str(in->p + n, in->len - n);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_str in = td_str((const char *)data, size), f[12], refs[2], out;
	struct td_arena *a = td_arena_new(0);
	struct milt_attach at = { 0 };
	struct milt_draft d = { 0 };
	struct milt_built b;

	for (int i = 0; i < 12; i++)
		f[i] = field(&in);
	refs[0] = f[0];
	refs[1] = f[1];
	d = (struct milt_draft){ .env_from = TD_STR("a@b"),
				 .env_to = TD_STR("c@d"),
				 .from_name = f[0],
				 .from_addr = TD_STR("e@f"),
				 .to_name = f[1],
				 .subject = f[2],
				 .text = f[3],
				 .flowed = size % 2,
				 .message_id = TD_STR("i@d"),
				 .in_reply_to = f[4],
				 .references = refs,
				 .n_references = 2,
				 .auto_submitted = f[5],
				 .loop = f[6],
				 .jabber_id = f[7],
				 .attach = &at,
				 .n_attach = size % 3 == 0 };
	at = (struct milt_attach){ .type = f[8], .name = f[9], .content = f[10] };
	if (milt_build_chat(a, &d, &b, NULL) == 0) {
		check_wire(b.data);
		check_headers(b.data);
	} else if (f[8].len == 0) {
		abort(); /* only the type can be wrong */
	}
	d.env_from = d.from_addr = f[0];
	d.message_id = f[1];
	d.reply_to = f[2];
	if (milt_build_chat(a, &d, &b, NULL) == 0) {
		check_wire(b.data);
		check_headers(b.data);
	}
	{
		struct milt_pair h[3] = { { f[0], f[1] },
					  { TD_STR("From"), f[2] },
					  { TD_STR("Subject"), f[3] } };
		struct milt_pair p[2] = { { f[4], f[5] }, { TD_STR("text/html"), f[6] } };

		struct milt_composition c = { h, 3, p, 2, &at, 1, f[11] };

		if (milt_build(a, &c, &out, NULL) == 0)
			check_wire(out);
	}
	td_arena_free(a);
	return 0;
}
