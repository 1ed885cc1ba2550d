/* listener_conf - from the stanzas of a Listen to what its connections need.
 *
 * Each Peer of a Listen and of its listener makes a variant, with certificates and credentials
 * of its own when it sets some; a connection gets that of the narrowest Peer which holds its
 * address (conf_peer).  All of them are made when the configuration is. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/acl.h"
#include "gateway/listener.h"
#include "gateway/process.h"
#include "gateway/tls.h"

#define BUFFER_UNSET 4096 /* Momentum's default: harmful today, so it means nothing */

struct lconf {
	struct gw_conn_conf base; /* first */
	struct gw *gw;
	struct conf *conf;
	const struct conf_scope *listen, *peer; /* peer: NULL = who is in none */
	struct lconf **peers; /* the variants, of the first one; NULL-terminated */
	bool deny, nodelay;
	unsigned idle_ms;
	unsigned listener_max, service_max;
	const struct conf_scope *listener_from, *service_from;
	unsigned proxy_ms; /* a PROXY header must come within; 0 = none comes */
	int rcvbuf, sndbuf;
	struct gw_net *proxies;
	size_t n_proxies;
};

static struct lconf *
lconf_of(struct gw_conn_conf *cf)
{
	return (struct lconf *)cf;
}

static const struct lconf *
lconf_ofc(const struct gw_conn_conf *cf)
{
	return (const struct lconf *)cf;
}

static struct conf_at
at_of(const struct lconf *lc)
{
	return (struct conf_at){ .scope = lc->listen, .peer_net = lc->peer };
}

/* ---- certificates ---- */

/* The file is the daemon's, and so is its folder when that is one of data_dir's. */
static void
own_below_data(struct gw *gw, const char *path)
{
	char *dir = td_strdup(path), *slash = strrchr(dir, '/');
	size_t n = strlen(gw->data_dir);

	gw_process_own(gw, path);
	if (slash != NULL && strncmp(dir, gw->data_dir, n) == 0 && dir[n] == '/') {
		*slash = '\0';
		gw_process_own(gw, dir);
	}
	free(dir);
}

/* Make a certificate that the configuration names and that is not there. */
static int
ensure_cert(struct gw_lshare *s, const char *cert, const char *key, const char *cn,
	    struct td_err *err)
{
	struct td_str names[100];
	size_t n = 0;
	int rc;

	if (access(cert, F_OK) == 0 || s->check_only)
		return 0;
	while (n < 100 && (names[n] = gw_domains_hosted(s->domains, n)).p != NULL)
		n++;
	rc = gw_tls_self_signed(cert, key, cn, names, n, err);
	if (rc < 0)
		return rc;
	own_below_data(s->gw, cert);
	if (key != NULL)
		own_below_data(s->gw, key);
	td_log_warn(&s->gw->log, "self-signed-made", "path=%s name=%s hint=clients-will-complain",
		    td_escz(cert), td_escz(cn));
	return 0;
}

static char *
path_option(struct gw_lshare *s, const struct conf_at *at, const char *option)
{
	struct td_str v = conf_str(s->conf, at, option);

	return v.len > 0 ? gw_path(s->gw, v) : NULL;
}

/* A domain that brings a certificate of its own. */
static int
add_domain_cert(struct gw_lshare *s, struct td_str name, struct td_err *err)
{
	struct conf_at at = { .protocol = "xmpp", .domain = name };
	const struct conf_scope *from = conf_origin(s->conf, &at, "tls_certificate");
	char *cert, *key, *cn;
	int rc = 0;

	if (from == NULL || strcmp(conf_scope_kind(from), "domain") != 0)
		return 0;
	cert = path_option(s, &at, "tls_certificate");
	if (cert == NULL)
		return 0;
	key = path_option(s, &at, "tls_key");
	cn = td_strndup(name);
	rc = ensure_cert(s, cert, key, cn, err);
	if (rc == 0 && access(cert, F_OK) == 0)
		rc = gw_certs_add(s->certs, name, cert, key, err);
	free(cert);
	free(key);
	free(cn);
	return rc;
}

