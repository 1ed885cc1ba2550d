/* xep-0012 - last activity: how long ago an account was online, how long the server runs.
 *
 * Only for those who see the account's presence; everybody else gets the same <forbidden/> whether the account exists
 * or not.  When the last resource goes, the time and its status are written as the setting "last" of the account: it
 * is read when asked for, not loaded with the account. */
#include "xmpp/xep/xep_0012_last.h"

#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"

#define NS_LAST "jabber:iq:last"
#define STATUS_MAX 1024u /* bytes of a status that are kept */

bool
xmpp_last_forbids(const struct xmpp_user *u, const struct xmpp_stanza *s)
{
	const struct xmpp_node *n;

	if (s->type != XT_GET)
		return false;
	n = xmpp_stanza_payload(s);
	return n != NULL && xmpp_node_is(n, NS_LAST, "query") &&
	       !xmpp_presence_may_see(u, &s->from);
}

static void
answer(struct xmpp_iq *iq, uint64_t seconds, struct td_str status)
{
	struct td_buf b = { 0 };

	td_buf_addf(&b, "<query xmlns='" NS_LAST "' seconds='%llu'>", (unsigned long long)seconds);
	td_buf_add_xml(&b, status);
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
}

/* ---- the server ---- */

static int
host_get(struct xmpp_iq *iq)
{
	uint64_t started = (uint64_t)(uintptr_t)iq->env->module_data[XMPP_SLOT_LAST];

	answer(iq, (td_mono_ms() - started) / 1000, TD_STR(""));
	return XMPP_DONE;
}

/* ---- an account ---- */

struct look {
	struct xmpp_call call;
	struct xmpp_stanza *s;
};

/* "<seconds since 1970> <status>" */
static void
answer_stored(struct xmpp_iq *iq, struct td_str value)
{
	ptrdiff_t blank = td_str_chr(value, ' ');
	int64_t at, now = (int64_t)(td_wall_ms() / 1000);

	if (blank < 0 || !td_str_to_dec(td_str(value.p, (size_t)blank), 0, INT64_MAX, &at))
		xmpp_iq_error(iq, XE_INTERNAL_SERVER_ERROR, NULL);
	else
		answer(iq, at < now ? (uint64_t)(now - at) : 0,
		       td_str(value.p + blank + 1, value.len - (size_t)blank - 1));
}

static void
on_value(void *arg, const struct store_result *r, struct td_str value)
{
	struct look *l = arg;

	if (l->call.env != NULL) {
		struct xmpp_iq iq = { .env = l->call.env, .s = l->s, .user = l->call.user };

		if (r->rc == 0)
			answer_stored(&iq, value);
		else if (r->rc == TD_E_NOTFOUND) /* never online */
			xmpp_iq_error(&iq, XE_ITEM_NOT_FOUND, NULL);
		else
			xmpp_iq_error(&iq, XE_INTERNAL_SERVER_ERROR, NULL);
	}
	xmpp_stanza_unref(&l->s);
	xmpp_call_end(&l->call);
	free(l);
}

static bool
is_online(const struct xmpp_user *u)
{
	const struct xmpp_session *sess;

	TAILQ_FOREACH(sess, &u->sessions, link)
	if (sess->available && !sess->dead)
		return true;
	return false;
}

static int
account_get(struct xmpp_iq *iq)
{
	struct look *l;

	if (!iq->user->exists || !xmpp_presence_may_see(iq->user, &iq->s->from)) {
		xmpp_iq_error(iq, XE_FORBIDDEN, NULL);
		return XMPP_DONE;
	}
	if (is_online(iq->user)) {
		answer(iq, 0, TD_STR(""));
		return XMPP_DONE;
	}
	l = td_zalloc(sizeof(*l));
	l->s = xmpp_stanza_ref(iq->s);
	xmpp_call_begin(&l->call, iq->user);
	store_setting_get(iq->env->store, iq->user->bare, TD_STR("last"), iq->env->loop, on_value,
			  l);
	return XMPP_LATER;
}

static void
on_presence(struct xmpp_session *sess, struct xmpp_stanza *s, bool available, bool first)
{
	const struct xmpp_node *n;
	struct td_buf b = { 0 };

	(void)first;
	if (available || !sess->user->exists || is_online(sess->user))
		return;
	td_buf_addf(&b, "%llu ", (unsigned long long)(td_wall_ms() / 1000));
	n = xmpp_node_child(s->root, s->root->ns, "status");
	if (n != NULL) {
		struct td_arena *a = td_arena_new(256);
		struct td_str text = xmpp_node_text(a, n);

		td_buf_add(&b, text.p, td_utf8_cut(text, STATUS_MAX));
		td_arena_free(a);
	}
	store_setting_set(sess->env->store, sess->user->bare, TD_STR("last"), td_buf_str(&b),
			  (struct store_to){ 0 });
	td_buf_fini(&b);
}

static void
last_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_LAST] = (void *)(uintptr_t)td_mono_ms();
}

static const char *const last_features[] = { NS_LAST, NULL };

static const struct xmpp_iq_entry last_iqs[] = {
	{ NS_LAST, "query", IQ_GET | IQ_TO_HOST, host_get },
	{ NS_LAST, "query", IQ_GET | IQ_TO_ACCOUNT | IQ_ANY_ACCOUNT, account_get },
	{ 0 },
};

const struct xmpp_module xep_0012_last = {
	.name = "xep-0012-last",
	.xep = "0012",
	.doc = "Uptime; when an account was last online, for those who see its presence",
	.version = "2.0",
	.features = last_features,
	.account_features = last_features,
	.iqs = last_iqs,
	.start = last_start,
	.presence = on_presence,
};
