/* bridge - where mail becomes chat and chat becomes mail.
 *
 * Chat to mail (gw_bridge_to_mail, on a worker):
 *   may it? -> which address -> the thread it belongs to (store) -> the mail (GMime)
 *   -> row in the outbox; the stanza is held until the commit, so its sender's
 *   acknowledgement waits for it.
 * Mail to chat (gw_bridge_mail_to_chat, on a milter thread):
 *   rows in the message store, all or none -> commit -> deliver to the owners. */
#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "gateway/outbox.h"
#include "milter/mailbuild.h"

#define COLLECT_MAX_MS 600000u /* nobody waits longer for the first line */
#define COLLECT_GRACE_MS 2000u /* the outbox looks this much after the last chance to add a line */
#define BUCKETS_MAX 20000u

/* ---- chat to mail ---- */

struct letter {
	STAILQ_ENTRY(letter) link;
	struct xmpp_env *env;
	struct xmpp_stanza *s; /* held until the outbox has it */
	struct td_arena *a;
	struct td_str account;  /* sender, bare */
	struct td_str from, to; /* mail addresses */
	struct td_str body, subject, thread;
	struct td_str pair;     /* "account address": whose rate, whose lines */
	struct collection *col; /* NULL: each line is a mail */
};

/* Lines of one account to one address that become one mail.  Every state of it is a row of the
 * outbox that waits for the silence; a new line replaces the row by one with more text. */
struct collection {
	bool busy; /* a line is on its way to the store */
	STAILQ_HEAD(, letter) waiting;
	uint64_t row; /* 0 = no mail is open */
	uint64_t first, last;
	struct td_buf text;
	char mail_id[256];
	struct td_str thread, subject, reply_to_id; /* of the open mail; malloc'd */
	char key[];                                 /* letter.pair */
};

struct bucket {
	double tokens;
	uint64_t at;
	char key[];
};

struct gw_letters {
	struct td_map collections;
	struct td_map buckets;
};

static struct gw_letters *
letters_of(struct xmpp_env *env)
{
	struct gw_worker *w = gw_worker_of(env);

	if (w->letters == NULL)
		w->letters = td_zalloc(sizeof(*w->letters));
	return w->letters;
}

static struct conf_at
mail_scope(const struct xmpp_env *env)
{
	return (struct conf_at){ .scope = conf_next(env->conf, NULL, "mail", NULL) };
}

static void
buckets_clear(struct gw_letters *ls)
{
	struct bucket *b;
	size_t i = 0;

	while ((b = td_map_next(&ls->buckets, &i)) != NULL)
		free(b);
	td_map_fini(&ls->buckets);
}

/* A token bucket by <key>; true when one more is allowed now. */
static bool
may_send(struct xmpp_env *env, const char *option, struct td_str key)
{
	struct gw_letters *ls = letters_of(env);
	struct conf_at at = mail_scope(env);
	uint64_t now = td_loop_now(env->loop);
	unsigned count, seconds;
	struct bucket *b;

	if (!conf_throttle(env->conf, &at, option, &count, &seconds))
		return true;
	b = td_map_find(&ls->buckets, key);
	if (b == NULL) {
		if (ls->buckets.len >= BUCKETS_MAX)
			buckets_clear(ls); /* everybody starts afresh: memory is bounded */
		b = td_zalloc(sizeof(*b) + key.len + 1);
		if (key.len > 0)
			memcpy(b->key, key.p, key.len);
		b->tokens = count;
		b->at = now;
		(void)td_map_set(&ls->buckets, td_str(b->key, key.len), b);
	}
	b->tokens += (double)(now - b->at) * count / (seconds * 1000.0);
	if (b->tokens > count)
		b->tokens = count;
	b->at = now;
	if (b->tokens < 1)
		return false;
	b->tokens -= 1;
	return true;
}

