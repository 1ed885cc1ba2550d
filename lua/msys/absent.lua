-- msys.absent - a module that Momentum has and Tandem has not: it loads, its functions raise.
return function(name)
	return setmetatable({}, { __index = function(_, key)
		return function()
			error(name .. "." .. tostring(key) .. " is not supported by Tandem", 2)
		end
	end })
end
