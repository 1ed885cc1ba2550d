"""test_captcha - challenges (XEP-0158, XEP-0221): on making an account, on the first contact of a stranger, on entering a room.

The picture cannot be read by a test: right answers are given to the question, and by hashcash (section 6.2).
"""
import base64
import hashlib
import struct
import urllib.parse
import zlib

import lab
import muclab
import webc
import xmppc
from case import ServerCase, at, settle
from lab import DOMAIN
from muclab import MUC, SERVICE, codes
from xmppc import error_of, escape, fence, is_, kid, local, nsof, show, text

NS = "urn:xmpp:captcha"
DATA = "jabber:x:data"
MEDIA = "urn:xmpp:media-element"
BOB = "urn:xmpp:bob"
OOB = "jabber:x:oob"
REG = "jabber:iq:register"
QUESTION, ANSWER = "What colour has a stop light?", "red"
OPTIONS = 'captcha_questions = ( "%s | %s | crimson" )  captcha_hashcash = 12  ' % (QUESTION, ANSWER)


def fields_of(x):
    return {f.get("var"): f for f in x.findall("{%s}field" % DATA)}


def value(x, var):
    f = fields_of(x).get(var)
    return None if f is None else f.findtext("{%s}value" % DATA)


def hashcash(prefix, label):
    bits = int(label, 16)
    mask = (1 << bits.bit_length()) - 1
    n = 0
    while True:
        s = "%s%d" % (prefix, n)
        if struct.unpack(">I", hashlib.sha256(s.encode()).digest()[28:])[0] & mask == bits:
            return s
        n += 1


