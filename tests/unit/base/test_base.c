/* test_base - strings and escapes, arenas, errors, the map, the loop: mailbox, timers, deferred work. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "gateway/base/loop.h"
#include "gateway/base/map.h"
#include "gateway/base/spare.h"
#include "gateway/base/str.h"

/* ---- strings ---- */

static const struct {
	const char *in, *xml;
} escapes[] = {
	{ "plain", "plain" },
	{ "<a href='x'>\"&\"</a>", "&lt;a href=&apos;x&apos;&gt;&quot;&amp;&quot;&lt;/a&gt;" },
	{ "a\nb\tc", "a\nb\tc" },
	{ "a\rb", "a&#13;b" },
	{ "a\x01z", "a\xEF\xBF\xBDz" },
	{ "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80" },
	{ "\xEF\xBF\xBE", "\xEF\xBF\xBD" },                         /* U+FFFE is no XML character */
	{ "\xC3", "\xEF\xBF\xBD" },                                 /* cut short */
	{ "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, /* a surrogate */
};

START_TEST(test_xml)
{
	struct td_buf b = { 0 };

	td_buf_add_xml(&b, td_cstr(escapes[_i].in));
	ck_assert_str_eq(td_buf_cstr(&b), escapes[_i].xml);
	td_buf_fini(&b);
}
END_TEST

static const struct {
	const char *s;
	bool ok;
	int64_t v;
} numbers[] = {
	{ "0", true, 0 },        { "42", true, 42 },
	{ "-7", true, -7 },      { "0x1f", true, 31 },
	{ "010", true, 8 },      { "", false, 0 },
	{ "1x", false, 0 },      { " 1", false, 0 },
	{ "1000000", false, 0 }, { "99999999999999999999", false, 0 },
};

START_TEST(test_number)
{
	int64_t v = 0;

	ck_assert_int_eq(td_str_to_i64(td_cstr(numbers[_i].s), -1000, 1000, &v), numbers[_i].ok);
	if (numbers[_i].ok)
		ck_assert_int_eq(v, numbers[_i].v);
}
END_TEST

static const struct {
	const char *s;
	bool ok;
	int64_t v;
} decimals[] = {
	{ "42", true, 42 },  { "-7", true, -7 },
	{ "010", true, 10 }, { "0x1f", false, 0 },
	{ "1x", false, 0 },  { "", false, 0 },
	{ " 1", false, 0 },  { "000000000000000000000000000000001", false, 0 },
	{ "08", true, 8 },   { "1000000", false, 0 },
};

START_TEST(test_decimal)
{
	int64_t v = 0;

	ck_assert_int_eq(td_str_to_dec(td_cstr(decimals[_i].s), -1000, 1000, &v), decimals[_i].ok);
	if (decimals[_i].ok)
		ck_assert_int_eq(v, decimals[_i].v);
}
END_TEST

/* What strtoll would end at, or skip. */
START_TEST(test_no_number)
{
	static const struct td_str bad[] = { TD_STR("1\0x"), TD_STR("\0"), TD_STR("\v1"),
					     TD_STR("\f1"),  TD_STR("-"),  TD_STR("7 ") };
	int64_t v = 5;

	ck_assert(!td_str_to_i64(bad[_i], -1000, 1000, &v));
	ck_assert(!td_str_to_dec(bad[_i], -1000, 1000, &v));
	ck_assert_int_eq(v, 5);
}
END_TEST

START_TEST(test_cut)
{
	struct td_str s = TD_STR("a,,bc");

	ck_assert(td_str_eqc(td_str_cut(&s, ','), "a"));
	ck_assert(td_str_eqc(td_str_cut(&s, ','), ""));
	ck_assert(td_str_eqc(s, "bc"));
	ck_assert(td_str_eqc(td_str_cut(&s, ','), "bc"));
	ck_assert_uint_eq(s.len, 0);
	ck_assert_uint_eq(td_str_cut(&s, ',').len, 0);
}
END_TEST

START_TEST(test_base64)
{
	static const char *const bad[] = { "A",   "AB=C", "====", "AB==CD==", "A===",
					   "AB=", "AB!=", "AR==", "AAF=" };
	unsigned char raw[64];

	for (size_t n = 0; n < sizeof(raw); n++) {
		struct td_buf enc = { 0 }, dec = { 0 };

		td_random(raw, sizeof(raw));
		td_buf_add_base64(&enc, raw, n);
		ck_assert_int_eq(td_base64_decode(td_buf_str(&enc), &dec), 0);
		ck_assert_uint_eq(dec.len, n);
		ck_assert(n == 0 || memcmp(dec.p, raw, n) == 0);
		td_buf_fini(&enc);
		td_buf_fini(&dec);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct td_buf dec = { 0 };

		ck_assert_msg(td_base64_decode(td_cstr(bad[i]), &dec) < 0, "%s", bad[i]);
		td_buf_fini(&dec);
	}
}
END_TEST

START_TEST(test_utf8_cut)
{
	struct td_str s = TD_STR("a\xC3\xA4\xE2\x82\xAC");

	ck_assert_uint_eq(td_utf8_cut(s, 6), 6);
	ck_assert_uint_eq(td_utf8_cut(s, 5), 3);
	ck_assert_uint_eq(td_utf8_cut(s, 4), 3);
	ck_assert_uint_eq(td_utf8_cut(s, 2), 1);
	ck_assert_uint_eq(td_utf8_cut(s, 0), 0);
}
END_TEST

START_TEST(test_esc)
{
	char big[600];

	ck_assert_str_eq(td_escz("a b\n\"\\"), "a\\x20b\\x0a\\x22\\x5c");
	ck_assert_str_eq(td_escz(""), "\"\"");
	ck_assert_str_eq(td_esc(TD_STR_NULL), "-");
	ck_assert_str_eq(td_escz("\xC3\xA4"), "\xC3\xA4");
	ck_assert_str_eq(td_escz("\xC3"), "\\xc3");
	memset(big, 1, sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	ck_assert_uint_eq(strlen(td_escz(big)), 200 * 4 + 3);
}
END_TEST

START_TEST(test_err)
{
	struct td_err e;

	ck_assert_int_eq(td_fail(&e, TD_E_FULL, "no room for %d", 7), TD_E_FULL);
	ck_assert_int_eq(td_wrap(&e, "file %s", "x"), TD_E_FULL);
	ck_assert_str_eq(e.text, "file x: no room for 7");
	for (int i = 0; i < 100; i++)
		(void)td_wrap(&e, "deeper and deeper and deeper");
	ck_assert_uint_lt(strlen(e.text), sizeof(e.text));
	ck_assert_int_eq(td_fail(NULL, TD_E_IO, "nobody asks"), TD_E_IO);
	ck_assert_str_eq(td_errname(TD_E_SCRIPT), "script");
}
END_TEST

static void *
use_spares(void *arg)
{
	void *p[20];

	for (size_t i = 0; i < 20; i++) {
		p[i] = td_spare_alloc(1500 + i * 10);
		memset(p[i], 1, 1500);
	}
	for (size_t i = 0; i < 20; i++)
		td_spare_free(p[i]);
	return arg; /* what it kept goes with it */
}

START_TEST(test_spare)
{
	static const size_t sizes[] = { 0, 1, 1032, 1033, 1600, 1601, 1700, 20000 };
	pthread_t t;

	td_spare_free(NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p[6];

		for (size_t k = 0; k < 6; k++) {
			p[k] = td_spare_alloc(sizes[i]);
			ck_assert_ptr_nonnull(p[k]);
			memset(p[k], (int)k, sizes[i]);
		}
		for (size_t k = 0; k < 6; k++) {
			for (size_t j = 0; j < sizes[i]; j++)
				ck_assert_int_eq(p[k][j], (char)k);
			td_spare_free(p[k]);
		}
	}
#ifndef __SANITIZE_ADDRESS__
	{
		void *p = td_spare_alloc(1584), *q;

		td_spare_free(p);
		q = td_spare_alloc(1100);
		ck_assert_ptr_eq(p, q);
		td_spare_free(q);
	}
#endif
	ck_assert_int_eq(pthread_create(&t, NULL, use_spares, NULL), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
}
END_TEST

START_TEST(test_arena)
{
	struct td_arena *a = td_arena_new(64);
	char *p[200];

	for (int i = 0; i < 200; i++) {
		p[i] = td_arena_alloc(a, (size_t)i * 7 + 1);
		ck_assert_uint_eq((uintptr_t)p[i] % 16, 0);
		memset(p[i], i, (size_t)i * 7 + 1);
	}
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq((unsigned char)p[i][i * 7], (unsigned char)i);
	ck_assert_str_eq(td_arena_printf(a, "%d-%s", 5, "x"), "5-x");
	ck_assert_ptr_null(td_arena_str(a, TD_STR_NULL).p);
	td_arena_free(a);
}
END_TEST

/* ---- map ---- */

START_TEST(test_map)
{
	enum {
		N = 5000
	};
	static char keys[N][16];
	struct td_map m = { 0 };
	size_t pos = 0, seen = 0;

	for (int i = 0; i < N; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
		ck_assert_ptr_null(td_map_set(&m, td_cstr(keys[i]), keys[i]));
	}
	ck_assert_ptr_eq(td_map_set(&m, td_cstr(keys[3]), keys[4]), keys[3]);
	ck_assert_ptr_eq(td_map_set(&m, td_cstr(keys[3]), keys[3]), keys[4]);
	for (int round = 0; round < 20; round++) { /* dead slots do not pile up */
		for (int i = 0; i < N; i += 2)
			ck_assert_ptr_eq(td_map_del(&m, td_cstr(keys[i])), keys[i]);
		for (int i = 0; i < N; i++)
			ck_assert_ptr_eq(td_map_find(&m, td_cstr(keys[i])),
					 i % 2 == 0 ? NULL : keys[i]);
		for (int i = 0; i < N; i += 2)
			(void)td_map_set(&m, td_cstr(keys[i]), keys[i]);
	}
	ck_assert_uint_le(m.cap, 4 * N);
	while (td_map_next(&m, &pos) != NULL)
		seen++;
	ck_assert_uint_eq(seen, N);
	pos = 0;
	for (void *v;
	     (v = td_map_next(&m, &pos)) != NULL;) /* deleting the entry just seen is fine */
		ck_assert_ptr_eq(td_map_del(&m, td_cstr(v)), v);
	ck_assert_uint_eq(m.len, 0);
	td_map_fini(&m);
}
END_TEST

/* ---- loop ---- */

struct count_mail {
	struct td_mail mail;
	int from, seq;
};
static int last_seq[4], arrived;

static void
on_count(struct td_mail *m, struct td_loop *l)
{
	struct count_mail *c = (struct count_mail *)m;

	ck_assert(td_loop_is_mine(l));
	ck_assert_int_eq(c->seq, last_seq[c->from] + 1); /* FIFO per sender */
	last_seq[c->from] = c->seq;
	free(c);
	if (++arrived == 4 * 20000)
		td_loop_stop(l);
}

struct sender {
	struct td_loop *loop;
	int from;
};

static void *
send_many(void *arg)
{
	struct sender *s = arg;

	for (int i = 1; i <= 20000; i++) {
		struct count_mail *c = td_alloc(sizeof(*c));

		c->mail.run = on_count;
		c->from = s->from;
		c->seq = i;
		td_loop_post(s->loop, &c->mail);
	}
	return NULL;
}

START_TEST(test_mailbox)
{
	struct td_loop *l = td_loop_new(0);
	struct sender s[4];
	pthread_t t[4];

	for (int i = 0; i < 4; i++) {
		s[i] = (struct sender){ l, i };
		ck_assert_int_eq(pthread_create(&t[i], NULL, send_many, &s[i]), 0);
	}
	td_loop_run(l);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(arrived, 4 * 20000);
	td_loop_free(l);
}
END_TEST

static struct td_loop *loop;
static char order[16];
static struct td_timer ta, tb, tc;

static void
fired(char which)
{
	size_t n = strlen(order);

	ck_assert_uint_lt(n + 1, sizeof(order));
	order[n] = which;
	order[n + 1] = '\0';
}

static void
fire_a(struct td_timer *t)
{
	(void)t;
	fired('a');
	td_timer_clear(loop, &tb); /* due in the same tick: must not fire */
}

static void
fire_b(struct td_timer *t)
{
	(void)t;
	fired('b');
}

static void
fire_c(struct td_timer *t)
{
	fired('c');
	if (strlen(order) < 4)
		td_timer_set(loop, t, 1);
	else
		td_loop_stop(loop);
}

START_TEST(test_timers)
{
	loop = td_loop_new(0);
	ta = (struct td_timer){ .fire = fire_a };
	tb = (struct td_timer){ .fire = fire_b };
	tc = (struct td_timer){ .fire = fire_c };
	td_timer_set(loop, &ta, 100);
	td_timer_set(loop, &tb, 100);
	td_timer_set(loop, &tc, 100000);
	td_timer_set(loop, &tc, 200); /* moved */
	td_loop_run(loop);
	ck_assert_str_eq(order, "accc");
	ck_assert_uint_eq(tc.due, 0);
	td_loop_free(loop);
}
END_TEST

struct work {
	struct td_task task;
	struct td_grave grave;
	int ran, buried;
};

static void
do_work(struct td_task *t)
{
	struct work *w = (struct work *)t;

	w->ran++;
	if (w->ran == 1)
		td_loop_bury(loop, &w->grave);
}

static void
do_bury(struct td_grave *g)
{
	((struct work *)((char *)g - offsetof(struct work, grave)))->buried++;
}

START_TEST(test_turn)
{
	struct work w = { .task = { .run = do_work }, .grave = { .free = do_bury } };

	loop = td_loop_new(0);
	td_loop_defer(loop, &w.task);
	td_loop_defer(loop, &w.task);
	td_loop_turn(loop, false);
	ck_assert_int_eq(w.ran, 1);
	ck_assert_int_eq(w.buried, 1);
	td_loop_defer(loop, &w.task);
	td_loop_undefer(loop, &w.task);
	td_loop_turn(loop, false);
	ck_assert_int_eq(w.ran, 1);
	td_loop_free(loop);
}
END_TEST

START_TEST(test_stamp)
{
	char s[32];

	td_stamp(1763920801123ULL, s);
	ck_assert_str_eq(s, "2025-11-23T18:00:01.123Z");
}
END_TEST

START_TEST(test_levels)
{
	struct td_logctx c = { .domain = "xmpp.sasl" };

	ck_assert(td_log_on(&c, TD_LOG_INFO));
	ck_assert(!td_log_on(&c, TD_LOG_DEBUG));
	td_log_set_level("xmpp", TD_LOG_ERROR);
	td_log_set_level("xmpp.sasl", TD_LOG_DEBUG);
	ck_assert(td_log_on(&c, TD_LOG_DEBUG));
	c.domain = "xmpp.c2s";
	ck_assert(!td_log_on(&c, TD_LOG_WARN));
	c.domain = "milter";
	ck_assert(td_log_on(&c, TD_LOG_INFO));
	ck_assert_int_eq(td_log_level_from_name("nonsense"), TD_LOG_COUNT);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_xml, 0, (int)(sizeof(escapes) / sizeof(escapes[0])));
	tcase_add_loop_test(t, test_decimal, 0, (int)(sizeof(decimals) / sizeof(decimals[0])));
	tcase_add_loop_test(t, test_no_number, 0, 6);
	tcase_add_test(t, test_cut);
	tcase_add_loop_test(t, test_number, 0, (int)(sizeof(numbers) / sizeof(numbers[0])));
	tcase_add_test(t, test_base64);
	tcase_add_test(t, test_utf8_cut);
	tcase_add_test(t, test_esc);
	tcase_add_test(t, test_err);
	tcase_add_test(t, test_spare);
	tcase_add_test(t, test_arena);
	tcase_add_test(t, test_map);
	tcase_add_test(t, test_mailbox);
	tcase_add_test(t, test_timers);
	tcase_add_test(t, test_turn);
	tcase_add_test(t, test_stamp);
	tcase_add_test(t, test_levels);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
