/* xep-0133 - service administration: its use cases as ad-hoc commands of a domain, for the domain's administrators.
 *
 * A command is a row: its node, its form, the function that does it.  All of them act on the domain that is asked; on an
 * account only if its owner may not do more here than who asks, or the password of one who may would be for the taking. */
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/modules.h"
#include "xmpp/xep/admin_priv.h"

/* ---- for the commands ---- */

enum xmpp_command_result
admin_fail(struct xmpp_command_call *call, enum xmpp_error e, const char *text)
{
	call->error = e;
	call->condition = NULL;
	call->text = text;
	return COMMAND_ERROR;
}

enum xmpp_command_result
admin_store_failed(struct xmpp_command_call *call, int rc)
{
	return rc == TD_E_NOTFOUND
		       ? admin_fail(call, XE_ITEM_NOT_FOUND, "There is no such account.")
	       : rc == TD_E_EXISTS ? admin_fail(call, XE_CONFLICT, "The account exists already.")
				   : admin_fail(call, XE_INTERNAL_SERVER_ERROR, NULL);
}

void
admin_result_open(struct td_buf *out)
{
	xmpp_form_open(out, FORM_RESULT, NS_ADMIN);
}

struct td_str
admin_lines(struct xmpp_command_call *call, const char *var)
{
	const struct xmpp_form_field *f = xmpp_form_field(call->form, var);
	struct td_buf b = { 0 };
	struct td_str text;

	for (size_t i = 0; f != NULL && i < f->n; i++) {
		if (i > 0)
			td_buf_addc(&b, '\n');
		td_buf_adds(&b, f->values[i]);
	}
	text = td_str_trim(td_buf_str(&b));
	text = text.len > 0 ? td_arena_str(call->arena, text) : TD_STR_NULL;
	td_buf_fini(&b);
	return text;
}

const struct td_str *
admin_split(struct td_arena *a, struct td_str text, size_t *n)
{
	struct td_str *list;
	size_t lines = 1;

	for (size_t i = 0; i < text.len; i++)
		lines += text.p[i] == '\n';
	list = td_arena_alloc(a, lines * sizeof(*list));
	for (*n = 0; text.len > 0;) {
		ptrdiff_t nl = td_str_chr(text, '\n');
		size_t len = nl < 0 ? text.len : (size_t)nl;

		list[(*n)++] = td_str(text.p, len);
		len += nl < 0 ? 0 : 1;
		text = td_str(text.p + len, text.len - len);
	}
	return list;
}

enum rank {
	RANK_NONE = 0,
	RANK_STORED, /* made one by another */
	RANK_DOMAIN, /* by the domain's option */
	RANK_SERVER  /* by the global one */
};

static enum rank
rank_of(struct xmpp_env *env, struct td_str domain, struct td_str bare)
{
	return xmpp_is_conf_admin(env, TD_STR_NULL, bare) ? RANK_SERVER
	       : xmpp_is_conf_admin(env, domain, bare)    ? RANK_DOMAIN
	       : xmpp_is_stored_admin(env, domain, bare)  ? RANK_STORED
							  : RANK_NONE;
}

bool
admin_outranks(struct xmpp_env *env, struct td_str domain, struct td_str bare, struct td_str than)
{
	/* first where it was asked for: the list has no names that only a pattern hosts */
	for (size_t i = 0; domain.p != NULL; i++) {
		if (rank_of(env, domain, bare) > rank_of(env, domain, than))
			return true;
		domain = env->host->hosted != NULL ? env->host->hosted(env, i) : TD_STR_NULL;
	}
	return false;
}

/* ---- forms ---- */

static void
write_form(struct xmpp_command_call *call, const struct admin_command *c)
{
	xmpp_form_open(&call->out, FORM_FORM, NS_ADMIN);
	xmpp_form_title(&call->out, c->title, c->instructions);
	for (const struct admin_field *f = c->fields; f->var != NULL; f++) {
		size_t n = 0;
		const struct td_str *values = f->values != NULL ? f->values(call, &n) : NULL;

		if (f->required)
			xmpp_form_add_required(&call->out, f->type, f->var, f->label, values, n,
					       f->options);
		else
			xmpp_form_add(&call->out, f->type, f->var, f->label, values, n, f->options);
	}
	xmpp_form_close(&call->out);
}

