/* miltload - an MTA's side of the milter protocol, for many connections at once.
 *
 *   bench-miltload --socket PATH [--pid PID] [--mails N] [--connections N] [--body BYTES]
 *                  [--domain D] [--rcpts N] [--timeout SEC] [--probe]
 *
 * Every connection carries mail after mail: MAIL, RCPT, DATA, nine headers, a body, end of
 * message; recipients u000000@D and on, in turn.  What the filter switched off in its negotiation
 * is not sent, and what it will not answer is not waited for.  A tenth of N goes ahead
 * unmeasured.  --probe only negotiates.  Prints one line of JSON.
 *
 * Wire protocol: 32-bit length, letter, data (libmilter/mfdef.h has the letters). */
#include <arpa/inet.h>
#include <libmilter/mfdef.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "gateway/base/str.h"
#include "tests/bench/bench.h"

#define HEADERS 9
#define CONNECTIONS_MAX 1000
#define REPLY_MAX (1u << 20)

enum stage {
	ST_NEGOTIATE = 0,
	ST_CONNECT,
	ST_HELO,
	ST_MAIL,
	ST_RCPT,
	ST_DATA,
	ST_HEADER, /* HEADERS of them */
	ST_EOH,
	ST_BODY,
	ST_EOM,
	ST_COUNT /* must be last */
};

struct conn {
	int fd;
	unsigned number, header;
	unsigned long mail; /* serial number of the one under way */
	enum stage stage;
	bool idle; /* between mails */
	struct td_buf in, out;
};

static struct {
	const char *path, *domain;
	pid_t pid;
	long mails, connections, body, rcpts, timeout;
	bool probe;
} opt = { .domain = "bench.test",
	  .mails = 10000,
	  .connections = 10,
	  .body = 4096,
	  .rcpts = 1,
	  .timeout = 300 };

static struct conn conns[CONNECTIONS_MAX];
static uint32_t version, actions, steps;
static unsigned long started, done, goal;
static unsigned long verdicts[256], changes;
static struct td_buf body;
static int ep;

/* What switches a stage off, and what its answer. */
static const struct {
	char letter;
	uint32_t off, no_reply;
} stages[ST_COUNT] = {
	[ST_NEGOTIATE] = { SMFIC_OPTNEG, 0, 0 },
	[ST_CONNECT] = { SMFIC_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN },
	[ST_HELO] = { SMFIC_HELO, SMFIP_NOHELO, SMFIP_NR_HELO },
	[ST_MAIL] = { SMFIC_MAIL, SMFIP_NOMAIL, SMFIP_NR_MAIL },
	[ST_RCPT] = { SMFIC_RCPT, SMFIP_NORCPT, SMFIP_NR_RCPT },
	[ST_DATA] = { SMFIC_DATA, SMFIP_NODATA, SMFIP_NR_DATA },
	[ST_HEADER] = { SMFIC_HEADER, SMFIP_NOHDRS, SMFIP_NR_HDR },
	[ST_EOH] = { SMFIC_EOH, SMFIP_NOEOH, SMFIP_NR_EOH },
	[ST_BODY] = { SMFIC_BODY, SMFIP_NOBODY, SMFIP_NR_BODY },
	[ST_EOM] = { SMFIC_BODYEOB, 0, 0 },
};

/* ---- packets out ---- */

static void
add_u32(struct td_buf *b, uint32_t n)
{
	n = htonl(n);
	td_buf_add(b, &n, 4);
}

static void
add_packet(struct conn *c, char letter, const struct td_buf *data)
{
	add_u32(&c->out, (uint32_t)data->len + 1);
	td_buf_addc(&c->out, letter);
	td_buf_adds(&c->out, td_buf_str(data));
}

/* <fmt> with '|' for the NUL that ends a string. */
static void __attribute__((format(printf, 2, 3)))
add_strings(struct td_buf *b, const char *fmt, ...)
{
	size_t from = b->len;
	va_list ap;

	va_start(ap, fmt);
	td_buf_vaddf(b, fmt, ap);
	va_end(ap);
	for (size_t i = from; i < b->len; i++)
		if (b->p[i] == '|')
			b->p[i] = '\0';
}

