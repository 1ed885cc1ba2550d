"""test_muc_more - what rooms do beside talking: registration (XEP-0045 7.10), requests between occupants, self-ping
(XEP-0410), moderation (XEP-0425, 0424), pictures (XEP-0486), hats (XEP-0317); and what outlives the process."""
import base64
import hashlib
import random

import lab
import xmppc
from muclab import (CONF, FORM, MUC, OCCUPANT_ID, SERVICE, SID, USER, MucCase, codes, config, form_of, item, ranks, submit,
                    x_user)
from xmppc import DISCO_INFO, DISCO_ITEMS, PING, is_, kid, local, show, text

REGISTER = "jabber:iq:register"
RETRACT = "urn:xmpp:message-retract:1"
MODERATE = "urn:xmpp:message-moderate:1"
HATS = "urn:xmpp:hats:0"
COMMANDS = "http://jabber.org/protocol/commands"


class Room(MucCase):
    def setUp(self):
        self.a, self.b, self.c = self.login(), self.login(), self.login()
        self.r = self.create(self.a, self.room(), "a")
        self.join(self.b, self.r, "b")
        self.join(self.c, self.r, "c")
        for x in (self.a, self.b, self.c):
            self.quiet(x, self.r)


class Registration(Room):
    def register(self, c, nick, extra=""):
        return c.iq("set", "<query xmlns='%s'>%s</query>" % (REGISTER, extra or submit({"muc#register_roomnick": nick}, MUC + "#register")),
                    self.r)

    def test_register(self):
        r = self.b.get(REGISTER, to=self.r)
        self.assertResult(r)
        self.assertIn("muc#register_roomnick", form_of(r))
        self.assertResult(self.register(self.b, "thirdwitch"))
        for x in (self.a, self.c):
            self.assertEqual(ranks(self.seen(x, self.r, "b")), ("member", "participant"))
        q = kid(self.b.get(REGISTER, to=self.r), "query", REGISTER)
        self.assertIsNotNone(kid(q, "registered"))
        self.assertEqual(text(q, "username"), "thirdwitch")
        i = self.b.get(DISCO_INFO, to=self.r, attrs="node='x-roomuser-item'")
        self.assertEqual(kid(kid(i, "query", DISCO_INFO), "identity").get("name"), "thirdwitch")
        got = self.items(self.a, self.r, "affiliation='member'")
        self.assertEqual([(i.get("jid"), i.get("nick")) for i in got], [(self.b.bare, "thirdwitch")])

    def test_conflict(self):
        self.assertResult(self.register(self.b, "thirdwitch"))
        self.assertError(self.register(self.c, "thirdwitch"), "conflict", "cancel")
        self.assertError(self.register(self.c, "a"), "conflict")        # in use
        self.assertError(self.enter(self.login(), self.r, "thirdwitch"), "conflict")
        self.b.presence(to=self.r + "/thirdwitch")
        self.seen(self.a, self.r, "thirdwitch")

    def test_bad(self):
        for extra in ("<username>x</username>", submit({}, MUC + "#register"), submit({"muc#register_roomnick": " "}, MUC + "#register"),
                      submit({"muc#register_roomnick": "x"}, "urn:other")):
            self.assertError(self.register(self.b, "", extra), "bad-request", "modify")

    def test_remove(self):
        self.assertResult(self.register(self.b, "thirdwitch"))
        self.seen(self.a, self.r, "b")
        self.assertResult(self.register(self.b, "", "<remove/>"))
        self.assertEqual(ranks(self.seen(self.a, self.r, "b")), ("none", "participant"))
        self.join(self.login(), self.r, "thirdwitch")

    def test_not_allowed(self):
        d = self.login()
        self.affiliate(self.a, self.r, d.bare, "outcast")
        self.assertError(d.get(REGISTER, to=self.r), "not-allowed", "cancel")
        self.affiliate(self.a, self.r, d.bare, "none")
        self.assertResult(self.owner(self.a, self.r, config(membersonly=1)))
        self.assertError(d.get(REGISTER, to=self.r), "not-allowed")
        self.assertError(self.register(d, "x"), "not-allowed")

    def test_ban_frees_the_nick(self):
        self.assertResult(self.register(self.b, "thirdwitch"))
        self.affiliate(self.a, self.r, self.b.bare, "outcast")
        self.join(self.login(), self.r, "thirdwitch")


