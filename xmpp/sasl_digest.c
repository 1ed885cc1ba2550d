/* sasl_digest - DIGEST-MD5 (RFC 2831, historic since RFC 6331), for old clients only.
 *
 * GNU SASL runs the exchange.  It asks for the password in the middle of a step and cannot
 * wait, so the user name is read out of the response before it gets to see it; the two
 * readings must agree in the end. */
#include "xmpp/sasl_priv.h"

#include <stdlib.h>
#include <gsasl.h>

enum digest_state {
	DIGEST_CHALLENGE = 0,
	DIGEST_RESPONSE,
	DIGEST_LAST, /* rspauth was sent, an empty response is due */
};

struct digest {
	enum digest_state state;
	Gsasl_session *session;
	char *response;
};

void
sasl_digest_ha1(const char *user, const char *realm, const char *password, char out[33])
{
	unsigned char md[EVP_MAX_MD_SIZE] = { 0 };
	struct td_buf b = { 0 };
	unsigned len = 0;

	td_buf_reserve(&b, strlen(user) + strlen(realm) + strlen(password) + 3);
	td_buf_addf(&b, "%s:", user);
	td_buf_addz(&b, realm);
	td_buf_addc(&b, ':');
	td_buf_addz(&b, password);
	out[0] = '\0'; /* where MD5 is forbidden nothing matches */
	if (EVP_Digest(b.p, b.len, md, &len, EVP_md5(), NULL) == 1) {
		td_wipe(b.p, b.len);
		td_buf_clear(&b);
		td_buf_add_hex(&b, md, 16);
		memcpy(out, td_buf_cstr(&b), 33);
	}
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
	td_wipe(md, sizeof(md));
}

/* ---- reading the response ---- */

/* One name=value or name="quoted \"value\""; false at the end or when it is none. */
static bool
next_directive(struct td_str *s, struct td_str *name, struct td_buf *value)
{
	size_t i = 0, start;
	bool quoted;

	td_buf_clear(value);
	while (i < s->len && (s->p[i] == ',' || s->p[i] == ' ' || s->p[i] == '\t' ||
			      s->p[i] == '\r' || s->p[i] == '\n'))
		i++;
	start = i;
	while (i < s->len && s->p[i] != '=')
		i++;
	if (i == s->len)
		return false;
	*name = td_str_trim(td_str(s->p + start, i - start));
	i++;
	quoted = i < s->len && s->p[i] == '"';
	if (quoted)
		i++;
	for (; i < s->len && s->p[i] != (quoted ? '"' : ','); i++) {
		if (quoted && s->p[i] == '\\' && i + 1 < s->len)
			i++;
		td_buf_addc(value, s->p[i]);
	}
	if (quoted) {
		if (i == s->len)
			return false;
		i++;
	}
	*s = td_str(s->p + i, s->len - i);
	return true;
}

/* First value of <want> in <response>, malloced; NULL when there is none. */
static char *
find_directive(struct td_str response, const char *want)
{
	struct td_buf value = { 0 };
	struct td_str name;
	char *res = NULL;

	while (res == NULL && next_directive(&response, &name, &value)) {
		if (td_str_ieq(name, td_cstr(want)))
			res = td_strndup(td_buf_str(&value));
	}
	td_buf_fini(&value);
	return res;
}

/* ---- the exchange ---- */

/* One step of GNU SASL; adds what it says to <out>. */
static int
run(struct digest *d, struct td_str in, struct td_buf *out)
{
	char *text = NULL;
	size_t len = 0;
	int rc = gsasl_step(d->session, in.p != NULL ? in.p : "", in.len, &text, &len);

	if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE)
		td_buf_add(out, text, len);
	if (text != NULL)
		gsasl_free(text);
	return rc;
}

static enum xmpp_sasl_step
challenge(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct digest *d = s->state;
	struct xmpp_cred_hints hints;

	xmpp_cred_get_hints(s->source, td_cstr(s->domain), &hints);
	if (gsasl_server_start(sasl_gsasl(), "DIGEST-MD5", &d->session) != GSASL_OK)
		return sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE);
	if (gsasl_property_set(d->session, GSASL_REALM, hints.realm) != GSASL_OK ||
	    gsasl_property_set(d->session, GSASL_QOPS, "qop-auth") != GSASL_OK ||
	    run(d, TD_STR_NULL, out) != GSASL_NEEDS_MORE)
		return sasl_fail(error, SASL_TEMPORARY_AUTH_FAILURE);
	d->state = DIGEST_RESPONSE;
	return SASL_CONTINUE;
}

