/* gateway - the process: what main builds and every part of the gateway reaches through.
 * Thread: struct gw is made by main before any thread starts; its pointers do not change after
 * that, except <conf>, which is read with gw_conf_get and swapped by gw_reload. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H
#include <stdatomic.h>
#include <stdbool.h>
#include "conf/conf.h"
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "store/store.h"
#include "xmpp/xmpp.h"

struct gw_directory;
struct gw_domains;
struct gw_listeners;
struct gw_outbox;
struct gw_bridge;
struct gw_scripts;
struct gw_control;
struct gw_xmpp_log;
struct gw_conn_app;
struct gw_proxy65;

struct milt_mail;

#define GW_MAX_WORKERS 64

/* One worker thread: its loop, its XMPP instance, its Lua state. */
struct gw_worker {
	struct gw *gw;
	unsigned index;
	struct td_loop *loop;
	struct xmpp_env *env;
	struct gw_domains *domains; /* of this worker's snapshot (refcounted) */
	void *lua;                  /* struct tlua *, scripts loaded; NULL without scripts */
	char *readbuf;              /* lent to connections while they read */
	size_t readbuf_len;
	struct gw_sweep *sweep;       /* of expired uploads; worker 0's (http/upload.c) */
	struct gw_bosh *bosh;         /* BOSH sessions (http/bosh.c); NULL = none yet */
	struct gw_conns *conns;       /* list of this worker's connections (conn.c) */
	struct gw_letters *letters;   /* lines being collected, rates (bridge.c) */
	struct gw_proxy65 *proxy65;   /* bytestreams (proxy65.c); NULL on most */
	struct gw_resolver *resolver; /* DNS (resolver.c); NULL until it is asked */
	struct gw_dials *dials;       /* open ones, addresses that failed (dial.c) */
	void *thread;                 /* pthread_t, worker.c's */
};

struct gw {
	char *conf_path;
	char *data_dir;
	char *hostname;
	struct td_logctx log;
	struct store *store;
	unsigned n_workers;
	struct gw_worker *workers[GW_MAX_WORKERS];
	struct gw_directory *directory;
	struct gw_listeners *listeners;
	struct gw_outbox *outbox; /* NULL without mail {} */
	struct gw_bridge *bridge;
	struct gw_scripts *scripts; /* Lua states of the workers and of the milter threads */
	struct gw_disk *disk;       /* threads for files (http/disk.h) */
	const struct gw_conn_app *http_app; /* what an http_listener's connections carry */
	struct gw_control *control;
	struct gw_xmpp_log *xmpp_log;
	bool milter;               /* libmilter runs (there is one per process) */
	struct td_loop *main_loop; /* signals, control socket, outbox, timers; runs in main */
	uint64_t started_ms;
	_Atomic bool draining;
	struct td_timer stop_timer; /* main loop: an administrator asked for the end */
	bool restart;               /* begin anew after it */
	/* conf: guarded by conf_lock; a reader takes a reference and lets go */
	struct conf *conf;
	void *conf_lock;                           /* pthread_mutex_t */
	bool skip_xmpp, skip_milter, skip_control; /* -n */
};

/* A reference to the running snapshot; conf_unref it. Any thread. */
struct conf *gw_conf_get(struct gw *gw);
/* Load the files again and switch every part over (scripts, domains, TLS, listeners), or keep all as it is
 * and say why in <report>. Main loop only. */
int gw_reload(struct gw *gw, struct conf_report *report);
/* Switch to a snapshot made otherwise (config set). Main loop only. */
int gw_switch_conf(struct gw *gw, struct conf *next, struct conf_report *report);
/* Begin an orderly stop: streams get <system-shutdown/>, the milter drains, then the main loop ends. */
void gw_shutdown(struct gw *gw, const char *why);
/* The same in <delay_s> seconds, and with <restart> begin anew after it; what was asked for last counts.  Any thread.  False:
 * it cannot, *why says why. */
bool gw_shutdown_later(struct gw *gw, bool restart, unsigned delay_s, const char **why);
/* The rest of the stop, once the main loop has ended (or after a failed start): everything in order,
 * each step with a deadline.  Main. */
void gw_stop(struct gw *gw);

/* <path> below data_dir when it is relative; malloc'd.  Any thread. */
char *gw_path(const struct gw *gw, struct td_str path);

/* ---- workers (worker.c) ---- */
int gw_workers_start(struct gw *gw, struct td_err *err);
/* End the sessions, wait until nothing is under way between workers and store, join.  False: something
 * hung; then nothing of the workers may be freed. */
bool gw_workers_stop(struct gw *gw);
void gw_workers_free(struct gw *gw); /* after that and gw_scripts_stop */
unsigned gw_workers_wanted(const struct conf *c);
/* Run fn(worker, arg) on every worker and wait for all, at most <ms>, turning the main loop meanwhile (the
 * loop itself must not be running).  False: not all were done in time. */
