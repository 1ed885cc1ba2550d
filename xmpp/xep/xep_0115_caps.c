/* xep-0115 - entity capabilities: a presence names the hash of what its client can do; who has seen that hash needs not ask.
 *
 * What a client answers is believed for everybody only when it has the hash it claims (section 5.4), else for that
 * client alone.  Entries are found by (algorithm, hash), never by the client's name.  Only the nodes whose events it asks
 * for ("+notify") are kept. */
#include "xmpp/xep/xep_0115_caps.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/c2s.h"
#include "xmpp/form.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/script.h"
#include "xmpp/xep/xep_0030_disco.h"
#include "xmpp/xep/xep_0163_pep.h"

#define CACHE_MAX 2000u
#define NODES_MAX 200u /* +notify features of one client */
#define FACTORS_MAX 2000u
#define ASK_MS 30000u
#define OWN_NODE "https://tandem.invalid/caps"
#define NOTIFY "+notify"

struct xmpp_caps {
	unsigned refs;
	TAILQ_ENTRY(xmpp_caps) link;
	struct td_str key; /* algorithm, a blank, hash; .p NULL = in no cache */
	size_t n;
	struct td_str nodes[]; /* and their text */
};

struct own {
	STAILQ_ENTRY(own) link;
	struct td_str domain; /* malloc'd */
	uint64_t generation;
	struct td_str ver; /* malloc'd */
};

struct caps_env {
	struct td_map cache;
	TAILQ_HEAD(, xmpp_caps) order; /* oldest first */
	STAILQ_HEAD(, own) own;
};

/* ---- entries ---- */

struct xmpp_caps *
xmpp_caps_ref(struct xmpp_caps *c)
{
	if (c != NULL)
		c->refs++;
	return c;
}

void
xmpp_caps_unref(struct xmpp_caps **cp)
{
	struct xmpp_caps *c = *cp;

	*cp = NULL;
	if (c == NULL || --c->refs > 0)
		return;
	free((void *)(uintptr_t)c->key.p);
	free(c);
}

struct xmpp_caps *
xmpp_caps_new(const struct td_str *nodes, size_t n)
{
	size_t bytes = 0;
	struct xmpp_caps *c;
	char *p;

	for (size_t i = 0; i < n; i++)
		bytes += nodes[i].len;
	c = td_zalloc(sizeof(*c) + n * sizeof(c->nodes[0]) + bytes);
	p = (char *)&c->nodes[n];
	c->refs = 1;
	c->n = n;
	for (size_t i = 0; i < n; i++) {
		memcpy(p, nodes[i].p, nodes[i].len);
		c->nodes[i] = td_str(p, nodes[i].len);
		p += nodes[i].len;
	}
	return c;
}

struct xmpp_caps *
xmpp_caps_of(const struct xmpp_session *sess)
{
	return sess->module_data[XMPP_SESSION_SLOT_CAPS];
}

bool
xmpp_caps_notifies(const struct xmpp_caps *c, struct td_str node)
{
	for (size_t i = 0; c != NULL && i < c->n; i++)
		if (td_str_eq(c->nodes[i], node))
			return true;
	return false;
}

size_t
xmpp_caps_nodes(const struct xmpp_caps *c, const struct td_str **out)
{
	*out = c != NULL ? c->nodes : NULL;
	return c != NULL ? c->n : 0;
}

/* From the answer: its +notify features. */
static struct xmpp_caps *
caps_from(const struct xmpp_node *query)
{
	struct td_str nodes[NODES_MAX];
	size_t n = 0;

	for (const struct xmpp_node *f = xmpp_node_child(query, NULL, NULL); f != NULL;
	     f = xmpp_node_next_elem(f)) {
		struct td_str var = xmpp_node_attr(f, "var");

		if (strcmp(f->name, "feature") == 0 && td_str_ends(var, NOTIFY) &&
		    var.len > sizeof(NOTIFY) - 1 && n < NODES_MAX)
			nodes[n++] = td_str(var.p, var.len - (sizeof(NOTIFY) - 1));
	}
	return xmpp_caps_new(nodes, n);
}

