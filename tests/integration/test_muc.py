"""test_muc - XEP-0045, rule by rule: service, entering, messages, nicknames, roles, affiliations, owners."""
import time

import lab
import xmppc
from muclab import (ADMIN, CONF, CONFIG, FORM, INFO, MUC, OCCUPANT_ID, OWNER, SERVICE, SID, USER, MucCase, codes, config,
                    form_of, item, ranks, submit, x_user)
from xmppc import DELAY, DISCO_INFO, DISCO_ITEMS, error_of, is_, kid, local, show, text

HISTORY_NONE = "<history maxchars='0'/>"


def features(r):
    return {f.get("var") for f in kid(r, "query", DISCO_INFO) if local(f) == "feature"}


class Service(MucCase):
    def test_found_from_the_server(self):
        c = self.login()
        r = c.get(DISCO_ITEMS, to=c.domain)
        self.assertIn(SERVICE, [i.get("jid") for i in kid(r, "query", DISCO_ITEMS)])

    def test_info(self):
        r = self.login().get(DISCO_INFO, to=SERVICE)
        self.assertResult(r)
        ids = [i for i in kid(r, "query", DISCO_INFO) if local(i) == "identity"]
        self.assertEqual([(i.get("category"), i.get("type")) for i in ids], [("conference", "text")])
        for f in (MUC, MUC + "#stable_id", MUC + "#unique", OCCUPANT_ID, DISCO_INFO, DISCO_ITEMS, "vcard-temp",
                  "urn:xmpp:channel-search:0:search"):
            self.assertIn(f, features(r))

    def test_ping_version(self):
        c = self.login()
        self.assertResult(c.get(xmppc.PING, "ping", SERVICE))
        self.assertResult(c.get("jabber:iq:version", to=SERVICE))
        self.assertError(c.get("urn:nothing", to=SERVICE), "service-unavailable")

    def test_unique_name(self):
        c = self.login()
        names = set()
        for _ in range(3):
            r = c.get(MUC + "#unique", "unique", SERVICE)
            self.assertResult(r)
            names.add(text(r, "unique") or kid(r, "unique", MUC + "#unique").text)
        self.assertEqual(len(names), 3)
        self.assertNotIn(None, names)

    def test_public_rooms_only(self):
        c = self.login()
        shown = self.create(c, self.room(), "a", publicroom=1, roomname="Shown")
        hidden = self.create(c, self.room(), "a", publicroom=0)
        locked = self.room()
        self.join(c, locked, "a")
        r = c.get(DISCO_ITEMS, to=SERVICE)
        found = {i.get("jid"): i.get("name") for i in kid(r, "query", DISCO_ITEMS)}
        self.assertEqual(found.get(shown), "Shown")
        self.assertNotIn(hidden, found)
        self.assertNotIn(locked, found)

    def test_items_by_pages(self):
        c = self.login()
        rooms = [self.create(c, self.room(), "a") for _ in range(4)]

        def page(rsm):
            r = c.iq("get", "<query xmlns='%s'><set xmlns='http://jabber.org/protocol/rsm'>%s</set></query>" % (DISCO_ITEMS, rsm), SERVICE)
            self.assertResult(r)
            q = kid(r, "query", DISCO_ITEMS)
            s = q.find("{http://jabber.org/protocol/rsm}set")
            return [i.get("jid") for i in q if local(i) == "item"], s
        every, s = page("")
        self.assertLessEqual(set(rooms), set(every))
        self.assertEqual(every, sorted(every))
        self.assertEqual(int(text(s, "count")), len(every))
        got, after = [], ""
        while True:
            some, s = page("<max>2</max>" + after)
            if not some:
                break
            got += some
            after = "<after>%s</after>" % text(s, "last")
        self.assertEqual(got, every)
        self.assertEqual(page("<max>2</max><before/>")[0], every[-2:])
        none, s = page("<max>0</max>")
        self.assertEqual((none, int(text(s, "count"))), ([], len(every)))


class Search(MucCase):
    NS = "urn:xmpp:channel-search:0:search"
    PARAMS = "urn:xmpp:channel-search:0:search-params"

    def search(self, c, fields, rsm=""):
        return c.iq("get", "<search xmlns='%s'>%s%s</search>" % (self.NS, rsm, submit(fields, self.PARAMS)), SERVICE)

    def found(self, r):
        self.assertResult(r)
        return {i.get("address"): {local(c): c.text for c in i} for i in kid(r, "result", self.NS) if local(i) == "item"}

    def test_form(self):
        r = self.login().iq("get", "<search xmlns='%s'/>" % self.NS, SERVICE)
        self.assertResult(r)
        f = form_of(r)
        self.assertEqual(f["FORM_TYPE"], [self.PARAMS])
        self.assertLessEqual({"q", "all", "sinname", "sindescription", "sinaddress", "types", "key"}, set(f))

    def test_words(self):
        c, word = self.login(), lab.token("w")
        room = self.create(c, self.room(), "a", roomname="The %s Place" % word.upper(), roomdesc="of witches", lang="en")
        self.create(c, self.room(), "a", roomname=word, publicroom=0)
        got = self.found(self.search(c, {"q": word + " witches"}))
        self.assertEqual(set(got), {room})
        self.assertEqual((got[room]["nusers"], got[room]["is-open"], got[room]["service-type"], got[room]["language"]),
                         ("1", "true", "xep-0045", "en"))
        self.assertEqual(got[room]["anonymity-mode"], "muc_semianonymous")
        self.assertEqual(self.found(self.search(c, {"q": word, "sinname": 0})), {})
        self.assertEqual(self.found(self.search(c, {"q": "nowhere-to-be-found"})), {})
        self.assertIn(room, self.found(self.search(c, {"all": 1})))
        self.assertEqual(self.found(self.search(c, {"q": word, "types": "xep-0369"})), {})

    def test_errors(self):
        c = self.login()
        for fields, condition, own in (({}, "bad-request", "no-search-conditions"),
                                       ({"q": "abc", "all": 1}, "bad-request", "conflicting-fields"),
                                       ({"q": "ab"}, "bad-request", "invalid-search-terms"),
                                       ({"q": "abc", "key": "{x}y"}, "feature-not-implemented", "invalid-sort-key")):
            with self.subTest(own):
                r = self.search(c, fields)
                self.assertError(r, condition)
                self.assertIsNotNone(kid(r, "error").find("{urn:xmpp:channel-search:0:error}" + own), show(r))


