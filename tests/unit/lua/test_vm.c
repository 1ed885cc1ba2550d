/* Budgets and the sandbox: whatever a script tries, the call ends, with an error that says where. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <lauxlib.h>

#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "lua/vm.h"

static char dir[] = "/tmp/tandem-test-vm-XXXXXX";
static struct tlua_bundle *bundle;
static struct tlua *t;
static struct td_err err;
static struct tlua_stats stats;
static struct td_buf logged;

static void
put_file(const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void
on_log(void *user, const char *script, int level, const char *event, struct td_str text)
{
	(void)user;
	td_buf_addf(&logged, "%s/%d/%s/%.*s\n", script, level, event, TD_STR_ARG(text));
}

static struct tlua *
make(bool compat, size_t memory)
{
	const char *const dirs[] = { dir, NULL };
	struct tlua_conf c = {
		.limits = { .memory = memory, .instructions = 2000000, .time_ms = 1500 },
		.compat = compat,
		.log = on_log
	};
	struct tlua *n;

	bundle = tlua_bundle_new(dirs, TANDEM_SRCDIR "/lua");
	c.bundle = bundle;
	n = tlua_new(&c, &err);
	ck_assert_msg(n != NULL, "%s", err.text);
	return n;
}

static void
setup(void)
{
	t = make(false, 8u << 20);
	memset(&stats, 0, sizeof(stats));
	td_buf_clear(&logged);
}

static void
teardown(void)
{
	tlua_free(t);
	t = NULL;
	tlua_bundle_unref(&bundle);
}

/* Run <text> as a chunk; its result, as text, is in <result>. */
static char result[4000];

