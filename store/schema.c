/* schema - the tables, as steps from each version to the next.
 *
 * PRAGMA user_version says which steps a file has seen; 0 is an empty file.  A step runs in
 * one transaction with its new version, so a crash leaves the old schema or the new one.
 * Steps are never edited once released: a change is a new row. */
#include "store/op.h"

#include <stdio.h>

#define APP_ID 0x544e444d /* "TNDM", in the file's header: see file(1) */

/* 1: what a chat server keeps. */
static const char v1_chat[] =
	"CREATE TABLE accounts ("
	" id INTEGER PRIMARY KEY,"
	" jid TEXT NOT NULL UNIQUE,"
	" domain TEXT NOT NULL,"
	" disabled INTEGER NOT NULL DEFAULT 0,"
	" created INTEGER NOT NULL," /* Unix seconds */
	" roster_ver INTEGER NOT NULL,"
	" roster_floor INTEGER NOT NULL," /* removals up to here are forgotten */
	" sha1_iter INTEGER, sha1_salt BLOB, sha1_stored BLOB, sha1_server BLOB,"
	" sha256_iter INTEGER, sha256_salt BLOB, sha256_stored BLOB, sha256_server BLOB);"
	"CREATE INDEX accounts_domain ON accounts (domain, jid);"
	"CREATE TABLE roster ("
	" account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL,"
	" name TEXT,"
	" sub INTEGER NOT NULL,"
	" flags INTEGER NOT NULL,"
	" ver INTEGER NOT NULL,"
	" stanza TEXT,"
	" PRIMARY KEY (account, jid)) WITHOUT ROWID;"
	"CREATE TABLE roster_groups ("
	" account INTEGER NOT NULL,"
	" jid TEXT NOT NULL,"
	" pos INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" PRIMARY KEY (account, jid, pos),"
	" FOREIGN KEY (account, jid) REFERENCES roster (account, jid) ON DELETE CASCADE)"
	" WITHOUT ROWID;"
	"CREATE TABLE roster_removed ("
	" account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL,"
	" ver INTEGER NOT NULL,"
	" at INTEGER NOT NULL," /* wall ms, as every <at> */
	" PRIMARY KEY (account, jid)) WITHOUT ROWID;"
	"CREATE INDEX roster_removed_at ON roster_removed (at);"
	/* AUTOINCREMENT: readers page by 'id > last seen', so an id must not come back */
	"CREATE TABLE messages ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,"
	" at INTEGER NOT NULL,"
	" stanza BLOB NOT NULL);"
	"CREATE INDEX messages_account ON messages (account, id);"
	"CREATE TABLE settings ("
	" owner TEXT NOT NULL,"
	" key TEXT NOT NULL,"
	" value BLOB NOT NULL,"
	" PRIMARY KEY (owner, key)) WITHOUT ROWID;";

/* 2: what joining mail to it needs.  Addresses are text here: a correspondent of ours may
 * have mail in flight and no account. */
static const char v2_mail[] = "CREATE TABLE dedup ("
			      " mail_id TEXT NOT NULL,"
			      " account TEXT NOT NULL,"
			      " at INTEGER NOT NULL,"
			      " PRIMARY KEY (mail_id, account)) WITHOUT ROWID;"
			      "CREATE INDEX dedup_at ON dedup (at);"
			      "CREATE TABLE threads ("
			      " id INTEGER PRIMARY KEY AUTOINCREMENT,"
			      " account TEXT NOT NULL,"
			      " mail_id TEXT NOT NULL,"
			      " peer TEXT NOT NULL,"
			      " thread TEXT,"
			      " subject TEXT,"
			      " at INTEGER NOT NULL,"
			      " UNIQUE (account, mail_id));"
			      "CREATE INDEX threads_peer ON threads (account, peer, id);"
			      "CREATE INDEX threads_at ON threads (at);"
			      /* data last: a listing does not read its pages */
			      "CREATE TABLE outbox ("
			      " id INTEGER PRIMARY KEY AUTOINCREMENT,"
			      " account TEXT NOT NULL,"
			      " jid TEXT NOT NULL,"
			      " stanza_id TEXT,"
			      " sender TEXT NOT NULL,"
			      " rcpt TEXT NOT NULL,"
			      " created INTEGER NOT NULL,"
			      " next_try INTEGER NOT NULL,"
			      " expires INTEGER NOT NULL,"
			      " tries INTEGER NOT NULL DEFAULT 0,"
			      " last_error TEXT,"
			      " data BLOB NOT NULL);"
			      "CREATE INDEX outbox_next ON outbox (next_try, id);";

/* 3-8: each is made and read by one file of the store. */