int
gw_lshare_init(struct gw_lshare *s, struct gw *gw, struct conf *c, const struct gw_domains *d,
	       bool check_only, struct td_err *err)
{
	struct td_str name;
	int rc = 0;

	*s = (struct gw_lshare){
		.gw = gw, .conf = conf_ref(c), .domains = d, .check_only = check_only
	};
	s->certs = gw_certs_new();
	for (size_t i = 0; rc == 0 && (name = gw_domains_hosted(d, i)).p != NULL; i++)
		rc = add_domain_cert(s, name, err);
	if (rc < 0)
		gw_lshare_fini(s);
	return rc;
}

void
gw_lshare_fini(struct gw_lshare *s)
{
	for (size_t i = 0; i < s->n_tls; i++) {
		gw_tls_unref(&s->tls[i].tls);
		free(s->tls[i].key);
	}
	for (size_t i = 0; i < s->n_creds; i++) {
		xmpp_cred_source_unref(&s->creds[i].src);
		free(s->creds[i].uri);
	}
	free(s->tls);
	free(s->creds);
	gw_certs_unref(&s->certs);
	conf_unref(&s->conf);
	*s = (struct gw_lshare){ 0 };
}

static char *
zstr(struct td_str s)
{
	return s.len > 0 ? td_strndup(s) : NULL;
}

/* The context for <tc>: one that a Listen before had, or a new one. */
static int
shared_tls(struct gw_lshare *s, const struct gw_tls_conf *tc, struct gw_tls **out,
	   struct td_err *err)
{
	struct td_buf key = { 0 };
	struct gw_tls *t;
	int rc;

	td_buf_addf(&key, "%s|%s|%s|%s|%s|%d|%d|%s", tc->cert, tc->key != NULL ? tc->key : "",
		    tc->client_ca != NULL ? tc->client_ca : "",
		    tc->ciphers != NULL ? tc->ciphers : "",
		    tc->protocols != NULL ? tc->protocols : "", (int)tc->verify,
		    (int)tc->servers_only, tc->alpn != NULL ? tc->alpn : "");
	for (size_t i = 0; i < s->n_tls; i++) {
		if (!td_str_eqc(td_buf_str(&key), s->tls[i].key))
			continue;
		*out = gw_tls_ref(s->tls[i].tls);
		td_buf_fini(&key);
		return 0;
	}
	rc = gw_tls_new(tc, &t, err);
	if (rc == 0) {
		s->tls = td_realloc(s->tls, (s->n_tls + 1) * sizeof(*s->tls));
		s->tls[s->n_tls].key = td_strdup(td_buf_cstr(&key));
		s->tls[s->n_tls++].tls = t;
		*out = gw_tls_ref(t);
	}
	td_buf_fini(&key);
	return rc;
}

static int
load_tls(struct gw_lshare *s, const struct conf_at *at, struct gw_conn_conf *cf, struct td_err *err)
{
	struct td_str mode = conf_str(s->conf, at, "tls_verify_mode");
	struct td_str kind = conf_str(s->conf, at, "xmpp_streams");
	bool servers = td_str_ieq(kind, TD_STR("server"));
	bool named = conf_is_set(s->conf, at, "tls_certificate");
	char *cert = path_option(s, at, "tls_certificate"), *key = path_option(s, at, "tls_key");
	char *ca = path_option(s, at, "tls_client_ca"),
	     *ciphers = zstr(conf_str(s->conf, at, "tls_ciphers"));
	char *protocols = zstr(conf_str(s->conf, at, "tls_protocols"));
	struct gw_tls_conf tc = {
		.client_ca = ca,
		.ciphers = ciphers,
		.protocols = protocols,
		.verify = td_str_ieq(mode, TD_STR("require"))    ? GW_VERIFY_REQUIRE
			  : td_str_ieq(mode, TD_STR("optional")) ? GW_VERIFY_OPTIONAL
								 : GW_VERIFY_NONE,
		.alpn = cf->app != NULL                      ? "http/1.1"
			: !cf->direct_tls                    ? NULL
			: td_str_ieq(kind, TD_STR("client")) ? "xmpp-client"
			: servers                            ? "xmpp-server"
							     : "xmpp-client,xmpp-server",
		.servers_only = servers && cf->app == NULL,
		.certs = s->certs,
	};
	int rc = 0;

	if (named && cert == NULL)
		goto out;   /* none: explicitly nothing */
	if (cert == NULL) { /* a server that cannot do TLS is of no use: there is always one */
		struct td_buf name = { 0 };

		td_buf_addf(&name, "tls/%s.pem", s->gw->hostname);
		cert = gw_path(s->gw, td_buf_str(&name));
		td_buf_fini(&name);
	}
	rc = ensure_cert(s, cert, key, s->gw->hostname, err);
	tc.cert = cert;
	tc.key = key;
	if (rc == 0 && (!s->check_only || access(cert, F_OK) == 0))
		rc = shared_tls(s, &tc, &cf->tls, err);
out:
	free(cert);
	free(key);
	free(ca);
	free(ciphers);
	free(protocols);
	return rc;
}

