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
#include "gateway/base/err.h"
#include "gateway/gateway.h"
#include "gateway/outbox.h"
#include "milter/mailbuild.h"

/* ---- chat to mail ---- */

struct letter {
	struct xmpp_env *env;
	struct xmpp_stanza *s; /* held until the outbox has it */
	struct td_arena *a;
	struct td_str account;	 /* sender, bare */
	struct td_str from, to;	 /* mail addresses */
	struct td_str body, subject, thread;
	char mail_id[256];
};

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

	if (gw_domains_find(gw_worker_of(env)->domains, j->domain, &d) && strcmp(d.service, "gateway") == 0) {
		at = memrchr(local.p, '@', local.len);
		if (at == NULL)
			return TD_STR_NULL;
		return join(a, td_str(local.p, (size_t)(at - local.p)),
			    ascii_domain(a, td_str(at + 1, local.len - (size_t)(at + 1 - local.p))));
	}
	return join(a, local, ascii_domain(a, j->domain));
}

/* The sender's own mail address: that of the account, where the domain has mail too or a
 * from_domain names the one to use.  TD_STR_NULL: there is none. */
static struct td_str
sender_of(struct xmpp_env *env, struct td_arena *a, const struct xmpp_jid *j)
{
	struct conf_at at = { .scope = conf_next(env->conf, NULL, "mail", NULL) };
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

static void
letter_free(struct letter *l)
{
	xmpp_stanza_unref(&l->s);
	td_arena_free(l->a);
	free(l);
}

static void
letter_failed(struct letter *l, enum xmpp_error e, const char *text)
{
	td_log_notice(&l->env->log, "chat-to-mail-failed", "from=%s to=%s error=%s", td_esc(l->account),
		      td_esc(l->to), text);
	xmpp_bounce(l->env, l->s, e, text);
	letter_free(l);
}

static void
on_added(void *arg, const struct store_result *r)
{
	struct letter *l = arg;

	if (r->rc < 0) {
		letter_failed(l, XE_RESOURCE_CONSTRAINT, "The mail could not be stored; try again later.");
		return;
	}
	td_log_info(&l->env->log, "chat-to-mail", "from=%s to=%s mail=%llu message-id=%s", td_esc(l->from),
		    td_esc(l->to), (unsigned long long)r->id, td_escz(l->mail_id));
	gw_outbox_kick(gw_worker_of(l->env)->gw);
	letter_free(l);
}

static struct td_str
subject_for(struct letter *l, const struct store_thread *t)
{
	struct conf_at at = { .scope = conf_next(l->env->conf, NULL, "mail", NULL) };
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
	out = td_arena_str(l->a, td_buf_str(&b));
	td_buf_fini(&b);
	return out;
}

/* The thread is known (t == NULL: a new one): build the mail and put it into the outbox. */
static void
send_letter(struct letter *l, const struct store_thread *t)
{
	struct gw *gw = gw_worker_of(l->env)->gw;
	struct conf_at at = { .scope = conf_next(l->env->conf, NULL, "mail", NULL) };
	uint64_t now = td_wall_ms();
	struct milt_built built;
	struct td_err err;
	char id[33];
	struct td_str ref = t != NULL ? td_arena_str(l->a, t->mail_id) : TD_STR_NULL;
	struct td_str thread = l->thread.len > 0	      ? l->thread
			       : t != NULL && t->thread.len > 0 ? td_arena_str(l->a, t->thread)
							      : TD_STR("");
	struct milt_draft d = {
		.env_from = l->from,
		.env_to = l->to,
		.from_addr = l->from,
		.subject = subject_for(l, t),
		.text = l->body,
		.in_reply_to = ref,
		.references = &ref,
		.n_references = ref.p != NULL ? 1 : 0,
		.auto_submitted = TD_STR("no"), /* a person wrote it (RFC 3834 5.1) */
		.loop = td_cstr(gw->hostname),
		.jabber_id = l->account,
	};

	td_random_id(id, 32);
	(void)snprintf(l->mail_id, sizeof(l->mail_id), "%s@%s", id, gw->hostname);
	d.message_id = td_cstr(l->mail_id);
	if (thread.len == 0)
		thread = td_cstr(id);
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
				 .stanza_id = l->s->id,
				 .from = built.from,
				 .to = built.to,
				 .data = built.data,
				 .next_try = now,
				 .expires = now + (uint64_t)conf_int(l->env->conf, &at, "message_expiration") * 1000,
			 },
			 &(struct store_thread){
				 .account = l->account,
				 .peer = l->to,
				 .mail_id = td_cstr(l->mail_id),
				 .thread = thread,
				 .subject = d.subject,
			 },
			 (struct store_to){ l->env->loop, on_added, l });
}

static void
on_thread(void *arg, const struct store_result *r, const struct store_thread *t)
{
	struct letter *l = arg;

	if (r->rc < 0 && r->rc != TD_E_NOTFOUND) {
		letter_failed(l, XE_INTERNAL_SERVER_ERROR, "The store did not answer; try again later.");
		return;
	}
	send_letter(l, r->rc == 0 ? t : NULL);
}

static void
begin_letter(struct letter *l)
{
	/* a new subject outside a known thread begins a new conversation */
	if (l->subject.len > 0 && l->thread.len == 0)
		send_letter(l, NULL);
	else
		store_thread_latest(l->env->store, l->account, l->to, l->thread, l->env->loop, on_thread, l);
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
	if (l->to.p == NULL || !milt_build_addr_ok(l->to, &utf8))
		letter_failed(l, XE_JID_MALFORMED, "This address is no mail address.");
	else if (l->from.p == NULL || !milt_build_addr_ok(l->from, &utf8))
		letter_failed(l, XE_NOT_ALLOWED, "Your account has no mail address.");
	else
		begin_letter(l);
	return true;
}

/* ---- mail to chat ---- */

int
gw_bridge_mail_to_chat(struct gw *gw, const struct gw_chat *chats, size_t n, struct td_err *err)
{
	struct conf *c = gw_conf_get(gw);
	struct conf_at at = { .scope = conf_next(c, NULL, "milter", NULL) };
	unsigned ms = (unsigned)conf_int(c, &at, "commit_timeout_ms");
	struct store_chat *rows = td_zalloc((n > 0 ? n : 1) * sizeof(*rows));
	struct td_buf *xml = td_zalloc((n > 0 ? n : 1) * sizeof(*xml));
	int rc;

	conf_unref(&c);
	for (size_t i = 0; i < n; i++) {
		xmpp_stanza_write(chats[i].s, true, &xml[i]);
		rows[i] = (struct store_chat){ .to = chats[i].s->to.bare,
					       .stanza = td_buf_str(&xml[i]),
					       .mail_id = chats[i].mail_id,
					       .thread = chats[i].thread,
					       .peer = chats[i].peer };
	}
	rc = n > 0 ? store_chats_add_wait(gw->store, rows, n, ms, err) : 0;
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && rows[i].row_out != 0) {
			struct xmpp_stanza *s = xmpp_stanza_readdress(chats[i].s, &chats[i].s->to);

			s->row = rows[i].row_out;
			s->flags |= XF_FROM_MAIL;
			gw_route(gw, s);
		}
		td_buf_fini(&xml[i]);
	}
	free(rows);
	free(xml);
	return rc;
}
