"""test_subscription - RFC 6121 section 3 and the tables of its appendix A.

A user and a contact of one server: the contact's state is always the mirror of the user's, so
each cell of tables 2 to 5 (outbound) is tried together with the fitting cell of tables 6 to 9
(inbound).  Only what the tables say with MUST is asserted.
"""
import lab
import xmppc
from case import ServerCase, at
from xmppc import ROSTER, fence, is_, kid, local

# state: (subscription, ask, pending in) as the user sees it, and how the pair gets there
STATES = {
    "None": ("none", None, False),
    "None + Pending Out": ("none", "subscribe", False),
    "None + Pending In": ("none", None, True),
    "None + Pending Out+In": ("none", "subscribe", True),
    "To": ("to", None, False),
    "To + Pending In": ("to", None, True),
    "From": ("from", None, False),
    "From + Pending Out": ("from", "subscribe", False),
    "Both": ("both", None, False),
}
MIRROR = {
    "None": "None", "None + Pending Out": "None + Pending In", "None + Pending In": "None + Pending Out",
    "None + Pending Out+In": "None + Pending Out+In", "To": "From", "To + Pending In": "From + Pending Out",
    "From": "To", "From + Pending Out": "To + Pending In", "Both": "Both",
}
# the user's steps are "u", the contact's "c"
RECIPE = {
    "None": (),
    "None + Pending Out": (("u", "subscribe"),),
    "None + Pending In": (("c", "subscribe"),),
    "None + Pending Out+In": (("u", "subscribe"), ("c", "subscribe")),
    "To": (("u", "subscribe"), ("c", "subscribed")),
    "To + Pending In": (("u", "subscribe"), ("c", "subscribed"), ("c", "subscribe")),
    "From": (("c", "subscribe"), ("u", "subscribed")),
    "From + Pending Out": (("c", "subscribe"), ("u", "subscribed"), ("u", "subscribe")),
    "Both": (("u", "subscribe"), ("c", "subscribed"), ("c", "subscribe"), ("u", "subscribed")),
}
SAME = None
# tables 2-5: state -> (routed: True MUST, False MUST NOT, None SHOULD NOT; new state)
OUTBOUND = {
    "subscribe": {
        "None": (True, "None + Pending Out"), "None + Pending Out": (True, SAME),
        "None + Pending In": (True, "None + Pending Out+In"), "None + Pending Out+In": (True, SAME),
        "To": (True, SAME), "To + Pending In": (True, SAME), "From": (True, "From + Pending Out"),
        "From + Pending Out": (True, SAME), "Both": (True, SAME)},
    "unsubscribe": {
        "None": (True, SAME), "None + Pending Out": (True, "None"), "None + Pending In": (True, SAME),
        "None + Pending Out+In": (True, "None + Pending In"), "To": (True, "None"),
        "To + Pending In": (True, "None + Pending In"), "From": (True, SAME),
        "From + Pending Out": (True, "From"), "Both": (True, "From")},
    "subscribed": {
        "None": (False, SAME), "None + Pending Out": (False, SAME), "None + Pending In": (True, "From"),
        "None + Pending Out+In": (True, "From + Pending Out"), "To": (False, SAME), "To + Pending In": (True, "Both"),
        "From": (False, SAME), "From + Pending Out": (False, SAME), "Both": (False, SAME)},
    "unsubscribed": {
        "None": (None, SAME), "None + Pending Out": (None, SAME), "None + Pending In": (True, "None"),
        "None + Pending Out+In": (True, "None + Pending Out"), "To": (None, SAME), "To + Pending In": (True, "To"),
        "From": (True, "None"), "From + Pending Out": (True, "None + Pending Out"), "Both": (True, "To")},
}
# tables 6-9: states in which the stanza must be delivered.  Table 7 wants an unsubscribe delivered
# in the states with "Pending In" too, 3.3.3 forbids it: neither is asserted.
DELIVER = {
    "subscribe": {"None", "None + Pending Out", "To"},
    "unsubscribe": {"From", "From + Pending Out", "Both"},
    "subscribed": {"None + Pending Out", "None + Pending Out+In", "From + Pending Out"},
    "unsubscribed": {"None + Pending Out", "None + Pending Out+In", "To", "To + Pending In", "From + Pending Out", "Both"},
}


class Pair(ServerCase):
    def session(self, user=None, **kw):
        c = self.login(user, **kw)
        c.roster()
        return c

    def pair(self, state):
        """Two fresh sessions, the first in <state> towards the second."""
        u, c = self.session(), self.session()
        for who, verb in RECIPE[state]:
            x, y = (u, c) if who == "u" else (c, u)
            x.presence(verb, y.bare)
            y.wait(is_("presence", type_=verb, from_=x.bare))
            fence(x, y)
            fence(y, x)
        self.check(u, c, state, "after setting up")
        u.drain(), c.drain()
        return u, c

    def state(self, u, c):
        item = u.roster().get(c.bare)
        if item is None:
            return "none", None
        return item.get("subscription"), item.get("ask")

    def check(self, u, c, state, text):
        want = STATES[state][:2]
        lab.wait_until(lambda: self.state(u, c) == want, 5,
                       lambda: "%s: roster says %r, should be %r (%s)%s" % (text, self.state(u, c), want, state, u._history()))

    def pending_in(self, u, c):
        """Whether the server reminds a new resource of <u> of a request by <c> (3.1.3)."""
        n = self.login(u.bare.partition("@")[0])
        got = fence(n, n)
        n.close()
        return any(is_("presence", type_="subscribe", from_=c.bare)(e) for e in got)


