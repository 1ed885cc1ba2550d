/* c2s: what comes for a stream that ended, input sent ahead, and what SM owes when it gives up. */
#include <check.h>
#include <string.h>
#include <unistd.h>
#include "c2s_rig.h"

static void
setup(void)
{
	td_log_set_level(NULL, TD_LOG_ERROR);
	rig_start("sm_max_queue = 10 max_resources = 3");
}

static void
has(struct xmpp_io *io, const char *text)
{
	const char *got = rig_look(io);

	ck_assert_msg(strstr(got, text) != NULL, "no %s in: %.300s", text,
		      got + (strlen(got) > 300 ? strlen(got) - 300 : 0));
}

#define SM "xmlns='urn:xmpp:sm:3'"
#define AVAILABLE "<presence/>"

/* ---- an end while something is under way ---- */

START_TEST(ended_while_credentials_come)
{
	struct xmpp_io *io = rig_connect(true);

	rig.late = true;
	rig_say(io, RIG_HEADER);
	rig_auth(io, "ann");
	io->slow = true; /* so the connection outlives the end */
	xmpp_c2s_end(io->c, "connection-timeout", NULL);
	rig_settle();
	has(io, "connection-timeout");
	io->slow = false;
	rig_settle();
	ck_assert_ptr_null(io->c);
}
END_TEST

START_TEST(ended_while_account_loads)
{
	struct xmpp_io *io = rig_authed("ann");

	rig_settle();
	xmpp_user_kick(xmpp_user_find(rig.env, TD_STR("ann@a.test")),
		       "reset"); /* out of memory it goes */
	rig_say(io, RIG_BIND("r"));
	ck_assert(io->paused);
	io->slow = true;
	xmpp_c2s_end(io->c, "system-shutdown", NULL);
	rig_settle();
	has(io, "system-shutdown");
	ck_assert_uint_eq(rig.env->stats.sessions, 0);
}
END_TEST

static char *
sm_id(struct xmpp_io *io)
{
	const char *at = strstr(rig_look(io), "<enabled ");

	ck_assert_ptr_nonnull(at);
	at = strstr(at, "id='");
	return strndup(at + 4, strcspn(at + 4, "'"));
}

START_TEST(ended_while_resuming)
{
	struct xmpp_io *old = rig_login("ann", "<enable " SM " resume='1'/>"),
		       *io = rig_authed("ann");
	char *id = sm_id(old), text[128];

	/* not settled before the store answers */
	rig_say(old, "<message to='bob@a.test' type='chat'><body>x</body></message>");
	(void)snprintf(text, sizeof(text), "<resume " SM " previd='%s' h='0'/>", id);
	rig_say(io, text);
	ck_assert(io->paused);
	io->slow = true;
	xmpp_c2s_end(io->c, "connection-timeout", NULL);
	rig_settle();
	has(io, "connection-timeout");
	ck_assert_ptr_nonnull(xmpp_c2s_session(old->c));
	rig_cut(old);
	rig_settle();
	/* another one may */
	io->slow = false;
	io = rig_authed("ann");
	rig_say(io, text);
	rig_settle();
	has(io, "<resumed ");
	free(id);
}
END_TEST

/* ---- sent ahead ---- */

START_TEST(ahead_of_refused_bind)
{
	struct xmpp_io *io = rig_authed("ann");
	const char *first;

	/* the account changed since it signed in: every bind that was sent ahead is answered, with a refusal */
	xmpp_user_kick(xmpp_user_find(rig.env, TD_STR("ann@a.test")), "reset");
	rig_say(io, RIG_BIND("&#xAD;") RIG_BIND("fine"));
	rig_settle();
	first = strstr(td_buf_cstr(&io->out), "<not-allowed");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_nonnull(strstr(first + 1, "<not-allowed"));
}
END_TEST

START_TEST(ahead_of_refused_login)
{
	struct xmpp_io *io = rig_connect(true);

	rig.late = true;
	rig_say(io, RIG_HEADER);
	rig_say(io, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
		    "mechanism='PLAIN'>AGFubgBibGFjaw==</auth>"
		    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
		    "mechanism='PLAIN'>AGFubgBwZW5jaWw=</auth>");
	rig_settle();
	has(io, "<success ");
	rig_say(io, RIG_HEADER);
	rig_settle();
	has(io, "urn:ietf:params:xml:ns:xmpp-bind");
}
END_TEST

START_TEST(ahead_of_success_is_dropped)
{
	struct xmpp_io *io = rig_connect(true);

	rig.late = true;
	rig_say(io, RIG_HEADER);
	rig_say(io, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' "
		    "mechanism='PLAIN'>AGFubgBwZW5jaWw=</auth><junk/>");
	rig_settle();
	rig_say(io, RIG_HEADER RIG_BIND("fine"));
	rig_settle();
	has(io, "<jid>ann@a.test/fine</jid>");
	rig_say(io, "<r " SM "/>");
	ck_assert_ptr_nonnull(xmpp_c2s_session(io->c));
}
END_TEST

