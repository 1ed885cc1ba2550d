/* lookup - effective values.
 * Exact domains are hash look-ups.  Which regex domains a name matches is remembered per
 * thread (names come from peers: the memory is a fixed number of slots), so that a
 * snapshot is never written after it was loaded. */
#include "conf/conf_priv.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_LIMIT 100000 /* steps of one match: the subject comes from a peer */

/* The scopes one domain name resolves to, most specific first. */
struct chain {
	uint64_t generation, hash;
	char *key; /* "protocol\0domain" */
	size_t key_len, n, cap;
	const struct conf_scope **scopes;
};

struct match_cache {
	pcre2_match_data *data;
	pcre2_match_context *limits;
	size_t n_slots;
	struct chain *slots;
	struct chain spare; /* for snapshots without cache, and overlong names */
};

static pthread_once_t cache_once = PTHREAD_ONCE_INIT;
static pthread_key_t cache_key;
static _Thread_local struct match_cache *my_cache;

static void
chain_fini(struct chain *ch)
{
	free(ch->key);
	free(ch->scopes);
	*ch = (struct chain){ 0 };
}

static void
cache_free(void *arg)
{
	struct match_cache *mc = arg;

	for (size_t i = 0; i < mc->n_slots; i++)
		chain_fini(&mc->slots[i]);
	chain_fini(&mc->spare);
	pcre2_match_data_free(mc->data);
	pcre2_match_context_free(mc->limits);
	free(mc->slots);
	free(mc);
}

static void
make_key(void)
{
	if (pthread_key_create(&cache_key, cache_free) != 0)
		abort();
}

static struct match_cache *
cache_get(void)
{
	if (my_cache != NULL)
		return my_cache;
	pthread_once(&cache_once, make_key);
	my_cache = td_zalloc(sizeof(*my_cache));
	my_cache->data = pcre2_match_data_create(1, NULL);
	my_cache->limits = pcre2_match_context_create(NULL);
	if (my_cache->data == NULL || my_cache->limits == NULL)
		abort(); /* out of memory */
	pcre2_set_match_limit(my_cache->limits, MATCH_LIMIT);
	pthread_setspecific(cache_key, my_cache);
	return my_cache;
}

/* ---- domains ---- */

static void
chain_add(struct chain *ch, const struct conf_scope *s)
{
	if (s == NULL)
		return;
	if (ch->n == ch->cap) {
		ch->cap = ch->cap > 0 ? ch->cap * 2 : 4;
		ch->scopes = td_realloc(ch->scopes, ch->cap * sizeof(const struct conf_scope *));
	}
	ch->scopes[ch->n++] = s;
}

static bool
matches(struct match_cache *mc, const struct conf_scope *s, struct td_str subject)
{
	return pcre2_match(s->regex, (PCRE2_SPTR)subject.p, subject.len, 0, 0, mc->data,
			   mc->limits) >= 0;
}

static struct td_str
protocol_name(const struct conf_at *at, char *buf, size_t cap)
{
	int n;

	if (at->protocol == NULL)
		return TD_STR_NULL;
	n = snprintf(buf, cap, "#%s#%.*s", at->protocol, TD_STR_ARG(at->domain));
	return n > 0 && (size_t)n < cap ? td_str(buf, (size_t)n) : TD_STR_NULL;
}

static void
chain_fill(const struct conf *c, const struct conf_at *at, struct match_cache *mc, struct chain *ch)
{
	char buf[CONF_MAX_DOMAIN + 64];
	struct td_str full = protocol_name(at, buf, sizeof(buf));

	if (full.p != NULL)
		chain_add(ch, td_map_find(&c->domains, full));
	chain_add(ch, td_map_find(&c->domains, at->domain));
	for (size_t i = 0; at->domain.len <= CONF_MAX_DOMAIN && i < c->n_regexes; i++)
		if ((full.p != NULL && matches(mc, c->regexes[i], full)) ||
		    matches(mc, c->regexes[i], at->domain))
			chain_add(ch, c->regexes[i]);
}

static bool
chain_is(const struct chain *ch, const struct conf *c, uint64_t hash, const char *protocol,
	 struct td_str domain)
{
	size_t n = strlen(protocol) + 1;

