"""test_spec_delivery - RFC 6121 sections 5.2 and 8.5, cell by cell: which stanza goes where."""
import lab
import xmppc
from case import at, settle
from speclib import SpecCase, presences
from xmppc import is_, kid, local, show, text

TYPES = ("normal", "chat", "groupchat", "headline")
UNKNOWN = "<query xmlns='t:nobody-knows'/>"
VERSION = "<query xmlns='jabber:iq:version'/>"


class Messages(SpecCase):
    """Table 1.  A set-up is a list of priorities: None is connected only."""

    def receiver(self, priorities):
        u = self.user()
        out = []
        for p in priorities:
            out.append(self.login(u, presence=p is not None, priority=p))
        for s in out:
            s.sync()
        return u, out

    def send(self, to, type_):
        """The sender, and what came back to it."""
        a, word = self.login(), lab.token("b")
        id_ = a.message(to, word, type_)
        settle(a, to.partition("/")[0])
        back = [e for e in a.drain() if local(e) == "message"]
        for e in back:
            self.assertEqual((e.get("type"), e.get("id"), e.get("from"), e.get("to")), ("error", id_, to, a.jid))
        return a, word, back

    def got(self, a, s, word):
        return [e for e in xmppc.fence(a, s) if local(e) == "message" and text(e) == word]

    def cell(self, priorities, to, type_, allowed):
        """allowed: letters of table 1 that may happen; M: the highest priority, A: all non-negative."""
        with self.subTest("%s %s %s" % (priorities, to, type_)):
            u, sessions = self.receiver(priorities)
            full = None if to == "bare" else sessions[0].jid if to == "match" else at(u) + "/no-match"
            a, word, back = self.send(full or at(u), type_)
            taken = [bool(self.got(a, s, word)) for s in sessions]
            usable = [p is not None and p >= 0 for p in priorities]
            best = max([p for p in priorities if p is not None], default=-1)
            outcomes = {
                "D": taken == ([i == 0 for i in range(len(sessions))] if to == "match" else usable) and not back,
                "A": taken == usable and any(usable) and not back,
                "M": any(taken) and all(not t or (p == best) for t, p in zip(taken, priorities)) and not back,
                "E": not any(taken) and len(back) == 1,
            }
            happened = {k for k, v in outcomes.items() if v}
            if not any(taken) and not back:
                late = self.login(u, presence=False)
                late.presence(priority=100)
                happened.add("O" if [e for e in self.got(a, late, word)] else "S")
            for e in back:
                self.assertError(e, "service-unavailable", "cancel")
            self.assertTrue(happened & set(allowed), "%s, allowed %s; taken %s" % (happened, allowed, taken))

    def table(self, priorities, rows):
        for to, cells in rows.items():
            for type_, allowed in zip(TYPES, cells.split()):
                self.cell(priorities, to, type_, allowed)

    def test_no_resources(self):
        self.table([], {"bare": "OE OE E S", "full": "SE OE SE SE"})

    def test_connected_only(self):
        self.table([None], {"bare": "OE OE E S", "match": "D D D D", "full": "SE OE SE SE"})

    def test_negative_only(self):
        self.table([-1], {"bare": "OE OE E S", "match": "D D D D", "full": "SE OE SE SE"})

    def test_two_negative(self):
        self.table([-1, -128], {"bare": "OE OE E S", "match": "D D D D", "full": "SE OE SE SE"})

    def test_one_non_negative(self):
        self.table([0], {"bare": "D D E D", "match": "D D D D", "full": "SE D SE SE"})

    def test_one_non_negative_one_negative(self):
        self.table([0, -1], {"bare": "DA DA E DA", "match": "D D D D", "full": "SE DA SE SE"})

    def test_negative_match_beside_a_non_negative(self):
        self.table([-1, 5], {"match": "D D D D"})

    def test_several_non_negative(self):
        self.table([5, 5], {"bare": "MA MA E A", "match": "D D D D", "full": "SE MA SE SE"})

    def test_different_priorities(self):
        self.table([1, 5], {"bare": "MA MA E A", "match": "D D D D", "full": "SE MA SE SE"})

    def test_no_such_account(self):
        for to, cells in (("", "SE SE E S"), ("/r", "SE SE SE SE")):
            for type_, allowed in zip(TYPES, cells.split()):
                with self.subTest(to, type=type_):
                    a, word, back = self.send(at("nobody-there") + to, type_)
                    self.assertIn("E" if back else "S", allowed)
                    for e in back:
                        self.assertError(e, "service-unavailable")

    def test_errors_are_never_answered_nor_kept(self):
        for priorities in ([], [-1], [0], [None]):
            for to in ("", "/no-match"):
                u, sessions = self.receiver(priorities)
                a, word = self.login(), lab.token("b")
                a.send("<message type='error' to='%s' id='e'><body>%s</body><error type='cancel'><gone xmlns='%s'/></error>"
                       "</message>" % (at(u) + to, word, xmppc.STANZA_ERRORS))
                settle(a, at(u))
                self.none_of(a.drain(), "message")
                late = self.login(u, presence=False)
                late.presence(priority=3)
                for s in sessions + [late]:
                    self.assertEqual(self.got(a, s, word), [])

    def test_error_to_a_matching_resource(self):
        for p in (0, -1, None):
            u, (s,) = self.receiver([p])
            a = self.login()
            a.send("<message type='error' to='%s' id='e9'><error type='cancel'><gone xmlns='%s'/></error></message>" % (
                s.jid, xmppc.STANZA_ERRORS))
            self.assertError(s.wait(is_("message", id="e9")), "gone")

    # 5.2.2: no type and unknown types are "normal"
    def test_no_type_is_normal(self):
        for type_ in (None, "no-such-type"):
            with self.subTest(type_):
                u, (s, n) = self.receiver([0, -1])
                a, word, back = self.send(at(u), type_)
                if type_ and back:
                    self.assertError(back[0], "bad-request")
                    continue
                self.assertEqual(back, [])
                e, = self.got(a, s, word)
                self.assertIn(e.get("type"), (type_, None, "normal"))
                self.assertEqual(self.got(a, n, word), [])

    def test_no_type_to_an_offline_user_and_to_no_match(self):
        u, _ = self.receiver([])
        a, word, back = self.send(at(u), None)
        if not back:
            b = self.login(u)
            self.assertEqual(len(self.got(a, b, word)), 1)
        u, (s,) = self.receiver([0])
        a, word, back = self.send(at(u) + "/no-match", None)
        self.assertEqual(self.got(a, s, word), [])

    # 8.5.2.1.1: 'to' stays; the content too
    def test_nothing_is_rewritten(self):
        u, (s,) = self.receiver([0])
        a = self.login()
        for to in (at(u), s.jid):
            word = lab.token("w")
            a.send("<message to='%s' id='i&amp;1' type='chat' xml:lang='de'><subject>s</subject><body>%s</body>"
                   "<body xml:lang='en'>x &lt;&#13;&gt;</body><thread parent='p'>t</thread><x xmlns='t:x' a='\"'><y/>z</x></message>" % (to, word))
            e = s.wait(lambda e: text(e) == word)
            self.assertEqual((e.get("to"), e.get("from"), e.get("id"), e.get("type")), (to, a.jid, "i&1", "chat"))
            self.assertEqual(e.get("{http://www.w3.org/XML/1998/namespace}lang"), "de")
            self.assertEqual([c.tag.rpartition("}")[2] for c in e][:5], ["subject", "body", "body", "thread", "x"])
            self.assertEqual(e[2].get("{http://www.w3.org/XML/1998/namespace}lang"), "en")
            self.assertEqual((e[2].text, e[3].get("parent"), e[4].get("a"), e[4][0].tail), ("x <\r>", "p", '"', "z"))

    def test_offline_messages_come_in_order_with_delay(self):
        u, _ = self.receiver([])
        a = self.login()
        words = [lab.token("o") for _ in range(5)]
        for i, w in enumerate(words):
            a.message(at(u), w, "chat" if i % 2 else "normal")
        settle(a, at(u))
        b = self.login(u)
        got = [b.wait(lambda e: local(e) == "message") for _ in words]
        self.assertEqual([text(e) for e in got], words)
        for e in got:
            d = kid(e, "delay", xmppc.DELAY)
            self.assertIsNotNone(d)
            self.assertEqual(d.get("from"), "lab.test")
            self.assertRegex(d.get("stamp"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
            self.assertEqual((e.get("from"), e.get("to")), (a.jid, at(u)))

    def test_offline_messages_wait_for_a_non_negative_resource(self):
        u, (n,) = self.receiver([-1])
        a, word, back = self.send(at(u), "chat")
        self.assertEqual(back, [])
        c = self.login(u, presence=False)
        self.assertEqual(self.got(a, c, word) + self.got(a, n, word), [])
        n.presence(priority=0)
        n.wait(xmppc.body_is(word))

    def test_priority_may_change(self):
        a, b = self.login(), self.login(priority=1)
        b.presence(priority=-1)
        b.sync()
        a.message(b.bare, "negative")
        settle(a, b.bare)
        self.assertEqual(self.got(a, b, "negative"), [])
        b.presence(priority=0)
        b.wait(lambda e: text(e) == "negative")

    def test_to_oneself(self):
        u, (s, t) = self.receiver([0, 0])
        word = lab.token("b")
        s.message(t.jid, word)
        t.wait(xmppc.body_is(word))
        s.message(at(u), word + "2")
        self.assertTrue(any(text(e) == word + "2" for e in xmppc.fence(s, s) + xmppc.fence(s, t)))
        s.send("<message type='chat' id='q'><body>%s</body></message>" % (word + "3"))     # no 'to': 8.2, RFC 6120 10.3
        got = xmppc.fence(s, s) + xmppc.fence(s, t)
        self.assertTrue(any(text(e) == word + "3" and e.get("type") == "chat" for e in got), [show(e) for e in got])


class Iq(SpecCase):
    # 8.5.1
    def test_no_such_account(self):
        a = self.login()
        for to in (at("nobody-there"), at("nobody-there") + "/r"):
            for type_ in ("get", "set"):
                for payload in (UNKNOWN, VERSION, "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='%s'/>" % xmppc.DISCO_INFO):
                    with self.subTest(to, type=type_, payload=payload):
                        r = a.iq(type_, payload, to)
                        self.assertError(r, "service-unavailable", "cancel")
                        self.assertEqual(r.get("from"), to)

    # 8.5.2.1.3, 8.5.2.2.3
    def test_bare_is_answered_by_the_server(self):
        a = self.login()
        for online in (True, False):
            u = self.user()
            s = self.login(u) if online else None
            for type_ in ("get", "set"):
                for payload in (UNKNOWN, VERSION, "<x xmlns='urn:xmpp:time'/>"):
                    r = a.iq(type_, payload, at(u))
                    self.assertError(r, "service-unavailable", "cancel")
                    self.assertEqual(r.get("from"), at(u))
            for type_ in ("result", "error"):
                a.send("<iq type='%s' id='q' to='%s'/>" % (type_, at(u)))
            settle(a, at(u))
            self.assertEqual([show(e) for e in a.drain()], [])
            if s:
                self.none_of(xmppc.fence(a, s), "iq")

    def test_bare_vcard_is_answered_for_the_user(self):
        a, u = self.login(), self.user()
        r = a.iq("get", "<vCard xmlns='vcard-temp'/>", at(u))
        self.assertIn(xmppc.error_of(r), (None, ("cancel", "item-not-found"), ("cancel", "service-unavailable")))

    # 8.5.3.1
    def asked(self, a, b):
        """What becomes of requests from a to the resource b: delivered or refused."""
        out = []
        for type_ in ("get", "set"):
            id_ = a.new_id()
            a.send("<iq type='%s' id='%s' to='%s'>%s</iq>" % (type_, id_, b.jid, UNKNOWN))
            got = [e for e in xmppc.fence(a, b) if local(e) == "iq" and e.get("id") == id_]
            if got:
                self.assertEqual((got[0].get("from"), got[0].get("to"), got[0].get("type")), (a.jid, b.jid, type_))
                b.send("<iq type='result' id='%s' to='%s'/>" % (id_, a.jid))
                self.assertEqual(a.reply(id_).get("from"), b.jid)
            else:
                r = a.reply(id_)
                self.assertError(r, "service-unavailable", "cancel")
                self.assertEqual(r.get("from"), b.jid)
            out.append(bool(got))
        self.assertEqual(out[0], out[1])
        return out[0]

    def test_full_jid_of_a_stranger(self):
        """Refusing is a SHOULD this server does not follow: file transfers and calls begin so.  Either is told plainly."""
        a, b = self.login(), self.login()
        self.asked(a, b)

    def test_full_jid_after_directed_presence(self):
        a, b = self.login(), self.login()
        b.presence(to=a.jid)
        a.wait(is_("presence", from_=b.jid))
        self.assertTrue(self.asked(a, b))

    def test_full_jid_after_directed_presence_to_the_bare_address(self):
        a, b = self.login(), self.login()
        b.presence(to=a.bare)
        a.wait(is_("presence", from_=b.jid))
        self.assertTrue(self.asked(a, b))

    def test_full_jid_of_friends(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        self.assertTrue(self.asked(a, b))

    def test_full_jid_follows_the_subscription_from(self):
        a, b = self.interested(), self.interested()
        a.presence("subscribe", b.bare)
        b.wait(is_("presence", type_="subscribe"))
        b.presence("subscribed", a.bare)
        a.wait(is_("presence", from_=b.jid, type_=None))
        self.assertTrue(self.asked(a, b))       # b's roster: from

    def test_full_jid_of_an_own_resource(self):
        u = self.user()
        a, b, c = self.login(u), self.login(u), self.login(u, presence=False)
        self.assertTrue(self.asked(a, b))
        self.assertTrue(self.asked(a, c))

    def test_answers_are_delivered_to_anybody(self):
        a, b = self.login(), self.login(presence=False)
        for type_ in ("result", "error"):
            a.send("<iq type='%s' id='ans-%s' to='%s'>%s</iq>" % (
                type_, type_, b.jid, "" if type_ == "result" else "<error type='cancel'><gone xmlns='%s'/></error>" % xmppc.STANZA_ERRORS))
            self.assertEqual(b.wait(is_("iq", id="ans-" + type_)).get("from"), a.jid)

    # 8.5.3.2.3
    def test_full_jid_without_match(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        for u in (b.bare, at(self.user())):
            to = u + "/no-match"
            for type_ in ("get", "set"):
                r = a.iq(type_, UNKNOWN, to)
                self.assertError(r, "service-unavailable", "cancel")
                self.assertEqual(r.get("from"), to)
            for type_ in ("result", "error"):
                a.send("<iq type='%s' id='zz' to='%s'/>" % (type_, to))
            settle(a, u)
            self.none_of(a.drain(), "iq", id="zz")
        self.none_of(xmppc.fence(a, b), "iq")


class Presences(SpecCase):
    # 8.5.1
    def test_to_nobody(self):
        for to in (at("nobody-there"), at("nobody-there") + "/r"):
            for type_ in (None, "unavailable", "subscribed", "unsubscribe", "unsubscribed", "error", "probe"):
                with self.subTest(to, type=type_):
                    a = self.login()
                    a.presence(type_, to, id_="pn")
                    settle(a, at("nobody-there"))
                    got = presences(a.drain())
                    allowed = [[]] + ([[("unsubscribed", at("nobody-there"))]] if type_ == "probe" else [])
                    self.assertIn([(e.get("type"), e.get("from")) for e in got], allowed)

    # 8.5.2.1.2
    def test_to_bare_goes_to_all_available(self):
        for type_ in (None, "unavailable"):
            u = self.user()
            s = [self.login(u), self.login(u, priority=-1), self.login(u, presence=False)]
            a = self.login()
            a.presence(type_, at(u), inner="<status>here</status>", id_="px")
            for i in (0, 1):
                e = s[i].wait(is_("presence", id="px"))
                self.assertEqual((e.get("to"), e.get("from"), e.get("type"), text(e, "status")), (at(u), a.jid, type_, "here"))
            self.none_of(xmppc.fence(a, s[2]), "presence", id="px")

    # 8.5.2.2.2
    def test_to_bare_of_an_offline_user_is_dropped(self):
        for type_ in (None, "unavailable"):
            u, a = self.user(), self.login()
            a.presence(type_, at(u), id_="px")
            settle(a, at(u))
            self.none_of(a.drain(), "presence")
            if type_ == "unavailable":
                b = self.login(u)
                self.none_of(xmppc.fence(a, b), "presence", id="px")

    # 8.5.3.1
    def test_to_a_resource(self):
        for type_ in (None, "unavailable"):
            for p in (0, -1):
                u = self.user()
                s, o = self.login(u, priority=p), self.login(u)
                a = self.login()
                a.presence(type_, s.jid, id_="px")
                e = s.wait(is_("presence", id="px"))
                self.assertEqual((e.get("to"), e.get("from")), (s.jid, a.jid))
                self.none_of(xmppc.fence(a, o), "presence", id="px")

    # 8.5.3.2.2
    def test_to_no_matching_resource(self):
        u = self.user()
        s, a = self.interested(u), self.login()
        for type_ in (None, "unavailable", "error", "subscribed", "unsubscribed", "unsubscribe"):
            a.presence(type_, at(u) + "/no-match", id_="px")
            settle(a, at(u))
            self.none_of(a.drain(), "presence", type_="error")
            self.none_of(xmppc.fence(a, s), "presence", id="px")


if __name__ == "__main__":
    lab.main()
