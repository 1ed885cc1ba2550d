/* signin - tokens, invitations, and making accounts by invitation (store/signin.h). */
#include "store/signin.h"

#include <stdlib.h>
#include "gateway/base/log.h"
#include "store/op.h"

#define EXPIRED_KEPT_S 604800

static uint64_t
now_s(const struct store_op *op)
{
	return store_now(op->st) / 1000;
}

static struct store_val
sv_bytes(const unsigned char *p, size_t n)
{
	return sv_blob(td_str((const char *)p, n));
}

/* ---- tokens ---- */

struct token_op {
	struct store_op op;
	struct td_str jid, agent;
	struct store_token t; /* put, use */
	int64_t count;
	bool forget;
	struct store_token found[2];
	size_t n;
};

static int
token_get_run(struct store_op *op, struct store_db *db)
{
	struct token_op *o = (struct token_op *)op;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q,
				"SELECT slot, seed, mech, created, expires, count FROM tokens"
				" WHERE account = (SELECT id FROM accounts WHERE jid = ?1)"
				" AND agent = ?2 ORDER BY slot DESC LIMIT 2",
				SV(sv_text(o->jid), sv_text(o->agent)));

	o->n = 0;
	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		struct store_token *t = &o->found[o->n];

		if (sqlite3_column_bytes(q, 1) != (int)sizeof(t->seed))
			continue; /* cannot be ours */
		memcpy(t->seed, sqlite3_column_blob(q, 1), sizeof(t->seed));
		t->slot = (unsigned)sqlite3_column_int(q, 0);
		t->mech = store_db_str(q, 2, op->arena);
		t->created = (uint64_t)sqlite3_column_int64(q, 3);
		t->expires = (uint64_t)sqlite3_column_int64(q, 4);
		t->count = (uint64_t)sqlite3_column_int64(q, 5);
		o->n++;
	}
	return rc;
}

static void
token_get_reply(struct store_op *op)
{
	struct token_op *o = (struct token_op *)op;

	op->cb.tokens(op->arg, &op->res, o->found, op->res.rc == 0 ? o->n : 0);
}

/* An account has tokens for so many clients.  Those that are over go first, but not at once: for a
 * while their clients are told so. */
static int
make_room(struct store_op *op, struct store_db *db, int64_t account)
{
	int rc =
		store_db_do(db, &op->err, "DELETE FROM tokens WHERE account = ?1 AND expires <= ?2",
			    SV(sv_int(account), sv_int((int64_t)now_s(op) - EXPIRED_KEPT_S)));

	if (rc >= 0)
		rc = store_db_do(db, &op->err,
				 "DELETE FROM tokens WHERE account = ?1 AND agent NOT IN"
				 " (SELECT agent FROM tokens WHERE account = ?1 GROUP BY agent"
				 "  ORDER BY max(used) DESC LIMIT ?2)",
				 SV(sv_int(account), sv_int(STORE_AGENTS_MAX)));
	return rc;
}

static int
token_put_run(struct store_op *op, struct store_db *db)
{
	struct token_op *o = (struct token_op *)op;
	int64_t id;
	int rc = store_account_id(op, db, o->jid, &id);

	if (rc < 0)
		return rc;
	rc = store_db_do(db, &op->err,
			 "INSERT OR REPLACE INTO tokens"
			 " (account, agent, slot, seed, mech, created, expires, count, used)"
			 " VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, 0, ?7)",
			 SV(sv_int(id), sv_text(o->agent), sv_bytes(o->t.seed, sizeof(o->t.seed)),
			    sv_text(o->t.mech), sv_int((int64_t)o->t.created),
			    sv_int((int64_t)o->t.expires), sv_int((int64_t)store_now(op->st))));
	return rc < 0 ? rc : make_room(op, db, id);
}

