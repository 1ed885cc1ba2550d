"""test_pep - personal eventing (XEP-0163, XEP-0060 on accounts, XEP-0115, 0222, 0223, 0384, 0490)."""
import time

import lab
import pubsubc as ps
import xmppc
from case import ServerCase, at
from pubsubc import PUBSUB, event
from xmppc import DISCO_INFO, DISCO_ITEMS, kid, local, nsof, show

TUNE = "http://jabber.org/protocol/tune"
COMMANDS = "http://jabber.org/protocol/commands"
PRIVATE = {"persist_items": "true", "access_model": "whitelist", "max_items": "max", "send_last_published_item": "never"}


class Base(ServerCase):
    def pair(self):
        """Two friends online without capabilities."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        return a, b

    def error(self, e, condition, special=None):
        self.assertError(e, condition)
        self.assertEqual(ps.condition(e), special, show(e))

    def quiet(self, c):
        """No event has come for <c>."""
        c.sync()
        got = [show(e) for e in c.drain() if e.find("{%s}event" % ps.EVENT) is not None]
        self.assertEqual(got, [])


class Publish(Base):
    def test_auto_create_and_items(self):
        a = self.login()
        r = ps.publish(a, "n1", ps.item("i1"))
        self.assertResult(r)
        self.assertEqual(next(r.iter("{%s}publish" % PUBSUB)).get("node"), "n1")
        self.assertEqual(ps.item_ids(r), ["i1"])
        r = ps.items(a, "n1")
        self.assertResult(r)
        self.assertEqual(ps.item_ids(r), ["i1"])
        self.assertEqual(next(r.iter("{t:e}e")).text, "x")

    def test_id_is_made(self):
        a = self.login()
        r = ps.publish(a, "n1", ps.item())
        self.assertTrue(ps.item_ids(r)[0])
        self.assertEqual(ps.item_ids(ps.items(a, "n1")), ps.item_ids(r))

    def test_own_address(self):
        a = self.login()
        self.assertResult(ps.publish(a, "n1", "i1", to=a.bare))
        self.assertEqual(ps.items(a, "n1", to=a.bare).get("from"), a.bare)

    def test_default_keeps_one(self):
        a = self.login()
        for i in "abc":
            ps.publish(a, "n1", i)
        self.assertEqual(ps.item_ids(ps.items(a, "n1")), ["c"])

    def test_default_config(self):
        a = self.login()
        ps.publish(a, "n1", "i")
        c = ps.config(a, "n1")
        self.assertEqual((c["pubsub#access_model"], c["pubsub#send_last_published_item"], c["pubsub#deliver_payloads"]),
                         ("presence", "on_sub_and_presence", "1"))

    def test_overwrite_is_newest(self):
        a = self.login()
        for i in ("a", "b", "a"):
            self.assertResult(ps.publish(a, "n1", i, options={"max_items": "5"}))
        self.assertEqual(ps.item_ids(ps.items(a, "n1")), ["b", "a"])
        self.assertEqual(ps.item_ids(ps.items(a, "n1", attrs="max_items='1'")), ["a"])

    def test_others_may_not(self):
        a, b = self.pair()
        ps.publish(a, "n1", "i1")
        self.assertError(ps.publish(b, "n1", "i2", to=a.bare), "forbidden")
        self.assertError(ps.publish(b, "new", "i2", to=a.bare), "forbidden")
        self.assertError(ps.create(b, "new", to=a.bare), "forbidden")
        self.assertError(ps.retract(b, "n1", "i1", to=a.bare), "forbidden")
        self.assertError(ps.owner(b, "get", "<configure node='n1'/>", to=a.bare), "forbidden")
        self.assertError(ps.owner(b, "set", "<delete node='n1'/>", to=a.bare), "forbidden")

    def test_stranger_sees_no_account(self):
        """The same for an account without the node and for one that does not exist."""
        a, b = self.login(), self.login()
        for to in (a.bare, at("nobody-here")):
            self.assertError(ps.items(b, "n1", to=to), "service-unavailable")
            self.assertError(ps.publish(b, "n1", "x", to=to), "service-unavailable")
            self.assertError(b.get(DISCO_INFO, to=to, attrs="node='n1'"), "service-unavailable")

    def test_bad_requests(self):
        a = self.login()
        self.error(ps.publish(a, "n", "<item id='1'><a xmlns='a'/><b xmlns='b'/></item>"), "bad-request", "invalid-payload")
        self.error(ps.publish(a, "n", "<item id='1'/>"), "bad-request", "payload-required")
        self.error(a.iq("set", "<pubsub xmlns='%s'><publish node='n'/></pubsub>" % PUBSUB), "bad-request", "item-required")
        self.error(a.iq("set", "<pubsub xmlns='%s'><publish>%s</publish></pubsub>" % (PUBSUB, ps.item("1"))), "bad-request", "nodeid-required")
        self.error(a.iq("get", "<pubsub xmlns='%s'><items/></pubsub>" % PUBSUB), "bad-request", "nodeid-required")
        self.assertError(a.iq("get", "<pubsub xmlns='%s'/>" % PUBSUB), "bad-request")
        self.assertError(ps.items(a, "n"), "item-not-found")
        ps.publish(a, "n", "1")
        self.assertEqual(ps.item_ids(ps.items(a, "n", ids=["none"])), [])   # 6.5.9.12
        self.assertEqual(ps.item_ids(ps.items(a, "n", ids=["none", "1"])), ["1"])

    def test_retract(self):
        a = self.login()
        self.assertError(ps.retract(a, "n1", "i"), "item-not-found")
        ps.publish(a, "n1", "i")
        self.assertError(ps.retract(a, "n1", "other"), "item-not-found")
        self.error(ps.retract(a, "n1", []), "bad-request", "item-required")
        self.assertResult(ps.retract(a, "n1", "i"))
        self.assertEqual(ps.item_ids(ps.items(a, "n1")), [])

    def test_escaping(self):
        a = self.login()
        node, id_ = "a&b'<>\"", "i&'<"
        self.assertResult(ps.publish(a, node, ps.item(id_, "<e xmlns='t:e' a='&lt;&quot;'>&amp;&lt;</e>")))
        r = ps.items(a, node)
        self.assertEqual(ps.item_ids(r), [id_])
        e = next(r.iter("{t:e}e"))
        self.assertEqual((e.get("a"), e.text), ("<\"", "&<"))

    def test_large_avatar(self):
        a = self.login()
        data = "A" * 150000
        self.assertResult(ps.publish(a, "urn:xmpp:avatar:data", ps.item("0" * 40, "<data xmlns='urn:xmpp:avatar:data'>%s</data>" % data)))
        r = ps.items(a, "urn:xmpp:avatar:data")
        self.assertEqual(len(next(r.iter("{urn:xmpp:avatar:data}data")).text), len(data))


class Options(Base):
    def test_create_with_options(self):
        a, b = self.login(), self.login()
        opt = {"access_model": "open", "persist_items": "1", "max_items": "max"}
        self.assertResult(ps.publish(a, "eu.siacs.conversations.axolotl.bundles:1", "current", options=opt))
        c = ps.config(a, "eu.siacs.conversations.axolotl.bundles:1")
        self.assertEqual((c["pubsub#access_model"], c["pubsub#max_items"]), ("open", "max"))
        # a bundle is for strangers too
        r = ps.items(b, "eu.siacs.conversations.axolotl.bundles:1", to=a.bare)
        self.assertEqual(ps.item_ids(r), ["current"])

    def test_precondition(self):
        a = self.login()
        self.assertResult(ps.publish(a, "n", "1"))
        self.error(ps.publish(a, "n", "2", options=PRIVATE), "conflict", "precondition-not-met")
        self.assertEqual(ps.item_ids(ps.items(a, "n")), ["1"])
        self.assertResult(ps.configure(a, "n", PRIVATE))
        self.assertResult(ps.publish(a, "n", "2", options=PRIVATE))
        self.assertEqual(ps.item_ids(ps.items(a, "n")), ["1", "2"])

    def test_unknown_option(self):
        a = self.login()
        ps.publish(a, "n", "1")
        self.error(ps.publish(a, "n", "2", options={"pubsub#moon": "full"}), "conflict", "precondition-not-met")
        self.error(ps.publish(a, "new", "2", options={"pubsub#moon": "full"}), "conflict", "precondition-not-met")
        self.assertError(ps.items(a, "new"), "item-not-found")

    def test_wrong_form_type(self):
        a = self.login()
        r = a.iq("set", "<pubsub xmlns='%s'><publish node='n'>%s</publish><publish-options>%s</publish-options></pubsub>" % (
            PUBSUB, ps.item("1"), ps.form(PUBSUB + "#node_config", {"access_model": "open"})))
        self.assertError(r, "bad-request")

    def test_private_node(self):
        """XEP-0223: nobody else reads it, whatever he tries."""
        a, b = self.pair()
        node = "urn:xmpp:mds:displayed:0"
        ps.online(b, [node])
        self.assertResult(ps.publish(a, node, "room@x.test", options=PRIVATE))
        self.error(ps.items(b, node, to=a.bare), "not-allowed", "closed-node")
        self.error(ps.subscribe(b, node, to=a.bare), "not-allowed", "closed-node")
        r = b.get(DISCO_ITEMS, to=a.bare)
        self.assertNotIn(node, [i.get("node") for i in kid(r, "query", DISCO_ITEMS)])
        self.assertError(b.get(DISCO_INFO, to=a.bare, attrs="node='%s'" % node), "item-not-found")
        self.quiet(b)
        self.assertEqual(ps.item_ids(ps.items(a, node)), ["room@x.test"])


class Access(Base):
    def test_presence(self):
        a, b, c = self.login(), self.login(), self.login()
        self.friends(a, b)
        ps.publish(a, "n", "1")
        self.assertEqual(ps.item_ids(ps.items(b, "n", to=a.bare)), ["1"])
        self.error(ps.items(c, "n", to=a.bare), "not-authorized", "presence-subscription-required")
        self.error(ps.subscribe(c, "n", to=a.bare), "not-authorized", "presence-subscription-required")

    def test_open(self):
        a, c = self.login(), self.login()
        ps.create(a, "n", config={"access_model": "open"})
        ps.publish(a, "n", "1")
        self.assertEqual(ps.item_ids(ps.items(c, "n", to=a.bare)), ["1"])
        self.assertResult(ps.subscribe(c, "n", to=a.bare))
        c.wait(event("n"))      # the last item
        ps.publish(a, "n", "2")
        e = c.wait(event("n"))
        self.assertEqual((e.get("from"), ps.event_ids(e)), (a.bare, ["2"]))

    def test_roster(self):
        a, b = self.pair()
        ps.create(a, "n", config={"access_model": "roster", "roster_groups_allowed": ["friends", "kin"]})
        ps.publish(a, "n", "1")
        self.error(ps.items(b, "n", to=a.bare), "not-authorized", "not-in-roster-group")
        a.iq("set", "<query xmlns='%s'><item jid='%s'><group>kin</group></item></query>" % (xmppc.ROSTER, b.bare))
        self.assertEqual(ps.item_ids(ps.items(b, "n", to=a.bare)), ["1"])
        a.iq("set", "<query xmlns='%s'><item jid='%s'><group>foes</group></item></query>" % (xmppc.ROSTER, b.bare))
        self.error(ps.items(b, "n", to=a.bare), "not-authorized", "not-in-roster-group")

    def test_whitelist(self):
        a, b = self.pair()
        ps.create(a, "n", config={"access_model": "whitelist"})
        ps.publish(a, "n", "1")
        self.error(ps.items(b, "n", to=a.bare), "not-allowed", "closed-node")
        self.assertResult(ps.affiliate(a, "n", b.bare, "member"))
        self.assertEqual(ps.item_ids(ps.items(b, "n", to=a.bare)), ["1"])
        self.assertError(ps.publish(b, "n", "2", to=a.bare), "forbidden")
        self.assertResult(ps.affiliate(a, "n", b.bare, "publisher"))
        self.assertResult(ps.publish(b, "n", "2", to=a.bare))

    def test_outcast(self):
        a, b = self.pair()
        ps.publish(a, "n", "1")
        ps.online(b, ["n"])
        b.wait(event("n"))
        self.assertResult(ps.affiliate(a, "n", b.bare, "outcast"))
        self.assertError(ps.items(b, "n", to=a.bare), "forbidden")
        ps.publish(a, "n", "2")
        self.quiet(b)

    def test_owner_stays(self):
        a, b = self.pair()
        ps.publish(a, "n", "1")
        self.assertError(ps.affiliate(a, "n", a.bare, "none"), "not-acceptable")
        self.assertError(ps.affiliate(a, "n", b.bare, "owner"), "not-acceptable")

    def test_authorize(self):
        a, b = self.login(), self.login()
        ps.create(a, "n", config={"access_model": "authorize"})
        ps.publish(a, "n", "1")
        self.error(ps.items(b, "n", to=a.bare), "not-authorized", "not-subscribed")
        r = ps.subscribe(b, "n", to=a.bare)
        self.assertEqual(next(r.iter("{%s}subscription" % PUBSUB)).get("subscription"), "pending")
        self.error(ps.subscribe(b, "n", to=a.bare), "not-authorized", "pending-subscription")
        m = a.wait(lambda e: local(e) == "message" and e.find("{%s}x" % ps.FORM) is not None)
        f = ps.fields(m.find("{%s}x" % ps.FORM))
        self.assertEqual((f["FORM_TYPE"], f["pubsub#node"], f["pubsub#subscriber_jid"]),
                         (PUBSUB + "#subscribe_authorization", "n", b.bare))
        # not even its own approval helps the asker
        approve = ps.form(PUBSUB + "#subscribe_authorization", {"node": "n", "subscriber_jid": b.bare, "allow": "true"})
        b.send("<message to='%s'>%s</message>" % (a.bare, approve))
        self.error(ps.items(b, "n", to=a.bare), "not-authorized", "not-subscribed")
        a.send("<message to='%s'>%s</message>" % (a.bare, approve))
        e = b.wait(event(kind="subscription"))
        self.assertEqual(next(e.iter("{%s}subscription" % ps.EVENT)).get("subscription"), "subscribed")
        self.assertEqual(ps.item_ids(ps.items(b, "n", to=a.bare)), ["1"])

    def test_get_pending(self):
        """XEP-0060 8.7 at an account: for its owner, before and after there are nodes; nobody else learns of it."""
        a, b = self.pair()
        c = self.login()
        pending = PUBSUB + "#get-pending"

        def command(who, inner="", attrs="", node=pending):
            return who.iq("set", "<command xmlns='%s' node='%s'%s>%s</command>" % (COMMANDS, node, attrs, inner), a.bare)

        def options(r):
            self.assertResult(r)
            x = r.find("{%s}command/{%s}x" % (COMMANDS, ps.FORM))
            return [v.text for o in x.iter("{%s}option" % ps.FORM) for v in o]
        for _ in range(2):
            self.assertEqual(options(command(a)), [])
            for kind in (DISCO_INFO, DISCO_ITEMS):
                q = "<query xmlns='%s' node='%s'/>" % (kind, COMMANDS)
                r = a.iq("get", q, a.bare)
                self.assertResult(r)
                if kind != DISCO_INFO:
                    self.assertEqual([(i.get("jid"), i.get("node")) for i in r[0]], [(a.bare, pending)])
                self.assertError(b.iq("get", q, a.bare), "item-not-found")
                self.assertError(c.iq("get", q, a.bare), "service-unavailable")
            q = "<query xmlns='%s' node='%s'/>" % (DISCO_INFO, pending)
            self.assertIn("automation", show(a.iq("get", q, a.bare)))
            self.assertError(b.iq("get", q, a.bare), "item-not-found")
            self.assertError(command(b), "forbidden")
            self.assertError(command(c), "service-unavailable")
            self.assertError(command(a, node="other"), "item-not-found")
            self.assertError(command(c, node="other"), "service-unavailable")
            ps.create(a, "plain")
        self.assertIn(pending, show(a.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, a.bare)))
        ps.create(a, "n", config={"access_model": "authorize"})
        for who in (b, c):
            self.assertResult(ps.subscribe(who, "n", to=a.bare))
            a.wait(lambda e: local(e) == "message" and e.find("{%s}x" % ps.FORM) is not None)
        r = command(a)
        self.assertEqual(options(r), ["n"])
        session = " sessionid='%s'" % r[0].get("sessionid")
        form = ps.form(PUBSUB + "#subscribe_authorization", {"node": "n"})
        self.assertError(command(b, form), "forbidden")
        self.assertError(command(c, form), "service-unavailable")
        self.assertError(command(a, ps.form(PUBSUB + "#subscribe_authorization", {"node": "none"}), session), "item-not-found")
        r = command(a, form, session)
        self.assertEqual(r[0].get("status"), "completed")
        asked = set()
        for _ in range(2):
            m = a.wait(lambda e: local(e) == "message" and e.find("{%s}x" % ps.FORM) is not None)
            self.assertEqual(m.get("from"), a.bare)
            asked.add(ps.fields(m.find("{%s}x" % ps.FORM))["pubsub#subscriber_jid"])
        self.assertEqual(asked, {b.bare, c.bare})
        a.send("<message to='%s'>%s</message>" % (a.bare, ps.form(
            PUBSUB + "#subscribe_authorization", {"node": "n", "subscriber_jid": c.bare, "allow": "1"})))
        c.wait(event("n", kind="subscription"))

    def test_timed_subscriptions(self):
        """XEP-0060 12.5, 16.4.2 at an account: its owner is not needed for a digest, its subscriber for a while only."""
        a, b = self.login(), self.login()
        ps.create(a, "n", config={"access_model": "open", "max_items": "max"})
        self.assertResult(ps.subscribe(b, "n", to=a.bare, options={"digest": "1", "digest_frequency": "2000", "expire": "presence"}))
        for i in "12":
            self.assertResult(ps.publish(a, "n", i))
        a.close()
        m = b.wait(event("n"))
        self.assertEqual(ps.event_ids(m), ["1", "2"])
        self.assertEqual(m.get("from"), a.bare)
        b.presence("unavailable")
        lab.wait_until(lambda: len(next(b.iq("get", "<pubsub xmlns='%s'><subscriptions node='n'/></pubsub>" % PUBSUB, a.bare).iter(
            "{%s}subscriptions" % PUBSUB))) == 0, 10, "the end of the subscription")

    def test_subscription_ends_with_presence(self):
        a, b = self.pair()
        ps.publish(a, "n", "1")
        self.assertResult(ps.subscribe(b, "n", to=a.bare))
        b.wait(event("n"))
        a.presence("unsubscribed", b.bare)
        b.wait(xmppc.is_("presence", type_="unsubscribed"))
        self.error(ps.items(b, "n", to=a.bare), "not-authorized", "presence-subscription-required")
        b.wait(event("n", "subscription"))      # XEP-0060 12.14
        ps.publish(a, "n", "2")
        a.sync()
        self.quiet(b)
        r = ps.owner(a, "get", "<subscriptions node='n'/>")
        self.assertEqual([s.get("jid") for s in r.iter("{%s}subscription" % ps.OWNER)], [])


class Notify(Base):
    def test_contact_and_own_resources(self):
        a, b = self.pair()
        a2 = self.login(a.bare.split("@")[0])
        for c in (a, a2, b):
            ps.online(c, [TUNE])
        self.assertResult(ps.publish(a, TUNE, ps.item("t", "<tune xmlns='%s'><title>x</title></tune>" % TUNE)))
        for c in (a, a2, b):
            e = c.wait(event(TUNE))
            self.assertEqual((e.get("from"), e.get("to"), e.get("type")), (a.bare, c.jid, "headline"))
            self.assertIsNotNone(next(e.iter("{%s}title" % TUNE)))
            self.quiet(c)

    def test_only_what_was_asked_for(self):
        a, b = self.pair()
        ps.online(b, ["other"])
        ps.publish(a, "n", "1")
        a.sync()
        self.quiet(b)

    def test_no_caps_no_events(self):
        a, b = self.pair()
        ps.publish(a, "n", "1")
        a.sync()
        self.quiet(b)

    def test_two_resources_of_a_contact(self):
        a, b = self.pair()
        b2 = self.login(b.bare.split("@")[0])
        b3 = self.login(b.bare.split("@")[0])
        ps.online(b, ["n"])
        ps.online(b2, ["n"])
        ps.online(b3, ["m"])
        ps.publish(a, "n", "1")
        for c in (b, b2):
            self.assertEqual(c.wait(event("n")).get("to"), c.jid)
        self.quiet(b3)

    def test_stranger_gets_none(self):
        a, c = self.login(), self.login()
        ps.online(c, ["n"])
        ps.create(a, "n", config={"access_model": "open"})
        ps.publish(a, "n", "1")
        a.sync()
        self.quiet(c)

    def test_last_item_when_coming_online(self):
        a, b = self.pair()
        ps.publish(a, "n", "1")
        ps.online(b, ["n"])
        e = b.wait(event("n"))
        self.assertEqual((e.get("from"), e.get("to"), ps.event_ids(e)), (a.bare, b.jid, ["1"]))
        self.assertIsNotNone(kid(e, "delay", xmppc.DELAY))
        # once only: not with every presence
        b.presence(inner="<show>away</show>")
        b.sync()
        self.quiet(b)

    def test_last_item_of_own_node(self):
        a = self.login()
        ps.publish(a, "n", "1")
        a2 = self.login(a.bare.split("@")[0])
        ps.online(a2, ["n"])
        self.assertEqual(ps.event_ids(a2.wait(event("n"))), ["1"])

    def test_last_item_of_one_who_is_away(self):
        a, b = self.pair()
        ps.publish(a, "n", "1")
        a.close()
        ps.online(b, ["n"])
        self.assertEqual(ps.event_ids(b.wait(event("n"))), ["1"])

    def test_no_last_item_when_never(self):
        a, b = self.pair()
        ps.publish(a, "n", "1", options={"send_last_published_item": "never"})
        ps.online(b, ["n"])
        self.quiet(b)

    def test_one_sided_subscription(self):
        """Who sees our presence gets our events, though we do not see his."""
        a, b = self.login(), self.login()
        a.roster()
        b.roster()
        b.presence("subscribe", a.bare)
        a.wait(xmppc.is_("presence", type_="subscribe"))
        a.presence("subscribed", b.bare)
        b.wait(xmppc.is_("presence", type_="subscribed"))
        ps.publish(a, "n", "1")
        ps.online(b, ["n"])
        self.assertEqual(ps.event_ids(b.wait(event("n"))), ["1"])
        ps.publish(a, "n", "2")
        self.assertEqual(ps.event_ids(b.wait(event("n"))), ["2"])
        ps.online(a, ["n"])
        a.wait(event("n"))
        ps.publish(b, "n", "3")
        b.wait(event("n"))
        self.quiet(a)

    def test_new_subscriber_gets_last_item(self):
        a, b = self.login(), self.login()
        ps.publish(a, "n", "1")
        ps.online(b, ["n"])
        a.roster()
        b.roster()
        b.presence("subscribe", a.bare)
        a.wait(xmppc.is_("presence", type_="subscribe"))
        a.presence("subscribed", b.bare)
        self.assertEqual(ps.event_ids(b.wait(event("n"))), ["1"])

    def test_retract_purge_delete_config(self):
        a, b = self.pair()
        ps.online(b, ["n"])
        ps.publish(a, "n", "1", options={"max_items": "5"})
        b.wait(event("n"))
        ps.retract(a, "n", "1", notify="true")
        self.assertEqual(ps.retracted(b.wait(event("n"))), ["1"])
        ps.publish(a, "n", "2")
        b.wait(event("n"))
        ps.retract(a, "n", "2", notify="0")
        a.sync()
        self.quiet(b)
        self.assertResult(ps.configure(a, "n", {"notify_config": "1", "title": "T"}))
        e = b.wait(event("n", "configuration"))
        self.assertEqual(ps.fields(next(e.iter("{%s}x" % ps.FORM)))["pubsub#title"], "T")
        self.assertResult(ps.owner(a, "set", "<purge node='n'/>"))
        b.wait(event("n", "purge"))
        self.assertResult(ps.owner(a, "set", "<delete node='n'><redirect uri='xmpp:x@y?;node=z'/></delete>"))
        e = b.wait(event("n", "delete"))
        self.assertEqual(next(e.iter("{%s}redirect" % ps.EVENT)).get("uri"), "xmpp:x@y?;node=z")
        self.assertError(ps.items(a, "n"), "item-not-found")

    def test_without_payloads(self):
        a, b = self.pair()
        ps.online(b, ["n"])
        ps.create(a, "n", config={"deliver_payloads": "0"})
        ps.publish(a, "n", "1")
        e = b.wait(event("n"))
        self.assertEqual(ps.event_ids(e), ["1"])
        self.assertEqual(len(next(e.iter("{%s}item" % ps.EVENT))), 0)

    def test_notification_off(self):
        a, b = self.pair()
        ps.online(b, ["n"])
        ps.create(a, "n", config={"deliver_notifications": "0"})
        ps.publish(a, "n", "1")
        a.sync()
        self.quiet(b)

    def test_blocked(self):
        """Neither whom we block nor who blocks us hears of it."""
        a, b, c = self.login(), self.login(), self.login()
        self.friends(a, b)
        self.friends(a, c)
        ps.online(b, ["n"])
        ps.online(c, ["n"])
        a.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % b.bare)
        c.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % a.bare)
        self.assertResult(ps.publish(a, "n", "1"))
        a.sync()
        self.quiet(b)
        self.quiet(c)

    def test_explicit_subscriber_gets_one(self):
        a, b = self.pair()
        ps.online(b, ["n"])
        ps.create(a, "n")
        self.assertResult(ps.subscribe(b, "n", to=a.bare))
        ps.publish(a, "n", "1")
        b.wait(event("n"))
        self.quiet(b)


class Caps(Base):
    def test_hash_is_known(self):
        """What one client proved is believed of the next: it is not asked."""
        a = self.login()
        features = [DISCO_INFO, "test:" + lab.token(), "n+notify"]
        ps.publish(a, "n", "1")
        name = a.bare.split("@")[0]
        c = self.login(name)
        c.presence(inner=ps.caps_element(features))
        ps.answer_disco(c, features)
        c.wait(event("n"))
        d = self.login(name)
        d.presence(inner=ps.caps_element(features))
        d.wait(event("n"))
        self.assertEqual([e for e in d.seen if ps.is_disco(e)], [])

    def test_poison(self):
        """An answer that does not have the hash is nobody else's."""
        a = self.login()
        features = [DISCO_INFO, "test:" + lab.token(), "n+notify"]
        liar = [DISCO_INFO]
        ps.publish(a, "n", "1")
        name = a.bare.split("@")[0]
        c = self.login(name)
        c.presence(inner=ps.caps_element(features))
        ps.answer_disco(c, liar)
        self.quiet(c)
        d = self.login(name)
        d.presence(inner=ps.caps_element(features))
        ps.answer_disco(d, features)
        d.wait(event("n"))

    def test_liar_gets_what_it_said(self):
        a = self.login()
        ps.publish(a, "n", "1")
        c = self.login(a.bare.split("@")[0])
        c.presence(inner=ps.caps_element([DISCO_INFO], ver="bm90IGEgaGFzaA=="))
        ps.answer_disco(c, [DISCO_INFO, "n+notify"])
        c.wait(event("n"))

    def test_other_hashes(self):
        a = self.login()
        ps.publish(a, "n", "1")
        for algo in ("sha-256", "sha-512"):
            features = [DISCO_INFO, "test:" + lab.token(), "n+notify"]
            c = self.login(a.bare.split("@")[0])
            c.presence(inner=ps.caps_element(features, algo))
            ps.answer_disco(c, features)
            c.wait(event("n"))

    def test_question(self):
        c = self.login()
        features = [DISCO_INFO, "test:" + lab.token()]
        c.presence(inner=ps.caps_element(features))
        q = c.wait(ps.is_disco)
        self.assertEqual(kid(q, "query", DISCO_INFO).get("node"), "http://client.test#" + ps.caps_ver(features))

    def test_changed_caps_bring_the_new_only(self):
        a = self.login()
        ps.publish(a, "n", "1")
        ps.publish(a, "m", "2")
        c = self.login(a.bare.split("@")[0])
        ps.online(c, ["n"])
        c.wait(event("n"))
        features = [DISCO_INFO, "test:" + lab.token(), "n+notify", "m+notify"]
        c.presence(inner=ps.caps_element(features))
        ps.answer_disco(c, features)
        c.wait(event("m"))
        self.quiet(c)

    def test_stream_feature(self):
        c = self.login()
        e = c.features.find("{%s}c" % ps.CAPS)
        self.assertIsNotNone(e, show(c.features))
        self.assertEqual(e.get("hash"), "sha-1")
        node = "%s#%s" % (e.get("node"), e.get("ver"))
        r = c.get(DISCO_INFO, to=c.domain, attrs="node='%s'" % node)
        self.assertResult(r)
        q = kid(r, "query", DISCO_INFO)
        self.assertEqual(q.get("node"), node)
        self.assertEqual(e.get("ver"), self.hash(q))
        self.assertEqual(e.get("ver"), self.hash(kid(c.get(DISCO_INFO, to=c.domain), "query", DISCO_INFO)))

    def hash(self, q):
        import base64
        import hashlib
        ids = sorted("%s/%s/%s/%s<" % (i.get("category"), i.get("type"), i.get("{http://www.w3.org/XML/1998/namespace}lang", ""),
                                       i.get("name", "")) for i in q if local(i) == "identity")
        s = "".join(ids) + "".join("%s<" % v for v in sorted(f.get("var") for f in q if local(f) == "feature"))
        for x in sorted(q.findall("{%s}x" % ps.FORM), key=lambda x: ps.fields(x)["FORM_TYPE"]):
            f = ps.fields(x)
            s += f.pop("FORM_TYPE") + "<"
            for k in sorted(f):
                s += k + "<" + "".join(v + "<" for v in sorted([f[k]] if isinstance(f[k], str) else f[k]))
        return base64.b64encode(hashlib.sha1(s.encode()).digest()).decode()


