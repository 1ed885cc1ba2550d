/* c2s - one client stream from its header to its end (RFC 6120).
 *
 *   XS_HEADER --header--> XS_OPEN --starttls--> XS_TLS --handshake--> XS_HEADER
 *   XS_OPEN --auth--> XS_SASL --success--> (moves to the account's worker) XS_HEADER
 *   XS_OPEN --authenticate--> XS_SASL [--> XS_TASK] --> (moves) XS_INLINE --> XS_BIND or XS_READY
 *   XS_HEADER --header, authenticated--> XS_BIND --bind iq--> XS_BINDING --> XS_READY
 *   any --stream error, </stream:stream>--> XS_CLOSED
 *
 * What may be said when is the table c2s_steps; the state is written by c2s_goto only. */
#include "xmpp/c2s_priv.h"

#include <stddef.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/component.h"
#include "xmpp/deliver.h"
#include "xmpp/sasl2.h"
#include "xmpp/script.h"
#include "xmpp/signin.h"
#include "xmpp/sm.h"
#include "xmpp/xep/xep_0077_register.h"

#define C2S_MAGIC 0xC25C25C2u
#define MAX_AUTH_FAILURES 3u
#define RATE_BURST_S 5u /* seconds' worth that may come at once */

static const char *const state_names[XS_COUNT] = { "header", "open",      "tls",     "sasl",
						   "task",   "inline",    "bind",    "binding",
						   "ready",  "component", "joining", "joined",
						   "closed" };
#define TO(s) (1u << (s))
static const uint16_t may_go[XS_COUNT] = {
	[XS_HEADER] = TO(XS_OPEN) | TO(XS_BIND) | TO(XS_COMPONENT) | TO(XS_CLOSED),
	[XS_OPEN] = TO(XS_TLS) | TO(XS_SASL) | TO(XS_CLOSED),
	[XS_TLS] = TO(XS_HEADER) | TO(XS_CLOSED),
	[XS_SASL] = TO(XS_OPEN) | TO(XS_HEADER) | TO(XS_TASK) | TO(XS_INLINE) | TO(XS_CLOSED),
	[XS_TASK] = TO(XS_OPEN) | TO(XS_INLINE) | TO(XS_CLOSED),
	[XS_INLINE] = TO(XS_OPEN) | TO(XS_BIND) | TO(XS_READY) | TO(XS_CLOSED),
	[XS_BIND] = TO(XS_BINDING) | TO(XS_READY) | TO(XS_CLOSED),
	[XS_BINDING] = TO(XS_BIND) | TO(XS_READY) | TO(XS_CLOSED),
	[XS_READY] = TO(XS_CLOSED),
	[XS_COMPONENT] = TO(XS_JOINING) | TO(XS_CLOSED),
	[XS_JOINING] = TO(XS_JOINED) | TO(XS_CLOSED),
	[XS_JOINED] = TO(XS_CLOSED),
	[XS_CLOSED] = 0,
};

/* The account is loaded: go on with this bind, unless the stream went away. */
struct bind_request {
	struct xmpp_c2s *c; /* NULL = gone */
	char *resource;
	char *id;
};

static void
log_fields(const struct td_logctx *self, struct td_buf *out)
{
	const struct xmpp_c2s *c =
		(const struct xmpp_c2s *)((const char *)self - offsetof(struct xmpp_c2s, log));

	if (c->session != NULL)
		td_buf_addf(out, " sid=%s", c->session->sid);
	td_buf_addf(out, " peer=%s", c->cc->ops->peer(c->io));
	if (c->bare != NULL)
		td_buf_addf(out, " user=%s", td_escz(c->bare));
}

void
c2s_goto(struct xmpp_c2s *c, enum c2s_state to, const char *why)
{
	if (c->state == to)
		return;
	if (!(may_go[c->state] & TO(to))) {
		td_log_error(&c->log, "stream-state", "from=%s to=%s why=%s", state_names[c->state],
			     state_names[to], why);
		abort();
	}
	td_log_debug(&c->log, "stream-state", "from=%s to=%s why=%s", state_names[c->state],
		     state_names[to], why);
	c->state = (uint8_t)to;
}

struct td_buf *
xmpp_c2s_out(struct xmpp_c2s *c)
{
	return c->cc->ops->out(c->io);
}

void
xmpp_c2s_write_raw(struct xmpp_c2s *c, const char *xml)
{
	td_buf_addz(xmpp_c2s_out(c), xml);
}

struct xmpp_session *
xmpp_c2s_session(const struct xmpp_c2s *c)
{
	return c->session;
}

struct xmpp_env *
xmpp_c2s_env(const struct xmpp_c2s *c)
{
	return c->env;
}

struct td_str
xmpp_c2s_bare(const struct xmpp_c2s *c)
{
	return td_cstr(c->bare);
}

const struct td_logctx *
xmpp_c2s_log(const struct xmpp_c2s *c)
{
	return &c->log;
}

struct td_str
xmpp_c2s_context(const struct xmpp_c2s *c, struct td_str key)
{
	for (size_t i = 0; i < c->cc->n_context; i++)
		if (td_str_eq(c->cc->context[2 * i], key))
			return c->cc->context[2 * i + 1];
	return TD_STR_NULL;
}

const char *
xmpp_c2s_peer(const struct xmpp_c2s *c)
{
	return c->cc->ops->peer(c->io);
}

struct td_str
xmpp_c2s_domain(const struct xmpp_c2s *c)
{
	return c->domain != NULL ? td_cstr(c->domain) : TD_STR("");
}

bool
xmpp_c2s_is_tls(const struct xmpp_c2s *c)
{
	return c->tls;
}

bool
xmpp_c2s_has_store(const struct xmpp_c2s *c)
{
	return xmpp_cred_source_is_store(c->cc->creds);
}

bool
xmpp_c2s_at_header(const struct xmpp_c2s *c)
{
	return c->state == XS_HEADER;
}

uint32_t
xmpp_c2s_max_stanza(const struct xmpp_c2s *c)
{
	return c->reader.max_stanza;
}

static void feed(struct xmpp_c2s *c, const char *data, size_t len);
static void feed_rest(struct xmpp_c2s *c, struct td_buf *from);
static void pause_free(struct xmpp_c2s *c);
static void rate(struct xmpp_c2s *c);
static bool is_waiting(const struct xmpp_c2s *c);
static struct td_buf *rest_of(struct xmpp_c2s *c);

/* ---- ending ---- */

/* <to>: what the peer calls itself; a resource in it is nobody's business (4.7.2). */
static void
send_header(struct xmpp_c2s *c, struct td_str to)
{
	struct td_buf *out;
	ptrdiff_t slash = td_str_chr(to, '/');
	char id[17];

	if (slash >= 0)
		to.len = (size_t)slash;
	td_random_id(id, 16);
	c->out_open = true;
	if (c->cc->framing != NULL) {
		c->cc->framing->open(c->io, id, td_cstr(c->domain), to);
		return;
	}
	out = xmpp_c2s_out(c);
	td_buf_addf(out,
		    "<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='" NS_STREAM
		    "' id='%s",
		    c->component ? NS_COMPONENT : NS_CLIENT, id);
	/* 4.7.1: a name of ours even for who asked for another */
	td_buf_addz(out, "' from='");
	td_buf_add_xml(out,
		       c->domain != NULL ? td_cstr(c->domain) : c->env->host->hosted(c->env, 0));
	if (to.len > 0) {
		td_buf_addz(out, "' to='");
		td_buf_add_xml(out, to);
	}
	td_buf_addz(out, "' version='1.0' xml:lang='en'>");
}

