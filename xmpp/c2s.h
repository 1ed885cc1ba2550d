/* c2s - one client stream: negotiation by a state table, then stanzas (RFC 6120 4-7).
 * Thread: the worker that holds the connection; after authentication the stream moves, with
 * its connection, to the worker that owns the account.
 *
 * The connection below is the host's: it calls xmpp_c2s_input and friends, and is driven by
 * struct xmpp_io_ops. */
#ifndef XMPP_C2S_H
#define XMPP_C2S_H
#include "xmpp/xmpp.h"
#include "xmpp/sasl.h"

struct xmpp_io; /* the host's connection */
struct xmpp_io_ops {
	/* Where to append outgoing bytes; what is there at the end of the turn is written once.
	 * After shut(): a buffer that is thrown away. */
	struct td_buf *(*out)(struct xmpp_io *io);
	/* Flush what is queued in clear, then begin the TLS handshake as server; then
	 * xmpp_c2s_tls_ready.  Bytes received so far are dropped by the caller. */
	void (*starttls)(struct xmpp_io *io);
	/* Write what is queued, then close; xmpp_c2s_closed comes later exactly once. */
	void (*shut)(struct xmpp_io *io);
	/* Hand the connection over to worker <index> at the end of the turn; then
	 * xmpp_c2s_moved comes there.  No input is given between. */
	void (*move)(struct xmpp_io *io, unsigned index);
	/* Stop and go on reading (waiting for credentials, flow control). */
	void (*pause)(struct xmpp_io *io, bool paused);
	/* Bytes accepted by out() and not yet given to the kernel. */
	size_t (*pending)(const struct xmpp_io *io);
	/* Peer as "addr:port" for logs. */
	const char *(*peer)(const struct xmpp_io *io);
	/* Channel binding of the TLS session; strings live until the next call. False: no TLS. */
	bool (*channel_binding)(struct xmpp_io *io, struct xmpp_cb_data *out);
	/* Which types channel_binding would give, without working them out: XB_* bits. */
	unsigned (*binding_types)(struct xmpp_io *io);
	/* The client's certificate, checked against the CA for clients; strings live in <a>.  False: there is none, or it
	 * is not good.  NULL = no connection has any. */
	bool (*certificate)(struct xmpp_io *io, struct td_arena *a, struct xmpp_cert *out);
	bool (*has_tls_ctx)(const struct xmpp_io *io); /* can starttls work at all? */
	/* The certificate for SNI could not know the domain yet under STARTTLS: tell it. */
	void (*set_domain)(struct xmpp_io *io, struct td_str domain);
};

/* How our stream begins and ends when not by RFC 6120's tags: WebSocket (RFC 7395), BOSH (XEP-0206).  What is
 * between is written to out() element by element, the prefix "stream" and NS_CLIENT in force; input is given as
 * an RFC 6120 stream. */
struct xmpp_framing {
	/* Our header: a stream id made for it, the domain (maybe unknown), whom it is for (maybe nobody). */
	void (*open)(struct xmpp_io *io, const char *id, struct td_str from, struct td_str to);
	void (*close)(struct xmpp_io *io);
};

/* What a Listen allows; built by the host from the snapshot, refcounted there. */
struct xmpp_c2s_conf {
	const struct xmpp_io_ops *ops;
	const struct xmpp_framing *framing; /* NULL = RFC 6120's */
	unsigned mechs_plain;               /* SASL_M_* without TLS */
	unsigned mechs_tls;                 /* with TLS */
	bool tls_required;
	struct xmpp_cred_source *creds;
	unsigned auth_max_failures;            /* 0 = 3 */
	unsigned auth_delay_ms;                /* before the next attempt is read */
	unsigned stanza_count, stanza_seconds; /* stanza_rate; count 0 = unlimited */
	unsigned byte_count, byte_seconds;     /* byte_rate */
	uint32_t max_stanza, max_stanza_unauth;
	uint16_t max_depth;
	unsigned negotiation_ms; /* from connect to a bound session */
	/* context = [ key = value ]: n_context pairs, the configuration's */
	const struct td_str *context;
	size_t n_context;
	enum {
		XI_XMPPADDR = 0,
		XI_EMAIL,
		XI_COMMONNAME
	} cert_identity;       /* what names the account when a certificate has no xmppAddr */
	unsigned idle_seconds; /* announced (XEP-0478); 0 = no limit */
	bool provision; /* credentials are elsewhere (file://): a first login makes the account in the store */
};

