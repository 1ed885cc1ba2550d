-- msys - Momentum's names on top of Tandem's own.  Sub-modules load when they are first used.
local core = require "tandem.core"
local base = require "tandem.base"

local msys = { core = require "msys.core" }

local parts = { "base64", "qp", "pcre", "idn", "counter", "gauge_cache", "dumper", "xmpp", "boot",
	"db", "datasource", "timer", "audit", "audit_series", "cidr", "rfc3464", "threadpool",
	"http", "mcmt", "getopt", "policyeditor", "extended" }
local known = {}
for _, name in ipairs(parts) do
	known[name] = true
end

setmetatable(msys, { __index = function(t, key)
	if not known[key] then
		return nil
	end
	local m = require("msys." .. key)
	rawset(t, key, m)
	return m
end })

msys.registerModule = core.register

local function unsupported(name)
	msys[name] = function()
		error("msys." .. name .. " is not supported by Tandem", 2)
	end
end
for _, name in ipairs { "registerControl", "registerAuth", "dnsLookup", "sleep", "runInPool", "lock",
		"unlock", "snmpTrap" } do
	unsupported(name)
end

msys.shareGet = base.share_get
msys.shareSet = base.share_set
function msys.shareUnset(key) base.share_set(key, nil) end
msys.readfile = base.readfile
msys.parseRFC2822Addresses = core.addresses
function msys.asyncOk() return false end
function msys.cast(value) return value end

-- msys.config("get", path..., option): reading only
function msys.config(action, ...)
	local n = select("#", ...)
	if action ~= "get" and action ~= "eval" then
		error("msys.config: scripts may only get", 2)
	end
	if n == 0 then
		error("msys.config: which option?", 2)
	end
	local path = { ... }
	local option = table.remove(path)
	for i, word in ipairs(path) do
		word = tostring(word)
		path[i] = word:find("[^%w_]") and '"' .. word:gsub('[\\"]', "\\%0") .. '"' or word
	end
	return base.config(table.concat(path, " "), tostring(option))
end

function msys.type(value)
	local t = type(value)
	return t == "userdata" and tostring(value):match("^%a+") or t
end

-- %{vctx_conn:key}, %{vctx_mess:key}, %{rfc822:date}; the rest as it is
function msys.expandMacro(text, vctx)
	return (text:gsub("%%{([%w_]+):([^}]*)}", function(what, key)
		if vctx and what == "vctx_conn" then
			return vctx:get(msys.core.VCTX_CONN, key)
		elseif vctx and what == "vctx_mess" then
			return vctx:get(msys.core.VCTX_MESS, key)
		elseif what == "rfc822" and key == "date" then
			return os.date("!%a, %d %b %Y %H:%M:%S +0000")
		end
	end))
end

return msys
