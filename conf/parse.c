/* parse - tokens to scopes and options (momentum.md 1.2), going on after each error.
 * A step: read a NAME, look at the token after it, and decide between include, scope and
 * option.  Recovery skips to the next word that opens a line, or the closing brace. */
#include "conf/conf_priv.h"
#include "gateway/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_ITEMS 100000 /* of one list or dictionary */

struct parser {
	struct conf_loader *l;
	struct conf_lexer lx;
};

static void parse_items(struct parser *p, struct conf_scope *s, bool top);

static bool
is_punct(const struct conf_token *t, char c)
{
	return t->type == LT_PUNCT && t->punct == c;
}

static bool
is_text(const struct conf_token *t)
{
	return t->type == LT_WORD || t->type == LT_STRING || t->type == LT_REGEX;
}

static struct conf_token
peek(struct parser *p, unsigned flags)
{
	struct conf_lexer ahead = p->lx;
	unsigned errors = p->l->errors;
	size_t n = p->l->n_msgs;
	struct conf_token t = conf_lex(&ahead, flags);

	/* what was only looked at will be reported when it is read */
	while (p->l->n_msgs > n)
		free(p->l->msgs[--p->l->n_msgs].text);
	p->l->errors = errors;
	return t;
}

/* Skip what cannot be understood. */
static void
recover(struct parser *p)
{
	unsigned depth = 0;

	for (;;) {
		struct conf_token t = peek(p, 0);

		if (t.type == LT_EOF ||
		    (depth == 0 && (is_punct(&t, '}') || (t.type == LT_WORD && t.first))))
			return;
		conf_lex(&p->lx, 0);
		depth += is_punct(&t, '{');
		if (is_punct(&t, '}') && --depth == 0)
			return;
	}
}

/* Skip to the brace that closes a block already opened.  Inside another scope the end of
 * the file is reported there. */
static void
skip_block(struct parser *p, struct conf_pos opened, bool inner)
{
	unsigned depth = 1;

	while (depth > 0) {
		struct conf_token t = conf_lex(&p->lx, 0);

		if (t.type == LT_EOF) {
			if (!inner)
				conf_error(p->l, opened,
					   "this block is never closed: a } is missing");
			return;
		}
		depth += is_punct(&t, '{');
		depth -= is_punct(&t, '}');
	}
}

static bool
is_name(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '_' || c == '-'))
			return false;
	}
	return s.len > 0 && s.len <= 64;
}

/* ---- values ---- */

struct items {
	struct td_str *v;
	size_t n, cap;
};

static void
push_item(struct items *it, struct td_str s)
{
	if (it->n == it->cap) {
		it->cap = it->cap > 0 ? it->cap * 2 : 8;
		it->v = td_realloc(it->v, it->cap * sizeof(*it->v));
	}
	it->v[it->n++] = s;
}

static bool
list_full(struct parser *p, const struct items *it, struct conf_pos pos)
{
	if (it->n < MAX_ITEMS)
		return false;
	conf_error(p->l, pos, "more than %d entries", MAX_ITEMS);
	return true;
}

/* After "(": scalars up to ")", a comma allowed after each. */
static bool
parse_list(struct parser *p, struct conf_pos opened, struct items *it)
{
	bool comma_ok = false;

	for (;;) {
		struct conf_token t = peek(p, LX_LIST);

		if (is_text(&t)) {
			if (list_full(p, it, t.pos))
				return false;
			t = conf_lex(&p->lx, LX_LIST);
			push_item(it, t.text);
			comma_ok = true;
			continue;
		}
		if (is_punct(&t, ')')) {
			conf_lex(&p->lx, LX_LIST);
			return true;
		}
		if (is_punct(&t, ',') && comma_ok) {
			conf_lex(&p->lx, LX_LIST);
			comma_ok = false;
			continue;
		}
		if (t.type == LT_EOF || is_punct(&t, '}'))
			conf_error(p->l, opened, "this list is never closed: a ) is missing");
		else
			conf_error(p->l, t.pos, "a list holds plain values; not %s",
				   conf_token_text(p->l, &t));
		return false;
	}
}

