"""The way to another server: DNS with DNSSEC, SRV of both kinds, addresses, and who is never dialled (`s2s test`)."""
import json
import socket
import time

import dnslab
import lab


class Door:
    """A listening socket that nobody talks at: the dialler only connects."""

    def __init__(self, case, host="127.0.0.1", port=0, backlog=16):
        self.s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.s.bind((host, port))
        self.s.listen(backlog)
        self.port = self.s.getsockname()[1]
        case.addCleanup(self.s.close)


class DialCase(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.open = socket.socket()
        cls.open.bind(("127.0.0.1", 0))
        cls.open.listen(64)
        cls.up = cls.open.getsockname()[1]
        cls.six = socket.socket(socket.AF_INET6)
        cls.six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        cls.six.bind(("::1", cls.up))
        cls.six.listen(64)
        cls.shut = lab.free_port()
        cls.dns = dnslab.DnsLab(labor, cls.zones(), signed=["signed.example"], bogus=["bogus.example"])
        cls.d = labor.daemon(milter=False, top=cls.dns.options(prohibited_hosts='( "127.9.0.0/16" "bad.host.example" )',
                                                               host_failure_retry="600", dns_timeout="3"),
                             extra='domain "/^#xmpp#.*[.]example$/" { XMPP_Role = "client" }\n'
                                   'domain "#xmpp#routed.example" { routes = ( "xmpps://127.0.0.1?port=%d&pref=2" '
                                   '"xmpp://127.0.0.1?port=%d&pref=1" ) }\n'
                                   'domain "#xmpp#both.example" { routes = ( "__srv__" "127.0.0.1:%d" ) }\n'
                                   'domain "#xmpp#gated.example" { gateway = "x.host.example:%d" }\n'
                                   % (cls.up, cls.shut, cls.up, cls.up))

    @classmethod
    def tearDownClass(cls):
        cls.open.close()
        cls.six.close()
        super().tearDownClass()

    @classmethod
    def zones(cls):
        p = {"up": cls.up, "shut": cls.shut}
        simple = {
            "starttls": "_xmpp-server._tcp SRV 0 5 %(up)d x.host.example.",
            "direct": "_xmpps-server._tcp SRV 0 5 %(up)d x.host.example.",
            "mixed": "_xmpps-server._tcp SRV 20 5 %(up)d x.host.example.\n"
                     "_xmpp-server._tcp SRV 10 5 %(shut)d x.host.example.\n_xmpp-server._tcp SRV 30 5 %(up)d x.host.example.",
            "closed": "_xmpp-server._tcp SRV 0 0 0 .\n_xmpps-server._tcp SRV 0 0 0 .\n@ A 127.0.0.1",
            "half": "_xmpps-server._tcp SRV 0 0 0 .\n_xmpp-server._tcp SRV 0 5 %(up)d x.host.example.",
            "nodirect": "_xmpps-server._tcp SRV 0 0 0 .\n@ A 127.0.0.1",
            "six": "_xmpp-server._tcp SRV 0 5 %(up)d both.host.example.",
            "deadsix": "_xmpp-server._tcp SRV 0 5 %(up)d deadsix.host.example.",
            "alias": "_xmpp-server._tcp SRV 0 5 %(up)d alias.host.example.",
            "forbidden": "_xmpp-server._tcp SRV 0 5 %(up)d bad.host.example.\n_xmpp-server._tcp SRV 1 5 %(up)d net.host.example.",
            "nowhere": "_xmpp-server._tcp SRV 0 5 %(up)d missing.host.example.",
            "zero": "_xmpp-server._tcp SRV 0 5 %(up)d zero.host.example.",
            "both": "_xmpp-server._tcp SRV 0 5 %(shut)d x.host.example.",
            "bare": "@ A 127.0.0.1",
        }
        zones = {name + ".example": text % p for name, text in simple.items()}
        zones["host.example"] = """
            x A 127.0.0.1
            both A 127.0.0.1
            both AAAA ::1
            deadsix A 127.0.0.1
            deadsix AAAA 2001:db8::1
            alias CNAME alias2
            alias2 CNAME x
            bad A 127.0.0.1
            net A 127.9.0.1
            zero A 0.0.0.0
            zero AAAA ::
            zero AAAA ff02::1
        """
        zones["signed.example"] = """
            _xmpp-server._tcp SRV 0 5 %(up)d x
            x A 127.0.0.1
            _%(up)d._tcp.x TLSA 3 1 1 %(hash)s
            _xmpp-server._tcp.plain SRV 0 5 %(up)d x.host.example.
            _xmpp-server._tcp.bent SRV 0 5 %(up)d x.bogus.example.
        """ % {**p, "hash": "ab" * 32}
        zones["bogus.example"] = "_xmpp-server._tcp SRV 0 5 %(up)d x.host.example.\n@ A 127.0.0.1\nx A 127.0.0.1" % p
        return zones

    def report(self, domain, connected=True):
        r = self.d.ctl("s2s", "test", domain, json_out=True)
        self.assertEqual(r["connected"], connected, json.dumps(r, indent=1))
        return r

    def used(self, r):
        """The target and the address that connected."""
        return [(t, a) for t in r["targets"] for a in t["addresses"] if a["state"] == "connected"][0]

    def test_starttls_by_srv(self):
        r = self.report("starttls.example")
        self.assertEqual([s["status"] for s in r["srv"]], ["none", "ok"])
        self.assertEqual(r["srv"][1]["records"], ["0 5 %d x.host.example." % self.up])
        t, a = self.used(r)
        self.assertEqual((t["host"], t["port"], t["direct_tls"], a["address"]), ("x.host.example", self.up, False, "127.0.0.1"))
        self.assertFalse(r["srv"][1]["secure"])

    def test_direct_tls_by_srv(self):
        t, _ = self.used(self.report("direct.example"))
        self.assertTrue(t["direct_tls"])

    def test_priorities_of_both_kinds_are_mixed_and_a_failed_target_gives_way(self):
        r = self.report("mixed.example")
        self.assertEqual([t["priority"] for t in r["targets"]], [10, 20, 30])
        self.assertEqual(r["targets"][0]["addresses"][0]["why"], "Connection refused")
        t, _ = self.used(r)
        self.assertEqual((t["priority"], t["direct_tls"]), (20, True))

    def test_not_offered(self):
        for domain in ("closed.example", "nodirect.example"):
            r = self.report(domain, connected=False)
            self.assertIn('"."', r["why"])
            self.assertEqual(r["targets"], [])
        self.assertFalse(self.used(self.report("half.example"))[0]["direct_tls"])

    def test_no_srv_means_the_domain_itself_at_5269(self):
        r = self.d.ctl("s2s", "test", "bare.example", json_out=True)
        self.assertEqual([(t["host"], t["port"]) for t in r["targets"]], [("bare.example", 5269)])

    def test_what_does_not_exist(self):
        r = self.report("nothing.at.all", connected=False)
        self.assertEqual([s["status"] for s in r["srv"]], ["none", "none"])
        r = self.report("nowhere.example", connected=False)
        self.assertIn("NXDOMAIN", json.dumps(r))

    def test_ipv6_comes_first(self):
        self.assertEqual(self.used(self.report("six.example"))[1]["address"], "::1")

    def test_dead_ipv6_costs_a_moment_at_most(self):
        r = self.report("deadsix.example")
        self.assertEqual(self.used(r)[1]["address"], "127.0.0.1")
        self.assertLess(r["ms"], 2000 * lab.SLOW)

    def test_aliases_are_followed(self):
        self.assertEqual(self.used(self.report("alias.example"))[0]["host"], "alias.host.example")

    def test_prohibited_names_and_networks(self):
        r = self.report("forbidden.example", connected=False)
        self.assertIn("prohibited", r["targets"][0]["why"])
        self.assertEqual(r["targets"][0]["lookups"], [])
        self.assertIn("prohibited", r["targets"][1]["addresses"][0]["why"])

    def test_addresses_of_nobody(self):
        r = self.report("zero.example", connected=False)
        self.assertEqual([a["state"] for a in r["targets"][0]["addresses"]], ["refused"] * 3)

    def test_own_address_is_never_dialled(self):
        for port in (self.d.s2s_port, self.d.c2s_port):
            self.dns.update("starttls.example", "_xmpp-server._tcp.own%d SRV 0 5 %d x.host.example.\n"
                            "_xmpp-server._tcp SRV 0 5 %d x.host.example." % (port, port, self.up))
            r = self.report("own%d.starttls.example" % port, connected=False)
            self.assertIn("own address", r["why"])
        self.assertIn("own address", self.report_of_literal(self.d.s2s_port))

    def report_of_literal(self, port):
        self.d.ctl("config", "set", "domain", "#xmpp#literal.example", "gateway", "127.0.0.1:%d" % port)
        return self.report("literal.example", connected=False)["why"]

    def test_address_literals(self):
        for domain in ("127.0.0.1", "[::1]"):
            r = self.d.ctl("s2s", "test", domain, json_out=True)
            self.assertEqual([(t["host"], t["port"]) for t in r["targets"]], [(domain.strip("[]"), 5269)])
            self.assertEqual(r["srv"], [])

    def test_routes_and_gateway(self):
        r = self.report("routed.example")
        self.assertEqual([(t["port"], t["direct_tls"]) for t in r["targets"]], [(self.shut, False), (self.up, True)])
        self.assertTrue(all(t["configured"] for t in r["targets"]))
        self.assertEqual(r["srv"], [])
        t, _ = self.used(self.report("gated.example"))
        self.assertEqual((t["host"], t["port"]), ("x.host.example", self.up))
        r = self.report("both.example")
        self.assertEqual([t["configured"] for t in r["targets"]], [False, True])

    # --- DNSSEC ---

    def test_signed_answers_bring_tlsa(self):
        r = self.report("signed.example")
        self.assertEqual([(s["status"], s["secure"]) for s in r["srv"]], [("none", True), ("ok", True)])
        lookups = r["targets"][0]["lookups"]
        self.assertEqual([x["name"] for x in lookups],
                         ["x.signed.example", "x.signed.example", "_%d._tcp.x.signed.example" % self.up])
        self.assertTrue(lookups[2]["secure"])
        self.assertEqual(lookups[2]["records"], ["3 1 1 " + "ab" * 32])

    def test_signed_srv_to_an_unsigned_host_asks_no_tlsa(self):
        r = self.report("plain.signed.example")
        self.assertTrue(r["srv"][1]["secure"])
        self.assertEqual([x["name"] for x in r["targets"][0]["lookups"]], ["x.host.example"] * 2)

    def test_bogus_srv_is_no_missing_srv(self):
        r = self.report("bogus.example", connected=False)
        self.assertEqual([s["status"] for s in r["srv"]], ["failed", "failed"])
        self.assertEqual(r["targets"], [])
        self.assertIn("SRV lookup failed", r["why"])

    def test_bogus_address_is_not_used(self):
        r = self.report("bent.signed.example", connected=False)
        self.assertEqual([x["status"] for x in r["targets"][0]["lookups"]], ["failed", "failed"])

    # --- servers that do not answer; a new configuration ---

    def test_silent_server_and_back(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            self.d.ctl("config", "set", "dns_servers", "( 127.0.0.1@%d )" % silent.getsockname()[1])
            try:
                start = time.monotonic()
                r = self.report("starttls.example", connected=False)
                self.assertIn("no answer within 3 s", r["why"])
                self.assertLess(time.monotonic() - start, 10 * lab.SLOW)
            finally:
                self.d.ctl("config", "set", "dns_servers", "( 127.0.0.1@%d )" % self.dns.port)
        self.report("direct.example")

    def test_text(self):
        out = self.d.ctl("s2s", "test", "starttls.example")
        self.assertIn("x.host.example port %d, STARTTLS" % self.up, out)
        self.assertIn("connected after", out)


if __name__ == "__main__":
    lab.main()
