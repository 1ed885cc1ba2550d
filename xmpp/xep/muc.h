/* muc - group chat rooms (XEP-0045 1.35): what the files of the family share.
 * Thread: the worker that owns the room's bare JID; struct muc_service: the one that owns the service's domain.
 * Ownership: functions borrow the stanzas they are given, unless they say otherwise.
 *
 *   xep_0045_muc.c   where a stanza to a room goes; loading, waiting, committing, letting go
 *   muc_rules.c      who may do what: the tables of section 5
 *   muc_config.c     the owner's form: one table of fields
 *   muc_room.c       memory: affiliations, occupants, their sessions
 *   muc_send.c       what is written to occupants
 *   muc_join.c       entering, leaving, nicknames, presence
 *   muc_captcha.c    who enters is asked first whether it is a person (XEP-0158)
 *   muc_message.c    messages to the room and in private, subject, invitations, voice
 *   muc_history.c    what newcomers are shown; the hook for an archive
 *   muc_admin.c      muc#admin, and how a change of affiliations takes effect
 *   muc_owner.c      muc#owner: configure, destroy
 *   muc_iq.c         disco, registration, iq between occupants
 *   muc_service.c    the directory of a service's rooms
 *
 * Glossary
 *   occupant  a nickname in a room, of one bare JID (muc_occ)
 *   session   a full JID that joined as an occupant; an occupant has one or more (muc_ses)
 *   change    what has to be committed to the store before anyone hears of it (muc_change) */
#ifndef XMPP_XEP_MUC_H
#define XMPP_XEP_MUC_H
#include "store/muc.h"
#include "xmpp/captcha.h"
#include "xmpp/mam.h"
#include "xmpp/form.h"
#include "xmpp/im.h"

#define NS_MUC "http://jabber.org/protocol/muc"
#define NS_MUC_USER "http://jabber.org/protocol/muc#user"
#define NS_MUC_ADMIN NS_MUC "#admin"
#define NS_MUC_OWNER NS_MUC "#owner"
#define NS_MUC_UNIQUE NS_MUC "#unique"
#define NS_MUC_CONFIG NS_MUC "#roomconfig"
#define NS_MUC_INFO NS_MUC "#roominfo"
#define NS_MUC_REGISTER NS_MUC "#register"
#define NS_MUC_REQUEST NS_MUC "#request"
#define NS_OCCUPANT_ID "urn:xmpp:occupant-id:0"
#define NS_SID "urn:xmpp:sid:0"
#define NS_RETRACT "urn:xmpp:message-retract:1"
#define NS_MODERATE "urn:xmpp:message-moderate:1"
#define NS_HATS "urn:xmpp:hats:0"
#define NS_REGISTER "jabber:iq:register"
#define NS_COMMANDS "http://jabber.org/protocol/commands"
#define NS_CHANNEL_SEARCH "urn:xmpp:channel-search:0:search"

#define MUC_NICK_MAX 255u     /* bytes of a nickname */
#define MUC_AFFILS_MAX 10000u /* affiliations of a room */
#define MUC_ITEMS_MAX 1000u   /* items of one muc#admin request */
#define MUC_WAITING_MAX 5000u /* stanzas that wait for a room that is being loaded or changed */
#define MUC_REASON_MAX 1024u  /* bytes of a reason that are kept */
#define MUC_RELAYS_MAX 500u   /* iqs between occupants of a room that wait for their answers */
#define MUC_VCARD_MAX 131072u
#define MUC_PASSED_MAX 1024u /* who answered a challenge, on a worker */

/* ---- rules (muc_rules.c; pure) ---- */

