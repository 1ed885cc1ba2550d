/* muc_rules - who may do what in a room: the tables of XEP-0045 section 5, and what 8, 9 and 10 make of
 * them for changes. */
#include "xmpp/xep/muc.h"

static const char *const affiliation_names[MA_COUNT] = {
	[MA_OUTCAST] = "outcast", [MA_NONE] = "none",   [MA_MEMBER] = "member",
	[MA_ADMIN] = "admin",     [MA_OWNER] = "owner",
};
static const char *const role_names[MR_COUNT] = {
	[MR_NONE] = "none",
	[MR_VISITOR] = "visitor",
	[MR_PARTICIPANT] = "participant",
	[MR_MODERATOR] = "moderator",
};

/* Table 3: the least role that has the privilege; each role has those of the lower ones.  What a room's
 * configuration may change is checked where it is used. */
static const uint8_t role_needed[MRP_COUNT] = {
	[MRP_PRESENT] = MR_VISITOR,          [MRP_RECEIVE] = MR_VISITOR,
	[MRP_RECEIVE_PRESENCE] = MR_VISITOR, [MRP_BROADCAST_PRESENCE] = MR_VISITOR,
	[MRP_CHANGE_STATUS] = MR_VISITOR,    [MRP_CHANGE_NICK] = MR_VISITOR,
	[MRP_PRIVATE_MESSAGE] = MR_VISITOR,  [MRP_INVITE] = MR_VISITOR,
	[MRP_MESSAGE_ALL] = MR_PARTICIPANT,  [MRP_SUBJECT] = MR_PARTICIPANT,
	[MRP_KICK] = MR_MODERATOR,           [MRP_VOICE] = MR_MODERATOR,
};
/* Table 6 likewise. */
static const uint8_t affiliation_needed[MAP_COUNT] = {
	[MAP_ENTER] = MA_NONE,
	[MAP_REGISTER] = MA_NONE,
	[MAP_MEMBER_LIST] = MA_MEMBER,
	[MAP_ENTER_MEMBERS_ONLY] = MA_MEMBER,
	[MAP_BAN] = MA_ADMIN,
	[MAP_EDIT_MEMBERS] = MA_ADMIN,
	[MAP_EDIT_MODERATORS] = MA_ADMIN,
	[MAP_EDIT_ADMINS] = MA_OWNER,
	[MAP_EDIT_OWNERS] = MA_OWNER,
	[MAP_CONFIGURE] = MA_OWNER,
	[MAP_DESTROY] = MA_OWNER,
};
/* Table 4, [moderated]. */
static const uint8_t default_role[2][MA_COUNT] = {
	{ [MA_OUTCAST] = MR_NONE,
	  [MA_NONE] = MR_PARTICIPANT,
	  [MA_MEMBER] = MR_PARTICIPANT,
	  [MA_ADMIN] = MR_MODERATOR,
	  [MA_OWNER] = MR_MODERATOR },
	{ [MA_OUTCAST] = MR_NONE,
	  [MA_NONE] = MR_VISITOR,
	  [MA_MEMBER] = MR_PARTICIPANT,
	  [MA_ADMIN] = MR_MODERATOR,
	  [MA_OWNER] = MR_MODERATOR },
};
/* What it takes to change somebody's affiliation from it, and to it (table 7). */
static const uint8_t affiliation_edit[MA_COUNT] = {
	[MA_OUTCAST] = MAP_BAN,       [MA_NONE] = MAP_EDIT_MEMBERS, [MA_MEMBER] = MAP_EDIT_MEMBERS,
	[MA_ADMIN] = MAP_EDIT_ADMINS, [MA_OWNER] = MAP_EDIT_OWNERS,
};

const char *
muc_affiliation_name(enum muc_affiliation a)
{
	return affiliation_names[a];
}

const char *
muc_role_name(enum muc_role r)
{
	return role_names[r];
}

