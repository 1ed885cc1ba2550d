/* lua_iq - requests that scripts answer, what they announce, and requests they make.
 *
 * What is registered while a set's first state loads is the set's (struct xmpp_additions) and
 * the same for all its states; each keeps its own functions by the same numbers.  So it comes
 * and goes with the scripts of a configuration.
 *
 * A request object keeps the request.  Answered in the callout it is done; left for later it
 * waits for the script, at most a while: whatever happens - the time is over, Lua collects it,
 * the scripts are reloaded - the one who asked gets an answer, and only one. */
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"
#include "gateway/scripts.h"

#define IQS_MAX 200u
#define FEATURES_MAX 500u
#define IDENTITIES_MAX 50u
#define LATER_MAX 1000u /* of one state */
#define ASKS_MAX 1000u
#define WAIT_S 30 /* for an answer, unless the script says otherwise */
#define WAIT_MAX 300

static const char request_mt[] = "gwl.request";

/* ---- registering ---- */

static struct gwl_state *
check_loading(lua_State *L)
{
	struct gwl_state *st = gwl_state_of(L);

	if (st->loading == 0)
		luaL_error(L, "this is registered while the script is loaded, not later");
	return st;
}

static const char *
check_text(lua_State *L, int i, const char *what)
{
	struct td_str s = tlua_checkstr(L, i);

	if (s.len == 0 || s.len > 500 || strlen(s.p) != s.len || !td_utf8_valid(s))
		luaL_error(L, "%s: not a text of 1 to 500 bytes", what);
	return s.p;
}

static uint32_t
target(lua_State *L, const char *name)
{
	if (name != NULL && strcmp(name, "host") == 0)
		return IQ_TO_HOST;
	if (name != NULL && strcmp(name, "account") == 0)
		return IQ_TO_ACCOUNT;
	if (name != NULL && strcmp(name, "room") == 0)
		return IQ_TO_ROOM;
	luaL_error(L, "to: \"host\", \"account\" or \"room\", or a list of these");
	return 0;
}

