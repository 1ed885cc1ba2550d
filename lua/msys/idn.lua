-- msys.idn - domain names between their two spellings; nil, error when it is none.
local base = require "tandem.base"
return { to_idn = base.to_idn, to_utf8 = base.to_utf8 }
