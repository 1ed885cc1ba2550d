/* pubsub - what the files of publish-subscribe share: XEP-0060 and, on accounts, XEP-0163.
 * Thread: the worker that owns the host's JID.
 *
 * A host is an address with nodes: an account (PEP) or a domain with service = "pubsub".  Its nodes with
 * configuration, affiliations and subscriptions are in memory while it is used; items are in the store.
 * A change is checked and made in memory when it is asked for, committed, and only then answered and
 * told to subscribers.  When a commit fails, the host forgets all and loads again.
 *
 *   pubsub_config.c   options, forms, what the defaults are
 *   pubsub_host.c     hosts and nodes in memory, loading, changing, who may what
 *   pubsub_event.c    notifications
 *   pubsub_publish.c  publish, retract, items
 *   pubsub_subscribe.c  subscriptions of the asker, options, authorisation
 *   pubsub_pending.c  requests to subscribe: owners are asked, and ask
 *   pubsub_timed.c    leases, digests, subscriptions while online
 *   pubsub_trust.c    access by the owners' rosters at a service
 *   pubsub_owner.c    create, configure, affiliations, purge, delete
 *   pubsub_disco.c    disco#info and disco#items
 *   xep_0060_pubsub.c the table of requests, the service
 *   xep_0163_pep.c    the account's side: presence, +notify */
#ifndef XMPP_XEP_PUBSUB_H
#define XMPP_XEP_PUBSUB_H
#include "gateway/base/arena.h"
#include "store/pubsub.h"
#include "xmpp/form.h"
#include "xmpp/xmpp.h"

struct xmpp_caps;
struct ps_host;
struct ps_node;

/* ---- pubsub_config.c ---- */

enum ps_access {
	PSA_OPEN = 0,
	PSA_PRESENCE,
	PSA_ROSTER,
	PSA_AUTHORIZE,
	PSA_WHITELIST
};
enum ps_publish_model {
	PSP_PUBLISHERS = 0,
	PSP_SUBSCRIBERS,
	PSP_OPEN
};
enum ps_send_last {
	PSL_NEVER = 0,
	PSL_ON_SUB,
	PSL_ON_SUB_AND_PRESENCE
};
enum ps_itemreply {
	PSR_OWNER = 0,
	PSR_PUBLISHER,
	PSR_NONE
};
#define PS_NAME_MAX 1023u /* bytes of a node's or an item's name */
#define PS_SUBID_MAX 255u
#define PS_MAX (-1) /* the word "max": as many, or as long, as the server allows */

/* A node's configuration; the texts live in the arena of the node (or of whoever fills it in). */
struct ps_config {
	uint8_t access, publish, send_last, itemreply, notification, node_full, node_type;
	bool persist, deliver_notifications, deliver_payloads, notify_config, notify_delete,
		notify_retract, notify_sub, presence_based, purge_offline, subscribe;
	int64_t max_items, item_expire, max_payload;
	struct td_str creator, title, description, language, type, contact,
		groups; /* groups: one a line */
};
/* Defaults for a node <name> of a host. */
void ps_config_default(const struct ps_host *h, struct td_str name, struct ps_config *out);
/* In the store's notation, one option a line. */
void ps_config_write(const struct ps_config *c, struct td_buf *out);
void ps_config_read(struct td_arena *a, struct td_str text, struct ps_config *out);
/* Take over the fields of a submitted form.  False: a value that is none, or not allowed here; *condition is the
 * pubsub#errors condition of that, or NULL.  Unknown fields are ignored unless <strict>. */
bool ps_config_apply(struct td_arena *a, const struct ps_host *h, struct td_str name,
		     const struct xmpp_form *f, bool strict, struct ps_config *c,
		     const char **condition);
/* The fields of a configuration form. */
void ps_config_form(const struct ps_config *c, enum xmpp_form_kind kind, struct td_buf *out);
/* disco#info meta-data (XEP-0060 5.4). */
void ps_config_metadata(const struct ps_node *n, struct td_buf *out);
/* Does <c> have what every field of <f> (publish-options) says? */
bool ps_config_meets(struct td_arena *a, const struct ps_host *h, const struct xmpp_form *f,
		     const struct ps_config *c);

/* A node of account <domain>'s as another server had it, in the store's notation.  What <f> (NULL = nothing known) does
 * not say, and what is not possible here, is as for a new node; but access of a kind unknown here is the owner's
 * alone.  False: that happened, *why (static) names the option. */
bool ps_config_take(const struct conf *c, struct td_str domain, struct td_str name,
		    const struct xmpp_form *f, struct td_buf *out, const char **why);
/* The form of a node <text> in the store's notation. */
void ps_config_give(const struct conf *c, struct td_str domain, struct td_str name,
		    struct td_str text, struct td_buf *out);

/* ---- pubsub_host.c ---- */

enum ps_affiliation {
	PSF_NONE = 0,
	PSF_OWNER,
	PSF_PUBLISHER,
	PSF_PUBLISH_ONLY,
	PSF_MEMBER,
	PSF_OUTCAST,
	PSF_COUNT /* must be last */
};
enum ps_state {
	PSS_NONE = 0,
	PSS_PENDING,
	PSS_UNCONFIGURED,
	PSS_SUBSCRIBED,
	PSS_COUNT /* must be last */
};
const char *ps_affiliation_name(enum ps_affiliation a);
const char *ps_state_name(enum ps_state s);
/* By name; -1 = none of them. */
int ps_affiliation_of(struct td_str s);
int ps_state_of(struct td_str s);

#define PS_WHILE_ONLINE UINT64_MAX
#define PS_ALL_SHOWS ((1u << SHOW_COUNT) - 1)
struct ps_sub_options {
	uint64_t expire;    /* wall ms; 0 = never; PS_WHILE_ONLINE */
	uint64_t digested;  /* wall ms: what was published before was told */
	uint32_t frequency; /* ms between two digests */
	bool deliver, digest;
	uint8_t shows; /* bits: the enum xmpp_show it wants delivery in */
};
extern const struct ps_sub_options ps_sub_defaults;
struct ps_sub {
	LIST_ENTRY(ps_sub) link;
	struct ps_sub *first, *next; /* of the same JID */
	struct ps_sub_options opt;
	uint8_t state;
	uint64_t due;          /* wall ms: of the next digest; 0 = nothing to tell */
	struct td_str jid, id; /* this struct is one malloc */
};
struct ps_affil {
	uint8_t affiliation;
	struct td_str jid; /* likewise */
};
struct ps_node {
	unsigned refs; /* the host's map has one; calls under way have theirs */
	struct ps_host *host;
	struct td_str name; /* in <arena> */
	struct td_arena *arena;
	struct ps_config cfg;
	struct td_arena *cfg_arena;
	uint64_t created;
	bool gone;            /* deleted; still to be told */
	struct td_map affils; /* bare JID -> struct ps_affil */
	struct td_map
		trusted; /* a service: bare JIDs that the owners' rosters let in, as last asked; key = malloc */
	LIST_HEAD(ps_subs, ps_sub) subs; /* the newest first; */
	struct td_map subs_by_jid;       /* the first of each JID */
	size_t n_subs;
};
/* An address of another server that has told a PEP host its capabilities. */
struct ps_peer {
	struct xmpp_caps *caps;
	char jid[];
};
struct ps_host {
	struct xmpp_env *env;
	struct td_str jid;
	bool pep, loading, loaded, stale;
	bool held;              /* pep: the account stays in memory for a digest */
	struct xmpp_user *user; /* pep */
	struct td_map nodes;    /* name -> struct ps_node */
	struct td_map peers;    /* full JID -> struct ps_peer */
	struct td_timer timer;
	uint64_t due; /* wall ms: the first lease or digest; 0 = none */
	unsigned n_calls;
	LIST_HEAD(, ps_call) calls;
	STAILQ_HEAD(ps_waiters, ps_waiter) waiting;
};
/* Something under way in the store.  Embed first; host NULL when the answer comes: all is gone, only free. */
struct ps_call {
	LIST_ENTRY(ps_call) link;
	struct ps_host *host;
};
void ps_call_begin(struct ps_call *c, struct ps_host *h);
void ps_call_end(struct ps_call *c);

/* The host of an account, made on first use; of a service of this worker. */
struct ps_host *ps_host_pep(struct xmpp_user *u);
struct ps_host *ps_host_service(struct xmpp_env *env, struct td_str domain);
/* The account's host when there is one in memory. */
struct ps_host *ps_host_known(struct xmpp_user *u);
void ps_host_free(struct ps_host *h);
/* fn(host, arg) once the nodes are in memory: maybe now.  host NULL: they cannot be had (error) or the env went. */
void ps_host_with(struct ps_host *h, void (*fn)(struct ps_host *h, void *arg), void *arg);

