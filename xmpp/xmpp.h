/* xmpp - one worker's XMPP server: accounts it owns, their sessions, the features.
 * Thread: everything here belongs to the worker whose struct xmpp_env it hangs on, and is
 * called on that worker's loop only; xmpp_owner is pure.
 *
 * Glossary
 *   env      one worker's instance; knows the host (gateway) only through struct xmpp_host
 *   stream   struct xmpp_c2s: one connection from accept to close (c2s.h)
 *   user     a local account with something going on: sessions, or stanzas for it (user.c)
 *   session  a bound resource; outlives its stream while stream management keeps it (session.c)
 *   module   a feature: one file, one descriptor (modules.c lists them) */
#ifndef XMPP_XMPP_H
#define XMPP_XMPP_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "gateway/base/map.h"
#include "store/store.h"
#include "xmpp/stanza.h"

struct conf;
struct conf_scope;
struct xmpp_env;
struct xmpp_user;
struct xmpp_session;
struct xmpp_c2s;
struct xmpp_sm;
struct xmpp_cred_source;
struct xmpp_module;
struct xmpp_user_ext;
struct xmpp_component_conf;

/* ---- what the host does for us ---- */

enum xmpp_domain_kind {
	XD_UNKNOWN = 0,
	XD_LOCAL,   /* accounts live here */
	XD_SERVICE, /* a service of ours (muc, gateway, ...) */
	XD_REMOTE,  /* federation is allowed */
	XD_MAIL,    /* only mail: a domain of the table without an XMPP role */
};
enum xmpp_hook {
	XH_CLIENT_MESSAGE = 0, /* client_message_recv */
	XH_CLIENT_PRESENCE,
	XH_CLIENT_IQ,
	XH_BEFORE_SEND, /* before_stanza_send */
	XH_SESSION_START,
	XH_SESSION_END,
	XH_SERVER_MESSAGE, /* server_message_recv */
	XH_SERVER_PRESENCE,
	XH_SERVER_IQ,
	XH_ARRIVED,      /* stanza_arrived */
	XH_DELIVERED,    /* message_delivered */
	XH_PRESENCE,     /* presence_changed */
	XH_SUBSCRIPTION, /* subscription_changed */
	XH_SIGN_IN,
	XH_STREAM_OPEN,
	XH_ACCOUNT_REMOVED,
	XH_COUNT /* must be last */
};
struct xmpp_hook_call;
struct xmpp_additions;
struct xmpp_iq;
struct xmpp_host {
	enum xmpp_domain_kind (*domain)(struct xmpp_env *env, struct td_str domain);
	/* The i-th domain that has accounts here, valid during the call; TD_STR_NULL: there are no more. */
	struct td_str (*hosted)(struct xmpp_env *env, size_t i);
	/* Deliver <s> (sealed) wherever it belongs; takes the reference.  The host calls
	 * xmpp_deliver on the owner for local accounts. */
	void (*route)(struct xmpp_env *env, struct xmpp_stanza *s);
	/* A message for a local address that is no account, or for XD_MAIL/gateway: true when the mail side took
	 * it over (it then holds its own reference and answers with an error itself if it fails). */
	bool (*to_mail)(struct xmpp_env *env, struct xmpp_stanza *s);
	/* Availability for the directory other threads read: presence NULL = went unavailable. */
	void (*presence)(struct xmpp_env *env, const struct xmpp_jid *full, int priority,
			 struct td_str show, struct td_str status, bool available);
	/* Ask the scripts (xmpp/script.h): an enum xmpp_verdict.  Only called for hooks in env->hooks. */
	int (*hook)(struct xmpp_env *env, struct xmpp_hook_call *c);
	/* A request in a namespace that scripts added: XMPP_DONE, XMPP_LATER, XMPP_PASS. */
	int (*script_iq)(struct xmpp_iq *iq, unsigned id);
	/* xmpp_logger: received (true) or delivered stanza. Only called when env->log_stanzas. */
	void (*log_stanza)(struct xmpp_env *env, bool received, const struct xmpp_stanza *s,
			   const char *peer);
	/* The service option of an XD_SERVICE domain ("muc"), copied to <out>; false: it is none. */
	bool (*service)(struct xmpp_env *env, struct td_str domain, char out[16]);
	/* Call fn for every XD_SERVICE domain of the snapshot, in file order. */
	void (*services)(struct xmpp_env *env,
			 void (*fn)(void *arg, struct td_str domain, const char *service),
			 void *arg);
	/* What the configuration says of the component <domain> (xmpp/component.h); false: there is none. */
	bool (*component)(struct xmpp_env *env, struct td_str domain,
			  struct xmpp_component_conf *out);
	/* The proxy of XEP-0065 at <domain>; on the worker its stanzas come to.  False: it does not listen. */
	bool (*bytestream_address)(struct xmpp_env *env, struct td_str domain, struct td_buf *host,
				   unsigned *port);
	/* Join the two connections that wait under <name>: how many there were, and 2 = done. */
	int (*bytestream_activate)(struct xmpp_env *env, struct td_str domain, const char *name);
	/* Stop the process in an orderly way, or begin anew, in <delay_s> seconds.  False: it cannot, *why says why. */
	bool (*stop)(struct xmpp_env *env, bool restart, unsigned delay_s, const char **why);
	/* Run fn(env of worker <index>, arg) there; FIFO per pair of workers. */
	void (*post)(struct xmpp_env *env, unsigned index, void (*fn)(struct xmpp_env *, void *),
		     void *arg);
};

