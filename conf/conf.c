/* conf - snapshots: building the tree, loading, reference counts, one-option changes.
 * A snapshot is written by one thread until conf_finish, and by none afterwards. */
#include "conf/conf_priv.h"
#include "gateway/base/err.h"

#include <assert.h>
#include <idna.h>
#include <stdio.h>
#include <stdlib.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define CACHE_SLOTS_MAX 1024

static atomic_uint_fast64_t generations;

/* ---- the tree ---- */

struct conf *
conf_new(const char *path)
{
	struct conf *c = td_zalloc(sizeof(*c));

	atomic_init(&c->refs, 1);
	c->generation = atomic_fetch_add(&generations, 1) + 1;
	c->arena = td_arena_new(16 * 1024);
	c->path = td_arena_strndup(c->arena, path, strlen(path));
	c->root = td_arena_zalloc(c->arena, sizeof(*c->root));
	c->root->kind = &conf_kinds[0];
	c->root->name = TD_STR("");
	c->root->pos = (struct conf_pos){ c->path, 1, 1, 0 };
	c->root->where = td_arena_printf(c->arena, "%s:1:1", path);
	return c;
}

static void
lower(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] |= 0x20;
}

/* Internationalised names in the form look-ups come with: U-labels (RFC 7622 3.2, by IDNA2003 as
 * xmpp/jid.c does).  NULL: it is no such name, and goes by its letters. */
static char *
u_labels(const char *name)
{
	char *ascii = NULL, *uni = NULL;

	if (idna_to_ascii_8z(name, &ascii, IDNA_USE_STD3_ASCII_RULES) == IDNA_SUCCESS &&
	    idna_to_unicode_8z8z(ascii, &uni, IDNA_USE_STD3_ASCII_RULES) != IDNA_SUCCESS)
		uni = NULL;
	free(ascii);
	return uni;
}

/* Under which a domain is found, "#protocol#" in front kept; in the arena. */
static struct td_str
domain_key(struct td_arena *a, struct td_str name)
{
	char *key = td_arena_strndup(a, name.p, name.len), *label = key, *uni = NULL;
	bool plain = true;

	lower(key, name.len);
	if (key[0] == '#' && (label = strchr(key + 1, '#')) != NULL)
		label++;
	if (label == NULL || strlen(key) != name.len || !td_utf8_valid(name))
		return td_str(key, name.len);
	for (const char *p = label; *p != '\0'; p++)
		plain = plain && (unsigned char)*p < 0x80;
	if (!plain || strstr(label, "xn--") != NULL)
		uni = u_labels(label);
	if (uni == NULL)
		return td_str(key, name.len);
	key = td_arena_printf(a, "%.*s%s", (int)(label - key), key, uni);
	free(uni);
	return td_cstr(key);
}

static bool
is_regex_name(const struct conf_kind *k, struct td_str name)
{
	return (k->flags & CK_REGEX) && name.len > 2 && name.p[0] == '/' &&
	       name.p[name.len - 1] == '/';
}

struct conf_scope *
conf_child(const struct conf *c, const struct conf_scope *parent, const struct conf_kind *kind,
	   struct td_str name)
{
	struct conf_scope *s;

	if (is_regex_name(kind, name))
		return td_map_find(&c->regex_names, name);
	if (kind->bit == CS_DOMAIN) {
		struct td_arena *a = td_arena_new(256);

		s = td_map_find(&c->domains, domain_key(a, name));
		td_arena_free(a);
		return s;
	}
	for (s = parent->first; s != NULL; s = s->next)
		if (s->kind == kind && ((kind->flags & CK_FOLD) ? td_str_ieq(s->name, name)
								: td_str_eq(s->name, name)))
			return s;
	return NULL;
}

struct conf_scope *
conf_add_scope(struct conf *c, struct conf_scope *parent, const struct conf_kind *kind,
	       struct td_str name, struct conf_pos pos)
{
	struct conf_scope *s = td_arena_zalloc(c->arena, sizeof(*s));

	s->kind = kind;
	s->name = td_arena_str(c->arena, name.p != NULL ? name : TD_STR(""));
	s->parent = parent;
	s->pos = pos;
	s->where = td_arena_printf(c->arena, "%s:%u:%u", pos.file, pos.line, pos.col);
	if (parent->last != NULL)
		parent->last->next = s;
	else
		parent->first = s;
	parent->last = s;
	if (is_regex_name(kind, s->name)) {
		td_map_set(&c->regex_names, s->name, s);
	} else if (kind->bit == CS_DOMAIN) {
		td_map_set(&c->domains, domain_key(c->arena, s->name), s);
	}
	return s;
}

