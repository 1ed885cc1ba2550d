/* pubsub_disco - what there is: hosts, nodes and items by disco (XEP-0060 5, XEP-0163 6). */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/rsm.h"
#include "xmpp/xep/pubsub.h"
#include "xmpp/xep/xep_0030_disco.h"

#define BOTH                                                                                       \
	NS_PUBSUB, NS_PUBSUB "#access-open", NS_PUBSUB "#access-authorize",                        \
		NS_PUBSUB "#access-whitelist", NS_PUBSUB "#auto-create", NS_PUBSUB "#config-node", \
		NS_PUBSUB "#config-node-max", NS_PUBSUB "#create-and-configure",                   \
		NS_PUBSUB "#create-nodes", NS_PUBSUB "#delete-items", NS_PUBSUB "#delete-nodes",   \
		NS_PUBSUB "#instant-nodes", NS_PUBSUB "#get-pending", NS_COMMANDS,                 \
		NS_PUBSUB "#item-ids", NS_PUBSUB "#last-published",                                \
		NS_PUBSUB "#leased-subscription", NS_PUBSUB "#manage-subscriptions",               \
		NS_PUBSUB "#member-affiliation", NS_PUBSUB "#meta-data",                           \
		NS_PUBSUB "#modify-affiliations", NS_PUBSUB "#multi-items",                        \
		NS_PUBSUB "#outcast-affiliation", NS_PUBSUB "#persistent-items",                   \
		NS_PUBSUB "#publish", NS_PUBSUB "#publish-node-full",                              \
		NS_PUBSUB "#publish-only-affiliation", NS_PUBSUB "#publish-options",               \
		NS_PUBSUB "#publisher-affiliation", NS_PUBSUB "#purge-nodes",                      \
		NS_PUBSUB "#retract-items", NS_PUBSUB "#retrieve-affiliations",                    \
		NS_PUBSUB "#retrieve-default", NS_PUBSUB "#retrieve-default-sub",                  \
		NS_PUBSUB "#retrieve-items", NS_PUBSUB "#retrieve-subscriptions",                  \
		NS_PUBSUB "#rsm", NS_PUBSUB "#subscribe", NS_PUBSUB "#subscription-options",       \
		NS_PUBSUB "#subscription-notifications", NS_PUBSUB "#item-expire"

const char *const ps_pep_features[] = { BOTH,
					NS_PUBSUB "#access-presence",
					NS_PUBSUB "#access-roster",
					NS_PUBSUB "#auto-subscribe",
					NS_PUBSUB "#filtered-notifications",
					NS_PUBSUB "#presence-notifications",
					NS_PUBSUB "#presence-subscribe",
					NULL };
static const char *const service_features[] = { NS_DISCO_INFO,
						NS_DISCO_ITEMS,
						BOTH,
						NS_PUBSUB "#access-presence",
						NS_PUBSUB "#access-roster",
						"urn:xmpp:ping",
						NULL };

static void
open_query(struct td_buf *b, const char *ns, struct td_str node)
{
	td_buf_addf(b, "<query xmlns='%s'", ns);
	if (node.len > 0) {
		td_buf_addz(b, " node='");
		td_buf_add_xml(b, node);
		td_buf_addc(b, '\'');
	}
	td_buf_addc(b, '>');
}

void
ps_disco_features(const struct xmpp_env *env, struct td_str domain, struct td_buf *out)
{
	if (ps_is_multi(env, domain))
		td_buf_addz(out, "<feature var='" NS_PUBSUB "#multi-subscribe'/>");
}

/* A node that the asker may not know of, or that is not there. */
static void
no_node(struct ps_req *r)
{
	if (ps_is_stranger(r->host, &r->s->from))
		r->verdict = XMPP_PASS;
	else
		ps_error(r, XE_ITEM_NOT_FOUND, NULL);
}

/* May the asker learn that the node is there?  On a service all may but those who are locked out; on an account who may
 * read. */
static bool
may_know(const struct ps_node *n, const struct xmpp_jid *who)
{
	struct ps_refusal why;

	if (ps_may_read(n, who, false, &why))
		return true;
	return !n->host->pep && n->cfg.access != PSA_WHITELIST && why.e != XE_FORBIDDEN;
}

