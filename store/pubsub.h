/* pubsub - what publish-subscribe keeps: nodes, their items, affiliations, subscriptions; private XML.
 * Thread: as store.h: any may call, replies come on the loop given.
 *
 * An <owner> is an address that hosts nodes: the bare JID of an account (PEP) or a service's domain.
 * Calls about one owner run and answer in the order made, so who keeps the nodes in memory may change
 * memory when it submits.  Errors besides those of store.h: NOTFOUND (node or item), EXISTS (node is
 * there), DENIED (an item of somebody else), LIMIT (the node is full), FULL (the owner's quota). */
#ifndef STORE_PUBSUB_H
#define STORE_PUBSUB_H
#include "store/store.h"

struct store_ps_node {
	struct td_str name, config; /* config: the caller's own notation */
	uint64_t created;           /* wall ms */
};
struct store_ps_link { /* an affiliation or a subscription of <jid> */
	struct td_str node, jid;
	int state;
	struct td_str subid, options; /* of a subscription; options: the caller's notation */
};
struct store_ps_owner {
	const struct store_ps_node *nodes;
	const struct store_ps_link *affiliations, *subscriptions;
	size_t n_nodes, n_affiliations, n_subscriptions;
};
typedef void store_ps_owner_cb(void *arg, const struct store_result *r,
			       const struct store_ps_owner *o);
/* All of an owner but the items. */
void store_ps_load(struct store *st, struct td_str owner, struct td_loop *loop,
		   store_ps_owner_cb *cb, void *arg);

enum store_ps_verb {
	PS_NODE_ADD = 0, /* value = config; EXISTS */
	PS_NODE_SET,     /* value = config */
	PS_NODE_DEL,
	PS_AFFILIATION, /* key = JID, n = state; 0 removes */
	PS_SUBSCRIPTION, /* key = JID, who = subid, n = state (0 removes), value = options.  Without subid: the one
			  * there is, else a new one */
	PS_ITEM_SET,  /* key = id, who = publisher, value = payload, n = wall ms (0 = now) */
	PS_ITEM_DEL,  /* key = id, who = only if published by (TD_STR_NULL: by anybody) */
	PS_ITEM_DROP, /* the same, but none is no error */
	PS_ROOM,      /* n = most items there may be; LIMIT unless <key> is one of fewer */
	PS_KEEP,      /* n = how many of the newest stay */
	PS_EXPIRE,    /* n = wall ms; what is older goes */
	PS_PURGE,
};
struct store_ps_change {
	enum store_ps_verb verb;
	struct td_str node, key, who, value;
	int64_t n;
};
/* All or nothing, in the order given.  FULL when the owner's items would be larger than <quota> bytes (0: any size). */
void store_ps_change(struct store *st, struct td_str owner, const struct store_ps_change *c,
		     size_t n, uint64_t quota, struct store_to to);

struct store_ps_item {
	struct td_str node, id, publisher, payload;
	uint64_t at; /* wall ms */
};
struct store_ps_query {
	struct td_str node;
	const struct td_str *ids; /* these; or */
	size_t n_ids;
	bool newest; /* the newest <max>; or a page: */
	struct td_str after,
		before; /* item ids; TD_STR_NULL = not given; before "" = the last page */
	int64_t index;  /* of the first, -1 = not given */
	unsigned max;
	uint64_t since; /* wall ms; older ones are not there; 0 = all are */
	bool ids_only;  /* payloads stay where they are, and are "" */
};
struct store_ps_items {
	const struct store_ps_item *items; /* oldest first */
	size_t n;
	int64_t index; /* of the first; -1 = unknown */
	int64_t count; /* of the node; -1 = not counted */
	bool more;     /* cut short because the answer grew too large */
};
typedef void store_ps_items_cb(void *arg, const struct store_result *r,
			       const struct store_ps_items *i);
/* NOTFOUND: no such node, or after/before name no item of it. */
void store_ps_items(struct store *st, struct td_str owner, const struct store_ps_query *q,
		    struct td_loop *loop, store_ps_items_cb *cb, void *arg);
/* The newest item of each of the nodes (since[i] as above), with its node's name. */
void store_ps_last(struct store *st, struct td_str owner, const struct td_str *nodes,
		   const uint64_t *since, size_t n, struct td_loop *loop, store_ps_items_cb *cb,
		   void *arg);

/* Private XML (XEP-0049): a setting of the account whose key begins with "private:".  FULL when all of them would
 * be larger than <quota> bytes. */
void store_private_set(struct store *st, struct td_str owner, struct td_str key,
		       struct td_str value, uint64_t quota, struct store_to to);
#endif
