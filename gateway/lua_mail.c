/* lua_mail - the message object: a mail being received, or one a script makes.
 *
 * A received one is the milter's and only lent for the callback; a new one is the script's.
 * Both are a struct milt_mail, so the methods are the same.  The conveniences of Momentum
 * (text_match, forward, build, mime) are put on top in lua/msys/extended/message.lua. */
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"

static const struct td_logctx mlog = { .domain = "lua" };
static const char msg_mt[] = "gwl.msg";

/* ---- the object ---- */

static void
push_fields(lua_State *L)
{
	lua_newtable(L);
	lua_setiuservalue(L, -2, 1);
}

void
gwl_push_msg(lua_State *L, struct milt_mail *m, struct milt_rcpt *r)
{
	struct lmsg *o = lua_newuserdatauv(L, sizeof(*o), 1);

	*o = (struct lmsg){ .epoch = gwl_state_of(L)->epoch, .m = m, .r = r };
	luaL_setmetatable(L, msg_mt);
	push_fields(L);
}

struct lmsg *
gwl_check_msg(lua_State *L, int i)
{
	struct lmsg *o = luaL_checkudata(L, i, msg_mt);

	if (!o->own && o->epoch != gwl_state_of(L)->epoch)
		luaL_error(L, "this message's callout is over");
	tlua_charge(L, 20);
	return o;
}

struct milt_mail *
gwl_need_mail(lua_State *L, int i)
{
	struct lmsg *o = gwl_check_msg(L, i);

	if (o->m == NULL) {
		tlua_ext_add(L, 4096);
		o->charged += 4096;
		o->m = milt_mail_new(NULL, NULL);
	}
	return o->m;
}

static void
changed(struct milt_mail *m)
{
	struct gwl_mail *gm = m->conn != NULL ? m->user : NULL;

	if (gm == NULL)
		return;
	td_arena_free(gm->arena);
	gm->arena = NULL;
	gm->view = NULL;
}

static int
check_rc(lua_State *L, int rc, const char *what)
{
	if (rc < 0)
		return luaL_error(L, "%s: %s", what, td_errname(rc));
	return rc;
}

/* new_message() */
static int
m_new(lua_State *L)
{
	struct lmsg *o = lua_newuserdatauv(L, sizeof(*o), 1);

	*o = (struct lmsg){ .own = true };
	luaL_setmetatable(L, msg_mt);
	push_fields(L);
	return 1;
}

static int
m_gc(lua_State *L)
{
	struct lmsg *o = lua_touserdata(L, 1);

	if (!o->own)
		return 0;
	milt_mail_free(o->m);
	o->m = NULL;
	free(o->to);
	o->to = NULL;
	tlua_ext_sub(tlua_of(L), o->charged);
	o->charged = 0;
	return 0;
}

/* ---- envelope ---- */

static int
m_rcptto(lua_State *L)
{
	struct lmsg *o = gwl_check_msg(L, 1);
	struct td_str to = tlua_optstr(L, 2);
	struct td_err err = { 0 };
	size_t i = 0;

	if (o->own) {
		if (to.p != NULL) {
			free(o->to);
			o->to = td_strndup(to);
		}
		lua_pushstring(L, o->to != NULL ? o->to : "");
		return 1;
	}
	if (to.p != NULL) {
		if (o->r == NULL)
			return luaL_error(L, "rcptto: change it where a message has one recipient");
		(void)milt_mail_remove_rcpt(o->m, o->r->addr.raw);
		if (milt_mail_add_rcpt(o->m, to, &err) < 0)
			return tlua_raise(L, &err);
	}
	tlua_pushstr(L, to.p != NULL                                ? to
			: o->r != NULL                              ? o->r->addr.full
			: (o->r = milt_mail_rcpt(o->m, &i)) != NULL ? o->r->addr.full
								    : TD_STR(""));
	return 1;
}

static int
m_mailfrom(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct td_str from = tlua_optstr(L, 2), now;
	struct td_err err = { 0 };

	if (from.p != NULL && milt_mail_set_sender(m, from, &err) < 0)
		return tlua_raise(L, &err);
	now = milt_mail_sender(m);
	tlua_pushstr(L, now.p != NULL ? now : TD_STR(""));
	return 1;
}

