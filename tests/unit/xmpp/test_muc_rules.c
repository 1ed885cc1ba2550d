/* test_muc_rules - XEP-0045: the tables of section 5, who may change whom, the configuration's fields. */
#include <check.h>
#include <stdlib.h>
#include "xmpp/xep/muc.h"

/* ---- tables 3, 4, 6 as the XEP prints them ---- */

static const struct {
	enum muc_role_privilege p;
	bool may[MR_COUNT]; /* none, visitor, participant, moderator */
} table3[] = {
	{ MRP_PRESENT, { 0, 1, 1, 1 } },
	{ MRP_RECEIVE, { 0, 1, 1, 1 } },
	{ MRP_RECEIVE_PRESENCE, { 0, 1, 1, 1 } },
	{ MRP_BROADCAST_PRESENCE, { 0, 1, 1, 1 } },
	{ MRP_CHANGE_STATUS, { 0, 1, 1, 1 } },
	{ MRP_CHANGE_NICK, { 0, 1, 1, 1 } },
	{ MRP_PRIVATE_MESSAGE, { 0, 1, 1, 1 } },
	{ MRP_INVITE, { 0, 1, 1, 1 } },
	{ MRP_MESSAGE_ALL, { 0, 0, 1, 1 } },
	{ MRP_SUBJECT, { 0, 0, 1, 1 } },
	{ MRP_KICK, { 0, 0, 0, 1 } },
	{ MRP_VOICE, { 0, 0, 0, 1 } },
};
static const struct {
	enum muc_affiliation_privilege p;
	bool may[MA_COUNT]; /* outcast, none, member, admin, owner */
} table6[] = {
	{ MAP_ENTER, { 0, 1, 1, 1, 1 } },
	{ MAP_MEMBER_LIST, { 0, 0, 1, 1, 1 } },
	{ MAP_ENTER_MEMBERS_ONLY, { 0, 0, 1, 1, 1 } },
	{ MAP_BAN, { 0, 0, 0, 1, 1 } },
	{ MAP_EDIT_MEMBERS, { 0, 0, 0, 1, 1 } },
	{ MAP_EDIT_MODERATORS, { 0, 0, 0, 1, 1 } },
	{ MAP_EDIT_ADMINS, { 0, 0, 0, 0, 1 } },
	{ MAP_EDIT_OWNERS, { 0, 0, 0, 0, 1 } },
	{ MAP_CONFIGURE, { 0, 0, 0, 0, 1 } },
	{ MAP_DESTROY, { 0, 0, 0, 0, 1 } },
};

START_TEST(tables)
{
	for (size_t i = 0; i < sizeof(table3) / sizeof(table3[0]); i++)
		for (unsigned r = 0; r < MR_COUNT; r++)
			ck_assert_int_eq(muc_role_may((enum muc_role)r, table3[i].p),
					 table3[i].may[r]);
	for (size_t i = 0; i < sizeof(table6) / sizeof(table6[0]); i++)
		for (unsigned a = 0; a < MA_COUNT; a++)
			ck_assert_int_eq(muc_affiliation_may((enum muc_affiliation)a, table6[i].p),
					 table6[i].may[a]);
	ck_assert_int_eq(muc_default_role(MA_NONE, true), MR_VISITOR);
	ck_assert_int_eq(muc_default_role(MA_NONE, false), MR_PARTICIPANT);
	ck_assert_int_eq(muc_default_role(MA_MEMBER, true), MR_PARTICIPANT);
	ck_assert_int_eq(muc_default_role(MA_ADMIN, true), MR_MODERATOR);
	ck_assert_int_eq(muc_default_role(MA_OWNER, false), MR_MODERATOR);
}
END_TEST

/* ---- changes ---- */

/* Table 7: what an owner and an admin may do to others, from and to. */
START_TEST(affiliations)
{
	for (unsigned from = 0; from < MA_COUNT; from++)
		for (unsigned to = 0; to < MA_COUNT; to++) {
			enum muc_affiliation f = (enum muc_affiliation)from,
					     t = (enum muc_affiliation)to;
			bool high = from >= MA_ADMIN || to >= MA_ADMIN;

			ck_assert_int_eq(muc_check_affiliation(MA_OWNER, false, f, t), MUC_OK);
			ck_assert_int_eq(muc_check_affiliation(MA_ADMIN, false, f, t),
					 from == to || !high ? MUC_OK
					 : to == MA_OUTCAST  ? XE_NOT_ALLOWED
							     : XE_FORBIDDEN);
			for (unsigned a = 0; a < MA_ADMIN; a++)
				ck_assert_int_eq(
					muc_check_affiliation((enum muc_affiliation)a, false, f, t),
					XE_FORBIDDEN);
		}
	ck_assert_int_eq(muc_check_affiliation(MA_OWNER, true, MA_OWNER, MA_OUTCAST), XE_CONFLICT);
	ck_assert_int_eq(muc_check_affiliation(MA_ADMIN, true, MA_ADMIN, MA_NONE), MUC_OK);
	ck_assert_int_eq(muc_check_affiliation(MA_ADMIN, true, MA_ADMIN, MA_OWNER), XE_FORBIDDEN);
}
END_TEST

