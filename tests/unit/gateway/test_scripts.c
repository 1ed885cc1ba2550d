/* Scripts: loading, faults, reload, phases, the two conversion scriptlets, notify and route. */
#include "tests/unit/gateway/scripts_rig.h"

/* ---- loading ---- */

static const struct {
	const char *source, *error;
} bad_scripts[] = {
	{ "local x = = 1\n", "s.lua:1: " },
	{ "local t = nil\n\nt.x = 1\n", "s.lua:3: " },
	{ "local m = {}\nfunction m:init() return false end\nfunction m:validate_data() "
	  "end\nmsys.registerModule('s', m)\n",
	  "s.lua:2: init() of module s did not return true" },
	{ "msys.registerModule('s', { no_such_callout = print })",
	  "no usable methods found for module s" },
	{ "local m = {}\nfunction m:init()\n  error('boom')\nend\nmsys.registerModule('s', m)",
	  "s.lua:3: boom" },
	{ "while true do end", "s.lua:1: the script ran " },
	{ "require 'no.such'", "no no/such.lua in " },
	{ "script:number('n')", "s.lua:1: script s: option n is no number" },
};

START_TEST(bad_script_says_where)
{
	const char *e = rig_script("n = \"x\"", bad_scripts[_i].source);

	ck_assert_msg(e != NULL && strstr(e, bad_scripts[_i].error) != NULL, "%s",
		      e != NULL ? e : "started");
	ck_assert_ptr_null(rig.gw.scripts);
}
END_TEST

START_TEST(options_reach_script)
{
	ck_started(rig_script(
		"lines = 7 copy = on names = ( a b ) map = [ x = 1 y = two ] text = \"a b\"",
		"local o = script.options\n"
		"assert(script.name == 's' and o.text == 'a b' and o.names[2] == 'b' and o.map.y "
		"== 'two')\n"
		"assert(script:number('lines', 1) == 7 and script:bool('copy') == true and "
		"script:number('none', 3) == 3)\n"
		"assert(script:list('text')[1] == 'a b' and #script:list('names') == 2 and "
		"o.source == 's')\n"
		"assert(msys.config('get', 'hostname'):find('mx.example.org', 1, true))\n"
		"assert(msys.config('get', 'domain', 'example.org', 'xmpp_role'):find('server'))\n"
		"assert(tandem.hostname() == 'mx.example.org' and tandem.gateway_domain() == "
		"'gateway.example')\n"
		"assert(tandem.domain('example.org').kind == 'local' and "
		"tandem.domain('nowhere.example') == nil)\n"
		"tandem.register { validate_data = function() end }"));
}
END_TEST

static void
count_script(void *arg, const struct gw_script_info *i)
{
	struct gw_script_info *out = arg;

	out->runs += i->runs;
	out->faults += i->faults;
	out->overruns += i->overruns;
}

/* ---- phases ---- */

START_TEST(all_phases)
{
	ck_started(rig_script(
		"",
		"local m = {}\n"
		"local C = msys.core\n"
		"function m:validate_connect(ac, vctx) self.n = 1 vctx:set(C.VCTX_CONN, 'x', 5) "
		"assert(ac.protocol == 'SMTP') end\n"
		"function m:validate_ehlo(str, ac, vctx) self.n = self.n + 1 assert(tostring(str) "
		"== 'client.example')\n"
		"  assert(vctx:get(C.VCTX_CONN, 'ehlo_domain') == 'client.example') end\n"
		"function m:core_validate_auth(vctx, info, status) self.user = info.user "
		"assert(status == 'pass') end\n"
		"function m:validate_mailfrom(str, ac, vctx) self.n = self.n + 1 assert(str == "
		"'zoe@partner.example')\n"
		"  assert(vctx:get(C.VCTX_MESS, 'mailfrom_domain') == 'partner.example' and "
		"self.user == 'zoe') end\n"
		"function m:validate_rcptto(msg, str, ac, vctx)\n"
		"  if str == 'no@example.org' then vctx:set_code('550', '5.1.1 Not here') return "
		"C.VALIDATE_DONE end\n"
		"  assert(msg:rcptto() == str and vctx:get(C.VCTX_CONN, 'x') == '5') end\n"
		"function m:validate_rcptto_list(list, vctx) assert(#list == 2) "
		"vctx:remove_recipient('bob@example.org')\n"
		"  vctx:add_recipient('carl@example.org') end\n"
		"function m:validate_data(msg, ac, vctx) assert(msg:header('subject')[1] == "
		"'Lunch')\n"
		"  msg:header('X-Seen', self.n .. self:helper()) msg:header('X-Uml', 'Grüße') end\n"
		"function m:helper() return 'h' end\n"
		"function m:validate_data_spool_each_rcpt(msg) msg:header('X-Rcpt', msg:rcptto(), "
		"'append') end\n"
		"function m:core_final_validation(msg) msg:text('Neuer Text: ü') end\n"
		"function m:validate_dealloc() tandem.count('gone') assert(self.n == 3) end\n"
		"msys.registerModule('s', m)\n"));
	rig.rec.macros[0] = "{auth_authen}";
	rig.rec.macros[1] = "zoe";
	ck_assert_int_eq(mail_open(), MV_CONTINUE);
	ck_assert_int_eq(mail_command(MP_MAIL, "<zoe@partner.example>"), MV_CONTINUE);
	ck_assert_int_eq(mail_command(MP_RCPT, "<ann@example.org>"), MV_CONTINUE);
	ck_assert_int_eq(mail_command(MP_RCPT, "<no@example.org>"), MV_REJECT);
	ck_assert_str_eq(recorded(&rig.rec), "reply 550 5.1.1|Not here\n");
	ck_assert_int_eq(mail_command(MP_RCPT, "<bob@example.org>"), MV_CONTINUE);
	ck_assert_int_eq(mail_content(plain_mail), MV_CONTINUE);
	ck_has(rig.rec.log, "X-Seen: 3h\n");
	ck_has(rig.rec.log, "X-Uml: =?UTF-8?B?R3LDvMOfZQ==?=\n");
	ck_has(rig.rec.log, "X-Rcpt: ann@example.org\n");
	ck_has(rig.rec.log, "X-Rcpt: carl@example.org\n");
	ck_has(rig.rec.log, "rcpt- <bob@example.org>\n");
	ck_has(rig.rec.log, "rcpt+ <carl@example.org>\n");
	ck_has(rig.rec.log, "body Neuer Text: =C3=BC");
	milt_session_free(rig.ms);
	rig.ms = NULL;
}
END_TEST

START_TEST(wants_follow_scripts)
{
	const struct milt_policy *p;

	ck_started(rig_script("", "tandem.register { validate_mailfrom = function() end }"));
	p = gw_scripts_policy(&rig.gw);
	ck_assert_uint_eq(p->wants(p->arg), MW_STEP(MP_MAIL));
	ck_assert_uint_eq(rig.env.hooks, 0);
}
END_TEST

START_TEST(no_scripts)
{
	const struct milt_policy *p;

	ck_started(rig_start(base_conf, ""));
	p = gw_scripts_policy(&rig.gw);
	ck_assert_uint_eq(p->wants(p->arg), 0);
	ck_assert_int_eq(mail_in("<a@b.example>", "<ann@example.org>", plain_mail), MV_CONTINUE);
}
END_TEST

static const char *const refusals[][2] = {
	{ "validate_connect = function(self, ac, vctx) vctx:disconnect(421, 'Go away') end",
	  "reply 421 |Go away\n" },
	{ "validate_ehlo = function(self, s, ac, vctx) vctx:set_code(554, '5.7.1 No') end",
	  "reply 554 5.7.1|No\n" },
	{ "validate_mailfrom = function(self, s, ac, vctx) vctx:set_code(450, 'Later') end",
	  "reply 450 |Later\n" },
	{ "validate_data = function(self, m, ac, vctx) m:code(0, '550 5.7.1 Spam') end",
	  "reply 550 5.7.1|Spam\n" },
	{ "core_final_validation2 = function() return 1 end",
	  "reply 550 5.7.1|Refused by a rule\n" },
	{ "core_final_validation2 = function() return 2 end", "reply 451 4.7.1|Try again later\n" },
	{ "core_ec_message_enqueue = function() return msys.core.EC_MESSAGE_ENQUEUE_HOOK_ERR end",
	  "reply 451 4.7.1|Try again later\n" },
};