/* One "key = value" of a dictionary. */
static bool
parse_pair(struct parser *p, struct items *it)
{
	struct conf_token key = conf_lex(&p->lx, LX_LIST), t = conf_lex(&p->lx, LX_LIST);

	if (!is_punct(&t, '=')) {
		conf_error(p->l, key.pos, "key %s needs = and a value",
			   conf_token_text(p->l, &key));
		return false;
	}
	for (size_t i = 0; i < it->n; i += 2) {
		if (td_str_ieq(it->v[i], key.text)) {
			conf_error(p->l, key.pos, "key %s occurs twice in this dictionary",
				   conf_token_text(p->l, &key));
			return false;
		}
	}
	t = conf_lex(&p->lx, LX_LIST);
	if (!is_text(&t)) {
		conf_error(p->l, t.pos,
			   "a dictionary holds plain values; %s = cannot be followed by %s",
			   conf_shown(p->l, key.text), conf_token_text(p->l, &t));
		return false;
	}
	push_item(it, key.text);
	push_item(it, t.text);
	return true;
}

/* After "[": pairs up to "]". */
static bool
parse_dict(struct parser *p, struct conf_pos opened, struct items *it)
{
	for (;;) {
		struct conf_token t = peek(p, LX_LIST);

		if (is_text(&t)) {
			/* keys are compared with each other: keep that small */
			if (it->n > 2000) {
				conf_error(p->l, t.pos, "a dictionary of more than 1000 keys");
				return false;
			}
			if (!parse_pair(p, it))
				return false;
			continue;
		}
		if (is_punct(&t, ']')) {
			conf_lex(&p->lx, LX_LIST);
			return true;
		}
		if (is_punct(&t, ',') && it->n > 0) {
			conf_lex(&p->lx, LX_LIST);
			continue;
		}
		if (t.type == LT_EOF || is_punct(&t, '}'))
			conf_error(p->l, opened, "this dictionary is never closed: a ] is missing");
		else
			conf_error(p->l, t.pos, "a dictionary holds key = value; not %s",
				   conf_token_text(p->l, &t));
		return false;
	}
}

/* The value after "NAME =", or after NAME where a list or dictionary follows.  NULL after
 * an error message; the caller recovers. */
static struct conf_value *
parse_value(struct parser *p, const struct conf_token *name)
{
	struct conf_lexer before = p->lx;
	struct conf_token t = conf_lex(&p->lx, 0);
	struct td_arena *a = p->l->c->arena;
	struct items it = { 0 };
	struct conf_value *v;
	bool ok = true;

	v = td_arena_zalloc(a, sizeof(*v));
	v->pos = name->pos;
	v->value_pos = t.pos;
	if (is_text(&t)) {
		struct conf_token after = peek(p, 0);

		if (t.type == LT_WORD && t.first && is_punct(&after, '=')) {
			p->lx = before;
			ok = false;
		}
		v->shape = CT_STRING;
		push_item(&it, t.text);
	} else if (is_punct(&t, '(')) {
		v->shape = CT_LIST;
		ok = parse_list(p, t.pos, &it);
	} else if (is_punct(&t, '[')) {
		v->shape = CT_DICT;
		ok = parse_dict(p, t.pos, &it);
	} else {
		p->lx = before;
		ok = false;
	}
	if (!ok && v->shape == CT_STRING)
		conf_error(p->l, name->pos, "%s = has no value", name->text.p);
	v->n = it.n;
	v->items = td_arena_alloc(a, (it.n + 1) * sizeof(*v->items));
	if (it.n > 0)
		memcpy(v->items, it.v, it.n * sizeof(*v->items));
	free(it.v);
	return ok ? v : NULL;
}

/* ---- options ---- */

