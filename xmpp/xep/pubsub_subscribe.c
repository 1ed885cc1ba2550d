/* pubsub_subscribe - what a subscriber asks: subscribe, unsubscribe, options, lists of its own (XEP-0060 5.6, 5.7, 6);
 * and the owner's list of subscribers (8.8). */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"

#define FORM_OPTIONS NS_PUBSUB "#subscribe_options"
#define SUBS_EACH 20u /* of one address at one node */

/* ---- options of a subscription (6.3) ---- */

#define FREQUENCY_MIN 1000
#define FREQUENCY_MAX INT64_C(2592000000)

/* In the order of enum xmpp_show. */
static const struct xmpp_form_option shows[SHOW_COUNT + 1] = {
	{ "away", "Away" },        { "chat", "Free for chat" }, { "dnd", "Do not disturb" },
	{ "online", "Available" }, { "xa", "Extended away" },   { NULL, NULL }
};

static void
options_form(struct td_buf *b, const struct ps_sub_options *o, enum xmpp_form_kind kind)
{
	struct td_str values[SHOW_COUNT], expire = TD_STR_NULL;
	size_t n = 0;
	char stamp[32];

	xmpp_form_open(b, kind, FORM_OPTIONS);
	xmpp_form_add_bool(b, "pubsub#deliver", "Receive notifications", o->deliver);
	xmpp_form_add_bool(b, "pubsub#digest", "Receive digests", o->digest);
	xmpp_form_add_int(b, "text-single", "pubsub#digest_frequency",
			  "Milliseconds between two digests", o->frequency);
	xmpp_form_add_bool(b, "pubsub#include_body", "Receive a message body", false);
	for (unsigned i = 0; i < SHOW_COUNT; i++)
		if (o->shows & (1u << i))
			values[n++] = td_cstr(shows[i].value);
	xmpp_form_add(b, "list-multi", "pubsub#show-values", "Presence to be notified in", values,
		      n, shows);
	if (o->expire == PS_WHILE_ONLINE) {
		expire = TD_STR("presence");
	} else if (o->expire > 0) {
		td_stamp(o->expire, stamp);
		expire = td_cstr(stamp);
	}
	xmpp_form_add1(b, "text-single", "pubsub#expire", "When the subscription ends", expire);
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

		while (k < SHOW_COUNT && !td_str_eqc(field->values[i], shows[k].value))
			k++;
		if (k == SHOW_COUNT)
			return false;
		bits |= (uint8_t)(1u << k);
	}
	*out = bits;
	return true;
}

static bool
read_expire(const struct xmpp_form *f, uint64_t *out)
{
	struct td_str v = xmpp_form_value(f, "pubsub#expire");

	if (v.len == 0) {
		*out = v.p != NULL ? 0 : *out;
		return true;
	}
	if (td_str_eqc(v, "presence")) {
		*out = PS_WHILE_ONLINE;
		return true;
	}
	return td_stamp_parse(v, out) && *out > td_wall_ms() && *out != PS_WHILE_ONLINE;
}

/* Take over what was submitted for a subscription of <who>.  Bodies are not made, and presence is only known of accounts here:
 * asking for more is an error (6.3.6.2). */
static bool
options_apply(struct ps_req *r, const struct xmpp_node *x, const struct xmpp_jid *who,
	      struct ps_sub_options *out)
{
	struct ps_sub_options o = *out;
	int64_t frequency = o.frequency;
	struct xmpp_form f;
	bool body = false;

