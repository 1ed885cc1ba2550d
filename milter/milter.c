/* milter - the phases as a table.  milt_run: check (take in what the MTA says), hook (ask the
 * policy), apply (end of message: recipients, batch, commit), map the verdict, log once. */
#include "milter/milter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "milter/milt_io.h"

/* SMFIP_*; libmilter's header stays out of this file, so that it is tested without. */
#define P_NOCONNECT 0x1u
#define P_NOHELO 0x2u
#define P_NOMAIL 0x4u
#define P_NORCPT 0x8u
#define P_NOBODY 0x10u
#define P_NOHDRS 0x20u
#define P_NOEOH 0x40u
#define P_NR_HDR 0x80u
#define P_NOUNKNOWN 0x100u
#define P_NODATA 0x200u
#define P_SKIP 0x400u
#define P_RCPT_REJ 0x800u
#define P_NR_CONN 0x1000u
#define P_NR_HELO 0x2000u
#define P_NR_DATA 0x10000u
#define P_NR_UNKN 0x20000u
#define P_NR_EOH 0x40000u
#define P_NR_BODY 0x80000u
#define ALL_ACTIONS 0xffu

#define PF_MAIL 0x1u  /* means nothing without an open message */
#define PF_FINAL 0x2u /* a refusal ends the message */
#define PF_MUTE 0x4u  /* no answer at all */

struct phase_def {
	const char *name;
	unsigned flags;
	uint32_t skip, mute; /* SMFIP_NO*, SMFIP_NR_* */
	/* <0 a fault, 0 go on, 1 *v is the answer, no hook */
	int (*check)(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
		     struct td_err *err);
	/* after the hook said *v; <0 a fault, *v TEMPFAIL then means: whatever on_fault says */
	int (*apply)(struct milt_session *s, enum milt_verdict *v, struct td_err *err);
};

TAILQ_HEAD(session_list, milt_session);
static struct session_list live = TAILQ_HEAD_INITIALIZER(live);
/* guards live and each session's peer and qid */
static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
/* idle: open_mails came down to 0 */
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned open_mails;
static _Atomic bool draining;
static _Atomic uint64_t counters[MK_COUNT];

/* ---- names, counters ---- */

static const char *const verdict_names[MV_COUNT] = { "continue", "accept", "reject", "tempfail",
						     "discard",  "skip",   "noreply" };
static const char *const end_names[ME_COUNT] = { "accepted",  "taken", "rejected", "tempfailed",
						 "discarded", "held",  "aborted" };
static const char *const counter_names[MK_COUNT] = {
	"connections",      "mails",           "mails-accepted", "mails-taken",   "mails-rejected",
	"mails-tempfailed", "mails-discarded", "mails-held",     "mails-aborted", "rcpts",
	"rcpts-taken",      "faults",          "body-bytes",
};

const char *
milt_verdict_name(enum milt_verdict v)
{
	return (unsigned)v < MV_COUNT ? verdict_names[v] : "?";
}

const char *
milt_end_name(enum milt_end e)
{
	return (unsigned)e < ME_COUNT ? end_names[e] : "?";
}

const char *
milt_counter_name(enum milt_counter k)
{
	return (unsigned)k < MK_COUNT ? counter_names[k] : "?";
}

uint64_t
milt_counter_get(enum milt_counter k)
{
	return (unsigned)k < MK_COUNT ? atomic_load(&counters[k]) : 0;
}

static void
count(enum milt_counter k, uint64_t n)
{
	atomic_fetch_add_explicit(&counters[k], n, memory_order_relaxed);
}

unsigned
milt_open_mails(void)
{
	return atomic_load(&open_mails);
}

bool
milt_wait_idle(unsigned ms)
{
	struct timespec until;
	bool done;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&idle_lock);
	while (atomic_load(&open_mails) > 0)
		if (pthread_cond_timedwait(&idle, &idle_lock, &until) != 0)
			break;
	done = atomic_load(&open_mails) == 0;
	pthread_mutex_unlock(&idle_lock);
	return done;
}

void
milt_set_draining(bool on)
{
	atomic_store(&draining, on);
}

/* ---- macros ---- */

