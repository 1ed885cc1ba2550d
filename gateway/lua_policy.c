/* lua_policy - the milter's policy, decided by scripts.
 *
 * Per phase: borrow a state, call the modules that have the phase's callouts, in order, give
 * the state back.  Callouts that want a chat sent only collect it; commit makes it durable
 * when the message's fate is known.  A script with lua_error_action = accept that fails is
 * passed over; any other failure is the phase's fault (milter.h). */
#include <stdlib.h>
#include <time.h>

#include "gateway/base/arena.h"
#include "gateway/lua_priv.h"
#include "milter/milt_io.h"

#define SLICE_MS 1000 /* of a tarpit: the MTA hears from us in between */

static const struct td_logctx plog = { .domain = "lua" };

/* Callouts of a phase, in order. */
static const struct {
	enum gwl_hook hooks[8];
	int n;
} phases[MP_COUNT] = {
	[MP_CONNECT] = { { GH_CONNECT }, 1 },
	[MP_HELO] = { { GH_EHLO }, 1 },
	[MP_MAIL] = { { GH_AUTH, GH_AUTH_HOOK, GH_MAILFROM }, 3 },
	[MP_RCPT] = { { GH_RCPTTO }, 1 },
	[MP_DATA] = { { GH_RCPT_LIST, GH_RCPT_LIST_FINAL }, 2 },
	[MP_EOM] = { { GH_DATA, GH_SPOOL, GH_EACH_RCPT, GH_SET_BINDING, GH_FINAL, GH_FINAL2,
		       GH_POST_FINAL },
		     7 },
};
/* Called for every recipient at GH_EACH_RCPT's turn. */
static const enum gwl_hook per_rcpt[] = { GH_EACH_RCPT, GH_CORE_EACH_RCPT, GH_POST_EACH_RCPT };
#define EACH_BITS ((1u << GH_EACH_RCPT) | (1u << GH_CORE_EACH_RCPT) | (1u << GH_POST_EACH_RCPT))
#define EOM_BITS                                                                   \
	(EACH_BITS | (1u << GH_DATA) | (1u << GH_SPOOL) | (1u << GH_SET_BINDING) | \
	 (1u << GH_FINAL) | (1u << GH_FINAL2) | (1u << GH_POST_FINAL))
#define ENQUEUE_BITS ((1u << GH_ENQUEUE) | (1u << GH_ROUTING_DOMAIN))

/* ---- what hangs on connection, mail, recipient ---- */

static struct gwl_mail *
mail_of(struct gw_scripts *all, struct milt_mail *m)
{
	struct gwl_mail *gm = m->user;

	if (gm != NULL)
		return gm;
	gm = td_zalloc(sizeof(*gm));
	gm->set = gwl_current(all);
	gm->chats_end = &gm->chats;
	m->user = gm;
	return gm;
}

static void
need_conn(struct milt_conn *c)
{
	if (c->user == NULL)
		c->user = td_zalloc(sizeof(struct gwl_conn));
}

static void
need_rcpt(struct milt_mail *m, struct milt_rcpt *r)
{
	if (r != NULL && r->user == NULL)
		r->user = td_arena_zalloc(m->arena, sizeof(struct gwl_rcpt));
}

/* Drop the chats from *at on. */
static void
drop_chats(struct gwl_mail *gm, struct gwl_chat **at)
{
	struct gwl_chat *c, *next;

	for (c = *at; c != NULL; c = next) {
		next = c->next;
		xmpp_stanza_unref(&c->s);
		free(c);
		gm->n_chats--;
	}
	*at = NULL;
	gm->chats_end = at;
}

/* ---- running callouts ---- */

struct phase_run {
	struct gwl_state *st;
	struct gwl_set *set;
	struct gwl_mail *gm;  /* NULL before MAIL */
	struct gwl_call call; /* the pattern of each call */
	unsigned tarpit_ms;
	int result; /* what the callout that ended the phase returned */
	unsigned routed, refused;
};

/* Call <hook> of each module that has it, till one says other than go on, or refuses.
 * 0, or the fault of a script that must not fail. */
