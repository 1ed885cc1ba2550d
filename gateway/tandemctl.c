/* tandemctl - the operator's command: sends its words to the control socket and prints the answer.
 * Passwords come from a prompt, a file or standard input, never from the command line.  Whole accounts
 * (account import, account export to a file) are many requests: ctl_import.c, ctl_export.c. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/ctl_client.h"

#define DEFAULT_SOCKET "/run/tandem/control.sock"

static const char usage_text[] =
	"usage: tandemctl [-s SOCKET] [-p FILE] [--json] COMMAND...\n"
	"\n"
	"  account add JID             make an account; the password is asked for or read from "
	"stdin\n"
	"  account password JID        change its password, likewise; its sessions end\n"
	"  account delete JID          with its roster, messages and settings\n"
	"  account disable JID         its sessions end, nobody signs in to it until\n"
	"  account enable JID\n"
	"  account list [DOMAIN]\n"
	"  account import [--replace] [--rounds N] [--generate] [FILE...]\n"
	"                              from other servers' exports (XEP-0227), or from lines\n"
	"                              'jid TAB password' (or an export); without FILE from stdin\n"
	"  account export [--domain D | JID...] FILE.xml    whole accounts (XEP-0227)\n"
	"  account export [DOMAIN]     a line for each account, with its SCRAM verifiers\n"
	"  roster export JID           as JSON\n"
	"  roster import JID           read JSON from stdin; replaces entries of the same address\n"
	"  session list [JID]          who is connected\n"
	"  session kick JID            end one session (full JID) or all of an account\n"
	"  announce [DOMAIN]           a message to everybody online, read from stdin\n"
	"  motd set DOMAIN             the message of the day, read from stdin: to all, once\n"
	"  motd show DOMAIN, motd delete DOMAIN\n"
	"  s2s list | milter list | script list\n"
	"  s2s test DOMAIN             the way to another server: DNS, addresses, times\n"
	"  outbox list                 mail waiting to be sent\n"
	"  outbox retry [ID]           now, one or all\n"
	"  outbox drop ID              without telling its writer\n"
	"  config get|eval [SCOPE [NAME]]... OPTION\n"
	"  config set [SCOPE [NAME]]... OPTION VALUE, config unset [SCOPE [NAME]]... OPTION\n"
	"  config show|showrecurse [SCOPE [NAME]]..., config locate SCOPE [REGEX], config reload\n"
	"  log reopen | log level LEVEL [DOMAIN]\n"
	"  summary | version | shutdown | help\n"
	"\n"
	"SOCKET: a path, or USER@HOST:PORT or HOST:PORT; $TANDEM_CONTROL, else " DEFAULT_SOCKET
	".\nFILE holds the password of USER; without it it is asked for.  Exit: 0 done, 1 refused "
	"or failed, 2 usage.\n";

/* What the command needs from standard input; false: said why. */
static bool
read_input(char **args, int n, struct td_buf *in)
{
	struct td_buf again = { 0 };
	bool password = n >= 2 && strcmp(args[0], "account") == 0 &&
			(strcmp(args[1], "add") == 0 || strcmp(args[1], "password") == 0);
	bool data = (n >= 2 && strcmp(args[0], "roster") == 0 && strcmp(args[1], "import") == 0) ||
		    (n >= 1 && strcmp(args[0], "announce") == 0) ||
		    (n >= 2 && strcmp(args[0], "motd") == 0 && strcmp(args[1], "set") == 0);
	bool ok;

	if (!password && !data)
		return true;
	if (data || !isatty(0)) {
		ctl_read_all(in);
		/* one line: its end does not belong to the password */
		if (password && in->len > 0 && in->p[in->len - 1] == '\n')
			in->len--;
		if (password && in->len > 0 && in->p[in->len - 1] == '\r')
			in->len--;
		return true;
	}
	ok = ctl_ask_secret("Password: ", in) && ctl_ask_secret("Again: ", &again);
	if (ok && !td_str_eq(td_buf_str(in), td_buf_str(&again))) {
		ctl_say("the passwords differ");
		ok = false;
	}
	td_wipe(again.p, again.cap);
	td_buf_fini(&again);
	return ok;
}

static bool
is_command(char **args, int n, const char *verb)
{
	return n >= 2 && strcmp(args[0], "account") == 0 && strcmp(args[1], verb) == 0;
}

static int
ask(int fd, char **args, int n, struct td_str in, bool json)
{
	struct td_buf out = { 0 };
	int status;

	if (!ctl_send(fd, (const char *const *)args, n, in, json) ||
	    (status = ctl_receive(fd, &out)) < 0)
		status = ctl_say("the server closed the connection");
	else if (status > 0)
		fprintf(stderr, "tandemctl: %.*s", TD_STR_ARG(td_buf_str(&out)));
	else
		fwrite(out.p, 1, out.len, stdout);
	td_buf_fini(&out);
	return status;
}

static int
run(const char *path, const char *password_file, char **args, int n, bool json)
{
	struct td_buf in = { 0 };
	int fd, status;

	if (!read_input(args, n, &in))
		return 1;
	fd = ctl_connect(path, password_file);
	if (fd < 0)
		status = 1;
	else if (is_command(args, n, "import"))
		status = ctl_import(fd, args + 2, n - 2);
	else if (is_command(args, n, "export") && ctl_export_is_file(args + 2, n - 2))
		status = ctl_export(fd, args + 2, n - 2);
	else
		status = ask(fd, args, n, td_buf_str(&in), json);
	td_wipe(in.p, in.cap);
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
					       { "password-file", required_argument, NULL, 'p' },
					       { "help", no_argument, NULL, 'h' },
					       { "version", no_argument, NULL, 'V' },
					       { NULL, 0, NULL, 0 } };
	const char *path = getenv("TANDEM_CONTROL"), *password_file = NULL;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "+s:p:jhV", longs, NULL)) != -1) {
		switch (c) {
		case 's': path = optarg; break;
		case 'p': password_file = optarg; break;
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
	return run(path != NULL ? path : DEFAULT_SOCKET, password_file, argv + optind,
		   argc - optind, json);
}
