/* hostmeta - where else this server's clients may connect (XEP-0156, RFC 6415): links to WebSocket and BOSH.
 *
 * Only https and wss are named, and only over TLS is it told, unless the operator says that a proxy in front adds it. */
#include "conf/conf.h"
#include "gateway/http/http.h"

#define REL "urn:xmpp:alt-connections:"

static const struct {
	const char *rel, *scheme, *path;
} links[] = {
	{ REL "websocket", "wss", "/xmpp-websocket" },
	{ REL "xbosh", "https", "/http-bind" },
};
#define N_LINKS (sizeof(links) / sizeof(links[0]))

/* "https://host..." without the scheme; false: there is nothing to tell. */
static bool
base(const struct gw_http *h, const struct gw_head *head, struct td_buf *out)
{
	ptrdiff_t colon = td_str_chr(head->host, ':');
	struct td_str host = colon < 0 ? head->host : td_str(head->host.p, (size_t)colon);
	struct td_buf lower = { 0 };
	bool ok;

	for (size_t i = 0; i < host.len; i++)
		td_buf_addc(&lower, host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 32)
									 : host.p[i]);
	ok = conf_public_url(gw_http_conf_of(h)->conf, td_buf_str(&lower), out) &&
	     td_str_starts(td_buf_str(out), "https://");
	td_buf_fini(&lower);
	if (ok)
		td_buf_drain(out, sizeof("https://") - 1);
	return ok;
}

static void
write_xml(struct td_buf *out, struct td_str where)
{
	td_buf_addz(out, "<?xml version='1.0' encoding='utf-8'?>\n"
			 "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n");
	for (size_t i = 0; i < N_LINKS; i++) {
		td_buf_addf(out, "  <Link rel='%s' href='%s://", links[i].rel, links[i].scheme);
		td_buf_add_xml(out, where);
		td_buf_addf(out, "%s'/>\n", links[i].path);
	}
	td_buf_addz(out, "</XRD>\n");
}

static void
write_json(struct td_buf *out, struct td_str where)
{
	struct td_buf href = { 0 };

	td_buf_addz(out, "{\"links\":[");
	for (size_t i = 0; i < N_LINKS; i++) {
		td_buf_clear(&href);
		td_buf_addf(&href, "%s://%.*s%s", links[i].scheme, TD_STR_ARG(where),
			    links[i].path);
		td_buf_addf(out, "%s{\"rel\":\"%s\",\"href\":", i > 0 ? "," : "", links[i].rel);
		td_buf_add_json(out, td_buf_str(&href));
		td_buf_addc(out, '}');
	}
	td_buf_addz(out, "]}\n");
	td_buf_fini(&href);
}

void
gw_hostmeta_request(struct gw_http *h, const struct gw_head *head, struct td_str body)
{
	struct td_buf where = { 0 }, out = { 0 };
	bool json = td_str_ends(head->path, ".json");

	(void)body;
	if ((!gw_http_is_tls(h) && !gw_http_conf_of(h)->plain_discovery) ||
	    !base(h, head, &where)) {
		td_buf_fini(&where);
		gw_http_error(h, 404);
		return;
	}
	if (json)
		write_json(&out, td_buf_str(&where));
	else
		write_xml(&out, td_buf_str(&where));
	/* everyone may read this, whatever cors_origins says of the rest */
	gw_http_any_origin(h);
	gw_http_reply(h, 200, json ? "application/json" : "application/xrd+xml; charset=utf-8",
		      "Cache-Control: max-age=3600\r\n", td_buf_str(&out));
	td_buf_fini(&where);
	td_buf_fini(&out);
}