class Tables(Pair):
    def cell(self, verb, state):
        u, c = self.pair(state)
        routed, new = OUTBOUND[verb][state]
        new = new or state
        u.presence(verb, c.bare)
        if routed and MIRROR[state] in DELIVER[verb]:
            got = c.wait(is_("presence", type_=verb, from_=u.bare))
            self.assertEqual(got.get("to"), c.bare)
        else:
            got = None
        seen = fence(u, c)
        if routed is False or got is not None:
            # not routed at all, or not delivered twice
            self.none_of(seen, "presence", type_=verb, from_=u.bare)
        fence(c, u)
        self.check(u, c, new, "user after " + verb)
        self.check(c, u, MIRROR[new], "contact after " + verb)
        self.assertEqual(self.pending_in(u, c), STATES[new][2], "user's pending in")
        self.assertEqual(self.pending_in(c, u), STATES[MIRROR[new]][2], "contact's pending in")


def _add_cells():
    for verb in OUTBOUND:
        for state in STATES:
            def test(self, verb=verb, state=state):
                self.cell(verb, state)
            name = "test_%s_in_%s" % (verb, state.lower().replace(" + ", "_").replace(" ", "_").replace("+", "_"))
            test.__doc__ = None
            setattr(Tables, name, test)


_add_cells()


class Details(Pair):
    def test_request_carries_bare_from(self):
        """3.1.2: stamped with the bare address; to is bare even if the client wrote a full one."""
        u, c = self.session(), self.session()
        u.send("<presence type='subscribe' to='%s' id='s1'><status>hi</status></presence>" % c.jid)
        p = c.wait(is_("presence", type_="subscribe"))
        self.assertEqual((p.get("from"), p.get("to"), p.get("id")), (u.bare, c.bare, "s1"))
        self.assertEqual(xmppc.text(p, "status"), "hi")

    def test_nickname_of_a_stranger(self):
        """XEP-0172: without controls and changes of direction; and it names no roster item."""
        c = self.session()
        for sent, got in (("e\u202evil\u0085 n\u2066a\u200fme\u061c", "evil name"), ("J\u00fcrgen \U0001f600\u2069", "J\u00fcrgen \U0001f600"),
                          ("\u202a", None), ("\u0410\u4e2d\ua000", "\u0410\u4e2d\ua000")):
            u = self.session()
            u.send("<presence type='subscribe' to='%s'><nick xmlns='http://jabber.org/protocol/nick'>%s</nick><x xmlns='y'/></presence>" % (c.bare, sent))
            p = c.wait(is_("presence", type_="subscribe"))
            self.assertEqual(kid(p, "nick", "http://jabber.org/protocol/nick").text or None, got)
            self.assertIsNotNone(kid(p, "x", "y"))
        c.presence("subscribed", u.bare)
        self.assertIsNone(self.push(c).get("name"))

    def test_request_pushes_ask(self):
        """3.1.2: subscription none, ask subscribe."""
        u, c = self.session(), self.session()
        u.presence("subscribe", c.bare)
        item = self.push(u)
        self.assertEqual((item.get("jid"), item.get("subscription"), item.get("ask")), (c.bare, "none", "subscribe"))

    def push(self, c):
        e = c.wait(lambda e: local(e) == "iq" and e.get("type") == "set" and kid(e, "query", ROSTER) is not None)
        return kid(e, "query", ROSTER)[0]

    def test_approval_pushes_and_shows_presence(self):
        """3.1.5, 3.1.6."""
        u, c = self.pair("None + Pending Out")
        c.presence("subscribed", u.bare)
        self.assertEqual(self.push(c).get("subscription"), "from")
        self.assertEqual(self.push(u).get("subscription"), "to")
        u.wait(is_("presence", type_="subscribed", from_=c.bare))
        u.wait(is_("presence", from_=c.jid, type_=None))

    def test_unknown_requester_makes_no_item(self):
        """3.1.3, appendix A.1 state 3: no roster item before the user's word."""
        u, c = self.pair("None + Pending In")
        self.assertEqual(u.roster(), {})

    def test_known_item_keeps_its_name(self):
        u, c = self.session(), self.session()
        u.iq("set", "<query xmlns='%s'><item jid='%s' name='N'><group>G</group></item></query>" % (ROSTER, c.bare))
        u.presence("subscribe", c.bare)
        c.wait(is_("presence", type_="subscribe"))
        c.presence("subscribed", u.bare)
        u.wait(is_("presence", type_="subscribed"))
        item = u.roster()[c.bare]
        self.assertEqual((item.get("name"), item.get("subscription"), item[0].text), ("N", "to", "G"))

    def test_offline_contact_gets_request_at_login(self):
        """3.1.3: kept, also over several logins, until answered."""
        u, name = self.session(), self.user()
        u.presence("subscribe", at(name))
        xmppc.fence(u, u)
        for _ in range(2):
            c = self.session(name)
            p = c.wait(is_("presence", type_="subscribe", from_=u.bare))
            self.assertEqual(p.get("to"), at(name))
            self.assertEqual(len([e for e in fence(c, c) if is_("presence", type_="subscribe")(e)]), 0, "twice")
            c.close()
        c = self.session(name)
        c.wait(is_("presence", type_="subscribe", from_=u.bare))
        c.presence("subscribed", u.bare)
        u.wait(is_("presence", type_="subscribed", from_=at(name)))
        c.close()
        c = self.session(name)
        self.none_of(fence(c, c), "presence", type_="subscribe")

    def test_offline_user_learns_of_approval(self):
        """3.1.6: at the next login the roster tells, and the contact's presence comes."""
        u, c = self.pair("None + Pending Out")
        name = u.bare.partition("@")[0]
        u.close()
        fence(c, c)
        c.presence("subscribed", u_bare := at(name))
        fence(c, c)
        self.assertTrue(u_bare)
        u = self.session(name)
        # the approval may still be on its way to the worker of <u>
        lab.wait_until(lambda: u.roster()[c.bare].get("subscription") == "to", text="the approval in the roster")
        u.wait(is_("presence", from_=c.jid, type_=None))

    def test_request_to_nobody(self):
        """8.5.1: silently ignored; the asker's roster notes the request."""
        u = self.session()
        u.presence("subscribe", at("nobody-here"))
        u.sync()
        lab.wait_until(lambda: u.roster().get(at("nobody-here")) is not None, text="a roster item")
        self.assertEqual(u.roster()[at("nobody-here")].get("ask"), "subscribe")
        self.none_of(u.drain(), "presence", type_="error")

    def test_request_to_self(self):
        """Nothing sensible can come of it, but no harm either."""
        u = self.session()
        u.presence("subscribe", u.bare)
        u.presence("subscribed", u.bare)
        u.presence("unsubscribe", u.bare)
        u.presence("unsubscribed", u.bare)
        u.sync()

    def test_cancelled_contact_goes_unavailable(self):
        """3.2.2, 3.3.2: whoever loses the subscription sees the other go."""
        for verb_of_user in (True, False):
            with self.subTest(by_user=verb_of_user):
                u, c = self.pair("To")
                if verb_of_user:
                    u.presence("unsubscribe", c.bare)
                else:
                    c.presence("unsubscribed", u.bare)
                u.wait(is_("presence", type_="unavailable", from_=c.jid))

    def test_after_cancelling_no_presence_flows(self):
        u, c = self.pair("To")
        c.presence("unsubscribed", u.bare)
        u.wait(is_("presence", type_="unsubscribed"))
        u.wait(is_("presence", type_="unavailable", from_=c.jid))
        c.presence(inner="<status>secret</status>")
        self.none_of(fence(c, u), "presence", from_=c.jid)

    def test_all_resources_get_the_request(self):
        """3.1.3: every available resource."""
        name = self.user()
        a, b, u = self.session(name), self.session(name), self.session()
        u.presence("subscribe", at(name))
        for c in (a, b):
            c.wait(is_("presence", type_="subscribe", from_=u.bare))


