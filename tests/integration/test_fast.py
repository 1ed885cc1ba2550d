"""test_fast - tokens (XEP-0484) and upgrades of the verifier (XEP-0480)."""
import base64
import calendar
import hashlib
import os
import time

import lab
import xmppc
from case import ServerCase, at
from lab import DOMAIN, PASSWORD
from xmppc import BIND2, FAST, SASL, SASL2, SM, is_, kid, local, nsof, show, text

AGENT = "d4565fa7-4d72-4749-b3d3-740edbf87770"
OTHER = "aaaaaaaa-4d72-4749-b3d3-740edbf87770"
NONE, ENDP, EXPR = "HT-SHA-256-NONE", "HT-SHA-256-ENDP", "HT-SHA-256-EXPR"


def condition(e):
    return [local(c) for c in e if nsof(c) == SASL and local(c) != "text"][0]


class Base(ServerCase):
    def succeeds(self, e):
        self.assertEqual((nsof(e), local(e)), (SASL2, "success"), show(e))
        return e

    def fails(self, e, *conditions):
        self.assertEqual((nsof(e), local(e)), (SASL2, "failure"), show(e))
        self.assertIn(condition(e), conditions or ("not-authorized",), show(e))

    def token(self, user, mech=NONE, agent=AGENT, password=PASSWORD):
        c = self.connect()
        e = self.succeeds(c.auth2(user, password, inner="<request-token xmlns='%s' mechanism='%s'/>" % (FAST, mech), agent=agent))
        c.close()
        return kid(e, "token", FAST).get("token")

    def sign_in(self, user, token, mech=NONE, agent=AGENT, inner="", **kw):
        c = self.connect()
        return c, c.auth2(user, mech=mech, agent=agent, inner=inner, token=token, **kw)

    def works(self, user, token, mech=NONE, agent=AGENT, **kw):
        self.succeeds(self.sign_in(user, token, mech, agent, **kw)[1])


