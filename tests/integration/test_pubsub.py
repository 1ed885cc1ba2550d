"""test_pubsub - the public service (XEP-0060 at a domain with service = "pubsub"; XEP-0485)."""
import time

import lab
import pubsubc as ps
import xmppc
from case import ServerCase, at
from pubsubc import PUBSUB, event
from xmppc import DISCO_INFO, DISCO_ITEMS, kid, local, show

SERVICE = "pubsub.lab.test"
CONFIG = """
domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" pubsub_max_nodes = 200 pubsub_max_subscriptions = 5 }
domain "closed.lab.test" { XMPP_Role = "server" service = "pubsub" node_create = "admins" admins = ( "u0@lab.test" ) }
domain "tiny.lab.test" { XMPP_Role = "server" service = "pubsub" pubsub_max_nodes = 2 pubsub_quota = 4000 pubsub_max_item_size = 2000 pubsub_max_items = 5 }
"""


class Base(ServerCase):
    options = {"extra": CONFIG}

    def error(self, e, condition, special=None):
        self.assertError(e, condition)
        self.assertEqual(ps.condition(e), special, show(e))

    def node(self, c, **config):
        name = lab.token("n")
        self.assertResult(ps.create(c, name, SERVICE, config or None))
        return name

    def quiet(self, c):
        c.sync()
        got = [show(e) for e in c.drain() if e.find("{%s}event" % ps.EVENT) is not None]
        self.assertEqual(got, [])


