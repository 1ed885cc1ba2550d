/* http - the life of a connection of an http_listener.
 *
 *   HS_HEAD --whole head--> HS_BODY --whole body--> HS_ANSWER --reply--> HS_HEAD ...
 *   HS_HEAD --upgrade--> HS_SOCKET (websocket.c has the bytes from there on)
 *
 * One request is handled at a time; what came behind it waits in <in>.  A body is kept only up to
 * max_request_size; what is larger is refused before memory is taken. */
#include "gateway/http/http.h"
#include "xmpp/captcha.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HTTP_MAGIC 0x68747470u /* "http" */

enum http_state {
	HS_HEAD = 0, /* a head is awaited, or incomplete */
	HS_BODY,
	HS_ANSWER, /* a handler has the request */
	HS_SOCKET,
	HS_CLOSED, /* no more requests; the connection is ending */
};

struct gw_http {
	uint32_t magic;
	uint8_t state;
	bool tls, any_origin, head_only, close, ending, continued, advancing;
	struct gw_worker *w;
	struct xmpp_io *io;
	const struct gw_conn_conf *cf;
	struct gw_ws *ws;
	struct gw_http **holder;      /* who answers later; told when we go */
	struct gw_transfer *transfer; /* the file that comes or goes */
	struct td_buf in;
	size_t used; /* bytes of <in> that are the request being handled */
	char *origin;
	unsigned minor;
	struct td_timer timer;
};

struct route {
	const char *path;
	uint32_t methods; /* 1 << enum gw_method; OPTIONS and HEAD come with GET */
	bool stream;      /* the handler takes the body as it comes */
	void (*handle)(struct gw_http *h, const struct gw_head *head, struct td_str body);
};

static void advance(struct gw_http *h);

/* ---- configuration ---- */

static void
http_configure(struct gw_conn_conf *cf, struct conf *c, const struct conf_at *at)
{
	struct gw_http_conf *hc = cf->http = td_zalloc(sizeof(*hc));

	hc->conf = conf_ref(c);
	hc->origins = conf_list(c, at, "cors_origins", &hc->n_origins);
	hc->max_request = (size_t)conf_int(c, at, "max_request_size");
	hc->bosh_wait_s = (unsigned)conf_int(c, at, "bosh_max_wait");
	hc->metrics = conf_bool(c, at, "metrics");
	hc->plain_discovery = conf_bool(c, at, "plain_discovery");
	hc->request_ms = cf->handshake_ms;
}

static void
http_ready(struct gw_conn_conf *cf)
{
	cf->http->ws = cf->cc;
	cf->http->ws.ops = &gw_ws_ops;
	cf->http->ws.framing = &gw_ws_framing;
	cf->http->bosh = cf->cc;
	cf->http->bosh.ops = &gw_bosh_ops;
	cf->http->bosh.framing = &gw_bosh_framing;
}

static void
http_forget(struct gw_conn_conf *cf)
{
	if (cf->http == NULL)
		return;
	conf_unref(&cf->http->conf);
	free(cf->http);
	cf->http = NULL;
}

bool
gw_http_origin_ok(const struct gw_http_conf *hc, struct td_str origin)
{
	for (size_t i = 0; i < hc->n_origins; i++)
		if (td_str_eqc(hc->origins[i], "*") || td_str_ieq(hc->origins[i], origin))
			return true;
	return false;
}

/* ---- answers ---- */

static const struct {
	unsigned status;
	const char *text;
} reasons[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 304, "Not Modified" },
	{ 400, "Bad Request" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 411, "Length Required" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 416, "Range Not Satisfiable" },
	{ 426, "Upgrade Required" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

static const char *
reason(unsigned status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Unknown";
}

void
gw_http_date(uint64_t wall_s, char out[32])
{
	static const char days[] = "SunMonTueWedThuFriSat",
			  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)wall_s;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)snprintf(out, 32, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday,
		       tm.tm_mday, months + 3 * tm.tm_mon, (tm.tm_year + 1900) % 10000, tm.tm_hour,
		       tm.tm_min, tm.tm_sec);
}

/* Pages elsewhere may read the answer; never with the browser's own credentials. */
static void
add_cors(const struct gw_http *h, struct td_buf *out)
{
	const struct gw_http_conf *hc = h->cf->http;
	bool any = h->any_origin || (hc->n_origins == 1 && td_str_eqc(hc->origins[0], "*"));

	if (!any)
		td_buf_addz(out, "Vary: Origin\r\n");
	if (any)
		td_buf_addz(out, "Access-Control-Allow-Origin: *\r\n");
	else if (h->origin != NULL)
		td_buf_addf(out, "Access-Control-Allow-Origin: %s\r\n", h->origin);
}

