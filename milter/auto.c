/* auto - must nothing be sent back for this mail?  (RFC 3834, RFC 5230 4.6) */
#include "milter/mime.h"

#include <strings.h>
#include "milter/mail.h"
#include "milter/mime_priv.h"

unsigned
milt_mail_hops(const struct milt_mail *m)
{
	const struct milt_header *h;
	size_t i = 0;
	unsigned n = 0, max = 0;

	while ((h = milt_mail_header(m, TD_STR("X-Tandem-Loop"), &i)) != NULL) {
		const char *p = memmem(h->value.p, h->value.len, "hops=", 5);
		unsigned hops = 0;

		n++;
		for (p = p != NULL ? p + 5 : ""; *p >= '0' && *p <= '9' && hops < 1000; p++)
			hops = hops * 10 + (unsigned)(*p - '0');
		max = hops > max ? hops : max;
	}
	return n > max ? n : max;
}

static bool
is_robot(struct td_str local)
{
	static const char *const exact[] = { "mailer-daemon", "noreply",    "no-reply",
					     "no_reply",      "donotreply", "do-not-reply",
					     "nobody",        "bounce",     "bounces" };
	static const char *const ends[] = { "-request", "-owner", "-bounces", "-noreply" };
	struct td_str t = { 0 };

	for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
		if (td_str_ieq(local, td_cstr(exact[i])))
			return true;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t n = strlen(ends[i]);

		t = local.len > n ? td_str(local.p + local.len - n, n) : TD_STR_NULL;
		if (t.p != NULL && td_str_ieq(t, td_cstr(ends[i])))
			return true;
	}
	return local.len > 6 && strncasecmp(local.p, "owner-", 6) == 0;
}

static const char *
auto_header(const struct milt_header *h)
{
	struct td_str v = td_str_trim(h->value);

	if (td_str_ieq(h->name, TD_STR("Auto-Submitted")))
		return v.len >= 2 && strncasecmp(v.p, "no", 2) == 0 &&
				       (v.len == 2 || strchr("; \t(", v.p[2]) != NULL)
			       ? NULL
			       : "auto-submitted";
	if (td_str_ieq(h->name, TD_STR("Precedence")))
		return td_str_ieq(v, TD_STR("bulk")) || td_str_ieq(v, TD_STR("junk")) ||
				       td_str_ieq(v, TD_STR("list")) ||
				       td_str_ieq(v, TD_STR("auto_reply"))
			       ? "precedence"
			       : NULL;
	if (h->name.len > 5 && strncasecmp(h->name.p, "List-", 5) == 0)
		return "mailing list";
	if (td_str_ieq(h->name, TD_STR("X-Loop")))
		return "x-loop";
	if (td_str_ieq(h->name, TD_STR("X-Autoreply")) ||
	    td_str_ieq(h->name, TD_STR("X-Autorespond")))
		return "auto-reply";
	if (td_str_ieq(h->name, TD_STR("X-Auto-Response-Suppress")))
		return milt_contains_i(v, "all") || milt_contains_i(v, "oof") ||
				       milt_contains_i(v, "autoreply")
			       ? "auto-response-suppress"
			       : NULL;
	if (td_str_ieq(h->name, TD_STR("Content-Type")))
		return milt_contains_i(v, "multipart/report") ? "report" : NULL;
	return NULL;
}

bool
milt_mail_is_auto(const struct milt_mail *m, unsigned max_hops, const char **why)
{
	const struct milt_header *h;
	const char *reason = NULL;
	size_t i = 0;

	if (m->from.valid && m->from.full.len == 0)
		reason = "null sender";
	else if (is_robot(m->from.local))
		reason = "sender is a robot";
	else if (max_hops > 0 && milt_mail_hops(m) >= max_hops)
		reason = "too many hops";
	while (reason == NULL && (h = milt_mail_header(m, TD_STR_NULL, &i)) != NULL)
		reason = auto_header(h);
	if (why != NULL)
		*why = reason;
	return reason != NULL;
}