struct ps_node *ps_node_find(const struct ps_host *h, struct td_str name);
void ps_node_unref(struct ps_node **n);
/* In memory only. */
struct ps_node *ps_node_add(struct ps_host *h, struct td_str name, const struct ps_config *c);
void ps_node_remove(struct ps_node *n);
void ps_node_set_config(struct ps_node *n, const struct ps_config *c);
void ps_node_set_affiliation(struct ps_node *n, struct td_str bare, enum ps_affiliation a);
/* The first of <jid>; that with this id. */
struct ps_sub *ps_node_sub(const struct ps_node *n, struct td_str jid);
struct ps_sub *ps_node_sub_id(const struct ps_node *n, struct td_str jid, struct td_str id);
/* Another one; <id> TD_STR_NULL: a new one. */
struct ps_sub *ps_node_add_sub(struct ps_node *n, struct td_str jid, struct td_str id,
			       enum ps_state state);
void ps_node_drop_sub(struct ps_node *n, struct ps_sub *s);
/* May an address subscribe several times?  Then ids are told and asked for; else only if it has several. */
bool ps_is_multi(const struct xmpp_env *env, struct td_str domain);
bool ps_tells_subid(const struct ps_node *n, const struct ps_sub *s);
void ps_sub_write(const struct ps_sub *s, struct td_buf *out); /* its options, for the store */

bool ps_is_owner(const struct ps_node *n, const struct xmpp_jid *who);
enum ps_affiliation ps_affiliation(const struct ps_node *n, const struct xmpp_jid *who);
/* Why not: an error and the pubsub#errors condition beside it (may be NULL). */
struct ps_refusal {
	enum xmpp_error e;
	const char *condition;
};
/* The access model: may <who> have items (and subscribe, if <subscribing>)? */
bool ps_may_read(const struct ps_node *n, const struct xmpp_jid *who, bool subscribing,
		 struct ps_refusal *why);
/* Is <who> in one of the roster groups (one a line) of <u>? */
bool ps_in_groups(struct xmpp_user *u, const struct xmpp_jid *who, struct td_str groups);
bool ps_may_publish(const struct ps_node *n, const struct xmpp_jid *who);
/* May <who> make nodes here? */
bool ps_may_create(const struct ps_host *h, const struct xmpp_jid *who);
/* Is <who> somebody to whom this account may be unknown? */
bool ps_is_stranger(const struct ps_host *h, const struct xmpp_jid *who);
/* Wall ms before which items of the node are no more. */
uint64_t ps_since(const struct ps_node *n);
int64_t ps_limit(const struct ps_host *h, const char *option);

/* ---- a request ---- */

struct ps_req {
	struct ps_host *host;
	struct xmpp_stanza *s; /* borrowed; its arena may be shared: allocate from <a> */
	struct td_arena *a;    /* until the request was looked at */
	struct xmpp_node *pubsub, *what;
	struct td_str name; /* of the node; .p NULL = not given */
	struct ps_node *node;
	int verdict; /* XMPP_DONE, XMPP_LATER or XMPP_PASS */
};
void ps_result(struct ps_req *r, struct td_str xml);
void ps_error(struct ps_req *r, enum xmpp_error e, const char *condition);
/* With another type than RFC 6120 gives the condition, as an example has it. */
void ps_error_as(struct ps_req *r, enum xmpp_error e, const char *type, const char *condition);
void ps_unsupported(struct ps_req *r, const char *feature);
/* The same for a stanza that was kept. */
void ps_answer(struct ps_host *h, struct xmpp_stanza *s, struct td_str xml);
void ps_refuse(struct ps_host *h, struct xmpp_stanza *s, enum xmpp_error e, const char *condition);

/* ---- pubsub_host.c: changing ---- */

/* What happens after the commit: the answer, then notifications in the order added. */
struct ps_change;
struct ps_change *ps_change_new(struct ps_host *h,
				struct xmpp_stanza *iq); /* iq NULL: nobody asked */
/* Room for the strings of verbs; lives until the change is over. */
struct td_arena *ps_change_arena(struct ps_change *c);
void ps_change_add(struct ps_change *c, const struct store_ps_change *verb);
/* Items <bad> of a request <list> of an owner cannot be done (8.8.2.4, 8.9.2.4): the answer will be an error with them.
 * Empty: nothing. */
void ps_change_failed(struct ps_change *c, const struct ps_req *r, const char *list,
		      struct td_str bad);
/* The subscription becomes <to>: in memory, the store, and its subscriber is told. */
void ps_change_subscription(struct ps_change *c, struct ps_node *n, struct ps_sub *s,
			    enum ps_state to);
