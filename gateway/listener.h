/* listener - the sockets of every xmpp_listener: bound, accepting, reloaded, closed.
 * Thread: plan, commit and stop on main; each worker accepts on a socket of its own
 * (SO_REUSEPORT), a Unix socket is accepted on worker 0 and dealt out in turn.
 * Errors: TD_E_* with a text that names the Listen; nothing is changed then. */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H
#include "gateway/conn.h"
#include "gateway/gateway.h"

struct gw_lplan;

void gw_listeners_init(struct gw *gw);
/* After the workers have ended. */
void gw_listeners_fini(struct gw *gw);

/* First half of a plan: TLS contexts made, new sockets bound and listening.  With <check_only> nothing is
 * bound or written.  Certificates that are missing are made (a warning in the log). */
int gw_listeners_plan(struct gw *gw, struct conf *c, const struct gw_domains *d, bool check_only,
		      struct gw_lplan **out, struct td_err *err);
/* Second half, once the store is open: credential sources. */
int gw_listeners_open_creds(struct gw *gw, struct gw_lplan *p, struct td_err *err);
/* Switch the workers over: new sockets accept, those no longer wanted are closed.  Frees <p>. */
void gw_listeners_commit(struct gw *gw, struct gw_lplan *p);
/* Not wanted after all. NULL is fine. */
void gw_listeners_discard(struct gw *gw, struct gw_lplan *p);
/* Accept no more, on all workers. */
void gw_listeners_stop(struct gw *gw);
/* Port a Listen of the running set got (tests ask for port 0); 0 = none such. */
unsigned gw_listeners_port(struct gw *gw, const char *listen_name);
/* Would a connection to this address come back to us?  Any thread. */
bool gw_listeners_own(struct gw *gw, const struct sockaddr *sa);

/* ---- listener_conf.c: what a Listen allows, as connections see it ---- */

/* Contexts and sources that the Listens of one plan share. */
struct gw_lshare {
	struct gw *gw;
	struct conf *conf;
	const struct gw_domains *domains;
	struct gw_certs *certs;
	bool check_only;
	struct {
		char *key;
		struct gw_tls *tls;
	} * tls;
	size_t n_tls;
	struct {
		char *uri;
		struct xmpp_cred_source *src;
	} * creds;
	size_t n_creds;
};
int gw_lshare_init(struct gw_lshare *s, struct gw *gw, struct conf *c, const struct gw_domains *d,
		   bool check_only, struct td_err *err);
void gw_lshare_fini(struct gw_lshare *s);
/* What connections of this Listen get; cc.creds comes with gw_lconf_creds. */
int gw_lconf_new(struct gw_lshare *s, const struct conf_scope *listen, bool is_unix,
		 struct gw_conn_conf **out, struct td_err *err);
int gw_lconf_creds(struct gw_lshare *s, struct gw_conn_conf *cf, struct td_err *err);
/* Mechanisms that the Auth*Parameters at <at> allow on an encrypted connection, and the store that
 * serves them; uri->p NULL = none is named. */
unsigned gw_lconf_mechs(const struct conf *c, const struct conf_at *at, struct td_str *uri);
/* Time for the PROXY header that must come first from this address, in ms; 0 = none comes. */
unsigned gw_lconf_proxy(struct gw_conn_conf *cf, const struct sockaddr *sa);
/* May this address give a PROXY header? */
bool gw_lconf_trusts(const struct gw_conn_conf *cf, const struct sockaddr *sa);
/* Socket options of an accepted TCP socket. */
void gw_lconf_tune(const struct gw_conn_conf *cf, int fd);

/* A shared count by name; made when it is not there.  Any thread. */
struct gw_budget *gw_listeners_budget(struct gw *gw, const char *key);
#endif
