-- tandem.sessctx - sess.vctx: the context dictionaries of a chat session, with the keys that a
-- mail session has where they make sense, and xmpp_jid.
local methods = {}
methods.__index = methods

local facts = {
	xmpp_jid = function(j) return j:get() end,
	auth_status = function() return "pass" end,
	auth_user = function(j) return j:user() end,
	can_relay = function() return "true" end,
}

function methods:get(_, key)
	local v = self.sess:get("ctx:" .. key)
	if v == nil then
		v = self.sess:context(key)
	end
	if v == nil and facts[key] then
		local jid = self.sess:jid()
		v = jid and facts[key](jid)
	end
	return v ~= nil and tostring(v) or ""
end

function methods:set(_, key, value)
	if key ~= nil and value ~= nil then
		self.sess:set("ctx:" .. key, tostring(value))
	end
end

return function(sess)
	return setmetatable({ sess = sess }, methods)
end
