"""Personal eventing and what is built on it, by the text: XEP-0163, 0115, 0222, 0223, 0402/0048/0049/0411, 0084/0153/0054/0398, 0292,
0490, 0384."""
import base64
import hashlib
import unittest

import case
import lab
import pubsubc as ps
import xmppc
from pubsubc import EVENT, FORM, OWNER, PUBSUB, condition, event, event_ids, fields, item_ids
from xmppc import DELAY, DISCO_INFO, DISCO_ITEMS, error_of, is_, kid, local, show, text

TUNE = "http://jabber.org/protocol/tune"
BOOKMARKS = "urn:xmpp:bookmarks:1"
OLD = "storage:bookmarks"
PRIVATE = "jabber:iq:private"
AVATAR_DATA = "urn:xmpp:avatar:data"
AVATAR_META = "urn:xmpp:avatar:metadata"
UPDATE = "vcard-temp:x:update"
VCARD4_NODE = "urn:xmpp:vcard4"
VCARD4 = "urn:ietf:params:xml:ns:vcard-4.0"
MDS = "urn:xmpp:mds:displayed:0"
SID = "urn:xmpp:sid:0"
MARKERS = "urn:xmpp:chat-markers:0"
PNG = b"\x89PNG\r\n\x1a\n image"
PNG_ID = hashlib.sha1(PNG).hexdigest()
SECRET = {"persist_items": "true", "access_model": "whitelist"}
LIST = {"persist_items": "true", "max_items": "max", "send_last_published_item": "never", "access_model": "whitelist"}


