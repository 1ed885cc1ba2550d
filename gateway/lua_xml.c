/* lua_xml - require "xml": nodes, documents, and the stanza of a chat callout.
 *
 * A node handed to Lua keeps its whole tree alive.  Trees scripts make have an arena of their
 * own, whose size counts as the state's memory.  The tree of a stanza belongs to the stanza:
 * once the callout is over the stanza may be read by other threads or freed, so from then on
 * its nodes only raise; node:copy() is for keeping.
 *
 * A sealed stanza is shown without copying: a root of our own, whose attributes say what the
 * stanza says, above the stanza's own children.  (Only one whose bytes say more than its tree
 * is parsed anew.) */
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"

#define DEPTH_MAX 100
#define TREE_COST 1024 /* charged for an empty arena */

static const char node_mt[] = "gwl.node";
static const char doc_mt[] = "gwl.doc";
static const char stanza_key[] = "gwl.stanza";

struct ltree {
	int refs;
	struct tlua *t;
	struct td_arena *arena;
	struct xmpp_node *root;
	size_t charged;
	struct xmpp_stanza *stanza; /* a reference; NULL = the tree is ours */
	bool lent;                  /* the arena is the stanza's */
	bool read_only, over, changed;
};

struct lnode {
	struct ltree *tree;
	struct xmpp_node *n;
};

/* ---- trees ---- */

static void
tree_unref(struct ltree *tr)
{
	if (tr == NULL || --tr->refs > 0)
		return;
	if (!tr->lent)
		td_arena_free(tr->arena);
	xmpp_stanza_unref(&tr->stanza);
	tlua_ext_sub(tr->t, tr->charged);
	free(tr);
}

/* Charge what the arena grew by. */
static void
tree_charge(lua_State *L, struct ltree *tr)
{
	size_t used = td_arena_used(tr->arena) + TREE_COST;

	if (tr->lent || used <= tr->charged)
		return;
	tlua_ext_add(L, used - tr->charged);
	tr->charged = used;
}

/* An empty holder on top, filled in by the caller: so nothing is lost if Lua has no memory. */
static struct lnode *
new_holder(lua_State *L, const char *mt)
{
	struct lnode *h = lua_newuserdatauv(L, sizeof(*h), 0);

	*h = (struct lnode){ NULL, NULL };
	luaL_setmetatable(L, mt);
	return h;
}

static struct ltree *
new_tree(lua_State *L, struct lnode *holder)
{
	struct ltree *tr;

	tlua_ext_add(L, TREE_COST);
	tr = td_zalloc(sizeof(*tr));
	tr->refs = 1;
	tr->t = tlua_of(L);
	tr->charged = TREE_COST;
	tr->arena = td_arena_new(256);
	holder->tree = tr;
	return tr;
}

static void
push_node(lua_State *L, struct ltree *tr, struct xmpp_node *n)
{
	struct lnode *h = new_holder(L, node_mt);

	h->tree = tr;
	h->n = n;
	tr->refs++;
}

static int
holder_gc(lua_State *L)
{
	struct lnode *h = lua_touserdata(L, 1);

	tree_unref(h->tree);
	h->tree = NULL;
	return 0;
}

static struct lnode *
check_holder(lua_State *L, int i, const char *mt)
{
	struct lnode *h = luaL_checkudata(L, i, mt);

	if (h->tree == NULL || h->tree->over)
		luaL_error(L, "this stanza's time is over; keep a copy of it (node:copy())");
	tlua_charge(L, 10);
	return h;
}

bool
gwl_is_node(lua_State *L, int i)
{
	return luaL_testudata(L, i, node_mt) != NULL;
}

bool
gwl_is_stanza(lua_State *L, int i, const struct xmpp_stanza *s)
{
	const struct lnode *h = luaL_testudata(L, i, node_mt);

	return h != NULL && h->tree != NULL && h->tree->stanza == s && h->n == h->tree->root;
}

struct xmpp_node *
gwl_check_node(lua_State *L, int i)
{
	return check_holder(L, i, node_mt)->n;
}

