/* script - the server's side of scripts: the places where they are asked, and what they add (iq
 * namespaces, features, identities).  Who runs them is the host's business (gateway/scripts.c).
 * Thread: the worker of the env; struct xmpp_additions is not changed once an env has it.
 *
 * A place asks only when its bit is set in env->hooks: without scripts it costs that test. */
#ifndef XMPP_SCRIPT_H
#define XMPP_SCRIPT_H
#include "xmpp/xmpp.h"

/* ---- asking ---- */

enum xmpp_verdict {
	XV_GO = 0,  /* nothing to say, or the script failed */
	XV_DROP,    /* consumed */
	XV_BOUNCE,  /* refuse it: error, why */
	XV_REPLACE, /* <replaced> goes in its place */
};
struct xmpp_hook_call {
	enum xmpp_hook hook;
	struct xmpp_session *sess; /* NULL where there is none */
	struct xmpp_user *user;    /* likewise: whose account it is about */
	struct xmpp_stanza *s;     /* likewise */
	/* by hook */
	struct td_str jid; /* subscription: the contact; account_removed, sign_in: the account */
	unsigned before, after;  /* subscription: enum store_subscription */
	unsigned count;          /* delivered: resources that have it */
	bool available, first;   /* presence */
	struct xmpp_c2s *stream; /* sign_in, stream_open */
	const char *mechanism;   /* sign_in */
	/* the answer */
	struct xmpp_stanza *replaced; /* XV_REPLACE: a reference, the asker's; not sealed */
	enum xmpp_error error;        /* XV_BOUNCE of a stanza */
	const char *condition;        /* XV_BOUNCE of a stream or a sign-in: static */
	char why[200];                /* text beside it; "" = none */
};
static inline bool
xmpp_hooked(const struct xmpp_env *env, enum xmpp_hook h)
{
	return (env->hooks & (1u << h)) != 0;
}
/* A stanza from a client or a component, before anything is done with it: true when it goes no further (*s is
 * gone then), else *s is what to go on with.  <sess> NULL: it came from a component. */
bool xmpp_hook_received(struct xmpp_env *env, struct xmpp_session *sess, struct xmpp_stanza **s);
/* The same for one that is about to go to <sess>: false = it goes, *s is what to send (a reference more when it is
 * another). */
bool xmpp_hook_sending(struct xmpp_session *sess, struct xmpp_stanza **s);
/* May who proved to be <bare> sign in?  NULL, or the condition of a SASL failure (static). */
const char *xmpp_hook_sign_in(struct xmpp_c2s *c, const char *bare, const char *mechanism);
/* A stream header came: NULL, or the stream error (static); then <why> says more. */
const char *xmpp_hook_stream(struct xmpp_c2s *c, char why[200]);
void xmpp_hook_session(struct xmpp_session *sess, enum xmpp_hook h);

/* ---- what scripts add ---- */

struct xmpp_script_iq {
	char *ns, *name; /* name NULL: every element of the namespace */
	uint32_t flags;  /* IQ_GET ... IQ_TO_ROOM, IQ_OWN_ONLY */
	unsigned id;     /* the host's */
};
struct xmpp_script_feature {
	char *var;
	uint32_t to; /* IQ_TO_HOST, IQ_TO_ACCOUNT, IQ_TO_ROOM */
};
struct xmpp_script_identity {
	char *category, *type, *name; /* name NULL = none */
	uint32_t to;
};
struct xmpp_additions {
	uint64_t generation; /* of the configuration it is from */
	struct xmpp_script_iq *iqs;
	struct xmpp_script_feature *features;
	struct xmpp_script_identity *identities;
	size_t n_iqs, n_features, n_identities;
};
/* Which part of the server answers <ns> itself; NULL: none, scripts may have it. */
const char *xmpp_ns_owner(const char *ns);
/* Which module announces <var> whatever the configuration; NULL: none. */
const char *xmpp_feature_owner(const char *var);

/* A request that nobody else knows, for what <to> says (one IQ_TO_ bit): XMPP_DONE, XMPP_LATER or XMPP_PASS. */
int xmpp_script_request(struct xmpp_iq *iq, uint32_t to, bool own);
/* Append what scripts announce for <to>.  <out> holds what is announced already: nothing comes twice. */
void xmpp_script_identities(struct xmpp_env *env, uint32_t to, struct td_buf *out);
void xmpp_script_features(struct xmpp_env *env, uint32_t to, struct td_buf *out);
#endif
