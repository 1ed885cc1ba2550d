/* scripts - sets of scriptlets, their Lua states, and switching to new ones.
 *
 * A set is built whole before anything changes: one state for the pool (which proves that every
 * script loads) and one per worker.  Sources are read once (struct tlua_bundle), so a state the
 * pool makes later runs the same text.  Old states go when the last callback is through. */
#include "gateway/scripts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/lua_priv.h"

#define IDLE_MAX 16 /* warm states kept for milter threads */

static const struct td_logctx slog = { .domain = "lua" };

/* ---- logging for scripts ---- */

static void
on_script_log(void *user, const char *script, int level, const char *event, struct td_str text)
{
	(void)user;
	/* long lines in pieces: td_esc cuts */
	do {
		struct td_str part = td_str(text.p, td_utf8_cut(text, 190));

		if (part.len == 0 && text.len > 0)
			part.len = text.len < 190 ? text.len : 190;
		TD_LOG_(&slog, (enum td_loglevel)level, event, "script=%s text=%s", td_escz(script),
			td_esc(part));
		text.p += part.len;
		text.len -= part.len;
	} while (text.len > 0);
}

static int
on_config_get(void *user, struct td_str path, struct td_str option, struct td_buf *out,
	      struct td_err *err)
{
	struct gwl_state *st = user;

	return conf_cmd_eval(st->set->conf, path, option, out, err);
}

/* ---- sets ---- */

static struct tlua_stats *
counters_for(struct gw_scripts *all, struct td_str name)
{
	struct gwl_counters *c;

	pthread_mutex_lock(&all->lock);
	for (c = all->counters; c != NULL; c = c->next)
		if (td_str_eqc(name, c->name))
			break;
	if (c == NULL) {
		c = td_zalloc(sizeof(*c) + name.len + 1);
		memcpy(c->name, name.p, name.len);
		c->next = all->counters;
		all->counters = c;
	}
	pthread_mutex_unlock(&all->lock);
	return &c->stats;
}

static const char *
folder_of(const char *path, char *out, size_t cap)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;

	if (slash == NULL)
		snprintf(out, cap, ".");
	else
		snprintf(out, cap, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return out;
}

/* The search path: the config file's folder, then script_path.  <dirs> are heap strings. */
static char **
search_path(const struct conf *c, const struct conf_scope *scriptlet)
{
	struct conf_at at = { .scope = scriptlet };
	size_t n = 0;
	const struct td_str *list = conf_list(c, &at, "script_path", &n);
	char **dirs = td_zalloc((n + 2) * sizeof(*dirs));
	char base[PATH_MAX], dir[PATH_MAX];

	dirs[0] = td_strdup(folder_of(conf_path(c), base, sizeof(base)));
	for (size_t i = 0; i < n; i++) {
		if (list[i].len > 0 && list[i].p[0] == '/')
			snprintf(dir, sizeof(dir), "%.*s", TD_STR_ARG(list[i]));
		else if (snprintf(dir, sizeof(dir), "%s/%.*s", dirs[0], TD_STR_ARG(list[i])) < 0)
			continue;
		dirs[i + 1] = td_strdup(dir);
	}
	return dirs;
}

static void
free_list(char **list)
{
	for (size_t i = 0; list[i] != NULL; i++)
		free(list[i]);
	free(list);
}

static char *
dupz(struct td_str s)
{
	return s.len > 0 ? td_strndup(s) : NULL;
}

/* The domain of service "gateway" (mail addresses as JIDs), or NULL. */
static char *
find_gateway_domain(struct conf *c, const struct gw_domains *d)
{
	struct conf_at mail = { .scope = conf_next(c, NULL, "mail", NULL) };
	const struct conf_scope *s = NULL;
	struct gw_domain dom;

	if (mail.scope != NULL && conf_str(c, &mail, "gateway_domain").len > 0)
		return dupz(conf_str(c, &mail, "gateway_domain"));
	while ((s = conf_next(c, NULL, "domain", s)) != NULL) {
		struct td_str name = conf_scope_name(s);

		if (td_str_starts(name, "#xmpp#"))
			name = td_str(name.p + 6, name.len - 6);
		if (!conf_scope_is_regex(s) && gw_domains_find(d, name, &dom) &&
		    strcmp(dom.service, "gateway") == 0)
			return dupz(name);
	}
	return NULL;
}

