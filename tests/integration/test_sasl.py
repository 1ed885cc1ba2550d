"""test_sasl - RFC 6120 section 6 and 13.8, RFC 5802, RFC 7677, RFC 9266."""
import base64

import lab
import xmppc
from case import ServerCase
from xmppc import SASL, Closed, local, show


def condition(e):
    return [local(c) for c in e if local(c) != "text"][0]


class Sasl(ServerCase):
    def fails(self, e, *conditions):
        self.assertEqual(local(e), "failure", show(e))
        self.assertIn(condition(e), conditions, show(e))

    def test_mandatory_mechanisms(self):
        """13.8.1: SCRAM-SHA-1 and SCRAM-SHA-1-PLUS; ours are also those with SHA-256."""
        m = self.connect().mechanisms()
        for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"):
            self.assertIn(name, m)

    def test_no_anonymous_no_cleartext_digests(self):
        m = self.connect().mechanisms()
        for name in ("ANONYMOUS", "CRAM-MD5", "LOGIN"):
            self.assertNotIn(name, m)

    def test_every_offered_mechanism_works(self):
        user = self.user()
        for mech in self.connect().mechanisms():
            if mech == "EXTERNAL":
                continue
            with self.subTest(mech=mech):
                c = self.connect()
                self.assertEqual(local(c.auth(user, mech=mech)), "success")
                c.open()
                self.assertResult(c.bind())
                self.assertEqual(c.bare, user + "@lab.test")

    def test_wrong_password(self):
        user = self.user()
        for mech in self.connect().mechanisms():
            if mech == "EXTERNAL":
                continue
            with self.subTest(mech=mech):
                self.fails(self.connect().auth(user, "wrong", mech), "not-authorized")

    def test_unknown_user_looks_like_wrong_password(self):
        for mech in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
            with self.subTest(mech=mech):
                self.fails(self.connect().auth("no-such-user", "wrong", mech), "not-authorized")

    def test_channel_bindings(self):
        user = self.user()
        for mech in ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"):
            for binding in ("tls-exporter", "tls-server-end-point"):
                with self.subTest(mech=mech, binding=binding):
                    e = self.connect().auth(user, mech=mech, binding=binding)
                    self.assertEqual(local(e), "success", show(e))

    def test_wrong_channel_binding(self):
        """RFC 5802 section 6: different data means somebody sits in between."""
        user = self.user()
        for mech in ("SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"):
            for binding in ("tls-exporter", "tls-server-end-point"):
                with self.subTest(mech=mech, binding=binding):
                    self.fails(self.connect().auth(user, mech=mech, binding=binding, bad_binding=True), "not-authorized")

    def test_channel_binding_downgrade(self):
        """RFC 5802 section 6: "y" while -PLUS was offered is an attack."""
        self.fails(self.connect().auth(self.user(), mech="SCRAM-SHA-256", gs2="y"), "not-authorized", "malformed-request")

    def test_unknown_channel_binding(self):
        c = self.connect()
        e = c.sasl("SCRAM-SHA-256-PLUS", b"p=tls-nonsense,,n=x,r=abcdefgh")
        self.assertEqual(local(e), "failure", show(e))

    def test_invalid_mechanism(self):
        self.fails(self.connect().sasl("NONSENSE", b"x"), "invalid-mechanism")

    def test_incorrect_encoding(self):
        """6.5.5."""
        c = self.connect()
        c.send("<auth xmlns='%s' mechanism='SCRAM-SHA-256'>!!!not base64!!!</auth>" % SASL)
        self.fails(c.wait(), "incorrect-encoding", "malformed-request")

    def test_malformed(self):
        for data in (b"", b"n,", b"n,,", b"n,,n=a", b"n,,r=b", b"\xff\xff", b"n,,n=a,r=", b"x" * 5000):
            with self.subTest(data=data):
                e = self.connect().sasl("SCRAM-SHA-256", data)
                if data == b"" and local(e) == "challenge":
                    continue    # taken as "no initial response"
                self.assertEqual(local(e), "failure", show(e))

    def test_malformed_final(self):
        user = self.user()
        for data in (b"", b"c=biws", b"c=biws,r=zzz,p=AAAA", b"\0", b"v=x"):
            with self.subTest(data=data):
                c = self.connect()
                e = c.sasl("SCRAM-SHA-256", b"n,,n=%s,r=abcdefghijkl" % user.encode())
                self.assertEqual(local(e), "challenge")
                self.assertEqual(local(c.respond(data)), "failure")

    def test_abort(self):
        """6.4.4."""
        c = self.connect()
        e = c.sasl("SCRAM-SHA-256", b"n,,n=x,r=abcdefghijkl")
        if local(e) == "challenge":
            c.send("<abort xmlns='%s'/>" % SASL)
            self.fails(c.wait(), "aborted")

    def test_response_without_auth(self):
        c = self.connect()
        c.send("<response xmlns='%s'>AAAA</response>" % SASL)
        try:
            self.assertEqual(local(c.wait()), "failure")
        except (Closed, AssertionError):
            self.assertIsNotNone(c.stream_error, c._history())

    def test_without_initial_response(self):
        """6.4.2: the initial response is optional; an empty challenge asks for it."""
        user = self.user()
        c = self.connect()
        e = c.sasl("PLAIN" if "PLAIN" in c.mechanisms() else "SCRAM-SHA-1")
        self.assertEqual(local(e), "challenge", show(e))
        self.assertEqual(base64.b64decode((e.text or "").replace("=", "") or ""), b"")
        if "PLAIN" in c.mechanisms():
            self.assertEqual(local(c.respond(b"\0%s\0%s" % (user.encode(), lab.PASSWORD.encode()))), "success")

    def test_plain_with_own_authzid(self):
        c, user = self.connect(), self.user()
        if "PLAIN" not in c.mechanisms():
            self.skipTest("PLAIN is not offered")
        e = c.auth(user, mech="PLAIN", authzid=user + "@lab.test")
        self.assertEqual(local(e), "success", show(e))

    def test_other_authzid(self):
        """6.5.6: nobody acts for another."""
        user, other = self.users(2)
        for mech in ("PLAIN", "SCRAM-SHA-256"):
            with self.subTest(mech=mech):
                c = self.connect()
                if mech in c.mechanisms():
                    self.fails(c.auth(user, mech=mech, authzid=other + "@lab.test"), "invalid-authzid", "not-authorized")

    def test_retry_on_same_stream(self):
        """6.4.5: a failure leaves the stream usable."""
        user = self.user()
        c = self.connect()
        self.fails(c.auth(user, "wrong"), "not-authorized")
        self.fails(c.auth(user, "wrong", "SCRAM-SHA-1"), "not-authorized")
        self.assertEqual(local(c.auth(user)), "success")

    def test_guessing_is_stopped(self):
        """6.4.5: not without end."""
        c, user = self.connect(), self.user()
        for _ in range(50):
            try:
                if local(c.auth(user, "wrong")) == "error":
                    break
            except (Closed, AttributeError):
                break
        else:
            self.fail("50 attempts on one stream were taken")
        self.assertIn(c.wait_end(), ("policy-violation", "not-authorized", None))

    def test_features_after_authentication(self):
        """6.4.6 and 7.4: bind, and no mechanisms any more."""
        c = self.authed()
        self.assertIsNotNone(c.features.find("{%s}bind" % xmppc.BIND))
        self.assertEqual(c.mechanisms(), [])

    def test_user_name_with_comma_and_equals(self):
        """RFC 5802 5.1: =2C and =3D in user names."""
        jid = "a=b,c@lab.test"
        r = self.d.ctl("account", "add", jid, stdin=lab.PASSWORD + "\n", check=False)
        if r.returncode != 0:
            self.fail("account add %s: %s" % (jid, r.stderr))
        self.assertEqual(local(self.connect().auth("a=b,c")), "success")

    def test_non_ascii_password(self):
        """SASLprep (RFC 4013): the composed and decomposed forms are one password."""
        self.d.add_account("umlaut", "gr\u00fc\u00dfe")
        self.assertEqual(local(self.connect().auth("umlaut", "gr\u00fc\u00dfe")), "success")

    def test_deleted_account_is_out(self):
        user = self.user()
        s = self.login(user)
        self.d.ctl("account", "delete", user + "@lab.test")
        s.wait_end()
        self.fails(self.connect().auth(user), "not-authorized")

    def test_changed_password(self):
        user = self.user()
        self.d.ctl("account", "password", user + "@lab.test", stdin="another-1\n")
        self.fails(self.connect().auth(user), "not-authorized")
        self.assertEqual(local(self.connect().auth(user, "another-1")), "success")


if __name__ == "__main__":
    lab.main()
