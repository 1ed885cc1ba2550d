"""test_spec_signin - XEP-0388, 0386, 0484, 0440 and 0474, rule by rule."""
import base64
import hashlib
import uuid

import lab
import xmppc
from case import at
from speclib import SpecCase
from xmppc import BIND2, FAST, SASL, SASL2, SM, STREAMS, body_is, kid, local, nsof, show, text

CB = "urn:xmpp:sasl-cb:0"
MAM = "urn:xmpp:mam:2"
STAMP = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


class Base(SpecCase):
    def bind(self, inner="", tag="Test"):
        return "<bind xmlns='%s'><tag>%s</tag>%s</bind>" % (BIND2, tag, inner)

    def success(self, e):
        self.assertEqual(e.tag, "{%s}success" % SASL2, show(e))
        return e

    def failure(self, e, *wanted):
        self.assertEqual(e.tag, "{%s}failure" % SASL2, show(e))
        got = [local(x) for x in e if nsof(x) == SASL]
        self.assertEqual(len(got), 1, show(e))
        self.assertIn(got[0], wanted)

    def signed_in(self, user=None, inner="", **kw):
        c = self.connect()
        self.success(c.auth2(user or self.user(), inner=inner, **kw))
        return c


class Sasl2(Base):
    # 2.1
    def test_feature(self):
        c = self.conn()
        c.open()
        self.assertIsNone(c.authentication())       # not before TLS
        c = self.connect()
        self.assertEqual(sorted(c.authentication()), sorted(set(c.authentication())))
        self.assertTrue({"SCRAM-SHA-1", "SCRAM-SHA-256"} <= set(c.authentication()))
        i = kid(c.features.find("{%s}authentication" % SASL2), "inline")
        self.assertEqual({(nsof(x), local(x)) for x in i} & {(SM, "sm"), (BIND2, "bind"), (FAST, "fast")},
                         {(SM, "sm"), (BIND2, "bind"), (FAST, "fast")})
        b = kid(i, "bind", BIND2)
        self.assertEqual({f.get("var") for f in b.iter("{%s}feature" % BIND2)}, {"urn:xmpp:carbons:2", "urn:xmpp:csi:0", SM})

    def test_none_after_authentication(self):
        self.assertIsNone(self.signed_in().authentication())

    # 2.6.1
    def test_success_without_bind(self):
        u = self.user()
        c = self.connect()
        e = self.success(c.auth2(u))
        self.assertEqual(text(e, "authorization-identifier"), at(u))
        # features follow without a new stream
        self.assertIsNotNone(c.features.find("{urn:ietf:params:xml:ns:xmpp-bind}bind"))
        self.assertResult(c.bind("old"))
        c.sync()

    def test_every_mechanism(self):
        for mech in self.connect().authentication():
            if mech.startswith("SCRAM") or mech == "PLAIN":
                c = self.connect()
                self.success(c.auth2(self.user(), mech=mech, inner=self.bind()))
                c.sync()

    # 2.3, 2.6.2
    def test_mechanism_that_was_not_offered(self):
        c = self.connect()
        self.failure(c.authenticate2("NO-SUCH", b"x"), "invalid-mechanism")
        self.success(c.auth2(self.user()))      # nothing changed

    def test_wrong_password_does_not_bind(self):
        u = self.user()
        o = self.login(u)
        c = self.connect()
        self.failure(c.auth2(u, "wrong", inner=self.bind()), "not-authorized")
        o.sync()
        self.none_of(o.drain(), "presence")
        self.success(c.auth2(u, inner=self.bind()))

    def test_bad_data(self):
        c = self.connect()
        c.send("<authenticate xmlns='%s' mechanism='SCRAM-SHA-256'><initial-response>!!</initial-response></authenticate>" % SASL2)
        self.failure(c.wait(), "incorrect-encoding", "malformed-request")
        c = self.connect()
        c.send("<authenticate xmlns='%s'/>" % SASL2)
        self.failure(c.wait(), "invalid-mechanism", "malformed-request")

    def test_abort(self):
        c, u = self.connect(), self.user()
        e = c.authenticate2("SCRAM-SHA-256", ("n,,n=%s,r=abcdef" % u).encode(), self.bind())
        self.assertEqual(local(e), "challenge")
        c.send("<abort xmlns='%s'/>" % SASL2)
        self.failure(c.wait(), "aborted")
        self.success(c.auth2(u))

    def test_other_traffic_while_authenticating(self):
        """2.4: disconnected at once."""
        for x in ("<message to='a@lab.test'><body>x</body></message>", "<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>",
                  "<foo xmlns='t:foo'/>"):
            c, u = self.connect(), self.user()
            self.assertEqual(local(c.authenticate2("SCRAM-SHA-256", ("n,,n=%s,r=abcdef" % u).encode())), "challenge")
            c.send(x)
            c.wait_eof()

    def test_from_of_another(self):
        """2.3: the stream's 'from' and the authorization identity must fit."""
        u, v = self.user(), self.user()
        c = self.conn()
        c.open()
        c.starttls()
        c.open(extra="from='%s'" % at(v))
        e = c.auth2(u, authzid=at(u))
        self.failure(e, "invalid-authzid", "not-authorized")

    def test_own_from(self):
        u = self.user()
        c = self.conn()
        c.open()
        c.starttls()
        c.open(extra="from='%s'" % at(u))
        self.success(c.auth2(u, authzid=at(u), inner=self.bind()))

    def test_unknown_inline_elements_are_ignored(self):
        c = self.connect()
        self.success(c.auth2(self.user(), inner="<bind xmlns='urn:xmpp:bind:example'/><x xmlns='t:x'/>" + self.bind("<y xmlns='t:y'/>")))
        c.sync()

    def test_sasl1_remains(self):
        c = self.connect()
        self.assertEqual(local(c.auth(self.user())), "success")

    # inline resumption: XEP-0198 section 9
    def test_resume_inline(self):
        u = self.user()
        a = self.signed_in(u, self.bind("<enable xmlns='%s' resume='true'/>" % SM))
        self.assertTrue(a.sm_id)
        a.presence()
        a.sync()
        a.cut()
        o = self.login()
        o.message(at(u), "while away")
        b = self.connect()
        e = self.success(b.auth2(u, inner="<resume xmlns='%s' previd='%s' h='%d'/>" % (SM, a.sm_id, a.sm_in) + self.bind()))
        r = kid(e, "resumed", SM)
        self.assertEqual(r.get("previd"), a.sm_id)
        self.assertIsNone(kid(e, "bound", BIND2))
        b.wait(body_is("while away"))

    def test_failed_resume_falls_through_to_bind(self):
        c = self.connect()
        e = self.success(c.auth2(self.user(), inner="<resume xmlns='%s' previd='nope' h='0'/>" % SM + self.bind()))
        f = kid(e, "failed", SM)
        self.assertIn("item-not-found", [local(x) for x in f])
        self.assertIsNotNone(kid(e, "bound", BIND2))
        c.sync()

    def test_failed_resume_without_bind(self):
        u = self.user()
        c = self.connect()
        e = self.success(c.auth2(u, inner="<resume xmlns='%s' previd='nope' h='0'/>" % SM))
        self.assertIsNotNone(kid(e, "failed", SM))
        self.assertEqual(text(e, "authorization-identifier"), at(u))
        self.assertResult(c.bind("r"))


