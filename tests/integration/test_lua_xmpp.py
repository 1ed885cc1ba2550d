"""test_lua_xmpp - scriptlets on the chat side: every callout and what it may answer, requests and features of a script's own,
requests it makes, what it keeps with an account; faults, reloads, and hostile stanzas."""
import re
import threading
import time

import case
import compc
import lab
import xmppc
from lab import DOMAIN
from xmppc import body_is, is_, kid, local

NS, MARK, PING = "urn:test:script", "urn:test:mark", "urn:xmpp:ping"
INFO = "http://jabber.org/protocol/disco#info"
CAPS = "http://jabber.org/protocol/caps"
COMPONENT = 'component "%s" { secret = "s3cret" }\n' % ("echo." + DOMAIN)

# What a callout does is asked for in the stanza: <do xmlns='urn:test:do' at='CALLOUT' what='...'/>
HOOKS = """
local mod, seen = {}, 0

local function note(name, ...)
  tandem.log("notice", "%s %s", name, table.concat({ ... }, " "))
end

local function order(name, st)
  if st:attr("type") == "error" then return end -- it has the order that was refused
  for kid in st:children() do
    if kid:name() == "do" and kid:attr("at") == name then return kid:attr("what"), kid end
  end
end

local function act(name, st)
  local what = order(name, st)
  if not what then return end
  if what == "done" then return xmpp.DONE end
  if what == "bounce" then return "not-acceptable", "No <such> thing" end
  if what == "badcondition" then return "no-such-condition" end
  if what == "replace" then
    local n = st:copy()
    n:attr("from", "evil@elsewhere.test")
    n:child("body"):contents("replaced <&>")
    return n
  end
  if what == "wrongkind" then return xml.newnode("presence") end
  if what == "text" then return st:child("body"):children()() end
  if what == "change" then st:child("body"):contents("changed") return end
  if what == "same" then return st end
  if what == "throw" then error("thrown") end
  if what == "loop" then while true do end end
  if what == "memory" then local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(4096) .. i end end
  if what == "true" then return true end
  if what == "table" then return {} end
end

for _, kind in ipairs { "message", "presence", "iq" } do
  for _, side in ipairs { "client", "server" } do
    local name = side .. "_" .. kind .. "_recv"
    mod[name] = function(self, sess, st)
      if order(name, st) == "facts" then
        note(name, sess:kind(), sess:jid() and sess:jid():get() or "nobody", st:attr("from"), st:attr("to") or "-")
      end
      return act(name, st)
    end
  end
end

function mod:before_stanza_send(sess, st)
  if order("before_stanza_send", st) == "facts" then
    note("before_stanza_send", sess:jid():get(), st:attr("from"), st:attr("to"))
  end
  return act("before_stanza_send", st)
end

function mod:stanza_arrived(account, st)
  if order("stanza_arrived", st) == "facts" then
    note("stanza_arrived", account:jid():get(), st:attr("from"), st:attr("to"), st:name(), #account:sessions())
  end
  if order("stanza_arrived", st) == "view" then
    local body = st:child("body")
    assert(body:parent() == st and body:parent():attr("from") == st:attr("from"))
    assert(st:attr("to"):match("^[^/]+") == account:jid():bare())
    for n in st:xpath("/message/body") do assert(n == body) end
    for n in body:xpath("..") do assert(n == st and n:attr("type") == "chat") end
    assert(not pcall(body.contents, body, "x") and not pcall(st.addchild, st, "x"))
    local c = st:copy()
    c:child("body"):contents("mine")
    assert(body:contents() == "as it is")
    note("view", "fine")
  end
  return act("stanza_arrived", st)
end

function mod:message_delivered(account, st, n)
  if order("message_delivered", st) then note("message_delivered", account:jid():get(), tostring(n)) end
  return xmpp.DONE
end

function mod:presence_changed(sess, st, available, first)
  note("presence_changed", sess:jid():get(), tostring(available), tostring(first), st:name())
end

function mod:subscription_changed(account, contact, before, after)
  note("subscription_changed", account:jid():get(), contact:get(), before, after)
end

function mod:session_start(sess) note("session_start", sess:jid():get(), sess:account():jid():get()) end
function mod:session_end(sess) note("session_end", sess:jid():get()) end
function mod:account_removed(jid) note("account_removed", jid:get()) end

function mod:stream_open(info)
  if info.domain == "@DOMAIN@" and info.tls then note("stream_open", info.address, info.user or "nobody") end
  local refused = msys.shareGet("refuse_streams")
  if refused then return refused, "Not today" end
end

function mod:sign_in(info)
  note("sign_in", info.user, info.mechanism, tostring(info.tls), info.domain)
  if info.user:find("^refused%-") then return "account-disabled" end
  if info.user:find("^unwanted%-") then return xmpp.DONE end
  if info.user:find("^broken%-") then error("sign_in fails") end
end

xmpp.registerModule("hooks", mod)

-- the second looks at what the first left
tandem.register {
  client_message_recv = function(self, sess, st)
    local what = order("second", st)
    if what == "mark" then st:addchild("mark", "urn:test:mark"):contents(st:child("body"):contents()) end
    if what == "done" then return tandem.DONE end
  end,
}
""".replace("@DOMAIN@", DOMAIN)

