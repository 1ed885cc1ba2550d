/* test_presence - RFC 6121 section 4 with several resources. */
#include "tests/unit/xmpp/im_lab.h"

#define ME "me@a.test"
#define HOME "me@a.test/home"
#define PHONE "me@a.test/phone"

static void
setup(void)
{
	lab_setup();
	lab_account(ME);
	lab_contact(ME, "none@r.test", STORE_SUB_NONE, 0, NULL);
	lab_contact(ME, "to@r.test", STORE_SUB_TO, 0, NULL);
	lab_contact(ME, "from@r.test", STORE_SUB_FROM, 0, NULL);
	lab_contact(ME, "both@r.test", STORE_SUB_BOTH, 0, NULL);
}

START_TEST(initial)
{
	struct xmpp_session *home = lab_bind(HOME), *phone;
	int own, other;

	lab_says(home, "<presence id='p1' "
		       "xml:lang='de'><show>away</show><status>weg</status><priority>5</priority>"
		       "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' "
		       "ver='v'/></presence>");
	lab_settle();
	lab_expect(REMOTE, "<presence from='" HOME "' to='from@r.test' id='p1' xml:lang='de'>",
		   "<status>weg</status>", "ver='v'");
	lab_expect(REMOTE, "<presence from='" HOME "' to='both@r.test'", "<show>away</show>",
		   "<priority>5</priority>");
	lab_expect(REMOTE, "<presence from='" ME "' to='to@r.test' type='probe'/>", NULL, NULL);
	lab_expect(REMOTE, "<presence from='" ME "' to='both@r.test' type='probe'/>", NULL, NULL);
	lab_nothing(REMOTE);
	lab_expect(HOME, "<presence from='" HOME "' to='" ME "' id='p1'", "<status>weg</status>",
		   NULL);
	/* its capabilities are unknown here (XEP-0115) */
	lab_expect(HOME, "<iq from='a.test' to='" HOME "' type='get'", "disco#info", "n#v");
	lab_nothing(HOME);
	ck_assert(lab.dir_available);
	ck_assert_int_eq(lab.dir_priority, 5);
	ck_assert_str_eq(lab.dir_show, "away");
	ck_assert_str_eq(lab.dir_status, "weg");
	ck_assert_uint_eq(lab_user(ME)->n_available, 1);

	/* the second sees the first and is seen; its language and id are kept */
	phone = lab_bind(PHONE);
	lab_says(phone, "<presence/>");
	lab_settle();
	own = lab_expect(PHONE, "<presence from='" PHONE "' to='" ME "'/>", NULL, NULL);
	other = lab_expect(PHONE, "<presence from='" HOME "' to='" PHONE "' id='p1' xml:lang='de'>",
			   "<status>weg</status>", "ver='v'");
	ck_assert_int_ne(own, other);
	lab_expect(HOME, "<presence from='" PHONE "' to='" ME "'/>", NULL, NULL);
	ck_assert_uint_eq(lab_user(ME)->n_available, 2);
}
END_TEST

START_TEST(update)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");
	struct xmpp_session *phone = lab_bind(PHONE); /* connected, not available */

	(void)phone;
	lab_says(home, "<presence><show>dnd</show></presence>");
	lab_settle();
	lab_expect(REMOTE, "to='from@r.test'", "<show>dnd</show>", NULL);
	lab_expect(REMOTE, "to='both@r.test'", "<show>dnd</show>", NULL);
	lab_nothing(REMOTE); /* no probes again */
	lab_expect(HOME, "<show>dnd</show>", NULL, NULL);
	lab_nothing(PHONE);
	/* what the RFC does not know reaches people, not the directory */
	lab_says(home, "<presence><show>sleepy</show></presence>");
	lab_expect(REMOTE, "<show>sleepy</show>", NULL, NULL);
	ck_assert_str_eq(lab.dir_show, "");
}
END_TEST

START_TEST(unavailable)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	(void)lab_online(PHONE, "<presence/>");
	lab_says(home, "<presence type='unavailable' id='u'><status>bye</status></presence>");
	lab_settle();
	lab_expect(REMOTE, "from='" HOME "' to='from@r.test' type='unavailable' id='u'",
		   "<status>bye</status>", NULL);
	lab_expect(REMOTE, "from='" HOME "' to='both@r.test' type='unavailable'", NULL, NULL);
	lab_nothing(REMOTE);
	lab_expect(HOME, "type='unavailable'", "<status>bye</status>", NULL);
	lab_expect(PHONE, "type='unavailable'", "<status>bye</status>", NULL);
	ck_assert(!lab.dir_available);
	ck_assert(!home->available);
	ck_assert_uint_eq(lab_user(ME)->n_available, 1);
	/* said once */
	xmpp_session_end(home, "test");
	lab_nothing(REMOTE);
	/* and the last one does not hear itself */
	lab_clear();
	xmpp_session_end(xmpp_session_find(lab_user(ME), TD_STR("phone")), "test");
	lab_expect(REMOTE, "from='" PHONE "' to='from@r.test' type='unavailable'/>", NULL, NULL);
	lab_nothing(PHONE);
	ck_assert_uint_eq(lab_user(ME)->n_available, 0);
}
END_TEST

