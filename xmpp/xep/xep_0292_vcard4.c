/* xep-0292 - vCard4 and vcard-temp are one: who reads the old one gets what the node urn:xmpp:vcard4 says, if it may read
 * that; a vcard-temp that is set is published there, too.
 *
 * Nothing is copied out of the node: a vcard-temp is made from it for each who asks (xep_0054_vcard.c), because the node
 * has an access model and the old vCard has none.  What only one of the forms knows stays where it is. */
#include "xmpp/xep/xep_0292_vcard4.h"

#include <stdlib.h>

#include "gateway/base/err.h"
#include "xmpp/modules.h"
#include "xmpp/xep/pubsub.h"

/* A property with one value: <fn><text/></fn> is <FN/>. */
static const struct simple {
	const char *v4, *kind, *temp;
} simples[] = {
	{ "fn", "text", "FN" },        { "nickname", "text", "NICKNAME" },
	{ "bday", "date", "BDAY" },    { "title", "text", "TITLE" },
	{ "role", "text", "ROLE" },    { "url", "uri", "URL" },
	{ "note", "text", "DESC" },    { "tz", "text", "TZ" },
	{ "rev", "timestamp", "REV" },
};
#define N_SIMPLES (sizeof(simples) / sizeof(simples[0]))

struct pair {
	const char *v4, *temp;
};
static const struct pair name_parts[] = { { "surname", "FAMILY" },    { "given", "GIVEN" },
					  { "additional", "MIDDLE" }, { "prefix", "PREFIX" },
					  { "suffix", "SUFFIX" },     { NULL, NULL } };
static const struct pair address_parts[] = { { "pobox", "POBOX" },   { "ext", "EXTADD" },
					     { "street", "STREET" }, { "locality", "LOCALITY" },
					     { "region", "REGION" }, { "code", "PCODE" },
					     { "country", "CTRY" },  { NULL, NULL } };
static const struct pair types[] = { { "home", "HOME" },   { "work", "WORK" }, { "voice", "VOICE" },
				     { "fax", "FAX" },     { "cell", "CELL" }, { "pager", "PAGER" },
				     { "video", "VIDEO" }, { "text", "MSG" },  { NULL, NULL } };

/* Properties of the old form that are made from the new one; NOTE is another DESC. */
static const char *const covered[] = { "N",   "ADR", "TEL",  "EMAIL", "JABBERID",
				       "GEO", "ORG", "NOTE", NULL };
static const char *const covered4[] = { "n", "adr", "tel", "email", "impp", "geo", "org", NULL };

/* ---- from vCard4 ---- */

static struct td_str
value4(struct td_arena *a, const struct xmpp_node *prop, const char *kind)
{
	const struct xmpp_node *n = xmpp_node_child(prop, NS_VCARD4, kind);

	/* <bday/> may have <date-time/> or <text/>, <tel/> a <text/> */
	if (n == NULL)
		for (n = xmpp_node_child(prop, NULL, NULL);
		     n != NULL && strcmp(n->name, "parameters") == 0;)
			n = xmpp_node_next_elem(n);
	return n != NULL ? td_str_trim(xmpp_node_text(a, n)) : TD_STR("");
}

static void
put(struct td_arena *a, struct xmpp_node *parent, const char *name, struct td_str text)
{
	if (text.len > 0)
		xmpp_node_add_text(a, xmpp_node_add(a, parent, name, NULL), text);
}

static void
put_types(struct td_arena *a, struct xmpp_node *out, const struct xmpp_node *prop)
{
	const struct xmpp_node *p = xmpp_node_child(prop, NS_VCARD4, "parameters");
	const struct xmpp_node *type = p != NULL ? xmpp_node_child(p, NS_VCARD4, "type") : NULL;

	for (const struct xmpp_node *t = type != NULL ? xmpp_node_child(type, NULL, NULL) : NULL;
	     t != NULL; t = xmpp_node_next_elem(t))
		for (const struct pair *k = types; k->v4 != NULL; k++)
			if (td_str_ieq(td_str_trim(xmpp_node_text(a, t)), td_cstr(k->v4)))
				(void)xmpp_node_add(a, out, k->temp, NULL);
	if (p != NULL && xmpp_node_child(p, NS_VCARD4, "pref") != NULL)
		(void)xmpp_node_add(a, out, "PREF", NULL);
}

