/* muc_config - a room's configuration (XEP-0045 10.1.3, 16.5.3): one table of fields serves the owner's form,
 * what is submitted, and what is stored.
 *
 * A stored property is the field's values joined by newlines, under "+" and the field's name; it is missing when
 * the field has its default.  Loading makes a form of them and reads it as if it had been submitted. */
#include <stdio.h>
#include <stdlib.h>
#include "xmpp/xep/muc.h"

enum field_type {
	CF_TEXT = 0,
	CF_SECRET,
	CF_BOOL,
	CF_WORD,  /* one of a list, by its place */
	CF_ROLES, /* some of a list, bits by enum muc_role */
	CF_USERS, /* a number or "none" */
	CF_COUNT, /* a number up to lim->history_max */
};

static const char *const form_types[] = {
	[CF_TEXT] = "text-single",  [CF_SECRET] = "text-private", [CF_BOOL] = "boolean",
	[CF_WORD] = "list-single",  [CF_ROLES] = "list-multi",    [CF_USERS] = "list-single",
	[CF_COUNT] = "text-single",
};

struct field {
	const char *var, *label;
	enum field_type type;
	size_t at, max; /* offset in struct muc_config; bytes of a text */
	const struct xmpp_form_option *options;
};

static const struct xmpp_form_option pm_options[] = {
	{ "anyone", "Anyone" },
	{ "participants", "Anyone with Voice" },
	{ "moderators", "Moderators Only" },
	{ "none", "Nobody" },
	{ NULL, NULL },
};
static const struct xmpp_form_option whois_options[] = {
	{ "moderators", "Moderators Only" },
	{ "anyone", "Anyone" },
	{ NULL, NULL },
};
/* at place i: role MR_VISITOR + i */
static const struct xmpp_form_option role_options[] = {
	{ "visitor", "Visitor" },
	{ "participant", "Participant" },
	{ "moderator", "Moderator" },
	{ NULL, NULL },
};
static const struct xmpp_form_option user_options[] = {
	{ "10", "10" },   { "20", "20" },   { "30", "30" },     { "50", "50" },
	{ "100", "100" }, { "200", "200" }, { "none", "None" }, { NULL, NULL },
};

#define AT(member) offsetof(struct muc_config, member)
// clang-format off
static const struct field fields[] = {
	{ "muc#roomconfig_roomname", "Natural-Language Room Name", CF_TEXT, AT(name), 256, NULL },
	{ "muc#roomconfig_roomdesc", "Short Description of Room", CF_TEXT, AT(desc), 2048, NULL },
	{ "muc#roomconfig_lang", "Natural Language for Room Discussions", CF_TEXT, AT(lang), 35, NULL },
	{ "muc#roomconfig_enablelogging", "Enable Public Logging?", CF_BOOL, AT(logging), 0, NULL },
	{ "muc#roomconfig_changesubject", "Allow Occupants to Change Subject?", CF_BOOL, AT(change_subject), 0, NULL },
	{ "muc#roomconfig_allowinvites", "Allow Members to Invite Others?", CF_BOOL, AT(allow_invites), 0, NULL },
	{ "muc#roomconfig_allowpm", "Who Can Send Private Messages?", CF_WORD, AT(allow_pm), 0, pm_options },
	{ "muc#roomconfig_maxusers", "Maximum Number of Occupants", CF_USERS, AT(max_users), 0, user_options },
	{ "muc#roomconfig_presencebroadcast", "Roles for which Presence is Broadcasted", CF_ROLES, AT(broadcast), 0, role_options },
	{ "muc#roomconfig_getmemberlist", "Roles and Affiliations that May Retrieve Member List", CF_ROLES, AT(list), 0, role_options },
	{ "muc#roomconfig_publicroom", "Make Room Publicly Searchable?", CF_BOOL, AT(public_room), 0, NULL },
	{ "muc#roomconfig_persistentroom", "Make Room Persistent?", CF_BOOL, AT(persistent), 0, NULL },
	{ "muc#roomconfig_moderatedroom", "Make Room Moderated?", CF_BOOL, AT(moderated), 0, NULL },
	{ "muc#roomconfig_membersonly", "Make Room Members-Only?", CF_BOOL, AT(members_only), 0, NULL },
	/* not registered; what clients know it by */
	{ "captcha_protected", "Make Room CAPTCHA Protected?", CF_BOOL, AT(captcha), 0, NULL },
	{ "muc#roomconfig_passwordprotectedroom", "Password Required to Enter?", CF_BOOL, AT(password), 0, NULL },
	{ "muc#roomconfig_roomsecret", "Password", CF_SECRET, AT(secret), 256, NULL },
	{ "muc#roomconfig_whois", "Who May Discover Real JIDs?", CF_WORD, AT(whois), 0, whois_options },
	{ "muc#maxhistoryfetch", "Maximum Number of History Messages Returned by Room", CF_COUNT, AT(history), 0, NULL },
	{ "muc#roomconfig_pubsub", "XMPP URI of Associated Publish-Subscribe Node", CF_TEXT, AT(pubsub), 1024, NULL },
};
// clang-format on
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))
#define VALUES_MAX 4u

