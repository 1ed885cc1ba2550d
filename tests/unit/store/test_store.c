/* test_store - every call, once each way. */
#include <stdatomic.h>
#include "tests/unit/store/util.h"

static struct got g, h;

/* ---- accounts ---- */

static struct store_account
full_account(struct td_str jid)
{
	struct store_account a = { .jid = jid, .created = 1700000000 };

	a.sha1 = (struct store_scram){ .iterations = 4096, .salt_len = 16, .key_len = 20 };
	a.sha256 = (struct store_scram){ .iterations = 10000, .salt_len = 32, .key_len = 32 };
	memset(a.sha1.salt, 1, sizeof(a.sha1.salt));
	memset(a.sha1.stored_key, 2, 20);
	memset(a.sha1.server_key, 3, 20);
	memset(a.sha256.salt, 0, 32); /* NUL bytes must survive */
	memset(a.sha256.stored_key, 5, 32);
	memset(a.sha256.server_key, 6, 32);
	return a;
}

START_TEST(account_keeps_its_verifiers)
{
	struct store_account a = full_account(ANN);

	OK(g, store_account_add(st, &a, to_got(&g)));
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_str(g.account.jid, "ann@example.org");
	ck_assert_uint_eq(g.account.created, 1700000000);
	ck_assert(!g.account.disabled);
	ck_assert_uint_eq(g.account.sha1.iterations, 4096);
	ck_assert_uint_eq(g.account.sha1.salt_len, 16);
	ck_assert_uint_eq(g.account.sha1.key_len, 20);
	ck_assert_mem_eq(g.account.sha1.server_key, a.sha1.server_key, 20);
	ck_assert_uint_eq(g.account.sha256.iterations, 10000);
	ck_assert_uint_eq(g.account.sha256.salt_len, 32);
	ck_assert_mem_eq(g.account.sha256.salt, a.sha256.salt, 32);
	ck_assert_mem_eq(g.account.sha256.stored_key, a.sha256.stored_key, 32);
}
END_TEST

START_TEST(account_add_twice_is_exists)
{
	struct store_account a = full_account(ANN);

	add_account(ANN);
	ck_assert_int_eq(DO(g, store_account_add(st, &a, to_got(&g))), TD_E_EXISTS);
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert_uint_eq(g.account.sha1.key_len, 0); /* the first one stays */
	ck_assert_uint_gt(g.account.created, 1700000000);
}
END_TEST

START_TEST(account_update_replaces)
{
	struct store_account a = full_account(ANN);

	ck_assert_int_eq(DO(g, store_account_update(st, &a, to_got(&g))), TD_E_NOTFOUND);
	OK(g, store_account_add(st, &a, to_got(&g)));
	a.sha1.key_len = 0;
	a.sha256.iterations = 20000;
	OK(g, store_account_update(st, &a, to_got(&g)));
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert_uint_eq(g.account.sha1.key_len, 0);
	ck_assert_uint_eq(g.account.sha256.iterations, 20000);
}
END_TEST

START_TEST(account_refuses_impossible_lengths)
{
	struct store_account a = full_account(ANN);

	a.sha1.salt_len = sizeof(a.sha1.salt) + 1;
	ck_assert_int_eq(DO(g, store_account_add(st, &a, to_got(&g))), TD_E_INVAL);
	a = full_account(TD_STR_NULL);
	ck_assert_int_eq(DO(g, store_account_add(st, &a, to_got(&g))), TD_E_INVAL);
}
END_TEST

START_TEST(account_delete_takes_all_with_it)
{
	struct store_contact c = { .jid = BOB, .groups = &S("Work"), .n_groups = 1 };
	struct store_thread t = {
		.account = ANN, .peer = S("p@mail"), .mail_id = S("1@m"), .thread = S("t")
	};

	ck_assert_int_eq(DO(g, store_account_delete(st, ANN, to_got(&g))), TD_E_NOTFOUND);
	add_account(ANN);
	OK(g, store_roster_set(st, ANN, &c, to_got(&g)));
	OK(g, store_message_add(st, ANN, S("<message/>"), 1, to_got(&g)));
	OK(g, store_setting_set(st, ANN, S("k"), S("v"), to_got(&g)));
	OK(g, store_thread_put(st, &t, to_got(&g)));
	OK(g, store_account_delete(st, ANN, to_got(&g)));
	ck_assert_int_eq(DO(g, store_account_get(st, ANN, loop, on_account, &g)), TD_E_NOTFOUND);
	add_account(ANN);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.n, 0);
	ck_assert_uint_eq(g.roster.offline_count, 0);
	ck_assert_int_eq(DO(g, store_setting_get(st, ANN, S("k"), loop, on_value, &g)),
			 TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_thread_by_mail(st, ANN, &S("1@m"), 1, loop, on_thread, &g)),
			 TD_E_NOTFOUND);
}
END_TEST

