"""test_presence - RFC 6121 section 4: who sees whom, and when."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import Closed, fence, is_, kid, local, text


class Presence(ServerCase):
    def available(self, user, **kw):
        c = self.login(user, **kw)
        return c

    def test_initial_presence_reaches_subscribers(self):
        """4.2.2."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        name = a.bare.partition("@")[0]
        a.close()
        b.wait(is_("presence", type_="unavailable", from_=a.jid))
        a2 = self.login(name, presence=False)
        a2.presence(priority=3, inner="<show>away</show><status>here</status>")
        p = b.wait(is_("presence", from_=a2.jid))
        self.assertEqual((text(p, "show"), text(p, "status"), text(p, "priority")), ("away", "here", "3"))
        # and 4.3: the newcomer learns of b
        a2.wait(is_("presence", from_=b.jid, type_=None))

    def test_not_before_initial_presence(self):
        """4.2: a bound resource is not available yet."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        name = a.bare.partition("@")[0]
        silent = self.login(name, presence=False)
        silent.message(b.jid, "x")
        b.wait(is_("message", from_=silent.jid))
        self.none_of(b.drain(), "presence", from_=silent.jid)
        b.presence(inner="<status>new</status>")
        a.wait(lambda e: e.get("from") == b.jid and text(e, "status") == "new")
        silent.sync()
        self.none_of(silent.drain(), "presence", from_=b.jid)

    def test_strangers_see_nothing(self):
        a, b = self.login(), self.login()
        a.presence(inner="<status>secret</status>")
        self.none_of(fence(a, b), "presence", from_=a.jid)

    def test_one_way(self):
        """4.2.2: subscribers (from, both) see; who is only seen does not."""
        a, b = self.login(), self.login()
        a.roster(), b.roster()
        b.presence("subscribe", a.bare)
        a.wait(is_("presence", type_="subscribe"))
        a.presence("subscribed", b.bare)
        b.wait(is_("presence", from_=a.jid, type_=None))
        b.presence(inner="<status>unseen</status>")
        self.none_of(fence(b, a), "presence", from_=b.jid)
        a.presence(inner="<status>seen</status>")
        b.wait(lambda e: text(e, "status") == "seen")

    def test_update_reaches_all_resources_of_subscriber(self):
        """4.4.2."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        b2 = self.login(b.bare.partition("@")[0])
        b2.wait(is_("presence", from_=a.jid))
        a.presence(inner="<show>dnd</show>")
        for x in (b, b2):
            self.assertEqual(text(x.wait(lambda e: e.get("from") == a.jid and text(e, "show") == "dnd"), "show"), "dnd")

    def test_own_resources_see_each_other(self):
        """4.2.2, 4.3.2."""
        name = self.user()
        a = self.login(name)
        b = self.login(name)
        a.wait(is_("presence", from_=b.jid, type_=None))
        b.wait(is_("presence", from_=a.jid, type_=None))
        b.close()
        a.wait(is_("presence", from_=b.jid, type_="unavailable"))

    def test_extensions_pass(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.presence(inner="<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>")
        c = b.wait(lambda e: e.get("from") == a.jid and kid(e, "c", "http://jabber.org/protocol/caps") is not None)
        self.assertEqual(c[0].get("ver"), "v")

    def test_unavailable_on_close(self):
        """4.5.2."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.close()
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))

    def test_unavailable_on_lost_connection(self):
        """4.5.2: the server says it for a client that could not."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.cut()
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))

    def test_unavailable_with_status(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.presence("unavailable", inner="<status>bye</status>")
        p = b.wait(is_("presence", from_=a.jid, type_="unavailable"))
        self.assertEqual(text(p, "status"), "bye")
        # said once, not again at the end of the stream
        a.close()
        other = self.login()
        settle(other, b.bare)
        self.none_of(fence(other, b), "presence", from_=a.jid)

    def test_back_after_unavailable(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.presence("unavailable")
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))
        a.presence()
        b.wait(is_("presence", from_=a.jid, type_=None))

    def test_unavailable_resource_gets_no_broadcasts(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.presence("unavailable")
        fence(a, a)
        b.presence(inner="<status>x</status>")
        self.none_of(fence(b, a), "presence", from_=b.jid)

    def test_directed_presence(self):
        """4.6.3: reaches a stranger, and its end is told too."""
        a, b = self.login(), self.login()
        a.presence(to=b.jid, inner="<status>for you</status>")
        p = b.wait(is_("presence", from_=a.jid))
        self.assertEqual((text(p, "status"), p.get("to")), ("for you", b.jid))
        a.presence("unavailable")
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))

    def test_directed_presence_ends_with_lost_connection(self):
        a, b = self.login(), self.login()
        a.presence(to=b.jid)
        b.wait(is_("presence", from_=a.jid))
        a.cut()
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))

    def test_directed_presence_taken_back(self):
        """4.6.4: once, not again at the end."""
        a, b = self.login(), self.login()
        a.presence(to=b.jid)
        b.wait(is_("presence", from_=a.jid, type_=None))
        a.presence("unavailable", to=b.jid)
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))
        a.close()
        other = self.login()
        settle(other, b.bare)
        self.none_of(fence(other, b), "presence", from_=a.jid)

    def test_directed_to_bare_reaches_all_resources(self):
        """8.5.2.1.2."""
        name = self.user()
        a, b1, b2 = self.login(), self.login(name), self.login(name)
        a.presence(to=at(name))
        for b in (b1, b2):
            self.assertEqual(b.wait(is_("presence", from_=a.jid)).get("to"), at(name))

    def test_directed_to_offline_is_ignored(self):
        """8.5.2.2.2."""
        a, name = self.login(), self.user()
        a.presence(to=at(name))
        settle(a, at(name))
        self.none_of(a.drain(), "presence", type_="error")
        c = self.login(name)
        self.none_of(fence(c, c), "presence", from_=a.jid)

    def test_probe_by_client_reveals_nothing_to_strangers(self):
        """4.3.2: who may not see learns nothing but unsubscribed."""
        a, b = self.login(), self.login()
        a.presence("probe", to=b.bare)
        settle(a, b.bare)
        got = [e for e in fence(b, a) if e.get("from", "").startswith(b.bare) and xmppc.local(e) == "presence"]
        self.assertEqual([e.get("type") for e in got if e.get("type") not in ("unsubscribed", "error")], [])

    def test_probe_by_subscriber(self):
        """4.3.2: the current presence."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        b.presence(inner="<status>now</status>")
        a.wait(lambda e: text(e, "status") == "now")
        a.presence("probe", to=b.bare)
        p = a.wait(lambda e: e.get("from") == b.jid and e.get("type") is None)
        self.assertEqual(text(p, "status"), "now")
        # XEP-0318 3.1: and how old that is
        d = kid(p, "delay", xmppc.DELAY)
        self.assertEqual(d.get("from"), b.jid)
        self.assertRegex(d.get("stamp"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d.*Z$")
        # what the client stamped itself stays alone
        b.presence(inner="<delay xmlns='%s' stamp='2020-01-01T00:00:00Z'/>" % xmppc.DELAY)
        a.wait(lambda e: e.get("from") == b.jid)
        a.presence("probe", to=b.bare)
        p = a.wait(lambda e: e.get("from") == b.jid)
        self.assertEqual([e.get("stamp") for e in p if local(e) == "delay"], ["2020-01-01T00:00:00Z"])

    def test_bad_type(self):
        """4.7.1."""
        c = self.login()
        c.send("<presence type='invisible-ish' id='bt'/>")
        try:
            self.assertError(c.wait(is_("presence", id="bt")), "bad-request")
        except Closed:
            self.fail("a bad presence type must not end the stream: %s" % c.stream_error)

    def test_priority_bounds(self):
        """4.7.2.3: -128 to 127; others are refused or taken as something within."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        for p in (-128, 0, 127):
            a.presence(priority=p)
            b.wait(lambda e, p=p: e.get("from") == a.jid and text(e, "priority") == str(p)
                   or p == 0 and e.get("from") == a.jid and text(e, "priority") in (None, "0"))
        for bad in ("128", "-129", "9999999999999999999", "x", "", "1.5"):
            with self.subTest(bad=bad):
                a.send("<presence id='pb'><priority>%s</priority></presence>" % bad)
                a.sync()

    def test_flood_keeps_order(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        b.drain()
        a.send("".join("<presence><status>%d</status></presence>" % i for i in range(200)))
        last = -1
        while last < 199:
            p = b.wait(is_("presence", from_=a.jid))
            self.assertGreater(int(text(p, "status")), last)
            last = int(text(p, "status"))

    def test_killed_session_is_unavailable(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        self.d.ctl("session", "kick", a.jid)
        b.wait(is_("presence", from_=a.jid, type_="unavailable"))
        a.wait_end()


if __name__ == "__main__":
    lab.main()
