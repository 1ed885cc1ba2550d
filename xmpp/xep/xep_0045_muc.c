/* xep-0045 - multi-user chat: where a stanza to a room goes, and how rooms come and go.
 *
 * A room lives on the worker that owns its bare JID.  It is loaded from the store when something comes for it,
 * and let go when it was empty for a while.  One thing happens to a room at a time: while a stanza is being
 * handled, or a change of it is on its way to the disk, what comes for it waits in order.  That also keeps the
 * lists of a room still while copies go out, for delivering one to a session may end that session and so
 * bring an unavailable presence back to this very room.
 *
 * What must outlive the process is committed first and takes effect then (struct muc_change). */
#include <stdlib.h>
#include "conf/conf.h"
#include "xmpp/modules.h"
#include "xmpp/xep/muc.h"

#define SWEEP_MS 30000u
#define KEEP_EMPTY_MS UINT64_C(600000)     /* a stored room nobody is in */
#define KEEP_HISTORY_MS UINT64_C(86400000) /* while it has history */
#define KEEP_UNUSED_MS UINT64_C(60000)     /* a room made without entering it */

struct muc_waiting {
	STAILQ_ENTRY(muc_waiting) link;
	struct xmpp_stanza *s;
};

static struct muc *
muc_of(const struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_MUC];
}

/* ---- what the configuration says ---- */

static struct conf_at
at_domain(const struct muc_room *room)
{
	return (struct conf_at){ .domain = room->jid.domain };
}

void
muc_config_limits(const struct muc_room *room, struct muc_config_limits *out)
{
	struct conf_at at = at_domain(room);

	out->history_default = conf_int(room->env->conf, &at, "room_history");
	out->history_max = out->history_default > 100 ? out->history_default : 100;
	out->users_max = conf_int(room->env->conf, &at, "max_occupants");
}

bool
muc_is_admin(const struct muc_room *room, const struct xmpp_jid *who)
{
	struct conf_at at = at_domain(room);
	size_t n;
	const struct td_str *admins = conf_list(room->env->conf, &at, "admins", &n);

	for (size_t i = 0; i < n; i++)
		if (td_str_ieq(admins[i], who->bare))
			return true;
	return false;
}

/* 10.1.1 */
static bool
may_create(const struct muc_room *room, const struct xmpp_jid *who)
{
	struct conf_at at = at_domain(room);
	struct td_str word = conf_str(room->env->conf, &at, "room_create");

	if (td_str_ieq(word, TD_STR("anyone")) || muc_is_admin(room, who))
		return true;
	return td_str_ieq(word, TD_STR("local")) &&
	       room->env->host->domain(room->env, who->domain) == XD_LOCAL;
}

/* ---- one thing at a time ---- */

static void
handle(struct muc_room *room, struct xmpp_stanza *s)
{
	if (room->failed) {
		xmpp_bounce(room->env, s, XE_INTERNAL_SERVER_ERROR,
			    "The store did not answer; try again later.");
	} else if (s->kind == XK_PRESENCE) {
		muc_on_presence(room, s);
	} else if (s->kind == XK_MESSAGE) {
		muc_on_message(room, s);
	} else if (s->kind == XK_IQ && (s->type == XT_GET || s->type == XT_SET)) {
		if (s->to.resource.p != NULL)
			muc_on_occupant_iq(room, s);
		else
			muc_on_iq(room, s);
	}
	xmpp_stanza_unref(&s);
}

/* Nothing is under way: may the room go? */
static void
settle(struct muc_room *room)
{
	if (room->state >= MUC_LOCKED && room->n_sessions == 0) {
		if (room->cfg->persistent && room->stored) {
			room->keep_until = td_wall_ms() +
					   (room->n_history > 0 ? KEEP_HISTORY_MS : KEEP_EMPTY_MS);
			return;
		}
		if (room->keep_until > td_wall_ms())
			return;
		muc_room_end(room); /* 7.14: the last one is out */
	}
	if (room->state == MUC_ABSENT) {
		if (room->counted)
			muc_directory_drop(room);
		muc_room_free(room);
	}
}

void
muc_hold(struct muc_room *room)
{
	room->hold++;
}

void
muc_release(struct muc_room *room)
{
	struct muc_waiting *w;

	while (room->hold == 1 && (w = STAILQ_FIRST(&room->waiting)) != NULL) {
		struct xmpp_stanza *s = w->s;

		STAILQ_REMOVE_HEAD(&room->waiting, link);
		room->n_waiting--;
		free(w);
		handle(room, s);
	}
	if (--room->hold == 0) {
		td_arena_free(room->scratch);
		room->scratch = NULL;
		settle(room);
	}
}

