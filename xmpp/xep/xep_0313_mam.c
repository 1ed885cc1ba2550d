/* xep_0313_mam - message archives: what is kept, and under which id (XEP-0313, 0359).
 *
 * A message is kept once per archive: in the sender's when it leaves the client, in the
 * recipient's when it arrives.  Its id is made at once and goes out with the message; the rows of
 * one turn are one call of the store, which commits the calls of some milliseconds together.  An
 * acknowledgement to the sender (sm.h) waits for the archive and for nothing slower.
 *
 * Asking is mam_query.c, preferences (XEP-0441) mam_prefs.c. */
#include <stdlib.h>
#include "conf/conf.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/message.h"
#include "xmpp/modules.h"
#include "xmpp/sm.h"
#include "xmpp/xep/mam_priv.h"

/* How long rows may wait for others, to share a commit: when an acknowledgement waits for them, when none does. */
#define HELD_MS 10u
#define LAZY_MS 100u
#define EXPIRE_FIRST_MS 60000u
#define EXPIRE_MS 3600000u
#define EXPIRE_AGAIN_MS 1000u

/* ---- what is kept ---- */

static bool
is_kept(const struct xmpp_stanza *s)
{
	if (s->kind != XK_MESSAGE || s->root->first == NULL ||
	    (s->type != XT_NONE && s->type != XT_CHAT && s->type != XT_NORMAL) ||
	    (s->flags & (XF_NO_STORE | XF_FROM_STORE | XF_COPY)))
		return false;
	if (xmpp_message_has_hint(s, "no-store") || xmpp_message_has_hint(s, "no-permanent-store"))
		return false;
	return xmpp_message_has_body(s) || xmpp_message_is_signal(s) ||
	       xmpp_message_has_hint(s, "store");
}

/* Does the domain keep archives?  Asked for every message: the last answer is remembered. */
bool
mam_is_on(struct mam *m, struct td_str domain)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };

	if (m->known_conf != m->env->conf || !td_str_eq(domain, td_buf_str(&m->known))) {
		m->known_conf = m->env->conf;
		td_buf_clear(&m->known);
		td_buf_adds(&m->known, domain);
		m->known_on = conf_bool(m->env->conf, &at, "archive");
	}
	return m->known_on;
}

/* ---- rows on their way ---- */

struct batch {
	struct mam_call call;
	struct xmpp_promise **held;
	size_t n, n_held;
};

static void
on_committed(void *arg, const struct store_result *r)
{
	struct batch *b = arg;

	if (r->rc < 0 && b->call.m != NULL)
		td_log_error(&b->call.m->env->log, "archive-write-failed", "messages=%zu error=%s",
			     b->n, td_escz(r->error));
	mam_call_end(&b->call);
	for (size_t i = 0; i < b->n_held; i++)
		xmpp_promise_settle(b->held[i]);
	free(b->held);
	free(b);
}

void
mam_flush(struct mam *m)
{
	struct batch *b;

	td_loop_undefer(m->env->loop, &m->flush);
	if (m->n == 0)
		return;
	for (size_t i = 0; i < m->n;
	     i++) { /* offsets become addresses: the text does not grow any more */
		struct store_archived *r = &m->rows[i];
		const char *text = m->text.p + (size_t)(uintptr_t)r->owner.p;

		r->owner.p = text;
		r->peer.p = text + r->owner.len;
		if (r->resource.len > 0)
			r->resource.p = r->peer.p + r->peer.len;
		r->stanza.p = r->peer.p + r->peer.len + r->resource.len;
	}
	b = td_zalloc(sizeof(*b));
	b->held = m->held;
	b->n = m->n;
	b->n_held = m->n_held;
	mam_call_begin(&b->call, m);
	store_archive_add(m->env->store, m->rows, m->n, b->n_held > 0 ? HELD_MS : LAZY_MS,
			  (struct store_to){ m->env->loop, on_committed, b });
	m->held = NULL;
	m->n = m->cap = m->n_held = 0;
	free(m->rows);
	m->rows = NULL;
	td_buf_clear(&m->text);
	if (m->text.cap > (1u << 20))
		td_buf_fini(&m->text);
}

static void
on_flush(struct td_task *t)
{
	mam_flush((struct mam *)(void *)((char *)t - offsetof(struct mam, flush)));
}

static void
make_room(struct mam *m)
{
	if (m->n < m->cap)
		return;
	m->cap = m->cap > 0 ? m->cap * 2 : 8;
	m->rows = td_realloc(m->rows, m->cap * sizeof(*m->rows));
	m->held = td_realloc(m->held, m->cap * sizeof(*m->held));
}