/* Say why <name> is no option of <s>. */
static void
report_unknown(struct conf_loader *l, const struct conf_token *name, const struct conf_scope *s)
{
	const struct conf_kind *k = conf_kind_find(name->text);
	const struct conf_option *o = conf_row_first(name->text);
	struct td_buf where = { 0 };
	uint32_t scopes = 0;
	const char *near;
	bool foreign;

	if (k != NULL) {
		conf_error(l, name->pos, "%s is a scope, not an option: write %s%s { ... }",
			   k->name, k->shown, k->naming == CN_REQUIRED ? " \"name\"" : "");
		return;
	}
	for (; o != NULL; o = conf_row_next(o))
		scopes |= o->scopes;
	if (scopes != 0) {
		conf_scopes_text(scopes, &where);
		conf_error(l, name->pos, "option %s is not valid in %s; it belongs in %s%s",
			   name->text.p, s->kind->shown, td_buf_cstr(&where),
			   td_str_ieq(name->text, TD_STR("enabled")) &&
					   conf_row_in(TD_STR("enable"), s) != NULL
				   ? " (listeners use enable)"
				   : "");
		td_buf_fini(&where);
		return;
	}
	near = conf_suggest(s, name->text, &foreign);
	if (near == NULL)
		conf_error(l, name->pos, "unknown option %s in %s", conf_shown(l, name->text),
			   s->kind->shown);
	else
		conf_error(l, name->pos, "unknown option %s in %s; did you mean %s%s?",
			   conf_shown(l, name->text), s->kind->shown, near,
			   foreign ? " (of another scope)" : "");
}

static void
set_option(struct conf_loader *l, const struct conf_token *name, struct conf_value *v,
	   struct conf_scope *s)
{
	struct td_buf why = { 0 };

	v->row = conf_row_in(name->text, s);
	v->name = name->text;
	if (v->row == NULL && (s->kind->flags & CK_FREE)) {
		conf_add_value(l->c, s, v);
	} else if (v->row == NULL) {
		s->bad = true;
		report_unknown(l, name, s);
	} else if (!conf_value_check(v, &why)) {
		s->bad = true;
		conf_error(l, v->value_pos, "%s", td_buf_cstr(&why));
	} else {
		if ((v->row->flags & CO_SECRET) && v->shape == CT_STRING &&
		    td_str_eqc(v->items[0], "********"))
			conf_warn(l, v->value_pos,
				  "%s is masked: this looks like a dump, write the real value",
				  v->row->name);
		conf_add_value(l->c, s, v);
	}
	td_buf_fini(&why);
}

/* ---- scopes ---- */

static bool
compile_regex(struct conf_loader *l, struct conf_scope *s, struct conf_pos pos)
{
	PCRE2_SIZE where;
	int code;

	s->regex = pcre2_compile((PCRE2_SPTR)s->name.p + 1, s->name.len - 2,
				 PCRE2_CASELESS | PCRE2_UTF, &code, &where, NULL);
	if (s->regex == NULL) {
		PCRE2_UCHAR text[120];

		pcre2_get_error_message(code, text, sizeof(text));
		conf_error(l, pos, "regex %s: %s (at character %zu)", conf_shown(l, s->name),
			   (const char *)text, where + 1);
	}
	return s->regex != NULL;
}

/* Is <name> one that <kind> can have?  What was opened before was checked then. */
static bool
check_instance(struct conf_loader *l, struct conf_scope *s, struct conf_pos pos)
{
	struct sockaddr_storage ss;
	struct td_err err;
	socklen_t len;

	switch (s->kind->bit) {
	case CS_DOMAIN:
		if (s->name.p[0] != '/')
			break;
		if (s->name.len > 2 && s->name.p[s->name.len - 1] == '/')
			return compile_regex(l, s, pos);
		conf_error(
			l, pos,
			"a name that starts with / is a regex and must end with / too: \"/re/\"");
		return false;
	case CS_PEER:
		if (conf_parse_cidr(s->name, &s->cidr))
			break;
		conf_error(l, pos,
			   "Peer %s: write an address or a network, as 192.0.2.0/24 or "
			   "\"2001:db8::/32\"",
			   conf_shown(l, s->name));
		return false;
	case CS_LISTEN:
		if (conf_parse_listen(s->name, &ss, &len, &err) == 0)
			break;
		conf_error(l, pos, "Listen %s: %s", conf_shown(l, s->name), err.text);
		return false;
	default: break;
	}
	return true;
}

