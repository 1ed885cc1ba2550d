/* lua_build - messages that scripts make: msg:_build and msg:inject, into the outbox. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"
#include "gateway/outbox.h"
#include "milter/mailbuild.h"

#define BUILD_MAX 200  /* headers, parts, attachments each */
#define RCPTS_MAX 1000 /* the largest max_recipients */

static const struct td_logctx blog = { .domain = "lua" };

/* Array <i> of {a, b} into pairs, at most BUILD_MAX. */
static size_t
take_pairs(lua_State *L, int i, struct milt_pair *out)
{
	size_t n = 0;

	luaL_checktype(L, i, LUA_TTABLE);
	while (lua_rawgeti(L, i, (lua_Integer)n + 1) != LUA_TNIL) {
		if (n == BUILD_MAX)
			luaL_error(L, "build: too many parts");
		luaL_checkstack(L, 8, NULL);
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		/* the strings stay on the stack, and so alive */
		out[n].name = tlua_checkstr(L, -2);
		out[n].value = tlua_checkstr(L, -1);
		n++;
	}
	lua_pop(L, 1);
	return n;
}

static size_t
take_attachments(lua_State *L, int i, struct milt_attach *out)
{
	size_t n = 0;

	luaL_checktype(L, i, LUA_TTABLE);
	while (lua_rawgeti(L, i, (lua_Integer)n + 1) != LUA_TNIL) {
		if (n == BUILD_MAX)
			luaL_error(L, "build: too many attachments");
		luaL_checkstack(L, 8, NULL);
		out[n] = (struct milt_attach){ .n_headers = 0 };
		lua_getfield(L, -1, "type");
		out[n].type = tlua_optstr(L, -1);
		lua_getfield(L, -2, "name");
		out[n].name = tlua_optstr(L, -1);
		lua_getfield(L, -3, "content");
		out[n].content = tlua_checkstr(L, -1);
		n++;
	}
	lua_pop(L, 1);
	return n;
}

/* _build(headers, parts, attachments): arrays of {name, value}; only on an empty message */
int
gwl_msg_build(lua_State *L)
{
	struct lmsg *o = gwl_check_msg(L, 1);
	struct td_err err = { 0 };
	struct milt_pair *headers, *parts;
	struct milt_attach *attach;
	struct milt_composition c = { .host = td_cstr(gwl_state_of(L)->set->hostname) };
	struct td_arena *a;
	struct td_str data;

	if (!o->own || o->m != NULL)
		return luaL_error(L, "build: only for a new message that is empty");
	headers = lua_newuserdatauv(L, (BUILD_MAX + 1) * sizeof(*headers), 0);
	parts = lua_newuserdatauv(L, (BUILD_MAX + 1) * sizeof(*parts), 0);
	attach = lua_newuserdatauv(L, (BUILD_MAX + 1) * sizeof(*attach), 0);
	c.headers = headers;
	c.n_headers = take_pairs(L, 2, headers);
	c.parts = parts;
	c.n_parts = take_pairs(L, 3, parts);
	c.attach = attach;
	c.n_attach = take_attachments(L, 4, attach);
	luaL_checkstack(L, 8, NULL);
	a = tlua_newarena(L);
	tlua_charge(L, 5000);
	if (milt_build(a, &c, &data, &err) < 0)
		return tlua_raise(L, &err);
	tlua_charge(L, data.len / 8);
	tlua_ext_add(L, 2 * data.len);
	o->charged += 2 * data.len;
	o->m = milt_mail_from_raw(NULL, data, NULL);
	return 0;
}

/* What every mail of a script carries (momentum.md 6.10): machine-made, and how often it
 * crossed.  <hops>: those of what it came from. */
static void
mark_automatic(struct gwl_state *st, struct milt_mail *m, unsigned hops)
{
	char loop[320];
	size_t i = 0;

	if (milt_mail_header(m, TD_STR("Auto-Submitted"), &i) == NULL)
		(void)milt_mail_header_append(m, TD_STR("Auto-Submitted"),
					      TD_STR("auto-generated"));
	snprintf(loop, sizeof(loop), "%.255s; hops=%u", st->set->hostname, hops + 1);
	(void)milt_mail_header_replace(m, TD_STR("X-Tandem-Loop"), td_cstr(loop));
}

static unsigned
mail_limit(struct gwl_state *st, const char *option)
{
	struct conf_at at = { .scope = conf_next(st->set->conf, NULL, "mail", NULL) };

	return (unsigned)conf_int(st->set->conf, &at, option);
}

/* Address <i> without < >. */
static struct td_str
check_addr(lua_State *L, struct td_str s)
{
	s = td_str_trim(s);
	if (s.len >= 2 && s.p[0] == '<' && s.p[s.len - 1] == '>')
		s = td_str(s.p + 1, s.len - 2);
	if (s.len > 0 && !milt_build_addr_ok(s, NULL))
		luaL_error(L, "inject: an address is none");
	return s;
}

/* inject(from, to [, to...]): "a@x,b@y" are several -> true, or false, error */
int
gwl_msg_inject(lua_State *L)
{
	struct gwl_state *st = gwl_state_of(L);
	struct milt_mail *m = gwl_need_mail(L, 1),
			 *about = st->call != NULL ? st->call->mail : NULL;
	struct lmsg *o = lua_touserdata(L, 1);
	struct td_str from, to, each[RCPTS_MAX];
	struct td_err err = { 0 };
	unsigned hops = milt_mail_hops(about != NULL ? about : m);
	struct td_buf *b;
	size_t n = 0, max = mail_limit(st, "max_recipients");

	from = check_addr(L, lua_isnoneornil(L, 2) ? milt_mail_sender(m) : tlua_checkstr(L, 2));
	to = lua_isnoneornil(L, 3) ? td_cstr(o->to) : tlua_checkstr(L, 3);
	while (to.len > 0) {
		ptrdiff_t comma = td_str_chr(to, ',');
		size_t len = comma < 0 ? to.len : (size_t)comma;

		if (n >= max || n == RCPTS_MAX)
			return luaL_error(L, "inject: over %d recipients (max_recipients)",
					  (int)max);
		each[n] = check_addr(L, td_str(to.p, len));
		n += each[n].len > 0;
		len += comma >= 0;
		to = td_str(to.p + len, to.len - len);
	}
	if (n == 0)
		return luaL_error(L, "inject: no recipient");
	if (hops >= mail_limit(st, "max_hops")) {
		lua_pushboolean(L, 0);
		lua_pushliteral(L, "it crossed between mail and chat too often: a loop");
		return 2;
	}
	if (o->own)
		mark_automatic(st, m, hops);
	b = tlua_newbuf(L);
	tlua_charge(L, 1000 + m->body.len / 16);
	milt_mail_raw(m, b);
	for (size_t i = 0; i < n; i++) {
		struct td_str data = td_str(td_buf_cstr(b), b->len);

		if (gw_outbox_submit(st->set->gw, from, each[i], data,
				     st->call != NULL ? st->call->env : NULL,
				     st->call != NULL ? st->call->stanza : NULL, &err) == 0)
			continue;
		td_log_warn(&blog, "script-inject", "script=%s to=%s text=%s",
			    td_escz(tlua_script(st->t)), td_esc(each[i]), td_escz(err.text));
		lua_pushboolean(L, 0);
		lua_pushstring(L, err.text);
		return 2;
	}
	tlua_endbuf(L, -1);
	lua_pushboolean(L, 1);
	return 1;
}