static bool
is_filled(const struct xmpp_form *form, const char *var)
{
	const struct xmpp_form_field *f = xmpp_form_field(form, var);

	for (size_t i = 0; f != NULL && i < f->n; i++)
		if (td_str_trim(f->values[i]).len > 0)
			return true;
	return false;
}

static enum xmpp_command_result
admin_step(struct xmpp_command_call *call)
{
	const struct admin_command *c =
		(const struct admin_command *)(const void *)((const char *)call->command -
							     offsetof(struct admin_command, c));

	if (c->fields == NULL)
		return c->run(call);
	if (call->stage == 0) {
		write_form(call, c);
		call->stage = 1;
		call->actions = COMMAND_MAY_COMPLETE;
		return COMMAND_FORM;
	}
	if (call->form == NULL)
		return xmpp_command_bad_payload(call, "The form is missing.");
	if (call->form->type.p != NULL && !td_str_eqc(call->form->type, NS_ADMIN))
		return xmpp_command_bad_payload(call, "This is another form.");
	for (const struct admin_field *f = c->fields; f->var != NULL; f++)
		if (f->required && !is_filled(call->form, f->var))
			return xmpp_command_bad_payload(
				call, td_arena_printf(call->arena, "%s is missing.", f->var));
	return c->run(call);
}

// clang-format off
static const struct xmpp_form_option max_items[] = {
	{ "25", "25" }, { "50", "50" }, { "75", "75" }, { "100", "100" },
	{ "150", "150" }, { "200", "200" }, { "none", "None" }, { NULL, NULL },
};
static const struct xmpp_form_option delays[] = {
	{ "30", "30 seconds" }, { "60", "60 seconds" }, { "90", "90 seconds" }, { "120", "2 minutes" },
	{ "180", "3 minutes" }, { "240", "4 minutes" }, { "300", "5 minutes" }, { NULL, NULL },
};

static const struct admin_field add_fields[] = {
	{ "jid-single", "accountjid", "The Jabber ID for the account to be added", true, NULL, NULL },
	{ "text-private", "password", "The password for this account", false, NULL, NULL },
	{ "text-private", "password-verify", "Retype password", false, NULL, NULL },
	{ "text-single", "email", "Email address", false, NULL, NULL },
	{ "text-single", "given_name", "Given name", false, NULL, NULL },
	{ "text-single", "surname", "Family name", false, NULL, NULL },
	{ 0 },
};
#define ACCOUNTS(label) \
	{ { "jid-multi", "accountjids", label, true, NULL, NULL }, { 0 } }
