/* im_lab - a whole xmpp_env for tests of RFC 6121: real users, sessions and store (in memory),
 * no sockets.  The domain "a.test" lives here, everything else is remote.
 *
 * What a session would send and what is routed to remote domains is recorded; lab_take gives it
 * back in order.  lab_settle runs the loop until nothing is under way. */
#ifndef TESTS_IM_LAB_H
#define TESTS_IM_LAB_H
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/script.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/roster.h"

#define REMOTE "" /* lab_take: routed to another domain */

struct lab_event {
	char who[160]; /* full address of the session, or REMOTE */
	char *xml;
	uint64_t row;
	bool taken;
};

static struct {
	struct td_loop *loop;
	struct store *store;
	struct conf *conf;
	struct xmpp_env *env;
	struct lab_event ev[4096];
	size_t n_ev;
	char accounts[16][64];
	unsigned n_accounts;
	/* last call of host->presence */
	char dir_show[16], dir_status[300];
	int dir_priority;
	bool dir_available;
	/* give the stanzas to the sessions' (missing) streams, so that rows are in flight */
	unsigned waits;
} lab;

static void
lab_record(const char *who, size_t n, struct xmpp_stanza *s)
{
	struct lab_event *e = &lab.ev[lab.n_ev++];
	struct td_buf b = { 0 };

	ck_assert(lab.n_ev < sizeof(lab.ev) / sizeof(lab.ev[0]));
	xmpp_stanza_write(s, false, &b);
	*e = (struct lab_event){ .row = s->row };
	(void)snprintf(e->who, sizeof(e->who), "%.*s", (int)n, who);
	e->xml = td_strndup(td_buf_str(&b));
	td_buf_fini(&b);
}

static enum xmpp_domain_kind
lab_domain(struct xmpp_env *env, struct td_str domain)
{
	(void)env;
	if (td_str_eqc(domain, "muc.a.test"))
		return XD_SERVICE;
	return td_str_eqc(domain, "a.test") ? XD_LOCAL : XD_REMOTE;
}

static void
lab_route(struct xmpp_env *env, struct xmpp_stanza *s)
{
	ck_assert(s->sealed);
	if (!td_str_eqc(s->to.domain, "a.test") && !td_str_eqc(s->to.domain, "muc.a.test")) {
		lab_record(REMOTE, 0, s);
		xmpp_stanza_unref(&s);
	} else if (s->to.local.p != NULL) {
		xmpp_deliver(env, s);
	} else {
		xmpp_deliver_server(env, s);
	}
}

static int
lab_hook(struct xmpp_env *env, struct xmpp_hook_call *c)
{
	(void)env;
	if (c->hook == XH_BEFORE_SEND)
		lab_record(c->sess->jid.full.p, c->sess->jid.full.len, c->s);
	return XV_GO;
}

static void
lab_presence(struct xmpp_env *env, const struct xmpp_jid *full, int priority, struct td_str show,
	     struct td_str status, bool available)
{
	(void)env;
	(void)full;
	lab.dir_priority = priority;
	lab.dir_available = available;
	(void)snprintf(lab.dir_show, sizeof(lab.dir_show), "%.*s", TD_STR_ARG(show));
	(void)snprintf(lab.dir_status, sizeof(lab.dir_status), "%.*s", TD_STR_ARG(status));
}

static bool
lab_to_mail(struct xmpp_env *env, struct xmpp_stanza *s)
{
	(void)env;
	(void)s;
	return false;
}

static const struct xmpp_host lab_host = {
	.domain = lab_domain,
	.route = lab_route,
	.to_mail = lab_to_mail,
	.presence = lab_presence,
	.hook = lab_hook,
};

/* ---- waiting for the store ---- */

static void
lab_wake(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	(void)arg;
	(void)r;
	(void)ro;
	lab.waits--;
}

static void
lab_done(void *arg, const struct store_result *r)
{
	ck_assert_msg(r->rc == 0 || arg != NULL, "store: %s", r->error);
	lab.waits--;
}

static void
lab_run(void)
{
	while (lab.waits > 0)
		td_loop_turn(lab.loop, true);
}

