"""XMPP over BOSH: XEP-0124 and XEP-0206, one request at a time."""
import hashlib
import time

import case
import lab
import webc
import xmppc
from lab import DOMAIN
from webc import BOSH, XBOSH, Bind, BoshConn, wrap
from xmppc import SASL, STREAMS, body_is, is_

FEATURES = "{%s}features" % STREAMS


class BoshCase(case.ServerCase):
    options, plain, tls = webc.web_options("auth_delay_ms = 0")

    def bind(self, start=True, port=None, tls=False, **kw):
        b = Bind(port or self.plain, tls=tls)
        self.addCleanup(b.close)
        if start:
            self.first = b.start(**kw)
            self.assertIsNotNone(b.sid, webc.ET.tostring(self.first))
        return b

    def bconn(self, **kw):
        c = BoshConn(kw.pop("port", self.plain), **kw)
        self.addCleanup(c.close)
        return c

    def blogin(self, user=None, resource=None, presence=True, **kw):
        c = self.bconn(**kw)
        c.open()
        e = c.auth(user or self.user(), mech="SCRAM-SHA-256")
        self.assertEqual(xmppc.local(e), "success")
        c.open()
        c.bind(resource)
        if presence:
            c.presence()
            c.wait(is_("presence", from_=c.jid))
        return c

    def ends(self, e, condition):
        self.assertEqual((e.get("type"), e.get("condition")), ("terminate", condition), webc.ET.tostring(e))


