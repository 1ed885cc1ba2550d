"""test_scripts - scriptlets that decide, and scriptlets that loop, throw or eat memory in a milter phase."""
import smtplib
import time

import lab
import xmppc

# What a script does is asked for by the recipient's name.
FAULT = """
local mod = {}

local function misbehave(what)
  if what:find("loop") then while true do end end
  if what:find("stubborn") then while true do pcall(function() while true do end end) end end
  if what:find("throw") then error("boom") end
  if what:find("index") then local x; return x.y end
  if what:find("memory") then local t = {} for i = 1, 1e12 do t[i] = ("x"):rep(4096) .. i end end
  if what:find("onestring") then return ("x"):rep(1e12) end
  if what:find("deep") then local function f() return 1 + f() end return f() end
  if what:find("pattern") then return (("a"):rep(40)):find(("a*"):rep(40) .. "b") end
  if what:find("coro") then coroutine.wrap(function() while true do end end)() end
end

function mod:validate_rcptto(msg, str, ac, vctx)
  local rcpt = tostring(str)
  if rcpt:find("atrcpt") then misbehave(rcpt) end
  if rcpt:find("refuse") then vctx:set_code(550, "5.7.1 not this one") end
  if rcpt:find("later") then vctx:set_code(451, "4.7.1 try again") end
  return msys.core.VALIDATE_CONT
end

function mod:validate_data(msg, ac, vctx)
  local subject = msg:header("Subject")[1] or ""
  if subject:find("atdata") then misbehave(subject) end
  if subject:find("refuse") then vctx:set_code(554, "5.7.1 not this mail") end
  if subject:find("addheader") then msg:header("X-Lab", "seen by " .. subject) end
  return msys.core.VALIDATE_CONT
end

msys.registerModule("fault", mod)
"""

FORBIDDEN = """
local found = {}
local function try(name, f)
  local ok, r = pcall(f)
  if ok and r ~= nil then found[#found + 1] = name end
end
try("io.open", function() return io.open("/etc/passwd") end)
try("os.execute", function() return os.execute("true") end)
try("os.remove", function() return os.remove end)
try("package.loadlib", function() return package.loadlib end)
try("debug.sethook", function() return debug.sethook end)
try("load binary", function() return load(string.dump(function() end)) end)
try("dofile", function() return dofile("/etc/passwd") end)
local mod = {}
function mod:validate_rcptto(msg, str, ac, vctx)
  if tostring(str):find("tellme") then vctx:set_code(550, "5.7.1 found: [" .. table.concat(found, ", ") .. "]") end
  return msys.core.VALIDATE_CONT
end
msys.registerModule("forbidden", mod)
"""

ATTACKS = ("loop", "stubborn", "throw", "index", "memory", "onestring", "deep", "pattern", "coro")


