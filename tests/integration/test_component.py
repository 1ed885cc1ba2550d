"""test_component - XEP-0114: components with a domain of their own."""
import socket
import ssl

import compc
import lab
import xmppc
from case import ServerCase, at
from compc import COMPONENT, Component
from lab import DOMAIN
from xmppc import DISCO_INFO, DISCO_ITEMS, body_is, is_, kid, local, show, text

SECRET = "comp-s3cret <&>"
PROXIED = lab.free_port()
TLS_PORT = lab.free_port()


class Base(ServerCase):
    options = {"extra": """
component "irc.lab.test" { secret = "%s" }
component "wide.lab.test" { secret = "%s"  subdomains = true }
component "filed.lab.test" { secret_file = "component.secret" }
component "lost.lab.test" { secret_file = "nowhere.secret" }
component "elsewhere.test" { secret = "%s" }
xmpp_listener "proxied" {
  AuthParameters = [ uri = "store://" ]  proxy_protocol = true  proxy_protocol_hosts = ( "127.0.0.1" )
  Listen "127.0.0.1:%d" {}
}
xmpp_listener "tls" {
  AuthParameters = [ uri = "store://" ]  use_ssl = true  proxy_protocol = true  proxy_protocol_hosts = ( "127.0.0.1" )
  Listen "127.0.0.1:%d" {}
}
""" % (SECRET, SECRET, SECRET, PROXIED, TLS_PORT)}

    def component(self, name="irc.lab.test", port=None):
        c = Component(port or self.port, name)
        self.addCleanup(c.close)
        return c

    def joined(self, name="irc.lab.test", secret=SECRET):
        c = self.component(name)
        c.open()
        self.assertNotIsInstance(c.handshake(secret), str)
        self.addCleanup(self.gone, c)
        return c

    def gone(self, c):
        """The next test may connect under the same name."""
        if c.sock is None or c.eof:
            return
        c.close()

    def cut(self, c):
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        c.sock.close()
        c.sock, c.eof = None, True


