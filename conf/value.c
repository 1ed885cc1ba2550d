/* value - what was written becomes what it means, by the type of its row. */
#include "conf/conf_priv.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>

static const char *const type_names[CT_COUNT] = {
	[CT_STRING] = "string", [CT_BOOL] = "bool",        [CT_INT] = "int",
	[CT_SIZE] = "size",     [CT_FLOAT] = "float",      [CT_MODE] = "mode",
	[CT_ENUM] = "word",     [CT_SOCKADDR] = "address", [CT_THROTTLE] = "throttle",
	[CT_LIST] = "list",     [CT_DICT] = "dictionary",
};

const char *
conf_type_name(enum conf_type t)
{
	return type_names[t];
}

static void
add_words(const char *const *words, struct td_buf *out)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		td_buf_addf(out, "%s%s", i > 0 ? ", " : "", words[i]);
}

static void
add_number_text(const struct conf_option *o, const char *what, struct td_buf *out)
{
	td_buf_addz(out, what);
	if (o->min == 0 && o->max == 0)
		return;
	if (o->max == INT64_MAX)
		td_buf_addf(out, " of at least %lld", (long long)o->min);
	else
		td_buf_addf(out, " from %lld to %lld", (long long)o->min, (long long)o->max);
}

void
conf_accepts_text(const struct conf_option *o, struct td_buf *out)
{
	switch (o->type) {
	case CT_STRING:
		td_buf_addz(out, o->words != NULL ? "one of: " : "one value");
		if (o->words != NULL)
			add_words(o->words, out);
		break;
	case CT_BOOL:
		td_buf_addz(out, "true or false (also on/off, yes/no, enabled/disabled, 1/0)");
		break;
	case CT_INT: add_number_text(o, "a whole number", out); break;
	case CT_SIZE: add_number_text(o, "a number of bytes (no unit)", out); break;
	case CT_FLOAT: td_buf_addz(out, "a decimal number"); break;
	case CT_MODE: td_buf_addz(out, "an octal file mode such as 0660"); break;
	case CT_ENUM:
		td_buf_addz(out, "one of: ");
		add_words(o->words, out);
		break;
	case CT_SOCKADDR:
		td_buf_addz(out,
			    "an address with port, as 192.0.2.1:5222 or \"[2001:db8::1]:5222\"");
		break;
	case CT_THROTTLE:
		td_buf_addz(out, "\"N\" (per second) or \"N/W\" (N per W seconds); 0 is unlimited");
		break;
	case CT_LIST:
		td_buf_addz(out, "a list, ( a b c )");
		if (o->words != NULL) {
			td_buf_addz(out, ", of: ");
			add_words(o->words, out);
		}
		break;
	case CT_DICT:
		td_buf_addz(out, "a dictionary, [ key = value ... ]");
		if (o->words != NULL) {
			td_buf_addz(out, ", with the keys: ");
			add_words(o->words, out);
		}
		break;
	case CT_COUNT: break;
	}
}

static bool
parse_bool(struct td_str s, int64_t *out)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "true", true }, { "false", false }, { "on", true },      { "off", false },
		{ "yes", true },  { "no", false },    { "enabled", true }, { "disabled", false },
		{ "1", true },    { "0", false },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (td_str_ieq(s, td_cstr(words[i].word))) {
			*out = words[i].value;
			return true;
		}
	}
	return false;
}

static bool
parse_int(const struct conf_option *o, struct td_str s, int64_t *out)
{
	int64_t min = o->type == CT_SIZE ? 0 : INT64_MIN, max = INT64_MAX;

	if (o->min != 0 || o->max != 0) {
		min = o->min;
		max = o->max;
	}
	return td_str_to_i64(s, min, max, out);
}

static bool
parse_mode(struct td_str s, int64_t *out)
{
	int64_t v = 0;

	if (s.len == 0 || s.len > 5)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '7')
			return false;
		v = v * 8 + (s.p[i] - '0');
	}
	*out = v;
	return v <= 07777;
}

static bool
parse_float(struct td_str s, double *out)
{
	char tmp[64], *end;

	if (s.len == 0 || s.len >= sizeof(tmp))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (strchr("0123456789.+-eE", s.p[i]) == NULL)
			return false;
	memcpy(tmp, s.p, s.len);
	tmp[s.len] = '\0';
	errno = 0;
	*out = strtod(tmp, &end);
	return *end == '\0' && errno == 0;
}

static bool
is_digits(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.len > 0;
}

