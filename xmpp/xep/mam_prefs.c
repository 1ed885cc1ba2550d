/* mam_prefs - which messages a user wants kept (XEP-0441).
 *
 * The setting "+mam" is the <prefs/> element as the user gets it back; accounts that never set
 * any have none, and everything of theirs is kept. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "xmpp/xep/mam_priv.h"

#define SETTING "+mam"
#define JIDS_MAX 1000u

enum policy {
	P_ALWAYS = 0,
	P_NEVER,
	P_ROSTER
};
static const char *const policies[] = { "always", "never", "roster" };

struct prefs {
	struct td_arena *a;
	enum policy dflt;
	struct jids {
		struct td_str *jids;
		size_t n;
	} always, never;
};

static bool
is_listed(const struct jids *l, const struct xmpp_jid *peer)
{
	for (size_t i = 0; i < l->n; i++)
		if (td_str_eq(l->jids[i], peer->full) || td_str_eq(l->jids[i], peer->bare))
			return true;
	return false;
}

bool
mam_prefs_allow(const struct xmpp_user *u, const struct xmpp_jid *peer)
{
	const struct prefs *p = xmpp_user_data(u, XMPP_USER_SLOT_MAM);

	if (p == NULL)
		return true;
	if (is_listed(&p->never, peer))
		return false;
	if (is_listed(&p->always, peer))
		return true;
	if (p->dflt == P_ROSTER) {
		const struct xmpp_contact *c =
			xmpp_user_contact((struct xmpp_user *)(uintptr_t)u, peer->bare);

		return c != NULL && !(c->flags & STORE_ROSTER_HIDDEN);
	}
	return p->dflt == P_ALWAYS;
}

/* ---- reading ---- */

static enum xmpp_error
read_jids(struct prefs *p, const struct xmpp_node *list, struct jids *out)
{
	size_t n = 0;

	for (const struct xmpp_node *c = list != NULL ? xmpp_node_child(list, NULL, NULL) : NULL;
	     c != NULL; c = xmpp_node_next_elem(c))
		n++;
	if (n > JIDS_MAX)
		return XE_RESOURCE_CONSTRAINT;
	out->jids = td_arena_alloc(p->a, (n + 1) * sizeof(*out->jids));
	for (const struct xmpp_node *c = list != NULL ? xmpp_node_child(list, NULL, NULL) : NULL;
	     c != NULL; c = xmpp_node_next_elem(c)) {
		struct xmpp_jid j;

		if (!xmpp_node_is(c, NS_MAM, "jid"))
			return XE_BAD_REQUEST;
		if (xmpp_jid_parse(p->a, td_str_trim(xmpp_node_text(p->a, c)), &j, NULL) < 0)
			return XE_JID_MALFORMED;
		out->jids[out->n++] = j.full;
	}
	return XE_COUNT;
}

static void
prefs_free(struct prefs *p)
{
	if (p != NULL)
		td_arena_free(p->a);
}

/* XE_COUNT = fine. */
static enum xmpp_error
prefs_read(const struct xmpp_node *n, struct prefs **out)
{
	struct td_arena *a = td_arena_new(1024);
	struct prefs *p = td_arena_zalloc(a, sizeof(*p));
	struct td_str dflt = xmpp_node_attr(n, "default");
	enum xmpp_error e = XE_BAD_REQUEST;

	p->a = a;
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (td_str_eqc(dflt, policies[i])) {
			p->dflt = (enum policy)i;
			e = XE_COUNT;
		}
	if (e == XE_COUNT)
		e = read_jids(p, xmpp_node_child(n, NS_MAM, "always"), &p->always);
	if (e == XE_COUNT)
		e = read_jids(p, xmpp_node_child(n, NS_MAM, "never"), &p->never);
	if (e != XE_COUNT) {
		prefs_free(p);
		p = NULL;
	}
	*out = p;
	return e;
}

void
mam_prefs_load(struct xmpp_user *u)
{
	struct td_str xml = xmpp_user_setting(u, SETTING);
	struct td_arena *a;
	struct xmpp_node *n;
	struct prefs *p = NULL;

	if (xml.p == NULL)
		return;
	a = td_arena_new(xml.len * 2 + 512);
	n = xmpp_xml_parse(a, xml, NS_MAM, NULL);
	if (n != NULL)
		(void)prefs_read(n, &p);
	td_arena_free(a);
	if (p != NULL)
		xmpp_user_set_data(u, XMPP_USER_SLOT_MAM, p);
}

void
mam_prefs_unload(struct xmpp_user *u)
{
	prefs_free(xmpp_user_data(u, XMPP_USER_SLOT_MAM));
}

/* ---- asking and changing ---- */

static void
write_jids(struct td_buf *out, const char *name, const struct jids *l)
{
	td_buf_addf(out, "<%s>", name);
	for (size_t i = 0; i < l->n; i++) {
		td_buf_addz(out, "<jid>");
		td_buf_add_xml(out, l->jids[i]);
		td_buf_addz(out, "</jid>");
	}
	td_buf_addf(out, "</%s>", name);
}

static void
write_prefs(struct td_buf *out, const struct prefs *p)
{
	static const struct prefs none;

	if (p == NULL)
		p = &none;
	td_buf_addf(out, "<prefs xmlns='" NS_MAM "' default='%s'>", policies[p->dflt]);
	write_jids(out, "always", &p->always);
	write_jids(out, "never", &p->never);
	td_buf_addz(out, "</prefs>");
}

struct change {
	struct xmpp_env *env;
	struct xmpp_stanza *s;
};

static void
on_changed(struct xmpp_user *u, int rc, void *arg)
{
	struct change *c = arg;
	struct xmpp_iq iq = { .env = c->env, .s = c->s, .user = u };

	if (rc < 0) {
		xmpp_iq_error(&iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else {
		struct td_buf b = { 0 };

		write_prefs(&b, xmpp_user_data(u, XMPP_USER_SLOT_MAM));
		xmpp_iq_result(&iq, td_buf_str(&b));
		td_buf_fini(&b);
	}
	xmpp_stanza_unref(&c->s);
	free(c);
}

int
mam_prefs_iq(struct xmpp_iq *iq)
{
	struct mam *m = iq->env->module_data[XMPP_SLOT_MAM];
	struct xmpp_user *u = iq->user;
	struct td_buf b = { 0 };
	struct prefs *p;
	struct change *c;
	enum xmpp_error e;

	if (!mam_is_on(m, u->domain))
		return XMPP_PASS;
	if (iq->s->type == XT_GET) {
		write_prefs(&b, xmpp_user_data(u, XMPP_USER_SLOT_MAM));
		xmpp_iq_result(iq, td_buf_str(&b));
		td_buf_fini(&b);
		return XMPP_DONE;
	}
	e = prefs_read(iq->payload, &p);
	if (e != XE_COUNT) {
		xmpp_iq_error(iq, e, NULL);
		return XMPP_DONE;
	}
	mam_prefs_unload(u);
	xmpp_user_set_data(u, XMPP_USER_SLOT_MAM, p);
	write_prefs(&b, p);
	c = td_zalloc(sizeof(*c));
	c->env = iq->env;
	c->s = xmpp_stanza_ref(iq->s);
	xmpp_user_set_setting(u, SETTING, td_buf_str(&b), on_changed, c);
	td_buf_fini(&b);
	return XMPP_LATER;
}
