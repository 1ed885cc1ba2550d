/* xep_0478_limits - what a stream may carry is said in its features, before and after sign-in (XEP-0478 0.2). */
#include "conf/conf.h"
#include "xmpp/c2s_priv.h"
#include "xmpp/modules.h"

static void
limits(struct xmpp_c2s *c, struct td_buf *out)
{
	td_buf_addf(out, "<limits xmlns='" NS_STREAM_LIMITS "'><max-bytes>%u</max-bytes>",
		    c->reader.max_stanza);
	if (c->cc->idle_seconds > 0)
		td_buf_addf(out, "<idle-seconds>%u</idle-seconds>", c->cc->idle_seconds);
	td_buf_addz(out, "</limits>");
}

const struct xmpp_module xep_0478_limits = {
	.name = "xep-0478-limits",
	.xep = "0478",
	.doc = "The largest stanza and the longest silence are announced in the stream features",
	.version = "0.2.0",
	.features_before = limits,
	.stream_features = limits,
};