static void
send_end(struct xmpp_c2s *c)
{
	if (c->cc->framing != NULL)
		c->cc->framing->close(c->io);
	else
		xmpp_c2s_write_raw(c, "</stream:stream>");
}

/* What we waited for must not find a stream that ended meanwhile. */
static void
stop_waiting(struct xmpp_c2s *c)
{
	struct c2s_nego *n = c->nego;

	if (n == NULL)
		return;
	td_timer_clear(c->env->loop, &n->timeout);
	td_timer_clear(c->env->loop, &n->delay);
	if (n->held)
		xmpp_sm_stream_gone(c->env, td_cstr(c->bare), c);
	if (n->binding != NULL)
		n->binding->c = NULL;
	n->binding = NULL;
	xmpp_sasl_free(n->sasl);
	n->sasl = NULL;
	xmpp_sasl2_free(n->sasl2);
	n->sasl2 = NULL;
	xmpp_register_free(n->reg);
	n->reg = NULL;
	n->held = n->sasl_waiting = n->delayed = n->waiting = false;
}

void
xmpp_c2s_end(struct xmpp_c2s *c, const char *condition, const char *text)
{
	xmpp_c2s_end_with(c, condition, text, NULL);
}

void
xmpp_c2s_end_with(struct xmpp_c2s *c, const char *condition, const char *text, const char *app_xml)
{
	struct td_buf *out;

	if (c->state == XS_CLOSED)
		return;
	stop_waiting(c);
	if (c->component)
		xmpp_component_leave(c);
	if (c->session != NULL) {
		struct xmpp_session *s = c->session;

		/* a stream we end with an error cannot be resumed; a plain close ends the session too */
		xmpp_session_end(s, condition != NULL ? condition : "closed");
	}
	if (c->state == XS_TLS) {
		c2s_goto(c, XS_CLOSED, "end");
		c->cc->ops->shut(c->io);
		return;
	}
	/* 4.9.1.2: an error before our header still gets one */
	if (!c->out_open)
		send_header(c, TD_STR_NULL);
	out = xmpp_c2s_out(c);
	if (condition != NULL) {
		td_buf_addf(out, "<stream:error><%s xmlns='" NS_STREAM_ERRORS "'/>", condition);
		if (text != NULL) {
			td_buf_addz(out, "<text xmlns='" NS_STREAM_ERRORS "' xml:lang='en'>");
			td_buf_add_xml(out, td_cstr(text));
			td_buf_addz(out, "</text>");
		}
		if (app_xml != NULL)
			td_buf_addz(out, app_xml);
		td_buf_addz(out, "</stream:error>");
		td_log_info(&c->log, "stream-error", "condition=%s", condition);
	}
	send_end(c);
	c2s_goto(c, XS_CLOSED, condition != NULL ? condition : "end");
	c->cc->ops->shut(c->io);
}

static void
nego_free(struct xmpp_c2s *c)
{
	struct c2s_nego *n = c->nego;

	if (n == NULL)
		return;
	stop_waiting(c);
	c->nego = NULL;
	td_wipe(n->rest.p, n->rest.cap);
	td_buf_fini(&n->rest);
	free(n->from);
	free(n);
}

static void
rows_end(struct xmpp_c2s *c, bool delivered)
{
	struct xmpp_user *u =
		c->n_rows > 0 && c->bare != NULL ? xmpp_user_find(c->env, td_cstr(c->bare)) : NULL;
	uint32_t n = c->n_rows;

	if (n == 0)
		return;
	c->n_rows = 0;
	if (delivered)
		store_message_del(c->env->store, c->rows, n, (struct store_to){ 0 });
	if (u == NULL)
		return;
	xmpp_user_hold(u);
	for (uint32_t i = 0; i < n; i++)
		xmpp_user_row_end(u, c->rows[i]);
	if (!delivered)
		u->offline_count += n;
	xmpp_user_release(u);
}

void
xmpp_c2s_flushed(struct xmpp_c2s *c)
{
	if (c->component) {
		xmpp_component_flushed(c);
		return;
	}
	rows_end(c, true);
}

static void
c2s_free(struct xmpp_c2s *c)
{
	c->magic = 0;
	xmpp_reader_fini(&c->reader);
	if (c->bare == NULL)
		free(c->domain);
	free(c->bare);
	free(c->lang);
	if (!c->component)
		free(c->rows);
	free(c);
}

void
xmpp_c2s_closed(struct xmpp_c2s *c, const char *why)
{
	struct xmpp_session *s = c->session;

	if (c->component)
		xmpp_component_free(c);
	else
		rows_end(c, false);
	nego_free(c);
	pause_free(c);
	c->session = NULL;
	if (s != NULL)
		xmpp_session_lost(s, why);
	td_log_debug(&c->log, "stream-closed", "reason=%s", why);
	if (!c->moving) /* else it was counted out already */
		c->env->stats.streams--;
	if (c->in_input)
		c->gone = true; /* freed when the input call returns */
	else
		c2s_free(c);
}

void
xmpp_c2s_adopt(struct xmpp_c2s *c, struct xmpp_session *sess)
{
	c->session = sess;
	if (sess == NULL)
		return;
	sess->stream = c;
	if (c->state != XS_READY) {
		struct td_buf rest = c->nego->rest;

		c->nego->rest = (struct td_buf){ 0 };
		if (c->nego->held)
			c->cc->ops->pause(c->io, false);
		c->nego->held = false;
		nego_free(c);
		c2s_goto(c, XS_READY, "session");
		feed_rest(c, &rest); /* c may be gone from here on */
	}
}

void
c2s_joined(struct xmpp_c2s *c)
{
	struct td_buf rest = c->nego->rest;

	c->nego->rest = (struct td_buf){ 0 };
	c->nego->waiting = false;
	c->cc->ops->pause(c->io, false);
	nego_free(c);
	c2s_goto(c, XS_JOINED, "joined");
	feed_rest(c, &rest); /* c may be gone from here on */
}

/* ---- opening ---- */

static void
on_timeout(struct td_timer *t)
{
	struct c2s_nego *n = (struct c2s_nego *)((char *)t - offsetof(struct c2s_nego, timeout));

	xmpp_c2s_end(n->c, "connection-timeout", "Negotiation took too long");
}

static void
on_delay_over(struct td_timer *t)
{
	struct c2s_nego *n = (struct c2s_nego *)((char *)t - offsetof(struct c2s_nego, delay));

	n->delayed = false;
	n->c->cc->ops->pause(n->c->io, false);
	feed_rest(n->c, &n->rest);
}

