/* loadgen - thousands of chat clients in one process, against a server or the floor program.
 *
 *   bench-loadgen --port N [--pid PID] [--floor [--bare]] [--tls|--starttls] [--plain-auth]
 *                 [--presence] [--sm] [--settle] [--domain D] [--body N] [--timeout SEC]
 *                 [--login-window N]
 *   bench-loadgen --accounts N [--domain D]     lines for "tandemctl account import"
 *
 * It does what lines on standard input say and answers each with one line of JSON:
 *   connect N              bring the sessions up to N, each a full login
 *   chat COUNT WINDOW [BURST [RATE]]
 *                          COUNT messages, at most WINDOW unanswered, BURST in one write, RATE a
 *                          second (0 = as fast as they come back)
 *   join ROOM N            the first N sessions enter ROOM; the first of them makes it
 *   room COUNT WINDOW GAP  COUNT messages to the room, from its occupants in turn, GAP microseconds
 *                          of silence before each when it is not 0
 *   news COUNT WINDOW GAP N
 *                          COUNT changes of the first session's presence, which N others see
 *   fan COUNT WINDOW GAP LEN
 *                          against the floor program: COUNT messages of LEN bytes to every R
 *   quit
 *
 * Session 2i sends to session 2i+1; messages go to the pairs in turn, so that every session is
 * used.  A window is refilled when half of it came back: the server always has work and is never
 * asked to answer one byte at a time.  While it measures the program polls without sleeping, or
 * the server would pay for waking it up.  CPU time is that of PID, read at both ends.
 *
 * --floor --bare connects (and shakes hands) and says no more.
 * --sm turns stream management on: every <r/> is answered at once, and a sender asks after every
 * tenth message.  --settle goes on measuring until the server has nothing more to do: what it
 * writes to disk behind the messages counts.
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
#define QUIET_NS 50000000   /* a server that used next to nothing for so long ... */
#define QUIET_CPU_NS 500000 /* ... is done */
#define LATER_NS 800000000  /* work that is put off is put off for less */
#define LATER_CPU_NS 8000000
#define SM_EVERY 10

#define NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_SM "urn:xmpp:sm:3"
#define NS_MUC "http://jabber.org/protocol/muc"
#define SM_REQUEST "<r xmlns='" NS_SM "'/>"

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
	uint8_t matched, matched_r; /* bytes of <mark>, of an <r/>, seen */
	uint32_t got, since_r;      /* SM: stanzas counted; sent since we asked */
	int64_t began;
	SSL *ssl;
	const struct step *step;
	struct td_buf in;    /* while logging in */
	struct td_buf first; /* SCRAM: the client's first message, bare */
	struct td_buf text;  /* message to the peer, BURST times */
};

static struct {
	uint16_t port;
	pid_t pid;
	bool floor, bare, tls, starttls, plain_auth, presence, sm, settle;
	const char *domain;
	size_t body;
	long timeout;
	unsigned window;
} opt = { .domain = "bench.test", .body = 60, .timeout = 300, .window = 32 };

static struct client *clients;
static unsigned n_started, n_ready;
static const char *mark = "</message>"; /* the end of what is counted */
static uint64_t received, bytes_in;
static size_t text_len; /* of one message */
static int64_t *took;   /* by a login, in the order they came */
static char *room;
static unsigned joined; /* sessions in it */
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
	steps_bind[2], steps_presence[1], steps_sm[1];

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
	took[n_ready++] = bench_now() - c->began;
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
enable_sm(struct client *c)
{
	static const char text[] = "<enable xmlns='" NS_SM "'/>";

	if (!opt.sm) {
		ready(c);
		return;
	}
	put(c, text, sizeof(text) - 1);
	c->step = steps_sm;
}

