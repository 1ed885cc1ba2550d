/* cert - is the certificate of the other end good for that XMPP domain?
 * Thread: any; a struct gw_ca is immutable after gw_ca_new and shared by references.
 * Nothing is kept of what is asked; a report holds no pointers.  Errors: TD_E_* with a text that names
 * the file; a certificate that is not good is a verdict, not an error.
 * Specs: RFC 6120 13.7.1.2 and 13.7.2.1 (names), RFC 9525 (how they match; a common name never counts),
 * RFC 5280, RFC 4985 (SRVName), RFC 6698, 7671 and 7673 (DANE).
 *
 * The same question serves both directions: of the server we dialled, and of the one that dialled us
 * (<domain> is then the 'from' of its stream).  Revocation is not looked at. */
#ifndef GATEWAY_CERT_H
#define GATEWAY_CERT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "gateway/dns_msg.h"

struct td_err;
struct ssl_st;

/* ---- trust anchors ---- */

struct gw_ca;
/* The anchors of PEM file <path>; NULL = the system's.  Reads files: not on a loop. */
int gw_ca_new(const char *path, struct gw_ca **out, struct td_err *err);
struct gw_ca *gw_ca_ref(struct gw_ca *ca);
void gw_ca_unref(struct gw_ca **ca);

/* ---- the question ---- */

enum gw_cert_names {
	GW_NAMES_CHECK = 0,
	GW_NAMES_ANY,  /* tls_verify = ca: the chain alone decides */
	GW_NAMES_COUNT /* must be last */
};

struct gw_cert_ask {
	struct td_str domain; /* prepared JID domain: U-labels and IP literals are welcome */
	/* The SRV target, when <host_secure> says that DNSSEC signed the way to it: a name that the
	 * certificate may have instead (RFC 7673 4.1). */
	struct td_str host;
	bool host_secure;
	/* Records for that target, counted only when <tlsa_secure>: none usable = no DANE. */
	const struct gw_tlsa *tlsa;
	size_t n_tlsa;
	bool tlsa_secure;
	const struct gw_ca *ca; /* NULL = nobody is trusted, but DANE may be */
	enum gw_cert_names names;
	int64_t now; /* seconds since 1970; 0 = the clock's */
};

/* ---- the answer ---- */

enum gw_cert_verdict {
	GW_CERT_NONE = 0, /* the peer showed no certificate */
	GW_CERT_GOOD,
	GW_CERT_BAD,
	GW_CERT_VERDICT_COUNT /* must be last */
};
const char *gw_cert_verdict_name(enum gw_cert_verdict v);

/* What decided, whichever way: the chain to a trust anchor, or TLSA records.  The last four are the
 * usage of the record that matched; GW_BY_DANE = none did. */
enum gw_cert_by {
	GW_BY_NOTHING = 0,
	GW_BY_PKIX,
	GW_BY_DANE,
	GW_BY_PKIX_TA,
	GW_BY_PKIX_EE,
	GW_BY_DANE_TA,
	GW_BY_DANE_EE,
	GW_BY_COUNT /* must be last */
};
const char *gw_cert_by_name(enum gw_cert_by by); /* "PKIX", "DANE-EE", ... */

#define GW_CERT_NAMES_MAX 16
#define GW_CERT_NAME_TEXT 264
struct gw_cert_report {
	enum gw_cert_verdict verdict;
	enum gw_cert_by by;
	bool chain_ok; /* leads to one of <ca> (or to what a TLSA record vouches for) */
	bool name_ok;  /* is for the domain, or the secure host */
	char why[96];  /* "" when good; "expired", "self-signed", "unknown CA", ... */
	char matched[GW_CERT_NAME_TEXT]; /* the name that did it, "DNS:*.example.net"; "" = none */
	char subject[160], issuer[160];
	/* first names of the certificate, by kind: DNS: SRV: XMPP: IP:; anything odd in them is '?' */
	char names[GW_CERT_NAMES_MAX][96];
	size_t n_names;
	int64_t not_before, not_after; /* of the certificate, seconds since 1970 */
	int64_t good_until; /* of the whole chain: RFC 6120 13.7.2.3 ends the stream; 0 = no end */
	unsigned char sha256[32];
	size_t n_tlsa_usable;
};

/* Judge what the peer of <ssl> showed, after the handshake.  <rep> may be NULL. */
enum gw_cert_verdict gw_cert_judge(struct ssl_st *ssl, const struct gw_cert_ask *ask,
				   struct gw_cert_report *rep);
/* The report as one JSON object. */
void gw_cert_json(const struct gw_cert_report *rep, struct td_buf *out);

/* ---- parts, for tests and who needs them alone ---- */

/* <domain> with A-labels, lower case, without the dot at its end; false when it has none (an IP
 * literal, something that is no DNS name). */
bool gw_cert_ascii(struct td_str domain, char out[256]);
/* Is the DNS-ID <pattern> of a certificate about <name> (from gw_cert_ascii)?  RFC 9525 6.3: a
 * wildcard is the whole first label and stands for one label, with two or more behind it. */
bool gw_cert_dns_match(struct td_str pattern, const char *name);
/* Is one of <names> (a subjectAltName) <domain>, or as a DNS-ID <host> (may be TD_STR_NULL)?  <text>:
 * which. */
struct stack_st_GENERAL_NAME;
bool gw_cert_find_name(const struct stack_st_GENERAL_NAME *names, struct td_str domain,
		       struct td_str host, char text[GW_CERT_NAME_TEXT]);
#endif