IQS = """
local NS = "urn:test:script"
local open = {}

-- <query what='...'/>
local function answer(iq)
  local what = iq.payload:attr("what")
  if what == "echo" then
    local r = xml.newnode("answer", NS)
    r:attr("from", iq.from:get()) r:attr("to", iq.to and iq.to:get() or "-") r:attr("type", iq.type) r:attr("id", iq.id)
    r:attr("root", iq.stanza:name())
    r:addchild("text"):contents(iq.payload:contents())
    return r
  elseif what == "empty" then return true
  elseif what == "nothing" then return nil
  elseif what == "error" then return "not-allowed", "Because <of> & \\"that\\""
  elseif what == "app" then
    return "conflict", "x", xml.newnode("mine", NS)
  elseif what == "methods" then
    assert(iq:result(xml.newnode("one", NS)) == true)
    assert(iq:result() == false and iq:error("conflict") == false)
    return "gone"
  elseif what == "throw" then error("thrown in iq")
  elseif what == "loop" then while true do end
  elseif what == "badcondition" then return "nonsense"
  elseif what == "badvalue" then return {}
  elseif what == "keepopen" then open[1] = iq error("after keeping it")
  elseif what == "usekept" then
    local ok, r = pcall(function() return open[1]:result() end)
    return xml.newnode((ok and r == false) and "closed" or "open", NS)
  elseif what == "timeout" then open[2] = iq:later(1) return
  elseif what == "lost" then iq:later(60) return
  elseif what == "collect" then collectgarbage() collectgarbage() return true
  elseif what == "later" then
    local ping = xml.newnode("iq")
    ping:attr("type", "get") ping:attr("from", iq.to and iq.to:bare() or iq.from:bare()) ping:attr("to", iq.from:get())
    ping:addchild("ping", "urn:xmpp:ping")
    assert(tandem.request(ping, function(a, why)
      local r = xml.newnode("later", NS)
      r:attr("answer", a and a:attr("type") or why)
      assert(iq:result(r) == true and iq:result(r) == false)
    end, tonumber(iq.payload:attr("wait") or 30)))
    return iq:later()
  elseif what == "batch" then
    for i = 1, 5 do
      tandem.chat { from = iq.to:get(), to = iq.from:get(), body = "b" .. i }
    end
    return true
  elseif what == "spoof" then
    local ok, why = true, nil
    local function try(from, to, type)
      local n = xml.newnode("iq") n:attr("from", from) n:attr("to", to) n:attr("type", type) n:addchild("ping", "urn:xmpp:ping")
      return tandem.request(n, function() end)
    end
    local r = xml.newnode("spoof", NS)
    r:attr("foreign", tostring(try("ann@elsewhere.test", "x@@DOMAIN@", "get")))
    r:attr("result", tostring(try("@DOMAIN@", "x@@DOMAIN@", "result")))
    r:attr("resource", tostring(try("@DOMAIN@/x", "x@@DOMAIN@", "get")))
    r:attr("noto", tostring(try("@DOMAIN@", nil, "get")))
    r:attr("send", tostring(tandem.send(xml.parsexml("<message from='ann@elsewhere.test' to='x@@DOMAIN@'/>"):root())))
    return r
  end
end

tandem.register_iq(NS, { to = { "host", "account" } }, answer)
tandem.register_iq(NS .. ":own", { to = "account", from = "own", type = "get", name = "mine" }, function(iq)
  local a, n = iq.account, xml.newnode("mine", NS .. ":own")
  local times = (a:get("times") or 0) + 1
  assert(a:set("times", times) and a:set("deep", { x = { 1, 2, "three\\0" } }))
  assert(a:get("deep").x[3] == "three\\0" and not pcall(a.set, a, "big", ("x"):rep(9000)))
  assert(a:set("more", "x", "too much", {}, 5) and a:get("more") == "x" and a:set("more") and a:get("more") == nil)
  n:attr("times", tostring(times))
  n:attr("sessions", tostring(#a:sessions()))
  n:attr("session", iq.session and iq.session:jid():get() or "-")
  n:attr("guest", tostring(a:anonymous()))
  for _, jid in ipairs(a:contacts()) do
    n:addchild("contact"):attr("subscription", a:contact(jid).subscription)
  end
  n:attr("stranger", tostring(a:contact("nobody@nowhere.test")))
  return n
end)
tandem.register_iq(NS .. ":quiet", { feature = false, name = "query" }, function(iq) return true end)
tandem.register_iq(NS .. ":room", { to = "room", type = "get" }, function(iq)
  local n = xml.newnode("who", NS .. ":room")
  n:attr("affiliation", iq.room.affiliation) n:attr("role", iq.room.role) n:attr("nick", iq.room.nick)
  return n
end)
tandem.register_feature("urn:test:feature")
tandem.register_feature("urn:test:feature:account", "account")
tandem.register_identity("automation", "rpc", "A <script>")
""".replace("@DOMAIN@", DOMAIN)


def do(at, what):
    return "<do xmlns='urn:test:do' at='%s' what='%s'/>" % (at, what)


def features(info):
    return [f.get("var") for f in kid(info, "query", INFO).iter("{%s}feature" % INFO)]


class Base(lab.Case):
    scripts = {}
    extra = COMPONENT
    more = ""

    @classmethod
    def prepare(cls, lab_):
        text = "\n  ".join('script "%s" { source = "%s" %s }' % (n, n, cls.more) for n in cls.scripts)
        cls.d = lab_.daemon(scripts=text, milter=False, start=False, extra=cls.extra)
        for n, s in cls.scripts.items():
            cls.d.script(n, s)
        cls.d.start()
        cls.port = cls.d.c2s_port

    def user(self, prefix="u"):
        name = lab.token(prefix)
        self.d.add_account(name)
        return name

    def login(self, name=None, **kw):
        c = xmppc.login(self.port, name or self.user(), **kw)
        self.addCleanup(c.close)
        return c

    def pair(self):
        return self.login(), self.login()

    def noted(self, pattern, after=0):
        """A line a script logged; a blank is written \\x20 there."""
        return self.d.wait_log("event=script-log .*text=" + pattern.replace(" ", r"\\x20"), after=after)

    def mark(self):
        return len(self.d.log_text())

    def friends(self, a, b):
        case.ServerCase.friends(self, a, b)

    assertError = case.ServerCase.assertError
    assertResult = case.ServerCase.assertResult


