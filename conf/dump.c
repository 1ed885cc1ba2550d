/* dump - the tree as text that loads again, secrets masked; and the list of options. */
#include "conf/conf_priv.h"

#include <stdlib.h>

#define MASK "********"

/* Free-form names and dictionary keys that hold secrets. */
static bool
names_secret(struct td_str name)
{
	static const char *const words[] = { "password", "passwd",  "secret",
					     "token",    "api_key", "apikey" };

	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
		size_t n = strlen(words[w]);

		for (size_t i = 0; i + n <= name.len; i++)
			if (td_str_ieq(td_str(name.p + i, n), td_cstr(words[w])))
				return !td_str_ends(name, "_file");
	}
	return false;
}

/* Length of the secret that starts at <i>: after "://user:" or a key such as "password=". */
static size_t
secret_at(struct td_str s, size_t i, bool userinfo)
{
	static const char *const keys[] = { "password=", "passwd=", "pwd=", "bindpw=", "secret=" };
	size_t to = i;

	if (userinfo && i > 0 && s.p[i - 1] == ':') {
		while (to < s.len && strchr("/?# ", s.p[to]) == NULL && s.p[to] != '@')
			to++;
		return to < s.len && s.p[to] == '@' ? to - i : 0;
	}
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		size_t n = strlen(keys[k]);

		if (i < n || !td_str_ieq(td_str(s.p + i - n, n), td_cstr(keys[k])))
			continue;
		while (to < s.len && strchr(";&, ", s.p[to]) == NULL)
			to++;
		return to - i;
	}
	return 0;
}

/* "smtp://user:secret@host" and "...;password=secret;..." lose their secrets. */
static void
add_masked_uri(struct td_buf *out, struct td_str s)
{
	bool userinfo = false;
	size_t i = 0;

	while (i < s.len) {
		size_t n = secret_at(s, i, userinfo);

		if (n > 0) {
			td_buf_addz(out, MASK);
			i += n;
			userinfo = false;
			continue;
		}
		td_buf_addc(out, s.p[i++]);
		if (i >= 3 && memcmp(s.p + i - 3, "://", 3) == 0)
			userinfo = true; /* up to the next '/' */
		else if (s.p[i - 1] == '/')
			userinfo = false;
	}
}

static void
add_item(const struct conf_value *v, struct td_str name, struct td_str item, bool bare,
	 struct td_buf *out)
{
	struct td_buf b = { 0 };
	bool secret = v->row != NULL ? (v->row->flags & CO_SECRET) != 0 : names_secret(name);

	if (v->shape == CT_DICT)
		secret = secret || names_secret(name);
	if (secret)
		td_buf_addz(&b, MASK);
	else
		add_masked_uri(&b, item);
	if (bare && !secret && conf_is_bareword(item))
		td_buf_adds(out, item);
	else
		conf_quote(out, td_buf_str(&b));
	td_buf_fini(&b);
}

/* Types whose values are plain words need no quotes. */
static bool
is_plain(const struct conf_option *o)
{
	return o != NULL && o->type != CT_STRING && o->type != CT_LIST && o->type != CT_DICT &&
	       o->type != CT_ENUM;
}

void
conf_dump_value(const struct conf_value *v, struct td_buf *out)
{
	struct td_str name = v->row != NULL ? td_cstr(v->row->name) : v->name;

	td_buf_addf(out, "%.*s = ", TD_STR_ARG(name));
	if (v->shape == CT_STRING) {
		add_item(v, name, v->items[0], is_plain(v->row), out);
	} else if (v->shape == CT_LIST) {
		td_buf_addz(out, v->n > 0 ? "( " : "()");
		for (size_t i = 0; i < v->n; i++) {
			add_item(v, name, v->items[i], false, out);
			td_buf_addz(out, i + 1 < v->n ? " " : " )");
		}
	} else {
		td_buf_addz(out, v->n > 0 ? "[ " : "[]");
		for (size_t i = 0; i + 1 < v->n; i += 2) {
			if (conf_is_bareword(v->items[i]))
				td_buf_adds(out, v->items[i]);
			else
				conf_quote(out, v->items[i]);
			td_buf_addz(out, " = ");
			add_item(v, v->items[i], v->items[i + 1], false, out);
			td_buf_addz(out, i + 2 < v->n ? " " : " ]");
		}
	}
	td_buf_addc(out, '\n');
}

static void
add_indent(struct td_buf *out, unsigned indent)
{
	for (; indent > 0; indent--)
		td_buf_addc(out, '\t');
}

void
conf_dump_scope_head(const struct conf_scope *s, struct td_buf *out)
{
	td_buf_addz(out, s->kind->shown);
	if (s->name.len > 0) {
		td_buf_addc(out, ' ');
		conf_quote(out, s->name);
	}
}

