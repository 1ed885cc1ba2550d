/* lua_core - registering modules, calling their callouts, and require "tandem.core".
 *
 * tandem.core is the bottom that lua/tandem and lua/msys stand on; scripts use those. */
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"
#include "gateway/scripts.h"
#include "gateway/smtp_reply.h"

#define FAULT_AGAIN_MS 60000u

static const struct td_logctx core_log = { .domain = "lua" };

/* Arguments: a ac, v vctx, s text of the phase, m message, l list of recipients, u auth info,
 * p "pass", c scope, b writable string, n now, x session, t stanza, A account, j an address,
 * k its subscription before, K after, q a count, y available, f first, i facts of a stream.
 * self: a table kept for the session (mail), or the module itself (chat). */
static const struct {
	const char *name, *args;
} hooks[GH_COUNT] = {
	[GH_CONNECT] = { "validate_connect", "av" },
	[GH_EHLO] = { "validate_ehlo", "sav" },
	[GH_AUTH] = { "core_validate_auth", "vup" },
	[GH_AUTH_HOOK] = { "core_validate_auth_hook", "vup" },
	[GH_MAILFROM] = { "validate_mailfrom", "sav" },
	[GH_RCPTTO] = { "validate_rcptto", "msav" },
	[GH_RCPT_LIST] = { "validate_rcptto_list", "lv" },
	[GH_RCPT_LIST_FINAL] = { "validate_rcptto_list_final", "lv" },
	[GH_DATA] = { "validate_data", "mav" },
	[GH_SPOOL] = { "validate_data_spool", "mav" },
	[GH_EACH_RCPT] = { "validate_data_spool_each_rcpt", "mav" },
	[GH_CORE_EACH_RCPT] = { "core_validate_data_spool_each_rcpt", "mav" },
	[GH_POST_EACH_RCPT] = { "core_post_validate_data_spool_each_rcpt_v1", "mav" },
	[GH_SET_BINDING] = { "validate_set_binding", "m" },
	[GH_FINAL] = { "core_final_validation", "mav" },
	[GH_FINAL2] = { "core_final_validation2", "mav" },
	[GH_POST_FINAL] = { "core_post_final_validation", "mav" },
	[GH_ROUTING_DOMAIN] = { "core_config_get_message_routing_domain", "cmb" },
	[GH_ENQUEUE] = { "core_ec_message_enqueue", "mn" },
	[GH_DEALLOC] = { "validate_dealloc", "" },
	[GH_CLIENT_MESSAGE] = { "client_message_recv", "xt" },
	[GH_CLIENT_PRESENCE] = { "client_presence_recv", "xt" },
	[GH_CLIENT_IQ] = { "client_iq_recv", "xt" },
	[GH_BEFORE_SEND] = { "before_stanza_send", "xt" },
	[GH_SESSION_START] = { "session_start", "x" },
	[GH_SESSION_END] = { "session_end", "x" },
	[GH_SERVER_MESSAGE] = { "server_message_recv", "xt" },
	[GH_SERVER_PRESENCE] = { "server_presence_recv", "xt" },
	[GH_SERVER_IQ] = { "server_iq_recv", "xt" },
	[GH_ARRIVED] = { "stanza_arrived", "At" },
	[GH_DELIVERED] = { "message_delivered", "Atq" },
	[GH_PRESENCE] = { "presence_changed", "xtyf" },
	[GH_SUBSCRIPTION] = { "subscription_changed", "AjkK" },
	[GH_SIGN_IN] = { "sign_in", "i" },
	[GH_STREAM_OPEN] = { "stream_open", "i" },
	[GH_ACCOUNT_REMOVED] = { "account_removed", "j" },
};

/* Names that exist in Momentum and are called by nobody here: worth a word in the log. */
static const char *const never[] = {
	"validate_accept",
	"core_ec_message_mcmt_pre_fixup",
	"core_ec_message_mcmt_fixup",
	"core_log_reception_v1",
	"core_log_rejection",
	"core_log_error",
	"core_log_reopen",
	"core_aaa_log",
	"core_control_pre_command",
	"core_control_post_command",
};

