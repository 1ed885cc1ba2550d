"""test_momentum - scriptlets in Momentum's own dialect carry mail to chat and chat to mail, on the real daemon."""
import lab
import xmppc
from lab import mail, text_of, token
from xmppc import body_is

SCRIPTS = """lua_compat = true
  script "mail2chat" { source = "mail2chat" }
  script "chat2mail" { source = "chat2mail" }"""

MAIL2CHAT = """
require("msys.core");
require("msys.extended.message");
require("xml");
require("msys.xmpp");

local mod = {};

function mod:core_ec_message_enqueue(msg)
  local to = msg:rcptto();
  if msys.xmpp.valid_domain(msg:routing_domain()) != true or msys.xmpp.online(to) == nil then
    return EC_MESSAGE_ENQUEUE_HOOK_CONT;
  end
  local m = xml.newnode("message");
  m:attribute("from", "mail@lab.test");
  m:attribute("to", to);
  m:attribute("type", "chat");
  local body = m:addchild("body");
  local t = msg:text();
  if type(t) == "table" then
    t = table.concat(t, "\\n");
  end
  body:contents(msg:header("Subject")[1] .. ": " .. t);
  msys.xmpp.routeStanza(m);
  msg.delivered = EM_SUCCEEDED;
  return EC_MESSAGE_ENQUEUE_HOOK_OK;
end

msys.registerModule("mail2chat", mod);
"""

# An address becomes mail here when it ends in -mail, so that nothing but the script does it.
CHAT2MAIL = """
require("msys.core");
require("msys.extended.message");

local function bare(jid)
  return (string.gsub(jid, "/.*$", ""));
end

local function body_of(st)
  local text = {};
  for kid in st:children() do
    if kid:name() == "body" then
      table.insert(text, kid:contents() or "");
    end
  end
  return table.concat(text, "\\n");
end

local h = {};

function h:client_message_recv(sess, st)
  local from, to, text = bare(st:attribute("from")), bare(st:attribute("to")), body_of(st);
  local user = string.match(to, "^(.*)-mail@lab.test$");
  if user == nil or text == "" or st:attribute("type") == "error" then
    return msys.xmpp.CONT;
  end
  to = user .. "@lab.test";
  local m = msys.core.ec_message_new(nil);
  m:build({ From = from, To = to, Subject = "by chat" }, { ["text/plain; charset=utf-8"] = text }, nil);
  if m:inject(from, to) != true then
    return msys.xmpp.CONT;
  end
  return msys.xmpp.DONE;
end

msys.xmpp.registerModule("chat2mail", h);
"""


