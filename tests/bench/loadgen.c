/* loadgen - thousands of chat clients in one process, against a server or the floor program.
 *
 *   bench-loadgen --port N [--pid PID] [--floor [--bare]] [--tls|--starttls] [--plain-auth]
 *                 [--presence] [--domain D] [--body N] [--timeout SEC] [--login-window N]
 *   bench-loadgen --accounts N [--domain D]     lines for "tandemctl account import"
 *
 * It does what lines on standard input say and answers each with one line of JSON:
 *   connect N              bring the sessions up to N, each a full login
 *   chat COUNT WINDOW [BURST [RATE]]
 *                          COUNT messages, at most WINDOW unanswered, BURST in one write, RATE a
 *                          second (0 = as fast as they come back)
 *   quit
 *
 * Session 2i sends to session 2i+1; messages go to the pairs in turn, so that every session is
 * used.  A window is refilled when half of it came back: the server always has work and is never
 * asked to answer one byte at a time.  While it measures the program polls without sleeping, or
 * the server would pay for waking it up.  CPU time is that of PID, read at both ends.
 *
 * --floor --bare connects (and shakes hands) and says no more.
 *
 * SCRAM-SHA-256 with one salt for all accounts: the client key is derived once.  Connects only to
 * 127.0.0.1, from addresses of 127/8. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "gateway/base/str.h"
#include "tests/bench/bench.h"

#define SESSIONS_MAX 60000
#define EVENTS 256
#define PASSWORD "bench-password"
#define SALT "tandem-bench-salt"
#define ITERATIONS 4096
#define HASH 32
#define PER_ADDRESS 5000 /* sessions from one source address */
#define SETTLE_NS 100000000

#define NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"

struct client;

/* A login is a walk along one of these: wait for the text, then do the next thing. */
struct step {
	const char *until;
	void (*then)(struct client *c);
};

struct client {
	int fd;
	unsigned number;
	bool shaking, ready;
	uint8_t matched; /* bytes of "</message>" seen */
	SSL *ssl;
	const struct step *step;
	struct td_buf in;    /* while logging in */
	struct td_buf first; /* SCRAM: the client's first message, bare */
	struct td_buf text;  /* message to the peer, BURST times */
};

static struct {
	uint16_t port;
	pid_t pid;
	bool floor, bare, tls, starttls, plain_auth, presence;
	const char *domain;
	size_t body;
	long timeout;
	unsigned window;
} opt = { .domain = "bench.test", .body = 60, .timeout = 300, .window = 32 };

static struct client *clients;
static unsigned n_started, n_ready;
static uint64_t received;
static size_t text_len; /* of one message */
static int ep;
static SSL_CTX *ctx;
static unsigned char client_key[HASH], stored_key[HASH], server_key[HASH];
static char buf[65536];

/* ---- keys ---- */

static void
hmac(const void *key, size_t klen, const void *msg, size_t n, unsigned char *out)
{
	unsigned len = HASH;

	if (HMAC(EVP_sha256(), key, (int)klen, msg, n, out, &len) == NULL)
		bench_die("HMAC");
}

static void
derive_keys(void)
{
	unsigned char salted[HASH];

	if (PKCS5_PBKDF2_HMAC(PASSWORD, -1, (const unsigned char *)SALT, sizeof(SALT) - 1,
			      ITERATIONS, EVP_sha256(), HASH, salted) != 1)
		bench_die("PBKDF2");
	hmac(salted, HASH, "Client Key", 10, client_key);
	hmac(salted, HASH, "Server Key", 10, server_key);
	if (EVP_Digest(client_key, HASH, stored_key, NULL, EVP_sha256(), NULL) != 1)
		bench_die("SHA-256");
}

static void
print_accounts(unsigned n)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "\t{SCRAM-SHA-256}%d$", ITERATIONS);
	td_buf_add_base64(&b, SALT, sizeof(SALT) - 1);
	td_buf_addc(&b, '$');
	td_buf_add_base64(&b, stored_key, HASH);
	td_buf_addc(&b, '$');
	td_buf_add_base64(&b, server_key, HASH);
	for (unsigned i = 0; i < n; i++)
		printf("u%06u@%s%s\n", i, opt.domain, td_buf_cstr(&b));
	td_buf_fini(&b);
}

/* ---- bytes ---- */

static void
lost(const struct client *c, const char *why)
{
	bench_die("session %u: %s: %.*s", c->number, why, TD_STR_ARG(td_buf_str(&c->in)));
}