static bool
find(const char *const *names, size_t n, struct td_str s, unsigned *out)
{
	for (unsigned i = 0; i < n; i++)
		if (td_str_eqc(s, names[i])) {
			*out = i;
			return true;
		}
	return false;
}

bool
muc_affiliation_parse(struct td_str s, enum muc_affiliation *out)
{
	unsigned i;

	if (!find(affiliation_names, MA_COUNT, s, &i))
		return false;
	*out = (enum muc_affiliation)i;
	return true;
}

bool
muc_role_parse(struct td_str s, enum muc_role *out)
{
	unsigned i;

	if (!find(role_names, MR_COUNT, s, &i))
		return false;
	*out = (enum muc_role)i;
	return true;
}

bool
muc_role_may(enum muc_role r, enum muc_role_privilege p)
{
	return (uint8_t)r >= role_needed[p];
}

bool
muc_affiliation_may(enum muc_affiliation a, enum muc_affiliation_privilege p)
{
	return (uint8_t)a >= affiliation_needed[p];
}

enum muc_role
muc_default_role(enum muc_affiliation a, bool moderated)
{
	return (enum muc_role)default_role[moderated][a];
}

enum muc_role
muc_role_after(enum muc_role was, enum muc_affiliation old, enum muc_affiliation now,
	       bool moderated)
{
	enum muc_role dflt = muc_default_role(now, moderated);

	/* 5.1.3: what a new affiliation implies is gained; what a lost one gave is ours to say */
	if (now >= MA_ADMIN || now == MA_OUTCAST || (old >= MA_ADMIN && was == MR_MODERATOR))
		return dflt;
	if (now == MA_MEMBER && was == MR_VISITOR)
		return dflt;
	return was;
}

int
muc_check_role(struct muc_standing actor, struct muc_standing target, enum muc_role to)
{
	bool admin = muc_affiliation_may(actor.affiliation, MAP_EDIT_MODERATORS);

	if (actor.role != MR_MODERATOR && !admin)
		return XE_FORBIDDEN;
	if (to == MR_MODERATOR) /* 9.6 */
		return admin ? MUC_OK : XE_FORBIDDEN;
	if (target.affiliation > actor.affiliation) /* 8.2: lower than the target's */
		return XE_NOT_ALLOWED;
	if (to == MR_NONE) /* table 5: a moderator is kicked by an admin or owner */
		return target.role == MR_MODERATOR && !admin ? XE_NOT_ALLOWED : MUC_OK;
	/* 8.4, 9.7: an admin or owner keeps voice and the moderator's role, whoever asks */
	if (target.affiliation >= MA_ADMIN)
		return target.role == to ? MUC_OK : XE_NOT_ALLOWED;
	if (target.role == MR_MODERATOR)
		return admin ? MUC_OK : XE_FORBIDDEN;
	/* 8.4: nor is voice taken from somebody at the moderator's own level; the unaffiliated have no level, or an
	 * unaffiliated moderator could do nothing at all */
	if (to == MR_VISITOR && target.affiliation > MA_NONE &&
	    target.affiliation >= actor.affiliation)
		return XE_NOT_ALLOWED;
	return MUC_OK;
}

int
muc_check_affiliation(enum muc_affiliation actor, bool self, enum muc_affiliation from,
		      enum muc_affiliation to)
{
	if (!muc_affiliation_may(actor, MAP_EDIT_MEMBERS))
		return XE_FORBIDDEN;
	if (self && to == MA_OUTCAST) /* 9.1 */
		return XE_CONFLICT;
	if (from == to)
		return MUC_OK;
	if (!muc_affiliation_may(actor, (enum muc_affiliation_privilege)affiliation_edit[from]) &&
	    !(self && to < from)) /* an admin may resign */
		return to == MA_OUTCAST ? XE_NOT_ALLOWED : XE_FORBIDDEN;
	if (!muc_affiliation_may(actor, (enum muc_affiliation_privilege)affiliation_edit[to]))
		return XE_FORBIDDEN;
	return MUC_OK;
}