static int
run_chunk(lua_State *L)
{
	const char *text = lua_touserdata(L, 1);

	if (luaL_loadbufferx(L, text, strlen(text), "=chunk", "t") != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	snprintf(result, sizeof(result), "%s", luaL_tolstring(L, -1, NULL));
	return 0;
}

static int
run(const char *text)
{
	char *copy = strdup(text);
	int rc;

	memset(&err, 0, sizeof(err));
	result[0] = '\0';
	rc = tlua_run(t, &stats, run_chunk, copy, &err);
	free(copy);
	ck_assert_int_eq(lua_gettop(tlua_state(t)), 0);
	return rc;
}

/* The error or its trace names the line, also when memory ran out. */
static void
check_place(void)
{
	ck_assert_msg(strstr(err.text, "chunk:1") != NULL ||
			      strstr(tlua_last_trace(t), "chunk:1") != NULL,
		      "%s (%s)", err.text, tlua_last_trace(t));
}

/* ---- each of these must end by the budget ---- */

static const char *const bombs[] = {
	"while true do end",
	"while true do pcall(function() while true do end end) end",
	"local function f() while true do end end while true do pcall(pcall, f) end",
	"repeat local ok = xpcall(function() while true do end end, function() while true do end "
	"end) until false",
	"local function h() return h() end xpcall(function() while true do end end, h) while true "
	"do end",
	"while true do coroutine.wrap(function() for i = 1, 200 do end end)() end",
	"local function spawn(n) while true do local co = coroutine.create(function() if n < 60 "
	"then spawn(n + 1) end "
	"for i = 1, 100 do end end) coroutine.resume(co) end end spawn(1)",
	"local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = "
	"function() while true do "
	"end end}) while true do end end) coroutine.resume(co) coroutine.close(co)",
	"local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true "
	"do co() end",
	"setmetatable(_G, {__index = function(t, k) while true do end end}) return nothing_here",
	"error(setmetatable({}, {__tostring = function() while true do end end}))",
	"local s = ('a'):rep(300) return s:find(('a?'):rep(300) .. ('a'):rep(300))",
	"return (('a'):rep(5000)):match('.-.-.-.-.-.-.-.-b')",
	"return (('x'):rep(2000)):find(('x*'):rep(20) .. 'y')",
	"return (('('):rep(100000)):gsub('%b()', '')",
	"while true do ('x'):rep(100000) end",
	"while true do string.format('%99.99f', 1e300) end",
	"local t = {} for i = 1, 1000 do t[i] = i end while true do table.insert(t, 1, 1) end",
	"local t = {} for i = 1, 1e5 do t[i] = i end while true do table.sort(t) end",
	"local m = require 'msys.pcre' while true do m.match(('a'):rep(300), '(a+)+$b') end",
	"while true do require('msys.pcre').match(('a'):rep(200000) .. 'b', '(.*?a){40}c') end",
	"local j = require 'json' local t = {} for i = 1, 1000 do t[i] = i end while true do "
	"j.encode(t) end",
	"while true do load('return 1') end",
	"while true do collectgarbage() end",
	"return load(function() return ' ' end)",
	"local b = require 'tandem.base' while true do b.sha256(('x'):rep(1e5)) end",
	"for i = 1, math.huge do print(i) end",
	"for x in ('x'):rep(1e6):gmatch('') do end while true do end",
};

START_TEST(bomb_ends)
{
	uint64_t start = td_mono_ms();

	ck_assert_int_eq(run(bombs[_i]), TD_E_SCRIPT);
	check_place();
	/* generous: sanitizers and a busy machine; without a budget it would be for ever */
	ck_assert_msg(td_mono_ms() - start < 30000, "took %d ms", (int)(td_mono_ms() - start));
	/* the state is good for the next call */
	ck_assert_int_eq(run("return 1 + 1"), 0);
	ck_assert_str_eq(result, "2");
	ck_assert_uint_eq(stats.runs, 2);
	ck_assert_uint_eq(stats.faults, 1);
}
END_TEST

static const char *const hogs[] = {
	"local s = 'x' while true do s = s .. s end",
	"local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
	"return ('x'):rep(1e9)",
	"return ('x'):rep(1e9, 'y')",
	"return (''):rep(1e18)  .. ('x'):rep(1e8)",
	"local s = string.pack('c2147483640', 'x') return s",
	"local t = {} for i = 1, 1e9 do t[i] = {} end",
	"local t = {} for i = 1, 1e9 do t[i] = i end",
	"coroutine.wrap(function() local t = {} for i = 1, 1e9 do t[i] = i .. 'x' end end)()",
	"local function f() return 1 + f() end return f()",
	"local function f(...) return f(1, ...) end return f()",
	"local t = {} while true do t = {t, t} t.x = ('y'):rep(5000) .. tostring(t) end",
	"return string.format(('%s'):rep(90), ('x'):rep(1e6)):rep(100)",
	"local t = {} for i = 1, 100000 do t[i] = coroutine.create(print) end",
	("local j = require 'json' local s = ('[0,'):rep(90) return j.decode(('['):rep(1e5))[1][1] "
	 "or error('deep')"),
};

START_TEST(hog_ends)
{
	ck_assert_int_eq(run(hogs[_i]), TD_E_SCRIPT);
	if (strstr(hogs[_i], "string.pack") == NULL) /* grows one block inside C, out of sight */
		check_place();
	ck_assert_int_eq(run("collectgarbage() return 'fine'"), 0);
	ck_assert_str_eq(result, "fine");
	ck_assert_uint_le(tlua_memory(t), 8u << 20);
}
END_TEST

/* ---- what must not work ---- */

static const char *const escapes[] = {
	"return io.open('/etc/passwd')",
	"return os.execute('true')",
	"os.exit(0)",
	"return os.getenv('HOME'):len()",
	"os.remove('/tmp/x')",
	"return debug.getregistry()",
	"return package.loadlib('libc.so.6', 'system')",
	"return package.path:len()",
	"return dofile('/etc/passwd')",
	"return loadfile('/etc/passwd')()",
	"return string.dump(print)",
	"return load('\\27Lua')()",
	"return assert(load('\\27LuaT\\0', 'x', 'b'))",
	"setmetatable({}, {__gc = function() end})",
	"getmetatable('').__index = nil",
	"require '../../etc/passwd'",
	"require '/etc/passwd'",
	"require 'a..b'",
	"require ''",
	"require('x' .. string.char(0) .. 'y')",
	"require 'no.such.module'",
	"table.insert(setmetatable({}, {__len = function() return 1e15 end}), 1, 1)",
	"table.move({}, 1, math.maxinteger - 1, 2)",
	"return table.concat({}, '', 1, 1e15)",
	"return table.unpack({}, 1, 1e15)",
	("local t = {} for i = 0, 61 do t[1 << i] = 1 end table.remove(t, 1) table.insert(t, 1, 2) "
	 "error('x')"),
	"return require('tandem.base').readfile('/etc/passwd'):len()",
	"return require('tandem.base').config('', 'hostname')",
	"setmetatable(_ENV, false)",
	"return coroutine.resume(coroutine.running()) and nil + 1 or error('dead')",
	"error()",
	"error(nil)",
	"error({})",
	"error(print)",
	"error(('x'):rep(1e6))",
	"local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
	"return ('x'):find('[a')",
	"return ('x'):find('%')",
	"return ('x'):find('(')",
	"return ('x'):find('%1')",
	"return ('x'):match(')')",
	"return ('x'):find('%f')",
	"return ('x'):find('%b')",
	"return ('x'):gsub('x', '%2')",
	"return ('x'):gsub('x', '%')",
	"return ('x'):find(('('):rep(40))",
	"return ('x'):find('[%')",
	"return ('x'):rep(500):find(('(x'):rep(31) .. ('x-'):rep(200))",
};

START_TEST(escape_fails)
{
	ck_assert_msg(run(escapes[_i]) == TD_E_SCRIPT, "%s gave %s", escapes[_i], result);
	ck_assert_msg(err.text[0] != '\0', "no text");
	ck_assert_int_eq(run("return #_VERSION"), 0);
}
END_TEST

/* ---- the language is still Lua: expressions and what they must give ---- */

static const char *const sames[][2] = {
	{ "('hello world'):find('o w')", "5" },
	{ "select('#', ('abc'):find('(a)(b)(c)'))", "5" },
	{ "('key = value'):match('^(%w+)%s*=%s*(%w+)$')", "key" },
	{ "('abc'):gsub('%w', '%0%0')", "aabbcc" },
	{ "('hello'):gsub('', '-')", "-h-e-l-l-o-" },
	{ "('abc def'):gsub('(%w+) (%w+)', '%2 %1')", "def abc" },
	{ "('THE (quick) fox'):find('%((%a+)%)')", "5" },
	{ "('THE (quick) fox'):gsub('%f[%a]%a+', string.lower)", "the (quick) fox" },
	{ "('f(a(b)c)d'):match('%b()')", "(a(b)c)" },
	{ "('x^y'):find('^', 1, true)", "2" },
	{ "('aXb'):gsub('%u', {X = 'y'})", "ayb" },
	{ "('abc'):find('b', -1)", "nil" },
	{ "('abc'):find('b', -2)", "2" },
	{ "('abc'):find('', 10)", "nil" },
	{ "('abc'):find('', 4)", "4" },
	{ "('[]]'):match('[]]+')", "]]" },
	{ "('a-b'):match('[a%-]+')", "a-" },
	{ "('0123'):match('[^0-1]+')", "23" },
	{ "('x=1, y=2'):gsub('(%w)=(%w)', function(a, b) return b .. a end)", "1x, 2y" },
	{ "('abab'):match('^(ab)%1$')", "ab" },
	{ "('  trim '):match('^%s*(.-)%s*$')", "trim" },
	{ "('a,b,,c'):gsub(',', ';', 2)", "a;b;,c" },
	{ "(function() local r = '' for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do r = r .. k "
	  ".. v end return r end)()",
	  "a1b2" },
	{ "(function() local r = 0 for p in ('abc'):gmatch('()') do r = r * 10 + p end return r "
	  "end)()",
	  "1234" },
	{ "('\\0a\\0'):find('%z') or ('x\\0y'):find('\\0')", "2" },
	{ "('abc'):match('()b()')", "2" },
	{ "('aaa'):match('a-$')", "aaa" },
	{ "('colour color'):gsub('colou?r', 'c')", "c c" },
	{ "('x'):rep(3, ',')", "x,x,x" },
	{ "(''):rep(1e15)", "" },
	{ "table.concat({1, 2, 3}, '-')", "1-2-3" },
	{ "(function() local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return "
	  "table.concat(t) end)()",
	  "321" },
	{ "(function() local t = {1, 2} table.insert(t, 1, 0) table.remove(t) return #t .. t[1] "
	  "end)()",
	  "20" },
	{ "select(2, xpcall(error, function(e) return 'h:' .. e end, 'x'))", "h:x" },
	{ "select(2, pcall(coroutine.wrap(function() error('in co', 0) end))):match('in co$')",
	  "in co" },
	{ "select(2, coroutine.resume(coroutine.create(function(a) return a + coroutine.yield(1) "
	  "end), 1))",
	  "1" },
	{ "load('return ...', 'x')(7)", "7" },
	{ "load('return x', 'x', 't', {x = 8})()", "8" },
	{ "load(coroutine.wrap(function() coroutine.yield('return ') coroutine.yield('9') end))()",
	  "9" },
	{ "(load('syntax error'))", "nil" },
	{ "type(os.time()) .. type(os.date()) .. type(os.clock())", "numberstringnumber" },
	{ "utf8.len('äö')", "2" },
	/* bindings */
	{ "require('tandem.base').base64_encode('hello')", "aGVsbG8=" },
	{ "require('tandem.base').base64_decode('aGVs\\r\\nbG8=')", "hello" },
	{ "require('tandem.base').base64_encode(('x'):rep(60), 76):find('\\r\\n')", "77" },
	{ "require('tandem.base').qp_encode('a=ä \\n')", "a=3D=C3=A4=20\r\n" },
	{ "require('tandem.base').qp_decode('a=3D=C3=A4=20\\r\\nx=\\r\\ny')", "a=ä \r\nxy" },
	{ "#require('tandem.base').qp_encode(('x'):rep(200)):match('^[^\\r]*')", "76" },
	{ "require('tandem.base').to_idn('bücher.example')", "xn--bcher-kva.example" },
	{ "require('tandem.base').to_utf8('xn--bcher-kva.example')", "bücher.example" },
	{ "require('tandem.base').sha256('abc'):sub(1, 16)", "ba7816bf8f01cfea" },
	{ "require('tandem.base').utf8_cut('aä', 2)", "a" },
	{ "require('tandem.base').beginning('> q\\n\\n a\\nb\\n-- \\nsig', 5, 100)", " a\nb" },
	{ "require('tandem.base').beginning('a\\nb\\nc', 2, 100)", "a\nb" },
	{ "require('tandem.base').beginning('abc\\ndäf', 9, 6)", "abc\nd" },
	{ "require('tandem.base').beginning('', 5, 100) .. '.'", "." },
	{ "math.type(require('tandem.base').now())", "float" },
	{ "require('msys.pcre').match('ann@example.org', '(?<user>.*)@(.*)').user", "ann" },
	{ "require('msys.pcre').match('ann@example.org', '(.*)@(.*)')[2]", "example.org" },
	{ "require('msys.pcre').match('x', 'y')", "nil" },
	{ "select(2, require('msys.pcre').match('x', '('))",
	  "missing closing parenthesis (at character 1)" },
	{ "require('msys.pcre').replace('a1b22', '(\\\\d+)', '<$1>')", "a<1>b<22>" },
	{ "require('msys.pcre').replace('abc', 'x*', '-')", "-a-b-c-" },
	{ "require('msys.pcre').replace('äö', '(?<c>.)', '${c}.')", "ä.ö." },
	{ "table.concat(require('msys.pcre').split('a, b,c', ',\\\\s*'), '|')", "a|b|c" },
	{ "require('msys.pcre').match(('a'):rep(3000) .. 'b', 'a.b$') ~= nil", "true" },
	{ "require('json').decode('{\"a\":[1,2.5,null,true]}').a[2]", "2.5" },
	{ "tostring(require('json').decode('{\"a\":[1,\"x\"]}'))", "{\"a\":[1,\"x\"]}" },
	{ "require('json').encode({1, 'two', false})", "[1,\"two\",false]" },
	{ "select(3, require('json').decode('{')):match('^line 1')", "line 1" },
	{ "require('json').decode('null') == require('json').null", "true" },
	{ "require('json').encode({a = {b = {}}})", "{\"a\":{\"b\":{}}}" },
};

START_TEST(same_result)
{
	char chunk[1000];

	snprintf(chunk, sizeof(chunk), "return (%s)", sames[_i][0]);
	ck_assert_msg(run(chunk) == 0, "%s: %s", sames[_i][0], err.text);
	ck_assert_msg(strcmp(result, sames[_i][1]) == 0, "%s gave %s", sames[_i][0], result);
}
END_TEST

START_TEST(shared_values)
{
	struct tlua *other;
	struct tlua_bundle *b2 = bundle;

	ck_assert_int_eq(run("local b = require 'tandem.base' b.counter_add('/site/x', 5) "
			     "b.share_set('k', {a = {1, 'z'}})"
			     "b.gauge_define('g', 2, 60) b.gauge_add('g', 'one', 3)"
			     "b.gauge_add('g', 'two', 1) b.gauge_add('g', 'three', 1) return "
			     "b.gauge_get('g', 'one')"),
			 0);
	ck_assert_str_eq(result, "0"); /* the oldest made room */
	other = make(false, 8u << 20);
	tlua_free(t);
	tlua_bundle_unref(&b2);
	t = other;
	ck_assert_int_eq(run("local b = require 'tandem.base' return b.counter_add('/site/x') .. "
			     "b.share_get('k').a[2] "
			     ".. b.gauge_get('g', 'three')"),
			 0);
	ck_assert_str_eq(result, "6z1");
	ck_assert_int_eq(run("local b = require 'tandem.base' b.share_set('k', nil) "
			     "b.counter_unlink('/site/x')"
			     "return tostring(b.share_get('k')) .. b.counter_read('/site/x')"),
			 0);
	ck_assert_str_eq(result, "nil0");
	ck_assert_int_eq(run("require('tandem.base').share_set('k', ('x'):rep(70000))"),
			 TD_E_SCRIPT);
}
END_TEST

START_TEST(error_says_where)
{
	put_file("bad.lua", "local x = 1\n\nx.y.z = 2\n");
	put_file("worse.lua", "local x = = 1\n");
	put_file("deep.lua", "require 'bad'\n");
	ck_assert_int_eq(tlua_load_script(t, "bad", "bad", &stats, NULL, NULL, &err), TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "bad.lua:3: ") != NULL, "%s", err.text);
	ck_assert_msg(strstr(tlua_last_trace(t), "bad.lua:3") != NULL, "%s", tlua_last_trace(t));
	ck_assert_int_eq(tlua_load_script(t, "worse", "worse", &stats, NULL, NULL, &err),
			 TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "worse.lua:1: ") != NULL, "%s", err.text);
	ck_assert_int_eq(tlua_load_script(t, "deep", "deep.lua", &stats, NULL, NULL, &err),
			 TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "bad.lua:3: ") != NULL, "%s", err.text);
	ck_assert_int_eq(tlua_load_script(t, "none", "none", &stats, NULL, NULL, &err),
			 TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "no none.lua in ") != NULL, "%s", err.text);
	ck_assert_uint_eq(stats.faults, 4);
	ck_assert_int_eq(run("error({code = 1})"), TD_E_SCRIPT);
	ck_assert_int_eq(
		run("error(setmetatable({}, {__tostring = function() return 'mine' end}))"),
		TD_E_SCRIPT);
	ck_assert_str_eq(err.text, "mine");
}
END_TEST

