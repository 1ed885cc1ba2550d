/* dial_pure - the parts of dialling that need no network: routes, the order of SRV records, who is never dialled. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include "gateway/acl.h"
#include "gateway/dial.h"

/* ---- routes ---- */

/* "host", "host:port", "[v6]", "[v6]:port", "v6" */
static bool
parse_host_port(struct td_str s, struct td_str *host, uint16_t *port)
{
	int64_t n;
	ptrdiff_t end;
	struct gw_net net;
	struct td_str rest;

	*port = 0;
	if (s.len > 0 && s.p[0] == '[') {
		end = td_str_chr(s, ']');
		if (end < 2)
			return false;
		*host = td_str(s.p + 1, (size_t)end - 1);
		rest = td_str(s.p + end + 1, s.len - (size_t)end - 1);
		if (td_str_chr(*host, '/') >= 0 || !gw_net_parse(*host, &net) ||
		    net.family != AF_INET6)
			return false;
	} else if (td_str_chr(s, '/') < 0 && gw_net_parse(s, &net)) {
		*host = s;
		return true;
	} else {
		end = td_str_chr(s, ':');
		*host = end < 0 ? s : td_str(s.p, (size_t)end);
		rest = end < 0 ? td_str(s.p, 0) : td_str(s.p + end, s.len - (size_t)end);
		if (!gw_dns_is_host(*host))
			return false;
	}
	if (rest.len == 0)
		return true;
	if (rest.p[0] != ':' || !td_str_to_dec(td_str(rest.p + 1, rest.len - 1), 1, UINT16_MAX, &n))
		return false;
	*port = (uint16_t)n;
	return true;
}

/* One "key=value" behind the question mark. */
static bool
parse_param(struct td_str param, struct gw_route *r)
{
	struct td_str key = td_str_cut(&param, '=');
	int64_t n;

	if (td_str_eqc(key, "port") && td_str_to_dec(param, 1, UINT16_MAX, &n)) {
		r->port = (uint16_t)n;
		return true;
	}
	if (td_str_eqc(key, "pref") && td_str_to_dec(param, 0, UINT16_MAX, &n)) {
		r->pref = (int)n;
		return true;
	}
	return false;
}

bool
gw_route_parse(struct td_str text, struct gw_route *out)
{
	struct gw_route r = { .kind = GW_ROUTE_HOST, .pref = -1 };
	struct td_str host, param;

	text = td_str_trim(text);
	if (td_str_eqc(text, "__srv__")) {
		r.kind = GW_ROUTE_SRV;
		*out = r;
		return true;
	}
	if (td_str_starts(text, "xmpp://") || td_str_starts(text, "xmpps://")) {
		r.direct_tls = text.p[4] == 's';
		text = td_str(text.p + 7 + r.direct_tls, text.len - 7 - r.direct_tls);
	}
	host = td_str_cut(&text, '?');
	if (host.len > 0 && host.p[host.len - 1] == '/')
		host.len--;
	if (!parse_host_port(host, &r.host, &r.port))
		return false;
	while (text.len > 0) {
		param = td_str_cut(&text, '&');
		if (!parse_param(param, &r))
			return false;
	}
	*out = r;
	return true;
}

/* ---- SRV ---- */

static int
by_priority(const struct gw_srv_entry *a, const struct gw_srv_entry *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	/* those without weight come first in the drawing, so that they have a chance at all */
	return (a->weight != 0) - (b->weight != 0);
}

/* A stable insertion sort: there are 128 at most. */
static void
sort(struct gw_srv_entry *e, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct gw_srv_entry x = e[i];
		size_t k = i;

		for (; k > 0 && by_priority(&x, &e[k - 1]) < 0; k--)
			e[k] = e[k - 1];
		e[k] = x;
	}
}

/* Draw the first of e[0..n), all of one priority, and put it in front. */
static void
draw(struct gw_srv_entry *e, size_t n, uint32_t (*roll)(void *arg, uint32_t max), void *arg)
{
	uint32_t sum = 0, at;
	struct gw_srv_entry x;
	size_t i = 0;

	for (size_t k = 0; k < n; k++)
		sum += e[k].weight;
	at = roll(arg, sum);
	for (sum = e[0].weight; sum < at && i + 1 < n; sum += e[i].weight)
		i++;
	x = e[i];
	memmove(e + 1, e, i * sizeof(*e));
	e[0] = x;
}

void
gw_srv_order(struct gw_srv_entry *e, size_t n, uint32_t (*roll)(void *arg, uint32_t max), void *arg)
{
	sort(e, n);
	for (size_t i = 0; i < n; i++) {
		size_t k = i + 1;

		while (k < n && e[k].priority == e[i].priority)
			k++;
		draw(e + i, k - i, roll, arg);
	}
}

/* ---- who is never dialled ---- */

static bool
name_matches(struct td_str pattern, struct td_str host)
{
	if (td_str_starts(pattern, "*."))
		return host.len >= pattern.len &&
		       td_str_ieq(td_str(host.p + host.len - pattern.len + 1, pattern.len - 1),
				  td_str(pattern.p + 1, pattern.len - 1));
	return td_str_ieq(pattern, host);
}

bool
gw_dial_prohibited(const struct td_str *list, size_t n, struct td_str host,
		   const struct sockaddr *sa)
{
	if (host.len > 0 && host.p[host.len - 1] == '.')
		host.len--;
	for (size_t i = 0; i < n; i++) {
		struct gw_net net;

		if (gw_net_parse(list[i], &net) ? sa != NULL && gw_net_has(&net, sa)
						: host.len > 0 && name_matches(list[i], host))
			return true;
	}
	return false;
}
