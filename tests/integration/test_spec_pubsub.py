"""XEP-0060 by the text, at a service of its own: sections 4 to 8 and 12, each rule, example and error."""
import unittest
from xml.sax.saxutils import quoteattr

import case
import lab
import pubsubc as ps
import xmppc
from pubsubc import EVENT, FORM, OWNER, PUBSUB, RSM, SHIM, condition, event, event_ids, fields, item_ids
from xmppc import DELAY, DISCO_INFO, DISCO_ITEMS, error_of, is_, kid, local, nsof, show, text

SERVICE = "pubsub.lab.test"
COMMANDS = "http://jabber.org/protocol/commands"
GET_PENDING = PUBSUB + "#get-pending"
AUTH = PUBSUB + "#subscribe_authorization"
CONF = 'domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" %s }'


class Case(case.ServerCase):
    options = {"extra": CONF % ""}
    _people = {}

    def people(self, n):
        """Sessions that last, with nothing waiting; nodes are new in each test."""
        pool = Case._people.setdefault(id(self.d), [])
        while len(pool) < n:
            pool.append(xmppc.login(self.port, self.user(), "r"))
        for c in pool[:n]:
            c.sync()
            c.drain()
        return pool[:n]

    def node(self, c, **config):
        """A new node of <c>."""
        n = lab.token("node")
        self.assertResult(ps.create(c, n, SERVICE, config))
        return n

    def sub(self, c, node, **kw):
        r = ps.subscribe(c, node, SERVICE, **kw)
        self.assertResult(r)
        return kid(kid(r, "pubsub", PUBSUB), "subscription")

    def pub(self, c, node, id_="i", payload="<e xmlns='t:e'>x</e>"):
        r = ps.publish(c, node, ps.item(id_, payload), SERVICE)
        self.assertResult(r)
        return r

    def get(self, c, node, **kw):
        return ps.items(c, node, SERVICE, **kw)

    def refused(self, e, type_, cond, app=None):
        self.assertError(e, cond, type_)
        if app:
            self.assertEqual(condition(e), app, show(e))

    def owner(self, c, type_, inner):
        return ps.owner(c, type_, inner, SERVICE)

    def subs(self, c, node):
        r = self.owner(c, "get", "<subscriptions node=%s/>" % quoteattr(node))
        self.assertResult(r)
        return {s.get("jid"): s.get("subscription") for s in r.iter("{%s}subscription" % OWNER)}

    def affs(self, c, node):
        r = self.owner(c, "get", "<affiliations node=%s/>" % quoteattr(node))
        self.assertResult(r)
        return {s.get("jid"): s.get("affiliation") for s in r.iter("{%s}affiliation" % OWNER)}

    def mine(self, c, what="subscriptions", node=None):
        r = c.iq("get", "<pubsub xmlns='%s'><%s%s/></pubsub>" % (PUBSUB, what, " node='%s'" % node if node else ""), SERVICE)
        self.assertResult(r)
        return list(kid(kid(r, "pubsub", PUBSUB), what))

    def features(self, c, node=None):
        r = c.iq("get", "<query xmlns='%s'%s/>" % (DISCO_INFO, " node='%s'" % node if node else ""), SERVICE)
        self.assertResult(r)
        return r, {f.get("var") for f in kid(r, "query", DISCO_INFO).findall("{%s}feature" % DISCO_INFO)}

    def silent(self, c):
        """No event until the service has answered once more."""
        c.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        got = [e for e in c.drain() if local(e) == "message"]
        self.assertEqual([show(e) for e in got], [])

    def asked(self, o):
        return o.wait(lambda e: local(e) == "message" and e.find("{%s}x" % FORM) is not None)

    def answer(self, o, m, allow, kind="submit"):
        f = fields(m.find("{%s}x" % FORM))
        f.pop("FORM_TYPE")
        f["pubsub#allow"] = allow
        o.send("<message to='%s' id='%s'>%s</message>" % (SERVICE, m.get("id"), ps.form(AUTH, f, kind)))


class Discovery(Case):
    """Section 5."""

    def test_example_8_features(self):
        c, = self.people(1)
        r, f = self.features(c)
        q = kid(r, "query", DISCO_INFO)
        self.assertIn(("pubsub", "service"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])
        self.assertIn(PUBSUB, f)
        for name in ("access-open", "config-node", "create-and-configure", "create-nodes", "delete-items", "delete-nodes", "get-pending", "instant-nodes",
                     "item-ids", "manage-subscriptions", "member-affiliation", "meta-data", "modify-affiliations", "multi-items", "outcast-affiliation",
                     "persistent-items", "publish", "publish-options", "publish-only-affiliation", "publisher-affiliation", "purge-nodes",
                     "retract-items", "retrieve-affiliations", "retrieve-default", "retrieve-default-sub", "retrieve-items", "retrieve-subscriptions",
                     "subscribe", "subscription-options", "subscription-notifications", "rsm", "last-published"):
            self.assertIn(PUBSUB + "#" + name, f)

    def test_server_lists_the_service(self):
        c, = self.people(1)
        self.assertIn(SERVICE, [i.get("jid") for i in kid(c.get(DISCO_ITEMS, to=lab.DOMAIN), "query", DISCO_ITEMS)])

    def test_example_9_nodes(self):
        c, d = self.people(2)
        n = self.node(c, title="A Title")
        after, got = "", {}
        while True:
            r = d.iq("get", "<query xmlns='%s'>%s</query>" % (DISCO_ITEMS, after), SERVICE)
            self.assertResult(r)
            q = kid(r, "query", DISCO_ITEMS)
            page = {i.get("node"): i for i in q.findall("{%s}item" % DISCO_ITEMS)}
            if not page or set(page) <= set(got):
                break
            got.update(page)
            s = kid(q, "set", RSM)
            if s is None:
                break
            after = "<set xmlns='%s'><after>%s</after></set>" % (RSM, kid(s, "last").text)
        self.assertEqual(got[n].get("jid"), SERVICE)
        self.assertEqual(got[n].get("name"), "A Title")

    def test_example_11_node_info(self):
        c, d = self.people(2)
        n = self.node(c, title="T", description="D", type="t:e", language="en", max_items=5)
        r, f = self.features(d, n)
        q = kid(r, "query", DISCO_INFO)
        self.assertEqual(q.get("node"), n)
        self.assertIn(("pubsub", "leaf"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])
        self.assertIn(PUBSUB, f)
        m = fields(q.find("{%s}x" % FORM))
        self.assertEqual(m["FORM_TYPE"], PUBSUB + "#meta-data")
        self.assertEqual((m["pubsub#title"], m["pubsub#description"], m["pubsub#type"], m["pubsub#language"]), ("T", "D", "t:e", "en"))
        self.assertEqual((m["pubsub#owner"], m["pubsub#creator"]), (c.bare, c.bare))
        self.assertEqual((m["pubsub#access_model"], m["pubsub#publish_model"], m["pubsub#max_items"]), ("open", "publishers", "5"))
        self.assertRegex(m["pubsub#creation_date"], r"^\d{4}-\d\d-\d\dT")
        self.assertEqual(m["pubsub#num_subscribers"], "0")
        self.sub(d, n)
        self.assertEqual(fields(kid(self.features(d, n)[0], "query", DISCO_INFO).find("{%s}x" % FORM))["pubsub#num_subscribers"], "1")

    def test_no_such_node(self):
        c, = self.people(1)
        self.assertError(c.iq("get", "<query xmlns='%s' node='none-such'/>" % DISCO_INFO, SERVICE), "item-not-found", "cancel")
        self.assertError(c.iq("get", "<query xmlns='%s' node='none-such'/>" % DISCO_ITEMS, SERVICE), "item-not-found", "cancel")

    def test_5_5_items_of_a_node(self):
        c, = self.people(1)
        n = self.node(c)
        for i in "ab":
            self.pub(c, n, i)
        r = c.iq("get", "<query xmlns='%s' node='%s'/>" % (DISCO_ITEMS, n), SERVICE)
        self.assertResult(r)
        items = kid(r, "query", DISCO_ITEMS).findall("{%s}item" % DISCO_ITEMS)
        self.assertEqual({i.get("name") for i in items}, {"a", "b"})
        for i in items:
            self.assertEqual(i.get("jid"), SERVICE)
            self.assertIsNone(i.get("node"))

    def test_5_5_items_of_a_closed_node_are_not_shown(self):
        c, d = self.people(2)
        n = self.node(c, access_model="whitelist")
        self.pub(c, n, "secret-id")
        r = d.iq("get", "<query xmlns='%s' node='%s'/>" % (DISCO_ITEMS, n), SERVICE)
        self.assertNotIn("secret-id", show(r))

    def test_example_16_subscriptions(self):
        c, d = self.people(2)
        n, m = self.node(c), self.node(c)
        self.sub(d, n)
        self.sub(d, m, jid=d.jid)
        got = {(s.get("node"), s.get("jid")): s.get("subscription") for s in self.mine(d)}
        self.assertEqual(got[(n, d.bare)], "subscribed")
        self.assertEqual(got[(m, d.jid)], "subscribed")
        self.assertEqual([s.get("jid") for s in self.mine(d, node=n)], [d.bare])

    def test_example_18_none(self):
        c = self.login()
        self.assertEqual(self.mine(c), [])
        self.assertEqual(self.mine(c, "affiliations"), [])

    def test_example_22_affiliations(self):
        c, d = self.people(2)
        n, m = self.node(c), self.node(c)
        self.assertResult(ps.affiliate(c, n, d.bare, "publisher", SERVICE))
        self.assertResult(ps.affiliate(c, m, d.bare, "outcast", SERVICE))
        got = {a.get("node"): a.get("affiliation") for a in self.mine(d, "affiliations")}
        self.assertEqual((got[n], got[m]), ("publisher", "outcast"))
        self.assertEqual([(a.get("node"), a.get("affiliation")) for a in self.mine(d, "affiliations", n)], [(n, "publisher")])
        self.assertEqual({a.get("node"): a.get("affiliation") for a in self.mine(c, "affiliations")}[n], "owner")