struct xmpp_limits { /* of a domain, from the configuration snapshot */
	struct xmpp_limits *next;
	unsigned sm_resume_timeout_s;
	unsigned sm_max_queue;
	uint64_t sm_max_bytes;
	unsigned max_resources;
	bool ack_stored; /* ack_policy = "stored" */
	bool offline;    /* keep offline messages */
	enum {
		XC_REPLACE = 0,
		XC_REJECT,
		XC_RENAME
	} conflict;
};

struct xmpp_stats {
	uint64_t messages_in, presences_in, iqs_in, delivered, stored, errors, logins,
		auth_failures;
	uint64_t streams, sessions, hibernated; /* now */
};
void xmpp_stats_add(struct xmpp_stats *to, const struct xmpp_stats *from);

/* Places for what modules keep: in the env, in a session, with an account. */
enum xmpp_slot {
	XMPP_SLOT_IM = 0,
	XMPP_SLOT_DISCO,
	XMPP_SLOT_MAM,
	XMPP_SLOT_PUBSUB,
	XMPP_SLOT_PSWATCH,
	XMPP_SLOT_CAPS,
	XMPP_SLOT_PEP,
	XMPP_SLOT_MUC,
	XMPP_SLOT_PUSH,
	XMPP_SLOT_ADHOC,
	XMPP_SLOT_SIGNIN,
	XMPP_SLOT_COMPONENT,
	XMPP_SLOT_PRIVILEGE,
	XMPP_SLOT_DELEGATION,
	XMPP_SLOT_BYTESTREAMS,
	XMPP_SLOT_BOB,
	XMPP_SLOT_UPLOAD,
	XMPP_SLOT_LUA,
	XMPP_SLOT_LAST,
	XMPP_SLOT_SEARCH,
	XMPP_SLOT_CONTACT,
	XMPP_SLOT_SOFTWARE,
	XMPP_SLOT_SERVERINFO,
	XMPP_SLOT_ADMIN,
	XMPP_SLOT_CAPTCHA,
	XMPP_SLOT_DELEGATION_CLIENT,
	XMPP_SLOT_COUNT /* must be last */
};
enum xmpp_session_slot {
	XMPP_SESSION_SLOT_REPLAY = 0, /* offline messages being given */
	XMPP_SESSION_SLOT_CSI,        /* what waits while the client is inactive */
	XMPP_SESSION_SLOT_CAPS,       /* what its client can do: +notify */
	XMPP_SESSION_SLOT_SIGNIN,     /* user agent, tokens */
	XMPP_SESSION_SLOT_COUNT       /* must be last */
};
enum xmpp_user_slot {
	XMPP_USER_SLOT_BLOCK = 0,
	XMPP_USER_SLOT_MAM,
	XMPP_USER_SLOT_PUSH,
	XMPP_USER_SLOT_PEP,
	XMPP_USER_SLOT_DELEGATION,
	XMPP_USER_SLOT_COUNT /* must be last */
};
/* The stages of a stanza's way that modules may join (struct xmpp_module). */
enum xmpp_stage {
	STAGE_SENT = 0,
	STAGE_ARRIVED,
	STAGE_DELIVERED,
	STAGE_TO_SESSION,
	STAGE_COUNT /* must be last */
};

