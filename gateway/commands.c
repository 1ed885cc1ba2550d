/* commands - what tandemctl can ask (architecture.md section 9, momentum.md 1.9 for config).
 *
 * A command is a row: its words, how many arguments, the function.  Those that ask every
 * worker go through `gather`: each worker writes its part on its own thread. */
#include "gateway/control.h"

#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/move.h"
#include "gateway/outbox.h"
#include "gateway/scripts.h"
#include "milter/milter.h"
#include "xmpp/c2s.h"
#include "xmpp/sasl.h"
#include "xmpp/signin.h"
#include "xmpp/xep/xep_0133_admin.h"

static struct td_str
arg(const struct ctl_request *r, size_t i)
{
	return i < r->argc ? td_cstr(r->argv[i]) : TD_STR_NULL;
}

static struct store_to
to_main(struct ctl_request *r, store_cb *cb)
{
	return (struct store_to){ r->gw->main_loop, cb, r };
}

/* ---- asking all workers ---- */

struct gather {
	struct ctl_request *r;
	unsigned left;
	struct td_buf part[GW_MAX_WORKERS];
	struct xmpp_stats stats[GW_MAX_WORKERS];
	void (*ask)(struct gw_worker *w, struct gather *g); /* on each worker */
	void (*end)(struct gather *g);                      /* on the main loop */
	struct xmpp_jid jid;                                /* of the question, when there is one */
};

struct gather_reply {
	struct td_mail mail;
	struct gather *g;
};

static void
on_part(struct td_mail *m, struct td_loop *loop)
{
	struct gather_reply *p = (struct gather_reply *)m;
	struct gather *g = p->g;

	(void)loop;
	free(p);
	if (--g->left > 0)
		return;
	g->end(g);
	for (unsigned i = 0; i < GW_MAX_WORKERS; i++)
		td_buf_fini(&g->part[i]);
	free(g);
}

static void
ask_here(struct gw_worker *w, void *arg_)
{
	struct gather *g = arg_;
	struct gather_reply *p = td_alloc(sizeof(*p));

	g->ask(w, g);
	p->mail.run = on_part;
	p->g = g;
	td_loop_post(w->gw->main_loop, &p->mail);
}

static void
gather(struct ctl_request *r, void (*ask)(struct gw_worker *, struct gather *),
       void (*end)(struct gather *), const struct xmpp_jid *jid)
{
	struct gather *g = td_zalloc(sizeof(*g));

	g->r = r;
	g->ask = ask;
	g->end = end;
	g->left = r->gw->n_workers;
	if (jid != NULL)
		g->jid = *jid;
	for (unsigned i = 0; i < r->gw->n_workers; i++)
		gw_worker_post(r->gw->workers[i], ask_here, g);
}

/* ---- accounts ---- */

/* The bare JID of argument <i>, hosted here; else answers and returns false. */
static bool
account_arg(struct ctl_request *r, size_t i, struct xmpp_jid *j)
{
	struct td_err err;
	struct conf *c;
	struct gw_domains *d;
	struct gw_domain dom;
	bool hosted;

	if (xmpp_jid_parse(r->a, arg(r, i), j, &err) < 0 || j->local.p == NULL ||
	    j->resource.p != NULL) {
		ctl_fail(r, "'%s' is not an account address (user@domain)", r->argv[i]);
		return false;
	}
	c = gw_conf_get(r->gw);
	d = gw_domains_build(c);
	hosted = gw_domains_find(d, j->domain, &dom) && dom.kind == XD_LOCAL;
	gw_domains_unref(&d);
	conf_unref(&c);
	if (!hosted)
		ctl_fail(r, "%.*s is not hosted here: no domain stanza with XMPP_Role = \"server\"",
			 TD_STR_ARG(j->domain));
	return hosted;
}

static void
kick_here(struct gw_worker *w, void *arg_)
{
	char *bare = arg_;
	struct xmpp_user *u = xmpp_user_find(w->env, td_cstr(bare));

	xmpp_signin_changed(w->env, td_cstr(bare)); /* who has no session yet */
	if (u != NULL)
		xmpp_user_kick(u, "not-authorized");
	free(bare);
}

static void
kick_account(struct gw *gw, struct td_str bare)
{
	gw_worker_post(gw_owner(gw, bare), kick_here, td_strndup(bare));
}

static void
say_stored(void *arg_, const struct store_result *res)
{
	struct ctl_request *r = arg_;

	if (res->rc == TD_E_EXISTS)
		ctl_fail(r, "%s exists already", r->argv[0]);
	else if (res->rc == TD_E_NOTFOUND)
		ctl_fail(r, "there is no account %s", r->argv[0]);
	else if (res->rc < 0)
		ctl_fail(r, "the store failed: %s", res->error);
	else
		ctl_done(r, 0);
}

static void
say_and_kick(void *arg_, const struct store_result *res)
{
	struct ctl_request *r = arg_;
	struct xmpp_jid j;

	if (res->rc == 0 && xmpp_jid_parse(r->a, arg(r, 0), &j, NULL) == 0)
		kick_account(r->gw, j.bare);
	say_stored(r, res);
}

/* Something a worker does for a request, and its answer. */
struct errand {
	struct td_mail mail;
	struct ctl_request *r;
	struct td_str name, text; /* of the request's arena */
	bool flag;
	int rc;
	struct td_buf out;
};