/* The node at <i>, to be changed. */
static struct lnode *
check_writable(lua_State *L, int i)
{
	struct lnode *h = check_holder(L, i, node_mt);

	if (h->tree->read_only)
		luaL_error(L, "this stanza is shared; change a copy of it (node:copy())");
	h->tree->changed = true;
	return h;
}

static unsigned
depth_of(const struct xmpp_node *n)
{
	unsigned d = 0;

	for (; n->parent != NULL; n = n->parent)
		d++;
	return d;
}

/* Height of a tree that is at most DEPTH_MAX deep. */
static unsigned
height_of(const struct xmpp_node *n)
{
	unsigned h = 0;

	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next) {
		unsigned k = height_of(c) + 1;

		h = k > h ? k : h;
	}
	return h;
}

static size_t
count_nodes(const struct xmpp_node *n)
{
	size_t k = 1;

	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next)
		k += count_nodes(c);
	return k;
}

/* ---- names: what a script says must not change the shape of the XML ---- */

static bool
is_name(struct td_str s)
{
	if (s.len == 0 || s.len > 200 || !td_utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool start =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;

		if (!start && (i == 0 || !((c >= '0' && c <= '9') || c == '-' || c == '.')))
			return false;
	}
	return true;
}

static const char *
check_name(lua_State *L, int i)
{
	struct td_str s = tlua_checkstr(L, i);

	luaL_argcheck(L, is_name(s), i, "no XML name");
	return s.p;
}

static const char *
opt_ns(lua_State *L, int i)
{
	struct td_str s = tlua_optstr(L, i);

	luaL_argcheck(L, s.p == NULL || (td_utf8_valid(s) && strlen(s.p) == s.len && s.len < 1000),
		      i, "no namespace");
	return s.len > 0 ? s.p : NULL;
}

/* ---- making ---- */

/* xml.newnode(name [, ns]) */
static int
x_newnode(lua_State *L)
{
	const char *name = check_name(L, 1), *ns = opt_ns(L, 2);
	struct lnode *h = new_holder(L, node_mt);
	struct ltree *tr = new_tree(L, h);

	tr->root = h->n = xmpp_node_new(tr->arena, name, ns);
	tree_charge(L, tr);
	return 1;
}

static bool
is_blank(struct td_str s)
{
	return td_str_trim(s).len == 0;
}

static void
drop_blanks(struct xmpp_node *n)
{
	struct xmpp_node *next;
	bool elements = false;

	for (struct xmpp_node *c = n->first; c != NULL; c = c->next)
		elements = elements || c->name != NULL;
	for (struct xmpp_node *c = n->first; c != NULL; c = next) {
		next = c->next;
		if (c->name != NULL)
			drop_blanks(c);
		else if (elements && is_blank(c->text))
			xmpp_node_unlink(c);
	}
}

/* xml.parsexml(text [, keep_blanks]) -> document, or nil, error */
static int
x_parsexml(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	bool keep = lua_toboolean(L, 2) && !(lua_isinteger(L, 2) && lua_tointeger(L, 2) == 0);
	struct lnode *h = new_holder(L, doc_mt);
	struct ltree *tr;
	const char *why = NULL;

	luaL_argcheck(L, s.len <= 1u << 20, 1, "over 1 MiB");
	tlua_charge(L, 200 + s.len / 4);
	tlua_ext_add(L, 16 * s.len); /* "<a/>" makes a node of four bytes */
	tlua_ext_sub(tlua_of(L), 16 * s.len);
	tr = new_tree(L, h);
	tr->root = xmpp_xml_parse(tr->arena, xmpp_xml_skip_declaration(td_str_trim(s)), NULL, &why);
	tree_charge(L, tr);
	if (tr->root == NULL) {
		lua_pushnil(L);
		lua_pushstring(L, why != NULL ? why : "not-well-formed");
		return 2;
	}
	h->n = tr->root;
	if (!keep)
		drop_blanks(tr->root);
	return 1;
}

static void
set_lang(struct ltree *tr, struct xmpp_node *n, struct td_str v)
{
	struct xmpp_attr **at = &n->attrs;

	while (*at != NULL && !((*at)->ns != NULL && strcmp((*at)->ns, NS_XML) == 0))
		at = &(*at)->next;
	if (v.p == NULL) {
		if (*at != NULL)
			*at = (*at)->next;
		return;
	}
	if (*at == NULL) {
		*at = td_arena_zalloc(tr->arena, sizeof(**at));
		(*at)->name = "lang";
		(*at)->ns = NS_XML;
	}
	(*at)->value = td_arena_str(tr->arena, v);
}