/* Store what its options are in memory. */
void ps_change_sub_options(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s);
/* pubsub#notify_sub: owners hear who comes and goes. */
void ps_change_tell_owners(struct ps_change *c, const struct ps_node *n, const struct ps_sub *s,
			   enum ps_state state);
/* Payload of the result. */
void ps_change_result(struct ps_change *c, struct td_str xml);
/* Tell the node's subscribers: <xml> is the content of <event/>. */
void ps_change_event(struct ps_change *c, struct ps_node *n, struct td_str xml);
/* A message of its own to <to>, <xml> complete. */
void ps_change_tell(struct ps_change *c, const struct xmpp_jid *to, struct td_str xml);
/* Run after that, also when it failed (rc < 0); answers itself then: no result or error is sent when it returns true. */
void ps_change_then(struct ps_change *c,
		    bool (*fn)(struct ps_host *h, struct xmpp_stanza *iq, int rc, void *arg),
		    void *arg);
/* The avatar's metadata are written because the vCard was: nothing is to follow from it. */
void ps_change_quiet(struct ps_change *c);
void ps_change_commit(struct ps_change *c);

/* ---- pubsub_owner.c ---- */

/* May the asker make the node r->name, and is there room?  False when answered with an error, or not to be answered. */
bool ps_may_make_node(struct ps_req *r);
/* Make it: its creator is its owner. */
struct ps_node *ps_change_make_node(struct ps_change *c, struct td_str name,
				    const struct ps_config *cfg);

/* ---- pubsub_event.c ---- */

/* Tell everybody who may and wants to know: <xml> is the content of <event/>. */
void ps_notify(struct ps_node *n, struct td_str xml);
/* A message from the host; takes nothing. */
void ps_send(struct ps_host *h, const struct xmpp_jid *to, enum xmpp_type type, struct td_str xml);
/* Several items in one event, to whose subscription it is; false: not now. */
bool ps_send_digest(struct ps_node *n, const struct ps_sub *s, const struct store_ps_item *items,
		    size_t count);
/* The last item of the node to <to>. */
void ps_send_last(struct ps_node *n, const struct xmpp_jid *to);
/* The last items of all nodes that <caps> asks for (but <old> did not) to <to>, who came online. */
void ps_greet(struct ps_host *h, const struct xmpp_jid *to, const struct xmpp_caps *caps,
	      const struct xmpp_caps *old);
/* One <item/> as the store has it. */
void ps_write_item(struct td_buf *out, const struct ps_node *n, struct td_str id,
		   struct td_str publisher, struct td_str payload);

/* ---- the requests (rows of the table in xep_0060_pubsub.c) ---- */

void ps_do_publish(struct ps_req *r);
void ps_do_retract(struct ps_req *r);
void ps_do_items(struct ps_req *r);
void ps_do_subscribe(struct ps_req *r);
void ps_do_unsubscribe(struct ps_req *r);
/* Whoever has several subscriptions says which it asks by (6.5.9).  False when answered with an error. */
bool ps_check_subid(struct ps_req *r);
void ps_get_options(struct ps_req *r);
void ps_set_options(struct ps_req *r);
void ps_get_default_options(struct ps_req *r);
void ps_get_subscriptions(struct ps_req *r);
void ps_get_affiliations(struct ps_req *r);
void ps_do_create(struct ps_req *r);
void ps_get_config(struct ps_req *r);
void ps_set_config(struct ps_req *r);
void ps_get_default(struct ps_req *r);
void ps_do_delete(struct ps_req *r);
void ps_do_purge(struct ps_req *r);
void ps_owner_get_affiliations(struct ps_req *r);
void ps_owner_set_affiliations(struct ps_req *r);
void ps_owner_get_subscriptions(struct ps_req *r);
void ps_owner_set_subscriptions(struct ps_req *r);

/* ---- pubsub_timed.c ---- */

/* What is due by now happens: called before anything else does, and by a timer. */
void ps_host_tick(struct ps_host *h);
void ps_host_wake(struct ps_host *h, uint64_t at);
/* The nodes were read: all that waits in them.  And: they go. */
void ps_host_timed(struct ps_host *h);
void ps_host_untimed(struct ps_host *h);
/* The options of a subscription were set. */
void ps_sub_changed(struct ps_node *n, struct ps_sub *s);
/* There is something for its next digest. */
void ps_digest_later(struct ps_node *n, struct ps_sub *s);
/* A subscription of <jid>, of ours, ends when it goes offline; at once when it is.  <is_new> false: a host that loaded
 * asks if it did not meanwhile. */