static void
cache_put(struct caps_env *ce, struct xmpp_caps *c, struct td_str key)
{
	struct xmpp_caps *old;

	if (td_map_find(&ce->cache, key) != NULL)
		return;
	if (ce->cache.len >= CACHE_MAX) {
		old = TAILQ_FIRST(&ce->order);
		TAILQ_REMOVE(&ce->order, old, link);
		(void)td_map_del(&ce->cache, old->key);
		xmpp_caps_unref(&old);
	}
	c->key = td_str(td_strndup(key), key.len);
	(void)td_map_set(&ce->cache, c->key, c);
	c->refs++; /* the cache's; the macro would count it several times */
	TAILQ_INSERT_TAIL(&ce->order, c, link);
}

/* ---- the hash (section 5.1) ---- */

struct factors {
	struct td_arena *a;
	struct td_str *s;
	size_t n;
};

static int
order(const void *x, const void *y)
{
	const struct td_str *a = x, *b = y;
	size_t n = a->len < b->len ? a->len : b->len;
	int d = n > 0 ? memcmp(a->p, b->p, n) : 0;

	return d != 0 ? d : (a->len > b->len) - (a->len < b->len);
}

/* Text as a factor: what was escaped in the XML stays so (5.1 step 9). */
static void
add_factor(struct td_buf *b, struct td_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '<')
			td_buf_addz(b, "&lt;");
		else
			td_buf_addc(b, s.p[i]);
}

static bool
keep_factor(struct factors *f, struct td_buf *b)
{
	if (f->n == FACTORS_MAX)
		return false;
	f->s[f->n++] = td_arena_str(f->a, td_str(b->p != NULL ? b->p : "", b->len));
	td_buf_clear(b);
	return true;
}

/* Sort; false when something is there twice. */
static bool
sort_unique(struct factors *f)
{
	qsort(f->s, f->n, sizeof(*f->s), order);
	for (size_t i = 1; i < f->n; i++)
		if (td_str_eq(f->s[i - 1], f->s[i]))
			return false;
	return true;
}

/* Room for one per child of <parent>. */
static struct factors
factors_new(struct td_arena *a, const struct xmpp_node *parent)
{
	size_t n = 1;

	for (const struct xmpp_node *c = parent->first; c != NULL; c = c->next)
		n++;
	return (struct factors){ a, td_arena_alloc(a, n * sizeof(struct td_str)), 0 };
}

static void
write_factors(struct td_buf *out, const struct factors *f)
{
	for (size_t i = 0; i < f->n; i++) {
		td_buf_adds(out, f->s[i]);
		td_buf_addc(out, '<');
	}
}

static bool
add_identities(struct td_arena *a, const struct xmpp_node *query, struct td_buf *out)
{
	struct factors f = factors_new(a, query);
	struct td_buf b = { 0 };
	bool ok = true;

	for (const struct xmpp_node *c = xmpp_node_child(query, NULL, NULL); ok && c != NULL;
	     c = xmpp_node_next_elem(c)) {
		if (strcmp(c->name, "identity") != 0)
			continue;
		add_factor(&b, xmpp_node_attr(c, "category"));
		td_buf_addc(&b, '/');
		add_factor(&b, xmpp_node_attr(c, "type"));
		td_buf_addc(&b, '/');
		add_factor(&b, xmpp_node_lang(c));
		td_buf_addc(&b, '/');
		add_factor(&b, xmpp_node_attr(c, "name"));
		ok = keep_factor(&f, &b);
	}
	td_buf_fini(&b);
	ok = ok && sort_unique(&f);
	write_factors(out, &f);
	return ok;
}

