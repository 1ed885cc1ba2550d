/* bind2 - the session a client asks for while it signs in (XEP-0386 1.1).
 *
 * The resource is "tag/identifier".  The identifier of a client that names its installation (the id of its
 * user agent) is always the same, made from it under a secret of the server, so it tells nothing about the
 * id; without one it is random. */
#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "xmpp/c2s_priv.h"
#include "xmpp/modules.h"
#include "xmpp/sasl2.h"

#define NS_CARBONS2 "urn:xmpp:carbons:2"
#define NS_CSI0 "urn:xmpp:csi:0"
#define TAG_MAX 128u

static bool
has_module(const char *xep)
{
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->xep != NULL && strcmp((*m)->xep, xep) == 0)
			return true;
	return false;
}

void
xmpp_bind2_feature(struct td_buf *out)
{
	td_buf_addz(out, "<bind xmlns='" NS_BIND2 "'><inline>");
	if (has_module("0280"))
		td_buf_addz(out, "<feature var='" NS_CARBONS2 "'/>");
	if (has_module("0352"))
		td_buf_addz(out, "<feature var='" NS_CSI0 "'/>");
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->bind2_feature != NULL)
			td_buf_addf(out, "<feature var='%s'/>", (*m)->bind2_feature);
	td_buf_addz(out, "</inline></bind>");
}

/* ---- one session for each installation ---- */

/* With a session (XMPP_SESSION_SLOT_SIGNIN): the id of its user agent. */
struct agent {
	char id[37];
};

static void
end_earlier(struct xmpp_user *u, const char *agent)
{
	struct xmpp_session *s = TAILQ_FIRST(&u->sessions);

	while (s != NULL) {
		const struct agent *a = s->module_data[XMPP_SESSION_SLOT_SIGNIN];
		struct xmpp_c2s *old = s->stream;

		if (a == NULL || strcmp(a->id, agent) != 0) {
			s = TAILQ_NEXT(s, link);
			continue;
		}
		xmpp_session_end(s, "replaced");
		if (old != NULL)
			xmpp_c2s_end(old, "conflict", "Replaced by a new connection");
		s = TAILQ_FIRST(&u->sessions); /* others may have gone with it */
	}
}

static void
bind2_session_ended(struct xmpp_session *sess)
{
	free(sess->module_data[XMPP_SESSION_SLOT_SIGNIN]);
	sess->module_data[XMPP_SESSION_SLOT_SIGNIN] = NULL;
}

/* ---- the resource ---- */

static void
make_identifier(const struct xmpp_user *u, struct td_str tag, const char *agent, char out[17])
{
	unsigned char mac[32];
	struct td_buf text = { 0 }, hex = { 0 };

	if (agent == NULL) {
		td_random_id(out, 16);
		return;
	}
	td_buf_addf(&text, "bind2 %.*s %s ", TD_STR_ARG(u->bare), agent);
	td_buf_adds(&text, tag);
	xmpp_secret_mac(td_buf_str(&text), mac);
	td_buf_add_hex(&hex, mac, 8);
	memcpy(out, hex.p, 16);
	out[16] = '\0';
	td_buf_fini(&text);
	td_buf_fini(&hex);
}

static struct xmpp_session *
new_session(struct xmpp_c2s *c, struct xmpp_user *u, struct td_str tag, const char *agent)
{
	struct td_buf resource = { 0 };
	struct xmpp_session *sess;
	enum xmpp_error e;
	char id[17];

	make_identifier(u, tag, agent, id);
	if (tag.len > 0) {
		td_buf_adds(&resource, tag);
		td_buf_addc(&resource, '/');
	}
	td_buf_addz(&resource, id);
	sess = xmpp_session_new(u, c, td_buf_str(&resource), &e);
	td_buf_fini(&resource);
	if (sess == NULL && e == XE_BAD_REQUEST && tag.len > 0)
		return new_session(c, u, TD_STR_NULL, agent); /* no resource can have this tag */
	if (sess == NULL)
		td_log_notice(xmpp_c2s_log(c), "bind-refused", "condition=%s", xmpp_error_name(e));
	return sess;
}

struct xmpp_session *
xmpp_bind2(struct xmpp_c2s *c, struct xmpp_user *u, const struct xmpp_node *request,
	   const char *agent, struct td_str archive, struct td_buf *out)
{
	const struct xmpp_node *bind = xmpp_node_child(request, NS_BIND2, "bind");
	const struct xmpp_node *tag = xmpp_node_child(bind, NS_BIND2, "tag");
	struct td_arena *a = td_arena_new(0);
	struct td_str text = tag != NULL ? td_str_trim(xmpp_node_text(a, tag)) : TD_STR_NULL;
	struct xmpp_session *sess;

	if (agent != NULL)
		end_earlier(u, agent);
	sess = new_session(c, u, td_str(text.p, td_utf8_cut(text, TAG_MAX)), agent);
	td_arena_free(a);
	if (sess == NULL)
		return NULL;
	if (agent != NULL) {
		struct agent *mine = td_zalloc(sizeof(*mine));

		(void)snprintf(mine->id, sizeof(mine->id), "%s", agent);
		sess->module_data[XMPP_SESSION_SLOT_SIGNIN] = mine;
	}
	/* 3.2: what waits for it, it fetches from the archive, if it is there */
	sess->mam = sess->bind2 = archive.len > 0;
	td_buf_addz(out, "<bound xmlns='" NS_BIND2 "'>");
	td_buf_adds(out, archive);
	if (xmpp_node_child(bind, NS_CARBONS2, "enable") != NULL)
		xmpp_carbons_enable(sess);
	sess->inactive = xmpp_node_child(bind, NS_CSI0, "inactive") != NULL;
	for (const struct xmpp_module *const *m = xmpp_modules; *m != NULL; m++)
		if ((*m)->bind2 != NULL)
			(*m)->bind2(sess, bind, out);
	td_buf_addz(out, "</bound>");
	return sess;
}

const struct xmpp_module xep_0386_bind2 = {
	.name = "xep-0386-bind2",
	.xep = "0386",
	.doc = "Bind 2: a session with stream management, carbons and client state in the sign-in "
	       "itself",
	.version = "1.1.0",
	.session_ended = bind2_session_ended,
};