/* Stored: do not renumber.  Higher may do more (5.2.1). */
enum muc_affiliation {
	MA_OUTCAST = 0,
	MA_NONE,
	MA_MEMBER,
	MA_ADMIN,
	MA_OWNER,
	MA_COUNT /* must be last */
};
enum muc_role {
	MR_NONE = 0,
	MR_VISITOR,
	MR_PARTICIPANT,
	MR_MODERATOR,
	MR_COUNT /* must be last */
};
/* Table 3: what roles may do. */
enum muc_role_privilege {
	MRP_PRESENT = 0,
	MRP_RECEIVE,
	MRP_RECEIVE_PRESENCE,
	MRP_BROADCAST_PRESENCE,
	MRP_CHANGE_STATUS,
	MRP_CHANGE_NICK,
	MRP_PRIVATE_MESSAGE,
	MRP_INVITE,
	MRP_MESSAGE_ALL,
	MRP_SUBJECT,
	MRP_KICK,
	MRP_VOICE,
	MRP_COUNT /* must be last */
};
/* Table 6: what affiliations may do. */
enum muc_affiliation_privilege {
	MAP_ENTER = 0,
	MAP_REGISTER,
	MAP_MEMBER_LIST,
	MAP_ENTER_MEMBERS_ONLY,
	MAP_BAN,
	MAP_EDIT_MEMBERS,
	MAP_EDIT_MODERATORS,
	MAP_EDIT_ADMINS,
	MAP_EDIT_OWNERS,
	MAP_CONFIGURE,
	MAP_DESTROY,
	MAP_COUNT /* must be last */
};
#define MUC_OK (-1) /* a verdict: MUC_OK, or the enum xmpp_error to answer with */

const char *muc_affiliation_name(enum muc_affiliation a);
const char *muc_role_name(enum muc_role r);
bool muc_affiliation_parse(struct td_str s, enum muc_affiliation *out);
bool muc_role_parse(struct td_str s, enum muc_role *out);
bool muc_role_may(enum muc_role r, enum muc_role_privilege p);
bool muc_affiliation_may(enum muc_affiliation a, enum muc_affiliation_privilege p);
/* Table 4. */
enum muc_role muc_default_role(enum muc_affiliation a, bool moderated);
/* The role of an occupant in <was> whose affiliation goes from <old> to <now> (5.1.3, 5.2.2). */
enum muc_role muc_role_after(enum muc_role was, enum muc_affiliation old, enum muc_affiliation now,
			     bool moderated);
/* May <actor> give <target> the role <to>?  (8.2-8.5, 9.6-9.8) */
struct muc_standing {
	enum muc_affiliation affiliation;
	enum muc_role role;
};
int muc_check_role(struct muc_standing actor, struct muc_standing target, enum muc_role to);
/* May an actor of affiliation <actor> change somebody's from <from> to <to>?  (9.1-9.5, 10.3-10.8) */
int muc_check_affiliation(enum muc_affiliation actor, bool self, enum muc_affiliation from,
			  enum muc_affiliation to);

/* ---- configuration (muc_config.c) ---- */

enum muc_pm {
	PM_ANYONE = 0,
	PM_PARTICIPANTS,
	PM_MODERATORS,
	PM_NONE
};
struct muc_config {
	struct td_arena *arena; /* all of it lives there */
	struct td_str name, desc, lang, pubsub, secret;
	bool persistent, public_room, members_only, moderated, password, logging, change_subject,
		allow_invites, captcha;
	uint8_t allow_pm;        /* enum muc_pm */
	uint8_t whois;           /* 1: anyone learns real JIDs */
	uint8_t broadcast, list; /* bits 1 << enum muc_role */
	int64_t max_users;       /* 0: as the service allows */
	int64_t history;         /* messages shown to newcomers at most */
};
struct muc_config_limits {
	int64_t history_default, history_max, users_max;
};
struct muc_config *muc_config_new(const struct muc_config_limits *lim);
void muc_config_free(struct muc_config *c);
/* The fields of <form> over <old>; what is missing stays.  NULL and a text in *why: not acceptable. */
struct muc_config *muc_config_read(const struct muc_config *old, const struct xmpp_form *form,
				   const struct muc_config_limits *lim, const char **why);
/* From what muc_config_props made; unknown and broken ones are left out. */
struct muc_config *muc_config_load(const struct store_muc_prop *props, size_t n,
				   const struct muc_config_limits *lim);