class Requests(Room):
    def test_self_ping(self):
        self.assertResult(self.b.get(PING, "ping", self.r + "/b"))
        d = self.login()
        self.assertError(d.get(PING, "ping", self.r + "/b"), "not-acceptable", "cancel")
        self.assertError(d.get(PING, "ping", self.room() + "/b"), "not-acceptable")
        b2 = self.login(self.b.bare.partition("@")[0])      # the same person, not joined here
        self.assertError(b2.get(PING, "ping", self.r + "/b"), "not-acceptable")
        self.join(b2, self.r, "b")
        self.assertResult(b2.get(PING, "ping", self.r + "/b"))

    def relayed(self, type_="result", payload="<query xmlns='urn:x'><found/></query>"):
        self.b.send("<iq type='get' id='r1' to='%s/c'><query xmlns='urn:x'/></iq>" % self.r)
        q = self.c.wait(is_("iq", type_="get"))
        self.assertEqual(q.get("from"), self.r + "/b")
        self.assertNotIn(self.b.bare, show(q))
        self.assertIsNotNone(kid(q, "query", "urn:x"))
        self.c.send("<iq type='%s' id='%s' to='%s'>%s</iq>" % (type_, q.get("id"), q.get("from"), payload))
        return self.b.reply("r1")

    def test_relay(self):
        r = self.relayed()
        self.assertResult(r)
        self.assertEqual(r.get("from"), self.r + "/c")
        self.assertIsNotNone(kid(r, "query", "urn:x").find("{urn:x}found"))

    def test_relayed_error_names_nobody(self):
        r = self.relayed("error", "<error type='cancel' by='%s'><gone xmlns='%s'>xmpp:%s</gone><text xmlns='%s'>%s</text></error>"
                         % (self.c.jid, xmppc.STANZA_ERRORS, self.c.bare, xmppc.STANZA_ERRORS, self.c.jid))
        self.assertError(r, "gone")
        self.assertNotIn(self.c.bare, show(r))

    def test_relay_to_nobody(self):
        self.assertError(self.b.get("urn:x", to=self.r + "/nobody"), "item-not-found")

    def test_occupant_leaves_before_the_answer(self):
        self.b.send("<iq type='get' id='r2' to='%s/c'><query xmlns='urn:x'/></iq>" % self.r)
        q = self.c.wait(is_("iq", type_="get"))
        self.b.presence("unavailable", self.r + "/b")
        self.seen(self.c, self.r, "b", type_="unavailable")
        self.c.send("<iq type='result' id='%s' to='%s'/>" % (q.get("id"), q.get("from")))
        self.quiet(self.c, self.r)
        self.none_of(self.quiet(self.b, self.r), "iq", id="r2")


class Moderation(Room):
    def sid(self, c, body):
        return next(s.get("id") for s in self.hear(c, body).findall("{%s}stanza-id" % SID) if s.get("by") == self.r)

    def moderate(self, c, id_, reason="spam"):
        return c.iq("set", "<moderate id='%s' xmlns='%s'><retract xmlns='%s'/><reason>%s</reason></moderate>" % (id_, MODERATE, RETRACT, reason),
                    self.r)

    def test_moderated(self):
        self.say(self.b, self.r, "inappropriate")
        sid = self.sid(self.a, "inappropriate")
        self.assertResult(self.moderate(self.a, sid))
        for x in (self.a, self.b, self.c):
            m = x.wait(lambda e: kid(e, "retract", RETRACT) is not None)
            r = kid(m, "retract", RETRACT)
            self.assertEqual((m.get("from"), m.get("type"), r.get("id")), (self.r, "groupchat", sid))
            mod = kid(r, "moderated", MODERATE)
            self.assertEqual(mod.get("by"), self.r + "/a")
            self.assertIsNotNone(kid(mod, "occupant-id", OCCUPANT_ID))
            self.assertEqual(text(r, "reason"), "spam")
        d = self.login()
        self.join(d, self.r, "d")
        self.assertEqual(d.history, [])

    def test_denied(self):
        self.say(self.b, self.r, "x")
        sid = self.sid(self.a, "x")
        self.assertError(self.moderate(self.c, sid), "forbidden")
        self.assertError(self.moderate(self.login(), sid), "forbidden")
        self.assertError(self.moderate(self.a, "no-such-id"), "item-not-found")
        self.assertError(self.a.iq("set", "<moderate xmlns='%s' id='%s'/>" % (MODERATE, sid), self.r), "bad-request")

    def test_own_retraction(self):
        self.say(self.b, self.r, "oops")
        sid = self.sid(self.a, "oops")
        self.c.message(self.r, None, "groupchat", "<retract xmlns='%s' id='%s'/>" % (RETRACT, sid))     # not its own
        self.a.wait(lambda e: kid(e, "retract", RETRACT) is not None)
        d = self.login()
        self.join(d, self.r, "d")
        self.assertEqual([text(m) for m in d.history], ["oops"])
        self.b.message(self.r, None, "groupchat", "<retract xmlns='%s' id='%s'/>" % (RETRACT, sid))
        self.a.wait(lambda e: kid(e, "retract", RETRACT) is not None)
        e = self.login()
        self.join(e, self.r, "e")
        self.assertEqual(e.history, [])


