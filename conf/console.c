/* console - what "config get|eval|show|locate" answer (momentum.md 1.9). */
#include "conf/conf_priv.h"
#include "gateway/base/err.h"

#include <stdio.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* A path walked as far as the tree goes. */
struct place {
	const struct conf_scope *scope; /* deepest that exists */
	const struct conf_kind *kind;   /* of the last word */
	bool exact;                     /* all of it exists */
	struct td_str domain;           /* the name after "domain", lower case */
	struct td_str peer;             /* the name after "peer" */
	struct td_arena *arena;
};

/* Words of one path, read by a lexer whose messages go nowhere. */
static int
walk(const struct conf *c, struct td_str path, struct place *pl, struct td_err *err)
{
	struct conf scratch = { .arena = pl->arena };
	struct conf_loader l = { .c = &scratch };
	struct conf_lexer lx;
	int rc = 0;

	pl->scope = c->root;
	pl->kind = c->root->kind;
	pl->exact = true;
	if (path.len > 0 && (memchr(path.p, '\0', path.len) != NULL || !td_utf8_valid(path)))
		return td_fail(err, TD_E_INVAL, "the path is not text");
	conf_lex_init(&lx, &l, "path", path);
	for (;;) {
		struct conf_token word = conf_lex(&lx, 0),
				  name = { .type = LT_EOF, .text = TD_STR("") };
		const struct conf_kind *k = word.type == LT_WORD ? conf_kind_find(word.text) : NULL;
		const struct conf_scope *s;
		struct conf_lexer before = lx;

		if (word.type == LT_EOF || l.errors > 0)
			break;
		if (k == NULL || (k->parents & pl->kind->bit) == 0) {
			rc = td_fail(err, TD_E_NOTFOUND,
				     "%s is not a valid scope name in scope '%s'",
				     conf_token_text(&l, &word), pl->kind->shown);
			break;
		}
		if (k->naming != CN_NONE)
			name = conf_lex(&lx, (k->flags & CK_REGEX) ? LX_REGEX : 0);
		if (k->naming == CN_OPTIONAL && name.type == LT_WORD &&
		    conf_kind_find(name.text) != NULL) {
			name = (struct conf_token){ .type = LT_EOF };
			lx = before;
		}
		if (name.type == LT_PUNCT || (name.type == LT_EOF && k->naming == CN_REQUIRED)) {
			rc = td_fail(err, TD_E_INVAL, "scope '%s' needs a name", k->shown);
			break;
		}
		if (name.type == LT_EOF)
			name.text = TD_STR("");
		s = pl->exact ? conf_child(c, pl->scope, k, name.text) : NULL;
		if (s != NULL)
			pl->scope = s;
		else
			pl->exact = false;
		pl->kind = k;
		if (k->bit == CS_DOMAIN)
			pl->domain = name.text;
		if (k->bit == CS_PEER)
			pl->peer = name.text;
	}
	if (rc == 0 && l.errors > 0)
		rc = td_fail(err, TD_E_INVAL,
			     "the path cannot be read: a quote or bracket is missing");
	conf_report_take(&l, NULL);
	return rc;
}

static int
fail_option(struct td_err *err, const struct place *pl, struct td_str option)
{
	bool foreign;
	const char *near;

	if (conf_row_first(option) != NULL)
		return td_fail(err, TD_E_INVAL, "Option '%.*s' is not valid in scope '%s'.",
			       TD_STR_ARG(option), pl->kind->shown);
	near = conf_suggest(pl->scope, option, &foreign);
	return td_fail(err, TD_E_NOTFOUND, "There is no option '%.*s'%s%s",
		       (int)(option.len < 64 ? option.len : 64), option.p != NULL ? option.p : "",
		       near != NULL ? "; did you mean " : ".", near != NULL ? near : "");
}

static int
get_value(const struct conf *c, struct place *pl, struct td_str path, struct td_str option,
	  struct td_buf *out, struct td_err *err)
{
	int rc = walk(c, path, pl, err);

	if (rc < 0)
		return rc;
	if (!pl->exact)
		return td_fail(err, TD_E_NOTFOUND, "There is no scope '%.*s'.", TD_STR_ARG(path));
	for (size_t i = 0; i < pl->scope->n_values; i++) {
		const struct conf_value *v = pl->scope->values[i];

		if (td_str_ieq(v->row != NULL ? td_cstr(v->row->name) : v->name, option)) {
			conf_dump_value(v, out);
			return 0;
		}
	}
	if (conf_row_in(option, pl->scope) == NULL && (pl->scope->kind->flags & CK_FREE) == 0)
		return fail_option(err, pl, option);
	return td_fail(err, TD_E_NOTFOUND, "Option '%.*s' is not set in scope '%s'.",
		       TD_STR_ARG(option), pl->scope->kind->shown);
}

int
conf_cmd_get(const struct conf *c, struct td_str path, struct td_str option, struct td_buf *out,
	     struct td_err *err)
{
	struct place pl = { .arena = td_arena_new(0) };
	int rc = get_value(c, &pl, path, option, out, err);

	td_arena_free(pl.arena);
	return rc;
}

/* The row that an option name means at the end of a path, which need not exist. */
static const struct conf_option *
row_at(const struct place *pl, struct td_str option)
{
	for (const struct conf_option *o = conf_row_first(option); o != NULL; o = conf_row_next(o))
		if ((o->scopes & pl->kind->bit) && (pl->exact ? conf_row_fits(o, pl->scope) : true))
			return o;
	return NULL;
}