struct xmpp_env {
	struct td_loop *loop;
	unsigned index, n_workers;
	const struct xmpp_host *host;
	void *host_data;
	struct conf *conf;          /* this worker's reference; swapped by xmpp_env_set_conf */
	struct xmpp_limits *limits; /* those in use, each once; users point to them */
	struct store *store;
	struct xmpp_xmlpool *xmlpool;
	struct td_map users;                    /* bare JID -> struct xmpp_user */
	struct td_map iqs;                      /* "ns name" -> iq handlers of the modules */
	uint32_t hooks;                         /* bits 1 << enum xmpp_hook that scripts use */
	const struct xmpp_additions *additions; /* what scripts add, the host's; NULL = nothing */
	bool log_stanzas;
	bool delegates;            /* a component manages namespaces of ours (component.h) */
	unsigned user_delegations; /* namespaces that users of this worker gave to somebody */
	bool ending;               /* the env goes away: nothing is sent any more */
	struct td_logctx log;
	struct xmpp_stats stats;
	TAILQ_HEAD(xmpp_env_sessions, xmpp_session) sessions;
	void *module_data[XMPP_SLOT_COUNT];
	/* The modules that have the stage, in start order; NULL-terminated. */
	const struct xmpp_module **on[STAGE_COUNT];
	struct td_map requests; /* id -> an iq of ours that waits for its answer (request.c) */
	uint64_t request_no;
};

/* New instance on <loop>; <conf> is referenced.  Modules start in the order of modules.c. */
struct xmpp_env *xmpp_env_new(struct td_loop *loop, unsigned index, unsigned n_workers,
			      const struct xmpp_host *host, void *host_data, struct store *store,
			      struct conf *conf);
void xmpp_env_set_conf(struct xmpp_env *env, struct conf *conf);
/* What holds for the accounts of <domain>; until the next configuration. */
struct xmpp_limits *xmpp_limits_of(struct xmpp_env *env, struct td_str domain);
/* The streams will be told that the process ends: the modules' closing. */
void xmpp_env_closing(struct xmpp_env *env);
/* Every session and user goes; streams must be closed before. */
void xmpp_env_free(struct xmpp_env *env);
/* Index of the worker that owns a bare JID. */
unsigned xmpp_owner(const struct xmpp_env *env, struct td_str bare);

/* ---- delivery ---- */

/* <s> (sealed) for a local account; called on its owner.  Takes the reference.  Loads the
 * user when needed; stanzas wait in order meanwhile. */
void xmpp_deliver(struct xmpp_env *env, struct xmpp_stanza *s);
/* <s> for one of our domains itself; any worker.  Takes the reference. */
void xmpp_deliver_server(struct xmpp_env *env, struct xmpp_stanza *s);
struct xmpp_iq_entry;
struct xmpp_iq;
/* A service_deliver of a service that is one address and a list of requests (ended by one without a namespace; of
 * their flags IQ_GET, IQ_SET and IQ_FROM_CLIENT count).  The rest goes to xmpp_deliver_server.  Takes <s>. */
void xmpp_service_serve(struct xmpp_env *env, struct xmpp_stanza *s,
			const struct xmpp_iq_entry *requests);
