/* stanza - made from a parsed element, addressed, sealed, written. */
#include "xmpp/stanza.h"

#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/sm.h"

static const char *const type_names[XT_COUNT] = {
	[XT_ERROR] = "error",
	[XT_CHAT] = "chat",
	[XT_NORMAL] = "normal",
	[XT_GROUPCHAT] = "groupchat",
	[XT_HEADLINE] = "headline",
	[XT_UNAVAILABLE] = "unavailable",
	[XT_SUBSCRIBE] = "subscribe",
	[XT_SUBSCRIBED] = "subscribed",
	[XT_UNSUBSCRIBE] = "unsubscribe",
	[XT_UNSUBSCRIBED] = "unsubscribed",
	[XT_PROBE] = "probe",
	[XT_GET] = "get",
	[XT_SET] = "set",
	[XT_RESULT] = "result",
};

/* Which types a kind knows: [first, last], and error. */
static const struct {
	enum xmpp_type first, last;
} kind_types[] = {
	[XK_OTHER] = { XT_UNKNOWN, XT_UNKNOWN },
	[XK_MESSAGE] = { XT_CHAT, XT_HEADLINE },
	[XK_PRESENCE] = { XT_UNAVAILABLE, XT_PROBE },
	[XK_IQ] = { XT_GET, XT_RESULT },
};

static const char *const kind_names[] = { "", "message", "presence", "iq" };

const char *
xmpp_type_name(enum xmpp_type t)
{
	return t < XT_COUNT ? type_names[t] : NULL;
}

static enum xmpp_type
type_of(enum xmpp_kind kind, struct td_str s)
{
	if (s.p == NULL)
		return XT_NONE;
	if (td_str_eqc(s, "error"))
		return XT_ERROR;
	for (enum xmpp_type t = kind_types[kind].first; t <= kind_types[kind].last; t++)
		if (type_names[t] != NULL && td_str_eqc(s, type_names[t]))
			return t;
	/* RFC 6121 5.2.2: an unknown message type is normal */
	return kind == XK_MESSAGE ? XT_NORMAL : XT_UNKNOWN;
}

static enum xmpp_kind
kind_of(const struct xmpp_node *n)
{
	if (n->ns == NULL || strcmp(n->ns, NS_CLIENT) != 0)
		return XK_OTHER;
	for (unsigned k = XK_MESSAGE; k <= XK_IQ; k++)
		if (strcmp(n->name, kind_names[k]) == 0)
			return (enum xmpp_kind)k;
	return XK_OTHER;
}

static struct xmpp_stanza *
stanza_in(struct td_arena *a)
{
	struct xmpp_stanza *s = td_arena_zalloc(a, sizeof(*s));

	atomic_init(&s->refs, 1);
	s->arena = a;
	return s;
}

struct xmpp_stanza *
xmpp_stanza_new(enum xmpp_kind kind, enum xmpp_type type)
{
	struct td_arena *a = td_arena_new(1024);
	struct xmpp_stanza *s = stanza_in(a);

	s->kind = (uint8_t)kind;
	s->type = (uint8_t)type;
	s->root = xmpp_node_new(a, kind_names[kind], NS_CLIENT);
	return s;
}

int
xmpp_stanza_from_node(struct td_arena *a, struct xmpp_node *root, struct xmpp_stanza **out,
		      struct td_err *err)
{
	struct xmpp_stanza *s = stanza_in(a);
	struct td_str v;
	int rc = 0;

	*out = s;
	s->root = root;
	s->kind = (uint8_t)kind_of(root);
	if (s->kind == XK_OTHER)
		return 0;
	s->type = (uint8_t)type_of((enum xmpp_kind)s->kind, xmpp_node_attr(root, "type"));
	s->id = xmpp_node_attr(root, "id");
	s->lang = xmpp_node_lang(root);
	v = xmpp_node_attr(root, "to");
	if (v.p != NULL && xmpp_jid_parse(a, v, &s->to, err) < 0) {
		s->flags |= XF_BAD_TO;
		rc = TD_E_INVAL;
	}
	v = xmpp_node_attr(root, "from");
	if (v.p != NULL && xmpp_jid_parse(a, v, &s->from, rc < 0 ? NULL : err) < 0) {
		s->flags |= XF_BAD_FROM;
		rc = TD_E_INVAL;
	}
	return rc;
}