/* A copy made from its bytes, for they are more than the tree shows. */
static void
parse_stanza(lua_State *L, struct ltree *tr, struct xmpp_stanza *s)
{
	struct td_buf *b = tlua_newbuf(L);
	const char *why = NULL;

	xmpp_stanza_write(s, true, b);
	tr->root = xmpp_xml_parse(tr->arena, td_buf_str(b), NULL, &why);
	tlua_endbuf(L, -1);
	lua_pop(L, 1);
	if (tr->root == NULL)
		luaL_error(L, "stanza: %s", why);
	tree_charge(L, tr);
}

static bool
is_held(const struct xmpp_attr *at)
{
	static const char *const names[] = { "from", "to", "type", "id" };

	if (at->ns != NULL)
		return strcmp(at->ns, NS_XML) == 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(at->name, names[i]) == 0)
			return true;
	return false;
}

/* A root that says what <s> says, above its children. */
static struct xmpp_node *
root_above(struct ltree *tr, const struct xmpp_stanza *s)
{
	struct xmpp_node *n = xmpp_node_new(tr->arena, s->root->name, s->root->ns);
	const char *type = xmpp_type_name((enum xmpp_type)s->type);
	struct xmpp_attr **end = &n->attrs;

	for (const struct xmpp_attr *at = s->root->attrs; at != NULL; at = at->next) {
		if (is_held(at))
			continue;
		*end = td_arena_zalloc(tr->arena, sizeof(**end));
		**end = *at;
		(*end)->next = NULL;
		end = &(*end)->next;
	}
	xmpp_node_set(tr->arena, n, "from", s->from.full);
	xmpp_node_set(tr->arena, n, "to", s->to.full);
	xmpp_node_set(tr->arena, n, "id", s->id);
	if (type != NULL)
		xmpp_node_set(tr->arena, n, "type", td_cstr(type));
	if (s->lang.p != NULL)
		set_lang(tr, n, s->lang);
	n->first = s->root->first;
	n->last = s->root->last;
	return n;
}

/* The sealed <s>, read-only. */
static void
show_sealed(lua_State *L, struct lnode *h, struct ltree *tr, struct xmpp_stanza *s)
{
	tr->read_only = true;
	if (s->partial) {
		parse_stanza(L, tr, s);
	} else {
		tr->stanza = xmpp_stanza_ref(s);
		tr->root = root_above(tr, s);
	}
	h->n = tr->root;
}

void
gwl_push_view(lua_State *L, struct xmpp_stanza *s)
{
	struct lnode *h = new_holder(L, node_mt);

	tlua_charge(L, 20);
	show_sealed(L, h, new_tree(L, h), s);
}

void
gwl_push_stanza(lua_State *L, struct xmpp_stanza *s)
{
	struct lnode *h = new_holder(L, node_mt);
	struct ltree *tr;

	lua_pushvalue(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, stanza_key);
	tr = new_tree(L, h);
	if (s->sealed) {
		show_sealed(L, h, tr, s);
		return;
	}
	td_arena_free(tr->arena);
	tr->arena = s->arena;
	tr->lent = true;
	tr->stanza = xmpp_stanza_ref(s);
	tr->root = h->n = s->root;
	/* the client may have left them out or said otherwise (RFC 6120 8.1.2.1) */
	xmpp_node_set(s->arena, s->root, "from", s->from.full);
	if (s->to.full.p != NULL)
		xmpp_node_set(s->arena, s->root, "to", s->to.full);
}

/* What the script changed at the opening tag becomes the stanza's; who it is from is not the
 * script's to say, and an address that is none is taken back. */
static void
apply_changes(struct xmpp_stanza *s)
{
	struct xmpp_stanza *now;

	xmpp_node_set(s->arena, s->root, "from", s->from.full);
	/* in the stanza's own arena, and never freed by itself */
	if (xmpp_stanza_from_node(s->arena, s->root, &now, NULL) < 0)
		xmpp_node_set(s->arena, s->root, "to", s->to.full);
	else
		s->to = now->to;
	s->type = now->type;
	s->id = now->id;
	s->lang = now->lang;
	xmpp_stanza_touch(s);
}

