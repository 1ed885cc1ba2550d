/* test_store_archive - the log of new rows, packs of them, and what they look like from outside: nothing. */
#include <sys/wait.h>
#include "store/archive_priv.h"
#include "tests/unit/store/util.h"

#define CAT S("cat@example.org")

static struct got g;

/* ---- packs ---- */

START_TEST(pack_and_back)
{
	const struct store_archived in[] = {
		{ .id = 1, .owner = ANN, .peer = BOB, .resource = S("r"), .stanza = S("<a/>") },
		{ .id = INT64_MAX,
		  .flags = 0x7fffffff,
		  .owner = BOB,
		  .peer = ANN,
		  .stanza = S("<a/>") },
		{ .id = 3, .stanza = S("") },
		{ .id = 4, .stanza = S("<b/>") },
	};
	struct store_archived r = { 0 };
	struct td_str left;
	char buf[512], *p = buf;

	for (size_t i = 0; i < 4; i++) {
		size_t len = archive_pack_put(NULL, &in[i], i > 0 ? &in[i - 1] : NULL);

		ck_assert_uint_eq(archive_pack_put(p, &in[i], i > 0 ? &in[i - 1] : NULL), len);
		p += len;
	}
	left = td_str(buf, (size_t)(p - buf));
	for (size_t i = 0; i < 4; i++) {
		ck_assert(archive_pack_next(&left, &r));
		ck_assert_uint_eq(r.id, in[i].id);
		ck_assert_uint_eq(r.flags, in[i].flags);
		ck_assert(td_str_eq(r.owner, in[i].owner));
		ck_assert(td_str_eq(r.peer, in[i].peer));
		ck_assert(td_str_eq(r.resource, in[i].resource));
		ck_assert(td_str_eq(r.stanza, in[i].stanza));
	}
	ck_assert(!archive_pack_next(&left, &r));
	for (size_t cut = 0; cut < (size_t)(p - buf); cut++) { /* damaged: an end, never more */
		size_t n = 0;

		r = (struct store_archived){ 0 };
		left = td_str(buf, cut);
		while (archive_pack_next(&left, &r))
			n++;
		ck_assert_uint_lt(n, 4);
	}
}
END_TEST

/* ---- one archive, written in several ways ---- */

static char said[4096]; /* ids and peers' first letters of an answer */
static bool complete;

static void
on_rows(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	bool all)
{
	size_t len = 0;

	keep(arg, r)->n = n;
	complete = all;
	said[0] = '\0';
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(said + len, sizeof(said) - len, "%s%llu%c",
					i > 0 ? " " : "", (unsigned long long)rows[i].id,
					rows[i].peer.p != NULL ? rows[i].peer.p[0] : '-');
}

static struct store_archived
row(uint64_t id, struct td_str peer)
{
	return (struct store_archived){ .id = id,
					.owner = ANN,
					.peer = peer,
					.resource = id % 2 ? S("odd") : S("even"),
					.stanza = S("<message><body>hello</body></message>") };
}

/* b = from bob, c = from cat; one id after the other from <id> on. */
static void
say(const char *peers, uint64_t id)
{
	struct store_archived rows[128];
	size_t n = 0;

	for (; peers[n] != '\0'; n++)
		rows[n] = row(id + n, peers[n] == 'b' ? BOB : CAT);
	OK(g, store_archive_add(st, rows, n, 0, to_got(&g)));
}

static const char *
get(struct store_archive_query q)
{
	q.owner = ANN;
	if (q.max == 0)
		q.max = 100;
	OK(g, store_archive_get(st, &q, loop, on_rows, &g));
	return said;
}
#define GET(...) get((struct store_archive_query){ __VA_ARGS__ })

