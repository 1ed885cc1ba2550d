/* bosh - client streams in HTTP requests (XEP-0124 1.11, XEP-0206 1.4): what is shared by its two files.
 * Thread: a session belongs to one worker, first the one its first request came to, then that of the account.  A request
 * is parsed where its connection is and travels to the session and back as one object; its <h> is looked at only on
 * the connection's worker.
 * bosh.c has the sessions, bosh_request.c what comes in and how it finds its session. */
#ifndef GATEWAY_HTTP_BOSH_H
#define GATEWAY_HTTP_BOSH_H
#include <sys/queue.h>
#include "gateway/base/arena.h"
#include "gateway/http/http.h"

#define NS_BOSH "http://jabber.org/protocol/httpbind"
#define NS_XBOSH "urn:xmpp:xbosh"
#define BOSH_SID_MAX 40

struct gw_bosh_session;

/* One POST. */
struct gw_bosh_request {
	STAILQ_ENTRY(gw_bosh_request) link;
	struct gw_worker *from; /* of the connection */
	struct gw_http *h;      /* <from>'s; NULL = the connection went away */
	bool tls;
	struct td_arena *arena;
	const struct xmpp_node *body; /* in <arena> */
	struct td_str sid, key, newkey;
	int64_t rid, pause; /* pause: -1 = none */
	bool terminate, restart, empty;
	uint64_t at; /* loop time of its arrival at the session */
	/* the answer */
	unsigned status;
	char *type;
	struct td_buf reply;
};
STAILQ_HEAD(gw_bosh_requests, gw_bosh_request);

/* Give the answer (in <status>, <type>, <reply>) to the connection and free the request.  On the session's worker. */
void gw_bosh_answer(struct gw_bosh_request *r);
/* The same with a terminal condition (17.2), or with a recoverable one when <condition> is NULL. */
void gw_bosh_refuse(struct gw_bosh_request *r, const char *condition, bool legacy);
/* An integer attribute; <def> when absent, -1 when malformed or beyond 2^53-1. */
int64_t gw_bosh_int(const struct xmpp_node *n, const char *name, int64_t def);
/* Attribute of NS_XBOSH. */
struct td_str gw_bosh_xattr(const struct xmpp_node *n, const char *name);

/* A new session, for a request without sid; takes the request. */
void gw_bosh_create(struct gw_worker *w, struct gw_bosh_request *r, const struct gw_conn_conf *cf,
		    const char *peer);
/* A request with a sid, on the worker the sid names or the one it was passed to; takes the request. */
void gw_bosh_dispatch(struct gw_worker *w, void *request);
#endif
