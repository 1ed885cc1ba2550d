/* domain - what a name is to us: the multi-protocol table of domains (momentum.md 3.1, 3.2).
 *
 * Exact names are looked up once, when the snapshot is made, and kept in a hash; a name that has
 * no stanza of its own is put to the regex domains, whose answers conf remembers (a bounded
 * memory per thread).  Immutable once built. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/map.h"
#include "gateway/gateway.h"

struct gw_domains {
	atomic_int refs;
	struct conf *conf;
	struct td_arena *arena;
	struct td_map by_name; /* -> struct gw_domain in the arena */
	struct td_str *hosted, *services;
	size_t n_hosted, n_services;
	bool has_regex, has_wide;      /* wide: a component with its subdomains */
	const struct conf_scope *mail; /* NULL without mail {} */
	struct td_map mail_names;      /* its domains, prepared; empty = all with a plain stanza */
};

/* "#xmpp#name" and "name" are ours to look at; other protocols are not. */
static bool
display_name(struct td_str raw, struct td_str *name, bool *plain)
{
	*plain = raw.len > 0 && raw.p[0] != '#';
	*name = raw;
	if (*plain)
		return true;
	if (!td_str_starts(raw, "#xmpp#"))
		return false;
	*name = td_str(raw.p + 6, raw.len - 6);
	return name->len > 0 && td_str_chr(*name, '#') < 0;
}

static struct conf_at
at_domain(struct td_str name)
{
	return (struct conf_at){ .protocol = "xmpp", .domain = name };
}

/* <plain>: a stanza "name" exists; the role is then no business of a regex domain, or open
 * federation would make every mail domain a remote server. */
static enum xmpp_domain_kind
kind_of(const struct conf *c, struct td_str name, bool plain)
{
	struct conf_at at = at_domain(name);
	const struct conf_scope *from = conf_origin(c, &at, "xmpp_role");

	if (conf_str(c, &at, "service").len > 0)
		return XD_SERVICE;
	if (from == NULL || (plain && conf_scope_is_regex(from)))
		return plain ? XD_MAIL : XD_UNKNOWN;
	if (conf_list_has(c, &at, "xmpp_role", "server"))
		return XD_LOCAL;
	return conf_list_has(c, &at, "xmpp_role", "client") ? XD_REMOTE : XD_UNKNOWN;
}

static void
fill(const struct gw_domains *d, struct td_str name, bool plain, struct gw_domain *out)
{
	struct conf_at at = at_domain(name);
	struct td_str service = conf_str(d->conf, &at, "service");

	out->name = name;
	out->component = NULL;
	out->kind = kind_of(d->conf, name, plain);
	out->mail = d->mail != NULL && plain && (out->kind == XD_MAIL || out->kind == XD_LOCAL) &&
		    (d->mail_names.len == 0 || td_map_find(&d->mail_names, name) != NULL);
	out->service[0] = '\0';
	for (size_t i = 0; i < service.len && i < sizeof(out->service) - 1; i++) {
		out->service[i] =
			(char)(service.p[i] >= 'A' && service.p[i] <= 'Z' ? service.p[i] + 32
									  : service.p[i]);
		out->service[i + 1] = '\0';
	}
}

/* The prepared name in the arena; TD_STR_NULL when it is no domain. */
static struct td_str
prepared(struct gw_domains *d, struct td_str name)
{
	struct xmpp_jid j;

	if (xmpp_jid_make(d->arena, TD_STR_NULL, name, TD_STR_NULL, &j, NULL) < 0)
		return TD_STR_NULL;
	return j.domain;
}

static struct gw_domain *
add(struct gw_domains *d, struct td_str name, bool plain)
{
	struct gw_domain *dom = td_map_find(&d->by_name, name);

	/* "#xmpp#name" and "name" are one row; that there is a plain one counts */
	if (dom == NULL) {
		dom = td_arena_zalloc(d->arena, sizeof(*dom));
		fill(d, name, plain, dom);
		(void)td_map_set(&d->by_name, name, dom);
	} else if (plain) {
		fill(d, name, true, dom);
	}
	return dom;
}

/* Names that the mail stanza brings in without a stanza of their own. */
static void
add_from_mail(struct gw_domains *d)
{
	struct conf_at at = { .scope = d->mail };
	struct td_str gateway = conf_str(d->conf, &at, "gateway_domain"), name;
	size_t n;
	const struct td_str *list = conf_list(d->conf, &at, "domains", &n);

	for (size_t i = 0; i < n; i++) {
		name = prepared(d, list[i]);
		if (name.p != NULL && td_map_find(&d->by_name, name) == NULL)
			(void)add(d, name, true);
	}
	name = gateway.len > 0 ? prepared(d, gateway) : TD_STR_NULL;
	if (name.p != NULL && td_map_find(&d->by_name, name) == NULL) {
		struct gw_domain *dom = add(d, name, false);

		dom->kind = XD_SERVICE;
		(void)stpcpy(dom->service, "gateway");
	}
}

/* The file a secret is in; TD_STR_NULL when it cannot be read or is empty. */
static struct td_str
read_secret(struct gw_domains *d, struct td_str path)
{
	struct td_buf name = { 0 };
	struct td_str secret = TD_STR_NULL;
	char buf[512];
	FILE *f;

	if (path.p[0] != '/')
		td_buf_addf(&name, "%.*s/", TD_STR_ARG(conf_str(d->conf, NULL, "data_dir")));
	td_buf_adds(&name, path);
	f = fopen(td_buf_cstr(&name), "re");
	if (f != NULL) {
		secret = td_str_trim(td_str(buf, fread(buf, 1, sizeof(buf), f)));
		secret = secret.len > 0 ? td_arena_str(d->arena, secret) : TD_STR_NULL;
		td_wipe(buf, sizeof(buf));
		fclose(f);
	}
	td_buf_fini(&name);
	return secret;
}