class Entering(MucCase):
    def setUp(self):
        self.a, self.b = self.login(), self.login()

    def test_create(self):
        room = self.room()
        e = self.join(self.a, room, "first")
        self.assertEqual(codes(e), {110, 201})
        self.assertEqual(ranks(e), ("owner", "moderator"))
        self.assertEqual(e.get("from"), room + "/first")

    def test_locked(self):
        """10.1: nobody gets in before the owner has configured it."""
        room = self.room()
        self.join(self.a, room, "first")
        self.assertError(self.enter(self.b, room, "second"), "item-not-found", "cancel")
        self.say(self.b, room, "hello?")
        self.assertError(self.b.wait("message"), "item-not-found")
        self.assertError(self.b.get(DISCO_INFO, to=room), "item-not-found")
        self.assertResult(self.owner(self.a, room, "<x xmlns='%s' type='submit'/>" % FORM))
        self.assertNotEqual(self.enter(self.b, room, "second").get("type"), "error")

    def test_cancel_destroys(self):
        room = self.room()
        self.join(self.a, room, "first")
        self.assertResult(self.owner(self.a, room, "<x xmlns='%s' type='cancel'/>" % FORM))
        e = self.seen(self.a, room, "first", type_="unavailable")
        self.assertIsNotNone(x_user(e).find("{%s}destroy" % USER))
        self.assertError(self.b.get(DISCO_INFO, to=room), "item-not-found")

    def test_leaving_a_locked_room_destroys_it(self):
        room = self.room()
        self.join(self.a, room, "first")
        self.a.presence("unavailable", room + "/first")
        e = self.seen(self.a, room, "first", type_="unavailable")
        self.assertIsNotNone(x_user(e).find("{%s}destroy" % USER))
        self.assertIn(201, codes(self.enter(self.b, room, "second")))

    def test_order_of_events(self):
        """7.1: presence of the others, self-presence, history, subject."""
        room = self.create(self.a, self.room(), "first")
        c = self.login()
        self.join(c, room, "second")
        self.say(self.a, room, "one")
        self.hear(c, "one")
        self.say(c, room, "two")
        self.hear(self.a, "two")
        e = self.join(self.b, room, "third")
        self.assertEqual([p.get("from") for p in self.b.entry], [room + "/first", room + "/second", room + "/third"])
        self.assertEqual([codes(p) for p in self.b.entry], [set(), set(), {110}])
        self.assertEqual([text(m) for m in self.b.history], ["one", "two"])
        self.assertEqual(ranks(e), ("none", "participant"))
        for o in (self.a, c):
            p = self.seen(o, room, "third")
            self.assertNotIn(110, codes(p))
            self.assertEqual(ranks(p), ("none", "participant"))

    def test_join_reflects_id(self):
        room = self.create(self.a, self.room(), "first")
        self.b.send("<presence to='%s/n' id='my-id'><x xmlns='%s'/></presence>" % (room, MUC))
        self.assertEqual(self.seen(self.b, room, "n").get("id"), "my-id")

    def test_no_nick(self):
        room = self.create(self.a, self.room(), "first")
        for to in (room, self.room()):
            self.b.presence(to=to, inner="<x xmlns='%s'/>" % MUC)
            self.assertError(self.b.wait(is_("presence", type_="error")), "jid-malformed", "modify")

    def test_invisible_nick(self):
        room = self.create(self.a, self.room(), "first")
        self.b.presence(to=room + "/ ", inner="<x xmlns='%s'/>" % MUC)
        self.assertError(self.b.wait(is_("presence", type_="error")), "jid-malformed")

    def test_nick_modified(self):
        room = self.create(self.a, self.room(), "first")
        self.b.presence(to=room + "/\uff26\uff4f\uff4f", inner="<x xmlns='%s'/>" % MUC)
        e = self.seen(self.b, room, "Foo")
        self.assertEqual(codes(e), {110, 210})

    def test_groupchat_1_0_is_no_join(self):
        """7.2.18: presence without <x/> of somebody who is not here."""
        for room in (self.create(self.a, self.room(), "first"), self.room()):
            self.b.presence(to=room + "/second")
            e = self.seen(self.b, room, "second")
            self.assertEqual(e.get("type"), "unavailable")
            self.assertEqual(codes(e), {110, 307, 333})
            self.assertEqual(ranks(e), ("none", "none"))

    def test_types_neither_join_nor_leave(self):
        room = self.create(self.a, self.room(), "first")
        for t in ("probe", "subscribe", "error", "unavailable"):
            self.b.presence(t, room + "/second", inner="<x xmlns='%s'/>" % MUC)
        self.a.presence("probe", room + "/first")
        self.quiet(self.b, room)
        self.say(self.a, room, "here")
        self.hear(self.a, "here")

    def test_nonanonymous(self):
        room = self.create(self.a, self.room(), "first", whois="anyone")
        c = self.login()
        self.join(c, room, "c")
        e = self.join(self.b, room, "b")
        self.assertIn(100, codes(e))
        self.assertEqual(item(self.b.entry[0]).get("jid"), self.a.jid)
        self.assertEqual(item(self.seen(c, room, "b")).get("jid"), self.b.jid)

    def test_semianonymous(self):
        room = self.create(self.a, self.room(), "first", whois="moderators")
        c = self.login()
        self.join(c, room, "c")
        e = self.join(self.b, room, "b")
        self.assertNotIn(100, codes(e))
        self.assertEqual([item(p).get("jid") for p in self.b.entry[:-1]], [None, None])
        self.assertIsNone(item(self.seen(c, room, "b")).get("jid"))
        self.assertEqual(item(self.seen(self.a, room, "b")).get("jid"), self.b.jid)

    def test_password(self):
        room = self.create(self.a, self.room(), "first", passwordprotectedroom=1, roomsecret="cauldron<&burn")
        self.assertError(self.enter(self.b, room, "b"), "not-authorized", "auth")
        e = self.enter(self.b, room, "b", "<password>wrong</password>")
        self.assertError(e, "not-authorized", "auth")
        self.assertIsNotNone(kid(e, "x", MUC))
        self.assertEqual(kid(e, "error").get("by"), room)
        self.join(self.b, room, "b", "<password>cauldron&lt;&amp;burn</password>")

    def test_members_only(self):
        room = self.create(self.a, self.room(), "first", membersonly=1)
        self.assertError(self.enter(self.b, room, "b"), "registration-required", "auth")
        self.affiliate(self.a, room, self.b.bare, "member")
        self.assertEqual(ranks(self.join(self.b, room, "b")), ("member", "participant"))

    def test_banned(self):
        room = self.create(self.a, self.room(), "first")
        self.affiliate(self.a, room, self.b.bare, "outcast")
        self.assertError(self.enter(self.b, room, "b"), "forbidden", "auth")
        self.affiliate(self.a, room, self.b.bare, "none")
        self.join(self.b, room, "b")

    def test_banned_domain(self):
        room = self.create(self.a, self.room(), "first")
        self.affiliate(self.a, room, lab.DOMAIN, "outcast")
        self.assertError(self.enter(self.b, room, "b"), "forbidden")
        self.affiliate(self.a, room, self.b.bare, "member")     # its own entry comes first
        self.join(self.b, room, "b")

    def test_conflict(self):
        room = self.create(self.a, self.room(), "first")
        self.assertError(self.enter(self.b, room, "first"), "conflict", "cancel")

    def test_sessions_of_one_occupant(self):
        """7.2.8: the same person with the same nickname."""
        room = self.create(self.a, self.room(), "first")
        self.join(self.b, room, "b")
        b2 = self.login(self.b.bare.partition("@")[0])
        self.join(b2, room, "b")
        self.say(self.a, room, "to both")
        self.hear(self.b, "to both")
        self.hear(b2, "to both")
        self.say(b2, room, "from the second")
        self.assertEqual(self.hear(self.a, "from the second").get("from"), room + "/b")
        self.a.message(room + "/b", "private", "chat")
        self.hear(self.b, "private")
        self.hear(b2, "private")
        self.quiet(self.a, room)
        b2.presence("unavailable", room + "/b")
        self.assertIn(110, codes(self.seen(b2, room, "b", type_="unavailable")))
        got = self.quiet(self.a, room)
        self.none_of(got, "presence", type_="unavailable")
        self.say(self.a, room, "still there")
        self.hear(self.b, "still there")

    def test_max_users(self):
        room = self.create(self.a, self.room(), "first", maxusers=10)
        others = [self.login() for _ in range(9)]
        for i, c in enumerate(others):
            self.join(c, room, "n%d" % i)
        self.assertError(self.enter(self.b, room, "b"), "service-unavailable", "wait")
        self.affiliate(self.a, room, self.b.bare, "admin")
        self.join(self.b, room, "b")

    def test_logged_room(self):
        room = self.create(self.a, self.room(), "first", enablelogging=1)
        self.assertEqual(codes(self.join(self.b, room, "b")), {110, 170})

    def test_join_again_is_a_resync(self):
        """17.3 rule 3."""
        room = self.create(self.a, self.room(), "first")
        self.join(self.b, room, "b")
        self.say(self.b, room, "said")
        self.hear(self.b, "said")
        self.quiet(self.a, room)
        self.join(self.b, room, "b")
        self.assertEqual([p.get("from") for p in self.b.entry], [room + "/first", room + "/b"])
        self.assertEqual([text(m) for m in self.b.history], ["said"])
        self.none_of(self.quiet(self.a, room), "presence")      # nothing new about it
        self.enter(self.b, room, "b", presence="<show>dnd</show>")
        self.assertEqual(text(self.seen(self.a, room, "b"), "show"), "dnd")

    def test_presence_passes_without_forgeries(self):
        room = self.create(self.a, self.room(), "first")
        self.join(self.b, room, "b")
        self.seen(self.a, room, "b")
        self.b.presence(to=room + "/b", inner="<show>xa</show><status>gone</status><c xmlns='urn:x:caps' v='1'/>"
                        "<x xmlns='%s'><item affiliation='owner' role='moderator'/></x><occupant-id xmlns='%s' id='x'/>"
                        "<hats xmlns='urn:xmpp:hats:0'><hat uri='u' title='t'/></hats>" % (USER, OCCUPANT_ID))
        e = self.seen(self.a, room, "b")
        self.assertEqual((text(e, "show"), text(e, "status")), ("xa", "gone"))
        self.assertIsNotNone(kid(e, "c", "urn:x:caps"))
        self.assertEqual(ranks(e), ("none", "participant"))
        self.assertEqual(len(e.findall("{%s}x" % USER)), 1)
        ids = e.findall("{%s}occupant-id" % OCCUPANT_ID)
        self.assertEqual(len(ids), 1)
        self.assertNotEqual(ids[0].get("id"), "x")
        self.assertIsNone(kid(e, "hats", "urn:xmpp:hats:0"))
        self.join(self.login(), room, "late")

    def test_occupant_id(self):
        """XEP-0421: stable for a person in a room, another one in another room."""
        room, other = self.create(self.a, self.room(), "first"), self.create(self.a, self.room(), "first")
        oid = lambda e: kid(e, "occupant-id", OCCUPANT_ID).get("id")
        one = oid(self.join(self.b, room, "b"))
        self.say(self.b, room, "signed")
        self.assertEqual(oid(self.hear(self.a, "signed")), one)
        self.b.presence("unavailable", room + "/b")
        self.seen(self.b, room, "b", type_="unavailable")
        self.assertEqual(oid(self.join(self.b, room, "other-nick")), one)
        self.assertNotEqual(oid(self.join(self.b, other, "b")), one)
        self.assertNotIn(self.b.bare, one)

    def test_leave(self):
        room = self.create(self.a, self.room(), "first")
        self.join(self.b, room, "b")
        self.seen(self.a, room, "b")
        self.b.presence("unavailable", room + "/b", inner="<status>bye</status>")
        own = self.seen(self.b, room, "b", type_="unavailable")
        self.assertEqual((codes(own), ranks(own)), ({110}, ("none", "none")))
        e = self.seen(self.a, room, "b", type_="unavailable")
        self.assertEqual((codes(e), ranks(e), text(e, "status")), (set(), ("none", "none"), "bye"))

    def test_session_end_leaves(self):
        room = self.create(self.a, self.room(), "first")
        c = self.login()
        self.join(c, room, "c")
        self.seen(self.a, room, "c")
        c.cut()
        self.seen(self.a, room, "c", type_="unavailable")

    def test_last_one_takes_a_temporary_room_along(self):
        room = self.create(self.a, self.room(), "first")
        self.a.presence("unavailable", room + "/first")
        self.seen(self.a, room, "first", type_="unavailable")
        self.assertError(self.b.get(DISCO_INFO, to=room), "item-not-found")

    def test_moderated(self):
        room = self.create(self.a, self.room(), "first", moderatedroom=1)
        self.assertEqual(ranks(self.join(self.b, room, "b")), ("none", "visitor"))
        self.say(self.b, room, "mute")
        self.assertError(self.b.wait("message"), "forbidden", "auth")
        c = self.login()
        self.affiliate(self.a, room, c.bare, "member")
        self.assertEqual(ranks(self.join(c, room, "c")), ("member", "participant"))

    def test_presencebroadcast(self):
        room = self.create(self.a, self.room(), "first", moderatedroom=1, presencebroadcast=["moderator", "participant"])
        e = self.join(self.b, room, "b")
        self.assertEqual((codes(e), ranks(e)), ({110}, ("none", "visitor")))
        self.none_of(self.quiet(self.a, room), "presence")
        c = self.login()
        self.join(c, room, "c")
        self.assertEqual([p.get("from") for p in c.entry], [room + "/first", room + "/c"])
        self.assertResult(self.role(self.a, room, "b", "participant"))
        self.assertEqual(ranks(self.seen(c, room, "b")), ("none", "participant"))
        self.assertResult(self.role(self.a, room, "b", "visitor"))
        self.assertEqual(self.seen(c, room, "b").get("type"), "unavailable")

    def test_too_many_joins(self):
        room = self.create(self.a, self.room(), "first")
        join = "<presence to='%s/b'><x xmlns='%s'><history maxchars='0'/></x></presence>" % (room, MUC)
        self.b.send((join + "<presence to='%s/b' type='unavailable'/>" % room) * 60)
        self.assertError(self.b.wait(is_("presence", type_="error")), "resource-constraint", "wait")
        self.join(self.login(), room, "c")

    def test_too_many_changes(self):
        room = self.create(self.a, self.room(), "first")
        self.join(self.b, room, "b")
        self.b.send("".join("<presence to='%s/b%d'/>" % (room, i) for i in range(120)))
        self.assertError(self.b.wait(is_("presence", type_="error")), "resource-constraint", "wait")
        self.say(self.b, room, "still here")
        self.hear(self.a, "still here")

    def test_hidden_nobody_real(self):
        """No stanza of a semi-anonymous room names anybody's address to ordinary occupants."""
        room = self.create(self.a, self.room(), "first")
        self.join(self.b, room, "b")
        c = self.login()
        self.join(c, room, "c")
        self.say(c, room, "x")
        self.hear(self.b, "x")
        c.message(room + "/b", "y", "chat")
        self.hear(self.b, "y")
        c.presence(to=room + "/cc")
        self.role(self.a, room, "cc", "none")
        self.quiet(self.b, room)
        for e in self.b.seen:
            if (e.get("from") or "").startswith(room):
                self.assertNotIn(c.bare, show(e))
                self.assertNotIn(self.a.bare, show(e))


