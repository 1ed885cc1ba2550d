"""test_spec_stanza - RFC 6120 sections 8 and 10, rule by rule: attributes, errors, addressing, order."""
import lab
import xmppc
from case import at, settle
from lab import DOMAIN
from speclib import FAR, SpecCase
from xmppc import PING, STANZA_ERRORS, body_is, is_, kid, local, nsof, show, text

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
UNKNOWN = "<query xmlns='t:nobody-knows'/>"
BAD_JIDS = ("a@b@%s" % DOMAIN, "@" + DOMAIN, "a b@" + DOMAIN, "a@", "/x", "a@%s/" % DOMAIN, 'a"b@' + DOMAIN, "a@" + "d" * 1100,
            "x" * 1024 + "@" + DOMAIN, "a@%s/%s" % (DOMAIN, "r" * 1024))


class Stanzas(SpecCase):
    # 8.1.1.1, 8.1.2.1
    def test_own_account_answers_without_from_or_as_the_bare_jid(self):
        a = self.login()
        for payload in ("<query xmlns='jabber:iq:roster'/>", UNKNOWN, "<query xmlns='%s'/>" % xmppc.DISCO_INFO):
            r = a.iq("get", payload)
            self.assertIn(r.get("from"), (None, a.bare), show(r))
            self.assertIn(r.get("to"), (None, a.jid))

    def test_server_answers_as_its_domain(self):
        a = self.login()
        for payload in ("<ping xmlns='%s'/>" % PING, UNKNOWN):
            r = a.iq("get", payload, DOMAIN)
            self.assertEqual((r.get("from"), r.get("to")), (DOMAIN, a.jid))

    # 8.1.3
    def test_any_id_comes_back(self):
        a = self.login()
        for id_ in ("x" * 500, "<&>\"'", " a b ", "\u2713\U0001f600", "0"):
            a.send("<iq type='get' id=%s to='%s'>%s</iq>" % (xmppc.quoteattr(id_), DOMAIN, UNKNOWN))
            r = a.wait("iq")
            self.assertEqual(r.get("id"), id_)

    def test_message_error_without_id(self):
        a = self.login()
        a.send("<message to='%s/r' type='groupchat'><body>x</body></message>" % at("nobody-there"))
        settle(a, at("nobody-there"))
        for e in [e for e in a.drain() if local(e) == "message"]:
            self.assertIn(e.get("id"), (None, ""))

    # 8.1.5, 4.7.4
    def speaker(self, lang):
        u = self.user()
        c = xmppc.connect(self.port)
        self.addCleanup(c.close)
        c.auth(u)
        c.open(extra="xml:lang='%s'" % lang)
        c.bind()
        return c

    def test_stream_language_is_added(self):
        a, b = self.speaker("de-CH"), self.login()
        for s in ("<message to='%s' id='l'><body>x</body></message>", "<presence to='%s' id='l'/>"):
            a.send(s % b.jid)
            self.assertEqual(b.wait(lambda e: e.get("id") == "l").get(LANG), "de-CH")

    def test_stanza_language_stays(self):
        a, b = self.speaker("de"), self.login()
        a.send("<message to='%s' id='l' xml:lang='fr'><body xml:lang='it'>x</body></message>" % b.jid)
        e = b.wait(is_("message", id="l"))
        self.assertEqual((e.get(LANG), e[0].get(LANG)), ("fr", "it"))

    def test_language_of_broadcast_presence(self):
        a, k = self.speaker("cs"), self.contact()
        a.presence()
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        a.presence("subscribed", k.jid)
        k.wait(type_="subscribed")
        a.presence(inner="<status>x</status>", id_="st")
        self.assertEqual(k.wait(id="st").get(LANG), "cs")

    # 8.2.3
    def test_iq_rules(self):
        b = self.login()
        for what in ("<iq id='i' to='%s'>" + UNKNOWN + "</iq>", "<iq type='subscribe' id='i' to='%s'>" + UNKNOWN + "</iq>",
                     "<iq type='get' id='i' to='%s'/>", "<iq type='set' id='i' to='%s'/>",
                     "<iq type='get' id='i' to='%s'>" + UNKNOWN * 2 + "</iq>", "<iq type='get' id='i' to='%s'>text</iq>",
                     "<iq type='GET' id='i' to='%s'>" + UNKNOWN + "</iq>"):
            for to in (DOMAIN, b.bare, b.jid, at("nobody-there")):
                with self.subTest(what, to=to):
                    a = self.login()
                    a.send(what % to)
                    r = a.wait("iq")
                    self.assertError(r, "bad-request", "modify")
                    self.assertEqual(r.get("id"), "i")
        self.none_of(b.drain(), "iq")

    def test_empty_types(self):
        a, b = self.login(), self.login()
        a.send("<iq type='' id='e' to='%s'>%s</iq><presence type='' id='e' to='%s'/>" % (b.bare, UNKNOWN, b.bare))
        for name in ("iq", "presence"):
            self.assertError(a.wait(is_(name, id="e")), "bad-request", "modify")
        a.send("<message type='' id='e' to='%s'><body>x</body></message>" % b.bare)     # RFC 6121 5.2.2: normal
        b.wait(is_("message", id="e"))

    def test_iq_without_id(self):
        a = self.login()
        a.send("<iq type='get' to='%s'>%s</iq>" % (DOMAIN, UNKNOWN))
        r = a.wait("iq")
        self.assertError(r, ("bad-request", "service-unavailable"))
        self.assertIn(r.get("id"), (None, ""))

    def test_answers_are_not_answered(self):
        a, b = self.login(), self.login()
        for to in (None, DOMAIN, a.bare, a.jid, b.bare, b.jid, at("nobody-there"), at("nobody-there") + "/r", DOMAIN + "/r"):
            for type_ in ("result", "error"):
                a.send("<iq type='%s' id='na'%s/>" % (type_, " to='%s'" % to if to else ""))
        for to in (DOMAIN, b.bare, at("nobody-there")):
            settle(a, to)
        got = [e for e in a.drain() if e.get("id") == "na" and e.get("from") != a.jid]
        self.assertEqual([show(e) for e in got], [])

    def test_a_result_with_two_children_to_a_client(self):
        """8.2.3 rule 6: at most one; whatever is done, nothing breaks."""
        a, b = self.login(), self.login()
        a.send("<iq type='result' id='two' to='%s'>%s%s</iq>" % (b.jid, UNKNOWN, UNKNOWN))
        xmppc.fence(a, b)

    # 8.3
    def test_shape_of_errors(self):
        a = self.login()
        for s, to in (("<iq type='get' id='sh' to='%s'>" + UNKNOWN + "</iq>", DOMAIN),
                      ("<iq type='set' id='sh' to='%s'>" + UNKNOWN + "</iq>", at("nobody-there")),
                      ("<message id='sh' to='%s' type='groupchat'><body>x</body></message>", at(self.user())),
                      ("<presence id='sh' to='%s' type='nonsense'/>", at(self.user()))):
            a.send(s % to)
            e = a.wait(lambda e: e.get("id") == "sh")
            self.assertEqual((e.get("type"), e.get("from"), e.get("to")), ("error", to, a.jid))
            err = [x for x in e if local(x) == "error"]
            self.assertEqual(len(err), 1)
            self.assertIn(err[0].get("type"), ("auth", "cancel", "continue", "modify", "wait"))
            conditions = [x for x in err[0] if nsof(x) == STANZA_ERRORS and local(x) != "text"]
            self.assertEqual(len(conditions), 1)
            for t in err[0].findall("{%s}text" % STANZA_ERRORS):
                self.assertTrue(t.get(LANG), show(e))

    # 8.3.3.8
    def test_malformed_to(self):
        for jid in BAD_JIDS:
            with self.subTest(jid[:30]):
                a = self.login()
                for s in ("<message id='m' to=%s><body>x</body></message>", "<presence id='m' to=%s/>",
                          "<iq type='get' id='m' to=%s>" + UNKNOWN + "</iq>", "<presence type='subscribe' id='m' to=%s/>"):
                    a.send(s % xmppc.quoteattr(jid))
                    e = a.wait(lambda e: e.get("id") == "m")
                    self.assertError(e, "jid-malformed", "modify")

    def test_malformed_to_in_an_error_is_not_answered(self):
        a = self.login()
        for s in ("<message id='m' type='error' to='a@b@c'/>", "<presence id='m' type='error' to='a@b@c'/>",
                  "<iq type='result' id='m' to='a@b@c'/>", "<iq type='error' id='m' to='a@b@c'/>"):
            a.send(s)
        a.sync()
        self.assertEqual([show(e) for e in a.drain() if e.get("id") == "m"], [])

    def test_empty_to(self):
        """An empty 'to' is malformed, or as if there were none."""
        a = self.login()
        a.send("<iq type='get' id='e' to=''>%s</iq>" % UNKNOWN)
        self.assertError(a.wait(is_("iq", id="e")), ("jid-malformed", "service-unavailable"))

    def test_addresses_are_prepared(self):
        u = self.user()
        b = self.login(u, "Res")
        a = self.login()
        for to in (u.upper() + "@" + DOMAIN, u + "@" + DOMAIN.upper(), u.title() + "@" + DOMAIN.title() + "/Res"):
            w = lab.token("w")
            a.message(to, w)
            b.wait(body_is(w))
        w = lab.token("w")
        a.message(u + "@" + DOMAIN + "/res", w, "normal")       # resources differ by case
        self.none_of(xmppc.fence(a, b), "message")

    # 10.1
    def order(self, a, b):
        self.friends(a, b)
        for i in range(100):
            if i % 3 == 0:
                a.message(b.jid, "o%d" % i)
            elif i % 3 == 1:
                a.send("<presence to='%s'><status>o%d</status></presence>" % (b.bare, i))
            else:
                a.send("<iq type='get' id='o%d' to='%s'>%s</iq>" % (i, b.jid, UNKNOWN))
        got = [text(e) or text(e, "status") or e.get("id") for e in xmppc.fence(a, b)]
        self.assertEqual([g for g in got if g and g.startswith("o")], ["o%d" % i for i in range(100)])

    def test_order_between_two(self):
        self.order(self.login(), self.login())

    def test_order_between_two_with_acknowledgements(self):
        """Messages of such a sender are in the store first; what follows them does not overtake."""
        self.order(self.login(sm=True), self.login())
        self.order(self.login(sm=True), self.login(sm=True))

    def test_order_while_offline_messages_are_given(self):
        """To a client that becomes available at this moment."""
        a, k = self.login(), self.contact()
        for i in range(15):
            u = self.user()
            for j in range(i):
                k.say("message", at(u), "<body>w%d</body>" % j, type="chat")
            settle(a, at(u))
            b = self.login(u, presence=False)
            b.presence()
            for j in range(12):
                if j % 2:
                    a.message(b.jid, "o%d" % j)
                else:
                    a.send("<iq type='result' id='o%d' to='%s'/>" % (j, b.jid))
            b.wait(body_is("o11"))
            got = [text(e) or e.get("id") for e in b.seen if e.get("from") == a.jid]
            self.assertEqual(got, ["o%d" % j for j in range(12)])

    def test_bare_and_full_are_one_order(self):
        a, b = self.login(), self.login()
        for i in range(60):
            a.message(b.bare if i % 2 else b.jid, "o%d" % i)
        self.assertEqual([text(e) for e in xmppc.fence(a, b) if local(e) == "message"], ["o%d" % i for i in range(60)])

    def test_requests_to_the_server_are_answered_in_order(self):
        a = self.login()
        for i in range(30):
            a.send("<iq type='get' id='q%d' %s>%s</iq>" % (i, "to='%s'" % DOMAIN if i % 2 else "", "<ping xmlns='%s'/>" % PING))
        got = [a.wait("iq").get("id") for _ in range(30)]
        self.assertEqual([g for g in got if int(g[1:]) % 2], ["q%d" % i for i in range(1, 30, 2)])
        self.assertEqual([g for g in got if not int(g[1:]) % 2], ["q%d" % i for i in range(0, 30, 2)])

    # 10.3
    def test_message_without_to(self):
        u = self.user()
        a = self.login(u)
        a.send("<message id='nt'><body>to me</body></message>")
        e = a.wait(is_("message", id="nt"))
        self.assertEqual((e.get("from"), text(e)), (a.jid, "to me"))
        self.assertIn(e.get("to"), (None, a.bare))

    def test_unknown_request_without_to(self):
        a = self.login()
        for type_ in ("get", "set"):
            self.assertError(a.iq(type_, UNKNOWN), "service-unavailable", "cancel")

    # 10.4
    def test_remote_domain_that_is_not_there(self):
        a = self.login()
        for s in ("<message id='r' to='x@no.invalid'><body>x</body></message>",
                  "<iq type='get' id='r' to='x@no.invalid'>" + UNKNOWN + "</iq>",
                  "<iq type='get' id='r' to='no.invalid'>" + UNKNOWN + "</iq>"):
            a.send(s)
            e = a.wait(lambda e: e.get("id") == "r", 30)
            self.assertError(e, ("remote-server-not-found", "remote-server-timeout"))
            self.assertIn(e.get("from"), ("x@no.invalid", "no.invalid"))
        a.send("<message id='r' type='error' to='x@no.invalid'/><iq type='result' id='r' to='x@no.invalid'/>")
        a.sync()
        self.assertEqual([e for e in a.drain() if e.get("id") == "r"], [])

    # 10.5.1, 10.5.2
    def test_messages_to_the_domain(self):
        a = self.login()
        for to in (DOMAIN, DOMAIN + "/resource"):
            for type_ in ("chat", "normal", "groupchat", "headline"):
                a.message(to, "hello", type_, id_="d")
                a.sync()
                got = [e for e in a.drain() if e.get("id") == "d"]
                for e in got:
                    self.assertEqual((e.get("type"), e.get("from")), ("error", to))
            a.send("<message type='error' to='%s' id='d'/>" % to)
            a.sync()
            self.assertEqual([e for e in a.drain() if e.get("id") == "d"], [])

    def test_presence_to_the_domain(self):
        a = self.login()
        for to in (DOMAIN, DOMAIN + "/resource"):
            for type_ in (None, "unavailable", "subscribe", "unsubscribe", "subscribed", "unsubscribed", "probe", "error"):
                a.presence(type_, to, id_="d")
        a.sync()
        a.roster()

    def test_requests_to_the_domain_with_a_resource(self):
        a = self.login()
        for payload in ("<ping xmlns='%s'/>" % PING, UNKNOWN):
            r = a.iq("get", payload, DOMAIN + "/resource")
            self.assertEqual(r.get("from"), DOMAIN + "/resource")
            if r.get("type") == "error":
                self.assertError(r, ("service-unavailable", "item-not-found"))

    # 10.5.4
    def test_connected_resource_gets_what_is_addressed_to_it(self):
        a, b = self.login(), self.login(presence=False)
        for type_ in ("chat", "normal", "headline", "groupchat"):
            w = lab.token("w")
            a.message(b.jid, w, type_)
            b.wait(body_is(w))

    # 4.8.4: looks like a stanza, is none
    def test_foreign_message_is_not_routed(self):
        a, b, c = self.login(), self.login(), self.login()
        a.send("<message xmlns='http://example.org/ns2' to='%s' id='no'><body>hi</body></message>" % b.jid)
        try:
            a.sync()
        except xmppc.Closed:
            self.assertEqual(a.stream_error, "unsupported-stanza-type")
        self.none_of(xmppc.fence(c, b), "message", id="no")

    # 4.8.3, 8.4: payloads of any namespace, unknown ones go through
    def test_extended_content_goes_through(self):
        a, b = self.login(), self.login()
        a.send("<message to='%s' id='x' xmlns:p='t:p' p:a='1'><p:e p:b='2' c='3'><i xmlns='t:i'><p:k/></i></p:e><body>b</body>"
               "<n xmlns=''/></message>" % b.jid)
        e = b.wait(is_("message", id="x"))
        p = e.find("{t:p}e")
        self.assertEqual((p.get("{t:p}b"), p.get("c"), p[0].tag, p[0][0].tag), ("2", "3", "{t:i}i", "{t:p}k"))
        self.assertEqual(e.get("{t:p}a"), "1")
        self.assertIsNotNone(e.find("n"))

    def test_component_stanzas_are_rescoped(self):
        a, k = self.login(), self.contact()
        k.say("message", a.jid, "<body>x</body>", id="rs", type="chat")
        e = a.wait(is_("message", id="rs"))
        self.assertEqual((nsof(e), nsof(e[0]), e.get("from")), ("jabber:client", "jabber:client", k.jid))
        a.message(k.jid, "back", id_="rs2")
        self.assertEqual([x.tag for x in k.wait("message", id="rs2")][:1], ["{jabber:component:accept}body"])
        self.assertTrue(k.jid.endswith(FAR))

    # section 11: large and deep is refused or carried, never half
    def test_deep_content(self):
        for depth in (20, 60):
            a, b = self.login(), self.login()
            a.send("<message to='%s' id='deep'>%s%s</message>" % (b.jid, "<e xmlns='t:e'>" * depth, "</e>" * depth))
            e = b.wait(is_("message", id="deep"))
            n = 0
            while len(e):
                e, n = e[0], n + 1
            self.assertEqual(n, depth)

    def test_10000_bytes_are_accepted(self):
        """13.12: the limit of a stanza is at least 10000 bytes."""
        a, b = self.login(), self.login()
        a.message(b.jid, "x" * 9800, id_="big")
        self.assertEqual(len(text(b.wait(is_("message", id="big")))), 9800)


if __name__ == "__main__":
    lab.main()