struct xmpp_stanza *
xmpp_stanza_ref(struct xmpp_stanza *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void
xmpp_stanza_unref(struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp;

	*sp = NULL;
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (s->promise != NULL)
		xmpp_promise_settle(s->promise);
	if (s->base != NULL)
		xmpp_stanza_unref(&s->base);
	td_arena_free(s->arena);
}

struct xmpp_stanza *
xmpp_stanza_dup(const struct xmpp_stanza *s)
{
	struct td_arena *a = td_arena_new(td_arena_used(s->arena) + 512);
	struct xmpp_stanza *n = stanza_in(a);

	n->kind = s->kind;
	n->type = s->type;
	n->flags = s->flags;
	n->root = xmpp_node_copy(a, s->root);
	if (s->from.full.p != NULL)
		xmpp_jid_copy(a, &s->from, &n->from);
	if (s->to.full.p != NULL)
		xmpp_jid_copy(a, &s->to, &n->to);
	n->id = td_arena_str(a, s->id);
	n->lang = td_arena_str(a, s->lang);
	n->inner = td_arena_str(a, s->inner);
	n->inner_raw = s->inner_raw || s->sealed;
	n->partial = s->partial;
	return n;
}

struct xmpp_stanza *
xmpp_stanza_readdress(const struct xmpp_stanza *s, const struct xmpp_jid *to)
{
	struct td_arena *a =
		td_arena_new(sizeof(*s) + sizeof(struct xmpp_node) + 192 + s->inner.len +
			     s->from.full.len + to->full.len + s->id.len);
	struct xmpp_stanza *n = stanza_in(a);

	n->kind = s->kind;
	n->type = s->type;
	n->flags = s->flags;
	n->root = xmpp_node_new(a, kind_names[s->kind], NS_CLIENT);
	if (s->from.full.p != NULL)
		xmpp_jid_copy(a, &s->from, &n->from);
	xmpp_jid_copy(a, to, &n->to);
	n->id = td_arena_str(a, s->id);
	n->lang = td_arena_str(a, s->lang);
	n->inner = td_arena_str(a, s->inner);
	n->inner_raw = true;
	n->partial = s->inner.len > 0;
	n->sealed = true;
	return n;
}

/* One more like <s>, in <a> and holding it.  Its count is left alone: others may drop theirs meanwhile. */
static struct xmpp_stanza *
like(struct td_arena *a, struct xmpp_stanza *s)
{
	struct xmpp_stanza *n = td_arena_alloc(a, sizeof(*n));
	size_t at = offsetof(struct xmpp_stanza, sealed);

	memcpy((char *)n + at, (const char *)s + at, sizeof(*n) - at);
	atomic_init(&n->refs, 1);
	n->arena = a;
	n->base = xmpp_stanza_ref(s);
	return n;
}

static inline void
add_attr(struct td_buf *out, const char *name, struct td_str value)
{
	if (value.p == NULL)
		return;
	td_buf_addz(out, name);
	td_buf_add_xml(out, value);
	td_buf_addc(out, '\'');
}

/* Is it none of those the stanza struct holds? */
static bool
is_other_attr(const struct xmpp_attr *at)
{
	static const char *const held[] = { "from", "to", "id", "type" };

	if (at->ns != NULL)
		return strcmp(at->ns, NS_XML) != 0 || strcmp(at->name, "lang") != 0;
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		if (at->name[0] == held[i][0] && strcmp(at->name, held[i]) == 0)
			return false;
	return true;
}

/* What stands behind 'to'. */
static void
write_attrs(const struct xmpp_stanza *s, struct td_buf *out)
{
	const struct xmpp_attr *at = s->root->attrs;

	if (xmpp_type_name((enum xmpp_type)s->type) != NULL)
		add_attr(out, " type='", td_cstr(xmpp_type_name((enum xmpp_type)s->type)));
	add_attr(out, " id='", s->id);
	add_attr(out, " xml:lang='", s->lang);
	while (at != NULL && !is_other_attr(at))
		at = at->next;
	if (at != NULL)
		xmpp_node_write_attrs(out, at, is_other_attr);
}

/* Once for all copies. */
static void
fix_attrs(struct xmpp_stanza *s)
{
	struct td_buf b = { 0 };

	if (s->attrs.p != NULL)
		return;
	write_attrs(s, &b);
	s->attrs = td_arena_str(s->arena, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
}

struct xmpp_stanza *
xmpp_stanza_share(struct xmpp_stanza *s, const struct xmpp_jid *to)
{
	struct td_arena *a = td_arena_new(sizeof(*s) + to->full.len + 32);
	struct xmpp_stanza *n;

	fix_attrs(s);
	n = like(a, s);
	n->promise = NULL;
	n->row = 0;
	xmpp_jid_copy(a, to, &n->to);
	return n;
}

struct xmpp_stanza *
xmpp_stanza_extend(struct xmpp_stanza *s, struct td_str xml)
{
	struct td_arena *a = td_arena_new(sizeof(*s) + s->inner.len + xml.len + 64);
	struct xmpp_stanza *n;

	xmpp_stanza_seal(s);
	n = like(a, s);
	s->promise = NULL;
	xmpp_stanza_append_raw(n, xml);
	return n;
}

struct xmpp_stanza *
xmpp_stanza_whole(struct xmpp_stanza *s)
{
	struct td_buf b = { 0 };
	struct td_arena *a;
	struct xmpp_stanza *n;
	struct xmpp_node *root;

	if (!s->partial)
		return s;
	xmpp_stanza_seal(s);
	xmpp_stanza_write(s, true, &b);
	a = td_arena_new(sizeof(*s) + 2 * b.len + 512);
	root = xmpp_xml_parse(a, td_buf_str(&b), NS_CLIENT, NULL);
	td_buf_fini(&b);
	n = like(a, s);
	n->promise = NULL; /* <s> keeps its own */
	if (root != NULL)
		n->root = root;
	n->partial = false;
	xmpp_stanza_unref(&s); /* like() holds it */
	return n;
}

void
xmpp_stanza_set_from(struct xmpp_stanza *s, const struct xmpp_jid *j)
{
	if (j == NULL)
		s->from = (struct xmpp_jid){ 0 };
	else
		xmpp_jid_copy(s->arena, j, &s->from);
}

void
xmpp_stanza_set_to(struct xmpp_stanza *s, const struct xmpp_jid *j)
{
	if (j == NULL)
		s->to = (struct xmpp_jid){ 0 };
	else
		xmpp_jid_copy(s->arena, j, &s->to);
}

void
xmpp_stanza_set_id(struct xmpp_stanza *s, struct td_str id)
{
	s->id = td_arena_str(s->arena, id);
	s->attrs = TD_STR_NULL;
}

void
xmpp_stanza_touch(struct xmpp_stanza *s)
{
	s->inner_raw = false;
	s->partial = false;
	s->attrs = TD_STR_NULL;
}

/* The content as bytes, written from the tree unless it is there already. */
static void
fix_inner(struct xmpp_stanza *s)
{
	struct td_buf b = { 0 };

	if (s->inner_raw)
		return;
	xmpp_node_write_children(&b, s->root, NS_CLIENT);
	s->inner = td_arena_str(s->arena, td_str(b.p != NULL ? b.p : "", b.len));
	s->inner_raw = true;
	td_buf_fini(&b);
}

void
xmpp_stanza_append_raw(struct xmpp_stanza *s, struct td_str xml)
{
	char *p;

	fix_inner(s);
	p = td_arena_alloc(s->arena, s->inner.len + xml.len);
	if (s->inner.len > 0)
		memcpy(p, s->inner.p, s->inner.len);
	memcpy(p + s->inner.len, xml.p, xml.len);
	s->inner = td_str(p, s->inner.len + xml.len);
	s->partial = true;
}

void
xmpp_stanza_seal(struct xmpp_stanza *s)
{
	if (s->sealed)
		return;
	fix_inner(s);
	s->sealed = true;
}

void
xmpp_stanza_write(struct xmpp_stanza *s, bool ns, struct td_buf *out)
{
	const char *name = s->root->name;
	size_t n = strlen(name);

	xmpp_stanza_seal(s);
	(void)td_buf_reserve(out, s->inner.len + s->from.full.len + s->to.full.len + 128);
	td_buf_addc(out, '<');
	td_buf_add(out, name, n);
	if (ns)
		td_buf_addz(out, " xmlns='" NS_CLIENT "'");
	add_attr(out, " from='", s->from.full);
	add_attr(out, " to='", s->to.full);
	if (s->attrs.p != NULL)
		td_buf_adds(out, s->attrs);
	else
		write_attrs(s, out);
	if (s->inner.len == 0) {
		td_buf_add(out, "/>", 2);
		return;
	}
	td_buf_addc(out, '>');
	td_buf_adds(out, s->inner);
	td_buf_add(out, "</", 2);
	td_buf_add(out, name, n);
	td_buf_addc(out, '>');
}

/* ---- errors ---- */

static const struct {
	const char *name, *type;
} errors[XE_COUNT] = {
	[XE_BAD_REQUEST] = { "bad-request", "modify" },
	[XE_CONFLICT] = { "conflict", "cancel" },
	[XE_FEATURE_NOT_IMPLEMENTED] = { "feature-not-implemented", "cancel" },
	[XE_FORBIDDEN] = { "forbidden", "auth" },
	[XE_GONE] = { "gone", "cancel" },
	[XE_INTERNAL_SERVER_ERROR] = { "internal-server-error", "wait" },
	[XE_ITEM_NOT_FOUND] = { "item-not-found", "cancel" },
	[XE_JID_MALFORMED] = { "jid-malformed", "modify" },
	[XE_NOT_ACCEPTABLE] = { "not-acceptable", "modify" },
	[XE_NOT_ALLOWED] = { "not-allowed", "cancel" },
	[XE_NOT_AUTHORIZED] = { "not-authorized", "auth" },
	[XE_POLICY_VIOLATION] = { "policy-violation", "modify" },
	[XE_RECIPIENT_UNAVAILABLE] = { "recipient-unavailable", "wait" },
	[XE_REDIRECT] = { "redirect", "modify" },
	[XE_REGISTRATION_REQUIRED] = { "registration-required", "auth" },
	[XE_REMOTE_SERVER_NOT_FOUND] = { "remote-server-not-found", "cancel" },
	[XE_REMOTE_SERVER_TIMEOUT] = { "remote-server-timeout", "wait" },
	[XE_RESOURCE_CONSTRAINT] = { "resource-constraint", "wait" },
	[XE_SERVICE_UNAVAILABLE] = { "service-unavailable", "cancel" },
	[XE_SUBSCRIPTION_REQUIRED] = { "subscription-required", "auth" },
	[XE_UNDEFINED_CONDITION] = { "undefined-condition", "cancel" },
	[XE_UNEXPECTED_REQUEST] = { "unexpected-request", "wait" },
};

const char *
xmpp_error_name(enum xmpp_error e)
{
	return errors[e].name;
}

/* The reply's frame: same kind and id, addresses swapped. */
static struct xmpp_stanza *
reply_to(const struct xmpp_stanza *s, enum xmpp_type type)
{
	struct xmpp_stanza *r = xmpp_stanza_new((enum xmpp_kind)s->kind, type);

	r->id = td_arena_str(r->arena, s->id);
	if (s->from.full.p != NULL)
		xmpp_jid_copy(r->arena, &s->from, &r->to);
	if (s->to.full.p != NULL)
		xmpp_jid_copy(r->arena, &s->to, &r->from);
	return r;
}

struct xmpp_stanza *
xmpp_stanza_error(const struct xmpp_stanza *s, enum xmpp_error e, struct td_str text)
{
	struct xmpp_stanza *r;
	struct xmpp_node *err, *n;

	if (s->kind == XK_OTHER || s->type == XT_ERROR || s->type == XT_RESULT ||
	    (s->flags & XF_NO_BOUNCE))
		return NULL;
	r = reply_to(s, XT_ERROR);
	if (s->kind != XK_PRESENCE)
		for (n = s->root->first; n != NULL; n = n->next)
			xmpp_node_append(r->root, xmpp_node_copy(r->arena, n));
	err = xmpp_node_add(r->arena, r->root, "error", NULL);
	xmpp_node_set(r->arena, err, "type", td_cstr(errors[e].type));
	(void)xmpp_node_add(r->arena, err, errors[e].name, NS_STANZA_ERRORS);
	if (text.len > 0) {
		n = xmpp_node_add(r->arena, err, "text", NS_STANZA_ERRORS);
		xmpp_node_set_lang(r->arena, n, TD_STR("en"));
		xmpp_node_add_text(r->arena, n, text);
	}
	return r;
}

struct xmpp_stanza *
xmpp_stanza_error_with(const struct xmpp_stanza *s, enum xmpp_error e, const char *text,
		       struct td_str app_xml)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, td_cstr(text));
	struct xmpp_node *n;

	if (r == NULL || app_xml.len == 0)
		return r;
	n = xmpp_xml_parse(r->arena, app_xml, NS_CLIENT, NULL);
	if (n != NULL)
		xmpp_node_append(r->root->last, n);
	return r;
}

struct xmpp_stanza *
xmpp_stanza_result(const struct xmpp_stanza *s)
{
	return reply_to(s, XT_RESULT);
}

struct xmpp_node *
xmpp_stanza_payload(const struct xmpp_stanza *s)
{
	return xmpp_node_child(s->root, NULL, NULL);
}
