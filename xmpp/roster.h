/* roster - the contacts of a loaded user (RFC 6121 section 2).
 * Thread: the worker of the user.
 * Ownership: user->roster owns its contacts.  A contact is never changed in place: a copy
 * takes its place, so that a change the store refuses can be taken back. */
#ifndef XMPP_ROSTER_H
#define XMPP_ROSTER_H
#include "xmpp/xmpp.h"

/* Fill a user's roster and its version from the store's answer; the old one must be freed.
 * The other fields of the user (exists, offline_count...) are the caller's. */
void xmpp_roster_load(struct xmpp_user *u, const struct store_roster *ro);
void xmpp_roster_free(struct xmpp_user *u);

/* A contact in one piece of memory: free() it. */
struct xmpp_contact *xmpp_contact_new(const struct store_contact *from);
/* The contact as the store knows it; points into <c>. */
struct store_contact xmpp_contact_view(const struct xmpp_contact *c);

/* Handler of jabber:iq:roster (module rfc6121). */
int xmpp_roster_iq(struct xmpp_iq *iq);
#endif