void
gwl_end_stanza(lua_State *L)
{
	struct lnode *h;

	lua_getfield(L, LUA_REGISTRYINDEX, stanza_key);
	h = lua_touserdata(L, -1);
	if (h != NULL && h->tree != NULL && h->tree->stanza != NULL) {
		struct ltree *tr = h->tree;

		if (tr->changed && !tr->stanza->sealed)
			apply_changes(tr->stanza);
		tr->over = true;
		tr->root = NULL; /* what is left in an arena of ours goes when Lua collects */
		/* now, not when Lua collects: an acknowledgement may wait for it */
		xmpp_stanza_unref(&tr->stanza);
	}
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, stanza_key);
	lua_pop(L, 1);
}

/* ---- nodes ---- */

static int
n_name(lua_State *L)
{
	const struct xmpp_node *n = gwl_check_node(L, 1);

	lua_pushstring(L, n->name != NULL ? n->name : "text");
	return 1;
}

static int
n_ns(lua_State *L)
{
	lua_pushstring(L, gwl_check_node(L, 1)->ns);
	return 1;
}

static struct xmpp_node *
check_element(lua_State *L, int i)
{
	struct xmpp_node *n = gwl_check_node(L, i);

	if (n->name == NULL)
		luaL_error(L, "a text node has no attributes and no children");
	return n;
}

/* Elements below <n> that had its namespace follow it to the new one. */
static void
set_ns(struct xmpp_node *n, const char *was, const char *ns)
{
	n->ns = ns;
	for (struct xmpp_node *c = n->first; c != NULL; c = c->next)
		if (c->name != NULL && td_str_eq(td_cstr(c->ns), td_cstr(was)))
			set_ns(c, was, ns);
}

/* node:attr(name), node:attr(name, value), node:attr(name, nil) */
static int
n_attr(lua_State *L)
{
	struct xmpp_node *n = check_element(L, 1);
	struct td_str name = tlua_checkstr(L, 2), v;
	bool lang = td_str_eqc(name, "xml:lang"), ns = td_str_eqc(name, "xmlns");
	struct ltree *tr;

	if (lua_gettop(L) < 3) {
		if (ns)
			lua_pushstring(L, n->ns);
		else
			tlua_pushstr(L, lang ? xmpp_node_lang(n) : xmpp_node_attr(n, name.p));
		return 1;
	}
	tr = check_writable(L, 1)->tree;
	v = tlua_optstr(L, 3);
	luaL_argcheck(L, v.len <= 1u << 20, 3, "too long");
	if (lang) {
		set_lang(tr, n, v);
	} else if (ns) {
		const char *to = opt_ns(L, 3);

		set_ns(n, n->ns, to != NULL ? td_arena_strndup(tr->arena, to, strlen(to)) : NULL);
	} else {
		luaL_argcheck(L, is_name(name), 2, "no XML name");
		xmpp_node_set(tr->arena, n, name.p, v);
	}
	tree_charge(L, tr);
	return 0;
}

static int
next_of_list(lua_State *L)
{
	lua_Integer i = lua_tointeger(L, lua_upvalueindex(2)) + 1;

	lua_pushinteger(L, i);
	lua_replace(L, lua_upvalueindex(2));
	lua_rawgeti(L, lua_upvalueindex(1), i);
	return 1;
}

/* Table on top becomes an iterator over it: what happens to the tree meanwhile is no matter. */
static int
list_iterator(lua_State *L)
{
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, next_of_list, 2);
	return 1;
}

static int
n_children(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt);
	lua_Integer n = 0;

	lua_newtable(L);
	for (struct xmpp_node *c = h->n->first; c != NULL; c = c->next) {
		tlua_charge(L, 10);
		push_node(L, h->tree, c);
		lua_rawseti(L, -2, ++n);
	}
	return list_iterator(L);
}