/* Calls about one account are answered in order, so a round trip per account outlasts what was
 * under way; rounds go on while the last one brought something new. */
static void
lab_settle(void)
{
	size_t before;
	int quiet = 0;

	while (quiet < 3) {
		before = lab.n_ev;
		for (unsigned i = 0; i < lab.n_accounts; i++) {
			lab.waits++;
			store_roster_get(lab.store, td_cstr(lab.accounts[i]), lab.loop, lab_wake,
					 NULL);
		}
		lab_run();
		td_loop_turn(lab.loop, false);
		quiet = lab.n_ev == before ? quiet + 1 : 0;
	}
}

/* ---- set-up ---- */

static void
lab_watch(const char *bare)
{
	for (unsigned i = 0; i < lab.n_accounts; i++)
		if (strcmp(lab.accounts[i], bare) == 0)
			return;
	ck_assert(lab.n_accounts < 16);
	(void)snprintf(lab.accounts[lab.n_accounts++], 64, "%s", bare);
}

static void
lab_account(const char *bare)
{
	struct store_account a = { .jid = td_cstr(bare) };

	lab_watch(bare);
	lab.waits++;
	store_account_add(lab.store, &a, (struct store_to){ lab.loop, lab_done, NULL });
	lab_run();
}

static void
lab_start(const char *extra)
{
	struct store_conf sc = { .path = ":memory:", .readers = 1, .max_offline = 120 };
	struct conf_report report = { 0 };
	char text[512];
	struct td_err err;

	(void)snprintf(text, sizeof(text),
		       "hostname = \"a.test\"\nxmpp { %s }\n"
		       "domain \"a.test\" { XMPP_Role = \"server\" }\n",
		       extra);
	td_log_set_level(NULL, TD_LOG_WARN);
	memset(&lab, 0, sizeof(lab));
	ck_assert_msg(conf_load_text("lab", td_cstr(text), &lab.conf, &report) == 0, "%.*s",
		      (int)report.text.len, report.text.p);
	conf_report_fini(&report);
	ck_assert_msg(store_open(&sc, &lab.store, &err) == 0, "%s", err.text);
	lab.loop = td_loop_new(0);
	lab.env = xmpp_env_new(lab.loop, 0, 1, &lab_host, NULL, lab.store, lab.conf);
	lab.env->hooks = 1u << XH_BEFORE_SEND;
}

static void
lab_setup(void)
{
	lab_start("");
}

static void
lab_teardown(void)
{
	lab_settle();
	xmpp_env_free(lab.env);
	store_close(&lab.store);
	td_loop_free(lab.loop);
	conf_unref(&lab.conf);
	for (size_t i = 0; i < lab.n_ev; i++)
		free(lab.ev[i].xml);
}

static void
lab_got_user(struct xmpp_user *u, void *arg)
{
	*(struct xmpp_user **)arg = u;
}

/* The loaded user. */
static struct xmpp_user *
lab_user(const char *bare)
{
	struct xmpp_user *u = NULL;

	xmpp_user_with(lab.env, td_cstr(bare), lab_got_user, &u);
	while (u == NULL)
		td_loop_turn(lab.loop, true);
	return u;
}

/* Bind; no presence yet. */
static struct xmpp_session *
lab_bind(const char *full)
{
	struct xmpp_jid j = xmpp_jid_view(td_cstr(full));
	char *bare = td_strndup(j.bare);
	struct xmpp_user *u = lab_user(bare);
	struct xmpp_session *sess;
	enum xmpp_error e;

	free(bare);
	ck_assert_msg(u->exists, "%s is no account", full);
	sess = xmpp_session_bind(u, NULL, j.resource, &e);
	ck_assert_ptr_nonnull(sess);
	return sess;
}

/* ---- talking ---- */

static struct xmpp_stanza *
lab_parse(const char *xml)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_stanza *s = NULL;
	const char *why = NULL;
	struct xmpp_node *n = xmpp_xml_parse(a, td_cstr(xml), NS_CLIENT, &why);

	ck_assert_msg(n != NULL, "%s: %s", xml, why);
	ck_assert_int_eq(xmpp_stanza_from_node(a, n, &s, NULL), 0);
	return s;
}