static void
report_scope(struct conf_loader *l, const struct conf_token *word, const struct conf_kind *k,
	     const struct conf_scope *parent)
{
	const struct conf_option *o = conf_row_first(word->text);
	struct td_buf where = { 0 };
	const char *near;
	bool foreign;

	if (k != NULL) {
		conf_scopes_text(k->parents, &where);
		conf_error(l, word->pos, "scope %s is not valid in %s; it belongs in %s%s",
			   k->shown, parent->kind->shown, td_buf_cstr(&where),
			   (k->parents & CS_GLOBAL) && word->pos.col == 1
				   ? " (is a } missing before it?)"
				   : "");
		td_buf_fini(&where);
		return;
	}
	if (o != NULL) {
		conf_error(l, word->pos, "%s is an option, not a scope: write %s = value", o->name,
			   o->name);
		return;
	}
	near = conf_suggest(parent, word->text, &foreign);
	if (near == NULL)
		conf_error(l, word->pos, "unknown scope %s in %s", conf_shown(l, word->text),
			   parent->kind->shown);
	else
		conf_error(l, word->pos, "unknown scope %s in %s; did you mean %s%s?",
			   conf_shown(l, word->text), parent->kind->shown, near,
			   foreign ? " (of another scope)" : "");
}

/* Does the name, or its absence, suit the kind? */
static bool
check_naming(struct conf_loader *l, const struct conf_kind *k, const struct conf_scope *parent,
	     const struct conf_token *word, const struct conf_token *name)
{
	const struct conf_scope *one = NULL;

	if (name == NULL && k->naming == CN_REQUIRED) {
		conf_error(l, word->pos, "%s needs a name: %s \"name\" { ... }", k->shown,
			   k->shown);
		return false;
	}
	if (name != NULL && name->text.len == 0) {
		conf_error(l, name->pos, "the name of %s is empty", k->shown);
		return false;
	}
	if (name != NULL && k->naming == CN_NONE) {
		conf_error(l, name->pos, "%s takes no name: write %s { ... }", k->shown, k->shown);
		return false;
	}
	if ((k->flags & CK_SINGLE) && k->naming == CN_OPTIONAL) {
		for (one = parent->first; one != NULL && one->kind != k; one = one->next)
			;
	}
	if (one != NULL && !td_str_eq(one->name, name != NULL ? name->text : TD_STR(""))) {
		conf_error(l, word->pos, "there is one %s only, and it is %s, opened at %s",
			   k->shown,
			   one->name.len > 0 ? conf_shown(l, one->name) : "without a name",
			   one->where);
		return false;
	}
	return true;
}

struct conf_scope *
conf_open_scope(struct conf_loader *l, struct conf_scope *parent, const struct conf_token *word,
		const struct conf_token *name)
{
	const struct conf_kind *k = conf_kind_find(word->text);
	struct td_str called = name != NULL ? name->text : TD_STR("");
	struct conf_scope *s;

	if (k != NULL && (k->flags & CK_UNSUPPORTED)) {
		conf_error(l, word->pos, "scope %s is not supported; %s", k->shown, k->hint);
		return NULL;
	}
	if (k == NULL || !conf_kind_fits(k, parent)) {
		report_scope(l, word, k, parent);
		return NULL;
	}
	if (!check_naming(l, k, parent, word, name))
		return NULL;
	s = conf_child(l->c, parent, k, called);
	if (s != NULL)
		return s;
	s = conf_add_scope(l->c, parent, k, called, word->pos);
	/* a scope with a bad name stays in the tree, which is then dropped as a whole */
	return check_instance(l, s, name != NULL ? name->pos : word->pos) ? s : NULL;
}