static void
dump_child(const struct conf_scope *s, unsigned indent, unsigned levels, struct td_buf *out)
{
	add_indent(out, indent);
	conf_dump_scope_head(s, out);
	if (s->n_values == 0 && s->first == NULL) {
		td_buf_addz(out, " {}\n");
	} else if (levels == 0) {
		td_buf_addz(out, " { ... }\n");
	} else {
		td_buf_addz(out, " {\n");
		conf_dump_scope(s, indent + 1, levels - 1, out);
		add_indent(out, indent);
		td_buf_addz(out, "}\n");
	}
}

void
conf_dump_scope(const struct conf_scope *s, unsigned indent, unsigned levels, struct td_buf *out)
{
	for (size_t i = 0; i < s->n_values; i++) {
		add_indent(out, indent);
		conf_dump_value(s->values[i], out);
	}
	for (const struct conf_scope *k = s->first; k != NULL; k = k->next)
		dump_child(k, indent, levels, out);
}

void
conf_dump(const struct conf *c, struct td_buf *out)
{
	conf_dump_scope(c->root, 0, 99, out);
}

static void
notes_of(const struct conf_scope *s, struct td_buf *out)
{
	for (size_t i = 0; i < s->n_values; i++) {
		const struct conf_value *v = s->values[i];

		if (v->row != NULL && (v->row->flags & CO_IGNORED))
			td_buf_addf(out, "%s:%u:%u: note: %s has no effect: %s\n", v->pos.file,
				    v->pos.line, v->pos.col, v->row->name, v->row->doc);
	}
	for (const struct conf_scope *k = s->first; k != NULL; k = k->next) {
		if (k->kind->flags & CK_NOOP)
			td_buf_addf(out, "%s: note: %s is accepted and has no effect\n", k->where,
				    k->kind->shown);
		notes_of(k, out);
	}
}

void
conf_notes(const struct conf *c, struct td_buf *out)
{
	notes_of(c->root, out);
}

/* ---- the list of options ---- */

static void
add_escaped_cell(struct td_buf *out, struct td_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '|')
			td_buf_addc(out, '\\');
		td_buf_addc(out, s.p[i]);
	}
}

/* What beside the type restricts the value. */
static void
add_limits(const struct conf_option *o, struct td_buf *out)
{
	if (o->words != NULL) {
		for (size_t i = 0; o->words[i] != NULL; i++)
			td_buf_addf(out, "%s%s", i > 0 ? " " : "", o->words[i]);
	} else if (o->min != 0 || o->max != 0) {
		if (o->max == INT64_MAX)
			td_buf_addf(out, ">= %lld", (long long)o->min);
		else
			td_buf_addf(out, "%lld..%lld", (long long)o->min, (long long)o->max);
	}
}

static void
add_flags(const struct conf_option *o, struct td_buf *out)
{
	if (o->flags & CO_IGNORED)
		td_buf_addz(out, " (ignored)");
	if (o->flags & CO_RESTART)
		td_buf_addz(out, " (needs a restart)");
	if (o->flags & CO_SECRET)
		td_buf_addz(out, " (secret)");
}

static void
list_row(const struct conf_option *o, bool markdown, struct td_buf *out)
{
	struct td_buf limits = { 0 }, scopes = { 0 };

	add_limits(o, &limits);
	conf_scopes_text(o->scopes, &scopes);
	if (markdown) {
		td_buf_addf(out, "| `%s` | %s | %.*s | ", o->name, conf_type_name(o->type),
			    TD_STR_ARG(td_buf_str(&scopes)));
		if (o->def != NULL)
			td_buf_addf(out, "`%s`", o->def);
		td_buf_addz(out, " | ");
		add_escaped_cell(out, td_buf_str(&limits));
		td_buf_addz(out, " | ");
		add_escaped_cell(out, td_cstr(o->doc));
		add_flags(o, out);
		td_buf_addz(out, " |\n");
	} else {
		td_buf_addf(out, "%s\n\t%s", o->name, conf_type_name(o->type));
		if (limits.len > 0)
			td_buf_addf(out, " (%.*s)", TD_STR_ARG(td_buf_str(&limits)));
		td_buf_addf(out, ", default %s\n\tin %.*s\n\t%s", o->def != NULL ? o->def : "unset",
			    TD_STR_ARG(td_buf_str(&scopes)), o->doc);
		add_flags(o, out);
		td_buf_addc(out, '\n');
	}
	td_buf_fini(&limits);
	td_buf_fini(&scopes);
}

static int
by_name(const void *a, const void *b)
{
	const struct conf_option *const *x = a, *const *y = b;
	int d = strcmp((*x)->name, (*y)->name);

	return d != 0 ? d : *x < *y ? -1 : 1;
}

void
conf_list_options(struct td_buf *out, bool markdown)
{
	const struct conf_option *rows[CONF_MAX_OPTIONS] = { NULL };
	size_t n = 0;

	for (const struct conf_option *o = conf_options; o->name != NULL && n < CONF_MAX_OPTIONS;
	     o++)
		rows[n++] = o;
	qsort(rows, n, sizeof(const struct conf_option *), by_name);
	if (markdown)
		td_buf_addz(out, "| Option | Type | Scopes | Default | Values | Meaning "
				 "|\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < n; i++)
		list_row(rows[i], markdown, out);
}
