-- msys.mcmt.collector - not supported; see docs/lua.md.
return require("msys.absent")("msys.mcmt.collector")
