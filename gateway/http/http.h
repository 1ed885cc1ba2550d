/* http - HTTP/1.1 on the connections of an http_listener: requests, answers, who serves which path.
 * Thread: the worker that holds the connection.  Ownership: a struct gw_http belongs to its connection and goes
 * with it; a handler that answers later keeps a struct gw_ticket instead.  Errors are answers.
 * Specs: RFC 9110, RFC 9112; the paths: RFC 7395, XEP-0124, XEP-0156, XEP-0363. */
#ifndef GATEWAY_HTTP_HTTP_H
#define GATEWAY_HTTP_HTTP_H
#include "gateway/conn.h"
#include "gateway/http/head.h"

struct gw_http;
struct gw_ws;

/* What an http_listener allows, from the snapshot; immutable, part of its struct gw_conn_conf. */
struct gw_http_conf {
	struct xmpp_c2s_conf ws, bosh; /* cc of the listen, driven by us */
	struct conf *conf;             /* one reference; the strings below live in it */
	const struct td_str *origins;
	size_t n_origins;
	size_t max_request;   /* body of a request that is no upload */
	unsigned request_ms;  /* for a request to arrive */
	unsigned bosh_wait_s; /* longest wait */
	bool metrics;         /* to everyone; loopback always may */
	bool plain_discovery; /* host-meta without TLS */
	bool tls;             /* use_ssl */
};
/* May pages of this origin use the listener? */
bool gw_http_origin_ok(const struct gw_http_conf *hc, struct td_str origin);

extern const struct gw_conn_app gw_http_app;

/* ---- for handlers ---- */

/* A handler that answers later: *holder becomes NULL when the connection goes away.  Both on its worker. */
void gw_http_hold(struct gw_http *h, struct gw_http **holder);

/* The answer to the request being handled.  <extra>: more header lines, each with CRLF; <type> NULL = no body.
 * After it the next request may be handled: <h> may be gone. */
void gw_http_reply(struct gw_http *h, unsigned status, const char *type, const char *extra,
		   struct td_str body);
/* The same with a short text that names the status. */
void gw_http_error(struct gw_http *h, unsigned status);
/* An answer in parts: the head now, <length> bytes to gw_io_ops.out by and by, then gw_http_done. */
void gw_http_head(struct gw_http *h, unsigned status, const char *type, const char *extra,
		  uint64_t length);
void gw_http_done(struct gw_http *h);
/* "Sun, 06 Nov 1994 08:49:37 GMT" */
void gw_http_date(uint64_t wall_s, char out[32]);
/* Pages of any origin may read this answer. */
void gw_http_any_origin(struct gw_http *h);
/* Close when this request is answered. */
void gw_http_no_more(struct gw_http *h);
struct gw_worker *gw_http_worker(const struct gw_http *h);
struct xmpp_io *gw_http_io(const struct gw_http *h);
const struct gw_http_conf *gw_http_conf_of(const struct gw_http *h);
const struct gw_conn_conf *gw_http_listen(const struct gw_http *h);
bool gw_http_is_tls(const struct gw_http *h);
bool gw_http_is_loopback(const struct gw_http *h);

/* ---- small services (hostmeta.c, metrics.c) ---- */

/* GET /.well-known/host-meta and host-meta.json (XEP-0156). */
void gw_hostmeta_request(struct gw_http *h, const struct gw_head *head, struct td_str body);
/* GET and POST below /captcha/: a challenge (XEP-0158). */
void gw_captcha_request(struct gw_http *h, const struct gw_head *head, struct td_str body);
/* GET /metrics: Prometheus text. */
void gw_metrics_request(struct gw_http *h, const struct gw_head *head, struct td_str body);

/* ---- files (upload.c) ---- */

struct gw_transfer;
/* PUT, GET, HEAD below /upload/. */
void gw_upload_request(struct gw_http *h, const struct gw_head *head, struct td_str body);
/* What the connection tells, and with <body> the bytes that come, goes to <t> until the answer is done. */
void gw_http_transfer(struct gw_http *h, struct gw_transfer *t, bool body);
void gw_transfer_input(struct gw_transfer *t, const char *data, size_t len);
void gw_transfer_flushed(struct gw_transfer *t);
void gw_transfer_closed(struct gw_transfer *t);
/* Remove what has expired, now and again; on worker 0.  Main. */
void gw_upload_start(struct gw *gw);
/* On worker 0. */
void gw_upload_stop(struct gw_worker *w);

/* ---- WebSocket (websocket.c) ---- */

/* GET /xmpp-websocket: answers; after a 101 the connection is a WebSocket. */
void gw_ws_request(struct gw_http *h, const struct gw_head *head);
/* The 101 is written: from here on the connection's bytes are <ws>'s. */
void gw_http_upgrade(struct gw_http *h, struct gw_ws *ws);
void gw_ws_input(struct gw_ws *ws, const char *data, size_t len);
void gw_ws_moved(struct gw_ws *ws, struct gw_worker *w);
void gw_ws_flushed(struct gw_ws *ws);
void gw_ws_idle(struct gw_ws *ws);
bool gw_ws_ping(struct gw_ws *ws);
void gw_ws_end(struct gw_ws *ws, const char *condition);
void gw_ws_closed(struct gw_ws *ws, const char *why);
const struct xmpp_c2s *gw_ws_stream(const struct gw_ws *ws);
/* ---- BOSH (bosh.h) ---- */

/* POST /http-bind: answered some time later. */
void gw_bosh_request(struct gw_http *h, const struct gw_head *head, struct td_str body);
/* Every stream of the worker's ends with <condition>; all sessions are closed; the table goes. */
void gw_bosh_end_all(struct gw_worker *w, const char *condition);
void gw_bosh_close_all(struct gw_worker *w);
void gw_bosh_fini(struct gw_worker *w);
extern const struct xmpp_io_ops gw_bosh_ops;
extern const struct xmpp_framing gw_bosh_framing;

extern const struct xmpp_io_ops gw_ws_ops;
extern const struct xmpp_framing gw_ws_framing;
#endif