static int
token_use_run(struct store_op *op, struct store_db *db)
{
	struct token_op *o = (struct token_op *)op;
	int64_t id;
	int rc = store_account_id(op, db, o->jid, &id);

	if (rc < 0)
		return rc;
	rc = store_db_do(
		db, &op->err,
		"UPDATE tokens SET used = ?5, count = CASE WHEN ?6 < 0 THEN count ELSE ?6 END"
		" WHERE account = ?1 AND agent = ?2 AND slot = ?3 AND seed = ?4"
		" AND (?6 < 0 OR count < ?6)",
		SV(sv_int(id), sv_text(o->agent), sv_int(o->t.slot),
		   sv_bytes(o->t.seed, sizeof(o->t.seed)), sv_int((int64_t)store_now(op->st)),
		   sv_int(o->count)));
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "the token is gone, or was used");
	if (rc > 0 && (o->t.slot == 1 || o->forget)) /* what is older is over with it */
		rc = store_db_do(
			db, &op->err,
			"DELETE FROM tokens WHERE account = ?1 AND agent = ?2 AND slot = 0",
			SV(sv_int(id), sv_text(o->agent)));
	if (rc >= 0 && o->t.slot == 1 && o->forget)
		rc = store_db_do(
			db, &op->err,
			"DELETE FROM tokens WHERE account = ?1 AND agent = ?2 AND slot = 1",
			SV(sv_int(id), sv_text(o->agent)));
	else if (rc >= 0 && o->t.slot == 1)
		rc = store_db_do(
			db, &op->err,
			"UPDATE tokens SET slot = 0 WHERE account = ?1 AND agent = ?2 AND slot = 1",
			SV(sv_int(id), sv_text(o->agent)));
	return rc;
}

static int
token_revoke_run(struct store_op *op, struct store_db *db)
{
	return store_db_do(
		db, &op->err,
		"DELETE FROM tokens WHERE account = (SELECT id FROM accounts WHERE jid = ?1)",
		SV(sv_text(((struct token_op *)op)->jid)));
}

static void
wipe_token(struct store_op *op)
{
	struct token_op *o = (struct token_op *)op;

	td_wipe(&o->t, sizeof(o->t));
	td_wipe(o->found, sizeof(o->found));
}

static const struct store_opdef token_get = {
	.name = "token-get",
	.run = token_get_run,
	.reply = token_get_reply,
	.wipe = wipe_token,
};
static const struct store_opdef token_put = {
	.name = "token-put",
	.write = true,
	.run = token_put_run,
	.reply = store_op_reply,
	.wipe = wipe_token,
};
static const struct store_opdef token_use = {
	.name = "token-use",
	.write = true,
	.run = token_use_run,
	.reply = store_op_reply,
	.wipe = wipe_token,
};
static const struct store_opdef token_revoke = {
	.name = "token-revoke",
	.write = true,
	.run = token_revoke_run,
	.reply = store_op_reply,
};

static struct token_op *
token_op_new(struct store *st, const struct store_opdef *def, struct td_str jid,
	     struct td_str agent, const struct store_token *t)
{
	struct token_op *o = store_op_new(st, def, sizeof(*o),
					  jid.len + agent.len + (t != NULL ? t->mech.len : 0));

	o->jid = store_op_str(&o->op, jid);
	o->agent = store_op_str(&o->op, agent);
	if (t != NULL) {
		o->t = *t;
		o->t.mech = store_op_str(&o->op, t->mech);
	}
	store_op_key(&o->op, jid);
	return o;
}