static bool
parse_throttle(struct td_str s, struct conf_value *v)
{
	ptrdiff_t slash = td_str_chr(s, '/');
	struct td_str n = slash >= 0 ? td_str(s.p, (size_t)slash) : s;
	struct td_str w =
		slash >= 0 ? td_str(s.p + slash + 1, s.len - (size_t)slash - 1) : TD_STR("1");
	char digits[32];
	int64_t per;

	if (!is_digits(n) || !is_digits(w) || n.len > 10 || w.len > 10)
		return false;
	/* "010" is ten here: N/W has no octal */
	(void)snprintf(digits, sizeof(digits), "%.*s", TD_STR_ARG(n));
	v->num = strtoll(digits, NULL, 10);
	(void)snprintf(digits, sizeof(digits), "%.*s", TD_STR_ARG(w));
	per = strtoll(digits, NULL, 10);
	if (v->num > UINT_MAX || per < 1 || per > UINT_MAX)
		return false;
	v->per = (unsigned)per;
	return true;
}

static bool
parse_sockaddr(struct td_str s)
{
	struct sockaddr_storage ss;
	socklen_t len;

	return s.len > 0 && s.p[0] != '/' && s.p[0] != '*' && s.p[0] != ':' &&
	       conf_parse_listen(s, &ss, &len, NULL) == 0;
}

/* Replace by the word of the table, so that readers compare exactly. */
static bool
canonical(const char *const *words, struct td_str *s)
{
	for (size_t i = 0; words[i] != NULL; i++) {
		if (td_str_ieq(*s, td_cstr(words[i]))) {
			*s = td_cstr(words[i]);
			return true;
		}
	}
	return false;
}

static bool
check_scalar(struct conf_value *v)
{
	const struct conf_option *o = v->row;
	struct td_str s = v->items[0];

	switch (o->type) {
	case CT_BOOL: return parse_bool(s, &v->num);
	case CT_INT:
	case CT_SIZE: return parse_int(o, s, &v->num);
	case CT_FLOAT: return parse_float(s, &v->real);
	case CT_MODE: return parse_mode(s, &v->num);
	case CT_SOCKADDR: return parse_sockaddr(s);
	case CT_THROTTLE: return parse_throttle(s, v);
	case CT_STRING:
	case CT_ENUM:
	case CT_LIST:
	case CT_DICT:
	case CT_COUNT: break;
	}
	return o->words == NULL || canonical(o->words, &v->items[0]);
}

static void
explain(const struct conf_value *v, struct td_str bad, struct td_buf *why)
{
	const struct conf_option *o = v->row;
	const char *near =
		o->words != NULL && bad.p != NULL ? conf_suggest_word(o->words, bad) : NULL;

	td_buf_addf(why, "%s takes ", o->name);
	conf_accepts_text(o, why);
	if (bad.p != NULL && (o->flags & CO_SECRET) == 0)
		td_buf_addf(why, "; not \"%.*s%s\"", (int)td_utf8_cut(bad, 48), bad.p,
			    bad.len > 48 ? "..." : "");
	if (near != NULL)
		td_buf_addf(why, "; did you mean %s?", near);
}

static bool
check_items(struct conf_value *v, size_t step, struct td_buf *why)
{
	for (size_t i = 0; v->row->words != NULL && i < v->n; i += step) {
		if (!canonical(v->row->words, &v->items[i])) {
			explain(v, v->items[i], why);
			return false;
		}
	}
	return true;
}

bool
conf_value_check(struct conf_value *v, struct td_buf *why)
{
	enum conf_type want = v->row->type;

	if (want == CT_LIST && v->shape == CT_STRING) /* a scalar is a list of one */
		return check_items(v, 1, why);
	if (want == CT_LIST && v->shape == CT_LIST)
		return check_items(v, 1, why);
	if (want == CT_DICT && v->shape == CT_DICT)
		return check_items(v, 2, why);
	if (want == CT_LIST || want == CT_DICT || v->shape != CT_STRING) {
		explain(v, TD_STR_NULL, why);
		if (v->shape != CT_STRING)
			td_buf_addf(why, ", not a %s", conf_type_name(v->shape));
		return false;
	}
	if (check_scalar(v))
		return true;
	explain(v, v->items[0], why);
	return false;
}

struct conf_value *
conf_value_dup(struct td_arena *a, const struct conf_value *v)
{
	struct conf_value *d = td_arena_alloc(a, sizeof(*d));

	*d = *v;
	d->name = td_arena_str(a, v->name);
	d->items = td_arena_alloc(a, (v->n + 1) * sizeof(*d->items));
	for (size_t i = 0; i < v->n; i++)
		d->items[i] = td_arena_str(a, v->items[i]);
	d->pos.file = td_arena_strndup(a, v->pos.file, strlen(v->pos.file));
	d->value_pos.file = d->pos.file;
	return d;
}
