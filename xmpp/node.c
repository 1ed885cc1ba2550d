/* node - the element tree: building it, asking it, writing it. */
#include "xmpp/xml.h"

#include "gateway/base/arena.h"
#include "xmpp/ns.h"

struct xmpp_node *
xmpp_node_new(struct td_arena *a, const char *name, const char *ns)
{
	struct xmpp_node *n = td_arena_zalloc(a, sizeof(*n));

	n->name = td_arena_strndup(a, name, strlen(name));
	n->ns = ns != NULL ? td_arena_strndup(a, ns, strlen(ns)) : NULL;
	return n;
}

void
xmpp_node_append(struct xmpp_node *parent, struct xmpp_node *child)
{
	child->parent = parent;
	child->next = NULL;
	if (parent->last != NULL)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
}

struct xmpp_node *
xmpp_node_add(struct td_arena *a, struct xmpp_node *parent, const char *name, const char *ns)
{
	struct xmpp_node *n = xmpp_node_new(a, name, ns);

	if (ns == NULL)
		n->ns = parent->ns;
	xmpp_node_append(parent, n);
	return n;
}

void
xmpp_node_add_text(struct td_arena *a, struct xmpp_node *parent, struct td_str text)
{
	struct xmpp_node *n = td_arena_zalloc(a, sizeof(*n));

	n->text = td_arena_str(a, text);
	xmpp_node_append(parent, n);
}

void
xmpp_node_unlink(struct xmpp_node *n)
{
	struct xmpp_node *p = n->parent, *prev = NULL;

	if (p == NULL)
		return;
	for (struct xmpp_node *c = p->first; c != n; c = c->next)
		prev = c;
	if (prev != NULL)
		prev->next = n->next;
	else
		p->first = n->next;
	if (p->last == n)
		p->last = prev;
	n->parent = n->next = NULL;
}

static struct xmpp_attr **
attr_slot(struct xmpp_node *n, const char *name, const char *ns)
{
	struct xmpp_attr **at = &n->attrs;

	for (; *at != NULL; at = &(*at)->next)
		if (strcmp((*at)->name, name) == 0 &&
		    (ns == NULL ? (*at)->ns == NULL
				: (*at)->ns != NULL && strcmp((*at)->ns, ns) == 0))
			break;
	return at;
}

static void
set(struct td_arena *a, struct xmpp_node *n, const char *name, const char *ns, struct td_str value)
{
	struct xmpp_attr **at = attr_slot(n, name, ns);

	if (value.p == NULL) {
		if (*at != NULL)
			*at = (*at)->next;
		return;
	}
	if (*at == NULL) {
		*at = td_arena_zalloc(a, sizeof(**at));
		(*at)->name = td_arena_strndup(a, name, strlen(name));
		(*at)->ns = ns;
	}
	(*at)->value = td_arena_str(a, value);
}

void
xmpp_node_set(struct td_arena *a, struct xmpp_node *n, const char *name, struct td_str value)
{
	set(a, n, name, NULL, value);
}

void
xmpp_node_set_lang(struct td_arena *a, struct xmpp_node *n, struct td_str value)
{
	set(a, n, "lang", NS_XML, value);
}

bool
xmpp_bool(struct td_str v, bool *out)
{
	bool yes = xmpp_is_true(v);

	if (!yes && !td_str_eqc(v, "0") && !td_str_eqc(v, "false"))
		return false;
	*out = yes;
	return true;
}

bool
xmpp_is_true(struct td_str v)
{
	return td_str_eqc(v, "1") || td_str_eqc(v, "true");
}

struct td_str
xmpp_node_attr(const struct xmpp_node *n, const char *name)
{
	for (const struct xmpp_attr *at = n->attrs; at != NULL; at = at->next)
		if (at->ns == NULL && strcmp(at->name, name) == 0)
			return at->value;
	return TD_STR_NULL;
}

struct td_str
xmpp_node_lang(const struct xmpp_node *n)
{
	for (const struct xmpp_attr *at = n->attrs; at != NULL; at = at->next)
		if (at->ns != NULL && strcmp(at->ns, NS_XML) == 0 && strcmp(at->name, "lang") == 0)
			return at->value;
	return TD_STR_NULL;
}

bool
xmpp_node_is(const struct xmpp_node *n, const char *ns, const char *name)
{
	return n->name != NULL && strcmp(n->name, name) == 0 &&
	       (n->ns == ns || (ns != NULL && n->ns != NULL && strcmp(n->ns, ns) == 0));
}

