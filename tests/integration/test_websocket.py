"""XMPP over WebSocket: RFC 6455 (the parts a server answers for) and RFC 7395."""
import time

import case
import lab
import webc
import xmppc
from lab import DOMAIN
from webc import BINARY, CLOSE, FRAMING, PING, PONG, TEXT, Ws, WsConn
from xmppc import body_is, is_

OPEN = "<open xmlns='%s' to='%s' version='1.0'/>" % (FRAMING, DOMAIN)
CLOSED = "<close xmlns='%s'/>" % FRAMING


class WebCase(case.ServerCase):
    options, plain, tls = webc.web_options("negotiation_timeout = %d  auth_delay_ms = 0" % (5 * lab.SLOW))

    def ws(self, **kw):
        """A WebSocket after its handshake."""
        w = Ws(self.plain)
        self.addCleanup(w.close)
        self.assertEqual(w.handshake(**kw).status, 101)
        return w

    def wconn(self, **kw):
        c = WsConn(kw.pop("port", self.plain), **kw)
        self.addCleanup(c.close)
        return c

    def wlogin(self, user=None, resource=None, presence=True, **kw):
        user = user or self.user()  # may take a while, which is not the negotiation's
        c = self.wconn(**kw)
        c.open()
        c.auth(user, mech="SCRAM-SHA-256")
        c.open()
        c.bind(resource)
        if presence:
            c.presence()
            c.wait(is_("presence", from_=c.jid))
        return c


