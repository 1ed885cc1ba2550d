/* test_subscription - RFC 6121 section 3 and every cell of appendix A. */
#include "tests/unit/xmpp/im_lab.h"

#define ME "me@a.test"
#define HOME "me@a.test/home"
#define THEM "them@r.test"

/* ---- appendix A, cell by cell; written from the RFC, not from the tables of the code ---- */

enum {
	NONE,
	NONE_OUT,
	NONE_IN,
	NONE_OUT_IN,
	TO,
	TO_IN,
	FROM,
	FROM_OUT,
	BOTH,
	STATES
};

static const struct {
	const char *name;
	enum store_subscription sub;
	unsigned flags;
} states[STATES] = {
	{ "None", STORE_SUB_NONE, 0 },
	{ "None + Pending Out", STORE_SUB_NONE, STORE_ROSTER_ASK },
	{ "None + Pending In", STORE_SUB_NONE, STORE_ROSTER_PENDING_IN },
	{ "None + Pending Out+In", STORE_SUB_NONE, STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN },
	{ "To", STORE_SUB_TO, 0 },
	{ "To + Pending In", STORE_SUB_TO, STORE_ROSTER_PENDING_IN },
	{ "From", STORE_SUB_FROM, 0 },
	{ "From + Pending Out", STORE_SUB_FROM, STORE_ROSTER_ASK },
	{ "Both", STORE_SUB_BOTH, 0 },
};

struct cell {
	int now;
	bool pass;
	int next;
	bool answer;
};
struct table {
	const char *type, *reply;
	bool out;
	struct cell cells[STATES];
};
static const struct table tables[] = {
	{ "subscribe",
	  NULL,
	  true,
	  { { NONE, true, NONE_OUT, false },
	    { NONE_OUT, true, NONE_OUT, false },
	    { NONE_IN, true, NONE_OUT_IN, false },
	    { NONE_OUT_IN, true, NONE_OUT_IN, false },
	    { TO, true, TO, false },
	    { TO_IN, true, TO_IN, false },
	    { FROM, true, FROM_OUT, false },
	    { FROM_OUT, true, FROM_OUT, false },
	    { BOTH, true, BOTH, false } } },
	{ "unsubscribe",
	  NULL,
	  true,
	  { { NONE, true, NONE, false },
	    { NONE_OUT, true, NONE, false },
	    { NONE_IN, true, NONE_IN, false },
	    { NONE_OUT_IN, true, NONE_IN, false },
	    { TO, true, NONE, false },
	    { TO_IN, true, NONE_IN, false },
	    { FROM, true, FROM, false },
	    { FROM_OUT, true, FROM, false },
	    { BOTH, true, FROM, false } } },
	{ "subscribed",
	  NULL,
	  true,
	  { /* None, None + Pending Out, To: pre-approval */
	    { NONE, false, NONE, false },
	    { NONE_OUT, false, NONE_OUT, false },
	    { NONE_IN, true, FROM, false },
	    { NONE_OUT_IN, true, FROM_OUT, false },
	    { TO, false, TO, false },
	    { TO_IN, true, BOTH, false },
	    { FROM, false, FROM, false },
	    { FROM_OUT, false, FROM_OUT, false },
	    { BOTH, false, BOTH, false } } },
	{ "unsubscribed",
	  NULL,
	  true,
	  { { NONE, false, NONE, false },
	    { NONE_OUT, false, NONE_OUT, false },
	    { NONE_IN, true, NONE, false },
	    { NONE_OUT_IN, true, NONE_OUT, false },
	    { TO, false, TO, false },
	    { TO_IN, true, TO, false },
	    { FROM, true, NONE, false },
	    { FROM_OUT, true, NONE_OUT, false },
	    { BOTH, true, TO, false } } },
	{ "subscribe",
	  "subscribed",
	  false,
	  { { NONE, true, NONE_IN, false },
	    { NONE_OUT, true, NONE_OUT_IN, false },
	    { NONE_IN, false, NONE_IN, false },
	    { NONE_OUT_IN, false, NONE_OUT_IN, false },
	    { TO, true, TO_IN, false },
	    { TO_IN, false, TO_IN, false },
	    { FROM, false, FROM, true },
	    { FROM_OUT, false, FROM_OUT, true },
	    { BOTH, false, BOTH, true } } },
	{ "unsubscribe",
	  "unsubscribed",
	  false,
	  { { NONE, false, NONE, false },
	    { NONE_OUT, false, NONE_OUT, false },
	    { NONE_IN, true, NONE, true },
	    { NONE_OUT_IN, true, NONE_OUT, true },
	    { TO, false, TO, false },
	    { TO_IN, true, TO, true },
	    { FROM, true, NONE, true },
	    { FROM_OUT, true, NONE_OUT, true },
	    { BOTH, true, TO, true } } },
	{ "subscribed",
	  NULL,
	  false,
	  { { NONE, false, NONE, false },
	    { NONE_OUT, true, TO, false },
	    { NONE_IN, false, NONE_IN, false },
	    { NONE_OUT_IN, true, TO_IN, false },
	    { TO, false, TO, false },
	    { TO_IN, false, TO_IN, false },
	    { FROM, false, FROM, false },
	    { FROM_OUT, true, BOTH, false },
	    { BOTH, false, BOTH, false } } },
	{ "unsubscribed",
	  NULL,
	  false,
	  { { NONE, false, NONE, false },
	    { NONE_OUT, true, NONE, false },
	    { NONE_IN, false, NONE_IN, false },
	    { NONE_OUT_IN, true, NONE_IN, false },
	    { TO, true, NONE, false },
	    { TO_IN, true, NONE_IN, false },
	    { FROM, false, FROM, false },
	    { FROM_OUT, true, FROM, false },
	    { BOTH, true, FROM, false } } },
};