class Avatars(Room):
    def test_set(self):
        photo = base64.b64encode(b"picture").decode()
        vcard = "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>\n%s\n</BINVAL></PHOTO></vCard>" % photo
        self.assertNotIn("muc#roominfo_avatarhash", form_of(self.b.get(DISCO_INFO, to=self.r)))
        self.assertError(self.b.iq("set", vcard, self.r), "forbidden", "auth")
        self.assertResult(self.a.iq("set", vcard, self.r))
        self.assertEqual(codes(self.b.wait("message")), {104})
        self.assertEqual(form_of(self.login().get(DISCO_INFO, to=self.r))["muc#roominfo_avatarhash"],
                         [hashlib.sha1(b"picture").hexdigest()])
        r = self.b.get("vcard-temp", "vCard", self.r)
        self.assertResult(r)
        self.assertEqual(r.find(".//{vcard-temp}BINVAL").text.strip(), photo)
        self.assertResult(self.a.iq("set", "<vCard xmlns='vcard-temp'/>", self.r))
        self.assertNotIn("muc#roominfo_avatarhash", form_of(self.b.get(DISCO_INFO, to=self.r)))
        self.assertEqual(len(kid(self.b.get("vcard-temp", "vCard", self.r), "vCard", "vcard-temp")), 0)

    def test_too_large(self):
        self.assertError(self.a.iq("set", "<vCard xmlns='vcard-temp'><NOTE>%s</NOTE></vCard>" % ("x" * 140000), self.r), "not-acceptable")


class Hats(Room):
    URI = "http://tech.example.edu/hats#Assistant"

    def command(self, c, what, fields=None, action=""):
        return c.iq("set", "<command xmlns='%s' node='urn:xmpp:hats:commands:%s' %s>%s</command>"
                    % (COMMANDS, what, action, submit(fields, "urn:xmpp:hats:commands") if fields else ""), self.r)

    def done(self, r):
        self.assertResult(r)
        self.assertEqual(kid(r, "command", COMMANDS).get("status"), "completed", show(r))

    def hats(self, e):
        h = kid(e, "hats", HATS)
        return [] if h is None else [(x.get("uri"), x.get("title"), x.get("hue")) for x in h]

    def test_all(self):
        r = self.command(self.a, "create")
        self.assertEqual(kid(r, "command", COMMANDS).get("status"), "executing")
        self.assertLessEqual({"hats#title", "hats#uri", "hats#hue"}, set(form_of(r)))
        self.assertError(self.command(self.b, "create", {"hats#title": "T", "hats#uri": self.URI}), "forbidden")
        self.done(self.command(self.a, "create", {"hats#title": "Assistant", "hats#uri": self.URI, "hats#hue": "327.25"}))
        self.assertEqual(codes(self.b.wait("message")), {104})
        self.done(self.command(self.a, "assign", {"hats#jid": self.b.bare, "hats#uri": self.URI}))
        e = self.c.wait(lambda e: local(e) == "presence" and e.get("from") == self.r + "/b" and self.hats(e))
        self.assertEqual(self.hats(e), [(self.URI, "Assistant", "327.25")])
        d = self.login()
        self.join(d, self.r, "d")
        self.assertEqual({p.get("from").partition("/")[2]: self.hats(p) for p in d.entry}["b"], [(self.URI, "Assistant", "327.25")])
        r = self.command(self.b, "list")
        self.done(r)
        self.assertIn(self.URI, show(r))
        r = self.command(self.a, "list-assigned")
        self.done(r)
        self.assertIn(self.b.bare, show(r))
        self.assertError(self.command(self.b, "list-assigned"), "forbidden")
        self.assertIn("hats#hash", form_of(d.get(DISCO_INFO, to=self.r)))
        self.quiet(self.c, self.r)
        self.done(self.command(self.a, "unassign", {"hats#jid": self.b.bare, "hats#uri": self.URI}))
        self.assertEqual(self.hats(self.seen(self.c, self.r, "b")), [])
        self.done(self.command(self.a, "destroy", {"hats#uri": self.URI}))
        self.assertError(self.command(self.a, "assign", {"hats#jid": self.b.bare, "hats#uri": self.URI}), "item-not-found")

    def test_discovery(self):
        nodes = {i.get("node") for i in kid(self.a.get(DISCO_ITEMS, to=self.r, attrs="node='%s'" % COMMANDS), "query", DISCO_ITEMS)}
        self.assertIn("urn:xmpp:hats:commands:create", nodes)
        self.assertEqual(len(kid(self.b.get(DISCO_ITEMS, to=self.r, attrs="node='%s'" % COMMANDS), "query", DISCO_ITEMS)), 0)