uint64_t
xmpp_mam_id(struct xmpp_env *env)
{
	struct mam *m = env->module_data[XMPP_SLOT_MAM];

	m->last_id = store_archive_id(m->last_id, td_wall_ms());
	return m->last_id;
}

bool
xmpp_mam_on(struct xmpp_env *env, struct td_str domain)
{
	return mam_is_on(env->module_data[XMPP_SLOT_MAM], domain);
}

void
xmpp_mam_keep_as(struct xmpp_env *env, struct td_str owner, const struct xmpp_jid *peer,
		 uint32_t flags, struct xmpp_stanza *s, uint64_t id, struct xmpp_promise *promise)
{
	struct mam *m = env->module_data[XMPP_SLOT_MAM];
	size_t at = m->text.len, head;
	struct mam_ends *e;

	LIST_FOREACH(e, &m->ends, link)
	if (td_str_eq(e->owner, owner)) {
		e->first = e->first != 0 ? e->first : id;
		e->last = id;
	}
	make_room(m);
	td_buf_adds(&m->text, owner);
	td_buf_adds(&m->text, peer->bare);
	td_buf_adds(&m->text, peer->resource);
	head = m->text.len;
	xmpp_stanza_write(s, true, &m->text);
	m->rows[m->n++] = (struct store_archived){
		.id = id,
		.owner = { (const char *)(uintptr_t)at, owner.len },
		.peer = { NULL, peer->bare.len },
		.resource = { NULL, peer->resource.len },
		.flags = flags,
		.stanza = { NULL, m->text.len - head },
	};
	if (promise != NULL) {
		m->held[m->n_held++] = promise;
		xmpp_promise_hold(promise);
	}
	td_loop_defer(env->loop, &m->flush);
}

uint64_t
xmpp_mam_keep(struct xmpp_env *env, struct td_str owner, const struct xmpp_jid *peer,
	      uint32_t flags, struct xmpp_stanza *s)
{
	uint64_t id = xmpp_mam_id(env);

	xmpp_mam_keep_as(env, owner, peer, flags, s, id, s->promise);
	return id;
}

void
xmpp_mam_stanza_id(struct xmpp_env *env, struct td_str owner, uint64_t id, struct td_buf *out)
{
	char name[STORE_ARCHIVE_NAME + 1];

	store_archive_name(env->store, owner, id, name);
	td_buf_addz(out, "<stanza-id xmlns='" NS_SID "' by='");
	td_buf_add_xml(out, owner);
	td_buf_addf(out, "' id='%s'/>", name);
}

void
mam_call_begin(struct mam_call *c, struct mam *m)
{
	c->m = m;
	LIST_INSERT_HEAD(&m->calls, c, link);
}

void
mam_call_end(struct mam_call *c)
{
	if (c->m != NULL)
		LIST_REMOVE(c, link);
	c->m = NULL;
}

/* ---- the stages ---- */

/* Does <n> say that we gave it?  Addresses are compared prepared (XEP-0359 section 3, rule 7). */
static bool
is_own_id(const struct xmpp_node *n, struct td_str bare)
{
	struct td_str by = xmpp_node_attr(n, "by");
	struct td_arena *a;
	struct xmpp_jid j;
	bool own;

	if (!xmpp_node_is(n, NS_SID, "stanza-id"))
		return false;
	if (td_str_eq(by, bare))
		return true;
	a = td_arena_new(256);
	own = xmpp_jid_parse(a, by, &j, NULL) == 0 && td_str_eq(j.full, bare);
	td_arena_free(a);
	return own;
}

/* A copy of <s> with its tree: copies made for many recipients have bytes only. */
static struct xmpp_stanza *
with_tree(struct xmpp_stanza *s)
{
	struct xmpp_stanza *out = NULL;
	struct td_arena *a;
	struct xmpp_node *n;
	struct td_buf b = { 0 };

	if (!s->partial)
		return xmpp_stanza_dup(s);
	a = td_arena_new(s->inner.len * 2 + 512);
	xmpp_stanza_write(s, true, &b);
	n = xmpp_xml_parse(a, td_buf_str(&b), NS_CLIENT, NULL);
	td_buf_fini(&b);
	if (n == NULL) {
		td_arena_free(a);
		return NULL;
	}
	(void)xmpp_stanza_from_node(a, n, &out, NULL);
	out->flags = s->flags;
	return out;
}

/* Does it carry an id that only we may give (XEP-0359 section 3, rule 4)?  Copies for many may have bytes only;
 * we wrote those ourselves, so an address stands in them as it is. */
