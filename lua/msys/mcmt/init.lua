-- msys.mcmt - not supported; see docs/lua.md.
return { collector = require "msys.mcmt.collector" }