/* disco#info with <content> in its query, for a service without nodes; disco#items without any. */
int xmpp_service_info(struct xmpp_iq *iq, struct td_str content);
int xmpp_service_no_items(struct xmpp_iq *iq);
/* Seal and hand to the host's router. Takes the reference. */
void xmpp_route(struct xmpp_env *env, struct xmpp_stanza *s);
/* Answer <s> with an error if it may be answered (routes it). Does not take <s>. */
void xmpp_bounce(struct xmpp_env *env, const struct xmpp_stanza *s, enum xmpp_error e,
		 const char *text);
/* A stanza just came from <sess>'s client: stamped, parsed, not sealed. Takes the reference. */
void xmpp_from_client(struct xmpp_session *sess, struct xmpp_stanza *s);

/* ---- users ---- */

struct xmpp_contact {
	struct td_str jid;  /* bare; this struct is one malloc with its strings */
	struct td_str name; /* .p NULL = none */
	uint8_t sub;        /* enum store_subscription */
	uint8_t flags;      /* STORE_ROSTER_* */
	uint16_t n_groups;
	struct td_str *groups;
	struct td_str pending; /* stored subscribe stanza */
	uint64_t ver;
};

struct xmpp_waiting {
	STAILQ_ENTRY(xmpp_waiting) link;
	struct xmpp_stanza *s;                  /* a stanza for the user, or */
	void (*fn)(struct xmpp_user *, void *); /* something to run once loaded */
	void *arg;
};

enum xmpp_user_state {
	XU_LOADING = 0,
	XU_READY
};
struct xmpp_user {
	struct xmpp_env *env;
	struct td_str bare;
	struct td_str local, domain;
	struct xmpp_limits *lim; /* of the domain, env's */
	uint8_t state;
	bool exists, disabled, failed; /* failed: the store could not say */
	bool fresh;                    /* it signs in for the first time */
	bool stale; /* what is in memory is not what the store has any more: goes as soon as it can */
	bool anonymous; /* a guest (XEP-0175): it exists while it has a session, nothing of it is stored */
	bool has_nodes;       /* it has published something: pubsub nodes (XEP-0163) */
	struct td_map roster; /* contact bare JID -> struct xmpp_contact */
	uint64_t roster_ver;
	uint64_t offline_count;           /* rows waiting in the store, as far as we know */
	unsigned n_sessions, n_available; /* available with priority >= 0 count in n_available */
	TAILQ_HEAD(xmpp_user_sessions, xmpp_session) sessions;
	STAILQ_HEAD(xmpp_waiting_list, xmpp_waiting) waiting;
	uint64_t *in_flight; /* rows being delivered to a session now */
	uint32_t n_in_flight, cap_in_flight;
	struct td_timer idle;
	unsigned busy; /* calls in progress that point here: not unloaded while > 0 */
	uint32_t
		gone_at; /* when a resource was last seen to go (seconds, wall); 0: not since the load */
	uint32_t stanzas; /* its sessions sent since it was loaded */
	LIST_HEAD(xmpp_sub_list, xmpp_sub)
	subs;                      /* subscription changes being committed, latest first */
	struct xmpp_user_ext *ext; /* NULL for most (user.c) */
};

/* Find a loaded or loading user; NULL when nothing is known in memory. */
struct xmpp_user *xmpp_user_find(struct xmpp_env *env, struct td_str bare);
/* Run fn(user, arg) once the user is loaded: maybe now.  user->exists may be false. */
void xmpp_user_with(struct xmpp_env *env, struct td_str bare,
		    void (*fn)(struct xmpp_user *, void *), void *arg);