struct muc_config *
muc_config_new(const struct muc_config_limits *lim)
{
	struct td_arena *a = td_arena_new(1024);
	struct muc_config *c = td_arena_zalloc(a, sizeof(*c));

	c->arena = a;
	c->public_room = true;
	c->broadcast = c->list = 1u << MR_VISITOR | 1u << MR_PARTICIPANT | 1u << MR_MODERATOR;
	c->history = lim->history_default;
	return c;
}

void
muc_config_free(struct muc_config *c)
{
	if (c != NULL)
		td_arena_free(c->arena);
}

/* ---- one field, out and in ---- */

static size_t
field_values(const struct field *f, const struct muc_config *c, struct td_arena *a,
	     struct td_str out[VALUES_MAX])
{
	const char *at = (const char *)c + f->at;
	int64_t number;
	size_t n = 0;

	switch (f->type) {
	case CF_TEXT:
	case CF_SECRET: memcpy(&out[0], at, sizeof(out[0])); return out[0].len > 0 ? 1 : 0;
	case CF_BOOL: out[0] = *(const bool *)at ? TD_STR("1") : TD_STR("0"); return 1;
	case CF_WORD: out[0] = td_cstr(f->options[*(const uint8_t *)at].value); return 1;
	case CF_ROLES:
		for (unsigned i = 0; f->options[i].value != NULL; i++)
			if (*(const uint8_t *)at & (1u << (MR_VISITOR + i)))
				out[n++] = td_cstr(f->options[i].value);
		return n;
	case CF_USERS:
	case CF_COUNT:
		memcpy(&number, at, sizeof(number));
		out[0] = f->type == CF_USERS && number == 0
				 ? TD_STR("none")
				 : td_cstr(td_arena_printf(a, "%lld", (long long)number));
		return 1;
	}
	return 0;
}

static int
place_of(const struct xmpp_form_option *options, struct td_str s)
{
	for (int i = 0; options[i].value != NULL; i++)
		if (td_str_eqc(s, options[i].value))
			return i;
	return -1;
}

static bool
read_text(const struct field *f, struct muc_config *c, struct td_str v)
{
	struct td_str t = td_arena_str(c->arena, v);
	char *p = (char *)(uintptr_t)t.p;

	if (v.len > f->max)
		return false;
	for (size_t i = 0; i < t.len; i++) /* a single line; stored values are joined by newlines */
		if (p[i] == '\n' || p[i] == '\r')
			p[i] = ' ';
	memcpy((char *)c + f->at, &t, sizeof(t));
	return true;
}

