"""test_bytestreams - XEP-0065: the proxy joins two connections and nothing else."""
import hashlib
import socket
import struct

import compc
import lab
from case import ServerCase
from lab import DOMAIN
from xmppc import DISCO_INFO, DISCO_ITEMS, kid

BS = "http://jabber.org/protocol/bytestreams"
PROXY, SMALL, SLOW = "proxy.lab.test", "small.lab.test", "slow.lab.test"
PORT, SMALL_PORT, SLOW_PORT = lab.free_port(), lab.free_port(), lab.free_port()


class Base(ServerCase):
    options = {"extra": """
domain "%s" { XMPP_Role = "server"  service = "proxy65"  proxy_host = "127.0.0.1"  proxy_listen = "127.0.0.1"  proxy_port = %d }
domain "%s" { XMPP_Role = "server"  service = "proxy65"  proxy_host = "127.0.0.1"  proxy_listen = "127.0.0.1"  proxy_port = %d
  proxy_max_bytes = 1000  proxy_idle_time = 1  proxy_streams = 2 }
domain "%s" { XMPP_Role = "server"  service = "proxy65"  proxy_listen = "127.0.0.1"  proxy_port = %d  proxy_rate = "100000/1" }
domain "closed.lab.test" { XMPP_Role = "server"  service = "proxy65"  proxy_listen = "192.0.2.1"  proxy_port = %d }
component "gw.lab.test" { secret = "s" }
""" % (PROXY, PORT, SMALL, SMALL_PORT, SLOW, SLOW_PORT, lab.free_port())}

    def raw(self, port=PORT):
        s = socket.create_connection(("127.0.0.1", port), 10 * lab.SLOW)
        s.settimeout(10 * lab.SLOW)
        self.addCleanup(s.close)
        return s

    def read(self, s, n):
        data = b""
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                return data
            data += more
        return data

    def ended(self, s):
        try:
            return s.recv(1) == b""
        except ConnectionResetError:
            return True

    def request(self, s, name, cmd=1, atyp=3):
        s.sendall(b"\5\1\0")
        self.assertEqual(self.read(s, 2), b"\5\0")
        s.sendall(bytes((5, cmd, 0, atyp, len(name))) + name + b"\0\0")

    def leg(self, name, port=PORT):
        s = self.raw(port)
        name = name.encode()
        self.request(s, name)
        self.assertEqual(self.read(s, 47), b"\5\0\0\3\x28" + name + b"\0\0")
        return s

    def name(self, sid, a, b):
        return hashlib.sha1((sid + a + b).encode()).hexdigest()

    def activate(self, c, sid, target, to=PROXY):
        return c.iq("set", "<query xmlns='%s' sid='%s'><activate>%s</activate></query>" % (BS, sid, target), to)

    def pair(self, to=PROXY, port=PORT):
        """Two joined sockets: of the target, of the initiator."""
        a, sid = self.login(), lab.token("s")
        n = self.name(sid, a.jid, "t@x.test/r")
        t, i = self.leg(n, port), self.leg(n, port)
        self.assertResult(self.activate(a, sid, "t@x.test/r", to))
        return t, i


class Iqs(Base):
    def test_disco(self):
        a = self.login()
        self.assertIn(PROXY, [i.get("jid") for i in kid(a.get(DISCO_ITEMS, to=DOMAIN), "query", DISCO_ITEMS)])
        i = kid(kid(a.get(DISCO_INFO, to=PROXY), "query", DISCO_INFO), "identity")
        self.assertEqual((i.get("category"), i.get("type")), ("proxy", "bytestreams"))

    def test_address(self):
        s = kid(kid(self.login().get(BS, to=PROXY), "query", BS), "streamhost")
        self.assertEqual((s.get("jid"), s.get("host"), s.get("port")), (PROXY, "127.0.0.1", str(PORT)))

    def test_host_name_by_default(self):
        s = kid(kid(self.login().get(BS, to=SLOW), "query", BS), "streamhost")
        self.assertEqual(s.get("host"), "mx.lab.test")

    def test_cannot_listen(self):
        self.assertError(self.login().get(BS, to="closed.lab.test"), "not-allowed")

    def test_strangers(self):
        c = compc.join(self.port, "gw.lab.test", "s")
        self.addCleanup(c.close)
        self.assertError(c.request("get", "<query xmlns='%s'/>" % BS, PROXY), "forbidden")
        n = self.name("sid", "gw.lab.test", "t@x.test/r")
        self.leg(n), self.leg(n)
        self.assertError(c.request("set", "<query xmlns='%s' sid='sid'><activate>t@x.test/r</activate></query>" % BS, PROXY), "forbidden")

    def test_bad(self):
        a = self.login()
        self.assertError(self.activate(a, "", "x@y"), "bad-request")
        self.assertError(self.activate(a, "s", "@@"), "jid-malformed")
        self.assertError(a.iq("set", "<query xmlns='%s' sid='s'/>" % BS, PROXY), "bad-request")

    def test_activation(self):
        a, b, sid = self.login(), self.login(), lab.token("s")
        n = self.name(sid, a.jid, b.jid)
        self.assertError(self.activate(a, sid, b.jid), "item-not-found")
        t = self.leg(n)
        self.assertError(self.activate(a, sid, b.jid), "not-allowed")        # one party only
        i = self.leg(n)
        self.assertError(self.activate(b, sid, b.jid), "item-not-found")     # not the initiator
        self.assertError(self.activate(b, sid, a.jid), "item-not-found")
        self.assertResult(self.activate(a, sid, b.jid.upper().split("/")[0] + "/" + b.jid.split("/")[1]))    # prepared first
        t.sendall(b"x")
        self.assertEqual(self.read(i, 1), b"x")
        self.assertError(self.activate(a, sid, b.jid), "item-not-found")     # once


