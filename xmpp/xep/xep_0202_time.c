/* xep-0202 - the server's clock: UTC and the offset of its zone. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "xmpp/modules.h"

static int
time_get(struct xmpp_iq *iq)
{
	uint64_t now = td_wall_ms();
	time_t t = (time_t)(now / 1000);
	struct tm tm;
	char utc[32], xml[160];
	long off;
	int n;

	localtime_r(&t, &tm);
	off = tm.tm_gmtoff / 60; /* minutes */
	td_stamp(now, utc);
	n = snprintf(xml, sizeof(xml),
		     "<time xmlns='" NS_TIME "'><tzo>%c%02ld:%02ld</tzo><utc>%s</utc></time>",
		     off < 0 ? '-' : '+', labs(off) / 60, labs(off) % 60, utc);
	xmpp_iq_result(iq, td_str(xml, (size_t)n));
	return XMPP_DONE;
}

static const char *const time_features[] = { NS_TIME, NULL };

static const struct xmpp_iq_entry time_iqs[] = {
	{ NS_TIME, "time", IQ_GET | IQ_TO_HOST, time_get },
	{ 0 },
};

const struct xmpp_module xep_0202_time = {
	.name = "xep-0202-time",
	.xep = "0202",
	.doc = "The server's time and zone",
	.version = "2.0",
	.features = time_features,
	.iqs = time_iqs,
};