struct xmpp_c2s *
xmpp_c2s_new(struct xmpp_env *env, struct xmpp_io *io, const struct xmpp_c2s_conf *cc,
	     bool direct_tls)
{
	struct xmpp_c2s *c = td_zalloc(sizeof(*c));

	c->magic = C2S_MAGIC;
	c->env = env;
	c->io = io;
	c->cc = cc;
	c->tls = direct_tls;
	c->log = (struct td_logctx){ &env->log, "xmpp.c2s", log_fields };
	xmpp_reader_init(&c->reader, env->xmlpool, cc->max_stanza_unauth, cc->max_depth);
	c->nego = td_zalloc(sizeof(*c->nego));
	c->nego->c = c;
	c->nego->timeout.fire = on_timeout;
	c->nego->delay.fire = on_delay_over;
	td_timer_set(env->loop, &c->nego->timeout, cc->negotiation_ms);
	env->stats.streams++;
	return c;
}

/* An address of a certificate, if an account of this domain can have it. */
static void
add_cert_id(const struct xmpp_c2s *c, struct td_arena *a, struct td_str text, struct td_str *ids,
	    size_t *n)
{
	struct xmpp_jid j;

	if (*n < XMPP_CERT_IDS && xmpp_jid_parse(a, text, &j, NULL) == 0 && j.local.p != NULL &&
	    j.resource.p == NULL && td_str_eqc(j.domain, c->domain))
		ids[(*n)++] = j.bare;
}

/* Whom the client's certificate is for here (XEP-0178 2, items 9-11). */
static size_t
cert_ids(struct xmpp_c2s *c, struct td_arena *a, struct td_str ids[XMPP_CERT_IDS])
{
	struct xmpp_cert cert = { 0 };
	struct xmpp_jid j;
	size_t n = 0;

	if (c->cc->ops->certificate == NULL || !c->cc->ops->certificate(c->io, a, &cert))
		return 0;
	for (size_t i = 0; i < cert.n_addr; i++)
		add_cert_id(c, a, cert.addr[i], ids, &n);
	if (cert.n_addr > 0)
		return n;
	for (size_t i = 0; c->cc->cert_identity == XI_EMAIL && i < cert.n_email; i++)
		add_cert_id(c, a, cert.email[i], ids, &n);
	if (c->cc->cert_identity == XI_COMMONNAME && cert.name.len > 0) {
		if (td_str_chr(cert.name, '@') >= 0)
			add_cert_id(c, a, cert.name, ids, &n);
		else if (xmpp_jid_make(a, cert.name, td_cstr(c->domain), TD_STR_NULL, &j, NULL) ==
			 0)
			ids[n++] = j.bare;
	}
	return n;
}

static bool
has_cert(struct xmpp_c2s *c)
{
	struct td_str ids[XMPP_CERT_IDS];
	struct td_arena *a = td_arena_new(0);
	size_t n = cert_ids(c, a, ids);

	td_arena_free(a);
	return n > 0;
}

static unsigned
mechanisms(struct xmpp_c2s *c)
{
	unsigned set = c->tls ? c->cc->mechs_tls : c->cc->mechs_plain;

	if ((set & SASL_M_EXTERNAL) != 0 && (!c->tls || !has_cert(c)))
		set &= ~SASL_M_EXTERNAL;
	set &= ~SASL_M_ANONYMOUS;
	if (xmpp_signin_of(c->env, td_cstr(c->domain))->anonymous)
		set |= SASL_M_ANONYMOUS;

	if (!c->tls && c->cc->tls_required)
		return 0;
	/* -PLUS needs a channel to bind to */
	if (!c->tls || c->cc->ops->binding_types(c->io) == 0)
		set &= ~(SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS);
	return set;
}

static void
add_sasl_features(struct xmpp_c2s *c, struct td_buf *out)
{
	const char *names[XMPP_SASL_NAMES];
	unsigned types;
	size_t n;

	c->nego->offered = mechanisms(c);
	n = xmpp_sasl_names(c->nego->offered, names);
	if (n == 0)
		return;
	td_buf_addz(out, "<mechanisms xmlns='" NS_SASL "'>");
	for (size_t i = 0; i < n; i++)
		td_buf_addf(out, "<mechanism>%s</mechanism>", names[i]);
	td_buf_addz(out, "</mechanisms>");
	types = c->tls ? c->cc->ops->binding_types(c->io) : 0;
	if (c->tls)
		xmpp_sasl2_features(c, types, out);
	c->nego->bindings = 0;
	if (!(c->nego->offered & (SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS)))
		return;
	c->nego->bindings = types;
	td_buf_addz(out, "<sasl-channel-binding xmlns='" NS_SASL_CB "'>"); /* XEP-0440 */
	if (types & XB_TLS_EXPORTER)
		td_buf_addz(out, "<channel-binding type='tls-exporter'/>");
	if (types & XB_TLS_SERVER_END_POINT)
		td_buf_addz(out, "<channel-binding type='tls-server-end-point'/>");
	td_buf_addz(out, "</sasl-channel-binding>");
}

void
c2s_send_features(struct xmpp_c2s *c)
{
	struct td_buf *out = xmpp_c2s_out(c);

	td_buf_addz(out, "<stream:features>");
	if (c->bare == NULL) {
		if (!c->tls && c->cc->ops->has_tls_ctx(c->io))
			td_buf_addf(out, "<starttls xmlns='" NS_TLS "'>%s</starttls>",
				    c->cc->tls_required ? "<required/>" : "");
		add_sasl_features(c, out);
		for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
			if ((*m)->features_before != NULL)
				(*m)->features_before(c, out);
	} else {
		if (c->session == NULL)
			td_buf_addz(out, "<bind xmlns='" NS_BIND "'/>"
					 "<session xmlns='" NS_SESSION "'><optional/></session>");
		for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
			if ((*m)->stream_features != NULL)
				(*m)->stream_features(c, out);
	}
	td_buf_addz(out, "</stream:features>");
}

static bool
version_ok(struct td_str v)
{
	int64_t major;
	ptrdiff_t dot = td_str_chr(v, '.');

	return dot > 0 && td_str_to_dec(td_str(v.p, (size_t)dot), 0, 1000, &major) && major >= 1;
}

/* The domain a header names: hosted here? Fills c->domain. */
static const char *
take_domain(struct xmpp_c2s *c, struct td_str to)
{
	struct td_arena *a;
	struct xmpp_jid j;
	const char *error = NULL;

	if (to.len == 0)
		return "improper-addressing";
	a = td_arena_new(256);
	if (xmpp_jid_parse(a, to, &j, NULL) < 0 || j.local.p != NULL || j.resource.p != NULL ||
	    c->env->host->domain(c->env, j.domain) != XD_LOCAL)
		error = "host-unknown";
	else if (c->bare != NULL && !td_str_eqc(j.domain, c->domain))
		error = "host-unknown"; /* authenticated for another domain */
	if (error == NULL && (c->domain == NULL || !td_str_eqc(j.domain, c->domain))) {
		free(c->domain);
		c->domain = td_strndup(j.domain);
		c->cc->ops->set_domain(c->io, td_cstr(c->domain));
	}
	td_arena_free(a);
	return error;
}

