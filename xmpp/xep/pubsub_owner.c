/* pubsub_owner - what a node's owner asks: create, configure, affiliations, purge, delete (XEP-0060 8). */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"

#define FORM_CONFIG NS_PUBSUB "#node_config"

/* The form below <parent>, of the right type: 1; none, or an empty one: 0; answered with an error: -1. */
static int
read_form(struct ps_req *r, const struct xmpp_node *parent, struct xmpp_form *f)
{
	const struct xmpp_node *x = parent != NULL ? xmpp_form_find(parent) : NULL;

	if (x == NULL)
		return 0;
	if (xmpp_form_read(r->a, x, f) < 0 || (f->kind != FORM_SUBMIT && f->kind != FORM_CANCEL) ||
	    (f->type.p != NULL && !td_str_eqc(f->type, FORM_CONFIG))) {
		ps_error(r, XE_BAD_REQUEST, NULL);
		return -1;
	}
	return 1;
}

/* Store the configuration it has in memory: <verb> is PS_NODE_ADD or PS_NODE_SET. */
static void
change_config(struct ps_change *c, enum store_ps_verb verb, const struct ps_node *n)
{
	struct td_buf b = { 0 };

	ps_config_write(&n->cfg, &b);
	ps_change_add(c, &(struct store_ps_change){
				 .verb = verb,
				 .node = n->name,
				 .value = td_arena_str(ps_change_arena(c), td_buf_str(&b)) });
	td_buf_fini(&b);
}

static void
set_affiliation(struct ps_change *c, struct ps_node *n, struct td_str bare, enum ps_affiliation a)
{
	ps_node_set_affiliation(n, bare, a);
	ps_change_add(c, &(struct store_ps_change){ .verb = PS_AFFILIATION,
						    .node = n->name,
						    .key = td_arena_str(ps_change_arena(c), bare),
						    .n = a });
}

/* ---- create (8.1) ---- */

bool
ps_may_make_node(struct ps_req *r)
{
	if (!ps_may_create(r->host, &r->s->from)) {
		if (ps_is_stranger(r->host, &r->s->from))
			r->verdict = XMPP_PASS;
		else
			ps_error(r, XE_FORBIDDEN, NULL);
		return false;
	}
	if (r->node != NULL) {
		ps_error(r, XE_CONFLICT, NULL);
		return false;
	}
	if (r->name.len > PS_NAME_MAX) {
		ps_error(r, XE_NOT_ACCEPTABLE, NULL);
		return false;
	}
	if (r->host->nodes.len >= (uint64_t)ps_limit(r->host, "pubsub_max_nodes")) {
		ps_error(r, XE_RESOURCE_CONSTRAINT, "max-nodes-exceeded");
		return false;
	}
	return true;
}

struct ps_node *
ps_change_make_node(struct ps_change *c, struct td_str name, const struct ps_config *cfg)
{
	struct ps_node *n = ps_node_add(((struct ps_call *)c)->host, name, cfg);

	change_config(c, PS_NODE_ADD, n);
	if (!n->host->pep)
		set_affiliation(c, n, cfg->creator, PSF_OWNER);
	return n;
}

