/* test_roster - RFC 6121 section 2: get, set, remove, pushes, versions. */
#include "tests/unit/xmpp/im_lab.h"

#define ME "me@a.test"
#define HOME "me@a.test/home"
#define PHONE "me@a.test/phone"
#define GET "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"

static struct xmpp_session *home;
static uint64_t base; /* version of the new account */

static void
setup(void)
{
	lab_setup();
	lab_account(ME);
	home = lab_online(HOME, "<presence/>");
	base = lab_user(ME)->roster_ver;
}

/* "<before><version n after the beginning><after>" */
static const char *
v(const char *before, unsigned n, const char *after)
{
	static char ring[8][200];
	static unsigned at;
	char *out = ring[at++ % 8];

	(void)snprintf(out, sizeof(ring[0]), "%s%llu%s", before, (unsigned long long)base + n,
		       after);
	return out;
}

static void
set(struct xmpp_session *sess, const char *items)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>%s</query></iq>",
		    items);
	lab_says(sess, td_buf_cstr(&b));
	td_buf_fini(&b);
	lab_settle();
}

/* The answer to a roster get, maybe with ver='<ver>'. */
static const char *
get(struct xmpp_session *sess, const char *ver)
{
	char xml[200];
	int i;

	(void)snprintf(xml, sizeof(xml),
		       "<iq type='get' id='g'><query xmlns='jabber:iq:roster'%s%s%s/></iq>",
		       ver != NULL ? " ver='" : "", ver != NULL ? ver : "", ver != NULL ? "'" : "");
	lab_says(sess, xml);
	lab_settle();
	i = lab_find(sess->jid.full.p, "id='g'", NULL, NULL);
	ck_assert_int_ge(i, 0);
	return lab.ev[i].xml;
}

START_TEST(empty)
{
	ck_assert_ptr_nonnull(strstr(
		get(home, NULL),
		v("type='result' id='g'><query xmlns='jabber:iq:roster' ver='", 0, "'/></iq>")));
}
END_TEST