class Creation(BoshCase):
    def test_answer(self):
        b = self.bind(wait=7, hold=1)
        e = self.first
        self.assertEqual(e.tag, "{%s}body" % BOSH)
        self.assertGreaterEqual(len(b.sid), 20)
        self.assertEqual(e.get("wait"), "7")
        self.assertEqual(e.get("hold"), "1")
        self.assertEqual(e.get("requests"), "2")
        self.assertEqual(e.get("from"), DOMAIN)
        self.assertEqual(e.get("ver"), "1.11")
        self.assertGreater(int(e.get("inactivity")), 0)
        self.assertGreater(int(e.get("polling")), 0)
        self.assertEqual(e.get("{%s}version" % XBOSH), "1.0")
        self.assertEqual(e.get("{%s}restartlogic" % XBOSH), "true")
        f = e.find(FEATURES)
        self.assertIsNotNone(f.find("{%s}mechanisms" % SASL))
        self.assertIsNone(f.find("{%s}starttls" % xmppc.TLS))

    def test_limits_are_ours(self):
        self.bind(wait=100000, hold=100)
        self.assertLessEqual(int(self.first.get("wait")), 60)
        # who has two connections and wants both held keeps one to speak on
        self.assertEqual(self.first.get("hold"), "1")
        self.assertEqual(self.first.get("requests"), "2")

    def test_sids_differ(self):
        self.assertNotEqual(self.bind().sid[:20], self.bind().sid[:20])

    def test_content_type(self):
        b = self.bind(start=False)
        c = b.post(wrap(1, to=DOMAIN, wait=1, hold=1, ver="1.6"))
        self.assertEqual(b.read(c)["Content-Type"], "text/xml; charset=utf-8")
        b = self.bind(start=False)
        c = b.post(wrap(1, to=DOMAIN, wait=1, hold=1, content="text/html"))
        a = b.read(c)
        self.assertEqual(a["Content-Type"], "text/html")
        b = self.bind(start=False)
        c = b.post(wrap(1, to=DOMAIN, wait=1, hold=1).replace("rid=", "content='a&#13;&#10;X: y' rid="))
        a = b.read(c)
        self.assertIsNone(a["X"])

    def test_refused(self):
        for attrs, condition in (({"to": "elsewhere.test"}, "host-unknown"), ({}, "improper-addressing"),
                                 ({"to": "a@%s" % DOMAIN}, "host-unknown")):
            b = self.bind(start=False)
            self.ends(b.ask(wrap(1, wait=1, hold=1, ver="1.6", **attrs)), condition)

    def test_not_bosh(self):
        for text in ("", "junk", "<body/>", "<body xmlns='%s'/>" % BOSH, "<x xmlns='%s' rid='1'/>" % BOSH,
                     "<body xmlns='%s' rid='-1' to='%s'/>" % (BOSH, DOMAIN), "<body xmlns='%s' rid='x'/>" % BOSH,
                     "<body xmlns='%s' rid='9007199254740992' to='%s'/>" % (BOSH, DOMAIN),
                     "<body xmlns='%s' rid='1' to='%s'>" % (BOSH, DOMAIN), "<!DOCTYPE a><body xmlns='%s' rid='1'/>" % BOSH,
                     "<body xmlns='%s' rid='1' to='%s'/><body/>" % (BOSH, DOMAIN)):
            b = self.bind(start=False)
            self.ends(b.ask(text), "bad-request")

    def test_deep_xml(self):
        b = self.bind(start=False)
        self.ends(b.ask("<body xmlns='%s' rid='1'>" % BOSH + "<a>" * 5000 + "</a>" * 5000 + "</body>"), "bad-request")

    def test_unknown_sid(self):
        for sid in ("x", "", "a" * 26 + "00", "a" * 26 + "01", "a" * 26 + "99", "a" * 5000):
            b = self.bind(start=False)
            self.ends(b.ask(wrap(1, sid=sid)), "item-not-found")

    def test_http(self):
        with webc.Http(self.plain) as h:
            self.assertEqual(h.request("GET", "/http-bind").status, 405)
            a = h.request("OPTIONS", "/http-bind", [("Origin", "https://x.example"), ("Access-Control-Request-Method", "POST")])
            self.assertEqual(a.status, 204)
            self.assertIn("POST", a["Access-Control-Allow-Methods"])
            self.assertIn("Content-Type", a["Access-Control-Allow-Headers"])
            self.assertEqual(a["Access-Control-Allow-Origin"], "*")
            self.assertIsNone(a["Access-Control-Allow-Credentials"])
            a = h.request("POST", "/http-bind", [("Origin", "https://x.example")], wrap(1, to=DOMAIN, wait=1, hold=1))
            self.assertEqual((a.status, a["Access-Control-Allow-Origin"]), (200, "*"))
            self.assertIsNone(a["Set-Cookie"])