/* Who the client says it is: a hint, never proof.  What it names must be of the domain it opens the
 * stream to (XEP-0388 2.1). */
static const char *
take_from(struct xmpp_c2s *c, struct td_str from)
{
	struct td_arena *a;
	struct xmpp_jid j;
	const char *error = NULL;

	if (from.len == 0 || !c->tls || c->bare != NULL)
		return NULL;
	a = td_arena_new(256);
	if (xmpp_jid_parse(a, from, &j, NULL) == 0) {
		if (!td_str_eqc(j.domain, c->domain))
			error = "invalid-from";
		else if (j.local.p != NULL)
			c->nego->from = td_strndup(j.bare);
	}
	td_arena_free(a);
	return error;
}

static void
on_header(struct xmpp_c2s *c)
{
	const struct xmpp_node *h = c->reader.header;
	struct td_str lang = xmpp_node_lang(h), from = xmpp_node_attr(h, "from");
	char why[200] = "";
	const char *error;

	c->out_open = false;
	if (h->ns == NULL || strcmp(h->ns, NS_STREAM) != 0) {
		xmpp_c2s_end(c, "invalid-namespace", NULL);
		return;
	}
	if (strcmp(h->name, "stream") != 0) {
		xmpp_c2s_end(c, "bad-format", NULL);
		return;
	}
	if (td_str_eqc(xmpp_reader_default_ns(&c->reader), NS_COMPONENT) && c->bare == NULL &&
	    c->cc->framing == NULL) {
		xmpp_component_header(c);
		return;
	}
	/* 4.8.2: "prefix-free", each stanza then names its namespace */
	if (!td_str_eqc(xmpp_reader_default_ns(&c->reader), NS_CLIENT) &&
	    !td_str_eqc(xmpp_reader_default_ns(&c->reader), NS_STREAM)) {
		xmpp_c2s_end(c, "invalid-namespace", "The default namespace must be " NS_CLIENT);
		return;
	}
	error = take_domain(c, xmpp_node_attr(h, "to"));
	if (error == NULL && !version_ok(xmpp_node_attr(h, "version")))
		error = "unsupported-version";
	if (error == NULL)
		error = take_from(c, from);
	if (error == NULL && c->env->hooks != 0)
		error = xmpp_hook_stream(c, why);
	send_header(c, from.len <= 3071 ? from : TD_STR_NULL);
	if (error != NULL) {
		xmpp_c2s_end(c, error, why[0] != '\0' ? why : NULL);
		return;
	}
	free(c->lang);
	c->lang = lang.len > 0 && lang.len <= 64 ? td_strndup(lang) : NULL;
	c2s_goto(c, c->bare != NULL ? XS_BIND : XS_OPEN, "header");
	c2s_send_features(c);
}

/* ---- negotiation handlers: true = go on reading ---- */

static bool
on_starttls(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	(void)s;
	if (c->tls || !c->cc->ops->has_tls_ctx(c->io)) {
		xmpp_c2s_write_raw(c, "<failure xmlns='" NS_TLS "'/>");
		send_end(c);
		c2s_goto(c, XS_CLOSED, "tls-failure");
		c->cc->ops->shut(c->io);
		return false;
	}
	xmpp_c2s_write_raw(c, "<proceed xmlns='" NS_TLS "'/>");
	/* 5.4.2.3: TLS begins at the '>' of <proceed/>.  What is already read came in the
	 * clear; drop it, or it would count as protected. */
	xmpp_reader_restart(&c->reader);
	c2s_goto(c, XS_TLS, "starttls");
	c->cc->ops->starttls(c->io);
	return false;
}

void
xmpp_c2s_tls_ready(struct xmpp_c2s *c)
{
	c->tls = true;
	c->out_open = false;
	c2s_goto(c, XS_HEADER, "tls");
	td_log_debug(&c->log, "tls-ready", "%s", "");
}

static const char *
profile_ns(const struct xmpp_c2s *c)
{
	return c->nego->profile == SP_SASL2 ? NS_SASL2 : NS_SASL;
}

/* Somebody guessed wrong: that is counted for where it came from, and for the account, be there one or not. */
static void
count_failure(struct xmpp_c2s *c)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	const char *bare = c->nego->sasl != NULL ? xmpp_sasl_bare(c->nego->sasl) : NULL;
	char net[XMPP_NETWORK_MAX];

	xmpp_throttle_network(c->cc->ops->peer(c->io), &si->logins, net);
	xmpp_throttle_count(XT_LOGIN_ADDRESS, net, &si->logins);
	xmpp_throttle_network(c->cc->ops->peer(c->io), &si->account_logins, net);
	if (bare != NULL && net[0] != '\0')
		xmpp_throttle_count(XT_LOGIN_ACCOUNT, bare, &si->account_logins);
}

/* Too many failures from there: nothing is even looked at. */
static bool
is_address_throttled(const struct xmpp_c2s *c)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	char net[XMPP_NETWORK_MAX];

	xmpp_throttle_network(c->cc->ops->peer(c->io), &si->logins, net);
	return xmpp_throttle_over(XT_LOGIN_ADDRESS, net, &si->logins);
}

/* Too many failures of the account: then also the right password is refused, in the same words, or guessing would go
 * on.  Tokens and certificates cannot be guessed. */
static bool
is_account_throttled(const struct xmpp_c2s *c)
{
	const struct xmpp_signin *si = xmpp_signin_of(c->env, td_cstr(c->domain));
	const struct xmpp_sasl *s = c->nego->sasl;

	return (xmpp_sasl_mechanism_bit(s) & (SASL_M_HT | SASL_M_EXTERNAL | SASL_M_ANONYMOUS)) ==
		       0 &&
	       xmpp_sasl_bare(s) != NULL &&
	       xmpp_throttle_over(XT_LOGIN_ACCOUNT, xmpp_sasl_bare(s), &si->account_logins);
}

void
c2s_auth_failed(struct xmpp_c2s *c, enum xmpp_sasl_error e)
{
	struct c2s_nego *n = c->nego;

	if (e == SASL_NOT_AUTHORIZED || e == SASL_CREDENTIALS_EXPIRED || e == SASL_ACCOUNT_DISABLED)
		count_failure(c);
	xmpp_sasl_free(n->sasl);
	n->sasl = NULL;
	xmpp_sasl2_free(n->sasl2);
	n->sasl2 = NULL;
	td_buf_addf(xmpp_c2s_out(c), "<failure xmlns='%s'><%s%s/></failure>", profile_ns(c),
		    xmpp_sasl_error_name(e), n->profile == SP_SASL2 ? " xmlns='" NS_SASL "'" : "");
	td_log_notice(&c->log, "auth-failed", "condition=%s", xmpp_sasl_error_name(e));
	c->env->stats.auth_failures++;
	c2s_goto(c, XS_OPEN, "auth-failed");
	if (++n->failures >=
	    (c->cc->auth_max_failures > 0 ? c->cc->auth_max_failures : MAX_AUTH_FAILURES)) {
		xmpp_c2s_end(c, "policy-violation", "Too many failed attempts");
	} else if (c->cc->auth_delay_ms > 0 && e != SASL_ABORTED) {
		n->delayed = true;
		c->cc->ops->pause(c->io, true);
		td_timer_set(c->env->loop, &n->delay, c->cc->auth_delay_ms);
	}
}

