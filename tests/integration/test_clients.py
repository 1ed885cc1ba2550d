"""test_clients - stock slixmpp clients against the server: log in, chat, see each other, come and go."""
import lab
import xmppc
from case import ServerCase
from xmppc import Slix


class Clients(ServerCase):
    def client(self, user=None, **kw):
        c = Slix(self.port, user or self.user(), **kw)
        self.addCleanup(c.close)
        return c

    def test_chat(self):
        a, b = self.client(), self.client()
        a.send(b.jid, "hello \u2603")
        m = b.wait_message("hello")
        self.assertEqual((m["body"], str(m["from"])), ("hello \u2603", a.jid))
        b.send(m["from"], "back")
        a.wait_message("back")

    def test_subscription_and_presence(self):
        a, b = self.client(), self.client()
        def bare(c):
            return c.jid.partition("/")[0]
        # slixmpp accepts requests and asks back by itself
        a.call(a.client.send_presence_subscription, pto=bare(b))
        lab.wait_until(lambda: a.call(lambda: a.client.client_roster[bare(b)]["subscription"]) == "both", 20, "both ways")
        b.call(b.client.send_presence, pshow="away", pstatus="lunch")
        lab.wait_until(lambda: any(p["status"] == "lunch" for p in list(a.presences.queue)), 10, "b's presence at a")

    def test_offline_then_online(self):
        name = self.user()
        a = self.client()
        a.send(name + "@lab.test", "while you were out")
        a.call(a.client["xep_0199"].send_ping, "lab.test")
        b = self.client(name)
        b.wait_message("while you were out")

    def test_disco_and_ping(self):
        a = self.client()
        info = a.call(a.client["xep_0030"].get_info, jid="lab.test")
        self.assertIn("urn:xmpp:ping", info["disco_info"]["features"])
        a.call(a.client["xep_0199"].send_ping, "lab.test")

    def test_wrong_password(self):
        with self.assertRaises(AssertionError) as c:
            self.client(password="wrong")
        self.assertIn("refused", str(c.exception))

    def test_many_clients(self):
        names = self.users(12)
        clients = [self.client(n) for n in names]
        for i, c in enumerate(clients):
            c.send(clients[(i + 1) % len(clients)].jid, "round %d" % i)
        for i, c in enumerate(clients):
            c.wait_message("round %d" % ((i - 1) % len(clients)))

    def test_raw_and_stock_together(self):
        a = self.client()
        b = self.login()
        b.message(a.jid, "from the raw one")
        a.wait_message("from the raw one")
        a.send(b.jid, "from slixmpp")
        b.wait(xmppc.body_is("from slixmpp"))


if __name__ == "__main__":
    lab.main()
