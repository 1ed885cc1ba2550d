/* pubsub_pending - subscription requests and the owners who decide (XEP-0060 8.6, 8.7). */
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0050_adhoc.h"

#define FORM_AUTHORIZE NS_PUBSUB "#subscribe_authorization"

/* ---- asking the owners (8.6) ---- */

static void
authorize_form(struct td_buf *b, const struct ps_node *n, const struct ps_sub *s)
{
	xmpp_form_open(b, FORM_FORM, FORM_AUTHORIZE);
	xmpp_form_title(b, "Subscription request",
			"Allow this entity to subscribe to the node, or not.");
	xmpp_form_add1(b, "hidden", "pubsub#subid", NULL, s->id);
	xmpp_form_add1(b, "text-single", "pubsub#node", "Node", n->name);
	xmpp_form_add1(b, "jid-single", "pubsub#subscriber_jid", "Subscriber", s->jid);
	xmpp_form_add_bool(b, "pubsub#allow", "Allow the subscription?", false);
	xmpp_form_close(b);
}

static void
send_form(struct ps_host *h, const struct xmpp_jid *to, const struct ps_node *n,
	  const struct ps_sub *sub)
{
	struct xmpp_stanza *s = xmpp_stanza_new(XK_MESSAGE, XT_NORMAL);
	struct xmpp_jid from = xmpp_jid_view(h->jid);
	struct td_buf b = { 0 };
	char id[17];

	td_random_id(id, 16);
	authorize_form(&b, n, sub);
	xmpp_stanza_set_from(s, &from);
	xmpp_stanza_set_to(s, to);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	s->flags |= XF_NO_BOUNCE;
	xmpp_route(h->env, s);
	td_buf_fini(&b);
}

void
ps_ask_owners(struct ps_node *n, const struct ps_sub *s)
{
	const struct ps_affil *af;
	size_t i = 0;

	if (n->host->pep) {
		struct xmpp_jid to = xmpp_jid_view(n->host->jid);

		send_form(n->host, &to, n, s);
	}
	while ((af = td_map_next(&n->affils, &i)) != NULL)
		if (af->affiliation == PSF_OWNER) {
			struct xmpp_jid to = xmpp_jid_view(af->jid);

			send_form(n->host, &to, n, s);
		}
}

void
ps_send_pending(struct ps_host *h, const struct xmpp_jid *owner)
{
	const struct ps_node *n;
	const struct ps_sub *s;
	size_t i = 0;

	while ((n = td_map_next(&h->nodes, &i)) != NULL)
		LIST_FOREACH(s, &n->subs, link)
	if (s->state == PSS_PENDING)
		send_form(h, owner, n, s);
}

bool
ps_is_authorization(const struct xmpp_stanza *s)
{
	const struct xmpp_node *x = xmpp_form_find(s->root);

	if (x == NULL || s->type == XT_ERROR || !td_str_eqc(xmpp_node_attr(x, "type"), "submit"))
		return false;
	for (const struct xmpp_node *f = xmpp_node_child(x, NULL, "field"); f != NULL;
	     f = xmpp_node_next_elem(f))
		if (td_str_eqc(xmpp_node_attr(f, "var"), "FORM_TYPE")) {
			const struct xmpp_node *v = xmpp_node_child(f, NULL, "value");

			return v != NULL && v->first != NULL &&
			       td_str_eqc(v->first->text, FORM_AUTHORIZE);
		}
	return false;
}

/* The request that is meant.  Forms of old, and clients, leave the id out. */
static struct ps_sub *
pending_of(const struct ps_node *n, struct td_str jid, struct td_str id)
{
	struct ps_sub *s = id.len > 0 ? ps_node_sub_id(n, jid, id) : ps_node_sub(n, jid);

	while (s != NULL && s->state != PSS_PENDING)
		s = id.len > 0 ? NULL : s->next;
	return s;
}

bool
ps_authorization(struct ps_host *h, struct xmpp_stanza *s)
{
	struct td_arena *a = td_arena_new(1024);
	struct xmpp_form f;
	struct ps_change *c;
	struct xmpp_jid jid;
	struct ps_node *n;
	struct ps_sub *sub;
	bool allow = false;

	if (xmpp_form_read(a, xmpp_form_find(s->root), &f) < 0 ||
	    (n = ps_node_find(h, xmpp_form_value(&f, "pubsub#node"))) == NULL ||
	    !ps_is_owner(n, &s->from) ||
	    xmpp_jid_parse(a, xmpp_form_value(&f, "pubsub#subscriber_jid"), &jid, NULL) < 0 ||
	    (sub = pending_of(n, jid.full, xmpp_form_value(&f, "pubsub#subid"))) == NULL ||
	    !xmpp_form_bool(&f, "pubsub#allow", &allow)) {
		td_arena_free(a);
		return false;
	}
	c = ps_change_new(h, NULL);
	ps_change_subscription(c, n, sub, allow ? PSS_SUBSCRIBED : PSS_NONE);
	if (allow)
		ps_change_tell_owners(c, n, sub, PSS_SUBSCRIBED);
	ps_change_commit(c);
	if (allow && n->cfg.send_last != PSL_NEVER)
		ps_send_last(n, &jid);
	td_arena_free(a);
	return true;
}

/* ---- the command get-pending (8.7): stateless, the form says which node ---- */

#define NODE_PENDING NS_PUBSUB "#get-pending"