static bool
same_option(const struct conf_value *a, const struct conf_value *b)
{
	if (a->row != NULL || b->row != NULL)
		return a->row == b->row;
	return td_str_ieq(a->name, b->name);
}

void
conf_add_value(struct conf *c, struct conf_scope *s, struct conf_value *v)
{
	if (v->row != NULL) {
		size_t i = conf_row_index(v->row);

		s->set[i / 64] |= (uint64_t)1 << (i % 64);
	}
	for (size_t i = 0; i < s->n_values; i++) {
		if (same_option(s->values[i], v)) {
			s->values[i] = v;
			return;
		}
	}
	if (s->n_values == s->cap_values) {
		size_t cap = s->cap_values > 0 ? s->cap_values * 2 : 4;
		struct conf_value **more =
			td_arena_alloc(c->arena, cap * sizeof(struct conf_value *));

		if (s->n_values > 0)
			memcpy(more, s->values, s->n_values * sizeof(struct conf_value *));
		s->values = more;
		s->cap_values = cap;
	}
	s->values[s->n_values++] = v;
}

void
conf_del_value(struct conf_scope *s, const struct conf_value *v)
{
	size_t i = 0;

	while (i < s->n_values && s->values[i] != v)
		i++;
	assert(i < s->n_values);
	memmove(&s->values[i], &s->values[i + 1],
		(s->n_values - i - 1) * sizeof(struct conf_value *));
	s->n_values--;
	if (v->row != NULL) {
		size_t k = conf_row_index(v->row);

		s->set[k / 64] &= ~((uint64_t)1 << (k % 64));
	}
}

/* IPv4 first (a Unix socket is 127.0.0.1 before it is ::1), then the longest prefix. */
static bool
peer_before(const struct conf_cidr *a, const struct conf_cidr *b)
{
	if (a->family != b->family)
		return a->family == AF_INET;
	return a->bits > b->bits;
}

static void
sort_peers(struct conf *c, struct conf_scope *s)
{
	size_t n = 0;

	for (struct conf_scope *k = s->first; k != NULL; k = k->next)
		n += k->kind->bit == CS_PEER;
	if (n == 0)
		return;
	s->peers = td_arena_alloc(c->arena, n * sizeof(struct conf_scope *));
	for (struct conf_scope *k = s->first; k != NULL; k = k->next) {
		size_t i = s->n_peers;

		if (k->kind->bit != CS_PEER)
			continue;
		for (; i > 0 && peer_before(&k->cidr, &s->peers[i - 1]->cidr); i--)
			s->peers[i] = s->peers[i - 1];
		s->peers[i] = k;
		s->n_peers++;
	}
}

static void
finish_scope(struct conf *c, struct conf_scope *s)
{
	if (s->kind->flags & CK_SINGLE)
		c->singles[__builtin_ctz(s->kind->bit)] = s;
	if (s->regex != NULL)
		c->regexes[c->n_regexes++] = s;
	sort_peers(c, s);
	for (struct conf_scope *k = s->first; k != NULL; k = k->next)
		finish_scope(c, k);
}

void
conf_finish(struct conf *c)
{
	const struct conf_at global = { 0 };
	int64_t slots;

	c->regexes =
		td_arena_alloc(c->arena, (c->regex_names.len + 1) * sizeof(struct conf_scope *));
	finish_scope(c, c->root);
	slots = conf_int(c, &global, "match_cache_size");
	c->cache_slots = slots < CACHE_SLOTS_MAX ? (size_t)slots : CACHE_SLOTS_MAX;
}

/* ---- references ---- */

struct conf *
conf_ref(struct conf *c)
{
	int before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);

	assert(before > 0);
	(void)before;
	return c;
}

/* What the arena will not free by itself; secrets do not stay in freed memory. */
static void
scope_fini(struct conf_scope *s)
{
	for (struct conf_scope *k = s->first; k != NULL; k = k->next)
		scope_fini(k);
	pcre2_code_free(s->regex);
	for (size_t i = 0; i < s->n_values; i++) {
		struct conf_value *v = s->values[i];

		for (size_t k = 0; v->row != NULL && (v->row->flags & CO_SECRET) && k < v->n; k++) {
			char *p;

			memcpy(&p, &v->items[k].p, sizeof(p)); /* ours: it came from the arena */
			td_wipe(p, v->items[k].len);
		}
	}
}

