/* xmpp_log: formats, escapes, and a module with two workers, reload and rotation. */
#include "gateway/xmpp_log.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "gateway/base/err.h"
#include "suite.h"

#define NOW_US 1700000000123456ull

static struct xmpp_stanza *
stanza(enum xmpp_kind kind, enum xmpp_type type, const char *id)
{
	struct xmpp_stanza *s = xmpp_stanza_new(kind, type);
	struct xmpp_jid j;

	ck_assert_int_eq(xmpp_jid_parse(s->arena, TD_STR("ann@a.test/x+y"), &j, NULL), 0);
	xmpp_stanza_set_from(s, &j);
	ck_assert_int_eq(xmpp_jid_parse(s->arena, TD_STR("bob@b.test"), &j, NULL), 0);
	xmpp_stanza_set_to(s, &j);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_stanza_append_raw(
		s,
		TD_STR("<body q='a>b'>se cret&amp;\xc3\xbc</body><y><![CDATA[<b>hid</b>]]> z</y>"));
	return s;
}

static const struct {
	const char *format;
	enum xmpp_kind kind;
	enum xmpp_type type;
	const char *id, *want;
} rows[] = {
	/* the defaults, byte for byte */
	{ "%t+R+%st+%at+%af+%ai+%ay+%H", XK_MESSAGE, XT_CHAT, "id1",
	  "1700000000+R+message+bob@b.test+ann@a.test/x\\+y+id1+chat+192.0.2.1:1234\n" },
	{ "%t+M", XK_IQ, XT_GET, "1", "1700000000+M\n" },
	/* what could break a line apart */
	{ "%ai+%st", XK_IQ, XT_SET, "a+b\\c\nd\re\tf", "a\\+b\\\\c\\nd\\re\\x09f+iq\n" },
	{ "%ai|%st", XK_IQ, XT_SET, "a+b|c", "a+b\\|c|iq\n" },
	{ "%ai%st", XK_PRESENCE, XT_NONE, "a+b", "a+bpresence\n" },
	/* types */
	{ "%st %ay", XK_MESSAGE, XT_NONE, "1", "message normal\n" },
	{ "%st %ay", XK_PRESENCE, XT_NONE, "1", "presence \n" },
	{ "%st %ay", XK_PRESENCE, XT_UNAVAILABLE, "1", "presence unavailable\n" },
	{ "%st %ay", XK_IQ, XT_RESULT, "1", "iq result\n" },
	/* longest name wins; literals */
	{ "%t%st%%x", XK_IQ, XT_GET, "1", "1700000000iq%x\n" },
	{ "%us{3} %us{0} %us", XK_IQ, XT_GET, "1",
	  "1700000000.123 1700000000 1700000000.123456\n" },
	{ "%U %A %vctx_conn{k}.", XK_IQ, XT_GET, "1", "ann@a.test  .\n" },
	{ "", XK_IQ, XT_GET, "1", "\n" },
	{ "%so", XK_MESSAGE, XT_CHAT, "i",
	  "<message from='ann@a.test/x+y' to='bob@b.test' type='chat' id='i'><body q='a>b'>xx "
	  "xxxxxxxxxx</body><y>xxxxxxxxxx x</y></message>\n" },
};

START_TEST(test_formats)
{
	struct xmpp_stanza *s = stanza(rows[_i].kind, rows[_i].type, rows[_i].id);
	struct gw_xlog_format *f;
	struct td_buf out = { 0 };
	struct td_err err;

	ck_assert_msg(gw_xlog_compile(td_cstr(rows[_i].format), false, &f, &err) == 0, "%s",
		      err.text);
	gw_xlog_format(f, s, true, "192.0.2.1:1234", NOW_US, &out);
	if (strstr(rows[_i].format, "%so") == NULL) {
		ck_assert_str_eq(td_buf_cstr(&out), rows[_i].want);
	} else { /* the order of attributes is xmpp's */
		const char *got = td_buf_cstr(&out);

		ck_assert_ptr_nonnull(strstr(got, strstr(rows[_i].want, "<body")));
		ck_assert_ptr_null(strstr(got, "cret"));
		ck_assert_ptr_null(strstr(got, "hid"));
	}
	ck_assert(!s->sealed); /* logging leaves the stanza as it was */
	td_buf_fini(&out);
	gw_xlog_format_free(f);
	xmpp_stanza_unref(&s);
}
END_TEST

START_TEST(test_raw)
{
	struct xmpp_stanza *s = stanza(XK_MESSAGE, XT_CHAT, "i");
	struct gw_xlog_format *f;
	struct td_buf out = { 0 };
	struct td_err err;

	ck_assert_int_eq(gw_xlog_compile(TD_STR("%sr"), false, &f, &err), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "log_content"));
	ck_assert_int_eq(gw_xlog_compile(TD_STR("%sr"), true, &f, &err), 0);
	gw_xlog_format(f, s, true, NULL, NOW_US, &out);
	ck_assert_ptr_nonnull(strstr(td_buf_cstr(&out), "se cret"));
	td_buf_fini(&out);
	gw_xlog_format_free(f);
	xmpp_stanza_unref(&s);
}
END_TEST

START_TEST(test_bad_formats)
{
	static const char *const bad[] = { "%", "%x", "%t{", "%t{%Y", "a%", "%s", "%us{" };
	struct gw_xlog_format *f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(gw_xlog_compile(td_cstr(bad[i]), true, &f, NULL) < 0, "%s", bad[i]);
}
END_TEST

