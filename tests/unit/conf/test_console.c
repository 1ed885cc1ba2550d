/* config get, eval, show, locate, set, unset; dump and the list of options. */
#include <check.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"

static const char text[] = "hostname = h.example\n"
			   "connect_timeout = 9\n"
			   "xmpp {}\n"
			   "domain a.example { xmpp_role = server gateway = g }\n"
			   "domain \"/\\.example$/\" { gateway = re }\n"
			   "xmpp_listener {\n"
			   "  AuthParameters = [ uri = \"store://\" ]\n"
			   "  idle_time = 5\n"
			   "  Peer 10.0.0.0/8 { idle_time = 6 }\n"
			   "  Listen *:5222 { tls_ciphers = X }\n"
			   "}\n"
			   "mail { submit_password = hush }\n"
			   "component c.example { secret = hush }\n";

static struct conf *conf;

static void
setup(void)
{
	struct conf_report r;

	ck_assert_msg(conf_load_text("t", td_cstr(text), &conf, &r) == 0, "%s", r.text.p);
	conf_report_fini(&r);
}

static void
teardown(void)
{
	conf_unref(&conf);
}

enum what {
	GET = 0,
	EVAL
};

static const struct {
	enum what what;
	const char *path, *option, *want; /* want starts with '!': the error */
} asks[] = {
	{ GET, "", "hostname", "hostname = \"h.example\"\n" },
	{ GET, "", "HostName", "hostname = \"h.example\"\n" },
	{ GET, "", "workers", "!Option 'workers' is not set in scope 'global'." },
	{ GET, "", "wrkers", "!There is no option 'wrkers'; did you mean workers" },
	{ GET, "", "xmpp_role", "!Option 'xmpp_role' is not valid in scope 'global'." },
	{ GET, "xmpp_listener", "idle_time", "idle_time = 5\n" },
	{ GET, "XMPP_Listener Listen *:5222", "tls_ciphers", "tls_ciphers = \"X\"\n" },
	{ GET, "xmpp_listener listen \"*:5222\"", "idle_time",
	  "!Option 'idle_time' is not set in scope 'Listen'." },
	{ GET, "xmpp_listener listen *:5223", "idle_time",
	  "!There is no scope 'xmpp_listener listen *:5223'." },
	{ GET, "xmpp_listener listen", "idle_time", "!scope 'Listen' needs a name" },
	{ GET, "listen *:5222", "idle_time",
	  "!\"listen\" is not a valid scope name in scope 'global'" },
	{ GET, "nonsense", "idle_time",
	  "!\"nonsense\" is not a valid scope name in scope 'global'" },
	{ GET, "domain \"a", "gateway", "!the path cannot be read: a quote or bracket is missing" },
	{ GET, "mail", "submit_password", "submit_password = \"********\"\n" },
	{ GET, "domain /\\.example$/", "gateway", "gateway = \"re\"\n" },
	{ EVAL, "", "workers", "workers = 0\n" },
	{ EVAL, "", "pidfile", "Option 'pidfile' is not set and has no default.\n" },
	{ EVAL, "xmpp_listener listen *:5222", "idle_time", "idle_time = 5\n" },
	{ EVAL, "xmpp_listener listen *:9999", "idle_time", "idle_time = 5\n" },
	{ EVAL, "xmpp_listener listen *:9999 peer 10.1.1.1", "idle_time", "idle_time = 6\n" },
	{ EVAL, "xmpp_listener", "listen_backlog", "listen_backlog = 500\n" },
	{ EVAL, "domain a.example", "gateway", "gateway = \"g\"\n" },
	{ EVAL, "domain \"#xmpp#A.example\"", "gateway", "gateway = \"g\"\n" },
	{ EVAL, "domain b.example", "gateway", "gateway = \"re\"\n" },
	{ EVAL, "domain other", "gateway", "Option 'gateway' is not set and has no default.\n" },
	{ EVAL, "domain other", "connect_timeout", "connect_timeout = 9\n" },
	{ EVAL, "mail", "retry_interval", "retry_interval = 60\n" },
	{ EVAL, "", "retry_interval", "retry_interval = 5\n" },
	{ EVAL, "mail", "hostname", "!Option 'hostname' is not valid in scope 'mail'." },
	{ EVAL, "component c.example", "secret", "secret = \"********\"\n" },
};