START_TEST(again_is_initial)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence type='unavailable'/>");
	lab_clear();
	lab_says(home, "<presence/>");
	lab_expect(REMOTE, "to='to@r.test' type='probe'", NULL, NULL);
	lab_expect(REMOTE, "to='from@r.test'", NULL, NULL);
}
END_TEST

static const struct {
	const char *xml;
	int priority; /* 1000: refused */
} priorities[] = {
	{ "<priority>0</priority>", 0 },
	{ "<priority>-128</priority>", -128 },
	{ "<priority>127</priority>", 127 },
	{ "<priority> +7 </priority>", 7 },
	{ "<priority>-0</priority>", 0 },
	{ "", 0 },
	{ "<priority>007</priority>", 7 },
	{ "<priority>128</priority>", 1000 },
	{ "<priority>-129</priority>", 1000 },
	{ "<priority/>", 1000 },
	{ "<priority>x</priority>", 1000 },
	{ "<priority>1.5</priority>", 1000 },
	{ "<priority>-</priority>", 1000 },
	{ "<priority>0x10</priority>", 1000 },
	{ "<priority>99999999999999999999</priority>", 1000 },
	{ "<priority>1</priority><priority>2</priority>", 1000 },
	{ "<priority xmlns='urn:other'>x</priority>", 0 },
};

START_TEST(priority)
{
	struct xmpp_session *home = lab_bind(HOME);
	char xml[160];

	(void)snprintf(xml, sizeof(xml), "<presence id='p'>%s</presence>", priorities[_i].xml);
	lab_says(home, xml);
	lab_settle();
	if (priorities[_i].priority == 1000) {
		lab_expect(HOME, "type='error' id='p'", "bad-request", NULL);
		ck_assert(!home->available);
		lab_nothing(REMOTE);
	} else {
		ck_assert(home->available);
		ck_assert_int_eq(home->priority, priorities[_i].priority);
		ck_assert_uint_eq(lab_user(ME)->n_available, home->priority >= 0);
	}
}
END_TEST

START_TEST(strange_types)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence type='probe' id='1'/>");
	lab_expect(HOME, "type='error' id='1'", "bad-request", NULL);
	lab_says(home, "<presence type='error' id='2'/>");
	lab_nothing(HOME);
	lab_nothing(REMOTE);
	lab_arrives("<presence from='x@r.test/r' to='" ME "' type='odd' id='3'/>");
	lab_expect(REMOTE, "to='x@r.test/r' type='error' id='3'", "bad-request", NULL);
}
END_TEST

/* ---- directed (4.6) ---- */

START_TEST(directed)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence to='room@muc.r.test/nick'><x "
		       "xmlns='http://jabber.org/protocol/muc'/></presence>");
	lab_says(home, "<presence to='stranger@r.test'/>");
	lab_says(home, "<presence to='gone@r.test'/>");
	lab_says(home, "<presence to='gone@r.test' type='unavailable'/>");
	lab_says(home, "<presence to='from@r.test'/>");
	lab_expect(REMOTE, "from='" HOME "' to='room@muc.r.test/nick'", "<x xmlns=", NULL);
	lab_clear();
	/* updates do not go there */
	lab_says(home, "<presence><show>xa</show></presence>");
	lab_expect(REMOTE, "to='from@r.test'", NULL, NULL);
	lab_expect(REMOTE, "to='both@r.test'", NULL, NULL);
	lab_nothing(REMOTE);
	/* who says goodbye first is forgotten */
	lab_says(home, "<presence to='left@muc.r.test/nick'/>");
	lab_arrives("<presence from='left@muc.r.test/nick' to='" HOME "' type='unavailable'/>");
	lab_clear();
	xmpp_session_end(home, "test");
	lab_expect(REMOTE, "to='room@muc.r.test/nick' type='unavailable'", NULL, NULL);
	lab_expect(REMOTE, "to='stranger@r.test' type='unavailable'", NULL, NULL);
	lab_expect(REMOTE, "to='from@r.test' type='unavailable'", NULL, NULL);
	lab_expect(REMOTE, "to='both@r.test' type='unavailable'", NULL, NULL);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(directed_without_initial)
{
	struct xmpp_session *home = lab_bind(HOME);

	lab_says(home, "<presence to='from@r.test'/>");
	lab_says(home, "<presence to='room@muc.r.test/nick'/>");
	lab_clear();
	lab_says(home, "<presence type='unavailable'/>");
	lab_expect(REMOTE, "to='from@r.test' type='unavailable'", NULL, NULL);
	lab_expect(REMOTE, "to='room@muc.r.test/nick' type='unavailable'", NULL, NULL);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(directed_is_limited)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");
	char xml[100];

	for (int i = 0; i < 1001; i++) {
		(void)snprintf(xml, sizeof(xml), "<presence to='x%d@r.test' id='i%d'/>", i, i);
		lab_says(home, xml);
	}
	lab_expect(HOME, "type='error' id='i1000'", "resource-constraint", NULL);
	lab_nothing(HOME);
	ck_assert_int_lt(lab_find(REMOTE, "x1000@r.test", NULL, NULL), 0);
	lab_says(home, "<presence to='x1@r.test' type='unavailable'/>");
	lab_says(home, "<presence to='y@r.test'/>");
	lab_nothing(HOME);
}
END_TEST