static void
put(struct client *c, const char *p, size_t n)
{
	if (c->ssl != NULL) {
		size_t done = 0;

		ERR_clear_error();
		if (SSL_write_ex(c->ssl, p, n, &done) != 1 || done != n)
			lost(c, "TLS write");
	} else if (send(c->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n) {
		lost(c, "write");
	}
}

static void
put_buf(struct client *c, struct td_buf *b)
{
	put(c, b->p, b->len);
	td_buf_fini(b);
}

/* Bytes read, 0 = none now. */
static size_t
get(struct client *c)
{
	ssize_t n;

	if (c->ssl != NULL) {
		size_t done = 0;

		ERR_clear_error();
		if (SSL_read_ex(c->ssl, buf, sizeof(buf), &done) == 1)
			return done;
		if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_READ)
			lost(c, "TLS closed");
		return 0;
	}
	n = recv(c->fd, buf, sizeof(buf), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		lost(c, "closed");
	return n < 0 ? 0 : (size_t)n;
}

/* ---- a login, step by step ---- */

static const struct step steps_floor[1], steps_starttls[2], steps_scram[3], steps_plain[2],
	steps_bind[2], steps_presence[1];

static void
send_header(struct client *c)
{
	struct td_buf b = { 0 };

	td_buf_addf(
		&b,
		"<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' "
		"xmlns:stream='http://etherx.jabber.org/streams'>",
		opt.domain);
	put_buf(c, &b);
}

static void
send_starttls(struct client *c)
{
	static const char text[] = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

	put(c, text, sizeof(text) - 1);
	c->step++;
}

static void
ready(struct client *c)
{
	td_buf_fini(&c->in);
	c->step = NULL;
	c->ready = true;
	n_ready++;
}

static void
shake(struct client *c)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(c->ssl);
	if (rc != 1) {
		if (SSL_get_error(c->ssl, rc) != SSL_ERROR_WANT_READ)
			lost(c, "handshake");
		return;
	}
	c->shaking = false;
	if (opt.bare) {
		ready(c);
	} else if (opt.floor) {
		struct td_buf b = { 0 };

		td_buf_addf(&b, "%c%08u\n", c->number % 2 == 0 ? 'S' : 'R', c->number / 2);
		put_buf(c, &b);
	} else {
		send_header(c);
	}
}

static void
start_tls(struct client *c)
{
	c->ssl = SSL_new(ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
	    SSL_set_tlsext_host_name(c->ssl, opt.domain) != 1)
		bench_die("SSL");
	SSL_set_connect_state(c->ssl);
	c->shaking = true;
	shake(c);
}

static void
on_proceed(struct client *c)
{
	c->step = opt.plain_auth ? steps_plain : steps_scram;
	start_tls(c);
}

static void
send_first(struct client *c)
{
	struct td_buf b = { 0 }, msg = { 0 };
	char nonce[25];

	td_random_id(nonce, 24);
	td_buf_addf(&c->first, "n=u%06u,r=%s", c->number, nonce);
	td_buf_addz(&msg, "n,,");
	td_buf_adds(&msg, td_buf_str(&c->first));
	td_buf_addz(&b, "<auth xmlns='" NS_SASL "' mechanism='SCRAM-SHA-256'>");
	td_buf_add_base64(&b, msg.p, msg.len);
	td_buf_addz(&b, "</auth>");
	td_buf_fini(&msg);
	put_buf(c, &b);
	c->step++;
}