class Handshake(Base):
    def test_header(self):
        """3: our header names the component and has an id; no features, no version."""
        c = self.component()
        h = c.open()
        self.assertEqual(h.get("from"), "irc.lab.test")
        self.assertTrue(h.get("id"))
        self.assertNotIn("version", h)
        e = c.handshake(SECRET)
        self.assertEqual(e.tag, "{%s}handshake" % COMPONENT)
        self.assertFalse(e.text)

    def test_ids_differ(self):
        ids = set()
        for _ in range(5):
            c = self.component()
            ids.add(c.open()["id"])
        self.assertEqual(len(ids), 5)

    def test_version_is_no_matter(self):
        c = self.component()
        c.open(version="1.0")
        self.assertNotIsInstance(c.handshake(SECRET), str)

    def test_wrong_secret(self):
        for bad in ("", "x", SECRET[:-1], SECRET.upper()):
            c = self.component()
            c.open()
            self.assertEqual(c.handshake(bad), "not-authorized")
            c.wait_eof()

    def test_odd_handshakes(self):
        for bad in ("", "  ", "0" * 40, "0" * 39, "z" * 4000, "<x/>"):
            c = self.component()
            c.open()
            c.send("<handshake>%s</handshake>" % bad)
            self.assertEqual(c.wait_end(), "not-authorized")

    def test_upper_case_is_wrong(self):
        """3, rule 4: all lower case."""
        c = self.component()
        c.open()
        c.send("<handshake>%s</handshake>" % c.proof(SECRET).upper())
        self.assertEqual(c.wait_end(), "not-authorized")

    def test_anothers_handshake(self):
        """The proof is made of this stream's id."""
        a, b = self.component(), self.component()
        a.open()
        b.open()
        b.send("<handshake>%s</handshake>" % a.proof(SECRET))
        self.assertEqual(b.wait_end(), "not-authorized")

    def test_unknown_name(self):
        for name in ("nobody.lab.test", DOMAIN, "x@irc.lab.test", "irc.lab.test/r", "sub.irc.lab.test",
                     "sub.wide.lab.test", "a b"):
            c = self.component(name)
            h = c.open()
            got = c.wait_end()
            self.assertEqual(got, "host-unknown", name)
            self.assertIsNotNone(h, "a header comes before the error")

    def test_no_name(self):
        c = self.component()
        c.send(c.header_text("", ""))
        self.assertEqual(c.wait_end(), "improper-addressing")

    def test_connect_namespace(self):
        c = self.component()
        c.send(c.header_text(ns="jabber:component:connect"))
        self.assertEqual(c.wait_end(), "invalid-namespace")

    def test_stanza_before_handshake(self):
        c = self.component()
        c.open()
        c.stanza("message", at("x"), inner="<body>x</body>")
        self.assertEqual(c.wait_end(), "not-authorized")

    def test_client_may_not_handshake(self):
        c = self.connect()
        c.send("<handshake>%s</handshake>" % ("0" * 40))
        self.assertIsNotNone(c.wait_end())

    def test_client_has_no_component_names(self):
        """jabber:component:accept means nothing on a client's stream."""
        c = self.login()
        c.send("<message xmlns='%s' to='%s'><body>x</body></message>" % (COMPONENT, c.jid))
        self.assertEqual(c.wait_end(), "unsupported-stanza-type")

    def test_conflict(self):
        a = self.joined()
        b = self.component()
        b.open()
        self.assertEqual(b.handshake(SECRET), "conflict")
        a.fence(DOMAIN)

    def test_name_is_free_again(self):
        for _ in range(3):
            self.joined().close()
        c = self.joined()
        self.cut(c)
        lab.wait_until(lambda: self.try_again(), text="the name is free")

    def try_again(self):
        c = self.component()
        c.open()
        got = c.handshake(SECRET)
        if got == "conflict":
            return False
        c.close()
        return True

    def test_secret_file(self):
        # the file is made once the daemon runs: what a reload reads
        (self.d.data / "component.secret").write_text("from-a-file\n")
        self.d.ctl("config", "reload")
        self.joined("filed.lab.test", "from-a-file")

    def test_no_secret(self):
        c = self.component("lost.lab.test")
        c.open()
        self.assertEqual(c.handshake(""), "not-authorized")

    def test_remote_needs_tls(self):
        c = self.component(port=PROXIED)
        c.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 5222\r\n")
        c.open()
        self.assertEqual(c.wait_end(), "policy-violation")

    def test_remote_with_tls(self):
        c = self.component(port=TLS_PORT)
        c.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 5222\r\n")
        c.wrap_tls()
        c.open()
        self.assertNotIsInstance(c.handshake(SECRET), str)

    def test_stanzas_with_the_handshake(self):
        """What is sent in one go with the handshake is not lost."""
        a = self.login()
        c = self.component()
        c.open()
        c.handshake(SECRET, "".join("<message from='irc.lab.test' to='%s' type='chat'><body>m%d</body></message>" % (
            a.jid, i) for i in range(20)))
        for i in range(20):
            self.assertEqual(text(a.wait(is_("message", from_="irc.lab.test"))), "m%d" % i)