static void
add_header(struct conn *c, struct td_buf *d)
{
	static const char *const fixed[HEADERS] = {
		"Received|from client.test (client.test [192.0.2.7])\n\tby mx.bench.test (Postfix) "
		"with ESMTP "
		"id 4RgQxx0000\n\tfor <someone@bench.test>; Mon,  1 Jun 2026 10:00:00 +0000 (UTC)|",
		"From|\"Carol Example\" <carol@remote.test>|",
		NULL,
		"Subject|Minutes of the meeting, and what is to be done next|",
		"Date|Mon, 1 Jun 2026 10:00:00 +0000|",
		NULL,
		"MIME-Version|1.0|",
		"Content-Type|text/plain; charset=utf-8|",
		"X-Mailer|bench 1.0|",
	};

	if (c->header == 2)
		add_strings(d, "To|u%06lu@%s|", c->mail % (unsigned long)opt.rcpts, opt.domain);
	else if (c->header == 5)
		add_strings(d, "Message-ID|<%d.%lu.bench@client.test>|", (int)getpid(), c->mail);
	else
		add_strings(d, "%s", fixed[c->header]);
}

/* Macros of a stage, as Postfix sends them. */
static void
add_macros(struct conn *c)
{
	struct td_buf d = { 0 };
	unsigned long rcpt = c->mail % (unsigned long)opt.rcpts;

	td_buf_addc(&d, stages[c->stage].letter);
	switch (c->stage) {
	case ST_CONNECT:
		add_strings(&d, "j|mx.bench.test|{daemon_name}|mx.bench.test|{daemon_addr}|127.0.0."
				"1|v|Postfix 3.7|");
		break;
	case ST_MAIL:
		add_strings(&d, "{mail_addr}|carol@remote.test|{mail_host}|remote.test|{mail_"
				"mailer}|smtp|");
		break;
	case ST_RCPT:
		add_strings(&d, "{rcpt_addr}|u%06lu@%s|{rcpt_host}|%s|{rcpt_mailer}|virtual|", rcpt,
			    opt.domain, opt.domain);
		break;
	case ST_DATA:
	case ST_HEADER:
	case ST_EOH:
	case ST_EOM: add_strings(&d, "i|4R%08lx|", c->mail); break;
	case ST_NEGOTIATE:
	case ST_HELO:
	case ST_BODY:
	case ST_COUNT: break;
	}
	if (d.len > 1 && (c->stage != ST_HEADER || c->header == 0))
		add_packet(c, SMFIC_MACRO, &d);
	td_buf_fini(&d);
}

static void
add_command(struct conn *c)
{
	struct td_buf d = { 0 };
	uint16_t port = htons(40000);

	switch (c->stage) {
	case ST_NEGOTIATE:
		add_u32(&d, 6);
		add_u32(&d, SMFI_CURR_ACTS);
		add_u32(&d, SMFI_CURR_PROT);
		break;
	case ST_CONNECT:
		add_strings(&d, "client.test|4");
		td_buf_add(&d, &port, 2);
		add_strings(&d, "192.0.2.7|");
		break;
	case ST_HELO: add_strings(&d, "client.test|"); break;
	case ST_MAIL: add_strings(&d, "<carol@remote.test>|SIZE=5000|"); break;
	case ST_RCPT:
		add_strings(&d, "<u%06lu@%s>|", c->mail % (unsigned long)opt.rcpts, opt.domain);
		break;
	case ST_HEADER: add_header(c, &d); break;
	case ST_BODY: td_buf_adds(&d, td_buf_str(&body)); break;
	case ST_DATA:
	case ST_EOH:
	case ST_EOM:
	case ST_COUNT: break;
	}
	add_macros(c);
	add_packet(c, stages[c->stage].letter, &d);
	td_buf_fini(&d);
}

