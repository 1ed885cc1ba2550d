-- msys.http.client - not supported; see docs/lua.md.
return require("msys.absent")("msys.http.client")