static void
preload(struct xmpp_user *u, void *arg)
{
	(void)u;
	(void)arg;
}

void
c2s_authenticated(struct xmpp_c2s *c)
{
	struct td_buf bare = { 0 };

	td_buf_addf(&bare, "%.*s@%s", TD_STR_ARG(xmpp_sasl_user(c->nego->sasl)), c->domain);
	c->bare = td_strndup(td_buf_str(&bare));
	free(c->domain);
	c->domain = strrchr(c->bare, '@') + 1;
	td_buf_fini(&bare);
	td_log_info(&c->log, "auth-ok", "mech=%s tls=%d", xmpp_sasl_mechanism(c->nego->sasl),
		    c->tls);
	c->anonymous = xmpp_sasl_mechanism_bit(c->nego->sasl) == SASL_M_ANONYMOUS;
	c->nego->authed_at = td_mono_ms();
	c->env->stats.logins++;
	xmpp_sasl_free(c->nego->sasl);
	c->nego->sasl = NULL;
	c->reader.max_stanza = c->cc->max_stanza;
}

bool
c2s_move(struct xmpp_c2s *c, struct td_str address)
{
	unsigned owner = xmpp_owner(c->env, address);

	if (owner == c->env->index)
		return false;
	td_timer_clear(c->env->loop, &c->nego->timeout);
	c->moving = true;
	c->env->stats.streams--;
	if (is_waiting(c)) /* what was sent ahead comes along */
		xmpp_reader_take_rest(&c->reader, rest_of(c));
	xmpp_reader_leave(&c->reader);
	c->cc->ops->move(c->io, owner);
	return true;
}

static void
sasl_success(struct xmpp_c2s *c, struct td_str more)
{
	if (c->nego->profile == SP_SASL2) {
		xmpp_sasl2_success(c, more);
		return;
	}
	td_buf_addf(xmpp_c2s_out(c), "<success xmlns='" NS_SASL "'>%.*s</success>",
		    TD_STR_ARG(more));
	c2s_authenticated(c);
	xmpp_reader_restart(&c->reader);
	c2s_goto(c, XS_HEADER, "auth-ok");
	if (!c2s_move(c, td_cstr(c->bare)))
		xmpp_user_with(c->env, td_cstr(c->bare), preload, NULL);
}

/* Has a script something against it? */
static bool
is_refused(struct xmpp_c2s *c, enum xmpp_sasl_error *error)
{
	struct td_buf bare = { 0 };
	const char *condition;

	td_buf_addf(&bare, "%.*s@%s", TD_STR_ARG(xmpp_sasl_user(c->nego->sasl)), c->domain);
	condition = xmpp_hook_sign_in(c, td_buf_cstr(&bare), xmpp_sasl_mechanism(c->nego->sasl));
	td_buf_fini(&bare);
	if (condition == NULL)
		return false;
	*error = SASL_NOT_AUTHORIZED;
	for (unsigned e = 0; e <= SASL_TEMPORARY_AUTH_FAILURE; e++)
		if (strcmp(condition, xmpp_sasl_error_name((enum xmpp_sasl_error)e)) == 0)
			*error = (enum xmpp_sasl_error)e;
	return true;
}

static void
sasl_result(struct xmpp_c2s *c, enum xmpp_sasl_step step, struct td_buf *out,
	    enum xmpp_sasl_error error)
{
	if ((step == SASL_SUCCESS || step == SASL_FAILURE) && is_account_throttled(c)) {
		step = SASL_FAILURE;
		error = SASL_TEMPORARY_AUTH_FAILURE;
	}
	if (step == SASL_SUCCESS && c->env->hooks != 0 && is_refused(c, &error))
		step = SASL_FAILURE;
	switch (step) {
	case SASL_WAIT:
		c->nego->sasl_waiting = true;
		c->cc->ops->pause(c->io, true);
		break;
	case SASL_CONTINUE:
		td_buf_addf(xmpp_c2s_out(c), "<challenge xmlns='%s'>%.*s</challenge>",
			    profile_ns(c), TD_STR_ARG(td_buf_str(out)));
		break;
	case SASL_SUCCESS: sasl_success(c, td_buf_str(out)); break;
	case SASL_FAILURE: c2s_auth_failed(c, error); break;
	}
}

static void
on_sasl_wake(void *arg)
{
	struct xmpp_c2s *c = arg;
	enum xmpp_sasl_error error = SASL_TEMPORARY_AUTH_FAILURE;
	enum xmpp_sasl_step step;
	struct td_buf out = { 0 };

	c->nego->sasl_waiting = false;
	c->cc->ops->pause(c->io, false);
	step = xmpp_sasl_resume(c->nego->sasl, &out, &error);
	c->in_input = true;
	sasl_result(c, step, &out, error);
	td_wipe(out.p, out.cap);
	td_buf_fini(&out);
	c->in_input = false;
	if (c->gone) {
		c2s_free(c);
		return;
	}
	if (c->nego == NULL)
		return;
	if (c->state == XS_HEADER) { /* success: what was sent ahead of it belongs to no stream */
		td_wipe(c->nego->rest.p, c->nego->rest.cap);
		td_buf_clear(&c->nego->rest);
	} else if (!is_waiting(c)) {
		feed_rest(c, &c->nego->rest);
	}
}

/* May what comes next be read? */
static bool
read_on(const struct xmpp_c2s *c)
{
	return c->state != XS_CLOSED && c->state != XS_HEADER && !c->moving && !is_waiting(c);
}

bool
c2s_exchange_step(struct xmpp_c2s *c, struct td_str in)
{
	enum xmpp_sasl_error error = SASL_NOT_AUTHORIZED;
	struct td_buf out = { 0 };
	enum xmpp_sasl_step step = xmpp_sasl_step(c->nego->sasl, in, &out, &error);

	sasl_result(c, step, &out, error);
	td_wipe(out.p, out.cap);
	td_buf_fini(&out);
	return read_on(c);
}