class Subscribing(Case):
    """Sections 6.1 to 6.4."""
    several = False

    def test_example_28(self):
        c, d = self.people(2)
        n = self.node(c)
        s = self.sub(d, n)
        self.assertEqual((s.get("node"), s.get("jid"), s.get("subscription")), (n, d.bare, "subscribed"))

    def test_jids_do_not_match(self):
        c, d = self.people(2)
        n = self.node(c)
        self.refused(ps.subscribe(d, n, SERVICE, c.bare), "modify", "bad-request", "invalid-jid")

    def test_no_jid(self):
        c, = self.people(1)
        n = self.node(c)
        r = c.iq("set", "<pubsub xmlns='%s'><subscribe node='%s'/></pubsub>" % (PUBSUB, n), SERVICE)
        self.assertError(r, "bad-request", "modify")

    def test_no_such_node(self):
        c, = self.people(1)
        self.refused(ps.subscribe(c, "none-such", SERVICE), "cancel", "item-not-found")

    def test_whitelist(self):
        c, d = self.people(2)
        n = self.node(c, access_model="whitelist")
        self.refused(ps.subscribe(d, n, SERVICE), "cancel", "not-allowed", "closed-node")
        self.refused(self.get(d, n), "cancel", "not-allowed", "closed-node")
        self.assertResult(ps.affiliate(c, n, d.bare, "member", SERVICE))
        self.sub(d, n)
        self.assertResult(self.get(d, n))
        self.sub(c, n)      # 12.12: owners are on it

    def test_whitelist_publishers_are_on_it(self):
        c, d = self.people(2)
        n = self.node(c, access_model="whitelist")
        self.assertResult(ps.affiliate(c, n, d.bare, "publisher", SERVICE))
        self.sub(d, n)
        self.assertResult(self.get(d, n))

    def test_authorize(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.pub(c, n)
        s = self.sub(d, n)
        self.assertEqual(s.get("subscription"), "pending")
        self.refused(ps.subscribe(d, n, SERVICE), "auth", "not-authorized", "pending-subscription")
        self.refused(self.get(d, n), "auth", "not-authorized", "not-subscribed")
        m = self.asked(c)
        self.assertEqual(m.get("from"), SERVICE)
        self.assertIsNotNone(m.get("id"))
        x = m.find("{%s}x" % FORM)
        self.assertEqual(x.get("type"), "form")
        f = fields(x)
        self.assertEqual((f["FORM_TYPE"], f["pubsub#node"], f["pubsub#subscriber_jid"]), (AUTH, n, d.bare))
        self.assertIn(f["pubsub#allow"], ("0", "false"))
        self.assertEqual([e.get("type") for e in x.findall("{%s}field" % FORM) if e.get("var") == "pubsub#allow"], ["boolean"])
        self.assertNotIn(d.bare, self.subs(c, n))
        d.drain()
        self.answer(c, m, "true")
        ev = d.wait(event(n, "subscription"))
        sub = ev.find("{%s}event/{%s}subscription" % (EVENT, EVENT))
        self.assertEqual((sub.get("jid"), sub.get("subscription")), (d.bare, "subscribed"))
        self.assertEqual((ev.get("from"), ev.get("to")), (SERVICE, d.bare))
        self.assertResult(self.get(d, n))
        self.assertEqual(self.subs(c, n)[d.bare], "subscribed")
        # 12.10: the last item to who was approved
        d.wait(event(n))

    def test_authorize_denied(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        self.answer(c, self.asked(c), "0")
        ev = d.wait(event(n, "subscription"))
        self.assertEqual(ev.find("{%s}event/{%s}subscription" % (EVENT, EVENT)).get("subscription"), "none")
        self.assertEqual(self.mine(d, node=n), [])

    def test_authorize_cancelled_form_stays_pending(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        m = self.asked(c)
        c.send("<message to='%s' id='%s'>%s</message>" % (SERVICE, m.get("id"), ps.form(AUTH, {}, "cancel")))
        c.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertEqual([s.get("subscription") for s in self.mine(d, node=n)], ["pending"])

    def test_authorize_by_a_stranger(self):
        c, d, e = self.people(3)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        m = self.asked(c)
        self.answer(d, m, "1")
        self.answer(e, m, "1")
        for x in (d, e):
            x.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertEqual([s.get("subscription") for s in self.mine(d, node=n)], ["pending"])

    def test_pending_gets_no_events(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        self.pub(c, n)
        self.silent(d)

    def test_pending_may_unsubscribe(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        self.assertResult(ps.unsubscribe(d, n, SERVICE))
        self.assertEqual(self.mine(d, node=n), [])

    def test_members_need_no_approval_or_do(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.assertResult(ps.affiliate(c, n, d.bare, "member", SERVICE))
        self.assertIn(self.sub(d, n).get("subscription"), ("subscribed", "pending"))

    def test_blocked(self):
        c, d = self.people(2)
        n = self.node(c)
        self.pub(c, n)
        self.assertResult(ps.affiliate(c, n, d.bare, "outcast", SERVICE))
        self.refused(ps.subscribe(d, n, SERVICE), "auth", "forbidden")
        self.refused(self.get(d, n), "auth", "forbidden")

    def test_outcast_loses_the_subscription(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        self.assertResult(ps.affiliate(c, n, d.bare, "outcast", SERVICE))
        d.sync()
        d.drain()
        self.pub(c, n)
        self.assertEqual([show(e) for e in self.events_now(d, n)], [])

    def events_now(self, c, n):
        c.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        return [e for e in c.drain() if event(n)(e)]

    def test_subscribing_off(self):
        c, d = self.people(2)
        n = self.node(c, subscribe=0)
        self.refused(ps.subscribe(d, n, SERVICE), "cancel", "feature-not-implemented", "unsupported subscribe")

    def test_6_1_6_again(self):
        c, d = self.people(2)
        n = self.node(c)
        a, b = self.sub(d, n), self.sub(d, n)
        self.assertEqual(b.get("subscription"), "subscribed")
        if PUBSUB + "#multi-subscribe" not in self.features(c)[1]:
            self.assertEqual(a.get("subid"), b.get("subid"))
            self.assertEqual(len(self.mine(d, node=n)), 1)

    def test_6_1_6_bare_and_full_are_two(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        self.sub(d, n, jid=d.jid)
        self.pub(c, n)
        self.assertEqual({d.wait(event(n)).get("to") for _ in range(2)}, {d.bare, d.jid})

    def test_6_1_7_last_item(self):
        c, d = self.people(2)
        n = self.node(c)
        self.pub(c, n, "one")
        self.pub(c, n, "two")
        d.drain()
        self.sub(d, n)
        m = d.wait(event(n))
        self.assertEqual(event_ids(m), ["two"])
        self.assertIsNotNone(kid(m, "delay", DELAY))
        self.assertEqual(m.get("to"), d.bare)
        self.silent(d)

    def test_send_last_never(self):
        c, d = self.people(2)
        n = self.node(c, send_last_published_item="never")
        self.pub(c, n)
        self.sub(d, n)
        self.silent(d)

    def test_6_2_unsubscribe(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        r = ps.unsubscribe(d, n, SERVICE)
        self.assertResult(r)
        s = next(r.iter("{%s}subscription" % PUBSUB), None)
        if s is not None:
            self.assertEqual(s.get("subscription"), "none")
        d.drain()
        self.pub(c, n)
        self.assertEqual(self.events_now(d, n), [])

    def test_6_2_3_errors(self):
        c, d = self.people(2)
        n = self.node(c)
        self.refused(ps.unsubscribe(d, n, SERVICE), "cancel", "unexpected-request", "not-subscribed")
        self.sub(d, n)
        self.refused(ps.unsubscribe(c, n, SERVICE, d.bare), "auth", "forbidden")
        self.refused(ps.unsubscribe(d, "none-such", SERVICE), "cancel", "item-not-found")
        r = d.iq("set", "<pubsub xmlns='%s'><unsubscribe node='%s' jid='%s' subid='nonsense'/></pubsub>" % (PUBSUB, n, d.bare), SERVICE)
        if self.mine(d, node=n) and self.mine(d, node=n)[0].get("subid"):
            self.refused(r, "modify", "not-acceptable", "invalid-subid")

    def opts(self, c, n, jid=None, inner="", type_="get", subid=None):
        return c.iq(type_, "<pubsub xmlns='%s'><options node='%s'%s%s>%s</options></pubsub>" % (
            PUBSUB, n, " jid='%s'" % jid if jid else "", " subid='%s'" % subid if subid else "", inner), SERVICE)

    def test_6_3_options(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        r = self.opts(d, n, d.bare)
        self.assertResult(r)
        o = next(r.iter("{%s}options" % PUBSUB))
        self.assertEqual((o.get("node"), o.get("jid")), (n, d.bare))
        x = o.find("{%s}x" % FORM)
        self.assertEqual(x.get("type"), "form")
        f = fields(x)
        self.assertEqual(f["FORM_TYPE"], PUBSUB + "#subscribe_options")
        self.assertIn(f["pubsub#deliver"], ("1", "true"))
        self.assertResult(self.opts(d, n, d.bare, ps.form(PUBSUB + "#subscribe_options", {"deliver": "0"}), "set"))
        self.assertIn(fields(self.opts(d, n, d.bare).find(".//{%s}x" % FORM))["pubsub#deliver"], ("0", "false"))
        self.pub(c, n)
        self.silent(d)
        self.assertResult(self.opts(d, n, d.bare, ps.form(PUBSUB + "#subscribe_options", {"deliver": "true"}), "set"))
        self.pub(c, n)
        d.wait(event(n))

    def test_6_3_errors(self):
        c, d = self.people(2)
        n = self.node(c)
        self.refused(self.opts(d, n, d.bare), "modify", "unexpected-request", "not-subscribed")
        self.sub(d, n)
        self.refused(self.opts(c, n, d.bare), "auth", "forbidden")
        self.refused(self.opts(d, n), "modify", "bad-request", "jid-required")
        self.refused(self.opts(d, "none-such", d.bare), "cancel", "item-not-found")
        self.refused(self.opts(d, n, d.bare, ps.form(PUBSUB + "#subscribe_options", {"deliver": "maybe"}), "set"), "modify", "bad-request", "invalid-options")

    def test_6_3_7_subscribe_and_configure(self):
        c, d = self.people(2)
        n = self.node(c)
        r = ps.subscribe(d, n, SERVICE, options={"deliver": "0"})
        self.assertResult(r)
        x = r.find(".//{%s}x" % FORM)
        self.assertIsNotNone(x, "6.3.7: the resulting options SHOULD come")
        self.assertEqual(x.get("type"), "result")
        self.assertIn(fields(x)["pubsub#deliver"], ("0", "false"))
        self.pub(c, n)
        self.silent(d)

    def test_6_3_7_options_with_a_node(self):
        c, d = self.people(2)
        n = self.node(c)
        form = ps.form(PUBSUB + "#subscribe_options", {"deliver": "0"})
        r = d.iq("set", "<pubsub xmlns='%s'><subscribe node='%s' jid='%s'/><options node='%s' jid='%s'>%s</options></pubsub>" % (
            PUBSUB, n, d.bare, n, d.bare, form), SERVICE)
        self.assertError(r, "bad-request", "modify")
        r = d.iq("set", "<pubsub xmlns='%s'><options>%s</options><subscribe node='%s' jid='%s'/></pubsub>" % (PUBSUB, form, n, d.bare), SERVICE)
        self.assertError(r, "bad-request", "modify")

    def test_6_4_default_options(self):
        c, = self.people(1)
        n = self.node(c)
        for attr in ("", " node='%s'" % n):
            r = c.iq("get", "<pubsub xmlns='%s'><default%s/></pubsub>" % (PUBSUB, attr), SERVICE)
            self.assertResult(r)
            x = r.find("{%s}pubsub/{%s}default/{%s}x" % (PUBSUB, PUBSUB, FORM))
            self.assertEqual(fields(x)["FORM_TYPE"], PUBSUB + "#subscribe_options")

    def test_show_values(self):
        c, = self.people(1)
        d = self.login()
        n = self.node(c)
        r = ps.subscribe(d, n, SERVICE, options={"show-values": ["online", "away"]})
        self.assertResult(r)
        self.assertEqual(set(fields(r.find(".//{%s}x" % FORM))["pubsub#show-values"]), {"online", "away"})

    def test_12_19_lease(self):
        c, d = self.people(2)
        _, f = self.features(c)
        if PUBSUB + "#leased-subscription" not in f:
            self.skipTest("no leases")
        n = self.node(c)
        self.assertResult(ps.subscribe(d, n, SERVICE, options={"expire": "1999-01-01T00:00:00Z"}) if False else ps.subscribe(
            d, n, SERVICE, options={"expire": "2099-01-01T00:00:00Z"}))
        self.refused(self.opts(d, n, d.bare, ps.form(PUBSUB + "#subscribe_options", {"expire": "tomorrow"}), "set"), "modify", "bad-request", "invalid-options")

    def test_no_subids(self):
        c, d = self.people(2)
        self.assertEqual(PUBSUB + "#multi-subscribe" in self.features(c)[1], self.several)
        self.assertEqual("subid" in self.sub(d, self.node(c)).keys(), self.several)


class SubscribingSeveral(Subscribing):
    """All that, and more, where an address may subscribe several times."""
    options = {"extra": CONF % "pubsub_multi_subscribe = true"}
    several = True

    def test_6_1_6_several(self):
        """6.1.6, 6.2.3.1, 7.1.2.4: several subscriptions of one address."""
        c, d = self.people(2)
        n = self.node(c)
        one, two = self.sub(d, n).get("subid"), self.sub(d, n).get("subid")
        self.assertTrue(one and two and one != two)
        self.assertEqual({s.get("subid") for s in self.mine(d, node=n)}, {one, two})
        r = self.owner(c, "get", "<subscriptions node='%s'/>" % n)
        self.assertEqual({s.get("subid") for s in r.iter("{%s}subscription" % OWNER)}, {one, two})
        # one event, which names both
        self.pub(c, n, "i1")
        m = d.wait(event(n))
        heads = [h.text for h in m.iter("{%s}header" % SHIM) if h.get("name") == "SubID"]
        self.assertEqual(set(heads), {one, two})
        self.assertEqual(m[-1].tag, "{%s}headers" % SHIM)
        self.silent(d)
        # which one?
        self.refused(ps.unsubscribe(d, n, SERVICE), "modify", "bad-request", "subid-required")
        self.refused(self.opts(d, n, d.bare), "modify", "bad-request", "subid-required")
        self.refused(self.get(d, n), "modify", "bad-request", "subid-required")
        self.refused(self.get(d, n, attrs="subid='x'"), "modify", "not-acceptable", "invalid-subid")
        self.assertEqual(item_ids(self.get(d, n, attrs="subid='%s'" % one)), ["i1"])
        self.refused(self.opts(d, n, d.bare, subid="x"), "modify", "not-acceptable", "invalid-subid")
        self.assertResult(self.opts(d, n, d.bare, ps.form(PUBSUB + "#subscribe_options", {"deliver": "0"}), "set", one))
        self.pub(c, n, "i2")
        m = d.wait(event(n))
        self.assertEqual([h.text for h in m.iter("{%s}header" % SHIM) if h.get("name") == "SubID"], [two])
        self.assertResult(ps.retract(c, n, "i2", SERVICE, "true"))
        m = d.wait(event(n))
        self.assertEqual([h.text for h in m.iter("{%s}header" % SHIM) if h.get("name") == "SubID"], [two])
        bad = d.iq("set", "<pubsub xmlns='%s'><unsubscribe node='%s' jid='%s' subid='x'/></pubsub>" % (PUBSUB, n, d.bare), SERVICE)
        self.refused(bad, "modify", "not-acceptable", "invalid-subid")
        r = d.iq("set", "<pubsub xmlns='%s'><unsubscribe node='%s' jid='%s' subid='%s'/></pubsub>" % (PUBSUB, n, d.bare, two), SERVICE)
        self.assertResult(r)
        self.assertEqual([s.get("subid") for s in self.mine(d, node=n)], [one])

    def ids(self, m):
        return [h.text for h in m.iter("{%s}header" % SHIM) if h.get("name") == "SubID"]

    def test_one_needs_no_id(self):
        """SubIDs are only a must where there are several."""
        c, d = self.people(2)
        n = self.node(c)
        one = self.sub(d, n).get("subid")
        r = self.opts(d, n, d.bare)
        self.assertResult(r)
        self.assertEqual(next(r.iter("{%s}options" % PUBSUB)).get("subid"), one)
        self.assertResult(self.get(d, n))
        self.refused(self.get(d, n, attrs="subid='x'"), "modify", "not-acceptable", "invalid-subid")
        self.pub(c, n)
        self.assertEqual(self.ids(d.wait(event(n))), [])
        s = next(ps.unsubscribe(d, n, SERVICE).iter("{%s}subscription" % PUBSUB))
        self.assertEqual((s.get("subid"), s.get("subscription")), (one, "none"))

    def test_12_16_no_headers_about_the_node(self):
        """What does not differ by subscription names none, and comes once."""
        c, d = self.people(2)
        n = self.node(c, notify_config=1)
        for _ in range(3):
            self.sub(d, n)
        self.assertResult(ps.configure(c, n, {"title": "x"}, SERVICE))
        self.assertEqual(self.ids(d.wait(event(n, "configuration"))), [])
        self.pub(c, n)
        self.assertEqual(len(self.ids(d.wait(event(n)))), 3)
        self.assertResult(self.owner(c, "set", "<purge node='%s'/>" % n))
        self.assertEqual(self.ids(d.wait(event(n, "purge"))), [])
        self.assertResult(self.owner(c, "set", "<delete node='%s'/>" % n))
        self.assertEqual(self.ids(d.wait(event(n, "delete"))), [])
        self.silent(d)

    def test_full_addresses_are_others(self):
        """6.1.6: another address has subscriptions, and gets events, of its own."""
        c, d = self.people(2)
        n = self.node(c)
        one, two, far = self.sub(d, n), self.sub(d, n), self.sub(d, n, jid=d.jid)
        self.pub(c, n)
        got = {m.get("to"): self.ids(m) for m in (d.wait(event(n)), d.wait(event(n)))}
        self.assertEqual(got, {d.bare: [one.get("subid"), two.get("subid")], d.jid: []})
        self.assertResult(self.get(d, n, attrs="subid='%s'" % far.get("subid")))
        self.assertResult(ps.unsubscribe(d, n, SERVICE, d.jid))
        self.assertEqual(len(self.mine(d, node=n)), 2)

    def test_options_of_a_new_one_are_new(self):
        c, d = self.people(2)
        n = self.node(c)
        one = self.sub(d, n, options={"deliver": "0"}).get("subid")
        two = self.sub(d, n).get("subid")
        for i, want in ((one, ("0", "false")), (two, ("1", "true"))):
            r = self.opts(d, n, d.bare, subid=i)
            self.assertIn(fields(r.find(".//{%s}x" % FORM))["pubsub#deliver"], want)

    def test_limit(self):
        c, d = self.people(2)
        n = self.node(c)
        for _ in range(20):
            self.sub(d, n)
        r = ps.subscribe(d, n, SERVICE)
        self.refused(r, "wait", "policy-violation", "too-many-subscriptions")

    def test_requests_have_ids(self):
        """8.6: the owner's form names the request; a second one is asked for when the first was granted."""
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        one = self.sub(d, n).get("subid")
        m = self.asked(c)
        self.assertEqual(fields(m.find("{%s}x" % FORM))["pubsub#subid"], one)
        self.refused(ps.subscribe(d, n, SERVICE), "auth", "not-authorized", "pending-subscription")
        wrong = dict(fields(m.find("{%s}x" % FORM)), **{"pubsub#subid": "x", "pubsub#allow": "1"})
        del wrong["FORM_TYPE"]
        c.send("<message to='%s'>%s</message>" % (SERVICE, ps.form(AUTH, wrong)))
        self.assertEqual([s.get("subscription") for s in self.mine(d, node=n)], ["pending"])
        self.answer(c, m, "1")
        e = d.wait(event(n, "subscription"))
        self.assertEqual(e.find(".//{%s}subscription" % EVENT).get("subid"), one)
        self.assertEqual(self.sub(d, n).get("subscription"), "subscribed")

    def test_8_8_owner_names_them(self):
        c, d = self.people(2)
        n = self.node(c)
        one, two, three = (self.sub(d, n).get("subid") for _ in range(3))

        def change(inner):
            return self.owner(c, "set", "<subscriptions node='%s'>%s</subscriptions>" % (n, inner))
        self.assertResult(change("<subscription jid='%s' subid='%s' subscription='none'/>" % (d.bare, two)))
        e = d.wait(event(n, "subscription"))
        s = e.find(".//{%s}subscription" % EVENT)
        self.assertEqual((s.get("subid"), s.get("subscription")), (two, "none"))
        self.assertEqual({s.get("subid") for s in self.mine(d, node=n)}, {one, three})
        r = change("<subscription jid='%s' subid='x' subscription='none'/>" % d.bare)
        self.refused(r, "modify", "not-acceptable")
        self.assertEqual([s.get("subid") for s in r.iter("{%s}subscription" % OWNER)], ["x"])
        self.assertEqual(len(self.mine(d, node=n)), 2)
        # without an id: the address
        self.assertResult(change("<subscription jid='%s' subscription='none'/>" % d.bare))
        self.assertEqual(self.mine(d, node=n), [])

    def test_rights_that_end_end_all(self):
        c, d = self.people(2)
        n = self.node(c)
        ids = {self.sub(d, n).get("subid") for _ in range(2)}
        self.assertResult(ps.configure(c, n, {"access_model": "whitelist"}, SERVICE))
        got = {d.wait(event(n, "subscription")).find(".//{%s}subscription" % EVENT).get("subid") for _ in range(2)}
        self.assertEqual(got, ids)
        self.assertEqual(self.mine(d, node=n), [])


class AccessByPresence(Case):
    """4.5, 6.1.3.2, 6.1.3.3: what the owner's roster says, where the owner is an account of ours."""

    def contacts(self):
        o, a, b = (self.login() for _ in range(3))
        self.friends(o, a)
        self.assertResult(o.iq("set", "<query xmlns='%s'><item jid='%s'><group>Friends</group></item></query>" % (xmppc.ROSTER, a.bare)))
        for c in (o, a, b):
            c.sync()
            c.drain()
        return o, a, b

    def test_presence(self):
        o, a, b = self.contacts()
        n = self.node(o, access_model="presence")
        self.pub(o, n)
        self.refused(ps.subscribe(b, n, SERVICE), "auth", "not-authorized", "presence-subscription-required")
        self.refused(self.get(b, n), "auth", "not-authorized", "presence-subscription-required")
        self.assertEqual(self.sub(a, n).get("subscription"), "subscribed")
        a.wait(event(n))
        self.assertEqual(item_ids(self.get(a, n)), ["i"])
        self.sub(o, n)

    def test_roster(self):
        o, a, b = self.contacts()
        n = self.node(o, access_model="roster", roster_groups_allowed=["Friends"])
        self.pub(o, n)
        self.refused(ps.subscribe(b, n, SERVICE), "auth", "not-authorized", "not-in-roster-group")
        self.refused(self.get(b, n), "auth", "not-authorized", "not-in-roster-group")
        self.assertEqual(self.sub(a, n).get("subscription"), "subscribed")
        self.assertEqual(item_ids(self.get(a, n)), ["i"])
        m = self.node(o, access_model="roster", roster_groups_allowed=["Family"])
        self.refused(ps.subscribe(a, m, SERVICE), "auth", "not-authorized", "not-in-roster-group")

    def test_12_14_the_subscription_ends_with_the_contact(self):
        o, a, b = self.contacts()
        n = self.node(o, access_model="presence")
        self.sub(a, n)
        o.presence("unsubscribed", a.bare)
        o.sync()
        a.sync()
        a.drain()
        self.pub(o, n)
        a.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertEqual([show(e) for e in a.drain() if event(n)(e)], [])
        self.refused(self.get(a, n), "auth", "not-authorized", "presence-subscription-required")

    def test_events_still_go_to_contacts(self):
        o, a, b = self.contacts()
        n = self.node(o, access_model="roster", roster_groups_allowed=["Friends"])
        self.sub(a, n)
        self.pub(o, n, "later")
        self.assertEqual(event_ids(a.wait(event(n))), ["later"])


class Retrieving(Case):
    """Section 6.5."""

    def filled(self, c, count=5, **config):
        n = self.node(c, **config)
        for i in range(count):
            self.pub(c, n, "i%d" % i)
        return n

    def test_example_74_all(self):
        c, d = self.people(2)
        n = self.filled(c)
        r = self.get(d, n)
        self.assertResult(r)
        self.assertEqual(next(r.iter("{%s}items" % PUBSUB)).get("node"), n)
        self.assertEqual(set(item_ids(r)), {"i%d" % i for i in range(5)})
        self.assertEqual(len(list(r.iter("{t:e}e"))), 5)

    def test_example_78_some(self):
        c, = self.people(1)
        n = self.filled(c)
        self.assertEqual(set(item_ids(self.get(c, n, ids=["i1", "i3", "none"]))), {"i1", "i3"})
        r = self.get(c, n, ids=["none"])
        self.assertResult(r)
        self.assertEqual(item_ids(r), [])
        self.assertIsNotNone(next(r.iter("{%s}items" % PUBSUB), None))

    def test_example_80_recent(self):
        c, = self.people(1)
        n = self.filled(c)
        self.assertEqual(set(item_ids(self.get(c, n, attrs="max_items='2'"))), {"i4", "i3"})
        self.assertEqual(len(item_ids(self.get(c, n, attrs="max_items='99'"))), 5)

    def test_example_82_empty(self):
        c, = self.people(1)
        r = self.get(c, self.node(c))
        self.assertResult(r)
        self.assertEqual(item_ids(r), [])
        self.assertIsNotNone(next(r.iter("{%s}items" % PUBSUB), None))

    def test_6_5_4_rsm(self):
        c, = self.people(1)
        n = self.filled(c)
        seen, after, pages = [], "", 0
        while pages < 10:
            r = self.get(c, n, rsm="<set xmlns='%s'><max>2</max>%s</set>" % (RSM, after))
            self.assertResult(r)
            ids = item_ids(r)
            if not ids:
                break
            s = r.find(".//{%s}set" % RSM)
            self.assertEqual(kid(s, "count").text, "5")
            seen += ids
            pages += 1
            after = "<after>%s</after>" % kid(s, "last").text
        self.assertEqual((sorted(seen), pages), (["i%d" % i for i in range(5)], 3))
        r = self.get(c, n, rsm="<set xmlns='%s'><max>0</max></set>" % RSM)
        self.assertEqual(item_ids(r), [])
        self.assertEqual(kid(r.find(".//{%s}set" % RSM), "count").text, "5")
        r = self.get(c, n, rsm="<set xmlns='%s'><max>2</max><before/></set>" % RSM)
        self.assertEqual(sorted(item_ids(r)), sorted(seen[-2:]))
        self.assertError(self.get(c, n, rsm="<set xmlns='%s'><max>2</max><after>never</after></set>" % RSM), "item-not-found", "cancel")

    def test_republished_item_is_the_newest(self):
        c, = self.people(1)
        n = self.filled(c)
        self.pub(c, n, "i0", "<e xmlns='t:e'>again</e>")
        r = self.get(c, n, attrs="max_items='1'")
        self.assertEqual(item_ids(r), ["i0"])
        self.assertEqual(next(r.iter("{t:e}e")).text, "again")
        self.assertEqual(len(item_ids(self.get(c, n))), 5)

    def test_no_such_node(self):
        c, = self.people(1)
        self.refused(self.get(c, "none-such"), "cancel", "item-not-found")

    def test_no_node(self):
        c, = self.people(1)
        r = c.iq("get", "<pubsub xmlns='%s'><items/></pubsub>" % PUBSUB, SERVICE)
        self.assertError(r, "bad-request", "modify")

    def test_authorize(self):
        c, d = self.people(2)
        n = self.filled(c, 1, access_model="authorize")
        self.refused(self.get(d, n), "auth", "not-authorized", "not-subscribed")
        self.assertResult(ps.affiliate(c, n, d.bare, "publisher", SERVICE))
        self.assertResult(self.get(d, n))       # a publisher may

    def test_publish_only_may_not_read(self):
        c, d = self.people(2)
        n = self.filled(c, 1, access_model="whitelist")
        self.assertResult(ps.affiliate(c, n, d.bare, "publish-only", SERVICE))
        self.assertIn(error_of(self.get(d, n))[1], ("not-allowed", "forbidden", "not-authorized"))
        self.assertIsNotNone(error_of(ps.subscribe(d, n, SERVICE)))
        self.pub(d, n, "mine")

    def test_transient_node(self):
        c, d = self.people(2)
        n = self.node(c, persist_items=0)
        self.sub(d, n)
        self.pub(c, n, "x")
        self.assertEqual(event_ids(d.wait(event(n))), ["x"])
        r = self.get(c, n)
        if r.get("type") == "error":
            self.refused(r, "cancel", "feature-not-implemented", "unsupported persistent-items")
        else:       # the last one is cached (12.10)
            self.assertLessEqual(len(item_ids(r)), 1)

    def test_7_1_2_3_publisher(self):
        c, d = self.people(2)
        n = self.node(c, itemreply="publisher")
        self.sub(d, n)
        r = ps.publish(c, n, "<item id='p' publisher='forged@x.example'><e xmlns='t:e'/></item>", SERVICE)
        self.assertResult(r)
        it = next(d.wait(event(n)).iter("{%s}item" % EVENT))
        self.assertIn(it.get("publisher"), (c.bare, c.jid))
        it = next(self.get(d, n).iter("{%s}item" % PUBSUB))
        self.assertIn(it.get("publisher"), (c.bare, c.jid))

    def test_no_publisher_by_default(self):
        c, = self.people(1)
        n = self.filled(c, 1, itemreply="none")
        self.assertIsNone(next(self.get(c, n).iter("{%s}item" % PUBSUB)).get("publisher"))


class Publishing(Case):
    """Section 7."""

    def test_example_97_without_an_id(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        r = ps.publish(c, n, ps.item(None), SERVICE)
        self.assertResult(r)
        p = next(r.iter("{%s}publish" % PUBSUB))
        self.assertEqual(p.get("node"), n)
        id_ = kid(p, "item").get("id")
        self.assertTrue(id_)
        m = d.wait(event(n))
        self.assertEqual(event_ids(m), [id_])
        self.assertEqual((m.get("from"), m.get("to")), (SERVICE, d.bare))
        self.assertIsNotNone(m.get("id"))
        self.assertIsNotNone(next(m.iter("{t:e}e"), None))
        self.assertIsNone(kid(m, "delay", DELAY))

    def test_example_101_without_payload(self):
        c, d = self.people(2)
        n = self.node(c, deliver_payloads=0)
        self.sub(d, n)
        self.pub(c, n, "x")
        m = d.wait(event(n))
        self.assertEqual(event_ids(m), ["x"])
        self.assertIsNone(next(m.iter("{t:e}e"), None))
        self.assertIsNotNone(next(self.get(d, n).iter("{t:e}e"), None))

    def test_deliver_notifications_off(self):
        c, d = self.people(2)
        n = self.node(c, deliver_notifications=0)
        self.sub(d, n)
        self.pub(c, n)
        self.silent(d)

    def test_notification_type(self):
        c, d = self.people(2)
        for t in ("normal", "headline"):
            n = self.node(c, notification_type=t)
            self.sub(d, n)
            self.pub(c, n)
            self.assertEqual(d.wait(event(n)).get("type", "normal"), t)

    def test_forbidden(self):
        c, d = self.people(2)
        n = self.node(c)
        self.refused(ps.publish(d, n, ps.item("x"), SERVICE), "auth", "forbidden")
        self.assertResult(ps.affiliate(c, n, d.bare, "member", SERVICE))
        self.refused(ps.publish(d, n, ps.item("x"), SERVICE), "auth", "forbidden")
        for a in ("publisher", "publish-only", "owner"):
            self.assertResult(ps.affiliate(c, n, d.bare, a, SERVICE))
            self.pub(d, n)

    def test_publish_models(self):
        c, d, e = self.people(3)
        n = self.node(c, publish_model="open")
        self.pub(d, n)
        self.assertResult(ps.affiliate(c, n, e.bare, "outcast", SERVICE))
        self.refused(ps.publish(e, n, ps.item("x"), SERVICE), "auth", "forbidden")
        n = self.node(c, publish_model="subscribers")
        self.refused(ps.publish(d, n, ps.item("x"), SERVICE), "auth", "forbidden")
        self.sub(d, n)
        self.pub(d, n)
        r = ps.configure(c, n, {"publish_model": "nonsense"}, SERVICE)
        self.assertError(r, "not-acceptable")

    def test_subscribers_model_full_jid(self):
        c, d = self.people(2)
        n = self.node(c, publish_model="subscribers")
        self.sub(d, n, jid=d.jid)
        self.pub(d, n)

    def test_no_such_node(self):
        c, = self.people(1)
        n = lab.token("auto")
        r = ps.publish(c, n, ps.item("x"), SERVICE)
        if PUBSUB + "#auto-create" in self.features(c)[1]:
            self.assertResult(r)
        else:
            self.refused(r, "cancel", "item-not-found")

    def test_no_node(self):
        c, = self.people(1)
        r = c.iq("set", "<pubsub xmlns='%s'><publish>%s</publish></pubsub>" % (PUBSUB, ps.item("x")), SERVICE)
        self.assertError(r, "bad-request", "modify")

    def test_full_retract_oldest(self):
        c, d = self.people(2)
        n = self.node(c, max_items=2, notify_retract=1)
        self.sub(d, n)
        for i in "abc":
            self.pub(c, n, i)
        self.assertEqual(set(item_ids(self.get(c, n))), {"b", "c"})
        # 7.1.2.5: subscribers MAY be told
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertIn([ps.retracted(e) for e in d.drain() if event(n)(e) and ps.retracted(e)], ([], [["a"]]))

    def test_full_discard_oldest(self):
        c, d = self.people(2)
        n = self.node(c, max_items=2, notify_retract=1, publish_node_full="discard-oldest")
        self.sub(d, n)
        for i in "abc":
            self.pub(c, n, i)
        self.assertEqual(set(item_ids(self.get(c, n))), {"b", "c"})
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertEqual([ps.retracted(e) for e in d.drain() if event(n)(e) and ps.retracted(e)], [])

    def test_full_reject(self):
        c, = self.people(1)
        self.assertIn(PUBSUB + "#publish-node-full", self.features(c)[1])
        n = self.node(c, max_items=2, publish_node_full="reject")
        for i in "ab":
            self.pub(c, n, i)
        self.refused(ps.publish(c, n, ps.item("c"), SERVICE), "cancel", "conflict", "node-full")
        self.pub(c, n, "b")     # an overwrite does not fill it
        self.assertEqual(set(item_ids(self.get(c, n))), {"a", "b"})

    def test_max_items_max(self):
        c, = self.people(1)
        n = self.node(c, max_items="max")
        self.assertEqual(ps.config(c, n, SERVICE)["pubsub#max_items"], "max")
        for i in range(3):
            self.pub(c, n, "i%d" % i)
        self.assertEqual(len(item_ids(self.get(c, n))), 3)
        self.assertError(ps.configure(c, n, {"max_items": "many"}, SERVICE), "not-acceptable")
        self.assertResult(ps.configure(c, n, {"item_expire": "max"}, SERVICE))

    def test_lower_max_items_drops(self):
        c, = self.people(1)
        n = self.node(c, max_items=5)
        for i in range(4):
            self.pub(c, n, "i%d" % i)
        self.assertResult(ps.configure(c, n, {"max_items": 2}, SERVICE))
        self.assertEqual(set(item_ids(self.get(c, n))), {"i2", "i3"})

    def test_payload_too_big(self):
        c, = self.people(1)
        n = self.node(c, max_payload_size=100)
        self.refused(ps.publish(c, n, ps.item("x", "<e xmlns='t:e'>%s</e>" % ("y" * 200)), SERVICE), "modify", "not-acceptable", "payload-too-big")

    def test_bad_payload(self):
        c, = self.people(1)
        n = self.node(c)
        self.refused(ps.publish(c, n, ps.item("x", "<e xmlns='t:e'/><f xmlns='t:e'/>"), SERVICE), "modify", "bad-request", "invalid-payload")

    def test_item_required(self):
        c, = self.people(1)
        n = self.node(c)
        r = c.iq("set", "<pubsub xmlns='%s'><publish node='%s'/></pubsub>" % (PUBSUB, n), SERVICE)
        self.refused(r, "modify", "bad-request", "item-required")

    def test_payload_required(self):
        c, = self.people(1)
        n = self.node(c)
        self.refused(ps.publish(c, n, "<item id='x'/>", SERVICE), "modify", "bad-request", "payload-required")

    def test_item_forbidden(self):
        c, d = self.people(2)
        n = self.node(c, persist_items=0, deliver_payloads=0)
        self.refused(ps.publish(c, n, ps.item("x"), SERVICE), "modify", "bad-request", "item-forbidden")
        self.sub(d, n)
        r = c.iq("set", "<pubsub xmlns='%s'><publish node='%s'/></pubsub>" % (PUBSUB, n), SERVICE)
        self.assertResult(r)
        m = d.wait(event(n))
        self.assertEqual(event_ids(m), [])

    def test_persistent_notification_only_takes_an_empty_item(self):
        c, d = self.people(2)
        n = self.node(c, deliver_payloads=0)
        self.sub(d, n)
        self.assertResult(ps.publish(c, n, "<item id='x'/>", SERVICE))
        self.assertEqual(event_ids(d.wait(event(n))), ["x"])

    def test_7_1_5_publish_options(self):
        c, = self.people(1)
        n = self.node(c, access_model="open", max_items=3)
        self.assertResult(ps.publish(c, n, ps.item("x"), SERVICE, {"access_model": "open", "max_items": "3"}))
        self.refused(ps.publish(c, n, ps.item("y"), SERVICE, {"access_model": "whitelist"}), "cancel", "conflict", "precondition-not-met")
        self.assertEqual(item_ids(self.get(c, n)), ["x"])

    def test_7_1_5_unknown_option(self):
        c, = self.people(1)
        n = self.node(c)
        r = ps.publish(c, n, ps.item("x"), SERVICE, {"pubsub#no_such_thing": "1"})
        self.assertEqual(r.get("type"), "error", show(r))
        self.assertEqual(item_ids(self.get(c, n)), [])

    def test_7_1_5_boolean_forms(self):
        c, = self.people(1)
        n = self.node(c, persist_items=1)
        for v in ("1", "true"):
            self.assertResult(ps.publish(c, n, ps.item("x"), SERVICE, {"persist_items": v}))
        for v in ("0", "false"):
            self.refused(ps.publish(c, n, ps.item("x"), SERVICE, {"persist_items": v}), "cancel", "conflict", "precondition-not-met")

    def test_7_1_5_auto_create_takes_the_options(self):
        c, = self.people(1)
        if PUBSUB + "#auto-create" not in self.features(c)[1]:
            self.skipTest("no auto-create")
        n = lab.token("auto")
        self.assertResult(ps.publish(c, n, ps.item("x"), SERVICE, {"access_model": "whitelist", "max_items": "max"}))
        f = ps.config(c, n, SERVICE)
        self.assertEqual((f["pubsub#access_model"], f["pubsub#max_items"]), ("whitelist", "max"))

    def test_7_2_retract(self):
        c, d = self.people(2)
        n = self.node(c, notify_retract=0)
        self.sub(d, n)
        self.pub(c, n, "x")
        d.wait(event(n))
        self.assertResult(ps.retract(c, n, "x", SERVICE))
        self.silent(d)
        self.assertEqual(item_ids(self.get(c, n)), [])
        for v in ("true", "1"):
            self.pub(c, n, "x")
            d.wait(event(n))
            self.assertResult(ps.retract(c, n, "x", SERVICE, v))
            m = d.wait(event(n))
            self.assertEqual((ps.retracted(m), event_ids(m)), (["x"], []))

    def test_7_2_notify_retract_of_the_node(self):
        c, d = self.people(2)
        n = self.node(c, notify_retract=1)
        self.sub(d, n)
        self.pub(c, n, "x")
        d.wait(event(n))
        self.assertResult(ps.retract(c, n, "x", SERVICE))
        self.assertEqual(ps.retracted(d.wait(event(n))), ["x"])

    def test_7_2_3_errors(self):
        c, d = self.people(2)
        n = self.node(c)
        self.pub(c, n, "x")
        self.refused(ps.retract(d, n, "x", SERVICE), "auth", "forbidden")
        self.refused(ps.retract(c, "none-such", "x", SERVICE), "cancel", "item-not-found")
        self.refused(ps.retract(c, n, "y", SERVICE), "cancel", "item-not-found")
        r = c.iq("set", "<pubsub xmlns='%s'><retract><item id='x'/></retract></pubsub>" % PUBSUB, SERVICE)
        self.refused(r, "modify", "bad-request", "nodeid-required")
        for inner in ("", "<item/>"):
            r = c.iq("set", "<pubsub xmlns='%s'><retract node='%s'>%s</retract></pubsub>" % (PUBSUB, n, inner), SERVICE)
            self.refused(r, "modify", "bad-request", "item-required")
        t = self.node(c, persist_items=0)
        self.refused(ps.retract(c, t, "x", SERVICE), "cancel", "feature-not-implemented", "unsupported persistent-items")

    def test_publish_only_deletes_its_own_only(self):
        c, d = self.people(2)
        n = self.node(c)
        self.assertResult(ps.affiliate(c, n, d.bare, "publish-only", SERVICE))
        self.pub(c, n, "theirs")
        self.pub(d, n, "mine")
        self.refused(ps.retract(d, n, "theirs", SERVICE), "auth", "forbidden")
        self.assertResult(ps.retract(d, n, "mine", SERVICE))

    def test_12_11_batch(self):
        c, d = self.people(2)
        n = self.node(c, max_items=3)
        self.sub(d, n)
        r = ps.publish(c, n, ps.item("a") + ps.item("b"), SERVICE)
        if r.get("type") == "error":        # no longer allowed since 1.13
            self.assertError(r, ("bad-request", "not-allowed", "feature-not-implemented"))
            return
        self.assertEqual(set(item_ids(self.get(c, n))), {"a", "b"})
        r = ps.publish(c, n, "".join(ps.item(i) for i in "wxyz"), SERVICE)
        self.refused(r, "cancel", "not-allowed", "max-items-exceeded")

    def test_12_4_bounce_ends_the_subscription(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n, jid=d.jid)
        self.pub(c, n)
        m = d.wait(event(n))
        d.send("<message type='error' to='%s' id='%s'><error type='cancel'><item-not-found xmlns='%s'/></error></message>" % (
            SERVICE, m.get("id"), xmppc.STANZA_ERRORS))
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        got = self.mine(d, node=n)
        self.assertLessEqual(len(got), 1)   # SHOULD end

    def test_bad_requests(self):
        c, = self.people(1)
        for inner in ("", "<nonsense/>", "<create/><publish node='x'/>"):
            r = c.iq("set", "<pubsub xmlns='%s'>%s</pubsub>" % (PUBSUB, inner), SERVICE)
            if inner != "<create/><publish node='x'/>":
                self.assertIn(error_of(r)[1], ("bad-request", "feature-not-implemented"))
        self.assertIn(error_of(c.iq("set", "<pubsub xmlns='%s'/>" % OWNER, SERVICE))[1], ("bad-request", "feature-not-implemented"))


class Owning(Case):
    """Sections 8.1 to 8.5."""

    def test_8_1_create(self):
        c, = self.people(1)
        n = self.node(c)
        self.refused(ps.create(c, n, SERVICE), "cancel", "conflict")
        self.assertEqual(ps.config(c, n, SERVICE)["pubsub#access_model"], "open")
        self.assertEqual(self.affs(c, n), {c.bare: "owner"})

    def test_8_1_instant(self):
        c, = self.people(1)
        r = ps.create(c, None, SERVICE)
        self.assertResult(r)
        n = next(r.iter("{%s}create" % PUBSUB)).get("node")
        self.assertTrue(n)
        self.pub(c, n)

    def test_8_1_bad_access_model(self):
        c, = self.people(1)
        n = lab.token()
        self.refused(ps.create(c, n, SERVICE, {"access_model": "nonsense"}), "modify", "not-acceptable", "unsupported-access-model")
        self.assertError(ps.create(c, n, SERVICE, {"node_type": "nonsense"}), ("not-acceptable", "feature-not-implemented", "bad-request"))
        self.refused(self.get(c, n), "cancel", "item-not-found")

    def test_8_1_3_configure_with_node(self):
        c, = self.people(1)
        n = lab.token()
        form = ps.form(PUBSUB + "#node_config", {"title": "x"})
        r = c.iq("set", "<pubsub xmlns='%s'><create node='%s'/><configure node='%s'>%s</configure></pubsub>" % (PUBSUB, n, n, form), SERVICE)
        self.assertError(r, "bad-request", "modify")
        r = c.iq("set", "<pubsub xmlns='%s'><configure>%s</configure><create node='%s'/></pubsub>" % (PUBSUB, form, n), SERVICE)
        self.assertError(r, "bad-request", "modify")

    def test_8_1_create_restricted(self):
        pass    # see Restricted

    def test_8_2_form(self):
        c, = self.people(1)
        n = self.node(c, title="T")
        r = self.owner(c, "get", "<configure node='%s'/>" % n)
        self.assertResult(r)
        conf = next(r.iter("{%s}configure" % OWNER))
        self.assertEqual(conf.get("node"), n)
        x = conf.find("{%s}x" % FORM)
        self.assertEqual(x.get("type"), "form")
        f = fields(x)
        self.assertEqual(f["FORM_TYPE"], PUBSUB + "#node_config")
        self.assertEqual(f["pubsub#title"], "T")
        for v in ("access_model", "contact", "deliver_notifications", "deliver_payloads", "description", "item_expire", "itemreply", "language", "max_items",
                  "max_payload_size", "node_type", "notification_type", "notify_config", "notify_delete", "notify_retract", "notify_sub", "persist_items",
                  "presence_based_delivery", "publish_model", "publish_node_full", "purge_offline", "roster_groups_allowed", "send_last_published_item",
                  "subscribe", "title", "type"):
            self.assertIn("pubsub#" + v, f)
        for e in x.findall("{%s}field" % FORM):
            self.assertIsNotNone(e.get("type"))
            if e.get("type") == "list-single":
                opts = [v.text for o in e.findall("{%s}option" % FORM) for v in o.findall("{%s}value" % FORM)]
                self.assertTrue(opts, show(e))
                if e.find("{%s}value" % FORM) is not None:
                    self.assertIn(e.find("{%s}value" % FORM).text, opts)

    def test_8_2_3_errors(self):
        c, d = self.people(2)
        n = self.node(c)
        for t, inner in (("get", "<configure node='%s'/>"), ("set", "<configure node='%s'>" + ps.form(PUBSUB + "#node_config", {"title": "x"}) + "</configure>")):
            self.refused(self.owner(d, t, inner % n), "auth", "forbidden")
            self.refused(self.owner(c, t, inner % "none-such"), "cancel", "item-not-found")
        self.refused(self.owner(c, "get", "<configure/>"), "modify", "bad-request", "nodeid-required")

    def test_8_2_4_incomplete_form(self):
        c, = self.people(1)
        n = self.node(c, title="T", description="D")
        self.assertResult(ps.configure(c, n, {"title": "U"}, SERVICE))
        f = ps.config(c, n, SERVICE)
        self.assertEqual((f["pubsub#title"], f["pubsub#description"]), ("U", "D"))

    def test_8_2_4_cancel(self):
        c, = self.people(1)
        n = self.node(c, title="T")
        self.assertResult(self.owner(c, "set", "<configure node='%s'>%s</configure>" % (n, ps.form(PUBSUB + "#node_config", {"title": "U"}, "cancel"))))
        self.assertEqual(ps.config(c, n, SERVICE)["pubsub#title"], "T")

    def test_8_2_5_2_failure(self):
        c, = self.people(1)
        n = self.node(c)
        for k, v in (("max_items", "-1"), ("persist_items", "maybe"), ("send_last_published_item", "x"), ("itemreply", "x"), ("notification_type", "x"),
                     ("publish_node_full", "x"), ("item_expire", "x"), ("max_payload_size", "x")):
            self.assertError(ps.configure(c, n, {k: v}, SERVICE), "not-acceptable", "modify")

    def test_8_2_5_3_notify_config(self):
        c, d = self.people(2)
        n = self.node(c, notify_config=1)
        self.sub(d, n)
        self.assertResult(ps.configure(c, n, {"title": "New"}, SERVICE))
        m = d.wait(event(n, "configuration"))
        x = m.find("{%s}event/{%s}configuration/{%s}x" % (EVENT, EVENT, FORM))
        self.assertEqual(x.get("type"), "result")
        f = fields(x)
        self.assertEqual((f["FORM_TYPE"], f["pubsub#title"]), (PUBSUB + "#node_config", "New"))
        self.assertResult(ps.configure(c, n, {"deliver_payloads": 0}, SERVICE))
        m = d.wait(event(n, "configuration"))
        self.assertEqual(list(m.find("{%s}event/{%s}configuration" % (EVENT, EVENT))), [])

    def test_no_notify_config(self):
        c, d = self.people(2)
        n = self.node(c, notify_config=0)
        self.sub(d, n)
        self.assertResult(ps.configure(c, n, {"title": "New"}, SERVICE))
        self.silent(d)

    def test_12_2_access_is_closed(self):
        """An access model that shuts a subscriber out ends what it gets."""
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        self.assertResult(ps.configure(c, n, {"access_model": "whitelist"}, SERVICE))
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        d.drain()
        self.pub(c, n)
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertEqual([show(e) for e in d.drain() if event(n)(e)], [])

    def test_8_3_default(self):
        c, = self.people(1)
        for attr in ("", " type='leaf'"):
            r = self.owner(c, "get", "<default%s/>" % attr)
            self.assertResult(r)
            f = fields(r.find("{%s}pubsub/{%s}default/{%s}x" % (OWNER, OWNER, FORM)))
            self.assertEqual((f["FORM_TYPE"], f["pubsub#access_model"], f["pubsub#node_type"]), (PUBSUB + "#node_config", "open", "leaf"))

    def test_last_published_default(self):
        """4.3: with the feature, the option MUST default to on_sub_and_presence."""
        c, = self.people(1)
        if PUBSUB + "#last-published" in self.features(c)[1]:
            self.assertEqual(ps.config(c, self.node(c), SERVICE)["pubsub#send_last_published_item"], "on_sub_and_presence")

    def test_8_4_delete(self):
        c, d, e = self.people(3)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        self.answer(c, self.asked(c), "1")
        d.wait(event(n, "subscription"))
        self.sub(e, n)      # pending: SHOULD be told too
        self.refused(self.owner(d, "set", "<delete node='%s'/>" % n), "auth", "forbidden")
        self.assertResult(self.owner(c, "set", "<delete node='%s'/>" % n))
        for x in (d, e):
            m = x.wait(event(n, "delete"))
            self.assertEqual(m.get("from"), SERVICE)
        self.refused(self.get(c, n), "cancel", "item-not-found")
        self.refused(self.owner(c, "set", "<delete node='%s'/>" % n), "cancel", "item-not-found")
        self.assertResult(ps.create(c, n, SERVICE))
        self.assertEqual(item_ids(self.get(c, n)), [])

    def test_8_4_redirect(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        uri = "xmpp:hamlet@denmark.lit?;node=blog"
        self.assertResult(self.owner(c, "set", "<delete node='%s'><redirect uri='%s'/></delete>" % (n, uri)))
        m = d.wait(event(n, "delete"))
        self.assertEqual(m.find("{%s}event/{%s}delete/{%s}redirect" % (EVENT, EVENT, EVENT)).get("uri"), uri)

    def test_8_4_without_notification(self):
        c, d = self.people(2)
        n = self.node(c, notify_delete=0)
        self.sub(d, n)
        self.assertResult(self.owner(c, "set", "<delete node='%s'/>" % n))
        self.silent(d)

    def test_8_5_purge(self):
        c, d = self.people(2)
        n = self.node(c, notify_retract=1)
        self.sub(d, n)
        for i in "ab":
            self.pub(c, n, i)
            d.wait(event(n))
        self.refused(self.owner(d, "set", "<purge node='%s'/>" % n), "auth", "forbidden")
        self.assertResult(self.owner(c, "set", "<purge node='%s'/>" % n))
        m = d.wait(event(n, "purge"))
        self.assertEqual(list(m.find("{%s}event/{%s}purge" % (EVENT, EVENT))), [])
        self.silent(d)
        self.assertEqual(item_ids(self.get(c, n)), [])

    def test_8_5_3_errors(self):
        c, = self.people(1)
        self.refused(self.owner(c, "set", "<purge node='none-such'/>"), "cancel", "item-not-found")
        n = self.node(c, persist_items=0)
        self.refused(self.owner(c, "set", "<purge node='%s'/>" % n), "cancel", "feature-not-implemented", "unsupported persistent-items")

    def test_notify_sub(self):
        c, d = self.people(2)
        n = self.node(c, notify_sub=1)
        self.sub(d, n)
        m = c.wait(event(n, "subscription"))
        s = m.find("{%s}event/{%s}subscription" % (EVENT, EVENT))
        self.assertEqual((s.get("jid"), s.get("subscription")), (d.bare, "subscribed"))


class Managing(Case):
    """Sections 8.6 to 8.9."""

    def test_8_7_get_pending(self):
        c, d, e = self.people(3)
        n = self.node(c, access_model="authorize")
        other = self.node(c)
        self.sub(d, n)
        self.sub(e, n)
        for _ in range(2):
            self.asked(c)
        r = c.iq("set", "<command xmlns='%s' node='%s' action='execute'/>" % (COMMANDS, GET_PENDING), SERVICE)
        self.assertResult(r)
        cmd = kid(r, "command", COMMANDS)
        self.assertEqual((cmd.get("node"), cmd.get("status")), (GET_PENDING, "executing"))
        self.assertIsNotNone(cmd.get("sessionid"))
        x = cmd.find("{%s}x" % FORM)
        self.assertEqual(x.get("type"), "form")
        self.assertEqual(fields(x)["FORM_TYPE"], AUTH)
        f = [f for f in x.findall("{%s}field" % FORM) if f.get("var") == "pubsub#node"][0]
        self.assertEqual(f.get("type"), "list-single")
        opts = [v.text for v in f.iter("{%s}value" % FORM)]
        self.assertIn(n, opts)
        self.assertTrue(other in opts or True)
        c.drain()
        r = c.iq("set", "<command xmlns='%s' node='%s' action='execute' sessionid='%s'>%s</command>" % (
            COMMANDS, GET_PENDING, cmd.get("sessionid"), ps.form(AUTH, {"node": n})), SERVICE)
        self.assertResult(r)
        self.assertEqual(kid(r, "command", COMMANDS).get("status"), "completed")
        got = {}
        for _ in range(2):
            m = self.asked(c)
            got[fields(m.find("{%s}x" % FORM))["pubsub#subscriber_jid"]] = m
        self.assertEqual(set(got), {d.bare, e.bare})
        self.answer(c, got[d.bare], "1")
        d.wait(event(n, "subscription"))
        self.assertEqual(self.subs(c, n), {d.bare: "subscribed"})

    def test_8_7_in_example_form_without_form_type(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        self.asked(c)
        cmd = kid(c.iq("set", "<command xmlns='%s' node='%s' action='execute'/>" % (COMMANDS, GET_PENDING), SERVICE), "command", COMMANDS)
        form = "<x xmlns='%s' type='submit'><field var='pubsub#node'><value>%s</value></field></x>" % (FORM, n)
        r = c.iq("set", "<command xmlns='%s' node='%s' action='execute' sessionid='%s'>%s</command>" % (COMMANDS, GET_PENDING, cmd.get("sessionid"), form), SERVICE)
        self.assertResult(r)
        self.asked(c)

    def test_8_7_3_errors(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        form = ps.form(AUTH, {"node": n})
        r = d.iq("set", "<command xmlns='%s' node='%s' action='execute'>%s</command>" % (COMMANDS, GET_PENDING, form), SERVICE)
        self.assertError(r, "forbidden")
        form = ps.form(AUTH, {"node": "none-such"})
        r = c.iq("set", "<command xmlns='%s' node='%s' action='execute'>%s</command>" % (COMMANDS, GET_PENDING, form), SERVICE)
        self.assertError(r, "item-not-found", "cancel")
        e = self.login()
        self.assertError(e.iq("set", "<command xmlns='%s' node='%s' action='execute'/>" % (COMMANDS, GET_PENDING), SERVICE), "forbidden")

    def test_8_7_is_listed(self):
        c, = self.people(1)
        r = c.iq("get", "<query xmlns='%s' node='%s'/>" % (DISCO_ITEMS, COMMANDS), SERVICE)
        self.assertIn(GET_PENDING, [i.get("node") for i in kid(r, "query", DISCO_ITEMS)])
        self.assertIn(COMMANDS, self.features(c)[1])

    def test_8_7_cancel(self):
        c, d = self.people(2)
        n = self.node(c, access_model="authorize")
        cmd = kid(c.iq("set", "<command xmlns='%s' node='%s'/>" % (COMMANDS, GET_PENDING), SERVICE), "command", COMMANDS)
        r = c.iq("set", "<command xmlns='%s' node='%s' action='cancel' sessionid='%s'/>" % (COMMANDS, GET_PENDING, cmd.get("sessionid")), SERVICE)
        self.assertEqual(kid(r, "command", COMMANDS).get("status"), "canceled")

    def test_8_7_4_affiliation_decides_a_pending_request(self):
        c, d, e = self.people(3)
        n = self.node(c, access_model="authorize")
        self.sub(d, n)
        self.sub(e, n)
        for x in (d, e):
            x.drain()
        self.assertResult(ps.affiliate(c, n, d.bare, "publisher", SERVICE))
        self.assertResult(ps.affiliate(c, n, e.bare, "outcast", SERVICE))
        got = {x: x.wait(event(n, "subscription")).find("{%s}event/{%s}subscription" % (EVENT, EVENT)).get("subscription") for x in (d, e)}
        self.assertEqual((got[d], got[e]), ("subscribed", "none"))
        self.assertEqual(self.mine(e, node=n), [])

    def set_subs(self, c, n, inner):
        return self.owner(c, "set", "<subscriptions node='%s'>%s</subscriptions>" % (n, inner))

    def test_8_8(self):
        c, d = self.people(2)
        n = self.node(c)
        self.assertEqual(self.subs(c, n), {})
        self.assertResult(self.set_subs(c, n, "<subscription jid='%s' subscription='subscribed'/>" % d.bare))
        self.assertEqual(self.subs(c, n), {d.bare: "subscribed"})
        s = d.wait(event(n, "subscription")).find("{%s}event/{%s}subscription" % (EVENT, EVENT))
        self.assertEqual((s.get("jid"), s.get("subscription")), (d.bare, "subscribed"))
        self.pub(c, n)
        d.wait(event(n))
        self.assertResult(self.set_subs(c, n, "<subscription jid='%s' subscription='none'/>" % d.bare))
        s = d.wait(event(n, "subscription")).find("{%s}event/{%s}subscription" % (EVENT, EVENT))
        self.assertEqual(s.get("subscription"), "none")
        self.assertEqual(self.subs(c, n), {})
        self.pub(c, n)
        self.silent(d)

    def test_8_8_without_subscription_attribute(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        self.set_subs(c, n, "<subscription jid='%s'/>" % d.bare)
        self.assertEqual(self.subs(c, n), {d.bare: "subscribed"})

    def test_8_8_errors(self):
        c, d = self.people(2)
        n = self.node(c)
        for t in ("get", "set"):
            self.refused(self.owner(d, t, "<subscriptions node='%s'/>" % n), "auth", "forbidden")
            self.refused(self.owner(c, t, "<subscriptions node='none-such'/>"), "cancel", "item-not-found")

    def test_8_8_2_4_several(self):
        c, d = self.people(2)
        n = self.node(c)
        self.sub(d, n)
        r = self.set_subs(c, n, "<subscription jid='%s' subscription='nonsense'/><subscription jid='ok@x.example' subscription='subscribed'/>" % d.bare)
        self.assertError(r, ("not-acceptable", "bad-request"), "modify")
        bad = {s.get("jid"): s.get("subscription") for s in r.iter("{%s}subscription" % OWNER)}
        self.assertEqual(bad, {d.bare: "subscribed"})
        # what is not in the error was done
        self.assertEqual(self.subs(c, n), {d.bare: "subscribed", "ok@x.example": "subscribed"})

    def set_affs(self, c, n, inner):
        return self.owner(c, "set", "<affiliations node='%s'>%s</affiliations>" % (n, inner))

    def test_8_9(self):
        c, d = self.people(2)
        n = self.node(c)
        for a in ("member", "publisher", "publish-only", "outcast", "owner"):
            self.assertResult(ps.affiliate(c, n, d.jid if a == "member" else d.bare, a, SERVICE))
            self.assertEqual(self.affs(c, n), {c.bare: "owner", d.bare: a})
        self.assertResult(ps.affiliate(c, n, d.bare, "none", SERVICE))
        self.assertEqual(self.affs(c, n), {c.bare: "owner"})

    def test_8_9_without_affiliation_attribute(self):
        c, d = self.people(2)
        n = self.node(c)
        self.assertResult(ps.affiliate(c, n, d.bare, "member", SERVICE))
        self.set_affs(c, n, "<affiliation jid='%s'/>" % d.bare)
        self.assertEqual(self.affs(c, n)[d.bare], "member")

    def test_8_9_errors(self):
        c, d = self.people(2)
        n = self.node(c)
        for t in ("get", "set"):
            self.refused(self.owner(d, t, "<affiliations node='%s'/>" % n), "auth", "forbidden")
            self.refused(self.owner(c, t, "<affiliations node='none-such'/>"), "cancel", "item-not-found")

    def test_example_208(self):
        c, d = self.people(2)
        n = self.node(c)
        self.assertResult(ps.affiliate(c, n, d.bare, "outcast", SERVICE))
        r = self.set_affs(c, n, "<affiliation jid='%s' affiliation='none'/><affiliation jid='%s' affiliation='none'/>"
                          "<affiliation jid='bard@shakespeare.lit' affiliation='publisher'/>" % (c.bare, d.bare))
        self.refused(r, "modify", "not-acceptable")
        self.assertEqual([(a.get("jid"), a.get("affiliation")) for a in r.iter("{%s}affiliation" % OWNER)], [(c.bare, "owner")])
        self.assertEqual(self.affs(c, n), {c.bare: "owner", "bard@shakespeare.lit": "publisher"})

    def test_8_9_the_same_twice(self):
        c, d = self.people(2)
        n = self.node(c)
        r = self.set_affs(c, n, "<affiliation jid='%s' affiliation='member'/><affiliation jid='%s' affiliation='owner'/>" % (d.bare, d.bare))
        self.assertError(r, "bad-request", "modify")
        self.assertEqual(self.affs(c, n), {c.bare: "owner"})

    def test_8_9_owner_resigns(self):
        c, d = self.people(2)
        n = self.node(c)
        self.assertResult(ps.affiliate(c, n, d.bare, "owner", SERVICE))
        self.assertResult(ps.affiliate(c, n, c.bare, "none", SERVICE))
        self.assertEqual(self.affs(d, n), {d.bare: "owner"})

    def test_two_owners_may_not_both_go(self):
        c, d = self.people(2)
        n = self.node(c)
        self.assertResult(ps.affiliate(c, n, d.bare, "owner", SERVICE))
        r = self.set_affs(c, n, "<affiliation jid='%s' affiliation='none'/><affiliation jid='%s' affiliation='none'/>" % (c.bare, d.bare))
        self.assertError(r, "not-acceptable")
        x = c if c.bare in [a.get("jid") for a in r.iter("{%s}affiliation" % OWNER)] else d
        self.assertIn("owner", self.affs(x, n).values())

    def test_member_loses_a_whitelisted_node(self):
        c, d = self.people(2)
        n = self.node(c, access_model="whitelist")
        self.assertResult(ps.affiliate(c, n, d.bare, "member", SERVICE))
        self.sub(d, n)
        self.assertResult(ps.affiliate(c, n, d.bare, "none", SERVICE))
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        d.drain()
        self.pub(c, n)
        d.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, SERVICE)
        self.assertEqual([show(e) for e in d.drain() if event(n)(e)], [])


class Delivery(Case):
    """Presence-based delivery, temporary subscriptions, digests (12.5, 12.6, 16.4.2)."""

    def test_12_6_presence_based_delivery(self):
        c, = self.people(1)
        d = self.login()
        if PUBSUB + "#presence-notifications" not in self.features(c)[1]:
            self.skipTest("not announced")
        n = self.node(c, presence_based_delivery=1)
        self.sub(d, n)


class Restricted(Case):
    options = {"extra": CONF % "node_create = admins"}

    def test_8_1_may_not_create(self):
        c, = self.people(1)
        self.refused(ps.create(c, "x", SERVICE), "auth", "forbidden")


if __name__ == "__main__":
    lab.main()