class Hooks(Base):
    scripts = {"hooks": HOOKS}

    # -- what a client sends

    def test_client_facts(self):
        a, b = self.pair()
        at = self.mark()
        a.message(b.jid, "x", inner=do("client_message_recv", "facts"))
        self.noted("client_message_recv c2s %s %s %s" % (a.jid, a.jid, b.jid), at)
        a.presence(inner=do("client_presence_recv", "facts"))
        self.noted("client_presence_recv c2s %s %s -" % (a.jid, a.jid), at)
        # a query may have no other element beside it; the order is in it
        a.iq("get", "<do xmlns='urn:test:do' at='client_iq_recv' what='facts'/>")
        self.noted("client_iq_recv c2s %s %s -" % (a.jid, a.jid), at)

    def test_client_done(self):
        a, b = self.pair()
        a.message(b.jid, "gone", inner=do("client_message_recv", "done"))
        self.assertEqual([e for e in xmppc.fence(a, b) if local(e) == "message"], [])

    def test_client_bounce(self):
        a, b = self.pair()
        id_ = a.message(b.jid, "x", inner=do("client_message_recv", "bounce"))
        e = a.wait(is_("message", id=id_))
        self.assertError(e, "not-acceptable", "modify")
        self.assertEqual(xmppc.error_text(e), "No <such> thing")
        self.assertEqual((e.get("from"), e.get("to")), (b.jid, a.jid))
        self.assertEqual([e for e in xmppc.fence(a, b) if local(e) == "message"], [])
        self.assertError(a.iq("set", do("client_iq_recv", "bounce"), to=b.jid), "not-acceptable")
        a.presence(to=b.jid, id_="p1", inner=do("client_presence_recv", "bounce"))
        self.assertError(a.wait(is_("presence", id="p1")), "not-acceptable")
        # a result must not be answered
        a.send("<iq type='result' id='r1' to='%s'>%s</iq>" % (b.jid, do("client_iq_recv", "bounce")))
        self.assertEqual([e for e in xmppc.fence(a, b) if local(e) == "iq" and e.get("id") == "r1"], [])

    def test_client_replace(self):
        """A stanza in its place: escaped right, and from whoever sent the first."""
        a, b = self.pair()
        id_ = a.message(b.jid, "x", inner=do("client_message_recv", "replace"))
        e = b.wait(body_is("replaced <&>"))
        self.assertEqual((e.get("from"), e.get("id"), e.get("type")), (a.jid, id_, "chat"))

    def test_client_change(self):
        a, b = self.pair()
        a.message(b.jid, "x", inner=do("client_message_recv", "change") + do("second", "mark"))
        e = b.wait(body_is("changed"))
        self.assertEqual(kid(e, "mark", MARK).text, "changed")    # the second saw what the first did
        a.message(b.jid, "same", inner=do("client_message_recv", "same"))
        b.wait(body_is("same"))

    def test_second_sees_replaced(self):
        a, b = self.pair()
        a.message(b.jid, "x", inner=do("client_message_recv", "replace") + do("second", "mark"))
        self.assertEqual(kid(b.wait(body_is("replaced <&>")), "mark", MARK).text, "replaced <&>")
        a.message(b.jid, "x", inner=do("client_message_recv", "replace") + do("second", "done"))
        self.assertEqual([e for e in xmppc.fence(a, b) if local(e) == "message"], [])

    def test_acknowledged_all_the_same(self):
        """Dropped, refused, replaced: stream management counts them."""
        a, b = self.pair()
        a.sm_enable()
        for i, what in enumerate(("done", "bounce", "replace", "throw")):
            a.message(b.jid, "x", inner=do("client_message_recv", what))
            lab.wait_until(lambda: a.sm_request() == i + 1, 10, "h for " + what)

    def test_replaced_is_kept(self):
        """Replaced on the way to who is offline: kept as replaced, acknowledged once it is."""
        for at in ("client_message_recv", "stanza_arrived"):
            with self.subTest(at=at):
                a, away = self.login(), self.user()
                a.sm_enable()
                a.message("%s@%s" % (away, DOMAIN), "x", inner=do(at, "replace"))
                lab.wait_until(lambda: a.sm_request() == 1, 10, "h")
                b = self.login(away)
                self.assertEqual(b.wait(body_is("replaced <&>")).get("from"), a.jid)

    # -- what arrives for an account

    def test_arrived_facts(self):
        a, b = self.pair()
        at = self.mark()
        a.message(b.bare, "x", inner=do("stanza_arrived", "facts"))
        self.noted("stanza_arrived %s %s %s message 1" % (b.bare, a.jid, b.bare), at)
        a.message(b.jid, "as it is", inner=do("stanza_arrived", "view"))
        b.wait(body_is("as it is"))
        self.noted("view fine", at)

    def test_arrived_answers(self):
        a, b = self.pair()
        a.message(b.bare, "gone", inner=do("stanza_arrived", "done"))
        id_ = a.message(b.bare, "no", inner=do("stanza_arrived", "bounce"))
        self.assertError(a.wait(is_("message", id=id_)), "not-acceptable")
        a.message(b.bare, "x", inner=do("stanza_arrived", "replace"))
        e = b.wait(is_("message"))
        self.assertEqual((xmppc.text(e), e.get("from"), e.get("to")), ("replaced <&>", a.jid, b.bare))
        self.assertError(a.iq("get", do("stanza_arrived", "bounce"), to=b.jid), "not-acceptable")
        self.assertError(a.iq("get", do("stanza_arrived", "bounce"), to=b.bare), "not-acceptable")

    def test_arrived_is_before_the_archive(self):
        """What a script refuses is not archived, what it makes is."""
        a, b = self.pair()
        id_ = a.message(b.bare, "secret", inner=do("stanza_arrived", "bounce"))
        a.wait(is_("message", id=id_))
        a.message(b.bare, "x", inner=do("stanza_arrived", "replace"))
        b.wait(is_("message"))
        b.iq("set", "<query xmlns='urn:xmpp:mam:2'/>")
        found = [e for e in b.drain() if local(e) == "message" and kid(e, "result", "urn:xmpp:mam:2") is not None]
        bodies = [x.text for e in found for x in e.iter("{jabber:client}body")]
        self.assertEqual(bodies, ["replaced <&>"])

    def test_delivered(self):
        a, b = self.pair()
        at = self.mark()
        a.message(b.bare, "x", inner=do("message_delivered", "facts"))
        self.noted("message_delivered %s 1" % b.bare, at)
        away = self.user() + "@" + DOMAIN
        a.message(away, "x", inner=do("message_delivered", "facts"))
        self.noted("message_delivered %s 0" % away, at)
        b.wait(body_is("x"))    # what it returns is no matter

    # -- what goes to a client

    def test_sending(self):
        a, b = self.pair()
        at = self.mark()
        a.message(b.bare, "x", inner=do("before_stanza_send", "facts"))
        self.noted("before_stanza_send %s %s %s" % (b.jid, a.jid, b.bare), at)
        b.wait(body_is("x"))
        a.message(b.bare, "gone", inner=do("before_stanza_send", "done"))
        id_ = a.message(b.bare, "no", inner=do("before_stanza_send", "bounce"))
        self.assertError(a.wait(is_("message", id=id_)), "not-acceptable")
        a.message(b.bare, "x", inner=do("before_stanza_send", "replace"))
        e = b.wait(is_("message"))
        self.assertEqual((xmppc.text(e), e.get("from"), e.get("to")), ("replaced <&>", a.jid, b.bare))

    def test_sending_under_management(self):
        """The one in its place is queued, acknowledged, and the sender's h follows."""
        a, b = self.pair()
        a.sm_enable()
        b.sm_enable()
        a.message(b.bare, "x", inner=do("before_stanza_send", "replace"))
        b.wait(body_is("replaced <&>"))
        b.ack()
        lab.wait_until(lambda: a.sm_request() == 1, 10, "h")

    def test_dropped_from_the_store(self):
        """What waited and is dropped when it is given does not come again."""
        a, away = self.login(), self.user()
        a.message("%s@%s" % (away, DOMAIN), "x", inner=do("before_stanza_send", "done"))
        a.message("%s@%s" % (away, DOMAIN), "y")
        a.sync()
        b = self.login(away)
        b.wait(body_is("y"))
        b.close()
        b = self.login(away)
        b.sync()
        self.assertEqual([xmppc.text(e) for e in b.drain() if local(e) == "message"], [])

    # -- from a component

    def test_server(self):
        b = self.login()
        k = compc.join(self.port, "echo." + DOMAIN, "s3cret")
        self.addCleanup(k.close)
        at, who = self.mark(), "x@echo." + DOMAIN
        k.stanza("message", b.jid, who, "<body>x</body>" + do("server_message_recv", "facts"))
        self.noted("server_message_recv s2s nobody %s %s" % (who, b.jid), at)
        b.wait(body_is("x"))
        k.stanza("message", b.jid, who, "<body>x</body>" + do("server_message_recv", "replace"))
        self.assertEqual(b.wait(body_is("replaced <&>")).get("from"), who)
        k.stanza("message", b.jid, who, "<body>gone</body>" + do("server_message_recv", "done"))
        k.stanza("message", b.jid, who, "<body>no</body>" + do("server_message_recv", "bounce"), id_="m1")
        self.assertError(k.wait(is_("message", id="m1")), "not-acceptable")
        k.stanza("presence", b.jid, who, do("server_presence_recv", "facts"))
        self.noted("server_presence_recv s2s nobody %s" % who, at)
        self.assertError(k.request("get", do("server_iq_recv", "bounce"), DOMAIN, who), "not-acceptable")
        k.stanza("message", b.jid, who, "<body>changed?</body>" + do("server_message_recv", "change"))
        self.assertEqual(xmppc.text(b.wait(is_("message"))), "changed")

    # -- sessions, presence, subscriptions, accounts

    def test_sessions(self):
        at, name = self.mark(), self.user()
        c = self.login(name)
        self.noted("session_start %s %s" % (c.jid, c.bare), at)
        self.noted("presence_changed %s true true presence" % c.jid, at)
        c.presence(priority=3)
        self.noted("presence_changed %s true false presence" % c.jid, at)
        c.presence("unavailable")
        self.noted("presence_changed %s false false presence" % c.jid, at)
        c.close()
        self.noted("session_end %s" % c.jid, at)
        self.d.ctl("account", "delete", c.bare)
        self.noted("account_removed %s" % c.bare, at)

    def test_subscriptions(self):
        at = self.mark()
        a, b = self.pair()
        self.friends(a, b)
        for x, y in ((a, b), (b, a)):
            for steps in ("none to", "to both") if x is a else ("none from", "from both"):
                self.noted("subscription_changed %s %s %s" % (x.bare, y.bare, steps), at)

    def test_sign_in(self):
        at, name = self.mark(), self.user()
        c = self.login(name)
        self.noted(r"sign_in %s SCRAM\S* true %s" % (c.bare, DOMAIN), at)
        for prefix, condition in (("refused-", "account-disabled"), ("unwanted-", "not-authorized"),
                                  ("broken-", "temporary-auth-failure")):
            with self.subTest(prefix):
                name = self.user(prefix)
                for sasl2 in (False, True):
                    c = xmppc.connect(self.port)
                    self.addCleanup(c.close)
                    e = c.auth2(name) if sasl2 else c.auth(name)
                    self.assertEqual(local(e), "failure")
                    self.assertIsNotNone(kid(e, condition, None if not sasl2 else "urn:ietf:params:xml:ns:xmpp-sasl"), xmppc.show(e))
        self.d.wait_log(r"script-fault .*callout=sign_in .*hooks\.lua:\d+", after=at)

    def test_stream_open(self):
        at = self.mark()
        c = self.login()
        self.noted(r"stream_open 127\.0\.0\.1:\d+ nobody", at)
        self.noted(r"stream_open 127\.0\.0\.1:\d+ %s" % c.bare, at)

    # -- faults

    def test_faults_let_it_pass(self):
        a, b = self.pair()
        for at in ("client_message_recv", "stanza_arrived", "before_stanza_send"):
            for what in ("throw", "loop", "memory", "badcondition", "wrongkind", "text"):
                with self.subTest(at=at, what=what):
                    log = self.mark()
                    a.message(b.jid, at + what, inner=do(at, what))
                    b.wait(body_is(at + what))
                    self.d.wait_log(r"script-fault .*callout=%s .*hooks\.lua:\d+" % at)  # maybe before: the same is logged once a minute
        for what in ("true", "table", "nonsense"):
            a.message(b.jid, what, inner=do("stanza_arrived", what))
            b.wait(body_is(what))

    def test_a_fault_is_logged_once(self):
        a, b = self.pair()
        a.message(b.jid, "first", inner=do("message_recv", "x") + do("stanza_arrived", "throw"))
        b.wait(body_is("first"))
        log = self.mark()
        for i in range(30):
            a.message(b.jid, "again%d" % i, inner=do("stanza_arrived", "throw"))
        b.wait(body_is("again29"))
        self.assertLessEqual(len(re.findall("event=script-fault .*stanza_arrived", self.d.log_text()[log:])), 1)

    def test_hostile(self):
        """Whatever a stanza holds, the scripts see it as it is or not at all."""
        a, b = self.pair()
        deep = "<a xmlns='x'>" * 40 + "</a>" * 40
        for inner in (deep, "<a xmlns='x' %s/>" % " ".join("a%d='%d'" % (i, i) for i in range(500)),
                      "<body>%s</body>" % ("\u20ac&lt;&#13;&amp;]]&gt;" * 2000), "<do/>", "<do xmlns='y' at='' what=''/>" * 100,
                      "<body xmlns='other'>x</body>", "<a xmlns='x'><a xmlns=''><a xmlns='jabber:client'/></a></a>",
                      "text<a xmlns='x'/>text", "<x:y xmlns:x='u' x:a='1'/>"):
            for at in ("client_message_recv", "stanza_arrived", "before_stanza_send"):
                for what in ("facts", "view", "replace", "change", "text"):
                    a.message(b.jid, "p", inner=do(at, what) + inner)
        a.message(b.jid, "end")
        b.wait(body_is("end"), 60)
        self.assertTrue(self.d.alive())


