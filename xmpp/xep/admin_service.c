/* admin_service - commands about the domain as a whole: messages to its users, who administrates it, whom it talks with,
 * and the end of the process, which is for those who administrate all that it serves. */
#include "conf/conf.h"
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/xep/admin_priv.h"

#define ADMINS_MAX 200u
#define LIST_MAX 1000u
#define DELAY_MAX 86400

static void
note(const struct xmpp_command_call *call, const char *command)
{
	td_log_notice(&call->env->log, "admin-command", "command=%s jid=%s by=%s", command,
		      td_esc(call->domain), td_esc(call->from.bare));
}

static void
finish(void *arg, int rc)
{
	struct xmpp_command_call *call = arg;

	xmpp_command_finish(call, rc < 0 ? admin_store_failed(call, rc) : COMMAND_DONE);
}

/* The lines of <var>; false: the error is set. */
static bool
read_text(struct xmpp_command_call *call, const char *var, struct td_str *out)
{
	*out = admin_lines(call, var);
	if (out->len <= XMPP_ADMIN_TEXT_MAX)
		return true;
	(void)xmpp_command_bad_payload(call, "The text is too long.");
	return false;
}

/* ---- announcements and messages ---- */

enum xmpp_command_result
admin_announce(struct xmpp_command_call *call)
{
	struct td_str text;

	if (!read_text(call, "announcement", &text))
		return COMMAND_ERROR;
	note(call, "announce");
	xmpp_announce(call->env, call->domain, text);
	return COMMAND_DONE;
}

static enum xmpp_command_result
set_text(struct xmpp_command_call *call, const char *var, enum store_text kind, bool again,
	 const char *command)
{
	struct td_str text = TD_STR_NULL;

	if (var != NULL && !read_text(call, var, &text))
		return COMMAND_ERROR;
	note(call, command);
	xmpp_domain_set_text(call->env, call->domain, kind, text, again, finish, call);
	return COMMAND_LATER;
}

enum xmpp_command_result
admin_set_motd(struct xmpp_command_call *call)
{
	return set_text(call, "motd", STORE_TEXT_MOTD, true, "set-motd");
}

enum xmpp_command_result
admin_edit_motd(struct xmpp_command_call *call)
{
	return set_text(call, "motd", STORE_TEXT_MOTD, false, "edit-motd");
}

enum xmpp_command_result
admin_delete_motd(struct xmpp_command_call *call)
{
	return set_text(call, NULL, STORE_TEXT_MOTD, true, "delete-motd");
}

enum xmpp_command_result
admin_set_welcome(struct xmpp_command_call *call)
{
	return set_text(call, "welcome", STORE_TEXT_WELCOME, true, "set-welcome");
}

enum xmpp_command_result
admin_delete_welcome(struct xmpp_command_call *call)
{
	return set_text(call, NULL, STORE_TEXT_WELCOME, true, "delete-welcome");
}

static const struct td_str *
text_value(struct xmpp_command_call *call, enum store_text kind, size_t *n)
{
	return admin_split(call->arena, xmpp_domain_text(call->env, call->domain, kind), n);
}

const struct td_str *
admin_motd_value(struct xmpp_command_call *call, size_t *n)
{
	return text_value(call, STORE_TEXT_MOTD, n);
}

const struct td_str *
admin_welcome_value(struct xmpp_command_call *call, size_t *n)
{
	return text_value(call, STORE_TEXT_WELCOME, n);
}

const struct td_str *
admin_blacklist_value(struct xmpp_command_call *call, size_t *n)
{
	return text_value(call, STORE_TEXT_BLACKLIST, n);
}

const struct td_str *
admin_whitelist_value(struct xmpp_command_call *call, size_t *n)
{
	return text_value(call, STORE_TEXT_WHITELIST, n);
}

/* ---- black- and whitelist ---- */

static enum xmpp_command_result
set_list(struct xmpp_command_call *call, const char *var, enum store_text kind, const char *command)
{
	const struct xmpp_form_field *f = xmpp_form_field(call->form, var);
	struct td_buf b = { 0 };
	struct xmpp_jid j;

	if (f == NULL) /* what is left out stays */
		return COMMAND_DONE;
	if (f->n > LIST_MAX)
		return xmpp_command_bad_payload(call, "The list is too long.");
	for (size_t i = 0; i < f->n; i++) {
		struct td_str text = td_str_trim(f->values[i]);

		if (text.len == 0)
			continue;
		if (xmpp_jid_parse(call->arena, text, &j, NULL) < 0 ||
		    td_str_chr(j.full, '\n') >= 0) {
			td_buf_fini(&b);
			return xmpp_command_bad_payload(call, td_arena_printf(call->arena,
									      "%.*s is no address.",
									      TD_STR_ARG(text)));
		}
		if (b.len > 0)
			td_buf_addc(&b, '\n');
		td_buf_adds(&b, j.full);
	}
	note(call, command);
	xmpp_domain_set_text(call->env, call->domain, kind,
			     b.len > 0 ? td_buf_str(&b) : TD_STR_NULL, true, finish, call);
	td_buf_fini(&b);
	return COMMAND_LATER;
}

enum xmpp_command_result
admin_edit_blacklist(struct xmpp_command_call *call)
{
	return set_list(call, "blacklistjids", STORE_TEXT_BLACKLIST, "edit-blacklist");
}