const char *
gwl_hook_name(enum gwl_hook h)
{
	return (unsigned)h < GH_COUNT ? hooks[h].name : "?";
}

/* ---- what a module keeps for the session of an MTA ---- */

struct gwl_kept *
gwl_kept_get(struct gwl_conn *gc, const char *name, bool make)
{
	struct gwl_kept *k = gc->kept.len > 0 ? td_map_find(&gc->kept, td_cstr(name)) : NULL;

	if (k == NULL && make) {
		k = td_zalloc(sizeof(*k) + strlen(name) + 1);
		memcpy(k->name, name, strlen(name));
		td_map_set(&gc->kept, td_cstr(k->name), k);
	}
	return k;
}

void
gwl_conn_free(struct gwl_conn *gc)
{
	struct gwl_kept *k;
	size_t i = 0;

	if (gc == NULL)
		return;
	while ((k = td_map_next(&gc->kept, &i)) != NULL) {
		td_buf_fini(&k->data);
		free(k);
	}
	td_map_fini(&gc->kept);
	td_buf_fini(&gc->frozen);
	free(gc);
}

/* Push the table kept under <name>, empty when there is none. */
static void
push_kept(lua_State *L, struct gwl_conn *gc, const char *name)
{
	struct gwl_kept *k = gc != NULL ? gwl_kept_get(gc, name, false) : NULL;

	if (k != NULL && k->data.len > 0)
		tlua_thaw(L, td_buf_str(&k->data));
	else
		lua_newtable(L);
}

/* Keep table <i>; nothing is stored for one that is empty and was. */
static void
keep(lua_State *L, int i, struct gwl_conn *gc, const char *name)
{
	struct gwl_kept *k;
	struct td_buf now;
	bool empty;

	if (gc == NULL || !lua_istable(L, i))
		return;
	lua_pushnil(L);
	empty = lua_next(L, i) == 0;
	lua_settop(L, lua_gettop(L) - (empty ? 0 : 2));
	k = gwl_kept_get(gc, name, !empty);
	if (k == NULL)
		return;
	td_buf_clear(&gc->frozen); /* it may raise: what was kept stays then */
	if (!empty)
		tlua_freeze(L, i, &gc->frozen);
	now = k->data;
	k->data = gc->frozen;
	gc->frozen = now;
}

/* ---- calling ---- */

static void
push_list(lua_State *L, struct milt_mail *m)
{
	struct milt_rcpt *r;
	lua_Integer n = 0;
	size_t i = 0;

	lua_newtable(L);
	while (m != NULL && (r = milt_mail_rcpt(m, &i)) != NULL) {
		tlua_pushstr(L, r->addr.full);
		lua_rawseti(L, -2, ++n);
	}
}

static void
push_auth(lua_State *L, struct milt_mail *m)
{
	lua_newtable(L);
	tlua_pushstr(L, milt_mail_macro(m, MM_AUTH_AUTHEN));
	lua_setfield(L, -2, "user");
	tlua_pushstr(L, milt_mail_macro(m, MM_AUTH_TYPE));
	lua_setfield(L, -2, "scheme");
}

/* The phase's text: what EHLO, MAIL or RCPT said. */
static void
push_text(lua_State *L, const struct gwl_call *call)
{
	struct td_str s = TD_STR("");

	if (call->hook == GH_EHLO && call->conn != NULL)
		s = call->conn->helo;
	else if (call->hook == GH_MAILFROM)
		s = call->mail->from.full;
	else if (call->rcpt != NULL)
		s = call->rcpt->addr.full;
	tlua_pushstr(L, s.p != NULL ? s : TD_STR(""));
}