START_TEST(account_list_is_sorted_and_by_domain)
{
	OK(g, store_account_list(st, TD_STR_NULL, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 0);
	add_account(BOB);
	add_account(S("x@other.example"));
	add_account(ANN);
	OK(g, store_account_list(st, TD_STR_NULL, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 3);
	ck_str(g.strs[0], "ann@example.org");
	ck_str(g.strs[1], "bob@example.org");
	ck_str(g.strs[2], "x@other.example");
	OK(g, store_account_list(st, S("other.example"), loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 1);
	ck_str(g.strs[0], "x@other.example");
}
END_TEST

START_TEST(account_exists_follows_changes)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(store_account_exists_now(st, ANN), 0);
		add_account(ANN);
		ck_assert_int_eq(store_account_exists_now(st, ANN), 1);
		ck_assert_int_eq(store_account_exists_now(st, ANN), 1);
		OK(g, store_account_delete(st, ANN, to_got(&g)));
	}
}
END_TEST

START_TEST(account_exists_is_remembered)
{
	struct store_stats before, after;

	add_account(ANN);
	ck_assert_int_eq(store_account_exists_now(st, ANN), 1);
	store_get_stats(st, &before);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(store_account_exists_now(st, ANN), 1);
	store_get_stats(st, &after);
	ck_assert_uint_eq(after.reads, before.reads);
}
END_TEST

/* ---- roster ---- */

START_TEST(roster_of_no_account)
{
	struct store_contact c = { .jid = BOB };

	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert(!g.roster.account_exists);
	ck_assert_int_eq(DO(g, store_roster_set(st, ANN, &c, to_got(&g))), TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_roster_del(st, ANN, BOB, to_got(&g))), TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_roster_removed(st, ANN, 0, loop, on_strs, &g)), TD_E_NOTFOUND);
}
END_TEST

START_TEST(roster_keeps_all_of_a_contact)
{
	struct td_str groups[] = { S("Work"), S(""), S("Friends") };
	struct store_contact c = {
		.jid = BOB,
		.name = S("Bob"),
		.sub = STORE_SUB_FROM,
		.flags = STORE_ROSTER_ASK | STORE_ROSTER_PENDING_IN,
		.groups = groups,
		.n_groups = 3,
		.pending_stanza = S("<presence/>"),
	};
	struct store_contact bare = { .jid = S("a@first.example"), .sub = STORE_SUB_BOTH };
	uint64_t ver;

	add_account(ANN);
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert(g.roster.account_exists && !g.roster.account_disabled);
	ver = g.roster.ver;
	OK(g, store_roster_set(st, ANN, &c, to_got(&g)));
	ck_assert_uint_eq(g.id, ver + 1);
	OK(g, store_roster_set(st, ANN, &bare, to_got(&g)));
	ck_assert_uint_eq(g.id, ver + 2);
	OK(g, store_message_add(st, ANN, S("<message/>"), 1, to_got(&g)));
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.n, 2);
	ck_assert_uint_eq(g.roster.ver, ver + 2);
	ck_assert_uint_eq(g.roster.offline_count, 1);
	ck_str(g.roster.contacts[0].jid, "a@first.example");
	ck_assert_ptr_null(g.roster.contacts[0].name.p);
	ck_assert_uint_eq(g.roster.contacts[0].n_groups, 0);
	ck_assert_int_eq(g.roster.contacts[0].sub, STORE_SUB_BOTH);
	ck_str(g.roster.contacts[1].name, "Bob");
	ck_assert_uint_eq(g.roster.contacts[1].flags, c.flags);
	ck_assert_uint_eq(g.roster.contacts[1].n_groups, 3);
	ck_str(g.roster.contacts[1].groups[0], "Work");
	ck_str(g.roster.contacts[1].groups[1], "");
	ck_str(g.roster.contacts[1].groups[2], "Friends");
	ck_str(g.roster.contacts[1].pending_stanza, "<presence/>");
	ck_assert_uint_eq(g.roster.contacts[1].ver, ver + 1);
	c.n_groups = 1;
	c.name = TD_STR_NULL;
	OK(g, store_roster_set(st, ANN, &c, to_got(&g)));
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.contacts[1].n_groups, 1);
	ck_assert_ptr_null(g.roster.contacts[1].name.p);
}
END_TEST