class Stanzas(Base):
    def test_message_both_ways(self):
        a, c = self.login(), self.joined()
        a.message("user@irc.lab.test/r", "h\u00e9llo <&>")
        m = c.wait(body_is("h\u00e9llo"))
        self.assertEqual(m.tag, "{%s}message" % COMPONENT)
        self.assertEqual((m.get("from"), m.get("to"), m.get("type")), (a.jid, "user@irc.lab.test/r", "chat"))
        c.stanza("message", a.jid, "nick@irc.lab.test/x", "<body>back</body><thread>t</thread>", type_="chat", id_="q")
        m = a.wait(body_is("back"))
        self.assertEqual(m.tag, "{jabber:client}message")
        self.assertEqual((m.get("from"), m.get("id")), ("nick@irc.lab.test/x", "q"))
        self.assertEqual(text(m, "thread"), "t")

    def test_namespaces_are_translated(self):
        """The content namespace is the stream's, however it is declared."""
        a, c = self.login(), self.joined()
        c.send("<x:message xmlns:x='%s' from='irc.lab.test' to='%s'><x:body>pre</x:body></x:message>" % (COMPONENT, a.jid))
        self.assertEqual(kid(a.wait(body_is("pre")), "body").tag, "{jabber:client}body")
        c.send("<message xmlns='%s' from='irc.lab.test' to='%s'><body xmlns='%s'>again</body></message>" % (
            COMPONENT, a.jid, COMPONENT))
        self.assertEqual(kid(a.wait(body_is("again")), "body").tag, "{jabber:client}body")
        a.send("<message to='irc.lab.test'><body xmlns='jabber:client'>there</body></message>")
        self.assertEqual(kid(c.wait(body_is("there")), "body").tag, "{%s}body" % COMPONENT)
        inner = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>kept</body></message></forwarded>"
        a.send("<message to='irc.lab.test'><body>fwd</body>%s</message>" % inner)
        m = c.wait(body_is("fwd"))
        self.assertIsNotNone(m.find("{urn:xmpp:forward:0}forwarded/{jabber:client}message/{jabber:client}body"), show(m))

    def test_iq(self):
        a, c = self.login(), self.joined()
        a.send("<iq type='get' to='x@irc.lab.test' id='i1'><query xmlns='some:thing'/></iq>")
        q = c.wait(is_("iq", id="i1"))
        c.result(q, "<query xmlns='some:thing'>yes</query>")
        r = a.reply("i1")
        self.assertResult(r)
        self.assertEqual(r.get("from"), "x@irc.lab.test")
        r = c.request("get", "<query xmlns='%s'/>" % DISCO_INFO, DOMAIN)
        self.assertResult(r)
        self.assertEqual(r.get("to"), "irc.lab.test")
        self.assertError(c.request("get", "<query xmlns='no:such'/>", DOMAIN, "n@irc.lab.test/z"), "service-unavailable")

    def test_iq_between_component_and_clients(self):
        a, c = self.login(), self.joined()
        c.stanza("iq", a.jid, "x@irc.lab.test", "<query xmlns='jabber:iq:version'/>", type_="get", id_="v")
        q = a.wait(is_("iq", id="v"))
        a.send("<iq type='result' to='%s' id='v'/>" % q.get("from"))
        self.assertEqual(c.reply("v").get("from"), a.jid)

    def test_presence(self):
        a, c = self.login(), self.joined()
        a.presence(to="room@irc.lab.test/nick")
        p = c.wait(is_("presence", to="room@irc.lab.test/nick"))
        self.assertEqual(p.get("from"), a.jid)
        c.stanza("presence", a.jid, "room@irc.lab.test/nick")
        a.wait(is_("presence", from_="room@irc.lab.test/nick"))
        a.close()       # RFC 6121 4.6.3: directed presence is taken back
        c.wait(is_("presence", type_="unavailable", to="room@irc.lab.test/nick"))

    def test_subscription(self):
        a, c = self.login(), self.joined()
        a.roster()
        a.presence("subscribe", "bot@irc.lab.test")
        c.wait(is_("presence", type_="subscribe", to="bot@irc.lab.test"))
        c.stanza("presence", a.bare, "bot@irc.lab.test", type_="subscribed")
        a.wait(is_("presence", type_="subscribed", from_="bot@irc.lab.test"))
        c.stanza("presence", a.bare, "bot@irc.lab.test", "<status>here</status>")
        a.wait(is_("presence", from_="bot@irc.lab.test", type_=None))

    def test_order(self):
        a, c = self.login(), self.joined()
        for i in range(200):
            a.message("x%d@irc.lab.test" % (i % 7), "n%d" % i)
        self.assertEqual([text(c.wait("message")) for _ in range(200)], ["n%d" % i for i in range(200)])

    def test_foreign_from(self):
        for from_ in (DOMAIN, at("someone"), "x@elsewhere.test", "sub.irc.lab.test", "x@xirc.lab.test"):
            c = self.joined()
            c.stanza("message", at("x"), from_, "<body>x</body>")
            self.assertEqual(c.wait_end(), "invalid-from", from_)

    def test_bad_addresses(self):
        for xml, want in (("<message to='%s'/>" % at("x"), "improper-addressing"),
                          ("<message from='irc.lab.test'/>", "improper-addressing"),
                          ("<message from='a@@irc.lab.test' to='%s'/>" % at("x"), "invalid-from")):
            c = self.joined()
            c.send(xml)
            self.assertEqual(c.wait_end(), want, xml)

    def test_bad_to_is_answered(self):
        c = self.joined()
        c.stanza("message", "a@@b", "u@irc.lab.test", "<body>x</body>", id_="m1")
        r = c.wait(is_("message", type_="error"))
        self.assertError(r, "jid-malformed")
        self.assertEqual((r.get("to"), r.get("from"), r.get("id")), ("u@irc.lab.test", "a@@b", "m1"))

    def test_bad_iq(self):
        c = self.joined()
        for inner, attrs in (("", "type='get' id='a'"), ("<a xmlns='x'/><b xmlns='x'/>", "type='set' id='b'"),
                             ("<a xmlns='x'/>", "type='what' id='c'")):
            c.send("<iq from='irc.lab.test' to='%s' %s>%s</iq>" % (DOMAIN, attrs, inner))
            self.assertError(c.wait("iq"), "bad-request")

    def test_other_elements(self):
        c = self.joined()
        c.send("<enable xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(c.wait_end(), "unsupported-stanza-type")

    def test_unknown_account(self):
        c = self.joined()
        self.assertError(c.request("get", "<query xmlns='%s'/>" % DISCO_INFO, at("nobody-at-all")), "service-unavailable")

    def test_remote_domain(self):
        c = self.joined()
        c.stanza("message", "x@remote.invalid", inner="<body>x</body>")
        self.assertError(c.wait("message"), "remote-server-not-found")

    def test_two_components_talk(self):
        c, d = self.joined(), self.joined("elsewhere.test")
        c.stanza("message", "y@elsewhere.test", "x@irc.lab.test", "<body>hi</body>")
        m = d.wait(body_is("hi"))
        self.assertEqual(m.get("from"), "x@irc.lab.test")

    def test_big(self):
        a, c = self.login(), self.joined()
        c.stanza("message", a.jid, inner="<body>%s</body>" % ("x" * 200000))
        self.assertEqual(len(text(a.wait("message"))), 200000)
        c.stanza("message", a.jid, inner="<body>%s</body>" % ("x" * 300000))
        self.assertEqual(c.wait_end(), "policy-violation")


class Wide(Base):
    def test_subdomains(self):
        a, c = self.login(), self.joined("wide.lab.test")
        a.message("x@deep.sub.wide.lab.test", "down")
        self.assertEqual(c.wait(body_is("down")).get("to"), "x@deep.sub.wide.lab.test")
        c.stanza("message", a.jid, "n@sub.wide.lab.test/r", "<body>up</body>")
        self.assertEqual(a.wait(body_is("up")).get("from"), "n@sub.wide.lab.test/r")
        c.stanza("message", a.jid, "n@notwide.lab.test", "<body>no</body>")
        self.assertEqual(c.wait_end(), "invalid-from")

    def test_only_when_asked_for(self):
        a, c = self.login(), self.joined()
        a.message("x@sub.irc.lab.test", "no")
        self.assertError(a.wait(is_("message", type_="error")), "remote-server-not-found")

    def test_away(self):
        a = self.login()
        a.message("x@sub.wide.lab.test", "no")
        self.assertError(a.wait(is_("message", type_="error")), "remote-server-timeout")


class Away(Base):
    def test_bounce(self):
        a = self.login()
        a.message("x@irc.lab.test", "lost?", id_="b1")
        r = a.wait(is_("message", type_="error"))
        self.assertError(r, ("remote-server-timeout", "service-unavailable"))
        self.assertEqual(r.get("from"), "x@irc.lab.test")
        self.assertError(a.get(DISCO_INFO, to="irc.lab.test"), ("remote-server-timeout", "service-unavailable"))
        a.presence(to="x@irc.lab.test")
        a.sync()
        self.none_of(a.drain(), "presence", from_="x@irc.lab.test")

    def test_bounce_after_it_left(self):
        a, c = self.login(), self.joined()
        c.fence(DOMAIN)
        c.close()
        lab.wait_until(lambda: self.is_away(a), text="the component is away")

    def is_away(self, a):
        r = a.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "irc.lab.test", timeout=5)
        return r.get("type") == "error"

    def test_what_it_did_not_read_goes_back(self):
        """Each message is either read by the component or comes back."""
        a, c = self.login(), self.joined()
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        n = 120
        for i in range(n):
            a.message("x@irc.lab.test", "k%d-%s" % (i, "y" * 60000), id_="k%d" % i)
        a.sync()
        self.cut(c)
        errors = {a.wait(is_("message", type_="error"), 20).get("id")}
        a.message("x@irc.lab.test", "last", id_="last")
        while "last" not in errors:
            errors.add(a.wait(is_("message", type_="error"), 20).get("id"))
        self.assertIn("k%d" % (n - 1), errors)
        first = min(int(e[1:]) for e in errors - {"last"})
        self.assertEqual(errors - {"last"}, {"k%d" % i for i in range(first, n)})


