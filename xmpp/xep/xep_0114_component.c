/* xep-0114 - external components: header, handshake, stanzas in and out.
 *
 *   XS_HEADER --header--> XS_COMPONENT --handshake--> XS_JOINING (moves to the domain's worker) --> XS_JOINED
 *
 * The stream is a struct xmpp_c2s whose steps lead here; the reader takes jabber:component:accept for
 * jabber:client.  A component has no session and no store: what was written to it and did not reach the kernel
 * when its stream ends goes back to the senders, as does what is sent while it is away. */
#include "xmpp/component.h"

#include <stdlib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include "xmpp/c2s_priv.h"
#include "xmpp/modules.h"
#include "xmpp/script.h"

#define AWAY_TEXT "The component is not connected."

/* ---- who is connected ---- */

static struct td_map *
table(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_COMPONENT];
}

struct xmpp_component *
xmpp_component_find(struct xmpp_env *env, struct td_str domain)
{
	struct xmpp_component *k = td_map_find(table(env), domain);
	ptrdiff_t dot;

	while (k == NULL && (dot = td_str_chr(domain, '.')) >= 0) {
		domain = td_str(domain.p + dot + 1, domain.len - (size_t)dot - 1);
		k = td_map_find(table(env), domain);
		if (k != NULL && !k->subdomains)
			return NULL;
	}
	return k;
}

void
xmpp_components_each(struct xmpp_env *env, void (*fn)(struct xmpp_component *k, void *arg),
		     void *arg)
{
	struct xmpp_component *k;
	size_t i = 0;

	while ((k = td_map_next(table(env), &i)) != NULL)
		fn(k, arg);
}

void
xmpp_component_leave(struct xmpp_c2s *c)
{
	struct xmpp_component *k = c->comp;

	if (k == NULL || !k->joined)
		return;
	k->joined = false;
	(void)td_map_del(table(c->env), k->domain);
	if (c->env->delegates)
		xmpp_delegation_left(c->env, k->domain);
	td_log_info(&c->log, "component-left", "domain=%s", td_esc(k->domain));
}

void
xmpp_component_flushed(struct xmpp_c2s *c)
{
	struct xmpp_component *k = c->comp;

	for (size_t i = 0; k != NULL && i < k->n_sent; i++)
		xmpp_stanza_unref(&k->sent[i]);
	if (k != NULL)
		k->n_sent = 0;
}

void
xmpp_component_free(struct xmpp_c2s *c)
{
	struct xmpp_component *k = c->comp;

	xmpp_component_leave(c);
	c->comp = NULL;
	if (k == NULL)
		return;
	for (size_t i = 0; i < k->n_sent; i++) {
		if (k->sent[i]->kind != XK_PRESENCE)
			xmpp_bounce(c->env, k->sent[i], XE_REMOTE_SERVER_TIMEOUT, AWAY_TEXT);
		xmpp_stanza_unref(&k->sent[i]);
	}
	xmpp_privilege_free(k);
	free(k->sent);
	free(k);
}

/* ---- to the component ---- */

static void
keep_sent(struct xmpp_component *k, struct xmpp_stanza *s)
{
	if (k->n_sent == k->cap_sent) {
		k->cap_sent = k->cap_sent > 0 ? k->cap_sent * 2 : 16;
		k->sent = td_realloc(k->sent, k->cap_sent * sizeof(struct xmpp_stanza *));
	}
	k->sent[k->n_sent++] = xmpp_stanza_ref(s);
}

void
xmpp_component_send(struct xmpp_component *k, struct xmpp_stanza *s)
{
	keep_sent(k, s);
	k->c->env->stats.delivered++;
	xmpp_c2s_write(k->c, s);
}

static void
component_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct xmpp_component *k = xmpp_component_find(env, s->to.domain);

	if (k != NULL && (s->flags & XF_PRIVILEGED) && xmpp_privilege_seen(k, s))
		;
	else if (k != NULL)
		xmpp_component_send(k, s);
	else if (s->kind != XK_PRESENCE)
		xmpp_bounce(env, s, XE_REMOTE_SERVER_TIMEOUT, AWAY_TEXT);
	xmpp_stanza_unref(&s);
}

/* ---- opening ---- */

static void
refused(struct xmpp_c2s *c, struct td_str domain, const char *why)
{
	td_log_notice(&c->log, "component-refused", "domain=%s why=%s", td_esc(domain), why);
	c->env->stats.auth_failures++;
}

/* Nobody on the way can listen: TLS, or the stream does not leave this host. */
static bool
is_private(const struct xmpp_c2s *c)
{
	struct td_str peer = td_cstr(c->cc->ops->peer(c->io));

	return c->tls || td_str_eqc(peer, "unix") || td_str_starts(peer, "127.") ||
	       td_str_starts(peer, "[::1]:") || td_str_starts(peer, "[::ffff:127.");
}

