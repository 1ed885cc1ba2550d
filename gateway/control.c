/* control - accepts operators on Unix and TCP sockets, frames requests and replies.
 *
 * Over TCP with enable_authentication the first requests are SASL:
 *   {"sasl":"SCRAM-SHA-256","data":"<base64>"}   answered with status 3 and a challenge,
 *   {"data":"<base64>"}                          then 0 (signed in) or 1. */
#include "gateway/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
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
#include "gateway/control_auth.h"
#include "gateway/process.h"
#include "xmpp/sasl.h"

#define MAX_REQUEST (64u << 20) /* an import of accounts */
#define MAX_ARGS 64u
#define MAX_CONNS 64u
#define MAX_UNKNOWN 8192u /* of a request before signing in */
#define MAX_FAILURES 3u
#define FAIL_DELAY_MS 500u
#define CTL_CHALLENGE 3       /* status of a SASL challenge */
#define UNREAD_MAX (1u << 20) /* of answers nobody reads; then no more requests are taken */

struct ctl_conn {
	LIST_ENTRY(ctl_conn) link;
	struct gw_control *ctl;
	struct bufferevent *bev;
	struct ctl_request *request; /* being answered */
	struct ctl_rules rules;
	char *user; /* NULL = not signed in yet; "" = nobody in particular */
	char peer[64];
	struct xmpp_sasl *sasl;
	unsigned failures;
	bool busy;             /* with a line; the next waits */
	struct td_timer delay; /* before a failure is told */
};

struct ctl_listener {
	struct evconnlistener *lev;
	char *name; /* of the Listen */
	bool is_unix;
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
	td_timer_clear(c->ctl->gw->main_loop, &c->delay);
	xmpp_sasl_free(c->sasl);
	ctl_rules_fini(&c->rules);
	bufferevent_free(c->bev);
	free(c->user);
	free(c);
}

static void
answer(struct ctl_conn *c, int status, struct td_str text)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	c->busy = false;
	evbuffer_add_printf(out, "%zu %d\n", text.len, status);
	evbuffer_add(out, text.p, text.len);
	bufferevent_enable(c->bev, EV_READ);
	/* the next request may be here already */
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
		bufferevent_trigger(c->bev, EV_READ, BEV_OPT_DEFER_CALLBACKS);
}