/* "#xmpp#name" is asked as protocol xmpp, domain name; both lower case. */
static void
split_domain(struct place *pl, struct conf_at *at)
{
	char *p = td_arena_strndup(pl->arena, pl->domain.p, pl->domain.len), *second;

	for (char *q = p; *q != '\0'; q++)
		if (*q >= 'A' && *q <= 'Z')
			*q |= 0x20;
	at->domain = td_str(p, pl->domain.len);
	if (p[0] != '#' || (second = strchr(p + 1, '#')) == NULL)
		return;
	*second = '\0';
	at->protocol = p + 1;
	at->domain = td_cstr(second + 1);
}

static void
peer_address(struct td_str name, struct sockaddr_storage *ss)
{
	struct conf_cidr n;

	if (!conf_parse_cidr(name, &n))
		return;
	ss->ss_family = (sa_family_t)n.family;
	if (n.family == AF_INET)
		memcpy(&((struct sockaddr_in *)ss)->sin_addr, n.addr, 4);
	else
		memcpy(&((struct sockaddr_in6 *)ss)->sin6_addr, n.addr, 16);
}

static int
eval_value(const struct conf *c, struct place *pl, struct td_str path, struct td_str option,
	   struct td_buf *out, struct td_err *err)
{
	struct sockaddr_storage ss = { 0 };
	struct conf_at at = { 0 };
	const struct conf_option *o;
	const struct conf_value *v;
	int rc = walk(c, path, pl, err);

	if (rc < 0)
		return rc;
	o = row_at(pl, option);
	if (o == NULL)
		return fail_option(err, pl, option);
	at.scope = pl->scope;
	if (pl->domain.len > 0 && pl->kind->bit == CS_DOMAIN &&
	    !(pl->exact && pl->scope->regex != NULL)) {
		at.scope = NULL;
		split_domain(pl, &at);
	}
	if (pl->peer.len > 0) {
		peer_address(pl->peer, &ss);
		at.peer = (const struct sockaddr *)&ss;
	}
	v = conf_find(c, &at, o, NULL);
	if (v == NULL)
		td_buf_addf(out, "Option '%s' is not set and has no default.\n", o->name);
	else
		conf_dump_value(v, out);
	return 0;
}

int
conf_cmd_eval(const struct conf *c, struct td_str path, struct td_str option, struct td_buf *out,
	      struct td_err *err)
{
	struct place pl = { .arena = td_arena_new(0) };
	int rc = eval_value(c, &pl, path, option, out, err);

	td_arena_free(pl.arena);
	return rc;
}

int
conf_cmd_show(const struct conf *c, struct td_str path, bool recurse, struct td_buf *out,
	      struct td_err *err)
{
	struct place pl = { .arena = td_arena_new(0) };
	int rc = walk(c, path, &pl, err);

	if (rc == 0 && !pl.exact)
		rc = td_fail(err, TD_E_NOTFOUND, "There is no scope '%.*s'.", TD_STR_ARG(path));
	if (rc == 0)
		conf_dump_scope(pl.scope, 0, recurse ? 99 : 0, out);
	td_arena_free(pl.arena);
	return rc;
}

/* "Esmtp_Listener::Listen:\:25:": kind and name of each level, each followed by a colon. */
static void
add_locator(const struct conf_scope *s, struct td_buf *out)
{
	if (s->parent == NULL)
		return;
	add_locator(s->parent, out);
	td_buf_addf(out, "%s:", s->kind->shown);
	for (size_t i = 0; i < s->name.len; i++) {
		if (s->name.p[i] == ':' || s->name.p[i] == '\\')
			td_buf_addc(out, '\\');
		td_buf_addc(out, s->name.p[i]);
	}
	td_buf_addc(out, ':');
}

static void
locate_in(const struct conf_scope *s, const struct conf_kind *k, const pcre2_code *re,
	  pcre2_match_data *md, struct td_buf *out)
{
	for (const struct conf_scope *child = s->first; child != NULL; child = child->next) {
		if (child->kind == k &&
		    (re == NULL || pcre2_match(re, (PCRE2_SPTR)child->name.p, child->name.len, 0, 0,
					       md, NULL) >= 0)) {
			conf_dump_scope_head(child, out);
			td_buf_addz(out, "\n  is at ");
			add_locator(child, out);
			td_buf_addc(out, '\n');
		}
		locate_in(child, k, re, md, out);
	}
}

int
conf_cmd_locate(const struct conf *c, struct td_str kind, struct td_str regex, struct td_buf *out,
		struct td_err *err)
{
	const struct conf_kind *k = conf_kind_find(kind);
	pcre2_code *re = NULL;
	pcre2_match_data *md = pcre2_match_data_create(1, NULL);
	PCRE2_SIZE where;
	int code, rc = 0;

	if (md == NULL)
		return td_fail(err, TD_E_LIMIT, "no memory");
	if (k == NULL) {
		rc = td_fail(err, TD_E_NOTFOUND, "'%.*s' is not a valid scope name",
			     TD_STR_ARG(kind));
		goto out;
	}
	if (regex.len > 0) {
		re = pcre2_compile((PCRE2_SPTR)regex.p, regex.len, PCRE2_UTF, &code, &where, NULL);
		if (re == NULL) {
			PCRE2_UCHAR text[120];

			pcre2_get_error_message(code, text, sizeof(text));
			rc = td_fail(err, TD_E_INVAL, "regex: %s (at character %zu)",
				     (const char *)text, where + 1);
			goto out;
		}
	}
	locate_in(c->root, k, re, md, out);
out:
	pcre2_code_free(re);
	pcre2_match_data_free(md);
	return rc;
}