class Case(case.ServerCase):
    def features(self, c, to=None):
        r = c.iq("get", "<query xmlns='%s'/>" % DISCO_INFO, to or c.bare)
        self.assertResult(r)
        q = kid(r, "query", DISCO_INFO)
        return q, {f.get("var") for f in q.findall("{%s}feature" % DISCO_INFO)}

    def items(self, c, node, **kw):
        """id -> payload."""
        r = ps.items(c, node, **kw)
        self.assertResult(r)
        return {i.get("id"): (i[0] if len(i) else None) for i in r.iter("{%s}item" % PUBSUB)}

    def quiet(self, c):
        c.sync()
        got = c.drain()
        return [e for e in got if local(e) == "message"]

    def pair(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        for c in (a, b):
            c.sync()
            c.drain()
        return a, b


class Personal(Case):
    """XEP-0163."""

    def test_example_1_to_3(self):
        a, b = self.pair()
        a2 = self.login(a.bare.partition("@")[0], "chamber")
        for c in (a, a2, b):
            ps.online(c, [TUNE])
        self.assertResult(ps.publish(a, TUNE, ps.item(None, "<tune xmlns='%s'><title>Heroes</title></tune>" % TUNE)))
        for c in (a, a2, b):
            m = c.wait(event(TUNE))
            self.assertEqual((m.get("from"), m.get("type")), (a.bare, "headline"))
            self.assertEqual(next(m.iter("{%s}title" % TUNE)).text, "Heroes")
            self.assertIsNone(kid(m, "delay", DELAY))

    def test_4_3_3_no_interest_no_event(self):
        a, b = self.pair()
        ps.online(b, ["urn:other"])
        self.assertResult(ps.publish(a, TUNE, "i"))
        a.sync()
        self.assertEqual([show(m) for m in self.quiet(b) if event(TUNE)(m)], [])

    def test_5_defaults(self):
        a = self.login()
        self.assertResult(ps.publish(a, TUNE, "i"))
        f = ps.config(a, TUNE)
        self.assertEqual(f["pubsub#access_model"], "presence")
        self.assertEqual(f["pubsub#send_last_published_item"], "on_sub_and_presence")
        self.assertIn(f["pubsub#deliver_notifications"], ("1", "true"))
        self.assertIn(f["pubsub#deliver_payloads"], ("1", "true"))
        for model in ("open", "roster", "whitelist", "presence", "authorize"):
            self.assertResult(ps.configure(a, TUNE, {"access_model": model}))

    def test_example_11_identity(self):
        a = self.login()
        q, f = self.features(a)
        self.assertIn(("pubsub", "pep"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])
        for n in ("access-presence", "auto-create", "auto-subscribe", "config-node", "create-and-configure", "create-nodes", "filtered-notifications",
                  "persistent-items", "publish", "retrieve-items", "subscribe", "publish-options", "multi-items", "item-ids", "config-node-max",
                  "retract-items", "delete-items", "last-published", "presence-notifications", "access-whitelist", "access-open", "access-roster"):
            self.assertIn(PUBSUB + "#" + n, f)

    def test_6_2_items_are_checked(self):
        a, b = self.pair()
        c = self.login()
        self.assertResult(ps.publish(a, "n:open", "i", options={"access_model": "open"}))
        self.assertResult(ps.publish(a, "n:presence", "i"))
        self.assertResult(ps.publish(a, "n:white", "i", options={"access_model": "whitelist"}))

        def nodes(x):
            r = x.iq("get", "<query xmlns='%s'/>" % DISCO_ITEMS, a.bare)
            return {i.get("node") for i in r.iter("{%s}item" % DISCO_ITEMS)}
        self.assertTrue({"n:open", "n:presence", "n:white"} <= nodes(a))
        self.assertEqual(nodes(b) & {"n:open", "n:presence", "n:white"}, {"n:open", "n:presence"})
        self.assertFalse(nodes(c) & {"n:presence", "n:white"})

    def test_4_3_4_last_item_on_initial_presence_once(self):
        a, b = self.pair()
        self.assertResult(ps.publish(a, TUNE, "last"))
        b2 = self.login(b.bare.partition("@")[0], "new", presence=False)
        ps.online(b2, [TUNE])
        m = b2.wait(event(TUNE))
        self.assertEqual(event_ids(m), ["last"])
        self.assertEqual(m.get("to"), b2.jid)
        b2.presence(inner="<show>away</show>" + ps.caps_element([DISCO_INFO, "test:" + b2.jid, TUNE + "+notify"]))
        self.assertEqual([show(x) for x in self.quiet(b2) if event(TUNE)(x)], [])

    def test_4_3_4_to_the_owner_too(self):
        name = self.user()
        a = self.login(name)
        self.assertResult(ps.publish(a, TUNE, "last"))
        a2 = self.login(name, "new", presence=False)
        ps.online(a2, [TUNE])
        self.assertEqual(event_ids(a2.wait(event(TUNE))), ["last"])

    def test_0115_new_interest_later(self):
        a, b = self.pair()
        self.assertResult(ps.publish(a, TUNE, "last"))
        ps.online(b, ["urn:other"])
        feats = [DISCO_INFO, "test:2" + b.jid, TUNE + "+notify"]
        b.presence(inner=ps.caps_element(feats))
        ps.answer_disco(b, feats)
        self.assertEqual(event_ids(b.wait(event(TUNE))), ["last"])

    def test_4_1_new_contact_gets_it(self):
        a, b = self.login(), self.login()
        self.assertResult(ps.publish(a, TUNE, "last"))
        ps.online(b, [TUNE])
        self.friends(a, b)
        self.assertEqual(event_ids([e for e in b.seen if event(TUNE)(e)][0] if [e for e in b.seen if event(TUNE)(e)] else b.wait(event(TUNE))), ["last"])

    def test_4_3_3_blocked(self):
        a, b = self.pair()
        ps.online(b, [TUNE])
        self.assertResult(a.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % b.bare))
        self.assertResult(ps.publish(a, TUNE, "i"))
        a.sync()
        self.assertEqual([m for m in self.quiet(b) if event(TUNE)(m)], [])

    def test_strangers(self):
        a, c = self.login(), self.login()
        self.assertResult(ps.publish(a, TUNE, "i"))
        r = ps.items(c, TUNE, a.bare)
        self.assertIn(error_of(r)[1], ("not-authorized", "service-unavailable", "item-not-found"))
        self.assertEqual(error_of(ps.publish(c, TUNE, "i", a.bare))[1] in ("forbidden", "service-unavailable", "not-authorized"), True)
        self.assertIsNotNone(error_of(ps.create(c, "new", a.bare)))
        self.assertIsNotNone(error_of(ps.owner(c, "set", "<delete node='%s'/>" % TUNE, a.bare)))

    def test_explicit_subscription_to_an_open_node(self):
        a, c = self.login(), self.login()
        self.assertResult(ps.publish(a, "n:open", "one", options={"access_model": "open"}))
        self.assertResult(ps.subscribe(c, "n:open", a.bare))
        c.wait(event("n:open"))
        self.assertResult(ps.publish(a, "n:open", "two"))
        m = c.wait(event("n:open"))
        self.assertEqual((event_ids(m), m.get("from")), (["two"], a.bare))
        self.assertEqual([x for x in self.quiet(c) if event("n:open")(x)], [])

    def test_4_3_2_full_jid_one_notification(self):
        a, c = self.login(), self.login()
        self.assertResult(ps.publish(a, "n:open", "one", options={"access_model": "open", "send_last_published_item": "never"}))
        self.assertResult(ps.subscribe(c, "n:open", a.bare, c.jid))
        self.assertResult(ps.publish(a, "n:open", "two"))
        self.assertEqual(c.wait(event("n:open")).get("to"), c.jid)
        self.assertEqual([x for x in self.quiet(c) if event("n:open")(x)], [])

    def test_7_1_losing_access(self):
        a, b = self.pair()
        self.assertResult(ps.publish(a, TUNE, "i"))
        self.assertResult(ps.subscribe(b, TUNE, a.bare))
        self.assertResult(ps.items(b, TUNE, a.bare))
        a.presence("unsubscribed", b.bare)
        a.sync()
        b.sync()
        b.drain()
        self.assertIsNotNone(error_of(ps.items(b, TUNE, a.bare)))
        self.assertResult(ps.publish(a, TUNE, "j"))
        self.assertEqual([show(m) for m in self.quiet(b) if event(TUNE)(m)], [])
        r = ps.owner(a, "get", "<subscriptions node='%s'/>" % TUNE)
        self.assertNotIn(b.bare, [s.get("jid") for s in r.iter("{%s}subscription" % OWNER)], "7.1: MUST cancel the subscription")

    def test_7_1_roster_groups(self):
        a, b = self.pair()
        self.assertResult(ps.publish(a, "n:r", "i", options={"access_model": "roster", "roster_groups_allowed": ["Friends"]}))
        self.assertIsNotNone(error_of(ps.items(b, "n:r", a.bare)))
        self.assertResult(a.iq("set", "<query xmlns='%s'><item jid='%s'><group>Friends</group></item></query>" % (xmppc.ROSTER, b.bare)))
        self.assertEqual(item_ids(ps.items(b, "n:r", a.bare)), ["i"])
        self.assertResult(ps.subscribe(b, "n:r", a.bare))
        self.assertResult(a.iq("set", "<query xmlns='%s'><item jid='%s'><group>Foes</group></item></query>" % (xmppc.ROSTER, b.bare)))
        e = ps.items(b, "n:r", a.bare)
        self.assertError(e, "not-authorized")
        self.assertEqual(condition(e), "not-in-roster-group")
        r = ps.owner(a, "get", "<subscriptions node='n:r'/>")
        self.assertNotIn(b.bare, [s.get("jid") for s in r.iter("{%s}subscription" % OWNER)])

    def test_addressed_to_oneself_or_to_nobody(self):
        a = self.login()
        for to in (None, a.bare):
            self.assertResult(ps.publish(a, "n" + str(to), "i", to))
            r = ps.items(a, "n" + str(to), to)
            self.assertResult(r)
            self.assertIn(r.get("from"), (None, a.bare))

    def test_retract_and_delete_are_told(self):
        a, b = self.pair()
        ps.online(b, [TUNE])
        self.assertResult(ps.publish(a, TUNE, "i"))
        b.wait(event(TUNE))
        self.assertResult(ps.retract(a, TUNE, "i", notify="1"))
        self.assertEqual(ps.retracted(b.wait(event(TUNE))), ["i"])
        self.assertResult(ps.owner(a, "set", "<delete node='%s'/>" % TUNE))
        b.wait(event(TUNE, "delete"))

    def test_survives_signing_off(self):
        name = self.user()
        a = self.login(name)
        self.assertResult(ps.publish(a, TUNE, "i"))
        a.close()
        self.assertEqual(list(self.items(self.login(name), TUNE)), ["i"])


