"""test_profile - what an account keeps of itself: private XML (0049), bookmarks in three forms (0402, 0048, 0411),
vCard (0054), avatar (0084, 0153, 0398)."""
import base64
import hashlib

import lab
import pubsubc as ps
import xmppc
from case import ServerCase, at
from pubsubc import event
from xmppc import DISCO_INFO, kid, local, show, text

PRIVATE = "jabber:iq:private"
BM = "urn:xmpp:bookmarks:1"
OLD = "storage:bookmarks"
DATA = "urn:xmpp:avatar:data"
META = "urn:xmpp:avatar:metadata"
UPDATE = "vcard-temp:x:update"
OPTIONS = {"persist_items": "true", "max_items": "max", "send_last_published_item": "never", "access_model": "whitelist"}


class Private(ServerCase):
    options = {"top": "private_quota = 5000"}

    def put(self, c, inner, to=None):
        return c.iq("set", "<query xmlns='%s'>%s</query>" % (PRIVATE, inner), to)

    def read(self, c, inner, to=None):
        return c.iq("get", "<query xmlns='%s'>%s</query>" % (PRIVATE, inner), to)

    def test_store_and_read(self):
        a = self.login()
        self.assertResult(self.put(a, "<exodus xmlns='exodus:prefs'><nick a='&lt;'>H&amp;t</nick></exodus>"))
        r = self.read(a, "<exodus xmlns='exodus:prefs'/>", a.bare)
        self.assertEqual(next(r.iter("{exodus:prefs}nick")).text, "H&t")
        self.assertResult(self.put(a, "<exodus xmlns='exodus:prefs'/>"))
        self.assertEqual(list(self.read(a, "<exodus xmlns='exodus:prefs'/>").iter("{exodus:prefs}nick")), [])

    def test_nothing_there(self):
        a = self.login()
        r = self.read(a, "<x xmlns='t:none'/>")
        self.assertResult(r)
        self.assertEqual(len(next(r.iter("{t:none}x"))), 0)

    def test_errors(self):
        a, b = self.login(), self.login()
        self.assertError(self.read(b, "<x xmlns='t:x'/>", a.bare), "forbidden")
        self.assertError(self.put(b, "<x xmlns='t:x'/>", a.bare), "forbidden")
        self.assertError(self.read(a, ""), "bad-request")
        self.assertError(self.put(a, "<x xmlns='jabber:iq:roster'/>"), "not-acceptable")

    def test_quota(self):
        a = self.login()
        self.assertResult(self.put(a, "<x xmlns='t:1'>%s</x>" % ("x" * 3000)))
        self.assertError(self.put(a, "<x xmlns='t:2'>%s</x>" % ("x" * 3000)), "resource-constraint")
        self.assertResult(self.put(a, "<x xmlns='t:1'>%s</x>" % ("y" * 4000)))
        self.assertEqual(next(self.read(a, "<x xmlns='t:2'/>").iter("{t:2}x")).text, None)


