"""What other specifications add to rooms, by their text: XEP-0410, 0421, 0424, 0425, 0313, 0317, 0433, 0486; and
XEP-0045 with several sessions of one user."""
import base64
import hashlib
import unittest

import lab
import xmppc
from muclab import ADMIN, CONF, FORM, INFO, MUC, OCCUPANT_ID, SERVICE, SID, USER, codes, config, form_of, item, ranks, submit, x_user
from test_spec_muc import Case
from xmppc import DELAY, DISCO_INFO, DISCO_ITEMS, PING, error_of, is_, kid, local, show, text

RETRACT = "urn:xmpp:message-retract:1"
MODERATE = "urn:xmpp:message-moderate:1"
MAM = "urn:xmpp:mam:2"
FORWARD = "urn:xmpp:forward:0"
HATS = "urn:xmpp:hats:0"
HATS_CMD = "urn:xmpp:hats:commands"
COMMANDS = "http://jabber.org/protocol/commands"
SEARCH = "urn:xmpp:channel-search:0:search"
PARAMS = SEARCH + "-params"
SEARCH_ERR = "urn:xmpp:channel-search:0:error"
ORDER = "{urn:xmpp:channel-search:0:order}"
RSM = "http://jabber.org/protocol/rsm"


def stanza_id(m, room):
    return m.find("{%s}stanza-id[@by='%s']" % (SID, room)).get("id")


def occupant_ids(e):
    return [o.get("id") for o in e.findall("{%s}occupant-id" % OCCUPANT_ID)]


