"""test_spec_carbons - XEP-0280 and XEP-0352, rule by rule."""
import lab
import xmppc
from case import at, settle
from lab import DOMAIN
from speclib import SpecCase
from xmppc import DISCO_INFO, body_is, is_, kid, local, show, text

CARBONS = "urn:xmpp:carbons:2"
FORWARD = "urn:xmpp:forward:0"
HINTS = "urn:xmpp:hints"
USER = "http://jabber.org/protocol/muc#user"
STATES = "http://jabber.org/protocol/chatstates"


def carbon(e):
    """(sent or received, the message) of a carbon; None if it is none."""
    for kind in ("sent", "received"):
        c = kid(e, kind, CARBONS)
        if c is not None:
            return kind, kid(kid(c, "forwarded", FORWARD), "message", xmppc.CLIENT)
    return None


class Carbons(SpecCase):
    def enable(self, c, on=True):
        self.assertResult(c.iq("set", "<%s xmlns='%s'/>" % ("enable" if on else "disable", CARBONS)))

    def three(self, **kw):
        """Two resources with carbons, one without, of one user; and another user."""
        u = self.user()
        a, b, c = self.login(u), self.login(u, **kw), self.login(u)
        self.enable(a), self.enable(b)
        return a, b, c, self.login()

    def copies(self, sender, s):
        out = [(e, *carbon(e)) for e in xmppc.fence(sender, s) if local(e) == "message" and carbon(e)]
        return [x for x in out if not (text(x[2]) or "").startswith("fence")]     # of a fence to the others

    # 3
    def test_disco(self):
        features = {f.get("var") for f in self.login().get(DISCO_INFO, to=DOMAIN).iter("{%s}feature" % DISCO_INFO)}
        self.assertIn(CARBONS, features)
        self.assertIn(CARBONS.replace("carbons:2", "carbons:rules:0"), features)

    # 4, 5, 10.1
    def test_enable_and_disable_again_and_again(self):
        c = self.login()
        for on in (True, True, False, False, True, False):
            self.enable(c, on)

    def test_enable_addressed_to_the_own_account(self):
        c = self.login()
        self.assertResult(c.iq("set", "<enable xmlns='%s'/>" % CARBONS, c.bare))

    def test_for_others_is_refused(self):
        c, o = self.login(), self.login()
        for name in ("enable", "disable"):
            self.assertError(c.iq("set", "<%s xmlns='%s'/>" % (name, CARBONS), o.bare), ("not-allowed", "forbidden", "service-unavailable"))

    def test_get_is_refused(self):
        self.assertEqual(self.login().iq("get", "<enable xmlns='%s'/>" % CARBONS).get("type"), "error")

    # 7
    def test_received(self):
        a, b, c, o = self.three()
        o.message(a.jid, "hey", id_="r1", inner="<thread>t</thread>")
        e = a.wait(is_("message", id="r1"))
        self.assertIsNone(carbon(e))
        (w, kind, m), = self.copies(o, b)
        self.assertEqual((w.get("from"), w.get("to"), w.get("type"), kind), (b.bare, b.jid, "chat", "received"))
        self.assertEqual((m.get("from"), m.get("to"), m.get("id"), m.get("type"), text(m), text(m, "thread")),
                         (o.jid, a.jid, "r1", "chat", "hey", "t"))
        self.assertEqual(self.copies(o, a) + self.copies(o, c), [])

    def test_received_by_bare_address(self):
        """Who got the message itself gets no copy; each has it exactly once."""
        for priorities in ((0, 0), (5, 0), (0, -1), (-1, 3)):
            u = self.user()
            s = [self.login(u, priority=p) for p in priorities]
            for x in s:
                self.enable(x)
            o = self.login()
            o.message(at(u), "bare", id_="b1")
            settle(o, at(u))
            for x in s:
                got = xmppc.fence(o, x)
                n = sum(1 for e in got if local(e) == "message" and (e.get("id") == "b1" or (carbon(e) and carbon(e)[1].get("id") == "b1")))
                self.assertEqual(n, 1, priorities)
            n = [x for x in s if any(e.get("id") == "b1" and not carbon(e) for e in x.seen)]
            for x, p in zip(s, priorities):
                if p < 0:
                    self.assertNotIn(x, n)

    def test_a_resource_that_is_only_connected_gets_copies(self):
        u = self.user()
        a, b, o = self.login(u), self.login(u, presence=False), self.login()
        self.enable(b)
        o.message(a.jid, "x", id_="c1")
        self.assertEqual([m.get("id") for _, _, m in self.copies(o, b)], ["c1"])

    def test_own_messages_between_resources(self):
        a, b, c, o = self.three()
        a.message(c.jid, "self", id_="s1")
        c.wait(is_("message", id="s1"))
        kinds = [k for _, k, m in self.copies(a, b) if m.get("id") == "s1"]
        self.assertEqual(len(kinds), 1)
        self.assertEqual([k for _, k, m in self.copies(c, a) if m.get("id") == "s1"], [])

    # 8
    def test_sent(self):
        a, b, c, o = self.three()
        for s in (a, c):        # c has no carbons itself
            id_ = lab.token("s")
            s.message(o.jid, "out", id_=id_)
            o.wait(is_("message", id=id_))
            (w, kind, m), = self.copies(s, b)
            self.assertEqual((w.get("from"), w.get("to"), w.get("type"), kind), (b.bare, b.jid, "chat", "sent"))
            self.assertEqual((m.get("from"), m.get("to"), m.get("id"), text(m)), (s.jid, o.jid, id_, "out"))
            self.assertEqual(len(self.copies(s, a)), 0 if s is a else 1)
            self.assertEqual(self.copies(s, c), [])

    def test_sent_to_a_bare_address_without_from(self):
        a, b, c, o = self.three()
        a.send("<message to='%s' type='chat' id='nf'><body>x</body></message>" % o.bare)
        (w, kind, m), = self.copies(a, b)
        self.assertEqual((kind, m.get("from"), m.get("to")), ("sent", a.jid, o.bare))

    def test_sent_to_other_domains(self):
        a, b, c, o = self.three()
        k = self.contact()
        a.message(k.jid, "far", id_="far")
        self.assertEqual([m.get("id") for _, _, m in self.copies(a, b)], ["far"])
        k.say("message", a.jid, "<body>back</body>", type="chat", id="back", resource="r")
        a.wait(is_("message", id="back"))
        b.wait(lambda e: local(e) == "message" and carbon(e) and carbon(e)[1].get("id") == "back")

    def test_after_disable_none(self):
        a, b, c, o = self.three()
        self.enable(b, False)
        o.message(a.jid, "x")
        a.message(o.jid, "y")
        self.assertEqual(self.copies(o, b) + self.copies(a, b), [])

    # 6.1
    def eligible(self, want, type_, inner, body=None):
        with self.subTest(type=type_, inner=inner, body=body):
            a, b, c, o = self.three()
            o.message(a.jid, body, type_, inner, id_="el")
            a.wait(is_("message", id="el"))
            self.assertEqual([m.get("id") for _, _, m in self.copies(o, b)], ["el"] if want else [])
            a.message(o.jid, body, type_, inner, id_="el2")
            o.wait(is_("message", id="el2"))
            self.assertEqual([m.get("id") for _, _, m in self.copies(a, b)], ["el2"] if want else [])

    def test_rules(self):
        for want, type_, inner, body in (
                (True, "chat", "", "x"), (True, "chat", "<x xmlns='t:x'/>", None), (True, "normal", "", "x"), (True, None, "", "x"),
                (False, "normal", "<x xmlns='t:x'/>", None), (False, "headline", "", "x"), (False, "groupchat", "", "x"),
                (True, "normal", "<received xmlns='urn:xmpp:receipts' id='1'/>", None),
                (True, "normal", "<request xmlns='urn:xmpp:receipts'/>", None),
                (True, "normal", "<composing xmlns='%s'/>" % STATES, None), (True, "chat", "<gone xmlns='%s'/>" % STATES, None),
                (True, "normal", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", None),
                (True, "normal", "<markable xmlns='urn:xmpp:chat-markers:0'/>", None),
                (True, "normal", "<x xmlns='jabber:x:conference' jid='r@muc.test'/>", None),
                (False, "chat", "<private xmlns='%s'/><no-copy xmlns='%s'/>" % (CARBONS, HINTS), "x"),
                (False, "chat", "<private xmlns='%s'/>" % CARBONS, "x"),
                (True, "chat", "<no-store xmlns='%s'/>" % HINTS, "x")):
            self.eligible(want, type_, inner, body)

    def test_no_copy_hint(self):
        """XEP-0334 4.3: should not be copied, to whom it is not addressed."""
        self.eligible(False, "chat", "<no-copy xmlns='%s'/>" % HINTS, "x")

    def test_mediated_invitation(self):
        a, b, c, o = self.three()
        k = self.contact()
        k.say("message", a.bare, "<x xmlns='%s'><invite from='x@y.test'/></x>" % USER, id="inv")
        lab.wait_until(lambda: all(any(e.get("id") == "inv" or (carbon(e) and carbon(e)[1].get("id") == "inv")
                                       for e in s.seen if local(e) == "message") for s in (a, b) if s.pump(0.05) is None),
                       text="the invitation at both")

    def test_private_message_from_an_occupant_is_not_copied(self):
        a, b, c, o = self.three()
        k = self.contact()
        k.say("message", a.jid, "<body>pm</body><x xmlns='%s'/>" % USER, type="chat", id="pm", resource="nick")
        a.wait(is_("message", id="pm"))
        self.assertEqual(self.copies(a, b), [])

    def test_private_message_to_an_occupant_is_copied(self):
        a, b, c, o = self.three()
        k = self.contact()
        a.message(k.jid + "/nick", "pm", inner="<x xmlns='%s'/>" % USER, id_="pm")
        k.wait("message", id="pm")
        self.assertEqual([m.get("id") for _, kind, m in self.copies(a, b)], ["pm"])

    def test_errors_of_eligible_messages_are_copied(self):
        a, b, c, o = self.three()
        id_ = a.message(at("nobody-there"), "x")
        a.wait(is_("message", type_="error", id=id_))
        settle(a, at("nobody-there"))
        got = [(k, m.get("type")) for _, k, m in self.copies(a, b)]
        self.assertIn(("sent", "chat"), got)
        self.assertIn(("received", "error"), got)

    # 9: the elements stay
    def test_private_is_delivered_as_it_is(self):
        a, b, c, o = self.three()
        o.message(a.jid, "p", inner="<private xmlns='%s'/><no-copy xmlns='%s'/>" % (CARBONS, HINTS))
        self.assertIsNotNone(kid(a.wait(body_is("p")), "no-copy", HINTS))

    # 10.3
    def test_errors_of_copies_go_nowhere(self):
        a, b, c, o = self.three()
        o.message(a.jid, "x", id_="orig")
        (w, kind, m), = self.copies(o, b)
        b.send("<message type='error' to='%s' id='%s'><error type='cancel'><gone xmlns='%s'/></error></message>" % (
            b.bare, w.get("id") or "orig", xmppc.STANZA_ERRORS))
        settle(b, b.bare)
        self.none_of(xmppc.fence(b, o), "message", type_="error")

    # 11
    def test_forged_carbons_keep_their_from(self):
        a, b, c, o = self.three()
        o.send("<message to='%s' type='chat' id='fg'><received xmlns='%s'><forwarded xmlns='%s'><message xmlns='jabber:client' from='x@y' "
               "to='%s'><body>z</body></message></forwarded></received></message>" % (a.jid, CARBONS, FORWARD, a.jid))
        self.assertEqual(a.wait(is_("message", id="fg")).get("from"), o.jid)
        self.assertEqual([show(w) for w, _, m in self.copies(o, b) if w.get("from") not in (b.bare, o.jid)], [])

    def test_offline_messages_are_no_carbons(self):
        u, o = self.user(), self.login()
        o.message(at(u), "off", id_="of")
        settle(o, at(u))
        a = self.login(u, presence=False)
        self.enable(a)
        b = self.login(u)
        b.wait(is_("message", id="of"))
        self.assertEqual(self.copies(b, a), [])


class Csi(SpecCase):
    NS = "urn:xmpp:csi:0"

    def test_feature(self):
        c = self.authed()
        self.assertIsNotNone(c.features.find("{%s}csi" % self.NS))

    def test_states_may_come_in_any_order_and_are_not_answered(self):
        c = self.login()
        c.drain()
        for s in ("active", "active", "inactive", "inactive", "active"):
            c.send("<%s xmlns='%s'/>" % (s, self.NS))
        c.sync()
        self.assertEqual([show(e) for e in c.drain()], [])

    def test_nothing_is_lost_while_inactive(self):
        a, b = self.interested(), self.login()
        self.friends(a, b)
        a.send("<inactive xmlns='%s'/>" % self.NS)
        a.sync()
        b.presence(inner="<show>away</show>")
        b.presence(inner="<show>dnd</show>")
        b.message(a.jid, None, inner="<composing xmlns='%s'/>" % STATES)
        b.message(a.jid, "wake up")
        a.wait(body_is("wake up"))
        a.send("<active xmlns='%s'/>" % self.NS)
        a.sync()
        shown = [text(e, "show") for e in a.seen if local(e) == "presence" and e.get("from") == b.jid]
        self.assertEqual(shown[-1], "dnd")

    def test_order_is_kept(self):
        a, b = self.interested(), self.login()
        self.friends(a, b)
        a.send("<inactive xmlns='%s'/>" % self.NS)
        a.sync()
        b.presence(inner="<show>xa</show>")
        b.message(a.jid, "m1", id_="m1")
        a.wait(is_("message", id="m1"))
        seen = [local(e) + (text(e, "show") or e.get("id") or "") for e in a.seen if e.get("from") == b.jid]
        self.assertLess(seen.index("presencexa"), seen.index("messagem1"))

    def test_answers_and_requests_come_at_once(self):
        a = self.login()
        a.send("<inactive xmlns='%s'/>" % self.NS)
        a.sync()
        self.assertResult(a.get("jabber:iq:roster"))


if __name__ == "__main__":
    lab.main()
