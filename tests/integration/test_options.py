"""test_options - options that a Listen, a listener or a Peer sets do there what their doc line says."""
import grp
import os
import smtplib
import socket
import struct
import subprocess
import time
from pathlib import Path

import lab
import xmppc
from lab import mail, token
from xmppc import PING, SM, is_, kid

CONTEXT = """
local h = {}
function h:client_message_recv(sess, st)
  local v = sess.vctx
  local text = v:get(msys.core.VCTX_CONN, "where") .. "," .. v:get(msys.core.VCTX_CONN, "nothing")
  v:set(msys.core.VCTX_CONN, "where", "changed")
  text = text .. "," .. v:get(msys.core.VCTX_CONN, "where")
  require("msys.xmpp")
  tandem.log("info", "ctx=%s", text)
  return msys.xmpp.CONT
end
require("msys.xmpp")
msys.xmpp.registerModule("context", h)
"""


class From(xmppc.Conn):
    """A connection from a loopback address of choice."""

    def __init__(self, port, source, **kw):
        real = socket.create_connection
        try:
            socket.create_connection = lambda a, t: real(a, t, source_address=(source, 0))
            super().__init__(port, **kw)
        finally:
            socket.create_connection = real


class Listeners(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.quick, cls.peers, cls.small = lab.free_port(), lab.free_port(), lab.free_port()
        cls.passwd = lab_.dir / "passwd"
        cls.passwd.write_text("ann:%s\n" % lab.PASSWORD)
        cls.passwd.chmod(0o600)
        cls.cert = lab_.dir / "other.pem"
        extra = """
xmpp_listener {
  AuthParameters = [ uri = "store://" ]
  ping_timeout = 2
  context = [ where = "outer" ]
  Listen "127.0.0.1:%d" { ping_interval = 1  context = [ where = "quick" ] }
  Listen "127.0.0.1:%d" { max_stanza_size = 20000  max_depth = 20  negotiation_timeout = 1  tls_required = false }
  Listen "127.0.0.1:%d" {
    ping_interval = 0
    Peer "127.0.0.0/29" { max_stanza_size = 30000 }
    Peer "127.0.0.2" { AuthPlainParameters = [ uri = "file://%s" ]  tls_certificate = "%s"  context = [ where = "two" ] }
    Peer "127.0.0.3" { always_deny = true }
    Peer "127.0.0.4" { tls_certificate = none  tls_required = false }
    Peer "127.0.0.5" { ping_interval = 1  ping_timeout = 1 }
  }
}
domain "two.test" { XMPP_Role = server  resource_conflict = reject  max_resources = 2  offline_messages = false  sm_resume_timeout = 77 }
""" % (cls.quick, cls.small, cls.peers, cls.passwd, cls.cert)
        cls.d = lab_.daemon(extra=extra, milter=False, scripts='script "context" { source = "context" }', start=False)
        cls.d.script("context", CONTEXT)
        cls.d.start()
        for u in ("ann", "bob", "ann@two.test", "bob@two.test"):
            cls.d.add_account(u)

    def login(self, port, user="ann", **kw):
        c = xmppc.login(port, user, **kw)
        self.addCleanup(c.close)
        return c

    def come_from(self, address, port=None):
        c = From(port or self.peers, address)
        self.addCleanup(c.close)
        c.open()
        return c

    # -- pings

    def pings(self, c):
        p = c.wait(lambda e: kid(e, "ping", PING) is not None, 10)
        self.assertEqual((p.get("type"), p.get("from"), p.get("to")), ("get", "lab.test", c.jid))
        return p.get("id")

    def test_ping_and_answer(self):
        c = self.login(self.quick)
        for _ in range(2):
            # a result, or an error of a client that knows no pings: both are life
            c.send("<iq type='result' to='lab.test' id='%s'/>" % self.pings(c))
            c.send("<iq type='error' to='lab.test' id='%s'><error type='cancel'/></iq>" % self.pings(c))
        c.sync()

    def test_ping_without_answer(self):
        c = self.login(self.quick, "bob", resource="r")
        watch = self.login(self.d.c2s_port, "bob")
        self.pings(c)
        c.wait_eof(10)
        watch.wait(is_("presence", type_="unavailable", from_=c.jid))
        self.assertNotIn(c.jid, self.d.ctl("session", "list"))

    def test_ping_of_sm(self):
        """<r/>; without an answer the session waits for its resumption."""
        c = self.login(self.quick, sm=True)
        time.sleep(3.5)
        c.auto_ack = True
        c.drain()
        asked = [e for e in c.seen if e.tag == "{%s}r" % SM]
        self.assertGreaterEqual(len(asked), 1)
        self.assertFalse(any(kid(e, "ping", PING) is not None for e in c.seen))
        c = self.login(self.quick, "bob", sm=True, resource="sm")
        c.auto_ack = False
        c.wait(is_("r"), 10)
        c.wait_eof(10)
        self.d.wait_log("event=session-hibernate .*bob@lab.test/sm")
        again = xmppc.authed(self.quick, "bob")
        self.addCleanup(again.close)
        self.assertEqual(xmppc.local(again.sm_resume(c)), "resumed")

    def test_no_ping_before_login(self):
        c = xmppc.Conn(self.quick)
        self.addCleanup(c.close)
        c.open()
        time.sleep(2.5)
        self.assertEqual(c.drain(), [])
        c.starttls()

    # -- limits of one Listen

    def test_limits_of_a_listen(self):
        c = self.login(self.small)
        c.message("bob@lab.test", "x" * 19000)
        c.sync()
        c.message("bob@lab.test", "x" * 20000)
        self.assertEqual(c.wait_end(), "policy-violation")
        c = self.login(self.small)
        c.send("<message to='bob@lab.test'>" + "<a>" * 20)
        self.assertEqual(c.wait_end(), "policy-violation")
        c = self.login(self.d.c2s_port)
        c.message("bob@lab.test", "x" * 30000)
        c.send("<message to='bob@lab.test'>" + "<a>" * 20 + "</a>" * 20 + "</message>")
        c.sync()

    def test_negotiation_timeout_of_a_listen(self):
        c = xmppc.Conn(self.small)
        self.addCleanup(c.close)
        c.open()
        self.assertEqual(c.wait_end(5), "connection-timeout")

    def test_limits_of_a_domain(self):
        port = self.d.c2s_port
        c = self.login(port, domain="two.test", resource="r")
        self.assertEqual(c.sm_enable().get("max"), "77")
        again = xmppc.authed(port, "ann", domain="two.test")
        self.addCleanup(again.close)
        self.assertEqual(xmppc.error_of(again.bind("r"))[1], "conflict")
        self.assertEqual(again.bind("s").get("type"), "result")
        third = xmppc.authed(port, "ann", domain="two.test")
        self.addCleanup(third.close)
        self.assertEqual(xmppc.error_of(third.bind("t"))[1], "resource-constraint")
        self.assertEqual(xmppc.error_of(c.wait(is_("message", id=c.message("bob@two.test", "x"))))[1], "service-unavailable")
        # the other domain goes by xmpp {}, before and after a reload
        for _ in range(2):
            old = self.login(port, resource="r")
            self.assertEqual(old.sm_enable().get("max"), "600")
            self.login(port, resource="r")
            self.assertEqual(old.wait_end(), "conflict")
            self.d.ctl("config", "reload")
            self.assertEqual(xmppc.error_of(third.bind("t"))[1], "resource-constraint")

    # -- Peers

    def test_peer_credentials_and_certificate(self):
        c = self.come_from("127.0.0.2")
        c.starttls()
        mine = c.sock.getpeercert(True)
        c.open()
        self.assertIn("PLAIN", c.mechanisms())
        self.assertEqual(xmppc.local(c.auth("ann", mech="PLAIN")), "success")
        c = self.come_from("127.0.0.9")
        c.starttls()
        self.assertNotEqual(c.sock.getpeercert(True), mine)
        c.open()
        self.assertNotIn("PLAIN", c.mechanisms())
        self.assertEqual(xmppc.local(c.auth("ann")), "success")

    def test_peer_denied(self):
        c = From(self.peers, "127.0.0.3")
        self.addCleanup(c.close)
        c.wait_eof()

    def test_peer_without_tls(self):
        c = self.come_from("127.0.0.4")
        self.assertIsNone(c.features.find("{%s}starttls" % xmppc.TLS))
        self.assertEqual(xmppc.local(c.auth("ann")), "success")
        c.open()
        c.bind()
        # what this Peer does not say the wider one does
        c.message("bob@lab.test", "x" * 31000)
        self.assertEqual(c.wait_end(), "policy-violation")

    def test_peer_pings(self):
        c = self.come_from("127.0.0.5")
        c.starttls()
        c.open()
        c.auth("ann")
        c.open()
        c.bind()
        self.pings(c)
        c.wait_eof(10)

    # -- context

    def test_context(self):
        bob = self.login(self.d.c2s_port, "bob")
        for port, want in ((self.quick, "quick"), (self.small, "outer")):
            c = self.login(port)
            before = len(self.d.log_text())
            t = token()
            c.message(bob.jid, t)
            bob.wait(xmppc.body_is(t))
            self.d.wait_log(r"event=script-log .*ctx=%s,,changed" % want, after=before)


MAIL = """
local mod = {}
function mod:validate_rcptto(msg, str, ac, vctx)
  if tostring(str):find("tellme") then
    vctx:set_code(550, "5.7.1 where=" .. vctx:get(msys.core.VCTX_CONN, "where"))
  end
  return msys.core.VALIDATE_CONT
end
function mod:validate_data(msg, ac, vctx)
  local to = msg:header("X-Inject")[1]
  if to then
    require("msys.extended.message")
    local m = msys.core.ec_message_new(nil)
    m:build({ From = "a@lab.test", To = "b@lab.test" }, { ["text/plain"] = "x" }, nil)
    local ok, why = pcall(m.inject, m, "a@lab.test", to)
    vctx:set_code(550, "5.7.1 inject " .. tostring(ok) .. " " .. tostring(why))
  end
  return msys.core.VALIDATE_CONT
end
msys.registerModule("mail", mod)
"""


class Milter(lab.Case):
    """Options of milter_listener, milter {} and mail {}; the MTA is a small one of our own, or Postfix."""

    @classmethod
    def prepare(cls, lab_):
        cls.d = lab_.daemon(milter=False, submit=lab.free_port(), start=False, mail="max_recipients = 3  max_chat_body = 300",
                            scripts='script "mail" { source = "mail" }\n  script "route" { source = "tandem.route" }',
                            top="server_max_file_descriptors = 3000", extra="""
milter { dedup_life = 60  milter_timeout = 10  max_data_size = 65535 }
milter_listener {
  context = [ where = "everywhere" ]
  Peer "127.0.0.2" { context = [ where = "two" ] }
  Peer "127.0.0.3" { always_deny = true }
  Listen "%s" { file_mode = 0666  file_group = "mail" }
}
""" % (lab_.dir / "d" / "milter.sock"))
        cls.d.script("mail", MAIL)
        cls.d.start()
        cls.d.add_account("alice")
        cls.pf = lab_.postfix(milter=cls.d.milter)

    def smtp(self, source="127.0.0.1"):
        s = smtplib.SMTP("127.0.0.1", self.pf.port, timeout=60 * lab.SLOW, source_address=(source, 0))
        self.addCleanup(s.close)
        s.ehlo("client.test")
        return s

    def test_context_and_peer(self):
        for source, want in (("127.0.0.1", "where=everywhere"), ("127.0.0.2", "where=two")):
            s = self.smtp(source)
            s.mail("x@client.test")
            self.assertIn(want, s.rcpt("tellme@sink.test")[1].decode())

    def test_always_deny(self):
        s = smtplib.SMTP(timeout=60 * lab.SLOW, source_address=("127.0.0.3", 0))
        self.addCleanup(s.close)
        code, text = s.connect("127.0.0.1", self.pf.port)
        if code == 220:
            s.ehlo("client.test")
            code, text = s.mail("x@client.test")
            if code == 250:
                code, text = s.rcpt("fine@sink.test")
        self.assertEqual(code // 100, 5, text)
        self.d.wait_log("event=client-denied .*addr=127.0.0.3")

    def test_socket_mode_and_group(self):
        st = os.stat(self.d.milter)
        self.assertEqual((st.st_mode & 0o777, grp.getgrgid(st.st_gid).gr_name), (0o666, "mail"))

    def test_descriptors(self):
        limits = Path("/proc/%d/limits" % self.d.pid).read_text()
        self.assertRegex(limits, r"Max open files +3000 ")

    def milter(self):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(40 * lab.SLOW)
        s.connect(str(self.d.milter))
        s.sendall(struct.pack("!IcIII", 13, b"O", 6, 0x1ff, 0x1fffff))
        return s

    def test_milter_timeout(self):
        """An MTA that stops in the middle for milter_timeout seconds is hung up on."""
        s = self.milter()
        self.assertNotEqual(s.recv(4096), b"")
        s.sendall(struct.pack("!I", 100) + b"B")
        begin = time.monotonic()
        while s.recv(4096):
            pass
        self.assertTrue(5 < time.monotonic() - begin < 30)

    def test_max_data_size(self):
        s = self.milter()
        self.assertNotEqual(s.recv(4096), b"")
        begin = time.monotonic()
        s.sendall(struct.pack("!I", 70000) + b"B")
        while s.recv(4096):
            pass
        self.assertLess(time.monotonic() - begin, 5)

    def test_max_chat_body(self):
        alice = xmppc.login(self.d.c2s_port, "alice")
        self.addCleanup(alice.close)
        t = token()
        self.pf.inject(mail(body=t + " " + "word " * 100, to="alice@lab.test"))
        text = xmppc.text(alice.wait(xmppc.body_is(t), 15))
        self.assertIn("the whole text is in your mail", text)
        self.assertLess(len(text), 400)

    def test_max_recipients(self):
        for n, want in ((3, "inject true"), (4, "over 3 recipients")):
            with self.assertRaises(smtplib.SMTPResponseException) as e:
                self.pf.inject(mail(to="fine@sink.test", X_Inject=",".join("u%d@lab.test" % i for i in range(n))))
            self.assertIn(want, e.exception.smtp_error.decode())

    def test_dedup_life(self):
        """What the store was told of it; the store's own tests look at what it does."""
        self.assertEqual(self.d.ctl("config", "eval", "milter", "dedup_life").split()[-1], "60")


class Console(lab.Case):
    """control_listener over TCP: credentials, Peers, roles."""

    @classmethod
    def prepare(cls, lab_):
        cls.secure, cls.open_, cls.brief = lab.free_port(), lab.free_port(), lab.free_port()
        cls.unix = lab_.dir / "roles.sock"
        passwd, groups = lab_.dir / "console", lab_.dir / "groups"
        passwd.write_text("olga:%s\nroot2:%s\n" % (lab.PASSWORD, lab.PASSWORD))
        passwd.chmod(0o600)
        groups.write_text("# who is what\nops:olga,oscar\nreader:x:oscar, olga\n")
        cls.secret = lab_.dir / "secret"
        cls.secret.write_text(lab.PASSWORD + "\n")
        cls.wrong = lab_.dir / "wrong"
        cls.wrong.write_text("nonsense\n")
        cls.d = lab_.daemon(milter=False, extra="""
control_listener {
  Listen "127.0.0.1:%d" {
    Enable_Authentication = true
    Enable_Authorization = true
    AuthParameters = [ uri = "file://%s" ]
    AuthorizationParameters = [ uri = "groups://%s" ]
    Peer "127.0.0.2" { always_allow = true  enable_authorization = false }
    Peer "127.0.0.3" { always_allow = true  always_deny = true }
  }
  Listen "127.0.0.1:%d" {}
  Listen "127.0.0.1:%d" { timeout = 1 }
  Listen "%s" { enable_authorization = true  file_mode = 0600  file_group = "mail" }
}
Authorization {
  Role "ops" { allow = ( "^version$" "^config (get|eval)" ) }
  Role "reader" { allow = "^account list" }
  Role "root2" { allow = ".*" }
  Role "root" { allow = "^version$" }
}
""" % (cls.secure, passwd, groups, cls.open_, cls.brief, cls.unix))

    def ctl(self, where, *args, secret=None, stdin=""):
        cmd = [lab.binary("tandemctl"), "-s", str(where), "-p", str(secret or self.secret), *args]
        return subprocess.run(cmd, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30 * lab.SLOW)

    def at(self, user):
        return "%s@127.0.0.1:%d" % (user, self.secure)

    def raw(self, line, source="127.0.0.1", port=None):
        """What the port says to a line, and the socket."""
        s = socket.create_connection(("127.0.0.1", port or self.secure), 20 * lab.SLOW, source_address=(source, 0))
        self.addCleanup(s.close)
        s.sendall(line.encode() + b"\n")
        return s.recv(4096).decode(), s

    def test_roles(self):
        r = self.ctl(self.at("olga"), "version")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("tandem", r.stdout)
        self.assertEqual(self.ctl(self.at("olga"), "account", "list").returncode, 0)
        for words in (("summary",), ("config", "set", "log_level", "debug"), ("shutdown",)):
            r = self.ctl(self.at("olga"), *words)
            self.assertEqual((r.returncode, r.stderr), (1, "tandemctl: Not Authorized for this command\n"))
        self.assertEqual(self.ctl(self.at("root2"), "summary").returncode, 0)
        self.d.wait_log("event=control-denied .*user=olga why=role")

    def test_wrong_credentials(self):
        for user, secret in (("olga", self.wrong), ("nobody", self.secret)):
            r = self.ctl(self.at(user), "version", secret=secret)
            self.assertEqual((r.returncode, r.stdout), (1, ""))
            self.assertIn("credentials", r.stderr)

    def test_nothing_before_signing_in(self):
        answer, s = self.raw('{"args":["version"]}')
        self.assertRegex(answer, r"^\d+ 1\nsign in first")
        s.sendall(b'{"sasl":"PLAIN","data":"AG9sZ2EAczNjcmV0LVBhc3M="}\n')     # not in the clear
        self.assertRegex(s.recv(4096).decode(), r"^\d+ 1\nnot authorized")
        s.sendall(b'{"data":"AA=="}\n')
        self.assertRegex(s.recv(4096).decode(), r"^\d+ 1\nsign in first")
        for _ in range(2):
            s.sendall(b'{"sasl":"SCRAM-SHA-256","data":"%%%"}\n')
        while s.recv(4096):     # the third failure closes
            pass

    def test_endless_line(self):
        s = socket.create_connection(("127.0.0.1", self.secure), 20 * lab.SLOW)
        self.addCleanup(s.close)
        try:
            for _ in range(100):
                s.sendall(b"x" * 10000)
            self.assertEqual(s.recv(10), b"")
        except ConnectionError:
            pass
        self.assertEqual(self.ctl(self.at("olga"), "version").returncode, 0)

    def test_peers(self):
        answer, _ = self.raw('{"args":["summary"]}', "127.0.0.2")
        self.assertRegex(answer, r"^\d+ 0\n")
        with self.assertRaises(ConnectionError):
            answer, _ = self.raw('{"args":["version"]}', "127.0.0.3")
            if answer == "":
                raise ConnectionError

    def test_open_port(self):
        r = self.ctl("127.0.0.1:%d" % self.open_, "summary")
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_timeout(self):
        answer, s = self.raw('{"args":["version"]}', port=self.brief)
        self.assertRegex(answer, r"^\d+ 0\n")
        begin = time.monotonic()
        self.assertEqual(s.recv(10), b"")
        self.assertLess(time.monotonic() - begin, 10)

    def test_unix_user_is_a_role(self):
        if os.geteuid() != 0:
            self.skipTest("the role is called root")
        self.assertEqual(self.ctl(self.unix, "version").returncode, 0)
        self.assertEqual(self.ctl(self.unix, "summary").returncode, 1)
        st = os.stat(self.unix)
        self.assertEqual((st.st_mode & 0o777, grp.getgrgid(st.st_gid).gr_name), (0o600, "mail"))


if __name__ == "__main__":
    lab.main()
