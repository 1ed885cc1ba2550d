"""test_register - accounts in-band (XEP-0077), by invitation (XEP-0445, 0401, 0379), and limits of failed logins."""
import re
import time

import lab
import xmppc
from case import ServerCase, at
from lab import DOMAIN, PASSWORD
from xmppc import BIND2, FAST, ROSTER, SASL, SASL2, SM, STANZA_ERRORS, Closed, is_, kid, local, nsof, show, text

REG = "jabber:iq:register"
PARS = "urn:xmpp:pars:0"
CMD = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"
FEATURE = "{http://jabber.org/features/iq-register}register"
TOKEN_FEATURE = "{urn:xmpp:ibr-token:0}register"


def query(username=None, password=None, more=""):
    return "<query xmlns='%s'>%s%s%s</query>" % (
        REG, "" if username is None else "<username>%s</username>" % username,
        "" if password is None else "<password>%s</password>" % password, more)


class Base(ServerCase):
    n = 0

    def name(self):
        Base.n += 1
        return "new%d" % Base.n

    def register(self, username, password="secret-word", c=None, to=DOMAIN):
        c = c or self.connect()
        return c.iq("set", query(username, password), to=to)

    def signs_in(self, user, password="secret-word"):
        return self.login(user, password=password)

    def refused(self, user, password):
        self.assertEqual(local(self.connect().auth(user, password)), "failure")


class Off(Base):
    """The default."""
    def test_not_offered(self):
        f = self.connect().features
        self.assertIsNone(f.find(FEATURE))
        self.assertIsNone(f.find(TOKEN_FEATURE))

    def test_refused(self):
        for xml in (query(), query("x", "secret-word"), "<preauth xmlns='%s' token='abc'/>" % PARS):
            self.assertError(self.connect().iq("set" if "preauth" in xml or "username" in xml else "get", xml), "service-unavailable")

    def test_other_stanzas_still_end_the_stream(self):
        for xml in ("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "<message/>",
                    "<iq type='result' id='1'><query xmlns='%s'/></iq>" % REG):
            c = self.connect()
            c.send(xml)
            self.assertEqual(c.wait_end(), "not-authorized")

    def test_never_in_clear(self):
        c = self.conn()
        c.open()
        c.send("<iq type='get' id='1'>%s</iq>" % query())
        self.assertEqual(c.wait_end(), "not-authorized")