START_TEST(refuses)
{
	char source[400];
	enum milt_verdict v;

	(void)snprintf(source, sizeof(source), "tandem.register { %s }", refusals[_i][0]);
	ck_started(rig_script("", source));
	v = mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail);
	ck_assert_str_eq(recorded(&rig.rec), refusals[_i][1]);
	ck_assert_int_eq(v, refusals[_i][1][6] == '4' ? MV_TEMPFAIL : MV_REJECT);
}
END_TEST

static const char *const faults[] = {
	"validate_connect = function() error('x') end",
	"validate_mailfrom = function() local t t.x = 1 end",
	"validate_data = function(self, m) while true do end end",
	"validate_data = function(self, m) m:header('bad name', 'x') end",
	"validate_data_spool_each_rcpt = function(self, m) error({}) end",
	"core_ec_message_enqueue = function(self, m) kept = m error(nil) end",
	"core_ec_message_enqueue = function() return ('x'):rep(1e9) end",
};

START_TEST(fault_is_tempfail)
{
	struct gw_script_info sum = { 0 };
	char source[300];

	(void)snprintf(source, sizeof(source), "tandem.register { %s }", faults[_i]);
	ck_started(rig_script("", source));
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_TEMPFAIL);
	gw_scripts_each(&rig.gw, count_script, &sum);
	ck_assert_uint_eq(sum.faults, 1);
}
END_TEST

START_TEST(fault_may_be_passed_over)
{
	char source[300];

	(void)snprintf(source, sizeof(source), "tandem.register { %s }", faults[_i]);
	ck_started(rig_script("lua_error_action = accept", source));
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
	ck_assert_str_eq(recorded(&rig.rec), "");
}
END_TEST

START_TEST(objects_end_with_callout)
{
	ck_started(rig_script("lua_error_action = accept",
			      "local kept = {}\n"
			      "tandem.register {\n"
			      "  validate_mailfrom = function(self, s, ac, vctx) kept.ac, "
			      "kept.vctx = ac, vctx end,\n"
			      "  validate_rcptto = function(self, msg) kept.msg = msg end,\n"
			      "  validate_data = function(self, msg, ac, vctx)\n"
			      "    assert(not pcall(function() return kept.msg:rcptto() end))\n"
			      "    assert(not pcall(function() return kept.vctx:get(1, 'x') end))\n"
			      "    assert(not pcall(function() return kept.ac.remote_addr end))\n"
			      "    msg:header('X-Ok', 'yes') end }\n"));
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
	ck_has(rig.rec.log, "X-Ok: yes");
}
END_TEST

/* ---- the message object ---- */

START_TEST(message_methods)
{
	ck_started(rig_script(
		"",
		"local C = msys.core\n"
		"tandem.register { validate_data = function(self, msg, ac, vctx)\n"
		"  assert(msg:mailfrom() == 'zoe@partner.example' and #msg.id > 0 and #msg.conn_id "
		"> 0 and msg.priority == 0)\n"
		"  assert(msg:address_header('From', 'localpart')[1] == 'zoe')\n"
		"  assert(msg:address_header('From')[1]:find('Zoe'))\n"
		"  assert(msg:text():find('At noon') and msg:body() == 'At noon?\\r\\n')\n"
		"  local raw, len = msg:raw() assert(#raw == len and raw:find('Subject: "
		"Lunch\\r\\n', 1, true))\n"
		"  assert(msg:text_match('(no+)n')[1] == 'noo' and msg:text_match('zzz') == "
		"false)\n"
		"  assert(msg:text_replace('noon', 'one') and msg:text():find('At one?', 1, "
		"true))\n"
		"  assert(not msg:text_replace('zzz', 'y'))\n"
		"  assert(msg:header('Subject', 'Dinner') and msg:header('Subject')[1] == "
		"'Dinner')\n"
		"  assert(msg:header('X-Many', {'a', 'b'}) and #msg:header('X-Many') == 2)\n"
		"  assert(msg:header('X-Many', '') and #msg:header('X-Many') == 0 and "
		"msg:header('X-Many', '') == false)\n"
		"  msg:context_set(C.ECMESS_CTX_MESS, 'k', 12)\n"
		"  assert(msg:context_get(C.ECMESS_CTX_MESS, 'k') == '12' and "
		"msg:context_exists(C.ECMESS_CTX_MESS, 'k') == 1)\n"
		"  assert(C.ec_message_context_get(msg, 1, 'k') == '12' and msg:context_get(2, "
		"'nope') == '')\n"
		"  assert(select(2, msg:context_exists_and_get(1, 'k')) == '12' and "
		"msg:context_delete(1, 'k') == 1)\n"
		"  assert(msg:get_message_size() > 50 and msg:is_mcmt() == 0 and msg:code() == "
		"'')\n"
		"  assert(msg:mime():content_type().mimetype == 'text/plain')\n"
		"  msg.mine = 5 assert(msg.mine == 5 and msg.nothing == nil)\n"
		"  local lp, dom = C.string_new(), C.string_new()\n"
		"  msg:get_envelope2(C.EC_MSG_ENV_FROM, lp, dom) assert(tostring(lp) == 'zoe' and "
		"#dom == 15)\n"
		"  assert(#vctx:recipient_list() == 2 and ac.remote_host == 'client.example')\n"
		"  msg:mailfrom('other@partner.example') msg:hold('wait') tandem.count('done')\n"
		"end }\n"));
	ck_assert_int_eq(
		mail_in("<zoe@partner.example>", "<ann@example.org> <bob@example.org>", plain_mail),
		MV_CONTINUE);
	ck_has(rig.rec.log, "chg Subject#1: Dinner");
	ck_has(rig.rec.log, "from <other@partner.example>");
	ck_has(rig.rec.log, "hold wait");
}
END_TEST

START_TEST(new_messages)
{
	ck_started(rig_script(
		"", "tandem.register { validate_data = function(self, msg)\n"
		    "  local m = msys.core.ec_message_new(nil)\n"
		    "  m:build({ From = 'a@example.org', To = 'b@c.example', Subject = "
		    "'Hi\\r\\nBcc: x@y.example', ['X-A'] = {'1', '2'} },\n"
		    "    { ['text/plain'] = 'Hällo', ['text/html'] = '<b>H</b>' }, { { type = "
		    "'text/csv', name = 'a.csv', content = '1;2' } })\n"
		    "  assert(not pcall(m.build, m, {}, {}))\n"
		    "  assert(m:header('To')[1] == 'b@c.example' and m:text():find('Hällo'))\n"
		    "  assert(m:inject('a@example.org', '<b@c.example>, d@c.example'))\n"
		    "  assert(not pcall(m.inject, m, 'a@example.org', 'b c@d'))\n"
		    "  assert(msg:forward('ann@example.org', 'f@c.example', 'see below'))\n"
		    "  assert(tandem.mail { from = 'ann@example.org', to = 'g@c.example', subject "
		    "= 'S', text = 'T' })\n"
		    "end }\n"));
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
	ck_has(rig.outbox, "<a@example.org> <b@c.example>\n");
	ck_has(rig.outbox, "<a@example.org> <d@c.example>\n");
	ck_has(rig.outbox, "<ann@example.org> <f@c.example>\n");
	ck_has(rig.outbox, "<ann@example.org> <g@c.example>\n");
	ck_has(rig.outbox, "Auto-Submitted: auto-generated");
	ck_has(rig.outbox, "X-Tandem-Loop: mx.example.org; hops=1");
	ck_has(rig.outbox, "multipart/alternative");
	ck_has(rig.outbox, "message/rfc822");
	ck_lacks(rig.outbox, "\nBcc:");
}
END_TEST

