/* muc_room - a room in memory: its affiliations, its occupants and their sessions.  Nothing here sends. */
#include <stdlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "conf/conf.h"
#include "xmpp/xep/muc.h"

#define VOICES_MAX 1000u

/* An address in one malloc; every view points into it. */
static struct xmpp_jid
keep_jid(const struct xmpp_jid *j)
{
	return xmpp_jid_view(td_str(td_strndup(j->full), j->full.len));
}

static void
drop_str(struct td_str s)
{
	free((void *)(uintptr_t)s.p);
}

/* ---- affiliations ---- */

static struct muc_affil *
affil_new(struct td_str jid, unsigned affiliation, struct td_str nick, struct td_str reason)
{
	struct muc_affil *f = td_alloc(sizeof(*f) + jid.len + nick.len + reason.len);
	char *p = (char *)(f + 1);

	*f = (struct muc_affil){ .affiliation = (uint8_t)affiliation };
	memcpy(p, jid.p, jid.len);
	f->jid = td_str(p, jid.len);
	p += jid.len;
	if (nick.len > 0) {
		memcpy(p, nick.p, nick.len);
		f->nick = td_str(p, nick.len);
		p += nick.len;
	}
	if (reason.len > 0) {
		memcpy(p, reason.p, reason.len);
		f->reason = td_str(p, reason.len);
	}
	return f;
}

struct muc_affil *
muc_affil_find(const struct muc_room *room, struct td_str jid)
{
	return td_map_find(&room->affils, jid);
}

enum muc_affiliation
muc_affiliation(const struct muc_room *room, const struct xmpp_jid *who)
{
	const struct muc_affil *f;

	if (muc_is_admin(room, who))
		return MA_OWNER;
	f = muc_affil_find(room, who->bare);
	if (f == NULL && who->local.p != NULL) /* 9.2: then the domain */
		f = muc_affil_find(room, who->domain);
	return f != NULL ? (enum muc_affiliation)f->affiliation : MA_NONE;
}

void
muc_affil_set(struct muc_room *room, struct td_str jid, enum muc_affiliation a, struct td_str nick,
	      struct td_str reason)
{
	/* the arguments may be views into the entry that goes */
	struct muc_affil *now = a != MA_NONE ? affil_new(jid, a, nick, reason) : NULL, *old;

	old = now != NULL ? td_map_set(&room->affils, now->jid, now)
			  : td_map_del(&room->affils, jid);
	if (old != NULL && old->nick.p != NULL && td_map_find(&room->nicks, old->nick) == old)
		(void)td_map_del(&room->nicks, old->nick);
	if (now != NULL && now->nick.p != NULL)
		(void)td_map_set(&room->nicks, now->nick, now);
	room->n_owners += (now != NULL && now->affiliation == MA_OWNER);
	room->n_owners -= (old != NULL && old->affiliation == MA_OWNER);
	free(old);
}

struct muc_affil *
muc_nick_taken(const struct muc_room *room, struct td_str nick, struct td_str bare)
{
	struct muc_affil *f = td_map_find(&room->nicks, nick);

	return f != NULL && !td_str_eq(f->jid, bare) ? f : NULL;
}

void
muc_voice_set(struct muc_room *room, struct td_str bare, enum muc_role role)
{
	struct muc_affil *v;

	if (room->voices.len >= VOICES_MAX && td_map_find(&room->voices, bare) == NULL)
		return;
	v = affil_new(bare, role, TD_STR_NULL, TD_STR_NULL);
	free(td_map_set(&room->voices, v->jid, v));
}

enum muc_role
muc_voice_get(const struct muc_room *room, struct td_str bare)
{
	const struct muc_affil *v = td_map_find(&room->voices, bare);

	return v != NULL ? (enum muc_role)v->affiliation : MR_NONE;
}

void
muc_occupant_id(const struct muc_room *room, struct td_str bare, char out[65])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (HMAC(EVP_sha256(), room->secret, sizeof(room->secret), (const unsigned char *)bare.p,
		 bare.len, mac, &n) == NULL)
		n = 0;
	for (unsigned i = 0; i < n && i < 32; i++) {
		out[2 * i] = digits[mac[i] >> 4];
		out[2 * i + 1] = digits[mac[i] & 15];
	}
	out[n < 32 ? 2 * n : 64] = '\0';
}

/* ---- occupants ---- */

struct muc_ses *
muc_ses_find(const struct muc_room *room, const struct xmpp_jid *full)
{
	return td_map_find(&room->by_jid, full->full);
}

struct muc_occ *
muc_occ_find(const struct muc_room *room, struct td_str nick)
{
	return td_map_find(&room->by_nick, nick);
}

struct muc_occ *
muc_occ_of(const struct muc_room *room, struct td_str bare)
{
	struct muc_occ *o;

	TAILQ_FOREACH(o, &room->occs, link)
	if (td_str_eq(o->bare, bare))
		return o;
	return NULL;
}

enum muc_role
muc_role_of(const struct muc_room *room, struct td_str bare)
{
	enum muc_role best = MR_NONE;
	const struct muc_occ *o;

	TAILQ_FOREACH(o, &room->occs, link)
	if (o->role > best && td_str_eq(o->bare, bare))
		best = (enum muc_role)o->role;
	return best;
}

