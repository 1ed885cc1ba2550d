"""test_spec_blocking - XEP-0191, rule by rule."""
import lab
import xmppc
from case import at, settle
from lab import DOMAIN
from speclib import FAR, SpecCase, presences
from xmppc import DISCO_INFO, STANZA_ERRORS, body_is, is_, kid, local, show

NS = "urn:xmpp:blocking"
UNKNOWN = "<query xmlns='t:nobody-knows'/>"


class Blocking(SpecCase):
    def items(self, jids):
        return "".join("<item jid=%s/>" % xmppc.quoteattr(j) for j in jids)

    def block(self, c, *jids):
        self.assertResult(c.iq("set", "<block xmlns='%s'>%s</block>" % (NS, self.items(jids))))

    def unblock(self, c, *jids):
        self.assertResult(c.iq("set", "<unblock xmlns='%s'>%s</unblock>" % (NS, self.items(jids))))

    def list(self, c):
        r = c.get(NS, "blocklist")
        self.assertResult(r)
        return sorted(i.get("jid") for i in kid(r, "blocklist", NS))

    def push(self, c, name):
        e = c.wait(lambda e: local(e) == "iq" and e.get("type") == "set" and kid(e, name, NS) is not None)
        self.assertIn(e.get("from"), (None, c.bare))
        return sorted(i.get("jid") for i in kid(e, name, NS))

    # 3.1
    def test_disco(self):
        self.assertIn(NS, {f.get("var") for f in self.login().get(DISCO_INFO, to=DOMAIN).iter("{%s}feature" % DISCO_INFO)})

    # 3.2
    def test_list(self):
        c = self.login()
        self.assertEqual(self.list(c), [])
        self.block(c, "romeo@m.test", "iago@s.test")
        self.block(c, "iago@s.test")
        self.assertEqual(self.list(c), ["iago@s.test", "romeo@m.test"])

    def test_list_of_others(self):
        c, o = self.login(), self.login()
        self.assertEqual(c.get(NS, "blocklist", to=o.bare).get("type"), "error")
        self.assertEqual(c.iq("set", "<block xmlns='%s'><item jid='x@y.test'/></block>" % NS, o.bare).get("type"), "error")
        self.assertEqual(self.list(o), [])

    def test_list_survives_the_session(self):
        u = self.user()
        c = self.login(u)
        self.block(c, "romeo@m.test")
        c.close()
        self.assertEqual(self.list(self.login(u)), ["romeo@m.test"])

    def test_addresses_are_prepared(self):
        c = self.login()
        self.block(c, "ROMEO@M.Test")
        self.assertEqual(self.list(c), ["romeo@m.test"])
        self.unblock(c, "Romeo@m.TEST")
        self.assertEqual(self.list(c), [])

    # 3.3
    def test_empty_block(self):
        self.assertError(self.login().iq("set", "<block xmlns='%s'/>" % NS), "bad-request", "modify")

    def test_malformed_block(self):
        c = self.login()
        for i in ("<item jid='a@b@c'/>", "<item/>", "<item jid=''/>", "<item jid='good@x.test'/><item jid='@bad'/>"):
            self.assertError(c.iq("set", "<block xmlns='%s'>%s</block>" % (NS, i)), ("jid-malformed", "bad-request"))
        self.assertEqual(self.list(c), [])

    def test_pushes(self):
        u = self.user()
        a, b, c, d = (self.login(u), self.login(u), self.login(u), self.login(u, presence=False))
        for s in (a, b, d):
            self.list(s)
        self.block(a, "x@y.test", "z@y.test")
        for s in (a, b, d):
            self.assertEqual(self.push(s, "block"), ["x@y.test", "z@y.test"])
        self.unblock(b, "x@y.test")
        for s in (a, b, d):
            self.assertEqual(self.push(s, "unblock"), ["x@y.test"])
        self.unblock(a)
        for s in (a, b, d):
            self.assertEqual(self.push(s, "unblock"), [])
        self.none_of(xmppc.fence(a, c), "iq", type_="set")
        self.assertEqual(self.list(a), [])

    def test_unblock_what_is_not_blocked(self):
        c = self.login()
        r = c.iq("set", "<unblock xmlns='%s'><item jid='never@x.test'/></unblock>" % NS)
        if r.get("type") == "error":
            self.assertError(r, "item-not-found")

    # 3.3: presence
    def friend(self):
        a, k = self.interested(), self.contact()
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        a.presence("subscribed", k.jid)
        k.wait(type_="subscribed")
        a.presence("subscribe", k.jid)
        k.wait(type_="subscribe")
        k.presence(a.bare, "subscribed")
        a.wait(is_("presence", type_="subscribed"))
        k.got(a)
        return a, k

    def quiet(self, k, to):
        """What came to <k> up to now, asked without <to> (it may be blocked)."""
        self.comp.request("get", UNKNOWN, to, "fence@" + FAR)
        return [e for e in self.comp.drain() if (e.get("to") or "").startswith(k.jid)]

    def test_unavailable_on_block_and_presence_on_unblock(self):
        a, k = self.friend()
        b = self.login(a.bare.partition("@")[0])
        self.quiet(k, a.bare)
        self.block(a, k.jid)
        got = sorted((e.get("type"), e.get("from")) for e in self.quiet(k, a.bare))
        self.assertEqual(got, sorted([("unavailable", a.jid), ("unavailable", b.jid)]))
        a.presence(inner="<show>away</show>")
        a.sync()
        self.assertEqual([show(e) for e in self.quiet(k, a.bare)], [])
        self.unblock(a, k.jid)
        got = {e.get("from"): e for e in self.quiet(k, a.bare) if e.get("type") is None}
        self.assertEqual(sorted(got), sorted([a.jid, b.jid]))
        self.assertEqual(xmppc.text(got[a.jid], "show"), "away")
        self.assertEqual(a.roster()[k.jid].get("subscription"), "both")

    def test_no_presence_to_strangers_on_block(self):
        a, k = self.interested(), self.contact()
        self.block(a, k.jid)
        self.unblock(a, k.jid)
        self.assertEqual([show(e) for e in self.quiet(k, a.bare)], [])

    def test_going_offline_is_not_told(self):
        a, k = self.friend()
        self.block(a, k.jid)
        bare = a.bare
        self.quiet(k, bare)
        a.close()
        self.assertEqual([show(e) for e in self.quiet(k, bare)], [])

    def test_unblock_while_invisible(self):
        a, k = self.friend()
        self.block(a, k.jid)
        a.presence("unavailable")
        a.sync()
        self.quiet(k, a.bare)
        self.unblock(a, k.jid)
        self.assertEqual([e.get("type") for e in self.quiet(k, a.bare) if e.get("type") != "unavailable"], [])

    # 3.3: inbound
    def test_inbound_presence_is_dropped(self):
        a, k = self.friend()
        self.block(a, k.jid)
        self.quiet(k, a.bare)
        for type_ in (None, "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"):
            for to in (a.bare, a.jid):
                k.presence(to, type_, id="in")
        self.assertEqual([show(e) for e in self.quiet(k, a.bare)], [])
        a.sync()
        self.assertEqual([show(e) for e in presences(a.drain()) if k.jid in (e.get("from") or "")], [])
        self.assertEqual(a.roster()[k.jid].get("subscription"), "both")

    def test_inbound_messages(self):
        a, k = self.login(), self.contact()
        self.block(a, k.jid)
        for to in (a.bare, a.jid):
            for type_ in ("chat", "normal", "headline", "groupchat"):
                k.say("message", to, "<body>x</body>", type=type_, id="bm")
                got = [e for e in self.quiet(k, a.bare) if e.get("id") == "bm"]
                for e in got:
                    self.assertError(e, "service-unavailable")
                    self.assertIsNone(e.find(".//{urn:xmpp:blocking:errors}blocked"))
                if type_ in ("chat", "normal"):
                    self.assertEqual(len(got), 1)
            k.say("message", to, "<error type='cancel'><gone xmlns='%s'/></error>" % STANZA_ERRORS, type="error", id="bm")
            self.assertEqual([show(e) for e in self.quiet(k, a.bare)], [])
        a.sync()
        self.none_of(a.drain(), "message")

    def test_inbound_messages_while_offline_are_not_kept(self):
        u, k = self.user(), self.contact()
        a = self.login(u)
        self.block(a, k.jid)
        a.close()
        k.say("message", at(u), "<body>x</body>", type="chat", id="off")
        self.quiet(k, at(u))
        b = self.login(u)
        self.unblock(b)
        b.sync()
        self.none_of(b.drain(), "message")

    def test_inbound_requests(self):
        a, k = self.login(), self.contact()
        self.block(a, k.jid)
        for to in (a.bare, a.jid):
            for type_ in ("get", "set"):
                k.say("iq", to, "<query xmlns='%s'/>" % DISCO_INFO, type=type_, id="bi")
                e = k.wait("iq", id="bi")
                self.assertError(e, "service-unavailable")
                self.assertEqual(e.get("from"), to)
            for type_ in ("result", "error"):
                k.say("iq", to, "", type=type_, id="bi")
            self.assertEqual([show(e) for e in self.quiet(k, a.bare)], [])
        a.sync()
        self.none_of(a.drain(), "iq", id="bi")

    # 3.3: outbound
    def test_outbound(self):
        a, k = self.friend()
        self.block(a, k.jid)
        self.quiet(k, a.bare)
        for s in ("<message to='%s' id='ob' type='chat'><body>x</body></message>", "<iq to='%s' id='ob' type='get'>" + UNKNOWN + "</iq>",
                  "<iq to='%s' id='ob' type='set'>" + UNKNOWN + "</iq>", "<presence to='%s' id='ob'/>",
                  "<presence to='%s' id='ob' type='subscribe'/>"):
            for to in (k.jid, k.jid + "/r"):
                with self.subTest(s, to=to):
                    a.send(s % to)
                    e = a.wait(lambda e: e.get("id") == "ob")
                    self.assertError(e, "not-acceptable", "cancel")
                    self.assertIsNotNone(e.find("{%s}error/{urn:xmpp:blocking:errors}blocked" % xmppc.CLIENT))
                    self.assertEqual(e.get("from"), to)
        a.send("<message to='%s' id='ob' type='error'/><iq to='%s' id='ob' type='result'/>" % (k.jid, k.jid))
        a.sync()
        self.none_of(a.drain(), "message")
        self.assertEqual([show(e) for e in self.quiet(k, a.bare)], [])

    # 3.4, 3.5
    def test_after_unblock_all_is_delivered(self):
        for args in (True, False):
            a, k = self.login(), self.contact()
            self.block(a, k.jid)
            self.unblock(a, *([k.jid] if args else []))
            k.say("message", a.jid, "<body>hi</body>", type="chat")
            a.wait(body_is("hi"))
            a.message(k.jid, "out")
            k.wait("message")

    # 6
    def reached(self, blocked, from_):
        a = self.login()
        k = self.contact()
        word = lab.token("b")
        self.block(a, blocked.format(k=k.jid, d=FAR))
        self.comp.stanza("message", a.jid, from_.format(k=k.jid, d=FAR), "<body>%s</body>" % word, type="chat")
        self.comp.request("get", UNKNOWN, DOMAIN, "fence@" + FAR)
        k.presence(a.bare, "probe")
        o = self.login()
        got = xmppc.fence(o, a)
        lab.wait_until(lambda: a.pump(0.02) or True)
        return any(xmppc.text(e) == word for e in got + a.drain())

    def test_matching(self):
        for blocked, from_, through in (
                ("{k}/r", "{k}/r", False), ("{k}/r", "{k}/other", True), ("{k}/r", "{k}", True),
                ("{k}", "{k}", False), ("{k}", "{k}/r", False), ("{k}", "x{k}/r", True),
                ("{d}/r", "{d}/r", False), ("{d}/r", "{d}", True), ("{d}/r", "{k}/other", True),
                ("{d}", "{d}", False), ("{d}", "{d}/r", False), ("{d}", "{k}", False), ("{d}", "{k}/r", False),
                ("other.test", "{k}", True)):
            with self.subTest(blocked, from_=from_):
                self.assertEqual(self.reached(blocked, from_), through)

    # 5, note: never between one's own resources
    def test_own_resources_are_never_blocked(self):
        u = self.user()
        a, b = self.login(u), self.login(u)
        a.iq("set", "<block xmlns='%s'><item jid='%s'/></block>" % (NS, a.bare))
        a.message(b.jid, "self")
        b.wait(body_is("self"))

    def test_local_users(self):
        a, b = self.interested(), self.interested()
        self.friends(a, b)
        self.block(a, b.bare)
        b.wait(is_("presence", type_="unavailable", from_=a.jid))
        id_ = b.message(a.bare, "x")
        self.assertError(b.wait(is_("message", id=id_)), "service-unavailable")
        self.assertError(b.iq("get", UNKNOWN, a.jid), "service-unavailable")
        b.presence("probe", a.bare)
        settle(b, a.bare)
        self.assertEqual([show(e) for e in presences(b.drain())], [])
        self.unblock(a, b.bare)
        b.wait(is_("presence", type_=None, from_=a.jid))

    def test_the_domain_blocked_still_serves(self):
        a = self.login()
        self.block(a, DOMAIN)
        self.assertResult(a.get("jabber:iq:roster"))
        self.assertEqual(self.list(a), [DOMAIN])
        self.unblock(a)
        self.assertEqual(self.list(a), [])


if __name__ == "__main__":
    lab.main()
