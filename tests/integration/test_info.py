"""test_info - what the server tells about itself and its users: XEP-0012, 0092, 0157, 0215, 0232, 0279, 0328."""
import base64
import calendar
import hashlib
import hmac
import time

import compc
import lab
import xmppc
from case import ServerCase, at
from lab import DOMAIN
from xmppc import DISCO_INFO, fence, is_, kid, local, show

LAST = "jabber:iq:last"
EXT = "urn:xmpp:extdisco:2"
SIC = "urn:xmpp:sic:1"
PREP = "urn:xmpp:jidprep:1"
FORM = "jabber:x:data"
TURN_SECRET = "north wind"
STANZAS = """
domain "%s" {
  XMPP_Role = "server"
  contact "abuse" { uri = ( "mailto:abuse@lab.test" "xmpp:abuse@lab.test" ) }
  contact "Support" { uri = "https://lab.test/help?a=1&b=2" }
  external_service "stun" { type = "stun"  host = "stun.lab.test" }
  external_service "turn" { type = "turn"  host = "turn.lab.test"  transport = "udp"  secret = "%s"  lifetime = 600 }
  external_service "turn-tcp" { type = "turn"  host = "turn.lab.test"  port = 443  transport = "tcp"  secret = "%s" }
  external_service "fixed" { type = "ftp"  host = "ftp.lab.test"  port = 21  username = "u"  password = "p<" }
}
domain "shy.test" { XMPP_Role = "server"  hide_version = true }
component "gw.lab.test" { secret = "s" }
""" % (DOMAIN, TURN_SECRET, TURN_SECRET)


class Base(ServerCase):
    options = {"extra": STANZAS}

    def query(self, c, xml, to=DOMAIN, type_="get"):
        return c.iq(type_, xml, to)

    def forms(self, c, to=DOMAIN):
        """FORM_TYPE -> {var: values} of disco#info."""
        q = kid(c.get(DISCO_INFO, to=to), "query", DISCO_INFO)
        out = {}
        for x in q.findall("{%s}x" % FORM):
            f = {f.get("var"): [v.text for v in f.findall("{%s}value" % FORM)] for f in x.findall("{%s}field" % FORM)}
            self.assertEqual(x.get("type"), "result")
            out[f.pop("FORM_TYPE")[0]] = f
        return out, {e.get("var") for e in q if local(e) == "feature"}


