/* outbox - sends what waits in the store's outbox to the MTA, until it has it or never will.
 *
 *   kick, timer -> look (rows that are due) -> one curl transfer each, a few at once
 *   250      the row goes
 *   5xx      the row goes and an error for its writer is stored, in one transaction; then the
 *            error is delivered
 *   the rest the row waits: retry_interval, doubled up to max_retry_interval, till it expires
 *
 * curl's sockets and timer run on the main loop. */
#include "gateway/outbox.h"

#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/lmtp.h"
#include "gateway/smtp_reply.h"

struct sending {
	TAILQ_ENTRY(sending) link;
	struct gw_outbox *o;
	struct td_arena *a;
	struct store_mail m; /* strings in <a> */
	size_t sent;
	CURL *curl;
	struct curl_slist *rcpt;
	struct gw_lmtp *lmtp;
	char reply[600];   /* the last reply of the server */
	char refusal[600]; /* the last one that was 4xx or 5xx: QUIT is answered after it */
	size_t reply_len;
	bool reply_open; /* more lines of it follow */
	bool fresh;      /* second attempt, on a connection of its own */
};

struct gw_outbox {
	struct gw *gw;
	CURLM *multi;
	struct event *curl_timer;
	struct td_timer next;
	TAILQ_HEAD(, sending) active;
	unsigned n_active;
	bool looking, again, stopping;
	/* from mail {} of the snapshot of the last look */
	char *url, *user, *password, *ca;
	enum {
		TLS_NO = 0,
		TLS_IF,
		TLS_REQUIRED
	} tls;
	bool lmtp;
	unsigned max_active, timeout_s;
	uint64_t retry_ms, max_retry_ms;
	struct td_logctx log;
};

struct kick {
	struct td_mail mail;
	struct gw *gw;
};

static void look(struct gw_outbox *o);

/* ---- configuration ---- */

static char *
read_secret(struct td_str path)
{
	char *name = td_strndup(path), buf[512];
	FILE *f = fopen(name, "r");
	size_t n;

	free(name);
	if (f == NULL)
		return NULL;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	{
		char *out = td_strndup(td_str_trim(td_str(buf, n)));

		td_wipe(buf, sizeof(buf));
		return out;
	}
}

static void
conf_clear(struct gw_outbox *o)
{
	if (o->password != NULL)
		td_wipe(o->password, strlen(o->password));
	free(o->url);
	free(o->user);
	free(o->password);
	free(o->ca);
	o->url = o->user = o->password = o->ca = NULL;
}

static char *
dup_or_null(struct td_str s)
{
	return s.len > 0 ? td_strndup(s) : NULL;
}

static void
conf_read(struct gw_outbox *o)
{
	struct conf *c = gw_conf_get(o->gw);
	struct conf_at at = { .scope = conf_next(c, NULL, "mail", NULL) };
	struct td_str tls = conf_str(c, &at, "submit_tls"),
		      file = conf_str(c, &at, "submit_password_file");

	conf_clear(o);
	o->url = td_strndup(conf_str(c, &at, "submit"));
	o->lmtp = strncmp(o->url, "lmtp:", 5) == 0;
	o->user = dup_or_null(conf_str(c, &at, "submit_user"));
	o->password =
		file.len > 0 ? read_secret(file) : dup_or_null(conf_str(c, &at, "submit_password"));
	o->ca = dup_or_null(conf_str(c, &at, "submit_ca"));
	o->tls = td_str_ieq(tls, TD_STR("no"))         ? TLS_NO
		 : td_str_ieq(tls, TD_STR("required")) ? TLS_REQUIRED
						       : TLS_IF;
	o->max_active = (unsigned)conf_int(c, &at, "submit_connections");
	o->timeout_s = (unsigned)conf_int(c, &at, "submit_timeout");
	o->retry_ms = (uint64_t)conf_int(c, &at, "retry_interval") * 1000;
	o->max_retry_ms = (uint64_t)conf_int(c, &at, "max_retry_interval") * 1000;
	conf_unref(&c);
}