static bool
add_features(struct td_arena *a, const struct xmpp_node *query, struct td_buf *out)
{
	struct factors f = factors_new(a, query);
	struct td_buf b = { 0 };
	bool ok = true;

	for (const struct xmpp_node *c = xmpp_node_child(query, NULL, NULL); ok && c != NULL;
	     c = xmpp_node_next_elem(c))
		if (strcmp(c->name, "feature") == 0) {
			add_factor(&b, xmpp_node_attr(c, "var"));
			ok = keep_factor(&f, &b);
		}
	td_buf_fini(&b);
	ok = ok && sort_unique(&f);
	write_factors(out, &f);
	return ok;
}

static const struct xmpp_node *
field_of(const struct xmpp_node *x, const char *var)
{
	for (const struct xmpp_node *c = xmpp_node_child(x, NULL, "field"); c != NULL;
	     c = xmpp_node_next_elem(c))
		if (strcmp(c->name, "field") == 0 && td_str_eqc(xmpp_node_attr(c, "var"), var))
			return c;
	return NULL;
}

/* "var<value<value<" of one field. */
static bool
add_field(struct td_arena *a, const struct xmpp_node *field, struct td_buf *out)
{
	struct factors f = factors_new(a, field);
	struct td_buf b = { 0 };
	bool ok = true;

	add_factor(out, xmpp_node_attr(field, "var"));
	td_buf_addc(out, '<');
	for (const struct xmpp_node *v = xmpp_node_child(field, NULL, NULL); ok && v != NULL;
	     v = xmpp_node_next_elem(v))
		if (strcmp(v->name, "value") == 0) {
			add_factor(&b, xmpp_node_text(a, v));
			ok = keep_factor(&f, &b);
		}
	td_buf_fini(&b);
	qsort(f.s, f.n, sizeof(*f.s), order);
	write_factors(out, &f);
	return ok;
}

/* The FORM_TYPE; false: more than one value (5.4 step 3.5).  TD_STR_NULL: not one to be counted (3.6). */
static bool
form_type(struct td_arena *a, const struct xmpp_node *x, struct td_str *out)
{
	const struct xmpp_node *field = field_of(x, "FORM_TYPE"), *v;

	*out = TD_STR_NULL;
	if (field == NULL || !td_str_eqc(xmpp_node_attr(field, "type"), "hidden") ||
	    (v = xmpp_node_child(field, NULL, "value")) == NULL)
		return true;
	*out = xmpp_node_text(a, v);
	for (; v != NULL; v = xmpp_node_next_elem(v))
		if (strcmp(v->name, "value") == 0 && !td_str_eq(xmpp_node_text(a, v), *out))
			return false;
	return true;
}

static bool
add_form(struct td_arena *a, const struct xmpp_node *x, struct td_buf *out)
{
	struct factors f = factors_new(a, x);
	struct td_buf b = { 0 };
	bool ok = true;

	for (const struct xmpp_node *c = xmpp_node_child(x, NULL, NULL); ok && c != NULL;
	     c = xmpp_node_next_elem(c)) {
		if (strcmp(c->name, "field") != 0 ||
		    td_str_eqc(xmpp_node_attr(c, "var"), "FORM_TYPE"))
			continue;
		ok = add_field(a, c, &b) && keep_factor(&f, &b);
	}
	td_buf_fini(&b);
	qsort(f.s, f.n, sizeof(*f.s), order);
	for (size_t i = 0; i < f.n; i++)
		td_buf_adds(out, f.s[i]);
	return ok;
}

static bool
add_forms(struct td_arena *a, const struct xmpp_node *query, struct td_buf *out)
{
	struct factors types = factors_new(a, query), forms = factors_new(a, query);
	struct td_buf b = { 0 };
	bool ok = true;

	for (const struct xmpp_node *c = xmpp_node_child(query, NULL, NULL); ok && c != NULL;
	     c = xmpp_node_next_elem(c)) {
		struct td_str type;

		if (!xmpp_node_is(c, NS_DATA_FORM, "x"))
			continue;
		if (!form_type(a, c, &type)) {
			ok = false;
		} else if (type.p != NULL) {
			add_factor(&b, type);
			ok = keep_factor(&types, &b);
			add_factor(&b, type);
			td_buf_addc(&b, '<');
			ok = ok && add_form(a, c, &b) && keep_factor(&forms, &b);
		}
	}
	td_buf_fini(&b);
	ok = ok && sort_unique(&types);
	qsort(forms.s, forms.n, sizeof(*forms.s), order);
	for (size_t i = 0; i < forms.n; i++)
		td_buf_adds(out, forms.s[i]);
	return ok;
}