class Session(BoshCase):
    def test_login_and_chat(self):
        a, b = self.blogin(), self.login()
        a.message(b.jid, "over bosh")
        b.wait(body_is("over bosh"))
        b.message(a.jid, "and & back")
        self.assertEqual(xmppc.text(a.wait("message")), "and & back")

    def test_many_users(self):
        """Sessions move to their account's worker; requests come in anywhere."""
        peers = [self.blogin() for _ in range(8)]
        for i, p in enumerate(peers):
            p.message(peers[(i + 1) % 8].jid, "round %d" % i)
        for i, p in enumerate(peers):
            p.wait(body_is("round %d" % ((i - 1) % 8)))
            for c in p.b.all:       # and on new connections
                if c in p.b.free:
                    p.b.free.remove(c)
        for i, p in enumerate(peers):
            p.sync()

    def test_over_tls(self):
        c = self.bconn(port=self.tls, tls=True)
        c.open()
        self.assertNotIn("SCRAM-SHA-256-PLUS", c.mechanisms())
        c.auth(self.user(), mech="SCRAM-SHA-256")
        c.open()
        c.bind()
        c.sync()
        # 19.1: begun under TLS, so not without it
        b = self.bind(start=False)
        self.ends(b.ask(wrap(c.b.rid + 1, sid=c.b.sid)), "item-not-found")
        c.sync()

    def test_several_stanzas(self):
        a, b = self.blogin(), self.login()
        a.send("".join("<message xmlns='jabber:client' to='%s' type='chat'><body>s%d</body></message>" % (b.jid, i) for i in range(20)))
        for i in range(20):
            self.assertEqual(xmppc.text(b.wait("message")), "s%d" % i)

    def test_stanza_without_namespace(self):
        a, b = self.blogin(), self.login()
        a.send("<message to='%s' type='chat'><body>old client</body></message>" % b.jid)
        b.wait(body_is("old client"))

    def test_prefix_from_the_wrapper(self):
        a, b = self.blogin(), self.login()
        a.b.rid += 1
        a.b.post("<body xmlns='%s' xmlns:c='jabber:client' xmlns:p='urn:p' rid='%d' sid='%s'><c:message to='%s' type='chat'>"
                 "<c:body>pre</c:body><p:x p:y='z'/></c:message></body>" % (BOSH, a.b.rid, a.b.sid, b.jid))
        e = b.wait(body_is("pre"))
        self.assertEqual(e.find("{urn:p}x").get("{urn:p}y"), "z")

    def test_wait_ends(self):
        d_wait = self.bind(wait=1)
        start = time.monotonic()
        e = d_wait.say()
        took = time.monotonic() - start
        self.assertEqual((len(e), e.get("type")), (0, None))
        self.assertGreater(took, 0.7)
        self.assertLess(took, 5 * lab.SLOW)

    def test_hold_is_kept(self):
        """Of two requests the older is answered at once."""
        b = self.bind(wait=30)
        one = b.next()
        two = b.next("<auth xmlns='%s' mechanism='NONE'/>" % SASL)
        e = b.read(one).xml
        f = None
        if len(e) == 0:
            f = b.read(two).xml
            e = f
        self.assertEqual(xmppc.local(e[0]), "failure")

    def test_terminate(self):
        a, b = self.blogin(), self.login()
        self.friends(a, b)
        a.drain()
        sid, rid = a.b.sid, a.b.rid
        a.b.next("<presence xmlns='jabber:client' type='unavailable'/>", type="terminate")
        b.wait(is_("presence", type_="unavailable", from_=a.jid))
        while not a.ended:
            a._read(5)
        self.assertIsNone(a.condition)
        other = self.bind(start=False)
        self.ends(other.ask(wrap(rid + 2, sid=sid)), "item-not-found")

    def test_stream_error(self):
        a = self.blogin(presence=False)
        a.send("<message xmlns='jabber:client' from='other@%s/x' to='a@%s'/>" % (DOMAIN, DOMAIN))
        self.assertEqual(a.wait_end(), "invalid-from")
        self.assertEqual(a.condition, "remote-stream-error")

    def test_replaced(self):
        user = self.user()
        a = self.blogin(user, "same")
        b = self.blogin(user, "same")
        self.assertEqual(a.wait_end(), "conflict")
        b.sync()

    def test_failed_login(self):
        c = self.bconn()
        c.open()
        self.assertEqual(xmppc.local(c.auth(self.user(), "wrong", mech="SCRAM-SHA-256")), "failure")
        c.auth(self.user(), mech="SCRAM-SHA-256")
        c.open()
        c.bind()

    def test_no_plain_in_clear(self):
        self.bind()
        f = self.first.find(FEATURES)
        self.assertNotIn("PLAIN", [m.text for m in f.find("{%s}mechanisms" % SASL)])

    def test_an_offline_message_nobody_asked_for_is_kept(self):
        """A client that vanishes: what was kept for it and is in no answer stays kept."""
        user, peer = self.user(), self.login()
        peer.message(case.at(user), "not lost")
        case.settle(peer, case.at(user))
        a = self.blogin(user, presence=False)
        a.pump()
        a.b.next("<presence xmlns='jabber:client'/>", pause=1)      # the session ends a second after
        for c in a.b.all:
            c.close()
        self.d.wait_log("jid=%s reason=inactivity" % a.jid)
        self.assertEqual(xmppc.text(self.login(user).wait(body_is("not lost"))), "not lost")


