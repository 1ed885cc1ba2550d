/* xep_0191_blocking - people one does not want to hear of (XEP-0191), with reports (XEP-0377).
 *
 * The setting "+block" holds the addresses, one a line; accounts that block nobody have none and
 * pay nothing.  What comes from a blocked address is refused as if the account were not there;
 * what goes to one is refused with a reason.  An account never blocks itself or its server. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/im.h"
#include "xmpp/modules.h"
#include "xmpp/throttle.h"

#define NS_BLOCKING "urn:xmpp:blocking"
#define NS_REPORTING "urn:xmpp:reporting:1"
#define BLOCKED "<blocked xmlns='urn:xmpp:blocking:errors'/>"
#define SETTING "+block"
#define JIDS_MAX 2000u
#define REPORT_MAX 1000u

struct blocked {
	struct td_map jids; /* JID -> its malloc */
};

/* ---- the list ---- */

static void
list_free(struct blocked *b)
{
	char *mem;
	size_t i = 0;

	if (b == NULL)
		return;
	while ((mem = td_map_next(&b->jids, &i)) != NULL)
		free(mem);
	td_map_fini(&b->jids);
	free(b);
}

static void
list_add(struct blocked *b, struct td_str jid)
{
	char *mem;

	if (jid.len == 0 || td_map_find(&b->jids, jid) != NULL)
		return;
	mem = td_strndup(jid);
	(void)td_map_set(&b->jids, td_str(mem, jid.len), mem);
}

static struct blocked *
list_copy(const struct blocked *from)
{
	struct blocked *b = td_zalloc(sizeof(*b));
	const char *mem;
	size_t i = 0;

	while (from != NULL && (mem = td_map_next(&from->jids, &i)) != NULL)
		list_add(b, td_cstr(mem));
	return b;
}

static bool
has(const struct blocked *b, struct td_str jid)
{
	return td_map_find(&b->jids, jid) != NULL;
}

/* Section 6, in that order. */
static bool
list_matches(const struct blocked *b, const struct xmpp_jid *j)
{
	char buf[1100 * 2];
	size_t n = j->domain.len + 1 + j->resource.len;

	if (b == NULL || b->jids.len == 0)
		return false;
	if (has(b, j->full) || has(b, j->bare) || has(b, j->domain))
		return true;
	if (j->resource.p == NULL || n > sizeof(buf))
		return false;
	memcpy(buf, j->domain.p, j->domain.len);
	buf[j->domain.len] = '/';
	memcpy(buf + j->domain.len + 1, j->resource.p, j->resource.len);
	return has(b, td_str(buf, n));
}

static bool
is_exempt(const struct xmpp_user *u, const struct xmpp_jid *j)
{
	return td_str_eq(j->bare, u->bare) || td_str_eq(j->bare, u->domain);
}

bool
xmpp_is_blocked(const struct xmpp_user *u, const struct xmpp_jid *j)
{
	const struct blocked *b = xmpp_user_data(u, XMPP_USER_SLOT_BLOCK);

	return b != NULL && list_matches(b, j) && !is_exempt(u, j);
}

static void
block_load(struct xmpp_user *u)
{
	struct td_str text = xmpp_user_setting(u, SETTING);
	struct blocked *b;

	if (text.p == NULL)
		return;
	b = td_zalloc(sizeof(*b));
	while (text.len > 0) {
		ptrdiff_t nl = td_str_chr(text, '\n');
		size_t len = nl < 0 ? text.len : (size_t)nl;

		list_add(b, td_str(text.p, len));
		len += nl < 0 ? 0 : 1;
		text = td_str(text.p + len, text.len - len);
	}
	xmpp_user_set_data(u, XMPP_USER_SLOT_BLOCK, b);
}

static void
block_unload(struct xmpp_user *u)
{
	list_free(xmpp_user_data(u, XMPP_USER_SLOT_BLOCK));
}

/* ---- the stages ---- */

static int
block_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_stanza *e;

	if (s->to.full.p == NULL || !xmpp_is_blocked(sess->user, &s->to))
		return XMPP_PASS;
	if (s->kind == XK_PRESENCE && s->type == XT_UNAVAILABLE)
		return XMPP_DONE; /* they think us gone already */
	e = xmpp_stanza_error_with(s, XE_NOT_ACCEPTABLE, NULL, td_cstr(BLOCKED));
	if (e == NULL)
		return XMPP_DONE;
	/* example 9: nothing about the stanza could be changed to make it go */
	xmpp_node_set(e->arena, e->root->last, "type", TD_STR("cancel"));
	/* straight to the client: on the common way it would be something from a blocked address */
	xmpp_stanza_seal(e);
	xmpp_session_send(sess, e);
	xmpp_stanza_unref(&e);
	return XMPP_DONE;
}

static int
block_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct xmpp_stanza *s = *sp;

	if (s->row != 0 || !xmpp_is_blocked(u, &s->from))
		return XMPP_PASS;
	if (s->kind != XK_PRESENCE)
		xmpp_bounce(u->env, s, XE_SERVICE_UNAVAILABLE, NULL);
	return XMPP_DONE;
}

