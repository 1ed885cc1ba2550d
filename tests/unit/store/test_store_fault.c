/* test_store_fault - killed, full, locked, damaged, old and foreign files. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "tests/unit/store/util.h"

static struct got g;

static void
set_up_folder(void)
{
	make_dir();
	loop = td_loop_new(0);
	arena = td_arena_new(0);
}

/* The file as another program sees it. */
static sqlite3 *
open_raw(void)
{
	sqlite3 *h = NULL;

	ck_assert_int_eq(sqlite3_open(path, &h), SQLITE_OK);
	return h;
}

static void
raw(sqlite3 *h, const char *sql)
{
	char *msg = NULL;

	ck_assert_msg(sqlite3_exec(h, sql, NULL, NULL, &msg) == SQLITE_OK, "%s: %s", sql, msg);
}

static int64_t
raw_int(sqlite3 *h, const char *sql)
{
	sqlite3_stmt *q = NULL;
	int64_t v;

	ck_assert_int_eq(sqlite3_prepare_v2(h, sql, -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	v = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return v;
}

static void
check_integrity(void)
{
	sqlite3 *h = open_raw();
	sqlite3_stmt *q = NULL;

	ck_assert_int_eq(sqlite3_prepare_v2(h, "PRAGMA integrity_check", -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(q, 0), "ok");
	sqlite3_finalize(q);
	sqlite3_close(h);
}

static int
try_open(struct td_err *err)
{
	struct store_conf sc = { .path = path, .busy_ms = 100 };

	*err = (struct td_err){ 0 };
	return store_open(&sc, &st, err);
}

/* ---- killed ---- */

static int out_fd;
static unsigned flying;

static void
print_id(void *arg, const struct store_result *r)
{
	(void)arg;
	flying--;
	if (r->rc != 0 || write(out_fd, &r->id, sizeof(r->id)) != (ssize_t)sizeof(r->id))
		_exit(1);
}

/* Adds messages for ever, some at a time, and prints each id once it is told of it. */
static void
be_killed(void)
{
	loop = td_loop_new(0);
	open_store_with(5000, 1000000);
	for (;;) {
		while (flying < 40) {
			flying++;
			store_message_add(st, ANN, S("<message/>"), 1,
					  (struct store_to){ loop, print_id, NULL });
		}
		td_loop_turn(loop, true);
	}
}

static size_t
read_ids(int fd, pid_t pid, uint64_t *ids, size_t max, size_t kill_at)
{
	size_t n = 0;

	while (n < max && read(fd, &ids[n], sizeof(ids[n])) == (ssize_t)sizeof(ids[n]))
		if (++n == kill_at)
			ck_assert_int_eq(kill(pid, SIGKILL), 0);
	return n;
}

START_TEST(kill_loses_nothing_answered)
{
	static uint64_t ids[100000];
	int p[2], status;
	size_t n;
	pid_t pid;

	open_store_with(300, 5);
	add_account(ANN);
	store_close(&st);
	ck_assert_int_eq(pipe(p), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(p[0]);
		out_fd = p[1];
		be_killed();
		_exit(0);
	}
	close(p[1]);
	n = read_ids(p[0], pid, ids, 100000, 200 + (size_t)_i * 333);
	close(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert_uint_ge(n, 200);
	check_integrity();
	open_store_with(300, 5);
	OK(g, store_messages_get(st, ANN, 0, 1000000, loop, on_messages, &g));
	ck_assert_uint_ge(g.n, n);
	for (size_t i = 0, k = 0; i < n; i++, k++) { /* both ascend */
		while (k < g.n && g.m[k].id < ids[i])
			k++;
		ck_assert_msg(k < g.n && g.m[k].id == ids[i],
			      "message %llu was answered and is lost", (unsigned long long)ids[i]);
	}
}
END_TEST

/* ---- full ---- */

static const char kilobytes[30000] = { 'x' };

static int
add_big(void)
{
	return DO(g,
		  store_message_add(st, ANN, td_str(kilobytes, sizeof(kilobytes)), 1, to_got(&g)));
}

static unsigned
fill_up(void)
{
	unsigned n = 0;
	int rc;

	while ((rc = add_big()) == 0)
		ck_assert_uint_lt(++n, 1000);
	ck_assert_int_eq(rc, TD_E_FULL);
	return n;
}

START_TEST(full_file_and_back)
{
	struct store_stats stats;
	uint64_t gone[2];
	unsigned n;

	open_store_with(300, 1000);
	add_account(ANN);
	OK(g, store_set_max_pages(st, 200, to_got(&g)));
	n = fill_up();
	ck_assert_uint_gt(n, 5);
	ck_assert_int_eq(add_big(), TD_E_FULL);
	ck_assert_uint_gt(strlen(g.error), 0);
	store_get_stats(st, &stats);
	ck_assert_uint_ge(stats.errors, 2);
	/* reading goes on, and what was answered is there */
	OK(g, store_messages_get(st, ANN, 0, 1000, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, n);
	/* taking away makes room */
	gone[0] = g.m[0].id;
	gone[1] = g.m[1].id;
	OK(g, store_message_del(st, gone, 2, to_got(&g)));
	ck_assert_int_eq(add_big(), 0);
	(void)fill_up();
	OK(g, store_set_max_pages(st, 0, to_got(&g)));
	ck_assert_int_eq(add_big(), 0);
	store_close(&st);
	check_integrity();
}
END_TEST

static unsigned batch_ok, batch_full, batch_other;

static void
count_batch(void *arg, const struct store_result *r)
{
	(void)arg;
	if (r->rc == 0)
		batch_ok++;
	else if (r->rc == TD_E_FULL)
		batch_full++;
	else
		batch_other++;
}

START_TEST(full_in_the_middle_of_a_batch)
{
	struct got before = { 0 };

	open_store_with(300, 1000);
	add_account(ANN);
	OK(before,
	   store_message_add(st, ANN, td_str(kilobytes, sizeof(kilobytes)), 1, to_got(&before)));
	OK(g, store_set_max_pages(st, 200, to_got(&g)));
	store_hold_writer(st, true);
	for (int i = 0; i < 60; i++)
		store_message_add(st, ANN, td_str(kilobytes, sizeof(kilobytes)), 1,
				  (struct store_to){ loop, count_batch, NULL });
	/* last in the batch, yet it needs no room */
	store_message_del(st, &before.id, 1, (struct store_to){ loop, count_batch, NULL });
	store_hold_writer(st, false);
	while (batch_ok + batch_full + batch_other < 61)
		td_loop_turn(loop, true);
	ck_assert_uint_eq(batch_other, 0);
	ck_assert_uint_gt(batch_ok, 2);
	ck_assert_uint_gt(batch_full, 2);
	OK(g, store_messages_get(st, ANN, 0, 1000, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, batch_ok - 1);
	for (size_t i = 0; i < g.n; i++)
		ck_assert_uint_ne(g.m[i].id, before.id);
}
END_TEST

/* A file size limit stops the log (and later the file) from growing, as a full disk does. */
START_TEST(full_disk_and_back)
{
	struct rlimit old, small;
	unsigned n;

	ck_assert_ptr_ne((void *)signal(SIGXFSZ, SIG_IGN), (void *)SIG_ERR);
	open_store_with(300, 1000);
	add_account(ANN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 700000;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	n = fill_up();
	ck_assert_uint_gt(n, 5);
	ck_assert_int_eq(add_big(), TD_E_FULL);
	OK(g, store_messages_get(st, ANN, 0, 1000, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, n);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(add_big(), 0);
	store_close(&st);
	check_integrity();
	open_store_with(300, 1000);
	OK(g, store_messages_get(st, ANN, 0, 1000, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, n + 1);
}
END_TEST

/* ---- locked ---- */

START_TEST(locked_file_is_busy)
{
	uint64_t t;
	sqlite3 *h;

	open_store_with(300, 1000);
	add_account(ANN);
	h = open_raw();
	raw(h, "BEGIN IMMEDIATE");
	ck_assert_int_eq(DO(g, store_message_add(st, ANN, S("x"), 1, to_got(&g))), TD_E_BUSY);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g)); /* reading goes on */
	/* a hundred that wait behind the lock wait together, not one after another */
	store_hold_writer(st, true);
	for (int i = 0; i < 100; i++)
		store_message_add(st, ANN, S("x"), 1, (struct store_to){ loop, on_result, &g });
	memset(&g, 0, sizeof(g));
	t = td_mono_ms();
	store_hold_writer(st, false);
	while (g.calls < 100)
		td_loop_turn(loop, true);
	ck_assert_int_eq(g.rc, TD_E_BUSY);
	ck_assert_uint_lt(td_mono_ms() - t, 5000);
	raw(h, "ROLLBACK");
	sqlite3_close(h);
	OK(g, store_message_add(st, ANN, S("x"), 1, to_got(&g)));
	OK(g, store_messages_get(st, ANN, 0, 1000, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 1);
}
END_TEST

START_TEST(locked_at_start)
{
	struct td_err err;
	sqlite3 *h;

	open_store_with(300, 5);
	store_close(&st);
	h = open_raw();
	raw(h, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE accounts SET id = id");
	ck_assert_int_eq(try_open(&err), TD_E_BUSY);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	raw(h, "COMMIT");
	sqlite3_close(h);
	ck_assert_int_eq(try_open(&err), 0);
}
END_TEST

/* ---- damaged ---- */

static void
make_data(void)
{
	open_store_with(300, 1000);
	add_account(ANN);
	for (int i = 0; i < 300; i++)
		store_message_add(st, ANN, td_str(kilobytes, 900), 1, (struct store_to){ 0 });
	store_close(&st);
}

static void
check_corrupt(void)
{
	struct td_err err;

	ck_assert_int_eq(try_open(&err), TD_E_CORRUPT);
	ck_assert_ptr_null(st);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	ck_assert_ptr_nonnull(strstr(err.text, "backup"));
}

START_TEST(damage_in_the_middle)
{
	char noise[3 * 4096];
	int fd;

	make_data();
	memset(noise, 0xA5, sizeof(noise));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	for (off_t at = 4096; at < 40 * 4096; at += 5 * 4096)
		ck_assert_int_eq(pwrite(fd, noise, sizeof(noise), at), (ssize_t)sizeof(noise));
	close(fd);
	check_corrupt();
}
END_TEST

START_TEST(cut_short)
{
	make_data();
	ck_assert_int_eq(truncate(path, 20 * 4096), 0);
	check_corrupt();
}
END_TEST

START_TEST(no_database_at_all)
{
	FILE *f = fopen(path, "w");

	for (int i = 0; i < 1000; i++)
		(void)fprintf(f, "this is a text file\n");
	(void)fclose(f);
	check_corrupt();
}
END_TEST

START_TEST(damage_while_running)
{
	char noise[4096];
	int fd;

	make_data();
	open_store_with(300, 1000);
	memset(noise, 0xA5, sizeof(noise));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	for (off_t at = 2 * 4096; at < 60 * 4096; at += 4096)
		ck_assert_int_eq(pwrite(fd, noise, sizeof(noise), at), (ssize_t)sizeof(noise));
	/* fd stays open: closing it would drop the locks SQLite holds on the file */
	ck_assert_int_eq(DO(g, store_account_list(st, TD_STR_NULL, loop, on_strs, &g)),
			 TD_E_CORRUPT);
	ck_assert_uint_gt(strlen(g.error), 0);
	ck_assert_int_lt(DO(g, store_messages_get(st, ANN, 0, 1000, loop, on_messages, &g)), 0);
	store_close(&st);
	close(fd);
}
END_TEST

/* ---- schema ---- */

START_TEST(from_nothing)
{
	struct stat sb;
	sqlite3 *h;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* version 0: an empty file */

	close(fd);
	open_store_with(300, 5);
	add_account(ANN);
	store_close(&st);
	h = open_raw();
	ck_assert_int_eq(raw_int(h, "PRAGMA user_version"), STORE_SCHEMA);
	sqlite3_close(h);
	ck_assert_int_eq(unlink(path), 0);
	open_store_with(300, 5); /* or no file */
	ck_assert_int_eq(stat(path, &sb), 0);
	ck_assert_uint_eq(sb.st_mode & 0777, 0600);
}
END_TEST

/* Version 1 as it was written: if a step is ever edited, this no longer fits. */
static const char v1_by_hand[] =
	"CREATE TABLE accounts (id INTEGER PRIMARY KEY, jid TEXT NOT NULL UNIQUE, domain TEXT NOT "
	"NULL,"
	" disabled INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, roster_ver INTEGER NOT "
	"NULL,"
	" roster_floor INTEGER NOT NULL, sha1_iter INTEGER, sha1_salt BLOB, sha1_stored BLOB,"
	" sha1_server BLOB, sha256_iter INTEGER, sha256_salt BLOB, sha256_stored BLOB, "
	"sha256_server BLOB);"
	"CREATE INDEX accounts_domain ON accounts (domain, jid);"
	"CREATE TABLE roster (account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,"
	" jid TEXT NOT NULL, name TEXT, sub INTEGER NOT NULL, flags INTEGER NOT NULL, ver INTEGER "
	"NOT NULL,"
	" stanza TEXT, PRIMARY KEY (account, jid)) WITHOUT ROWID;"
	"CREATE TABLE roster_groups (account INTEGER NOT NULL, jid TEXT NOT NULL, pos INTEGER NOT "
	"NULL,"
	" name TEXT NOT NULL, PRIMARY KEY (account, jid, pos), FOREIGN KEY (account, jid)"
	" REFERENCES roster (account, jid) ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE TABLE roster_removed (account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE "
	"CASCADE,"
	" jid TEXT NOT NULL, ver INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (account, jid))"
	" WITHOUT ROWID;"
	"CREATE INDEX roster_removed_at ON roster_removed (at);"
	"CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE, at INTEGER NOT NULL,"
	" stanza BLOB NOT NULL);"
	"CREATE INDEX messages_account ON messages (account, id);"
	"CREATE TABLE settings (owner TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
	" PRIMARY KEY (owner, key)) WITHOUT ROWID;"
	"INSERT INTO accounts VALUES (7, 'ann@example.org', 'example.org', 0, 1600000000, 12, 10,"
	" NULL, NULL, NULL, NULL, 4096, x'01', zeroblob(32), zeroblob(32));"
	"INSERT INTO roster VALUES (7, 'bob@example.org', 'Bob', 3, 0, 12, NULL);"
	"INSERT INTO roster_groups VALUES (7, 'bob@example.org', 0, 'Work');"
	"INSERT INTO messages VALUES (41, 7, 1600000000000, '<message/>');"
	"INSERT INTO settings VALUES ('', 'k', 'v');"
	"PRAGMA user_version = 1; PRAGMA application_id = 0x544e444d;";

START_TEST(from_version_1)
{
	struct store_mail m = { .account = ANN, .from = ANN, .to = S("p@mx"), .data = S("x") };
	sqlite3 *h = open_raw();

	raw(h, v1_by_hand);
	sqlite3_close(h);
	open_store_with(300, 5);
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert_uint_eq(g.account.sha256.key_len, 32);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.ver, 12);
	ck_assert_uint_eq(g.roster.offline_count, 1);
	ck_str(g.roster.contacts[0].groups[0], "Work");
	OK(g, store_message_add(st, ANN, S("y"), 1, to_got(&g)));
	ck_assert_uint_eq(g.id, 42);
	OK(g, store_setting_get(st, S(""), S("k"), loop, on_value, &g));
	ck_str(g.value, "v");
	OK(g, store_outbox_add(st, &m, NULL, to_got(&g))); /* a table of version 2 */
	store_close(&st);
	h = open_raw();
	ck_assert_int_eq(raw_int(h, "PRAGMA user_version"), STORE_SCHEMA);
	sqlite3_close(h);
}
END_TEST

/* The subscriptions of version 9 had no ids. */
START_TEST(from_version_9)
{
	sqlite3 *h;

	open_store_with(300, 5);
	store_close(&st);
	h = open_raw();
	raw(h,
	    "DROP TABLE ps_subscriptions;"
	    "CREATE TABLE ps_subscriptions ("
	    " node INTEGER NOT NULL REFERENCES ps_nodes (id) ON DELETE CASCADE,"
	    " jid TEXT NOT NULL, state INTEGER NOT NULL, options TEXT NOT NULL,"
	    " PRIMARY KEY (node, jid)) WITHOUT ROWID;"
	    "INSERT INTO ps_nodes (id, owner, name, config, created) VALUES (5, 'p', 'n', '', 1);"
	    "INSERT INTO ps_subscriptions VALUES (5, 'a@b', 3, '1 255 0'), (5, 'c@d', 1, 'x');"
	    "DROP TABLE archive_log; PRAGMA user_version = 9");
	sqlite3_close(h);
	open_store_with(300, 5);
	store_close(&st);
	h = open_raw();
	ck_assert_int_eq(raw_int(h, "PRAGMA user_version"), STORE_SCHEMA);
	ck_assert_int_eq(raw_int(h, "SELECT count(*) FROM ps_subscriptions WHERE node = 5"
				    " AND length(subid) = 16"
				    " AND jid || state || options IN ('a@b31 255 0', 'c@d1x')"),
			 2);
	ck_assert_int_eq(raw_int(h, "SELECT count(DISTINCT subid) FROM ps_subscriptions"), 2);
	raw(h, "PRAGMA foreign_keys = ON; DELETE FROM ps_nodes");
	ck_assert_int_eq(raw_int(h, "SELECT count(*) FROM ps_subscriptions"), 0);
	sqlite3_close(h);
}
END_TEST

START_TEST(a_step_that_fails_changes_nothing)
{
	struct td_err err;
	sqlite3 *h = open_raw();

	raw(h, v1_by_hand);
	raw(h, "CREATE TABLE outbox (in_the_way)");
	sqlite3_close(h);
	ck_assert_int_lt(try_open(&err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "schema step 2"));
	h = open_raw();
	ck_assert_int_eq(raw_int(h, "PRAGMA user_version"), 1);
	ck_assert_int_eq(raw_int(h, "SELECT count(*) FROM sqlite_schema WHERE name = 'dedup'"), 0);
	raw(h, "DROP TABLE outbox");
	sqlite3_close(h);
	ck_assert_int_eq(try_open(&err), 0);
}
END_TEST

START_TEST(from_the_future)
{
	struct td_err err;
	sqlite3 *h;

	open_store_with(300, 5);
	store_close(&st);
	h = open_raw();
	raw(h, "PRAGMA user_version = 99");
	sqlite3_close(h);
	ck_assert_int_eq(try_open(&err), TD_E_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	ck_assert_ptr_nonnull(strstr(err.text, "99"));
	ck_assert_ptr_nonnull(strstr(err.text, "newer"));
}
END_TEST

START_TEST(of_another_program)
{
	struct td_err err;
	sqlite3 *h = open_raw();

	raw(h, "CREATE TABLE bookmarks (url)");
	sqlite3_close(h);
	ck_assert_int_eq(try_open(&err), TD_E_INVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "another program"));
}
END_TEST

START_TEST(in_no_folder)
{
	struct store_conf sc = { .path = "/nonexistent/folder/store.db" };
	struct td_err err = { 0 };

	ck_assert_int_eq(store_open(&sc, &st, &err), TD_E_IO);
	ck_assert_ptr_nonnull(strstr(err.text, sc.path));
	sc.path = dir;
	ck_assert_int_lt(store_open(&sc, &st, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, dir));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store faults");
	TCase *tc = tcase_create("faults");

	tcase_add_checked_fixture(tc, set_up_folder, tear_down);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, kill_loses_nothing_answered, 0, 4);
	tcase_add_test(tc, full_file_and_back);
	tcase_add_test(tc, full_in_the_middle_of_a_batch);
	tcase_add_test(tc, full_disk_and_back);
	tcase_add_test(tc, locked_file_is_busy);
	tcase_add_test(tc, locked_at_start);
	tcase_add_test(tc, damage_in_the_middle);
	tcase_add_test(tc, cut_short);
	tcase_add_test(tc, no_database_at_all);
	tcase_add_test(tc, damage_while_running);
	tcase_add_test(tc, from_nothing);
	tcase_add_test(tc, from_version_1);
	tcase_add_test(tc, from_version_9);
	tcase_add_test(tc, a_step_that_fails_changes_nothing);
	tcase_add_test(tc, from_the_future);
	tcase_add_test(tc, of_another_program);
	tcase_add_test(tc, in_no_folder);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