/* One property per field, without a value where it has the default.  In <a>; n_out entries. */
struct store_muc_prop *muc_config_props(struct td_arena *a, const struct muc_config *c,
					const struct muc_config_limits *lim, size_t *n_out);
/* Append the fields of the owner's form. */
void muc_config_form(struct td_buf *out, const struct muc_config *c,
		     const struct muc_config_limits *lim);
/* Status codes occupants are told when <a> becomes <b> (10.2.1); how many. */
size_t muc_config_codes(const struct muc_config *a, const struct muc_config *b, unsigned out[8]);

/* ---- rooms ---- */

#define MUC_ID (STORE_ARCHIVE_NAME + 1) /* bytes of a stanza-id */

struct muc_affil {                  /* one malloc with its strings */
	struct td_str jid;          /* bare, or a domain */
	struct td_str nick, reason; /* .p NULL = none */
	uint8_t affiliation;
};
struct muc_ses {
	TAILQ_ENTRY(muc_ses) link;     /* room->sessions */
	TAILQ_ENTRY(muc_ses) occ_link; /* occ->sessions, latest presence last */
	struct muc_occ *occ;
	struct xmpp_jid jid;    /* full, real; one malloc */
	struct td_str presence; /* content of its last presence, without what is ours; malloc'd */
	uint64_t since;         /* start of the window <changes> counts in */
	unsigned changes;
	unsigned bounces;    /* service-unavailable since it was last heard of */
	uint64_t bounced_to; /* hash of the address the first of them came to */
};
struct muc_occ {
	TAILQ_ENTRY(muc_occ) link;
	struct xmpp_jid jid; /* room@service/nick; one malloc */
	struct td_str bare;  /* real bare JID; malloc'd */
	uint8_t affiliation, role;
	char oid[65]; /* XEP-0421 */
	TAILQ_HEAD(muc_occ_sessions, muc_ses) sessions;
	unsigned n_sessions;
};
enum muc_state {
	MUC_LOADING = 0,
	MUC_ABSENT, /* there is no such room */
	MUC_LOCKED, /* made, not configured (10.1) */
	MUC_OPEN,
};
struct muc_waiting;
struct muc_message;
struct muc_hat;
struct muc_room {
	struct muc *muc;
	struct xmpp_env *env;
	struct xmpp_jid jid; /* bare; one malloc */
	uint8_t state;       /* enum muc_state */
	bool stored;         /* has its row */
	bool counted;        /* the directory knows it */
	bool failed;         /* the store could not say */
	bool refused;        /* the directory said no */
	/* > 0: somebody is at work on the room, or waits for the store: what comes waits. */
	unsigned hold;
	STAILQ_HEAD(muc_waiting_list, muc_waiting) waiting;
	unsigned n_waiting;
	struct xmpp_stanza *asked; /* what the directory is asked for; a reference */
	uint64_t keep_until;       /* wall ms: not let go before, though nobody is in it */
	struct muc_config *cfg;
	unsigned char secret[32]; /* of the occupant ids */
	struct td_map affils;     /* JID -> struct muc_affil */
	struct td_map nicks;      /* reserved nick -> struct muc_affil */
	unsigned n_owners;
	struct td_map voices; /* bare JID -> struct muc_affil whose affiliation is a role (5.1) */
	TAILQ_HEAD(muc_sessions, muc_ses) sessions;
	unsigned n_sessions;
	TAILQ_HEAD(muc_occs, muc_occ) occs;
	struct td_map by_jid;  /* full real JID -> struct muc_ses */
	struct td_map by_nick; /* nick -> struct muc_occ */
	TAILQ_HEAD(muc_messages, muc_message) history;
	unsigned n_history;
	size_t history_bytes;
	char (*ids)[MUC_ID]; /* stanza-ids given out lately, a ring */
	unsigned n_ids, next_id;
	struct {
		struct td_str xml, text, nick, oid; /* one malloc at mem */
		char *mem;
		uint64_t at; /* 0: never set */
	} subject;
	struct td_str vcard;   /* serialised; malloc'd; .p NULL = none */
	struct td_str avatars; /* SHA-1 of each photo, one a line; malloc'd */
	TAILQ_HEAD(muc_hats, muc_hat) hats;
	unsigned n_hats;
	unsigned n_relays;
	struct td_arena *scratch; /* muc_scratch */
};