class Open(Base):
    options = {"top": "registration = true  registration_throttle = \"1000/3600\""}

    def test_offered_under_tls(self):
        c = self.conn()
        c.open()
        self.assertIsNone(c.features.find(FEATURE))
        c.starttls()
        self.assertIsNotNone(c.open().find(FEATURE))
        self.assertIsNone(c.features.find(TOKEN_FEATURE))

    def test_fields(self):
        """3.1: what is asked for, as elements and as a form."""
        c = self.connect()
        for to in (None, DOMAIN):
            r = c.iq("get", query(), to=to)
            self.assertResult(r)
            q = kid(r, "query", REG)
            for f in ("instructions", "username", "password"):
                self.assertIsNotNone(kid(q, f))
            self.assertIsNone(kid(q, "registered"))
            x = kid(q, "x", DATA)
            self.assertEqual([f.get("var") for f in x.findall("{%s}field" % DATA)], ["FORM_TYPE", "username", "password"])

    def test_register(self):
        for _ in range(4):      # on both workers
            user, c = self.name(), self.connect()
            r = self.register(user, c=c)
            self.assertResult(r)
            self.assertEqual(len(r), 0)
            # on the same stream, too
            self.assertEqual(local(c.auth(user, "secret-word")), "success")
            self.refused(user, "other-word")
            self.signs_in(user)

    def test_register_then_sasl2(self):
        user, c = self.name(), self.connect()
        self.assertResult(self.register(user, c=c))
        self.assertEqual(local(c.auth2(user, "secret-word", inner="<bind xmlns='%s'/>" % BIND2)), "success")
        c.sync()

    def test_by_form(self):
        user = self.name()
        x = ("<x xmlns='%s' type='submit'><field var='FORM_TYPE'><value>%s</value></field><field var='username'><value>%s</value></field>"
             "<field var='password'><value>secret-word</value></field></x>" % (DATA, REG, user))
        self.assertResult(self.connect().iq("set", query(more=x)))
        self.signs_in(user)

    def test_name_is_prepared(self):
        user = self.name()
        self.assertResult(self.register(user.upper()))
        self.signs_in(user)
        self.assertError(self.register(user.capitalize()), "conflict")

    def test_conflict(self):
        """3.1: with the old number beside the new condition; the password does not come back."""
        user = self.user()
        r = self.register(user)
        self.assertError(r, "conflict", "cancel")
        self.assertEqual(kid(r, "error").get("code"), "409")
        self.assertNotIn("secret-word", show(r))
        self.signs_in(user, PASSWORD)

    def test_missing(self):
        for q in (query("x1"), query(None, "secret-word"), query(), query("x1", ""), query("", "secret-word")):
            with self.subTest(q=q):
                r = self.connect().iq("set", q)
                self.assertError(r, "not-acceptable", "modify")
                self.assertEqual(kid(r, "error").get("code"), "406")

    def test_bad_values(self):
        for user, password in (("a b", "secret-word"), ("a@b", "secret-word"), ("a/b", "secret-word"), ("x" * 1024, "secret-word"),
                               ("ok1", "short"), ("ok1", "x" * 2000), ("admin", "secret-word"), ("PostMaster", "secret-word"),
                               ("p\u0430ypal", "secret-word"), ("\u03b1lpha", "secret-word")):
            with self.subTest(user=user[:10]):
                self.assertError(self.register(user, password), "not-acceptable")

    def test_names_of_other_scripts(self):
        for user in ("\u0438\u0432\u0430\u043d%d" % time.time(), "j\u00fcrgen%d" % time.time(), "\u03b1\u03bb\u03c6\u03b1%d" % time.time()):
            self.assertResult(self.register(user))

    def test_one_per_stream(self):
        """3.1.1."""
        c = self.connect()
        self.assertResult(self.register(self.name(), c=c))
        self.assertError(self.register(self.name(), c=c), "not-acceptable")
        self.assertError(c.iq("get", query()), "not-acceptable")

    def test_remove_before_signing_in(self):
        self.assertError(self.connect().iq("set", query(more="<remove/>")), "unexpected-request")

    def test_other_domain(self):
        self.assertError(self.register(self.name(), to="elsewhere.test"), "service-unavailable")

    def test_hostile_forms(self):
        for x in ("<x xmlns='%s'/>" % DATA, "<x xmlns='%s' type='submit'><field><value>x</value></field></x>" % DATA,
                  "<x xmlns='%s' type='submit'>%s</x>" % (DATA, "<field var='a'/>" * 500)):
            r = self.connect().iq("set", query(more=x))
            self.assertEqual(r.get("type"), "error")

    def test_gone_meanwhile(self):
        for _ in range(10):
            c = self.connect()
            c.send("<iq type='set' id='1'>%s</iq>" % query(self.name(), "secret-word"))
            c.cut()
        self.login(self.user()).sync()

    def test_not_registered_twice_at_once(self):
        user = self.name()
        cs = [self.connect() for _ in range(4)]
        for c in cs:
            c.send("<iq type='set' id='r'>%s</iq>" % query(user, "secret-word"))
        self.assertEqual(sorted(c.reply("r").get("type") for c in cs), ["error"] * 3 + ["result"])


