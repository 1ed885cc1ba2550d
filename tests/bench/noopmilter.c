/* noopmilter - the milter that does nothing, for as many steps as it is told.
 *
 *   bench-noopmilter SOCKET [STEPS]
 *
 * STEPS is the protocol word of a negotiation (as miltload prints it): what it switches off is
 * switched off here too, so that both filters answer the same packets. */
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <stdbool.h>
#include <sys/socket.h>
#include "tests/bench/bench.h"

static unsigned long steps = SMFIP_NR_HDR;

static sfsistat
reply(unsigned long no_reply)
{
	return (steps & no_reply) != 0 ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static sfsistat /* NOLINTNEXTLINE(readability-function-size): libmilter's list of parameters */
on_negotiate(SMFICTX *c, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
	     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	(void)c;
	(void)f2;
	(void)f3;
	*pf0 = f0;
	*pf1 = steps & f1;
	*pf2 = *pf3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *c, char *host, _SOCK_ADDR *sa)
{
	(void)c;
	(void)host;
	(void)sa;
	return reply(SMFIP_NR_CONN);
}

static sfsistat
on_helo(SMFICTX *c, char *name)
{
	(void)c;
	(void)name;
	return reply(SMFIP_NR_HELO);
}

static sfsistat
on_mail(SMFICTX *c, char **argv)
{
	(void)c;
	(void)argv;
	return reply(SMFIP_NR_MAIL);
}

static sfsistat
on_rcpt(SMFICTX *c, char **argv)
{
	(void)c;
	(void)argv;
	return reply(SMFIP_NR_RCPT);
}

static sfsistat
on_data(SMFICTX *c)
{
	(void)c;
	return reply(SMFIP_NR_DATA);
}

static sfsistat
on_header(SMFICTX *c, char *name, char *value)
{
	(void)c;
	(void)name;
	(void)value;
	return reply(SMFIP_NR_HDR);
}

static sfsistat
on_eoh(SMFICTX *c)
{
	(void)c;
	return reply(SMFIP_NR_EOH);
}

static sfsistat
on_body(SMFICTX *c, unsigned char *p, size_t n)
{
	(void)c;
	(void)p;
	(void)n;
	return reply(SMFIP_NR_BODY);
}

static sfsistat
on_eom(SMFICTX *c)
{
	(void)c;
	return SMFIS_CONTINUE;
}

static sfsistat
on_end(SMFICTX *c)
{
	(void)c;
	return SMFIS_CONTINUE;
}

static sfsistat
on_unknown(SMFICTX *c, const char *cmd)
{
	(void)c;
	(void)cmd;
	return reply(SMFIP_NR_UNKN);
}

int
main(int argc, char **argv)
{
	static char name[] = "noop";
	static struct smfiDesc desc = {
		.xxfi_name = name,
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS,
		.xxfi_connect = on_connect,
		.xxfi_helo = on_helo,
		.xxfi_envfrom = on_mail,
		.xxfi_envrcpt = on_rcpt,
		.xxfi_header = on_header,
		.xxfi_eoh = on_eoh,
		.xxfi_body = on_body,
		.xxfi_eom = on_eom,
		.xxfi_abort = on_end,
		.xxfi_close = on_end,
		.xxfi_unknown = on_unknown,
		.xxfi_data = on_data,
		.xxfi_negotiate = on_negotiate,
	};
	char conn[120];

	if (argc < 2 || argc > 3)
		bench_die("usage: bench-noopmilter SOCKET [STEPS]");
	if (argc == 3)
		steps = (unsigned long)bench_number(argv[2], "STEPS");
	bench_files();
	(void)snprintf(conn, sizeof(conn), "unix:%s", argv[1]);
	if (smfi_setconn(conn) != MI_SUCCESS || smfi_register(desc) != MI_SUCCESS ||
	    smfi_opensocket(true) != MI_SUCCESS)
		bench_die("%s: cannot listen", conn);
	puts("ready");
	fflush(stdout);
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