static void
send_plain(struct client *c)
{
	struct td_buf b = { 0 }, msg = { 0 };

	td_buf_addc(&msg, '\0');
	td_buf_addf(&msg, "u%06u", c->number);
	td_buf_addc(&msg, '\0');
	td_buf_addz(&msg, PASSWORD);
	td_buf_addz(&b, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>");
	td_buf_add_base64(&b, msg.p, msg.len);
	td_buf_addz(&b, "</auth>");
	td_buf_fini(&msg);
	put_buf(c, &b);
	c->step++;
}

/* The text inside the one element of c->in, decoded. */
static void
decode_content(struct client *c, struct td_buf *out)
{
	const char *from = memchr(c->in.p, '>', c->in.len), *to;

	to = from != NULL ? memchr(from, '<', (size_t)(c->in.p + c->in.len - from)) : NULL;
	if (to == NULL || td_base64_decode(td_str(from + 1, (size_t)(to - from - 1)), out) < 0)
		lost(c, "no base64");
}

/* RFC 5802 3: proof = client key XOR HMAC(stored key, all that was said). */
static void
send_final(struct client *c)
{
	struct td_buf b = { 0 }, said = { 0 }, challenge = { 0 }, msg = { 0 };
	unsigned char proof[HASH];
	size_t nonce;
	char *p;

	decode_content(c, &challenge);
	p = td_buf_cstr(&challenge);
	nonce = strcspn(p, ",");
	if (strncmp(p, "r=", 2) != 0)
		lost(c, "no nonce");
	td_buf_addf(&msg, "c=biws,%.*s", (int)nonce, p);
	td_buf_addf(&said, "%.*s,%s,%.*s", TD_STR_ARG(td_buf_str(&c->first)), p,
		    TD_STR_ARG(td_buf_str(&msg)));
	hmac(stored_key, HASH, said.p, said.len, proof);
	for (size_t i = 0; i < HASH; i++)
		proof[i] ^= client_key[i];
	td_buf_addz(&msg, ",p=");
	td_buf_add_base64(&msg, proof, HASH);
	td_buf_addz(&b, "<response xmlns='" NS_SASL "'>");
	td_buf_add_base64(&b, msg.p, msg.len);
	td_buf_addz(&b, "</response>");
	td_buf_fini(&said);
	td_buf_fini(&challenge);
	td_buf_fini(&msg);
	td_buf_fini(&c->first);
	put_buf(c, &b);
	c->step++;
}

static void
on_success(struct client *c)
{
	send_header(c);
	c->step = steps_bind;
}

static void
send_bind(struct client *c)
{
	static const char text[] = "<iq type='set' id='b1'><bind xmlns='" NS_BIND "'>"
				   "<resource>bench</resource></bind></iq>";

	put(c, text, sizeof(text) - 1);
	c->step++;
}

static void
on_bound(struct client *c)
{
	if (!opt.presence) {
		ready(c);
		return;
	}
	put(c, "<presence/>", 11);
	c->step = steps_presence;
}

static const struct step steps_floor[1] = { { "ok\n", ready } };
static const struct step steps_starttls[2] = { { "</stream:features>", send_starttls },
					       { "<proceed", on_proceed } };
static const struct step steps_scram[3] = {
	{ "</stream:features>", send_first },
	{ "</challenge>", send_final },
	{ "<success", on_success },
};
static const struct step steps_plain[2] = { { "</stream:features>", send_plain },
					    { "<success", on_success } };
static const struct step steps_bind[2] = { { "</stream:features>", send_bind },
					   { "</iq>", on_bound } };
static const struct step steps_presence[1] = { { "<presence", ready } };

static void
login_input(struct client *c, size_t n)
{
	static const char *const bad[] = { "<failure", "<stream:error", "type='error'" };
	char last;

	td_buf_add(&c->in, buf, n);
	last = c->in.p[c->in.len - 1];
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (memmem(c->in.p, c->in.len, bad[i], strlen(bad[i])) != NULL)
			lost(c, "refused");
	if ((last != '>' && last != '\n') ||
	    memmem(c->in.p, c->in.len, c->step->until, strlen(c->step->until)) == NULL)
		return;
	c->step->then(c);
	td_buf_clear(&c->in);
}

static void
connect_one(unsigned i)
{
	uint32_t from = INADDR_LOOPBACK + 256 + (uint32_t)(getpid() % 60) * 1024 + i / PER_ADDRESS;
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(from) };
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = i };
	struct client *c = &clients[i];
	int on = 1;

	c->number = i;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		bench_die("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		bench_die("bind: %s", strerror(errno));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sa.sin_port = htons(opt.port);
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		bench_die("connect: %s", strerror(errno));
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		bench_die("epoll: %s", strerror(errno));
	if (opt.floor)
		c->step = steps_floor;
	else if (opt.starttls)
		c->step = steps_starttls;
	else
		c->step = opt.plain_auth ? steps_plain : steps_scram;
	if (opt.tls) {
		start_tls(c);
	} else if (opt.bare) {
		ready(c);
	} else if (opt.floor) {
		(void)snprintf(buf, sizeof(buf), "%c%08u\n", i % 2 == 0 ? 'S' : 'R', i / 2);
		put(c, buf, 10);
	} else {
		send_header(c);
	}
}

/* ---- what comes in ---- */

