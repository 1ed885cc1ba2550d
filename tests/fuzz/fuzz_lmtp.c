/* fuzz_lmtp - any bytes as what an LMTP server says: there is one outcome, success only after six good replies, and
 * what we say is the dialogue of RFC 2033 with the mail dot-stuffed.  Byte 0 picks the mail, byte 1 how much of the
 * server's words comes at once. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/lmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const mails[] = {
	"",
	".",
	"Subject: x\r\n\r\nhello\r\n",
	"a: b\r\n\r\n.\r\n..\r\n.x\r\nno end",
};

static char dir[] = "/tmp/tandem-fuzz-lmtp-XXXXXX";
static char url[128];
static struct td_loop *loop;
static int door = -1; /* the server's */
static struct {
	unsigned outcomes;
	enum gw_lmtp_outcome how;
} now;

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
clean(void)
{
	(void)unlink(url + strlen("lmtp:"));
	(void)rmdir(dir);
}

static void
set_up(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (loop != NULL)
		return;
	(void)signal(SIGPIPE, SIG_IGN); /* as main does */
	loop = td_loop_new(0);
	must(mkdtemp(dir) != NULL);
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", dir);
	(void)snprintf(url, sizeof(url), "lmtp:%s", un.sun_path);
	door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(door, (struct sockaddr *)&un, sizeof(un)) == 0 && listen(door, 4) == 0);
	(void)atexit(clean);
}

static void
on_outcome(void *arg, enum gw_lmtp_outcome how, const char *reply)
{
	(void)arg;
	must(reply != NULL);
	now.outcomes++;
	now.how = how;
}

static void
turns(unsigned n)
{
	while (n-- > 0 && now.outcomes == 0)
		td_loop_turn(loop, false);
}

/* All that was said, in order. */
static void
check(struct td_str said)
{
	static const char *const lines[] = { "LHLO a.test", "MAIL FROM:<ann@a.test>",
					     "RCPT TO:<bob@b.test>", "DATA" };
	bool ended = false;

	for (size_t i = 0; i < 4 && said.len > 0; i++)
		must(td_str_eqc(td_str_trim(td_str_cut(&said, '\n')), lines[i]));
	if (said.len == 0) {
		must(now.how != LMTP_SENT);
		return;
	}
	while (said.len > 0 && !ended) {
		struct td_str line = td_str_cut(&said, '\n');

		must(line.len > 0 && line.p[line.len - 1] == '\r');
		ended = td_str_eqc(line, ".\r");
		must(ended || line.p[0] != '.' || line.p[1] == '.');
	}
	must(ended && said.len == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_lmtp_mail m = { "a.test", TD_STR("ann@a.test"), TD_STR("bob@b.test"),
				  TD_STR_NULL };
	struct td_buf said = { 0 };
	struct gw_lmtp *l;
	ssize_t n;
	int fd;

	if (size < 2)
		return 0;
	set_up();
	memset(&now, 0, sizeof(now));
	m.data = td_cstr(mails[data[0] % 4]);
	l = gw_lmtp_send(loop, url, &m, 60, on_outcome, NULL);
	fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	must(fd >= 0 && now.outcomes == 0);
	for (size_t i = 2, step = (size_t)data[1] * 8 + 1; i < size && now.outcomes == 0;
	     i += step) {
		(void)send(fd, data + i, size - i < step ? size - i : step, MSG_NOSIGNAL);
		turns(2);
	}
	turns(20);
	(void)shutdown(fd, SHUT_WR); /* it says no more */
	while (now.outcomes == 0)
		td_loop_turn(loop, true);
	while ((n = recv(fd, td_buf_reserve(&said, 4096), 4096, 0)) > 0)
		said.len += (size_t)n;
	check(td_buf_str(&said));
	gw_lmtp_free(l);
	close(fd);
	td_loop_turn(loop, false);
	must(now.outcomes == 1);
	td_buf_fini(&said);
	return 0;
}
