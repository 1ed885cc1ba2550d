/* lua_xpath - the part of XPath 1.0 that scripts use on stanzas, in bounded work.
 *
 *   path ('|' path)*          path: ('/' or '//')? step (('/' or '//') step)*
 *   step: . .. * name prefix:name @name text() node(), then [predicate]*
 *   predicate: a number, last(), or a value (@name, name, ., text()) alone or = or != 'text'
 *
 * Names match whatever the namespace; a prefix is not looked at.  Anything else raises. */
#include <ctype.h>
#include <stdlib.h>

#include "gateway/lua_priv.h"

#define SET_MAX 10000

struct xp {
	lua_State *L;
	struct xmpp_node *root;
	const char *q, *p; /* query, where we are in it */
};

/* A node set is a td_buf of pointers; NULL stands for the document above the root. */
static struct xmpp_node **
set_items(const struct td_buf *b)
{
	return (struct xmpp_node **)(void *)b->p;
}

static size_t
set_len(const struct td_buf *b)
{
	return b->len / sizeof(struct xmpp_node *);
}

static void
set_add(struct xp *x, struct td_buf *set, struct xmpp_node *n)
{
	size_t len = set_len(set);

	tlua_charge(x->L, 2 + len / 8);
	if (len >= SET_MAX)
		luaL_error(x->L, "xpath: too many nodes");
	for (size_t i = 0; i < len; i++)
		if (set_items(set)[i] == n)
			return;
	td_buf_add(set, &n, sizeof(n));
}

static _Noreturn void
bad(struct xp *x)
{
	luaL_error(x->L, "xpath: cannot read \"%s\" at character %d", x->q, (int)(x->p - x->q) + 1);
	abort(); /* luaL_error does not return */
}

static void
blanks(struct xp *x)
{
	while (*x->p == ' ')
		x->p++;
}

static bool
take(struct xp *x, const char *word)
{
	size_t n = strlen(word);

	blanks(x);
	if (strncmp(x->p, word, n) != 0)
		return false;
	x->p += n;
	return true;
}

static bool
name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || (c & 0x80) != 0;
}

/* A name, its prefix dropped; empty when there is none. */
static struct td_str
take_name(struct xp *x)
{
	const char *begin;

	blanks(x);
	begin = x->p;
	if (!isalpha((unsigned char)*begin) && *begin != '_' && (*begin & 0x80) == 0)
		return TD_STR_NULL;
	while (name_char(*x->p))
		x->p++;
	if (*x->p == ':' && x->p[1] != ':') {
		begin = ++x->p;
		while (name_char(*x->p))
			x->p++;
		if (x->p == begin)
			bad(x);
	}
	return td_str(begin, (size_t)(x->p - begin));
}

/* ---- tests of one node ---- */

enum test {
	ST_NAME,
	ST_ANY,
	ST_TEXT,
	ST_NODE,
	ST_ATTR,
	ST_SELF,
	ST_UP
};
struct step {
	enum test test;
	struct td_str name;
};

static bool
passes(const struct step *st, const struct xmpp_node *n)
{
	switch (st->test) {
	case ST_NAME: return n->name != NULL && td_str_eqc(st->name, n->name);
	case ST_ANY: return n->name != NULL;
	case ST_TEXT: return n->name == NULL;
	default: return true;
	}
}

static struct td_str
attr_of(const struct xmpp_node *n, struct td_str name)
{
	for (const struct xmpp_attr *a = n != NULL ? n->attrs : NULL; a != NULL; a = a->next)
		if (td_str_eqc(name, a->name))
			return a->value;
	return TD_STR_NULL;
}

/* Append the text of <n> and all below it. */
static void
add_text(struct xp *x, const struct xmpp_node *n, struct td_buf *out)
{
	tlua_charge(x->L, 2);
	if (n->name == NULL)
		td_buf_adds(out, n->text);
	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next)
		add_text(x, c, out);
}

