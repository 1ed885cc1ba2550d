/* rsm - result set management (XEP-0059 1.0): which page is asked for, which page this is.
 * Thread: any; touches only its arguments. */
#ifndef XMPP_RSM_H
#define XMPP_RSM_H
#include <stdbool.h>
#include "gateway/base/str.h"
#include "xmpp/xml.h"

#define NS_RSM "http://jabber.org/protocol/rsm"

struct xmpp_rsm {
	bool asked;                  /* there is a <set/> */
	int64_t max;                 /* -1 = not said; 0 = only the count is wanted */
	int64_t index;               /* -1 = not said */
	struct td_str after, before; /* TD_STR_NULL = not said; before "" = the last page */
};

/* Read the <set/> below <parent>.  False: malformed (bad-request). */
bool xmpp_rsm_read(const struct xmpp_node *parent, struct td_arena *a, struct xmpp_rsm *out);
/* Items to fetch at most: what was asked, within [0, cap]; <dflt> when nothing was asked. */
unsigned xmpp_rsm_limit(const struct xmpp_rsm *r, unsigned dflt, unsigned cap);
/* Append <set/>; first.p NULL = an empty page; index and count < 0 are left out. */
void xmpp_rsm_write(struct td_buf *out, struct td_str first, int64_t index, struct td_str last,
		    int64_t count);
#endif