/* Which macros are asked for and read at which stage (SMFIM_CONNECT .. SMFIM_EOH).  TLS again
 * at MAIL: HELO may not have been sent to us. */
static const struct {
	const char *symlist;
	enum milt_macro first, last, first2, last2;
} stages[] = {
	{ "j _ v {daemon_name} {daemon_addr} {daemon_port} {client_addr} {client_name} "
	  "{client_ptr} "
	  "{client_port} {client_resolve}",
	  MM_J, MM_CLIENT_RESOLVE, MM_COUNT, MM_COUNT },
	{ "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}", MM_TLS_VERSION,
	  MM_CERT_ISSUER, MM_COUNT, MM_COUNT },
	{ "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer} "
	  "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}",
	  MM_I, MM_MAIL_MAILER, MM_TLS_VERSION, MM_CERT_ISSUER },
	{ "i {rcpt_addr} {rcpt_host} {rcpt_mailer}", MM_I, MM_I, MM_COUNT, MM_COUNT },
	{ "i", MM_I, MM_I, MM_COUNT, MM_COUNT },
	{ "i {msg_id}", MM_I, MM_I, MM_MSG_ID, MM_MSG_ID },
	{ "i", MM_I, MM_I, MM_COUNT, MM_COUNT },
};
enum {
	ST_CONNECT,
	ST_HELO,
	ST_MAIL,
	ST_RCPT,
	ST_DATA,
	ST_EOM,
	ST_EOH,
	ST_COUNT
};

const char *
milt_symlist(int stage)
{
	return stage >= 0 && stage < ST_COUNT ? stages[stage].symlist : NULL;
}

static struct td_str
macro(struct milt_session *s, enum milt_macro m)
{
	struct milt_io *io = s->conn.io;

	return io != NULL ? td_cstr(io->macro(io, milt_macro_name(m))) : TD_STR_NULL;
}

/* Heap, since a client may say HELO as often as it likes: nothing piles up. */
static void
set_heap(struct td_str *dst, struct td_str v)
{
	if (v.p == NULL || (dst->p != NULL && td_str_eq(*dst, v)))
		return;
	free((void *)(uintptr_t)dst->p);
	*dst = td_str(td_strndup(v), v.len);
}

static void
take_conn_macros(struct milt_session *s, int stage)
{
	for (int i = stages[stage].first; i <= (int)stages[stage].last; i++)
		set_heap(&s->conn.macro[i], macro(s, (enum milt_macro)i));
}

static void
take_mail_macro(struct milt_session *s, enum milt_macro m)
{
	struct td_str v = macro(s, m), *dst = &s->mail->macro[m];

	if (v.p != NULL && !(dst->p != NULL && td_str_eq(*dst, v)))
		*dst = td_arena_str(s->mail->arena, v);
}

static void
take_mail_macros(struct milt_session *s, int stage)
{
	for (int i = stages[stage].first; i <= (int)stages[stage].last; i++)
		take_mail_macro(s, (enum milt_macro)i);
	for (int i = stages[stage].first2; i < MM_COUNT && i <= (int)stages[stage].last2; i++)
		take_mail_macro(s, (enum milt_macro)i);
	if (s->mail->macro[MM_I].p != NULL) {
		pthread_mutex_lock(&live_lock);
		(void)snprintf(s->qid, sizeof(s->qid), "%s", s->mail->macro[MM_I].p);
		pthread_mutex_unlock(&live_lock);
	}
}

/* ---- the end of a message ---- */

static const enum milt_counter end_counter[ME_COUNT] = {
	[ME_ACCEPTED] = MK_ACCEPTED,     [ME_TAKEN] = MK_TAKEN,         [ME_REJECTED] = MK_REJECTED,
	[ME_TEMPFAILED] = MK_TEMPFAILED, [ME_DISCARDED] = MK_DISCARDED, [ME_HELD] = MK_HELD,
	[ME_ABORTED] = MK_ABORTED,
};

