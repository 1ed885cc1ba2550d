"""test_lab - the lab itself: both mail servers deliver and the sink refuses, with no daemon."""
import smtplib

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


if __name__ == "__main__":
    lab.main()