static enum xmpp_sasl_step
response(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct digest *d = s->state;
	enum xmpp_sasl_step step;
	char *name, *authzid, *uri;

	if (in.len == 0 || memchr(in.p, '\0', in.len) != NULL)
		return sasl_fail(error, SASL_MALFORMED_REQUEST);
	d->response = td_strndup(in);
	name = find_directive(in, "username");
	authzid = find_directive(in, "authzid");
	uri = find_directive(in, "digest-uri");
	/* The host after it differs between clients (domain or server name), so it may. */
	if (name == NULL || *name == '\0' || uri == NULL || !td_str_starts(td_cstr(uri), "xmpp/"))
		step = sasl_fail(error, SASL_MALFORMED_REQUEST);
	else
		step = sasl_lookup(s, td_cstr(name), td_cstr(authzid), out, error);
	free(name);
	free(authzid);
	free(uri);
	return step;
}

static void
set_password(struct xmpp_sasl *s, Gsasl_session *session)
{
	unsigned char junk[16];
	struct td_buf hex = { 0 };

	if (s->cred.digest_ha1 != NULL) {
		gsasl_property_set(session, GSASL_DIGEST_MD5_HASHED_PASSWORD, s->cred.digest_ha1);
	} else if (s->cred.password != NULL) {
		gsasl_property_set(session, GSASL_PASSWORD, s->cred.password);
	} else {
		td_random(junk, sizeof(junk)); /* nobody's */
		td_buf_add_hex(&hex, junk, sizeof(junk));
		gsasl_property_set(session, GSASL_DIGEST_MD5_HASHED_PASSWORD, td_buf_cstr(&hex));
		td_buf_fini(&hex);
	}
}

static bool
same_or_absent(const char *a, const char *b)
{
	return a == NULL || *a == '\0' ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

static enum xmpp_sasl_step
digest_resume(struct xmpp_sasl *s, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct digest *d = s->state;
	enum xmpp_sasl_step step;
	int rc;

	set_password(s, d->session);
	rc = run(d, td_cstr(d->response), out);
	if (rc == GSASL_MECHANISM_PARSE_ERROR)
		return sasl_fail(error, SASL_MALFORMED_REQUEST);
	/* GNU SASL must have checked the very name and authzid we looked up. */
	step = sasl_verdict(
		s,
		(rc == GSASL_OK || rc == GSASL_NEEDS_MORE) &&
			same_or_absent(gsasl_property_fast(d->session, GSASL_AUTHID), s->name) &&
			same_or_absent(gsasl_property_fast(d->session, GSASL_AUTHZID), s->authzid),
		error);
	if (step != SASL_SUCCESS)
		return step;
	/* rspauth goes into a challenge: clients older than RFC 6120 read no data in <success/>. */
	d->state = DIGEST_LAST;
	return SASL_CONTINUE;
}

static enum xmpp_sasl_step
digest_step(struct xmpp_sasl *s, struct td_str in, struct td_buf *out, enum xmpp_sasl_error *error)
{
	struct digest *d = s->state;

	switch (d->state) {
	case DIGEST_CHALLENGE: return challenge(s, out, error);
	case DIGEST_RESPONSE: return response(s, in, out, error);
	case DIGEST_LAST: break;
	}
	return in.len == 0 ? SASL_SUCCESS : sasl_fail(error, SASL_MALFORMED_REQUEST);
}

static void
digest_fini(struct xmpp_sasl *s)
{
	struct digest *d = s->state;

	if (d->session != NULL)
		gsasl_finish(d->session);
	free(d->response);
}

const struct sasl_mech sasl_digest_md5 = {
	.name = "DIGEST-MD5",
	.bit = SASL_M_DIGEST_MD5,
	.size = sizeof(struct digest),
	.step = digest_step,
	.resume = digest_resume,
	.fini = digest_fini,
};