static void
flush(struct conn *c)
{
	for (size_t at = 0; at < c->out.len;) {
		ssize_t n = write(c->fd, c->out.p + at, c->out.len - at);

		if (n <= 0)
			bench_die("write to the filter: %s", strerror(errno));
		at += (size_t)n;
	}
	td_buf_clear(&c->out);
}

/* ---- the walk ---- */

/* Send from c->stage on, up to the first packet that will be answered. */
static void
send_on(struct conn *c)
{
	for (;;) {
		if (c->stage == ST_MAIL && c->header == 0) {
			if (started == goal) {
				c->idle = true;
				break;
			}
			c->idle = false;
			c->mail = started++;
		}
		if ((steps & stages[c->stage].off) == 0) {
			add_command(c);
			if ((steps & stages[c->stage].no_reply) == 0)
				break;
		}
		if (c->stage == ST_HEADER && ++c->header < HEADERS)
			continue;
		c->header = 0;
		c->stage++;
	}
	flush(c);
}

static void
mail_over(struct conn *c, char letter)
{
	verdicts[(unsigned char)letter]++;
	done++;
	c->header = 0;
	c->stage = ST_MAIL;
	send_on(c);
}

static uint32_t
get_u32(const char *p)
{
	uint32_t n;

	memcpy(&n, p, 4);
	return ntohl(n);
}

static void
on_negotiated(struct conn *c, const char *p, size_t n)
{
	if (p[0] != SMFIC_OPTNEG || n < 13)
		bench_die("negotiation answered by '%c'", p[0]);
	version = get_u32(p + 1);
	actions = get_u32(p + 5);
	steps = get_u32(p + 9) & SMFI_CURR_PROT;
	c->stage = ST_CONNECT;
	if (!opt.probe)
		send_on(c);
}

static void
on_packet(struct conn *c, const char *p, size_t n)
{
	char letter = p[0];

	if (c->stage == ST_NEGOTIATE) {
		on_negotiated(c, p, n);
	} else if (letter == SMFIR_PROGRESS) {
		return;
	} else if (c->stage == ST_EOM && strchr("hiem+-2bql", letter) != NULL) {
		changes++;
	} else if (c->stage == ST_EOM) {
		mail_over(c, letter);
	} else if (letter == SMFIR_CONTINUE || letter == SMFIR_SKIP) {
		if (c->stage == ST_HEADER && ++c->header < HEADERS) {
			send_on(c);
			return;
		}
		c->header = 0;
		c->stage++;
		send_on(c);
	} else if (c->stage < ST_MAIL) {
		bench_die("the connection was answered by '%c'", letter);
	} else { /* a verdict before the end */
		struct td_buf none = { 0 };

		add_packet(c, SMFIC_ABORT, &none);
		mail_over(c, letter);
	}
}

static void
on_readable(struct conn *c)
{
	ssize_t n = recv(c->fd, td_buf_reserve(&c->in, 65536), 65536, MSG_DONTWAIT);
	size_t at = 0;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		bench_die("the filter closed connection %u (stage %d)", c->number, c->stage);
	c->in.len += (size_t)n;
	while (c->in.len - at >= 5) {
		uint32_t len = get_u32(c->in.p + at);

		if (len == 0 || len > REPLY_MAX)
			bench_die("a packet of %u bytes", len);
		if (c->in.len - at < 4 + (size_t)len)
			break;
		on_packet(c, c->in.p + at + 4, len);
		at += 4 + len;
	}
	td_buf_drain(&c->in, at);
}

static void
dial(unsigned i)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = i };
	struct conn *c = &conns[i];

	if (opt.path == NULL || strlen(opt.path) >= sizeof(un.sun_path))
		bench_die("no path, or one too long");
	memcpy(un.sun_path, opt.path, strlen(opt.path) + 1);
	c->number = i;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) < 0)
		bench_die("%s: %s", opt.path, strerror(errno));
	add_command(c);
	flush(c);
}

static bool
all_idle(void)
{
	for (long i = 0; i < opt.connections; i++)
		if (!conns[i].idle)
			return false;
	return true;
}

