"""test_bind - RFC 6120 section 7: resource binding."""
import lab
import xmppc
from case import ServerCase
from xmppc import BIND, SESSION


class Bind(ServerCase):
    def test_resource_of_the_client(self):
        user = self.user()
        c = self.authed(user)
        self.assertResult(c.bind("home"))
        self.assertEqual(c.jid, user + "@lab.test/home")

    def test_resource_of_the_server(self):
        """7.6: the server makes one up, never the same twice at a time."""
        user = self.user()
        a, b = self.login(user), self.login(user)
        self.assertTrue(a.jid.partition("/")[2])
        self.assertNotEqual(a.jid, b.jid)

    def test_non_ascii_resource(self):
        c = self.authed()
        self.assertResult(c.bind("b\u00fcro \u2603 1"))
        self.assertTrue(c.jid.endswith("/b\u00fcro \u2603 1"))

    def test_conflict(self):
        """7.7.2.2: another resource, the new one refused, or the old one thrown out."""
        user = self.user()
        old = self.login(user, "same")
        new = self.authed(user)
        r = new.bind("same")
        if r.get("type") == "error":
            self.assertError(r, "conflict")
            old.sync()
        elif new.jid == old.jid:
            self.assertEqual(old.wait_end(), "conflict")
            new.sync()
        else:
            old.sync()
            new.sync()

    def test_too_long_resource(self):
        """RFC 7622 3.4: 1023 bytes at most."""
        c = self.authed()
        r = c.bind("x" * 1024)
        if r.get("type") == "result":
            self.assertLessEqual(len(c.jid.partition("/")[2]), 1023)
        else:
            self.assertError(r, ("bad-request", "not-acceptable", "jid-malformed"))

    def test_longest_resource(self):
        c = self.authed()
        self.assertResult(c.bind("x" * 1023))

    def test_bad_request_leaves_stream_usable(self):
        c = self.authed()
        c.iq("set", "<bind xmlns='%s'><resource>a\u200eb\x7f</resource></bind>" % BIND)
        c.sock and c.iq("set", "<bind xmlns='%s'/>" % BIND)

    def test_several_resources_at_once(self):
        user = self.user()
        all_ = [self.login(user, "r%d" % i) for i in range(5)]
        self.assertEqual(len({c.jid for c in all_}), 5)
        for c in all_:
            c.sync()

    def test_legacy_session(self):
        """RFC 3921 section 3, for old clients: answered by a result where it is offered."""
        c = self.authed()
        offered = c.features.find("{%s}session" % SESSION) is not None
        c.bind()
        r = c.iq("set", "<session xmlns='%s'/>" % SESSION)
        if offered:
            self.assertResult(r)
        else:
            self.assertEqual(xmppc.local(r), "iq")

    def test_same_resource_after_logout(self):
        user = self.user()
        for _ in range(10):
            c = self.login(user, "again")
            self.assertEqual(c.jid, user + "@lab.test/again")
            c.close()

    def test_lost_connection_frees_nothing_it_should_not(self):
        user = self.user()
        for _ in range(10):
            self.login(user, "lost").cut()
        self.login(user, "lost").sync()


if __name__ == "__main__":
    lab.main()