class DirectInvitation(MucCase):
    def test_waits_for_who_is_away(self):
        """XEP-0249: it has no body and is kept all the same."""
        a, name = self.login(), self.user()
        a.message("%s@%s" % (name, lab.DOMAIN), None, None, "<x xmlns='jabber:x:conference' jid='r@%s' reason='come'/>" % SERVICE)
        a.sync()
        b = self.login(name)
        self.assertIsNotNone(kid(b.wait("message"), "x", "jabber:x:conference"))


class Monkey(MucCase):
    """Stanzas put together at random, at a few rooms: whatever comes of it, the service goes on."""
    SEEDS = range(3)

    def stanza(self, rnd, rooms, jids):
        pick = rnd.choice
        to = pick([pick(rooms), pick(rooms) + "/" + pick("abcd"), SERVICE, pick(rooms) + "/ ", pick(rooms) + "/\u0430"])
        jid = pick(jids + ["", "@", "x.test", "someone@x.test/r", "lab.test"])
        affiliation, role = (pick(["owner", "admin", "member", "none", "outcast", "king"]),
                             pick(["moderator", "participant", "visitor", "none", "king"]))
        nick = pick("abcd")
        entry = "<item %s %s %s %s/>" % (pick(["", "jid='%s'" % jid]), pick(["", "nick='%s'" % nick]),
                                       pick(["", "affiliation='%s'" % affiliation]), pick(["", "role='%s'" % role]))
        bools = ["membersonly", "moderatedroom", "persistentroom", "publicroom", "passwordprotectedroom", "changesubject"]
        form = config(**{pick(bools): pick([0, 1, "x"]), "roomsecret": "p", "whois": pick(["anyone", "moderators", "x"]),
                         "presencebroadcast": pick([[], ["moderator"], ["visitor", "participant"]]),
                         **pick([{}, {"roomowners": [jid]}, {"roomadmins": [jid, jid]}])})
        payload = pick([
            "<x xmlns='%s'/>" % MUC, "<x xmlns='%s'><history maxstanzas='%d' maxchars='-1'/><password>p</password></x>" % (MUC, rnd.randrange(9)),
            "", "<show>away</show>", "<body>b</body>", "<subject>s</subject>", "<body>b</body><subject/>",
            "<x xmlns='%s'><invite to='%s'/></x>" % (USER, jid), "<x xmlns='%s'><decline to='%s'/></x>" % (USER, jid),
            "<query xmlns='%s#admin'>%s</query>" % (MUC, entry * rnd.randrange(3)), "<query xmlns='%s#owner'/>" % MUC,
            "<query xmlns='%s#owner'>%s</query>" % (MUC, form), "<query xmlns='%s#owner'><destroy jid='%s'/></query>" % (MUC, jid),
            "<query xmlns='%s#owner'><x xmlns='%s' type='%s'/></query>" % (MUC, FORM, pick(["submit", "cancel", "x"])),
            "<query xmlns='%s'/>" % DISCO_INFO, "<query xmlns='%s'/>" % DISCO_ITEMS, "<query xmlns='%s'/>" % REGISTER,
            "<query xmlns='%s'>%s</query>" % (REGISTER, submit({"muc#register_roomnick": nick}, MUC + "#register")),
            "<ping xmlns='%s'/>" % PING, "<vCard xmlns='vcard-temp'/>", "<moderate xmlns='%s' id='x'/>" % MODERATE,
            submit({"muc#role": "participant", "muc#roomnick": nick, **pick([{}, {"muc#request_allow": "1"}])}, MUC + "#request"),
            "<command xmlns='%s' node='urn:xmpp:hats:commands:%s'>%s</command>" % (COMMANDS, pick(["create", "assign", "list", "destroy"]), pick(
                ["", submit({"hats#uri": pick("uv"), "hats#title": "t", "hats#jid": jid}, "urn:xmpp:hats:commands")])),
            "<error type='cancel'><%s xmlns='%s'/></error>" % (pick(["gone", "service-unavailable", "forbidden"]), xmppc.STANZA_ERRORS)])
        kind, type_ = pick([("presence", pick(["", "", "", "unavailable", "error", "probe"])), ("message", pick(["groupchat", "groupchat", "chat", "", "error"])),
                            ("iq", pick(["get", "set", "set", "set"]))])
        return "<%s to=%s%s id='m%d'>%s</%s>" % (kind, xmppc.quoteattr(to), " type='%s'" % type_ if type_ else "", rnd.randrange(10 ** 6),
                                                  payload, kind)

    def test_monkey(self):
        for seed in self.SEEDS:
            rnd = random.Random(seed)
            conns = [self.login() for _ in range(4)]
            rooms = [self.room() for _ in range(3)]
            for _ in range(30):
                for c in conns:
                    c.send("".join(self.stanza(rnd, rooms, [x.bare for x in conns]) for _ in range(15)))
                    c.pump()
            for c in conns:
                c.sync()
                self.assertResult(c.get(DISCO_INFO, to=SERVICE))
                for r in rooms:     # each still answers
                    c.get(DISCO_INFO, to=r)
                self.assertEqual(c.stream_error, None)
        self.assertTrue(self.d.alive())
        self.assertNotIn(" error ", self.d.log_text())