class PreApproval(Pair):
    """RFC 6121 3.4."""

    def test_advertised(self):
        self.assertIsNotNone(self.authed().features.find("{urn:xmpp:features:pre-approval}sub"))

    def approved(self):
        u, c = self.session(), self.session()
        u.presence("subscribed", c.bare)
        lab.wait_until(lambda: u.roster().get(c.bare) is not None, text="a roster item for the pre-approved contact")
        self.assertEqual((u.roster()[c.bare].get("approved"), u.roster()[c.bare].get("subscription")), ("true", "none"))
        self.none_of(fence(u, c), "presence", type_="subscribed")
        return u, c

    def test_request_is_granted_at_once(self):
        u, c = self.approved()
        c.presence("subscribe", u.bare)
        c.wait(is_("presence", type_="subscribed", from_=u.bare))
        lab.wait_until(lambda: self.state(u, c) == ("from", None), text="from")
        self.check(c, u, "To", "the contact")

    def test_taken_back(self):
        """3.4.2: unsubscribed before any request cancels it."""
        u, c = self.approved()
        u.presence("unsubscribed", c.bare)
        lab.wait_until(lambda: u.roster().get(c.bare) is None or u.roster()[c.bare].get("approved") in (None, "false"),
                       text="approval gone")
        c.presence("subscribe", u.bare)
        u.wait(is_("presence", type_="subscribe", from_=c.bare))

    def test_removed_item_takes_it_back(self):
        u, c = self.approved()
        u.iq("set", "<query xmlns='%s'><item jid='%s' subscription='remove'/></query>" % (ROSTER, c.bare))
        c.presence("subscribe", u.bare)
        u.wait(is_("presence", type_="subscribe", from_=c.bare))


if __name__ == "__main__":
    lab.main()