START_TEST(roster_large)
{
	struct td_str groups[] = { S("One"), S("Two") };
	char jid[32];

	add_account(ANN);
	for (int i = 0; i < 300; i++) {
		struct store_contact c = { .groups = groups, .n_groups = (size_t)i % 3 };

		c.jid = td_str(jid, (size_t)snprintf(jid, sizeof(jid), "c%03d@example.org", i));
		store_roster_set(st, ANN, &c, (struct store_to){ 0 }); /* nobody listens */
	}
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.n, 300);
	for (size_t i = 0; i < 300; i++) {
		ck_assert_uint_eq(g.roster.contacts[i].n_groups, i % 3);
		for (size_t k = 0; k < i % 3; k++)
			ck_assert(td_str_eq(g.roster.contacts[i].groups[k], groups[k]));
	}
}
END_TEST

START_TEST(roster_removals_are_remembered)
{
	struct store_contact c = { .jid = BOB };
	uint64_t ver;

	add_account(ANN);
	OK(g, store_roster_set(st, ANN, &c, to_got(&g)));
	ver = g.id;
	ck_assert_int_eq(DO(g, store_roster_del(st, ANN, S("x@y"), to_got(&g))), TD_E_NOTFOUND);
	OK(g, store_roster_del(st, ANN, BOB, to_got(&g)));
	ck_assert_uint_eq(g.id, ver + 1); /* what failed took no version */
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 1);
	ck_assert_uint_eq(g.n, 1);
	ck_str(g.strs[0], "bob@example.org");
	OK(g, store_roster_removed(st, ANN, ver + 1, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 1);
	ck_assert_uint_eq(g.n, 0);
	/* from before this account, and from the future */
	OK(g, store_roster_removed(st, ANN, 0, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 0);
	OK(g, store_roster_removed(st, ANN, ver + 100, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 0);
	/* back again: no longer removed */
	OK(g, store_roster_set(st, ANN, &c, to_got(&g)));
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 0);
}
END_TEST

START_TEST(roster_hidden_contacts)
{
	struct store_contact shown = { .jid = BOB };
	struct store_contact hidden = { .jid = BOB,
					.flags = STORE_ROSTER_HIDDEN | STORE_ROSTER_PENDING_IN };
	uint64_t ver;

	add_account(ANN);
	OK(g, store_roster_set(st, ANN, &hidden, to_got(&g)));
	ver = g.id;
	OK(g, store_roster_del(st, ANN, BOB, to_got(&g)));
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 0); /* nobody ever saw it */
	OK(g, store_roster_set(st, ANN, &shown, to_got(&g)));
	OK(g, store_roster_del(st, ANN, BOB, to_got(&g)));
	OK(g, store_roster_set(st, ANN, &hidden, to_got(&g)));
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 1); /* a request afterwards does not hide the removal */
	OK(g, store_roster_set(st, ANN, &shown, to_got(&g)));
	ver = g.id;
	OK(g, store_roster_set(st, ANN, &hidden, to_got(&g)));
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.n, 1); /* from shown to hidden is a removal */
}
END_TEST

/* ---- messages ---- */