START_TEST(memory_error_says_where)
{
	ck_assert_int_eq(run("local t = {}\nlocal function f() for i = 1, 1e9 do\nt[i] = "
			     "('x'):rep(4096) .. i end end\nf()"),
			 TD_E_SCRIPT);
	ck_assert_str_eq(err.text, "chunk:3: not enough memory");
	ck_assert_str_eq(tlua_last_trace(t), "chunk:3 < chunk:4");
	/* one that a script caught says nothing of the next error */
	ck_assert_int_eq(run("pcall(function() local s = 'x'\nwhile true do s = s .. s end "
			     "end)\nlocal x = nil\nreturn x.y"),
			 TD_E_SCRIPT);
	ck_assert_str_eq(tlua_last_trace(t), "chunk:4");
	ck_assert_int_eq(run("local ok, e = pcall(function() local s = 'x'\nwhile true do s = s .. "
			     "s end end)\nerror(e, 0)"),
			 TD_E_SCRIPT);
	ck_assert_str_eq(err.text, "chunk:2: not enough memory");
}
END_TEST

START_TEST(globals_are_private)
{
	put_file("one.lua", "x = 1 print('x', x, _G.x) function f() return x end\n");
	put_file("two.lua", "print(x, _G.x, type(string)) string.mine = true\n");
	ck_assert_int_eq(tlua_load_script(t, "s1", "one", NULL, NULL, NULL, &err), 0);
	ck_assert_int_eq(tlua_load_script(t, "s2", "two", NULL, NULL, NULL, &err), 0);
	ck_assert_str_eq(td_buf_cstr(&logged),
			 "s1/3/script-print/x\t1\t1\ns2/3/script-print/nil\tnil\ttable\n");
}
END_TEST