/* ---- credentials ---- */

static unsigned
named_mechs(struct td_str list)
{
	unsigned set = 0;

	while (list.len > 0) {
		ptrdiff_t at = td_str_chr(list, ' ');
		size_t n = at < 0 ? list.len : (size_t)at;

		set |= xmpp_sasl_bit(td_str(list.p, n));
		list.p += at < 0 ? n : n + 1;
		list.len -= at < 0 ? n : n + 1;
	}
	return set;
}

#define SCRAM (SASL_M_SCRAM_SHA1 | SASL_M_SCRAM_SHA256)
#define SCRAM_PLUS (SASL_M_SCRAM_SHA1_PLUS | SASL_M_SCRAM_SHA256_PLUS)

static int
shared_source(struct gw_lshare *s, struct td_str uri, struct xmpp_cred_source **out,
	      struct td_err *err)
{
	char *z = td_strndup(uri);
	struct xmpp_cred_source *src;
	int rc;

	for (size_t i = 0; i < s->n_creds; i++) {
		if (strcmp(s->creds[i].uri, z) == 0) {
			*out = xmpp_cred_source_ref(s->creds[i].src);
			free(z);
			return 0;
		}
	}
	rc = xmpp_cred_source_open(z, s->gw->store, &src, err);
	if (rc < 0) {
		free(z);
		return rc;
	}
	s->creds = td_realloc(s->creds, (s->n_creds + 1) * sizeof(*s->creds));
	s->creds[s->n_creds].uri = z;
	s->creds[s->n_creds++].src = src;
	*out = xmpp_cred_source_ref(src);
	return 0;
}

/* Are certificates of clients checked, against something? */
static bool
asks_for_certificate(const struct conf *c, const struct conf_at *at)
{
	struct td_str mode = conf_str(c, at, "tls_verify_mode");

	return conf_str(c, at, "tls_client_ca").len > 0 &&
	       (td_str_ieq(mode, TD_STR("optional")) || td_str_ieq(mode, TD_STR("require")));
}

unsigned
gw_lconf_mechs(const struct conf *c, const struct conf_at *at, struct td_str *uri)
{
	static const struct {
		const char *option;
		unsigned adds; /* to SCRAM, which every store can serve */
	} rows[] = {
		{ "authparameters", 0 },
		{ "authscramparameters", 0 },
		{ "authplainparameters", SASL_M_PLAIN },
		{ "authdigestmd5parameters", SASL_M_DIGEST_MD5 },
	};
	unsigned set = 0, allowed = ~0u;

	*uri = TD_STR_NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct td_str u = conf_dict(c, at, rows[i].option, "uri");
		struct td_str names = conf_dict(c, at, rows[i].option, "mechanisms");

		if (u.p == NULL)
			continue;
		set |= SCRAM | SCRAM_PLUS | rows[i].adds;
		if (uri->p == NULL)
			*uri = u;
		if (names.len > 0) {
			allowed = named_mechs(names);
			set |= allowed & SASL_M_PLAIN;
		}
	}
	if (!conf_bool(c, at, "allow_legacy_auth"))
		set &= ~SASL_M_DIGEST_MD5;
	if (set != 0 && asks_for_certificate(c, at))
		set |= SASL_M_EXTERNAL;
	return set & allowed;
}

