/* domain: what a name is, for the stanzas of momentum.md 3.1 and 3.2. */
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "suite.h"

static struct conf *conf;
static struct gw_domains *d;

static void
load(const char *text)
{
	struct conf_report r = { 0 };
	int rc;

	gw_domains_unref(&d);
	conf_unref(&conf);
	rc = conf_load_text("test", td_cstr(text), &conf, &r);

	ck_assert_msg(rc == 0, "%s", td_buf_cstr(&r.text));
	conf_report_fini(&r);
	d = gw_domains_build(conf);
}

static void
teardown(void)
{
	gw_domains_unref(&d);
	conf_unref(&conf);
}

static enum xmpp_domain_kind
kind(const char *name)
{
	struct gw_domain dom;

	return gw_domains_find(d, td_cstr(name), &dom) ? dom.kind : XD_UNKNOWN;
}

static bool
mail(const char *name)
{
	struct gw_domain dom;

	return gw_domains_find(d, td_cstr(name), &dom) && dom.mail;
}

static const char base[] =
	"domain \"shared.test\" { XMPP_Role = \"server\" }\n"
	"domain \"#xmpp#chat.test\" { XMPP_Role = ( server client ) }\n"
	"domain \"mailonly.test\" { }\n"
	"domain \"#smtp#other.test\" { }\n"
	"domain \"#xmpp#friend.test\" { XMPP_Role = \"client\" }\n"
	"domain \"rooms.shared.test\" { XMPP_Role = \"server\" service = \"muc\" }\n";

START_TEST(test_kinds)
{
	struct gw_domain dom;

	load(base);
	ck_assert_int_eq(kind("shared.test"), XD_LOCAL);
	ck_assert_int_eq(kind("chat.test"), XD_LOCAL);
	ck_assert_int_eq(kind("mailonly.test"), XD_MAIL);
	ck_assert_int_eq(kind("other.test"), XD_UNKNOWN);
	ck_assert_int_eq(kind("friend.test"), XD_REMOTE);
	ck_assert_int_eq(kind("stranger.test"), XD_UNKNOWN);
	ck_assert_int_eq(kind(""), XD_UNKNOWN);
	ck_assert_int_eq(kind("#xmpp#chat.test"), XD_UNKNOWN); /* nobody has such an address */
	ck_assert(gw_domains_find(d, TD_STR("rooms.shared.test"), &dom));
	ck_assert_int_eq(dom.kind, XD_SERVICE);
	ck_assert_str_eq(dom.service, "muc");
	ck_assert(td_str_eqc(gw_domains_hosted(d, 0), "shared.test"));
	ck_assert(td_str_eqc(gw_domains_hosted(d, 1), "chat.test"));
	ck_assert_ptr_null(gw_domains_hosted(d, 2).p);
	ck_assert(!mail("shared.test")); /* there is no mail stanza */
	ck_assert(!mail("mailonly.test"));
}
END_TEST

START_TEST(test_mail)
{
	char text[2048];

	(void)stpcpy(stpcpy(text, base), "mail {}\n");
	load(text);
	ck_assert(mail("shared.test"));
	ck_assert(mail("mailonly.test"));
	ck_assert(!mail("chat.test")); /* not named plainly */
	ck_assert(!mail("friend.test"));
	ck_assert(!mail("rooms.shared.test"));
}
END_TEST

START_TEST(test_mail_list)
{
	struct gw_domain dom;
	char text[2048];

	(void)stpcpy(stpcpy(text, base), "mail { domains = ( \"mailonly.test\" \"corp.test\" ) "
					 "gateway_domain = \"mail.shared.test\" }\n");
	load(text);
	ck_assert(!mail("shared.test"));
	ck_assert(mail("mailonly.test"));
	ck_assert(mail("corp.test"));
	ck_assert_int_eq(kind("corp.test"), XD_MAIL);
	ck_assert(gw_domains_find(d, TD_STR("mail.shared.test"), &dom));
	ck_assert_int_eq(dom.kind, XD_SERVICE);
	ck_assert_str_eq(dom.service, "gateway");
}
END_TEST

START_TEST(test_open_federation)
{
	char text[2048];

	(void)stpcpy(stpcpy(text, base), "domain \"/^#xmpp#./\" { XMPP_Role = \"client\" }\n"
					 "domain \"#xmpp#unsaid.test\" { tls = required }\n");
	load(text);
	ck_assert_int_eq(kind("stranger.test"), XD_REMOTE);
	ck_assert_int_eq(kind("shared.test"), XD_LOCAL);
	/* a mail domain of ours is not somebody else's server */
	ck_assert_int_eq(kind("mailonly.test"), XD_MAIL);
	ck_assert_int_eq(kind("unsaid.test"), XD_REMOTE);
}
END_TEST

START_TEST(test_regex_hosting)
{
	load("domain \"/^#xmpp#.*\\.customers\\.test$/\" { XMPP_Role = \"server\" }\n");
	ck_assert_int_eq(kind("a.customers.test"), XD_LOCAL);
	ck_assert_int_eq(kind("customers.test"), XD_UNKNOWN);
}
END_TEST

START_TEST(test_prepared)
{
	struct gw_domain dom;
	struct conf_at at;

	load("domain \"Example.TEST\" { XMPP_Role = \"server\" }\n"
	     "domain \"xn--mnchen-3ya.test\" { XMPP_Role = \"server\" }\n");
	ck_assert(gw_domains_find(d, TD_STR("example.test"), &dom));
	ck_assert(td_str_eqc(dom.name, "example.test"));
	ck_assert_int_eq(kind("m\xc3\xbcnchen.test"), XD_LOCAL);
	/* one name however it is written, also for every other option */
	load("domain \"#xmpp#XN--Mnchen-3ya.test\" { XMPP_Role = \"server\" connect_timeout = 7 }\n"
	     "domain \"m\xc3\xbcnchen.test\" { tls = no }\n"
	     "domain \"xn--mnchen-3ya.test\" { idle_timeout = 9 }\n"
	     "mail { domains = ( \"xn--mnchen-3ya.test\" ) }\n");
	ck_assert(gw_domains_find(d, TD_STR("m\xc3\xbcnchen.test"), &dom));
	ck_assert(dom.kind == XD_LOCAL && dom.mail);
	at = (struct conf_at){ .protocol = "xmpp", .domain = dom.name };
	ck_assert_int_eq(conf_int(conf, &at, "connect_timeout"), 7);
	ck_assert_int_eq(conf_int(conf, &at, "idle_timeout"), 9);
	ck_assert(td_str_eqc(conf_str(conf, &at, "tls"), "no"));
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, test_kinds);
	tcase_add_test(tc, test_mail);
	tcase_add_test(tc, test_mail_list);
	tcase_add_test(tc, test_open_federation);
	tcase_add_test(tc, test_regex_hosting);
	tcase_add_test(tc, test_prepared);
}

int
main(void)
{
	return run_suite("domain", fill);
}