class Disco(Base):
    def test_items(self):
        a = self.login()
        items = [i.get("jid") for i in kid(a.get(DISCO_ITEMS, to=DOMAIN), "query", DISCO_ITEMS)]
        self.assertIn("irc.lab.test", items)
        self.assertIn("wide.lab.test", items)
        self.assertNotIn("elsewhere.test", items)

    def test_asks_itself(self):
        a, c = self.login(), self.joined()
        a.send("<iq type='get' to='irc.lab.test' id='d'><query xmlns='%s'/></iq>" % DISCO_INFO)
        c.result(c.wait(is_("iq", id="d")), "<query xmlns='%s'><identity category='gateway' type='irc'/></query>" % DISCO_INFO)
        r = a.reply("d")
        self.assertEqual(kid(kid(r, "query", DISCO_INFO), "identity").get("type"), "irc")


class Reload(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.d = labor.daemon(milter=False, accounts=("alice",), extra=cls.extra("one", "x.lab.test"))

    @staticmethod
    def extra(secret, *names):
        return "\n".join('component "%s" { secret = "%s" }' % (n, secret) for n in names)

    def reload(self, text):
        self.d.extra = text
        self.d.write_config(self.d.config_text())
        self.d.ctl("config", "reload")

    def test_reload_and_restart(self):
        self.reload(self.extra("one", "x.lab.test"))
        c = compc.join(self.d.c2s_port, "x.lab.test", "one")
        self.reload(self.extra("one", "x.lab.test", "y.lab.test"))
        d = compc.join(self.d.c2s_port, "y.lab.test", "one")
        c.fence(DOMAIN)
        self.reload(self.extra("two", "x.lab.test"))
        self.assertEqual(c.wait_end(), "reset")
        self.assertEqual(d.wait_end(), "host-gone")
        c = compc.join(self.d.c2s_port, "x.lab.test", "two")
        self.d.terminate()
        self.assertEqual(c.wait_end(), "system-shutdown")
        self.d.start()
        compc.join(self.d.c2s_port, "x.lab.test", "two").close()

    def test_hosted_name_is_refused(self):
        self.d.extra = self.extra("one", DOMAIN)
        self.d.write_config(self.d.config_text())
        r = self.d.ctl("config", "reload", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("hosted here", r.stdout + r.stderr)
        self.reload(self.extra("two", "x.lab.test"))


if __name__ == "__main__":
    lab.main()
