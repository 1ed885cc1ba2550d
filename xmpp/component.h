/* component - external components (XEP-0114): the stream of one, the table of those that are connected.
 * Thread: a connected component belongs to the worker that owns its domain; before the handshake its stream is
 * wherever it was accepted.
 * Ownership: struct xmpp_component belongs to its stream (struct xmpp_c2s). */
#ifndef XMPP_COMPONENT_H
#define XMPP_COMPONENT_H
#include "xmpp/xmpp.h"

struct xmpp_privilege;

/* What the configuration lets a component do on behalf of our domains (XEP-0355, XEP-0356), whether it is
 * connected or not.  Every worker has its own copy, made anew with each configuration. */
struct xmpp_grant {
	struct td_str component;
	const struct td_str *domains; /* ours, that it holds for */
	size_t n_domains;
	bool roster_get, roster_set, roster_push, message;
	bool presence, roster_presence;
	struct xmpp_grant_ns {
		struct td_str ns,
			value; /* get, set, both; delegated: attributes that must be there */
	} * iqs, *delegated;
	size_t n_iqs, n_delegated;
};
/* The i-th, NULL = there are no more. */
const struct xmpp_grant *xmpp_grant_at(struct xmpp_env *env, size_t i);
/* The next blank-separated word of *rest; empty = none is left. */
struct td_str xmpp_next_word(struct td_str *rest);
bool xmpp_grant_covers(const struct xmpp_grant *g, struct td_str domain);
/* Is <domain> that of the component, or below it? */
bool xmpp_grant_is_of(const struct xmpp_grant *g, struct td_str domain);

/* What the configuration says of a component; views into the snapshot. */
struct xmpp_component_conf {
	struct td_str domain;           /* prepared */
	struct td_str secret;           /* TD_STR_NULL: the secret_file cannot be read */
	bool subdomains;                /* it may speak for the domains below its own */
	const struct conf_scope *scope; /* its stanza */
};

struct xmpp_component {
	struct xmpp_c2s *c;
	struct td_str domain; /* the stream's */
	bool subdomains, joined;
	char sid[25];              /* stream id, of which the handshake is made */
	unsigned char proof[20];   /* of the handshake that let it in: a new secret ends it */
	struct xmpp_stanza **sent; /* written and not yet with the kernel; ours */
	size_t n_sent, cap_sent;
	struct xmpp_privilege *priv; /* XEP-0356, NULL = none (xep_0356_privilege.c) */
};

/* The component <domain> is or is below, when it is connected; on its owner. */
struct xmpp_component *xmpp_component_find(struct xmpp_env *env, struct td_str domain);
/* Write <s> to it.  Does not take the reference. */
void xmpp_component_send(struct xmpp_component *k, struct xmpp_stanza *s);
/* Call fn for every component that is connected to this worker. */
void xmpp_components_each(struct xmpp_env *env, void (*fn)(struct xmpp_component *k, void *arg),
			  void *arg);

/* ---- privileges (xep_0356_privilege.c) ---- */

/* It is connected, or the configuration changed: tell it what it may do. */
void xmpp_privilege_tell(struct xmpp_component *k, bool joined);
void xmpp_privilege_free(struct xmpp_component *k);
/* A stanza from it that uses a privilege: true when taken care of, else route it.  Does not take the reference. */
bool xmpp_privilege_stanza(struct xmpp_component *k, struct xmpp_stanza *s);
/* Did it get this presence already, of another contact's account? */
bool xmpp_privilege_seen(struct xmpp_component *k, const struct xmpp_stanza *s);
/* Does somebody want presence that comes for accounts of <domain> when they are offline? */
bool xmpp_privilege_taps(struct xmpp_env *env, struct td_str domain);
/* A roster changed: <query> is what is pushed. */
void xmpp_privilege_push(struct xmpp_user *u, struct td_str query);

/* ---- delegated namespaces (xep_0355_delegation.c); only when env->delegates ---- */

void xmpp_delegation_joined(struct xmpp_component *k);
void xmpp_delegation_left(struct xmpp_env *env, struct td_str component);
/* The request goes to who manages its namespace: true when it is taken (it holds its own reference). */
bool xmpp_delegate(struct xmpp_iq *iq);
/* The same for what a user gave away, when env->user_delegations > 0. */
bool xmpp_delegate_client(struct xmpp_iq *iq);
/* A message to the domain may be the user's answer to who asked for that: true when it was. */
bool xmpp_delegation_form(struct xmpp_env *env, const struct xmpp_stanza *s);
/* disco#items of an account, or for a node of it that we do not know. */
bool xmpp_delegate_items(struct xmpp_iq *iq);
/* disco#info for a node of an account that we do not know. */
bool xmpp_delegate_node(struct xmpp_iq *iq);
/* Is <feature> one of ours that a component took over? */
bool xmpp_delegation_hides(struct xmpp_env *env, struct td_str domain, const char *feature);
/* What the managing components say of themselves, for disco#info of the domain or its accounts. */
void xmpp_delegation_info(struct xmpp_env *env, struct td_str domain, bool account,
			  struct td_buf *out);

/* ---- for c2s.c ---- */

/* The header of a stream in jabber:component:accept came. */
void xmpp_component_header(struct xmpp_c2s *c);
bool xmpp_component_handshake(struct xmpp_c2s *c, struct xmpp_stanza *s);
bool xmpp_component_stanza(struct xmpp_c2s *c, struct xmpp_stanza *s);
bool xmpp_component_other(struct xmpp_c2s *c, struct xmpp_stanza *s);
/* The stream arrived on the worker that owns the domain. */
void xmpp_component_moved(struct xmpp_c2s *c);
/* Everything written is with the kernel. */
void xmpp_component_flushed(struct xmpp_c2s *c);
/* The stream ends: no longer reachable. */
void xmpp_component_leave(struct xmpp_c2s *c);
/* The stream is gone: what it did not get goes back.  Frees c->comp. */
void xmpp_component_free(struct xmpp_c2s *c);
#endif