/* Count "</message>" in a stream cut anywhere. */
static void
count_messages(struct client *c, const char *p, size_t n)
{
	static const char mark[] = "</message>";
	const char *end = p + n;

	while (p < end) {
		if (c->matched == 0) {
			p = memchr(p, '<', (size_t)(end - p));
			if (p == NULL)
				return;
		}
		if (*p == mark[c->matched]) {
			p++;
			if (++c->matched == sizeof(mark) - 1) {
				c->matched = 0;
				received++;
			}
		} else {
			c->matched = *p == '<' ? 1 : 0;
			p++;
		}
	}
}

static void
on_readable(struct client *c)
{
	size_t n;

	if (c->shaking) {
		shake(c);
		return;
	}
	do {
		n = get(c);
		if (n == 0)
			return;
		if (!c->ready)
			login_input(c, n);
		else
			count_messages(c, buf, n);
	} while (c->ssl != NULL && !c->shaking && SSL_has_pending(c->ssl));
}

/* False when nothing came. */
static bool
turn(int timeout)
{
	struct epoll_event got[EVENTS];
	int n = epoll_wait(ep, got, EVENTS, timeout);

	for (int i = 0; i < n; i++)
		on_readable(&clients[got[i].data.u32]);
	return n > 0;
}

static void
turns_until(int64_t end)
{
	while (bench_now() < end)
		(void)turn(10);
}

/* ---- commands ---- */

static int64_t deadline, cpu_at, wall_at;

static void
begin(void)
{
	deadline = bench_now() + opt.timeout * 1000000000;
	cpu_at = bench_cpu(opt.pid);
	wall_at = bench_now();
}

static void
in_time(const char *what)
{
	if (bench_now() > deadline)
		bench_die("%s: not done in %ld s (%u of %u sessions, %llu messages)", what,
			  opt.timeout, n_ready, n_started, (unsigned long long)received);
}

static void
say_result(const char *what, uint64_t n, int64_t wall)
{
	const char *cipher = clients[0].ssl != NULL ? SSL_get_cipher(clients[0].ssl) : "";

	printf("{\"%s\": %llu, \"cpu_ns\": %lld, \"wall_ns\": %lld, \"bytes\": %zu, \"cipher\": "
	       "\"%s\"}\n",
	       what, (unsigned long long)n, (long long)(bench_cpu(opt.pid) - cpu_at),
	       (long long)wall, text_len, cipher);
	fflush(stdout);
}

static void
cmd_connect(unsigned n)
{
	unsigned before = n_ready;
	int64_t wall;

	if (n > SESSIONS_MAX)
		bench_die("more than %d sessions", SESSIONS_MAX);
	begin();
	while (n_ready < n) {
		while (n_started < n && n_started - n_ready < opt.window)
			connect_one(n_started++);
		if (!turn(0))
			in_time("connect");
	}
	wall = bench_now() - wall_at;
	turns_until(bench_now() +
		    SETTLE_NS); /* what the server does after its last answer counts too */
	say_result("logins", n - before, wall);
}

static void
make_texts(unsigned burst)
{
	struct td_buf one = { 0 };

	for (unsigned i = 0; i < n_ready; i += 2) {
		struct td_buf *b = &clients[i].text;

		td_buf_clear(&one);
		td_buf_addf(&one, "<message to='u%06u@%s' type='chat' id='m%06u'><body>", i + 1,
			    opt.domain, i);
		for (size_t n = 0; n < opt.body; n++)
			td_buf_addc(&one, n % 6 == 5 ? ' ' : (char)('a' + n % 26));
		td_buf_addz(
			&one,
			"</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>");
		text_len = one.len;
		td_buf_clear(b);
		for (unsigned k = 0; k < burst; k++)
			td_buf_adds(b, td_buf_str(&one));
	}
	td_buf_fini(&one);
}

static void
run_chat(uint64_t count, unsigned window, unsigned burst, uint64_t rate)
{
	static unsigned next; /* pair */
	unsigned pairs = n_ready / 2;
	uint64_t sent = 0, from = received, may;
	int64_t start = bench_now();
	bool filling = true;

	while (received - from < count) {
		uint64_t open = sent - (received - from);

		may = rate == 0 ? count : (uint64_t)(bench_now() - start) * rate / 1000000000;
		if (may > count)
			may = count;
		if (open <= window / 2 || rate > 0)
			filling = true;
		while (filling && sent < may && sent - (received - from) + burst <= window) {
			struct client *c = &clients[2 * next];

			put(c, c->text.p, c->text.len);
			sent += burst;
			next = (next + 1) % pairs;
		}
		filling = false;
		if (!turn(0))
			in_time("chat");
	}
}

