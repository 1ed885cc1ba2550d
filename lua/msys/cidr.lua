-- msys.cidr - not supported; see docs/lua.md.
return require("msys.absent")("msys.cidr")