START_TEST(loops_end)
{
	ck_started(rig_script("", "tandem.register { validate_data = function(self, msg)\n"
				  "  local ok, why = tandem.mail { from = 'ann@example.org', to = "
				  "'g@c.example', text = 'T' }\n"
				  "  assert(not ok and why:find('loop')) end }\n"));
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>",
				 "From: z@p.example\nX-Tandem-Loop: other.example; hops=10\n\nx\n"),
			 MV_CONTINUE);
	ck_assert_uint_eq(rig.outbox.len, 0);
}
END_TEST

/* ---- the two conversions, as Momentum's scripts write them (momentum.md 6.10) ---- */

static const char mail2chat[] =
	"-- mail to chat\n"
	"local xmpp, xml = require \"msys.xmpp\", require \"xml\"\n"
	"require \"msys.extended.message\"\n"
	"local mod = {}\n"
	"function mod:core_ec_message_enqueue(msg)\n"
	"  local to = msg:rcptto()\n"
	"  if not (xmpp.valid_domain(msg:routing_domain()) and xmpp.online(to)) then\n"
	"    return msys.core.EC_MESSAGE_ENQUEUE_HOOK_CONT\n"
	"  end\n"
	"  local m = xml.newnode(\"message\")\n"
	"  m:attr(\"from\", \"mail@gateway.example\"); m:attr(\"to\", to); m:attr(\"type\", "
	"\"chat\")\n"
	"  local t = msg:text(); if type(t) == \"table\" then t = table.concat(t, \"\\n\") end\n"
	"  m:addchild(\"body\"):contents(t or \"\")\n"
	"  xmpp.routeStanza(m)\n"
	"  msg.delivered = msys.core.EM_SUCCEEDED\n"
	"  return msys.core.EC_MESSAGE_ENQUEUE_HOOK_OK\n"
	"end\n"
	"msys.registerModule(\"mail2chat\", mod)\n";

/* In the dialect: no requires, bare constants, != */
static const char mail2chat_old[] =
	"local mod = {};\n"
	"function mod:core_ec_message_enqueue(msg)\n"
	"  local to = msg:rcptto();\n"
	"  if xmpp.valid_domain(msg:routing_domain()) != true or xmpp.online(to) == nil then\n"
	"    return EC_MESSAGE_ENQUEUE_HOOK_CONT;\n"
	"  end\n"
	"  local m = xml.newnode(\"message\");\n"
	"  m:attribute(\"from\", \"mail@gateway.example\"); m:attribute(\"to\", to); "
	"m:attribute(\"type\", \"chat\");\n"
	"  local t = msg:text(); if type(t) == \"table\" then t = table.concat(t, \"\\n\"); end\n"
	"  local body = m:addchild(\"body\"); body:contents(t);\n"
	"  msys.xmpp.routeStanza(m);\n"
	"  msg.delivered = EM_SUCCEEDED;\n"
	"  return EC_MESSAGE_ENQUEUE_HOOK_OK;\n"
	"end\n"
	"msys.registerModule(\"mail2chat\", mod);\n";

static void
check_mail2chat(void)
{
	/* nobody online: it stays mail */
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
	ck_assert_uint_eq(rig.bridged.len, 0);
	/* negative priority does not count */
	rig_presence("ann@example.org/tv", -1, true);
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
	rig_presence("ann@example.org/phone", 0, true);
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_DISCARD);
	ck_has(rig.bridged, "[m1@partner.example ");
	ck_has(rig.bridged, "zoe@partner.example] <message ");
	ck_has(rig.bridged, "from='mail@gateway.example'");
	ck_has(rig.bridged, "to='ann@example.org'");
	ck_has(rig.bridged, "<body>At noon?");
	/* of two recipients one is online */
	ck_assert_int_eq(
		mail_in("<zoe@partner.example>", "<ann@example.org> <bob@example.org>", plain_mail),
		MV_CONTINUE);
	ck_has(rig.rec.log, "rcpt- <ann@example.org>");
	/* without the commit nothing is promised */
	rig.bridge_rc = TD_E_IO;
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_TEMPFAIL);
}

START_TEST(mail_to_chat)
{
	rig_file("mail2chat.lua", mail2chat);
	ck_started(rig_start(base_conf, "script \"mail2chat\" { source = \"mail2chat\" }"));
	check_mail2chat();
}
END_TEST

START_TEST(mail_to_chat_dialect)
{
	rig_file("mail2chat.lua", mail2chat_old);
	ck_started(rig_start(base_conf,
			     "lua_compat = true script \"mail2chat\" { source = \"mail2chat\" }"));
	check_mail2chat();
}
END_TEST

static const char chat2mail[] =
	"local xmpp = require \"msys.xmpp\"\n"
	"require \"msys.extended.message\"\n"
	"local function bare(j) return (j:gsub(\"/.*$\", \"\")) end\n"
	"local function wants_mail(to) return not xmpp.valid_domain(to:match(\"@(.*)$\")) end\n"
	"local function body_of(st)\n"
	"  local text = {}\n"
	"  for kid in st:children() do\n"
	"    if kid:name() == \"body\" then text[#text + 1] = kid:contents() or \"\" end\n"
	"  end\n"
	"  return table.concat(text, \"\\n\")\n"
	"end\n"
	"local h = {}\n"
	"function h:client_message_recv(sess, st)\n"
	"  local from, to, text = bare(st:attr(\"from\")), bare(st:attr(\"to\")), body_of(st)\n"
	"  if text == \"\" or not wants_mail(to) then return xmpp.CONT end\n"
	"  local m = msys.core.ec_message_new(nil)\n"
	"  m:build({ From = from, To = to }, { [\"text/plain; charset=utf-8\"] = text }, nil)\n"
	"  m:inject(from, to)\n"
	"  return xmpp.DONE\n"
	"end\n"
	"xmpp.registerModule(\"chat2mail\", h)\n";

static const char chat2mail_old[] =
	"function bare(j) return (string.gsub(j, \"/.*$\", \"\")); end\n"
	"local h = {};\n"
	"function h:client_message_recv(sess, st)\n"
	"  local text = \"\";\n"
	"  for kid in st:children() do\n"
	"    if kid:name() == \"body\" then text = text .. kid:contents(); end\n"
	"  end\n"
	"  local to = bare(st:attr(\"to\"));\n"
	"  if text != \"\" and not xmpp.valid_domain(string.match(to, \"@(.*)$\")) then\n"
	"    local m = msys.core.ec_message_new(nil);\n"
	"    m:build({ From = bare(st:attr(\"from\")), To = to }, { [\"text/plain; "
	"charset=utf-8\"] = text }, nil);\n"
	"    m:inject(bare(st:attr(\"from\")), to);\n"
	"    return msys.xmpp.DONE;\n"
	"  end\n"
	"  return msys.xmpp.CONT;\n"
	"end\n"
	"xmpp.registerModule(\"chat2mail\", h);\n";

static struct xmpp_session *
session(struct td_arena *a, const char *full)
{
	struct xmpp_session *s = td_arena_zalloc(a, sizeof(*s));

	s->env = &rig.env;
	ck_assert_int_eq(xmpp_jid_parse(a, td_cstr(full), &s->jid, NULL), 0);
	return s;
}

static void
check_chat2mail(void)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_session *sess = session(a, "ann@example.org/phone");

	ck_assert_uint_eq(rig.env.hooks, (1u << XH_CLIENT_MESSAGE) | (1u << XH_SESSION_END));
	ck_assert(!chat_in(sess,
			   "<message from='ann@example.org/phone' "
			   "to='bob@example.org'><body>x</body></message>",
			   NULL));
	ck_assert(!chat_in(sess,
			   "<message from='ann@example.org/phone' to='zoe@partner.example'>"
			   "<active xmlns='http://jabber.org/protocol/chatstates'/></message>",
			   NULL));
	ck_assert_uint_eq(rig.outbox.len, 0);
	ck_assert(chat_in(sess,
			  "<message from='ann@example.org/phone' to='zoe@partner.example/x'>"
			  "<body>Yes, n\xc3\xb6\xc3\xb6n.</body></message>",
			  NULL));
	ck_has(rig.outbox, "held zoe@partner.example/x: <ann@example.org> <zoe@partner.example>\n");
	ck_has(rig.outbox, "From: ann@example.org\r\n");
	ck_has(rig.outbox, "Auto-Submitted: auto-generated\r\n");
	td_arena_free(a);
}