class Tokens(Base):
    def test_offered(self):
        """3.1: one mechanism with a channel binding at least, and one without; early data is not taken."""
        f = self.connect().features.find("{%s}authentication/{%s}inline/{%s}fast" % (SASL2, SASL2, FAST))
        self.assertEqual({m.text for m in f}, {NONE, ENDP, EXPR})
        self.assertEqual([local(m) for m in f], ["mechanism"] * 3)
        self.assertIn(f.get("tls-0rtt"), (None, "false", "0"))
        # they are for tokens only
        self.assertEqual([m for m in self.connect().authentication() if m.startswith("HT-")], [])

    def test_token(self):
        """3.3: text and expiry."""
        c = self.connect()
        e = self.succeeds(c.auth2(self.user(), inner="<request-token xmlns='%s' mechanism='%s'/><bind xmlns='%s'/>"
                                  % (FAST, ENDP, BIND2), agent=AGENT))
        t = kid(e, "token", FAST)
        self.assertGreaterEqual(len(t.get("token")), 22)
        left = calendar.timegm(time.strptime(t.get("expiry")[:19], "%Y-%m-%dT%H:%M:%S")) - time.time()
        self.assertAlmostEqual(left, 1814400, delta=60)
        self.assertIsNotNone(kid(e, "bound", BIND2))

    def test_sign_in(self):
        for user, mech in zip(self.users(6), (NONE, ENDP, EXPR) * 2):
            with self.subTest(mech=mech):
                token = self.token(user, mech)
                c, e = self.sign_in(user, token, mech, inner="<bind xmlns='%s'><tag>x</tag></bind>" % BIND2)
                self.succeeds(e)
                self.assertTrue(text(e, "authorization-identifier").startswith(at(user) + "/x/"))
                c.sync()
                # again, and again
                self.works(user, token, mech)
                self.works(user, token, mech)

    def test_only_if_asked_and_signed_in(self):
        user = self.user()
        ask = "<request-token xmlns='%s' mechanism='%s'/>" % (FAST, NONE)
        self.assertIsNone(kid(self.connect().auth2(user, agent=AGENT), "token", FAST))
        self.assertIsNone(kid(self.connect().auth2(user, "wrong", inner=ask, agent=AGENT), "token", FAST))
        # without a client to bind it to, or for what is no token's mechanism
        self.assertIsNone(kid(self.connect().auth2(user, inner=ask), "token", FAST))
        for mech in ("SCRAM-SHA-256", "HT-SHA-256-UNIQ", ""):
            e = self.connect().auth2(user, inner="<request-token xmlns='%s' mechanism='%s'/>" % (FAST, mech), agent=AGENT)
            self.assertIsNone(kid(self.succeeds(e), "token", FAST))

    def test_bound_to_its_mechanism(self):
        """3.4: a bound token must not work unbound, nor the other way."""
        user = self.user()
        for mech in (NONE, ENDP, EXPR):
            token = self.token(user, mech)
            for other in (NONE, ENDP, EXPR):
                if other != mech:
                    with self.subTest(mech=mech, other=other):
                        self.fails(self.sign_in(user, token, other)[1])
            self.works(user, token, mech)

    def test_bound_to_its_channel(self):
        user = self.user()
        for mech in (ENDP, EXPR):
            token = self.token(user, mech)
            self.fails(self.sign_in(user, token, mech, binding=b"")[1])
            self.fails(self.sign_in(user, token, mech, binding=bytes(32))[1])
        # somebody else's channel: what was seen on one connection is worth nothing on another
        c = self.connect()
        self.fails(self.sign_in(user, token, EXPR, binding=c.binding_data("tls-exporter"))[1])

    def test_bound_to_its_client_and_account(self):
        user, other = self.users(2)
        token = self.token(user)
        self.fails(self.sign_in(user, token, agent=OTHER)[1])
        self.fails(self.sign_in(other, token)[1])
        self.token(other)
        self.fails(self.sign_in(other, token)[1])
        self.fails(self.sign_in(user, token[:-1] + "x")[1])
        self.fails(self.sign_in("nobody-at-all", token)[1])
        self.works(user, token)

    def test_what_must_be_said(self):
        """3.4, 4.1: <fast/> and the client's id."""
        user = self.user()
        token = self.token(user)
        self.fails(self.sign_in(user, token, fast=None)[1], "malformed-request", "not-authorized")
        self.fails(self.sign_in(user, token, agent=None)[1], "malformed-request", "not-authorized")
        for count in ("count=''", "count='x'", "count='-1'", "count='0'", "count='99999999999999999999'"):
            with self.subTest(count=count):
                self.fails(self.sign_in(user, token, fast=count)[1], "malformed-request", "not-authorized")

    def test_malformed(self):
        user = self.user().encode()
        self.token(user.decode())
        for data in (b"", b"\0", user, user + b"\0", user + b"\0" + bytes(31), user + b"\0" + bytes(33), bytes(33), b"\xff\0" + bytes(32),
                     user + b"\0" + bytes(5000)):
            with self.subTest(data=data[:20]):
                e = self.connect().authenticate2(NONE, data, "<fast xmlns='%s'/>" % FAST, AGENT)
                self.fails(e, "malformed-request", "not-authorized")
        c = self.connect()
        e = c.authenticate2(NONE, None, "<fast xmlns='%s'/>" % FAST, AGENT)
        self.assertIn(local(e), ("failure", "challenge"))

    def test_not_for_sasl1(self):
        self.assertEqual(local(self.connect().sasl(NONE, b"x\0" + bytes(32))), "failure")

    def test_count(self):
        """3.4: a count that was seen is a replay."""
        user = self.user()
        token = self.token(user)
        self.works(user, token, fast="count='5'")
        self.fails(self.sign_in(user, token, fast="count='5'")[1])
        self.fails(self.sign_in(user, token, fast="count='4'")[1])
        self.works(user, token, fast="count='6'")
        self.works(user, token)

    def test_count_survives_a_kill(self):
        user = self.user()
        token = self.token(user)
        self.works(user, token, fast="count='7'")
        self.d.kill()
        self.d.start()
        self.fails(self.sign_in(user, token, fast="count='7'")[1])
        self.works(user, token, fast="count='8'")

    def test_two_slots(self):
        """3.5: the old one works until the new one was used."""
        user = self.user()
        one = self.token(user)
        self.works(user, one)
        two = self.token(user)
        self.assertNotEqual(one, two)
        self.works(user, one)
        self.works(user, two)
        self.fails(self.sign_in(user, one)[1])
        self.works(user, two)
        # one that was never used is replaced by the next
        three, four = self.token(user), self.token(user)
        self.fails(self.sign_in(user, three)[1])
        self.works(user, two)
        self.works(user, four)
        self.fails(self.sign_in(user, two)[1])

    def test_new_one_with_a_token(self):
        user = self.user()
        one = self.token(user)
        c, e = self.sign_in(user, one, inner="<request-token xmlns='%s' mechanism='%s'/>" % (FAST, NONE))
        two = kid(self.succeeds(e), "token", FAST).get("token")
        self.works(user, two)
        self.fails(self.sign_in(user, one)[1])

    def test_invalidate(self):
        """3.6."""
        user = self.user()
        for word in ("true", "1"):
            token = self.token(user)
            c, e = self.sign_in(user, token, fast="invalidate='%s'" % word, inner="<bind xmlns='%s'/>" % BIND2)
            self.assertIsNone(kid(self.succeeds(e), "token", FAST))
            c.sync()                # the session goes on
            self.fails(self.sign_in(user, token)[1])
        token = self.token(user)
        self.works(user, token, fast="invalidate='false'")
        self.works(user, token)
        # with a request for another one
        c, e = self.sign_in(user, token, fast="invalidate='1'", inner="<request-token xmlns='%s' mechanism='%s'/>" % (FAST, NONE))
        new = kid(self.succeeds(e), "token", FAST).get("token")
        self.fails(self.sign_in(user, token)[1])
        self.works(user, new)

    def test_resume_with_a_token(self):
        user, friend = self.users(2)
        token = self.token(user)
        c, e = self.sign_in(user, token, inner="<bind xmlns='%s'><enable xmlns='%s' resume='true'/></bind>" % (BIND2, SM))
        self.succeeds(e)
        c.presence()
        c.wait(is_("presence", from_=c.jid))
        c.cut()
        d, e = self.sign_in(user, token, inner="<resume xmlns='%s' previd='%s' h='%d'/><bind xmlns='%s'/>" % (SM, c.sm_id, c.sm_in, BIND2))
        self.assertIsNotNone(kid(self.succeeds(e), "resumed", SM))
        d.sync()

    def test_restart(self):
        user = self.user()
        token = self.token(user, ENDP)
        self.d.kill()
        self.d.start()
        self.works(user, token, ENDP)

    def test_password_change_revokes(self):
        user = self.user()
        token = self.token(user)
        c, _ = self.sign_in(user, token, inner="<bind xmlns='%s'><enable xmlns='%s' resume='true'/></bind>" % (BIND2, SM))
        c.cut()
        self.d.ctl("account", "password", at(user), stdin="another-1\n")
        self.fails(self.sign_in(user, token)[1])
        d = self.connect()      # the session that slept is gone, too
        e = self.succeeds(d.auth2(user, "another-1", inner="<resume xmlns='%s' previd='%s' h='0'/>" % (SM, c.sm_id)))
        self.assertIsNotNone(kid(e, "failed", SM))

    def test_account_made_again(self):
        user = self.user()
        token = self.token(user)
        self.d.ctl("account", "delete", at(user))
        self.fails(self.sign_in(user, token)[1])
        self.d.add_account(user)
        self.fails(self.sign_in(user, token)[1])

    def test_many_clients(self):
        """Tokens of so many clients are kept; who was here last keeps his."""
        user = self.user()
        agents = ["aaaaaaaa-4d72-4749-b3d3-7400000000%02d" % i for i in range(52)]
        tokens = [self.token(user, agent=a) for a in agents]
        self.fails(self.sign_in(user, tokens[0], agent=agents[0])[1])
        self.works(user, tokens[-1], agent=agents[-1])
        self.works(user, tokens[10], agent=agents[10])