/* ---- presence when the list changes ---- */

static bool
is_online(const struct xmpp_user *u)
{
	const struct xmpp_session *sess;

	TAILQ_FOREACH(sess, &u->sessions, link)
	if (sess->available && !sess->dead)
		return true;
	return false;
}

static void
to_contacts(struct xmpp_user *u, const struct blocked *before, const struct blocked *after)
{
	const struct xmpp_contact *c;
	size_t i = 0;

	while ((c = td_map_next(&u->roster, &i)) != NULL) {
		struct xmpp_jid j = xmpp_jid_view(c->jid), me = xmpp_jid_view(u->bare);
		bool was = list_matches(before, &j), is = list_matches(after, &j);

		if (was == is || is_exempt(u, &j))
			continue;
		if ((c->sub & STORE_SUB_FROM) && is)
			xmpp_presence_send_gone(u, &j);
		else if (c->sub & STORE_SUB_FROM)
			(void)xmpp_presence_send_all(u, &j);
		if ((c->sub & STORE_SUB_TO) && !is && is_online(u))
			xmpp_route(u->env, xmpp_presence_make(XT_PROBE, &me, &j, TD_STR_NULL));
	}
}

/* Those who got directed presence (rooms, strangers). */
static void
to_directed(struct xmpp_user *u, const struct blocked *after)
{
	struct xmpp_session *sess;
	const char *mem;

	TAILQ_FOREACH(sess, &u->sessions, link)
	{
		size_t i = 0;

		while ((mem = td_map_next(&sess->directed, &i)) != NULL) {
			struct xmpp_jid j = xmpp_jid_view(td_cstr(mem));

			if (list_matches(after, &j) && !is_exempt(u, &j))
				xmpp_route(u->env, xmpp_presence_make(XT_UNAVAILABLE, &sess->jid,
								      &j, TD_STR_NULL));
		}
	}
}

/* ---- commands ---- */

static struct td_str
as_text(const struct blocked *b, struct td_buf *out)
{
	const char *mem;
	size_t i = 0;

	while ((mem = td_map_next(&b->jids, &i)) != NULL) {
		td_buf_addz(out, mem);
		td_buf_addc(out, '\n');
	}
	return out->len > 0 ? td_buf_str(out) : TD_STR_NULL;
}

struct change {
	struct xmpp_stanza *s;
};

static void
push(struct xmpp_user *u, const struct xmpp_node *payload)
{
	struct xmpp_session *x, *next;

	for (x = TAILQ_FIRST(&u->sessions); x != NULL; x = next) {
		struct xmpp_stanza *s;
		struct td_buf b = { 0 };
		char id[17];

		next = TAILQ_NEXT(x, link);
		if (!x->blocklist || x->dead)
			continue;
		s = xmpp_stanza_new(XK_IQ, XT_SET);
		td_random_id(id, 16);
		xmpp_stanza_set_id(s, td_cstr(id));
		xmpp_stanza_set_to(s, &x->jid);
		td_buf_addf(&b, "<%s xmlns='" NS_BLOCKING "'>", payload->name);
		for (const struct xmpp_node *n = xmpp_node_child(payload, NS_BLOCKING, "item");
		     n != NULL; n = xmpp_node_next_elem(n)) {
			if (!xmpp_node_is(n, NS_BLOCKING, "item"))
				continue;
			td_buf_addz(&b, "<item jid='");
			td_buf_add_xml(&b, xmpp_node_attr(n, "jid"));
			td_buf_addz(&b, "'/>");
		}
		td_buf_addf(&b, "</%s>", payload->name);
		xmpp_stanza_append_raw(s, td_buf_str(&b));
		xmpp_stanza_seal(s);
		xmpp_session_send(x, s);
		xmpp_stanza_unref(&s);
		td_buf_fini(&b);
	}
}

