"""test_serviceadmin - service administration (XEP-0133): every use case of section 4, and tandemctl's side of it."""
import re
import time

import lab
import xmppc
from case import ServerCase, at, settle
from lab import DOMAIN, PASSWORD
from xmppc import DISCO_ITEMS, FAST, ROSTER, SASL, SASL2, body_is, is_, kid, local, nsof, show, text

CMD = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"
ADMIN = "http://jabber.org/protocol/admin"
SECOND = "second.test"
AGENT = "d4565fa7-4d72-4749-b3d3-740edbf87770"
AFTER = "{urn:tandem:admin}after"

ACCOUNTS = ("delete-user", "disable-user", "reenable-user", "end-user-session", "get-user-roster", "get-user-lastlogin")
LISTS = {"get-registered-users-list": "registereduserjids", "get-disabled-users-list": "disableduserjids",
         "get-online-users-list": "onlineuserjids", "get-active-users": "activeuserjids", "get-idle-users": "activeuserjids"}
NUMBERS = {"get-registered-users-num": "registeredusersnum", "get-disabled-users-num": "disabledusersnum",
           "get-online-users-num": "onlineusersnum", "get-active-users-num": "activeusersnum",
           "get-idle-users-num": "idleusersnum"}
FORMS = {
    "add-user": [("accountjid", "jid-single", True), ("password", "text-private", False),
                 ("password-verify", "text-private", False), ("email", "text-single", False),
                 ("given_name", "text-single", False), ("surname", "text-single", False)],
    "change-user-password": [("accountjid", "jid-single", True), ("password", "text-private", True)],
    "user-stats": [("accountjid", "jid-single", True)],
    "edit-blacklist": [("blacklistjids", "jid-multi", False)],
    "edit-whitelist": [("whitelistjids", "jid-multi", False)],
    "announce": [("announcement", "text-multi", True)],
    "set-motd": [("motd", "text-multi", True)],
    "edit-motd": [("motd", "text-multi", True)],
    "set-welcome": [("welcome", "text-multi", True)],
    "edit-admin": [("adminjids", "jid-multi", False)],
    "restart": [("delay", "list-single", False), ("announcement", "text-multi", False)],
    "shutdown": [("delay", "list-single", False), ("announcement", "text-multi", False)],
}
FORMS.update({n: [("accountjids", "jid-multi", True)] for n in ACCOUNTS})
FORMS.update({n: [("max_items", "list-single", False), (AFTER, "jid-single", False)] for n in LISTS})
PLAIN = list(NUMBERS) + ["delete-motd", "delete-welcome"]


class Base(ServerCase):
    options = {"top": 'admins = ( "boss@lab.test" )  workers = 3', "accounts": ("boss",),
               "extra": 'domain "second.test" { XMPP_Role = "server"  admins = ( "clerk@second.test" ) }'}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.d.ctl("account", "add", "clerk@" + SECOND, stdin=PASSWORD + "\n", check=False)

    def boss(self):
        return self.login("boss")

    def clerk(self):
        return self.login("clerk", domain=SECOND)

    def ask(self, c, node, inner="", to=DOMAIN, **attrs):
        return c.iq("set", "<command xmlns='%s' node='%s#%s'%s>%s</command>" % (
            CMD, ADMIN, node, "".join(" %s='%s'" % x for x in attrs.items()), inner), to=to)

    def submit(self, fields, type_=ADMIN):
        out = "<field var='FORM_TYPE' type='hidden'><value>%s</value></field>" % type_ if type_ else ""
        for var, values in fields.items():
            values = (values,) if isinstance(values, str) else values
            out += "<field var='%s'>%s</field>" % (var, "".join("<value>%s</value>" % v for v in values))
        return "<x xmlns='%s' type='submit'>%s</x>" % (DATA, out)

    def begin(self, c, node, to=DOMAIN):
        cmd = kid(self.ask(c, node, to=to), "command", CMD)
        self.assertEqual(cmd.get("status"), "executing", show(cmd))
        return cmd

    def run_(self, c, node, to=DOMAIN, **fields):
        """Both steps; the answer to the second."""
        if node in PLAIN:
            return self.ask(c, node, to=to)
        sid = self.begin(c, node, to).get("sessionid")
        fields = {k.replace("password_verify", "password-verify"): v for k, v in fields.items()}
        return self.ask(c, node, self.submit(fields), to=to, sessionid=sid)

    def done(self, r):
        self.assertResult(r)
        cmd = kid(r, "command", CMD)
        self.assertEqual(cmd.get("status"), "completed", show(r))
        return cmd

    def do(self, c, node, to=DOMAIN, **fields):
        return self.done(self.run_(c, node, to, **fields))

    def values(self, cmd, var):
        """Of the result form; None: no such field."""
        x = kid(cmd, "x", DATA)
        self.assertEqual(x.get("type"), "result")
        f = {f.get("var"): [v.text or "" for v in f.findall("{%s}value" % DATA)] for f in x.findall("{%s}field" % DATA)}
        self.assertEqual(f["FORM_TYPE"], [ADMIN])
        return f.get(var)

    def notes(self, cmd):
        return [(n.get("type"), n.text) for n in cmd.findall("{%s}note" % CMD)]

    def number(self, c, node, to=DOMAIN):
        return int(self.values(self.do(c, node, to), NUMBERS[node])[0])

    def list_(self, c, node, to=DOMAIN, **fields):
        return self.values(self.do(c, node, to, **fields), LISTS[node])

    def refused(self, user, password=PASSWORD, domain=DOMAIN):
        c = self.connect(domain=domain)
        e = c.auth(user, password, "SCRAM-SHA-256")
        return [local(x) for x in e if nsof(x) == SASL] if local(e) == "failure" else None


