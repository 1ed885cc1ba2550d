-- tandem.notify - tell people by chat that mail came for them.  The mail itself goes its way.
-- A report that mail made from chat was not delivered is told as the error of that chat.
--
-- Options (docs/lua.md): from, type, lines, max_chars, content, only_online, exclude_lists,
-- exclude_automatic.  A header "X-Tandem-Notify: no" (set by Sieve or the MTA) switches it off
-- for one mail, "subject" leaves the text out.

local kind = script:string("type", "chat")
local from = script:string("from")
local lines = script:number("lines", 5)
local max_chars = script:number("max_chars", 500)
local content = script:bool("content", true)
local only_online = script:bool("only_online", true)
local exclude_lists = script:bool("exclude_lists", true)
local exclude_automatic = script:bool("exclude_automatic", false)

if kind ~= "chat" and kind ~= "headline" and kind ~= "normal" then
	error("script " .. script.name .. ": type is chat, headline or normal")
end

local function sender(view, msg)
	local f = view.from
	local addr = f.addr ~= "" and f.addr or msg:mailfrom()
	if addr == "" then
		addr = "(no sender)"
	end
	return f.name ~= "" and f.name ~= addr and f.name .. " <" .. addr .. ">" or addr
end

local function size(bytes)
	if bytes < 1024 then
		return bytes .. " bytes"
	elseif bytes < 1024 * 1024 then
		return string.format("%.0f kB", bytes / 1024)
	end
	return string.format("%.1f MB", bytes / 1024 / 1024)
end

local function attachments(view)
	local out = {}
	for _, part in ipairs(view.parts) do
		if part.attachment and #out < 20 then
			out[#out + 1] = string.format("%s (%s, %s)", part.filename or "unnamed", part.type, size(part.size))
		end
	end
	return out
end

local function body(view, msg, with_text)
	local out = { "New mail from " .. sender(view, msg) }
	if view.subject and view.subject ~= "" then
		out[#out + 1] = "Subject: " .. view.subject
	end
	out[#out + 1] = "Size: " .. size(msg:get_message_size())
	local files = attachments(view)
	if #files > 0 then
		out[#out + 1] = "Attached: " .. table.concat(files, ", ")
	end
	if view.encrypted then
		out[#out + 1] = "The mail is encrypted."
	elseif with_text then
		local text = tandem.beginning(view.text or "", lines, max_chars)
		if text ~= "" then
			out[#out + 1] = ""
			out[#out + 1] = text
		end
	end
	return table.concat(out, "\n")
end

-- Who the notice comes from: the option, else mail@ our own name or the account's domain.
local function notifier(account)
	if from then
		return from
	end
	local host = tandem.hostname()
	local d = tandem.domain(host)
	if d and d.kind ~= "remote" then
		return "mail@" .. host
	end
	return "mail@" .. account:match("@(.*)$")
end

local mod = {}

function mod:core_ec_message_enqueue(msg)
	local account = tandem.account_of(msg:rcptto())
	if not account then
		return 0
	end
	if tandem.report(msg, account, true) then
		tandem.count("reports")
		return 0
	end
	if only_online and not tandem.online(account) then
		return 0
	end
	local view = msg:view()
	local wish = (msg:header("X-Tandem-Notify")[1] or ""):lower()
	if wish == "no" or tandem.is_own(msg) or
			(exclude_lists and (view.list_id or #msg:header("List-Post") > 0)) or
			(exclude_automatic and view.automatic) then
		return 0
	end
	local sent = tandem.chat {
		notice = true,
		from = notifier(account), to = account, type = kind,
		subject = view.subject,
		body = body(view, msg, content and wish ~= "subject"),
	}
	tandem.count(sent and "sent" or "failed")
	return 0
end

tandem.register(mod)
