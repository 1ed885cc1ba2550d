-- msys.counter - numbers shared by all states of the process; by path or by the opened object.
local base = require "tandem.base"
local M = { STRICT = 1, RELAXED = 2 }
local mt = { __tostring = function(c) return c.path end }

local function path_of(c)
	return type(c) == "table" and c.path or c
end

function M.open(path)
	return setmetatable({ path = path }, mt)
end
function M.inc(c) return base.counter_add(path_of(c), 1) end
function M.add(c, n) return base.counter_add(path_of(c), n) end
function M.read(c) return base.counter_read(path_of(c)) end
function M.reset(c) return base.counter_reset(path_of(c)) end
function M.unlink(c) base.counter_unlink(path_of(c)) end

return M