static bool
text_is(struct xp *x, const struct xmpp_node *n, struct td_str want)
{
	struct td_buf *b = tlua_newbuf(x->L);
	bool same;

	add_text(x, n, b);
	same = td_str_eq(td_buf_str(b), want);
	td_buf_fini(b);
	lua_pop(x->L, 1);
	return same;
}

/* ---- predicates ---- */

struct predicate {
	int64_t position; /* > 0: that one; -1: the last; 0: a value */
	struct step what;
	char op; /* 0 there at all, '=' or '!' */
	struct td_str text;
};

static bool
take_step(struct xp *x, struct step *st)
{
	*st = (struct step){ ST_NAME, TD_STR_NULL };
	if (take(x, "..")) {
		st->test = ST_UP;
	} else if (take(x, ".")) {
		st->test = ST_SELF;
	} else if (take(x, "*")) {
		st->test = ST_ANY;
	} else if (take(x, "text()")) {
		st->test = ST_TEXT;
	} else if (take(x, "node()")) {
		st->test = ST_NODE;
	} else if (take(x, "@")) {
		st->test = ST_ATTR;
		st->name = take_name(x);
		return st->name.len > 0;
	} else {
		st->name = take_name(x);
		return st->name.len > 0;
	}
	return true;
}

static void
take_predicate(struct xp *x, struct predicate *p)
{
	const char *end;

	*p = (struct predicate){ 0 };
	blanks(x);
	if (isdigit((unsigned char)*x->p)) {
		while (isdigit((unsigned char)*x->p) && p->position < 1000000)
			p->position = p->position * 10 + (*x->p++ - '0');
	} else if (take(x, "last()")) {
		p->position = -1;
	} else {
		if (!take_step(x, &p->what) || p->what.test == ST_UP)
			bad(x);
		if (take(x, "!="))
			p->op = '!';
		else if (take(x, "="))
			p->op = '=';
		blanks(x);
		if (p->op != 0) {
			end = *x->p == '\'' || *x->p == '"' ? strchr(x->p + 1, *x->p) : NULL;
			if (end == NULL)
				bad(x);
			p->text = td_str(x->p + 1, (size_t)(end - x->p - 1));
			x->p = end + 1;
		}
	}
	if (!take(x, "]"))
		bad(x);
}

static bool
value_holds(struct xp *x, const struct predicate *p, const struct xmpp_node *n)
{
	struct td_str v;

	if (n == NULL)
		return false;
	if (p->what.test == ST_ATTR) {
		v = attr_of(n, p->what.name);
		return v.p != NULL && (p->op == 0 || (p->op == '=') == td_str_eq(v, p->text));
	}
	if (p->what.test == ST_SELF)
		return p->op == 0 || (p->op == '=') == text_is(x, n, p->text);
	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next) {
		tlua_charge(x->L, 2);
		if (passes(&p->what, c) && (p->op == 0 || (p->op == '=') == text_is(x, c, p->text)))
			return true;
	}
	return false;
}

/* Filter set[from..]: the nodes one context node gave. */
static void
filter(struct xp *x, const struct predicate *p, struct td_buf *set, size_t from)
{
	size_t n = set_len(set), kept = from;

	for (size_t i = from; i < n; i++) {
		struct xmpp_node *node = set_items(set)[i];
		bool yes = p->position > 0   ? (int64_t)(i - from) + 1 == p->position
			   : p->position < 0 ? i + 1 == n
					     : value_holds(x, p, node);

		if (yes)
			set_items(set)[kept++] = node;
	}
	set->len = kept * sizeof(struct xmpp_node *);
}

/* ---- steps ---- */

static void
add_below(struct xp *x, const struct step *st, struct xmpp_node *n, bool deep, struct td_buf *out)
{
	struct xmpp_node *c = n == NULL ? x->root : n->first;

	for (; c != NULL; c = n == NULL ? NULL : c->next) {
		tlua_charge(x->L, 2);
		if (passes(st, c))
			set_add(x, out, c);
		if (deep && c->name != NULL)
			add_below(x, st, c, true, out);
	}
}