static bool
matches(const struct xmpp_node *n, const char *ns, const char *name)
{
	return n->name != NULL && (name == NULL || strcmp(n->name, name) == 0) &&
	       (ns == NULL || (n->ns != NULL && strcmp(n->ns, ns) == 0));
}

struct xmpp_node *
xmpp_node_child(const struct xmpp_node *n, const char *ns, const char *name)
{
	for (struct xmpp_node *c = n->first; c != NULL; c = c->next)
		if (matches(c, ns, name))
			return c;
	return NULL;
}

struct xmpp_node *
xmpp_node_next_elem(const struct xmpp_node *n)
{
	for (struct xmpp_node *c = n->next; c != NULL; c = c->next)
		if (c->name != NULL)
			return c;
	return NULL;
}

struct td_str
xmpp_node_text(struct td_arena *a, const struct xmpp_node *n)
{
	const struct xmpp_node *one = NULL;
	struct td_buf b = { 0 };
	struct td_str out;

	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next) {
		if (c->name != NULL)
			continue;
		if (one == NULL) {
			one = c;
			continue;
		}
		if (b.len == 0)
			td_buf_adds(&b, one->text);
		td_buf_adds(&b, c->text);
	}
	if (b.len == 0)
		return one != NULL ? one->text : TD_STR("");
	out = td_arena_str(a, td_buf_str(&b));
	td_buf_fini(&b);
	return out;
}

struct xmpp_node *
xmpp_node_copy(struct td_arena *a, const struct xmpp_node *n)
{
	struct xmpp_node *m = td_arena_zalloc(a, sizeof(*m));
	struct xmpp_attr **tail = &m->attrs;

	m->text = td_arena_str(a, n->text);
	if (n->name != NULL)
		m->name = td_arena_strndup(a, n->name, strlen(n->name));
	if (n->ns != NULL)
		m->ns = td_arena_strndup(a, n->ns, strlen(n->ns));
	for (const struct xmpp_attr *at = n->attrs; at != NULL; at = at->next) {
		struct xmpp_attr *t = td_arena_zalloc(a, sizeof(*t));

		t->name = td_arena_strndup(a, at->name, strlen(at->name));
		t->ns = at->ns != NULL ? td_arena_strndup(a, at->ns, strlen(at->ns)) : NULL;
		t->value = td_arena_str(a, at->value);
		*tail = t;
		tail = &t->next;
	}
	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next)
		xmpp_node_append(m, xmpp_node_copy(a, c));
	return m;
}

void
xmpp_node_write_attrs(struct td_buf *out, const struct xmpp_attr *at,
		      bool (*wanted)(const struct xmpp_attr *))
{
	unsigned foreign = 0;

	for (; at != NULL; at = at->next) {
		if (wanted != NULL && !wanted(at))
			continue;
		td_buf_addc(out, ' ');
		if (at->ns != NULL && strcmp(at->ns, NS_XML) == 0) {
			td_buf_addz(out, "xml:");
		} else if (at->ns != NULL) {
			td_buf_addf(out, "xmlns:a%u='", foreign);
			td_buf_add_xml(out, td_cstr(at->ns));
			td_buf_addf(out, "' a%u:", foreign++);
		}
		td_buf_addz(out, at->name);
		td_buf_add(out, "='", 2);
		td_buf_add_xml(out, at->value);
		td_buf_addc(out, '\'');
	}
}

void
xmpp_node_write_children(struct td_buf *out, const struct xmpp_node *n, const char *inherited_ns)
{
	for (const struct xmpp_node *c = n->first; c != NULL; c = c->next)
		xmpp_node_write(out, c, inherited_ns);
}

void
xmpp_node_write(struct td_buf *out, const struct xmpp_node *n, const char *inherited_ns)
{
	if (n->name == NULL) {
		td_buf_add_xml(out, n->text);
		return;
	}
	td_buf_addc(out, '<');
	td_buf_addz(out, n->name);
	if (n->ns != inherited_ns &&
	    (n->ns == NULL || inherited_ns == NULL || strcmp(n->ns, inherited_ns) != 0)) {
		td_buf_addz(out, " xmlns='");
		if (n->ns != NULL)
			td_buf_add_xml(out, td_cstr(n->ns));
		td_buf_addc(out, '\'');
	}
	xmpp_node_write_attrs(out, n->attrs, NULL);
	if (n->first == NULL) {
		td_buf_add(out, "/>", 2);
		return;
	}
	td_buf_addc(out, '>');
	xmpp_node_write_children(out, n, n->ns);
	td_buf_add(out, "</", 2);
	td_buf_addz(out, n->name);
	td_buf_addc(out, '>');
}
