/* jid - parse and compare XMPP addresses (RFC 6122 profiles, RFC 7622 lengths), XEP-0106 escapes.
 * Thread: any; touches only its arguments. */
#ifndef XMPP_JID_H
#define XMPP_JID_H
#include <stdbool.h>
#include "gateway/base/str.h"

struct td_arena;
struct td_err;

/* A prepared address.  All five views point into one string of the arena it was parsed
 * into ("local@domain/resource"), NUL-terminated at full's end. */
struct xmpp_jid {
	struct td_str full;
	struct td_str bare;  /* prefix of full */
	struct td_str local; /* .p NULL = none */
	struct td_str domain;
	struct td_str resource; /* .p NULL = none */
};

/* Parse and prepare <s>: nodeprep, nameprep/IDNA (A-labels become U-labels, a trailing dot
 * is dropped), resourceprep; unassigned code points only in resources; each part at most 1023 bytes, before
 * and after preparation.  "[v6]" is a domain too.  ASCII takes a fast path.
 * Return 0, or TD_E_INVAL with *out untouched. */
int xmpp_jid_parse(struct td_arena *a, struct td_str s, struct xmpp_jid *out, struct td_err *err);
/* The three parts, each raw; local and resource may be TD_STR_NULL. */
int xmpp_jid_make(struct td_arena *a, struct td_str local, struct td_str domain,
		  struct td_str resource, struct xmpp_jid *out, struct td_err *err);
/* <j>'s bare address with another resource (raw; prepared here). */
int xmpp_jid_with_resource(struct td_arena *a, const struct xmpp_jid *j, struct td_str resource,
			   struct xmpp_jid *out, struct td_err *err);
/* Copy into <a>. */
void xmpp_jid_copy(struct td_arena *a, const struct xmpp_jid *j, struct xmpp_jid *out);
static inline bool
xmpp_jid_eq(const struct xmpp_jid *a, const struct xmpp_jid *b)
{
	return td_str_eq(a->full, b->full);
}
static inline bool
xmpp_jid_is_bare(const struct xmpp_jid *j)
{
	return j->resource.p == NULL;
}

/* XEP-0106: escape a mail address or other text for use as a local part, and back.
 * Unescape never fails: sequences that are none stay. */
struct td_str xmpp_jid_escape(struct td_arena *a, struct td_str s);
struct td_str xmpp_jid_unescape(struct td_arena *a, struct td_str s);
#endif