enum xmpp_command_result
admin_edit_whitelist(struct xmpp_command_call *call)
{
	return set_list(call, "whitelistjids", STORE_TEXT_WHITELIST, "edit-whitelist");
}

/* ---- administrators ---- */

/* Those of the configuration appoint others; those others do not. */
bool
admin_may_appoint(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from)
{
	return xmpp_is_conf_admin(env, domain, from->bare);
}

static const struct td_str *
conf_admins(struct xmpp_command_call *call, size_t *n)
{
	const struct conf_at at = { .protocol = "xmpp", .domain = call->domain };

	return conf_list(call->env->conf, &at, "admins", n);
}

const struct td_str *
admin_admins_value(struct xmpp_command_call *call, size_t *n)
{
	size_t n_conf, n_stored;
	const struct td_str *conf = conf_admins(call, &n_conf),
			    *stored = admin_stored(call->env, call->domain, &n_stored);
	struct td_str *all = td_arena_alloc(call->arena, (n_conf + n_stored + 1) * sizeof(*all));
	struct xmpp_jid j;

	*n = 0;
	for (size_t i = 0; i < n_conf; i++)
		if (xmpp_jid_parse(call->arena, conf[i], &j, NULL) == 0)
			all[(*n)++] = j.full;
	for (size_t i = 0; i < n_stored; i++)
		if (!xmpp_is_conf_admin(call->env, call->domain, stored[i]))
			all[(*n)++] = stored[i];
	return all;
}

/* Is one of the configuration missing in the list? */
static bool
leaves_out(struct xmpp_command_call *call, const struct xmpp_form_field *f)
{
	size_t n;
	const struct td_str *conf = conf_admins(call, &n);
	struct xmpp_jid have, want;

	for (size_t i = 0; i < n; i++) {
		bool there = xmpp_jid_parse(call->arena, conf[i], &have, NULL) < 0;

		for (size_t k = 0; k < f->n && !there; k++)
			there = xmpp_jid_parse(call->arena, td_str_trim(f->values[k]), &want,
					       NULL) == 0 &&
				xmpp_jid_eq(&have, &want);
		if (!there)
			return true;
	}
	return false;
}

enum xmpp_command_result
admin_edit_admin(struct xmpp_command_call *call)
{
	const struct xmpp_form_field *f = xmpp_form_field(call->form, "adminjids");
	struct td_str jids[ADMINS_MAX];
	struct xmpp_jid j;
	size_t n = 0;

	if (f == NULL) /* what is left out stays */
		return COMMAND_DONE;
	if (f->n > ADMINS_MAX)
		return xmpp_command_bad_payload(call, "The list is too long.");
	for (size_t i = 0; i < f->n; i++) {
		struct td_str text = td_str_trim(f->values[i]);

		if (text.len == 0)
			continue;
		if (xmpp_jid_parse(call->arena, text, &j, NULL) < 0 || j.local.p == NULL ||
		    j.resource.p != NULL)
			return xmpp_command_bad_payload(call, "This is no address of an account.");
		if (call->env->host->domain(call->env, j.domain) != XD_LOCAL)
			return admin_fail(call, XE_NOT_ALLOWED,
					  "Administrators have their account here.");
		if (!xmpp_is_conf_admin(call->env, call->domain, j.bare))
			jids[n++] = j.bare;
	}
	note(call, "edit-admin");
	if (leaves_out(call, f))
		xmpp_command_note(call, "warn", "Those of the configuration stay administrators.");
	admin_set_stored(call->env, call->domain, jids, n, finish, call);
	return COMMAND_LATER;
}

/* ---- the process ---- */

/* It is the server of all its domains: for those of the global option, or of every domain's. */
bool
admin_may_stop(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from)
{
	struct td_str name;

	if (env->host->stop == NULL || env->host->hosted == NULL ||
	    !xmpp_is_conf_admin(env, domain, from->bare))
		return false;
	if (xmpp_is_conf_admin(env, TD_STR_NULL, from->bare))
		return true;
	for (size_t i = 0; (name = env->host->hosted(env, i)).p != NULL; i++)
		if (!xmpp_is_conf_admin(env, name, from->bare))
			return false;
	return true;
}

static enum xmpp_command_result
stop(struct xmpp_command_call *call, bool restart)
{
	const char *why = NULL;
	struct td_str text;
	int64_t delay = 0;

	if (!xmpp_form_int(call->form, "delay", 0, DELAY_MAX, &delay))
		return xmpp_command_bad_payload(call,
						"delay is a number of seconds, at most a day.");
	if (!read_text(call, "announcement", &text))
		return COMMAND_ERROR;
	if (!call->env->host->stop(call->env, restart, (unsigned)delay, &why))
		return admin_fail(call, XE_INTERNAL_SERVER_ERROR, why);
	note(call, restart ? "restart" : "shutdown");
	if (text.len > 0)
		xmpp_announce(call->env, TD_STR_NULL, text);
	return COMMAND_DONE;
}

enum xmpp_command_result
admin_restart(struct xmpp_command_call *call)
{
	return stop(call, true);
}

enum xmpp_command_result
admin_shutdown(struct xmpp_command_call *call)
{
	return stop(call, false);
}
