"""test_stream - RFC 6120 sections 4, 5 and 11: headers, errors, STARTTLS, XML restrictions."""
import ssl

import lab
import xmppc
from case import ServerCase
from xmppc import CLIENT, SASL, STREAMS, TLS, Closed, is_, local, show

LANG = "{http://www.w3.org/XML/1998/namespace}lang"


class StreamHeader(ServerCase):
    def test_response_header(self):
        """4.7: from, id and version; the prefix's namespace is checked by the parser."""
        c = self.conn()
        c.open()
        self.assertEqual(c.header.get("from"), lab.DOMAIN)
        self.assertTrue(c.header.get("id"))
        self.assertEqual(c.header.get("version"), "1.0")

    def test_response_language(self):
        """4.7.4: a header with xml:lang is answered with one."""
        c = self.conn()
        c.open(extra="xml:lang='en'")
        self.assertTrue(c.header.get(LANG))

    def test_ids_differ(self):
        ids = set()
        for _ in range(5):
            c = self.conn()
            c.open()
            ids.add(c.header["id"])
        self.assertEqual(len(ids), 5)

    def test_id_changes_on_restart(self):
        c = self.conn()
        c.open()
        first = c.header["id"]
        c.starttls()
        c.open()
        self.assertNotEqual(c.header["id"], first)

    def test_higher_version_gets_ours(self):
        """4.7.5: the answer carries the highest version we support."""
        for version in ("1.1", "2.0", "11.4"):
            with self.subTest(version=version):
                c = self.conn()
                c.open(version=version)
                self.assertEqual(c.header.get("version"), "1.0")

    def test_domain_in_other_case(self):
        c = self.conn()
        c.open(to="LAB.Test")
        self.assertEqual(c.header.get("from").lower(), lab.DOMAIN)

    def test_close_is_answered(self):
        """4.4: </stream:stream> is answered by one, then the connection closes."""
        c = self.conn()
        c.open()
        c.send("</stream:stream>")
        self.assertIsNone(c.wait_eof())
        self.assertTrue(c.ended)

    def test_close_of_session_is_answered(self):
        c = self.login()
        c.send("</stream:stream>")
        self.assertIsNone(c.wait_eof())
        self.assertTrue(c.ended)

    def test_byte_by_byte(self):
        """A stream is a stream: chunks mean nothing."""
        c = self.conn()
        for b in c.header_text():
            c.send(b)
        c.wait(lambda e: e.tag == "{%s}features" % STREAMS)
        c.starttls()
        c.open()
        c.auth(self.user())
        c.open()
        c.bind("r")
        for b in "<iq type='get' id='b1'><ping xmlns='urn:xmpp:ping'/></iq>":
            c.send(b)
        self.assertResult(c.reply("b1"))

    def test_many_stanzas_in_one_write(self):
        c = self.login()
        c.send("".join("<iq type='get' id='m%d'><ping xmlns='urn:xmpp:ping'/></iq>" % i for i in range(200)))
        for i in range(200):
            self.assertResult(c.reply("m%d" % i))

    def test_whitespace_keepalive(self):
        """4.6.1: blanks between stanzas are allowed."""
        c = self.login()
        c.send(" \n\t ")
        self.assertResult(c.get(xmppc.PING, "ping"))

    def test_own_prefix_for_stanzas(self):
        """4.8.5: a stanza under a declared prefix of its own is the same stanza."""
        c = self.login()
        c.send("<c:iq xmlns:c='%s' type='get' id='p1'><p:ping xmlns:p='urn:xmpp:ping'/></c:iq>" % CLIENT)
        self.assertResult(c.reply("p1"))


