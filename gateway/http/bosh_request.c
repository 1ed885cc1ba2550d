/* bosh_request - a POST to /http-bind: parsed here, answered by its session wherever that is.
 *
 * A sid ends in the number of the worker it was made on; that worker knows where the session is now.  So a request
 * is passed on twice at most, and no table is shared. */
#include "gateway/http/bosh.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_RID 9007199254740991 /* 14.1 */
#define MAX_KEY 64u

int64_t
gw_bosh_int(const struct xmpp_node *n, const char *name, int64_t def)
{
	struct td_str v = xmpp_node_attr(n, name);
	int64_t x = 0;

	if (v.p == NULL)
		return def;
	if (v.len == 0 || v.len > 16)
		return -1;
	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return -1;
		x = x * 10 + (v.p[i] - '0');
	}
	return x <= MAX_RID ? x : -1;
}

struct td_str
gw_bosh_xattr(const struct xmpp_node *n, const char *name)
{
	for (const struct xmpp_attr *a = n->attrs; a != NULL; a = a->next)
		if (a->ns != NULL && strcmp(a->ns, NS_XBOSH) == 0 && strcmp(a->name, name) == 0)
			return a->value;
	return TD_STR_NULL;
}

/* ---- answers ---- */

static void
request_free(struct gw_bosh_request *r)
{
	td_arena_free(r->arena);
	td_buf_fini(&r->reply);
	free(r->type);
	free(r);
}

/* On the connection's worker. */
static void
deliver(struct gw_worker *w, void *arg)
{
	struct gw_bosh_request *r = arg;

	(void)w;
	if (r->h != NULL)
		gw_http_reply(r->h, r->status,
			      r->type != NULL ? r->type : "text/xml; charset=utf-8",
			      "Cache-Control: no-store\r\n", td_buf_str(&r->reply));
	request_free(r);
}

void
gw_bosh_answer(struct gw_bosh_request *r)
{
	if (r->status == 0)
		r->status = 200;
	gw_worker_post(r->from, deliver, r);
}

void
gw_bosh_refuse(struct gw_bosh_request *r, const char *condition, bool legacy)
{
	static const struct {
		const char *condition;
		unsigned status;
	} codes[] = { { "bad-request", 400 },
		      { "policy-violation", 403 },
		      { "item-not-found", 404 } };

	td_buf_clear(&r->reply);
	if (condition == NULL) {
		td_buf_addz(&r->reply, "<body xmlns='" NS_BOSH "' type='error'/>");
	} else {
		td_buf_addf(&r->reply,
			    "<body xmlns='" NS_BOSH "' type='terminate' condition='%s'/>",
			    condition);
	}
	/* 17.1: a client without 'ver' reads nothing but the status */
	for (size_t i = 0; legacy && condition != NULL && i < 3; i++)
		if (strcmp(codes[i].condition, condition) == 0)
			r->status = codes[i].status;
	gw_bosh_answer(r);
}

/* ---- requests ---- */

/* What the session wants to know of <body/>; false: it is none. */
static bool
parse(struct gw_bosh_request *r, struct td_str text)
{
	const struct xmpp_node *n;
	const char *why = NULL;

	n = r->body = xmpp_xml_parse(r->arena, xmpp_xml_skip_declaration(text), NULL, &why);
	if (n == NULL || !xmpp_node_is(n, NS_BOSH, "body"))
		return false;
	r->sid = xmpp_node_attr(n, "sid");
	r->key = xmpp_node_attr(n, "key");
	r->newkey = xmpp_node_attr(n, "newkey");
	r->rid = gw_bosh_int(n, "rid", -1);
	r->pause = gw_bosh_int(n, "pause", -1);
	r->terminate = td_str_eqc(xmpp_node_attr(n, "type"), "terminate");
	r->restart = xmpp_is_true(gw_bosh_xattr(n, "restart"));
	r->empty = xmpp_node_child(n, NULL, NULL) == NULL && !r->terminate && !r->restart &&
		   r->pause < 0;
	return r->rid >= 0 && r->key.len <= MAX_KEY && r->newkey.len <= MAX_KEY;
}

/* The worker a sid names; NULL: no sid of ours. */
static struct gw_worker *
birthplace(const struct gw *gw, struct td_str sid)
{
	int64_t n;

	if (sid.len < 4 || sid.len >= BOSH_SID_MAX ||
	    !td_str_to_dec(td_str(sid.p + sid.len - 2, 2), 0, 99, &n))
		return NULL;
	return (unsigned)n < gw->n_workers ? gw->workers[n] : NULL;
}

void
gw_bosh_request(struct gw_http *h, const struct gw_head *head, struct td_str body)
{
	struct gw_worker *w = gw_http_worker(h), *to;
	struct gw_bosh_request *r = td_zalloc(sizeof(*r));

	(void)head;
	r->from = w;
	r->tls = gw_http_is_tls(h);
	r->arena = td_arena_new(body.len + 1024);
	gw_http_hold(h, &r->h);
	/* the tree points into the text: keep it as long */
	if (!parse(r, td_arena_str(r->arena, td_str_trim(body)))) {
		gw_bosh_refuse(r, "bad-request", false);
		return;
	}
	if (r->sid.p == NULL) {
		gw_bosh_create(w, r, gw_http_listen(h), gw_io_ops.peer(gw_http_io(h)));
		return;
	}
	to = birthplace(w->gw, r->sid);
	if (to == NULL)
		gw_bosh_refuse(r, "item-not-found", false);
	else if (to == w)
		gw_bosh_dispatch(w, r);
	else
		gw_worker_post(to, gw_bosh_dispatch, r);
}