/* 4: pubsub.c.  An owner is an account (PEP) or a service's domain.  Triggers keep the size of each node. */
static const char v4_pubsub[] =
	"CREATE TABLE ps_nodes ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" owner TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" config TEXT NOT NULL,"
	" created INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL DEFAULT 0,"
	" UNIQUE (owner, name));"
	/* AUTOINCREMENT: the order of publication, and no number comes back */
	"CREATE TABLE ps_items ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" node INTEGER NOT NULL REFERENCES ps_nodes (id) ON DELETE CASCADE,"
	" id TEXT NOT NULL,"
	" at INTEGER NOT NULL,"
	" publisher TEXT NOT NULL,"
	" payload BLOB NOT NULL,"
	" UNIQUE (node, id));"
	"CREATE INDEX ps_items_order ON ps_items (node, seq);"
	"CREATE TRIGGER ps_item_in AFTER INSERT ON ps_items BEGIN"
	" UPDATE ps_nodes SET bytes = bytes + length(new.id) + length(new.payload)"
	" WHERE id = new.node; END;"
	"CREATE TRIGGER ps_item_out AFTER DELETE ON ps_items BEGIN"
	" UPDATE ps_nodes SET bytes = bytes - length(old.id) - length(old.payload)"
	" WHERE id = old.node; END;"
	"CREATE TABLE ps_affiliations ("
	" node INTEGER NOT NULL REFERENCES ps_nodes (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL,"
	" state INTEGER NOT NULL,"
	" PRIMARY KEY (node, jid)) WITHOUT ROWID;"
	"CREATE TABLE ps_subscriptions ("
	" node INTEGER NOT NULL REFERENCES ps_nodes (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL,"
	" state INTEGER NOT NULL,"
	" options TEXT NOT NULL,"
	" PRIMARY KEY (node, jid)) WITHOUT ROWID;";
static const char v5_muc[] = /* muc.c */
	"CREATE TABLE muc_rooms ("
	" id INTEGER PRIMARY KEY,"
	" jid TEXT NOT NULL UNIQUE,"
	" domain TEXT NOT NULL,"
	" created INTEGER NOT NULL);"
	"CREATE INDEX muc_rooms_domain ON muc_rooms (domain, jid);"
	"CREATE TABLE muc_props ("
	" room INTEGER NOT NULL REFERENCES muc_rooms (id) ON DELETE CASCADE,"
	" key TEXT NOT NULL,"
	" value BLOB NOT NULL,"
	" PRIMARY KEY (room, key)) WITHOUT ROWID;"
	"CREATE TABLE muc_affiliations ("
	" room INTEGER NOT NULL REFERENCES muc_rooms (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL,"
	" affiliation INTEGER NOT NULL,"
	" nick TEXT,"
	" reason TEXT,"
	" PRIMARY KEY (room, jid)) WITHOUT ROWID;"
	"CREATE INDEX muc_affiliations_jid ON muc_affiliations (jid);";
static const char v6_signin[] = /* signin.c */
	"CREATE TABLE tokens ("
	" account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,"
	" agent TEXT NOT NULL,"
	" slot INTEGER NOT NULL,"
	" seed BLOB NOT NULL,"
	" mech TEXT NOT NULL,"
	" created INTEGER NOT NULL," /* Unix seconds, and expires */
	" expires INTEGER NOT NULL,"
	" count INTEGER NOT NULL,"
	" used INTEGER NOT NULL," /* wall ms */
	" PRIMARY KEY (account, agent, slot)) WITHOUT ROWID;"
	"CREATE TABLE invites ("
	" hash BLOB PRIMARY KEY,"
	" domain TEXT NOT NULL,"
	" inviter INTEGER REFERENCES accounts (id) ON DELETE CASCADE,"
	" username TEXT,"
	" as_roster INTEGER NOT NULL,"
	" as_account INTEGER NOT NULL,"
	" uses INTEGER NOT NULL,"
	" expires INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX invites_inviter ON invites (inviter);"
	"CREATE TABLE tombstones ("
	" jid TEXT PRIMARY KEY,"
	" at INTEGER NOT NULL) WITHOUT ROWID;"; /* Unix seconds */
/* No reference to accounts: the row of a file is needed until the file is gone (store_account_delete lets it expire).
 * state: enum store_upload_state.  Times in ms; expires 2^62 = never. */
static const char v7_upload[] = /* upload.c */
	"CREATE TABLE uploads ("
	" id TEXT PRIMARY KEY,"
	" service TEXT NOT NULL,"
	" owner TEXT NOT NULL,"
	" name TEXT NOT NULL,"
	" type TEXT NOT NULL,"
	" size INTEGER NOT NULL,"
	" state INTEGER NOT NULL,"
	" made INTEGER NOT NULL,"
	" expires INTEGER NOT NULL,"
	" keep_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX uploads_owner ON uploads (owner, made);"
	"CREATE INDEX uploads_expires ON uploads (expires);";
