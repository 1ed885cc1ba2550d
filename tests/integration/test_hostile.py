"""test_hostile - clients, operators' peers and kernels that mean no good.

After each test the daemon must serve two friendly clients, be idle and hold no more descriptors
than before.
"""
import json
import os
import socket
import struct
import subprocess
import threading
import time

import lab
import xmppc
from case import ServerCase
from xmppc import SASL, SM, STREAMS, body_is, is_, local, nsof

OPTIONS = ("negotiation_timeout = 3  max_write_queue = 65536  sm_max_queue = 100  sm_max_queue_size = 1000000 "
           "max_resources = 4  auth_delay_ms = 0")


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        part = f.read().rsplit(")", 1)[1].split()
    return (int(part[11]) + int(part[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Hostile(ServerCase):
    options = {"xmpp": OPTIONS, "milter": True}

    def setUp(self):
        self.before = descriptors(self.d.pid)
        self.sockets = []

    def tearDown(self):
        for s in self.sockets:
            s.close()
        a, b = self.login(), self.login()
        xmppc.fence(a, b)
        a.close()
        b.close()
        lab.wait_until(lambda: descriptors(self.d.pid) <= self.before + 4, 15, "descriptors closed")
        start = cpu_seconds(self.d.pid)
        time.sleep(0.3)  # nothing to wait for: the daemon must do nothing
        self.assertLess(cpu_seconds(self.d.pid) - start, 0.15, "the daemon spins")

    def raw(self, port=None):
        s = socket.create_connection(("127.0.0.1", port or self.port), 10)
        self.sockets.append(s)
        s.settimeout(20 * lab.SLOW)
        return s

    def unix(self, path):
        s = socket.socket(socket.AF_UNIX)
        self.sockets.append(s)
        s.settimeout(20 * lab.SLOW)
        s.connect(str(path))
        return s

    def all_of(self, s):
        out = b""
        while True:
            try:
                data = s.recv(65536)
            except ConnectionResetError:
                return out
            if not data:
                return out
            out += data


class Connections(Hostile):
    def test_half_open(self):
        """Hundreds that say nothing do not keep others out, and are sent away."""
        many = [self.raw() for _ in range(400)]
        self.login().close()
        for s in many:
            self.assertIn(b"connection-timeout", self.all_of(s))
            s.close()

    def test_slowloris(self):
        """A byte now and then does not stretch the time to negotiate."""
        s = self.raw()
        text = xmppc.Conn.header_text(self.conn()).encode()
        start = time.monotonic()
        s.settimeout(0.2)
        got = b""
        for i in range(1000):
            try:
                s.sendall(text[i:i + 1] if i < len(text) - 1 else b" ")
                data = s.recv(4096)
                if not data:
                    break
                got += data
            except TimeoutError:
                continue
            except OSError:
                break
        self.assertIn(b"connection-timeout", got)
        self.assertLess(time.monotonic() - start, 8 * lab.SLOW)

    def test_other_protocols(self):
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 70000, b"\0", b"\x16\x03\x01\x02\0" + bytes(512),
                     b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"EHLO x\r\n"):
            with self.subTest(data=data[:10]):
                s = self.raw()
                s.sendall(data)
                self.assertIn(b"<stream:error>", self.all_of(s))

    def test_utf16(self):
        """RFC 6120 11.6: what passes from client to client as it came must be UTF-8."""
        for enc, mark in (("utf-16-be", b""), ("utf-16-le", b""), ("utf-16-be", b"\xfe\xff"), ("utf-16-le", b"\xff\xfe")):
            with self.subTest(enc=enc, mark=mark):
                s = self.raw()
                s.sendall(mark + self.conn().header_text().encode(enc))
                self.assertIn(b"<unsupported-encoding", self.all_of(s))

    def test_out_of_descriptors(self):
        limit = descriptors(self.d.pid) + 60
        old = subprocess.run(["prlimit", "--pid", str(self.d.pid), "--nofile", "--output=SOFT,HARD", "--noheadings"],
                             stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        subprocess.run(["prlimit", "--pid", str(self.d.pid), "--nofile=%d:%s" % (limit, old[1])], check=True)
        try:
            many = []
            for _ in range(200):
                s = socket.socket()
                s.settimeout(0.5)
                s.connect_ex(("127.0.0.1", self.port))
                many.append(s)
            lab.wait_until(lambda: descriptors(self.d.pid) >= limit - 4, 5, "all descriptors used")
            start = cpu_seconds(self.d.pid)
            time.sleep(0.5)  # it must do nothing
            self.assertLess(cpu_seconds(self.d.pid) - start, 0.25, "accept spins")
            for s in many:
                s.close()
            lab.wait_until(lambda: descriptors(self.d.pid) < limit - 30, 20, "descriptors given back")
        finally:
            subprocess.run(["prlimit", "--pid", str(self.d.pid), "--nofile=%s:%s" % tuple(old)], check=True)


class Logins(Hostile):
    def test_abort_loop(self):
        """Every exchange begun costs a look into the store: aborted ones count as failed."""
        c = self.connect()
        for _ in range(3):
            c.sasl("SCRAM-SHA-256", b"n,,n=x,r=abcdefghijkl")
            c.send("<abort xmlns='%s'/>" % SASL)
        self.assertEqual(c.wait_end(), "policy-violation")

    def test_pipelined_logins(self):
        """What is sent ahead of a refusal is answered; nothing is left over for later."""
        c = self.connect()
        c.send("<auth xmlns='%s' mechanism='SCRAM-SHA-1'>biwsbj14LHI9YWJj</auth><response xmlns='%s'>AAAA</response>" % (SASL, SASL))
        self.assertEqual(local(c.wait()), "challenge")
        self.assertEqual(local(c.wait()), "failure")
        self.assertEqual(local(c.auth(self.user())), "success")
        c.open()
        self.assertEqual(c.bind().get("type"), "result")

    def test_cut_at_every_step(self):
        user = self.user()
        for steps in range(40):
            c = xmppc.Conn(self.port)
            try:
                if steps % 5 > 0:
                    c.open()
                if steps % 5 > 1:
                    c.starttls()
                    c.open()
                if steps % 5 > 2:
                    c.auth(user)
                if steps % 5 > 3:
                    c.send(c.header_text() + "<iq type='set' id='b'><bind xmlns='%s'/></iq>" % xmppc.BIND)
            finally:
                c.cut()

    def test_same_resource_from_many(self):
        user, done = self.user(), []

        def go():
            for _ in range(6):
                try:
                    c = xmppc.authed(self.port, user)
                    c.bind("same")
                    c.sm_enable()
                    c.presence()
                    c.sync()
                    c.cut()
                except (AssertionError, OSError):
                    pass
            done.append(1)
        threads = [threading.Thread(target=go) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(done), 4)

    def test_broken_sessions_do_not_lock_out(self):
        """max_resources: those that wait to be resumed make room."""
        user = self.user()
        for _ in range(10):
            self.login(user, sm=True).cut()
        self.login(user)


class Spoofing(Hostile):
    def test_from(self):
        a, b = self.login(), self.login()
        for who in (b.jid, b.bare, lab.DOMAIN, a.bare + "/other", ""):
            with self.subTest(who=who):
                c = self.login()
                c.send("<message from='%s' to='%s' id='spoof'><body>spoof</body></message>" % (who, b.jid))
                self.assertEqual(c.wait_end(), "invalid-from")
        self.assertEqual([e for e in xmppc.fence(a, b) if local(e) == "message"], [])

    def test_somebody_elses_session(self):
        a = self.login(sm=True)
        c = self.authed()
        e = c.sm_resume(a, 0)
        self.assertEqual(local(e), "failed")
        a.sync()


class Queues(Hostile):
    def setUp(self):
        super().setUp()
        self.a = self.login(sm=True)
        self.base = self.a.sm_request()

    def assertAcked(self, n):
        self.assertEqual(self.a.sm_request(60) - self.base, n)
        self.base += n

    def send_many(self, c, to, n, size):
        body = "y" * size
        for i in range(n):
            c.send("<message to='%s' type='chat'><body>%05d %s</body></message>" % (to, i, body))

    def numbers(self, c, n):
        """The numbers of <n> messages, in order."""
        got = []
        while len(got) < n:
            e = c.wait(is_("message"), 20)
            got.append(int(xmppc.text(e).split()[0]))
        return got

    def test_slow_reader(self):
        """Cut off when max_write_queue is full; what the sender was promised is kept."""
        a, user = self.a, self.user()
        b = self.login(user, "slow")
        b.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.send_many(a, b.bare, 2000, 4000)
        self.assertAcked(2000)
        self.d.wait_log("conn-slow")
        b.cut()
        b = self.login(user, "fast")
        # some of the first may be with the old connection's kernel
        got = []
        while not got or got[-1] != 1999:
            got += self.numbers(b, 1)
        self.assertEqual(got, sorted(got))
        self.assertGreater(len(got), 500)

    def test_never_acknowledges(self):
        """The queue of stream management is bounded; what was in it, the last one too, is kept."""
        for n, size in ((150, 10), (40, 60000)):
            with self.subTest(n=n, size=size):
                a, user = self.a, self.user()
                b = self.login(user, sm=True)
                b.auto_ack = False
                self.send_many(a, b.bare, n, size)
                self.assertAcked(n)
                self.assertEqual(b.wait_end(20), "resource-constraint")
                b.cut()
                self.assertEqual(self.numbers(self.login(user), n), list(range(n)))

    def test_resume_race(self):
        """One of those who resume at once has the session; the others are told."""
        user = self.user()
        a = self.login(user, sm=True)
        for _ in range(5):
            conns = [xmppc.authed(self.port, user) for _ in range(3)]
            for c in conns:
                self.addCleanup(c.close)
            for c in conns:
                c.send("<resume xmlns='%s' previd='%s' h='%d'/>" % (SM, a.sm_id, a.sm_in))
            left = []
            for c in conns:
                e = c.wait(lambda e: nsof(e) == SM and local(e) in ("resumed", "failed"))
                if local(e) == "resumed":
                    left.append(c)

            def over(c):
                try:
                    c.pump(0.05)
                except AssertionError:
                    pass
                return c.ended or c.eof
            lab.wait_until(lambda: sum(not over(c) for c in left) == 1, 5, "one session left")
            winner = next(c for c in left if not over(c))
            winner.jid, winner.sm_id, winner.sm_in = a.jid, a.sm_id, a.sm_in
            a = winner
        a.sync()


class Sockets(Hostile):
    def test_control_garbage(self):
        for data in (b"\n", b"{}\n", b"\0" * 1000 + b"\n", b'{"args":' + b"[" * 5000 + b"\n", b'{"args":["a\\u0000b"]}\n',
                     b'{"args":[' + b",".join([b'"x"'] * 100) + b"]}\n", b'{"args":["session","kick","%s%n"]}\n',
                     b'{"args":["account","add","x@nowhere.test"],"input":"x\\n"}\n'):
            with self.subTest(data=data[:30]):
                s = self.unix(self.d.control)
                s.sendall(data)
                status = s.recv(4096).split(b"\n")[0].split()[1]
                self.assertNotEqual(status, b"0")

    def test_control_requests_at_once(self):
        s = self.unix(self.d.control)
        s.sendall(b'{"args":["summary"],"json":true}\n' * 20)
        f = s.makefile("rb")
        for _ in range(20):
            size, status = f.readline().split()
            self.assertEqual(status, b"0")
            json.loads(f.read(int(size)))

    def test_control_nobody_reads(self):
        s = self.unix(self.d.control)
        s.settimeout(1)
        with self.assertRaises(TimeoutError):  # it stops taking requests at some point
            for _ in range(100000):
                s.sendall(b'{"args":["summary"]}\n' * 100)
        self.d.ctl("summary")

    def test_milter_garbage(self):
        negotiate = struct.pack(">IcIII", 13, b"O", 6, 0x1ff, 0x1fffff)
        for data in (b"\xff" * 4, bytes(4), b"\0\0\0\1Z", b"\0\0\0\x64O" + bytes(10), negotiate + b"\x7f\xff\xff\xffB",
                     negotiate + b"\0\0\0\3DMx", negotiate + b"\0\0\0\1E", negotiate + b"\0\0\0\4Hab\0",
                     negotiate + b"\0\0\0\x0aL" + bytes(9), negotiate + b"\0\0\0\5M<a>"):
            s = self.unix(self.d.milter)
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            self.all_of(s)

    def test_many_milter_connections(self):
        """Those that stop in the middle of a packet hold a thread of libmilter until they close."""
        negotiate = struct.pack(">IcIII", 13, b"O", 6, 0x1ff, 0x1fffff)
        many = [self.unix(self.d.milter) for _ in range(100)]
        for i, s in enumerate(many):
            s.sendall(negotiate if i % 2 else negotiate[:7])
        for s in many:
            s.close()
        s = self.unix(self.d.milter)
        s.sendall(negotiate)
        self.assertEqual(s.recv(4096)[4:5], b"O")


if __name__ == "__main__":
    lab.main()
