-- msys.qp - quoted-printable: encode(s [, charset [, dotstuff]]), decode(s).
local base = require "tandem.base"
local M = {}

function M.encode(s, _, dotstuff)
	return base.qp_encode(s, dotstuff)
end

M.decode = base.qp_decode
return M