class Commands(Base):
    def test_discovery(self):
        """Section 3: all of them, to those who may."""
        c = self.boss()
        items = kid(c.get(DISCO_ITEMS, to=DOMAIN, attrs="node='%s'" % CMD), "query", DISCO_ITEMS)
        got = {i.get("node") for i in items}
        self.assertLessEqual({"%s#%s" % (ADMIN, n) for n in list(FORMS) + PLAIN}, got)
        self.assertTrue(all(i.get("name") and i.get("jid") == DOMAIN for i in items))
        items = kid(self.login(self.user()).get(DISCO_ITEMS, to=DOMAIN, attrs="node='%s'" % CMD), "query", DISCO_ITEMS)
        self.assertFalse([i for i in items if i.get("node").startswith(ADMIN)])

    def test_forms(self):
        """Names and types of fields are those of the text."""
        c = self.boss()
        for node, fields in FORMS.items():
            with self.subTest(node=node):
                x = kid(self.begin(c, node), "x", DATA)
                self.assertEqual(x.get("type"), "form")
                self.assertTrue(text(x, "title") and text(x, "instructions"))
                got = x.findall("{%s}field" % DATA)
                self.assertEqual((got[0].get("var"), got[0].get("type"), text(got[0], "value")),
                                 ("FORM_TYPE", "hidden", ADMIN))
                self.assertEqual([(f.get("var"), f.get("type"), kid(f, "required") is not None) for f in got[1:]], fields)
                self.assertTrue(all(f.get("label") for f in got[1:]))
                if "max_items" in [f[0] for f in fields]:
                    self.assertEqual([text(o, "value") for o in got[1].findall("{%s}option" % DATA)],
                                     ["25", "50", "75", "100", "150", "200", "none"])
                if "delay" in [f[0] for f in fields]:
                    self.assertEqual([text(o, "value") for o in got[1].findall("{%s}option" % DATA)],
                                     ["30", "60", "90", "120", "180", "240", "300"])

    def test_who_may(self):
        """Section 6, at both steps; and a domain's administrator only there."""
        user, clerk = self.login(self.user()), self.clerk()
        for node in list(FORMS) + PLAIN:
            with self.subTest(node=node):
                self.assertError(self.ask(user, node), "forbidden", "auth")
                self.assertError(self.ask(clerk, node), "forbidden")
        boss = self.boss()
        sid = self.begin(boss, "announce").get("sessionid")
        self.assertError(self.ask(user, "announce", self.submit({"announcement": "x"}), sessionid=sid), "forbidden")
        self.assertResult(self.ask(clerk, "get-registered-users-num", to=SECOND))
        # the process is not of that domain alone
        for node in ("restart", "shutdown"):
            self.assertError(self.ask(clerk, node, to=SECOND), "forbidden")
        self.assertError(self.ask(boss, "no-such-command"), "feature-not-implemented")

    def test_bad_forms(self):
        c = self.boss()
        for node, inner in (("delete-user", ""), ("delete-user", self.submit({})),
                            ("delete-user", self.submit({"accountjids": ("", " ")})),
                            ("delete-user", self.submit({"accountjids": DOMAIN})),
                            ("delete-user", self.submit({"accountjids": "x@%s/home" % DOMAIN})),
                            ("delete-user", self.submit({"accountjids": "@@@"})),
                            ("announce", self.submit({"announcement": "x"}, "jabber:iq:register")),
                            ("announce", self.submit({"announcement": "x" * 20000})),
                            ("get-online-users-list", self.submit({"max_items": "many"})),
                            ("get-online-users-list", self.submit({"max_items": "-1"})),
                            ("edit-admin", self.submit({"adminjids": "@"})),
                            ("edit-blacklist", self.submit({"blacklistjids": "a@@b"})),
                            ("shutdown", self.submit({"delay": "soon"})), ("shutdown", self.submit({"delay": "-1"}))):
            with self.subTest(node=node, inner=inner[:200]):
                sid = self.begin(c, node).get("sessionid")
                r = self.ask(c, node, inner, sessionid=sid)
                self.assertError(r, "bad-request", "modify")
                self.assertIn("bad-payload", [local(x) for x in kid(r, "error")])
        self.assertTrue(self.d.alive())

    def test_accounts_of_others(self):
        """What one domain's administrators do reaches that domain's accounts only, and nobody above them."""
        boss, clerk = self.boss(), self.clerk()
        user = self.user()
        for node in ACCOUNTS:
            self.assertError(self.run_(clerk, node, SECOND, accountjids=at(user)), "not-allowed")
            self.assertError(self.run_(boss, node, accountjids="clerk@" + SECOND), "not-allowed")
        self.assertError(self.run_(clerk, "add-user", SECOND, accountjid="new@" + DOMAIN, password="x" * 10), "not-allowed")
        self.assertError(self.run_(clerk, "change-user-password", SECOND, accountjid=at(user), password="x" * 10), "not-allowed")
        # somebody appointed does nothing to who is in the configuration
        self.done(self.run_(boss, "edit-admin", adminjids=("boss@" + DOMAIN, at(user))))
        c = self.login(user)
        self.assertResult(self.ask(c, "get-registered-users-num"))
        self.assertError(self.run_(c, "change-user-password", accountjid="boss@" + DOMAIN, password="x" * 10), "not-allowed")
        self.assertError(self.run_(c, "delete-user", accountjids="boss@" + DOMAIN), "not-allowed")
        for node in ("edit-admin", "restart", "shutdown"):
            self.assertError(self.ask(c, node), "forbidden")
        self.done(self.run_(boss, "edit-admin", adminjids="boss@" + DOMAIN))
        self.assertError(self.ask(c, "get-registered-users-num"), "forbidden")