static void
errand_back(struct td_mail *m, struct td_loop *loop)
{
	struct errand *e = (struct errand *)m;
	struct store_result res = { .rc = e->rc, .error = td_errname(e->rc) };

	(void)loop;
	td_buf_adds(&e->r->out, td_buf_str(&e->out));
	td_buf_fini(&e->out);
	say_stored(e->r, &res);
	free(e);
}

static void
errand_done(void *arg_, int rc)
{
	struct errand *e = arg_;

	e->rc = rc;
	e->mail.run = errand_back;
	td_loop_post(e->r->gw->main_loop, &e->mail);
}

static void
errand(struct ctl_request *r, struct gw_worker *w, void (*fn)(struct gw_worker *, void *),
       const struct errand *what)
{
	struct errand *e = td_alloc(sizeof(*e));

	*e = *what;
	e->r = r;
	gw_worker_post(w, fn, e);
}

static void
delete_here(struct gw_worker *w, void *arg_)
{
	xmpp_account_delete(w->env, ((struct errand *)arg_)->name, errand_done, arg_);
}

static void
disabled_here(struct gw_worker *w, void *arg_)
{
	struct errand *e = arg_;

	xmpp_account_disabled(w->env, e->name, e->flag);
	errand_done(e, 0);
}

static void
on_disable(struct ctl_request *r, const struct store_result *res, bool disabled)
{
	struct xmpp_jid j;

	if (res->rc < 0 || xmpp_jid_parse(r->a, arg(r, 0), &j, NULL) < 0)
		say_stored(r, res);
	else
		errand(r, gw_owner(r->gw, j.bare), disabled_here,
		       &(struct errand){ .name = j.bare, .flag = disabled });
}

static void
on_disabled(void *arg_, const struct store_result *res)
{
	on_disable(arg_, res, true);
}

static void
on_enabled(void *arg_, const struct store_result *res)
{
	on_disable(arg_, res, false);
}

static void
account_set(struct ctl_request *r, bool add)
{
	struct store_account a = { .created = td_wall_ms() / 1000 };
	struct xmpp_jid j;
	struct td_err err;

	if (!account_arg(r, 0, &j))
		return;
	a.jid = j.bare;
	if (xmpp_scram_derive(r->input, 0, &a.sha1, &a.sha256, &err) < 0) {
		ctl_fail(r, "%s", err.text);
		return;
	}
	if (add)
		store_account_add(r->gw->store, &a, to_main(r, say_stored));
	else
		store_account_update(r->gw->store, &a, to_main(r, say_and_kick));
	td_wipe(&a, sizeof(a));
}

static void
cmd_account_add(struct ctl_request *r)
{
	account_set(r, true);
}

static void
cmd_account_password(struct ctl_request *r)
{
	account_set(r, false);
}

static void
cmd_account_delete(struct ctl_request *r)
{
	struct xmpp_jid j;

	if (xmpp_jid_parse(r->a, arg(r, 0), &j, NULL) < 0 || j.local.p == NULL)
		ctl_fail(r, "'%s' is not an account address (user@domain)", r->argv[0]);
	else
		errand(r, gw_owner(r->gw, j.bare), delete_here, &(struct errand){ .name = j.bare });
}

static void
cmd_account_disable(struct ctl_request *r)
{
	struct xmpp_jid j;

	if (account_arg(r, 0, &j))
		store_account_disable(r->gw->store, j.bare, true, to_main(r, on_disabled));
}

static void
cmd_account_enable(struct ctl_request *r)
{
	struct xmpp_jid j;

	if (account_arg(r, 0, &j))
		store_account_disable(r->gw->store, j.bare, false, to_main(r, on_enabled));
}

static void
add_json_list(struct ctl_request *r, const struct td_str *strs, size_t n)
{
	if (r->json)
		td_buf_addc(&r->out, '[');
	for (size_t i = 0; i < n; i++) {
		if (r->json) {
			if (i > 0)
				td_buf_addc(&r->out, ',');
			td_buf_add_json(&r->out, strs[i]);
		} else {
			td_buf_adds(&r->out, strs[i]);
			td_buf_addc(&r->out, '\n');
		}
	}
	if (r->json)
		td_buf_addz(&r->out, "]\n");
}

static void
on_list(void *arg_, const struct store_result *res, const struct td_str *strs, size_t n)
{
	struct ctl_request *r = arg_;

	if (res->rc < 0) {
		ctl_fail(r, "the store failed: %s", res->error);
		return;
	}
	add_json_list(r, strs, n);
	ctl_done(r, 0);
}

static void
cmd_account_list(struct ctl_request *r)
{
	store_account_list(r->gw->store, arg(r, 0), r->gw->main_loop, on_list, r);
}

/* ---- account export: "jid TAB {SCRAM-SHA-256}iter$salt$stored$server" lines ---- */

struct walk {
	struct ctl_request *r;
	struct td_str *jids;
	size_t n, i;
};

static void next_export(struct walk *w);

static void
add_verifier(struct td_buf *out, const char *name, const struct store_scram *k)
{
	if (k->key_len == 0)
		return;
	td_buf_addf(out, "{%s}%u$", name, k->iterations);
	td_buf_add_base64(out, k->salt, k->salt_len);
	td_buf_addc(out, '$');
	td_buf_add_base64(out, k->stored_key, k->key_len);
	td_buf_addc(out, '$');
	td_buf_add_base64(out, k->server_key, k->key_len);
}