class StreamErrors(ServerCase):
    def refused(self, data, conditions, c=None):
        """<data> ends the stream with one of these errors; a header precedes the error (4.9.1.2)."""
        c = c or self.conn()
        c.send(data)
        got = c.wait_eof()
        self.assertIn(got, (conditions,) if isinstance(conditions, str) else conditions, c._history())
        self.assertIsNotNone(c.header, "the error must stand inside a stream")
        self.assertTrue(c.ended, "4.9.1.1: the stream must be closed after the error")
        return c

    def opened(self):
        c = self.conn()
        c.open()
        return c

    def header(self, **kw):
        return xmppc.Conn.header_text(self.opened(), **kw)

    def test_invalid_stream_namespace(self):
        self.refused(self.header().replace(STREAMS, "urn:wrong"), "invalid-namespace")

    def test_invalid_content_namespace(self):
        self.refused(self.header(ns="urn:wrong"), "invalid-namespace")

    def test_other_prefix(self):
        """4.8.5: another prefix for streams may be taken or refused."""
        c = self.conn()
        c.send(self.header().replace("stream:stream", "x:stream").replace("xmlns:stream", "xmlns:x"))
        try:
            e = c.wait()
        except Closed:
            e = None
        self.assertTrue(c.stream_error == "bad-namespace-prefix" or e is not None and local(e) == "features", c._history())

    def test_not_a_stream(self):
        self.refused("<message xmlns='jabber:client'/>", ("bad-format", "invalid-namespace", "invalid-xml", "bad-namespace-prefix",
                                                        "unsupported-stanza-type", "not-authorized"))

    def test_host_unknown(self):
        self.refused(self.header(to="elsewhere.test"), "host-unknown")

    def test_missing_to(self):
        self.refused(self.header(to=""), ("host-unknown", "improper-addressing"))

    def test_malformed_to(self):
        self.refused(self.header(to="a@b@c/"), ("host-unknown", "improper-addressing"))

    def test_not_well_formed(self):
        for bad in ("<iq></message>", "<iq <>", "<iq a='1' a='2'/>", "<iq a=1/>", "&#0;", "<iq>\x01</iq>", "]]>"):
            with self.subTest(bad=bad):
                self.refused(bad, "not-well-formed", self.opened())

    def test_not_well_formed_bytes(self):
        for bad in (b"<iq>\xff\xfe</iq>", b"<iq>\xc0\x80</iq>", b"<iq>\xed\xa0\x80</iq>", b"\0\0\0\0"):
            with self.subTest(bad=bad):
                self.refused(bad, ("not-well-formed", "unsupported-encoding"), self.opened())

    def test_garbage_first(self):
        self.refused(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ("not-well-formed", "bad-format"))

    def test_unbound_prefix(self):
        self.refused("<x:iq/>", ("not-well-formed", "bad-namespace-prefix"), self.opened())

    def test_restricted_comment(self):
        self.refused("<!-- hello -->", "restricted-xml", self.opened())

    def test_restricted_processing_instruction(self):
        self.refused("<?php echo 1 ?>", "restricted-xml", self.opened())

    def test_restricted_comment_in_stanza(self):
        c = self.login()
        self.refused("<message to='%s'><body>a<!-- b --></body></message>" % c.jid, "restricted-xml", c)

    def test_restricted_dtd(self):
        self.refused("<!DOCTYPE x [<!ENTITY a 'b'>]>" + self.header()[len("<?xml version='1.0'?>"):], "restricted-xml")

    def test_restricted_entity_bomb(self):
        bomb = "<!DOCTYPE x [<!ENTITY a '%s'>%s]>" % ("a" * 1000, "".join(
            "<!ENTITY %s '%s'>" % (chr(98 + i), ("&%s;" % chr(97 + i)) * 10) for i in range(10)))
        self.refused("<?xml version='1.0'?>" + bomb, "restricted-xml")

    def test_restricted_entity_reference(self):
        self.refused("<iq>&nbsp;</iq>", ("restricted-xml", "not-well-formed"), self.opened())

    def test_predefined_entities_pass(self):
        c = self.login()
        c.send("<message to='%s' id='e1'><body>&lt;&amp;&gt;&quot;&apos;&#228;&#x1F600;</body></message>" % c.jid)
        self.assertEqual(xmppc.text(c.wait(is_("message", id="e1"))), "<&>\"'\u00e4\U0001f600")

    def test_cdata_passes(self):
        c = self.login()
        c.send("<message to='%s' id='e2'><body><![CDATA[<b>&amp;]]></body></message>" % c.jid)
        self.assertEqual(xmppc.text(c.wait(is_("message", id="e2"))), "<b>&amp;")

    def test_unsupported_encoding(self):
        for enc in ("UTF-16", "ISO-8859-1", "x-none"):
            with self.subTest(encoding=enc):
                self.refused(self.header().replace("<?xml version='1.0'?>", "<?xml version='1.0' encoding='%s'?>" % enc),
                             ("unsupported-encoding", "not-well-formed"))

    def test_stanza_before_authentication(self):
        """4.9.3.12."""
        for stanza in ("<message to='x@lab.test'><body>x</body></message>", "<presence/>",
                       "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"):
            with self.subTest(stanza=stanza):
                c = self.connect()
                self.refused(stanza, "not-authorized", c)

    def test_stanza_before_bind(self):
        """7.1."""
        c = self.authed()
        self.refused("<message to='x@lab.test'><body>x</body></message>", "not-authorized", c)

    def test_unknown_element_in_session(self):
        c = self.login()
        self.refused("<nothing xmlns='jabber:client'/>", ("unsupported-stanza-type", "invalid-xml"), c)

    def test_text_between_stanzas(self):
        c = self.login()
        c.send("hello")
        self.assertIn(c.wait_eof(), ("bad-format", "invalid-xml", "not-well-formed", "restricted-xml"))

    def test_wrong_from(self):
        """8.1.2.1: a client may name itself only."""
        c, other = self.login(), self.user()
        self.refused("<message from='%s@lab.test/x' to='%s'><body>x</body></message>" % (other, c.bare), "invalid-from", c)

    def test_own_from_is_taken(self):
        c = self.login()
        for addr in (c.jid, c.bare):
            c.send("<message from='%s' to='%s' id='f'><body>x</body></message>" % (addr, c.jid))
            self.assertEqual(c.wait(is_("message", id="f")).get("from"), c.jid)

    def test_oversize_before_authentication(self):
        """13.12: what a stranger sends is bounded."""
        self.oversize(self.opened(), "<iq type='get' id='1'><x xmlns='urn:x'>")

    def test_oversize_in_session(self):
        self.oversize(self.login(), "<message to='x@lab.test'><body>")

    def oversize(self, c, head):
        c.send(head)
        try:
            for _ in range(128):
                c.send(b"a" * 524288)
                c.pump()
                if c.eof or c.ended:
                    break
            c.wait_eof()
        except Closed:
            # a reset may overtake the error; that the stream is over is what counts then
            c.pump(0.5)
        self.assertTrue(c.eof or c.ended, "64 MB in one stanza were taken")
        self.assertIn(c.stream_error, ("policy-violation", "resource-constraint", None), c._history())

    def test_depth_is_bounded(self):
        c = self.login()
        try:
            c.send("<message to='%s'>" % c.jid + "<x>" * 200000 + "</x>" * 200000 + "</message>")
            self.assertIn(c.wait_eof(), ("policy-violation", "resource-constraint", "not-well-formed", None))
        except Closed:
            pass
        self.login()

    def test_ten_thousand_bytes_pass(self):
        """13.12: the limit is not below 10000 bytes."""
        c = self.login()
        c.message(c.jid, "x" * 9700, id_="big")
        self.assertEqual(len(xmppc.text(c.wait(is_("message", id="big")))), 9700)

    def test_server_survives_all(self):
        self.login()
        self.assertTrue(self.d.alive())


