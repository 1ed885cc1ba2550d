-- msys.core - constants, and the C-style spellings of old scripts.
local core = require "tandem.core"
local base = require "tandem.base"

local M = {
	VALIDATE_CONT = 0, VALIDATE_DONE = 1, VALIDATE_AGAIN = 2,
	VCTX_MESS = 1, VCTX_CONN = 2, ECMESS_CTX_MESS = 1, ECMESS_CTX_CONN = 2,
	EC_MESSAGE_ENQUEUE_HOOK_CONT = 0, EC_MESSAGE_ENQUEUE_HOOK_OK = 1,
	EC_MESSAGE_ENQUEUE_HOOK_ERR = 2,
	EM_TRYING = 0, EM_SUCCEEDED = 1, EM_FAILED = 2,
	EC_MSG_ENV_FROM = 1, EC_MSG_ENV_TO = 2, EC_MSG_ENV_COMPLETE = 4,
	EC_MIME_TE_7BIT = 1, EC_MIME_TE_8BIT = 2, EC_MIME_TE_BASE64 = 3,
	EC_MIME_TE_QUOTED_PRINTABLE = 4,
	EC_AUTH_OK = 0, EC_AUTH_FAIL = 1, EC_AUTH_ERROR = 2,
}

function M.ec_message_new()
	return core.new_message()
end

function M.ec_message_context_get(msg, ...) return msg:context_get(...) end
function M.ec_message_context_set(msg, ...) return msg:context_set(...) end
function M.ec_message_context_exists(msg, ...) return msg:context_exists(...) end
function M.ec_message_context_delete(msg, ...) return msg:context_delete(...) end
function M.get_now_ts() return math.floor(base.now()) end

M.string_new = require "msys.string"

return M
