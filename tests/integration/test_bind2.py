"""test_bind2 - XEP-0386 1.1 and the inline part of XEP-0198 section 9.1."""
import threading

import lab
import xmppc
from case import ServerCase, at
from xmppc import BIND, BIND2, SASL2, SM, STREAMS, is_, kid, local, nsof, show, text

AGENT = "d4565fa7-4d72-4749-b3d3-740edbf87770"
OTHER = "aaaaaaaa-4d72-4749-b3d3-740edbf87770"
CARBONS = "urn:xmpp:carbons:2"
CSI = "urn:xmpp:csi:0"


class Bind2(ServerCase):
    def bind(self, user, inner="", agent=None, **kw):
        c = self.connect()
        e = c.auth2(user, inner="<bind xmlns='%s'>%s</bind>" % (BIND2, inner), agent=agent, **kw)
        self.assertEqual((nsof(e), local(e)), (SASL2, "success"), show(e))
        return c, e

    def test_bound(self):
        """3.2.1: <bound/>, the full JID, features behind it."""
        for user in self.users(4):      # on both workers
            c, e = self.bind(user)
            self.assertIsNotNone(kid(e, "bound", BIND2))
            jid = text(e, "authorization-identifier")
            self.assertEqual(jid.partition("/")[0], at(user))
            self.assertTrue(jid.partition("/")[2])
            self.assertIsNone(c.features.find("{%s}bind" % BIND))
            self.assertIsNotNone(c.features.find("{%s}sm" % SM))
            c.presence()
            c.wait(is_("presence", from_=jid))

    def test_tag(self):
        """3.2.1: the tag, a slash, the identifier."""
        _, e = self.bind(self.user(), "<tag>AwesomeXMPP</tag>")
        res = text(e, "authorization-identifier").partition("/")[2]
        self.assertRegex(res, r"^AwesomeXMPP/\w{8,}$")

    def test_tags_of_all_kinds(self):
        for tag, want in (("K&amp;iva's", "K&iva's/"), ("a/b", "a/b/"), ("\u00e9t\u00e9", "\u00e9t\u00e9/"), ("", ""),
                          ("\u0627a", ""),     # no resource: mixes directions
                          ("x" * 5000, "x" * 128 + "/")):
            with self.subTest(tag=tag[:10]):
                c, e = self.bind(self.user(), "<tag>%s</tag>" % tag)
                res = text(e, "authorization-identifier").partition("/")[2]
                self.assertTrue(res.startswith(want), res)
                c.sync()

    def test_stable_identifier(self):
        user = self.user()
        one, e1 = self.bind(user, "<tag>a</tag>", AGENT)
        one.close()
        _, e2 = self.bind(user, "<tag>a</tag>", AGENT.upper())
        self.assertEqual(text(e1, "authorization-identifier"), text(e2, "authorization-identifier"))
        _, e3 = self.bind(user, "<tag>b</tag>", AGENT)
        self.assertNotEqual(text(e1, "authorization-identifier")[-8:], text(e3, "authorization-identifier")[-8:])
        self.assertNotIn(AGENT[:8], text(e1, "authorization-identifier"))
        # another account of the same client is not to be recognised by it
        _, e4 = self.bind(self.user(), "<tag>a</tag>", AGENT)
        self.assertNotEqual(text(e1, "authorization-identifier").partition("/")[2],
                            text(e4, "authorization-identifier").partition("/")[2])

    def test_random_without_agent(self):
        user = self.user()
        a, e1 = self.bind(user, "<tag>a</tag>")
        b, e2 = self.bind(user, "<tag>a</tag>")
        self.assertNotEqual(a.jid, b.jid)
        a.sync()
        b.sync()

    def test_earlier_session_of_the_client_ends(self):
        user = self.user()
        a, _ = self.bind(user, "<tag>a</tag>", AGENT)
        other, _ = self.bind(user, "<tag>a</tag>", OTHER)
        b, _ = self.bind(user, "<tag>b</tag>", AGENT)
        self.assertEqual(a.wait_end(), "conflict")
        other.sync()
        b.sync()

    def test_sm_inline(self):
        """XEP-0198 9.1."""
        user, friend = self.users(2)
        f = self.login(friend)
        c, e = self.bind(user, "<enable xmlns='%s' resume='true'/>" % SM)
        enabled = kid(kid(e, "bound", BIND2), "enabled", SM)
        self.assertEqual(enabled.get("resume"), "true")
        self.assertIsNone(c.features.find("{%s}sm" % SM))
        c.presence()
        c.wait(is_("presence", from_=c.jid))
        self.assertEqual(c.sm_request(), 1)
        f.message(c.jid, "one")
        c.wait(xmppc.body_is("one"))
        c.ack()
        c.sync()
        c.cut()
        d = self.connect()
        e = d.auth2(user, inner="<resume xmlns='%s' previd='%s' h='%d'/>" % (SM, c.sm_id, c.sm_in))
        self.assertIsNotNone(kid(e, "resumed", SM), show(e))

    def test_sm_twice(self):
        c, e = self.bind(self.user(), "<enable xmlns='%s'/>" % SM)
        self.assertIsNone(kid(kid(e, "bound", BIND2), "enabled", SM).get("id"))
        c.send("<enable xmlns='%s'/>" % SM)
        self.assertEqual(local(c.wait(lambda e: nsof(e) == SM)), "failed")

    def test_only_named_features_announced(self):
        f = self.connect().features.find("{%s}authentication/{%s}inline/{%s}bind/{%s}inline" % (SASL2, SASL2, BIND2, BIND2))
        for x in f:
            self.assertEqual(local(x), "feature")
            self.assertIn(x.get("var"), (SM, CARBONS, CSI, "urn:xmpp:mam:2"))

    def test_carbons_and_csi_cannot_fail(self):
        c, e = self.bind(self.user(), "<enable xmlns='%s'/><inactive xmlns='%s'/><x xmlns='urn:example:x'/>" % (CARBONS, CSI))
        self.assertIsNotNone(kid(e, "bound", BIND2))
        c.sync()

    def test_bind_again_is_refused(self):
        c, _ = self.bind(self.user())
        r = c.iq("set", "<bind xmlns='%s'/>" % BIND)
        self.assertEqual(r.get("type"), "error")

    def test_many_sessions(self):
        """max_resources: hibernating ones make room, else nothing is bound and the client may bind by RFC 6120."""
        user = self.user()
        for _ in range(20):
            self.bind(user)
        c = self.connect()
        e = c.auth2(user, inner="<bind xmlns='%s'/>" % BIND2)
        self.assertEqual(local(e), "success")
        self.assertIsNone(kid(e, "bound", BIND2))
        self.assertError(c.bind("x"), "resource-constraint")