static bool
read_number(const struct field *f, struct muc_config *c, struct td_str v,
	    const struct muc_config_limits *lim)
{
	int64_t n = 0;

	v = td_str_trim(v);
	if (f->type == CF_USERS && (v.len == 0 || td_str_eqc(v, "none")))
		n = 0;
	else if (!td_str_to_dec(v, f->type == CF_USERS ? 1 : 0, INT32_MAX, &n))
		return false;
	/* more than there may be is as many as there may be */
	if (f->type == CF_USERS && n > lim->users_max)
		n = lim->users_max;
	if (f->type == CF_COUNT && n > lim->history_max)
		n = lim->history_max;
	memcpy((char *)c + f->at, &n, sizeof(n));
	return true;
}

static bool
read_field(const struct field *f, struct muc_config *c, const struct xmpp_form *form,
	   const struct muc_config_limits *lim)
{
	const struct xmpp_form_field *ff = xmpp_form_field(form, f->var);
	struct td_str first = xmpp_form_value(form, f->var);
	char *at = (char *)c + f->at;
	uint8_t bits = 0;
	int place;

	if (ff == NULL)
		return true;
	switch (f->type) {
	case CF_TEXT:
	case CF_SECRET: return read_text(f, c, first);
	case CF_BOOL: return ff->n == 0 || xmpp_form_bool(form, f->var, (bool *)at);
	case CF_WORD:
		if ((place = place_of(f->options, first)) < 0)
			return false;
		*(uint8_t *)at = (uint8_t)place;
		return true;
	case CF_ROLES:
		for (size_t i = 0; i < ff->n; i++) {
			/* "none" stands for an empty list */
			place = place_of(f->options, ff->values[i]);
			if (place < 0 && ff->values[i].len > 0 &&
			    !td_str_eqc(ff->values[i], "none"))
				return false;
			if (place >= 0)
				bits |= (uint8_t)(1u << (MR_VISITOR + place));
		}
		*(uint8_t *)at = bits;
		return true;
	case CF_USERS:
	case CF_COUNT: return read_number(f, c, first, lim);
	}
	return true;
}

/* ---- the whole ---- */

static struct muc_config *
copy(const struct muc_config *c)
{
	struct td_arena *a = td_arena_new(1024);
	struct muc_config *n = td_arena_alloc(a, sizeof(*n));

	*n = *c;
	n->arena = a;
	for (size_t i = 0; i < N_FIELDS; i++)
		if (fields[i].type == CF_TEXT || fields[i].type == CF_SECRET) {
			struct td_str *s = (struct td_str *)(void *)((char *)n + fields[i].at);

			*s = td_arena_str(a, *s);
		}
	return n;
}

struct muc_config *
muc_config_read(const struct muc_config *old, const struct xmpp_form *form,
		const struct muc_config_limits *lim, const char **why)
{
	struct muc_config *c = copy(old);

	for (size_t i = 0; i < N_FIELDS; i++)
		if (!read_field(&fields[i], c, form, lim)) {
			*why = fields[i].label;
			muc_config_free(c);
			return NULL;
		}
	if (c->password && c->secret.len == 0) { /* 10.1.3 */
		*why = "A password-protected room needs a password";
		muc_config_free(c);
		return NULL;
	}
	return c;
}

static size_t
split(struct td_arena *a, struct td_str s, const struct td_str **out)
{
	struct td_str *v = td_arena_alloc(a, VALUES_MAX * sizeof(*v));
	size_t n = 0;

	*out = v;
	while (n < VALUES_MAX) {
		ptrdiff_t nl = td_str_chr(s, '\n');

		v[n++] = td_str(s.p, nl < 0 ? s.len : (size_t)nl);
		if (nl < 0)
			break;
		s = td_str(s.p + nl + 1, s.len - (size_t)nl - 1);
	}
	return n;
}

struct muc_config *
muc_config_load(const struct store_muc_prop *props, size_t n, const struct muc_config_limits *lim)
{
	struct muc_config *c = muc_config_new(lim);

	for (size_t i = 0; i < n; i++) {
		struct xmpp_form_field field = { 0 };
		struct xmpp_form form = { .kind = FORM_SUBMIT, .fields = &field, .n = 1 };

		if (props[i].key.len < 2 || props[i].key.p[0] != '+')
			continue;
		field.var = td_str(props[i].key.p + 1, props[i].key.len - 1);
		field.n = split(c->arena, props[i].value, &field.values);
		for (size_t k = 0; k < N_FIELDS; k++)
			if (td_str_eqc(field.var, fields[k].var))
				(void)read_field(&fields[k], c, &form, lim);
	}
	if (c->secret.len == 0)
		c->password = false;
	return c;
}

