/* fuzz_form - any element as one with a data form and a result set in it: what is read can be written, and read again
 * as the same; a page is never larger than it may be. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/form.h"
#include "xmpp/rsm.h"
#include "xmpp/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
check_same(const struct xmpp_form *f, const struct xmpp_form *g)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct xmpp_form_field *a = &f->fields[i], *b;
		char *var = td_strndup(a->var);

		b = xmpp_form_field(g, var);
		free(var);
		if (a->var.len == 0 || td_str_eqc(a->var, "FORM_TYPE"))
			continue;
		must(b != NULL && a->n == b->n);
		for (size_t k = 0; k < a->n; k++)
			must(td_str_eq(a->values[k], b->values[k]));
	}
}

static void
check_form(struct td_arena *a, const struct xmpp_node *x)
{
	struct td_buf out = { 0 };
	struct xmpp_form f, g;
	const struct xmpp_node *again;
	int64_t n = 5;
	bool on;

	if (xmpp_form_read(a, x, &f) < 0 || f.kind == FORM_CANCEL)
		return;
	for (size_t i = 0; i < f.n; i++) {
		char *var = td_strndup(f.fields[i].var);

		if (xmpp_form_int(&f, var, -10, 10, &n))
			must(n >= -10 && n <= 10);
		(void)xmpp_form_bool(&f, var, &on);
		(void)xmpp_form_value(&f, var);
		free(var);
	}
	xmpp_form_open(&out, f.kind, NULL);
	for (size_t i = 0; i < f.n; i++) {
		char *var = td_strndup(f.fields[i].var);

		if (f.fields[i].var.len > 0)
			xmpp_form_add(&out, NULL, var, NULL, f.fields[i].values, f.fields[i].n,
				      NULL);
		free(var);
	}
	xmpp_form_close(&out);
	again = xmpp_xml_parse(a, td_buf_str(&out), NULL, NULL);
	must(again != NULL && xmpp_form_read(a, again, &g) == 0 && g.kind == f.kind);
	check_same(&f, &g);
	td_buf_fini(&out);
}

static void
check_rsm(struct td_arena *a, const struct xmpp_node *n)
{
	struct xmpp_rsm r = { 0 };
	unsigned most;

	if (!xmpp_rsm_read(n, a, &r))
		return;
	most = xmpp_rsm_limit(&r, 30, 50);
	must(most <= 50 && (r.asked || most == 30));
	must(r.max >= -1 && r.index >= -1);
	must(r.asked || (r.after.p == NULL && r.before.p == NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_arena *a = td_arena_new(0);
	const struct xmpp_node *n =
		xmpp_xml_parse(a, td_arena_str(a, td_str((const char *)data, size)), NULL, NULL);

	if (n != NULL) {
		const struct xmpp_node *x = xmpp_form_find(n);

		if (x != NULL)
			check_form(a, x);
		check_rsm(a, n);
	}
	td_arena_free(a);
	return 0;
}
