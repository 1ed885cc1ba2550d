/* ctl_export - `tandemctl account export ... FILE.xml`: whole accounts into one XEP-0227 file.
 *
 * The server is asked for some accounts at a time and answers a megabyte at a time (move.h); what comes is written as it
 * comes.  The file is new and nobody else's to read: it has what passwords are checked with. */
#include "gateway/ctl_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AT_ONCE 40

struct export
{
	int fd;
	FILE *out;
	char **jids;
	size_t n, missing;
};

bool
ctl_export_is_file(char **argv, int n)
{
	struct td_str last = n > 0 ? td_cstr(argv[n - 1]) : TD_STR_NULL;

	return n > 0 &&
	       (td_str_ends(last, ".xml") || td_str_chr(last, '/') >= 0 || td_str_eqc(last, "-"));
}

static const char *
domain_of(const char *jid)
{
	const char *at = strchr(jid, '@');

	return at != NULL ? at + 1 : jid;
}

static int
by_domain(const void *x, const void *y)
{
	const char *a = *(char *const *)x, *b = *(char *const *)y;
	int c = strcmp(domain_of(a), domain_of(b));

	return c != 0 ? c : strcmp(a, b);
}

static void
add_jid(struct export *x, struct td_str jid)
{
	if ((x->n & (x->n - 1)) == 0)
		x->jids = td_realloc(x->jids, (x->n > 0 ? x->n * 2 : 1) * sizeof(*x->jids));
	x->jids[x->n++] = td_strndup(jid);
}

/* The answer to a request, or false: said why. */
static bool
ask(struct export *x, const char *const *args, int n, struct td_buf *b)
{
	int status = ctl_send(x->fd, args, n, TD_STR_NULL, false) ? ctl_receive(x->fd, b) : -1;

	if (status != 0)
		fprintf(stderr, "tandemctl: %.*s\n",
			TD_STR_ARG(status < 0 ? TD_STR("the server closed the connection")
					      : td_str_trim(td_buf_str(b))));
	return status == 0;
}

static bool
list_all(struct export *x, const char *domain)
{
	const char *const args[] = { "account", "list", domain };
	struct td_buf b = { 0 };
	struct td_str rest;
	bool ok = ask(x, args, domain != NULL ? 3 : 2, &b);

	rest = ok ? td_buf_str(&b) : TD_STR_NULL;
	while (rest.len > 0)
		add_jid(x, td_str_cut(&rest, '\n'));
	td_buf_fini(&b);
	return ok;
}

/* Accounts <from> to <to>, all of one domain. */
static bool
dump(struct export *x, size_t from, size_t to)
{
	const char *args[AT_ONCE + 3] = { "account", "dump" };
	struct td_buf b = { 0 }, cursor = { 0 };
	bool ok = true;

	for (size_t i = from; i < to; i++)
		args[3 + i - from] = x->jids[i];
	td_buf_addz(&cursor, "0");
	while (ok && !td_str_eqc(td_buf_str(&cursor), "-")) {
		struct td_str rest, line;

		args[2] = td_buf_cstr(&cursor);
		if (!ask(x, args, (int)(3 + to - from), &b)) {
			ok = false;
			break;
		}
		rest = td_buf_str(&b);
		line = td_str_cut(&rest, '\n');
		td_buf_clear(&cursor);
		td_buf_adds(&cursor, line);
		while ((line = td_str_cut(&rest, '\n')).len > 0) {
			x->missing++;
			fprintf(stderr, "tandemctl: there is no account %.*s\n", (int)line.len - 2,
				line.p + 2);
		}
		ok = fwrite(rest.p, 1, rest.len, x->out) == rest.len;
		if (!ok)
			(void)ctl_say(strerror(errno));
	}
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
	td_buf_fini(&cursor);
	return ok;
}

static void
write_jid(FILE *out, const char *domain)
{
	struct td_buf b = { 0 };

	td_buf_add_xml(&b, td_cstr(domain));
	fprintf(out, "<host jid='%s'>\n", td_buf_cstr(&b));
	td_buf_fini(&b);
}

static bool
write_all(struct export *x)
{
	bool ok = true;

	fprintf(x->out, "<?xml version='1.0' encoding='UTF-8'?>\n"
			"<server-data xmlns='urn:xmpp:pie:0'>\n");
	for (size_t i = 0, to; ok && i < x->n; i = to) {
		const char *domain = domain_of(x->jids[i]);

		if (i == 0 || strcmp(domain, domain_of(x->jids[i - 1])) != 0) {
			if (i > 0)
				fprintf(x->out, "</host>\n");
			write_jid(x->out, domain);
		}
		for (to = i;
		     to < x->n && to - i < AT_ONCE && strcmp(domain, domain_of(x->jids[to])) == 0;)
			to++;
		ok = dump(x, i, to);
	}
	fprintf(x->out, "%s</server-data>\n", x->n > 0 ? "</host>\n" : "");
	return ok;
}

/* A new file, or standard output. */
static FILE *
open_out(const char *path)
{
	int fd = strcmp(path, "-") == 0 ? dup(1)
					: open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		fprintf(stderr, "tandemctl: %s: %s\n", path, strerror(errno));
		return NULL;
	}
	return fdopen(fd, "w");
}

int
ctl_export(int fd, char **argv, int n)
{
	const char *path = argv[n - 1], *domain = NULL;
	struct export x = { .fd = fd };
	bool ok = true;

	for (int i = 0; i < n - 1; i++) {
		if (strcmp(argv[i], "--domain") == 0 && i + 1 < n - 1)
			domain = argv[++i];
		else if (argv[i][0] != '-')
			add_jid(&x, td_cstr(argv[i]));
		else
			ok = false;
	}
	if (!ok || (domain != NULL && x.n > 0)) {
		fprintf(stderr, "tandemctl: account export [--domain D | JID...] FILE.xml\n");
		return 2;
	}
	if (x.n == 0)
		ok = list_all(&x, domain);
	qsort(x.jids, x.n, sizeof(*x.jids), by_domain);
	x.out = ok ? open_out(path) : NULL;
	ok = x.out != NULL && write_all(&x);
	if (x.out != NULL) {
		ok = fflush(x.out) == 0 && ok;
		ok = (strcmp(path, "-") == 0 || fsync(fileno(x.out)) == 0) && ok;
		ok = fclose(x.out) == 0 && ok;
		if (!ok && strcmp(path, "-") != 0)
			(void)unlink(path);
	}
	if (ok && strcmp(path, "-") != 0)
		printf("%zu accounts exported\n", x.n - x.missing);
	for (size_t i = 0; i < x.n; i++)
		free(x.jids[i]);
	free(x.jids);
	return ok && x.missing == 0 ? 0 : 1;
}