class Account(Base):
    """Section 3.2 and 3.3, registration itself being off."""
    def change(self, c, user, password, to=DOMAIN):
        return c.iq("set", query(user, password), to=to)

    def test_on_file(self):
        user = self.user()
        c = self.login(user)
        for to in (None, DOMAIN):
            q = kid(c.iq("get", query(), to=to), "query", REG)
            self.assertIsNotNone(kid(q, "registered"))
            self.assertEqual(text(q, "username"), user)
            self.assertFalse(text(q, "password"))

    def test_change_password(self):
        for to in (DOMAIN, None):
            user = self.user()
            c = self.login(user)
            self.assertResult(self.change(c, user, "groundlings", to))
            self.refused(user, PASSWORD)
            self.signs_in(user, "groundlings")
            c.sync()            # who asked stays

    def test_reaches_everything_else(self):
        """Other sessions, those that sleep, tokens, and who just signed in with the old password."""
        user = self.user()
        a, b, sleeper = self.login(user, "a"), self.login(user, "b"), self.login(user, "c", sm=True)
        sleeper.cut()
        half = self.authed(user)
        agent = "d4565fa7-4d72-4749-b3d3-740edbf87770"
        t = self.connect()
        e = t.auth2(user, inner="<request-token xmlns='%s' mechanism='HT-SHA-256-NONE'/>" % FAST, agent=agent)
        token = kid(e, "token", FAST).get("token")
        self.assertResult(self.change(a, user, "groundlings"))
        self.assertEqual(b.wait_end(), "not-authorized")
        self.assertError(half.bind("x"), "not-allowed")
        self.assertError(t.bind("y"), "not-allowed")
        e = self.connect().auth2(user, mech="HT-SHA-256-NONE", agent=agent, token=token)
        self.assertEqual(local(e), "failure")
        d = self.authed(user, password="groundlings")
        self.assertEqual(local(d.sm_resume(sleeper)), "failed")
        a.sync()

    def test_errors(self):
        user, other = self.users(2)
        c = self.login(user)
        self.assertError(self.change(c, None, "groundlings"), "bad-request")
        self.assertError(self.change(c, user, None), "bad-request")
        self.assertError(self.change(c, other, "groundlings"), "not-allowed")
        for empty in ("", "short"):
            self.assertError(self.change(c, user, empty), "not-acceptable")
        r = self.change(c, other, "groundlings")
        self.assertNotIn("groundlings", show(r))
        self.signs_in(user, PASSWORD)

    def test_not_for_others(self):
        user, other = self.users(2)
        c = self.login(user)
        self.assertError(self.change(c, other, "groundlings", to=at(other)), ("forbidden", "service-unavailable"))
        self.signs_in(other, PASSWORD)

    def test_too_often(self):
        user = self.user()
        c = self.login(user)
        last = None
        for i in range(12):
            last = self.change(c, user, "groundlings%d" % i)
        self.assertError(last, "resource-constraint")

    def test_remove(self):
        """3.2."""
        user, friend = self.users(2)
        a, f = self.login(user), self.login(friend)
        b = self.login(user)
        self.friends(a, f)
        self.assertError(a.iq("set", query("x", more="<remove/>")), "bad-request")
        i = a.new_id()
        a.send("<iq type='set' id='%s'>%s</iq>" % (i, query(more="<remove/>")))
        self.assertResult(a.reply(i))
        self.assertEqual(a.wait_end(), "not-authorized")
        self.assertEqual(b.wait_end(), "not-authorized")
        self.refused(user, PASSWORD)
        # its contacts lose it
        f.wait(is_("presence", type_="unsubscribed", from_=at(user)))
        self.assertEqual(f.roster()[at(user)].get("subscription"), "none")

    def test_disco(self):
        f = [x.get("var") for x in kid(self.login(self.user()).get(xmppc.DISCO_INFO, to=DOMAIN), "query", xmppc.DISCO_INFO)]
        self.assertIn(REG, f)


class Reserved(Base):
    options = {"top": "registration = true  registration_throttle = \"1000/3600\"  registration_reserve = 3600"}

    def test_name_of_a_removed_account(self):
        user = self.name()
        self.assertResult(self.register(user))
        a = self.signs_in(user)
        a.send("<iq type='set' id='r'>%s</iq>" % query(more="<remove/>"))
        a.wait_end()
        self.assertError(self.register(user), "conflict")
        self.d.add_account(user, "secret-word")     # the operator may
        self.signs_in(user)


class NoSelfService(Base):
    options = {"top": "account_self_service = false"}

    def test_refused(self):
        user = self.user()
        c = self.login(user)
        self.assertError(c.iq("set", query(user, "groundlings"), to=DOMAIN), "not-allowed")
        self.assertError(c.iq("set", query(more="<remove/>")), "not-allowed")
        self.signs_in(user, PASSWORD)


class Throttled(Base):
    options = {"top": 'registration = true  registration_throttle = "3/3600"'}

    def test_so_many_from_one_place(self):
        for _ in range(3):
            self.assertResult(self.register(self.name()))
        self.assertError(self.register(self.name()), "not-acceptable")