static void
run_step(struct xp *x, const struct step *st, const struct predicate *preds, size_t n_preds,
	 bool deep, const struct td_buf *in, struct td_buf *out)
{
	for (size_t i = 0; i < set_len(in); i++) {
		struct xmpp_node *n = set_items(in)[i];
		size_t from = set_len(out);

		if (st->test == ST_SELF)
			set_add(x, out, n);
		else if (st->test == ST_UP && n != NULL)
			set_add(x, out, n == x->root ? NULL : n->parent);
		else if (st->test != ST_UP)
			add_below(x, st, n, deep, out);
		for (size_t k = 0; k < n_preds; k++)
			filter(x, &preds[k], out, from);
	}
}

/* Attribute values are text: straight into the result. */
static void
give_attrs(struct xp *x, const struct step *st, bool deep, const struct td_buf *in, int table)
{
	const struct step any = { ST_ANY, TD_STR_NULL };
	struct td_buf *all = tlua_newbuf(x->L);

	for (size_t i = 0; i < set_len(in); i++) {
		if (set_items(in)[i] != NULL)
			set_add(x, all, set_items(in)[i]);
		if (deep)
			add_below(x, &any, set_items(in)[i], true, all);
	}
	for (size_t i = 0; i < set_len(all); i++) {
		struct td_str v = attr_of(set_items(all)[i], st->name);

		if (v.p == NULL)
			continue;
		tlua_pushstr(x->L, v);
		lua_rawseti(x->L, table, (lua_Integer)lua_rawlen(x->L, table) + 1);
	}
	tlua_endbuf(x->L, -1);
	lua_pop(x->L, 1);
}

static void
run_path(struct xp *x, struct xmpp_node *from, int table,
	 void (*push)(lua_State *L, struct xmpp_node *n, void *arg), void *arg)
{
	struct td_buf *in = tlua_newbuf(x->L), *out = tlua_newbuf(x->L), *swap;
	struct predicate preds[8];
	struct step st;
	bool deep = take(x, "//"), absolute = deep || take(x, "/");

	set_add(x, in, absolute ? NULL : from);
	for (;;) {
		size_t n = 0;

		if (!take_step(x, &st))
			bad(x);
		while (take(x, "[")) {
			if (n == sizeof(preds) / sizeof(*preds))
				bad(x);
			take_predicate(x, &preds[n++]);
		}
		if (st.test == ST_ATTR) {
			if (n > 0)
				bad(x);
			give_attrs(x, &st, deep, in, table);
			td_buf_clear(in);
			break;
		}
		td_buf_clear(out);
		run_step(x, &st, preds, n, deep, in, out);
		swap = in;
		in = out;
		out = swap;
		deep = take(x, "//");
		if (!deep && !take(x, "/"))
			break;
	}
	for (size_t i = 0; i < set_len(in); i++) {
		if (set_items(in)[i] == NULL)
			continue;
		push(x->L, set_items(in)[i], arg);
		lua_rawseti(x->L, table, (lua_Integer)lua_rawlen(x->L, table) + 1);
	}
	td_buf_fini(in);
	td_buf_fini(out);
	lua_pop(x->L, 2);
}

void
gwl_xpath(lua_State *L, struct xmpp_node *root, struct xmpp_node *from, const char *query,
	  void (*push)(lua_State *L, struct xmpp_node *n, void *arg), void *arg)
{
	struct xp x = { L, root, query, query };
	int table;

	lua_newtable(L);
	table = lua_gettop(L);
	tlua_charge(L, 20 + strlen(query));
	do
		run_path(&x, from, table, push, arg);
	while (take(&x, "|"));
	blanks(&x);
	if (*x.p != '\0')
		bad(&x);
}