struct xmpp_contact *xmpp_user_contact(struct xmpp_user *u, struct td_str bare);
bool xmpp_user_row_in_flight(const struct xmpp_user *u, uint64_t row);
void xmpp_user_row_begin(struct xmpp_user *u, uint64_t row);
void xmpp_user_row_end(struct xmpp_user *u, uint64_t row);
/* Hold the user in memory while an asynchronous call points at it. */
void xmpp_user_hold(struct xmpp_user *u);
void xmpp_user_release(struct xmpp_user *u);
/* The account was deleted or disabled, or its password changed: every session ends with <cond>. */
void xmpp_user_kick(struct xmpp_user *u, const char *condition);

/* A setting of the account whose key begins with '+': loaded with the account, kept in memory, TD_STR_NULL
 * when there is none.  Valid until it is set again. */
struct td_str xmpp_user_setting(const struct xmpp_user *u, const char *key);
/* Change it in memory now and in the store; <value> TD_STR_NULL removes.  done may be NULL; it is not called when
 * the env went away before. */
void xmpp_user_set_setting(struct xmpp_user *u, const char *key, struct td_str value,
			   void (*done)(struct xmpp_user *u, int rc, void *arg), void *arg);
/* What a module keeps with a loaded account: *slot is its pointer; the module frees it in user_unloaded. */
void *xmpp_user_data(const struct xmpp_user *u, enum xmpp_user_slot slot);
void xmpp_user_set_data(struct xmpp_user *u, enum xmpp_user_slot slot, void *data);
/* The account was deleted from the store: sessions end, the modules clear what they keep (account_removed).
 * On the owner. */
void xmpp_account_removed(struct xmpp_env *env, struct td_str bare);

/* Does the user block <j> (xep/xep_0191_blocking.c)? */
bool xmpp_is_blocked(const struct xmpp_user *u, const struct xmpp_jid *j);

/* ---- sessions ---- */

enum xmpp_show {
	SHOW_AWAY = 0,
	SHOW_CHAT,
	SHOW_DND,
	SHOW_ONLINE, /* no <show/> */
	SHOW_XA,
	SHOW_COUNT /* must be last */
};

struct xmpp_session {
	TAILQ_ENTRY(xmpp_session) link;     /* user->sessions */
	TAILQ_ENTRY(xmpp_session) env_link; /* env->sessions */
	struct xmpp_env *env;
	struct xmpp_user *user;
	struct xmpp_c2s *stream; /* NULL while hibernated */
	struct xmpp_sm *sm;      /* NULL = not enabled */
	struct xmpp_jid jid;     /* full; strings in <names> */
	struct td_arena *names;
	char sid[13]; /* random id for logs, kick */
	bool available;
	bool interested; /* asked for the roster: gets pushes (RFC 6121 2.2) */
	bool probed;     /* initial presence was handled */
	bool dead;       /* unbound; buried at the end of the turn */
	bool carbons;    /* XEP-0280 */
	bool inactive;   /* XEP-0352 */
	bool bind2; /* bound by XEP-0386: what is in the archive is not given to it as an offline message */
	bool blocklist; /* asked for the block list: gets pushes (XEP-0191) */
	bool mam; /* fetches from the archive what it missed (XEP-0313): that is as good as kept for it */
	int8_t priority;
	uint8_t show;           /* enum xmpp_show, while available */
	struct td_str presence; /* content of its last available presence, malloc'd */
	struct td_map
		directed; /* JIDs that got directed presence (RFC 6121 4.6); value = key's malloc */
	uint64_t bound_at; /* wall ms */
	struct td_grave grave;
	void *module_data[XMPP_SESSION_SLOT_COUNT];
	struct xmpp_kept *keeping; /* the latest message on its way through the store (session.c) */
	const void *
		took; /* the last stanza given to it: who has a message already (not to be followed) */
	void *script_data; /* the Lua session table's reference, host's */
};

/* Bind <resource> for a loaded user on <stream>; conflict per limits. NULL + *e when refused. */
struct xmpp_session *xmpp_session_bind(struct xmpp_user *u, struct xmpp_c2s *stream,
				       struct td_str resource, enum xmpp_error *e);
