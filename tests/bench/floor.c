/* floor - the least a chat server could do: hand the same bytes from one socket to another.
 *
 *   bench-floor [--expat] [--fan] [--tls CERT.pem]
 *
 * Binds a free port of 127.0.0.1 and prints it.  The first ten bytes of a connection are its role:
 * 'S' or 'R' and eight digits.  What S of a number sends goes to R of that number, as it came.
 * With --expat the bytes of each sender also pass a parser that is kept open, with handlers that
 * do nothing.  With --tls the connections speak TLS from the first byte, set up as the daemon
 * sets up its own.  Each role line is answered by "ok\n".
 *
 * With --fan what any S sends goes to every R: all that came in one turn of the loop, in one write
 * per R.
 *
 * Plain epoll, one thread, one shared read buffer, nothing queued: senders are expected to keep a
 * window smaller than a socket buffer, and a full socket is waited for. */
#include <arpa/inet.h>
#include <expat.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/bench/bench.h"

#define ROLE_LEN 10
#define PAIRS_MAX 100000
#define EVENTS 256

extern XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled)
	__attribute__((weak));

struct link {
	int fd;
	bool shaking;
	uint8_t role_len;
	char role[ROLE_LEN];
	unsigned number;
	SSL *ssl;
	XML_Parser xp;
};

static struct link *senders[PAIRS_MAX], *receivers[PAIRS_MAX];
static SSL_CTX *ctx;
static bool with_expat, fan;
static unsigned numbers; /* above the highest of a link */
static char *turn;       /* --fan: what came in this turn */
static size_t turn_len, turn_cap;
static int ep;
static char buf[65536];

static void XMLCALL
on_start(void *arg, const XML_Char *name, const XML_Char **atts)
{
	(void)arg;
	(void)name;
	(void)atts;
}

static void XMLCALL
on_end(void *arg, const XML_Char *name)
{
	(void)arg;
	(void)name;
}

static void XMLCALL
on_text(void *arg, const XML_Char *s, int len)
{
	(void)arg;
	(void)s;
	(void)len;
}

/* The daemon's settings, with a stream header behind it. */
static XML_Parser
parser_new(void)
{
	static const char head[] = "<stream:stream xmlns='jabber:client' "
				   "xmlns:stream='http://etherx.jabber.org/streams'>";
	XML_Parser xp = XML_ParserCreateNS("UTF-8", '\x01');

	if (xp == NULL)
		bench_die("no parser");
	if (XML_SetReparseDeferralEnabled != NULL)
		(void)XML_SetReparseDeferralEnabled(xp, XML_FALSE);
	XML_SetReturnNSTriplet(xp, 1);
	XML_SetElementHandler(xp, on_start, on_end);
	XML_SetCharacterDataHandler(xp, on_text);
	if (XML_Parse(xp, head, sizeof(head) - 1, 0) != XML_STATUS_OK)
		bench_die("header refused");
	return xp;
}

static SSL_CTX *
server_ctx(const char *cert)
{
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());

	if (c == NULL || SSL_CTX_use_certificate_chain_file(c, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c, cert, SSL_FILETYPE_PEM) != 1)
		bench_die("certificate %s", cert);
	SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
	SSL_CTX_set_options(c,
			    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(c, 1);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c, 1);
	return c;
}

static void
link_free(struct link *l)
{
	struct link **table = l->role[0] == 'S' ? senders : receivers;

	if (l->role_len == ROLE_LEN && table[l->number] == l)
		table[l->number] = NULL;
	SSL_free(l->ssl);
	if (l->xp != NULL)
		XML_ParserFree(l->xp);
	close(l->fd);
	free(l);
}

static void
wait_writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	(void)poll(&p, 1, 1000);
}

static void
put(struct link *l, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w;

		if (l->ssl != NULL) {
			size_t done = 0;

			ERR_clear_error();
			w = SSL_write_ex(l->ssl, p, n, &done) == 1 ? (ssize_t)done : -1;
			if (w < 0 && SSL_get_error(l->ssl, 0) != SSL_ERROR_WANT_WRITE)
				return;
		} else {
			w = send(l->fd, p, n, MSG_NOSIGNAL);
			if (w < 0 && errno != EAGAIN)
				return;
		}
		if (w < 0) {
			wait_writable(l->fd);
			continue;
		}
		p += w;
		n -= (size_t)w;
	}
}