static void
add_component(struct gw_domains *d, const struct conf_scope *s)
{
	struct conf_at at = { .scope = s };
	struct td_str file = conf_str(d->conf, &at, "secret_file"),
		      name = prepared(d, conf_scope_name(s));
	struct gw_component *k;
	struct gw_domain *dom;

	if (name.p == NULL)
		return;
	dom = td_map_find(&d->by_name, name);
	if (dom == NULL)
		dom = add(d, name, false);
	k = td_arena_zalloc(d->arena, sizeof(*k));
	k->name = name;
	k->secret = file.len > 0 ? read_secret(d, file) : conf_str(d->conf, &at, "secret");
	k->subdomains = conf_bool(d->conf, &at, "subdomains");
	k->scope = s;
	dom->kind = XD_SERVICE;
	dom->mail = false;
	dom->component = k;
	(void)stpcpy(dom->service, "component");
	d->has_wide |= k->subdomains;
	d->services = td_realloc(d->services, (d->n_services + 1) * sizeof(*d->services));
	d->services[d->n_services++] = name;
}

static void
take_mail_names(struct gw_domains *d)
{
	struct conf_at at = { .scope = d->mail };
	size_t n;
	const struct td_str *list = conf_list(d->conf, &at, "domains", &n);

	for (size_t i = 0; i < n; i++) {
		struct td_str name = prepared(d, list[i]);

		(void)td_map_set(&d->mail_names, name.p != NULL ? name : list[i], d);
	}
}

struct gw_domains *
gw_domains_build(struct conf *c)
{
	struct gw_domains *d = td_zalloc(sizeof(*d));
	const struct conf_scope *s = NULL;
	struct td_str *order = NULL;
	size_t n = 0;

	atomic_init(&d->refs, 1);
	d->conf = conf_ref(c);
	d->arena = td_arena_new(0);
	d->mail = conf_next(c, NULL, "mail", NULL);
	if (d->mail != NULL && !conf_bool(c, &(struct conf_at){ .scope = d->mail }, "enabled"))
		d->mail = NULL;
	if (d->mail != NULL)
		take_mail_names(d);
	while ((s = conf_next(c, NULL, "domain", s)) != NULL) {
		struct td_str name, asked;
		bool plain;

		if (conf_scope_is_regex(s)) {
			d->has_regex = true;
			continue;
		}
		if (!display_name(conf_scope_name(s), &asked, &plain) ||
		    (name = prepared(d, asked)).p == NULL)
			continue;
		if (td_map_find(&d->by_name, name) == NULL) {
			order = td_realloc(order, (n + 1) * sizeof(*order));
			order[n++] = name;
		}
		(void)add(d, name, plain);
	}
	if (d->mail != NULL)
		add_from_mail(d);
	d->services = td_zalloc((n + 1) * sizeof(*d->services));
	for (size_t i = 0; i < n; i++) { /* in file order, those hosted only */
		const struct gw_domain *dom = td_map_find(&d->by_name, order[i]);

		if (dom->kind == XD_SERVICE)
			d->services[d->n_services++] = dom->name;
		if (dom->kind == XD_LOCAL)
			order[d->n_hosted++] = dom->name;
	}
	while ((s = conf_next(c, NULL, "component", s)) != NULL)
		add_component(d, s);
	d->hosted = order;
	return d;
}

struct gw_domains *
gw_domains_ref(struct gw_domains *d)
{
	atomic_fetch_add(&d->refs, 1);
	return d;
}

void
gw_domains_unref(struct gw_domains **dp)
{
	struct gw_domains *d = *dp;

	*dp = NULL;
	if (d == NULL || atomic_fetch_sub(&d->refs, 1) != 1)
		return;
	td_map_fini(&d->by_name);
	td_map_fini(&d->mail_names);
	free(d->hosted);
	free(d->services);
	td_arena_free(d->arena);
	conf_unref(&d->conf);
	free(d);
}

/* The component that takes the domains below its own, <name> among them. */
static const struct gw_domain *
wide_above(const struct gw_domains *d, struct td_str name)
{
	ptrdiff_t dot;

	while ((dot = td_str_chr(name, '.')) >= 0) {
		const struct gw_domain *dom;

		name = td_str(name.p + dot + 1, name.len - (size_t)dot - 1);
		dom = td_map_find(&d->by_name, name);
		if (dom != NULL)
			return dom->component != NULL && dom->component->subdomains ? dom : NULL;
	}
	return NULL;
}

bool
gw_domains_find(const struct gw_domains *d, struct td_str name, struct gw_domain *out)
{
	const struct gw_domain *dom = td_map_find(&d->by_name, name);

	if (dom != NULL) {
		*out = *dom;
		return out->kind != XD_UNKNOWN;
	}
	if (d->has_wide && (dom = wide_above(d, name)) != NULL) {
		*out = *dom;
		return true;
	}
	if (!d->has_regex || name.len == 0 || name.p[0] == '#')
		return false;
	fill(d, name, false, out);
	return out->kind != XD_UNKNOWN;
}

struct td_str
gw_domains_hosted(const struct gw_domains *d, size_t i)
{
	return i < d->n_hosted ? d->hosted[i] : TD_STR_NULL;
}

bool
gw_domains_service(const struct gw_domains *d, size_t i, struct gw_domain *out)
{
	return i < d->n_services && gw_domains_find(d, d->services[i], out);
}