static struct td_str
child_text(struct td_arena *a, const struct xmpp_stanza *s, const char *name)
{
	struct xmpp_node *n = xmpp_node_child(s->root, NS_CLIENT, name);

	return n != NULL ? xmpp_node_text(a, n) : TD_STR_NULL;
}

/* U-labels become A-labels: every MTA takes those. */
static struct td_str
ascii_domain(struct td_arena *a, struct td_str domain)
{
	char *out = NULL, *in = td_arena_strndup(a, domain.p, domain.len);
	struct td_str r = domain;

	if (idn2_to_ascii_8z(in, &out, IDN2_NONTRANSITIONAL) == IDN2_OK)
		r = td_arena_str(a, td_cstr(out));
	idn2_free(out);
	return r;
}

static struct td_str
join(struct td_arena *a, struct td_str local, struct td_str domain)
{
	return td_cstr(td_arena_printf(a, "%.*s@%.*s", TD_STR_ARG(local), TD_STR_ARG(domain)));
}

/* The mail address a JID stands for: user\40example.com@gateway, or itself (XEP-0106 undone). */
static struct td_str
address_of(struct xmpp_env *env, struct td_arena *a, const struct xmpp_jid *j)
{
	struct td_str local = xmpp_jid_unescape(a, j->local);
	struct gw_domain d;
	const char *at;

	if (gw_domains_find(gw_worker_of(env)->domains, j->domain, &d) &&
	    strcmp(d.service, "gateway") == 0) {
		at = memrchr(local.p, '@', local.len);
		if (at == NULL)
			return TD_STR_NULL;
		return join(
			a, td_str(local.p, (size_t)(at - local.p)),
			ascii_domain(a, td_str(at + 1, local.len - (size_t)(at + 1 - local.p))));
	}
	return join(a, local, ascii_domain(a, j->domain));
}

/* The sender's own mail address: that of the account, where the domain has mail too or a
 * from_domain names the one to use.  TD_STR_NULL: there is none. */
static struct td_str
sender_of(struct xmpp_env *env, struct td_arena *a, const struct xmpp_jid *j)
{
	struct conf_at at = mail_scope(env);
	char *domain = td_arena_strndup(a, j->domain.p, j->domain.len);
	struct td_str mapped = conf_dict(env->conf, &at, "from_domain", domain);
	struct td_str local = xmpp_jid_unescape(a, j->local);
	struct gw_domain d;

	if (mapped.len > 0)
		return join(a, local, ascii_domain(a, mapped));
	if (!gw_domains_find(gw_worker_of(env)->domains, j->domain, &d) || !d.mail)
		return TD_STR_NULL;
	return join(a, local, ascii_domain(a, j->domain));
}

static void begin_letter(struct letter *l);

/* The next line of the same chat may go on. */
static void
collection_next(struct collection *c)
{
	struct letter *l = STAILQ_FIRST(&c->waiting);

	c->busy = false;
	if (l == NULL)
		return;
	STAILQ_REMOVE_HEAD(&c->waiting, link);
	begin_letter(l);
}

static void
letter_free(struct letter *l)
{
	struct collection *c = l->col;

	xmpp_stanza_unref(&l->s);
	td_arena_free(l->a);
	free(l);
	if (c != NULL)
		collection_next(c);
}

static void
letter_failed(struct letter *l, enum xmpp_error e, const char *text)
{
	td_log_notice(&l->env->log, "chat-to-mail-failed", "from=%s to=%s error=%s",
		      td_esc(l->account), td_esc(l->to), td_escz(text));
	xmpp_bounce(l->env, l->s, e, text);
	letter_free(l);
}

static void
on_added(void *arg, const struct store_result *r)
{
	struct letter *l = arg;

	if (r->rc < 0) {
		letter_failed(l, XE_RESOURCE_CONSTRAINT,
			      "The mail could not be stored; try again later.");
		return;
	}
	td_log_info(&l->env->log, "chat-to-mail", "from=%s to=%s mail=%llu", td_esc(l->from),
		    td_esc(l->to), (unsigned long long)r->id);
	if (l->col != NULL)
		l->col->row = r->id;
	gw_outbox_kick(gw_worker_of(l->env)->gw);
	letter_free(l);
}

