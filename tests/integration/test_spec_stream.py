"""test_spec_stream - RFC 6120 sections 4 to 7 and 11, rule by rule: streams, their errors, TLS, SASL, binding."""
import base64
import socket

import lab
import xmppc
from lab import DOMAIN, PASSWORD
from speclib import SpecCase
from xmppc import BIND, CLIENT, SASL, STREAMS, TLS, is_, kid, local, nsof, show

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
DECL = "<?xml version='1.0'?>"


class Streams(SpecCase):
    def head(self, text):
        """What answers the stream header <text>: a Conn that has the peer's header."""
        c = self.conn()
        c.send(text)
        while c.header is None and not (c.eof or c.ended):
            c._read(c.timeout)
        return c

    def broken(self, text, wanted, c=None):
        """<text> ends the stream with one of the conditions <wanted>, behind a header, and the connection."""
        c = c or self.conn()
        c.send(text)
        got = c.wait_eof()
        self.assertIsNotNone(c.header, "no stream header before the error")
        self.assertIn(got, wanted.split())
        self.assertTrue(c.ended, "no </stream:stream>")
        self.assertEqual([local(e) for e in c.seen[-1:]], ["error"])
        return c

    def start(self, attrs="", ns=STREAMS, content=CLIENT, to=DOMAIN, version=" version='1.0'"):
        return DECL + "<stream:stream xmlns='%s' xmlns:stream='%s'%s%s %s>" % (
            content, ns, " to='%s'" % to if to is not None else "", version, attrs)

    # 4.7
    def test_response_header(self):
        c = self.head(self.start("from='juliet@%s' xml:lang='en' id='mine'" % DOMAIN))
        h = c.header
        self.assertEqual((h.get("from"), h.get("to"), h.get("version")), (DOMAIN, "juliet@" + DOMAIN, "1.0"))
        self.assertTrue(h.get("id"))
        self.assertNotEqual(h.get("id"), "mine")
        self.assertEqual(h.get(LANG), "en")
        self.assertEqual(c.root.tag, "{%s}stream" % STREAMS)

    def test_response_to_is_the_bare_jid(self):
        self.assertEqual(self.head(self.start("from='juliet@%s'" % DOMAIN)).header.get("to"), "juliet@" + DOMAIN)
        self.assertIsNone(self.head(self.start()).header.get("to"))

    def test_response_has_a_language_always(self):
        self.assertTrue(self.head(self.start()).header.get(LANG))
        self.assertTrue(self.head(self.start("xml:lang='tlh'")).header.get(LANG))

    def test_ids_are_unique(self):
        c = self.connect()
        ids = {c.header["id"]}
        for _ in range(5):
            ids.add(self.head(self.start()).header["id"])
        self.assertEqual(len(ids), 6)
        self.assertTrue(all(len(i) >= 8 for i in ids))

    def test_each_restart_has_a_new_id(self):
        c = self.conn()
        c.open()
        ids = [c.header["id"]]
        c.starttls()
        c.open()
        ids.append(c.header["id"])
        self.assertEqual(local(c.auth(self.user())), "success")
        c.open()
        ids.append(c.header["id"])
        self.assertEqual(len(set(ids)), 3)

    def test_versions_are_compared_as_numbers(self):
        for v, answer in (("1.0", ("1.0",)), ("1.1", ("1.0",)), ("1.10", ("1.0",)), ("2.0", ("1.0",)), ("01.0", ("1.0",))):
            c = self.head(self.start(version=" version='%s'" % v))
            self.assertIn(c.header.get("version"), answer, v)
            c.wait(lambda e: local(e) == "features")

    def test_no_version_is_0_9(self):
        c = self.head(self.start(version=""))
        if not c.ended:
            c.pump(0.2)
        if c.ended:
            self.assertEqual(c.stream_error, "unsupported-version")
        self.assertIn(c.header.get("version"), (None, "1.0"))

    def test_strange_versions(self):
        for v in ("abc", "", "1", "-1.0", "0.9"):
            c = self.head(self.start(version=" version='%s'" % v))
            c.pump(0.1)
            self.assertIn(c.stream_error, (None, "unsupported-version", "invalid-xml", "bad-format"), v)

    # 4.8
    def test_prefix_free_canonicalization(self):
        c = self.conn()
        c.send(DECL + "<stream xmlns='%s' to='%s' version='1.0'>" % (STREAMS, DOMAIN))
        f = c.wait(lambda e: e.tag == "{%s}features" % STREAMS)
        self.assertIsNotNone(f.find("{%s}starttls" % TLS))

    def test_any_prefix_of_the_stream_namespace(self):
        """4.8.5 wants "stream"; 4.9.3.2 allows to refuse another."""
        c = self.conn()
        c.send(DECL + "<s:stream xmlns='%s' xmlns:s='%s' to='%s' version='1.0'>" % (CLIENT, STREAMS, DOMAIN))
        e = c.wait()
        self.assertIn(local(e), ("features", "error"))
        if local(e) == "error":
            self.assertEqual(c.wait_end(), "bad-namespace-prefix")

    # 4.9.3.x
    def test_wrong_stream_namespace(self):
        self.broken(self.start(ns="http://wrong.example.org/"), "invalid-namespace bad-format")

    def test_wrong_content_namespace(self):
        self.broken(self.start(content="jabber:nobody"), "invalid-namespace")

    def test_wrong_root(self):
        for root in ("<stream:foo xmlns='%s' xmlns:stream='%s' to='%s' version='1.0'>" % (CLIENT, STREAMS, DOMAIN), "<html>",
                     "<stream>"):
            self.broken(root, "bad-format invalid-namespace invalid-xml bad-namespace-prefix not-well-formed")

    def test_undeclared_prefix(self):
        self.broken("<stream:stream xmlns='%s' to='%s' version='1.0'>" % (CLIENT, DOMAIN),
                    "bad-namespace-prefix not-well-formed invalid-namespace bad-format")
        self.broken(self.start() + "<foo:body/>", "bad-namespace-prefix not-well-formed")

    def test_unknown_host(self):
        c = self.broken(self.start(to="unknown.example"), "host-unknown")
        self.assertIsNotNone(c.header.get("from"))

    def test_host_in_capitals(self):
        for to in (DOMAIN.upper(), DOMAIN.title()):
            c = self.head(self.start(to=to))
            c.wait(lambda e: local(e) == "features")
            self.assertEqual(c.header.get("from"), DOMAIN)

    def test_no_host(self):
        c = self.head(self.start(to=None))
        if c.stream_error or not c.seen:
            self.assertIn(c.wait_end(), ("host-unknown", "improper-addressing"))

    def test_not_xml(self):
        for text in ("GET / HTTP/1.0\r\n\r\n", "<", "<<<>>>", "hello", "\x01\x02\x03"):
            with self.subTest(text):
                c = self.conn()
                c.send(text)
                c.sock.shutdown(socket.SHUT_WR)
                c.wait_eof()
                self.assertIn(c.stream_error, ("not-well-formed", "bad-format", "invalid-xml", "invalid-namespace", "unsupported-encoding", None))

    def authenticated(self):
        return self.login()

    def test_not_well_formed(self):
        for text in ("<message><body>No closing tag!</message>", "<message><foo:body>What?</foo:body></message>", "<message a='1' a='2'/>",
                     "<message><body>a & b</body></message>", "<message a=1/>", "<message><body>\x01</body></message>",
                     "<message><body>&#0;</body></message>", "<message><body>&#xFFFE;</body></message>", "<1a/>", "<message <a/>",
                     "<message><body>]]></body></message>"):
            with self.subTest(text):
                self.broken(text, "not-well-formed bad-format bad-namespace-prefix invalid-xml", self.login())

    def test_bad_utf8(self):
        for raw in (b"\xff", b"\xc3(", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
            with self.subTest(raw):
                self.broken(b"<message><body>" + raw + b"</body></message>", "not-well-formed bad-format unsupported-encoding invalid-xml",
                            self.login())

    def test_restricted_xml(self):
        for text in ("<!-- comment -->", "<?pi?>", "<message><!-- c --></message>", "<message><?php x?></message>",
                     "<message><body>&nbsp;</body></message>", "<!DOCTYPE x>"):
            with self.subTest(text):
                self.broken(text, "restricted-xml not-well-formed" if "nbsp" not in text else "restricted-xml not-well-formed bad-format",
                            self.login())

    def test_restricted_xml_is_named_so(self):
        self.broken("<message><!-- c --></message>", "restricted-xml", self.login())
        self.broken("<message><?a b?></message>", "restricted-xml", self.login())

    def test_doctype_before_the_stream(self):
        self.broken(DECL + "<!DOCTYPE s [<!ENTITY a 'b'>]>" + self.start()[len(DECL):], "restricted-xml")

    def test_predefined_entities_cdata_and_references_are_xml(self):
        a = self.login()
        a.send("<message to='%s' id='ent'><body>&lt;&gt;&amp;&apos;&quot;&#x41;&#66;<![CDATA[<c>&]]></body></message>" % a.jid)
        self.assertEqual(xmppc.text(a.wait(is_("message", id="ent"))), "<>&'\"AB<c>&")

    def test_unsupported_encoding(self):
        self.broken("<?xml version='1.0' encoding='ISO-8859-1'?>" + self.start()[len(DECL):], "unsupported-encoding bad-format restricted-xml")

    def test_utf8_declared(self):
        c = self.conn()
        c.send("<?xml version='1.0' encoding='UTF-8'?>\n" + self.start()[len(DECL):])
        c.wait(lambda e: local(e) == "features")

    def test_no_declaration(self):
        c = self.conn()
        c.send(self.start()[len(DECL):])
        c.wait(lambda e: local(e) == "features")

    def test_unsupported_stanza_type(self):
        for text in ("<foo/>", "<pubsub xmlns='jabber:client'/>", "<message xmlns='jabber:server'/>", "<foo xmlns='t:x'/>"):
            with self.subTest(text):
                self.broken(text, "unsupported-stanza-type invalid-namespace bad-format invalid-xml", self.login())

    def test_text_between_stanzas(self):
        a = self.login()
        a.send(" \n\t \r\n ")      # 4.6.1: whitespace keepalives
        a.sync()
        self.broken("keepalive?", "bad-format not-well-formed invalid-xml", a)

    def test_stanzas_before_authentication(self):
        for text in ("<message to='a@%s'><body>x</body></message>" % DOMAIN, "<presence/>",
                     "<iq type='set' id='b'><bind xmlns='%s'/></iq>" % BIND):
            for tls in (False, True):
                with self.subTest(text, tls=tls):
                    c = self.connect() if tls else self.conn()
                    if not tls:
                        c.open()
                    self.broken(text, "not-authorized", c)

    def test_stanzas_before_binding(self):
        for text in ("<message to='a@%s'><body>x</body></message>" % DOMAIN, "<presence/>",
                     "<iq type='get' id='b' to='a@%s'><ping xmlns='urn:xmpp:ping'/></iq>" % DOMAIN):
            with self.subTest(text):
                self.broken(text, "not-authorized", self.authed())

    def test_a_request_to_the_server_before_binding(self):
        """7.1 leaves it to the server; it is not answered with data of the account."""
        c = self.authed()
        c.send("<iq type='get' id='b'><query xmlns='jabber:iq:roster'/></iq>")
        e = c.wait()
        self.assertIn((local(e), e.get("type")), (("iq", "error"), ("error", None)))

    def test_foreign_from(self):
        a, b = self.login(), self.login()
        for from_ in (b.jid, "x@other.example", "%s" % DOMAIN):
            c = self.login()
            c.send("<message from='%s' to='%s' id='f'><body>forged</body></message>" % (from_, b.jid))
            try:
                c.sync()
            except xmppc.Closed:
                self.assertEqual(c.stream_error, "invalid-from")
            got = [e for e in xmppc.fence(a, b) if e.get("id") == "f"]
            self.assertEqual([e.get("from") for e in got if e.get("from") != c.jid], [])

    def test_own_from(self):
        a, b = self.login(), self.login()
        for from_ in (a.jid, a.bare):
            a.send("<message from='%s' to='%s' id='o'><body>own</body></message>" % (from_, b.jid))
            self.assertEqual(b.wait(is_("message", id="o")).get("from"), a.jid)

    def test_too_big(self):
        a = self.login()
        try:
            for _ in range(400):
                a.send("<message to='%s'><body>" % a.jid if _ == 0 else "x" * 65536)
        except (AssertionError, OSError):
            pass
        a.wait_eof()
        self.assertIn(a.stream_error, ("policy-violation", None))

    def test_too_big_is_a_policy_violation(self):
        a = self.login()
        a.send("<message to='%s'><body>%s</body></message>" % (a.jid, "x" * 300000))
        try:
            a.sync()
        except xmppc.Closed:
            self.assertEqual(a.stream_error, "policy-violation")

    # 4.4
    def test_close_is_answered(self):
        for c in (self.login(), self.connect(), self.authed()):
            c.send("</stream:stream>")
            c.wait_eof()
            self.assertTrue(c.ended)
            self.assertIsNone(c.stream_error)

    def test_what_was_sent_before_the_close_is_handled(self):
        a, b = self.login(), self.login()
        a.send("<message to='%s' id='last'><body>x</body></message></stream:stream>" % b.jid)
        a.wait_eof()
        b.wait(is_("message", id="last"))

    # 4.3.2, 5.3
    def test_features_before_tls(self):
        c = self.conn()
        f = c.open()
        t = f.find("{%s}starttls" % TLS)
        self.assertIsNotNone(t)
        if t.find("{%s}required" % TLS) is not None:
            self.assertEqual(c.mechanisms(), [])

    def test_no_starttls_after_tls(self):
        c = self.connect()
        self.assertIsNone(c.features.find("{%s}starttls" % TLS))
        self.assertTrue(c.mechanisms())
        c.send("<starttls xmlns='%s'/>" % TLS)
        try:
            e = c.wait()
        except xmppc.Closed:
            return
        self.assertIn(local(e), ("failure", "error"))

    def test_nothing_of_the_plain_stream_survives_tls(self):
        """5.3.3: what followed <starttls/> in the same packet is not taken into the TLS stream."""
        c = self.conn()
        c.open()
        c.send("<starttls xmlns='%s'/>%s" % (TLS, self.start()))
        try:
            e = c.wait()
            if local(e) == "proceed":
                c.wrap_tls()
                c._new_parser()
                c.pump(0.2)
                self.assertEqual([show(x) for x in c.drain()], [])
        except (AssertionError, OSError):
            pass

    def test_features_after_sasl(self):
        c = self.authed()
        self.assertIsNotNone(c.features.find("{%s}bind" % BIND))
        self.assertIsNone(c.features.find("{%s}starttls" % TLS))
        self.assertIsNone(c.features.find("{%s}mechanisms" % SASL))


class Sasl(SpecCase):
    def failure(self, e, *wanted):
        self.assertEqual((nsof(e), local(e)), (SASL, "failure"), show(e))
        self.assertIn(next(local(x) for x in e if local(x) != "text"), wanted, show(e))

    def auth(self, c, mech, data):
        c.send("<auth xmlns='%s'%s>%s</auth>" % (SASL, " mechanism='%s'" % mech if mech is not None else "", data))
        return c.wait()

    def b64(self, s):
        return base64.b64encode(s.encode()).decode()

    def test_unknown_mechanism(self):
        c = self.connect()
        self.failure(self.auth(c, "NO-SUCH", "="), "invalid-mechanism")
        self.assertEqual(local(c.auth(self.user())), "success")

    def test_no_mechanism(self):
        self.failure(self.auth(self.connect(), None, "="), "invalid-mechanism", "malformed-request")

    def test_names_are_exact(self):
        self.failure(self.auth(self.connect(), "plain", self.b64("\0a\0b")), "invalid-mechanism")

    def test_bad_base64(self):
        for data in ("!!!!", "a", "ab=c", "====", "A=B=", "YQ==YQ=="):
            with self.subTest(data):
                c = self.connect()
                mech = "PLAIN" if "PLAIN" in c.mechanisms() else "SCRAM-SHA-256"
                self.failure(self.auth(c, mech, data), "incorrect-encoding", "malformed-request")

    def test_bad_base64_is_incorrect_encoding(self):
        c = self.connect()
        self.failure(self.auth(c, "SCRAM-SHA-256", "!not base64!"), "incorrect-encoding")

    def test_wrong_password_and_unknown_user_look_alike(self):
        u = self.user()
        out = []
        for user in (u, "nobody-there"):
            for mech in [m for m in self.connect().mechanisms() if not m.endswith("-PLUS") and m not in ("ANONYMOUS", "EXTERNAL")]:
                c = self.connect()
                e = c.auth(user, "wrong", mech)
                self.failure(e, "not-authorized")
                out.append(show(e))
                # the stream goes on (6.4.4: retries)
                self.assertEqual(local(c.auth(u, PASSWORD)), "success")
        self.assertEqual(len(set(out)), 1)

    def test_retries_end(self):
        c, u = self.connect(), self.user()
        for i in range(60):
            try:
                e = c.auth(u, "wrong", "SCRAM-SHA-1")
            except xmppc.Closed:
                break
            if local(e) == "error":
                break
            self.failure(e, "not-authorized", "temporary-auth-failure", "policy-violation")
        else:
            self.fail("60 tries")
        self.assertGreaterEqual(i, 2)
        self.assertIn(c.wait_end(), ("policy-violation", "not-authorized"))

    def test_authzid_of_another(self):
        u, v = self.user(), self.user()
        c = self.connect()
        if "PLAIN" in c.mechanisms():
            self.failure(c.auth(u, mech="PLAIN", authzid="%s@%s" % (v, DOMAIN)), "invalid-authzid", "not-authorized")
        c = self.connect()
        self.failure(c.auth(u, mech="SCRAM-SHA-256", authzid="%s@%s" % (v, DOMAIN)), "invalid-authzid", "not-authorized")

    def test_authzid_of_oneself(self):
        u = self.user()
        for mech in ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"):
            c = self.connect()
            if mech in c.mechanisms():
                self.assertEqual(local(c.auth(u, mech=mech, authzid="%s@%s" % (u, DOMAIN))), "success", mech)

    def test_malformed_messages(self):
        c = self.connect()
        if "PLAIN" in c.mechanisms():
            for data in ("", "\0", "abc", "\0\0", "\0u\0", "\0\0p", "a\0b\0c\0d"):
                c = self.connect()
                self.failure(self.auth(c, "PLAIN", self.b64(data) or "="), "malformed-request", "not-authorized", "invalid-authzid")
        for data in ("x", "n,,", "n,,n=a", "n,,r=abc", "q,,n=a,r=b", "n,,m=ext,n=a,r=b", "y,n=a,r=b", "n,,n=a=zz,r=b", "p=bad,,n=a,r=b"):
            with self.subTest(data):
                c = self.connect()
                self.failure(self.auth(c, "SCRAM-SHA-256", self.b64(data)), "malformed-request", "not-authorized")

    def test_abort(self):
        c, u = self.connect(), self.user()
        e = self.auth(c, "SCRAM-SHA-256", self.b64("n,,n=%s,r=abcdef" % u))
        self.assertEqual(local(e), "challenge")
        c.send("<abort xmlns='%s'/>" % SASL)
        self.failure(c.wait(), "aborted")
        self.assertEqual(local(c.auth(u)), "success")

    def test_scram_final_with_a_wrong_nonce(self):
        c, u = self.connect(), self.user()
        self.auth(c, "SCRAM-SHA-256", self.b64("n,,n=%s,r=abcdef" % u))
        c.send("<response xmlns='%s'>%s</response>" % (SASL, self.b64("c=biws,r=other,p=AAAA")))
        self.failure(c.wait(), "not-authorized", "malformed-request")

    def test_scram_final_with_wrong_binding_data(self):
        c, u = self.connect(), self.user()
        e = self.auth(c, "SCRAM-SHA-256", self.b64("n,,n=%s,r=abcdef" % u))
        nonce = base64.b64decode(e.text).decode().split(",")[0]
        c.send("<response xmlns='%s'>%s</response>" % (SASL, self.b64("c=eSws,%s,p=AAAA" % nonce)))
        self.failure(c.wait(), "not-authorized", "malformed-request")

    def test_response_without_auth(self):
        c = self.connect()
        c.send("<response xmlns='%s'>AA==</response>" % SASL)
        try:
            e = c.wait()
            self.assertIn(local(e), ("failure", "error"))
        except xmppc.Closed:
            pass

    def test_no_sasl_before_tls(self):
        c = self.conn()
        c.open()
        if "PLAIN" in c.mechanisms():
            return      # an operator's choice
        e = self.auth(c, "PLAIN", self.b64("\0%s\0%s" % (self.user(), PASSWORD)))
        if local(e) == "failure":
            self.failure(e, "encryption-required", "invalid-mechanism", "mechanism-too-weak")
        else:
            self.assertEqual(c.wait_end(), "not-authorized")

    def test_auth_twice(self):
        c = self.authed()
        c.send("<auth xmlns='%s' mechanism='PLAIN'>=</auth>" % SASL)
        try:
            self.assertIn(local(c.wait()), ("failure", "error"))
        except xmppc.Closed:
            pass

    def test_initial_response_may_be_missing(self):
        c, u = self.connect(), self.user()
        e = self.auth(c, "SCRAM-SHA-256", "")
        self.assertEqual((local(e), e.text or ""), ("challenge", ""))
        self.assertEqual(local(c._scram("SCRAM-SHA-256", u, PASSWORD, say=lambda m, d: c.respond(d))), "success")

    def test_downgrade_of_channel_binding_is_noticed(self):
        """RFC 5802 section 6: 'y' while the server offers -PLUS fails."""
        c = self.connect()
        if "SCRAM-SHA-256-PLUS" in c.mechanisms():
            self.failure(c.auth(self.user(), mech="SCRAM-SHA-256", gs2="y"), "not-authorized")

    def test_plus(self):
        c = self.connect()
        for mech in [m for m in c.mechanisms() if m.endswith("-PLUS")]:
            u = self.user()
            for kind in ("tls-exporter", "tls-server-end-point"):
                self.assertEqual(local(self.connect().auth(u, mech=mech, binding=kind)), "success", mech + kind)
                self.failure(self.connect().auth(u, mech=mech, binding=kind, bad_binding=True), "not-authorized")


class Binding(SpecCase):
    def jid(self, r):
        self.assertResult(r)
        self.assertEqual([local(x) for x in r], ["bind"])
        return kid(kid(r, "bind", BIND), "jid").text

    def test_generated_resources_are_random(self):
        u = self.user()
        seen = {self.jid(self.authed(u).bind()).partition("/")[2] for _ in range(4)}
        self.assertEqual(len(seen), 4)
        self.assertTrue(all(len(r) >= 8 for r in seen))

    def test_submitted_resource(self):
        u = self.user()
        for r in ("balcony", "B\u00e4lk\u00f6n \u2713", "a/b@c", "x" * 100):
            self.assertEqual(self.jid(self.authed(u).bind(r)), "%s@%s/%s" % (u, DOMAIN, r))

    def test_unusable_resources(self):
        for r in ("<resource></resource>", "<resource>%s</resource>" % ("x" * 1024), "<resource> \u200b\u0007</resource>".replace("\u0007", "")):
            c = self.authed()
            e = c.iq("set", "<bind xmlns='%s'>%s</bind>" % (BIND, r))
            if e.get("type") == "error":
                self.assertError(e, "bad-request", "modify")
                self.jid(c.bind("good"))        # 7.7.3: retries
            else:
                self.assertTrue(self.jid(e).partition("/")[2])

    def test_longest_resource(self):
        self.assertEqual(len(self.jid(self.authed().bind("x" * 1023)).partition("/")[2]), 1023)

    def test_retries(self):
        c = self.authed()
        for _ in range(5):
            e = c.iq("set", "<bind xmlns='%s'><resource>%s</resource></bind>" % (BIND, "x" * 2000))
            if e.get("type") == "result":
                return
        self.jid(c.bind("good"))

    def test_conflict(self):
        u = self.user()
        a = self.login(u, "same")
        b = self.authed(u)
        r = b.bind("same")
        if r.get("type") == "error":
            self.assertError(r, "conflict", "modify")
            self.jid(b.bind("other"))
        elif self.jid(r) == a.jid:
            self.assertEqual(a.wait_end(), "conflict")
        else:
            a.sync()

    def test_bind_twice(self):
        """7.1: one resource each stream."""
        c = self.login()
        id_ = c.new_id()
        c.send("<iq type='set' id='%s'><bind xmlns='%s'><resource>second</resource></bind></iq>" % (id_, BIND))
        try:
            r = c.reply(id_)
        except xmppc.Closed:
            return
        self.assertError(r, ("not-allowed", "service-unavailable", "unexpected-request", "bad-request"))
        c.sync()

    def test_bind_get(self):
        c = self.authed()
        c.send("<iq type='get' id='g'><bind xmlns='%s'/></iq>" % BIND)
        try:
            self.assertEqual(c.wait().get("type"), "error")
        except xmppc.Closed:
            pass

    def test_old_session_request(self):
        c = self.authed()
        c.bind()
        f = c.features.find("{%s}session" % xmppc.SESSION)
        if f is not None:
            self.assertIsNotNone(f.find("{%s}optional" % xmppc.SESSION))
            self.assertResult(c.iq("set", "<session xmlns='%s'/>" % xmppc.SESSION))

    def test_from_of_a_bind_result(self):
        r = self.authed().bind("x")
        self.assertIn(r.get("from"), (None, DOMAIN, r.get("to")))


if __name__ == "__main__":
    lab.main()