class Logins(Base):
    options = {"top": 'login_throttle = "4/3600"  account_login_throttle = "1000/3600"', "listener": "auth_delay_ms = 0"}

    def test_one_network(self):
        user = self.user()
        for i in range(4):
            e = self.connect().auth(user if i % 2 else "nobody-at-all", "wrong-1")
            self.assertEqual(local(e[0]), "not-authorized")
        for who in (user, "nobody-at-all"):     # right or wrong, there or not
            e = self.connect().auth(who)
            self.assertEqual((local(e), local(e[0])), ("failure", "temporary-auth-failure"))
        e = self.connect().auth2(user)
        self.assertEqual(local(e), "failure")


class AccountLogins(Base):
    options = {"top": 'login_throttle = "1000/3600"  account_login_throttle = "4/3600"', "listener": "auth_delay_ms = 0"}

    def test_one_account(self):
        user, other = self.users(2)
        agent = "d4565fa7-4d72-4749-b3d3-740edbf87770"
        e = self.connect().auth2(user, inner="<request-token xmlns='%s' mechanism='HT-SHA-256-NONE'/>" % FAST, agent=agent)
        token = kid(e, "token", FAST).get("token")
        for who in (user, "nobody-at-all"):
            for _ in range(4):
                e = self.connect().auth(who, "wrong-1")
                self.assertEqual(local(e[0]), "not-authorized")
            for password in ("wrong-1", PASSWORD):
                e = self.connect().auth(who, password)
                self.assertEqual(local(e[0]), "temporary-auth-failure")
        # a token is not guessed, so its client goes on
        self.assertEqual(local(self.connect().auth2(user, mech="HT-SHA-256-NONE", agent=agent, token=token)), "success")
        self.assertEqual(local(self.connect().auth(other)), "success")


