"""test_spec_archive - XEP-0313, 0059, 0359, 0334, 0441 for user archives, rule by rule; what 0085, 0184, 0308, 0333,
0424 and 0444 ask of the server's archive."""
import re

import lab
import xmppc
from case import at, settle
from speclib import SpecCase
from xmppc import DELAY, DISCO_INFO, body_is, is_, kid, local, show, text

MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
FORWARD = "urn:xmpp:forward:0"
SID = "urn:xmpp:sid:0"
HINTS = "urn:xmpp:hints"
FORM = "jabber:x:data"
STAMP = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


def form(**fields):
    out = "<x xmlns='%s' type='submit'><field var='FORM_TYPE' type='hidden'><value>%s</value></field>" % (FORM, MAM)
    for k, v in fields.items():
        out += "<field var='%s'>%s</field>" % (k.replace("_", "-"), "".join(
            "<value>%s</value>" % xmppc.escape(x) for x in ([v] if isinstance(v, str) else v)))
    return out + "</x>"


def rsm(max_=None, **kw):
    return "<set xmlns='%s'>%s%s</set>" % (RSM, "<max>%s</max>" % max_ if max_ is not None else "", "".join(
        "<%s>%s</%s>" % (k, xmppc.escape(v), k) if v else "<%s/>" % k for k, v in kw.items()))


class Page:
    """The answer to a query."""

    def __init__(self, case, c, inner="", queryid=None, to=None):
        id_ = c.new_id()
        c.drain()
        c.send("<iq type='set' id='%s'%s><query xmlns='%s'%s>%s</query></iq>" % (
            id_, " to='%s'" % to if to else "", MAM, " queryid='%s'" % queryid if queryid else "", inner))
        self.iq = c.reply(id_)
        self.results = [e for e in c.drain() if local(e) == "message" and kid(e, "result", MAM) is not None]
        self.error = xmppc.error_of(self.iq)
        self.fin = kid(self.iq, "fin", MAM)
        self.ids = [kid(e, "result", MAM).get("id") for e in self.results]
        self.forwarded = [kid(kid(e, "result", MAM), "forwarded", FORWARD) for e in self.results]
        self.messages = [kid(f, "message", xmppc.CLIENT) for f in self.forwarded]
        self.bodies = [text(m) for m in self.messages]
        self.stamps = [kid(f, "delay", DELAY).get("stamp") for f in self.forwarded]
        if self.error is None:
            s = kid(self.fin, "set", RSM)
            case.assertIsNotNone(s, show(self.iq))
            self.first, self.last, self.count = (s.findtext("{%s}%s" % (RSM, n)) for n in ("first", "last", "count"))
            f = s.find("{%s}first" % RSM)
            self.index = None if f is None else f.get("index")
            self.complete = self.fin.get("complete") in ("true", "1")


class Base(SpecCase):
    def page(self, c, inner="", **kw):
        return Page(self, c, inner, **kw)

    def pair(self):
        return self.login(), self.login()

    def talk(self, a, b, n, prefix="m"):
        for i in range(n):
            x, y = (a, b) if i % 2 == 0 else (b, a)
            x.message(y.bare, "%s%d" % (prefix, i))
            y.wait(body_is("%s%d" % (prefix, i)))

    def ready(self, *sessions):
        """The archives of these have everything that was said."""
        for s in sessions:
            for _ in range(2):
                settle(s, s.bare)