class StartTls(ServerCase):
    def test_required(self):
        """5.3.1: TLS is offered as mandatory, SASL only under it."""
        c = self.conn()
        f = c.open()
        tls = f.find("{%s}starttls" % TLS)
        self.assertIsNotNone(tls, show(f))
        self.assertIsNotNone(tls.find("{%s}required" % TLS), show(f))
        self.assertEqual(c.mechanisms(), [])

    def test_no_authentication_in_clear(self):
        c = self.conn()
        c.open()
        user = self.user()
        c.send("<auth xmlns='%s' mechanism='PLAIN'>AHVzZXIAcGFzcw==</auth>" % SASL)
        try:
            e = c.wait(lambda e: nsof_sasl(e))
            self.assertEqual(local(e), "failure", show(e))
        except Closed:
            self.assertIn(c.stream_error, ("not-authorized", "policy-violation", "unsupported-stanza-type"))
        self.assertTrue(user)

    def test_not_offered_again(self):
        """5.3.4: under TLS it must not be offered."""
        c = self.connect()
        self.assertIsNone(c.features.find("{%s}starttls" % TLS))
        self.assertTrue(c.mechanisms())

    def test_second_starttls_refused(self):
        c = self.connect()
        c.send("<starttls xmlns='%s'/>" % TLS)
        try:
            self.assertEqual(local(c.wait(lambda e: True)), "failure")
        except (Closed, AssertionError):
            self.assertIsNotNone(c.stream_error, c._history())

    def test_version_is_modern(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version=version):
                c = self.conn()
                c.open()
                ctx = xmppc.client_context()
                ctx.minimum_version = ctx.maximum_version = version
                c.starttls(ctx)
                self.assertEqual(c.sock.version(), version.name.replace("_", "."))
                c.open()

    def test_old_version_refused(self):
        c = self.conn()
        c.open()
        ctx = xmppc.client_context()
        ctx.set_ciphers("ALL:@SECLEVEL=0")
        ctx.minimum_version, ctx.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            c.starttls(ctx)

    def test_pipelined_plaintext_is_discarded(self):
        """5.4.3.3: nothing said in clear may count as said under TLS."""
        c = self.conn()
        c.open()
        c.send("<starttls xmlns='%s'/>" % TLS + c.header_text() +
               "<auth xmlns='%s' mechanism='PLAIN'>AHVzZXIAcGFzcw==</auth>" % SASL)
        user = self.user()
        try:
            e = c.wait()
            if e.tag != "{%s}proceed" % TLS:
                return      # refused altogether: as good
            c.wrap_tls()
            c.open()
            got = c.auth(user)
        except (ssl.SSLError, ConnectionError, AssertionError):
            # the clear bytes ended the stream or were read as a broken handshake: as good
            self.assertEqual([show(e) for e in c.seen if nsof_sasl(e)], [])
            return
        self.assertEqual(local(got), "success", "an answer to the injected <auth/>? " + c._history())
        self.assertEqual([show(e) for e in c.seen if local(e) == "failure"], [])

    def test_garbage_instead_of_handshake(self):
        c = self.conn()
        c.open()
        c.send("<starttls xmlns='%s'/>" % TLS)
        c.wait()
        c.send(b"this is not a ClientHello at all\r\n" * 10)
        try:
            while not c.eof:
                c.sock.settimeout(10 * lab.SLOW)
                if not c.sock.recv(4096):
                    break
        except ConnectionError:
            pass
        self.connect()

    def test_sudden_close_in_handshake(self):
        for _ in range(20):
            c = self.conn()
            c.open()
            c.send("<starttls xmlns='%s'/>" % TLS)
            c.wait()
            c.cut()
        self.connect()


def nsof_sasl(e):
    return xmppc.nsof(e) == SASL


if __name__ == "__main__":
    lab.main()