/* node:child(name [, ns]); no name: the first element */
int
gwl_node_child(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt);
	struct xmpp_node *c = xmpp_node_child(h->n, opt_ns(L, 3), luaL_optstring(L, 2, NULL));

	if (c == NULL)
		lua_pushnil(L);
	else
		push_node(L, h->tree, c);
	return 1;
}

/* The stanza's own root is behind ours. */
static struct xmpp_node *
shown(struct ltree *tr, struct xmpp_node *n)
{
	return tr->stanza != NULL && n == tr->stanza->root ? tr->root : n;
}

static int
n_parent(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt);

	if (h->n->parent == NULL)
		lua_pushnil(L);
	else
		push_node(L, h->tree, shown(h->tree, h->n->parent));
	return 1;
}

/* node:contents() -> text; node:contents(text) -> node */
static int
n_contents(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt);
	struct xmpp_node *c, *next;
	struct td_str s;

	if (lua_isnoneornil(L, 2)) {
		struct td_arena *a = tlua_scratch(L);

		s = h->n->name == NULL ? h->n->text : xmpp_node_text(a, h->n);
		tlua_pushstr(L, s.p != NULL ? s : TD_STR(""));
		return 1;
	}
	check_writable(L, 1);
	s = tlua_checkstr(L, 2);
	luaL_argcheck(L, s.len <= 1u << 20, 2, "too long");
	if (h->n->name == NULL) {
		h->n->text = td_arena_str(h->tree->arena, s);
	} else {
		for (c = h->n->first; c != NULL; c = next) {
			next = c->next;
			if (c->name == NULL)
				xmpp_node_unlink(c);
		}
		if (s.len > 0)
			xmpp_node_add_text(h->tree->arena, h->n, s);
	}
	tree_charge(L, h->tree);
	lua_settop(L, 1);
	return 1;
}

/* Move or copy the node at <i> below h->n; its holder then stands for the new place. */
static void
adopt(lua_State *L, struct lnode *h, int i)
{
	struct lnode *k = check_writable(L, i);
	const struct xmpp_node *p = h->n;

	do
		luaL_argcheck(L, p != k->n, i, "a node cannot go below itself");
	while ((p = p->parent) != NULL);
	if (depth_of(h->n) + 1 + height_of(k->n) >= DEPTH_MAX)
		luaL_error(L, "xml: nested too deep");
	if (k->tree == h->tree) {
		xmpp_node_unlink(k->n);
	} else {
		size_t cost = count_nodes(k->n);
		struct xmpp_node *copy;

		tlua_charge(L, cost * 10);
		tlua_ext_add(L, td_arena_used(k->tree->arena));
		tlua_ext_sub(tlua_of(L), td_arena_used(k->tree->arena));
		copy = xmpp_node_copy(h->tree->arena, k->n);
		xmpp_node_unlink(k->n);
		h->tree->refs++;
		tree_unref(k->tree);
		k->tree = h->tree;
		k->n = copy;
	}
	/* made without a namespace: it takes its parent's, as a child made by name does */
	if (k->n->name != NULL && k->n->ns == NULL)
		set_ns(k->n, NULL, h->n->ns);
	xmpp_node_append(h->n, k->n);
	tree_charge(L, h->tree);
}

/* node:addchild(name [, ns]) or node:addchild(node) -> the child */
static int
n_addchild(lua_State *L)
{
	struct lnode *h = check_writable(L, 1);
	const char *name, *ns;

	check_element(L, 1);
	if (gwl_is_node(L, 2)) {
		adopt(L, h, 2);
		lua_settop(L, 2);
		return 1;
	}
	if (depth_of(h->n) + 1 >= DEPTH_MAX)
		return luaL_error(L, "xml: nested too deep");
	name = check_name(L, 2);
	ns = opt_ns(L, 3);
	push_node(L, h->tree, NULL);
	((struct lnode *)lua_touserdata(L, -1))->n = xmpp_node_add(h->tree->arena, h->n, name, ns);
	tree_charge(L, h->tree);
	return 1;
}

static int
n_unlink(lua_State *L)
{
	struct lnode *h = check_writable(L, 1);

	xmpp_node_unlink(h->n);
	lua_settop(L, 1);
	return 1;
}