static void
on_changed(struct xmpp_user *u, int rc, void *arg)
{
	struct xmpp_stanza *s = arg;
	struct xmpp_iq iq = { .env = u->env, .s = s, .user = u };

	if (rc < 0) {
		xmpp_iq_error(&iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else {
		xmpp_iq_result(&iq, TD_STR_NULL);
		push(u, xmpp_stanza_payload(s));
	}
	xmpp_stanza_unref(&s);
}

/* <now> takes the place of the list. */
static void
change(struct xmpp_iq *iq, struct blocked *now)
{
	struct xmpp_user *u = iq->user;
	struct blocked *before = xmpp_user_data(u, XMPP_USER_SLOT_BLOCK);
	struct td_buf text = { 0 };

	xmpp_user_set_data(u, XMPP_USER_SLOT_BLOCK, now); /* first: answers may come at once */
	to_directed(u, now);
	to_contacts(u, before, now);
	list_free(before);
	xmpp_user_set_setting(u, SETTING, as_text(now, &text), on_changed, xmpp_stanza_ref(iq->s));
	td_buf_fini(&text);
}

/* Section 4 of XEP-0377; false: malformed. */
static bool
take_report(struct xmpp_iq *iq, const struct xmpp_node *item, struct td_str jid)
{
	static const struct xmpp_rate rate = { .count = 20, .seconds = 600, .local = true };
	const struct xmpp_node *r = xmpp_node_child(item, NS_REPORTING, "report"), *t, *id;
	struct td_str reason, text = TD_STR(""), first = TD_STR("");

	if (r == NULL)
		return true;
	reason = xmpp_node_attr(r, "reason");
	if (reason.len == 0)
		return false;
	if ((t = xmpp_node_child(r, NS_REPORTING, "text")) != NULL)
		text = td_str_trim(xmpp_node_text(iq->s->arena, t));
	if ((id = xmpp_node_child(r, "urn:xmpp:sid:0", "stanza-id")) != NULL)
		first = xmpp_node_attr(id, "id");
	text.len = td_utf8_cut(text, REPORT_MAX);
	/* the block counts, the log is not filled; an account's address ends with a NUL */
	if (xmpp_throttle_over(XT_REPORT, iq->user->bare.p, &rate))
		return true;
	xmpp_throttle_count(XT_REPORT, iq->user->bare.p, &rate);
	td_log_warn(&iq->env->log, "abuse-report", "by=%s about=%s reason=%s stanza=%s text=%s",
		    td_esc(iq->user->bare), td_esc(jid), td_esc(reason), td_esc(first),
		    td_esc(text));
	return true;
}

/* Apply the items to <now>; XE_COUNT = fine.  *n: how many there were. */
static enum xmpp_error
read_items(struct xmpp_iq *iq, struct blocked *now, bool block, unsigned *n)
{
	struct td_arena *a = td_arena_new(0);
	enum xmpp_error e = XE_COUNT;

	*n = 0;
	for (const struct xmpp_node *i = xmpp_node_child(iq->payload, NULL, NULL);
	     i != NULL && e == XE_COUNT; i = xmpp_node_next_elem(i)) {
		struct xmpp_jid j;

		if (!xmpp_node_is(i, NS_BLOCKING, "item"))
			continue;
		++*n;
		if (xmpp_jid_parse(a, xmpp_node_attr(i, "jid"), &j, NULL) < 0)
			e = XE_JID_MALFORMED;
		else if (block && !take_report(iq, i, j.full))
			e = XE_BAD_REQUEST;
		else if (block && now->jids.len >= JIDS_MAX)
			e = XE_RESOURCE_CONSTRAINT;
		else if (block)
			list_add(now, j.full);
		else
			free(td_map_del(&now->jids, j.full));
	}
	td_arena_free(a);
	return e;
}

static int
block_iq(struct xmpp_iq *iq)
{
	bool block = strcmp(iq->payload->name, "block") == 0;
	struct blocked *now = list_copy(xmpp_user_data(iq->user, XMPP_USER_SLOT_BLOCK));
	unsigned n;
	enum xmpp_error e = read_items(iq, now, block, &n);

	if (e == XE_COUNT && block && n == 0)
		e = XE_BAD_REQUEST;
	if (e != XE_COUNT) {
		list_free(now);
		xmpp_iq_error(iq, e, NULL);
		return XMPP_DONE;
	}
	if (!block && n == 0) { /* all of them */
		list_free(now);
		now = td_zalloc(sizeof(*now));
	}
	change(iq, now);
	return XMPP_LATER;
}

static int
blocklist_iq(struct xmpp_iq *iq)
{
	const struct blocked *list = xmpp_user_data(iq->user, XMPP_USER_SLOT_BLOCK);
	struct xmpp_session *sess = xmpp_session_find(iq->user, iq->s->from.resource);
	struct td_buf b = { 0 };
	const char *mem;
	size_t i = 0;

	if (sess != NULL)
		sess->blocklist = true;
	td_buf_addz(&b, "<blocklist xmlns='" NS_BLOCKING "'>");
	while (list != NULL && (mem = td_map_next(&list->jids, &i)) != NULL) {
		td_buf_addz(&b, "<item jid='");
		td_buf_add_xml(&b, td_cstr(mem));
		td_buf_addz(&b, "'/>");
	}
	td_buf_addz(&b, "</blocklist>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static const struct xmpp_iq_entry block_iqs[] = {
	{ NS_BLOCKING, "blocklist", IQ_GET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, blocklist_iq },
	{ NS_BLOCKING, "block", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, block_iq },
	{ NS_BLOCKING, "unblock", IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, block_iq },
	{ 0 },
};
static const char *const block_features[] = { NS_BLOCKING, NS_REPORTING, NULL };

const struct xmpp_module xep_0191_blocking = {
	.name = "xep-0191-blocking",
	.xep = "0191",
	.doc = "Blocking of people, resources and domains; reports with it (XEP-0377) are logged",
	.version = "1.3",
	.features = block_features,
	.iqs = block_iqs,
	.sent = block_sent,
	.arrived = block_arrived,
	.user_loaded = block_load,
	.user_unloaded = block_unload,
};
