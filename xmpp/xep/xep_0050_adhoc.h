/* xep_0050_adhoc - commands our domains offer (XEP-0050): how a module registers one, and what a step gets.
 * Thread: the worker of the account that asks (its requests to one of our domains are handled there).
 *
 * The frame does sessions (bound to the full JID, limited, expiring), permissions (asked at every step; nobody who is
 * not signed in here gets anything), actions, errors, the lists of disco.  A command is one function. */
#ifndef XMPP_XEP_0050_ADHOC_H
#define XMPP_XEP_0050_ADHOC_H
#include "xmpp/form.h"
#include "xmpp/xmpp.h"

enum xmpp_command_who {
	COMMAND_USERS = 0, /* the accounts of the domain that is asked, guests (XEP-0175) not */
	COMMAND_ADMINS     /* those of the domain's option <admins> */
};
enum xmpp_command_action {
	COMMAND_EXECUTE = 0, /* the first step only */
	COMMAND_PREV,
	COMMAND_NEXT,
	COMMAND_COMPLETE
};
#define COMMAND_MAY_PREV 0x1u
#define COMMAND_MAY_NEXT 0x2u
#define COMMAND_MAY_COMPLETE 0x4u

enum xmpp_command_result {
	COMMAND_DONE = 0, /* completed: <out> has the answer, a form of type result, notes */
	COMMAND_FORM, /* another step: <out> has the form, <stage>, <actions>, <standard> are set */
	COMMAND_LATER, /* xmpp_command_finish will be called */
	COMMAND_ERROR /* <error>, <condition>, <text> are set; the session goes on when it is a step's bad payload */
};

struct xmpp_command;
struct xmpp_command_call {
	struct xmpp_env *env; /* in a late callback ask xmpp_command_env first */
	const struct xmpp_command *command;
	struct td_arena *arena; /* of this step */
	struct td_str domain;   /* who is asked */
	struct xmpp_jid from;   /* who asks, full */
	enum xmpp_command_action action;
	unsigned stage;               /* 0 at first, then what the last step set */
	const struct xmpp_form *form; /* submitted; NULL = none */
	void *data;                   /* the session's, kept between steps */
	void (*free_data)(void *data);
	/* what the step says */
	struct td_buf out;                 /* serialised children of <command/> */
	unsigned actions;                  /* COMMAND_MAY_*: what may come next; 0 = COMPLETE */
	enum xmpp_command_action standard; /* what "execute" means next: NEXT or COMPLETE */
	enum xmpp_error error;
	const char *condition; /* of XEP-0050 4.4, "bad-payload"; NULL = none */
	const char *text;      /* for people; NULL = none */
};

struct xmpp_command {
	const char *node, *name;
	enum xmpp_command_who who;
	/* One more condition; NULL = none.  Asked at every step and for the lists. */
	bool (*may)(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from);
	enum xmpp_command_result (*step)(struct xmpp_command_call *call);
};
/* From a module's start function; <c> is constant.  One node is one command. */
void xmpp_command_register(struct xmpp_env *env, const struct xmpp_command *c);
/* The end of a step that answered COMMAND_LATER; <call> is gone after it. */
/* For a late callback: NULL when the worker's server is gone; then finish, and do nothing else. */
struct xmpp_env *xmpp_command_env(const struct xmpp_command_call *call);
void xmpp_command_finish(struct xmpp_command_call *call, enum xmpp_command_result result);
/* <note/> of <type> "info", "warn", "error". */
void xmpp_command_note(struct xmpp_command_call *call, const char *type, const char *text);
/* A form without what it must have; returns COMMAND_ERROR. */
enum xmpp_command_result xmpp_command_bad_payload(struct xmpp_command_call *call, const char *text);
/* Is <bare> an administrator of the domain: in its option <admins>, or made one since (XEP-0133)? */
bool xmpp_is_admin(struct xmpp_env *env, struct td_str domain, struct td_str bare);
#endif
