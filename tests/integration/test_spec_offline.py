"""test_spec_offline - XEP-0160, 0203 and the hints of 0334 for messages to somebody who is away; XEP-0030 and 0199 for the
server and accounts."""
import lab
import xmppc
from case import at, settle
from lab import DOMAIN
from speclib import SpecCase
from xmppc import DELAY, DISCO_INFO, DISCO_ITEMS, PING, is_, kid, local, text

HINTS = "urn:xmpp:hints"
STATES = "http://jabber.org/protocol/chatstates"
MAM = "urn:xmpp:mam:2"


class Offline(SpecCase):
    def away(self, type_="chat", inner="", body="text", to=""):
        """(kept, refused) for a message to somebody who is away."""
        a, u = self.login(), self.user()
        id_ = a.message(at(u) + to, body, type_, inner)
        settle(a, at(u))
        back = [e for e in a.drain() if local(e) == "message"]
        b = self.login(u)
        got = [e for e in xmppc.fence(a, b) if e.get("id") == id_]
        return len(got), len(back)

    def test_feature(self):
        features = {f.get("var") for f in self.login().get(DISCO_INFO, to=DOMAIN).iter("{%s}feature" % DISCO_INFO)}
        self.assertIn("msgoffline", features)

    def test_rules(self):
        for name, kept, kw in (
                ("chat", True, {}), ("normal", True, {"type_": "normal"}), ("no type", True, {"type_": None}),
                ("headline", False, {"type_": "headline"}), ("groupchat", False, {"type_": "groupchat"}),
                ("chat state alone", False, {"body": None, "inner": "<composing xmlns='%s'/>" % STATES}),
                ("chat state and thread", False, {"body": None, "inner": "<composing xmlns='%s'/><thread>t</thread>" % STATES}),
                ("chat state and body", True, {"inner": "<active xmlns='%s'/>" % STATES}),
                ("receipt", True, {"body": None, "inner": "<received xmlns='urn:xmpp:receipts' id='1'/>"}),
                ("no-store", False, {"inner": "<no-store xmlns='%s'/>" % HINTS}),
                ("no-permanent-store", True, {"inner": "<no-permanent-store xmlns='%s'/>" % HINTS}),
                ("store", True, {"body": None, "inner": "<composing xmlns='%s'/><store xmlns='%s'/>" % (STATES, HINTS)})):
            with self.subTest(name):
                got, back = self.away(**kw)
                self.assertEqual(got, 1 if kept else 0)
                if kept:
                    self.assertEqual(back, 0)

    def test_full_jid_that_is_away(self):
        got, back = self.away(to="/gone")
        self.assertEqual((got, back), (1, 0))
        got, back = self.away("normal", to="/gone")
        self.assertEqual(got, 0)

    def test_given_once(self):
        a, u = self.login(), self.user()
        a.message(at(u), "once")
        settle(a, at(u))
        b = self.login(u)
        b.wait(xmppc.body_is("once"))
        b.presence(priority=3)
        c = self.login(u)
        self.none_of(xmppc.fence(a, b) + xmppc.fence(a, c), "message")
        b.close(), c.close()
        d = self.login(u)
        self.none_of(xmppc.fence(a, d), "message")

    def test_to_the_resource_that_asks_first(self):
        a, u = self.login(), self.user()
        for i in range(3):
            a.message(at(u), "m%d" % i)
        settle(a, at(u))
        n = self.login(u, priority=-1)
        b = self.login(u)
        self.assertEqual([text(b.wait("message")) for _ in range(3)], ["m0", "m1", "m2"])
        self.none_of(xmppc.fence(a, n), "message")

    def test_delay(self):
        a, u = self.login(), self.user()
        a.message(at(u), "d", inner="<delay xmlns='%s' from='x.test' stamp='2002-09-10T23:08:25Z'/>" % DELAY)
        settle(a, at(u))
        e = self.login(u).wait("message")
        stamps = {d.get("from"): d for d in e.findall("{%s}delay" % DELAY)}
        self.assertIn(DOMAIN, stamps)
        self.assertEqual(stamps["x.test"].get("stamp"), "2002-09-10T23:08:25Z")

    def test_live_messages_have_no_delay(self):
        a, b = self.login(), self.login()
        a.message(b.bare, "live")
        self.assertIsNone(kid(b.wait(xmppc.body_is("live")), "delay", DELAY))

    def test_forged_delay_of_the_server(self):
        """XEP-0203: nobody but the server says when the server kept it."""
        a, b = self.login(), self.login()
        a.message(b.bare, "forged", inner="<delay xmlns='%s' from='%s' stamp='2002-09-10T23:08:25Z'/>" % (DELAY, DOMAIN))
        b.wait(xmppc.body_is("forged"))

    def test_no_permanent_store_is_not_in_the_archive(self):
        a, u = self.login(), self.user()
        a.message(at(u), "off the record", inner="<no-permanent-store xmlns='%s'/>" % HINTS)
        settle(a, at(u))
        b = self.login(u)
        b.wait(xmppc.body_is("off the record"))
        b.iq("set", "<query xmlns='%s'/>" % MAM)
        self.assertEqual([e for e in b.drain() if kid(e, "result", MAM) is not None], [])


