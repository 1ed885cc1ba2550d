/* lmtp - one mail, one recipient, one connection: LHLO MAIL RCPT DATA (mail) QUIT (RFC 2033). */
#include "gateway/lmtp.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

enum step {
	L_BANNER = 0,
	L_LHLO,
	L_MAIL,
	L_RCPT,
	L_DATA,
	L_DOT
};

struct gw_lmtp {
	struct bufferevent *bev;
	enum step step;
	struct gw_lmtp_mail m;
	gw_lmtp_cb *cb;
	void *arg;
	struct event *fail_ev; /* reports a failure of connect() from the loop */
	char reply[600];
};

static void
finish(struct gw_lmtp *l, enum gw_lmtp_outcome how, const char *text)
{
	gw_lmtp_cb *cb = l->cb;

	if (cb == NULL)
		return;
	l->cb = NULL;
	bufferevent_disable(l->bev, EV_READ | EV_WRITE);
	cb(l->arg, how, text); /* frees l */
}

/* Lines end in CRLF, a leading dot is doubled (RFC 5321 4.5.2). */
static void
send_data(struct gw_lmtp *l)
{
	struct evbuffer *out = bufferevent_get_output(l->bev);
	struct td_str d = l->m.data;

	while (d.len > 0) {
		const char *nl = memchr(d.p, '\n', d.len);
		size_t n = nl != NULL ? (size_t)(nl - d.p) + 1 : d.len;

		if (d.p[0] == '.')
			evbuffer_add(out, ".", 1);
		evbuffer_add(out, d.p, n);
		d.p += n;
		d.len -= n;
	}
	if (!td_str_ends(l->m.data, "\r\n"))
		evbuffer_add(out, "\r\n", 2);
	evbuffer_add(out, ".\r\n", 3);
}

/* The reply to the step before was good: say the next thing. */
static void
next(struct gw_lmtp *l)
{
	struct evbuffer *out = bufferevent_get_output(l->bev);

	switch (l->step) {
	case L_BANNER: evbuffer_add_printf(out, "LHLO %s\r\n", l->m.helo); break;
	case L_LHLO: evbuffer_add_printf(out, "MAIL FROM:<%.*s>\r\n", TD_STR_ARG(l->m.from)); break;
	case L_MAIL: evbuffer_add_printf(out, "RCPT TO:<%.*s>\r\n", TD_STR_ARG(l->m.to)); break;
	case L_RCPT: evbuffer_add_printf(out, "DATA\r\n"); break;
	case L_DATA: send_data(l); break;
	case L_DOT: break;
	}
	l->step++;
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct gw_lmtp *l = arg;
	char *line;
	size_t n;

	while ((line = evbuffer_readln(bufferevent_get_input(bev), &n, EVBUFFER_EOL_CRLF)) !=
	       NULL) {
		char want = l->step == L_DATA ? '3' : '2';
		bool more = n > 3 && line[3] == '-';

		(void)snprintf(l->reply, sizeof(l->reply), "%s", line);
		free(line);
		if (more)
			continue;
		if (l->reply[0] != want) {
			finish(l,
			       l->reply[0] == '5' && l->step >= L_MAIL ? LMTP_REFUSED : LMTP_LATER,
			       l->reply);
			return;
		}
		/* nothing good can be said of what is still here */
		if (evbuffer_get_length(bufferevent_get_output(bev)) > 0) {
			finish(l, LMTP_LATER, "a reply before its command");
			return;
		}
		if (l->step == L_DOT) {
			finish(l, LMTP_SENT, l->reply);
			return;
		}
		next(l);
	}
	if (evbuffer_get_length(bufferevent_get_input(bev)) > 4096)
		finish(l, LMTP_LATER, "a reply line without end");
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if (what & BEV_EVENT_CONNECTED)
		return;
	finish(arg, LMTP_LATER,
	       what & BEV_EVENT_TIMEOUT ? "the LMTP server did not answer in time"
					: "no connection to the LMTP server");
}

static void
on_fail(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg, LMTP_LATER, "no connection to the LMTP server");
}

static int
connect_to(struct bufferevent *bev, const char *url)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *ai;
	char host[256], *port, *name = host;
	int rc;

	url += strlen("lmtp:");
	if (strncmp(url, "//", 2) != 0) {
		if (strlen(url) >= sizeof(un.sun_path))
			return -1;
		memcpy(un.sun_path, url, strlen(url) + 1);
		return bufferevent_socket_connect(bev, (struct sockaddr *)&un, sizeof(un));
	}
	if (strlen(url + 2) >= sizeof(host))
		return -1;
	memcpy(host, url + 2, strlen(url + 2) + 1);
	host[strcspn(host, "/")] = '\0';
	port = strrchr(host, ':');
	if (port != NULL && strchr(port, ']') == NULL)
		*port++ = '\0';
	else
		port = NULL;
	if (name[0] == '[') {
		name++;
		name[strcspn(name, "]")] = '\0';
	}
	/* one small look-up of a configured name; operators write addresses here */
	if (getaddrinfo(name, port != NULL ? port : "24", &hints, &ai) != 0)
		return -1;
	rc = bufferevent_socket_connect(bev, ai->ai_addr, (int)ai->ai_addrlen);
	freeaddrinfo(ai);
	return rc;
}

struct gw_lmtp *
gw_lmtp_send(struct td_loop *loop, const char *url, const struct gw_lmtp_mail *m,
	     unsigned timeout_s, gw_lmtp_cb *cb, void *arg)
{
	struct gw_lmtp *l = td_zalloc(sizeof(*l));
	struct timeval tv = { (time_t)timeout_s, 0 };

	*l = (struct gw_lmtp){ .m = *m, .cb = cb, .arg = arg };
	l->bev = bufferevent_socket_new(td_loop_base(loop), -1,
					BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (l->bev == NULL)
		abort(); /* out of memory */
	bufferevent_setcb(l->bev, on_read, NULL, on_event, l);
	bufferevent_set_timeouts(l->bev, &tv, &tv);
	if (connect_to(l->bev, url) < 0) {
		struct timeval now = { 0, 0 };

		l->fail_ev = evtimer_new(td_loop_base(loop), on_fail, l);
		evtimer_add(l->fail_ev, &now);
	} else {
		bufferevent_enable(l->bev, EV_READ | EV_WRITE);
	}
	return l;
}

void
gw_lmtp_free(struct gw_lmtp *l)
{
	if (l == NULL)
		return;
	if (l->fail_ev != NULL)
		event_free(l->fail_ev);
	bufferevent_free(l->bev);
	free(l);
}