START_TEST(chat_to_mail)
{
	rig_file("chat2mail.lua", chat2mail);
	ck_started(rig_start(base_conf, "script \"chat2mail\" { source = \"chat2mail\" }"));
	check_chat2mail();
}
END_TEST

START_TEST(chat_to_mail_dialect)
{
	rig_file("chat2mail.lua", chat2mail_old);
	ck_started(rig_start(base_conf,
			     "lua_compat = true script \"chat2mail\" { source = \"chat2mail\" }"));
	check_chat2mail();
}
END_TEST

/* ---- chat callouts ---- */

START_TEST(stanza_changes)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_session *sess = session(a, "ann@example.org/phone");
	struct xmpp_stanza *s;
	struct td_buf out = { 0 };

	ck_started(rig_script(
		"",
		"local kept\n"
		"tandem.register { client_message_recv = function(self, sess, st)\n"
		"  if kept then assert(not pcall(function() return kept:name() end)) end\n"
		"  kept = st\n"
		"  assert(sess:jid():bare() == 'ann@example.org' and sess:jid():resource() == "
		"'phone' and sess:kind() == 'c2s')\n"
		"  assert(sess.vctx:get(msys.core.VCTX_CONN, 'auth_user') == 'ann')\n"
		"  sess:set('n', (sess:get('n') or 0) + 1)\n"
		"  if sess:get('n') == 2 then error('boom') end\n"
		"  st:child('body'):contents('[' .. st:child('body'):contents() .. ' & more]')\n"
		"  st:attr('to', 'bob@example.org') st:attr('from', 'evil@example.org') "
		"st:attr('type', 'chat')\n"
		"  st:addchild('x', 'urn:x'):attr('n', sess:get('n'))\n"
		"end }\n"));
	ck_assert(!chat_in(sess,
			   "<message from='ann@example.org/phone' to='x@example.org' "
			   "id='1'><body>hi</body></message>",
			   &s));
	xmpp_stanza_seal(s);
	ck_assert(td_str_eqc(s->to.full, "bob@example.org"));
	ck_assert_int_eq(s->type, XT_CHAT);
	xmpp_stanza_write(s, false, &out);
	ck_has(out, "<body>[hi &amp; more]</body>");
	ck_has(out, "xmlns='urn:x'");
	ck_has(out, "from='ann@example.org/phone'");
	ck_lacks(out, "evil");
	ck_assert_int_eq(s->refs, 1);
	xmpp_stanza_unref(&s);
	/* a fault leaves the stanza its way */
	ck_assert(!chat_in(
		sess,
		"<message from='ann@example.org/phone' to='x@example.org'><body>2</body></message>",
		NULL));
	ck_assert(!chat_in(
		sess,
		"<message from='ann@example.org/phone' to='x@example.org'><body>3</body></message>",
		NULL));
	(void)hook(XH_SESSION_END, sess, NULL);
	ck_assert_ptr_null(sess->script_data);
	td_buf_fini(&out);
	td_arena_free(a);
}
END_TEST

START_TEST(routing_rules)
{
	struct td_arena *a = td_arena_new(0);

	ck_started(rig_script(
		"",
		"tandem.register { client_presence_recv = function(self, sess, st)\n"
		"  assert(xmpp:send('<message from=\"ann@example.org\" "
		"to=\"bob@example.org\"><body>1</body></message>'))\n"
		"  assert(xmpp.send('<message from=\"x@gateway.example\" "
		"to=\"bob@example.org\"/>'))\n"
		"  assert(not xmpp:send('<message from=\"a@elsewhere.example\" "
		"to=\"bob@example.org\"/>'))\n"
		"  assert(not xmpp:send('<message to=\"bob@example.org\"/>'))\n"
		"  assert(not xmpp:send('<message from=\"ann@example.org\"/>'))\n"
		"  assert(not xmpp:send('<message from=\"ann@example.org\" to=\"a@b@c\"/>'))\n"
		"  assert(not xmpp:send('<foo from=\"ann@example.org\" "
		"to=\"bob@example.org\"/>'))\n"
		"  assert(not xmpp:send('not xml'))\n"
		"  assert(not xmpp:send('<message from=\"ann@example.org\" "
		"to=\"bob@example.org\">&x;</message>'))\n"
		"  assert(xmpp.connected('ann@example.org') == false and "
		"xmpp.presence('ann@example.org').availability == false)\n"
		"  assert(tandem.account_exists('ANN@example.org') and not "
		"tandem.account_exists('no@example.org'))\n"
		"  assert(not tandem.account_exists('ann@partner.example') and "
		"tandem.account_of('ann+x@example.org') == 'ann@example.org')\n"
		"  assert(tandem.jid_of_address('z@p.example') == "
		"'z\\\\40p.example@gateway.example')\n"
		"  assert(xmpp.jid('a@b@c') == nil and tostring(xmpp.jid('A@b/c')) == 'a@b/c')\n"
		"  return xmpp.DONE end }\n"));
	ck_assert(chat_in(session(a, "ann@example.org/x"), "<presence from='ann@example.org/x'/>",
			  NULL));
	ck_has(rig.routed, "<body>1</body>");
	ck_has(rig.routed, "from='x@gateway.example'");
	ck_lacks(rig.routed, "elsewhere");
	td_arena_free(a);
}
END_TEST

/* A client need not say who it is, and is not believed: the session's address is what a callout sees. */
START_TEST(from_is_stamped)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_session *sess = session(a, "ann@example.org/x");
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, XT_CHAT);

	ck_started(rig_script(
		"", "tandem.register { client_message_recv = function(self, sess, st)\n"
		    "  return st:attr('from') == 'ann@example.org/x' and xmpp.DONE end }\n"));
	xmpp_node_set(s->arena, s->root, "from", TD_STR("evil@example.org"));
	xmpp_stanza_set_from(s, &sess->jid);
	ck_assert(hook(XH_CLIENT_MESSAGE, sess, s));
	xmpp_stanza_unref(&s);
	td_arena_free(a);
}
END_TEST

START_TEST(sealed_stanza)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_session *sess = session(a, "ann@example.org/x");
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, XT_CHAT), *copy;

	ck_started(rig_script("",
			      "tandem.register { before_stanza_send = function(self, sess, st)\n"
			      "  assert(st:child('body'):contents() == 'x')\n"
			      "  assert(st:attr('from') == 'ann@example.org/x' and st:attr('to') "
			      "== st:attr('from'))\n"
			      "  assert(not pcall(st.attr, st, 'to', 'y@example.org'))\n"
			      "  local c = st:copy() c:attr('to', 'y@example.org')\n"
			      "  return st:child('body'):contents() == 'x' and xmpp.DONE end }\n"));
	xmpp_stanza_set_to(s, &sess->jid);
	xmpp_stanza_set_from(s, &sess->jid);
	xmpp_node_add_text(s->arena, xmpp_node_add(s->arena, s->root, "body", NULL), TD_STR("x"));
	xmpp_stanza_touch(s);
	xmpp_stanza_seal(s);
	ck_assert(hook(XH_BEFORE_SEND, sess, s));
	copy = xmpp_stanza_readdress(s, &sess->jid); /* content as bytes only */
	ck_assert(hook(XH_BEFORE_SEND, sess, copy));
	xmpp_stanza_unref(&copy);
	xmpp_stanza_unref(&s);
	td_arena_free(a);
}
END_TEST

/* ---- XML ---- */