bool
c2s_exchange(struct xmpp_c2s *c, struct td_str mech, unsigned offered, struct td_str in)
{
	enum xmpp_sasl_error error = SASL_INVALID_MECHANISM;
	struct xmpp_cb_data cb = { 0 };

	if (is_address_throttled(c)) {
		c2s_auth_failed(c, SASL_TEMPORARY_AUTH_FAILURE);
		return read_on(c);
	}
	if (c->tls && (td_str_ends(mech, "-PLUS") || td_str_starts(mech, "HT-")))
		(void)c->cc->ops->channel_binding(c->io, &cb);
	c->nego->sasl = xmpp_sasl_start(mech, offered, td_cstr(c->domain), &cb, c->cc->creds,
					c->env->loop, on_sasl_wake, c, &error);
	if (c->nego->sasl == NULL) {
		c2s_auth_failed(c, error);
		return read_on(c);
	}
	if ((xmpp_sasl_mechanism_bit(c->nego->sasl) & SASL_M_HT) != 0 &&
	    !xmpp_sasl2_token(c, c->nego->sasl)) {
		c2s_auth_failed(c, SASL_MALFORMED_REQUEST);
		return read_on(c);
	}
	if (xmpp_sasl_mechanism_bit(c->nego->sasl) == SASL_M_EXTERNAL) {
		struct td_str ids[XMPP_CERT_IDS];
		struct td_arena *a = td_arena_new(0);

		xmpp_sasl_certificate(c->nego->sasl, ids, cert_ids(c, a, ids));
		td_arena_free(a);
	}
	xmpp_sasl_announced(c->nego->sasl, c->nego->bindings);
	c2s_goto(c, XS_SASL, "auth");
	return c2s_exchange_step(c, in);
}

/* SASL1 and SASL2 are not mixed on one stream: what was announced for the one proves nothing about
 * the other (XEP-0474 6.1). */
static bool
takes_profile(struct xmpp_c2s *c, enum c2s_profile p)
{
	if (c->nego->profile == SP_NONE)
		c->nego->profile = (uint8_t)p;
	if (c->nego->profile == p)
		return true;
	xmpp_c2s_end(c, "policy-violation", "This stream uses the other SASL profile");
	return false;
}

static bool
on_auth(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct td_str in = td_str_trim(xmpp_node_text(s->arena, s->root));

	if (!takes_profile(c, SP_SASL1))
		return false;
	if (c->nego->offered == 0 && !c->tls && c->cc->tls_required) {
		c2s_auth_failed(c, SASL_ENCRYPTION_REQUIRED);
		return read_on(c);
	}
	/* 6.4.2: <auth/> without content has no initial response; "=" is an empty one */
	return c2s_exchange(c, xmpp_node_attr(s->root, "mechanism"), c->nego->offered,
			    in.len > 0 ? in : TD_STR_NULL);
}

static bool
on_authenticate(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	if (!c->tls) {
		xmpp_c2s_end(c, "policy-violation", "SASL2 is for streams under TLS");
		return false;
	}
	return takes_profile(c, SP_SASL2) && xmpp_sasl2_authenticate(c, s);
}

static bool
on_response(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	enum c2s_profile p = strcmp(s->root->ns, NS_SASL2) == 0 ? SP_SASL2 : SP_SASL1;

	return takes_profile(c, p) &&
	       c2s_exchange_step(c, td_str_trim(xmpp_node_text(s->arena, s->root)));
}

static bool
on_abort(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	if (!takes_profile(c, strcmp(s->root->ns, NS_SASL2) == 0 ? SP_SASL2 : SP_SASL1))
		return false;
	c2s_auth_failed(c, SASL_ABORTED);
	return read_on(c);
}

void
c2s_wait(struct xmpp_c2s *c)
{
	c->nego->waiting = true;
	c->cc->ops->pause(c->io, true);
}

void
c2s_go_on(struct xmpp_c2s *c)
{
	c->nego->waiting = false;
	c->cc->ops->pause(c->io, false);
	if (!c->in_input && !is_waiting(c))
		feed_rest(c, &c->nego->rest);
}

/* Before authentication one may become a user. */
static bool
on_open_iq(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	if (xmpp_register_stream(c, s) == XMPP_DONE)
		return read_on(c);
	xmpp_c2s_end(c, "not-authorized", NULL);
	return false;
}

/* ---- binding ---- */

static void
iq_reply(struct xmpp_c2s *c, struct xmpp_stanza *r)
{
	xmpp_stanza_set_to(r, NULL);
	xmpp_stanza_write(r, false, xmpp_c2s_out(c));
	xmpp_stanza_unref(&r);
}

static void
bind_failed(struct xmpp_c2s *c, const char *id, enum xmpp_error e)
{
	td_buf_addz(xmpp_c2s_out(c), "<iq type='error' id='");
	td_buf_add_xml(xmpp_c2s_out(c), td_cstr(id));
	td_buf_addf(xmpp_c2s_out(c),
		    "'><error type='%s'><%s xmlns='" NS_STANZA_ERRORS "'/></error></iq>",
		    e == XE_BAD_REQUEST             ? "modify"
		    : e == XE_INTERNAL_SERVER_ERROR ? "wait"
						    : "cancel",
		    xmpp_error_name(e));
}

bool
c2s_may_bind(struct xmpp_c2s *c, struct xmpp_user *u)
{
	if (!u->exists && !u->failed && c->anonymous) {
		u->exists = u->anonymous = true;
	} else if (!u->exists && !u->failed && c->cc->provision) {
		struct store_account a = { .jid = u->bare, .created = td_wall_ms() / 1000 };

		store_account_add(c->env->store, &a, (struct store_to){ 0 });
		u->exists = true;
	}
	return u->exists && !u->disabled && u->anonymous == c->anonymous &&
	       !xmpp_signin_is_stale(c->env, u->bare, c->nego->authed_at);
}

static void
on_user(struct xmpp_user *u, void *arg)
{
	struct bind_request *b = arg;
	struct xmpp_c2s *c = b->c;
	enum xmpp_error e = XE_INTERNAL_SERVER_ERROR;
	struct xmpp_session *sess = NULL;

	if (c == NULL)
		goto out;
	c->nego->binding = NULL;
	c->cc->ops->pause(c->io, false);
	c2s_goto(c, XS_BIND, "user");
	if (c2s_may_bind(c, u))
		sess = xmpp_session_bind(u, c, td_cstr(b->resource), &e);
	else if (!u->failed)
		e = XE_NOT_ALLOWED; /* deleted or disabled since it signed in */
	if (sess == NULL) {
		bind_failed(c, b->id, e);
	} else {
		struct td_buf *out = xmpp_c2s_out(c);

		td_buf_addz(out, "<iq type='result' id='");
		td_buf_add_xml(out, td_cstr(b->id));
		td_buf_addz(out, "'><bind xmlns='" NS_BIND "'><jid>");
		td_buf_add_xml(out, sess->jid.full);
		td_buf_addz(out, "</jid></bind></iq>");
		td_log_info(&c->log, "session-start", "jid=%s", td_esc(sess->jid.full));
		xmpp_c2s_adopt(c, sess); /* c may be gone from here on */
	}
out:
	free(b->resource);
	free(b->id);
	free(b);
	if (c != NULL && sess == NULL)
		feed_rest(c, &c->nego->rest);
}

