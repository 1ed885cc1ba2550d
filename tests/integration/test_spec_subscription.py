"""test_spec_subscription - RFC 6121 section 3 and appendix A: every cell of the tables, and the flows."""
import lab
import xmppc
from case import at
from speclib import SpecCase, presences, pushes
from xmppc import ROSTER, is_, kid, local, show, text

# state: (subscription, ask, pending in); subscription None = no item
STATES = {
    "None": ("none", None, False),
    "None (no item)": (None, None, False),
    "None + Pending Out": ("none", "subscribe", False),
    "None + Pending In": ("none", None, True),
    "None + Pending In (no item)": (None, None, True),
    "None + Pending Out+In": ("none", "subscribe", True),
    "To": ("to", None, False),
    "To + Pending In": ("to", None, True),
    "From": ("from", None, False),
    "From + Pending Out": ("from", "subscribe", False),
    "Both": ("both", None, False),
}
ITEMS = [s for s in STATES if "(no item)" not in s]


class Tables(SpecCase):
    """The user is ours, the contact is on another domain."""

    def enter(self, state):
        """A session and a contact in that state."""
        a, k = self.interested(), self.contact()
        sub, ask, pending = STATES[state]
        if sub is not None:
            self.add(a, k.jid, "K", ["G"])
        self.subscribe(a, k, sub)
        if ask:
            a.presence("subscribe", k.jid)
            k.wait(type_="subscribe")
        if pending:
            k.presence(a.bare, "subscribe", "<status>please</status>")
            a.wait(is_("presence", type_="subscribe", from_=k.jid))
        k.settle(a)
        self.assertState(a, k, state)
        k.got(a)
        return a, k

    def state(self, a, k):
        i = a.roster().get(k.jid)
        # the request is presented to each new available resource until it is answered (3.1.3)
        b = xmppc.login(self.port, a.bare.partition("@")[0])
        k.settle(b)
        pending = any(e.get("type") == "subscribe" and e.get("from") == k.jid for e in b.seen if local(e) == "presence")
        b.close()
        a.wait(is_("presence", type_="unavailable", from_=b.jid))
        return (i.get("subscription") or "none", i.get("ask"), pending) if i is not None else (None, None, pending)

    def assertState(self, a, k, state):
        self.assertEqual(self.state(a, k), STATES[state], state)

    def outbound(self, type_, state, route, new, approved=False):
        with self.subTest(state, out=type_):
            a, k = self.enter(state)
            before = a.roster().get(k.jid)
            a.presence(type_, k.jid, id_="sub1")
            out = k.got(a)
            types = [e.get("type") for e in out]
            if route is not None:
                self.assertEqual(type_ in types, route, types)
            for e in out:
                if e.get("type") == type_:
                    # section 3: stamped with the bare address; the rest is untouched
                    self.assertEqual((e.get("from"), e.get("to"), e.get("id")), (a.bare, k.jid, "sub1"))
            a.sync()
            k.settle(a)
            # the state shows after k.settle: what was pushed is in a.seen
            self.assertState(a, k, new)
            i = a.roster().get(k.jid)
            self.assertEqual(i is not None and i.get("approved") == "true", approved)
            changed = (before is None) != (i is None) or (i is not None and show(before) != show(i))
            last = [x for x in pushes(a.seen) if x.get("jid") == k.jid]
            if changed:
                self.assertEqual((last[-1].get("subscription"), last[-1].get("ask"), last[-1].get("approved")),
                                 (i.get("subscription"), i.get("ask"), i.get("approved")))
            if i is not None and STATES[state][0]:
                self.assertEqual(i.get("name"), "K")
            self.seen_by_contact(a, k, out, type_, state, new)

    def seen_by_contact(self, a, k, out, type_, state, new):
        types = [e.get("type") for e in out]
        had, has = STATES[state][0] in ("from", "both"), STATES[new][0] in ("from", "both")
        if has and not had:     # 3.1.5: current presence follows the approval
            self.assertEqual([(e.get("type"), e.get("from")) for e in out], [("subscribed", a.bare), (None, a.jid)])
        if had and not has:     # 3.2.2: unavailable presence goes before the cancellation
            self.assertEqual([(e.get("type"), e.get("from")) for e in out], [("unavailable", a.jid), ("unsubscribed", a.bare)])
        if had == has:
            self.assertNotIn("unavailable", types)
            self.assertNotIn(None, types)

    def inbound(self, type_, state, deliver, new, reply=None):
        with self.subTest(state, inbound=type_):
            a, k = self.enter(state)
            k.presence(a.bare, type_, "<status>hear</status><x xmlns='t:x'>e</x>", id="in1")
            seen = k.settle(a)
            got = [e for e in presences(seen, type_) if e.get("from") == k.jid]
            if deliver is not None:
                self.assertEqual(bool(got), deliver, [show(e) for e in seen])
            for e in got:
                self.assertEqual((e.get("to"), e.get("id"), text(e, "status"), kid(e, "x", "t:x") is not None),
                                 (a.bare, "in1", "hear", True))
            moved = [i for i in pushes(seen) if i.get("jid") == k.jid]
            out = k.got(a)
            self.assertState(a, k, new)
            i = a.roster().get(k.jid)
            if STATES[state][:2] == STATES[new][:2]:
                self.assertEqual([show(x) for x in moved], [])
            else:
                self.assertEqual([(x.get("subscription"), x.get("ask")) for x in moved], [STATES[new][:2]])
                # the stanza goes before the push (3.1.6, 3.2.3, 3.3.3)
                order = [local(e) for e in seen if e.get("type") in (type_, "set")]
                self.assertEqual(order, ["presence", "iq"])
            if i is not None:
                self.assertEqual((i.get("name"), [g.text for g in i]), ("K", ["G"]))
            types = [e.get("type") for e in out]
            if reply:
                self.assertIn(reply, types)
                e = next(e for e in out if e.get("type") == reply)
                self.assertEqual((e.get("from"), e.get("to")), (a.bare, k.jid))
            if STATES[state][0] in ("from", "both") and STATES[new][0] not in ("from", "both"):
                self.assertIn(("unavailable", a.jid), [(e.get("type"), e.get("from")) for e in out])
            else:
                self.assertNotIn("unavailable", types)
            self.assertNotIn("error", types)

    # A.2.1
    def test_outbound_subscribe(self):
        for old, new in (("None", "None + Pending Out"), ("None (no item)", "None + Pending Out"),
                         ("None + Pending Out", "None + Pending Out"),
                         ("None + Pending In", "None + Pending Out+In"), ("None + Pending In (no item)", "None + Pending Out+In"),
                         ("None + Pending Out+In", "None + Pending Out+In"), ("To", "To"),
                         ("To + Pending In", "To + Pending In"), ("From", "From + Pending Out"),
                         ("From + Pending Out", "From + Pending Out"), ("Both", "Both")):
            self.outbound("subscribe", old, True, new)

    # A.2.2
    def test_outbound_unsubscribe(self):
        for old, new in (("None", "None"), ("None + Pending Out", "None"), ("None + Pending In", "None + Pending In"),
                         ("None + Pending Out+In", "None + Pending In"), ("To", "None"), ("To + Pending In", "None + Pending In"),
                         ("From", "From"), ("From + Pending Out", "From"), ("Both", "From")):
            self.outbound("unsubscribe", old, True, new)

    # A.2.3, 3.4.2
    def test_outbound_subscribed(self):
        for old, route, new, approved in (
                ("None", False, "None", True), ("None (no item)", False, "None", True),
                ("None + Pending Out", False, "None + Pending Out", True),
                ("None + Pending In", True, "From", False), ("None + Pending In (no item)", True, "From", False),
                ("None + Pending Out+In", True, "From + Pending Out", False), ("To", False, "To", True),
                ("To + Pending In", True, "Both", False), ("From", False, "From", False),
                ("From + Pending Out", False, "From + Pending Out", False), ("Both", False, "Both", False)):
            self.outbound("subscribed", old, route, new, approved)

    # A.2.4
    def test_outbound_unsubscribed(self):
        for old, route, new in (
                ("None", False, "None"), ("None (no item)", False, "None (no item)"),
                ("None + Pending Out", False, "None + Pending Out"), ("None + Pending In", True, "None"),
                ("None + Pending In (no item)", True, "None (no item)"),
                ("None + Pending Out+In", True, "None + Pending Out"), ("To", False, "To"), ("To + Pending In", True, "To"),
                ("From", True, "None"), ("From + Pending Out", True, "None + Pending Out"), ("Both", True, "To")):
            self.outbound("unsubscribed", old, route, new)

    # A.3.1
    def test_inbound_subscribe(self):
        for old, deliver, new, reply in (
                ("None", True, "None + Pending In", None), ("None (no item)", True, "None + Pending In (no item)", None),
                ("None + Pending Out", True, "None + Pending Out+In", None),
                ("None + Pending In", False, "None + Pending In", None),
                ("None + Pending In (no item)", False, "None + Pending In (no item)", None),
                ("None + Pending Out+In", False, "None + Pending Out+In", None),
                ("To", True, "To + Pending In", None), ("To + Pending In", False, "To + Pending In", None),
                ("From", False, "From", "subscribed"), ("From + Pending Out", False, "From + Pending Out", "subscribed"),
                ("Both", False, "Both", "subscribed")):
            self.inbound("subscribe", old, deliver, new, reply)

    # A.3.2; for the pending states 3.3.3 says not to deliver, the table says to: not asked
    def test_inbound_unsubscribe(self):
        for old, deliver, new, reply in (
                ("None", False, "None", None), ("None (no item)", False, "None (no item)", None),
                ("None + Pending Out", False, "None + Pending Out", None), ("None + Pending In", None, "None", None),
                ("None + Pending In (no item)", None, "None (no item)", None),
                ("None + Pending Out+In", None, "None + Pending Out", None), ("To", False, "To", None),
                ("To + Pending In", None, "To", None), ("From", True, "None", "unsubscribed"),
                ("From + Pending Out", True, "None + Pending Out", "unsubscribed"), ("Both", True, "To", "unsubscribed")):
            self.inbound("unsubscribe", old, deliver, new, reply)

    # A.3.3
    def test_inbound_subscribed(self):
        for old, deliver, new in (
                ("None", False, "None"), ("None (no item)", False, "None (no item)"), ("None + Pending Out", True, "To"),
                ("None + Pending In", False, "None + Pending In"), ("None + Pending Out+In", True, "To + Pending In"),
                ("To", False, "To"), ("To + Pending In", False, "To + Pending In"), ("From", False, "From"),
                ("From + Pending Out", True, "Both"), ("Both", False, "Both")):
            self.inbound("subscribed", old, deliver, new)

    # A.3.4
    def test_inbound_unsubscribed(self):
        for old, deliver, new in (
                ("None", False, "None"), ("None (no item)", False, "None (no item)"), ("None + Pending Out", True, "None"),
                ("None + Pending In", False, "None + Pending In"), ("None + Pending Out+In", True, "None + Pending In"),
                ("To", True, "None"), ("To + Pending In", True, "None + Pending In"), ("From", False, "From"),
                ("From + Pending Out", True, "From"), ("Both", True, "From")):
            self.inbound("unsubscribed", old, deliver, new)


