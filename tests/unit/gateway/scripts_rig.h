/* scripts_rig - scripts in a gateway without sockets: real configuration, store, directory,
 * domains, milter phases; what would leave the process is written down instead. */
#ifndef TESTS_SCRIPTS_RIG_H
#define TESTS_SCRIPTS_RIG_H
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "gateway/outbox.h"
#include "gateway/scripts.h"
#include "milter/milter.h"
#include "xmpp/script.h"
#include "tests/unit/milter/recorder.h"

struct rig {
	char dir[200];
	struct gw gw;
	struct gw_worker worker;
	struct xmpp_env env;
	struct recorder rec;
	struct milt_session *ms;
	/* what left, one per line (XML) or as text */
	struct td_buf routed, bridged, outbox;
	unsigned commits;
	int bridge_rc;
	char *names[64]; /* files to remove */
	size_t n_names;
};
static struct rig rig;
static pthread_mutex_t rig_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- doubles of the gateway's other parts ---- */

struct conf *
gw_conf_get(struct gw *gw)
{
	return conf_ref(gw->conf);
}

void
gw_worker_post(struct gw_worker *w, void (*fn)(struct gw_worker *, void *), void *arg)
{
	fn(w, arg);
}

void
gw_route(struct gw *gw, struct xmpp_stanza *s)
{
	(void)gw;
	pthread_mutex_lock(&rig_lock);
	xmpp_stanza_write(s, false, &rig.routed);
	td_buf_addc(&rig.routed, '\n');
	pthread_mutex_unlock(&rig_lock);
	xmpp_stanza_unref(&s);
}

int
gw_bridge_mail_to_chat(struct gw *gw, const struct gw_chat *chats, size_t n, struct td_err *err)
{
	(void)gw;
	pthread_mutex_lock(&rig_lock);
	rig.commits++;
	for (size_t i = 0; i < n && rig.bridge_rc == 0; i++) {
		td_buf_addf(&rig.bridged, "[%.*s %.*s %.*s] ", TD_STR_ARG(chats[i].mail_id),
			    TD_STR_ARG(chats[i].thread), TD_STR_ARG(chats[i].peer));
		xmpp_stanza_write(chats[i].s, false, &rig.bridged);
		td_buf_addc(&rig.bridged, '\n');
	}
	pthread_mutex_unlock(&rig_lock);
	return rig.bridge_rc < 0 ? td_fail(err, rig.bridge_rc, "the store says no") : 0;
}

int
gw_outbox_submit(struct gw *gw, struct td_str from, struct td_str to, struct td_str data,
		 struct xmpp_env *env, struct xmpp_stanza *hold, struct td_err *err)
{
	(void)gw;
	(void)err;
	ck_assert(hold == NULL || env == &rig.env);
	if (hold != NULL)
		td_buf_addf(&rig.outbox, "held %.*s: ", TD_STR_ARG(hold->to.full));
	td_buf_addf(&rig.outbox, "<%.*s> <%.*s>\n%.*s\n", TD_STR_ARG(from), TD_STR_ARG(to),
		    TD_STR_ARG(data));
	return 0;
}

/* ---- setting up ---- */

static const char base_conf[] =
	"hostname = \"mx.example.org\"\n"
	"xmpp {}\nmail {}\n"
	"domain \"example.org\" { XMPP_Role = \"server\" }\n"
	"domain \"gateway.example\" { XMPP_Role = \"server\" service = \"gateway\" }\n"
	"domain \"rooms.example.org\" { XMPP_Role = \"server\" service = \"muc\" }\n";
static const char plain_conf[] = /* without a gateway domain */
	"hostname = \"mx.example.org\"\nxmpp {}\nmail {}\n"
	"domain \"example.org\" { XMPP_Role = \"server\" }\n"
	"domain \"partner.example\" {}\n";

static void
rig_file(const char *name, const char *text)
{
	char path[300];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	(void)fputs(text, f);
	(void)fclose(f);
	for (size_t i = 0; i < rig.n_names; i++)
		if (strcmp(rig.names[i], path) == 0)
			return;
	ck_assert_uint_lt(rig.n_names, 64);
	rig.names[rig.n_names++] = strdup(path);
}

