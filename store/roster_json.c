/* roster_json - a roster as the JSON object Momentum kept per account.
 *
 *   { "ann@example.org": { "name": "Ann", "groups": ["Work"], "pending_requests": {},
 *     "subscription": "both" } }
 *
 * "pending_requests" was always empty in what is documented of it; ours carries what a
 * subscription in progress needs: "out" (we asked), "in" (the stanza with which they
 * asked), "approved", "hidden" (no roster item, only the request).  Files of Lua encoders
 * are read too: there an empty table may be written {} or [].
 *
 * The text is hostile until proven otherwise: size, number of contacts and lengths are
 * limited, and repeated keys refused. */
#include "store/store.h"

#include <stdlib.h>
#include <jansson.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"

#define JSON_MAX (4u << 20) /* a parsed value takes up to 30 times its text */
#define CONTACTS_MAX 20000u
#define GROUPS_MAX 100u
#define JID_MAX 3071u /* RFC 7622 3.1 */
#define TEXT_MAX 1023u
#define STANZA_MAX 65536u

/* ---- writing ---- */

/* JSON is UTF-8; what is not cannot be told from damage, so it shows as such. */
static void
add_string(struct td_buf *out, struct td_str s)
{
	struct td_buf clean = { 0 };

	if (td_utf8_valid(s)) {
		td_buf_add_json(out, s);
		return;
	}
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] < 0x80)
			td_buf_addc(&clean, s.p[i]);
		else
			td_buf_addz(&clean, "\xEF\xBF\xBD");
	}
	td_buf_add_json(out, td_buf_str(&clean));
	td_buf_fini(&clean);
}

static void
add_pending(struct td_buf *out, const struct store_contact *c)
{
	const char *comma = "";

	td_buf_addc(out, '{');
	if (c->flags & STORE_ROSTER_ASK) {
		td_buf_addz(out, "\"out\": true");
		comma = ", ";
	}
	if (c->flags & STORE_ROSTER_PENDING_IN) {
		td_buf_addf(out, "%s\"in\": ", comma);
		add_string(out, c->pending_stanza);
		comma = ", ";
	}
	if (c->flags & STORE_ROSTER_APPROVED) {
		td_buf_addf(out, "%s\"approved\": true", comma);
		comma = ", ";
	}
	if (c->flags & STORE_ROSTER_HIDDEN)
		td_buf_addf(out, "%s\"hidden\": true", comma);
	td_buf_addc(out, '}');
}

void
store_roster_to_json(const struct store_roster *ro, struct td_buf *out)
{
	td_buf_addc(out, '{');
	for (size_t i = 0; i < ro->n; i++) {
		const struct store_contact *c = &ro->contacts[i];

		td_buf_addz(out, i == 0 ? "\n  " : ",\n  ");
		add_string(out, c->jid);
		td_buf_addz(out, ": { \"name\": ");
		add_string(out, c->name);
		td_buf_addz(out, ", \"groups\": [");
		for (size_t g = 0; g < c->n_groups; g++) {
			if (g > 0)
				td_buf_addz(out, ", ");
			add_string(out, c->groups[g]);
		}
		td_buf_addz(out, "], \"pending_requests\": ");
		add_pending(out, c);
		td_buf_addf(out, ", \"subscription\": \"%s\" }",
			    store_sub_names[c->sub & STORE_SUB_BOTH]);
	}
	td_buf_addz(out, ro->n > 0 ? "\n}\n" : "}\n");
}

/* ---- reading ---- */

struct reading {
	struct td_arena *a;
	struct td_err *err;
	const char *jid; /* the contact being read, for messages */
};

/* For an error text: the start of <s>, control characters (C1 too) shown as '?'. */
struct shown {
	char text[100];
};

static const char *
show(struct shown *out, const char *s)
{
	size_t n = td_utf8_cut(td_cstr(s), sizeof(out->text) - 1);

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		bool c1 = c == 0xC2 && i + 1 < n && (unsigned char)s[i + 1] < 0xA0;

		out->text[i] = c < 0x20 || c == 0x7f || c1 ? '?' : s[i];
		if (c1)
			out->text[++i] = '?';
	}
	out->text[n] = '\0';
	return out->text;
}

static int
refuse(const struct reading *r, const char *key, const char *why)
{
	struct shown jid;

	return td_fail(r->err, TD_E_INVAL, "\"%s\": \"%s\" %s", show(&jid, r->jid), key, why);
}

/* Something a Lua encoder writes for an empty table, or nothing at all. */
static bool
is_empty(const json_t *v)
{
	return v == NULL || json_is_null(v) || (json_is_object(v) && json_object_size(v) == 0) ||
	       (json_is_array(v) && json_array_size(v) == 0);
}

static int
read_string(const struct reading *r, const char *key, const json_t *v, size_t max,
	    struct td_str *out)
{
	if (!json_is_string(v))
		return refuse(r, key, "must be a string");
	if (json_string_length(v) > max)
		return refuse(r, key, "is too long");
	*out = td_arena_str(r->a, td_str(json_string_value(v), json_string_length(v)));
	return 0;
}