static void check_stored(const char *contact, enum store_subscription sub, unsigned flags);

static void
setup(void)
{
	lab_setup();
	lab_account(ME);
}

static struct xmpp_contact *
contact(const char *jid)
{
	return xmpp_user_contact(lab_user(ME), td_cstr(jid));
}

static void
check_cell(const struct table *t, const struct cell *c)
{
	const struct xmpp_contact *have;
	struct xmpp_session *home;
	char xml[256], type[40], reply[40];
	int at, push;
	bool shows = t->out || states[c->now].sub != states[c->next].sub ||
		     ((states[c->now].flags ^ states[c->next].flags) & STORE_ROSTER_ASK) != 0;

	lab_contact(ME, THEM, states[c->now].sub, states[c->now].flags, NULL);
	home = lab_online(HOME, "<presence/>");
	(void)snprintf(type, sizeof(type), "type='%s'", t->type);
	(void)snprintf(reply, sizeof(reply), "type='%s'", t->reply != NULL ? t->reply : "-");
	if (t->out) {
		(void)snprintf(xml, sizeof(xml), "<presence to='" THEM "' type='%s' id='x'/>",
			       t->type);
		lab_says(home, xml);
	} else {
		(void)snprintf(xml, sizeof(xml),
			       "<presence from='" THEM "' to='" ME "' type='%s' id='x'/>", t->type);
		lab_arrives(xml);
	}
	lab_settle();

	have = contact(THEM);
	ck_assert_ptr_nonnull(have);
	ck_assert_msg(have->sub == states[c->next].sub &&
			      (have->flags & (STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN)) ==
				      states[c->next].flags,
		      "%s %s in state '%s': sub %d flags %x, not '%s'",
		      t->out ? "outbound" : "inbound", t->type, states[c->now].name, have->sub,
		      have->flags, states[c->next].name);
	check_stored(THEM, states[c->next].sub, states[c->next].flags);

	if (t->out) {
		at = lab_find(REMOTE, type, "from='" ME "' to='" THEM "'", "id='x'");
		push = lab_find(HOME, "<query xmlns='jabber:iq:roster'", "jid='" THEM "'", NULL);
	} else {
		at = lab_find(HOME, type, "from='" THEM "' to='" ME "'", "id='x'");
		push = lab_find(HOME, "<query xmlns='jabber:iq:roster'", "jid='" THEM "'", NULL);
		ck_assert_msg((lab_find(REMOTE, reply, "from='" ME "' to='" THEM "'", "id='x'") >=
			       0) == c->answer,
			      "%s in '%s': answered?", t->type, states[c->now].name);
	}
	ck_assert_msg((at >= 0) == c->pass, "%s %s in '%s': passed on?", t->out ? "out" : "in",
		      t->type, states[c->now].name);
	/* every change that shows is pushed, after the stanza went on; a request of theirs does not show */
	if (!shows)
		ck_assert_int_lt(push, 0);
	else if (c->next != c->now && strcmp(t->type, "subscribe") != 0)
		ck_assert_msg(push > at, "%s in '%s': push %d, stanza %d", t->type,
			      states[c->now].name, push, at);
	/* whoever may see us from now on does, whoever may not sees us go */
	if (!(states[c->now].sub & STORE_SUB_FROM) && (states[c->next].sub & STORE_SUB_FROM))
		ck_assert_int_gt(
			lab_find(REMOTE, "<presence from='" HOME "' to='" THEM "'", NULL, NULL),
			at);
	if ((states[c->now].sub & STORE_SUB_FROM) && !(states[c->next].sub & STORE_SUB_FROM)) {
		int gone = lab_expect(REMOTE, "from='" HOME "' to='" THEM "'", "type='unavailable'",
				      NULL);

		if (t->out)
			ck_assert_int_lt(gone, at);
	}
	if (!t->out && c->answer && c->next == c->now)
		lab_expect(REMOTE, "<presence from='" HOME "' to='" THEM "'", NULL, NULL);
	lab_nothing(REMOTE);
}

