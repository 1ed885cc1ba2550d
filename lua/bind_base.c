/* bind_base - require "tandem.base": what needs neither mail nor chat.
 *
 * The names scripts use are put on top of it by lua/tandem/init.lua and the files of lua/msys. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <idn2.h>
#include <openssl/sha.h>

#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "lua/lua_priv.h"
#include "lua/shared.h"

#define READ_MAX (1u << 20)

/* ---- log, time, configuration, files ---- */

/* log(level, text): level "error".."debug" */
static int
b_log(lua_State *L)
{
	struct tlua *t = tlua_of(L);
	enum td_loglevel level = td_log_level_from_name(luaL_checkstring(L, 1));
	struct td_str text = tlua_checkstr(L, 2);

	luaL_argcheck(L, level < TD_LOG_COUNT, 1, "error, warn, notice, info or debug");
	tlua_charge(L, 100 + text.len);
	if (t->log != NULL)
		t->log(t->user, tlua_script(t), (int)level, "script-log", text);
	return 0;
}

/* now() -> seconds since 1970 with fraction */
static int
b_now(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)td_wall_ms() / 1000);
	return 1;
}

/* config(path, option) -> value or nil, error */
static int
b_config(lua_State *L)
{
	struct tlua *t = tlua_of(L);
	struct td_str path = tlua_checkstr(L, 1), option = tlua_checkstr(L, 2);
	struct td_buf *b;
	struct td_err err = { 0 };

	if (t->config_get == NULL)
		return luaL_error(L, "the configuration is not at hand here");
	tlua_charge(L, 200);
	b = tlua_newbuf(L);
	if (t->config_get(t->user, path, option, b, &err) < 0) {
		lua_pushnil(L);
		lua_pushstring(L, err.text);
		return 2;
	}
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	td_buf_fini(b);
	return 1;
}

/* Is <path> (resolved) below one of the folders scripts may read? */
static bool
may_read(const struct tlua *t, const char *path)
{
	if (t->unsafe)
		return true;
	for (size_t i = 0; t->read_dirs[i] != NULL; i++) {
		char dir[PATH_MAX];
		size_t n;

		if (realpath(t->read_dirs[i], dir) == NULL)
			continue;
		n = strlen(dir);
		if (strncmp(path, dir, n) == 0 && path[n] == '/')
			return true;
	}
	return false;
}

/* readfile(path) -> text, or nil, error */
static int
b_readfile(lua_State *L)
{
	struct tlua *t = tlua_of(L);
	const char *name = luaL_checkstring(L, 1), *why = NULL;
	struct td_buf *b = tlua_newbuf(L);
	char path[PATH_MAX];
	struct stat st;
	ssize_t n = 0;
	int fd = -1;

	if (strncmp(name, "file://", 7) == 0)
		name += 7;
	/* the real path is opened: a link in an allowed folder does not lead out of it */
	if (realpath(name, path) == NULL)
		why = strerror(errno);
	else if (!may_read(t, path))
		why = "scripts may read only what is in script_path";
	else if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW)) < 0)
		why = strerror(errno);
	else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		why = "not a regular file";
	while (why == NULL && (n = read(fd, td_buf_reserve(b, 16384), 16384)) > 0) {
		b->len += (size_t)n;
		if (b->len > READ_MAX)
			why = "over 1 MiB";
	}
	if (why == NULL && n < 0)
		why = strerror(errno);
	if (fd >= 0)
		close(fd);
	if (why != NULL) {
		lua_pushnil(L);
		lua_pushfstring(L, "%s: %s", name, why);
		return 2;
	}
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	td_buf_fini(b);
	return 1;
}

/* ---- shared numbers and values ---- */

static int
b_counter_add(lua_State *L)
{
	int64_t now = 0;

	if (tlua_counter_add(tlua_checkstr(L, 1), luaL_optinteger(L, 2, 1), &now) < 0)
		return luaL_error(L, "counter: too many, or its name is too long");
	lua_pushinteger(L, now);
	return 1;
}

static int
b_counter_read(lua_State *L)
{
	lua_pushinteger(L, tlua_counter_read(tlua_checkstr(L, 1)));
	return 1;
}

static int
b_counter_reset(lua_State *L)
{
	lua_pushinteger(L, tlua_counter_reset(tlua_checkstr(L, 1)));
	return 1;
}

static int
b_counter_unlink(lua_State *L)
{
	tlua_counter_unlink(tlua_checkstr(L, 1));
	return 0;
}

static unsigned
check_unsigned(lua_State *L, int i, lua_Integer def)
{
	lua_Integer n = luaL_optinteger(L, i, def);

	luaL_argcheck(L, n >= 0 && n <= INT_MAX, i, "out of range");
	return (unsigned)n;
}

static int
b_gauge_define(lua_State *L)
{
	if (tlua_gauge_define(tlua_checkstr(L, 1), check_unsigned(L, 2, 0),
			      check_unsigned(L, 3, 0)) < 0)
		return luaL_error(L, "gauge_cache: too many, or its name is too long");
	return 0;
}