/* What the value at <i> says (nil: host). */
static uint32_t
targets(lua_State *L, int i)
{
	uint32_t to = 0;

	if (lua_isnoneornil(L, i))
		return IQ_TO_HOST;
	if (!lua_istable(L, i))
		return target(L, lua_tostring(L, i));
	for (lua_Integer k = 1; k <= 3 && lua_geti(L, i, k) != LUA_TNIL; k++) {
		to |= target(L, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	lua_settop(L, i);
	return to != 0 ? to : target(L, NULL);
}

/* Room for one more in an array of <n> that grows by 16. */
static void *
grow(void *list, size_t n, size_t size)
{
	return n % 16 == 0 ? td_realloc(list, (n + 16) * size) : list;
}

static char *
dup_text(const char *s)
{
	return s != NULL ? td_strdup(s) : NULL;
}

static void
add_feature(struct gwl_state *st, const char *var, uint32_t to)
{
	struct xmpp_additions *ad = &st->set->additions;

	for (size_t i = 0; i < ad->n_features; i++)
		if (strcmp(ad->features[i].var, var) == 0) {
			ad->features[i].to |= to;
			return;
		}
	ad->features = grow(ad->features, ad->n_features, sizeof(*ad->features));
	ad->features[ad->n_features++] = (struct xmpp_script_feature){ td_strdup(var), to };
	st->set->scripts[st->loading - 1].adds = true;
}

static bool
same_name(const char *a, const char *b)
{
	return a == NULL || b == NULL || strcmp(a, b) == 0;
}

/* The script that has a part of this already; NULL: none. */
static const char *
taken_by(const struct gwl_set *set, const char *ns, const char *name, uint32_t flags)
{
	const uint32_t type = IQ_GET | IQ_SET, to = IQ_TO_HOST | IQ_TO_ACCOUNT | IQ_TO_ROOM;

	for (size_t i = 0; i < set->additions.n_iqs; i++) {
		const struct xmpp_script_iq *e = &set->additions.iqs[i];

		if (strcmp(e->ns, ns) == 0 && same_name(e->name, name) &&
		    (e->flags & flags & type) != 0 && (e->flags & flags & to) != 0)
			return set->scripts[set->iq_scripts[i]].name;
	}
	return NULL;
}

/* The set's entry: made by its first state, the same for the others. */
static void
add_iq(lua_State *L, struct gwl_state *st, const char *ns, const char *name, uint32_t flags)
{
	struct gwl_set *set = st->set;
	struct xmpp_additions *ad = &set->additions;
	const struct xmpp_script_iq *e;
	const char *other;

	if (set->known) {
		e = st->n_iqs < ad->n_iqs ? &ad->iqs[st->n_iqs] : NULL;
		if (e == NULL || strcmp(e->ns, ns) != 0 || e->flags != flags ||
		    !same_name(e->name, name))
			luaL_error(L, "scripts must register the same each time");
		return;
	}
	if (xmpp_ns_owner(ns) != NULL)
		luaL_error(L, "namespace %s is built in (%s)", ns, xmpp_ns_owner(ns));
	other = taken_by(set, ns, name, flags);
	if (other != NULL)
		luaL_error(L, "namespace %s is registered already, by script %s", ns, other);
	if (ad->n_iqs >= IQS_MAX)
		luaL_error(L, "more than %d requests are registered", (int)IQS_MAX);
	set->iq_scripts = grow(set->iq_scripts, ad->n_iqs, sizeof(*set->iq_scripts));
	ad->iqs = grow(ad->iqs, ad->n_iqs, sizeof(*ad->iqs));
	set->iq_scripts[ad->n_iqs] = st->loading - 1;
	ad->iqs[ad->n_iqs] = (struct xmpp_script_iq){ td_strdup(ns), dup_text(name), flags,
						      (unsigned)ad->n_iqs };
	ad->n_iqs++;
	set->scripts[st->loading - 1].adds = true;
}

/* The flags the options at <i> ask for. */
static uint32_t
iq_flags(lua_State *L, int i)
{
	static const char *const types[] = { "get", "set", "both", NULL };
	static const char *const froms[] = { "anyone", "own", NULL };
	static const uint32_t bits[] = { IQ_GET, IQ_SET, IQ_GET | IQ_SET };
	uint32_t flags;

	(void)lua_getfield(L, i, "type");
	flags = bits[luaL_checkoption(L, -1, "both", types)];
	(void)lua_getfield(L, i, "from");
	if (luaL_checkoption(L, -1, "anyone", froms) == 1)
		flags |= IQ_OWN_ONLY;
	(void)lua_getfield(L, i, "to");
	flags |= targets(L, lua_gettop(L));
	if ((flags & IQ_OWN_ONLY) && (flags & (IQ_TO_HOST | IQ_TO_ROOM)))
		luaL_error(L, "from = \"own\" is for to = \"account\"");
	return flags;
}

/* register_iq(namespace, options or nil, function) */
static int
q_register_iq(lua_State *L)
{
	struct gwl_state *st = check_loading(L);
	const char *ns = check_text(L, 1, "namespace"), *name = NULL;
	uint32_t flags;
	int ref;

	if (lua_isnoneornil(L, 2)) {
		lua_newtable(L);
		lua_replace(L, 2);
	}
	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_settop(L, 3);
	flags = iq_flags(L, 2);
	if (lua_getfield(L, 2, "name") != LUA_TNIL)
		name = check_text(L, -1, "name");
	add_iq(L, st, ns, name, flags);
	if (lua_getfield(L, 2, "feature") == LUA_TNIL || lua_toboolean(L, -1))
		if (!st->set->known && xmpp_feature_owner(ns) == NULL)
			add_feature(st, ns, flags & (IQ_TO_HOST | IQ_TO_ACCOUNT | IQ_TO_ROOM));
	lua_pushvalue(L, 3);
	ref = luaL_ref(L, LUA_REGISTRYINDEX);
	st->iqs = grow(st->iqs, st->n_iqs, sizeof(*st->iqs));
	st->iqs[st->n_iqs++] = (struct gwl_iq){ st->loading - 1, ref };
	return 0;
}

/* register_feature(name [, to]) */
static int
q_register_feature(lua_State *L)
{
	struct gwl_state *st = check_loading(L);
	const char *var = check_text(L, 1, "feature");
	uint32_t to = targets(L, 2);

	if (xmpp_feature_owner(var) != NULL)
		return luaL_error(L, "feature %s is built in (%s)", var, xmpp_feature_owner(var));
	if (st->set->additions.n_features >= FEATURES_MAX)
		return luaL_error(L, "more than %d features are registered", (int)FEATURES_MAX);
	if (!st->set->known)
		add_feature(st, var, to);
	return 0;
}

/* register_identity(category, type [, name [, to]]) */
static int
q_register_identity(lua_State *L)
{
	struct gwl_state *st = check_loading(L);
	struct xmpp_additions *ad = &st->set->additions;
	const char *category = check_text(L, 1, "category"), *type = check_text(L, 2, "type");
	const char *name = lua_isnoneornil(L, 3) ? NULL : check_text(L, 3, "name");
	uint32_t to = targets(L, 4);

	if (st->set->known)
		return 0;
	if (ad->n_identities >= IDENTITIES_MAX)
		return luaL_error(L, "more than %d identities are registered", (int)IDENTITIES_MAX);
	/* the same category and type twice would make our capabilities ill-formed (XEP-0115 5.4) */
	for (size_t i = 0; i < ad->n_identities; i++)
		if ((ad->identities[i].to & to) != 0 &&
		    strcmp(ad->identities[i].category, category) == 0 &&
		    strcmp(ad->identities[i].type, type) == 0)
			return luaL_error(L, "identity %s/%s is registered already", category,
					  type);
	if ((to & IQ_TO_HOST) && strcmp(category, "server") == 0 && strcmp(type, "im") == 0)
		return luaL_error(L, "identity server/im is built in");
	ad->identities = grow(ad->identities, ad->n_identities, sizeof(*ad->identities));
	ad->identities[ad->n_identities++] =
		(struct xmpp_script_identity){ td_strdup(category), td_strdup(type), dup_text(name),
					       to };
	st->set->scripts[st->loading - 1].adds = true;
	return 0;
}

void
gwl_additions_fini(struct gwl_set *set)
{
	struct xmpp_additions *ad = &set->additions;

	for (size_t i = 0; i < ad->n_iqs; i++) {
		free(ad->iqs[i].ns);
		free(ad->iqs[i].name);
	}
	for (size_t i = 0; i < ad->n_features; i++)
		free(ad->features[i].var);
	for (size_t i = 0; i < ad->n_identities; i++) {
		free(ad->identities[i].category);
		free(ad->identities[i].type);
		free(ad->identities[i].name);
	}
	free(ad->iqs);
	free(ad->features);
	free(ad->identities);
	free(set->iq_scripts);
}

/* ---- a request, and its answer ---- */

/* The request being looked at; on the stack of gw_scripts_iq. */
struct gwl_answering {
	uint64_t no;
	struct xmpp_iq *iq;
	int ref;      /* of its function */
	bool settled; /* answered, or left for later */
};
struct lrequest {
	uint64_t no;
	struct gwl_state *st;
	struct xmpp_stanza *s; /* a reference; NULL: the object is dead */
	size_t charged;
	struct td_timer timer;
	bool later, answered;
};

static struct lrequest *
check_request(lua_State *L)
{
	struct lrequest *r = luaL_checkudata(L, 1, request_mt);

	tlua_charge(L, 10);
	return r;
}

/* Is it the one being looked at? */
static bool
is_now(const struct lrequest *r)
{
	return r->st->answering != NULL && r->st->answering->no == r->no;
}

static bool
is_open(const struct lrequest *r)
{
	return r->s != NULL && !r->answered && (r->later || is_now(r));
}

/* It needs no answer any more. */
static void
settle(struct lrequest *r)
{
	r->answered = true;
	if (is_now(r))
		r->st->answering->settled = true;
	if (r->later) {
		r->later = false;
		r->st->n_later--;
		td_timer_clear(r->st->worker->loop, &r->timer);
	}
}

/* Send <a> (taken; NULL: it may not be answered).  Behind whatever the script sent before. */
static void
send_answer(struct lrequest *r, struct xmpp_stanza *a)
{
	struct gw *gw = r->st->set->gw;

	settle(r);
	if (a == NULL)
		return;
	a->flags |= a->type == XT_ERROR ? XF_NO_BOUNCE : 0;
	gw_route(gw, a);
}

static void
send_error(struct lrequest *r, enum xmpp_error e, const char *text)
{
	send_answer(r, xmpp_stanza_error(r->s, e, td_cstr(text)));
}

static void
on_late(struct td_timer *t)
{
	struct lrequest *r =
		(struct lrequest *)(void *)((char *)t - offsetof(struct lrequest, timer));

	send_error(r, XE_REMOTE_SERVER_TIMEOUT, "The script did not answer in time.");
}

static int
request_gc(lua_State *L)
{
	struct lrequest *r = lua_touserdata(L, 1);

	if (r->s != NULL && r->later)
		send_error(r, XE_INTERNAL_SERVER_ERROR, "The script did not answer.");
	xmpp_stanza_unref(&r->s);
	tlua_ext_sub(tlua_of(L), r->charged);
	r->charged = 0;
	return 0;
}

static struct lrequest *
push_request(lua_State *L, const struct gwl_answering *now)
{
	struct lrequest *r = lua_newuserdatauv(L, sizeof(*r), 1);
	struct xmpp_stanza *s = now->iq->s;

	memset(r, 0, sizeof(*r));
	r->no = now->no;
	r->st = gwl_state_of(L);
	luaL_setmetatable(L, request_mt);
	tlua_ext_add(L, td_arena_used(s->arena));
	r->charged = td_arena_used(s->arena);
	r->s = xmpp_stanza_ref(s);
	r->timer.fire = on_late;
	return r;
}

/* The payload at <i> (a node, or nothing) as bytes. */
static struct td_buf *
payload(lua_State *L, int i)
{
	struct xmpp_node *n;
	struct td_buf *b;

	luaL_argcheck(L, gwl_is_node(L, i), i, "no node");
	n = gwl_check_node(L, i);
	luaL_argcheck(L, n->name != NULL, i, "a text node");
	b = tlua_newbuf(L);
	xmpp_node_write(b, n, NS_CLIENT);
	tlua_charge(L, b->len / 16);
	luaL_argcheck(L, b->len <= 1u << 20, i, "over 1 MiB");
	return b;
}

/* Answer with a result, its payload at <i>. */
static void
give_result(lua_State *L, struct lrequest *r, int i)
{
	struct td_buf *b = lua_isnoneornil(L, i) || lua_isboolean(L, i) ? NULL : payload(L, i);
	struct xmpp_stanza *a = xmpp_stanza_result(r->s);

	if (b != NULL)
		xmpp_stanza_append_raw(a, td_buf_str(b));
	send_answer(r, a);
}

/* Answer with an error: condition at <i>, then text and an element of the application's. */
static void
give_error(lua_State *L, struct lrequest *r, int i)
{
	const char *name = luaL_checkstring(L, i), *text = luaL_optstring(L, i + 1, NULL);
	struct td_buf *b = lua_isnoneornil(L, i + 2) ? NULL : payload(L, i + 2);
	enum xmpp_error e;

	if (!gwl_condition(name, &e))
		luaL_error(L, "there is no condition \"%s\"", name);
	send_answer(r,
		    xmpp_stanza_error_with(r->s, e, text, b != NULL ? td_buf_str(b) : TD_STR_NULL));
}

/* iq:result([node]) -> boolean: was it still open? */
static int
r_result(lua_State *L)
{
	struct lrequest *r = check_request(L);
	bool open = is_open(r);

	lua_settop(L, 2);
	if (open)
		give_result(L, r, 2);
	lua_pushboolean(L, open);
	return 1;
}

/* iq:error(condition [, text [, node]]) -> boolean */
static int
r_error(lua_State *L)
{
	struct lrequest *r = check_request(L);
	bool open = is_open(r);

	lua_settop(L, 4);
	if (open)
		give_error(L, r, 2);
	lua_pushboolean(L, open);
	return 1;
}

static lua_Integer
check_seconds(lua_State *L, int i)
{
	lua_Integer n = luaL_optinteger(L, i, WAIT_S);

	luaL_argcheck(L, n >= 1 && n <= WAIT_MAX, i, "1 to 300 seconds");
	return n;
}

/* iq:later([seconds]) -> iq: the answer comes after the callout */
static int
r_later(lua_State *L)
{
	struct lrequest *r = check_request(L);
	lua_Integer n = check_seconds(L, 2);

	if (!is_open(r))
		return luaL_error(L, "this request is answered");
	if (!r->later) {
		if (r->st->n_later >= LATER_MAX)
			return luaL_error(L, "%d requests wait already", (int)LATER_MAX);
		r->later = true;
		r->st->n_later++;
		r->st->answering->settled = true;
	}
	td_timer_set(r->st->worker->loop, &r->timer, (uint64_t)n * 1000);
	lua_settop(L, 1);
	return 1;
}

/* ---- what a request says ---- */

static void
push_root(lua_State *L, struct lrequest *r)
{
	if (lua_getiuservalue(L, 1, 1) != LUA_TNIL)
		return;
	lua_pop(L, 1);
	gwl_push_view(L, r->s);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, 1, 1);
}

static void
push_room(lua_State *L, const struct xmpp_iq_room *room)
{
	if (room == NULL) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 3);
	lua_pushstring(L, room->affiliation);
	lua_setfield(L, -2, "affiliation");
	lua_pushstring(L, room->role);
	lua_setfield(L, -2, "role");
	tlua_pushstr(L, room->nick);
	lua_setfield(L, -2, "nick");
}