static bool
has_body(unsigned status)
{
	return status >= 200 && status != 204 && status != 304;
}

void
gw_http_head(struct gw_http *h, unsigned status, const char *type, const char *extra,
	     uint64_t length)
{
	struct td_buf *out = gw_io_ops.out(h->io);
	char date[32];

	gw_http_date(td_wall_ms() / 1000, date);
	td_buf_addf(out, "HTTP/1.1 %u %s\r\nDate: %s\r\n", status, reason(status), date);
	if (has_body(status))
		td_buf_addf(out, "Content-Length: %llu\r\n", (unsigned long long)length);
	if (type != NULL)
		td_buf_addf(out, "Content-Type: %s\r\n", type);
	td_buf_addz(out, "X-Content-Type-Options: nosniff\r\n");
	if (h->ending)
		h->close = true;
	if (h->close)
		td_buf_addz(out, "Connection: close\r\n");
	else if (h->minor == 0)
		td_buf_addz(out, "Connection: keep-alive\r\n");
	add_cors(h, out);
	if (extra != NULL)
		td_buf_addz(out, extra);
	td_buf_addz(out, "\r\n");
}

/* The answer is written: on to the next request, or the end. */
void
gw_http_done(struct gw_http *h)
{
	if (h->holder != NULL)
		*h->holder = NULL;
	h->holder = NULL;
	h->transfer = NULL;
	free(h->origin);
	h->origin = NULL;
	if (h->close) {
		h->state = HS_CLOSED;
		td_timer_clear(h->w->loop, &h->timer);
		gw_io_ops.shut(h->io);
		return;
	}
	td_buf_drain(&h->in, h->used);
	h->used = 0;
	h->state = HS_HEAD;
	gw_io_ops.pause(h->io, false);
	td_timer_set(h->w->loop, &h->timer, h->cf->http->request_ms);
	if (h->in.len == 0)
		td_buf_fini(&h->in);
	else if (!h->advancing)
		advance(h);
}

void
gw_http_reply(struct gw_http *h, unsigned status, const char *type, const char *extra,
	      struct td_str body)
{
	gw_http_head(h, status, type, extra, body.len);
	if (!h->head_only && has_body(status))
		td_buf_adds(gw_io_ops.out(h->io), body);
	gw_http_done(h);
}

void
gw_http_error(struct gw_http *h, unsigned status)
{
	struct td_buf text = { 0 };

	td_buf_addf(&text, "%u %s\n", status, reason(status));
	gw_http_reply(h, status, "text/plain; charset=utf-8", NULL, td_buf_str(&text));
	td_buf_fini(&text);
}

void
gw_http_any_origin(struct gw_http *h)
{
	h->any_origin = true;
}

void
gw_http_no_more(struct gw_http *h)
{
	h->close = true;
}

void
gw_http_hold(struct gw_http *h, struct gw_http **holder)
{
	h->holder = holder;
	*holder = h;
}

void
gw_http_transfer(struct gw_http *h, struct gw_transfer *t, bool body)
{
	h->transfer = t;
	if (body && h->in.len > h->used) {
		size_t n = h->in.len - h->used;

		h->in.len = h->used;
		gw_transfer_input(t, h->in.p + h->used, n);
	}
}

struct gw_worker *
gw_http_worker(const struct gw_http *h)
{
	return h->w;
}

struct xmpp_io *
gw_http_io(const struct gw_http *h)
{
	return h->io;
}

const struct gw_http_conf *
gw_http_conf_of(const struct gw_http *h)
{
	return h->cf->http;
}

const struct gw_conn_conf *
gw_http_listen(const struct gw_http *h)
{
	return h->cf;
}

bool
gw_http_is_tls(const struct gw_http *h)
{
	return h->tls;
}

bool
gw_http_is_loopback(const struct gw_http *h)
{
	struct td_str peer = td_cstr(gw_io_ops.peer(h->io));

	return h->cf->local || td_str_starts(peer, "127.") || td_str_starts(peer, "[::1]");
}

/* ---- requests ---- */

static void
serve_websocket(struct gw_http *h, const struct gw_head *head, struct td_str body)
{
	(void)body;
	gw_ws_request(h, head);
}