static void
add_script(struct gwl_set *set, const struct conf_scope *scope)
{
	struct conf_at at = { .scope = scope };
	struct gwl_script *sc;

	set->scripts = td_realloc(set->scripts, (set->n_scripts + 1) * sizeof(*set->scripts));
	sc = &set->scripts[set->n_scripts++];
	*sc = (struct gwl_script){
		.name = conf_scope_name(scope).p,
		.source = conf_str(set->conf, &at, "source").p,
		.scope = scope,
		.stats = counters_for(set->gw->scripts, conf_scope_name(scope)),
		.instructions = (uint64_t)conf_int(set->conf, &at, "lua_instructions"),
		.time_ms = (unsigned)conf_int(set->conf, &at, "lua_time_ms"),
		.compat = conf_bool(set->conf, &at, "lua_compat"),
		.accept =
			td_str_ieq(conf_str(set->conf, &at, "lua_error_action"), TD_STR("accept")),
	};
}

static struct gwl_set *
set_new(struct gw *gw, struct conf *c)
{
	struct gwl_set *set = td_zalloc(sizeof(*set));
	const struct conf_scope *let = NULL, *first = NULL, *s;
	char **dirs;

	set->refs = 1;
	set->gw = gw;
	set->conf = conf_ref(c);
	set->domains = gw_domains_build(c);
	set->hostname = td_strdup(gw->hostname != NULL ? gw->hostname : "localhost");
	set->additions.generation = conf_generation(c);
	set->gateway_domain = find_gateway_domain(c, set->domains);
	pthread_mutex_init(&set->lock, NULL);
	while ((let = conf_next(c, NULL, "scriptlet", let)) != NULL) {
		struct conf_at at = { .scope = let };

		first = first != NULL ? first : let;
		if (!conf_bool(c, &at, "enabled"))
			continue;
		for (s = NULL; (s = conf_next(c, let, "script", s)) != NULL;) {
			at.scope = s;
			if (conf_bool(c, &at, "enabled"))
				add_script(set, s);
		}
	}
	dirs = search_path(c, first);
	set->bundle = tlua_bundle_new((const char *const *)dirs, NULL);
	free_list(dirs);
	return set;
}

struct gwl_set *
gwl_set_ref(struct gwl_set *s)
{
	s->refs++;
	return s;
}

static void state_free(struct gwl_state *st);

void
gwl_set_unref(struct gwl_set **sp)
{
	struct gwl_set *s = *sp;
	struct gwl_state *st;

	*sp = NULL;
	if (s == NULL || --s->refs > 0)
		return;
	while ((st = s->idle) != NULL) {
		s->idle = st->next;
		state_free(st);
	}
	pthread_mutex_destroy(&s->lock);
	tlua_bundle_unref(&s->bundle);
	gw_domains_unref(&s->domains);
	conf_unref(&s->conf);
	gwl_additions_fini(s);
	free(s->gateway_domain);
	free(s->hostname);
	free(s->scripts);
	free(s);
}

struct gwl_set *
gwl_current(struct gw_scripts *all)
{
	struct gwl_set *set;

	pthread_mutex_lock(&all->lock);
	set = gwl_set_ref(all->set);
	pthread_mutex_unlock(&all->lock);
	return set;
}

/* ---- states ---- */

static int
open_bindings(lua_State *L)
{
	tlua_preload(L, "xml", gwl_open_xml);
	tlua_preload(L, "tandem.core", gwl_open_core);
	/* msys and tandem are there without require, the constants too (momentum.md 6.2) */
	tlua_require(L, "tandem");
	lua_setglobal(L, "tandem");
	tlua_require(L, "msys.prelude");
	lua_pop(L, 1);
	return 0;
}

/* script.options[name], as written: text, a list, or a dictionary. */
static int
push_options(lua_State *L)
{
	struct gwl_state *st = gwl_state_of(L);
	const struct gwl_script *sc = lua_touserdata(L, 1);
	struct td_str name;
	enum conf_type shape;
	const struct td_str *items;
	size_t pos = 0, n;

	/* 2: the script's globals */
	tlua_require(L, "tandem.script");
	lua_newtable(L); /* 4 */
	while (conf_each_option(sc->scope, &pos, &name, &shape, &items, &n)) {
		tlua_pushstr(L, name);
		if (shape == CT_LIST || shape == CT_DICT) {
			lua_newtable(L);
			for (size_t i = 0; i < n; i++) {
				if (shape == CT_DICT) {
					tlua_pushstr(L, items[i++]);
					tlua_pushstr(L, i < n ? items[i] : TD_STR(""));
					lua_rawset(L, -3);
				} else {
					tlua_pushstr(L, items[i]);
					lua_rawseti(L, -2, (lua_Integer)i + 1);
				}
			}
		} else {
			tlua_pushstr(L, n > 0 ? items[0] : TD_STR(""));
		}
		lua_rawset(L, 4);
	}
	lua_pushvalue(L, 3);
	lua_pushstring(L, sc->name);
	lua_pushvalue(L, 4);
	lua_call(L, 2, 1);
	lua_setfield(L, 2, "script");
	(void)st;
	return 0;
}