/* The client of <sess> sends. */
static void
lab_says(struct xmpp_session *sess, const char *xml)
{
	struct xmpp_stanza *s = lab_parse(xml);

	xmpp_stanza_set_from(s, &sess->jid);
	xmpp_from_client(sess, s);
}

/* A stanza from elsewhere. */
static void
lab_arrives(const char *xml)
{
	struct xmpp_stanza *s = lab_parse(xml);

	xmpp_stanza_seal(s);
	lab_route(lab.env, s);
}

/* Next recorded stanza for <who>, or NULL. */
static const char *
lab_take(const char *who)
{
	for (size_t i = 0; i < lab.n_ev; i++) {
		if (lab.ev[i].taken || strcmp(lab.ev[i].who, who) != 0)
			continue;
		lab.ev[i].taken = true;
		return lab.ev[i].xml;
	}
	return NULL;
}

/* Position of the first one for <who> with all of the (NULL-ended) texts; taken.  -1: none. */
static int
lab_find(const char *who, const char *a, const char *b, const char *c)
{
	for (size_t i = 0; i < lab.n_ev; i++) {
		struct lab_event *e = &lab.ev[i];

		if (e->taken || strcmp(e->who, who) != 0)
			continue;
		if (strstr(e->xml, a) == NULL || (b != NULL && strstr(e->xml, b) == NULL) ||
		    (c != NULL && strstr(e->xml, c) == NULL))
			continue;
		e->taken = true;
		return (int)i;
	}
	return -1;
}

static void
lab_dump(void)
{
	for (size_t i = 0; i < lab.n_ev; i++)
		fprintf(stderr, "%zu%s %s: %s\n", i, lab.ev[i].taken ? " (taken)" : "",
			lab.ev[i].who, lab.ev[i].xml);
}

#define lab_expect(who, a, b, c) lab_expect_(__FILE__, __LINE__, who, a, b, c)
static int
lab_expect_(const char *file, int line, const char *who, const char *a, const char *b,
	    const char *c)
{
	int i = lab_find(who, a, b, c);

	if (i < 0) {
		lab_dump();
		ck_abort_msg("%s:%d: nothing for '%s' with '%s' '%s' '%s'", file, line, who, a,
			     b != NULL ? b : "", c != NULL ? c : "");
	}
	return i;
}

#define lab_nothing(who) lab_nothing_(__FILE__, __LINE__, who)
static void
lab_nothing_(const char *file, int line, const char *who)
{
	const char *xml = lab_take(who);

	if (xml != NULL)
		ck_abort_msg("%s:%d: unexpected for '%s': %s", file, line, who, xml);
}

/* Forget what was recorded. */
static void
lab_clear(void)
{
	for (size_t i = 0; i < lab.n_ev; i++)
		lab.ev[i].taken = true;
}

/* Log in with roster and presence, as clients do; quietly. */
static struct xmpp_session *
lab_online(const char *full, const char *presence)
{
	struct xmpp_session *sess = lab_bind(full);

	lab_says(sess, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
	lab_says(sess, presence);
	lab_settle();
	lab_clear();
	return sess;
}

/* Put a contact into a roster as if it had always been there. */
static void
lab_contact(const char *bare, const char *contact, enum store_subscription sub, unsigned flags,
	    const char *pending)
{
	struct store_contact c = { .jid = td_cstr(contact),
				   .sub = sub,
				   .flags = flags,
				   .pending_stanza = td_cstr(pending) };

	xmpp_roster_save(lab_user(bare), xmpp_contact_new(&c), NULL, NULL);
	lab_settle();
}

static int
lab_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Every test uses some of this file; none uses all. */
static inline void
lab_unused(void)
{
	(void)lab_setup;
	(void)lab_teardown;
	(void)lab_account;
	(void)lab_online;
	(void)lab_contact;
	(void)lab_arrives;
	(void)lab_nothing_;
	(void)lab_expect_;
	(void)lab_take;
	(void)lab_main;
}
#endif
