/* test_caps - the verification string of XEP-0115. */
#include <check.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/xep/xep_0115_caps.h"

#define Q(inner) "<query xmlns='http://jabber.org/protocol/disco#info'>" inner "</query>"
#define F(var) "<feature var='" var "'/>"
#define EXODUS                                                                                \
	"<identity category='client' type='pc' name='Exodus 0.9.1'/>" F(                      \
		"http://jabber.org/protocol/caps") F("http://jabber.org/protocol/disco#info") \
		F("http://jabber.org/protocol/disco#items") F("http://jabber.org/protocol/muc")
#define FORM                                                                                  \
	"<x xmlns='jabber:x:data' type='result'>"                                             \
	"<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value>" \
	"</field><field var='ip_version' type='text-multi'><value>ipv4</value>"               \
	"<value>ipv6</value></field><field var='os'><value>Mac</value></field>"               \
	"<field var='os_version'><value>10.5.1</value></field>"                               \
	"<field var='software'><value>Psi</value></field>"                                    \
	"<field var='software_version'><value>0.11</value></field></x>"
#define PSI                                                                                   \
	"<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>"               \
	"<identity xml:lang='el' category='client' name='&#x3A8; 0.11' type='pc'/>" F(        \
		"http://jabber.org/protocol/muc") F("http://jabber.org/protocol/disco#items") \
		F("http://jabber.org/protocol/caps") F("http://jabber.org/protocol/disco#info")

static const struct {
	const char *query, *algo, *ver; /* ver NULL = refused */
	int rc;
} cases[] = {
	/* 5.2 and 5.3: the XEP's own examples */
	{ Q(EXODUS), "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", 0 },
	{ Q(PSI FORM), "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", 0 },
	/* order does not matter */
	{ Q(FORM PSI), "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", 0 },
	/* a form without a hidden FORM_TYPE does not count */
	{ Q(EXODUS "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'>"
		   "<value>a</value></field></x>"),
	  "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", 0 },
	/* 5.4: the same twice */
	{ Q(EXODUS F("http://jabber.org/protocol/muc")), "sha-1", NULL, TD_E_INVAL },
	{ Q(EXODUS "<identity category='client' type='pc' name='Exodus 0.9.1'/>"), "sha-1", NULL,
	  TD_E_INVAL },
	{ Q(PSI FORM FORM), "sha-1", NULL, TD_E_INVAL },
	{ Q("<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>"
	    "<value>a</value><value>b</value></field></x>"),
	  "sha-1", NULL, TD_E_INVAL },
	{ Q(EXODUS), "md2", NULL, TD_E_UNSUPPORTED },
	{ Q(EXODUS), "", NULL, TD_E_UNSUPPORTED },
};

START_TEST(hash)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_node *q = xmpp_xml_parse(a, td_cstr(cases[_i].query), NULL, NULL);
	struct td_buf b = { 0 };
	int rc;

	ck_assert_ptr_nonnull(q);
	rc = xmpp_caps_hash(q, td_cstr(cases[_i].algo), &b);
	ck_assert_int_eq(rc, cases[_i].rc);
	if (cases[_i].ver != NULL)
		ck_assert_str_eq(td_buf_cstr(&b), cases[_i].ver);
	td_buf_fini(&b);
	td_arena_free(a);
}
END_TEST

/* 5.1: what was escaped stays escaped, or a name could feign features. */
START_TEST(no_confusion)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_node *honest = xmpp_xml_parse(
		a, TD_STR(Q("<identity category='client' type='pc' name='x'/>" F("y"))), NULL,
		NULL);
	struct xmpp_node *liar = xmpp_xml_parse(
		a, TD_STR(Q("<identity category='client' type='pc' name='x&lt;y'/>")), NULL, NULL);
	struct td_buf h = { 0 }, l = { 0 };

	ck_assert_int_eq(xmpp_caps_hash(honest, TD_STR("sha-1"), &h), 0);
	ck_assert_int_eq(xmpp_caps_hash(liar, TD_STR("sha-1"), &l), 0);
	ck_assert_str_ne(td_buf_cstr(&h), td_buf_cstr(&l));
	td_buf_fini(&h);
	td_buf_fini(&l);
	td_arena_free(a);
}
END_TEST

START_TEST(nodes)
{
	const struct td_str names[] = { TD_STR("a"), TD_STR("b") }, *out;
	struct xmpp_caps *c = xmpp_caps_new(names, 2), *d = xmpp_caps_ref(c);

	ck_assert_uint_eq(xmpp_caps_nodes(c, &out), 2);
	ck_assert(xmpp_caps_notifies(c, TD_STR("b")));
	ck_assert(!xmpp_caps_notifies(c, TD_STR("c")));
	ck_assert(!xmpp_caps_notifies(NULL, TD_STR("a")));
	xmpp_caps_unref(&c);
	ck_assert_ptr_null(c);
	xmpp_caps_unref(&d);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("caps");
	TCase *t = tcase_create("caps");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, hash, 0, (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_test(t, no_confusion);
	tcase_add_test(t, nodes);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