static void
on_bound(struct client *c)
{
	if (!opt.presence) {
		enable_sm(c);
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
static const struct step steps_presence[1] = { { "<presence", enable_sm } };
static const struct step steps_sm[1] = { { "<enabled", ready } };

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
	c->began = bench_now();
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

/* How often <what> ends in a stream that is cut anywhere.  Its first byte appears in it once. */
static unsigned
count(const char *what, uint8_t *matched, const char *p, size_t n)
{
	const char *end = p + n;
	size_t len = strlen(what);
	unsigned found = 0;

	while (p < end) {
		if (*matched == 0) {
			p = memchr(p, what[0], (size_t)(end - p));
			if (p == NULL)
				break;
		}
		if (*p == what[*matched]) {
			p++;
			if (++*matched == len) {
				*matched = 0;
				found++;
			}
		} else {
			*matched = *p == what[0] ? 1 : 0;
			p++;
		}
	}
	return found;
}

static void
on_stanzas(struct client *c, const char *p, size_t n)
{
	unsigned got = count(mark, &c->matched, p, n);
	char ack[64];

	received += got;
	bytes_in += n;
	if (!opt.sm)
		return;
	c->got += got;
	if (count(SM_REQUEST, &c->matched_r, p, n) > 0)
		put(c, ack,
		    (size_t)snprintf(ack, sizeof(ack), "<a xmlns='" NS_SM "' h='%u'/>", c->got));
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
			on_stanzas(c, buf, n);
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
	bytes_in = 0;
}

static void
in_time(const char *what)
{
	if (bench_now() > deadline)
		bench_die("%s: not done in %ld s (%u of %u sessions, %llu stanzas)", what,
			  opt.timeout, n_ready, n_started, (unsigned long long)received);
}

static int
by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* CPU time of the server in the next <ns>. */
static int64_t
used_in(int64_t ns)
{
	int64_t before = bench_cpu(opt.pid);

	turns_until(bench_now() + ns);
	in_time("settle");
	return bench_cpu(opt.pid) - before;
}

/* Let what goes on behind the answers come to its end, and what is put off for later. */
static void
settle(void)
{
	do
		while (used_in(QUIET_NS) > QUIET_CPU_NS && opt.settle)
			;
	while (opt.settle && used_in(LATER_NS) > LATER_CPU_NS);
}

static void
say_result(const char *what, uint64_t n, int64_t wall)
{
	const char *cipher = clients[0].ssl != NULL ? SSL_get_cipher(clients[0].ssl) : "";

	printf("{\"%s\": %llu, \"cpu_ns\": %lld, \"wall_ns\": %lld, \"bytes\": %zu, \"bytes_in\": "
	       "%llu, \"cipher\": \"%s\"",
	       what, (unsigned long long)n, (long long)(bench_cpu(opt.pid) - cpu_at),
	       (long long)wall, text_len, (unsigned long long)bytes_in, cipher);
}

static void
say_end(void)
{
	puts("}");
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
	qsort(took + before, n - before, sizeof(*took), by_time);
	if (n > before)
		printf(", \"p50_ns\": %lld, \"p99_ns\": %lld, \"max_ns\": %lld",
		       (long long)took[before + (n - before) / 2],
		       (long long)took[before + (n - before) * 99 / 100], (long long)took[n - 1]);
	say_end();
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
			if (opt.sm && (c->since_r += burst) >= SM_EVERY) {
				put(c, SM_REQUEST, sizeof(SM_REQUEST) - 1);
				c->since_r = 0;
			}
			sent += burst;
			next = (next + 1) % pairs;
		}
		filling = false;
		if (!turn(0))
			in_time("chat");
	}
}

static void
cmd_chat(uint64_t n, unsigned window, unsigned burst, uint64_t rate)
{
	int64_t wall;

	if (n_ready < 2 || window < burst || burst == 0)
		bench_die("chat: nothing to do");
	n -= n % burst;
	make_texts(burst);
	deadline = bench_now() + opt.timeout * 1000000000;
	run_chat((n / 10 + n_ready / 2 * burst) / burst * burst, window, burst, rate); /* warm up */
	turns_until(bench_now() + SETTLE_NS);
	settle();
	begin();
	run_chat(n, window, burst, rate);
	wall = bench_now() - wall_at;
	if (opt.settle)
		settle();
	say_result("messages", n, wall);
	say_end();
}

/* ---- one to many ---- */

static const struct step steps_join[1], steps_unlock[1];

static void
entered(struct client *c)
{
	td_buf_fini(&c->in);
	c->step = NULL;
	c->ready = true;
}

/* A room that was just made opens when its maker accepts the defaults (XEP-0045 10.1.2). */
static void
on_joined(struct client *c)
{
	struct td_buf b = { 0 };

	if (c->number > 0) {
		entered(c);
		return;
	}
	td_buf_addf(&b,
		    "<iq to='%s' type='set' id='own1'><query xmlns='" NS_MUC "#owner'>"
		    "<x xmlns='jabber:x:data' type='submit'/></query></iq>",
		    room);
	put_buf(c, &b);
	c->step = steps_unlock;
}

static const struct step steps_join[1] = { { "code='110'", on_joined } };
static const struct step steps_unlock[1] = { { "own1", entered } };

/* One after the other: who comes later would only be told of more people. */
static void
cmd_join(const char *name, unsigned n)
{
	if (n > n_ready || n == 0)
		bench_die("join: %u of %u sessions", n, n_ready);
	free(room);
	room = td_strdup(name);
	joined = n;
	begin();
	for (unsigned i = 0; i < n; i++) {
		struct client *c = &clients[i];
		struct td_buf b = { 0 };

		td_buf_addf(&b,
			    "<presence to='%s/u%06u'><x xmlns='" NS_MUC
			    "'><history maxstanzas='0'/></x></presence>",
			    room, i);
		c->step = steps_join;
		c->ready = false;
		put_buf(c, &b);
		while (!c->ready)
			if (!turn(0))
				in_time("join");
	}
	turns_until(bench_now() + SETTLE_NS);
	say_result("joins", n, bench_now() - wall_at);
	say_end();
}