/* The same in two steps: nobody is told of the new session before xmpp_session_started, which may send to it. */
struct xmpp_session *xmpp_session_new(struct xmpp_user *u, struct xmpp_c2s *stream,
				      struct td_str resource, enum xmpp_error *e);
void xmpp_session_started(struct xmpp_session *sess);
struct xmpp_session *xmpp_session_find(struct xmpp_user *u, struct td_str resource);
/* Copies of its account's conversations go to it from now on (XEP-0280). */
void xmpp_carbons_enable(struct xmpp_session *sess);
/* Send <s> to this resource (does not take the reference): the modules' to_session stage, then as
 * xmpp_session_put. */
void xmpp_session_send(struct xmpp_session *sess, struct xmpp_stanza *s);
/* The same without that stage: for the module that held <s> back. */
void xmpp_session_put(struct xmpp_session *sess, struct xmpp_stanza *s);
/* The client is looked at or not (xep/xep_0352_csi.c); active lets out what was held. */
void xmpp_csi_set(struct xmpp_session *sess, bool inactive);
/* The session is over: unavailable presence, SM queue re-routed, directory told. */
void xmpp_session_end(struct xmpp_session *sess, const char *why);
/* Its stream is gone: hibernate when SM allows, else end. */
void xmpp_session_lost(struct xmpp_session *sess, const char *why);

/* ---- roster, subscriptions, presence (roster.c, subscription.c, presence.c) ----
 * None of these takes the reference of its stanza: ref it to keep or to route it. */

/* Presence without 'to' from this session's client (RFC 6121 4.2, 4.4, 4.5): initial, update, unavailable. */
void xmpp_presence_broadcast(struct xmpp_session *sess, struct xmpp_stanza *s);
/* Directed presence from this session (4.6): note it and route. */
void xmpp_presence_directed(struct xmpp_session *sess, struct xmpp_stanza *s);
/* Presence for a loaded local user: available, unavailable, error, probe (4.3, 8.5); subscription types go
 * to xmpp_subscription_in. Does not take the reference. */
void xmpp_presence_in(struct xmpp_user *u, struct xmpp_stanza *s);
/* The session ends without having said so: broadcast unavailable on its behalf. */
void xmpp_presence_session_end(struct xmpp_session *sess);
/* subscribe/subscribed/unsubscribe/unsubscribed from our user's client, to a bare JID (section 3.1-3.4, appendix A). */
void xmpp_subscription_out(struct xmpp_session *sess, struct xmpp_stanza *s);
/* The same in the name of the user, by the server. */
void xmpp_subscription_send(struct xmpp_user *u, struct xmpp_stanza *s);
void xmpp_subscription_in(struct xmpp_user *u, struct xmpp_stanza *s);
/* Stanzas of one sender to one receiver stay in order (RFC 6120 10.1), also behind a subscription change that
 * is being committed.  From our user's client: routes <s>, now or after it.  Takes the reference. */
void xmpp_subscription_route(struct xmpp_user *u, struct xmpp_stanza *s);
/* To our user: true when <s> has to wait; it comes again through xmpp_deliver_loaded. */
bool xmpp_subscription_holds(struct xmpp_user *u, struct xmpp_stanza *s);
/* Subscription requests kept for the user, given to a session that became available (3.1.3 rule 4). */
void xmpp_subscription_pending_to(struct xmpp_session *sess);
/* Push one item to every interested resource (2.1.6); removed: subscription='remove'. */
void xmpp_roster_push(struct xmpp_user *u, const struct xmpp_contact *c, bool removed);
/* Change or create the contact in memory and in the store; then calls done(u, rc, arg) after the commit. */
void xmpp_roster_save(struct xmpp_user *u, struct xmpp_contact *c,
		      void (*done)(struct xmpp_user *, int rc, void *), void *arg);

/* ---- offline messages (xep/xep_0160_offline.c) ---- */

/* No resource takes message <s>: keep it, or answer with an error. Does not take the reference. */
void xmpp_offline_store(struct xmpp_user *u, struct xmpp_stanza *s);
/* Append <s> as it is kept: with our stamp of <when> (wall ms), unless it has one. */
void xmpp_offline_write(const struct xmpp_user *u, struct xmpp_stanza *s, uint64_t when,
			struct td_buf *out);
