/* muc_captcha - a room that asks newcomers to show that they are persons (XEP-0158 section 5): the join waits until the
 * challenge was answered, then it comes again.
 *
 * Who has an affiliation is not asked, and who answered once is let in again as long as the worker remembers. */
#include <stddef.h>
#include <stdlib.h>
#include "xmpp/xep/muc.h"

#define WAITING_MAX 2000u /* joins, on this worker */

struct muc_join {
	struct muc *muc;
	struct xmpp_stanza *s;
	struct td_timer timer;
	char id[XMPP_CAPTCHA_ID + 1];
};

static uint64_t
mark_of(const struct xmpp_stanza *s)
{
	return td_str_hash(s->to.bare) ^ (td_str_hash(s->from.bare) * UINT64_C(0x9e3779b97f4a7c15));
}

static bool
has_passed(const struct muc *muc, const struct xmpp_stanza *s)
{
	uint64_t mark = mark_of(s);

	for (size_t i = 0; muc->passed != NULL && i < MUC_PASSED_MAX; i++)
		if (muc->passed[i] == mark)
			return true;
	return false;
}

static void
note_passed(struct muc *muc, const struct xmpp_stanza *s)
{
	if (muc->passed == NULL)
		muc->passed = td_zalloc(MUC_PASSED_MAX * sizeof(*muc->passed));
	muc->passed[muc->next_passed++ % MUC_PASSED_MAX] = mark_of(s);
}

static void
join_free(struct muc_join *j)
{
	td_timer_clear(j->muc->env->loop, &j->timer);
	(void)td_map_del(&j->muc->asked, td_cstr(j->id));
	xmpp_stanza_unref(&j->s);
	free(j);
}

static void
fail(struct muc_join *j)
{
	struct muc *muc = j->muc;
	struct muc_room *room = td_map_find(&muc->rooms, j->s->to.bare);

	if (room != NULL)
		muc_refuse(room, j->s, XE_NOT_ACCEPTABLE, "The challenge was not answered.");
	else
		xmpp_bounce(muc->env, j->s, XE_NOT_ACCEPTABLE, "The challenge was not answered.");
	join_free(j);
}

static void
on_timer(struct td_timer *t)
{
	struct muc_join *j =
		(struct muc_join *)(void *)((char *)t - offsetof(struct muc_join, timer));

	xmpp_captcha_drop(j->id);
	fail(j);
}

/* Whoever of this room and person waits already. */
static struct muc_join *
find_waiting(const struct muc *muc, const struct xmpp_stanza *s)
{
	struct muc_join *j;
	size_t i = 0;

	while ((j = td_map_next(&muc->asked, &i)) != NULL)
		if (td_str_eq(j->s->from.full, s->from.full) &&
		    td_str_eq(j->s->to.bare, s->to.bare))
			return j;
	return NULL;
}

static bool
ask(struct muc_room *room, struct xmpp_stanza *s)
{
	const struct xmpp_captcha_ask question = { CAPTCHA_ROOM, s->from.bare, room->jid.full,
						   room->jid.domain };
	struct muc *muc = room->muc;
	struct xmpp_captcha made;
	struct muc_join *j;

	if (muc->asked.len >= WAITING_MAX || !xmpp_captcha_new(room->env, &question, &made))
		return false;
	j = td_zalloc(sizeof(*j));
	j->muc = muc;
	j->s = xmpp_stanza_ref(s);
	memcpy(j->id, made.id, sizeof(j->id));
	j->timer.fire = on_timer;
	td_timer_set(room->env->loop, &j->timer, made.life_s * UINT64_C(1000));
	(void)td_map_set(&muc->asked, td_cstr(j->id), j);
	xmpp_captcha_send(room->env, &made, room->jid.domain, &room->jid, s);
	return true;
}

bool
muc_captcha_holds(struct muc_room *room, struct xmpp_stanza *s, enum muc_affiliation a)
{
	struct muc_join *j;

	if (!room->cfg->captcha || a != MA_NONE || has_passed(room->muc, s))
		return false;
	j = find_waiting(room->muc, s);
	if (j != NULL) { /* once more, another nickname maybe: the question stays */
		xmpp_stanza_unref(&j->s);
		j->s = xmpp_stanza_ref(s);
	} else if (!ask(room, s)) {
		muc_refuse(room, s, XE_NOT_ACCEPTABLE, "Too many challenges; try again later.");
	}
	return true;
}

void
muc_captcha_settled(struct xmpp_env *env, struct td_str to, const char *id, bool passed)
{
	struct muc *muc = env->module_data[XMPP_SLOT_MUC];
	struct muc_join *j = td_map_find(&muc->asked, td_cstr(id));
	struct xmpp_stanza *s;

	(void)to;
	if (j == NULL)
		return;
	if (!passed) {
		fail(j);
		return;
	}
	note_passed(muc, j->s);
	s = xmpp_stanza_ref(j->s);
	join_free(j);
	xmpp_route(env, s);
}

void
muc_captcha_free(struct muc *muc)
{
	struct muc_join *j;
	size_t i = 0;

	while ((j = td_map_next(&muc->asked, &i)) != NULL)
		join_free(j);
	td_map_fini(&muc->asked);
	free(muc->passed);
}

void
muc_captcha_set(struct muc_iq *iq)
{
	xmpp_captcha_iq(iq->room->env, iq->s);
}