class Query(Base):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.u, cls.v = "spec-a", "spec-b"
        for n in (cls.u, cls.v):
            cls.d.add_account(n)
        a, b = xmppc.login(cls.port, cls.u, "ra"), xmppc.login(cls.port, cls.v, "rb")
        for i in range(12):
            x, y = (a, b) if i % 2 == 0 else (b, a)
            x.message(y.bare, "m%d" % i, "chat" if i % 3 else "normal")
            y.wait(body_is("m%d" % i))
        settle(a, a.bare), settle(b, b.bare)
        a.close(), b.close()
        cls.all = ["m%d" % i for i in range(12)]

    def setUp(self):
        self.c = self.login(self.u, presence=False)

    def q(self, inner="", **kw):
        return self.page(self.c, inner, **kw)

    # 4, 4.2
    def test_everything_in_order(self):
        p = self.q(queryid="f27")
        self.assertEqual(p.bodies, self.all)
        self.assertTrue(p.complete)
        self.assertEqual(len(set(p.ids)), 12)
        self.assertEqual((p.first, p.last), (p.ids[0], p.ids[-1]))
        self.assertEqual(p.stamps, sorted(p.stamps))
        for e, m, s in zip(p.results, p.messages, p.stamps):
            self.assertEqual(kid(e, "result", MAM).get("queryid"), "f27")
            self.assertIn(e.get("from"), (None, self.c.bare))
            self.assertEqual(e.get("to"), self.c.jid)
            self.assertRegex(s, STAMP)
            self.assertTrue(m.get("from") and m.get("to"))
        self.assertIn(p.iq.get("from"), (None, self.c.bare))

    def test_the_same_to_the_bare_jid(self):
        self.assertEqual(self.q(to=self.c.bare).bodies, self.all)

    def test_no_queryid_none_back(self):
        for e in self.q().results:
            self.assertIsNone(kid(e, "result", MAM).get("queryid"))

    def test_forwarded_message_is_whole(self):
        p = self.q()
        m = p.messages[1]
        self.assertEqual((m.get("from"), m.get("to"), m.get("type")), (at(self.v) + "/rb", at(self.u), "chat"))
        self.assertTrue(m.get("id"))

    # 4.1.1
    def test_with(self):
        self.assertEqual(self.q(form(**{"with": at(self.v)})).bodies, self.all)
        self.assertEqual(self.q(form(**{"with": at(self.v) + "/rb"})).bodies, self.all[1::2])
        self.assertEqual(self.q(form(**{"with": at(self.v).upper()})).bodies, self.all)
        p = self.q(form(**{"with": "somebody@else.test"}))
        self.assertEqual((p.bodies, p.complete, p.first, p.last), ([], True, None, None))

    def test_with_a_resource_that_never_wrote(self):
        self.assertEqual(self.q(form(**{"with": at(self.v) + "/other"})).bodies, [])

    def test_with_malformed(self):
        for jid in ("a@b@c", "", "@x"):
            self.assertIn(self.q(form(**{"with": jid})).error, (("modify", "jid-malformed"), ("modify", "bad-request")))

    def test_with_oneself(self):
        u = self.user()
        a, b, o = self.login(u), self.login(u), self.login()
        a.message(b.jid, "s1")
        a.message(a.bare, "s2")
        o.message(a.bare, "other")
        a.message(o.bare, "other2")
        b.wait(body_is("s1"))
        o.wait(body_is("other2"))
        self.ready(a)
        self.assertEqual(self.page(a, form(**{"with": a.bare})).bodies, ["s1", "s2"])
        self.assertEqual(sorted(self.page(a).bodies), ["other", "other2", "s1", "s2"])

    # 4.1.2
    def test_start_and_end(self):
        p = self.q()
        for i in (0, 4, 11):
            got = self.q(form(start=p.stamps[i])).bodies
            self.assertEqual(got, [b for b, s in zip(self.all, p.stamps) if s >= p.stamps[i]])
            got = self.q(form(end=p.stamps[i])).bodies
            self.assertEqual(got, [b for b, s in zip(self.all, p.stamps) if s <= p.stamps[i]])
        self.assertEqual(self.q(form(start="2010-06-07T00:00:00Z", end="2010-07-07T13:23:54Z")).bodies, [])
        self.assertEqual(self.q(form(start="2010-06-07T00:00:00Z")).bodies, self.all)
        self.assertEqual(self.q(form(end="2199-07-07T13:23:54.123456Z")).bodies, self.all)
        self.assertEqual(self.q(form(end="2199-07-07T13:23:54+02:00")).bodies, self.all)
        self.assertEqual(self.q(form(start="2199-01-01T00:00:00-11:30")).bodies, [])

    def test_bad_times(self):
        for t in ("yesterday", "2010-13-01T00:00:00Z", "20100101T00:00:00", ""):
            self.assertEqual((self.q(form(start=t)).error or ("", ""))[1], "bad-request", t)

    # 4.1.3
    def test_ids(self):
        p = self.q()
        self.assertEqual(self.q(form(after_id=p.ids[3])).bodies, self.all[4:])
        self.assertEqual(self.q(form(before_id=p.ids[3])).bodies, self.all[:3])
        self.assertEqual(self.q(form(after_id=p.ids[2], before_id=p.ids[6])).bodies, self.all[3:6])
        self.assertEqual(self.q(form(ids=p.ids[5])).bodies, ["m5"])
        self.assertEqual(self.q(form(ids=[p.ids[7], p.ids[2]])).bodies, ["m2", "m7"])
        self.assertEqual(self.q(form(after_id=p.ids[11])).bodies, [])

    def test_unknown_ids(self):
        known = self.q().ids[0]
        for f in ({"after_id": "nope"}, {"before_id": "nope"}, {"ids": "nope"}, {"ids": [known, "nope"]}):
            self.assertEqual(self.q(form(**f)).error, ("cancel", "item-not-found"), f)

    def test_ids_of_another_archive_are_unknown(self):
        other = self.page(self.login(self.v, presence=False)).ids
        mine = self.q().ids
        for i in set(other) - set(mine):
            self.assertEqual(self.q(form(ids=i)).error, ("cancel", "item-not-found"))

    # 4.1.5
    def test_form_fields(self):
        r = self.c.get(MAM)
        x = kid(kid(r, "query", MAM), "x", FORM)
        self.assertEqual(x.get("type"), "form")
        fields = {f.get("var"): f for f in x.findall("{%s}field" % FORM)}
        self.assertEqual(fields["FORM_TYPE"].findtext("{%s}value" % FORM), MAM)
        for var, type_ in (("with", "jid-single"), ("start", "text-single"), ("end", "text-single"), ("before-id", "text-single"),
                           ("after-id", "text-single"), ("ids", "list-multi")):
            self.assertEqual(fields[var].get("type"), type_)
        v = fields["ids"].find("{http://jabber.org/protocol/xdata-validate}validate")
        self.assertEqual(v.get("datatype"), "xs:string")
        self.assertIsNotNone(v.find("{http://jabber.org/protocol/xdata-validate}open"))
        self.assertEqual(list(x.iter("{%s}required" % FORM)), [])
        self.assertEqual(list(x.iter("{%s}option" % FORM)), [])

    def test_unknown_field(self):
        self.assertEqual((self.q(form(**{"{http://example.com/}free-text-search": "x"})).error or ("", ""))[1],
                         "feature-not-implemented")

    def test_wrong_form_type(self):
        f = form().replace(MAM + "</value>", "urn:other</value>")
        self.assertEqual((self.q(f).error or ("", ""))[1], "bad-request")

    def test_empty_form(self):
        self.assertEqual(self.q(form()).bodies, self.all)

    # 4.3
    def test_pages_forward(self):
        got, after, n = [], None, 0
        while True:
            p = self.q(rsm(5, **({"after": after} if after else {})))
            got += p.bodies
            n += 1
            self.assertEqual((p.first, p.last), (p.ids[0], p.ids[-1]))
            if p.index is not None:
                self.assertEqual(int(p.index), (n - 1) * 5)
            if p.count is not None:
                self.assertEqual(int(p.count), 12)
            after = p.last
            if p.complete:
                break
        self.assertEqual((got, n), (self.all, 3))

    def test_pages_backward(self):
        p = self.q(rsm(5, before=""))
        self.assertEqual((p.bodies, p.complete), (self.all[7:], False))
        p = self.q(rsm(5, before=p.first))
        self.assertEqual((p.bodies, p.complete), (self.all[2:7], False))
        p = self.q(rsm(5, before=p.first))
        self.assertEqual((p.bodies, p.complete), (self.all[:2], True))

    def test_last_page_that_holds_everything_is_complete(self):
        p = self.q(rsm(50, before=""))
        self.assertEqual((p.bodies, p.complete), (self.all, True))

    def test_a_page_that_fits_exactly(self):
        p = self.q(rsm(12))
        self.assertEqual((len(p.bodies), p.complete), (12, True))

    def test_after_the_last_and_before_the_first(self):
        ids = self.q().ids
        p = self.q(rsm(5, after=ids[-1]))
        self.assertEqual((p.bodies, p.complete), ([], True))
        p = self.q(rsm(5, before=ids[0]))
        self.assertEqual((p.bodies, p.complete), ([], True))

    def test_unknown_rsm_ids(self):
        for kw in ({"after": "nope"}, {"before": "nope"}, {"after": "12345678901234567890123"}):
            self.assertEqual(self.q(rsm(5, **kw)).error, ("cancel", "item-not-found"))

    def test_count_only(self):
        """XEP-0059 2.7: max 0 asks for the number."""
        p = self.q(rsm(0))
        self.assertEqual((p.bodies, p.first, p.last), ([], None, None))
        self.assertEqual(p.count, "12")
        p = self.q(form(**{"with": at(self.v) + "/rb"}) + rsm(0))
        self.assertEqual((p.count, p.bodies), ("6", []))

    def test_bad_max(self):
        for m in ("-1", "x", "", "1.5"):
            e = self.q(rsm(m)).error
            self.assertIn(e, (("modify", "bad-request"), None), m)

    def test_huge_max_is_limited(self):
        p = self.q(rsm(999999999))
        self.assertEqual(p.bodies, self.all)

    def test_page_by_index(self):
        """XEP-0059 2.6: who does not do it says so."""
        p = self.q("<set xmlns='%s'><index>3</index><max>2</max></set>" % RSM)
        if p.error:
            self.assertEqual(p.error, ("cancel", "feature-not-implemented"))
        else:
            self.assertEqual(p.bodies, self.all[3:5])

    def test_page_with_filter(self):
        f = form(**{"with": at(self.v) + "/rb"})
        p = self.q(f + rsm(2))
        self.assertEqual((p.bodies, p.complete), (["m1", "m3"], False))
        p = self.q(f + rsm(2, after=p.last))
        self.assertEqual((p.bodies, p.complete), (["m5", "m7"], False))
        p = self.q(f + rsm(2, after=p.last))
        self.assertEqual((p.bodies, p.complete), (["m9", "m11"], True))

    def test_after_an_id_the_filter_leaves_out(self):
        ids = self.q().ids
        p = self.q(form(**{"with": at(self.v) + "/rb"}) + rsm(2, after=ids[4]))
        self.assertEqual(p.bodies, ["m5", "m7"])

    def test_rsm_and_ids_together(self):
        ids = self.q().ids
        p = self.q(form(after_id=ids[1], before_id=ids[9]) + rsm(3))
        self.assertEqual((p.bodies, p.complete), (self.all[2:5], False))
        p = self.q(form(after_id=ids[1], before_id=ids[9]) + rsm(3, before=""))
        self.assertEqual((p.bodies, p.complete), (self.all[6:9], False))

    # 4.3.4
    def test_flipped_page(self):
        p = self.q(rsm(5) + "<flip-page/>")
        self.assertEqual(p.bodies, self.all[:5][::-1])
        plain = self.q(rsm(5))
        self.assertEqual(sorted(p.ids), sorted(plain.ids))
        self.assertEqual((p.first, p.last), (plain.first, plain.last))
        self.assertEqual(self.q(rsm(5, before="") + "<flip-page/>").bodies, self.all[7:][::-1])
        self.assertEqual(self.q("<flip-page/>").bodies, self.all[::-1])

    # 5
    def test_metadata(self):
        p = self.q()
        r = self.c.get(MAM, "metadata")
        m = kid(r, "metadata", MAM)
        for name, id_, stamp in (("start", p.ids[0], p.stamps[0]), ("end", p.ids[-1], p.stamps[-1])):
            e = kid(m, name)
            self.assertEqual((e.get("id"), e.get("timestamp")), (id_, stamp))

    # 7
    def test_disco(self):
        r = self.c.get(DISCO_INFO, to=self.c.bare)
        features = {f.get("var") for f in r.iter("{%s}feature" % DISCO_INFO)}
        self.assertLessEqual({MAM, MAM + "#extended", SID}, features)
        if MAM + "#groupchat-available" in features:
            self.assertIn(MAM + "#groupchat-field", features)

    def test_include_groupchat(self):
        for v in ("true", "false"):
            self.assertEqual(self.q(form(include_groupchat=v)).bodies, self.all)

    # 8.1
    def test_others_may_not_look(self):
        o = self.login()
        for inner in ("<query xmlns='%s'/>" % MAM,):
            self.assertError(o.iq("set", inner, at(self.u)), ("forbidden", "service-unavailable"))
            self.assertError(o.iq("get", inner, at(self.u)), ("forbidden", "service-unavailable"))
        self.assertError(o.iq("get", "<metadata xmlns='%s'/>" % MAM, at(self.u)), ("forbidden", "service-unavailable"))
        self.assertEqual(xmppc.error_of(o.iq("set", "<query xmlns='%s'/>" % MAM, at(self.u)))[1], "forbidden")

    def test_friends_may_not_look_either(self):
        a, b = self.pair()
        self.friends(a, b)
        self.assertError(a.iq("set", "<query xmlns='%s'/>" % MAM, b.bare), "forbidden")


