/* fuzz_control - what comes to the operator's socket: requests, and before them over TCP the steps of signing in.
 *
 * Byte 0: bit 0 TCP, where one signs in, bit 1 commands are answered late, bit 2 credentials come late, bit 3 never,
 *         bit 4 no command is permitted.
 * Byte 1: how many bytes come at once.  The rest is what the operator's program sends, but for
 *   0xFF 'n'  hangs up and comes again
 *   0xFF 's'  everything under way gets done
 * Only whoever signed in gives commands; each answer is framed, and there are no more of them than lines. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/base/err.h"
#include "gateway/control.h"
#include "gateway/control_auth.h"
#include "xmpp/sasl_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TCP 0x01
#define LATE 0x02
#define CRED_LATE 0x04
#define CRED_NEVER 0x08
#define FORBIDDEN 0x10

static struct gw gw;
static struct xmpp_credentials ann;
static char dir[] = "/tmp/tandem-fuzz-control-XXXXXX", path[64];
static struct sockaddr_in door;

static struct {
	unsigned mode;
	int fd;
	bool signed_in;
	size_t lines, answers;
	struct td_buf in;
	struct ctl_request *asked; /* to be answered late */
	xmpp_cred_cb *cb;
	void *arg;
} now;

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- what the socket asks of the rest ---- */

static void
answer_credentials(void)
{
	const struct xmpp_credentials none = { 0 };
	xmpp_cred_cb *cb = now.cb;

	now.cb = NULL;
	if (cb != NULL)
		cb(now.arg, 0, now.signed_in ? &ann : &none);
}

static void
fetch(struct xmpp_cred_source *s, struct td_str jid, struct td_loop *loop, xmpp_cred_cb *cb,
      void *arg)
{
	(void)s;
	(void)loop;
	if (now.cb != NULL) /* of one who hung up */
		answer_credentials();
	now.cb = cb;
	now.arg = arg;
	now.signed_in = td_str_eqc(jid, "ann@a.test"); /* as far as the name goes */
	if ((now.mode & (CRED_LATE | CRED_NEVER)) == 0)
		answer_credentials();
}

static void
hints(struct xmpp_cred_source *s, struct xmpp_cred_hints *h)
{
	(void)s;
	h->iterations = 1;
}

static const struct xmpp_cred_ops ops = { .scheme = "fuzz", .fetch = fetch, .hints = hints };
static struct xmpp_cred_source source = { .ops = &ops, .refs = 1 };

int
ctl_rules_load(struct gw *g, struct td_str listen, const struct sockaddr *sa, struct ctl_rules *out,
	       struct td_err *err)
{
	(void)listen;
	(void)sa;
	(void)err;
	*out = (struct ctl_rules){ .gw = g,
				   .open = (now.mode & TCP) == 0,
				   .timeout = 60,
				   .mechs = SASL_M_PLAIN | SASL_M_SCRAM_SHA256 | SASL_M_SCRAM_SHA1 |
					    SASL_M_DIGEST_MD5,
				   .creds = &source };
	atomic_fetch_add(&source.refs, 1);
	return 0;
}

void
ctl_rules_fini(struct ctl_rules *r)
{
	if (r->creds != NULL)
		atomic_fetch_sub(&source.refs, 1);
	r->creds = NULL;
}

bool
ctl_permits(const struct ctl_rules *r, const char *user, struct td_str command)
{
	(void)r;
	must(user != NULL && td_utf8_valid(command));
	must(!(now.mode & TCP) || (now.signed_in && strcmp(user, "ann") == 0));
	return (now.mode & FORBIDDEN) == 0;
}

void
ctl_run(struct ctl_request *r, const char *const *args, size_t n)
{
	must(now.asked == NULL && n <= 64 && (now.mode & FORBIDDEN) == 0);
	for (size_t i = 0; i < n; i++)
		must(td_utf8_valid(td_cstr(args[i])));
	must(td_utf8_valid(r->input));
	td_buf_adds(&r->out, r->input);
	if (now.mode & LATE)
		now.asked = r;
	else
		ctl_done(r, (int)(n % 3));
}

/* ---- the operator's program ---- */

static void
check_answers(void)
{
	while (now.in.len > 0) {
		struct td_str rest = td_buf_str(&now.in), head = td_str_cut(&rest, '\n');
		int64_t length, status;
		struct td_str word;

		if (rest.p == head.p + head.len)
			return; /* not whole */
		word = td_str_cut(&head, ' ');
		must(td_str_to_dec(word, 0, 1 << 26, &length) &&
		     td_str_to_dec(head, 0, 3, &status));
		if ((size_t)length > rest.len)
			return;
		must(++now.answers <= now.lines);
		td_buf_drain(&now.in, (size_t)(rest.p - now.in.p) + (size_t)length);
	}
}