class Rids(BoshCase):
    def test_repeat_gives_the_same(self):
        b = self.bind()
        first = b.read(b.next("<auth xmlns='%s' mechanism='NONE'/>" % SASL))
        again = b.read(b.post(wrap(b.rid, "<auth xmlns='%s' mechanism='NONE'/>" % SASL, sid=b.sid)))
        self.assertEqual(first.body, again.body)
        self.assertIn(b"failure", again.body)
        b.say("<auth xmlns='%s' mechanism='NONE'/>" % SASL)     # and the session goes on

    def test_repeat_while_held(self):
        b = self.bind(wait=30)
        one = b.next()
        two = b.post(wrap(b.rid, sid=b.sid))
        self.assertEqual(b.read(one).xml.get("type"), "error")
        b.next("<auth xmlns='%s' mechanism='NONE'/>" % SASL)
        self.assertIsNone(b.read(two).xml.get("type"))
        b.pending.pop(b.rid, None)

    def test_too_large(self):
        b = self.bind()
        self.ends(b.ask(wrap(b.rid + 5, sid=b.sid)), "item-not-found")
        self.ends(b.ask(wrap(b.rid + 1, sid=b.sid)), "item-not-found")      # it is over

    def test_too_old(self):
        b = self.bind()
        self.ends(b.ask(wrap(b.rid - 3, sid=b.sid)), "item-not-found")

    def test_out_of_order(self):
        c = self.bconn(hold=2)
        c.open()
        b = c.b
        b.rid += 2
        late = b.post(wrap(b.rid, "<abort xmlns='%s'/>" % SASL, sid=b.sid))
        time.sleep(0.1)
        early = b.post(wrap(b.rid - 1, "<auth xmlns='%s' mechanism='SCRAM-SHA-1'>%s</auth>" % (SASL, "biwsbj1hLHI9Yg=="), sid=b.sid))
        texts = b.read(early).body
        if b"aborted" not in texts:
            texts += b.read(late).body
        self.assertIn(b"aborted", texts)        # <abort/> after <auth/>, or it would be out of place

    def test_repeats_are_limited(self):
        b = self.bind()
        b.say("<auth xmlns='%s' mechanism='NONE'/>" % SASL)
        last = None
        for _ in range(60):
            last = b.ask(wrap(b.rid, sid=b.sid))
            if last.get("type") == "terminate":
                break
        self.ends(last, "policy-violation")


class Keys(BoshCase):
    def keys(self, n):
        out = [lab.token("seed")]
        for _ in range(n):
            out.append(hashlib.sha1(out[-1].encode()).hexdigest())
        return out[1:]

    def test_sequence(self):
        k = self.keys(4)
        b = self.bind(newkey=k.pop())       # case is not significant
        auth = "<auth xmlns='%s' mechanism='NONE'/>" % SASL
        self.assertIsNone(b.say(auth, key=k.pop()).get("condition"))
        self.assertIsNone(b.say(auth, key=k.pop()).get("type"))
        new = self.keys(3)
        e = b.say(auth, key=k.pop(), newkey=new.pop())
        self.assertEqual(xmppc.local(e[0]), "failure")

    def test_new_sequence(self):
        k, new = self.keys(2), self.keys(2)
        b = self.bind(newkey=k.pop(), wait=1)
        b.say(key=k.pop(), newkey=new.pop())
        b.say(key=new.pop())

    def test_wrong(self):
        b = self.bind(newkey=self.keys(3)[-1])
        self.ends(b.say(key="0" * 40), "item-not-found")
        b = self.bind(newkey=self.keys(3)[-1])
        self.ends(b.say(), "item-not-found")

    def test_injected_request(self):
        k = self.keys(5)
        b = self.bind(newkey=k.pop(), wait=5)
        self.ends(self.bind(start=False).ask(wrap(b.rid + 1, sid=b.sid, type="terminate")), "item-not-found")