/* Fields that hold only in the callout. */
static bool
push_now(lua_State *L, struct lrequest *r, const char *key)
{
	struct xmpp_iq *iq = is_now(r) ? r->st->answering->iq : NULL;

	if (strcmp(key, "account") == 0)
		gwl_push_account(L, iq != NULL ? iq->user : NULL);
	else if (strcmp(key, "room") == 0)
		push_room(L, iq != NULL ? iq->room : NULL);
	else if (strcmp(key, "session") != 0)
		return false;
	else if (iq != NULL && iq->sess != NULL)
		gwl_push_session(L, iq->sess);
	else
		lua_pushnil(L);
	return true;
}

static int
r_index(lua_State *L)
{
	struct lrequest *r = check_request(L);
	const char *key = luaL_checkstring(L, 2);

	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	if (push_now(L, r, key))
		return 1;
	if (strcmp(key, "from") == 0) {
		gwl_push_jid(L, r->s->from.full);
	} else if (strcmp(key, "to") == 0) {
		gwl_push_jid(L, r->s->to.full);
	} else if (strcmp(key, "type") == 0) {
		lua_pushstring(L, r->s->type == XT_GET ? "get" : "set");
	} else if (strcmp(key, "id") == 0) {
		tlua_pushstr(L, r->s->id);
	} else if (strcmp(key, "stanza") == 0) {
		push_root(L, r);
	} else if (strcmp(key, "payload") == 0) {
		lua_pushcfunction(L, gwl_node_child);
		push_root(L, r);
		lua_call(L, 1, 1);
	} else {
		lua_pushnil(L);
	}
	return 1;
}