class Disco(Base):
    def test_account(self):
        a = self.login()
        q = kid(a.get(DISCO_INFO, to=a.bare), "query", DISCO_INFO)
        self.assertIn(("pubsub", "pep"), {(i.get("category"), i.get("type")) for i in q})
        features = {f.get("var") for f in q}
        for f in ("access-open access-presence access-roster access-whitelist access-authorize auto-create auto-subscribe "
                  "config-node config-node-max create-and-configure create-nodes delete-items delete-nodes "
                  "filtered-notifications item-ids last-published multi-items persistent-items publish publish-options "
                  "purge-nodes retract-items retrieve-items retrieve-default subscribe").split():
            self.assertIn(PUBSUB + "#" + f, features)

    def test_nodes_and_items(self):
        a, b = self.pair()
        ps.publish(a, "n", "1", options={"max_items": "5", "title": "Name"})
        ps.publish(a, "n", "2")
        ps.publish(a, "secret", "1", options=PRIVATE)
        q = kid(a.get(DISCO_ITEMS, to=a.bare), "query", DISCO_ITEMS)
        self.assertTrue({"n", "secret"} <= {i.get("node") for i in q})
        q = kid(b.get(DISCO_ITEMS, to=a.bare), "query", DISCO_ITEMS)
        nodes = {i.get("node"): i for i in q}
        self.assertIn("n", nodes)
        self.assertNotIn("secret", nodes)
        self.assertEqual(nodes["n"].get("name"), "Name")
        q = kid(b.get(DISCO_ITEMS, to=a.bare, attrs="node='n'"), "query", DISCO_ITEMS)
        self.assertEqual([(i.get("jid"), i.get("name")) for i in q], [(a.bare, "1"), (a.bare, "2")])
        r = b.get(DISCO_INFO, to=a.bare, attrs="node='n'")
        q = kid(r, "query", DISCO_INFO)
        self.assertEqual(q.get("node"), "n")
        self.assertIn(("pubsub", "leaf"), {(i.get("category"), i.get("type")) for i in q})
        f = ps.fields(q.find("{%s}x" % ps.FORM))
        self.assertEqual((f["FORM_TYPE"], f["pubsub#title"], f["pubsub#owner"]), (PUBSUB + "#meta-data", "Name", a.bare))


