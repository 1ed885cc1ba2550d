/* test_store_signin - tokens, invitations, accounts made by their users (store/signin.h). */
#include "tests/unit/store/util.h"

#include "store/signin.h"

static struct got g;
static struct store_token tokens[2];
static size_t n_tokens;
static struct store_invite invite;

#define AGENT S("d4565fa7-4d72-4749-b3d3-740edbf87770")
#define MINUTE INT64_C(60000)

static void
on_tokens(void *arg, const struct store_result *r, const struct store_token *t, size_t n)
{
	(void)keep(arg, r);
	n_tokens = n;
	for (size_t i = 0; i < n; i++) {
		tokens[i] = t[i];
		tokens[i].mech = dup_str(t[i].mech);
	}
}

static void
on_invite(void *arg, const struct store_result *r, const struct store_invite *i)
{
	(void)keep(arg, r);
	ck_assert((r->rc == 0) == (i != NULL));
	if (i == NULL)
		return;
	invite = *i;
	invite.domain = dup_str(i->domain);
	invite.inviter = dup_str(i->inviter);
	invite.username = dup_str(i->username);
}

static uint64_t
now_s(void)
{
	return store_now(st) / 1000;
}

static struct store_token
token(unsigned char seed)
{
	struct store_token t = { .slot = 1, .mech = S("HT-SHA-256-NONE") };

	memset(t.seed, seed, sizeof(t.seed));
	t.created = now_s();
	t.expires = t.created + 3600;
	return t;
}

static void
put(unsigned char seed)
{
	struct store_token t = token(seed);

	OK(g, store_token_put(st, ANN, AGENT, &t, to_got(&g)));
}

static void
look(void)
{
	OK(g, store_token_get(st, ANN, AGENT, loop, on_tokens, &g));
}

START_TEST(two_slots)
{
	add_account(ANN);
	look();
	ck_assert_uint_eq(n_tokens, 0);
	put(1);
	look();
	ck_assert_uint_eq(n_tokens, 1);
	ck_assert_uint_eq(tokens[0].slot, 1);
	ck_assert_uint_eq(tokens[0].seed[0], 1);
	ck_str(tokens[0].mech, "HT-SHA-256-NONE");
	/* used: it is the current one; the next waits beside it, and is replaced by the one after that */
	OK(g, store_token_use(st, ANN, AGENT, &tokens[0], -1, false, to_got(&g)));
	put(2);
	put(3);
	look();
	ck_assert_uint_eq(n_tokens, 2);
	ck_assert_uint_eq(tokens[0].seed[0], 3);
	ck_assert_uint_eq(tokens[1].seed[0], 1);
	OK(g, store_token_use(st, ANN, AGENT, &tokens[0], -1, false, to_got(&g)));
	look();
	ck_assert_uint_eq(n_tokens, 1);
	ck_assert_uint_eq(tokens[0].slot, 0);
	ck_assert_uint_eq(tokens[0].seed[0], 3);
}
END_TEST

START_TEST(counts_only_grow)
{
	struct store_token t;

	add_account(ANN);
	put(1);
	look();
	t = tokens[0];
	OK(g, store_token_use(st, ANN, AGENT, &t, 5, false, to_got(&g)));
	t.slot = 0;
	ck_assert_int_eq(DO(g, store_token_use(st, ANN, AGENT, &t, 5, false, to_got(&g))),
			 TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_token_use(st, ANN, AGENT, &t, 4, false, to_got(&g))),
			 TD_E_NOTFOUND);
	OK(g, store_token_use(st, ANN, AGENT, &t, 6, false, to_got(&g)));
	OK(g, store_token_use(st, ANN, AGENT, &t, -1, false, to_got(&g)));
	look();
	ck_assert_uint_eq(tokens[0].count, 6);
	OK(g, store_token_use(st, ANN, AGENT, &t, 7, true, to_got(&g)));
	look();
	ck_assert_uint_eq(n_tokens, 0);
}
END_TEST

START_TEST(tokens_go_with_password_and_account)
{
	struct store_account a = { .jid = ANN };
	struct store_token t = token(1);

	ck_assert_int_eq(DO(g, store_token_put(st, ANN, AGENT, &t, to_got(&g))), TD_E_NOTFOUND);
	add_account(ANN);
	put(1);
	OK(g, store_account_update(st, &a, to_got(&g)));
	look();
	ck_assert_uint_eq(n_tokens, 0);
	put(2);
	OK(g, store_token_revoke(st, ANN, to_got(&g)));
	look();
	ck_assert_uint_eq(n_tokens, 0);
	put(3);
	OK(g, store_account_delete(st, ANN, to_got(&g)));
	add_account(ANN);
	look();
	ck_assert_uint_eq(n_tokens, 0);
}
END_TEST

START_TEST(so_many_clients)
{
	struct store_token t = token(1);
	char agent[40];

	add_account(ANN);
	for (unsigned i = 0; i <= STORE_AGENTS_MAX; i++) {
		(void)snprintf(agent, sizeof(agent), "agent-%u", i);
		store_shift_clock(st, (int64_t)i * 1000);
		OK(g, store_token_put(st, ANN, td_cstr(agent), &t, to_got(&g)));
	}
	OK(g, store_token_get(st, ANN, S("agent-0"), loop, on_tokens, &g));
	ck_assert_uint_eq(n_tokens, 0);
	OK(g, store_token_get(st, ANN, S("agent-1"), loop, on_tokens, &g));
	ck_assert_uint_eq(n_tokens, 1);
}
END_TEST