static void
add_words(struct td_buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		td_buf_addc(b, i % 6 == 5 ? ' ' : (char)('a' + i % 26));
}

static void
say_in_room(unsigned from, uint64_t number)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "<message to='%s' type='groupchat' id='g%llu'><body>", room,
		    (unsigned long long)number);
	add_words(&b, opt.body);
	td_buf_addz(&b, "</body></message>");
	text_len = b.len;
	put_buf(&clients[from], &b);
}

static void
say_news(unsigned from, uint64_t number)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "<presence><show>%s</show><status>", number % 2 == 0 ? "away" : "dnd");
	add_words(&b, opt.body);
	td_buf_addz(&b, "</status></presence>");
	text_len = b.len;
	put_buf(&clients[from], &b);
}

static void
say_bytes(unsigned from, uint64_t number)
{
	static const char head[] = "<message>", tail[] = "</message>";
	struct td_buf b = { 0 };

	(void)number;
	td_buf_addz(&b, head);
	if (text_len > sizeof(head) + sizeof(tail))
		add_words(&b, text_len - sizeof(head) - sizeof(tail) + 2);
	td_buf_addz(&b, tail);
	put_buf(&clients[from], &b);
}

/* <n> times <say>, from <froms> sessions in turn (every <stride>th); each is answered by <copies>. */
struct fan {
	void (*say)(unsigned from, uint64_t number);
	unsigned froms, stride, copies;
};

static void
run_fan(const struct fan *f, uint64_t n, unsigned window, int64_t gap_ns)
{
	uint64_t sent = 0, from = received;
	int64_t may = 0;

	while (received - from < n * f->copies) {
		uint64_t open = sent - (received - from) / f->copies;

		if (gap_ns > 0 && open == 0 && may == 0)
			may = bench_now() + gap_ns;
		if (open <= window / 2 && bench_now() >= may) {
			may = 0;
			for (; sent < n && open < window; sent++, open++)
				f->say((unsigned)(sent % f->froms) * f->stride, sent);
		}
		if (!turn(0))
			in_time("fan");
	}
}

static void
cmd_fan(const struct fan *f, const char *what, uint64_t n, unsigned window, int64_t gap_us)
{
	int64_t wall;

	if (f->copies == 0 || f->froms == 0 || window == 0 || n == 0)
		bench_die("%s: nothing to do", what);
	mark = what;
	for (unsigned i = 0; i < n_ready; i++)
		clients[i].matched = 0;
	deadline = bench_now() + opt.timeout * 1000000000;
	run_fan(f, n / 10 + window, window, gap_us * 1000);
	turns_until(bench_now() + SETTLE_NS);
	settle();
	begin();
	run_fan(f, n, window, gap_us * 1000);
	wall = bench_now() - wall_at;
	turns_until(bench_now() + SETTLE_NS / 10);
	if (opt.settle)
		settle();
	say_result("copies", n * f->copies, wall);
	say_end();
}

static bool
obey(char *line)
{
	unsigned long a[4] = { 0, 0, 1, 0 };
	char word[16] = "", name[128] = "";
	int n = sscanf(line, "%15s %lu %lu %lu %lu", word, &a[0], &a[1], &a[2], &a[3]);
	struct fan in_room = { say_in_room, joined, 1, joined };
	struct fan news = { say_news, 1, 1, (unsigned)a[3] + 1 };
	struct fan bytes = { say_bytes, n_ready / 2, 2, n_ready / 2 };

	if (n == 2 && strcmp(word, "connect") == 0)
		cmd_connect((unsigned)a[0]);
	else if (n >= 3 && strcmp(word, "chat") == 0)
		cmd_chat(a[0], (unsigned)a[1], (unsigned)a[2], a[3]);
	else if (sscanf(line, "join %127s %lu", name, &a[0]) == 2)
		cmd_join(name, (unsigned)a[0]);
	else if (n == 4 && strcmp(word, "room") == 0)
		cmd_fan(&in_room, "</message>", a[0], (unsigned)a[1], (int64_t)a[2]);
	else if (n == 5 && strcmp(word, "news") == 0)
		cmd_fan(&news, "</presence>", a[0], (unsigned)a[1], (int64_t)a[2]);
	else if (n == 5 && strcmp(word, "fan") == 0 && (text_len = a[3]) > 0)
		cmd_fan(&bytes, "</message>", a[0], (unsigned)a[1], (int64_t)a[2]);
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
		{ "--floor", &opt.floor },
		{ "--tls", &opt.tls },
		{ "--starttls", &opt.starttls },
		{ "--plain-auth", &opt.plain_auth },
		{ "--presence", &opt.presence },
		{ "--bare", &opt.bare },
		{ "--sm", &opt.sm },
		{ "--settle", &opt.settle },
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
	took = td_zalloc(SESSIONS_MAX * sizeof(*took));
	ctx = SSL_CTX_new(TLS_client_method());
	if (ep < 0 || ctx == NULL)
		bench_die("epoll or TLS");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	serve();
	return 0;
}