void
ctl_done(struct ctl_request *r, int status)
{
	struct ctl_conn *c = r->conn;

	if (c != NULL) {
		c->request = NULL;
		answer(c, status, td_buf_str(&r->out));
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

/* ---- signing in ---- */

static void
on_delay_over(struct td_timer *t)
{
	struct ctl_conn *c = (struct ctl_conn *)((char *)t - offsetof(struct ctl_conn, delay));

	if (c->failures >= MAX_FAILURES)
		conn_free(c);
	else
		answer(c, 1, TD_STR("not authorized\n"));
}

static void
auth_failed(struct ctl_conn *c)
{
	xmpp_sasl_free(c->sasl);
	c->sasl = NULL;
	c->failures++;
	td_log_notice(&c->ctl->gw->log, "control-denied", "peer=%s why=credentials", c->peer);
	td_timer_set(c->ctl->gw->main_loop, &c->delay, FAIL_DELAY_MS);
}

static void
auth_result(struct ctl_conn *c, enum xmpp_sasl_step step, const struct td_buf *out)
{
	switch (step) {
	case SASL_WAIT: return; /* on_wake comes */
	case SASL_CONTINUE: answer(c, CTL_CHALLENGE, td_buf_str(out)); return;
	case SASL_FAILURE: auth_failed(c); return;
	case SASL_SUCCESS: break;
	}
	c->user = td_strndup(xmpp_sasl_user(c->sasl));
	xmpp_sasl_free(c->sasl);
	c->sasl = NULL;
	td_log_notice(&c->ctl->gw->log, "control-login", "peer=%s user=%s", c->peer,
		      td_escz(c->user));
	answer(c, 0, td_buf_str(out));
}

static void
on_wake(void *arg)
{
	struct ctl_conn *c = arg;
	enum xmpp_sasl_error error;
	struct td_buf out = { 0 };

	auth_result(c, xmpp_sasl_resume(c->sasl, &out, &error), &out);
	td_buf_fini(&out);
}

/* False: the line is no step of signing in. */
static bool
on_auth(struct ctl_conn *c, struct td_str line)
{
	json_t *root = json_loadb(line.p, line.len, JSON_REJECT_DUPLICATES, NULL);
	const char *mech = json_string_value(json_object_get(root, "sasl"));
	const char *data = json_string_value(json_object_get(root, "data"));
	const struct xmpp_cb_data none = { 0 };
	struct gw *gw = c->ctl->gw;
	enum xmpp_sasl_error error;
	struct td_buf out = { 0 };
	bool mine = mech != NULL || (data != NULL && c->sasl != NULL);

	if (mech != NULL) {
		xmpp_sasl_free(c->sasl);
		c->sasl = xmpp_sasl_start(td_cstr(mech), c->rules.mechs, td_cstr(gw->hostname),
					  &none, c->rules.creds, gw->main_loop, on_wake, c, &error);
	}
	if (mine && c->sasl == NULL)
		auth_failed(c);
	else if (mine)
		auth_result(c,
			    xmpp_sasl_step(c->sasl,
					   data == NULL      ? TD_STR_NULL
					   : data[0] == '\0' ? TD_STR("=")
							     : td_cstr(data),
					   &out, &error),
			    &out);
	td_buf_fini(&out);
	json_decref(root);
	return mine;
}

/* ---- requests ---- */

static bool
permitted(struct ctl_conn *c, const char *const *args, size_t n)
{
	struct td_buf line = { 0 };
	bool ok;

	for (size_t i = 0; i < n; i++)
		td_buf_addf(&line, "%s%s", i > 0 ? " " : "", args[i]);
	ok = ctl_permits(&c->rules, c->user, td_buf_str(&line));
	if (!ok)
		td_log_notice(&c->ctl->gw->log, "control-denied",
			      "peer=%s user=%s why=role command=%s", c->peer, td_escz(c->user),
			      td_esc(td_buf_str(&line)));
	td_buf_fini(&line);
	return ok;
}

static void
on_line(struct ctl_conn *c, struct td_str line)
{
	struct ctl_request *r;
	const char *args[MAX_ARGS];
	size_t n = 0;

	c->busy = true;
	bufferevent_disable(c->bev, EV_READ);
	if (c->user == NULL) {
		if (!on_auth(c, line))
			answer(c, 1, TD_STR("sign in first: tandemctl -s USER@HOST:PORT\n"));
		return;
	}
	r = td_zalloc(sizeof(*r));
	r->gw = c->ctl->gw;
	r->a = td_arena_new(line.len + 1024);
	r->conn = c;
	c->request = r;
	if (!parse_request(r, line, args, &n)) {
		ctl_fail(r, "malformed request");
		return;
	}
	if (!permitted(c, args, n)) {
		ctl_fail(r, "Not Authorized for this command");
		return;
	}
	if (n > 0)
		td_log_notice(&c->ctl->gw->log, "control", "peer=%s user=%s command=%s%s%s",
			      c->peer, td_escz(c->user), td_escz(args[0]), n > 1 ? " " : "",
			      n > 1 ? td_escz(args[1]) : "");
	ctl_run(r, args, n);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct ctl_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n;
	char *line;

	if (c->busy || evbuffer_get_length(bufferevent_get_output(bev)) > UNREAD_MAX)
		return;
	line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);
	if (line != NULL) {
		on_line(c, td_str(line, n));
		td_wipe(line, n);
		free(line);
	} else if (evbuffer_get_length(in) > (c->user != NULL ? MAX_REQUEST : MAX_UNKNOWN)) {
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

/* Who it is: the system's word on a Unix socket, an address on a TCP one. */
static void
know_peer(struct ctl_conn *c, evutil_socket_t fd, const struct sockaddr *sa, bool is_unix)
{
	struct ucred cred = { 0 };
	socklen_t n = sizeof(cred);
	struct passwd *pw;
	char addr[INET6_ADDRSTRLEN] = "?";

	if (is_unix) {
		(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);
		(void)snprintf(c->peer, sizeof(c->peer), "uid:%u", cred.uid);
		pw = getpwuid(cred.uid);
		c->user = td_strdup(pw != NULL ? pw->pw_name : "");
	} else if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		(void)inet_ntop(AF_INET, &in->sin_addr, addr, sizeof(addr));
		(void)snprintf(c->peer, sizeof(c->peer), "%s:%u", addr, ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		(void)inet_ntop(AF_INET6, &in6->sin6_addr, addr, sizeof(addr));
		(void)snprintf(c->peer, sizeof(c->peer), "[%s]:%u", addr, ntohs(in6->sin6_port));
	}
}

/* Rules for a new connection; false: it may not stay. */
static bool
admit(struct ctl_conn *c, struct ctl_listener *l, const struct sockaddr *sa)
{
	const struct sockaddr local = { .sa_family = AF_UNIX };
	struct gw *gw = l->ctl->gw;
	struct td_err err = { 0 };

	if (ctl_rules_load(gw, td_cstr(l->name), l->is_unix ? &local : sa, &c->rules, &err) < 0) {
		td_log_error(&gw->log, "control-denied", "peer=%s why=%s", c->peer,
			     td_escz(err.text));
		return false;
	}
	if (c->rules.deny) {
		td_log_notice(&gw->log, "control-denied", "peer=%s why=always_deny", c->peer);
		ctl_rules_fini(&c->rules);
		return false;
	}
	if (c->rules.open && c->user == NULL)
		c->user = td_strdup("");
	return true;
}

static void
on_accept(struct evconnlistener *lev, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct ctl_listener *l = arg;
	struct timeval tv = { 0 };
	struct ctl_conn *c;

	(void)lev;
	(void)len;
	if (l->ctl->n_conns >= MAX_CONNS) {
		close(fd);
		return;
	}
	c = td_zalloc(sizeof(*c));
	c->ctl = l->ctl;
	c->delay.fire = on_delay_over;
	know_peer(c, fd, sa, l->is_unix);
	if (admit(c, l, sa))
		c->bev = bufferevent_socket_new(td_loop_base(l->ctl->gw->main_loop), fd,
						BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		ctl_rules_fini(&c->rules);
		close(fd);
		free(c->user);
		free(c);
		return;
	}
	LIST_INSERT_HEAD(&l->ctl->conns, c, link);
	l->ctl->n_conns++;
	bufferevent_setcb(c->bev, on_read, on_read, on_event, c); /* all written: take the next */
	bufferevent_setwatermark(c->bev, EV_READ, 0, MAX_REQUEST + 1);
	tv.tv_sec = c->rules.timeout;
	bufferevent_set_timeouts(c->bev, &tv, NULL); /* only while a request is awaited */
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static int
listen_on(struct gw_control *ctl, const struct conf *conf, const struct conf_scope *scope,
	  struct td_err *err)
{
	struct conf_at at = { .scope = scope };
	struct ctl_listener *l = &ctl->listeners[ctl->n_listeners];
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
	struct ctl_rules rules;
	struct sockaddr_storage ss;
	socklen_t len;
	struct stat st;
	gid_t group;
	mode_t old;

	if (!conf_bool(conf, &at, "enable"))
		return 0;
	if (conf_parse_listen(conf_scope_name(scope), &ss, &len, err) < 0 ||
	    gw_process_group(conf, &at, &group, err) < 0)
		return err->code;
	/* what would turn everybody away later should stop the start */
	if (ctl_rules_load(ctl->gw, conf_scope_name(scope), NULL, &rules, err) < 0)
		return td_wrap(err, "%s", conf_scope_where(scope));
	ctl_rules_fini(&rules);
	l->name = td_strndup(conf_scope_name(scope));
	l->is_unix = ss.ss_family == AF_UNIX;
	l->ctl = ctl;
	if (l->is_unix && lstat(l->name, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(l->name);
	if (ss.ss_family == AF_INET6) /* "[*]" is IPv6 only, as for every listener */
		flags |= LEV_OPT_BIND_IPV6ONLY;
	old = umask(0177);
	l->lev = evconnlistener_new_bind(td_loop_base(ctl->gw->main_loop), on_accept, l, flags,
					 (int)conf_int(conf, &at, "listen_backlog"),
					 (struct sockaddr *)&ss, (int)len);
	(void)umask(old);
	if (l->lev == NULL) {
		int rc = td_fail(err, TD_E_IO, "cannot listen on %s: %s", l->name, strerror(errno));

		free(l->name);
		return rc;
	}
	ctl->n_listeners++;
	if (!l->is_unix)
		return 0;
	if (group != 0 && chown(l->name, (uid_t)-1, group) < 0)
		return td_fail(err, TD_E_IO, "chgrp %s: %s", l->name, strerror(errno));
	(void)chmod(l->name, (mode_t)conf_int(conf, &at, "file_mode"));
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
	struct ctl_conn *c, *next;

	if (ctl == NULL)
		return;
	for (c = LIST_FIRST(&ctl->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		/* the answer to `shutdown` itself */
		(void)bufferevent_flush(c->bev, EV_WRITE, BEV_FINISHED);
		(void)evbuffer_write(bufferevent_get_output(c->bev), bufferevent_getfd(c->bev));
		conn_free(c);
	}
	for (size_t i = 0; i < ctl->n_listeners; i++) {
		evconnlistener_free(ctl->listeners[i].lev);
		if (ctl->listeners[i].is_unix)
			(void)unlink(ctl->listeners[i].name);
		free(ctl->listeners[i].name);
	}
	free(ctl->listeners);
	free(ctl);
	gw->control = NULL;
}