	return ch->key != NULL && ch->generation == c->generation && ch->hash == hash &&
	       ch->key_len == n + domain.len && memcmp(ch->key, protocol, n) == 0 &&
	       memcmp(ch->key + n, domain.p, domain.len) == 0;
}

/* Valid until the next call on this thread. */
static const struct chain *
domain_chain(const struct conf *c, const struct conf_at *at)
{
	struct match_cache *mc = cache_get();
	const char *protocol = at->protocol != NULL ? at->protocol : "";
	size_t n = strlen(protocol) + 1;
	struct chain *ch = &mc->spare;
	uint64_t hash;

	if (c->n_regexes == 0 || at->domain.len > CONF_MAX_DOMAIN) {
		ch->n = 0;
		chain_fill(c, at, mc, ch);
		return ch;
	}
	if (mc->n_slots != c->cache_slots) {
		for (size_t i = 0; i < mc->n_slots; i++)
			chain_fini(&mc->slots[i]);
		free(mc->slots);
		mc->slots = td_zalloc(c->cache_slots * sizeof(*mc->slots));
		mc->n_slots = c->cache_slots;
	}
	hash = td_str_hash(at->domain) ^ (at->protocol != NULL);
	ch = &mc->slots[hash % mc->n_slots];
	if (chain_is(ch, c, hash, protocol, at->domain))
		return ch;
	chain_fini(ch);
	chain_fill(c, at, mc, ch);
	ch->generation = c->generation;
	ch->hash = hash;
	ch->key_len = n + at->domain.len;
	ch->key = td_alloc(ch->key_len);
	memcpy(ch->key, protocol, n);
	if (at->domain.len > 0)
		memcpy(ch->key + n, at->domain.p, at->domain.len);
	return ch;
}

/* ---- one option ---- */

const struct conf_value *
conf_value_in(const struct conf_scope *s, const struct conf_option *o)
{
	size_t row = conf_row_index(o);

	if ((s->set[row / 64] >> (row % 64) & 1) == 0)
		return NULL;
	for (size_t i = 0; i < s->n_values; i++)
		if (s->values[i]->row == o)
			return s->values[i];
	return NULL;
}

/* In the Peers of <s> that hold the address, narrowest network first. */
static const struct conf_value *
value_in_peers(const struct conf_scope *s, const struct conf_at *at, const struct conf_option *o,
	       const struct conf_scope **from)
{
	for (size_t i = 0; (at->peer != NULL || at->peer_net != NULL) && i < s->n_peers; i++) {
		const struct conf_value *v = conf_value_in(s->peers[i], o);
		const struct conf_cidr *n = &s->peers[i]->cidr;

		if (v != NULL && (at->peer_net != NULL ? conf_cidr_holds(n, &at->peer_net->cidr)
						       : conf_cidr_has(n, at->peer))) {
			*from = s->peers[i];
			return v;
		}
	}
	return NULL;
}

/* The one module stanza an option belongs to, for questions asked without it. */
static const struct conf_scope *
single_of(const struct conf *c, const struct conf_option *o)
{
	const uint32_t modules = CS_XMPP | CS_SCRIPTLET | CS_SECURITY | CS_MAIL | CS_MILTER |
				 CS_STORE | CS_DEBUG_FLAGS;
	uint32_t bits = o->scopes & modules;

	if (bits == 0 || (bits & (bits - 1)) != 0)
		return NULL;
	return c->singles[__builtin_ctz(bits)];
}

static const struct conf_value *
find_domain(const struct conf *c, const struct conf_at *at, const struct conf_option *o,
	    const struct conf_scope **from)
{
	const struct chain *ch = domain_chain(c, at);

	for (size_t i = 0; i < ch->n; i++) {
		const struct conf_value *v = conf_value_in(ch->scopes[i], o);

		if (v != NULL) {
			*from = ch->scopes[i];
			return v;
		}
	}
	return NULL;
}

const struct conf_scope *
conf_next_in_domain(const struct conf *c, struct td_str name, const char *kind,
		    const struct conf_scope *prev)
{
	const struct conf_at at = { .protocol = "xmpp", .domain = name };
	const struct conf_scope *s = NULL;
	const struct chain *ch;

	if (prev != NULL)
		return conf_next(c, conf_scope_parent(prev), kind, prev);
	ch = domain_chain(c, &at);
	for (size_t i = 0; s == NULL && i < ch->n; i++)
		s = conf_next(c, ch->scopes[i], kind, NULL);
	return s;
}