/* node:copy() -> the root of a tree of its own */
static int
n_copy(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt), *k;
	struct ltree *tr;

	tlua_charge(L, 10 * count_nodes(h->n));
	k = new_holder(L, node_mt);
	tr = new_tree(L, k);
	tr->root = k->n = xmpp_node_copy(tr->arena, h->n);
	tree_charge(L, tr);
	return 1;
}

static void
write_node(lua_State *L, const struct xmpp_node *n, const char *before)
{
	struct td_buf *b = tlua_newbuf(L);

	td_buf_addz(b, before);
	if (n->name == NULL)
		td_buf_add_xml(b, n->text);
	else
		xmpp_node_write(b, n, NULL);
	tlua_charge(L, b->len / 16);
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	tlua_endbuf(L, -2);
}

static int
n_tostring(lua_State *L)
{
	write_node(L, gwl_check_node(L, 1), "");
	return 1;
}

static int
n_eq(lua_State *L)
{
	struct lnode *a = luaL_testudata(L, 1, node_mt), *b = luaL_testudata(L, 2, node_mt);

	lua_pushboolean(L, a != NULL && b != NULL && a->n == b->n && a->tree == b->tree);
	return 1;
}

static int
n_doc(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt), *d = new_holder(L, doc_mt);

	d->tree = h->tree;
	d->n = h->tree->root;
	h->tree->refs++;
	return 1;
}

static void
push_found(lua_State *L, struct xmpp_node *n, void *arg)
{
	push_node(L, arg, shown(arg, n));
}

static struct xmpp_node *
top_of(struct xmpp_node *n)
{
	while (n->parent != NULL)
		n = n->parent;
	return n;
}

/* node:xpath(query) -> iterator */
static int
n_xpath(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, node_mt);

	gwl_xpath(L, shown(h->tree, top_of(h->n)), h->n, luaL_checkstring(L, 2), push_found,
		  h->tree);
	return list_iterator(L);
}

/* ---- documents ---- */

static int
d_root(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, doc_mt);

	push_node(L, h->tree, h->tree->root);
	return 1;
}

static int
d_tostring(lua_State *L)
{
	write_node(L, check_holder(L, 1, doc_mt)->tree->root,
		   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	return 1;
}

/* doc:xpath(query [, node]) */
static int
d_xpath(lua_State *L)
{
	struct lnode *h = check_holder(L, 1, doc_mt);
	struct xmpp_node *from = lua_isnoneornil(L, 3) ? h->tree->root : NULL;

	if (from == NULL) {
		struct lnode *k = check_holder(L, 3, node_mt);

		luaL_argcheck(L, k->tree == h->tree, 3, "a node of another document");
		from = k->n;
	}
	gwl_xpath(L, h->tree->root, from, luaL_checkstring(L, 2), push_found, h->tree);
	return list_iterator(L);
}

static void
make_class(lua_State *L, const char *mt, const luaL_Reg *methods, lua_CFunction tostring)
{
	luaL_newmetatable(L, mt);
	lua_pushcfunction(L, holder_gc);
	lua_setfield(L, -2, "__gc");
	lua_pushcfunction(L, tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushcfunction(L, n_eq);
	lua_setfield(L, -2, "__eq");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

int
gwl_open_xml(lua_State *L)
{
	static const luaL_Reg node[] = {
		{ "name", n_name },
		{ "ns", n_ns },
		{ "attr", n_attr },
		{ "attribute", n_attr },
		{ "children", n_children },
		{ "child", gwl_node_child },
		{ "parent", n_parent },
		{ "contents", n_contents },
		{ "addchild", n_addchild },
		{ "unlink", n_unlink },
		{ "copy", n_copy },
		{ "tostring", n_tostring },
		{ "doc", n_doc },
		{ "xpath", n_xpath },
		{ NULL, NULL },
	};
	static const luaL_Reg doc[] = {
		{ "root", d_root },
		{ "tostring", d_tostring },
		{ "xpath", d_xpath },
		{ NULL, NULL },
	};
	static const luaL_Reg fns[] = {
		{ "newnode", x_newnode },
		{ "parsexml", x_parsexml },
		{ NULL, NULL },
	};

	make_class(L, node_mt, node, n_tostring);
	make_class(L, doc_mt, doc, d_tostring);
	luaL_newlib(L, fns);
	return 1;
}