class Momentum(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.pf = lab_.postfix(milter=lab_.dir / "d" / "milter.sock")
        cls.d = lab_.daemon(scripts=SCRIPTS, submit=cls.pf.port, start=False)
        cls.d.script("mail2chat", MAIL2CHAT)
        cls.d.script("chat2mail", CHAT2MAIL)
        cls.d.start()
        for u in ("alice", "bob"):
            cls.d.add_account(u)

    def client(self, user, **kw):
        c = xmppc.login(self.d.c2s_port, user, **kw)
        self.addCleanup(c.close)
        return c

    def test_mail_becomes_chat(self):
        alice = self.client("alice")
        t = token()
        self.pf.inject(mail(subject="s", body="hello %s gr\u00fc\u00dfe" % t, to="alice@lab.test"))
        m = alice.wait(body_is(t), 15)
        self.assertEqual(m.get("from"), "mail@lab.test")
        self.assertEqual(xmppc.text(m).strip(), "s: hello %s gr\u00fc\u00dfe" % t)
        after = token()
        self.pf.inject(mail(subject=after, to="dave@lab.test"))
        self.pf.wait_mail("dave", after)
        self.assertEqual(self.pf.find("alice", t), [])

    def test_two_bodies(self):
        """text() is a table when a mail has several texts."""
        alice = self.client("alice")
        t = token()
        m = mail(subject="s", body="one " + t, to="alice@lab.test")
        m.add_attachment("two " + t, disposition="inline")
        self.pf.inject(m)
        body = xmppc.text(alice.wait(body_is(t), 15))
        self.assertIn("one " + t, body)
        self.assertIn("two " + t, body)

    def test_offline_and_strangers_have_mail(self):
        t = token()
        self.assertEqual(self.pf.inject(mail(body=t, to=["bob@lab.test", "carol@lab.test"])), {})
        self.pf.wait_mail("bob", t)
        self.pf.wait_mail("carol", t)

    def test_chat_becomes_mail(self):
        alice = self.client("alice")
        t = token()
        alice.message("carol-mail@lab.test/resource", "hello %s \u2603" % t)
        m = self.pf.wait_mail("carol", t, 30)
        self.assertEqual(m["From"].addresses[0].addr_spec, "alice@lab.test")
        self.assertEqual(m["Subject"], "by chat")
        self.assertEqual(m["Return-Path"], "<alice@lab.test>")
        self.assertEqual(m["Auto-Submitted"], "auto-generated")
        self.assertTrue(m["X-Tandem-Loop"] and m["Message-ID"] and m["Date"])
        self.assertEqual(text_of(m).strip(), "hello %s \u2603" % t)
        self.assertEqual(len(self.pf.find("carol", t)), 1)

    def test_no_mail_without_text(self):
        alice = self.client("alice")
        n = len(self.pf.mails("erin"))
        alice.message("erin-mail@lab.test", None, inner="<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        t = token()
        alice.message("erin-mail@lab.test", t)
        self.pf.wait_mail("erin", t, 30)
        self.assertEqual(len(self.pf.mails("erin")), n + 1)

    def test_other_chat_passes(self):
        alice, bob = self.client("alice"), self.client("bob")
        t = token()
        alice.message(bob.jid, t)
        bob.wait(body_is(t))

    def test_acknowledged_is_kept(self):
        """A stanza that a script made mail of counts as handled only with the mail on disk."""
        alice = self.client("alice", sm=True)
        words = [token() for _ in range(20)]
        h = alice.sm_request()
        for w in words:
            alice.message("dave-mail@lab.test", w)
        lab.wait_until(lambda: alice.sm_request() >= h + len(words), 10, "the server to count the messages")
        self.d.kill()
        self.d.start()
        for w in words:
            self.pf.wait_mail("dave", w, 30)


# The two patterns of the documentation, in Lua 5.4's own spelling.
PATTERN_MAIL = """
local xmpp, xml = require "msys.xmpp", require "xml"
require "msys.extended.message"
local mod = {}
function mod:core_ec_message_enqueue(msg)
  local to = msg:rcptto()
  if not (xmpp.valid_domain(msg:routing_domain()) and xmpp.online(to)) then
    return msys.core.EC_MESSAGE_ENQUEUE_HOOK_CONT
  end
  local m = xml.newnode("message")
  m:attr("from", "mail@lab.test"); m:attr("to", to); m:attr("type", "chat")
  local t = msg:text(); if type(t) == "table" then t = table.concat(t, "\\n") end
  m:addchild("body"):contents(t or "")
  xmpp.routeStanza(m)
  msg.delivered = msys.core.EM_SUCCEEDED
  return msys.core.EC_MESSAGE_ENQUEUE_HOOK_OK
end
msys.registerModule("mail2chat", mod)
"""
PATTERN_CHAT = """
local xmpp = require "msys.xmpp"
local function bare(jid) return (tostring(jid):gsub("/.*$", "")) end
local function wants_mail(to) return to:find("^carol") ~= nil end
local function body_of(st)
  local text = {}
  for kid in st:children() do
    if kid:name() == "body" then text[#text + 1] = kid:contents() or "" end
  end
  return table.concat(text, "\\n")
end
local h = {}
function h:client_message_recv(sess, st)
  local from, to, text = bare(st:attr("from")), bare(st:attr("to")), body_of(st)
  if text == "" or not wants_mail(to) then return xmpp.CONT end
  local m = msys.core.ec_message_new(nil)
  m:build({ From = from, To = to }, { ["text/plain; charset=utf-8"] = text }, nil)
  m:inject(from, to)
  return xmpp.DONE
end
xmpp.registerModule("chat2mail", h)
"""


class Patterns(lab.Case):
    @classmethod
    def prepare(cls, lab_):
        cls.pf = lab_.postfix(milter=lab_.dir / "d" / "milter.sock")
        cls.d = lab_.daemon(scripts='script "mail2chat" { source = "mail2chat" }\n  script "chat2mail" { source = "chat2mail" }',
                            submit=cls.pf.port, start=False)
        cls.d.script("mail2chat", PATTERN_MAIL)
        cls.d.script("chat2mail", PATTERN_CHAT)
        cls.d.start()
        cls.d.add_account("alice")

    def test_there_and_back(self):
        alice = xmppc.login(self.d.c2s_port, "alice")
        self.addCleanup(alice.close)
        t = token()
        self.pf.inject(mail(body=t, to="alice@lab.test"))
        self.assertEqual(alice.wait(body_is(t), 15).get("from"), "mail@lab.test")
        t = token()
        alice.message("carol@lab.test", t)
        self.assertEqual(self.pf.wait_mail("carol", t, 30)["From"].addresses[0].addr_spec, "alice@lab.test")


if __name__ == "__main__":
    lab.main()