class Last(Base):
    GET = "<query xmlns='%s'/>" % LAST

    def last(self, r):
        self.assertResult(r)
        q = kid(r, "query", LAST)
        return int(q.get("seconds")), q.text or ""

    def test_uptime(self):
        a = self.login()
        first, text = self.last(self.query(a, self.GET))
        self.assertEqual(text, "")
        self.assertLess(first, 600)
        self.assertGreaterEqual(self.last(self.query(a, self.GET))[0], first)

    def test_online(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        self.assertEqual(self.last(self.query(a, self.GET, b.bare)), (0, ""))
        self.assertEqual(self.last(self.query(a, self.GET, a.bare)), (0, ""))

    def test_offline_with_status(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        b.presence("unavailable", inner="<status>Heading &lt;home&gt;</status>")
        a.wait(is_("presence", from_=b.jid, type_="unavailable"))
        seconds, text = self.last(self.query(a, self.GET, b.bare))
        self.assertLess(seconds, 60)
        self.assertEqual(text, "Heading <home>")

    def test_offline_by_a_lost_connection(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        b.cut()
        a.wait(is_("presence", from_=b.jid, type_="unavailable"))
        seconds, text = self.last(self.query(a, self.GET, b.bare))
        self.assertLess(seconds, 60)
        self.assertEqual(text, "")

    def test_the_last_resource_counts(self):
        user = self.user()
        a, b, c = self.login(), self.login(user), self.login(user)
        self.friends(a, b)
        b.presence("unavailable", inner="<status>first</status>")
        a.wait(is_("presence", from_=b.jid, type_="unavailable"))
        self.assertEqual(self.last(self.query(a, self.GET, b.bare)), (0, ""))
        c.presence("unavailable", inner="<status>second</status>")
        a.wait(is_("presence", from_=c.jid, type_="unavailable"))
        self.assertEqual(self.last(self.query(a, self.GET, b.bare))[1], "second")

    def test_forbidden_as_for_nobody(self):
        a, b, o = self.login(), self.login(), self.user()
        for to in (b.bare, b.jid, at(o), at(o) + "/r", at("nobody-at-all"), at("nobody-at-all") + "/r", b.bare + "/none"):
            r = self.query(a, self.GET, to)
            self.assertError(r, "forbidden", "auth")
            self.assertEqual(r.get("from"), to)
        b.sync()
        self.none_of(b.drain(), "iq")

    def test_one_way_subscription(self):
        """Who sees is asked, not who is seen."""
        a, b = self.login(), self.login()
        a.roster()
        b.roster()
        a.presence("subscribe", b.bare)
        b.wait(is_("presence", type_="subscribe"))
        b.presence("subscribed", a.bare)
        a.wait(is_("presence", type_="subscribed"))
        fence(a, b)
        self.assertEqual(self.last(self.query(a, self.GET, b.bare)), (0, ""))
        self.assertError(self.query(b, self.GET, a.bare), "forbidden")

    def test_resource(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<iq type='get' to='%s' id='l'>%s</iq>" % (b.jid, self.GET))
        q = b.wait(is_("iq", id="l"))
        b.send("<iq type='result' to='%s' id='l'><query xmlns='%s' seconds='5'/></iq>" % (q.get("from"), LAST))
        self.assertEqual(self.last(a.reply("l")), (5, ""))
        self.assertError(self.query(a, self.GET, b.bare + "/gone"), "service-unavailable")

    def test_never_online(self):
        o = self.user()
        a = self.login(o, presence=False)
        self.assertError(self.query(a, self.GET, a.bare), "item-not-found")

    def test_features(self):
        a = self.login()
        self.assertIn(LAST, self.forms(a)[1])
        self.assertIn(LAST, self.forms(a, a.bare)[1])

    def test_set(self):
        a = self.login()
        self.assertError(self.query(a, self.GET, type_="set"), ("service-unavailable", "feature-not-implemented", "bad-request"))


class LastRestart(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.d = labor.daemon(milter=False, accounts=("alice", "bob"))

    def test_kept(self):
        """The time outlives the process, and goes with the account."""
        a = xmppc.login(self.d.c2s_port, "alice")
        b = xmppc.login(self.d.c2s_port, "alice", presence=False)
        a.presence("unavailable", inner="<status>see you</status>")
        a.sync()
        a.close()
        b.close()
        self.d.terminate()
        self.d.start()
        a = xmppc.login(self.d.c2s_port, "alice", presence=False)
        r = a.get(LAST, to=a.bare)
        self.assertEqual(kid(r, "query", LAST).text, "see you", show(r))
        a.close()
        self.d.ctl("account", "delete", at("alice"))
        self.d.add_account("alice")
        a = xmppc.login(self.d.c2s_port, "alice", presence=False)
        self.assertEqual(a.get(LAST, to=a.bare).get("type"), "error")
        a.close()


class Software(Base):
    def test_form(self):
        forms, features = self.forms(self.login())
        f = forms["urn:xmpp:dataforms:softwareinfo"]
        self.assertEqual(f["software"], ["Tandem"])
        self.assertTrue(f["software_version"][0])
        self.assertNotIn("os", f)
        self.assertIn("jabber:iq:version", features)

    def test_hidden(self):
        a = self.login()
        self.assertError(self.query(a, "<query xmlns='jabber:iq:version'/>", "shy.test"), "service-unavailable")
        forms, features = self.forms(a, "shy.test")
        self.assertEqual(forms, {})
        self.assertNotIn("jabber:iq:version", features)


class Contact(Base):
    def test_form(self):
        f = self.forms(self.login())[0]["http://jabber.org/network/serverinfo"]
        self.assertEqual(f, {"abuse-addresses": ["mailto:abuse@lab.test", "xmpp:abuse@lab.test"],
                             "support-addresses": ["https://lab.test/help?a=1&b=2"]})

    def test_none(self):
        self.assertNotIn("http://jabber.org/network/serverinfo", self.forms(self.login(), "shy.test")[0])


class External(Base):
    def services(self, r, name="services"):
        self.assertResult(r)
        return [dict(s.attrib) for s in kid(r, name, EXT)]

    def check_turn(self, s, lifetime):
        now = time.time()
        expires, _, _ = s["username"].partition(":")
        self.assertAlmostEqual(int(expires), now + lifetime, delta=60)
        self.assertEqual(calendar.timegm(time.strptime(s["expires"][:19], "%Y-%m-%dT%H:%M:%S")), int(expires))
        self.assertTrue(s["expires"].endswith("Z"))
        mac = hmac.new(TURN_SECRET.encode(), s["username"].encode(), hashlib.sha1).digest()
        self.assertEqual(s["password"], base64.b64encode(mac).decode())
        self.assertIn(s["restricted"], ("true", "1"))

    def test_all(self):
        a = self.login()
        got = self.services(self.query(a, "<services xmlns='%s'/>" % EXT))
        self.assertEqual([(s["type"], s["host"], s.get("port"), s.get("transport")) for s in got], [
            ("stun", "stun.lab.test", "3478", None), ("turn", "turn.lab.test", "3478", "udp"),
            ("turn", "turn.lab.test", "443", "tcp"), ("ftp", "ftp.lab.test", "21", None)])
        self.assertNotIn("username", got[0])
        self.check_turn(got[1], 600)
        self.check_turn(got[2], 86400)
        self.assertEqual((got[3]["username"], got[3]["password"]), ("u", "p<"))

    def test_by_type(self):
        a = self.login()
        r = self.query(a, "<services xmlns='%s' type='turn'/>" % EXT)
        self.assertEqual([s["type"] for s in self.services(r)], ["turn", "turn"])
        self.assertEqual(kid(r, "services", EXT).get("type"), "turn")
        self.assertEqual(self.services(self.query(a, "<services xmlns='%s' type='sip'/>" % EXT)), [])

    def credentials(self, a, attrs):
        return self.query(a, "<credentials xmlns='%s'><service %s/></credentials>" % (EXT, attrs))

    def test_credentials(self):
        a = self.login()
        got = self.services(self.credentials(a, "host='turn.lab.test' type='turn'"), "credentials")
        self.assertEqual(len(got), 2)
        self.check_turn(got[0], 600)
        got = self.services(self.credentials(a, "host='turn.lab.test' type='turn' port='443'"), "credentials")
        self.assertEqual([s["port"] for s in got], ["443"])

    def test_users_differ(self):
        a, b = self.login(), self.login()
        names = {self.services(self.credentials(c, "host='turn.lab.test' type='turn'"), "credentials")[0]["username"] for c in (a, b)}
        self.assertEqual(len(names), 2)

    def test_bad_credentials(self):
        a = self.login()
        for attrs, want in (("host='x.test' type='turn'", "item-not-found"), ("host='turn.lab.test' type='stun'", "item-not-found"),
                            ("host='turn.lab.test' type='turn' port='1'", "item-not-found"), ("host='stun.lab.test' type='stun'", "item-not-found"),
                            ("type='turn'", "bad-request"), ("host='turn.lab.test'", "bad-request")):
            self.assertError(self.credentials(a, attrs), want)

    def test_strangers(self):
        c = compc.join(self.port, "gw.lab.test", "s")
        self.addCleanup(c.close)
        self.assertError(c.request("get", "<services xmlns='%s'/>" % EXT, DOMAIN), "forbidden")
        self.assertError(c.request("get", "<jid-validate-request xmlns='%s'><maybe-jid>a@b</maybe-jid></jid-validate-request>" % PREP,
                                   DOMAIN), "forbidden")
        self.assertError(c.request("get", "<address xmlns='%s'/>" % SIC, DOMAIN), "forbidden")

    def test_domain_without(self):
        self.assertEqual(self.services(self.query(self.login(), "<services xmlns='%s'/>" % EXT, "shy.test")), [])

    def test_feature(self):
        self.assertIn(EXT, self.forms(self.login())[1])


class IpCheck(Base):
    def test_own(self):
        a = self.login()
        for to in (DOMAIN, a.bare, None):
            r = a.iq("get", "<address xmlns='%s'/>" % SIC, to)
            self.assertResult(r)
            e = kid(r, "address", SIC)
            host, port = a.sock.getsockname()[:2]
            self.assertEqual((kid(e, "ip").text, kid(e, "port").text), (host, str(port)))

    def test_others(self):
        a, b = self.login(), self.login()
        for to in (b.bare, at("nobody-at-all")):
            self.assertError(a.iq("get", "<address xmlns='%s'/>" % SIC, to), "forbidden")

    def test_feature(self):
        self.assertIn(SIC, self.forms(self.login())[1])


class JidPrep(Base):
    def prep(self, a, jid):
        r = self.query(a, "<jid-validate-request xmlns='%s'><maybe-jid>%s</maybe-jid></jid-validate-request>" % (PREP, jid))
        self.assertResult(r)
        return kid(r, "jid-validate-result", PREP)

    def test_valid(self):
        a = self.login()
        for raw, want in (("\u03a3@Example.COM/Resource", ("\u03c3", "example.com", "Resource")), ("example.com", (None, "example.com", None)),
                          ("A.B@x.test", ("a.b", "x.test", None)), ("x.test/r&amp;r", (None, "x.test", "r&r"))):
            v = kid(self.prep(a, raw), "valid-jid")
            self.assertIsNotNone(v, raw)
            parts = [kid(v, n) for n in ("localpart", "domainpart", "resourcepart")]
            self.assertEqual(tuple(None if p is None else p.text for p in parts), want)

    def test_invalid(self):
        a = self.login()
        for raw in ("", "@x", "a@", "a b@x.test", "x.test/", "a@b@c", "a" * 1024 + "@x.test"):
            i = kid(self.prep(a, raw), "invalid-jid")
            self.assertIsNotNone(i, raw)
            self.assertTrue(kid(i, "reason").text)

    def test_base64(self):
        a = self.login()

        def ask(data):
            return self.query(a, "<jid-validate-base64-request xmlns='%s'><base64-maybe-jid>%s</base64-maybe-jid>"
                              "</jid-validate-base64-request>" % (PREP, data))
        v = kid(kid(ask("zqNAZXhhbXBsZS5jb20vcmVzb3VyY2U="), "jid-validate-result", PREP), "valid-jid")
        self.assertEqual(kid(v, "localpart").text, "\u03c3")
        for raw in (b"a\0b@x", b"\xff\xfe@x", b""):
            self.assertIsNotNone(kid(kid(ask(base64.b64encode(raw).decode()), "jid-validate-result", PREP), "invalid-jid"))
        self.assertError(ask("!!"), "bad-request")

    def test_features(self):
        f = self.forms(self.login())[1]
        self.assertIn(PREP, f)
        self.assertIn("urn:xmpp:jidprep:base64:1", f)


if __name__ == "__main__":
    lab.main()