class Handshake(WebCase):
    def refused(self, status, text=None, **kw):
        w = Ws(self.plain)
        self.addCleanup(w.close)
        w.send(text or w.handshake_text(**kw))
        a = w.answer()
        self.assertEqual(a.status, status, a)
        return a

    def test_accept(self):
        w = Ws(self.plain)
        self.addCleanup(w.close)
        a = w.handshake()
        self.assertEqual(a.status, 101)
        self.assertEqual(a["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")   # RFC 6455 1.3
        self.assertEqual(a["Sec-WebSocket-Protocol"], "xmpp")
        self.assertEqual(a["Upgrade"].lower(), "websocket")
        self.assertEqual(a["Connection"].lower(), "upgrade")
        self.assertIsNone(a["Sec-WebSocket-Extensions"])

    def test_several_protocols(self):
        self.ws(protocol="chat, xmpp")

    def test_no_xmpp_protocol(self):
        self.refused(400, protocol=None)
        self.refused(400, protocol="chat")
        self.refused(400, protocol="xmpp2, xmp")

    def test_version(self):
        self.assertEqual(self.refused(426, version="8")["Sec-WebSocket-Version"], "13")
        self.refused(426, version=None)

    def test_key(self):
        self.refused(400, key=None)
        self.refused(400, key="c2hvcnQ=")
        self.refused(400, key="not base64 at all!!!!!!!")
        self.refused(400, extra=["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="])

    def test_no_upgrade(self):
        a = self.refused(426, "GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(a["Upgrade"].lower(), "websocket")

    def test_post_is_refused(self):
        a = self.refused(405, "POST /xmpp-websocket HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        self.assertIn("GET", a["Allow"])

    def test_query_is_ignored(self):
        self.ws(path="/xmpp-websocket?x=1")

    def test_origin_any(self):
        self.ws(extra=["Origin: https://anywhere.example"])

    def test_frames_with_the_handshake(self):
        w = Ws(self.plain)
        self.addCleanup(w.close)
        w.send(w.handshake_text().encode() + w.frame(OPEN))
        self.assertEqual(w.answer().status, 101)
        self.assertIn(b"<open", w.get()[1])


class Origins(WebCase):
    options, plain, tls = webc.web_options('cors_origins = ( "https://chat.example" )')

    def test_listed(self):
        self.ws(extra=["Origin: https://chat.example"])
        self.ws()       # no browser

    def test_not_listed(self):
        w = Ws(self.plain)
        self.addCleanup(w.close)
        self.assertEqual(w.handshake(extra=["Origin: https://evil.example"]).status, 403)
        w2 = Ws(self.plain)
        self.addCleanup(w2.close)
        self.assertEqual(w2.handshake(extra=["Origin: null"]).status, 403)


class Frames(WebCase):
    def closes(self, w, code):
        self.assertEqual(w.close_code(), code)
        self.assertTrue(w.at_end())

    def test_ping(self):
        w = self.ws()
        w.say(b"hello", opcode=PING)
        self.assertEqual(w.get(), (PONG, b"hello"))
        w.say(b"unasked", opcode=PONG)
        w.say(b"", opcode=PING)
        self.assertEqual(w.get(), (PONG, b""))

    def test_not_masked(self):
        w = self.ws()
        w.say(OPEN, masked=False)
        self.closes(w, 1002)

    def test_reserved_bits(self):
        w = self.ws()
        w.say(OPEN, rsv=4)
        self.closes(w, 1002)

    def test_reserved_opcode(self):
        for op in (3, 11):
            w = self.ws()
            w.say(b"x", opcode=op)
            self.closes(w, 1002)

    def test_long_control_frame(self):
        w = self.ws()
        w.say(b"x" * 126, opcode=PING)
        self.closes(w, 1002)

    def test_fragmented_control_frame(self):
        w = self.ws()
        w.say(b"x", opcode=PING, fin=False)
        self.closes(w, 1002)

    def test_continuation_of_nothing(self):
        w = self.ws()
        w.say(OPEN, opcode=0)
        self.closes(w, 1002)

    def test_text_inside_a_fragmented_text(self):
        w = self.ws()
        w.say("<open", fin=False)
        w.say("<open")
        self.closes(w, 1002)

    def test_binary(self):
        w = self.ws()
        w.say(OPEN, opcode=BINARY)
        self.closes(w, 1003)

    def test_not_utf8(self):
        w = self.ws()
        w.say(b"<open \xff\xfe/>")
        self.closes(w, 1007)

    def test_too_large_by_its_header(self):
        w = self.ws()
        w.send(w.frame(b"<", length=1 << 40))
        self.closes(w, 1009)

    def test_too_large_in_fragments(self):
        w = self.ws()
        w.say(OPEN[:-2] + " ", fin=False)
        try:
            for _ in range(40):
                w.say(" " * 8000, opcode=0, fin=False)
        except OSError:
            pass
        self.closes(w, 1009)

    def test_fragments(self):
        w = self.ws()
        text = OPEN.encode()
        w.say(text[:7], fin=False)
        w.say(b"in between", opcode=PING)
        w.say(text[7:20], opcode=0, fin=False)
        w.say(b"", opcode=0, fin=False)
        w.say(text[20:], opcode=0)
        self.assertEqual(w.get(), (PONG, b"in between"))
        self.assertIn(b"<open", w.get()[1])

    def test_byte_by_byte(self):
        w = self.ws()
        for b in w.frame(OPEN):
            w.send(bytes([b]))
        self.assertIn(b"<open", w.get()[1])

    def test_close_is_answered(self):
        w = self.ws()
        w.say(b"\x03\xe8bye", opcode=CLOSE)
        self.closes(w, 1000)

    def test_close_with_bad_code(self):
        for code in (b"\x00\x01", b"\x03\xed", b"\x03"):
            w = self.ws()
            w.say(code, opcode=CLOSE)
            self.closes(w, 1002)

    def test_ping_flood_without_reading(self):
        w = self.ws()
        one = w.frame(b"p" * 100, opcode=PING)
        w.sock.settimeout(0.3)
        try:
            for _ in range(400):
                w.sock.sendall(one * 500)
        except OSError:
            pass
        self.assertTrue(self.d.alive())
        w2 = self.ws()      # others are served
        w2.say(OPEN)
        self.assertIn(b"<open", w2.get()[1])


class Streams(WebCase):
    def test_login_and_chat(self):
        a, b = self.wlogin(), self.login()
        a.message(b.jid, "from the web")
        b.wait(body_is("from the web"))
        b.message(a.jid, "to the web & <back>")
        e = a.wait(is_("message"))
        self.assertEqual(xmppc.text(e), "to the web & <back>")
        self.assertTrue(a.texts[-1].startswith("<message xmlns='jabber:client'"), a.texts[-1])

    def test_both_on_the_web(self):
        a, b = self.wlogin(), self.wlogin()
        for i in range(50):
            a.message(b.jid, "n%d" % i)
        for i in range(50):
            self.assertEqual(xmppc.text(b.wait("message")), "n%d" % i)

    def test_over_tls(self):
        c = self.wconn(port=self.tls, tls=True)
        c.open()
        # a page sees nothing of its channel, and a proxy may be between
        self.assertIn("SCRAM-SHA-256", c.mechanisms())
        self.assertNotIn("SCRAM-SHA-256-PLUS", c.mechanisms())
        self.assertIsNone(c.features.find("{urn:xmpp:sasl-cb:0}sasl-channel-binding"))
        c.auth(self.user(), mech="SCRAM-SHA-256")
        c.open()
        c.bind()
        c.sync()

    def test_header(self):
        c = self.wconn()
        f = c.open()
        self.assertEqual(c.header["from"], DOMAIN)
        self.assertEqual(c.header["version"], "1.0")
        self.assertIn("{http://www.w3.org/XML/1998/namespace}lang", c.header)
        self.assertGreaterEqual(len(c.header["id"]), 8)
        self.assertIsNone(f.find("{%s}starttls" % xmppc.TLS))     # 3.9
        self.assertTrue(all(t.startswith("<") for t in c.texts))
        first = c.header["id"]
        c.auth(self.user(), mech="SCRAM-SHA-256")
        c.open()        # 3.7: restart
        self.assertNotEqual(c.header["id"], first)

    def test_tls_required(self):
        d = self.lab.daemon(name=lab.token("d"), milter=False,
                            extra='http_listener { AuthParameters = [ uri = "store://" ] Listen "127.0.0.1:%d" {} }' % (
                                port := lab.free_port()))
        c = self.wconn(port=port)
        self.assertIsNone(c.open().find("{%s}mechanisms" % xmppc.SASL))
        c.send("<auth xmlns='%s' mechanism='PLAIN'>AGEAYg==</auth>" % xmppc.SASL)
        self.assertEqual(xmppc.local(c.wait("failure")[0]), "encryption-required")
        d.terminate()

    def test_unknown_host(self):
        c = self.wconn()
        c.send("<open xmlns='%s' to='elsewhere.test' version='1.0'/>" % FRAMING)
        self.assertEqual(c.wait_end(), "host-unknown")
        # 3.5: <open/>, the error in a message of its own, <close/>
        self.assertRegex(c.texts[0], "^<open ")
        self.assertRegex(c.texts[1], "^<stream:error xmlns:stream=")
        self.assertRegex(c.texts[2], "^<close ")
        c.wait_eof()
        self.assertEqual(c.closed, 1000)

    def test_wrong_namespace_of_open(self):
        for text in ("<open to='%s' version='1.0'/>" % DOMAIN, "<open xmlns='jabber:client' to='%s'/>" % DOMAIN,
                     "<stream:stream xmlns:stream='%s' to='%s' version='1.0'/>" % (xmppc.STREAMS, DOMAIN)):
            c = self.wconn()
            c.send(text)
            self.assertEqual(c.wait_end(), "invalid-namespace", text)

    def test_stanza_first(self):
        c = self.wconn()
        c.send("<presence xmlns='jabber:client'/>")
        self.assertIn(c.wait_end(), ("invalid-namespace", "not-authorized"))

    def test_close(self):
        c = self.wlogin()
        c.send(CLOSED)
        c.wait_eof()
        self.assertIn("<close xmlns='%s'/>" % FRAMING, c.texts[-1])
        self.assertIsNone(c.stream_error)
        self.assertEqual(c.closed, 1000)

    def test_close_of_the_socket_ends_the_session(self):
        a, b = self.wlogin(), self.login()
        self.friends(a, b)
        a.ws.say(b"\x03\xe8", opcode=CLOSE)
        b.wait(is_("presence", type_="unavailable", from_=a.jid))

    def test_resume(self):
        user = self.user()
        a = self.wlogin(user)
        a.sm_enable()
        a.ws.close()
        peer = self.login()
        peer.message(case.at(user), "while away")
        c = self.wconn()
        c.open()
        c.auth(user, mech="SCRAM-SHA-256")
        c.open()
        c.sm_resume(a)
        self.assertEqual(xmppc.text(c.wait("message")), "while away")

    def bad(self, text, *conditions):
        c = self.wlogin(presence=False)
        c.send(text)
        self.assertIn(c.wait_end(), conditions, text)

    def test_not_one_element(self):
        self.bad("<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>", "bad-format", "not-well-formed")
        self.bad("<presence xmlns='jabber:client'>", "not-well-formed")
        self.bad("<presence xmlns='jabber:client'/>text", "bad-format", "not-well-formed")
        self.bad("</stream:stream>", "not-well-formed")
        self.bad("", "bad-format")

    def test_first_character(self):     # 3.3.3, 3.8: no whitespace keepalives
        self.bad(" <presence xmlns='jabber:client'/>", "bad-format")
        self.bad(" ", "bad-format")

    def test_forbidden_xml(self):
        self.bad("<!-- c --><presence xmlns='jabber:client'/>", "restricted-xml", "not-well-formed")
        self.bad("<presence xmlns='jabber:client'><!-- c --></presence>", "restricted-xml", "not-well-formed")
        self.bad("<!DOCTYPE x><presence xmlns='jabber:client'/>", "restricted-xml", "not-well-formed")
        self.bad("<presence xmlns='jabber:client'><?pi ?></presence>", "restricted-xml", "not-well-formed")
        self.bad("<presence xmlns='jabber:client'>&undefined;</presence>", "restricted-xml", "not-well-formed")

    def test_open_in_the_middle(self):
        self.bad(OPEN, "bad-format", "not-well-formed", "unsupported-stanza-type")

    def test_declaration_is_tolerated(self):
        c = self.wconn()
        c.send("<?xml version='1.0'?>" + OPEN)
        c.wait(lambda e: e.tag == "{%s}features" % xmppc.STREAMS)

    def test_cdata_and_brackets_in_attributes(self):
        a, b = self.wlogin(), self.wlogin()
        a.send("<message xmlns='jabber:client' to='%s' id='a>b' type='chat'><body><![CDATA[</message> <x> ]]></body></message>"
               % b.jid)
        e = b.wait("message")
        self.assertEqual(xmppc.text(e), "</message> <x> ")
        self.assertEqual(e.get("id"), "a>b")

    def test_prefixed_stanza(self):
        a, b = self.wlogin(), self.wlogin()
        a.send("<c:message xmlns:c='jabber:client' to='%s' type='chat'><c:body>prefix</c:body></c:message>" % b.jid)
        b.wait(body_is("prefix"))

    def test_large_stanza_limits(self):
        a, b = self.wlogin(), self.login()
        a.message(b.jid, "x" * 200000)
        self.assertEqual(len(xmppc.text(b.wait("message"))), 200000)
        a.message(b.jid, "x" * 300000)
        a.wait_end()
        self.assertEqual(a.closed, 1009)

    def test_many_at_once(self):
        """Messages sent ahead of the account's loading wait in order."""
        user = self.user()
        c = self.wconn()
        c.open()
        c.auth(user, mech="SCRAM-SHA-256")
        out = [OPEN, "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='%s'/></iq>" % xmppc.BIND]
        out += ["<iq xmlns='jabber:client' type='get' id='p%d'><ping xmlns='urn:xmpp:ping'/></iq>" % i for i in range(30)]
        c.ws.send(b"".join(c.ws.frame(t) for t in out))
        for i in range(30):
            c.wait(is_("iq", id_="p%d" % i))

    def test_shutdown_is_told(self):
        options, port, _ = webc.web_options()
        d = self.lab.daemon(name=lab.token("d"), milter=False, **options)
        d.add_account("zoe")
        c = self.wconn(port=port)
        c.open()
        c.auth("zoe", mech="SCRAM-SHA-256")
        c.open()
        c.bind()
        self.assertEqual(d.terminate(), 0)
        self.assertEqual(c.wait_end(), "system-shutdown")


class Hostile(WebCase):
    options, plain, tls = webc.web_options("negotiation_timeout = 1")
    options["xmpp"] = "negotiation_timeout = 1"

    def status(self, data, close=True):
        with webc.Http(self.plain) as h:
            h.send(data)
            a = h.answer()
            if close:
                self.assertTrue(h.at_end(), "still open after %r" % a)
            return a.status

    def test_bad_heads(self):
        host = b"Host: x\r\n"
        for data, status in (
                (b"GET / HTTP/1.1\r\n\r\n", 400),                                               # no Host
                (b"GET / HTTP/1.1\r\n" + host + host + b"\r\n", 400),
                (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
                (b"GET / HTTP/1.1\n" + host + b"\r\n", 400),
                (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b" folded: x\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n c\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"A : b\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"A\0: b\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b"A: b\0\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\n" + host + b": b\r\n\r\n", 400),
                (b"GET  / HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET /\x01 HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET x HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"GET / HTTP/2.0\r\n" + host + b"\r\n", 505),
                (b"GET / http/1.1\r\n" + host + b"\r\n", 400),
                (b"GET /\r\n\r\n", 400),
                (b"G<T / HTTP/1.1\r\n" + host + b"\r\n", 400),
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
                (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + host + b"\r\n", 414),
                (b"GET / HTTP/1.1\r\n" + host + b"A: " + b"b" * 20000 + b"\r\n\r\n", 431),
                (b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n" * 100 + b"\r\n", 431)):
            self.assertEqual(self.status(data), status, data[:80])

    def test_smuggling(self):
        host = b"POST /http-bind HTTP/1.1\r\nHost: x\r\n"
        for fields, status in (
                (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
                (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
                (b"Content-Length: 4\r\nContent-Length: 5\r\n", 400),
                (b"Content-Length: 4\r\nContent-Length: 4\r\n", 400),
                (b"Content-Length: 4, 4\r\n", 400),
                (b"Content-Length: +4\r\n", 400),
                (b"Content-Length: -4\r\n", 400),
                (b"Content-Length: 0x4\r\n", 400),
                (b"Content-Length: 4 4\r\n", 400),
                (b"Content-Length:\r\n", 400),
                (b"Content-Length: 99999999999999999999\r\n", 400),
                (b"Transfer-Encoding: chunked\r\n", 411),
                (b"Transfer-Encoding: identity, chunked\r\n", 501),
                (b"Transfer-Encoding: xchunked\r\n", 501),
                (b"Transfer-Encoding : chunked\r\n", 400),
                (b"Transfer-Encoding:\x0bchunked\r\n", 400)):
            self.assertEqual(self.status(host + fields + b"\r\n0\r\n\r\nGET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n\r\n"),
                             status, fields)

    def test_body_over_the_limit(self):
        self.assertEqual(self.status(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"), 413)

    def test_slow_head(self):
        """One byte now and then does not hold a connection beyond negotiation_timeout."""
        with webc.Http(self.plain) as h:
            h.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
            start = time.monotonic()
            h.sock.settimeout(0.2)
            while time.monotonic() - start < 8 * lab.SLOW:
                try:
                    h.sock.sendall(b"A: b\r\n")
                    if h.sock.recv(100, 0):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            self.assertLess(time.monotonic() - start, 6 * lab.SLOW)

    def test_negotiation_timeout(self):
        c = self.wconn()
        c.open()
        self.assertEqual(c.wait_end(timeout=15), "connection-timeout")

    def test_silent_connection(self):
        with webc.Http(self.plain) as h:
            self.assertTrue(h.at_end())

    def test_not_found(self):
        with webc.Http(self.plain) as h:
            for path in ("/", "/xmpp-websocket/", "/xmpp-websocketx", "/..", "/%2e%2e/etc/passwd"):
                self.assertEqual(h.request("GET", path).status, 404, path)

    def test_pipelined(self):
        with webc.Http(self.plain) as h:
            h.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            for _ in range(20):
                self.assertEqual(h.answer().status, 404)

    def test_http_1_0(self):
        with webc.Http(self.plain) as h:
            h.send(b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(h.answer()["Connection"], "close")
            self.assertTrue(h.at_end())

    def test_absolute_form(self):
        with webc.Http(self.plain) as h:
            self.assertEqual(h.request("GET", "http://localhost/xmpp-websocket").status, 426)

    def test_head_has_no_body(self):
        with webc.Http(self.plain) as h:
            a = h.request("HEAD", "/nothing")
            self.assertEqual((a.status, h.buf), (404, b""))
            self.assertEqual(h.request("GET", "/nothing").status, 404)

    def test_preflight(self):
        with webc.Http(self.plain) as h:
            a = h.request("OPTIONS", "/xmpp-websocket", [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")])
            self.assertEqual(a.status, 204)
            self.assertEqual(a["Access-Control-Allow-Origin"], "*")
            self.assertIsNone(a["Access-Control-Allow-Credentials"])


if __name__ == "__main__":
    lab.main()