START_TEST(add_update_remove)
{
	struct xmpp_session *phone = lab_online(PHONE, "<presence/>");

	(void)phone;
	lab_clear();
	set(home, "<item jid='f@r.test' name='F &amp; &lt;co&gt;' ask='subscribe' "
		  "subscription='both' approved='true'>"
		  "<group>A</group><group>B</group></item>");
	lab_expect(HOME, "type='result' id='s'", NULL, NULL);
	lab_expect(HOME, "type='set'",
		   v("ver='", 1,
		     "'><item jid='f@r.test' name='F &amp; &lt;co&gt;' subscription='none'>"
		     "<group>A</group><group>B</group></item></query>"),
		   NULL);
	lab_expect(PHONE, "type='set'", "jid='f@r.test'", NULL);
	/* an item is replaced as a whole */
	set(home, "<item jid='f@r.test' name=''/>");
	lab_expect(PHONE, v("ver='", 2, "'><item jid='f@r.test' subscription='none'/>"), NULL,
		   NULL);
	lab_expect(HOME, "type='result'", NULL, NULL);
	set(phone, "<item jid='f@r.test' subscription='remove'/>");
	lab_expect(PHONE, "type='result' id='s'", NULL, NULL);
	lab_expect(PHONE, v("ver='", 3, "'><item jid='f@r.test' subscription='remove'/>"), NULL,
		   NULL);
	ck_assert_uint_eq(lab_user(ME)->roster.len, 0);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(keeps_subscription)
{
	lab_contact(ME, "f@r.test", STORE_SUB_FROM, STORE_ROSTER_ASK | STORE_ROSTER_APPROVED, NULL);
	set(home, "<item jid='f@r.test' name='N'/>");
	lab_expect(HOME,
		   "<item jid='f@r.test' name='N' subscription='from' ask='subscribe' "
		   "approved='true'/>",
		   NULL, NULL);
}
END_TEST

START_TEST(shows_a_request_once_added)
{
	lab_arrives("<presence from='f@r.test' to='" ME "' type='subscribe'/>");
	lab_settle();
	ck_assert_ptr_null(strstr(get(home, NULL), "f@r.test"));
	set(home, "<item jid='f@r.test'/>");
	ck_assert_ptr_nonnull(strstr(get(home, NULL), "f@r.test"));
	ck_assert_uint_eq(xmpp_user_contact(lab_user(ME), TD_STR("f@r.test"))->flags,
			  STORE_ROSTER_PENDING_IN);
}
END_TEST

static const struct {
	const char *items, *error;
} bad[] = {
	{ "", "bad-request" },
	{ "<item jid='a@r.test'/><item jid='b@r.test'/>", "bad-request" },
	{ "<item name='x'/>", "bad-request" },
	{ "<item jid='a@@r.test'/>", "jid-malformed" },
	{ "<item jid=''/>", "jid-malformed" },
	{ "<item jid='a@r.test/res'/>", "bad-request" },
	{ "<item jid='me@a.test'/>", "not-allowed" },
	{ "<item jid='a@r.test' subscription='remove'/>", "item-not-found" },
	{ "<item jid='a@r.test'><group/></item>", "not-acceptable" },
	{ "<item jid='a@r.test'><group>X</group><group>X</group></item>", "bad-request" },
};

START_TEST(refused)
{
	set(home, bad[_i].items);
	lab_expect(HOME, "type='error' id='s'", bad[_i].error, NULL);
	lab_nothing(HOME);
	ck_assert_uint_eq(lab_user(ME)->roster.len, 0);
}
END_TEST

START_TEST(limits)
{
	struct td_buf b = { 0 };
	char *long_name = td_zalloc(1100);

	memset(long_name, 'n', 1024);
	td_buf_addf(&b, "<item jid='a@r.test' name='%s'/>", long_name);
	set(home, td_buf_cstr(&b));
	lab_expect(HOME, "type='error'", "not-acceptable", NULL);
	td_buf_clear(&b);
	td_buf_addf(&b, "<item jid='a@r.test'><group>%s</group></item>", long_name);
	set(home, td_buf_cstr(&b));
	lab_expect(HOME, "type='error'", "not-acceptable", NULL);
	long_name[1023] = '\0';
	td_buf_clear(&b);
	td_buf_addf(&b, "<item jid='a@r.test' name='%s'><group>%s</group></item>", long_name,
		    long_name);
	set(home, td_buf_cstr(&b));
	lab_expect(HOME, "type='result'", NULL, NULL);
	td_buf_clear(&b);
	td_buf_addz(&b, "<item jid='a@r.test'>");
	for (int i = 0; i < 101; i++)
		td_buf_addf(&b, "<group>%d</group>", i);
	td_buf_addz(&b, "</item>");
	set(home, td_buf_cstr(&b));
	lab_expect(HOME, "type='error'", "not-acceptable", NULL);
	td_buf_fini(&b);
	free(long_name);
}
END_TEST

START_TEST(full)
{
	lab_teardown();
	lab_start("max_roster = 2");
	lab_account(ME);
	home = lab_online(HOME, "<presence/>");
	set(home, "<item jid='a@r.test'/>");
	set(home, "<item jid='b@r.test'/>");
	lab_clear();
	set(home, "<item jid='c@r.test'/>");
	lab_expect(HOME, "type='error'", "resource-constraint", NULL);
	set(home, "<item jid='b@r.test' name='still fine'/>");
	lab_expect(HOME, "type='result'", NULL, NULL);
}
END_TEST

START_TEST(not_ones_own)
{
	lab_account("you@a.test");
	lab_says(home,
		 "<iq type='get' id='1' to='you@a.test'><query xmlns='jabber:iq:roster'/></iq>");
	lab_says(home, "<iq type='set' id='2' to='you@a.test'><query "
		       "xmlns='jabber:iq:roster'><item jid='x@r.test'/></query></iq>");
	lab_watch("nobody@a.test");
	lab_says(home,
		 "<iq type='get' id='3' to='nobody@a.test'><query xmlns='jabber:iq:roster'/></iq>");
	lab_settle();
	lab_expect(HOME, "type='error' id='1'", "forbidden", NULL);
	lab_expect(HOME, "type='error' id='2'", "forbidden", NULL);
	lab_expect(HOME, "type='error' id='3'", "forbidden", NULL);
	ck_assert_uint_eq(lab_user("you@a.test")->roster.len, 0);
}
END_TEST

START_TEST(pushes_need_interest)
{
	struct xmpp_session *phone = lab_bind(PHONE);

	lab_says(phone, "<presence/>");
	lab_settle();
	lab_clear();
	set(home, "<item jid='f@r.test'/>");
	lab_nothing(PHONE);
	lab_says(phone, GET);
	lab_settle();
	lab_clear();
	set(home, "<item jid='g@r.test'/>");
	lab_expect(PHONE, "jid='g@r.test'", NULL, NULL);
}
END_TEST

/* ---- removal ends subscriptions (2.5.2) ---- */

static const struct {
	enum store_subscription sub;
	unsigned flags;
	bool unsubscribe, unsubscribed, unavailable;
} cuts[] = {
	{ STORE_SUB_NONE, 0, false, false, false },
	{ STORE_SUB_NONE, STORE_ROSTER_ASK, true, false, false },
	{ STORE_SUB_NONE, STORE_ROSTER_PENDING_IN, false, true, false },
	{ STORE_SUB_TO, 0, true, false, false },
	{ STORE_SUB_TO, STORE_ROSTER_PENDING_IN, true, true, false },
	{ STORE_SUB_FROM, 0, false, true, true },
	{ STORE_SUB_FROM, STORE_ROSTER_ASK, true, true, true },
	{ STORE_SUB_BOTH, 0, true, true, true },
};

START_TEST(removal)
{
	int gone, over;

	lab_contact(ME, "f@r.test", cuts[_i].sub, cuts[_i].flags, NULL);
	lab_clear();
	set(home, "<item jid='f@r.test' subscription='remove'/>");
	lab_expect(HOME, "subscription='remove'", NULL, NULL);
	ck_assert((lab_find(REMOTE, "from='" ME "' to='f@r.test' type='unsubscribe'", NULL, NULL) >=
		   0) == cuts[_i].unsubscribe);
	over = lab_find(REMOTE, "from='" ME "' to='f@r.test' type='unsubscribed'", NULL, NULL);
	gone = lab_find(REMOTE, "from='" HOME "' to='f@r.test' type='unavailable'", NULL, NULL);
	ck_assert((over >= 0) == cuts[_i].unsubscribed);
	ck_assert((gone >= 0) == cuts[_i].unavailable);
	if (gone >= 0)
		ck_assert_int_lt(gone, over);
	lab_nothing(REMOTE);
}
END_TEST

/* ---- versions (2.6) ---- */

START_TEST(version_is_current)
{
	set(home, "<item jid='f@r.test'/>");
	lab_clear();
	ck_assert_ptr_null(strstr(get(home, v("", 1, "")), "<query"));
	lab_nothing(HOME);
}
END_TEST

START_TEST(version_is_strange)
{
	static const char *const strange[] = {
		"", "x", "-1", "99999999999999999", "1.2.3", "18446744073709551616", "."
	};

	set(home, "<item jid='f@r.test'/>");
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
		ck_assert_ptr_nonnull(strstr(get(home, strange[i]), "jid='f@r.test'"));
}
END_TEST

static void
many(int from, int to)
{
	char item[80];

	for (int i = from; i < to; i++) {
		(void)snprintf(item, sizeof(item), "<item jid='c%02d@r.test'/>", i);
		set(home, item);
	}
}

static void
ask(unsigned n, const char *suffix)
{
	char xml[120];

	lab_clear();
	(void)snprintf(xml, sizeof(xml),
		       "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='%llu%s'/></iq>",
		       (unsigned long long)base + n, suffix);
	lab_says(home, xml);
	lab_settle();
}

START_TEST(version_catches_up)
{
	int result, first, second, third;

	many(0, 6);
	set(home, "<item jid='c03@r.test' name='new'/>");
	set(home, "<item jid='c01@r.test' subscription='remove'/>");
	set(home, "<item jid='c04@r.test' subscription='remove'/>");
	set(home, "<item jid='c04@r.test'/>");
	lab_arrives("<presence from='hidden@r.test' to='" ME "' type='subscribe'/>");
	lab_settle();
	ck_assert_uint_eq(lab_user(ME)->roster_ver, base + 11);

	ask(6, "");
	result = lab_expect(HOME, "type='result' id='g'/>", NULL, NULL);
	first = lab_expect(HOME, v("ver='", 6, ".1'"),
			   "<item jid='c01@r.test' subscription='remove'/>", NULL);
	second = lab_expect(HOME, v("ver='", 7, "'"), "<item jid='c03@r.test' name='new'", NULL);
	third = lab_expect(HOME, v("ver='", 11, "'"),
			   "<item jid='c04@r.test' subscription='none'/>", NULL);
	ck_assert(result < first && first < second && second < third);
	lab_nothing(HOME);
	/* cut off after the first push, a client asks again with what it has */
	ask(6, ".1");
	lab_expect(HOME, "type='result' id='g'/>", NULL, NULL);
	lab_expect(HOME, "jid='c03@r.test'", NULL, NULL);
	lab_expect(HOME, v("ver='", 11, "'"), "jid='c04@r.test'", NULL);
}
END_TEST

START_TEST(version_ends_with_removal)
{
	many(0, 4);
	set(home, "<item jid='c00@r.test' subscription='remove'/>");
	set(home, "<item jid='c01@r.test' subscription='remove'/>");
	ask(4, "");
	lab_expect(HOME, v("ver='", 4, ".1'><item jid='c00@r.test' subscription='remove'/>"), NULL,
		   NULL);
	lab_expect(HOME, v("ver='", 6, "'><item jid='c01@r.test' subscription='remove'/>"), NULL,
		   NULL);
	ck_assert_uint_eq(lab_user(ME)->roster_ver, base + 6);
}
END_TEST

/* More changes than contacts: the whole is shorter. */
START_TEST(version_too_old)
{
	const char *xml;

	many(0, 4);
	many(0, 2);
	set(home, "<item jid='c03@r.test' subscription='remove'/>");
	lab_clear();
	xml = get(home, v("", 1, ""));
	ck_assert_ptr_nonnull(strstr(xml, "jid='c00@r.test'"));
	ck_assert_ptr_nonnull(strstr(xml, "jid='c02@r.test'"));
	lab_nothing(HOME);
}
END_TEST

START_TEST(survives_unloading)
{
	lab_contact(ME, "f@r.test", STORE_SUB_BOTH, 0, NULL);
	set(home, "<item jid='f@r.test' name='N'><group>G</group><group>H</group></item>");
	xmpp_session_end(home, "test");
	lab_settle();
	xmpp_user_kick(lab_user(ME), "test"); /* forget what is in memory */
	lab_settle();
	home = lab_bind(HOME);
	ck_assert_ptr_nonnull(strstr(get(home, NULL),
				     "<item jid='f@r.test' name='N' subscription='both'>"
				     "<group>G</group><group>H</group></item>"));
}
END_TEST

/* The account vanished: the change is taken back and answered. */
START_TEST(store_refuses)
{
	lab_contact(ME, "keep@r.test", STORE_SUB_TO, 0, NULL);
	lab.waits++;
	store_account_delete(lab.store, TD_STR(ME), (struct store_to){ lab.loop, lab_done, NULL });
	lab_run();
	set(home, "<item jid='new@r.test'/>");
	lab_expect(HOME, "type='error' id='s'", "internal-server-error", NULL);
	set(home, "<item jid='keep@r.test' name='x'/>");
	lab_expect(HOME, "type='error' id='s'", "internal-server-error", NULL);
	ck_assert_uint_eq(lab_user(ME)->roster.len, 1);
	ck_assert_ptr_null(xmpp_user_contact(lab_user(ME), TD_STR("keep@r.test"))->name.p);
	lab_says(home, "<presence to='x@r.test' type='subscribe' id='p'/>");
	lab_settle();
	lab_expect(HOME, "type='error' id='p'", NULL, NULL);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(shutdown_with_get_under_way)
{
	many(0, 4);
	ask(2, "");
	set(home, "<item jid='z@r.test'/>");
	lab_says(home,
		 v("<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='", 2, "'/></iq>"));
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
	Suite *s = suite_create("roster");
	TCase *tc = tcase_create("roster");

	lab_unused();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, lab_teardown);
	tcase_add_test(tc, empty);
	tcase_add_test(tc, add_update_remove);
	tcase_add_test(tc, keeps_subscription);
	tcase_add_test(tc, shows_a_request_once_added);
	tcase_add_loop_test(tc, refused, 0, (int)(sizeof(bad) / sizeof(bad[0])));
	tcase_add_test(tc, limits);
	tcase_add_test(tc, full);
	tcase_add_test(tc, not_ones_own);
	tcase_add_test(tc, pushes_need_interest);
	tcase_add_loop_test(tc, removal, 0, (int)(sizeof(cuts) / sizeof(cuts[0])));
	tcase_add_test(tc, version_is_current);
	tcase_add_test(tc, version_is_strange);
	tcase_add_test(tc, version_catches_up);
	tcase_add_test(tc, version_ends_with_removal);
	tcase_add_test(tc, version_too_old);
	tcase_add_test(tc, survives_unloading);
	tcase_add_test(tc, store_refuses);
	tcase_add_test(tc, shutdown_with_get_under_way);
	suite_add_tcase(s, tc);
	return lab_main(s);
}