/* ---- inbound ---- */

START_TEST(inbound)
{
	(void)lab_online(HOME, "<presence/>");
	(void)lab_online(PHONE, "<presence><priority>-1</priority></presence>");
	(void)lab_bind("me@a.test/silent");
	lab_arrives("<presence from='to@r.test/x' to='" ME "'><status>1</status></presence>");
	lab_expect(HOME, "from='to@r.test/x' to='" ME "'", "<status>1</status>", NULL);
	lab_expect(PHONE, "from='to@r.test/x'", "<status>1</status>", NULL);
	lab_nothing("me@a.test/silent");
	lab_arrives("<presence from='to@r.test/x' to='" PHONE "' type='unavailable'/>");
	lab_expect(PHONE, "type='unavailable'", NULL, NULL);
	lab_nothing(HOME);
	lab_arrives("<presence from='to@r.test/x' to='me@a.test/nobody'/>");
	lab_arrives("<presence from='to@r.test' to='" HOME
		    "' type='error'><error type='cancel'/></presence>");
	lab_expect(HOME, "type='error'", NULL, NULL);
	lab_nothing(HOME);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(to_someone_away)
{
	lab_arrives("<presence from='to@r.test/x' to='" ME "'/>");
	lab_arrives("<presence from='to@r.test/x' to='nobody@a.test'/>");
	lab_settle();
	lab_nothing(REMOTE);
	ck_assert_ptr_null(xmpp_user_find(lab.env, TD_STR("nobody@a.test"))); /* not even loaded */
}
END_TEST

/* ---- probes (4.3.2) ---- */

START_TEST(probe)
{
	struct xmpp_session *home =
		lab_online(HOME, "<presence id='h'><status>here</status></presence>");

	(void)lab_online(PHONE, "<presence><show>xa</show></presence>");
	lab_arrives("<presence from='from@r.test' to='" ME "' type='probe' id='q'/>");
	lab_expect(REMOTE,
		   "<presence from='" HOME "' to='from@r.test' id='h'><status>here</status>", NULL,
		   NULL);
	lab_expect(REMOTE, "<presence from='" PHONE "' to='from@r.test'><show>xa</show>", NULL,
		   NULL);
	lab_nothing(REMOTE);
	/* a full address: only that one, and only that it is there */
	lab_arrives("<presence from='both@r.test/z' to='" HOME "' type='probe' id='q'/>");
	lab_expect(REMOTE, "<presence from='" HOME "' to='both@r.test/z' id='q'/>", NULL, NULL);
	lab_arrives("<presence from='both@r.test' to='me@a.test/nobody' type='probe' id='q'/>");
	lab_expect(REMOTE,
		   "<presence from='me@a.test/nobody' to='both@r.test' type='unavailable' id='q'/>",
		   NULL, NULL);
	lab_nothing(REMOTE);
	(void)home;
}
END_TEST

START_TEST(probe_away)
{
	lab_arrives("<presence from='from@r.test' to='" ME "' type='probe' id='q'/>");
	lab_settle();
	lab_expect(REMOTE, "<presence from='" ME "' to='from@r.test' type='unavailable' id='q'/>",
		   NULL, NULL);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(probe_by_strangers)
{
	static const char *const who[] = { "none@r.test", "to@r.test", "stranger@r.test" };
	char xml[160], want[160];

	(void)lab_online(HOME, "<presence/>");
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(xml, sizeof(xml),
			       "<presence from='%s' to='" ME "' type='probe' id='q'/>", who[i]);
		(void)snprintf(want, sizeof(want),
			       "<presence from='" ME "' to='%s' type='unsubscribed' id='q'/>",
			       who[i]);
		lab_arrives(xml);
		lab_expect(REMOTE, want, NULL, NULL);
	}
	lab_arrives("<presence from='stranger@r.test/x' to='" HOME "' type='probe' id='q'/>");
	lab_expect(REMOTE,
		   "<presence from='" ME "' to='stranger@r.test' type='unsubscribed' id='q'/>",
		   NULL, NULL);
	lab_nothing(REMOTE);
	lab_nothing(HOME);
}
END_TEST

/* The answer to a stranger does not tell whether there is an account. */
START_TEST(probe_of_nobody)
{
	struct xmpp_stanza *s = lab_parse(
		"<presence from='stranger@r.test' to='nobody@a.test' type='probe' id='q'/>");
	struct xmpp_user nobody = { .env = lab.env,
				    .bare = TD_STR("nobody@a.test"),
				    .state = XU_READY };

	TAILQ_INIT(&nobody.sessions);
	xmpp_presence_in(&nobody, s);
	lab_expect(
		REMOTE,
		"<presence from='nobody@a.test' to='stranger@r.test' type='unsubscribed' id='q'/>",
		NULL, NULL);
	nobody.failed = true; /* then nobody knows, and "unsubscribed" could be a lie */
	xmpp_presence_in(&nobody, s);
	lab_nothing(REMOTE);
	xmpp_stanza_unref(&s);
}
END_TEST

START_TEST(probe_after_directed)
{
	struct xmpp_session *home =
		lab_online(HOME, "<presence><status>private</status></presence>");

	lab_says(home, "<presence to='room@muc.r.test/nick'/>");
	lab_clear();
	lab_arrives("<presence from='room@muc.r.test/nick' to='" HOME "' type='probe' id='q'/>");
	lab_expect(REMOTE, "<presence from='" HOME "' to='room@muc.r.test/nick' id='q'/>", NULL,
		   NULL);
	lab_arrives("<presence from='room@muc.r.test/other' to='" HOME "' type='probe' id='q'/>");
	lab_expect(REMOTE, "type='unsubscribed'", NULL, NULL);
}
END_TEST

START_TEST(probe_by_client)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence to='to@r.test' type='probe'/>");
	lab_expect(REMOTE, "to='to@r.test' type='probe'", NULL, NULL);
	lab_nothing(HOME);
}
END_TEST