class Creating(MucCase):
    options = {"extra": CONF % 'room_create = "admins" admins = ( "boss@lab.test" ) max_rooms = 2'}

    def test_restricted(self):
        self.d.ctl("account", "add", "boss@lab.test", stdin=lab.PASSWORD + "\n")
        a, boss = self.login(), self.login("boss")
        room = self.room()
        e = self.enter(a, room, "a")
        self.assertError(e, "not-allowed", "cancel")
        self.assertError(self.owner(a, room, "<x xmlns='%s' type='submit'/>" % FORM), "not-allowed")
        self.create(boss, room, "boss")
        self.join(a, room, "a")
        # an administrator of the service is an owner everywhere
        self.affiliate(boss, room, a.bare, "owner")
        boss.presence("unavailable", room + "/boss")
        self.affiliate(a, room, boss.bare, "none")
        self.assertEqual(ranks(self.join(boss, room, "boss")), ("owner", "moderator"))
        self.create(boss, self.room(), "boss")
        third = self.room()
        self.assertError(self.enter(boss, third, "boss"), "resource-constraint", "wait")
        for c, nick in ((boss, "boss"), (a, "a")):
            c.presence("unavailable", room + "/" + nick)
        self.seen(a, room, "a", type_="unavailable")
        self.create(boss, third, "boss")


