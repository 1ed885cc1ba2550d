-- msys.http - not supported; see docs/lua.md.
return { client = require "msys.http.client" }
