-- msys.extended.message - the conveniences of the message object, on top of its C methods.
local core = require "tandem.core"
local pcre = require "msys.pcre"
local mcore = require "msys.core"

local M = core.message_methods

-- ---- making ----

local first = { "From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To",
	"References" }

local function names_in_order(headers)
	local names, rank = {}, {}
	for i, name in ipairs(first) do
		rank[name:lower()] = i
	end
	for name in pairs(headers) do
		names[#names + 1] = tostring(name)
	end
	table.sort(names, function(a, b)
		local ra, rb = rank[a:lower()] or 99, rank[b:lower()] or 99
		if ra ~= rb then
			return ra < rb
		end
		return a < b
	end)
	return names
end

local function content_of(value)
	if type(value) == "userdata" then
		return (value:raw())
	end
	return tostring(value)
end

-- build(headers, parts [, attachments]): headers name -> value or array, parts type -> text
function M:build(headers, parts, attachments)
	local h, p, a = {}, {}, {}
	for _, name in ipairs(names_in_order(headers or {})) do
		local values = headers[name]
		for _, v in ipairs(type(values) == "table" and values or { values }) do
			h[#h + 1] = { name, tostring(v) }
		end
	end
	for kind, text in pairs(parts or {}) do
		p[#p + 1] = { tostring(kind), content_of(text) }
	end
	-- the last of multipart/alternative is the best: plain text first, html last
	table.sort(p, function(x, y)
		local hx, hy = x[1]:lower():find("^text/plain") and 0 or 1, y[1]:lower():find("^text/plain") and 0 or 1
		if hx ~= hy then
			return hx < hy
		end
		return x[1] < y[1]
	end)
	for _, att in ipairs(attachments or {}) do
		a[#a + 1] = { type = att.type or att[1], name = att.name or att[2], content = content_of(att.content or att[4]) }
	end
	self:_build(h, p, a)
end

-- forward(from, to, text [, subject [, charset]]): a new mail with this one attached
function M:forward(from, to, text, subject)
	local new = core.new_message()
	local old = self:header("Subject")[1] or ""
	new:build({ From = from, To = to, Subject = subject or "Fwd: " .. old },
		{ ["text/plain"] = text or "" }, { { type = "message/rfc822", content = self } })
	return new:inject(from, to)
end

-- ---- looking and replacing ----

local function whole_text(self)
	local t = self:text()
	return type(t) == "table" and table.concat(t, "\n") or t
end

local function add(name, get, set)
	M[name .. "_match"] = function(self, re)
		return pcre.match(get(self), re) or false
	end
	M[name .. "_replace"] = function(self, re, repl)
		local new, count = pcre.replace(get(self), re, repl)
		if not new or count == 0 then
			return false
		end
		set(self, new)
		return true
	end
end

add("text", whole_text, function(self, v) self:text(v) end)
add("body", function(self) return self:body() end, function(self, v) self:body(v) end)
add("raw", function(self) return (self:raw()) end, function(self, v) self:raw(v) end)

function M:context_exists_and_get(kind, key)
	if self:context_exists(kind, key) == 1 then
		return 1, self:context_get(kind, key)
	end
	return 0, nil
end

-- get_envelope2(flags, local, domain): fills the two writable strings
function M:get_envelope2(flags, lp, dom)
	local addr = flags & mcore.EC_MSG_ENV_FROM ~= 0 and self:mailfrom() or self:rcptto()
	local user, domain = addr:match("^(.*)@([^@]*)$")
	if flags & mcore.EC_MSG_ENV_COMPLETE ~= 0 then
		lp:set(addr)
	else
		lp:set(user or addr)
	end
	if dom then
		dom:set(domain or "")
	end
end

-- ---- parts: a tree to read ----

local part_methods = {}
part_methods.__index = part_methods

function part_methods:content_type()
	local p = self.info
	return { mimetype = p.type, charset = p.charset, encoding = p.encoding,
		is_attachment = p.attachment, filename = p.filename }
end

function part_methods:text() return self.info.text end

function part_methods:content(max)
	return self.msg:part_content(self.info.index, max)
end

function part_methods:text_match(re)
	return self.info.text and pcre.match(self.info.text, re) or false
end

-- mime() -> the message's top part; part.thread is the next in the walk, part.parts the children
function M:mime()
	local list, top = {}, nil
	for i, info in ipairs(self:view().parts) do
		local part = setmetatable({ msg = self, info = info, parts = {} }, part_methods)
		list[i] = part
		if i > 1 then
			list[i - 1].thread = part
		end
		if info.parent > 0 and list[info.parent] then
			table.insert(list[info.parent].parts, part)
		end
		top = top or part
	end
	return top
end

for _, name in ipairs { "makePart", "makeContainer", "makeBoundary", "rsrc_get" } do
	M[name] = function()
		error("msg:" .. name .. " is not supported by Tandem: use msg:text() or build a new message", 2)
	end
end

return M
