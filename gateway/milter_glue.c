/* milter_glue - starts libmilter with the scripts as its policy and stops it in order. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "gateway/process.h"
#include "gateway/scripts.h"
#include "milter/milter.h"
#include "milter/mime.h"
#include "milter/service.h"

#define DRAIN_MS 10000u

static char *socket_name; /* service keeps no copy */

struct stopped {
	struct td_mail mail;
	struct gw *gw;
};

static void
on_stopped_main(struct td_mail *m, struct td_loop *loop)
{
	struct gw *gw = ((struct stopped *)m)->gw;

	(void)loop;
	free(m);
	if (!atomic_load(&gw->draining)) {
		td_log_error(&gw->log, "milter-died", "%s",
			     "libmilter returned by itself; stopping");
		gw_shutdown(gw, "milter");
	}
}

/* On the milter thread. */
static void
on_stopped(void *arg)
{
	struct stopped *s = td_zalloc(sizeof(*s));

	s->mail.run = on_stopped_main;
	s->gw = arg;
	td_loop_post(s->gw->main_loop, &s->mail);
}

/* libmilter's spelling of a Listen name: "/path", "inet:port@host", "inet6:port@host". */
static char *
libmilter_name(struct td_str listen)
{
	struct td_buf b = { 0 };
	struct td_str host = listen, port;
	const char *colon = memrchr(listen.p, ':', listen.len);

	if (listen.len > 0 && listen.p[0] == '/')
		return td_strndup(listen);
	if (colon == NULL)
		return NULL;
	host.len = (size_t)(colon - listen.p);
	port = td_str(colon + 1, listen.len - host.len - 1);
	if (host.len >= 2 && host.p[0] == '[') {
		td_buf_addf(&b, "inet6:%.*s", TD_STR_ARG(port));
		host = td_str(host.p + 1, host.len - 2);
	} else {
		td_buf_addf(&b, "inet:%.*s", TD_STR_ARG(port));
	}
	if (host.len > 0 && !td_str_eqc(host, "*"))
		td_buf_addf(&b, "@%.*s", TD_STR_ARG(host));
	return td_buf_cstr(&b);
}

int
gw_milter_start(struct gw *gw, struct td_err *err)
{
	struct conf *c = gw_conf_get(gw);
	const struct conf_scope *ml = conf_next(c, NULL, "milter_listener", NULL);
	const struct conf_scope *l = ml != NULL ? conf_next(c, ml, "listen", NULL) : NULL;
	struct conf_at at = { .scope = l };
	struct conf_at milter = { .scope = conf_next(c, NULL, "milter", NULL) };
	struct milt_service_conf sc = { .stopped = on_stopped, .stopped_arg = gw };
	int rc = 0;

	if (l == NULL || !conf_bool(c, &at, "enable"))
		goto out;
	milt_mime_init();
	free(socket_name);
	socket_name = libmilter_name(conf_scope_name(l));
	if (socket_name == NULL) {
		rc = td_fail(err, TD_E_INVAL, "%s: not an address for a milter",
			     conf_scope_where(l));
		goto out;
	}
	rc = gw_process_group(c, &at, &sc.group, err);
	if (rc < 0)
		goto out;
	sc.socket = socket_name;
	sc.timeout = (unsigned)conf_int(c, &milter, "milter_timeout");
	sc.max_packet = (size_t)conf_int(c, &milter, "max_data_size");
	sc.file_mode = (mode_t)conf_int(c, &at, "file_mode");
	sc.backlog = (int)conf_int(c, &at, "listen_backlog");
	rc = milt_service_start(&sc, gw_scripts_policy(gw), err);
	if (rc == 0)
		gw->milter = true;
out:
	conf_unref(&c);
	return rc;
}

void
gw_milter_drain(struct gw *gw)
{
	if (gw->milter)
		milt_service_drain();
}

void
gw_milter_stop(struct gw *gw)
{
	if (!gw->milter)
		return;
	if (!milt_service_stop(DRAIN_MS))
		td_log_warn(&gw->log, "milter-cut", "%s",
			    "mails were open when the milter stopped, ignoring");
	gw->milter = false;
	free(socket_name);
	socket_name = NULL;
}
