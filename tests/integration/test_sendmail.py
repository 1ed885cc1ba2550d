"""test_sendmail - the milter under a real Sendmail: routes, refusals, and our absence."""
import smtplib

import lab
import xmppc
from lab import NOTIFY_AND_ROUTE, mail, token
from xmppc import body_is

REFUSE = """
local mod = {}
function mod:validate_rcptto(msg, str, ac, vctx)
  if tostring(str):find("refuse") then vctx:set_code(550, "5.7.1 100% refused") end
  return msys.core.VALIDATE_CONT
end
function mod:validate_data(msg, ac, vctx)
  if (msg:header("Subject")[1] or ""):find("addheader") then msg:header("X-Lab", "seen") end
  return msys.core.VALIDATE_CONT
end
msys.registerModule("refuse", mod)
"""


class Sendmail(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        lab.sendmail_debs()
        cls.sink = lab_.sink()
        cls.d = lab_.daemon(scripts=NOTIFY_AND_ROUTE + '\n  script "refuse" { source = "refuse" }', submit=cls.sink.port, start=False)
        cls.d.script("refuse", REFUSE)
        cls.d.start()
        for u in ("alice", "bob"):
            cls.d.add_account(u)
        cls.sm = lab_.sendmail(milter=cls.d.milter, outport=cls.sink.port)

    def client(self, user):
        c = xmppc.login(self.d.c2s_port, user)
        self.addCleanup(c.close)
        return c

    def test_plain_delivery(self):
        t = token()
        self.sm.inject(mail(subject=t, to="dave@lab.test"))
        self.sm.wait_mail("dave", t, 20)

    def test_three_recipients_of_three_kinds(self):
        alice = self.client("alice")
        t = token()
        self.sm.inject(mail(body=t, to=["alice@lab.test", "bob@lab.test", "carol@lab.test"]))
        alice.wait(body_is(t), 20)
        self.sm.wait_mail("bob", t, 20)
        self.sm.wait_mail("carol", t, 20)
        self.assertEqual(self.sm.find("alice", t), [])

    def test_all_recipients_taken(self):
        alice = self.client("alice")
        t = token()
        self.sm.inject(mail(body=t, to="alice@lab.test"))
        alice.wait(body_is(t), 20)
        after = token()
        self.sm.inject(mail(subject=after, to="dave@lab.test"))
        self.sm.wait_mail("dave", after, 20)
        self.assertEqual(self.sm.find("alice", t), [])

    def test_refusal_keeps_its_text(self):
        """A lone per cent sign makes Sendmail drop a reply's text: it must be doubled."""
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as c:
            self.sm.inject(mail(to="refuse@lab.test"))
        code, text = c.exception.recipients["refuse@lab.test"]
        self.assertEqual(code, 550)
        self.assertIn(b"100% refused", text)

    def test_changed_header(self):
        t = token()
        self.sm.inject(mail(subject="addheader " + t, to="dave@lab.test"))
        self.assertEqual(self.sm.wait_mail("dave", t, 20)["X-Lab"], "seen")

    def test_many_mails_one_connection(self):
        alice = self.client("alice")
        words = [token() for _ in range(30)]
        with smtplib.SMTP("127.0.0.1", self.sm.port, timeout=60) as s:
            for w in words:
                s.send_message(mail(body=w, to="alice@lab.test"))
        for w in words:
            alice.wait(body_is(w), 20)

    def test_down_then_up(self):
        t = token()
        m = mail(body=t, to="alice@lab.test")
        self.assertEqual(self.d.terminate(), 0)
        with self.assertRaises(smtplib.SMTPResponseException) as c:
            self.sm.inject(m)
        self.assertEqual(c.exception.smtp_code // 100, 4)
        self.d.start()
        alice = self.client("alice")
        self.sm.inject(m)
        alice.wait(body_is(t), 20)


if __name__ == "__main__":
    lab.main()