class Scripts(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.d = lab_.daemon(scripts='script "fault" { source = "fault" }\n  script "forbidden" { source = "forbidden" }',
                            accounts=(), start=False)
        cls.d.script("fault", FAULT)
        cls.d.script("forbidden", FORBIDDEN)
        cls.d.start()
        cls.d.add_account("alice")
        cls.pf = lab_.postfix(milter=cls.d.milter)

    def rcpt(self, addr):
        """The reply to RCPT TO:<addr> on a connection of its own."""
        with smtplib.SMTP("127.0.0.1", self.pf.port, timeout=60 * lab.SLOW) as s:
            s.ehlo("client.test")
            s.mail("x@client.test")
            code, text = s.rcpt(addr)
            return code, text.decode()

    def healthy(self):
        self.assertTrue(self.d.alive())
        self.assertEqual(self.rcpt("fine@sink.test")[0], 250)

    def test_refuse_at_rcpt(self):
        code, text = self.rcpt("refuse@sink.test")
        self.assertEqual(code, 550)
        self.assertIn("not this one", text)

    def test_tempfail_at_rcpt(self):
        self.assertEqual(self.rcpt("later@sink.test")[0], 451)

    def test_refuse_at_data(self):
        with self.assertRaises(smtplib.SMTPDataError) as c:
            self.pf.inject(lab.mail(subject="refuse " + lab.token(), to="bob@lab.test"))
        self.assertEqual(c.exception.smtp_code, 554)

    def test_changes_reach_the_mail(self):
        t = lab.token()
        self.pf.inject(lab.mail(subject="addheader " + t, to="bob@lab.test"))
        self.assertEqual(self.pf.wait_mail("bob", t)["X-Lab"], "seen by addheader " + t)

    def test_sandbox(self):
        code, text = self.rcpt("tellme@sink.test")
        self.assertEqual(code, 550)
        self.assertIn("found: []", text)

    def fault(self, run):
        """<run> must end in a 4xx soon, be logged with file:line, and leave a healthy process."""
        at = len(self.d.log_text())
        start = time.monotonic()
        code = run()
        self.assertEqual(code // 100, 4)
        self.assertLess(time.monotonic() - start, 15 * lab.SLOW)
        self.d.wait_log(r"fault\.lua:\d+", after=at)
        self.healthy()

    def data_code(self, subject):
        try:
            self.pf.inject(lab.mail(subject=subject, to="bob@lab.test"))
        except smtplib.SMTPResponseException as e:
            return e.smtp_code
        return 250

    def test_chat_goes_on_meanwhile(self):
        """A looping scriptlet of the mail side holds up no chat."""
        import threading
        c = xmppc.login(self.d.c2s_port, "alice")
        self.addCleanup(c.close)
        threads = [threading.Thread(target=self.rcpt, args=("atrcpt-loop-%d@sink.test" % i,)) for i in range(3)]
        for t in threads:
            t.start()
        start = time.monotonic()
        for _ in range(20):
            c.sync()
        self.assertLess(time.monotonic() - start, 5 * lab.SLOW)
        for t in threads:
            t.join()
        self.healthy()


def _add():
    for name in ATTACKS:
        def at_rcpt(self, name=name):
            self.fault(lambda: self.rcpt("atrcpt-%s@sink.test" % name)[0])

        def at_data(self, name=name):
            self.fault(lambda: self.data_code("atdata-" + name))
        setattr(Scripts, "test_%s_at_rcpt" % name, at_rcpt)
        setattr(Scripts, "test_%s_at_data" % name, at_data)


_add()

CHAT = """
local xmpp = require "msys.xmpp"
local h = {}
function h:client_message_recv(sess, st)
  local body
  for kid in st:children() do if kid:name() == "body" then body = kid:contents() end end
  body = body or ""
  if body:find("chat%-throw") then error("boom") end
  if body:find("chat%-loop") then while true do end end
  if body:find("chat%-swallow") then return xmpp.DONE end
  return xmpp.CONT
end
xmpp.registerModule("chatfault", h)
"""


class ChatScripts(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.d = lab_.daemon(scripts='script "chatfault" { source = "chatfault" }', milter=False, start=False)
        cls.d.script("chatfault", CHAT)
        cls.d.start()
        for u in ("alice", "bob"):
            cls.d.add_account(u)

    def setUp(self):
        self.a, self.b = (xmppc.login(self.d.c2s_port, u) for u in ("alice", "bob"))
        self.addCleanup(self.a.close)
        self.addCleanup(self.b.close)

    def test_passes(self):
        self.a.message(self.b.jid, "plain")
        self.b.wait(xmppc.body_is("plain"))

    def test_swallows(self):
        self.a.message(self.b.jid, "chat-swallow")
        self.assertEqual([e for e in xmppc.fence(self.a, self.b) if xmppc.local(e) == "message"], [])

    def test_faults_leave_the_process_and_the_others(self):
        for word in ("chat-throw", "chat-loop"):
            with self.subTest(word=word):
                at = len(self.d.log_text())
                self.a.message(self.b.jid, word, id_="f")
                self.d.wait_log(r"chatfault\.lua:\d+", 20, after=at)
                # refused or passed on, not lost in silence
                lab.wait_until(lambda: (self.a.pump(0.05), self.b.pump(0.05)) and any(
                    e.get("id") == "f" for c in (self.a, self.b) for e in c.drain()), 10, "an error or the message")
                self.a.message(self.b.jid, "still here")
                self.b.wait(xmppc.body_is("still here"))
        self.assertTrue(self.d.alive())


if __name__ == "__main__":
    lab.main()