static int
run_hook(struct phase_run *pr, enum gwl_hook hook, struct milt_rcpt *r, struct td_err *err)
{
	struct gwl_conn *gc = pr->call.conn->user;

	pr->result = 0;
	for (size_t i = 0; i < pr->st->n_modules && pr->result == 0; i++) {
		struct gwl_module *m = &pr->st->modules[i];
		struct gwl_chat **before = pr->gm != NULL ? pr->gm->chats_end : NULL;
		struct gwl_call call = pr->call;
		int rc;

		if ((m->hooks & (1u << hook)) == 0)
			continue;
		need_rcpt(pr->call.mail, r);
		call.hook = hook;
		call.rcpt = r;
		gc->ran |= i < 64 ? UINT64_C(1) << i : 0;
		rc = gwl_invoke(pr->st, m, &call, err);
		pr->tarpit_ms += call.tarpit_ms;
		if (rc < 0) {
			/* what it had begun is not done by half */
			if (before != NULL)
				drop_chats(pr->gm, before);
			if (!pr->set->scripts[m->script].accept)
				return rc;
			continue;
		}
		pr->routed += call.routed;
		pr->refused += call.refused;
		pr->result = call.result;
		if (call.conn->reply.code != 0)
			break;
	}
	return 0;
}

static int
begin(struct phase_run *pr, struct gw_scripts *all, struct milt_conn *c, struct milt_mail *m,
      const union milt_args *args, struct td_err *err)
{
	*pr = (struct phase_run){ .call = { .conn = c, .mail = m, .args = args } };
	need_conn(c);
	if (m != NULL) {
		pr->gm = mail_of(all, m);
		pr->set = gwl_set_ref(pr->gm->set);
	} else {
		pr->set = gwl_current(all);
	}
	pr->st = gwl_state_get(pr->set, err);
	if (pr->st != NULL)
		return 0;
	gwl_set_unref(&pr->set);
	return td_wrap(err, "Lua state");
}

static void
end(struct phase_run *pr)
{
	unsigned ms = pr->tarpit_ms;

	gwl_state_put(pr->st);
	gwl_set_unref(&pr->set);
	while (ms > 0) {
		unsigned slice = ms < SLICE_MS ? ms : SLICE_MS;
		struct timespec ts = { slice / 1000, (long)(slice % 1000) * 1000000 };

		(void)nanosleep(&ts, NULL);
		milt_conn_progress(pr->call.conn);
		ms -= slice;
	}
}

static int
run_each_rcpt(struct phase_run *pr, struct td_err *err)
{
	struct milt_rcpt *r;
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < sizeof(per_rcpt) / sizeof(*per_rcpt); k++) {
		size_t i = 0;

		if ((pr->set->hooks & (1u << per_rcpt[k])) == 0)
			continue;
		while (rc == 0 && pr->call.conn->reply.code == 0 &&
		       (r = milt_mail_rcpt(pr->call.mail, &i)) != NULL)
			rc = run_hook(pr, per_rcpt[k], r, err);
	}
	return rc;
}

/* core_final_validation2: 0 go on, 1 reject, 2 tempfail. */
static void
apply_final(struct phase_run *pr)
{
	struct milt_conn *c = pr->call.conn;

	if (pr->result == 0 || c->reply.code != 0)
		return;
	if (pr->result == 1)
		(void)milt_conn_set_reply(c, 550, TD_STR("5.7.1 Refused by a rule"));
	else
		(void)milt_conn_set_reply(c, 451, TD_STR("4.7.1 Try again later"));
}

static int
run_phase(struct phase_run *pr, enum milt_phase phase, struct milt_rcpt *r, struct td_err *err)
{
	struct milt_conn *c = pr->call.conn;
	int rc = 0;

	for (int k = 0; rc == 0 && k < phases[phase].n && c->reply.code == 0; k++) {
		enum gwl_hook h = phases[phase].hooks[k];

		if ((h == GH_AUTH || h == GH_AUTH_HOOK) &&
		    milt_mail_macro(pr->call.mail, MM_AUTH_AUTHEN).len == 0)
			continue;
		if (h == GH_EACH_RCPT)
			rc = run_each_rcpt(pr, err);
		else if (pr->set->hooks & (1u << h))
			rc = run_hook(pr, h, r, err);
		if (rc == 0 && h == GH_FINAL2)
			apply_final(pr);
	}
	return rc;
}

static int
on_phase(struct gw_scripts *all, enum milt_phase phase, struct milt_conn *c, struct milt_mail *m,
	 struct milt_rcpt *r, const union milt_args *args, struct td_err *err)
{
	struct phase_run pr;
	int rc = begin(&pr, all, c, m, args, err);

	if (rc < 0)
		return rc;
	rc = run_phase(&pr, phase, r, err);
	end(&pr);
	return rc;
}

#define PHASE(name, which)                                                                        \
	static int name(void *arg, struct milt_conn *c, struct milt_mail *m, struct milt_rcpt *r, \
			const union milt_args *args, enum milt_verdict *v, struct td_err *err)    \
	{                                                                                         \
		(void)v; /* the reply's code decides */                                           \
		return on_phase(arg, which, c, m, r, args, err);                                  \
	}