START_TEST(ask)
{
	struct td_buf out = { 0 };
	struct td_err err = { 0 };
	int (*cmd)(const struct conf *, struct td_str, struct td_str, struct td_buf *,
		   struct td_err *) = asks[_i].what == GET ? conf_cmd_get : conf_cmd_eval;
	int rc = cmd(conf, td_cstr(asks[_i].path), td_cstr(asks[_i].option), &out, &err);
	bool good = asks[_i].want[0] != '!';

	ck_assert_msg((rc == 0) == good, "%s", err.text);
	ck_assert_str_eq(good ? td_buf_cstr(&out) : err.text, asks[_i].want + !good);
	td_buf_fini(&out);
}
END_TEST

START_TEST(show)
{
	struct td_buf out = { 0 };
	struct td_err err;

	ck_assert_int_eq(conf_cmd_show(conf, TD_STR("xmpp_listener"), false, &out, &err), 0);
	ck_assert_str_eq(td_buf_cstr(&out),
			 "authparameters = [ uri = \"store://\" ]\nidle_time = 5\n"
			 "Peer \"10.0.0.0/8\" { ... }\nListen \"*:5222\" { ... }\n");
	td_buf_clear(&out);
	ck_assert_int_eq(conf_cmd_show(conf, TD_STR("xmpp_listener"), true, &out, &err), 0);
	ck_assert_ptr_nonnull(
		strstr(td_buf_cstr(&out), "Listen \"*:5222\" {\n\ttls_ciphers = \"X\"\n}\n"));
	td_buf_clear(&out);
	ck_assert_int_eq(conf_cmd_show(conf, TD_STR(""), true, &out, &err), 0);
	ck_assert_ptr_null(strstr(td_buf_cstr(&out), "hush"));
	ck_assert_int_eq(conf_cmd_show(conf, TD_STR("domain nope"), true, &out, &err),
			 TD_E_NOTFOUND);
	td_buf_fini(&out);
}
END_TEST

START_TEST(locate)
{
	struct td_buf out = { 0 };
	struct td_err err;

	ck_assert_int_eq(conf_cmd_locate(conf, TD_STR("listen"), TD_STR(":52"), &out, &err), 0);
	ck_assert_str_eq(td_buf_cstr(&out),
			 "Listen \"*:5222\"\n  is at xmpp_listener::Listen:*\\:5222:\n");
	td_buf_clear(&out);
	ck_assert_int_eq(conf_cmd_locate(conf, TD_STR("domain"), TD_STR_NULL, &out, &err), 0);
	ck_assert_str_eq(td_buf_cstr(&out),
			 "domain \"a.example\"\n  is at domain:a.example:\n"
			 "domain \"/\\\\.example$/\"\n  is at domain:/\\\\.example$/:\n");
	td_buf_clear(&out);
	ck_assert_int_eq(conf_cmd_locate(conf, TD_STR("listen"), TD_STR("^5"), &out, &err), 0);
	ck_assert_uint_eq(out.len, 0);
	ck_assert_int_eq(conf_cmd_locate(conf, TD_STR("listen"), TD_STR("("), &out, &err),
			 TD_E_INVAL);
	ck_assert_int_eq(conf_cmd_locate(conf, TD_STR("nonsense"), TD_STR(""), &out, &err),
			 TD_E_NOTFOUND);
	td_buf_fini(&out);
}
END_TEST

/* ---- set and unset ---- */