struct muc { /* a worker's; env->module_data[XMPP_SLOT_MUC] */
	struct xmpp_env *env;
	struct td_map rooms;    /* bare JID -> struct muc_room */
	struct td_map services; /* domain -> struct muc_service */
	LIST_HEAD(muc_calls, muc_call) calls;
	struct td_timer sweep;
	/* Joins counted by a hash of room and person; cleared every now and then (muc_join.c). */
	uint8_t *joins;
	uint64_t joins_since; /* mono ms */
	/* Challenges (muc_captcha.c): id -> struct muc_join; hashes of who passed, a ring, NULL = nobody yet. */
	struct td_map asked;
	uint64_t *passed;
	unsigned next_passed;
};

/* A call to the store that outlives the turn: the room is held meanwhile.  room NULL in the reply: the worker's
 * instance is gone. */
struct muc_call {
	LIST_ENTRY(muc_call) link;
	struct muc *muc;
	struct muc_room *room;
};

/* ---- xep_0045_muc.c ---- */

void muc_call_begin(struct muc_call *c, struct muc_room *room);
/* What waited goes on; the room may be gone afterwards.  Does not free <c>. */
void muc_call_end(struct muc_call *c);
void muc_hold(struct muc_room *room);
void muc_release(struct muc_room *room);
/* Memory for what is being handled; it goes when the room rests. */
struct td_arena *muc_scratch(struct muc_room *room);
void muc_config_limits(const struct muc_room *room, struct muc_config_limits *out);
/* Make the room, locked, <owner> its owner; it was absent and the directory agreed. */
void muc_room_create(struct muc_room *room, struct td_str owner);
/* Ask whether another room may be made for <s> (a join or an owner's form), and handle it again when it may. */
void muc_room_ask(struct muc_room *room, struct xmpp_stanza *s);
/* Everybody is out: forget it, in the directory too.  The store is the caller's. */
void muc_room_end(struct muc_room *room);
bool muc_is_admin(const struct muc_room *room, const struct xmpp_jid *who);

/* Changes: fill in, commit; done runs once, after the commit or at once for rooms that are not stored.
 * rc < 0: nothing was changed (the room is as before). */
struct muc_change {
	struct muc_call call;
	struct td_arena *arena; /* <ch> itself lives in it */
	struct muc_room *room;  /* NULL: gone */
	struct xmpp_stanza *s;  /* what asked for it; a reference, may be NULL */
	struct store_muc_affil *affils;
	size_t n_affils, cap_affils;
	struct store_muc_prop *props; /* beside those of cfg */
	size_t n_props, cap_props;
	struct muc_config *
		cfg; /* new configuration, NULL = as it was; in done after a commit: the former one */
	bool destroy; /* the room goes */
	void (*done)(struct muc_change *ch, int rc);
	void *arg; /* in the arena */
};
struct muc_change *muc_change_new(struct muc_room *room, struct xmpp_stanza *s,
				  void (*done)(struct muc_change *, int rc));
void muc_change_affil(struct muc_change *ch, struct td_str jid, enum muc_affiliation a,
		      struct td_str nick, struct td_str reason);
void muc_change_prop(struct muc_change *ch, const char *key, struct td_str value);
/* Commits, applies to memory (affiliations, cfg), calls done, frees. */
void muc_change_commit(struct muc_change *ch);

/* ---- muc_room.c ---- */

/* The affiliation entry of a JID itself. */
struct muc_affil *muc_affil_find(const struct muc_room *room, struct td_str jid);
/* What <who> is here: administrators of the service are owners; then its own entry, then its domain's. */
enum muc_affiliation muc_affiliation(const struct muc_room *room, const struct xmpp_jid *who);
void muc_affil_set(struct muc_room *room, struct td_str jid, enum muc_affiliation a,
		   struct td_str nick, struct td_str reason);
