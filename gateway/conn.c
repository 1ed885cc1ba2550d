/* conn - client connections.
 *
 * Main path: on_read lends the worker's buffer to recv or SSL_read and gives what came to the
 * connection's app (for a client stream xmpp_c2s_input); what the stream writes goes to a buffer
 * that exists only while there is something to write; the task at the end of the turn
 * (end_of_turn) sends it in one go, and then does what had to wait for it: the TLS handshake, the
 * end, the move to another worker.
 *
 * Nothing is closed inside a call from the stream: shut() and move() take effect in end_of_turn,
 * so xmpp_c2s_closed never comes in the middle of the stream's own work.  An idle connection
 * holds its struct, its read event and, with TLS, the SSL with released buffers. */
#include "gateway/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "gateway/proxy.h"
#include "gateway/tls.h"

#define SHUT_MS 10000u         /* to write what is queued */
#define LINGER_MS 2000u        /* for the peer to close too */
#define LINGER_END_MS 500u     /* the same while the process stops */
#define OBUF_KEEP (256u << 10) /* larger buffers are not kept for the next writer */
#define OBUF_POOL 32u
#define WARM_MAX 64u /* connections of a worker whose TLS keeps its buffers while they sign in */
#define CN_MAGIC 0x636f6e6eu /* "conn" */

enum conn_state {
	CN_PROXY = 0, /* the PROXY header is awaited */
	CN_HANDSHAKE,
	CN_OPEN,
	CN_STARTTLS, /* what was queued in clear is being written; the handshake comes next */
	CN_SHUT,     /* what was queued is being written; then the end */
	CN_LINGER,   /* our end is closed, the stream is gone; waiting for the peer's */
	CN_DEAD,     /* buried */
	CN_COUNT     /* must be last */
};

static const char *const state_names[CN_COUNT] = {
	"proxy", "handshake", "open", "starttls", "shut", "linger", "dead",
};

/* Bytes waiting for the kernel; taken from the worker's pool, travels with a move. */
struct obuf {
	struct td_buf b;
	size_t off; /* sent already */
	SLIST_ENTRY(obuf) link;
};

struct xmpp_io {
	uint32_t magic;
	int fd;
	struct event rd;
	struct event *wr; /* only while blocked */
	TAILQ_ENTRY(xmpp_io) link;
	TAILQ_ENTRY(xmpp_io) again; /* more to read, without the socket saying so */
	struct gw_worker *w;
	struct gw_conn_conf *cf;
	void *up; /* what cf->app made of it; NULL = not open yet, or gone */
	SSL *ssl;
	struct obuf *out; /* NULL = nothing waits */
	char *peer;
	char *domain; /* the stream's 'to' until TLS begins */
	const char *why;
	struct gw_budget *budget[2];
	struct td_task task;
	union {
		struct td_timer timer;
		struct td_grave grave;
	};
	uint64_t last_read;
	unsigned idle_ms;
	uint8_t state; /* enum conn_state */
	uint8_t move_to;
	uint16_t proxy_seen; /* bytes of an unfinished PROXY header */
	bool reading : 1;    /* rd is added; may be unwanted until it fires */
	bool paused : 1;
	bool moving : 1;
	bool eof : 1;
	bool is_again : 1;
	bool write_wants_read : 1;
	bool read_wants_write : 1;
	bool lossy : 1;  /* the stream wrote what nobody will get */
	bool warm : 1;   /* TLS keeps its buffers */
	bool pinged : 1; /* a ping was sent, and nothing was heard since */
};

TAILQ_HEAD(io_list, xmpp_io);

struct gw_conns {
	struct io_list list, again;
	SLIST_HEAD(, obuf) pool;
	unsigned n_pool;
	size_t n, n_warm;
	struct td_buf trash;
	struct gw_cb_buf cb;
	struct td_mail again_mail;
	bool again_posted;
	const char *ending; /* condition for late arrivals; NULL = normal service */
	bool closing;
};

struct transit {
	struct td_mail mail;
	struct xmpp_io *io;
	struct gw_worker *to;
};

static _Atomic unsigned open_conns;

/* ---- client streams ---- */

static void *
stream_open(struct gw_worker *w, struct xmpp_io *io, const struct gw_conn_conf *cf, bool tls)
{
	return xmpp_c2s_new(w->env, io, &cf->cc, tls);
}

static void
stream_input(void *up, const char *data, size_t len)
{
	xmpp_c2s_input(up, data, len);
}

static void
stream_tls_ready(void *up)
{
	xmpp_c2s_tls_ready(up);
}

static void
stream_moved(void *up, struct gw_worker *w)
{
	xmpp_c2s_moved(up, w->env);
}