/* The session became available with priority >= 0: replay what waits. */
void xmpp_offline_replay(struct xmpp_session *sess);
/* A live message must not overtake those being replayed: true when <s> has to wait; it comes again through
 * xmpp_session_send. */
bool xmpp_offline_holds(struct xmpp_session *sess, struct xmpp_stanza *s);

/* ---- modules ---- */

enum {
	XMPP_PASS = 0,
	XMPP_DONE,
	XMPP_LATER
};
#define IQ_GET 0x01u
#define IQ_SET 0x02u
#define IQ_TO_HOST 0x04u    /* to one of our domains */
#define IQ_TO_ACCOUNT 0x08u /* to a bare local JID (or no 'to': one's own account) */
#define IQ_OWN_ONLY \
	0x10u /* IQ_TO_ACCOUNT only from the account itself; others get forbidden/service-unavailable */

#define IQ_ANY_ACCOUNT \
	0x20u /* also for accounts that do not exist: what strangers get is the handler's */
#define IQ_TO_ROOM 0x40u     /* of scripts: to a room's bare JID */
#define IQ_FROM_CLIENT 0x80u /* only from who is signed in here; others get forbidden */

struct xmpp_iq {
	struct xmpp_env *env;
	struct xmpp_stanza *s; /* borrowed; ref it for XMPP_LATER */
	struct xmpp_node *payload;
	struct xmpp_user *user; /* IQ_TO_ACCOUNT: the loaded account; else NULL */
	struct xmpp_session
		*sess; /* sender's session when it is here on this worker; may be NULL */
	/* What the room asked knows of the sender; NULL: it is no room. */
	const struct xmpp_iq_room {
		const char *affiliation, *role; /* role NULL: not in the room */
		struct td_str nick;
	} * room;
};
struct xmpp_iq_entry {
	const char *ns, *name;
	uint32_t flags;
	/* XMPP_DONE: answered.  XMPP_LATER: will be.  XMPP_PASS: service-unavailable. */
	int (*handle)(struct xmpp_iq *iq);
};
struct xmpp_module {
	const char *name;                    /* "xep-0199-ping" */
	const char *xep;                     /* "0199"; NULL = RFC */
	const char *doc;                     /* one line for docs/reference/xeps.md */
	const char *version;                 /* of the XEP as read */
	const char *const *features;         /* disco#info of our domains; NULL-terminated */
	const char *const *account_features; /* disco#info of an account */
	const struct xmpp_iq_entry *iqs;     /* ends with ns == NULL */
	/* All optional. */
	void (*start)(struct xmpp_env *env);
	void (*stop)(struct xmpp_env *env);
	/* There is a new configuration: env->conf, and what the host answers. */
	void (*reconfigured)(struct xmpp_env *env);
	void (*session_bound)(struct xmpp_session *sess);
	void (*session_ended)(struct xmpp_session *sess);
	/* Append to <stream:features/> after authentication. */
	void (*stream_features)(struct xmpp_c2s *c, struct td_buf *out);
	/* Append to <stream:features/> before authentication (register, caps, limits). */
	void (*features_before)(struct xmpp_c2s *c, struct td_buf *out);
	/* Bind 2 (XEP-0386): the variable announced for what may be asked for inside <bind/>, and the session bound so:
	 * do what <bind> (as the client sent it) asks of this module, append what it is to know to <bound/>.  Nothing
	 * else may be sent to the session yet. */
	const char *bind2_feature;
	void (*bind2)(struct xmpp_session *sess, const struct xmpp_node *bind,
		      struct td_buf *bound);
	/* A top-level element of one of ours (SM): XMPP_DONE when taken. */
	int (*nonza)(struct xmpp_c2s *c, const struct xmpp_node *n);