static bool
may_have_own_id(const struct xmpp_stanza *s, struct td_str bare)
{
	const struct xmpp_node *n;

	if (s->partial)
		return s->inner.len > bare.len &&
		       memmem(s->inner.p, s->inner.len, bare.p, bare.len) != NULL &&
		       memmem(s->inner.p, s->inner.len, NS_SID, strlen(NS_SID)) != NULL;
	for (n = xmpp_node_child(s->root, NULL, NULL); n != NULL; n = xmpp_node_next_elem(n))
		if (is_own_id(n, bare))
			return true;
	return false;
}

static void
strip_own_ids(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp, *copy;
	struct xmpp_node *n, *next;
	bool found = false;

	if (!may_have_own_id(s, u->bare) || (copy = with_tree(s)) == NULL)
		return;
	for (n = xmpp_node_child(copy->root, NULL, NULL); n != NULL; n = next) {
		next = xmpp_node_next_elem(n);
		if (is_own_id(n, u->bare)) {
			xmpp_node_unlink(n);
			found = true;
		}
	}
	if (!found) {
		xmpp_stanza_unref(&copy);
		return;
	}
	copy->row = s->row;
	copy->promise = s->promise;
	s->promise = NULL;
	xmpp_stanza_touch(copy);
	xmpp_stanza_seal(copy);
	xmpp_stanza_unref(sp);
	*sp = copy;
}

static int
mam_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_user *u = sess->user;
	struct mam *m = sess->env->module_data[XMPP_SLOT_MAM];

	/* what one sends to oneself is kept when it arrives, once */
	if (s->kind != XK_MESSAGE || s->to.full.p == NULL || td_str_eq(s->to.bare, u->bare) ||
	    !mam_is_on(m, u->domain) || !is_kept(s) || !mam_prefs_allow(u, &s->to))
		return XMPP_PASS;
	s->archived = xmpp_mam_keep(sess->env, u->bare, &s->to, STORE_ARCHIVED_OUT, s);
	return XMPP_PASS;
}

static int
mam_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_env *env = u->env;
	struct mam *m = env->module_data[XMPP_SLOT_MAM];
	struct xmpp_stanza *s, *with_id;
	struct td_buf id = { 0 };
	uint64_t at;

	if ((*sp)->kind != XK_MESSAGE || ((*sp)->flags & XF_ARCHIVED))
		return XMPP_PASS;
	strip_own_ids(u, sp);
	s = *sp;
	if (!mam_is_on(m, u->domain) || !is_kept(s) || !mam_prefs_allow(u, &s->from))
		return XMPP_PASS;
	at = xmpp_mam_keep(env, u->bare, &s->from, 0, s);
	xmpp_mam_stanza_id(env, u->bare, at, &id);
	with_id = xmpp_stanza_extend(s, td_buf_str(&id));
	with_id->archived = at;
	with_id->flags |= XF_ARCHIVED;
	td_buf_fini(&id);
	xmpp_stanza_unref(sp);
	*sp = with_id;
	return XMPP_PASS;
}

static int
mam_iq(struct xmpp_iq *iq)
{
	struct mam *m = iq->env->module_data[XMPP_SLOT_MAM];
	struct xmpp_session *sess = xmpp_session_find(iq->user, iq->s->from.resource);

	if (!mam_is_on(m, iq->user->domain))
		return XMPP_PASS;
	if (sess != NULL)
		sess->mam = true; /* it fetches by itself what it missed */
	return xmpp_mam_answer(iq, iq->user->bare, NULL);
}

/* ---- growing old ---- */

static void on_forgotten(void *arg, const struct store_result *r);

struct forget {
	struct mam_call call;
	char *owner;
};

static void
forget_some(struct forget *f)
{
	store_archive_purge(f->call.m->env->store, td_cstr(f->owner), TD_STR_NULL, UINT64_MAX,
			    (struct store_to){ f->call.m->env->loop, on_forgotten, f });
}

static void
on_forgotten(void *arg, const struct store_result *r)
{
	struct forget *f = arg;

	if (f->call.m != NULL && r->rc == 0 && r->id > 0) {
		forget_some(f);
		return;
	}
	mam_call_end(&f->call);
	free(f->owner);
	free(f);
}

void
xmpp_mam_forget(struct xmpp_env *env, struct td_str owner)
{
	struct forget *f = td_zalloc(sizeof(*f));

	mam_flush(env->module_data[XMPP_SLOT_MAM]);
	mam_call_begin(&f->call, env->module_data[XMPP_SLOT_MAM]);
	f->owner = td_strndup(owner);
	forget_some(f);
}

/* One domain after the other, a batch at a time; the first worker does it for all. */
static void
on_expired(void *arg, const struct store_result *r)
{
	struct mam_expiry *x = arg;
	struct mam *m = x->call.m;

	mam_call_end(&x->call);
	free(x);
	if (m == NULL)
		return;
	if (r->rc < 0 || r->id == 0)
		m->expire_next++;
	td_timer_set(m->env->loop, &m->expire, EXPIRE_AGAIN_MS);
}