static struct conf *
rig_conf(const char *base, const char *scripts)
{
	struct conf_report report = { 0 };
	struct td_buf text = { 0 };
	struct conf *c = NULL;
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/tandem.conf", rig.dir);
	td_buf_addf(&text, "%s%s", base, scripts);
	ck_assert_msg(conf_load_text(path, td_buf_str(&text), &c, &report) == 0, "%s",
		      td_buf_cstr(&report.text));
	conf_report_fini(&report);
	td_buf_fini(&text);
	return c;
}

static void
rig_account(const char *jid)
{
	struct store_account a = { .jid = td_cstr(jid) };
	struct store_wait *w = store_wait_new();
	struct td_err err = { 0 };

	store_account_add(rig.gw.store, &a, store_to_wait(w));
	ck_assert_msg(store_wait_for(w, 10000, NULL, &err) == 0, "%s", err.text);
	store_wait_free(w);
}

static void
rig_presence(const char *full, int priority, bool available)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_jid j;

	ck_assert_int_eq(xmpp_jid_parse(a, td_cstr(full), &j, NULL), 0);
	gw_directory_set(rig.gw.directory, &j, priority, TD_STR("chat"), TD_STR("here"), available);
	td_arena_free(a);
}

static void
rig_setup(void)
{
	struct store_conf sc = { .path = ":memory:" };
	struct td_err err = { 0 };

	memset(&rig, 0, sizeof(rig));
	(void)snprintf(rig.dir, sizeof(rig.dir), "%s/tandem-test-scripts-XXXXXX",
		       getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	ck_assert_msg(store_open(&sc, &rig.gw.store, &err) == 0, "%s", err.text);
	rig.gw.directory = gw_directory_new();
	rig.gw.hostname = td_strdup("mx.example.org");
	rig.gw.n_workers = 1;
	rig.gw.workers[0] = &rig.worker;
	rig.worker.gw = &rig.gw;
	rig.worker.env = &rig.env;
	rig.env.host_data = &rig.worker;
	recorder_init(&rig.rec);
	rig_account("ann@example.org");
	rig_account("bob@example.org");
}

/* Start with <scripts> in the scriptlet stanza (NULL: none); the error's text, or NULL. */
static const char *
rig_start(const char *base, const char *scripts)
{
	static struct td_err err;
	struct td_buf b = { 0 };

	memset(&err, 0, sizeof(err));
	td_buf_addf(&b, "scriptlet \"scriptlet\" {\n%s\n}\n", scripts);
	rig.gw.conf = rig_conf(base, td_buf_cstr(&b));
	td_buf_fini(&b);
	return gw_scripts_start(&rig.gw, &err) == 0 ? NULL : err.text;
}

/* The same, with one script from <source>. */
static const char *
rig_script(const char *options, const char *source)
{
	char stanza[600];

	rig_file("s.lua", source);
	(void)snprintf(stanza, sizeof(stanza), "script \"s\" { source = \"s\" %s }", options);
	return rig_start(base_conf, stanza);
}

static void
rig_teardown(void)
{
	milt_session_free(rig.ms);
	gw_scripts_stop(&rig.gw);
	conf_unref(&rig.gw.conf);
	gw_directory_free(rig.gw.directory);
	store_close(&rig.gw.store);
	free(rig.gw.hostname);
	recorder_fini(&rig.rec);
	td_buf_fini(&rig.routed);
	td_buf_fini(&rig.bridged);
	td_buf_fini(&rig.outbox);
	for (size_t i = 0; i < rig.n_names; i++) {
		(void)unlink(rig.names[i]);
		free(rig.names[i]);
	}
	(void)rmdir(rig.dir);
}

/* ---- a mail, phase by phase ---- */

static enum milt_verdict
mail_phase(enum milt_phase p, const union milt_args *args)
{
	return milt_run(rig.ms, &rig.rec.io, p, args);
}

static enum milt_verdict
mail_open(void)
{
	const union milt_args conn = { .connect = { "client.example", NULL } },
			      helo = { .helo = "client.example" };
	enum milt_verdict v;

	if (rig.ms != NULL)
		return MV_CONTINUE;
	rig.ms = milt_session_new(gw_scripts_policy(&rig.gw));
	v = mail_phase(MP_CONNECT, &conn);
	return v == MV_CONTINUE ? mail_phase(MP_HELO, &helo) : v;
}

static enum milt_verdict
mail_command(enum milt_phase p, const char *arg)
{
	const char *argv[] = { arg, NULL };
	const union milt_args a = { .argv = argv };

	return mail_phase(p, &a);
}

/* Headers and body of <raw> (LF), then end of message. */
static enum milt_verdict
mail_content(const char *raw)
{
	const char *body = strstr(raw, "\n\n"), *line = raw;
	enum milt_verdict v;
	struct td_buf crlf = { 0 };
	union milt_args a;

	v = mail_phase(MP_DATA, NULL);
	if (v != MV_CONTINUE)
		return v;
	while (line <= body) {
		const char *end = strchr(line, '\n'),
			   *colon = memchr(line, ':', (size_t)(end - line));
		char name[100], value[2000];

		while (end[1] == ' ' || end[1] == '\t')
			end = strchr(end + 1, '\n');
		(void)snprintf(name, sizeof(name), "%.*s", (int)(colon - line), line);
		(void)snprintf(value, sizeof(value), "%.*s", (int)(end - colon - 2), colon + 2);
		a.header.name = name;
		a.header.value = value;
		(void)mail_phase(MP_HEADER, &a);
		line = end + 1;
	}
	(void)mail_phase(MP_EOH, NULL);
	for (const char *p = body + 2; *p != '\0'; p++)
		td_buf_add(&crlf, *p == '\n' ? "\r\n" : p, *p == '\n' ? 2 : 1);
	a.body.p = td_buf_cstr(&crlf);
	a.body.len = crlf.len;
	if (crlf.len > 0)
		(void)mail_phase(MP_BODY, &a);
	v = mail_phase(MP_EOM, NULL);
	td_buf_fini(&crlf);
	return v;
}

/* The whole of it; <rcpts> are separated by blanks. */
static enum milt_verdict
mail_in(const char *from, const char *rcpts, const char *raw)
{
	enum milt_verdict v = mail_open();
	char list[500], *save = NULL;

	if (v == MV_CONTINUE)
		v = mail_command(MP_MAIL, from);
	(void)snprintf(list, sizeof(list), "%s", rcpts);
	for (char *r = strtok_r(list, " ", &save); v == MV_CONTINUE && r != NULL;
	     r = strtok_r(NULL, " ", &save))
		(void)mail_command(MP_RCPT, r);
	return v == MV_CONTINUE ? mail_content(raw) : v;
}

static const char plain_mail[] =
	"From: Zoe <zoe@partner.example>\nTo: ann@example.org\nSubject: Lunch\n"
	"Message-ID: <m1@partner.example>\n\nAt noon?\n";

/* ---- a stanza from a client ---- */

/* Does it go no further? */
static bool
hook(enum xmpp_hook h, struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_hook_call c = { .hook = h, .sess = sess, .s = s };
	int v = gw_scripts_xmpp_hook(&rig.env, &c);

	xmpp_stanza_unref(&c.replaced);
	return v == XV_DROP || v == XV_BOUNCE;
}

static bool
chat_in(struct xmpp_session *sess, const char *xml, struct xmpp_stanza **out)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_stanza *s;
	struct xmpp_node *n;
	const char *why;
	bool done;

	n = xmpp_xml_parse(a, td_cstr(xml), NS_CLIENT, &why);
	ck_assert_msg(n != NULL, "%s", why);
	(void)xmpp_stanza_from_node(a, n, &s, NULL);
	done = hook(s->kind == XK_MESSAGE    ? XH_CLIENT_MESSAGE
		    : s->kind == XK_PRESENCE ? XH_CLIENT_PRESENCE
					     : XH_CLIENT_IQ,
		    sess, s);
	if (out != NULL)
		*out = s;
	else
		xmpp_stanza_unref(&s);
	return done;
}

#define ck_has(buf, text)                                                                   \
	ck_assert_msg(strstr(td_buf_cstr(&(buf)), (text)) != NULL, "no %s in:\n%s", (text), \
		      td_buf_cstr(&(buf)))
#define ck_lacks(buf, text)                                                              \
	ck_assert_msg(strstr(td_buf_cstr(&(buf)), (text)) == NULL, "%s in:\n%s", (text), \
		      td_buf_cstr(&(buf)))
#define ck_started(e)                                \
	do {                                         \
		const char *e_ = (e);                \
		ck_assert_msg(e_ == NULL, "%s", e_); \
	} while (0)
#endif