/* ---- outcomes ---- */

static void
sending_free(struct sending *s)
{
	TAILQ_REMOVE(&s->o->active, s, link);
	s->o->n_active--;
	if (s->curl != NULL) {
		curl_multi_remove_handle(s->o->multi, s->curl);
		curl_easy_cleanup(s->curl);
	}
	curl_slist_free_all(s->rcpt);
	gw_lmtp_free(s->lmtp);
	td_arena_free(s->a);
	free(s);
}

struct bounce {
	struct gw_outbox *o;
	struct xmpp_stanza *s;
	uint64_t mail;
};

static void
on_bounced(void *arg, const struct store_result *r)
{
	struct bounce *b = arg;

	if (r->rc < 0) {
		td_log_error(&b->o->log, "outbox-bounce-failed", "mail=%llu error=%s",
			     (unsigned long long)b->mail, td_escz(r->error));
		xmpp_stanza_unref(&b->s);
	} else {
		b->s->row = r->id;
		gw_route(b->o->gw, b->s);
	}
	free(b);
}

/* An error message to whoever wrote it; with nobody to tell the row just goes. */
static void
bounce(struct gw_outbox *o, const struct store_mail *m, const char *text)
{
	struct td_arena *a = td_arena_new(1024);
	struct td_buf xml = { 0 };
	const char *why;
	struct xmpp_node *n;
	struct bounce *b;

	td_log_notice(&o->log, "mail-failed", "mail=%llu to=%s reply=%s", (unsigned long long)m->id,
		      td_esc(m->to), td_escz(text));
	td_buf_addz(&xml, "<message xmlns='" NS_CLIENT "' type='error' from='");
	td_buf_add_xml(&xml, m->jid);
	td_buf_addz(&xml, "' to='");
	td_buf_add_xml(&xml, m->account);
	if (m->stanza_id.len > 0) {
		td_buf_addz(&xml, "' id='");
		td_buf_add_xml(&xml, m->stanza_id);
	}
	td_buf_addf(&xml, "'><error type='cancel'><%s xmlns='" NS_STANZA_ERRORS "'/>",
		    gw_smtp_condition(gw_smtp_status(td_cstr(text))));
	td_buf_addz(&xml, "<text xmlns='" NS_STANZA_ERRORS "' xml:lang='en'>");
	td_buf_add_xml(&xml, td_cstr(text));
	td_buf_addz(&xml, "</text></error></message>");
	n = m->account.len > 0 ? xmpp_xml_parse(a, td_buf_str(&xml), NULL, &why) : NULL;
	b = td_zalloc(sizeof(*b));
	b->o = o;
	b->mail = m->id;
	if (n == NULL || xmpp_stanza_from_node(a, n, &b->s, NULL) < 0 || b->s->to.full.p == NULL) {
		if (b->s == NULL)
			td_arena_free(a);
		xmpp_stanza_unref(&b->s);
		free(b);
		store_outbox_del(o->gw->store, m->id, (struct store_to){ 0 });
	} else {
		xmpp_stanza_seal(b->s);
		b->s->flags |= XF_FROM_MAIL | XF_NO_BOUNCE;
		store_outbox_bounce(o->gw->store, m->id, b->s->to.bare, td_buf_str(&xml),
				    td_wall_ms(),
				    (struct store_to){ o->gw->main_loop, on_bounced, b });
	}
	td_buf_fini(&xml);
}

static void
on_rescheduled(void *arg, const struct store_result *r)
{
	struct gw_outbox *o = arg;

	(void)r;
	look(o);
}

