/* form - data forms: the one reader and the one writer of XEP-0004. */
#include "xmpp/form.h"

#include "gateway/base/arena.h"
#include "gateway/base/err.h"

static const char *const kinds[] = { "form", "submit", "cancel", "result" };

/* ---- reading ---- */

struct xmpp_node *
xmpp_form_find(const struct xmpp_node *parent)
{
	return xmpp_node_child(parent, NS_DATA_FORM, "x");
}

static bool
read_kind(struct td_str s, enum xmpp_form_kind *out)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (td_str_eqc(s, kinds[i])) {
			*out = (enum xmpp_form_kind)i;
			return true;
		}
	return false;
}

static size_t
count(const struct xmpp_node *parent, const char *name)
{
	size_t n = 0;

	for (const struct xmpp_node *c = xmpp_node_child(parent, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c))
		if (xmpp_node_is(c, NS_DATA_FORM, name))
			n++;
	return n;
}

static void
read_values(struct td_arena *a, const struct xmpp_node *field, struct xmpp_form_field *out)
{
	struct td_str *values = td_arena_alloc(a, (out->n + 1) * sizeof(*values));
	size_t i = 0;

	for (const struct xmpp_node *c = xmpp_node_child(field, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c))
		if (xmpp_node_is(c, NS_DATA_FORM, "value"))
			values[i++] = xmpp_node_text(a, c);
	out->values = values;
}

int
xmpp_form_read(struct td_arena *a, const struct xmpp_node *x, struct xmpp_form *out)
{
	size_t n = count(x, "field"), values = 0;

	*out = (struct xmpp_form){ 0 };
	if (!read_kind(xmpp_node_attr(x, "type"), &out->kind))
		return TD_E_INVAL;
	if (n > XMPP_FORM_FIELDS_MAX)
		return TD_E_LIMIT;
	out->fields = td_arena_alloc(a, (n + 1) * sizeof(*out->fields));
	for (const struct xmpp_node *c = xmpp_node_child(x, NULL, NULL); c != NULL;
	     c = xmpp_node_next_elem(c)) {
		struct xmpp_form_field f = { .var = xmpp_node_attr(c, "var") };

		if (!xmpp_node_is(c, NS_DATA_FORM, "field"))
			continue;
		if (f.var.len == 0) {
			if (out->kind == FORM_SUBMIT)
				return TD_E_INVAL;
			continue; /* fixed text */
		}
		for (size_t i = 0; i < out->n; i++)
			if (td_str_eq(out->fields[i].var, f.var))
				return TD_E_INVAL;
		f.n = count(c, "value");
		values += f.n;
		if (values > XMPP_FORM_VALUES_MAX)
			return TD_E_LIMIT;
		read_values(a, c, &f);
		out->fields[out->n++] = f;
	}
	out->type = xmpp_form_value(out, "FORM_TYPE");
	return 0;
}

const struct xmpp_form_field *
xmpp_form_field(const struct xmpp_form *f, const char *var)
{
	for (size_t i = 0; i < f->n; i++)
		if (td_str_eqc(f->fields[i].var, var))
			return &f->fields[i];
	return NULL;
}

struct td_str
xmpp_form_value(const struct xmpp_form *f, const char *var)
{
	const struct xmpp_form_field *field = xmpp_form_field(f, var);

	if (field == NULL)
		return TD_STR_NULL;
	return field->n > 0 && field->values[0].p != NULL ? field->values[0] : TD_STR("");
}

bool
xmpp_form_bool(const struct xmpp_form *f, const char *var, bool *out)
{
	struct td_str v = xmpp_form_value(f, var);

	return v.p == NULL || xmpp_bool(td_str_trim(v), out);
}

bool
xmpp_form_int(const struct xmpp_form *f, const char *var, int64_t min, int64_t max, int64_t *out)
{
	struct td_str v = xmpp_form_value(f, var);

	return v.p == NULL || td_str_to_dec(td_str_trim(v), min, max, out);
}

/* ---- writing ---- */

static void
add_text(struct td_buf *out, const char *name, struct td_str text)
{
	td_buf_addf(out, "<%s>", name);
	td_buf_add_xml(out, text);
	td_buf_addf(out, "</%s>", name);
}

void
xmpp_form_open(struct td_buf *out, enum xmpp_form_kind kind, const char *form_type)
{
	td_buf_addf(out, "<x xmlns='" NS_DATA_FORM "' type='%s'>", kinds[kind]);
	if (form_type != NULL)
		xmpp_form_add1(out, "hidden", "FORM_TYPE", NULL, td_cstr(form_type));
}

void
xmpp_form_title(struct td_buf *out, const char *title, const char *instructions)
{
	if (title != NULL)
		add_text(out, "title", td_cstr(title));
	if (instructions != NULL)
		add_text(out, "instructions", td_cstr(instructions));
}

static void
open_field(struct td_buf *out, const char *type, const char *var, const char *label)
{
	td_buf_addz(out, "<field");
	td_buf_add_attr(out, "type", td_cstr(type));
	td_buf_add_attr(out, "var", td_cstr(var));
	td_buf_add_attr(out, "label", td_cstr(label));
	td_buf_addc(out, '>');
}

static void
close_field(struct td_buf *out, const struct td_str *values, size_t n,
	    const struct xmpp_form_option *options)
{
	for (size_t i = 0; i < n; i++)
		add_text(out, "value", values[i]);
	for (; options != NULL && options->value != NULL; options++) {
		td_buf_addz(out, "<option");
		td_buf_add_attr(out, "label", td_cstr(options->label));
		td_buf_addc(out, '>');
		add_text(out, "value", td_cstr(options->value));
		td_buf_addz(out, "</option>");
	}
	td_buf_addz(out, "</field>");
}

void
xmpp_form_add(struct td_buf *out, const char *type, const char *var, const char *label,
	      const struct td_str *values, size_t n, const struct xmpp_form_option *options)
{
	open_field(out, type, var, label);
	close_field(out, values, n, options);
}

void
xmpp_form_add_required(struct td_buf *out, const char *type, const char *var, const char *label,
		       const struct td_str *values, size_t n,
		       const struct xmpp_form_option *options)
{
	open_field(out, type, var, label);
	td_buf_addz(out, "<required/>");
	close_field(out, values, n, options);
}

void
xmpp_form_add1(struct td_buf *out, const char *type, const char *var, const char *label,
	       struct td_str value)
{
	xmpp_form_add(out, type, var, label, &value, value.p != NULL ? 1 : 0, NULL);
}

void
xmpp_form_add_bool(struct td_buf *out, const char *var, const char *label, bool value)
{
	xmpp_form_add1(out, "boolean", var, label, value ? TD_STR("1") : TD_STR("0"));
}

void
xmpp_form_add_int(struct td_buf *out, const char *type, const char *var, const char *label,
		  int64_t value)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "%lld", (long long)value);
	xmpp_form_add1(out, type, var, label, td_buf_str(&b));
	td_buf_fini(&b);
}

void
xmpp_form_add_lines(struct td_buf *out, const char *var, const char *label, struct td_str text)
{
	open_field(out, "text-multi", var, label);
	while (text.len > 0) {
		ptrdiff_t nl = td_str_chr(text, '\n');
		size_t len = nl < 0 ? text.len : (size_t)nl;

		add_text(out, "value", td_str(text.p, len));
		len += nl < 0 ? 0 : 1;
		text = td_str(text.p + len, text.len - len);
	}
	td_buf_addz(out, "</field>");
}

void
xmpp_form_close(struct td_buf *out)
{
	td_buf_addz(out, "</x>");
}