class Short(Base):
    """A token that lives for three seconds."""
    options = {"top": "fast_token_life = 3"}

    def test_expiry_and_rotation(self):
        user, other = self.users(2)
        token, stale = self.token(user), self.token(other)
        c, e = self.sign_in(user, token)
        self.assertIsNone(kid(self.succeeds(e), "token", FAST))

        def rotated():
            c, e = self.sign_in(user, token)
            t = kid(self.succeeds(e), "token", FAST)
            return t is not None and t.get("token")
        new = lab.wait_until(rotated, 3, "a new token in the second half of its life")
        self.works(user, new)
        self.fails(self.sign_in(user, token)[1])

        def expired():
            e = self.sign_in(other, stale)[1]
            return local(e) == "failure" and [e]
        self.fails(lab.wait_until(expired, 6, "its end")[0], "credentials-expired")
        self.fails(self.sign_in(other, stale[:-1] + "x")[1], "not-authorized")

    def test_taken_back_when_rotation_is_due(self):
        """3.6: no new one with invalidate."""
        user = self.user()
        token = self.token(user)
        end = time.time() + 1.6
        lab.wait_until(lambda: time.time() > end, 3, "half of its life")
        c, e = self.sign_in(user, token, fast="invalidate='1'")
        self.assertIsNone(kid(self.succeeds(e), "token", FAST))


class Off(Base):
    options = {"top": "fast_token_life = 0"}

    def test_off(self):
        c = self.connect()
        self.assertIsNone(c.features.find(".//{%s}fast" % FAST))
        e = self.succeeds(c.auth2(self.user(), inner="<request-token xmlns='%s' mechanism='%s'/>" % (FAST, NONE), agent=AGENT))
        self.assertIsNone(kid(e, "token", FAST))
        self.fails(self.connect().authenticate2(NONE, b"x\0" + bytes(32), "<fast xmlns='%s'/>" % FAST, AGENT), "invalid-mechanism")


