"""test_anonymous - guests (XEP-0175)."""
import lab
import xmppc
from case import ServerCase, at
from xmppc import BIND2, DISCO_INFO, DISCO_ITEMS, ROSTER, SASL2, SM, is_, kid, local, show, text

GUESTS = "guests.test"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}@guests\.test$"


class Guests(ServerCase):
    options = {"extra": 'domain "%s" { XMPP_Role = "server" anonymous = true }\ndomain "far.test" { XMPP_Role = "client" }\n'
                        'domain "rooms.test" { XMPP_Role = "server" service = "muc" }\n'
                        'domain "files.test" { XMPP_Role = "server" service = "upload" }' % GUESTS}

    def guest(self, resource=None):
        c = self.connect(domain=GUESTS)
        self.assertEqual(local(c.sasl("ANONYMOUS")), "challenge")   # no initial response: an empty challenge
        self.assertEqual(local(c.respond(b"")), "success")
        c.open()
        self.assertResult(c.bind(resource))
        c.presence()
        c.wait(is_("presence", from_=c.jid))
        return c

    def test_offered_where_configured(self):
        """Section 3: not unless the administrator said so."""
        self.assertIn("ANONYMOUS", self.connect(domain=GUESTS).mechanisms())
        self.assertIn("ANONYMOUS", self.connect(domain=GUESTS).authentication())
        c = self.connect()
        self.assertNotIn("ANONYMOUS", c.mechanisms())
        self.assertEqual(local(c.sasl("ANONYMOUS", b"")), "failure")

    def test_address(self):
        a, b = self.guest("wanted"), self.guest()
        for c in (a, b):
            self.assertRegex(c.bare, UUID)
        self.assertNotEqual(a.bare, b.bare)

    def test_initial_response_and_trace(self):
        for data in (b"", b"sirhc@example.com", "\u00e9t\u00e9".encode()):
            c = self.connect(domain=GUESTS)
            self.assertEqual(local(c.sasl("ANONYMOUS", data)), "success")
            c.open()
            self.assertResult(c.bind())
            self.assertNotIn("sirhc", c.jid)
        for data in (b"\xff\xff", b"x" * 2000):
            self.assertEqual(local(self.connect(domain=GUESTS).sasl("ANONYMOUS", data)), "failure")

    def test_sasl2(self):
        for _ in range(4):      # on both workers
            c = self.connect(domain=GUESTS)
            e = c.authenticate2("ANONYMOUS", b"", "<bind xmlns='%s'><tag>web</tag></bind>" % BIND2)
            self.assertEqual(local(e), "success", show(e))
            self.assertRegex(text(e, "authorization-identifier").partition("/")[0], UUID)

    def test_disco(self):
        """Section 5."""
        c, b = self.guest(), self.guest()
        for asker, to in ((c, None), (c, c.bare), (b, c.bare)):
            r = asker.get(DISCO_INFO, to=to)
            i = r.find("{%s}query/{%s}identity" % (DISCO_INFO, DISCO_INFO))
            self.assertEqual((i.get("category"), i.get("type")), ("account", "anonymous"))

    def test_talks_here(self):
        c, friend = self.guest(), self.login()
        c.message(friend.jid, "from a guest")
        m = friend.wait(xmppc.body_is("from a guest"))
        self.assertEqual(m.get("from"), c.jid)
        friend.message(c.jid, "to a guest")
        c.wait(xmppc.body_is("to a guest"))

    def test_not_elsewhere(self):
        """Section 3, item 2."""
        c = self.guest()
        i = c.message("ann@far.test", "hello")
        self.assertError(c.wait(is_("message", id=i, type_="error")), "forbidden")
        self.assertError(c.get(DISCO_INFO, to="far.test"), "forbidden")
        c.presence(to="ann@far.test", id_="p1")
        self.assertError(c.wait(is_("presence", id="p1", type_="error")), "forbidden")

    def test_no_contacts_nor_storage(self):
        c, friend = self.guest(), self.login()
        self.assertEqual(len(kid(c.get(ROSTER), "query", ROSTER)), 0)
        self.assertError(c.iq("set", "<query xmlns='%s'><item jid='x@lab.test'/></query>" % ROSTER), "not-allowed")
        self.assertError(c.iq("set", "<vCard xmlns='vcard-temp'/>"), "not-allowed")
        self.assertError(c.iq("set", "<query xmlns='jabber:iq:private'><a xmlns='b'/></query>", to=c.bare), "not-allowed")
        self.assertError(c.iq("set", "<query xmlns='jabber:iq:register'><remove/></query>"), "not-allowed")
        self.assertError(c.iq("set", "<query xmlns='jabber:iq:register'><username>x</username><password>secret-1</password></query>", to=GUESTS), "not-allowed")
        c.presence("subscribe", friend.bare, id_="s1")
        self.assertError(c.wait(is_("presence", id="s1", type_="error")), "not-allowed")
        friend.presence("subscribe", c.bare)
        xmppc.fence(friend, c)
        self.assertEqual([x for x in c.seen if x.get("type") == "subscribe"], [])

    def test_services(self):
        c = self.guest()
        r = c.iq("get", "<request xmlns='urn:xmpp:http:upload:0' filename='a' size='1'/>", to="files.test")
        self.assertError(r, "forbidden")
        c.get(DISCO_INFO, to="files.test")
        self.assertResult(c.get(DISCO_ITEMS, to="rooms.test"))
        self.assertNotEqual(xmppc.error_of(c.iq("set", "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#invite'/>", to=GUESTS)), None)

    def test_gone_without_a_trace(self):
        c, friend = self.guest(), self.login()
        jid = c.bare
        c.close()
        i = friend.message(jid, "anybody there?")
        self.assertError(friend.wait(is_("message", id=i, type_="error")), "service-unavailable")
        self.assertEqual([a for a in self.d.ctl("account", "list").split() if "guests" in a], [])

    def test_resumes(self):
        c = self.guest()
        c.sm_enable()
        c.cut()
        d = self.connect(domain=GUESTS)
        d.sasl("ANONYMOUS", b"")
        d.open()
        self.assertEqual(local(d.sm_resume(c)), "failed")   # another guest

    def test_many(self):
        for _ in range(30):
            self.guest().close()
        self.guest().sync()


if __name__ == "__main__":
    lab.main()