static unsigned
pending(const struct ps_node *n)
{
	const struct ps_sub *s;
	unsigned count = 0;

	LIST_FOREACH(s, &n->subs, link)
	count += s->state == PSS_PENDING;
	return count;
}

static void
open_command(struct ps_req *r, const char *status, struct td_buf *b)
{
	struct td_str session = xmpp_node_attr(r->pubsub, "sessionid");
	char made[17];

	if (session.len == 0) {
		td_random_id(made, 16);
		session = td_cstr(made);
	}
	td_buf_addf(b, "<command xmlns='" NS_COMMANDS "' node='" NODE_PENDING "' status='%s'",
		    status);
	td_buf_addz(b, " sessionid='");
	td_buf_add_xml(b, session);
	td_buf_addz(b, "'>");
}

/* Which of the asker's nodes have requests that wait, or may get some. */
static void
send_nodes(struct ps_req *r)
{
	const struct ps_node *n;
	/* an account has its nodes even when there are none */
	bool owner = r->host->pep && td_str_eq(r->s->from.bare, r->host->jid);
	struct td_buf b = { 0 };
	size_t i = 0;

	open_command(r, "executing", &b);
	td_buf_addz(&b, "<actions execute='complete'><complete/></actions>");
	xmpp_form_open(&b, FORM_FORM, FORM_AUTHORIZE);
	td_buf_addz(&b, "<field var='pubsub#node' type='list-single' label='Node'>");
	while ((n = td_map_next(&r->host->nodes, &i)) != NULL) {
		if (!ps_is_owner(n, &r->s->from))
			continue;
		owner = true;
		if (n->cfg.access != PSA_AUTHORIZE && pending(n) == 0)
			continue;
		td_buf_addz(&b, "<option><value>");
		td_buf_add_xml(&b, n->name);
		td_buf_addz(&b, "</value></option>");
	}
	td_buf_addz(&b, "</field>");
	xmpp_form_close(&b);
	td_buf_addz(&b, "</command>");
	if (owner)
		ps_result(r, td_buf_str(&b));
	else
		ps_error(r, XE_FORBIDDEN, NULL);
	td_buf_fini(&b);
}

static void
end_command(struct ps_req *r, const char *status)
{
	struct td_buf b = { 0 };

	open_command(r, status, &b);
	td_buf_addz(&b, "</command>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
send_requests(struct ps_req *r, const struct xmpp_node *x)
{
	struct xmpp_form f;
	const struct ps_node *n;
	const struct ps_sub *s;

	if (xmpp_form_read(r->a, x, &f) < 0 || f.kind != FORM_SUBMIT ||
	    (f.type.p != NULL && !td_str_eqc(f.type, FORM_AUTHORIZE))) {
		ps_error(r, XE_BAD_REQUEST, NULL);
		return;
	}
	n = ps_node_find(r->host, xmpp_form_value(&f, "pubsub#node"));
	if (n == NULL) {
		ps_error(r, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	if (!ps_is_owner(n, &r->s->from)) {
		ps_error(r, XE_FORBIDDEN, NULL);
		return;
	}
	end_command(r, "completed");
	LIST_FOREACH(s, &n->subs, link)
	if (s->state == PSS_PENDING)
		send_form(r->host, &r->s->from, n, s);
}

void
ps_do_command(struct ps_req *r)
{
	struct td_str action = xmpp_node_attr(r->pubsub, "action");
	const struct xmpp_node *x = xmpp_form_find(r->pubsub);

	if (ps_is_stranger(r->host, &r->s->from))
		r->verdict = XMPP_PASS;
	else if (!td_str_eqc(xmpp_node_attr(r->pubsub, "node"), NODE_PENDING))
		ps_error(r, XE_ITEM_NOT_FOUND, NULL);
	else if (td_str_eqc(action, "cancel"))
		end_command(r, "canceled");
	else if (action.len > 0 && !td_str_eqc(action, "execute") && !td_str_eqc(action, "next") &&
		 !td_str_eqc(action, "complete"))
		ps_error(r, XE_BAD_REQUEST, NULL);
	else if (x == NULL)
		send_nodes(r);
	else
		send_requests(r, x);
}

bool
ps_is_command(struct td_str node)
{
	return td_str_eqc(node, NS_COMMANDS) || td_str_eqc(node, NODE_PENDING);
}

bool
ps_disco_command(struct ps_req *r, bool info)
{
	bool list = td_str_eqc(r->name, NS_COMMANDS);
	struct td_buf b = { 0 };

	if (!ps_is_command(r->name) || (r->host->pep && !td_str_eq(r->s->from.bare, r->host->jid)))
		return false;
	td_buf_addf(&b, "<query xmlns='%s' node='", info ? NS_DISCO_INFO : NS_DISCO_ITEMS);
	td_buf_add_xml(&b, r->name);
	td_buf_addz(&b, "'>");
	if (info)
		td_buf_addf(&b,
			    "<identity category='automation' type='%s' name='%s'/>"
			    "<feature var='" NS_COMMANDS "'/><feature var='jabber:x:data'/>",
			    list ? "command-list" : "command-node",
			    list ? "Commands" : "Pending subscription requests");
	if (!info && list) {
		td_buf_addz(&b, "<item jid='");
		td_buf_add_xml(&b, r->host->jid);
		td_buf_addz(&b, "' node='" NODE_PENDING "' name='Pending subscription requests'/>");
	}
	td_buf_addz(&b, "</query>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
	return true;
}