class Upgrade(Base):
    """XEP-0480."""
    UP = "urn:xmpp:sasl:upgrade:0"
    SC = "urn:xmpp:scram-upgrade:0"

    def old(self):
        """An account that has a verifier for SCRAM-SHA-1 only."""
        self.d.up = getattr(self.d, "up", 0) + 1
        name, salt = "old%d" % self.d.up, os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha1", PASSWORD.encode(), salt, 4096)
        stored = hashlib.sha1(xmppc.hmac.new(salted, b"Client Key", "sha1").digest()).digest()
        server = xmppc.hmac.new(salted, b"Server Key", "sha1").digest()

        def b64(x):
            return base64.b64encode(x).decode()
        out = self.d.ctl("account", "import", stdin="%s@%s\t{SCRAM-SHA-1}4096$%s$%s$%s\n" % (name, DOMAIN, b64(salt), b64(stored), b64(server)))
        self.assertIn("1 account", out)
        return name

    def start(self, user, mech="SCRAM-SHA-1-PLUS", task="UPGR-SCRAM-SHA-256", inner="", **kw):
        c = self.connect()
        return c, c.auth2(user, mech=mech, inner="<upgrade xmlns='%s'>%s</upgrade>%s" % (self.UP, task, inner), **kw)

    def salt(self, c):
        c.send("<next xmlns='%s' task='UPGR-SCRAM-SHA-256'/>" % SASL2)
        e = c.wait(xmppc._sasl2)
        self.assertEqual(local(e), "task-data", show(e))
        s = kid(e, "salt", self.SC)
        return base64.b64decode(s.text), int(s.get("iterations"))

    def give(self, c, data):
        c.send("<task-data xmlns='%s'><hash xmlns='%s'>%s</hash></task-data>" % (SASL2, self.SC, base64.b64encode(data).decode()))
        return c.wait(xmppc._sasl2)

    def test_offered(self):
        f = self.connect().features.find("{%s}authentication" % SASL2)
        self.assertEqual([u.text for u in f.findall("{%s}upgrade" % self.UP)], ["UPGR-SCRAM-SHA-256"])

    def test_upgrade(self):
        user = self.old()
        self.fails(self.connect().auth2(user))      # SCRAM-SHA-256: not yet
        c, e = self.start(user, inner="<bind xmlns='%s'/>" % BIND2)
        self.assertEqual(local(e), "continue", show(e))
        self.assertEqual([t.text for t in kid(e, "tasks")], ["UPGR-SCRAM-SHA-256"])
        self.assertIsNotNone(text(e, "additional-data"))
        salt, iterations = self.salt(c)
        self.assertGreaterEqual(len(salt), 16)
        self.assertGreaterEqual(iterations, 10000)
        e = self.give(c, hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations))
        self.succeeds(e)
        self.assertIsNone(text(e, "additional-data"))
        self.assertIsNotNone(kid(e, "bound", BIND2))
        c.sync()
        for mech in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1"):
            self.succeeds(self.connect().auth2(user, mech=mech))
        # once
        c, e = self.start(user)
        self.succeeds(e)

    def test_not_needed(self):
        self.succeeds(self.start(self.user())[1])

    def test_not_on_an_unbound_channel(self):
        user = self.old()
        self.succeeds(self.start(user, "SCRAM-SHA-1")[1])
        self.fails(self.connect().auth2(user))

    def test_unknown_task(self):
        self.succeeds(self.start(self.old(), task="UPGR-SCRAM-SHA-512")[1])

    def test_wrong_steps(self):
        user = self.old()
        for xml in ("<next xmlns='%s' task='UPGR-SCRAM-SHA-512'/>", "<next xmlns='%s'/>", "<task-data xmlns='%s'/>", "<abort xmlns='%s'/>"):
            with self.subTest(xml=xml):
                c, e = self.start(user)
                c.send(xml % SASL2)
                self.fails(c.wait(xmppc._sasl2), "malformed-request", "aborted")
        for xml in ("<response xmlns='%s'>AAAA</response>" % SASL2, "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"):
            with self.subTest(xml=xml):
                c, e = self.start(user)
                c.send(xml)
                self.assertIsNotNone(c.wait_end())
        for data in (b"", bytes(31), bytes(33), bytes(20)):
            with self.subTest(data=len(data)):
                c, e = self.start(user)
                self.salt(c)
                self.fails(self.give(c, data), "malformed-request")
        self.fails(self.connect().auth2(user))

    def test_no_session_before_it_ends(self):
        """Nothing inline while a task is open."""
        user = self.old()
        a = self.login(user, mech="SCRAM-SHA-1", sm=True)
        c, e = self.start(user, inner="<resume xmlns='%s' previd='%s' h='0'/>" % (SM, a.sm_id))
        self.assertEqual(local(e), "continue")
        a.sync()
        c.cut()
        a.sync()


if __name__ == "__main__":
    lab.main()