struct seen {
	bool found;
	enum store_subscription sub;
	unsigned flags;
	bool has_pending;
	const char *jid;
};

static void
on_roster(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	struct seen *seen = arg;

	ck_assert_int_eq(r->rc, 0);
	for (size_t i = 0; i < ro->n; i++)
		if (td_str_eqc(ro->contacts[i].jid, seen->jid)) {
			seen->found = true;
			seen->sub = ro->contacts[i].sub;
			seen->flags = ro->contacts[i].flags;
			seen->has_pending = ro->contacts[i].pending_stanza.len > 0;
		}
	lab.waits--;
}

static struct seen
stored(const char *jid)
{
	struct seen seen = { .jid = jid };

	lab.waits++;
	store_roster_get(lab.store, td_cstr(ME), lab.loop, on_roster, &seen);
	lab_run();
	return seen;
}

static void
check_stored(const char *jid, enum store_subscription sub, unsigned flags)
{
	struct seen seen = stored(jid);

	ck_assert(seen.found);
	ck_assert_int_eq(seen.sub, sub);
	ck_assert_uint_eq(seen.flags & (STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN), flags);
}

START_TEST(appendix_a)
{
	const struct table *t = &tables[_i / STATES];

	check_cell(t, &t->cells[_i % STATES]);
}
END_TEST

/* ---- pre-approval (3.4) ---- */

START_TEST(pre_approval)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence to='" THEM "' type='subscribed'/>");
	lab_settle();
	lab_expect(HOME, "type='set'", "jid='" THEM "' subscription='none' approved='true'", NULL);
	lab_nothing(REMOTE);
	/* the request is answered, not delivered */
	lab_arrives("<presence from='" THEM "' to='" ME "' type='subscribe' id='q'/>");
	lab_settle();
	lab_expect(REMOTE, "from='" ME "' to='" THEM "'", "type='subscribed' id='q'", NULL);
	lab_expect(REMOTE, "from='" HOME "' to='" THEM "'", NULL, NULL);
	lab_expect(HOME, "subscription='from' approved='true'", NULL, NULL);
	lab_nothing(HOME);
	ck_assert_int_eq(contact(THEM)->sub, STORE_SUB_FROM);
}
END_TEST

