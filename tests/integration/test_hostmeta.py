"""host-meta (XEP-0156, RFC 6415) and /metrics."""
import json
import unittest
import xml.etree.ElementTree as ET

import case
import lab
import webc
from lab import DOMAIN

XRD = "{http://docs.oasis-open.org/ns/xri/xrd-1.0}"
REL = "urn:xmpp:alt-connections:"


class HostMetaCase(case.ServerCase):
    options, plain, tls = webc.web_options()

    def get(self, path, tls=True, headers=(), port=None):
        with webc.Http(port or (self.tls if tls else self.plain), tls=tls) as h:
            return h.request("GET", path, headers)


class HostMeta(HostMetaCase):
    def test_xml(self):
        a = self.get("/.well-known/host-meta")
        self.assertEqual(a.status, 200)
        self.assertTrue(a["Content-Type"].startswith("application/xrd+xml"))
        root = ET.fromstring(a.body)
        self.assertEqual(root.tag, XRD + "XRD")
        links = {e.get("rel"): e.get("href") for e in root.iter(XRD + "Link")}
        self.assertEqual(links, {REL + "websocket": "wss://localhost:%d/xmpp-websocket" % self.tls,
                                 REL + "xbosh": "https://localhost:%d/http-bind" % self.tls})
        self.assertEqual(a["Access-Control-Allow-Origin"], "*")

    def test_json(self):
        a = self.get("/.well-known/host-meta.json")
        self.assertTrue(a["Content-Type"].startswith("application/json"))
        links = {x["rel"]: x["href"] for x in json.loads(a.body)["links"]}
        self.assertEqual(links[REL + "websocket"], "wss://localhost:%d/xmpp-websocket" % self.tls)
        self.assertEqual(links[REL + "xbosh"], "https://localhost:%d/http-bind" % self.tls)
        self.assertEqual(a["Access-Control-Allow-Origin"], "*")

    def test_links_work(self):
        w = webc.Ws(self.tls, tls=True)
        self.addCleanup(w.close)
        self.assertEqual(w.handshake().status, 101)

    def test_not_in_clear(self):
        self.assertEqual(self.get("/.well-known/host-meta", tls=False).status, 404)
        self.assertEqual(self.get("/.well-known/host-meta.json", tls=False).status, 404)

    def test_post(self):
        with webc.Http(self.tls, tls=True) as h:
            self.assertEqual(h.request("POST", "/.well-known/host-meta").status, 405)


class PublicUrl(HostMetaCase):
    options, plain, tls = webc.web_options('cors_origins = ( "https://only.example" )', "plain_discovery = true")
    options["top"] = 'public_url = "https://web.example/"'

    def test_public_url(self):
        for tls in (True, False):
            a = self.get("/.well-known/host-meta.json", tls=tls)
            self.assertEqual([x["href"] for x in json.loads(a.body)["links"]],
                             ["wss://web.example/xmpp-websocket", "https://web.example/http-bind"])
            self.assertEqual(a["Access-Control-Allow-Origin"], "*")

    def test_cors_of_the_rest(self):
        with webc.Http(self.plain) as h:
            a = h.request("OPTIONS", "/http-bind", [("Origin", "https://only.example")])
            self.assertEqual(a["Access-Control-Allow-Origin"], "https://only.example")
            self.assertEqual(a["Vary"], "Origin")
            a = h.request("OPTIONS", "/http-bind", [("Origin", "https://other.example")])
            self.assertIsNone(a["Access-Control-Allow-Origin"])


class DomainUrl(HostMetaCase):
    options, plain, tls = webc.web_options("", "", 'domain "a.test" { XMPP_Role = "server" public_url = "https://a.example" }\n'
                                           'domain "b.test" { XMPP_Role = "server" public_url = "http://in.clear" }')

    def links(self, host):
        with webc.Http(self.tls, tls=True) as h:
            h.send("GET /.well-known/host-meta.json HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
            return h.answer()

    def test_by_host(self):
        for host in ("a.test", "A.Test:443"):
            self.assertIn(b"wss://a.example/", self.links(host).body)
        self.assertIn(b"wss://elsewhere.test:%d/" % self.tls, self.links("elsewhere.test").body)

    def test_only_secure_links(self):
        self.assertEqual(self.links("b.test").status, 404)

    def test_hostile_host(self):
        for host in ("<a>", "a'b", 'a"b', "x&y"):
            a = self.links(host)
            self.assertIn(a.status, (200, 400))
            self.assertNotIn(host.encode(), a.body)


class Metrics(HostMetaCase):
    def test_loopback(self):
        before = self.values()
        a, b = self.login(), self.login()
        a.message(b.jid, "counted")
        b.wait("message")
        after = self.values()
        self.assertGreaterEqual(after["tandem_sessions"], 2)
        self.assertGreaterEqual(after["tandem_messages_received_total"], before["tandem_messages_received_total"] + 1)
        self.assertGreaterEqual(after["tandem_logins_total"], before["tandem_logins_total"] + 2)
        self.assertIn("tandem_store_commits_total", after)
        self.assertIn("tandem_uptime_seconds", after)

    def values(self):
        a = self.get("/metrics", tls=False)
        self.assertEqual(a.status, 200)
        self.assertTrue(a["Content-Type"].startswith("text/plain; version=0.0.4"))
        out, typed = {}, set()
        for line in a.body.decode().splitlines():
            if line.startswith("# TYPE "):
                typed.add(line.split()[2])
            elif not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                out[name] = float(value)
                self.assertIn(name.partition("{")[0], typed)
        return out

    def test_through_a_proxy(self):
        self.assertEqual(self.get("/metrics", tls=False, headers=[("X-Forwarded-For", "203.0.113.5")]).status, 403)
        self.assertEqual(self.get("/metrics", tls=False, headers=[("Forwarded", "for=203.0.113.5")]).status, 403)


class OpenMetrics(HostMetaCase):
    options, plain, tls = webc.web_options("metrics = true")

    def test_open(self):
        self.assertEqual(self.get("/metrics", tls=False, headers=[("X-Forwarded-For", "203.0.113.5")]).status, 200)


if __name__ == "__main__":
    lab.main()
