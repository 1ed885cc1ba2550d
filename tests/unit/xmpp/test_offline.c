/* test_offline - XEP-0160 and the stamps of XEP-0203. */
#include "tests/unit/xmpp/im_lab.h"

#define ME "me@a.test"
#define HOME "me@a.test/home"
#define PHONE "me@a.test/phone"

static void
setup(void)
{
	lab_setup();
	lab_account(ME);
}

struct rows {
	size_t n;
	char text[4][400];
	uint64_t id[200];
};

static void
on_rows(void *arg, const struct store_result *r, const struct store_message *m, size_t n)
{
	struct rows *rows = arg;

	ck_assert_int_eq(r->rc, 0);
	rows->n = n;
	for (size_t i = 0; i < n; i++) {
		rows->id[i] = m[i].id;
		if (i < 4)
			(void)snprintf(rows->text[i], sizeof(rows->text[i]), "%.*s",
				       TD_STR_ARG(m[i].stanza));
	}
	lab.waits--;
}

static struct rows
rows(void)
{
	struct rows rows = { 0 };

	lab_settle();
	lab.waits++;
	store_messages_get(lab.store, TD_STR(ME), 0, 200, lab.loop, on_rows, &rows);
	lab_run();
	return rows;
}

/* ---- what is kept ---- */

#define STATE "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
#define HINT(x) "<" x " xmlns='urn:xmpp:hints'/>"

static const struct {
	const char *to, *type, *content;
	bool kept, error;
} fates[] = {
	{ ME, "", "<body>x</body>", true, false },
	{ ME, "type='normal'", "<body>x</body>", true, false },
	{ ME, "type='chat'", "<body>x</body>", true, false },
	{ ME, "type='unheard-of'", "<body>x</body>", true, false }, /* RFC 6121 5.2.2: as normal */
	{ ME, "type='headline'", "<body>x</body>", false, false },
	{ ME, "type='groupchat'", "<body>x</body>", false, true },
	{ ME, "type='error'", "<body>x</body>", false, false },
	{ HOME, "type='chat'", "<body>x</body>", true, false },
	{ HOME, "type='normal'", "<body>x</body>", false, true },
	{ HOME, "type='groupchat'", "<body>x</body>", false, true },
	{ HOME, "type='error'", "<body>x</body>", false, false },
	{ ME, "type='chat'", STATE, false, false },
	{ ME, "type='chat'", STATE "<thread>t</thread>", false, false },
	{ ME, "type='chat'", STATE "<body>x</body>", true, false },
	{ ME, "type='chat'", STATE HINT("store"), true, false },
	{ ME, "type='chat'", "<body>x</body>" HINT("no-store"), false, true },
	{ ME, "type='chat'", "<body>x</body>" HINT("no-permanent-store"), true, false },
	{ ME, "type='chat'", "<received xmlns='urn:xmpp:receipts' id='1'/>" HINT("no-store"), false,
	  false },
	{ ME, "type='chat'", "<received xmlns='urn:xmpp:receipts' id='1'/>" HINT("store"), true,
	  false },
};

START_TEST(fate)
{
	char xml[400];

	(void)snprintf(xml, sizeof(xml),
		       "<message from='them@r.test/x' to='%s' %s id='m'>%s</message>", fates[_i].to,
		       fates[_i].type, fates[_i].content);
	lab_arrives(xml);
	ck_assert_uint_eq(rows().n, fates[_i].kept);
	if (fates[_i].error)
		lab_expect(REMOTE, "to='them@r.test/x' type='error' id='m'", "service-unavailable",
			   NULL);
	lab_nothing(REMOTE);
	ck_assert_uint_eq(lab.env->stats.stored, fates[_i].kept);
	ck_assert_uint_eq(lab_user(ME)->offline_count, fates[_i].kept);
}
END_TEST

