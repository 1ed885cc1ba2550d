/* milter - the phases of a mail: check, hook, apply, map the verdict, log once.
 * Thread: any thread of libmilter's pool; a session is on one at a time.  Nothing here waits,
 * but policy hooks may (a few ms for a commit: milter.md 9.2).
 *
 * This layer knows nothing of chat or Lua: the policy (filled in by gateway) decides.  A hook
 * that fails gives the policy's on_fault, never a lost mail. */
#ifndef MILTER_MILTER_H
#define MILTER_MILTER_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include "gateway/base/log.h"
#include "milter/mail.h"

struct sockaddr;
struct td_err;
struct milt_io;
struct milt_session;

enum milt_phase {
	MP_CONNECT = 0,
	MP_HELO,
	MP_MAIL,
	MP_RCPT,
	MP_DATA,
	MP_HEADER,
	MP_EOH,
	MP_BODY,
	MP_EOM,
	MP_ABORT,
	MP_CLOSE,
	MP_UNKNOWN,
	MP_COUNT /* must be last */
};
const char *milt_phase_name(enum milt_phase p);

/* The answer to the MTA; mapped to SMFIS_* in service.c. */
enum milt_verdict {
	MV_CONTINUE = 0,
	MV_ACCEPT,   /* rest of this message (connect, helo: connection) unfiltered */
	MV_REJECT,   /* 5xx; at RCPT this recipient only */
	MV_TEMPFAIL, /* 4xx; likewise */
	MV_DISCARD,  /* 250, and nothing is delivered; the whole message even at RCPT */
	MV_SKIP,     /* BODY: no more chunks, end of message still comes */
	MV_NOREPLY,  /* negotiated: the MTA waits for no answer */
	MV_COUNT     /* must be last */
};
const char *milt_verdict_name(enum milt_verdict v);

union milt_args {
	struct {
		const char *hostname;
		const struct sockaddr *sa; /* may be NULL */
	} connect;
	const char *helo;
	const char *const *argv; /* MAIL, RCPT: argument, then ESMTP arguments, then NULL */
	struct {
		const char *name, *value;
	} header;
	struct {
		const void *p;
		size_t len;
	} body;
	const char *command; /* UNKNOWN */
};

/* ---- the policy ---- */

/* What the loaded scripts need; decides what is negotiated.  MW_STEP(MP_x): the hook of that
 * phase has work (and may refuse there). */
#define MW_STEP(phase) (1u << (phase))
#define MW_HEADERS (1u << 16) /* collect headers for end of message */
#define MW_BODY (1u << 17)    /* collect the body (implies nothing about MP_BODY) */
#define MW_REFUSED (1u << 18) /* show recipients that the MTA refused */

/* What became of a message, for mail_end. */
enum milt_end {
	ME_ACCEPTED = 0, /* the MTA was told to go on (a later filter may still refuse) */
	ME_TAKEN,        /* all recipients taken, committed; the MTA drops the mail */
	ME_REJECTED,
	ME_TEMPFAILED,
	ME_DISCARDED, /* a script wanted it dropped */
	ME_HELD,      /* quarantined */
	ME_ABORTED,   /* RSET, lost client, refused by others */
	ME_COUNT      /* must be last */
};
const char *milt_end_name(enum milt_end e);

/* A phase hook.  <m> is NULL before MAIL.  *v starts as CONTINUE; a reply set with
 * milt_conn_set_reply makes it REJECT or TEMPFAIL by its code.  RCPT: <r> is the new
 * recipient, NULL in all other phases.  Return 0, or TD_E_* = a fault. */
typedef int milt_hook(void *arg, struct milt_conn *c, struct milt_mail *m, struct milt_rcpt *r,
		      const union milt_args *args, enum milt_verdict *v, struct td_err *err);

