"""test_mail - a real Postfix, the daemon and stock clients: mail becomes notices and chat, chat becomes mail."""
import contextlib
import smtplib
import sqlite3

import lab
import xmppc
from lab import NOTIFY_AND_ROUTE, NOTIFY_ONLY, mail, text_of, token
from xmppc import Slix, body_is, error_of, error_text, is_, text


REPORT = """\
From: Mail Delivery System <MAILER-DAEMON@far.test>
To: alice@lab.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <%(id)s@far.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Sorry %(id)s.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; far.test

Final-Recipient: rfc822; someone@far.test
Action: %(action)s
Status: %(status)s
Diagnostic-Code: smtp; %(words)s

--b
Content-Type: text/rfc822-headers

From: alice@lab.test
Message-ID: %(about)s

--b--
"""


def report(port, about, words="550 5.2.2 mailbox over quota", action="failed", status="5.2.2", sender=""):
    """Send alice a delivery report about Message-ID <about>; returns a word in it."""
    id_ = token("report")
    with smtplib.SMTP("127.0.0.1", port) as c:
        c.sendmail(sender, ["alice@lab.test"], (REPORT % dict(
            id=id_, action=action, status=status, words=words, about=about)).replace("\n", "\r\n"))
    return id_


class MailCase(lab.Case):
    """Accounts: alice, bob.  carol, dave, erin and later have a mailbox only."""
    scripts = NOTIFY_AND_ROUTE
    extra = ""
    refuse = {"later@lab.test": "550 5.2.2 mailbox over quota, says the lab"}

    @classmethod
    def prepare(cls, lab_):
        cls.sink = lab_.sink(refuse=dict(cls.refuse))
        # the milter socket comes into being with the daemon: Postfix only needs its name
        milter = lab_.dir / "d" / "milter.sock"
        cls.pf = lab_.postfix(milter=milter, outport=cls.sink.port, bounces=True)
        cls.d = lab_.daemon(scripts=cls.scripts, submit=cls.pf.port, accounts=["alice", "bob"],
                            extra=cls.extra)
        assert cls.d.milter == milter

    def client(self, user, **kw):
        c = xmppc.login(self.d.c2s_port, user, **kw)
        self.addCleanup(c.close)
        return c

    def slix(self, user):
        c = Slix(self.d.c2s_port, user)
        self.addCleanup(c.close)
        return c


class Notices(MailCase):
    scripts = NOTIFY_ONLY

    def test_mail_and_notice(self):
        """An online user is told, and has the mail."""
        alice = self.slix("alice")
        t = token("subject")
        self.pf.inject(mail(subject=t, to="alice@lab.test"))
        m = alice.wait_message(t)
        self.assertIn(m["type"], ("chat", "normal", "headline"))
        self.pf.wait_mail("alice", t)

    def test_notice_names_sender(self):
        alice = self.client("alice")
        t = token("subject")
        self.pf.inject(mail(subject=t, sender="carol@lab.test", to="alice@lab.test"))
        m = alice.wait(body_is(t), 15)
        self.assertIn("carol@lab.test", xmppc.show(m))

    def test_offline_user_has_only_the_mail(self):
        t = token("subject")
        self.pf.inject(mail(subject=t, to="bob@lab.test"))
        self.pf.wait_mail("bob", t)

    def test_hostile_subject(self):
        """Whatever a mail says, the stanza is well-formed and the session lives."""
        alice = self.client("alice")
        for raw in (b"=?utf-8?q?=00=01=02?=", b"=?utf-8?b?//79?=", b"]]></body></message>", b"\xff\xfe\xfd", b"=?x-none?q?abc?=",
                    b"=?utf-8?q?=E2=80=AE?= reversed", b"a" * 5000):
            with self.subTest(raw=raw[:30]):
                t = token("end")
                data = (b"From: carol@lab.test\r\nTo: alice@lab.test\r\nMessage-ID: <%s@x>\r\nSubject: %s %s\r\n\r\nhello %s\r\n"
                        % (t.encode(), t.encode(), raw, t.encode()))
                with smtplib.SMTP("127.0.0.1", self.pf.port) as s:
                    s.sendmail("carol@lab.test", ["alice@lab.test"], data)
                alice.wait(body_is(t), 15)
        alice.sync()

    def test_no_notice_for_strangers(self):
        bob = self.client("bob")
        alice = self.client("alice")
        t = token("subject")
        self.pf.inject(mail(subject=t, to="alice@lab.test"))
        alice.wait(body_is(t), 15)
        self.assertEqual([e for e in xmppc.fence(alice, bob) if body_is(t)(e)], [])


    def test_report_is_an_error_and_stays_mail(self):
        alice = self.client("alice")
        id_ = alice.message("carol@lab.test", token())
        about = lab.wait_until(lambda: self.pf.mails("carol"), 30, "the mail")[-1]["Message-ID"]
        r = report(self.pf.port, about)
        e = alice.wait(is_("message", id=id_, type_="error"), 15)
        self.assertEqual(e.get("from"), "carol@lab.test")
        self.pf.wait_mail("alice", r)
        self.assertEqual([xmppc.show(e) for e in xmppc.fence(alice, alice) if "Undelivered" in xmppc.show(e)], [])


