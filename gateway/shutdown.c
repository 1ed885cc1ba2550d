/* shutdown - the orderly end.
 *
 *   accept no more, tell the streams          nobody is cut off without a word
 *   milter: drain, stop                       mails being taken are finished, or tempfailed
 *   streams closed, sessions ended            what they held is stored
 *   outbox, control                           rows stay for the next start
 *   workers, scripts, store, listeners
 *
 * The main loop has ended by then; it is turned from here, so that a second TERM still acts. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/conn.h"
#include "gateway/gateway.h"
#include "gateway/http/disk.h"
#include "gateway/http/http.h"
#include "gateway/listener.h"
#include "gateway/process.h"
#include "gateway/watchdog.h"
#include "gateway/xmpp_log.h"

#define STREAMS_MS 5000u
#define MILTER_MS 60000u
#define STEP_MS 5000u

void
gw_shutdown(struct gw *gw, const char *why)
{
	if (atomic_exchange(&gw->draining, true)) {
		td_log_warn(&gw->log, "stopped-at-once", "why=%s", why);
		_exit(1);
	}
	td_log_notice(&gw->log, "stopping", "why=%s", why);
	gw_process_notify("STOPPING=1");
	td_loop_stop(gw->main_loop);
}

struct later {
	struct td_mail mail;
	struct gw *gw;
	bool restart;
	unsigned delay_s;
};

static void
on_stop_timer(struct td_timer *t)
{
	struct gw *gw = (struct gw *)(void *)((char *)t - offsetof(struct gw, stop_timer));
	struct conf_report report = { 0 };
	struct conf *next = NULL;
	int rc = gw->restart ? conf_load(gw->conf_path, NULL, &next, &report) : 0;

	conf_unref(&next);
	conf_report_fini(&report);
	if (rc < 0) { /* it would not come back */
		td_log_error(&gw->log, "restart-refused", "error=%s",
			     "the configuration has errors");
		gw->restart = false;
		return;
	}
	if (!atomic_load(&gw->draining))
		gw_shutdown(gw, gw->restart ? "restart" : "administrator");
}

static void
on_later(struct td_mail *m, struct td_loop *loop)
{
	struct later *l = (struct later *)m;
	struct gw *gw = l->gw;

	gw->restart = l->restart;
	gw->stop_timer.fire = on_stop_timer;
	/* who asked hears of it first */
	td_timer_set(loop, &gw->stop_timer, l->delay_s > 0 ? l->delay_s * UINT64_C(1000) : 300);
	free(l);
}

bool
gw_shutdown_later(struct gw *gw, bool restart, unsigned delay_s, const char **why)
{
	struct later *l;

	if (restart && !gw_process_may_restart(why))
		return false;
	l = td_zalloc(sizeof(*l));
	l->mail.run = on_later;
	l->gw = gw;
	l->restart = restart;
	l->delay_s = delay_s;
	td_loop_post(gw->main_loop, &l->mail);
	return true;
}

static void
say_goodbye(struct gw_worker *w, void *arg)
{
	(void)arg;
	xmpp_env_closing(w->env);
}

static void
end_streams(struct gw_worker *w, void *arg)
{
	(void)arg;
	gw_conns_end_all(w, "system-shutdown");
	gw_bosh_end_all(w, "system-shutdown");
}

static void
close_streams(struct gw_worker *w, void *arg)
{
	(void)arg;
	gw_upload_stop(w);
	gw_bosh_close_all(w);
	gw_conns_close_all(w, "system-shutdown");
}

static void
wait_closed(struct gw *gw, unsigned ms)
{
	uint64_t end = td_mono_ms() + ms;

	while (gw_conns_open() > 0 && td_mono_ms() < end) {
		td_loop_turn(gw->main_loop, false);
		if (!gw_workers_each(gw, NULL, NULL, ms))
			return;
		usleep(1000); /* the peers have to close their ends */
	}
}

/* gw_milter_stop blocks, and must not be called from a loop. */
static void *
stop_milter(void *arg)
{
	struct gw *gw = ((void **)arg)[0];
	_Atomic bool *done = ((void **)arg)[1];

	gw_milter_stop(gw);
	atomic_store(done, true);
	return NULL;
}

static void
milter_down(struct gw *gw)
{
	static _Atomic bool done; /* outlives the call when the milter hangs */
	static void *arg[2];
	uint64_t end = td_mono_ms() + MILTER_MS;
	pthread_t t;

	arg[0] = gw;
	arg[1] = &done;
	if (pthread_create(&t, NULL, stop_milter, arg) != 0)
		return;
	while (!atomic_load(&done) && td_mono_ms() < end)
		td_loop_turn(gw->main_loop, true);
	if (atomic_load(&done))
		pthread_join(t, NULL);
	else
		td_log_warn(&gw->log, "milter-hangs", "waited_ms=%u", MILTER_MS);
}

void
gw_stop(struct gw *gw)
{
	bool calm = true, started = gw->workers[0] != NULL && gw->workers[0]->thread != NULL;

	atomic_store(&gw->draining, true);
	if (started) {
		gw_listeners_stop(gw);
		gw_milter_drain(gw);
		(void)gw_workers_each(gw, say_goodbye, NULL, STEP_MS);
		(void)gw_workers_each(gw, end_streams, NULL, STEP_MS);
		milter_down(gw);
		wait_closed(gw, STREAMS_MS);
		(void)gw_workers_each(gw, close_streams, NULL, STEP_MS);
		gw_control_stop(gw);
		gw_outbox_stop(gw);
		gw_watchdog_stop(gw);
		gw_disk_stop(gw);
		calm = gw_workers_stop(gw);
	}
	if (calm) {
		gw_scripts_stop(gw);
		gw_workers_free(gw);
		gw_disk_free(gw);
		gw_xmpp_log_fini(gw);
		gw_directory_free(gw->directory);
		gw->directory = NULL;
	}
	if (gw->store != NULL)
		store_close(&gw->store);
	if (calm) {
		gw_listeners_fini(gw);
		xmpp_sasl_fini();
		td_timer_clear(gw->main_loop, &gw->stop_timer);
		td_loop_free(gw->main_loop);
		gw->main_loop = NULL;
		conf_unref(&gw->conf);
	}
	gw_process_fini();
	if (started)
		td_log_notice(&gw->log, "stopped", "uptime_s=%llu",
			      (unsigned long long)(td_wall_ms() - gw->started_ms) / 1000);
}
