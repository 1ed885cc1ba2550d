"""test_mam - archives of accounts: XEP-0313, 0441 (preferences), 0431 (full text), 0359 (ids)."""
import datetime
import time

import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import body_is, fence, is_, kid, local, nsof, text

MAM = "urn:xmpp:mam:2"
SID = "urn:xmpp:sid:0"
RSM = "http://jabber.org/protocol/rsm"
FORWARD = "urn:xmpp:forward:0"
HINTS = "urn:xmpp:hints"
FULLTEXT = "{urn:xmpp:fulltext:0}fulltext"
TIME_LIMIT = 600


def form(**fields):
    def values(v):
        return "".join("<value>%s</value>" % xmppc.escape(x) for x in (v if isinstance(v, list) else [v]))
    return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>%s</value></field>%s</x>" % (
        MAM, "".join("<field var='%s'>%s</field>" % (k.replace("_", "-") if k != FULLTEXT else k, values(v)) for k, v in fields.items()))


def rsm(inner):
    return "<set xmlns='%s'>%s</set>" % (RSM, inner)


class Archive(ServerCase):
    def query(self, c, fields=None, page="", extra="", to=None, queryid="q"):
        """([(id, forwarded message)], fin), or the error stanza."""
        r = c.iq("set", "<query xmlns='%s' queryid='%s'>%s%s%s</query>" % (
            MAM, queryid, form(**fields) if fields else "", rsm(page) if page else "", extra), to)
        rows = []
        for m in [e for e in c.seen if local(e) == "message" and kid(e, "result", MAM) is not None]:
            c.seen.remove(m)
            res = kid(m, "result", MAM)
            fwd = kid(res, "forwarded", FORWARD)
            self.assertEqual(res.get("queryid"), queryid)
            self.assertEqual(m.get("from"), to or c.bare)
            self.assertIsNotNone(kid(fwd, "delay", xmppc.DELAY))
            rows.append((res.get("id"), fwd.find("{jabber:client}message")))
        if r.get("type") == "error":
            return r
        return rows, kid(r, "fin", MAM)

    def bodies(self, c, fields=None, page="", extra=""):
        rows, _ = self.query(c, fields, page, extra)
        return [text(m) for _, m in rows]

    def pair(self):
        a, b = self.login(), self.login()
        return a, b

    def talk(self, a, b, *words):
        for w in words:
            a.message(b.bare, w)
        fence(a, b)

    def test_both_sides_keep_it(self):
        a, b = self.pair()
        a.message(b.bare, "hello")
        got = b.wait(body_is("hello"))
        sid = [e for e in got if e.tag == "{%s}stanza-id" % SID]
        self.assertEqual(len(sid), 1)
        self.assertEqual(sid[0].get("by"), b.bare)
        rows, fin = self.query(b)
        self.assertEqual([(i, text(m), m.get("from"), m.get("to")) for i, m in rows],
                         [(sid[0].get("id"), "hello", a.jid, b.bare)])
        self.assertEqual(fin.get("complete"), "true")
        rows, _ = self.query(a)
        self.assertEqual([(text(m), m.get("from"), m.get("to")) for _, m in rows], [("hello", a.jid, b.bare)])
        self.assertNotEqual(rows[0][0], sid[0].get("id"))

    def test_offline_copy_has_the_id(self):
        name, a = self.user(), self.login()
        a.message(at(name), "later")
        settle(a, at(name))
        b = self.login(name)
        got = b.wait(body_is("later"))
        rows, _ = self.query(b)
        self.assertEqual([i for i, _ in rows], [kid(got, "stanza-id", SID).get("id")])

    def test_forged_ids_are_removed(self):
        a, b = self.pair()
        a.message(b.bare, "forged", inner="<stanza-id xmlns='%s' by='%s' id='evil'/><stanza-id xmlns='%s' by='else.where' id='other'/>"
                  "<origin-id xmlns='%s' id='mine'/>" % (SID, b.bare, SID, SID))
        got = b.wait(body_is("forged"))
        ids = {e.get("by"): e.get("id") for e in got if e.tag == "{%s}stanza-id" % SID}
        self.assertNotEqual(ids[b.bare], "evil")
        self.assertEqual(ids["else.where"], "other")
        self.assertEqual(kid(got, "origin-id", SID).get("id"), "mine")
        # also where nothing is kept
        a.message(b.bare, None, inner="<active xmlns='http://jabber.org/protocol/chatstates'/><stanza-id xmlns='%s' by='%s' id='evil'/>" % (SID, b.bare))
        got = b.wait(lambda e: local(e) == "message" and e.find("{http://jabber.org/protocol/chatstates}active") is not None)
        self.assertIsNone(kid(got, "stanza-id", SID))

    def test_what_is_kept(self):
        a, b = self.pair()
        for inner, body, type_, kept in (
                ("", "chat", "chat", True), ("", "normal", None, True), ("", "head", "headline", False),
                ("<no-store xmlns='%s'/>" % HINTS, "hint", "chat", False),
                ("<no-permanent-store xmlns='%s'/>" % HINTS, "hint2", "chat", False),
                ("<store xmlns='%s'/><x xmlns='some:thing'/>" % HINTS, None, "chat", True),
                ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", None, "chat", False),
                ("<received xmlns='urn:xmpp:receipts' id='1'/>", None, "chat", True),
                ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", None, "chat", True),
                ("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", None, "chat", True),
                ("<encrypted xmlns='eu.siacs.conversations.axolotl'/>", None, "chat", True),
                ("<x xmlns='jabber:x:conference' jid='r@c'/>", None, None, True),
                ("<subject>only</subject>", None, "chat", False)):
            before = len(self.query(b)[0])
            a.message(b.bare, body, type_, inner)
            settle(a, b.bare)
            b.drain()
            self.assertEqual(len(self.query(b)[0]) - before, int(kept), (inner, body, type_))
            b.drain()

    def test_own_notes_once(self):
        a = self.login()
        a.message(a.bare, "note")
        a.wait(body_is("note"))
        self.assertEqual(self.bodies(a), ["note"])
        self.assertEqual(self.bodies(a, {"with": a.bare}), ["note"])
        self.login(a.bare.partition("@")[0], "two")

    def test_with(self):
        a, b = self.pair()
        c = self.login()
        self.talk(a, b, "ab")
        self.talk(a, c, "ac")
        b.message(a.jid, "ba")
        a.wait(body_is("ba"))
        fence_words = [w for w in self.bodies(a) if w.startswith("fence")]
        self.assertEqual([w for w in self.bodies(a, {"with": b.bare}) if w not in fence_words], ["ab", "ba"])
        self.assertEqual([w for w in self.bodies(a, {"with": b.jid}) if w not in fence_words], ["ba"])
        self.assertEqual([w for w in self.bodies(a, {"with": c.bare}) if w not in fence_words], ["ac"])
        self.assertEqual(self.bodies(a, {"with": "nobody@else.where"}), [])
        self.assertError(self.query(a, {"with": "@@"}), "jid-malformed")

    def test_pages(self):
        a, b = self.pair()
        words = ["w%02d" % i for i in range(25)]
        for w in words:
            a.message(b.bare, w)
        settle(a, b.bare)
        b.drain()
        got, after = [], ""
        for turn in range(10):
            rows, fin = self.query(b, page="<max>10</max>" + after)
            got += [text(m) for _, m in rows]
            s = kid(fin, "set", RSM)
            self.assertEqual((text(s, "first"), text(s, "last")), (rows[0][0], rows[-1][0]))
            if fin.get("complete") == "true":
                break
            after = "<after>%s</after>" % rows[-1][0]
        self.assertEqual((got, turn), (words, 2))
        # backwards
        rows, fin = self.query(b, page="<max>10</max><before/>")
        self.assertEqual([text(m) for _, m in rows], words[15:])
        self.assertNotEqual(fin.get("complete"), "true")
        rows, _ = self.query(b, page="<max>10</max><before>%s</before>" % rows[0][0])
        self.assertEqual([text(m) for _, m in rows], words[5:15])
        rows, fin = self.query(b, page="<max>10</max><before>%s</before>" % rows[0][0])
        self.assertEqual(([text(m) for _, m in rows], fin.get("complete")), (words[:5], "true"))
        # flipped: the same page, the other way round
        rows, fin = self.query(b, page="<max>3</max>", extra="<flip-page/>")
        self.assertEqual([text(m) for _, m in rows], words[2::-1])
        self.assertEqual(text(kid(fin, "set", RSM), "first"), rows[-1][0])
        # only the count
        rows, fin = self.query(b, page="<max>0</max>")
        self.assertEqual((rows, text(kid(fin, "set", RSM), "count")), ([], "25"))
        # nothing behind the last
        last = self.query(b, page="<max>1</max><before/>")[0][0][0]
        rows, fin = self.query(b, page="<after>%s</after>" % last)
        self.assertEqual((rows, fin.get("complete")), ([], "true"))

    def test_ids(self):
        a, b = self.pair()
        for w in ("one", "two", "three"):
            a.message(b.bare, w)
        settle(a, b.bare)
        rows, _ = self.query(b)
        ids = [i for i, _ in rows]
        self.assertEqual(self.bodies(b, {"after_id": ids[0]}), ["two", "three"])
        self.assertEqual(self.bodies(b, {"before_id": ids[2]}), ["one", "two"])
        self.assertEqual(self.bodies(b, {"after_id": ids[0], "before_id": ids[2]}), ["two"])
        self.assertEqual(self.bodies(b, {"ids": [ids[2], ids[0]]}), ["one", "three"])
        other = self.query(a)[0][0][0]
        for bad in ("nonsense", "0" * 32, other):
            for q in ({"after_id": bad}, {"before_id": bad}, {"ids": [ids[0], bad]}):
                self.assertError(self.query(b, q), "item-not-found")
            self.assertError(self.query(b, page="<after>%s</after>" % bad), "item-not-found")
            self.assertError(self.query(b, page="<before>%s</before>" % bad), "item-not-found")

    def test_times(self):
        a, b = self.pair()
        self.talk(a, b, "early")
        time.sleep(0.01)        # the clock itself is what is tested
        mid = datetime.datetime.now(datetime.timezone.utc)
        time.sleep(0.01)
        self.talk(a, b, "late")
        for stamp in (mid.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                      mid.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30))).isoformat(timespec="microseconds")):
            self.assertIn("late", self.bodies(b, {"start": stamp}))
            self.assertNotIn("early", self.bodies(b, {"start": stamp}))
            self.assertIn("early", self.bodies(b, {"end": stamp}))
            self.assertNotIn("late", self.bodies(b, {"end": stamp}))
        for bad in ("yesterday", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00"):
            self.assertError(self.query(b, {"start": bad}), "bad-request")

    def test_full_text(self):
        a, b = self.pair()
        for w in ("The Quick brown fox", "lazy dog & cat", "quick dog"):
            a.message(b.bare, w)
        settle(a, b.bare)
        b.drain()
        self.assertEqual(self.bodies(b, {FULLTEXT: "quick"}), ["The Quick brown fox", "quick dog"])
        self.assertEqual(self.bodies(b, {FULLTEXT: "dog quick"}), ["quick dog"])
        self.assertEqual(self.bodies(b, {FULLTEXT: "& cat"}), ["lazy dog & cat"])
        self.assertEqual(self.bodies(b, {FULLTEXT: "message"}), [])
        rows, fin = self.query(b, {FULLTEXT: "dog"}, page="<max>1</max>")
        self.assertEqual(([text(m) for _, m in rows], fin.get("complete")), (["lazy dog & cat"], None))

    def test_form_and_unknown_fields(self):
        a = self.login()
        r = a.iq("get", "<query xmlns='%s'/>" % MAM)
        names = {f.get("var"): f.get("type") for f in r.iter("{jabber:x:data}field")}
        self.assertEqual(names["with"], "jid-single")
        self.assertEqual(names["start"], "text-single")
        self.assertEqual(names["ids"], "list-multi")
        self.assertIn(FULLTEXT, names)
        self.assertIsNotNone(r.find(".//{http://jabber.org/protocol/xdata-validate}open"))
        self.assertError(self.query(a, {"colour": "red"}), "feature-not-implemented")
        r = a.iq("set", "<query xmlns='%s'><x xmlns='jabber:x:data' type='submit'><field var='with'><value>a@b</value></field></x></query>" % MAM)
        self.assertError(r, "bad-request")

    def test_metadata(self):
        a, b = self.pair()
        r = b.iq("get", "<metadata xmlns='%s'/>" % MAM)
        self.assertEqual(len(kid(r, "metadata", MAM)), 0)
        self.talk(a, b, "x", "y")
        rows, _ = self.query(b)
        m = kid(b.iq("get", "<metadata xmlns='%s'/>" % MAM), "metadata", MAM)
        self.assertEqual((kid(m, "start").get("id"), kid(m, "end").get("id")), (rows[0][0], rows[-1][0]))
        self.assertRegex(kid(m, "end").get("timestamp"), r"^\d{4}-\d\d-\d\dT.*Z$")

    def test_only_the_owner(self):
        a, b = self.pair()
        for payload in ("<query xmlns='%s'/>", "<prefs xmlns='%s' default='never'/>"):
            self.assertError(a.iq("set", payload % MAM, b.bare), ("forbidden", "service-unavailable"))
            self.assertError(a.iq("set", payload % MAM, at("nobody-at-all")), ("forbidden", "service-unavailable"))
        # to the own address it is the same as without
        self.assertResult(a.iq("set", "<query xmlns='%s'/>" % MAM, a.bare))

    def test_features(self):
        a = self.login()

        def features(jid):
            r = a.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", jid)
            return {f.get("var") for f in r.iter("{http://jabber.org/protocol/disco#info}feature")}
        self.assertLessEqual({MAM, MAM + "#extended", SID, "urn:xmpp:fulltext:0"}, features(a.bare))
        # some clients ask the server only
        self.assertLessEqual({MAM, MAM + "#extended"}, features(lab.DOMAIN))

    def test_preferences(self):
        a, b = self.pair()
        c = self.login()
        p = kid(a.iq("get", "<prefs xmlns='%s'/>" % MAM), "prefs", MAM)
        self.assertEqual((p.get("default"), len(kid(p, "always")), len(kid(p, "never"))), ("always", 0, 0))

        def prefs(default, always="", never=""):
            r = b.iq("set", "<prefs xmlns='%s' default='%s'><always>%s</always><never>%s</never></prefs>" % (
                MAM, default, always and "<jid>%s</jid>" % always, never and "<jid>%s</jid>" % never))
            self.assertResult(r)
            p = kid(r, "prefs", MAM)
            self.assertEqual(p.get("default"), default)
            self.assertEqual([j.text for j in kid(p, "never")], [never] if never else [])

        def kept(sender):
            word = lab.token("p")
            sender.message(b.bare, word)
            b.wait(body_is(word))
            return word in self.bodies(b, {"with": sender.bare}, "<max>5</max><before/>")
        prefs("never")
        self.assertFalse(kept(a))
        prefs("never", always=a.bare)
        self.assertTrue(kept(a))
        self.assertFalse(kept(c))
        prefs("always", never=c.jid)
        self.assertTrue(kept(a))
        self.assertFalse(kept(c))
        prefs("roster")
        self.assertFalse(kept(a))
        self.assertResult(b.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s'/></query>" % a.bare))
        self.assertTrue(kept(a))
        for bad in ("<prefs xmlns='%s' default='sometimes'/>" % MAM, "<prefs xmlns='%s'/>" % MAM):
            self.assertError(b.iq("set", bad), "bad-request")

    def test_page_is_capped(self):
        a, b = self.pair()
        a.send("".join("<message type='chat' to='%s'><body>n%d</body></message>" % (b.bare, i) for i in range(300)))
        b.wait_all(lambda e: local(e) == "message" and text(e), 300)
        rows, fin = self.query(b, page="<max>100000</max>")
        self.assertEqual(len(rows), 250)
        self.assertIsNone(fin.get("complete"))


class Restart(lab.Case):
    """SIGKILL: what was acknowledged is in both archives, once."""

    def test_no_hole_no_double(self):
        d = self.lab.daemon(lab.token("d"), accounts=["alice", "bob"], milter=False)
        self.addCleanup(d.stop_quietly)
        a = xmppc.login(d.c2s_port, "alice", sm=True)
        b = xmppc.login(d.c2s_port, "bob")
        a.auto_ack = True
        for start in range(0, 400, 50):
            a.send("".join("<message type='chat' to='bob@%s' id='k%d'><body>k%d</body></message>" % (lab.DOMAIN, i, i)
                           for i in range(start, start + 50)) + "<r xmlns='%s'/>" % xmppc.SM)
        acked = 0
        while acked < 150:
            acked = a.sm_request()
        d.kill()
        b.cut()
        try:
            while not a.eof:
                a.pump(1)
        except AssertionError:
            pass
        # the initial presence is one of those counted
        promised = ["k%d" % i for i in range(a.sm_acked - 1)]
        self.assertGreater(len(promised), 100)
        d.start()
        for user in ("alice", "bob"):
            c = xmppc.login(d.c2s_port, user)
            self.addCleanup(c.close)
            got, after = [], ""
            while True:
                r = c.iq("set", "<query xmlns='%s'>%s</query>" % (MAM, rsm("<max>200</max>" + after)))
                rows = [kid(m, "result", MAM) for m in c.seen if local(m) == "message" and kid(m, "result", MAM) is not None]
                c.seen.clear()
                got += [text(x.find("{%s}forwarded/{jabber:client}message" % FORWARD)) for x in rows]
                if kid(r, "fin", MAM).get("complete") == "true":
                    break
                after = "<after>%s</after>" % rows[-1].get("id")
            self.assertEqual(len(got), len(set(got)), "doubles in the archive of " + user)
            self.assertEqual([w for w in promised if w not in got], [], "holes in the archive of " + user)
            self.assertEqual(got, sorted(got, key=lambda w: int(w[1:])))


if __name__ == "__main__":
    lab.main()
