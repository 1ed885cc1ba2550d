/* c2s_rig - client streams over a connection that is memory: an xmpp_env of one worker with a
 * store in memory, "a.test" with ann, bob and eve (password "pencil").  Used by test_c2s.c and
 * fuzz_stream.c, so it knows no test framework: what must not be aborts.
 *
 * Credentials and the store answer when rig_settle lets them; nothing is read while the stream
 * has paused its connection. */
#ifndef TESTS_C2S_RIG_H
#define TESTS_C2S_RIG_H
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/c2s.h"
#include "xmpp/deliver.h"
#include "xmpp/modules.h"
#include "xmpp/sasl_priv.h"

struct xmpp_io {
	struct xmpp_c2s *c;                     /* NULL: closed */
	struct td_buf out;                      /* what the client got and nobody looked at yet */
	struct td_buf in;                       /* came while the stream was paused */
	size_t flushed;                         /* of out */
	bool tls, starttls, paused, shut, slow; /* slow: the client does not read */
};

#define RIG_IOS 8u
static struct {
	struct td_loop *loop;
	struct store *store;
	struct conf *conf;
	struct xmpp_env *env;
	struct xmpp_c2s_conf cc;
	struct xmpp_io io[RIG_IOS];
	bool late; /* credentials come with rig_settle */
	struct {
		xmpp_cred_cb *cb;
		void *arg;
		bool known;
	} asked[RIG_IOS];
	void (*routed)(struct xmpp_stanza *s); /* looks at what goes through */
} rig;

static inline void
rig_must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- credentials ---- */

static struct xmpp_credentials rig_cred;

static void
rig_answer(void)
{
	struct xmpp_credentials none = { 0 };

	for (size_t i = 0; i < RIG_IOS; i++) {
		xmpp_cred_cb *cb = rig.asked[i].cb;

		rig.asked[i].cb = NULL;
		if (cb != NULL)
			cb(rig.asked[i].arg, 0, rig.asked[i].known ? &rig_cred : &none);
	}
}

static void
rig_fetch(struct xmpp_cred_source *src, struct td_str jid, struct td_loop *loop, xmpp_cred_cb *cb,
	  void *arg)
{
	(void)src;
	(void)loop;
	for (size_t i = 0; i < RIG_IOS; i++) {
		if (rig.asked[i].cb != NULL)
			continue;
		rig.asked[i].cb = cb;
		rig.asked[i].arg = arg;
		rig.asked[i].known = td_str_eqc(jid, "ann@a.test") ||
				     td_str_eqc(jid, "bob@a.test") || td_str_eqc(jid, "eve@a.test");
		if (!rig.late)
			rig_answer();
		return;
	}
	abort();
}

static void
rig_hints(struct xmpp_cred_source *s, struct xmpp_cred_hints *h)
{
	(void)s;
	h->iterations = 1;
}

static const struct xmpp_cred_ops rig_cred_ops = { .scheme = "rig",
						   .fetch = rig_fetch,
						   .hints = rig_hints };
static struct xmpp_cred_source rig_source = { .ops = &rig_cred_ops, .refs = 1 };

/* ---- the connection ---- */

static struct td_buf *
rig_out(struct xmpp_io *io)
{
	static struct td_buf trash;

	if (!io->shut)
		return &io->out;
	td_buf_clear(&trash);
	return &trash;
}

static void
rig_starttls(struct xmpp_io *io)
{
	rig_must(!io->tls);
	io->starttls = true;
}

static void
rig_shut(struct xmpp_io *io)
{
	io->shut = true;
}

static void
rig_move(struct xmpp_io *io, unsigned index)
{
	(void)io;
	(void)index;
	abort(); /* there is one worker */
}

static void
rig_pause(struct xmpp_io *io, bool paused)
{
	io->paused = paused;
}

static size_t
rig_pending(const struct xmpp_io *io)
{
	return io->out.len - io->flushed;
}

static const char *
rig_peer(const struct xmpp_io *io)
{
	(void)io;
	return "rig:0";
}

static bool
rig_binding(struct xmpp_io *io, struct xmpp_cb_data *out)
{
	*out = (struct xmpp_cb_data){ TD_STR("exporter"), TD_STR("end point"), TD_STR_NULL };
	return io->tls;
}

static unsigned
rig_binding_types(struct xmpp_io *io)
{
	return io->tls ? XB_TLS_EXPORTER | XB_TLS_SERVER_END_POINT : 0;
}

static bool
rig_has_tls(const struct xmpp_io *io)
{
	(void)io;
	return true;
}

static void
rig_set_domain(struct xmpp_io *io, struct td_str domain)
{
	(void)io;
	rig_must(td_str_eqc(domain, "a.test"));
}

static const struct xmpp_io_ops rig_ops = {
	.out = rig_out,
	.starttls = rig_starttls,
	.shut = rig_shut,
	.move = rig_move,
	.pause = rig_pause,
	.pending = rig_pending,
	.peer = rig_peer,
	.channel_binding = rig_binding,
	.binding_types = rig_binding_types,
	.has_tls_ctx = rig_has_tls,
	.set_domain = rig_set_domain,
};