static void
on_export(void *arg_, const struct store_result *res, const struct store_account *a)
{
	struct walk *w = arg_;
	struct td_buf *out = &w->r->out;

	if (res->rc == 0) {
		td_buf_adds(out, a->jid);
		td_buf_addc(out, '\t');
		add_verifier(out, "SCRAM-SHA-256", &a->sha256);
		if (a->sha1.key_len > 0) {
			td_buf_addc(out, '\t');
			add_verifier(out, "SCRAM-SHA-1", &a->sha1);
		}
		td_buf_addc(out, '\n');
	}
	w->i++;
	next_export(w);
}

static void
next_export(struct walk *w)
{
	if (w->i < w->n)
		store_account_get(w->r->gw->store, w->jids[w->i], w->r->gw->main_loop, on_export,
				  w);
	else
		ctl_done(w->r, 0);
}

static void
on_export_list(void *arg_, const struct store_result *res, const struct td_str *strs, size_t n)
{
	struct ctl_request *r = arg_;
	struct walk *w;

	if (res->rc < 0) {
		ctl_fail(r, "the store failed: %s", res->error);
		return;
	}
	w = td_arena_zalloc(r->a, sizeof(*w));
	w->r = r;
	w->n = n;
	w->jids = td_arena_alloc(r->a, (n > 0 ? n : 1) * sizeof(*w->jids));
	for (size_t i = 0; i < n; i++)
		w->jids[i] = td_arena_str(r->a, strs[i]);
	next_export(w);
}

static void
cmd_account_export(struct ctl_request *r)
{
	store_account_list(r->gw->store, arg(r, 0), r->gw->main_loop, on_export_list, r);
}

/* ---- rosters ---- */

static void
on_roster(void *arg_, const struct store_result *res, const struct store_roster *ro)
{
	struct ctl_request *r = arg_;

	if (res->rc < 0 || !ro->account_exists) {
		ctl_fail(r,
			 res->rc < 0 && res->rc != TD_E_NOTFOUND ? "the store failed"
								 : "there is no account %s",
			 r->argv[0]);
		return;
	}
	store_roster_to_json(ro, &r->out);
	td_buf_addc(&r->out, '\n');
	ctl_done(r, 0);
}

static void
cmd_roster_export(struct ctl_request *r)
{
	struct xmpp_jid j;

	if (account_arg(r, 0, &j))
		store_roster_get(r->gw->store, j.bare, r->gw->main_loop, on_roster, r);
}

struct roster_import {
	struct ctl_request *r;
	struct td_str bare;
	struct store_contact *contacts;
	size_t n, i;
};

static void next_contact(struct roster_import *im);

static void
on_contact(void *arg_, const struct store_result *res)
{
	struct roster_import *im = arg_;

	if (res->rc < 0) {
		ctl_fail(im->r, "entry %zu: %s", im->i + 1,
			 res->rc == TD_E_NOTFOUND ? "there is no such account" : res->error);
		return;
	}
	im->i++;
	next_contact(im);
}

static void
next_contact(struct roster_import *im)
{
	if (im->i < im->n) {
		store_roster_set(im->r->gw->store, im->bare, &im->contacts[im->i],
				 (struct store_to){ im->r->gw->main_loop, on_contact, im });
		return;
	}
	kick_account(im->r->gw, im->bare); /* what is in memory is old now */
	td_buf_addf(&im->r->out, "%zu entries imported\n", im->n);
	ctl_done(im->r, 0);
}

static void
cmd_roster_import(struct ctl_request *r)
{
	struct roster_import *im;
	struct xmpp_jid j;
	struct td_err err;

	if (!account_arg(r, 0, &j))
		return;
	im = td_arena_zalloc(r->a, sizeof(*im));
	im->r = r;
	im->bare = j.bare;
	if (store_roster_from_json(r->input, r->a, &im->contacts, &im->n, &err) < 0) {
		ctl_fail(r, "%s", err.text);
		return;
	}
	for (size_t i = 0; i < im->n; i++) {
		if (xmpp_jid_parse(r->a, im->contacts[i].jid, &j, NULL) < 0 ||
		    j.resource.p != NULL) {
			ctl_fail(r, "'%.*s' is not an address; nothing was imported",
				 TD_STR_ARG(im->contacts[i].jid));
			return;
		}
		im->contacts[i].jid = j.bare; /* prepared */
	}
	next_contact(im);
}

/* ---- sessions ---- */

