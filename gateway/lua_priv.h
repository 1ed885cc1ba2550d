/* lua_priv - what the files of the script bindings share (scripts.c, lua_*.c).
 * Thread: a gwl_state is used by one thread at a time: its worker's, or the milter thread
 * that borrowed it.
 *
 * Objects handed to Lua (messages, sessions, stanzas) point to things that end with the
 * callback.  Each carries the state's epoch of its making; once that is over it only raises. */
#ifndef GATEWAY_LUA_PRIV_H
#define GATEWAY_LUA_PRIV_H
#include <pthread.h>
#include <stdatomic.h>
#include <lua.h>
#include <lauxlib.h>
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "lua/vm.h"
#include "milter/milter.h"
#include "milter/mime.h"

/* ---- callouts a module may have ---- */
enum gwl_hook {
	GH_CONNECT = 0,
	GH_EHLO,
	GH_AUTH,
	GH_AUTH_HOOK,
	GH_MAILFROM,
	GH_RCPTTO,
	GH_RCPT_LIST,
	GH_RCPT_LIST_FINAL,
	GH_DATA,
	GH_SPOOL,
	GH_EACH_RCPT,
	GH_CORE_EACH_RCPT,
	GH_POST_EACH_RCPT,
	GH_SET_BINDING,
	GH_FINAL,
	GH_FINAL2,
	GH_POST_FINAL,
	GH_ROUTING_DOMAIN,
	GH_ENQUEUE,
	GH_DEALLOC,
	GH_CLIENT_MESSAGE, /* the xmpp ones in the order of enum xmpp_hook */
	GH_CLIENT_PRESENCE,
	GH_CLIENT_IQ,
	GH_BEFORE_SEND,
	GH_SESSION_START,
	GH_SESSION_END,
	GH_COUNT /* must be last */
};
const char *gwl_hook_name(enum gwl_hook h);

/* ---- sets and states ---- */

/* Counters outlive sets: one record per script name, for the life of the process. */
struct gwl_counters {
	struct gwl_counters *next;
	struct tlua_stats stats;
	char name[];
};

struct gwl_script {
	const char *name, *source; /* the snapshot's */
	const struct conf_scope *scope;
	struct tlua_stats *stats;
	uint64_t instructions;
	unsigned time_ms;
	bool compat;
	bool accept; /* lua_error_action = accept */
};

struct gwl_set {
	_Atomic int refs;
	struct gw *gw;
	struct conf *conf;
	struct gw_domains *domains;
	struct tlua_bundle *bundle;
	struct gwl_script *scripts;
	size_t n_scripts;
	char *gateway_domain; /* of service "gateway"; NULL = none */
	char *hostname;
	uint32_t hooks;       /* bits 1 << enum gwl_hook, over all modules */
	bool known;           /* the first state was made: say nothing twice */
	pthread_mutex_t lock; /* guards the pool: idle, n_idle */
	struct gwl_state *idle;
	unsigned n_idle;
};
struct gwl_set *gwl_set_ref(struct gwl_set *s);
void gwl_set_unref(struct gwl_set **s);

struct gwl_module {
	char *name;
	unsigned script; /* index */
	int ref;         /* of its table */
	uint32_t hooks;
};

struct gwl_call;

struct gwl_state {
	struct tlua *t;
	struct gwl_set *set;    /* borrowed: the set owns idle states, users hold a reference */
	struct gwl_state *next; /* idle list */
	struct gwl_module *modules;
	size_t n_modules;
	unsigned loading; /* script being loaded: index + 1; 0 = none */
	uint64_t epoch;
	struct gwl_call *call; /* NULL outside a callback */
};

/* A state of the set's pool, made when none is idle; NULL with err when its scripts fail. */
struct gwl_state *gwl_state_get(struct gwl_set *set, struct td_err *err);
void gwl_state_put(struct gwl_state *st);
static inline struct gwl_state *
gwl_state_of(lua_State *L)
{
	return tlua_user(L);
}
static inline struct gw *
gwl_gw(lua_State *L)
{
	return gwl_state_of(L)->set->gw;
}

/* ---- one callback ---- */

/* A stanza that waits for the end of its mail. */
struct gwl_chat {
	struct gwl_chat *next;
	struct xmpp_stanza *s;
	struct milt_rcpt *rcpt; /* whose enqueue made it; NULL = another phase */
	bool local;             /* to one of our accounts: can be made durable */
	bool notice;            /* only to be told of the mail: not needed when it comes as chat */
};

/* What scripts keep for an MTA's connection or an XMPP session, as bytes: so it is the same
 * whichever state runs, and outlives a reload. */