int
ps_disco_info(struct ps_req *r)
{
	struct td_buf b = { 0 };

	if (ps_disco_command(r, true))
		return r->verdict;
	if (r->name.len > 0 && (r->node == NULL || !may_know(r->node, &r->s->from))) {
		no_node(r);
		return r->verdict;
	}
	if (r->name.len == 0 && r->host->pep)
		return XMPP_PASS;
	open_query(&b, NS_DISCO_INFO, r->name);
	if (r->node != NULL) {
		td_buf_addz(&b, "<identity category='pubsub' type='leaf'");
		if (r->node->cfg.title.len > 0) {
			td_buf_addz(&b, " name='");
			td_buf_add_xml(&b, r->node->cfg.title);
			td_buf_addc(&b, '\'');
		}
		td_buf_addz(&b, "/><feature var='" NS_PUBSUB "'/>");
		ps_config_metadata(r->node, &b);
	} else {
		td_buf_addz(&b, "<identity category='pubsub' type='service'"
				" name='Publish-Subscribe'/>");
		for (const char *const *f = service_features; *f != NULL; f++)
			td_buf_addf(&b, "<feature var='%s'/>", *f);
		ps_disco_features(r->host->env, r->host->jid, &b);
	}
	td_buf_addz(&b, "</query>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

void
ps_disco_nodes(struct ps_host *h, const struct xmpp_jid *who, struct td_buf *out)
{
	const struct ps_node *n;
	size_t i = 0;

	while ((n = td_map_next(&h->nodes, &i)) != NULL) {
		if (!may_know(n, who))
			continue;
		td_buf_addz(out, "<item jid='");
		td_buf_add_xml(out, h->jid);
		td_buf_addz(out, "' node='");
		td_buf_add_xml(out, n->name);
		if (n->cfg.title.len > 0) {
			td_buf_addz(out, "' name='");
			td_buf_add_xml(out, n->cfg.title);
		}
		td_buf_addz(out, "'/>");
	}
}

/* ---- items of a node (5.5) ---- */

struct list_call {
	struct ps_call call;
	struct xmpp_stanza *iq;
	struct td_str node; /* in the iq */
	bool rsm;
};

static void
on_list(void *arg, const struct store_result *r, const struct store_ps_items *got)
{
	struct list_call *c = arg;
	struct ps_host *h = c->call.host;
	struct td_buf b = { 0 };

	if (h != NULL && r->rc < 0) {
		ps_refuse(h, c->iq,
			  r->rc == TD_E_NOTFOUND ? XE_ITEM_NOT_FOUND : XE_INTERNAL_SERVER_ERROR,
			  NULL);
	} else if (h != NULL) {
		open_query(&b, NS_DISCO_ITEMS, c->node);
		for (size_t i = 0; i < got->n; i++)
			xmpp_disco_write_item(&b, h->jid, got->items[i].id);
		if ((c->rsm || got->more) && got->n > 0)
			xmpp_rsm_write(&b, got->items[0].id, got->index, got->items[got->n - 1].id,
				       got->count);
		else if (c->rsm)
			xmpp_rsm_write(&b, TD_STR_NULL, -1, TD_STR_NULL, got->count);
		td_buf_addz(&b, "</query>");
		ps_answer(h, c->iq, td_buf_str(&b));
	}
	td_buf_fini(&b);
	xmpp_stanza_unref(&c->iq);
	ps_call_end(&c->call);
	free(c);
}

static void
list_items(struct ps_req *r)
{
	unsigned cap = (unsigned)ps_limit(r->host, "pubsub_max_items");
	struct store_ps_query q = { .node = r->name, .since = ps_since(r->node), .ids_only = true };
	struct xmpp_rsm rsm;
	struct list_call *c;

	if (!xmpp_rsm_read(r->pubsub, r->a, &rsm)) {
		ps_error(r, XE_BAD_REQUEST, NULL);
		return;
	}
	q.after = rsm.after;
	q.before = rsm.before;
	q.index = rsm.index;
	q.newest = !rsm.asked;
	q.max = xmpp_rsm_limit(&rsm, cap, cap);
	c = td_zalloc(sizeof(*c));
	c->iq = xmpp_stanza_ref(r->s);
	c->node = r->name;
	c->rsm = rsm.asked;
	ps_call_begin(&c->call, r->host);
	store_ps_items(r->host->env->store, r->host->jid, &q, r->host->env->loop, on_list, c);
	r->verdict = XMPP_LATER;
}

int
ps_disco_items(struct ps_req *r)
{
	struct ps_refusal why;
	struct td_buf b = { 0 };

	if (r->name.len == 0 && r->host->pep)
		return XMPP_PASS; /* disco asks us for the nodes */
	if (ps_disco_command(r, false))
		return r->verdict;
	if (r->name.len > 0 && (r->node == NULL || !may_know(r->node, &r->s->from))) {
		no_node(r);
		return r->verdict;
	}
	if (r->node != NULL && r->node->cfg.persist &&
	    ps_may_read(r->node, &r->s->from, false, &why)) {
		list_items(r);
		return r->verdict;
	}
	open_query(&b, NS_DISCO_ITEMS, r->name);
	if (r->node == NULL)
		ps_disco_nodes(r->host, &r->s->from, &b);
	td_buf_addz(&b, "</query>");
	ps_result(r, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}