static void
on_expire(struct td_timer *t)
{
	struct mam *m = (struct mam *)(void *)((char *)t - offsetof(struct mam, expire));
	const struct conf_scope *s = NULL;
	struct conf_at at = { .protocol = "xmpp" };
	struct mam_expiry *x;
	size_t i = 0;
	int64_t keep;

	while ((s = conf_next(m->env->conf, NULL, "domain", s)) != NULL && i++ < m->expire_next)
		;
	if (s == NULL) {
		m->expire_next = 0;
		td_timer_set(m->env->loop, t, EXPIRE_MS);
		return;
	}
	at.domain = conf_scope_name(s);
	if (td_str_starts(at.domain, "#xmpp#"))
		at.domain = td_str(at.domain.p + 6, at.domain.len - 6);
	keep = conf_int(m->env->conf, &at, "archive_expire");
	if (keep == 0 || conf_scope_is_regex(s)) {
		m->expire_next++;
		td_timer_set(m->env->loop, t, EXPIRE_AGAIN_MS);
		return;
	}
	x = td_zalloc(sizeof(*x));
	mam_call_begin(&x->call, m);
	store_archive_purge(m->env->store, TD_STR_NULL, at.domain,
			    store_archive_first(td_wall_ms() - (uint64_t)keep * 1000),
			    (struct store_to){ m->env->loop, on_expired, x });
}

static void
mam_removed(struct xmpp_env *env, struct td_str bare)
{
	xmpp_mam_forget(env, bare);
}

/* ---- life ---- */

static void
account_features(struct xmpp_disco_ext *self, struct xmpp_user *u, struct td_buf *out)
{
	struct mam *m = (struct mam *)(void *)((char *)self - offsetof(struct mam, disco));

	if (mam_is_on(m, u->domain))
		td_buf_addz(out, "<feature var='" NS_MAM "'/><feature var='" NS_MAM "#extended'/>"
				 "<feature var='" NS_MAM "#groupchat-field'/>"
				 "<feature var='urn:xmpp:fulltext:0'/>");
}

/* The archives are the accounts', and section 7 has them say so.  Clients that ask the server only, profanity among
 * them, take its silence for an answer about all. */
static void
host_features(struct xmpp_disco_ext *self, struct xmpp_env *env, struct td_str domain,
	      struct td_buf *out)
{
	(void)self;
	if (mam_is_on(env->module_data[XMPP_SLOT_MAM], domain))
		td_buf_addz(out, "<feature var='" NS_MAM "'/><feature var='" NS_MAM "#extended'/>");
}

static void
mam_start(struct xmpp_env *env)
{
	struct mam *m = td_zalloc(sizeof(*m));

	m->env = env;
	LIST_INIT(&m->calls);
	LIST_INIT(&m->ends);
	m->flush.run = on_flush;
	m->expire.fire = on_expire;
	m->disco.account = account_features;
	m->disco.info = host_features;
	env->module_data[XMPP_SLOT_MAM] = m;
	xmpp_disco_extend(env, &m->disco);
	if (env->index == 0)
		td_timer_set(env->loop, &m->expire, EXPIRE_FIRST_MS);
}

static void
mam_stop(struct xmpp_env *env)
{
	struct mam *m = env->module_data[XMPP_SLOT_MAM];
	struct mam_call *c;

	mam_flush(m);
	td_timer_clear(env->loop, &m->expire);
	while ((c = LIST_FIRST(&m->calls)) != NULL)
		mam_call_end(c);
	free(m->rows);
	free(m->held);
	td_buf_fini(&m->text);
	td_buf_fini(&m->known);
	free(m);
	env->module_data[XMPP_SLOT_MAM] = NULL;
}

static const struct xmpp_iq_entry mam_iqs[] = {
	{ NS_MAM, "query", IQ_GET | IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, mam_iq },
	{ NS_MAM, "metadata", IQ_GET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, mam_iq },
	{ NS_MAM, "prefs", IQ_GET | IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, mam_prefs_iq },
	{ 0 },
};
static const char *const mam_account_features[] = { NS_SID, NULL };

const struct xmpp_module xep_0313_mam = {
	.name = "xep-0313-mam",
	.xep = "0313",
	.doc = "Archives of accounts: pages, times, ids, people, full text; preferences",
	.version = "1.1.3",
	.account_features = mam_account_features,
	.iqs = mam_iqs,
	.start = mam_start,
	.stop = mam_stop,
	.sent = mam_sent,
	.arrived = mam_arrived,
	.user_loaded = mam_prefs_load,
	.user_unloaded = mam_prefs_unload,
	.account_removed = mam_removed,
};