class Bind2(Base):
    # 3.2.1
    def test_tag(self):
        u = self.user()
        c = self.signed_in(u, self.bind(tag="AwesomeXMPP"))
        self.assertTrue(c.jid.startswith(at(u) + "/AwesomeXMPP"), c.jid)
        self.assertGreater(len(c.jid), len(at(u) + "/AwesomeXMPP") + 4)
        c.sync()

    def test_no_tag(self):
        c = self.signed_in(inner="<bind xmlns='%s'/>" % BIND2)
        self.assertTrue(c.jid.partition("/")[2])

    def test_user_agent_id_is_not_shown(self):
        agent = str(uuid.uuid4())
        c = self.signed_in(inner=self.bind(), agent=agent)
        self.assertNotIn(agent, c.jid)
        self.assertNotIn(agent.replace("-", ""), c.jid)

    def test_same_client_has_the_same_resource_and_ends_its_earlier_session(self):
        u, agent = self.user(), str(uuid.uuid4())
        a = self.signed_in(u, self.bind(), agent=agent)
        o = self.signed_in(u, self.bind(), agent=str(uuid.uuid4()))
        b = self.signed_in(u, self.bind(), agent=agent)
        a.wait_end()
        o.sync()
        b.sync()
        self.assertNotEqual(o.jid, b.jid)

    def test_two_clients_of_one_tag(self):
        u = self.user()
        a, b = self.signed_in(u, self.bind()), self.signed_in(u, self.bind())
        self.assertNotEqual(a.jid, b.jid)
        a.sync()

    # metadata
    def test_metadata(self):
        u, o = self.user(), self.login()
        c = self.connect()
        e = self.success(c.auth2(u, inner=self.bind()))
        m = kid(kid(e, "bound", BIND2), "metadata", MAM)
        self.assertEqual(len(m), 0)
        c.presence()
        c.sync()
        for i in range(3):
            o.message(at(u), "m%d" % i)
            c.wait(body_is("m%d" % i))
        d = self.connect()
        e = self.success(d.auth2(u, inner=self.bind()))
        m = kid(kid(e, "bound", BIND2), "metadata", MAM)
        d.iq("set", "<query xmlns='%s'/>" % MAM)
        ids = [kid(x, "result", MAM).get("id") for x in d.drain() if kid(x, "result", MAM) is not None]
        self.assertEqual((kid(m, "start").get("id"), kid(m, "end").get("id")), (ids[0], ids[-1]))
        self.assertRegex(kid(m, "end").get("timestamp"), STAMP)

    def test_offline_messages_are_left_to_the_archive(self):
        u, o = self.user(), self.login()
        o.message(at(u), "offline")
        xmppc.Conn.get(o, "t:unknown", to=at(u))
        c = self.signed_in(u, self.bind())
        c.presence()
        self.none_of(xmppc.fence(o, c), "message")
        c.close()
        d = self.login(u)
        self.none_of(xmppc.fence(o, d), "message")
        d.iq("set", "<query xmlns='%s'/>" % MAM)
        self.assertIn("offline", "".join(show(e) for e in d.drain()))

    # features
    def test_inline_features(self):
        u = self.user()
        c = self.connect()
        e = self.success(c.auth2(u, inner=self.bind("<enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='%s'/><inactive xmlns='urn:xmpp:csi:0'/>" % SM)))
        b = kid(e, "bound", BIND2)
        self.assertIsNotNone(kid(b, "enabled", SM))
        self.assertEqual([local(x) for x in b if nsof(x) == "urn:xmpp:carbons:2"], [])
        c.presence()
        self.assertEqual(c.sm_request(), 1)
        d, o = self.login(u), self.login()
        o.message(d.jid, "for d")
        c.wait(lambda e: kid(e, "received", "urn:xmpp:carbons:2") is not None)

    def test_resumable(self):
        c = self.connect()
        e = self.success(c.auth2(self.user(), inner=self.bind("<enable xmlns='%s' resume='true'/>" % SM)))
        enabled = kid(kid(e, "bound", BIND2), "enabled", SM)
        self.assertIn(enabled.get("resume"), ("true", "1"))
        self.assertTrue(enabled.get("id"))

    def test_features_after_bind(self):
        c = self.signed_in(inner=self.bind())
        self.assertEqual(c.features.tag, "{%s}features" % STREAMS)
        self.assertIsNone(c.features.find("{urn:ietf:params:xml:ns:xmpp-bind}bind"))