static void
list_here(struct gw_worker *w, struct gather *g)
{
	struct td_buf *out = &g->part[w->index];
	struct xmpp_session *s;

	TAILQ_FOREACH(s, &w->env->sessions, env_link)
	{
		if (g->jid.full.p != NULL && !td_str_eq(s->user->bare, g->jid.bare))
			continue;
		if (g->r->json) {
			td_buf_addz(out, out->len > 0 ? ",{\"jid\":" : "{\"jid\":");
			td_buf_add_json(out, s->jid.full);
			td_buf_addf(
				out,
				",\"sid\":\"%s\",\"worker\":%u,\"available\":%s,\"priority\":%d,"
				"\"sm\":%s,\"since\":%llu",
				s->sid, w->index, s->available ? "true" : "false", s->priority,
				s->sm != NULL ? "true" : "false",
				(unsigned long long)(s->bound_at / 1000));
			if (s->stream != NULL) {
				td_buf_addc(out, ',');
				xmpp_c2s_describe(s->stream, out);
			} else {
				td_buf_addz(out, ",\"state\":\"hibernated\"");
			}
			td_buf_addc(out, '}');
		} else {
			td_buf_addf(out, "%.*s\t%s\t%s\t%d\n", TD_STR_ARG(s->jid.full), s->sid,
				    s->stream == NULL ? "hibernated"
				    : s->available    ? "available"
						      : "connected",
				    s->priority);
		}
	}
}

static void
list_end(struct gather *g)
{
	struct ctl_request *r = g->r;
	bool first = true;

	if (r->json)
		td_buf_addc(&r->out, '[');
	for (unsigned i = 0; i < r->gw->n_workers; i++) {
		if (r->json && g->part[i].len > 0 && !first)
			td_buf_addc(&r->out, ',');
		first = first && g->part[i].len == 0;
		td_buf_adds(&r->out, td_buf_str(&g->part[i]));
	}
	if (r->json)
		td_buf_addz(&r->out, "]\n");
	ctl_done(r, 0);
}

static void
cmd_session_list(struct ctl_request *r)
{
	struct xmpp_jid j;

	if (r->argc > 0 && xmpp_jid_parse(r->a, arg(r, 0), &j, NULL) < 0)
		ctl_fail(r, "'%s' is not an address", r->argv[0]);
	else
		gather(r, list_here, list_end, r->argc > 0 ? &j : NULL);
}

static void
kick_sessions(struct gw_worker *w, struct gather *g)
{
	struct xmpp_user *u = xmpp_user_find(w->env, g->jid.bare);
	struct xmpp_session *s, *next;
	unsigned n = 0;

	for (s = u != NULL ? TAILQ_FIRST(&u->sessions) : NULL; s != NULL; s = next) {
		struct xmpp_c2s *c = s->stream;

		next = TAILQ_NEXT(s, link);
		if (g->jid.resource.p != NULL && !td_str_eq(s->jid.resource, g->jid.resource))
			continue;
		n++;
		xmpp_session_end(s, "kicked");
		if (c != NULL)
			xmpp_c2s_end(c, "policy-violation", "Ended by the administrator");
	}
	if (n > 0)
		td_buf_addf(&g->part[w->index], "%u", n);
}

static void
kick_end(struct gather *g)
{
	for (unsigned i = 0; i < g->r->gw->n_workers; i++)
		if (g->part[i].len > 0) {
			td_buf_addf(&g->r->out,
				    g->r->json ? "{\"ended\":%s}\n" : "%s sessions ended\n",
				    td_buf_cstr(&g->part[i]));
			ctl_done(g->r, 0);
			return;
		}
	ctl_fail(g->r, "%s has no session", g->r->argv[0]);
}

static void
cmd_session_kick(struct ctl_request *r)
{
	struct xmpp_jid j;

	if (xmpp_jid_parse(r->a, arg(r, 0), &j, NULL) < 0 || j.local.p == NULL)
		ctl_fail(r, "'%s' is not an address", r->argv[0]);
	else
		gather(r, kick_sessions, kick_end, &j);
}

static void
cmd_s2s_list(struct ctl_request *r)
{
	/* server streams are not served yet: there are none */
	add_json_list(r, NULL, 0);
	ctl_done(r, 0);
}

/* ---- milter, scripts, outbox ---- */

static void
add_milter(void *arg_, const struct milt_session_info *i)
{
	struct ctl_request *r = arg_;

	if (!r->json) {
		td_buf_addf(&r->out, "%s\t%s\t%s\t%s\t%u\n", i->id, i->peer, i->phase, i->qid,
			    i->mails);
		return;
	}
	td_buf_addz(&r->out, r->out.len > 1 ? ",{\"id\":" : "{\"id\":");
	td_buf_add_json(&r->out, td_cstr(i->id));
	td_buf_addz(&r->out, ",\"peer\":");
	td_buf_add_json(&r->out, td_cstr(i->peer));
	td_buf_addz(&r->out, ",\"queue_id\":");
	td_buf_add_json(&r->out, td_cstr(i->qid));
	td_buf_addf(&r->out, ",\"phase\":\"%s\",\"mails\":%u}", i->phase, i->mails);
}

static void
cmd_milter_list(struct ctl_request *r)
{
	if (r->json)
		td_buf_addc(&r->out, '[');
	(void)milt_session_each(add_milter, r);
	if (r->json)
		td_buf_addz(&r->out, "]\n");
	ctl_done(r, 0);
}