static void
cmd_chat(uint64_t count, unsigned window, unsigned burst, uint64_t rate)
{
	if (n_ready < 2 || window < burst || burst == 0)
		bench_die("chat: nothing to do");
	count -= count % burst;
	make_texts(burst);
	deadline = bench_now() + opt.timeout * 1000000000;
	run_chat((count / 10 + n_ready / 2 * burst) / burst * burst, window, burst,
		 rate); /* warm up */
	turns_until(bench_now() + SETTLE_NS);
	begin();
	run_chat(count, window, burst, rate);
	say_result("messages", count, bench_now() - wall_at);
}

static bool
obey(char *line)
{
	unsigned long a[4] = { 0, 0, 1, 0 };
	char word[16] = "";
	int n = sscanf(line, "%15s %lu %lu %lu %lu", word, &a[0], &a[1], &a[2], &a[3]);

	if (n == 2 && strcmp(word, "connect") == 0)
		cmd_connect((unsigned)a[0]);
	else if (n >= 3 && strcmp(word, "chat") == 0)
		cmd_chat(a[0], (unsigned)a[1], (unsigned)a[2], a[3]);
	else if (strcmp(word, "quit") == 0)
		return false;
	else
		bench_die("not understood: %s", line);
	return true;
}

static void
serve(void)
{
	struct pollfd p[2] = { { .fd = 0, .events = POLLIN }, { .fd = ep, .events = POLLIN } };
	char line[256];
	size_t len = 0;

	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		char *nl;

		if (p[1].revents != 0)
			(void)turn(0);
		if (p[0].revents == 0)
			continue;
		ssize_t n = read(0, line + len, sizeof(line) - 1 - len);

		if (n <= 0)
			return;
		len += (size_t)n;
		line[len] = '\0';
		while ((nl = strchr(line, '\n')) != NULL) {
			*nl = '\0';
			if (!obey(line))
				return;
			len -= (size_t)(nl + 1 - line);
			memmove(line, nl + 1, len + 1);
		}
	}
}

struct flag {
	const char *name;
	bool *on;
};

static unsigned
read_options(int argc, char **argv)
{
	const struct flag flags[] = {
		{ "--floor", &opt.floor },       { "--tls", &opt.tls },
		{ "--starttls", &opt.starttls }, { "--plain-auth", &opt.plain_auth },
		{ "--presence", &opt.presence }, { "--bare", &opt.bare },
	};
	unsigned accounts = 0;

	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *value = argv[i + 1];
		size_t f;

		for (f = 0; f < sizeof(flags) / sizeof(*flags) && strcmp(flags[f].name, name) != 0;
		     f++)
			;
		if (f < sizeof(flags) / sizeof(*flags)) {
			*flags[f].on = true;
			continue;
		}
		if (value == NULL)
			bench_die("%s: unknown, or without a value", name);
		i++;
		if (strcmp(name, "--port") == 0)
			opt.port = (uint16_t)bench_number(value, name);
		else if (strcmp(name, "--pid") == 0)
			opt.pid = (pid_t)bench_number(value, name);
		else if (strcmp(name, "--domain") == 0)
			opt.domain = value;
		else if (strcmp(name, "--body") == 0)
			opt.body = (size_t)bench_number(value, name);
		else if (strcmp(name, "--timeout") == 0)
			opt.timeout = bench_number(value, name);
		else if (strcmp(name, "--login-window") == 0)
			opt.window = (unsigned)bench_number(value, name);
		else if (strcmp(name, "--accounts") == 0)
			accounts = (unsigned)bench_number(value, name);
		else
			bench_die("%s: unknown", name);
	}
	return accounts;
}

int
main(int argc, char **argv)
{
	unsigned accounts = read_options(argc, argv);

	signal(SIGPIPE, SIG_IGN);
	derive_keys();
	if (accounts > 0) {
		print_accounts(accounts);
		return 0;
	}
	if (opt.port == 0)
		bench_die("--port is missing");
	bench_files();
	ep = epoll_create1(EPOLL_CLOEXEC);
	clients = td_zalloc(SESSIONS_MAX * sizeof(*clients));
	ctx = SSL_CTX_new(TLS_client_method());
	if (ep < 0 || ctx == NULL)
		bench_die("epoll or TLS");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	serve();
	return 0;
}
