/* control - accepts operators on unix sockets, frames requests and replies. */
#include "gateway/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"

#define MAX_REQUEST (64u << 20) /* an import of accounts */
#define MAX_ARGS 64u
#define MAX_CONNS 64u
#define UNREAD_MAX (1u << 20) /* of answers nobody reads; then no more requests are taken */

struct ctl_conn {
	LIST_ENTRY(ctl_conn) link;
	struct gw_control *ctl;
	struct bufferevent *bev;
	struct ctl_request *request; /* being answered */
	struct td_logctx log;
	unsigned uid;
};

struct ctl_listener {
	struct evconnlistener *lev;
	char *path;
	struct gw_control *ctl;
};

struct gw_control {
	struct gw *gw;
	struct ctl_listener *listeners;
	size_t n_listeners;
	LIST_HEAD(, ctl_conn) conns;
	unsigned n_conns;
};

static void
conn_free(struct ctl_conn *c)
{
	if (c->request != NULL)
		c->request->conn = NULL;
	LIST_REMOVE(c, link);
	c->ctl->n_conns--;
	bufferevent_free(c->bev);
	free(c);
}

void
ctl_done(struct ctl_request *r, int status)
{
	struct ctl_conn *c = r->conn;

	if (c != NULL) {
		struct evbuffer *out = bufferevent_get_output(c->bev);

		evbuffer_add_printf(out, "%zu %d\n", r->out.len, status);
		evbuffer_add(out, r->out.p, r->out.len);
		c->request = NULL;
		bufferevent_enable(c->bev, EV_READ);
		/* the next request may be here already */
		if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
			bufferevent_trigger(c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
	}
	td_wipe(r->out.p, r->out.cap);
	td_buf_fini(&r->out);
	td_arena_free(r->a);
	free(r);
}

void
ctl_fail(struct ctl_request *r, const char *fmt, ...)
{
	va_list ap;

	td_buf_clear(&r->out);
	va_start(ap, fmt);
	td_buf_vaddf(&r->out, fmt, ap);
	va_end(ap);
	td_buf_addc(&r->out, '\n');
	ctl_done(r, 1);
}

/* Words of the request into the arena; false when it is no request. */
static bool
parse_request(struct ctl_request *r, struct td_str line, const char **args, size_t *n)
{
	json_t *root = json_loadb(line.p, line.len, JSON_REJECT_DUPLICATES, NULL), *list, *v;
	size_t i;
	bool ok = false;

	list = json_object_get(root, "args");
	if (!json_is_array(list) || json_array_size(list) > MAX_ARGS)
		goto out;
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v))
			goto out;
		args[i] = td_arena_strndup(r->a, json_string_value(v), json_string_length(v));
	}
	*n = json_array_size(list);
	v = json_object_get(root, "input");
	if (json_is_string(v))
		r->input = td_arena_str(r->a, td_str(json_string_value(v), json_string_length(v)));
	r->json = json_is_true(json_object_get(root, "json"));
	ok = true;
out:
	json_decref(root);
	return ok;
}

static void
on_line(struct ctl_conn *c, struct td_str line)
{
	struct ctl_request *r = td_zalloc(sizeof(*r));
	const char *args[MAX_ARGS];
	size_t n = 0;

	r->gw = c->ctl->gw;
	r->a = td_arena_new(line.len + 1024);
	r->conn = c;
	c->request = r;
	bufferevent_disable(c->bev, EV_READ);
	if (!parse_request(r, line, args, &n)) {
		ctl_fail(r, "malformed request");
		return;
	}
	if (n > 0)
		td_log_notice(&c->ctl->gw->log, "control", "uid=%u command=%s%s%s", c->uid,
			      td_escz(args[0]), n > 1 ? " " : "", n > 1 ? td_escz(args[1]) : "");
	ctl_run(r, args, n);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct ctl_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n;
	char *line;

	if (c->request != NULL || evbuffer_get_length(bufferevent_get_output(bev)) > UNREAD_MAX)
		return;
	line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);
	if (line != NULL) {
		on_line(c, td_str(line, n));
		td_wipe(line, n);
		free(line);
	} else if (evbuffer_get_length(in) > MAX_REQUEST) {
		conn_free(c);
	}
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	conn_free(arg);
}