/* ---- nothing that was acknowledged is lost ---- */

START_TEST(full_queue_goes_offline)
{
	struct xmpp_io *ann = rig_login("ann", AVAILABLE "<enable " SM "/>"),
		       *bob = rig_login("bob", AVAILABLE "<enable " SM "/>");
	char text[128];

	(void)rig_look(bob);
	for (int i = 1; i <= 14; i++) {
		(void)snprintf(text, sizeof(text),
			       "<message to='bob@a.test' type='chat'><body>m%02d</body></message>",
			       i);
		rig_say(ann, text);
	}
	rig_say(ann, "<r " SM "/>");
	rig_settle();
	has(bob, "resource-constraint");
	has(ann, "h='14'");
	bob = rig_login("bob", AVAILABLE);
	for (int i = 1; i <= 14; i++) {
		(void)snprintf(text, sizeof(text), "<body>m%02d</body>", i);
		ck_assert_msg(strstr(bob->out.p, text) != NULL, "%s is lost", text);
	}
}
END_TEST

START_TEST(large_queue_goes_offline)
{
	struct xmpp_io *ann = rig_login("ann", AVAILABLE "<enable " SM "/>"),
		       *bob = rig_login("bob", AVAILABLE "<enable " SM "/>");
	struct td_buf b = { 0 };

	(void)rig_look(bob);
	td_buf_addz(&b, "<message to='bob@a.test' type='chat'><body>");
	for (int i = 0; i < 100000; i++)
		td_buf_addc(&b, 'x');
	td_buf_addz(&b, "<a><b/></a></body></message>");
	xmpp_user_find(rig.env, TD_STR("bob@a.test"))->lim->sm_max_bytes = 500000;
	for (int i = 0; i < 8; i++)
		rig_give(ann, td_buf_str(&b));
	rig_settle();
	has(bob, "resource-constraint");
	ck_assert_uint_eq(xmpp_user_find(rig.env, TD_STR("bob@a.test"))->offline_count, 8);
	td_buf_fini(&b);
}
END_TEST

/* A message is being kept for a session without SM; the session enables SM meanwhile. */
START_TEST(enabled_while_keeping)
{
	struct xmpp_io *ann = rig_login("ann", AVAILABLE "<enable " SM "/>"),
		       *bob = rig_login("bob", AVAILABLE);

	rig_say(ann, "<message to='bob@a.test/r' type='chat'><body>hello</body></message>");
	rig_say(bob, "<enable " SM "/>");
	rig_settle();
	has(bob, "hello");
	rig_say(bob, "<a " SM " h='1'/>");
	rig_settle();
	ck_assert_ptr_nonnull(bob->c);
	ck_assert_uint_eq(xmpp_user_find(rig.env, TD_STR("bob@a.test"))->n_in_flight, 0);
}
END_TEST

START_TEST(hibernated_make_room)
{
	struct xmpp_io *io;

	for (int i = 0; i < 6; i++) {
		io = rig_authed("ann");
		rig_say(io, "<iq type='set' id='b'><bind "
			    "xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq><enable " SM
			    " resume='1'/>");
		rig_settle();
		has(io, "<enabled ");
		rig_cut(io);
	}
	ck_assert_uint_eq(rig.env->stats.hibernated, 3);
	/* those in use are not put out */
	for (int i = 0; i < 4; i++) {
		io = rig_authed("ann");
		rig_say(io, "<iq type='set' id='b'><bind "
			    "xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
		rig_settle();
		has(io, i < 3 ? "<jid>" : "<resource-constraint ");
	}
}
END_TEST

/* ---- UTF-16 would pass bytes on that are no UTF-8, and may be XML (RFC 6120 11.6) ---- */

START_TEST(utf16_is_refused)
{
	static const char text[] = RIG_HEADER;
	struct td_buf b = { 0 };

	for (unsigned i = 0; i < 4; i++) { /* big and little endian, with a mark and without */
		struct xmpp_io *io = rig_connect(true);

		td_buf_clear(&b);
		if (i & 2)
			td_buf_addz(&b, (i & 1) ? "\xfe\xff" : "\xff\xfe");
		for (size_t k = 0; k < sizeof(text) - 1; k++) {
			td_buf_addc(&b, (i & 1) ? '\0' : text[k]);
			td_buf_addc(&b, (i & 1) ? text[k] : '\0');
		}
		rig_give(io, td_buf_str(&b));
		rig_settle();
		has(io, "unsupported-encoding");
	}
	td_buf_fini(&b);
}
END_TEST

int
main(void)
{
	const TTest *const tests[] = {
		ended_while_credentials_come,
		ended_while_account_loads,
		ended_while_resuming,
		ahead_of_refused_bind,
		ahead_of_refused_login,
		ahead_of_success_is_dropped,
		full_queue_goes_offline,
		large_queue_goes_offline,
		enabled_while_keeping,
		hibernated_make_room,
		utf16_is_refused,
	};
	Suite *s = suite_create("c2s");
	TCase *tc = tcase_create("c2s");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, rig_stop);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