const struct conf_value *
conf_find(const struct conf *c, const struct conf_at *at, const struct conf_option *o,
	  const struct conf_scope **from)
{
	static const struct conf_at nowhere;
	const struct conf_value *v = NULL;
	const struct conf_scope *ignored, *s;

	if (at == NULL)
		at = &nowhere;
	if (from == NULL)
		from = &ignored;
	*from = NULL;
	if (at->domain.p != NULL && (o->scopes & CS_DOMAIN))
		v = find_domain(c, at, o, from);
	for (s = at->scope; v == NULL && s != NULL && s->parent != NULL; s = s->parent) {
		v = value_in_peers(s, at, o, from);
		if (v == NULL && (v = conf_value_in(s, o)) != NULL)
			*from = s;
	}
	s = single_of(c, o);
	if (v == NULL && s != NULL && (v = conf_value_in(s, o)) != NULL)
		*from = s;
	if (v == NULL && (v = conf_value_in(c->root, o)) != NULL)
		*from = c->root;
	return v != NULL ? v : conf_row_default(o);
}

/* Rows may share a name (retry_interval of mail and of domains): take the one of the scope
 * asked from, then of domains, then the global one, then that of a module. */
const struct conf_option *
conf_row_for(const struct conf_at *at, struct td_str option)
{
	const struct conf_option *first = conf_row_first(option), *best = NULL;
	int best_rank = -1;

	if (first == NULL || conf_row_next(first) == NULL)
		return first;
	for (const struct conf_option *o = first; o != NULL; o = conf_row_next(o)) {
		int rank = 0;

		if (at != NULL && at->scope != NULL && conf_row_fits(o, at->scope))
			rank = 4;
		else if (at != NULL && (at->peer != NULL || at->peer_net != NULL) &&
			 (o->scopes & CS_PEER))
			rank = 3;
		else if (at != NULL && at->domain.p != NULL && (o->scopes & CS_DOMAIN))
			rank = 2;
		else if (o->scopes & CS_GLOBAL)
			rank = 1;
		if (rank > best_rank) {
			best_rank = rank;
			best = o;
		}
	}
	return best;
}

static const struct conf_value *
get(const struct conf *c, const struct conf_at *at, const char *option, enum conf_type type)
{
	const struct conf_option *o = conf_row_for(at, td_cstr(option));

	assert(o != NULL && "no such option");
	assert(type == CT_STRING || o->type == type ||
	       (type == CT_INT && (o->type == CT_SIZE || o->type == CT_MODE)));
	return conf_find(c, at, o, NULL);
}

static bool
is_none(const struct conf_value *v)
{
	return (v->row->flags & CO_NONE) && td_str_ieq(v->items[0], TD_STR("none"));
}

struct td_str
conf_str(const struct conf *c, const struct conf_at *at, const char *option)
{
	const struct conf_value *v = get(c, at, option, CT_STRING);

	return v != NULL && v->n > 0 && v->shape != CT_DICT && !is_none(v) ? v->items[0]
									   : TD_STR_NULL;
}

bool
conf_bool(const struct conf *c, const struct conf_at *at, const char *option)
{
	const struct conf_value *v = get(c, at, option, CT_BOOL);

	return v != NULL && v->num != 0;
}

int64_t
conf_int(const struct conf *c, const struct conf_at *at, const char *option)
{
	const struct conf_value *v = get(c, at, option, CT_INT);

	return v != NULL ? v->num : 0;
}

double
conf_float(const struct conf *c, const struct conf_at *at, const char *option)
{
	const struct conf_value *v = get(c, at, option, CT_FLOAT);

	return v != NULL ? v->real : 0;
}

bool
conf_throttle(const struct conf *c, const struct conf_at *at, const char *option, unsigned *count,
	      unsigned *seconds)
{
	const struct conf_value *v = get(c, at, option, CT_THROTTLE);

	*count = v != NULL ? (unsigned)v->num : 0;
	*seconds = v != NULL ? v->per : 1;
	return *count > 0;
}

