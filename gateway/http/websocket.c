/* websocket - client streams in WebSocket messages (RFC 6455, RFC 7395).
 *
 * wslay reads and writes frames: masks, fragments, pings, lengths, UTF-8, close codes.  We answer the handshake and
 * translate: <open/> and <close/> become the stream tags xmpp/c2s.c knows, a message is checked to be one element, and
 * what the stream wrote in a turn is cut into one message per element.
 *
 * The stream's calls (gw_ws_ops) only take note; frame_out at the end of the turn does them in order: the text, the
 * close, the move.  Messages that come while the stream waits are kept; the socket is not read meanwhile, so there is
 * never more than one read's worth of them. */
#include <stdlib.h>
#include <openssl/sha.h>
#include <wslay/wslay.h>
#include "gateway/http/elements.h"
#include "gateway/http/http.h"

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define NS_FRAMING "urn:ietf:params:xml:ns:xmpp-framing"
#define KEY_BYTES 16u

struct message {
	STAILQ_ENTRY(message) link;
	size_t len;
	char text[];
};

struct gw_ws {
	struct gw_worker *w;
	struct xmpp_io *io;
	struct xmpp_c2s *c2s;
	wslay_event_context_ptr ctx;
	struct td_buf text;  /* what the stream wrote in this turn */
	struct td_buf trash; /* and after its end */
	struct td_task task;
	STAILQ_HEAD(, message) waiting;
	const char *in; /* lent by the connection, during gw_ws_input */
	size_t in_len;
	uint8_t move_to;
	bool paused, moving, shut, broken, peer_closed;
};

/* The stream sees us where a connection hands in its socket. */
static struct xmpp_io *
io_of(struct gw_ws *ws)
{
	return (struct xmpp_io *)(void *)ws;
}

static struct gw_ws *
ws_of(struct xmpp_io *io)
{
	return (struct gw_ws *)(void *)io;
}

static const struct gw_ws *
ws_ofc(const struct xmpp_io *io)
{
	return (const struct gw_ws *)(const void *)io;
}

/* ---- frames ---- */

static ssize_t
on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct gw_ws *ws = arg;
	size_t n = ws->in_len < len ? ws->in_len : len;

	(void)flags;
	if (n == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	memcpy(buf, ws->in, n);
	ws->in += n;
	ws->in_len -= n;
	return (ssize_t)n;
}

static ssize_t
on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *arg)
{
	static const char protocol_error[] = { (char)0x88, 2, 0x03, (char)0xea }; /* 1002 */
	struct gw_ws *ws = arg;
	struct td_buf *out = gw_io_ops.out(ws->io);

	(void)ctx;
	(void)flags;
	/* a frame wslay cannot read at all makes it close without saying why */
	if (len == 2 && data[0] == 0x88 && data[1] == 0 && !ws->peer_closed)
		td_buf_add(out, protocol_error, sizeof(protocol_error));
	else
		td_buf_add(out, data, len);
	return (ssize_t)len;
}

static void
send_text(struct gw_ws *ws, struct td_str text)
{
	struct wslay_event_msg m = {
		.opcode = WSLAY_TEXT_FRAME,
		.msg = (const uint8_t *)text.p,
		.msg_length = text.len,
	};

	(void)wslay_event_queue_msg(ws->ctx, &m);
}

/* Every element in a message of its own (RFC 7395 3.3.3). */
static void
send_elements(struct gw_ws *ws)
{
	struct td_str rest = td_buf_str(&ws->text);
	struct td_buf one = { 0 };
	struct gw_element e;

	while (rest.len > 0) {
		if (!gw_element_first(rest, &e)) {
			td_log_error(&ws->w->gw->log, "ws-output", "bytes=%zu", rest.len);
			break;
		}
		td_buf_clear(&one);
		gw_element_write(&one, &e);
		send_text(ws, td_buf_str(&one));
		rest.p += e.all.len;
		rest.len -= e.all.len;
	}
	td_buf_fini(&one);
	td_buf_fini(&ws->text);
}

static void take(struct gw_ws *ws, const char *p, size_t len);

