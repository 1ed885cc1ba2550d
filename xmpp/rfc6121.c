/* rfc6121 - the module of roster, subscriptions and presence, and the list of store calls that
 * are on their way, so that none of them comes back to an env that is gone. */
#include "xmpp/im.h"

#include <stdlib.h>
#include "xmpp/c2s.h"
#include "xmpp/modules.h"
#include "xmpp/roster.h"

struct im {
	LIST_HEAD(, xmpp_call) calls;
};

void
xmpp_call_begin(struct xmpp_call *c, struct xmpp_user *u)
{
	struct im *im = u->env->module_data[XMPP_SLOT_IM];

	c->env = u->env;
	c->user = u;
	xmpp_user_hold(u);
	LIST_INSERT_HEAD(&im->calls, c, link);
}

void
xmpp_call_end(struct xmpp_call *c)
{
	struct xmpp_user *u = c->user;

	if (c->env == NULL)
		return;
	LIST_REMOVE(c, link);
	c->env = NULL;
	c->user = NULL;
	xmpp_user_release(u);
}

struct xmpp_jid
xmpp_jid_view(struct td_str s)
{
	struct xmpp_jid j = { .full = s, .bare = s };
	ptrdiff_t i = td_str_chr(s, '/');

	if (i >= 0) {
		j.resource = td_str(s.p + i + 1, s.len - (size_t)i - 1);
		j.bare.len = (size_t)i;
	}
	i = td_str_chr(j.bare, '@');
	j.domain = j.bare;
	if (i >= 0) {
		j.local = td_str(s.p, (size_t)i);
		j.domain = td_str(s.p + i + 1, j.bare.len - (size_t)i - 1);
	}
	return j;
}

static void
im_start(struct xmpp_env *env)
{
	struct im *im = td_zalloc(sizeof(*im));

	LIST_INIT(&im->calls);
	env->module_data[XMPP_SLOT_IM] = im;
}

static void
im_stop(struct xmpp_env *env)
{
	struct im *im = env->module_data[XMPP_SLOT_IM];
	struct xmpp_call *c;

	while ((c = LIST_FIRST(&im->calls)) != NULL) {
		LIST_REMOVE(c, link);
		if (c->cancel != NULL) {
			c->cancel(c);
		} else {
			c->env = NULL;
			c->user = NULL;
		}
	}
	free(im);
	env->module_data[XMPP_SLOT_IM] = NULL;
}

static void
im_stream_features(struct xmpp_c2s *c, struct td_buf *out)
{
	(void)c;
	td_buf_addz(out, "<ver xmlns='" NS_ROSTERVER "'/><sub xmlns='" NS_PREAPPROVAL "'/>");
}

static const char *const im_features[] = { NS_ROSTER, NULL };

/* RFC 3921 section 3: session establishment; nothing to do, but old clients wait for the result. */
static int
session_iq(struct xmpp_iq *iq)
{
	xmpp_iq_result(iq, TD_STR_NULL);
	return XMPP_DONE;
}

static const struct xmpp_iq_entry im_iqs[] = {
	{ NS_SESSION, "session", IQ_SET | IQ_TO_ACCOUNT | IQ_TO_HOST | IQ_OWN_ONLY, session_iq },
	{ NS_ROSTER, "query", IQ_GET | IQ_SET | IQ_TO_ACCOUNT | IQ_OWN_ONLY, xmpp_roster_iq },
	{ 0 },
};

const struct xmpp_module xmpp_rfc6121 = {
	.name = "rfc6121",
	.doc = "Roster with versions, subscriptions with pre-approval, presence",
	.version = "2011-03",
	.features = im_features,
	.iqs = im_iqs,
	.start = im_start,
	.stop = im_stop,
	.stream_features = im_stream_features,
};
