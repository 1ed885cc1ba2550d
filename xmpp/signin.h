/* signin - what the configuration says about signing in at one of our domains, looked up once.
 * Thread: the worker of the env.  What is returned lives until the loop's turn ends. */
#ifndef XMPP_SIGNIN_H
#define XMPP_SIGNIN_H
#include "xmpp/throttle.h"
#include "xmpp/xmpp.h"

enum xmpp_invites {
	XI_NONE = 0,
	XI_ADMINS,
	XI_USERS
};
struct xmpp_signin {
	unsigned token_life;             /* seconds; 0 = no tokens (XEP-0484) */
	bool anonymous;                  /* guests are let in (XEP-0175) */
	bool registration;               /* anyone may make an account (XEP-0077) */
	bool registration_captcha;       /* who has no invitation is challenged (XEP-0158) */
	bool captcha_strangers;          /* so are strangers who write to an account */
	bool self_service;               /* users change their password, and remove their account */
	enum xmpp_invites invites;       /* who may invite (XEP-0401) */
	unsigned invite_life;            /* seconds; 0 = for ever */
	unsigned password_min;           /* bytes */
	uint64_t reserve;                /* seconds the name of a removed account is nobody's */
	struct xmpp_rate registrations;  /* accounts made from a network */
	struct xmpp_rate logins;         /* failed ones from a network */
	struct xmpp_rate account_logins; /* and of one account */
};
const struct xmpp_signin *xmpp_signin_of(struct xmpp_env *env, struct td_str domain);

/* The password of the account was changed, or the account is gone: who signed in before and has no session yet gets
 * none.  On the owner. */
void xmpp_signin_changed(struct xmpp_env *env, struct td_str bare);
/* Was it, since <at> (td_mono_ms)? */
bool xmpp_signin_is_stale(struct xmpp_env *env, struct td_str bare, uint64_t at);

/* A list sasl2.c keeps there. */
struct xmpp_sasl2_offer;
struct xmpp_sasl2_offer **xmpp_signin_offers(struct xmpp_env *env);
void xmpp_signin_stop(struct xmpp_env *env);
#endif
