/* im - what the files of RFC 6121 share: roster.c, subscription.c, presence.c, xep_0160_offline.c.
 * Thread: the worker of the env.
 * Ownership: functions borrow the stanzas they are given, unless they say otherwise. */
#ifndef XMPP_IM_H
#define XMPP_IM_H
#include "xmpp/xmpp.h"

/* ---- calls to the store that outlive the turn ---- */

/* Embed as first member of what is given to the store as <arg>.  The user is held in memory
 * until the end; when the env goes first, env and user become NULL. */
struct xmpp_call {
	LIST_ENTRY(xmpp_call) link;
	struct xmpp_env *env;
	struct xmpp_user *user;
	/* Set while a timer is under way instead of a reply: the env goes; stop it, free <c>. */
	void (*cancel)(struct xmpp_call *c);
};
void xmpp_call_begin(struct xmpp_call *c, struct xmpp_user *u);
/* Last use of the user.  Does not free <c>. */
void xmpp_call_end(struct xmpp_call *c);

/* ---- addresses ---- */

/* A view of a prepared address, bare or full; points into <s>. */
struct xmpp_jid xmpp_jid_view(struct td_str s);

/* ---- roster.c, beyond roster.h ---- */

/* One change of a contact, memory first, then store.  Embed, set done, xmpp_roster_commit. */
struct xmpp_change {
	struct xmpp_call call;
	struct td_str jid; /* of the contact; like <old> ours until done returns */
	char *jid_mem;
	struct xmpp_contact *now; /* what we put in the roster: to recognise, not to use */
	struct xmpp_contact *old; /* what was there */
	/* After the commit (rc 0) or when it failed and the old state is back.  Frees <ch>.
	 * env and u are NULL when the instance is gone: free and do nothing else. */
	void (*done)(struct xmpp_change *ch, struct xmpp_env *env, struct xmpp_user *u, int rc);
};
/* Replace the contact with <jid> by <next> (taken over; NULL = remove it). */
void xmpp_roster_commit(struct xmpp_user *u, struct td_str jid, struct xmpp_contact *next,
			struct xmpp_change *ch);
/* May the roster take one more item (hidden: one more unanswered request)? */
bool xmpp_roster_has_room(const struct xmpp_user *u, bool hidden);

/* ---- presence.c ---- */

struct xmpp_stanza *xmpp_presence_make(enum xmpp_type type, const struct xmpp_jid *from,
				       const struct xmpp_jid *to, struct td_str id);
/* May <who> know that the account exists and is online: itself, or a subscriber. */
bool xmpp_presence_may_see(const struct xmpp_user *u, const struct xmpp_jid *who);
void xmpp_presence_to_available(struct xmpp_user *u, struct xmpp_stanza *s);
void xmpp_presence_to_interested(struct xmpp_user *u, struct xmpp_stanza *s);
/* The last available presence of the session, sealed, for <to>. */
struct xmpp_stanza *xmpp_presence_last(const struct xmpp_session *sess, const struct xmpp_jid *to);
/* Route the last presence of every available resource to <to>; returns how many. */
unsigned xmpp_presence_send_all(struct xmpp_user *u, const struct xmpp_jid *to);
/* Route unavailable presence of every available resource to <to>. */
void xmpp_presence_send_gone(struct xmpp_user *u, const struct xmpp_jid *to);

/* ---- subscription.c ---- */

/* Contact <old> was removed from the roster: end what joined us (RFC 6121 2.5.2). */
void xmpp_subscription_cut(struct xmpp_user *u, const struct xmpp_contact *old);
#endif