static const struct {
	const char *path, *option, *value; /* value NULL: unset */
	const char *eval_path, *want;      /* want "!...": part of the report */
} changes[] = {
	{ "", "workers", "4", "", "workers = 4\n" },
	{ "", "workers", " = 4 ", "", "workers = 4\n" },
	{ "", "hostname", "\"two words\"", "", "hostname = \"two words\"\n" },
	{ "", "hostname", "two words", "", "!config:1:5: \"words\" follows the value" },
	{ "", "hostname", "x } domain y {", "", "!config:1:3: \"}\" follows the value" },
	{ "", "hostname", "x include \"/etc/passwd\"", "", "!follows the value" },
	{ "", "workers", "many", "", "!config:1:1: workers takes a whole number" },
	{ "", "workers", "", "", "!workers = has no value" },
	{ "", "wrkers", "4", "", "!did you mean workers?" },
	{ "", "admins", "( a@x b@x )", "", "admins = ( \"a@x\" \"b@x\" )\n" },
	{ "xmpp_listener listen *:5222", "idle_time", "77", "xmpp_listener listen *:5222",
	  "idle_time = 77\n" },
	{ "xmpp_listener peer 10.0.0.0/8", "idle_time", "78", "xmpp_listener peer 10.1.1.1",
	  "idle_time = 78\n" },
	{ "xmpp_listener listen *:5999", "tls_ciphers", "Y", "xmpp_listener listen *:5999",
	  "tls_ciphers = \"Y\"\n" },
	{ "domain new.example", "gateway", "n", "domain new.example", "gateway = \"n\"\n" },
	{ "domain /^new/", "tls", "no", "domain newish.test", "tls = \"no\"\n" },
	{ "domain /^new(/", "tls", "no", "", "!regex" },
	{ "domain a.example", "gateway", NULL, "domain a.example", "gateway = \"re\"\n" },
	{ "domain /\\.example$/", "gateway", NULL, "domain b.example",
	  "Option 'gateway' is not set and has no default.\n" },
	{ "", "hostname", NULL, "", "Option 'hostname' is not set and has no default.\n" },
	{ "", "workers", NULL, "", "!config:1:1: option \"workers\" is not set in scope global" },
	{ "domain nope", "tls", NULL, "", "!there is no such scope" },
	{ "xmpp_listener", "authparameters", NULL, "", "!needs a credential store" },
	{ "milter_listener listen /a", "enable", "true", "milter_listener listen /a",
	  "enable = true\n" },
	{ "control_listener listen *:1", "timeout", "5", "", "!asks for no credentials" },
};

static void
check_changed(const struct conf *c, const char *path, const char *option, const char *want)
{
	struct td_buf out = { 0 };
	struct td_err err = { 0 };

	ck_assert_uint_gt(conf_generation(c), conf_generation(conf));
	ck_assert_msg(conf_cmd_eval(c, td_cstr(path), td_cstr(option), &out, &err) == 0, "%s",
		      err.text);
	ck_assert_str_eq(td_buf_cstr(&out), want);
	td_buf_fini(&out);
}

START_TEST(change)
{
	struct td_str value = td_cstr(changes[_i].value);
	struct td_buf before = { 0 }, after = { 0 };
	struct conf_report r;
	struct conf *c = NULL;
	bool good = changes[_i].want[0] != '!';
	int rc;

	conf_dump(conf, &before);
	rc = conf_with(conf, td_cstr(changes[_i].path), td_cstr(changes[_i].option),
		       changes[_i].value != NULL ? &value : NULL, &c, &r);
	ck_assert_msg((rc == 0) == good, "%s", r.text.p);
	if (good)
		check_changed(c, changes[_i].eval_path, changes[_i].option, changes[_i].want);
	else
		ck_assert_msg(strstr(r.text.p, changes[_i].want + 1) != NULL, "%s", r.text.p);
	conf_dump(conf, &after);
	ck_assert(td_str_eq(td_buf_str(&before), td_buf_str(&after))); /* the base is as it was */
	td_buf_fini(&before);
	td_buf_fini(&after);
	conf_report_fini(&r);
	conf_unref(&c);
}
END_TEST

