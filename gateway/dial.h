/* dial - from a domain's name to a connected socket: SRV of both kinds, routes, addresses, happy eyeballs (RFC 6120 section 3.2,
 * RFC 2782, RFC 8305, XEP-0368, RFC 7673).
 * Thread: the worker that started it.  Ownership: the caller owns the dial (gw_dial_free) and each
 * socket handed to it.  Errors: fd = -1 and a text.
 *
 *   start -> fn(fd, target) -> [no good: gw_dial_next -> fn(...)]... -> fn(-1, why) -> gw_dial_free */
#ifndef GATEWAY_DIAL_H
#define GATEWAY_DIAL_H
#include <sys/socket.h>
#include "gateway/dns_msg.h"

struct conf;
struct gw_worker;
struct gw_dial;

#define GW_DIAL_PORT 5269

/* What is on the other end of a socket.  Lives until gw_dial_next or gw_dial_free. */
struct gw_target {
	struct sockaddr_storage addr;
	socklen_t len;
	struct td_str
		host; /* NUL-terminated: SRV target, the domain itself, the host of a route, or an address */
	uint16_t port;
	bool direct_tls; /* TLS from the first byte (XEP-0368) */
	bool configured; /* from gateway or routes, not from the domain's DNS */
	/* Every step from the domain to the address was proven by DNSSEC (or is configured): <host>
	 * is a reference identity, too (RFC 7673 section 4). */
	bool secure;
	/* Signed TLSA records of host:port; none unless <secure>.  A target whose TLSA records
	 * could not be had or are bogus is never connected to. */
	const struct gw_tlsa *tlsa;
	size_t n_tlsa;
};

/* How to get there; strings are copied by gw_dial_start. */
struct gw_dial_conf {
	struct td_str gateway; /* host[:port]; beats routes */
	const struct td_str *routes;
	size_t n_routes;
	const struct td_str *prohibited; /* addresses, networks, names, *.names */
	size_t n_prohibited;
	struct td_str bind_address;  /* "*" or empty: any */
	unsigned connect_timeout_ms; /* of all addresses of one target */
	unsigned stagger_ms;         /* happy eyeballs: between two attempts */
	unsigned failure_retry_ms;   /* an address that failed comes last for so long */
	bool use_ipv6;
	bool dane; /* look for TLSA records */
};
/* The options of <domain> (prepared); borrows from <c>. */
void gw_dial_conf_load(struct gw_dial_conf *dc, const struct conf *c, struct td_str domain);

/* A connected, non-blocking socket (TCP_NODELAY, keepalive), the caller's; or fd = -1, t = NULL, and why nothing is
 * left to try (text for logs and errors).  Never called from within a gw_dial_ function; may call each of them. */
typedef void gw_dial_fn(void *arg, int fd, const struct gw_target *t, const char *why);

/* <domain>: prepared; Unicode is converted.  Never NULL.  <dc> NULL: as the running configuration says. */
struct gw_dial *gw_dial_start(struct gw_worker *w, struct td_str domain,
			      const struct gw_dial_conf *dc, gw_dial_fn *fn, void *arg);
/* The socket handed over was no good (TLS, certificate, stream: <why>, for the report): go on with what is left.
 * The socket is closed by its owner.  Not after fd = -1. */
void gw_dial_next(struct gw_dial *d, const char *why);
/* At any time, even in <fn>; *d = NULL.  Sockets handed over stay open. */
void gw_dial_free(struct gw_dial **d);

/* What was looked up and tried so far, with times in ms, as one JSON object. */
void gw_dial_report(const struct gw_dial *d, struct td_buf *json);
/* Why it found nothing, or where it is now. */
const char *gw_dial_why(const struct gw_dial *d);

/* With the worker, before its loop and its resolver: dials that are still open end (fn with fd = -1), and what is not freed
 * then, is. */
void gw_dial_fini(struct gw_worker *w);

/* ---- pure parts, for tests ---- */

struct gw_route {
	enum {
		GW_ROUTE_HOST = 0,
		GW_ROUTE_SRV /* __srv__ */
	} kind;
	struct td_str host; /* name or address, brackets off; in the text parsed */
	uint16_t port;      /* 0: not said */
	bool direct_tls;
	int pref; /* -1: not said */
};
/* "host", "host:port", "[v6]:port", "__srv__", "xmpp://host?port=5269&pref=1", "xmpps://..."; false: none of them. */
bool gw_route_parse(struct td_str text, struct gw_route *out);
/* Order by priority, and by weight as RFC 2782 says; <roll> gives a random number in 0..max. */
struct gw_srv_entry {
	uint16_t priority, weight;
	size_t index; /* the caller's */
};
void gw_srv_order(struct gw_srv_entry *e, size_t n, uint32_t (*roll)(void *arg, uint32_t max),
		  void *arg);
/* Does one of <list> name <host> (may be TD_STR_NULL) or hold <sa> (may be NULL)? */
bool gw_dial_prohibited(const struct td_str *list, size_t n, struct td_str host,
			const struct sockaddr *sa);
#endif
