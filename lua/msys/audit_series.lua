-- msys.audit_series - not supported; see docs/lua.md.
return require("msys.absent")("msys.audit_series")