void
conf_unref(struct conf **cp)
{
	struct conf *c = *cp;

	*cp = NULL;
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	scope_fini(c->root);
	td_map_fini(&c->domains);
	td_map_fini(&c->regex_names);
	td_arena_free(c->arena);
	free(c);
}

uint64_t
conf_generation(const struct conf *c)
{
	return c->generation;
}

const char *
conf_path(const struct conf *c)
{
	return c->path;
}

/* ---- loading ---- */

/* The tree of <l> is complete: check it and hand it out, or drop it. */
static int
settle(struct conf_loader *l, struct conf **out, struct conf_report *report)
{
	struct conf *c = l->c;
	unsigned errors;

	conf_finish(c);
	conf_check(l);
	errors = l->errors;
	if (report != NULL)
		*report = (struct conf_report){ 0 };
	conf_report_take(l, report);
	if (errors > 0) {
		conf_unref(&c);
		return TD_E_INVAL;
	}
	*out = c;
	return 0;
}

int
conf_load(const char *path, const char *extra_search, struct conf **out, struct conf_report *report)
{
	struct conf_loader l = { .search = extra_search, .files = true };

	l.c = conf_new(path);
	conf_read_file(&l, path, (struct conf_pos){ 0 }, l.c->root);
	conf_read_local_changes(&l);
	free(l.seen);
	return settle(&l, out, report);
}

int
conf_load_text(const char *name, struct td_str text, struct conf **out, struct conf_report *report)
{
	struct conf_loader l = { 0 };

	l.c = conf_new(name);
	conf_parse(&l, l.c->path, text, l.c->root);
	return settle(&l, out, report);
}

/* ---- one option changed ---- */

/* Copy everything below <from> into <to>, except the scope <skip>. */
static void
clone_scope(struct conf_loader *l, const struct conf_scope *from, struct conf_scope *to,
	    const struct conf_scope *skip)
{
	struct conf *c = l->c;

	for (size_t i = 0; i < from->n_values; i++) {
		struct conf_value *v = conf_value_dup(c->arena, from->values[i]);

		if (v->row != NULL) { /* words point into the table again */
			struct td_buf why = { 0 };
			bool ok = conf_value_check(v, &why);

			assert(ok);
			(void)ok;
			td_buf_fini(&why);
		}
		conf_add_value(c, to, v);
	}
	if (l->ord < from->pos.ord)
		l->ord = from->pos.ord;
	for (const struct conf_scope *k = from->first; k != NULL; k = k->next) {
		struct conf_pos pos = k->pos;
		struct conf_scope *copy;

		if (skip != NULL && k == skip)
			continue;
		pos.file = td_arena_strndup(c->arena, pos.file, strlen(pos.file));
		copy = conf_add_scope(c, to, k->kind, k->name, pos);
		copy->cidr = k->cidr;
		if (k->regex != NULL)
			copy->regex = pcre2_code_copy(k->regex);
		clone_scope(l, k, copy, skip);
	}
}

/* Find, or with <make> open, the scope a console path names. */
static struct conf_scope *
walk_path(struct conf_loader *l, struct td_str path, bool make)
{
	struct conf_scope *s = l->c->root;
	struct conf_lexer lx;

	conf_lex_init(&lx, l, "config", path);
	for (;;) {
		struct conf_token word = conf_lex(&lx, 0), name = { 0 };
		const struct conf_kind *k;
		struct conf_lexer before;

		if (word.type == LT_EOF)
			return s;
		k = word.type == LT_WORD ? conf_kind_find(word.text) : NULL;
		before = lx;
		if (k != NULL && k->naming != CN_NONE)
			name = conf_lex(&lx, (k->flags & CK_REGEX) ? LX_REGEX : 0);
		/* an unnamed listener: the word after it is a scope again */
		if (k != NULL && k->naming == CN_OPTIONAL && name.type == LT_WORD &&
		    conf_kind_find(name.text) != NULL)
			name.type = LT_EOF;
		if (name.type == LT_EOF)
			lx = k != NULL ? before : lx;
		if (make) {
			s = conf_open_scope(l, s, &word, name.type == LT_EOF ? NULL : &name);
		} else {
			struct conf_scope *found = NULL;

			if (k != NULL)
				found = conf_child(l->c, s, k,
						   name.type == LT_EOF ? TD_STR("") : name.text);
			if (found == NULL)
				conf_error(l, word.pos, "there is no such scope: %s",
					   conf_shown(l, path));
			s = found;
		}
		if (s == NULL || l->errors > 0)
			return NULL;
	}
}