static void
write_header(struct xmpp_c2s *c)
{
	struct td_buf *out = xmpp_c2s_out(c);

	td_random_id(c->comp->sid, sizeof(c->comp->sid) - 1);
	td_buf_addf(out,
		    "<?xml version='1.0'?><stream:stream xmlns='" NS_COMPONENT
		    "' xmlns:stream='" NS_STREAM "' id='%s' from='",
		    c->comp->sid);
	td_buf_add_xml(out, td_cstr(c->domain));
	td_buf_addz(out, "'>");
	c->out_open = true;
}

/* NULL, or the stream error; then <text> and <why> say more. */
static const char *
check_header(struct xmpp_c2s *c, struct td_str to, struct td_arena *a,
	     struct xmpp_component_conf *cf, const char **why, const char **text)
{
	struct xmpp_jid j;

	*text = NULL;
	*why = "no-address";
	if (to.len == 0)
		return "improper-addressing";
	*why = "unknown";
	if (xmpp_jid_parse(a, to, &j, NULL) < 0 || j.local.p != NULL || j.resource.p != NULL ||
	    c->env->host->component == NULL || !c->env->host->component(c->env, j.domain, cf))
		return "host-unknown";
	*why = "clear-text";
	*text = "Components connect under TLS, or from this host";
	return is_private(c) ? NULL : "policy-violation";
}

void
xmpp_component_header(struct xmpp_c2s *c)
{
	struct td_str to = xmpp_node_attr(c->reader.header, "to");
	struct td_arena *a = td_arena_new(256);
	struct xmpp_component_conf cf;
	const char *why, *text, *error = check_header(c, to, a, &cf, &why, &text);

	c->component = true;
	c->comp = NULL;
	if (error != NULL) {
		refused(c, to, why);
		xmpp_c2s_end(c, error, text);
	} else {
		free(c->domain);
		c->domain = td_strndup(cf.domain);
		c->comp = td_zalloc(sizeof(*c->comp));
		c->comp->c = c;
		c->comp->domain = td_cstr(c->domain);
		write_header(c);
		c2s_goto(c, XS_COMPONENT, "header");
	}
	td_arena_free(a);
}

/* SHA1(stream id + secret); false: there is no secret. */
static bool
prove(const struct xmpp_component *k, const struct xmpp_component_conf *cf, unsigned char out[20])
{
	struct td_buf b = { 0 };
	bool ok = cf->secret.len > 0;

	td_buf_addz(&b, k->sid);
	td_buf_adds(&b, cf->secret);
	if (ok && EVP_Digest(b.p, b.len, out, NULL, EVP_sha1(), NULL) != 1)
		abort();
	td_wipe(b.p, b.cap);
	td_buf_fini(&b);
	return ok;
}

bool
xmpp_component_handshake(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct td_str got = td_str_trim(xmpp_node_text(s->arena, s->root));
	struct xmpp_component *k = c->comp;
	struct xmpp_component_conf cf;
	struct td_buf want = { 0 };
	bool has = c->env->host->component(c->env, k->domain, &cf) && prove(k, &cf, k->proof), ok;

	td_buf_add_hex(&want, k->proof, sizeof(k->proof));
	ok = has && got.len == want.len && CRYPTO_memcmp(got.p, want.p, want.len) == 0;
	td_wipe(want.p, want.cap);
	td_buf_fini(&want);
	if (!ok) {
		refused(c, k->domain, has ? "handshake" : "no-secret");
		xmpp_c2s_end(c, "not-authorized", NULL);
		return false;
	}
	c->reader.max_stanza = c->cc->max_stanza;
	c2s_goto(c, XS_JOINING, "handshake");
	c2s_wait(c); /* what comes with the handshake is read at the owner's */
	if (c2s_move(c, k->domain))
		return false;
	xmpp_component_moved(c);
	return c->state == XS_JOINED;
}

void
xmpp_component_moved(struct xmpp_c2s *c)
{
	struct xmpp_component *k = c->comp;
	struct xmpp_component_conf cf;

	if (!c->env->host->component(c->env, k->domain, &cf)) {
		xmpp_c2s_end(c, "host-gone", NULL);
		return;
	}
	if (td_map_find(table(c->env), k->domain) != NULL) {
		refused(c, k->domain, "conflict");
		xmpp_c2s_end(c, "conflict", "This component is connected already");
		return;
	}
	k->subdomains = cf.subdomains;
	k->joined = true;
	(void)td_map_set(table(c->env), k->domain, k);
	xmpp_c2s_write_raw(c, "<handshake/>");
	td_log_info(&c->log, "component-joined", "domain=%s tls=%d", td_esc(k->domain), c->tls);
	xmpp_privilege_tell(k, true);
	c2s_joined(c); /* c may be gone from here on */
}