static void
put_parts(struct td_arena *a, struct xmpp_node *out, const struct xmpp_node *prop,
	  const struct pair *parts)
{
	for (; parts->v4 != NULL; parts++) {
		const struct xmpp_node *n = xmpp_node_child(prop, NS_VCARD4, parts->v4);

		if (n != NULL)
			put(a, out, parts->temp, td_str_trim(xmpp_node_text(a, n)));
	}
}

/* Without <prefix>, if it begins so. */
static struct td_str
after(struct td_str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return td_str_starts(s, prefix) ? td_str(s.p + n, s.len - n) : s;
}

static void
put_geo(struct td_arena *a, struct xmpp_node *card, struct td_str uri)
{
	struct td_str v = after(uri, "geo:");
	ptrdiff_t comma = td_str_chr(v, ','), end;
	struct xmpp_node *geo;
	struct td_str lon;

	if (comma <= 0)
		return;
	lon = td_str(v.p + comma + 1, v.len - (size_t)comma - 1);
	if ((end = td_str_chr(lon, ';')) >= 0)
		lon.len = (size_t)end;
	if ((end = td_str_chr(lon, ',')) >= 0)
		lon.len = (size_t)end;
	geo = xmpp_node_add(a, card, "GEO", NULL);
	put(a, geo, "LAT", td_str(v.p, (size_t)comma));
	put(a, geo, "LON", lon);
}

static void
put_org(struct td_arena *a, struct xmpp_node *card, const struct xmpp_node *prop)
{
	struct xmpp_node *org = xmpp_node_add(a, card, "ORG", NULL);
	const char *name = "ORGNAME";

	for (const struct xmpp_node *t = xmpp_node_child(prop, NS_VCARD4, "text"); t != NULL;
	     t = xmpp_node_next_elem(t)) {
		put(a, org, name, td_str_trim(xmpp_node_text(a, t)));
		name = "ORGUNIT";
	}
}

static void
put_property(struct td_arena *a, struct xmpp_node *card, const struct xmpp_node *p)
{
	struct xmpp_node *n;
	struct td_str v;

	for (size_t i = 0; i < N_SIMPLES; i++)
		if (strcmp(p->name, simples[i].v4) == 0) {
			put(a, card, simples[i].temp, value4(a, p, simples[i].kind));
			return;
		}
	if (strcmp(p->name, "n") == 0) {
		put_parts(a, xmpp_node_add(a, card, "N", NULL), p, name_parts);
	} else if (strcmp(p->name, "adr") == 0) {
		n = xmpp_node_add(a, card, "ADR", NULL);
		put_types(a, n, p);
		put_parts(a, n, p, address_parts);
	} else if (strcmp(p->name, "tel") == 0) {
		n = xmpp_node_add(a, card, "TEL", NULL);
		put_types(a, n, p);
		put(a, n, "NUMBER", after(value4(a, p, "uri"), "tel:"));
	} else if (strcmp(p->name, "email") == 0) {
		n = xmpp_node_add(a, card, "EMAIL", NULL);
		put_types(a, n, p);
		(void)xmpp_node_add(a, n, "INTERNET", NULL);
		put(a, n, "USERID", value4(a, p, "text"));
	} else if (strcmp(p->name, "impp") == 0) {
		v = value4(a, p, "uri");
		if (td_str_starts(v, "xmpp:"))
			put(a, card, "JABBERID", after(v, "xmpp:"));
	} else if (strcmp(p->name, "geo") == 0) {
		put_geo(a, card, value4(a, p, "uri"));
	} else if (strcmp(p->name, "org") == 0) {
		put_org(a, card, p);
	}
}

static bool
listed(const char *const *list, const char *name)
{
	while (*list != NULL && strcmp(*list, name) != 0)
		list++;
	return *list != NULL;
}

static bool
is_covered(const char *temp)
{
	for (size_t i = 0; i < N_SIMPLES; i++)
		if (strcmp(simples[i].temp, temp) == 0)
			return true;
	return listed(covered, temp);
}

static bool
is_covered4(const char *v4)
{
	for (size_t i = 0; i < N_SIMPLES; i++)
		if (strcmp(simples[i].v4, v4) == 0)
			return true;
	return listed(covered4, v4);
}