static void
add_script(void *arg_, const struct gw_script_info *i)
{
	struct ctl_request *r = arg_;

	if (r->json) {
		td_buf_addz(&r->out, r->out.len > 1 ? ",{\"name\":" : "{\"name\":");
		td_buf_add_json(&r->out, td_cstr(i->name));
		td_buf_addz(&r->out, ",\"source\":");
		td_buf_add_json(&r->out, td_cstr(i->source));
		td_buf_addf(&r->out, ",\"runs\":%llu,\"faults\":%llu,\"overruns\":%llu}",
			    (unsigned long long)i->runs, (unsigned long long)i->faults,
			    (unsigned long long)i->overruns);
	} else {
		td_buf_addf(&r->out, "%s\t%s\t%llu runs\t%llu faults\t%llu overruns\n", i->name,
			    i->source, (unsigned long long)i->runs, (unsigned long long)i->faults,
			    (unsigned long long)i->overruns);
	}
}

static void
cmd_script_list(struct ctl_request *r)
{
	if (r->json)
		td_buf_addc(&r->out, '[');
	gw_scripts_each(r->gw, add_script, r);
	if (r->json)
		td_buf_addz(&r->out, "]\n");
	ctl_done(r, 0);
}

static void
on_outbox(void *arg_, const struct store_result *res, const struct store_mail *m, size_t n)
{
	struct ctl_request *r = arg_;
	char at[32];

	if (res->rc < 0) {
		ctl_fail(r, "the store failed: %s", res->error);
		return;
	}
	if (r->json)
		td_buf_addc(&r->out, '[');
	for (size_t i = 0; i < n; i++) {
		td_stamp(m[i].next_try, at);
		if (!r->json) {
			td_buf_addf(&r->out, "%llu\t%.*s\t%.*s\ttries=%u\tnext=%s\t%.*s\n",
				    (unsigned long long)m[i].id, TD_STR_ARG(m[i].from),
				    TD_STR_ARG(m[i].to), m[i].tries, at,
				    TD_STR_ARG(m[i].last_error));
			continue;
		}
		td_buf_addf(&r->out, "%s{\"id\":%llu,\"from\":", i > 0 ? "," : "",
			    (unsigned long long)m[i].id);
		td_buf_add_json(&r->out, m[i].from);
		td_buf_addz(&r->out, ",\"to\":");
		td_buf_add_json(&r->out, m[i].to);
		td_buf_addf(&r->out,
			    ",\"tries\":%u,\"next_try\":\"%s\",\"last_error\":", m[i].tries, at);
		td_buf_add_json(&r->out, m[i].last_error);
		td_buf_addc(&r->out, '}');
	}
	if (r->json)
		td_buf_addz(&r->out, "]\n");
	ctl_done(r, 0);
}

static void
cmd_outbox_list(struct ctl_request *r)
{
	store_outbox_list(r->gw->store, r->gw->main_loop, on_outbox, r);
}

static bool
id_arg(struct ctl_request *r, uint64_t *id)
{
	int64_t v;

	if (!td_str_to_i64(arg(r, 0), 1, INT64_MAX, &v)) {
		ctl_fail(r, "'%s' is not an outbox number", r->argv[0]);
		return false;
	}
	*id = (uint64_t)v;
	return true;
}

static void
on_outbox_change(void *arg_, const struct store_result *res)
{
	struct ctl_request *r = arg_;

	if (res->rc < 0) {
		ctl_fail(r,
			 res->rc == TD_E_NOTFOUND ? "there is no mail %s"
						  : "the store failed (mail %s)",
			 r->argv[0]);
		return;
	}
	gw_outbox_kick(r->gw);
	ctl_done(r, 0);
}

struct retry_all {
	struct ctl_request *r;
	uint64_t *ids;
	size_t n, i;
};

static void next_retry(struct retry_all *a);

static void
on_retried(void *arg_, const struct store_result *res)
{
	(void)res; /* gone meanwhile: it was sent */
	next_retry(arg_);
}

static void
next_retry(struct retry_all *a)
{
	if (a->i < a->n) {
		store_outbox_retry(a->r->gw->store, a->ids[a->i++], td_wall_ms(),
				   TD_STR("retry asked for"),
				   (struct store_to){ a->r->gw->main_loop, on_retried, a });
		return;
	}
	gw_outbox_kick(a->r->gw);
	ctl_done(a->r, 0);
}

static void
on_retry_list(void *arg_, const struct store_result *res, const struct store_mail *m, size_t n)
{
	struct ctl_request *r = arg_;
	struct retry_all *a;

	if (res->rc < 0) {
		ctl_fail(r, "the store failed: %s", res->error);
		return;
	}
	a = td_arena_zalloc(r->a, sizeof(*a));
	a->r = r;
	a->n = n;
	a->ids = td_arena_alloc(r->a, (n > 0 ? n : 1) * sizeof(*a->ids));
	for (size_t i = 0; i < n; i++)
		a->ids[i] = m[i].id;
	next_retry(a);
}

static void
cmd_outbox_retry(struct ctl_request *r)
{
	uint64_t id;

	if (r->argc == 0)
		store_outbox_list(r->gw->store, r->gw->main_loop, on_retry_list, r);
	else if (id_arg(r, &id))
		store_outbox_retry(r->gw->store, id, td_wall_ms(), TD_STR("retry asked for"),
				   to_main(r, on_outbox_change));
}

static void
cmd_outbox_drop(struct ctl_request *r)
{
	uint64_t id;

	if (id_arg(r, &id))
		store_outbox_del(r->gw->store, id, to_main(r, on_outbox_change));
}

/* ---- config ---- */