def pixels(png):
    """(width, height) of a PNG that is whole."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    pos, size, rows = 8, None, b""
    while pos < len(png):
        n, kind = struct.unpack(">I4s", png[pos:pos + 8])
        data = png[pos + 8:pos + 8 + n]
        assert zlib.crc32(kind + data) == struct.unpack(">I", png[pos + 8 + n:pos + 12 + n])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", data[:8])
            depth = data[8]
        if kind == b"IDAT":
            rows += data
        pos += 12 + n
    assert len(zlib.decompress(rows)) == size[1] * (1 + size[0] * depth // 8)
    return size


def submit(x, **answers):
    """The form of the challenge <x> answered; sha256='...' stands for the field SHA-256."""
    out = "<x xmlns='%s' type='submit'>" % DATA
    for f in x.findall("{%s}field" % DATA):
        if f.get("type") == "hidden":
            out += "<field var='%s'><value>%s</value></field>" % (f.get("var"), escape(f.findtext("{%s}value" % DATA) or ""))
    for var, v in answers.items():
        out += "<field var='%s'><value>%s</value></field>" % ("SHA-256" if var == "sha256" else var, escape(v))
    return out + "</x>"


class Base(ServerCase):
    def challenge(self, c):
        """The next challenge stanza that <c> gets; its form."""
        m = c.wait(lambda e: local(e) == "message" and kid(e, "captcha", NS) is not None)
        return m, kid(kid(m, "captcha", NS), "x", DATA)

    def answer(self, c, m, x, **answers):
        return c.iq("set", "<captcha xmlns='%s'>%s</captcha>" % (NS, submit(x, **answers)), to=m.get("from"))

    def check_picture(self, m, x):
        """XEP-0221: a media element whose cid is the data sent along."""
        media = kid(fields_of(x)["ocr"], "media", MEDIA)
        size = (int(media.get("width")), int(media.get("height")))
        uris = [u for u in media if local(u) == "uri"]
        self.assertTrue(all(u.get("type") == "image/png" for u in uris))
        cid = next(u.text for u in uris if u.text.startswith("cid:"))[4:]
        data = kid(m, "data", BOB)
        self.assertEqual(data.get("cid"), cid)
        png = base64.b64decode(data.text)
        self.assertEqual(cid, "sha1+%s@bob.xmpp.org" % hashlib.sha1(png).hexdigest())
        self.assertLessEqual(len(png), 8192)
        self.assertEqual(pixels(png), size)
        return cid, png


class Off(Base):
    """The default: nobody is asked."""

    def test_strangers_write(self):
        a, b = self.login(), self.login()
        a.message(b.bare, "hello")
        self.assertEqual(text(b.wait(is_("message"))), "hello")
        a.presence("subscribe", b.bare)
        b.wait(is_("presence", type_="subscribe"))

    def test_answer_to_nothing(self):
        a = self.login()
        x = "<x xmlns='%s' type='submit'><field var='challenge'><value>%s</value></field></x>" % (DATA, "0" * 32)
        r = a.iq("set", "<captcha xmlns='%s'>%s</captcha>" % (NS, x), to=DOMAIN)
        self.assertError(r, "service-unavailable", "cancel")

    def test_malformed(self):
        a = self.login()
        for inner in ("", "<x xmlns='%s' type='form'/>" % DATA, "<x xmlns='%s' type='what'/>" % DATA):
            self.assertError(a.iq("set", "<captcha xmlns='%s'>%s</captcha>" % (NS, inner), to=DOMAIN), "bad-request")
        self.assertError(a.iq("get", "<captcha xmlns='%s'/>" % NS, to=DOMAIN), "service-unavailable")


class Strangers(Base):
    options, plain, tls = webc.web_options()
    options["top"] = OPTIONS + "captcha_strangers = true"

    def pair(self):
        return self.login(), self.login()

    def asked(self, a, to, body="hello"):
        a.message(to, body, id_=a.new_id())
        return self.challenge(a)

    def test_challenge_stanza(self):
        """3.1.2, rule by rule."""
        a, b = self.pair()
        a.send("<message to='%s' type='chat' id='spam1' xml:lang='de'><body>buy</body></message>" % b.jid)
        m, x = self.challenge(a)
        f = fields_of(x)
        self.assertEqual(m.get("from"), DOMAIN)
        self.assertEqual(m.get("to"), a.jid)
        self.assertEqual(m.get("id"), value(x, "challenge"))
        self.assertGreaterEqual(len(m.get("id")), 32)
        self.assertEqual(m.get("{http://www.w3.org/XML/1998/namespace}lang"), "de")
        url = kid(kid(m, "x", OOB), "url").text
        self.assertEqual(url, "https://%s:%d/captcha/%s" % (DOMAIN, self.tls, m.get("id")))
        self.assertIn(url, text(m))
        self.assertIn(b.jid, text(m))
        self.assertEqual(x.get("type"), "form")
        self.assertEqual(value(x, "FORM_TYPE"), NS)
        self.assertEqual(value(x, "from"), b.jid)
        self.assertEqual(value(x, "sid"), "spam1")
        for var in ("FORM_TYPE", "from", "challenge", "sid"):
            self.assertEqual(f[var].get("type"), "hidden")
        self.assertEqual(f["qa"].get("label"), QUESTION)
        self.assertEqual(int(f["SHA-256"].get("label"), 16).bit_length(), 12)
        for var in ("ocr", "qa", "SHA-256"):
            self.assertIn(f[var].get("type"), (None, "text-single"))
        cid, png = self.check_picture(m, x)
        r = a.iq("get", "<data xmlns='%s' cid='%s'/>" % (BOB, cid), to=DOMAIN)
        self.assertResult(r)
        self.assertEqual(base64.b64decode(kid(r, "data", BOB).text), png)

    def test_without_id(self):
        a, b = self.pair()
        a.send("<message to='%s'><body>x</body></message>" % b.bare)
        m, x = self.challenge(a)
        self.assertNotIn("sid", fields_of(x))

    def test_right_answer(self):
        """The message waits, and comes with those that followed; from then on nobody asks."""
        a, b = self.pair()
        m, x = self.asked(a, b.bare, "one")
        a.message(b.bare, "two")
        a.sync()
        settle(a, b.bare)
        self.none_of(b.drain(), "message")
        r = self.answer(a, m, x, qa=ANSWER)
        self.assertResult(r)
        self.assertEqual(len(r), 0)
        self.assertEqual([text(b.wait(is_("message", from_=a.jid))) for _ in range(2)], ["one", "two"])
        a.message(b.bare, "three")
        self.assertEqual(text(b.wait(is_("message"))), "three")
        self.none_of(a.drain(), "message")
        # another resource of the same person
        a2 = self.login(a.bare.split("@")[0])
        a2.message(b.bare, "four")
        self.assertEqual(text(b.wait(is_("message"))), "four")

    def test_answers_that_count(self):
        for answers in ({"qa": "  Crimson "}, {"qa": "RED", "ocr": ""}, {"qa": "red", "ocr": "wrong"}):
            with self.subTest(answers=answers):
                a, b = self.pair()
                m, x = self.asked(a, b.bare)
                self.assertResult(self.answer(a, m, x, **answers))
                self.assertEqual(text(b.wait(is_("message"))), "hello")

    def test_hashcash(self):
        """6.2"""
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        label = fields_of(x)["SHA-256"].get("label")
        self.assertResult(self.answer(a, m, x, sha256=hashcash(b.bare, label)))
        self.assertEqual(text(b.wait(is_("message"))), "hello")

    def test_hashcash_for_somebody_else(self):
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        label = fields_of(x)["SHA-256"].get("label")
        self.assertError(self.answer(a, m, x, sha256=hashcash(a.bare, label)), "not-acceptable")

    def test_wrong_answer(self):
        """3.1.4: not-acceptable, of type cancel; the challenge is used up, the message comes back."""
        for answers in ({"ocr": "XXXXXX"}, {"qa": "green"}, {"sha256": "nothing"}, {}, {"ocr": ""}, {"qa": "red\ncrimson"},
                        {"what": "red"}):
            with self.subTest(answers=answers):
                a, b = self.pair()
                m, x = self.asked(a, b.bare)
                self.assertError(self.answer(a, m, x, **answers), "not-acceptable", "cancel")
                e = a.wait(is_("message", type_="error"))
                self.assertError(e, "not-acceptable")
                self.assertEqual(text(e), "hello")
                self.assertEqual(e.get("from"), b.bare)
                self.assertError(self.answer(a, m, x, qa=ANSWER), "service-unavailable", "cancel")
                settle(a, b.bare)
                self.none_of(b.drain(), "message")
                # the next one is asked again
                m2, x2 = self.asked(a, b.bare, "again")
                self.assertNotEqual(m2.get("id"), m.get("id"))
                self.assertResult(self.answer(a, m2, x2, qa=ANSWER))
                self.assertEqual(text(b.wait(is_("message"))), "again")

    def test_used_once(self):
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        self.assertError(self.answer(a, m, x, qa=ANSWER), "service-unavailable", "cancel")

    def test_bound_to_the_address(self):
        """Somebody else's answer is nothing, and harms nothing."""
        a, b = self.pair()
        other = self.login()
        m, x = self.asked(a, b.bare)
        self.assertError(self.answer(other, m, x, qa=ANSWER), "service-unavailable", "cancel")
        self.assertError(self.answer(other, m, x, qa="green"), "service-unavailable", "cancel")
        other.send("<message to='%s' type='error' id='%s'><error type='modify'><not-acceptable xmlns='%s'/></error></message>"
                   % (DOMAIN, m.get("id"), xmppc.STANZA_ERRORS))
        other.sync()
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        b.wait(is_("message"))

    def test_declined(self):
        """Example 3"""
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        a.send("<message to='%s' type='error' id='%s'><error type='modify'><not-acceptable xmlns='%s'/></error></message>"
               % (DOMAIN, m.get("id"), xmppc.STANZA_ERRORS))
        self.assertError(a.wait(is_("message", type_="error", from_=b.bare)), "not-acceptable")
        self.assertError(self.answer(a, m, x, qa=ANSWER), "service-unavailable")
        self.none_of(b.drain(), "message")

    def test_cancelled_form(self):
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        self.assertResult(a.iq("set", "<captcha xmlns='%s'>%s</captcha>" % (NS, submit(x).replace("'submit'", "'cancel'")), to=DOMAIN))
        self.assertError(a.wait(is_("message", type_="error", from_=b.bare)), "not-acceptable")

    def test_subscription(self):
        a, b = self.pair()
        a.roster()
        a.presence("subscribe", b.bare)
        m, x = self.challenge(a)
        self.assertEqual(value(x, "from"), b.bare)
        settle(a, b.bare)
        self.none_of(b.drain(), "presence", type_="subscribe")
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        b.wait(is_("presence", type_="subscribe", from_=a.bare))

    def test_subscription_refused(self):
        a, b = self.pair()
        a.presence("subscribe", b.bare)
        m, x = self.challenge(a)
        self.assertError(self.answer(a, m, x, ocr="wrong"), "not-acceptable")
        settle(a, b.bare)
        self.none_of(b.drain(), "presence", type_="subscribe")

    def test_nothing_for_errors_and_typing(self):
        """No backscatter, no question for who only types; and it tells nothing."""
        a, b = self.pair()
        a.send("<message to='%s' type='error' id='e'><body>x</body><error type='cancel'><item-not-found xmlns='%s'/></error></message>"
               % (b.jid, xmppc.STANZA_ERRORS))
        a.send("<message to='%s' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>" % b.jid)
        a.send("<presence to='%s' type='error'><error type='cancel'><item-not-found xmlns='%s'/></error></presence>"
               % (b.bare, xmppc.STANZA_ERRORS))
        settle(a, b.bare)
        self.none_of(a.drain(), "message")
        self.assertFalse([show(e) for e in b.drain() if "composing" in show(e)])

    def test_headline(self):
        """It waits for nobody, but its sender is asked."""
        a, b = self.pair()
        a.message(b.bare, "news", "headline")
        m, x = self.challenge(a)
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        settle(a, b.bare)
        self.none_of(b.drain(), "message")
        a.message(b.bare, "more news", "headline")
        self.assertEqual(text(b.wait(is_("message"))), "more news")

    def test_contacts_are_not_asked(self):
        a, b = self.pair()
        b.roster()
        self.assertResult(b.iq("set", "<query xmlns='jabber:iq:roster'><item jid='%s'/></query>" % a.bare))
        a.message(b.bare, "friend")
        self.assertEqual(text(b.wait(is_("message"))), "friend")

    def test_whom_one_writes_to_is_known(self):
        a, b = self.pair()
        b.message(a.bare, "I begin")            # a is asked for b, b is not for a
        m, x = self.challenge(b)
        a.message(b.bare, "I know")
        self.assertEqual(text(b.wait(is_("message", from_=a.jid))), "I know")
        # and what waited came: the challenge is no longer needed
        self.assertEqual(text(a.wait(is_("message", from_=b.jid))), "I begin")
        self.assertError(self.answer(b, m, x, qa=ANSWER), "service-unavailable")

    def test_oneself(self):
        a = self.login()
        a2 = self.login(a.bare.split("@")[0])
        a.message(a2.jid, "note")
        self.assertEqual(text(a2.wait(is_("message"))), "note")

    def test_offline_account(self):
        """The same question for who is away; the message is kept after it."""
        a, name = self.login(), self.user()
        m, x = self.asked(a, at(name))
        b = self.login(name)
        b.sync()
        self.none_of(b.drain(), "message")
        b.close()
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        settle(a, at(name))
        b = self.login(name)
        got = b.wait(is_("message"))
        self.assertEqual(text(got), "hello")
        b.sync()
        self.none_of(b.drain(), "message")
        b.close()
        b = self.login(name)
        b.sync()
        self.none_of(b.drain(), "message")

    def test_acknowledged_while_it_waits(self):
        """XEP-0198: what waits for an answer is in the store, so the ack does not wait with it."""
        a, b = self.login(sm=True), self.login()
        m, x = self.asked(a, b.bare)
        lab.wait_until(lambda: a.sm_request() >= 2, text="acknowledgement")
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        self.assertEqual(text(b.wait(is_("message"))), "hello")

    def test_blocked_meanwhile(self):
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        self.assertResult(b.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % a.bare))
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        self.assertError(a.wait(is_("message", type_="error")), "service-unavailable")
        settle(a, b.bare)
        self.none_of(b.drain(), "message")

    def test_blocked_are_not_asked(self):
        a, b = self.pair()
        self.assertResult(b.iq("set", "<block xmlns='urn:xmpp:blocking'><item jid='%s'/></block>" % a.bare))
        a.message(b.bare, "hello")
        self.assertError(a.wait(is_("message")), "service-unavailable")

    def test_not_archived_before_the_answer(self):
        a, b = self.pair()
        m, x = self.asked(a, b.bare, "in the archive?")
        q = "<query xmlns='urn:xmpp:mam:2'/>"
        b.sync()
        self.assertResult(b.iq("set", q))
        self.none_of(b.drain(), "message")
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        b.wait(is_("message"))
        self.assertResult(b.iq("set", q))
        self.assertEqual(len([e for e in b.drain() if "in the archive?" in show(e)]), 1)

    def test_no_account(self):
        a = self.login()
        a.message("nobody@" + DOMAIN, "hello")
        self.assertError(a.wait(is_("message")), "service-unavailable")

    def test_few_wait(self):
        """Five of one stranger; then the sender has to answer first."""
        a, b = self.pair()
        m, x = self.asked(a, b.bare, "m0")
        for i in range(1, 6):
            a.message(b.bare, "m%d" % i)
        e = a.wait(is_("message", type_="error"))
        self.assertError(e, "not-acceptable")
        self.assertEqual(text(e), "m5")
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        self.assertEqual([text(b.wait(is_("message"))) for _ in range(5)], ["m%d" % i for i in range(5)])

    def test_many_wrong_answers(self):
        """Section 10: who gets it wrong all the time is asked no more."""
        a, b = self.pair()
        for i in range(10):
            m, x = self.asked(a, b.bare)
            self.assertError(self.answer(a, m, x, ocr="wrong"), "not-acceptable")
            a.wait(is_("message", type_="error"))
        a.message(b.bare, "once more")
        e = a.wait(is_("message"))
        self.assertError(e, "not-acceptable")
        self.assertEqual(text(e), "once more")

    def test_many_addressees(self):
        """An address has few challenges open, and gets few in all."""
        a = self.login()
        asked = [self.asked(a, at(self.user())) for _ in range(7)]
        self.assertError(self.answer(a, *asked[0], qa=ANSWER), "service-unavailable")
        self.assertResult(self.answer(a, *asked[6], qa=ANSWER))
        for _ in range(13):
            self.asked(a, at(self.user()))
        a.message(at(self.user()), "hello")
        self.assertError(a.wait(is_("message", type_="error")), "not-acceptable")

    def test_restart(self):
        """Who was asked once is remembered; what waited is not lost."""
        d = self.lab.daemon("again", milter=False, top=OPTIONS + "captcha_strangers = true")
        for n in ("a", "b", "c"):
            d.add_account(at(n))
        a, b, c = [xmppc.login(d.c2s_port, n) for n in ("a", "b", "c")]
        m, x = self.asked(a, b.bare)
        self.assertResult(self.answer(a, m, x, qa=ANSWER))
        b.wait(is_("message"))
        b.message(c.bare, "waits")
        self.challenge(b)
        settle(b, c.bare)
        b.sync()
        for conn in (a, b, c):
            conn.close()
        d.terminate()
        d.start()
        a, b, c = [xmppc.login(d.c2s_port, n) for n in ("a", "b", "c")]
        a.message(b.bare, "still known")
        self.assertEqual(text(b.wait(is_("message"))), "still known")
        self.assertEqual(text(c.wait(is_("message"))), "waits")
        for conn in (a, b, c):
            conn.close()
        d.terminate()

    def test_expires(self):
        d = self.lab.daemon("short", milter=False, top=OPTIONS + "captcha_strangers = true  captcha_life = 5")
        for n in ("a", "b"):
            d.add_account(at(n))
        a, b = [xmppc.login(d.c2s_port, n) for n in ("a", "b")]
        m, x = self.asked(a, b.bare)
        self.assertError(a.wait(is_("message", type_="error"), timeout=20), "not-acceptable")
        self.assertError(self.answer(a, m, x, qa=ANSWER), "service-unavailable", "cancel")
        self.none_of(b.drain(), "message")
        a.close()
        b.close()
        d.terminate()

    # -- the web page

    def web(self, method, path, body=b""):
        with webc.Http(self.tls, tls=True) as h:
            headers = [("Content-Type", "application/x-www-form-urlencoded")] if body else []
            return h.request(method, path, headers, body)

    def test_page(self):
        a, b = self.pair()
        m, x = self.asked(a, b.bare)
        path = "/captcha/" + m.get("id")
        p = self.web("GET", path)
        self.assertEqual(p.status, 200)
        self.assertTrue(p["Content-Type"].startswith("text/html"))
        self.assertEqual(p["Cache-Control"], "no-store")
        self.assertIn("default-src 'none'", p["Content-Security-Policy"])
        self.assertIn("frame-ancestors 'none'", p["Content-Security-Policy"])
        self.assertIn(QUESTION, p.body.decode())
        self.assertIn(path + ".png", p.body.decode())
        i = self.web("GET", path + ".png")
        self.assertEqual(i["Content-Type"], "image/png")
        self.assertEqual(i.body, self.check_picture(m, x)[1])
        r = self.web("POST", path, urllib.parse.urlencode({"ocr": "", "qa": " %s " % ANSWER}))
        self.assertEqual(r.status, 200)
        self.assertEqual(text(b.wait(is_("message"))), "hello")
        for method in ("GET", "POST"):
            self.assertEqual(self.web(method, path, b"qa=red" if method == "POST" else b"").status, 404)
        self.assertEqual(self.web("GET", path + ".png").status, 404)
        self.assertError(self.answer(a, m, x, qa=ANSWER), "service-unavailable")

    def test_page_wrong(self):
        for body in ("ocr=wrong", "qa=green&ocr=", "", "qa=%zz", "=&&=&qa", "&".join("a%d=1" % i for i in range(50)) + "&qa=red"):
            with self.subTest(body=body):
                a, b = self.pair()
                m, x = self.asked(a, b.bare)
                self.assertEqual(self.web("POST", "/captcha/" + m.get("id"), body).status, 403)
                self.assertError(a.wait(is_("message", type_="error")), "not-acceptable")
                self.none_of(b.drain(), "message")

    def test_no_such_page(self):
        for path in ("", "0" * 32, "x", "../metrics", "0" * 32 + ".png", ".png"):
            self.assertEqual(self.web("GET", "/captcha/" + path).status, 404)
        self.assertEqual(self.web("POST", "/captcha/" + "0" * 32, b"qa=red").status, 404)
        self.assertEqual(self.web("PUT", "/captcha/" + "0" * 32, b"qa=red").status, 405)


