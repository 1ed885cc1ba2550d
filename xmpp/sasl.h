/* sasl - the server side of SASL for one stream (RFC 4422, 5802, 7677, 4616, 2831; XEP-0440).
 * Thread: the owner of the stream; credential sources are shared by all (they lock inside).
 * GNU SASL does DIGEST-MD5, the rest is ours (docs/adr/0003-sasl.md); credentials come from a
 * struct xmpp_cred_source.  Unknown accounts get the same exchange and timing as known
 * ones (a salt derived from a server secret and the name).
 * Errors: enum xmpp_sasl_error for the peer, TD_E_* for the operator. */
#ifndef XMPP_SASL_H
#define XMPP_SASL_H
#include <stdbool.h>
#include <stdint.h>
#include "gateway/base/str.h"
#include "store/store.h"

struct td_err;
struct td_loop;
struct conf;
struct conf_at;
struct store;
struct xmpp_sasl;

/* RFC 6120 6.5 conditions. */
enum xmpp_sasl_error {
	SASL_ABORTED = 0,
	SASL_ACCOUNT_DISABLED,
	SASL_CREDENTIALS_EXPIRED,
	SASL_ENCRYPTION_REQUIRED,
	SASL_INCORRECT_ENCODING,
	SASL_INVALID_AUTHZID,
	SASL_INVALID_MECHANISM,
	SASL_MALFORMED_REQUEST,
	SASL_MECHANISM_TOO_WEAK,
	SASL_NOT_AUTHORIZED,
	SASL_TEMPORARY_AUTH_FAILURE,
	SASL_ERROR_COUNT /* must be last */
};
const char *xmpp_sasl_error_name(enum xmpp_sasl_error e); /* "not-authorized" */

/* What is known of one user; a store fills what it has. */
struct xmpp_credentials {
	bool found, disabled;
	struct store_scram sha1, sha256;
	char *password;   /* clear text, when the store has it (file://); wiped */
	char *digest_ha1; /* 32 hex digits: MD5(user:realm:password) (digest://) */
	char *crypt;      /* crypt(3) string */
};
void xmpp_credentials_fini(struct xmpp_credentials *c);

/* Where credentials live: "store://", "file:///path", "digest:///path". */
struct xmpp_cred_source;
/* rc: 0 (also when not found) or TD_E_* for a temporary failure. cred lives until return. */
typedef void xmpp_cred_cb(void *arg, int rc, const struct xmpp_credentials *cred);
/* Parse the uri; <st> serves store:// and outlives the source.  file:// and digest:// are read
 * here, and re-read by a fetch when their stamp changes; files open to group or world are
 * refused (TD_E_DENIED).  A file that turns bad later serves nobody (temporary failure)
 * until mended.  TD_E_INVAL names the line, TD_E_UNSUPPORTED an unknown scheme. */
int xmpp_cred_source_open(const char *uri, struct store *st, struct xmpp_cred_source **out,
			  struct td_err *err);
struct xmpp_cred_source *xmpp_cred_source_ref(struct xmpp_cred_source *s);
void xmpp_cred_source_unref(struct xmpp_cred_source **s);
/* Fetch for the bare JID (prepared).  The callback comes on <loop>, maybe before return.
 * file://: full JID first, then the local part.  Lines (momentum.md 4.5): user:password,
 * user:{SCRAM-SHA-256}iter$salt$stored$server (base64), {SCRAM-SHA-1}, {CRYPT}; a user may
 * have one of each.  Clear text serves SCRAM and DIGEST-MD5 too.  digest://: user:realm:HEX,
 * the realm being the only one in the file, else the domain. */
void xmpp_cred_fetch(struct xmpp_cred_source *s, struct td_str bare_jid, struct td_loop *loop,
		     xmpp_cred_cb *cb, void *arg);

/* Derive verifiers for a new password (SASLprep'd); <iterations> 0 = 10000; random salt.
 * TD_E_INVAL when the password is empty or has forbidden characters. */
int xmpp_scram_derive(struct td_str password, unsigned iterations, struct store_scram *sha1,
		      struct store_scram *sha256, struct td_err *err);

/* A verifier as text, "iterations$salt$stored-key$server-key" in base64, with keys of <key_len>
 * bytes (20: SHA-1, 32: SHA-256).  False: *why says what is wrong, *key is as it was. */
bool xmpp_scram_parse(struct td_str s, size_t key_len, struct store_scram *key, const char **why);

/* Channel binding data of the TLS session below; empty = that type is not available. */
struct xmpp_cb_data {
	struct td_str tls_exporter;         /* 32 bytes, RFC 9266 */
	struct td_str tls_server_end_point; /* hash of the certificate, RFC 5929 */
	/* RFC 5929; never announced (XEP-0440), taken from clients that know nothing newer, such
	 * as slixmpp 1.8, which would otherwise say "y" and be refused as downgraded */
	struct td_str tls_unique;
};
#define XB_TLS_EXPORTER 0x1u
#define XB_TLS_SERVER_END_POINT 0x2u
/* What a listener allows. */
#define SASL_M_PLAIN 0x01u
#define SASL_M_SCRAM_SHA1 0x02u
#define SASL_M_SCRAM_SHA256 0x04u
#define SASL_M_SCRAM_SHA1_PLUS 0x08u
#define SASL_M_SCRAM_SHA256_PLUS 0x10u
#define SASL_M_DIGEST_MD5 0x20u
#define SASL_M_EXTERNAL 0x40u
#define SASL_M_ANONYMOUS 0x80u
#define SASL_M_HT_NONE 0x100u /* tokens (XEP-0484): SASL2 offers them apart from the others */
#define SASL_M_HT_ENDP 0x200u
#define SASL_M_HT_EXPR 0x400u
#define SASL_M_HT (SASL_M_HT_NONE | SASL_M_HT_ENDP | SASL_M_HT_EXPR)
#define SASL_M_PLUS (SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS)
/* EXTERNAL is for streams whose TLS checked a certificate of the client. */
struct xmpp_cert {
	struct td_str addr[8]; /* id-on-xmppAddr */
	size_t n_addr;
	struct td_str email[8]; /* rfc822Name */
	size_t n_email;
	struct td_str name; /* the common name */
};
/* Mechanism names of <set>, strongest first; returns the count. */
#define XMPP_SASL_NAMES 11
size_t xmpp_sasl_names(unsigned set, const char *out[XMPP_SASL_NAMES]);
unsigned xmpp_sasl_bit(struct td_str name); /* 0 when unknown */