static void
push_arg(lua_State *L, const struct gwl_call *call, char what)
{
	switch (what) {
	case 'a': gwl_push_ac(L); break;
	case 'v': gwl_push_vctx(L); break;
	case 's': push_text(L, call); break;
	case 'm': gwl_push_msg(L, call->mail, call->rcpt); break;
	case 'l': push_list(L, call->mail); break;
	case 'u': push_auth(L, call->mail); break;
	case 'p': lua_pushliteral(L, "pass"); break;
	case 'n': lua_pushinteger(L, (lua_Integer)(td_wall_ms() / 1000)); break;
	case 'x': gwl_push_session(L, call->sess); break;
	case 't': gwl_push_stanza(L, call->stanza); break;
	case 'A': gwl_push_account(L, call->hc->user); break;
	case 'j': gwl_push_jid(L, call->hc->jid); break;
	case 'k': lua_pushstring(L, store_sub_names[(call->hc->before) & 3]); break;
	case 'K': lua_pushstring(L, store_sub_names[(call->hc->after) & 3]); break;
	case 'q': lua_pushinteger(L, (lua_Integer)call->hc->count); break;
	case 'y': lua_pushboolean(L, call->hc->available); break;
	case 'f': lua_pushboolean(L, call->hc->first); break;
	case 'i': gwl_push_info(L, call->hc); break;
	case 'b':
		tlua_require(L, "msys.string");
		lua_call(L, 0, 1);
		break;
	default: lua_newtable(L);
	}
}

/* A routing domain hook says yes by a non-zero result; the name is in its buffer. */
static void
take_routing_domain(lua_State *L, struct gwl_call *call, int buf)
{
	struct gwl_rcpt *gr = call->rcpt != NULL ? call->rcpt->user : NULL;
	struct td_str s;

	s.p = luaL_tolstring(L, buf, &s.len);
	if (gr != NULL && call->result != 0 && s.len > 0 && s.len <= 255)
		gr->routing_domain = td_arena_str(call->mail->arena, s);
}

static int
do_invoke(lua_State *L)
{
	struct gwl_job *job = lua_touserdata(L, 1);
	const struct gwl_module *m = job->arg;
	struct gwl_call *call = job->call;
	struct gwl_conn *gc = call->conn != NULL ? call->conn->user : NULL;
	const char *args = hooks[call->hook].args;
	int n = (int)strlen(args);

	lua_settop(L, 0);
	lua_rawgeti(L, LUA_REGISTRYINDEX, m->ref); /* 1 */
	if (gc != NULL) {
		push_kept(L, gc, m->name); /* 2: self, its methods are the module's */
		lua_newtable(L);
		lua_pushvalue(L, 1);
		lua_setfield(L, -2, "__index");
		lua_setmetatable(L, 2);
		push_kept(L, gc, "_TLS"); /* 3 */
		lua_pushvalue(L, 3);
		lua_setglobal(L, "_TLS");
	} else {
		lua_pushvalue(L, 1);
		lua_newtable(L);
	}
	lua_getfield(L, 1, hooks[call->hook].name); /* 4 */
	lua_pushvalue(L, -1);
	lua_pushvalue(L, 2);
	for (int i = 0; i < n; i++)
		push_arg(L, call, args[i]);
	if (call->hook == GH_ROUTING_DOMAIN) {
		lua_pushvalue(L, -1);
		lua_insert(L, 5); /* the buffer stays at 5 */
	}
	if (call->hc != NULL) {
		lua_call(L, n + 1, 2);
		gwl_take_verdict(L, call);
		return 0;
	}
	lua_call(L, n + 1, 1);
	/* validate_x that returns nothing goes on (momentum.md 6.2) */
	call->result = lua_isinteger(L, -1)  ? (int)lua_tointeger(L, -1)
		       : lua_isnumber(L, -1) ? (int)lua_tonumber(L, -1)
					     : 0;
	if (call->hook == GH_ROUTING_DOMAIN)
		take_routing_domain(L, call, 5);
	keep(L, 2, gc, m->name);
	if (gc != NULL) {
		lua_getglobal(L, "_TLS");
		keep(L, lua_gettop(L), gc, "_TLS");
	}
	return 0;
}

/* Into <err>: where the callout begins.  A tail call leaves no line of its own behind. */
static int
raise_place(lua_State *L)
{
	struct gwl_job *job = lua_touserdata(L, 1);
	const struct gwl_module *m = job->arg;
	lua_Debug ar;

	lua_rawgeti(L, LUA_REGISTRYINDEX, m->ref);
	if (lua_getfield(L, -1, hooks[job->call->hook].name) != LUA_TFUNCTION)
		return 0;
	lua_getinfo(L, ">S", &ar);
	return luaL_error(L, "%s:%d", ar.short_src, ar.linedefined);
}