PHASE(on_connect, MP_CONNECT)
PHASE(on_helo, MP_HELO)
PHASE(on_mail, MP_MAIL)
PHASE(on_rcpt, MP_RCPT)
PHASE(on_data, MP_DATA)
PHASE(on_eom, MP_EOM)

/* ---- recipients ---- */

/* A recipient that gets the mail itself as chat needs no notice of it as well. */
static void
drop_notices(struct gwl_mail *gm, const struct milt_rcpt *r, struct gwl_chat **from, bool taken)
{
	struct gwl_chat **at, *c;

	for (c = *from; c != NULL && !taken; c = c->next)
		taken = c->rcpt == r && !c->notice;
	for (at = from; taken && (c = *at) != NULL;) {
		if (!c->notice) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		xmpp_stanza_unref(&c->s);
		free(c);
		gm->n_chats--;
	}
	while (*at != NULL)
		at = &(*at)->next;
	gm->chats_end = at;
}

/* What the enqueue callouts said, as the recipient's fate. */
static int
decide(struct phase_run *pr, struct milt_rcpt *r, size_t before, struct td_err *err)
{
	struct milt_conn *c = pr->call.conn;

	switch (pr->result) {
	case 0:
		if (c->reply.code != 0)
			r->fate = MF_REFUSE;
		else if (pr->gm->n_chats > before)
			r->fate = MF_BOTH;
		return 0;
	case 1:
		/* it says it has delivered, but what it routed was refused: keep the mail */
		if (pr->refused > 0 && pr->routed == 0)
			return td_fail(err, TD_E_SCRIPT,
				       "a script took the recipient, but its stanza was refused");
		r->fate = MF_CHAT;
		return 0;
	default:
		if (c->reply.code == 0)
			(void)milt_conn_set_reply(c, 451, TD_STR("4.7.1 Try again later"));
		r->fate = MF_REFUSE;
		return 0;
	}
}

static int
on_enqueue(void *arg, struct milt_mail *m, struct milt_rcpt *r, struct td_err *err)
{
	struct gw_scripts *all = arg;
	struct gwl_mail *gm = mail_of(all, m);
	struct phase_run pr;
	size_t before = gm->n_chats;
	struct gwl_chat **first = gm->chats_end;
	int rc;

	if ((gm->set->hooks & ENQUEUE_BITS) == 0)
		return 0;
	rc = begin(&pr, all, m->conn, m, NULL, err);
	if (rc < 0)
		return rc;
	if (gm->set->hooks & (1u << GH_ROUTING_DOMAIN))
		rc = run_hook(&pr, GH_ROUTING_DOMAIN, r, err);
	pr.routed = pr.refused = 0;
	if (rc == 0)
		rc = run_hook(&pr, GH_ENQUEUE, r, err);
	if (rc == 0)
		drop_notices(gm, r, first, pr.result == 1);
	if (rc == 0)
		rc = decide(&pr, r, before, err);
	if (rc < 0)
		drop_chats(gm, first);
	end(&pr);
	return rc;
}

/* ---- the commit ---- */

/* The chat's thread, for the table of threads. */
static struct td_str
thread_of(struct td_arena *a, const struct xmpp_stanza *s)
{
	struct xmpp_node *n = xmpp_node_child(s->root, NULL, "thread");

	return n != NULL ? xmpp_node_text(a, n) : TD_STR_NULL;
}

static struct td_str
message_id(struct td_arena *a, const struct milt_mail *m)
{
	const struct milt_header *h;
	struct td_str *ids;
	size_t i = 0;

	h = milt_mail_header(m, TD_STR("Message-ID"), &i);
	return h != NULL && milt_mime_ids(a, h->value, &ids) > 0 ? ids[0] : TD_STR_NULL;
}

/* The address an answer goes to: From of the mail, else the envelope sender. */
static struct td_str
peer_of(struct td_arena *a, const struct milt_mail *m, const struct gwl_mail *gm)
{
	const struct milt_header *h;
	struct td_str *list;
	size_t i = 0;

	if (gm->view != NULL && gm->view->from.addr.len > 0)
		return gm->view->from.addr;

	h = milt_mail_header(m, TD_STR("From"), &i);
	if (h != NULL && milt_mime_addresses(a, h->value, MAP_ADDRESS, &list) > 0 &&
	    list[0].len > 0)
		return list[0];
	return m->from.full.len > 0 ? m->from.full : TD_STR_NULL;
}

/* Repeats are told by (Message-ID, recipient).  A second stanza of one mail to the same person
 * is no repeat of the first: it gets a number. */