struct td_arena *
muc_scratch(struct muc_room *room)
{
	if (room->scratch == NULL)
		room->scratch = td_arena_new(1024);
	return room->scratch;
}

static void
enqueue(struct muc_room *room, struct xmpp_stanza *s)
{
	struct muc_waiting *w;

	if (room->n_waiting >= MUC_WAITING_MAX) {
		xmpp_bounce(room->env, s, XE_RESOURCE_CONSTRAINT, NULL);
		xmpp_stanza_unref(&s);
		return;
	}
	w = td_alloc(sizeof(*w));
	w->s = s;
	STAILQ_INSERT_TAIL(&room->waiting, w, link);
	room->n_waiting++;
}

void
muc_call_begin(struct muc_call *c, struct muc_room *room)
{
	c->muc = room->muc;
	c->room = room;
	LIST_INSERT_HEAD(&room->muc->calls, c, link);
	muc_hold(room);
}

void
muc_call_end(struct muc_call *c)
{
	LIST_REMOVE(c, link);
	muc_release(c->room);
}

/* ---- loading ---- */

static struct td_str
prop(const struct store_muc_room *r, const char *key)
{
	for (size_t i = 0; i < r->n_props; i++)
		if (td_str_eqc(r->props[i].key, key))
			return r->props[i].value;
	return TD_STR_NULL;
}

static void
take_in(struct muc_room *room, const struct store_muc_room *r)
{
	struct muc_config_limits lim;
	struct td_str secret = prop(r, "secret");

	muc_config_limits(room, &lim);
	room->cfg = muc_config_load(r->props, r->n_props, &lim);
	room->cfg->persistent = true;
	if (secret.len == sizeof(room->secret))
		memcpy(room->secret, secret.p, secret.len);
	else
		td_random(room->secret, sizeof(room->secret));
	for (size_t i = 0; i < r->n_affils; i++) {
		const struct store_muc_affil *f = &r->affils[i];

		if (f->affiliation >= MA_OUTCAST && f->affiliation < MA_COUNT)
			muc_affil_set(room, f->jid, (enum muc_affiliation)f->affiliation, f->nick,
				      f->reason);
	}
	if (prop(r, "subject").p != NULL)
		muc_subject_load(room, prop(r, "subject"));
	if (prop(r, "vcard").p != NULL)
		muc_avatar_load(room, prop(r, "vcard"));
	muc_hats_load(room, r->props, r->n_props);
	room->state = MUC_OPEN;
	room->stored = room->counted = true;
}

static void
on_loaded(void *arg, const struct store_result *r, const struct store_muc_room *stored)
{
	struct muc_call *c = arg;
	struct muc_room *room = c->room;

	if (room != NULL) {
		room->state = MUC_ABSENT;
		if (r->rc == 0) {
			take_in(room, stored);
			muc_mam_recall(room);
		} else if (r->rc != TD_E_NOTFOUND) {
			td_log_error(&room->env->log, "muc-load-failed", "room=%s error=%s",
				     td_esc(room->jid.full), td_escz(r->error));
			room->failed = true;
		}
		muc_call_end(c);
	}
	free(c);
}

/* <s> is for the room <s->to.bare>.  Takes the reference. */
static void
to_room(struct muc *muc, struct xmpp_stanza *s)
{
	struct muc_room *room = td_map_find(&muc->rooms, s->to.bare);
	struct muc_call *c;

	if (room == NULL) {
		room = muc_room_new(muc, &s->to);
		c = td_alloc(sizeof(*c));
		muc_call_begin(c, room);
		store_muc_get(muc->env->store, room->jid.full, muc->env->loop, on_loaded, c);
	}
	if (room->hold > 0) {
		enqueue(room, s);
		return;
	}
	muc_hold(room);
	handle(room, s);
	muc_release(room);
}

/* ---- making and ending ---- */

void
muc_room_ask(struct muc_room *room, struct xmpp_stanza *s)
{
	if (room->refused) {
		muc_refuse(room, s, XE_RESOURCE_CONSTRAINT, "There are too many rooms here.");
	} else if (!may_create(room, &s->from)) {
		muc_refuse(room, s, XE_NOT_ALLOWED, NULL);
	} else {
		room->asked = xmpp_stanza_ref(s);
		muc_hold(room);
		muc_directory_ask(room);
	}
}