START_TEST(messages_in_order_and_paged)
{
	uint64_t ids[5];

	ck_assert_int_eq(DO(g, store_message_add(st, ANN, S("x"), 1, to_got(&g))), TD_E_NOTFOUND);
	add_account(ANN);
	add_account(BOB);
	for (unsigned i = 0; i < 5; i++) {
		char text[16];
		int n = snprintf(text, sizeof(text), "<m>%u</m>", i);

		OK(g, store_message_add(st, ANN, td_str(text, (size_t)n), 1000 + i, to_got(&g)));
		ids[i] = g.id;
		ck_assert(i == 0 || ids[i] > ids[i - 1]);
	}
	ck_assert_int_eq(DO(g, store_message_add(st, ANN, S("x"), 1, to_got(&g))), TD_E_LIMIT);
	OK(g, store_message_add(st, BOB, S("<to-bob/>"), 1, to_got(&g)));
	OK(g, store_messages_get(st, ANN, 0, 2, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 2);
	ck_assert_uint_eq(g.m[0].id, ids[0]);
	ck_str(g.m[1].stanza, "<m>1</m>");
	ck_assert_uint_eq(g.m[1].when, 1001);
	ck_str(g.m[1].to, "ann@example.org");
	OK(g, store_messages_get(st, ANN, ids[1], 100, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 3);
	OK(g, store_messages_get(st, S("no@body"), 0, 100, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 0);
	OK(g, store_message_del(st, ids, 4, to_got(&g)));
	ck_assert_uint_eq(g.id, 4);
	OK(g, store_message_del(st, ids, 4, to_got(&g)));
	ck_assert_uint_eq(g.id, 0);
	OK(g, store_message_del(st, NULL, 0, to_got(&g)));
	OK(g, store_messages_get(st, ANN, 0, 100, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 1);
	ck_assert_uint_eq(g.m[0].id, ids[4]);
	/* ids do not come back: "after the last I saw" stays true */
	OK(g, store_message_del(st, &ids[4], 1, to_got(&g)));
	OK(g, store_message_add(st, ANN, S("x"), 1, to_got(&g)));
	ck_assert_uint_gt(g.id, ids[4]);
}
END_TEST

/* Deletions that nobody waits for share a commit, are seen by what is asked after them, and
 * happen without anything else to do. */
START_TEST(message_del_lazy)
{
	struct store_stats before, now;
	uint64_t ids[3];

	add_account(ANN);
	for (int i = 0; i < 3; i++) {
		OK(g, store_message_add(st, ANN, S("<m/>"), 1, to_got(&g)));
		ids[i] = g.id;
	}
	store_get_stats(st, &before);
	store_message_del(st, &ids[0], 1, (struct store_to){ 0 });
	store_message_del(st, &ids[1], 1, (struct store_to){ 0 });
	OK(g, store_messages_get(st, ANN, 0, 100, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 1);
	store_get_stats(st, &now);
	ck_assert_uint_eq(now.writes - before.writes, 2);
	ck_assert_uint_eq(now.commits - before.commits, 1);
	store_message_del(st, &ids[2], 1, (struct store_to){ 0 });
	do
		store_get_stats(st, &now);
	while (now.writes - before.writes < 3);
	ck_assert_uint_eq(now.commits - before.commits, 2);
	store_message_del(st, &ids[2], 1, (struct store_to){ 0 }); /* closing takes it along */
}
END_TEST

START_TEST(message_large)
{
	char *big = td_alloc(3 << 20);

	memset(big, 'x', 3 << 20);
	big[1000] = '\0';
	add_account(ANN);
	OK(g, store_message_add(st, ANN, td_str(big, 3 << 20), 1, to_got(&g)));
	OK(g, store_messages_get(st, ANN, 0, 1, loop, on_messages, &g));
	ck_assert_uint_eq(g.m[0].stanza.len, 3 << 20);
	ck_assert_mem_eq(g.m[0].stanza.p, big, 3 << 20);
	free(big);
}
END_TEST

/* ---- chats ---- */

START_TEST(chats_repeat_is_not_stored_again)
{
	struct store_chat c[] = {
		{ .to = ANN,
		  .stanza = S("<a/>"),
		  .mail_id = S("1@mx"),
		  .thread = S("t1"),
		  .peer = S("p@mx") },
		{ .to = BOB, .stanza = S("<b/>"), .mail_id = S("1@mx") },
		{ .to = ANN,
		  .stanza = S("<a/>"),
		  .mail_id = S("1@mx") },           /* the same twice in a call */
		{ .to = ANN, .stanza = S("<n/>") }, /* no Message-ID: never a repeat */
	};

	add_account(ANN);
	add_account(BOB);
	OK(g, store_chats_add(st, c, 4, loop, on_chats, &g));
	ck_assert_uint_eq(g.id, 3);
	ck_assert_uint_ne(g.chats[0].row_out, 0);
	ck_assert_uint_ne(g.chats[1].row_out, 0);
	ck_assert_uint_eq(g.chats[2].row_out, 0);
	ck_assert_uint_ne(g.chats[3].row_out, 0);
	OK(g, store_chats_add(st, c, 4, loop, on_chats, &g));
	ck_assert_uint_eq(g.id, 1);
	ck_assert_uint_eq(g.chats[0].row_out, 0);
	OK(g, store_thread_by_mail(st, ANN, &S("1@mx"), 1, loop, on_thread, &g));
	ck_str(g.thread.thread, "t1");
	ck_str(g.thread.peer, "p@mx");
	/* a day later it is news again */
	store_shift_clock(st, 86400000 + 1);
	OK(g, store_chats_add(st, c, 2, loop, on_chats, &g));
	ck_assert_uint_eq(g.id, 2);
}
END_TEST

START_TEST(chats_all_or_nothing)
{
	struct store_chat c[] = {
		{ .to = ANN, .stanza = S("<a/>"), .mail_id = S("1@mx") },
		{ .to = S("no@body"), .stanza = S("<b/>"), .mail_id = S("1@mx") },
	};

	add_account(ANN);
	ck_assert_int_eq(DO(g, store_chats_add(st, c, 2, loop, on_chats, &g)), TD_E_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(g.error, "no@body"));
	ck_assert_uint_eq(g.chats[0].row_out, 0);
	OK(g, store_messages_get(st, ANN, 0, 100, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 0);
	/* and it is not remembered as seen */
	OK(g, store_chats_add(st, c, 1, loop, on_chats, &g));
	ck_assert_uint_eq(g.id, 1);
	for (int i = 0; i < 4; i++)
		OK(g, store_message_add(st, ANN, S("x"), 1, to_got(&g)));
	c[0].mail_id = S("2@mx");
	ck_assert_int_eq(DO(g, store_chats_add(st, c, 1, loop, on_chats, &g)), TD_E_LIMIT);
}
END_TEST

/* On the store's thread. */
static void
on_late(void *arg, const struct store_result *r, const struct store_chat *c, size_t n)
{
	if (r->rc == 0 && n == 1)
		atomic_store((_Atomic uint64_t *)arg, c[0].row_out);
}

START_TEST(chats_blocking)
{
	struct store_chat c[] = {
		{ .to = ANN, .stanza = S("<a/>"), .mail_id = S("1@mx") },
		{ .to = S("no@body"), .stanza = S("<a/>"), .mail_id = S("1@mx") }
	};
	_Atomic uint64_t late = 0;
	struct td_err err = { 0 };

	add_account(ANN);
	ck_assert_int_eq(store_chats_add_wait(st, c, 2, 5000, NULL, NULL, &err), TD_E_NOTFOUND);
	ck_assert_int_eq(err.code, TD_E_NOTFOUND);
	ck_assert_int_eq(store_chats_add_wait(st, c, 1, 5000, NULL, NULL, &err), 0);
	ck_assert_uint_ne(c[0].row_out, 0);
	ck_assert_int_eq(store_chats_add_wait(st, c, 1, 5000, NULL, NULL, &err), 0);
	ck_assert_uint_eq(c[0].row_out, 0);
	/* giving up leaves nothing behind */
	store_hold_writer(st, true);
	c[0].mail_id = S("2@mx");
	ck_assert_int_eq(store_chats_add_wait(st, c, 1, 1, NULL, NULL, &err), TD_E_TIMEOUT);
	c[0].mail_id = S("3@mx");
	ck_assert_int_eq(store_chats_add_wait(st, c, 1, 1, on_late, &late, &err), TD_E_TIMEOUT);
	store_hold_writer(st, false);
	OK(g, store_messages_get(st, ANN, 0, 10, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 3); /* stored all the same: the MTA's retry is a repeat */
	ck_assert_uint_ne(atomic_load(&late), 0);
}
END_TEST

/* ---- archives ---- */

static void
on_archived(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	    bool complete)
{
	struct got *to = keep(arg, r);

	to->n = n;
	ck_assert(complete);
	for (size_t i = 0; i < n; i++)
		ck_assert(td_str_eq(rows[i].peer, BOB));
}

static void
archive_one(uint64_t id, unsigned lazy_ms, struct store_to to)
{
	struct store_archived row = {
		.id = id, .owner = ANN, .peer = BOB, .stanza = S("<message/>")
	};

	store_archive_add(st, &row, 1, lazy_ms, to);
}

/* The numbers of addresses are remembered, but not those of a transaction that was taken back. */
START_TEST(archive_addresses_after_a_rollback)
{
	struct store_archive_query q = { .owner = ANN, .with = BOB, .max = 10 };
	struct got added = { 0 }, refused = { 0 };

	store_hold_writer(st, true);
	archive_one(7, 0, to_got(&added));
	/* nobody of that name: all of the batch is undone and run again */
	store_message_add(st, ANN, S("<m/>"), 1, to_got(&refused));
	archive_one(8, 0, (struct store_to){ 0 });
	store_hold_writer(st, false);
	OK(g, store_archive_get(st, &q, loop, on_archived, &g));
	ck_assert_uint_eq(g.n, 2);
	ck_assert_int_eq(added.calls, 1);
	ck_assert_int_eq(added.rc, 0);
	ck_assert_int_eq(refused.rc, TD_E_NOTFOUND);
	OK(g, archive_one(7 + 2, 0, to_got(&g)));
	OK(g, archive_one(7, 0, to_got(&g))); /* an id that is taken: the next that is not */
	OK(g, archive_one(10, 0, to_got(&g)));
	OK(g, store_archive_get(st, &q, loop, on_archived, &g));
	ck_assert_uint_eq(g.n, 5);
}
END_TEST

/* Who may wait a second goes with who may wait 20 ms. */
START_TEST(lazy_writes_share_a_commit)
{
	struct store_stats before, now;
	uint64_t began = td_mono_ms();

	store_get_stats(st, &before);
	archive_one(1, 5000, (struct store_to){ 0 });
	archive_one(2, 20, (struct store_to){ 0 });
	archive_one(3, 5000, (struct store_to){ 0 });
	do
		store_get_stats(st, &now);
	while (now.writes - before.writes < 3);
	ck_assert_uint_eq(now.commits - before.commits, 1);
	ck_assert_uint_ge(td_mono_ms() - began, 20);
	ck_assert_uint_lt(td_mono_ms() - began, 4000);
}
END_TEST

/* ---- threads ---- */

START_TEST(threads_both_ways)
{
	struct store_thread t = { .account = ANN,
				  .peer = S("p@mx"),
				  .mail_id = S("1@mx"),
				  .thread = S("t1"),
				  .subject = S("Hello") };
	struct td_str ids[] = { S("0@mx"), S("2@mx"), S("1@mx") };
	struct store_thread out;

	ck_assert_int_eq(
		DO(g, store_thread_latest(st, ANN, S("p@mx"), TD_STR_NULL, loop, on_thread, &g)),
		TD_E_NOTFOUND);
	OK(g, store_thread_put(st, &t, to_got(&g)));
	t.mail_id = S("2@mx");
	t.thread = S("t2");
	t.subject = TD_STR_NULL;
	OK(g, store_thread_put(st, &t, to_got(&g)));
	OK(g, store_thread_by_mail(st, ANN, ids, 3, loop, on_thread, &g));
	ck_str(g.thread.mail_id, "2@mx");
	ck_str(g.thread.thread, "t2");
	ck_assert_ptr_null(g.thread.subject.p);
	ck_str(g.thread.account, "ann@example.org");
	ck_assert_int_eq(DO(g, store_thread_by_mail(st, BOB, ids, 3, loop, on_thread, &g)),
			 TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_thread_by_mail(st, ANN, ids, 0, loop, on_thread, &g)),
			 TD_E_NOTFOUND);
	OK(g, store_thread_latest(st, ANN, S("p@mx"), TD_STR_NULL, loop, on_thread, &g));
	ck_str(g.thread.mail_id, "2@mx");
	OK(g, store_thread_latest(st, ANN, S("p@mx"), S("t1"), loop, on_thread, &g));
	ck_str(g.thread.mail_id, "1@mx");
	ck_str(g.thread.subject, "Hello");
	ck_assert_int_eq(store_thread_by_mail_now(st, arena, ANN, ids + 2, 1, &out), 0);
	ck_str(out.subject, "Hello");
	ck_assert_int_eq(store_thread_by_mail_now(st, arena, ANN, ids, 1, &out), TD_E_NOTFOUND);
	/* put again: the latest now */
	t.mail_id = S("1@mx");
	OK(g, store_thread_put(st, &t, to_got(&g)));
	OK(g, store_thread_latest(st, ANN, S("p@mx"), TD_STR_NULL, loop, on_thread, &g));
	ck_str(g.thread.mail_id, "1@mx");
	t.mail_id = TD_STR_NULL;
	ck_assert_int_eq(DO(g, store_thread_put(st, &t, to_got(&g))), TD_E_INVAL);
}
END_TEST

/* ---- outbox ---- */

START_TEST(outbox_life_of_a_mail)
{
	struct store_mail m = { .account = S("ann@example.org/desk"),
				.stanza_id = S("s1"),
				.from = ANN,
				.to = S("p@mx"),
				.data = S("Subject: x\r\n\r\nhi\r\n"),
				.next_try = 100,
				.expires = 9000 };
	struct store_thread t = {
		.account = ANN, .peer = S("p@mx"), .mail_id = S("1@mx"), .thread = S("t")
	};
	uint64_t first, second;

	OK(g, store_outbox_add(st, &m, &t, to_got(&g)));
	first = g.id;
	m.from = TD_STR_NULL;
	m.next_try = 50;
	OK(g, store_outbox_add(st, &m, NULL, to_got(&g)));
	second = g.id;
	OK(g, store_outbox_due(st, 49, 10, loop, on_mails, &g));
	ck_assert_uint_eq(g.n, 0);
	OK(g, store_outbox_due(st, 100, 10, loop, on_mails, &g));
	ck_assert_uint_eq(g.n, 2);
	ck_assert_uint_eq(g.mails[0].id, second);
	ck_assert_uint_eq(g.mails[0].from.len, 0);
	ck_assert_uint_eq(g.mails[1].id, first);
	ck_str(g.mails[1].account, "ann@example.org/desk");
	ck_str(g.mails[1].stanza_id, "s1");
	ck_str(g.mails[1].data, "Subject: x\r\n\r\nhi\r\n");
	ck_assert_uint_eq(g.mails[1].expires, 9000);
	ck_assert_uint_gt(g.mails[1].created, 1700000000000);
	OK(g, store_outbox_due(st, 100, 1, loop, on_mails, &g));
	ck_assert_uint_eq(g.n, 1);
	OK(g, store_outbox_retry(st, second, 500, S("451 later"), to_got(&g)));
	OK(g, store_outbox_list(st, loop, on_mails, &g));
	ck_assert_uint_eq(g.n, 2);
	ck_assert_uint_eq(g.mails[1].tries, 1);
	ck_assert_uint_eq(g.mails[1].next_try, 500);
	ck_str(g.mails[1].last_error, "451 later");
	ck_assert_ptr_null(g.mails[1].data.p);
	OK(g, store_outbox_del(st, second, to_got(&g)));
	ck_assert_int_eq(DO(g, store_outbox_del(st, second, to_got(&g))), TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_outbox_retry(st, second, 1, S(""), to_got(&g))),
			 TD_E_NOTFOUND);
	OK(g, store_thread_by_mail(st, ANN, &S("1@mx"), 1, loop, on_thread, &g));
	/* a thread that cannot be stored keeps the mail out too */
	t.mail_id = TD_STR_NULL;
	ck_assert_int_eq(DO(g, store_outbox_add(st, &m, &t, to_got(&g))), TD_E_INVAL);
	OK(g, store_outbox_list(st, loop, on_mails, &g));
	ck_assert_uint_eq(g.n, 1);
}
END_TEST

START_TEST(outbox_bounce_is_one_step)
{
	struct store_mail m = { .account = ANN, .from = ANN, .to = S("p@mx"), .data = S("x") };
	uint64_t id;

	add_account(ANN);
	for (int i = 0; i < 5; i++)
		OK(g, store_message_add(st, ANN, S("x"), 1, to_got(&g)));
	OK(g, store_outbox_add(st, &m, NULL, to_got(&g)));
	id = g.id;
	OK(g, store_outbox_bounce(st, id, ANN, S("<error/>"), 7, to_got(&g)));
	ck_assert_uint_ne(g.id, 0); /* though the quota is used up */
	OK(h, store_messages_get(st, ANN, g.id - 1, 10, loop, on_messages, &h));
	ck_assert_uint_eq(h.n, 1);
	ck_str(h.m[0].stanza, "<error/>");
	ck_assert_int_eq(DO(g, store_outbox_bounce(st, id, ANN, S("<error/>"), 7, to_got(&g))),
			 TD_E_NOTFOUND);
	OK(h, store_outbox_add(st, &m, NULL, to_got(&h)));
	OK(g, store_outbox_bounce(st, h.id, S("gone@example.org"), S("<error/>"), 7, to_got(&g)));
	ck_assert_uint_eq(g.id, 0);
	OK(g, store_outbox_list(st, loop, on_mails, &g));
	ck_assert_uint_eq(g.n, 0);
}
END_TEST

/* ---- settings, waits, housekeeping ---- */

START_TEST(settings)
{
	ck_assert_int_eq(DO(g, store_setting_get(st, S(""), S("k"), loop, on_value, &g)),
			 TD_E_NOTFOUND);
	OK(g, store_setting_set(st, S(""), S("k"), S("server"), to_got(&g)));
	OK(g, store_setting_set(st, ANN, S("k"), S(""), to_got(&g)));
	OK(g, store_setting_get(st, S(""), S("k"), loop, on_value, &g));
	ck_str(g.value, "server");
	OK(g, store_setting_get(st, ANN, S("k"), loop, on_value, &g));
	ck_assert_ptr_nonnull(g.value.p);
	ck_assert_uint_eq(g.value.len, 0);
	OK(g, store_setting_set(st, S(""), S("k"), TD_STR_NULL, to_got(&g)));
	ck_assert_int_eq(DO(g, store_setting_get(st, S(""), S("k"), loop, on_value, &g)),
			 TD_E_NOTFOUND);
}
END_TEST

START_TEST(waits)
{
	struct store_wait *w = store_wait_new();
	struct td_err err = { 0 };
	uint64_t id = 0;

	add_account(ANN);
	store_message_add(st, ANN, S("x"), 1, store_to_wait(w));
	ck_assert_int_eq(store_wait_for(w, 5000, &id, &err), 0);
	ck_assert_uint_ne(id, 0);
	store_message_add(st, BOB, S("x"), 1, store_to_wait(w));
	ck_assert_int_eq(store_wait_for(w, 5000, &id, &err), TD_E_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.text, "bob@example.org"));
	store_hold_writer(st, true);
	store_message_add(st, ANN, S("x"), 1, store_to_wait(w));
	ck_assert_int_eq(store_wait_for(w, 1, &id, &err), TD_E_TIMEOUT);
	store_wait_free(w); /* before the reply */
	store_wait_free(NULL);
	store_hold_writer(st, false);
	OK(g, store_messages_get(st, ANN, 0, 10, loop, on_messages, &g));
	ck_assert_uint_eq(g.n, 2);
}
END_TEST

START_TEST(old_rows_are_purged)
{
	struct store_chat c = { .to = ANN,
				.stanza = S("<a/>"),
				.mail_id = S("1@mx"),
				.thread = S("t"),
				.peer = S("p@mx") };
	struct store_contact contact = { .jid = BOB };
	uint64_t ver;

	add_account(ANN);
	OK(g, store_chats_add(st, &c, 1, loop, on_chats, &g));
	OK(g, store_roster_set(st, ANN, &contact, to_got(&g)));
	ver = g.id;
	OK(g, store_roster_del(st, ANN, BOB, to_got(&g)));
	OK(g, store_purge(st, to_got(&g)));
	ck_assert_uint_eq(g.id, 0);
	store_shift_clock(st, INT64_C(2) * 86400000);
	OK(g, store_purge(st, to_got(&g)));
	ck_assert_uint_eq(g.id, 1); /* dedup */
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 1);
	store_shift_clock(st, INT64_C(31) * 86400000);
	OK(g, store_purge(st, to_got(&g)));
	ck_assert_uint_eq(g.id, 2); /* thread, removal */
	ck_assert_int_eq(DO(g, store_thread_by_mail(st, ANN, &S("1@mx"), 1, loop, on_thread, &g)),
			 TD_E_NOTFOUND);
	OK(g, store_roster_removed(st, ANN, ver, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 0); /* too old: send everything */
	OK(g, store_roster_removed(st, ANN, ver + 1, loop, on_strs, &g));
	ck_assert_uint_eq(g.id, 1);
}
END_TEST

START_TEST(the_writer_purges_by_itself)
{
	struct store_chat c = { .to = ANN, .stanza = S("<a/>"), .mail_id = S("1@mx") };
	struct store_stats before, after;

	add_account(ANN);
	OK(g, store_chats_add(st, &c, 1, loop, on_chats, &g));
	store_shift_clock(st, INT64_C(2) * 86400000);
	do /* the counters of what was answered are settled */
		store_get_stats(st, &before);
	while (before.queue > 0 || before.writes < 2);
	store_purge_soon(st);
	do
		store_get_stats(st, &after);
	while (after.queue > 0 || after.writes == before.writes);
	OK(g, store_purge(st, to_got(&g)));
	ck_assert_uint_eq(g.id, 0);
}
END_TEST

START_TEST(memory_store)
{
	struct store_conf sc = { .path = ":memory:" };
	struct store *disk = st;
	struct td_err err;

	ck_assert_int_eq(store_open(&sc, &st, &err), 0);
	add_account(ANN);
	ck_assert_int_eq(store_account_exists_now(st, ANN), 1);
	OK(g, store_message_add(st, ANN, S("x"), 1, to_got(&g)));
	OK(g, store_roster_get(st, ANN, loop, on_roster, &g));
	ck_assert_uint_eq(g.roster.offline_count, 1);
	store_close(&st);
	ck_assert_ptr_null(st);
	store_close(&st);
	st = disk;
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("calls");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, account_keeps_its_verifiers);
	tcase_add_test(tc, account_add_twice_is_exists);
	tcase_add_test(tc, account_update_replaces);
	tcase_add_test(tc, account_refuses_impossible_lengths);
	tcase_add_test(tc, account_delete_takes_all_with_it);
	tcase_add_test(tc, account_list_is_sorted_and_by_domain);
	tcase_add_test(tc, account_exists_follows_changes);
	tcase_add_test(tc, account_exists_is_remembered);
	tcase_add_test(tc, roster_of_no_account);
	tcase_add_test(tc, roster_keeps_all_of_a_contact);
	tcase_add_test(tc, roster_large);
	tcase_add_test(tc, roster_removals_are_remembered);
	tcase_add_test(tc, roster_hidden_contacts);
	tcase_add_test(tc, messages_in_order_and_paged);
	tcase_add_test(tc, message_del_lazy);
	tcase_add_test(tc, message_large);
	tcase_add_test(tc, chats_repeat_is_not_stored_again);
	tcase_add_test(tc, chats_all_or_nothing);
	tcase_add_test(tc, chats_blocking);
	tcase_add_test(tc, archive_addresses_after_a_rollback);
	tcase_add_test(tc, lazy_writes_share_a_commit);
	tcase_add_test(tc, threads_both_ways);
	tcase_add_test(tc, outbox_life_of_a_mail);
	tcase_add_test(tc, outbox_bounce_is_one_step);
	tcase_add_test(tc, settings);
	tcase_add_test(tc, waits);
	tcase_add_test(tc, old_rows_are_purged);
	tcase_add_test(tc, the_writer_purges_by_itself);
	tcase_add_test(tc, memory_store);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
