"""test_message - RFC 6121 8.5, table 1: every message type to every kind of address, and section 5."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import body_is, error_of, fence, is_, kid, local, text

TYPES = ("normal", "chat", "groupchat", "headline", "error")


class Rules(ServerCase):
    """Table 1.  Outcomes: E error to the sender, O offline, S silence, D delivered."""

    def outcome(self, type_, to, name, present):
        """Send one message of <type_> and tell what became of it: a set of "E", "O" and the
        sessions of <present> that got it."""
        word = lab.token()
        sender = self.login()
        inner = "<error type='cancel'><gone xmlns='%s'/></error>" % xmppc.STANZA_ERRORS if type_ == "error" else ""
        sender.message(to, word, type_, inner, id_=word)
        settle(sender, at(name) if name else to)
        out = set()
        for c in present:
            if any(body_is(word)(e) for e in fence(sender, c)):
                out.add(c)
        # an error that came while the sender's offline mail was looked up waits behind it, and iqs pass by
        errors = [e for e in fence(sender, sender) if local(e) == "message" and e.get("id") == word]
        if errors:
            self.assertEqual(len(errors), 1)
            self.assertError(errors[0], ("service-unavailable", "recipient-unavailable", "item-not-found", "not-allowed"))
            self.assertEqual(errors[0].get("from"), to)
            out.add("E")
        if name:
            for c in present:
                c.close()
            later = self.login(name)
            if any(body_is(word)(e) for e in fence(later, later)):
                out.add("O")
            later.close()
        return out

    def one_of(self, got, *allowed):
        self.assertIn(got, [set(a) for a in allowed])

    def test_no_such_account(self):
        # the table says S for a bare address and headline, 8.5.1 allows an error for every type
        for type_ in TYPES:
            for to in (at("nobody-here"), at("nobody-here") + "/x"):
                with self.subTest(type=type_, to=to):
                    got = self.outcome(type_, to, None, ())
                    if type_ == "error":
                        self.one_of(got, "")
                    else:
                        self.one_of(got, "", "E")

    def test_offline_bare(self):
        for type_, allowed in (("normal", "OE"), ("chat", "OE"), ("groupchat", "E"), ("headline", ("",)), ("error", ("",))):
            with self.subTest(type=type_):
                name = self.user()
                self.one_of(self.outcome(type_, at(name), name, ()), *allowed)

    def test_offline_full(self):
        for type_, allowed in (("normal", ("", "E")), ("chat", ("O", "E")), ("groupchat", ("", "E")), ("headline", ("", "E")),
                               ("error", ("",))):
            with self.subTest(type=type_):
                name = self.user()
                self.one_of(self.outcome(type_, at(name) + "/gone", name, ()), *allowed)

    def test_negative_only(self):
        for type_, allowed in (("normal", "OE"), ("chat", "OE"), ("groupchat", "E"), ("headline", ("",)), ("error", ("",))):
            with self.subTest(type=type_, to="bare"):
                name = self.user()
                c = self.login(name, "neg", priority=-1)
                self.one_of(self.outcome(type_, at(name), name, (c,)), *allowed)
        for type_ in TYPES:
            with self.subTest(type=type_, to="match"):
                name = self.user()
                c = self.login(name, "neg", priority=-1)
                self.one_of(self.outcome(type_, c.jid, name, (c,)), (c,))
        for type_, allowed in (("normal", ("", "E")), ("chat", "OE"), ("groupchat", ("", "E")), ("headline", ("", "E")),
                               ("error", ("",))):
            with self.subTest(type=type_, to="no match"):
                name = self.user()
                c = self.login(name, "neg", priority=-1)
                self.one_of(self.outcome(type_, at(name) + "/gone", name, (c,)), *allowed)

    def test_one_available(self):
        for type_ in TYPES:
            with self.subTest(type=type_, to="bare"):
                name = self.user()
                c = self.login(name, "r")
                got = self.outcome(type_, at(name), name, (c,))
                self.one_of(got, {"groupchat": ("E",), "error": ()}.get(type_, (c,)))
            with self.subTest(type=type_, to="match"):
                name = self.user()
                c = self.login(name, "r")
                self.one_of(self.outcome(type_, c.jid, name, (c,)), (c,))
            with self.subTest(type=type_, to="no match"):
                name = self.user()
                c = self.login(name, "r")
                got = self.outcome(type_, at(name) + "/gone", name, (c,))
                if type_ == "chat":
                    self.one_of(got, (c,))
                elif type_ == "error":
                    self.one_of(got, ())
                else:
                    self.one_of(got, (), "E")

    def test_several_available(self):
        for type_ in TYPES:
            with self.subTest(type=type_, to="bare"):
                name = self.user()
                a, b, n = self.login(name, "a", priority=5), self.login(name, "b", priority=1), self.login(name, "n", priority=-5)
                got = self.outcome(type_, at(name), name, (a, b, n))
                if type_ in ("normal", "chat"):
                    self.one_of(got, (a,), (a, b))
                elif type_ == "headline":
                    self.one_of(got, (a, b))
                elif type_ == "groupchat":
                    self.one_of(got, "E")
                else:
                    self.one_of(got, ())
            with self.subTest(type=type_, to="no match"):
                name = self.user()
                a, b, n = self.login(name, "a", priority=5), self.login(name, "b", priority=1), self.login(name, "n", priority=-5)
                got = self.outcome(type_, at(name) + "/gone", name, (a, b, n))
                if type_ == "chat":
                    self.one_of(got, (a,), (a, b))
                elif type_ == "error":
                    self.one_of(got, ())
                else:
                    self.one_of(got, (), "E")

    def test_connected_but_not_available(self):
        """A bound resource without presence is reached by its full address only."""
        name = self.user()
        c = self.login(name, "silent", presence=False)
        got = self.outcome("chat", c.jid, name, (c,))
        self.one_of(got, (c,))
        name = self.user()
        c = self.login(name, "silent", presence=False)
        self.assertNotIn(c, self.outcome("chat", at(name), name, (c,)))


class Messages(ServerCase):
    def test_content_arrives_unchanged(self):
        a, b = self.login(), self.login()
        a.send("<message to='%s' type='chat' id='m1' xml:lang='de'><subject>S</subject><body>B</body><body xml:lang='en'>E</body>"
               "<thread parent='p'>t</thread><x xmlns='urn:tandem:test' a='1'><y><![CDATA[<]]></y></x></message>" % b.jid)
        m = b.wait(is_("message", id="m1"))
        self.assertEqual((m.get("from"), m.get("to"), m.get("type")), (a.jid, b.jid, "chat"))
        self.assertEqual((text(m, "subject"), text(m, "thread"), kid(m, "thread").get("parent")), ("S", "t", "p"))
        self.assertEqual(m.get("{http://www.w3.org/XML/1998/namespace}lang"), "de")
        self.assertEqual([e.text for e in m if local(e) == "body"], ["B", "E"])
        x = kid(m, "x", "urn:tandem:test")
        self.assertEqual((x.get("a"), x[0].text), ("1", "<"))

    def test_bare_to_is_not_rewritten(self):
        """8.5.2.1.1."""
        a, b = self.login(), self.login()
        a.message(b.bare, "x", id_="m2")
        self.assertEqual(b.wait(is_("message", id="m2")).get("to"), b.bare)

    def test_without_type(self):
        """5.2.2: counts as normal, is not given a type it did not have but "normal"."""
        a, b = self.login(), self.login()
        a.message(b.bare, "x", None, id_="m3")
        self.assertIn(b.wait(is_("message", id="m3")).get("type"), (None, "normal"))

    def test_unknown_type(self):
        """5.2.2: as normal."""
        a, b = self.login(), self.login()
        a.message(b.bare, "x", "telegram", id_="m4")
        b.wait(is_("message", id="m4"))

    def test_without_to_goes_to_own_account(self):
        """RFC 6120 10.3.1: as if sent to the bare address of the sender."""
        a = self.login()
        a.send("<message id='m5' type='chat'><body>me</body></message>")
        self.assertEqual(a.wait(is_("message", id="m5")).get("from"), a.jid)

    def test_without_id(self):
        a, b = self.login(), self.login()
        a.send("<message to='%s'><body>noid</body></message>" % b.jid)
        b.wait(body_is("noid"))

    def test_to_self_other_resource(self):
        name = self.user()
        a, b = self.login(name), self.login(name)
        a.message(b.jid, "x", id_="m6")
        b.wait(is_("message", id="m6"))

    def test_to_server(self):
        """RFC 6120 10.5.1: the server takes or refuses it; the stream goes on."""
        a = self.login()
        a.message(a.domain, "hello server")
        a.sync()

    def test_error_is_never_answered(self):
        a = self.login()
        for to in (at("nobody-here"), a.domain, at(self.user()), a.bare + "/gone"):
            a.message(to, "x", "error", "<error type='cancel'><gone xmlns='%s'/></error>" % xmppc.STANZA_ERRORS, id_="err")
            settle(a, to)
        a.sync()
        self.none_of(a.drain(), "message", id="err")

    def test_order_is_kept(self):
        """RFC 6120 10.1."""
        a, b = self.login(), self.login()
        a.send("".join("<message to='%s' type='chat'><body>%d</body></message>" % (b.jid, i) for i in range(500)))
        got = [int(text(b.wait("message"))) for _ in range(500)]
        self.assertEqual(got, list(range(500)))

    def test_order_to_bare_is_kept(self):
        a, b = self.login(), self.login()
        a.send("".join("<message to='%s' type='chat'><body>%d</body></message>" % (b.bare, i) for i in range(500)))
        self.assertEqual([int(text(b.wait("message"))) for _ in range(500)], list(range(500)))

    def test_many_to_many(self):
        people = [self.login() for _ in range(6)]
        for p in people:
            p.send("".join("<message to='%s' type='chat'><body>%d</body></message>" % (q.jid, i)
                           for i in range(50) for q in people if q is not p))
        for q in people:
            got = {p.jid: [] for p in people if p is not q}
            for _ in range(50 * 5):
                m = q.wait("message")
                got[m.get("from")].append(int(text(m)))
            for numbers in got.values():
                self.assertEqual(numbers, list(range(50)))

    def test_slow_reader_loses_nothing(self):
        """A client that reads late holds up nobody and misses nothing."""
        a, b, c = self.login(), self.login(), self.login()
        body = "x" * 2000
        for i in range(500):
            a.send("<message to='%s' type='chat'><body>%d %s</body></message>" % (b.jid, i, body))
        a.sync()
        a.message(c.jid, "quick")
        c.wait(body_is("quick"))
        self.assertEqual([int(text(b.wait("message")).split()[0]) for _ in range(500)], list(range(500)))

    def test_error_condition_keeps_the_payloads_id(self):
        a = self.login()
        a.send("<message to='%s' type='groupchat' id='keep'><body>x</body></message>" % at(self.user()))
        e = a.wait(is_("message", id="keep"))
        self.assertEqual(e.get("type"), "error")
        self.assertIsNotNone(error_of(e)[1])


if __name__ == "__main__":
    lab.main()
