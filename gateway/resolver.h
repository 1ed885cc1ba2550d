/* resolver - DNS with DNSSEC, by libunbound on the worker's own loop (docs/adr/0013-dns.md).
 * Thread: each worker has its own context, made when the first question is asked; only the worker
 * may ask, cancel, and free it.  Errors: the status of an answer, never a call that fails.
 * Options: dns_servers, resolv_conf, hosts_file, dnssec_trust_anchor, dns_timeout; a change of them
 * (or of the two files) makes a new context, and questions under way are asked again there. */
#ifndef GATEWAY_RESOLVER_H
#define GATEWAY_RESOLVER_H
#include "gateway/dns_msg.h"

struct gw_worker;
struct gw_dns;

enum gw_dns_status {
	GW_DNS_OK = 0, /* there are records */
	GW_DNS_NONE,   /* NXDOMAIN, or no records of the type */
	GW_DNS_FAIL,   /* SERVFAIL, timeout, bogus: nothing is known.  Never to be taken for NONE */
};

struct gw_dns_answer {
	enum gw_dns_status status;
	bool secure;     /* OK, NONE: proven by DNSSEC */
	bool bogus;      /* FAIL: DNSSEC says that it is forged, or that a zone is broken */
	const char *why; /* FAIL, NONE: text for people; may quote the network: td_escz */
	uint32_t ttl;
	const struct td_str *rdata; /* see gw_dns_parse */
	size_t n;
};

/* Ask for <name> (text; international labels as xn--).  <done> is called once, never from within this call; the
 * answer lives during the call.  Then the question is gone: forget the pointer.  Never NULL. */
struct gw_dns *gw_dns_ask(struct gw_worker *w, const char *name, int rrtype,
			  void (*done)(void *arg, const struct gw_dns_answer *a), void *arg);
/* <done> will not be called; *q = NULL.  NULL is fine. */
void gw_dns_cancel(struct gw_dns **q);
const char *gw_dns_status_name(enum gw_dns_status s);

/* Before the loop is freed; questions still open are dropped unanswered (and must not be cancelled after). */
void gw_dns_fini(struct gw_worker *w);
#endif
