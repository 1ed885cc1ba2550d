/* watchdog - three beats per interval; one is only sent when all workers answered the last call. */
#include "gateway/watchdog.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "gateway/gateway.h"
#include "gateway/process.h"

static struct {
	struct gw *gw;
	struct td_timer timer;
	unsigned every_ms;
	_Atomic unsigned silent; /* workers that owe an answer */
} dog;

static void
answer(struct gw_worker *w, void *arg)
{
	(void)w;
	(void)arg;
	atomic_fetch_sub(&dog.silent, 1);
}

static void
on_beat(struct td_timer *t)
{
	if (atomic_load(&dog.silent) == 0) {
		gw_process_notify("WATCHDOG=1");
		atomic_store(&dog.silent, dog.gw->n_workers);
		for (unsigned i = 0; i < dog.gw->n_workers; i++)
			gw_worker_post(dog.gw->workers[i], answer, NULL);
	}
	td_timer_set(dog.gw->main_loop, t, dog.every_ms);
}

void
gw_watchdog_start(struct gw *gw)
{
	const char *usec = getenv("WATCHDOG_USEC");
	int64_t n;

	if (usec == NULL || !td_str_to_i64(td_cstr(usec), 300000, INT32_MAX, &n))
		return;
	dog.gw = gw;
	dog.every_ms = (unsigned)(n / 3000);
	dog.timer.fire = on_beat;
	td_timer_set(gw->main_loop, &dog.timer, dog.every_ms);
}

void
gw_watchdog_stop(struct gw *gw)
{
	if (dog.gw != NULL)
		td_timer_clear(gw->main_loop, &dog.timer);
	dog.gw = NULL;
}
