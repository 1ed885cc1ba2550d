/* fuzz_web - what web clients send, to a worker with its connections: HTTP requests one after another, WebSocket
 * frames, BOSH.
 *
 * Byte 0: bit 0 a PROXY header comes first, bit 1 credentials come late.
 * Byte 1: how many bytes come at once.  The rest is what the client sends, but for
 *   0xFF 'a' to 0xFF 'd'  goes on with that connection (new, when there is none)
 *   0xFF 'n'              breaks this one; what follows goes to a new one
 *   0xFF 's'              everything under way gets done
 * and the last session id that was told stands wherever ID_MARK does (it is as long).
 * Answers must be HTTP, frames as a server may send them, and what they carry must be XML. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/arena.h"
#include "gateway/http/disk.h"
#include "gateway/http/http.h"
#include "tests/unit/xmpp/c2s_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNS 4u
#define ID_LEN 28u
#define ID_MARK "SESSIONSESSIONSESSIONSESSION"

struct client {
	int fd; /* -1 = there is none */
	bool socket;
	bool blind; /* it asked for HEAD: which answers have a body cannot be told */
	struct td_buf in, sent;
};

static struct gw gw;
static struct gw_worker worker;
static struct gw_conn_conf *listen_conf;
static struct client clients[CONNS];
static char sid[ID_LEN + 1];
static unsigned proxy_ms;

/* ---- what the server says ---- */

static struct td_str
must_be_xml(struct td_str s, const char *attr)
{
	static char value[ID_LEN + 1];
	struct td_arena *a = td_arena_new(0);
	const char *why = "";
	const struct xmpp_node *n = xmpp_xml_parse(a, s, NULL, &why);
	struct td_str v;

	rig_must(n != NULL);
	v = xmpp_node_attr(n, attr);
	value[0] = '\0';
	if (v.len == ID_LEN)
		memcpy(value, v.p, ID_LEN);
	td_arena_free(a);
	return td_cstr(value);
}

/* The field's value in a head of ours. */
static struct td_str
field_of(struct td_str head, const char *name)
{
	while (head.len > 0) {
		struct td_str line = td_str_trim(td_str_cut(&head, '\n'));

		if (td_str_starts(line, name))
			return td_str_trim(td_str(line.p + strlen(name), line.len - strlen(name)));
	}
	return TD_STR_NULL;
}

/* An answer; how many bytes it has, 0: it is not whole. */
static size_t
take_answer(struct client *c, struct td_str in)
{
	const char *end = in.len > 0 ? memmem(in.p, in.len, "\r\n\r\n", 4) : NULL;
	struct td_str head, body, id;
	int64_t status, length = 0;

	rig_must(in.len < 12 || td_str_starts(in, "HTTP/1.1 "));
	if (end == NULL)
		return 0;
	head = td_str(in.p, (size_t)(end - in.p) + 4);
	rig_must(td_str_to_dec(td_str(head.p + 9, 3), 100, 599, &status));
	c->socket = status == 101;
	if (status < 200 || status == 204 || status == 304)
		return head.len;
	rig_must(td_str_to_dec(field_of(head, "Content-Length:"), 0, 1 << 24, &length));
	if (head.len + (size_t)length > in.len)
		return 0;
	body = td_str(in.p + head.len, (size_t)length);
	if (td_str_starts(body, "<body")) {
		id = must_be_xml(body, "sid");
		if (id.len > 0)
			memcpy(sid, id.p, ID_LEN);
	}
	return head.len + body.len;
}

/* A frame (RFC 6455 5.2); likewise. */
static size_t
take_frame(struct td_str in)
{
	const unsigned char *p = (const unsigned char *)in.p;
	size_t head = 2, len;

	if (in.len < 2)
		return 0;
	/* whole, no extensions, not masked */
	rig_must((p[0] & 0xf0) == 0x80 && (p[1] & 0x80) == 0);
	len = p[1];
	head += len == 126 ? 2 : len == 127 ? 8 : 0;
	if (in.len < head)
		return 0;
	for (size_t i = 2, n = 0; i < head; i++)
		len = n = n << 8 | p[i];
	if (in.len < head + len)
		return 0;
	switch (p[0] & 0x0f) {
	case 1: (void)must_be_xml(td_str(in.p + head, len), "id"); break;
	case 8: rig_must(len != 1 && len <= 125); break;
	case 9:
	case 10: rig_must(len <= 125); break;
	default: abort();
	}
	return head + len;
}

static void
check(struct client *c)
{
	size_t n = 1;

	while (n > 0 && !c->blind && c->in.len > 0) {
		n = c->socket ? take_frame(td_buf_str(&c->in)) : take_answer(c, td_buf_str(&c->in));
		td_buf_drain(&c->in, n);
	}
}

/* ---- connections ---- */

static void
hang_up(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	td_buf_fini(&c->in);
	td_buf_fini(&c->sent);
	c->socket = c->blind = false;
}

static void
dial(struct client *c)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(4711) };
	int fds[2];

	rig_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	/* not counted when a login fails, which would outlive this run */
	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = fds[0];
	gw_conn_accept(&worker, fds[1], listen_conf, (struct sockaddr *)&peer, proxy_ms);
}