static const struct {
	struct muc_standing actor, target;
	enum muc_role to;
	int want;
} roles[] = {
	/* kicks (8.2) */
	{ { MA_NONE, MR_MODERATOR }, { MA_NONE, MR_PARTICIPANT }, MR_NONE, MUC_OK },
	{ { MA_MEMBER, MR_MODERATOR }, { MA_ADMIN, MR_MODERATOR }, MR_NONE, XE_NOT_ALLOWED },
	{ { MA_ADMIN, MR_MODERATOR }, { MA_OWNER, MR_MODERATOR }, MR_NONE, XE_NOT_ALLOWED },
	{ { MA_NONE, MR_MODERATOR }, { MA_NONE, MR_MODERATOR }, MR_NONE, XE_NOT_ALLOWED },
	{ { MA_ADMIN, MR_MODERATOR }, { MA_NONE, MR_MODERATOR }, MR_NONE, MUC_OK },
	{ { MA_NONE, MR_MODERATOR }, { MA_MEMBER, MR_PARTICIPANT }, MR_NONE, XE_NOT_ALLOWED },
	{ { MA_OWNER, MR_PARTICIPANT }, { MA_NONE, MR_VISITOR }, MR_NONE, MUC_OK },
	{ { MA_MEMBER, MR_PARTICIPANT }, { MA_NONE, MR_VISITOR }, MR_NONE, XE_FORBIDDEN },
	/* voice (8.3, 8.4) */
	{ { MA_NONE, MR_MODERATOR }, { MA_NONE, MR_VISITOR }, MR_PARTICIPANT, MUC_OK },
	{ { MA_NONE, MR_MODERATOR }, { MA_NONE, MR_PARTICIPANT }, MR_VISITOR, MUC_OK },
	{ { MA_MEMBER, MR_MODERATOR }, { MA_MEMBER, MR_PARTICIPANT }, MR_VISITOR, XE_NOT_ALLOWED },
	{ { MA_ADMIN, MR_MODERATOR }, { MA_MEMBER, MR_PARTICIPANT }, MR_VISITOR, MUC_OK },
	{ { MA_OWNER, MR_MODERATOR }, { MA_ADMIN, MR_MODERATOR }, MR_VISITOR, XE_NOT_ALLOWED },
	/* moderators (9.6, 9.7) */
	{ { MA_ADMIN, MR_MODERATOR }, { MA_NONE, MR_PARTICIPANT }, MR_MODERATOR, MUC_OK },
	{ { MA_NONE, MR_MODERATOR }, { MA_NONE, MR_PARTICIPANT }, MR_MODERATOR, XE_FORBIDDEN },
	{ { MA_ADMIN, MR_MODERATOR }, { MA_MEMBER, MR_MODERATOR }, MR_PARTICIPANT, MUC_OK },
	{ { MA_NONE, MR_MODERATOR }, { MA_NONE, MR_MODERATOR }, MR_PARTICIPANT, XE_FORBIDDEN },
	{ { MA_ADMIN, MR_MODERATOR }, { MA_OWNER, MR_MODERATOR }, MR_PARTICIPANT, XE_NOT_ALLOWED },
	{ { MA_OWNER, MR_MODERATOR }, { MA_ADMIN, MR_MODERATOR }, MR_PARTICIPANT, XE_NOT_ALLOWED },
};

START_TEST(role_changes)
{
	ck_assert_int_eq(muc_check_role(roles[_i].actor, roles[_i].target, roles[_i].to),
			 roles[_i].want);
}
END_TEST

START_TEST(role_follows_affiliation)
{
	ck_assert_int_eq(muc_role_after(MR_PARTICIPANT, MA_NONE, MA_ADMIN, false), MR_MODERATOR);
	ck_assert_int_eq(muc_role_after(MR_MODERATOR, MA_ADMIN, MA_MEMBER, false), MR_PARTICIPANT);
	ck_assert_int_eq(muc_role_after(MR_MODERATOR, MA_ADMIN, MA_NONE, true), MR_VISITOR);
	ck_assert_int_eq(muc_role_after(MR_VISITOR, MA_NONE, MA_MEMBER, true), MR_PARTICIPANT);
	ck_assert_int_eq(muc_role_after(MR_PARTICIPANT, MA_MEMBER, MA_NONE, true), MR_PARTICIPANT);
	ck_assert_int_eq(muc_role_after(MR_MODERATOR, MA_NONE, MA_MEMBER, false), MR_MODERATOR);
	ck_assert_int_eq(muc_role_after(MR_MODERATOR, MA_OWNER, MA_ADMIN, true), MR_MODERATOR);
}
END_TEST

/* ---- configuration ---- */

static const struct muc_config_limits lim = { 20, 100, 50 };

