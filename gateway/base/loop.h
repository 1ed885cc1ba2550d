/* loop - one thread's event loop: libevent base, mailbox, timer wheel, end-of-turn work.
 * Thread: only its own, except td_loop_post and td_loop_stop.
 *
 * A turn: events fire, the mailbox is drained, timers fall due, then deferred tasks run
 * (they write what the turn produced), then what was buried in the turn is freed. */
#ifndef TD_LOOP_H
#define TD_LOOP_H
#include "gateway/base/str.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct event_base;
struct td_loop;

/* A message between threads: embed as the first member, set run, post it.  run() is
 * called once on the loop's thread and owns the message from then on. */
struct td_mail {
	struct td_mail *next;
	void (*run)(struct td_mail *self, struct td_loop *loop);
};

/* Work at the end of this turn; queueing it twice in a turn runs it once. */
struct td_task {
	TAILQ_ENTRY(td_task) link;
	bool queued;
	void (*run)(struct td_task *self);
};

/* A coarse timer (100 ms ticks), embedded in its owner. Zeroed = not set. */
struct td_timer {
	TAILQ_ENTRY(td_timer) link;
	uint64_t due; /* tick number; 0 = not set */
	void (*fire)(struct td_timer *self);
};

/* Something freed at the end of the turn, so that a callback deep in the stack cannot
 * pull an object from under its callers. */
struct td_grave {
	STAILQ_ENTRY(td_grave) link;
	void (*free)(struct td_grave *self);
};

struct td_loop *td_loop_new(unsigned id);
void td_loop_free(struct td_loop *l); /* runs the graves; undelivered mails are run too */
unsigned td_loop_id(const struct td_loop *l);
struct event_base *td_loop_base(struct td_loop *l);
/* Owner pointer for callbacks that get only the loop (a worker sets itself). */
void td_loop_set_data(struct td_loop *l, void *data);
void *td_loop_data(const struct td_loop *l);
/* Run until td_loop_stop. */
void td_loop_run(struct td_loop *l);
/* One turn; blocks for an event when <block>.  For tests. */
void td_loop_turn(struct td_loop *l, bool block);
void td_loop_stop(struct td_loop *l);                    /* any thread */
void td_loop_post(struct td_loop *l, struct td_mail *m); /* any thread; lock-free */
bool td_loop_is_mine(const struct td_loop *l);           /* called on its thread? */
/* Called on its thread, in a turn that has not yet run its deferred tasks to the end? */
bool td_loop_is_turning(const struct td_loop *l);

void td_loop_defer(struct td_loop *l, struct td_task *t);
void td_loop_undefer(struct td_loop *l, struct td_task *t);
void td_loop_bury(struct td_loop *l, struct td_grave *g);
/* (Re)arm for <ms> from now, rounded up to a tick. */
void td_timer_set(struct td_loop *l, struct td_timer *t, uint64_t ms);
void td_timer_clear(struct td_loop *l, struct td_timer *t);

/* Milliseconds of a clock that never jumps; cached per turn by td_loop_now. */
uint64_t td_mono_ms(void);
uint64_t td_loop_now(const struct td_loop *l);
/* Milliseconds since 1970. */
uint64_t td_wall_ms(void);
/* XEP-0082 stamp, "2026-11-23T17:40:01.123Z", into out[32]. */
void td_stamp(uint64_t wall_ms, char out[32]);
/* Read one (fractions and offsets too) from 1970 on; false: it is none. */
bool td_stamp_parse(struct td_str s, uint64_t *wall_ms);
#endif
