"""test_reload - hundreds of HUPs while mail and chat flow: nothing stops, nothing is dropped."""
import signal
import smtplib
import threading

import lab
import xmppc
from lab import NOTIFY_AND_ROUTE, mail
from xmppc import text

HUPS = 400


class Reload(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        milter = lab_.dir / "d" / "milter.sock"
        cls.pf = lab_.postfix(milter=milter)
        cls.d = lab_.daemon(scripts=NOTIFY_AND_ROUTE, submit=cls.pf.plain, accounts=["alice", "bob", "carol"])

    def test_hups_under_load(self):
        stop, errors = threading.Event(), []
        mailed, chatted = [], []

        def mailer(n):
            try:
                while not stop.is_set():
                    w = lab.token("m")
                    self.pf.inject(mail(body=w, to="alice@lab.test"))
                    mailed.append(w)
            except (smtplib.SMTPException, OSError) as e:
                errors.append("mailer %d: %r" % (n, e))

        def chatter():
            try:
                c = xmppc.login(self.d.c2s_port, "bob")
                while not stop.is_set():
                    w = lab.token("c")
                    c.message("alice@lab.test", w)
                    c.sync()
                    chatted.append(w)
                c.close()
            except (AssertionError, OSError) as e:
                errors.append("chatter: %r" % e)

        alice = xmppc.login(self.d.c2s_port, "alice")
        self.addCleanup(alice.close)
        threads = [threading.Thread(target=mailer, args=(i,), daemon=True) for i in range(3)]
        threads.append(threading.Thread(target=chatter, daemon=True))
        for t in threads:
            t.start()
        try:
            pid = self.d.pid
            for i in range(HUPS):
                self.d.signal(signal.SIGHUP)
                alice.pump(0.005)
                if errors or not self.d.alive():
                    break
            lab.wait_until(lambda: errors or (len(mailed) >= 60 and len(chatted) >= 60), 60,
                           lambda: "60 mails and chats, have %d and %d" % (len(mailed), len(chatted)))
        finally:
            stop.set()
            for t in threads:
                t.join(60)
        self.assertEqual(errors, [])
        self.assertTrue(self.d.alive(), self.d.tail())
        self.assertEqual(self.d.pid, pid)

        def missing():
            alice.pump(0.1)
            got = " ".join(text(e) or "" for e in alice.seen if xmppc.local(e) == "message")
            return [w for w in mailed + chatted if w not in got]
        lab.wait_until(lambda: not missing(), 30, lambda: "everything at alice; missing %r" % missing()[:10])
        # and the milter still listens to this process
        w = lab.token("last")
        self.pf.inject(mail(body=w, to="alice@lab.test"))
        alice.wait(xmppc.body_is(w), 15)

    def test_burst_of_hups(self):
        for _ in range(HUPS):
            self.d.signal(signal.SIGHUP)
        xmppc.login(self.d.c2s_port, "bob").close()
        self.pf.inject(mail(to="carol@lab.test"))
        self.assertTrue(self.d.alive())

    def test_hup_then_term(self):
        d = self.lab.daemon("t", accounts=["alice"])
        for _ in range(20):
            d.signal(signal.SIGHUP)
        self.assertEqual(d.terminate(), 0, d.tail())

    def test_usr1_in_between(self):
        for _ in range(50):
            self.d.signal(signal.SIGHUP)
            self.d.signal(signal.SIGUSR1)
        xmppc.login(self.d.c2s_port, "bob").close()
        self.assertTrue(self.d.alive())

    def test_reload_by_command(self):
        for _ in range(50):
            self.d.ctl("config", "reload")
        xmppc.login(self.d.c2s_port, "bob").close()


if __name__ == "__main__":
    lab.main()
