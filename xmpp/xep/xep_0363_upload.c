/* xep-0363 - HTTP file upload: slots for our users at domains whose service is upload.
 *
 * A slot is a row of the store (store/upload.h) under a random id; the URL is public_url, the id and the file's
 * name.  What happens at that URL is the gateway's (gateway/http/upload.c): it knows files by their id alone. */
#include "xmpp/xmpp.h"

#include <stdio.h>
#include <stdlib.h>
#include "conf/conf.h"
#include "store/upload.h"
#include "xmpp/form.h"
#include "xmpp/modules.h"
#include "xmpp/ns.h"

#define NS_UPLOAD "urn:xmpp:http:upload:0"
#define NS_PURPOSE "urn:xmpp:http:upload:purpose:0"
#define ID_LEN 40u
#define MAX_SLOTS 20u /* given out and not used, of one account */
#define MAX_NAME 255u
#define MAX_TYPE 100u

static const char *const upload_features[] = {
	NS_DISCO_INFO, NS_DISCO_ITEMS, NS_UPLOAD,  NS_PURPOSE "#message",
	NS_PING,       NS_TIME,        NS_VERSION,
};

/* A request that waits for its row. */
struct slot {
	struct xmpp_env *env;
	struct xmpp_stanza *s;
	char id[ID_LEN + 1];
	char *url;
};

static struct conf_at
at_service(const struct xmpp_stanza *s)
{
	return (struct conf_at){ .protocol = "xmpp", .domain = s->to.domain };
}

static void
refuse(struct xmpp_env *env, struct xmpp_stanza *s, enum xmpp_error e, const char *text,
       struct td_str app_xml)
{
	struct xmpp_iq iq = { .env = env, .s = s };

	xmpp_iq_error_with(&iq, e, text, app_xml);
}

static void
disco_info(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct conf_at at = at_service(s);
	struct xmpp_stanza *r;
	struct td_buf b = { 0 };

	if (xmpp_node_attr(xmpp_stanza_payload(s), "node").len > 0) {
		xmpp_bounce(env, s, XE_ITEM_NOT_FOUND, NULL);
		return;
	}
	td_buf_addz(&b, "<query xmlns='" NS_DISCO_INFO "'>"
			"<identity category='store' type='file' name='HTTP File Upload'/>");
	for (size_t i = 0; i < sizeof(upload_features) / sizeof(upload_features[0]); i++)
		td_buf_addf(&b, "<feature var='%s'/>", upload_features[i]);
	xmpp_form_open(&b, FORM_RESULT, NS_UPLOAD);
	xmpp_form_add_int(&b, NULL, "max-file-size", NULL,
			  conf_int(env->conf, &at, "max_upload_size"));
	xmpp_form_close(&b);
	td_buf_addz(&b, "</query>");
	r = xmpp_stanza_result(s);
	xmpp_stanza_append_raw(r, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_route(env, r);
}

static void
disco_items(struct xmpp_env *env, struct xmpp_stanza *s)
{
	struct xmpp_stanza *r = xmpp_stanza_result(s);

	xmpp_stanza_append_raw(r, TD_STR("<query xmlns='" NS_DISCO_ITEMS "'/>"));
	xmpp_route(env, r);
}

/* ---- what is asked for ---- */

/* A media type with parameters (RFC 9110 8.3.1), as far as it matters: it becomes a header line. */
static bool
type_ok(struct td_str t)
{
	ptrdiff_t slash = td_str_chr(t, '/');

	if (t.len > MAX_TYPE || slash <= 0 || (size_t)slash + 1 == t.len)
		return false;
	for (size_t i = 0; i < t.len; i++)
		if (t.p[i] < ' ' || t.p[i] > '~')
			return false;
	return true;
}

static struct td_str
bare_type(struct td_str t)
{
	ptrdiff_t semi = td_str_chr(t, ';');

	return td_str_trim(semi < 0 ? t : td_str(t.p, (size_t)semi));
}

/* upload_types: "image/png", or "image" with "/" and "*" for all of a kind. */
static bool
type_wanted(const struct conf *c, const struct conf_at *at, struct td_str type)
{
	size_t n;
	const struct td_str *list = conf_list(c, at, "upload_types", &n);

	type = bare_type(type);
	for (size_t i = 0; i < n; i++) {
		struct td_str w = list[i];

		if (td_str_eqc(w, "*") || td_str_eqc(w, "*/*") || td_str_ieq(w, type))
			return true;
		if (td_str_ends(w, "/*") && type.len >= w.len &&
		    td_str_ieq(td_str(w.p, w.len - 1), td_str(type.p, w.len - 1)))
			return true;
	}
	return n == 0;
}

/* The name at the end of the URL: it ends a path, so nothing of it may be one. */
static void
add_name(struct td_buf *out, struct td_str name)
{
	bool dots = true;

	for (size_t i = 0; i < name.len; i++)
		dots = dots && name.p[i] == '.';
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c == '/' || c == '\\' || (dots && c == '.'))
			td_buf_addc(out, '_');
		else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			 (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' || c == '~')
			td_buf_addc(out, (char)c);
		else
			td_buf_addf(out, "%%%02X", c);
	}
}