static const char v8_misc[] = /* directory.c */
	"CREATE TABLE directory ("
	" jid TEXT PRIMARY KEY REFERENCES accounts (jid) ON DELETE CASCADE,"
	" first TEXT NOT NULL,"
	" last TEXT NOT NULL,"
	" nick TEXT NOT NULL,"
	" email TEXT NOT NULL) WITHOUT ROWID;";

/* 9: admin.c.  login: Unix seconds of the last one, NULL = never, 0 = before it was noted; counted: since when <logins>
 * counts, NULL = since the account was made. */
static const char v9_admin[] =
	"ALTER TABLE accounts ADD COLUMN login INTEGER;"
	"ALTER TABLE accounts ADD COLUMN logins INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE accounts ADD COLUMN counted INTEGER;"
	"UPDATE accounts SET login = 0, counted = CAST(strftime('%s', 'now') AS INTEGER);"
	"CREATE TABLE admins ("
	" domain TEXT NOT NULL,"
	" jid TEXT NOT NULL REFERENCES accounts (jid) ON DELETE CASCADE,"
	" PRIMARY KEY (domain, jid)) WITHOUT ROWID;"
	"CREATE INDEX admins_jid ON admins (jid);"
	"CREATE TABLE domain_texts ("
	" domain TEXT NOT NULL,"
	" kind INTEGER NOT NULL," /* enum store_text */
	" mark TEXT NOT NULL,"
	" text TEXT NOT NULL,"
	" PRIMARY KEY (domain, kind)) WITHOUT ROWID;";

/* 10: pubsub.c.  An address may subscribe to a node several times: each subscription has an id of its own. */
static const char v10_subids[] =
	"ALTER TABLE ps_subscriptions RENAME TO ps_subscriptions_9;"
	"CREATE TABLE ps_subscriptions ("
	" node INTEGER NOT NULL REFERENCES ps_nodes (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL,"
	" subid TEXT NOT NULL,"
	" state INTEGER NOT NULL,"
	" options TEXT NOT NULL,"
	" PRIMARY KEY (node, jid, subid)) WITHOUT ROWID;"
	"INSERT INTO ps_subscriptions SELECT node, jid, lower(hex(randomblob(8))), state, options"
	" FROM ps_subscriptions_9;"
	"DROP TABLE ps_subscriptions_9;";

/* 11: archive_log.c. */

/* steps[v] leads from version v to v + 1 */
static const char *const steps[] = { v1_chat,
				     v2_mail,
				     store_schema_archive,
				     v4_pubsub,
				     v5_muc,
				     v6_signin,
				     v7_upload,
				     v8_misc,
				     v9_admin,
				     v10_subids,
				     store_schema_archive_log };
_Static_assert(sizeof(steps) / sizeof(steps[0]) == STORE_SCHEMA, "one step per version");

static int
run_step(struct store_db *db, int64_t from, struct td_err *err)
{
	char version[96];
	int rc;

	(void)snprintf(version, sizeof(version),
		       "PRAGMA user_version = %d; PRAGMA application_id = %d;", (int)from + 1,
		       APP_ID);
	if ((rc = store_db_script(db, err, "BEGIN IMMEDIATE")) < 0)
		return rc;
	if ((rc = store_db_script(db, err, steps[from])) < 0 ||
	    (rc = store_db_script(db, err, version)) < 0 ||
	    (rc = store_db_script(db, err, "COMMIT")) < 0) {
		(void)store_db_script(db, NULL, "ROLLBACK");
		return rc;
	}
	return 0;
}

int
store_schema_migrate(struct store_db *db, struct td_err *err)
{
	int64_t version = 0, app = 0, tables = 0;
	int rc;

	if ((rc = store_db_int(db, err, &version, "PRAGMA user_version", SV_NONE)) < 0 ||
	    (rc = store_db_int(db, err, &app, "PRAGMA application_id", SV_NONE)) < 0 ||
	    (rc = store_db_int(db, err, &tables, "SELECT count(*) FROM sqlite_schema", SV_NONE)) <
		    0)
		return rc;
	if ((app != 0 && app != APP_ID) || (version == 0 && tables > 0))
		return td_fail(err, TD_E_INVAL,
			       "a database of another program, not a Tandem store");
	if (version > STORE_SCHEMA)
		return td_fail(err, TD_E_UNSUPPORTED,
			       "schema version %lld is newer than this program's %d: run the newer "
			       "tandemd, or put back the copy made before the upgrade",
			       (long long)version, STORE_SCHEMA);
	if (version < 0)
		return td_fail(err, TD_E_INVAL, "schema version %lld", (long long)version);
	for (; version < STORE_SCHEMA; version++)
		if ((rc = run_step(db, version, err)) < 0) {
			(void)td_wrap(err, "schema step %d", (int)version + 1);
			return rc;
		}
	return 0;
}