class Archive(ServerCase):
    """3.2: the newest id, and no offline messages besides."""
    MAM = "urn:xmpp:mam:2"

    def bind(self, user, inner=""):
        c = self.connect()
        return c, c.auth2(user, inner="<bind xmlns='%s'>%s</bind>" % (BIND2, inner))

    def ends(self, e):
        m = kid(kid(e, "bound", BIND2), "metadata", self.MAM)
        return [None if kid(m, n) is None else kid(m, n).get("id") for n in ("start", "end")]

    def ids(self, c):
        c.send("<iq type='set' id='q'><query xmlns='%s' queryid='f'/></iq>" % self.MAM)
        c.reply("q")
        return [r.get("id") for r in (m.find("{%s}result" % self.MAM) for m in c.seen) if r is not None]

    def test_empty(self):
        self.assertEqual(self.ends(self.bind(self.user())[1]), [None, None])

    def test_ends(self):
        for user in self.users(3):
            f = self.login(self.user())
            for i in range(3):
                f.message(at(user), "archived %d" % i)
            f.message(f.jid, "last")
            f.wait(xmppc.body_is("last"))
            c, e = self.bind(user)
            ids = self.ids(c)
            self.assertEqual(self.ends(e), [ids[0], ids[-1]])
            self.assertEqual(len(ids), 3)

    def test_offline_messages_are_cleared(self):
        user, friend = self.users(2)
        f = self.login(friend)
        f.message(at(user), "in the archive")
        f.message(at(user), "only kept for later", inner="<no-permanent-store xmlns='urn:xmpp:hints'/>")
        xmppc.fence(f, f)
        c, _ = self.bind(user)
        c.presence()
        c.wait(is_("presence", from_=c.jid))
        f.message(c.jid, "live")
        c.wait(xmppc.body_is("live"))
        self.assertEqual([text(m) for m in c.seen if local(m) == "message" and text(m) == "in the archive"], [])
        d = self.login(user)    # nor are they there for others
        xmppc.fence(f, d)
        self.assertEqual([text(m) for m in d.seen if local(m) == "message" and text(m) == "in the archive"], [])

    def test_nothing_falls_between(self):
        """Every message is before <end/>, or is given to the new session: never neither."""
        user, friend = self.users(2)
        f = self.login(friend)
        sent = []
        for _ in range(6):
            stop = threading.Event()

            def talk():
                while not stop.is_set():
                    sent.append("m%d" % len(sent))
                    f.message(at(user), sent[-1])
                    f.sync()
            t = threading.Thread(target=talk)
            t.start()
            try:
                c, e = self.bind(user)
                end = self.ends(e)[1]
                c.presence(priority=5)
                c.wait(is_("presence", from_=c.jid))
            finally:
                stop.set()
                t.join()
            xmppc.fence(f, c)
            given = {text(m) for m in c.seen if local(m) == "message" and text(m)}
            after = "<after>%s</after>" % end if end else ""
            c.send("<iq type='set' id='q'><query xmlns='%s' queryid='f'><set xmlns='http://jabber.org/protocol/rsm'><max>250</max>%s"
                   "</set></query></iq>" % (self.MAM, after))
            c.reply("q")
            behind = [r.find(".//{jabber:client}body").text for r in (m.find("{%s}result" % self.MAM) for m in c.seen) if r is not None]
            self.assertEqual([b for b in behind if b not in given], [])
            c.close()


