/* component - external components (XEP-0114): the stream of one, the table of those that are connected.
 * Thread: a connected component belongs to the worker that owns its domain; before the handshake its stream is
 * wherever it was accepted.
 * Ownership: struct xmpp_component belongs to its stream (struct xmpp_c2s). */
#ifndef XMPP_COMPONENT_H
#define XMPP_COMPONENT_H
#include "xmpp/xmpp.h"

struct xmpp_privilege;

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