class Registration(Base):
    options, plain, tls = webc.web_options()
    options["top"] = OPTIONS + 'registration = true  registration_captcha = true  registration_throttle = "1000/3600"'
    n = 0

    def get(self, c):
        r = c.iq("get", "<query xmlns='%s'/>" % REG)
        self.assertResult(r)
        q = kid(r, "query", REG)
        return q, kid(q, "x", DATA)

    def send(self, c, x, user, **answers):
        return c.iq("set", "<query xmlns='%s'>%s</query>" % (REG, submit(x, username=user, password="secret-word", **answers)))

    def name(self):
        Registration.n += 1
        return "human%d" % Registration.n

    def plain_set(self, c, user):
        return c.iq("set", "<query xmlns='%s'><username>%s</username><password>secret-word</password></query>" % (REG, user))

    def test_form(self):
        """Section 4, example 11."""
        c = self.connect()
        r = c.iq("get", "<query xmlns='%s'/>" % REG)
        q = kid(r, "query", REG)
        x = kid(q, "x", DATA)
        f = fields_of(x)
        self.assertEqual(value(x, "FORM_TYPE"), REG)
        self.assertEqual(value(x, "sid"), r.get("id"))
        self.assertEqual(f["challenge"].get("type"), "hidden")
        self.assertEqual(f["qa"].get("label"), QUESTION)
        for var in ("username", "password"):
            self.assertIsNotNone(kid(f[var], "required", DATA))
        self.check_picture(q, x)
        url = kid(kid(q, "x", OOB), "url").text
        self.assertTrue(url.endswith("/captcha/" + value(x, "challenge")))
        self.assertIn(url, kid(q, "instructions").text)
        self.assertIsNone(kid(q, "captcha", NS))

    def test_register(self):
        for _ in range(4):
            c, user = self.connect(), self.name()
            q, x = self.get(c)
            self.assertResult(self.send(c, x, user, qa=ANSWER))
            self.assertEqual(local(c.auth(user, "secret-word")), "success")

    def test_hashcash(self):
        """No address was written to: it is the server's."""
        c, user = self.connect(), self.name()
        q, x = self.get(c)
        self.assertResult(self.send(c, x, user, sha256=hashcash(DOMAIN, fields_of(x)["SHA-256"].get("label"))))

    def test_without_answer(self):
        c, user = self.connect(), self.name()
        self.assertError(self.plain_set(c, user), "not-acceptable")
        q, x = self.get(c)
        self.assertError(self.plain_set(c, user), "not-acceptable")
        q, x = self.get(c)
        self.assertError(self.send(c, x, user), "not-acceptable")
        self.assertEqual(local(self.connect().auth(user, "secret-word")), "failure")

    def test_wrong_answer(self):
        c, user = self.connect(), self.name()
        q, x = self.get(c)
        for answers in ({"ocr": "wrong"}, {"qa": ANSWER}):      # used up by the first
            self.assertError(self.send(c, x, user, **answers), "not-acceptable")
        q, x = self.get(c)
        self.assertResult(self.send(c, x, user, qa=ANSWER))

    def test_bound_to_the_stream(self):
        c, other, user = self.connect(), self.connect(), self.name()
        q, x = self.get(c)
        self.get(other)
        self.assertError(self.send(other, x, user, qa=ANSWER), "not-acceptable")
        self.assertResult(self.send(c, x, user, qa=ANSWER))
        # and not for an iq with a captcha
        q, x = self.get(other)
        a = self.login()
        form = submit(x, qa=ANSWER).replace(REG, NS)
        self.assertError(a.iq("set", "<captcha xmlns='%s'>%s</captcha>" % (NS, form), to=DOMAIN), "service-unavailable")

    def test_latest_counts(self):
        c, user = self.connect(), self.name()
        q, old = self.get(c)
        q, x = self.get(c)
        self.assertError(self.send(c, old, user, qa=ANSWER), "not-acceptable")
        self.assertResult(self.send(c, x, user, qa=ANSWER))

    def test_name_taken(self):
        """A person who chose a bad name is still one: no second question."""
        c, user = self.connect(), self.name()
        q, x = self.get(c)
        self.assertError(self.send(c, x, self.user(), qa=ANSWER), "conflict")
        q, x = self.get(c)
        self.assertNotIn("ocr", fields_of(x))
        self.assertResult(self.plain_set(c, user))
        self.assertError(self.plain_set(c, self.name()), "not-acceptable")      # one account

    def test_many_challenges(self):
        c = self.connect()
        for _ in range(10):
            self.get(c)
        self.assertError(c.iq("get", "<query xmlns='%s'/>" % REG), "not-acceptable")

    def test_by_page(self):
        """Who does not know the form uses the page, and then the plain fields."""
        c, user = self.connect(), self.name()
        q, x = self.get(c)
        path = "/captcha/" + value(x, "challenge")
        with webc.Http(self.tls, tls=True) as h:
            self.assertIn(b"qa", h.request("GET", path).body)
            self.assertEqual(h.request("POST", path, body="qa=red").status, 200)
            self.assertIn(b"Thank you", h.request("GET", path).body)
            self.assertEqual(h.request("POST", path, body="qa=red").status, 404)
        self.assertResult(self.plain_set(c, user))

    def test_by_page_wrong(self):
        c, user = self.connect(), self.name()
        q, x = self.get(c)
        with webc.Http(self.tls, tls=True) as h:
            self.assertEqual(h.request("POST", "/captcha/" + value(x, "challenge"), body="qa=blue").status, 403)
        self.assertError(self.plain_set(c, user), "not-acceptable")

    def test_gone_with_the_stream(self):
        c = self.connect()
        q, x = self.get(c)
        c.close()

        def gone():
            with webc.Http(self.tls, tls=True) as h:
                return h.request("GET", "/captcha/" + value(x, "challenge")).status == 404
        lab.wait_until(gone, text="the challenge to go")