class Restart(lab.Case):
    def setUp(self):
        self.d = self.lab.daemon(lab.token("d"), accounts=["alice", "bob"], milter=False)
        self.addCleanup(self.d.stop_quietly)

    def login(self, name):
        c = xmppc.login(self.d.c2s_port, name)
        self.addCleanup(c.close)
        return c

    def test_kill_after_ack(self):
        """What was acknowledged is there after SIGKILL: items, configuration, affiliations, vCard, private XML."""
        a = self.login("alice")
        for i in range(50):
            r = ps.publish(a, "n", "i%d" % i, options={"max_items": "max", "access_model": "open"})
            self.assertEqual(r.get("type"), "result")
        self.assertEqual(ps.affiliate(a, "n", at("bob"), "publisher").get("type"), "result")
        a.iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
        a.iq("set", "<query xmlns='jabber:iq:private'><p xmlns='t:p'>v</p></query>")
        last = ps.publish(a, "n", "last")
        self.assertEqual(last.get("type"), "result")
        self.d.kill()
        a.sock.close()
        a.eof = True
        self.d.start()
        a, b = self.login("alice"), self.login("bob")
        self.assertEqual(ps.item_ids(ps.items(a, "n")), ["i%d" % i for i in range(50)] + ["last"])
        self.assertEqual(ps.config(a, "n")["pubsub#access_model"], "open")
        self.assertEqual(ps.publish(b, "n", "bobs", to=at("alice")).get("type"), "result")
        r = a.get("vcard-temp", "vCard")
        self.assertEqual(next(r.iter("{vcard-temp}FN")).text, "A")
        r = a.iq("get", "<query xmlns='jabber:iq:private'><p xmlns='t:p'/></query>")
        self.assertEqual(next(r.iter("{t:p}p")).text, "v")

    def test_account_removed(self):
        a = self.login("alice")
        ps.publish(a, "n", "1", options={"access_model": "open"})
        a.iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
        self.d.ctl("account", "delete", at("alice"))
        a.wait_end()
        self.d.add_account("alice")
        a = self.login("alice")
        self.assertEqual(xmppc.error_of(ps.items(a, "n"))[1], "item-not-found")
        self.assertEqual(len(kid(a.get("vcard-temp", "vCard"), "vCard", "vcard-temp")), 0)


if __name__ == "__main__":
    lab.main()
