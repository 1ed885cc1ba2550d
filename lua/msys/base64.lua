-- msys.base64 - encode(s [, fold]) (fold: true = lines of 76), decode(s); raise on bad input.
local base = require "tandem.base"
local M = {}

function M.encode(s, fold)
	return base.base64_encode(s, fold == true and 76 or math.tointeger(tonumber(fold) or 0) or 0)
end

M.decode = base.base64_decode
return M
