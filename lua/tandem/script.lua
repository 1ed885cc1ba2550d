-- tandem.script - the `script` global of a scriptlet: its name and the options of its stanza.
-- Options come as they are written (text, list, dictionary); the methods give them a type.
local methods = {}
methods.__index = methods

local words = { ["true"] = true, on = true, yes = true, enabled = true, ["1"] = true,
	["false"] = false, off = false, no = false, disabled = false, ["0"] = false }

local function wrong(self, name, what)
	error(string.format("script %s: option %s is no %s", self.name, name, what), 3)
end

function methods:string(name, default)
	local v = self.options[name]
	if v == nil then
		return default
	end
	return type(v) == "string" and v or wrong(self, name, "text")
end

function methods:number(name, default)
	local v = self.options[name]
	if v == nil then
		return default
	end
	return type(v) == "string" and (math.tointeger(tonumber(v)) or tonumber(v)) or
		wrong(self, name, "number")
end

function methods:bool(name, default)
	local v = self.options[name]
	if v == nil then
		return default
	end
	local b = type(v) == "string" and words[v:lower()]
	if type(b) ~= "boolean" then
		wrong(self, name, "true or false")
	end
	return b
end

-- A list; a single value is a list of one.
function methods:list(name, default)
	local v = self.options[name]
	if v == nil then
		return default or {}
	end
	return type(v) == "table" and v or { v }
end

return function(name, options)
	return setmetatable({ name = name, options = options }, methods)
end