static void
parse_scope(struct parser *p, struct conf_scope *parent, const struct conf_token *word,
	    const struct conf_token *name)
{
	struct conf_scope *s = conf_open_scope(p->l, parent, word, name);

	if (s == NULL)
		parent->bad = true;
	if (s == NULL || (s->kind->flags & CK_NOOP))
		skip_block(p, word->pos, parent->parent != NULL);
	else
		parse_items(p, s, false);
}

/* ---- items ---- */

static bool
parse_include(struct parser *p, const struct conf_token *word, struct conf_scope *s)
{
	struct conf_lexer before = p->lx;
	struct conf_token t = conf_lex(&p->lx, 0);

	if (is_punct(&t, '=')) {
		conf_error(p->l, t.pos, "%s takes no =: write %s \"path\"", word->text.p,
			   word->text.p);
		return false;
	}
	if (!is_text(&t)) {
		p->lx = before;
		conf_error(p->l, word->pos, "%s needs a path: %s \"path\"", word->text.p,
			   word->text.p);
		return false;
	}
	conf_include(p->l, word->pos, t.text, s);
	return true;
}

/* NAME, a word or string, and then neither "{" nor "= {". */
static void
report_stray(struct parser *p, const struct conf_token *word, const struct conf_token *t)
{
	const struct conf_kind *k = conf_kind_find(word->text);

	if (k != NULL)
		conf_error(p->l, word->pos, "%s %s must be followed by { ... }", k->shown,
			   conf_token_text(p->l, t));
	else
		conf_error(p->l, t->pos, "= is missing between %s and %s", word->text.p,
			   conf_token_text(p->l, t));
}

/* What follows NAME when it is no "=", "{", "(" or "[": an instance name, or an error. */
static bool
parse_named(struct parser *p, struct conf_scope *s, const struct conf_token *word,
	    const struct conf_token *name)
{
	struct conf_token t = peek(p, 0);
	struct conf_lexer after_eq;

	if (is_punct(&t, '{')) {
		conf_lex(&p->lx, 0);
		parse_scope(p, s, word, name);
		return true;
	}
	if (is_punct(&t, '=')) {
		conf_lex(&p->lx, 0);
		after_eq = p->lx;
		t = conf_lex(&p->lx, 0);
		if (is_punct(&t, '{')) {
			parse_scope(p, s, word, name);
			return true;
		}
		p->lx = after_eq;
	}
	report_stray(p, word, name);
	return false;
}

static bool
parse_assignment(struct parser *p, struct conf_scope *s, const struct conf_token *word)
{
	struct conf_value *v = parse_value(p, word);

	if (v != NULL)
		set_option(p->l, word, v, s);
	return v != NULL;
}

/* One include, scope or option that starts with <word>; false: the caller recovers. */
static bool
parse_item(struct parser *p, struct conf_scope *s, const struct conf_token *word)
{
	const struct conf_kind *k = conf_kind_find(word->text);
	struct conf_lexer before = p->lx;
	struct conf_token t;

	if (!is_name(word->text)) {
		conf_error(p->l, word->pos, "%s cannot be a name of an option or scope",
			   conf_token_text(p->l, word));
		return false;
	}
	if (td_str_ieq(word->text, TD_STR("include")) ||
	    td_str_ieq(word->text, TD_STR("readonly_include")))
		return parse_include(p, word, s);
	t = conf_lex(&p->lx, k != NULL && (k->flags & CK_REGEX) ? LX_REGEX : 0);
	if (is_punct(&t, '{')) {
		parse_scope(p, s, word, NULL);
		return true;
	}
	if (is_punct(&t, '=')) {
		struct conf_token brace = peek(p, 0);

		if (!is_punct(&brace, '{'))
			return parse_assignment(p, s, word);
		conf_lex(&p->lx, 0);
		parse_scope(p, s, word, NULL);
		return true;
	}
	if (is_punct(&t, '(') || is_punct(&t, '[')) {
		p->lx = before;
		return parse_assignment(p, s, word);
	}
	if (is_text(&t) && !(t.first && k == NULL))
		return parse_named(p, s, word, &t);
	p->lx = before;
	conf_error(p->l, word->pos, "%s stands alone: %s", conf_token_text(p->l, word),
		   word->first ? "\"=\" or \"{\" must follow"
			       : "put a value with blanks in quotes, or a list in ( )");
	s->bad = true;
	return t.type == LT_EOF || is_punct(&t, '}');
}