class NoArchive(ServerCase):
    options = {"top": "archive = false"}

    def bind(self, user, inner):
        c = self.connect()
        c.auth2(user, inner="<bind xmlns='%s'>%s</bind>" % (BIND2, inner), agent=AGENT)
        return c

    def test_earlier_session_that_hibernates_ends(self):
        """What it had not acknowledged goes to the new one."""
        user, friend = self.users(2)
        f = self.login(friend)
        a = self.bind(user, "<enable xmlns='%s' resume='true'/>" % SM)
        a.presence()
        a.wait(is_("presence", from_=a.jid))
        a.auto_ack = False
        f.message(at(user), "unacknowledged")
        a.wait(xmppc.body_is("unacknowledged"))
        a.cut()
        b = self.bind(user, "")
        b.presence()
        b.wait(xmppc.body_is("unacknowledged"))
        self.assertEqual(len([s for s in self.d.ctl("session", "list", json_out=True) if at(user) in str(s)]), 1)

    def test_offline_messages_come(self):
        user, friend = self.users(2)
        f = self.login(friend)
        f.message(at(user), "waited")
        xmppc.fence(f, f)
        c = self.connect()
        e = c.auth2(user, inner="<bind xmlns='%s'/>" % BIND2)
        self.assertIsNone(kid(kid(e, "bound", BIND2), "metadata", "urn:xmpp:mam:2"))
        c.presence()
        c.wait(xmppc.body_is("waited"))


class Reject(ServerCase):
    """resource_conflict = "reject" is about resources clients choose: their own earlier session still goes."""
    options = {"xmpp": 'resource_conflict = "reject"'}

    def test_own_session_is_replaced(self):
        user = self.user()
        a = self.connect()
        a.auth2(user, inner="<bind xmlns='%s'/>" % BIND2, agent=AGENT)
        b = self.connect()
        e = b.auth2(user, inner="<bind xmlns='%s'/>" % BIND2, agent=AGENT)
        self.assertIsNotNone(kid(e, "bound", BIND2), show(e))
        self.assertEqual(a.wait_end(), "conflict")
        self.assertEqual(a.jid, b.jid)


class Waiting(ServerCase):
    """What waited for the account comes behind <success/> and is counted by stream management."""
    def test_offline_messages(self):
        user, friend = self.users(2)
        f = self.login(friend)
        f.message(at(user), "waited")
        xmppc.fence(f, f)
        c = self.connect()
        c.auth2(user, inner="<bind xmlns='%s'><enable xmlns='%s'/></bind>" % (BIND2, SM))
        c.presence()
        c.wait(is_("presence", from_=c.jid))
        c.ack()
        c.sync()
        f.message(c.jid, "live")
        c.wait(xmppc.body_is("live"))
        self.assertGreater(c.sm_request(), 0)


if __name__ == "__main__":
    lab.main()