static int
m_routing_domain(lua_State *L)
{
	struct lmsg *o = gwl_check_msg(L, 1);
	struct td_str d = tlua_optstr(L, 2);
	struct gwl_rcpt *gr = !o->own && o->r != NULL ? o->r->user : NULL;
	luaL_Buffer b;

	if (d.p != NULL && gr != NULL && d.len <= 255)
		gr->routing_domain = td_arena_str(o->m->arena, d);
	if (gr != NULL && gr->routing_domain.p != NULL)
		d = gr->routing_domain;
	else if (o->r != NULL && o->r->addr.domain.p != NULL)
		d = o->r->addr.domain;
	else if (d.p == NULL)
		d = TD_STR("");
	luaL_buffinit(L, &b);
	for (size_t i = 0; i < d.len; i++)
		luaL_addchar(&b, (char)(d.p[i] >= 'A' && d.p[i] <= 'Z' ? d.p[i] + 32 : d.p[i]));
	luaL_pushresult(&b);
	return 1;
}

/* rcpt_args() -> ESMTP arguments of the recipient, array */
static int
m_rcpt_args(lua_State *L)
{
	struct lmsg *o = gwl_check_msg(L, 1);

	lua_newtable(L);
	for (size_t i = 0; o->r != NULL && i < o->r->n_args; i++) {
		tlua_pushstr(L, o->r->args[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* ---- headers ---- */

static int
push_headers(lua_State *L, struct milt_mail *m, struct td_str name)
{
	const struct milt_header *h;
	lua_Integer n = 0;
	size_t i = 0;

	lua_newtable(L);
	while ((h = milt_mail_header(m, name, &i)) != NULL) {
		tlua_charge(L, 20 + h->value.len / 8);
		tlua_pushstr(L, milt_mime_decode(tlua_scratch(L), h->value));
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

/* A value as it may stand in a header: what is not ASCII in RFC 2047 words of at most 75
 * bytes, folded. */
static void
encode_value(struct td_str v, struct td_buf *out)
{
	bool plain = true;

	for (size_t i = 0; i < v.len; i++)
		plain = plain && (unsigned char)v.p[i] < 0x80;
	if (plain || !td_utf8_valid(v)) {
		td_buf_adds(out, v);
		return;
	}
	while (v.len > 0) {
		size_t n = td_utf8_cut(v, 42);

		if (out->len > 0)
			td_buf_addz(out, "\n ");
		td_buf_addz(out, "=?UTF-8?B?");
		td_buf_add_base64(out, v.p, n);
		td_buf_addz(out, "?=");
		v.p += n;
		v.len -= n;
	}
}

enum mode {
	MODE_REPLACE,
	MODE_PREPEND,
	MODE_APPEND
};

static int
set_header(lua_State *L, struct milt_mail *m, struct td_str name, int value, enum mode mode)
{
	static int (*const set[])(struct milt_mail *, struct td_str, struct td_str) = {
		[MODE_REPLACE] = milt_mail_header_replace,
		[MODE_PREPEND] = milt_mail_header_prepend,
		[MODE_APPEND] = milt_mail_header_append,
	};
	struct td_str v = tlua_checkstr(L, value);
	struct td_buf *b = tlua_newbuf(L);
	int rc;

	tlua_charge(L, 50 + v.len / 4); /* the mail's arena only grows */
	encode_value(v, b);
	rc = set[mode](m, name, td_str(td_buf_cstr(b), b->len));
	tlua_endbuf(L, -1);
	lua_pop(L, 1);
	return check_rc(L, rc, "header");
}

/* header(name); header(name, ""); header(name, value or array [, mode]) */
static int
m_header(lua_State *L)
{
	static const char *const modes[] = { "replace", "prepend", "append", NULL };
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct td_str name = tlua_checkstr(L, 2);
	enum mode mode = (enum mode)luaL_checkoption(L, 4, "replace", modes);

	if (lua_isnoneornil(L, 3))
		return push_headers(L, m, name);
	changed(m);
	if (lua_type(L, 3) == LUA_TSTRING && lua_rawlen(L, 3) == 0) {
		lua_pushboolean(L, milt_mail_header_delete(m, name) > 0);
		return 1;
	}
	if (!lua_istable(L, 3)) {
		set_header(L, m, name, 3, mode);
	} else {
		for (lua_Integer i = 1; lua_rawgeti(L, 3, i) != LUA_TNIL; i++) {
			set_header(L, m, name, lua_gettop(L),
				   mode == MODE_REPLACE && i > 1 ? MODE_APPEND : mode);
			lua_pop(L, 1);
		}
	}
	lua_pushboolean(L, 1);
	return 1;
}

static void
push_strs(lua_State *L, const struct td_str *s, size_t n)
{
	lua_createtable(L, (int)n, 0);
	for (size_t i = 0; i < n; i++) {
		tlua_pushstr(L, s[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

static enum milt_addr_part
check_part(lua_State *L, int i)
{
	struct td_str s = tlua_optstr(L, i);
	enum milt_addr_part p = s.p != NULL ? milt_addr_part_from_name(s) : MAP_ALL;

	luaL_argcheck(L, p != MAP_COUNT, i, "all, address, localpart, user, detail or domain");
	return p;
}

/* address_header(name [, component]) -> array */
static int
m_address_header(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct td_str name = tlua_checkstr(L, 2), *list;
	enum milt_addr_part part = check_part(L, 3);
	const struct milt_header *h;
	struct td_arena *a;
	size_t i = 0, n;

	lua_newtable(L);
	a = tlua_newarena(L);
	while ((h = milt_mail_header(m, name, &i)) != NULL) {
		tlua_charge(L, 50 + h->value.len);
		n = milt_mime_addresses(a, h->value, part, &list);
		for (size_t k = 0; k < n; k++) {
			tlua_pushstr(L, list[k].p != NULL ? list[k] : TD_STR(""));
			lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
		}
	}
	tlua_endarena(L, -1);
	lua_pop(L, 1);
	return 1;
}

/* addresses(text [, component]) -> array */
static int
c_addresses(lua_State *L)
{
	struct td_str s = tlua_checkstr(L, 1), *list;
	enum milt_addr_part part = check_part(L, 2);
	struct td_arena *a = tlua_newarena(L);
	size_t n;

	luaL_argcheck(L, s.len <= 1u << 18, 1, "too long");
	tlua_charge(L, 50 + s.len);
	n = milt_mime_addresses(a, s, part, &list);
	push_strs(L, list, n);
	return 1;
}

/* ---- content ---- */

struct milt_mime *
gwl_view(lua_State *L, struct milt_mail *m)
{
	struct gwl_mail *gm = m->conn != NULL ? m->user : NULL;
	struct milt_mime *v;
	struct td_arena *a;

	if (gm != NULL && gm->view != NULL)
		return gm->view;
	tlua_charge(L, 2000 + m->body.len / 16);
	if (gm == NULL) {
		a = tlua_newarena(L); /* on the stack: stays as long as the C call */
	} else {
		if (gm->arena == NULL)
			gm->arena = td_arena_new(4096);
		a = gm->arena;
	}
	v = td_arena_zalloc(a, sizeof(*v));
	milt_mime_parse(a, m, NULL, v);
	if (gm != NULL)
		gm->view = v;
	return v;
}

/* Is part <i> another form of a text already taken (a later child of an alternative)? */
static bool
is_other_form(const struct milt_mime *v, size_t i)
{
	int parent = v->parts[i].parent;

	if (parent < 0 || !td_str_eq(v->parts[parent].type, TD_STR("multipart/alternative")))
		return false;
	for (size_t k = 0; k < i; k++)
		if (v->parts[k].parent == parent && v->parts[k].text.p != NULL)
			return true;
	return false;
}

static int
get_text(lua_State *L, struct milt_mail *m)
{
	struct milt_mime *v = gwl_view(L, m);
	lua_Integer n = 0;

	lua_newtable(L);
	for (size_t i = 0; i < v->n_parts; i++) {
		if (v->parts[i].text.p == NULL || v->parts[i].attachment || is_other_form(v, i))
			continue;
		tlua_pushstr(L, v->parts[i].text);
		lua_rawseti(L, -2, ++n);
	}
	if (n == 0)
		tlua_pushstr(L, v->text.p != NULL ? v->text : TD_STR(""));
	else if (n == 1)
		lua_rawgeti(L, -1, 1);
	return 1;
}

static void
set_plain_header(lua_State *L, struct milt_mail *m, const char *name, const char *value)
{
	check_rc(L, milt_mail_header_replace(m, td_cstr(name), td_cstr(value)), name);
}

/* text() -> string or array; text(value [, type [, charset]]): the whole body */
static int
m_text(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct td_str text = tlua_optstr(L, 2), type, charset;
	struct td_buf *b;

	if (text.p == NULL)
		return get_text(L, m);
	type = lua_isnoneornil(L, 3) ? TD_STR("text/plain") : tlua_checkstr(L, 3);
	charset = lua_isnoneornil(L, 4) ? TD_STR("utf-8") : tlua_checkstr(L, 4);
	changed(m);
	b = tlua_newbuf(L);
	tlua_charge(L, 200 + text.len / 4);
	tlua_qp_encode(text, false, b);
	check_rc(L, milt_mail_set_body(m, td_str(td_buf_cstr(b), b->len)), "text");
	tlua_endbuf(L, -1);
	lua_pushfstring(L, "%s; charset=%s", type.p, charset.p);
	set_plain_header(L, m, "MIME-Version", "1.0");
	set_plain_header(L, m, "Content-Type", lua_tostring(L, -1));
	set_plain_header(L, m, "Content-Transfer-Encoding", "quoted-printable");
	return 0;
}

/* body() -> raw body; body(text): with or without the final dot */
static int
m_body(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct td_str text = tlua_optstr(L, 2);

	if (text.p == NULL) {
		tlua_pushstr(L, m->body.p != NULL ? td_buf_str(&m->body) : TD_STR(""));
		return 1;
	}
	if (td_str_ends(text, "\r\n.\r\n"))
		text.len -= 3;
	else if (td_str_ends(text, "\n.\n"))
		text.len -= 2;
	changed(m);
	tlua_charge(L, 200 + text.len / 4);
	check_rc(L, milt_mail_set_body(m, text), "body");
	return 0;
}

static int
set_raw(lua_State *L, struct milt_mail *m, struct td_str raw)
{
	struct milt_mail *n = milt_mail_from_raw(NULL, raw, NULL);
	const struct milt_header *h;
	size_t i = 0;
	int rc = 0;

	/* nothing here raises: <n> is on the heap */
	for (size_t k = 0; k < m->n_headers; k++)
		if (!m->headers[k]->deleted)
			(void)milt_mail_header_delete(m, m->headers[k]->name);
	while (rc == 0 && (h = milt_mail_header(n, TD_STR_NULL, &i)) != NULL)
		rc = milt_mail_header_append(m, h->name, h->value);
	if (rc == 0)
		rc = milt_mail_set_body(m, td_buf_str(&n->body));
	milt_mail_free(n);
	changed(m);
	check_rc(L, rc, "raw");
	return 0;
}

/* raw() -> whole message, length; raw(text) */
static int
m_raw(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct td_str raw = tlua_optstr(L, 2);
	struct td_buf *b;

	if (raw.p != NULL) {
		tlua_charge(L, 1000 + raw.len);
		return set_raw(L, m, raw);
	}
	tlua_charge(L, m->body.len / 16);
	b = tlua_newbuf(L);
	milt_mail_raw(m, b);
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	lua_pushinteger(L, (lua_Integer)b->len);
	tlua_endbuf(L, -3);
	return 2;
}

static void
push_field(lua_State *L, const char *name, struct td_str v)
{
	if (v.p == NULL)
		return;
	tlua_pushstr(L, v);
	lua_setfield(L, -2, name);
}

static void
push_flag(lua_State *L, const char *name, bool v)
{
	lua_pushboolean(L, v);
	lua_setfield(L, -2, name);
}

static void
push_part(lua_State *L, const struct milt_part *p, size_t i)
{
	lua_createtable(L, 0, 12);
	lua_pushinteger(L, (lua_Integer)i + 1);
	lua_setfield(L, -2, "index");
	lua_pushinteger(L, p->parent + 1);
	lua_setfield(L, -2, "parent");
	lua_pushinteger(L, (lua_Integer)p->size);
	lua_setfield(L, -2, "size");
	push_field(L, "type", p->type);
	push_field(L, "charset", p->charset);
	push_field(L, "encoding", p->encoding);
	push_field(L, "filename", p->filename);
	push_field(L, "cid", p->cid);
	push_field(L, "text", p->text);
	push_flag(L, "container", p->container);
	push_flag(L, "attachment", p->attachment);
	push_flag(L, "inline", p->inlined);
}

static void
push_mbox(lua_State *L, const struct milt_mbox *b)
{
	lua_createtable(L, 0, 2);
	push_field(L, "name", b->name);
	push_field(L, "addr", b->addr);
}

/* report: false, or what it says */
static void
push_report(lua_State *L, const struct milt_report *r)
{
	static const char *const kinds[] = {
		[MR_NONE] = "", [MR_DSN] = "dsn", [MR_MDN] = "mdn", [MR_FEEDBACK] = "feedback"
	};

	if (r->kind == MR_NONE) {
		lua_pushboolean(L, 0);
		return;
	}
	lua_createtable(L, 0, 4);
	push_field(L, "kind", td_cstr(kinds[r->kind]));
	push_field(L, "original_id", r->original_id);
	push_field(L, "envelope_id", r->envelope_id);
	lua_createtable(L, (int)r->n_rcpts, 0);
	for (size_t i = 0; i < r->n_rcpts; i++) {
		const struct milt_report_rcpt *rc = &r->rcpts[i];

		tlua_charge(L, 20);
		lua_createtable(L, 0, 5);
		push_field(L, "original", rc->original);
		push_field(L, "final", rc->final);
		push_field(L, "action", rc->action);
		push_field(L, "status", rc->status);
		push_field(L, "diagnostic", rc->diagnostic);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "rcpts");
}

/* view() -> what the mail says, decoded: see docs/lua.md */
static int
m_view(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	struct milt_mime *v = gwl_view(L, m);
	const char *why = NULL;

	lua_createtable(L, 0, 20);
	push_field(L, "subject", v->subject);
	push_field(L, "message_id", v->message_id);
	push_field(L, "list_id", v->list_id);
	push_field(L, "auto_submitted", v->auto_submitted);
	push_field(L, "jabber_id", v->jabber_id);
	push_field(L, "text", v->text);
	push_flag(L, "text_from_html", v->text_from_html);
	push_flag(L, "encrypted", v->encrypted);
	push_flag(L, "signed", v->is_signed);
	push_flag(L, "cut", v->cut);
	push_flag(L, "automatic", milt_mail_is_auto(m, 0, &why));
	if (why != NULL)
		push_field(L, "automatic_why", td_cstr(why));
	push_report(L, &v->report);
	lua_setfield(L, -2, "report");
	lua_pushinteger(L, milt_mail_hops(m));
	lua_setfield(L, -2, "hops");
	lua_pushnumber(L, (lua_Number)v->date / 1000);
	lua_setfield(L, -2, "date");
	push_mbox(L, &v->from);
	lua_setfield(L, -2, "from");
	push_strs(L, v->references, v->n_references);
	lua_setfield(L, -2, "references");
	push_strs(L, v->in_reply_to, v->n_in_reply_to);
	lua_setfield(L, -2, "in_reply_to");
	lua_createtable(L, (int)v->n_parts, 0);
	for (size_t i = 0; i < v->n_parts; i++) {
		tlua_charge(L, 20);
		push_part(L, &v->parts[i], i);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "parts");
	return 1;
}

/* part_content(index [, max]) -> decoded bytes, or nil, error */
static int
m_part_content(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	lua_Integer i = luaL_checkinteger(L, 2), max = luaL_optinteger(L, 3, 1 << 20);
	struct td_err err = { 0 };
	struct td_buf *b;

	luaL_argcheck(L, i >= 1 && i <= 10000, 2, "no such part");
	luaL_argcheck(L, max >= 0 && max <= 1 << 24, 3, "out of range");
	tlua_charge(L, 2000 + m->body.len / 16);
	b = tlua_newbuf(L);
	if (milt_mime_extract(m, NULL, (size_t)i - 1, (size_t)max, b, &err) < 0) {
		lua_pushnil(L);
		lua_pushstring(L, err.text);
		return 2;
	}
	lua_pushlstring(L, td_buf_cstr(b), b->len);
	tlua_endbuf(L, -2);
	return 1;
}

/* ---- contexts, verdicts, facts ---- */

static struct milt_dict *
check_ctx(lua_State *L, struct milt_mail *m, int i)
{
	lua_Integer type = luaL_checkinteger(L, i);

	luaL_argcheck(L, type == 1 || type == 2, i, "ECMESS_CTX_MESS or ECMESS_CTX_CONN");
	return type == 2 && m->conn != NULL ? milt_conn_ctx(m->conn) : milt_mail_ctx(m);
}

static int
m_context_get(lua_State *L)
{
	struct milt_dict *d = check_ctx(L, gwl_need_mail(L, 1), 2);
	struct td_str v = milt_dict_get(d, tlua_checkstr(L, 3));

	tlua_pushstr(L, v.p != NULL ? v : TD_STR(""));
	return 1;
}

static int
m_context_set(lua_State *L)
{
	struct milt_dict *d = check_ctx(L, gwl_need_mail(L, 1), 2);
	struct td_str key = tlua_checkstr(L, 3), v;

	v.p = luaL_tolstring(L, 4, &v.len);
	check_rc(L, milt_dict_set(d, key, v), "context_set");
	return 0;
}

static int
m_context_exists(lua_State *L)
{
	struct milt_dict *d = check_ctx(L, gwl_need_mail(L, 1), 2);

	lua_pushinteger(L, milt_dict_get(d, tlua_checkstr(L, 3)).p != NULL);
	return 1;
}

static int
m_context_delete(lua_State *L)
{
	struct milt_dict *d = check_ctx(L, gwl_need_mail(L, 1), 2);
	struct td_str key = tlua_checkstr(L, 3);
	bool was = milt_dict_get(d, key).p != NULL;

	(void)milt_dict_set(d, key, TD_STR_NULL);
	lua_pushinteger(L, was);
	return 1;
}

static struct milt_mail *
need_received(lua_State *L)
{
	struct lmsg *o = gwl_check_msg(L, 1);

	if (o->own || o->m == NULL)
		luaL_error(L, "only for a message that is being received");
	return o->m;
}

static int
m_discard(lua_State *L)
{
	struct milt_mail *m = need_received(L);
	struct td_str why = tlua_optstr(L, 2);

	m->discard = true;
	td_log_notice(&mlog, "mail-discard", "mid=%s script=%s text=%s", m->id,
		      td_escz(tlua_script(tlua_of(L))), td_esc(why));
	return 0;
}

/* hold(reason): the MTA keeps it in its quarantine */
static int
m_hold(lua_State *L)
{
	milt_mail_set_quarantine(need_received(L), tlua_checkstr(L, 2));
	return 0;
}

/* code() -> "550 5.7.1 text" or ""; code(n, text); n = 0: the code is in text */
static int
m_code(lua_State *L)
{
	struct milt_conn *c = need_received(L)->conn;
	struct td_str text;
	int64_t n;

	if (lua_gettop(L) < 2) {
		if (c->reply.code == 0)
			lua_pushliteral(L, "");
		else
			lua_pushfstring(L, "%d %s%s%s", (int)c->reply.code, c->reply.xcode,
					c->reply.xcode[0] != '\0' ? " " : "",
					c->reply.text != NULL ? c->reply.text : "");
		return 1;
	}
	n = luaL_checkinteger(L, 2);
	text = tlua_optstr(L, 3);
	if (n == 0 && text.len >= 3 && td_str_to_dec(td_str(text.p, 3), 400, 599, &n))
		text = td_str_trim(td_str(text.p + 3, text.len - 3));
	if (n < 400 || n > 599)
		return luaL_error(L, "code: 400 to 599");
	check_rc(L, milt_conn_set_reply(c, (unsigned)n, text), "code");
	return 0;
}

static int
m_size(lua_State *L)
{
	struct milt_mail *m = gwl_need_mail(L, 1);
	size_t body = m->body_size > m->body.len ? (size_t)m->body_size : m->body.len;

	lua_pushinteger(L, (lua_Integer)m->header_bytes + 2 + (lua_Integer)body);
	return 1;
}

/* macro(name) -> text or nil */
static int
m_macro(lua_State *L)
{
	tlua_pushstr(L, milt_mail_macro_by_name(need_received(L), tlua_checkstr(L, 2)));
	return 1;
}

/* "ip", "port" or "all" of an address */
static int
push_peer(lua_State *L, struct td_str addr, unsigned port)
{
	static const char *const flags[] = { "all", "ip", "port", NULL };

	switch (luaL_checkoption(L, 2, "all", flags)) {
	case 1: tlua_pushstr(L, addr.p != NULL ? addr : TD_STR("")); break;
	case 2: lua_pushfstring(L, "%d", (int)port); break;
	default: lua_pushfstring(L, "%s:%d", addr.p != NULL ? addr.p : "", (int)port);
	}
	return 1;
}

static int
m_reception_peer(lua_State *L)
{
	struct milt_conn *c = need_received(L)->conn;

	return push_peer(L, c->addr, c->port);
}

static int
m_listener_addr(lua_State *L)
{
	struct milt_mail *m = need_received(L);
	int64_t port = 0;

	(void)td_str_to_dec(milt_mail_macro(m, MM_DAEMON_PORT), 0, 65535, &port);
	return push_peer(L, milt_mail_macro(m, MM_DAEMON_ADDR), (unsigned)port);
}

static int
keep_name(lua_State *L, char **slot)
{
	struct td_str v = tlua_optstr(L, 2);

	if (v.p != NULL && v.len <= 255) {
		free(*slot);
		*slot = td_strndup(v);
	}
	lua_pushstring(L, *slot != NULL ? *slot : "");
	return 1;
}

static int
m_binding(lua_State *L)
{
	return keep_name(L, &((struct gwl_mail *)need_received(L)->user)->binding);
}

static int
m_binding_group(lua_State *L)
{
	return keep_name(L, &((struct gwl_mail *)need_received(L)->user)->binding_group);
}

static int
m_is_mcmt(lua_State *L)
{
	(void)gwl_check_msg(L, 1);
	lua_pushinteger(L, 0);
	return 1;
}

static int
m_delivery_method(lua_State *L)
{
	(void)gwl_check_msg(L, 1);
	lua_pushliteral(L, "ESMTP");
	return 1;
}

/* ---- fields and methods ---- */

static int
m_index(lua_State *L)
{
	struct lmsg *o = gwl_check_msg(L, 1);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	lua_getiuservalue(L, 1, 1);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, -2) != LUA_TNIL || o->m == NULL)
		return 1;
	if (strcmp(key, "id") == 0)
		lua_pushstring(L, o->m->id);
	else if (strcmp(key, "batch_id") == 0)
		tlua_pushstr(L, o->m->conn != NULL && milt_mail_macro(o->m, MM_I).p != NULL
					? milt_mail_macro(o->m, MM_I)
					: td_cstr(o->m->id));
	else if (strcmp(key, "conn_id") == 0)
		lua_pushstring(L, o->m->conn != NULL ? o->m->conn->id : "");
	else if (strcmp(key, "priority") == 0)
		lua_pushinteger(L, 0);
	return 1;
}

static int
m_newindex(lua_State *L)
{
	(void)gwl_check_msg(L, 1);
	lua_getiuservalue(L, 1, 1);
	lua_insert(L, 2);
	lua_rawset(L, 2);
	return 0;
}

static int
m_tostring(lua_State *L)
{
	lua_pushliteral(L, "message");
	return 1;
}

void
gwl_open_mail(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{ "rcptto", m_rcptto },
		{ "mailfrom", m_mailfrom },
		{ "routing_domain", m_routing_domain },
		{ "rcpt_args", m_rcpt_args },
		{ "header", m_header },
		{ "address_header", m_address_header },
		{ "text", m_text },
		{ "body", m_body },
		{ "raw", m_raw },
		{ "view", m_view },
		{ "part_content", m_part_content },
		{ "context_get", m_context_get },
		{ "context_set", m_context_set },
		{ "context_exists", m_context_exists },
		{ "context_delete", m_context_delete },
		{ "discard", m_discard },
		{ "hold", m_hold },
		{ "code", m_code },
		{ "get_message_size", m_size },
		{ "macro", m_macro },
		{ "reception_peer", m_reception_peer },
		{ "listener_addr", m_listener_addr },
		{ "binding", m_binding },
		{ "binding_group", m_binding_group },
		{ "is_mcmt", m_is_mcmt },
		{ "get_delivery_method", m_delivery_method },
		{ "_build", gwl_msg_build },
		{ "inject", gwl_msg_inject },
		{ NULL, NULL },
	};
	static const luaL_Reg fns[] = {
		{ "new_message", m_new },
		{ "addresses", c_addresses },
		{ NULL, NULL },
	};

	luaL_setfuncs(L, fns, 0);
	lua_newtable(L); /* methods: the shipped modules add theirs */
	luaL_setfuncs(L, methods, 0);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "message_methods");
	luaL_newmetatable(L, msg_mt);
	lua_pushvalue(L, -2);
	lua_pushcclosure(L, m_index, 1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, m_newindex);
	lua_setfield(L, -2, "__newindex");
	lua_pushcfunction(L, m_gc);
	lua_setfield(L, -2, "__gc");
	lua_pushcfunction(L, m_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 2);
	gwl_open_vctx(L);
}