class Fast(Base):
    def mechanisms(self, c=None):
        c = c or self.connect()
        f = kid(kid(c.features.find("{%s}authentication" % SASL2), "inline"), "fast", FAST)
        return [m.text for m in f]

    def token(self, user, mech, agent, inner="", **kw):
        c = self.connect()
        e = self.success(c.auth2(user, agent=agent, inner="<request-token xmlns='%s' mechanism='%s'/>" % (FAST, mech) + inner, **kw))
        t = kid(e, "token", FAST)
        self.assertIsNotNone(t, show(e))
        self.assertRegex(t.get("expiry"), STAMP)
        return t.get("token")

    def use(self, user, mech, token, agent, fast="", inner=""):
        c = self.connect()
        return c, c.auth2(user, mech=mech, token=token, agent=agent, fast=fast, inner=inner)

    # 3.1
    def test_mechanisms(self):
        m = self.mechanisms()
        self.assertTrue(any(x.endswith("-NONE") for x in m))
        self.assertTrue(any(x[-4:] in ("ENDP", "EXPR", "UNIQ") for x in m))
        self.assertFalse(set(m) & set(self.connect().mechanisms()))

    # 3.2 to 3.4
    def test_every_mechanism(self):
        for mech in self.mechanisms():
            if mech.startswith("HT-SHA-256-"):
                u, agent = self.user(), str(uuid.uuid4())
                t = self.token(u, mech, agent)
                c, e = self.use(u, mech, t, agent, inner=self.bind())
                self.success(e)
                c.sync()

    def test_token_is_bound_to_its_mechanism(self):
        u, agent = self.user(), str(uuid.uuid4())
        t = self.token(u, "HT-SHA-256-EXPR", agent)
        for mech in self.mechanisms():
            if mech != "HT-SHA-256-EXPR" and mech.startswith("HT-SHA-256-"):
                self.failure(self.use(u, mech, t, agent)[1], "not-authorized", "credentials-expired")
        self.success(self.use(u, "HT-SHA-256-EXPR", t, agent)[1])

    def test_no_token_without_success(self):
        u = self.user()
        c = self.connect()
        e = c.auth2(u, "wrong", agent=str(uuid.uuid4()), inner="<request-token xmlns='%s' mechanism='HT-SHA-256-NONE'/>" % FAST)
        self.failure(e, "not-authorized")
        self.assertIsNone(kid(e, "token", FAST))

    def test_no_token_unless_asked(self):
        c = self.connect()
        self.assertIsNone(kid(self.success(c.auth2(self.user(), agent=str(uuid.uuid4()))), "token", FAST))

    def test_request_of_an_unknown_mechanism(self):
        c = self.connect()
        e = c.auth2(self.user(), agent=str(uuid.uuid4()), inner="<request-token xmlns='%s' mechanism='HT-NO-SUCH'/>" % FAST)
        self.assertIsNone(kid(e, "token", FAST))

    def test_wrong_tokens(self):
        u, v, agent = self.user(), self.user(), str(uuid.uuid4())
        t = self.token(u, "HT-SHA-256-NONE", agent)
        self.failure(self.use(u, "HT-SHA-256-NONE", t + "x", agent)[1], "not-authorized", "credentials-expired")
        self.failure(self.use(v, "HT-SHA-256-NONE", t, agent)[1], "not-authorized", "credentials-expired")
        self.failure(self.use(u, "HT-SHA-256-NONE", t, str(uuid.uuid4()))[1], "not-authorized", "credentials-expired")
        self.success(self.use(u, "HT-SHA-256-NONE", t, agent)[1])

    def test_token_works_again(self):
        u, agent = self.user(), str(uuid.uuid4())
        t = self.token(u, "HT-SHA-256-NONE", agent)
        for _ in range(3):
            c, e = self.use(u, "HT-SHA-256-NONE", t, agent)
            self.success(e)

    # 3.5
    def test_a_new_token_replaces_the_old_when_it_is_used(self):
        u, agent = self.user(), str(uuid.uuid4())
        old = self.token(u, "HT-SHA-256-NONE", agent)
        c, e = self.use(u, "HT-SHA-256-NONE", old, agent, inner="<request-token xmlns='%s' mechanism='HT-SHA-256-NONE'/>" % FAST)
        new = kid(self.success(e), "token", FAST).get("token")
        self.assertNotEqual(new, old)
        self.success(self.use(u, "HT-SHA-256-NONE", old, agent)[1])     # not yet used: the old one still works
        self.success(self.use(u, "HT-SHA-256-NONE", new, agent)[1])
        self.failure(self.use(u, "HT-SHA-256-NONE", old, agent)[1], "not-authorized", "credentials-expired")

    # 3.6
    def test_invalidate(self):
        for v in ("true", "1"):
            u, agent = self.user(), str(uuid.uuid4())
            t = self.token(u, "HT-SHA-256-NONE", agent)
            c, e = self.use(u, "HT-SHA-256-NONE", t, agent, "invalidate='%s'" % v)
            self.assertIsNone(kid(self.success(e), "token", FAST))
            self.failure(self.use(u, "HT-SHA-256-NONE", t, agent)[1], "not-authorized", "credentials-expired")

    def test_clients_have_own_tokens(self):
        u, a, b = self.user(), str(uuid.uuid4()), str(uuid.uuid4())
        ta, tb = self.token(u, "HT-SHA-256-NONE", a), self.token(u, "HT-SHA-256-NONE", b)
        self.success(self.use(u, "HT-SHA-256-NONE", ta, a, "invalidate='true'")[1])
        self.success(self.use(u, "HT-SHA-256-NONE", tb, b)[1])

    def test_count(self):
        u, agent = self.user(), str(uuid.uuid4())
        t = self.token(u, "HT-SHA-256-NONE", agent)
        for n in (1, 2, 10):
            self.success(self.use(u, "HT-SHA-256-NONE", t, agent, "count='%d'" % n)[1])


