/* xep-0215 - external service discovery: STUN and TURN servers and the like, from the external_service stanzas of the
 * domain, with fixed credentials or such as are made for the asker and expire.
 *
 * Made credentials are those of coturn's use-auth-secret ("A REST API for Access to TURN Services"): the user name is
 * the time of expiry and a word that tells users apart, the password its HMAC-SHA1 under the shared secret. */
#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "conf/conf.h"
#include "xmpp/modules.h"

#define NS_EXTDISCO "urn:xmpp:extdisco:2"

struct service {
	struct td_str name, type, host, transport, secret, username, password;
	unsigned port;
	int64_t lifetime;
};

static unsigned
default_port(struct td_str type)
{
	static const struct {
		const char *type;
		unsigned port;
	} known[] = {
		{ "stun", 3478 },
		{ "turn", 3478 },
		{ "stuns", 5349 },
		{ "turns", 5349 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (td_str_eqc(type, known[i].type))
			return known[i].port;
	return 0;
}

static struct service
read_service(struct xmpp_env *env, const struct conf_scope *s)
{
	const struct conf_at at = { .scope = s };
	const struct conf *c = env->conf;
	struct service sv = {
		.name = conf_scope_name(s),
		.type = conf_str(c, &at, "type"),
		.host = conf_str(c, &at, "host"),
		.transport = conf_str(c, &at, "transport"),
		.secret = conf_str(c, &at, "secret"),
		.username = conf_str(c, &at, "username"),
		.password = conf_str(c, &at, "password"),
		.port = (unsigned)conf_int(c, &at, "port"),
		.lifetime = conf_int(c, &at, "lifetime"),
	};

	if (sv.port == 0)
		sv.port = default_port(sv.type);
	return sv;
}

static void
add_attr(struct td_buf *b, const char *name, struct td_str value)
{
	if (value.len > 0)
		td_buf_add_attr(b, name, value);
}

static void
add_made(const struct service *sv, struct td_str user, struct td_buf *b)
{
	uint64_t expires = td_wall_ms() / 1000 + (uint64_t)sv->lifetime;
	struct td_buf name = { 0 }, password = { 0 };
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char stamp[32];

	td_buf_addf(&name, "%llu:%016llx", (unsigned long long)expires,
		    (unsigned long long)td_str_hash(user));
	if (HMAC(EVP_sha1(), sv->secret.p, (int)sv->secret.len, (const unsigned char *)name.p,
		 name.len, mac, &n) == NULL)
		abort();
	td_buf_add_base64(&password, mac, n);
	add_attr(b, "username", td_buf_str(&name));
	add_attr(b, "password", td_buf_str(&password));
	td_stamp(expires * 1000, stamp);
	add_attr(b, "expires", td_cstr(stamp));
	td_buf_addz(b, " restricted='true'");
	td_buf_fini(&name);
	td_wipe(password.p, password.cap);
	td_buf_fini(&password);
}

static void
write_service(const struct service *sv, struct td_str user, struct td_buf *b)
{
	td_buf_addz(b, "<service");
	add_attr(b, "type", sv->type);
	add_attr(b, "host", sv->host);
	if (sv->port > 0)
		td_buf_addf(b, " port='%u'", sv->port);
	add_attr(b, "transport", sv->transport);
	add_attr(b, "name", sv->name);
	if (sv->secret.len > 0) {
		add_made(sv, user, b);
	} else if (sv->username.len > 0) {
		add_attr(b, "username", sv->username);
		add_attr(b, "password", sv->password);
		td_buf_addz(b, " restricted='true'");
	}
	td_buf_addz(b, "/>");
}

static int
services_get(struct xmpp_iq *iq)
{
	struct td_str type = xmpp_node_attr(iq->payload, "type");
	const struct conf_scope *s = NULL;
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<services xmlns='" NS_EXTDISCO "'");
	add_attr(&b, "type", type);
	td_buf_addc(&b, '>');
	while ((s = conf_next_in_domain(iq->env->conf, iq->s->to.domain, "external_service", s)) !=
	       NULL) {
		struct service sv = read_service(iq->env, s);

		if (type.p == NULL || td_str_eq(type, sv.type))
			write_service(&sv, iq->s->from.bare, &b);
	}
	td_buf_addz(&b, "</services>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
	return XMPP_DONE;
}

static bool
is_wanted(const struct service *sv, const struct xmpp_node *want)
{
	struct td_str port = xmpp_node_attr(want, "port");
	int64_t n = 0;

	return td_str_eq(xmpp_node_attr(want, "type"), sv->type) &&
	       td_str_ieq(xmpp_node_attr(want, "host"), sv->host) &&
	       (port.p == NULL || (td_str_to_dec(port, 1, 65535, &n) && n == (int64_t)sv->port)) &&
	       (sv->secret.len > 0 || sv->username.len > 0);
}

static int
credentials_get(struct xmpp_iq *iq)
{
	const struct xmpp_node *want = xmpp_node_child(iq->payload, NS_EXTDISCO, "service");
	const struct conf_scope *s = NULL;
	struct td_buf b = { 0 };
	size_t found = 0;

	if (want == NULL || xmpp_node_attr(want, "host").len == 0 ||
	    xmpp_node_attr(want, "type").len == 0) {
		xmpp_iq_error(iq, XE_BAD_REQUEST, NULL);
		return XMPP_DONE;
	}
	td_buf_addz(&b, "<credentials xmlns='" NS_EXTDISCO "'>");
	while ((s = conf_next_in_domain(iq->env->conf, iq->s->to.domain, "external_service", s)) !=
	       NULL) {
		struct service sv = read_service(iq->env, s);

		if (!is_wanted(&sv, want))
			continue;
		found++;
		write_service(&sv, iq->s->from.bare, &b);
	}
	td_buf_addz(&b, "</credentials>");
	if (found > 0)
		xmpp_iq_result(iq, td_buf_str(&b));
	else
		xmpp_iq_error(iq, XE_ITEM_NOT_FOUND, NULL);
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
	return XMPP_DONE;
}

static const char *const extdisco_features[] = { NS_EXTDISCO, NULL };

/* Credentials cost the operator money: for users of this server. */
static const struct xmpp_iq_entry extdisco_iqs[] = {
	{ NS_EXTDISCO, "services", IQ_GET | IQ_TO_HOST | IQ_FROM_CLIENT, services_get },
	{ NS_EXTDISCO, "credentials", IQ_GET | IQ_TO_HOST | IQ_FROM_CLIENT, credentials_get },
	{ 0 },
};

const struct xmpp_module xep_0215_extdisco = {
	.name = "xep-0215-extdisco",
	.xep = "0215",
	.doc = "STUN, TURN and other services of external_service stanzas, with credentials that "
	       "expire",
	.version = "1.0.0",
	.features = extdisco_features,
	.iqs = extdisco_iqs,
};