class Accounts(Base):
    def test_add_user(self):
        c = self.boss()
        name = lab.token("new")
        self.do(c, "add-user", accountjid=at(name), password="R0m30-s3cret", password_verify="R0m30-s3cret",
                email="juliet@capulet.com", given_name="Juliet", surname="Capulet &amp; Co")
        j = self.login(name, password="R0m30-s3cret")
        v = kid(j.get("vcard-temp", "vCard", to=at(name)), "vCard", "vcard-temp")
        self.assertEqual(text(v, "FN"), "Juliet Capulet & Co")
        self.assertEqual(text(kid(v, "EMAIL"), "USERID"), "juliet@capulet.com")
        # table 1
        self.assertError(self.run_(c, "add-user", accountjid=at(name), password="y" * 10), "conflict", "cancel")
        r = self.run_(c, "add-user", accountjid=at(name + "2"), password="a" * 10, password_verify="b" * 10)
        self.assertError(r, "bad-request")
        self.assertNotIn(at(name + "2"), self.d.ctl("account", "list", DOMAIN))
        # names are prepared
        self.do(c, "add-user", accountjid=at(name.upper() + "X"), password="z" * 10)
        self.login(name + "x", password="z" * 10)

    def test_add_user_without_password(self):
        c = self.boss()
        name = lab.token("new")
        cmd = self.do(c, "add-user", accountjid=at(name))
        self.assertEqual(self.notes(cmd)[0][0], "info")
        for password in ("", "x", PASSWORD):
            self.assertEqual(self.refused(name, password), ["not-authorized"])
        self.do(c, "change-user-password", accountjid=at(name), password="set-it-n0w")
        self.login(name, password="set-it-n0w")

    def test_delete_user(self):
        c = self.boss()
        a, b = self.users(2)
        ca, cb = self.login(a), self.login(b)
        self.friends(ca, cb)
        self.do(c, "delete-user", accountjids=at(a))
        ca.wait_end()
        self.assertEqual(ca.stream_error, "not-authorized")
        self.assertEqual(self.refused(a), ["not-authorized"])
        # who had it as a contact is told
        cb.wait(is_("presence", type_="unsubscribed", from_=at(a)))
        self.assertError(self.run_(c, "delete-user", accountjids=at(a)), "item-not-found")

    def test_several_at_once(self):
        c = self.boss()
        users = [at(u) for u in self.users(6)]
        cmd = self.do(c, "delete-user", accountjids=users + ["nobody-%s" % at("x")] + users[:2])
        self.assertEqual([(n[0], "nobody" in n[1]) for n in self.notes(cmd)], [("warn", True)])
        left = self.d.ctl("account", "list", DOMAIN).split()
        self.assertFalse(set(users) & set(left))

    def test_disable_and_reenable(self):
        """4.3: sessions end, nobody signs in; nothing is lost."""
        c = self.boss()
        a, b = self.users(2)
        ca, cb = self.login(a), self.login(b)
        self.friends(ca, cb)
        tok = self.fast_token(a)
        asleep = self.login(a, "asleep", sm=True)
        asleep.cut()
        self.do(c, "disable-user", accountjids=at(a))
        ca.wait_end()
        self.assertEqual(ca.stream_error, "not-authorized")
        cb.wait(is_("presence", type_="unavailable", from_=at(a) + "/asleep"))
        self.assertEqual(self.refused(a), ["account-disabled"])
        self.assertEqual(self.refused(a, "wrong"), ["not-authorized"])
        self.assertEqual(self.fast(a, tok), "failure")
        cb.message(at(a), "into the void")
        self.assertError(cb.wait(is_("message", type_="error")), "service-unavailable")
        self.assertIn(at(a), self.list_(c, "get-disabled-users-list", max_items="none"))
        # a new password does not open it
        self.do(c, "change-user-password", accountjid=at(a), password="another-one")
        self.assertEqual(self.refused(a, "another-one"), ["account-disabled"])
        self.do(c, "reenable-user", accountjids=at(a))
        ca = self.login(a, password="another-one")
        self.assertIn(at(b), ca.roster())
        self.assertEqual(self.fast(a, tok), "failure")
        # what slept does not come back
        d = self.authed(a, password="another-one")
        self.assertEqual(local(d.sm_resume(asleep)), "failed")
        self.assertNotIn(at(a), self.list_(c, "get-disabled-users-list", max_items="none"))
        for node in ("disable-user", "reenable-user"):
            self.assertError(self.run_(c, node, accountjids=at("nobody-at-all")), "item-not-found")

    def fast_token(self, user):
        c = self.connect()
        e = c.auth2(user, inner="<request-token xmlns='%s' mechanism='HT-SHA-256-NONE'/>" % FAST, agent=AGENT)
        c.close()
        return kid(e, "token", FAST).get("token")

    def fast(self, user, token):
        return local(self.connect().auth2(user, mech="HT-SHA-256-NONE", agent=AGENT, token=token))

    def test_disabled_survives_restart(self):
        a = self.user()
        self.do(self.boss(), "disable-user", accountjids=at(a))
        self.d.terminate()
        self.d.start()
        self.assertEqual(self.refused(a), ["account-disabled"])
        self.do(self.boss(), "reenable-user", accountjids=at(a))
        self.login(a)

    def test_end_user_session(self):
        """4.5: one resource, or all; who was ended may come again."""
        c = self.boss()
        a = self.user()
        one, two, three = (self.login(a, r) for r in ("one", "two", "three"))
        self.do(c, "end-user-session", accountjids=at(a) + "/two")
        two.wait_end()
        one.sync(), three.sync()
        self.assertError(self.run_(c, "end-user-session", accountjids=at(a) + "/two"), "item-not-found")
        tok = self.fast_token(a)
        self.do(c, "end-user-session", accountjids=at(a))
        one.wait_end(), three.wait_end()
        self.login(a)
        self.assertEqual(self.fast(a, tok), "success")

    def test_change_password(self):
        """Whoever is there came in by the old one."""
        c = self.boss()
        a = self.user()
        ca = self.login(a)
        tok = self.fast_token(a)
        asleep = self.login(a, "asleep", sm=True)
        asleep.cut()
        self.do(c, "change-user-password", accountjid=at(a), password="V3r0n4-x")
        ca.wait_end()
        self.assertEqual(self.refused(a), ["not-authorized"])
        self.assertEqual(self.fast(a, tok), "failure")
        d = self.authed(a, password="V3r0n4-x")
        self.assertEqual(local(d.sm_resume(asleep)), "failed")
        self.assertError(self.run_(c, "change-user-password", accountjid=at("nobody-at-all"), password="x"), "item-not-found")

    def test_change_ones_own_password(self):
        """The session that asks stays."""
        name = lab.token("adm")
        boss = self.boss()
        self.do(boss, "add-user", accountjid=at(name), password=PASSWORD)
        self.do(boss, "edit-admin", adminjids=("boss@" + DOMAIN, at(name)))
        c, other = self.login(name), self.login(name)
        self.do(c, "change-user-password", accountjid=at(name), password="n3w-password")
        other.wait_end()
        c.sync()
        self.do(boss, "edit-admin", adminjids="boss@" + DOMAIN)

    def test_roster(self):
        c = self.boss()
        a, b = self.users(2)
        ca = self.login(a)
        self.assertResult(ca.iq("set", "<query xmlns='%s'><item jid='romeo@example.net' name='Rom&lt;o'><group>Friends</group>"
                                "<group>Lovers</group></item></query>" % ROSTER))
        self.login(b).presence("subscribe", at(a))      # a request is no entry
        ca.wait(is_("presence", type_="subscribe"))
        cmd = self.do(c, "get-user-roster", accountjids=at(a))
        self.assertEqual(self.values(cmd, "accountjids"), [at(a)])
        items = list(kid(kid(cmd, "x", DATA), "query", ROSTER))
        self.assertEqual([(i.get("jid"), i.get("name"), i.get("subscription")) for i in items], [("romeo@example.net", "Rom<o", "none")])
        self.assertEqual([g.text for g in items[0]], ["Friends", "Lovers"])
        # one form for each
        cmd = self.do(c, "get-user-roster", accountjids=(at(a), at(b)))
        self.assertEqual(len(cmd.findall("{%s}x" % DATA)), 2)
        self.assertError(self.run_(c, "get-user-roster", accountjids=at("nobody-at-all")), "item-not-found")

    def test_last_login(self):
        c = self.boss()
        a = self.user()
        cmd = self.do(c, "get-user-lastlogin", accountjids=at(a))
        self.assertIsNone(self.values(cmd, "lastlogin"))
        self.assertIn("never", self.notes(cmd)[0][1])
        before = int(time.time())
        self.login(a)
        cmd = self.do(c, "get-user-lastlogin", accountjids=at(a))
        stamp = self.values(cmd, "lastlogin")[0]
        self.assertRegex(stamp, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        when = time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        self.assertTrue(before - 1 <= when <= time.time() + 1, stamp)
        self.assertEqual(self.values(cmd, "accountjids"), [at(a)])
        self.assertError(self.run_(c, "get-user-lastlogin", accountjids=at("nobody-at-all")), "item-not-found")

    def test_statistics(self):
        c = self.boss()
        a = self.user()
        ca, _ = self.login(a, "work"), self.login(a, "home")
        ca.iq("set", "<query xmlns='%s'><item jid='romeo@example.net'/></query>" % ROSTER)
        cmd = self.do(c, "user-stats", accountjid=at(a))
        self.assertEqual(self.values(cmd, "ipaddresses"), ["127.0.0.1"])
        self.assertEqual(self.values(cmd, "rostersize"), ["1"])
        self.assertEqual(sorted(self.values(cmd, "onlineresources")), ["home", "work"])
        self.assertGreater(float(self.values(cmd, "stanzaspersecond")[0]), 0)
        self.assertEqual(float(self.values(cmd, "loginsperminute")[0]), 2)
        b = self.user()
        cmd = self.do(c, "user-stats", accountjid=at(b))
        self.assertEqual((self.values(cmd, "rostersize"), float(self.values(cmd, "loginsperminute")[0])), (["0"], 0))
        self.assertError(self.run_(c, "user-stats", accountjid=at("nobody-at-all")), "item-not-found")


class Lists(Base):
    # of its own: numbers are exact
    options = dict(Base.options, top=Base.options["top"] + "  # lists")

    def test_numbers_and_lists(self):
        c = self.boss()
        known = [at("boss")] + [at(n) for n in ("away", "busy", "csi", "idle", "xa", "off", "two")]
        for jid in known[1:]:
            self.d.add_account(jid)
        self.assertEqual(self.number(c, "get-registered-users-num"), len(known))
        self.assertEqual(self.list_(c, "get-registered-users-list"), sorted(known))
        self.assertEqual(self.list_(c, "get-online-users-list"), [at("boss")])
        self.do(c, "disable-user", accountjids=at("off"))
        self.assertEqual(self.number(c, "get-disabled-users-num"), 1)
        self.assertEqual(self.list_(c, "get-disabled-users-list"), [at("off")])
        keep = [self.login("two", "a"), self.login("two", "b"), self.login("busy"), self.login("idle", presence=False)]
        keep[2].presence(inner="<show>dnd</show><status>show away</status>")
        for name in ("away", "xa"):
            keep.append(self.login(name))
            keep[-1].presence(inner="<status>x</status><show> %s </show>" % name)
        keep.append(self.login("csi"))
        keep[-1].send("<inactive xmlns='urn:xmpp:csi:0'/>")
        for k in keep:
            k.sync()
        online = [at(n) for n in ("away", "boss", "busy", "csi", "idle", "two", "xa")]
        active = [at(n) for n in ("boss", "busy", "two")]
        idle = [j for j in online if j not in active]
        self.assertEqual(self.number(c, "get-online-users-num"), len(online))
        self.assertEqual(self.number(c, "get-active-users-num"), len(active))
        self.assertEqual(self.number(c, "get-idle-users-num"), len(idle))
        self.assertEqual(self.list_(c, "get-online-users-list", max_items="25"), online)
        self.assertEqual(self.list_(c, "get-active-users", max_items="none"), active)
        self.assertEqual(self.list_(c, "get-idle-users"), idle)
        # pages
        for node, all_ in (("get-online-users-list", online), ("get-registered-users-list", sorted(known))):
            got, after = [], {}
            while True:
                cmd = self.do(c, node, max_items="3", **after)
                page = self.values(cmd, LISTS[node])
                self.assertLessEqual(len(page), 3)
                got += page
                if not self.notes(cmd):
                    break
                self.assertIn(page[-1], self.notes(cmd)[0][1])
                after = {AFTER: page[-1]}
            self.assertEqual(got, all_)
        # the other domain has its own
        clerk = self.clerk()
        self.assertEqual(self.list_(clerk, "get-online-users-list", SECOND), ["clerk@" + SECOND])
        self.assertEqual(self.number(clerk, "get-registered-users-num", SECOND), 1)


class Messages(Base):
    options = dict(Base.options, top=Base.options["top"] + "  # messages")

    def test_announce(self):
        """4.23: every session of the domain, and nobody else."""
        boss, clerk = self.boss(), self.clerk()
        a, b = self.users(2)
        one, two, silent = self.login(a), self.login(a), self.login(b, presence=False)
        word = lab.token()
        self.do(boss, "announce", announcement=("Line one &lt;1&gt;", word))
        for c in (one, two, silent, boss):
            m = c.wait(body_is(word))
            self.assertEqual((m.get("from"), m.get("type"), m.get("to")), (DOMAIN, "headline", c.jid))
            self.assertEqual(text(m), "Line one <1>\n" + word)
        self.none_of(clerk.drain() or [], "message")
        # not kept for who was away
        off = self.user()
        self.do(boss, "announce", announcement="gone with the wind")
        c = self.login(off)
        c.sync()
        self.none_of(c.seen, "message")

    def no_message(self, c):
        c.sync()
        self.none_of([s for s in c.seen], "message")

    def test_motd(self):
        """4.24-4.26: who is online at once, others when they come, each once; it survives a restart."""
        boss = self.boss()
        a, b, gone = self.users(3)
        ca = self.login(a)
        w1, w2, w3 = lab.token("one"), lab.token("two"), lab.token("three")
        self.do(boss, "set-motd", motd=(w1, "second line"))
        m = ca.wait(body_is(w1))
        self.assertEqual((m.get("from"), text(m)), (DOMAIN, w1 + "\nsecond line"))
        self.no_message(self.login(a))                       # has it
        self.login(b).wait(body_is(w1))
        # mended: the form shows what there is; only who has not seen it gets it
        x = kid(self.begin(boss, "edit-motd"), "x", DATA)
        f = [f for f in x if f.get("var") == "motd"][0]
        self.assertEqual([v.text for v in f.findall("{%s}value" % DATA)], [w1, "second line"])
        self.do(boss, "edit-motd", motd=w2)
        ca.sync()
        self.assertFalse([s for s in ca.seen if body_is(w2)(s)])
        self.no_message(self.login(a))
        self.d.terminate()
        self.d.start()
        self.no_message(self.login(a))
        c = self.login(gone)
        c.wait(body_is(w2))
        self.no_message(self.login(gone))
        # another one: to all again
        boss = self.boss()
        self.do(boss, "set-motd", motd=w3)
        c.wait(body_is(w3))
        self.login(b).wait(body_is(w3))
        self.do(boss, "delete-motd")
        self.no_message(self.login(b))
        self.no_message(self.login(self.user()))
        f = [f for f in kid(self.begin(boss, "edit-motd"), "x", DATA) if f.get("var") == "motd"][0]
        self.assertEqual(f.findall("{%s}value" % DATA), [])

    def test_motd_survives_a_crash(self):
        boss = self.boss()
        word = lab.token()
        self.do(boss, "set-motd", motd=word)
        self.d.kill()
        self.d.start()
        self.login(self.user()).wait(body_is(word))
        self.do(self.boss(), "delete-motd")

    def test_welcome(self):
        """4.27, 4.28: new users, at their first sign-in."""
        boss = self.boss()
        old, new, late = self.users(3)
        self.login(old).close()
        word = lab.token()
        self.do(boss, "set-welcome", welcome=("Hello", word))
        self.d.terminate()
        self.d.start()
        boss = self.boss()
        self.no_message(self.login(old))
        c = self.login(new)
        m = c.wait(body_is(word))
        self.assertEqual((m.get("from"), text(m)), (DOMAIN, "Hello\n" + word))
        self.no_message(self.login(new))
        f = [f for f in kid(self.begin(boss, "set-welcome"), "x", DATA) if f.get("var") == "welcome"][0]
        self.assertEqual([v.text for v in f.findall("{%s}value" % DATA)], ["Hello", word])
        self.do(boss, "delete-welcome")
        self.no_message(self.login(late))

    def test_control(self):
        """The same by tandemctl."""
        boss, clerk = self.boss(), self.clerk()
        w = lab.token()
        self.d.ctl("announce", stdin=w + "\n")
        boss.wait(body_is(w)), clerk.wait(body_is(w))
        w = lab.token()
        self.d.ctl("announce", SECOND, stdin=w)
        clerk.wait(body_is(w))
        w = lab.token()
        self.d.ctl("motd", "set", DOMAIN, stdin=w + "\n")
        boss.wait(body_is(w))
        self.assertEqual(self.d.ctl("motd", "show", DOMAIN), w + "\n")
        self.assertEqual(self.d.ctl("motd", "show", DOMAIN, json_out=True), w)
        self.login(self.user()).wait(body_is(w))
        self.d.ctl("motd", "delete", DOMAIN)
        self.assertEqual(self.d.ctl("motd", "show", DOMAIN), "")
        for args in (("announce", "elsewhere.test"), ("motd", "set", "elsewhere.test"), ("motd", "show", "a@b"), ("announce",)):
            self.assertEqual(self.d.ctl(*args, stdin="" if args == ("announce",) else "x", check=False).returncode, 1)
        a = self.user()
        ca = self.login(a)
        self.d.ctl("account", "disable", at(a))
        ca.wait_end()
        self.assertEqual(self.refused(a), ["account-disabled"])
        self.d.ctl("account", "password", at(a), stdin=PASSWORD + "\n")     # does not open it
        self.assertEqual(self.refused(a), ["account-disabled"])
        self.d.ctl("account", "enable", at(a))
        self.login(a)
        for word in ("disable", "enable"):
            self.assertEqual(self.d.ctl("account", word, at("nobody-at-all"), check=False).returncode, 1)


class Service(Base):
    options = dict(Base.options, top=Base.options["top"] + "  # service")

    def admins(self, c):
        x = kid(self.begin(c, "edit-admin"), "x", DATA)
        f = [f for f in x if f.get("var") == "adminjids"][0]
        return [v.text for v in f.findall("{%s}value" % DATA)]

    def test_edit_admin(self):
        """4.29: beside the option <admins>, which stays."""
        boss = self.boss()
        a, b = self.users(2)
        ca = self.login(a)
        self.assertEqual(self.admins(boss), [at("boss")])
        cmd = self.do(boss, "edit-admin", adminjids=(at("boss"), at(a)))
        self.assertEqual(self.notes(cmd), [])
        self.assertEqual(self.admins(boss), [at("boss"), at(a)])
        self.assertResult(self.ask(ca, "get-online-users-num"))
        self.d.terminate()
        self.d.start()
        boss, ca = self.boss(), self.login(a)
        self.assertEqual(self.admins(boss), [at("boss"), at(a)])
        self.assertResult(self.ask(ca, "get-online-users-num"))
        # of this server, and there
        self.assertError(self.run_(boss, "edit-admin", adminjids="x@elsewhere.test"), "not-allowed")
        self.assertError(self.run_(boss, "edit-admin", adminjids=(at("boss"), at("nobody-at-all"))), "item-not-found")
        self.assertEqual(self.admins(boss), [at("boss"), at(a)])
        # an account that goes takes it along; one made again under its name is nobody
        self.do(boss, "delete-user", accountjids=at(a))
        self.assertEqual(self.admins(boss), [at("boss")])
        self.do(boss, "add-user", accountjid=at(a), password=PASSWORD)
        self.assertError(self.ask(self.login(a), "get-online-users-num"), "forbidden")
        # one's own
        cmd = self.do(boss, "edit-admin", adminjids=at(b))
        self.assertEqual(self.notes(cmd)[0][0], "warn")
        self.assertEqual(self.admins(boss), [at("boss"), at(b)])
        self.do(boss, "edit-admin", adminjids=())
        self.assertEqual(self.admins(boss), [at("boss")])

    def test_blacklist(self):
        """4.11: the domain's accounts and those of the list do not talk."""
        boss, clerk = self.boss(), self.clerk()
        a, b = self.users(2)
        ca, cb = self.login(a), self.login(b)
        self.do(boss, "edit-blacklist", blacklistjids=(SECOND, at(b) + "/never"))
        clerk.message(ca.bare, "x")
        self.assertError(clerk.wait(is_("message", type_="error")), "service-unavailable")
        clerk.presence("subscribe", ca.bare)
        settle(clerk, ca.bare)
        ca.message(clerk.bare, "y")
        self.assertError(ca.wait(is_("message", type_="error")), "not-allowed")
        self.none_of(ca.seen, "presence", type_="subscribe")
        self.d.terminate()
        self.d.start()
        boss, ca, cb = self.boss(), self.login(a), self.login(b)
        ca.message("clerk@" + SECOND, "y")
        self.assertError(ca.wait(is_("message", type_="error")), "not-allowed")
        w = lab.token()
        ca.message(cb.bare, w)
        cb.wait(body_is(w))
        # one of our own
        self.do(boss, "edit-blacklist", blacklistjids=at(b))
        cb.message(ca.bare, "z")
        self.assertError(cb.wait(is_("message", type_="error")), "not-allowed")
        cb.sync()
        f = [f for f in kid(self.begin(boss, "edit-blacklist"), "x", DATA) if f.get("var") == "blacklistjids"][0]
        self.assertEqual([v.text for v in f.findall("{%s}value" % DATA)], [at(b)])
        self.do(boss, "edit-blacklist", blacklistjids=())
        w = lab.token()
        cb.message(ca.bare, w)
        ca.wait(body_is(w))

    def test_whitelist(self):
        boss, clerk = self.boss(), self.clerk()
        a, b = self.users(2)
        ca, cb = self.login(a), self.login(b)
        self.do(boss, "edit-whitelist", whitelistjids="friends.example")
        ca.message(clerk.bare, "y")
        self.assertError(ca.wait(is_("message", type_="error")), "not-allowed")
        w = lab.token()
        ca.message(cb.bare, w)
        cb.wait(body_is(w))
        self.do(boss, "edit-whitelist", whitelistjids=("friends.example", SECOND))
        w = lab.token()
        ca.message(clerk.bare, w)
        clerk.wait(body_is(w))
        self.do(boss, "edit-whitelist", whitelistjids=())


class Stop(Base):
    options = dict(Base.options, top=Base.options["top"] + "  # stop")

    def test_restart(self):
        """4.30: announced, in order, and there again."""
        boss, clerk = self.boss(), self.clerk()
        word = lab.token()
        at_ = len(self.d.log_text())
        seen = self.d.log_text().count("event=ready")
        pid = self.d.pid
        self.do(boss, "restart", delay="1", announcement=(word, "Please log off now."))
        for c in (boss, clerk):
            self.assertEqual(text(c.wait(body_is(word))), word + "\nPlease log off now.")
            c.wait_end()
            self.assertEqual(c.stream_error, "system-shutdown")
        self.d.wait_ready(seen)
        self.assertEqual(self.d.pid, pid)
        self.assertRegex(self.d.log_text()[at_:], "event=stopped")
        self.boss().sync()
        # what does not load is no place to go to
        text_ = self.d.conf.read_text()
        self.d.write_config(text_ + "\nno_such_option = 1\n")
        at_ = len(self.d.log_text())
        self.do(self.boss(), "restart", delay="0")
        self.d.wait_log("event=restart-refused", after=at_)
        self.boss().sync()
        self.d.write_config(text_)

    def test_shutdown(self):
        """4.31."""
        boss = self.boss()
        # the last word counts
        self.do(boss, "shutdown", delay="300")
        self.do(boss, "shutdown", delay="1")
        boss.wait_end()
        self.assertEqual(boss.stream_error, "system-shutdown")
        self.assertEqual(self.d.wait_exit(), 0)
        self.d.start()


if __name__ == "__main__":
    lab.main()
