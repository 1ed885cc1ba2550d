/* options - command line, checking a configuration, printing tables. */
#include "gateway/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/listener.h"
#include "gateway/xmpp_log.h"

#define EXIT_USAGE 2

struct gw_options gw_options;

enum {
	OPT_DUMP = 256,
	OPT_LIST,
	OPT_VERSION
};

static const struct option longs[] = {
	{ "check-config", no_argument, NULL, 't' },
	{ "dump-config", no_argument, NULL, OPT_DUMP },
	{ "foreground", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "list-options", optional_argument, NULL, OPT_LIST },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static void
help(void)
{
	(void)printf("usage: tandemd -c FILE [-f] [-n PART] [-t [-v]]\n"
		     "An XMPP server and a milter in one process.\n\n"
		     "  -c FILE              configuration\n"
		     "  -f, --foreground     stay in the foreground\n"
		     "  -t, --check-config   check the configuration and exit: 0 fine, 1 not\n"
		     "  -v                   with -t: note options that have no effect\n"
		     "  -n PART              leave out xmpp, milter or control (may be repeated)\n"
		     "      --dump-config    print the effective configuration\n"
		     "      --list-options[=markdown]   print every option\n"
		     "      --version        print the version\n"
		     "  -h, --help           print this\n\n"
		     "Signals: HUP reloads, USR1 opens logs again, TERM and INT stop in order.\n");
}

static int
usage(const char *what, const char *arg)
{
	(void)fprintf(stderr, "tandemd: %s%s%s; try tandemd --help\n", what,
		      arg[0] != '\0' ? " " : "", arg);
	return EXIT_USAGE;
}

static int
print(struct td_buf *b, int status)
{
	bool ok = fwrite(b->p, 1, b->len, stdout) == b->len && fflush(stdout) == 0;

	td_buf_fini(b);
	return ok ? status : 1;
}

static bool
skip(struct gw *gw, const char *part)
{
	bool *const flags[] = { &gw->skip_xmpp, &gw->skip_milter, &gw->skip_control };
	static const char *const names[] = { "xmpp", "milter", "control" };

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(part, names[i]) == 0) {
			*flags[i] = true;
			return true;
		}
	}
	return false;
}

/* The working folder changes in the background. */
static char *
absolute(struct td_str path)
{
	struct td_buf b = { 0 };
	char *cwd = path.len > 0 && path.p[0] == '/' ? NULL : getcwd(NULL, 0);

	if (cwd != NULL)
		td_buf_addf(&b, "%s/", cwd);
	free(cwd);
	td_buf_adds(&b, path);
	return td_buf_cstr(&b);
}

/* Load; every message goes to standard error. */
static int
load(struct gw *gw)
{
	struct conf_report report = { 0 };
	int rc = conf_load(gw->conf_path, NULL, &gw->conf, &report);
	struct td_str s;
	char name[256];

	if (report.text.len > 0)
		(void)fwrite(report.text.p, 1, report.text.len, stderr);
	conf_report_fini(&report);
	if (rc < 0)
		return 1;
	gw->data_dir = absolute(conf_str(gw->conf, NULL, "data_dir"));
	s = conf_str(gw->conf, NULL, "hostname");
	if (s.len == 0) {
		name[sizeof(name) - 1] = '\0';
		s = gethostname(name, sizeof(name) - 1) == 0 ? td_cstr(name) : TD_STR("localhost");
	}
	gw->hostname = td_strndup(s);
	return -1;
}

/* What conf alone cannot see: formats, certificates that are there. */
static int
check(struct gw *gw, bool verbose)
{
	struct gw_domains *d = gw_domains_build(gw->conf);
	struct gw_lplan *p = NULL;
	struct gw_xlog_set *x = NULL;
	struct td_buf notes = { 0 };
	struct td_err err = { 0 };
	int rc = gw_listeners_plan(gw, gw->conf, d, true, &p, &err);

	if (rc == 0)
		rc = gw_xmpp_log_prepare(gw, gw->conf, true, &x, &err);
	gw_listeners_discard(gw, p);
	gw_xlog_set_unref(&x);
	gw_domains_unref(&d);
	if (rc < 0) {
		(void)fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	if (verbose)
		conf_notes(gw->conf, &notes);
	if (notes.len > 0)
		(void)fwrite(notes.p, 1, notes.len, stderr);
	td_buf_fini(&notes);
	(void)printf("Configuration valid\n");
	return 0;
}

static int
list_options(const char *how)
{
	struct td_buf b = { 0 };

	if (how != NULL && strcmp(how, "markdown") != 0)
		return usage("--list-options knows markdown, not", how);
	conf_list_options(&b, how != NULL);
	return print(&b, 0);
}

int
gw_options_parse(struct gw *gw, int argc, char **argv)
{
	bool test = false, dump = false, verbose = false;
	struct td_buf b = { 0 };
	const char *file = NULL;
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:c:fhn:tv", longs, NULL)) != -1) {
		switch (c) {
		case 'c': file = optarg; break;
		case 'f': gw_options.foreground = true; break;
		case 'h': help(); return 0;
		case 'n':
			if (!skip(gw, optarg))
				return usage("-n takes xmpp, milter or control, not", optarg);
			break;
		case 't': test = true; break;
		case 'v': verbose = true; break;
		case OPT_DUMP: dump = true; break;
		case OPT_LIST: return list_options(optarg);
		case OPT_VERSION: (void)printf("tandemd " TANDEM_VERSION "\n"); return 0;
		case ':': return usage("a value is missing after", argv[optind - 1]);
		default: return usage("no such option:", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage("unexpected", argv[optind]);
	if (file == NULL)
		return usage("-c FILE is missing", "");
	gw->conf_path = realpath(file, NULL);
	if (gw->conf_path == NULL)
		gw->conf_path = td_strdup(file); /* conf_load says what is wrong */
	status = load(gw);
	if (status < 0 && dump) {
		conf_dump(gw->conf, &b);
		status = print(&b, 0);
	} else if (status < 0 && test) {
		status = check(gw, verbose);
	}
	if (status >= 0) {
		conf_unref(&gw->conf);
		gw_options_fini(gw);
	}
	return status;
}

void
gw_options_fini(struct gw *gw)
{
	free(gw->conf_path);
	free(gw->data_dir);
	free(gw->hostname);
}
