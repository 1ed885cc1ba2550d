"""test_spec_sm - XEP-0198, rule by rule: acknowledgements, resumption, errors; what becomes of what was not acknowledged."""
import lab
import xmppc
from case import at, settle
from speclib import SpecCase, presences
from xmppc import BIND, SM, STANZA_ERRORS, body_is, is_, kid, local, nsof, show, text

MAM = "urn:xmpp:mam:2"


class Base(SpecCase):
    def sm(self, e, name, condition=None):
        self.assertEqual((nsof(e), local(e)), (SM, name), show(e))
        if condition:
            self.assertIn(condition, [local(x) for x in e if nsof(x) == STANZA_ERRORS], show(e))
        return e

    def nonza(self, c, text_):
        c.send(text_)
        return c.wait(lambda e: nsof(e) == SM)


class Acks(Base):
    # 2
    def test_feature_after_authentication_only(self):
        c = self.connect()
        self.assertIsNone(c.features.find("{%s}sm" % SM))
        self.assertIsNotNone(self.authed().features.find("{%s}sm" % SM))

    # 3
    def test_enable(self):
        c = self.login()
        e = self.sm(c.sm_enable(resume=False), "enabled")
        self.assertNotIn(e.get("resume"), ("true", "1"))

    def test_enable_with_resume(self):
        for value in ("true", "1"):
            c = self.login()
            e = self.sm(self.nonza(c, "<enable xmlns='%s' resume='%s'/>" % (SM, value)), "enabled")
            self.assertIn(e.get("resume"), ("true", "1"))
            self.assertTrue(e.get("id"))
            self.assertLessEqual(len(e.get("id")), 4000)
            if e.get("max"):
                self.assertGreater(int(e.get("max")), 0)

    def test_enable_with_resume_false(self):
        for value in ("false", "0"):
            c = self.login()
            e = self.sm(self.nonza(c, "<enable xmlns='%s' resume='%s'/>" % (SM, value)), "enabled")
            self.assertNotIn(e.get("resume"), ("true", "1"))

    def test_max_of_the_client(self):
        c = self.login()
        e = self.sm(self.nonza(c, "<enable xmlns='%s' resume='true' max='60'/>" % SM), "enabled")
        if e.get("max"):
            self.assertLessEqual(int(e.get("max")), 60)

    def test_ids_differ(self):
        self.assertEqual(len({self.login(sm=True).sm_id for _ in range(4)}), 4)

    def test_enable_before_authentication(self):
        c = self.connect()
        c.send("<enable xmlns='%s'/>" % SM)
        e = c.wait()
        if nsof(e) == SM:
            self.sm(e, "failed", "unexpected-request")
        else:
            self.assertEqual(c.wait_end(), "not-authorized")

    def test_enable_before_binding(self):
        c = self.authed()
        self.sm(self.nonza(c, "<enable xmlns='%s'/>" % SM), "failed", "unexpected-request")
        self.assertResult(c.bind("after"))
        self.sm(c.sm_enable(), "enabled")

    def test_enable_twice(self):
        c = self.login(sm=True)
        c.send("<enable xmlns='%s'/>" % SM)
        e = c.wait()
        if nsof(e) == SM:
            self.sm(e, "failed", "unexpected-request")
        else:
            self.assertIsNotNone(c.wait_end())

    # 4
    def test_counting(self):
        c = self.login(sm=True, presence=False)
        self.assertEqual(c.sm_request(), 0)
        c.message(c.bare, "one")
        self.assertEqual(c.sm_request(), 1)
        c.presence()
        c.iq("get", "<ping xmlns='%s'/>" % xmppc.PING)
        self.assertEqual(c.sm_request(), 3)
        # nonzas and white space do not count
        c.send(" \n<r xmlns='%s'/><a xmlns='%s' h='%d'/>" % (SM, SM, c.sm_in))
        self.assertEqual(c.sm_request() or c.sm_acked, 3)

    def test_stanzas_refused_with_an_error_count(self):
        c = self.login(sm=True, presence=False)
        c.message("a@b@c", "bad")
        c.send("<iq type='get' id='x'/><presence type='nonsense'/>")
        self.assertEqual(c.sm_request(), 3)

    def test_request_without_pause(self):
        c = self.login(sm=True, presence=False)
        c.send("".join("<message to='%s'><body>%d</body></message><r xmlns='%s'/>" % (c.bare, i, SM) for i in range(20)))
        h = [int(c.wait(lambda e: e.tag == "{%s}a" % SM).get("h")) for _ in range(20)]
        # an answer may wait until what came before is safe: it then tells of more
        self.assertEqual(h, sorted(h))
        self.assertTrue(all(x >= i + 1 for i, x in enumerate(h)), h)
        self.assertEqual(h[-1], 20)

    def test_enable_and_stanzas_in_one_packet(self):
        c = self.login(presence=False)
        c.send("<enable xmlns='%s'/><message to='%s'><body>x</body></message><r xmlns='%s'/>" % (SM, c.bare, SM))
        self.sm(c.wait(lambda e: nsof(e) == SM), "enabled")
        self.assertEqual(c.wait(lambda e: e.tag == "{%s}a" % SM).get("h"), "1")

    def test_server_asks(self):
        a, b = self.login(), self.login(sm=True)
        b.auto_ack = False
        a.message(b.bare, "x")
        b.wait(lambda e: e.tag == "{%s}r" % SM)
        b.ack()
        b.sync()

    def test_r_before_enable(self):
        c = self.login()
        c.send("<r xmlns='%s'/>" % SM)
        try:
            e = c.wait()
            self.assertIn(local(e), ("failed", "error"), show(e))
        except (xmppc.Closed, lab.TimedOut):
            pass

    # 6
    def test_ack_too_high(self):
        c = self.login(sm=True)
        c.send("<a xmlns='%s' h='%d'/>" % (SM, c.sm_in + 10))
        self.assertEqual(c.wait_end(), "undefined-condition")
        e = next(e for e in c.seen if local(e) == "error")
        t = kid(e, "handled-count-too-high", SM)
        self.assertIsNotNone(t, show(e))
        self.assertEqual(int(t.get("h")), c.sm_in + 10)
        self.assertEqual(int(t.get("send-count")), c.sm_in)

    def test_bad_acks(self):
        for a in ("<a xmlns='%s'/>", "<a xmlns='%s' h='x'/>", "<a xmlns='%s' h='-1'/>", "<a xmlns='%s' h=''/>"):
            c = self.login(sm=True)
            c.send(a % SM)
            try:
                c.sync()
            except xmppc.Closed:
                self.assertIsNotNone(c.stream_error)

    def test_ack_lower_than_before(self):
        c = self.login(sm=True)
        c.ack()
        c.send("<a xmlns='%s' h='0'/>" % SM)
        try:
            c.sync()
        except xmppc.Closed:
            self.assertIsNotNone(c.stream_error)


