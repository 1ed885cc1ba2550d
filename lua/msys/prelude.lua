-- msys.prelude - run once per state: the globals old scripts expect.
local core = require "msys.core"

msys = require "msys"
require "msys.extended.message"
_OSTLS = {}
_TLS = {}
-- samples use the constants bare, and xml and xmpp without a require
for name, value in pairs(core) do
	if type(value) ~= "function" then
		_G[name] = value
	end
end
xml = require "xml"
xmpp = require "msys.xmpp"
return true