static struct xmpp_io *
rig_connect(bool tls)
{
	for (size_t i = 0; i < RIG_IOS; i++) {
		struct xmpp_io *io = &rig.io[i];

		if (io->c != NULL)
			continue;
		td_buf_fini(&io->out);
		td_buf_fini(&io->in);
		*io = (struct xmpp_io){ .tls = tls };
		io->c = xmpp_c2s_new(rig.env, io, &rig.cc, tls);
		return io;
	}
	abort();
}

static void
rig_cut(struct xmpp_io *io)
{
	struct xmpp_c2s *c = io->c;

	io->c = NULL;
	if (c != NULL)
		xmpp_c2s_closed(c, "cut");
}

static void
rig_give(struct xmpp_io *io, struct td_str s)
{
	if (io->c == NULL || io->shut || io->starttls)
		return;
	if (io->paused)
		td_buf_adds(&io->in, s);
	else
		xmpp_c2s_input(io->c, s.p, s.len);
}

/* What the end of a turn does in gateway/conn.c.  True: something happened. */
static bool
rig_turn_io(struct xmpp_io *io)
{
	bool did = false;

	if (io->c == NULL)
		return false;
	if (!io->slow && io->flushed < io->out.len) {
		io->flushed = io->out.len;
		xmpp_c2s_flushed(io->c);
		did = true;
	}
	if (io->slow)
		return did;
	if (io->shut) {
		rig_cut(io);
		return true;
	}
	if (io->starttls) {
		io->starttls = false;
		io->tls = true;
		td_buf_clear(&io->in);
		xmpp_c2s_tls_ready(io->c);
		return true;
	}
	if (!io->paused && io->in.len > 0) {
		struct td_buf in = io->in;

		io->in = (struct td_buf){ 0 };
		xmpp_c2s_input(io->c, in.p, in.len);
		td_buf_fini(&in);
		return true;
	}
	return did;
}

/* Until nothing is under way but timers. */
static void
rig_settle(void)
{
	unsigned quiet = 0;

	while (quiet < 2) {
		struct store_stats st = { 0 };
		bool did = false;

		rig_answer();
		td_loop_turn(rig.loop, false);
		for (size_t i = 0; i < RIG_IOS; i++)
			did = rig_turn_io(&rig.io[i]) || did;
		store_get_stats(rig.store, &st);
		quiet = st.queue == 0 && !did ? quiet + 1 : 0;
		if (st.queue > 0)
			sched_yield();
	}
}

/* ---- the host ---- */

static enum xmpp_domain_kind
rig_domain(struct xmpp_env *env, struct td_str domain)
{
	(void)env;
	return td_str_eqc(domain, "a.test") ? XD_LOCAL : XD_REMOTE;
}

static void
rig_route(struct xmpp_env *env, struct xmpp_stanza *s)
{
	rig_must(s->sealed);
	if (rig.routed != NULL)
		rig.routed(s);
	if (s->to.full.p == NULL) {
		xmpp_stanza_unref(&s);
	} else if (!td_str_eqc(s->to.domain, "a.test")) {
		xmpp_bounce(env, s, XE_REMOTE_SERVER_NOT_FOUND, NULL);
		xmpp_stanza_unref(&s);
	} else if (s->to.local.p != NULL) {
		xmpp_deliver(env, s);
	} else {
		xmpp_deliver_server(env, s);
	}
}

static bool
rig_to_mail(struct xmpp_env *env, struct xmpp_stanza *s)
{
	(void)env;
	(void)s;
	return false;
}

static void
rig_presence(struct xmpp_env *env, const struct xmpp_jid *full, int priority, struct td_str show,
	     struct td_str status, bool available)
{
	(void)env;
	(void)full;
	(void)priority;
	(void)available;
	rig_must(td_utf8_valid(show) && td_utf8_valid(status));
}

static struct td_str
rig_hosted(struct xmpp_env *env, size_t i)
{
	(void)env;
	return i == 0 ? TD_STR("a.test") : TD_STR_NULL;
}

static const struct xmpp_host rig_host = {
	.hosted = rig_hosted,
	.domain = rig_domain,
	.route = rig_route,
	.to_mail = rig_to_mail,
	.presence = rig_presence,
};

/* ---- life ---- */

static void
rig_once(void)
{
	rig_must(xmpp_sasl_init(TD_STR("rig"), NULL) == 0);
	rig_cred.found = true;
	rig_cred.sha256.iterations = rig_cred.sha1.iterations = 1;
	rig_cred.sha256.salt_len = rig_cred.sha1.salt_len = 4;
	memcpy(rig_cred.sha1.salt, "salt", 4);
	memcpy(rig_cred.sha256.salt, "salt", 4);
	rig_must(sasl_scram_keys(EVP_sha1(), "pencil", &rig_cred.sha1) == 0);
	rig_must(sasl_scram_keys(EVP_sha256(), "pencil", &rig_cred.sha256) == 0);
}