class ChannelBinding(Base):
    # XEP-0440
    def types(self, c):
        f = c.features.find("{%s}sasl-channel-binding" % CB)
        self.assertIsNotNone(f)
        return [t.get("type") for t in f]

    def test_types(self):
        t = self.types(self.connect())
        self.assertIn("tls-server-end-point", t)
        self.assertIn("tls-exporter", t)
        self.assertEqual(len(t), len(set(t)))

    def test_only_with_tls(self):
        c = self.conn()
        c.open()
        self.assertIsNone(c.features.find("{%s}sasl-channel-binding" % CB))

    def test_each_type(self):
        for t in self.types(self.connect()):
            if t in ("tls-server-end-point", "tls-exporter"):
                self.success(self.connect().auth2(self.user(), mech="SCRAM-SHA-256-PLUS", binding=t))
                self.failure(self.connect().auth2(self.user(), mech="SCRAM-SHA-256-PLUS", binding=t, bad_binding=True), "not-authorized")

    def test_an_unknown_type(self):
        c = self.connect()
        e = c.authenticate2("SCRAM-SHA-256-PLUS", b"p=tls-nonsense,,n=a,r=abcdef")
        self.failure(e, "not-authorized", "malformed-request")

    # XEP-0474 6.1
    def test_hash(self):
        for mech in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
            for sasl2 in (False, True):
                c, u = self.connect(), self.user()
                if sasl2:
                    self.success(c.auth2(u, mech=mech))
                else:
                    self.assertEqual(local(c.auth(u, mech=mech)), "success")
                first = next(e for e in c.seen if local(e) == "features" and e.find("{%s}mechanisms" % SASL) is not None)
                names = [m.text for m in first.find("{%s}%s" % ((SASL2, "authentication") if sasl2 else (SASL, "mechanisms")))
                         if local(m) == "mechanism"]
                types = [t.get("type") for t in first.find("{%s}sasl-channel-binding" % CB)]
                s = "\x1e".join(sorted(names)) + "\x1f" + "\x1e".join(sorted(types))
                h = base64.b64encode(hashlib.new("sha1" if mech == "SCRAM-SHA-1" else "sha256", s.encode()).digest()).decode()
                self.assertEqual(c.server_first.get("h"), h)


if __name__ == "__main__":
    lab.main()