static void
too_large(struct xmpp_env *env, struct xmpp_stanza *s, int64_t max)
{
	struct td_buf app = { 0 };
	char text[80];

	(void)snprintf(text, sizeof(text), "File too large. The maximum file size is %lld bytes",
		       (long long)max);
	td_buf_addf(&app,
		    "<file-too-large xmlns='" NS_UPLOAD "'><max-file-size>%lld</max-file-size>"
		    "</file-too-large>",
		    (long long)max);
	refuse(env, s, XE_NOT_ACCEPTABLE, text, td_buf_str(&app));
	td_buf_fini(&app);
}

/* ---- the slot ---- */

static void
send_slot(struct slot *w)
{
	struct xmpp_stanza *r = xmpp_stanza_result(w->s);
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<slot xmlns='" NS_UPLOAD "'><put url='");
	td_buf_add_xml(&b, td_cstr(w->url));
	td_buf_addz(&b, "'/><get url='");
	td_buf_add_xml(&b, td_cstr(w->url));
	td_buf_addz(&b, "'/></slot>");
	xmpp_stanza_append_raw(r, td_buf_str(&b));
	td_buf_fini(&b);
	xmpp_route(w->env, r);
}

static void
on_row(void *arg, const struct store_result *r)
{
	struct slot *w = arg;
	struct td_buf app = { 0 };
	char stamp[32];

	if (r->rc == 0) {
		send_slot(w);
	} else if (r->rc == TD_E_FULL && r->id > 0) {
		td_stamp(r->id, stamp);
		td_buf_addf(&app, "<retry xmlns='" NS_UPLOAD "' stamp='%s'/>", stamp);
		refuse(w->env, w->s, XE_RESOURCE_CONSTRAINT, "Quota reached", td_buf_str(&app));
	} else if (r->rc == TD_E_FULL) {
		refuse(w->env, w->s, XE_RESOURCE_CONSTRAINT, "Quota reached", TD_STR_NULL);
	} else {
		refuse(w->env, w->s, XE_INTERNAL_SERVER_ERROR, NULL, TD_STR_NULL);
	}
	td_buf_fini(&app);
	xmpp_stanza_unref(&w->s);
	free(w->url);
	free(w);
}