class Invited(Base):
    options = {"top": 'invites = "users"  admins = ( "boss@lab.test" )  invite_url = "https://lab.test/i/#%t"', "accounts": ("boss",)}

    def command(self, c, node, sid=None, form="", action=None):
        return c.iq("set", "<command xmlns='%s' node='%s'%s%s>%s</command>" % (
            CMD, node, " sessionid='%s'" % sid if sid else "", " action='%s'" % action if action else "", form), to=DOMAIN)

    def result(self, r):
        self.assertResult(r)
        cmd = kid(r, "command", CMD)
        self.assertEqual(cmd.get("status"), "completed")
        x = kid(cmd, "x", DATA)
        return {f.get("var"): "".join(v.text or "" for v in f) for f in x.findall("{%s}field" % DATA)}

    def invite(self, c):
        """A token for a contact."""
        f = self.result(self.command(c, "urn:xmpp:invite#invite"))
        return re.search(r"preauth=(\w+)", f["uri"]).group(1)

    def create(self, c, username="", roster=None):
        r = self.command(c, "urn:xmpp:invite#create-account")
        sid = kid(r, "command", CMD).get("sessionid")
        form = "<x xmlns='%s' type='submit'><field var='username'><value>%s</value></field>%s</x>" % (
            DATA, username, "" if roster is None else "<field var='roster-subscription'><value>%s</value></field>" % roster)
        return self.command(c, "urn:xmpp:invite#create-account", sid, form)

    def preauth(self, c, token):
        return c.iq("set", "<preauth xmlns='%s' token='%s'/>" % (PARS, token), to=DOMAIN)

    def test_offered(self):
        f = self.connect().features
        self.assertIsNotNone(f.find(FEATURE))
        self.assertIsNotNone(f.find(TOKEN_FEATURE))

    def test_invitation(self):
        """XEP-0401 5.1."""
        user = self.user()
        c = self.login(user)
        f = self.result(self.command(c, "urn:xmpp:invite#invite"))
        self.assertEqual(f["FORM_TYPE"], "urn:xmpp:invite#invitation")
        m = re.match(r"xmpp:%s\?roster;preauth=([A-Za-z0-9]{16,});ibr=y$" % re.escape(at(user)), f["uri"])
        self.assertTrue(m, f["uri"])
        self.assertEqual(f["landing-url"], "https://lab.test/i/#" + m.group(1))
        self.assertRegex(f["expire"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

    def test_register_needs_one(self):
        c = self.connect()
        self.assertError(c.iq("get", query()), "not-allowed")
        self.assertError(self.register(self.name(), c=c), "not-allowed")
        self.assertError(self.preauth(c, "nonsense"), "item-not-found", "cancel")
        self.assertError(self.register(self.name(), c=c), "not-allowed")

    def test_new_contact_with_a_new_account(self):
        """5.3.2, 5.5: contacts at once; the inviter's clients are told."""
        for _ in range(3):
            user, new = self.user(), self.name()
            a = self.login(user)
            a.roster()
            token = self.invite(a)
            c = self.connect()
            self.assertResult(self.preauth(c, token))
            self.assertResult(c.iq("get", query()))
            self.assertResult(self.register(new, c=c))
            push = a.wait(lambda e: e.get("type") == "set" and e.find(".//{%s}item" % ROSTER) is not None)
            item = push.find(".//{%s}item" % ROSTER)
            self.assertEqual((item.get("jid"), item.get("subscription")), (at(new), "both"))
            b = self.signs_in(new)
            self.assertEqual(b.roster()[at(user)].get("subscription"), "both")
            b.wait(is_("presence", from_=a.jid))
            a.wait(is_("presence", from_=b.jid))
            # used up
            self.assertError(self.preauth(self.connect(), token), "item-not-found")

    def test_used_only_by_what_succeeded(self):
        """XEP-0445 section 4."""
        a = self.login(self.user())
        token, new = self.invite(a), self.name()
        c, d = self.connect(), self.connect()
        self.assertResult(self.preauth(c, token))
        self.assertResult(self.preauth(d, token))
        self.assertError(self.register(self.user(), c=c), "conflict")
        self.assertResult(self.register(new, c=d))
        self.assertError(self.register(self.name(), c=c), "not-allowed")

    def test_create_account(self):
        """5.4: for administrators; the name is kept for the guest."""
        boss = self.login("boss")
        new = self.name()
        f = self.result(self.create(boss, new))
        m = re.match(r"xmpp:%s\?register;preauth=(\w+)$" % re.escape(at(new)), f["uri"])
        self.assertTrue(m, f["uri"])
        self.assertError(self.create(boss, new), "conflict")
        c = self.connect()
        self.assertResult(self.preauth(c, self.invite(boss)))
        self.assertError(self.register(new, c=c), "conflict")
        c = self.connect()
        self.assertResult(self.preauth(c, m.group(1)))
        self.assertEqual(text(kid(c.iq("get", query()), "query", REG), "username"), new)
        self.assertError(self.register(self.name(), c=c), "not-acceptable")
        self.assertResult(self.register(new, c=c))
        self.assertNotIn(at("boss"), self.signs_in(new).roster())

    def test_create_account_any_name(self):
        boss = self.login("boss")
        boss.roster()
        f = self.result(self.create(boss, "", "1"))
        m = re.match(r"xmpp:lab.test\?register;preauth=(\w+)$", f["uri"])
        new, c = self.name(), self.connect()
        self.assertResult(self.preauth(c, m.group(1)))
        self.assertResult(self.register(new, c=c))
        self.assertEqual(self.signs_in(new).roster()[at("boss")].get("subscription"), "both")

    def test_create_account_errors(self):
        boss = self.login("boss")
        self.assertError(self.create(boss, "a b"), "bad-request")
        self.assertError(self.create(boss, self.user()), "conflict")
        self.assertError(self.create(boss, "x9", "maybe"), "bad-request")

    def test_who_may(self):
        user = self.login(self.user())
        self.assertError(self.command(user, "urn:xmpp:invite#create-account"), "forbidden")
        items = kid(user.get(xmppc.DISCO_ITEMS, to=DOMAIN, attrs="node='%s'" % CMD), "query", xmppc.DISCO_ITEMS)
        self.assertEqual([i.get("node") for i in items], ["urn:xmpp:invite#invite"])

    def test_limit(self):
        user = self.login(self.user())
        for _ in range(20):
            self.invite(user)
        self.assertError(self.command(user, "urn:xmpp:invite#invite"), "resource-constraint")

    def test_guessing(self):
        c = self.connect()
        for _ in range(9):
            self.assertError(self.preauth(c, "x" * 20), "item-not-found")
        c.send("<iq type='set' id='z'><preauth xmlns='%s' token='y'/></iq>" % PARS)
        self.assertEqual(c.wait_end(), "policy-violation")

    def test_pars(self):
        """XEP-0379: a subscription request that shows the token is answered and returned."""
        user, other, third = self.users(3)
        a, b, c = self.login(user), self.login(other), self.login(third)
        for x in (a, b, c):
            x.roster()
        token = self.invite(a)
        b.presence("subscribed", a.bare)        # 3.4: pre-approved
        b.presence("subscribe", a.bare, inner="<preauth xmlns='%s' token='%s'/>" % (PARS, token))
        b.wait(is_("presence", type_="subscribed", from_=a.bare))
        b.wait(is_("presence", from_=a.jid, type_=None))
        a.wait(is_("presence", from_=b.jid, type_=None))
        lab.wait_until(lambda: a.roster()[b.bare].get("subscription") == "both", 5, "both at the inviter")
        lab.wait_until(lambda: b.roster()[a.bare].get("subscription") == "both", 5, "both at the invited")
        self.assertEqual([x for x in a.seen if x.get("type") == "subscribe"], [])
        # once; others are asked about, with what they showed
        c.presence("subscribe", a.bare, inner="<preauth xmlns='%s' token='%s'/>" % (PARS, token))
        e = a.wait(is_("presence", type_="subscribe", from_=c.bare))
        self.assertEqual(kid(e, "preauth", PARS).get("token"), token)

    def test_pars_while_offline(self):
        user, other = self.users(2)
        a, b = self.login(user), self.login(other)
        b.roster()
        token = self.invite(a)
        a.close()
        b.presence("subscribe", at(user), inner="<preauth xmlns='%s' token='%s'/>" % (PARS, token))
        b.wait(is_("presence", type_="subscribed", from_=at(user)))
        b.wait(is_("presence", type_="subscribe", from_=at(user)))

    def test_pars_token_of_somebody_else(self):
        user, other, third = self.users(3)
        a, b, c = self.login(user), self.login(other), self.login(third)
        token = self.invite(c)
        b.presence("subscribe", a.bare, inner="<preauth xmlns='%s' token='%s'/>" % (PARS, token))
        a.wait(is_("presence", type_="subscribe", from_=b.bare))
        for bad in ("", "x", "x" * 5000):
            b.presence("subscribe", c.bare, inner="<preauth xmlns='%s' token='%s'/>" % (PARS, bad))
        c.wait(is_("presence", type_="subscribe", from_=b.bare))

    def test_survives_a_kill(self):
        a = self.login(self.user())
        token, new = self.invite(a), self.name()
        self.d.kill()
        self.d.start()
        c = self.connect()
        self.assertResult(self.preauth(c, token))
        self.assertResult(self.register(new, c=c))
        self.d.kill()
        self.d.start()
        self.signs_in(new)

    def test_gone_with_the_inviter(self):
        user = self.user()
        token = self.invite(self.login(user))
        self.d.ctl("account", "delete", at(user))
        self.assertError(self.preauth(self.connect(), token), "item-not-found")


class Expired(Invited):
    options = {"top": 'invites = "admins"  admins = ( "boss@lab.test" )  invite_life = 2', "accounts": ("boss",)}

    def test_expiry(self):
        """It is looked at when it is shown, not later."""
        boss = self.login("boss")
        early, late = self.invite(boss), self.invite(boss)
        c = self.connect()
        self.assertResult(self.preauth(c, early))
        lab.wait_until(lambda: self.preauth(self.connect(), late).get("type") == "error", 6, "its end")
        self.assertResult(self.register(self.name(), c=c))

    def test_admins_only(self):
        self.assertError(self.command(self.login(self.user()), "urn:xmpp:invite#invite"), "forbidden")


for _name in [n for n in dir(Invited) if n.startswith("test_")]:
    setattr(Expired, _name, None) if _name not in vars(Expired) else None


if __name__ == "__main__":
    lab.main()
