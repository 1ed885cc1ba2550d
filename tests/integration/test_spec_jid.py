"""test_spec_jid - RFC 7622: which strings are addresses, and which are the same address; seen through a roster and an iq.

Addresses are prepared by the profiles of RFC 6122 (nodeprep, resourceprep), as all servers on the network do; what
RFC 7622 wants otherwise (sharp s, final sigma, compatibility characters and symbols in a localpart) is not asked.
"""
import lab
import xmppc
from case import at
from lab import DOMAIN
from speclib import SpecCase
from xmppc import ROSTER, kid

# table 1, and what follows from sections 3.2 to 3.4
LEGAL = ("juliet@%s", "foo\\20bar@%s", "fussball@%s", "\u03c0@%s", "\u03c3@%s", "x" * 1023 + "@%s",
         "\u0436\u0438@%s", "\u65e5\u672c@%s", "a.b-c_d~!#$%%^*()=+{}[]|;,?`@%s")
RESOURCES = ("foo", "foo bar", "foo@bar", "\u265a", "a/b/c", "x" * 1023, "\u65e5\u672c\u8a9e", "<&>\"'", "\u00df", "ABC")
ILLEGAL = ('"juliet"@%s', "foo bar@%s", "@%s", "juliet@", "/foobar", "a&b@%s", "a'b@%s", "a:b@%s", "a<b@%s",
           "a>b@%s", "x" * 1024 + "@%s", "a@b@%s", "juliet@%s/", "", "a@" + "d" * 1024)
# (said, kept)
SAME = (("JULIET@%s", "juliet@%s"), ("\u03a3@%s", "\u03c3@%s"), ("\u00c4@%s", "\u00e4@%s"), ("A\u0308@%s", "\u00e4@%s"),
        ("\uff4a\uff55@%s", "ju@%s"), ("juliet@LAB.Test", "juliet@lab.test"), ("\u0416@%s", "\u0436@%s"))


def fill(s):
    return s % DOMAIN if "%s" in s else s.replace("%%", "%")


class Jids(SpecCase):
    def answer(self, c, jid):
        id_ = c.new_id()
        c.send("<iq type='get' id='%s' to=%s><query xmlns='t:nobody'/></iq>" % (id_, xmppc.quoteattr(jid)))
        return c.reply(id_)

    def test_legal(self):
        c = self.login()
        for jid in map(fill, LEGAL):
            with self.subTest(jid[:40]):
                r = self.answer(c, jid)
                self.assertError(r, "service-unavailable")
                self.assertEqual(r.get("from"), jid)

    def test_legal_resources(self):
        c = self.login()
        for res in RESOURCES:
            with self.subTest(res[:40]):
                jid = "juliet@%s/%s" % (DOMAIN, res)
                r = self.answer(c, jid)
                self.assertError(r, "service-unavailable")
                self.assertEqual(r.get("from"), jid)

    def test_illegal(self):
        c = self.login()
        for jid in map(fill, ILLEGAL):
            with self.subTest(jid[:40]):
                if jid:
                    self.assertError(self.answer(c, jid), "jid-malformed", "modify")
                r = c.iq("set", "<query xmlns='%s'><item jid=%s/></query>" % (ROSTER, xmppc.quoteattr(jid)))
                self.assertError(r, ("jid-malformed", "bad-request"))

    def test_same(self):
        for said, kept in SAME:
            with self.subTest(said):
                c = self.login(presence=False)
                self.add(c, fill(said))
                self.assertEqual(list(c.roster()), [fill(kept)])

    def test_domain_and_resource(self):
        c = self.login()
        for jid in (DOMAIN + "/foobar", DOMAIN + "/b@example.net"):
            self.assertEqual(self.answer(c, jid).get("from"), jid)

    def test_trailing_dot_of_a_domain(self):
        """3.2: a final dot is no part of the domain."""
        c = self.login(presence=False)
        self.add(c, "juliet@x.test.")
        self.assertEqual(list(c.roster()), ["juliet@x.test"])

    def test_resources_are_normalized_but_keep_their_case(self):
        u = self.user()
        c = self.login(u, "A\u030angstr\u00f6m X")
        self.assertEqual(c.jid, at(u) + "/\u00c5ngstr\u00f6m X")

    def test_two_spellings_are_one_session(self):
        u = self.user()
        self.login(u, "\u00c5")
        c = self.authed(u)
        r = c.bind("A\u030a")
        if r.get("type") == "result":
            self.assertTrue(kid(r, "bind", xmppc.BIND) is not None)

    def test_signing_in_by_another_spelling(self):
        u = self.user()
        for name in (u.upper(), u.title()):
            c = self.connect()
            self.assertEqual(xmppc.local(c.auth(name)), "success")
            c.open()
            c.bind()
            self.assertEqual(c.bare, at(u))


if __name__ == "__main__":
    lab.main()