void
ps_do_create(struct ps_req *r)
{
	struct td_str name = r->name;
	struct xmpp_form f;
	struct ps_config cfg;
	struct ps_change *c;
	struct td_buf b = { 0 };
	const char *why;
	const struct xmpp_node *conf = xmpp_node_child(r->pubsub, NULL, "configure");
	char made[25];
	int form;

	if (!ps_may_make_node(r))
		return;
	if (td_str_eqc(xmpp_node_attr(r->what, "type"), "collection")) {
		ps_error(r, XE_NOT_ACCEPTABLE, NULL);
		return;
	}
	if (name.len == 0) { /* an instant node (8.1.2) */
		td_random_id(made, 24);
		name = td_cstr(made);
	}
	if (conf != NULL && xmpp_node_attr(conf, "node").p != NULL) { /* 8.1.3 */
		ps_error(r, XE_BAD_REQUEST, NULL);
		return;
	}
	ps_config_default(r->host, name, &cfg);
	cfg.creator = r->s->from.bare;
	form = read_form(r, conf, &f);
	if (form < 0)
		return;
	if (form > 0 && f.kind == FORM_SUBMIT &&
	    !ps_config_apply(r->a, r->host, name, &f, false, &cfg, &why)) {
		ps_error(r, XE_NOT_ACCEPTABLE, why);
		return;
	}
	c = ps_change_new(r->host, r->s);
	(void)ps_change_make_node(c, name, &cfg);
	if (r->name.len == 0) {
		td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><create node='");
		td_buf_add_xml(&b, name);
		td_buf_addz(&b, "'/></pubsub>");
		ps_change_result(c, td_buf_str(&b));
		td_buf_fini(&b);
	}
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

/* ---- configure (8.2, 8.3) ---- */

void
ps_get_config(struct ps_req *r)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB_OWNER "'><configure node='");
	td_buf_add_xml(&b, r->name);
	td_buf_addz(&b, "'>");
	ps_config_form(&r->node->cfg, FORM_FORM, &b);
	td_buf_addz(&b, "</configure></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

/* What a subscription has to be now that who may read is different: whoever may not is subscribed no more, a request
 * of one who need not ask is granted (8.7.4). */
static enum ps_state
right_state(const struct ps_node *n, const struct ps_sub *s)
{
	struct xmpp_jid who = xmpp_jid_view(s->jid);
	enum ps_affiliation af = ps_affiliation(n, &who);
	struct ps_refusal why;

	/* asked before each event */
	if (ps_needs_trust(n) && s->state == PSS_SUBSCRIBED && af != PSF_OUTCAST &&
	    af != PSF_PUBLISH_ONLY)
		return PSS_SUBSCRIBED;
	if (s->state != PSS_PENDING)
		return ps_may_read(n, &who, false, &why) ? (enum ps_state)s->state : PSS_NONE;
	if (af == PSF_OUTCAST || !ps_may_read(n, &who, true, &why))
		return PSS_NONE;
	return ps_may_read(n, &who, false, &why) ? PSS_SUBSCRIBED : PSS_PENDING;
}

static void
recheck_subscriptions(struct ps_change *c, struct ps_node *n)
{
	struct ps_sub *s, *next;

	for (s = LIST_FIRST(&n->subs); s != NULL; s = next) {
		enum ps_state to = right_state(n, s);

		next = LIST_NEXT(s, link);
		if (to != (enum ps_state)s->state)
			ps_change_subscription(c, n, s, to);
	}
}

static void
config_event(struct ps_change *c, struct ps_node *n)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<configuration node='");
	td_buf_add_xml(&b, n->name);
	td_buf_addz(&b, "'>");
	if (n->cfg.deliver_payloads)
		ps_config_form(&n->cfg, FORM_RESULT, &b);
	td_buf_addz(&b, "</configuration>");
	ps_change_event(c, n, td_buf_str(&b));
	td_buf_fini(&b);
}