/* A new connection. <direct_tls>: the handshake is done already (XEP-0368). <cc> must outlive it. */
struct xmpp_c2s *xmpp_c2s_new(struct xmpp_env *env, struct xmpp_io *io,
			      const struct xmpp_c2s_conf *cc, bool direct_tls);
/* Bytes arrived; <data> is only valid during the call. */
void xmpp_c2s_input(struct xmpp_c2s *c, const char *data, size_t len);
void xmpp_c2s_tls_ready(struct xmpp_c2s *c);
/* The connection is on this worker now. */
void xmpp_c2s_moved(struct xmpp_c2s *c, struct xmpp_env *env);
/* The connection is gone; frees the stream (its session may hibernate).  The io must not be used after. */
void xmpp_c2s_closed(struct xmpp_c2s *c, const char *why);
/* Everything out() took is with the kernel now (non-SM deliveries are settled). */
void xmpp_c2s_flushed(struct xmpp_c2s *c);
/* End the stream with a stream error (RFC 6120 4.9.3 name; NULL = plain close). */
void xmpp_c2s_end(struct xmpp_c2s *c, const char *condition, const char *text);
/* With an application-specific element in the error (4.9.4). */
void xmpp_c2s_end_with(struct xmpp_c2s *c, const char *condition, const char *text,
		       const char *app_xml);
/* The idle timer of the listener fired: nothing read for idle_time. */
void xmpp_c2s_idle(struct xmpp_c2s *c);

/* Nothing was read for ping_interval: ask for a sign of life (XEP-0199 4.2; with stream management
 * <r/>).  False while negotiating: there is nothing to ask. */
bool xmpp_c2s_ping(struct xmpp_c2s *c);

/* ---- for session.c and modules ---- */
/* Serialise one stanza to the client. */
void xmpp_c2s_write(struct xmpp_c2s *c, struct xmpp_stanza *s);
/* The same for a stanza kept as store row <row>: the row goes when the kernel has the bytes. */
void xmpp_c2s_write_row(struct xmpp_c2s *c, struct xmpp_stanza *s, uint64_t row);
void xmpp_c2s_write_raw(struct xmpp_c2s *c, const char *xml);
struct td_buf *xmpp_c2s_out(struct xmpp_c2s *c);
struct xmpp_session *xmpp_c2s_session(const struct xmpp_c2s *c);
struct xmpp_env *xmpp_c2s_env(const struct xmpp_c2s *c);
/* Give a stream its session (NULL: take it away); the session learns its stream.  Input that
 * waited is read now: <c> may be gone on return. */
void xmpp_c2s_adopt(struct xmpp_c2s *c, struct xmpp_session *sess);
/* Stop reading (input that is here waits) until let go; while negotiating only. */
void xmpp_c2s_hold(struct xmpp_c2s *c, bool hold);
/* The authenticated bare JID; .p NULL before. */
struct td_str xmpp_c2s_bare(const struct xmpp_c2s *c);
/* What its Listen says of <key> (option context); TD_STR_NULL when nothing. */
struct td_str xmpp_c2s_context(const struct xmpp_c2s *c, struct td_str key);
const struct td_logctx *xmpp_c2s_log(const struct xmpp_c2s *c);
bool xmpp_c2s_is_tls(const struct xmpp_c2s *c);
/* The peer as "addr:port", and the domain it asked for (empty before the header). */
const char *xmpp_c2s_peer(const struct xmpp_c2s *c);
struct td_str xmpp_c2s_domain(const struct xmpp_c2s *c);
/* Are the credentials of its accounts in our store? */
bool xmpp_c2s_has_store(const struct xmpp_c2s *c);
/* Is a stream header the next thing to come?  (For framings that make one.) */
bool xmpp_c2s_at_header(const struct xmpp_c2s *c);
/* Bytes a stanza may have now. */
uint32_t xmpp_c2s_max_stanza(const struct xmpp_c2s *c);
/* For `session list`: "host", state name, mechanism. */
void xmpp_c2s_describe(const struct xmpp_c2s *c, struct td_buf *json);
#endif