void
muc_room_granted(struct muc *muc, struct td_str jid, bool yes)
{
	struct muc_room *room = td_map_find(&muc->rooms, jid);
	struct xmpp_stanza *s;

	if (room == NULL || (s = room->asked) == NULL)
		return;
	room->asked = NULL;
	room->counted = yes;
	room->refused = !yes;
	handle(room, s);
	room->refused = false;
	muc_release(room);
}

void
muc_room_create(struct muc_room *room, struct td_str owner)
{
	struct muc_config_limits lim;

	muc_config_limits(room, &lim);
	room->cfg = muc_config_new(&lim);
	td_random(room->secret, sizeof(room->secret));
	muc_affil_set(room, owner, MA_OWNER, TD_STR_NULL, TD_STR_NULL);
	room->state = MUC_LOCKED;
	room->keep_until = 0;
	td_log_info(&room->env->log, "muc-created", "room=%s owner=%s", td_esc(room->jid.full),
		    td_esc(owner));
}

void
muc_room_end(struct muc_room *room)
{
	struct muc_affil *f;
	size_t i = 0;

	xmpp_mam_forget(room->env, room->jid.full);
	td_log_info(&room->env->log, "muc-ended", "room=%s", td_esc(room->jid.full));
	muc_directory_drop(room);
	while ((f = td_map_next(&room->affils, &i)) != NULL)
		muc_affil_set(room, f->jid, MA_NONE, TD_STR_NULL, TD_STR_NULL);
	for (i = 0; (f = td_map_next(&room->voices, &i)) != NULL;) {
		(void)td_map_del(&room->voices, f->jid);
		free(f);
	}
	muc_history_clear(room);
	muc_hats_free(room);
	muc_config_free(room->cfg);
	room->cfg = NULL;
	free((void *)(uintptr_t)room->vcard.p);
	free((void *)(uintptr_t)room->avatars.p);
	free(room->subject.mem);
	free(room->ids);
	room->vcard = room->avatars = TD_STR_NULL;
	memset(&room->subject, 0, sizeof(room->subject));
	room->ids = NULL;
	room->n_ids = room->next_id = 0;
	room->stored = false;
	room->state = MUC_ABSENT;
}

/* ---- changes ---- */

struct muc_change *
muc_change_new(struct muc_room *room, struct xmpp_stanza *s,
	       void (*done)(struct muc_change *, int rc))
{
	struct td_arena *a = td_arena_new(1024);
	struct muc_change *ch = td_arena_zalloc(a, sizeof(*ch));

	ch->arena = a;
	ch->room = room;
	ch->s = s != NULL ? xmpp_stanza_ref(s) : NULL;
	ch->done = done;
	return ch;
}

/* Room for one more in an array of the arena. */
static void *
grown(struct td_arena *a, void *array, size_t n, size_t *cap, size_t size)
{
	void *p;

	if (n < *cap)
		return array;
	*cap = *cap > 0 ? *cap * 2 : 8;
	p = td_arena_alloc(a, *cap * size);
	if (n > 0)
		memcpy(p, array, n * size);
	return p;
}

void
muc_change_affil(struct muc_change *ch, struct td_str jid, enum muc_affiliation aff,
		 struct td_str nick, struct td_str reason)
{
	struct td_arena *a = ch->arena;

	ch->affils = grown(a, ch->affils, ch->n_affils, &ch->cap_affils, sizeof(*ch->affils));
	ch->affils[ch->n_affils++] = (struct store_muc_affil){
		.jid = td_arena_str(a, jid),
		.affiliation = aff == MA_NONE ? -1 : (int)aff,
		.nick = td_arena_str(a, nick),
		.reason = td_arena_str(a, reason),
	};
}

void
muc_change_prop(struct muc_change *ch, const char *key, struct td_str value)
{
	struct td_arena *a = ch->arena;

	ch->props = grown(a, ch->props, ch->n_props, &ch->cap_props, sizeof(*ch->props));
	ch->props[ch->n_props++] = (struct store_muc_prop){
		.key = td_arena_str(a, td_cstr(key)),
		.value = td_arena_str(a, value),
	};
}

