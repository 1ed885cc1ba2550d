/* pubsub_subscribe - what a subscriber asks: subscribe, unsubscribe, options, lists of its own (XEP-0060 5.6, 5.7, 6);
 * and the owner's list of subscribers (8.8). */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"

#define FORM_OPTIONS NS_PUBSUB "#subscribe_options"

/* ---- options of a subscription (6.3) ---- */

#define N_SHOWS 5u
/* Bit i of ps_sub.shows is row i. */
static const struct xmpp_form_option shows[N_SHOWS + 1] = {
	{ "away", "Away" },        { "chat", "Free for chat" }, { "dnd", "Do not disturb" },
	{ "online", "Available" }, { "xa", "Extended away" },   { NULL, NULL }
};

static void
options_form(struct td_buf *b, const struct ps_sub *s, enum xmpp_form_kind kind)
{
	struct td_str values[N_SHOWS];
	size_t n = 0;
	char stamp[32];

	xmpp_form_open(b, kind, FORM_OPTIONS);
	xmpp_form_add_bool(b, "pubsub#deliver", "Receive notifications", s->deliver);
	xmpp_form_add_bool(b, "pubsub#digest", "Receive digests", false);
	xmpp_form_add_bool(b, "pubsub#include_body", "Receive a message body", false);
	for (unsigned i = 0; i < N_SHOWS; i++)
		if (s->shows & (1u << i))
			values[n++] = td_cstr(shows[i].value);
	xmpp_form_add(b, "list-multi", "pubsub#show-values", "Presence to be notified in", values,
		      n, shows);
	if (s->expire > 0)
		td_stamp(s->expire, stamp);
	xmpp_form_add1(b, "text-single", "pubsub#expire", "When the subscription ends",
		       s->expire > 0 ? td_cstr(stamp) : TD_STR_NULL);
	xmpp_form_close(b);
}

static bool
read_shows(const struct xmpp_form *f, uint8_t *out)
{
	const struct xmpp_form_field *field = xmpp_form_field(f, "pubsub#show-values");
	uint8_t bits = 0;

	if (field == NULL)
		return true;
	for (size_t i = 0; i < field->n; i++) {
		unsigned k = 0;

		while (k < N_SHOWS && !td_str_eqc(field->values[i], shows[k].value))
			k++;
		if (k == N_SHOWS)
			return false;
		bits |= (uint8_t)(1u << k);
	}
	*out = bits;
	return true;
}

/* Take over what was submitted.  Digests and bodies are not made: asking for them is an error (6.3.5). */
static bool
options_apply(struct td_arena *a, const struct xmpp_node *x, struct ps_sub *s)
{
	struct xmpp_form f;
	bool digest = false, body = false, deliver = s->deliver;
	uint64_t expire = s->expire;
	uint8_t wanted = s->shows;
	struct td_str v;

	if (xmpp_form_read(a, x, &f) < 0 || f.kind != FORM_SUBMIT ||
	    (f.type.p != NULL && !td_str_eqc(f.type, FORM_OPTIONS)) ||
	    !xmpp_form_bool(&f, "pubsub#deliver", &deliver) ||
	    !xmpp_form_bool(&f, "pubsub#digest", &digest) ||
	    !xmpp_form_bool(&f, "pubsub#include_body", &body) || digest || body ||
	    !read_shows(&f, &wanted))
		return false;
	v = xmpp_form_value(&f, "pubsub#expire");
	if (v.len > 0 && !td_str_eqc(v, "presence") &&
	    (!td_stamp_parse(v, &expire) || expire <= td_wall_ms()))
		return false;
	s->deliver = deliver;
	s->shows = wanted;
	s->expire = v.p != NULL && v.len == 0 ? 0 : expire;
	return true;
}

/* ---- shared ---- */

static const struct ps_refusal invalid_jid = { XE_BAD_REQUEST, "invalid-jid" };
static const struct ps_refusal not_yours = { XE_FORBIDDEN, NULL };

/* The jid='' of a request: the sender's own, bare or of any of its resources.  False when answered with an error, that about
 * somebody else's being <foreign>. */
