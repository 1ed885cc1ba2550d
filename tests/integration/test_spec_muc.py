"""XEP-0045 by the text: each rule, example and error of sections 5 to 18, in the order of the document."""
import unittest

import lab
import xmppc
from muclab import ADMIN, FORM, INFO, MUC, OCCUPANT_ID, OWNER, SERVICE, SID, USER, MucCase, codes, config, form_of, item, ranks, submit, x_user
from xmppc import DELAY, DISCO_INFO, DISCO_ITEMS, PING, error_of, is_, kid, local, nsof, show, text

RSM = "http://jabber.org/protocol/rsm"
REGISTER = "jabber:iq:register"
REG_FORM = MUC + "#register"
REQUEST = MUC + "#request"
SELF_PING = MUC + "#self-ping-optimization"


class Case(MucCase):
    """Sessions are kept for the class's next test: rooms are new each time."""
    _people = {}

    def person(self, i):
        pool = Case._people.setdefault(id(self.d), [])
        while len(pool) <= i:
            pool.append(None)
        c = pool[i]
        if c is None or c.eof or c.ended:
            c = pool[i] = xmppc.login(self.port, self.user(), "r")
        return c

    def people(self, n):
        out = [self.person(i) for i in range(n)]
        for c in out:
            c.sync()
            c.drain()
        return out

    def hall(self, *others, **kw):
        """A new room: the owner (session 0) is "owner"; the next sessions enter under the given nicks.
        Returns the room and the sessions."""
        crowd = self.people(1 + len(others))
        room = self.create(crowd[0], self.room(), "owner", **kw)
        for c, nick in zip(crowd[1:], others):
            self.join(c, room, nick)
        self.calm(room, *crowd)
        return (room, *crowd)

    def calm(self, room, *crowd):
        for c in crowd:
            self.quiet(c, room)

    def rest(self, c, room):
        """What of <room> came until now."""
        return [e for e in self.quiet(c, room) if (e.get("from") or "").partition("/")[0] == room]

    def denied(self, e, room, condition, type_):
        self.assertEqual(local(e), "presence")
        self.assertError(e, condition, type_)
        self.assertEqual(e.get("from").partition("/")[0], room)

    def info(self, c, to, node=""):
        return c.iq("get", "<query xmlns='%s'%s/>" % (DISCO_INFO, " node='%s'" % node if node else ""), to)

    def features(self, c, to):
        r = self.info(c, to)
        self.assertResult(r)
        return {f.get("var") for f in kid(r, "query", DISCO_INFO).findall("{%s}feature" % DISCO_INFO)}

    def leave(self, c, room, nick, inner=""):
        c.send("<presence to='%s/%s' type='unavailable'>%s</presence>" % (room, nick, inner))
        return c.wait(lambda e: local(e) == "presence" and e.get("type") == "unavailable" and 110 in codes(e))

    def kicked(self, c, room, nick, code):
        e = self.seen(c, room, nick, type_="unavailable")
        self.assertIn(code, codes(e), show(e))
        self.assertEqual(ranks(e)[1], "none")
        return e


class Discovery(Case):
    """Section 6."""

    def test_example_1_items_of_the_server(self):
        c, = self.people(1)
        r = c.get(DISCO_ITEMS, to=lab.DOMAIN)
        self.assertIn(SERVICE, [i.get("jid") for i in kid(r, "query", DISCO_ITEMS)])

    def test_example_3_service_identity_and_features(self):
        c, = self.people(1)
        r = self.info(c, SERVICE)
        self.assertResult(r)
        q = kid(r, "query", DISCO_INFO)
        self.assertIn(("conference", "text"), [(i.get("category"), i.get("type")) for i in q.findall("{%s}identity" % DISCO_INFO)])
        vars_ = [f.get("var") for f in q.findall("{%s}feature" % DISCO_INFO)]
        self.assertEqual(len(vars_), len(set(vars_)), "duplicated features")
        for f in (MUC, DISCO_INFO, DISCO_ITEMS, MUC + "#stable_id", RSM):
            self.assertIn(f, vars_)

    def test_example_5_public_rooms_are_listed_hidden_ones_not(self):
        o, c = self.people(2)
        a = self.create(o, self.room(), "o", roomname="A Public Place", publicroom=1)
        b = self.create(o, self.room(), "o", roomname="Hidden", publicroom=0)
        got = {}
        after = ""
        while True:
            r = c.iq("get", "<query xmlns='%s'>%s</query>" % (DISCO_ITEMS, after), SERVICE)
            self.assertResult(r)
            q = kid(r, "query", DISCO_ITEMS)
            page = {i.get("jid"): i.get("name") for i in q.findall("{%s}item" % DISCO_ITEMS)}
            s = kid(q, "set", RSM)
            if s is None or not page or set(page) <= set(got):
                got.update(page)
                break
            got.update(page)
            after = "<set xmlns='%s'><after>%s</after></set>" % (RSM, kid(s, "last").text)
        self.assertEqual(got.get(a), "A Public Place")
        self.assertNotIn(b, got)

    def test_example_7_room_list_in_pages(self):
        o, = self.people(1)
        for _ in range(3):
            self.create(o, self.room(), "o", publicroom=1)
        r = o.iq("get", "<query xmlns='%s'><set xmlns='%s'><max>2</max></set></query>" % (DISCO_ITEMS, RSM), SERVICE)
        q = kid(r, "query", DISCO_ITEMS)
        self.assertEqual(len(q.findall("{%s}item" % DISCO_ITEMS)), 2)
        s = kid(q, "set", RSM)
        self.assertIsNotNone(s)
        last = kid(s, "last").text
        r2 = o.iq("get", "<query xmlns='%s'><set xmlns='%s'><max>2</max><after>%s</after></set></query>" % (DISCO_ITEMS, RSM, last), SERVICE)
        first = {i.get("jid") for i in q.findall("{%s}item" % DISCO_ITEMS)}
        second = {i.get("jid") for i in kid(r2, "query", DISCO_ITEMS).findall("{%s}item" % DISCO_ITEMS)}
        self.assertTrue(second)
        self.assertFalse(first & second)

    def test_rooms_max_zero_is_a_count(self):
        room, o = self.hall(publicroom=1)
        r = o.iq("get", "<query xmlns='%s'><set xmlns='%s'><max>0</max></set></query>" % (DISCO_ITEMS, RSM), SERVICE)
        q = kid(r, "query", DISCO_ITEMS)
        self.assertEqual(q.findall("{%s}item" % DISCO_ITEMS), [])
        self.assertGreaterEqual(int(kid(kid(q, "set", RSM), "count").text), 1)

    def test_example_9_room_features_of_one_kind(self):
        room, o = self.hall(roomname="N", membersonly=1, moderatedroom=1, passwordprotectedroom=1, roomsecret="x", persistentroom=1,
                            publicroom=0, whois="anyone")
        r = self.info(o, room)
        ident = kid(kid(r, "query", DISCO_INFO), "identity")
        self.assertEqual((ident.get("category"), ident.get("type"), ident.get("name")), ("conference", "text", "N"))
        f = self.features(o, room)
        for v in (MUC, "muc_membersonly", "muc_moderated", "muc_passwordprotected", "muc_persistent", "muc_hidden", "muc_nonanonymous",
                  MUC + "#stable_id", SELF_PING, OCCUPANT_ID, DISCO_INFO, DISCO_ITEMS):
            self.assertIn(v, f)
        for v in ("muc_open", "muc_unmoderated", "muc_unsecured", "muc_temporary", "muc_public", "muc_semianonymous"):
            self.assertNotIn(v, f)
        self.owner(o, room, config(persistentroom=0))

    def test_example_9_room_features_of_the_other_kind(self):
        room, o = self.hall(membersonly=0, moderatedroom=0, passwordprotectedroom=0, persistentroom=0, publicroom=1, whois="moderators")
        f = self.features(o, room)
        for v in ("muc_open", "muc_unmoderated", "muc_unsecured", "muc_temporary", "muc_public", "muc_semianonymous"):
            self.assertIn(v, f)
        for v in ("muc_membersonly", "muc_moderated", "muc_passwordprotected", "muc_persistent", "muc_hidden", "muc_nonanonymous"):
            self.assertNotIn(v, f)

    def test_example_10_roominfo_form(self):
        room, o, c = self.hall("c", roomdesc="The place", lang="en")
        o.message(room, None, "groupchat", "<subject>Spells</subject>")
        c.wait(lambda e: text(e, "subject") == "Spells")
        r = self.info(o, room)
        x = r.find(".//{%s}x" % FORM)
        self.assertEqual(x.get("type"), "result")
        f = form_of(r)
        self.assertEqual(f["FORM_TYPE"], [INFO])
        self.assertEqual(f["muc#roominfo_description"], ["The place"])
        self.assertEqual(f["muc#roominfo_subject"], ["Spells"])
        self.assertEqual(f["muc#roominfo_occupants"], ["2"])
        self.assertEqual(f["muc#roominfo_lang"], ["en"])
        self.assertIn("muc#roomconfig_changesubject", f)

    def test_roominfo_subjectmod_follows_the_configuration(self):
        for value in ("0", "1"):
            room, o = self.hall(changesubject=value)
            f = form_of(self.info(o, room))
            self.assertEqual(f["muc#roomconfig_changesubject"][0] in ("1", "true"), value == "1")
            if "muc#roominfo_subjectmod" in f:
                self.assertEqual(f["muc#roominfo_subjectmod"][0] in ("1", "true"), value == "1")

    def test_example_11_items_of_a_room(self):
        room, o = self.hall()
        c = self.person(1)
        r = c.get(DISCO_ITEMS, to=room)
        self.assertResult(r)
        for i in kid(r, "query", DISCO_ITEMS):
            self.assertTrue(i.get("jid").startswith(room + "/"))
            self.assertIsNone(i.get("role"))

    def test_no_such_room(self):
        c, = self.people(1)
        for ns in (DISCO_INFO, DISCO_ITEMS):
            self.assertError(c.get(ns, to=self.room()), "item-not-found", "cancel")

    def test_6_6_non_occupant_asks_an_occupant(self):
        room, o = self.hall()
        c = self.person(1)
        self.assertError(self.info(c, room + "/owner"), "bad-request")
        self.assertError(c.get(DISCO_ITEMS, to=room + "/owner"), "bad-request")

    def test_6_6_occupant_asks_an_occupant(self):
        room, o, c = self.hall("c")
        id_ = c.new_id()
        c.send("<iq type='get' id='%s' to='%s/owner'><query xmlns='%s'/></iq>" % (id_, room, DISCO_INFO))
        q = o.wait(lambda e: local(e) == "iq" and e.get("type") == "get" and kid(e, "query", DISCO_INFO) is not None)
        self.assertEqual(q.get("from"), room + "/c")
        self.assertNotIn(c.bare, show(q))
        o.send("<iq type='result' id='%s' to='%s'><query xmlns='%s'><identity category='client' type='pc'/></query></iq>" % (
            q.get("id"), q.get("from"), DISCO_INFO))
        r = c.reply(id_)
        self.assertResult(r)
        self.assertEqual(r.get("from"), room + "/owner")
        self.assertNotIn(o.bare, show(r))

    def test_18_1_1_traffic(self):
        room, o = self.hall()
        r = self.info(o, room, MUC + "#traffic")
        self.assertError(r, ("service-unavailable", "feature-not-implemented"))

    def test_unknown_node(self):
        room, o = self.hall()
        self.assertError(self.info(o, room, "no-such-node"), ("item-not-found", "feature-not-implemented", "service-unavailable"))


