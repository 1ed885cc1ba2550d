/* test_store_order - answers in the order made, many writes in few commits, many threads. */
#include <pthread.h>
#include <sched.h>
#include "tests/unit/store/util.h"

static struct got g;

static void
set_up_roomy(void)
{
	make_dir();
	loop = td_loop_new(0);
	arena = td_arena_new(0);
	open_store_with(5000, 1000000);
}

/* ---- order ---- */

static unsigned answered; /* callbacks so far */

struct seen {
	unsigned turn; /* which answer this was, from 1 */
	int rc;
	uint64_t count; /* messages there, for reads */
};

static void
saw_result(void *arg, const struct store_result *r)
{
	*(struct seen *)arg = (struct seen){ ++answered, r->rc, r->id };
}

static void
saw_roster(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	*(struct seen *)arg =
		(struct seen){ ++answered, r->rc, ro != NULL ? ro->offline_count : 0 };
}

static struct store_to
to_seen(struct seen *s)
{
	return (struct store_to){ loop, saw_result, s };
}

/* A reply may be here before the writer has counted it as done; until then a read of its
 * key still goes to the writer. */
static void
settle(void)
{
	struct store_stats stats;

	do {
		sched_yield();
		store_get_stats(st, &stats);
	} while (stats.queue > 0);
	answered = 0;
}

static void
await_answers(unsigned n)
{
	while (answered < n)
		td_loop_turn(loop, true);
}

START_TEST(read_follows_write)
{
	struct seen add = { 0 }, get = { 0 }, other = { 0 };

	add_account(ANN);
	add_account(BOB);
	settle();
	store_hold_writer(st, true);
	store_message_add(st, ANN, S("x"), 1, to_seen(&add));
	store_roster_get(st, ANN, loop, saw_roster, &get);
	store_roster_get(st, BOB, loop, saw_roster, &other);
	await_answers(1);
	ck_assert_uint_eq(other.turn, 1); /* nobody else waits for ann's write */
	store_hold_writer(st, false);
	await_answers(3);
	ck_assert_uint_eq(add.turn, 2);
	ck_assert_uint_eq(get.turn, 3);
	ck_assert_uint_eq(get.count, 1);
}
END_TEST

START_TEST(write_follows_read)
{
	struct seen before = { 0 }, add = { 0 }, after = { 0 }, other = { 0 };

	add_account(ANN);
	add_account(BOB);
	settle();
	store_hold_readers(st, true);
	store_roster_get(st, ANN, loop, saw_roster, &before);
	store_message_add(st, ANN, S("x"), 1, to_seen(&add));
	store_roster_get(st, ANN, loop, saw_roster, &after);
	store_message_add(st, BOB, S("x"), 1, to_seen(&other));
	await_answers(1);
	ck_assert_uint_eq(other.turn, 1);
	store_hold_readers(st, false);
	await_answers(4);
	ck_assert_uint_eq(before.turn, 2);
	ck_assert_uint_eq(before.count, 0);
	ck_assert_uint_eq(add.turn, 3);
	ck_assert_uint_eq(after.turn, 4);
	ck_assert_uint_eq(after.count, 1);
}
END_TEST

START_TEST(deletion_by_row_is_seen_by_account)
{
	struct seen del = { 0 }, get = { 0 };

	add_account(ANN);
	OK(g, store_message_add(st, ANN, S("x"), 1, to_got(&g)));
	settle();
	store_hold_writer(st, true);
	store_message_del(st, &g.id, 1, to_seen(&del)); /* copied before it returns */
	store_roster_get(st, ANN, loop, saw_roster, &get);
	store_hold_writer(st, false);
	await_answers(2);
	ck_assert_uint_eq(del.turn, 1);
	ck_assert_uint_eq(get.count, 0);
}
END_TEST

#define WALKERS 12
#define STEPS 6000

/* What an answer must be: checked against what was asked before it about the same key. */
struct step {
	unsigned walker;
	unsigned at; /* position among the walker's calls */
	bool read;
	uint64_t want; /* count a read must see */
};
static unsigned next_at[WALKERS], failures;

