/* test_disco - XEP-0030, 0092, 0199, 0202; strangers learn nothing about accounts. */
#include <time.h>
#include "tests/unit/xmpp/im_lab.h"
#include "xmpp/xep/xep_0030_disco.h"

#define ME "me@a.test"
#define HOME "me@a.test/home"

static struct xmpp_session *home;

static void
setup(void)
{
	lab_setup();
	lab_account(ME);
	lab_account("you@a.test");
	home = lab_online(HOME, "<presence/>");
}

/* The answer to an iq get by our client; <to> "" = without. */
static const char *
ask(const char *to, const char *payload)
{
	char xml[300];
	int i;

	(void)snprintf(xml, sizeof(xml), "<iq type='get' id='q'%s%s%s>%s</iq>",
		       *to != '\0' ? " to='" : "", to, *to != '\0' ? "'" : "", payload);
	lab_says(home, xml);
	lab_settle();
	i = lab_find(HOME, "<iq ", "id='q'", NULL);
	ck_assert_int_ge(i, 0);
	return lab.ev[i].xml;
}

#define INFO "<query xmlns='http://jabber.org/protocol/disco#info'/>"
#define ITEMS "<query xmlns='http://jabber.org/protocol/disco#items'/>"
#define PING "<ping xmlns='urn:xmpp:ping'/>"

START_TEST(host_info)
{
	static const char *const wanted[] = {
		"<identity category='server' type='im' name='Tandem'/>",
		"var='http://jabber.org/protocol/disco#info'",
		"var='http://jabber.org/protocol/disco#items'",
		"var='urn:xmpp:ping'",
		"var='jabber:iq:version'",
		"var='urn:xmpp:time'",
		"var='msgoffline'",
		"var='jabber:iq:roster'",
		"from='a.test'",
	};
	const char *xml = ask("a.test", INFO);

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		ck_assert_ptr_nonnull(strstr(xml, wanted[i]));
	/* no feature twice */
	for (const char *p = xml; (p = strstr(p, "<feature var='")) != NULL; p++) {
		char f[120];

		(void)snprintf(f, sizeof(f), "%.*s", (int)(strchr(p, '>') - p), p);
		ck_assert_ptr_null(strstr(p + 1, f));
	}
	ck_assert_str_eq(ask("a.test", INFO), xml); /* also from memory */
}
END_TEST

START_TEST(account_info)
{
	ck_assert_ptr_nonnull(
		strstr(ask(ME, INFO), "<identity category='account' type='registered'/>"));
	ck_assert_ptr_nonnull(
		strstr(ask("", INFO), "<identity category='account' type='registered'/>"));
	ck_assert_ptr_nonnull(strstr(ask("", ITEMS), "<item jid='" HOME "'/>"));
	/* a subscriber of theirs */
	lab_contact("you@a.test", ME, STORE_SUB_FROM, 0, NULL);
	(void)lab_online("you@a.test/desk", "<presence/>");
	ck_assert_ptr_nonnull(strstr(ask("you@a.test", INFO), "type='registered'"));
	ck_assert_ptr_nonnull(strstr(ask("you@a.test", ITEMS), "<item jid='you@a.test/desk'/>"));
	ck_assert_ptr_nonnull(strstr(ask("you@a.test", PING), "type='result'"));
}
END_TEST

/* Whatever is asked: the same for an account that is there and one that is not. */
START_TEST(strangers)
{
	static const char *const asked[] = {
		INFO,
		ITEMS,
		PING,
		"<query xmlns='jabber:iq:version'/>",
		"<time xmlns='urn:xmpp:time'/>",
		"<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>",
		"<query xmlns='http://jabber.org/protocol/disco#items' node='x'/>",
		"<query xmlns='jabber:iq:roster'/>",
		"<query xmlns='urn:unknown'/>",
	};
	char there[600], not_there[600], *p;

	lab_watch("not@a.test");
	lab_contact("you@a.test", ME, STORE_SUB_TO, 0,
		    NULL); /* they see us: no right to see them */
	(void)lab_online("you@a.test/desk", "<presence/>");
	(void)snprintf(there, sizeof(there), "%s", ask("you@a.test", asked[_i]));
	(void)snprintf(not_there, sizeof(not_there), "%s", ask("not@a.test", asked[_i]));
	p = strstr(not_there, "not@");
	ck_assert_ptr_nonnull(p);
	memcpy(p, "you@", 4);
	ck_assert_str_eq(there, not_there);
	ck_assert_ptr_nonnull(strstr(there, "type='error'"));
}
END_TEST