START_TEST(unset_scope)
{
	struct conf_report r;
	struct conf *c = NULL;

	ck_assert_int_eq(conf_with(conf, TD_STR("xmpp_listener"), TD_STR_NULL, NULL, &c, &r), 0);
	ck_assert_ptr_null(conf_next(c, NULL, "xmpp_listener", NULL));
	ck_assert_ptr_nonnull(conf_next(c, NULL, "domain", NULL));
	conf_report_fini(&r);
	conf_unref(&c);
	ck_assert_int_eq(conf_with(conf, TD_STR(""), TD_STR_NULL, NULL, &c, &r), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(r.text.p, "the global scope cannot be removed"));
	conf_report_fini(&r);
	ck_assert_int_eq(conf_with(conf, TD_STR("xmpp"), TD_STR_NULL, NULL, &c, &r), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(r.text.p, "t:6:1: xmpp_listener needs the xmpp module"));
	conf_report_fini(&r);
}
END_TEST

/* Secrets survive a console change although dumps hide them. */
START_TEST(change_keeps_secrets)
{
	struct td_str value = TD_STR("4");
	struct conf_report r;
	struct conf *c = NULL, *d = NULL;

	ck_assert_int_eq(conf_with(conf, TD_STR(""), TD_STR("workers"), &value, &c, &r), 0);
	conf_report_fini(&r);
	ck_assert_int_eq(conf_with(c, TD_STR(""), TD_STR("workers"), NULL, &d, &r), 0);
	conf_report_fini(&r);
	conf_unref(&c);
	ck_assert(td_str_eqc(conf_str(d, NULL, "submit_password"), "hush"));
	ck_assert_str_eq(conf_path(d), "t");
	ck_assert_str_eq(conf_scope_where(conf_next(d, NULL, "mail", NULL)), "t:12:1");
	conf_unref(&d);
}
END_TEST

START_TEST(list_options)
{
	struct td_buf out = { 0 };
	size_t rows = 0, lines = 0;

	for (const struct conf_option *o = conf_options; o->name != NULL; o++)
		rows++;
	conf_list_options(&out, true);
	ck_assert_ptr_nonnull(
		strstr(td_buf_cstr(&out), "| `xmpp_role` | list | domain |  | server client |"));
	for (size_t i = 0; i < out.len; i++)
		lines += out.p[i] == '\n';
	ck_assert_uint_eq(lines, rows + 2);
	td_buf_clear(&out);
	conf_list_options(&out, false);
	ck_assert_ptr_nonnull(
		strstr(td_buf_cstr(&out), "listen_backlog\n\tint (1..65535), default 500\n"));
	td_buf_fini(&out);
}
END_TEST

START_TEST(notes)
{
	struct conf_report r;
	struct conf *c = NULL;
	struct td_buf out = { 0 };

	ck_assert_int_eq(
		conf_load_text("n", TD_STR("prefer_ipv6_mxs = true\nalerting {}\n"), &c, &r), 0);
	conf_notes(c, &out);
	ck_assert_str_eq(td_buf_cstr(&out),
			 "n:1:1: note: prefer_ipv6_mxs has no effect: addresses of both families "
			 "are tried in turn\n"
			 "n:2:1: note: alerting is accepted and has no effect\n");
	td_buf_fini(&out);
	conf_report_fini(&r);
	conf_unref(&c);
}
END_TEST

#define LOOP(t, test, table) \
	tcase_add_loop_test(t, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

int
main(void)
{
	Suite *s = suite_create("conf-console");
	TCase *t = tcase_create("console");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	LOOP(t, ask, asks);
	tcase_add_test(t, show);
	tcase_add_test(t, locate);
	LOOP(t, change, changes);
	tcase_add_test(t, unset_scope);
	tcase_add_test(t, change_keeps_secrets);
	tcase_add_test(t, list_options);
	tcase_add_test(t, notes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