#define M(m) (1u << HM_##m)
// clang-format off
static const struct route routes[] = {
	/* path                          methods          stream handler */
	{ "/xmpp-websocket",             M(GET),          false, serve_websocket },
	{ "/http-bind",                  M(POST),         false, gw_bosh_request },
	{ "/upload/",                    M(GET) | M(PUT), true,  gw_upload_request },
	{ XMPP_CAPTCHA_PATH,             M(GET) | M(POST), false, gw_captcha_request },
	{ "/.well-known/host-meta",      M(GET),          false, gw_hostmeta_request },
	{ "/.well-known/host-meta.json", M(GET),          false, gw_hostmeta_request },
	{ "/metrics",                    M(GET),          false, gw_metrics_request },
};
// clang-format on

static const struct route *
find_route(struct td_str path)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		size_t n = strlen(routes[i].path);

		if (routes[i].path[n - 1] == '/' ? td_str_starts(path, routes[i].path)
						 : td_str_eqc(path, routes[i].path))
			return &routes[i];
	}
	return NULL;
}

static void
add_allow(const struct route *r, const char *field, struct td_buf *out)
{
	td_buf_addf(out, "%s: OPTIONS", field);
	if (r->methods & M(GET))
		td_buf_addz(out, ", GET, HEAD");
	if (r->methods & M(POST))
		td_buf_addz(out, ", POST");
	if (r->methods & M(PUT))
		td_buf_addz(out, ", PUT");
	td_buf_addz(out, "\r\n");
}

static void
wrong_method(struct gw_http *h, const struct route *r)
{
	struct td_buf extra = { 0 };

	add_allow(r, "Allow", &extra);
	gw_http_reply(h, 405, "text/plain; charset=utf-8", td_buf_cstr(&extra),
		      TD_STR("405 Method Not Allowed\n"));
	td_buf_fini(&extra);
}

/* A browser asks whether a page of another origin may do this. */
static void
preflight(struct gw_http *h, const struct route *r)
{
	struct td_buf extra = { 0 };

	add_allow(r, "Allow", &extra);
	add_allow(r, "Access-Control-Allow-Methods", &extra);
	td_buf_addz(&extra, "Access-Control-Allow-Headers: Content-Type, Authorization\r\n"
			    "Access-Control-Max-Age: 7200\r\n");
	gw_http_reply(h, 204, NULL, td_buf_cstr(&extra), TD_STR_NULL);
	td_buf_fini(&extra);
}

static bool
method_ok(const struct route *r, enum gw_method m)
{
	return (r->methods & (1u << m)) != 0 || (m == HM_HEAD && (r->methods & M(GET)) != 0);
}

/* The request in <in> is whole as far as its handler wants it. */
static void
handle(struct gw_http *h, const struct gw_head *head, const struct route *r, struct td_str body)
{
	h->state = HS_ANSWER;
	td_timer_clear(h->w->loop, &h->timer);
	if (r == NULL)
		gw_http_error(h, 404);
	else if (head->method == HM_OPTIONS)
		preflight(h, r);
	else if (!method_ok(r, head->method))
		wrong_method(h, r);
	else
		r->handle(h, head, body);
}

static void
refuse(struct gw_http *h, unsigned status)
{
	td_log_info(&h->w->gw->log, "http-refused", "peer=%s status=%u", gw_io_ops.peer(h->io),
		    status);
	h->state = HS_ANSWER;
	h->close = true;
	gw_http_error(h, status);
}

static void
take_head(struct gw_http *h, const struct gw_head *head)
{
	struct td_str origin = gw_head_field(head, "origin");

	h->minor = head->minor;
	h->any_origin = false;
	h->head_only = head->method == HM_HEAD;
	h->close = !head->keep_alive;
	free(h->origin);
	h->origin = origin.len > 0 && origin.len <= 512 && gw_http_origin_ok(h->cf->http, origin)
			    ? td_strndup(origin)
			    : NULL;
}

/* One request, if it is there; false: more has to come, or it is being handled. */
static bool
next_request(struct gw_http *h)
{
	struct gw_head head;
	long n = gw_head_parse(td_buf_str(&h->in), &head);
	const struct route *r;
	size_t body;

	if (n == 0)
		return false;
	if (n < 0) {
		refuse(h, (unsigned)-n);
		return false;
	}
	take_head(h, &head);
	r = find_route(head.path);
	body = head.length > 0 ? (size_t)head.length : 0;
	if (r != NULL && r->stream && head.method == HM_PUT) {
		h->used = (size_t)n;
		h->close = true; /* what follows the body of a refused request is not looked at */
		handle(h, &head, r, TD_STR_NULL);
		return h->state == HS_HEAD;
	}
	if (body > h->cf->http->max_request) {
		refuse(h, 413);
		return false;
	}
	h->state = HS_BODY;
	if (h->in.len < (size_t)n + body) {
		if (head.expect && !h->continued)
			td_buf_addz(gw_io_ops.out(h->io), "HTTP/1.1 100 Continue\r\n\r\n");
		h->continued = true;
		return false;
	}
	h->continued = false;
	h->used = (size_t)n + body;
	handle(h, &head, r, td_str(h->in.p + n, body));
	return h->state == HS_HEAD;
}