static void
name_occ(struct muc_room *room, struct muc_occ *occ, struct td_str nick)
{
	size_t n = room->jid.full.len;
	char *p = td_alloc(n + 1 + nick.len + 1);

	memcpy(p, room->jid.full.p, n);
	p[n] = '/';
	memcpy(p + n + 1, nick.p, nick.len);
	p[n + 1 + nick.len] = '\0';
	occ->jid = xmpp_jid_view(td_str(p, n + 1 + nick.len));
	(void)td_map_set(&room->by_nick, occ->jid.resource, occ);
}

struct muc_occ *
muc_occ_add(struct muc_room *room, struct td_str nick, const struct xmpp_jid *real)
{
	struct muc_occ *occ = td_zalloc(sizeof(*occ));

	TAILQ_INIT(&occ->sessions);
	occ->bare = td_str(td_strndup(real->bare), real->bare.len);
	muc_occupant_id(room, real->bare, occ->oid);
	name_occ(room, occ, nick);
	TAILQ_INSERT_TAIL(&room->occs, occ, link);
	return occ;
}

void
muc_occ_rename(struct muc_room *room, struct muc_occ *occ, struct td_str nick)
{
	struct td_str old = occ->jid.full;

	(void)td_map_del(&room->by_nick, occ->jid.resource);
	name_occ(room, occ, nick);
	drop_str(old);
}

struct muc_ses *
muc_ses_add(struct muc_room *room, struct muc_occ *occ, const struct xmpp_jid *real)
{
	struct muc_ses *s = td_zalloc(sizeof(*s));

	s->jid = keep_jid(real);
	s->occ = occ;
	TAILQ_INSERT_TAIL(&room->sessions, s, link);
	TAILQ_INSERT_TAIL(&occ->sessions, s, occ_link);
	(void)td_map_set(&room->by_jid, s->jid.full, s);
	room->n_sessions++;
	occ->n_sessions++;
	return s;
}

void
muc_ses_move(struct muc_room *room, struct muc_ses *ses, struct muc_occ *to)
{
	(void)room;
	TAILQ_REMOVE(&ses->occ->sessions, ses, occ_link);
	ses->occ->n_sessions--;
	ses->occ = to;
	TAILQ_INSERT_TAIL(&to->sessions, ses, occ_link);
	to->n_sessions++;
}

void
muc_ses_del(struct muc_room *room, struct muc_ses *ses)
{
	(void)td_map_del(&room->by_jid, ses->jid.full);
	TAILQ_REMOVE(&room->sessions, ses, link);
	TAILQ_REMOVE(&ses->occ->sessions, ses, occ_link);
	ses->occ->n_sessions--;
	room->n_sessions--;
	drop_str(ses->jid.full);
	drop_str(ses->presence);
	free(ses);
}

void
muc_occ_del(struct muc_room *room, struct muc_occ *occ)
{
	struct muc_ses *s;

	while ((s = TAILQ_FIRST(&occ->sessions)) != NULL)
		muc_ses_del(room, s);
	(void)td_map_del(&room->by_nick, occ->jid.resource);
	TAILQ_REMOVE(&room->occs, occ, link);
	drop_str(occ->jid.full);
	drop_str(occ->bare);
	free(occ);
}

/* ---- subject ---- */

static struct td_str
put(char **p, struct td_str s)
{
	struct td_str out = td_str(*p, s.len);

	if (s.len > 0)
		memcpy(*p, s.p, s.len);
	*p += s.len;
	return out;
}

void
muc_subject_set(struct muc_room *room, struct td_str xml, struct td_str text, struct td_str nick,
		struct td_str oid, uint64_t at)
{
	char *mem = td_alloc(xml.len + text.len + nick.len + oid.len + 1), *p = mem;

	room->subject.xml = put(&p, xml);
	room->subject.text = put(&p, text);
	room->subject.nick = put(&p, nick);
	room->subject.oid = put(&p, oid);
	room->subject.at = at;
	free(room->subject.mem);
	room->subject.mem = mem;
}

/* ---- rooms ---- */

struct muc_room *
muc_room_new(struct muc *muc, const struct xmpp_jid *jid)
{
	struct muc_room *room = td_zalloc(sizeof(*room));
	struct xmpp_jid bare = xmpp_jid_view(jid->bare);

	room->muc = muc;
	room->env = muc->env;
	room->jid = keep_jid(&bare);
	STAILQ_INIT(&room->waiting);
	TAILQ_INIT(&room->sessions);
	TAILQ_INIT(&room->occs);
	TAILQ_INIT(&room->history);
	TAILQ_INIT(&room->hats);
	(void)td_map_set(&muc->rooms, room->jid.full, room);
	return room;
}

static void
free_all(struct td_map *m)
{
	size_t i = 0;
	void *v;

	while ((v = td_map_next(m, &i)) != NULL)
		free(v);
	td_map_fini(m);
}

void
muc_room_free(struct muc_room *room)
{
	struct muc_occ *occ;

	(void)td_map_del(&room->muc->rooms, room->jid.full);
	while ((occ = TAILQ_FIRST(&room->occs)) != NULL)
		muc_occ_del(room, occ);
	td_map_fini(&room->by_jid);
	td_map_fini(&room->by_nick);
	td_map_fini(&room->nicks);
	free_all(&room->affils);
	free_all(&room->voices);
	muc_history_clear(room);
	muc_hats_free(room);
	muc_config_free(room->cfg);
	free(room->ids);
	td_arena_free(room->scratch);
	free(room->subject.mem);
	drop_str(room->vcard);
	drop_str(room->avatars);
	drop_str(room->jid.full);
	td_wipe(room->secret, sizeof(room->secret));
	free(room);
}