struct gwl_conn {
	struct td_map kept;
	struct td_buf frozen;
	/* room for the next */ /* milter: module name and "_TLS"; xmpp: keys of sess:set */
	uint64_t ran;           /* milter: bits of the modules that ran (the first 64) */
};
struct gwl_kept {
	struct td_buf data;
	char name[];
};

struct gwl_mail {
	struct gwl_set *set;
	struct gwl_chat *chats, **chats_end;
	size_t n_chats;
	bool committed;
	struct td_arena *arena; /* of view */
	struct milt_mime *view; /* NULL = not looked at, or changed since */
	char *binding, *binding_group;
};

struct gwl_rcpt {                     /* in the mail's arena */
	struct td_str routing_domain; /* .p NULL = the address's */
};

struct gwl_call {
	enum gwl_hook hook;
	struct milt_conn *conn; /* milter: */
	struct milt_mail *mail; /* NULL before MAIL */
	struct milt_rcpt *rcpt;
	const union milt_args *args;
	struct xmpp_env *env; /* xmpp: */
	struct xmpp_session *sess;
	struct xmpp_stanza *stanza;
	int result;               /* what the callout returned; 0 = go on */
	unsigned routed, refused; /* stanzas in this callback */
	unsigned tarpit_ms;       /* to wait afterwards */
};

/* What is kept under <name>; made when <make>, else NULL. */
struct gwl_kept *gwl_kept_get(struct gwl_conn *gc, const char *name, bool make);
void gwl_conn_free(struct gwl_conn *gc); /* NULL is fine */

/* Call <module>'s <call->hook>.  0 or TD_E_SCRIPT (logged, counted). */
int gwl_invoke(struct gwl_state *st, struct gwl_module *m, struct gwl_call *call,
	       struct td_err *err);

/* ---- openers and pushers, by file ---- */

/* lua_core.c: require "tandem.core" */
int gwl_open_core(lua_State *L);

/* lua_xml.c: require "xml" */
int gwl_open_xml(lua_State *L);
/* The stanza's root; it raises once gwl_end_stanza was called.  Writable when not sealed. */
void gwl_push_stanza(lua_State *L, struct xmpp_stanza *s);
void gwl_end_stanza(lua_State *L);
/* Is there a node at <i>? */
bool gwl_is_node(lua_State *L, int i);
struct xmpp_node *gwl_check_node(lua_State *L, int i);
/* lua_xpath.c: push an array of the nodes <query> selects.  <push> pushes one node. */
void gwl_xpath(lua_State *L, struct xmpp_node *root, struct xmpp_node *from, const char *query,
	       void (*push)(lua_State *L, struct xmpp_node *n, void *arg), void *arg);

/* lua_xmpp.c */
void gwl_open_xmpp(lua_State *L); /* adds to the table on top */
void gwl_push_session(lua_State *L, struct xmpp_session *sess);
void gwl_session_end(struct xmpp_session *sess);

/* lua_mail.c */
struct lmsg {
	uint64_t epoch;
	struct milt_mail *m; /* NULL: a new one, still empty */
	struct milt_rcpt *r; /* its one recipient; NULL = all */
	bool own;
	size_t charged;
	char *to; /* own: what rcptto() was given */
};
/* The message at <i>; raises when its callout is over. */
struct lmsg *gwl_check_msg(lua_State *L, int i);
/* Its content, made empty when it has none yet. */
struct milt_mail *gwl_need_mail(lua_State *L, int i);
void gwl_open_mail(lua_State *L); /* adds to the table on top */
void gwl_push_msg(lua_State *L, struct milt_mail *m, struct milt_rcpt *r);
/* The view of a received mail, kept until it changes. */
struct milt_mime *gwl_view(lua_State *L, struct milt_mail *m);

/* lua_build.c: methods of the message */
int gwl_msg_build(lua_State *L);
int gwl_msg_inject(lua_State *L);

/* lua_vctx.c */
void gwl_open_vctx(lua_State *L);
void gwl_push_vctx(lua_State *L);
void gwl_push_ac(lua_State *L);

/* lua_policy.c */
extern const struct milt_policy gwl_policy; /* arg left out */
struct gw_scripts {
	struct gw *gw;
	pthread_mutex_t lock; /* guards set, counters */
	struct gwl_set *set;
	struct gwl_counters *counters;
	struct milt_policy policy;
	bool hooked; /* a set had xmpp hooks: session_end is wanted for good */
};
struct gwl_set *gwl_current(struct gw_scripts *s); /* a reference */
#endif