/* Call tbl[name]() of module <arg>; init and deinit. */
struct life {
	struct gwl_state *st;
	struct gwl_module *m;
	const char *name;
};

static int
call_life(lua_State *L)
{
	struct life *f = lua_touserdata(L, 1);
	lua_Debug ar;

	lua_rawgeti(L, LUA_REGISTRYINDEX, f->m->ref);
	if (lua_getfield(L, -1, f->name) != LUA_TFUNCTION)
		return 0;
	lua_pushvalue(L, -1);
	lua_pushvalue(L, -3);
	lua_call(L, 1, 1);
	if (lua_toboolean(L, -1))
		return 0;
	lua_pop(L, 1);
	lua_getinfo(L, ">S", &ar);
	return luaL_error(L, "%s:%d: %s() of module %s did not return true", ar.short_src,
			  ar.linedefined, f->name, f->m->name);
}

static int
run_life(struct gwl_state *st, struct gwl_module *m, const char *name, struct td_err *err)
{
	struct gwl_script *sc = &st->set->scripts[m->script];
	struct life f = { st, m, name };

	tlua_set_script(st->t, sc->name);
	tlua_set_compat(st->t, sc->compat);
	return tlua_run(st->t, sc->stats, call_life, &f, err);
}

static void
state_free(struct gwl_state *st)
{
	struct td_err err = { 0 };

	if (st == NULL)
		return;
	for (size_t i = 0; st->t != NULL && i < st->n_modules; i++)
		if (run_life(st, &st->modules[i], "deinit", &err) < 0)
			td_log_warn(&slog, "script-deinit", "module=%s text=%s, ignoring",
				    td_escz(st->modules[i].name), td_escz(err.text));
	gwl_asks_end(st);
	tlua_free(st->t); /* which answers requests that were left for later */
	free(st->iqs);
	for (size_t i = 0; i < st->n_modules; i++)
		free(st->modules[i].name);
	free(st->modules);
	free(st);
}

static int
load_all(struct gwl_state *st, struct td_err *err)
{
	struct gwl_set *set = st->set;

	for (size_t i = 0; i < set->n_scripts; i++) {
		struct gwl_script *sc = &set->scripts[i];
		int rc;

		st->loading = (unsigned)i + 1;
		tlua_set_compat(st->t, sc->compat);
		rc = tlua_load_script(st->t, sc->name, sc->source, sc->stats, push_options, sc,
				      err);
		st->loading = 0;
		if (rc < 0)
			return td_wrap(err, "script %s", sc->name);
	}
	if (set->known && st->n_iqs != set->additions.n_iqs)
		return td_fail(err, TD_E_SCRIPT, "scripts must register the same each time");
	for (size_t i = 0; i < st->n_modules; i++)
		if (run_life(st, &st->modules[i], "init", err) < 0)
			return td_wrap(err, "script %s", set->scripts[st->modules[i].script].name);
	return 0;
}