static void
unset_option(struct conf_loader *l, struct conf_scope *s, struct td_str option)
{
	struct conf_pos pos = { "config", 1, 1, ++l->ord };

	for (size_t i = 0; i < s->n_values; i++) {
		struct conf_value *v = s->values[i];

		if (td_str_ieq(v->row != NULL ? td_cstr(v->row->name) : v->name, option)) {
			conf_del_value(s, v);
			return;
		}
	}
	conf_error(l, pos, "option %s is not set in scope %s", conf_shown(l, option),
		   s->kind->shown);
}

/* "config unset PATH" without an option: the whole scope goes. */
static struct conf *
without_scope(const struct conf *base, struct conf_loader *l, struct td_str path)
{
	struct conf_loader old = *l;
	struct conf_pos pos = { "config", 1, 1, 0 };
	struct conf_scope *s = walk_path(&old, path, false);

	*l = old;
	if (s == NULL)
		return l->c;
	if (s->parent == NULL) {
		conf_error(l, pos, "the global scope cannot be removed");
		return l->c;
	}
	l->c = conf_new(base->path);
	clone_scope(l, old.c->root, l->c->root, s);
	conf_unref(&old.c);
	return l->c;
}

int
conf_with(const struct conf *base, struct td_str path, struct td_str option,
	  const struct td_str *value, struct conf **out, struct conf_report *report)
{
	struct conf_loader l = { 0 };
	struct conf_scope *s;

	l.c = conf_new(base->path);
	clone_scope(&l, base->root, l.c->root, NULL);
	if (option.len == 0 && value == NULL) {
		l.c = without_scope(base, &l, path);
		return settle(&l, out, report);
	}
	s = walk_path(&l, path, value != NULL);
	if (s != NULL && value != NULL)
		conf_parse_option(&l, "config", option, *value, s);
	else if (s != NULL)
		unset_option(&l, s, option);
	return settle(&l, out, report);
}

/* ---- what needs a restart ---- */

static bool
same_value(const struct conf_value *a, const struct conf_value *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->n != b->n || a->num != b->num)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!td_str_eq(a->items[i], b->items[i]))
			return false;
	return true;
}

static void
add_name(struct td_buf *out, const char *name)
{
	struct td_str rest = td_buf_str(out);
	size_t n = strlen(name);

	for (size_t i = 0; rest.p != NULL && i + n <= rest.len; i++)
		if (memcmp(rest.p + i, name, n) == 0 && (i == 0 || rest.p[i - 1] == ' ') &&
		    (i + n == rest.len || rest.p[i + n] == ' '))
			return;
	td_buf_addf(out, "%s%s", out->len > 0 ? " " : "", name);
}

/* <a> and <b> are the same place in two generations; either may be NULL. */
static void
diff_scope(const struct conf *ca, const struct conf_scope *a, const struct conf *cb,
	   const struct conf_scope *b, struct td_buf *out)
{
	const struct conf_scope *any = a != NULL ? a : b;

	/* libmilter cannot change its socket */
	if ((a == NULL || b == NULL) && any->kind->bit == CS_LISTEN &&
	    (any->parent->kind->bit & (CS_MILTER_LISTENER | CS_CONTROL_LISTENER)))
		add_name(out, any->parent->kind->name);
	for (const struct conf_option *o = conf_options; o->name != NULL; o++) {
		const struct conf_value *va, *vb;

		if ((o->flags & CO_RESTART) == 0 || !conf_row_fits(o, any))
			continue;
		va = a != NULL ? conf_value_in(a, o) : NULL;
		vb = b != NULL ? conf_value_in(b, o) : NULL;
		if (!same_value(va != NULL ? va : conf_row_default(o),
				vb != NULL ? vb : conf_row_default(o)))
			add_name(out, o->name);
	}
	for (const struct conf_scope *k = a != NULL ? a->first : NULL; k != NULL; k = k->next)
		diff_scope(ca, k, cb, b != NULL ? conf_child(cb, b, k->kind, k->name) : NULL, out);
	for (const struct conf_scope *k = b != NULL ? b->first : NULL; k != NULL; k = k->next)
		if (a == NULL || conf_child(ca, a, k->kind, k->name) == NULL)
			diff_scope(ca, NULL, cb, k, out);
}

void
conf_diff_restart(const struct conf *a, const struct conf *b, struct td_buf *out)
{
	struct td_buf names = { 0 };

	diff_scope(a, a->root, b, b->root, &names);
	td_buf_add(out, names.p, names.len);
	td_buf_fini(&names);
}