static void
check_step(const struct step *s, int rc, uint64_t count)
{
	answered++;
	if (rc != 0 || s->at != next_at[s->walker]++ || (s->read && count != s->want))
		failures++;
}

static void
step_done(void *arg, const struct store_result *r)
{
	check_step(arg, r->rc, 0);
}

static void
step_read(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	check_step(arg, r->rc, ro != NULL ? ro->offline_count : 0);
}

START_TEST(random_walk_keeps_order)
{
	static struct step steps[STEPS];
	uint64_t count[WALKERS] = { 0 };
	unsigned made[WALKERS] = { 0 };
	char jid[WALKERS][16];
	uint32_t dice = 1;

	for (unsigned w = 0; w < WALKERS; w++) {
		(void)snprintf(jid[w], sizeof(jid[w]), "w%u@x", w);
		add_account(td_cstr(jid[w]));
	}
	answered = failures = 0;
	memset(next_at, 0, sizeof(next_at));
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned w = (dice = dice * 1664525 + 1013904223) >> 16 & 0xffff;
		struct step *s = &steps[i];

		s->read = (w & 0x300) != 0;
		w %= WALKERS;
		s->walker = w;
		s->at = made[w]++;
		if (!s->read)
			count[w]++;
		s->want = count[w];
		if (s->read)
			store_roster_get(st, td_cstr(jid[w]), loop, step_read, s);
		else
			store_message_add(st, td_cstr(jid[w]), S("x"), 1,
					  (struct store_to){ loop, step_done, s });
		if (i % 50 == 0)
			td_loop_turn(loop, false);
	}
	await_answers(STEPS);
	ck_assert_uint_eq(failures, 0);
}
END_TEST

/* ---- group commit ---- */

START_TEST(many_writes_few_commits)
{
	struct store_stats before, after;

	add_account(ANN);
	settle();
	store_get_stats(st, &before);
	store_hold_writer(st, true);
	for (int i = 0; i < 1000; i++) {
		static struct seen ignored;

		store_message_add(st, ANN, S("x"), 1, to_seen(&ignored));
	}
	store_get_stats(st, &after);
	ck_assert_uint_eq(after.queue, 1000);
	store_hold_writer(st, false);
	await_answers(1000);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.offline_count, 1000);
	store_get_stats(st, &after);
	ck_assert_uint_eq(after.writes - before.writes, 1000);
	ck_assert_uint_le(after.commits - before.commits,
			  100); /* 1 where the machine is not busy */
	ck_assert_uint_eq(after.errors, 0);
}
END_TEST

/* Who waits for the first of many does not wait for the last. */
START_TEST(a_long_batch_is_several_commits)
{
	struct store_stats before, after;
	struct td_buf b = { 0 };

	add_account(ANN);
	settle();
	store_get_stats(st, &before);
	memset(td_buf_reserve(&b, 200000), 'x', 200000);
	b.len = 200000;
	store_hold_writer(st, true);
	for (int i = 0; i < 1000; i++) {
		static struct seen seen[1000];

		store_message_add(st, ANN, td_buf_str(&b), 1, to_seen(&seen[i]));
	}
	store_hold_writer(st, false);
	await_answers(1);
	store_get_stats(st, &after);
	ck_assert_uint_lt(after.writes - before.writes, 1000);
	await_answers(1000);
	store_get_stats(st, &after);
	ck_assert_uint_gt(after.commits - before.commits, 2);
	td_buf_fini(&b);
}
END_TEST