static void
parse_items(struct parser *p, struct conf_scope *s, bool top)
{
	while (p->l->errors <= CONF_MAX_ERRORS) {
		struct conf_token t = conf_lex(&p->lx, 0);

		if (t.type == LT_EOF) {
			if (!top)
				conf_error(p->l, t.pos,
					   "the file ends inside %s, opened at %s: a } is missing",
					   s->kind->shown, s->where);
			return;
		}
		if (is_punct(&t, '}')) {
			if (!top)
				return;
			conf_error(p->l, t.pos, "this } closes nothing");
		} else if (t.type != LT_WORD) {
			conf_error(p->l, t.pos, "expected an option or a scope; not %s",
				   conf_token_text(p->l, &t));
			s->bad = true;
			recover(p);
		} else if (!parse_item(p, s, &t)) {
			s->bad = true;
			recover(p);
		}
	}
}

/* Only text gets to the lexer: UTF-8 without NUL and other controls. */
static bool
check_text(struct conf_loader *l, const char *file, struct td_str src)
{
	struct conf_pos pos = { file, 1, 1, ++l->ord };
	size_t line = 0;

	for (size_t i = 0; i <= src.len; i++) {
		unsigned char c = i < src.len ? (unsigned char)src.p[i] : '\n';

		if (c == '\n') {
			if (!td_utf8_valid(td_str(src.p + line, i - line))) {
				conf_error(l, pos, "this line is not valid UTF-8");
				return false;
			}
			line = i + 1;
			pos.line++;
		} else if (c == 0x7f || (c < ' ' && (c < '\t' || c > '\r'))) {
			pos.col = (unsigned)(i - line + 1);
			conf_error(l, pos,
				   "control character 0x%02x; a configuration is plain text", c);
			return false;
		}
	}
	return true;
}

void
conf_parse(struct conf_loader *l, const char *file, struct td_str src, struct conf_scope *into)
{
	struct parser p = { .l = l };

	if (src.len == 0 || !check_text(l, file, src))
		return;
	conf_lex_init(&p.lx, l, file, src);
	parse_items(&p, into, true);
}

void
conf_parse_option(struct conf_loader *l, const char *file, struct td_str name, struct td_str value,
		  struct conf_scope *into)
{
	struct conf_token word = { .type = LT_WORD, .pos = { file, 1, 1, ++l->ord } }, rest;
	struct parser p = { .l = l };
	struct conf_value *v;

	value = td_str_trim(value);
	if (value.len > 0 && value.p[0] == '=') /* pasted from a file */
		value = td_str_trim(td_str(value.p + 1, value.len - 1));
	word.text = td_arena_str(l->c->arena, name.p != NULL ? name : TD_STR(""));
	if (!is_name(word.text)) {
		conf_error(l, word.pos, "%s cannot be a name of an option",
			   conf_shown(l, word.text));
		return;
	}
	if (value.len == 0) {
		conf_error(l, word.pos, "%s = has no value", word.text.p);
		return;
	}
	if (!check_text(l, file, value))
		return;
	conf_lex_init(&p.lx, l, file, value);
	v = parse_value(&p, &word);
	rest = peek(&p, 0);
	if (v != NULL && rest.type != LT_EOF)
		conf_error(l, rest.pos,
			   "%s follows the value: put values with blanks or special characters in "
			   "quotes",
			   conf_token_text(l, &rest));
	else if (v != NULL)
		set_option(l, &word, v, into);
}