int
xmpp_caps_hash(const struct xmpp_node *query, struct td_str algo, struct td_buf *out)
{
	static const char *const names[][2] = { { "sha-1", "SHA1" },
						{ "sha-224", "SHA224" },
						{ "sha-256", "SHA256" },
						{ "sha-384", "SHA384" },
						{ "sha-512", "SHA512" } };
	unsigned char md[EVP_MAX_MD_SIZE];
	const char *name = NULL;
	struct td_arena *a;
	struct td_buf s = { 0 };
	unsigned len = 0;
	int rc = TD_E_INVAL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (td_str_eqc(algo, names[i][0]))
			name = names[i][1];
	if (name == NULL)
		return TD_E_UNSUPPORTED;
	a = td_arena_new(4096);
	if (add_identities(a, query, &s) && add_features(a, query, &s) && add_forms(a, query, &s) &&
	    EVP_Digest(s.p != NULL ? s.p : "", s.len, md, &len, EVP_get_digestbyname(name), NULL)) {
		td_buf_add_base64(out, md, len);
		rc = 0;
	}
	td_arena_free(a);
	td_buf_fini(&s);
	return rc;
}

/* ---- learning ---- */

struct ask {
	char *key, *ver; /* key NULL: no hash to check, not to be kept */
	void (*fn)(struct xmpp_env *env, struct xmpp_caps *c, void *arg);
	void *arg;
};

static bool
verified(const struct ask *q, const struct xmpp_node *query)
{
	struct td_buf got = { 0 };
	bool ok;

	if (q->key == NULL)
		return false;
	ok = xmpp_caps_hash(query, td_str(q->key, strcspn(q->key, " ")), &got) == 0 &&
	     td_str_eqc(td_buf_str(&got), q->ver);
	td_buf_fini(&got);
	return ok;
}

static void
on_answer(struct xmpp_env *env, const struct xmpp_stanza *s, void *arg)
{
	struct ask *q = arg;
	struct caps_env *ce = env->module_data[XMPP_SLOT_CAPS];
	struct xmpp_node *query = s != NULL && s->type == XT_RESULT
					  ? xmpp_node_child(s->root, NS_DISCO_INFO, "query")
					  : NULL;
	struct xmpp_caps *c = NULL;

	if (query != NULL) {
		c = caps_from(query);
		if (verified(q, query))
			cache_put(ce, c, td_cstr(q->key));
		else
			td_log_debug(&env->log, "caps-unverified", "from=%s", td_esc(s->from.full));
	}
	q->fn(env, c, q->arg);
	xmpp_caps_unref(&c);
	free(q->key);
	free(q->ver);
	free(q);
}

static void
ask(struct xmpp_env *env, const struct xmpp_jid *to, const struct xmpp_jid *from,
    struct td_str node, struct td_str ver, struct ask *q)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_IQ, XT_GET);
	struct xmpp_node *n = xmpp_node_add(s->arena, s->root, "query", NS_DISCO_INFO);

	if (node.len > 0 && ver.len > 0) {
		struct td_buf b = { 0 };

		td_buf_addf(&b, "%.*s#%.*s", TD_STR_ARG(node), TD_STR_ARG(ver));
		xmpp_node_set(s->arena, n, "node", td_buf_str(&b));
		td_buf_fini(&b);
	}
	xmpp_stanza_set_from(s, from);
	xmpp_stanza_set_to(s, to);
	xmpp_request(env, s, ASK_MS, on_answer, q);
}