bool gw_workers_each(struct gw *gw, void (*fn)(struct gw_worker *, void *), void *arg, unsigned ms);
/* Streams, sessions and look-ups of every worker go over to <c> and <d> (references are taken). */
void gw_workers_switch(struct gw *gw, struct conf *c, struct gw_domains *d);
static inline struct gw_worker *
gw_worker_of(struct xmpp_env *env)
{
	return env->host_data;
}
/* In main, before the threads: loops and XMPP instances; then scripts may be loaded into them. */
int gw_workers_new(struct gw *gw, struct td_err *err);
/* Worker that owns a bare JID. */
struct gw_worker *gw_owner(struct gw *gw, struct td_str bare);
/* Run fn(worker, arg) on the worker's loop; FIFO per caller. Any thread. */
void gw_worker_post(struct gw_worker *w, void (*fn)(struct gw_worker *, void *), void *arg);

/* ---- the table of domains (domain.c): what a name is here ---- */
struct gw_component {               /* component "name" {} */
	struct td_str name, secret; /* secret.p NULL: its file cannot be read */
	bool subdomains;
	const struct conf_scope *scope;
};
struct gw_domain {
	struct td_str name; /* display name, prepared */
	enum xmpp_domain_kind kind;
	bool mail;        /* addresses that are no account become mail (mail {} present) */
	char service[16]; /* "muc", "gateway", "component", ...; "" = none */
	const struct gw_component *component; /* service "component": of that name or above it */
};
/* Built per snapshot; immutable, refcounted, shared by workers. */
struct gw_domains *gw_domains_build(struct conf *c); /* keeps a reference to <c> */
struct gw_domains *gw_domains_ref(struct gw_domains *d);
void gw_domains_unref(struct gw_domains **d);
/* Any thread holding a reference; regex domains are matched for unknown names (*out on success). */
bool gw_domains_find(const struct gw_domains *d, struct td_str name, struct gw_domain *out);
/* Names of hosted XMPP domains; i-th or TD_STR_NULL. */
struct td_str gw_domains_hosted(const struct gw_domains *d, size_t i);
/* The i-th service domain, in file order, components last; false: there are no more. */
bool gw_domains_service(const struct gw_domains *d, size_t i, struct gw_domain *out);

/* ---- who is online where (directory.c): sharded table with read locks, any thread ---- */
struct gw_presence {
	bool available;
	int priority;
	char show[8]; /* "", away, chat, dnd, xa */
	char status[256];
	unsigned resources; /* available ones with priority >= 0 */
};
struct gw_directory *gw_directory_new(void);
void gw_directory_free(struct gw_directory *d);
void gw_directory_set(struct gw_directory *d, const struct xmpp_jid *full, int priority,
		      struct td_str show, struct td_str status, bool available);
/* Best resource of a bare JID, or that of a full one. False: not available. */
bool gw_directory_get(struct gw_directory *d, struct td_str jid, struct gw_presence *out);
size_t gw_directory_count(struct gw_directory *d);

/* ---- the junction (router.c) ---- */
extern const struct xmpp_host gw_xmpp_host;
/* Route from any thread: posts to a worker. Takes the reference (sealed). */
void gw_route(struct gw *gw, struct xmpp_stanza *s);

/* ---- mail <-> chat (bridge.c) ---- */
/* Chat to mail; any worker. True when it was taken over (see xmpp_host.to_mail). */
bool gw_bridge_to_mail(struct xmpp_env *env, struct xmpp_stanza *s);
/* Mail to chat, from the milter's end of message: commit <n> stanzas (to bare local JIDs, sealed) and deliver them
 * after the commit.  Blocks up to commit_timeout_ms.  0, or TD_E_* and nothing was taken.
 * mail_id may be TD_STR_NULL (no dedup, no thread). */
struct gw_chat {
	struct xmpp_stanza *s; /* borrowed */
	struct td_str mail_id, thread, peer;
};
/* The worker stops: forget what is collected (it is in the outbox already). */
void gw_bridge_worker_fini(struct gw_worker *w);
int gw_bridge_mail_to_chat(struct gw *gw, const struct gw_chat *chats, size_t n,
			   struct td_err *err);

/* ---- the parts main starts and stops; each in a file of its own, all called in main ----
 * start: 0 also when the configuration does not ask for the part.  stop: fine when it was not started. */
int gw_scripts_start(struct gw *gw,
		     struct td_err *err); /* after gw_workers_new, before the threads */
void gw_scripts_stop(struct gw *gw);      /* after the threads */
/* Load the scripts of <next> into fresh states and, when all went well, switch to them; else nothing changes. */
int gw_scripts_reload(struct gw *gw, struct conf *next, struct td_err *err);
/* What the store takes from the configuration while it runs. */
void gw_store_tune(struct gw *gw, const struct conf *c);
int gw_outbox_start(struct gw *gw, struct td_err *err); /* on the main loop; after the workers */
void gw_outbox_stop(struct gw *gw);
int gw_milter_start(struct gw *gw,
		    struct td_err *err); /* milter_glue.c; privileges are dropped already */
void gw_milter_drain(struct gw *gw);     /* returns at once */
void gw_milter_stop(struct gw *gw);      /* blocks; after the main loop ended */
int gw_control_start(struct gw *gw, struct td_err *err);
void gw_control_stop(struct gw *gw);
/* Close and open every log again (USR1, `log reopen`). Main loop only. */
int gw_reopen_logs(struct gw *gw, struct td_err *err);
#endif