static struct muc_config *
read_one(const struct muc_config *old, const char *var, const char *value)
{
	struct td_str v = td_cstr(value);
	struct xmpp_form_field f = { td_cstr(var), &v, value != NULL };
	struct xmpp_form form = { .kind = FORM_SUBMIT, .fields = &f, .n = 1 };
	const char *why = NULL;
	struct muc_config *c = muc_config_read(old, &form, &lim, &why);

	ck_assert(c != NULL || why != NULL);
	return c;
}

static const struct {
	const char *var, *value;
	bool ok;
} values[] = {
	{ "muc#roomconfig_roomname", "A name", true },
	{ "muc#roomconfig_membersonly", "true", true },
	{ "muc#roomconfig_membersonly", "yes", false },
	{ "muc#roomconfig_maxusers", "none", true },
	{ "muc#roomconfig_maxusers", "0", false },
	{ "muc#roomconfig_maxusers", "-1", false },
	{ "muc#roomconfig_maxusers", "99999999", true },
	{ "muc#roomconfig_maxusers", "99999999999999999999", false },
	{ "muc#maxhistoryfetch", "0", true },
	{ "muc#maxhistoryfetch", "x", false },
	{ "muc#roomconfig_whois", "anyone", true },
	{ "muc#roomconfig_whois", "", false },
	{ "muc#roomconfig_allowpm", "moderators", true },
	{ "muc#roomconfig_presencebroadcast", "none", true },
	{ "muc#roomconfig_presencebroadcast", "owner", false },
	{ "muc#roomconfig_passwordprotectedroom", "1", false }, /* without a password */
	{ "muc#roomconfig_lang", "a-language-tag-that-is-far-too-long-to-be-one", false },
	{ "unknown", "anything", true },
};

START_TEST(config_values)
{
	struct muc_config *old = muc_config_new(&lim);
	struct muc_config *c = read_one(old, values[_i].var, values[_i].value);

	ck_assert_int_eq(c != NULL, values[_i].ok);
	muc_config_free(c);
	muc_config_free(old);
}
END_TEST

START_TEST(config_survives_the_store)
{
	static const char *const set[][2] = {
		{ "muc#roomconfig_roomname", "two\nlines" },
		{ "muc#roomconfig_roomsecret", "pw" },
		{ "muc#roomconfig_moderatedroom", "1" },
		{ "muc#roomconfig_publicroom", "0" },
		{ "muc#roomconfig_presencebroadcast", "moderator" },
		{ "muc#roomconfig_maxusers", "10" },
		{ "muc#roomconfig_whois", "anyone" },
		{ "muc#roomconfig_passwordprotectedroom", "1" },
	};
	struct td_arena *a = td_arena_new(0);
	struct muc_config *c = muc_config_new(&lim), *next;
	struct store_muc_prop *p, *kept;
	unsigned codes[8];
	size_t n, k = 0;

	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++) {
		next = read_one(c, set[i][0], set[i][1]);
		ck_assert_ptr_nonnull(next);
		muc_config_free(c);
		c = next;
	}
	p = muc_config_props(a, c, &lim, &n);
	kept = td_arena_alloc(a, n * sizeof(*kept));
	for (size_t i = 0; i < n; i++)
		if (p[i].value.p != NULL)
			kept[k++] = p[i];
	ck_assert_uint_eq(k, sizeof(set) / sizeof(set[0])); /* defaults are not stored */
	next = muc_config_load(kept, k, &lim);
	ck_assert_uint_eq(muc_config_codes(c, next, codes), 0);
	ck_assert(td_str_eqc(next->name, "two lines"));
	ck_assert(next->password && next->moderated && !next->public_room && next->whois == 1);
	muc_config_free(next);
	muc_config_free(c);
	td_arena_free(a);
}
END_TEST

START_TEST(config_from_a_broken_row)
{
	const struct store_muc_prop p[] = {
		{ TD_STR("+muc#roomconfig_maxusers"), TD_STR("lots") },
		{ TD_STR("+muc#roomconfig_passwordprotectedroom"), TD_STR("1") },
		{ TD_STR("+muc#roomconfig_presencebroadcast"), TD_STR("") },
		{ TD_STR("+"), TD_STR("x") },
		{ TD_STR(""), TD_STR("x") },
	};
	struct muc_config *c = muc_config_load(p, 5, &lim);

	ck_assert_int_eq(c->max_users, 0);
	ck_assert(!c->password);
	ck_assert_uint_eq(c->broadcast, 0);
	muc_config_free(c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("muc_rules");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_test(t, tables);
	tcase_add_test(t, affiliations);
	tcase_add_loop_test(t, role_changes, 0, (int)(sizeof(roles) / sizeof(roles[0])));
	tcase_add_test(t, role_follows_affiliation);
	tcase_add_loop_test(t, config_values, 0, (int)(sizeof(values) / sizeof(values[0])));
	tcase_add_test(t, config_survives_the_store);
	tcase_add_test(t, config_from_a_broken_row);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
