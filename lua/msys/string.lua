-- msys.string - writable strings, as C hooks hand them out: s:set(text), #s, tostring(s).
local methods = {}

function methods:set(text) rawset(self, 1, tostring(text)) end
function methods:get() return rawget(self, 1) end
function methods:write(text) rawset(self, 1, rawget(self, 1) .. tostring(text)) end

local mt = {
	__index = methods,
	__len = function(self) return #rawget(self, 1) end,
	__tostring = function(self) return rawget(self, 1) end,
	__concat = function(a, b) return tostring(a) .. tostring(b) end,
	__eq = function(a, b) return tostring(a) == tostring(b) end,
}

return function(text)
	return setmetatable({ text and tostring(text) or "" }, mt)
end
