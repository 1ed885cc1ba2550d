/* loop - an event loop with a mailbox, a timer wheel and end-of-turn work.
 *
 * The mailbox is a lock-free stack (push by compare-and-swap, taken whole by exchange,
 * then reversed): producers write the eventfd only when it was empty. */
#include "gateway/base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <event2/event.h>
#include "gateway/base/str.h"

#define TICK_MS 100u
#define SLOTS 1024u

TAILQ_HEAD(timer_list, td_timer);
TAILQ_HEAD(task_list, td_task);
STAILQ_HEAD(grave_list, td_grave);

struct td_loop {
	unsigned id;
	void *data;
	struct event_base *base;
	struct event *wake_ev, *tick_ev;
	int wake_fd;
	_Atomic(struct td_mail *) inbox;
	_Atomic bool stop;
	pthread_t thread;
	_Atomic bool running;
	bool turning; /* its own thread's: deferred tasks will be run */
	struct timer_list wheel[SLOTS];
	uint64_t tick; /* last tick handled */
	size_t timers;
	struct task_list tasks;
	struct grave_list graves;
	uint64_t now;
};

uint64_t
td_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t
td_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
td_stamp(uint64_t wall_ms, char out[32])
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(wall_ms % 1000));
}

/* <n> digits at s[at], in [min, max]. */
static bool
digits(struct td_str s, size_t at, size_t n, int min, int max, int *out)
{
	int v = 0;

	if (at + n > s.len)
		return false;
	for (size_t i = at; i < at + n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (s.p[i] - '0');
	}
	*out = v;
	return v >= min && v <= max;
}

static bool
parse_offset(struct td_str s, int *minutes)
{
	int h, m;

	*minutes = 0;
	if (td_str_eqc(s, "Z"))
		return true;
	if (s.len != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':' ||
	    !digits(s, 1, 2, 0, 23, &h) || !digits(s, 4, 2, 0, 59, &m))
		return false;
	*minutes = (h * 60 + m) * (s.p[0] == '-' ? -1 : 1);
	return true;
}

bool
td_stamp_parse(struct td_str s, uint64_t *wall_ms)
{
	struct tm tm = { 0 }, check;
	int offset, ms = 0, scale = 100;
	size_t at = 19;
	int64_t t;

	if (s.len < 20 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' ||
	    s.p[16] != ':' || !digits(s, 0, 4, 1970, 9999, &tm.tm_year) ||
	    !digits(s, 5, 2, 1, 12, &tm.tm_mon) || !digits(s, 8, 2, 1, 31, &tm.tm_mday) ||
	    !digits(s, 11, 2, 0, 23, &tm.tm_hour) || !digits(s, 14, 2, 0, 59, &tm.tm_min) ||
	    !digits(s, 17, 2, 0, 59, &tm.tm_sec))
		return false;
	if (s.p[at] == '.') {
		size_t first = ++at;

		for (; at < s.len && s.p[at] >= '0' && s.p[at] <= '9'; at++, scale /= 10)
			ms += (s.p[at] - '0') * scale;
		if (at == first)
			return false;
	}
	if (!parse_offset(td_str(s.p + at, s.len - at), &offset))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	check = tm;
	t = timegm(&check);
	if (check.tm_mday != tm.tm_mday) /* 30 February */
		return false;
	t -= (int64_t)offset * 60;
	if (t < 0)
		return false;
	*wall_ms = (uint64_t)t * 1000 + (uint64_t)ms;
	return true;
}