const struct td_str *
conf_list(const struct conf *c, const struct conf_at *at, const char *option, size_t *n)
{
	const struct conf_value *v = get(c, at, option, CT_LIST);

	*n = v != NULL ? v->n : 0;
	return *n > 0 ? v->items : NULL;
}

bool
conf_list_has(const struct conf *c, const struct conf_at *at, const char *option, const char *word)
{
	size_t n;
	const struct td_str *items = conf_list(c, at, option, &n);

	for (size_t i = 0; i < n; i++)
		if (td_str_ieq(items[i], td_cstr(word)))
			return true;
	return false;
}

struct td_str
conf_dict(const struct conf *c, const struct conf_at *at, const char *option, const char *key)
{
	const struct conf_value *v = get(c, at, option, CT_DICT);

	for (size_t i = 0; v != NULL && i + 1 < v->n; i += 2)
		if (td_str_ieq(v->items[i], td_cstr(key)))
			return v->items[i + 1];
	return TD_STR_NULL;
}

const struct td_str *
conf_pairs(const struct conf *c, const struct conf_at *at, const char *option, size_t *n)
{
	const struct conf_value *v = get(c, at, option, CT_DICT);

	*n = v != NULL ? v->n / 2 : 0;
	return *n > 0 ? v->items : NULL;
}

const struct conf_scope *
conf_origin(const struct conf *c, const struct conf_at *at, const char *option)
{
	const struct conf_option *o = conf_row_for(at, td_cstr(option));
	const struct conf_scope *from;

	assert(o != NULL && "no such option");
	conf_find(c, at, o, &from);
	return from;
}

bool
conf_is_set(const struct conf *c, const struct conf_at *at, const char *option)
{
	return conf_origin(c, at, option) != NULL;
}

/* ---- scopes ---- */

static struct td_str
value_name(const struct conf_value *v)
{
	return v->row != NULL ? td_cstr(v->row->name) : v->name;
}

struct td_str
conf_raw(const struct conf_scope *s, const char *option)
{
	for (size_t i = 0; i < s->n_values; i++) {
		const struct conf_value *v = s->values[i];

		if (td_str_ieq(value_name(v), td_cstr(option)))
			return v->n > 0 && v->shape != CT_DICT ? v->items[0] : TD_STR_NULL;
	}
	return TD_STR_NULL;
}

bool
conf_each_option(const struct conf_scope *s, size_t *pos, struct td_str *name_out,
		 enum conf_type *shape_out, const struct td_str **items_out, size_t *n_out)
{
	const struct conf_value *v;

	if (*pos >= s->n_values)
		return false;
	v = s->values[(*pos)++];
	*name_out = value_name(v);
	*shape_out = v->shape;
	*items_out = v->items;
	*n_out = v->n;
	return true;
}

const struct conf_scope *
conf_next(const struct conf *c, const struct conf_scope *parent, const char *kind,
	  const struct conf_scope *prev)
{
	const struct conf_kind *k = conf_kind_find(td_cstr(kind));
	const struct conf_scope *s = prev != NULL     ? prev->next
				     : parent != NULL ? parent->first
						      : c->root->first;

	assert(k != NULL && "no such kind of scope");
	while (s != NULL && s->kind != k)
		s = s->next;
	return s;
}

struct td_str
conf_scope_name(const struct conf_scope *s)
{
	return s->name;
}

const char *
conf_scope_kind(const struct conf_scope *s)
{
	return s->kind->name;
}

bool
conf_scope_is_regex(const struct conf_scope *s)
{
	return s->regex != NULL;
}

const struct conf_scope *
conf_scope_parent(const struct conf_scope *s)
{
	return s->parent != NULL && s->parent->parent != NULL ? s->parent : NULL;
}

const struct conf_scope *
conf_peer(const struct conf_scope *listen, const struct sockaddr *sa)
{
	const struct conf_scope *best = NULL;

	for (const struct conf_scope *s = listen; s != NULL; s = s->parent)
		for (size_t i = 0; i < s->n_peers; i++) {
			const struct conf_scope *p = s->peers[i];

			if (!conf_cidr_has(&p->cidr, sa))
				continue;
			if (best == NULL || p->cidr.bits > best->cidr.bits)
				best = p;
			break; /* those behind it are wider */
		}
	return best;
}

const char *
conf_scope_where(const struct conf_scope *s)
{
	return s->where;
}