static void
advance(struct gw_http *h)
{
	h->advancing = true;
	while (h->state < HS_ANSWER && h->in.len > 0 && next_request(h))
		;
	h->advancing = false;
}

/* ---- what the connection calls ---- */

static void
on_timer(struct td_timer *t)
{
	struct gw_http *h = (struct gw_http *)((char *)t - offsetof(struct gw_http, timer));

	if (h->in.len > 0) {
		refuse(h, 408);
		return;
	}
	h->state = HS_CLOSED;
	gw_io_ops.shut(h->io);
}

static void *
http_open(struct gw_worker *w, struct xmpp_io *io, const struct gw_conn_conf *cf, bool tls)
{
	struct gw_http *h = td_zalloc(sizeof(*h));

	h->magic = HTTP_MAGIC;
	h->w = w;
	h->io = io;
	h->cf = cf;
	h->tls = tls;
	h->timer.fire = on_timer;
	td_timer_set(w->loop, &h->timer, cf->http->request_ms);
	return h;
}

static void
http_input(void *up, const char *data, size_t len)
{
	struct gw_http *h = up;

	if (h->magic != HTTP_MAGIC)
		abort();
	if (h->state == HS_CLOSED)
		return;
	if (h->ws != NULL) {
		gw_ws_input(h->ws, data, len);
		return;
	}
	if (h->transfer != NULL && h->close) {
		gw_transfer_input(h->transfer, data, len);
		return;
	}
	td_buf_add(&h->in, data, len);
	advance(h);
	/* a client that sends ahead of its answers waits when it is a request ahead */
	if (h->state == HS_ANSWER && h->in.len > h->used + GW_HEAD_MAX + h->cf->http->max_request)
		gw_io_ops.pause(h->io, true);
}

void
gw_http_upgrade(struct gw_http *h, struct gw_ws *ws)
{
	struct td_buf in = h->in;
	size_t used = h->used;

	h->state = HS_SOCKET;
	h->ws = ws;
	h->in = (struct td_buf){ 0 };
	free(h->origin);
	h->origin = NULL;
	if (in.len > used)
		gw_ws_input(ws, in.p + used, in.len - used);
	td_buf_fini(&in);
}

static void
http_moved(void *up, struct gw_worker *w)
{
	struct gw_http *h = up;

	h->w = w;
	gw_ws_moved(h->ws, w);
}

static void
http_flushed(void *up)
{
	struct gw_http *h = up;

	if (h->ws != NULL)
		gw_ws_flushed(h->ws);
	else if (h->transfer != NULL)
		gw_transfer_flushed(h->transfer);
}

static void
http_idle(void *up)
{
	struct gw_http *h = up;

	if (h->ws != NULL) {
		gw_ws_idle(h->ws);
	} else if (h->state < HS_ANSWER) {
		h->state = HS_CLOSED;
		gw_io_ops.shut(h->io);
	}
}

static bool
http_ping(void *up)
{
	struct gw_http *h = up;

	return h->ws != NULL && gw_ws_ping(h->ws);
}

static void
http_end(void *up, const char *condition)
{
	struct gw_http *h = up;

	h->ending = true;
	if (h->ws != NULL) {
		gw_ws_end(h->ws, condition);
	} else if (h->state < HS_ANSWER) {
		h->state = HS_CLOSED;
		gw_io_ops.shut(h->io);
	}
}

static void
http_closed(void *up, const char *why)
{
	struct gw_http *h = up;

	td_timer_clear(h->w->loop, &h->timer);
	if (h->ws != NULL)
		gw_ws_closed(h->ws, why);
	if (h->transfer != NULL)
		gw_transfer_closed(h->transfer);
	if (h->holder != NULL)
		*h->holder = NULL;
	td_buf_fini(&h->in);
	free(h->origin);
	h->magic = 0;
	free(h);
}

static const struct xmpp_c2s *
http_stream(const void *up)
{
	const struct gw_http *h = up;

	return h->ws != NULL ? gw_ws_stream(h->ws) : NULL;
}

const struct gw_conn_app gw_http_app = {
	.open = http_open,
	.input = http_input,
	.moved = http_moved,
	.flushed = http_flushed,
	.idle = http_idle,
	.ping = http_ping,
	.end = http_end,
	.closed = http_closed,
	.stream = http_stream,
	.configure = http_configure,
	.ready = http_ready,
	.forget = http_forget,
};
