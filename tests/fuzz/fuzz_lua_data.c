/* fuzz_lua_data - bytes of others in the hands of a script: the first line is an XPath query, the rest is parsed as XML,
 * as JSON, and decoded.  Whatever it is, the script's call ends; what was parsed can be written and read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <lauxlib.h>

#include "gateway/base/err.h"
#include "gateway/lua_priv.h"
#include "lua/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is raised is a script's to see; only MUST is not. */
static const char script[] =
	"local query, text = ...\n"
	"local xml, json, base = require 'xml', require 'json', require 'tandem.base'\n"
	"local function must(ok, what) if not ok then error('MUST ' .. what, 0) end end\n"
	"local function look(n)\n"
	"  local p = n:parent()\n"
	"  local _ = n:contents(), n:tostring(), p and p:name()\n"
	"  if not n:name() then return end\n"
	"  for c in n:children() do must(c:parent() == n, 'parent') end\n"
	"  local made = xml.newnode('made', 'urn:made')\n"
	"  made:attr('text', text)\n"
	"  made:addchild(n:copy())\n"
	"  made:addchild('last'):contents(text)\n"
	"  must(xml.parsexml(made:tostring(), true), 'made')\n"
	"end\n"
	"local function try(f, ...)\n"
	"  local ok, e = pcall(f, ...)\n"
	"  if not ok and type(e) == 'string' and e:find('^MUST') then error(e, 0) end\n"
	"end\n"
	"local doc = xml.parsexml(text, true)\n"
	"if doc then\n"
	"  local again = xml.parsexml(doc:tostring(), true)\n"
	"  must(again and again:tostring() == doc:tostring(), 'again')\n"
	"  look(doc:root())\n"
	"  try(function() for n in doc:xpath(query) do look(n) end end)\n"
	"  try(function()\n"
	"    for n in doc:xpath(query) do n:unlink() n:contents(query) end\n"
	"    must(xml.parsexml(doc:tostring()), 'changed')\n"
	"  end)\n"
	"end\n"
	"try(function() local v = json.decode(text) json.encode(v) end)\n"
	"try(function() must(base.base64_decode(base.base64_encode(text)) == text, 'base64') end)\n"
	"for _, f in ipairs { 'base64_decode', 'qp_decode', 'to_idn', 'to_utf8' } do\n"
	"  try(base[f], text)\n"
	"end\n"
	"try(base.utf8_cut, text, #query)\n"
	"try(base.beginning, text, #query, 100)\n";

static int
open_all(lua_State *L)
{
	tlua_preload(L, "xml", gwl_open_xml);
	return 0;
}

static struct tlua *
make(void)
{
	static struct tlua_bundle *bundle;
	const char *const none[] = { NULL };
	struct tlua_conf c = { .limits = { .time_ms = 2000 }, .open = open_all };
	struct td_err err = { 0 };
	struct tlua *t;

	if (bundle == NULL)
		bundle = tlua_bundle_new(none, TANDEM_SRCDIR "/lua");
	c.bundle = bundle;
	t = tlua_new(&c, &err);
	if (t == NULL) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return t;
}

static int
run(lua_State *L)
{
	const struct td_str *in = lua_touserdata(L, 1);
	struct td_str rest = *in, query = td_str_cut(&rest, '\n');

	if (luaL_loadbufferx(L, script, sizeof(script) - 1, "=script", "t") != LUA_OK)
		abort();
	tlua_pushstr(L, query.p != NULL ? query : TD_STR(""));
	tlua_pushstr(L, rest.p != NULL ? rest : TD_STR(""));
	lua_call(L, 2, 0);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tlua *t;
	static unsigned runs;
	struct td_str in = td_str((const char *)data, size);
	struct td_err err = { 0 };

	if (t == NULL)
		t = make();
	if (tlua_run(t, NULL, run, &in, &err) < 0 && strstr(err.text, "MUST") != NULL) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	if (++runs % 1000 == 0) {
		tlua_free(t);
		t = NULL;
	}
	return 0;
}
