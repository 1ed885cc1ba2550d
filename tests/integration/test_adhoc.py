"""test_adhoc - the frame of ad-hoc commands (XEP-0050), driven by those of XEP-0401."""
import lab
import xmppc
from case import ServerCase, at
from lab import DOMAIN
from xmppc import DISCO_INFO, DISCO_ITEMS, kid, local, nsof, show

CMD = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"
CREATE = "urn:xmpp:invite#create-account"
INVITE = "urn:xmpp:invite#invite"


class AdHoc(ServerCase):
    options = {"top": 'invites = "users"  admins = ( "boss@lab.test" "Chief@LAB.test" )', "accounts": ("boss", "chief"),
               "extra": 'domain "second.test" { XMPP_Role = "server" }'}

    def run_(self, c, node=CREATE, inner="", to=DOMAIN, **attrs):
        return c.iq("set", "<command xmlns='%s' node='%s'%s>%s</command>" % (
            CMD, node, "".join(" %s='%s'" % x for x in attrs.items()), inner), to=to)

    def begin(self, c):
        cmd = kid(self.run_(c), "command", CMD)
        return cmd.get("sessionid")

    def form(self, name="", kind="submit"):
        return "<x xmlns='%s' type='%s'><field var='username'><value>%s</value></field></x>" % (DATA, kind, name)

    def error(self, r, condition, specific=None, type_=None):
        self.assertError(r, condition, type_)
        got = [local(x) for x in kid(r, "error") if nsof(x) == CMD]
        self.assertEqual(got, [specific] if specific else [], show(r))

    def boss(self):
        return self.login("boss")

    def test_discovery(self):
        """2.1, 2.2."""
        c = self.boss()
        f = [x.get("var") for x in kid(c.get(DISCO_INFO, to=DOMAIN), "query", DISCO_INFO)]
        self.assertIn(CMD, f)
        i = kid(c.get(DISCO_INFO, to=DOMAIN, attrs="node='%s'" % CMD), "query", DISCO_INFO)
        self.assertEqual((i[0].get("category"), i[0].get("type")), ("automation", "command-list"))
        items = kid(c.get(DISCO_ITEMS, to=DOMAIN, attrs="node='%s'" % CMD), "query", DISCO_ITEMS)
        self.assertEqual(items.get("node"), CMD)
        got = {x.get("node"): (x.get("jid"), x.get("name")) for x in items}
        for node in (INVITE, CREATE):
            self.assertEqual(got[node][0], DOMAIN)
            self.assertTrue(got[node][1])
            q = kid(c.get(DISCO_INFO, to=DOMAIN, attrs="node='%s'" % node), "query", DISCO_INFO)
            self.assertEqual(q.get("node"), node)
            self.assertEqual((q[0].get("category"), q[0].get("type"), q[0].get("name")), ("automation", "command-node", got[node][1]))
            self.assertEqual({x.get("var") for x in q[1:]}, {CMD, DATA})

    def test_lists_show_what_one_may(self):
        c = self.login(self.user())
        items = kid(c.get(DISCO_ITEMS, to=DOMAIN, attrs="node='%s'" % CMD), "query", DISCO_ITEMS)
        self.assertNotIn(CREATE, [x.get("node") for x in items])
        self.error(c.get(DISCO_INFO, to=DOMAIN, attrs="node='%s'" % CREATE), "forbidden")
        self.error(c.get(DISCO_INFO, to=DOMAIN, attrs="node='nothing'"), "item-not-found")

    def test_one_step(self):
        """2.4.1."""
        c = self.boss()
        for attrs in ({}, {"action": "execute"}):
            cmd = kid(self.run_(c, INVITE, **attrs), "command", CMD)
            self.assertEqual((cmd.get("status"), cmd.get("node")), ("completed", INVITE))
            self.assertTrue(cmd.get("sessionid"))
            self.assertIsNone(kid(cmd, "actions"))
            self.assertEqual(kid(cmd, "x", DATA).get("type"), "result")

    def test_two_steps(self):
        """2.4.2."""
        for action in (None, "execute", "complete"):
            c = self.boss()
            cmd = kid(self.run_(c), "command", CMD)
            self.assertEqual((cmd.get("status"), cmd.get("node")), ("executing", CREATE))
            a = kid(cmd, "actions")
            self.assertEqual((a.get("execute"), [local(x) for x in a]), ("complete", ["complete"]))
            self.assertEqual(kid(cmd, "x", DATA).get("type"), "form")
            attrs = {"sessionid": cmd.get("sessionid")}
            if action:
                attrs["action"] = action
            done = kid(self.run_(c, inner=self.form(), **attrs), "command", CMD)
            self.assertEqual((done.get("status"), done.get("sessionid")), ("completed", cmd.get("sessionid")))
            # over
            self.error(self.run_(c, inner=self.form(), **attrs), "not-allowed", "session-expired", "cancel")

    def test_cancel(self):
        """2.4.3."""
        c = self.boss()
        sid = self.begin(c)
        cmd = kid(self.run_(c, sessionid=sid, action="cancel"), "command", CMD)
        self.assertEqual((cmd.get("status"), cmd.get("sessionid"), len(cmd)), ("canceled", sid, 0))
        self.error(self.run_(c, sessionid=sid, action="cancel"), "not-allowed", "session-expired")

    def test_actions(self):
        """4.4."""
        c = self.boss()
        sid = self.begin(c)
        self.error(self.run_(c, sessionid=sid, action="jump"), "bad-request", "malformed-action", "modify")
        for action in ("prev", "next"):
            self.error(self.run_(c, sessionid=sid, action=action), "bad-request", "bad-action", "modify")
        self.error(self.run_(c, action="jump"), "bad-request", "malformed-action")
        for action in ("prev", "next", "complete", "cancel"):
            self.error(self.run_(c, action=action), "bad-request", "bad-action")
        # the session lives on
        self.assertResult(self.run_(c, sessionid=sid, inner=self.form()))

    def test_payload(self):
        c = self.boss()
        sid = self.begin(c)
        for inner in ("", "<x xmlns='%s' type='nonsense'/>" % DATA, self.form("a b"),
                      "<x xmlns='%s' type='submit'>%s</x>" % (DATA, "<field var='a'/>" * 300)):
            self.error(self.run_(c, sessionid=sid, inner=inner), "bad-request", "bad-payload", "modify")
        # 3.5.1: a form of type cancel is one that was submitted
        self.assertResult(self.run_(c, sessionid=sid, inner=self.form(kind="cancel")))

    def test_session_of_somebody_else(self):
        a, b = self.boss(), self.boss()         # two clients of one account
        sid = self.begin(a)
        self.error(self.run_(b, sessionid=sid, inner=self.form()), "bad-request", "bad-sessionid", "modify")
        self.error(self.run_(b, sessionid=sid, action="cancel"), "bad-request", "bad-sessionid")
        self.error(self.run_(a, sessionid="nothing", inner=self.form()), "bad-request", "bad-sessionid")
        self.error(self.run_(a, sessionid="", inner=self.form()), "bad-request", "bad-sessionid")
        self.error(self.run_(a, node=INVITE, sessionid=sid), "bad-request", "bad-sessionid")
        self.assertResult(self.run_(a, sessionid=sid, inner=self.form()))

    def test_permissions(self):
        """Those who may not, at every step."""
        user = self.login(self.user())
        self.error(self.run_(user), "forbidden", None, "auth")
        boss = self.boss()
        sid = self.begin(boss)
        self.error(self.run_(user, sessionid=sid, inner=self.form()), "forbidden")
        self.error(self.run_(boss, node="nothing"), "item-not-found", None, "cancel")
        self.error(self.run_(boss, node=""), "item-not-found")
        # of another domain of ours: not an account there
        self.error(self.run_(user, INVITE, to="second.test"), "forbidden")
        # addresses in the configuration are prepared
        self.assertResult(self.run_(self.login("chief")))

    def test_no_longer_permitted(self):
        boss = self.boss()
        sid = self.begin(boss)
        text = self.d.conf.read_text()
        self.addCleanup(self.reload, text)
        self.reload(text.replace('"boss@lab.test"', ""))
        self.error(self.run_(boss, sessionid=sid, inner=self.form()), "forbidden")

    def reload(self, text):
        self.d.write_config(text)
        self.d.ctl("config", "reload")

    def test_many_sessions(self):
        """The one unused longest makes room."""
        c = self.boss()
        sids = [self.begin(c) for _ in range(12)]
        self.error(self.run_(c, sessionid=sids[0], inner=self.form()), "not-allowed", "session-expired")
        self.assertResult(self.run_(c, sessionid=sids[-1], inner=self.form()))

    def test_get_is_no_command(self):
        r = self.boss().iq("get", "<command xmlns='%s' node='%s'/>" % (CMD, INVITE), to=DOMAIN)
        self.assertEqual(r.get("type"), "error")

    def test_gone_in_the_middle(self):
        for _ in range(10):
            c = self.boss()
            c.send("<iq type='set' id='1' to='%s'><command xmlns='%s' node='%s'/></iq>" % (DOMAIN, CMD, INVITE))
            c.cut()
        self.boss().sync()

    def test_slixmpp(self):
        """A stock client."""
        s = xmppc.Slix(self.port, "boss")
        self.addCleanup(s.close)
        s.client.register_plugin("xep_0004")
        s.client.register_plugin("xep_0050")
        r = s.call(s.client["xep_0050"].get_commands, DOMAIN)
        self.assertIn(INVITE, [i[1] for i in r["disco_items"]["items"]])


if __name__ == "__main__":
    lab.main()