class Empty(Base):
    def test_empty_archive(self):
        c = self.login(presence=False)
        p = self.page(c)
        self.assertEqual((p.bodies, p.complete, p.first, p.last), ([], True, None, None))
        p = self.page(c, rsm(5, before=""))
        self.assertEqual((p.bodies, p.complete), ([], True))
        m = kid(c.get(MAM, "metadata"), "metadata", MAM)
        self.assertEqual((len(m), m.attrib), (0, {}))
        self.assertEqual(self.page(c, rsm(0)).count, "0")


class Large(Base):
    def test_limited_without_being_asked(self):
        """4.3.1: what the server cuts off is not called complete; the pages together are everything."""
        a, u = self.login(), self.user()
        for i in range(230):
            a.message(at(u), "b%d" % i)
        settle(a, at(u))
        c = self.login(u, presence=False)
        got, p = [], self.page(c)
        while True:
            got += p.bodies
            if p.complete:
                break
            p = self.page(c, rsm(None, after=p.last))
        self.assertEqual(got, ["b%d" % i for i in range(230)])


class Storage(Base):
    def kept(self, type_="chat", inner="", body="text", to="bare", kinds=(True, True), sender_inner=""):
        """Is a message like this in the archive of (sender, receiver)?"""
        a, b = self.pair()
        word = lab.token("k") if body else None
        id_ = a.message(b.jid if to == "full" else b.bare, word, type_, inner=inner)
        self.ready(a, b)
        return tuple(any(m.get("id") == id_ for m in self.page(s).messages) for s in (a, b))

    def test_what_is_kept(self):
        for name, want, kw in (
                ("chat", True, {}), ("normal", True, {"type_": "normal"}), ("no type", True, {"type_": None}),
                ("full JID", True, {"to": "full"}),
                ("headline", None, {"type_": "headline"}),
                ("no body", False, {"body": None, "inner": "<x xmlns='t:x'/>"}),
                ("chat state alone (0085)", False, {"body": None, "inner": "<composing xmlns='http://jabber.org/protocol/chatstates'/>"}),
                ("body and chat state", True, {"inner": "<active xmlns='http://jabber.org/protocol/chatstates'/>"}),
                ("no-store", False, {"inner": "<no-store xmlns='%s'/>" % HINTS}),
                ("no-permanent-store", False, {"inner": "<no-permanent-store xmlns='%s'/>" % HINTS}),
                ("store without body", True, {"body": None, "inner": "<store xmlns='%s'/>" % HINTS}),
                ("store with chat state", True, {"body": None, "inner": "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
                                                 "<store xmlns='%s'/>" % HINTS}),
                ("no-copy", True, {"to": "full", "inner": "<no-copy xmlns='%s'/>" % HINTS}),
                ("receipt (0184)", True, {"body": None, "inner": "<received xmlns='urn:xmpp:receipts' id='x'/>"}),
                ("receipt with store", True, {"body": None, "inner": "<received xmlns='urn:xmpp:receipts' id='x'/>"
                                              "<store xmlns='%s'/>" % HINTS}),
                ("displayed (0333)", True, {"body": None, "inner": "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>"}),
                ("correction (0308)", True, {"inner": "<replace xmlns='urn:xmpp:message-correct:0' id='x'/>"}),
                ("retraction (0424)", True, {"inner": "<retract xmlns='urn:xmpp:message-retract:1' id='x'/>"
                                             "<store xmlns='%s'/>" % HINTS}),
                ("reaction (0444)", True, {"body": None, "inner": "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>\u2764"
                                           "</reaction></reactions><store xmlns='%s'/>" % HINTS}),
                ("subject alone", None, {"body": None, "inner": "<subject>x</subject>"})):
            with self.subTest(name):
                got = self.kept(**kw)
                if want is not None:
                    self.assertEqual(got, (want, want))

    def test_errors_are_not_kept(self):
        a, b = self.pair()
        a.send("<message type='error' to='%s' id='er'><body>x</body><error type='cancel'><gone xmlns='%s'/></error></message>" % (
            b.jid, xmppc.STANZA_ERRORS))
        self.ready(a, b)
        self.assertEqual(self.page(a).bodies + self.page(b).bodies, [])

    def test_hints_in_errors_are_ignored(self):
        a, b = self.pair()
        a.send("<message type='error' to='%s' id='er'><store xmlns='%s'/><error type='cancel'><gone xmlns='%s'/></error></message>" % (
            b.jid, HINTS, xmppc.STANZA_ERRORS))
        b.wait(is_("message", id="er"))
        self.ready(b)
        self.assertEqual(self.page(b).bodies, [])

    def test_once_for_many_resources(self):
        u = self.user()
        b, b2, b3 = self.login(u), self.login(u), self.login(u)
        for s in (b, b2, b3):
            self.assertResult(s.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>"))
        a = self.login()
        a.message(at(u), "one")
        a.message(b.jid, "two")
        b2.message(a.bare, "three")
        a.wait(body_is("three"))
        self.ready(b, b2, a)
        self.assertEqual(sorted(self.page(b).bodies), ["one", "three", "two"])

    def test_offline_messages_are_kept_too(self):
        a, u = self.login(), self.user()
        a.message(at(u), "while away")
        settle(a, at(u))
        b = self.login(u, presence=False)
        self.assertEqual(self.page(b).bodies, ["while away"])

    def test_a_message_to_nobody_is_not_in_the_way(self):
        a = self.login()
        id_ = a.message(at("nobody-there"), "x")
        a.wait(is_("message", type_="error", id=id_))
        self.ready(a)
        self.page(a)

    def test_own_messages_to_other_domains(self):
        a, k = self.login(), self.contact()
        a.message(k.jid, "out")
        k.wait("message")
        k.say("message", a.bare, "<body>in</body>", type="chat", resource="r")
        a.wait(body_is("in"))
        self.ready(a)
        p = self.page(a)
        self.assertEqual(p.bodies, ["out", "in"])
        self.assertEqual(self.page(a, form(**{"with": k.jid})).bodies, ["out", "in"])

    def test_the_whole_stanza_is_kept(self):
        a, b = self.pair()
        a.send("<message to='%s' type='chat' id='w1' xml:lang='de'><body>b</body><thread>t</thread><x xmlns='t:x' a='1'>y</x></message>" % b.bare)
        b.wait(is_("message", id="w1"))
        self.ready(a, b)
        for s in (a, b):
            m, = self.page(s).messages
            self.assertEqual((m.get("id"), m.get("type"), text(m, "thread")), ("w1", "chat", "t"))
            self.assertEqual(m.get("{http://www.w3.org/XML/1998/namespace}lang"), "de")
            self.assertEqual((kid(m, "x", "t:x").get("a"), kid(m, "x", "t:x").text), ("1", "y"))

    # 3.5, XEP-0359
    def test_stanza_id_is_the_archive_id(self):
        a, b = self.pair()
        a.message(b.bare, "sid")
        e = b.wait(body_is("sid"))
        ids = [s for s in e.findall("{%s}stanza-id" % SID)]
        self.assertEqual([s.get("by") for s in ids], [b.bare])
        self.ready(b)
        self.assertEqual(self.page(b).ids, [ids[0].get("id")])
        self.assertEqual((len(ids[0]), ids[0].text), (0, None))

    def test_forged_stanza_id_is_removed(self):
        a, b = self.pair()
        for type_, hint in (("chat", ""), ("chat", "<no-store xmlns='%s'/>" % HINTS), ("headline", "")):
            a.message(b.bare, "forged", type_, "<stanza-id xmlns='%s' id='fake' by='%s'/>"
                      "<stanza-id xmlns='%s' id='fake' by='%s'/>"
                      "<stanza-id xmlns='%s' id='theirs' by='other@far.test'/>%s" % (SID, b.bare, SID, b.bare.upper(), SID, hint))
            e = b.wait(body_is("forged"))
            got = [(s.get("by"), s.get("id")) for s in e.findall("{%s}stanza-id" % SID)]
            self.assertNotIn("fake", [i for _, i in got])
            self.assertIn(("other@far.test", "theirs"), got)
            self.assertLessEqual([x for x, _ in got].count(b.bare), 1)
        self.ready(b)
        for m in self.page(b).messages:
            self.assertNotIn("fake", [s.get("id") for s in m.findall("{%s}stanza-id" % SID)])

    def test_origin_id_stays(self):
        a, b = self.pair()
        a.message(b.bare, "oid", inner="<origin-id xmlns='%s' id='o1'/>" % SID)
        self.assertEqual(kid(b.wait(body_is("oid")), "origin-id", SID).get("id"), "o1")

    def test_offline_delivery_has_the_stanza_id(self):
        a, u = self.login(), self.user()
        a.message(at(u), "off")
        settle(a, at(u))
        b = self.login(u)
        e = b.wait(body_is("off"))
        s, = e.findall("{%s}stanza-id" % SID)
        self.assertEqual(self.page(b).ids, [s.get("id")])

    def test_ids_tell_nothing(self):
        """XEP-0359 section 6: unpredictable; nobody sees from an id how large an archive is."""
        a, b = self.pair()
        self.talk(a, b, 4)
        self.ready(a, b)
        ids = self.page(a).ids + self.page(b).ids
        self.assertEqual(len(set(ids)), 8)
        self.assertTrue(all(len(i) >= 10 for i in ids), ids)
        numbers = [int(i) for i in ids if re.fullmatch(r"\d+", i)]
        self.assertFalse(numbers and max(numbers) - min(numbers) < 1000, ids)


class Prefs(Base):
    def prefs(self, c, default=None, always=None, never=None):
        if default is None and always is None:
            return c.get(MAM, "prefs")

        def names(name, jids):
            return "<%s>%s</%s>" % (name, "".join("<jid>%s</jid>" % j for j in jids), name) if jids is not None else ""
        return c.iq("set", "<prefs xmlns='%s'%s>%s%s</prefs>" % (MAM, " default='%s'" % default if default else "",
                                                                 names("always", always), names("never", never)))

    def read(self, r):
        self.assertResult(r)
        p = kid(r, "prefs", MAM)
        return p.get("default"), *(sorted(j.text for j in kid(p, n)) for n in ("always", "never"))

    def test_default(self):
        d, a, n = self.read(self.prefs(self.login(presence=False)))
        self.assertIn(d, ("always", "never", "roster"))
        self.assertEqual((a, n), ([], []))

    def test_set_is_answered_with_what_holds(self):
        c = self.login(presence=False)
        want = ("roster", ["romeo@x.test"], ["montague@x.test", "z@x.test/r"])
        self.assertEqual(self.read(self.prefs(c, *want)), want)
        self.assertEqual(self.read(self.prefs(c)), want)
        self.assertEqual(self.read(self.prefs(c, "never")), ("never", [], []))

    def test_bad_sets(self):
        c = self.login(presence=False)
        self.assertError(self.prefs(c, "sometimes"), "bad-request")
        self.assertError(self.prefs(c, "always", ["a@b@c"]), ("jid-malformed", "bad-request"))

    def test_of_others(self):
        c, u = self.login(presence=False), self.user()
        self.assertError(c.iq("get", "<prefs xmlns='%s'/>" % MAM, at(u)), ("forbidden", "service-unavailable"))

    def archived(self, setting, roster=False):
        """Both ways between us and another, under these preferences of ours; {o} is the other's address."""
        a, b = self.interested(), self.login()
        if roster:
            self.add(a, b.bare)
        self.prefs(a, setting[0], *[[j.format(o=b.bare, f=b.jid) for j in x] for x in setting[1:]])
        a.message(b.bare, "out")
        b.wait(body_is("out"))
        b.message(a.bare, "in")
        a.wait(body_is("in"))
        self.ready(a)
        return sorted(self.page(a).bodies)

    def test_rules(self):
        both = ["in", "out"]
        for setting, roster, want in (
                (("always", [], []), False, both), (("never", [], []), False, []), (("roster", [], []), False, []),
                (("roster", [], []), True, both), (("never", ["{o}"], []), False, both), (("always", [], ["{o}"]), False, []),
                (("roster", [], ["{o}"]), True, []), (("roster", ["{o}"], []), False, both),
                # 2.3: a listed resource is compared as it is: what we sent went to the bare address
                (("never", ["{f}"], []), False, ["in"]), (("always", [], ["{f}"]), False, ["out"])):
            with self.subTest(setting, roster=roster):
                self.assertEqual(self.archived(setting, roster), want)


if __name__ == "__main__":
    lab.main()
