/* stanza - message, presence or iq: parsed once, immutable once routed, written many times.
 * Thread: built and changed by one thread; after xmpp_stanza_seal it is read-only and may be
 * shared; references are atomic.
 *
 * A stanza keeps the bytes between its tags as they came; when only from and to change, the
 * opening tag is written anew and the rest is sent as it is. */
#ifndef XMPP_STANZA_H
#define XMPP_STANZA_H
#include <stdatomic.h>
#include <stdbool.h>
#include "gateway/base/arena.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/xml.h"

enum xmpp_kind {
	XK_OTHER = 0, /* a top-level element that is no stanza: <auth/>, <r/>, ... */
	XK_MESSAGE,
	XK_PRESENCE,
	XK_IQ,
};
enum xmpp_type {
	XT_NONE = 0, /* attribute absent: normal message, available presence */
	XT_ERROR,
	/* message */
	XT_CHAT,
	XT_NORMAL,
	XT_GROUPCHAT,
	XT_HEADLINE,
	/* presence */
	XT_UNAVAILABLE,
	XT_SUBSCRIBE,
	XT_SUBSCRIBED,
	XT_UNSUBSCRIBE,
	XT_UNSUBSCRIBED,
	XT_PROBE,
	/* iq */
	XT_GET,
	XT_SET,
	XT_RESULT,
	XT_UNKNOWN,
	XT_COUNT /* must be last */
};
const char *xmpp_type_name(enum xmpp_type t); /* "chat"; NULL for NONE and UNKNOWN */

#define XF_FROM_CLIENT 0x01u /* sent by one of our signed-in users */
#define XF_FROM_MAIL 0x02u   /* made from a mail: never becomes mail again */
#define XF_NO_STORE 0x04u    /* do not keep for later (hint, chat state only) */
#define XF_NO_BOUNCE 0x08u   /* no error back: the origin cannot hear it */
#define XF_BAD_TO 0x20u      /* 'to' was there but is no address */
#define XF_BAD_FROM 0x40u    /* likewise 'from' */
#define XF_ARCHIVED 0x80u    /* in the archive of the account it is for, and says so */
#define XF_COPY 0x100u       /* for one session only: dies with it, waits for nothing */
#define XF_EVENT 0x200u /* a PEP event to a bare address: for resources that asked for its node */
#define XF_FROM_STORE 0x10u /* an offline message being replayed; row is set */

#define XF_NO_SHOW 0x1f000000u /* a bit for each enum xmpp_show: not for resources with that */
#define XF_NO_SHOW_AT 24u
#define XF_PRIVILEGED 0x1000u /* by a component on behalf of our domain (XEP-0356) */

struct xmpp_promise;

struct xmpp_stanza {
	_Atomic int refs;
	bool sealed;
	uint8_t kind; /* enum xmpp_kind */
	uint8_t type; /* enum xmpp_type */
	uint32_t flags;
	struct td_arena *arena;
	struct xmpp_node *root;
	struct xmpp_jid from, to; /* .full.p NULL = absent */
	struct td_str id, lang;
	struct td_str inner; /* bytes between the tags, valid once sealed */
	bool inner_raw;      /* inner came off the wire and may be sent as it is */
	bool partial;        /* the tree does not show all of inner */
	uint64_t archived; /* its id in the archive of the account that handled it last; 0 = none */
	uint64_t row;      /* its row in the message store; 0 = none */
	struct xmpp_promise *promise; /* settled at the last unref (sm.h); NULL = none */
	struct xmpp_stanza *base; /* whose tree and strings this one shares; held; NULL = none */
	struct td_str
		attrs; /* those behind 'to' as bytes, once copies were made; .p NULL = not yet */
};

/* Empty stanza of <kind>; one reference. */
struct xmpp_stanza *xmpp_stanza_new(enum xmpp_kind kind, enum xmpp_type type);
/* Make from a parsed element (reader, Lua, store): reads id, type, lang; from/to are parsed.
 * <root> lives in <a>, which the stanza takes over.  TD_E_INVAL: bad address in from/to
 * (err says which; the stanza is made all the same with that address absent). */
int xmpp_stanza_from_node(struct td_arena *a, struct xmpp_node *root, struct xmpp_stanza **out,
			  struct td_err *err);
struct xmpp_stanza *xmpp_stanza_ref(struct xmpp_stanza *s);
void xmpp_stanza_unref(struct xmpp_stanza **s);
/* A private, unsealed deep copy (flags kept, promise and row not). */
struct xmpp_stanza *xmpp_stanza_dup(const struct xmpp_stanza *s);
/* A sealed copy that shares nothing but differs only in <to>: cheap, content as bytes (root has
 * no children then; use for broadcast). */