static void
hear(struct client *c)
{
	bool open = c->fd >= 0;

	while (open) {
		ssize_t n = recv(c->fd, td_buf_reserve(&c->in, 65536), 65536, 0);

		open = n > 0 || (n < 0 && errno == EAGAIN);
		if (n <= 0)
			break;
		c->in.len += (size_t)n;
	}
	check(c);
	if (!open)
		hang_up(c);
}

static void
hear_all(void)
{
	for (size_t i = 0; i < CONNS; i++)
		hear(&clients[i]);
}

static void
settle(void)
{
	rig_settle();
	hear_all();
	rig_settle();
}

static void
say(struct client *c, const uint8_t *data, size_t n)
{
	if (c->fd < 0)
		dial(c);
	td_buf_add(&c->sent, data, n);
	c->blind |= memmem(c->sent.p, c->sent.len, "HEAD", 4) != NULL;
	(void)send(c->fd, data, n, MSG_NOSIGNAL); /* what does not fit is lost */
	td_loop_turn(rig.loop, false);
	hear_all();
}

static size_t
control(size_t at, uint8_t what)
{
	switch (what) {
	case 'a':
	case 'b':
	case 'c':
	case 'd': return what - 'a';
	case 'n': hang_up(&clients[at]); break;
	case 's': settle(); break;
	}
	return at;
}

/* The mark within <n> bytes and the last id, in its place. */
static void
fill_in(uint8_t *p, size_t n)
{
	uint8_t *end = p + n;

	while (sid[0] != '\0' && (p = memmem(p, (size_t)(end - p), ID_MARK, ID_LEN)) != NULL)
		memcpy(p, sid, ID_LEN);
}

static void
talk(const uint8_t *data, size_t size, size_t step)
{
	size_t at = 0;

	for (size_t i = 0; i < size;) {
		const uint8_t *mark = memchr(data + i, 0xFF, size - i);
		size_t n = mark != NULL ? (size_t)(mark - data) - i : size - i;
		uint8_t *piece;

		if (n == 0 && i + 1 < size && memchr("abcdns", data[i + 1], 6) != NULL) {
			at = control(at, data[i + 1]);
			i += 2;
			continue;
		}
		n = n > 0 ? n : 1; /* 0xFF itself */
		piece = td_alloc(n);
		memcpy(piece, data + i, n);
		fill_in(piece, n);
		for (size_t k = 0; k < n; k += step)
			say(&clients[at], piece + k, n - k < step ? n - k : step);
		free(piece);
		i += n;
	}
}

/* ---- life ---- */

static void
free_conf(struct gw_conn_conf *cf)
{
	cf->app->forget(cf);
	free(cf);
}

static void
start(void)
{
	struct gw_conn_conf *cf = td_zalloc(sizeof(*cf));

	td_log_set_level(NULL, TD_LOG_ERROR);
	rig_start("sm_max_queue = 10 max_resources = 3");
	rig.cc.mechs_plain = 0x1F;
	rig.cc.max_stanza = 20000;
	rig.cc.max_stanza_unauth = 10000;
	if (gw.disk == NULL) { /* stopped it works on our thread */
		rig_must(gw_disk_start(&gw, NULL) == 0);
		gw_disk_stop(&gw);
	}
	gw = (struct gw){ .n_workers = 1, .store = rig.store, .conf = rig.conf, .disk = gw.disk };
	gw.directory = gw_directory_new();
	worker = (struct gw_worker){ .gw = &gw, .loop = rig.loop, .env = rig.env };
	worker.readbuf_len = 65536;
	worker.readbuf = td_alloc(worker.readbuf_len);
	gw.workers[0] = &worker;
	rig.env->host_data = &worker;
	gw_conns_init(&worker);
	cf->refs = 1;
	cf->cc = rig.cc;
	cf->cc.ops = &gw_io_ops;
	cf->app = &gw_http_app;
	cf->handshake_ms = 10000;
	cf->max_pending = 1 << 20;
	cf->free = free_conf;
	cf->app->configure(cf, rig.conf, &(struct conf_at){ .protocol = "xmpp" });
	cf->app->ready(cf);
	cf->http->plain_discovery = cf->http->metrics = true;
	listen_conf = cf;
}

/* Nobody is left; sessions of BOSH wait for their next request. */
static void
all_leave(void)
{
	for (size_t i = 0; i < CONNS; i++)
		hang_up(&clients[i]);
	rig_settle();
	rig_must(gw_conns_open() == 0);
}

static void
stop(void)
{
	gw_conns_close_all(&worker, "stop");
	gw_bosh_close_all(&worker);
	rig_settle();
	gw_bosh_fini(&worker);
	gw_conns_fini(&worker);
	gw_conn_conf_unref(&listen_conf);
	gw_directory_free(gw.directory);
	rig_stop();
	rig.env = NULL;
	free(worker.readbuf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned runs;

	if (size < 2)
		return 0;
	for (size_t i = 0; i < CONNS; i++)
		clients[i] = (struct client){ .fd = -1 };
	sid[0] = '\0';
	proxy_ms = (data[0] & 1) ? 10000 : 0;
	if (rig.env == NULL)
		start();
	rig.late = (data[0] & 2) != 0;
	talk(data + 2, size - 2, (size_t)data[1] * 16 + 1);
	settle();
	hear_all();
	all_leave();
	/* a world in which nobody signed in is as good as new */
	if (rig.env->stats.logins > 0 || ++runs % 100 == 0)
		stop();
	return 0;
}