void
ps_set_config(struct ps_req *r)
{
	struct ps_config cfg = r->node->cfg;
	struct xmpp_form f;
	struct ps_change *c;
	const char *why;
	int form = read_form(r, r->what, &f);

	if (form < 0)
		return;
	if (form == 0) {
		ps_error(r, XE_BAD_REQUEST, NULL);
		return;
	}
	if (f.kind == FORM_CANCEL) {
		ps_result(r, TD_STR_NULL);
		return;
	}
	if (!ps_config_apply(r->a, r->host, r->name, &f, false, &cfg, &why)) {
		ps_error(r, XE_NOT_ACCEPTABLE, why);
		return;
	}
	c = ps_change_new(r->host, r->s);
	ps_node_set_config(r->node, &cfg);
	change_config(c, PS_NODE_SET, r->node);
	ps_change_trim(c, r->node);
	if (cfg.notify_config)
		config_event(c, r->node);
	recheck_subscriptions(c, r->node);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

void
ps_get_default(struct ps_req *r)
{
	struct ps_config cfg;
	struct td_buf b = { 0 };

	if (td_str_eqc(xmpp_node_attr(r->what, "type"), "collection")) {
		ps_unsupported(r, "collections");
		return;
	}
	ps_config_default(r->host, TD_STR(""), &cfg);
	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB_OWNER "'><default>");
	ps_config_form(&cfg, FORM_FORM, &b);
	td_buf_addz(&b, "</default></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

/* ---- purge and delete (8.4, 8.5) ---- */

void
ps_do_purge(struct ps_req *r)
{
	struct ps_change *c;
	struct td_buf b = { 0 };

	if (!ps_keeps_items(r))
		return;
	c = ps_change_new(r->host, r->s);
	ps_change_add(c, &(struct store_ps_change){ .verb = PS_PURGE, .node = r->node->name });
	if (r->node->cfg.notify_retract) {
		td_buf_addz(&b, "<purge node='");
		td_buf_add_xml(&b, r->name);
		td_buf_addz(&b, "'/>");
		ps_change_event(c, r->node, td_buf_str(&b));
		td_buf_fini(&b);
	}
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

void
ps_do_delete(struct ps_req *r)
{
	const struct xmpp_node *redirect = xmpp_node_child(r->what, NULL, "redirect");
	struct ps_change *c = ps_change_new(r->host, r->s);
	struct td_buf b = { 0 };

	ps_change_add(c, &(struct store_ps_change){
				 .verb = PS_NODE_DEL,
				 .node = td_arena_str(ps_change_arena(c), r->node->name) });
	if (r->node->cfg.notify_delete) {
		td_buf_addz(&b, "<delete node='");
		td_buf_add_xml(&b, r->name);
		td_buf_addz(&b, "'>");
		if (redirect != NULL && xmpp_node_attr(redirect, "uri").len > 0) {
			td_buf_addz(&b, "<redirect uri='");
			td_buf_add_xml(&b, xmpp_node_attr(redirect, "uri"));
			td_buf_addz(&b, "'/>");
		}
		td_buf_addz(&b, "</delete>");
		ps_change_event(c, r->node, td_buf_str(&b));
		td_buf_fini(&b);
	}
	ps_node_remove(r->node);
	r->node = NULL;
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}

/* ---- affiliations (8.9) ---- */

static void
write_affiliation(struct td_buf *b, struct td_str jid, enum ps_affiliation a)
{
	td_buf_addz(b, "<affiliation jid='");
	td_buf_add_xml(b, jid);
	td_buf_addf(b, "' affiliation='%s'/>", ps_affiliation_name(a));
}

void
ps_owner_get_affiliations(struct ps_req *r)
{
	const struct ps_affil *af;
	struct td_buf b = { 0 };
	size_t i = 0;

	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB_OWNER "'><affiliations node='");
	td_buf_add_xml(&b, r->name);
	td_buf_addz(&b, "'>");
	if (r->host->pep)
		write_affiliation(&b, r->host->jid, PSF_OWNER);
	while ((af = td_map_next(&r->node->affils, &i)) != NULL)
		write_affiliation(&b, af->jid, (enum ps_affiliation)af->affiliation);
	td_buf_addz(&b, "</affiliations></pubsub>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

/* One <affiliation/>; false: it is none.  *to = what it asks for, -1 = no affiliation there is. */
static bool
read_affiliation(struct ps_req *r, const struct xmpp_node *e, struct td_str *bare, int *to)
{
	struct td_str word = xmpp_node_attr(e, "affiliation");
	struct xmpp_jid jid;

	if (strcmp(e->name, "affiliation") != 0 ||
	    xmpp_jid_parse(r->a, xmpp_node_attr(e, "jid"), &jid, NULL) < 0)
		return false;
	*bare = jid.bare;
	*to = word.p != NULL ? ps_affiliation_of(word) : (int)ps_affiliation(r->node, &jid);
	return true;
}

static unsigned
owners(const struct ps_node *n)
{
	const struct ps_affil *af;
	unsigned count = 0;
	size_t i = 0;

	while ((af = td_map_next(&n->affils, &i)) != NULL)
		count += af->affiliation == PSF_OWNER;
	return count;
}

/* May <who> become <to>?  A node keeps an owner; an account stays the owner of what it publishes, and the only one. */
static bool
may_become(const struct ps_node *n, const struct xmpp_jid *who, int to)
{
	enum ps_affiliation was = ps_affiliation(n, who);

	if (to < 0)
		return false;
	if (n->host->pep)
		return td_str_eq(who->bare, n->host->jid) ? to == PSF_OWNER : to != PSF_OWNER;
	return was != PSF_OWNER || to == PSF_OWNER || owners(n) > 1;
}

static void
change_affiliation(struct ps_change *c, struct ps_node *n, struct td_str bare,
		   enum ps_affiliation to)
{
	struct xmpp_jid who = xmpp_jid_view(bare);
	struct td_buf b = { 0 };

	set_affiliation(c, n, bare, to);
	td_buf_addz(&b, "<pubsub xmlns='" NS_PUBSUB "'><affiliations node='");
	td_buf_add_xml(&b, n->name);
	td_buf_addz(&b, "'>");
	write_affiliation(&b, bare, to);
	td_buf_addz(&b, "</affiliations></pubsub>");
	ps_change_tell(c, &who, td_buf_str(&b));
	td_buf_fini(&b);
}

#define AFFILIATIONS_PER_REQUEST 200u
#define AFFILIATIONS_MAX 10000u

/* The request as a whole: well-formed, nobody twice (8.9.2.4), not too many. */
static bool
check_affiliations(struct ps_req *r)
{
	struct td_map seen = { 0 };
	struct td_str bare;
	size_t n = 0;
	int to, e = -1;

	for (const struct xmpp_node *i = xmpp_node_child(r->what, NULL, NULL); i != NULL && e < 0;
	     i = xmpp_node_next_elem(i))
		if (!read_affiliation(r, i, &bare, &to) || ++n > AFFILIATIONS_PER_REQUEST)
			e = XE_NOT_ACCEPTABLE;
		else if (td_map_set(&seen, bare, r) != NULL)
			e = XE_BAD_REQUEST;
	td_map_fini(&seen);
	if (e < 0 && r->node->affils.len + n > AFFILIATIONS_MAX)
		e = XE_NOT_ACCEPTABLE;
	if (e >= 0)
		ps_error(r, (enum xmpp_error)e, NULL);
	return e < 0;
}

/* 8.9.2.4: what cannot be is given back as it is; all else is done. */
void
ps_owner_set_affiliations(struct ps_req *r)
{
	struct td_buf bad = { 0 };
	struct ps_change *c;
	struct td_str bare;
	int to;

	if (!check_affiliations(r))
		return;
	c = ps_change_new(r->host, r->s);
	for (const struct xmpp_node *e = xmpp_node_child(r->what, NULL, NULL); e != NULL;
	     e = xmpp_node_next_elem(e)) {
		struct xmpp_jid who;
		enum ps_affiliation was;

		(void)read_affiliation(r, e, &bare, &to);
		who = xmpp_jid_view(bare);
		was = ps_affiliation(r->node, &who);
		if (!may_become(r->node, &who, to))
			write_affiliation(&bad, bare, was);
		else if (was != (enum ps_affiliation)to)
			change_affiliation(c, r->node, bare, (enum ps_affiliation)to);
	}
	recheck_subscriptions(c, r->node);
	ps_change_failed(c, r, "affiliations", td_buf_str(&bad));
	td_buf_fini(&bad);
	r->verdict = XMPP_LATER;
	ps_change_commit(c);
}