void
store_token_get(struct store *st, struct td_str jid, struct td_str agent, struct td_loop *loop,
		store_tokens_cb *cb, void *arg)
{
	struct token_op *o = token_op_new(st, &token_get, jid, agent, NULL);

	o->op.loop = loop;
	o->op.cb.tokens = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

void
store_token_put(struct store *st, struct td_str jid, struct td_str agent,
		const struct store_token *t, struct store_to to)
{
	struct token_op *o = token_op_new(st, &token_put, jid, agent, t);

	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_token_use(struct store *st, struct td_str jid, struct td_str agent,
		const struct store_token *t, int64_t count, bool forget, struct store_to to)
{
	struct token_op *o = token_op_new(st, &token_use, jid, agent, t);

	o->count = count;
	o->forget = forget;
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_token_revoke(struct store *st, struct td_str jid, struct store_to to)
{
	struct token_op *o = token_op_new(st, &token_revoke, jid, TD_STR(""), NULL);

	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

/* ---- accounts ---- */

struct register_op {
	struct store_op op;
	struct store_account a;
	unsigned char hash[STORE_HASH_LEN];
	bool invited;
	uint64_t reserve;
};

static void
wipe_register(struct store_op *op)
{
	struct register_op *o = (struct register_op *)op;

	td_wipe(&o->a.sha1, sizeof(o->a.sha1));
	td_wipe(&o->a.sha256, sizeof(o->a.sha256));
}

static int
upgrade_run(struct store_op *op, struct store_db *db)
{
	const struct store_account *a = &((struct register_op *)op)->a;
	int rc = store_db_do(db, &op->err,
			     "UPDATE accounts SET sha256_iter = ?2, sha256_salt = ?3,"
			     " sha256_stored = ?4, sha256_server = ?5"
			     " WHERE jid = ?1 AND sha256_stored IS NULL",
			     SV(sv_text(a->jid), sv_int(a->sha256.iterations),
				sv_bytes(a->sha256.salt, a->sha256.salt_len),
				sv_bytes(a->sha256.stored_key, a->sha256.key_len),
				sv_bytes(a->sha256.server_key, a->sha256.key_len)));

	return rc == 0 ? td_fail(&op->err, TD_E_EXISTS, "no account that lacks it") : rc;
}

/* Is the name kept for somebody, or for nobody yet?  0, EXISTS or another TD_E_*. */
static int
check_reserved(struct store_op *op, struct store_db *db, struct td_str jid, struct store_val hash,
	       uint64_t reserve)
{
	int64_t now = (int64_t)now_s(op), one;
	int rc = store_db_int(db, &op->err, &one,
			      "SELECT 1 FROM tombstones WHERE jid = ?1 AND at > ?2",
			      SV(sv_text(jid), sv_int(now - (int64_t)reserve)));

	if (rc == 0)
		rc = store_db_int(
			db, &op->err, &one,
			"SELECT 1 FROM invites WHERE username IS NOT NULL"
			" AND username || '@' || domain = ?1 AND hash IS NOT ?2 AND uses > 0"
			" AND (expires = 0 OR expires > ?3)",
			SV(sv_text(jid), hash, sv_int(now)));
	return rc == 1 ? td_fail(&op->err, TD_E_EXISTS, "the name is reserved") : rc;
}

/* Use up one of the invitation, if it is for this account. */
static int
take_invite(struct register_op *o, struct store_db *db)
{
	int rc = store_db_do(
		db, &o->op.err,
		"UPDATE invites SET uses = uses - 1 WHERE hash = ?1 AND uses > 0 AND as_account"
		" AND (CASE WHEN username IS NULL"
		"  THEN substr(?2, -length(domain) - 1) = '@' || domain"
		"  ELSE username || '@' || domain = ?2 END)",
		SV(sv_bytes(o->hash, sizeof(o->hash)), sv_text(o->a.jid)));

	return rc == 0 ? td_fail(&o->op.err, TD_E_NOTFOUND, "no such invitation") : rc;
}

static int
register_run(struct store_op *op, struct store_db *db)
{
	struct register_op *o = (struct register_op *)op;
	struct store_val hash = o->invited ? sv_bytes(o->hash, sizeof(o->hash))
					   : (struct store_val){ .type = SV_NULL };
	int rc = check_reserved(op, db, o->a.jid, hash, o->reserve);

	if (rc == 0 && o->invited)
		rc = take_invite(o, db);
	return rc < 0 ? rc : store_account_insert(op, db, &o->a);
}

static const struct store_opdef upgrade = {
	.name = "account-upgrade",
	.write = true,
	.run = upgrade_run,
	.reply = store_op_reply,
	.wipe = wipe_register,
};
static const struct store_opdef register_def = {
	.name = "account-register",
	.write = true,
	.accounts = true,
	.run = register_run,
	.reply = store_op_reply,
	.wipe = wipe_register,
};

void
store_account_upgrade(struct store *st, struct td_str jid, const struct store_scram *sha256,
		      struct store_to to)
{
	struct register_op *o = store_op_new(st, &upgrade, sizeof(*o), jid.len);

	o->a.jid = store_op_str(&o->op, jid);
	o->a.sha256 = *sha256;
	store_op_to(&o->op, to);
	store_op_key(&o->op, jid);
	store_op_submit(&o->op);
}

void
store_register(struct store *st, const struct store_account *a, const unsigned char *hash,
	       uint64_t reserve, struct store_to to)
{
	struct register_op *o = store_op_new(st, &register_def, sizeof(*o), a->jid.len);

	o->a = *a;
	o->a.jid = store_op_str(&o->op, a->jid);
	o->reserve = reserve;
	o->invited = hash != NULL;
	if (hash != NULL)
		memcpy(o->hash, hash, sizeof(o->hash));
	store_op_to(&o->op, to);
	store_op_key(&o->op, a->jid);
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS);
	store_op_submit(&o->op);
}

/* ---- invitations ---- */

struct invite_op {
	struct store_op op;
	struct store_invite i;
	unsigned max;
	bool found;
};

static int
invite_full(struct store_op *op, struct store_db *db, int64_t inviter, unsigned max)
{
	int64_t n = 0, now = (int64_t)now_s(op);
	int rc =
		store_db_do(db, &op->err,
			    "DELETE FROM invites WHERE (expires > 0 AND expires <= ?1) OR uses = 0",
			    SV(sv_int(now)));

	if (rc >= 0 && max > 0)
		rc = store_db_int(db, &op->err, &n,
				  "SELECT count(*) FROM invites WHERE inviter = ?1",
				  SV(sv_int(inviter)));
	if (rc >= 0 && max > 0 && n >= (int64_t)max)
		return td_fail(&op->err, TD_E_LIMIT, "%u invitations are open", max);
	return rc < 0 ? rc : 0;
}

/* A name that is reserved must be free. */
static int
invite_name(struct store_op *op, struct store_db *db, const struct store_invite *i)
{
	char *jid;
	int64_t one;
	int rc;

	if (i->username.p == NULL)
		return 0;
	jid = td_arena_printf(op->arena, "%.*s@%.*s", TD_STR_ARG(i->username),
			      TD_STR_ARG(i->domain));
	rc = store_db_int(db, &op->err, &one, "SELECT 1 FROM accounts WHERE jid = ?1",
			  SV(sv_text(td_cstr(jid))));
	if (rc == 1)
		return td_fail(&op->err, TD_E_EXISTS, "the account exists already");
	return rc < 0 ? rc
		      : check_reserved(op, db, td_cstr(jid), (struct store_val){ .type = SV_NULL },
				       0);
}

static int
invite_add_run(struct store_op *op, struct store_db *db)
{
	struct invite_op *o = (struct invite_op *)op;
	const struct store_invite *i = &o->i;
	struct store_val inviter = { .type = SV_NULL };
	int64_t id = 0;
	int rc = 0;

	if (i->inviter.p != NULL) {
		rc = store_account_id(op, db, i->inviter, &id);
		inviter = sv_int(id);
	}
	if (rc == 0)
		rc = invite_full(op, db, id, i->inviter.p != NULL ? o->max : 0);
	if (rc == 0)
		rc = invite_name(op, db, i);
	if (rc < 0)
		return rc;
	return store_db_do(
		db, &op->err,
		"INSERT INTO invites (hash, domain, inviter, username, as_roster, as_account,"
		" uses, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		SV(sv_bytes(i->hash, sizeof(i->hash)), sv_text(i->domain), inviter,
		   sv_opt(i->username), sv_int(i->roster), sv_int(i->account), sv_int(i->uses),
		   sv_int((int64_t)i->expires)));
}

static int
invite_get_run(struct store_op *op, struct store_db *db)
{
	struct invite_op *o = (struct invite_op *)op;
	struct store_invite *i = &o->i;
	sqlite3_stmt *q;
	int rc = store_db_query(
		db, &op->err, &q,
		"SELECT i.domain, a.jid, i.username, i.as_roster, i.as_account, i.uses,"
		" i.expires FROM invites i LEFT JOIN accounts a ON a.id = i.inviter"
		" WHERE i.hash = ?1 AND i.uses > 0 AND (i.expires = 0 OR i.expires > ?2)",
		SV(sv_bytes(i->hash, sizeof(i->hash)), sv_int((int64_t)now_s(op))));

	if (rc < 0 || (rc = store_db_next(db, &op->err, q)) < 0)
		return rc;
	if (rc == 0)
		return td_fail(&op->err, TD_E_NOTFOUND, "no such invitation");
	i->domain = store_db_str(q, 0, op->arena);
	i->inviter = store_db_str(q, 1, op->arena);
	i->username = store_db_str(q, 2, op->arena);
	i->roster = sqlite3_column_int(q, 3) != 0;
	i->account = sqlite3_column_int(q, 4) != 0;
	i->uses = (unsigned)sqlite3_column_int(q, 5);
	i->expires = (uint64_t)sqlite3_column_int64(q, 6);
	return 0;
}

static void
invite_get_reply(struct store_op *op)
{
	op->cb.invite(op->arg, &op->res, op->res.rc == 0 ? &((struct invite_op *)op)->i : NULL);
}

static int
invite_use_run(struct store_op *op, struct store_db *db)
{
	const struct store_invite *i = &((struct invite_op *)op)->i;
	int rc = store_db_do(
		db, &op->err,
		"UPDATE invites SET uses = uses - 1 WHERE hash = ?1 AND uses > 0 AND as_roster"
		" AND (expires = 0 OR expires > ?3)"
		" AND inviter = (SELECT id FROM accounts WHERE jid = ?2)",
		SV(sv_bytes(i->hash, sizeof(i->hash)), sv_text(i->inviter),
		   sv_int((int64_t)now_s(op))));

	return rc == 0 ? td_fail(&op->err, TD_E_NOTFOUND, "no such invitation") : rc;
}

static const struct store_opdef invite_add = {
	.name = "invite-add",
	.write = true,
	.run = invite_add_run,
	.reply = store_op_reply,
};
static const struct store_opdef invite_get = {
	.name = "invite-get",
	.run = invite_get_run,
	.reply = invite_get_reply,
};
static const struct store_opdef invite_use = {
	.name = "invite-use",
	.write = true,
	.run = invite_use_run,
	.reply = store_op_reply,
};

static struct invite_op *
invite_op_new(struct store *st, const struct store_opdef *def, const unsigned char *hash)
{
	struct invite_op *o = store_op_new(st, def, sizeof(*o), 256);

	memcpy(o->i.hash, hash, STORE_HASH_LEN);
	store_op_key(&o->op, td_str((const char *)hash, STORE_HASH_LEN));
	store_op_topic(&o->op, STORE_ALL_ACCOUNTS); /* an account uses one up */
	return o;
}

void
store_invite_add(struct store *st, const struct store_invite *i, unsigned max, struct store_to to)
{
	struct invite_op *o = invite_op_new(st, &invite_add, i->hash);

	o->i = *i;
	o->i.domain = store_op_str(&o->op, i->domain);
	o->i.inviter = store_op_str(&o->op, i->inviter);
	o->i.username = store_op_str(&o->op, i->username);
	o->max = max;
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

void
store_invite_get(struct store *st, const unsigned char hash[STORE_HASH_LEN], struct td_loop *loop,
		 store_invite_cb *cb, void *arg)
{
	struct invite_op *o = invite_op_new(st, &invite_get, hash);

	o->op.loop = loop;
	o->op.cb.invite = cb;
	o->op.arg = arg;
	store_op_submit(&o->op);
}

void
store_invite_use(struct store *st, const unsigned char hash[STORE_HASH_LEN], struct td_str inviter,
		 struct store_to to)
{
	struct invite_op *o = invite_op_new(st, &invite_use, hash);

	o->i.inviter = store_op_str(&o->op, inviter);
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}