class Disco(SpecCase):
    def info(self, c, to, node=None):
        return c.iq("get", "<query xmlns='%s'%s/>" % (DISCO_INFO, " node='%s'" % node if node else ""), to)

    def test_server(self):
        c = self.login()
        r = self.info(c, DOMAIN)
        q = kid(r, "query", DISCO_INFO)
        self.assertIn(("server", "im"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])
        features = [f.get("var") for f in q.findall("{%s}feature" % DISCO_INFO)]
        self.assertEqual(len(features), len(set(features)))
        self.assertLessEqual({DISCO_INFO, DISCO_ITEMS, PING, "jabber:iq:roster", "vcard-temp", "urn:xmpp:blocking", "urn:xmpp:carbons:2",
                              "jabber:iq:version", "urn:xmpp:time"}, set(features))

    def test_unknown_node(self):
        c = self.login()
        for to in (DOMAIN, c.bare):
            r = self.info(c, to, "no-such-node")
            self.assertError(r, "item-not-found", "cancel")

    def test_items(self):
        c = self.login()
        r = c.get(DISCO_ITEMS, to=DOMAIN)
        self.assertIn("far.lab.test", [i.get("jid") for i in kid(r, "query", DISCO_ITEMS)])

    def test_own_account(self):
        c = self.login()
        for to in (c.bare, None):
            q = kid(self.info(c, to), "query", DISCO_INFO)
            self.assertIn(("account", "registered"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])

    def test_account_of_a_stranger(self):
        """XEP-0030 section 8: nothing for those who may not see the presence, and nothing about who exists."""
        c, u = self.login(), self.user()
        for to in (at(u), at("nobody-there")):
            self.assertError(self.info(c, to), "service-unavailable", "cancel")
        for to in (at(u), at("nobody-there")):
            r = c.get(DISCO_ITEMS, to=to)
            if r.get("type") == "result":
                self.assertEqual(len(kid(r, "query", DISCO_ITEMS)), 0)
            else:
                self.assertError(r, ("service-unavailable", "item-not-found"))

    def test_account_of_a_friend(self):
        a, b = self.interested(), self.interested()
        self.friends(a, b)
        q = kid(self.info(a, b.bare), "query", DISCO_INFO)
        self.assertIn(("account", "registered"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])

    # XEP-0199
    def test_ping(self):
        a = self.login()
        for to in (DOMAIN, a.bare, None):
            r = a.iq("get", "<ping xmlns='%s'/>" % PING, to)
            self.assertResult(r)
            self.assertEqual(len(r), 0)
        b = self.login()
        b.presence(to=a.jid)
        a.wait(is_("presence", from_=b.jid))
        a.send("<iq type='get' id='c2c' to='%s'><ping xmlns='%s'/></iq>" % (b.jid, PING))
        self.assertEqual(b.wait(is_("iq", id="c2c")).get("from"), a.jid)


if __name__ == "__main__":
    lab.main()