/* A stanza may fail as often as somebody sends it: the same fault is logged once a minute.  Returns how often it
 * came in silence, < 0: be silent. */
static int
repeated(struct gwl_state *st, const char *what, const char *text)
{
	uint64_t hash = td_str_hash(td_cstr(what)) * 31 + td_str_hash(td_cstr(text));
	uint64_t now = td_mono_ms();
	struct gwl_fault *f = &st->faults[0];

	for (unsigned i = 0; i < GWL_FAULTS; i++) {
		if (st->faults[i].hash == hash) {
			f = &st->faults[i];
			break;
		}
		if (st->faults[i].at < f->at)
			f = &st->faults[i];
	}
	if (f->hash != hash) {
		*f = (struct gwl_fault){ hash, now, 0 };
		return 0;
	}
	if (now - f->at < FAULT_AGAIN_MS) {
		f->again++;
		return -1;
	}
	f->at = now;
	now = f->again;
	f->again = 0;
	return (int)now;
}

static void
log_fault(struct gwl_job *job, const struct gwl_script *sc, const char *module,
	  const struct td_err *err)
{
	struct gwl_state *st = job->st;
	struct td_err place = { 0 };
	const char *trace = tlua_last_trace(st->t);
	/* a mail's faults are as many as its refusals */
	int again = job->call->env != NULL ? repeated(st, job->what, err->text) : 0;

	if (again < 0)
		return;
	if (trace[0] == '\0' && job->place != NULL &&
	    tlua_run(st->t, NULL, job->place, job, &place) < 0)
		trace = place.text;
	td_log_warn(&core_log, "script-fault",
		    "script=%s module=%s callout=%s text=%s trace=%s repeated=%d",
		    td_escz(sc->name), td_escz(module), job->what, td_escz(err->text),
		    td_escz(trace), again);
}

static int
end_stanza(lua_State *L)
{
	gwl_end_stanza(L);
	return 0;
}

static int
run_job(struct gwl_job *job, const char *module, struct td_err *err)
{
	struct gwl_state *st = job->st;
	struct gwl_call *call = job->call, *outer = st->call;
	struct gwl_script *sc = &st->set->scripts[job->script];
	int rc;

	/* a stanza sent from a callout may come back to us at once: its callouts are left out */
	if (outer != NULL)
		return td_fail(err, TD_E_BUSY, "a callout is running");
	st->call = call;
	st->script_now = job->script;
	st->epoch++;
	tlua_set_script(st->t, sc->name);
	tlua_set_compat(st->t, sc->compat);
	tlua_next_limits(st->t, sc->instructions, sc->time_ms);
	rc = tlua_run(st->t, sc->stats, job->run, job, err);
	if (rc < 0)
		log_fault(job, sc, module, err);
	if (call->stanza != NULL) {
		struct td_err ignored = { 0 };

		(void)tlua_run(st->t, NULL, end_stanza, NULL, &ignored);
	}
	st->epoch++;
	st->call = NULL;
	return rc;
}

int
gwl_run(struct gwl_job *job, struct td_err *err)
{
	return run_job(job, job->st->set->scripts[job->script].name, err);
}

int
gwl_invoke(struct gwl_state *st, struct gwl_module *m, struct gwl_call *call, struct td_err *err)
{
	struct gwl_job job = { st,        call,        m->script, hooks[call->hook].name,
			       do_invoke, raise_place, m };

	return run_job(&job, m->name, err);
}

/* ---- registering ---- */