/* The end of the turn: what the stream asked for, in its order. */
static void
frame_out(struct td_task *task)
{
	struct gw_ws *ws = (struct gw_ws *)((char *)task - offsetof(struct gw_ws, task));
	struct message *m;

	while (!ws->paused && !ws->moving && !ws->shut &&
	       (m = STAILQ_FIRST(&ws->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&ws->waiting, link);
		take(ws, m->text, m->len);
		free(m);
	}
	send_elements(ws);
	(void)wslay_event_send(ws->ctx); /* a close overtakes what is queued */
	if (ws->shut && !wslay_event_get_close_sent(ws->ctx) && !ws->broken)
		(void)wslay_event_queue_close(ws->ctx, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
	(void)wslay_event_send(ws->ctx);
	if (ws->shut || ws->broken)
		gw_io_ops.shut(ws->io);
	else if (ws->moving)
		gw_io_ops.move(ws->io, ws->move_to); /* the other worker's when the turn ends */
}

static void
later(struct gw_ws *ws)
{
	td_loop_defer(ws->w->loop, &ws->task);
}

/* ---- messages of the client ---- */

/* <open/>: the stream header it stands for; false: it is none. */
static bool
feed_open(struct gw_ws *ws, struct td_str text)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_node *n = xmpp_xml_parse(a, text, NULL, &(const char *){ NULL });
	struct td_buf head = { 0 };
	bool ok = n != NULL && xmpp_node_is(n, NS_FRAMING, "open");

	if (ok) {
		td_buf_addz(&head,
			    "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "'");
		xmpp_node_write_attrs(&head, n->attrs, NULL);
		td_buf_addc(&head, '>');
		xmpp_c2s_input(ws->c2s, head.p, head.len);
	}
	td_buf_fini(&head);
	td_arena_free(a);
	return ok;
}

static bool
is_close(struct td_str text)
{
	struct td_arena *a = td_arena_new(0);
	const struct xmpp_node *n = xmpp_xml_parse(a, text, NULL, &(const char *){ NULL });
	bool yes = n != NULL && xmpp_node_is(n, NS_FRAMING, "close");

	td_arena_free(a);
	return yes;
}

static void
take(struct gw_ws *ws, const char *p, size_t len)
{
	/* a declaration is not recommended (RFC 7395 3.3.3), so it may be there */
	struct td_str text = xmpp_xml_skip_declaration(td_str(p, len));
	struct gw_element e;
	bool header = xmpp_c2s_at_header(ws->c2s);

	if (text.len == 0 || *text.p != '<') {
		xmpp_c2s_end(ws->c2s, "bad-format", "A message begins with '<'");
		return;
	}
	if (!gw_element_first(text, &e)) {
		xmpp_c2s_end(ws->c2s, "not-well-formed", NULL);
		return;
	}
	if (td_str_trim(td_str(text.p + e.all.len, text.len - e.all.len)).len > 0) {
		xmpp_c2s_end(ws->c2s, "bad-format", "One element in a message");
		return;
	}
	if (td_str_ends(e.name, "close") && is_close(e.all)) {
		xmpp_c2s_end(ws->c2s, NULL, NULL);
		return;
	}
	if (header) {
		if (!feed_open(ws, e.all))
			xmpp_c2s_end(ws->c2s, "invalid-namespace", "<open/> comes first");
		return;
	}
	xmpp_c2s_input(ws->c2s, e.all.p, e.all.len);
}

static void
on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
	struct gw_ws *ws = user;
	struct message *m;

	ws->peer_closed |= arg->opcode == WSLAY_CONNECTION_CLOSE && arg->msg_length != 1;
	if (arg->opcode == WSLAY_BINARY_FRAME) { /* RFC 7395 3.2 */
		(void)wslay_event_queue_close(ctx, WSLAY_CODE_UNSUPPORTED_DATA, NULL, 0);
		wslay_event_shutdown_read(ctx);
		ws->broken = true;
		return;
	}
	if (arg->opcode != WSLAY_TEXT_FRAME || ws->shut)
		return;
	if (!ws->paused && !ws->moving && STAILQ_EMPTY(&ws->waiting)) {
		take(ws, (const char *)arg->msg, arg->msg_length);
		wslay_event_config_set_max_recv_msg_length(ctx, xmpp_c2s_max_stanza(ws->c2s));
		return;
	}
	m = td_alloc(sizeof(*m) + arg->msg_length);
	m->len = arg->msg_length;
	memcpy(m->text, arg->msg, m->len);
	STAILQ_INSERT_TAIL(&ws->waiting, m, link);
}

void
gw_ws_input(struct gw_ws *ws, const char *data, size_t len)
{
	int rc;

	if (ws->broken)
		return;
	ws->in = data;
	ws->in_len = len;
	rc = wslay_event_recv(ws->ctx);
	ws->in = NULL;
	ws->in_len = 0;
	/* the peer's close, or a violation of the protocol: its answer is queued */
	if (rc != 0 || !wslay_event_get_read_enabled(ws->ctx))
		ws->broken = true;
	if (ws->broken || wslay_event_want_write(ws->ctx))
		later(ws);
}

/* ---- what the connection calls ---- */

void
gw_ws_moved(struct gw_ws *ws, struct gw_worker *w)
{
	ws->w = w;
	ws->moving = false;
	xmpp_c2s_moved(ws->c2s, w->env);
	wslay_event_config_set_max_recv_msg_length(ws->ctx, xmpp_c2s_max_stanza(ws->c2s));
	if (!STAILQ_EMPTY(&ws->waiting))
		later(ws);
}

void
gw_ws_flushed(struct gw_ws *ws)
{
	if (ws->text.len == 0)
		xmpp_c2s_flushed(ws->c2s);
}

void
gw_ws_idle(struct gw_ws *ws)
{
	xmpp_c2s_idle(ws->c2s);
}

bool
gw_ws_ping(struct gw_ws *ws)
{
	return xmpp_c2s_ping(ws->c2s);
}

void
gw_ws_end(struct gw_ws *ws, const char *condition)
{
	xmpp_c2s_end(ws->c2s, condition, NULL);
}

void
gw_ws_closed(struct gw_ws *ws, const char *why)
{
	struct message *m;

	td_loop_undefer(ws->w->loop, &ws->task);
	while ((m = STAILQ_FIRST(&ws->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&ws->waiting, link);
		free(m);
	}
	xmpp_c2s_closed(ws->c2s, why);
	wslay_event_context_free(ws->ctx);
	td_buf_fini(&ws->text);
	td_buf_fini(&ws->trash);
	free(ws);
}

const struct xmpp_c2s *
gw_ws_stream(const struct gw_ws *ws)
{
	return ws->c2s;
}

/* ---- what the stream calls ---- */

static struct td_buf *
op_out(struct xmpp_io *io)
{
	struct gw_ws *ws = ws_of(io);

	if (ws->shut || ws->broken) {
		td_buf_clear(&ws->trash);
		return &ws->trash;
	}
	later(ws);
	return &ws->text;
}

static void
op_shut(struct xmpp_io *io)
{
	struct gw_ws *ws = ws_of(io);

	ws->shut = true;
	ws->moving = false;
	later(ws);
}

static void
op_move(struct xmpp_io *io, unsigned index)
{
	struct gw_ws *ws = ws_of(io);

	ws->moving = true;
	ws->move_to = (uint8_t)index;
	later(ws);
}

static void
op_pause(struct xmpp_io *io, bool paused)
{
	struct gw_ws *ws = ws_of(io);

	ws->paused = paused;
	gw_io_ops.pause(ws->io, paused);
	if (!paused && !STAILQ_EMPTY(&ws->waiting))
		later(ws);
}

static size_t
op_pending(const struct xmpp_io *io)
{
	return gw_io_ops.pending(ws_ofc(io)->io) + ws_ofc(io)->text.len;
}

static const char *
op_peer(const struct xmpp_io *io)
{
	return gw_io_ops.peer(ws_ofc(io)->io);
}

/* No channel is bound to: that of a page is not seen by its scripts, and may end at a proxy though TLS goes on
 * from there to us.  Some clients take the -PLUS they are offered all the same, and fail. */
static bool
op_channel_binding(struct xmpp_io *io, struct xmpp_cb_data *out)
{
	(void)io;
	(void)out;
	return false;
}

static unsigned
op_binding_types(struct xmpp_io *io)
{
	(void)io;
	return 0;
}

static void
op_starttls(struct xmpp_io *io)
{
	(void)io; /* never offered: RFC 7395 3.9 */
}

static bool
op_has_tls_ctx(const struct xmpp_io *io)
{
	(void)io;
	return false;
}

static void
op_set_domain(struct xmpp_io *io, struct td_str domain)
{
	(void)io;
	(void)domain;
}

const struct xmpp_io_ops gw_ws_ops = {
	.out = op_out,
	.starttls = op_starttls,
	.shut = op_shut,
	.move = op_move,
	.pause = op_pause,
	.pending = op_pending,
	.peer = op_peer,
	.channel_binding = op_channel_binding,
	.binding_types = op_binding_types,
	.has_tls_ctx = op_has_tls_ctx,
	.set_domain = op_set_domain,
};

static void
framing_open(struct xmpp_io *io, const char *id, struct td_str from, struct td_str to)
{
	struct td_buf *out = op_out(io);

	td_buf_addf(out, "<open xmlns='" NS_FRAMING "' version='1.0' xml:lang='en' id='%s'", id);
	if (from.len > 0) {
		td_buf_addz(out, " from='");
		td_buf_add_xml(out, from);
		td_buf_addc(out, '\'');
	}
	if (to.len > 0) {
		td_buf_addz(out, " to='");
		td_buf_add_xml(out, to);
		td_buf_addc(out, '\'');
	}
	td_buf_addz(out, "/>");
}

static void
framing_close(struct xmpp_io *io)
{
	td_buf_addz(op_out(io), "<close xmlns='" NS_FRAMING "'/>");
}

const struct xmpp_framing gw_ws_framing = { .open = framing_open, .close = framing_close };

/* ---- the handshake ---- */

/* RFC 6455 4.2.1: what is wrong with it, as a status; 0 = nothing. */
static unsigned
check_handshake(const struct gw_http *h, const struct gw_head *head, const char **extra)
{
	struct td_str origin = gw_head_field(head, "origin");
	struct td_str key = gw_head_field(head, "sec-websocket-key");
	struct td_buf nonce = { 0 };
	bool key_ok = td_base64_decode(key, &nonce) == 0 && nonce.len == KEY_BYTES;

	td_buf_fini(&nonce);
	if (head->method != HM_GET || head->minor == 0 || head->length > 0)
		return 400;
	if (!gw_head_has_token(head, "connection", "upgrade") ||
	    !gw_head_has_token(head, "upgrade", "websocket")) {
		*extra = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
		return 426;
	}
	if (!td_str_eqc(gw_head_field(head, "sec-websocket-version"), "13")) {
		*extra = "Sec-WebSocket-Version: 13\r\n";
		return 426;
	}
	if (!key_ok || gw_head_count(head, "sec-websocket-key") != 1 ||
	    !gw_head_has_token(head, "sec-websocket-protocol", "xmpp"))
		return 400;
	/* 10.2: a browser says whose page this is; other clients say nothing */
	if (origin.p != NULL && !gw_http_origin_ok(gw_http_conf_of(h), origin))
		return 403;
	return 0;
}

static void
send_switch(struct gw_http *h, struct td_str key)
{
	struct td_buf *out = gw_io_ops.out(gw_http_io(h)), text = { 0 };
	unsigned char sum[SHA_DIGEST_LENGTH];

	td_buf_adds(&text, key);
	td_buf_addz(&text, WS_GUID);
	(void)SHA1((unsigned char *)text.p, text.len, sum);
	td_buf_fini(&text);
	td_buf_addz(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
			 "Connection: Upgrade\r\nSec-WebSocket-Protocol: xmpp\r\n"
			 "Sec-WebSocket-Accept: ");
	td_buf_add_base64(out, sum, sizeof(sum));
	td_buf_addz(out, "\r\n\r\n");
}

void
gw_ws_request(struct gw_http *h, const struct gw_head *head)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv,
		.send_callback = on_send,
		.on_msg_recv_callback = on_message,
	};
	const char *extra = NULL;
	unsigned status = check_handshake(h, head, &extra);
	struct gw_ws *ws;

	if (status != 0) {
		gw_http_reply(h, status, "text/plain; charset=utf-8", extra,
			      TD_STR("This is for WebSocket clients that speak xmpp.\n"));
		return;
	}
	ws = td_zalloc(sizeof(*ws));
	ws->w = gw_http_worker(h);
	ws->io = gw_http_io(h);
	ws->task.run = frame_out;
	STAILQ_INIT(&ws->waiting);
	if (wslay_event_context_server_init(&ws->ctx, &callbacks, ws) != 0)
		abort();
	ws->c2s = xmpp_c2s_new(ws->w->env, io_of(ws), &gw_http_conf_of(h)->ws, gw_http_is_tls(h));
	wslay_event_config_set_max_recv_msg_length(ws->ctx, xmpp_c2s_max_stanza(ws->c2s));
	send_switch(h, gw_head_field(head, "sec-websocket-key"));
	gw_http_upgrade(h, ws);
}