	/* The stages of a stanza.  Each answers XMPP_PASS (go on) or XMPP_DONE (taken: delivered, answered or dropped by
	 * the module, which refs what it keeps); none takes the caller's reference. */
	/* From our client: message, presence or iq; stamped, checked, not sealed: may be changed. */
	int (*sent)(struct xmpp_session *sess, struct xmpp_stanza *s);
	/* For a loaded account that exists (sealed), before anything of RFC 6121 section 8 happens.  *s may be replaced
	 * (unref the old one): that is how a stanza-id comes in. */
	int (*arrived)(struct xmpp_user *u, struct xmpp_stanza **s);
	/* A message was given to the resources whose session->took is <s>, or kept offline, or refused: carbons, push.
	 * <took> = resources that have it. */
	void (*delivered)(struct xmpp_user *u, struct xmpp_stanza *s, unsigned took);
	/* About to go to this session's queue or socket: CSI. */
	int (*to_session)(struct xmpp_session *sess, struct xmpp_stanza *s);

	/* What happens to accounts and sessions. */
	/* The session's presence was broadcast: available (first: it was not before) or unavailable.  <s> is what the client
	 * sent, sealed; made by us when the session just ended. */
	void (*presence)(struct xmpp_session *sess, struct xmpp_stanza *s, bool available,
			 bool first);
	/* The subscription state of <contact> (bare) or its groups changed: enum store_subscription, before and after. */
	void (*subscription)(struct xmpp_user *u, struct td_str contact, unsigned before,
			     unsigned after);
	void (*user_loaded)(
		struct xmpp_user *u); /* it exists; before anything waiting is delivered */
	void (*user_unloaded)(struct xmpp_user *u); /* free what was set with xmpp_user_set_data */
	void (*account_removed)(struct xmpp_env *env, struct td_str bare);
	/* The process is about to end the streams: the last chance to say something. */
	void (*closing)(struct xmpp_env *env);

	/* A service of ours: stanzas to any JID of a domain whose option service is <service>, on the worker that owns the
	 * bare JID.  Takes the reference.  What it does not know it gives to xmpp_deliver_server, which answers ping,
	 * version, time. */
	const char *service;
	void (*service_deliver)(struct xmpp_env *env, struct xmpp_stanza *s);
};
extern const struct xmpp_module *const xmpp_modules[]; /* NULL-terminated, start order */

/* Answer helpers for handlers: each routes the reply. <payload_xml> may be TD_STR_NULL. */
void xmpp_iq_result(struct xmpp_iq *iq, struct td_str payload_xml);
void xmpp_iq_error(struct xmpp_iq *iq, enum xmpp_error e, const char *text);
/* An error with an application-specific condition (serialised) beside it (RFC 6120 8.3.4). */
void xmpp_iq_error_with(struct xmpp_iq *iq, enum xmpp_error e, const char *text,
			struct td_str app_xml);
/* Hand <s> (to one of our service domains) to its module, on the owner.  Takes the reference. */
void xmpp_deliver_service(struct xmpp_env *env, struct xmpp_stanza *s);

/* ---- iq requests of our own (request.c) ---- */

/* <answer>: the result or error, NULL = none came in time (or the env goes away: then env->requests is being emptied and
 * nothing may be sent: env->ending).  Borrowed. */
typedef void xmpp_answer_fn(struct xmpp_env *env, const struct xmpp_stanza *answer, void *arg);
/* Send the iq get or set <s>; it gets an id.  Takes the reference.  from: a domain or service JID of ours, or a
 * bare account or room JID this worker owns.  The answer comes on this worker. */
void xmpp_request(struct xmpp_env *env, struct xmpp_stanza *s, unsigned timeout_ms,
		  xmpp_answer_fn *fn, void *arg);
/* Is <s> (iq result or error to one of ours) an answer somebody waits for?  Then it is used up: takes the reference. */
bool xmpp_request_answer(struct xmpp_env *env, struct xmpp_stanza *s);
void xmpp_requests_free(struct xmpp_env *env);
#endif