static void
failed(struct sending *s, bool permanent, const char *text)
{
	struct gw_outbox *o = s->o;
	uint64_t now = td_wall_ms(), wait = o->retry_ms;
	char why[700];

	for (unsigned i = 0; i < s->m.tries && wait < o->max_retry_ms; i++)
		wait *= 2;
	if (wait > o->max_retry_ms)
		wait = o->max_retry_ms;
	if (permanent) {
		bounce(o, &s->m, text);
	} else if (now + wait > s->m.expires) {
		(void)snprintf(why, sizeof(why),
			       "550 5.4.7 Could not be delivered in time; last answer: %s", text);
		bounce(o, &s->m, why);
	} else {
		td_log_notice(&o->log, "mail-deferred",
			      "mail=%llu to=%s tries=%u wait=%llus reply=%s",
			      (unsigned long long)s->m.id, td_esc(s->m.to), s->m.tries + 1,
			      (unsigned long long)(wait / 1000), td_escz(text));
		store_outbox_retry(o->gw->store, s->m.id, now + wait, td_cstr(text),
				   (struct store_to){ o->gw->main_loop, on_rescheduled, o });
	}
}

static void
sent(struct sending *s)
{
	td_log_info(&s->o->log, "mail-sent", "mail=%llu from=%s to=%s reply=%s",
		    (unsigned long long)s->m.id, td_esc(s->m.from), td_esc(s->m.to),
		    td_escz(s->reply));
	store_outbox_del(s->o->gw->store, s->m.id,
			 (struct store_to){ s->o->gw->main_loop, on_rescheduled, s->o });
}

static void
curl_done(struct sending *s, CURLcode rc)
{
	long connects = 1;

	/* the MTA closed a connection we had kept: that says nothing about this mail */
	curl_easy_getinfo(s->curl, CURLINFO_NUM_CONNECTS, &connects);
	if (rc != CURLE_OK && connects == 0 && s->refusal[0] == '\0' && !s->fresh) {
		s->fresh = true;
		s->sent = s->reply_len = 0;
		curl_multi_remove_handle(s->o->multi, s->curl);
		curl_easy_setopt(s->curl, CURLOPT_FRESH_CONNECT, 1L);
		curl_multi_add_handle(s->o->multi, s->curl);
		return;
	}
	if (rc == CURLE_OK) {
		sent(s);
	} else if (s->refusal[0] == '5' && (rc == CURLE_SEND_ERROR || rc == CURLE_RECV_ERROR ||
					    rc == CURLE_WEIRD_SERVER_REPLY)) {
		/* MAIL, RCPT, DATA or the dot was refused; a refused login is our own fault and waits */
		failed(s, true, s->refusal);
	} else {
		failed(s, false, s->refusal[0] != '\0' ? s->refusal : curl_easy_strerror(rc));
	}
	sending_free(s);
}

static void
lmtp_done(void *arg, enum gw_lmtp_outcome how, const char *reply)
{
	struct sending *s = arg;

	(void)snprintf(s->reply, sizeof(s->reply), "%s", reply);
	s->reply_len = strlen(s->reply);
	if (how == LMTP_SENT)
		sent(s);
	else
		failed(s, how == LMTP_REFUSED, reply);
	sending_free(s);
}

/* ---- curl on the loop ---- */

static void
check_done(struct gw_outbox *o)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(o->multi, &left)) != NULL) {
		struct sending *s = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &s);
		curl_done(s, msg->data.result);
	}
}

static void
on_socket_event(evutil_socket_t fd, short what, void *arg)
{
	struct gw_outbox *o = arg;
	int running, action = ((what & EV_READ) ? CURL_CSELECT_IN : 0) |
			      ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);

	curl_multi_socket_action(o->multi, fd, action, &running);
	check_done(o);
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct gw_outbox *o = arg;
	struct event *ev = sock;
	short kind = (short)(((what & CURL_POLL_IN) ? EV_READ : 0) |
			     ((what & CURL_POLL_OUT) ? EV_WRITE : 0) | EV_PERSIST);

	(void)easy;
	if (ev != NULL)
		event_free(ev);
	ev = NULL;
	if (what != CURL_POLL_REMOVE) {
		ev = event_new(td_loop_base(o->gw->main_loop), fd, kind, on_socket_event, o);
		event_add(ev, NULL);
	}
	curl_multi_assign(o->multi, fd, ev);
	return 0;
}

