"""test_disco - XEP-0030, 0092, 0199, 0202 as every server has them."""
import datetime

import lab
import xmppc
from case import ServerCase, at
from xmppc import DISCO_INFO, DISCO_ITEMS, PING, is_, kid, local, show, text


class Disco(ServerCase):
    def info(self, c, to, node=None):
        r = c.get(DISCO_INFO, to=to, attrs="node='%s'" % node if node else "")
        self.assertResult(r)
        q = kid(r, "query", DISCO_INFO)
        return ({(i.get("category"), i.get("type")) for i in q if local(i) == "identity"},
                [f.get("var") for f in q if local(f) == "feature"])

    def test_server(self):
        ids, features = self.info(c := self.login(), c.domain)
        self.assertIn(("server", "im"), ids)
        for f in (DISCO_INFO, DISCO_ITEMS, PING, "jabber:iq:version", "urn:xmpp:time", "msgoffline"):
            self.assertIn(f, features)
        self.assertEqual(len(features), len(set(features)), "a feature is named twice")

    def test_answer_has_from(self):
        c = self.login()
        self.assertEqual(c.get(DISCO_INFO, to=c.domain).get("from"), c.domain)

    def test_own_account(self):
        ids, features = self.info(c := self.login(), c.bare)
        self.assertIn(("account", "registered"), ids)
        self.assertIn(DISCO_INFO, features)

    def test_items(self):
        c = self.login()
        r = c.get(DISCO_ITEMS, to=c.domain)
        self.assertResult(r)
        for i in kid(r, "query", DISCO_ITEMS):
            self.assertTrue(i.get("jid"))

    def test_unknown_node(self):
        c = self.login()
        self.assertError(c.get(DISCO_INFO, to=c.domain, attrs="node='no-such-node'"), "item-not-found")

    def test_stranger_learns_nothing_of_accounts(self):
        """XEP-0030 section 8: an account that exists and one that does not look alike."""
        c, name = self.login(), self.user()
        a = c.get(DISCO_INFO, to=at(name))
        b = c.get(DISCO_INFO, to=at("nobody-here"))
        self.assertEqual((a.get("type"), xmppc.error_of(a)), (b.get("type"), xmppc.error_of(b)))

    def test_ping(self):
        c = self.login()
        for to in (None, c.domain, c.bare):
            with self.subTest(to=to):
                self.assertResult(c.get(PING, "ping", to))

    def test_ping_between_clients(self):
        a, b = self.login(), self.login()
        self.friends(a, b)
        a.send("<iq type='get' id='pp' to='%s'><ping xmlns='%s'/></iq>" % (b.jid, PING))
        q = b.wait(is_("iq", id="pp"))
        b.send("<iq type='result' id='pp' to='%s'/>" % q.get("from"))
        self.assertResult(a.reply("pp"))

    def test_version(self):
        c = self.login()
        r = c.get("jabber:iq:version", to=c.domain)
        self.assertResult(r)
        q = kid(r, "query", "jabber:iq:version")
        self.assertTrue(text(q, "name"))
        self.assertTrue(text(q, "version"))

    def test_time(self):
        c = self.login()
        r = c.get("urn:xmpp:time", "time", c.domain)
        self.assertResult(r)
        t = kid(r, "time", "urn:xmpp:time")
        when = datetime.datetime.fromisoformat(text(t, "utc").replace("Z", "+00:00"))
        self.assertLess(abs((when - datetime.datetime.now(datetime.timezone.utc)).total_seconds()), 60)
        self.assertRegex(text(t, "tzo"), r"^(Z|[+-]\d\d:\d\d)$")

    def test_set_where_only_get_makes_sense(self):
        c = self.login()
        for ns, name in ((DISCO_INFO, "query"), (DISCO_ITEMS, "query"), ("jabber:iq:version", "query")):
            with self.subTest(ns=ns):
                r = c.iq("set", "<%s xmlns='%s'/>" % (name, ns), c.domain)
                self.assertEqual(r.get("type"), "error", show(r))


if __name__ == "__main__":
    lab.main()
