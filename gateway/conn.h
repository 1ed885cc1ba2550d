/* conn - one client connection: reads into the worker's buffer, writes once a turn, TLS.
 * Thread: the worker that holds it; gw_conn_move hands it to another.  The struct is struct
 * xmpp_io to the xmpp layer, which drives it by gw_io_ops (xmpp/c2s.h has the contract).
 * Ownership: an open connection belongs to its worker's list and frees itself when it ends.
 * Errors: of a socket are never returned, they end the connection and are its reason. */
#ifndef GATEWAY_CONN_H
#define GATEWAY_CONN_H
#include <stdatomic.h>
#include <sys/socket.h>
#include "gateway/gateway.h"
#include "xmpp/c2s.h"

struct gw_tls;
struct xmpp_io;

/* A count that several connections share (listener_sessions, service_sessions). */
struct gw_budget {
	_Atomic int refs;
	_Atomic unsigned used;
	char *key;
};
struct gw_budget *gw_budget_ref(struct gw_budget *b);
void gw_budget_unref(struct gw_budget **b);

struct gw_conn_conf;
struct gw_http_conf;

/* What a Listen's connections carry: a client stream (the default), or HTTP (http/http.h).  Called on the
 * connection's worker; <up> is what open() made.  closed() frees it, and comes exactly once, never from
 * within a call of gw_io_ops. */
struct gw_conn_app {
	/* Bytes may come now: a plain socket, or after the handshake of direct TLS.  NULL = refuse. */
	void *(*open)(struct gw_worker *w, struct xmpp_io *io, const struct gw_conn_conf *cf,
		      bool tls);
	void (*input)(void *up, const char *data, size_t len);
	void (*tls_ready)(void *up); /* after STARTTLS */
	void (*moved)(void *up, struct gw_worker *w);
	void (*flushed)(void *up); /* the kernel has all that was written */
	void (*idle)(void *up);    /* nothing was read for idle_time */
	bool (*ping)(void *up);    /* ask whether the peer is there; false: there is no way */
	void (*end)(void *up, const char *condition);
	void (*closed)(void *up, const char *why);
	const struct xmpp_c2s *(*stream)(const void *up); /* NULL = none */
	/* Optional, on main: what it wants to know of a Listen goes to cf->http; once the credentials are there; at
	 * the end. */
	void (*configure)(struct gw_conn_conf *cf, struct conf *c, const struct conf_at *at);
	void (*ready)(struct gw_conn_conf *cf);
	void (*forget)(struct gw_conn_conf *cf);
};

/* What the connections of one Listen share in one generation of the configuration; immutable. */
struct gw_conn_conf {
	_Atomic int refs;
	struct xmpp_c2s_conf cc;       /* cc.creds: one reference */
	const struct gw_conn_app *app; /* NULL = client streams */
	struct gw_http_conf *http;     /* the HTTP app's; freed with this */
	struct gw_tls *tls;            /* NULL = no TLS */
	bool direct_tls;               /* XEP-0368: TLS from the first byte */
	bool local;                    /* a Unix socket */
	unsigned handshake_ms;         /* for direct TLS; STARTTLS is under xmpp's own timeout */
	size_t max_pending;            /* bytes waiting for a slow reader */
	unsigned ping_ms, ping_timeout_ms; /* after silence; until its answer.  ping_ms 0 = never */
	/* After the PROXY header: what this peer gets (<cf> or one that <cf> holds), NULL = it may not
	 * come in.  No function: <cf>. */
	struct gw_conn_conf *(*admit)(struct gw_conn_conf *cf, const struct sockaddr *peer,
				      struct xmpp_io *io);
	void (*free)(struct gw_conn_conf *cf); /* at the last unref; NULL = free() */
};
struct gw_conn_conf *gw_conn_conf_ref(struct gw_conn_conf *cf);
void gw_conn_conf_unref(struct gw_conn_conf **cf);

/* ---- per worker ---- */

/* Before the worker runs; <w->loop> exists. */
void gw_conns_init(struct gw_worker *w);
/* After gw_conns_close_all and a turn of the loop. */
void gw_conns_fini(struct gw_worker *w);
/* Every stream ends with <condition>; later arrivals too. */
void gw_conns_end_all(struct gw_worker *w, const char *condition);
/* No more waiting: everything is closed at once, later arrivals too. */
void gw_conns_close_all(struct gw_worker *w, const char *why);
size_t gw_conns_count(const struct gw_worker *w);
/* Connections of all workers, those on the way between two included. Any thread. */
unsigned gw_conns_open(void);
struct gw_conn_info {
	const char *peer, *state;
	bool tls;
	unsigned idle_s;
	size_t pending;
	const struct xmpp_c2s *c2s; /* NULL before there is a stream */
};
void gw_conns_each(struct gw_worker *w, void (*cb)(void *arg, const struct gw_conn_info *i),
		   void *arg);

/* ---- one connection ---- */

/* Take over <fd> (non-blocking); refs <cf>.  <proxy_ms>: a PROXY header comes first, within that
 * time; 0 = none comes. */
void gw_conn_accept(struct gw_worker *w, int fd, struct gw_conn_conf *cf,
		    const struct sockaddr *peer, unsigned proxy_ms);
/* For admit(): idle time of this connection; budgets it uses (given back at its end). */
void gw_conn_set_idle(struct xmpp_io *io, unsigned ms);
void gw_conn_use_budget(struct xmpp_io *io, struct gw_budget *b);

extern const struct xmpp_io_ops gw_io_ops;
#endif