struct milt_policy {
	void *arg;
	/* MW_* wanted now; asked at each negotiation. NULL = everything. */
	uint32_t (*wants)(void *arg);
	/* Limits for a new message; NULL = defaults. */
	void (*limits)(void *arg, struct milt_limits *out);
	/* TEMPFAIL (default) or ACCEPT: asked when a hook faults; NULL = TEMPFAIL.  ACCEPT lets the
	 * mail through untouched, hooks see no more of it. */
	enum milt_verdict (*on_fault)(void *arg);
	/* Who connects is known (<sa> may be NULL): fill in contexts.  False: not welcome, which is
	 * said as 5xx.  NULL = everybody is. */
	bool (*conn_begin)(void *arg, struct milt_conn *c, const struct sockaddr *sa);
	/* By phase; any may be NULL.  MP_ABORT and MP_CLOSE go to mail_end and conn_end. */
	milt_hook *hook[MP_COUNT];
	/* End of message, after its hook, once per recipient in play: set r->fate.  Recipients
	 * added by scripts are asked too.  A fault is treated as on_fault of the whole message. */
	int (*rcpt_enqueue)(void *arg, struct milt_mail *m, struct milt_rcpt *r,
			    struct td_err *err);
	/* Make what was promised durable: called once per message that goes on or is taken (also
	 * when no recipient was taken: notices), after the changes were sent and before the
	 * MTA is answered.  Non-zero: nothing is taken, the MTA is told 4xx, whatever on_fault is. */
	int (*commit)(void *arg, struct milt_mail *m, struct td_err *err);
	/* The message is over; release m->user and r->user.  Exactly once per message.  It and
	 * conn_end may run while libmilter holds its pool's lock: they must not block. */
	void (*mail_end)(void *arg, struct milt_mail *m, enum milt_end how);
	/* The connection is over; release c->user.  Exactly once per connection. */
	void (*conn_end)(void *arg, struct milt_conn *c);
};

/* ---- sessions ---- */

#define MILT_MAGIC 0x6d696c74u /* "milt" */

struct milt_session {
	uint32_t magic;
	const struct milt_policy *policy;
	struct milt_conn conn;
	struct milt_mail *mail; /* NULL between messages */
	uint32_t wants;         /* as negotiated */
	uint32_t noreply;       /* MW_STEP bits of phases that must answer NOREPLY */
	bool can_skip;          /* the MTA understands SKIP */
	enum milt_verdict late; /* a refusal from a NOREPLY phase, given at the next that answers */
	struct milt_reply late_reply;
	struct td_logctx log;
	/* of the list of live sessions, guarded by its lock */
	TAILQ_ENTRY(milt_session) link;
	char peer[256];
	char qid[32];
	/* read by milt_session_each while a callback runs */
	_Atomic int phase;
	_Atomic unsigned mails;
	_Atomic bool in_mail;
};

/* Negotiated as if all were offered; see milt_negotiate. */
struct milt_session *milt_session_new(const struct milt_policy *p);
/* Ends an open message as ABORTED, then conn_end; NULL is fine. */
void milt_session_free(struct milt_session *s);

/* Run one phase; <args> may be NULL where the phase has none.  The verdict is ready to be
 * given back (NOREPLY where negotiated).  Phases out of order are survived: RCPT without MAIL
 * is let through, ABORT twice is nothing, CLOSE without CONNECT too. */
enum milt_verdict milt_run(struct milt_session *s, struct milt_io *io, enum milt_phase phase,
			   const union milt_args *args);

/* Given what the MTA offers (SMFIF_*, SMFIP_*), decide what to ask for.  <preset>: *pf1 as
 * libmilter filled it in.  Sets wants, noreply, can_skip and conn.actions of <s>. */
void milt_negotiate(struct milt_session *s, uint32_t offered_actions, uint32_t offered_steps,
		    uint32_t preset, uint32_t *actions_out, uint32_t *steps_out);

/* Macro list for stage SMFIM_* 0..6, blank-separated, for smfi_setsymlist; NULL when none. */
const char *milt_symlist(int stage);

/* Live sessions, for `milter list`; any thread.  <cb> runs under a lock: copy, do not call back. */
struct milt_session_info {
	const char *id, *peer, *qid; /* peer, qid may be "" */
	const char *phase;
	unsigned mails;
	bool in_mail;
	uint64_t started; /* wall ms */
};
size_t milt_session_each(void (*cb)(void *arg, const struct milt_session_info *i), void *arg);
/* Messages open now (MAIL..end). */
unsigned milt_open_mails(void);
/* Wait until there are none, at most <ms>; true when it came to that. */
bool milt_wait_idle(unsigned ms);
/* From now on MAIL is told to come back (or, by on_fault, let through unfiltered). */
void milt_set_draining(bool on);

/* ---- counters, since start ---- */
enum milt_counter {
	MK_CONNECTIONS = 0,
	MK_MAILS,
	MK_ACCEPTED,
	MK_TAKEN,
	MK_REJECTED,
	MK_TEMPFAILED,
	MK_DISCARDED,
	MK_HELD,
	MK_ABORTED,
	MK_RCPTS,
	MK_RCPTS_TAKEN,
	MK_FAULTS,
	MK_BODY_BYTES,
	MK_COUNT /* must be last */
};
const char *milt_counter_name(enum milt_counter k); /* "mails-tempfailed" style */
uint64_t milt_counter_get(enum milt_counter k);
#endif
