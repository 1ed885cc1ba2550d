/* main - boot order, signals; the way down is shutdown.c.
 *
 *   arguments -> configuration -> background -> limits, folder -> log -> sockets -> privileges
 *   -> store -> workers, scripts -> milter -> outbox, control -> ready -> loop -> stop
 *
 * Sockets are bound and keys are read before privileges are dropped; threads start after; signals
 * have handlers on the main loop and are blocked in every other thread. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <event2/event.h>
#include "gateway/gateway.h"
#include "gateway/http/disk.h"
#include "gateway/http/http.h"
#include "gateway/listener.h"
#include "gateway/logging.h"
#include "gateway/options.h"
#include "gateway/process.h"
#include "gateway/watchdog.h"
#include "gateway/xmpp_log.h"

static struct gw gw;
static pthread_mutex_t conf_lock = PTHREAD_MUTEX_INITIALIZER; /* guards gw.conf */
static struct gw_lplan *plan;                                 /* between binding and committing */
static struct gw_domains *domains;
static struct gw_xlog_set *xlog;

/* ---- the steps of a start, in order ---- */

static int
step_background(struct td_err *err)
{
	return gw_options.foreground ? 0 : gw_process_daemonise(err);
}

static int
step_system(struct td_err *err)
{
	int rc;

	umask(027);
	if ((rc = gw_process_find_user(gw.conf, err)) == 0 &&
	    (rc = gw_process_rlimit(gw.conf, err)) == 0 &&
	    (rc = gw_process_data_dir(&gw, err)) == 0)
		rc = gw_process_pidfile(&gw, gw.conf, err);
	gw_process_socket_dirs(&gw, gw.conf);
	return rc;
}

static int
step_log(struct td_err *err)
{
	int rc = gw_logging_apply(&gw, gw.conf, false, err);

	return rc < 0 ? rc : gw_xmpp_log_prepare(&gw, gw.conf, false, &xlog, err);
}

static int
step_sockets(struct td_err *err)
{
	gw.n_workers = gw_workers_wanted(gw.conf);
	gw.http_app = &gw_http_app;
	gw_listeners_init(&gw);
	domains = gw_domains_build(gw.conf);
	return gw_listeners_plan(&gw, gw.conf, domains, false, &plan, err);
}

static int
step_privileges(struct td_err *err)
{
	return gw_process_drop(&gw, gw.conf, err);
}

static int
step_store(struct td_err *err)
{
	struct conf_at at = { .scope = conf_next(gw.conf, NULL, "store", NULL) };
	struct store_conf sc = { .readers = (unsigned)conf_int(gw.conf, &at, "readers"),
				 .busy_ms = (unsigned)conf_int(gw.conf, &at, "busy_ms"),
				 .max_offline = (unsigned)conf_int(gw.conf, &at, "max_offline") };
	char *path = gw_path(&gw, conf_str(gw.conf, &at, "path"));
	unsigned char secret[GW_SECRET_LEN];
	int rc;

	sc.path = path;
	rc = store_open(&sc, &gw.store, err);
	free(path);
	if (rc == 0)
		gw_store_tune(&gw, gw.conf);
	if (rc == 0)
		rc = gw_process_secret(&gw, secret, err);
	if (rc == 0)
		rc = xmpp_sasl_init(td_str((char *)secret, sizeof(secret)), err);
	td_wipe(secret, sizeof(secret));
	return rc;
}

static int
step_workers(struct td_err *err)
{
	int rc;

	gw.main_loop = td_loop_new(GW_MAX_WORKERS);
	gw.directory = gw_directory_new();
	gw_xmpp_log_init(&gw);
	if ((rc = gw_listeners_open_creds(&gw, plan, err)) < 0 ||
	    (rc = gw_workers_new(&gw, err)) < 0 || (rc = gw_scripts_start(&gw, err)) < 0)
		return rc;
	gw_xmpp_log_switch(&gw, xlog);
	gw_listeners_commit(&gw, plan);
	plan = NULL;
	gw_domains_unref(&domains);
	if ((rc = gw_disk_start(&gw, err)) < 0 || (rc = gw_workers_start(&gw, err)) < 0)
		return rc;
	gw_upload_start(&gw);
	return 0;
}

static int
step_mail(struct td_err *err)
{
	int rc = gw_outbox_start(&gw, err);

	return rc < 0 || gw.skip_milter ? rc : gw_milter_start(&gw, err);
}

static int
step_control(struct td_err *err)
{
	return gw.skip_control ? 0 : gw_control_start(&gw, err);
}

static int (*const steps[])(struct td_err *) = {
	step_background, step_system,  step_log,  step_sockets, step_privileges,
	step_store,      step_workers, step_mail, step_control,
};

/* ---- signals ---- */

static void
on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct conf_report report = { 0 };
	struct td_err err;

	(void)what;
	(void)arg;
	switch (sig) {
	case SIGHUP:
		(void)gw_reload(&gw, &report);
		conf_report_fini(&report);
		break;
	case SIGUSR1: (void)gw_reopen_logs(&gw, &err); break;
	default: gw_shutdown(&gw, sig == SIGINT ? "sigint" : "sigterm");
	}
}

static void
watch_signals(struct event *evs[4])
{
	static const int sigs[4] = { SIGHUP, SIGUSR1, SIGTERM, SIGINT };

	for (size_t i = 0; i < 4; i++) {
		evs[i] = evsignal_new(td_loop_base(gw.main_loop), sigs[i], on_signal, NULL);
		if (evs[i] == NULL || event_add(evs[i], NULL) < 0)
			abort();
	}
	gw_process_unblock_signals();
}

int
main(int argc, char **argv)
{
	struct td_err err = { 0 };
	struct event *evs[4];
	int status = gw_options_parse(&gw, argc, argv); /* loads the configuration */

	if (status >= 0)
		return status;
	gw.conf_lock = &conf_lock;
	gw_process_remember();
	gw.started_ms = td_wall_ms();
	gw_process_block_signals();
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (steps[i](&err) == 0)
			continue;
		(void)fprintf(stderr, "tandemd: %s\n", err.text);
		if (gw_logging_to_file())
			td_log_error(&gw.log, "start-failed", "error=%s", td_escz(err.text));
		gw_listeners_discard(&gw, plan);
		gw_stop(&gw);
		_exit(1); /* what hangs half-made on other threads is not waited for */
	}
	watch_signals(evs);
	td_log_notice(&gw.log, "ready", "version=%s workers=%u pid=%ld", TANDEM_VERSION,
		      gw.n_workers, (long)getpid());
	gw_process_ready(&gw);
	gw_watchdog_start(&gw);
	td_loop_run(gw.main_loop);
	gw_stop(&gw);
	for (size_t i = 0; i < 4; i++)
		event_free(evs[i]);
	gw_options_fini(&gw);
	if (gw.restart)
		gw_process_again(argv);
	return 0;
}