START_TEST(to_nobody)
{
	lab_watch("nobody@a.test");
	lab_arrives("<message from='them@r.test/x' to='nobody@a.test' type='chat' "
		    "id='m'><body>x</body></message>");
	lab_settle();
	lab_expect(REMOTE, "type='error' id='m'", "service-unavailable", NULL);
}
END_TEST

START_TEST(switched_off)
{
	lab_teardown();
	lab_start("offline_messages = false");
	lab_account(ME);
	lab_arrives("<message from='them@r.test/x' to='" ME
		    "' type='chat' id='m'><body>x</body></message>");
	ck_assert_uint_eq(rows().n, 0);
	lab_expect(REMOTE, "type='error' id='m'", "service-unavailable", NULL);
}
END_TEST

static void
send_many(int n)
{
	char xml[160];

	for (int i = 0; i < n; i++) {
		(void)snprintf(xml, sizeof(xml),
			       "<message from='them@r.test/x' to='" ME "' type='chat' id='m%d'>"
			       "<body>n%d</body></message>",
			       i, i);
		lab_arrives(xml);
	}
	lab_settle();
}

START_TEST(quota)
{
	send_many(121);
	ck_assert_uint_eq(rows().n, 120);
	lab_expect(REMOTE, "type='error' id='m120'", "service-unavailable", NULL);
	lab_nothing(REMOTE);
}
END_TEST

/* ---- stamps ---- */

START_TEST(stamp)
{
	struct rows r;

	lab_arrives("<message from='them@r.test/x' to='" ME
		    "' type='chat' id='m' xml:lang='de'><body>&lt;x&gt;</body>"
		    "<x xmlns='urn:x'><y a='1'/></x><delay xmlns='urn:xmpp:delay' "
		    "from='room@r.test' stamp='2001-01-01T00:00:00Z'/>"
		    "</message>");
	r = rows();
	ck_assert_ptr_nonnull(strstr(r.text[0],
				     "<message xmlns='jabber:client' from='them@r.test/x' to='" ME
				     "' type='chat' id='m' xml:lang='de'><body>&lt;x&gt;</body>"));
	ck_assert_ptr_nonnull(strstr(
		r.text[0],
		"<delay xmlns='urn:xmpp:delay' from='room@r.test' stamp='2001-01-01T00:00:00Z'/>"));
	ck_assert_ptr_nonnull(
		strstr(r.text[0], "<delay xmlns='urn:xmpp:delay' from='a.test' stamp='20"));
	/* the first of ours counts */
	lab_arrives("<message from='them@r.test/x' to='" ME "' type='chat'><body>x</body>"
		    "<delay xmlns='urn:xmpp:delay' from='a.test' "
		    "stamp='2002-02-02T00:00:00Z'/></message>");
	r = rows();
	ck_assert_ptr_nonnull(strstr(r.text[1], "2002-02-02"));
	ck_assert_ptr_null(strstr(r.text[1], "stamp='203"));
	ck_assert_ptr_null(strstr(strstr(r.text[1], "<delay") + 1, "<delay"));
}
END_TEST

/* ---- replay ---- */

/* The client has them: as session.c does after the bytes are out. */
static void
acknowledge(void)
{
	struct xmpp_user *u = lab_user(ME);

	while (u->n_in_flight > 0) {
		uint64_t row = u->in_flight[0];

		store_message_del(lab.store, &row, 1, (struct store_to){ 0 });
		xmpp_user_row_end(u, row);
	}
}