static bool
on_bind_iq(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct xmpp_node *bind = xmpp_node_child(s->root, NS_BIND, "bind"), *res;
	struct bind_request *b;

	/* 7.1: to nobody but the server and the account */
	if (s->to.full.p != NULL && !td_str_eqc(s->to.full, c->domain) &&
	    !td_str_eqc(s->to.full, c->bare)) {
		xmpp_c2s_end(c, "not-authorized", "Bind a resource first");
		return false;
	}
	if (s->type != XT_SET || bind == NULL || s->id.p == NULL) {
		struct xmpp_stanza *r = xmpp_stanza_error(
			s, s->id.p == NULL ? XE_BAD_REQUEST : XE_NOT_ALLOWED, TD_STR_NULL);

		if (r == NULL) {
			xmpp_c2s_end(c, "not-authorized", "Bind a resource first");
			return false;
		}
		iq_reply(c, r);
		return true;
	}
	res = xmpp_node_child(bind, NS_BIND, "resource");
	b = td_zalloc(sizeof(*b));
	b->c = c;
	b->resource = res != NULL ? td_strndup(xmpp_node_text(s->arena, res)) : NULL;
	b->id = td_strndup(s->id);
	c->nego->binding = b;
	c2s_goto(c, XS_BINDING, "bind");
	c->cc->ops->pause(c->io, true);
	xmpp_user_with(c->env, td_cstr(c->bare), on_user, b);
	return c->state == XS_READY || c->state == XS_BIND;
}

/* ---- stanzas ---- */

static bool
from_ok(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	if (s->flags & XF_BAD_FROM)
		return false;
	return s->from.full.p == NULL || xmpp_jid_eq(&s->from, &c->session->jid) ||
	       td_str_eq(s->from.full, c->session->user->bare);
}

static bool
on_stanza(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	struct xmpp_session *sess = c->session;

	if (!from_ok(c, s)) { /* 8.1.2.1 */
		xmpp_c2s_end(c, "invalid-from", NULL);
		return false;
	}
	xmpp_stanza_set_from(s, &sess->jid);
	/* 3.1.x of RFC 6121: subscription stanzas come from the bare address; presence code does that */
	if (s->lang.p == NULL && c->lang != NULL)
		s->lang = td_arena_str(s->arena, td_cstr(c->lang));
	if (c->env->log_stanzas)
		c->env->host->log_stanza(c->env, true, s, c->cc->ops->peer(c->io));
	if (c->cc->stanza_count > 0 || c->cc->byte_count > 0)
		rate(c);
	xmpp_from_client(sess, xmpp_stanza_ref(s));
	return c->state == XS_READY && c->pause == NULL;
}

static bool
on_nonza(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->nonza != NULL && (*m)->nonza(c, s->root) == XMPP_DONE)
			return c->state == XS_READY || c->state == XS_BIND;
	if (s->root->ns != NULL && strcmp(s->root->ns, NS_STREAM) == 0 &&
	    strcmp(s->root->name, "error") == 0) {
		td_log_info(&c->log, "stream-error-in", "condition=%s",
			    s->root->first != NULL ? td_escz(s->root->first->name) : "-");
		xmpp_c2s_end(c, NULL, NULL);
		return false;
	}
	xmpp_c2s_end(c,
		     s->root->ns != NULL && strcmp(s->root->ns, NS_SERVER) == 0
			     ? "invalid-namespace" /* 4.8.3 */
			     : "unsupported-stanza-type",
		     NULL);
	return false;
}

/* May I say this now?  First row that fits. */
struct step {
	uint8_t state;
	int8_t kind;           /* enum xmpp_kind, -1 = any stanza */
	const char *ns, *name; /* for XK_OTHER; NULL = any */
	bool (*handle)(struct xmpp_c2s *, struct xmpp_stanza *);
};
// clang-format off
static const struct step c2s_steps[] = {
	/* state       kind      namespace  element      handler */
	{ XS_OPEN,     XK_OTHER, NS_TLS,    "starttls",  on_starttls },
	{ XS_OPEN,     XK_OTHER, NS_SASL,   "auth",      on_auth },
	{ XS_SASL,     XK_OTHER, NS_SASL,   "response",  on_response },
	{ XS_SASL,     XK_OTHER, NS_SASL,   "abort",     on_abort },
	{ XS_OPEN,     XK_OTHER, NS_SASL2,  "authenticate", on_authenticate },
	{ XS_SASL,     XK_OTHER, NS_SASL2,  "response",  on_response },
	{ XS_SASL,     XK_OTHER, NS_SASL2,  "abort",     on_abort },
	{ XS_TASK,     XK_OTHER, NS_SASL2,  "next",      xmpp_sasl2_next },
	{ XS_TASK,     XK_OTHER, NS_SASL2,  "task-data", xmpp_sasl2_task_data },
	{ XS_TASK,     XK_OTHER, NS_SASL2,  "abort",     on_abort },
	{ XS_OPEN,     XK_IQ,    NULL,      NULL,        on_open_iq },
	{ XS_BIND,     XK_IQ,    NULL,      NULL,        on_bind_iq },
	{ XS_BIND,     XK_OTHER, NULL,      NULL,        on_nonza },
	{ XS_READY,    -1,       NULL,      NULL,        on_stanza },
	{ XS_READY,    XK_OTHER, NULL,      NULL,        on_nonza },
	{ XS_COMPONENT, XK_OTHER, NS_CLIENT, "handshake", xmpp_component_handshake },
	{ XS_JOINED,   -1,       NULL,      NULL,        xmpp_component_stanza },
	{ XS_JOINED,   XK_OTHER, NULL,      NULL,        xmpp_component_other },
};
// clang-format on

static bool
row_fits(const struct step *t, const struct xmpp_c2s *c, const struct xmpp_stanza *s)
{
	if (t->state != c->state)
		return false;
	if (t->kind < 0)
		return s->kind != XK_OTHER;
	return t->kind == (int)s->kind && (t->ns == NULL || xmpp_node_is(s->root, t->ns, t->name));
}

static bool
on_element(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	for (size_t i = 0; i < sizeof(c2s_steps) / sizeof(c2s_steps[0]); i++)
		if (row_fits(&c2s_steps[i], c, s))
			return c2s_steps[i].handle(c, s);
	/* 4.9.3.12: a stanza before authentication and binding; anything else is out of place */
	if (s->kind == XK_OTHER && (s->root->ns == NULL || strcmp(s->root->ns, NS_CLIENT) == 0))
		xmpp_c2s_end(c, "unsupported-stanza-type", NULL);
	else
		xmpp_c2s_end(c, "not-authorized", NULL);
	return false;
}

/* ---- input ---- */

static bool
on_event(struct xmpp_c2s *c, enum xmpp_read ev)
{
	struct xmpp_stanza *s;
	bool more;

	switch (ev) {
	case XR_MORE: return false;
	case XR_OPEN: on_header(c); return c->state != XS_CLOSED;
	case XR_STANZA:
		s = c->reader.stanza;
		c->reader.stanza = NULL;
		more = on_element(c, s);
		xmpp_stanza_unref(&s);
		return more;
	case XR_CLOSE: xmpp_c2s_end(c, NULL, NULL); return false;
	case XR_ERROR: xmpp_c2s_end(c, c->reader.error, NULL); return false;
	}
	return false;
}

/* Waiting for credentials or for the account: what the client sent ahead is kept. */
static bool
is_waiting(const struct xmpp_c2s *c)
{
	const struct c2s_nego *n = c->nego;

	return c->state == XS_BINDING || c->pause != NULL ||
	       (n != NULL && (n->sasl_waiting || n->held || n->delayed || n->waiting));
}