START_TEST(upgrade_where_it_lacks)
{
	struct store_scram k = { .iterations = 10000, .salt_len = 16, .key_len = 32 };

	ck_assert_int_eq(DO(g, store_account_upgrade(st, ANN, &k, to_got(&g))), TD_E_EXISTS);
	add_account(ANN);
	OK(g, store_account_upgrade(st, ANN, &k, to_got(&g)));
	OK(g, store_account_get(st, ANN, loop, on_account, &g));
	ck_assert_uint_eq(g.account.sha256.key_len, 32);
	ck_assert_int_eq(DO(g, store_account_upgrade(st, ANN, &k, to_got(&g))), TD_E_EXISTS);
}
END_TEST

static struct store_invite
invitation(unsigned char hash, struct td_str username)
{
	struct store_invite i = { .domain = S("example.org"),
				  .inviter = ANN,
				  .username = username };

	memset(i.hash, hash, sizeof(i.hash));
	i.roster = i.account = true;
	i.uses = 1;
	i.expires = now_s() + 60;
	return i;
}

static int
sign_up(struct td_str jid, const unsigned char *hash)
{
	struct store_account a = { .jid = jid };

	return DO(g, store_register(st, &a, hash, 3600, to_got(&g)));
}

START_TEST(invitations)
{
	struct store_invite i = invitation(1, TD_STR_NULL);

	ck_assert_int_eq(DO(g, store_invite_add(st, &i, 2, to_got(&g))), TD_E_NOTFOUND); /* who? */
	add_account(ANN);
	OK(g, store_invite_add(st, &i, 2, to_got(&g)));
	OK(g, store_invite_get(st, i.hash, loop, on_invite, &g));
	ck_str(invite.domain, "example.org");
	ck_str(invite.inviter, "ann@example.org");
	ck_assert_ptr_null(invite.username.p);
	ck_assert(invite.roster && invite.account);
	/* not there, not at that domain, not of that inviter */
	ck_assert_int_eq(sign_up(S("x@elsewhere.org"), i.hash), TD_E_NOTFOUND);
	ck_assert_int_eq(sign_up(S("x@an-example.org"), i.hash), TD_E_NOTFOUND);
	ck_assert_int_eq(DO(g, store_invite_use(st, i.hash, BOB, to_got(&g))), TD_E_NOTFOUND);
	ck_assert_int_eq(sign_up(ANN, i.hash), TD_E_EXISTS);
	/* what failed used nothing up */
	OK(g, store_invite_get(st, i.hash, loop, on_invite, &g));
	ck_assert_int_eq(sign_up(BOB, i.hash), 0);
	ck_assert_int_eq(DO(g, store_invite_get(st, i.hash, loop, on_invite, &g)), TD_E_NOTFOUND);
	ck_assert_int_eq(sign_up(S("eve@example.org"), i.hash), TD_E_NOTFOUND);
}
END_TEST

START_TEST(invitations_end)
{
	struct store_invite i = invitation(1, TD_STR_NULL), k = invitation(2, TD_STR_NULL);

	add_account(ANN);
	OK(g, store_invite_add(st, &i, 2, to_got(&g)));
	OK(g, store_invite_add(st, &k, 2, to_got(&g)));
	memset(k.hash, 3, sizeof(k.hash));
	ck_assert_int_eq(DO(g, store_invite_add(st, &k, 2, to_got(&g))), TD_E_LIMIT);
	OK(g, store_invite_use(st, i.hash, ANN, to_got(&g)));
	ck_assert_int_eq(DO(g, store_invite_use(st, i.hash, ANN, to_got(&g))), TD_E_NOTFOUND);
	store_shift_clock(st, 2 * MINUTE);
	memset(k.hash, 2, sizeof(k.hash));
	ck_assert_int_eq(DO(g, store_invite_get(st, k.hash, loop, on_invite, &g)), TD_E_NOTFOUND);
	/* shown in time, used later (XEP-0445 section 4) */
	ck_assert_int_eq(sign_up(BOB, k.hash), 0);
}
END_TEST

START_TEST(names_are_reserved)
{
	struct store_invite i = invitation(1, S("bob"));

	add_account(ANN);
	OK(g, store_invite_add(st, &i, 0, to_got(&g)));
	ck_assert_int_eq(sign_up(BOB, NULL), TD_E_EXISTS);
	i = invitation(2, S("bob"));
	ck_assert_int_eq(DO(g, store_invite_add(st, &i, 0, to_got(&g))), TD_E_EXISTS);
	i = invitation(2, S("ann"));
	ck_assert_int_eq(DO(g, store_invite_add(st, &i, 0, to_got(&g))), TD_E_EXISTS);
	i = invitation(1, S("bob"));
	ck_assert_int_eq(sign_up(S("eve@example.org"), i.hash), TD_E_NOTFOUND);
	ck_assert_int_eq(sign_up(BOB, i.hash), 0);
	/* of one that is gone, for an hour; an operator gives it away at once */
	OK(g, store_account_delete(st, BOB, to_got(&g)));
	ck_assert_int_eq(sign_up(BOB, NULL), TD_E_EXISTS);
	store_shift_clock(st, 61 * MINUTE);
	ck_assert_int_eq(sign_up(BOB, NULL), 0);
	OK(g, store_account_delete(st, BOB, to_got(&g)));
	add_account(BOB);
	OK(g, store_account_delete(st, ANN, to_got(&g)));
	ck_assert_int_eq(DO(g, store_invite_get(st, i.hash, loop, on_invite, &g)), TD_E_NOTFOUND);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("signin");
	TCase *tc = tcase_create("calls");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, two_slots);
	tcase_add_test(tc, counts_only_grow);
	tcase_add_test(tc, tokens_go_with_password_and_account);
	tcase_add_test(tc, so_many_clients);
	tcase_add_test(tc, upgrade_where_it_lacks);
	tcase_add_test(tc, invitations);
	tcase_add_test(tc, invitations_end);
	tcase_add_test(tc, names_are_reserved);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