START_TEST(test_strftime)
{
	struct gw_xlog_format *f;
	struct td_buf out = { 0 };

	setenv("TZ", "UTC", 1);
	tzset();
	ck_assert_int_eq(gw_xlog_compile(TD_STR("%t{%Y-%m-%d %H:%M}+%t"), false, &f, NULL), 0);
	gw_xlog_format(f, NULL, false, NULL, NOW_US, &out);
	ck_assert_str_eq(td_buf_cstr(&out), "2023-11-14 22:13+1700000000\n");
	td_buf_fini(&out);
	gw_xlog_format_free(f);
}
END_TEST

/* ---- the module ---- */

static struct gw gw;
static struct gw_worker workers[2];
static struct xmpp_env envs[2];
static char dir[] = "/tmp/test_xlog.XXXXXX";

static char *
slurp(const char *name)
{
	static char buf[1 << 20];
	char path[128];
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s", path);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	return buf;
}

static struct gw_xlog_set *
load(const char *text)
{
	struct gw_xlog_set *set;
	struct conf_report r = { 0 };
	struct conf *c;
	struct td_err err;

	ck_assert_msg(conf_load_text("test", td_cstr(text), &c, &r) == 0, "%s",
		      td_buf_cstr(&r.text));
	ck_assert_msg(gw_xmpp_log_prepare(&gw, c, false, &set, &err) == 0, "%s", err.text);
	conf_report_fini(&r);
	conf_unref(&c);
	return set;
}

START_TEST(test_module)
{
	struct xmpp_stanza *s = stanza(XK_MESSAGE, XT_CHAT, "id1");
	char path[128], moved[128];
	struct td_err err;
	struct stat st;
	char *text;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	gw.data_dir = dir;
	gw.n_workers = 2;
	gw.main_loop = td_loop_new(9);
	for (unsigned i = 0; i < 2; i++) {
		workers[i] = (struct gw_worker){
			.gw = &gw, .index = i, .loop = td_loop_new(i), .env = &envs[i]
		};
		envs[i].host_data = &workers[i];
		gw.workers[i] = &workers[i];
	}
	gw_xmpp_log_init(&gw);
	gw_xmpp_log_switch(
		&gw,
		load("xmpp_logger \"one\" { logfile = \"one.log\" heartbeat = 1 logmode = 0600 }\n"
		     "xmpp_logger \"two\" { logfile = \"two.log\" log_reception = false heartbeat "
		     "= 0 }\n"
		     "xmpp_logger \"off\" { logfile = \"off.log\" enabled = false }\n"));
	for (unsigned i = 0; i < 2; i++) {
		td_loop_turn(workers[i].loop, false);
		ck_assert(envs[i].log_stanzas);
		gw_xmpp_log_stanza(&envs[i], true, s, "192.0.2.1:1");
		gw_xmpp_log_stanza(&envs[i], false, s, "192.0.2.1:1");
		if (i == 0)
			ck_assert_str_eq(slurp("two.log"), ""); /* written at the end of the turn */
		td_loop_turn(workers[i].loop, false);
	}
	text = slurp("one.log");
	ck_assert_ptr_nonnull(
		strstr(text, "+R+message+bob@b.test+ann@a.test/x\\+y+id1+chat+192.0.2.1:1\n"));
	ck_assert_ptr_nonnull(strstr(text, "+D+message+"));
	ck_assert_ptr_null(strstr(slurp("two.log"), "+R+"));
	ck_assert_ptr_nonnull(strstr(slurp("two.log"), "+D+"));
	(void)snprintf(path, sizeof(path), "%s/one.log", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	(void)snprintf(moved, sizeof(moved), "%s/off.log", dir);
	ck_assert_int_lt(stat(moved, &st), 0);
	/* heartbeat, by the main loop */
	while (strstr(slurp("one.log"), "+M\n") == NULL)
		td_loop_turn(gw.main_loop, true);
	/* rotation of one instance */
	(void)snprintf(moved, sizeof(moved), "%s/one.1", dir);
	ck_assert_int_eq(rename(path, moved), 0);
	ck_assert_int_eq(gw_xmpp_log_reopen(&gw, "one", &err), 0);
	ck_assert_int_eq(gw_xmpp_log_reopen(&gw, "three", &err), TD_E_NOTFOUND);
	gw_xmpp_log_stanza(&envs[0], true, s, "192.0.2.1:2");
	td_loop_turn(workers[0].loop, false);
	ck_assert_ptr_nonnull(strstr(slurp("one.log"), "192.0.2.1:2\n"));
	ck_assert_ptr_null(strstr(slurp("one.1"), "192.0.2.1:2\n"));
	/* a generation without loggers */
	gw_xmpp_log_switch(&gw, load("xmpp {}\n"));
	for (unsigned i = 0; i < 2; i++) {
		td_loop_turn(workers[i].loop, false);
		ck_assert(!envs[i].log_stanzas);
		gw_xmpp_log_stanza(&envs[i], true, s, "192.0.2.1:3");
	}
	gw_xmpp_log_fini(&gw);
	for (unsigned i = 0; i < 2; i++)
		td_loop_free(workers[i].loop);
	td_loop_free(gw.main_loop);
	xmpp_stanza_unref(&s);
	unlink(path);
	unlink(moved);
	(void)snprintf(path, sizeof(path), "%s/two.log", dir);
	unlink(path);
	rmdir(dir);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_loop_test(tc, test_formats, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, test_raw);
	tcase_add_test(tc, test_bad_formats);
	tcase_add_test(tc, test_strftime);
	tcase_add_test(tc, test_module);
}

int
main(void)
{
	return run_suite("xmpp_log", fill);
}