/* register(name, table) */
static int
c_register(lua_State *L)
{
	struct gwl_state *st = gwl_state_of(L);
	const char *name = luaL_checkstring(L, 1);
	uint64_t mask = 0;
	struct gwl_module *m;
	bool life;
	int ref;

	luaL_checktype(L, 2, LUA_TTABLE);
	if (st->loading == 0)
		return luaL_error(L,
				  "modules are registered while their script is loaded, not later");
	for (int h = 0; h < GH_COUNT; h++) {
		if (lua_getfield(L, 2, hooks[h].name) == LUA_TFUNCTION)
			mask |= UINT64_C(1) << h;
		lua_pop(L, 1);
	}
	life = lua_getfield(L, 2, "init") == LUA_TFUNCTION;
	lua_pop(L, 1);
	for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++) {
		if (lua_getfield(L, 2, never[i]) == LUA_TFUNCTION && !st->set->known)
			td_log_notice(&core_log, "script-callout", "module=%s callout=%s text=%s",
				      td_escz(name), never[i],
				      td_escz("nothing calls it, ignoring"));
		lua_pop(L, 1);
	}
	if (mask == 0 && !life)
		return luaL_error(L, "no usable methods found for module %s in registerModule call",
				  name);
	if (strcmp(name, tlua_script(st->t)) != 0 && !st->set->known)
		td_log_notice(&core_log, "script-name", "module=%s script=%s", td_escz(name),
			      td_escz(tlua_script(st->t)));
	lua_pushvalue(L, 2);
	ref = luaL_ref(L, LUA_REGISTRYINDEX);
	st->modules = td_realloc(st->modules, (st->n_modules + 1) * sizeof(*st->modules));
	m = &st->modules[st->n_modules++];
	*m = (struct gwl_module){ td_strdup(name), st->loading - 1, ref, mask };
	return 0;
}

/* ---- names and people ---- */

/* script_name() -> of the script that runs */
static int
c_script_name(lua_State *L)
{
	lua_pushstring(L, tlua_script(tlua_of(L)));
	return 1;
}

/* domain(name) -> nil, or kind ("local", "service", "remote", "mail"), takes mail?, service */
static int
c_domain(lua_State *L)
{
	static const char *const kinds[] = { [XD_UNKNOWN] = "unknown",
					     [XD_LOCAL] = "local",
					     [XD_SERVICE] = "service",
					     [XD_REMOTE] = "remote",
					     [XD_MAIL] = "mail" };
	struct td_str name = tlua_checkstr(L, 1);
	struct td_arena *a = tlua_scratch(L);
	struct gw_domain d;
	struct xmpp_jid j;

	tlua_charge(L, 100);
	if (xmpp_jid_make(a, TD_STR_NULL, name, TD_STR_NULL, &j, NULL) < 0 ||
	    !gw_domains_find(gwl_state_of(L)->set->domains, j.domain, &d) || d.kind == XD_UNKNOWN) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushstring(L, kinds[d.kind]);
	lua_pushboolean(L, d.mail || d.kind == XD_MAIL);
	lua_pushstring(L, d.service);
	return 3;
}

static int
c_gateway_domain(lua_State *L)
{
	lua_pushstring(L, gwl_state_of(L)->set->gateway_domain);
	return 1;
}

static int
c_hostname(lua_State *L)
{
	lua_pushstring(L, gwl_state_of(L)->set->hostname);
	return 1;
}

/* Parse <i> as a JID into the scratch arena; false when it is none. */
static bool
arg_jid(lua_State *L, int i, struct xmpp_jid *j)
{
	struct td_str s = tlua_checkstr(L, i);

	tlua_charge(L, 50 + s.len);
	return xmpp_jid_parse(tlua_scratch(L), s, j, NULL) == 0;
}

/* account_exists(jid) -> boolean, or nil, error */
static int
c_account_exists(lua_State *L)
{
	struct xmpp_jid j;
	struct gw_domain d;
	int rc;

	if (!arg_jid(L, 1, &j) || j.local.p == NULL ||
	    !gw_domains_find(gwl_state_of(L)->set->domains, j.domain, &d) || d.kind != XD_LOCAL) {
		lua_pushboolean(L, 0);
		return 1;
	}
	rc = store_account_exists_now(gwl_gw(L)->store, j.bare);
	if (rc < 0) {
		lua_pushnil(L);
		lua_pushstring(L, td_errname(rc));
		return 2;
	}
	lua_pushboolean(L, rc);
	return 1;
}

