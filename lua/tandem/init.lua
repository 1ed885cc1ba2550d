-- tandem - the native API of scriptlets (docs/lua.md).  A global; require "tandem" gives it too.
local core = require "tandem.core"
local base = require "tandem.base"
local xml = require "xml"

local tandem = {}

-- ---- facts ----
tandem.now = base.now
tandem.config = base.config
tandem.readfile = base.readfile
tandem.sha256 = base.sha256
tandem.random_id = base.random_id
tandem.utf8_cut = base.utf8_cut
tandem.beginning = base.beginning
tandem.online = core.online
tandem.presence = core.presence
tandem.connected = core.connected
tandem.account_exists = core.account_exists
tandem.escape = core.escape
tandem.unescape = core.unescape
tandem.hostname = core.hostname
tandem.gateway_domain = core.gateway_domain
tandem.jid = require "tandem.jid"

function tandem.log(level, format, ...)
	local text = select("#", ...) > 0 and string.format(format, ...) or tostring(format)
	base.log(level, text)
end

-- { kind = "local" | "service" | "remote" | "mail", mail = boolean, service = text }, or nil
function tandem.domain(name)
	local kind, mail, service = core.domain(name)
	return kind and { kind = kind, mail = mail, service = service } or nil
end

-- Add to a counter all states and `tandemctl summary` see; returns its value.
function tandem.count(name, n)
	return base.counter_add("/script/" .. core.script_name() .. "/" .. name, n or 1)
end

-- Register the callouts in <handlers> under the script's name.
function tandem.register(handlers)
	core.register(core.script_name(), handlers)
end

-- ---- requests, features and identities of a script's own (docs/lua.md) ----
tandem.register_iq = core.register_iq
tandem.register_feature = core.register_feature
tandem.register_identity = core.register_identity
tandem.request = core.request
tandem.CONT, tandem.DONE = 0, 1

-- Route a stanza; its from is in a domain of ours.
function tandem.send(node)
	return core.route(node)
end

-- ---- addresses ----

local function split(address)
	return address:match("^(.*)@([^@]+)$")
end

-- The bare JID of the account that mail for <address> belongs to, or nil.  "ann+tag@..." is
-- ann's when there is no account of the whole name.
function tandem.account_of(address)
	local user, domain = split(address)
	if not user then
		return nil
	end
	local plain = user:match("^([^+]+)%+.*$")
	for _, name in ipairs { user, plain } do
		local jid = core.jid_make(core.escape(name), domain)
		if jid and core.account_exists(jid) then
			return jid
		end
	end
	return nil
end

-- A JID that stands for mail address <address> so that an answer comes back as mail: itself when
-- it is a mail address of ours and no account (an account's only when <authenticated>: a mail may
-- claim any sender), else at the gateway domain, if there is one.
function tandem.jid_of_address(address, authenticated)
	local user, domain = split(address or "")
	if not user then
		return nil
	end
	local d = tandem.domain(domain)
	if d and (d.kind == "mail" or d.mail) then
		local jid = core.jid_make(core.escape(user), domain)
		if jid and (authenticated or not core.account_exists(jid)) then
			return jid
		end
	end
	local gateway = core.gateway_domain()
	return gateway and core.jid_make(core.escape(address), gateway) or nil
end

-- ---- chat ----

-- tandem.chat { from =, to =, body =, subject =, thread =, type = "chat", id =, notice =,
-- extra = { nodes } } -> boolean.  While a mail is looked at it leaves with that mail's end;
-- a notice is left out when its recipient gets the mail itself as chat.
function tandem.chat(o)
	local m = xml.newnode("message", "jabber:client")
	m:attr("from", o.from)
	m:attr("to", o.to)
	if (o.type or "chat") ~= "normal" then
		m:attr("type", o.type or "chat")
	end
	if o.id then
		m:attr("id", o.id)
	end
	for _, name in ipairs { "subject", "body", "thread" } do
		if o[name] and o[name] ~= "" then
			m:addchild(name):contents(o[name])
		end
	end
	for _, node in ipairs(o.extra or {}) do
		m:addchild(node)
	end
	return core.route(m, o.notice)
end

-- The chat thread that a mail belongs to, for one account: the one its References were given
-- before, else one that every mail of the same root gives.
function tandem.thread(account, view)
	local ids = {}
	for _, list in ipairs { view.in_reply_to, view.references } do
		for i = #list, 1, -1 do
			ids[#ids + 1] = list[i]
		end
	end
	local known = #ids > 0 and core.thread_by_mail(account, ids)
	if known then
		return known
	end
	local root = view.references[1] or view.in_reply_to[1] or view.message_id
	return root and base.sha256(root):sub(1, 32) or nil
end

-- ---- mail ----

-- tandem.mail { from =, to =, subject =, text =, headers = {}, attachments = {} } -> true, or
-- false, error.  Submitted to the MTA from the outbox.
function tandem.mail(o)
	local msg = core.new_message()
	local headers = { From = o.from, To = o.to, Subject = o.subject }
	for k, v in pairs(o.headers or {}) do
		headers[k] = v
	end
	msg:build(headers, { ["text/plain"] = o.text or "" }, o.attachments)
	return msg:inject(o.envelope_from or o.from, o.to)
end

-- ---- delivery reports ----

-- What a report says of the recipient it could not reach: condition and text of a stanza error.
local function failure(report)
	for _, r in ipairs(report.rcpts) do
		if r.action == "failed" then
			local words = r.diagnostic or ""
			local condition, status = core.mail_condition(r.status or words)
			words = words ~= "" and words or "The mail could not be delivered."
			if status and not words:find(status, 1, true) then
				words = status .. " " .. words
			end
			return condition, words
		end
	end
end

-- The id of the stanza that a Message-ID of ours was made for ("" = it had none), as
-- gateway/bridge.c writes it: random.hex@host.  nil: not ours.
local function stanza_of(message_id)
	local hex, host = (message_id or ""):match("^%w+%.(%x+)@(.+)$")
	if not hex or host:lower() ~= core.hostname():lower() then
		return nil
	end
	local id = hex:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)
	return hex ~= "0" and id or ""
end

-- When <msg> reports that a mail which <account> wrote as chat failed for good: send the error
-- into that conversation and return true.  A report about anything else is a mail like others.
function tandem.report(msg, account, notice)
	local report = msg:mailfrom() == "" and msg:view().report
	if not report or report.kind ~= "dsn" then
		return false
	end
	local id = stanza_of(report.original_id)
	local condition, words = failure(report)
	if not id or not condition then
		return false
	end
	local thread, peer = core.thread_by_mail(account, { report.original_id })
	local from = tandem.jid_of_address(peer)
	if not from then
		return false
	end
	local e = xml.newnode("error", "jabber:client")
	e:attr("type", "cancel")
	e:addchild(condition, "urn:ietf:params:xml:ns:xmpp-stanzas")
	e:addchild("text", "urn:ietf:params:xml:ns:xmpp-stanzas"):contents(words)
	return tandem.chat { from = from, to = account, type = "error", id = id ~= "" and id or nil,
		thread = thread, notice = notice, extra = { e } }
end

-- Did this mail already come from us?  Then it is neither told of nor turned into chat again.
function tandem.is_own(msg)
	local host = core.hostname():lower()
	for _, v in ipairs(msg:header("X-Tandem-Loop")) do
		if v:lower():match("^%s*([^;%s]*)") == host then
			return true
		end
	end
	return false
end

return tandem