static void
stream_flushed(void *up)
{
	xmpp_c2s_flushed(up);
}

static void
stream_idle(void *up)
{
	xmpp_c2s_idle(up);
}

static bool
stream_ping(void *up)
{
	return xmpp_c2s_ping(up);
}

static void
stream_end(void *up, const char *condition)
{
	xmpp_c2s_end(up, condition, NULL);
}

static void
stream_closed(void *up, const char *why)
{
	xmpp_c2s_closed(up, why);
}

static const struct xmpp_c2s *
stream_self(const void *up)
{
	return up;
}

static const struct gw_conn_app stream_app = {
	.open = stream_open,
	.input = stream_input,
	.tls_ready = stream_tls_ready,
	.moved = stream_moved,
	.flushed = stream_flushed,
	.idle = stream_idle,
	.ping = stream_ping,
	.end = stream_end,
	.closed = stream_closed,
	.stream = stream_self,
};

static const struct gw_conn_app *
app(const struct xmpp_io *io)
{
	return io->cf->app != NULL ? io->cf->app : &stream_app;
}

static void on_read(evutil_socket_t fd, short what, void *arg);
static void on_write(evutil_socket_t fd, short what, void *arg);
static void end_of_turn(struct td_task *t);
static void on_timer(struct td_timer *t);
static void handshake(struct xmpp_io *io);
static void read_stream(struct xmpp_io *io);

/* ---- shared things ---- */