class Resumption(Base):
    def back(self, old, h=None):
        c = self.authed(old.bare.partition("@")[0])
        return c, c.sm_resume(old, h)

    # 5
    def test_resume(self):
        a, b = self.login(), self.login(sm=True)
        b.auto_ack = False
        for i in range(3):
            a.message(b.bare, "m%d" % i)
        b.wait(body_is("m2"))
        h = b.sm_in - 2         # two of them were not handled
        b.message(a.bare, "mine")
        a.wait(body_is("mine"))
        b.cut()
        a.message(b.bare, "m3")
        c, e = self.back(b, h)
        self.sm(e, "resumed")
        self.assertEqual(e.get("previd"), b.sm_id)
        # initial presence and one message
        self.assertEqual(int(e.get("h")), 2)
        self.assertEqual([text(c.wait("message")) for _ in range(3)], ["m1", "m2", "m3"])
        c.message(a.bare, "back")
        self.assertEqual(a.wait(body_is("back")).get("from"), b.jid)
        self.assertEqual(c.sm_request(), 3)

    def test_contacts_notice_nothing(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        b.presence(inner="<show>away</show>")
        a.wait(lambda e: text(e, "show") == "away")
        b.cut()
        c, e = self.back(b)
        self.sm(e, "resumed")
        c.presence(inner="<show>dnd</show>")
        a.wait(lambda e: text(e, "show") == "dnd")
        self.assertEqual([show(x) for x in presences(a.drain(), "unavailable")], [])
        self.none_of([e for e in a.seen if e.get("from") == b.jid], "presence", type_="unavailable")

    def test_still_available_while_away(self):
        a, b = self.login(), self.login(sm=True)
        self.friends(a, b)
        b.cut()
        a.presence("probe", b.bare)
        self.assertEqual(a.wait(is_("presence", from_=b.jid)).get("type"), None)
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><query xmlns='t:q'/></iq>" % (id_, b.jid))
        c, e = self.back(b)
        self.sm(e, "resumed")
        q = c.wait(is_("iq", id=id_))
        self.assertEqual(q.get("from"), a.jid)

    def test_resume_again_and_again(self):
        a, c = self.login(), self.login(sm=True)
        for i in range(4):
            jid = c.jid
            old = c
            old.cut()
            a.message(jid, "r%d" % i)
            c, e = self.back(old)
            self.sm(e, "resumed")
            if not c.sm_id:
                c.sm_id = old.sm_id
            c.wait(body_is("r%d" % i))
            c.ack()
            c.sync()

    def test_the_old_stream_ends_with_conflict(self):
        b = self.login(sm=True)
        c, e = self.back(b)
        self.sm(e, "resumed")
        self.assertEqual(b.wait_end(), "conflict")
        c.sync()

    def test_unknown_id(self):
        c = self.authed()
        e = self.nonza(c, "<resume xmlns='%s' previd='no-such-id' h='0'/>" % SM)
        self.sm(e, "failed", "item-not-found")
        self.assertResult(c.bind("r"))      # SHOULD: go on by binding
        self.sm(c.sm_enable(), "enabled")

    def test_id_of_another_account(self):
        b, o = self.login(sm=True), self.user()
        b.cut()
        c = self.authed(o)
        self.sm(self.nonza(c, "<resume xmlns='%s' previd='%s' h='0'/>" % (SM, b.sm_id)), "failed", "item-not-found")
        c, e = self.back(b)
        self.sm(e, "resumed")

    def test_not_resumable(self):
        b = self.login()
        e = b.sm_enable(resume=False)
        b.cut()
        c = self.authed(b.bare.partition("@")[0])
        e = self.nonza(c, "<resume xmlns='%s' previd='%s' h='0'/>" % (SM, e.get("id") or "none"))
        self.sm(e, "failed", "item-not-found")

    def test_closed_streams_cannot_be_resumed(self):
        b = self.login(sm=True)
        b.close()
        c, e = self.back(b, 0)
        self.sm(e, "failed", "item-not-found")

    def test_malformed_resume(self):
        for r in ("<resume xmlns='%s'/>", "<resume xmlns='%s' h='0'/>", "<resume xmlns='%s' previd='x'/>",
                  "<resume xmlns='%s' previd='x' h='y'/>", "<resume xmlns='%s' previd='' h='0'/>"):
            c = self.authed()
            c.send(r % SM)
            e = c.wait()
            if nsof(e) == SM:
                self.sm(e, "failed")
                self.assertEqual(len([x for x in e if nsof(x) == STANZA_ERRORS]), 1)
                self.assertResult(c.bind("r"))
            else:
                self.assertIsNotNone(c.wait_end())

    def test_resume_before_authentication(self):
        b = self.login(sm=True)
        b.cut()
        c = self.connect()
        c.send("<resume xmlns='%s' previd='%s' h='0'/>" % (SM, b.sm_id))
        e = c.wait()
        if nsof(e) == SM:
            self.sm(e, "failed", "unexpected-request")
        else:
            self.assertEqual(c.wait_end(), "not-authorized")

    def test_resume_after_binding(self):
        b = self.login(sm=True)
        b.cut()
        c = self.login(b.bare.partition("@")[0])
        c.send("<resume xmlns='%s' previd='%s' h='0'/>" % (SM, b.sm_id))
        e = c.wait(lambda e: nsof(e) == SM or local(e) == "error")
        if nsof(e) == SM:
            self.sm(e, "failed", "unexpected-request")

    def test_resume_with_h_too_high(self):
        b = self.login(sm=True)
        b.cut()
        c = self.authed(b.bare.partition("@")[0])
        c.send("<resume xmlns='%s' previd='%s' h='%d'/>" % (SM, b.sm_id, b.sm_in + 50))
        e = c.wait()
        if nsof(e) == SM:
            self.sm(e, "failed")
        else:
            self.assertEqual(c.wait_end(), "undefined-condition")
            self.assertIsNotNone(kid(e, "handled-count-too-high", SM))

    def test_roster_interest_and_carbons_are_kept(self):
        b = self.login(sm=True)
        b.roster()
        self.assertResult(b.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>"))
        b.cut()
        c, e = self.back(b)
        self.sm(e, "resumed")
        self.add(c, "n@x.test")
        self.push(c, "n@x.test")
        o = self.login()
        d = self.login(b.bare.partition("@")[0])
        o.message(d.jid, "for d")
        c.wait(lambda e: kid(e, "received", "urn:xmpp:carbons:2") is not None)


class Unacknowledged(Base):
    """4: what nobody acknowledged is as if it had been sent to an unavailable resource."""
    options = {**SpecCase.options, "xmpp": "sm_resume_timeout = 1"}

    def gone(self, b, other):
        """Wait until the server gave the session of <b> up."""
        jid = b.jid
        b.cut()
        other.wait(is_("presence", type_="unavailable", from_=jid), 20)

    def test_messages_are_kept_with_their_time(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        b.auto_ack = False
        a.message(b.bare, "bare")
        a.message(b.jid, "full")
        b.wait(body_is("full"))
        self.gone(b, a)
        c = self.login(b.bare.partition("@")[0])
        for w in ("bare", "full"):
            e = c.wait(body_is(w))
            self.assertIsNotNone(kid(e, "delay", xmppc.DELAY), show(e))
            self.assertEqual(e.get("from"), a.jid)

    def test_messages_go_to_another_resource(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        b.auto_ack = False
        c = self.login(b.bare.partition("@")[0])
        a.message(b.jid, "only for b")
        b.wait(body_is("only for b"))
        self.gone(b, a)
        c.wait(body_is("only for b"))

    def test_requests_are_answered(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        b.auto_ack = False
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><query xmlns='t:q'/></iq>" % (id_, b.jid))
        b.wait(is_("iq", id=id_))
        self.gone(b, a)
        self.assertError(a.reply(id_), ("service-unavailable", "recipient-unavailable"))

    def test_acknowledged_messages_do_not_come_again(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        a.message(b.bare, "seen")
        b.wait(body_is("seen"))
        b.ack()
        b.sync()
        self.gone(b, a)
        c = self.login(b.bare.partition("@")[0])
        self.none_of(xmppc.fence(a, c), "message")

    def test_headlines_and_groupchat_are_not_kept(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        b.auto_ack = False
        a.message(b.jid, "news", "headline")
        b.wait(body_is("news"))
        self.gone(b, a)
        c = self.login(b.bare.partition("@")[0])
        self.none_of(xmppc.fence(a, c), "message")

    def test_too_late(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        h = b.sm_in
        self.gone(b, a)
        c = self.authed(b.bare.partition("@")[0])
        e = self.nonza(c, "<resume xmlns='%s' previd='%s' h='%d'/>" % (SM, b.sm_id, h))
        self.sm(e, "failed", "item-not-found")
        self.assertResult(c.bind())

    def test_the_archive_has_each_once(self):
        a, b = self.interested(), self.login(sm=True)
        self.friends(a, b)
        b.auto_ack = False
        a.message(b.bare, "arch")
        b.wait(body_is("arch"))
        self.gone(b, a)
        c = self.login(b.bare.partition("@")[0])
        c.wait(body_is("arch"))
        c.drain()
        c.iq("set", "<query xmlns='%s'/>" % MAM)
        got = [e for e in c.drain() if kid(e, "result", MAM) is not None and "arch" in show(e)]
        self.assertEqual(len(got), 1)


if __name__ == "__main__":
    lab.main()