static int
load_creds(struct gw_lshare *s, struct lconf *lc, struct td_err *err)
{
	struct conf_at at = at_of(lc);
	struct xmpp_c2s_conf *cc = &lc->base.cc;
	struct td_str uri;
	int rc;

	if (td_str_ieq(conf_str(s->conf, &at, "xmpp_streams"), TD_STR("server")))
		return 0;
	cc->mechs_tls = gw_lconf_mechs(s->conf, &at, &uri);
	cc->mechs_plain = cc->mechs_tls &
			  ~(SCRAM_PLUS | SASL_M_EXTERNAL | (lc->base.local ? 0 : SASL_M_PLAIN));
	rc = uri.p != NULL ? shared_source(s, uri, &cc->creds, err) : 0;
	if (rc == 0 && lc->base.app != NULL)
		lc->base.app->ready(&lc->base);
	return rc;
}

int
gw_lconf_creds(struct gw_lshare *s, struct gw_conn_conf *cf, struct td_err *err)
{
	struct lconf *lc = lconf_of(cf);
	int rc = load_creds(s, lc, err);

	for (size_t i = 0; rc == 0 && lc->peers != NULL && lc->peers[i] != NULL; i++)
		rc = load_creds(s, lc->peers[i], err);
	return rc;
}

/* ---- peers ---- */

/* What <sa> gets: <lc> or one of its variants. */
static struct lconf *
variant_for(struct lconf *lc, const struct sockaddr *sa)
{
	/* a Unix socket counts as loopback where Peers are matched (momentum.md 2.1) */
	const struct sockaddr_in loopback = { .sin_family = AF_INET,
					      .sin_addr = { htonl(INADDR_LOOPBACK) } };
	const struct conf_scope *peer;

	if (lc->peers == NULL)
		return lc;
	peer = conf_peer(lc->listen, sa->sa_family == AF_UNIX
					     ? (const struct sockaddr *)(const void *)&loopback
					     : sa);
	for (size_t i = 0; peer != NULL && lc->peers[i] != NULL; i++)
		if (lc->peers[i]->peer == peer)
			return lc->peers[i];
	return lc;
}

/* The count a limit is about: that of the scope which set it, the same in every generation. */
static void
budget_key(const char *what, const struct conf_scope *from, bool whole_service, struct td_buf *out)
{
	td_buf_addz(out, what);
	if (whole_service && strcmp(conf_scope_kind(from), "peer") != 0)
		return; /* one for all listeners of the kind */
	for (; from != NULL; from = conf_scope_parent(from)) {
		struct td_str name = conf_scope_name(from);

		td_buf_addf(out, "/%s:%.*s", conf_scope_kind(from), TD_STR_ARG(name));
	}
}

/* Take one of a limited number; false: none is left. */
static bool
take(const struct lconf *lc, struct xmpp_io *io, const char *what, const struct conf_scope *from,
     bool whole_service, unsigned max)
{
	struct td_buf key = { 0 };
	struct gw_budget *b;
	bool ok;

	if (max == 0 || from == NULL)
		return true;
	budget_key(what, from, whole_service, &key);
	b = gw_listeners_budget(lc->gw, td_buf_cstr(&key));
	td_buf_fini(&key);
	ok = atomic_fetch_add(&b->used, 1) < max;
	if (ok)
		gw_conn_use_budget(io, b);
	else
		atomic_fetch_sub(&b->used, 1);
	gw_budget_unref(&b);
	return ok;
}

static struct gw_conn_conf *
admit(struct gw_conn_conf *cf, const struct sockaddr *peer, struct xmpp_io *io)
{
	struct lconf *lc = variant_for(lconf_of(cf), peer);
	const char *why = NULL;

	if (lc->deny)
		why = "denied";
	else if (!take(lc, io, "listener", lc->listener_from, false, lc->listener_max))
		why = "listener_sessions";
	else if (!take(lc, io, "service", lc->service_from, true, lc->service_max))
		why = "service_sessions";
	if (why != NULL) {
		td_log_info(&lc->gw->log, "conn-refused", "peer=%s why=%s", gw_io_ops.peer(io),
			    why);
		return NULL;
	}
	gw_conn_set_idle(io, lc->idle_ms);
	return &lc->base;
}

unsigned
gw_lconf_proxy(struct gw_conn_conf *cf, const struct sockaddr *sa)
{
	return variant_for(lconf_of(cf), sa)->proxy_ms;
}