/* ---- asking the function ---- */

static int
do_request(lua_State *L)
{
	struct gwl_job *job = lua_touserdata(L, 1);
	struct gwl_answering *now = job->arg;
	struct lrequest *r;

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, now->ref);
	r = push_request(L, now);
	lua_pushvalue(L, -1);
	lua_insert(L, 1);  /* 1: not collected meanwhile */
	lua_call(L, 1, 3); /* 2, 3, 4 */
	if (now->settled)
		return 0;
	if (lua_type(L, 2) == LUA_TSTRING)
		give_error(L, r, 2);
	else if (lua_toboolean(L, 2))
		give_result(L, r, 2);
	return 0;
}

static int
raise_request_place(lua_State *L)
{
	struct gwl_job *job = lua_touserdata(L, 1);
	const struct gwl_answering *now = job->arg;
	lua_Debug ar;

	lua_rawgeti(L, LUA_REGISTRYINDEX, now->ref);
	lua_getinfo(L, ">S", &ar);
	return luaL_error(L, "%s:%d", ar.short_src, ar.linedefined);
}

int
gw_scripts_iq(struct xmpp_iq *iq, unsigned id)
{
	struct gwl_state *st = gw_worker_of(iq->env)->lua;
	struct gwl_call call = { .hook = GH_REQUEST, .env = iq->env, .sess = iq->sess };
	struct gwl_answering now = { .iq = iq };
	struct gwl_job job = { st, &call, 0, "register_iq", do_request, raise_request_place, &now };
	struct td_err err = { 0 };
	int rc;

	if (st == NULL || id >= st->n_iqs)
		return XMPP_PASS;
	if (st->call != NULL) { /* a callout's own stanza came back to us at once */
		xmpp_iq_error(iq, XE_RESOURCE_CONSTRAINT, "The scripts are busy.");
		return XMPP_DONE;
	}
	now.no = ++st->request_no;
	now.ref = st->iqs[id].ref;
	job.script = st->iqs[id].script;
	xmpp_stanza_seal(iq->s);
	st->answering = &now;
	rc = gwl_run(&job, &err);
	st->answering = NULL;
	if (now.settled)
		return XMPP_DONE;
	if (rc == 0)
		return XMPP_PASS;
	xmpp_iq_error(iq, XE_INTERNAL_SERVER_ERROR, "The script failed.");
	return XMPP_DONE;
}

