-- msys.rfc3464 - not supported; see docs/lua.md.
return require("msys.absent")("msys.rfc3464")