/* Words [0, argc - tail) as "scope name scope name"; "=" is allowed and skipped. */
static struct td_str
path_of(struct ctl_request *r, size_t tail)
{
	struct td_buf b = { 0 };
	struct td_str out;

	for (size_t i = 0; i + tail < r->argc; i++) {
		bool quote = strpbrk(r->argv[i], " \t#\"'") != NULL;

		td_buf_addf(&b, "%s%s%s%s", i > 0 ? " " : "", quote ? "\"" : "", r->argv[i],
			    quote ? "\"" : "");
	}
	out = td_arena_str(r->a, td_str(b.p != NULL ? b.p : "", b.len));
	td_buf_fini(&b);
	return out;
}

static void
config_answer(struct ctl_request *r, int rc, const struct td_err *err)
{
	if (rc < 0) {
		ctl_fail(r, "%s", err->text);
		return;
	}
	if (r->out.len > 0 && r->out.p[r->out.len - 1] != '\n')
		td_buf_addc(&r->out, '\n');
	if (r->json) { /* the text as one string */
		struct td_buf text = r->out;

		r->out = (struct td_buf){ 0 };
		td_buf_add_json(&r->out, td_buf_str(&text));
		td_buf_addc(&r->out, '\n');
		td_buf_fini(&text);
	}
	ctl_done(r, 0);
}

static void
config_ask(struct ctl_request *r, bool eval)
{
	struct conf *c = gw_conf_get(r->gw);
	struct td_err err = { 0 };
	struct td_str option = arg(r, r->argc - 1);
	int rc = eval ? conf_cmd_eval(c, path_of(r, 1), option, &r->out, &err)
		      : conf_cmd_get(c, path_of(r, 1), option, &r->out, &err);

	conf_unref(&c);
	config_answer(r, rc, &err);
}

static void
cmd_config_get(struct ctl_request *r)
{
	config_ask(r, false);
}

static void
cmd_config_eval(struct ctl_request *r)
{
	config_ask(r, true);
}

static void
config_show(struct ctl_request *r, bool recurse)
{
	struct conf *c = gw_conf_get(r->gw);
	struct td_err err = { 0 };
	int rc = conf_cmd_show(c, path_of(r, 0), recurse, &r->out, &err);

	conf_unref(&c);
	config_answer(r, rc, &err);
}

static void
cmd_config_show(struct ctl_request *r)
{
	config_show(r, false);
}

static void
cmd_config_showrecurse(struct ctl_request *r)
{
	config_show(r, true);
}

static void
cmd_config_locate(struct ctl_request *r)
{
	struct conf *c = gw_conf_get(r->gw);
	struct td_err err = { 0 };
	int rc = conf_cmd_locate(c, arg(r, 0), arg(r, 1), &r->out, &err);

	conf_unref(&c);
	config_answer(r, rc, &err);
}

static void
report_failed(struct ctl_request *r, struct conf_report *rep)
{
	td_buf_clear(&r->out);
	td_buf_addz(&r->out, "Reconfigure failed, the running configuration stays:\n");
	td_buf_adds(&r->out, td_buf_str(&rep->text));
	conf_report_fini(rep);
	ctl_done(r, 1);
}

static void
config_change(struct ctl_request *r, struct td_str path, struct td_str option,
	      const struct td_str *value)
{
	struct conf *base = gw_conf_get(r->gw), *next = NULL;
	struct conf_report rep = { 0 };
	int rc = conf_with(base, path, option, value, &next, &rep);

	conf_unref(&base);
	if (rc == 0)
		rc = gw_switch_conf(r->gw, next, &rep);
	conf_unref(&next);
	if (rc < 0) {
		report_failed(r, &rep);
		return;
	}
	if (value != NULL)
		td_buf_addf(&r->out, "%.*s = %.*s\n", TD_STR_ARG(option), TD_STR_ARG(*value));
	conf_report_fini(&rep);
	ctl_done(r, 0);
}

static void
cmd_config_set(struct ctl_request *r)
{
	struct td_str value;
	size_t n = 0;

	/* "option = value" pasted from a file */
	for (size_t i = 0; i < r->argc; i++)
		if (strcmp(r->argv[i], "=") != 0)
			((const char **)(uintptr_t)r->argv)[n++] = r->argv[i];
	r->argc = n;
	if (n < 2) {
		ctl_fail(r, "config set needs an option and a value");
		return;
	}
	value = arg(r, n - 1);
	config_change(r, path_of(r, 2), arg(r, n - 2), &value);
}

static void
cmd_config_unset(struct ctl_request *r)
{
	config_change(r, path_of(r, 1), arg(r, r->argc - 1), NULL);
}

static void
cmd_config_reload(struct ctl_request *r)
{
	struct conf_report rep = { 0 };

	if (gw_reload(r->gw, &rep) < 0) {
		report_failed(r, &rep);
		return;
	}
	td_buf_adds(&r->out, td_buf_str(&rep.text));
	conf_report_fini(&rep);
	ctl_done(r, 0);
}

/* ---- messages to users (XEP-0133) ---- */