static struct td_str
subject_for(struct letter *l, const struct store_thread *t)
{
	struct conf_at at = mail_scope(l->env);
	struct td_str form = conf_str(l->env->conf, &at, "subject");
	struct td_buf b = { 0 };
	struct td_str out;

	if (l->subject.len > 0)
		return l->subject;
	if (t != NULL && t->subject.len > 0) {
		if (t->subject.len >= 3 && td_str_ieq(td_str(t->subject.p, 3), TD_STR("re:")))
			return td_arena_str(l->a, t->subject);
		return td_cstr(td_arena_printf(l->a, "Re: %.*s", TD_STR_ARG(t->subject)));
	}
	for (size_t i = 0; i < form.len; i++) {
		if (form.p[i] == '%' && i + 1 < form.len && form.p[i + 1] == 'f') {
			td_buf_adds(&b, l->from);
			i++;
		} else {
			td_buf_addc(&b, form.p[i]);
		}
	}
	out = td_arena_str(l->a, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	return out;
}

/* What a mail says about its place in the world; a collection keeps it while it is open. */
struct place {
	const char *mail_id;
	struct td_str thread, subject, reply_to_id, text;
	uint64_t replaces;
	uint64_t send_at;
};

static void
post_letter(struct letter *l, const struct place *pl)
{
	struct gw *gw = gw_worker_of(l->env)->gw;
	struct conf_at at = mail_scope(l->env);
	struct milt_built built;
	struct td_err err;
	struct milt_draft d = {
		.env_from = l->from,
		.env_to = l->to,
		.from_addr = l->from,
		.subject = pl->subject,
		.text = pl->text,
		.message_id = td_cstr(pl->mail_id),
		.in_reply_to = pl->reply_to_id,
		.references = &pl->reply_to_id,
		.n_references = pl->reply_to_id.len > 0 ? 1 : 0,
		.auto_submitted = TD_STR("no"), /* a person wrote it (RFC 3834 5.1) */
		.loop = td_cstr(gw->hostname),
		.jabber_id = l->account,
	};

	if (milt_build_chat(l->a, &d, &built, &err) < 0) {
		letter_failed(l, XE_NOT_ACCEPTABLE, err.text);
		return;
	}
	if ((int64_t)built.data.len > conf_int(l->env->conf, &at, "max_size")) {
		letter_failed(l, XE_POLICY_VIOLATION, "The mail would be too large.");
		return;
	}
	store_outbox_add(l->env->store,
			 &(struct store_mail){
				 .account = l->s->from.full,
				 .jid = l->s->to.full,
				 .stanza_id = l->s->id.p != NULL ? l->s->id : TD_STR(""),
				 .from = built.from,
				 .to = built.to,
				 .data = built.data,
				 .next_try = pl->send_at,
				 .expires = pl->send_at + (uint64_t)conf_int(l->env->conf, &at,
									     "message_expiration") *
								  1000,
				 .replaces = pl->replaces,
			 },
			 &(struct store_thread){
				 .account = l->account,
				 .peer = l->to,
				 .mail_id = td_cstr(pl->mail_id),
				 .thread = pl->thread,
				 .subject = pl->subject,
			 },
			 (struct store_to){ l->env->loop, on_added, l });
}

static void
keep_str(struct td_str *at, struct td_str s)
{
	free((void *)(uintptr_t)at->p);
	*at = s.p != NULL ? td_str(td_strndup(s), s.len) : TD_STR_NULL;
}

/* The thread is known (t == NULL: a new one): a new mail. */
static void
new_mail(struct letter *l, const struct store_thread *t)
{
	struct conf_at at = mail_scope(l->env);
	uint64_t now = td_wall_ms(),
		 collect = (uint64_t)conf_int(l->env->conf, &at, "collect") * 1000;
	struct td_buf sid = { 0 };
	char id[33], mail_id[256];
	struct place pl = { .mail_id = mail_id, .text = l->body, .send_at = now };
	struct collection *c = l->col;

	td_random_id(id, 32);
	/* the stanza's id in the Message-ID: a delivery report finds its way back (lua/tandem) */
	if (l->s->id.len > 0 && l->s->id.len <= 40)
		td_buf_add_hex(&sid, l->s->id.p, l->s->id.len);
	(void)snprintf(mail_id, sizeof(mail_id), "%s.%s@%s", id,
		       sid.len > 0 ? td_buf_cstr(&sid) : "0", gw_worker_of(l->env)->gw->hostname);
	td_buf_fini(&sid);
	pl.subject = subject_for(l, t);
	pl.reply_to_id = t != NULL ? td_arena_str(l->a, t->mail_id) : TD_STR_NULL;
	pl.thread = l->thread.len > 0                ? l->thread
		    : t != NULL && t->thread.len > 0 ? td_arena_str(l->a, t->thread)
						     : td_cstr(id);
	if (c != NULL) {
		pl.send_at = now + collect + COLLECT_GRACE_MS;
		c->row = 0;
		c->first = c->last = now;
		td_buf_clear(&c->text);
		td_buf_adds(&c->text, l->body);
		(void)snprintf(c->mail_id, sizeof(c->mail_id), "%s", mail_id);
		keep_str(&c->thread, pl.thread);
		keep_str(&c->subject, pl.subject);
		keep_str(&c->reply_to_id, pl.reply_to_id);
	}
	post_letter(l, &pl);
}

/* One more line for the mail that is open. */
static void
add_line(struct letter *l, struct collection *c)
{
	struct conf_at at = mail_scope(l->env);
	uint64_t now = td_wall_ms(),
		 collect = (uint64_t)conf_int(l->env->conf, &at, "collect") * 1000;
	struct place pl = { .mail_id = c->mail_id,
			    .thread = c->thread,
			    .subject = c->subject,
			    .reply_to_id = c->reply_to_id,
			    .replaces = c->row,
			    .send_at = now + collect + COLLECT_GRACE_MS };

	c->last = now;
	td_buf_addc(&c->text, '\n');
	td_buf_adds(&c->text, l->body);
	pl.text = td_buf_str(&c->text);
	post_letter(l, &pl);
}

static void
on_thread(void *arg, const struct store_result *r, const struct store_thread *t)
{
	struct letter *l = arg;

	if (r->rc < 0 && r->rc != TD_E_NOTFOUND) {
		letter_failed(l, XE_INTERNAL_SERVER_ERROR,
			      "The store did not answer; try again later.");
		return;
	}
	new_mail(l, r->rc == 0 ? t : NULL);
}

static bool
fits_open_mail(const struct letter *l)
{
	const struct collection *c = l->col;
	struct conf_at at = mail_scope(l->env);
	uint64_t now = td_wall_ms(),
		 collect = (uint64_t)conf_int(l->env->conf, &at, "collect") * 1000;

	return c->row != 0 && now - c->last <= collect && now - c->first <= COLLECT_MAX_MS &&
	       l->subject.len == 0 && (l->thread.len == 0 || td_str_eq(l->thread, c->thread)) &&
	       (int64_t)(c->text.len + l->body.len) * 2 < conf_int(l->env->conf, &at, "max_size");
}

static void
begin_letter(struct letter *l)
{
	if (l->col != NULL)
		l->col->busy = true;
	if (l->col != NULL && fits_open_mail(l))
		add_line(l, l->col);
	else if (l->subject.len > 0 && l->thread.len == 0)
		new_mail(l,
			 NULL); /* a new subject outside a known thread begins a new conversation */
	else
		store_thread_latest(l->env->store, l->account, l->to, l->thread, l->env->loop,
				    on_thread, l);
}

static void
collection_free(struct gw_letters *ls, struct collection *c)
{
	td_map_del(&ls->collections, td_cstr(c->key));
	td_buf_fini(&c->text);
	keep_str(&c->thread, TD_STR_NULL);
	keep_str(&c->subject, TD_STR_NULL);
	keep_str(&c->reply_to_id, TD_STR_NULL);
	free(c);
}

static struct collection *
collection_for(struct letter *l)
{
	struct gw_letters *ls = letters_of(l->env);
	struct collection *c = td_map_find(&ls->collections, l->pair);
	uint64_t now = td_wall_ms();
	size_t i = 0;

	if (c != NULL)
		return c;
	/* those that nothing can be added to any more */
	while (ls->collections.len >= 64 && (c = td_map_next(&ls->collections, &i)) != NULL)
		if (!c->busy && STAILQ_EMPTY(&c->waiting) && now - c->last > COLLECT_MAX_MS)
			collection_free(ls, c);
	c = td_zalloc(sizeof(*c) + l->pair.len + 1);
	memcpy(c->key, l->pair.p, l->pair.len);
	STAILQ_INIT(&c->waiting);
	(void)td_map_set(&ls->collections, td_str(c->key, l->pair.len), c);
	return c;
}

void
gw_bridge_worker_fini(struct gw_worker *w)
{
	struct gw_letters *ls = w->letters;
	struct collection *c;
	size_t i = 0;

	if (ls == NULL)
		return;
	while ((c = td_map_next(&ls->collections, &i)) != NULL) {
		struct letter *l;

		while ((l = STAILQ_FIRST(&c->waiting)) != NULL) {
			STAILQ_REMOVE_HEAD(&c->waiting, link);
			l->col = NULL;
			letter_free(l);
		}
		collection_free(ls, c);
	}
	td_map_fini(&ls->collections);
	buckets_clear(ls);
	free(ls);
	w->letters = NULL;
}

/* Rates, then its turn among the lines of the same chat. */
static void
admit(struct letter *l)
{
	struct conf_at at = mail_scope(l->env);

	l->pair = td_cstr(
		td_arena_printf(l->a, "%.*s %.*s", TD_STR_ARG(l->account), TD_STR_ARG(l->to)));
	if (!may_send(l->env, "rate", l->account) ||
	    !may_send(l->env, "correspondent_rate", l->pair)) {
		letter_failed(l, XE_RESOURCE_CONSTRAINT,
			      "Too many mails from your account; try again later.");
		return;
	}
	if (conf_int(l->env->conf, &at, "collect") > 0) {
		l->col = collection_for(l);
		if (l->col->busy) {
			STAILQ_INSERT_TAIL(&l->col->waiting, l, link);
			return;
		}
	}
	begin_letter(l);
}

/* Local parts an MTA may take for a route to somewhere else (a%b@us, a!b@us, "a@b"@us): our
 * submission is trusted there, so they would relay. */
static bool
is_route(struct td_str addr)
{
	const char *at = memrchr(addr.p, '@', addr.len);

	for (const char *p = addr.p; p < at; p++)
		if (*p == '%' || *p == '!' || *p == '@')
			return true;
	return false;
}

bool
gw_bridge_to_mail(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct gw_worker *w = gw_worker_of(env);
	struct td_arena *a;
	struct letter *l;
	struct td_str body;
	bool utf8;

	/* no relay, no backscatter: only what one of our own users wrote just now */
	if (w->gw->outbox == NULL || s->kind != XK_MESSAGE || !(s->flags & XF_FROM_CLIENT) ||
	    (s->flags & XF_FROM_MAIL) || s->to.local.p == NULL ||
	    (s->type != XT_NONE && s->type != XT_NORMAL && s->type != XT_CHAT))
		return false;
	a = td_arena_new(2048);
	body = child_text(a, s, "body");
	if (td_str_trim(body).len == 0) { /* chat states, receipts, markers: nothing to mail */
		td_arena_free(a);
		return true;
	}
	l = td_zalloc(sizeof(*l));
	*l = (struct letter){ .env = env, .s = xmpp_stanza_ref(s), .a = a, .body = body };
	l->account = td_arena_str(a, s->from.bare);
	l->subject = td_str_trim(child_text(a, s, "subject"));
	l->thread = td_str_trim(child_text(a, s, "thread"));
	l->from = sender_of(env, a, &s->from);
	l->to = address_of(env, a, &s->to);
	if (l->to.p == NULL || !milt_build_addr_ok(l->to, &utf8) || is_route(l->to))
		letter_failed(l, XE_JID_MALFORMED, "This address is no mail address.");
	else if (l->from.p == NULL || !milt_build_addr_ok(l->from, &utf8))
		letter_failed(l, XE_NOT_ALLOWED, "Your account has no mail address.");
	else
		admit(l);
	return true;
}

/* ---- mail to chat ---- */

/* What is delivered although the MTA was told to try again: the store was slow, not unable. */
struct late {
	struct gw *gw;
	size_t n;
	struct xmpp_stanza *s[];
};

static struct late *
late_new(struct gw *gw, const struct gw_chat *chats, size_t n)
{
	struct late *l = td_zalloc(sizeof(*l) + n * sizeof(struct xmpp_stanza *));

	l->gw = gw;
	l->n = n;
	for (size_t i = 0; i < n; i++)
		l->s[i] = xmpp_stanza_ref(chats[i].s);
	return l;
}

static void
late_free(struct late *l)
{
	for (size_t i = 0; i < l->n; i++)
		xmpp_stanza_unref(&l->s[i]);
	free(l);
}

/* <row>: where it waits until it is delivered; 0 = a repeat, which is not. */
static void
deliver_row(struct gw *gw, const struct xmpp_stanza *of, uint64_t row)
{
	struct xmpp_stanza *s;

	if (row == 0)
		return;
	s = xmpp_stanza_readdress(of, &of->to);
	s->row = row;
	s->flags |= XF_FROM_MAIL;
	gw_route(gw, s);
}

/* On the store's thread.  The workers live: they are stopped when the store owes nothing. */
static void
on_late_rows(void *arg, const struct store_result *r, const struct store_chat *rows, size_t n)
{
	struct late *l = arg;

	for (size_t i = 0; r->rc == 0 && i < n && i < l->n; i++)
		deliver_row(l->gw, l->s[i], rows[i].row_out);
	late_free(l);
}

int
gw_bridge_mail_to_chat(struct gw *gw, const struct gw_chat *chats, size_t n, struct td_err *err)
{
	struct conf *c = gw_conf_get(gw);
	struct conf_at at = { .scope = conf_next(c, NULL, "milter", NULL) };
	unsigned ms = (unsigned)conf_int(c, &at, "commit_timeout_ms");
	struct store_chat *rows = td_zalloc((n > 0 ? n : 1) * sizeof(*rows));
	struct td_buf *xml = td_zalloc((n > 0 ? n : 1) * sizeof(*xml));
	struct td_arena *a = td_arena_new(0);
	struct late *late;
	int rc;

	conf_unref(&c);
	for (size_t i = 0; i < n; i++) {
		xmpp_stanza_write(chats[i].s, true, &xml[i]);
		rows[i] = (struct store_chat){ .to = chats[i].s->to.bare,
					       .stanza = td_buf_str(&xml[i]),
					       .mail_id = chats[i].mail_id,
					       .thread = chats[i].thread,
					       .peer = chats[i].peer,
					       .subject = child_text(a, chats[i].s, "subject") };
	}
	late = late_new(gw, chats, n);
	rc = n > 0 ? store_chats_add_wait(gw->store, rows, n, ms, on_late_rows, late, err) : 0;
	if (rc != TD_E_TIMEOUT)
		late_free(late);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			deliver_row(gw, chats[i].s, rows[i].row_out);
		td_buf_fini(&xml[i]);
	}
	free(rows);
	free(xml);
	td_arena_free(a);
	return rc;
}