static bool
own_jid(struct ps_req *r, struct ps_refusal foreign, struct xmpp_jid *out)
{
	struct td_str v = xmpp_node_attr(r->what, "jid");

	if (v.len == 0) {
		ps_error(r, XE_BAD_REQUEST, "jid-required");
		return false;
	}
	if (xmpp_jid_parse(r->a, v, out, NULL) < 0) {
		ps_error(r, invalid_jid.e, invalid_jid.condition);
		return false;
	}
	if (!td_str_eq(out->bare, r->s->from.bare)) {
		ps_error(r, foreign.e, foreign.condition);
		return false;
	}
	return true;
}

static void
write_subscription(struct td_buf *b, struct td_str node, struct td_str jid, enum ps_state state)
{
	td_buf_addz(b, "<subscription node='");
	td_buf_add_xml(b, node);
	td_buf_addz(b, "' jid='");
	td_buf_add_xml(b, jid);
	td_buf_addf(b, "' subscription='%s'", ps_state_name(state));
}

static void
keep_sub(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s, struct td_str jid)
{
	struct td_arena *a = ps_change_arena(c);
	struct td_buf b = { 0 };

	if (s != NULL)
		ps_sub_write(s, &b);
	ps_change_add(c, &(struct store_ps_change){
				 .verb = PS_SUBSCRIPTION,
				 .node = n->name,
				 .key = td_arena_str(a, jid),
				 .value = td_arena_str(a, td_str(b.p != NULL ? b.p : "", b.len)),
				 .n = s != NULL ? s->state : PSS_NONE });
	td_buf_fini(&b);
}

