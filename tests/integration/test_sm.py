"""test_sm - XEP-0198: acknowledgements, resumption, and what becomes of the unacknowledged."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import SM, STANZA_ERRORS, body_is, fence, is_, local, nsof, show, text


def condition(e):
    return [local(c) for c in e if nsof(c) == STANZA_ERRORS]


class Enable(ServerCase):
    def test_feature(self):
        c = self.authed()
        self.assertIsNotNone(c.features.find("{%s}sm" % SM))

    def test_enable(self):
        c = self.login()
        e = c.sm_enable()
        self.assertEqual(local(e), "enabled")
        self.assertIn(e.get("resume"), ("true", "1"))
        self.assertTrue(e.get("id"))

    def test_enable_without_resume(self):
        c = self.login()
        e = c.sm_enable(resume=False)
        self.assertEqual(local(e), "enabled")
        self.assertIn(e.get("resume"), (None, "false", "0"))

    def test_enable_before_bind(self):
        """Section 3: after resource binding only."""
        c = self.authed()
        try:
            e = c.sm_enable()
            self.assertEqual(local(e), "failed")
            self.assertEqual(condition(e), ["unexpected-request"])
        except xmppc.Closed:
            self.assertIsNotNone(c.stream_error)

    def test_enable_before_authentication(self):
        c = self.connect()
        c.send("<enable xmlns='%s'/>" % SM)
        try:
            self.assertEqual(local(c.wait()), "failed")
        except (xmppc.Closed, AssertionError):
            self.assertIn(c.wait_end(), ("not-authorized", "policy-violation", "unsupported-stanza-type"))

    def test_enable_twice(self):
        """Section 3: MUST NOT be enabled twice on a stream."""
        c = self.login()
        c.sm_enable()
        c.send("<enable xmlns='%s'/>" % SM)
        try:
            e = c.wait(lambda e: nsof(e) == SM)
            self.assertEqual((local(e), condition(e)), ("failed", ["unexpected-request"]))
        except xmppc.Closed:
            self.assertIsNotNone(c.stream_error)

    def test_ids_are_not_guessable(self):
        ids = []
        for _ in range(5):
            c = self.login()
            c.sm_enable()
            ids.append(c.sm_id)
        self.assertEqual(len(set(ids)), 5)
        self.assertTrue(all(len(i) >= 12 for i in ids), ids)


class Acks(ServerCase):
    def test_counts_what_came_after_enable(self):
        c = self.login(presence=False)
        c.sync()
        c.sm_enable()
        self.assertEqual(c.sm_request(), 0)
        c.sync()
        self.assertEqual(c.sm_request(), 1)
        c.presence()
        c.message(c.jid, "x")
        self.assertEqual(c.sm_request(), 3)

    def test_non_stanzas_do_not_count(self):
        c = self.login(presence=False, sm=True)
        for _ in range(5):
            self.assertEqual(c.sm_request(), 0)
        c.send("<a xmlns='%s' h='0'/>" % SM)
        self.assertEqual(c.sm_request(), 0)

    def test_every_kind_counts(self):
        """Also those that end in an error, for nobody, or malformed in content."""
        c = self.login(presence=False, sm=True)
        c.send("<iq type='bogus' id='1'/>")
        c.message(at("nobody-here"), "x")
        c.presence("bogus")
        c.send("<message/>")
        c.send("<iq type='result' id='never-asked'/>")
        lab.wait_until(lambda: c.sm_request() == 5, text="h to be 5, is %d" % c.sm_acked)

    def test_request_in_one_write_with_stanzas(self):
        c = self.login(presence=False, sm=True)
        c.send("".join("<message to='%s'><body>x</body></message>" % c.jid for _ in range(100)) + "<r xmlns='%s'/>" % SM)
        h = int(c.wait(lambda e: local(e) == "a").get("h"))
        self.assertLessEqual(h, 100)
        lab.wait_until(lambda: c.sm_request() == 100, text="100 counted")

    def test_server_asks(self):
        """Section 4: sooner or later the server wants to know."""
        c = self.login(sm=True)
        c.auto_ack = False
        a = self.login()
        for i in range(20):
            a.message(c.jid, "x%d" % i)
        c.wait(lambda e: e.tag == "{%s}r" % SM, 30)

    def test_too_high_count_ends_the_stream(self):
        """Section 4: handled-count-too-high."""
        c = self.login(sm=True)
        c.send("<a xmlns='%s' h='100000'/>" % SM)
        self.assertEqual(c.wait_end(), "undefined-condition")
        self.assertTrue(any("handled-count-too-high" in show(e) for e in c.seen))

    def test_odd_counts_do_no_harm(self):
        for h in ("-1", "x", "", "4294967296", "99999999999999999999999", "1.5"):
            with self.subTest(h=h):
                c = self.login(sm=True)
                c.send("<a xmlns='%s' h='%s'/>" % (SM, h))
                try:
                    c.sync()
                except xmppc.Closed:
                    self.assertIsNotNone(c.stream_error)
        self.assertTrue(self.d.alive())

    def test_not_enabled(self):
        c = self.login()
        c.send("<a xmlns='%s' h='0'/>" % SM)
        try:
            c.sync()
        except xmppc.Closed:
            self.assertIsNotNone(c.stream_error)


class Resume(ServerCase):
    def pair(self, **kw):
        """A session with SM and another client to write to it."""
        name = self.user()
        return name, self.login(name, sm=True, **kw), self.login()

    def resumed(self, name, old, h=None):
        c = self.authed(name)
        e = c.sm_resume(old, h)
        self.assertEqual(local(e), "resumed", show(e))
        self.assertEqual(e.get("previd"), old.sm_id)
        return c

    def test_nothing_missed(self):
        name, c, a = self.pair()
        a.message(c.jid, "one")
        c.wait(body_is("one"))
        c.cut()
        for w in ("two", "three"):
            a.message(c.jid, w)
        settle(a, c.bare)
        d = self.resumed(name, c)
        self.assertEqual([text(d.wait("message")) for _ in range(2)], ["two", "three"])
        self.none_of(fence(a, d), "message", type_="chat")

    def test_unacknowledged_come_again(self):
        """Section 5: from the client's h on."""
        name, c, a = self.pair()
        c.auto_ack = False
        h = c.sm_in
        for i in range(5):
            a.message(c.jid, "m%d" % i)
        c.wait_all(body_is("m"), 5)
        c.cut()
        d = self.resumed(name, c, h + (c.sm_in - h) - 3)
        self.assertEqual([text(d.wait(body_is("m"))) for _ in range(3)], ["m2", "m3", "m4"])
        self.assertEqual([e for e in fence(a, d) if body_is("m")(e)], [])

    def test_servers_count_goes_on(self):
        """<resumed/> tells what the server has handled; later counts add up."""
        name, c, a = self.pair(presence=False)
        for i in range(3):
            c.message(a.jid, "z%d" % i)
        a.wait(body_is("z2"))
        self.assertEqual(c.sm_request(), 3)
        c.cut()
        d = self.resumed(name, c)
        self.assertEqual(d.sm_acked, 3)
        d.message(a.jid, "z3")
        a.wait(body_is("z3"))
        self.assertEqual(d.sm_request(), 4)

    def test_session_is_whole_again(self):
        name, c, a = self.pair()
        self.friends(c, a)
        c.cut()
        d = self.resumed(name, c)
        self.assertEqual(d.jid, c.jid)
        d.message(a.jid, "from the resumed")
        self.assertEqual(a.wait(body_is("from the resumed")).get("from"), c.jid)
        a.message(c.bare, "to bare")
        d.wait(body_is("to bare"))
        self.assertEqual(list(d.roster()), [a.bare])

    def test_others_see_no_gap(self):
        """Section 5: no unavailable while the session may come back."""
        name, c, a = self.pair()
        self.friends(c, a)
        c.cut()
        settle(a, c.bare)
        d = self.resumed(name, c)
        self.none_of(fence(d, a), "presence", from_=c.jid, type_="unavailable")

    def test_while_the_old_connection_seems_alive(self):
        """The client knows best: the new connection takes over."""
        name, c, a = self.pair()
        d = self.resumed(name, c)
        c.wait_end()
        a.message(d.jid, "to the new one")
        d.wait(body_is("to the new one"))

    def test_again_and_again(self):
        name, c, a = self.pair()
        for i in range(10):
            a.message(c.jid, "r%d" % i)
            if i % 2:
                c.wait(body_is("r%d" % i))
            c.cut()
            d = self.resumed(name, c)
            if i % 2 == 0:
                d.wait(body_is("r%d" % i))
            c = d
        self.none_of(fence(a, c), "message", type_="chat")

    def test_by_another_account(self):
        """Section 5: not theirs to resume; looks like an unknown one."""
        name, c, a = self.pair()
        c.cut()
        thief = self.authed()
        e = thief.sm_resume(c)
        self.assertEqual((local(e), condition(e)), ("failed", ["item-not-found"]))
        # the owner still can
        self.resumed(name, c)

    def test_unknown_id(self):
        c = self.authed()
        c.sm_id, c.sm_in = "no-such-session", 0
        e = c.sm_resume(c)
        self.assertEqual((local(e), condition(e)), ("failed", ["item-not-found"]))
        # a failed resumption leaves the stream ready to bind
        self.assertResult(c.bind())

    def test_too_high_count(self):
        name, c, a = self.pair()
        c.cut()
        d = self.authed(name)
        try:
            e = d.sm_resume(c, c.sm_in + 1000)
            self.assertEqual(local(e), "failed", show(e))
        except xmppc.Closed:
            self.assertIn(d.stream_error, ("undefined-condition", None))

    def test_after_bind(self):
        """Section 5: instead of binding, not after it."""
        name, c, a = self.pair()
        c.cut()
        d = self.login(name)
        try:
            e = d.sm_resume(c)
            self.assertEqual((local(e), condition(e)), ("failed", ["unexpected-request"]))
        except xmppc.Closed:
            self.assertIsNotNone(d.stream_error)

    def test_closed_stream_cannot_be_resumed(self):
        """Section 5: </stream:stream> is goodbye."""
        name, c, a = self.pair()
        c.close()
        d = self.authed(name)
        e = d.sm_resume(c)
        self.assertEqual((local(e), condition(e)), ("failed", ["item-not-found"]))

    def test_not_resumable(self):
        name = self.user()
        c = self.login(name)
        e = c.sm_enable(resume=False)
        c.sm_id = e.get("id") or "none"
        c.cut()
        d = self.authed(name)
        self.assertEqual(local(d.sm_resume(c)), "failed")

    def test_new_bind_of_the_same_resource_ends_the_old(self):
        name = self.user()
        c = self.login(name, "res", sm=True)
        a = self.login()
        c.cut()
        a.message(at(name) + "/res", "unseen")
        settle(a, at(name))
        d = self.login(name, "res")
        d.wait(body_is("unseen"))
        e = self.authed(name).sm_resume(c)
        self.assertEqual(local(e), "failed")