static struct td_str
joined(struct td_arena *a, const struct td_str *v, size_t n)
{
	struct td_buf b = { 0 };
	struct td_str s;

	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			td_buf_addc(&b, '\n');
		td_buf_adds(&b, v[i]);
	}
	s = td_arena_str(a, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	return s;
}

struct store_muc_prop *
muc_config_props(struct td_arena *a, const struct muc_config *c,
		 const struct muc_config_limits *lim, size_t *n_out)
{
	struct store_muc_prop *p = td_arena_alloc(a, N_FIELDS * sizeof(*p));
	struct muc_config *dflt = muc_config_new(lim);

	for (size_t i = 0; i < N_FIELDS; i++) {
		struct td_str v[VALUES_MAX], d[VALUES_MAX];
		struct td_str value = joined(a, v, field_values(&fields[i], c, a, v));
		struct td_str usual = joined(a, d, field_values(&fields[i], dflt, a, d));

		p[i] = (struct store_muc_prop){
			.key = td_cstr(td_arena_printf(a, "+%s", fields[i].var)),
			.value = td_str_eq(value, usual) ? TD_STR_NULL : value,
		};
	}
	muc_config_free(dflt);
	*n_out = N_FIELDS;
	return p;
}

void
muc_config_form(struct td_buf *out, const struct muc_config *c, const struct muc_config_limits *lim)
{
	struct td_arena *a = td_arena_new(512);

	for (size_t i = 0; i < N_FIELDS; i++) {
		const struct field *f = &fields[i];
		const struct xmpp_form_option *options = f->options;
		struct xmpp_form_option own[sizeof(user_options) / sizeof(user_options[0]) + 1];
		struct td_str v[VALUES_MAX];
		size_t n = field_values(f, c, a, v), k = 0;

		if (f->type == CF_USERS) { /* what the service allows, and what is set */
			for (; options->value != NULL; options++)
				if (strcmp(options->value, "none") == 0 ||
				    strtoll(options->value, NULL, 10) <= lim->users_max)
					own[k++] = *options;
			if (place_of(user_options, v[0]) < 0)
				own[k++] = (struct xmpp_form_option){ v[0].p, v[0].p };
			own[k] = (struct xmpp_form_option){ NULL, NULL };
			options = own;
		}
		xmpp_form_add(out, form_types[f->type], f->var, f->label, v, n, options);
	}
	td_arena_free(a);
}

/* Did any field but these two change? */
static bool
differs_elsewhere(const struct muc_config *a, const struct muc_config *b)
{
	struct td_arena *t = td_arena_new(512);
	bool differs = false;

	for (size_t i = 0; i < N_FIELDS && !differs; i++) {
		struct td_str va[VALUES_MAX], vb[VALUES_MAX];
		size_t na, nb;

		if (fields[i].at == AT(logging) || fields[i].at == AT(whois))
			continue;
		na = field_values(&fields[i], a, t, va);
		nb = field_values(&fields[i], b, t, vb);
		differs = na != nb;
		for (size_t k = 0; k < na && !differs; k++)
			differs = !td_str_eq(va[k], vb[k]);
	}
	td_arena_free(t);
	return differs;
}

size_t
muc_config_codes(const struct muc_config *a, const struct muc_config *b, unsigned out[8])
{
	size_t n = 0;

	if (a->logging != b->logging)
		out[n++] = b->logging ? 170 : 171;
	if (a->whois != b->whois)
		out[n++] = b->whois ? 172 : 173;
	if (differs_elsewhere(a, b))
		out[n++] = 104;
	return n;
}