START_TEST(in_order_and_once)
{
	char want[40];
	int at = -1, next;

	send_many(120);
	(void)lab_bind(HOME);
	lab_says(xmpp_session_find(lab_user(ME), TD_STR("home")), "<presence/>");
	lab_settle();
	for (int i = 0; i < 120; i++) {
		(void)snprintf(want, sizeof(want), "<body>n%d</body>", i);
		next = lab_expect(HOME, want, "id='m", "from='a.test' stamp=");
		ck_assert_int_gt(next, at);
		ck_assert_uint_ne(lab.ev[next].row, 0);
		at = next;
	}
	ck_assert_uint_eq(lab_user(ME)->n_in_flight, 120);
	/* a second resource does not get what is under way */
	lab_clear();
	lab_says(lab_bind(PHONE), "<presence/>");
	lab_settle();
	ck_assert_int_lt(lab_find(PHONE, "<message", NULL, NULL), 0);
	acknowledge();
	ck_assert_uint_eq(rows().n, 0);
}
END_TEST

START_TEST(waits_for_priority)
{
	struct xmpp_session *home;

	send_many(2);
	home = lab_online(HOME, "<presence><priority>-1</priority></presence>");
	lab_settle();
	ck_assert_int_lt(lab_find(HOME, "<message", NULL, NULL), 0);
	lab_says(home, "<presence><priority>0</priority></presence>");
	lab_settle();
	lab_expect(HOME, "<body>n0</body>", NULL, NULL);
	lab_expect(HOME, "<body>n1</body>", NULL, NULL);
	lab_clear();
	acknowledge();
	lab_says(home, "<presence><priority>1</priority></presence>");
	lab_settle();
	ck_assert_int_lt(lab_find(HOME, "<message", NULL, NULL), 0);
}
END_TEST

/* Decided "away", committed when no longer so: given at once, not at the next login. */
START_TEST(online_before_the_commit)
{
	struct xmpp_session *home = lab_bind(HOME);

	lab_arrives("<message from='them@r.test/x' to='" ME
		    "' type='chat'><body>late</body></message>");
	lab_says(home, "<presence/>");
	lab_settle();
	lab_expect(HOME, "<body>late</body>", NULL, NULL);
	ck_assert_int_lt(lab_find(HOME, "<body>late</body>", NULL, NULL), 0);
}
END_TEST

START_TEST(live_messages_wait)
{
	struct xmpp_session *home = lab_bind(HOME);
	struct xmpp_stanza *live = lab_parse("<message from='them@r.test/x' to='" ME
					     "' type='chat'><body>live</body></message>");

	xmpp_stanza_seal(live);
	send_many(60);
	ck_assert(!xmpp_offline_holds(home, live));
	lab_says(home, "<presence/>");
	ck_assert(xmpp_offline_holds(home, live));
	lab_settle();
	ck_assert_int_gt(lab_find(HOME, "<body>live</body>", NULL, NULL),
			 lab_find(HOME, "<body>n59</body>", NULL, NULL));
	ck_assert(!xmpp_offline_holds(home, live));
	/* the session goes while they wait: delivered by the rules again */
	acknowledge();
	ck_assert_uint_eq(rows().n, 0);
	send_many(0);
	lab_says(home, "<presence type='unavailable'/>");
	lab_says(home, "<presence/>");
	ck_assert(xmpp_offline_holds(home, live));
	xmpp_session_end(home, "test");
	lab_settle();
	ck_assert_uint_eq(rows().n, 1);
	xmpp_stanza_unref(&live);
}
END_TEST

/* RFC 6120 10.1: nobody's answer overtakes what they said before; the answers of others need not wait. */
START_TEST(answers_wait_behind_messages)
{
	struct xmpp_session *home = lab_bind(HOME);
	int other, last, live, answer;

	send_many(60);
	lab_says(home, "<presence/>");
	lab_arrives("<iq type='result' from='they@r.test/x' to='" HOME "' id='other'/>");
	lab_arrives("<message from='them@r.test/x' to='" HOME
		    "' type='chat'><body>live</body></message>");
	lab_arrives("<iq type='result' from='them@r.test' to='" HOME "' id='answer'/>");
	lab_settle();
	other = lab_find(HOME, "id='other'", NULL, NULL);
	last = lab_find(HOME, "<body>n59</body>", NULL, NULL);
	live = lab_find(HOME, "<body>live</body>", NULL, NULL);
	answer = lab_find(HOME, "id='answer'", NULL, NULL);
	ck_assert_int_ge(other, 0);
	ck_assert_int_lt(other, last);
	ck_assert_int_lt(last, live);
	ck_assert_int_lt(live, answer);
}
END_TEST