class Activity(BoshCase):
    def test_too_many(self):
        b = self.bind(wait=30, hold=1)
        b.next()
        conns = []
        c = self.blogin(wait=30)
        c.drain()
        while c.b.pending:
            c._read(5)
            if len(c.b.pending) <= 1:
                break
        # three at once where two were agreed
        one = [c.b.next() for _ in range(4)]
        got = []
        try:
            for x in one:
                got.append(c.b.read(x).xml.get("condition"))
        except (EOFError, TimeoutError):
            pass
        self.assertTrue({"policy-violation", "item-not-found"} & set(got), got)

    def test_polling_too_often(self):
        b = self.bind(wait=0, hold=0)
        self.assertEqual(self.first.get("requests"), "1")
        self.assertIsNone(b.say().get("type"))
        self.ends(b.say(), "policy-violation")

    def test_polling(self):
        b = self.bind(wait=0, hold=0)
        e = b.say("<auth xmlns='%s' mechanism='NONE'/>" % SASL)
        if len(e) == 0:
            e = b.say()
        self.assertEqual(xmppc.local(e[0]), "failure")

    def test_legacy_client_gets_http_status(self):
        b = self.bind(wait=0, hold=0, ver=None)
        self.assertIsNone(self.first.get("ver"))
        b.say()
        self.assertEqual(b.read(b.next()).status, 403)
        b = self.bind(ver=None)
        self.assertEqual(b.read(b.post(wrap(b.rid + 9, sid=b.sid))).status, 404)

    def test_pause(self):
        b = self.bind(wait=30)
        one = b.next()
        two = b.next(pause=3)
        for c in (one, two):
            e = b.read(c).xml
            self.assertEqual((len(e), e.get("type")), (0, None))
        time.sleep(1)
        self.assertEqual(xmppc.local(b.say("<auth xmlns='%s' mechanism='NONE'/>" % SASL)[0]), "failure")

    def test_pause_too_long(self):
        b = self.bind()
        most = int(self.first.get("maxpause"))
        self.ends(b.say(pause=most + 1), "policy-violation")

    def test_inactivity(self):
        """A pause of a second is an inactivity of a second."""
        a, b = self.blogin(), self.login()
        self.friends(a, b)
        a.drain()
        a.b.next(pause=1)
        b.wait(is_("presence", type_="unavailable", from_=a.jid), 15)
        self.ends(self.bind(start=False).ask(wrap(a.b.rid + 1, sid=a.b.sid)), "item-not-found")

    def test_connections_that_go(self):
        """Held requests whose connection breaks do not take the session along."""
        a, peer = self.blogin(), self.login()
        for _ in range(5):
            a.pump()
            for c in a.b.all:
                c.close()
            a.b.free, a.b.all, pending, a.b.pending = [], [], dict(a.b.pending), {}
            for rid in sorted(pending):     # sent again, as after any broken connection
                a.b.post(wrap(rid, sid=a.b.sid), rid)
            word = lab.token()
            peer.message(a.jid, word)
            a.wait(body_is(word))

    def test_shutdown_is_told(self):
        options, port, _ = webc.web_options()
        d = self.lab.daemon(name=lab.token("d"), milter=False, **options)
        d.add_account("zoe")
        c = self.bconn(port=port)
        c.open()
        c.auth("zoe", mech="SCRAM-SHA-256")
        c.open()
        c.bind()
        c.pump()
        if not c.b.pending:
            c.b.next()
        c.sync()
        if not c.b.pending:
            c.b.next()
        self.assertEqual(d.terminate(), 0)
        c.wait_end()
        self.assertIn(c.condition, ("system-shutdown", "remote-stream-error"))


if __name__ == "__main__":
    lab.main()
