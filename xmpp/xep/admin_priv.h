/* admin_priv - what the files of XEP-0133 share.
 *
 *   xep_0133_admin.c   the table of commands, forms, the descriptor
 *   admin_state.c      what is set: administrators, messages, lists of addresses; a copy in every worker
 *   admin_accounts.c   commands about accounts, each account on its owner
 *   admin_lists.c      numbers and lists of users
 *   admin_service.c    announcements, messages, administrators, black- and whitelist, restart and shutdown
 *
 * Thread: the worker of the env. */
#ifndef XMPP_XEP_ADMIN_PRIV_H
#define XMPP_XEP_ADMIN_PRIV_H
#include "xmpp/xep/xep_0050_adhoc.h"
#include "xmpp/xep/xep_0133_admin.h"

struct admin_field {
	const char *type, *var, *label;
	bool required;
	const struct xmpp_form_option *options; /* NULL = none */
	/* What it shows at first; NULL = nothing. */
	const struct td_str *(*values)(struct xmpp_command_call *call, size_t *n);
};
struct admin_command {
	struct xmpp_command c; /* first */
	const char *title, *instructions;
	const struct admin_field *fields; /* ends with var NULL; NULL = done without a form */
	enum xmpp_command_result (*run)(struct xmpp_command_call *call);
};

/* ---- xep_0133_admin.c ---- */
enum xmpp_command_result admin_fail(struct xmpp_command_call *call, enum xmpp_error e,
				    const char *text);
/* For a TD_E_* of the store. */
enum xmpp_command_result admin_store_failed(struct xmpp_command_call *call, int rc);
void admin_result_open(struct td_buf *out);
/* The values of text-multi <var>, joined by newlines, in the call's arena; TD_STR_NULL: nothing in it. */
struct td_str admin_lines(struct xmpp_command_call *call, const char *var);
/* Lines of <text> as values of a field, in <a>. */
const struct td_str *admin_split(struct td_arena *a, struct td_str text, size_t *n);
/* May <bare> do more than <than>, in <domain> or another one here?  A command acts on nobody who may do more than who asks. */
bool admin_outranks(struct xmpp_env *env, struct td_str domain, struct td_str bare,
		    struct td_str than);

/* ---- admin_state.c ---- */
void admin_state_start(struct xmpp_env *env);
void admin_state_stop(struct xmpp_env *env);
void admin_state_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available,
			  bool first);
void admin_state_bound(struct xmpp_session *sess);
void admin_state_removed(struct xmpp_env *env, struct td_str bare);
/* The stored administrators of <domain>. */
const struct td_str *admin_stored(struct xmpp_env *env, struct td_str domain, size_t *n);
/* Make them these. */
void admin_set_stored(struct xmpp_env *env, struct td_str domain, const struct td_str *jids,
		      size_t n, void (*done)(void *arg, int rc), void *arg);
/* The stages: black- and whitelist. */
int admin_state_sent(struct xmpp_session *sess, struct xmpp_stanza *s);
int admin_state_arrived(struct xmpp_user *u, struct xmpp_stanza **s);

/* ---- the commands ---- */
enum xmpp_command_result admin_add_user(struct xmpp_command_call *call);
enum xmpp_command_result admin_delete_user(struct xmpp_command_call *call);
enum xmpp_command_result admin_disable_user(struct xmpp_command_call *call);
enum xmpp_command_result admin_reenable_user(struct xmpp_command_call *call);
enum xmpp_command_result admin_end_session(struct xmpp_command_call *call);
enum xmpp_command_result admin_change_password(struct xmpp_command_call *call);
enum xmpp_command_result admin_get_roster(struct xmpp_command_call *call);
enum xmpp_command_result admin_last_login(struct xmpp_command_call *call);
enum xmpp_command_result admin_user_stats(struct xmpp_command_call *call);

enum xmpp_command_result admin_registered_num(struct xmpp_command_call *call);
enum xmpp_command_result admin_disabled_num(struct xmpp_command_call *call);
enum xmpp_command_result admin_online_num(struct xmpp_command_call *call);
enum xmpp_command_result admin_active_num(struct xmpp_command_call *call);
enum xmpp_command_result admin_idle_num(struct xmpp_command_call *call);
enum xmpp_command_result admin_registered_list(struct xmpp_command_call *call);
enum xmpp_command_result admin_disabled_list(struct xmpp_command_call *call);
enum xmpp_command_result admin_online_list(struct xmpp_command_call *call);
enum xmpp_command_result admin_active_list(struct xmpp_command_call *call);
enum xmpp_command_result admin_idle_list(struct xmpp_command_call *call);
#define ADMIN_AFTER "{urn:tandem:admin}after" /* where a page of a list begins */

enum xmpp_command_result admin_announce(struct xmpp_command_call *call);
enum xmpp_command_result admin_set_motd(struct xmpp_command_call *call);
enum xmpp_command_result admin_edit_motd(struct xmpp_command_call *call);
enum xmpp_command_result admin_delete_motd(struct xmpp_command_call *call);
enum xmpp_command_result admin_set_welcome(struct xmpp_command_call *call);
enum xmpp_command_result admin_delete_welcome(struct xmpp_command_call *call);
enum xmpp_command_result admin_edit_admin(struct xmpp_command_call *call);
enum xmpp_command_result admin_edit_blacklist(struct xmpp_command_call *call);
enum xmpp_command_result admin_edit_whitelist(struct xmpp_command_call *call);
enum xmpp_command_result admin_restart(struct xmpp_command_call *call);
enum xmpp_command_result admin_shutdown(struct xmpp_command_call *call);
bool admin_may_appoint(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from);
bool admin_may_stop(struct xmpp_env *env, struct td_str domain, const struct xmpp_jid *from);
const struct td_str *admin_motd_value(struct xmpp_command_call *call, size_t *n);
const struct td_str *admin_welcome_value(struct xmpp_command_call *call, size_t *n);
const struct td_str *admin_admins_value(struct xmpp_command_call *call, size_t *n);
const struct td_str *admin_blacklist_value(struct xmpp_command_call *call, size_t *n);
const struct td_str *admin_whitelist_value(struct xmpp_command_call *call, size_t *n);
#endif