/* Who else has <nick> reserved; NULL = nobody. */
struct muc_affil *muc_nick_taken(const struct muc_room *room, struct td_str nick,
				 struct td_str bare);
struct muc_ses *muc_ses_find(const struct muc_room *room, const struct xmpp_jid *full);
struct muc_occ *muc_occ_find(const struct muc_room *room, struct td_str nick);
/* The first occupant of that bare JID. */
struct muc_occ *muc_occ_of(const struct muc_room *room, struct td_str bare);
/* The highest role of a bare JID in the room. */
enum muc_role muc_role_of(const struct muc_room *room, struct td_str bare);
struct muc_occ *muc_occ_add(struct muc_room *room, struct td_str nick, const struct xmpp_jid *real);
void muc_occ_rename(struct muc_room *room, struct muc_occ *occ, struct td_str nick);
struct muc_ses *muc_ses_add(struct muc_room *room, struct muc_occ *occ,
			    const struct xmpp_jid *real);
/* To another occupant of the same person. */
void muc_ses_move(struct muc_room *room, struct muc_ses *ses, struct muc_occ *to);
/* The occupant stays, without sessions maybe. */
void muc_ses_del(struct muc_room *room, struct muc_ses *ses);
void muc_occ_del(struct muc_room *room, struct muc_occ *occ);
/* The role given to a person in a moderated room, remembered for the next visit (5.1). */
void muc_voice_set(struct muc_room *room, struct td_str bare, enum muc_role role);
enum muc_role muc_voice_get(const struct muc_room *room, struct td_str bare);
void muc_occupant_id(const struct muc_room *room, struct td_str bare, char out[65]);
void muc_subject_set(struct muc_room *room, struct td_str xml, struct td_str text,
		     struct td_str nick, struct td_str oid, uint64_t at);
struct muc_room *muc_room_new(struct muc *muc, const struct xmpp_jid *jid);
void muc_room_free(struct muc_room *room);
static inline bool
muc_shows_jids(const struct muc_room *room)
{
	return room->cfg->whois != 0;
}

/* ---- muc_send.c ---- */

/* What a presence says beside who it is about. */
struct muc_note {
	unsigned codes[4];      /* for everybody; 0 ends */
	unsigned self_codes[6]; /* more, for the occupant itself */
	struct td_str actor;    /* nick of who did it */
	struct td_str reason;
	struct td_str nick;    /* the nick it changes to */
	struct td_str destroy; /* <destroy/>, serialised */
	struct td_str status;  /* content of a leaving presence, serialised */
	struct td_str id;      /* of the stanza that asked for it */
	bool gone;             /* unavailable, role none */
};
#define MUC_TO_SELF 0x1u
#define MUC_TO_OTHERS 0x2u
/* Presence of <occ>, as its session <ses> shows it, to its own sessions and/or the other occupants'. */
void muc_presence(struct muc_room *room, struct muc_occ *occ, struct muc_ses *ses,
		  const struct muc_note *note, unsigned to_whom);
/* The same to one session. */
void muc_presence_to(struct muc_room *room, struct muc_occ *occ, struct muc_ses *ses,
		     const struct muc_note *note, struct muc_ses *to);
/* Would others see it? */
bool muc_is_shown(const struct muc_room *room, const struct muc_occ *occ);
/* A copy of <s> (sealed) to a session. */
void muc_send(struct muc_room *room, struct xmpp_stanza *s, const struct muc_ses *to);
/* To every session. */
void muc_fan_out(struct muc_room *room, struct xmpp_stanza *s);
/* A groupchat message of the room itself with a status code. */
void muc_tell_code(struct muc_room *room, unsigned code);
/* Take off what only a room or a server may say (17.3 rule 6, XEP-0421, 0359, 0317, 0203, 0425). */
void muc_strip(const struct muc_room *room, struct xmpp_node *root);
/* Error answers, with 'by' the room (7.2 and on). */
void muc_refuse(struct muc_room *room, const struct xmpp_stanza *s, enum xmpp_error e,
		const char *text);