static int
b_gauge_add(lua_State *L)
{
	int64_t now = 0;
	int rc = tlua_gauge_add(tlua_checkstr(L, 1), tlua_checkstr(L, 2), luaL_optinteger(L, 3, 1),
				&now);

	if (rc < 0)
		return luaL_error(L, rc == TD_E_NOTFOUND ? "gauge_cache: define it first"
							 : "gauge_cache: the key is too long");
	lua_pushinteger(L, now);
	return 1;
}

static int
b_gauge_get(lua_State *L)
{
	int64_t now;

	if (tlua_gauge_get(tlua_checkstr(L, 1), tlua_checkstr(L, 2), &now) < 0)
		return luaL_error(L, "gauge_cache: define it first");
	lua_pushinteger(L, now);
	return 1;
}

static int
b_gauge_remove(lua_State *L)
{
	tlua_gauge_remove(tlua_checkstr(L, 1), tlua_checkstr(L, 2));
	return 0;
}

/* share_set(key, value or nil) */
static int
b_share_set(lua_State *L)
{
	struct td_str key = tlua_checkstr(L, 1);
	struct td_buf *b;
	int rc;

	luaL_checkany(L, 2);
	b = tlua_newbuf(L);
	if (!lua_isnil(L, 2))
		tlua_freeze(L, 2, b);
	rc = tlua_share_set(key, lua_isnil(L, 2) ? TD_STR_NULL : td_str(td_buf_cstr(b), b->len));
	td_buf_fini(b);
	if (rc < 0)
		return luaL_error(L, "shareSet: too many values, or this one is too large");
	return 0;
}

static int
b_share_get(lua_State *L)
{
	struct td_str key = tlua_checkstr(L, 1);
	struct td_buf *b = tlua_newbuf(L);

	if (!tlua_share_get(key, b)) {
		lua_pushnil(L);
		return 1;
	}
	tlua_thaw(L, td_buf_str(b));
	td_buf_fini(b);
	return 1;
}

/* ---- encodings ---- */

/* base64_encode(s [, fold]): lines of <fold> characters (0 = one line), CRLF between */
static int
b_base64_encode(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	size_t fold = check_unsigned(L, 2, 0);
	struct td_buf *b = tlua_newbuf(L), *lines;

	tlua_charge(L, s.len / 32);
	td_buf_add_base64(b, s.p, s.len);
	if (fold == 0) {
		lua_pushlstring(L, td_buf_cstr(b), b->len);
		return 1;
	}
	lines = tlua_newbuf(L);
	for (size_t i = 0; i < b->len; i += fold) {
		td_buf_add(lines, b->p + i, b->len - i < fold ? b->len - i : fold);
		td_buf_addz(lines, "\r\n");
	}
	lua_pushlstring(L, td_buf_cstr(lines), lines->len);
	td_buf_fini(lines);
	td_buf_fini(b);
	return 1;
}

static int
b_base64_decode(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	struct td_buf *in = tlua_newbuf(L), *out = tlua_newbuf(L);

	tlua_charge(L, s.len / 32);
	for (size_t i = 0; i < s.len; i++)
		if (strchr(" \t\r\n", s.p[i]) == NULL || s.p[i] == '\0')
			td_buf_addc(in, s.p[i]);
	if (td_base64_decode(td_buf_str(in), out) < 0)
		return luaL_error(L, "base64: malformed input");
	lua_pushlstring(L, td_buf_cstr(out), out->len);
	td_buf_fini(in);
	td_buf_fini(out);
	return 1;
}

void
tlua_qp_encode(struct td_str in, bool dotstuff, struct td_buf *out)
{
	size_t col = 0;

	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];
		bool eol = c == '\n' || (c == '\r' && i + 1 < in.len && in.p[i + 1] == '\n');
		/* a blank before a line end would be lost (RFC 2045 6.7 rule 3) */
		bool last = i + 1 == in.len || in.p[i + 1] == '\n' || in.p[i + 1] == '\r';
		bool plain = (c > 32 && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !last);

		if (eol) {
			i += c == '\r';
			td_buf_addz(out, "\r\n");
			col = 0;
			continue;
		}
		if (dotstuff && col == 0 && c == '.')
			plain = false;
		if (col + (plain ? 1 : 3) > 75) {
			td_buf_addz(out, "=\r\n");
			col = 0;
			if (dotstuff && c == '.')
				plain = false;
		}
		if (plain)
			td_buf_addc(out, (char)c);
		else
			td_buf_addf(out, "=%02X", c);
		col += plain ? 1 : 3;
	}
}

static int
b_qp_encode(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	bool stuff = lua_toboolean(L, 2);
	struct td_buf *b = tlua_newbuf(L);

	tlua_charge(L, s.len / 16);
	tlua_qp_encode(s, stuff, b);
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	td_buf_fini(b);
	return 1;
}