/* What the room was before it became persistent, ahead of what changes now: the later one counts. */
static void
add_whole(struct muc_change *ch)
{
	struct muc_room *room = ch->room;
	struct store_muc_prop *props = ch->props;
	struct store_muc_affil *affils = ch->affils;
	size_t n_props = ch->n_props, n_affils = ch->n_affils, i = 0;
	const struct muc_affil *f;

	ch->n_props = ch->cap_props = ch->n_affils = ch->cap_affils = 0;
	while ((f = td_map_next(&room->affils, &i)) != NULL)
		muc_change_affil(ch, f->jid, (enum muc_affiliation)f->affiliation, f->nick,
				 f->reason);
	muc_change_prop(ch, "secret", td_str((const char *)room->secret, sizeof(room->secret)));
	if (room->subject.at != 0)
		muc_subject_prop(ch, room->subject.xml, room->subject.text, room->subject.nick,
				 room->subject.oid, room->subject.at);
	if (room->vcard.p != NULL)
		muc_change_prop(ch, "vcard", room->vcard);
	muc_hats_props(ch);
	for (i = 0; i < n_affils; i++) {
		ch->affils = grown(ch->arena, ch->affils, ch->n_affils, &ch->cap_affils,
				   sizeof(*ch->affils));
		ch->affils[ch->n_affils++] = affils[i];
	}
	for (i = 0; i < n_props; i++) {
		ch->props = grown(ch->arena, ch->props, ch->n_props, &ch->cap_props,
				  sizeof(*ch->props));
		ch->props[ch->n_props++] = props[i];
	}
}

static void
apply(struct muc_change *ch)
{
	struct muc_room *room = ch->room;
	struct muc_config *was = room->cfg;

	for (size_t i = 0; i < ch->n_affils; i++) {
		const struct store_muc_affil *f = &ch->affils[i];

		muc_affil_set(room, f->jid,
			      f->affiliation < 0 ? MA_NONE : (enum muc_affiliation)f->affiliation,
			      f->nick, f->reason);
	}
	if (ch->cfg != NULL) {
		room->cfg = ch->cfg;
		ch->cfg = was;
	}
}

static void
change_end(struct muc_change *ch, int rc)
{
	if (ch->room != NULL) {
		if (rc == 0)
			apply(ch);
		ch->done(ch, rc);
	}
	xmpp_stanza_unref(&ch->s);
	muc_config_free(ch->cfg);
}

static void
on_committed(void *arg, const struct store_result *r)
{
	struct muc_change *ch = arg;
	struct td_arena *a = ch->arena;
	struct muc_room *room = ch->room = ch->call.room;

	if (room != NULL && r->rc == 0)
		room->stored = !ch->destroy && (ch->cfg != NULL ? ch->cfg : room->cfg)->persistent;
	else if (room != NULL)
		td_log_error(&room->env->log, "muc-write-failed", "room=%s error=%s",
			     td_esc(room->jid.full), td_escz(r->error));
	change_end(ch, r->rc);
	if (room != NULL)
		muc_call_end(&ch->call);
	td_arena_free(a);
}

void
muc_change_commit(struct muc_change *ch)
{
	struct muc_room *room = ch->room;
	struct td_arena *a = ch->arena;
	struct store_to to = { room->env->loop, on_committed, ch };
	const struct muc_config *cfg = ch->cfg != NULL ? ch->cfg : room->cfg;
	struct muc_config_limits lim;
	struct store_muc_prop *p;
	size_t n;

	if (!ch->destroy && cfg->persistent) {
		struct store_muc_room change = { .jid = room->jid.full };

		if (!room->stored)
			add_whole(ch);
		if (!room->stored || ch->cfg != NULL) {
			muc_config_limits(room, &lim);
			p = muc_config_props(a, cfg, &lim, &n);
			for (size_t i = 0; i < n; i++) {
				ch->props = grown(a, ch->props, ch->n_props, &ch->cap_props,
						  sizeof(*ch->props));
				ch->props[ch->n_props++] = p[i];
			}
		}
		change.props = ch->props;
		change.n_props = ch->n_props;
		change.affils = ch->affils;
		change.n_affils = ch->n_affils;
		muc_call_begin(&ch->call, room);
		store_muc_set(room->env->store, &change, to);
	} else if (room->stored) {
		muc_call_begin(&ch->call, room);
		store_muc_delete(room->env->store, room->jid.full, to);
	} else {
		change_end(ch, 0);
		td_arena_free(a);
	}
}

/* ---- the worker's life ---- */

static void
set_sweep(struct muc *muc)
{
	td_timer_set(muc->env->loop, &muc->sweep, SWEEP_MS);
}

