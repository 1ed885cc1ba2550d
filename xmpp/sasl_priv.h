/* sasl_priv - between sasl.c, the mechanisms (sasl_X.c) and the credential sources.
 * Thread: the owner of the exchange; the functions on keys and salts any. */
#ifndef XMPP_SASL_PRIV_H
#define XMPP_SASL_PRIV_H
#include <openssl/evp.h>
#include "xmpp/cred.h"
#include "xmpp/sasl.h"

#define SASL_MESSAGE_MAX 8192u /* base64, as on the wire */
#define SASL_PASSWORD_MAX 1023u

/* A mechanism.  step gets one decoded client message, which lives until it returns; when it
 * asks for credentials (sasl_lookup) resume goes on from there.  *out: raw, not base64. */
struct sasl_mech {
	const char *name;
	unsigned bit;
	const EVP_MD *(*md)(void); /* SCRAM */
	bool plus;
	size_t size; /* of s->state, zeroed */
	bool client_first;
	enum xmpp_sasl_step (*step)(struct xmpp_sasl *s, struct td_str in, struct td_buf *out,
				    enum xmpp_sasl_error *error);
	enum xmpp_sasl_step (*resume)(struct xmpp_sasl *s, struct td_buf *out,
				      enum xmpp_sasl_error *error);
	void (*fini)(struct xmpp_sasl *s); /* wipes the state */
};

enum sasl_phase {
	SASL_P_FIRST = 0, /* no message yet */
	SASL_P_RUNNING,
	SASL_P_FETCHING, /* SASL_WAIT was returned */
	SASL_P_FETCHED,  /* the wake callback was made */
	SASL_P_DONE,
	SASL_P_COUNT /* must be last */
};

struct sasl_fetch; /* outlives the exchange when that is freed while waiting */

struct xmpp_sasl {
	const struct sasl_mech *mech;
	enum sasl_phase phase;
	unsigned offered;
	unsigned bindings;               /* channel bindings named beside it: XB_* */
	bool announced;                  /* both are as the client was told */
	struct xmpp_cred_source *source; /* a reference */
	struct td_loop *loop;
	xmpp_sasl_wake *wake;
	void *wake_arg;
	char *domain;
	char *cb_exporter, *cb_end_point, *cb_unique; /* channel binding data, copied */
	size_t cb_exporter_len, cb_end_point_len, cb_unique_len;
	struct sasl_fetch *fetch;
	int fetch_rc;
	struct xmpp_credentials cred;
	struct xmpp_cred_hints hints; /* valid with cred */
	char *name;                   /* as the client sent it */
	char *user;                   /* prepared local part; NULL = cannot be one of ours */
	char *bare;
	char *authzid; /* NULL = none given */
	struct xmpp_sasl_token token;
	char *ids[XMPP_CERT_IDS]; /* EXTERNAL */
	size_t n_ids;
	const char *nonce; /* tests only: instead of random */
	void *state;       /* the mechanism's */
};

extern const struct sasl_mech sasl_scram_sha1, sasl_scram_sha256, sasl_scram_sha1_plus,
	sasl_scram_sha256_plus, sasl_plain, sasl_digest_md5, sasl_ht_none, sasl_ht_endp,
	sasl_ht_expr, sasl_anonymous, sasl_external;

/* Remember who this is about and fetch credentials, then go on with mech->resume. */
enum xmpp_sasl_step sasl_lookup(struct xmpp_sasl *s, struct td_str name, struct td_str authzid,
				struct td_buf *out, enum xmpp_sasl_error *error);
/* Be <name> without any credentials; false: that is no address. */
bool sasl_assume(struct xmpp_sasl *s, struct td_str name);
/* The proof was right or not; says what that comes to. */
enum xmpp_sasl_step sasl_verdict(struct xmpp_sasl *s, bool proved, enum xmpp_sasl_error *error);
enum xmpp_sasl_step sasl_fail(enum xmpp_sasl_error *error, enum xmpp_sasl_error e);

/* SASLprep (RFC 4013) of a password; <query> lets unassigned code points pass.  Returns a
 * malloced string (wipe with sasl_free_secret), or NULL when empty, too long or forbidden. */
char *sasl_prep_password(struct td_str password, bool query);
void sasl_free_secret(char **s);

/* Salt of <name> that looks random but stays the same: HMAC(server secret, md, name). */
void sasl_stable_salt(const EVP_MD *md, struct td_str name, unsigned char out[CRED_SALT_LEN]);
/* Fill key->stored_key and server_key from its salt and iterations (RFC 5802 section 3). */
int sasl_scram_keys(const EVP_MD *md, const char *password, struct store_scram *key);
/* Does <password> (prepared) give <key>?  Costs one key derivation. */
bool sasl_scram_check(const EVP_MD *md, const char *password, const struct store_scram *key);
/* The verifier to run the exchange with: the account's, or one nobody has the password of. */
void sasl_scram_pick(const struct xmpp_sasl *s, const EVP_MD *md, struct store_scram *out);
/* Lower-case hex of MD5(user:realm:password), RFC 2831 2.1.2.1. */
void sasl_digest_ha1(const char *user, const char *realm, const char *password, char out[33]);

struct Gsasl;
struct Gsasl *sasl_gsasl(void);
#endif