struct xmpp_node *
xmpp_vcard4_view(struct td_arena *a, const struct xmpp_node *v4, const struct xmpp_node *stored)
{
	struct xmpp_node *card = xmpp_node_new(a, "vCard", NS_VCARD);

	for (const struct xmpp_node *p = xmpp_node_child(v4, NULL, NULL); p != NULL;
	     p = xmpp_node_next_elem(p))
		if (p->ns != NULL && strcmp(p->ns, NS_VCARD4) == 0)
			put_property(a, card, p);
	for (const struct xmpp_node *p = stored != NULL ? xmpp_node_child(stored, NULL, NULL)
							: NULL;
	     p != NULL; p = xmpp_node_next_elem(p))
		if (!is_covered(p->name))
			xmpp_node_append(card, xmpp_node_copy(a, p));
	return card;
}

/* ---- to vCard4 ---- */

static void
put4(struct td_arena *a, struct xmpp_node *parent, const char *kind, const char *prefix,
     struct td_str text)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, prefix);
	td_buf_adds(&b, text);
	xmpp_node_add_text(a, xmpp_node_add(a, parent, kind, NULL),
			   td_arena_str(a, td_buf_str(&b)));
	td_buf_fini(&b);
}

static void
put_types4(struct td_arena *a, struct xmpp_node *out, const struct xmpp_node *prop)
{
	struct xmpp_node *p = NULL, *type = NULL;

	for (const struct pair *k = types; k->v4 != NULL; k++) {
		if (xmpp_node_child(prop, NS_VCARD, k->temp) == NULL)
			continue;
		if (type == NULL) {
			p = xmpp_node_add(a, out, "parameters", NULL);
			type = xmpp_node_add(a, p, "type", NULL);
		}
		put4(a, type, "text", "", td_cstr(k->v4));
	}
	if (xmpp_node_child(prop, NS_VCARD, "PREF") != NULL) {
		if (p == NULL)
			p = xmpp_node_add(a, out, "parameters", NULL);
		put4(a, xmpp_node_add(a, p, "pref", NULL), "integer", "", TD_STR("1"));
	}
}

static struct td_str
child(struct td_arena *a, const struct xmpp_node *n, const char *name)
{
	const struct xmpp_node *c = xmpp_node_child(n, NS_VCARD, name);

	return c != NULL ? td_str_trim(xmpp_node_text(a, c)) : TD_STR("");
}

static void
put_parts4(struct td_arena *a, struct xmpp_node *out, const struct xmpp_node *prop,
	   const struct pair *parts)
{
	for (; parts->v4 != NULL; parts++) {
		struct td_str v = child(a, prop, parts->temp);

		if (v.len > 0)
			put4(a, out, parts->v4, "", v);
	}
}

/* One property with a value in a child: TEL, EMAIL. */
static void
put_contact4(struct td_arena *a, struct xmpp_node *v4, const struct xmpp_node *p, const char *name,
	     const char *kind, const char *prefix, struct td_str value)
{
	struct xmpp_node *n;

	if (value.len == 0)
		return;
	n = xmpp_node_add(a, v4, name, NULL);
	put_types4(a, n, p);
	put4(a, n, kind, prefix, value);
}

static void
put_property4(struct td_arena *a, struct xmpp_node *v4, const struct xmpp_node *p)
{
	struct td_str v = td_str_trim(xmpp_node_text(a, p));
	const char *name = strcmp(p->name, "NOTE") == 0 ? "DESC" : p->name;
	struct xmpp_node *n;

	for (size_t i = 0; i < N_SIMPLES; i++)
		if (strcmp(name, simples[i].temp) == 0) {
			if (v.len > 0)
				put4(a, xmpp_node_add(a, v4, simples[i].v4, NULL), simples[i].kind,
				     "", v);
			return;
		}
	if (strcmp(name, "N") == 0) {
		put_parts4(a, xmpp_node_add(a, v4, "n", NULL), p, name_parts);
	} else if (strcmp(name, "ADR") == 0) {
		n = xmpp_node_add(a, v4, "adr", NULL);
		put_types4(a, n, p);
		put_parts4(a, n, p, address_parts);
	} else if (strcmp(name, "TEL") == 0) {
		put_contact4(a, v4, p, "tel", "uri", "tel:", child(a, p, "NUMBER"));
	} else if (strcmp(name, "EMAIL") == 0) {
		put_contact4(a, v4, p, "email", "text", "", child(a, p, "USERID"));
	} else if (strcmp(name, "JABBERID") == 0 && v.len > 0) {
		put4(a, xmpp_node_add(a, v4, "impp", NULL), "uri", "xmpp:", v);
	} else if (strcmp(name, "GEO") == 0 && child(a, p, "LAT").len > 0) {
		struct td_buf b = { 0 };

		td_buf_adds(&b, child(a, p, "LAT"));
		td_buf_addc(&b, ',');
		td_buf_adds(&b, child(a, p, "LON"));
		put4(a, xmpp_node_add(a, v4, "geo", NULL), "uri", "geo:", td_buf_str(&b));
		td_buf_fini(&b);
	} else if (strcmp(name, "ORG") == 0) {
		n = xmpp_node_add(a, v4, "org", NULL);
		for (const struct xmpp_node *c = xmpp_node_child(p, NULL, NULL); c != NULL;
		     c = xmpp_node_next_elem(c))
			put4(a, n, "text", "", td_str_trim(xmpp_node_text(a, c)));
	}
}

