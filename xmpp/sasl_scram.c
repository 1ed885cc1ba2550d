/* sasl_scram - SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms (RFC 5802, 7677), server side.
 *
 * Ours, not GNU SASL's: see docs/adr/0003-sasl.md.  Two client messages; the credentials are
 * fetched between reading the first and answering it. */
#include "xmpp/hmac.h"
#include "xmpp/sasl_priv.h"

#include <stdlib.h>
#include <openssl/crypto.h>

#define NONCE_BYTES 18 /* 24 characters of base64, which never has a comma */

struct scram {
	bool second;         /* the next message is client-final */
	struct td_buf gs2;   /* gs2-header and channel binding data: what c= must hold */
	struct td_buf auth;  /* AuthMessage, RFC 5802 section 3, as it grows */
	struct td_buf nonce; /* client's, then with the server's behind it */
	struct store_scram key;
};

/* ---- syntax ---- */

/* Cut the text up to the next comma (or the end) off <s>.  False when <s> is at its end, which
 * is p == NULL: after a last comma an empty field is still to come. */
static bool
next_field(struct td_str *s, struct td_str *field)
{
	ptrdiff_t comma;

	if (s->p == NULL)
		return false;
	comma = td_str_chr(*s, ',');
	*field = comma < 0 ? *s : td_str(s->p, (size_t)comma);
	*s = comma < 0 ? TD_STR_NULL : td_str(s->p + comma + 1, s->len - (size_t)comma - 1);
	return true;
}

/* "<attr>=value" with a value; *value_out is the value. */
static bool
is_attr(struct td_str field, char attr, struct td_str *value_out)
{
	if (field.len < 3 || field.p[0] != attr || field.p[1] != '=')
		return false;
	*value_out = td_str(field.p + 2, field.len - 2);
	return true;
}

/* Optional extensions are ignored; "m" is a mandatory one and we know none. */
static bool
is_extension(struct td_str field)
{
	return field.len >= 3 && field.p[1] == '=' && field.p[0] != 'm' &&
	       ((field.p[0] >= 'a' && field.p[0] <= 'z') ||
		(field.p[0] >= 'A' && field.p[0] <= 'Z'));
}

static bool
is_printable(struct td_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
			return false;
	}
	return s.len > 0;
}

/* saslname: =2C and =3D stand for , and =; any other = is an error. */
static bool
decode_saslname(struct td_str in, struct td_buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		char c = in.p[i];

		if (c == '=') {
			if (in.len - i < 3 ||
			    (memcmp(in.p + i, "=2C", 3) != 0 && memcmp(in.p + i, "=3D", 3) != 0))
				return false;
			c = in.p[i + 1] == '2' ? ',' : '=';
			i += 2;
		}
		td_buf_addc(out, c);
	}
	return out->len > 0 && td_utf8_valid(in) && memchr(in.p, '\0', in.len) == NULL;
}

/* ---- channel binding, RFC 5802 section 6 ---- */

static struct td_str
binding_data(const struct xmpp_sasl *s, struct td_str type)
{
	if (td_str_eqc(type, "tls-exporter"))
		return td_str(s->cb_exporter, s->cb_exporter_len);
	if (td_str_eqc(type, "tls-server-end-point"))
		return td_str(s->cb_end_point, s->cb_end_point_len);
	if (td_str_eqc(type, "tls-unique"))
		return td_str(s->cb_unique, s->cb_unique_len);
	return TD_STR_NULL;
}

/* Check the gs2-cbind-flag and put the data it names into *data_out. */
static enum xmpp_sasl_step
check_flag(const struct xmpp_sasl *s, struct td_str flag, struct td_str *data_out,
	   enum xmpp_sasl_error *error)
{
	struct td_str type;

	*data_out = TD_STR_NULL;
	if (is_attr(flag, 'p', &type)) {
		if (!s->mech->plus)
			return sasl_fail(error, SASL_MALFORMED_REQUEST);
		*data_out = binding_data(s, type);
		return data_out->len > 0 ? SASL_CONTINUE : sasl_fail(error, SASL_NOT_AUTHORIZED);
	}
	if (s->mech->plus || (!td_str_eqc(flag, "n") && !td_str_eqc(flag, "y")))
		return sasl_fail(error, SASL_MALFORMED_REQUEST);
	/* "y": it could bind but saw no -PLUS.  We did offer it, so someone took it away. */
	if (flag.p[0] == 'y' &&
	    (s->offered & (SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS)) != 0)
		return sasl_fail(error, SASL_NOT_AUTHORIZED);
	return SASL_CONTINUE;
}