void ps_watch(struct ps_host *h, struct td_str jid, bool is_new);
/* The session is available no more. */
void ps_watch_gone(struct xmpp_session *sess);
void ps_watch_start(struct xmpp_env *env);
void ps_watch_stop(struct xmpp_env *env);

/* ---- pubsub_trust.c ---- */

/* Is it the owners' rosters that say who may read <n>?  At an account ps_may_read knows. */
bool ps_needs_trust(const struct ps_node *n);
bool ps_is_trusted(const struct ps_node *n, const struct xmpp_jid *who);
void ps_trust_clear(struct ps_node *n);
/* Ask about these bare JIDs; then fn(host, node, arg), maybe now.  node NULL: it is gone; host NULL: the env goes. */
void ps_trust_ask(struct ps_node *n, const struct td_str *bares, size_t count,
		  void (*fn)(struct ps_host *h, struct ps_node *n, void *arg), void *arg);

/* ---- pubsub_pending.c ---- */

/* <s> waits for an owner of <n>: they get a form. */
void ps_ask_owners(struct ps_node *n, const struct ps_sub *s);
/* The <command/> r->pubsub (8.7). */
void ps_do_command(struct ps_req *r);
/* Is <node> that command, or the list of commands? */
bool ps_is_command(struct td_str node);
/* disco about it: true when answered.  An account tells nobody but its owner. */
bool ps_disco_command(struct ps_req *r, bool info);
/* A message that may be an owner's answer to a subscription request: true when it was. */
bool ps_authorization(struct ps_host *h, struct xmpp_stanza *s);
/* Is <s> one, by its look? */
bool ps_is_authorization(const struct xmpp_stanza *s);
/* The subscription requests that wait for this owner. */
void ps_send_pending(struct ps_host *h, const struct xmpp_jid *owner);

/* Publish items from within: <items> one of each, made by the owner.  The node is made with defaults when it is not there.
 * False: it may not be (limits). */
struct ps_own_item {
	struct td_str id, payload;
};
struct ps_node *ps_change_node(struct ps_change *c, struct td_str name);
void ps_change_publish(struct ps_change *c, struct ps_node *n, const struct ps_own_item *items,
		       size_t count, struct td_str publisher);
void ps_change_retract(struct ps_change *c, struct ps_node *n, const struct td_str *ids,
		       size_t count);
/* Items the node does not keep (too many, too old, or all: it keeps none) go. */
void ps_change_trim(struct ps_change *c, const struct ps_node *n);
/* Does the node of a request keep items?  False when answered with an error. */
bool ps_keeps_items(struct ps_req *r);

/* ---- pubsub_disco.c ---- */

/* XMPP_PASS: not about pubsub. */
int ps_disco_info(struct ps_req *r);
int ps_disco_items(struct ps_req *r);
/* <item/> of each node that <who> may know of. */
void ps_disco_nodes(struct ps_host *h, const struct xmpp_jid *who, struct td_buf *out);
extern const char *const ps_pep_features[];
/* Those that depend on the configuration. */
void ps_disco_features(const struct xmpp_env *env, struct td_str domain, struct td_buf *out);

/* ---- xep_0060_pubsub.c ---- */

/* Run the request in r->s (pubsub, pubsub#owner, disco with node). */
int ps_request(struct ps_host *h, struct xmpp_stanza *s);

/* ---- xep_0402_bookmarks.c: views of the bookmarks ---- */

/* Requests about the old node: true when taken. */
bool ps_bookmarks_request(struct ps_req *r);
/* The bookmarks changed: tell who watches the old node. */
void ps_bookmarks_changed(struct ps_host *h);
/* What ps_send_last does, for the old node. */
void ps_bookmarks_last(struct ps_host *h, const struct xmpp_jid *to);
/* For private XML: the whole old document, or take one over. */
void ps_bookmarks_get(struct ps_host *h, struct xmpp_stanza *iq);
void ps_bookmarks_set(struct ps_host *h, struct xmpp_stanza *iq, const struct xmpp_node *storage);

/* ---- xep_0398_avatar.c ---- */

/* An avatar's metadata were published or retracted by the owner. */
void ps_avatar_changed(struct ps_host *h);
/* A <conference/> of the old form (XEP-0048) as an item of the new one; false: it names no room. */
bool ps_bookmark_from_old(struct td_arena *a, const struct xmpp_node *conference, struct td_str *id,
			  struct td_buf *payload);
#endif