void
xmpp_caps_resolve(struct xmpp_env *env, const struct xmpp_stanza *s, const struct xmpp_jid *from,
		  void (*fn)(struct xmpp_env *env, struct xmpp_caps *c, void *arg), void *arg)
{
	struct caps_env *ce = env->module_data[XMPP_SLOT_CAPS];
	const struct xmpp_node *n = xmpp_node_child(s->root, NS_CAPS, "c");
	struct td_str algo, ver;
	struct td_buf key = { 0 };
	struct xmpp_caps *c = NULL;
	struct ask *q;

	if (n == NULL) {
		fn(env, NULL, arg);
		return;
	}
	algo = xmpp_node_attr(n, "hash");
	ver = xmpp_node_attr(n, "ver");
	if (algo.len > 0 && ver.len > 0 && algo.len < 32 && ver.len < 256) {
		td_buf_addf(&key, "%.*s %.*s", TD_STR_ARG(algo), TD_STR_ARG(ver));
		c = td_map_find(&ce->cache, td_buf_str(&key));
	}
	if (c != NULL) {
		fn(env, c, arg);
	} else {
		q = td_zalloc(sizeof(*q));
		q->fn = fn;
		q->arg = arg;
		q->key = key.len > 0 ? td_strndup(td_buf_str(&key)) : NULL;
		q->ver = td_strndup(ver);
		ask(env, &s->from, from, xmpp_node_attr(n, "node"), ver, q);
	}
	td_buf_fini(&key);
}

/* ---- our sessions ---- */

struct learner {
	char sid[13];
	bool first;
	char *bare, *resource;
};

static void
on_session_caps(struct xmpp_env *env, struct xmpp_caps *c, void *arg)
{
	struct learner *l = arg;
	struct xmpp_user *u = c != NULL ? xmpp_user_find(env, td_cstr(l->bare)) : NULL;
	struct xmpp_session *sess = u != NULL ? xmpp_session_find(u, td_cstr(l->resource)) : NULL;

	if (sess != NULL && strcmp(sess->sid, l->sid) == 0 && !sess->dead) {
		struct xmpp_caps *old = sess->module_data[XMPP_SESSION_SLOT_CAPS];

		sess->module_data[XMPP_SESSION_SLOT_CAPS] = xmpp_caps_ref(c);
		if (sess->available)
			xmpp_pep_online(sess, l->first ? NULL : old);
		xmpp_caps_unref(&old);
	}
	free(l->bare);
	free(l->resource);
	free(l);
}

static void
caps_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	struct xmpp_jid domain = xmpp_jid_view(sess->user->domain);
	struct learner *l;

	/* a presence without caps says nothing about them */
	if (!available || xmpp_node_child(s->root, NS_CAPS, "c") == NULL)
		return;
	l = td_zalloc(sizeof(*l));
	memcpy(l->sid, sess->sid, sizeof(l->sid));
	l->first = first;
	l->bare = td_strndup(sess->user->bare);
	l->resource = td_strndup(sess->jid.resource);
	xmpp_caps_resolve(sess->env, s, &domain, on_session_caps, l);
}

static void
caps_session_ended(struct xmpp_session *sess)
{
	struct xmpp_caps *c = sess->module_data[XMPP_SESSION_SLOT_CAPS];

	sess->module_data[XMPP_SESSION_SLOT_CAPS] = NULL;
	xmpp_caps_unref(&c);
}

/* ---- our own ---- */