static void
on_curl_timer(evutil_socket_t fd, short what, void *arg)
{
	struct gw_outbox *o = arg;
	int running;

	(void)fd;
	(void)what;
	curl_multi_socket_action(o->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	check_done(o);
}

static int
on_timer_wish(CURLM *multi, long ms, void *arg)
{
	struct gw_outbox *o = arg;
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	(void)multi;
	if (ms < 0)
		evtimer_del(o->curl_timer);
	else
		evtimer_add(o->curl_timer, &tv);
	return 0;
}

static size_t
on_read(char *out, size_t size, size_t n, void *arg)
{
	struct sending *s = arg;
	size_t left = s->m.data.len - s->sent, take = size * n < left ? size * n : left;

	memcpy(out, s->m.data.p + s->sent, take);
	s->sent += take;
	return take;
}

/* Replies come line by line; "550-first", "550 last". */
static size_t
on_reply(char *line, size_t size, size_t n, void *arg)
{
	struct sending *s = arg;
	struct td_str l = td_str_trim(td_str(line, size * n));

	if (l.len < 3)
		return size * n;
	if (!s->reply_open)
		s->reply_len = 0;
	s->reply_open = l.len > 3 && l.p[3] == '-';
	if (s->reply_len > 0 && l.len > 4) { /* a further line: its text only */
		l.p += 3;
		l.len -= 3;
	}
	if (l.len > sizeof(s->reply) - 1 - s->reply_len)
		l.len = td_utf8_cut(l, sizeof(s->reply) - 1 - s->reply_len);
	memcpy(s->reply + s->reply_len, l.p, l.len);
	s->reply_len += l.len;
	s->reply[s->reply_len] = '\0';
	if (!s->reply_open && (s->reply[0] == '4' || s->reply[0] == '5'))
		memcpy(s->refusal, s->reply, s->reply_len + 1);
	return size * n;
}

/* ---- sending ---- */

static void
start_curl(struct sending *s)
{
	struct gw_outbox *o = s->o;
	char addr[1100], url[1200];
	CURL *c = curl_easy_init();

	if (c == NULL)
		abort(); /* out of memory */
	s->curl = c;
	(void)snprintf(url, sizeof(url), "%s/%s", o->url,
		       o->gw->hostname); /* the path is our EHLO name */
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PRIVATE, s);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)o->timeout_s);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
	(void)snprintf(addr, sizeof(addr), "<%.*s>", TD_STR_ARG(s->m.from));
	curl_easy_setopt(c, CURLOPT_MAIL_FROM, addr);
	(void)snprintf(addr, sizeof(addr), "<%.*s>", TD_STR_ARG(s->m.to));
	s->rcpt = curl_slist_append(NULL, addr);
	curl_easy_setopt(c, CURLOPT_MAIL_RCPT, s->rcpt);
	curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(c, CURLOPT_READDATA, s);
	curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)s->m.data.len);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_reply);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, s);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_reply);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(c, CURLOPT_USE_SSL,
			 o->tls == TLS_NO   ? (long)CURLUSESSL_NONE
			 : o->tls == TLS_IF ? (long)CURLUSESSL_TRY
					    : (long)CURLUSESSL_ALL);
	if (o->tls == TLS_IF) { /* opportunistic: better than clear text, whoever signed it */
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (o->ca != NULL)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->ca);
	if (o->user != NULL) {
		curl_easy_setopt(c, CURLOPT_USERNAME, o->user);
		curl_easy_setopt(c, CURLOPT_PASSWORD, o->password != NULL ? o->password : "");
	}
	curl_multi_add_handle(o->multi, c);
}

static bool
is_active(const struct gw_outbox *o, uint64_t id)
{
	struct sending *s;

	TAILQ_FOREACH(s, &o->active, link)
	if (s->m.id == id)
		return true;
	return false;
}