static const struct admin_field delete_fields[] = ACCOUNTS("The Jabber ID(s) to delete");
static const struct admin_field disable_fields[] = ACCOUNTS("The Jabber ID(s) to disable");
static const struct admin_field reenable_fields[] = ACCOUNTS("The Jabber ID(s) to re-enable");
static const struct admin_field end_fields[] = ACCOUNTS("The Jabber ID(s) for which to end sessions");
static const struct admin_field roster_fields[] = ACCOUNTS("The Jabber ID(s) for which to retrieve the roster");
static const struct admin_field login_fields[] = ACCOUNTS("The Jabber ID(s) for which to retrieve the last login time");
static const struct admin_field password_fields[] = {
	{ "jid-single", "accountjid", "The Jabber ID for this account", true, NULL, NULL },
	{ "text-private", "password", "The password for this account", true, NULL, NULL },
	{ 0 },
};
static const struct admin_field stats_fields[] = {
	{ "jid-single", "accountjid", "The Jabber ID for statistics", true, NULL, NULL },
	{ 0 },
};
static const struct admin_field list_fields[] = {
	{ "list-single", "max_items", "Maximum number of items to show", false, max_items, NULL },
	{ "jid-single", ADMIN_AFTER, "Begin behind this Jabber ID", false, NULL, NULL },
	{ 0 },
};
static const struct admin_field blacklist_fields[] = {
	{ "jid-multi", "blacklistjids", "The blacklist", false, NULL, admin_blacklist_value },
	{ 0 },
};
static const struct admin_field whitelist_fields[] = {
	{ "jid-multi", "whitelistjids", "The whitelist", false, NULL, admin_whitelist_value },
	{ 0 },
};
static const struct admin_field announce_fields[] = {
	{ "text-multi", "announcement", "Announcement", true, NULL, NULL },
	{ 0 },
};
static const struct admin_field set_motd_fields[] = {
	{ "text-multi", "motd", "Message of the Day", true, NULL, NULL },
	{ 0 },
};
static const struct admin_field edit_motd_fields[] = {
	{ "text-multi", "motd", "Message of the Day", true, NULL, admin_motd_value },
	{ 0 },
};
static const struct admin_field welcome_fields[] = {
	{ "text-multi", "welcome", "Welcome Message", true, NULL, admin_welcome_value },
	{ 0 },
};
static const struct admin_field admins_fields[] = {
	{ "jid-multi", "adminjids", "The admin list", false, NULL, admin_admins_value },
	{ 0 },
};
static const struct admin_field restart_fields[] = {
	{ "list-single", "delay", "Time delay before restarting", false, delays, NULL },
	{ "text-multi", "announcement", "Announcement", false, NULL, NULL },
	{ 0 },
};
static const struct admin_field shutdown_fields[] = {
	{ "list-single", "delay", "Time delay before shutting down", false, delays, NULL },
	{ "text-multi", "announcement", "Announcement", false, NULL, NULL },
	{ 0 },
};

#define ROW(node_, name_, may_) \
	.c = { NS_ADMIN "#" node_, name_, COMMAND_ADMINS, may_, admin_step }