static struct td_str
repeat_key(struct td_arena *a, struct td_str id, const struct gwl_mail *gm,
	   const struct gwl_chat *c)
{
	unsigned n = 0;

	if (id.p == NULL)
		return id;
	for (const struct gwl_chat *k = gm->chats; k != c; k = k->next)
		n += k->local && td_str_eq(k->s->to.bare, c->s->to.bare);
	if (n == 0)
		return id;
	return td_cstr(td_arena_printf(a, "%.*s#%u", TD_STR_ARG(id), n));
}

static bool
is_promise(const struct gwl_chat *c)
{
	return c->rcpt != NULL && c->rcpt->fate == MF_CHAT;
}

/* The local chats that are promises (their recipient leaves the mail), or those that are not,
 * in one transaction. */
static int
commit_some(struct gw *gw, struct milt_mail *m, struct gwl_mail *gm, bool promises,
	    struct td_err *err)
{
	struct td_arena *a = td_arena_new(0);
	struct gw_chat *chats = td_zalloc((gm->n_chats + 1) * sizeof(*chats));
	struct td_str id = message_id(a, m), peer = peer_of(a, m, gm);
	size_t n = 0;
	int rc = 0;

	for (struct gwl_chat *c = gm->chats; c != NULL; c = c->next) {
		if (!c->local || is_promise(c) != promises)
			continue;
		chats[n++] = (struct gw_chat){ .s = c->s,
					       .mail_id = repeat_key(a, id, gm, c),
					       .thread = thread_of(a, c->s),
					       .peer = peer };
	}
	if (n > 0)
		rc = gw_bridge_mail_to_chat(gw, chats, n, err);
	free(chats);
	td_arena_free(a);
	return rc;
}

static int
on_commit(void *arg, struct milt_mail *m, struct td_err *err)
{
	struct gw_scripts *all = arg;
	struct gwl_mail *gm = m->user;
	struct td_err notice = { 0 };
	int rc;

	if (gm == NULL || gm->chats == NULL)
		return 0;
	rc = commit_some(all->gw, m, gm, true, err);
	if (rc < 0)
		return rc;
	gm->committed = true;
	/* notices never hold a mail up: it goes on without them */
	rc = commit_some(all->gw, m, gm, false, &notice);
	if (rc == TD_E_TIMEOUT) /* it comes when the store is through with it */
		td_log_notice(&plog, "notice-late", "mid=%s text=%s", m->id, td_escz(notice.text));
	else if (rc < 0)
		td_log_warn(&plog, "notice-lost", "mid=%s text=%s, ignoring", m->id,
			    td_escz(notice.text));
	for (struct gwl_chat *c = gm->chats; c != NULL; c = c->next)
		if (!c->local)
			gw_route(all->gw, xmpp_stanza_ref(c->s));
	return 0;
}

/* ---- ends ---- */

/* A refused mail is no reason to swallow what a script wanted told about it (its own phases,
 * not the enqueue of a recipient). */
static void
route_notices(struct gw *gw, struct gwl_mail *gm)
{
	for (struct gwl_chat *c = gm->chats; c != NULL; c = c->next)
		if (c->rcpt == NULL)
			gw_route(gw, xmpp_stanza_ref(c->s));
}

static void
on_mail_end(void *arg, struct milt_mail *m, enum milt_end how)
{
	struct gw_scripts *all = arg;
	struct gwl_mail *gm = m->user;

	if (gm == NULL)
		return;
	if (!gm->committed && (how == ME_REJECTED || how == ME_DISCARDED || how == ME_HELD))
		route_notices(all->gw, gm);
	drop_chats(gm, &gm->chats);
	td_arena_free(gm->arena);
	free(gm->binding);
	free(gm->binding_group);
	gwl_set_unref(&gm->set);
	free(gm);
	m->user = NULL;
}

/* validate_dealloc of the modules that ran in this session. */
static void
run_dealloc(struct gw_scripts *all, struct milt_conn *c)
{
	struct gwl_conn *gc = c->user;
	struct td_err err = { 0 };
	struct phase_run pr;

	if (gc->ran == 0 || begin(&pr, all, c, NULL, NULL, &err) < 0)
		return;
	for (size_t i = 0; (pr.set->hooks & (1u << GH_DEALLOC)) != 0 && i < pr.st->n_modules; i++) {
		struct gwl_call call = pr.call;

		call.hook = GH_DEALLOC;
		if (i < 64 && (pr.st->modules[i].hooks & (1u << GH_DEALLOC)) != 0 &&
		    (gc->ran & (UINT64_C(1) << i)) != 0)
			(void)gwl_invoke(pr.st, &pr.st->modules[i], &call, &err);
	}
	end(&pr);
}