/* Until every mail of <goal> is answered and every connection is between mails. */
static void
run(void)
{
	int64_t end = bench_now() + opt.timeout * 1000000000;
	struct epoll_event got[64];

	while (opt.probe ? conns[0].stage == ST_NEGOTIATE : done < goal || !all_idle()) {
		int n = epoll_wait(ep, got, 64, 0);

		for (int i = 0; i < n; i++)
			on_readable(&conns[got[i].data.u32]);
		if (n == 0 && bench_now() > end)
			bench_die("not done in %ld s: %lu of %lu mails", opt.timeout, done, goal);
	}
}

static void
settle(void)
{
	int64_t end = bench_now() + 200000000;

	while (bench_now() < end)
		(void)usleep(10000);
}

static void
measure(void)
{
	int64_t cpu, wall, took;

	goal = (unsigned long)opt.mails / 10 + (unsigned long)opt.connections;
	for (long i = 0; i < opt.connections; i++)
		dial((unsigned)i);
	run();
	settle();
	memset(verdicts, 0, sizeof(verdicts));
	changes = 0;
	cpu = bench_cpu(opt.pid);
	wall = bench_now();
	goal += (unsigned long)opt.mails;
	for (long i = 0; i < opt.connections; i++) {
		conns[i].stage = ST_MAIL;
		send_on(&conns[i]);
	}
	run();
	took = bench_now() - wall;
	settle(); /* what is done behind the answer counts too */
	printf("{\"mails\": %ld, \"cpu_ns\": %lld, \"wall_ns\": %lld, \"steps\": %u, \"changes\": "
	       "%lu, \"verdicts\": {",
	       opt.mails, (long long)(bench_cpu(opt.pid) - cpu), (long long)took, steps, changes);
	for (int v = 0, n = 0; v < 256; v++)
		if (verdicts[v] > 0)
			printf("%s\"%c\": %lu", n++ > 0 ? ", " : "", v, verdicts[v]);
	puts("}}");
}

static void
read_options(int argc, char **argv)
{
	const struct {
		const char *name;
		long *value;
	} numbers[] = {
		{ "--mails", &opt.mails },     { "--connections", &opt.connections },
		{ "--body", &opt.body },       { "--rcpts", &opt.rcpts },
		{ "--timeout", &opt.timeout },
	};

	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *value = argv[i + 1];
		size_t k;

		if (strcmp(name, "--probe") == 0) {
			opt.probe = true;
			continue;
		}
		if (value == NULL)
			bench_die("%s: unknown, or without a value", name);
		i++;
		for (k = 0;
		     k < sizeof(numbers) / sizeof(*numbers) && strcmp(numbers[k].name, name) != 0;
		     k++)
			;
		if (k < sizeof(numbers) / sizeof(*numbers))
			*numbers[k].value = bench_number(value, name);
		else if (strcmp(name, "--socket") == 0)
			opt.path = value;
		else if (strcmp(name, "--domain") == 0)
			opt.domain = value;
		else if (strcmp(name, "--pid") == 0)
			opt.pid = (pid_t)bench_number(value, name);
		else
			bench_die("%s: unknown", name);
	}
	if (opt.path == NULL || opt.connections < 1 || opt.connections > CONNECTIONS_MAX ||
	    opt.rcpts < 1 || opt.body > 60000)
		bench_die("usage: bench-miltload --socket PATH [--pid PID] [--mails N] ...; see "
			  "its source");
}

int
main(int argc, char **argv)
{
	read_options(argc, argv);
	bench_files();
	ep = epoll_create1(EPOLL_CLOEXEC);
	while ((long)body.len < opt.body)
		td_buf_addz(&body, "Dear all, these are the minutes of yesterday; please read them "
				   "before Friday.\r\n");
	body.len = (size_t)opt.body;
	if (opt.probe) {
		dial(0);
		run();
		printf("{\"version\": %u, \"actions\": %u, \"steps\": %u}\n", version, actions,
		       steps);
		return 0;
	}
	measure();
	return 0;
}