/* The same with another error type than the condition's own. */
void muc_refuse_as(struct muc_room *room, const struct xmpp_stanza *s, enum xmpp_error e,
		   const char *type, const char *text);
void muc_result(struct muc_room *room, const struct xmpp_stanza *iq, struct td_str payload);

/* ---- muc_join.c ---- */

void muc_on_presence(struct muc_room *room, struct xmpp_stanza *s);
/* The session leaves; the last one takes the occupant with it. */
void muc_leave(struct muc_room *room, struct muc_ses *ses, const struct muc_note *note);
/* The occupant is removed with all its sessions; the two halves, for those who answer between them. */
void muc_remove(struct muc_room *room, struct muc_occ *occ, const struct muc_note *note);
void muc_remove_self(struct muc_room *room, struct muc_occ *occ, const struct muc_note *note);
void muc_remove_others(struct muc_room *room, struct muc_occ *occ, const struct muc_note *note);
/* An error came back from an occupant: a ghost is removed (18.1.2).  True when it was. */
bool muc_on_bounce(struct muc_room *room, struct xmpp_stanza *s);
/* The occupant's role changes; tells everybody. */
void muc_set_role(struct muc_room *room, struct muc_occ *occ, enum muc_role role,
		  const struct muc_note *note);

/* ---- muc_message.c ---- */

void muc_on_message(struct muc_room *room, struct xmpp_stanza *s);
/* An invitation of the room's, <from> the inviter as the invitee may see it. */
void muc_invite(struct muc_room *room, struct td_str to, struct td_str from,
		const struct xmpp_node *invite, struct td_str id);

/* ---- muc_history.c ---- */

struct muc_message {
	TAILQ_ENTRY(muc_message) link;
	uint64_t at;                 /* wall ms */
	struct xmpp_stanza *s;       /* sealed, from the occupant, without 'to' */
	struct xmpp_stanza *delayed; /* with its stamp; made when first shown */
	char id[MUC_ID];
	char oid[65];
};
/* A new stanza-id (XEP-0359): the one place where they are made. */
void muc_stanza_id(struct muc_room *room, char out[MUC_ID]);
/* Every groupchat message the room accepted passes here once, before it goes out: <s> sealed, with its stanza-id
 * <id>; <occ> NULL = from the room itself, else <real> is the address of the session that sent it.  <promise> (may be
 * NULL): what its sender's acknowledgement waits for (sm.h) waits for the archive too. */
void muc_archive(struct muc_room *room, struct xmpp_stanza *s, const struct muc_occ *occ,
		 const struct xmpp_jid *real, const char *id, struct xmpp_promise *promise);
/* May <who> read the room's archive (XEP-0313): exactly those who could enter now. */
bool muc_may_read(const struct muc_room *room, const struct xmpp_jid *who);
/* Do we know of a message with that stanza-id? */
bool muc_archive_has(const struct muc_room *room, struct td_str id);
/* It was retracted by the message <by> (XEP-0424): forget it if it is <oid>'s, in the archive put a tombstone; oid
 * NULL = a moderator's doing (XEP-0425). */
void muc_archive_retract(struct muc_room *room, struct td_str id, const char *oid,
			 const struct xmpp_stanza *by);
/* History, then the subject, to who just joined; <x> = the join's <x/> (7.2.13-7.2.15). */
void muc_history_send(struct muc_room *room, struct muc_ses *ses, const struct xmpp_node *x);

/* ---- muc_captcha.c ---- */

/* True when who wants to enter, of affiliation <a>, has to show first that it is a person; it was asked, or refused. */
bool muc_captcha_holds(struct muc_room *room, struct xmpp_stanza *s, enum muc_affiliation a);
void muc_captcha_free(struct muc *muc);

