/* directory: best resource, full JIDs, counts; many threads at once. */
#include <pthread.h>
#include <stdio.h>
#include "gateway/base/arena.h"
#include "gateway/gateway.h"
#include "suite.h"

static struct gw_directory *d;
static struct td_arena *arena;

static void
setup(void)
{
	d = gw_directory_new();
	arena = td_arena_new(0);
}

static void
teardown(void)
{
	gw_directory_free(d);
	td_arena_free(arena);
}

static struct xmpp_jid
jid(const char *text)
{
	struct xmpp_jid j = { 0 };
	ptrdiff_t slash;

	j.full = td_cstr(td_arena_strndup(arena, text, strlen(text)));
	slash = td_str_chr(j.full, '/');
	j.bare = slash < 0 ? j.full : td_str(j.full.p, (size_t)slash);
	if (slash >= 0)
		j.resource = td_str(j.full.p + slash + 1, j.full.len - (size_t)slash - 1);
	return j;
}

static void
set(const char *full, int priority, const char *show, const char *status, bool available)
{
	struct xmpp_jid j = jid(full);

	gw_directory_set(d, &j, priority, td_cstr(show), td_cstr(status), available);
}

START_TEST(test_best)
{
	struct gw_presence p;

	ck_assert(!gw_directory_get(d, TD_STR("ann@a.test"), &p));
	set("ann@a.test/low", 1, "chat", "l", true);
	set("ann@a.test/high", 5, "away", "h", true);
	set("ann@a.test/neg", -1, NULL, NULL, true);
	ck_assert(gw_directory_get(d, TD_STR("ann@a.test"), &p));
	ck_assert_int_eq(p.priority, 5);
	ck_assert_str_eq(p.show, "away");
	ck_assert_str_eq(p.status, "h");
	ck_assert_uint_eq(p.resources, 2);
	/* of equals the more attentive one */
	set("ann@a.test/low", 5, NULL, "now equal", true);
	ck_assert(gw_directory_get(d, TD_STR("ann@a.test"), &p));
	ck_assert_str_eq(p.status, "now equal");
	ck_assert(gw_directory_get(d, TD_STR("ann@a.test/neg"), &p));
	ck_assert_int_eq(p.priority, -1);
	ck_assert(!gw_directory_get(d, TD_STR("ann@a.test/other"), &p));
	ck_assert_uint_eq(gw_directory_count(d), 1);
	set("ann@a.test/low", 0, NULL, NULL, false);
	set("ann@a.test/high", 0, NULL, NULL, false);
	ck_assert(!gw_directory_get(d, TD_STR("ann@a.test"), &p)); /* a negative one is left */
	set("ann@a.test/neg", 0, NULL, NULL, false);
	set("ann@a.test/neg", 0, NULL, NULL, false);
	ck_assert_uint_eq(gw_directory_count(d), 0);
}
END_TEST

START_TEST(test_long_status)
{
	struct gw_presence p;
	char status[600];

	for (size_t i = 0; i + 3 <= sizeof(status); i += 3)
		memcpy(status + i, "\xe2\x82\xac", 3);
	status[sizeof(status) - 3] = '\0';
	set("ann@a.test/x", 0, "nosuchshow", status, true);
	ck_assert(gw_directory_get(d, TD_STR("ann@a.test"), &p));
	ck_assert_uint_eq(strlen(p.status), 255); /* cut at a character */
	ck_assert_str_eq(p.show, "");
}
END_TEST

static void *
churn(void *arg)
{
	int me = *(int *)arg;
	struct gw_presence p;

	for (int i = 0; i < 20000; i++) {
		char text[64];
		struct xmpp_jid j = { 0 };
		int n = snprintf(text, sizeof(text), "u%d@a.test/r%d", i % 50, me);
		size_t bare = strcspn(text, "/");

		j.full = td_str(text, (size_t)n);
		j.bare = td_str(text, bare);
		j.resource = td_str(text + bare + 1, (size_t)n - bare - 1);
		gw_directory_set(d, &j, i % 10, TD_STR("away"), TD_STR("status"),
				 i < 19950 && i % 3 != 0);
		if (gw_directory_get(d, j.bare, &p))
			ck_assert_str_eq(p.status, "status");
	}
	return NULL;
}

START_TEST(test_threads)
{
	pthread_t t[4];
	int ids[4] = { 0, 1, 2, 3 };

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, churn, &ids[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(gw_directory_count(d), 0);
}
END_TEST

static void
fill(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_best);
	tcase_add_test(tc, test_long_status);
	tcase_add_test(tc, test_threads);
}

int
main(void)
{
	return run_suite("directory", fill);
}