static const char *const xml_cases[][2] = {
	{ "xml.newnode('message'):tostring()", "<message/>" },
	{ "(function() local m = xml.newnode('a', 'urn:a') m:attr('x', '1&2') "
	  "m:addchild('b'):contents('<t>') return m:tostring() end)()",
	  "<a xmlns='urn:a' x='1&amp;2'><b>&lt;t&gt;</b></a>" },
	{ "(function() local m = xml.newnode('a') m:attr('x', '1') m:attr('x', nil) return "
	  "m:tostring() end)()",
	  "<a/>" },
	{ "(function() local m = xml.newnode('a') m:contents('x') m:contents('') return "
	  "m:tostring() end)()",
	  "<a/>" },
	{ "(function() local m = xml.newnode('a') m:attr('xml:lang', 'de') return m:tostring() "
	  "end)()",
	  "<a xml:lang='de'/>" },
	{ "(function() local m = xml.newnode('a') m:attr('xmlns', 'urn:q') return m:ns() .. "
	  "m:tostring() end)()",
	  "urn:q<a xmlns='urn:q'/>" },
	{ "xml.parsexml('<?xml version=\"1.0\"?>\\n<a> <b/> </a>'):tostring()",
	  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a><b/></a>" },
	{ "xml.parsexml('<a> <b/> </a>', 1):root():tostring()", "<a> <b/> </a>" },
	{ "tostring(xml.parsexml('<a><b></a>'))", "nil" },
	{ "tostring(xml.parsexml('<!DOCTYPE a><a/>'))", "nil" },
	{ "tostring(xml.parsexml('<a>&lol;</a>'))", "nil" },
	{ "(function() local a, b = xml.newnode('a'), xml.newnode('b') local c = a:addchild(b) "
	  "b:contents('x') return a:tostring() .. tostring(c == b) end)()",
	  "<a><b>x</b></a>true" },
	{ "(function() local a = xml.newnode('a') local b = a:addchild('b') b:addchild('c') return "
	  "tostring(pcall(b.addchild, b, a)) .. b:unlink():tostring() .. a:tostring() end)()",
	  "false<b><c/></b><a/>" },
	{ "(function() local r = '' for k in xml.parsexml('<a>t<b/>u</a>', 1):root():children() do "
	  "r = r .. k:name() .. k:contents() .. ';' k:unlink() end return r end)()",
	  "textt;b;textu;" },
	{ "(function() local n = xml.newnode('r') local k = n for i = 1, 500 do local ok, c = "
	  "pcall(k.addchild, k, 'x') if not ok then return i end k = c end end)()",
	  "100" },
	{ "tostring(pcall(xml.newnode, 'a b')) .. tostring(pcall(xml.newnode, 'a><b')) .. "
	  "tostring(pcall(xml.newnode, ''))",
	  "falsefalsefalse" },
	{ "tostring(pcall(function() xml.newnode('a'):attr('x=\"1\" y', 'z') end))", "false" },
	{ "xml.parsexml('<a><b n=\"1\"/><b "
	  "n=\"2\"><c>x</c></b></a>'):xpath('/a/b[2]/c')():contents()",
	  "x" },
	{ "xml.parsexml('<a><b n=\"1\"/><b "
	  "n=\"2\"><c>x</c></b></a>'):xpath('//b[@n=\"2\"]')():attr('n')",
	  "2" },
	{ "xml.parsexml('<a><b n=\"1\"/><b n=\"2\"><c>x</c></b></a>'):xpath('//@n')()", "1" },
	{ "xml.parsexml('<a><b n=\"1\"/><b "
	  "n=\"2\"><c>x</c></b></a>'):xpath('//b[c=\"x\"]')():attr('n')",
	  "2" },
	{ "xml.parsexml('<a><b n=\"1\"/><b n=\"2\"/></a>'):root():xpath('b[last()]')():attr('n')",
	  "2" },
	{ "xml.parsexml('<a><b/></a>'):root():child('b'):xpath('..')():name()", "a" },
	{ "xml.parsexml('<a>t</a>'):xpath('/a/text()')():contents()", "t" },
	{ "xml.parsexml('<x:a xmlns:x=\"urn:x\"><x:b/></x:a>'):xpath('/x:a/x:b | /y:none')():ns()",
	  "urn:x" },
	{ "tostring(pcall(function() xml.newnode('a'):xpath('count(//b)') end))", "false" },
	{ "tostring(pcall(function() xml.newnode('a'):xpath('b[') end))", "false" },
	{ "tostring(xml.newnode('a'):xpath('zzz')())", "nil" },
	{ "(function() local d = xml.parsexml('<a><b/></a>') local n = d:root():child('b') d = nil "
	  "collectgarbage() return n:doc():root():name() end)()",
	  "a" },
	{ "(function() for i = 1, 20000 do xml.newnode('a'):contents(('x'):rep(5000)) end return "
	  "'fine' end)()",
	  "fine" },
	{ "tostring(pcall(function() local t = {} for i = 1, 1e6 do t[i] = "
	  "xml.newnode('a'):contents(('x'):rep(5000)) end end))",
	  "false" },
};

START_TEST(xml_nodes)
{
	char source[900];
	const char *e;

	(void)snprintf(
		source, sizeof(source),
		"local got = tostring(%s)\nif got ~= [==[%s]==] then error('got ' .. got) end\n"
		"tandem.register { validate_data = function() end }",
		xml_cases[_i][0], xml_cases[_i][1]);
	e = rig_script("", source);
	ck_assert_msg(e == NULL, "%s: %s", xml_cases[_i][0], e);
}
END_TEST

/* ---- the shipped scripts ---- */

#define NOTIFY "script \"notify\" { source = \"tandem.notify\" "
#define ROUTE "script \"route\" { source = \"tandem.route\" "

START_TEST(notify_tells)
{
	ck_started(rig_start(base_conf, NOTIFY "lines = 2 }"));
	rig_presence("ann@example.org/phone", 5, true);
	ck_assert_int_eq(
		mail_in("<zoe@partner.example>", "<ann+x@example.org> <nobody@example.org>",
			"From: =?utf-8?q?Zo=C3=AB?= <zoe@partner.example>\nSubject: Re: "
			"Lunch\nMessage-ID: <m2@p.example>\n"
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
			"--b\nContent-Type: text/plain\n\n> "
			"old\nOne\n\nTwo\nThree\n--b\nContent-Type: application/pdf; name=a.pdf\n"
			"Content-Disposition: attachment; "
			"filename=a.pdf\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n"),
		MV_CONTINUE);
	ck_assert_str_eq(recorded(&rig.rec), "");
	ck_has(rig.bridged, "to='ann@example.org'");
	ck_has(rig.bridged, "from='mail@example.org'");
	ck_has(rig.bridged, "<subject>Re: Lunch</subject>");
	ck_has(rig.bridged, "New mail from Zo\xc3\xab &lt;zoe@partner.example&gt;\n");
	ck_has(rig.bridged, "Attached: a.pdf (application/pdf, 3 bytes)");
	ck_has(rig.bridged, "\n\nOne\nTwo</body>");
	ck_lacks(rig.bridged, "nobody");
	/* a notice that cannot be kept never holds the mail up */
	rig.bridge_rc = TD_E_IO;
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
}
END_TEST

static const struct {
	const char *options, *headers;
	bool told;
} notify_rules[] = {
	{ "", "", true },
	{ "", "X-Tandem-Notify: no\n", false },
	{ "", "List-Id: <l.example>\n", false },
	{ "exclude_lists = false", "List-Id: <l.example>\n", true },
	{ "", "Auto-Submitted: auto-generated\n", true },
	{ "exclude_automatic = true", "Auto-Submitted: auto-generated\n", false },
	{ "", "X-Tandem-Loop: mx.example.org; hops=1\n", false },
	{ "", "X-Tandem-Loop: other.example; hops=1\n", true },
};

START_TEST(notify_rule)
{
	char stanza[300], mail[500];

	(void)snprintf(stanza, sizeof(stanza), NOTIFY "%s }", notify_rules[_i].options);
	ck_started(rig_start(base_conf, stanza));
	rig_presence("ann@example.org/phone", 0, true);
	(void)snprintf(mail, sizeof(mail), "From: z@p.example\nSubject: S\n%s\nText\n",
		       notify_rules[_i].headers);
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", mail), MV_CONTINUE);
	ck_assert_msg((rig.bridged.len > 0) == notify_rules[_i].told, "%s%s: %s",
		      notify_rules[_i].options, notify_rules[_i].headers,
		      td_buf_cstr(&rig.bridged));
}
END_TEST

START_TEST(notify_offline)
{
	/* who is offline just has mail, unless it is asked for */
	ck_started(rig_start(base_conf, NOTIFY "}"));
	rig_presence("ann@example.org/tv", -1, true);
	ck_assert_int_eq(
		mail_in("<z@p.example>", "<ann@example.org> <bob@example.org>", plain_mail),
		MV_CONTINUE);
	ck_assert_uint_eq(rig.bridged.len, 0);
}
END_TEST

START_TEST(notify_for_later)
{
	ck_started(rig_start(base_conf, NOTIFY "only_online = false }"));
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", plain_mail), MV_CONTINUE);
	ck_has(rig.bridged, "New mail from");
}
END_TEST

static void
know_mail(const char *id, const char *peer, const char *thread)
{
	struct store_thread th = { .account = TD_STR("ann@example.org"),
				   .peer = td_cstr(peer),
				   .mail_id = td_cstr(id),
				   .thread = td_cstr(thread) };
	struct store_wait *w = store_wait_new();
	struct td_err err = { 0 };

	store_thread_put(rig.gw.store, &th, store_to_wait(w));
	ck_assert_int_eq(store_wait_for(w, 10000, NULL, &err), 0);
	store_wait_free(w);
}

START_TEST(route_moves)
{
	know_mail("known@partner.example", "zoe@partner.example", "thread-7");
	ck_started(rig_start(base_conf, NOTIFY "only_online = false }\n" ROUTE "}"));
	/* offline: mail and, when it is asked for, a notice */
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_CONTINUE);
	ck_has(rig.bridged, "New mail from");
	td_buf_clear(&rig.bridged);
	/* online: one chat, no mail, no notice */
	rig_presence("ann@example.org/phone", 5, true);
	ck_assert_int_eq(
		mail_in("<zoe@partner.example>", "<ann@example.org>",
			"From: Zoe <zoe@partner.example>\nSubject: Lunch\nMessage-ID: "
			"<m3@partner.example>\n"
			"References: <root@p.example> <known@partner.example>\n\nAt noon?\n"),
		MV_DISCARD);
	ck_has(rig.bridged, "[m3@partner.example thread-7 zoe@partner.example]");
	ck_has(rig.bridged, "from='zoe\\40partner.example@gateway.example'");
	ck_has(rig.bridged, "<subject>Lunch</subject><body>At noon?");
	ck_has(rig.bridged, "<thread>thread-7</thread>");
	ck_lacks(rig.bridged, "New mail");
	td_buf_clear(&rig.bridged);
	/* the other recipient has no session: he keeps the mail */
	ck_assert_int_eq(
		mail_in("<zoe@partner.example>", "<ann@example.org> <bob@example.org>", plain_mail),
		MV_CONTINUE);
	ck_has(rig.rec.log, "rcpt- <ann@example.org>");
	ck_has(rig.bridged, "to='bob@example.org'");
	ck_has(rig.bridged, "New mail");
	/* a new conversation: every mail of one root gives the same thread */
	ck_has(rig.bridged, "[m1@partner.example db6dd40f77e3afc5");
}
END_TEST