static struct td_str
own_ver(struct xmpp_env *env, struct td_str domain)
{
	struct caps_env *ce = env->module_data[XMPP_SLOT_CAPS];
	/* scripts and configuration are not switched in the same moment */
	uint64_t generation = (conf_generation(env->conf) << 32) +
			      (env->additions != NULL ? env->additions->generation : 0);
	struct td_arena *a;
	struct td_buf b = { 0 }, ver = { 0 };
	struct xmpp_node *query;
	struct own *o;

	STAILQ_FOREACH(o, &ce->own, link)
	if (td_str_eq(o->domain, domain))
		break;
	if (o != NULL && o->generation == generation && !env->delegates)
		return o->ver;
	if (o == NULL) {
		o = td_zalloc(sizeof(*o));
		o->domain = td_str(td_strndup(domain), domain.len);
		STAILQ_INSERT_TAIL(&ce->own, o, link);
	}
	a = td_arena_new(4096);
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "'>");
	xmpp_disco_host_info(env, domain, &b);
	td_buf_addz(&b, "</query>");
	query = xmpp_xml_parse(a, td_buf_str(&b), NULL, NULL);
	if (query != NULL)
		(void)xmpp_caps_hash(query, TD_STR("sha-1"), &ver);
	free((void *)(uintptr_t)o->ver.p);
	o->ver = td_str(td_strndup(td_buf_str(&ver)), ver.len);
	o->generation = generation;
	td_arena_free(a);
	td_buf_fini(&b);
	td_buf_fini(&ver);
	return o->ver;
}

static void
caps_stream_features(struct xmpp_c2s *c, struct td_buf *out)
{
	struct xmpp_jid me = xmpp_jid_view(xmpp_c2s_bare(c));
	struct td_str ver = own_ver(xmpp_c2s_env(c), me.domain);

	if (ver.len == 0)
		return;
	td_buf_addz(out, "<c xmlns='" NS_CAPS "' hash='sha-1' node='" OWN_NODE "' ver='");
	td_buf_adds(out, ver);
	td_buf_addz(out, "'/>");
}

/* disco#info of the node we announce. */
static int
caps_disco(struct xmpp_iq *iq)
{
	struct td_str node = xmpp_node_attr(iq->payload, "node"), domain = iq->s->to.domain;
	size_t n = sizeof(OWN_NODE "#") - 1;
	struct td_buf b = { 0 };

	if (iq->user != NULL || !td_str_starts(node, OWN_NODE "#") ||
	    iq->env->host->domain(iq->env, domain) != XD_LOCAL ||
	    !td_str_eq(td_str(node.p + n, node.len - n), own_ver(iq->env, domain)))
		return XMPP_PASS;
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "' node='");
	td_buf_add_xml(&b, node);
	td_buf_addz(&b, "'>");
	xmpp_disco_host_info(iq->env, domain, &b);
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static void
caps_start(struct xmpp_env *env)
{
	struct caps_env *ce = td_zalloc(sizeof(*ce));

	TAILQ_INIT(&ce->order);
	STAILQ_INIT(&ce->own);
	env->module_data[XMPP_SLOT_CAPS] = ce;
}

static void
caps_stop(struct xmpp_env *env)
{
	struct caps_env *ce = env->module_data[XMPP_SLOT_CAPS];
	struct xmpp_caps *c;
	struct own *o;

	while ((c = TAILQ_FIRST(&ce->order)) != NULL) {
		TAILQ_REMOVE(&ce->order, c, link);
		xmpp_caps_unref(&c);
	}
	while ((o = STAILQ_FIRST(&ce->own)) != NULL) {
		STAILQ_REMOVE_HEAD(&ce->own, link);
		free((void *)(uintptr_t)o->domain.p);
		free((void *)(uintptr_t)o->ver.p);
		free(o);
	}
	td_map_fini(&ce->cache);
	free(ce);
	env->module_data[XMPP_SLOT_CAPS] = NULL;
}

static const char *const caps_features[] = { NS_CAPS, NULL };
static const struct xmpp_iq_entry caps_iqs[] = {
	{ NS_DISCO_INFO, "query", IQ_GET | IQ_TO_HOST, caps_disco },
	{ 0 },
};

const struct xmpp_module xep_0115_caps = {
	.name = "xep-0115-caps",
	.xep = "0115",
	.doc = "Capabilities of clients by the hash in their presence; the server's own in stream "
	       "features",
	.version = "1.6.0",
	.features = caps_features,
	.iqs = caps_iqs,
	.start = caps_start,
	.stop = caps_stop,
	.presence = caps_presence,
	.session_ended = caps_session_ended,
	.stream_features = caps_stream_features,
};