static void
on_sweep(struct td_timer *t)
{
	struct muc *muc = (struct muc *)(void *)((char *)t - offsetof(struct muc, sweep));
	uint64_t now = td_wall_ms();
	struct muc_room *room;
	size_t i = 0;

	while ((room = td_map_next(&muc->rooms, &i)) != NULL) {
		if (room->hold > 0 || room->n_sessions > 0 || room->keep_until > now)
			continue;
		if (room->stored) {
			muc_room_free(room); /* it comes back from the store */
		} else {
			room->hold = 1;
			muc_release(room);
		}
	}
	set_sweep(muc);
}

static void
muc_start(struct xmpp_env *env)
{
	struct muc *muc = td_zalloc(sizeof(*muc));

	muc->env = env;
	LIST_INIT(&muc->calls);
	muc->sweep.fire = on_sweep;
	env->module_data[XMPP_SLOT_MUC] = muc;
	set_sweep(muc);
}

static void
muc_stop(struct xmpp_env *env)
{
	struct muc *muc = muc_of(env);
	struct muc_waiting *w;
	struct muc_call *c;
	struct muc_room *room;
	size_t i = 0;

	td_timer_clear(env->loop, &muc->sweep);
	LIST_FOREACH(c, &muc->calls, link)
	c->room = NULL;
	while ((room = td_map_next(&muc->rooms, &i)) != NULL) {
		while ((w = STAILQ_FIRST(&room->waiting)) != NULL) {
			STAILQ_REMOVE_HEAD(&room->waiting, link);
			xmpp_stanza_unref(&w->s);
			free(w);
		}
		xmpp_stanza_unref(&room->asked);
		muc_room_free(room);
	}
	td_map_fini(&muc->rooms);
	muc_services_free(muc);
	muc_captcha_free(muc);
	free(muc->joins);
	free(muc);
	env->module_data[XMPP_SLOT_MUC] = NULL;
}

/* 11.2 */
static void
muc_closing(struct xmpp_env *env)
{
	static const struct muc_note note = { .codes = { 332 }, .gone = true };
	struct muc *muc = muc_of(env);
	struct muc_room *room;
	size_t i = 0;

	while ((room = td_map_next(&muc->rooms, &i)) != NULL) {
		struct muc_occ *occ;

		room->hold++; /* and for good: nobody comes in any more */
		while ((occ = TAILQ_FIRST(&room->occs)) != NULL) {
			muc_remove_self(room, occ, &note);
			muc_occ_del(room, occ);
		}
	}
}

static void
forget_account(struct xmpp_env *env, void *arg)
{
	struct td_str bare = td_cstr(arg);
	struct muc_room *room;
	size_t i = 0;

	if (env != NULL)
		while ((room = td_map_next(&muc_of(env)->rooms, &i)) != NULL) {
			struct muc_affil *f = muc_affil_find(room, bare);

			if (f != NULL && f->affiliation > MA_OUTCAST)
				muc_affil_set(room, bare, MA_NONE, TD_STR_NULL, TD_STR_NULL);
		}
	free(arg);
}

/* The store forgot its affiliations with the account. */
static void
muc_account_removed(struct xmpp_env *env, struct td_str bare)
{
	for (unsigned i = 0; i < env->n_workers; i++) {
		char *copy = td_strndup(bare);

		if (i == env->index || env->host->post == NULL)
			forget_account(env, copy);
		else
			env->host->post(env, i, forget_account, copy);
	}
}

static void
muc_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	if (s->from.full.p == NULL || s->kind == XK_OTHER)
		xmpp_stanza_unref(&s);
	else if (s->to.local.p == NULL)
		muc_on_service(env, s);
	else
		to_room(muc_of(env), s);
}

const struct xmpp_module xep_0045_muc = {
	.name = "xep-0045-muc",
	.xep = "0045",
	.doc = "Chat rooms at domains whose service is muc; persistent ones live in the store",
	.version = "1.35.5",
	.start = muc_start,
	.stop = muc_stop,
	.closing = muc_closing,
	.account_removed = muc_account_removed,
	.service = "muc",
	.service_deliver = muc_deliver,
};
const struct xmpp_module xep_0249_direct_invite = {
	.name = "xep-0249-direct-invite",
	.xep = "0249",
	.doc = "Invitations between users pass, and wait for who is away",
	.version = "1.2",
};
const struct xmpp_module xep_0421_occupant_id = {
	.name = "xep-0421-occupant-id",
	.xep = "0421",
	.doc = "Rooms tell occupants apart by a keyed hash of their address; the key is the room's "
	       "own",
	.version = "1.0.1",
};