static const struct {
	const char *options, *headers, *body;
	enum milt_verdict verdict;
	bool chat;
} route_rules[] = {
	{ "", "", "x\n", MV_DISCARD, true },
	{ "copy = true", "", "x\n", MV_CONTINUE, true },
	{ "", "List-Id: <l.example>\n", "x\n", MV_CONTINUE, false },
	{ "automatic = true", "List-Id: <l.example>\n", "x\n", MV_DISCARD, true },
	{ "", "Auto-Submitted: auto-replied\n", "x\n", MV_CONTINUE, false },
	{ "", "X-Tandem-Loop: mx.example.org; hops=1\n", "x\n", MV_CONTINUE, false },
	{ "", "X-Tandem-Loop: other.example; hops=3\n", "x\n", MV_DISCARD, true },
	{ "max_hops = 3", "X-Tandem-Loop: other.example; hops=3\n", "x\n", MV_CONTINUE, false },
	{ "max_chat_body = 3", "", "abcdef\n", MV_CONTINUE, true },
	{ "", "", "\n", MV_CONTINUE, false },
	{ "", "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n",
	  "--b\n\nhi\n--b\nContent-Type: image/png\nContent-Disposition: attachment; "
	  "filename=p.png\n\nx\n--b--\n",
	  MV_CONTINUE, true },
};

START_TEST(route_rule)
{
	char stanza[300], mail[700];

	(void)snprintf(stanza, sizeof(stanza), ROUTE "%s }", route_rules[_i].options);
	ck_started(rig_start(base_conf, stanza));
	rig_presence("ann@example.org/phone", 0, true);
	(void)snprintf(mail, sizeof(mail), "From: z@p.example\nSubject: S\n%s\n%s",
		       route_rules[_i].headers, route_rules[_i].body);
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", mail),
			 route_rules[_i].verdict);
	ck_assert_msg((rig.bridged.len > 0) == route_rules[_i].chat, "%s",
		      td_buf_cstr(&rig.bridged));
}
END_TEST

START_TEST(route_without_gateway)
{
	ck_started(rig_start(plain_conf, ROUTE "}"));
	rig_presence("ann@example.org/phone", 0, true);
	/* a mail domain of ours: its address is a JID that answers as mail */
	ck_assert_int_eq(mail_in("<zoe@partner.example>", "<ann@example.org>", plain_mail),
			 MV_DISCARD);
	ck_has(rig.bridged, "from='zoe@partner.example'");
	td_buf_clear(&rig.bridged);
	/* a stranger's is not ours to speak for */
	ck_assert_int_eq(
		mail_in("<x@far.example>", "<ann@example.org>", "From: x@far.example\n\nhi\n"),
		MV_DISCARD);
	ck_has(rig.bridged, "from='mail@example.org'");
	ck_has(rig.bridged, "From: &lt;x@far.example&gt;");
	td_buf_clear(&rig.bridged);
	/* an account's address in From proves nothing */
	ck_assert_int_eq(
		mail_in("<bob@example.org>", "<ann@example.org>", "From: bob@example.org\n\nhi\n"),
		MV_DISCARD);
	ck_has(rig.bridged, "from='mail@example.org'");
}
END_TEST

/* ---- delivery reports ---- */

/* as gateway/bridge.c makes them: random, "m7" in hex, our name */
#define SENT_ID "abc123.6d37@mx.example.org"

static enum milt_verdict
report_in(const char *from, const char *original_id, const char *action, const char *status,
	  const char *diagnostic)
{
	char mail[1500];

	(void)snprintf(
		mail, sizeof(mail),
		"From: MAILER-DAEMON@mta.example\nTo: ann@example.org\nSubject: "
		"Undelivered\nMessage-ID: <dsn1@mta.example>\n"
		"Auto-Submitted: auto-replied\nMIME-Version: 1.0\n"
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
		"--b\nContent-Type: text/plain\n\nSorry.\n"
		"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mta.example\n\n"
		"Final-Recipient: rfc822; zoe@partner.example\nAction: %s\n%s%s\n"
		"--b\nContent-Type: text/rfc822-headers\n\nFrom: ann@example.org\nMessage-ID: "
		"<%s>\n\n--b--\n",
		action, status, diagnostic, original_id);
	return mail_in(from, "<ann@example.org>", mail);
}

