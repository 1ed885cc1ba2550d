/* c2s_priv - one client stream from inside: for c2s.c and the steps of negotiation that have files of
 * their own (sasl2.c, bind2.c).
 * Thread: the worker that holds the stream. */
#ifndef XMPP_C2S_PRIV_H
#define XMPP_C2S_PRIV_H
#include "xmpp/c2s.h"

struct xmpp_register;
struct xmpp_sasl2;
struct xmpp_component;

enum c2s_state {
	XS_HEADER = 0, /* waiting for a stream header */
	XS_OPEN,       /* features sent, not authenticated */
	XS_TLS,        /* handshake */
	XS_SASL,       /* exchange under way */
	XS_TASK,       /* the exchange ended well, a task of SASL2 is still to be done */
	XS_INLINE,     /* authenticated by SASL2: what was asked for with it is being done */
	XS_BIND,       /* authenticated, features sent */
	XS_BINDING,    /* the account is being loaded */
	XS_READY,      /* a session is bound */
	XS_COMPONENT,  /* a component: its handshake is awaited */
	XS_JOINING,    /* on its way to the worker of its domain */
	XS_JOINED,     /* a component that is connected */
	XS_CLOSED,     /* our end is closed; input is ignored */
	XS_COUNT       /* must be last */
};

/* RFC 6120 section 6, or XEP-0388: never both on one stream. */
enum c2s_profile {
	SP_NONE = 0,
	SP_SASL1,
	SP_SASL2
};

/* What only negotiation needs; freed once the session is bound. */
struct c2s_nego {
	struct td_timer timeout;
	struct td_timer delay; /* after a failed login nothing is read for a while */
	struct xmpp_c2s *c;
	struct xmpp_sasl *sasl;
	struct xmpp_sasl2 *sasl2; /* what <authenticate/> asked for; NULL: none is under way */
	unsigned offered;         /* mechanisms announced on this stream */
	unsigned fast;            /* those for tokens (XEP-0484) */
	unsigned bindings;        /* channel bindings announced: XB_* */
	unsigned failures;
	uint8_t profile; /* enum c2s_profile */
	bool sasl_waiting, held,
		delayed;           /* nothing is read: a fetch, stream management, a penalty */
	bool waiting;              /* c2s_wait */
	struct xmpp_register *reg; /* accounts made or about to be made here; NULL = none */
	uint64_t authed_at;        /* when the credentials were found right: td_mono_ms */
	char *from;                /* bare JID the stream header claims; NULL = none */
	struct bind_request *binding;
	struct td_buf rest; /* input that came while we waited */
};

struct xmpp_c2s {
	uint32_t magic;
	uint8_t state;
	bool tls, out_open, moving, in_input, gone;
	bool anonymous; /* who signed in is a guest */
	bool component; /* not a client but a component (XEP-0114): <comp> in place of <rows> */
	struct xmpp_env *env;
	struct xmpp_io *io;
	const struct xmpp_c2s_conf *cc;
	struct xmpp_session *session;
	struct c2s_nego *nego;
	char *domain; /* of the stream, prepared; malloc'd, from authentication on part of <bare> */
	char *bare;   /* authenticated; malloc'd */
	char *lang;   /* the stream's xml:lang when given */
	struct xmpp_reader reader;
	struct td_logctx log;
	/* rate: one bucket each for stanzas and bytes, in microseconds of allowance */
	uint32_t stanza_us, byte_us, bytes_in; /* bytes: since the last stanza */
	uint64_t rated_at;
	struct c2s_pause *pause; /* NULL: not over the rate */
	union {
		uint64_t *rows; /* store rows written and not yet with the kernel */
		struct xmpp_component *comp;
	};
	uint32_t n_rows, cap_rows;
};

/* A session that sent too much is not read until it has its allowance back. */
struct c2s_pause {
	struct td_timer timer;
	struct xmpp_c2s *c;
	struct td_buf rest;
};

/* ---- for the files of negotiation ---- */

void c2s_goto(struct xmpp_c2s *c, enum c2s_state to, const char *why);
/* May <u>, for which c signed in, have a session?  Makes the account where that is due (provision, guests). */
bool c2s_may_bind(struct xmpp_c2s *c, struct xmpp_user *u);
void c2s_send_features(struct xmpp_c2s *c);
/* <failure/> in the profile of the exchange; the stream goes back to XS_OPEN, or ends after too many. */
void c2s_auth_failed(struct xmpp_c2s *c, enum xmpp_sasl_error e);
/* Start <mech> out of <offered> and give it the first message.  True: read on. */
bool c2s_exchange(struct xmpp_c2s *c, struct td_str mech, unsigned offered, struct td_str in);
/* One more message of the client. */
bool c2s_exchange_step(struct xmpp_c2s *c, struct td_str in);
/* The exchange ended well: note who it is (c->bare), forget the exchange. */
void c2s_authenticated(struct xmpp_c2s *c);
/* To the worker that owns <address>; false: it is this one. */
bool c2s_move(struct xmpp_c2s *c, struct td_str address);
/* Stop and go on reading while something is awaited; c may be gone when reading went on. */
void c2s_wait(struct xmpp_c2s *c);
/* A component's stream is ready for stanzas; c may be gone on return. */
void c2s_joined(struct xmpp_c2s *c);
void c2s_go_on(struct xmpp_c2s *c);
#endif
