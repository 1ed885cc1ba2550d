/* util - what the store's tests share: a folder, a store, a loop, and callbacks that keep
 * what they were given.  Thread: the test's. */
#ifndef TESTS_STORE_UTIL_H
#define TESTS_STORE_UTIL_H
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/loop.h"
#include "store/op.h"
#include "store/store.h"

#define S(lit) TD_STR(lit)
#define ANN S("ann@example.org")
#define BOB S("bob@example.org")

/* ---- fixture ---- */

static char dir[64], path[96];
static struct store *st;
static struct td_loop *loop;
static struct td_arena *arena; /* what callbacks keep lives here */

static inline void
make_dir(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/tandem-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/store.db", dir);
}

static inline void
remove_dir(void)
{
	static const char *const ends[] = { "", "-wal", "-shm", ".copy" };
	char p[128];

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		(void)snprintf(p, sizeof(p), "%s%s", path, ends[i]);
		(void)unlink(p);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

static inline void
open_store_with(unsigned busy_ms, unsigned max_offline)
{
	struct store_conf sc = { .path = path, .busy_ms = busy_ms, .max_offline = max_offline };
	struct td_err err = { 0 };

	ck_assert_msg(store_open(&sc, &st, &err) == 0, "%s", err.text);
}

static inline void
set_up(void)
{
	make_dir();
	loop = td_loop_new(0);
	arena = td_arena_new(0);
	open_store_with(300, 5);
}

static inline void
tear_down(void)
{
	store_close(&st);
	td_loop_free(loop);
	td_arena_free(arena);
	remove_dir();
}

/* ---- callbacks ---- */

struct got {
	int calls, rc;
	uint64_t id;
	char error[256];
	struct store_account account;
	struct td_str *strs;
	struct store_roster roster;
	struct store_message *m;
	struct store_chat *chats;
	struct store_mail *mails;
	struct store_thread thread;
	struct td_str value;
	size_t n;
};

static inline struct got *
keep(void *arg, const struct store_result *r)
{
	struct got *g = arg;

	g->calls++;
	g->rc = r->rc;
	g->id = r->id;
	(void)snprintf(g->error, sizeof(g->error), "%s", r->error != NULL ? r->error : "");
	ck_assert((r->rc < 0) == (r->error != NULL));
	return g;
}

static inline struct td_str
dup_str(struct td_str s)
{
	return td_arena_str(arena, s);
}

static inline void
on_result(void *arg, const struct store_result *r)
{
	(void)keep(arg, r);
}

static inline void
on_account(void *arg, const struct store_result *r, const struct store_account *a)
{
	struct got *g = keep(arg, r);

	ck_assert((r->rc == 0) == (a != NULL));
	if (a != NULL) {
		g->account = *a;
		g->account.jid = dup_str(a->jid);
	}
}

static inline void
on_strs(void *arg, const struct store_result *r, const struct td_str *strs, size_t n)
{
	struct got *g = keep(arg, r);

	g->n = n;
	g->strs = td_arena_alloc(arena, n * sizeof(*strs));
	for (size_t i = 0; i < n; i++)
		g->strs[i] = dup_str(strs[i]);
}

static inline void
on_roster(void *arg, const struct store_result *r, const struct store_roster *ro)
{
	struct got *g = keep(arg, r);
	struct store_contact *c;

	ck_assert((r->rc == 0) == (ro != NULL));
	if (ro == NULL)
		return;
	g->roster = *ro;
	g->n = ro->n;
	g->roster.contacts = c = td_arena_alloc(arena, ro->n * sizeof(*c));
	for (size_t i = 0; i < ro->n; i++) {
		struct td_str *groups =
			td_arena_alloc(arena, ro->contacts[i].n_groups * sizeof(*groups));

		c[i] = ro->contacts[i];
		c[i].jid = dup_str(c[i].jid);
		c[i].name = dup_str(c[i].name);
		c[i].pending_stanza = dup_str(c[i].pending_stanza);
		for (size_t k = 0; k < c[i].n_groups; k++)
			groups[k] = dup_str(c[i].groups[k]);
		c[i].groups = groups;
	}
}

static inline void
on_messages(void *arg, const struct store_result *r, const struct store_message *m, size_t n)
{
	struct got *g = keep(arg, r);

	g->n = n;
	g->m = td_arena_alloc(arena, n * sizeof(*m));
	for (size_t i = 0; i < n; i++) {
		g->m[i] = m[i];
		g->m[i].to = dup_str(m[i].to);
		g->m[i].stanza = dup_str(m[i].stanza);
	}
}

static inline void
on_chats(void *arg, const struct store_result *r, const struct store_chat *c, size_t n)
{
	struct got *g = keep(arg, r);

	g->n = n;
	g->chats = td_arena_alloc(arena, n * sizeof(*c));
	if (n > 0)
		memcpy(g->chats, c, n * sizeof(*c));
}

static inline void
on_thread(void *arg, const struct store_result *r, const struct store_thread *t)
{
	struct got *g = keep(arg, r);

	ck_assert((r->rc == 0) == (t != NULL));
	if (t != NULL)
		g->thread = store_thread_copy(arena, t);
}

static inline void
on_mails(void *arg, const struct store_result *r, const struct store_mail *m, size_t n)
{
	struct got *g = keep(arg, r);

	g->n = n;
	g->mails = td_arena_alloc(arena, n * sizeof(*m));
	for (size_t i = 0; i < n; i++) {
		g->mails[i] = m[i];
		g->mails[i].account = dup_str(m[i].account);
		g->mails[i].stanza_id = dup_str(m[i].stanza_id);
		g->mails[i].from = dup_str(m[i].from);
		g->mails[i].to = dup_str(m[i].to);
		g->mails[i].data = dup_str(m[i].data);
		g->mails[i].last_error = dup_str(m[i].last_error);
	}
}

static inline void
on_value(void *arg, const struct store_result *r, struct td_str value)
{
	keep(arg, r)->value = dup_str(value);
}

/* ---- doing ---- */

static inline struct store_to
to_got(struct got *g)
{
	return (struct store_to){ loop, on_result, g };
}

/* Turn the loop until <g> was called; it is called once and on this thread. */
static inline int
await(struct got *g)
{
	while (g->calls == 0)
		td_loop_turn(loop, true);
	ck_assert_int_eq(g->calls, 1);
	return g->rc;
}

/* DO(got, store_x(st, ..., to_got(&got))): clear, call, await; the value is rc. */
#define DO(g, call) (memset(&(g), 0, sizeof(g)), (call), await(&(g)))
#define OK(g, call) ck_assert_msg(DO(g, call) == 0, "%s: %s", #call, (g).error)
#define ck_str(s, lit) \
	ck_assert_msg(td_str_eqc((s), (lit)), "\"%.*s\" is not \"%s\"", TD_STR_ARG(s), (lit))

static inline void
add_account(struct td_str jid)
{
	struct store_account a = { .jid = jid };
	struct got g;

	OK(g, store_account_add(st, &a, to_got(&g)));
}

static inline int
run_suite(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif
