"""test_services - XEP-0033 (several addresses), 0055 (search), 0231 (bits of binary)."""
import base64
import hashlib

import compc
import lab
import xmppc
from case import ServerCase, at
from lab import DOMAIN
from xmppc import DISCO_INFO, DISCO_ITEMS, body_is, is_, kid, local, show, text

ADDR = "http://jabber.org/protocol/address"
SEARCH = "jabber:iq:search"
REGISTER = "jabber:iq:register"
FORM = "jabber:x:data"
BOB = "urn:xmpp:bob"
DIR = "search.lab.test"


class Base(ServerCase):
    options = {"xmpp": "max_addresses = 5", "extra": """
domain "search.lab.test" { XMPP_Role = "server"  service = "search" }
component "gw.lab.test" { secret = "s" }
"""}

    def features(self, c, to):
        return {f.get("var") for f in kid(c.get(DISCO_INFO, to=to), "query", DISCO_INFO) if local(f) == "feature"}


class Addresses(Base):
    def send(self, c, addresses, kind="message", attrs="", body="to many", to=DOMAIN, extra=""):
        c.send("<%s to='%s' %s><addresses xmlns='%s'>%s</addresses>%s%s</%s>" % (
            kind, to, attrs, ADDR, "".join("<address type='%s' %s/>" % a for a in addresses),
            "<body>%s</body>" % body if kind == "message" else "", extra, kind))

    def header(self, m):
        """[(type, jid, delivered)] of a message."""
        return [(a.get("type"), a.get("jid"), a.get("delivered")) for a in kid(m, "addresses", ADDR)]

    def test_to_cc_bcc(self):
        a = self.login()
        t, c, b1, b2 = (self.login() for _ in range(4))
        self.send(a, [("to", "jid='%s'" % t.bare), ("cc", "jid='%s' desc='Cc'" % c.jid), ("bcc", "jid='%s'" % b1.bare),
                      ("bcc", "jid='%s'" % b2.bare), ("replyto", "jid='%s'" % a.bare)], attrs="type='chat' id='m'")
        open_ = [("to", t.bare, "true"), ("cc", c.jid, "true"), ("replyto", a.bare, None)]
        for who, extra, address in ((t, [], t.bare), (c, [], c.jid), (b1, [("bcc", b1.bare, None)], b1.bare), (b2, [("bcc", b2.bare, None)], b2.bare)):
            m = who.wait(body_is("to many"))
            self.assertEqual((m.get("from"), m.get("to"), m.get("type"), m.get("id")), (a.jid, address, "chat", "m"))
            self.assertEqual(sorted(map(str, self.header(m))), sorted(map(str, open_ + extra)))
            who.sync()
            self.none_of(who.drain(), "message")
        self.assertEqual(kid(m, "addresses", ADDR).findall("{%s}address[@desc='Cc']" % ADDR)[0].get("jid"), c.jid)

    def test_delivered_is_not_sent_again(self):
        a, t, d = self.login(), self.login(), self.login()
        self.send(a, [("to", "jid='%s'" % t.bare), ("to", "jid='%s' delivered='true'" % d.bare)])
        t.wait(body_is("to many"))
        a.sync()
        d.sync()
        self.none_of(d.drain(), "message")

    def test_once_each(self):
        a, t = self.login(), self.login()
        self.send(a, [("to", "jid='%s'" % t.bare), ("cc", "jid='%s'" % t.bare), ("bcc", "jid='%s'" % t.bare)])
        m = t.wait(body_is("to many"))
        self.assertNotIn("bcc", [h[0] for h in self.header(m)])
        xmppc.fence(a, t)
        t.sync()
        self.none_of(t.drain(), "message")

    def test_limit(self):
        a, t = self.login(), self.login()
        self.send(a, [("to", "jid='u%d@%s'" % (i, DOMAIN)) for i in range(5)] + [("to", "jid='%s'" % t.bare)], attrs="id='l'")
        self.assertError(a.wait(is_("message", id="l", type_="error")), "not-acceptable")
        self.send(a, [("to", "jid='%s'" % t.bare)] + [("replyto", "jid='x@%s'" % DOMAIN)] * 10)
        t.wait(body_is("to many"))

    def test_one_bad_address_stops_all(self):
        a, t = self.login(), self.login()
        good = ("to", "jid='%s'" % t.bare)
        for bad, want in ((("to", "jid='@@'"), "jid-malformed"), (("to", "uri='sip:x@y'"), "jid-malformed"), (("to", ""), "bad-request"),
                          (("what", "jid='x@y'"), "bad-request"), (("to", "jid='a@b' uri='sip:a@b'"), "bad-request"),
                          (("to", "jid='x@remote.invalid'"), "forbidden")):
            self.send(a, [good, bad], attrs="id='bad'")
            self.assertError(a.wait(is_("message", id="bad", type_="error")), want)
        t.sync()
        self.none_of(t.drain(), "message")

    def test_presence(self):
        """5.1: what was told to be available is told of the end."""
        a, t, u = self.login(), self.login(), self.login()
        self.send(a, [("to", "jid='%s'" % t.jid), ("bcc", "jid='%s'" % u.jid)], "presence", extra="<show>dnd</show>")
        for x in (t, u):
            self.assertEqual(kid(x.wait(is_("presence", from_=a.jid)), "show").text, "dnd")
        jid = a.jid
        a.cut()
        for x in (t, u):
            x.wait(is_("presence", from_=jid, type_="unavailable"))

    def test_presence_of_other_types(self):
        a = self.login()
        self.send(a, [("to", "jid='x@%s'" % DOMAIN)], "presence", "type='subscribe' id='p'")
        self.assertError(a.wait(is_("presence", type_="error")), "bad-request")

    def test_offline_recipient(self):
        a, o = self.login(), self.user()
        self.send(a, [("to", "jid='%s'" % at(o))], attrs="type='chat'")
        a.sync()
        m = self.login(o).wait(body_is("to many"))
        self.assertEqual(m.get("from"), a.jid)

    def test_sender_cannot_be_chosen(self):
        a, t = self.login(), self.login()
        self.send(a, [("to", "jid='%s'" % t.bare), ("ofrom", "jid='boss@%s'" % DOMAIN)])
        self.assertEqual(t.wait(body_is("to many")).get("from"), a.jid)

    def test_direct_is_left_alone(self):
        a, t = self.login(), self.login()
        self.send(a, [("to", "jid='%s'" % t.bare), ("bcc", "jid='x@y'")], to=t.bare)
        self.assertEqual([h[2] for h in self.header(t.wait(body_is("to many")))], [None, None])

    def test_no_relay_for_others(self):
        t = self.login()
        c = compc.join(self.port, "gw.lab.test", "s")
        self.addCleanup(c.close)
        self.send(c, [("to", "jid='%s'" % t.bare)], attrs="from='gw.lab.test' id='r'")
        self.assertError(c.wait(is_("message", id="r", type_="error")), "forbidden")
        t.sync()
        self.none_of(t.drain(), "message")

    def test_feature(self):
        self.assertIn(ADDR, self.features(self.login(), DOMAIN))


class Search(Base):
    def register(self, c, **kw):
        return c.iq("set", "<query xmlns='%s'>%s</query>" % (REGISTER, "".join("<%s>%s</%s>" % (k, v, k) for k, v in kw.items())), DIR)

    def find(self, c, **kw):
        """{jid: {field: text}}."""
        r = c.iq("set", "<query xmlns='%s'>%s</query>" % (SEARCH, "".join("<%s>%s</%s>" % (k, v, k) for k, v in kw.items())), DIR)
        self.assertResult(r)
        return {i.get("jid"): {local(f): f.text or "" for f in i} for i in kid(r, "query", SEARCH)}

    def test_disco(self):
        a = self.login()
        self.assertIn(DIR, [i.get("jid") for i in kid(a.get(DISCO_ITEMS, to=DOMAIN), "query", DISCO_ITEMS)])
        q = kid(a.get(DISCO_INFO, to=DIR), "query", DISCO_INFO)
        i = kid(q, "identity")
        self.assertEqual((i.get("category"), i.get("type")), ("directory", "user"))
        self.assertLessEqual({SEARCH, REGISTER}, self.features(a, DIR))

    def test_fields(self):
        q = kid(self.login().get(SEARCH, to=DIR), "query", SEARCH)
        self.assertLessEqual({"instructions", "first", "last", "nick", "email"}, {local(e) for e in q})
        x = kid(q, "x", FORM)
        self.assertEqual(x.get("type"), "form")

    def test_opt_in_and_out(self):
        a, b = self.login(), self.login()
        word = lab.token("n")
        self.assertEqual(self.find(b, nick=word), {})
        self.assertIsNone(kid(kid(a.get(REGISTER, to=DIR), "query", REGISTER), "registered"))
        self.assertResult(self.register(a, first="Juliet", last="Capulet", nick=word, email="j&amp;c@x.test"))
        self.assertEqual(self.find(b, nick=word), {a.bare: {"first": "Juliet", "last": "Capulet", "nick": word, "email": "j&c@x.test"}})
        q = kid(a.get(REGISTER, to=DIR), "query", REGISTER)
        self.assertIsNotNone(kid(q, "registered"))
        self.assertEqual(kid(q, "nick").text, word)
        self.assertResult(self.register(a, nick=word + "2"))      # replaced as a whole
        self.assertEqual(self.find(b, nick=word), {})
        self.assertEqual(self.find(b, nick=word + "2")[a.bare]["last"], "")
        self.assertResult(a.iq("set", "<query xmlns='%s'><remove/></query>" % REGISTER, DIR))
        self.assertEqual(self.find(b, nick=word + "2"), {})

    def test_patterns(self):
        a, b = self.login(), self.login()
        word = lab.token("p")
        self.register(a, first="An_na %x", last=word)
        self.register(b, first="Annie", last=word)
        for first, want in (("An*", {a.bare, b.bare}), ("an_na %x", {a.bare}), ("An_*", {a.bare}), ("%", set()), ("ANNIE", {b.bare}),
                            ("*x", {a.bare}), ("' OR 1=1 --", set()), ("\\", set())):
            self.assertEqual(set(self.find(a, last=word, first=first)), want, first)

    def test_capped(self):
        a = self.login()
        word = lab.token("c")
        for u in self.users(60):
            c = self.login(u, presence=False)
            self.register(c, last=word)
            c.close()
        self.assertEqual(len(self.find(a, last=word)), 50)

    def test_form(self):
        a = self.login()
        word = lab.token("f")
        self.register(a, first="R\u00f6meo", last=word)
        r = a.iq("set", "<query xmlns='%s'><x xmlns='%s' type='submit'><field var='FORM_TYPE'><value>%s</value></field>"
                 "<field var='last'><value>%s</value></field></x></query>" % (SEARCH, FORM, SEARCH, word), DIR)
        x = kid(kid(r, "query", SEARCH), "x", FORM)
        self.assertEqual(x.get("type"), "result")
        self.assertIn("jid", [f.get("var") for f in kid(x, "reported")])
        items = x.findall("{%s}item" % FORM)
        self.assertEqual(len(items), 1)
        self.assertEqual({f.get("var"): kid(f, "value").text for f in items[0] if kid(f, "value").text}, {
            "jid": a.bare, "first": "R\u00f6meo", "last": word})

    def test_empty_query(self):
        a = self.login()
        self.assertError(a.iq("set", "<query xmlns='%s'/>" % SEARCH, DIR), ("not-acceptable", "bad-request"))
        self.assertError(a.iq("set", "<query xmlns='%s'><last>%s</last></query>" % (SEARCH, "x" * 300), DIR), "not-acceptable")

    def test_strangers(self):
        c = compc.join(self.port, "gw.lab.test", "s")
        self.addCleanup(c.close)
        for ns in (SEARCH, REGISTER):
            self.assertError(c.request("get", "<query xmlns='%s'/>" % ns, DIR), "forbidden")

    def test_others(self):
        a = self.login()
        self.assertResult(a.iq("get", "<ping xmlns='urn:xmpp:ping'/>", DIR))
        self.assertError(a.get("no:such", to=DIR), "service-unavailable")
        a.message("x@" + DIR, "hello")
        self.assertError(a.wait(is_("message", type_="error")), "item-not-found")


