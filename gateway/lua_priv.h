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
#include "xmpp/script.h"

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
	GH_SERVER_MESSAGE,
	GH_SERVER_PRESENCE,
	GH_SERVER_IQ,
	GH_ARRIVED,
	GH_DELIVERED,
	GH_PRESENCE,
	GH_SUBSCRIPTION,
	GH_SIGN_IN,
	GH_STREAM_OPEN,
	GH_ACCOUNT_REMOVED,
	GH_COUNT,              /* of those a module may have */
	GH_REQUEST = GH_COUNT, /* a function of register_iq */
	GH_ANSWER,             /* a function of tandem.request */
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
	bool adds;   /* it registered requests, features or identities */
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
	uint64_t hooks; /* bits 1 << enum gwl_hook, over all modules */
	/* what the scripts add to the server, and whose each request is; from the first state */
	struct xmpp_additions additions;
	unsigned *iq_scripts;
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
	uint64_t hooks;
};
/* A function of register_iq. */
struct gwl_iq {
	unsigned script;
	int ref;
};
/* A fault that was logged: not again for a while. */
struct gwl_fault {
	uint64_t hash, at; /* at: td_mono_ms */
	unsigned again;    /* times since */
};
#define GWL_FAULTS 8u

struct gwl_call;
struct gwl_answering;
struct gwl_ask;

struct gwl_state {
	struct tlua *t;
	struct gwl_set *set;    /* borrowed: the set owns idle states, users hold a reference */
	struct gwl_state *next; /* idle list */
	struct gwl_module *modules;
	size_t n_modules;
	unsigned loading; /* script being loaded: index + 1; 0 = none */
	uint64_t epoch;
	struct gwl_call *call;    /* NULL outside a callback */
	struct gw_worker *worker; /* whose it is; NULL: the pool's */
	struct gwl_iq *iqs;       /* by the ids of set->additions */
	size_t n_iqs;
	unsigned script_now;             /* whose callout runs: index */
	struct gwl_answering *answering; /* the request being looked at (lua_iq.c) */
	uint64_t request_no;
	unsigned n_later; /* requests whose answer comes later */
	LIST_HEAD(gwl_asks, gwl_ask) asks;
	unsigned n_asks;
	struct gwl_fault faults[GWL_FAULTS];
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
	struct xmpp_hook_call *hc; /* what is asked; NULL for requests and answers */
	enum xmpp_verdict verdict;
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
/* The same for anything else a script has: run(L) with a struct gwl_job at 1. */
struct gwl_job {
	struct gwl_state *st;
	struct gwl_call *call;
	unsigned script;
	const char *what; /* for the log */
	int (*run)(lua_State *L);
	int (*place)(lua_State *L); /* raises where the function begins; may be NULL */
	void *arg;
};
int gwl_run(struct gwl_job *job, struct td_err *err);

/* ---- openers and pushers, by file ---- */

/* lua_core.c: require "tandem.core" */
int gwl_open_core(lua_State *L);

/* lua_xml.c: require "xml" */
int gwl_open_xml(lua_State *L);
/* The stanza's root; it raises once gwl_end_stanza was called.  Writable when not sealed. */
void gwl_push_stanza(lua_State *L, struct xmpp_stanza *s);
/* The sealed <s>, read-only, for as long as Lua keeps it. */
void gwl_push_view(lua_State *L, struct xmpp_stanza *s);
int gwl_node_child(lua_State *L); /* the method */
/* Is the node at <i> the root of <s>, as it was pushed? */
bool gwl_is_stanza(lua_State *L, int i, const struct xmpp_stanza *s);
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
/* Elements made without a namespace are jabber:client. */
void gwl_default_ns(struct xmpp_node *n);
/* NULL, or why a script may not send <s>: its addresses. */
const char *gwl_why_not(struct gwl_state *st, const struct xmpp_stanza *s);
void gwl_push_jid(lua_State *L, struct td_str jid); /* an object; nil when .p is NULL */
void gwl_session_end(struct xmpp_session *sess);

/* lua_hook.c */
void gwl_open_hook(lua_State *L);                            /* classes only */
void gwl_push_account(lua_State *L, struct xmpp_user *u);    /* nil when NULL */
void gwl_push_info(lua_State *L, struct xmpp_hook_call *hc); /* of a stream */
/* The callout's two results are on top: call->verdict and what belongs to it. */
void gwl_take_verdict(lua_State *L, struct gwl_call *call);
/* false: no such stanza error condition. */
bool gwl_condition(const char *name, enum xmpp_error *out);

/* lua_iq.c */
void gwl_open_iq(lua_State *L);          /* adds to the table on top */
void gwl_asks_end(struct gwl_state *st); /* nobody waits for answers any more */
void gwl_additions_fini(struct gwl_set *s);

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