/* ---- requests of scripts ---- */

/* From tandem.request until its function was called.  Freed by whoever has it: the post, the
 * request under way. */
struct gwl_ask {
	LIST_ENTRY(gwl_ask) link;
	struct gwl_state *st; /* NULL: its scripts are gone */
	struct gw_worker *w;
	unsigned script, ms;
	int ref;               /* of its function */
	struct xmpp_stanza *s; /* the request, then its answer; NULL = none came */
};

void
gwl_asks_end(struct gwl_state *st)
{
	struct gwl_ask *a;

	while ((a = LIST_FIRST(&st->asks)) != NULL) {
		LIST_REMOVE(a, link);
		a->st = NULL;
	}
	st->n_asks = 0;
}

static int
do_answer(lua_State *L)
{
	struct gwl_job *job = lua_touserdata(L, 1);
	struct gwl_ask *a = job->arg;

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, a->ref);
	luaL_unref(L, LUA_REGISTRYINDEX, a->ref);
	if (a->s != NULL) {
		xmpp_stanza_seal(a->s);
		gwl_push_view(L, a->s);
		lua_call(L, 1, 0);
	} else {
		lua_pushnil(L);
		lua_pushliteral(L, "timeout");
		lua_call(L, 2, 0);
	}
	return 0;
}