static void
end_mail(struct milt_session *s, enum milt_end how)
{
	struct milt_mail *m = s->mail;
	const struct milt_policy *p = s->policy;
	unsigned taken = 0;

	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n_rcpts; i++) {
		enum milt_fate f = m->rcpts[i]->fate;

		taken += (how == ME_ACCEPTED || how == ME_TAKEN || how == ME_HELD) &&
			 (f == MF_CHAT || f == MF_BOTH);
	}
	count(end_counter[how], 1);
	count(MK_RCPTS_TAKEN, taken);
	count(MK_BODY_BYTES, m->body_size);
	td_log_info(&s->log, "mail", "from=%s rcpts=%zu chat=%u size=%llu end=%s ms=%llu",
		    td_esc(m->from.full), m->n_rcpts, taken, (unsigned long long)m->body_size,
		    milt_end_name(how), (unsigned long long)(td_wall_ms() - m->started));
	if (p->mail_end != NULL)
		p->mail_end(p->arg, m, how);
	s->mail = NULL;
	milt_mail_free(m);
	atomic_store(&s->in_mail, false);
	pthread_mutex_lock(&live_lock);
	s->qid[0] = '\0';
	pthread_mutex_unlock(&live_lock);
	pthread_mutex_lock(&idle_lock);
	if (atomic_fetch_sub(&open_mails, 1) == 1)
		pthread_cond_broadcast(&idle);
	pthread_mutex_unlock(&idle_lock);
}

static enum milt_end
end_of(const struct milt_mail *m, enum milt_verdict v)
{
	size_t taken = 0;

	switch (v) {
	case MV_REJECT: return ME_REJECTED;
	case MV_TEMPFAIL: return ME_TEMPFAILED;
	case MV_DISCARD:
		for (size_t i = 0; i < m->n_rcpts; i++)
			taken += m->rcpts[i]->fate == MF_CHAT;
		return taken > 0 && !m->discard ? ME_TAKEN : ME_DISCARDED;
	case MV_CONTINUE:
	case MV_ACCEPT:
	case MV_SKIP:
	case MV_NOREPLY:
	case MV_COUNT: break;
	}
	return m->quarantine.p != NULL ? ME_HELD : ME_ACCEPTED;
}

/* ---- check, in protocol order ---- */

static void
set_peer(struct milt_session *s, const struct sockaddr *sa)
{
	struct milt_conn *c = &s->conn;
	char text[INET6_ADDRSTRLEN + sizeof(struct sockaddr_un)] = "";

	if (sa != NULL && sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		c->port = ntohs(in.sin_port);
	} else if (sa != NULL && sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
		c->port = ntohs(in6.sin6_port);
	} else if (sa != NULL && sa->sa_family == AF_UNIX) {
		const char *path = ((const struct sockaddr_un *)(const void *)sa)->sun_path;

		(void)snprintf(text, sizeof(text), "%.*s",
			       (int)sizeof(((struct sockaddr_un *)0)->sun_path), path);
	}
	c->addr = td_arena_str(c->arena, td_cstr(text));
	pthread_mutex_lock(&live_lock);
	(void)snprintf(s->peer, sizeof(s->peer), "%.110s %.140s", text, td_esc(c->hostname));
	pthread_mutex_unlock(&live_lock);
}

static int
check_connect(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	      struct td_err *err)
{
	struct milt_conn *c = &s->conn;

	(void)err;
	if (c->hostname.p != NULL) /* said twice: the first one stands */
		return 0;
	c->hostname = td_arena_str(
		c->arena, td_cstr(args->connect.hostname != NULL ? args->connect.hostname : ""));
	set_peer(s, args->connect.sa);
	take_conn_macros(s, ST_CONNECT);
	td_log_debug(&s->log, "connect", "host=%s addr=%s", td_esc(c->hostname), td_esc(c->addr));
	if (s->policy->conn_begin == NULL ||
	    s->policy->conn_begin(s->policy->arg, c, args->connect.sa))
		return 0;
	td_log_info(&s->log, "client-denied", "host=%s addr=%s", td_esc(c->hostname),
		    td_esc(c->addr));
	(void)milt_conn_set_reply(c, 550, TD_STR("5.7.1 Not welcome here"));
	*v = MV_REJECT;
	return 1;
}

static int
check_helo(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	   struct td_err *err)
{
	struct milt_conn *c = &s->conn;

	(void)v;
	(void)err;
	set_heap(&c->helo, td_cstr(args->helo != NULL ? args->helo : ""));
	take_conn_macros(s, ST_HELO);
	milt_ctx_helo(c);
	return 0;
}