static const int approved_next[STATES] = {
	[NONE] = FROM,    [NONE_OUT] = FROM_OUT,    [TO] = BOTH,
	[FROM] = FROM,    [FROM_OUT] = FROM_OUT,    [BOTH] = BOTH,
	[NONE_IN] = FROM, [NONE_OUT_IN] = FROM_OUT, [TO_IN] = BOTH,
};

START_TEST(pre_approved_request)
{
	lab_contact(ME, THEM, states[_i].sub, states[_i].flags | STORE_ROSTER_APPROVED, NULL);
	(void)lab_online(HOME, "<presence/>");
	lab_arrives("<presence from='" THEM "' to='" ME "' type='subscribe'/>");
	lab_settle();
	check_stored(THEM, states[approved_next[_i]].sub, states[approved_next[_i]].flags);
	lab_expect(REMOTE, "type='subscribed'", "from='" ME "'", NULL);
	ck_assert_int_lt(lab_find(HOME, "type='subscribe'", NULL, NULL), 0);
}
END_TEST

START_TEST(approval_revoked)
{
	static const int kept[] = { NONE, NONE_OUT, TO };
	struct xmpp_session *home;

	lab_contact(ME, THEM, states[kept[_i]].sub, states[kept[_i]].flags | STORE_ROSTER_APPROVED,
		    NULL);
	home = lab_online(HOME, "<presence/>");
	lab_says(home, "<presence to='" THEM "' type='unsubscribed'/>");
	lab_settle();
	lab_nothing(REMOTE);
	ck_assert_int_lt(lab_find(HOME, "approved", NULL, NULL), 0);
	lab_expect(HOME, "type='set'", "jid='" THEM "'", NULL);
	check_stored(THEM, states[kept[_i]].sub, states[kept[_i]].flags);
	ck_assert((contact(THEM)->flags & STORE_ROSTER_APPROVED) == 0);
}
END_TEST

/* An inbound 'unsubscribed' leaves a pre-approval alone (4.3.2). */
START_TEST(approval_survives_refusal)
{
	lab_contact(ME, THEM, STORE_SUB_TO, STORE_ROSTER_APPROVED, NULL);
	(void)lab_online(HOME, "<presence/>");
	lab_arrives("<presence from='" THEM "' to='" ME "' type='unsubscribed'/>");
	lab_settle();
	ck_assert_uint_eq(contact(THEM)->flags, STORE_ROSTER_APPROVED);
	lab_expect(HOME, "subscription='none' approved='true'", NULL, NULL);
}
END_TEST

/* ---- requests that wait (3.1.3) ---- */