static const struct {
	const char *id, *peer;             /* of the thread known */
	const char *from, *about, *action; /* of the report */
	const char *status, *diagnostic;
	bool error;
	const char *has[4];
} reports[] = {
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  SENT_ID,
	  "failed",
	  "Status: 5.2.2\n",
	  "Diagnostic-Code: smtp; 550 5.2.2 over quota\n",
	  true,
	  { "from='zoe\\40partner.example@gateway.example'", "id='m7'",
	    "<resource-constraint xmlns=", ">550 5.2.2 over quota</text>" } },
	/* an address of ours is its own JID; the code is put before words without it */
	{ SENT_ID,
	  "zoe@example.org",
	  "<>",
	  SENT_ID,
	  "failed",
	  "Status: 5.1.1\n",
	  "Diagnostic-Code: smtp; unknown user\n",
	  true,
	  { "from='zoe@example.org'", "type='error'",
	    "<item-not-found xmlns=", ">5.1.1 unknown user</text>" } },
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  SENT_ID,
	  "Failed",
	  "Status: 4.4.7\n",
	  "",
	  true,
	  { "<remote-server-timeout xmlns=", ">4.4.7 The mail could not be delivered.</text>",
	    "<error type='cancel'>", "<thread>t-1</thread>" } },
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  SENT_ID,
	  "failed",
	  "",
	  "",
	  true,
	  { "<recipient-unavailable xmlns=" } },
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  SENT_ID,
	  "failed",
	  "",
	  "Diagnostic-Code: smtp; 550 5.7.1 no\n",
	  true,
	  { "<not-allowed xmlns=" } },
	/* a stanza without an id */
	{ "abc.0@mx.example.org",
	  "zoe@partner.example",
	  "<>",
	  "abc.0@mx.example.org",
	  "failed",
	  "Status: 5.7.1\n",
	  "",
	  true,
	  { "<not-allowed xmlns=" } },
	/* nothing failed for good */
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  SENT_ID,
	  "delayed",
	  "Status: 4.4.1\n",
	  "",
	  false,
	  { NULL } },
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  SENT_ID,
	  "delivered",
	  "Status: 2.0.0\n",
	  "",
	  false,
	  { NULL } },
	/* forged: an id that we never made, one that is not known here, a report with a sender */
	{ "m1@partner.example",
	  "zoe@partner.example",
	  "<>",
	  "m1@partner.example",
	  "failed",
	  "Status: 5.1.1\n",
	  "",
	  false,
	  { NULL } },
	{ SENT_ID,
	  "zoe@partner.example",
	  "<>",
	  "other.6d37@mx.example.org",
	  "failed",
	  "Status: 5.1.1\n",
	  "",
	  false,
	  { NULL } },
	{ SENT_ID,
	  "zoe@partner.example",
	  "<x@p.example>",
	  SENT_ID,
	  "failed",
	  "Status: 5.1.1\n",
	  "",
	  false,
	  { NULL } },
	/* hex that is no text */
	{ "abc.ff00ff@mx.example.org",
	  "zoe@partner.example",
	  "<>",
	  "abc.ff00ff@mx.example.org",
	  "failed",
	  "Status: 5.1.1\n",
	  "",
	  true,
	  { "<item-not-found" } },
};

static enum milt_verdict
run_report(int i, const char *scripts)
{
	know_mail(reports[i].id, reports[i].peer, "t-1");
	ck_started(rig_start(base_conf, scripts));
	return report_in(reports[i].from, reports[i].about, reports[i].action, reports[i].status,
			 reports[i].diagnostic);
}

START_TEST(report_is_an_error)
{
	/* taken by route, whoever is online; a mail that stays mail is told of by nobody */
	ck_assert_int_eq(run_report(_i, ROUTE "}"), reports[_i].error ? MV_DISCARD : MV_CONTINUE);
	ck_assert_int_eq(rig.bridged.len > 0, reports[_i].error);
	for (int k = 0; k < 4 && reports[_i].has[k] != NULL; k++)
		ck_has(rig.bridged, reports[_i].has[k]);
}
END_TEST

START_TEST(report_with_notify)
{
	/* the mail stays; with both scripts there is one error */
	ck_assert_int_eq(run_report(0, NOTIFY "}"), MV_CONTINUE);
	ck_has(rig.bridged, "5.2.2 over quota</text>");
	ck_has(rig.bridged, "to='ann@example.org'");
}
END_TEST

START_TEST(report_with_both)
{
	ck_assert_int_eq(run_report(0, NOTIFY "}\n" ROUTE "}"), MV_DISCARD);
	ck_has(rig.bridged, "5.2.2 over quota</text>");
	ck_assert_ptr_null(strstr(strchr(td_buf_cstr(&rig.bridged), '\n') + 1, "over quota"));
}
END_TEST

/* ---- promises ---- */

START_TEST(refused_stanza_keeps_mail)
{
	/* says it delivered, but from an address that is not ours */
	ck_started(rig_script(
		"", "tandem.register { core_ec_message_enqueue = function(self, msg)\n"
		    "  tandem.chat { from = 'a@far.example', to = msg:rcptto(), body = 'x' }\n"
		    "  return msys.core.EC_MESSAGE_ENQUEUE_HOOK_OK end }"));
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", plain_mail), MV_TEMPFAIL);
	ck_assert_uint_eq(rig.bridged.len, 0);
}
END_TEST

START_TEST(failed_callout_sends_nothing)
{
	ck_started(rig_script("lua_error_action = accept",
			      "tandem.register { core_ec_message_enqueue = function(self, msg)\n"
			      "  assert(tandem.chat { from = 'a@example.org', to = msg:rcptto(), "
			      "body = 'x' }) error('late') end }"));
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", plain_mail), MV_CONTINUE);
	ck_assert_uint_eq(rig.bridged.len, 0);
	ck_assert_uint_eq(rig.routed.len, 0);
}
END_TEST

START_TEST(refused_mail_may_be_told_of)
{
	ck_started(rig_script(
		"", "tandem.register { validate_data = function(self, msg, ac, vctx)\n"
		    "  assert(tandem.chat { from = 'mail@example.org', to = 'ann@example.org', "
		    "body = 'refused: ' .. msg:header('Subject')[1] })\n"
		    "  vctx:set_code(550, 'No') end }"));
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", plain_mail), MV_REJECT);
	ck_has(rig.routed, "refused: Lunch");
	ck_assert_uint_eq(rig.bridged.len, 0);
}
END_TEST

START_TEST(two_chats_are_no_repeat)
{
	ck_started(rig_script("",
			      "tandem.register { core_ec_message_enqueue = function(self, msg)\n"
			      "  for i = 1, 2 do assert(tandem.chat { from = 'a@example.org', to = "
			      "msg:rcptto() .. '/r', body = 'n' .. i }) end\n"
			      "  assert(not tandem.chat { from = 'a@example.org', to = "
			      "'nobody@example.org', body = 'x' })\n"
			      "  assert(tandem.chat { from = 'a@example.org', to = "
			      "'room@rooms.example.org', type = 'groupchat', body = 'r' })\n"
			      "  return 1 end }"));
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", plain_mail), MV_DISCARD);
	ck_has(rig.bridged, "[m1@partner.example ");
	ck_has(rig.bridged, "[m1@partner.example#1 ");
	ck_has(rig.routed, "to='room@rooms.example.org'");
	ck_assert_uint_eq(rig.commits, 1);
}
END_TEST

/* ---- reload ---- */