/* ---- the exchange ---- */

/* gs2-header = flag "," [ "a=" authzid ] ","; then "n=" name ",r=" nonce [extensions] */
static enum xmpp_sasl_step
client_first(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct scram *sc = s->state;
	struct td_str rest = in, flag, authz, field, value, data, nonce;
	struct td_buf name = { 0 }, authzid = { 0 };
	enum xmpp_sasl_step step = sasl_fail(error, SASL_MALFORMED_REQUEST);

	if (!next_field(&rest, &flag) || !next_field(&rest, &authz) || rest.p == NULL)
		return step;
	step = check_flag(s, flag, &data, error);
	if (step != SASL_CONTINUE)
		return step;
	td_buf_add(&sc->gs2, in.p, (size_t)(rest.p - in.p));
	td_buf_adds(&sc->gs2, data);
	td_buf_adds(&sc->auth, rest);
	step = sasl_fail(error, SASL_MALFORMED_REQUEST);
	if (authz.len > 0 && (!is_attr(authz, 'a', &value) || !decode_saslname(value, &authzid)))
		goto out;
	/* A reserved-mext "m=" would stand before n= and fails here, as it must. */
	if (!next_field(&rest, &field) || !is_attr(field, 'n', &value) ||
	    !decode_saslname(value, &name) || !next_field(&rest, &field) ||
	    !is_attr(field, 'r', &nonce) || !is_printable(nonce))
		goto out;
	while (next_field(&rest, &field)) {
		if (!is_extension(field))
			goto out;
	}
	td_buf_adds(&sc->nonce, nonce);
	step = sasl_lookup(s, td_buf_str(&name), td_buf_str(&authzid), out, error);
out:
	td_buf_fini(&name);
	td_buf_fini(&authzid);
	return step;
}

static int
by_octets(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* XEP-0474 6.1: the hash of what was announced, so that nobody took the stronger half away. */
static void
add_downgrade_hash(const struct xmpp_sasl *s, struct td_buf *out)
{
	const char *names[XMPP_SASL_NAMES];
	size_t n = xmpp_sasl_names(s->offered, names);
	unsigned char hash[EVP_MAX_MD_SIZE];
	struct td_buf list = { 0 };
	unsigned len = 0;

	qsort(names, n, sizeof(*names), by_octets);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			td_buf_addc(&list, '\x1e');
		td_buf_addz(&list, names[i]);
	}
	if (s->bindings != 0)
		td_buf_addc(&list, '\x1f');
	if (s->bindings & XB_TLS_EXPORTER)
		td_buf_addz(&list, "tls-exporter");
	if (s->bindings == (XB_TLS_EXPORTER | XB_TLS_SERVER_END_POINT))
		td_buf_addc(&list, '\x1e');
	if (s->bindings & XB_TLS_SERVER_END_POINT)
		td_buf_addz(&list, "tls-server-end-point");
	if (EVP_Digest(list.p, list.len, hash, &len, s->mech->md(), NULL) == 1) {
		td_buf_addz(out, ",h=");
		td_buf_add_base64(out, hash, len);
	}
	td_buf_fini(&list);
}

/* "r=" nonce ",s=" salt ",i=" count [",h=" hash] */
static enum xmpp_sasl_step
server_first(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct scram *sc = s->state;
	unsigned char fresh[NONCE_BYTES];

	(void)error;
	sasl_scram_pick(s, s->mech->md(), &sc->key);
	if (s->nonce != NULL) {
		td_buf_addz(&sc->nonce, s->nonce);
	} else {
		td_random(fresh, sizeof(fresh));
		td_buf_add_base64(&sc->nonce, fresh, sizeof(fresh));
	}
	td_buf_addz(out, "r=");
	td_buf_adds(out, td_buf_str(&sc->nonce));
	td_buf_addz(out, ",s=");
	td_buf_add_base64(out, sc->key.salt, sc->key.salt_len);
	td_buf_addf(out, ",i=%u", sc->key.iterations);
	if (s->announced)
		add_downgrade_hash(s, out);
	td_buf_addc(&sc->auth, ',');
	td_buf_adds(&sc->auth, td_buf_str(out));
	td_buf_addc(&sc->auth, ',');
	sc->second = true;
	return SASL_CONTINUE;
}

