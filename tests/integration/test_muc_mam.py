"""test_muc_mam - the archive of a room: XEP-0313 6.1.2, tombstones of XEP-0424/0425, history after a restart."""
import lab
import xmppc
from muclab import OCCUPANT_ID, SERVICE, SID, USER, MucCase
from xmppc import DISCO_INFO, body_is, is_, kid, local, text

MAM = "urn:xmpp:mam:2"
FORWARD = "urn:xmpp:forward:0"
RETRACT = "urn:xmpp:message-retract:1"
MODERATE = "urn:xmpp:message-moderate:1"


def ask(c, room, inner=""):
    """([(id, message)], answer)"""
    r = c.iq("set", "<query xmlns='%s'>%s</query>" % (MAM, inner), room)
    rows = []
    for m in [e for e in c.seen if local(e) == "message" and kid(e, "result", MAM) is not None]:
        c.seen.remove(m)
        res = kid(m, "result", MAM)
        rows.append((res.get("id"), kid(res, "forwarded", FORWARD).find("{jabber:client}message")))
    return rows, r


def with_(jid):
    return ("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>%s</value></field>"
            "<field var='with'><value>%s</value></field></x>" % (MAM, jid))


class RoomArchive(MucCase):
    def setUp(self):
        self.a, self.b = self.login(), self.login()

    def open(self, **config):
        self.r = self.create(self.a, self.room(), "a", **config)
        self.join(self.b, self.r, "b")
        return self.r

    def say(self, c, word, inner=""):
        c.message(self.r, word, "groupchat", inner)
        m = c.wait(body_is(word))
        return kid(m, "stanza-id", SID).get("id")

    def test_kept_once_with_its_id(self):
        r = self.open()
        id_ = self.say(self.b, "hello")
        rows, fin = ask(self.a, r)
        rows = [x for x in rows if text(x[1]) == "hello"]
        self.assertEqual([i for i, _ in rows], [id_])
        m = rows[0][1]
        self.assertEqual((m.get("from"), m.get("to"), m.get("type")), (r + "/b", None, "groupchat"))
        self.assertIsNotNone(kid(m, "occupant-id", OCCUPANT_ID))
        self.assertEqual(kid(fin, "fin", MAM).get("complete"), "true")

    def test_feature(self):
        r = self.open()
        f = {e.get("var") for e in self.a.get(DISCO_INFO, to=r).iter() if local(e) == "feature"}
        self.assertLessEqual({MAM, MAM + "#extended", SID}, f)

    def test_real_jids_only_for_those_who_may(self):
        r = self.open(whois="moderators")
        self.say(self.b, "secret")

        def jids(c):
            return [i.get("jid") for _, m in ask(c, r)[0] for i in m.iter("{%s}item" % USER)]
        self.assertIn(self.b.jid, jids(self.a))
        self.assertEqual(jids(self.b), [])
        self.assertError(ask(self.b, r, with_(self.a.bare))[1], "forbidden")
        self.assertIn("secret", [text(m) for _, m in ask(self.a, r, with_(self.b.bare))[0]])

    def test_who_may_ask(self):
        r = self.open(membersonly=0)
        c = self.login()
        self.assertResult(ask(c, r)[1])         # never in the room, but could enter
        self.assertResult(self.a.iq("set", "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='outcast' jid='%s'/></query>" % c.bare, r))
        self.assertError(ask(c, r)[1], "forbidden")
        self.assertError(ask(self.a, "nosuch@" + SERVICE)[1], "item-not-found")
        r = self.create(self.a, self.room(), "a", membersonly=1)
        self.assertError(ask(self.b, r)[1], "forbidden")

    def test_private_messages_stay_out(self):
        r = self.open()
        self.b.message(r + "/a", "psst", "chat")
        self.a.wait(body_is("psst"))
        self.say(self.b, "loud")
        words = [text(m) for _, m in ask(self.a, r)[0]]
        self.assertIn("loud", words)
        self.assertNotIn("psst", words)

    def test_not_in_the_users_archive(self):
        r = self.open()
        self.say(self.b, "room only")
        rows, _ = ask(self.b, None)
        self.assertEqual([text(m) for _, m in rows if text(m) == "room only"], [])

    def test_moderated_message_becomes_a_tombstone(self):
        r = self.open()
        id_ = self.say(self.b, "rude")
        self.assertResult(self.a.iq("set", "<moderate xmlns='%s' id='%s'><retract xmlns='%s'/></moderate>" % (MODERATE, id_, RETRACT), r))
        self.say(self.a, "after")       # the room is done with it then
        m = dict(ask(self.a, r)[0])[id_]
        self.assertIsNone(text(m))
        self.assertIsNotNone(kid(m, "retracted", RETRACT))
        self.assertEqual(m.get("from"), r + "/b")

    def test_own_retraction(self):
        r = self.open()
        mine, other = self.say(self.b, "mine"), self.say(self.a, "other")
        for id_ in (mine, other):       # that of the other has no effect
            self.say(self.b, "retracting " + id_, "<retract xmlns='%s' id='%s'/>" % (RETRACT, id_))
        rows = dict(ask(self.a, r)[0])
        self.assertIsNone(text(rows[mine]))
        self.assertEqual(text(rows[other]), "other")

    def test_destroyed_room_is_forgotten(self):
        r = self.open()
        self.say(self.b, "gone")
        self.assertResult(self.a.iq("set", "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>", r))
        self.create(self.a, r, "a")
        self.assertEqual([text(m) for _, m in ask(self.a, r)[0] if text(m) == "gone"], [])


class AfterRestart(MucCase):
    def test_history_and_archive_survive_sigkill(self):
        a = self.login()
        r = self.create(a, self.room(), "a", persistentroom=1)
        for i in range(5):
            a.message(r, "w%d" % i, "groupchat")
            a.wait(body_is("w%d" % i))
        ask(a, r)       # answered after the commit of what was said before
        user = a.bare.partition("@")[0]
        self.d.kill()
        self.d.start()
        a = self.login(user)
        self.enter(a, r, "a")
        said = lambda: [text(m) for m in a.seen if local(m) == "message" and m.get("from", "").startswith(r) and text(m)]
        lab.wait_until(lambda: a.sync() or len(said()) >= 5, text=lambda: "the history: %s" % said())
        self.assertEqual(said(), ["w%d" % i for i in range(5)])
        self.assertEqual([text(m) for _, m in ask(a, r)[0]], ["w%d" % i for i in range(5)])


if __name__ == "__main__":
    lab.main()