bool
gw_lconf_trusts(const struct gw_conn_conf *cf, const struct sockaddr *sa)
{
	const struct lconf *lc = lconf_ofc(cf);

	return sa->sa_family == AF_UNIX || gw_nets_have(lc->proxies, lc->n_proxies, sa);
}

/* ---- sockets ---- */

void
gw_lconf_tune(const struct gw_conn_conf *cf, int fd)
{
	const struct lconf *lc = lconf_ofc(cf);
	int one = 1;

	if (lc->nodelay)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (lc->rcvbuf > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &lc->rcvbuf, sizeof(lc->rcvbuf));
	if (lc->sndbuf > 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &lc->sndbuf, sizeof(lc->sndbuf));
}

static int
buffer_size(const struct conf *c, const struct conf_at *at, const char *option)
{
	int64_t n = conf_int(c, at, option);

	return n == BUFFER_UNSET ? 0 : (int)n;
}

/* ---- the whole ---- */

static void
free_lconf(struct gw_conn_conf *cf)
{
	struct lconf *lc = lconf_of(cf);

	for (size_t i = 0; lc->peers != NULL && lc->peers[i] != NULL; i++) {
		struct gw_conn_conf *v = &lc->peers[i]->base;

		gw_conn_conf_unref(&v);
	}
	gw_tls_unref(&cf->tls);
	if (cf->cc.creds != NULL)
		xmpp_cred_source_unref(&cf->cc.creds);
	if (cf->app != NULL)
		cf->app->forget(cf);
	conf_unref(&lc->conf);
	free(lc->peers);
	free(lc->proxies);
	free(lc);
}

static int
load_proxies(struct lconf *lc, const struct conf_at *at, struct td_err *err)
{
	size_t n;
	const struct td_str *list = conf_list(lc->conf, at, "proxy_protocol_hosts", &n);

	if (conf_bool(lc->conf, at, "proxy_protocol"))
		lc->proxy_ms = (unsigned)conf_int(lc->conf, at, "proxy_protocol_timeout") * 1000u;
	lc->proxies = td_zalloc((n + 1) * sizeof(*lc->proxies));
	for (size_t i = 0; i < n; i++)
		if (!gw_net_parse(list[i], &lc->proxies[lc->n_proxies++]))
			return td_fail(err, TD_E_INVAL, "proxy_protocol_hosts: %.*s is no network",
				       TD_STR_ARG(list[i]));
	return 0;
}

static void
load_policy(struct lconf *lc, const struct conf_at *at)
{
	const struct conf *c = lc->conf;

	lc->deny = conf_bool(c, at, "always_deny");
	lc->idle_ms = (unsigned)conf_int(c, at, "idle_time") * 1000u;
	lc->listener_max = (unsigned)conf_int(c, at, "listener_sessions");
	lc->service_max = (unsigned)conf_int(c, at, "service_sessions");
	lc->listener_from = lc->listener_max > 0 ? conf_origin(c, at, "listener_sessions") : NULL;
	lc->service_from = lc->service_max > 0 ? conf_origin(c, at, "service_sessions") : NULL;
	lc->rcvbuf = buffer_size(c, at, "tcp_recv_buffer_size");
	lc->sndbuf = buffer_size(c, at, "tcp_send_buffer_size");
	lc->nodelay = conf_bool(c, at, "disable_nagle_algorithm");
}