/* ---- from the component ---- */

/* Below its own domain, where the configuration lets it speak for that. */
static bool
is_below(const struct xmpp_component *k, struct td_str domain)
{
	size_t n = k->domain.len;

	return k->subdomains && domain.len > n + 1 && domain.p[domain.len - n - 1] == '.' &&
	       td_str_eq(td_str(domain.p + domain.len - n, n), k->domain);
}

/* RFC 6120 8.2.3, as for clients. */
static bool
is_valid(const struct xmpp_stanza *s)
{
	const struct xmpp_node *first = xmpp_stanza_payload(s);

	if (s->kind == XK_PRESENCE)
		return s->type != XT_UNKNOWN;
	if (s->kind != XK_IQ)
		return true;
	if (s->id.p == NULL || s->type == XT_NONE || s->type == XT_UNKNOWN)
		return false;
	return (s->type != XT_GET && s->type != XT_SET) ||
	       (first != NULL && xmpp_node_next_elem(first) == NULL);
}

static void
answer_error(struct xmpp_component *k, struct xmpp_stanza *s, enum xmpp_error e)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, TD_STR_NULL);

	if (r == NULL)
		return;
	if (s->to.full.p == NULL) /* no address, but what it wrote */
		r->from.full = td_arena_str(r->arena, xmpp_node_attr(s->root, "to"));
	xmpp_stanza_seal(r);
	xmpp_component_send(k, r);
	xmpp_stanza_unref(&r);
}

static void
from_component(struct xmpp_component *k, struct xmpp_stanza *s)
{
	struct xmpp_env *env = k->c->env;
	struct xmpp_stanza *now = xmpp_stanza_ref(s);

	if (env->hooks != 0 && xmpp_hook_received(env, NULL, &now))
		return;
	if (!is_valid(now)) /* a script's doing */
		answer_error(k, now, XE_BAD_REQUEST);
	else if (!xmpp_privilege_stanza(k, now))
		xmpp_route(env, xmpp_stanza_ref(now));
	xmpp_stanza_unref(&now);
}

bool
xmpp_component_stanza(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct xmpp_component *k = c->comp;
	const char *error = NULL;

	if (s->from.full.p == NULL)
		error = s->flags & XF_BAD_FROM ? "invalid-from" : "improper-addressing";
	else if (!td_str_eq(s->from.domain, k->domain) && !is_below(k, s->from.domain))
		error = "invalid-from";
	else if (s->to.full.p == NULL && !(s->flags & XF_BAD_TO))
		error = "improper-addressing";
	if (error != NULL) {
		xmpp_c2s_end(c, error, NULL);
		return false;
	}
	if (c->env->log_stanzas)
		c->env->host->log_stanza(c->env, true, s, c->cc->ops->peer(c->io));
	if (s->flags & XF_BAD_TO)
		answer_error(k, s, XE_JID_MALFORMED);
	else if (!is_valid(s))
		answer_error(k, s, XE_BAD_REQUEST);
	else
		from_component(k, s);
	return c->state == XS_JOINED;
}

bool
xmpp_component_other(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	if (xmpp_node_is(s->root, NS_STREAM, "error"))
		xmpp_c2s_end(c, NULL, NULL);
	else
		xmpp_c2s_end(c, "unsupported-stanza-type", NULL);
	return false;
}

/* ---- the module ---- */

static void
component_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_COMPONENT] = td_zalloc(sizeof(struct td_map));
}

static void
component_stop(struct xmpp_env *env)
{
	td_map_fini(table(env));
	free(table(env));
	env->module_data[XMPP_SLOT_COMPONENT] = NULL;
}

/* A component that is no longer configured, or has another secret, is let go. */
static void
component_reconfigured(struct xmpp_env *env)
{
	struct xmpp_component *k;
	size_t i = 0;

	while ((k = td_map_next(table(env), &i)) != NULL) {
		struct xmpp_component_conf cf;
		unsigned char proof[20] = { 0 };

		if (!env->host->component(env, k->domain, &cf)) {
			xmpp_c2s_end(k->c, "host-gone", NULL);
		} else if (!prove(k, &cf, proof) ||
			   CRYPTO_memcmp(proof, k->proof, sizeof(proof)) != 0) {
			xmpp_c2s_end(k->c, "reset", "The secret was changed");
		} else {
			k->subdomains = cf.subdomains;
		}
	}
}

const struct xmpp_module xep_0114_component = {
	.name = "xep-0114-component",
	.xep = "0114",
	.doc = "External components with a domain of their own, named in component stanzas",
	.version = "1.6",
	.start = component_start,
	.stop = component_stop,
	.reconfigured = component_reconfigured,
	.service = "component",
	.service_deliver = component_deliver,
};