START_TEST(a_failing_op_does_not_spoil_its_batch)
{
	struct seen s[7] = { 0 };
	struct store_account ann = { .jid = ANN }, bob = { .jid = BOB };
	struct store_chat half[] = { { .to = ANN, .stanza = S("x") },
				     { .to = S("no@body"), .stanza = S("x") } };

	answered = 0;
	memset(&g, 0, sizeof(g));
	store_hold_writer(st, true);
	store_account_add(st, &ann, to_seen(&s[0]));
	store_account_add(st, &ann, to_seen(&s[1]));
	store_message_add(st, ANN, S("x"), 1, to_seen(&s[2]));
	store_message_add(st, BOB, S("x"), 1, to_seen(&s[3]));
	store_account_add(st, &bob, to_seen(&s[4]));
	store_chats_add(st, half, 2, loop, on_chats, &g);
	store_roster_get(st, ANN, loop, saw_roster, &s[5]);
	store_hold_writer(st, false);
	await_answers(6);
	ck_assert_int_eq(s[0].rc, 0);
	ck_assert_int_eq(s[1].rc, TD_E_EXISTS);
	ck_assert_int_eq(s[2].rc, 0);
	ck_assert_int_eq(s[3].rc, TD_E_NOTFOUND);
	ck_assert_int_eq(s[4].rc, 0);
	ck_assert_int_eq(g.rc, TD_E_NOTFOUND);
	ck_assert_uint_eq(s[5].count, 1); /* half of a call is not stored */
	OK(g, store_account_list(st, TD_STR_NULL, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 2);
}
END_TEST

START_TEST(close_finishes_the_queue)
{
	static struct seen ignored;

	add_account(ANN);
	settle();
	store_hold_readers(st, true);
	store_roster_get(st, ANN, loop, saw_roster, &ignored);
	for (int i = 0; i < 500; i++) /* parked behind the read */
		store_message_add(st, ANN, S("x"), 1, to_seen(&ignored));
	store_close(&st);
	td_loop_turn(loop, false);
	ck_assert_uint_eq(answered, 501);
	open_store_with(300, 5);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.offline_count, 500);
}
END_TEST

START_TEST(a_full_queue_refuses)
{
	char *big = td_zalloc(32 << 20);
	struct seen s[10] = { 0 };
	unsigned refused = 0;

	add_account(ANN);
	settle();
	store_hold_writer(st, true);
	for (int i = 0; i < 10; i++)
		store_message_add(st, ANN, td_str(big, 32 << 20), 1, to_seen(&s[i]));
	await_answers(1);
	for (int i = 0; i < 10; i++)
		refused += s[i].rc == TD_E_BUSY;
	ck_assert_uint_ge(refused, 1);
	ck_assert_int_eq(s[0].turn, 0);
	store_hold_writer(st, false);
	await_answers(10);
	ck_assert_int_eq(s[0].rc, 0);
	free(big);
}
END_TEST

/* ---- many threads ---- */

#define THREADS 8
#define PER_THREAD 300

struct worker {
	pthread_t thread;
	unsigned n;
	unsigned owed, bad;
	uint64_t added;
	struct td_loop *loop;
};

static void
work_added(void *arg, const struct store_result *r)
{
	struct worker *w = arg;

	w->owed--;
	w->bad += r->rc != 0;
	w->added += r->rc == 0;
}

static void
work_got(void *arg, const struct store_result *r, const struct store_message *m, size_t n)
{
	struct worker *w = arg;

	w->owed--;
	w->bad += r->rc != 0;
	for (size_t i = 0; i < n; i++) /* shared account: others' messages too, all whole */
		w->bad += m[i].stanza.len != 9 || memcmp(m[i].stanza.p, "<message>", 9) != 0;
}

static void
work_once(struct worker *w, unsigned i, struct td_str mine)
{
	struct store_contact c = { .jid = BOB, .groups = &S("Work"), .n_groups = 1 };
	struct store_chat chat = { .to = ANN, .stanza = S("<message>"), .mail_id = TD_STR_NULL };
	struct store_to to = { w->loop, work_added, w };

	w->owed += 3;
	store_message_add(st, ANN, S("<message>"), 1, to);
	store_roster_set(st, mine, &c, to);
	w->added--; /* the roster item is no message */
	store_messages_get(st, ANN, 0, 20, w->loop, work_got, w);
	if (i % 16 == 0) {
		w->bad += store_chats_add_wait(st, &chat, 1, 20000, NULL, NULL, NULL) != 0;
		w->added++;
		w->bad += store_account_exists_now(st, mine) != 1;
	}
	if (i % 32 == 0)
		td_loop_turn(w->loop, false);
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct store_account a = { 0 };
	struct store_wait *wait = store_wait_new();
	char jid[32];

	w->loop = td_loop_new(w->n);
	a.jid = td_str(jid, (size_t)snprintf(jid, sizeof(jid), "t%u@example.org", w->n));
	store_account_add(st, &a, store_to_wait(wait));
	w->bad += store_wait_for(wait, 20000, NULL, NULL) != 0;
	store_wait_free(wait);
	for (unsigned i = 0; i < PER_THREAD; i++)
		work_once(w, i, a.jid);
	while (w->owed > 0)
		td_loop_turn(w->loop, true);
	td_loop_free(w->loop);
	return NULL;
}