static void
hang_up(void)
{
	if (now.fd >= 0)
		close(now.fd);
	now.fd = -1;
	now.lines = now.answers = 0;
	td_buf_clear(&now.in);
}

static void
hear(void)
{
	bool open = now.fd >= 0;

	while (open) {
		ssize_t n = recv(now.fd, td_buf_reserve(&now.in, 65536), 65536, MSG_DONTWAIT);

		open = n > 0 || (n < 0 && errno == EAGAIN);
		if (n <= 0)
			break;
		now.in.len += (size_t)n;
	}
	check_answers();
	if (!open)
		hang_up();
}

static void
settle(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct ctl_request *r = now.asked;

		now.asked = NULL;
		if (r != NULL)
			ctl_done(r, 0);
		if ((now.mode & CRED_NEVER) == 0)
			answer_credentials();
		td_loop_turn(gw.main_loop, false);
		hear();
	}
}

static void
dial(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	bool tcp = (now.mode & TCP) != 0;

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	now.fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(now.fd >= 0);
	must(connect(now.fd, tcp ? (struct sockaddr *)&door : (struct sockaddr *)&un,
		     tcp ? sizeof(door) : sizeof(un)) == 0);
	td_loop_turn(gw.main_loop, false);
}

static void
say(const uint8_t *p, size_t n)
{
	if (now.fd < 0)
		dial();
	for (size_t i = 0; i < n; i++)
		now.lines += p[i] == '\n';
	(void)send(now.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT); /* what does not fit is lost */
	td_loop_turn(gw.main_loop, false);
	hear();
}

static void
talk(const uint8_t *data, size_t size, size_t step)
{
	for (size_t i = 0; i < size;) {
		const uint8_t *mark = memchr(data + i, 0xFF, size - i);
		size_t n = mark != NULL ? (size_t)(mark - data) - i : size - i;

		if (n == 0 && i + 1 < size && (data[i + 1] == 'n' || data[i + 1] == 's')) {
			if (data[i + 1] == 'n')
				hang_up();
			settle();
			i += 2;
			continue;
		}
		n = n == 0 ? 1 : n < step ? n : step;
		say(data + i, n);
		i += n;
	}
}

/* ---- life ---- */

static void
clean(void)
{
	(void)unlink(path);
	(void)rmdir(dir);
}

/* A port nobody has. */
static void
find_door(void)
{
	socklen_t len = sizeof(door);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	door.sin_family = AF_INET;
	door.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(fd, (struct sockaddr *)&door, sizeof(door)) == 0);
	must(getsockname(fd, (struct sockaddr *)&door, &len) == 0);
	close(fd);
}

static void
set_up(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct conf_report report;
	struct td_buf text = { 0 };

	must(xmpp_sasl_init(TD_STR("fuzz"), NULL) == 0);
	ann.found = true;
	ann.sha256.iterations = ann.sha1.iterations = 1;
	ann.sha256.salt_len = ann.sha1.salt_len = 4;
	must(sasl_scram_keys(EVP_sha1(), "pencil", &ann.sha1) == 0);
	must(sasl_scram_keys(EVP_sha256(), "pencil", &ann.sha256) == 0);
	(void)signal(SIGPIPE, SIG_IGN); /* as main does */
	must(mkdtemp(dir) != NULL && atexit(clean) == 0);
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	find_door();
	td_buf_addf(&text, "control_listener { Listen \"%s\" {} Listen \"127.0.0.1:%u\" {} }\n",
		    path, ntohs(door.sin_port));
	gw.conf_lock = &lock;
	gw.hostname = td_strdup("a.test");
	gw.main_loop = td_loop_new(0);
	if (conf_load_text("fuzz", td_buf_str(&text), &gw.conf, &report) < 0) {
		fprintf(stderr, "%s\n", td_buf_cstr(&report.text));
		abort();
	}
	conf_report_fini(&report);
	td_log_set_level(NULL, TD_LOG_ERROR);
	must(gw_control_start(&gw, NULL) == 0);
	td_buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (gw.main_loop == NULL)
		set_up();
	memset(&now, 0, sizeof(now));
	now.fd = -1;
	now.mode = data[0];
	talk(data + 2, size - 2, (size_t)data[1] * 16 + 1);
	settle();
	hang_up();
	now.mode &= ~(unsigned)CRED_NEVER;
	/* who was refused is told so some time later, and has gone by then */
	do
		settle();
	while (now.cb != NULL || now.asked != NULL);
	td_buf_fini(&now.in);
	return 0;
}