START_TEST(request_while_away)
{
	struct xmpp_session *home;

	lab_arrives("<presence from='" THEM "' to='" ME
		    "' type='subscribe' id='one'><status>hello</status>"
		    "<nick xmlns='http://jabber.org/protocol/nick'>T</nick></presence>");
	lab_arrives("<presence from='" THEM "' to='" ME "' type='subscribe' id='two'/>");
	lab_settle();
	ck_assert(stored(THEM).has_pending);
	ck_assert_uint_eq(stored(THEM).flags, STORE_ROSTER_PENDING_IN | STORE_ROSTER_HIDDEN);
	lab_nothing(REMOTE);

	/* at every login until it is answered; not in the roster */
	for (int i = 0; i < 2; i++) {
		home = lab_bind(HOME);
		lab_says(home, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
		lab_settle();
		ck_assert_ptr_null(strstr(lab_take(HOME), THEM));
		lab_says(home, "<presence/>");
		lab_settle();
		lab_expect(HOME, "type='subscribe' id='one'", "<status>hello</status>", "<nick");
		ck_assert_int_lt(lab_find(HOME, "type='subscribe'", NULL, NULL), 0);
		lab_clear();
		if (i == 0)
			xmpp_session_end(home, "test");
	}
	lab_says(home, "<presence to='" THEM "' type='subscribed'/>");
	lab_settle();
	check_stored(THEM, STORE_SUB_FROM, 0);
	ck_assert(!stored(THEM).has_pending);
	ck_assert_uint_eq(contact(THEM)->flags, 0);
	lab_expect(REMOTE, "type='subscribed'", NULL, NULL);
	lab_expect(HOME, "subscription='from'", NULL, NULL);
}
END_TEST

START_TEST(request_refused)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_arrives("<presence from='" THEM "/x' to='" HOME "' type='subscribe'/>");
	lab_settle();
	lab_expect(HOME, "from='" THEM "' to='" ME "'", "type='subscribe'", NULL);
	lab_says(home, "<presence to='" THEM "' type='unsubscribed'/>");
	lab_settle();
	/* no unavailable presence: they never saw us */
	lab_expect(REMOTE, "type='unsubscribed'", NULL, NULL);
	lab_nothing(REMOTE);
	lab_nothing(HOME);
	ck_assert_ptr_null(contact(THEM));
	ck_assert(!stored(THEM).found);
}
END_TEST

START_TEST(request_withdrawn)
{
	(void)lab_online(HOME, "<presence/>");
	lab_arrives("<presence from='" THEM "' to='" ME "' type='subscribe'/>");
	lab_settle();
	lab_clear();
	lab_arrives("<presence from='" THEM "' to='" ME "' type='unsubscribe'/>");
	lab_settle();
	ck_assert(!stored(THEM).found);
	lab_nothing(HOME); /* 3.3.3 */
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(large_request_loses_content)
{
	struct td_buf xml = { 0 };

	td_buf_addz(&xml, "<presence from='" THEM "' to='" ME "' type='subscribe'><status>");
	for (int i = 0; i < 1200; i++)
		td_buf_addz(&xml, "xxxxxxxxxx");
	td_buf_addz(&xml, "</status></presence>");
	lab_arrives(td_buf_cstr(&xml));
	td_buf_fini(&xml);
	lab_settle();
	ck_assert_uint_lt(contact(THEM)->pending.len, 300);
	(void)lab_bind(HOME);
	lab_says(xmpp_session_find(lab_user(ME), TD_STR("home")), "<presence/>");
	lab_settle();
	lab_expect(HOME, "type='subscribe'", "from='" THEM "'", NULL);
}
END_TEST

START_TEST(requests_are_limited)
{
	char xml[160];

	for (int i = 0; i < 1010; i++) {
		(void)snprintf(xml, sizeof(xml),
			       "<presence from='x%d@r.test' to='" ME "' type='subscribe'/>", i);
		lab_arrives(xml);
	}
	lab_settle();
	ck_assert_uint_eq(lab_user(ME)->roster.len, 1000);
	lab_nothing(REMOTE);
}
END_TEST

START_TEST(imported_request_has_no_stanza)
{
	lab_contact(ME, THEM, STORE_SUB_NONE, STORE_ROSTER_PENDING_IN, NULL);
	lab_contact(ME, "bad@r.test", STORE_SUB_NONE, STORE_ROSTER_PENDING_IN, "<message/>");
	lab_says(lab_bind(HOME), "<presence/>");
	lab_settle();
	lab_expect(HOME, "from='" THEM "' to='" ME "'", "type='subscribe'", NULL);
	lab_expect(HOME, "from='bad@r.test' to='" ME "'", "type='subscribe'", NULL);
}
END_TEST

/* ---- addresses ---- */

START_TEST(to_full_address)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence to='" THEM
		       "/res' type='subscribe' id='x'><status>hi</status></presence>");
	lab_settle();
	lab_expect(REMOTE, "<presence from='" ME "' to='" THEM "' type='subscribe' id='x'>",
		   "<status>hi</status>", NULL);
	lab_expect(HOME, "jid='" THEM "' subscription='none' ask='subscribe'", NULL, NULL);
	/* 8.5.3.2.2: not for a resource that is not here */
	lab_arrives("<presence from='" THEM "' to='" ME "/other' type='subscribed'/>");
	lab_settle();
	ck_assert_int_eq(contact(THEM)->sub, STORE_SUB_NONE);
	lab_arrives("<presence from='" THEM "' to='" HOME "' type='subscribed'/>");
	lab_settle();
	ck_assert_int_eq(contact(THEM)->sub, STORE_SUB_TO);
}
END_TEST

