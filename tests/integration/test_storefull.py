"""test_storefull - no room on the store's disk: errors to clients, 4xx to the MTA, nothing lost, no crash."""
import os
import smtplib
import subprocess
import unittest

import lab
import xmppc
from lab import NOTIFY_AND_ROUTE, mail, token
from xmppc import body_is, error_of, fence, local, text


class StoreFull(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        lab.need_root("a small disk of its own (mount -t tmpfs)")
        milter = lab_.dir / "d" / "milter.sock"
        cls.sink = lab_.sink()
        cls.d = lab_.daemon(scripts=NOTIFY_AND_ROUTE, submit=cls.sink.port, start=False)
        # 12 MB: a store and its journal fit, and filling it takes no time
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0755", "tandem-lab", str(cls.d.data)],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if r.returncode != 0:
            raise unittest.SkipTest("no small disk: mount -t tmpfs: %s" % r.stdout.strip())
        lab_.defer(lambda: (cls.d.stop_quietly(), subprocess.run(["umount", str(cls.d.data)])))
        cls.pf = lab_.postfix(milter=milter)
        cls.d.start()
        for u in ("alice", "bob", "carol"):
            cls.d.add_account(u)
        cls.filler = cls.d.data / "filler"

    def setUp(self):
        self.a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        self.addCleanup(self.a.close)
        self.addCleanup(self.empty)

    def fill(self):
        """Take every byte; again after the daemon had a turn, until none is left."""
        with open(self.filler, "ab") as f:
            fd = f.fileno()
            for size in (1 << 20, 65536, 4096, 512, 1):
                try:
                    while True:
                        os.write(fd, b"x" * size)
                except OSError:
                    pass

    def empty(self):
        try:
            self.filler.unlink()
        except FileNotFoundError:
            pass

    def works_again(self):
        self.empty()

        def stored():
            t = token()
            id_ = self.a.message("bob@lab.test", t)
            xmppc_settle(self.a, "bob@lab.test")
            return not [e for e in self.a.drain() if e.get("id") == id_ and e.get("type") == "error"]
        lab.wait_until(stored, 20, "the store to take messages again", step=0.2)
        self.assertTrue(self.d.alive())

    def test_messages_bounce_or_are_not_counted(self):
        """Each of many offline messages: an error came, or it is delivered later, or h leaves it out."""
        body = "x" * 2000
        base = self.a.sm_request()
        self.fill()
        n = 300
        words = [token() for _ in range(n)]
        for w in words:
            self.a.message("bob@lab.test", w + " " + body, id_=w)
        xmppc_settle(self.a, "bob@lab.test")
        h = self.a.sm_request(30) - base
        bounced = {e.get("id") for e in self.a.drain() if e.get("type") == "error" and local(e) == "message"}
        self.assertTrue(bounced or h < n, "a full disk took everything")
        for e in (e for e in self.a.seen if e.get("type") == "error" and local(e) == "message"):
            self.assertIn(error_of(e), (("wait", "resource-constraint"), ("wait", "internal-server-error"),
                                        ("cancel", "internal-server-error"), ("wait", "service-unavailable"),
                                        ("cancel", "service-unavailable")))
        self.assertTrue(self.d.alive())
        self.a.sync()
        self.works_again()
        b = xmppc.login(self.d.c2s_port, "bob")
        self.addCleanup(b.close)
        for _ in range(3):
            fence(b, b)
        got = " ".join(text(e) or "" for e in b.seen if local(e) == "message")
        lost = [w for w in words[:h] if w not in got and w not in bounced]
        self.assertEqual(lost, [], "%d counted messages are neither here nor bounced" % len(lost))

    def test_roster_change_is_refused(self):
        self.fill()
        refused = False
        for i in range(400):
            r = self.a.iq("set", "<query xmlns='%s'><item jid='f%d@lab.test' name='%s'/></query>" % (xmppc.ROSTER, i, "n" * 900))
            if r.get("type") == "error":
                self.assertIn(error_of(r)[1], ("resource-constraint", "internal-server-error", "service-unavailable"))
                refused = True
                break
            self.fill()
        self.assertTrue(refused, "a full disk took 400 roster items")
        self.works_again()
        r = self.a.iq("set", "<query xmlns='%s'><item jid='after@lab.test'/></query>" % xmppc.ROSTER)
        self.assertEqual(r.get("type"), "result")

    def test_mail_gets_4xx_or_stays_mail(self):
        """Chat that cannot be committed is not promised: the MTA keeps the mail, or delivers it as mail."""
        self.fill()
        taken, refused = [], 0
        for _ in range(30):
            t = token()
            try:
                self.pf.inject(mail(subject=t, body=t + "\n" + "y" * 3000, to="alice@lab.test"))
                taken.append(t)
            except smtplib.SMTPResponseException as e:
                self.assertEqual(e.smtp_code // 100, 4)
                refused += 1
            self.fill()
        self.assertTrue(self.d.alive())
        self.empty()

        def missing():
            self.a.pump(0.1)
            chats = " ".join(text(e) or "" for e in self.a.seen if local(e) == "message")
            return [t for t in taken if t not in chats and not self.pf.find("alice", t)]
        lab.wait_until(lambda: not missing(), 30, lambda: "mails taken with 250 and lost: %r (%d refused)" % (missing(), refused))
        self.works_again()
        t = token()
        self.pf.inject(mail(body=t, to="alice@lab.test"))
        self.a.wait(body_is(t), 20)

    def test_chat_to_mail_bounces(self):
        self.fill()
        ids, body = {}, "z" * 3000
        for i in range(60):
            w = token()
            ids[self.a.message("m%d@lab.test" % i, w + " " + body)] = w
        self.a.sync()
        self.fill()
        self.empty()

        def settled():
            self.d.ctl("outbox", "retry", check=False)
            self.a.pump(0.2)
            bounced = {e.get("id") for e in self.a.seen if e.get("type") == "error"}
            return all(i in bounced or self.sink.find(w) for i, w in ids.items())
        lab.wait_until(settled, 60, "each chat to be mailed or bounced", step=0.5)
        self.works_again()

    def test_operator_sees_an_error(self):
        self.fill()
        r = None
        for i in range(300):
            r = self.d.ctl("account", "add", "full%d@lab.test" % i, stdin="pw-%d\n" % i, check=False)
            if r.returncode != 0:
                break
            self.fill()
        self.assertNotEqual(r.returncode, 0, "a full disk took 300 accounts")
        self.assertTrue(r.stderr.strip())
        self.works_again()
        self.d.ctl("account", "add", "afterwards@lab.test", stdin="pw\n")

    def test_start_on_a_full_disk(self):
        """Either it serves what it can or says clearly why not; the data is whole afterwards."""
        self.fill()
        self.assertEqual(self.d.terminate(), 0, self.d.tail())
        self.d.start(wait=False)

        def decided():
            return self.d.proc.poll() is not None or self.d.log_text().count("event=ready") >= self.d.starts
        lab.wait_until(decided, 20, self.d.tail)
        if self.d.proc.poll() is not None:
            self.assertEqual(self.d.proc.returncode, 1)
            self.assertTrue((self.d.output() + self.d.log_text()).strip())
            self.empty()
            self.d.start()
        self.empty()
        self.a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        self.works_again()


def xmppc_settle(a, address):
    a.get("tandem:test:unknown", to=address)


if __name__ == "__main__":
    lab.main()
