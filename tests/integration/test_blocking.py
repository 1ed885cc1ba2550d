"""test_blocking - XEP-0191 rule by rule, with reports (XEP-0377)."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import body_is, fence, is_, kid, local, text

NS = "urn:xmpp:blocking"


class Blocking(ServerCase):
    def change(self, c, name, *jids, inner=""):
        return c.iq("set", "<%s xmlns='%s'>%s</%s>" % (name, NS, "".join("<item jid='%s'>%s</item>" % (j, inner) for j in jids), name))

    def block(self, c, *jids):
        self.assertResult(self.change(c, "block", *jids))

    def unblock(self, c, *jids):
        self.assertResult(self.change(c, "unblock", *jids))

    def listed(self, c):
        return sorted(i.get("jid") for i in kid(c.get(NS, "blocklist"), "blocklist", NS))

    def refused(self, c, to):
        """Is what <c> sends to <to> refused as if there was nobody?"""
        id_ = c.message(to, lab.token("w"))
        c.sync()
        settle(c, to)
        errors = [e for e in c.seen if local(e) == "message" and e.get("id") == id_ and e.get("type") == "error"]
        for e in errors:
            self.assertError(e, "service-unavailable")
        return bool(errors)

    def test_feature_and_empty_list(self):
        a = self.login()
        f = {e.get("var") for e in a.get("http://jabber.org/protocol/disco#info", to=lab.DOMAIN).iter() if local(e) == "feature"}
        self.assertLessEqual({NS, "urn:xmpp:reporting:1"}, f)
        self.assertEqual(self.listed(a), [])

    def test_block_and_unblock(self):
        a, b = self.login(), self.login()
        self.assertFalse(self.refused(b, a.bare))
        self.block(a, b.bare)
        self.assertEqual(self.listed(a), [b.bare])
        self.assertTrue(self.refused(b, a.bare), b._history())
        self.assertTrue(self.refused(b, a.jid), b._history())
        self.assertError(b.get(xmppc.PING, "ping", a.bare), "service-unavailable")
        self.assertError(b.get(xmppc.PING, "ping", a.jid), "service-unavailable")
        self.unblock(a, b.bare)
        self.assertEqual(self.listed(a), [])
        self.assertFalse(self.refused(b, a.bare))

    def test_outbound(self):
        a, b = self.login(), self.login()
        self.block(a, b.bare)
        id_ = a.message(b.jid, "out")
        e = a.wait(lambda e: local(e) == "message" and e.get("id") == id_)
        self.assertError(e, "not-acceptable", "cancel" if xmppc.error_of(e)[0] == "cancel" else "modify")
        self.assertIsNotNone(kid(e, "error").find("{urn:xmpp:blocking:errors}blocked"))
        self.assertError(a.get(xmppc.PING, "ping", b.jid), "not-acceptable")
        a.presence("subscribe", b.bare)
        e = a.wait(is_("presence", type_="error"))
        self.assertError(e, "not-acceptable")
        fence(self.login(), b)
        self.assertEqual([m for m in b.seen if text(m) == "out"], [])

    def test_bad_requests(self):
        a = self.login()
        self.assertError(self.change(a, "block"), "bad-request")
        self.assertError(self.change(a, "block", "a@@b"), "jid-malformed")
        self.assertError(a.iq("set", "<block xmlns='%s'><item/></block>" % NS), ("jid-malformed", "bad-request"))
        b = self.login()
        self.assertError(a.iq("get", "<blocklist xmlns='%s'/>" % NS, b.bare), ("forbidden", "service-unavailable"))

    def test_pushes(self):
        name = self.user()
        one, two, three = (self.login(name, r) for r in ("one", "two", "three"))
        self.listed(one)
        self.listed(two)
        self.block(one, "x@y.z", "w@y.z")

        def push(kind):
            return lambda e: local(e) == "iq" and e.get("type") == "set" and kid(e, kind, NS) is not None
        for c in (one, two):
            p = c.wait(push("block"))
            self.assertEqual(sorted(i.get("jid") for i in kid(p, "block", NS)), ["w@y.z", "x@y.z"])
        self.unblock(two, "x@y.z")
        for c in (one, two):
            self.assertEqual([i.get("jid") for i in kid(c.wait(push("unblock")), "unblock", NS)], ["x@y.z"])
        self.unblock(two)       # all
        for c in (one, two):
            self.assertEqual(len(kid(c.wait(push("unblock")), "unblock", NS)), 0)
        self.assertEqual(self.listed(one), [])
        three.sync()
        self.assertEqual([e for e in three.seen if local(e) == "iq" and e.get("type") == "set"], [])

    def test_presence_of_contacts(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        self.block(a, b.bare)
        b.wait(is_("presence", type_="unavailable", from_=a.jid))
        b.presence(inner="<status>unseen</status>")
        a.presence(inner="<status>hidden</status>")
        other = self.login()
        fence(other, a)
        fence(other, b)
        self.assertEqual([e for e in a.seen if text(e, "status") == "unseen"], [])
        self.assertEqual([e for e in b.seen if text(e, "status") == "hidden"], [])
        # a probe is not answered
        b.presence("probe", a.bare)
        settle(b, a.bare)
        fence(other, b)
        self.assertEqual([e for e in b.seen if text(e, "status") == "hidden"], [])
        self.unblock(a, b.bare)
        self.assertEqual(text(b.wait(is_("presence", from_=a.jid, type_=None)), "status"), "hidden")
        self.assertEqual(text(a.wait(lambda e: local(e) == "presence" and e.get("from") == b.jid and text(e, "status")), "status"), "unseen")

    def test_subscription_request_is_dropped(self):
        a, b = self.login(), self.login()
        self.block(a, b.bare)
        b.presence("subscribe", a.bare)
        settle(b, a.bare)
        fence(self.login(), a)
        self.assertEqual([e for e in a.seen if e.get("type") == "subscribe"], [])

    def test_matching(self):
        a, b = self.login(), self.login()
        host = lab.DOMAIN
        for jid, hit in ((b.jid, True), (b.bare + "/other", False), (b.bare, True), (host, True), ("%s/%s" % (host, b.jid.partition("/")[2]), True),
                         (host + "/other", False), ("else.where", False)):
            self.block(a, jid)
            self.assertEqual(self.refused(b, a.bare), hit, jid)
            self.unblock(a)

    def test_own_domain_does_not_break_the_account(self):
        name = self.user()
        a, a2 = self.login(name, "one"), self.login(name, "two")
        self.block(a, lab.DOMAIN)
        self.assertResult(a.get(xmppc.PING, "ping", lab.DOMAIN))
        a.message(a2.jid, "self")
        a2.wait(body_is("self"))
        self.assertEqual(self.listed(a2), [lab.DOMAIN])

    def test_offline_and_restart(self):
        name = self.user()
        a, b = self.login(name), self.login()
        self.block(a, b.bare)
        a.close()
        self.assertTrue(self.refused(b, at(name)), b._history())
        a = self.login(name)
        self.assertEqual(self.listed(a), [b.bare])

    def test_normalised(self):
        a, b = self.login(), self.login()
        self.block(a, b.bare.upper())
        self.assertTrue(self.refused(b, a.bare), b._history())

    def test_many_reports(self):
        """The log takes twenty of one account in ten minutes; blocking goes on."""
        a = self.login()
        word = lab.token("flood")
        for i in range(25):
            r = self.change(a, "block", "x%d@spam.test" % i, inner="<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><text>%s</text></report>" % word)
            self.assertResult(r)
        lab.wait_until(lambda: self.d.log_text().count(word) >= 20, text="the reports in the log")
        self.assertEqual(self.d.log_text().count(word), 20)

    def test_reports(self):
        a, b = self.login(), self.login()
        r = self.change(a, "block", b.bare, inner="<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><text>awful</text></report>")
        self.assertResult(r)
        lab.wait_until(lambda: "event=abuse-report" in self.d.log_text() and "awful" in self.d.log_text(), text="the report in the log")
        r = self.change(a, "block", "q@r.s", inner="<report xmlns='urn:xmpp:reporting:1'/>")
        self.assertError(r, "bad-request")
        self.assertEqual(self.listed(a), [b.bare])


if __name__ == "__main__":
    lab.main()