static struct gwl_state *
state_new(struct gwl_set *set, struct td_err *err)
{
	const struct conf_scope *let = conf_next(set->conf, NULL, "scriptlet", NULL);
	struct conf_at at = { .scope = let };
	struct gwl_state *st = td_zalloc(sizeof(*st));
	char **dirs = search_path(set->conf, let);
	struct tlua_conf c = {
		.limits = { .memory = (size_t)conf_int(set->conf, &at, "lua_memory"),
			    .instructions = (uint64_t)conf_int(set->conf, &at, "lua_instructions"),
			    .time_ms = (unsigned)conf_int(set->conf, &at, "lua_time_ms") },
		.bundle = set->bundle,
		.unsafe = conf_bool(set->conf, &at, "lua_unsafe"),
		.user = st,
		.open = open_bindings,
		.log = on_script_log,
		.config_get = on_config_get,
		/* not beside the config file: keys and secrets lie there */
		.read_dirs = (const char *const *)dirs + 1,
	};

	if (let != NULL) {
		c.gc_pause = (int)conf_int(set->conf, &at, "gc_pause");
		c.gc_stepmul = (int)conf_int(set->conf, &at, "gc_stepmul");
	}
	for (size_t i = 0; i < set->n_scripts; i++)
		c.compat = c.compat || set->scripts[i].compat;
	st->set = set;
	LIST_INIT(&st->asks);
	st->t = tlua_new(&c, err);
	free_list(dirs);
	if (st->t == NULL || load_all(st, err) < 0) {
		state_free(st);
		return NULL;
	}
	return st;
}

struct gwl_state *
gwl_state_get(struct gwl_set *set, struct td_err *err)
{
	struct gwl_state *st;

	pthread_mutex_lock(&set->lock);
	st = set->idle;
	if (st != NULL) {
		set->idle = st->next;
		set->n_idle--;
	}
	pthread_mutex_unlock(&set->lock);
	return st != NULL ? st : state_new(set, err);
}

void
gwl_state_put(struct gwl_state *st)
{
	struct gwl_set *set = st->set;

	pthread_mutex_lock(&set->lock);
	if (set->n_idle < IDLE_MAX) {
		st->next = set->idle;
		set->idle = st;
		set->n_idle++;
		st = NULL;
	}
	pthread_mutex_unlock(&set->lock);
	state_free(st);
}

/* What is registered, over all modules; complain about scripts that do nothing. */
static void
take_stock(struct gwl_set *set, const struct gwl_state *st)
{
	for (size_t i = 0; i < st->n_modules; i++)
		set->hooks |= st->modules[i].hooks;
	set->known = true;
	for (size_t i = 0; i < set->n_scripts; i++) {
		const struct gwl_script *sc = &set->scripts[i];
		/* product helpers of old configurations have nothing to register */
		bool any = strncmp(sc->source, "msys", 4) == 0;

		for (size_t k = 0; k < st->n_modules; k++)
			any = any || st->modules[k].script == i;
		any = any || sc->adds;
		if (!any)
			td_log_warn(&slog, "script-idle", "script=%s text=%s, ignoring",
				    td_escz(sc->name), td_escz("it registers no module"));
	}
}

/* ---- switching ---- */

static uint32_t
xmpp_mask(struct gw_scripts *all, const struct gwl_set *set)
{
	uint32_t mask = 0;

	for (int h = 0; h < XH_COUNT; h++)
		if (set->hooks & (UINT64_C(1) << (GH_CLIENT_MESSAGE + h)))
			mask |= 1u << h;
	/* sessions may carry data of scripts that is freed at their end */
	all->hooked = all->hooked || mask != 0;
	return all->hooked ? mask | (1u << XH_SESSION_END) : 0;
}

struct switching {
	struct gwl_state *st;
	struct gwl_set *set; /* a reference */
	uint32_t mask;
};

/* A worker's state is freed with its reference to the set, on the worker. */
static void
drop_worker_state(struct gw_worker *w)
{
	struct gwl_state *st = w->lua;
	struct gwl_set *set;

	w->lua = NULL;
	if (w->env != NULL)
		w->env->additions = NULL;
	if (st == NULL)
		return;
	set = st->set;
	state_free(st);
	gwl_set_unref(&set);
}

static void
switch_worker(struct gw_worker *w, void *arg)
{
	struct switching *sw = arg;

	drop_worker_state(w);
	w->lua = sw->st;
	if (sw->st != NULL)
		sw->st->worker = w;
	if (w->env != NULL) {
		w->env->hooks = sw->mask;
		w->env->additions = sw->st != NULL ? &sw->st->set->additions : NULL;
	}
	free(sw);
}

/* Has it anything for the workers? */
static bool
is_for_chat(const struct gwl_set *set)
{
	return (set->hooks >> GH_CLIENT_MESSAGE) != 0 || set->additions.n_iqs > 0 ||
	       set->additions.n_features > 0 || set->additions.n_identities > 0;
}

