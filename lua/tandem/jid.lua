-- tandem.jid - JID objects: jid(text) -> object, or nil, error.
local core = require "tandem.core"

local methods = {}
methods.__index = methods

function methods:user() return self._local end
function methods:domain() return self._domain end
function methods:resource() return self._resource end
function methods:bare() return self._bare end
function methods:get() return self._full end
methods.full = methods.get
methods.__tostring = methods.get
function methods.__eq(a, b) return a._full == b._full end

return function(text)
	local full, bare, user, domain, resource = core.jid(text)
	if not full then
		return nil, bare
	end
	return setmetatable({ _full = full, _bare = bare, _local = user, _domain = domain,
		_resource = resource }, methods)
end