static void
load_stream(struct lconf *lc, const struct conf_at *at, struct gw_conn_conf *cf)
{
	const struct conf *c = lc->conf;
	struct xmpp_c2s_conf *cc = &cf->cc;

	cf->direct_tls = conf_bool(c, at, "use_ssl");
	cf->handshake_ms = (unsigned)conf_int(c, at, "negotiation_timeout") * 1000u;
	cf->max_pending = (size_t)conf_int(c, at, "max_write_queue");
	cf->ping_ms = (unsigned)conf_int(c, at, "ping_interval") * 1000u;
	cf->ping_timeout_ms = (unsigned)conf_int(c, at, "ping_timeout") * 1000u;
	cc->ops = &gw_io_ops;
	cc->tls_required = conf_bool(c, at, "tls_required");
	cc->auth_max_failures = (unsigned)conf_int(c, at, "auth_max_failures");
	cc->auth_delay_ms = (unsigned)conf_int(c, at, "auth_delay_ms");
	if (!conf_throttle(c, at, "stanza_rate", &cc->stanza_count, &cc->stanza_seconds))
		cc->stanza_count = 0;
	if (!conf_throttle(c, at, "byte_rate", &cc->byte_count, &cc->byte_seconds))
		cc->byte_count = 0;
	cc->max_stanza = (uint32_t)conf_int(c, at, "max_stanza_size");
	cc->max_stanza_unauth = (uint32_t)conf_int(c, at, "max_stanza_size_unauth");
	cc->max_depth = (uint16_t)conf_int(c, at, "max_depth");
	cc->negotiation_ms = cf->handshake_ms;
	cc->cert_identity =
		td_str_ieq(conf_str(c, at, "client_cert_identity"), TD_STR("email")) ? XI_EMAIL
		: td_str_ieq(conf_str(c, at, "client_cert_identity"), TD_STR("commonname"))
			? XI_COMMONNAME
			: XI_XMPPADDR;
	/* whichever comes first: the question whether it lives, or the end */
	cc->idle_seconds = cf->ping_ms / 1000u;
	if (lc->idle_ms > 0 && (cf->ping_ms == 0 || lc->idle_ms < cf->ping_ms))
		cc->idle_seconds = lc->idle_ms / 1000u;
	cc->context = conf_pairs(c, at, "context", &cc->n_context);
}

/* What those in <peer> get; NULL = those in no Peer. */
static int
variant_new(struct gw_lshare *s, const struct conf_scope *listen, const struct conf_scope *peer,
	    bool is_unix, struct lconf **out, struct td_err *err)
{
	struct lconf *lc = td_zalloc(sizeof(*lc));
	struct gw_conn_conf *cf = &lc->base;
	struct conf_at at;
	int rc;

	atomic_init(&cf->refs, 1);
	cf->free = free_lconf;
	cf->admit = admit;
	cf->local = is_unix;
	lc->gw = s->gw;
	lc->conf = conf_ref(s->conf);
	lc->listen = listen;
	lc->peer = peer;
	at = at_of(lc);
	load_policy(lc, &at);
	load_stream(lc, &at, cf);
	if (strcmp(conf_scope_kind(conf_scope_parent(listen)), "http_listener") == 0) {
		cf->app = s->gw->http_app;
		cf->app->configure(cf, s->conf, &at);
	}
	rc = load_proxies(lc, &at, err);
	if (rc == 0)
		rc = load_tls(s, &at, cf, err);
	if (rc == 0 && cf->direct_tls && cf->tls == NULL && !s->check_only)
		rc = td_fail(err, TD_E_INVAL, "use_ssl needs a certificate (tls_certificate)");
	if (rc < 0) {
		gw_conn_conf_unref(&cf);
		listen = peer != NULL ? peer : listen;
		(void)td_wrap(err, "%s: %s \"%.*s\"", conf_scope_where(listen),
			      peer != NULL ? "Peer" : "Listen",
			      TD_STR_ARG(conf_scope_name(listen)));
		return rc;
	}
	*out = lc;
	return 0;
}

int
gw_lconf_new(struct gw_lshare *s, const struct conf_scope *listen, bool is_unix,
	     struct gw_conn_conf **out, struct td_err *err)
{
	struct lconf *lc;
	size_t n = 0;
	int rc = variant_new(s, listen, NULL, is_unix, &lc, err);

	if (rc < 0)
		return rc;
	*out = &lc->base;
	for (const struct conf_scope *at = listen; at != NULL; at = conf_scope_parent(at))
		for (const struct conf_scope *p = NULL; (p = conf_next(s->conf, at, "peer", p));) {
			lc->peers = td_realloc(lc->peers, (n + 2) * sizeof(struct lconf *));
			lc->peers[n] = lc->peers[n + 1] = NULL;
			rc = variant_new(s, listen, p, is_unix, &lc->peers[n++], err);
			if (rc < 0) {
				gw_conn_conf_unref(out);
				return rc;
			}
		}
	return 0;
}