/* The role line; bytes used. */
static size_t
take_role(struct link *l, const char *p, size_t n)
{
	size_t want = (size_t)(ROLE_LEN - l->role_len);
	char digits[9] = { 0 };

	if (n < want)
		want = n;
	memcpy(l->role + l->role_len, p, want);
	l->role_len = (uint8_t)(l->role_len + want);
	if (l->role_len < ROLE_LEN)
		return want;
	memcpy(digits, l->role + 1, 8);
	l->number = (unsigned)strtoul(digits, NULL, 10);
	if (l->number >= PAIRS_MAX)
		bench_die("pair %u", l->number);
	(l->role[0] == 'S' ? senders : receivers)[l->number] = l;
	if (l->number >= numbers)
		numbers = l->number + 1;
	if (with_expat)
		l->xp = parser_new();
	put(l, "ok\n", 3);
	return want;
}

static void
keep_for_all(const char *p, size_t n)
{
	if (turn_len + n > turn_cap) {
		turn_cap = (turn_len + n) * 2;
		turn = realloc(turn, turn_cap);
		if (turn == NULL)
			bench_die("memory");
	}
	memcpy(turn + turn_len, p, n);
	turn_len += n;
}

static void
to_all(void)
{
	for (unsigned i = 0; turn_len > 0 && i < numbers; i++)
		if (receivers[i] != NULL)
			put(receivers[i], turn, turn_len);
	turn_len = 0;
}

static void
relay(struct link *l, const char *p, size_t n)
{
	if (l->role_len < ROLE_LEN) {
		size_t used = take_role(l, p, n);

		p += used;
		n -= used;
	}
	if (n == 0 || l->role[0] != 'S')
		return;
	if (fan)
		keep_for_all(p, n);
	if (fan || receivers[l->number] == NULL)
		return;
	if (l->xp != NULL && XML_Parse(l->xp, p, (int)n, 0) != XML_STATUS_OK)
		bench_die("not well-formed");
	put(receivers[l->number], p, n);
}

static void
on_tls(struct link *l)
{
	size_t n;

	ERR_clear_error();
	if (l->shaking) {
		int rc = SSL_do_handshake(l->ssl);

		if (rc != 1) {
			if (SSL_get_error(l->ssl, rc) != SSL_ERROR_WANT_READ)
				link_free(l);
			return;
		}
		l->shaking = false;
	}
	do {
		if (SSL_read_ex(l->ssl, buf, sizeof(buf), &n) != 1) {
			if (SSL_get_error(l->ssl, 0) != SSL_ERROR_WANT_READ)
				link_free(l);
			return;
		}
		relay(l, buf, n);
	} while (SSL_has_pending(l->ssl));
}

static void
on_plain(struct link *l)
{
	ssize_t n = recv(l->fd, buf, sizeof(buf), 0);

	if (n > 0)
		relay(l, buf, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		link_free(l);
}

static void
on_accept(int lfd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd, on = 1;

	while ((fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct link *l = calloc(1, sizeof(*l));

		if (l == NULL)
			bench_die("memory");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		l->fd = fd;
		if (ctx != NULL) {
			l->ssl = SSL_new(ctx);
			if (l->ssl == NULL || SSL_set_fd(l->ssl, fd) != 1)
				bench_die("SSL");
			SSL_set_accept_state(l->ssl);
			l->shaking = true;
		}
		ev.data.ptr = l;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
			bench_die("epoll: %s", strerror(errno));
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev = { .events = EPOLLIN }, got[EVENTS];
	socklen_t len = sizeof(sa);
	int lfd;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--expat") == 0)
			with_expat = true;
		else if (strcmp(argv[i], "--fan") == 0)
			fan = true;
		else if (strcmp(argv[i], "--tls") == 0 && i + 1 < argc)
			ctx = server_ctx(argv[++i]);
		else
			bench_die("usage: bench-floor [--expat] [--fan] [--tls CERT.pem]");
	signal(SIGPIPE, SIG_IGN);
	bench_files();
	ep = epoll_create1(EPOLL_CLOEXEC);
	lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (lfd < 0 || bind(lfd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(lfd, 1024) < 0 ||
	    getsockname(lfd, (struct sockaddr *)&sa, &len) < 0 ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev) < 0)
		bench_die("listen: %s", strerror(errno));
	printf("%u\n", ntohs(sa.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, got, EVENTS, -1);

		for (int i = 0; i < n; i++)
			if (got[i].data.ptr == NULL)
				on_accept(lfd);
			else if (ctx != NULL)
				on_tls(got[i].data.ptr);
			else
				on_plain(got[i].data.ptr);
		to_all();
		if (n < 0 && errno != EINTR)
			bench_die("epoll: %s", strerror(errno));
	}
}