/* ---- muc_mam.c: the archive of a room (XEP-0313) ---- */

struct muc_iq;
struct xmpp_promise;

/* <real>: of the sender; the room's own JID = from the room itself. */
void muc_mam_keep(struct muc_room *room, struct xmpp_stanza *s, const struct xmpp_jid *real,
		  const char *id, struct xmpp_promise *promise);
bool muc_mam_on(const struct muc_room *room);
bool muc_mam_has(const struct muc_room *room, struct td_str id);
void muc_mam_retract(struct muc_room *room, struct td_str id, const char *oid,
		     const struct xmpp_stanza *by);
/* The last messages become the history of a room that was just loaded; the room is held until then. */
void muc_mam_recall(struct muc_room *room);
void muc_mam_query(struct muc_iq *iq);
/* One more line of history, as kept. */
void muc_history_add(struct muc_room *room, struct xmpp_stanza *s, const char *id, const char *oid,
		     uint64_t at);
void muc_history_clear(struct muc_room *room);

/* ---- iqs: muc_admin.c, muc_owner.c, muc_iq.c, xep_0425, xep_0486, xep_0317 ---- */

struct muc_iq {
	struct muc_room *room;
	struct xmpp_stanza *s;
	struct xmpp_node *payload;
	enum muc_affiliation affiliation; /* of the sender */
	struct muc_occ *occ;              /* the sender's, when it joined; else NULL */
};
/* To a room's bare JID.  Does not take the reference. */
void muc_on_iq(struct muc_room *room, struct xmpp_stanza *s);
/* To an occupant (17.4, XEP-0410). */
void muc_on_occupant_iq(struct muc_room *room, struct xmpp_stanza *s);
void muc_admin_get(struct muc_iq *iq);
void muc_admin_set(struct muc_iq *iq);
void muc_owner_get(struct muc_iq *iq);
void muc_owner_set(struct muc_iq *iq);
void muc_moderate_set(struct muc_iq *iq);
void muc_captcha_set(struct muc_iq *iq);
void muc_bob_get(struct muc_iq *iq);
void muc_vcard_get(struct muc_iq *iq);
void muc_vcard_set(struct muc_iq *iq);
void muc_command_set(struct muc_iq *iq);
void muc_command_items(struct muc_iq *iq);
void muc_avatar_info(const struct muc_room *room, struct td_buf *out);
void muc_avatar_load(struct muc_room *room, struct td_str vcard);
void muc_hats_write(const struct muc_room *room, struct td_str bare, struct td_buf *out);
void muc_hats_info(const struct muc_room *room, struct td_buf *out);
void muc_hats_load(struct muc_room *room, const struct store_muc_prop *props, size_t n);
void muc_hats_free(struct muc_room *room);
/* Show again what an occupant's affiliation became; removes who must go (9.1, 9.4). */
void muc_affiliation_changed(struct muc_room *room, struct muc_occ *occ, enum muc_affiliation now,
			     const struct muc_note *note, unsigned removal_code);
/* Everybody leaves (10.9); the room is absent afterwards. */
void muc_destroy(struct muc_room *room, struct td_str destroy_xml);
/* What is kept of a part of the room, into <ch>: it becomes persistent. */
void muc_subject_prop(struct muc_change *ch, struct td_str xml, struct td_str text,
		      struct td_str nick, struct td_str oid, uint64_t at);
void muc_subject_load(struct muc_room *room, struct td_str value);
void muc_hats_props(struct muc_change *ch);

/* ---- muc_service.c ---- */

/* To the service itself.  Takes the reference. */
void muc_on_service(struct xmpp_env *env, struct xmpp_stanza *s);
/* May one more room be made?  The answer goes to muc_room_granted on this worker. */
void muc_directory_ask(struct muc_room *room);
void muc_room_granted(struct muc *muc, struct td_str room, bool yes);
/* The directory's entry follows the room. */
void muc_directory_update(struct muc_room *room);
void muc_directory_drop(struct muc_room *room);
void muc_services_free(struct muc *muc);
#endif
