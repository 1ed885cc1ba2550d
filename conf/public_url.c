/* public_url - where clients reach the http_listener: as configured, or guessed from the listeners. */
#include "conf/conf.h"

/* The port of the first Listen with TLS; 0 = there is none. */
static int
tls_port(const struct conf *c)
{
	const struct conf_scope *l = NULL, *s;
	int64_t port;

	while ((l = conf_next(c, NULL, "http_listener", l)) != NULL)
		for (s = NULL; (s = conf_next(c, l, "listen", s)) != NULL;) {
			struct conf_at at = { .scope = s };
			struct td_str name = conf_scope_name(s);
			const char *colon = memrchr(name.p, ':', name.len);

			if (colon != NULL && conf_bool(c, &at, "enable") &&
			    conf_bool(c, &at, "use_ssl") &&
			    td_str_to_dec(
				    td_str(colon + 1, (size_t)(name.p + name.len - colon - 1)), 1,
				    65535, &port))
				return (int)port;
		}
	return 0;
}

bool
conf_public_url(const struct conf *c, struct td_str domain, struct td_buf *out)
{
	struct conf_at at = { .protocol = "xmpp", .domain = domain };
	struct td_str url = conf_str(c, &at, "public_url");
	int port;

	while (url.len > 0 && url.p[url.len - 1] == '/')
		url.len--;
	if (url.len > 0) {
		td_buf_adds(out, url);
		return true;
	}
	port = tls_port(c);
	if (port == 0)
		return false;
	td_buf_addf(out, "https://%.*s", TD_STR_ARG(domain));
	if (port != 443)
		td_buf_addf(out, ":%d", port);
	return true;
}
