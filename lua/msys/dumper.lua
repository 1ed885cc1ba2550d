-- msys.dumper - a value as readable text: Dumper(v).
local function dump(v, indent, seen)
	if type(v) == "string" then
		return string.format("%q", v)
	elseif type(v) ~= "table" then
		return tostring(v)
	elseif seen[v] or #indent > 40 then
		return "{...}"
	end
	seen[v] = true
	local keys, out = {}, {}
	for k in pairs(v) do
		keys[#keys + 1] = k
	end
	table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
	for _, k in ipairs(keys) do
		out[#out + 1] = indent .. "  [" .. dump(k, indent .. "  ", seen) .. "] = " .. dump(v[k], indent .. "  ", seen)
	end
	seen[v] = nil
	return #out == 0 and "{}" or "{\n" .. table.concat(out, ",\n") .. "\n" .. indent .. "}"
end

local M = {}
function M.Dumper(v) return dump(v, "", {}) end
return M