/* presence(jid) -> table, always; online(jid) -> it, or nil when nobody can be reached */
static int
presence(lua_State *L, bool always)
{
	struct gw_presence p = { 0 };
	struct xmpp_jid j;
	bool there = arg_jid(L, 1, &j) && gw_directory_get(gwl_gw(L)->directory, j.full, &p) &&
		     p.available;

	if (!always && (!there || p.priority < 0)) {
		lua_pushnil(L);
		return 1;
	}
	lua_createtable(L, 0, 5);
	lua_pushboolean(L, there);
	lua_setfield(L, -2, "availability");
	lua_pushstring(L, there ? p.show : "");
	lua_setfield(L, -2, "show");
	lua_pushstring(L, there ? p.status : "");
	lua_setfield(L, -2, "status");
	lua_pushinteger(L, there ? p.priority : 0);
	lua_setfield(L, -2, "priority");
	lua_pushinteger(L, there ? (lua_Integer)p.resources : 0);
	lua_setfield(L, -2, "resources");
	return 1;
}

static int
c_presence(lua_State *L)
{
	return presence(L, true);
}

static int
c_online(lua_State *L)
{
	return presence(L, false);
}

/* connected(jid) -> has it a session? */
static int
c_connected(lua_State *L)
{
	struct gw_presence p;
	struct xmpp_jid j;

	lua_pushboolean(L, arg_jid(L, 1, &j) && gw_directory_get(gwl_gw(L)->directory, j.full, &p));
	return 1;
}

static int
c_escape(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	struct td_arena *a = tlua_scratch(L);

	tlua_pushstr(L, xmpp_jid_escape(a, s));
	return 1;
}

static int
c_unescape(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	struct td_arena *a = tlua_scratch(L);

	tlua_pushstr(L, xmpp_jid_unescape(a, s));
	return 1;
}

/* thread_by_mail(account, ids) -> thread id or nil, the correspondent's mail address or nil */
static int
c_thread_by_mail(lua_State *L)
{
	struct td_str account = tlua_checkstr(L, 1), ids[20];
	struct store_thread th = { 0 };
	struct td_arena *a;
	size_t n = 0;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checkstack(L, 24, NULL);
	for (lua_Integer i = 1; n < 20 && lua_rawgeti(L, 2, i) != LUA_TNIL; i++)
		ids[n++] = tlua_checkstr(L, -1); /* stays on the stack: borrowed */
	a = tlua_scratch(L);
	tlua_charge(L, 500);
	if (n == 0 || store_thread_by_mail_now(gwl_gw(L)->store, a, account, ids, n, &th) != 0) {
		lua_pushnil(L);
		return 1;
	}
	tlua_pushstr(L, th.thread);
	tlua_pushstr(L, th.peer);
	return 2;
}

/* mail_condition(status or reply) -> stanza error condition, status code or nil */
static int
c_mail_condition(lua_State *L)
{
	struct td_str status = gw_smtp_status(tlua_checkstr(L, 1));

	lua_pushstring(L, gw_smtp_condition(status));
	tlua_pushstr(L, status);
	return 2;
}

/* in_mail() -> is a mail being looked at? (chats then wait for its end) */
static int
c_in_mail(lua_State *L)
{
	struct gwl_call *call = gwl_state_of(L)->call;

	lua_pushboolean(L, call != NULL && call->mail != NULL);
	return 1;
}

int
gwl_open_core(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "register", c_register },
		{ "script_name", c_script_name },
		{ "domain", c_domain },
		{ "gateway_domain", c_gateway_domain },
		{ "hostname", c_hostname },
		{ "account_exists", c_account_exists },
		{ "presence", c_presence },
		{ "online", c_online },
		{ "connected", c_connected },
		{ "escape", c_escape },
		{ "unescape", c_unescape },
		{ "thread_by_mail", c_thread_by_mail },
		{ "mail_condition", c_mail_condition },
		{ "in_mail", c_in_mail },
		{ NULL, NULL },
	};

	luaL_newlib(L, fns);
	gwl_open_xmpp(L);
	gwl_open_hook(L);
	gwl_open_iq(L);
	gwl_open_mail(L);
	return 1;
}