class Bookmarks(ServerCase):
    def conference(self, name, inner="", autojoin="true"):
        return "<conference xmlns='%s' name='%s' autojoin='%s'>%s</conference>" % (BM, name, autojoin, inner)

    def old(self, *rooms, rest=""):
        return "<storage xmlns='%s'>%s%s</storage>" % (OLD, "".join(
            "<conference jid='%s' name='%s' autojoin='%s'><nick>N</nick></conference>" % r for r in rooms), rest)

    def private(self, c):
        r = c.iq("get", "<query xmlns='%s'><storage xmlns='%s'/></query>" % (PRIVATE, OLD))
        self.assertResult(r)
        return {x.get("jid"): x for x in r.iter("{%s}conference" % OLD)}

    def new(self, c):
        r = ps.items(c, BM)
        return {i.get("id"): i[0] for i in r.iter("{%s}item" % ps.PUBSUB)}

    def test_announced(self):
        a = self.login()
        q = kid(a.get(DISCO_INFO, to=a.bare), "query", DISCO_INFO)
        features = [f.get("var") for f in q]
        for f in (BM + "#compat", BM + "#compat-pep", "urn:xmpp:bookmarks-conversion:0"):
            self.assertIn(f, features)

    def test_new_to_old(self):
        a = self.login()
        a2 = self.login(a.bare.split("@")[0])
        ps.online(a2, [OLD, BM])
        self.assertResult(ps.publish(a, BM, ps.item("r1@muc.test", self.conference("R 1", "<nick>N</nick><password>p</password>")), options=OPTIONS))
        a2.wait(event(BM))
        e = a2.wait(event(OLD))
        self.assertEqual(next(e.iter("{%s}conference" % OLD)).get("jid"), "r1@muc.test")
        x = self.private(a)["r1@muc.test"]
        self.assertEqual((x.get("name"), x.get("autojoin"), text(x, "nick"), text(x, "password")), ("R 1", "true", "N", "p"))
        r = ps.items(a, OLD)
        self.assertEqual(next(r.iter("{%s}conference" % OLD)).get("name"), "R 1")
        ps.retract(a, BM, "r1@muc.test", notify="true")
        e = a2.wait(event(OLD))
        self.assertEqual(list(e.iter("{%s}conference" % OLD)), [])
        self.assertEqual(self.private(a), {})

    def test_private_to_new(self):
        a = self.login()
        a2 = self.login(a.bare.split("@")[0])
        ps.online(a2, [OLD, BM])
        put = lambda x: a.iq("set", "<query xmlns='%s'>%s</query>" % (PRIVATE, x))
        self.assertResult(put(self.old(("r1@muc.test", "A", "1"), ("R2@MUC.test", "B", "false"))))
        self.assertEqual(sorted(ps.event_ids(a2.wait(event(BM)))), ["r1@muc.test", "r2@muc.test"])
        a2.wait(event(OLD))
        got = self.new(a)
        self.assertEqual(set(got), {"r1@muc.test", "r2@muc.test"})
        self.assertEqual((got["r1@muc.test"].get("name"), got["r1@muc.test"].get("autojoin")), ("A", "true"))
        # one changed, one gone
        self.assertResult(put(self.old(("r1@muc.test", "A2", "1"))))
        self.assertEqual(set(self.new(a)), {"r1@muc.test"})
        self.assertEqual(self.new(a)["r1@muc.test"].get("name"), "A2")
        evs = [a2.wait(event(BM)), a2.wait(event(BM))]
        self.assertEqual([ps.retracted(e) for e in evs if ps.retracted(e)], [["r2@muc.test"]])

    def test_old_pep_to_new(self):
        a = self.login()
        r = ps.publish(a, OLD, ps.item("current", self.old(("r1@muc.test", "A", "1"))),
                       options={"persist_items": "true", "access_model": "whitelist"})
        self.assertResult(r)
        self.assertEqual(set(self.new(a)), {"r1@muc.test"})
        self.assertEqual(set(self.private(a)), {"r1@muc.test"})
        self.assertError(ps.publish(a, OLD, ps.item("current", self.old()), options={"access_model": "open"}), "conflict")
        self.assertEqual(set(self.new(a)), {"r1@muc.test"})

    def test_extensions_stay(self):
        a = self.login()
        ext = "<extensions><state xmlns='t:client' minimized='true'/></extensions>"
        ps.publish(a, BM, ps.item("r1@muc.test", self.conference("A", ext)), options=OPTIONS)
        a.iq("set", "<query xmlns='%s'>%s</query>" % (PRIVATE, self.old(("r1@muc.test", "B", "1"))))
        c = self.new(a)["r1@muc.test"]
        self.assertEqual(c.get("name"), "B")
        self.assertEqual(next(c.iter("{t:client}state")).get("minimized"), "true")

    def test_urls_stay(self):
        a = self.login()
        a.iq("set", "<query xmlns='%s'>%s</query>" % (PRIVATE, self.old(("r1@muc.test", "A", "1"), rest="<url name='W' url='http://w.test'/>")))
        ps.publish(a, BM, ps.item("r2@muc.test", self.conference("B")))
        r = a.iq("get", "<query xmlns='%s'><storage xmlns='%s'/></query>" % (PRIVATE, OLD))
        self.assertEqual(next(r.iter("{%s}url" % OLD)).get("url"), "http://w.test")
        self.assertEqual(len(list(r.iter("{%s}conference" % OLD))), 2)

    def test_nobody_else(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        ps.online(b, [BM, OLD])
        ps.online(a, [OLD])
        ps.publish(a, BM, ps.item("r1@muc.test", self.conference("A")))     # no options at all
        a.wait(event(OLD))      # the older form follows when it is stored
        for n in (BM, OLD):
            self.assertError(ps.items(b, n, to=a.bare), "not-allowed")
            self.assertError(ps.subscribe(b, n, to=a.bare), "not-allowed")
            self.assertError(ps.configure(a, n, {"access_model": "open"}), "not-acceptable")
        b.sync()
        self.assertEqual([show(e) for e in b.drain() if e.find("{%s}event" % ps.EVENT) is not None], [])


class VCard(ServerCase):
    options = {"top": "max_vcard_size = 20000"}

    def put(self, c, inner, to=None):
        return c.iq("set", "<vCard xmlns='vcard-temp'>%s</vCard>" % inner, to)

    def test_set_and_get(self):
        a, b = self.login(), self.login()
        r = a.get("vcard-temp", "vCard")
        self.assertResult(r)
        self.assertEqual(len(kid(r, "vCard", "vcard-temp")), 0)
        self.assertResult(self.put(a, "<FN>Ann &amp; Co</FN>"))
        for c, to in ((a, None), (a, a.bare), (b, a.bare)):
            r = c.get("vcard-temp", "vCard", to=to)
            self.assertEqual(next(r.iter("{vcard-temp}FN")).text, "Ann & Co")
        self.assertEqual(b.get("vcard-temp", "vCard", to=a.bare).get("from"), a.bare)

    def test_others_may_not_set(self):
        a, b = self.login(), self.login()
        self.assertError(self.put(b, "<FN>x</FN>", a.bare), "forbidden")

    def test_none_is_like_nobody(self):
        b, name = self.login(), self.user()
        for to in (at(name), at("nobody-here")):
            self.assertError(b.get("vcard-temp", "vCard", to=to), "service-unavailable")

    def test_while_away(self):
        a, b = self.login(), self.login()
        self.put(a, "<FN>A</FN>")
        a.close()
        self.assertResult(b.get("vcard-temp", "vCard", to=a.bare))

    def test_too_large(self):
        a = self.login()
        self.assertError(self.put(a, "<NOTE>%s</NOTE>" % ("x" * 20000)), "not-acceptable")


class ClosedVCard(ServerCase):
    options = {"top": "public_vcards = false"}

    def test_only_subscribers(self):
        a, b, c = self.login(), self.login(), self.login()
        self.friends(a, b)
        a.iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
        self.assertResult(b.get("vcard-temp", "vCard", to=a.bare))
        self.assertError(c.get("vcard-temp", "vCard", to=a.bare), "service-unavailable")


class Avatar(ServerCase):
    IMAGE = b"\x89PNG not really " * 50
    HASH = hashlib.sha1(IMAGE).hexdigest()
    B64 = base64.b64encode(IMAGE).decode()

    def publish(self, a, access=None):
        opt = {"access_model": access} if access else None
        self.assertResult(ps.publish(a, DATA, ps.item(self.HASH, "<data xmlns='%s'>%s</data>" % (DATA, self.B64)), options=opt))
        self.assertResult(ps.publish(a, META, ps.item(self.HASH, "<metadata xmlns='%s'><info id='%s' bytes='%d' type='image/png'/></metadata>" % (
            META, self.HASH, len(self.IMAGE))), options=opt))

    def photo(self, c, to):
        """The photo in a vCard; None = there is none."""
        r = c.get("vcard-temp", "vCard", to=to)
        v = [e.text for e in r.iter("{vcard-temp}BINVAL")]
        return base64.b64decode(v[0]) if v else None

    def hash_in(self, p):
        x = p.findall("{%s}x" % UPDATE)
        self.assertLessEqual(len(x), 1, show(p))
        return None if not x or kid(x[0], "photo") is None else kid(x[0], "photo").text or ""

    def test_announced(self):
        a = self.login()
        q = kid(a.get(DISCO_INFO, to=a.bare), "query", DISCO_INFO)
        self.assertIn("urn:xmpp:pep-vcard-conversion:0", [f.get("var") for f in q])

    def test_pep_to_vcard(self):
        a, b, c = self.login(), self.login(), self.login()
        self.friends(a, b)
        a.iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
        self.publish(a)
        p = b.wait(lambda e: local(e) == "presence" and e.get("from") == a.jid and self.hash_in(e))
        self.assertEqual(self.hash_in(p), self.HASH)
        self.assertEqual(self.photo(a, a.bare), self.IMAGE)
        self.assertEqual(self.photo(b, a.bare), self.IMAGE)
        # who may not read the avatar does not get it by the vCard
        self.assertEqual(self.photo(c, a.bare), None)
        self.assertEqual(next(c.get("vcard-temp", "vCard", to=a.bare).iter("{vcard-temp}FN")).text, "A")
        ps.publish(a, META, ps.item("x", "<metadata xmlns='%s'/>" % META))
        lab.wait_until(lambda: self.photo(a, a.bare) is None, 5, "the photo is gone")

    def test_open_avatar_is_for_all(self):
        a, c = self.login(), self.login()
        self.publish(a, "open")
        lab.wait_until(lambda: self.photo(c, a.bare) == self.IMAGE, 5, "the photo")

    def test_vcard_to_pep(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        ps.online(b, [META])
        r = a.iq("set", "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>%s\n%s</BINVAL></PHOTO></vCard>" % (self.B64[:40], self.B64[40:]))
        self.assertResult(r)
        e = b.wait(event(META))
        info = next(e.iter("{%s}info" % META))
        self.assertEqual((info.get("id"), info.get("bytes"), info.get("type")), (self.HASH, str(len(self.IMAGE)), "image/png"))
        r = ps.items(b, DATA, to=a.bare, ids=[self.HASH])
        self.assertEqual(base64.b64decode(next(r.iter("{%s}data" % DATA)).text), self.IMAGE)
        p = b.wait(lambda e: local(e) == "presence" and self.hash_in(e))
        self.assertEqual(self.hash_in(p), self.HASH)
        # no loop: nothing more happens
        a.sync()
        xmppc.fence(a, b)
        self.assertEqual([e for e in b.drain() if event(META)(e)], [])
        # the photo goes, and the avatar with it
        self.assertResult(a.iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>"))
        e = b.wait(event(META))
        self.assertEqual(list(e.iter("{%s}info" % META)), [])

    def test_one_element_of_a_client_without_photo(self):
        """XEP-0153: a second one would let readers choose."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.presence(inner="<x xmlns='%s'><photo>aa</photo></x><show>away</show><x xmlns='%s'><photo>bb</photo></x>" % (UPDATE, UPDATE))
        p = b.wait(lambda e: e.get("from") == a.jid)
        self.assertEqual(self.hash_in(p), "aa")
        self.assertEqual(kid(p, "show").text, "away")

    def test_broken_photo(self):
        a = self.login()
        self.assertError(a.iq("set", "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>***</BINVAL></PHOTO></vCard>"), "bad-request")

    def test_wrong_hash(self):
        a = self.login()
        ps.publish(a, DATA, ps.item("0" * 40, "<data xmlns='%s'>%s</data>" % (DATA, self.B64)))
        ps.publish(a, META, ps.item("0" * 40, "<metadata xmlns='%s'><info id='%s' bytes='1' type='image/png'/></metadata>" % (META, "0" * 40)))
        a.sync()
        self.assertEqual(self.photo(a, a.bare), None)

    def test_presence(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        self.publish(a)
        b.wait(lambda e: local(e) == "presence" and self.hash_in(e))

        def said(inner):
            id_ = lab.token("p")
            a.presence(inner=inner, id_=id_)
            return self.hash_in(b.wait(xmppc.is_("presence", id=id_)))
        self.assertEqual(said(""), self.HASH)
        self.assertEqual(said("<x xmlns='%s'/>" % UPDATE), self.HASH)
        self.assertEqual(said("<x xmlns='%s'><photo>%s</photo></x>" % (UPDATE, "f" * 40)), self.HASH)
        self.assertEqual(said("<x xmlns='%s'><photo/></x>" % UPDATE), "")
        a.presence(to=b.jid, id_="dir")
        self.assertEqual(self.hash_in(b.wait(xmppc.is_("presence", id="dir"))), self.HASH)
        # a new session of the account too, after the account was loaded anew
        a2 = self.login(a.bare.split("@")[0])
        p = b.wait(xmppc.is_("presence", from_=a2.jid))
        self.assertEqual(self.hash_in(p), self.HASH)

    def test_no_avatar_no_word(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.presence(id_="plain")
        self.assertIsNone(self.hash_in(b.wait(xmppc.is_("presence", id="plain"))))


if __name__ == "__main__":
    lab.main()