static int64_t
rows_there(const char *sql)
{
	sqlite3_stmt *q;
	sqlite3 *h;
	int64_t n;

	ck_assert_int_eq(sqlite3_open_v2(path, &h, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(h, sql, -1, &q, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
	n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(h);
	return n;
}

START_TEST(what_packs_answer)
{
	const uint64_t there[] = { 12 }, gone[] = { 12, 15 }, ids[] = { 11, 20, 99 };

	say("bbbbb", 10); /* 10 to 14 */
	say("cc", 20);
	say("bcb", 30);
	ck_assert_str_eq(GET(0), "10b 11b 12b 13b 14b 20c 21c 30b 31c 32b");
	ck_assert(complete);
	ck_assert_int_eq(rows_there("SELECT count(*) FROM archive"), 5);
	ck_assert_int_eq(rows_there("SELECT count(*) FROM archive_log"), 0);
	ck_assert_str_eq(GET(.backwards = true, .max = 4), "21c 30b 31c 32b");
	ck_assert(!complete);
	ck_assert_str_eq(GET(.from = 12, .to = 20), "12b 13b 14b 20c");
	ck_assert_str_eq(GET(.from = 12, .to = 20, .backwards = true, .max = 3), "13b 14b 20c");
	ck_assert_str_eq(GET(.from = 13, .with = BOB), "13b 14b 30b 32b");
	ck_assert_str_eq(GET(.from = 15, .with = BOB), "30b 32b");
	ck_assert_str_eq(GET(.from = 21, .with = CAT), "21c 31c");
	ck_assert_str_eq(GET(.to = 12, .with = BOB, .with_resource = S("odd")), "11b");
	ck_assert_str_eq(GET(.max = 2, .count = true), "10b 11b");
	ck_assert_uint_eq(g.id, 10);
	ck_assert_str_eq(GET(.ids = ids, .n_ids = 3), "11b 20c");
	ck_assert_str_eq(GET(.text = S("HELL"), .to = 10), "10b");
	ck_assert_str_eq(GET(.must_exist = there, .n_must_exist = 1, .to = 10), "10b");
	ck_assert_int_eq(DO(g, store_archive_get(st,
						 &(struct store_archive_query){ .owner = ANN,
										.must_exist = gone,
										.n_must_exist = 2,
										.max = 1 },
						 loop, on_rows, &g)),
			 TD_E_NOTFOUND);
	OK(g, store_archive_ends(st, ANN, loop, on_rows, &g));
	ck_assert_str_eq(said, "10- 32-");
	say("bb", 40);
	OK(g, store_archive_ends(st, ANN, loop, on_rows, &g)); /* the last of a pack */
	ck_assert_str_eq(said, "10- 41-");
}
END_TEST

START_TEST(one_of_a_pack_is_replaced)
{
	say("bbb", 10);
	OK(g, store_archive_replace(st, ANN, 11, S("<message><body>tomb</body></message>"),
				    to_got(&g)));
	ck_assert_int_eq(DO(g, store_archive_replace(st, ANN, 13, S("x"), to_got(&g))),
			 TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_archive_replace(st, BOB, 11, S("x"), to_got(&g))),
			 TD_E_NOTFOUND);
	ck_assert_str_eq(GET(.text = S("hello")), "10b 12b");
	ck_assert_str_eq(GET(.text = S("tomb")), "11b");
}
END_TEST

START_TEST(packs_grow_old)
{
	const uint64_t ten_s = (uint64_t)PACK_SPAN, t = 100 * ten_s;

	say("bb", t);
	say("bb", t + 3 * ten_s);
	OK(g, store_archive_purge(st, ANN, TD_STR_NULL, t + 1, to_got(&g)));
	ck_assert_uint_eq(g.id, 0); /* the other half of it is to stay */
	OK(g, store_archive_purge(st, TD_STR_NULL, S("example.org"), t + 2 * ten_s, to_got(&g)));
	ck_assert_uint_eq(g.id, 1);
	GET(0);
	ck_assert_uint_eq(g.n, 2);
	say("c", t + 4 * ten_s); /* in the log still */
	OK(g, store_archive_purge(st, ANN, TD_STR_NULL, UINT64_MAX, to_got(&g)));
	ck_assert_uint_eq(g.id, 2);
	ck_assert_str_eq(GET(0), "");
}
END_TEST

/* The clock was set back: new ids lie within what is packed, or are taken. */
START_TEST(ids_that_go_back)
{
	const struct store_archived odd[] = { row(14, BOB), row(12, BOB), row(12, CAT) };

	say("bbb", 10);
	ck_assert_str_eq(GET(0), "10b 11b 12b");
	OK(g, store_archive_add(st, odd, 3, 0, to_got(&g)));
	ck_assert_str_eq(GET(.from = 11), "11b 12b 13b 14c 15b");
	say("c", 5);
	ck_assert_str_eq(GET(0), "5c 10b 11b 12b 13b 14c 15b");
	say("bb", 20);
	ck_assert_str_eq(GET(.from = 21), "21b");
	say("c", 20); /* takes that pack apart */
	ck_assert_str_eq(GET(.from = 20), "20b 21b 22c");
}
END_TEST

/* A pack has its limits. */
START_TEST(long_runs)
{
	struct store_archived r[3] = { row(1, BOB), row(2, BOB), row(3, BOB) };
	struct td_buf big = { 0 };
	char peers[101];

	memset(td_buf_reserve(&big, 300000), 'x', 300000);
	big.len = 300000;
	r[1].stanza = r[2].stanza = td_buf_str(&big);
	OK(g, store_archive_add(st, r, 3, 0, to_got(&g)));
	memset(peers, 'b', 100);
	peers[100] = '\0';
	say(peers, 1000);
	GET(.max = 200);
	ck_assert_uint_eq(g.n, 103);
	ck_assert_int_eq(rows_there("SELECT count(*) FROM archive"), 5);
	GET(.max = 50, .backwards = true, .with = BOB);
	ck_assert_uint_eq(g.n, 50);
	td_buf_fini(&big);
}
END_TEST

/* ---- across processes ---- */

START_TEST(an_end_without_warning)
{
	int status;
	pid_t child;

	store_close(&st);
	td_loop_free(loop); /* a thread's, and threads do not survive fork */
	if ((child = fork()) == 0) {
		loop = td_loop_new(0);
		open_store_with(300, 5);
		say("bbcb", 10);
		_exit(g.rc == 0 ? 0 : 1); /* committed, and no more than that */
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(rows_there("SELECT count(*) FROM archive_log"), 1);
	loop = td_loop_new(0);
	open_store_with(300, 5);
	ck_assert_str_eq(GET(.with = BOB), "10b 11b 13b");
	say("b", 20);
	store_close(&st); /* in order: nothing is left in the log */
	ck_assert_int_eq(rows_there("SELECT count(*) FROM archive_log"), 0);
	open_store_with(300, 5);
	ck_assert_str_eq(GET(0), "10b 11b 12c 13b 20b");
}
END_TEST

START_TEST(from_version_9)
{
	static const char back[] =
		"DROP TABLE archive_log; PRAGMA user_version = 9;"
		"INSERT INTO archive_jids (id, jid, domain) VALUES (1, 'ann@example.org', "
		"'example.org'),"
		" (2, 'bob@example.org', 'example.org');"
		"INSERT INTO archive (owner, id, peer, flags, resource, stanza)"
		" VALUES (1, 10, 2, 0, 'r', '<message/>'), (1, 11, 2, 1, NULL, '<message/>');";
	sqlite3 *h;

	store_close(&st);
	ck_assert_int_eq(sqlite3_open(path, &h), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(h, back, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
	open_store_with(300, 5);
	say("bb", 20);
	ck_assert_str_eq(GET(0), "10b 11b 20b 21b");
	ck_assert_str_eq(GET(.from = 11, .to = 20, .with = BOB), "11b 20b");
	ck_assert_int_eq(rows_there("PRAGMA user_version"), STORE_SCHEMA);
}
END_TEST

/* A read that follows rows which wait for a reader's answer waits with them. */
START_TEST(reads_see_what_was_written_before)
{
	struct got first = { 0 }, added = { 0 }, second = { 0 };
	const struct store_archive_query q = { .owner = ANN, .max = 10 };
	const struct store_archived r = row(11, BOB);

	say("b", 10);
	GET(0);
	store_hold_readers(st, true);
	store_archive_get(st, &q, loop, on_rows, &first);
	store_archive_add(st, &r, 1, 0, to_got(&added));
	store_archive_get(st, &q, loop, on_rows, &second);
	store_hold_readers(st, false);
	while (second.calls == 0)
		td_loop_turn(loop, true);
	ck_assert_int_eq(added.calls, 1);
	ck_assert_uint_eq(first.n, 1);
	ck_assert_uint_eq(second.n, 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store archive");
	TCase *tc = tcase_create("packs");

	tcase_add_test(tc, pack_and_back);
	suite_add_tcase(s, tc);
	tc = tcase_create("archive");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, what_packs_answer);
	tcase_add_test(tc, one_of_a_pack_is_replaced);
	tcase_add_test(tc, packs_grow_old);
	tcase_add_test(tc, ids_that_go_back);
	tcase_add_test(tc, long_runs);
	tcase_add_test(tc, an_end_without_warning);
	tcase_add_test(tc, from_version_9);
	tcase_add_test(tc, reads_see_what_was_written_before);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