static int
b_qp_decode(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	struct td_buf *b = tlua_newbuf(L);

	tlua_charge(L, s.len / 16);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char byte;
		size_t j = i + 1;

		if (s.p[i] != '=') {
			td_buf_addc(b, s.p[i]);
			continue;
		}
		if (td_hex_decode(td_str(s.p + j, s.len - j < 2 ? s.len - j : 2), &byte, 1)) {
			td_buf_addc(b, (char)byte);
			i += 2;
			continue;
		}
		while (j < s.len && (s.p[j] == ' ' || s.p[j] == '\t'))
			j++;
		if (j < s.len && s.p[j] == '\r')
			j++;
		if (j < s.len && s.p[j] != '\n')
			return luaL_error(L, "qp: malformed input");
		i = j;
	}
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	td_buf_fini(b);
	return 1;
}

/* libidn2 hands out malloc'd text: copy it to the stack before anything may raise */
static int
push_idn(lua_State *L, int rc, char *got)
{
	char name[512];

	if (rc != IDN2_OK) {
		lua_pushnil(L);
		lua_pushstring(L, idn2_strerror(rc));
		return 2;
	}
	snprintf(name, sizeof(name), "%s", got);
	idn2_free(got);
	lua_pushstring(L, name);
	return 1;
}

static int
b_to_idn(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	char *got = NULL;
	int rc;

	luaL_argcheck(L, s.len <= 500 && strlen(s.p) == s.len, 1, "no domain name");
	rc = idn2_to_ascii_8z(s.p, &got, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
	return push_idn(L, rc, got);
}

static int
b_to_utf8(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	char *got = NULL;
	int rc;

	luaL_argcheck(L, s.len <= 500 && strlen(s.p) == s.len, 1, "no domain name");
	rc = idn2_to_unicode_8z8z(s.p, &got, 0);
	return push_idn(L, rc, got);
}

/* sha256(s) -> hex */
static int
b_sha256(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	unsigned char md[SHA256_DIGEST_LENGTH];
	char hex[2 * SHA256_DIGEST_LENGTH + 1];

	tlua_charge(L, 50 + s.len / 16);
	SHA256((const unsigned char *)s.p, s.len, md);
	for (size_t i = 0; i < sizeof(md); i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
	lua_pushlstring(L, hex, sizeof(hex) - 1);
	return 1;
}

/* random_id([n]) -> n characters (20) that cannot be guessed */
static int
b_random_id(lua_State *L)
{
	char id[65];
	unsigned n = check_unsigned(L, 1, 20);

	luaL_argcheck(L, n >= 1 && n <= 64, 1, "1 to 64");
	td_random_id(id, n);
	lua_pushlstring(L, id, n);
	return 1;
}

/* utf8_cut(s, max) -> the longest start of at most <max> bytes with whole characters */
static int
b_utf8_cut(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);

	lua_pushlstring(L, s.p, td_utf8_cut(s, check_unsigned(L, 2, 0)));
	return 1;
}

/* Does <line> say something: neither blank nor quoted? */
static bool
says_something(struct td_str line)
{
	return td_str_trim(line).len > 0 && line.p[0] != '>';
}

/* beginning(text, lines, max) -> the first lines that say something, at most <lines> of them and
 * <max> bytes: no quotes, nothing below the signature mark */
static int
b_beginning(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1);
	size_t lines = (size_t)check_unsigned(L, 2, 0), max = (size_t)check_unsigned(L, 3, 0);
	size_t n = 0, used = 0, i, next;
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (i = 0; i <= s.len && n < lines && used < max; i = next) {
		const char *nl = memchr(s.p + i, '\n', s.len - i);
		struct td_str line = td_str(s.p + i, (nl != NULL ? (size_t)(nl - s.p) : s.len) - i);

		next = i + line.len + 1;
		if (td_str_eqc(line, "--") || td_str_eqc(line, "-- "))
			break;
		if (!says_something(line))
			continue;
		line.len = td_utf8_cut(line, max - used);
		if (n++ > 0)
			luaL_addchar(&b, '\n');
		luaL_addlstring(&b, line.p, line.len);
		used += line.len + 1;
	}
	luaL_pushresult(&b);
	tlua_charge(L, i / 16);
	return 1;
}

int
tlua_open_base(lua_State *L)
{
	static const luaL_Reg fns[] = {
		{ "log", b_log },
		{ "now", b_now },
		{ "config", b_config },
		{ "readfile", b_readfile },
		{ "counter_add", b_counter_add },
		{ "counter_read", b_counter_read },
		{ "counter_reset", b_counter_reset },
		{ "counter_unlink", b_counter_unlink },
		{ "gauge_define", b_gauge_define },
		{ "gauge_add", b_gauge_add },
		{ "gauge_get", b_gauge_get },
		{ "gauge_remove", b_gauge_remove },
		{ "share_set", b_share_set },
		{ "share_get", b_share_get },
		{ "base64_encode", b_base64_encode },
		{ "base64_decode", b_base64_decode },
		{ "qp_encode", b_qp_encode },
		{ "qp_decode", b_qp_decode },
		{ "to_idn", b_to_idn },
		{ "to_utf8", b_to_utf8 },
		{ "sha256", b_sha256 },
		{ "random_id", b_random_id },
		{ "utf8_cut", b_utf8_cut },
		{ "beginning", b_beginning },
		{ NULL, NULL },
	};

	luaL_newlib(L, fns);
	return 1;
}