class StreamRefused(Base):
    scripts = {"hooks": HOOKS + "\nmsys.shareSet('refuse_streams', script:string('refuse', nil))\n"}
    more = 'refuse = "resource-constraint"'

    def test_refused(self):
        c = xmppc.Conn(self.port)
        self.addCleanup(c.close)
        with self.assertRaises(xmppc.Closed):
            c.open()
        self.assertEqual(c.wait_end(), "resource-constraint")
        self.assertTrue(self.d.alive())


class Requests(Base):
    scripts = {"iqs": IQS}
    extra = COMPONENT + 'domain "rooms.%s" { XMPP_Role = "server" service = "muc" }\n' % DOMAIN

    def ask(self, c, what, to=None, ns=NS, text="", attrs="", type_="get"):
        return c.iq(type_, "<query xmlns='%s' what='%s' %s>%s</query>" % (ns, what, attrs, text), to)

    def test_echo(self):
        a, b = self.pair()
        for to in (DOMAIN, b.bare, None):
            for type_ in ("get", "set"):
                with self.subTest(to=to, type=type_):
                    r = self.ask(a, "echo", to, text="a &lt; &#x20ac; &amp;", type_=type_)
                    self.assertResult(r)
                    k = kid(r, "answer", NS)
                    self.assertEqual(k.get("from"), a.jid)
                    self.assertEqual(k.get("to"), to or "-")
                    self.assertEqual((k.get("type"), k.get("id"), k.get("root")), (type_, r.get("id"), "iq"))
                    self.assertEqual(kid(k, "text").text, "a < \u20ac &")
                    self.assertEqual(r.get("to"), a.jid)
                    self.assertEqual(r.get("from"), to)

    def test_answers(self):
        a = self.login()
        r = self.ask(a, "empty", DOMAIN)
        self.assertResult(r)
        self.assertEqual(len(r), 0)
        self.assertError(self.ask(a, "nothing", DOMAIN), "service-unavailable")
        r = self.ask(a, "error", DOMAIN)
        self.assertError(r, "not-allowed", "cancel")
        self.assertEqual(xmppc.error_text(r), "Because <of> & \"that\"")
        r = self.ask(a, "app", DOMAIN)
        self.assertError(r, "conflict")
        self.assertIsNotNone(kid(kid(r, "error"), "mine", NS))
        self.assertIsNotNone(kid(self.ask(a, "methods", DOMAIN), "one", NS))

    def test_faults(self):
        a = self.login()
        for what in ("throw", "loop", "badcondition", "badvalue"):
            with self.subTest(what):
                log = self.mark()
                self.assertError(self.ask(a, what, DOMAIN), "internal-server-error")
                self.d.wait_log(r"script-fault .*callout=register_iq .*iqs\.lua:\d+", after=log)
        self.assertError(self.ask(a, "keepopen", DOMAIN), "internal-server-error")
        names = {local(self.ask(a, "usekept", DOMAIN)[0]) for _ in range(3)}
        self.assertEqual(names, {"closed"})

    def test_later(self):
        a = self.login()
        for to in (DOMAIN, a.bare):
            id_ = a.new_id()
            a.send("<iq type='get' id='%s' to='%s'><query xmlns='%s' what='later'/></iq>" % (id_, to, NS))
            ping = a.wait(lambda e: local(e) == "iq" and kid(e, "ping", PING) is not None)
            self.assertEqual((ping.get("from"), ping.get("type")), (to, "get"))
            a.send("<iq type='result' id='%s' to='%s'/>" % (ping.get("id"), ping.get("from")))
            self.assertEqual(kid(a.reply(id_), "later", NS).get("answer", NS), "result")

    def test_nobody_answers(self):
        """The script's own request times out, or the script forgets to answer: an answer comes all the same, one."""
        a = self.login()
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><query xmlns='%s' what='later' wait='1'/></iq>" % (id_, DOMAIN, NS))
        self.assertEqual(kid(a.reply(id_), "later", NS).get("answer", NS), "timeout")
        self.assertError(self.ask(a, "timeout", DOMAIN), "remote-server-timeout", "wait")
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><query xmlns='%s' what='lost'/></iq>" % (id_, DOMAIN, NS))

        def answered():
            for _ in range(20):
                self.ask(a, "collect", DOMAIN)
            return [e for e in a.seen if e.get("id") == id_]
        self.assertError(lab.wait_until(answered, 20, "an answer")[0], "internal-server-error")

    def test_order(self):
        """The answer comes behind what the function sent before."""
        a = self.login()
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><query xmlns='%s' what='batch'/></iq>" % (id_, DOMAIN, NS))
        a.reply(id_)
        self.assertEqual([xmppc.text(e) for e in a.drain() if local(e) == "message"], ["b%d" % i for i in range(1, 6)])

    def test_senders(self):
        r = kid(self.ask(self.login(), "spoof", DOMAIN), "spoof", NS)
        self.assertEqual(set(r.attrib.values()), {"false"}, r.attrib)

    def test_own(self):
        a, b = self.pair()
        self.friends(a, b)
        q = "<mine xmlns='%s:own'/>" % NS
        first = kid(a.iq("get", q), "mine", NS + ":own")
        self.assertEqual((first.get("times"), first.get("sessions"), first.get("session")), ("1", "1", a.jid))
        self.assertEqual((first.get("guest"), first.get("stranger")), ("false", "nil"))
        self.assertEqual([k.get("subscription") for k in first], ["both"])
        self.assertEqual(kid(a.iq("get", q, to=a.bare), "mine", NS + ":own").get("times"), "2")
        self.assertError(b.iq("get", q, to=a.bare), "forbidden")
        self.assertError(a.iq("set", q), "service-unavailable")     # get only
        self.assertError(a.iq("get", "<other xmlns='%s:own'/>" % NS), "service-unavailable")
        self.assertError(a.iq("get", q, to=DOMAIN), "service-unavailable")

    def test_kept_over_a_restart(self):
        name = self.user()
        a = self.login(name)
        q = "<mine xmlns='%s:own'/>" % NS
        a.iq("get", q)
        a.close()
        self.d.terminate()
        self.d.start()
        self.assertEqual(kid(self.login(name).iq("get", q), "mine", NS + ":own").get("times"), "2")

    def test_nobody_there(self):
        a = self.login()
        self.assertError(self.ask(a, "echo", "nobody@" + DOMAIN), "service-unavailable")

    def test_room(self):
        a, b = self.pair()
        room = "%s@rooms.%s" % (lab.token("r"), DOMAIN)
        a.presence(to=room + "/Ann", inner="<x xmlns='http://jabber.org/protocol/muc'/>")
        a.wait(is_("message", from_=room))
        a.iq("set", "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", to=room)
        q = "<who xmlns='%s:room'/>" % NS
        k = kid(a.iq("get", q, to=room), "who", NS + ":room")
        self.assertEqual((k.get("affiliation"), k.get("role"), k.get("nick")), ("owner", "moderator", "Ann"))
        k = kid(b.iq("get", q, to=room), "who", NS + ":room")
        self.assertEqual((k.get("affiliation"), k.get("role"), k.get("nick")), ("none", None, None))
        self.assertError(a.iq("get", q, to=DOMAIN), "service-unavailable")
        self.assertError(a.iq("set", q, to=room), "service-unavailable")
        self.assertIn(NS + ":room", features(a.get(INFO, to=room)))
        self.assertNotIn(NS + ":room", features(a.get(INFO, to=DOMAIN)))
        self.assertError(a.iq("get", q, to="absent-%s" % room), "item-not-found")

    def test_disco(self):
        a = self.login()
        r = a.get(INFO, to=DOMAIN)
        got = features(r)
        for f in (NS, "urn:test:feature"):
            self.assertEqual(got.count(f), 1, f)
        for f in (NS + ":own", NS + ":quiet", "urn:test:feature:account"):
            self.assertNotIn(f, got)
        kinds = [(i.get("category"), i.get("type"), i.get("name")) for i in r.iter("{%s}identity" % INFO)]
        self.assertIn(("automation", "rpc", "A <script>"), kinds)
        self.assertIn(("server", "im", "Tandem"), kinds)
        got = features(a.get(INFO, to=a.bare))
        for f in (NS, NS + ":own", "urn:test:feature:account"):
            self.assertEqual(got.count(f), 1, f)
        self.assertNotIn("urn:test:feature", got)
        self.assertResult(a.iq("get", "<query xmlns='%s:quiet'/>" % NS, to=DOMAIN))

    def test_hostile(self):
        a = self.login()
        for payload in ("<query xmlns='%s'/>" % NS, "<query xmlns='%s' what=''/>" % NS,
                        "<query xmlns='%s' what='echo'>%s</query>" % (NS, "<a>" * 60 + "</a>" * 60),
                        "<query xmlns='%s' what='echo'>%s</query>" % (NS, "&#x10ffff;" * 20000),
                        "<%s xmlns='%s' what='echo'/>" % ("q" * 300, NS)):
            for to in (DOMAIN, a.bare):
                r = a.iq("get", payload, to=to)
                self.assertIn(r.get("type"), ("result", "error"))
        self.assertTrue(self.d.alive())

    def test_both_workers(self):
        """Accounts of either worker, asked from either."""
        people = [self.login() for _ in range(6)]
        for a in people:
            for b in people:
                self.assertEqual(kid(self.ask(a, "echo", b.bare), "answer", NS).get("to"), b.bare)