/* What a broken session gives back is still in the store: no second row. */
START_TEST(given_back)
{
	struct xmpp_user *u;
	struct xmpp_session *home;
	struct xmpp_stanza *s;
	uint64_t row;

	send_many(1);
	home = lab_online(HOME, "<presence/>");
	u = lab_user(ME);
	ck_assert_uint_eq(u->n_in_flight, 1);
	row = u->in_flight[0];
	xmpp_session_end(home, "test");
	s = lab_parse("<message from='them@r.test/x' to='" ME
		      "' type='chat'><body>n0</body></message>");
	s->row = row;
	s->flags |= XF_FROM_STORE;
	xmpp_offline_store(u, s);
	xmpp_stanza_unref(&s);
	ck_assert_uint_eq(rows().n, 1);
	(void)lab_online(HOME, "<presence/>");
	ck_assert_uint_eq(lab_user(ME)->n_in_flight, 1);
}
END_TEST

START_TEST(unreadable_row_is_skipped)
{
	lab.waits++;
	store_message_add(lab.store, TD_STR(ME), TD_STR("<mess"), 1,
			  (struct store_to){ lab.loop, lab_done, NULL });
	lab_run();
	lab.waits++;
	store_message_add(lab.store, TD_STR(ME), TD_STR("<presence xmlns='jabber:client'/>"), 1,
			  (struct store_to){ lab.loop, lab_done, NULL });
	lab_run();
	send_many(1);
	(void)lab_bind(HOME);
	lab_says(xmpp_session_find(lab_user(ME), TD_STR("home")), "<presence/>");
	lab_settle();
	lab_expect(HOME, "<body>n0</body>", NULL, NULL);
	ck_assert_uint_eq(rows().n, 3);
}
END_TEST

START_TEST(shutdown_under_way)
{
	struct xmpp_session *home = lab_bind(HOME);

	send_many(60);
	lab_says(home, "<presence/>");
	lab_arrives("<message from='them@r.test/x' to='gone@a.test' "
		    "type='chat'><body>x</body></message>");
	lab_arrives("<message from='them@r.test/x' to='" ME
		    "' type='chat'><body>x</body></message>");
	lab_settle();
	lab_says(home, "<presence type='unavailable'/>");
	lab_arrives("<message from='them@r.test/x' to='" ME
		    "' type='chat'><body>x</body></message>");
	lab_says(home, "<presence/>");
	xmpp_env_free(lab.env);
	store_close(&lab.store);
	td_loop_free(lab.loop);
	conf_unref(&lab.conf);
	for (size_t i = 0; i < lab.n_ev; i++)
		free(lab.ev[i].xml);
	lab_setup();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("offline");
	TCase *tc = tcase_create("offline");

	lab_unused();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, lab_teardown);
	tcase_add_loop_test(tc, fate, 0, (int)(sizeof(fates) / sizeof(fates[0])));
	tcase_add_test(tc, to_nobody);
	tcase_add_test(tc, switched_off);
	tcase_add_test(tc, quota);
	tcase_add_test(tc, stamp);
	tcase_add_test(tc, in_order_and_once);
	tcase_add_test(tc, waits_for_priority);
	tcase_add_test(tc, online_before_the_commit);
	tcase_add_test(tc, live_messages_wait);
	tcase_add_test(tc, answers_wait_behind_messages);
	tcase_add_test(tc, given_back);
	tcase_add_test(tc, unreadable_row_is_skipped);
	tcase_add_test(tc, shutdown_under_way);
	suite_add_tcase(s, tc);
	return lab_main(s);
}
