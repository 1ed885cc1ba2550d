"""test_sasl2 - XEP-0388, XEP-0474 and the inline parts of XEP-0198 section 9."""
import base64
import hashlib

import lab
import xmppc
from case import ServerCase, at
from lab import PASSWORD
from xmppc import BIND, BIND2, SASL, SASL2, SM, STREAMS, Closed, error_of, kid, local, nsof, show, text

AGENT = "d4565fa7-4d72-4749-b3d3-740edbf87770"
CB = "urn:xmpp:sasl-cb:0"


def condition(e):
    return [local(c) for c in e if nsof(c) == SASL and local(c) != "text"][0]


class Base(ServerCase):
    def fails(self, e, *conditions):
        self.assertEqual((nsof(e), local(e)), (SASL2, "failure"), show(e))
        self.assertIn(condition(e), conditions, show(e))

    def succeeds(self, e):
        self.assertEqual((nsof(e), local(e)), (SASL2, "success"), show(e))


class Features(Base):
    def test_offered_under_tls_only(self):
        """Section 3: SASL2 only after TLS."""
        c = self.conn()
        c.open()
        self.assertIsNone(c.authentication())
        c.starttls()
        c.open()
        self.assertTrue(c.authentication())

    def test_same_mechanisms_as_sasl1(self):
        c = self.connect()
        self.assertEqual(sorted(c.authentication()), sorted(c.mechanisms()))

    def test_inline(self):
        """XEP-0198 9.2, XEP-0386 3.1."""
        a = self.connect().features.find("{%s}authentication" % SASL2)
        inline = kid(a, "inline")
        self.assertIsNotNone(kid(inline, "sm", SM))
        bind = kid(inline, "bind", BIND2)
        self.assertIn(SM, [f.get("var") for f in kid(bind, "inline")])

    def test_stable(self):
        """2.1: the same for every stream, whoever it says it is: nobody learns which accounts there are."""
        user = self.user()
        seen = set()
        for who in ("", "from='%s'" % at(user), "from='nobody-at-all@lab.test'"):
            c = self.conn()
            c.open()
            c.starttls()
            f = c.open(extra=who)
            seen.add(xmppc.show(f))
        self.assertEqual(len(seen), 1)

    def test_from_of_another_domain(self):
        """2.1: invalid-from."""
        c = self.conn()
        c.open()
        c.starttls()
        with self.assertRaises(Closed):
            c.open(extra="from='ann@elsewhere.test'")
        self.assertEqual(c.stream_error, "invalid-from")

    def test_channel_bindings_named(self):
        """XEP-0440: with -PLUS always, tls-server-end-point among them."""
        f = self.connect().features.find("{%s}sasl-channel-binding" % CB)
        self.assertEqual({x.get("type") for x in f}, {"tls-server-end-point", "tls-exporter"})

    def test_limits(self):
        """XEP-0478, before and after authentication."""
        def limit(f):
            return int(f.find("{urn:xmpp:stream-limits:0}limits/{urn:xmpp:stream-limits:0}max-bytes").text)
        c = self.connect()
        self.assertEqual(limit(c.features), 65536)
        self.succeeds(c.auth2(self.user()))
        self.assertEqual(limit(c.features), 262144)
        # the server asks whether a silent client lives: ping_interval
        idle = c.features.find("{urn:xmpp:stream-limits:0}limits/{urn:xmpp:stream-limits:0}idle-seconds")
        self.assertEqual(idle.text, "300")