START_TEST(to_oneself)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence to='" ME "' type='subscribe' id='x'/>");
	lab_settle();
	lab_expect(HOME, "type='error'", "not-allowed", NULL);
	ck_assert_ptr_null(contact(ME));
}
END_TEST

/* 8.5.1: silence, as with an account that has no room for more. */
START_TEST(to_nobody)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_watch("nobody@a.test");
	lab_says(home, "<presence to='nobody@a.test' type='subscribe' id='x'/>");
	lab_settle();
	lab_expect(HOME, "type='set'", "ask='subscribe'", NULL);
	lab_nothing(HOME);
	lab_arrives("<presence from='" THEM "' to='nobody@a.test' type='subscribe'/>");
	lab_settle();
	lab_nothing(REMOTE);
}
END_TEST

/* ---- two local people, several resources ---- */

START_TEST(handshake)
{
	struct xmpp_session *home, *phone, *you;

	lab_account("you@a.test");
	home = lab_online(HOME, "<presence/>");
	phone = lab_online("me@a.test/phone", "<presence><show>away</show></presence>");
	you = lab_online("you@a.test/desk", "<presence/>");
	lab_clear();
	(void)phone;

	lab_says(you, "<presence to='" ME "' type='subscribe' id='s1'/>");
	lab_settle();
	lab_expect("you@a.test/desk", "jid='" ME "'", "ask='subscribe'", NULL);
	lab_expect(HOME, "from='you@a.test' to='" ME "'", "type='subscribe'", NULL);
	lab_expect("me@a.test/phone", "from='you@a.test' to='" ME "'", "type='subscribe'", NULL);

	lab_says(home, "<presence to='you@a.test' type='subscribed' id='s2'/>");
	lab_settle();
	lab_expect(HOME, "jid='you@a.test' subscription='from'", NULL, NULL);
	lab_expect("me@a.test/phone", "jid='you@a.test' subscription='from'", NULL, NULL);
	{
		int stanza =
			lab_expect("you@a.test/desk", "from='" ME "'", "type='subscribed'", NULL);
		int push =
			lab_expect("you@a.test/desk", "jid='" ME "' subscription='to'", NULL, NULL);
		int p1 = lab_expect("you@a.test/desk", "<presence from='" HOME "'", NULL, NULL);

		ck_assert_int_lt(stanza, push);
		ck_assert_int_lt(stanza, p1);
		lab_expect("you@a.test/desk", "<presence from='me@a.test/phone'",
			   "<show>away</show>", NULL);
	}
	lab_nothing("you@a.test/desk");

	/* and the end of it by removal (2.5.2) */
	lab_says(you, "<iq type='set' id='rm'><query xmlns='jabber:iq:roster'>"
		      "<item jid='" ME "' subscription='remove'/></query></iq>");
	lab_settle();
	lab_expect("you@a.test/desk", "subscription='remove'", NULL, NULL);
	lab_expect(HOME, "from='you@a.test'", "type='unsubscribe'", NULL);
	lab_expect(HOME, "jid='you@a.test' subscription='none'", NULL, NULL);
	ck_assert_int_eq(contact("you@a.test")->sub, STORE_SUB_NONE);
	ck_assert_ptr_null(xmpp_user_contact(lab_user("you@a.test"), TD_STR(ME)));
}
END_TEST