static enum milt_verdict
fault_verdict(struct milt_session *s)
{
	const struct milt_policy *p = s->policy;

	return p->on_fault != NULL && p->on_fault(p->arg) == MV_ACCEPT ? MV_ACCEPT : MV_TEMPFAIL;
}

static int
check_mail(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	   struct td_err *err)
{
	struct milt_limits limits = { 0 };

	(void)err;
	/* accepted or discarded messages end without a word; a new MAIL is the sign */
	end_mail(s, ME_ABORTED);
	if (atomic_load(&draining)) {
		*v = fault_verdict(s);
		(void)milt_conn_set_reply(&s->conn, 451,
					  TD_STR("4.3.2 Shutting down, try again soon"));
		return 1;
	}
	if (s->policy->limits != NULL)
		s->policy->limits(s->policy->arg, &limits);
	s->mail = milt_mail_new(&s->conn, &limits);
	atomic_fetch_add(&open_mails, 1);
	atomic_store(&s->in_mail, true);
	atomic_store(&s->mails, ++s->conn.mails);
	count(MK_MAILS, 1);
	milt_mail_set_envelope_from(s->mail, args->argv);
	take_mail_macros(s, ST_MAIL);
	milt_ctx_mail(&s->conn, s->mail);
	return 0;
}

static int
check_rcpt(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	   struct td_err *err)
{
	struct milt_mail *m = s->mail;
	struct milt_rcpt *r = milt_mail_put_rcpt(m, args->argv);

	(void)err;
	if (r == NULL) {
		(void)milt_conn_set_reply(&s->conn, 452, TD_STR("4.5.3 Too many recipients"));
		*v = MV_TEMPFAIL;
		return 1;
	}
	count(MK_RCPTS, 1);
	s->conn.rcpts++;
	take_mail_macros(s, ST_RCPT);
	r->macro_addr = td_arena_str(m->arena, macro(s, MM_RCPT_ADDR));
	r->macro_host = td_arena_str(m->arena, macro(s, MM_RCPT_HOST));
	r->macro_mailer = td_arena_str(m->arena, macro(s, MM_RCPT_MAILER));
	/* SMFIP_RCPT_REJ: shown to us, but the MTA has refused it */
	r->refused = td_str_eqc(r->macro_mailer, "error");
	milt_ctx_rcpt(&s->conn, m, r);
	return 0;
}

/* A recipient that was just refused leaves the list. */
static int
apply_rcpt(struct milt_session *s, enum milt_verdict *v, struct td_err *err)
{
	(void)err;
	if (s->mail->n_rcpts > 0 && (*v == MV_REJECT || *v == MV_TEMPFAIL))
		s->mail->n_rcpts--;
	return 0;
}

static int
check_data(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	   struct td_err *err)
{
	(void)args;
	(void)v;
	(void)err;
	take_mail_macros(s, ST_DATA);
	return 0;
}

static int
check_header(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	     struct td_err *err)
{
	(void)v;
	(void)err;
	if (s->wants & (MW_HEADERS | MW_STEP(MP_HEADER)))
		milt_mail_put_header(s->mail, td_cstr(args->header.name),
				     td_cstr(args->header.value));
	return 0;
}

static int
check_eoh(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	  struct td_err *err)
{
	(void)args;
	(void)v;
	(void)err;
	take_mail_macros(s, ST_EOH);
	return 0;
}

/* What nobody asked for is not copied; SKIP spares the MTA the rest. */
static int
check_body(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	   struct td_err *err)
{
	bool hooked = (s->wants & MW_STEP(MP_BODY)) != 0, more = false;

	(void)err;
	if (s->wants & MW_BODY)
		more = milt_mail_put_body(s->mail, args->body.p, args->body.len);
	else
		s->mail->body_size += args->body.len;
	if (hooked || more)
		return 0;
	*v = s->can_skip ? MV_SKIP : MV_CONTINUE;
	return 1;
}

