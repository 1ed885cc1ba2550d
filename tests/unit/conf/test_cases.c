/* Walks tests/conf: each folder has a tandem.conf and either `expected` (the dump, with the
 * warnings in `report` if there are any) or `error` (the report, paths relative to the
 * folder).  A dump must load again to itself. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "conf/conf.h"

#define FOLDER TANDEM_SRCDIR "/tests/conf"
#define CASES_MAX 500

static char *cases[CASES_MAX];
static int n_cases;

static bool
read_text(const char *dir, const char *name, struct td_buf *out)
{
	char path[4096];
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (f == NULL)
		return false;
	while ((n = fread(td_buf_reserve(out, 4096), 1, 4096, f)) > 0)
		out->len += n;
	fclose(f);
	td_buf_cstr(out);
	return true;
}

/* Drop every "<dir>/". */
static void
relative(struct td_buf *text, const char *dir)
{
	struct td_buf b = { 0 };
	char prefix[4096];
	size_t n;

	n = (size_t)snprintf(prefix, sizeof(prefix), "%s/", dir);
	for (size_t i = 0; i < text->len;) {
		if (text->len - i >= n && memcmp(text->p + i, prefix, n) == 0)
			i += n;
		else
			td_buf_addc(&b, text->p[i++]);
	}
	td_buf_fini(text);
	*text = b;
	td_buf_cstr(text);
}

static void
check_reload(const char *dump, size_t len)
{
	struct conf_report report;
	struct conf *again = NULL;
	struct td_buf b = { 0 };

	ck_assert_msg(conf_load_text("dump", td_str(dump, len), &again, &report) == 0, "%s",
		      report.text.p);
	conf_dump(again, &b);
	ck_assert_str_eq(td_buf_cstr(&b), dump);
	td_buf_fini(&b);
	conf_report_fini(&report);
	conf_unref(&again);
}

static void
check_good(const char *dir, const struct conf *c, const struct td_str want, const char *report)
{
	struct td_buf dump = { 0 }, want_report = { 0 };

	conf_dump(c, &dump);
	td_buf_cstr(&dump);
	ck_assert_msg(td_str_eq(td_buf_str(&dump), want), "%s: the dump is\n%s", dir, dump.p);
	read_text(dir, "report", &want_report);
	ck_assert_str_eq(report, td_buf_cstr(&want_report));
	check_reload(dump.p, dump.len);
	td_buf_fini(&dump);
	td_buf_fini(&want_report);
}

START_TEST(one_case)
{
	struct td_buf want = { 0 };
	struct conf_report report;
	struct conf *c = NULL;
	char dir[4096], main_file[5000];
	bool good;
	int rc;

	(void)snprintf(dir, sizeof(dir), "%s/%s", FOLDER, cases[_i]);
	(void)snprintf(main_file, sizeof(main_file), "%s/tandem.conf", dir);
	rc = conf_load(main_file, NULL, &c, &report);
	relative(&report.text, dir);
	good = read_text(dir, "expected", &want);
	ck_assert_msg((rc == 0) == good && (c != NULL) == good && (report.errors == 0) == good,
		      "%s: %s", cases[_i], report.text.p);
	if (good) {
		check_good(dir, c, td_buf_str(&want), report.text.p);
	} else {
		ck_assert_msg(read_text(dir, "error", &want), "%s: no expected, no error",
			      cases[_i]);
		ck_assert_str_eq(report.text.p, want.p);
	}
	td_buf_fini(&want);
	conf_report_fini(&report);
	conf_unref(&c);
}
END_TEST

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
find_cases(void)
{
	DIR *d = opendir(FOLDER);
	struct dirent *e;

	if (d == NULL) {
		perror(FOLDER);
		exit(1);
	}
	while ((e = readdir(d)) != NULL) {
		char path[4096];

		(void)snprintf(path, sizeof(path), "%s/%s/tandem.conf", FOLDER, e->d_name);
		if (e->d_name[0] != '.' && access(path, R_OK) == 0 && n_cases < CASES_MAX)
			cases[n_cases++] = td_strdup(e->d_name);
	}
	closedir(d);
	qsort(cases, (size_t)n_cases, sizeof(cases[0]), by_name);
}

int
main(void)
{
	Suite *s = suite_create("conf-cases");
	TCase *t = tcase_create("cases");
	SRunner *r;
	int failed;

	find_cases();
	tcase_add_loop_test(t, one_case, 0, n_cases);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	for (int i = 0; i < n_cases; i++)
		free(cases[i]);
	return failed != 0 || n_cases < 40;
}
