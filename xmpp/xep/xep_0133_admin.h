/* xep_0133_admin - what administrators set, for the rest of the program (XEP-0133): who they are, announcements,
 * the message of the day.
 * Thread: the worker of the env, unless said otherwise; changes reach the other workers by themselves. */
#ifndef XMPP_XEP_0133_ADMIN_H
#define XMPP_XEP_0133_ADMIN_H
#include "store/admin.h"
#include "xmpp/xmpp.h"

#define XMPP_ADMIN_TEXT_MAX 16384u /* bytes of an announcement, a message of the day */

/* Was <bare> made an administrator of <domain> by edit-admin? */
bool xmpp_is_stored_admin(struct xmpp_env *env, struct td_str domain, struct td_str bare);
/* Is it one by the option <admins>?  <domain> TD_STR_NULL: of the whole server. */
bool xmpp_is_conf_admin(struct xmpp_env *env, struct td_str domain, struct td_str bare);

/* <text> as a headline to every session of <domain> (TD_STR_NULL: of all our domains). */
void xmpp_announce(struct xmpp_env *env, struct td_str domain, struct td_str text);
/* A text of the domain; TD_STR_NULL when there is none. */
struct td_str xmpp_domain_text(struct xmpp_env *env, struct td_str domain, enum store_text kind);
/* Set it (TD_STR_NULL: remove), on all workers once it is committed; then done(arg, rc), which may be NULL.  <again>: of a
 * message of the day, those who have seen the last one get this one, too. */
void xmpp_domain_set_text(struct xmpp_env *env, struct td_str domain, enum store_text kind,
			  struct td_str text, bool again, void (*done)(void *arg, int rc),
			  void *arg);

/* On the owner of <bare>: the store turned the account off or on. */
void xmpp_account_disabled(struct xmpp_env *env, struct td_str bare, bool disabled);
/* On the owner: delete the account; contacts are told, sessions end.  Then done(arg, rc): 0, TD_E_NOTFOUND, ... */
void xmpp_account_delete(struct xmpp_env *env, struct td_str bare, void (*done)(void *arg, int rc),
			 void *arg);
#endif