static int
check_eom(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	  struct td_err *err)
{
	(void)args;
	(void)v;
	(void)err;
	take_mail_macros(s, ST_EOM);
	s->mail->has_headers = (s->wants & (MW_HEADERS | MW_STEP(MP_HEADER))) != 0;
	s->mail->has_body = (s->wants & MW_BODY) != 0; /* an empty body has no chunk */
	return 0;
}

static int
check_abort(struct milt_session *s, const union milt_args *args, enum milt_verdict *v,
	    struct td_err *err)
{
	(void)args;
	(void)v;
	(void)err;
	end_mail(s, ME_ABORTED);
	s->late = MV_CONTINUE;
	return 1;
}

/* ---- end of message ---- */

/* Ask for each recipient; 1 = *v is the answer for the whole transaction. */
static int
enqueue(struct milt_session *s, enum milt_verdict *v, struct td_err *err)
{
	const struct milt_policy *p = s->policy;
	struct milt_mail *m = s->mail;
	struct milt_rcpt *r;
	size_t i = 0;
	bool hold = false, refuse = false;

	if (p->rcpt_enqueue == NULL)
		return 0;
	while ((r = milt_mail_rcpt(m, &i)) != NULL) {
		int rc = p->rcpt_enqueue(p->arg, m, r, err);

		if (rc < 0)
			return rc;
		hold = hold || r->fate == MF_HOLD;
		refuse = refuse || r->fate == MF_REFUSE;
	}
	if (refuse) {
		*v = s->conn.reply.code / 100 == 4 ? MV_TEMPFAIL : MV_REJECT;
		return 1;
	}
	if (hold && m->quarantine.p == NULL)
		milt_mail_set_quarantine(m, TD_STR("held by a rule"));
	return 0;
}

/* Does anybody still get it as mail? */
static bool
has_readers(const struct milt_mail *m)
{
	struct milt_rcpt *r;
	size_t i = 0;

	while ((r = milt_mail_rcpt(m, &i)) != NULL)
		if (r->fate != MF_CHAT)
			return true;
	return false;
}

/* The changes go before the commit: if one cannot be sent, nothing was promised to a chat; if
 * the commit fails the MTA is told 4xx and forgets the changes. */
static int
apply_eom(struct milt_session *s, enum milt_verdict *v, struct td_err *err)
{
	const struct milt_policy *p = s->policy;
	struct milt_mail *m = s->mail;
	int rc;

	if (*v != MV_CONTINUE && *v != MV_ACCEPT)
		return 0;
	if (*v == MV_CONTINUE && !m->discard && (rc = enqueue(s, v, err)) != 0)
		return rc < 0 ? rc : 0;
	if (m->discard) {
		*v = MV_DISCARD;
		return 0;
	}
	if (m->n_rcpts > 0 && !has_readers(m)) {
		*v = MV_DISCARD;
	} else if ((rc = milt_mail_apply(m, s->conn.io, err)) < 0) {
		/* nothing was sent yet when an action is missing: on_fault may decide */
		*v = rc == TD_E_UNSUPPORTED ? *v : MV_TEMPFAIL;
		return rc;
	}
	if (p->commit != NULL && (rc = p->commit(p->arg, m, err)) < 0) {
		*v = MV_TEMPFAIL;
		return rc;
	}
	return 0;
}

/* ---- the table ---- */

// clang-format off
static const struct phase_def phases[MP_COUNT] = {
	/*               name       flags               skip         mute       check          apply */
	[MP_CONNECT] = { "connect", 0,                  P_NOCONNECT, P_NR_CONN, check_connect, NULL },
	[MP_HELO]    = { "helo",    0,                  P_NOHELO,    P_NR_HELO, check_helo,    NULL },
	[MP_MAIL]    = { "mail",    PF_FINAL,           P_NOMAIL,    0,         check_mail,    NULL },
	[MP_RCPT]    = { "rcpt",    PF_MAIL,            P_NORCPT,    0,         check_rcpt,    apply_rcpt },
	[MP_DATA]    = { "data",    PF_MAIL | PF_FINAL, P_NODATA,    P_NR_DATA, check_data,    NULL },
	[MP_HEADER]  = { "header",  PF_MAIL | PF_FINAL, P_NOHDRS,    P_NR_HDR,  check_header,  NULL },
	[MP_EOH]     = { "eoh",     PF_MAIL | PF_FINAL, P_NOEOH,     P_NR_EOH,  check_eoh,     NULL },
	[MP_BODY]    = { "body",    PF_MAIL | PF_FINAL, P_NOBODY,    P_NR_BODY, check_body,    NULL },
	[MP_EOM]     = { "eom",     PF_MAIL | PF_FINAL, 0,           0,         check_eom,     apply_eom },
	[MP_ABORT]   = { "abort",   PF_MUTE,            0,           0,         check_abort,   NULL },
	[MP_CLOSE]   = { "close",   PF_MUTE,            0,           0,         check_abort,   NULL },
	[MP_UNKNOWN] = { "unknown", 0,                  P_NOUNKNOWN, P_NR_UNKN, NULL,          NULL },
};
// clang-format on