static void
on_accept(struct evconnlistener *lev, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct ctl_listener *l = arg;
	struct ctl_conn *c;
	struct ucred cred = { 0 };
	socklen_t n = sizeof(cred);

	(void)lev;
	(void)sa;
	(void)len;
	if (l->ctl->n_conns >= MAX_CONNS) {
		close(fd);
		return;
	}
	c = td_zalloc(sizeof(*c));
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);
	c->uid = cred.uid;
	c->ctl = l->ctl;
	c->bev = bufferevent_socket_new(td_loop_base(l->ctl->gw->main_loop), fd,
					BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		close(fd);
		free(c);
		return;
	}
	LIST_INSERT_HEAD(&l->ctl->conns, c, link);
	l->ctl->n_conns++;
	bufferevent_setcb(c->bev, on_read, on_read, on_event, c); /* all written: take the next */
	bufferevent_setwatermark(c->bev, EV_READ, 0, MAX_REQUEST + 1);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static int
listen_on(struct gw_control *ctl, const struct conf *conf, const struct conf_scope *scope,
	  struct td_err *err)
{
	struct conf_at at = { .scope = scope };
	struct ctl_listener *l = &ctl->listeners[ctl->n_listeners];
	struct sockaddr_storage ss;
	socklen_t len;
	struct stat st;
	mode_t old;

	if (!conf_bool(conf, &at, "enable"))
		return 0;
	if (conf_parse_listen(conf_scope_name(scope), &ss, &len, err) < 0)
		return err->code;
	if (ss.ss_family != AF_UNIX) {
		td_log_warn(&ctl->gw->log, "control-listen",
			    "address=%s reason=only-unix-sockets-are-served, ignoring",
			    td_esc(conf_scope_name(scope)));
		return 0;
	}
	l->path = td_strndup(conf_scope_name(scope));
	l->ctl = ctl;
	if (lstat(l->path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(l->path);
	old = umask(0177);
	l->lev = evconnlistener_new_bind(td_loop_base(ctl->gw->main_loop), on_accept, l,
					 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
					 (struct sockaddr *)&ss, (int)len);
	(void)umask(old);
	if (l->lev == NULL) {
		int rc = td_fail(err, TD_E_IO, "cannot listen on %s: %s", l->path, strerror(errno));

		free(l->path);
		return rc;
	}
	(void)chmod(l->path, (mode_t)conf_int(conf, &at, "file_mode"));
	ctl->n_listeners++;
	return 0;
}

int
gw_control_start(struct gw *gw, struct td_err *err)
{
	struct conf *conf = gw_conf_get(gw);
	struct gw_control *ctl = td_zalloc(sizeof(*ctl));
	const struct conf_scope *c = NULL, *l;
	size_t n = 0;
	int rc = 0;

	ctl->gw = gw;
	LIST_INIT(&ctl->conns);
	while ((c = conf_next(conf, NULL, "control_listener", c)) != NULL)
		for (l = NULL; (l = conf_next(conf, c, "listen", l)) != NULL;)
			n++;
	ctl->listeners = td_zalloc((n > 0 ? n : 1) * sizeof(*ctl->listeners));
	for (c = NULL; rc == 0 && (c = conf_next(conf, NULL, "control_listener", c)) != NULL;)
		for (l = NULL; rc == 0 && (l = conf_next(conf, c, "listen", l)) != NULL;)
			rc = listen_on(ctl, conf, l, err);
	conf_unref(&conf);
	gw->control = ctl;
	if (rc < 0)
		gw_control_stop(gw);
	return rc;
}

void
gw_control_stop(struct gw *gw)
{
	struct gw_control *ctl = gw->control;
	struct ctl_conn *c;

	if (ctl == NULL)
		return;
	while ((c = LIST_FIRST(&ctl->conns)) != NULL) {
		/* the answer to `shutdown` itself */
		(void)bufferevent_flush(c->bev, EV_WRITE, BEV_FINISHED);
		(void)evbuffer_write(bufferevent_get_output(c->bev), bufferevent_getfd(c->bev));
		conn_free(c);
	}
	for (size_t i = 0; i < ctl->n_listeners; i++) {
		evconnlistener_free(ctl->listeners[i].lev);
		(void)unlink(ctl->listeners[i].path);
		free(ctl->listeners[i].path);
	}
	free(ctl->listeners);
	free(ctl);
	gw->control = NULL;
}
