/* tandemctl - the operator's command: sends its words to the control socket and prints the answer.
 * Passwords come from a prompt or from standard input, never from the command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include "gateway/base/str.h"

#define DEFAULT_SOCKET "/run/tandem/control.sock"

static const char usage_text[] =
	"usage: tandemctl [-s SOCKET] [--json] COMMAND...\n"
	"\n"
	"  account add JID             make an account; the password is asked for or read from "
	"stdin\n"
	"  account password JID        change its password, likewise; its sessions end\n"
	"  account delete JID          with its roster, messages and settings\n"
	"  account list [DOMAIN]\n"
	"  account import              read 'jid TAB password' lines (or an export) from stdin\n"
	"  account export [DOMAIN]     the accounts with their SCRAM verifiers\n"
	"  roster export JID           as JSON\n"
	"  roster import JID           read JSON from stdin; replaces entries of the same address\n"
	"  session list [JID]          who is connected\n"
	"  session kick JID            end one session (full JID) or all of an account\n"
	"  s2s list | milter list | script list\n"
	"  outbox list                 mail waiting to be sent\n"
	"  outbox retry [ID]           now, one or all\n"
	"  outbox drop ID              without telling its writer\n"
	"  config get|eval [SCOPE [NAME]]... OPTION\n"
	"  config set [SCOPE [NAME]]... OPTION VALUE, config unset [SCOPE [NAME]]... OPTION\n"
	"  config show|showrecurse [SCOPE [NAME]]..., config locate SCOPE [REGEX], config reload\n"
	"  log reopen | log level LEVEL [DOMAIN]\n"
	"  summary | version | shutdown | help\n"
	"\n"
	"SOCKET: $TANDEM_CONTROL, else " DEFAULT_SOCKET
	".  Exit: 0 done, 1 refused or failed, 2 usage.\n";

static int
fail(const char *what)
{
	fprintf(stderr, "tandemctl: %s\n", what);
	return 1;
}

static void
read_all(struct td_buf *b)
{
	ssize_t n;

	while ((n = read(0, td_buf_reserve(b, 65536), 65536)) > 0)
		b->len += (size_t)n;
}

/* One line without echo. */
static bool
ask(const char *prompt, struct td_buf *b)
{
	struct termios old, quiet;
	char line[1024];
	bool ok;

	fputs(prompt, stderr);
	if (tcgetattr(0, &old) < 0)
		return false;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(0, TCSAFLUSH, &quiet);
	ok = fgets(line, sizeof(line), stdin) != NULL;
	tcsetattr(0, TCSAFLUSH, &old);
	fputc('\n', stderr);
	if (ok)
		td_buf_add(b, line, strcspn(line, "\n"));
	td_wipe(line, sizeof(line));
	return ok;
}

/* What the command needs from standard input; false: said why. */
static bool
read_input(char **args, int n, struct td_buf *in)
{
	struct td_buf again = { 0 };
	bool password = n >= 2 && strcmp(args[0], "account") == 0 &&
			(strcmp(args[1], "add") == 0 || strcmp(args[1], "password") == 0);
	bool data = n >= 2 && strcmp(args[1], "import") == 0;
	bool ok;

	if (!password && !data)
		return true;
	if (data || !isatty(0)) {
		read_all(in);
		/* one line: its end does not belong to the password */
		if (password && in->len > 0 && in->p[in->len - 1] == '\n')
			in->len--;
		if (password && in->len > 0 && in->p[in->len - 1] == '\r')
			in->len--;
		return true;
	}
	ok = ask("Password: ", in) && ask("Again: ", &again);
	if (ok && !td_str_eq(td_buf_str(in), td_buf_str(&again))) {
		fail("the passwords differ");
		ok = false;
	}
	td_wipe(again.p, again.cap);
	td_buf_fini(&again);
	return ok;
}

static int
dial(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool
send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

/* "<length> <status>\n" and the text; -1 when the server went away. */
static int
read_reply(int fd)
{
	struct td_buf b = { 0 };
	char *nl = NULL;
	size_t want = 0, head = 0;
	int status = -1;

	for (;;) {
		ssize_t n = read(fd, td_buf_reserve(&b, 65536), 65536);

		if (n <= 0)
			break;
		b.len += (size_t)n;
		if (nl == NULL && (nl = memchr(b.p, '\n', b.len)) != NULL) {
			*nl = '\0';
			head = (size_t)(nl - b.p) + 1;
			want = strtoul(b.p, &nl, 10);
			status = (int)strtol(nl, NULL, 10);
		}
		if (nl != NULL && b.len - head >= want)
			break;
	}
	if (status >= 0 && b.len - head < want)
		status = -1;
	if (status > 0)
		fprintf(stderr, "tandemctl: %.*s", (int)want, b.p + head);
	else if (status == 0)
		fwrite(b.p + head, 1, want, stdout);
	td_buf_fini(&b);
	return status;
}

static int
run(const char *path, char **args, int n, bool json)
{
	struct td_buf in = { 0 }, req = { 0 };
	int fd, status;

	if (!read_input(args, n, &in))
		return 1;
	td_buf_addz(&req, "{\"args\":[");
	for (int i = 0; i < n; i++) {
		if (i > 0)
			td_buf_addc(&req, ',');
		td_buf_add_json(&req, td_cstr(args[i]));
	}
	td_buf_addz(&req, "],\"input\":");
	td_buf_add_json(&req, td_str(in.p != NULL ? in.p : "", in.len));
	td_buf_addf(&req, ",\"json\":%s}\n", json ? "true" : "false");
	fd = dial(path);
	if (fd < 0) {
		fprintf(stderr, "tandemctl: cannot reach the server at %s: %s\n", path,
			strerror(errno));
		status = 1;
	} else if (!send_all(fd, req.p, req.len) || (status = read_reply(fd)) < 0) {
		status = fail("the server closed the connection");
	}
	td_wipe(req.p, req.cap);
	td_wipe(in.p, in.cap);
	td_buf_fini(&req);
	td_buf_fini(&in);
	if (fd >= 0)
		close(fd);
	return status;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
					       { "socket", required_argument, NULL, 's' },
					       { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { NULL, 0, NULL, 0 } };
	const char *path = getenv("TANDEM_CONTROL");
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "+s:jhV", longs, NULL)) != -1) {
		switch (c) {
		case 's': path = optarg; break;
		case 'j': json = true; break;
		case 'h': fputs(usage_text, stdout); return 0;
		case 'V': puts("tandemctl " TANDEM_VERSION); return 0;
		default: return 2;
		}
	}
	/* --json is also fine behind the command */
	if (optind < argc && strcmp(argv[argc - 1], "--json") == 0) {
		json = true;
		argc--;
	}
	if (optind >= argc) {
		fprintf(stderr, "tandemctl: no command; see tandemctl --help\n");
		return 2;
	}
	if (strcmp(argv[optind], "help") == 0) {
		fputs(usage_text, stdout);
		return 0;
	}
	return run(path != NULL ? path : DEFAULT_SOCKET, argv + optind, argc - optind, json);
}