const char *
milt_phase_name(enum milt_phase p)
{
	return (unsigned)p < MP_COUNT ? phases[p].name : "?";
}

/* ---- negotiation ---- */

#define WANTS_MAIL                                                                     \
	(MW_STEP(MP_MAIL) | MW_STEP(MP_RCPT) | MW_STEP(MP_DATA) | MW_STEP(MP_HEADER) | \
	 MW_STEP(MP_EOH) | MW_STEP(MP_BODY) | MW_STEP(MP_EOM) | MW_HEADERS | MW_BODY)

/* Is anything of this phase to be seen at all, hook or not? */
static bool
is_seen(uint32_t wants, enum milt_phase p)
{
	if (wants & MW_STEP(p))
		return true;
	switch (p) {
	case MP_CONNECT:
	case MP_HELO: return wants != 0;
	case MP_MAIL:
	case MP_RCPT: return (wants & WANTS_MAIL) != 0;
	case MP_HEADER: return (wants & MW_HEADERS) != 0;
	case MP_BODY: return (wants & MW_BODY) != 0;
	default: return false;
	}
}

static uint32_t
all_wants(const struct milt_policy *p)
{
	uint32_t w = MW_HEADERS | MW_BODY;

	for (int i = 0; i < MP_COUNT; i++)
		if (p->hook[i] != NULL)
			w |= MW_STEP(i);
	return w | MW_STEP(MP_EOM);
}

void
milt_negotiate(struct milt_session *s, uint32_t offered_actions, uint32_t offered_steps,
	       uint32_t preset, uint32_t *actions_out, uint32_t *steps_out)
{
	const struct milt_policy *p = s->policy;
	uint32_t steps = preset & offered_steps;

	s->wants = p->wants != NULL ? p->wants(p->arg) : all_wants(p);
	s->can_skip = (offered_steps & P_SKIP) != 0;
	s->noreply = 0;
	for (int i = 0; i < MP_COUNT; i++) {
		const struct phase_def *d = &phases[i];

		if (!is_seen(s->wants, (enum milt_phase)i) && (d->skip & offered_steps))
			steps |= d->skip;
		/* a body that may grow past the limit wants an answer per chunk, to say SKIP */
		else if (!(s->wants & MW_STEP(i)) && !(i == MP_BODY && s->can_skip) &&
			 (d->mute & offered_steps)) {
			steps |= d->mute;
			s->noreply |= MW_STEP(i);
		}
	}
	if (s->can_skip)
		steps |= P_SKIP;
	if (s->wants & MW_REFUSED)
		steps |= offered_steps & P_RCPT_REJ;
	s->conn.actions = s->wants & WANTS_MAIL ? offered_actions & ALL_ACTIONS : 0;
	*actions_out = s->conn.actions;
	*steps_out = steps;
}

/* ---- sessions ---- */

static void
log_fields(const struct td_logctx *self, struct td_buf *out)
{
	const struct milt_session *s =
		(const struct milt_session *)(const void *)((const char *)self -
							    offsetof(struct milt_session, log));

	td_buf_addf(out, " sid=%s", s->conn.id);
	if (s->mail != NULL)
		td_buf_addf(out, " mid=%s", s->mail->id);
	if (s->mail != NULL && s->mail->macro[MM_I].p != NULL)
		td_buf_addf(out, " qid=%s", td_esc(s->mail->macro[MM_I]));
}

