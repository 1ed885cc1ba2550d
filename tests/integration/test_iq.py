"""test_iq - RFC 6120 8.2.3 and 10, RFC 6121 8.5: requests, their answers, their errors."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import Closed, is_, local

UNKNOWN = "urn:tandem:test:unknown"


class Iq(ServerCase):
    def test_unknown_namespace(self):
        """10.3.3, 10.5.3.2, RFC 6121 8.5.2.1.3: whoever answers says service-unavailable."""
        a, b = self.login(), self.login()
        absent = self.user()
        for to in (None, a.domain, a.bare, b.bare, at(absent), at(absent) + "/gone", b.bare + "/gone", at("nobody-here"),
                   at("nobody-here") + "/x"):
            for type_ in ("get", "set"):
                with self.subTest(to=to, type=type_):
                    r = a.iq(type_, "<query xmlns='%s'/>" % UNKNOWN, to)
                    self.assertError(r, "service-unavailable", "cancel")
                    if to:
                        self.assertEqual(r.get("from"), to)
                    else:
                        self.assertIn(r.get("from"), (None, a.bare, a.jid))
                    self.assertIn(r.get("to"), (None, a.jid))

    def test_stranger_cannot_probe_a_resource(self):
        """RFC 6121 8.5.3.1: without shared presence the same error as for an absent one (SHOULD)."""
        a, b = self.login(), self.login()
        r = a.iq("get", "<query xmlns='%s'/>" % UNKNOWN, b.bare + "/absent")
        self.assertError(r, "service-unavailable")

    def test_between_friends(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<iq type='get' id='q1' to='%s'><query xmlns='%s'/></iq>" % (b.jid, UNKNOWN))
        q = b.wait(is_("iq", id="q1"))
        self.assertEqual((q.get("from"), q.get("to"), q.get("type")), (a.jid, b.jid, "get"))
        b.send("<iq type='result' id='q1' to='%s'><query xmlns='%s'><x/></query></iq>" % (a.jid, UNKNOWN))
        r = a.reply("q1")
        self.assertEqual((r.get("from"), r.get("type")), (b.jid, "result"))
        self.assertEqual(len(r[0]), 1)

    def test_between_resources_of_one_account(self):
        user = self.user()
        a, b = self.login(user), self.login(user)
        a.send("<iq type='get' id='q2' to='%s'><query xmlns='%s'/></iq>" % (b.jid, UNKNOWN))
        self.assertEqual(b.wait(is_("iq", id="q2")).get("from"), a.jid)

    def test_error_answer_is_delivered(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<iq type='set' id='q3' to='%s'><query xmlns='%s'/></iq>" % (b.jid, UNKNOWN))
        b.wait(is_("iq", id="q3"))
        b.send("<iq type='error' id='q3' to='%s'><error type='cancel'><not-allowed xmlns='%s'/></error></iq>"
               % (a.jid, xmppc.STANZA_ERRORS))
        self.assertError(a.reply("q3"), "not-allowed")

    def test_answers_are_never_answered(self):
        """8.2.3 rule 6, RFC 6121 8.5: no loop of errors about errors."""
        a, b = self.login(), self.login()
        absent = self.user()
        for type_, inner in (("result", ""), ("error", "<error type='cancel'><gone xmlns='%s'/></error>" % xmppc.STANZA_ERRORS)):
            for to in (None, a.domain, a.bare, b.bare, b.bare + "/gone", at(absent), at("nobody-here")):
                a.send("<iq type='%s' id='never'%s>%s</iq>" % (type_, " to='%s'" % to if to else "", inner))
                if to:
                    settle(a, to)
        a.sync()
        self.none_of(a.drain(), "iq", id="never")

    def test_bad_type(self):
        """8.2.3: type is one of four."""
        c = self.login()
        for attrs in ("", "type='subscribe'", "type=''", "type='GET'"):
            with self.subTest(attrs=attrs):
                c.send("<iq id='bt' %s to='%s'><query xmlns='%s'/></iq>" % (attrs, c.domain, UNKNOWN))
                self.assertError(c.wait(is_("iq", id="bt")), "bad-request", "modify")

    def test_missing_id(self):
        """8.2.3: id is required."""
        c = self.login()
        c.send("<iq type='get' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % c.domain)
        try:
            self.assertError(c.wait("iq"), "bad-request")
        except Closed:
            self.assertIn(c.stream_error, ("invalid-xml", "bad-format", "improper-addressing"))

    def test_request_without_child(self):
        c = self.login()
        for type_ in ("get", "set"):
            self.assertError(c.iq(type_, "", c.domain), "bad-request")

    def test_request_with_two_children(self):
        """8.2.3 rule 3: exactly one."""
        c = self.login()
        self.assertError(c.iq("get", "<ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/>", c.domain), "bad-request")

    def test_odd_id_comes_back_whole(self):
        c = self.login()
        odd = "&lt;&#228;&quot; ' \u2603" + "x" * 900
        c.send('<iq type="get" id="%s" to="%s"><ping xmlns="urn:xmpp:ping"/></iq>' % (odd, c.domain))
        r = c.wait(lambda e: local(e) == "iq")
        self.assertEqual(r.get("id"), "<\u00e4\" ' \u2603" + "x" * 900)

    def test_malformed_to(self):
        """8.3.3.8."""
        c = self.login()
        for to in ("@lab.test", "a@@lab.test", "a b@lab.test", "x@lab.test/", "x" * 1024 + "@lab.test", "a@", "/r"):
            with self.subTest(to=to):
                self.assertError(c.get(UNKNOWN, to=to), ("jid-malformed", "service-unavailable", "remote-server-not-found"))

    def test_from_is_stamped(self):
        """8.1.2.1."""
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<iq type='get' id='st' to='%s'><query xmlns='%s'/></iq>" % (b.jid, UNKNOWN))
        self.assertEqual(b.wait(is_("iq", id="st")).get("from"), a.jid)

    def test_answers_in_order(self):
        """10.1."""
        c = self.login()
        c.send("".join("<iq type='get' id='o%d' to='%s'><query xmlns='%s'/></iq>" % (i, c.domain, UNKNOWN) for i in range(100)))
        got = [c.wait("iq").get("id") for _ in range(100)]
        self.assertEqual(got, ["o%d" % i for i in range(100)])

    def test_remote_domain_that_is_not_there(self):
        c = self.login()
        r = c.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "nobody.invalid", timeout=60)
        self.assertError(r, ("remote-server-not-found", "remote-server-timeout", "not-allowed", "service-unavailable"))


if __name__ == "__main__":
    lab.main()