enum xmpp_sasl_step {
	SASL_CONTINUE = 0, /* send <challenge> with *out */
	SASL_SUCCESS,      /* *out may hold additional data for <success> */
	SASL_FAILURE,      /* *error says which */
	SASL_WAIT,         /* credentials are being fetched: the wake callback comes */
};
/* Called when a SASL_WAIT step can go on, once; answer by calling xmpp_sasl_resume, now or
 * later.  The exchange may be freed within. */
typedef void xmpp_sasl_wake(void *arg);

/* Process-wide set-up of GNU SASL; main, once, before any fetch.  <secret> makes fake salts
 * (stable across restarts when stored); empty = random. */
int xmpp_sasl_init(struct td_str secret, struct td_err *err);
void xmpp_sasl_fini(void);
/* HMAC-SHA-256 of <text> under that secret: for identifiers that must be neither guessed nor read.  Begin
 * <text> with a word of your own. */
void xmpp_secret_mac(struct td_str text, unsigned char out[32]);
/* Begin <mechanism> for <domain>.  <offered>: the set announced on this stream (a client
 * flag "y" while -PLUS was offered is refused, RFC 5802 section 6). NULL + *error when
 * the mechanism is not in <offered>. */
struct xmpp_sasl *xmpp_sasl_start(struct td_str mechanism, unsigned offered, struct td_str domain,
				  const struct xmpp_cb_data *cb, struct xmpp_cred_source *source,
				  struct td_loop *loop, xmpp_sasl_wake *wake, void *wake_arg,
				  enum xmpp_sasl_error *error);
/* What <s> was chosen from, all of <offered>, was announced with the channel bindings <bindings> (XB_*; 0: none
 * were named): SCRAM then proves it to the client (XEP-0474).  Before the first step. */
void xmpp_sasl_announced(struct xmpp_sasl *s, unsigned bindings);
/* For EXTERNAL, before the first step: the accounts (bare JIDs of the domain) that the certificate is for. */
#define XMPP_CERT_IDS 8
void xmpp_sasl_certificate(struct xmpp_sasl *s, const struct td_str *jids, size_t n);
/* For a mechanism of SASL_M_HT: before the first step what goes with the message, after success what was used. */
struct xmpp_sasl_token {
	struct store *store;
	const char *agent;         /* of the client: it must live as long as the exchange */
	int64_t count;             /* -1 = none was given */
	bool forget;               /* the token is invalid from now on */
	uint64_t created, expires; /* Unix seconds */
};
struct xmpp_sasl_token *xmpp_sasl_token(struct xmpp_sasl *s);
/* The text of a token: its key. */
#define XMPP_TOKEN_LEN 44
void xmpp_token_text(struct td_str bare, const char *agent, const char *mech,
		     const unsigned char *seed, char out[XMPP_TOKEN_LEN + 1]);
/* One client message, base64 as on the wire; TD_STR_NULL = no initial response given, "="
 * = empty; at most 8 KiB.  Base64 is appended to *out, nothing when there is no data.
 * *error is set for SASL_FAILURE only; after that or success every step fails. */
enum xmpp_sasl_step xmpp_sasl_step(struct xmpp_sasl *s, struct td_str in_b64, struct td_buf *out,
				   enum xmpp_sasl_error *error);
/* After SASL_WAIT and the wake. */
enum xmpp_sasl_step xmpp_sasl_resume(struct xmpp_sasl *s, struct td_buf *out,
				     enum xmpp_sasl_error *error);
/* After SASL_SUCCESS: the prepared local part of the authorised user. */
struct td_str xmpp_sasl_user(const struct xmpp_sasl *s);
/* Whom the client wants to be, whether there is such an account or not; NULL before it said so. */
const char *xmpp_sasl_bare(const struct xmpp_sasl *s);
/* Whom the client asked to act for, prepared; "" when it left that out. */
struct td_str xmpp_sasl_authzid(const struct xmpp_sasl *s);
const char *xmpp_sasl_mechanism(const struct xmpp_sasl *s);
unsigned xmpp_sasl_mechanism_bit(const struct xmpp_sasl *s);
/* SASL_M_SCRAM_SHA256 when the account has no verifier for it and its store could keep one (XEP-0480); else 0. */
unsigned xmpp_sasl_lacks(const struct xmpp_sasl *s);
/* A verifier from the salted password; key->salt, salt_len and iterations are what it was salted with. */
bool xmpp_scram_from_salted(struct td_str salted, struct store_scram *key);
/* store://: new accounts and verifiers can be written there. */
bool xmpp_cred_source_is_store(const struct xmpp_cred_source *s);
/* Free; a pending fetch is forgotten safely. NULL is fine. */
void xmpp_sasl_free(struct xmpp_sasl *s);
#endif