/* Call the function; <a> ends. */
static void
finish(struct gwl_ask *a)
{
	struct gwl_call call = { .hook = GH_ANSWER, .env = a->w->env };
	struct gwl_job job = { a->st, &call, a->script, "request", do_answer, NULL, a };
	struct td_err err = { 0 };

	if (a->st != NULL) {
		LIST_REMOVE(a, link);
		a->st->n_asks--;
		(void)gwl_run(&job, &err);
	}
	xmpp_stanza_unref(&a->s);
	free(a);
}

static void
finish_soon(struct gw_worker *w, void *arg)
{
	(void)w;
	finish(arg);
}

static void
on_answer(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg)
{
	struct gwl_ask *a = arg;

	(void)env;
	if (answer != NULL)
		a->s = xmpp_stanza_ref((struct xmpp_stanza *)(uintptr_t)answer);
	if (a->st != NULL && a->st->call != NULL) /* in the middle of a callout */
		gw_worker_post(a->w, finish_soon, a);
	else
		finish(a);
}

static void
do_ask(struct gw_worker *w, void *arg)
{
	struct gwl_ask *a = arg;
	struct xmpp_stanza *s = a->s;

	a->s = NULL;
	if (a->st == NULL || w->env == NULL) {
		xmpp_stanza_unref(&s);
		free(a);
		return;
	}
	xmpp_request(w->env, s, a->ms, on_answer, a);
}