static void
wake(struct td_loop *l)
{
	uint64_t one = 1;

	while (write(l->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void
drain(struct td_loop *l)
{
	struct td_mail *m = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire);
	struct td_mail *in_order = NULL;

	while (m != NULL) {
		struct td_mail *next = m->next;

		m->next = in_order;
		in_order = m;
		m = next;
	}
	while (in_order != NULL) {
		struct td_mail *next = in_order->next;

		in_order->run(in_order, l);
		in_order = next;
	}
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	(void)what;
	(void)!read(fd, &n, sizeof(n));
	drain(arg);
}

static void
run_due(struct td_loop *l)
{
	uint64_t target = l->now / TICK_MS;

	while (l->tick < target) {
		struct timer_list *slot;
		struct timer_list due = TAILQ_HEAD_INITIALIZER(due);
		struct td_timer *t, *next;

		l->tick++;
		slot = &l->wheel[l->tick % SLOTS];
		for (t = TAILQ_FIRST(slot); t != NULL; t = next) {
			next = TAILQ_NEXT(t, link);
			if (t->due <= l->tick) {
				TAILQ_REMOVE(slot, t, link);
				TAILQ_INSERT_TAIL(&due, t, link);
				t->due = UINT64_MAX; /* in the due list */
			}
		}
		/* a callback may clear or re-arm any other timer of the list; it
		 * cannot know it sits in <due>, so take them one by one via wheel
		 * slot 'tick' again */
		TAILQ_CONCAT(slot, &due, link);
		while ((t = TAILQ_FIRST(slot)) != NULL) {
			for (; t != NULL && t->due != UINT64_MAX; t = TAILQ_NEXT(t, link))
				;
			if (t == NULL)
				break;
			TAILQ_REMOVE(slot, t, link);
			t->due = 0;
			l->timers--;
			t->fire(t);
		}
	}
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg; /* the turn looks at the wheel itself */
}

struct td_loop *
td_loop_new(unsigned id)
{
	struct td_loop *l = td_zalloc(sizeof(*l));
	struct timeval tick = { 0, TICK_MS * 1000 };
	struct event_config *cfg = event_config_new();

	l->id = id;
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	if (l->base == NULL)
		abort();
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd < 0)
		abort();
	l->wake_ev = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	l->tick_ev = event_new(l->base, -1, EV_PERSIST, on_tick, l);
	event_add(l->wake_ev, NULL);
	event_add(l->tick_ev, &tick);
	for (unsigned i = 0; i < SLOTS; i++)
		TAILQ_INIT(&l->wheel[i]);
	TAILQ_INIT(&l->tasks);
	STAILQ_INIT(&l->graves);
	l->now = td_mono_ms();
	l->tick = l->now / TICK_MS;
	l->thread = pthread_self();
	return l;
}

static void
run_tasks(struct td_loop *l)
{
	struct td_task *t;

	while ((t = TAILQ_FIRST(&l->tasks)) != NULL) {
		TAILQ_REMOVE(&l->tasks, t, link);
		t->queued = false;
		t->run(t);
	}
}

static void
run_graves(struct td_loop *l)
{
	struct td_grave *g;

	while ((g = STAILQ_FIRST(&l->graves)) != NULL) {
		STAILQ_REMOVE_HEAD(&l->graves, link);
		g->free(g);
	}
}

void
td_loop_free(struct td_loop *l)
{
	if (l == NULL)
		return;
	drain(l);
	run_tasks(l);
	run_graves(l);
	event_free(l->wake_ev);
	event_free(l->tick_ev);
	close(l->wake_fd);
	event_base_free(l->base);
	free(l);
}

unsigned
td_loop_id(const struct td_loop *l)
{
	return l->id;
}

struct event_base *
td_loop_base(struct td_loop *l)
{
	return l->base;
}

void
td_loop_set_data(struct td_loop *l, void *data)
{
	l->data = data;
}

void *
td_loop_data(const struct td_loop *l)
{
	return l->data;
}

void
td_loop_turn(struct td_loop *l, bool block)
{
	l->now = td_mono_ms();
	l->turning = true;
	event_base_loop(l->base, EVLOOP_ONCE | (block ? 0 : EVLOOP_NONBLOCK));
	l->now = td_mono_ms();
	run_due(l);
	run_tasks(l);
	l->turning = false;
	run_graves(l);
}

void
td_loop_run(struct td_loop *l)
{
	l->thread = pthread_self();
	atomic_store(&l->running, true);
	while (!atomic_load_explicit(&l->stop, memory_order_acquire))
		td_loop_turn(l, true);
	atomic_store(&l->running, false);
}

void
td_loop_stop(struct td_loop *l)
{
	atomic_store_explicit(&l->stop, true, memory_order_release);
	wake(l);
}

void
td_loop_post(struct td_loop *l, struct td_mail *m)
{
	struct td_mail *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);

	do
		m->next = head;
	while (!atomic_compare_exchange_weak_explicit(&l->inbox, &head, m, memory_order_release,
						      memory_order_relaxed));
	if (head == NULL)
		wake(l);
}

bool
td_loop_is_mine(const struct td_loop *l)
{
	return pthread_equal(l->thread, pthread_self()) != 0;
}

bool
td_loop_is_turning(const struct td_loop *l)
{
	return td_loop_is_mine(l) && l->turning;
}

void
td_loop_defer(struct td_loop *l, struct td_task *t)
{
	if (t->queued)
		return;
	t->queued = true;
	TAILQ_INSERT_TAIL(&l->tasks, t, link);
}

void
td_loop_undefer(struct td_loop *l, struct td_task *t)
{
	if (!t->queued)
		return;
	t->queued = false;
	TAILQ_REMOVE(&l->tasks, t, link);
}

void
td_loop_bury(struct td_loop *l, struct td_grave *g)
{
	STAILQ_INSERT_TAIL(&l->graves, g, link);
}

void
td_timer_set(struct td_loop *l, struct td_timer *t, uint64_t ms)
{
	uint64_t ticks = (ms + TICK_MS - 1) / TICK_MS;

	td_timer_clear(l, t);
	t->due = l->now / TICK_MS + (ticks > 0 ? ticks : 1);
	if (t->due <= l->tick)
		t->due = l->tick + 1;
	TAILQ_INSERT_TAIL(&l->wheel[t->due % SLOTS], t, link);
	l->timers++;
}

void
td_timer_clear(struct td_loop *l, struct td_timer *t)
{
	if (t->due == 0)
		return;
	/* due == UINT64_MAX: it sits in the slot of the tick being handled */
	TAILQ_REMOVE(&l->wheel[(t->due == UINT64_MAX ? l->tick : t->due) % SLOTS], t, link);
	t->due = 0;
	l->timers--;
}

uint64_t
td_loop_now(const struct td_loop *l)
{
	return l->now;
}