/* <xmpp>: text inside xmpp {}. */
static void
rig_start(const char *xmpp)
{
	static const char *const names[] = { "ann@a.test", "bob@a.test", "eve@a.test" };
	struct store_conf sc = { .path = ":memory:", .readers = 1, .max_offline = 50 };
	struct conf_report report = { 0 };
	char text[512];

	if (!rig_cred.found)
		rig_once();
	(void)snprintf(text, sizeof(text),
		       "hostname = \"a.test\"\nxmpp { %s }\ndomain \"a.test\" { XMPP_Role = "
		       "\"server\" archive = false }\n",
		       xmpp);
	memset(&rig, 0, sizeof(rig));
	rig_must(conf_load_text("rig", td_cstr(text), &rig.conf, &report) == 0);
	conf_report_fini(&report);
	rig_must(store_open(&sc, &rig.store, NULL) == 0);
	for (size_t i = 0; i < 3; i++) {
		struct store_account a = { .jid = td_cstr(names[i]) };

		store_account_add(rig.store, &a, (struct store_to){ 0 });
	}
	rig.loop = td_loop_new(0);
	rig.env = xmpp_env_new(rig.loop, 0, 1, &rig_host, NULL, rig.store, rig.conf);
	rig.cc = (struct xmpp_c2s_conf){
		.ops = &rig_ops,
		.mechs_plain = SASL_M_SCRAM_SHA256,
		.mechs_tls = 0x1F,
		.creds = &rig_source,
		.auth_max_failures = 3,
		.max_stanza = (uint32_t)conf_int(rig.conf, NULL, "max_stanza_size"),
		.max_stanza_unauth = (uint32_t)conf_int(rig.conf, NULL, "max_stanza_size_unauth"),
		.max_depth = (uint16_t)conf_int(rig.conf, NULL, "max_depth"),
		.negotiation_ms = (unsigned)conf_int(rig.conf, NULL, "negotiation_timeout") * 1000,
	};
	rig_settle();
}

static void
rig_stop(void)
{
	struct xmpp_session *s;

	for (size_t i = 0; i < RIG_IOS; i++)
		rig_cut(&rig.io[i]);
	rig_settle();
	while ((s = TAILQ_FIRST(&rig.env->sessions)) != NULL)
		xmpp_session_end(s, "shutdown");
	rig_settle();
	rig_must(rig.env->stats.streams == 0 && rig.env->stats.sessions == 0 &&
		 rig.env->stats.hibernated == 0);
	xmpp_env_free(rig.env);
	store_close(&rig.store);
	td_loop_free(rig.loop);
	conf_unref(&rig.conf);
	for (size_t i = 0; i < RIG_IOS; i++) {
		td_buf_fini(&rig.io[i].out);
		td_buf_fini(&rig.io[i].in);
	}
	rig_must(rig_source.refs == 1);
}

/* ---- talking ---- */

#define RIG_HEADER                                                                              \
	"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " \
	"to='a.test' "                                                                          \
	"version='1.0'>"

static void
rig_say(struct xmpp_io *io, const char *xml)
{
	rig_give(io, td_cstr(xml));
}

/* PLAIN as <name>. */
static void
rig_auth(struct xmpp_io *io, const char *name)
{
	struct td_buf b = { 0 }, b64 = { 0 };

	td_buf_addc(&b, '\0');
	td_buf_addz(&b, name);
	td_buf_addc(&b, '\0');
	td_buf_addz(&b, "pencil");
	td_buf_addz(&b64, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>");
	td_buf_add_base64(&b64, b.p, b.len);
	td_buf_addz(&b64, "</auth>");
	rig_give(io, td_buf_str(&b64));
	td_buf_fini(&b);
	td_buf_fini(&b64);
}

#define RIG_BIND(res)                                                                            \
	"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" res \
	"</resource>"                                                                            \
	"</bind></iq>"

/* Signed in, features of the second stream received. */
static struct xmpp_io *
rig_authed(const char *name)
{
	struct xmpp_io *io = rig_connect(true);

	rig_say(io, RIG_HEADER);
	rig_auth(io, name);
	rig_settle();
	rig_say(io, RIG_HEADER);
	rig_settle();
	return io;
}

static struct xmpp_io *
rig_login(const char *name, const char *then)
{
	struct xmpp_io *io = rig_authed(name);

	rig_say(io, RIG_BIND("r"));
	rig_settle();
	rig_must(xmpp_c2s_session(io->c) != NULL);
	rig_say(io, then);
	rig_settle();
	return io;
}

/* What came since the last look; NUL-terminated, until the next look at this one. */
static const char *
rig_look(struct xmpp_io *io)
{
	static char *seen[RIG_IOS];
	char **p = &seen[io - rig.io];

	free(*p);
	*p = td_strndup(td_buf_str(&io->out));
	if (*p == NULL)
		*p = td_strdup("");
	td_buf_clear(&io->out);
	io->flushed = 0;
	return *p;
}

/* Not all of this is used by everyone. */
static inline void
rig_unused(void)
{
	(void)rig_login;
	(void)rig_look;
}
#endif