class Reloads(Base):
    scripts = {"iqs": IQS}

    def ver(self):
        c = xmppc.authed(self.port, self.name)
        self.addCleanup(c.close)
        return c.features.find("{%s}c" % CAPS).get("ver")

    def ask(self, c, what="echo", to=DOMAIN):
        return c.iq("get", "<query xmlns='%s' what='%s'/>" % (NS, what), to)

    def reload(self, text, check=True):
        self.d.script("iqs", text)
        return self.d.ctl("config", "reload", check=check)

    def setUp(self):
        self.name = self.user()
        self.d.script("iqs", IQS)
        self.d.ctl("config", "reload")

    def settled(self, c, has):
        lab.wait_until(lambda: (self.ask(c).get("type") == "result") == has, 10, "the scripts of the reload")

    def test_go_and_come(self):
        a = self.login()
        with_, got = self.ver(), self.ask(a)
        self.assertResult(got)
        self.reload("tandem.register { session_end = function() end }")
        self.settled(a, False)
        self.assertError(self.ask(a), "service-unavailable")
        self.assertNotIn(NS, features(a.get(INFO, to=DOMAIN)))
        without = lab.wait_until(lambda: (lambda v: v != with_ and v)(self.ver()), 10, "other capabilities")
        self.assertResult(a.get(INFO, to=DOMAIN, attrs="node='%s'" % self.node(a, without)))
        self.reload(IQS)
        self.settled(a, True)
        self.assertIn(NS, features(a.get(INFO, to=DOMAIN)))
        self.assertEqual(self.ver(), with_)

    def node(self, c, ver):
        f = xmppc.authed(self.port, self.name)
        self.addCleanup(f.close)
        return f.features.find("{%s}c" % CAPS).get("node") + "#" + ver

    def test_open_requests_are_answered(self):
        """What was left for later is refused when its scripts go."""
        a = self.login()
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><query xmlns='%s' what='later'/></iq>" % (id_, DOMAIN, NS))
        ping = a.wait(lambda e: local(e) == "iq" and kid(e, "ping", PING) is not None)
        self.reload(IQS + "\n-- another\n")
        self.assertError(a.reply(id_), "internal-server-error", "wait")
        # the answer that comes now is nobody's
        a.send("<iq type='result' id='%s' to='%s'/>" % (ping.get("id"), ping.get("from")))
        self.assertResult(self.ask(a))

    def test_refused_at_load(self):
        """A namespace of the server's or of another script, and other mistakes: nothing changes, and it says why."""
        a = self.login()
        ok = "function(iq) return true end"
        for text, why in (
                ("tandem.register_iq('urn:xmpp:ping', nil, %s)" % ok, r"iqs\.lua:1: namespace urn:xmpp:ping is built in \(xep-0199-ping\)"),
                ("xmpp.register_iq('jabber:iq:roster', { to = 'account' }, %s)" % ok, "namespace jabber:iq:roster is built in"),
                ("tandem.register_iq('http://jabber.org/protocol/muc#admin', { to = 'room' }, %s)" % ok, "is built in"),
                ("tandem.register_iq('http://jabber.org/protocol/pubsub', { to = 'account' }, %s)" % ok, "is built in"),
                ("tandem.register_iq('u:a', nil, %s)\ntandem.register_iq('u:a', { type = 'get' }, %s)" % (ok, ok),
                 r"iqs\.lua:2: namespace u:a is registered already, by script iqs"),
                ("tandem.register_feature('http://jabber.org/protocol/disco#info')", "feature .* is built in"),
                ("tandem.register_identity('server', 'im')", "built in"),
                ("tandem.register_identity('a', 'b')\ntandem.register_identity('a', 'b', 'c')", "registered already"),
                ("tandem.register_iq('u:a', { to = 'moon' }, %s)" % ok, r'iqs\.lua:1: to: "host", "account" or "room"'),
                ("tandem.register_iq('u:a', { type = 'result' }, %s)" % ok, "invalid option"),
                ("tandem.register_iq('u:a', { from = 'own' }, %s)" % ok, 'from = "own" is for to = "account"'),
                ("tandem.register_iq('u:a', nil, nil)", "function expected"),
                ("tandem.register_iq('', nil, %s)" % ok, "namespace"),
                ("tandem.register_iq('a\\0b', nil, %s)" % ok, "namespace"),
                ("tandem.register_iq('\\xff', nil, %s)" % ok, "namespace"),
                ("for i = 1, 1000 do tandem.register_iq('u:' .. i, nil, %s) end" % ok, "more than 200"),
                ("tandem.register_iq('u:' .. tandem.random_id(), nil, %s)" % ok, "register the same each time"),
                ("for i = 1, tandem.count('n') do tandem.register_iq('u:' .. i, nil, %s) end" % ok, "same each time")):
            with self.subTest(text[:60]):
                r = self.reload(text, check=False)
                self.assertNotEqual(r.returncode, 0)
                self.assertRegex(r.stdout + r.stderr, why)
                self.assertResult(self.ask(a))

    def test_two_parts_of_a_namespace(self):
        a = self.login()
        self.reload("tandem.register_iq('u:a', { type = 'get' }, function() return xml.newnode('got', 'u:a') end)\n"
                    "tandem.register_iq('u:a', { type = 'set', name = 'x' }, function() return xml.newnode('set', 'u:a') end)\n"
                    "tandem.register_iq('u:a', { to = 'account' }, function() return xml.newnode('mine', 'u:a') end)\n")
        self.settled(a, False)
        self.assertEqual(local(a.iq("get", "<x xmlns='u:a'/>", to=DOMAIN)[0]), "got")
        self.assertEqual(local(a.iq("set", "<x xmlns='u:a'/>", to=DOMAIN)[0]), "set")
        self.assertEqual(local(a.iq("set", "<x xmlns='u:a'/>")[0]), "mine")
        self.assertError(a.iq("set", "<y xmlns='u:a'/>", to=DOMAIN), "service-unavailable")
        self.assertEqual(features(a.get(INFO, to=DOMAIN)).count("u:a"), 1)

    def test_registered_later(self):
        a = self.login()
        self.reload("tandem.register_iq('%s', nil, function(iq) tandem.register_feature('u:late') end)" % NS)
        lab.wait_until(lambda: self.ask(a).get("type") == "error", 10, "the new script")
        self.d.wait_log(r"registered\\x20while\\x20the\\x20script\\x20is\\x20loaded")

    def test_under_traffic(self):
        """Reload after reload while people ask and write: every request has one answer, no message is lost."""
        people = [self.login() for _ in range(4)]
        stop, bad = threading.Event(), []

        def talk(a, b):
            n = 0
            try:
                while not stop.is_set():
                    n += 1
                    for to in (DOMAIN, b.bare):
                        r = self.ask(a, "echo", to)
                        if r.get("type") != "result":
                            bad.append(xmppc.show(r))
                    a.message(a.bare, "to self %d" % n)
                    a.wait(body_is("to self %d" % n))
            except Exception as e:
                bad.append(repr(e))
        threads = [threading.Thread(target=talk, args=(a, people[i - 1])) for i, a in enumerate(people)]
        for t in threads:
            t.start()
        hooked = IQS + "\ntandem.register { stanza_arrived = function(self, account, st) return st end }\n"
        for i in range(8):
            self.reload((hooked if i % 2 else IQS) + "-- %d\n" % i)
        time.sleep(0.2)
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])
        self.assertTrue(self.d.alive())

    def test_stops_with_requests_open(self):
        a = self.login()
        for _ in range(20):
            a.send("<iq type='get' id='%s' to='%s'><query xmlns='%s' what='later'/></iq>" % (a.new_id(), DOMAIN, NS))
        a.wait(lambda e: local(e) == "iq" and kid(e, "ping", PING) is not None)
        self.assertEqual(self.d.terminate(), 0)
        self.d.start()


