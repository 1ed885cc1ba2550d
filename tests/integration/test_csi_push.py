"""test_csi_push - what waits for an idle client (XEP-0352), and waking one that is gone (XEP-0357)."""
import lab
import xmppc
from case import ServerCase, at, settle
from xmppc import body_is, fence, is_, kid, local, text

CSI = "urn:xmpp:csi:0"
PUSH = "urn:xmpp:push:0"
STATE = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"


class Csi(ServerCase):
    def friends_idle(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<inactive xmlns='%s'/>" % CSI)
        a.seen.clear()
        return a, b

    def statuses(self, c):
        return [text(e, "status") for e in c.seen if local(e) == "presence" and text(e, "status")]

    def test_offered(self):
        a = self.authed()
        self.assertIn("{%s}csi" % CSI, [e.tag for e in a.features])

    def test_presence_waits_and_the_last_counts(self):
        a, b = self.friends_idle()
        for s in ("one", "two", "three"):
            b.presence(inner="<status>%s</status>" % s)
        settle(b, a.bare)
        a.send("<active xmlns='%s'/>" % CSI)
        a.sync()
        self.assertEqual(self.statuses(a), ["three"])

    def test_order_before_pong(self):
        """Section 5.1: what waited is sent before the answer to what came after <active/>."""
        a, b = self.friends_idle()
        b.presence(inner="<status>held</status>")
        settle(b, a.bare)
        a.send("<active xmlns='%s'/><iq type='get' id='p1' to='%s'><ping xmlns='%s'/></iq>" % (CSI, lab.DOMAIN, xmppc.PING))
        a.reply("p1")
        names = [local(e) for e in a.seen]
        self.assertLess(names.index("presence"), names.index("iq"))

    def test_important_lets_everything_out_in_order(self):
        a, b = self.friends_idle()
        b.presence(inner="<status>first</status>")
        b.message(a.jid, None, inner=STATE)
        settle(b, a.bare)
        b.message(a.jid, "now")
        a.wait(body_is("now"))
        kinds = [local(e) for e in a.seen]
        self.assertEqual(kinds[-3:], ["presence", "message", "message"])
        # it is still inactive
        b.presence(inner="<status>again</status>")
        settle(b, a.bare)
        b.message(a.jid, "more")
        a.wait(body_is("more"))
        self.assertEqual(self.statuses(a)[-1], "again")

    def test_subscription_is_not_held(self):
        a, c = self.friends_idle()[0], self.login()
        c.presence("subscribe", a.bare)
        a.wait(is_("presence", type_="subscribe"))

    def test_active_after_resumption(self):
        name = self.user()
        a, b = self.login(name, sm=True), self.login()
        self.friends(a, b)
        a.ack()
        a.send("<inactive xmlns='%s'/>" % CSI)
        a.sync()
        b.presence(inner="<status>away</status>")
        settle(b, a.bare)
        a.cut()
        again = self.authed(name)
        again.sm_resume(a)
        again.wait(lambda e: text(e, "status") == "away")
        b.presence(inner="<status>back</status>")
        again.wait(lambda e: text(e, "status") == "back")


class Push(ServerCase):
    """The app server is another account's client on a second hosted domain's place: any entity that answers iq will do."""

    def setUp(self):
        # a full JID of another hosted account is no service; refuse that, and use a service domain instead
        self.app = None

    def enable(self, c, jid="push.else.where", node="n1", form=""):
        return c.iq("set", "<enable xmlns='%s' jid='%s'%s>%s</enable>" % (PUSH, jid, " node='%s'" % node if node else "", form))

    def test_feature(self):
        a = self.login()
        f = {e.get("var") for e in a.get("http://jabber.org/protocol/disco#info", to=a.bare).iter() if local(e) == "feature"}
        self.assertIn(PUSH, f)

    def test_enable_and_disable(self):
        a = self.login()
        self.assertResult(self.enable(a))
        self.assertResult(self.enable(a))
        self.assertResult(self.enable(a, node="n2"))
        self.assertResult(a.iq("set", "<disable xmlns='%s' jid='push.else.where' node='n1'/>" % PUSH))
        self.assertError(a.iq("set", "<disable xmlns='%s' jid='push.else.where' node='n1'/>" % PUSH), "item-not-found")
        self.assertResult(a.iq("set", "<disable xmlns='%s' jid='push.else.where'/>" % PUSH))
        for bad, cond in (("<enable xmlns='%s'/>" % PUSH, "bad-request"), ("<enable xmlns='%s' jid='@'/>" % PUSH, "jid-malformed"),
                          ("<enable xmlns='%s' jid='%s'/>" % (PUSH, a.bare), "not-allowed"), ("<enable xmlns='%s' jid='%s'/>" % (PUSH, lab.DOMAIN), "not-allowed")):
            self.assertError(a.iq("set", bad), cond)
        b = self.login()
        self.assertError(a.iq("set", "<enable xmlns='%s' jid='p.q' node='n'/>" % PUSH, b.bare), ("forbidden", "service-unavailable"))

    def test_lasting_error_ends_it(self):
        """remote-server-not-found is an error that stays: the registration goes (section 7.1)."""
        name = self.user()
        a, b = self.login(name), self.login()
        self.assertResult(self.enable(a, "nowhere.invalid", "gone"))
        a.close()
        b.message(at(name), "wake up")
        lab.wait_until(lambda: "event=push-disabled" in self.d.log_text() and "node=gone" in self.d.log_text(), text="the registration's end in the log")
        a = self.login(name)
        self.assertError(a.iq("set", "<disable xmlns='%s' jid='nowhere.invalid'/>" % PUSH), "item-not-found")

    def test_survives_a_reload_of_the_account(self):
        name = self.user()
        a = self.login(name)
        form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='secret'><value>s3</value></field></x>"
        self.assertResult(self.enable(a, "later.invalid", "keep", form))
        self.d.ctl("account", "password", at(name), stdin=lab.PASSWORD + "\n")      # its sessions end, it is loaded anew
        a = self.login(name)
        self.assertResult(a.iq("set", "<disable xmlns='%s' jid='later.invalid' node='keep'/>" % PUSH))


if __name__ == "__main__":
    lab.main()
