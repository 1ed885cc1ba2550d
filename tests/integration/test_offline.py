"""test_offline - XEP-0160 with the stamps of XEP-0203: messages for people who are away."""
import datetime
import re

import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import DELAY, body_is, fence, is_, kid, local, text

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


class Offline(ServerCase):
    def stored(self, name, *words, inner="", type_="chat"):
        a = self.login()
        for w in words:
            a.message(at(name), w, type_, inner)
        settle(a, at(name))
        self.none_of(a.drain(), "message", type_="error")
        return a

    def bodies(self, c):
        return [text(e) for e in fence(c, c) if local(e) == "message"]

    def test_delivered_at_login_with_stamp(self):
        name = self.user()
        before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
        a = self.stored(name, "hello")
        c = self.login(name)
        m = c.wait(body_is("hello"))
        self.assertEqual((m.get("from"), m.get("to"), m.get("type")), (a.jid, at(name), "chat"))
        d = kid(m, "delay", DELAY)
        self.assertIsNotNone(d, "XEP-0160: a delay stamp is required")
        self.assertRegex(d.get("stamp"), STAMP)
        when = datetime.datetime.fromisoformat(d.get("stamp").replace("Z", "+00:00"))
        self.assertTrue(before <= when <= datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2), d.get("stamp"))
        self.assertIn(d.get("from"), (None, lab.DOMAIN, at(name)))

    def test_as_deep_as_allowed(self):
        """What may be said at all (max_depth) waits, is archived and comes out of either."""
        name = self.user()
        deep = "<x xmlns='u:x'>" + "<y>" * 98 + "</y>" * 98 + "</x>"
        self.stored(name, "deep", inner=deep)
        c = self.login(name)
        self.assertEqual(sum(1 for _ in c.wait(body_is("deep")).iter("{u:x}y")), 98)
        c.iq("set", "<query xmlns='urn:xmpp:mam:2'/>")
        found = [e for e in c.drain() if kid(e, "result", "urn:xmpp:mam:2") is not None]
        self.assertEqual([sum(1 for _ in e.iter("{u:x}y")) for e in found], [98])

    def test_in_order_and_once(self):
        name = self.user()
        words = ["n%d" % i for i in range(50)]
        self.stored(name, *words)
        c = self.login(name)
        self.assertEqual(self.bodies(c), words)
        c.close()
        c = self.login(name)
        self.assertEqual(self.bodies(c), [])

    def test_from_several_senders(self):
        name = self.user()
        for i in range(5):
            self.stored(name, "s%d" % i)
        self.assertEqual(self.bodies(self.login(name)), ["s%d" % i for i in range(5)])

    def test_waits_for_presence(self):
        """XEP-0160: delivered with the first presence of non-negative priority."""
        name = self.user()
        self.stored(name, "patience")
        c = self.login(name, presence=False)
        self.assertEqual(self.bodies(c), [])
        c.presence(priority=-1)
        c.wait(is_("presence", from_=c.jid))
        self.assertEqual(self.bodies(c), [])
        c.presence(priority=0)
        c.wait(body_is("patience"))

    def test_only_the_first_resource_gets_them(self):
        name = self.user()
        self.stored(name, "only-once")
        a = self.login(name)
        a.wait(body_is("only-once"))
        b = self.login(name)
        self.assertEqual(self.bodies(b), [])

    def test_normal_is_stored_too(self):
        name = self.user()
        self.stored(name, "normally", type_=None)
        self.login(name).wait(body_is("normally"))

    def test_content_survives(self):
        name = self.user()
        a = self.login()
        a.send("<message to='%s' type='chat' id='keep-me' xml:lang='de'><subject>S</subject><body>&lt;b&gt; \u2603</body><thread>t</thread>"
               "<x xmlns='urn:tandem:test' a='1'><y/></x></message>" % at(name))
        settle(a, at(name))
        m = self.login(name).wait(is_("message", id="keep-me"))
        self.assertEqual((text(m), text(m, "subject"), text(m, "thread")), ("<b> \u2603", "S", "t"))
        self.assertEqual(kid(m, "x", "urn:tandem:test").get("a"), "1")

    def test_chat_states_alone_are_not_stored(self):
        """XEP-0160 section 3."""
        name = self.user()
        a = self.login()
        a.message(at(name), None, inner="<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        settle(a, at(name))
        self.assertEqual(self.bodies(self.login(name)), [])

    def test_no_store_hint(self):
        """XEP-0334."""
        name = self.user()
        a = self.login()
        a.message(at(name), "burn", inner="<no-store xmlns='urn:xmpp:hints'/>")
        settle(a, at(name))
        self.assertEqual(self.bodies(self.login(name)), [])

    def test_survives_restart(self):
        name = self.user()
        self.stored(name, "durable")
        self.d.terminate()
        self.d.start()
        self.login(name).wait(body_is("durable"))

    def test_survives_sigkill(self):
        name = self.user()
        a = self.login(sm=True)
        a.message(at(name), "durable2")
        lab.wait_until(lambda: a.sm_request() == 2, text="the server's count to be 2 (presence and message)")
        self.d.kill()
        self.d.start()
        self.login(name).wait(body_is("durable2"))

    def test_delay_of_others_is_kept_apart(self):
        """A stamp by somebody else stays; ours is found by its from."""
        name = self.user()
        self.stored(name, "stamped", inner="<delay xmlns='%s' from='room@x.test' stamp='2001-01-01T00:00:00Z'/>" % DELAY)
        m = self.login(name).wait(body_is("stamped"))
        stamps = [e.get("stamp") for e in m if e.tag == "{%s}delay" % DELAY]
        self.assertTrue(any(not s.startswith("2001") for s in stamps), stamps)

    def test_feature(self):
        """XEP-0160 section 4: msgoffline."""
        c = self.login()
        q = kid(c.get(xmppc.DISCO_INFO, to=c.domain), "query", xmppc.DISCO_INFO)
        self.assertIn("msgoffline", [f.get("var") for f in q if local(f) == "feature"])


if __name__ == "__main__":
    lab.main()