/* Tell <jid> what its subscription is now (8.8.4, 12.14). */
static void
tell_state(struct ps_change *c, const struct ps_node *n, struct td_str jid, enum ps_state state)
{
	struct xmpp_jid to = xmpp_jid_view(jid);
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'>");
	write_subscription(&b, n->name, jid, state);
	td_buf_addz(&b, "/></event>");
	ps_change_tell(c, &to, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_change_subscription(struct ps_change *c, struct ps_node *n, struct ps_sub *s, enum ps_state to)
{
	struct td_str jid = td_arena_str(ps_change_arena(c), s->jid);

	keep_sub(c, n, ps_node_set_sub(n, jid, to), jid);
	tell_state(c, n, jid, to);
}

void
ps_change_tell_owners(struct ps_change *c, const struct ps_node *n, struct td_str jid,
		      enum ps_state state)
{
	const struct ps_affil *af;
	struct td_buf b = { 0 };
	size_t i = 0;

	if (!n->cfg.notify_sub)
		return;
	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'>");
	write_subscription(&b, n->name, jid, state);
	td_buf_addz(&b, "/></event>");
	if (n->host->pep) {
		struct xmpp_jid to = xmpp_jid_view(n->host->jid);

		ps_change_tell(c, &to, td_buf_str(&b));
	}
	while ((af = td_map_next(&n->affils, &i)) != NULL)
		if (af->affiliation == PSF_OWNER) {
			struct xmpp_jid to = xmpp_jid_view(af->jid);

			ps_change_tell(c, &to, td_buf_str(&b));
		}
	td_buf_fini(&b);
}

/* ---- subscribe (6.1) ---- */

struct subscribed {
	char *node, *jid;
	bool pending;
};

static bool
after_subscribe(struct ps_host *h, struct xmpp_stanza *iq, int rc, void *arg)
{
	struct subscribed *d = arg;
	struct ps_node *n = h != NULL && rc == 0 ? ps_node_find(h, td_cstr(d->node)) : NULL;
	struct xmpp_jid to = xmpp_jid_view(td_cstr(d->jid));

	(void)iq;
	if (n != NULL && d->pending)
		ps_ask_owners(n, to.full);
	else if (n != NULL && n->cfg.send_last != PSL_NEVER)
		ps_send_last(n, &to);
	free(d->node);
	free(d->jid);
	free(d);
	return false;
}

/* <configured>: options came with the request and are told (6.3.7). */
static void
subscribe_result(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s,
		 bool configured)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'>");
	write_subscription(&b, n->name, s->jid, (enum ps_state)s->state);
	td_buf_addz(&b, "><subscribe-options/></subscription>");
	if (configured) {
		td_buf_addz(&b, "<options>");
		options_form(&b, s, FORM_RESULT);
		td_buf_addz(&b, "</options>");
	}
	td_buf_addz(&b, "</pubsub>");
	ps_change_result(c, td_buf_str(&b));
	td_buf_fini(&b);
}

/* May this subscription be made?  False when answered with an error. */
static bool
may_subscribe(struct ps_req *r, const struct ps_sub *s)
{
	struct ps_refusal why;

	if (!ps_may_read(r->node, &r->s->from, true, &why)) {
		ps_error(r, why.e, why.condition);
		return false;
	}
	if (!r->node->cfg.subscribe) {
		ps_unsupported(r, "subscribe");
		return false;
	}
	if (s != NULL && s->state == PSS_PENDING) {
		ps_error(r, XE_NOT_AUTHORIZED, "pending-subscription");
		return false;
	}
	if (s == NULL &&
	    r->node->subs_by_jid.len >= (uint64_t)ps_limit(r->host, "pubsub_max_subscriptions")) {
		ps_error_as(r, XE_POLICY_VIOLATION, "wait", "too-many-subscriptions");
		return false;
	}
	return true;
}

void
ps_do_subscribe(struct ps_req *r)
{
	const struct xmpp_node *o = xmpp_node_child(r->pubsub, NULL, "options");
	const struct xmpp_node *x = o != NULL ? xmpp_form_find(o) : NULL;
	struct ps_sub *s, probe = { .deliver = true, .shows = 0xff };
	struct subscribed *done;
	struct ps_change *c;
	struct xmpp_jid jid;
	struct ps_refusal why;
	bool pending, fresh;

	if (!own_jid(r, invalid_jid, &jid)) /* 6.1.3.1 */
		return;
	s = ps_node_sub(r->node, jid.full);
	fresh = s == NULL;
	if (o != NULL &&
	    (xmpp_node_attr(o, "node").p != NULL || xmpp_node_attr(o, "jid").p != NULL)) {
		ps_error(r, XE_BAD_REQUEST, NULL); /* 6.3.7 */
		return;
	}
	if (!may_subscribe(r, s))
		return;
	if (s != NULL)
		probe = *s;
	if (x != NULL && !options_apply(r->a, x, &probe)) {
		ps_error(r, XE_BAD_REQUEST, "invalid-options");
		return;
	}
	pending = s == NULL && !ps_may_read(r->node, &r->s->from, false, &why);
	c = ps_change_new(r->host, r->s);
	s = ps_node_set_sub(r->node, jid.full, pending ? PSS_PENDING : PSS_SUBSCRIBED);
	s->deliver = probe.deliver;
	s->shows = probe.shows;
	s->expire = probe.expire;
	keep_sub(c, r->node, s, jid.full);
	subscribe_result(c, r->node, s, x != NULL);
	if (fresh && !pending)
		ps_change_tell_owners(c, r->node, jid.full, PSS_SUBSCRIBED);
	done = td_zalloc(sizeof(*done));
	done->node = td_strndup(r->name);
	done->jid = td_strndup(jid.full);
	done->pending = pending;
	r->verdict = XMPP_LATER;
	ps_change_then(c, after_subscribe, done);
	ps_change_commit(c);
}

/* ---- unsubscribe (6.2) ---- */

void
ps_do_unsubscribe(struct ps_req *r)
{
	struct ps_change *c;
	struct xmpp_jid jid;
	struct td_buf b = { 0 };

	if (!own_jid(r, not_yours, &jid))
		return;
	if (ps_node_sub(r->node, jid.full) == NULL) {
		ps_error_as(r, XE_UNEXPECTED_REQUEST, "cancel", "not-subscribed");
		return;
	}
	c = ps_change_new(r->host, r->s); /* a subid means nothing here (6.2.3.5) */
	(void)ps_node_set_sub(r->node, jid.full, PSS_NONE);
	keep_sub(c, r->node, NULL, jid.full);
	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'>");
	write_subscription(&b, r->name, jid.full, PSS_NONE);
	td_buf_addz(&b, "/></pubsub>");
	ps_change_result(c, td_buf_str(&b));
	td_buf_fini(&b);
	ps_change_tell_owners(c, r->node, jid.full, PSS_NONE);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

/* ---- options ---- */

static struct ps_sub *
own_sub(struct ps_req *r)
{
	struct xmpp_jid jid;
	struct ps_sub *s;

	if (!own_jid(r, not_yours, &jid))
		return NULL;
	s = ps_node_sub(r->node, jid.full);
	if (s == NULL)
		ps_error_as(r, XE_UNEXPECTED_REQUEST, "modify", "not-subscribed");
	else if (xmpp_node_attr(r->what, "subid").len > 0)
		ps_error(r, XE_NOT_ACCEPTABLE, "invalid-subid");
	else
		return s;
	return NULL;
}

void
ps_get_options(struct ps_req *r)
{
	const struct ps_sub *s = own_sub(r);
	struct td_buf b = { 0 };

	if (s == NULL)
		return;
	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><options node='");
	td_buf_add_xml(&b, r->name);
	td_buf_addz(&b, "' jid='");
	td_buf_add_xml(&b, s->jid);
	td_buf_addz(&b, "'>");
	options_form(&b, s, FORM_FORM);
	td_buf_addz(&b, "</options></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_set_options(struct ps_req *r)
{
	struct ps_sub *s = own_sub(r);
	const struct xmpp_node *x = xmpp_form_find(r->what);
	struct ps_change *c;

	if (s == NULL)
		return;
	if (x == NULL) {
		ps_error(r, XE_BAD_REQUEST, "invalid-options");
		return;
	}
	if (td_str_eqc(xmpp_node_attr(x, "type"), "cancel")) {
		ps_result(r, TD_STR_NULL);
		return;
	}
	if (!options_apply(r->a, x, s)) {
		ps_error(r, XE_BAD_REQUEST, "invalid-options");
		return;
	}
	c = ps_change_new(r->host, r->s);
	keep_sub(c, r->node, s, s->jid);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

void
ps_get_default_options(struct ps_req *r)
{
	const struct ps_sub s = { .deliver = true, .shows = 0xff };
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><default");
	if (r->name.len > 0) {
		td_buf_addz(&b, " node='");
		td_buf_add_xml(&b, r->name);
		td_buf_addc(&b, '\'');
	}
	td_buf_addc(&b, '>');
	options_form(&b, &s, FORM_FORM);
	td_buf_addz(&b, "</default></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

/* ---- lists of one's own (5.6, 5.7) ---- */

static void
own_subscriptions(const struct ps_node *n, const struct xmpp_jid *who, struct td_buf *b)
{
	const struct ps_sub *s;

	LIST_FOREACH(s, &n->subs, link)
	{
		struct xmpp_jid j = xmpp_jid_view(s->jid);

		if (!td_str_eq(j.bare, who->bare))
			continue;
		write_subscription(b, n->name, s->jid, (enum ps_state)s->state);
		td_buf_addz(b, "/>");
	}
}

static void
own_affiliation(const struct ps_node *n, const struct xmpp_jid *who, struct td_buf *b)
{
	enum ps_affiliation af = ps_affiliation(n, who);

	if (af == PSF_NONE)
		return;
	td_buf_addz(b, "<affiliation node='");
	td_buf_add_xml(b, n->name);
	td_buf_addf(b, "' affiliation='%s'/>", ps_affiliation_name(af));
}

static void
own_list(struct ps_req *r, const char *element,
	 void (*write)(const struct ps_node *n, const struct xmpp_jid *who, struct td_buf *b))
{
	const struct ps_node *n;
	struct td_buf b = { 0 };
	size_t i = 0;

	if (r->name.len > 0 && r->node == NULL) {
		ps_error(r, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	td_buf_addf(&b, "<pubsub xmlns='" NS_PUBSUB "'><%s", element);
	if (r->name.len > 0) {
		td_buf_addz(&b, " node='");
		td_buf_add_xml(&b, r->name);
		td_buf_addc(&b, '\'');
	}
	td_buf_addc(&b, '>');
	while ((n = td_map_next(&r->host->nodes, &i)) != NULL)
		if (r->node == NULL || n == r->node)
			write(n, &r->s->from, &b);
	td_buf_addf(&b, "</%s></pubsub>", element);
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_get_subscriptions(struct ps_req *r)
{
	own_list(r, "subscriptions", own_subscriptions);
}

void
ps_get_affiliations(struct ps_req *r)
{
	own_list(r, "affiliations", own_affiliation);
}

/* ---- the owner's list (8.8) ---- */

void
ps_owner_get_subscriptions(struct ps_req *r)
{
	const struct ps_sub *s;
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB_OWNER "'><subscriptions node='");
	td_buf_add_xml(&b, r->name);
	td_buf_addz(&b, "'>");
	LIST_FOREACH(s, &r->node->subs, link)
	{
		if (s->state == PSS_PENDING)
			continue;
		td_buf_addz(&b, "<subscription jid='");
		td_buf_add_xml(&b, s->jid);
		td_buf_addf(&b, "' subscription='%s'/>", ps_state_name(s->state));
	}
	td_buf_addz(&b, "</subscriptions></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

/* One <subscription/> of an owner's list.  False: it is none; *to = -1: it cannot be that. */
static bool
read_subscription(struct ps_req *r, const struct xmpp_node *e, struct xmpp_jid *jid, int *to)
{
	struct td_str state = xmpp_node_attr(e, "subscription");
	const struct ps_sub *s;

	if (strcmp(e->name, "subscription") != 0 ||
	    xmpp_jid_parse(r->a, xmpp_node_attr(e, "jid"), jid, NULL) < 0)
		return false;
	s = ps_node_sub(r->node, jid->full);
	*to = state.p != NULL ? ps_state_of(state) : s != NULL ? s->state : PSS_NONE;
	if (*to == PSS_UNCONFIGURED)
		*to = -1;
	return true;
}

/* 8.8.2.4: what cannot be is given back as it is; all else is done. */
void
ps_owner_set_subscriptions(struct ps_req *r)
{
	const struct xmpp_node *first = xmpp_node_child(r->what, NULL, NULL), *e;
	struct ps_change *c;
	struct xmpp_jid jid;
	struct td_buf bad = { 0 };
	unsigned n = 0;
	int to;

	for (e = first; e != NULL; e = xmpp_node_next_elem(e), n++)
		if (!read_subscription(r, e, &jid, &to)) {
			ps_error(r, XE_NOT_ACCEPTABLE, NULL);
			return;
		}
	if (r->node->subs_by_jid.len + n >
	    (uint64_t)ps_limit(r->host, "pubsub_max_subscriptions") + 1) {
		ps_error_as(r, XE_POLICY_VIOLATION, "wait", "too-many-subscriptions");
		return;
	}
	c = ps_change_new(r->host, r->s);
	for (e = first; e != NULL; e = xmpp_node_next_elem(e)) {
		struct ps_sub *s;
		enum ps_state was;

		(void)read_subscription(r, e, &jid, &to);
		s = ps_node_sub(r->node, jid.full);
		was = s != NULL ? (enum ps_state)s->state : PSS_NONE;
		if (to < 0) {
			td_buf_addz(&bad, "<subscription jid='");
			td_buf_add_xml(&bad, jid.full);
			td_buf_addf(&bad, "' subscription='%s'/>", ps_state_name(was));
		} else if ((enum ps_state)to != was) {
			keep_sub(c, r->node, ps_node_set_sub(r->node, jid.full, (enum ps_state)to),
				 jid.full);
			tell_state(c, r->node, jid.full, (enum ps_state)to);
		}
	}
	ps_change_failed(c, r, "subscriptions", td_buf_str(&bad));
	td_buf_fini(&bad);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}