/* A sender that repeats itself faster than the store. */
START_TEST(rapid_changes_stay_in_order)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");
	int at[4];

	lab_says(home, "<presence to='" THEM "' type='subscribe' id='1'/>");
	lab_says(home, "<presence to='" THEM "' type='unsubscribe' id='2'/>");
	lab_says(home, "<presence to='" THEM "' type='subscribe' id='3'/>");
	lab_arrives("<presence from='" THEM "' to='" ME "' type='subscribed'/>");
	lab_settle();
	at[0] = lab_expect(REMOTE, "id='1'", NULL, NULL);
	at[1] = lab_expect(REMOTE, "id='2'", NULL, NULL);
	at[2] = lab_expect(REMOTE, "id='3'", NULL, NULL);
	ck_assert(at[0] < at[1] && at[1] < at[2]);
	check_stored(THEM, STORE_SUB_TO, 0);
}
END_TEST

START_TEST(roster_is_limited)
{
	struct xmpp_session *home;

	lab_teardown();
	lab_start("max_roster = 2");
	lab_account(ME);
	home = lab_online(HOME, "<presence/>");
	lab_says(home, "<presence to='one@r.test' type='subscribe'/>");
	lab_says(home, "<presence to='two@r.test' type='subscribed'/>");
	lab_says(home, "<presence to='three@r.test' type='subscribe' id='3'/>");
	lab_settle();
	lab_expect(HOME, "type='error' id='3'", "resource-constraint", NULL);
	lab_expect(REMOTE, "one@r.test", NULL, NULL);
	lab_nothing(REMOTE);
}
END_TEST

/* The env goes while a change is under way. */
START_TEST(shutdown_with_change_under_way)
{
	struct xmpp_session *home = lab_online(HOME, "<presence/>");

	lab_says(home, "<presence to='" THEM "' type='subscribe'/>");
	lab_arrives("<presence from='other@r.test' to='" ME "' type='subscribe'/>");
	xmpp_env_free(lab.env);
	store_close(&lab.store);
	td_loop_free(lab.loop);
	conf_unref(&lab.conf);
	for (size_t i = 0; i < lab.n_ev; i++)
		free(lab.ev[i].xml);
	lab_setup(); /* for the fixture */
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("subscription");
	TCase *tc = tcase_create("subscription");

	lab_unused();
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, lab_teardown);
	tcase_add_loop_test(tc, appendix_a, 0, (int)(sizeof(tables) / sizeof(tables[0])) * STATES);
	tcase_add_test(tc, pre_approval);
	tcase_add_loop_test(tc, pre_approved_request, 0, STATES);
	tcase_add_loop_test(tc, approval_revoked, 0, 3);
	tcase_add_test(tc, approval_survives_refusal);
	tcase_add_test(tc, request_while_away);
	tcase_add_test(tc, request_refused);
	tcase_add_test(tc, request_withdrawn);
	tcase_add_test(tc, large_request_loses_content);
	tcase_add_test(tc, requests_are_limited);
	tcase_add_test(tc, imported_request_has_no_stanza);
	tcase_add_test(tc, to_full_address);
	tcase_add_test(tc, to_oneself);
	tcase_add_test(tc, to_nobody);
	tcase_add_test(tc, handshake);
	tcase_add_test(tc, rapid_changes_stay_in_order);
	tcase_add_test(tc, roster_is_limited);
	tcase_add_test(tc, shutdown_with_change_under_way);
	suite_add_tcase(s, tc);
	return lab_main(s);
}