class Store(MucCase):
    """Daemons of its own: they are restarted."""
    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab()
        cls.addClassCleanup(cls.lab.close)

    def setUp(self):
        self.d = self.lab.daemon(lab.token("d"), accounts=["ann", "bob", "eve"], milter=False, extra=CONF % "")
        self.addCleanup(self.d.stop_quietly)

    def login(self, user, **kw):
        c = xmppc.login(self.d.c2s_port, user, **kw)
        self.addCleanup(c.close)
        return c

    def again(self, how):
        getattr(self.d, how)()
        self.d.start()

    def test_everything_comes_back(self):
        for how in ("terminate", "kill"):
            with self.subTest(how):
                a = self.login("ann")
                r = self.create(a, self.room(), "a", persistentroom=1, roomname="Cave", roomdesc="line", maxusers=20, whois="anyone",
                                passwordprotectedroom=1, roomsecret="pw", changesubject=1, lang="en", moderatedroom=1,
                                presencebroadcast=["moderator", "participant"])
                oid = kid(self.join(a, r, "a", "<password>pw</password>"), "occupant-id", OCCUPANT_ID).get("id")
                self.affiliate(a, r, "bob@lab.test", "admin")
                self.affiliate(a, r, "eve@lab.test", "outcast", "<reason>Treason</reason>")
                self.assertResult(self.admin(a, r, "<item jid='mia@lab.test' affiliation='member' nick='mia'/>"))
                self.affiliate(a, r, "gone@lab.test", "member")
                self.affiliate(a, r, "gone@lab.test", "none")
                self.assertResult(a.iq("set", "<vCard xmlns='vcard-temp'><NOTE>n</NOTE></vCard>", r))
                self.assertResult(a.iq("set", "<command xmlns='%s' node='urn:xmpp:hats:commands:create'>%s</command>" % (
                    COMMANDS, submit({"hats#title": "T", "hats#uri": "u:1"}, "urn:xmpp:hats:commands")), r))
                a.message(r, None, "groupchat", "<subject>Fire &amp; Burn</subject>")
                a.wait(lambda e: text(e, "subject") == "Fire & Burn")
                before = form_of(self.owner(a, r, "", "get"))
                self.again(how)
                a, bob = self.login("ann"), self.login("bob")
                found = {i.get("jid"): i.get("name") for i in kid(a.get(DISCO_ITEMS, to=SERVICE), "query", DISCO_ITEMS)}
                self.assertEqual(found.get(r), "Cave")
                self.assertEqual(form_of(self.owner(a, r, "", "get")), before)
                self.assertEqual(ranks(self.join(bob, r, "b", "<password>pw</password>")), ("admin", "moderator"))
                self.assertEqual(text(bob.subject, "subject"), "Fire & Burn")
                self.assertEqual(bob.subject.get("from"), r + "/a")
                self.assertEqual(kid(self.join(a, r, "a", "<password>pw</password>"), "occupant-id", OCCUPANT_ID).get("id"), oid)
                self.assertError(self.enter(self.login("eve"), r, "e", "<password>pw</password>"), "forbidden")
                self.assertEqual([(i.get("jid"), text(i, "reason")) for i in self.items(a, r, "affiliation='outcast'")],
                                 [("eve@lab.test", "Treason")])
                self.assertEqual([(i.get("jid"), i.get("nick")) for i in self.items(a, r, "affiliation='member'")],
                                 [("mia@lab.test", "mia")])
                self.assertIsNotNone(a.get("vcard-temp", "vCard", r).find(".//{vcard-temp}NOTE"))
                self.assertIn("u:1", show(a.iq("set", "<command xmlns='%s' node='urn:xmpp:hats:commands:list'/>" % COMMANDS, r)))
                self.assertResult(self.owner(a, r, "<destroy/>"))
                self.again("kill")
                self.assertError(self.login("ann").get(DISCO_INFO, to=r), "item-not-found")

    def test_temporary_is_gone(self):
        a = self.login("ann")
        t, p = self.create(a, self.room(), "a"), self.create(a, self.room(), "a", persistentroom=1)
        self.assertResult(self.owner(a, p, config(persistentroom=0)))
        self.again("kill")
        a = self.login("ann")
        for r in (t, p):
            self.assertError(a.get(DISCO_INFO, to=r), "item-not-found")

    def test_killed_in_the_middle(self):
        """What was answered with a result is there after SIGKILL."""
        a = self.login("ann")
        r = self.create(a, self.room(), "a", persistentroom=1)
        acked = lambda: {e.get("id") for e in a.seen if local(e) == "iq" and e.get("type") == "result" and (e.get("id") or "").startswith("k")}
        # far more on its way than has been answered: one thread, as the TLS of one connection is not for two
        for i in range(600):
            a.send("<iq type='set' id='k%d' to='%s'><query xmlns='%s#admin'><item jid='k%d@x.test' affiliation='member'/></query></iq>"
                   % (i, r, MUC, i))
        a.wait(lambda e: e.get("id") == "k149")
        self.d.kill()
        a.pump(1)
        acked = acked()
        self.assertGreaterEqual(len(acked), 150)
        self.d.start()
        a = self.login("ann")
        got = {i.get("jid") for i in self.items(a, r, "affiliation='member'")}
        self.assertEqual([k for k in acked if k + "@x.test" not in got], [])

    def test_killed_after_a_subject(self):
        a = self.login("ann")
        r = self.create(a, self.room(), "a", persistentroom=1)
        for i in range(20):
            a.message(r, None, "groupchat", "<subject>s%d</subject>" % i)
        a.wait(lambda e: text(e, "subject") == "s7")
        self.d.kill()
        a.pump(1)
        last = max(int(text(e, "subject")[1:]) for e in a.seen if (text(e, "subject") or "").startswith("s"))
        self.d.start()
        a = self.login("ann")
        self.join(a, r, "a")
        self.assertGreaterEqual(int(text(a.subject, "subject")[1:]), last)

    def test_shutdown_says_so(self):
        """11.2"""
        a, b = self.login("ann"), self.login("bob")
        r = self.create(a, self.room(), "a")
        self.join(b, r, "b")
        self.d.proc.terminate()
        for c, nick in ((a, "a"), (b, "b")):
            self.assertEqual(codes(self.seen(c, r, nick, type_="unavailable")), {110, 332})
        self.assertEqual(self.d.wait_exit(), 0)

    def test_account_deleted(self):
        """The next one of the name inherits nothing but a ban."""
        a = self.login("ann")
        r, s = self.create(a, self.room(), "a", persistentroom=1), self.create(a, self.room(), "a", persistentroom=1)
        self.affiliate(a, r, "bob@lab.test", "owner")
        self.affiliate(a, s, "bob@lab.test", "outcast")
        for restart in (False, True):
            self.d.ctl("account", "delete", "bob@lab.test")
            self.d.add_account("bob")
            if restart:
                self.again("terminate")
                a = self.login("ann")
            bob = self.login("bob")
            self.assertError(self.owner(bob, r, "", "get"), "forbidden")
            self.assertError(self.enter(bob, s, "b"), "forbidden")
            self.affiliate(a, r, "bob@lab.test", "owner")
            bob.close()


if __name__ == "__main__":
    lab.main()