class Entering(Case):
    """Sections 7.1 and 7.2."""

    def test_example_19_no_nick(self):
        room, o = self.hall()
        c = self.person(1)
        c.send("<presence to='%s' id='n1'><x xmlns='%s'/></presence>" % (room, MUC))
        e = c.wait(is_("presence", type_="error"))
        self.denied(e, room, "jid-malformed", "modify")
        self.assertEqual(e.get("id"), "n1")
        self.assertEqual(kid(e, "error").get("by"), room)

    def test_7_1_order_of_events(self):
        room, o, a = self.hall("a")
        for i in range(3):
            self.say(o, room, "h%d" % i)
        o.message(room, None, "groupchat", "<subject>S</subject>")
        self.calm(room, o, a)
        c = self.person(2)
        c.send("<presence to='%s/c'><x xmlns='%s'/></presence>" % (room, MUC))
        c.wait(lambda e: text(e, "subject") is not None and kid(e, "body") is None)     # read all
        seq = [e for e in c.seen if (e.get("from") or "").startswith(room)]
        kinds = []
        for e in seq:
            if local(e) == "presence":
                kinds.append("self" if 110 in codes(e) else "other")
            elif kid(e, "body") is not None:
                kinds.append("history")
            elif kid(e, "subject") is not None:
                kinds.append("subject")
        self.assertEqual(kinds, ["other", "other", "self", "history", "history", "history", "subject"])
        c.drain()
        hist = [e for e in seq if kid(e, "body") is not None]
        self.assertEqual([text(e) for e in hist], ["h0", "h1", "h2"])

    def test_7_2_2_presence_to_all_and_self(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "member")
        self.calm(room, o, a)
        c = self.person(2)
        e = self.join(c, room, "c")
        self.assertEqual(c.entry[-1], e)
        self.assertEqual({p.get("from"): ranks(p) for p in c.entry}, {
            room + "/owner": ("owner", "moderator"), room + "/a": ("member", "participant"), room + "/c": ("none", "participant")})
        for p in c.entry:
            self.assertEqual(len(p.findall("{%s}x" % USER)), 1)
            self.assertIsNone(p.find("{%s}x" % MUC))
        self.assertIn(110, codes(e))
        for x in (o, a):
            p = self.seen(x, room, "c")
            self.assertEqual(ranks(p), ("none", "participant"))
            self.assertEqual(p.get("to"), x.jid)
            self.assertNotIn(110, codes(p))

    def test_the_id_of_the_join_comes_back(self):
        room, o = self.hall()
        c = self.person(1)
        c.send("<presence to='%s/c' id='n13mt3l'><x xmlns='%s'/></presence>" % (room, MUC))
        e = c.wait(lambda e: local(e) == "presence" and 110 in codes(e))
        self.assertEqual(e.get("id"), "n13mt3l")

    def test_7_2_3_non_anonymous(self):
        room, o, a = self.hall("a", whois="anyone")
        c = self.person(2)
        e = self.join(c, room, "c")
        self.assertIn(100, codes(e))
        self.assertEqual(item(self.seen(a, room, "c")).get("jid"), c.jid)
        self.assertEqual({item(p).get("jid") for p in c.entry}, {o.jid, a.jid, c.jid})
        self.assertNotIn(100, codes(self.seen(o, room, "c")))

    def test_7_2_4_semi_anonymous(self):
        room, o, a = self.hall("a", whois="moderators")
        c = self.person(2)
        e = self.join(c, room, "c")
        self.assertNotIn(100, codes(e))
        self.assertEqual(item(self.seen(o, room, "c")).get("jid"), c.jid)
        self.assertIsNone(item(self.seen(a, room, "c")).get("jid"))
        for p in c.entry[:-1]:
            self.assertIsNone(item(p).get("jid"))

    def test_7_2_5_password(self):
        room, o = self.hall(passwordprotectedroom=1, roomsecret="cauldronburn")
        c = self.person(1)
        e = self.enter(c, room, "c")
        self.denied(e, room, "not-authorized", "auth")
        self.assertEqual(e.get("from"), room + "/c")
        self.denied(self.enter(c, room, "c", "<password>wrong</password>"), room, "not-authorized", "auth")
        self.denied(self.enter(c, room, "c", "<password/>"), room, "not-authorized", "auth")
        self.assertIn(110, codes(self.enter(c, room, "c", "<password>cauldronburn</password>")))
        # the password is nobody else's business
        self.assertNotIn("cauldronburn", show(self.seen(o, room, "c")))

    def test_7_2_6_members_only(self):
        room, o = self.hall(membersonly=1)
        c = self.person(1)
        e = self.enter(c, room, "c")
        self.denied(e, room, "registration-required", "auth")
        self.affiliate(o, room, c.bare, "member")
        self.assertEqual(ranks(self.join(c, room, "c")), ("member", "participant"))

    def test_7_2_7_banned(self):
        room, o = self.hall()
        c = self.person(1)
        self.affiliate(o, room, c.bare, "outcast")
        self.denied(self.enter(c, room, "c"), room, "forbidden", "auth")
        self.affiliate(o, room, c.bare, "none")
        self.join(c, room, "c")

    def test_7_2_8_conflict(self):
        room, o = self.hall()
        c = self.person(1)
        e = self.enter(c, room, "owner")
        self.denied(e, room, "conflict", "cancel")
        self.assertEqual(e.get("from"), room + "/owner")

    def test_7_2_8_two_sessions_under_one_nick(self):
        room, o = self.hall()
        name = self.user()
        a, b = self.login(name, "a"), self.login(name, "b")
        self.join(a, room, "n")
        self.seen(o, room, "n")
        e = self.join(b, room, "n")
        self.assertIn(110, codes(e))
        self.quiet(a, room)
        self.say(o, room, "both")
        self.hear(a, "both")
        self.hear(b, "both")
        self.say(b, room, "from b")
        self.assertEqual(self.hear(a, "from b").get("from"), room + "/n")
        # private messages: all resources are RECOMMENDED
        o.message(room + "/n", "psst")
        self.hear(a, "psst")
        self.hear(b, "psst")
        # one session leaves: the occupant stays for the others
        self.leave(a, room, "n")
        self.assertEqual([show(p) for p in self.rest(o, room) if p.get("type") == "unavailable"], [])
        self.say(o, room, "still")
        self.hear(b, "still")
        self.leave(b, room, "n")
        self.seen(o, room, "n", type_="unavailable")

    def test_7_2_9_max_users(self):
        room, o, a, b = self.hall("a", "b")
        f = form_of(self.owner(o, room, "", "get"))
        self.assertIn("muc#roomconfig_maxusers", f)
        self.assertResult(self.owner(o, room, config(maxusers=3)))
        c = self.person(3)
        self.denied(self.enter(c, room, "c"), room, "service-unavailable", "wait")
        # admins and owners MUST get in
        self.affiliate(o, room, c.bare, "admin")
        self.assertIn(110, codes(self.enter(c, room, "c")))

    def test_7_2_10_locked(self):
        o, c = self.people(2)
        room = self.room()
        self.join(o, room, "o")
        e = self.enter(c, room, "c")
        self.denied(e, room, "item-not-found", "cancel")

    def test_7_2_13_history(self):
        room, o, a = self.hall("a")
        ids = [self.say(o, room, "one")]
        self.hear(a, "one")
        ids.append(self.say(a, room, "two"))
        self.calm(room, o, a)
        c = self.person(2)
        self.join(c, room, "c")
        self.assertEqual([(m.get("from"), text(m), m.get("id")) for m in c.history], [(room + "/owner", "one", ids[0]), (room + "/a", "two", ids[1])])
        for m in c.history:
            d = kid(m, "delay", DELAY)
            self.assertEqual(d.get("from"), room)
            self.assertRegex(d.get("stamp"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
            self.assertEqual(m.get("to"), c.jid)
            self.assertEqual(len(m.findall("{%s}occupant-id" % OCCUPANT_ID)), 1)
            self.assertEqual([s.get("by") for s in m.findall("{%s}stanza-id" % SID)], [room])

    def test_7_2_14_history_limits(self):
        room, o = self.hall()
        for i in range(5):
            self.say(o, room, "m%d" % i)
        self.calm(room, o)
        c = self.person(1)

        def got(attrs):
            self.join(c, room, "c", "<history %s/>" % attrs)
            out = [text(m) for m in c.history]
            sizes = [len(show(m)) for m in c.history]
            self.leave(c, room, "c")
            return out, sizes
        self.assertEqual(got("maxchars='0'")[0], [])
        self.assertEqual(got("maxstanzas='0'")[0], [])
        self.assertEqual(got("maxstanzas='2'")[0], ["m3", "m4"])
        self.assertEqual(got("seconds='180'")[0], ["m%d" % i for i in range(5)])
        self.assertEqual(got("since='1970-01-01T00:00:00Z'")[0], ["m%d" % i for i in range(5)])
        self.assertEqual(got("since='2099-01-01T00:00:00Z'")[0], [])
        self.assertEqual(got("maxchars='100000' maxstanzas='1'")[0], ["m4"])
        few = got("maxchars='1500'")[0]
        self.assertTrue(0 < len(few) < 5, few)
        self.assertEqual(few[-1], "m4")
        self.assertEqual(got("maxstanzas='x'")[0][-1:], ["m4"])

    def test_7_2_15_subject(self):
        room, o = self.hall()
        c = self.person(1)
        self.join(c, room, "c")
        self.assertEqual(text(c.subject, "subject"), "")
        self.assertEqual(c.subject.get("type"), "groupchat")
        self.leave(c, room, "c")
        o.message(room, None, "groupchat", "<subject>Fire</subject>")
        self.calm(room, o)
        self.join(c, room, "c")
        self.assertEqual(text(c.subject, "subject"), "Fire")
        self.assertIsNone(kid(c.subject, "body"))
        self.assertIn(c.subject.get("from"), (room, room + "/owner"))
        self.assertEqual(kid(c.subject, "delay", DELAY).get("from"), room)
        self.assertEqual(c.history, [])

    def test_7_2_18_presence_without_x_from_a_stranger(self):
        room, o = self.hall()
        c = self.person(1)
        c.send("<presence to='%s/c'><show>away</show></presence>" % room)
        e = self.seen(c, room, "c")
        self.assertEqual(e.get("type"), "unavailable")
        self.assertTrue({110, 307, 333} <= codes(e), show(e))
        self.assertEqual(ranks(e)[1], "none")
        self.assertEqual(self.rest(o, room), [])

    def test_7_2_1_joining_again_synchronizes(self):
        room, o, c = self.hall("c")
        self.say(o, room, "old")
        o.message(room, None, "groupchat", "<subject>S</subject>")
        self.calm(room, o, c)
        e = self.join(c, room, "c")
        self.assertEqual({p.get("from") for p in c.entry}, {room + "/owner", room + "/c"})
        self.assertIn(110, codes(e))
        self.assertEqual([text(m) for m in c.history], ["old"])
        self.assertEqual(text(c.subject, "subject"), "S")
        # the others learn nothing new: no unavailable, no second join with another role
        self.assertEqual([p for p in self.rest(o, room) if p.get("type") is not None], [])

    def test_17_3_join_again_with_other_presence_is_an_update(self):
        room, o, c = self.hall("c")
        self.enter(c, room, "c", presence="<show>dnd</show>")
        self.assertEqual(text(self.seen(o, room, "c"), "show"), "dnd")

    def test_17_3_typed_presence_does_not_join_or_leave(self):
        room, o = self.hall()
        c = self.person(1)
        for t in ("probe", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "unavailable", "error"):
            c.send("<presence to='%s/c' type='%s'><x xmlns='%s'/></presence>" % (room, t, MUC))
        got = self.rest(c, room)
        self.assertEqual([show(e) for e in got if local(e) == "presence" and e.get("type") is None], [])
        self.assertEqual([show(e) for e in self.rest(o, room) if local(e) == "presence"], [])
        self.join(c, room, "c")
        self.calm(room, o, c)
        c.send("<presence to='%s/c' type='probe'/>" % room)
        c.send("<presence to='%s/c' type='subscribe'/>" % room)
        self.assertEqual([show(e) for e in self.rest(c, room) if e.get("type") == "unavailable"], [])
        self.say(c, room, "still here")
        self.hear(o, "still here")

    def test_17_3_unavailable_of_a_stranger_is_ignored(self):
        room, o = self.hall()
        c = self.person(1)
        c.send("<presence to='%s/c' type='unavailable'/>" % room)
        c.send("<presence to='%s/owner' type='unavailable'/>" % room)
        self.assertEqual(self.rest(c, room), [])
        self.assertEqual(self.rest(o, room), [])

    def test_17_3_muc_user_of_a_client_is_not_reflected(self):
        room, o = self.hall()
        c = self.person(1)
        fake = "<x xmlns='%s'><item affiliation='owner' role='moderator' jid='a@b/c'/><status code='301'/></x><e xmlns='t:e'/>" % USER
        self.enter(c, room, "c", presence=fake)
        p = self.seen(o, room, "c")
        self.assertEqual(len(p.findall("{%s}x" % USER)), 1)
        self.assertEqual(ranks(p), ("none", "participant"))
        self.assertEqual(item(p).get("jid"), c.jid)
        self.assertEqual(codes(p), set())
        self.assertIsNotNone(kid(p, "e", "t:e"), "other extensions pass")

    def test_17_1_nick_of_spaces(self):
        room, o = self.hall()
        c = self.person(1)
        for nick in (" ", "   ", "\u00a0"):
            c.send("<presence to='%s/%s'><x xmlns='%s'/></presence>" % (room, nick, MUC))
            e = c.wait(is_("presence", type_="error"))
            self.assertIn(error_of(e)[1], ("jid-malformed", "not-acceptable", "bad-request"))
        self.assertEqual(self.rest(o, room), [])

    def test_5_1_2_roles_on_entering_a_moderated_room(self):
        room, o = self.hall(moderatedroom=1)
        a, b, c = self.people(4)[1:]
        self.affiliate(o, room, b.bare, "member")
        self.affiliate(o, room, c.bare, "admin")
        self.assertEqual(ranks(self.join(a, room, "a")), ("none", "visitor"))
        self.assertEqual(ranks(self.join(b, room, "b")), ("member", "participant"))
        self.assertEqual(ranks(self.join(c, room, "c")), ("admin", "moderator"))

    def test_presencebroadcast(self):
        room, o = self.hall(moderatedroom=1, presencebroadcast=["moderator", "participant"])
        f = form_of(self.owner(o, room, "", "get"))
        self.assertEqual(set(f["muc#roomconfig_presencebroadcast"]), {"moderator", "participant"})
        v, m = self.people(3)[1:]
        self.affiliate(o, room, m.bare, "member")
        self.join(m, room, "m")
        self.calm(room, o, m)
        e = self.join(v, room, "v")       # a visitor: the others are not told
        self.assertEqual(ranks(e), ("none", "visitor"))
        self.assertEqual({p.get("from") for p in v.entry}, {room + "/owner", room + "/m", room + "/v"})
        self.assertEqual([show(p) for p in self.rest(m, room) if p.get("from") == room + "/v"], [])
        # voice makes it visible
        self.assertResult(self.role(o, room, "v", "participant"))
        self.assertEqual(ranks(self.seen(m, room, "v")), ("none", "participant"))
        self.seen(v, room, "v")
        # and back: to those who may not see it any more it is gone
        self.assertResult(self.role(o, room, "v", "visitor"))
        self.assertEqual(ranks(self.seen(v, room, "v")), ("none", "visitor"))


class Talking(Case):
    """Sections 7.4 to 7.7, 7.13, 7.14 and 17.2."""

    def test_example_44_message_to_all(self):
        room, o, a = self.hall("a")
        id_ = self.say(a, room, "Harpier cries", "<thread>t1</thread><html xmlns='t:html'><b>x</b></html>")
        for c in (o, a):
            m = self.hear(c, "Harpier cries")
            self.assertEqual((m.get("from"), m.get("to"), m.get("type"), m.get("id")), (room + "/a", c.jid, "groupchat", id_))
            self.assertEqual(text(m, "thread"), "t1")
            self.assertIsNotNone(kid(m, "html", "t:html"))
            self.assertIsNone(kid(m, "delay", DELAY))
            self.assertEqual(len(m.findall("{%s}stanza-id[@by='%s']" % (SID, room))), 1)

    def test_message_without_id(self):
        room, o, a = self.hall("a")
        a.send("<message to='%s' type='groupchat'><body>no id</body></message>" % room)
        self.hear(o, "no id")

    def test_visitor_has_no_voice(self):
        room, o, v = self.hall("v", moderatedroom=1)
        id_ = self.say(v, room, "hush")
        e = v.wait(is_("message", type_="error"))
        self.assertError(e, "forbidden", "auth")
        self.assertEqual((e.get("from"), e.get("id")), (room, id_))
        self.assertEqual(self.rest(o, room), [])

    def test_stranger_may_not_speak(self):
        room, o = self.hall()
        c = self.person(1)
        self.say(c, room, "hello?")
        e = c.wait(is_("message", type_="error"))
        self.assertError(e, "not-acceptable")
        self.assertEqual(self.rest(o, room), [])

    def test_message_to_no_room(self):
        c, = self.people(1)
        self.say(c, self.room(), "x")
        self.assertError(c.wait(is_("message", type_="error")), "item-not-found")

    def test_17_2_message_to_a_locked_room_of_a_stranger(self):
        o, c = self.people(2)
        room = self.room()
        self.join(o, room, "o")
        self.say(c, room, "x")
        self.assertError(c.wait(is_("message", type_="error")), "item-not-found")

    def test_error_messages_are_not_answered(self):
        room, o = self.hall()
        c = self.person(1)
        c.send("<message to='%s' type='error'><body>x</body></message><message to='%s/owner' type='error'/>" % (room, room))
        self.assertEqual(self.rest(c, room), [])

    def test_example_46_private_message(self):
        room, o, a, b = self.hall("a", "b")
        id_ = a.message(room + "/b", "secret", "chat")
        m = self.hear(b, "secret")
        self.assertEqual((m.get("from"), m.get("to"), m.get("type"), m.get("id")), (room + "/a", b.jid, "chat", id_))
        self.assertIsNotNone(x_user(m), "7.5: the service SHOULD add the x element")
        self.assertEqual(len(m.findall("{%s}x" % USER)), 1)
        self.assertNotIn(a.bare, show(m))
        self.assertEqual(self.rest(o, room), [])
        a.message(room + "/b", "normal", None)
        self.assertIn(self.hear(b, "normal").get("type"), (None, "normal"))

    def test_example_48_groupchat_to_an_occupant(self):
        room, o, a = self.hall("a")
        a.message(room + "/owner", "x", "groupchat")
        self.assertError(a.wait(is_("message", type_="error")), "bad-request", "modify")
        self.assertEqual(self.rest(o, room), [])

    def test_private_message_to_nobody(self):
        room, o, a = self.hall("a")
        a.message(room + "/ghost", "x", "chat")
        e = a.wait(is_("message", type_="error"))
        self.assertError(e, "item-not-found", "cancel")
        self.assertEqual(e.get("from"), room + "/ghost")

    def test_private_message_of_a_stranger(self):
        room, o = self.hall()
        c = self.person(1)
        c.message(room + "/owner", "x", "chat")
        self.assertError(c.wait(is_("message", type_="error")), "not-acceptable")
        self.assertEqual(self.rest(o, room), [])

    def test_allowpm(self):
        room, o, a, b = self.hall("a", "b", allowpm="moderators")
        a.message(room + "/b", "x", "chat")
        self.assertIn(error_of(a.wait(is_("message", type_="error")))[1], ("forbidden", "not-allowed", "not-acceptable", "policy-violation"))
        self.assertEqual(self.rest(b, room), [])
        o.message(room + "/b", "from above", "chat")
        self.hear(b, "from above")
        self.assertResult(self.owner(o, room, config(allowpm="none")))
        self.calm(room, o, a, b)
        o.message(room + "/b", "x", "chat")
        o.wait(is_("message", type_="error"))
        self.assertEqual(self.rest(b, room), [])
        self.assertResult(self.owner(o, room, config(allowpm="anyone")))
        a.message(room + "/b", "again", "chat")
        self.hear(b, "again")

    def test_example_49_nick_change(self):
        room, o, c = self.hall("thirdwitch")
        c.presence(to=room + "/oldhag")
        for x in (o, c):
            gone = self.seen(x, room, "thirdwitch", type_="unavailable")
            self.assertIn(303, codes(gone))
            self.assertEqual(item(gone).get("nick"), "oldhag")
            new = self.seen(x, room, "oldhag")
            self.assertIsNone(new.get("type"))
            self.assertEqual(ranks(new), ("none", "participant"))
            for p in (gone, new):
                self.assertEqual(110 in codes(p), x is c, show(p))
        self.say(c, room, "me")
        self.assertEqual(self.hear(o, "me").get("from"), room + "/oldhag")
        d = self.person(2)
        self.join(d, room, "thirdwitch")

    def test_example_52_nick_conflict(self):
        room, o, c = self.hall("c")
        c.presence(to=room + "/owner", id_="nc")
        e = c.wait(is_("presence", type_="error"))
        self.denied(e, room, "conflict", "cancel")
        self.assertEqual(e.get("id"), "nc")
        self.assertEqual(self.rest(o, room), [])
        self.say(c, room, "same")
        self.assertEqual(self.hear(o, "same").get("from"), room + "/c")

    def test_nick_reserved_by_another(self):
        room, o, c = self.hall("c")
        d = self.person(2)
        self.assertResult(self.admin(o, room, "<item jid='%s' affiliation='member' nick='Reserved'/>" % d.bare))
        c.presence(to=room + "/Reserved")
        self.denied(c.wait(is_("presence", type_="error")), room, "conflict", "cancel")
        e = self.person(3)
        self.denied(self.enter(e, room, "Reserved"), room, "conflict", "cancel")
        self.assertIn(110, codes(self.enter(d, room, "Reserved")))

    def test_example_54_availability(self):
        room, o, c = self.hall("c")
        c.send("<presence to='%s/c' id='p1'><show>xa</show><status>gone where the goblins go</status><priority>3</priority></presence>" % room)
        for x in (o, c):
            p = self.seen(x, room, "c")
            self.assertEqual((text(p, "show"), text(p, "status")), ("xa", "gone where the goblins go"))
            self.assertEqual(ranks(p), ("none", "participant"))
            self.assertEqual(110 in codes(p), x is c)
        # somebody new sees the latest presence
        d = self.person(2)
        self.join(d, room, "d")
        self.assertEqual([text(p, "show") for p in d.entry if p.get("from") == room + "/c"], ["xa"])

    def test_example_80_exit(self):
        room, o, c = self.hall("c")
        e = self.leave(c, room, "c", "<status>gone where the goblins go</status>")
        self.assertEqual(e.get("from"), room + "/c")
        self.assertEqual(ranks(e), ("none", "none"))
        p = self.seen(o, room, "c", type_="unavailable")
        self.assertEqual(ranks(p), ("none", "none"))
        self.assertEqual(text(p, "status"), "gone where the goblins go")
        self.assertNotIn(110, codes(p))
        self.assertEqual(item(p).get("jid"), c.jid)

    def test_exit_keeps_the_affiliation(self):
        room, o, c = self.hall("c")
        self.affiliate(o, room, c.bare, "member")
        self.seen(o, room, "c")
        self.leave(c, room, "c")
        self.assertEqual(ranks(self.seen(o, room, "c", type_="unavailable")), ("member", "none"))

    def test_exit_by_going_offline(self):
        room, o = self.hall()
        c = self.login()
        self.join(c, room, "c")
        self.seen(o, room, "c")
        c.presence("unavailable", inner="<status>bye</status>")
        p = self.seen(o, room, "c", type_="unavailable")
        self.assertEqual(text(p, "status"), "bye")
        self.join(self.login(c.bare.partition("@")[0]), room, "c")
        self.seen(o, room, "c")

    def test_exit_by_a_lost_connection(self):
        room, o = self.hall()
        c = self.login()
        self.join(c, room, "c")
        self.seen(o, room, "c")
        c.cut()
        self.seen(o, room, "c", type_="unavailable")

    def test_temporary_room_ends_with_the_last(self):
        room, o = self.hall(persistentroom=0)
        self.leave(o, room, "owner")
        self.assertError(self.info(o, room), "item-not-found")

    def test_persistent_room_stays(self):
        room, o = self.hall(persistentroom=1)
        self.leave(o, room, "owner")
        self.assertResult(self.info(o, room))
        e = self.join(o, room, "owner")
        self.assertNotIn(201, codes(e))
        self.assertEqual(ranks(e), ("owner", "moderator"))
        self.owner(o, room, config(persistentroom=0))

    def test_18_1_2_ghost(self):
        room, o, c = self.hall("c")
        id_ = self.say(o, room, "are you there")
        m = self.hear(c, "are you there")
        c.send("<message type='error' to='%s' id='%s'><error type='cancel'><gone xmlns='%s'/></error></message>" % (
            m.get("from"), id_, xmppc.STANZA_ERRORS))
        p = self.seen(o, room, "c", type_="unavailable")
        self.assertIn(333, codes(p))
        self.assertNotIn(301, codes(p))

    def test_12_other_errors_do_not_kick(self):
        room, o, c = self.hall("c")
        id_ = self.say(o, room, "hm")
        self.hear(c, "hm")
        c.send("<message type='error' to='%s/owner' id='%s'><error type='modify'><not-acceptable xmlns='%s'/></error></message>" % (
            room, id_, xmppc.STANZA_ERRORS))
        self.quiet(c, room)
        self.say(c, room, "here")
        self.hear(o, "here")

    def test_example_79_voice_request(self):
        room, o, v = self.hall("v", moderatedroom=1)
        v.send("<message to='%s'>%s</message>" % (room, submit({"muc#role": "participant"}, REQUEST)))
        m = o.wait(lambda e: local(e) == "message" and e.find("{%s}x" % FORM) is not None)
        self.assertEqual(m.get("from"), room)
        self.assertEqual(m.find("{%s}x" % FORM).get("type"), "form")
        f = form_of(m)
        self.assertEqual(f["FORM_TYPE"], [REQUEST])
        self.assertEqual(f["muc#role"], ["participant"])
        self.assertEqual(f["muc#jid"], [v.jid])
        self.assertEqual(f["muc#roomnick"], ["v"])
        self.assertIn(f["muc#request_allow"], (["0"], ["false"]))
        o.send("<message to='%s'>%s</message>" % (room, submit({"muc#role": "participant", "muc#jid": v.jid, "muc#roomnick": "v",
                                                                "muc#request_allow": "true"}, REQUEST)))
        for c in (o, v):
            self.assertEqual(ranks(self.seen(c, room, "v")), ("none", "participant"))
        self.say(v, room, "voice")
        self.hear(o, "voice")

    def test_voice_request_refused(self):
        room, o, v = self.hall("v", moderatedroom=1)
        v.send("<message to='%s'>%s</message>" % (room, submit({"muc#role": "participant"}, REQUEST)))
        o.wait(lambda e: local(e) == "message" and e.find("{%s}x" % FORM) is not None)
        o.send("<message to='%s'>%s</message>" % (room, submit({"muc#role": "participant", "muc#jid": v.jid, "muc#roomnick": "v",
                                                                "muc#request_allow": "0"}, REQUEST)))
        self.quiet(o, room)
        self.assertEqual([p for p in self.rest(v, room) if local(p) == "presence"], [])

    def test_voice_approval_of_a_visitor_is_nothing(self):
        room, o, v, w = self.hall("v", "w", moderatedroom=1)
        v.send("<message to='%s'>%s</message>" % (room, submit({"muc#role": "participant", "muc#jid": w.jid, "muc#roomnick": "w",
                                                                "muc#request_allow": "1"}, REQUEST)))
        self.quiet(v, room)
        self.assertEqual([p for p in self.rest(w, room) if local(p) == "presence"], [])

    def test_17_4_iq_between_occupants(self):
        room, o, a = self.hall("a")
        id_ = a.new_id()
        a.send("<iq type='set' id='%s' to='%s/owner'><q xmlns='t:q'/></iq>" % (id_, room))
        q = o.wait(lambda e: local(e) == "iq" and e.find("{t:q}q") is not None)
        self.assertEqual((q.get("from"), q.get("to")), (room + "/a", o.jid))
        o.send("<iq type='error' id='%s' to='%s'><error type='cancel'><not-allowed xmlns='%s'/></error></iq>" % (
            q.get("id"), q.get("from"), xmppc.STANZA_ERRORS))
        r = a.reply(id_)
        self.assertError(r, "not-allowed", "cancel")
        self.assertEqual(r.get("from"), room + "/owner")

    def test_17_4_iq_to_nobody(self):
        room, o = self.hall()
        self.assertError(o.iq("get", "<q xmlns='t:q'/>", room + "/ghost"), "item-not-found")

    def test_17_4_iq_of_a_stranger(self):
        room, o = self.hall()
        c = self.person(1)
        self.assertError(c.iq("get", "<q xmlns='t:q'/>", room + "/owner"), ("not-acceptable", "bad-request", "forbidden"))
        self.assertEqual(self.rest(o, room), [])

    def test_vcard_through_the_room(self):
        room, o, c = self.hall("c")
        o.iq("set", "<vCard xmlns='vcard-temp'><FN>Owner Real</FN></vCard>")
        r = c.iq("get", "<vCard xmlns='vcard-temp'/>", room + "/owner")
        self.assertResult(r)
        self.assertEqual(r.get("from"), room + "/owner")
        self.assertEqual(r.find("{vcard-temp}vCard/{vcard-temp}FN").text, "Owner Real")
        self.assertNotIn(o.bare, show(r))


class Inviting(Case):
    """Section 7.8, with XEP-0249 where a client sends the invitation itself."""

    def invite(self, c, room, who, inner="", attrs=""):
        c.send("<message to='%s' id='inv'><x xmlns='%s'><invite to='%s'%s>%s</invite></x></message>" % (room, USER, who, attrs, inner))

    def invitation(self, c):
        m = c.wait(lambda e: local(e) == "message" and e.get("type") != "error" and x_user(e) is not None and kid(x_user(e), "invite") is not None)
        return m, kid(x_user(m), "invite")

    def test_example_56_mediated(self):
        room, o, a = self.hall("a")
        c = self.person(2)
        self.invite(a, room, c.bare, "<reason>Hey Hecate</reason>")
        m, i = self.invitation(c)
        self.assertEqual(m.get("from"), room)
        self.assertIn(i.get("from"), (a.bare, a.jid, room + "/a"))
        self.assertIsNone(i.get("to"))
        self.assertEqual(text(i, "reason"), "Hey Hecate")
        self.assertNotEqual(m.get("type"), "groupchat")

    def test_example_57_password(self):
        room, o = self.hall(passwordprotectedroom=1, roomsecret="pw")
        c = self.person(1)
        self.invite(o, room, c.bare)
        m, i = self.invitation(c)
        self.assertEqual(text(x_user(m), "password"), "pw")

    def test_continue(self):
        room, o = self.hall()
        c = self.person(1)
        self.invite(o, room, c.bare, "<reason>r</reason><continue thread='e0ffe42b'/>")
        m, i = self.invitation(c)
        self.assertEqual(kid(i, "continue").get("thread"), "e0ffe42b")

    def test_two_invitees_in_one_message(self):
        room, o = self.hall()
        c, d = self.people(3)[1:]
        o.send("<message to='%s'><x xmlns='%s'><invite to='%s'/><invite to='%s'/></x></message>" % (room, USER, c.bare, d.bare))
        self.invitation(c)
        self.invitation(d)

    def test_example_58_decline(self):
        room, o, a = self.hall("a")
        c = self.person(2)
        self.invite(a, room, c.bare)
        m, i = self.invitation(c)
        c.send("<message to='%s'><x xmlns='%s'><decline to='%s'><reason>Sorry</reason></decline></x></message>" % (room, USER, i.get("from")))
        d = a.wait(lambda e: local(e) == "message" and x_user(e) is not None and kid(x_user(e), "decline") is not None)
        self.assertEqual(d.get("from"), room)
        dec = kid(x_user(d), "decline")
        self.assertEqual(dec.get("from").partition("/")[0], c.bare)
        self.assertIsNone(dec.get("to"))
        self.assertEqual(text(dec, "reason"), "Sorry")

    def test_stranger_may_not_invite(self):
        room, o = self.hall()
        c, d = self.people(3)[1:]
        self.invite(c, room, d.bare)
        self.assertIn(error_of(c.wait(is_("message", type_="error")))[1], ("not-acceptable", "forbidden"))
        self.assertEqual(self.rest(d, room), [])

    def test_example_135_mere_member_in_a_members_only_room(self):
        room, o, a = None, None, None
        o, a, c = self.people(3)
        room = self.create(o, self.room(), "owner", membersonly=1, allowinvites=0)
        self.affiliate(o, room, a.bare, "member")
        self.join(a, room, "a")
        self.invite(a, room, c.bare)
        e = a.wait(is_("message", type_="error"))
        self.assertError(e, "forbidden", "auth")
        self.assertEqual(self.rest(c, room), [])

    def test_members_only_invitation_makes_a_member(self):
        o, a, c = self.people(3)
        room = self.create(o, self.room(), "owner", membersonly=1, allowinvites=1)
        self.affiliate(o, room, a.bare, "member")
        self.join(a, room, "a")
        self.invite(a, room, c.bare)
        self.invitation(c)
        self.assertEqual(ranks(self.join(c, room, "c")), ("member", "participant"))

    def test_open_room_invitation_makes_no_member(self):
        room, o = self.hall()
        c = self.person(1)
        self.invite(o, room, c.bare)
        self.invitation(c)
        self.assertEqual(self.items(o, room, "affiliation='member'"), [])

    def test_owner_invites_without_allowinvites(self):
        o, c = self.people(2)
        room = self.create(o, self.room(), "owner", membersonly=1, allowinvites=0)
        self.invite(o, room, c.bare)
        self.invitation(c)
        self.join(c, room, "c")

    def test_nobody_there(self):
        room, o = self.hall()
        self.invite(o, room, "nobody-at-all@" + lab.DOMAIN)
        e = o.wait(is_("message", type_="error"), 5)
        self.assertError(e, ("item-not-found", "service-unavailable"))

    def test_malformed_invitee(self):
        room, o = self.hall()
        self.invite(o, room, "@@@")
        self.assertError(o.wait(is_("message", type_="error")), ("jid-malformed", "item-not-found", "bad-request"))

    def test_example_134_new_member_is_invited(self):
        o, c = self.people(2)
        room = self.create(o, self.room(), "owner", membersonly=1, passwordprotectedroom=1, roomsecret="pw2")
        self.affiliate(o, room, c.bare, "member")
        m = c.wait(lambda e: local(e) == "message" and x_user(e) is not None and kid(x_user(e), "invite") is not None)
        self.assertEqual(m.get("from"), room)
        self.assertEqual(text(x_user(m), "password"), "pw2")

    def test_0249_direct_invitation_passes_and_waits_offline(self):
        a, = self.people(1)
        name = self.user()
        inv = "<x xmlns='jabber:x:conference' jid='darkcave@%s' password='p' reason='r' continue='true' thread='t'/>" % SERVICE
        a.message("%s@%s" % (name, lab.DOMAIN), None, None, inv)
        b = self.login(name)
        x = b.wait(lambda e: local(e) == "message" and e.find("{jabber:x:conference}x") is not None).find("{jabber:x:conference}x")
        self.assertEqual(dict(x.attrib), {"jid": "darkcave@" + SERVICE, "password": "p", "reason": "r", "continue": "true", "thread": "t"})

    def test_example_61_continue_history_by_the_owner(self):
        room, o = self.hall()
        o.send("<message to='%s' type='groupchat'><body>Thrice the cat</body><delay xmlns='%s' from='crone1@shakespeare.lit' "
               "stamp='2004-09-29T01:54:37Z'/></message>" % (room, DELAY))
        m = self.hear(o, "Thrice the cat")
        d = m.findall("{%s}delay" % DELAY)
        self.assertEqual([(x.get("from"), x.get("stamp")) for x in d], [("crone1@shakespeare.lit", "2004-09-29T01:54:37Z")])


class Registering(Case):
    """Sections 7.10 to 7.12."""

    def test_example_66_form(self):
        room, o = self.hall()
        c = self.person(1)
        r = c.iq("get", "<query xmlns='%s'/>" % REGISTER, room)
        if r.get("type") == "error":
            self.assertError(r, ("service-unavailable", "not-allowed"))
            return
        f = form_of(r)
        self.assertEqual(f["FORM_TYPE"], [REG_FORM])
        self.assertIn("muc#register_roomnick", f)
        self.assertEqual(r.find(".//{%s}x" % FORM).get("type"), "form")

    def test_no_such_room(self):
        c, = self.people(1)
        self.assertError(c.iq("get", "<query xmlns='%s'/>" % REGISTER, self.room()), "item-not-found", "cancel")

    def register(self, c, room, nick):
        return c.iq("set", "<query xmlns='%s'>%s</query>" % (REGISTER, submit({"muc#register_roomnick": nick}, REG_FORM)), room)

    def supported(self, c, room):
        r = c.iq("get", "<query xmlns='%s'/>" % REGISTER, room)
        if r.get("type") == "error":
            self.skipTest("no registration here")

    def test_example_71_registration(self):
        room, o, c = self.hall("c")
        self.supported(c, room)
        self.assertResult(self.register(c, room, "thirdwitch"))
        p = self.seen(o, room, "c") if True else None
        self.assertEqual(ranks(p)[0], "member")
        r = c.iq("get", "<query xmlns='%s'/>" % REGISTER, room)
        q = kid(r, "query", REGISTER)
        self.assertIsNotNone(kid(q, "registered"))
        self.assertEqual(text(q, "username"), "thirdwitch")
        self.assertIn(c.bare, [i.get("jid") for i in self.items(o, room, "affiliation='member'")])

    def test_example_72_conflict(self):
        room, o, c, d = self.hall("c", "d")
        self.supported(c, room)
        self.assertResult(self.register(c, room, "taken"))
        self.assertError(self.register(d, room, "taken"), "conflict", "cancel")

    def test_example_74_bad_form(self):
        room, o, c = self.hall("c")
        self.supported(c, room)
        self.assertError(c.iq("set", "<query xmlns='%s'/>" % REGISTER, room), "bad-request", "modify")

    def test_registered_nick_is_reserved(self):
        room, o, c = self.hall("c")
        self.supported(c, room)
        self.assertResult(self.register(c, room, "mine"))
        d = self.person(2)
        self.denied(self.enter(d, room, "mine"), room, "conflict", "cancel")

    def test_example_77_reserved_nick(self):
        room, o = self.hall()
        c = self.person(1)
        r = self.info(c, room, "x-roomuser-item")
        if r.get("type") == "error":
            self.assertError(r, "feature-not-implemented")
            return
        self.assertEqual(list(kid(r, "query", DISCO_INFO)), [])
        self.assertResult(self.admin(o, room, "<item jid='%s' affiliation='member' nick='thirdwitch'/>" % c.bare))
        r = self.info(c, room, "x-roomuser-item")
        i = kid(kid(r, "query", DISCO_INFO), "identity")
        self.assertEqual((i.get("category"), i.get("type"), i.get("name")), ("conference", "text", "thirdwitch"))
        self.join(c, room, "thirdwitch")
        self.assertResult(self.info(c, room, "x-roomuser-item"))

    def test_outcast_may_not_register(self):
        room, o, c = self.hall("c")
        self.supported(c, room)
        self.affiliate(o, room, c.bare, "outcast")
        self.assertError(self.register(c, room, "x"), ("not-allowed", "forbidden"))

    def test_ban_frees_the_registered_nick(self):
        room, o, c, d = self.hall("c", "d")
        self.assertResult(self.admin(o, room, "<item jid='%s' affiliation='member' nick='theirs'/>" % c.bare))
        self.affiliate(o, room, c.bare, "outcast")
        self.calm(room, o, d)
        d.presence(to=room + "/theirs")
        self.assertIsNone(self.seen(d, room, "theirs").get("type"))


class Moderating(Case):
    """Section 8."""

    def test_example_84_subject(self):
        room, o, a = self.hall("a")
        o.message(room, None, "groupchat", "<subject>Fire Burn</subject>", "sub1")
        for c in (o, a):
            m = c.wait(lambda e: local(e) == "message" and kid(e, "subject") is not None)
            self.assertEqual((text(m, "subject"), m.get("type"), m.get("id")), ("Fire Burn", "groupchat", "sub1"))
            self.assertIn(m.get("from"), (room, room + "/owner"))

    def test_subject_with_body_is_no_change(self):
        room, o = self.hall(changesubject=0)
        a = self.person(1)
        self.join(a, room, "a")
        self.calm(room, o, a)
        a.message(room, "text", "groupchat", "<subject>Not</subject>")
        self.assertEqual(text(self.hear(o, "text"), "subject"), "Not")
        c = self.person(2)
        self.join(c, room, "c")
        self.assertEqual(text(c.subject, "subject"), "")

    def test_subject_with_thread_is_no_change(self):
        room, o = self.hall()
        o.message(room, None, "groupchat", "<subject>Not</subject><thread>t</thread>")
        self.quiet(o, room)
        c = self.person(1)
        e = self.enter(c, room, "c")
        got = self.rest(c, room)
        self.assertEqual([text(m, "subject") for m in got if local(m) == "message" and kid(m, "thread") is None][-1:], [""])

    def test_example_87_no_right(self):
        room, o, a = self.hall("a", changesubject=0)
        a.message(room, None, "groupchat", "<subject>x</subject>")
        e = a.wait(is_("message", type_="error"))
        self.assertError(e, "forbidden", "auth")
        self.assertEqual(self.rest(o, room), [])

    def test_changesubject(self):
        room, o, a = self.hall("a", changesubject=1)
        a.message(room, None, "groupchat", "<subject>mine</subject>")
        o.wait(lambda e: text(e, "subject") == "mine")

    def test_visitor_never_without_voice(self):
        room, o, v = self.hall("v", moderatedroom=1, changesubject=0)
        v.message(room, None, "groupchat", "<subject>mine</subject>")
        self.assertError(v.wait(is_("message", type_="error")), "forbidden", "auth")

    def test_example_88_empty_subject(self):
        room, o = self.hall()
        o.message(room, None, "groupchat", "<subject>x</subject>")
        o.message(room, None, "groupchat", "<subject/>")
        o.wait(lambda e: text(e, "subject") == "x")
        o.wait(lambda e: text(e, "subject") == "")
        c = self.person(1)
        self.join(c, room, "c")
        self.assertEqual(text(c.subject, "subject"), "")

    def test_example_89_kick(self):
        room, o, a, b = self.hall("pistol", "b")
        r = self.role(o, room, "pistol", "none", "<reason>Avaunt, you cullion!</reason>")
        self.assertResult(r)
        e = self.kicked(a, room, "pistol", 307)
        self.assertEqual(ranks(e), ("none", "none"))
        self.assertEqual(text(item(e), "reason"), "Avaunt, you cullion!")
        act = kid(item(e), "actor")
        if act is not None:
            self.assertTrue(act.get("nick") == "owner" or act.get("jid") == o.bare)
            self.assertIsNone(act.get("jid"), "the room is semi-anonymous")
        self.assertIn(110, codes(e))
        p = self.kicked(b, room, "pistol", 307)
        self.assertEqual(text(item(p), "reason"), "Avaunt, you cullion!")
        self.assertNotIn(110, codes(p))
        self.kicked(o, room, "pistol", 307)
        self.say(a, room, "x")
        self.assertError(a.wait(is_("message", type_="error")), "not-acceptable")
        self.join(a, room, "pistol")        # a kick is not a ban

    def test_example_93_kick_of_higher(self):
        room, o, a, b = self.hall("admin", "mod")
        self.affiliate(o, room, a.bare, "admin")
        self.assertResult(self.role(o, room, "mod", "moderator"))
        self.calm(room, o, a, b)
        self.assertError(self.role(b, room, "admin", "none"), "not-allowed", "cancel")
        self.assertError(self.role(b, room, "owner", "none"), "not-allowed", "cancel")
        self.assertError(self.role(a, room, "owner", "none"), "not-allowed", "cancel")
        self.assertEqual([show(p) for p in self.rest(o, room) if local(p) == "presence"], [])

    def test_kick_by_participant(self):
        room, o, a, b = self.hall("a", "b")
        self.assertError(self.role(a, room, "b", "none"), "forbidden", "auth")
        self.assertError(self.role(a, room, "owner", "none"), "forbidden", "auth")

    def test_kick_by_stranger(self):
        room, o, a = self.hall("a")
        c = self.person(2)
        self.assertError(self.role(c, room, "a", "none"), "forbidden", "auth")

    def test_kick_of_nobody(self):
        room, o = self.hall()
        self.assertError(self.role(o, room, "ghost", "none"), ("item-not-found", "not-acceptable"))

    def test_kick_several(self):
        room, o, a, b = self.hall("a", "b")
        self.assertResult(self.admin(o, room, "<item nick='a' role='none'/><item nick='b' role='none'/>"))
        self.kicked(a, room, "a", 307)
        self.kicked(b, room, "b", 307)

    def test_several_or_none(self):
        room, o, a, b = self.hall("a", "admin2")
        self.affiliate(o, room, b.bare, "admin")
        self.assertResult(self.role(o, room, "a", "moderator"))
        c = self.person(3)
        self.join(c, room, "c")
        self.calm(room, o, a, b, c)
        self.assertError(self.admin(a, room, "<item nick='c' role='none'/><item nick='admin2' role='none'/>"), "not-allowed")
        self.assertEqual(self.rest(c, room), [])

    def test_example_94_voice(self):
        room, o, v, b = self.hall("v", "b", moderatedroom=1)
        self.assertResult(self.role(o, room, "v", "participant", "<reason>A worthy witch indeed!</reason>"))
        for c in (o, v, b):
            p = self.seen(c, room, "v")
            self.assertEqual(ranks(p), ("none", "participant"))
            self.assertEqual(text(item(p), "reason"), "A worthy witch indeed!")
            self.assertEqual(110 in codes(p), c is v)
        # 98: and revoked
        self.assertResult(self.role(o, room, "v", "visitor"))
        for c in (o, v, b):
            self.assertEqual(ranks(self.seen(c, room, "v")), ("none", "visitor"))

    def test_example_102_voice_of_higher(self):
        room, o, a, b = self.hall("admin", "mod", moderatedroom=1)
        self.affiliate(o, room, a.bare, "admin")
        self.assertResult(self.role(o, room, "mod", "moderator"))
        self.assertError(self.role(b, room, "admin", "visitor"), "not-allowed", "cancel")
        self.assertError(self.role(b, room, "owner", "visitor"), "not-allowed", "cancel")
        # "by anyone"
        self.assertError(self.role(o, room, "admin", "visitor"), "not-allowed", "cancel")

    def test_example_103_voice_list(self):
        room, o, a, v = self.hall("a", "v", moderatedroom=1)
        self.assertResult(self.role(o, room, "a", "participant"))
        got = self.items(o, room, "role='participant'")
        self.assertEqual([(i.get("nick"), i.get("role"), i.get("affiliation"), i.get("jid")) for i in got], [("a", "participant", "none", a.jid)])
        self.assertEqual([i.get("nick") for i in self.items(o, room, "role='visitor'")], ["v"])
        # 105
        self.assertResult(self.admin(o, room, "<item nick='a' role='visitor'/><item nick='v' role='participant'/>"))
        self.assertEqual([i.get("nick") for i in self.items(o, room, "role='participant'")], ["v"])

    def test_role_lists_are_for_moderators(self):
        room, o, a = self.hall("a")
        self.assertError(self.admin(a, room, "<item role='participant'/>", "get"), "forbidden", "auth")
        self.assertError(self.admin(a, room, "<item role='moderator'/>", "get"), "forbidden", "auth")

    def test_17_4_role_and_affiliation_at_once(self):
        room, o, a = self.hall("a")
        self.assertError(self.admin(o, room, "<item nick='a' jid='%s' role='none' affiliation='outcast'/>" % a.bare), "bad-request", "modify")
        self.assertEqual(self.rest(a, room), [])

    def test_bad_values(self):
        room, o, a = self.hall("a")
        self.assertError(self.role(o, room, "a", "king"), "bad-request")
        self.assertError(self.admin(o, room, "<item jid='%s' affiliation='king'/>" % a.bare), "bad-request")
        self.assertError(self.admin(o, room, "<item affiliation='member'/>"), ("bad-request", "jid-malformed"))
        self.assertError(self.admin(o, room, "<item jid='@@' affiliation='member'/>"), ("bad-request", "jid-malformed"))
        self.assertError(self.admin(o, room, "<item/>", "get"), "bad-request")
        self.assertError(self.admin(o, room, "", "set"), "bad-request")
        self.assertError(self.admin(o, room, "", "get"), "bad-request")

    def test_admin_iq_to_no_room(self):
        o, = self.people(1)
        self.assertError(self.admin(o, self.room(), "<item affiliation='member'/>", "get"), "item-not-found")


class Administering(Case):
    """Section 9."""

    def test_example_110_ban(self):
        room, o, a, b = self.hall("earl", "b")
        self.affiliate(o, room, a.bare, "outcast", "<reason>Treason</reason>")
        e = self.kicked(a, room, "earl", 301)
        self.assertEqual(ranks(e), ("outcast", "none"))
        self.assertEqual(text(item(e), "reason"), "Treason")
        p = self.kicked(b, room, "earl", 301)
        self.assertIsNone(item(p).get("jid"))
        self.kicked(o, room, "earl", 301)
        self.assertEqual([i.get("jid") for i in self.items(o, room, "affiliation='outcast'")], [a.bare])

    def test_ban_by_full_jid_is_by_bare(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.jid, "outcast")
        self.kicked(a, room, "a", 301)
        self.assertEqual([i.get("jid") for i in self.items(o, room, "affiliation='outcast'")], [a.bare])

    def test_ban_takes_every_session(self):
        room, o = self.hall()
        name = self.user()
        a, b = self.login(name), self.login(name)
        self.join(a, room, "n1")
        self.join(b, room, "n2")
        self.affiliate(o, room, a.bare, "outcast")
        self.kicked(a, room, "n1", 301)
        self.kicked(b, room, "n2", 301)

    def test_example_115_ban_of_an_owner(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "admin")
        self.assertError(self.admin(a, room, "<item jid='%s' affiliation='outcast'/>" % o.bare), "not-allowed", "cancel")

    def test_ban_of_oneself(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "admin")
        self.assertError(self.admin(a, room, "<item jid='%s' affiliation='outcast'/>" % a.bare), "conflict", "cancel")
        self.assertError(self.admin(o, room, "<item jid='%s' affiliation='outcast'/>" % o.bare), "conflict", "cancel")

    def test_ban_by_nonadmin(self):
        room, o, a, b = self.hall("a", "b")
        self.assertError(self.admin(a, room, "<item jid='%s' affiliation='outcast'/>" % b.bare), "forbidden", "auth")
        self.assertResult(self.role(o, room, "a", "moderator"))
        self.assertError(self.admin(a, room, "<item jid='%s' affiliation='outcast'/>" % b.bare), ("forbidden", "not-allowed"))
        self.assertError(self.admin(a, room, "<item affiliation='outcast'/>", "get"), "forbidden", "auth")

    def test_example_117_ban_list(self):
        room, o = self.hall()
        self.assertResult(self.admin(o, room, "<item jid='x@a.example' affiliation='outcast'><reason>why</reason></item>"
                                     "<item jid='y@a.example' affiliation='outcast'/>"))
        got = self.items(o, room, "affiliation='outcast'")
        self.assertEqual({i.get("jid") for i in got}, {"x@a.example", "y@a.example"})
        for i in got:
            self.assertEqual(i.get("affiliation"), "outcast")
            self.assertIsNone(i.get("role"))
            self.assertIsNone(i.get("nick"))
        self.assertEqual([text(i, "reason") for i in got if i.get("jid") == "x@a.example"], ["why"])
        self.assertResult(self.admin(o, room, "<item jid='x@a.example' affiliation='none'/><item jid='z@a.example' affiliation='outcast'/>"))
        self.assertEqual({i.get("jid") for i in self.items(o, room, "affiliation='outcast'")}, {"y@a.example", "z@a.example"})

    def test_9_2_one_bad_item_refuses_all(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "admin")
        r = self.admin(a, room, "<item jid='x@a.example' affiliation='outcast'/><item jid='%s' affiliation='outcast'/>" % o.bare)
        self.assertError(r, ("conflict", "not-allowed"))
        self.assertEqual(self.items(o, room, "affiliation='outcast'"), [])

    def test_9_2_ban_of_a_domain(self):
        room, o = self.hall()
        c = self.person(1)
        r = self.admin(o, room, "<item jid='other.example' affiliation='outcast'/>")
        self.assertResult(r)
        self.assertEqual([i.get("jid") for i in self.items(o, room, "affiliation='outcast'")], ["other.example"])
        self.assertIn(110, codes(self.enter(c, room, "c")))

    def test_9_2_ban_of_our_domain(self):
        room, o, c = self.hall("c")
        self.assertResult(self.admin(o, room, "<item jid='%s' affiliation='outcast'/>" % lab.DOMAIN))
        d = self.person(2)
        self.denied(self.enter(d, room, "d"), room, "forbidden", "auth")
        # the owner has an affiliation of its own
        self.say(o, room, "x")
        self.hear(o, "x")

    def test_example_120_membership(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, a.bare, "member", "<reason>A worthy witch</reason>")
        for c in (o, a, b):
            p = self.seen(c, room, "a")
            self.assertEqual(ranks(p), ("member", "participant"))
            self.assertEqual(110 in codes(p), c is a)
        # 124
        self.affiliate(o, room, a.bare, "none")
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a"))[0], "none")

    def test_5_1_3_member_in_a_moderated_room_gets_voice(self):
        room, o, v = self.hall("v", moderatedroom=1)
        self.affiliate(o, room, v.bare, "member")
        self.assertEqual(ranks(self.seen(v, room, "v")), ("member", "participant"))

    def test_example_128_member_removed_from_members_only(self):
        o, a, b = self.people(3)
        room = self.create(o, self.room(), "owner", membersonly=1)
        for c, n in ((a, "a"), (b, "b")):
            self.affiliate(o, room, c.bare, "member")
            self.join(c, room, n)
        self.calm(room, o, a, b)
        self.affiliate(o, room, a.bare, "none")
        e = self.kicked(a, room, "a", 321)
        self.assertEqual(ranks(e), ("none", "none"))
        self.kicked(b, room, "a", 321)
        # no available presence beside it
        self.assertEqual([show(p) for p in self.rest(b, room) if local(p) == "presence" and p.get("type") is None], [])
        self.denied(self.enter(a, room, "a"), room, "registration-required", "auth")

    def test_example_129_member_list(self):
        room, o, a = self.hall("a")
        self.assertResult(self.admin(o, room, "<item jid='%s' affiliation='member'/><item jid='m@x.example' affiliation='member' nick='emm'/>" % a.bare))
        got = {i.get("jid"): i for i in self.items(o, room, "affiliation='member'")}
        self.assertEqual(set(got), {a.bare, "m@x.example"})
        for i in got.values():
            self.assertEqual(i.get("affiliation"), "member")
        self.assertEqual(got["m@x.example"].get("nick"), "emm")
        # 9.5: an empty nick unsets it
        self.assertResult(self.admin(o, room, "<item jid='m@x.example' affiliation='member' nick=''/>"))
        got = {i.get("jid"): i for i in self.items(o, room, "affiliation='member'")}
        self.assertIsNone(got["m@x.example"].get("nick"))

    def test_9_5_members_see_the_list_in_a_nonanonymous_members_only_room(self):
        o, a = self.people(2)
        room = self.create(o, self.room(), "owner", membersonly=1, whois="anyone")
        self.affiliate(o, room, a.bare, "member")
        self.assertIn(a.bare, [i.get("jid") for i in self.items(a, room, "affiliation='member'")])
        self.join(a, room, "a")
        self.assertIn(a.bare, [i.get("jid") for i in self.items(a, room, "affiliation='member'")])

    def test_5_2_1_members_do_not_see_the_list_in_a_semianonymous_room(self):
        room, o, a = self.hall("a", whois="moderators")
        self.affiliate(o, room, a.bare, "member")
        self.assertError(self.admin(a, room, "<item affiliation='member'/>", "get"), "forbidden", "auth")

    def test_strangers_do_not_see_lists(self):
        room, o = self.hall(whois="anyone")
        c = self.person(1)
        for aff in ("owner", "admin", "member", "outcast"):
            self.assertError(self.admin(c, room, "<item affiliation='%s'/>" % aff, "get"), "forbidden", "auth")

    def test_example_137_moderator(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, b.bare, "admin")
        self.assertResult(self.role(b, room, "a", "moderator", "<reason>r</reason>"))
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a")), ("none", "moderator"))
        self.assertResult(self.role(b, room, "a", "participant"))
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a")), ("none", "participant"))

    def test_new_moderator_sees_real_jids(self):
        room, o, a, b = self.hall("a", "b")
        self.assertResult(self.role(o, room, "a", "moderator"))
        self.quiet(a, room)
        self.leave(b, room, "b")
        self.quiet(a, room)
        self.join(b, room, "b")
        self.assertEqual(item(self.seen(a, room, "b")).get("jid"), b.jid)

    def test_example_145_moderator_status_of_owner_or_admin(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, a.bare, "admin")
        self.affiliate(o, room, b.bare, "admin")
        self.assertError(self.role(b, room, "a", "participant"), "not-allowed", "cancel")
        self.assertError(self.role(b, room, "owner", "participant"), "not-allowed", "cancel")
        self.assertError(self.role(o, room, "a", "participant"), "not-allowed", "cancel")

    def test_moderator_may_not_make_moderators(self):
        room, o, a, b = self.hall("a", "b")
        self.assertResult(self.role(o, room, "a", "moderator"))
        r = self.role(a, room, "b", "moderator")
        self.assertError(r, ("forbidden", "not-allowed"))

    def test_example_146_moderator_list(self):
        room, o, a = self.hall("a")
        self.assertResult(self.role(o, room, "a", "moderator"))
        got = {i.get("nick"): i for i in self.items(o, room, "role='moderator'")}
        self.assertEqual(set(got), {"a", "owner"})
        self.assertEqual({(i.get("role"), i.get("affiliation")) for i in got.values()}, {("moderator", "owner"), ("moderator", "none")})
        self.assertEqual(got["a"].get("jid"), a.jid)

    def test_18_1_affiliation_change_outside(self):
        room, o = self.hall()
        c = self.person(1)
        self.affiliate(o, room, c.bare, "admin")
        got = [m for m in self.rest(c, room) if local(m) == "message" and x_user(m) is not None and kid(x_user(m), "invite") is None]
        for m in got:       # MAY; but then with 101
            self.assertIn(101, codes(m))


class Owning(Case):
    """Section 10."""

    def test_example_153_creation(self):
        o, = self.people(1)
        room = self.room()
        e = self.join(o, room, "first")
        self.assertEqual(ranks(e), ("owner", "moderator"))
        self.assertTrue({110, 201} <= codes(e))
        self.assertResult(self.owner(o, room, "<x xmlns='%s' type='submit'/>" % FORM))
        c = self.person(1)
        self.join(c, room, "c")

    def test_example_156_reserved_room(self):
        o, = self.people(1)
        room = self.room()
        self.join(o, room, "first")
        r = self.owner(o, room, "", "get")
        self.assertResult(r)
        x = kid(kid(r, "query", OWNER), "x", FORM)
        self.assertEqual(x.get("type"), "form")
        f = form_of(r)
        self.assertEqual(f["FORM_TYPE"], [MUC + "#roomconfig"])
        for v in ("roomname", "roomdesc", "changesubject", "allowinvites", "allowpm", "maxusers", "presencebroadcast", "getmemberlist", "publicroom",
                  "persistentroom", "moderatedroom", "membersonly", "passwordprotectedroom", "roomsecret", "whois", "roomadmins", "roomowners", "lang",
                  "enablelogging"):
            self.assertIn("muc#roomconfig_" + v, f)
        self.assertIn("muc#maxhistoryfetch", f)
        for fld in x.findall("{%s}field" % FORM):
            if fld.get("var") != "FORM_TYPE":
                self.assertIsNotNone(fld.get("type"), show(fld))
                self.assertIsNotNone(fld.get("label"), show(fld))
            if fld.get("type") in ("list-single", "list-multi"):
                opts = {o_.find("{%s}value" % FORM).text for o_ in fld.findall("{%s}option" % FORM)}
                self.assertTrue(opts, show(fld))
                self.assertTrue({v.text for v in fld.findall("{%s}value" % FORM)} <= opts, show(fld))
        self.assertEqual(f["muc#roomconfig_roomowners"], [o.bare])
        self.assertResult(self.owner(o, room, config(roomname="A Dark Cave", roomdesc="d", moderatedroom=1, maxhistoryfetch="50")))
        f = form_of(self.owner(o, room, "", "get"))
        self.assertEqual(f["muc#roomconfig_roomname"], ["A Dark Cave"])
        self.assertEqual(f["muc#roomconfig_moderatedroom"], ["1"])
        self.assertEqual(f["muc#maxhistoryfetch"], ["50"])

    def test_example_161_password_without_secret(self):
        o, = self.people(1)
        room = self.room()
        self.join(o, room, "first")
        r = self.owner(o, room, config(passwordprotectedroom=1, roomsecret=""))
        self.assertError(r, "not-acceptable", "modify")

    def test_bad_values_are_not_acceptable(self):
        room, o = self.hall()
        for kw in ({"whois": "everybody"}, {"maxusers": "-3"}, {"moderatedroom": "perhaps"}, {"allowpm": "x"}, {"roomowners": "@@"},
                   {"presencebroadcast": ["king"]}):
            r = self.owner(o, room, config(**kw))
            self.assertError(r, ("not-acceptable", "bad-request", "jid-malformed"))

    def test_example_162_cancel(self):
        o, = self.people(1)
        room = self.room()
        self.join(o, room, "first")
        self.assertResult(self.owner(o, room, "<x xmlns='%s' type='cancel'/>" % FORM))
        e = self.seen(o, room, "first", type_="unavailable")
        self.assertEqual(ranks(e)[1], "none")
        self.assertIsNotNone(kid(x_user(e), "destroy"))
        self.assertError(self.info(o, room), "item-not-found")

    def test_owner_leaves_before_the_form(self):
        o, = self.people(1)
        room = self.room()
        self.join(o, room, "first")
        o.presence("unavailable", room + "/first")
        self.seen(o, room, "first", type_="unavailable")
        self.assertError(self.info(o, room), "item-not-found")
        e = self.enter(self.people(2)[1], room, "c")
        self.assertIn(201, codes(e))

    def test_example_164_not_the_owner(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "admin")
        self.assertError(self.owner(a, room, "", "get"), "forbidden", "auth")
        self.assertError(self.owner(a, room, config(roomname="x")), "forbidden", "auth")

    def test_example_166_cancel_later(self):
        room, o, a = self.hall("a", roomname="Before")
        self.assertResult(self.owner(o, room, "<x xmlns='%s' type='cancel'/>" % FORM))
        self.assertEqual(form_of(self.owner(o, room, "", "get"))["muc#roomconfig_roomname"], ["Before"])
        self.assertEqual(self.rest(a, room), [])

    def test_missing_fields_stay(self):
        room, o = self.hall(roomname="Stay", moderatedroom=1)
        self.assertResult(self.owner(o, room, config(roomdesc="new")))
        f = form_of(self.owner(o, room, "", "get"))
        self.assertEqual((f["muc#roomconfig_roomname"], f["muc#roomconfig_moderatedroom"]), (["Stay"], ["1"]))

    def test_example_167_admins_by_configuration(self):
        room, o, a, b = self.hall("a", "b")
        self.assertResult(self.owner(o, room, config(roomadmins=[a.bare])))
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a")), ("admin", "moderator"))
        self.assertResult(self.owner(o, room, config(roomadmins=[b.bare])))
        for c in (o, a, b):
            aff, role = ranks(self.seen(c, room, "a"))
            self.assertIn(aff, ("member", "none"))
            self.assertIn(role, ("participant", "visitor"))
            self.assertEqual(ranks(self.seen(c, room, "b")), ("admin", "moderator"))

    def test_example_169_owners_by_configuration(self):
        room, o, a = self.hall("a")
        self.assertResult(self.owner(o, room, config(roomowners=[o.bare, a.bare])))
        self.assertEqual(ranks(self.seen(o, room, "a")), ("owner", "moderator"))
        self.assertResult(self.owner(a, room, config(roomowners=[a.bare])))
        aff, role = ranks(self.seen(a, room, "owner"))
        self.assertNotEqual(aff, "owner")
        self.assertError(self.owner(o, room, "", "get"), "forbidden")

    def test_last_owner_by_configuration(self):
        room, o, a = self.hall("a")
        r = self.owner(o, room, config(roomowners=[]))
        self.assertError(r, ("conflict", "not-acceptable"))
        self.assertError(self.owner(o, room, submit({"muc#roomconfig_roomowners": a.bare + "x@@"})), ("not-acceptable", "bad-request", "jid-malformed"))
        self.assertResult(self.owner(o, room, "", "get"))

    def test_322_members_only_now(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, a.bare, "member")
        self.calm(room, o, a, b)
        self.assertResult(self.owner(o, room, config(membersonly=1)))
        self.kicked(b, room, "b", 322)
        self.kicked(a, room, "b", 322)
        self.say(a, room, "inside")
        self.hear(o, "inside")

    def test_10_2_1_status_codes(self):
        room, o, a = self.hall("a", enablelogging=0, whois="moderators")

        def change(code, **kw):
            self.assertResult(self.owner(o, room, config(**kw)))
            m = a.wait(lambda e: local(e) == "message" and x_user(e) is not None)
            self.assertEqual((m.get("from"), m.get("type")), (room, "groupchat"))
            self.assertIn(code, codes(m), show(m))
            self.quiet(a, room)
        change(170, enablelogging=1)
        change(171, enablelogging=0)
        change(172, whois="anyone")
        change(173, whois="moderators")
        change(104, roomname="New Name")
        change(104, maxusers=50)

    def test_no_change_no_notice(self):
        room, o, a = self.hall("a", roomname="N")
        self.assertResult(self.owner(o, room, config(roomname="N")))
        self.assertEqual([show(m) for m in self.rest(a, room) if 104 not in codes(m)], [])

    def test_logging_170_on_entry(self):
        room, o = self.hall(enablelogging=1)
        c = self.person(1)
        self.assertIn(170, codes(self.join(c, room, "c")))

    def test_moderated_now_takes_and_gives_voice(self):
        room, o, a = self.hall("a")
        self.assertResult(self.owner(o, room, config(moderatedroom=1)))
        self.quiet(o, room)
        c = self.person(2)
        self.assertEqual(ranks(self.join(c, room, "c"))[1], "visitor")

    def test_example_172_owner_status(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, a.jid, "owner", "<reason>A worthy witch indeed!</reason>")
        for c in (o, a, b):
            p = self.seen(c, room, "a")
            self.assertEqual(ranks(p), ("owner", "moderator"))
        # 177: and taken away
        r = self.admin(o, room, "<item jid='%s' affiliation='admin'/>" % a.bare)
        if r.get("type") == "error":
            self.assertError(r, "not-authorized")
            return
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a")), ("admin", "moderator"))

    def test_owner_by_nonowner(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, a.bare, "admin")
        for aff in ("owner", "admin"):
            self.assertError(self.admin(a, room, "<item jid='%s' affiliation='%s'/>" % (b.bare, aff)), ("forbidden", "not-allowed"))
        self.assertError(self.admin(a, room, "<item jid='%s' affiliation='owner'/>" % a.bare), ("forbidden", "not-allowed"))

    def test_last_owner(self):
        room, o, a = self.hall("a")
        for aff in ("admin", "member", "none"):
            self.assertError(self.admin(o, room, "<item jid='%s' affiliation='%s'/>" % (o.bare, aff)), "conflict", "cancel")
        self.affiliate(o, room, a.bare, "owner")
        self.assertResult(self.admin(o, room, "<item jid='%s' affiliation='admin'/>" % o.bare))
        self.assertError(self.owner(o, room, "", "get"), "forbidden")

    def test_two_owners_may_not_both_go_at_once(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "owner")
        r = self.admin(o, room, "<item jid='%s' affiliation='none'/><item jid='%s' affiliation='none'/>" % (o.bare, a.bare))
        self.assertError(r, "conflict")
        self.assertEqual(len(self.items(o, room, "affiliation='owner'")), 2)

    def test_example_181_owner_list(self):
        room, o, a = self.hall("a", whois="moderators")
        got = self.items(o, room, "affiliation='owner'")
        self.assertEqual([(i.get("jid"), i.get("affiliation")) for i in got], [(o.bare, "owner")])
        self.affiliate(o, room, a.bare, "admin")
        self.assertEqual([(i.get("jid"), i.get("affiliation")) for i in self.items(o, room, "affiliation='admin'")], [(a.bare, "admin")])
        self.assertError(self.admin(a, room, "<item affiliation='owner'/>", "get"), "forbidden", "auth")

    def test_example_184_199_lists_by_nonowner(self):
        room, o, a = self.hall("a")
        self.assertError(self.admin(a, room, "<item affiliation='owner' jid='x@y.example'/>"), "forbidden", "auth")
        self.assertError(self.admin(a, room, "<item affiliation='admin' jid='x@y.example'/>"), "forbidden", "auth")

    def test_example_186_admin_status(self):
        room, o, a, b = self.hall("a", "b")
        self.affiliate(o, room, a.bare, "admin")
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a")), ("admin", "moderator"))
        self.affiliate(o, room, a.bare, "none")
        for c in (o, a, b):
            self.assertEqual(ranks(self.seen(c, room, "a"))[0], "none")

    def test_example_201_destroy(self):
        room, o, a = self.hall("a", persistentroom=1)
        r = self.owner(o, room, "<destroy jid='coven@%s'><reason>Macbeth doth come.</reason><password>pw</password></destroy>" % SERVICE)
        self.assertResult(r)
        for c, n in ((o, "owner"), (a, "a")):
            e = self.seen(c, room, n, type_="unavailable")
            self.assertEqual(ranks(e), ("none", "none"))
            d = kid(x_user(e), "destroy")
            self.assertEqual((d.get("jid"), text(d, "reason"), text(d, "password")), ("coven@" + SERVICE, "Macbeth doth come.", "pw"))
        # one presence each
        self.assertEqual([p for p in a.drain() if (p.get("from") or "").startswith(room)], [])
        self.assertError(self.info(o, room), "item-not-found")

    def test_destroy_without_anything(self):
        room, o, a = self.hall("a")
        self.assertResult(self.owner(o, room, "<destroy/>"))
        self.assertIsNotNone(kid(x_user(self.seen(a, room, "a", type_="unavailable")), "destroy"))

    def test_example_204_destroy_by_nonowner(self):
        room, o, a = self.hall("a")
        self.affiliate(o, room, a.bare, "admin")
        self.assertError(self.owner(a, room, "<destroy/>"), "forbidden", "auth")
        self.assertResult(self.info(o, room))

    def test_owner_iq_without_sense(self):
        room, o = self.hall()
        self.assertError(self.owner(o, room, ""), "bad-request")
        self.assertError(self.owner(o, room, "<x xmlns='%s' type='form'/>" % FORM), "bad-request")
        self.assertError(self.owner(o, room, submit({"a": "b"}, "urn:other:form")), ("bad-request", "not-acceptable"))

    def test_10_1_3_form_of_a_room_that_is_not_there(self):
        o, = self.people(1)
        r = self.owner(o, self.room(), "", "get")
        self.assertResult(r)
        self.assertEqual(form_of(r)["FORM_TYPE"], [MUC + "#roomconfig"])

    def test_owner_of_a_persistent_room_from_outside(self):
        room, o = self.hall(persistentroom=1)
        self.leave(o, room, "owner")
        self.assertResult(self.owner(o, room, "", "get"))
        self.affiliate(o, room, "x@y.example", "member")
        self.assertResult(self.owner(o, room, "<destroy/>"))
        self.assertError(self.info(o, room), "item-not-found")


class Restricted(Case):
    """10.1.1: creation is restricted."""
    options = {"extra": 'domain "muc.lab.test" { XMPP_Role = "server" service = "muc" room_create = admins }'}

    def test_example_152(self):
        c, = self.people(1)
        room = self.room()
        self.denied(self.enter(c, room, "c"), room, "not-allowed", "cancel")


class ShuttingDown(lab.Case):
    """11.2."""

    def test_332(self):
        with lab.Lab() as labor:
            d = labor.daemon(milter=False, extra='domain "muc.lab.test" { XMPP_Role = "server" service = "muc" }', accounts=("o",))
            c = xmppc.login(d.c2s_port, "o", "r")
            c.send("<presence to='r@muc.lab.test/o'><x xmlns='%s'/></presence>" % MUC)
            c.wait(lambda e: local(e) == "presence" and 110 in codes(e))
            d.terminate()
            c.wait_end()
            gone = [e for e in c.seen if local(e) == "presence" and e.get("type") == "unavailable" and (e.get("from") or "").startswith("r@")]
            self.assertEqual([332 in codes(e) for e in gone], [True])
            c.close()


if __name__ == "__main__":
    lab.main()