/* Build a set and <n> worker states in <out> (NULL where no script has anything for chat). */
static struct gwl_set *
prepare(struct gw *gw, struct conf *c, struct switching **out, struct td_err *err)
{
	struct gwl_set *set = set_new(gw, c);
	struct gwl_state *st = state_new(set, err);
	uint32_t mask;

	if (st == NULL)
		goto fail;
	take_stock(set, st);
	gwl_state_put(st);
	mask = xmpp_mask(gw->scripts, set);
	for (unsigned i = 0; i < gw->n_workers; i++) {
		out[i] = td_zalloc(sizeof(**out));
		out[i]->mask = mask;
		if (!is_for_chat(set))
			continue;
		out[i]->st = state_new(set, err);
		if (out[i]->st == NULL)
			goto fail;
		gwl_set_ref(set);
	}
	return set;
fail:
	for (unsigned i = 0; i < gw->n_workers; i++) {
		struct gwl_set *theirs = set;

		if (out[i] != NULL && out[i]->st != NULL) {
			state_free(out[i]->st);
			gwl_set_unref(&theirs);
		}
		free(out[i]);
	}
	gwl_set_unref(&set);
	return NULL;
}

int
gw_scripts_start(struct gw *gw, struct td_err *err)
{
	struct gw_scripts *all = td_zalloc(sizeof(*all));
	struct switching *sw[GW_MAX_WORKERS] = { NULL };
	struct conf *c = gw_conf_get(gw);

	milt_mime_init();
	pthread_mutex_init(&all->lock, NULL);
	all->gw = gw;
	all->policy = gwl_policy;
	all->policy.arg = all;
	gw->scripts = all;
	all->set = prepare(gw, c, sw, err);
	conf_unref(&c);
	if (all->set == NULL) {
		gw_scripts_stop(gw);
		return TD_E_SCRIPT;
	}
	for (unsigned i = 0; i < gw->n_workers; i++)
		switch_worker(gw->workers[i], sw[i]);
	td_log_info(&slog, "scripts", "n=%zu generation=%llu", all->set->n_scripts,
		    (unsigned long long)conf_generation(all->set->conf));
	return 0;
}

int
gw_scripts_reload(struct gw *gw, struct conf *next, struct td_err *err)
{
	struct gw_scripts *all = gw->scripts;
	struct switching *sw[GW_MAX_WORKERS] = { NULL };
	struct gwl_set *set = prepare(gw, next, sw, err), *old;

	if (set == NULL)
		return TD_E_SCRIPT;
	pthread_mutex_lock(&all->lock);
	old = all->set;
	all->set = set;
	pthread_mutex_unlock(&all->lock);
	gwl_set_unref(&old);
	for (unsigned i = 0; i < gw->n_workers; i++)
		gw_worker_post(gw->workers[i], switch_worker, sw[i]);
	td_log_info(&slog, "scripts", "n=%zu generation=%llu", set->n_scripts,
		    (unsigned long long)conf_generation(set->conf));
	return 0;
}

void
gw_scripts_stop(struct gw *gw)
{
	struct gw_scripts *all = gw->scripts;
	struct gwl_counters *c;
	struct gwl_set *set;

	if (all == NULL)
		return;
	for (unsigned i = 0; i < gw->n_workers; i++)
		if (gw->workers[i] != NULL)
			drop_worker_state(gw->workers[i]);
	gw->scripts = NULL;
	/* an MTA's idle session may still close while the process ends: it needs its policy */
	if (milt_session_each(NULL, NULL) > 0)
		return;
	pthread_mutex_lock(&all->lock); /* behind the last look of a libmilter thread */
	set = all->set;
	all->set = NULL;
	pthread_mutex_unlock(&all->lock);
	gwl_set_unref(&set);
	while ((c = all->counters) != NULL) {
		all->counters = c->next;
		free(c);
	}
	pthread_mutex_destroy(&all->lock);
	free(all);
}

/* ---- for others ---- */

const struct milt_policy *
gw_scripts_policy(struct gw *gw)
{
	return &gw->scripts->policy;
}

void
gw_scripts_each(struct gw *gw, void (*cb)(void *arg, const struct gw_script_info *i), void *arg)
{
	struct gwl_set *set = gwl_current(gw->scripts);

	for (size_t i = 0; i < set->n_scripts; i++) {
		const struct gwl_script *sc = &set->scripts[i];
		struct gw_script_info info = { sc->name, sc->source, sc->stats->runs,
					       sc->stats->faults, sc->stats->overruns };

		cb(arg, &info);
	}
	gwl_set_unref(&set);
}
