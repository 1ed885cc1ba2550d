-- thread - a state is used by one thread at a time, so a mutex has nothing to guard.
local M = {}
function M.mutex()
	return { lock = function() end, unlock = function() end }
end
return M