/* In the order of section 4. */
static const struct admin_command commands[] = {
	{ ROW("add-user", "Add User", NULL), "Adding a User",
	  "Fill out this form to add a user.", add_fields, admin_add_user },
	{ ROW("delete-user", "Delete User", NULL), "Deleting a User",
	  "Fill out this form to delete a user.", delete_fields, admin_delete_user },
	{ ROW("disable-user", "Disable User", NULL), "Disabling a User",
	  "Fill out this form to disable a user.", disable_fields, admin_disable_user },
	{ ROW("reenable-user", "Re-Enable User", NULL), "Re-Enable a User",
	  "Fill out this form to re-enable a user.", reenable_fields, admin_reenable_user },
	{ ROW("end-user-session", "End User Session", NULL), "Ending a User Session",
	  "Fill out this form to end a user's session.", end_fields, admin_end_session },
	{ ROW("change-user-password", "Change User Password", NULL), "Changing a User Password",
	  "Fill out this form to change a user's password.", password_fields, admin_change_password },
	{ ROW("get-user-roster", "Get User Roster", NULL), "Getting a User's Roster",
	  "Fill out this form to get a user's roster.", roster_fields, admin_get_roster },
	{ ROW("get-user-lastlogin", "Get User Last Login Time", NULL), "Getting a User's Last Login Time",
	  "Fill out this form to get a user's last login time.", login_fields, admin_last_login },
	{ ROW("user-stats", "Get User Statistics", NULL), "Get User Statistics",
	  "Fill out this form to gather user statistics.", stats_fields, admin_user_stats },
	{ ROW("edit-blacklist", "Edit Blacklist", NULL), "Editing the Blacklist",
	  "Fill out this form to edit the list of entities with whom communications are disallowed.",
	  blacklist_fields, admin_edit_blacklist },
	{ ROW("edit-whitelist", "Edit Whitelist", NULL), "Editing the Whitelist",
	  "Fill out this form to edit the list of entities with whom communications are allowed.",
	  whitelist_fields, admin_edit_whitelist },
	{ ROW("get-registered-users-num", "Get Number of Registered Users", NULL), NULL, NULL, NULL,
	  admin_registered_num },
	{ ROW("get-disabled-users-num", "Get Number of Disabled Users", NULL), NULL, NULL, NULL,
	  admin_disabled_num },
	{ ROW("get-online-users-num", "Get Number of Online Users", NULL), NULL, NULL, NULL,
	  admin_online_num },
	{ ROW("get-active-users-num", "Get Number of Active Users", NULL), NULL, NULL, NULL,
	  admin_active_num },
	{ ROW("get-idle-users-num", "Get Number of Idle Users", NULL), NULL, NULL, NULL,
	  admin_idle_num },
	{ ROW("get-registered-users-list", "Get List of Registered Users", NULL),
	  "Requesting List of Registered Users",
	  "Fill out this form to request the registered users of this service.", list_fields,
	  admin_registered_list },
	{ ROW("get-disabled-users-list", "Get List of Disabled Users", NULL),
	  "Requesting List of Disabled Users",
	  "Fill out this form to request the disabled users of this service.", list_fields,
	  admin_disabled_list },
	{ ROW("get-online-users-list", "Get List of Online Users", NULL), "Requesting List of Online Users",
	  "Fill out this form to request the online users of this service.", list_fields,
	  admin_online_list },
	{ ROW("get-active-users", "Get List of Active Users", NULL), "Requesting List of Active Users",
	  "Fill out this form to request the active users of this service.", list_fields,
	  admin_active_list },
	{ ROW("get-idle-users", "Get List of Idle Users", NULL), "Requesting List of Idle Users",
	  "Fill out this form to request the idle users of this service.", list_fields,
	  admin_idle_list },
	{ ROW("announce", "Send Announcement to Online Users", NULL), "Making an Announcement",
	  "Fill out this form to make an announcement to all active users of this service.",
	  announce_fields, admin_announce },
	{ ROW("set-motd", "Set Message of the Day", NULL), "Setting the Message of the Day",
	  "Fill out this form to set the message of the day.", set_motd_fields, admin_set_motd },
	{ ROW("edit-motd", "Edit Message of the Day", NULL), "Editing the Message of the Day",
	  "Fill out this form to edit the message of the day.", edit_motd_fields, admin_edit_motd },
	{ ROW("delete-motd", "Delete Message of the Day", NULL), NULL, NULL, NULL, admin_delete_motd },
	{ ROW("set-welcome", "Set Welcome Message", NULL), "Setting Welcome Message",
	  "Fill out this form to set the welcome message for this service.", welcome_fields,
	  admin_set_welcome },
	{ ROW("delete-welcome", "Delete Welcome Message", NULL), NULL, NULL, NULL, admin_delete_welcome },
	{ ROW("edit-admin", "Edit Admin List", admin_may_appoint), "Editing the Admin List",
	  "Fill out this form to edit the list of entities who have administrative privileges.",
	  admins_fields, admin_edit_admin },
	{ ROW("restart", "Restart Service", admin_may_stop), "Restarting the Service",
	  "Fill out this form to restart the service.", restart_fields, admin_restart },
	{ ROW("shutdown", "Shut Down Service", admin_may_stop), "Shutting Down the Service",
	  "Fill out this form to shut down the service.", shutdown_fields, admin_shutdown },
};
// clang-format on

static void
admin_start(struct xmpp_env *env)
{
	admin_state_start(env);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		xmpp_command_register(env, &commands[i].c);
}

const struct xmpp_module xep_0133_admin = {
	.name = "xep-0133-admin",
	.xep = "0133",
	.doc = "Administration of a domain by ad-hoc commands, for those in its option admins and "
	       "those "
	       "they appoint",
	.version = "1.3.1",
	.start = admin_start,
	.stop = admin_state_stop,
	.sent = admin_state_sent,
	.arrived = admin_state_arrived,
	.session_bound = admin_state_bound,
	.presence = admin_state_presence,
	.account_removed = admin_state_removed,
};
