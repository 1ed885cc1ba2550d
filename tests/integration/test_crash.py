"""test_crash - SIGKILL in the middle of a thousand: whatever was promised is kept.

Chat: a message counted in the server's <a h=.../> (XEP-0198) is delivered live, delivered after the
restart, or bounced.  Mail: one the MTA has taken is in the chat or in the Maildir.
"""
import smtplib
import threading
import time

import lab
import xmppc
from lab import NOTIFY_AND_ROUTE, mail
from xmppc import Closed, local, text

TIME_LIMIT = 600
N = 1000


class Reader:
    """Reads a session to its end in a thread of its own."""

    def __init__(self, conn, ack=True):
        conn.auto_ack = ack
        self.conn = conn
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        # each stanza is acknowledged at once: what the server hears of is what we hold
        c, told = self.conn, None
        while not (c.eof or c.ended):
            try:
                c.pump(0.2)
                if c.sm_in is not None and c.sm_in != told and c.auto_ack:
                    c.ack()
                    told = c.sm_in
            except (AssertionError, OSError, ValueError):
                return

    def words(self):
        return [text(e) for e in list(self.conn.seen) if local(e) == "message" and e.get("type") != "error"]


class Chat(lab.Case):
    def setUp(self):
        self.d = self.lab.daemon(lab.token("d"), accounts=["alice", "bob"], milter=False)
        self.addCleanup(self.d.stop_quietly)

    def stream(self, sender, to, kill_at):
        """Send N messages as fast as acks come, SIGKILL after <kill_at> of them are counted; returns
        the number the server had counted by then."""
        base = sender.sm_request()
        sent = 0
        while sent < N and sender.sm_acked - base < kill_at:
            batch = "".join("<message type='chat' to='%s' id='k%d'><body>k%d</body></message>" % (to, i, i)
                            for i in range(sent, min(sent + 50, N)))
            sent = min(sent + 50, N)
            sender.send(batch + "<r xmlns='%s'/>" % xmppc.SM)
            sender.pump(0.01)
        end = time.monotonic() + 60 * lab.SLOW
        while sender.sm_acked - base < min(kill_at, N) and time.monotonic() < end:
            sender.send("<r xmlns='%s'/>" % xmppc.SM)
            sender.pump(0.05)
        self.assertGreaterEqual(sender.sm_acked - base, min(kill_at, N), "the server stopped counting")
        # some are in flight now
        sender.send("".join("<message type='chat' to='%s' id='k%d'><body>k%d</body></message>" % (to, i, i)
                            for i in range(sent, N)))
        self.d.kill()
        # what it managed to say before it died counts
        try:
            while not sender.eof:
                sender.pump(1)
        except AssertionError:
            pass
        return sender.sm_acked - base

    def after(self, user):
        """The words a new session of <user> receives."""
        c = xmppc.login(self.d.c2s_port, user)
        self.addCleanup(c.close)
        for _ in range(3):      # stored messages may take more than one turn to come
            xmppc.fence(c, c)
        return [text(e) for e in c.seen if local(e) == "message" and (text(e) or "").startswith("k")]

    def bounced(self, *conns):
        return {e.get("id") for c in conns for e in c.seen if local(e) == "message" and e.get("type") == "error"}

    def check(self, counted, *received, bounced=()):
        have = set(bounced).union(*map(set, received))
        missing = [i for i in range(counted) if "k%d" % i not in have]
        self.assertEqual(missing, [], "%d of %d counted messages are lost" % (len(missing), counted))

    def run_offline(self, kill_at):
        a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        counted = self.stream(a, "bob@lab.test", kill_at)
        self.d.start()
        got = self.after("bob")
        self.check(counted, got, bounced=self.bounced(a))
        self.assertEqual(len(got), len(set(got)), "a stored message came twice")

    def test_to_offline(self):
        self.run_offline(500)

    def test_to_offline_at_once(self):
        self.run_offline(1)

    def test_to_offline_near_the_end(self):
        self.run_offline(N)

    def test_to_online_with_acks(self):
        b = xmppc.login(self.d.c2s_port, "bob", sm=True)
        r = Reader(b)
        a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        counted = self.stream(a, "bob@lab.test", 500)
        r.thread.join(30)
        self.d.start()
        self.check(counted, r.words(), self.after("bob"), bounced=self.bounced(a))

    def test_to_online_who_never_acks(self):
        """Nothing was acknowledged by the reader: all that was counted must come (again)."""
        b = xmppc.login(self.d.c2s_port, "bob", sm=True)
        r = Reader(b, ack=False)
        a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        try:
            counted = self.stream(a, "bob@lab.test", 200)
        except AssertionError:
            # counting only what the reader acknowledged is a way to keep the promise, too
            if a.sm_acked > 2:
                raise
            counted = 0
            self.d.kill()
        r.thread.join(30)
        self.d.start()
        self.check(counted, self.after("bob"), bounced=self.bounced(a))

    def test_to_online_without_sm(self):
        b = xmppc.login(self.d.c2s_port, "bob")
        r = Reader(b)
        a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        counted = self.stream(a, b.jid, 500)
        r.thread.join(30)
        self.d.start()
        self.check(counted, r.words(), self.after("bob"), bounced=self.bounced(a))

    def test_to_lost_connection(self):
        """The reader's network is gone, the server does not know yet; then it dies."""
        b = xmppc.login(self.d.c2s_port, "bob", sm=True)
        b.cut()
        a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        counted = self.stream(a, "bob@lab.test", 300)
        self.d.start()
        self.check(counted, self.after("bob"), bounced=self.bounced(a))

    def test_chat_to_mail(self):
        """Counted chat to a mail address is in the outbox, whatever happens next."""
        self.d.stop_quietly()
        sink = self.lab.sink()
        self.d = self.lab.daemon(lab.token("d"), accounts=["alice"], milter=False, submit=sink.port)
        self.addCleanup(self.d.stop_quietly)
        sink.refuse["*"] = "451 4.3.0 wait"
        a = xmppc.login(self.d.c2s_port, "alice", sm=True)
        base = a.sm_request()
        n = 100
        a.send("".join("<message type='chat' to='m%d@lab.test' id='k%d'><body>k%dk</body></message>" % (i, i, i) for i in range(n)))
        while a.sm_acked - base < n // 2:
            a.send("<r xmlns='%s'/>" % xmppc.SM)
            a.pump(0.01)
        self.d.kill()
        while not a.eof:
            a.pump(1)
        counted = a.sm_acked - base
        sink.refuse.clear()
        self.d.start()
        bounced = self.bounced(a)

        def all_there():
            self.d.ctl("outbox", "retry", check=False)
            have = {rcpt for _, rcpts, _ in sink.mails for rcpt in rcpts}
            return all("m%d@lab.test" % i in have or "k%d" % i in bounced for i in range(counted))
        lab.wait_until(all_there, 90, lambda: "%d mails, have %d" % (counted, len(sink.mails)), step=0.5)

    def test_again_and_again(self):
        """Ten kills in a row corrupt nothing."""
        total = set()
        for n in range(10):
            a = xmppc.login(self.d.c2s_port, "alice", sm=True)
            base = a.sm_request()
            a.send("".join("<message type='chat' to='bob@lab.test'><body>k%d-%d</body></message>" % (n, i) for i in range(100)))
            end = time.monotonic() + 20 * lab.SLOW
            while a.sm_acked - base < 10 * n + 1 and time.monotonic() < end:
                a.send("<r xmlns='%s'/>" % xmppc.SM)
                a.pump(0.01)
            self.d.kill()
            try:
                while not a.eof:
                    a.pump(1)
            except Closed:
                pass
            total |= {"k%d-%d" % (n, i) for i in range(a.sm_acked - base)}
            self.d.start()
        got = set(self.after("bob"))
        self.assertEqual(sorted(total - got), [])