static void
start_one(struct gw_outbox *o, const struct store_mail *m)
{
	struct sending *s = td_zalloc(sizeof(*s));

	s->o = o;
	s->a = td_arena_new(m->data.len + 1024);
	s->m = *m;
	s->m.account = td_arena_str(s->a, m->account);
	s->m.jid = td_arena_str(s->a, m->jid);
	s->m.stanza_id = td_arena_str(s->a, m->stanza_id);
	s->m.from = td_arena_str(s->a, m->from);
	s->m.to = td_arena_str(s->a, m->to);
	s->m.data = td_arena_str(s->a, m->data);
	TAILQ_INSERT_TAIL(&o->active, s, link);
	o->n_active++;
	if (o->lmtp) {
		struct gw_lmtp_mail mail = { o->gw->hostname, s->m.from, s->m.to, s->m.data };

		s->lmtp = gw_lmtp_send(o->gw->main_loop, o->url, &mail, o->timeout_s, lmtp_done, s);
	} else {
		start_curl(s);
	}
}

/* When the next row falls due. */
static void
on_list(void *arg, const struct store_result *r, const struct store_mail *m, size_t n)
{
	struct gw_outbox *o = arg;
	uint64_t now = td_wall_ms(), first = UINT64_MAX;

	if (o->stopping || r->rc < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (!is_active(o, m[i].id) && m[i].next_try < first)
			first = m[i].next_try;
	if (first != UINT64_MAX && (o->next.due == 0 || o->n_active < o->max_active))
		td_timer_set(o->gw->main_loop, &o->next, first > now ? first - now : 100);
}

static void
on_due(void *arg, const struct store_result *r, const struct store_mail *m, size_t n)
{
	struct gw_outbox *o = arg;
	bool again = o->again;

	o->looking = o->again = false;
	if (o->stopping)
		return;
	if (r->rc < 0) {
		td_log_warn(&o->log, "outbox-read-failed", "error=%s, ignoring", td_escz(r->error));
		td_timer_set(o->gw->main_loop, &o->next, 5000);
		return;
	}
	for (size_t i = 0; i < n && o->n_active < o->max_active; i++)
		if (!is_active(o, m[i].id))
			start_one(o, &m[i]);
	if (again && o->n_active < o->max_active)
		look(o);
	else if (o->n_active < o->max_active)
		store_outbox_list(o->gw->store, o->gw->main_loop, on_list, o);
}

static void
look(struct gw_outbox *o)
{
	if (o->stopping)
		return;
	if (o->looking) {
		o->again = true;
		return;
	}
	if (o->n_active >= o->max_active)
		return; /* the end of one looks again */
	o->looking = true;
	conf_read(o);
	store_outbox_due(o->gw->store, td_wall_ms(), o->max_active + o->n_active, o->gw->main_loop,
			 on_due, o);
}

static void
on_next(struct td_timer *t)
{
	look((struct gw_outbox *)((char *)t - offsetof(struct gw_outbox, next)));
}

static void
on_kick(struct td_mail *m, struct td_loop *loop)
{
	struct kick *k = (struct kick *)m;

	(void)loop;
	if (k->gw->outbox != NULL)
		look(k->gw->outbox);
	free(k);
}

void
gw_outbox_kick(struct gw *gw)
{
	struct kick *k = td_alloc(sizeof(*k));

	k->mail.run = on_kick;
	k->gw = gw;
	td_loop_post(gw->main_loop, &k->mail);
}

/* ---- mails of scripts ---- */

/* On its way to the store. */
struct submit {
	struct gw *gw;
	struct xmpp_env *env; /* the worker whose stanza is held; NULL = none is */
	struct xmpp_stanza *s;
};

static void
on_submitted(void *arg, const struct store_result *r)
{
	struct submit *sub = arg;

	if (r->rc < 0) {
		td_log_error(&sub->gw->log, "script-mail-failed", "error=%s", td_escz(r->error));
		if (sub->s != NULL) /* before it counts as handled */
			xmpp_bounce(sub->env, sub->s, XE_RESOURCE_CONSTRAINT,
				    "The mail made of this could not be stored; try again later.");
	} else {
		gw_outbox_kick(sub->gw);
	}
	xmpp_stanza_unref(&sub->s);
	free(sub);
}

static bool
on_a_loop(struct gw *gw)
{
	bool mine = td_loop_is_mine(gw->main_loop);

	for (unsigned i = 0; i < gw->n_workers && !mine; i++)
		mine = td_loop_is_mine(gw->workers[i]->loop);
	return mine;
}

int
gw_outbox_submit(struct gw *gw, struct td_str from, struct td_str to, struct td_str data,
		 struct xmpp_env *env, struct xmpp_stanza *hold, struct td_err *err)
{
	uint64_t now = td_wall_ms();
	struct store_mail m = { .account = TD_STR(""),
				.jid = TD_STR(""),
				.stanza_id = TD_STR(""),
				.from = from.p != NULL ? from : TD_STR(""),
				.to = to,
				.data = data,
				.next_try = now };
	struct conf *c;
	struct store_wait *w;
	int rc;

	if (gw->outbox == NULL)
		return td_fail(err, TD_E_UNSUPPORTED,
			       "there is no mail {} stanza to say where mail goes");
	c = gw_conf_get(gw);
	m.expires = now + (uint64_t)conf_int(
				  c, &(struct conf_at){ .scope = conf_next(c, NULL, "mail", NULL) },
				  "message_expiration") *
				  1000;
	conf_unref(&c);
	if (on_a_loop(gw)) {
		struct submit *sub = td_zalloc(sizeof(*sub));

		sub->gw = gw;
		sub->env = hold != NULL ? env : NULL;
		sub->s = hold != NULL ? xmpp_stanza_ref(hold) : NULL;
		store_outbox_add(gw->store, &m, NULL,
				 (struct store_to){ hold != NULL ? env->loop : gw->main_loop,
						    on_submitted, sub });
		return 0;
	}
	w = store_wait_new();
	store_outbox_add(gw->store, &m, NULL, store_to_wait(w));
	rc = store_wait_for(w, 5000, NULL, err);
	store_wait_free(w);
	if (rc == 0)
		gw_outbox_kick(gw);
	return rc;
}

/* ---- life ---- */

int
gw_outbox_start(struct gw *gw, struct td_err *err)
{
	struct conf *c = gw_conf_get(gw);
	const struct conf_scope *mail = conf_next(c, NULL, "mail", NULL);
	struct conf_at at = { .scope = mail };
	bool wanted = mail != NULL && conf_bool(c, &at, "enabled");
	struct gw_outbox *o;

	conf_unref(&c);
	if (!wanted)
		return 0;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return td_fail(err, TD_E_IO, "libcurl does not start");
	o = td_zalloc(sizeof(*o));
	o->gw = gw;
	o->log = (struct td_logctx){ &gw->log, "outbox", NULL };
	TAILQ_INIT(&o->active);
	o->next.fire = on_next;
	o->multi = curl_multi_init();
	curl_multi_setopt(o->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(o->multi, CURLMOPT_SOCKETDATA, o);
	curl_multi_setopt(o->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
	curl_multi_setopt(o->multi, CURLMOPT_TIMERDATA, o);
	o->curl_timer = evtimer_new(td_loop_base(gw->main_loop), on_curl_timer, o);
	o->max_active = 1;
	gw->outbox = o;
	look(o);
	return 0;
}

void
gw_outbox_stop(struct gw *gw)
{
	struct gw_outbox *o = gw->outbox;
	struct sending *s, *next;

	if (o == NULL)
		return;
	o->stopping = true;
	td_timer_clear(gw->main_loop, &o->next);
	for (s = TAILQ_FIRST(&o->active); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		sending_free(s); /* the row is still there */
	}
	curl_multi_cleanup(o->multi);
	event_free(o->curl_timer);
	conf_clear(o);
	/* store replies may still point here; they come before the store is closed, and o goes with
	 * the process */
}