START_TEST(modules)
{
	put_file("m1.lua", "local n = 0 return { next = function() n = n + 1 return n end }\n");
	put_file("loop1.lua", "return require 'loop2'\n");
	put_file("loop2.lua", "return require 'loop1'\n");
	ck_assert_int_eq(run("return require('m1').next() + require('m1').next()"), 0);
	ck_assert_str_eq(result, "3");
	ck_assert_int_eq(run("require 'loop1'"), TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "require each other") != NULL, "%s", err.text);
	ck_assert_int_eq(run("return package.loaded.m1.next()"), 0);
	/* what was read stays what it was */
	put_file("m1.lua", "syntax error here");
	tlua_free(t);
	{
		struct tlua_conf c = { .bundle = bundle };

		t = tlua_new(&c, &err);
	}
	ck_assert_int_eq(run("return require('m1').next()"), 0);
}
END_TEST

START_TEST(coroutine_over_calls)
{
	/* a coroutine that met the budget's end in one call is no burden to the next */
	ck_assert_int_eq(run("co = coroutine.wrap(function() while true do for i = 1, 1000 do end "
			     "coroutine.yield() end end)"
			     " co()"),
			 0);
	ck_assert_int_eq(run("while true do co() end"), TD_E_SCRIPT);
	ck_assert_int_eq(run("for i = 1, 100 do pcall(co) end return 'ok'"), 0);
	ck_assert_uint_eq(stats.overruns, 1);
}
END_TEST