struct milt_session *
milt_session_new(const struct milt_policy *p)
{
	struct milt_session *s = td_zalloc(sizeof(*s));
	uint32_t actions, steps;

	s->magic = MILT_MAGIC;
	s->policy = p;
	s->conn.arena = td_arena_new(0);
	s->conn.started = td_wall_ms();
	td_random_id(s->conn.id, sizeof(s->conn.id) - 1);
	s->log = (struct td_logctx){ .domain = "milter", .fields = log_fields };
	count(MK_CONNECTIONS, 1);
	pthread_mutex_lock(&live_lock); /* first: the policy stays while a session is live */
	TAILQ_INSERT_TAIL(&live, s, link);
	pthread_mutex_unlock(&live_lock);
	milt_negotiate(s, ALL_ACTIONS, P_SKIP, 0, &actions, &steps);
	return s;
}

void
milt_session_free(struct milt_session *s)
{
	if (s == NULL)
		return;
	end_mail(s, ME_ABORTED);
	if (s->policy->conn_end != NULL)
		s->policy->conn_end(s->policy->arg, &s->conn);
	pthread_mutex_lock(&live_lock);
	TAILQ_REMOVE(&live, s, link);
	pthread_mutex_unlock(&live_lock);
	for (int i = 0; i < MM_COUNT; i++)
		free((void *)(uintptr_t)s->conn.macro[i].p);
	free((void *)(uintptr_t)s->conn.helo.p);
	free(s->conn.reply.text);
	free(s->late_reply.text);
	milt_dict_fini(&s->conn.ctx);
	td_arena_free(s->conn.arena);
	s->magic = 0;
	free(s);
}

size_t
milt_session_each(void (*cb)(void *arg, const struct milt_session_info *i), void *arg)
{
	struct milt_session *s;
	size_t n = 0;

	pthread_mutex_lock(&live_lock);
	TAILQ_FOREACH(s, &live, link)
	{
		struct milt_session_info i = {
			.id = s->conn.id,
			.peer = s->peer,
			.qid = s->qid,
			.phase = milt_phase_name((enum milt_phase)atomic_load(&s->phase)),
			.mails = atomic_load(&s->mails),
			.in_mail = atomic_load(&s->in_mail),
			.started = s->conn.started,
		};

		if (cb != NULL)
			cb(arg, &i);
		n++;
	}
	pthread_mutex_unlock(&live_lock);
	return n;
}

/* ---- one phase ---- */

static bool
is_refusal(enum milt_verdict v)
{
	return v == MV_REJECT || v == MV_TEMPFAIL;
}

static void
clear_reply(struct milt_reply *r)
{
	free(r->text);
	*r = (struct milt_reply){ 0 };
}

static void
send_reply(struct milt_session *s, enum milt_verdict v)
{
	const struct milt_reply *r = &s->conn.reply;
	const char *lines[MILT_REPLY_LINES];
	struct td_arena *a;
	size_t n;

	if (s->conn.io == NULL || r->code == 0 || r->code / 100 != (v == MV_REJECT ? 5u : 4u))
		return;
	a = td_arena_new(0);
	n = milt_reply_lines(a, r->text, lines);
	if (s->conn.io->set_reply(s->conn.io, r->code, r->xcode, lines, n) < 0)
		td_log_debug(&s->log, "reply", "the MTA gets its own text, code=%u", r->code);
	td_arena_free(a);
}

/* The hook's word and the reply it set, made one: the code decides. */
static enum milt_verdict
with_reply(struct milt_session *s, enum milt_verdict v)
{
	unsigned cls = s->conn.reply.code / 100;

	if (cls == 0 || (v != MV_CONTINUE && !is_refusal(v)))
		return v;
	return cls == 4 ? MV_TEMPFAIL : MV_REJECT;
}

