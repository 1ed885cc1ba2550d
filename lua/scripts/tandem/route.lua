-- tandem.route - mail for somebody who is online becomes chat; otherwise it stays mail.
--
-- Only what chat can carry whole leaves the mail: with attachments, a text longer than
-- max_chat_body, or encryption the mail stays, and the chat says so.  A report that mail made from
-- chat was not delivered becomes the error of that chat, online or not.  Options (docs/lua.md):
-- copy, automatic, max_chat_body, max_hops, from.

local copy = script:bool("copy", false)
local automatic = script:bool("automatic", false)
local max_chat_body = script:number("max_chat_body", tonumber(tandem.config("mail", "max_chat_body"):match("%d+%s*$")))
local max_hops = script:number("max_hops", 10)
local from = script:string("from")

local function attachment_names(view)
	local out = {}
	for _, part in ipairs(view.parts) do
		if part.attachment or part.inline then
			out[#out + 1] = part.filename or part.type
		end
	end
	return out
end

-- The sender as a JID, and whether an answer to it comes back as mail.
local function sender_jid(view, msg, account)
	local addr = view.from.addr ~= "" and view.from.addr or msg:mailfrom()
	local authenticated = msg:macro("auth_authen") ~= nil and msg:mailfrom() == addr
	local jid = tandem.jid_of_address(addr, authenticated)
	if jid then
		return jid, true
	end
	if from then
		return from, false
	end
	local host = tandem.hostname()
	local d = tandem.domain(host)
	return "mail@" .. (d and d.kind ~= "remote" and host or account:match("@(.*)$")), false
end

-- Must this mail stay mail without a word?
local function stays(view, msg)
	return view.hops >= max_hops or tandem.is_own(msg) or view.report or
		(view.automatic and not automatic) or view.encrypted or not view.text or
		not view.text:match("%S")
end

local mod = {}

function mod:core_ec_message_enqueue(msg)
	local account = tandem.account_of(msg:rcptto())
	if not account then
		return msys.core.EC_MESSAGE_ENQUEUE_HOOK_CONT
	end
	if tandem.report(msg, account) then
		tandem.count("reports")
		msg.delivered = msys.core.EM_SUCCEEDED
		return msys.core.EC_MESSAGE_ENQUEUE_HOOK_OK
	end
	if not tandem.online(account) then
		return msys.core.EC_MESSAGE_ENQUEUE_HOOK_CONT
	end
	local view = msg:view()
	if stays(view, msg) then
		return msys.core.EC_MESSAGE_ENQUEUE_HOOK_CONT
	end
	local text, files, whole = view.text, attachment_names(view), true
	if #text > max_chat_body then
		text = tandem.utf8_cut(text, max_chat_body) .. "\n[... the whole text is in your mail]"
		whole = false
	end
	if #files > 0 then
		text = text .. "\n[attached, see your mail: " .. table.concat(files, ", ") .. "]"
		whole = false
	end
	local jid, answerable = sender_jid(view, msg, account)
	if not answerable then
		local f = view.from
		text = "From: " .. (f.name ~= "" and f.name .. " " or "") .. "<" .. f.addr .. ">\n\n" .. text
	end
	local sent = tandem.chat {
		from = jid, to = account, subject = view.subject, body = text,
		thread = tandem.thread(account, view),
	}
	if not sent or copy or not whole or view.cut then
		tandem.count(sent and "copied" or "failed")
		return msys.core.EC_MESSAGE_ENQUEUE_HOOK_CONT
	end
	tandem.count("taken")
	msg.delivered = msys.core.EM_SUCCEEDED
	return msys.core.EC_MESSAGE_ENQUEUE_HOOK_OK
end

tandem.register(mod)
