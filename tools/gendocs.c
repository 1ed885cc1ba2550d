/* gendocs - print what the program's own tables say, for docs/reference (see gendocs.sh).
 *
 *   gendocs options   the option table, as Markdown
 *   gendocs modules   the feature descriptors, one field per line, tab-separated */
#include <stdio.h>
#include <string.h>
#include "conf/conf.h"
#include "xmpp/xmpp.h"

static void
print_options(void)
{
	struct td_buf b = { 0 };

	conf_list_options(&b, true);
	fwrite(b.p, 1, b.len, stdout);
	td_buf_fini(&b);
}

static void
print_list(const char *key, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++)
		printf("%s\t%s\n", key, *list);
}

static void
print_modules(void)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++) {
		printf("module\t%s\n", (*m)->name);
		printf("xep\t%s\n", (*m)->xep != NULL ? (*m)->xep : "");
		printf("version\t%s\n", (*m)->version != NULL ? (*m)->version : "");
		printf("doc\t%s\n", (*m)->doc != NULL ? (*m)->doc : "");
		print_list("feature", (*m)->features);
		print_list("account-feature", (*m)->account_features);
		for (const struct xmpp_iq_entry *e = (*m)->iqs; e != NULL && e->ns != NULL; e++)
			printf("iq\t%s\t%s\t%s%s\t%s%s%s\n", e->name, e->ns, e->flags & IQ_GET ? "get " : "",
			       e->flags & IQ_SET ? "set" : "", e->flags & IQ_TO_HOST ? "server " : "",
			       e->flags & IQ_TO_ACCOUNT ? "account " : "",
			       e->flags & IQ_OWN_ONLY ? "(its own only)" : "");
	}
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "options") == 0)
		print_options();
	else if (argc == 2 && strcmp(argv[1], "modules") == 0)
		print_modules();
	else
		return 2;
	return fflush(stdout) == 0 ? 0 : 1;
}