START_TEST(reload_switches)
{
	struct gw_script_info sum = { 0 };
	struct td_err err = { 0 };
	struct conf *next;
	const char *const stanza = "scriptlet \"scriptlet\" { script \"s\" { source = \"s\" } }";

	ck_started(rig_script(
		"",
		"tandem.register { validate_data = function(self, m) m:header('X-V', '1') end }"));
	ck_assert_int_eq(mail_open(), MV_CONTINUE);
	ck_assert_int_eq(mail_command(MP_MAIL, "<z@p.example>"), MV_CONTINUE);
	/* an edit that does not load changes nothing */
	rig_file("s.lua", "not lua");
	next = rig_conf(base_conf, stanza);
	ck_assert_int_eq(gw_scripts_reload(&rig.gw, next, &err), TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "s.lua:1:") != NULL, "%s", err.text);
	/* neither does the edited file, for states made later */
	ck_assert_int_eq(mail_command(MP_RCPT, "<ann@example.org>"), MV_CONTINUE);
	ck_assert_int_eq(mail_content(plain_mail), MV_CONTINUE);
	ck_has(rig.rec.log, "X-V: 1");
	(void)recorded(&rig.rec);
	rig_file("s.lua",
		 "tandem.register { validate_data = function(self, m) m:header('X-V', '2') end,"
		 " client_message_recv = function() end }");
	ck_assert_msg(gw_scripts_reload(&rig.gw, next, &err) == 0, "%s", err.text);
	conf_unref(&next);
	ck_assert_uint_eq(rig.env.hooks, (1u << XH_CLIENT_MESSAGE) | (1u << XH_SESSION_END));
	ck_assert_int_eq(mail_in("<z@p.example>", "<ann@example.org>", plain_mail), MV_CONTINUE);
	ck_has(rig.rec.log, "X-V: 2");
	gw_scripts_each(&rig.gw, count_script, &sum);
	ck_assert_uint_gt(sum.runs, 0);
	ck_assert_uint_eq(sum.faults, 1); /* the load that failed */
	/* to nothing; sessions may still hold what scripts kept */
	next = rig_conf(base_conf, "");
	ck_assert_int_eq(gw_scripts_reload(&rig.gw, next, &err), 0);
	conf_unref(&next);
	ck_assert_uint_eq(rig.env.hooks, 1u << XH_SESSION_END);
}
END_TEST

/* ---- the pool, under threads ---- */

#define THREADS 4
#define MAILS 40

static void *
run_mails(void *arg)
{
	const union milt_args conn = { .connect = { "c.example", NULL } };
	const char *from[] = { "<z@p.example>", NULL }, *to[] = { "<ann@example.org>", NULL };
	const union milt_args mail = { .argv = from }, rcpt = { .argv = to },
			      head = { .header = { "Subject", "s" } };
	unsigned *bad = arg;
	struct recorder rec;

	recorder_init(&rec);
	for (int i = 0; i < MAILS; i++) {
		struct milt_session *ms = milt_session_new(gw_scripts_policy(&rig.gw));

		*bad += milt_run(ms, &rec.io, MP_CONNECT, &conn) != MV_CONTINUE;
		*bad += milt_run(ms, &rec.io, MP_MAIL, &mail) != MV_CONTINUE;
		*bad += milt_run(ms, &rec.io, MP_RCPT, &rcpt) != MV_CONTINUE;
		(void)milt_run(ms, &rec.io, MP_HEADER, &head);
		*bad += milt_run(ms, &rec.io, MP_EOM, NULL) != MV_CONTINUE;
		*bad += strstr(recorded(&rec), "X-N: 2") == NULL;
		milt_session_free(ms);
	}
	recorder_fini(&rec);
	return NULL;
}

START_TEST(pool_under_threads)
{
	pthread_t th[THREADS];
	unsigned bad[THREADS] = { 0 };
	struct td_err err = { 0 };

	ck_started(rig_script("",
			      "tandem.register {\n"
			      "  validate_connect = function(self) self.n = 1 _TLS.t = 'x' end,\n"
			      "  validate_mailfrom = function(self) self.n = self.n + 1 end,\n"
			      "  validate_data = function(self, m) m:header('X-N', self.n) "
			      "assert(_TLS.t == 'x') tandem.count('mails') end,\n"
			      "  core_ec_message_enqueue = function(self, m)\n"
			      "    assert(tandem.chat { notice = true, from = 'a@example.org', to "
			      "= m:rcptto(), body = 'x' }) end }"));
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&th[i], NULL, run_mails, &bad[i]), 0);
	for (int i = 0; i < 5; i++) {
		struct conf *next = rig_conf(
			base_conf, "scriptlet \"scriptlet\" { script \"s\" { source = \"s\" } }");

		ck_assert_msg(gw_scripts_reload(&rig.gw, next, &err) == 0, "%s", err.text);
		conf_unref(&next);
	}
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(th[i], NULL);
		ck_assert_uint_eq(bad[i], 0);
	}
}
END_TEST

/* ---- every example of docs/lua.md loads ---- */

START_TEST(documented_examples)
{
	FILE *f = fopen(TANDEM_SRCDIR "/docs/lua.md", "r");
	struct td_buf code = { 0 };
	char line[1000];
	bool in = false;
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "```lua", 6) == 0) {
			in = true;
			td_buf_clear(&code);
		} else if (in && strncmp(line, "```", 3) == 0) {
			const char *e = rig_script("lua_compat = true", td_buf_cstr(&code));

			in = false;
			n++;
			ck_assert_msg(e == NULL, "example %u: %s\n%s", n, e, td_buf_cstr(&code));
			rig_presence("ann@example.org/phone", 0, true);
			/* and runs without a fault */
			{
				struct gw_script_info sum = { 0 };
				struct td_arena *a = td_arena_new(0);

				(void)mail_in("<zoe@partner.example>",
					      "<ann@example.org> <bob@example.org>", plain_mail);
				(void)chat_in(session(a, "ann@example.org/x"),
					      "<message from='ann@example.org/x' "
					      "to='zoe@partner.example'><body>hi</body></message>",
					      NULL);
				gw_scripts_each(&rig.gw, count_script, &sum);
				ck_assert_msg(sum.faults == 0, "example %u failed:\n%s", n,
					      td_buf_cstr(&code));
				td_arena_free(a);
			}
			milt_session_free(rig.ms);
			rig.ms = NULL;
			gw_scripts_stop(&rig.gw);
			conf_unref(&rig.gw.conf);
		} else if (in) {
			td_buf_addz(&code, line);
		}
	}
	(void)fclose(f);
	td_buf_fini(&code);
	ck_assert_uint_ge(n, 5);
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof(*(a)))

int
main(void)
{
	Suite *s = suite_create("scripts");
	TCase *tc = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, bad_script_says_where, 0, N(bad_scripts));
	tcase_add_test(tc, options_reach_script);
	tcase_add_test(tc, all_phases);
	tcase_add_test(tc, wants_follow_scripts);
	tcase_add_test(tc, no_scripts);
	tcase_add_loop_test(tc, refuses, 0, N(refusals));
	tcase_add_loop_test(tc, fault_is_tempfail, 0, N(faults));
	tcase_add_loop_test(tc, fault_may_be_passed_over, 0, N(faults));
	tcase_add_test(tc, objects_end_with_callout);
	tcase_add_test(tc, message_methods);
	tcase_add_test(tc, new_messages);
	tcase_add_test(tc, loops_end);
	tcase_add_test(tc, mail_to_chat);
	tcase_add_test(tc, mail_to_chat_dialect);
	tcase_add_test(tc, chat_to_mail);
	tcase_add_test(tc, chat_to_mail_dialect);
	tcase_add_test(tc, stanza_changes);
	tcase_add_test(tc, routing_rules);
	tcase_add_test(tc, from_is_stamped);
	tcase_add_test(tc, sealed_stanza);
	tcase_add_loop_test(tc, xml_nodes, 0, N(xml_cases));
	tcase_add_test(tc, notify_tells);
	tcase_add_loop_test(tc, notify_rule, 0, N(notify_rules));
	tcase_add_test(tc, notify_offline);
	tcase_add_test(tc, notify_for_later);
	tcase_add_test(tc, route_moves);
	tcase_add_loop_test(tc, route_rule, 0, N(route_rules));
	tcase_add_test(tc, route_without_gateway);
	tcase_add_loop_test(tc, report_is_an_error, 0, N(reports));
	tcase_add_test(tc, report_with_notify);
	tcase_add_test(tc, report_with_both);
	tcase_add_test(tc, refused_stanza_keeps_mail);
	tcase_add_test(tc, failed_callout_sends_nothing);
	tcase_add_test(tc, refused_mail_may_be_told_of);
	tcase_add_test(tc, two_chats_are_no_repeat);
	tcase_add_test(tc, reload_switches);
	tcase_add_test(tc, pool_under_threads);
	tcase_add_test(tc, documented_examples);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