struct gw_budget *
gw_budget_ref(struct gw_budget *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void
gw_budget_unref(struct gw_budget **bp)
{
	struct gw_budget *b = *bp;

	*bp = NULL;
	if (b == NULL || atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	free(b->key);
	free(b);
}

struct gw_conn_conf *
gw_conn_conf_ref(struct gw_conn_conf *cf)
{
	atomic_fetch_add(&cf->refs, 1);
	return cf;
}

void
gw_conn_conf_unref(struct gw_conn_conf **cfp)
{
	struct gw_conn_conf *cf = *cfp;

	*cfp = NULL;
	if (cf == NULL || atomic_fetch_sub(&cf->refs, 1) != 1)
		return;
	if (cf->free != NULL)
		cf->free(cf);
	else
		free(cf);
}

unsigned
gw_conns_open(void)
{
	return atomic_load(&open_conns);
}

/* ---- the parts of a connection ---- */

static bool
wants_read(const struct xmpp_io *io)
{
	switch ((enum conn_state)io->state) {
	case CN_PROXY:
	case CN_HANDSHAKE:
	case CN_LINGER: return true;
	case CN_OPEN: return !io->paused && !io->moving && !io->eof;
	case CN_STARTTLS:
	case CN_SHUT:
	case CN_DEAD:
	case CN_COUNT: break;
	}
	return false;
}

/* Reading is on in the states that want it.  It is turned off only when the socket then has
 * something to say (on_read): most pauses are over before that. */
static void
sync_read(struct xmpp_io *io)
{
	if (io->reading || !wants_read(io))
		return;
	io->reading = true;
	event_add(&io->rd, NULL);
}

static void
stop_read(struct xmpp_io *io)
{
	if (io->reading)
		event_del(&io->rd);
	io->reading = false;
}

static void
arm_write(struct xmpp_io *io)
{
	if (io->wr == NULL)
		io->wr = event_new(td_loop_base(io->w->loop), io->fd, EV_WRITE, on_write, io);
	if (io->wr == NULL)
		abort();
	event_add(io->wr, NULL);
}

static void
disarm_write(struct xmpp_io *io)
{
	if (io->wr != NULL)
		event_free(io->wr);
	io->wr = NULL;
}

static void
run_again(struct td_mail *m, struct td_loop *loop)
{
	struct gw_conns *cs =
		(struct gw_conns *)((char *)m - offsetof(struct gw_conns, again_mail));
	size_t n = 0;
	struct xmpp_io *io;

	(void)loop;
	cs->again_posted = false;
	/* those that queue themselves again wait for the next turn */
	TAILQ_FOREACH(io, &cs->again, again)
	n++;
	while (n-- > 0 && (io = TAILQ_FIRST(&cs->again)) != NULL) {
		TAILQ_REMOVE(&cs->again, io, again);
		io->is_again = false;
		on_read(io->fd, EV_READ, io);
	}
}

/* TLS holds bytes that the socket will not announce: look again next turn. */
static void
read_again(struct xmpp_io *io)
{
	struct gw_conns *cs = io->w->conns;

	if (!io->is_again) {
		io->is_again = true;
		TAILQ_INSERT_TAIL(&cs->again, io, again);
	}
	if (!cs->again_posted) {
		cs->again_posted = true;
		cs->again_mail.run = run_again;
		td_loop_post(io->w->loop, &cs->again_mail);
	}
}

static void
forget_again(struct xmpp_io *io)
{
	if (io->is_again)
		TAILQ_REMOVE(&io->w->conns->again, io, again);
	io->is_again = false;
}

/* Signing in is a handful of records each way: buffers of 16 kB for each would be half of what
 * malloc does for it.  Few may have that, or many who never sign in would hold much memory. */
static void
warm_up(struct xmpp_io *io)
{
	if (io->cf->app != NULL || io->w->conns->n_warm >= WARM_MAX)
		return; /* what is no client's stream has no such beginning */
	io->w->conns->n_warm++;
	io->warm = true;
	gw_tls_keep_buffers(io->ssl, true);
}

static void
cool_down(struct xmpp_io *io)
{
	if (!io->warm)
		return;
	io->w->conns->n_warm--;
	io->warm = false;
	if (io->ssl != NULL)
		gw_tls_keep_buffers(io->ssl, false);
}

static struct obuf *
obuf_take(struct gw_conns *cs)
{
	struct obuf *o = SLIST_FIRST(&cs->pool);

	if (o == NULL)
		return td_zalloc(sizeof(*o));
	SLIST_REMOVE_HEAD(&cs->pool, link);
	cs->n_pool--;
	return o;
}

static void
obuf_give(struct gw_conns *cs, struct obuf *o)
{
	if (o == NULL)
		return;
	if (cs->n_pool >= OBUF_POOL || o->b.cap > OBUF_KEEP) {
		td_buf_fini(&o->b);
		free(o);
		return;
	}
	td_buf_clear(&o->b);
	o->off = 0;
	cs->n_pool++;
	SLIST_INSERT_HEAD(&cs->pool, o, link);
}

static size_t
waiting(const struct xmpp_io *io)
{
	return io->out != NULL ? io->out->b.len - io->out->off : 0;
}

static const char *
state_name(const struct xmpp_io *io)
{
	return io->state < CN_COUNT ? state_names[io->state] : "?";
}

static void
set_peer(struct xmpp_io *io, const struct sockaddr *sa)
{
	char addr[INET6_ADDRSTRLEN] = "?", text[INET6_ADDRSTRLEN + 10];

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		inet_ntop(AF_INET, &in->sin_addr, addr, sizeof(addr));
		(void)snprintf(text, sizeof(text), "%s:%u", addr, ntohs(in->sin_port));
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		inet_ntop(AF_INET6, &in6->sin6_addr, addr, sizeof(addr));
		(void)snprintf(text, sizeof(text), "[%s]:%u", addr, ntohs(in6->sin6_port));
	} else {
		(void)snprintf(text, sizeof(text), "unix");
	}
	free(io->peer);
	io->peer = td_strdup(text);
}

/* Wake when silence has gone on for idle_time or ping_interval, or a ping was not answered. */
static void
arm_quiet(struct xmpp_io *io)
{
	const uint64_t quiet = td_loop_now(io->w->loop) - io->last_read, ping = io->cf->ping_ms;
	uint64_t ms = UINT64_MAX;

	if (ping > 0)
		ms = io->pinged ? io->cf->ping_timeout_ms : quiet < ping ? ping - quiet : ping;
	if (io->idle_ms > 0 && quiet >= io->idle_ms)
		ms = 1;
	else if (io->idle_ms > 0 && io->idle_ms - quiet < ms)
		ms = io->idle_ms - quiet;
	if (ms != UINT64_MAX)
		td_timer_set(io->w->loop, &io->timer, ms);
	else
		td_timer_clear(io->w->loop, &io->timer);
}

/* ---- birth, end ---- */

static void
free_io(struct td_grave *g)
{
	struct xmpp_io *io = (struct xmpp_io *)((char *)g - offsetof(struct xmpp_io, grave));

	for (size_t i = 0; i < 2; i++) {
		if (io->budget[i] != NULL)
			atomic_fetch_sub(&io->budget[i]->used, 1);
		gw_budget_unref(&io->budget[i]);
	}
	gw_conn_conf_unref(&io->cf);
	free(io->peer);
	free(io->domain);
	io->magic = 0;
	free(io);
	atomic_fetch_sub(&open_conns, 1);
}

/* Take the connection off the worker's loop: nothing of it fires from here on. */
static void
detach(struct xmpp_io *io)
{
	stop_read(io);
	cool_down(io);
	disarm_write(io);
	forget_again(io);
	td_timer_clear(io->w->loop, &io->timer);
	td_loop_undefer(io->w->loop, &io->task);
	TAILQ_REMOVE(&io->w->conns->list, io, link);
	io->w->conns->n--;
}

static void
attach(struct xmpp_io *io, struct gw_worker *w)
{
	io->w = w;
	if (event_assign(&io->rd, td_loop_base(w->loop), io->fd, EV_READ | EV_PERSIST, on_read,
			 io) < 0)
		abort();
	TAILQ_INSERT_TAIL(&w->conns->list, io, link);
	w->conns->n++;
}

static void
tell_closed(struct xmpp_io *io)
{
	void *up = io->up;

	io->up = NULL;
	if (up != NULL)
		app(io)->closed(up, io->why);
}

/* Close now.  Never from inside a call of the stream's.  <io> is buried from here on. */
static void
conn_close(struct xmpp_io *io, const char *why)
{
	if (io->state == CN_DEAD)
		return;
	if (io->why == NULL)
		io->why = why;
	td_log_debug(&io->w->gw->log, "conn-closed", "peer=%s state=%s why=%s", io->peer,
		     state_name(io), io->why);
	detach(io);
	io->state = CN_DEAD;
	SSL_free(io->ssl);
	io->ssl = NULL;
	close(io->fd);
	obuf_give(io->w->conns, io->out);
	io->out = NULL;
	tell_closed(io);
	io->grave.free = free_io;
	td_loop_bury(io->w->loop, &io->grave);
}

/* All is written: say so to the peer, let the stream go, wait a little for the peer's end. */
static void
conn_finish(struct xmpp_io *io)
{
	if (io->ssl != NULL) {
		ERR_clear_error();
		(void)SSL_shutdown(io->ssl);
		cool_down(io);
		SSL_free(io->ssl);
		io->ssl = NULL;
	}
	if (io->why == NULL)
		io->why = "shut";
	if (io->eof || shutdown(io->fd, SHUT_WR) < 0) {
		conn_close(io, io->why);
		return;
	}
	io->state = CN_LINGER;
	obuf_give(io->w->conns, io->out);
	io->out = NULL;
	td_timer_set(io->w->loop, &io->timer,
		     io->w->conns->ending != NULL ? LINGER_END_MS : LINGER_MS);
	sync_read(io);
	tell_closed(io);
}

/* Open for the stream: a plain socket, or after the handshake of direct TLS. */
static void
begin_stream(struct xmpp_io *io)
{
	io->state = CN_OPEN;
	io->last_read = td_loop_now(io->w->loop);
	sync_read(io);
	arm_quiet(io);
	io->up = app(io)->open(io->w, io, io->cf, io->ssl != NULL);
	if (io->up == NULL)
		conn_close(io, "refused");
}

static void
begin_tls(struct xmpp_io *io)
{
	io->ssl = gw_tls_accept(io->cf->tls, io->fd, td_cstr(io->domain));
	free(io->domain);
	io->domain = NULL;
	io->state = CN_HANDSHAKE;
	warm_up(io);
	if (io->up == NULL)
		td_timer_set(io->w->loop, &io->timer, io->cf->handshake_ms);
	sync_read(io);
	handshake(io);
}

/* The peer's address is known: is it welcome? */
static void
admit(struct xmpp_io *io, const struct sockaddr *peer)
{
	struct gw_conn_conf *cf = io->cf;

	set_peer(io, peer);
	if (cf->admit != NULL && (cf = cf->admit(cf, peer, io)) == NULL) {
		conn_close(io, "denied");
		return;
	}
	if (cf != io->cf) {
		cf = gw_conn_conf_ref(cf);
		gw_conn_conf_unref(&io->cf);
		io->cf = cf;
	}
	if (cf->direct_tls)
		begin_tls(io);
	else
		begin_stream(io);
}

void
gw_conn_accept(struct gw_worker *w, int fd, struct gw_conn_conf *cf, const struct sockaddr *peer,
	       unsigned proxy_ms)
{
	struct xmpp_io *io;

	if (w->conns->closing || w->conns->ending != NULL) {
		close(fd);
		return;
	}
	io = td_zalloc(sizeof(*io));
	io->magic = CN_MAGIC;
	io->fd = fd;
	io->cf = gw_conn_conf_ref(cf);
	io->task.run = end_of_turn;
	io->timer.fire = on_timer;
	io->last_read = td_loop_now(w->loop);
	atomic_fetch_add(&open_conns, 1);
	attach(io, w);
	if (proxy_ms == 0) {
		admit(io, peer);
		return;
	}
	set_peer(io, peer);
	io->state = CN_PROXY;
	td_timer_set(w->loop, &io->timer, proxy_ms);
	sync_read(io);
}

void
gw_conn_set_idle(struct xmpp_io *io, unsigned ms)
{
	io->idle_ms = ms;
}

void
gw_conn_use_budget(struct xmpp_io *io, struct gw_budget *b)
{
	size_t i = io->budget[0] != NULL;

	if (io->budget[i] != NULL)
		abort();
	io->budget[i] = gw_budget_ref(b);
}

static void
on_timer(struct td_timer *t)
{
	struct xmpp_io *io = (struct xmpp_io *)((char *)t - offsetof(struct xmpp_io, timer));
	uint64_t quiet;

	if (io->state != CN_OPEN) {
		/* STARTTLS is under the stream's own negotiation timeout */
		if (io->state != CN_STARTTLS && !(io->state == CN_HANDSHAKE && io->up != NULL))
			conn_close(io, "timeout");
		return;
	}
	quiet = td_loop_now(io->w->loop) - io->last_read;
	if (io->idle_ms > 0 && quiet >= io->idle_ms) {
		arm_quiet(io);
		app(io)->idle(io->up);
		return;
	}
	/* while we do not read, silence means nothing */
	if (!wants_read(io)) {
		io->pinged = false;
	} else if (io->pinged) {
		td_log_info(&io->w->gw->log, "ping-timeout", "peer=%s", io->peer);
		conn_close(io, "ping-timeout");
		return;
	} else if (io->cf->ping_ms > 0 && quiet >= io->cf->ping_ms) {
		io->pinged = app(io)->ping(io->up);
	}
	arm_quiet(io);
}

/* ---- reading ---- */

/* The header is only looked at until it is whole, so nothing behind it is taken. */
static void
read_proxy(struct xmpp_io *io)
{
	struct sockaddr_storage ss, sock;
	socklen_t len = sizeof(sock);
	char head[GW_PROXY_MAX];
	ssize_t n = recv(io->fd, head, sizeof(head), MSG_PEEK);
	int want, one = 1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* woken without news: the end of a peer that stopped half-way */
	want = n > io->proxy_seen ? gw_proxy_parse(td_str(head, (size_t)n), &ss) : TD_E_INVAL;
	if (want < 0) {
		td_log_info(&io->w->gw->log, "proxy-bad", "peer=%s", io->peer);
		conn_close(io, "proxy");
		return;
	}
	if (want == 0) { /* do not wake for what was seen already */
		int more = (int)n + 1;

		io->proxy_seen = (uint16_t)n;
		(void)setsockopt(io->fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more));
		return;
	}
	if (recv(io->fd, head, (size_t)want, 0) != want) {
		conn_close(io, "proxy");
		return;
	}
	(void)setsockopt(io->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	td_timer_clear(io->w->loop, &io->timer);
	if (ss.ss_family == AF_UNSPEC && getpeername(io->fd, (struct sockaddr *)&sock, &len) == 0)
		ss = sock;
	admit(io, (struct sockaddr *)&ss);
}

static void
handshake(struct xmpp_io *io)
{
	int n, e;

	ERR_clear_error();
	errno = 0;
	n = SSL_do_handshake(io->ssl);
	if (n == 1) {
		disarm_write(io);
		td_log_debug(&io->w->gw->log, "tls-ready", "peer=%s version=%s cipher=%s", io->peer,
			     SSL_get_version(io->ssl), SSL_get_cipher_name(io->ssl));
		if (io->up == NULL) {
			begin_stream(io);
		} else {
			io->state = CN_OPEN;
			sync_read(io);
			arm_quiet(io);
			app(io)->tls_ready(io->up);
		}
		/* the first bytes may have come with the client's Finished */
		if (io->state == CN_OPEN && wants_read(io) && SSL_has_pending(io->ssl))
			read_stream(io);
		return;
	}
	e = SSL_get_error(io->ssl, n);
	if (e == SSL_ERROR_WANT_READ)
		return;
	if (e == SSL_ERROR_WANT_WRITE) {
		arm_write(io);
		return;
	}
	td_log_info(&io->w->gw->log, "tls-failed", "peer=%s error=%s", io->peer,
		    e == SSL_ERROR_SYSCALL && errno == 0 ? "eof" : td_escz(gw_tls_error()));
	conn_close(io, "tls-failed");
}

/* One recv; the rest is announced again.  Bytes read, 0 at EOF, -1 none now, -2 broken. */
static ssize_t
read_plain(struct xmpp_io *io, char *buf, size_t len)
{
	ssize_t n;

	do
		n = recv(io->fd, buf, len, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -1 : -2;
	if (n == 0)
		io->eof = true;
	return n;
}

/* As read_plain: all records that are there, as far as <buf> holds them. */
static ssize_t
read_tls(struct xmpp_io *io, char *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		size_t n;
		int e;

		ERR_clear_error();
		if (SSL_read_ex(io->ssl, buf + got, len - got, &n) == 1) {
			got += n;
			if (SSL_has_pending(io->ssl) == 0)
				return (ssize_t)
					got; /* level-triggered: no need to ask for EAGAIN */
			continue;
		}
		e = SSL_get_error(io->ssl, 0);
		if (e == SSL_ERROR_WANT_READ)
			return got > 0 ? (ssize_t)got : -1;
		if (e == SSL_ERROR_WANT_WRITE) { /* a key update to be answered */
			io->read_wants_write = true;
			arm_write(io);
			return got > 0 ? (ssize_t)got : -1;
		}
		io->eof = true; /* close_notify, FIN or rubbish: no byte comes after it */
		if (e != SSL_ERROR_ZERO_RETURN && io->why == NULL)
			io->why =
				ERR_peek_error() != 0 && ERR_GET_REASON(ERR_peek_error()) !=
								 SSL_R_UNEXPECTED_EOF_WHILE_READING
					? "tls-error"
					: "eof";
		return (ssize_t)got;
	}
	read_again(io);
	return (ssize_t)got;
}

/* The peer sends no more.  During a move this waits for the arrival. */
static void
end_of_input(struct xmpp_io *io)
{
	if (io->state != CN_OPEN || io->moving)
		return;
	if (io->why == NULL)
		io->why = "eof";
	if (waiting(io) == 0) {
		conn_finish(io);
		return;
	}
	/* half closed: the answers may still be wanted */
	io->state = CN_SHUT;
	sync_read(io);
	td_timer_set(io->w->loop, &io->timer, SHUT_MS);
	td_loop_defer(io->w->loop, &io->task);
}

static void
read_stream(struct xmpp_io *io)
{
	struct gw_worker *w = io->w;
	ssize_t n = io->ssl != NULL ? read_tls(io, w->readbuf, w->readbuf_len)
				    : read_plain(io, w->readbuf, w->readbuf_len);

	if (n == -1)
		return;
	if (n == -2) {
		conn_close(io, "reset");
		return;
	}
	if (n > 0) {
		io->last_read = td_loop_now(w->loop);
		io->pinged = false;
		app(io)->input(io->up, w->readbuf, (size_t)n);
	}
	if (io->eof)
		end_of_input(io);
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct xmpp_io *io = arg;

	(void)what;
	if (io->magic != CN_MAGIC)
		abort();
	if (io->write_wants_read) {
		io->write_wants_read = false;
		td_loop_defer(io->w->loop, &io->task);
	}
	if (!wants_read(io))
		stop_read(io);
	switch ((enum conn_state)io->state) {
	case CN_PROXY: read_proxy(io); break;
	case CN_HANDSHAKE: handshake(io); break;
	case CN_OPEN:
		if (io->eof)
			end_of_input(io);
		else if (wants_read(io))
			read_stream(io);
		break;
	case CN_LINGER:
		for (int i = 0; i < 16; i++) {
			ssize_t n = recv(fd, io->w->readbuf, io->w->readbuf_len, 0);

			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return;
			if (n <= 0) {
				conn_close(io, "shut");
				return;
			}
		}
		break;
	case CN_STARTTLS:
	case CN_SHUT:
	case CN_DEAD:
	case CN_COUNT: break;
	}
}

/* ---- writing ---- */

/* Bytes the kernel took, 0 when it would block, -1 when it is broken. */
static ssize_t
write_some(struct xmpp_io *io, const char *p, size_t len)
{
	ssize_t sent;
	size_t n;
	int e;

	if (io->ssl == NULL) {
		do
			sent = send(io->fd, p, len, MSG_NOSIGNAL);
		while (sent < 0 && errno == EINTR);
		return sent < 0 && errno == EAGAIN ? 0 : sent;
	}
	ERR_clear_error();
	if (SSL_write_ex(io->ssl, p, len, &n) == 1)
		return (ssize_t)n;
	e = SSL_get_error(io->ssl, 0);
	if (e == SSL_ERROR_WANT_READ)
		io->write_wants_read = true;
	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* True when nothing waits any more; false: blocked, or closed. */
static bool
flush(struct xmpp_io *io)
{
	struct obuf *o = io->out;

	if (o == NULL)
		return true;
	while (waiting(io) > 0 && io->wr == NULL && !io->write_wants_read) {
		ssize_t n = write_some(io, o->b.p + o->off, waiting(io));

		if (n < 0) {
			conn_close(io, "reset");
			return false;
		}
		o->off += (size_t)n;
		if (n == 0 && !io->write_wants_read)
			arm_write(io);
	}
	if (waiting(io) == 0) {
		io->out = NULL;
		obuf_give(io->w->conns, o);
		if (io->warm && io->up != NULL && xmpp_c2s_session(io->up) != NULL)
			cool_down(io);
		if (io->up != NULL && !io->lossy)
			app(io)->flushed(io->up);
		return io->out == NULL; /* else queued again */
	}
	if (waiting(io) > io->cf->max_pending) {
		td_log_info(&io->w->gw->log, "conn-slow", "peer=%s pending=%zu", io->peer,
			    waiting(io));
		conn_close(io, "slow-reader");
		return false;
	}
	if (o->off > o->b.len / 2) {
		td_buf_drain(&o->b, o->off);
		o->off = 0;
	}
	return false;
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct xmpp_io *io = arg;

	(void)fd;
	(void)what;
	if (io->magic != CN_MAGIC)
		abort();
	disarm_write(io);
	io->pinged = false; /* it takes what we sent: slow, not dead */
	if (io->state == CN_HANDSHAKE) {
		handshake(io);
		return;
	}
	if (io->read_wants_write) {
		io->read_wants_write = false;
		read_again(io);
	}
	td_loop_defer(io->w->loop, &io->task);
}

/* ---- moving ---- */

static void
after_move(struct xmpp_io *io)
{
	io->moving = false;
	sync_read(io);
	app(io)->moved(io->up, io->w);
	if (io->state != CN_OPEN)
		return;
	/* TLS may hold bytes; an end seen before the move is looked at by reading on */
	if (io->eof || (io->ssl != NULL && SSL_has_pending(io->ssl)))
		read_again(io);
}

static void
on_arrival(struct td_mail *m, struct td_loop *loop)
{
	struct transit *t = (struct transit *)m;
	struct xmpp_io *io = t->io;
	struct gw_worker *w = t->to;

	free(t);
	attach(io, w);
	if (w->conns->closing) {
		conn_close(io, "closed");
		return;
	}
	arm_quiet(io);
	if (io->out != NULL)
		td_loop_defer(loop, &io->task);
	after_move(io);
	if (w->conns->ending != NULL && io->up != NULL)
		app(io)->end(io->up, w->conns->ending);
}

static void
depart(struct xmpp_io *io)
{
	struct gw_worker *to = io->w->gw->workers[io->move_to];
	struct transit *t;

	if (to == io->w) {
		after_move(io);
		return;
	}
	detach(io);
	t = td_alloc(sizeof(*t));
	t->mail.run = on_arrival;
	t->io = io;
	t->to = to;
	td_loop_post(to->loop, &t->mail); /* <io> is the other worker's from here on */
}

/* ---- the end of a turn ---- */

static void
end_of_turn(struct td_task *task)
{
	struct xmpp_io *io = (struct xmpp_io *)((char *)task - offsetof(struct xmpp_io, task));
	bool done;

	if (io->state == CN_DEAD)
		return;
	if (io->state == CN_SHUT && io->ssl != NULL && SSL_in_init(io->ssl)) {
		conn_close(io, "shut"); /* in the middle of a handshake nothing can be said */
		return;
	}
	done = flush(io);
	if (io->state == CN_DEAD)
		return;
	if (io->moving && io->state == CN_OPEN) {
		depart(io); /* what is blocked travels along */
		return;
	}
	if (!done)
		return;
	if (io->state == CN_STARTTLS)
		begin_tls(io);
	else if (io->state == CN_SHUT)
		conn_finish(io);
}

/* ---- what the stream calls ---- */

static struct td_buf *
op_out(struct xmpp_io *io)
{
	struct gw_conns *cs = io->w->conns;

	if (io->state != CN_OPEN) {
		io->lossy = true;
		td_buf_clear(&cs->trash);
		return &cs->trash;
	}
	if (io->out == NULL)
		io->out = obuf_take(cs);
	td_loop_defer(io->w->loop, &io->task);
	return &io->out->b;
}

static void
op_starttls(struct xmpp_io *io)
{
	if (io->state != CN_OPEN || io->ssl != NULL || io->cf->tls == NULL)
		return;
	io->state = CN_STARTTLS;
	sync_read(io);
	td_loop_defer(io->w->loop, &io->task);
}

static void
op_shut(struct xmpp_io *io)
{
	if (io->state == CN_SHUT || io->state == CN_LINGER || io->state == CN_DEAD)
		return;
	io->state = CN_SHUT;
	io->moving = false;
	sync_read(io);
	forget_again(io);
	td_timer_set(io->w->loop, &io->timer, SHUT_MS);
	td_loop_defer(io->w->loop, &io->task);
}

static void
op_move(struct xmpp_io *io, unsigned index)
{
	if (io->state != CN_OPEN)
		return;
	io->moving = true;
	io->move_to = (uint8_t)index;
	sync_read(io);
	td_loop_defer(io->w->loop, &io->task);
}

static void
op_pause(struct xmpp_io *io, bool paused)
{
	if (io->paused == paused)
		return;
	io->paused = paused;
	if (io->state != CN_OPEN)
		return;
	sync_read(io);
	if (!paused && !io->moving && io->ssl != NULL && SSL_has_pending(io->ssl))
		read_again(io);
}

static size_t
op_pending(const struct xmpp_io *io)
{
	return waiting(io);
}

static const char *
op_peer(const struct xmpp_io *io)
{
	return io->peer;
}

static bool
op_channel_binding(struct xmpp_io *io, struct xmpp_cb_data *out)
{
	if (io->ssl == NULL)
		return false;
	gw_tls_binding(io->ssl, &io->w->conns->cb, out);
	return true;
}

static unsigned
op_binding_types(struct xmpp_io *io)
{
	return io->ssl != NULL ? gw_tls_binding_types(io->ssl) : 0;
}

static bool
op_certificate(struct xmpp_io *io, struct td_arena *a, struct xmpp_cert *out)
{
	return io->ssl != NULL && gw_tls_certificate(io->ssl, a, out);
}

static bool
op_has_tls_ctx(const struct xmpp_io *io)
{
	return io->cf->tls != NULL;
}

static void
op_set_domain(struct xmpp_io *io, struct td_str domain)
{
	if (io->ssl != NULL || io->cf->tls == NULL)
		return;
	free(io->domain);
	io->domain = td_strndup(domain);
}

const struct xmpp_io_ops gw_io_ops = {
	.out = op_out,
	.starttls = op_starttls,
	.shut = op_shut,
	.move = op_move,
	.pause = op_pause,
	.pending = op_pending,
	.peer = op_peer,
	.channel_binding = op_channel_binding,
	.binding_types = op_binding_types,
	.certificate = op_certificate,
	.has_tls_ctx = op_has_tls_ctx,
	.set_domain = op_set_domain,
};

/* ---- all connections of a worker ---- */

void
gw_conns_init(struct gw_worker *w)
{
	struct gw_conns *cs = td_zalloc(sizeof(*cs));

	TAILQ_INIT(&cs->list);
	TAILQ_INIT(&cs->again);
	w->conns = cs;
}

void
gw_conns_fini(struct gw_worker *w)
{
	struct gw_conns *cs = w->conns;
	struct obuf *o;

	w->conns = NULL;
	if (cs == NULL)
		return;
	while ((o = SLIST_FIRST(&cs->pool)) != NULL) {
		SLIST_REMOVE_HEAD(&cs->pool, link);
		td_buf_fini(&o->b);
		free(o);
	}
	td_buf_fini(&cs->trash);
	free(cs);
}

void
gw_conns_end_all(struct gw_worker *w, const char *condition)
{
	struct xmpp_io *io, *next;

	w->conns->ending = condition;
	for (io = TAILQ_FIRST(&w->conns->list); io != NULL; io = next) {
		next = TAILQ_NEXT(io, link);
		if (io->up == NULL)
			conn_close(io, condition);
		else if (io->state != CN_SHUT)
			app(io)->end(io->up, condition);
	}
}

void
gw_conns_close_all(struct gw_worker *w, const char *why)
{
	struct xmpp_io *io;

	w->conns->closing = true;
	while ((io = TAILQ_FIRST(&w->conns->list)) != NULL)
		conn_close(io, why);
}

size_t
gw_conns_count(const struct gw_worker *w)
{
	return w->conns->n;
}

void
gw_conns_each(struct gw_worker *w, void (*cb)(void *arg, const struct gw_conn_info *i), void *arg)
{
	const struct xmpp_io *io;

	TAILQ_FOREACH(io, &w->conns->list, link)
	{
		struct gw_conn_info i = {
			.peer = io->peer,
			.state = state_name(io),
			.tls = io->ssl != NULL,
			.idle_s = (unsigned)((td_loop_now(w->loop) - io->last_read) / 1000),
			.pending = waiting(io),
			.c2s = io->up != NULL ? app(io)->stream(io->up) : NULL,
		};

		cb(arg, &i);
	}
}