class Rooms(Base, muclab.MucCase):
    options = {"extra": muclab.CONF % "", "top": OPTIONS}

    def protected(self, **kw):
        owner, room = self.login(), self.room()
        self.join(owner, room, "owner")
        form = muclab.submit(dict({"captcha_protected": "1"}, **{"muc#roomconfig_" + k: v for k, v in kw.items()}))
        self.assertResult(self.owner(owner, room, form))
        owner.sync()
        owner.drain()
        return owner, room

    def ask(self, c, room, nick="robot"):
        c.send("<presence to='%s/%s' id='j1'><x xmlns='%s'/></presence>" % (room, nick, MUC))
        return self.challenge(c)

    def entered(self, c, room):
        e = c.wait(lambda e: local(e) == "presence" and e.get("from").startswith(room) and (e.get("type") == "error" or 110 in codes(e)))
        self.assertIsNone(e.get("type"), show(e))
        return e

    def test_field(self):
        owner, room = self.protected()
        r = self.owner(owner, room, "", "get")
        self.assertEqual(muclab.form_of(r)["captcha_protected"], ["1"])
        other = self.room()
        self.create(owner, other, "o")
        self.assertEqual(muclab.form_of(self.owner(owner, other, "", "get"))["captcha_protected"], ["0"])

    def test_enter(self):
        """Section 5."""
        owner, room = self.protected()
        c = self.login()
        m, x = self.ask(c, room)
        self.assertEqual(m.get("from"), room)
        self.assertEqual(m.get("to"), c.jid)
        self.assertEqual(value(x, "from"), room)
        self.assertEqual(value(x, "sid"), "j1")
        cid, png = self.check_picture(m, x)
        r = c.iq("get", "<data xmlns='%s' cid='%s'/>" % (BOB, cid), to=room)
        self.assertResult(r)
        self.none_of(owner.drain(), "presence")
        self.assertResult(self.answer(c, m, x, qa=ANSWER))
        self.assertEqual(muclab.ranks(self.entered(c, room)), ("none", "participant"))
        owner.wait(is_("presence", from_=room + "/robot"))
        self.say(c, room, "hello")
        self.hear(owner, "hello")
        # again: known
        c.presence("unavailable", room + "/robot")
        self.join(c, room, "robot")

    def test_wrong(self):
        owner, room = self.protected()
        c = self.login()
        m, x = self.ask(c, room)
        self.assertError(self.answer(c, m, x, ocr="wrong"), "not-acceptable", "cancel")
        e = c.wait(is_("presence", type_="error"))
        self.assertError(e, "not-acceptable")
        self.assertEqual(e.get("from"), room + "/robot")
        self.assertError(self.answer(c, m, x, qa=ANSWER), "service-unavailable", "cancel")
        m, x = self.ask(c, room)
        self.assertResult(self.answer(c, m, x, qa=ANSWER))
        self.entered(c, room)

    def test_declined(self):
        owner, room = self.protected()
        c = self.login()
        m, x = self.ask(c, room)
        c.send("<message to='%s' type='error' id='%s'><error type='modify'><not-acceptable xmlns='%s'/></error></message>"
               % (room, m.get("id"), xmppc.STANZA_ERRORS))
        self.assertError(c.wait(is_("presence", type_="error")), "not-acceptable")

    def test_affiliated_are_not_asked(self):
        owner, room = self.protected()
        c = self.login()
        self.affiliate(owner, room, c.bare, "member")
        self.join(c, room, "friend")

    def test_no_way_round(self):
        """Registering with the room would make one a member."""
        owner, room = self.protected()
        c = self.login()
        self.assertError(c.iq("get", "<query xmlns='%s'/>" % REG, to=room), "not-allowed")

    def test_one_question_at_a_time(self):
        owner, room = self.protected()
        c = self.login()
        m, x = self.ask(c, room)
        c.send("<presence to='%s/other'><x xmlns='%s'/></presence>" % (room, MUC))
        settle(c, room)
        self.none_of(c.drain(), "message")
        self.assertResult(self.answer(c, m, x, qa=ANSWER))
        self.assertEqual(self.entered(c, room).get("from"), room + "/other")

    def test_other_refusals_first(self):
        owner, room = self.protected(passwordprotectedroom="1", roomsecret="pw")
        c = self.login()
        c.send("<presence to='%s/robot'><x xmlns='%s'/></presence>" % (room, MUC))
        self.assertError(c.wait(is_("presence", type_="error")), "not-authorized")

    def test_persistent(self):
        """The setting is kept with the room."""
        d = self.lab.daemon("rooms", milter=False, extra=muclab.CONF % "", top=OPTIONS)
        for n in ("a", "b"):
            d.add_account(at(n))
        a = xmppc.login(d.c2s_port, "a")
        room = self.room()
        self.join(a, room, "a")
        self.assertResult(self.owner(a, room, muclab.submit({"captcha_protected": "1", "muc#roomconfig_persistentroom": "1"})))
        a.close()
        d.terminate()
        d.start()
        b = xmppc.login(d.c2s_port, "b")
        m, x = self.ask(b, room)
        self.assertResult(self.answer(b, m, x, qa=ANSWER))
        self.entered(b, room)
        b.close()
        d.terminate()


class Plain(Base):
    """Without a web page and without questions there is the picture."""
    options = {"top": "captcha_strangers = true"}

    def test_picture_only(self):
        a, b = self.login(), self.login()
        a.message(b.bare, "hello")
        m, x = self.challenge(a)
        self.assertIsNone(kid(m, "x", OOB))
        self.assertEqual([v for v, f in fields_of(x).items() if f.get("type") != "hidden"], ["ocr"])
        self.check_picture(m, x)
        self.assertError(self.answer(a, m, x, ocr="wrong"), "not-acceptable")

    def test_announced(self):
        a = self.login()
        r = a.iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", to=DOMAIN)
        self.assertIn(NS, [f.get("var") for f in kid(r, "query", "http://jabber.org/protocol/disco#info")])


if __name__ == "__main__":
    lab.main()