static void
on_conn_end(void *arg, struct milt_conn *c)
{
	if (c->user == NULL)
		return;
	run_dealloc(arg, c);
	gwl_conn_free(c->user);
	c->user = NULL;
}

/* ---- what the milter_listener says of a client ---- */

/* The one Listen; NULL when there is none. */
static const struct conf_scope *
milter_listen(const struct conf *c)
{
	const struct conf_scope *l = conf_next(c, NULL, "milter_listener", NULL);

	return l != NULL ? conf_next(c, l, "listen", NULL) : NULL;
}

/* Peers are asked about the MTA's client, not about the MTA; mail made on the MTA's own host
 * comes without an address. */
static bool
on_conn_begin(void *arg, struct milt_conn *c, const struct sockaddr *sa)
{
	const struct sockaddr local = { .sa_family = AF_UNIX };
	struct gwl_set *set = gwl_current(arg);
	struct conf_at at = { .scope = milter_listen(set->conf), .peer = sa != NULL ? sa : &local };
	const struct td_str *kv = NULL;
	bool welcome = true;
	size_t n = 0;

	if (at.scope != NULL) {
		kv = conf_pairs(set->conf, &at, "context", &n);
		welcome = !conf_bool(set->conf, &at, "always_deny");
	}
	for (size_t i = 0; i < n; i++)
		(void)milt_dict_set(&c->ctx, kv[2 * i], kv[2 * i + 1]);
	gwl_set_unref(&set);
	return welcome;
}

/* Is there anything to say at all? */
static bool
has_client_rules(const struct conf *c)
{
	static const char *const options[] = { "context", "always_deny" };
	const struct conf_scope *listen = milter_listen(c);

	for (size_t i = 0; i < 2; i++)
		for (const struct conf_scope *s = listen; s != NULL; s = conf_scope_parent(s)) {
			const struct conf_scope *p = NULL;

			do {
				struct conf_at at = { .scope = s, .peer_net = p };

				if (conf_is_set(c, &at, options[i]))
					return true;
			} while ((p = conf_next(c, s, "peer", p)) != NULL);
		}
	return false;
}

/* ---- what is wanted ---- */

static uint32_t
on_wants(void *arg)
{
	struct gwl_set *set = gwl_current(arg);
	uint32_t h = set->hooks, w = has_client_rules(set->conf) ? MW_STEP(MP_CONNECT) : 0;

	for (int p = 0; p < MP_COUNT; p++)
		for (int k = 0; k < phases[p].n; k++)
			if (h & (1u << phases[p].hooks[k]))
				w |= MW_STEP(p);
	if (h & EACH_BITS)
		w |= MW_STEP(MP_EOM);
	/* content is there for every callout at end of message and for enqueue */
	if (h & (EOM_BITS | ENQUEUE_BITS))
		w |= MW_HEADERS | MW_BODY;
	if (h & ENQUEUE_BITS)
		w |= MW_STEP(MP_EOM);
	gwl_set_unref(&set);
	return w;
}

static void
on_limits(void *arg, struct milt_limits *out)
{
	struct gwl_set *set = gwl_current(arg);
	struct conf_at at = { .scope = conf_next(set->conf, NULL, "milter", NULL) };

	out->max_body = (size_t)conf_int(set->conf, &at, "max_body");
	gwl_set_unref(&set);
}

/* Scripts that may fail were passed over already; what comes here asks milter { on_fault }. */
static enum milt_verdict
on_fault(void *arg)
{
	struct gwl_set *set = gwl_current(arg);
	struct conf_at at = { .scope = conf_next(set->conf, NULL, "milter", NULL) };
	bool accept = td_str_ieq(conf_str(set->conf, &at, "on_fault"), TD_STR("accept"));

	gwl_set_unref(&set);
	return accept ? MV_ACCEPT : MV_TEMPFAIL;
}

const struct milt_policy gwl_policy = {
	.wants = on_wants,
	.limits = on_limits,
	.on_fault = on_fault,
	.hook = {
		[MP_CONNECT] = on_connect,
		[MP_HELO] = on_helo,
		[MP_MAIL] = on_mail,
		[MP_RCPT] = on_rcpt,
		[MP_DATA] = on_data,
		[MP_EOM] = on_eom,
	},
	.rcpt_enqueue = on_enqueue,
	.commit = on_commit,
	.mail_end = on_mail_end,
	.conn_begin = on_conn_begin,
	.conn_end = on_conn_end,
};