struct xmpp_stanza *xmpp_stanza_readdress(const struct xmpp_stanza *s, const struct xmpp_jid *to);

/* A sealed stanza like <s> but for <to>: shares tree and bytes of <s> (sealed), which it keeps alive - its promise
 * too, so give it one without.  For many copies at once. */
struct xmpp_stanza *xmpp_stanza_share(struct xmpp_stanza *s, const struct xmpp_jid *to);
/* A sealed stanza like <s> with <xml> (serialised elements) behind its content: shares the tree and strings of
 * <s>, which it keeps alive.  The promise goes over to it.  The tree does not show <xml>. */
struct xmpp_stanza *xmpp_stanza_extend(struct xmpp_stanza *s, struct td_str xml);
/* <s>, taken, with a tree that shows all its content: itself, or a sealed one that keeps it alive.  For receivers that
 * look at what our own modules made as bytes (append_raw, readdress). */
struct xmpp_stanza *xmpp_stanza_whole(struct xmpp_stanza *s);

/* Before sealing only. */
void xmpp_stanza_set_from(struct xmpp_stanza *s, const struct xmpp_jid *j); /* NULL removes */
void xmpp_stanza_set_to(struct xmpp_stanza *s, const struct xmpp_jid *j);
void xmpp_stanza_set_id(struct xmpp_stanza *s, struct td_str id);
/* Content was changed through the tree: inner is written from it at sealing. */
void xmpp_stanza_touch(struct xmpp_stanza *s);
/* Append a serialised element at the end of the content without touching the tree
 * (delay stamps, stanza-id); works on tree-less stanzas too. */
void xmpp_stanza_append_raw(struct xmpp_stanza *s, struct td_str xml);
/* Make it read-only: fixes inner. Idempotent; the owner seals before routing. */
void xmpp_stanza_seal(struct xmpp_stanza *s);
/* The stanza as bytes, namespace jabber:client left to the stream (<ns> false) or declared
 * (<ns> true, for the store).  Seals.  */
void xmpp_stanza_write(struct xmpp_stanza *s, bool ns, struct td_buf *out);

/* Error conditions of RFC 6120 8.3.3. */
enum xmpp_error {
	XE_BAD_REQUEST = 0,
	XE_CONFLICT,
	XE_FEATURE_NOT_IMPLEMENTED,
	XE_FORBIDDEN,
	XE_GONE,
	XE_INTERNAL_SERVER_ERROR,
	XE_ITEM_NOT_FOUND,
	XE_JID_MALFORMED,
	XE_NOT_ACCEPTABLE,
	XE_NOT_ALLOWED,
	XE_NOT_AUTHORIZED,
	XE_POLICY_VIOLATION,
	XE_RECIPIENT_UNAVAILABLE,
	XE_REDIRECT,
	XE_REGISTRATION_REQUIRED,
	XE_REMOTE_SERVER_NOT_FOUND,
	XE_REMOTE_SERVER_TIMEOUT,
	XE_RESOURCE_CONSTRAINT,
	XE_SERVICE_UNAVAILABLE,
	XE_SUBSCRIPTION_REQUIRED,
	XE_UNDEFINED_CONDITION,
	XE_UNEXPECTED_REQUEST,
	XE_COUNT /* must be last */
};
const char *xmpp_error_name(enum xmpp_error e);
/* The error reply to <s>: from and to swapped, the default error type of the condition, <text>
 * optional, the original payload included for iq and message.  NULL when <s> must not be
 * answered (it is an error or result, or XF_NO_BOUNCE). */
struct xmpp_stanza *xmpp_stanza_error(const struct xmpp_stanza *s, enum xmpp_error e,
				      struct td_str text);
/* The same with an application-specific condition, serialised, beside the defined one (RFC 6120 8.3.4). */
struct xmpp_stanza *xmpp_stanza_error_with(const struct xmpp_stanza *s, enum xmpp_error e,
					   const char *text, struct td_str app_xml);
/* Empty result for iq <s>; payload may be added before sealing. */
struct xmpp_stanza *xmpp_stanza_result(const struct xmpp_stanza *s);
/* First child element of an iq get/set; NULL when there is none. */
struct xmpp_node *xmpp_stanza_payload(const struct xmpp_stanza *s);
#endif