/* Two local people: presence both ways at login, nothing when one is away. */
START_TEST(local_people)
{
	struct xmpp_session *you;

	lab_account("you@a.test");
	lab_contact(ME, "you@a.test", STORE_SUB_BOTH, 0, NULL);
	lab_contact("you@a.test", ME, STORE_SUB_BOTH, 0, NULL);
	(void)lab_online(HOME, "<presence><status>me</status></presence>");
	you = lab_bind("you@a.test/desk");
	lab_says(you, "<presence><status>you</status></presence>");
	lab_settle();
	lab_expect("you@a.test/desk", "from='" HOME "' to='you@a.test'", "<status>me</status>",
		   NULL);
	lab_expect(HOME, "from='you@a.test/desk' to='" ME "'", "<status>you</status>", NULL);
	lab_clear();
	xmpp_session_end(you, "test");
	lab_expect(HOME, "from='you@a.test/desk' to='" ME "'", "type='unavailable'", NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("presence");
	TCase *tc = tcase_create("presence");

	lab_unused();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, lab_teardown);
	tcase_add_test(tc, initial);
	tcase_add_test(tc, update);
	tcase_add_test(tc, unavailable);
	tcase_add_test(tc, again_is_initial);
	tcase_add_loop_test(tc, priority, 0, (int)(sizeof(priorities) / sizeof(priorities[0])));
	tcase_add_test(tc, strange_types);
	tcase_add_test(tc, directed);
	tcase_add_test(tc, directed_without_initial);
	tcase_add_test(tc, directed_is_limited);
	tcase_add_test(tc, inbound);
	tcase_add_test(tc, to_someone_away);
	tcase_add_test(tc, probe);
	tcase_add_test(tc, probe_away);
	tcase_add_test(tc, probe_by_strangers);
	tcase_add_test(tc, probe_of_nobody);
	tcase_add_test(tc, probe_after_directed);
	tcase_add_test(tc, probe_by_client);
	tcase_add_test(tc, local_people);
	suite_add_tcase(s, tc);
	return lab_main(s);
}
