/* reload - from one configuration to the next, or not at all.
 *
 * Everything that can fail is prepared first (domains, certificates, sockets, credential
 * sources, log files, and last the scripts, which switch by themselves); then every part is
 * switched, and nothing there can fail. */
#include <pthread.h>
#include <stdlib.h>
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "gateway/listener.h"
#include "gateway/logging.h"
#include "gateway/process.h"
#include "gateway/xmpp_log.h"

struct next_gen {
	struct gw_domains *domains;
	struct gw_lplan *listeners;
	struct gw_xlog_set *xlog;
};

static void
drop(struct gw *gw, struct next_gen *n)
{
	gw_domains_unref(&n->domains);
	gw_listeners_discard(gw, n->listeners);
	gw_xlog_set_unref(&n->xlog);
}

static int
prepare(struct gw *gw, struct conf *next, struct next_gen *n, struct td_err *err)
{
	int rc;

	n->domains = gw_domains_build(next);
	rc = gw_listeners_plan(gw, next, n->domains, false, &n->listeners, err);
	if (rc == 0)
		rc = gw_listeners_open_creds(gw, n->listeners, err);
	if (rc == 0)
		rc = gw_xmpp_log_prepare(gw, next, false, &n->xlog, err);
	if (rc == 0)
		rc = gw_logging_apply(gw, next, true, err);
	if (rc == 0 && (rc = gw_scripts_reload(gw, next, err)) < 0)
		(void)gw_logging_apply(gw, gw->conf, true, NULL);
	return rc;
}

static void
warn_restart(struct gw *gw, const struct conf *old, const struct conf *next,
	     struct conf_report *report)
{
	struct td_buf names = { 0 };
	struct td_str host = conf_str(next, NULL, "hostname");

	conf_diff_restart(old, next, &names);
	if (host.len > 0 && !td_str_eqc(host, gw->hostname))
		td_buf_addf(&names, "%shostname", names.len > 0 ? " " : "");
	if (names.len > 0) {
		td_log_warn(&gw->log, "restart-needed", "options=%s", td_esc(td_buf_str(&names)));
		td_buf_addf(&report->text, "warning: takes effect at the next start: %s\n",
			    td_buf_cstr(&names));
		report->warnings++;
	}
	td_buf_fini(&names);
}

static bool
is_stopping(struct gw *gw, struct conf_report *report)
{
	if (!atomic_load(&gw->draining))
		return false;
	td_buf_addz(&report->text, "the server is stopping\n");
	report->errors++;
	return true;
}

void
gw_store_tune(struct gw *gw, const struct conf *c)
{
	struct conf_at at = { .scope = conf_next(c, NULL, "milter", NULL) };

	store_set_dedup_life(gw->store, conf_int(c, &at, "dedup_life"));
}

int
gw_switch_conf(struct gw *gw, struct conf *next, struct conf_report *report)
{
	struct next_gen n = { 0 };
	struct conf *old = gw->conf;
	struct td_err err = { 0 };
	int rc;

	if (is_stopping(gw, report))
		return TD_E_BUSY;
	rc = prepare(gw, next, &n, &err);
	if (rc < 0) {
		drop(gw, &n);
		td_log_error(&gw->log, "reload-failed", "error=%s", td_escz(err.text));
		td_buf_addf(&report->text, "%s\n", err.text);
		report->errors++;
		return rc;
	}
	warn_restart(gw, old, next, report);
	pthread_mutex_lock(gw->conf_lock);
	gw->conf = conf_ref(next);
	pthread_mutex_unlock(gw->conf_lock);
	gw_store_tune(gw, next);
	gw_workers_switch(gw, next, n.domains);
	gw_listeners_commit(gw, n.listeners);
	gw_xmpp_log_switch(gw, n.xlog);
	gw_domains_unref(&n.domains);
	conf_unref(&old);
	td_log_notice(&gw->log, "reloaded", "generation=%llu",
		      (unsigned long long)conf_generation(next));
	return 0;
}

/* Each line of the report is an event of its own. */
static void
log_report(struct gw *gw, const struct conf_report *report)
{
	struct td_str rest = td_buf_str(&report->text);

	while (rest.len > 0) {
		ptrdiff_t nl = td_str_chr(rest, '\n');
		size_t n = nl < 0 ? rest.len : (size_t)nl;

		td_log_error(&gw->log, "reload-failed", "error=%s", td_esc(td_str(rest.p, n)));
		rest.p += nl < 0 ? n : n + 1;
		rest.len -= nl < 0 ? n : n + 1;
	}
}

int
gw_reload(struct gw *gw, struct conf_report *report)
{
	struct conf *next = NULL;
	int rc;

	if (is_stopping(gw, report))
		return TD_E_BUSY;
	gw_process_notify("RELOADING=1");
	rc = conf_load(gw->conf_path, NULL, &next, report);
	if (rc < 0) {
		log_report(gw, report);
	} else {
		rc = gw_switch_conf(gw, next, report);
		conf_unref(&next);
	}
	gw_process_notify("READY=1");
	return rc;
}

int
gw_reopen_logs(struct gw *gw, struct td_err *err)
{
	int rc = td_log_reopen(err);

	if (rc == 0)
		rc = gw_xmpp_log_reopen(gw, NULL, err);
	if (rc < 0)
		td_log_error(&gw->log, "reopen-failed", "error=%s", td_escz(err->text));
	else
		td_log_info(&gw->log, "logs-reopened", "count=%d", 1);
	return rc;
}