class Storage(Case):
    """XEP-0222, 0223, 0384, 0490."""

    def test_0223_private(self):
        a, b = self.pair()
        self.assertResult(ps.publish(a, "storage:x", "i", options=SECRET))
        e = ps.items(b, "storage:x", a.bare)
        self.assertIn(error_of(e)[1], ("not-allowed", "forbidden", "item-not-found", "service-unavailable"))
        a2 = self.login(a.bare.partition("@")[0])
        ps.online(a2, ["storage:x"])
        self.assertResult(ps.publish(a, "storage:x", "j", options=SECRET))
        a2.wait(event("storage:x"))

    def test_0223_weaker_node_refuses(self):
        a = self.login()
        self.assertResult(ps.publish(a, "storage:x", "i", options={"access_model": "open"}))
        e = ps.publish(a, "storage:x", "j", options=SECRET)
        self.assertError(e, "conflict", "cancel")
        self.assertEqual(condition(e), "precondition-not-met")
        self.assertEqual(list(self.items(a, "storage:x")), ["i"])
        self.assertResult(ps.configure(a, "storage:x", {"access_model": "whitelist"}))
        self.assertResult(ps.publish(a, "storage:x", "j", options=SECRET))

    def test_0222_public(self):
        a, c = self.login(), self.login()
        self.assertResult(ps.publish(a, "urn:key", "k", options={"persist_items": "true", "send_last_published_item": "never", "access_model": "open"}))
        self.assertEqual(list(self.items(c, "urn:key", to=a.bare)), ["k"])
        self.assertEqual(ps.config(a, "urn:key")["pubsub#send_last_published_item"], "never")

    def test_0384_devices_and_bundles(self):
        a, c = self.login(), self.login()
        dev = "<devices xmlns='urn:xmpp:omemo:2'><device id='12345'/></devices>"
        bun = "<bundle xmlns='urn:xmpp:omemo:2'><spk id='0'>%s</spk></bundle>" % ("A" * 20000)
        self.assertResult(ps.publish(a, "urn:xmpp:omemo:2:devices", ps.item("current", dev), options={"access_model": "open"}))
        for i in ("12345", "54321"):
            self.assertResult(ps.publish(a, "urn:xmpp:omemo:2:bundles", ps.item(i, bun), options={"max_items": "max", "access_model": "open"}))
        self.assertEqual(list(self.items(c, "urn:xmpp:omemo:2:bundles", to=a.bare, ids=["12345"])), ["12345"])
        self.assertEqual(set(self.items(c, "urn:xmpp:omemo:2:bundles", to=a.bare)), {"12345", "54321"})
        self.assertEqual(list(self.items(c, "urn:xmpp:omemo:2:devices", to=a.bare)), ["current"])

    def test_0384_old_names(self):
        a, c = self.login(), self.login()
        n = "eu.siacs.conversations.axolotl.devicelist"
        self.assertResult(ps.publish(a, n, ps.item("current", "<list xmlns='eu.siacs.conversations.axolotl'/>"), options={"persist_items": "true", "access_model": "open"}))
        self.assertEqual(list(self.items(c, n, to=a.bare)), ["current"])

    def test_0490_published(self):
        name = self.user()
        a, a2 = self.login(name), self.login(name)
        ps.online(a2, [MDS])
        d = "<displayed xmlns='%s'><stanza-id xmlns='%s' by='%s' id='x1'/></displayed>" % (MDS, SID, a.bare)
        for jid in ("romeo@x.example", "room@y.example"):
            self.assertResult(ps.publish(a, MDS, ps.item(jid, d), options=LIST))
            self.assertEqual(event_ids(a2.wait(event(MDS))), [jid])
        self.assertEqual(set(self.items(a2, MDS)), {"romeo@x.example", "room@y.example"})
        self.assertEqual(ps.config(a, MDS)["pubsub#access_model"], "whitelist")

    def test_0490_server_assist(self):
        a, b = self.pair()
        _, f = self.features(a)
        if "urn:xmpp:mds:server-assist:0" not in f:
            self.skipTest("no server assist")
        a2 = self.login(a.bare.partition("@")[0])
        ps.online(a2, [MDS])
        self.assertResult(a2.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>"))
        a.send("<message to='%s' id='m1'><displayed xmlns='%s' id='the-msg-1'/><displayed xmlns='%s'><stanza-id xmlns='%s' by='%s' id='0423'/></displayed>"
               "<store xmlns='urn:xmpp:hints'/></message>" % (b.bare, MARKERS, MDS, SID, a.bare))
        m = b.wait(lambda e: local(e) == "message" and e.find("{%s}displayed" % MARKERS) is not None)
        self.assertNotIn(MDS, show(m))
        ev = a2.wait(event(MDS))
        self.assertEqual(event_ids(ev), [b.bare])
        self.assertEqual(next(ev.iter("{%s}stanza-id" % SID)).get("id"), "0423")
        carbon = a2.wait(lambda e: local(e) == "message" and e.find("{urn:xmpp:carbons:2}sent") is not None)
        self.assertNotIn(MDS, show(carbon))
        f = ps.config(a, MDS)
        self.assertEqual((f["pubsub#access_model"], f["pubsub#max_items"], f["pubsub#send_last_published_item"]), ("whitelist", "max", "never"))
        r = a.iq("set", "<query xmlns='urn:xmpp:mam:2'/>")
        self.assertResult(r)
        self.assertNotIn(MDS, "".join(show(x) for x in a.drain() if x.find("{urn:xmpp:mam:2}result") is not None))


class Bookmarks(Case):
    """XEP-0402 with 0048, 0049 and 0411."""
    CONF = "<conference xmlns='%s' name=\"The Play's the Thing\" autojoin='true'><nick>JC</nick>%%s</conference>" % BOOKMARKS
    ROOM = "theplay@conference.shakespeare.lit"

    def add(self, c, room=None, inner=""):
        r = ps.publish(c, BOOKMARKS, ps.item(room or self.ROOM, self.CONF % inner), options=LIST)
        self.assertResult(r)

    def old_rooms(self, storage):
        return {x.get("jid"): (x.get("name"), x.get("autojoin"), text(x, "nick"), text(x, "password")) for x in storage.findall("{%s}conference" % OLD)}

    def private(self, c):
        r = c.iq("get", "<query xmlns='%s'><storage xmlns='%s'/></query>" % (PRIVATE, OLD))
        self.assertResult(r)
        return r.find("{%s}query/{%s}storage" % (PRIVATE, OLD))

    def set_private(self, c, inner):
        self.assertResult(c.iq("set", "<query xmlns='%s'><storage xmlns='%s'>%s</storage></query>" % (PRIVATE, OLD, inner)))

    def test_features(self):
        a = self.login()
        _, f = self.features(a)
        for v in (BOOKMARKS + "#compat", BOOKMARKS + "#compat-pep", "urn:xmpp:bookmarks-conversion:0"):
            self.assertIn(v, f)

    def test_add_get_edit_remove(self):
        name = self.user()
        a, b = self.login(name), self.login(name)
        ps.online(b, [BOOKMARKS])
        self.add(a)
        m = b.wait(event(BOOKMARKS))
        self.assertEqual((event_ids(m), m.get("type"), m.get("from")), ([self.ROOM], "headline", a.bare))
        got = self.items(a, BOOKMARKS)
        self.assertEqual(text(got[self.ROOM], "nick"), "JC")
        self.add(a, inner="<extensions><state xmlns='http://myclient.example' minimized='true'/></extensions>")
        b.wait(event(BOOKMARKS))
        self.assertIsNotNone(next(self.items(b, BOOKMARKS)[self.ROOM].iter("{http://myclient.example}state"), None))
        self.assertResult(ps.retract(a, BOOKMARKS, self.ROOM, notify="true"))
        self.assertEqual(ps.retracted(b.wait(event(BOOKMARKS))), [self.ROOM])
        self.assertEqual(self.items(a, BOOKMARKS), {})

    def test_private_to_the_account(self):
        a, b = self.pair()
        self.add(a)
        self.assertIsNotNone(error_of(ps.items(b, BOOKMARKS, a.bare)))
        self.assertIsNotNone(error_of(ps.items(b, OLD, a.bare)))

    def test_new_is_seen_in_the_old_forms(self):
        a = self.login()
        self.add(a, inner="<password>pw</password>")
        want = {self.ROOM: ("The Play's the Thing", "true", "JC", "pw")}
        self.assertEqual(self.old_rooms(self.private(a)), want)
        got = self.items(a, OLD)
        self.assertEqual(list(got), ["current"])
        self.assertEqual(got["current"].tag, "{%s}storage" % OLD)
        self.assertEqual(self.old_rooms(got["current"]), want)

    def test_old_private_xml_is_seen_in_the_new_form(self):
        name = self.user()
        a, b = self.login(name), self.login(name)
        ps.online(b, [BOOKMARKS, OLD])
        self.set_private(a, "<conference jid='r1@x.example' name='One' autojoin='1'><nick>me</nick></conference><conference jid='r2@x.example'/>")
        self.assertEqual(set(self.items(a, BOOKMARKS)), {"r1@x.example", "r2@x.example"})
        one = self.items(a, BOOKMARKS)["r1@x.example"]
        self.assertEqual((one.get("name"), text(one, "nick")), ("One", "me"))
        self.assertIn(one.get("autojoin"), ("1", "true"))
        seen = set()
        while seen != {"r1@x.example", "r2@x.example"}:
            seen |= set(event_ids(b.wait(event(BOOKMARKS))))
        self.assertEqual(event_ids(b.wait(event(OLD))), ["current"])     # XEP-0411 section 3

    def test_replacing_the_old_list_sends_only_the_difference(self):
        name = self.user()
        a, b = self.login(name), self.login(name)
        self.set_private(a, "<conference jid='r1@x.example'/><conference jid='r2@x.example'/>")
        ps.online(b, [BOOKMARKS])
        self.quiet(b)
        self.set_private(a, "<conference jid='r1@x.example'/><conference jid='r3@x.example'/>")
        got, gone = set(), set()
        while not (got and gone):
            m = b.wait(event(BOOKMARKS))
            got |= set(event_ids(m))
            gone |= set(ps.retracted(m))
        self.assertEqual((got, gone), ({"r3@x.example"}, {"r2@x.example"}))

    def test_old_write_keeps_extensions(self):
        a = self.login()
        self.add(a, inner="<extensions><s xmlns='t:s'/></extensions>")
        self.set_private(a, "<conference jid='%s' name='New name' autojoin='0'><nick>JC</nick></conference>" % self.ROOM)
        c = self.items(a, BOOKMARKS)[self.ROOM]
        self.assertEqual(c.get("name"), "New name")
        self.assertIsNotNone(next(c.iter("{t:s}s"), None))

    def test_old_pep_publish(self):
        a = self.login()
        st = "<storage xmlns='%s'><conference jid='r1@x.example' name='One'/></storage>" % OLD
        self.assertResult(ps.publish(a, OLD, ps.item("current", st), options=SECRET))
        self.assertEqual(set(self.items(a, BOOKMARKS)), {"r1@x.example"})
        self.assertEqual(set(self.old_rooms(self.private(a))), {"r1@x.example"})

    def test_urls_stay(self):
        a = self.login()
        self.set_private(a, "<url name='W' url='http://x.example/'/><conference jid='r1@x.example'/>")
        self.assertEqual([u.get("url") for u in self.private(a).findall("{%s}url" % OLD)], ["http://x.example/"])

    def test_empty(self):
        a = self.login()
        s = self.private(a)
        self.assertEqual(list(s), [])

    def test_0049_other_data(self):
        a = self.login()
        self.assertResult(a.iq("set", "<query xmlns='%s'><exodus xmlns='exodus:prefs'><d>Hamlet</d></exodus></query>" % PRIVATE))
        r = a.iq("get", "<query xmlns='%s'><exodus xmlns='exodus:prefs'/></query>" % PRIVATE)
        self.assertEqual(next(r.iter("{exodus:prefs}d")).text, "Hamlet")
        r = a.iq("get", "<query xmlns='%s'><none xmlns='exodus:none'/></query>" % PRIVATE)
        self.assertResult(r)
        self.assertEqual(list(next(r.iter("{exodus:none}none"))), [])
        b = self.login()
        e = b.iq("get", "<query xmlns='%s'><exodus xmlns='exodus:prefs'/></query>" % PRIVATE, a.bare)
        self.assertIn(error_of(e)[1], ("forbidden", "service-unavailable"))
        self.assertError(a.iq("get", "<query xmlns='%s'/>" % PRIVATE), ("bad-request", "not-acceptable"))
        self.assertError(a.iq("set", "<query xmlns='%s'><x/></query>" % PRIVATE), ("bad-request", "not-acceptable"))


class Avatars(Case):
    """XEP-0084, 0153, 0054, 0398."""

    def put(self, c, access="open"):
        opt = {"access_model": access}
        self.assertResult(ps.publish(c, AVATAR_DATA, ps.item(PNG_ID, "<data xmlns='%s'>%s</data>" % (AVATAR_DATA, base64.b64encode(PNG).decode())), options=opt))
        self.assertResult(ps.publish(c, AVATAR_META, ps.item(PNG_ID, "<metadata xmlns='%s'><info xmlns='%s' bytes='%d' id='%s' type='image/png'/></metadata>" % (
            AVATAR_META, AVATAR_META, len(PNG), PNG_ID)), options=opt))

    def photo(self, c, to=None):
        r = c.iq("get", "<vCard xmlns='vcard-temp'/>", to)
        if r.get("type") == "error":
            return None
        b = next(r.iter("{vcard-temp}BINVAL"), None)
        return None if b is None else base64.b64decode("".join(b.text.split()))

    def hash_of(self, p):
        x = p.find("{%s}x" % UPDATE)
        if x is None:
            return None
        ph = x.find("{%s}photo" % UPDATE)
        return "none" if ph is None else ph.text or ""

    def test_feature(self):
        a = self.login()
        _, f = self.features(a)
        self.assertIn("urn:xmpp:pep-vcard-conversion:0", f)
        self.assertIn("vcard-temp", f)

    def test_0398_3_1_pep_to_vcard(self):
        a, b = self.pair()
        self.put(a)
        lab.wait_until(lambda: self.photo(b, a.bare) == PNG, 5, "the photo in the vCard")
        self.assertEqual(self.photo(a), PNG)
        r = b.iq("get", "<vCard xmlns='vcard-temp'/>", a.bare)
        self.assertEqual(next(r.iter("{vcard-temp}TYPE")).text, "image/png")

    def test_0398_4_presence(self):
        a, b = self.pair()
        self.put(a)
        lab.wait_until(lambda: self.photo(a) == PNG, 5, "the photo")
        b.drain()
        a.presence()
        p = b.wait(lambda e: local(e) == "presence" and e.get("from") == a.jid and self.hash_of(e) == PNG_ID)
        self.assertEqual(len(p.findall("{%s}x" % UPDATE)), 1)
        b.sync()
        b.drain()
        for sent, want in (("<x xmlns='%s'/>" % UPDATE, PNG_ID), ("<x xmlns='%s'><photo/></x>" % UPDATE, ""), ("", PNG_ID)):
            tag = lab.token("st")
            a.presence(inner="<status>%s</status>%s" % (tag, sent))
            p = b.wait(lambda e: local(e) == "presence" and text(e, "status") == tag)
            self.assertEqual(self.hash_of(p), want, show(p))
            self.assertEqual(len(p.findall("{%s}x" % UPDATE)), 1)

    def test_0398_4_directed_presence(self):
        a, c = self.login(), self.login()
        self.put(a)
        lab.wait_until(lambda: self.photo(a) == PNG, 5, "the photo")
        a.presence(to=c.jid)
        self.assertEqual(self.hash_of(c.wait(is_("presence", from_=a.jid))), PNG_ID)

    def test_0398_3_2_vcard_to_pep(self):
        a, b = self.pair()
        ps.online(b, [AVATAR_META])
        self.assertResult(a.iq("set", "<vCard xmlns='vcard-temp'><FN>Juliet</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>%s</BINVAL></PHOTO></vCard>" %
                               base64.b64encode(PNG).decode()))
        m = b.wait(event(AVATAR_META))
        self.assertEqual(event_ids(m), [PNG_ID])
        i = next(m.iter("{%s}info" % AVATAR_META))
        self.assertEqual((i.get("id"), i.get("type"), i.get("bytes")), (PNG_ID, "image/png", str(len(PNG))))
        d = self.items(b, AVATAR_DATA, to=a.bare, ids=[PNG_ID])
        self.assertEqual(base64.b64decode(d[PNG_ID].text), PNG)
        self.assertEqual(b.iq("get", "<vCard xmlns='vcard-temp'/>", a.bare).find("{vcard-temp}vCard/{vcard-temp}FN").text, "Juliet")

    def test_0398_who_may_not_see_the_avatar(self):
        a, b = self.pair()
        c = self.login()
        self.put(a, "presence")
        lab.wait_until(lambda: self.photo(b, a.bare) == PNG, 5, "the photo")
        self.assertIsNone(self.photo(c, a.bare))

    def test_0084_disabling(self):
        a, b = self.pair()
        self.put(a)
        lab.wait_until(lambda: self.photo(a) == PNG, 5, "the photo")
        ps.online(b, [AVATAR_META])
        self.quiet(b)
        self.assertResult(ps.publish(a, AVATAR_META, ps.item(None, "<metadata xmlns='%s'/>" % AVATAR_META)))
        b.wait(event(AVATAR_META))
        lab.wait_until(lambda: self.photo(a) is None, 5, "no photo")
        b.sync()
        b.drain()
        tag = lab.token("st")
        a.presence(inner="<status>%s</status>" % tag)
        p = b.wait(lambda e: local(e) == "presence" and text(e, "status") == tag)
        self.assertIn(self.hash_of(p), (None, ""))

    def test_0398_external_info_is_skipped(self):
        a = self.login()
        self.assertResult(ps.publish(a, AVATAR_DATA, ps.item(PNG_ID, "<data xmlns='%s'>%s</data>" % (AVATAR_DATA, base64.b64encode(PNG).decode())),
                                     options={"access_model": "open"}))
        meta = "<metadata xmlns='%s'><info bytes='5' id='%s' type='image/gif' url='http://x.example/a.gif'/><info bytes='%d' id='%s' type='image/png'/></metadata>" % (
            AVATAR_META, "0" * 40, len(PNG), PNG_ID)
        self.assertResult(ps.publish(a, AVATAR_META, ps.item(PNG_ID, meta), options={"access_model": "open"}))
        lab.wait_until(lambda: self.photo(a) == PNG, 5, "the photo")

    def test_0054(self):
        a, c = self.login(), self.login()
        r = a.iq("get", "<vCard xmlns='vcard-temp'/>")
        self.assertTrue(r.get("type") == "result" or error_of(r)[1] == "item-not-found")
        self.assertResult(a.iq("set", "<vCard xmlns='vcard-temp'><FN>Peter</FN><N><FAMILY>Saint</FAMILY></N></vCard>"))
        r = c.iq("get", "<vCard xmlns='vcard-temp'/>", a.bare)
        self.assertEqual(next(r.iter("{vcard-temp}FN")).text, "Peter")
        self.assertEqual(r.get("from"), a.bare)
        self.assertIn(error_of(c.iq("set", "<vCard xmlns='vcard-temp'><FN>x</FN></vCard>", a.bare))[1], ("forbidden", "not-allowed", "not-authorized"))
        e = c.iq("get", "<vCard xmlns='vcard-temp'/>", "nobody-there@" + lab.DOMAIN)
        self.assertIn(error_of(e)[1], ("item-not-found", "service-unavailable"))
        # whoever has none answers as whoever is not there
        d = self.login()
        self.assertIn(error_of(c.iq("get", "<vCard xmlns='vcard-temp'/>", d.bare))[1], ("item-not-found", "service-unavailable"))


class VCard4(Case):
    """XEP-0292: and kept in step with vcard-temp."""
    CARD = ("<vcard xmlns='%s'><fn><text>Peter Saint-Andre</text></fn><n><surname>Saint-Andre</surname><given>Peter</given><additional/></n>"
            "<nickname><text>stpeter</text></nickname><bday><date>1966-08-06</date></bday>"
            "<adr><parameters><type><text>work</text></type></parameters><ext>Suite 600</ext><street>1899 Wynkoop Street</street><locality>Denver</locality>"
            "<region>CO</region><code>80202</code><country>USA</country></adr>"
            "<tel><parameters><type><text>work</text><text>voice</text></type></parameters><uri>tel:+1-303-308-3282</uri></tel>"
            "<email><parameters><type><text>home</text></type></parameters><text>stpeter@jabber.org</text></email>"
            "<title><text>Executive Director</text></title><role><text>Patron Saint</text></role><org><text>XSF</text></org>"
            "<url><uri>https://stpeter.im/</uri></url><note><text>More</text></note><impp><uri>xmpp:stpeter@jabber.org</uri></impp></vcard>" % VCARD4)

    def temp(self, c, to=None):
        r = c.iq("get", "<vCard xmlns='vcard-temp'/>", to)
        return r.find("{vcard-temp}vCard") if r.get("type") == "result" else None

    def t(self, card, path):
        e = card.find("/".join("{vcard-temp}" + p for p in path.split("/")))
        return None if e is None else e.text or ""

    def test_publish_and_get(self):
        a, c = self.login(), self.login()
        r = ps.publish(a, VCARD4_NODE, ps.item(None, self.CARD), options={"access_model": "open"})
        self.assertResult(r)
        got = self.items(c, VCARD4_NODE, to=a.bare)
        self.assertEqual([p.tag for p in got.values()], ["{%s}vcard" % VCARD4])

    def test_to_vcard_temp(self):
        a, c = self.login(), self.login()
        self.assertResult(ps.publish(a, VCARD4_NODE, ps.item("current", self.CARD), options={"access_model": "open"}))
        card = lab.wait_until(lambda: (lambda v: v if v is not None and self.t(v, "FN") else None)(self.temp(c, a.bare)), 5, "a vcard-temp")
        self.assertEqual(self.t(card, "FN"), "Peter Saint-Andre")
        self.assertEqual((self.t(card, "N/FAMILY"), self.t(card, "N/GIVEN")), ("Saint-Andre", "Peter"))
        self.assertEqual(self.t(card, "NICKNAME"), "stpeter")
        self.assertEqual(self.t(card, "BDAY"), "1966-08-06")
        self.assertEqual((self.t(card, "ADR/STREET"), self.t(card, "ADR/EXTADD"), self.t(card, "ADR/LOCALITY"), self.t(card, "ADR/REGION"),
                          self.t(card, "ADR/PCODE"), self.t(card, "ADR/CTRY")), ("1899 Wynkoop Street", "Suite 600", "Denver", "CO", "80202", "USA"))
        self.assertIsNotNone(card.find("{vcard-temp}ADR/{vcard-temp}WORK"))
        self.assertEqual(self.t(card, "TEL/NUMBER"), "+1-303-308-3282")
        self.assertIsNotNone(card.find("{vcard-temp}TEL/{vcard-temp}VOICE"))
        self.assertEqual(self.t(card, "EMAIL/USERID"), "stpeter@jabber.org")
        self.assertEqual((self.t(card, "TITLE"), self.t(card, "ROLE"), self.t(card, "ORG/ORGNAME")), ("Executive Director", "Patron Saint", "XSF"))
        self.assertEqual((self.t(card, "URL"), self.t(card, "DESC")), ("https://stpeter.im/", "More"))
        self.assertEqual(self.t(card, "JABBERID"), "stpeter@jabber.org")

    def test_to_vcard4(self):
        a, b = self.pair()
        ps.online(b, [VCARD4_NODE])
        self.assertResult(a.iq("set", "<vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN><N><FAMILY>Capulet</FAMILY><GIVEN>Juliet</GIVEN></N><NICKNAME>Jul</NICKNAME>"
                               "<EMAIL><HOME/><USERID>j@x.example</USERID></EMAIL><TEL><WORK/><VOICE/><NUMBER>123</NUMBER></TEL><URL>http://x.example/</URL>"
                               "<ORG><ORGNAME>House</ORGNAME><ORGUNIT>Balcony</ORGUNIT></ORG></vCard>"))
        b.wait(event(VCARD4_NODE))
        got = list(self.items(b, VCARD4_NODE, to=a.bare).values())
        self.assertEqual(len(got), 1)
        v = got[0]

        def q(path):
            e = v.find("/".join("{%s}%s" % (VCARD4, p) for p in path.split("/")))
            return None if e is None else e.text
        self.assertEqual((q("fn/text"), q("n/surname"), q("n/given"), q("nickname/text")), ("Juliet Capulet", "Capulet", "Juliet", "Jul"))
        self.assertEqual((q("email/text"), q("tel/uri"), q("url/uri"), q("org/text")), ("j@x.example", "tel:123", "http://x.example/", "House"))
        self.assertEqual(q("email/parameters/type/text"), "home")

    def test_photo_stays(self):
        a = self.login()
        self.assertResult(a.iq("set", "<vCard xmlns='vcard-temp'><FN>Old</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>%s</BINVAL></PHOTO></vCard>" %
                               base64.b64encode(PNG).decode()))
        self.assertResult(ps.publish(a, VCARD4_NODE, ps.item("current", self.CARD)))
        lab.wait_until(lambda: self.t(self.temp(a), "FN") == "Peter Saint-Andre", 5, "the new name")
        self.assertIsNotNone(self.temp(a).find("{vcard-temp}PHOTO"))

    def test_private_vcard4_is_not_shown(self):
        a, c = self.login(), self.login()
        self.assertResult(ps.publish(a, VCARD4_NODE, ps.item("current", self.CARD), options={"access_model": "whitelist"}))
        a.sync()
        card = self.temp(c, a.bare)
        self.assertTrue(card is None or self.t(card, "EMAIL/USERID") is None)

    def test_contacts_node_is_private(self):
        a, b = self.pair()
        self.assertResult(ps.publish(a, "urn:xmpp:contacts", ps.item("s@x.example", self.CARD)))
        self.assertEqual(ps.config(a, "urn:xmpp:contacts")["pubsub#access_model"], "whitelist")
        self.assertIsNotNone(error_of(ps.items(b, "urn:xmpp:contacts", a.bare)))


if __name__ == "__main__":
    lab.main()