class Kept(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.d = labor.daemon(milter=False, accounts=("alice", "bob"), extra='domain "search.lab.test" { XMPP_Role = "server"  service = "search" }')

    def find(self, c):
        r = c.iq("set", "<query xmlns='%s'><nick>al*</nick></query>" % SEARCH, DIR)
        return [i.get("jid") for i in kid(r, "query", SEARCH)]

    def test_restart_and_deletion(self):
        a = xmppc.login(self.d.c2s_port, "alice")
        a.iq("set", "<query xmlns='%s'><nick>ally</nick></query>" % REGISTER, DIR)
        self.d.kill()
        self.d.start()
        b = xmppc.login(self.d.c2s_port, "bob")
        self.assertEqual(self.find(b), [at("alice")])
        self.d.ctl("account", "delete", at("alice"))
        self.assertEqual(self.find(b), [])
        b.close()


class Bob(Base):
    def test_icon(self):
        """The icon of XEP-0232's form."""
        a = self.login()
        q = kid(a.get(DISCO_INFO, to=DOMAIN), "query", DISCO_INFO)
        uri = next(q.iter("{urn:xmpp:media-element}uri"))
        self.assertTrue(uri.text.startswith("cid:sha1+"))
        cid = uri.text[4:]
        for user in (a, self.login(), self.login()):    # whatever worker they are on
            r = user.iq("get", "<data xmlns='%s' cid='%s'/>" % (BOB, cid), DOMAIN)
            self.assertResult(r)
            d = kid(r, "data", BOB)
            self.assertEqual((d.get("cid"), d.get("type")), (cid, uri.get("type")))
            data = base64.b64decode(d.text, validate=True)
            self.assertEqual(cid, "sha1+%s@bob.xmpp.org" % hashlib.sha1(data).hexdigest())
            self.assertLessEqual(len(data), 8192)
            self.assertTrue(int(d.get("max-age")) > 0)

    def test_unknown(self):
        a = self.login()
        self.assertError(a.iq("get", "<data xmlns='%s' cid='sha1+00@bob.xmpp.org'/>" % BOB, DOMAIN), "item-not-found")
        self.assertError(a.iq("get", "<data xmlns='%s'/>" % BOB, DOMAIN), "bad-request")

    def test_feature(self):
        self.assertIn(BOB, self.features(self.login(), DOMAIN))


if __name__ == "__main__":
    lab.main()
