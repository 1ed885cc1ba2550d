"""test_carbons - every client sees the conversation: XEP-0280, and forged wrappers (XEP-0297)."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import body_is, fence, is_, kid, local, text

CARBONS = "urn:xmpp:carbons:2"
FORWARD = "urn:xmpp:forward:0"
SID = "urn:xmpp:sid:0"


def inner(e, name):
    w = kid(e, name, CARBONS)
    return None if w is None else w.find("{%s}forwarded/{jabber:client}message" % FORWARD)


def carbon(name, word):
    def test(e):
        m = inner(e, name) if local(e) == "message" else None
        return m is not None and (text(m) or "") == word
    test.text = "%s carbon of %r" % (name, word)
    return test


class Carbons(ServerCase):
    def enable(self, c):
        self.assertResult(c.iq("set", "<enable xmlns='%s'/>" % CARBONS))
        return c

    def two(self, **kw):
        name = self.user()
        return self.login(name, "one", **kw), self.enable(self.login(name, "two", **kw))

    def copies(self, c, name=None):
        return [e for e in c.drain() if local(e) == "message" and any(inner(e, n) is not None for n in ([name] if name else ("sent", "received")))]

    def test_features(self):
        a = self.login()
        f = {e.get("var") for e in a.get("http://jabber.org/protocol/disco#info", to=lab.DOMAIN).iter() if local(e) == "feature"}
        self.assertLessEqual({CARBONS, CARBONS.replace("carbons:2", "carbons:rules:0")}, f)

    def test_sent(self):
        one, two = self.two()
        b = self.login()
        one.message(b.bare, "hello", id_="m1")
        got = two.wait(carbon("sent", "hello"))
        self.assertEqual((got.get("from"), got.get("to"), got.get("type")), (two.bare, two.jid, "chat"))
        m = inner(got, "sent")
        self.assertEqual((m.get("from"), m.get("to"), m.get("id")), (one.jid, b.bare, "m1"))
        self.assertEqual(kid(m, "stanza-id", SID).get("by"), one.bare)
        fence(b, one)
        self.assertEqual(self.copies(one), [], "the sender gets no copy")

    def test_received(self):
        one, two = self.two()
        b = self.login()
        b.message(one.jid, "for one")
        m = inner(two.wait(carbon("received", "for one")), "received")
        self.assertEqual((m.get("from"), m.get("to")), (b.jid, one.jid))
        self.assertEqual(kid(m, "stanza-id", SID).get("id"), kid(one.wait(body_is("for one")), "stanza-id", SID).get("id"))

    def test_no_copy_for_who_has_it(self):
        one, two = self.two()
        b = self.login()
        b.message(one.bare, "to both")      # same priority: both get it
        one.wait(body_is("to both"))
        two.wait(body_is("to both"))
        fence(b, two)
        self.assertEqual(self.copies(two), [])

    def test_negative_priority_gets_copy(self):
        name = self.user()
        one, two = self.login(name, "one"), self.enable(self.login(name, "two", priority=-1))
        b = self.login()
        b.message(one.bare, "low")
        two.wait(carbon("received", "low"))
        del one

    def test_disable(self):
        one, two = self.two()
        b = self.login()
        self.assertResult(two.iq("set", "<enable xmlns='%s'/>" % CARBONS))
        self.assertResult(two.iq("set", "<disable xmlns='%s'/>" % CARBONS))
        self.assertResult(two.iq("set", "<disable xmlns='%s'/>" % CARBONS))
        b.message(one.jid, "quiet")
        one.wait(body_is("quiet"))
        fence(b, two)
        self.assertEqual(self.copies(two), [])

    def test_rules(self):
        one, two = self.two()
        b = self.login()
        state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        for type_, body, extra, copied in (
                ("chat", None, state, True), ("chat", None, "<x xmlns='any:thing'/>", True), (None, "b", "", True), ("normal", "b", "", True),
                (None, None, "<x xmlns='any:thing'/>", False), ("headline", "b", "", False),
                (None, None, "<received xmlns='urn:xmpp:receipts' id='1'/>", True),
                (None, None, "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", True),
                (None, None, "<x xmlns='jabber:x:conference' jid='r@c'/>", True),
                (None, None, "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>", True),
                ("chat", "pm", "<x xmlns='http://jabber.org/protocol/muc#user'/>", False),
                ("chat", "b", "<private xmlns='%s'/>" % CARBONS, False),
                ("chat", "b", "<no-copy xmlns='urn:xmpp:hints'/>", False)):
            b.message(one.jid, body, type_, extra)
            fence(b, one)
            fence(b, two)
            got = [e for e in self.copies_since(two)]
            self.assertEqual(len(got), int(copied), (type_, body, extra))

    def copies_since(self, c):
        out = [e for e in c.seen if local(e) == "message" and inner(e, "received") is not None and not (text(inner(e, "received")) or "").startswith("fence")]
        c.seen.clear()
        return out

    def test_sent_muc_pm_is_copied(self):
        one, two = self.two()
        b = self.login()
        one.message(b.jid, "pm", inner="<x xmlns='http://jabber.org/protocol/muc#user'/>")
        two.wait(carbon("sent", "pm"))

    def test_private_stays(self):
        """Section 9: the element and the hint are not removed."""
        one, two = self.two()
        b = self.login()
        one.message(b.bare, "p", inner="<private xmlns='%s'/><no-copy xmlns='urn:xmpp:hints'/>" % CARBONS)
        self.assertIsNotNone(kid(b.wait(body_is("p")), "private", CARBONS))
        fence(b, two)
        self.assertEqual(self.copies(two), [])

    def test_between_own_clients(self):
        one, two = self.two()
        self.enable(one)
        name = two.bare.partition("@")[0]
        three = self.enable(self.login(name, "three"))
        one.message(two.jid, "own")
        two.wait(body_is("own"))
        three.wait(carbon("received", "own"))
        fence(two, one)
        self.assertEqual(self.copies(one), [])

    def test_hibernated_gets_copies(self):
        name = self.user()
        one = self.login(name, "one")
        two = self.enable(self.login(name, "two", sm=True))
        two.cut()
        b = self.login()
        b.message(one.jid, "while away")
        one.wait(body_is("while away"))
        again = self.authed(name)
        again.sm_resume(two)
        again.wait(carbon("received", "while away"))

    def test_copies_are_not_stored(self):
        """A copy whose client never came back is not delivered elsewhere (the original is in the archive)."""
        name = self.user()
        one = self.login(name, "one")
        two = self.enable(self.login(name, "two"))
        b = self.login()
        b.message(one.jid, "x")
        two.wait(carbon("received", "x"))
        two.cut()
        one.close()
        late = self.login(name, "late")
        fence(b, late)
        self.assertEqual(self.copies(late), [])

    def test_forged_wrappers(self):
        a, b = self.login(), self.enable(self.login())
        for name in ("sent", "received"):
            a.message(b.bare, "evil", inner="<%s xmlns='%s'><forwarded xmlns='%s'><message xmlns='jabber:client' from='x@y/z' to='%s'><body>forged</body></message></forwarded></%s>" % (
                name, CARBONS, FORWARD, b.bare, name))
        for _ in range(2):
            got = b.wait(body_is("evil"))
            self.assertIsNone(inner(got, "sent"))
            self.assertIsNone(inner(got, "received"))

    def test_forged_rights(self):
        """Only the server grants privileges (XEP-0356) and delegates (XEP-0355)."""
        a, b = self.login(), self.login()
        a.message(b.bare, "rights", inner="<privilege xmlns='urn:xmpp:privilege:2'><perm access='roster' type='both'/></privilege>"
                  "<delegation xmlns='urn:xmpp:delegation:2'/><other xmlns='urn:xmpp:other'/>")
        got = b.wait(body_is("rights"))
        self.assertEqual([local(e) for e in got if local(e) in ("privilege", "delegation", "other")], ["other"])

    def test_forged_delay(self):
        a, b = self.login(), self.login()
        a.message(b.bare, "late", inner="<delay xmlns='%s' from='%s' stamp='2001-01-01T00:00:00Z'/><delay xmlns='%s' from='else.where' stamp='2001-01-01T00:00:00Z'/>" % (
            xmppc.DELAY, lab.DOMAIN, xmppc.DELAY))
        got = b.wait(body_is("late"))
        self.assertEqual([d.get("from") for d in got if local(d) == "delay"], ["else.where"])

    def test_only_own(self):
        a, b = self.login(), self.login()
        self.assertError(a.iq("set", "<enable xmlns='%s'/>" % CARBONS, b.bare), ("forbidden", "service-unavailable", "not-allowed"))


if __name__ == "__main__":
    lab.main()