class History(MucCase):
    def setUp(self):
        self.a = self.login()
        self.r = self.create(self.a, self.room(), "first", maxhistoryfetch=50)
        for i in range(5):
            self.say(self.a, self.r, "m%d" % i)
        self.hear(self.a, "m4")

    def history(self, inner=""):
        c = self.login()
        self.join(c, self.r, lab.token("n"), inner)
        c.presence("unavailable", self.r)
        return c.history

    def test_all(self):
        got = self.history()
        self.assertEqual([text(m) for m in got], ["m%d" % i for i in range(5)])
        for m in got:
            d = kid(m, "delay", DELAY)
            self.assertEqual(d.get("from"), self.r)
            self.assertTrue(d.get("stamp"))
            self.assertEqual(m.get("from"), self.r + "/first")
            self.assertIsNotNone(kid(m, "occupant-id", OCCUPANT_ID))
            self.assertEqual(kid(m, "stanza-id", SID).get("by"), self.r)

    def test_limits(self):
        self.assertEqual(self.history(HISTORY_NONE), [])
        self.assertEqual([text(m) for m in self.history("<history maxstanzas='2'/>")], ["m3", "m4"])
        self.assertEqual(len(self.history("<history maxstanzas='0'/>")), 0)
        self.assertEqual(len(self.history("<history seconds='600'/>")), 5)
        self.assertEqual(len(self.history("<history since='1970-01-01T00:00:00Z'/>")), 5)
        self.assertEqual(len(self.history("<history since='2999-01-01T00:00:00Z'/>")), 0)
        self.assertEqual(len(self.history("<history since='1970-01-01T00:00:00Z' maxstanzas='1'/>")), 1)
        self.assertEqual(len(self.history("<history since='nonsense' seconds='-1'/>")), 5)

    def test_maxchars(self):
        for limit in (500, 1100, 100000):
            got = self.history("<history maxchars='%d'/>" % limit)
            size = sum(len(show(m)) for m in got)
            self.assertLessEqual(sum(len(text(m)) for m in got), limit)
            if limit == 500:
                self.assertIn(len(got), (0, 1))
            if limit == 100000:
                self.assertEqual(len(got), 5)
            del size

    def test_configured_maximum(self):
        self.assertResult(self.owner(self.a, self.r, config(maxhistoryfetch=2)))
        self.say(self.a, self.r, "m5")
        self.hear(self.a, "m5")
        self.assertEqual([text(m) for m in self.history()], ["m4", "m5"])

    def test_chat_states_are_no_history(self):
        self.a.message(self.r, None, "groupchat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        self.a.wait(lambda e: kid(e, "composing", "http://jabber.org/protocol/chatstates") is not None)
        self.assertEqual(len(self.history()), 5)

    def test_subject_is_no_history(self):
        self.a.message(self.r, None, "groupchat", "<subject>Fire Burn</subject>")
        self.a.wait(lambda e: text(e, "subject") == "Fire Burn")
        c = self.login()
        self.join(c, self.r, "n")
        self.assertEqual(len(c.history), 5)
        self.assertEqual(text(c.subject, "subject"), "Fire Burn")
        self.assertEqual(c.subject.get("from"), self.r + "/first")
        self.assertEqual(kid(c.subject, "delay", DELAY).get("from"), self.r)
        c.presence("unavailable", self.r)


class Messages(MucCase):
    def setUp(self):
        self.a, self.b, self.c = self.login(), self.login(), self.login()
        self.r = self.create(self.a, self.room(), "a")
        self.join(self.b, self.r, "b")
        self.join(self.c, self.r, "c")
        for x in (self.a, self.b, self.c):
            self.quiet(x, self.r)

    def test_reflected_to_all(self):
        i = self.say(self.b, self.r, "hello", "<thing xmlns='urn:x'>1</thing>")
        for x in (self.a, self.b, self.c):
            m = self.hear(x, "hello")
            self.assertEqual((m.get("from"), m.get("id"), m.get("type"), m.get("to")),
                             (self.r + "/b", i, "groupchat", x.jid))
            self.assertIsNotNone(kid(m, "thing", "urn:x"))
            self.assertEqual(kid(m, "stanza-id", SID).get("by"), self.r)

    def test_id_is_made(self):
        self.b.send("<message to='%s' type='groupchat'><body>no id</body></message>" % self.r)
        self.assertTrue(self.hear(self.a, "no id").get("id"))

    def test_language(self):
        self.b.send("<message to='%s' type='groupchat' xml:lang='fr' id='l'><body>bonjour</body></message>" % self.r)
        self.assertEqual(self.hear(self.a, "bonjour").get("{http://www.w3.org/XML/1998/namespace}lang"), "fr")

    def test_forgeries_are_taken_off(self):
        self.say(self.b, self.r, "forged",
                 "<x xmlns='%s'><status code='301'/></x><stanza-id xmlns='%s' by='%s' id='mine'/>"
                 "<stanza-id xmlns='%s' by='elsewhere.test' id='theirs'/><occupant-id xmlns='%s' id='x'/>"
                 "<delay xmlns='%s' from='%s' stamp='2002-10-13T23:58:37Z'/>"
                 "<delay xmlns='%s' from='elsewhere.test' stamp='2002-10-13T23:58:37Z'/>"
                 "<retract xmlns='urn:xmpp:message-retract:1' id='q'><moderated xmlns='urn:xmpp:message-moderate:1' by='x'/></retract>"
                 "<addresses xmlns='http://jabber.org/protocol/address'><address type='ofrom' jid='x@y'/></addresses>"
                 % (USER, SID, self.r, SID, OCCUPANT_ID, DELAY, self.r, DELAY))
        m = self.hear(self.a, "forged")
        self.assertIsNone(x_user(m))
        sids = {(s.get("by"), s.get("id")) for s in m.findall("{%s}stanza-id" % SID)}
        self.assertIn(("elsewhere.test", "theirs"), sids)
        self.assertNotIn((self.r, "mine"), sids)
        self.assertEqual(len(sids), 2)
        self.assertEqual([o.get("id") == "x" for o in m.findall("{%s}occupant-id" % OCCUPANT_ID)], [False])
        self.assertEqual([d.get("from") for d in m.findall("{%s}delay" % DELAY)], ["elsewhere.test"])
        self.assertIsNone(kid(m, "retract", "urn:xmpp:message-retract:1"))
        self.assertIsNone(kid(m, "addresses", "http://jabber.org/protocol/address"))

    def test_not_an_occupant(self):
        d = self.login()
        self.say(d, self.r, "outside")
        self.assertError(d.wait("message"), "not-acceptable")
        d.message(self.r + "/a", "outside", "chat")
        self.assertError(d.wait("message"), "not-acceptable")
        d.message(self.r, None, "normal", "<x xmlns='%s'><invite to='x@lab.test'/></x>" % USER)
        self.assertError(d.wait("message"), "not-acceptable")
        self.none_of(self.quiet(self.a, self.r), "message")

    def test_no_room(self):
        self.say(self.b, self.room(), "nobody")
        self.assertError(self.b.wait(is_("message", type_="error")), "item-not-found")

    def test_private(self):
        i = self.b.message(self.r + "/c", "secret", "chat", "<x xmlns='%s'/>" % USER)
        m = self.hear(self.c, "secret")
        self.assertEqual((m.get("from"), m.get("type"), m.get("id")), (self.r + "/b", "chat", i))
        self.assertEqual(len(m.findall("{%s}x" % USER)), 1)
        self.assertEqual(len(x_user(m)), 0)
        self.b.message(self.r + "/c", "without x", None)
        self.assertIsNotNone(x_user(self.hear(self.c, "without x")))
        self.none_of(self.quiet(self.a, self.r), "message")

    def test_private_errors(self):
        self.b.message(self.r + "/c", "x", "groupchat")
        e = self.b.wait("message")
        self.assertError(e, "bad-request", "modify")
        self.assertEqual(e.get("from"), self.r + "/c")
        self.b.message(self.r + "/nobody", "x", "chat")
        self.assertError(self.b.wait("message"), "item-not-found", "cancel")

    def test_allowpm(self):
        for value, ok in (("moderators", False), ("none", False), ("participants", True), ("anyone", True)):
            with self.subTest(value):
                self.assertResult(self.owner(self.a, self.r, config(allowpm=value)))
                self.quiet(self.b, self.r)
                self.b.message(self.r + "/c", value, "chat")
                if ok:
                    self.hear(self.c, value)
                else:
                    self.assertError(self.b.wait("message"), "forbidden")
        self.assertResult(self.owner(self.a, self.r, config(allowpm="moderators")))
        self.a.message(self.r + "/c", "from a moderator", "chat")
        self.hear(self.c, "from a moderator")

    def test_error_about_a_private_message(self):
        """It goes back to its writer, without the reader's address."""
        i = self.b.message(self.r + "/c", "secret", "chat")
        self.hear(self.c, "secret")
        self.c.send("<message type='error' to='%s/b' id='%s'><body>secret</body><x xmlns='%s'/><error type='cancel' by='%s'>"
                    "<service-unavailable xmlns='%s'/><text xmlns='%s'>I am %s</text></error></message>"
                    % (self.r, i, USER, self.c.jid, xmppc.STANZA_ERRORS, xmppc.STANZA_ERRORS, self.c.jid))
        e = self.b.wait(is_("message", type_="error", id=i))
        self.assertError(e, "service-unavailable")
        self.assertEqual(e.get("from"), self.r + "/c")
        self.assertNotIn(self.c.bare, show(e).replace(self.b.jid, ""))

    def test_subject(self):
        self.a.message(self.r, None, "groupchat", "<subject>Topic</subject>")
        for x in (self.a, self.b, self.c):
            m = x.wait(lambda e: text(e, "subject") == "Topic")
            self.assertEqual(m.get("from"), self.r + "/a")
            self.assertIsNone(kid(m, "body"))
        self.b.message(self.r, None, "groupchat", "<subject>Mine</subject>")
        self.assertError(self.b.wait(is_("message", type_="error")), "forbidden", "auth")
        self.assertResult(self.owner(self.a, self.r, config(changesubject=1)))
        self.b.message(self.r, None, "groupchat", "<subject>Mine</subject>")
        self.a.wait(lambda e: text(e, "subject") == "Mine")
        d = self.login()
        self.join(d, self.r, "d")
        self.assertEqual(text(d.subject, "subject"), "Mine")
        self.a.message(self.r, None, "groupchat", "<subject/>")
        d.wait(lambda e: text(e, "subject") == "")

    def test_no_subject_change(self):
        """8.1: with a body or a thread it is a message like others."""
        self.b.message(self.r, "body", "groupchat", "<subject>S</subject>")
        self.assertEqual(text(self.hear(self.a, "body"), "subject"), "S")
        self.b.message(self.r, None, "groupchat", "<subject>S</subject><thread>t</thread>")
        self.a.wait(lambda e: text(e, "thread") == "t")
        d = self.login()
        self.join(d, self.r, "d")
        self.assertEqual(text(d.subject, "subject"), "")

    def test_invite(self):
        d = self.login()
        self.b.message(self.r, None, None, "<x xmlns='%s'><invite to='%s'><reason>come</reason><continue thread='t1'/></invite></x>"
                       % (USER, d.bare))
        m = d.wait("message")
        inv = x_user(m).find("{%s}invite" % USER)
        self.assertEqual(m.get("from"), self.r)
        self.assertEqual(inv.get("from"), self.r + "/b")
        self.assertEqual(text(inv, "reason"), "come")
        self.assertEqual(kid(inv, "continue").get("thread"), "t1")
        self.assertEqual(self.items(self.a, self.r, "affiliation='member'"), [])
        d.message(self.r, None, None, "<x xmlns='%s'><decline to='%s'><reason>no</reason></decline></x>" % (USER, inv.get("from")))
        m = self.b.wait("message")
        dec = x_user(m).find("{%s}decline" % USER)
        self.assertEqual((m.get("from"), dec.get("from"), text(dec, "reason")), (self.r, d.bare, "no"))

    def test_invite_of_a_members_only_room(self):
        d = self.login()
        self.assertResult(self.owner(self.a, self.r, config(passwordprotectedroom=1, roomsecret="pw")))
        self.affiliate(self.a, self.r, self.b.bare, "member")
        self.affiliate(self.a, self.r, self.c.bare, "member")
        self.assertResult(self.owner(self.a, self.r, config(membersonly=1, allowinvites=0)))
        self.quiet(self.b, self.r)
        invite = "<x xmlns='%s'><invite to='%s'/></x>" % (USER, d.bare)
        self.b.message(self.r, None, None, invite)
        self.assertError(self.b.wait(is_("message", type_="error")), "forbidden", "auth")
        self.assertResult(self.owner(self.a, self.r, config(allowinvites=1)))
        self.b.message(self.r, None, None, invite)
        m = d.wait("message")
        self.assertEqual(text(x_user(m), "password"), "pw")
        self.join(d, self.r, "d", "<password>pw</password>")

    def test_voice(self):
        self.assertResult(self.owner(self.a, self.r, config(moderatedroom=1)))
        d = self.login()
        self.join(d, self.r, "d")
        request = submit({"muc#role": "participant"}, MUC + "#request")
        d.message(self.r, None, None, request)
        m = self.a.wait(lambda e: local(e) == "message" and e.find("{%s}x" % FORM) is not None)
        f = form_of(m)
        self.assertEqual((f["FORM_TYPE"], f["muc#role"], f["muc#jid"], f["muc#roomnick"]),
                         ([MUC + "#request"], ["participant"], [d.jid], ["d"]))
        self.none_of(self.quiet(self.b, self.r), "message", from_=self.r, type_=None)
        approval = submit({"muc#role": "participant", "muc#jid": d.jid, "muc#roomnick": "d", "muc#request_allow": "true"},
                          MUC + "#request")
        d.message(self.r, None, None, approval)      # not by itself
        self.assertError(d.wait(is_("message", type_="error")), "forbidden")
        self.a.message(self.r, None, None, approval)
        d.wait(lambda e: local(e) == "presence" and ranks(e) == ("none", "participant"))
        self.say(d, self.r, "voice")
        self.hear(self.a, "voice")
        # 5.1: kept for the next visit to a moderated room
        d.presence("unavailable", self.r + "/d")
        self.seen(d, self.r, "d", type_="unavailable")
        self.assertEqual(ranks(self.join(d, self.r, "d")), ("none", "participant"))

    def test_order_under_load(self):
        n = 300
        self.b.send("".join("<message to='%s' type='groupchat' id='o%d'><body>o%d</body></message>" % (self.r, i, i) for i in range(n)))
        for x in (self.a, self.b, self.c):
            got = [text(x.wait(lambda e: (text(e) or "").startswith("o"))) for _ in range(n)]
            self.assertEqual(got, ["o%d" % i for i in range(n)])


class Nicks(MucCase):
    def setUp(self):
        self.a, self.b = self.login(), self.login()
        self.r = self.create(self.a, self.room(), "a")
        self.join(self.b, self.r, "b")
        self.seen(self.a, self.r, "b")

    def test_change(self):
        self.b.presence(to=self.r + "/new", inner="<show>away</show>")
        for x, extra in ((self.a, set()), (self.b, {110})):
            gone = self.seen(x, self.r, "b")
            self.assertEqual((gone.get("type"), codes(gone), item(gone).get("nick")), ("unavailable", {303} | extra, "new"))
            here = self.seen(x, self.r, "new")
            self.assertEqual((here.get("type"), codes(here), ranks(here)), (None, extra, ("none", "participant")))
            self.assertEqual(text(here, "show"), "away")
        self.say(self.b, self.r, "renamed")
        self.assertEqual(self.hear(self.a, "renamed").get("from"), self.r + "/new")
        self.assertNotEqual(self.enter(self.login(), self.r, "b").get("type"), "error")

    def test_conflict(self):
        self.b.presence(to=self.r + "/a", id_="nc")
        e = self.b.wait(is_("presence", type_="error"))
        self.assertError(e, "conflict", "cancel")
        self.assertEqual((e.get("from"), e.get("id")), (self.r + "/a", "nc"))
        self.say(self.b, self.r, "still b")
        self.assertEqual(self.hear(self.a, "still b").get("from"), self.r + "/b")

    def test_reserved(self):
        self.affiliate(self.a, self.r, "someone@lab.test", "member")
        r = self.admin(self.a, self.r, "<item jid='someone@lab.test' affiliation='member' nick='theirs'/>")
        self.assertResult(r)
        self.b.presence(to=self.r + "/theirs")
        self.assertError(self.b.wait(is_("presence", type_="error")), "conflict")
        self.assertError(self.enter(self.login(), self.r, "theirs"), "conflict")

    def test_session_end_after_a_change(self):
        c = self.login()
        self.join(c, self.r, "c")
        c.presence(to=self.r + "/c2")
        self.seen(c, self.r, "c2")
        c.close()
        self.seen(self.a, self.r, "c2", type_="unavailable")

    def test_both_sessions_are_renamed(self):
        b2 = self.login(self.b.bare.partition("@")[0])
        self.join(b2, self.r, "b")
        self.quiet(self.a, self.r)
        self.b.presence(to=self.r + "/bb")
        self.assertEqual(codes(self.seen(b2, self.r, "b", type_="unavailable")), {110, 303})
        self.seen(b2, self.r, "bb")
        got = [e.get("from") for e in self.quiet(self.a, self.r) if local(e) == "presence"]
        self.assertEqual(got, [self.r + "/b", self.r + "/bb"])


class Roles(MucCase):
    def setUp(self):
        self.a, self.b, self.c = self.login(), self.login(), self.login()
        self.r = self.create(self.a, self.room(), "a")
        self.join(self.b, self.r, "b")
        self.join(self.c, self.r, "c")
        for x in (self.a, self.b, self.c):
            self.quiet(x, self.r)

    def test_kick(self):
        r = self.role(self.a, self.r, "b", "none", "<reason>Avaunt</reason>")
        self.assertResult(r)
        own = self.seen(self.b, self.r, "b", type_="unavailable")
        self.assertEqual((codes(own), ranks(own)), ({110, 307}, ("none", "none")))
        self.assertEqual(text(item(own), "reason"), "Avaunt")
        self.assertEqual(kid(item(own), "actor").get("nick"), "a")
        e = self.seen(self.c, self.r, "b", type_="unavailable")
        self.assertEqual((codes(e), ranks(e)), ({307}, ("none", "none")))
        # 8.2: the moderator hears of success before it sees the presence
        self.quiet(self.a, self.r)
        order = [local(x) for x in self.a.seen if x.get("id") == r.get("id") or x.get("from") == self.r + "/b"]
        self.assertEqual(order[-2:], ["iq", "presence"])
        self.join(self.b, self.r, "b")

    def test_kick_denied(self):
        self.assertError(self.role(self.b, self.r, "c", "none"), "forbidden", "auth")
        self.assertError(self.role(self.a, self.r, "nobody", "none"), "item-not-found")
        self.assertResult(self.role(self.a, self.r, "b", "moderator"))
        self.assertError(self.role(self.b, self.r, "a", "none"), "not-allowed", "cancel")
        self.affiliate(self.a, self.r, self.c.bare, "admin")
        self.assertError(self.role(self.b, self.r, "c", "none"), "not-allowed")
        self.assertResult(self.role(self.c, self.r, "b", "none"))

    def test_outsider(self):
        d = self.login()
        self.assertError(self.role(d, self.r, "b", "none"), "forbidden")
        self.assertError(self.admin(d, self.r, "<item role='participant'/>", "get"), "forbidden")

    def test_voice(self):
        self.assertResult(self.role(self.a, self.r, "b", "visitor", "<reason>hush</reason>"))
        for x in (self.a, self.b, self.c):
            e = self.seen(x, self.r, "b")
            self.assertEqual((ranks(e), text(item(e), "reason")), (("none", "visitor"), "hush"))
        self.say(self.b, self.r, "mute")
        self.assertError(self.b.wait(is_("message", type_="error")), "forbidden")
        self.assertResult(self.role(self.a, self.r, "b", "participant"))
        self.assertEqual(ranks(self.seen(self.c, self.r, "b")), ("none", "participant"))

    def test_voice_of_admins_stays(self):
        self.affiliate(self.a, self.r, self.b.bare, "admin")
        self.assertResult(self.role(self.a, self.r, "c", "moderator"))
        for who in (self.a, self.c):
            for role in ("visitor", "participant"):
                self.assertError(self.role(who, self.r, "b", role), "not-allowed", "cancel")

    def test_moderator(self):
        self.affiliate(self.a, self.r, self.b.bare, "admin")
        self.assertResult(self.role(self.b, self.r, "c", "moderator"))
        self.assertEqual(ranks(self.c.wait(lambda e: local(e) == "presence" and e.get("from") == self.r + "/c")),
                         ("none", "moderator"))
        d = self.login()
        self.join(d, self.r, "d")
        self.assertError(self.role(self.c, self.r, "d", "moderator"), "forbidden")
        self.assertResult(self.role(self.c, self.r, "d", "visitor"))
        self.assertResult(self.role(self.b, self.r, "c", "participant"))
        self.assertError(self.role(self.b, self.r, "a", "participant"), "not-allowed")

    def test_lists(self):
        self.assertResult(self.role(self.a, self.r, "b", "moderator"))
        got = {i.get("nick"): (i.get("role"), i.get("affiliation"), i.get("jid"))
               for i in self.items(self.a, self.r, "role='participant'")}
        self.assertEqual(got, {"c": ("participant", "none", self.c.jid)})
        self.assertEqual({i.get("nick") for i in self.items(self.a, self.r, "role='moderator'")}, {"a", "b"})
        self.assertEqual(len(self.items(self.b, self.r, "role='participant'")), 1)
        self.assertError(self.admin(self.b, self.r, "<item role='moderator'/>", "get"), "forbidden")
        self.assertError(self.admin(self.c, self.r, "<item role='participant'/>", "get"), "forbidden")

    def test_several(self):
        r = self.admin(self.a, self.r, "<item nick='b' role='visitor'/><item nick='c' role='moderator'/>")
        self.assertResult(r)
        self.assertEqual(ranks(self.seen(self.a, self.r, "b")), ("none", "visitor"))
        self.assertEqual(ranks(self.seen(self.a, self.r, "c")), ("none", "moderator"))

    def test_several_or_none(self):
        self.affiliate(self.a, self.r, self.c.bare, "admin")
        self.quiet(self.a, self.r)
        r = self.admin(self.a, self.r, "<item nick='b' role='visitor'/><item nick='c' role='visitor'/>")
        self.assertError(r, "not-allowed")
        self.none_of(self.quiet(self.b, self.r)[-1:], "presence", from_=self.r + "/b")
        self.assertEqual(len(self.items(self.a, self.r, "role='visitor'")), 0)

    def test_bad_requests(self):
        for items in ("<item nick='b' role='visitor' affiliation='member'/>", "<item nick='b'/>", "<item role='visitor'/>",
                      "<item nick='b' role='king'/>", "<item jid='b@lab.test' affiliation='king'/>", "",
                      "<item affiliation='member'/>"):
            with self.subTest(items):
                self.assertError(self.admin(self.a, self.r, items), "bad-request", "modify")
        self.assertError(self.admin(self.a, self.r, "<item jid='@@' affiliation='member'/>"), "jid-malformed")


class Affiliations(MucCase):
    def setUp(self):
        self.a, self.b, self.c = self.login(), self.login(), self.login()
        self.r = self.create(self.a, self.room(), "a")
        self.join(self.b, self.r, "b")
        self.join(self.c, self.r, "c")
        for x in (self.a, self.b, self.c):
            self.quiet(x, self.r)

    def test_ban(self):
        self.affiliate(self.a, self.r, self.b.bare, "outcast", "<reason>Treason</reason>")
        own = self.seen(self.b, self.r, "b", type_="unavailable")
        self.assertEqual((codes(own), ranks(own)), ({110, 301}, ("outcast", "none")))
        self.assertEqual(text(item(own), "reason"), "Treason")
        e = self.seen(self.c, self.r, "b", type_="unavailable")
        self.assertEqual((codes(e), ranks(e)), ({301}, ("outcast", "none")))
        got = self.items(self.a, self.r, "affiliation='outcast'")
        self.assertEqual([(i.get("jid"), i.get("affiliation"), i.get("role"), text(i, "reason")) for i in got],
                         [(self.b.bare, "outcast", None, "Treason")])
        self.assertError(self.enter(self.b, self.r, "b"), "forbidden")

    def test_ban_by_full_jid(self):
        self.affiliate(self.a, self.r, self.b.jid, "outcast")
        self.assertEqual([i.get("jid") for i in self.items(self.a, self.r, "affiliation='outcast'")], [self.b.bare])

    def test_ban_denied(self):
        self.affiliate(self.a, self.r, self.b.bare, "admin")
        item_ = "<item jid='%s' affiliation='outcast'/>"
        self.assertError(self.admin(self.b, self.r, item_ % self.a.bare), "not-allowed", "cancel")
        self.assertError(self.admin(self.b, self.r, item_ % self.b.bare), "conflict", "cancel")
        self.assertError(self.admin(self.a, self.r, item_ % self.a.bare), "conflict")
        self.assertError(self.admin(self.c, self.r, item_ % self.b.bare), "forbidden", "auth")
        # 9.2: nothing of it happens
        self.assertError(self.admin(self.b, self.r, item_ % self.c.bare + item_ % self.a.bare), "not-allowed")
        self.assertEqual(self.items(self.a, self.r, "affiliation='outcast'"), [])

    def test_ban_several(self):
        item_ = "<item jid='%s' affiliation='outcast'/>"
        self.assertResult(self.admin(self.a, self.r, item_ % self.b.bare + item_ % self.c.bare))
        for x, n in ((self.b, "b"), (self.c, "c")):
            self.assertIn(301, codes(self.seen(x, self.r, n, type_="unavailable")))

    def test_membership(self):
        self.affiliate(self.a, self.r, self.b.bare, "member", "<reason>worthy</reason>")
        for x in (self.a, self.b, self.c):
            e = self.seen(x, self.r, "b")
            self.assertEqual((ranks(e), text(item(e), "reason")), (("member", "participant"), "worthy"))
        got = self.items(self.a, self.r, "affiliation='member'")
        self.assertEqual([(i.get("jid"), i.get("role")) for i in got], [(self.b.bare, None)])
        self.affiliate(self.a, self.r, self.b.bare, "none")
        self.assertEqual(ranks(self.seen(self.c, self.r, "b")), ("none", "participant"))
        self.assertEqual(self.items(self.a, self.r, "affiliation='member'"), [])

    def test_membership_lost_in_a_members_only_room(self):
        for x in (self.b, self.c):
            self.affiliate(self.a, self.r, x.bare, "member")
        self.assertResult(self.owner(self.a, self.r, config(membersonly=1)))
        for x in (self.a, self.b, self.c):
            self.quiet(x, self.r)
        self.affiliate(self.a, self.r, self.b.bare, "none")
        self.assertEqual(codes(self.seen(self.b, self.r, "b")), {110, 321})
        got = [e for e in self.quiet(self.c, self.r) if local(e) == "presence"]
        self.assertEqual([(e.get("type"), codes(e)) for e in got], [("unavailable", {321})])
        self.assertError(self.enter(self.b, self.r, "b"), "registration-required")

    def test_members_only_removes_the_others(self):
        self.affiliate(self.a, self.r, self.b.bare, "member")
        self.assertResult(self.owner(self.a, self.r, config(membersonly=1)))
        self.assertEqual(codes(self.seen(self.c, self.r, "c", type_="unavailable")), {110, 322})
        self.assertEqual(codes(self.seen(self.b, self.r, "c", type_="unavailable")), {322})

    def test_new_member_is_invited(self):
        self.assertResult(self.owner(self.a, self.r, config(membersonly=1)))
        d = self.login()
        self.affiliate(self.a, self.r, d.bare, "member")
        m = d.wait("message")
        self.assertIsNotNone(x_user(m).find("{%s}invite" % USER))

    def test_member_list_access(self):
        self.affiliate(self.a, self.r, self.b.bare, "member")
        self.assertError(self.admin(self.b, self.r, "<item affiliation='member'/>", "get"), "forbidden")
        self.assertResult(self.owner(self.a, self.r, config(whois="anyone")))
        self.assertEqual(len(self.items(self.b, self.r, "affiliation='member'")), 1)
        d = self.login()
        self.assertError(self.admin(d, self.r, "<item affiliation='member'/>", "get"), "forbidden")
        self.affiliate(self.a, self.r, d.bare, "member")
        self.assertEqual(len(self.items(d, self.r, "affiliation='member'")), 2)
        self.assertResult(self.owner(self.a, self.r, config(getmemberlist="moderator")))
        self.assertError(self.admin(self.b, self.r, "<item affiliation='member'/>", "get"), "forbidden")

    def test_lists_of_the_mighty(self):
        self.affiliate(self.a, self.r, self.b.bare, "admin")
        for what in ("owner", "admin"):
            self.assertError(self.admin(self.b, self.r, "<item affiliation='%s'/>" % what, "get"), "forbidden")
            self.assertError(self.admin(self.c, self.r, "<item affiliation='%s'/>" % what, "get"), "forbidden")
        self.assertEqual([i.get("jid") for i in self.items(self.a, self.r, "affiliation='owner'")], [self.a.bare])
        self.assertEqual([i.get("jid") for i in self.items(self.a, self.r, "affiliation='admin'")], [self.b.bare])

    def test_admin(self):
        self.assertError(self.admin(self.b, self.r, "<item jid='%s' affiliation='admin'/>" % self.b.bare), "forbidden")
        self.affiliate(self.a, self.r, self.b.bare, "admin")
        self.assertEqual(ranks(self.seen(self.c, self.r, "b")), ("admin", "moderator"))
        self.assertError(self.admin(self.b, self.r, "<item jid='%s' affiliation='admin'/>" % self.c.bare), "forbidden")
        self.affiliate(self.b, self.r, self.c.bare, "member")
        self.affiliate(self.a, self.r, self.b.bare, "none")
        self.assertEqual(ranks(self.seen(self.c, self.r, "b")), ("none", "participant"))

    def test_owner(self):
        self.affiliate(self.a, self.r, self.b.bare, "owner")
        self.assertEqual(ranks(self.seen(self.c, self.r, "b")), ("owner", "moderator"))
        self.affiliate(self.b, self.r, self.a.bare, "admin")
        self.assertEqual(ranks(self.c.wait(lambda e: local(e) == "presence" and e.get("from") == self.r + "/a")),
                         ("admin", "moderator"))
        self.assertError(self.owner(self.a, self.r, "", "get"), "forbidden")

    def test_last_owner_stays(self):
        for to in ("none", "member", "admin"):
            self.assertError(self.admin(self.a, self.r, "<item jid='%s' affiliation='%s'/>" % (self.a.bare, to)), "conflict")
        r = self.admin(self.a, self.r, "<item jid='%s' affiliation='owner'/><item jid='%s' affiliation='none'/>"
                       % (self.b.bare, self.a.bare))
        self.assertResult(r)
        self.assertError(self.admin(self.b, self.r, "<item jid='%s' affiliation='none'/>" % self.b.bare), "conflict")

    def test_nick_of_a_member(self):
        r = self.admin(self.a, self.r, "<item jid='%s' affiliation='member' nick='thirdwitch'/>" % self.b.bare)
        self.assertResult(r)
        self.assertEqual(self.items(self.a, self.r, "affiliation='member'")[0].get("nick"), "thirdwitch")
        self.assertError(self.admin(self.a, self.r, "<item jid='x@lab.test' affiliation='member' nick='thirdwitch'/>"), "conflict")
        self.affiliate(self.a, self.r, self.b.bare, "member")       # not named: stays
        self.assertEqual(self.items(self.a, self.r, "affiliation='member'")[0].get("nick"), "thirdwitch")
        self.assertResult(self.admin(self.a, self.r, "<item jid='%s' affiliation='member' nick=''/>" % self.b.bare))
        self.assertIsNone(self.items(self.a, self.r, "affiliation='member'")[0].get("nick"))


class Owners(MucCase):
    def setUp(self):
        self.a, self.b = self.login(), self.login()
        self.r = self.create(self.a, self.room(), "a")
        self.join(self.b, self.r, "b")
        for x in (self.a, self.b):
            self.quiet(x, self.r)

    def codes_seen(self):
        return [codes(e) for e in self.quiet(self.b, self.r) if local(e) == "message" and x_user(e) is not None]

    def test_form(self):
        r = self.owner(self.a, self.r, "", "get")
        self.assertResult(r)
        f = form_of(r)
        self.assertEqual(f["FORM_TYPE"], [CONFIG])
        for v in ("allowpm", "allowinvites", "changesubject", "enablelogging", "getmemberlist", "lang", "pubsub", "maxusers",
                  "membersonly", "moderatedroom", "passwordprotectedroom", "persistentroom", "presencebroadcast",
                  "publicroom", "roomadmins", "roomdesc", "roomname", "roomowners", "roomsecret", "whois"):
            self.assertIn("muc#roomconfig_" + v, f)
        self.assertIn("muc#maxhistoryfetch", f)
        self.assertEqual(f["muc#roomconfig_roomowners"], [self.a.bare])
        self.assertError(self.owner(self.b, self.r, "", "get"), "forbidden", "auth")

    def test_submit_and_read_back(self):
        given = {"roomname": ["A Dark Cave"], "roomdesc": ["The place & more"], "lang": ["en"], "changesubject": ["1"],
                 "allowinvites": ["1"], "allowpm": ["participants"], "maxusers": ["50"], "presencebroadcast": ["moderator"],
                 "getmemberlist": ["participant", "moderator"], "publicroom": ["0"], "moderatedroom": ["1"], "whois": ["anyone"],
                 "pubsub": ["xmpp:pubsub.lab.test?;node=n"]}
        self.assertResult(self.owner(self.a, self.r, config(**given)))
        f = form_of(self.owner(self.a, self.r, "", "get"))
        for k, v in given.items():
            self.assertEqual(f["muc#roomconfig_" + k], v, k)
        # what is left out stays
        self.assertResult(self.owner(self.a, self.r, config(publicroom=1)))
        f = form_of(self.owner(self.a, self.r, "", "get"))
        self.assertEqual((f["muc#roomconfig_roomname"], f["muc#roomconfig_publicroom"]), (["A Dark Cave"], ["1"]))

    def test_refused(self):
        for kw in ({"passwordprotectedroom": 1}, {"maxusers": "many"}, {"whois": "nobody"}, {"allowpm": "some"},
                   {"membersonly": "perhaps"}, {"roomname": "x" * 5000}):
            with self.subTest(kw):
                self.assertError(self.owner(self.a, self.r, config(**kw)), "not-acceptable", "modify")
        self.assertError(self.owner(self.b, self.r, config(roomname="x")), "forbidden", "auth")
        self.assertError(self.owner(self.a, self.r, submit({"muc#roomconfig_roomname": "x"}, "urn:other")), "bad-request")
        self.assertError(self.owner(self.a, self.r, ""), "bad-request")

    def test_cancel(self):
        self.assertResult(self.owner(self.a, self.r, "<x xmlns='%s' type='cancel'/>" % FORM))
        self.say(self.b, self.r, "alive")
        self.hear(self.a, "alive")

    def test_status_codes(self):
        for kw, want in (({"enablelogging": 1}, [{170}]), ({"enablelogging": 0}, [{171}]), ({"whois": "anyone"}, [{172}]),
                         ({"whois": "moderators"}, [{173}]), ({"roomname": "x"}, [{104}]), ({"roomname": "x"}, [])):
            with self.subTest(kw):
                self.assertResult(self.owner(self.a, self.r, config(**kw)))
                self.assertEqual(self.codes_seen(), want)

    def test_lists(self):
        c, d = self.login(), self.login()
        self.assertResult(self.owner(self.a, self.r, config(roomadmins=[self.b.bare, c.bare])))
        self.assertEqual(ranks(self.seen(self.b, self.r, "b")), ("admin", "moderator"))
        self.assertResult(self.owner(self.a, self.r, config(roomadmins=[d.bare], roomowners=[self.a.bare, c.bare])))
        self.assertEqual(ranks(self.seen(self.b, self.r, "b")), ("member", "participant"))
        self.assertEqual({i.get("jid") for i in self.items(self.a, self.r, "affiliation='owner'")}, {self.a.bare, c.bare})
        self.assertEqual({i.get("jid") for i in self.items(self.a, self.r, "affiliation='admin'")}, {d.bare})
        self.assertError(self.owner(self.a, self.r, config(roomowners=[])), "conflict")
        self.assertResult(self.owner(self.a, self.r, config(roomowners=[c.bare])))
        self.assertEqual(ranks(self.seen(self.b, self.r, "a")), ("admin", "moderator"))

    def test_destroy(self):
        self.assertError(self.owner(self.b, self.r, "<destroy/>"), "forbidden", "auth")
        r = self.owner(self.a, self.r, "<destroy jid='other@%s'><reason>Macbeth</reason><password>pw</password></destroy>" % SERVICE)
        self.assertResult(r)
        for x, nick in ((self.a, "a"), (self.b, "b")):
            e = self.seen(x, self.r, nick, type_="unavailable")
            d = x_user(e).find("{%s}destroy" % USER)
            self.assertEqual((d.get("jid"), text(d, "reason"), text(d, "password")), ("other@" + SERVICE, "Macbeth", "pw"))
            self.assertEqual(ranks(e), ("none", "none"))
        x = [e for e in self.b.seen if local(e) == "presence" and e.get("type") == "unavailable"]
        self.assertEqual(len(x), 1)
        self.assertError(self.b.get(DISCO_INFO, to=self.r), "item-not-found")

    def test_made_by_its_form(self):
        c, room = self.login(), self.room()
        r = self.owner(c, room, "", "get")
        self.assertIn("muc#roomconfig_roomname", form_of(r))
        self.assertResult(self.owner(c, room, config(roomname="Made")))
        self.assertEqual(ranks(self.join(c, room, "c")), ("owner", "moderator"))
        self.assertEqual(form_of(c.get(DISCO_INFO, to=room))["muc#roomconfig_roomname"], ["Made"])


class Info(MucCase):
    def test_features(self):
        a, b = self.login(), self.login()
        r = self.create(a, self.room(), "a", roomname="Cave", roomdesc="Dark", lang="en")
        i = b.get(DISCO_INFO, to=r)
        self.assertResult(i)
        ident = kid(kid(i, "query", DISCO_INFO), "identity")
        self.assertEqual((ident.get("category"), ident.get("type"), ident.get("name")), ("conference", "text", "Cave"))
        for f in (MUC, MUC + "#stable_id", "muc_open", "muc_public", "muc_temporary", "muc_unmoderated", "muc_unsecured",
                  "muc_semianonymous", OCCUPANT_ID, SID, MUC + "#self-ping-optimization", "urn:xmpp:message-moderate:1",
                  "vcard-temp", "urn:xmpp:hats:0", "jabber:iq:register"):
            self.assertIn(f, features(i))
        form = form_of(i)
        self.assertEqual((form["FORM_TYPE"], form["muc#roominfo_description"], form["muc#roominfo_occupants"],
                          form["muc#roominfo_lang"]), ([INFO], ["Dark"], ["1"], ["en"]))
        self.assertResult(self.owner(a, r, config(membersonly=1, publicroom=0, persistentroom=1, moderatedroom=1,
                                                  passwordprotectedroom=1, roomsecret="x", whois="anyone")))
        f = features(b.get(DISCO_INFO, to=r))
        for v in ("muc_membersonly", "muc_hidden", "muc_persistent", "muc_moderated", "muc_passwordprotected",
                  "muc_nonanonymous"):
            self.assertIn(v, f)
        self.assertNotIn("muc#roominfo_subject", form_of(b.get(DISCO_INFO, to=r)))
        self.assertResult(self.owner(a, r, "<destroy/>"))

    def test_nodes(self):
        a = self.login()
        r = self.create(a, self.room(), "a")
        self.assertError(a.get(DISCO_INFO, to=r, attrs="node='%s#traffic'" % MUC), "service-unavailable")
        self.assertError(a.get(DISCO_INFO, to=r, attrs="node='nothing'"), "item-not-found")
        i = a.get(DISCO_INFO, to=r, attrs="node='x-roomuser-item'")
        self.assertResult(i)
        self.assertEqual(len(kid(i, "query", DISCO_INFO)), 0)

    def test_items(self):
        a, b = self.login(), self.login()
        r = self.create(a, self.room(), "a")
        self.assertEqual(len(kid(b.get(DISCO_ITEMS, to=r), "query", DISCO_ITEMS)), 0)
        self.assertEqual([i.get("jid") for i in kid(a.get(DISCO_ITEMS, to=r), "query", DISCO_ITEMS)], [r + "/a"])

    def test_occupant_from_outside(self):
        a, b = self.login(), self.login()
        r = self.create(a, self.room(), "a")
        self.assertError(b.get(DISCO_INFO, to=r + "/a"), "bad-request")
        self.assertError(b.get("jabber:iq:version", to=r + "/a"), "not-acceptable")

    def test_no_room(self):
        a, r = self.login(), self.room()
        for q in (lambda: a.get(DISCO_INFO, to=r), lambda: a.get(DISCO_ITEMS, to=r),
                  lambda: self.admin(a, r, "<item affiliation='owner'/>", "get"), lambda: a.get("jabber:iq:register", to=r)):
            self.assertError(q(), "item-not-found", "cancel")


class Ghosts(MucCase):
    def bounce(self, c, room, condition, to="a", kind="message"):
        c.send("<%s type='error' to='%s/%s'><error type='cancel'><%s xmlns='%s'/></error></%s>"
               % (kind, room, to, condition, xmppc.STANZA_ERRORS, kind))

    def test_removed(self):
        a = self.login()
        r = self.create(a, self.room(), "a")
        for i, condition in enumerate(("gone", "item-not-found", "recipient-unavailable", "redirect", "remote-server-not-found",
                                       "remote-server-timeout")):
            with self.subTest(condition):
                b = self.login()
                self.join(b, r, "b")
                self.bounce(b, r, condition, kind="message" if i % 2 else "presence")
                e = self.seen(a, r, "b", type_="unavailable")
                self.assertEqual((codes(e), ranks(e)), ({333}, ("none", "none")))
                self.assertEqual(codes(self.seen(b, r, "b", type_="unavailable")), {110, 333})

    def test_other_errors_stay(self):
        a, b = self.login(), self.login()
        r = self.create(a, self.room(), "a")
        self.join(b, r, "b")
        for condition in ("not-acceptable", "forbidden", "service-unavailable", "service-unavailable", "service-unavailable",
                          "feature-not-implemented", "policy-violation"):
            self.bounce(b, r, condition)
        self.say(b, r, "alive")
        self.hear(a, "alive")

    def test_unavailable_for_everybody(self):
        """A resource that went answers everybody with service-unavailable."""
        a, b = self.login(), self.login()
        r = self.create(a, self.room(), "a")
        self.join(b, r, "b")
        for to in ("a", "a", "x"):
            self.bounce(b, r, "service-unavailable", to)
        self.assertEqual(codes(self.seen(a, r, "b", type_="unavailable")), {333})

    def test_stranger_removes_nobody(self):
        a, b, c = self.login(), self.login(), self.login()
        r = self.create(a, self.room(), "a")
        self.join(b, r, "b")
        self.bounce(c, r, "gone", "b")
        self.bounce(c, r, "gone", "a")
        self.quiet(c, r)
        self.say(b, r, "alive")
        self.hear(a, "alive")


if __name__ == "__main__":
    lab.main()