static int
nested(lua_State *L)
{
	struct td_err e = { 0 };

	ck_assert_int_eq(tlua_run(tlua_of(L), NULL, run_chunk, NULL, &e), TD_E_BUSY);
	return 0;
}

static int
hold_memory(lua_State *L)
{
	for (int i = 0; i < 100000; i++)
		tlua_ext_add(L, 100000);
	return 0;
}

START_TEST(runs)
{
	ck_assert_int_eq(tlua_run(t, NULL, nested, NULL, &err), 0);
	ck_assert_int_eq(tlua_run(t, NULL, hold_memory, NULL, &err), TD_E_SCRIPT);
	ck_assert_msg(strstr(err.text, "not enough memory") != NULL, "%s", err.text);
	tlua_ext_sub(t, SIZE_MAX);
	ck_assert_int_eq(run("return 1"), 0);
}
END_TEST

START_TEST(compat_names)
{
	struct tlua_bundle *b2 = bundle;

	tlua_free(t);
	tlua_bundle_unref(&b2);
	t = make(true, 8u << 20);
	put_file("old.lua", "if 1 != 2 and 7 \\ 2 == 3 and (5 ^^ 1) == 4 then\n"
			    "  print(unpack({1, 2}), table.getn({1, 2, 3}), math.pow(2, 3), "
			    "loadstring('return 1 != 1')())\nend\n"
			    "print('a != b \\\\ c') -- != \\ ^^\nprint([[x != y \\ z]])\n");
	ck_assert_msg(tlua_load_script(t, "old", "old", NULL, NULL, NULL, &err) == 0, "%s",
		      err.text);
	ck_assert_str_eq(td_buf_cstr(&logged),
			 "old/3/script-print/1\t3\t8.0\tfalse\n"
			 "old/3/script-print/a != b \\ c\nold/3/script-print/x != y \\ z\n");
}
END_TEST