class TimeOut(ServerCase):
    """A session that does not come back: what it never acknowledged is delivered elsewhere."""
    options = {"xmpp": "sm_resume_timeout = 1"}

    def enable_short(self, c):
        e = c.sm_enable()
        self.assertEqual(local(e), "enabled")
        self.assertEqual(e.get("max"), "1")

    def test_unacknowledged_go_offline(self):
        name, a = self.user(), self.login()
        c = self.login(name)
        self.enable_short(c)
        c.auto_ack = False
        a.message(c.jid, "lost-1")
        a.message(c.bare, "lost-2")
        c.wait(body_is("lost-2"))
        c.cut()
        a.message(c.jid, "lost-3")
        settle(a, c.bare)

        def gone():
            return not any(c.jid in line for line in self.d.ctl("session", "list").splitlines())
        lab.wait_until(gone, 20, "the session to time out")
        d = self.login(name)
        got = {text(d.wait(body_is("lost"))) for _ in range(3)}
        self.assertEqual(got, {"lost-1", "lost-2", "lost-3"})

    def test_acknowledged_do_not_come_again(self):
        name, a = self.user(), self.login()
        c = self.login(name)
        self.enable_short(c)
        a.message(c.jid, "seen")
        c.wait(body_is("seen"))
        c.ack()
        c.sync()
        c.cut()
        lab.wait_until(lambda: c.jid not in self.d.ctl("session", "list"), 20, "the session to time out")
        d = self.login(name)
        self.assertEqual([e for e in fence(d, d) if body_is("seen")(e)], [])

    def test_unacknowledged_go_to_another_resource(self):
        name, a = self.user(), self.login()
        c, other = self.login(name), self.login(name)
        self.enable_short(c)
        c.auto_ack = False
        a.message(c.jid, "elsewhere")
        c.wait(body_is("elsewhere"))
        c.cut()
        other.wait(body_is("elsewhere"), 30)

    def test_unavailable_at_the_end(self):
        name, a = self.user(), self.login()
        c = self.login(name)
        self.friends(c, a)
        self.enable_short(c)
        c.cut()
        a.wait(is_("presence", from_=c.jid, type_="unavailable"), 30)

    def test_resume_too_late(self):
        name, a = self.user(), self.login()
        c = self.login(name)
        self.friends(c, a)
        self.enable_short(c)
        c.cut()
        a.wait(is_("presence", from_=c.jid, type_="unavailable"), 30)
        d = self.authed(name)
        e = d.sm_resume(c)
        self.assertEqual((local(e), condition(e)), ("failed", ["item-not-found"]))

    def test_lost_without_sm(self):
        """Without SM only what the socket swallowed may be lost: what comes after does not."""
        name, a = self.user(), self.login()
        c = self.login(name)
        self.friends(c, a)
        c.cut()
        a.wait(is_("presence", from_=c.jid, type_="unavailable"))
        a.message(at(name), "after")
        settle(a, at(name))
        self.login(name).wait(body_is("after"))


if __name__ == "__main__":
    lab.main()
