/* jid_priv - bounded stringprep (RFC 3454), shared by addresses and SASLprep.
 * Thread: any; touches only its arguments. */
#ifndef XMPP_JID_PRIV_H
#define XMPP_JID_PRIV_H
#include <stdbool.h>
#include <stringprep.h>
#include "gateway/base/str.h"

/* Longest input looked at, in bytes. */
#define PREP_IN_MAX 1023u

/* Prepare <in> (any bytes) by <profile> into out[cap]; <query>: unassigned code points pass.
 * Return 0 with *len_out set (it may be 0), or -1 with *why_out a static text. */
int xmpp_prep(const Stringprep_profile *profile, bool query, struct td_str in, char *out,
	      size_t cap, size_t *len_out, const char **why_out);
#endif