START_TEST(nodes)
{
	ck_assert_ptr_nonnull(strstr(
		ask("a.test", "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>"),
		"item-not-found"));
	ck_assert_ptr_nonnull(strstr(
		ask("a.test", "<query xmlns='http://jabber.org/protocol/disco#items' node='n'/>"),
		"item-not-found"));
	ck_assert_ptr_nonnull(
		strstr(ask(ME, "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>"),
		       "item-not-found"));
}
END_TEST

START_TEST(services_are_not_the_server)
{
	ck_assert_ptr_nonnull(strstr(ask("muc.a.test", INFO), "service-unavailable"));
}
END_TEST

static void
more_info(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
	  struct td_buf *out)
{
	(void)self;
	(void)env;
	ck_assert(td_str_eqc(domain, "a.test"));
	td_buf_addz(out, "<feature var='urn:more'/>");
}

static void
more_items(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
	   struct td_buf *out)
{
	(void)self;
	(void)env;
	(void)domain;
	xmpp_disco_write_item(out, TD_STR("muc.a.test"), TD_STR("Rooms & more"));
}

START_TEST(extensions)
{
	struct xmpp_disco_ext a = { .info = more_info }, b = { .items = more_items };

	ck_assert_ptr_nonnull(strstr(ask("a.test", ITEMS),
				     "<query xmlns='http://jabber.org/protocol/disco#items'>"));
	xmpp_disco_extend(lab.env, &a);
	xmpp_disco_extend(lab.env, &b);
	ck_assert_ptr_nonnull(strstr(ask("a.test", INFO), "<feature var='urn:more'/>"));
	ck_assert_ptr_nonnull(
		strstr(ask("a.test", ITEMS), "<item jid='muc.a.test' name='Rooms &amp; more'/>"));
}
END_TEST

START_TEST(small_ones)
{
	const char *xml = ask("a.test", "<query xmlns='jabber:iq:version'/>");

	ck_assert_ptr_nonnull(
		strstr(xml, "<name>Tandem</name><version>" TANDEM_VERSION "</version>"));
	ck_assert_ptr_null(strstr(xml, "<os>"));
	ck_assert_ptr_nonnull(strstr(ask("a.test", PING), "type='result'"));
	ck_assert_ptr_nonnull(strstr(ask("", PING), "type='result'"));
	ck_assert_ptr_nonnull(strstr(ask(ME, PING), "type='result'"));
	xml = ask("a.test", "<time xmlns='urn:xmpp:time'/>");
	ck_assert_ptr_nonnull(strstr(xml, "<utc>20"));
	ck_assert_ptr_nonnull(strstr(xml, "Z</utc>"));
}
END_TEST

static const struct {
	const char *zone, *tzo;
} zones[] = {
	{ "UTC", "<tzo>+00:00</tzo>" },
	{ "XXX-05:30", "<tzo>+05:30</tzo>" },
	{ "XXX+03:30", "<tzo>-03:30</tzo>" },
};

START_TEST(zone)
{
	setenv("TZ", zones[_i].zone, 1);
	tzset();
	ck_assert_ptr_nonnull(
		strstr(ask("a.test", "<time xmlns='urn:xmpp:time'/>"), zones[_i].tzo));
}
END_TEST

START_TEST(only_get)
{
	lab_says(home, "<iq type='set' id='s' to='a.test'>" INFO "</iq>");
	lab_settle();
	lab_expect(HOME, "type='error' id='s'", "service-unavailable", NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("disco");
	TCase *tc = tcase_create("disco");

	lab_unused();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, lab_teardown);
	tcase_add_test(tc, host_info);
	tcase_add_test(tc, account_info);
	tcase_add_loop_test(tc, strangers, 0, 9);
	tcase_add_test(tc, nodes);
	tcase_add_test(tc, services_are_not_the_server);
	tcase_add_test(tc, extensions);
	tcase_add_test(tc, small_ones);
	tcase_add_loop_test(tc, zone, 0, 3);
	tcase_add_test(tc, only_get);
	suite_add_tcase(s, tc);
	return lab_main(s);
}