/* NULL, or why <s> is no request that can be made here. */
static const char *
why_no_request(struct gwl_state *st, const struct xmpp_stanza *s)
{
	const char *why = gwl_why_not(st, s);

	if (why != NULL)
		return why;
	if (s->kind != XK_IQ || (s->type != XT_GET && s->type != XT_SET) ||
	    xmpp_stanza_payload(s) == NULL)
		return "no iq get or set";
	if (s->from.resource.p != NULL)
		return "from has a resource";
	if (s->from.local.p != NULL &&
	    xmpp_owner(st->worker->env, s->from.bare) != st->worker->index)
		return "from belongs to another worker: ask in a callout of that address";
	return NULL;
}

/* request(node, function [, seconds]) -> true, or false, error */
static int
q_request(lua_State *L)
{
	struct gwl_state *st = gwl_state_of(L);
	struct xmpp_node *n = gwl_check_node(L, 1);
	lua_Integer seconds = check_seconds(L, 3);
	struct xmpp_stanza *s;
	struct td_arena *arena;
	struct gwl_ask *a;
	const char *why;
	int ref;

	luaL_argcheck(L, n->name != NULL, 1, "a text node");
	luaL_checktype(L, 2, LUA_TFUNCTION);
	if (st->worker == NULL || st->call == NULL)
		return luaL_error(L, "requests are made in callouts of chat");
	if (st->n_asks >= ASKS_MAX)
		return luaL_error(L, "%d requests wait already", (int)ASKS_MAX);
	tlua_charge(L, 1000);
	lua_pushvalue(L, 2);
	ref = luaL_ref(L, LUA_REGISTRYINDEX);
	arena = td_arena_new(2048); /* nothing raises while it is ours */
	n = xmpp_node_copy(arena, n);
	gwl_default_ns(n);
	(void)xmpp_stanza_from_node(arena, n, &s, NULL);
	why = why_no_request(st, s);
	if (why != NULL) {
		xmpp_stanza_unref(&s);
		luaL_unref(L, LUA_REGISTRYINDEX, ref);
		lua_pushboolean(L, 0);
		lua_pushstring(L, why);
		return 2;
	}
	a = td_zalloc(sizeof(*a));
	*a = (struct gwl_ask){ .st = st,
			       .w = st->worker,
			       .script = st->script_now,
			       .ms = (unsigned)seconds * 1000,
			       .ref = ref,
			       .s = s };
	LIST_INSERT_HEAD(&st->asks, a, link);
	st->n_asks++;
	gw_worker_post(st->worker, do_ask, a);
	lua_pushboolean(L, 1);
	return 1;
}

void
gwl_open_iq(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "register_iq", q_register_iq },
		{ "register_feature", q_register_feature },
		{ "register_identity", q_register_identity },
		{ "request", q_request },
		{ NULL, NULL },
	};
	static const luaL_Reg methods[] = {
		{ "result", r_result },
		{ "error", r_error },
		{ "later", r_later },
		{ NULL, NULL },
	};

	luaL_setfuncs(L, fns, 0);
	luaL_newmetatable(L, request_mt);
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_pushcclosure(L, r_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, request_gc);
	lua_setfield(L, -2, "__gc");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}
