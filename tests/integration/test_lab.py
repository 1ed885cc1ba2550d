"""test_lab - the lab itself: both mail servers deliver and the sink refuses; a daemon that breaks is noticed."""
import os
import signal
import smtplib
import subprocess

import lab


class PostfixAlone(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.sink = lab_.sink(refuse={"no@out.test": "550 5.1.1 no such person"})
        cls.pf = lab_.postfix(outport=cls.sink.port)

    def test_delivers_to_maildir(self):
        t = lab.token()
        self.pf.inject(lab.mail(subject=t, to="bob@lab.test"))
        self.assertEqual(self.pf.wait_mail("bob", t)["From"], "carol@lab.test")

    def test_refuses_unknown_user(self):
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as c:
            self.pf.inject(lab.mail(to="nobody@lab.test"))
        self.assertEqual(c.exception.recipients["nobody@lab.test"][0], 550)

    def test_relays_to_sink(self):
        t = lab.token()
        self.pf.inject(lab.mail(subject=t, to="x@out.test"))
        sender, rcpts, _ = self.sink.wait_mail(t)
        self.assertEqual((sender, rcpts), ("carol@lab.test", ["x@out.test"]))

    def test_bounces_what_the_sink_refuses(self):
        t = lab.token()
        self.pf.inject(lab.mail(subject=t, sender="dave@lab.test", to="no@out.test"))
        dsn = self.pf.wait_mail("dave", t)
        self.assertEqual(dsn.get_content_type(), "multipart/report")

    def test_tempfails_without_the_milter(self):
        pf = self.lab.postfix(milter=self.lab.dir / "absent.sock")
        with self.assertRaises(smtplib.SMTPResponseException) as c:
            pf.inject(lab.mail(to="bob@lab.test"))
        self.assertEqual(c.exception.smtp_code // 100, 4)


class SendmailAlone(lab.Case):
    def test_delivers(self):
        sm = self.lab.sendmail()
        t = lab.token()
        sm.inject(lab.mail(subject=t, to="bob@lab.test"))
        sm.wait_mail("bob", t)


class Faults(lab.Case):
    """No crash and no sanitizer's report goes by unnoticed."""

    @classmethod
    def prepare(cls, lab_):
        cls.d = lab_.daemon(milter=False)

    def setUp(self):
        if not self.d.alive():
            self.d.start()

    def test_a_signal_nobody_sent(self):
        for sig in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL):
            with self.subTest(sig=sig):
                os.kill(self.d.pid, sig)
                with self.assertRaises(lab.Fault):
                    self.d.wait_exit()
                self.d.check()  # told once
                self.d.start()

    def test_signals_of_ours(self):
        self.d.kill()
        self.d.start()
        self.assertEqual(self.d.terminate(), 0)

    def test_reports(self):
        for line in ("==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x6020 at pc 0x5566",
                     "==7==ERROR: LeakSanitizer: detected memory leaks", "WARNING: ThreadSanitizer: data race (pid=7)",
                     "xmpp/jid.c:20:7: runtime error: signed integer overflow"):
            with self.subTest(line=line):
                self.assertIn("frame", lab.fault_of(None, "before\n%s\n    #0 frame\n" % line))
                with open(self.d.out_path, "a") as out:
                    out.write(line + "\n")
                with self.assertRaises(lab.Fault):
                    self.d.terminate()
                self.d.start()
        self.assertIsNone(lab.fault_of(None, "an AddressSanitizer build says hello\n"))

    def test_a_report_is_told_with_the_last_test(self):
        labor = lab.Lab()
        d = labor.daemon(milter=False)
        with open(d.out_path, "a") as out:
            out.write("WARNING: ThreadSanitizer: data race (pid=7)\n")
        with self.assertRaises(lab.Fault):
            labor.close()
        self.assertFalse(d.alive())

    def test_tools(self):
        with self.assertRaises(lab.Fault):
            lab.checked(subprocess.run(["sh", "-c", "kill -SEGV $$"], stdout=subprocess.PIPE, stderr=subprocess.PIPE))


if __name__ == "__main__":
    lab.main()