/* The prepared name of a domain hosted here; else answers and returns false. */
static bool
hosted_arg(struct ctl_request *r, size_t i, struct td_str *out)
{
	struct xmpp_jid j;
	struct gw_domain dom;
	struct conf *c = gw_conf_get(r->gw);
	struct gw_domains *d = gw_domains_build(c);
	bool hosted = xmpp_jid_parse(r->a, arg(r, i), &j, NULL) == 0 &&
		      td_str_eq(j.full, j.domain) && gw_domains_find(d, j.domain, &dom) &&
		      dom.kind == XD_LOCAL;

	gw_domains_unref(&d);
	conf_unref(&c);
	if (!hosted)
		ctl_fail(r, "%s is not hosted here: no domain stanza with XMPP_Role = \"server\"",
			 r->argv[i]);
	*out = hosted ? j.domain : TD_STR_NULL;
	return hosted;
}

/* What came on standard input; else answers and returns false. */
static bool
text_input(struct ctl_request *r, struct td_str *out)
{
	*out = td_str_trim(r->input);
	if (out->len == 0 || out->len > XMPP_ADMIN_TEXT_MAX || !td_utf8_valid(*out)) {
		ctl_fail(r, "the text is read from standard input: UTF-8, at most %u bytes",
			 XMPP_ADMIN_TEXT_MAX);
		return false;
	}
	*out = td_arena_str(r->a, *out);
	return true;
}

static void
announce_here(struct gw_worker *w, void *arg_)
{
	struct errand *e = arg_;

	xmpp_announce(w->env, e->name, e->text);
	errand_done(e, 0);
}

static void
cmd_announce(struct ctl_request *r)
{
	struct errand e = { 0 };

	if ((r->argc == 0 || hosted_arg(r, 0, &e.name)) && text_input(r, &e.text))
		errand(r, r->gw->workers[0], announce_here, &e);
}

static void
motd_set_here(struct gw_worker *w, void *arg_)
{
	struct errand *e = arg_;

	xmpp_domain_set_text(w->env, e->name, STORE_TEXT_MOTD, e->text, true, errand_done, e);
}

static void
motd_get_here(struct gw_worker *w, void *arg_)
{
	struct errand *e = arg_;
	struct td_str text = xmpp_domain_text(w->env, e->name, STORE_TEXT_MOTD);

	if (e->flag)
		td_buf_add_json(&e->out, text.p != NULL ? text : TD_STR(""));
	else
		td_buf_adds(&e->out, text);
	if (e->flag || text.len > 0)
		td_buf_addc(&e->out, '\n');
	errand_done(e, 0);
}

static void
cmd_motd_show(struct ctl_request *r)
{
	struct errand e = { .flag = r->json };

	if (hosted_arg(r, 0, &e.name))
		errand(r, r->gw->workers[0], motd_get_here, &e);
}

static void
cmd_motd_set(struct ctl_request *r)
{
	struct errand e = { 0 };

	if (hosted_arg(r, 0, &e.name) && text_input(r, &e.text))
		errand(r, r->gw->workers[0], motd_set_here, &e);
}

static void
cmd_motd_delete(struct ctl_request *r)
{
	struct errand e = { 0 };

	if (hosted_arg(r, 0, &e.name))
		errand(r, r->gw->workers[0], motd_set_here, &e);
}

/* ---- the rest ---- */

static void
cmd_log_reopen(struct ctl_request *r)
{
	struct td_err err;

	if (gw_reopen_logs(r->gw, &err) < 0)
		ctl_fail(r, "%s", err.text);
	else
		ctl_done(r, 0);
}

static void
cmd_log_level(struct ctl_request *r)
{
	enum td_loglevel l = td_log_level_from_name(r->argv[0]);

	if (l == TD_LOG_COUNT) {
		ctl_fail(r, "'%s' is no level: error, warn, notice, info, debug", r->argv[0]);
		return;
	}
	td_log_set_level(r->argc > 1 ? r->argv[1] : NULL, l);
	ctl_done(r, 0);
}

static void
stats_here(struct gw_worker *w, struct gather *g)
{
	g->stats[w->index] = w->env->stats;
}

static void
add_number(struct ctl_request *r, const char *name, uint64_t v)
{
	if (r->json)
		td_buf_addf(&r->out, "%s\"%s\":%llu", r->out.len > 1 ? "," : "", name,
			    (unsigned long long)v);
	else
		td_buf_addf(&r->out, "%-24s %llu\n", name, (unsigned long long)v);
}

static void
summary_end(struct gather *g)
{
	struct ctl_request *r = g->r;
	struct xmpp_stats t = { 0 };
	struct store_stats st;

	for (unsigned i = 0; i < r->gw->n_workers; i++)
		xmpp_stats_add(&t, &g->stats[i]);
	store_get_stats(r->gw->store, &st);
	if (r->json)
		td_buf_addc(&r->out, '{');
	add_number(r, "uptime_seconds", (td_wall_ms() - r->gw->started_ms) / 1000);
	add_number(r, "workers", r->gw->n_workers);
	add_number(r, "streams", t.streams);
	add_number(r, "sessions", t.sessions);
	add_number(r, "sessions_hibernated", t.hibernated);
	add_number(r, "accounts_online", gw_directory_count(r->gw->directory));
	add_number(r, "logins", t.logins);
	add_number(r, "auth_failures", t.auth_failures);
	add_number(r, "messages_in", t.messages_in);
	add_number(r, "presences_in", t.presences_in);
	add_number(r, "iqs_in", t.iqs_in);
	add_number(r, "stanzas_delivered", t.delivered);
	add_number(r, "messages_stored", t.stored);
	add_number(r, "errors_sent", t.errors);
	for (unsigned k = 0; k < MK_COUNT; k++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "milter_%s",
			       milt_counter_name((enum milt_counter)k));
		for (char *c = name; *c != '\0'; c++)
			if (*c == '-')
				*c = '_';
		add_number(r, name, milt_counter_get((enum milt_counter)k));
	}
	add_number(r, "store_writes", st.writes);
	add_number(r, "store_commits", st.commits);
	add_number(r, "store_reads", st.reads);
	add_number(r, "store_errors", st.errors);
	add_number(r, "store_queue", st.queue);
	if (r->json)
		td_buf_addz(&r->out, "}\n");
	ctl_done(r, 0);
}