START_TEST(unsafe_has_all)
{
	struct tlua_conf c = { .bundle = bundle, .unsafe = true };

	tlua_free(t);
	t = tlua_new(&c, &err);
	ck_assert_int_eq(run("return type(io.open) .. type(os.getenv) .. type(debug.getinfo) .. "
			     "type(package.loadlib)"),
			 0);
	ck_assert_str_eq(result, "functionfunctionfunctionfunction");
	ck_assert_int_eq(run("while true do end"), TD_E_SCRIPT);
}
END_TEST

START_TEST(no_memory_at_all)
{
	for (size_t n = 1000; n < 200000; n += 1777) {
		struct tlua_conf c = { .bundle = bundle, .limits = { .memory = n } };
		struct tlua *small = tlua_new(&c, &err);

		tlua_free(small); /* made or not, no crash */
	}
}
END_TEST

#define N(a) (int)(sizeof(a) / sizeof(*(a)))

int
main(void)
{
	Suite *s = suite_create("vm");
	TCase *tc = tcase_create("all");
	SRunner *r;
	int failed;

	if (mkdtemp(dir) == NULL)
		return EXIT_FAILURE;
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, bomb_ends, 0, N(bombs));
	tcase_add_loop_test(tc, hog_ends, 0, N(hogs));
	tcase_add_loop_test(tc, escape_fails, 0, N(escapes));
	tcase_add_loop_test(tc, same_result, 0, N(sames));
	tcase_add_test(tc, shared_values);
	tcase_add_test(tc, error_says_where);
	tcase_add_test(tc, memory_error_says_where);
	tcase_add_test(tc, globals_are_private);
	tcase_add_test(tc, modules);
	tcase_add_test(tc, coroutine_over_calls);
	tcase_add_test(tc, runs);
	tcase_add_test(tc, compat_names);
	tcase_add_test(tc, unsafe_has_all);
	tcase_add_test(tc, no_memory_at_all);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	td_buf_fini(&logged);
	{
		static const char *const files[] = { "bad", "worse", "deep",  "one", "two",
						     "m1",  "loop1", "loop2", "old" };
		char path[300];

		for (size_t k = 0; k < sizeof(files) / sizeof(*files); k++) {
			snprintf(path, sizeof(path), "%s/%s.lua", dir, files[k]);
			unlink(path);
		}
		rmdir(dir);
	}
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