class SlowStore(MailCase):
    scripts = NOTIFY_ONLY
    extra = "milter { commit_timeout_ms = 200 }"

    def test_late_commit_is_delivered(self):
        """The mail goes on without its notice when the store is slow; the notice comes when it is stored."""
        alice = self.client("alice")
        t = token("subject")
        db, = self.d.data.glob("*.db")
        with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # nobody else writes
            self.pf.inject(mail(subject=t, to="alice@lab.test"))
            self.pf.wait_mail("alice", t)
            self.d.wait_log("event=notice-late")
            other.execute("ROLLBACK")
        alice.wait(body_is(t), 15)
        self.assertEqual([e for e in xmppc.fence(alice, alice) if body_is(t)(e)], [])


class Routes(MailCase):
    def test_online_gets_chat_instead_of_mail(self):
        alice = self.slix("alice")
        t = token()
        self.pf.inject(mail(subject="s", body="text " + t, to="alice@lab.test"))
        m = alice.wait_message(t)
        self.assertIn(m["type"], ("chat", "normal"))
        self.not_mailed("alice", t)

    def not_mailed(self, user, word):
        """Nothing of it in the Maildir, after a later mail has passed."""
        after = token()
        self.pf.inject(mail(subject=after, to="dave@lab.test"))
        self.pf.wait_mail("dave", after)
        self.assertEqual(self.pf.find(user, word), [])

    def test_offline_gets_mail(self):
        t = token()
        self.pf.inject(mail(body=t, to="bob@lab.test"))
        self.pf.wait_mail("bob", t)
        bob = self.client("bob")
        self.assertEqual([e for e in xmppc.fence(bob, bob) if body_is(t)(e)], [])

    def test_negative_priority_is_not_online(self):
        alice = self.client("alice", priority=-1)
        t = token()
        self.pf.inject(mail(body=t, to="alice@lab.test"))
        self.pf.wait_mail("alice", t)
        self.assertEqual([e for e in xmppc.fence(alice, alice) if body_is(t)(e)], [])

    def test_three_recipients_of_three_kinds(self):
        """One transaction: chat for who is online, mail for who is not and for who has no account."""
        alice = self.client("alice")
        t = token()
        refused = self.pf.inject(mail(body=t, to=["alice@lab.test", "bob@lab.test", "carol@lab.test"]))
        self.assertEqual(refused, {})
        alice.wait(body_is(t), 15)
        self.pf.wait_mail("bob", t)
        self.pf.wait_mail("carol", t)
        self.not_mailed("alice", t)
        self.assertEqual(len(self.pf.find("bob", t)), 1)
        self.assertEqual(len(self.pf.find("carol", t)), 1)

    def test_repeat_is_no_second_chat(self):
        """The same Message-ID to the same recipient: an SMTP client that missed our 250."""
        alice = self.client("alice")
        t = token()
        m = mail(body=t, to="alice@lab.test")
        self.pf.inject(m)
        alice.wait(body_is(t), 15)
        self.pf.inject(m)
        again = token()
        self.pf.inject(mail(body=again, to="alice@lab.test"))
        alice.wait(body_is(again), 15)
        self.assertEqual([e for e in alice.drain() if body_is(t)(e)], [])

    def test_content(self):
        alice = self.client("alice")
        for charset, words in (("utf-8", "gr\u00fc\u00dfe \u2603 \U0001f600"), ("iso-8859-1", "gr\u00fc\u00dfe"), ("koi8-r", "\u043f\u0440\u0438\u0432\u0435\u0442")):
            for cte in ("base64", "quoted-printable"):
                with self.subTest(charset=charset, cte=cte):
                    t = token()
                    m = mail(to="alice@lab.test")
                    m.set_content("%s %s\n" % (t, words), charset=charset, cte=cte)
                    self.pf.inject(m)
                    self.assertIn("%s %s" % (t, words), text(alice.wait(body_is(t), 15)))

    def test_html_only(self):
        alice = self.client("alice")
        t = token()
        m = mail(to="alice@lab.test")
        m.set_content("<html><head><style>p{color:red}</style><script>evil()</script></head><body><p>%s</p><p>a &lt;b&gt; &amp;</p></body></html>" % t,
                      subtype="html")
        self.pf.inject(m)
        body = text(alice.wait(body_is(t), 15))
        self.assertIn("a <b> &", body)
        for no in ("color:red", "evil", "<p>"):
            self.assertNotIn(no, body)

    def test_alternative_prefers_plain(self):
        alice = self.client("alice")
        t = token()
        m = mail(to="alice@lab.test", body="plain " + t)
        m.add_alternative("<p>rich %s</p>" % t, subtype="html")
        self.pf.inject(m)
        body = text(alice.wait(body_is(t), 15))
        self.assertIn("plain " + t, body)
        self.assertNotIn("rich", body)

    def test_malformed_mail_is_not_lost(self):
        """Chat or mail, as long as it arrives, and nothing falls over."""
        alice = self.client("alice")
        for head, body in ((b"Content-Type: multipart/mixed; boundary=x", b"--y\r\nno such boundary %s"),
                           (b"Content-Type: text/plain; charset=nonsense", b"%s \xff\xfe"),
                           (b"Content-Transfer-Encoding: base64", b"%s !!! not base64"),
                           (b"Content-Type: ;;;=\r\nContent-Type: again", b"%s"),
                           (b"MIME-Version: 17", b"%s \x0c\x01\x02")):
            with self.subTest(head=head):
                t = token()
                data = b"From: carol@lab.test\r\nTo: alice@lab.test\r\nMessage-ID: <%s@x>\r\n%s\r\nSubject: %s\r\n\r\n%s\r\n" % (
                    t.encode(), head, t.encode(), body.replace(b"%s", t.encode()))
                with smtplib.SMTP("127.0.0.1", self.pf.port) as s:
                    s.sendmail("carol@lab.test", ["alice@lab.test"], data)
                lab.wait_until(lambda: (alice.pump(0.02) or any(t in xmppc.show(e) for e in alice.seen)) or self.pf.find("alice", t), 15,
                               "chat or mail with " + t)
        alice.sync()

    def test_milter_down_then_up(self):
        """Nothing is lost while we are away: the MTA says 4xx, later takes the same mail."""
        t = token()
        m = mail(body=t, to="alice@lab.test")
        self.assertEqual(self.d.terminate(), 0)
        with self.assertRaises(smtplib.SMTPResponseException) as c:
            self.pf.inject(m)
        self.assertEqual(c.exception.smtp_code // 100, 4)
        self.d.start()
        alice = self.client("alice")

        def taken():
            try:
                self.pf.inject(m)
                return True
            except smtplib.SMTPException:
                return False
        lab.wait_until(taken, 20, "Postfix to take the mail again")
        alice.wait(body_is(t), 15)

    def test_relayed_mail_waits_for_us(self):
        """Another MTA in front keeps the mail in its queue until we are back."""
        front = self.lab.postfix(outport=self.pf.port)
        # out.test of the front leads to our Postfix, which hands it to the sink
        t = token()
        self.d.terminate()
        front.inject(mail(subject=t, to="far@out.test"))
        lab.wait_until(lambda: "status=deferred" in front.log_text(), 20, front.log_tail)
        self.assertEqual(self.sink.find(t), [])
        self.d.start()
        lab.wait_until(lambda: (front.flush(), self.sink.find(t))[1], 30, front.log_tail, step=0.5)
        front.stop()


class ChatToMail(MailCase):
    def test_chat_becomes_mail(self):
        alice = self.slix("alice")
        t = token()
        alice.send("carol@lab.test", "hello %s \u2603" % t)
        m = self.pf.wait_mail("carol", t, 30)
        self.assertEqual(m["From"].addresses[0].addr_spec, "alice@lab.test")
        self.assertEqual(m["To"].addresses[0].addr_spec, "carol@lab.test")
        self.assertIn("hello %s \u2603" % t, text_of(m))
        self.assertTrue(m["Message-ID"] and m["Date"])
        self.assertIn("alice@lab.test", m["Return-Path"])
        self.assertEqual(len(self.pf.find("carol", t)), 1)

    def test_to_another_mail_domain(self):
        alice = self.client("alice")
        t = token()
        alice.message("x@out.test", t)
        sender, rcpts, m = self.sink.wait_mail(t, 30)
        self.assertEqual((sender, rcpts), ("alice@lab.test", ["x@out.test"]))

    def test_no_mail_without_text(self):
        """Chat states, receipts, errors and headlines are no letters."""
        alice = self.client("alice")
        n = len(self.pf.mails("erin"))
        alice.message("erin@lab.test", None, inner="<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        alice.message("erin@lab.test", None, inner="<received xmlns='urn:xmpp:receipts' id='x'/>")
        alice.message("erin@lab.test", "an error", "error", "<error type='cancel'><gone xmlns='%s'/></error>" % xmppc.STANZA_ERRORS)
        alice.message("erin@lab.test", "", "chat")
        t = token()
        alice.message("erin@lab.test", t)
        self.pf.wait_mail("erin", t, 30)
        self.assertEqual(len(self.pf.mails("erin")), n + 1)

    def test_header_injection(self):
        alice = self.client("alice")
        t = token()
        alice.message("carol@lab.test", "a %s\r\n.\r\nRCPT TO:<x@out.test>\r\n\r\n.hidden\r\n..two" % t,
                      inner="<subject>%s\r\nBcc: victim@out.test\r\n\r\nbody</subject><thread>x\ny: z</thread>" % t)
        m = self.pf.wait_mail("carol", t, 30)
        self.assertIsNone(m["Bcc"])
        self.assertIsNone(m["y"])
        self.assertIn(".hidden", text_of(m))
        self.assertIn("..two", text_of(m))
        self.assertEqual([x for x in self.sink.rcpt_tries if x in ("x@out.test", "victim@out.test")
                          and any(t in mm[2].as_string() for mm in self.sink.mails)], [])

    def test_long_text(self):
        alice = self.client("alice")
        t = token()
        body = t + " " + "w\u00f6rd " * 5000
        alice.message("carol@lab.test", body)
        m = self.pf.wait_mail("carol", t, 30)
        self.assertEqual(" ".join(text_of(m).split()), " ".join(body.split()))
        self.assertTrue(all(len(line) <= 998 for line in m.as_bytes().split(b"\n")))

    def test_reply_is_threaded(self):
        """mail -> chat -> mail -> chat: References one way, <thread/> the other."""
        alice = self.client("alice")
        t1, t2, t3 = token(), token(), token()
        original = mail(subject="Lunch", body=t1, sender="carol@lab.test", to="alice@lab.test")
        self.pf.inject(original)
        chat = alice.wait(body_is(t1), 15)
        thread = text(chat, "thread")
        self.assertTrue(thread, "a chat made from mail needs a thread")
        alice.message(chat.get("from"), t2, inner="<thread>%s</thread>" % thread)
        answer = self.pf.wait_mail("carol", t2, 30)
        self.assertEqual(answer["In-Reply-To"].strip(), original["Message-ID"])
        self.assertIn(original["Message-ID"], answer["References"].split())
        self.assertIn("Lunch", answer["Subject"])
        self.assertEqual(answer["From"].addresses[0].addr_spec, "alice@lab.test")
        self.pf.inject(mail(subject="Re: Lunch", body=t3, sender="carol@lab.test", to="alice@lab.test",
                            In_Reply_To=answer["Message-ID"],
                            References="%s %s" % (original["Message-ID"], answer["Message-ID"])))
        again = alice.wait(body_is(t3), 15)
        self.assertEqual(text(again, "thread"), thread)
        self.assertEqual(again.get("from"), chat.get("from"))

    def test_threads_are_kept_apart(self):
        alice = self.client("alice")
        threads = set()
        for i in range(3):
            t = token()
            self.pf.inject(mail(subject="topic %d" % i, body=t, to="alice@lab.test"))
            threads.add(text(alice.wait(body_is(t), 15), "thread"))
        self.assertEqual(len(threads), 3)

    def test_mail_answering_a_chat_started_mail(self):
        """The conversation began as chat with a thread; the answer by mail lands in it."""
        alice = self.client("alice")
        t1, t2 = token(), token()
        alice.message("dave@lab.test", t1, inner="<thread>my-%s</thread>" % t1)
        sent = self.pf.wait_mail("dave", t1, 30)
        self.pf.inject(mail(subject="Re: " + (sent["Subject"] or ""), body=t2, sender="dave@lab.test", to="alice@lab.test",
                            In_Reply_To=sent["Message-ID"], References=sent["Message-ID"]))
        self.assertEqual(text(alice.wait(body_is(t2), 15), "thread"), "my-" + t1)

    def test_refused_recipient_comes_back(self):
        """A 5xx of the MTA is an error in the chat with its text."""
        alice = self.client("alice")
        id_ = alice.message("nobody@lab.test", "are you there?")
        e = alice.wait(is_("message", id=id_, type_="error"), 30)
        self.assertEqual(e.get("from"), "nobody@lab.test")
        self.assertIn("5.1.1", error_text(e))
        self.assertIsNotNone(error_of(e)[1])
        self.assertNotIn("nobody@lab.test", self.d.ctl("outbox", "list"))

    def test_later_bounce_comes_back(self):
        """A delivery report that arrives by mail is an error in the right conversation."""
        alice = self.client("alice")
        id_ = alice.message("later@lab.test", "to be refused later")
        e = alice.wait(is_("message", id=id_, type_="error"), 40)
        self.assertEqual(e.get("from"), "later@lab.test")
        self.assertIn("over quota", error_text(e))

    def sent_by_chat(self, client, body, **kw):
        """The stanza's id and the mail carol has of it."""
        id_ = client.message("carol@lab.test", body, **kw)
        return id_, self.pf.wait_mail("carol", body, 30)

    def test_report_waits_for_an_offline_sender(self):
        alice, t = self.client("alice"), token()
        id_, m = self.sent_by_chat(alice, t, inner="<thread>of-%s</thread>" % t)
        alice.close()
        r = report(self.pf.port, m["Message-ID"], "554 5.7.1 not from you", status="5.7.1")
        alice = self.client("alice")
        e = alice.wait(is_("message", id=id_, type_="error"), 15)
        self.assertEqual(error_of(e), ("cancel", "not-allowed"))
        self.assertEqual(text(e, "thread"), "of-" + t)
        self.assertEqual(self.pf.find("alice", r), [])

    def test_report_without_stanza_id(self):
        alice, t = self.client("alice"), token()
        alice.send("<message to='carol@lab.test' type='chat'><body>%s</body></message>" % t)
        m = self.pf.wait_mail("carol", t, 30)
        report(self.pf.port, m["Message-ID"])
        e = alice.wait(is_("message", from_="carol@lab.test", type_="error"), 15)
        self.assertIn("5.2.2", error_text(e))

    def test_report_of_delay_is_mail(self):
        alice = self.client("alice")
        _, m = self.sent_by_chat(alice, token())
        r = report(self.pf.port, m["Message-ID"], "450 4.4.1 not yet", action="delayed", status="4.4.1")
        self.pf.wait_mail("alice", r)
        self.none_of_errors(alice)

    def test_forged_report_is_mail(self):
        """An id we never made, one of ours that was never given to alice, a report with a sender."""
        alice = self.client("alice")
        _, m = self.sent_by_chat(alice, token())
        for about, sender in (("<x.6d37@mx.lab.test>", ""), ("<some@far.test>", ""), (m["Message-ID"], "carol@lab.test")):
            with self.subTest(about=about, sender=sender):
                self.pf.wait_mail("alice", report(self.pf.port, about, sender=sender))
        self.none_of_errors(alice)

    def none_of_errors(self, c):
        self.assertEqual([xmppc.show(e) for e in xmppc.fence(c, c) if e.get("type") == "error"], [])

    def test_subject_of_chat(self):
        alice, t = self.client("alice"), token()
        subject = "Gr\u00fc\u00dfe \u2603 %s %s" % (t, "und noch mehr " * 10)
        _, m = self.sent_by_chat(alice, t, inner="<subject>%s</subject>" % subject)
        self.assertEqual(" ".join(m["Subject"].split()), " ".join(subject.split()))

    def test_subject_of_a_conversation(self):
        """A subject begins one; lines of its thread belong to it, others do not."""
        alice, t1, t2 = self.client("alice"), token(), token()
        _, first = self.sent_by_chat(alice, t1, inner="<subject>Plan %s</subject><thread>th-%s</thread>" % (t1, t1))
        _, second = self.sent_by_chat(alice, t2, inner="<thread>th-%s</thread>" % t1)
        self.assertIn("Plan " + t1, second["Subject"])
        self.assertEqual(second["In-Reply-To"].strip(), first["Message-ID"])
        t3 = token()
        _, third = self.sent_by_chat(alice, t3, inner="<thread>th-%s</thread>" % t3)
        self.assertIsNone(third["In-Reply-To"])
        self.assertNotIn(t1, third["Subject"])

    def test_awkward_text(self):
        """Dots, From, blanks at line ends, direction marks, characters beyond the BMP: as they were."""
        alice, t = self.client("alice"), token()
        body = "%s\n.\n..\nFrom here\n  two\ttab  \n>quoted\n\u05e9\u05dc\u05d5\u05dd \u200f\U0001f600\n=20 =\n\nend" % t
        alice.message("carol@lab.test", body)
        got = self.pf.wait_mail("carol", t, 30)
        self.assertEqual([x.rstrip() for x in text_of(got).rstrip("\n").split("\n")], [x.rstrip() for x in body.split("\n")])

    def test_no_routes_through_us(self):
        """Local parts that an MTA may read as a way elsewhere are no addresses to us."""
        alice = self.client("alice")
        for local in ("x%evil.test", "evil.test!x", r"\22x\40evil.test\22"):
            with self.subTest(local=local):
                id_ = alice.message(local + "@out.test", "relay me")
                e = alice.wait(is_("message", id=id_, type_="error"), 15)
                self.assertIn("jid-malformed", xmppc.show(e))

    def test_mail_that_bounces_makes_no_mail(self):
        """No letter about a letter about a letter."""
        alice = self.client("alice")
        n = len(self.pf.mails("alice"))
        id_ = alice.message("nobody@lab.test", "one")
        alice.wait(is_("message", id=id_, type_="error"), 30)
        self.assertEqual(len(self.pf.mails("alice")), n)

    def test_no_loop(self):
        """Mail we sent that comes back to us, and automatic answers, start no ping-pong."""
        alice = self.client("alice")
        t = token()
        self.pf.inject(mail(body=t, to="alice@lab.test", Auto_Submitted="auto-replied"), sender="")
        after = token()
        self.pf.inject(mail(body=after, to="alice@lab.test"))
        alice.wait(body_is(after), 15)
        self.assertEqual([m for m in self.pf.mails("carol") if t in m.as_string()], [])

    def test_accounts_chat_stays_chat(self):
        """An address with an account never gets mail made from chat by this rule."""
        alice, bob = self.client("alice"), self.client("bob")
        t = token()
        alice.message("bob@lab.test", t)
        bob.wait(body_is(t))
        self.assertEqual(self.pf.find("bob", t), [])


class Gateway(lab.Case):
    """Any mail address as a contact: user\\40example.com@gateway (XEP-0106)."""
    ZOE = "zoe\\40far.test@gateway.test"

    @classmethod
    def prepare(cls, lab_):
        # what we send ends at the sink, whoever it is for; what comes in passes Postfix
        cls.sink = lab_.sink()
        cls.d = lab_.daemon(scripts=NOTIFY_AND_ROUTE, submit=cls.sink.port, accounts=["alice", "bob"],
                            extra='domain "gateway.test" { XMPP_Role = "server"  service = "gateway" }')
        cls.pf = lab_.postfix(milter=cls.d.milter)

    def setUp(self):
        self.sink.refuse.clear()
        self.alice = xmppc.login(self.d.c2s_port, "alice")
        self.addCleanup(self.alice.close)

    def write(self, body, to=ZOE, **kw):
        id_ = self.alice.message(to, body, **kw)
        return id_, self.sink.wait_mail(body, 30)

    def test_there_and_back(self):
        t1, t2, t3 = token(), token(), token()
        _, (sender, rcpts, m) = self.write(t1, inner="<thread>th-%s</thread><subject>Far</subject>" % t1)
        self.assertEqual((sender, rcpts), ("alice@lab.test", ["zoe@far.test"]))
        self.assertEqual(m["To"].addresses[0].addr_spec, "zoe@far.test")
        self.pf.inject(mail(subject="Re: Far", body=t2, sender="zoe@far.test", to="alice@lab.test",
                            In_Reply_To=m["Message-ID"], References=m["Message-ID"]))
        answer = self.alice.wait(body_is(t2), 15)
        self.assertEqual(answer.get("from"), self.ZOE)
        self.assertEqual(text(answer, "thread"), "th-" + t1)
        _, (_, rcpts, again) = self.write(t3, to=answer.get("from"), inner="<thread>th-%s</thread>" % t1)
        self.assertEqual(rcpts, ["zoe@far.test"])
        self.assertEqual(len(again["References"].split()), 1)

    def test_mail_from_a_stranger(self):
        t = token()
        self.pf.inject(mail(body=t, sender="o'neil+x/y@far.test", to="alice@lab.test"))
        m = self.alice.wait(body_is(t), 15)
        self.assertEqual(m.get("from"), "o\\27neil+x\\2fy\\40far.test@gateway.test")
        t = token()
        _, (_, rcpts, _) = self.write(t, to=m.get("from"))
        self.assertEqual(rcpts, ["o'neil+x/y@far.test"])

    def test_our_own_addresses_stay_themselves(self):
        """A mail address of ours is its own contact; an account's name in From is no proof of it."""
        for sender, jid in (("carol@lab.test", "carol@lab.test"), ("bob@lab.test", "bob\\40lab.test@gateway.test")):
            t = token()
            self.pf.inject(mail(body=t, sender=sender, to="alice@lab.test"))
            self.assertEqual(self.alice.wait(body_is(t), 15).get("from"), jid)

    def test_international_domain(self):
        t = token()
        _, (_, rcpts, _) = self.write(t, to="zoe\\40b\u00fccher.test@gateway.test")
        self.assertEqual(rcpts, ["zoe@xn--bcher-kva.test"])

    def test_no_mail_address(self):
        for to in ("zoe@gateway.test", "a\\40@gateway.test", "\\40far.test@gateway.test", "a\\40b\\20c@gateway.test"):
            with self.subTest(to=to):
                id_ = self.alice.message(to, "hello")
                e = self.alice.wait(is_("message", id=id_, type_="error"), 15)
                self.assertEqual(error_of(e)[1], "jid-malformed")

    def test_refused(self):
        self.sink.refuse["zoe@far.test"] = "550 5.1.1 who?"
        id_ = self.alice.message(self.ZOE, "hello")
        e = self.alice.wait(is_("message", id=id_, type_="error"), 30)
        self.assertEqual((e.get("from"), error_of(e)[1]), (self.ZOE, "item-not-found"))

    def test_report(self):
        """A delivery report comes from where the conversation is."""
        t = token()
        id_, (_, _, m) = self.write(t, inner="<thread>th-%s</thread>" % t)
        report(self.pf.port, m["Message-ID"], "552 5.3.4 too big", status="5.3.4")
        e = self.alice.wait(is_("message", id=id_, type_="error"), 15)
        self.assertEqual((e.get("from"), error_of(e), text(e, "thread")),
                         (self.ZOE, ("cancel", "policy-violation"), "th-" + t))
        self.assertIn("552 5.3.4 too big", error_text(e))


class Outbox(lab.Case):
    """Chat that is to be mail waits for the MTA, and survives anything meanwhile."""

    @classmethod
    def prepare(cls, lab_):
        cls.sink = lab_.sink()
        cls.d = lab_.daemon(submit=cls.sink.port, accounts=["alice", "bob"], milter=False)

    def setUp(self):
        self.sink.refuse.clear()
        self.sink.data_reply = None
        self.alice = xmppc.login(self.d.c2s_port, "alice", sm=True)
        self.addCleanup(self.alice.close)

    def listed(self, word):
        return word in self.d.ctl("outbox", "list")

    def flush(self):
        """Tell it to try now; the queue's own timer may be quicker."""
        self.d.ctl("outbox", "retry", check=False)
        return True

    def test_tempfail_is_retried(self):
        self.sink.refuse["wait@lab.test"] = "451 4.3.0 not now"
        t = token()
        self.alice.message("wait@lab.test", t)
        lab.wait_until(lambda: "wait@lab.test" in self.sink.rcpt_tries, 30, "a first try")
        lab.wait_until(lambda: self.listed("wait@lab.test"), 10, "a row in outbox list")
        self.assertIn("wait@lab.test", str(self.d.ctl("outbox", "list", json_out=True)))
        self.sink.refuse.clear()
        lab.wait_until(lambda: self.flush() and self.sink.find(t), 60, "the mail", step=0.5)
        lab.wait_until(lambda: not self.listed("wait@lab.test"), 10, "an empty outbox")
        self.assertEqual(len(self.sink.find(t)), 1)

    def test_waiting_mail_survives_sigkill(self):
        self.sink.refuse["kill@lab.test"] = "451 4.3.0 not now"
        t = token()
        h = self.alice.sm_request()
        self.alice.message("kill@lab.test", t)
        lab.wait_until(lambda: self.alice.sm_request() > h, 10, "the server to count the message")
        self.d.kill()
        self.sink.refuse.clear()
        self.d.start()
        lab.wait_until(lambda: self.flush() and self.sink.find(t), 60, "the mail", step=0.5)

    def test_drop(self):
        self.sink.refuse["drop@lab.test"] = "451 4.3.0 not now"
        self.alice.message("drop@lab.test", token())
        lab.wait_until(lambda: self.listed("drop@lab.test"), 30, "a row in outbox list")
        rows = self.d.ctl("outbox", "list", json_out=True)
        rows = rows if isinstance(rows, list) else next(v for v in rows.values() if isinstance(v, list))
        row = next(r for r in rows if "drop@lab.test" in str(r))
        self.d.ctl("outbox", "drop", str(row["id"]))
        self.assertFalse(self.listed("drop@lab.test"))

    def test_refused_after_data(self):
        self.sink.data_reply = "554 5.7.1 I do not like the content"
        id_ = self.alice.message("content@lab.test", token())
        e = self.alice.wait(is_("message", id=id_, type_="error"), 30)
        self.assertIn("do not like the content", error_text(e))

    def test_error_waits_for_an_offline_sender_or_not_at_all(self):
        """The sender left before the 5xx: nothing breaks."""
        self.sink.refuse["gone@lab.test"] = "550 5.1.1 gone"
        self.alice.message("gone@lab.test", token())
        self.alice.close()
        lab.wait_until(lambda: "gone@lab.test" in self.sink.rcpt_tries, 30, "a try")
        lab.wait_until(lambda: not self.listed("gone@lab.test"), 10, "an empty outbox")

    def test_mta_away(self):
        d = self.lab.daemon("away", submit=(port := lab.free_port()), accounts=["alice"], milter=False)
        self.addCleanup(d.stop_quietly)
        c = xmppc.login(d.c2s_port, "alice", sm=True)
        self.addCleanup(c.close)
        t = token()
        c.message("carol@lab.test", t)
        lab.wait_until(lambda: "carol@lab.test" in d.ctl("outbox", "list"), 30, "a row")
        self.none_of_errors(c)
        sink = lab.Sink(port=port)
        self.addCleanup(sink.close)
        lab.wait_until(lambda: (d.ctl("outbox", "retry", check=False), sink.find(t))[1], 60, "the mail", step=0.5)

    def test_lines_are_collected(self):
        """Several lines within the silence asked for are one mail, in order."""
        d = self.lab.daemon("collect", submit=self.sink.port, mail="collect = 1", accounts=["alice"], milter=False)
        self.addCleanup(d.stop_quietly)
        c = xmppc.login(d.c2s_port, "alice")
        self.addCleanup(c.close)
        t = token()
        for i in range(4):
            c.message("lines@lab.test", "%s-%d" % (t, i))
        m = self.sink.wait_mail(t + "-3", 30)[2]
        body = text_of(m)
        places = [body.find("%s-%d" % (t, i)) for i in range(4)]
        self.assertEqual(places, sorted(places))
        self.assertNotIn(-1, places)
        self.assertEqual(len(self.sink.find(t)), 1)

    def none_of_errors(self, c):
        c.sync()
        self.assertEqual([xmppc.show(e) for e in c.drain() if e.get("type") == "error"], [])


if __name__ == "__main__":
    lab.main()
