-- msys.audit - not supported; see docs/lua.md.
return require("msys.absent")("msys.audit")