class Exchange(Base):
    def test_every_mechanism(self):
        user = self.user()
        for mech in self.connect().authentication():
            with self.subTest(mech=mech):
                c = self.connect()
                e = c.auth2(user, mech=mech)
                self.succeeds(e)
                self.assertEqual(text(e, "authorization-identifier"), at(user))
                # no stream restart; the features of the authenticated stream are there
                self.assertIsNotNone(c.features.find("{%s}bind" % BIND))
                self.assertIsNone(c.features.find("{%s}mechanisms" % SASL))
                self.assertIsNone(c.authentication())
                self.assertResult(c.bind("plain"))
                c.sync()

    def test_plain(self):
        """A listener with AuthPlainParameters offers PLAIN: one step."""
        d = self.d
        c = self.connect()
        if "PLAIN" not in c.authentication():
            self.skipTest("not offered here")
        self.succeeds(c.auth2(self.user(), mech="PLAIN"))
        self.assertTrue(d.alive())

    def test_without_initial_response(self):
        """2.2: the element is simply not there; then a challenge without data asks for it."""
        c = self.connect()
        e = c.authenticate2("SCRAM-SHA-256")
        self.assertEqual((local(e), e.text), ("challenge", None))
        e = c.respond2(b"n,,n=%s,r=abcdefghijkl" % self.user().encode())
        self.assertEqual(local(e), "challenge")

    def test_equals_sign_is_no_data(self):
        c = self.connect()
        c.send("<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'><initial-response>=</initial-response></authenticate>" % SASL2)
        self.fails(c.wait(), "incorrect-encoding", "malformed-request")

    def test_empty_initial_response(self):
        c = self.connect()
        c.send("<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'><initial-response/></authenticate>" % SASL2)
        self.fails(c.wait(), "malformed-request")

    def test_wrong_password(self):
        user = self.user()
        for mech in self.connect().authentication():
            with self.subTest(mech=mech):
                c = self.connect()
                self.fails(c.auth2(user, "wrong", mech), "not-authorized")
                # 2.6: the stream is as it was
                self.succeeds(c.auth2(user, mech=mech))

    def test_unknown_account(self):
        c = self.connect()
        self.fails(c.auth2("nobody-at-all", "wrong"), "not-authorized")
        first = c.server_first
        c = self.connect()
        self.fails(c.auth2("nobody-at-all", "other"), "not-authorized")
        self.assertEqual((first["s"], first["i"]), (c.server_first["s"], c.server_first["i"]))

    def test_unknown_mechanism(self):
        for mech in ("NONSENSE", "", "EXTERNAL", "ANONYMOUS", "HT-SHA-256-NONE", "scram-sha-256"):
            with self.subTest(mech=mech):
                self.fails(self.connect().authenticate2(mech, b"x"), "invalid-mechanism", "malformed-request")

    def test_truncated_base64(self):
        for data in ("bixu", "biws", "A", "AAA", "====", "b i w s", "!!!!", "biwsbj1hLHI9YWJjZGVmZ2hpams"):
            with self.subTest(data=data):
                c = self.connect()
                c.send("<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'><initial-response>%s</initial-response>"
                       "</authenticate>" % (SASL2, data))
                self.fails(c.wait(), "incorrect-encoding", "malformed-request")

    def test_abort(self):
        c = self.connect()
        e = c.authenticate2("SCRAM-SHA-256", b"n,,n=x,r=abcdefghijkl")
        self.assertEqual(local(e), "challenge")
        c.send("<abort xmlns='%s'><text>changed my mind</text></abort>" % SASL2)
        self.fails(c.wait(), "aborted")
        self.succeeds(c.auth2(self.user()))

    def test_other_traffic_ends_the_stream(self):
        """2.4: nothing but responses and abort while it lasts."""
        for xml in ("<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>", "<message/>", "<r xmlns='urn:xmpp:sm:3'/>",
                    "<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'/>" % SASL2,
                    "<next xmlns='%s' task='X'/>" % SASL2, "<task-data xmlns='%s'/>" % SASL2):
            with self.subTest(xml=xml):
                c = self.connect()
                self.assertEqual(local(c.authenticate2("SCRAM-SHA-256", b"n,,n=x,r=abcdefghijkl")), "challenge")
                c.send(xml)
                self.assertIsNotNone(c.wait_end())

    def test_authenticate_after_success(self):
        """4.8: a stream error."""
        for inner in ("", "<bind xmlns='%s'/>" % BIND2):
            with self.subTest(inner=inner):
                c = self.connect()
                self.succeeds(c.auth2(self.user(), inner=inner))
                c.send("<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'/>" % SASL2)
                self.assertIsNotNone(c.wait_end())

    def test_never_in_clear(self):
        c = self.conn()
        c.open()
        c.send("<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'/>" % SASL2)
        self.assertIsNotNone(c.wait_end())

    def test_profiles_are_not_mixed(self):
        user = self.user()
        start1 = "<auth xmlns='%s' mechanism='SCRAM-SHA-256'>%s</auth>" % (
            SASL, base64.b64encode(b"n,,n=%s,r=abcdefghijkl" % user.encode()).decode())
        start2 = "<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'><initial-response>%s</initial-response></authenticate>" % (
            SASL2, base64.b64encode(b"n,,n=%s,r=abcdefghijkl" % user.encode()).decode())
        for one, two in ((start1, "<response xmlns='%s'>AAAA</response>" % SASL2),
                         (start2, "<response xmlns='%s'>AAAA</response>" % SASL),
                         (start1, "<abort xmlns='%s'/>" % SASL2), (start2, "<abort xmlns='%s'/>" % SASL)):
            with self.subTest(two=two):
                c = self.connect()
                c.send(one)
                self.assertEqual(local(c.wait()), "challenge")
                c.send(two)
                self.assertIsNotNone(c.wait_end())
        # also one after the other
        c = self.connect()
        self.assertEqual(local(c.auth(user, "wrong")), "failure")
        c.send(start2)
        self.assertIsNotNone(c.wait_end())
        c = self.connect()
        self.fails(c.auth2(user, "wrong"), "not-authorized")
        c.send(start1)
        self.assertIsNotNone(c.wait_end())

    def test_too_many_failures(self):
        c = self.connect()
        for _ in range(2):
            self.fails(c.auth2("nobody-at-all", "x"), "not-authorized")
        self.fails(c.auth2("nobody-at-all", "x"), "not-authorized")
        self.assertEqual(c.wait_end(), "policy-violation")

    def test_disabled_features_on_failure(self):
        """2.6.2: nothing inline is done when it fails: the other session lives on."""
        user = self.user()
        a = self.connect()
        self.succeeds(a.auth2(user, inner="<bind xmlns='%s'/>" % BIND2, agent=AGENT))
        c = self.connect()
        self.fails(c.auth2(user, "wrong", inner="<bind xmlns='%s'/>" % BIND2, agent=AGENT), "not-authorized")
        a.sync()

    def test_authzid(self):
        """4.4: a non-empty one is prepared as a JID, and is one's own and the stream's."""
        user, other = self.users(2)

        def go(authzid, from_=None):
            c = self.conn()
            c.open()
            c.starttls()
            c.open(extra="from='%s'" % from_ if from_ else "")
            return c.auth2(user, authzid=authzid)
        self.succeeds(go(at(user)))
        self.succeeds(go(at(user).upper()))
        self.succeeds(go(at(user), at(user) + "/x"))
        self.succeeds(go("", at(other)))        # a hint only
        self.fails(go(at(other)), "invalid-authzid")
        self.fails(go(at(user), at(other)), "invalid-authzid")
        self.fails(go("@@@", at(user)), "invalid-authzid")

    def test_user_agent(self):
        user = self.user()
        self.succeeds(self.connect().auth2(user, agent=AGENT))
        self.succeeds(self.connect().auth2(user, agent=AGENT.upper()))
        for bad in ("x", AGENT[:-1], AGENT + "0", AGENT.replace("-", "x"), AGENT.replace("d", "g")):
            with self.subTest(bad=bad):
                self.fails(self.connect().auth2(user, agent=bad), "malformed-request")

    def test_unknown_inline(self):
        c = self.connect()
        e = c.auth2(self.user(), inner="<x xmlns='urn:example:nothing'><bind xmlns='%s'/></x><bind xmlns='urn:other'/>" % BIND2)
        self.succeeds(e)
        self.assertIsNone(kid(e, "bound", BIND2))

    def test_sent_ahead(self):
        """What comes with the last element of the exchange is read after it (one round trip with PLAIN or tokens)."""
        users = self.users(6)   # on both workers
        for user in users:
            c = self.connect()
            e = c._scram("SCRAM-SHA-256", user, PASSWORD, say=lambda m, d: c.authenticate2(m, d, "<bind xmlns='%s'/>" % BIND2),
                         respond=lambda d: self._with_ping(c, d))
            self.succeeds(e)
            self.assertResult(c.reply("ahead"))

    def _with_ping(self, c, data):
        c.send("<response xmlns='%s'>%s</response><iq type='get' id='ahead' to='lab.test'><ping xmlns='urn:xmpp:ping'/></iq>"
               % (SASL2, base64.b64encode(data).decode()))
        return c.wait(lambda e: nsof(e) == SASL2)

    def test_gone_in_the_middle(self):
        for user in self.users(10):
            c = self.connect()
            c._scram("SCRAM-SHA-256", user, PASSWORD, say=lambda m, d: c.authenticate2(m, d, "<bind xmlns='%s'/>" % BIND2),
                     respond=lambda d: self._and_cut(c, d))
        self.login(self.user()).sync()

    def _and_cut(self, c, data):
        c.send("<response xmlns='%s'>%s</response>" % (SASL2, base64.b64encode(data).decode()))
        c.cut()
        return xmppc.ET.Element("gone")

    def test_kill_and_account_gone(self):
        """An account deleted after the credentials were read is not let in."""
        user = self.user()
        self.d.ctl("account", "delete", at(user))
        self.fails(self.connect().auth2(user), "not-authorized")