static void
make_slot(struct xmpp_env *env, struct xmpp_stanza *s, const struct store_upload *wanted)
{
	struct conf_at at = at_service(s);
	struct store_upload_limits lim = {
		.quota = (uint64_t)conf_int(env->conf, &at, "upload_quota"),
		.daily = (uint64_t)conf_int(env->conf, &at, "upload_quota_daily"),
		.slots = MAX_SLOTS,
	};
	int64_t keep = conf_int(env->conf, &at, "upload_expire");
	struct store_upload u = *wanted;
	struct td_buf url = { 0 };
	struct slot *w;

	if (!conf_public_url(env->conf, s->to.domain, &url)) {
		td_log_warn(&env->log, "upload-no-url", "domain=%s hint=set-public_url",
			    td_esc(s->to.domain));
		refuse(env, s, XE_SERVICE_UNAVAILABLE, "There is no public_url", TD_STR_NULL);
		return;
	}
	w = td_zalloc(sizeof(*w));
	w->env = env;
	w->s = xmpp_stanza_ref(s);
	td_random_id(w->id, ID_LEN);
	td_buf_addf(&url, "/upload/%s/", w->id);
	add_name(&url, u.name);
	w->url = td_buf_cstr(&url); /* the buffer's memory goes with it */
	u.id = td_cstr(w->id);
	u.service = s->to.domain;
	u.owner = s->from.bare;
	u.expires = (int64_t)td_wall_ms() + STORE_UPLOAD_SLOT_MS;
	u.keep_ms =
		keep == 0 || keep > STORE_UPLOAD_NEVER / 1000 ? STORE_UPLOAD_NEVER : keep * 1000;
	store_upload_add(env->store, &u, &lim, (struct store_to){ env->loop, on_row, w });
}

static void
request(struct xmpp_env *env, struct xmpp_stanza *s)
{
	const struct xmpp_node *p = xmpp_stanza_payload(s);
	struct conf_at at = at_service(s);
	int64_t max = conf_int(env->conf, &at, "max_upload_size"), size = 0;
	struct store_upload u = { .name = xmpp_node_attr(p, "filename"),
				  .type = xmpp_node_attr(p, "content-type") };

	if (s->from.local.p == NULL || !(s->flags & XF_FROM_CLIENT) ||
	    env->host->domain(env, s->from.domain) != XD_LOCAL) {
		refuse(env, s, XE_FORBIDDEN, "Only users of this server may upload", TD_STR_NULL);
		return;
	}
	if (u.name.len == 0 || u.name.len > MAX_NAME ||
	    !td_str_to_dec(xmpp_node_attr(p, "size"), 1, INT64_MAX, &size) ||
	    (u.type.len > 0 && !type_ok(u.type))) {
		refuse(env, s, XE_BAD_REQUEST, "filename and size are needed", TD_STR_NULL);
		return;
	}
	if (size > max) {
		too_large(env, s, max);
		return;
	}
	if (!type_wanted(env->conf, &at, u.type)) {
		refuse(env, s, XE_NOT_ACCEPTABLE, "Files of this type are not taken", TD_STR_NULL);
		return;
	}
	u.size = (uint64_t)size;
	make_slot(env, s, &u);
}

static void
upload_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	const struct xmpp_node *p = s->kind == XK_IQ && s->type == XT_GET && s->to.local.p == NULL
					    ? xmpp_stanza_payload(s)
					    : NULL;

	if (p != NULL && s->from.full.p != NULL && xmpp_node_is(p, NS_UPLOAD, "request")) {
		request(env, s);
	} else if (p != NULL && xmpp_node_is(p, NS_DISCO_INFO, "query")) {
		disco_info(env, s);
	} else if (p != NULL && xmpp_node_is(p, NS_DISCO_ITEMS, "query")) {
		disco_items(env, s);
	} else {
		xmpp_deliver_server(env, s); /* ping, version, time, and the error for the rest */
		return;
	}
	xmpp_stanza_unref(&s);
}

const struct xmpp_module xep_0363_upload = {
	.name = "xep-0363-upload",
	.xep = "0363",
	.doc = "Slots to upload files over HTTP, at domains whose service is upload; the files are "
	       "the http_listener's",
	.version = "1.2.0",
	.service = "upload",
	.service_deliver = upload_deliver,
};