class Nodes(Base):
    def test_disco(self):
        a = self.login()
        q = kid(a.get(DISCO_ITEMS, to=a.domain), "query", DISCO_ITEMS)
        self.assertIn(SERVICE, [i.get("jid") for i in q])
        q = kid(a.get(DISCO_INFO, to=SERVICE), "query", DISCO_INFO)
        self.assertIn(("pubsub", "service"), {(i.get("category"), i.get("type")) for i in q})
        self.assertIn(PUBSUB, [f.get("var") for f in q])
        self.assertResult(a.get(xmppc.PING, "ping", SERVICE))
        self.assertError(a.get(DISCO_INFO, to=SERVICE, attrs="node='none'"), "item-not-found")
        n = self.node(a, title="T", description="D")
        q = kid(a.get(DISCO_INFO, to=SERVICE, attrs="node='%s'" % n), "query", DISCO_INFO)
        f = ps.fields(q.find("{%s}x" % ps.FORM))
        self.assertEqual((f["pubsub#title"], f["pubsub#description"], f["pubsub#owner"], f["pubsub#num_subscribers"]), ("T", "D", a.bare, "0"))
        self.assertTrue(f["pubsub#creation_date"].endswith("Z"))
        q = kid(a.get(DISCO_ITEMS, to=SERVICE), "query", DISCO_ITEMS)
        self.assertIn(n, [i.get("node") for i in q])

    def test_create(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        self.assertError(ps.create(b, n, SERVICE), "conflict")
        r = ps.create(a, None, SERVICE)
        made = next(r.iter("{%s}create" % PUBSUB)).get("node")
        self.assertTrue(made)
        self.assertResult(ps.publish(a, made, "1", to=SERVICE))
        self.assertError(ps.create(a, lab.token(), SERVICE, {"access_model": "nonsense"}), "not-acceptable")
        self.assertResult(ps.create(a, lab.token(), SERVICE, {"access_model": "presence"}))
        self.assertError(ps.create(a, lab.token(), SERVICE, {"max_items": "0"}), "not-acceptable")

    def test_who_may_create(self):
        admin, a = self.login("u0") if False else self.login(), self.login()
        self.assertError(ps.create(a, "x", "closed.lab.test"), "forbidden")
        self.assertError(ps.publish(a, "x", "1", to="closed.lab.test"), "forbidden")

    def test_limits(self):
        a = self.login()
        tiny = "tiny.lab.test"
        self.error(ps.publish(a, "t1", ps.item("1", "<e xmlns='t:e'>%s</e>" % ("x" * 3000)), to=tiny), "not-acceptable", "payload-too-big")
        self.assertError(ps.create(a, "t1", tiny, {"max_items": "6"}), "not-acceptable")
        self.assertResult(ps.create(a, "t1", tiny, {"max_items": "max"}))
        self.assertResult(ps.create(a, "t2", tiny))
        self.error(ps.create(a, "t3", tiny), "resource-constraint", "max-nodes-exceeded")
        self.error(ps.publish(a, "t3", "1", to=tiny), "resource-constraint", "max-nodes-exceeded")
        for i in range(8):
            self.assertResult(ps.publish(a, "t1", "i%d" % i, to=tiny))
        self.assertEqual(ps.item_ids(ps.items(a, "t1", to=tiny)), ["i3", "i4", "i5", "i6", "i7"])
        big = "<e xmlns='t:e'>%s</e>" % ("x" * 1900)
        self.assertResult(ps.publish(a, "t2", ps.item("1", big), to=tiny))
        self.assertResult(ps.publish(a, "t1", ps.item("1", big), to=tiny))
        self.assertError(ps.publish(a, "t2", ps.item("2", big), to=tiny), "resource-constraint")
        self.assertEqual(ps.item_ids(ps.items(a, "t2", to=tiny)), ["1"])
        # room again
        self.assertResult(ps.owner(a, "set", "<purge node='t1'/>", tiny))
        self.assertResult(ps.publish(a, "t2", "3", to=tiny))

    def test_configure(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        c = ps.config(a, n, SERVICE)
        self.assertEqual(c["FORM_TYPE"], PUBSUB + "#node_config")
        self.assertEqual((c["pubsub#access_model"], c["pubsub#publish_model"]), ("open", "publishers"))
        self.assertResult(ps.configure(a, n, {"title": "New\nline", "max_items": "3"}, SERVICE))
        c2 = ps.config(a, n, SERVICE)
        self.assertEqual({k for k in c if c[k] != c2[k]}, {"pubsub#title", "pubsub#max_items"})
        self.assertError(ps.configure(b, n, {"title": "x"}, SERVICE), "forbidden")
        self.assertError(ps.configure(a, n, {"persist_items": "maybe"}, SERVICE), "not-acceptable")
        self.assertError(ps.configure(a, "none" + n, {"title": "x"}, SERVICE), "item-not-found")
        self.error(ps.owner(a, "get", "<configure/>", SERVICE), "bad-request", "nodeid-required")
        r = ps.owner(a, "set", "<configure node='%s'><x xmlns='%s' type='cancel'/></configure>" % (n, ps.FORM), SERVICE)
        self.assertResult(r)
        r = ps.owner(a, "get", "<default/>", SERVICE)
        self.assertEqual(ps.fields(next(r.iter("{%s}x" % ps.FORM)))["pubsub#access_model"], "open")

    def test_delete(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        ps.subscribe(b, n, SERVICE)
        self.assertError(ps.owner(b, "set", "<delete node='%s'/>" % n, SERVICE), "forbidden")
        self.assertResult(ps.owner(a, "set", "<delete node='%s'/>" % n, SERVICE))
        e = b.wait(event(n, "delete"))
        self.assertEqual(e.get("from"), SERVICE)
        self.assertError(ps.owner(a, "set", "<delete node='%s'/>" % n, SERVICE), "item-not-found")

    def test_unknown_requests(self):
        a = self.login()
        self.assertError(a.iq("set", "<pubsub xmlns='%s'><dance/></pubsub>" % PUBSUB, SERVICE), "feature-not-implemented")
        self.assertError(a.iq("get", "<q xmlns='unknown'/>", SERVICE), "service-unavailable")
        self.assertError(a.iq("get", "<pubsub xmlns='%s'><items node='x'/></pubsub>" % PUBSUB, "x@" + SERVICE), "item-not-found")


class Items(Base):
    def test_publish_models(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        self.assertError(ps.publish(b, n, "1", to=SERVICE), "forbidden")
        n = self.node(a, publish_model="open")
        self.assertResult(ps.publish(b, n, "1", to=SERVICE))
        n = self.node(a, publish_model="subscribers")
        self.assertError(ps.publish(b, n, "1", to=SERVICE), "forbidden")
        ps.subscribe(b, n, SERVICE)
        self.assertResult(ps.publish(b, n, "1", to=SERVICE))
        n = self.node(a)
        self.assertResult(ps.affiliate(a, n, b.bare, "publish-only", SERVICE))
        self.assertResult(ps.publish(b, n, "1", to=SERVICE))
        self.assertError(ps.items(b, n, SERVICE), "forbidden")

    def test_publisher_retracts_own_only(self):
        a, b, c = self.login(), self.login(), self.login()
        n = self.node(a, publish_model="open")
        ps.publish(b, n, "b", to=SERVICE)
        ps.publish(c, n, "c", to=SERVICE)
        self.assertError(ps.retract(c, n, "b", SERVICE), "forbidden")
        self.assertResult(ps.retract(c, n, "c", SERVICE))
        self.assertResult(ps.retract(a, n, "b", SERVICE))

    def test_publisher_is_not_told(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        ps.subscribe(b, n, SERVICE)
        ps.publish(a, n, "1", to=SERVICE)
        e = b.wait(event(n))
        self.assertNotIn(a.bare, show(e))
        self.assertNotIn(a.bare, show(ps.items(b, n, SERVICE)))
        n = self.node(a, itemreply="publisher")
        ps.publish(a, n, "1", to=SERVICE)
        self.assertEqual(next(ps.items(b, n, SERVICE).iter("{%s}item" % PUBSUB)).get("publisher"), a.bare)

    def test_rsm(self):
        a = self.login()
        n = self.node(a, max_items="max")
        ids = ["i%02d" % i for i in range(25)]
        for i in ids:
            ps.publish(a, n, i, to=SERVICE)

        def page(inner):
            r = ps.items(a, n, SERVICE, rsm="<set xmlns='%s'>%s</set>" % (ps.RSM, inner))
            if r.get("type") == "error":
                return r
            s = next(r.iter("{%s}set" % ps.RSM))
            first = s.find("{%s}first" % ps.RSM)
            return (ps.item_ids(r), None if first is None else int(first.get("index")), xmppc.text(s, "last"), int(xmppc.text(s, "count")))
        self.assertEqual(page("<max>10</max>"), (ids[:10], 0, "i09", 25))
        self.assertEqual(page("<max>10</max><after>i09</after>"), (ids[10:20], 10, "i19", 25))
        self.assertEqual(page("<max>10</max><after>i19</after>"), (ids[20:], 20, "i24", 25))
        self.assertEqual(page("<max>10</max><after>i24</after>"), ([], None, None, 25))
        self.assertEqual(page("<max>10</max><before/>"), (ids[15:], 15, "i24", 25))
        self.assertEqual(page("<max>10</max><before>i15</before>"), (ids[5:15], 5, "i14", 25))
        self.assertEqual(page("<max>0</max>"), ([], None, None, 25))
        self.assertEqual(page("<max>3</max><index>4</index>"), (ids[4:7], 4, "i06", 25))
        self.assertError(page("<after>none</after>"), "item-not-found")
        self.assertError(page("<max>x</max>"), "bad-request")
        self.assertEqual(ps.item_ids(ps.items(a, n, SERVICE, attrs="max_items='3'")), ids[-3:])

    def test_a_list_reads_no_payloads(self):
        """More than one answer holds, but their names."""
        a = self.login()
        n = self.node(a, max_items="max")
        for i in range(5):
            self.assertResult(ps.publish(a, n, ps.item("i%d" % i, "<e xmlns='t:e'>%s</e>" % ("x" * 150000)), to=SERVICE))
        self.assertEqual(ps.item_ids(ps.items(a, n, SERVICE)), ["i2", "i3", "i4"])
        q = next(iter(a.iq("get", "<query xmlns='%s' node='%s'/>" % (xmppc.DISCO_ITEMS, n), SERVICE)))
        self.assertEqual([i.get("name") for i in q], ["i%d" % i for i in range(5)])

    def test_not_persistent(self):
        a, b = self.login(), self.login()
        n = self.node(a, persist_items="0")
        ps.subscribe(b, n, SERVICE)
        self.assertResult(ps.publish(a, n, "1", to=SERVICE))
        b.wait(event(n))
        self.error(ps.items(a, n, SERVICE), "feature-not-implemented", "unsupported persistent-items")
        self.error(ps.retract(a, n, "1", SERVICE), "feature-not-implemented", "unsupported persistent-items")
        self.error(ps.owner(a, "set", "<purge node='%s'/>" % n, SERVICE), "feature-not-implemented", "unsupported persistent-items")
        n = self.node(a, persist_items="0", deliver_payloads="0")
        self.error(ps.publish(a, n, "1", to=SERVICE), "bad-request", "item-forbidden")
        ps.subscribe(b, n, SERVICE)
        self.assertResult(a.iq("set", "<pubsub xmlns='%s'><publish node='%s'/></pubsub>" % (PUBSUB, n), SERVICE))
        b.wait(event(n))

    def test_node_full(self):
        a = self.login()
        n = self.node(a, max_items="2", publish_node_full="reject")
        ps.publish(a, n, "1", to=SERVICE)
        ps.publish(a, n, "2", to=SERVICE)
        self.error(ps.publish(a, n, "3", to=SERVICE), "conflict", "node-full")
        self.assertResult(ps.publish(a, n, "2", to=SERVICE))
        self.assertEqual(ps.item_ids(ps.items(a, n, SERVICE)), ["1", "2"])

    def test_payload_type(self):
        a = self.login()
        n = self.node(a, type="t:e")
        self.assertResult(ps.publish(a, n, "1", to=SERVICE))
        self.error(ps.publish(a, n, ps.item("2", "<z xmlns='t:z'/>"), to=SERVICE), "bad-request", "invalid-payload")

    def test_several_items_at_once(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        ps.subscribe(b, n, SERVICE)
        self.assertResult(ps.publish(a, n, ps.item("1") + ps.item("2"), to=SERVICE))
        self.assertEqual(ps.event_ids(b.wait(event(n))), ["1", "2"])
        self.assertResult(ps.retract(a, n, ["1", "2"], SERVICE))
        self.assertEqual(ps.retracted(b.wait(event(n))), ["1", "2"])
        # one that is not there: none is taken
        ps.publish(a, n, "3", to=SERVICE)
        self.assertError(ps.retract(a, n, ["3", "4"], SERVICE), "item-not-found")
        self.assertEqual(ps.item_ids(ps.items(a, n, SERVICE)), ["3"])

    def test_expire(self):
        a = self.login()
        n = self.node(a, item_expire="1")
        ps.publish(a, n, "1", to=SERVICE)
        lab.wait_until(lambda: ps.item_ids(ps.items(a, n, SERVICE)) == [], 5, "the item is too old")

    def test_pipelined(self):
        """Requests that do not wait for each other's answers are judged in order."""
        a = self.login()
        n = lab.token("n")
        out = ["<iq type='set' id='p0' to='%s'><pubsub xmlns='%s'><create node='%s'/></pubsub></iq>" % (SERVICE, PUBSUB, n)]
        for i in range(1, 30):
            out.append("<iq type='set' id='p%d' to='%s'><pubsub xmlns='%s'><publish node='%s'>%s</publish></pubsub></iq>" % (
                i, SERVICE, PUBSUB, n, ps.item("i%d" % i)))
        out.append("<iq type='set' id='p30' to='%s'><pubsub xmlns='%s'><delete node='%s'/></pubsub></iq>" % (SERVICE, ps.OWNER, n))
        out.append("<iq type='set' id='p31' to='%s'><pubsub xmlns='%s'><create node='%s'/></pubsub></iq>" % (SERVICE, PUBSUB, n))
        a.send("".join(out))
        for i in range(32):
            self.assertResult(a.reply("p%d" % i))
        self.assertEqual(ps.item_ids(ps.items(a, n, SERVICE)), [])


class Subscriptions(Base):
    def test_subscribe(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        ps.publish(a, n, "1", to=SERVICE)
        r = ps.subscribe(b, n, SERVICE)
        s = next(r.iter("{%s}subscription" % PUBSUB))
        self.assertEqual((s.get("node"), s.get("jid"), s.get("subscription")), (n, b.bare, "subscribed"))
        self.assertEqual(ps.event_ids(b.wait(event(n))), ["1"])
        ps.publish(a, n, "2", to=SERVICE)
        e = b.wait(event(n))
        self.assertEqual((e.get("type"), ps.event_ids(e)), ("headline", ["2"]))
        r = b.iq("get", "<pubsub xmlns='%s'><subscriptions/></pubsub>" % PUBSUB, SERVICE)
        self.assertIn((n, "subscribed"), [(s.get("node"), s.get("subscription")) for s in r.iter("{%s}subscription" % PUBSUB)])
        self.assertResult(ps.unsubscribe(b, n, SERVICE))
        ps.publish(a, n, "3", to=SERVICE)
        self.quiet(b)
        self.error(ps.unsubscribe(b, n, SERVICE), "unexpected-request", "not-subscribed")

    def test_errors(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        self.error(ps.subscribe(b, n, SERVICE, jid=a.bare), "bad-request", "invalid-jid")
        self.assertError(ps.subscribe(b, "none" + n, SERVICE), "item-not-found")
        self.error(b.iq("set", "<pubsub xmlns='%s'><subscribe jid='%s'/></pubsub>" % (PUBSUB, b.bare), SERVICE), "bad-request", "nodeid-required")
        ps.subscribe(b, n, SERVICE)
        self.assertError(ps.unsubscribe(a, n, SERVICE, jid=b.bare), "forbidden")
        n = self.node(a, subscribe="0")
        self.error(ps.subscribe(b, n, SERVICE), "feature-not-implemented", "unsupported subscribe")
        n = self.node(a, access_model="whitelist")
        self.error(ps.subscribe(b, n, SERVICE), "not-allowed", "closed-node")
        n = self.node(a)
        ps.affiliate(a, n, b.bare, "outcast", SERVICE)
        self.assertError(ps.subscribe(b, n, SERVICE), "forbidden")

    def test_limit(self):
        a = self.login()
        n = self.node(a)
        for i in range(5):
            self.assertResult(ps.subscribe(a, n, SERVICE, jid="%s/r%d" % (a.bare, i)))
        self.error(ps.subscribe(a, n, SERVICE), "policy-violation", "too-many-subscriptions")

    def test_full_jid(self):
        a, b = self.login(), self.login()
        b2 = self.login(b.bare.split("@")[0])
        n = self.node(a)
        self.assertResult(ps.subscribe(b, n, SERVICE, jid=b.jid))
        ps.publish(a, n, "1", to=SERVICE)
        self.assertEqual(b.wait(event(n)).get("to"), b.jid)
        self.quiet(b2)

    def test_options(self):
        a, b = self.login(), self.login()
        n = self.node(a)

        def get():
            return b.iq("get", "<pubsub xmlns='%s'><options node='%s' jid='%s'/></pubsub>" % (PUBSUB, n, b.bare), SERVICE)

        def put(**f):
            return b.iq("set", "<pubsub xmlns='%s'><options node='%s' jid='%s'>%s</options></pubsub>" % (
                PUBSUB, n, b.bare, ps.form(PUBSUB + "#subscribe_options", f)), SERVICE)
        self.error(get(), "unexpected-request", "not-subscribed")
        ps.subscribe(b, n, SERVICE)
        f = ps.fields(next(get().iter("{%s}x" % ps.FORM)))
        self.assertEqual((f["FORM_TYPE"], f["pubsub#deliver"]), (PUBSUB + "#subscribe_options", "1"))
        self.assertResult(put(deliver="0"))
        ps.publish(a, n, "1", to=SERVICE)
        self.quiet(b)
        self.assertResult(put(deliver="1"))
        ps.publish(a, n, "2", to=SERVICE)
        b.wait(event(n))
        self.error(put(include_body="1"), "bad-request", "invalid-options")
        self.error(put(digest_frequency="often"), "bad-request", "invalid-options")
        self.assertResult(put(digest="1", digest_frequency="5000"))
        f = ps.fields(next(get().iter("{%s}x" % ps.FORM)))
        self.assertEqual((f["pubsub#digest"], f["pubsub#digest_frequency"]), ("1", "5000"))
        self.assertResult(put(digest="0"))
        self.error(put(deliver="x"), "bad-request", "invalid-options")
        self.assertResult(put(expire="2099-01-01T00:00:00Z"))
        self.assertEqual(ps.fields(next(get().iter("{%s}x" % ps.FORM)))["pubsub#expire"][:10], "2099-01-01")
        self.error(put(expire="1999-01-01T00:00:00Z"), "bad-request", "invalid-options")
        self.error(put(expire="2099-02-30T00:00:00Z"), "bad-request", "invalid-options")
        self.error(put(expire="2099-01-01T00:00:00 or soZ"), "bad-request", "invalid-options")
        self.assertResult(put(expire="2099-01-01T02:30:00.5+02:30"))
        self.assertEqual(ps.fields(next(get().iter("{%s}x" % ps.FORM)))["pubsub#expire"], "2099-01-01T00:00:00.500Z")
        r = b.iq("get", "<pubsub xmlns='%s'><default/></pubsub>" % PUBSUB, SERVICE)
        self.assertEqual(ps.fields(next(r.iter("{%s}x" % ps.FORM)))["pubsub#deliver"], "1")
        n2 = self.node(a)
        ps.subscribe(b, n2, SERVICE, options={"deliver": "0"})
        ps.publish(a, n2, "1", to=SERVICE)
        self.quiet(b)

    def test_owner_manages(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        x = "<subscriptions node='%s'><subscription jid='%s' subscription='%%s'/></subscriptions>" % (n, b.bare)
        self.assertError(ps.owner(b, "set", x % "subscribed", SERVICE), "forbidden")
        self.assertResult(ps.owner(a, "set", x % "subscribed", SERVICE))
        b.wait(event(kind="subscription"))
        ps.publish(a, n, "1", to=SERVICE)
        b.wait(event(n))
        r = ps.owner(a, "get", "<subscriptions node='%s'/>" % n, SERVICE)
        self.assertEqual([(s.get("jid"), s.get("subscription")) for s in r.iter("{%s}subscription" % ps.OWNER)], [(b.bare, "subscribed")])
        self.assertResult(ps.owner(a, "set", x % "none", SERVICE))
        b.wait(event(kind="subscription"))
        ps.publish(a, n, "2", to=SERVICE)
        self.quiet(b)
        self.assertError(ps.owner(a, "set", x % "nonsense", SERVICE), "not-acceptable")

    def test_authorize(self):
        a, b, c = self.login(), self.login(), self.login()
        n = self.node(a, access_model="authorize")
        self.assertIn("pending", show(ps.subscribe(b, n, SERVICE)))
        self.assertIn("pending", show(ps.subscribe(c, n, SERVICE)))
        for _ in range(2):
            m = a.wait(lambda e: local(e) == "message" and e.find("{%s}x" % ps.FORM) is not None)
            self.assertEqual(m.get("from"), SERVICE)
        for who, allow in ((b, "1"), (c, "0")):
            a.send("<message to='%s'>%s</message>" % (SERVICE, ps.form(
                PUBSUB + "#subscribe_authorization", {"node": n, "subscriber_jid": who.bare, "allow": allow})))
        self.assertIn("subscribed", show(b.wait(event(kind="subscription"))))
        self.assertIn("'none'", show(c.wait(event(kind="subscription"))).replace('"', "'"))
        ps.publish(a, n, "1", to=SERVICE)
        b.wait(event(n))
        self.quiet(c)

    def test_access_change_ends_subscriptions(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        ps.subscribe(b, n, SERVICE)
        self.assertResult(ps.configure(a, n, {"access_model": "whitelist"}, SERVICE))
        b.wait(event(kind="subscription"))
        ps.publish(a, n, "1", to=SERVICE)
        self.quiet(b)


class Timed(Base):
    """What time and presence do to subscriptions (XEP-0060 12.5, 12.19, 16.4.2)."""

    def put(self, c, n, jid=None, **f):
        return c.iq("set", "<pubsub xmlns='%s'><options node='%s' jid='%s'>%s</options></pubsub>" % (
            PUBSUB, n, jid or c.bare, ps.form(PUBSUB + "#subscribe_options", {k.replace("_values", "-values"): v for k, v in f.items()})), SERVICE)

    def mine(self, c, n):
        r = c.iq("get", "<pubsub xmlns='%s'><subscriptions node='%s'/></pubsub>" % (PUBSUB, n), SERVICE)
        return [s.get("subscription") for s in r.iter("{%s}subscription" % PUBSUB)]

    def stamp(self, seconds):
        t = time.time() + seconds
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + ".%03dZ" % (t % 1 * 1000)

    def ended(self, c, n):
        e = c.wait(event(n, kind="subscription"))
        return next(e.iter("{%s}subscription" % ps.EVENT)).get("subscription")

    def test_show_values(self):
        """Each resource by what it shows; a message to one resource too."""
        a, b = self.login(), self.login()
        b2 = self.login(b.bare.split("@")[0])
        n = self.node(a)
        self.assertResult(ps.subscribe(b, n, SERVICE, options={"show-values": ["online", "chat"]}))
        for show_, got in (("", True), ("<show>away</show>", False), ("<show>chat</show>", True), ("<show>xa</show>", False), ("<show>dnd</show>", False)):
            b.presence(inner=show_)
            b.sync()
            ps.publish(a, n, "1", to=SERVICE)
            b2.wait(event(n))
            if got:
                b.wait(event(n))
            else:
                self.quiet(b)
        self.assertResult(ps.unsubscribe(b, n, SERVICE))
        self.assertResult(ps.subscribe(b, n, SERVICE, jid=b.jid, options={"show-values": "dnd"}))
        b.wait(event(n))
        self.assertResult(self.put(b, n, b.jid, show_values=["away"]))
        ps.publish(a, n, "2", to=SERVICE)
        self.quiet(b)
        self.assertResult(self.put(b, n, b.jid, show_values=["away", "dnd"]))
        ps.publish(a, n, "3", to=SERVICE)
        self.assertEqual(ps.event_ids(b.wait(event(n))), ["3"])
        self.error(self.put(b, n, b.jid, show_values=["gone"]), "bad-request", "invalid-options")

    def test_lease(self):
        """12.19: it ends in time, is told, and gives no rights any more."""
        a, b = self.login(), self.login()
        n = self.node(a, access_model="authorize")
        ps.subscribe(b, n, SERVICE)
        a.wait(lambda e: e.find("{%s}x" % ps.FORM) is not None)
        ps.owner(a, "set", "<subscriptions node='%s'><subscription jid='%s' subscription='subscribed'/></subscriptions>" % (n, b.bare), SERVICE)
        self.assertEqual(self.ended(b, n), "subscribed")
        self.assertResult(self.put(b, n, expire=self.stamp(1.5)))
        self.assertResult(ps.items(b, n, SERVICE))
        self.assertEqual(self.ended(b, n), "none")
        self.assertEqual(self.mine(b, n), [])
        self.error(ps.items(b, n, SERVICE), "not-authorized", "not-subscribed")

    def test_lease_is_renewed(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        self.assertResult(ps.subscribe(b, n, SERVICE, options={"expire": self.stamp(1)}))
        self.assertResult(self.put(b, n, expire=self.stamp(3600)))
        c = self.login()
        self.assertResult(ps.subscribe(c, n, SERVICE, options={"expire": self.stamp(1.5)}))
        self.assertEqual(self.ended(c, n), "none")
        self.assertEqual(self.mine(b, n), ["subscribed"])

    def test_while_online(self):
        """12.5: until the subscriber, or the one resource, goes."""
        a, b = self.login(), self.login()
        b2 = self.login(b.bare.split("@")[0])
        n = self.node(a)
        for jid in (b.bare, b2.jid):
            self.assertResult(ps.subscribe(b, n, SERVICE, jid=jid, options={"expire": "presence"}))
        r = b.iq("get", "<pubsub xmlns='%s'><options node='%s' jid='%s'/></pubsub>" % (PUBSUB, n, b.bare), SERVICE)
        self.assertEqual(ps.fields(next(r.iter("{%s}x" % ps.FORM)))["pubsub#expire"], "presence")
        self.assertEqual(len(self.mine(a, n)), 0)
        b2.presence("unavailable")
        self.assertEqual(lab.wait_until(lambda: len(self.mine(b, n)) == 1, 10, "the end of one"), True)
        self.assertResult(self.put(b, n, expire=""))
        self.assertResult(self.put(b, n, expire="presence"))
        ps.publish(a, n, "1", to=SERVICE)
        b.wait(event(n))
        b.close()
        b2.presence()
        lab.wait_until(lambda: self.mine(b2, n) == [], 10, "the end of all")
        # nobody is there: it ends at once
        self.assertResult(ps.subscribe(b2, n, SERVICE, jid=b2.bare + "/elsewhere", options={"expire": "presence"}))
        lab.wait_until(lambda: self.mine(b2, n) == [], 10, "the end of that")

    def test_digest(self):
        a, b, c = (self.login() for _ in range(3))
        n = self.node(a, max_items="max")
        ps.publish(a, n, "old", to=SERVICE)
        self.assertResult(ps.subscribe(b, n, SERVICE, options={"digest": "1", "digest_frequency": "1500"}))
        self.assertEqual(ps.event_ids(b.wait(event(n))), ["old"])
        self.assertResult(ps.subscribe(c, n, SERVICE))
        c.wait(event(n))
        for i in ("1", "2", "3", "2"):
            self.assertResult(ps.publish(a, n, ps.item(i), to=SERVICE))
            c.wait(event(n))
        m = b.wait(event(n))
        self.assertEqual(ps.event_ids(m), ["1", "3", "2"])
        self.assertEqual(len(list(m.iter("{t:e}e"))), 3)
        # nothing, or nothing any more: no digest
        self.assertResult(ps.publish(a, n, "4", to=SERVICE))
        ps.retract(a, n, "4", SERVICE)
        self.assertEqual(ps.retracted(b.wait(event(n))), ["4"])
        c.sync()
        c.drain()
        self.assertResult(self.put(c, n, digest="1", digest_frequency="2000"))
        self.assertResult(ps.publish(a, n, "5", to=SERVICE))
        self.assertEqual(ps.event_ids(c.wait(event(n))), ["5"])
        self.assertEqual(ps.event_ids(b.wait(event(n))), ["5"])
        self.quiet(b)
        # back to all of them
        self.assertResult(self.put(b, n, digest="0"))
        self.assertResult(ps.publish(a, n, "6", to=SERVICE))
        self.assertEqual(ps.event_ids(b.wait(event(n), 1)), ["6"])

    def test_digest_of_what_is_not_kept(self):
        """Nothing can be read later: at once."""
        a, b = self.login(), self.login()
        n = self.node(a, persist_items="0")
        self.assertResult(ps.subscribe(b, n, SERVICE, options={"digest": "1"}))
        self.assertResult(ps.publish(a, n, "1", to=SERVICE))
        self.assertEqual(ps.event_ids(b.wait(event(n))), ["1"])

    def test_large_digest(self):
        """More than one answer of the store holds: several messages, nothing twice."""
        a, b = self.login(), self.login()
        n = self.node(a, max_items="max", send_last_published_item="never")
        self.assertResult(ps.subscribe(b, n, SERVICE, options={"digest": "1", "digest_frequency": "3000"}))
        for i in range(5):
            self.assertResult(ps.publish(a, n, ps.item("i%d" % i, "<e xmlns='t:e'>%s</e>" % ("x" * 150000)), to=SERVICE))
        got = []
        while len(got) < 5:
            got += ps.event_ids(b.wait(event(n)))
        self.assertEqual(got, ["i%d" % i for i in range(5)])
        self.quiet(b)


class Affiliations(Base):
    def test_list_and_change(self):
        a, b, c = self.login(), self.login(), self.login()
        n = self.node(a)
        self.assertResult(ps.affiliate(a, n, b.bare, "publisher", SERVICE))
        r = ps.owner(a, "get", "<affiliations node='%s'/>" % n, SERVICE)
        self.assertEqual({(x.get("jid"), x.get("affiliation")) for x in r.iter("{%s}affiliation" % ps.OWNER)},
                         {(a.bare, "owner"), (b.bare, "publisher")})
        self.assertError(ps.owner(b, "get", "<affiliations node='%s'/>" % n, SERVICE), "forbidden")
        self.assertError(ps.affiliate(b, n, c.bare, "owner", SERVICE), "forbidden")
        r = b.iq("get", "<pubsub xmlns='%s'><affiliations/></pubsub>" % PUBSUB, SERVICE)
        self.assertIn((n, "publisher"), [(x.get("node"), x.get("affiliation")) for x in r.iter("{%s}affiliation" % PUBSUB)])
        self.assertResult(ps.affiliate(a, n, b.bare, "none", SERVICE))
        self.assertError(ps.publish(b, n, "1", to=SERVICE), "forbidden")
        self.assertError(ps.affiliate(a, n, b.bare, "king", SERVICE), "not-acceptable")

    def test_last_owner_stays(self):
        a, b = self.login(), self.login()
        n = self.node(a)
        self.assertError(ps.affiliate(a, n, a.bare, "none", SERVICE), "not-acceptable")
        self.assertResult(ps.affiliate(a, n, b.bare, "owner", SERVICE))
        self.assertResult(ps.affiliate(a, n, a.bare, "none", SERVICE))
        self.assertError(ps.owner(a, "get", "<configure node='%s'/>" % n, SERVICE), "forbidden")
        self.assertTrue(ps.config(b, n, SERVICE))


class Lasting(lab.Case):
    def test_restart(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice", "bob"], milter=False,
                            extra='domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" }')
        a, b = (xmppc.login(d.c2s_port, n) for n in ("alice", "bob"))
        ps.create(a, "n", SERVICE, {"title": "T", "max_items": "max"})
        ps.publish(a, "n", "1", to=SERVICE)
        ps.subscribe(b, "n", SERVICE, options={"deliver": "1"})
        ps.affiliate(a, "n", b.bare, "publisher", SERVICE)
        d.kill()
        d.start()
        a, b = (xmppc.login(d.c2s_port, n) for n in ("alice", "bob"))
        self.assertEqual(ps.config(a, "n", SERVICE)["pubsub#title"], "T")
        self.assertEqual(ps.publish(b, "n", "2", to=SERVICE).get("type"), "result")
        b.wait(event("n"))
        self.assertEqual(ps.item_ids(ps.items(a, "n", SERVICE)), ["1", "2"])
        d.terminate()


    def test_several_subscriptions(self):
        """They are kept with their ids and options; turned off, those there are stay what they are."""
        extra = 'domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" pubsub_multi_subscribe = %s }'

        def done(r):
            self.assertEqual(r.get("type"), "result", show(r))
        d = self.lab.daemon(lab.token("d"), accounts=["alice", "bob"], milter=False, extra=extra % "true")
        a, b = (xmppc.login(d.c2s_port, n) for n in ("alice", "bob"))
        ps.create(a, "n", SERVICE)
        ids = [next(ps.subscribe(b, "n", SERVICE, options={"deliver": v}).iter("{%s}subscription" % PUBSUB)).get("subid") for v in "100"]
        gone = ids.pop()
        done(b.iq("set", "<pubsub xmlns='%s'><unsubscribe node='n' jid='%s' subid='%s'/></pubsub>" % (PUBSUB, b.bare, gone), SERVICE))
        d.kill()
        d.write_config(d.conf.read_text().replace("subscribe = true", "subscribe = false"))
        d.start()
        a, b = (xmppc.login(d.c2s_port, n) for n in ("alice", "bob"))
        r = b.iq("get", "<pubsub xmlns='%s'><subscriptions/></pubsub>" % PUBSUB, SERVICE)
        self.assertEqual({s.get("subid") for s in r.iter("{%s}subscription" % PUBSUB)}, set(ids))
        done(ps.subscribe(b, "n", SERVICE))      # what it has
        ps.publish(a, "n", "1", to=SERVICE)
        m = b.wait(event("n"))
        self.assertEqual([h.text for h in m.iter("{%s}header" % ps.SHIM)], ids[:1])
        done(b.iq("set", "<pubsub xmlns='%s'><unsubscribe node='n' jid='%s' subid='%s'/></pubsub>" % (PUBSUB, b.bare, ids[0]), SERVICE))
        done(ps.unsubscribe(b, "n", SERVICE))
        d.terminate()

    def test_digests_and_presence(self):
        """A digest that was due comes after a restart; who was online then is not now."""
        d = self.lab.daemon(lab.token("d"), accounts=["alice", "bob", "carol"], milter=False,
                            extra='domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" }')
        a, b, c = (xmppc.login(d.c2s_port, n) for n in ("alice", "bob", "carol"))
        ps.create(a, "n", SERVICE, {"max_items": "max"})
        ps.subscribe(b, "n", SERVICE, options={"digest": "1", "digest_frequency": "2000", "show-values": "online"})
        ps.subscribe(c, "n", SERVICE, options={"expire": "presence"})
        ps.publish(a, "n", ps.item("1") , to=SERVICE)
        c.wait(event("n"))
        d.kill()
        d.start()
        a, b, c = (xmppc.login(d.c2s_port, n) for n in ("alice", "bob", "carol"))
        ps.publish(a, "n", ps.item("2"), to=SERVICE)
        self.assertEqual(ps.event_ids(b.wait(event("n"))), ["1", "2"])
        r = ps.owner(a, "get", "<subscriptions node='n'/>", SERVICE)
        self.assertEqual([s.get("jid") for s in r.iter("{%s}subscription" % ps.OWNER)], [b.bare])
        d.terminate()

    def test_admins_make_nodes(self):
        """Addresses in the configuration are prepared."""
        d = self.lab.daemon(lab.token("d"), accounts=["élise", "bob"], milter=False, extra="""
domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" node_create = "admins" admins = ( "Élise@lab.test" ) }""")
        a, b = (xmppc.login(d.c2s_port, n) for n in ("élise", "bob"))
        self.assertEqual(ps.create(b, "n", SERVICE).get("type"), "error")
        self.assertEqual(ps.create(a, "n", SERVICE).get("type"), "result")
        self.assertEqual(ps.publish(a, "m", "1", to=SERVICE).get("type"), "result")
        d.terminate()

    def test_less_room_than_configured(self):
        extra = 'domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" pubsub_max_items = %d }'
        d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False, extra=extra % 20)
        a = xmppc.login(d.c2s_port, "alice")
        for n, full in (("keeps", "reject"), ("drops", "discard-oldest")):
            self.assertEqual(ps.create(a, n, SERVICE, {"max_items": "4", "publish_node_full": full}).get("type"), "result")
            for i in "12":
                ps.publish(a, n, i, to=SERVICE)
        d.write_config(d.conf.read_text().replace("pubsub_max_items = 20", "pubsub_max_items = 2"))
        d.ctl("config", "reload")
        self.assertEqual(ps.condition(ps.publish(a, "keeps", "3", to=SERVICE)), "node-full")
        self.assertEqual(ps.item_ids(ps.items(a, "keeps", SERVICE)), ["1", "2"])
        ps.publish(a, "drops", "3", to=SERVICE)
        self.assertEqual(ps.item_ids(ps.items(a, "drops", SERVICE)), ["2", "3"])
        d.terminate()


class ServerInfo(lab.Case):
    def test_opt_in(self):
        extra = 'domain "pubsub.lab.test" { XMPP_Role = "server" service = "pubsub" }'
        d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False, extra=extra, top="serverinfo = true")
        a = xmppc.login(d.c2s_port, "alice")
        r = lab.wait_until(lambda: (lambda r: r if r.get("type") == "result" else None)(ps.items(a, "serverinfo", SERVICE)), 10, "the item")
        dom = next(r.iter("{urn:xmpp:serverinfo:0}domain"))
        self.assertEqual(dom.get("name"), "lab.test")
        q = kid(a.get(DISCO_INFO, to="lab.test"), "query", DISCO_INFO)
        self.assertIn("urn:xmpp:serverinfo:0", [f.get("var") for f in q])
        self.assertIn("xmpp:pubsub.lab.test?;node=serverinfo", show(q))
        d.terminate()


if __name__ == "__main__":
    lab.main()