class Sockets(Base):
    def test_both_ways(self):
        t, i = self.pair()
        big = bytes(range(256)) * 4096
        import threading
        sender = threading.Thread(target=t.sendall, args=(big,))
        sender.start()
        i.sendall(b"hello")
        self.assertEqual(self.read(t, 5), b"hello")
        self.assertEqual(self.read(i, len(big)), big)
        sender.join()
        t.shutdown(socket.SHUT_WR)              # an end of one side is passed on, the other goes on
        self.assertEqual(i.recv(1), b"")
        i.sendall(b"still")
        self.assertEqual(self.read(t, 5), b"still")
        i.close()
        self.assertTrue(self.ended(t))

    def test_reader_that_stops(self):
        """Whoever does not read slows the other down, and loses nothing."""
        t, i = self.pair()
        t.setblocking(False)
        sent = 0
        chunk = b"y" * 65536

        def full():
            nonlocal sent
            try:
                sent += t.send(chunk)
            except BlockingIOError:
                return True
        lab.wait_until(full, 20, "the sender is slowed down", step=0)
        t.settimeout(10)
        t.shutdown(socket.SHUT_WR)
        got = 0
        while True:
            data = i.recv(1 << 20)
            if not data:
                break
            got += len(data)
        self.assertEqual(got, sent)

    def test_before_activation(self):
        """10.1 rule 4: ignored."""
        a, sid = self.login(), lab.token("s")
        n = self.name(sid, a.jid, "t@x.test/r")
        t, i = self.leg(n), self.leg(n)
        t.sendall(b"early")
        self.assertError(self.activate(a, sid, "u@x.test"), "item-not-found")
        # the proxy has read it when the sender's queue is empty
        lab.wait_until(lambda: self.unsent(t) == 0, text="early bytes are gone")
        self.assertError(self.activate(a, sid, "u@x.test"), "item-not-found")
        self.assertResult(self.activate(a, sid, "t@x.test/r"))
        t.sendall(b"now")
        self.assertEqual(self.read(i, 3)[-3:], b"now")

    @staticmethod
    def unsent(s):
        import fcntl
        return struct.unpack("i", fcntl.ioctl(s, 0x5411, b"\0\0\0\0"))[0]     # SIOCOUTQ

    def test_third(self):
        n = self.name("s", "a", lab.token())
        self.leg(n), self.leg(n)
        s = self.raw()
        self.request(s, n.encode())
        self.assertEqual(self.read(s, 2), b"\5\2")
        self.assertTrue(self.ended(s) or True)

    def test_a_half_that_left(self):
        a, sid = self.login(), lab.token("s")
        n = self.name(sid, a.jid, "t@x.test/r")
        self.leg(n).close()
        t = self.leg(n)
        lab.wait_until(lambda: self.activate(a, sid, "t@x.test/r").get("type") == "error", text="one is gone")
        i = self.leg(n)
        self.assertResult(self.activate(a, sid, "t@x.test/r"))
        i.sendall(b"z")
        self.assertEqual(self.read(t, 1), b"z")

    def test_not_a_proxy_for_anything_else(self):
        for name, cmd, atyp in ((b"example.org", 1, 3), (b"x" * 40, 1, 3), (b"a" * 40, 2, 3), (b"a" * 40, 3, 3), (b"a" * 40, 1, 1), (b"", 1, 3)):
            s = self.raw()
            self.request(s, name, cmd, atyp)
            got = self.read(s, 2)
            self.assertEqual(got[:1], b"\5")
            self.assertNotEqual(got[1], 0)

    def test_rubbish(self):
        for data in (b"GET / HTTP/1.0\r\n\r\n", b"\4\1\0\x50\x7f\0\0\1\0", b"\5\1\2", b"\5\xff" + b"\1" * 255, b"\0" * 1000):
            s = self.raw()
            s.sendall(data)
            while not self.ended_with(s):
                pass
        s = self.raw()
        for c in b"\5\1\0":
            s.sendall(bytes((c,)))
        self.assertEqual(self.read(s, 2), b"\5\0")

    @staticmethod
    def ended_with(s):
        try:
            return not s.recv(100)
        except ConnectionResetError:
            return True

    def test_byte_cap(self):
        t, i = self.pair(SMALL, SMALL_PORT)
        t.sendall(b"a" * 900)
        self.assertEqual(len(self.read(i, 900)), 900)
        t.sendall(b"a" * 200)
        self.assertTrue(self.ended(i))

    def test_idle(self):
        t, i = self.pair(SMALL, SMALL_PORT)
        self.assertTrue(self.ended(i))
        self.assertTrue(self.ended(t))

    def test_rate(self):
        import time
        t, i = self.pair(SLOW, SLOW_PORT)
        start = time.monotonic()
        t.sendall(b"r" * 300000)
        self.assertEqual(len(self.read(i, 300000)), 300000)
        self.assertGreater(time.monotonic() - start, 1.0)


class Reload(lab.Case):
    @classmethod
    def prepare(cls, labor):
        cls.one, cls.two = lab.free_port(), lab.free_port()
        cls.d = labor.daemon(milter=False, extra=cls.extra(cls.one))

    @staticmethod
    def extra(port):
        return 'domain "p.lab.test" { XMPP_Role = "server"  service = "proxy65"  proxy_listen = "127.0.0.1"  proxy_port = %d }' % port

    def test_ports_follow(self):
        self.assertTrue(lab.listening(self.one))
        self.d.extra = self.extra(self.two)
        self.d.write_config(self.d.config_text())
        self.d.ctl("config", "reload")
        lab.wait_until(lambda: lab.listening(self.two) and not lab.listening(self.one), text="the new port")
        self.d.terminate()


if __name__ == "__main__":
    lab.main()