static int
read_name(const struct reading *r, const json_t *v, struct store_contact *c)
{
	int rc;

	if (v == NULL || json_is_null(v))
		return 0;
	rc = read_string(r, "name", v, TEXT_MAX, &c->name);
	if (c->name.len == 0)
		c->name = TD_STR_NULL;
	return rc;
}

static int
read_groups(const struct reading *r, const json_t *v, struct store_contact *c)
{
	struct td_str *groups;
	size_t n;

	if (is_empty(v))
		return 0;
	if (!json_is_array(v))
		return refuse(r, "groups", "must be a list of strings");
	n = json_array_size(v);
	if (n > GROUPS_MAX)
		return refuse(r, "groups", "are too many");
	groups = td_arena_alloc(r->a, n * sizeof(*groups));
	for (size_t i = 0; i < n; i++) {
		int rc = read_string(r, "groups", json_array_get(v, i), TEXT_MAX, &groups[i]);

		if (rc < 0)
			return rc;
	}
	c->groups = groups;
	c->n_groups = n;
	return 0;
}

static int
read_pending(const struct reading *r, const json_t *v, struct store_contact *c)
{
	static const struct {
		const char *key;
		uint32_t flag;
	} bools[] = {
		{ "out", STORE_ROSTER_ASK },
		{ "approved", STORE_ROSTER_APPROVED },
		{ "hidden", STORE_ROSTER_HIDDEN },
	};
	const json_t *in;

	if (is_empty(v))
		return 0;
	if (!json_is_object(v))
		return refuse(r, "pending_requests", "must be an object");
	for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++) {
		const json_t *b = json_object_get(v, bools[i].key);

		if (b != NULL && !json_is_boolean(b))
			return refuse(r, bools[i].key, "must be true or false");
		if (json_is_true(b))
			c->flags |= bools[i].flag;
	}
	if ((in = json_object_get(v, "in")) == NULL)
		return 0;
	c->flags |= STORE_ROSTER_PENDING_IN;
	return read_string(r, "in", in, STANZA_MAX, &c->pending_stanza);
}

static int
read_subscription(const struct reading *r, const json_t *v, struct store_contact *c)
{
	const char *s = json_string_value(v);

	if (v == NULL)
		return 0;
	for (unsigned i = 0; s != NULL && i < sizeof(store_sub_names) / sizeof(store_sub_names[0]);
	     i++)
		if (strcmp(s, store_sub_names[i]) == 0) {
			c->sub = (enum store_subscription)i;
			return 0;
		}
	return refuse(r, "subscription", "must be none, to, from or both");
}

static bool
is_jid_like(struct td_str s)
{
	if (s.len == 0 || s.len > JID_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static int
read_contact(struct reading *r, const char *jid, const json_t *v, struct store_contact *c)
{
	struct shown sh;
	int rc;

	r->jid = jid;
	*c = (struct store_contact){ .jid = td_arena_str(r->a, td_cstr(jid)) };
	if (!is_jid_like(c->jid))
		return td_fail(r->err, TD_E_INVAL, "\"%s\" is not an address", show(&sh, jid));
	if (!json_is_object(v))
		return td_fail(r->err, TD_E_INVAL, "\"%s\" must be an object", show(&sh, jid));
	if ((rc = read_name(r, json_object_get(v, "name"), c)) < 0 ||
	    (rc = read_groups(r, json_object_get(v, "groups"), c)) < 0 ||
	    (rc = read_pending(r, json_object_get(v, "pending_requests"), c)) < 0)
		return rc;
	return read_subscription(r, json_object_get(v, "subscription"), c);
}

static int
read_roster(struct reading *r, json_t *root, struct store_contact **out, size_t *n_out)
{
	struct store_contact *contacts;
	size_t n = 0, max;
	const char *jid;
	json_t *v;

	if (is_empty(root) && !json_is_null(root)) {
		*out = NULL;
		*n_out = 0;
		return 0;
	}
	if (!json_is_object(root))
		return td_fail(r->err, TD_E_INVAL, "a roster must be a JSON object");
	max = json_object_size(root);
	if (max > CONTACTS_MAX)
		return td_fail(r->err, TD_E_LIMIT, "more than %u contacts", CONTACTS_MAX);
	contacts = td_arena_alloc(r->a, max * sizeof(*contacts));
	json_object_foreach(root, jid, v)
	{
		int rc = read_contact(r, jid, v, &contacts[n++]);

		if (rc < 0)
			return rc;
	}
	*out = contacts;
	*n_out = n;
	return 0;
}

int
store_roster_from_json(struct td_str json, struct td_arena *a, struct store_contact **out,
		       size_t *n_out, struct td_err *err)
{
	struct reading r = { .a = a, .err = err };
	struct shown why;
	json_error_t e;
	json_t *root;
	int rc;

	if (json.len > JSON_MAX)
		return td_fail(err, TD_E_LIMIT, "more than %u bytes of JSON", JSON_MAX);
	root = json_loadb(json.p != NULL ? json.p : "", json.len, JSON_REJECT_DUPLICATES, &e);
	if (root == NULL)
		return td_fail(err, TD_E_INVAL, "line %d, column %d: %s", e.line, e.column,
			       show(&why, e.text));
	rc = read_roster(&r, root, out, n_out);
	json_decref(root);
	return rc;
}