/* ClientKey = proof XOR HMAC(StoredKey, AuthMessage); right if H(ClientKey) is StoredKey. */
static bool
proof_is_right(const EVP_MD *md, const struct scram *sc, struct td_str proof)
{
	unsigned char sig[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE];
	bool right;

	if (proof.len != sc->key.key_len ||
	    !xmpp_hmac(md, sc->key.stored_key, sc->key.key_len, td_buf_str(&sc->auth), sig))
		return false;
	for (size_t i = 0; i < proof.len; i++)
		sig[i] ^= (unsigned char)proof.p[i];
	right = EVP_Digest(sig, proof.len, stored, NULL, md, NULL) == 1 &&
		CRYPTO_memcmp(stored, sc->key.stored_key, sc->key.key_len) == 0;
	td_wipe(sig, sizeof(sig)); /* it was the client's key */
	return right;
}

/* "c=" binding ",r=" nonce [extensions] ",p=" proof */
static enum xmpp_sasl_step
client_final(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct scram *sc = s->state;
	struct td_str rest = in, field, value, nonce, proof_b64 = TD_STR_NULL;
	struct td_buf binding = { 0 }, proof = { 0 };
	enum xmpp_sasl_step step = sasl_fail(error, SASL_MALFORMED_REQUEST);
	unsigned char sig[EVP_MAX_MD_SIZE];
	bool right;

	if (!next_field(&rest, &field) || !is_attr(field, 'c', &value) ||
	    td_base64_decode(value, &binding) < 0)
		goto out;
	if (!next_field(&rest, &field) || !is_attr(field, 'r', &nonce))
		goto out;
	while (next_field(&rest, &field)) {
		if (rest.p == NULL && is_attr(field, 'p', &proof_b64))
			break;
		if (!is_extension(field))
			goto out;
	}
	if (proof_b64.p == NULL || td_base64_decode(proof_b64, &proof) < 0)
		goto out;
	/* AuthMessage ends with the client-final-message-without-proof. */
	td_buf_add(&sc->auth, in.p, (size_t)(field.p - 1 - in.p));
	right = td_str_eq(nonce, td_buf_str(&sc->nonce));
	right &= td_str_eq(td_buf_str(&binding), td_buf_str(&sc->gs2));
	right &= proof_is_right(s->mech->md(), sc, td_buf_str(&proof));
	step = sasl_verdict(s, right, error);
	if (step != SASL_SUCCESS)
		goto out;
	step = sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE);
	if (!xmpp_hmac(s->mech->md(), sc->key.server_key, sc->key.key_len, td_buf_str(&sc->auth),
		       sig))
		goto out;
	td_buf_addz(out, "v=");
	td_buf_add_base64(out, sig, sc->key.key_len);
	step = SASL_SUCCESS;
out:
	td_buf_fini(&binding);
	td_buf_fini(&proof);
	return step;
}

static enum xmpp_sasl_step
scram_step(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	const struct scram *sc = s->state;

	return sc->second ? client_final(s, in, out, error) : client_first(s, in, out, error);
}

static void
scram_fini(struct xmpp_sasl *s)
{
	struct scram *sc = s->state;

	td_buf_fini(&sc->gs2);
	td_buf_fini(&sc->auth);
	td_buf_fini(&sc->nonce);
}

#define SCRAM(symbol, text, b, hash, with_plus) \
	const struct sasl_mech symbol = {       \
		.name = (text),                 \
		.bit = (b),                     \
		.md = (hash),                   \
		.plus = (with_plus),            \
		.size = sizeof(struct scram),   \
		.client_first = true,           \
		.step = scram_step,             \
		.resume = server_first,         \
		.fini = scram_fini,             \
	}

SCRAM(sasl_scram_sha1, "SCRAM-SHA-1", SASL_M_SCRAM_SHA1, EVP_sha1, false);
SCRAM(sasl_scram_sha256, "SCRAM-SHA-256", SASL_M_SCRAM_SHA256, EVP_sha256, false);
SCRAM(sasl_scram_sha1_plus, "SCRAM-SHA-1-PLUS", SASL_M_SCRAM_SHA1_PLUS, EVP_sha1, true);
SCRAM(sasl_scram_sha256_plus, "SCRAM-SHA-256-PLUS", SASL_M_SCRAM_SHA256_PLUS, EVP_sha256, true);