static struct td_buf *
rest_of(struct xmpp_c2s *c)
{
	return c->pause != NULL ? &c->pause->rest : &c->nego->rest;
}

static void
feed_rest(struct xmpp_c2s *c, struct td_buf *from)
{
	struct td_buf rest = *from;

	*from = (struct td_buf){ 0 };
	if (rest.len > 0)
		feed(c, rest.p, rest.len);
	td_wipe(rest.p, rest.cap);
	td_buf_fini(&rest);
}

/* ---- rates ---- */

static void
on_pause_over(struct td_timer *t)
{
	struct c2s_pause *p = (struct c2s_pause *)((char *)t - offsetof(struct c2s_pause, timer));
	struct xmpp_c2s *c = p->c;
	struct td_buf rest = p->rest;

	c->pause = NULL;
	free(p);
	c->cc->ops->pause(c->io, false);
	feed_rest(c, &rest);
}

static void
pause_free(struct xmpp_c2s *c)
{
	if (c->pause == NULL)
		return;
	td_timer_clear(c->env->loop, &c->pause->timer);
	td_buf_fini(&c->pause->rest);
	free(c->pause);
	c->pause = NULL;
}

/* Take <us> of allowance out of a bucket that fills by <passed>; how long until it is even. */
static uint64_t
take(uint32_t *used, uint64_t passed, uint64_t us)
{
	us += *used > passed ? *used - passed : 0;
	*used = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
	return *used > RATE_BURST_S * 1000000u ? *used - RATE_BURST_S * 1000000u : 0;
}

/* Account for one stanza of a session; pauses it when it is too fast. */
static void
rate(struct xmpp_c2s *c)
{
	const struct xmpp_c2s_conf *cc = c->cc;
	uint64_t now = td_loop_now(c->env->loop), passed = (now - c->rated_at) * 1000, wait = 0, w;

	c->rated_at = now;
	if (cc->stanza_count > 0)
		wait = take(&c->stanza_us, passed,
			    (uint64_t)cc->stanza_seconds * 1000000 / cc->stanza_count);
	if (cc->byte_count > 0) {
		w = take(&c->byte_us, passed,
			 (uint64_t)c->bytes_in * cc->byte_seconds * 1000000 / cc->byte_count);
		wait = w > wait ? w : wait;
	}
	c->bytes_in = 0;
	if (wait < 100000 || c->pause != NULL)
		return;
	td_log_info(&c->log, "rate-pause", "ms=%llu", (unsigned long long)(wait / 1000));
	c->pause = td_zalloc(sizeof(*c->pause));
	c->pause->c = c;
	c->pause->timer.fire = on_pause_over;
	cc->ops->pause(c->io, true);
	td_timer_set(c->env->loop, &c->pause->timer, wait / 1000);
}

static void
feed(struct xmpp_c2s *c, const char *data, size_t len)
{
	bool nested = c->in_input;

	if (c->state == XS_CLOSED || c->state == XS_TLS || c->moving)
		return;
	if (is_waiting(c)) {
		td_buf_add(rest_of(c), data, len);
		return;
	}
	c->in_input = true;
	while (on_event(c, xmpp_reader_feed(&c->reader, data, len)) && !c->gone && !is_waiting(c)) {
		data = NULL;
		len = 0;
	}
	if (!c->gone && is_waiting(c))
		xmpp_reader_take_rest(&c->reader, rest_of(c));
	c->in_input = nested;
	if (c->gone && !nested)
		c2s_free(c);
}

void
xmpp_c2s_input(struct xmpp_c2s *c, const char *data, size_t len)
{
	if (c->magic != C2S_MAGIC)
		abort();
	c->bytes_in += (uint32_t)len;
	feed(c, data, len);
}

void
xmpp_c2s_moved(struct xmpp_c2s *c, struct xmpp_env *env)
{
	c->env = env;
	c->moving = false;
	c->log.parent = &env->log;
	env->stats.streams++;
	xmpp_reader_enter(&c->reader, env->xmlpool);
	td_timer_set(env->loop, &c->nego->timeout, c->cc->negotiation_ms);
	if (c->component)
		xmpp_component_moved(c); /* c may be gone from here on */
	else if (c->nego->sasl2 != NULL)
		xmpp_sasl2_moved(c); /* c may be gone from here on */
	else
		xmpp_user_with(env, td_cstr(c->bare), preload, NULL);
}

void
xmpp_c2s_idle(struct xmpp_c2s *c)
{
	xmpp_c2s_end(c, "connection-timeout", "Nothing was received for too long");
}

bool
xmpp_c2s_ping(struct xmpp_c2s *c)
{
	struct td_buf *out;
	char id[9];

	if (c->state == XS_JOINED) {
		/* not every component answers iqs: what we send makes the kernel look for it */
		td_buf_addc(xmpp_c2s_out(c), ' ');
		return false;
	}
	if (c->state != XS_READY || c->session == NULL)
		return false;
	if (c->session->sm != NULL) {
		xmpp_sm_request(c->session);
		return true;
	}
	td_random_id(id, sizeof(id) - 1);
	out = xmpp_c2s_out(c);
	td_buf_addz(out, "<iq type='get' from='");
	td_buf_add_xml(out, td_cstr(c->domain));
	td_buf_addz(out, "' to='");
	td_buf_add_xml(out, c->session->jid.full);
	td_buf_addf(out, "' id='ping-%s'><ping xmlns='" NS_PING "'/></iq>", id);
	return true;
}

void
xmpp_c2s_hold(struct xmpp_c2s *c, bool hold)
{
	if (c->nego == NULL || c->nego->held == hold)
		return;
	c->nego->held = hold;
	c->cc->ops->pause(c->io, hold);
	if (!hold)
		feed_rest(c, &c->nego->rest);
}

/* ---- output ---- */

void
xmpp_c2s_write(struct xmpp_c2s *c, struct xmpp_stanza *s)
{
	if (c->state == XS_CLOSED)
		return;
	if (c->env->log_stanzas)
		c->env->host->log_stanza(c->env, false, s, c->cc->ops->peer(c->io));
	xmpp_stanza_write(s, false, xmpp_c2s_out(c));
}

void
xmpp_c2s_write_row(struct xmpp_c2s *c, struct xmpp_stanza *s, uint64_t row)
{
	xmpp_c2s_write(c, s);
	if (c->n_rows == c->cap_rows) {
		c->cap_rows = c->cap_rows > 0 ? c->cap_rows * 2 : 8;
		c->rows = td_realloc(c->rows, c->cap_rows * sizeof(*c->rows));
	}
	c->rows[c->n_rows++] = row;
}

void
xmpp_c2s_describe(const struct xmpp_c2s *c, struct td_buf *json)
{
	td_buf_addf(json, "\"state\":\"%s\",\"tls\":%s,\"peer\":", state_names[c->state],
		    c->tls ? "true" : "false");
	td_buf_add_json(json, td_cstr(c->cc->ops->peer(c->io)));
}