class Mail(lab.Case):
    """A thousand mails by four SMTP clients that retry as clients do, while the daemon dies."""

    @classmethod
    def prepare(cls, lab_):
        milter = lab_.dir / "d" / "milter.sock"
        cls.pf = lab_.postfix(milter=milter)
        cls.d = lab_.daemon(scripts=NOTIFY_AND_ROUTE, submit=cls.pf.port, accounts=["alice", "bob"])

    def injector(self, words, to, done, stop):
        smtp = None
        for w in words:
            m = mail(subject=w, body=w + "k\n", to=to)
            while not stop.is_set():
                try:
                    if smtp is None:
                        smtp = smtplib.SMTP("127.0.0.1", self.pf.port, timeout=60 * lab.SLOW)
                    smtp.send_message(m)
                    done.append(w)
                    break
                except (smtplib.SMTPException, OSError):
                    # 4xx or a dropped connection: again, on a new one
                    if smtp is not None:
                        smtp.close()
                    smtp = None
                    stop.wait(0.1)
        if smtp is not None:
            smtp.close()

    def run_stream(self, to, kills, readers):
        """Inject N mails to <to>, SIGKILL at the given counts; readers are re-made after each."""
        words = ["w%s%d" % (lab.token(), i) for i in range(N)]
        done, stop, sessions = [], threading.Event(), []
        threads = [threading.Thread(target=self.injector, args=(words[i::4], to, done, stop), daemon=True) for i in range(4)]

        def connect():
            for u in readers:
                sessions.append(Reader(xmppc.login(self.d.c2s_port, u, sm=True)))
        connect()
        for t in threads:
            t.start()
        try:
            for n in kills:
                lab.wait_until(lambda n=n: len(done) >= n, 120, lambda: "%d mails taken, %d are\n%s" % (n, len(done), self.pf.log_tail()))
                self.d.kill()
                self.d.start()
                connect()
            lab.wait_until(lambda: len(done) == N, 180, lambda: "all mails taken, %d are\n%s" % (len(done), self.pf.log_tail()))
        finally:
            stop.set()
            for t in threads:
                t.join(10)
        return words, sessions

    def where(self, user, sessions):
        """Every word in <user>'s chats and mails."""
        late = xmppc.login(self.d.c2s_port, user)
        self.addCleanup(late.close)
        for _ in range(3):
            xmppc.fence(late, late)
        chats = " ".join(xmppc.show(e) for r in sessions for e in list(r.conn.seen) if r.conn.bare == user + "@lab.test")
        chats += " ".join(xmppc.show(e) for e in late.seen)
        return chats

    def accounted(self, words, user, sessions):
        def missing():
            chats = self.where(user, sessions)
            mails = " ".join(m["Subject"] or "" for m in self.pf.mails(user))
            return [w for w in words if w + "k" not in chats and w not in mails]
        left = missing()
        end = time.monotonic() + 60 * lab.SLOW
        while left and time.monotonic() < end:
            time.sleep(0.5)     # Postfix still delivers
            left = missing()
        self.assertEqual(left, [], "%d of %d mails are lost" % (len(left), len(words)))
        for r in sessions:
            r.conn.close()

    def test_to_online_user(self):
        words, sessions = self.run_stream("alice@lab.test", (300, 600), ("alice",))
        self.accounted(words, "alice", sessions)

    def test_to_offline_user(self):
        words, sessions = self.run_stream("bob@lab.test", (300,), ())
        self.accounted(words, "bob", sessions)


if __name__ == "__main__":
    lab.main()