START_TEST(eight_threads)
{
	struct worker w[THREADS] = { 0 };
	uint64_t added = 0;

	add_account(ANN);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].n = i;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_uint_eq(w[i].bad, 0);
		added += w[i].added;
	}
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.offline_count, added);
}
END_TEST

/* ---- speed ---- */

#define RATE_ACCOUNTS 100

struct rate {
	unsigned in_flight, todo, made;
	char jids[RATE_ACCOUNTS][16];
};

static void rate_done(void *arg, const struct store_result *r);

static void
rate_send(struct rate *r)
{
	static const char stanza[] =
		"<message from='bob@example.org/desk' to='ann@example.org' id='b7e3' "
		"type='chat'><body>See you at the station at nine.</body></message>";

	while (r->todo > 0 && r->made < r->in_flight) {
		r->todo--;
		r->made++;
		store_message_add(st, td_cstr(r->jids[r->todo % RATE_ACCOUNTS]), td_cstr(stanza), 1,
				  (struct store_to){ loop, rate_done, r });
	}
}

static void
rate_done(void *arg, const struct store_result *res)
{
	struct rate *r = arg;

	failures += res->rc != 0;
	r->made--;
	rate_send(r);
}

START_TEST(rate)
{
	static const unsigned in_flight[] = { 1, 1000 }, total[] = { 500, 20000 };
	struct rate r = { .in_flight = in_flight[_i], .todo = total[_i] };
	struct store_stats before, after;
	uint64_t t;

	failures = 0;
	for (unsigned i = 0; i < RATE_ACCOUNTS; i++) {
		(void)snprintf(r.jids[i], sizeof(r.jids[i]), "u%u@x", i);
		add_account(td_cstr(r.jids[i]));
	}
	store_get_stats(st, &before);
	t = td_mono_ms();
	rate_send(&r);
	while (r.made > 0)
		td_loop_turn(loop, true);
	t = td_mono_ms() - t;
	store_get_stats(st, &after);
	ck_assert_uint_eq(failures, 0);
	printf("%u in flight: %.0f messages/s committed, %.1f per commit\n", r.in_flight,
	       total[_i] * 1000.0 / (double)(t > 0 ? t : 1),
	       (double)total[_i] / (double)(after.commits - before.commits));
	if (r.in_flight > 1)
		ck_assert_uint_lt((after.commits - before.commits) * 10, total[_i]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store order");
	TCase *tc = tcase_create("order");

	tcase_add_checked_fixture(tc, set_up_roomy, tear_down);
	tcase_set_timeout(tc, 180);
	tcase_add_test(tc, read_follows_write);
	tcase_add_test(tc, write_follows_read);
	tcase_add_test(tc, deletion_by_row_is_seen_by_account);
	tcase_add_test(tc, random_walk_keeps_order);
	tcase_add_test(tc, many_writes_few_commits);
	tcase_add_test(tc, a_long_batch_is_several_commits);
	tcase_add_test(tc, a_failing_op_does_not_spoil_its_batch);
	tcase_add_test(tc, close_finishes_the_queue);
	tcase_add_test(tc, a_full_queue_refuses);
	tcase_add_test(tc, eight_threads);
	tcase_add_loop_test(tc, rate, 0, 2);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