	if (xmpp_form_read(r->a, x, &f) < 0 || f.kind != FORM_SUBMIT ||
	    (f.type.p != NULL && !td_str_eqc(f.type, FORM_OPTIONS)) ||
	    !xmpp_form_bool(&f, "pubsub#deliver", &o.deliver) ||
	    !xmpp_form_bool(&f, "pubsub#digest", &o.digest) ||
	    !xmpp_form_int(&f, "pubsub#digest_frequency", 0, FREQUENCY_MAX, &frequency) ||
	    !xmpp_form_bool(&f, "pubsub#include_body", &body) || body ||
	    !read_shows(&f, &o.shows) || !read_expire(&f, &o.expire))
		return false;
	if ((o.shows != PS_ALL_SHOWS || o.expire == PS_WHILE_ONLINE) &&
	    (who->local.p == NULL ||
	     r->host->env->host->domain(r->host->env, who->domain) != XD_LOCAL))
		return false;
	o.frequency = (uint32_t)(frequency < FREQUENCY_MIN ? FREQUENCY_MIN : frequency);
	if (o.digest && !out->digest)
		o.digested = td_wall_ms();
	*out = o;
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

/* <in_list>: the list it is in says which node. */
static void
write_subscription(struct td_buf *b, const struct ps_node *n, const struct ps_sub *s,
		   enum ps_state state, bool in_list)
{
	td_buf_addz(b, "<subscription");
	if (!in_list)
		td_buf_add_attr(b, "node", n->name);
	td_buf_add_attr(b, "jid", s->jid);
	td_buf_add_attr(b, "subscription", td_cstr(ps_state_name(state)));
	if (ps_tells_subid(n, s))
		td_buf_add_attr(b, "subid", s->id);
}

/* As it is in memory, or <gone>: it will not be. */
static void
keep_sub(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s, bool gone)
{
	struct td_arena *a = ps_change_arena(c);
	struct td_buf b = { 0 };

	ps_sub_write(s, &b);
	ps_change_add(c, &(struct store_ps_change){ .verb = PS_SUBSCRIPTION,
						    .node = n->name,
						    .key = td_arena_str(a, s->jid),
						    .who = td_arena_str(a, s->id),
						    .value = td_arena_str(a, td_buf_str(&b)),
						    .n = gone ? PSS_NONE : s->state });
	td_buf_fini(&b);
}

void
ps_change_sub_options(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s)
{
	keep_sub(c, n, s, false);
}

/* Tell who has it what its subscription is now (8.8.4, 12.14). */
static void
tell_state(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s,
	   enum ps_state state)
{
	struct xmpp_jid to = xmpp_jid_view(s->jid);
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'>");
	write_subscription(&b, n, s, state, false);
	td_buf_addz(&b, "/></event>");
	ps_change_tell(c, &to, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_change_subscription(struct ps_change *c, struct ps_node *n, struct ps_sub *s, enum ps_state to)
{
	if (to != PSS_NONE)
		s->state = (uint8_t)to;
	keep_sub(c, n, s, to == PSS_NONE);
	tell_state(c, n, s, to);
	if (to == PSS_NONE)
		ps_node_drop_sub(n, s);
}

void
ps_change_tell_owners(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s,
		      enum ps_state state)
{
	const struct ps_affil *af;
	struct td_buf b = { 0 };
	size_t i = 0;

	if (!n->cfg.notify_sub)
		return;
	td_buf_addz(&b, "<event xmlns='" NS_PUBSUB_EVENT "'>");
	write_subscription(&b, n, s, state, false);
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

/* Which of those with the JID of <s> has the id that the request names: NULL when answered with an error. */
static struct ps_sub *
named_sub(struct ps_req *r, struct ps_sub *s)
{
	struct td_str id = xmpp_node_attr(r->what, "subid");

	if (id.len == 0 && s->next != NULL) {
		ps_error(r, XE_BAD_REQUEST, "subid-required");
		return NULL;
	}
	if (id.len > 0 && (s = ps_node_sub_id(r->node, s->jid, id)) == NULL)
		ps_error(r, XE_NOT_ACCEPTABLE, "invalid-subid");
	return s;
}

/* The subscription of its own that a request is about; NULL when answered with an error, that about none being of <type>.
 * <lenient>: one whose id was not told may be named by any. */
static struct ps_sub *
own_sub(struct ps_req *r, const char *type, bool lenient)
{
	struct xmpp_jid jid;
	struct ps_sub *s;

	if (!own_jid(r, not_yours, &jid))
		return NULL;
	s = ps_node_sub(r->node, jid.full);
	if (s == NULL) {
		ps_error_as(r, XE_UNEXPECTED_REQUEST, type, "not-subscribed");
		return NULL;
	}
	return lenient && !ps_tells_subid(r->node, s) ? s : named_sub(r, s);
}

bool
ps_check_subid(struct ps_req *r)
{
	struct ps_sub *bare = ps_node_sub(r->node, r->s->from.bare),
		      *full = ps_node_sub(r->node, r->s->from.full);
	struct td_str id = xmpp_node_attr(r->what, "subid");

	if (bare == NULL)
		bare = full;
	if (bare == NULL || !ps_tells_subid(r->node, bare))
		return true;
	if (full != NULL && id.len > 0 && ps_node_sub_id(r->node, full->jid, id) != NULL)
		return true;
	return named_sub(r, bare) != NULL;
}

/* ---- subscribe (6.1) ---- */

struct subscribed {
	struct td_str node, jid, id; /* in it */
	char text[];
};

static bool
after_options(struct ps_host *h, struct xmpp_stanza *iq, int rc, void *arg)
{
	struct subscribed *d = arg;
	struct ps_node *n = h != NULL && rc == 0 ? ps_node_find(h, d->node) : NULL;
	const struct ps_sub *s = n != NULL ? ps_node_sub_id(n, d->jid, d->id) : NULL;

	(void)iq;
	if (s != NULL && s->opt.expire == PS_WHILE_ONLINE)
		ps_watch(h, d->jid, true);
	free(d);
	return false;
}

static bool
after_subscribe(struct ps_host *h, struct xmpp_stanza *iq, int rc, void *arg)
{
	struct subscribed *d = arg;
	struct ps_node *n = h != NULL && rc == 0 ? ps_node_find(h, d->node) : NULL;
	const struct ps_sub *s = n != NULL ? ps_node_sub_id(n, d->jid, d->id) : NULL;
	struct xmpp_jid to = xmpp_jid_view(d->jid);

	if (s != NULL && s->state == PSS_PENDING)
		ps_ask_owners(n, s);
	else if (s != NULL && n->cfg.send_last != PSL_NEVER)
		ps_send_last(n, &to);
	return after_options(h, iq, rc, arg);
}

static struct subscribed *
subscribed_new(const struct ps_node *n, const struct ps_sub *s)
{
	struct subscribed *d = td_zalloc(sizeof(*d) + n->name.len + s->jid.len + s->id.len);

	memcpy(d->text, n->name.p, n->name.len);
	memcpy(d->text + n->name.len, s->jid.p, s->jid.len);
	memcpy(d->text + n->name.len + s->jid.len, s->id.p, s->id.len);
	d->node = td_str(d->text, n->name.len);
	d->jid = td_str(d->text + n->name.len, s->jid.len);
	d->id = td_str(d->jid.p + s->jid.len, s->id.len);
	return d;
}

/* <configured>: options came with the request and are told (6.3.7). */
static void
subscribe_result(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s,
		 bool configured)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'>");
	write_subscription(&b, n, s, (enum ps_state)s->state, false);
	td_buf_addz(&b, "><subscribe-options/></subscription>");
	if (configured) {
		td_buf_addz(&b, "<options>");
		options_form(&b, &s->opt, FORM_RESULT);
		td_buf_addz(&b, "</options>");
	}
	td_buf_addz(&b, "</pubsub>");
	ps_change_result(c, td_buf_str(&b));
	td_buf_fini(&b);
}

/* May this subscription be made?  False when answered with an error.  <s>: those the address has; <another>: it will have
 * one more. */
static bool
may_subscribe(struct ps_req *r, const struct ps_sub *s, bool another)
{
	struct ps_refusal why;
	unsigned n = 0;

	if (!ps_may_read(r->node, &r->s->from, true, &why)) {
		ps_error(r, why.e, why.condition);
		return false;
	}
	if (!r->node->cfg.subscribe) {
		ps_unsupported(r, "subscribe");
		return false;
	}
	for (; s != NULL; s = s->next, n++)
		if (s->state == PSS_PENDING) {
			ps_error(r, XE_NOT_AUTHORIZED, "pending-subscription");
			return false;
		}
	if (another && (n >= SUBS_EACH ||
			r->node->n_subs >= (size_t)ps_limit(r->host, "pubsub_max_subscriptions"))) {
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
	struct ps_sub_options opt = ps_sub_defaults;
	struct ps_sub *s;
	struct ps_change *c;
	struct xmpp_jid jid;
	struct ps_refusal why;
	bool pending, another;

	if (!own_jid(r, invalid_jid, &jid)) /* 6.1.3.1 */
		return;
	s = ps_node_sub(r->node, jid.full);
	another = s == NULL || ps_is_multi(r->host->env, xmpp_jid_view(r->host->jid).domain);
	if (o != NULL &&
	    (xmpp_node_attr(o, "node").p != NULL || xmpp_node_attr(o, "jid").p != NULL)) {
		ps_error(r, XE_BAD_REQUEST, NULL); /* 6.3.7 */
		return;
	}
	if (!may_subscribe(r, s, another))
		return;
	if (!another)
		opt = s->opt;
	if (x != NULL && !options_apply(r, x, &jid, &opt)) {
		ps_error(r, XE_BAD_REQUEST, "invalid-options");
		return;
	}
	pending = s == NULL && !ps_may_read(r->node, &r->s->from, false, &why);
	c = ps_change_new(r->host, r->s);
	if (another)
		s = ps_node_add_sub(r->node, jid.full, TD_STR_NULL,
				    pending ? PSS_PENDING : PSS_SUBSCRIBED);
	s->opt = opt;
	ps_sub_changed(r->node, s);
	keep_sub(c, r->node, s, false);
	subscribe_result(c, r->node, s, x != NULL);
	if (another && !pending)
		ps_change_tell_owners(c, r->node, s, PSS_SUBSCRIBED);
	r->verdict = XMPP_LATER;
	ps_change_then(c, after_subscribe, subscribed_new(r->node, s));
	ps_change_commit(c);
}

/* ---- unsubscribe (6.2) ---- */

void
ps_do_unsubscribe(struct ps_req *r)
{
	/* who was told no id may say anything (6.2.3.5) */
	struct ps_sub *s = own_sub(r, "cancel", true);
	struct ps_change *c;
	struct td_buf b = { 0 };

	if (s == NULL)
		return;
	c = ps_change_new(r->host, r->s);
	keep_sub(c, r->node, s, true);
	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'>");
	write_subscription(&b, r->node, s, PSS_NONE, false);
	td_buf_addz(&b, "/></pubsub>");
	ps_change_result(c, td_buf_str(&b));
	td_buf_fini(&b);
	ps_change_tell_owners(c, r->node, s, PSS_NONE);
	ps_node_drop_sub(r->node, s);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

/* ---- options ---- */

void
ps_get_options(struct ps_req *r)
{
	const struct ps_sub *s = own_sub(r, "modify", false);
	struct td_buf b = { 0 };

	if (s == NULL)
		return;
	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><options");
	td_buf_add_attr(&b, "node", r->name);
	td_buf_add_attr(&b, "jid", s->jid);
	if (ps_tells_subid(r->node, s))
		td_buf_add_attr(&b, "subid", s->id);
	td_buf_addc(&b, '>');
	options_form(&b, &s->opt, FORM_FORM);
	td_buf_addz(&b, "</options></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_set_options(struct ps_req *r)
{
	struct ps_sub *s = own_sub(r, "modify", false);
	struct xmpp_jid who;
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
	who = xmpp_jid_view(s->jid);
	if (!options_apply(r, x, &who, &s->opt)) {
		ps_error(r, XE_BAD_REQUEST, "invalid-options");
		return;
	}
	c = ps_change_new(r->host, r->s);
	ps_sub_changed(r->node, s);
	keep_sub(c, r->node, s, false);
	r->verdict = XMPP_LATER;
	ps_change_then(c, after_options, subscribed_new(r->node, s));
	ps_change_commit(c);
}

void
ps_get_default_options(struct ps_req *r)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><default");
	if (r->name.len > 0) {
		td_buf_addz(&b, " node='");
		td_buf_add_xml(&b, r->name);
		td_buf_addc(&b, '\'');
	}
	td_buf_addc(&b, '>');
	options_form(&b, &ps_sub_defaults, FORM_FORM);
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
		write_subscription(b, n, s, (enum ps_state)s->state, false);
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
		write_subscription(&b, r->node, s, (enum ps_state)s->state, true);
		td_buf_addz(&b, "/>");
	}
	td_buf_addz(&b, "</subscriptions></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

/* One <subscription/> of an owner's list. */
struct wanted {
	struct xmpp_jid jid;
	struct td_str id; /* none: all that the address has */
	int state;        /* -1: no state; PSS_COUNT: as it is */
};

/* False: it is none. */
static bool
read_wanted(struct ps_req *r, const struct xmpp_node *e, struct wanted *out)
{
	struct td_str state = xmpp_node_attr(e, "subscription");

	if (strcmp(e->name, "subscription") != 0 ||
	    xmpp_jid_parse(r->a, xmpp_node_attr(e, "jid"), &out->jid, NULL) < 0)
		return false;
	out->id = xmpp_node_attr(e, "subid");
	out->state = state.p != NULL ? ps_state_of(state) : PSS_COUNT;
	if (out->state == PSS_UNCONFIGURED)
		out->state = -1;
	return true;
}

/* A request that cannot be, given back with what is. */
static void
give_back(struct td_buf *bad, const struct ps_node *n, const struct wanted *w)
{
	const struct ps_sub *s = ps_node_sub(n, w->jid.full);

	if (w->id.len > 0)
		s = ps_node_sub_id(n, w->jid.full, w->id);
	td_buf_addz(bad, "<subscription");
	td_buf_add_attr(bad, "jid", w->jid.full);
	td_buf_add_attr(bad, "subscription",
			td_cstr(ps_state_name(s != NULL ? (enum ps_state)s->state : PSS_NONE)));
	if (w->id.len > 0)
		td_buf_add_attr(bad, "subid", w->id);
	td_buf_addz(bad, "/>");
}

static void
owner_sets(struct ps_change *c, struct ps_node *n, const struct wanted *w, struct td_buf *bad)
{
	struct ps_sub *s = ps_node_sub(n, w->jid.full), *next;
	enum ps_state to = (enum ps_state)w->state;

	if (w->id.len > 0)
		s = ps_node_sub_id(n, w->jid.full, w->id);
	if (w->state < 0 || (s == NULL && w->id.len > 0)) {
		give_back(bad, n, w);
		return;
	}
	if (w->state == PSS_COUNT)
		return;
	if (s == NULL && to != PSS_NONE) {
		s = ps_node_add_sub(n, w->jid.full, TD_STR_NULL, to);
		ps_change_subscription(c, n, s, to);
		return;
	}
	for (; s != NULL; s = next) {
		next = w->id.len > 0 ? NULL : s->next;
		if ((enum ps_state)s->state != to)
			ps_change_subscription(c, n, s, to);
	}
}

/* 8.8.2.4: what cannot be is given back as it is; all else is done. */
void
ps_owner_set_subscriptions(struct ps_req *r)
{
	const struct xmpp_node *first = xmpp_node_child(r->what, NULL, NULL), *e;
	struct ps_change *c;
	struct td_buf bad = { 0 };
	struct wanted w;
	size_t n = 0;

	for (e = first; e != NULL; e = xmpp_node_next_elem(e), n++)
		if (!read_wanted(r, e, &w)) {
			ps_error(r, XE_NOT_ACCEPTABLE, NULL);
			return;
		}
	if (r->node->n_subs + n > (size_t)ps_limit(r->host, "pubsub_max_subscriptions") + 1) {
		ps_error_as(r, XE_POLICY_VIOLATION, "wait", "too-many-subscriptions");
		return;
	}
	c = ps_change_new(r->host, r->s);
	for (e = first; e != NULL; e = xmpp_node_next_elem(e)) {
		(void)read_wanted(r, e, &w);
		owner_sets(c, r->node, &w, &bad);
	}
	ps_change_failed(c, r, "subscriptions", td_buf_str(&bad));
	td_buf_fini(&bad);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}