class Downgrade(Base):
    """XEP-0474."""
    def hash_of(self, c, mechanisms, name):
        s = "\x1e".join(sorted(mechanisms))
        cb = c.features.find("{%s}sasl-channel-binding" % CB)
        if cb is not None:
            s += "\x1f" + "\x1e".join(sorted(x.get("type") for x in cb))
        return base64.b64encode(hashlib.new(name, s.encode()).digest()).decode()

    def test_hash(self):
        user = self.user()
        for mech, name in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-256-PLUS", "sha256")):
            with self.subTest(mech=mech):
                c = self.connect()
                self.succeeds(c.auth2(user, mech=mech))
                self.assertEqual(c.server_first["h"], self.hash_of(self.connect(), self.connect().authentication(), name))
                c = self.connect()
                self.assertEqual(local(c.auth(user, mech=mech)), "success")
                self.assertEqual(c.server_first["h"], self.hash_of(c, c.mechanisms(), name))

    def test_example(self):
        """6.3: the hash of the example."""
        s = "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point"
        self.assertEqual(base64.b64encode(hashlib.sha1(s.encode()).digest()).decode(), "G6k/rBLDqgOhRRaCuuatSDFkJ08=")

    def test_y_flag(self):
        self.fails(self.connect().auth2(self.user(), gs2="y"), "not-authorized")


