"""test_spec_register - XEP-0077, rule by rule: making an account, changing its password, removing it."""
import lab
import xmppc
from case import at
from lab import DOMAIN
from speclib import SpecCase
from xmppc import DISCO_INFO, is_, kid, local, show, text

NS = "jabber:iq:register"
FEATURE = "{http://jabber.org/features/iq-register}register"


class Base(SpecCase):
    def query(self, inner):
        return "<query xmlns='%s'>%s</query>" % (NS, inner)

    def signs_in(self, user, password):
        return local(self.connect().auth(user, password)) == "success"


class Register(Base):
    options = {"top": "registration = true  registration_throttle = 100000/60  registration_reserve = 0", **SpecCase.options}

    def account(self, password="Calliope"):
        u = lab.token("r")
        c = self.connect()
        self.assertResult(c.iq("set", self.query("<username>%s</username><password>%s</password>" % (u, password))))
        return u

    # 8 (stream feature), 3.1
    def test_feature(self):
        self.assertIsNotNone(self.connect().features.find(FEATURE))
        self.assertIn(NS, {f.get("var") for f in self.login().get(DISCO_INFO, to=DOMAIN).iter("{%s}feature" % DISCO_INFO)})

    def test_fields(self):
        for to in (DOMAIN, None):
            c = self.connect()
            r = c.get(NS, to=to)
            self.assertResult(r)
            q = kid(r, "query", NS)
            names = {local(x) for x in q}
            self.assertLessEqual({"username", "password"}, names)
            self.assertNotIn("registered", names)
            self.assertIn(r.get("from"), (None, DOMAIN))

    def test_make_and_sign_in_on_the_same_stream(self):
        u = lab.token("r")
        c = self.connect()
        r = c.iq("set", self.query("<username>%s</username><password>Calliope</password>" % u))
        self.assertResult(r)
        self.assertEqual(local(c.auth(u, "Calliope")), "success")
        c.open()
        self.assertResult(c.bind())
        self.assertTrue(self.signs_in(u, "Calliope"))

    def test_conflict(self):
        u = self.account()
        c = self.connect()
        self.assertError(c.iq("set", self.query("<username>%s</username><password>another1</password>" % u)), "conflict", "cancel")
        self.assertError(c.iq("set", self.query("<username>%s</username><password>another1</password>" % u.upper())), "conflict", "cancel")
        self.assertTrue(self.signs_in(u, "Calliope"))

    def test_missing_information(self):
        for inner in ("<username>%s</username>", "<username>%s</username><password/>", "<username>%s</username><password></password>"):
            u = lab.token("r")
            c = self.connect()
            self.assertError(c.iq("set", self.query(inner % u)), "not-acceptable", "modify")
        for inner in ("<password>x</password>", "", "<username/><password>x</password>"):
            e = self.connect().iq("set", self.query(inner))
            self.assertError(e, ("not-acceptable", "bad-request"))

    def test_names_that_are_no_localparts(self):
        for name in ("a b", "a@b", "x" * 1100, "a/b", "&lt;a&gt;"):
            e = self.connect().iq("set", self.query("<username>%s</username><password>pw12345</password>" % name))
            self.assertError(e, ("not-acceptable", "jid-malformed", "bad-request"))

    def test_fields_of_somebody_registered(self):
        c = self.login()
        for to in (None, DOMAIN):
            q = kid(c.get(NS, to=to), "query", NS)
            self.assertIsNotNone(kid(q, "registered"))
            self.assertEqual(text(q, "username"), c.bare.partition("@")[0])
            self.assertIn(text(q, "password"), (None, ""))

    # 3.3
    def test_change_password(self):
        u = self.account()
        for to in (DOMAIN, None):
            c = self.login(u, password="Calliope")
            r = c.iq("set", self.query("<username>%s</username><password>newpass</password>" % u), to)
            self.assertResult(r)
            self.assertTrue(self.signs_in(u, "newpass"))
            self.assertFalse(self.signs_in(u, "Calliope"))
            d = self.login(u, password="newpass")
            self.assertResult(d.iq("set", self.query("<username>%s</username><password>Calliope</password>" % u), to))

    def test_empty_password_changes_nothing(self):
        u = self.account()
        c = self.login(u, password="Calliope")
        for inner in ("<username>%s</username><password/>" % u, "<username>%s</username><password></password>" % u,
                      "<username>%s</username>" % u):
            self.assertError(c.iq("set", self.query(inner)), ("bad-request", "not-acceptable"))
        self.assertTrue(self.signs_in(u, "Calliope"))

    def test_password_of_another(self):
        u, c = self.account(), self.login()
        self.assertEqual(c.iq("set", self.query("<username>%s</username><password>stolen1</password>" % u)).get("type"), "error")
        self.assertEqual(c.iq("set", self.query("<username>%s</username><password>stolen1</password>" % u), DOMAIN).get("type"), "error")
        c.iq("set", self.query("<username>%s</username><password>stolen1</password>" % u), at(u))
        self.assertTrue(self.signs_in(u, "Calliope"))

    def test_errors_do_not_show_the_password(self):
        """SHOULD NOT return the original XML."""
        u, c = self.account(), self.login()
        e = c.iq("set", self.query("<username>%s</username><password>very-secret</password>" % u))
        self.assertNotIn("very-secret", show(e))

    # 3.2
    def test_remove(self):
        u = self.account()
        a, b, o = self.login(u, password="Calliope"), self.login(u, password="Calliope"), self.interested()
        self.friends(a, o)
        k = self.contact()
        a.presence("subscribe", k.jid)
        k.wait(type_="subscribe")
        k.presence(at(u), "subscribed")
        a.wait(is_("presence", type_="subscribed", from_=k.jid))
        id_ = a.new_id()
        a.send("<iq type='set' id='%s'>%s</iq>" % (id_, self.query("<remove/>")))
        try:
            self.assertResult(a.reply(id_))
        except xmppc.Closed:
            pass
        self.assertIn(a.wait_end(), ("not-authorized", None))
        self.assertEqual(b.wait_end(), "not-authorized")
        self.assertFalse(self.signs_in(u, "Calliope"))
        # SHOULD: the subscriptions are cancelled
        o.wait(is_("presence", type_="unavailable", from_=a.jid))
        o.wait(is_("presence", type_="unsubscribed", from_=at(u)))
        k.wait(type_="unsubscribe", from_=at(u))
        self.assertIn(o.roster()[at(u)].get("subscription"), ("none",))
        self.assertError(o.get("t:unknown", to=at(u)), "service-unavailable")

    def test_remove_with_more_beside(self):
        u = self.account()
        c = self.login(u, password="Calliope")
        self.assertError(c.iq("set", self.query("<remove/><username>%s</username>" % u)), "bad-request", "modify")
        c.sync()
        self.assertTrue(self.signs_in(u, "Calliope"))

    def test_remove_before_authentication(self):
        c = self.connect()
        id_ = c.new_id()
        c.send("<iq type='set' id='%s'>%s</iq>" % (id_, self.query("<remove/>")))
        try:
            self.assertError(c.reply(id_), ("unexpected-request", "not-allowed", "forbidden", "registration-required"))
        except xmppc.Closed:
            self.assertEqual(c.stream_error, "not-authorized")

    def test_remove_of_another(self):
        u, c = self.account(), self.login()
        r = c.iq("set", self.query("<remove/>"), at(u))
        self.assertEqual(r.get("type"), "error")
        self.assertTrue(self.signs_in(u, "Calliope"))

    def test_nothing_else_before_authentication(self):
        c = self.connect()
        c.send("<iq type='get' id='x' to='%s'><query xmlns='jabber:iq:roster'/></iq>" % DOMAIN)
        try:
            self.assertEqual(c.reply("x").get("type"), "error")
        except xmppc.Closed:
            self.assertEqual(c.stream_error, "not-authorized")

    def test_no_registration_without_tls(self):
        c = self.conn()
        c.open()
        self.assertIsNone(c.features.find(FEATURE))


class Closed(Base):
    def test_not_advertised_and_refused(self):
        c = self.connect()
        self.assertIsNone(c.features.find(FEATURE))
        for type_, inner in (("get", ""), ("set", "<username>%s</username><password>Calliope</password>" % lab.token("r"))):
            c = self.connect()
            c.send("<iq type='%s' id='x'>%s</iq>" % (type_, self.query(inner)))
            try:
                self.assertError(c.reply("x"), ("service-unavailable", "not-allowed", "forbidden"))
            except xmppc.Closed:
                self.assertEqual(c.stream_error, "not-authorized")


if __name__ == "__main__":
    lab.main()