static void
cmd_summary(struct ctl_request *r)
{
	gather(r, stats_here, summary_end, NULL);
}

static void
cmd_version(struct ctl_request *r)
{
	td_buf_addz(&r->out, r->json ? "{\"version\":\"" TANDEM_VERSION "\"}\n"
				     : "tandem " TANDEM_VERSION "\n");
	ctl_done(r, 0);
}

static void
cmd_shutdown(struct ctl_request *r)
{
	struct gw *gw = r->gw;

	ctl_done(r, 0);
	gw_shutdown(gw, "control");
}

// clang-format off
static const struct command {
	const char *words[2];
	size_t min, max;
	void (*run)(struct ctl_request *);
} commands[] = {
	{ { "account", "add" },       1, 1, cmd_account_add },
	{ { "account", "password" },  1, 1, cmd_account_password },
	{ { "account", "delete" },    1, 1, cmd_account_delete },
	{ { "account", "disable" },   1, 1, cmd_account_disable },
	{ { "account", "enable" },    1, 1, cmd_account_enable },
	{ { "account", "list" },      0, 1, cmd_account_list },
	{ { "account", "load" },      0, 0, ctl_account_load },
	{ { "account", "export" },    0, 1, cmd_account_export },
	{ { "account", "dump" },      2, 63, ctl_account_dump },
	{ { "roster", "export" },     1, 1, cmd_roster_export },
	{ { "roster", "import" },     1, 1, cmd_roster_import },
	{ { "session", "list" },      0, 1, cmd_session_list },
	{ { "session", "kick" },      1, 1, cmd_session_kick },
	{ { "s2s", "list" },          0, 0, cmd_s2s_list },
	{ { "s2s", "test" },          1, 1, ctl_s2s_test },
	{ { "milter", "list" },       0, 0, cmd_milter_list },
	{ { "script", "list" },       0, 0, cmd_script_list },
	{ { "outbox", "list" },       0, 0, cmd_outbox_list },
	{ { "outbox", "retry" },      0, 1, cmd_outbox_retry },
	{ { "outbox", "drop" },       1, 1, cmd_outbox_drop },
	{ { "config", "get" },        1, 16, cmd_config_get },
	{ { "config", "eval" },       1, 16, cmd_config_eval },
	{ { "config", "set" },        2, 16, cmd_config_set },
	{ { "config", "unset" },      1, 16, cmd_config_unset },
	{ { "config", "show" },       0, 16, cmd_config_show },
	{ { "config", "showrecurse" }, 0, 16, cmd_config_showrecurse },
	{ { "config", "locate" },     1, 2, cmd_config_locate },
	{ { "config", "reload" },     0, 0, cmd_config_reload },
	{ { "log", "reopen" },        0, 0, cmd_log_reopen },
	{ { "log", "level" },         1, 2, cmd_log_level },
	{ { "announce", NULL },       0, 1, cmd_announce },
	{ { "motd", "show" },         1, 1, cmd_motd_show },
	{ { "motd", "set" },          1, 1, cmd_motd_set },
	{ { "motd", "delete" },       1, 1, cmd_motd_delete },
	{ { "summary", NULL },        0, 0, cmd_summary },
	{ { "version", NULL },        0, 0, cmd_version },
	{ { "shutdown", NULL },       0, 0, cmd_shutdown },
};
// clang-format on

static void
usage(struct ctl_request *r, const char *fmt, const char *a, const char *b)
{
	td_buf_addf(&r->out, "%s: %s%s%s; see tandemctl --help\n", fmt, a, b != NULL ? " " : "",
		    b != NULL ? b : "");
	ctl_done(r, 2);
}

void
ctl_run(struct ctl_request *r, const char *const *args, size_t n)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *c = &commands[i];
		size_t words = c->words[1] != NULL ? 2 : 1;

		if (n < words || strcmp(args[0], c->words[0]) != 0 ||
		    (words == 2 && strcmp(args[1], c->words[1]) != 0))
			continue;
		if (n - words < c->min || n - words > c->max) {
			usage(r,
			      n - words < c->min ? "an argument is missing" : "too many arguments",
			      args[0], c->words[1]);
			return;
		}
		{
			const char **argv = td_arena_alloc(r->a, (n + 1) * sizeof(*argv));

			memcpy(argv, args + words, (n - words) * sizeof(*argv));
			r->argv = argv;
			r->argc = n - words;
		}
		c->run(r);
		return;
	}
	usage(r, "unknown command", n > 0 ? args[0] : "(none)", n > 1 ? args[1] : NULL);
}
