-- msys.gauge_cache - numbers per key that are forgotten some time after their last change.
local base = require "tandem.base"
local M = {}

function M.define(name, max, ttl) base.gauge_define(name, max, ttl) end
function M.inc(name, key) return base.gauge_add(name, key, 1) end
function M.dec(name, key) return base.gauge_add(name, key, -1) end
function M.get(name, key) return base.gauge_get(name, key) end
function M.remove_item(name, key) base.gauge_remove(name, key) end

return M