class Resume(Base):
    """XEP-0198 section 9.2."""
    def resume(self, old, user, h=None, inner="", previd=None, **kw):
        c = self.connect()
        e = c.auth2(user, inner="<resume xmlns='%s' previd='%s' h='%d'/>%s" % (
            SM, previd or old.sm_id, old.sm_in if h is None else h, inner), **kw)
        return c, e

    def session(self, user, **kw):
        return self.login(user, sm=True, **kw)

    def test_resumed(self):
        user, friend = self.users(2)
        a, b = self.session(user), self.login(friend)
        a.cut()
        b.message(a.jid, "while away")
        c, e = self.resume(a, user)
        self.succeeds(e)
        r = kid(e, "resumed", SM)
        self.assertEqual(r.get("previd"), a.sm_id)
        self.assertEqual(text(e, "authorization-identifier"), a.jid)     # a resumed session has a resource bound
        self.assertEqual(text(c.wait(xmppc.body_is("while away"))), "while away")
        # no features: the stream is simply there again
        c.jid = a.jid
        c.sync()
        self.assertEqual([x for x in c.seen[c.seen.index(e):] if x.tag == "{%s}features" % STREAMS], [])
        b.message(a.jid, "live again")
        c.wait(xmppc.body_is("live again"))

    def test_resume_beats_bind(self):
        user = self.user()
        a = self.session(user)
        a.cut()
        c, e = self.resume(a, user, inner="<bind xmlns='%s'><tag>new</tag></bind>" % BIND2)
        self.succeeds(e)
        self.assertIsNotNone(kid(e, "resumed", SM))
        self.assertIsNone(kid(e, "bound", BIND2))

    def test_failed_then_bound(self):
        """9.2.1."""
        user = self.user()
        a = self.login(user)
        c, e = self.resume(a, user, h=0, previd="nothing-like-that", inner="<bind xmlns='%s'><tag>new</tag></bind>" % BIND2)
        self.succeeds(e)
        self.assertEqual(local(kid(e, "failed", SM)[0]), "item-not-found")
        self.assertIsNotNone(kid(e, "bound", BIND2))
        c.sync()

    def test_failed_without_bind(self):
        user = self.user()
        c, e = self.resume(None, user, h=0, previd="nothing-like-that")
        self.succeeds(e)
        self.assertIsNotNone(kid(e, "failed", SM))
        self.assertResult(c.bind("after"))

    def test_session_of_somebody_else(self):
        user, thief = self.users(2)
        a = self.session(user)
        a.cut()
        c, e = self.resume(a, thief)
        self.succeeds(e)
        self.assertIsNotNone(kid(e, "failed", SM))
        c, e = self.resume(a, user)
        self.assertIsNotNone(kid(e, "resumed", SM))

    def test_wrong_password_resumes_nothing(self):
        user = self.user()
        a = self.session(user)
        c, e = self.resume(a, user, password="wrong")
        self.fails(e, "not-authorized")
        a.sync()

    def test_live_stream_is_replaced(self):
        user = self.user()
        a = self.session(user)
        c, e = self.resume(a, user)
        self.assertIsNotNone(kid(e, "resumed", SM))
        self.assertEqual(a.wait_end(), "conflict")
        c.sync()

    def test_too_high(self):
        user = self.user()
        a = self.session(user)
        a.cut()
        c, e = self.resume(a, user, h=1000)
        self.assertEqual(c.wait_end(), "undefined-condition")

    def test_bad_h(self):
        user = self.user()
        a = self.session(user)
        for h in ("", "x", "-1", "99999999999"):
            c = self.connect()
            e = c.auth2(user, inner="<resume xmlns='%s' previd='%s' h='%s'/>" % (SM, a.sm_id, h))
            self.succeeds(e)
            self.assertIsNotNone(kid(e, "failed", SM))
        a.sync()


if __name__ == "__main__":
    lab.main()
