-- msys.xmpp - the chat side by Momentum's names.
local core = require "tandem.core"

local M = { CONT = 0, DONE = 1 }

M.registerModule = core.register
M.register_iq = core.register_iq
M.register_feature = core.register_feature
M.register_identity = core.register_identity
M.request = core.request
M.online = core.online
M.presence = core.presence
M.connected = core.connected
M.jid = require "tandem.jid"
M.routeStanza = function(node) return core.route(node) end

function M.valid_domain(domain)
	return domain ~= nil and core.domain(domain) == "local"
end

-- documented with a colon; both ways work
function M.send(self, text)
	return core.send(text or self)
end

return M