/* <card> in the new form, with what only <old> (NULL: none) can say. */
static struct xmpp_node *
to_vcard4(struct td_arena *a, const struct xmpp_node *card, const struct xmpp_node *old)
{
	struct xmpp_node *v4 = xmpp_node_new(a, "vcard", NS_VCARD4);

	for (const struct xmpp_node *p = xmpp_node_child(card, NULL, NULL); p != NULL;
	     p = xmpp_node_next_elem(p))
		if (p->ns != NULL && strcmp(p->ns, NS_VCARD) == 0)
			put_property4(a, v4, p);
	for (const struct xmpp_node *p = old != NULL ? xmpp_node_child(old, NULL, NULL) : NULL;
	     p != NULL; p = xmpp_node_next_elem(p))
		if (!is_covered4(p->name))
			xmpp_node_append(v4, xmpp_node_copy(a, p));
	return v4;
}

/* ---- publishing ---- */

struct publish {
	struct ps_call call;
	struct td_buf card;
	void (*done)(void *arg);
	void *arg;
};

static void
publish_end(struct publish *p)
{
	p->done(p->arg);
	td_buf_fini(&p->card);
	free(p);
}

static void
publish(struct ps_host *h, const struct publish *p, const struct store_ps_item *item)
{
	struct td_arena *a = td_arena_new(4096);
	struct xmpp_node *card = xmpp_xml_parse(a, td_buf_str(&p->card), NULL, NULL), *v4, *old;
	struct ps_own_item own = { .id = item != NULL ? item->id : TD_STR("current") };
	struct td_buf b = { 0 }, was = { 0 };
	struct ps_change *c;

	old = item != NULL ? xmpp_xml_parse(a, item->payload, NULL, NULL) : NULL;
	v4 = card != NULL ? to_vcard4(a, card, old) : NULL;
	if (v4 != NULL)
		xmpp_node_write(&b, v4, "");
	if (old != NULL)
		xmpp_node_write(&was, old, "");
	/* nothing to say, or nothing new: a new photo is none */
	if (v4 != NULL && (old != NULL || v4->first != NULL) &&
	    !td_str_eq(td_buf_str(&b), td_buf_str(&was))) {
		c = ps_change_new(h, NULL);
		own.payload = td_buf_str(&b);
		ps_change_publish(c, ps_change_node(c, TD_STR(NODE_VCARD4)), &own, 1, h->jid);
		ps_change_commit(c);
	}
	td_buf_fini(&was);
	td_buf_fini(&b);
	td_arena_free(a);
}

static void
on_last(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct publish *p = arg;

	if (p->call.host != NULL && r->rc == 0)
		publish(p->call.host, p, got->n > 0 ? &got->items[0] : NULL);
	ps_call_end(&p->call);
	publish_end(p);
}

static void
with_host(struct ps_host *h, void *arg)
{
	struct publish *p = arg;
	struct td_str node = TD_STR(NODE_VCARD4);
	uint64_t since = 0;

	if (h == NULL || !h->loaded) {
		publish_end(p);
		return;
	}
	ps_call_begin(&p->call, h);
	store_ps_last(h->env->store, h->jid, &node, &since, 1, h->env->loop, on_last, p);
}

void
xmpp_vcard4_from_vcard(struct xmpp_user *u, struct td_str card, void (*done)(void *arg), void *arg)
{
	struct publish *p = td_zalloc(sizeof(*p));

	p->done = done;
	p->arg = arg;
	td_buf_adds(&p->card, card);
	ps_host_with(ps_host_pep(u), with_host, p);
}

const struct xmpp_module xep_0292_vcard4 = {
	.name = "xep-0292-vcard4",
	.xep = "0292",
	.doc = "vCard4 in PEP and vcard-temp kept in step",
	.version = "0.12.0",
};