class Flows(SpecCase):
    # 3.1.2
    def test_subscribe_to_a_full_jid_goes_to_the_bare_one(self):
        a, k = self.interested(), self.contact()
        a.presence("subscribe", k.jid + "/res")
        e = k.wait(type_="subscribe")
        self.assertEqual((e.get("to"), e.get("from")), (k.jid, a.bare))
        self.assertEqual(list(a.roster()), [k.jid])

    def test_local_subscribe_to_a_full_jid(self):
        a, b = self.interested(), self.interested()
        a.presence("subscribe", b.jid)
        e = b.wait(is_("presence", type_="subscribe"))
        self.assertEqual((e.get("to"), e.get("from")), (b.bare, a.bare))
        self.assertEqual(list(a.roster()), [b.bare])

    def test_inbound_subscribe_to_a_full_jid(self):
        a, k = self.interested(), self.contact()
        a2 = self.interested(a.bare.partition("@")[0])
        k.presence(a.jid, "subscribe")
        for s in (a, a2):
            self.assertEqual(s.wait(is_("presence", type_="subscribe")).get("to"), a.bare)

    def test_subscribe_to_a_malformed_jid(self):
        a = self.interested()
        a.presence("subscribe", "a@b@far.lab.test", id_="m1")
        self.assertError(a.wait(is_("presence", type_="error", id="m1")), "jid-malformed", "modify")
        self.assertEqual(a.roster(), {})

    def test_a_subscribe_that_cannot_be_routed_comes_back(self):
        a = self.interested()
        a.presence("subscribe", "x@unknown-domain.invalid", id_="u1")
        e = a.wait(is_("presence", type_="error", id="u1"), 30)
        self.assertError(e, ("remote-server-not-found", "remote-server-timeout", "service-unavailable", "not-allowed"))
        self.assertEqual((e.get("from"), e.get("to").partition("/")[0]), ("x@unknown-domain.invalid", a.bare))

    def test_push_after_subscribe_goes_to_all_interested(self):
        u, k = self.user(), self.contact()
        a, b = self.interested(u), self.interested(u)
        a.presence("subscribe", k.jid)
        for s in (a, b):
            i = self.push(s, k.jid)
            self.assertEqual((i.get("subscription"), i.get("ask")), ("none", "subscribe"))

    # 3.1.3
    def test_no_item_before_approval(self):
        a, k = self.interested(), self.contact()
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        self.assertEqual(a.roster(), {})
        self.assertEqual(pushes(a.drain()), [])

    def test_request_goes_to_all_available_resources(self):
        u, k = self.user(), self.contact()
        a, b, c = self.login(u), self.login(u, priority=-5), self.login(u, presence=False)
        k.presence(at(u), "subscribe")
        for s in (a, b):
            s.wait(is_("presence", type_="subscribe", from_=k.jid))
        self.none_of(k.settle(c), "presence", type_="subscribe")

    def test_complete_request_waits_for_a_resource(self):
        u, k = self.user(), self.contact()
        k.presence(at(u), "subscribe", "<status xml:lang='en'>Hi</status><nick xmlns='http://jabber.org/protocol/nick'>K</nick>",
                   id="req1")
        k.presence(at(u), "subscribe", "<status xml:lang='en'>Hi</status><nick xmlns='http://jabber.org/protocol/nick'>K</nick>",
                   id="req1")
        self.comp.request("get", "<ping xmlns='%s'/>" % xmppc.PING, at(u))
        for _ in range(2):      # again and again until it is answered, but once each time
            a = self.login(u)
            e = a.wait(is_("presence", type_="subscribe", from_=k.jid))
            self.assertEqual((e.get("id"), text(e, "status"), e.get("to")), ("req1", "Hi", at(u)))
            self.assertIsNotNone(kid(e, "nick", "http://jabber.org/protocol/nick"))
            self.none_of(k.settle(a), "presence", type_="subscribe")
            a.close()
        a = self.login(u)
        a.presence("unsubscribed", k.jid)
        k.wait(type_="unsubscribed")
        b = self.login(u)
        self.none_of(k.settle(b), "presence", type_="subscribe")

    def test_a_request_is_not_repeated_with_each_presence(self):
        a, k = self.interested(), self.contact()
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        a.presence(inner="<show>away</show>")
        self.none_of(k.settle(a), "presence", type_="subscribe")

    def test_requests_survive_a_restart_of_presence(self):
        a, k = self.interested(), self.contact()
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        a.presence("unavailable")
        a.presence()
        a.wait(is_("presence", type_="subscribe"))

    # 3.1.5
    def test_approval_gives_presence_of_all_available_resources(self):
        u, k = self.user(), self.contact()
        a, b, c = self.interested(u), self.login(u, priority=-1), self.login(u, presence=False)
        k.presence(at(u), "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        a.presence("subscribed", k.jid)
        k.wait(type_="subscribed")
        self.assertEqual(sorted(e.get("from") for e in k.got(a)), sorted([a.jid, b.jid]))
        self.assertEqual(self.push(a, k.jid).get("subscription"), "from")

    # 3.1.6: to interested resources, available or not, before the push
    def test_approval_reaches_interested_resources(self):
        u, k = self.user(), self.contact()
        a, b = self.interested(u), self.login(u, presence=False)
        b.roster()
        a.presence("subscribe", k.jid)
        k.wait(type_="subscribe")
        k.presence(at(u), "subscribed")
        for s in (a, b):
            s.wait(is_("presence", type_="subscribed"))
            self.assertEqual(self.push(s, k.jid).get("ask"), "subscribe")
            self.assertEqual(self.push(s, k.jid).get("subscription"), "to")

    # 3.2.2, with two resources
    def test_cancel_sends_unavailable_from_each_resource(self):
        u, k = self.user(), self.contact()
        a, b = self.interested(u), self.login(u)
        k.presence(at(u), "subscribe")
        a.wait(is_("presence", type_="subscribe"))
        a.presence("subscribed", k.jid)
        k.wait(type_="subscribed")
        k.got(a)
        a.presence("unsubscribed", k.jid)
        got = [(e.get("type"), e.get("from")) for e in k.got(a)]
        self.assertEqual(sorted(got[:2]), sorted([("unavailable", a.jid), ("unavailable", b.jid)]))
        self.assertEqual(got[2:], [("unsubscribed", at(u))])
        b.presence(inner="<show>away</show>")
        self.assertEqual([show(e) for e in k.got(b)], [])

    # 3.4
    def test_preapproval_is_advertised(self):
        self.assertIsNotNone(self.authed().features.find("{urn:xmpp:features:pre-approval}sub"))

    def preapproved(self):
        a, k = self.interested(), self.contact()
        a.presence("subscribed", k.jid)
        self.assertEqual(self.push(a, k.jid).get("approved"), "true")
        return a, k

    def test_preapproval_answers_for_the_user(self):
        a, k = self.preapproved()
        k.presence(a.bare, "subscribe", id="s1")
        e = k.wait(type_="subscribed")
        self.assertEqual((e.get("from"), e.get("to")), (a.bare, k.jid))
        k.wait(type_=None, from_=a.jid)
        self.none_of(k.settle(a), "presence", type_="subscribe")
        self.assertEqual(a.roster()[k.jid].get("subscription"), "from")

    def test_preapproval_answers_while_the_user_is_away(self):
        a, k = self.preapproved()
        user = a.bare
        a.close()
        k.presence(user, "subscribe")
        k.wait(type_="subscribed")
        b = self.login(user.partition("@")[0])
        self.assertEqual(b.roster()[k.jid].get("subscription"), "from")

    def test_preapproval_is_cancelled_by_unsubscribed(self):
        a, k = self.preapproved()
        a.presence("unsubscribed", k.jid)
        self.assertIn(self.push(a, k.jid).get("approved"), (None, "false"))
        self.assertEqual([show(e) for e in k.got(a)], [])
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))

    def test_preapproval_goes_with_the_item(self):
        a, k = self.preapproved()
        self.assertResult(a.iq("set", "<query xmlns='%s'><item jid='%s' subscription='remove'/></query>" % (ROSTER, k.jid)))
        k.presence(a.bare, "subscribe")
        a.wait(is_("presence", type_="subscribe"))

    def test_preapproval_survives_a_roster_set_and_a_probe(self):
        a, k = self.preapproved()
        self.add(a, k.jid, "K")
        k.presence(a.bare, "probe")
        k.got(a)
        self.assertEqual(a.roster()[k.jid].get("approved"), "true")
        k.presence(a.bare, "subscribe")
        k.wait(type_="subscribed")

    def test_preapproval_with_pending_out(self):
        a, k = self.preapproved()
        a.presence("subscribe", k.jid)
        k.wait(type_="subscribe")
        k.presence(a.bare, "subscribed")
        a.wait(is_("presence", type_="subscribed"))
        k.presence(a.bare, "subscribe")
        k.wait(type_="subscribed")
        k.settle(a)
        self.assertEqual(a.roster()[k.jid].get("subscription"), "both")

    # the whole of it between two local users
    def test_local_mutual_subscription(self):
        a, b = self.interested(), self.interested()
        a.presence("subscribe", b.bare)
        i = self.push(a, b.bare)
        self.assertEqual((i.get("subscription"), i.get("ask")), ("none", "subscribe"))
        b.wait(is_("presence", type_="subscribe", from_=a.bare))
        b.presence("subscribed", a.bare)
        self.assertEqual(self.push(b, a.bare).get("subscription"), "from")
        a.wait(is_("presence", type_="subscribed", from_=b.bare))
        i = self.push(a, b.bare)
        self.assertEqual((i.get("subscription"), i.get("ask")), ("to", None))
        a.wait(is_("presence", type_=None, from_=b.jid))
        b.presence("subscribe", a.bare)
        i = self.push(b, a.bare)
        self.assertEqual((i.get("subscription"), i.get("ask")), ("from", "subscribe"))
        a.wait(is_("presence", type_="subscribe", from_=b.bare))
        a.presence("subscribed", b.bare)
        self.assertEqual(self.push(a, b.bare).get("subscription"), "both")
        b.wait(is_("presence", type_="subscribed", from_=a.bare))
        self.assertEqual(self.push(b, a.bare).get("subscription"), "both")
        b.wait(is_("presence", type_=None, from_=a.jid))
        # and back
        a.presence("unsubscribe", b.bare)
        self.assertEqual(self.push(a, b.bare).get("subscription"), "from")
        b.wait(is_("presence", type_="unsubscribe", from_=a.bare))
        self.assertEqual(self.push(b, a.bare).get("subscription"), "to")
        a.wait(is_("presence", type_="unavailable", from_=b.jid))
        a.presence("unsubscribed", b.bare)
        b.wait(is_("presence", type_="unavailable", from_=a.jid))
        b.wait(is_("presence", type_="unsubscribed", from_=a.bare))
        self.assertEqual(self.push(b, a.bare).get("subscription"), "none")
        self.assertEqual(self.push(a, b.bare).get("subscription"), "none")

    def test_local_request_to_an_offline_user(self):
        a, u = self.interested(), self.user()
        a.presence("subscribe", at(u), inner="<status>me</status>")
        self.push(a, at(u))
        a.close()
        b = self.interested(u)
        e = b.wait(is_("presence", type_="subscribe", from_=a.bare))
        self.assertEqual(text(e, "status"), "me")

    def test_approval_while_the_asker_is_offline(self):
        u, b = self.user(), self.interested()
        a = self.interested(u)
        a.presence("subscribe", b.bare)
        b.wait(is_("presence", type_="subscribe"))
        a.close()
        b.presence("subscribed", at(u))
        self.push(b, at(u))
        a = self.login(u, presence=False)
        lab.wait_until(lambda: a.roster()[b.bare].get("subscription") == "to", text="subscription='to'")
        a.presence()
        a.wait(is_("presence", type_=None, from_=b.jid))

    def test_subscribing_to_oneself_changes_nothing(self):
        a = self.interested()
        a.presence("subscribe", a.bare, id_="self")
        a.sync()
        self.assertEqual(a.roster(), {})

    # 8.5.1
    def test_subscription_stanzas_to_nobody(self):
        for type_ in ("subscribed", "unsubscribe", "unsubscribed"):
            a = self.login()
            a.presence(type_, at("nobody-there"), id_="n")
            a.sync()
            self.assertError(a.get("t:unknown", to=at("nobody-there")), "service-unavailable")
            self.none_of(a.drain(), "presence", type_="error")

    def test_unknown_presence_type(self):
        a, b = self.login(), self.login()
        for to in (None, b.bare, b.jid, "lab.test"):
            a.presence("subscription", to, id_="bad")
            self.assertError(a.wait(is_("presence", type_="error", id="bad")), "bad-request", "modify")
        self.none_of(xmppc.fence(a, b), "presence")


if __name__ == "__main__":
    lab.main()
