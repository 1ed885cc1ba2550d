/* smtp_reply - enhanced status codes, found and named. */
#include "gateway/smtp_reply.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* One to three digits at <i>; where they end, or <i> when there are none. */
static size_t
number_end(struct td_str s, size_t i)
{
	size_t end = i;

	while (end < s.len && end - i < 3 && is_digit(s.p[end]))
		end++;
	return end;
}

struct td_str
gw_smtp_status(struct td_str reply)
{
	struct td_str s = reply;
	size_t dot, end;

	if (s.len > 4 && number_end(s, 0) == 3 && (s.p[3] == ' ' || s.p[3] == '-'))
		s = td_str(s.p + 4, s.len - 4);
	if (s.len < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
		return TD_STR_NULL;
	dot = number_end(s, 2);
	if (dot == 2 || dot >= s.len || s.p[dot] != '.')
		return TD_STR_NULL;
	end = number_end(s, dot + 1);
	if (end == dot + 1 || (end < s.len && s.p[end] != ' '))
		return TD_STR_NULL;
	return td_str(s.p, end);
}

const char *
gw_smtp_condition(struct td_str status)
{
	/* beyond the class: a report that gives up says 4.x.x as well (RFC 3464 2.3.4) */
	static const struct {
		const char *detail, *condition;
	} map[] = {
		{ ".1.", "item-not-found" },          { ".2.2", "resource-constraint" },
		{ ".3.4", "policy-violation" },       { ".4.7", "remote-server-timeout" },
		{ ".4.", "remote-server-not-found" }, { ".7.", "not-allowed" },
	};

	for (size_t i = 0; status.len > 1 && i < sizeof(map) / sizeof(map[0]); i++) {
		struct td_str rest = td_str(status.p + 1, status.len - 1),
			      d = td_cstr(map[i].detail);

		/* a whole number: 5.2.20 is no 5.2.2 */
		if (d.p[d.len - 1] == '.' ? td_str_starts(rest, d.p) : td_str_eq(rest, d))
			return map[i].condition;
	}
	return "recipient-unavailable";
}