static int
run_steps(struct milt_session *s, enum milt_phase phase, const union milt_args *args,
	  enum milt_verdict *v, struct td_err *err)
{
	const struct phase_def *d = &phases[phase];
	const struct milt_policy *p = s->policy;
	int rc = d->check != NULL ? d->check(s, args, v, err) : 0;

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (p->hook[phase] != NULL && (s->wants & MW_STEP(phase)) != 0) {
		struct milt_rcpt *r =
			phase == MP_RCPT ? s->mail->rcpts[s->mail->n_rcpts - 1] : NULL;

		rc = p->hook[phase](p->arg, &s->conn, s->mail, r, args, v, err);
		if (rc < 0) {
			*v = MV_CONTINUE;
			return rc;
		}
		*v = with_reply(s, *v);
	}
	return d->apply != NULL ? d->apply(s, v, err) : 0;
}

/* What the MTA may be told in this phase. */
static enum milt_verdict
allowed(enum milt_phase phase, enum milt_verdict v)
{
	if (v == MV_SKIP && phase != MP_BODY)
		return MV_CONTINUE;
	if (v == MV_DISCARD && (phase == MP_CONNECT || phase == MP_HELO || phase == MP_UNKNOWN))
		return MV_CONTINUE;
	return v;
}

/* No answer is expected here: keep a verdict for the next phase that has one. */
static enum milt_verdict
postpone(struct milt_session *s, enum milt_verdict v)
{
	if (v != MV_CONTINUE && v != MV_SKIP && s->late == MV_CONTINUE) {
		s->late = v;
		clear_reply(&s->late_reply);
		s->late_reply = s->conn.reply;
		s->conn.reply.text = NULL;
	}
	return MV_NOREPLY;
}

static enum milt_verdict
fault(struct milt_session *s, enum milt_phase phase, enum milt_verdict v, const struct td_err *err)
{
	enum milt_verdict forced = v == MV_TEMPFAIL ? v : fault_verdict(s);

	count(MK_FAULTS, 1);
	clear_reply(&s->conn.reply);
	for (size_t i = 0; s->mail != NULL && i < s->mail->n_rcpts; i++)
		s->mail->rcpts[i]->fate = MF_MAIL; /* nothing was promised */
	/* a fault on one command must not switch the filter off for the connection */
	if (forced == MV_ACCEPT && (phase == MP_CONNECT || phase == MP_HELO || phase == MP_UNKNOWN))
		forced = MV_CONTINUE;
	td_log_warn(&s->log, "fault", "phase=%s verdict=%s err=%s", phases[phase].name,
		    milt_verdict_name(forced), td_escz(err->text));
	return forced;
}

enum milt_verdict
milt_run(struct milt_session *s, struct milt_io *io, enum milt_phase phase,
	 const union milt_args *args)
{
	const struct phase_def *d = &phases[phase];
	enum milt_verdict v = MV_CONTINUE;
	struct td_err err = { 0 };
	bool mute = (s->noreply & MW_STEP(phase)) != 0;

	atomic_store(&s->phase, (int)phase);
	if ((d->flags & PF_MAIL) && s->mail == NULL)
		return mute ? MV_NOREPLY : MV_CONTINUE;
	s->conn.io = io;
	clear_reply(&s->conn.reply);
	if (s->late != MV_CONTINUE && !(d->flags & PF_MUTE)) {
		v = mute ? MV_CONTINUE : s->late;
		if (!mute) {
			s->conn.reply = s->late_reply;
			s->late_reply = (struct milt_reply){ 0 };
			s->late = MV_CONTINUE;
		}
	} else if (run_steps(s, phase, args, &v, &err) < 0) {
		v = fault(s, phase, v, &err);
	}
	v = allowed(phase, v);
	if (mute)
		v = postpone(s, v);
	if (is_refusal(v))
		send_reply(s, v);
	if (v != MV_CONTINUE && v != MV_NOREPLY && !(d->flags & PF_FINAL))
		td_log_info(&s->log, "verdict", "phase=%s verdict=%s code=%u", d->name,
			    milt_verdict_name(v), s->conn.reply.code);
	else
		td_log_debug(&s->log, "phase", "phase=%s verdict=%s", d->name,
			     milt_verdict_name(v));
	/* the message is over at EOM, or when a verdict says so; at RCPT a refusal does not */
	if (s->mail != NULL && (phase == MP_EOM || v == MV_ACCEPT || v == MV_DISCARD ||
				(is_refusal(v) && (d->flags & PF_FINAL))))
		end_mail(s, end_of(s->mail, v));
	s->conn.io = NULL;
	return v;
}