class Sessions(Case):
    """Several sessions of one user (XEP-0045 7.2.8 and section 17)."""

    def pair(self, room, nicks=("n", "n")):
        name = self.user()
        out = [self.login(name, r) for r in ("a", "b")]
        for c, n in zip(out, nicks):
            self.join(c, room, n)
        self.calm(room, *out)
        return out

    def test_kick_takes_all_sessions_of_the_nick(self):
        room, o = self.hall()
        a, b = self.pair(room)
        self.calm(room, o)
        self.assertResult(self.role(o, room, "n", "none"))
        for c in (a, b):
            self.assertIn(307, codes(self.seen(c, room, "n", type_="unavailable")))
        gone = [p for p in self.rest(o, room) if p.get("type") == "unavailable"]
        self.assertTrue(gone)
        for c in (a, b):
            self.say(c, room, "x")
            self.assertError(c.wait(is_("message", type_="error")), "not-acceptable")

    def test_nick_change_of_one_session(self):
        room, o = self.hall()
        a, b = self.pair(room)
        a.presence(to=room + "/m")
        self.seen(a, room, "m")
        self.quiet(b, room)
        # whatever becomes of b, both can speak, and the others see who they are
        self.say(a, room, "from a")
        self.say(b, room, "from b")
        na = self.hear(o, "from a").get("from")
        self.assertEqual(na, room + "/m")
        nb = self.hear(o, "from b").get("from")
        here = {p.get("from") for p in self.roster(room)}
        self.assertTrue({na, nb} <= here, (na, nb, here))

    def roster(self, room):
        c = self.login()
        self.join(c, room, "census")
        return c.entry

    def test_presence_of_both(self):
        room, o = self.hall()
        a, b = self.pair(room)
        self.calm(room, o)
        b.send("<presence to='%s/n'><show>away</show></presence>" % room)
        self.quiet(b, room)
        b.presence("unavailable", room + "/n")
        b.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable" and 110 in codes(e))
        got = [p for p in self.rest(o, room) if local(p) == "presence"]
        self.assertEqual([show(p) for p in got if p.get("type") == "unavailable"], [])
        entry = [p for p in self.roster(room) if p.get("from") == room + "/n"]
        self.assertEqual([text(p, "show") for p in entry], [None])

    def test_self_presence_of_both_has_110(self):
        room, o = self.hall()
        a, b = self.pair(room)
        self.affiliate(o, room, a.bare, "member")
        for c in (a, b):
            p = self.seen(c, room, "n")
            self.assertEqual(ranks(p), ("member", "participant"))
            self.assertIn(110, codes(p))

    def test_two_nicks_of_one_user(self):
        room, o = self.hall()
        a, b = self.pair(room, ("n1", "n2"))
        self.calm(room, o)
        self.say(a, room, "one")
        self.assertEqual(self.hear(b, "one").get("from"), room + "/n1")
        self.affiliate(o, room, a.bare, "member")
        self.assertEqual(ranks(self.seen(o, room, "n1"))[0], "member")
        self.assertEqual(ranks(self.seen(o, room, "n2"))[0], "member")
        # a takes the nick of b: allowed or refused, but consistent
        a.presence(to=room + "/n2")
        e = a.wait(lambda e: local(e) == "presence" and e.get("from") == room + "/n2")
        self.assertIn(e.get("type"), (None, "error"))

    def test_nicks_are_compared_by_their_profile(self):
        room, o = self.hall()
        c = self.person(1)
        for other in ("\uff4f\uff57\uff4e\uff45\uff52", "owner\u00ad"):
            c.send("<presence to='%s/%s'><x xmlns='%s'/></presence>" % (room, other, MUC))
            e = c.wait(lambda e: local(e) == "presence" and (e.get("type") == "error" or 110 in codes(e)))
            if e.get("type") != "error":        # resourceprep maps some, PRECIS refuses others: never two of one look
                self.assertNotEqual(e.get("from"), room + "/owner")
                self.leave(c, room, e.get("from").partition("/")[2])

    def test_room_names_are_folded(self):
        room, o = self.hall()
        c = self.person(1)
        e = self.join(c, room.upper().replace(SERVICE.upper(), SERVICE), "c") if False else None
        c.send("<presence to='%s/c'><x xmlns='%s'/></presence>" % (room.partition("@")[0].upper() + "@MUC.LAB.TEST", MUC))
        p = c.wait(lambda e: local(e) == "presence" and 110 in codes(e))
        self.assertEqual(p.get("from"), room + "/c")
        self.assertIsNone(e)

    def test_private_message_to_oneself(self):
        room, o = self.hall()
        o.message(room + "/owner", "note", "chat")
        self.assertEqual(self.hear(o, "note").get("from"), room + "/owner")

    def test_carbons_do_not_double_groupchat(self):
        room, o = self.hall()
        a, b = self.pair(room, ("n1", "n2"))
        for c in (a, b):
            self.assertResult(c.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>"))
        self.say(o, room, "once")
        self.hear(a, "once")
        self.assertEqual([m for m in self.rest(a, room) if local(m) == "message"], [])

    def test_0280_carbons_of_private_messages(self):
        """XEP-0280 6.1: a private message the client sent is carbon copied, one it received is not."""
        room, o = self.hall()
        name = self.user()
        a, b = self.login(name, "a"), self.login(name, "b")
        for c in (a, b):
            self.assertResult(c.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>"))
        self.join(a, room, "n")
        o.message(room + "/n", "psst", "chat")
        self.hear(a, "psst")
        b.sync()
        self.assertEqual([show(m) for m in b.drain() if local(m) == "message"], [])


class SelfPing(Case):
    """XEP-0410."""

    def ping(self, c, to):
        return c.iq("get", "<ping xmlns='%s'/>" % PING, to)

    def test_feature(self):
        room, o = self.hall()
        self.assertIn(MUC + "#self-ping-optimization", self.features(o, room))

    def test_joined(self):
        room, o = self.hall()
        r = self.ping(o, room + "/owner")
        self.assertResult(r)
        self.assertEqual(r.get("from"), room + "/owner")

    def test_not_joined(self):
        room, o = self.hall()
        c = self.person(1)
        e = self.ping(c, room + "/c")
        self.assertError(e, "not-acceptable", "cancel")
        self.assertEqual(kid(e, "error").get("by"), room)
        self.assertError(self.ping(c, room + "/owner"), "not-acceptable", "cancel")

    def test_no_room(self):
        c, = self.people(1)
        e = self.ping(c, self.room() + "/c")
        self.assertIn(error_of(e)[1], ("not-acceptable", "item-not-found"))

    def test_other_session_of_the_user(self):
        room, o = self.hall()
        name = self.user()
        a, b = self.login(name), self.login(name)
        self.join(a, room, "n")
        self.assertError(self.ping(b, room + "/n"), "not-acceptable")
        self.assertResult(self.ping(a, room + "/n"))

    def test_after_leaving(self):
        room, o, c = self.hall("c")
        self.assertResult(self.ping(c, room + "/c"))
        self.leave(c, room, "c")
        self.assertError(self.ping(c, room + "/c"), "not-acceptable")

    def test_ping_of_the_room_itself(self):
        room, o = self.hall()
        self.assertResult(self.ping(o, room))

    def test_ping_of_another_occupant(self):
        room, o, c = self.hall("c")
        id_ = c.new_id()
        c.send("<iq type='get' id='%s' to='%s/owner'><ping xmlns='%s'/></iq>" % (id_, room, PING))
        q = o.wait(lambda e: local(e) == "iq" and e.find("{%s}ping" % PING) is not None)
        o.send("<iq type='result' id='%s' to='%s'/>" % (q.get("id"), q.get("from")))
        self.assertResult(c.reply(id_))


class OccupantId(Case):
    """XEP-0421."""

    def test_features(self):
        room, o = self.hall()
        self.assertIn(OCCUPANT_ID, self.features(o, room))
        self.assertIn(OCCUPANT_ID, self.features(o, SERVICE))       # forced for all rooms

    def test_stable_unique_and_everywhere(self):
        room, o, a = self.hall("a")
        c = self.person(2)
        e = self.join(c, room, "c")
        mine = occupant_ids(e)
        self.assertEqual(len(mine), 1)
        self.assertLessEqual(len(mine[0]), 128)
        for p in c.entry:
            self.assertEqual(len(occupant_ids(p)), 1)
        self.assertEqual(len({occupant_ids(p)[0] for p in c.entry}), 3)
        self.say(c, room, "hello")
        self.assertEqual(occupant_ids(self.hear(a, "hello")), mine)
        c.message(room + "/a", "psst", "chat")
        self.assertEqual(occupant_ids(self.hear(a, "psst")), mine)
        c.presence(to=room + "/c2")
        self.assertEqual(occupant_ids(self.seen(a, room, "c", type_="unavailable")), mine)
        self.assertEqual(occupant_ids(self.seen(a, room, "c2")), mine)
        c.message(room, None, "groupchat", "<subject>s</subject>") if False else None
        self.leave(c, room, "c2")
        c.drain()
        self.assertEqual(occupant_ids(self.seen(a, room, "c2", type_="unavailable")), mine)
        self.assertEqual(occupant_ids(self.join(c, room, "again")), mine)
        self.assertEqual([occupant_ids(m) for m in c.history], [mine])

    def test_other_room_other_id(self):
        room, o = self.hall()
        room2 = self.create(o, self.room(), "o")
        c = self.person(1)
        x, y = occupant_ids(self.join(c, room, "c")), occupant_ids(self.join(c, room2, "c"))
        self.assertNotEqual(x, y)

    def test_forged_ones_are_replaced(self):
        room, o = self.hall()
        c = self.person(1)
        self.enter(c, room, "c", presence="<occupant-id xmlns='%s' id='forged'/><occupant-id xmlns='%s' id='forged2'/>" % (OCCUPANT_ID, OCCUPANT_ID))
        p = self.seen(o, room, "c")
        self.assertEqual(len(occupant_ids(p)), 1)
        self.assertNotIn("forged", occupant_ids(p)[0])
        self.say(c, room, "m", "<occupant-id xmlns='%s' id='forged'/>" % OCCUPANT_ID)
        self.assertEqual(occupant_ids(self.hear(o, "m")), occupant_ids(p))

    def test_kick_and_ban(self):
        room, o, c = self.hall("c")
        self.assertResult(self.role(o, room, "c", "none"))
        self.assertEqual(len(occupant_ids(self.seen(o, room, "c", type_="unavailable"))), 1)

    def test_0359_forged_stanza_id(self):
        room, o, c = self.hall("c")
        self.say(c, room, "m", "<stanza-id xmlns='%s' by='%s' id='forged'/><stanza-id xmlns='%s' by='other@x.example' id='theirs'/>"
                 "<origin-id xmlns='%s' id='orig'/>" % (SID, room, SID, SID))
        m = self.hear(o, "m")
        ids = [s.get("id") for s in m.findall("{%s}stanza-id[@by='%s']" % (SID, room))]
        self.assertEqual(len(ids), 1)
        self.assertNotEqual(ids[0], "forged")
        self.assertEqual(kid(m, "origin-id", SID).get("id"), "orig")


class Retraction(Case):
    """XEP-0424 and XEP-0425."""

    def spoken(self, c, o, room, body):
        self.say(c, room, body)
        return stanza_id(self.hear(o, body), room)

    def moderate(self, c, room, id_, reason=True):
        return c.iq("set", "<moderate xmlns='%s' id='%s'><retract xmlns='%s'/>%s</moderate>" % (
            MODERATE, id_, RETRACT, "<reason>Inappropriate</reason>" if reason else ""), room)

    def history(self, c, room):
        c.drain()
        r = c.iq("set", "<query xmlns='%s' queryid='h'/>" % MAM, room)
        self.assertResult(r)
        return [m.find("{%s}result" % MAM) for m in c.drain() if local(m) == "message" and m.find("{%s}result" % MAM) is not None]

    def test_feature(self):
        room, o = self.hall()
        f = self.features(o, room)
        self.assertIn(MODERATE, f)
        self.assertIn(RETRACT, f)

    def test_example_4_moderation(self):
        room, o, a = self.hall("oldhag")
        id_ = self.spoken(a, o, room, "DM me for potions")
        self.hear(a, "DM me for potions")
        r = self.moderate(o, room, id_)
        self.assertResult(r)
        self.assertEqual(len(r), 0)
        for c in (o, a):
            m = c.wait(lambda e: local(e) == "message" and e.find("{%s}retract" % RETRACT) is not None)
            self.assertEqual((m.get("from"), m.get("type")), (room, "groupchat"))
            t = m.find("{%s}retract" % RETRACT)
            self.assertEqual(t.get("id"), id_)
            d = t.find("{%s}moderated" % MODERATE)
            self.assertEqual(d.get("by"), room + "/owner")
            self.assertEqual(len(d.findall("{%s}occupant-id" % OCCUPANT_ID)), 1)
            self.assertEqual(text(t, "reason"), "Inappropriate")
        # joins show it no more
        c = self.person(2)
        self.join(c, room, "c")
        self.assertNotIn("DM me for potions", [text(m) for m in c.history])
        # the archive has a tombstone in its place, and the retraction itself
        res = self.history(o, room)
        tomb = [x for x in res if x.get("id") == id_][0]
        self.assertNotIn("DM me", show(tomb))
        t = next(tomb.iter("{%s}retracted" % RETRACT))
        self.assertIsNotNone(t.get("stamp"))
        self.assertIsNotNone(t.find("{%s}moderated" % MODERATE))
        self.assertTrue([x for x in res if next(x.iter("{%s}retract" % RETRACT), None) is not None])

    def test_example_7_not_a_moderator(self):
        room, o, a, b = self.hall("a", "b")
        id_ = self.spoken(a, o, room, "fine")
        self.assertError(self.moderate(b, room, id_), "forbidden")
        c = self.person(3)
        self.assertError(self.moderate(c, room, id_), ("forbidden", "not-acceptable"))

    def test_no_such_message(self):
        room, o = self.hall()
        self.assertError(self.moderate(o, room, "12345"), "item-not-found")
        self.assertError(o.iq("set", "<moderate xmlns='%s'><retract xmlns='%s'/></moderate>" % (MODERATE, RETRACT), room), ("bad-request", "item-not-found"))

    def test_moderated_is_not_for_occupants(self):
        room, o, a = self.hall("a")
        id_ = self.spoken(o, a, room, "mine")
        a.send("<message type='groupchat' to='%s' id='f'><body>fallback</body><retract xmlns='%s' id='%s'><moderated xmlns='%s' by='%s/owner'/></retract>"
               "</message>" % (room, RETRACT, id_, MODERATE, room))
        self.quiet(a, room)
        for m in self.rest(o, room):
            self.assertIsNone(next(m.iter("{%s}moderated" % MODERATE), None), show(m))

    def test_0424_own_retraction(self):
        room, o, a = self.hall("a")
        id_ = self.spoken(a, o, room, "oops")
        a.send("<message type='groupchat' to='%s' id='r1'><retract xmlns='%s' id='%s'/><body>/me retracted</body>"
               "<fallback xmlns='urn:xmpp:fallback:0' for='%s'/></message>" % (room, RETRACT, id_, RETRACT))
        m = o.wait(lambda e: local(e) == "message" and e.find("{%s}retract" % RETRACT) is not None)
        self.assertEqual(m.get("from"), room + "/a")
        c = self.person(2)
        self.join(c, room, "c")
        self.assertNotIn("oops", [text(m) for m in c.history])
        res = self.history(o, room)
        tomb = [x for x in res if x.get("id") == id_][0]
        if "#tombstone" in " ".join(self.features(o, room)):
            t = next(tomb.iter("{%s}retracted" % RETRACT))
            self.assertEqual(t.get("id"), "r1")
            self.assertIsNotNone(t.get("stamp"))
            self.assertNotIn("oops", show(tomb))

    def test_0424_of_another(self):
        room, o, a, b = self.hall("a", "b")
        id_ = self.spoken(a, o, room, "mine")
        b.send("<message type='groupchat' to='%s' id='r1'><retract xmlns='%s' id='%s'/><body>x</body></message>" % (room, RETRACT, id_))
        self.quiet(b, room)
        c = self.person(3)
        self.join(c, room, "c")
        self.assertIn("mine", [text(m) for m in c.history])
        self.assertIn("mine", [b.text for x in self.history(o, room) for b in x.iter("{jabber:client}body")])

    def test_0424_without_a_body_is_archived(self):
        room, o, a = self.hall("a")
        id_ = self.spoken(a, o, room, "oops2")
        a.send("<message type='groupchat' to='%s' id='r2'><retract xmlns='%s' id='%s'/></message>" % (room, RETRACT, id_))
        self.quiet(a, room)
        res = self.history(o, room)
        self.assertTrue([x for x in res if next(x.iter("{%s}retract" % RETRACT), None) is not None])


class Archive(Case):
    """XEP-0313 6.1.2."""

    def query(self, c, room, fields=None, rsm="", inner=""):
        c.drain()
        form = submit(fields, MAM) if fields else ""
        r = c.iq("set", "<query xmlns='%s' queryid='q1'>%s%s%s</query>" % (MAM, form, rsm, inner), room)
        out = [m for m in c.drain() if local(m) == "message" and m.find("{%s}result" % MAM) is not None]
        return r, out

    def msg(self, m):
        return m.find("{%s}result/{%s}forwarded/{jabber:client}message" % (MAM, FORWARD))

    def bodies(self, out):
        return [text(self.msg(m)) for m in out]

    def test_feature(self):
        room, o = self.hall()
        f = self.features(o, room)
        self.assertIn(MAM, f)
        self.assertIn(SID, f)

    def test_form(self):
        room, o = self.hall()
        r = o.iq("get", "<query xmlns='%s'/>" % MAM, room)
        self.assertResult(r)
        self.assertTrue({"FORM_TYPE", "with", "start", "end"} <= set(form_of(r)))

    def test_result(self):
        room, o, a = self.hall("a", whois="moderators")
        self.say(o, room, "one")
        self.hear(a, "one")
        id_ = self.say(a, room, "two")
        sid = stanza_id(self.hear(a, "two"), room)
        a.message(room + "/owner", "private", "chat")
        o.message(room, None, "groupchat", "<subject>subj</subject>")
        a.send("<message type='groupchat' to='%s'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>" % room)
        self.calm(room, o, a)
        r, out = self.query(a, room)
        self.assertResult(r)
        self.assertEqual(kid(r, "fin", MAM).get("complete"), "true")
        bodies = self.bodies(out)
        self.assertEqual([b for b in bodies if b], ["one", "two"])
        self.assertIn("subj", [text(self.msg(m), "subject") for m in out])
        two = [m for m in out if text(self.msg(m)) == "two"][0]
        self.assertEqual(two.get("from"), room)
        self.assertEqual(two.find("{%s}result" % MAM).get("id"), sid)
        self.assertEqual(two.find("{%s}result" % MAM).get("queryid"), "q1")
        inner = self.msg(two)
        self.assertEqual((inner.get("from"), inner.get("to"), inner.get("type"), inner.get("id")), (room + "/a", None, "groupchat", id_))
        self.assertIsNotNone(two.find("{%s}result/{%s}forwarded/{%s}delay" % (MAM, FORWARD, DELAY)))
        self.assertEqual(len(inner.findall("{%s}occupant-id" % OCCUPANT_ID)), 1)
        self.assertIsNone(x_user(inner), "a participant of a semi-anonymous room sees no JID")
        # a moderator does
        r, out = self.query(o, room)
        two = self.msg([m for m in out if text(self.msg(m)) == "two"][0])
        self.assertEqual(item(two).get("jid"), a.jid)

    def test_nonanonymous_shows_the_jid(self):
        room, o, a = self.hall("a", whois="anyone")
        self.say(o, room, "one", "<x xmlns='%s'><item jid='forged@x.example/y'/></x>" % USER)
        self.quiet(o, room)
        r, out = self.query(a, room)
        m = self.msg(out[-1])
        self.assertEqual(len(m.findall("{%s}x" % USER)), 1)
        self.assertEqual(item(m).get("jid"), o.jid)

    def test_access(self):
        room, o = self.hall()
        c = self.person(1)
        self.say(o, room, "x")
        self.quiet(o, room)
        r, out = self.query(c, room)
        self.assertResult(r)
        self.assertEqual(self.bodies(out), ["x"])
        self.affiliate(o, room, c.bare, "outcast")
        self.assertError(self.query(c, room)[0], "forbidden")
        self.affiliate(o, room, c.bare, "none")
        self.assertResult(self.owner(o, room, config(membersonly=1)))
        self.assertIn(error_of(self.query(c, room)[0])[1], ("forbidden", "not-allowed", "registration-required"))
        self.assertResult(self.owner(o, room, config(membersonly=0, passwordprotectedroom=1, roomsecret="x")))
        self.assertIsNotNone(error_of(self.query(c, room)[0]))
        self.assertResult(self.query(o, room)[0])

    def test_with(self):
        room, o, a = self.hall("a", whois="anyone")
        self.say(o, room, "one")
        self.say(a, room, "two")
        self.calm(room, o, a)
        r, out = self.query(o, room, {"with": a.bare})
        self.assertResult(r)
        self.assertEqual(self.bodies(out), ["two"])

    def test_with_is_no_oracle_in_a_semianonymous_room(self):
        room, o, a, b = self.hall("a", "b", whois="moderators")
        self.say(a, room, "two")
        self.calm(room, o, a, b)
        r, out = self.query(b, room, {"with": a.bare})
        self.assertEqual(self.bodies(out) if r.get("type") == "result" else [], [])

    def test_start_end(self):
        room, o = self.hall()
        self.say(o, room, "one")
        self.quiet(o, room)
        self.assertEqual(self.bodies(self.query(o, room, {"start": "2099-01-01T00:00:00Z"})[1]), [])
        self.assertEqual(self.bodies(self.query(o, room, {"end": "1999-01-01T00:00:00Z"})[1]), [])
        self.assertEqual(self.bodies(self.query(o, room, {"start": "1999-01-01T00:00:00Z"})[1]), ["one"])
        self.assertError(self.query(o, room, {"start": "yesterday"})[0], "bad-request")

    def test_pages(self):
        room, o = self.hall()
        for i in range(7):
            self.say(o, room, "m%d" % i)
        self.quiet(o, room)
        r, out = self.query(o, room, rsm="<set xmlns='%s'><max>3</max></set>" % RSM)
        self.assertEqual(self.bodies(out), ["m0", "m1", "m2"])
        fin = kid(r, "fin", MAM)
        self.assertNotEqual(fin.get("complete"), "true")
        last = kid(kid(fin, "set", RSM), "last").text
        r, out = self.query(o, room, rsm="<set xmlns='%s'><max>10</max><after>%s</after></set>" % (RSM, last))
        self.assertEqual(self.bodies(out), ["m3", "m4", "m5", "m6"])
        self.assertEqual(kid(r, "fin", MAM).get("complete"), "true")
        r, out = self.query(o, room, rsm="<set xmlns='%s'><max>2</max><before/></set>" % RSM)
        self.assertEqual(self.bodies(out), ["m5", "m6"])
        r, out = self.query(o, room, rsm="<set xmlns='%s'><max>2</max><before/></set>" % RSM, inner="<flip-page/>")
        self.assertEqual(self.bodies(out), ["m6", "m5"])
        self.assertError(self.query(o, room, rsm="<set xmlns='%s'><max>2</max><after>nonsense</after></set>" % RSM)[0], "item-not-found")

    def test_metadata(self):
        room, o = self.hall()
        self.say(o, room, "a")
        self.say(o, room, "b")
        first, last = [stanza_id(self.hear(o, b), room) for b in "ab"]
        self.assertIn(MAM + "#extended", self.features(o, room))
        r = o.iq("get", "<metadata xmlns='%s'/>" % MAM, room)
        m = kid(r, "metadata", MAM)
        self.assertEqual((kid(m, "start").get("id"), kid(m, "end").get("id")), (first, last))

    def test_stranger_to_no_room(self):
        c, = self.people(1)
        self.assertError(self.query(c, self.room())[0], "item-not-found")

    def test_user_archive_has_no_groupchat(self):
        """6.1.1: what the room archives is not in the account's archive."""
        room, o = self.hall()
        self.say(o, room, "roomy")
        self.hear(o, "roomy")
        r, out = self.query(o, None, {"with": room})
        self.assertResult(r)
        self.assertNotIn("roomy", self.bodies(out))


class Hats(Case):
    """XEP-0317."""

    def command(self, c, room, node, fields=None, session=None):
        return c.iq("set", "<command xmlns='%s' node='%s:%s' action='execute'%s>%s</command>" % (
            COMMANDS, HATS_CMD, node, " sessionid='%s'" % session if session else "", submit(fields, HATS_CMD) if fields else ""), room)

    def done(self, r, status="completed"):
        self.assertResult(r)
        self.assertEqual(kid(r, "command", COMMANDS).get("status"), status, show(r))
        return kid(r, "command", COMMANDS)

    def make(self, c, room, uri="http://x.example/hats#a", title="Assistant", hue="327.255249"):
        self.done(self.command(c, room, "create", {"hats#title": title, "hats#uri": uri, "hats#hue": hue}))
        return uri

    def hats(self, p):
        h = p.find("{%s}hats" % HATS)
        return [] if h is None else [(x.get("uri"), x.get("title")) for x in h]

    def test_feature(self):
        room, o = self.hall()
        self.assertIn(HATS, self.features(o, room))

    def test_example_4_create_in_two_steps(self):
        room, o, a = self.hall("a")
        cmd = self.done(self.command(o, room, "create"), "executing")
        x = cmd.find("{%s}x" % FORM)
        self.assertEqual(x.get("type"), "form")
        f = {e.get("var"): e for e in x.findall("{%s}field" % FORM)}
        self.assertTrue({"FORM_TYPE", "hats#title", "hats#uri", "hats#hue"} <= set(f))
        self.assertIsNotNone(f["hats#title"].find("{%s}required" % FORM))
        self.done(self.command(o, room, "create", {"hats#title": "T", "hats#uri": "http://x.example/t"}, cmd.get("sessionid")))
        m = a.wait(lambda e: local(e) == "message" and 104 in codes(e))
        self.assertEqual(m.get("type"), "groupchat")

    def test_example_13_list(self):
        room, o = self.hall()
        self.make(o, room)
        cmd = self.done(self.command(o, room, "list"))
        x = cmd.find("{%s}x" % FORM)
        self.assertEqual(x.get("type"), "result")
        rep = [f.get("var") for f in x.find("{%s}reported" % FORM)]
        self.assertEqual(set(rep), {"hats#title", "hats#uri", "hats#hue"})
        it = {f.get("var"): text(f, "value") for f in x.find("{%s}item" % FORM)}
        self.assertEqual(it, {"hats#title": "Assistant", "hats#uri": "http://x.example/hats#a", "hats#hue": "327.255249"})

    def test_example_15_assign(self):
        room, o, a, b = self.hall("a", "b")
        uri = self.make(o, room)
        cmd = self.done(self.command(o, room, "assign"), "executing")
        opts = [v.text for v in cmd.iter("{%s}value" % FORM)]
        self.assertIn(uri, opts)
        self.done(self.command(o, room, "assign", {"hats#jid": a.bare, "hats#uri": uri}, cmd.get("sessionid")))
        for c in (o, a, b):
            self.assertEqual(self.hats(self.seen(c, room, "a")), [(uri, "Assistant")])
        c = self.login()
        self.join(c, room, "c")
        self.assertEqual([self.hats(p) for p in c.entry if p.get("from") == room + "/a"], [[(uri, "Assistant")]])
        # 21
        cmd = self.done(self.command(o, room, "list-assigned"))
        it = {f.get("var"): text(f, "value") for f in cmd.find("{%s}x/{%s}item" % (FORM, FORM))}
        self.assertEqual((it["hats#jid"], it["hats#uri"]), (a.bare, uri))
        # 19
        self.done(self.command(o, room, "unassign", {"hats#jid": a.bare, "hats#uri": uri}))
        for x in (o, a, b):
            self.assertEqual(self.hats(self.seen(x, room, "a")), [])

    def test_update_shows(self):
        room, o, a = self.hall("a")
        uri = self.make(o, room)
        self.done(self.command(o, room, "assign", {"hats#jid": a.bare, "hats#uri": uri}))
        self.seen(o, room, "a")
        self.make(o, room, uri, "Renamed")
        self.assertEqual(self.hats(self.seen(o, room, "a")), [(uri, "Renamed")])

    def test_destroy_takes_it_away(self):
        room, o, a = self.hall("a")
        uri = self.make(o, room)
        self.done(self.command(o, room, "assign", {"hats#jid": a.bare, "hats#uri": uri}))
        self.seen(o, room, "a")
        cmd = self.done(self.command(o, room, "destroy"), "executing")
        self.assertIn(uri, [v.text for v in cmd.iter("{%s}value" % FORM)])
        self.done(self.command(o, room, "destroy", {"hats#uri": uri}))
        self.assertEqual(self.hats(self.seen(o, room, "a")), [])
        self.assertEqual(self.done(self.command(o, room, "list")).find("{%s}x/{%s}item" % (FORM, FORM)), None)

    def test_hash(self):
        room, o = self.hall()
        self.make(o, room)
        h = form_of(self.info(o, room)).get("hats#hash")
        self.assertTrue(h and h[0])
        self.make(o, room, "http://x.example/b", "B")
        self.assertNotEqual(form_of(self.info(o, room)).get("hats#hash"), h)

    def test_strangers(self):
        room, o, a = self.hall("a")
        for node in ("create", "destroy", "assign", "unassign"):
            self.assertError(self.command(a, room, node), "forbidden")

    def test_forged_hats(self):
        room, o = self.hall()
        c = self.person(1)
        self.enter(c, room, "c", presence="<hats xmlns='%s'><hat uri='u:x' title='King'/></hats>" % HATS)
        self.assertEqual(self.hats(self.seen(o, room, "c")), [])

    def test_unknown_hat(self):
        room, o = self.hall()
        r = self.command(o, room, "assign", {"hats#jid": o.bare, "hats#uri": "none:such"})
        self.assertIsNotNone(error_of(r))

    def test_command_list(self):
        room, o = self.hall()
        r = o.iq("get", "<query xmlns='%s' node='%s'/>" % (DISCO_ITEMS, COMMANDS), room)
        self.assertResult(r)
        nodes = {i.get("node") for i in kid(r, "query", DISCO_ITEMS)}
        self.assertIn(HATS_CMD + ":create", nodes)


class Search(Case):
    """XEP-0433, at the service that holds the rooms."""
    options = {"extra": CONF % "" + ' domain "search.lab.test" { XMPP_Role = "server" service = "search" }'}

    def where(self, c):
        for to in ("search.lab.test", SERVICE, lab.DOMAIN):
            if SEARCH in self.features(c, to):
                return to
        self.fail("nobody announces channel search")

    def ask(self, c, fields, rsm=""):
        return c.iq("get", "<search xmlns='%s'>%s%s</search>" % (SEARCH, rsm, submit(fields, PARAMS)), self.where(c))

    def results(self, r):
        self.assertResult(r)
        return [i.get("address") for i in kid(r, "result", SEARCH).findall("{%s}item" % SEARCH)]

    def app(self, e):
        return [local(x) for x in kid(e, "error") if x.tag.startswith("{%s}" % SEARCH_ERR)]

    def test_example_2_form(self):
        c, = self.people(1)
        r = c.iq("get", "<search xmlns='%s'/>" % SEARCH, self.where(c))
        self.assertResult(r)
        f = form_of(r)
        self.assertEqual(f["FORM_TYPE"], [PARAMS])
        self.assertTrue({"q", "sinname", "sindescription", "key"} <= set(f), f)
        x = r.find(".//{%s}x" % FORM)
        key = [e for e in x.findall("{%s}field" % FORM) if e.get("var") == "key"][0]
        self.assertIn(ORDER + "address", [v.text for v in key.iter("{%s}value" % FORM)])

    def test_by_word(self):
        w = lab.token("zyx")
        o, c = self.people(2)
        a = self.create(o, self.room(), "o", roomname="The %s room" % w, roomdesc="About cats", publicroom=1)
        b = self.create(o, self.room(), "o", roomname="Other", roomdesc="speaks of %s too" % w, publicroom=1)
        hidden = self.create(o, self.room(), "o", roomname="Hidden %s" % w, publicroom=0)
        got = self.results(self.ask(c, {"q": w, "key": ORDER + "address"}))
        self.assertEqual(got, sorted([a, b]))
        self.assertNotIn(hidden, got)
        self.assertEqual(self.results(self.ask(c, {"q": w, "sindescription": "false", "sinname": "true", "key": ORDER + "address"})), [a])
        self.assertEqual(self.results(self.ask(c, {"q": w.upper(), "sinname": "0", "key": ORDER + "address"})), [b])
        r = self.ask(c, {"q": w, "key": ORDER + "nusers"})
        i = [i for i in kid(r, "result", SEARCH) if i.get("address") == a][0]
        self.assertEqual(text(i, "name"), "The %s room" % w)
        self.assertEqual(text(i, "description"), "About cats")
        self.assertEqual(text(i, "nusers"), "1")

    def test_nothing_found(self):
        c, = self.people(1)
        self.assertEqual(self.results(self.ask(c, {"q": lab.token("nothing"), "key": ORDER + "address"})), [])

    def test_pages(self):
        w = lab.token("qwe")
        o, = self.people(1)
        rooms = sorted(self.create(o, self.room(), "o", roomname=w, publicroom=1) for _ in range(3))
        f = {"q": w, "key": ORDER + "address"}
        r = self.ask(o, f, "<set xmlns='%s'><max>2</max></set>" % RSM)
        self.assertEqual(self.results(r), rooms[:2])
        last = kid(kid(kid(r, "result", SEARCH), "set", RSM), "last").text
        r = self.ask(o, f, "<set xmlns='%s'><max>2</max><after>%s</after></set>" % (RSM, xmppc.escape(last)))
        self.assertEqual(self.results(r), rooms[2:])

    def test_invalid_sort_key(self):
        c, = self.people(1)
        e = self.ask(c, {"q": "some", "key": "{x:y}z"})
        self.assertError(e, "feature-not-implemented", "modify")
        self.assertEqual(self.app(e), ["invalid-sort-key"])

    def test_conflicting_fields(self):
        c, = self.people(1)
        e = self.ask(c, {"q": "some", "all": "true", "key": ORDER + "address"})
        self.assertError(e, "bad-request", "modify")
        self.assertEqual(self.app(e), ["conflicting-fields"])

    def test_no_conditions(self):
        c, = self.people(1)
        e = self.ask(c, {"key": ORDER + "address"})
        self.assertError(e, "bad-request")
        self.assertEqual(self.app(e), ["no-search-conditions"])

    def test_all(self):
        room, o = self.hall(publicroom=1)
        r = self.ask(o, {"all": "1", "key": ORDER + "address"})
        if r.get("type") == "error":
            self.assertEqual(self.app(r), ["full-set-retrieval-rejected"])
        else:
            self.assertIn(room, self.results(r))

    def test_invalid_terms(self):
        c, = self.people(1)
        e = self.ask(c, {"q": " ", "key": ORDER + "address"})
        self.assertError(e, "bad-request", "modify")
        self.assertIn(self.app(e), (["invalid-search-terms"], ["no-search-conditions"]))


class Avatar(Case):
    """XEP-0486."""
    IMG = base64.b64encode(b"\x89PNG not really").decode()
    IMG2 = base64.b64encode(b"<svg/>").decode()

    def card(self, *images):
        return "<vCard xmlns='vcard-temp'>%s</vCard>" % "".join("<PHOTO><TYPE>image/png</TYPE><BINVAL>%s</BINVAL></PHOTO>" % i for i in images)

    def hashes(self, c, room):
        return form_of(self.info(c, room)).get("muc#roominfo_avatarhash")

    def test_features(self):
        room, o = self.hall()
        self.assertIn("vcard-temp", self.features(o, room))
        self.assertIn("vcard-temp", self.features(o, SERVICE))
        self.assertIsNone(self.hashes(o, room))

    def test_publish_and_remove(self):
        room, o, a = self.hall("a")
        self.assertResult(o.iq("set", self.card(self.IMG), room))
        m = a.wait(lambda e: local(e) == "message" and 104 in codes(e))
        self.assertEqual((m.get("type"), m.get("from")), ("groupchat", room))
        self.assertEqual(self.hashes(a, room), [hashlib.sha1(base64.b64decode(self.IMG)).hexdigest()])
        c = self.person(2)
        r = c.iq("get", "<vCard xmlns='vcard-temp'/>", room)
        self.assertResult(r)
        self.assertEqual(next(r.iter("{vcard-temp}BINVAL")).text, self.IMG)
        self.assertResult(o.iq("set", "<vCard xmlns='vcard-temp'/>", room))
        self.assertIsNone(self.hashes(a, room))

    def test_two_versions(self):
        room, o = self.hall()
        self.assertResult(o.iq("set", self.card(self.IMG, self.IMG2), room))
        self.assertEqual(self.hashes(o, room), [hashlib.sha1(base64.b64decode(i)).hexdigest() for i in (self.IMG, self.IMG2)])

    def test_not_the_owner(self):
        room, o, a = self.hall("a")
        self.assertError(a.iq("set", self.card(self.IMG), room), "forbidden", "auth")
        self.affiliate(o, room, a.bare, "admin")
        r = a.iq("set", self.card(self.IMG), room)
        if r.get("type") == "error":
            self.assertError(r, "forbidden", "auth")

    def test_no_room(self):
        o, = self.people(1)
        self.assertError(o.iq("get", "<vCard xmlns='vcard-temp'/>", self.room()), "item-not-found")


if __name__ == "__main__":
    del Case
    lab.main()