RAA = "urn:xmpp:raa:0"


def documented(word):
    """The example of docs/lua.md that has <word>."""
    blocks = re.findall(r"^```lua\n(.*?)^```", (lab.ROOT / "docs" / "lua.md").read_text(), re.S | re.M)
    return next(b for b in blocks if word in b)


class Documented(Base):
    """XEP-0489 in Lua only, as docs/lua.md has it."""
    scripts = {"raa": documented(RAA), "device": documented("urn:example:device")}
    more = 'admins = ( "boss@%s" )  members = ( "member@%s" )  trusted = ( "partner.example" "echo.%s" )' % (DOMAIN, DOMAIN, DOMAIN)
    extra = COMPONENT + 'domain "x.%s" { XMPP_Role = "server" service = "pubsub" }\n' % DOMAIN

    @classmethod
    def prepare(cls, lab_):
        super().prepare(lab_)
        for u in ("boss", "member"):
            cls.d.add_account(u)

    def info(self, c, to):
        r = c.get(RAA, to=to)
        return kid(r, "info", RAA) if r.get("type") == "result" else r

    def test_is_what_is_shipped(self):
        self.assertEqual(self.scripts["raa"], (lab.ROOT / "lua" / "scripts" / "tandem" / "affiliation.lua").read_text())

    def test_query(self):
        a = self.login()
        for who, what in (("boss", "admin"), ("member", "member"), (a.bare.partition("@")[0], "registered")):
            i = self.info(a, "%s@%s" % (who, DOMAIN))
            self.assertEqual(i.get("affiliation"), what)
            self.assertEqual(i.get("trust"), "0" if what == "registered" else None)
        b = self.login()
        self.friends(a, b)
        self.assertEqual(self.info(b, a.bare).get("trust"), "10")
        self.assertError(self.info(a, "nobody@" + DOMAIN), "service-unavailable")
        self.assertError(a.iq("set", "<query xmlns='%s'/>" % RAA, to=b.bare), "service-unavailable")
        self.assertError(a.get(RAA, to=DOMAIN), "service-unavailable")

    def test_our_services_may_ask(self):
        a = self.login()
        k = compc.join(self.port, "echo." + DOMAIN, "s3cret")
        self.addCleanup(k.close)
        self.assertResult(k.request("get", "<query xmlns='%s'/>" % RAA, a.bare))

    def test_features(self):
        a = self.login()
        got = features(a.get(INFO, to=DOMAIN))
        for f in (RAA, RAA + "#embed-presence-sub"):
            self.assertEqual(got.count(f), 1)
        self.assertNotIn(RAA, features(a.get(INFO, to=a.bare)))

    def test_subscription(self):
        """The server says what we are, and what a client says of itself is taken out."""
        a, b = self.pair()
        forged = "<info xmlns='%s' affiliation='admin'/>" % RAA
        a.presence("subscribe", b.bare, inner=forged + "<info xmlns='other'/>" + forged)
        e = b.wait(is_("presence", type="subscribe"))
        self.assertEqual([(i.get("affiliation"), i.get("trust")) for i in e.iter("{%s}info" % RAA)], [("registered", "0")])
        self.assertIsNotNone(kid(e, "info", "other"))

    def test_device(self):
        a = self.login()
        id_ = a.new_id()
        a.send("<iq type='get' id='%s' to='%s'><device xmlns='urn:example:device'/></iq>" % (id_, DOMAIN))
        q = a.wait(lambda e: local(e) == "iq" and kid(e, "query", "jabber:iq:version") is not None)
        a.send("<iq type='result' id='%s' to='%s'><query xmlns='jabber:iq:version'><name>Te&lt;st</name></query></iq>" % (
            q.get("id"), q.get("from")))
        self.assertEqual(kid(a.reply(id_), "device", "urn:example:device").text, "Te<st")


if __name__ == "__main__":
    lab.main()
