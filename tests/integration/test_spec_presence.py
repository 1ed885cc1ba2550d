"""test_spec_presence - RFC 6121 section 4, rule by rule: presence, probes, directed presence."""
import lab
import xmppc
from case import at, settle
from speclib import SpecCase, presences
from xmppc import DELAY, is_, kid, local, show, text

EXTRA = "<show>dnd</show><status>busy</status><status xml:lang='cs'>Dvo\u0159</status><priority>7</priority>" \
        "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://x.test' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>" \
        "<x xmlns='t:x'><y a='1'/>text</x>"


def content(e):
    return [show(c) for c in e]


class Presence(SpecCase):
    def related(self, state, user=None, **kw):
        """A session whose roster has a contact on the other domain with subscription <state>."""
        a, k = self.interested(user, **kw), self.contact()
        self.subscribe(a, k, state)
        if state == "none":
            self.add(a, k.jid)
        k.settle(a)
        k.got(a)
        return a, k

    # 4.2.2, 4.3.1
    def test_initial_presence_goes_to_subscribers_and_probes_to_contacts(self):
        for state in ("none", "to", "from", "both"):
            with self.subTest(state):
                a, k = self.related(state)
                b = self.login(a.bare.partition("@")[0], presence=False)
                b.presence(inner=EXTRA, id_="init1")
                b.sync()
                got = [(e.get("type"), e.get("from")) for e in k.got(b)]
                self.assertEqual((None, b.jid) in got, state in ("from", "both"))
                # whether a second resource probes is the server's choice; from the bare address if it does
                probes = [f for t, f in got if t == "probe"]
                self.assertIn(probes, ([], [a.bare]))
                if state in ("none", "from"):
                    self.assertEqual(probes, [])

    def test_first_resource_probes_from_bare_to_bare(self):
        a, k = self.related("to")
        user = a.bare.partition("@")[0]
        a.close()
        b = self.login(user)
        e = k.wait(type_="probe")
        self.assertEqual((e.get("from"), e.get("to")), (at(user), k.jid))
        self.assertIn([e.get("type") for e in k.got(b)], ([], ["unavailable"]))

    def test_broadcast_is_the_full_xml(self):
        a, k = self.related("from")
        a.presence(inner=EXTRA, id_="p9")
        e = k.wait(type_=None)
        self.assertEqual((e.get("from"), e.get("id")), (a.jid, "p9"))
        self.assertEqual(e.get("to").partition("/")[0], k.jid)
        self.assertEqual([c.tag.rpartition("}")[2] for c in e], ["show", "status", "status", "priority", "c", "x"])
        self.assertEqual([c.text for c in e][:4], ["dnd", "busy", "Dvo\u0159", "7"])
        x = kid(e, "x", "t:x")
        self.assertEqual((x[0].get("a"), x[0].tail), ("1", "text"))

    def test_own_resources_see_each_other(self):
        u = self.user()
        a, b, c = self.login(u), self.login(u, priority=-1), self.login(u, presence=False)
        for s in (a, b):
            a.presence(inner="<show>away</show>")
            e = s.wait(lambda e: local(e) == "presence" and e.get("from") == a.jid and text(e, "show") == "away")
            self.assertIn(e.get("to"), (a.bare, s.jid))
        # the new one is told of those that are there
        c.presence()
        for s in (a, b, c):
            c.wait(is_("presence", from_=s.jid, type_=None))
        for s in (a, b):
            s.wait(is_("presence", from_=c.jid, type_=None))

    def test_no_presence_before_initial_presence(self):
        u = self.user()
        a, c = self.login(u), self.login(u, presence=False)
        a.presence(inner="<show>away</show>")
        self.assertEqual([show(e) for e in presences(xmppc.fence(a, c))], [])

    # 4.2.3
    def test_presence_of_a_contact_goes_to_all_available_resources(self):
        a, k = self.related("to")
        u = a.bare.partition("@")[0]
        b, c = self.login(u, priority=-128), self.login(u, presence=False)
        k.presence(a.bare, inner="<show>xa</show><e xmlns='t:e'/>", resource="r", id="k1")
        for s in (a, b):
            e = s.wait(is_("presence", from_=k.jid + "/r"))
            self.assertEqual((e.get("to"), e.get("id"), text(e, "show")), (a.bare, "k1", "xa"))
            self.assertIsNotNone(kid(e, "e", "t:e"))
        self.assertEqual(presences(k.settle(c)), [])
        k.presence(a.bare, "unavailable", "<status>bye</status>", resource="r")
        for s in (a, b):
            self.assertEqual(text(s.wait(is_("presence", from_=k.jid + "/r", type_="unavailable")), "status"), "bye")
        self.assertEqual(presences(k.settle(c)), [])

    # 4.3.2: probes to the bare address
    def test_probe_by_strangers_is_answered_unsubscribed(self):
        for state in ("none", "to"):
            a, k = self.related(state)
            k.presence(a.bare, "probe", id="pr1")
            e = k.wait(type_="unsubscribed")
            self.assertEqual((e.get("from"), e.get("to"), e.get("id")), (a.bare, k.jid, "pr1"))
            self.assertEqual([show(x) for x in k.got(a)], [])
            self.assertEqual(a.roster()[k.jid].get("subscription"), state)

    def test_probe_of_nobody(self):
        k = self.contact()
        k.presence(at("nobody-there"), "probe", id="pr1")
        r = self.comp.request("get", "<ping xmlns='%s'/>" % xmppc.PING, at("nobody-there"), k.jid)
        self.assertError(r, "service-unavailable")
        got = [e for e in self.comp.drain() if e.get("to") == k.jid]
        self.assertIn([(e.get("type"), e.get("from")) for e in got], ([], [("unsubscribed", at("nobody-there"))]))

    def test_probe_gives_the_last_presence_of_each_resource(self):
        a, k = self.related("from")
        b = self.login(a.bare.partition("@")[0], priority=-3)
        a.presence(inner=EXTRA, id_="pa")
        b.presence(inner="<show>away</show><priority>-3</priority>", id_="pb")
        k.got(a), k.got(b)
        k.presence(a.bare, "probe", id="pr1")
        got = {e.get("from"): e for e in (k.wait(type_=None), k.wait(type_=None))}
        self.assertEqual(sorted(got), sorted([a.jid, b.jid]))
        self.assertEqual(got[a.jid].get("id"), "pa")    # 4.3.2.1: their ids, not the probe's
        self.assertEqual(got[b.jid].get("id"), "pb")
        self.assertEqual([c.tag.rpartition("}")[2] for c in got[a.jid]][:6], ["show", "status", "status", "priority", "c", "x"])
        self.assertEqual(text(got[b.jid], "priority"), "-3")
        self.assertEqual(got[a.jid].get("to"), k.jid)

    def test_probe_ignores_directed_presence(self):
        a, k = self.related("from")
        a.presence(inner="<show>xa</show>")
        a.presence(to=k.jid, inner="<show>chat</show>")
        k.got(a)
        k.presence(a.bare, "probe")
        self.assertEqual(text(k.wait(type_=None), "show"), "xa")

    def test_probe_without_resources_gives_unavailable_with_its_time(self):
        a, k = self.related("from")
        bare = a.bare
        a.presence("unavailable", inner="<status>gone fishing</status>")
        k.wait(type_="unavailable")
        k.presence(bare, "probe", id="pr7")
        e = k.wait(type_="unavailable")
        self.assertEqual((e.get("from"), e.get("id")), (bare, "pr7"))
        d = kid(e, "delay", DELAY)
        self.assertIsNotNone(d, show(e))
        self.assertRegex(d.get("stamp"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

    def test_a_connected_resource_is_not_available_to_a_probe(self):
        a, k = self.related("from")
        self.login(a.bare.partition("@")[0], presence=False)
        a.presence("unavailable")
        k.wait(type_="unavailable")
        k.presence(a.bare, "probe")
        self.assertEqual(k.wait().get("type"), "unavailable")

    # probes to a full address
    def test_probe_of_a_resource(self):
        a, k = self.related("from")
        b = self.login(a.bare.partition("@")[0])
        a.presence(inner=EXTRA)
        k.got(a), k.got(b)
        k.presence(a.jid, "probe")
        e = k.wait(type_=None)
        self.assertEqual(e.get("from"), a.jid)
        self.assertEqual([show(c) for c in e], [])      # SHOULD: only the fact
        self.assertEqual([show(x) for x in k.got(a)], [])

    def test_probe_of_a_resource_by_a_stranger(self):
        a, k = self.related("none")
        k.presence(a.jid, "probe", id="pr2")
        e = k.wait(type_="unsubscribed")
        self.assertEqual((e.get("from"), e.get("id")), (a.bare, "pr2"))

    def test_probe_of_a_resource_that_is_not_there(self):
        a, k = self.related("from")
        k.presence(a.bare + "/not-there", "probe")
        self.assertEqual([e.get("type") for e in k.got(a) if e.get("type") != "unavailable"], [])

    def test_a_client_may_probe(self):
        a, k = self.related("to")
        a.presence("probe", k.jid)
        k.wait(type_="probe")
        b, c = self.login(), self.login()
        self.friends(b, c)
        c.presence(inner="<show>chat</show>", id_="cc")
        b.wait(lambda e: e.get("id") == "cc")
        b.presence("probe", c.bare)
        e = b.wait(is_("presence", from_=c.jid))
        self.assertEqual((e.get("id"), text(e, "show")), ("cc", "chat"))

    def test_a_client_probing_a_stranger_gets_no_error(self):
        a, b = self.login(), self.login()
        a.presence("probe", b.bare, id_="pr")
        settle(a, b.bare)
        got = presences(a.drain())
        self.assertIn([(e.get("type"), e.get("from")) for e in got], ([], [("unsubscribed", b.bare)]))
        self.assertEqual(presences(xmppc.fence(a, b)), [])

    # 4.4.2
    def test_subsequent_presence_goes_to_subscribers_only_and_does_not_probe(self):
        for state in ("none", "to", "from", "both"):
            with self.subTest(state):
                a, k = self.related(state)
                a.presence(inner="<show>away</show>", id_="s2")
                got = [(e.get("type"), e.get("from"), e.get("id")) for e in k.got(a)]
                self.assertEqual(got, [(None, a.jid, "s2")] if state in ("from", "both") else [])

    # 4.5.2
    def test_unavailable_is_broadcast_with_its_content(self):
        a, k = self.related("both")
        b = self.login(a.bare.partition("@")[0])
        k.got(b)
        a.presence("unavailable", inner="<status>vacation</status><e xmlns='t:e'/>", id_="bye")
        e = k.wait(type_="unavailable")
        self.assertEqual((e.get("from"), e.get("id"), text(e, "status")), (a.jid, "bye", "vacation"))
        self.assertIsNotNone(kid(e, "e", "t:e"))
        for s in (a, b):
            e = s.wait(is_("presence", type_="unavailable", from_=a.jid))
            self.assertEqual(text(e, "status"), "vacation")

    def test_unavailable_is_generated_when_the_stream_ends(self):
        for how in ("close", "cut", "stream"):
            with self.subTest(how):
                a, k = self.related("from")
                b = self.login(a.bare.partition("@")[0])
                k.got(b)
                jid = a.jid
                a.send("<bad>") if how == "stream" else getattr(a, how)()
                if how == "stream":
                    a.send("</stream:stream></x>")
                self.assertEqual(k.wait(type_="unavailable").get("from"), jid)
                b.wait(is_("presence", type_="unavailable", from_=jid))
                self.assertEqual([e.get("type") for e in k.got(b)], [])

    def test_unavailable_not_to_contacts_without_subscription(self):
        for state in ("none", "to"):
            a, k = self.related(state)
            b = self.login(a.bare.partition("@")[0])
            k.got(b)
            a.presence("unavailable")
            self.assertEqual([e.get("type") for e in k.got(a)], [])

    def test_presence_after_unavailable_starts_a_new_session(self):
        a, k = self.related("both")
        a.presence("unavailable")
        k.wait(type_="unavailable")
        a.presence("unavailable")       # twice is not twice
        self.assertEqual([e.get("type") for e in k.got(a)], [])
        a.presence(id_="again")
        self.assertEqual(k.wait(type_=None).get("id"), "again")
        k.wait(type_="probe")

    def test_after_unavailable_nothing_comes(self):
        a, k = self.related("to")
        a.presence("unavailable")
        a.wait(is_("presence", type_="unavailable", from_=a.jid))
        k.presence(a.bare, resource="r")
        self.assertEqual(presences(k.settle(a)), [])

    # 4.6.3
    def test_directed_presence_reaches_a_stranger_once(self):
        a, k = self.related("none")
        a.presence(to=k.jid + "/r", inner=EXTRA, id_="d1")
        e = k.wait(type_=None)
        self.assertEqual((e.get("from"), e.get("to"), e.get("id"), len(e)), (a.jid, k.jid + "/r", "d1", 6))
        a.presence(inner="<show>away</show>")
        self.assertEqual([show(x) for x in k.got(a)], [])
        a.presence("unavailable", inner="<status>off</status>")
        e = k.wait(type_="unavailable")
        self.assertEqual((e.get("from"), e.get("to")), (a.jid, k.jid + "/r"))
        self.assertEqual([show(x) for x in k.got(a)], [])

    def test_directed_presence_ends_with_the_stream(self):
        for how in ("close", "cut"):
            a, k = self.related("none")
            jid = a.jid
            a.presence(to=k.jid)
            k.wait(type_=None)
            getattr(a, how)()
            self.assertEqual(k.wait(type_="unavailable").get("from"), jid)

    def test_directed_unavailable_ends_it(self):
        a, k = self.related("none")
        a.presence(to=k.jid)
        a.presence("unavailable", k.jid, inner="<status>x</status>")
        self.assertEqual([e.get("type") for e in k.got(a)], [None, "unavailable"])
        a.presence("unavailable")
        self.assertEqual([show(e) for e in k.got(a)], [])

    def test_directed_presence_before_initial_presence(self):
        a, k = self.login(presence=False), self.contact()
        a.presence(to=k.jid)
        self.assertEqual([e.get("from") for e in k.got(a)], [a.jid])
        jid = a.jid
        a.cut()
        self.assertEqual(k.wait(type_="unavailable").get("from"), jid)

    def test_directed_presence_to_a_subscriber_leaves_the_broadcast(self):
        a, k = self.related("from")
        a.presence(to=k.jid, inner="<show>dnd</show>")
        self.assertEqual([text(e, "show") for e in k.got(a)], ["dnd"])
        a.presence("unavailable", k.jid)
        self.assertEqual([e.get("type") for e in k.got(a)], ["unavailable"])
        a.presence(inner="<show>away</show>")
        self.assertEqual([text(e, "show") for e in k.got(a)], ["away"])

    def test_one_unavailable_for_directed_and_subscribed(self):
        a, k = self.related("from")
        a.presence(to=k.jid)
        k.got(a)
        a.presence("unavailable")
        self.assertEqual([e.get("type") for e in k.got(a)], ["unavailable"])

    def test_directed_presence_between_local_users(self):
        a, b, b2 = self.login(), self.login(), None
        b2 = self.login(b.bare.partition("@")[0])
        xmppc.fence(b2, b)
        a.presence(to=b.jid, inner="<show>chat</show>", id_="dd")
        e = b.wait(is_("presence", from_=a.jid))
        self.assertEqual((e.get("to"), e.get("id"), text(e, "show")), (b.jid, "dd", "chat"))
        self.assertEqual([show(e) for e in presences(xmppc.fence(a, b2)) if e.get("from") == a.jid], [])
        a.close()
        self.assertEqual(b.wait(is_("presence", from_=a.jid)).get("type"), "unavailable")

    # 4.6.6
    def test_probe_after_directed_presence_tells_mere_presence(self):
        a, k = self.related("none")
        a.presence(inner="<show>away</show>")
        a.presence(to=k.jid + "/r", inner="<show>dnd</show>")
        k.got(a)
        k.presence(a.jid, "probe", resource="r", id="pr9")
        e = k.wait()
        self.assertEqual((e.get("type"), e.get("from"), [show(c) for c in e]), (None, a.jid, []))

    def test_probe_after_directed_presence_ended(self):
        a, k = self.related("none")
        a.presence(to=k.jid)
        a.presence("unavailable", k.jid)
        k.got(a)
        k.presence(a.jid, "probe")
        self.assertIn(k.wait().get("type"), ("unavailable", "unsubscribed"))

    # 4.7.2.3
    def test_priority_limits(self):
        for p in ("-128", "127", "0"):
            a = self.login(presence=False)
            a.presence(inner="<priority>%s</priority>" % p)
            self.assertEqual(text(a.wait(is_("presence", from_=a.jid)), "priority"), p)
        for p in ("128", "-129", "1.5", "high", ""):
            with self.subTest(p):
                a = self.login(presence=False)
                a.presence(inner="<priority>%s</priority>" % p, id_="pp")
                e = a.wait("presence")
                if e.get("type") == "error":
                    self.assertError(e, "bad-request", "modify")
                a.sync()

    # 4.7.1
    def test_type_available_does_not_exist(self):
        a = self.login()
        a.presence("available", id_="av")
        self.assertError(a.wait(is_("presence", id="av")), "bad-request", "modify")

    def test_presence_error_to_a_contact_is_delivered(self):
        a, b = self.login(), self.login()
        a.send("<presence type='error' to='%s' id='pe'><error type='cancel'><gone xmlns='%s'/></error></presence>" % (
            b.jid, xmppc.STANZA_ERRORS))
        self.assertError(b.wait(is_("presence", id="pe")), "gone")


if __name__ == "__main__":
    lab.main()
