/* mam_query - questions to an archive (XEP-0313 sections 4 and 5, XEP-0431): the form is read,
 * the store asked, the page sent message by message, then the result. */
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "xmpp/form.h"
#include "xmpp/im.h"
#include "xmpp/message.h"
#include "xmpp/rsm.h"
#include "xmpp/xep/mam_priv.h"

#define PAGE 50u
#define PAGE_MAX 250u
#define IDS_MAX 250u
#define NS_VALIDATE "http://jabber.org/protocol/xdata-validate"
#define FULLTEXT "{urn:xmpp:fulltext:0}fulltext"

struct query {
	struct mam_call call;
	struct xmpp_env *env;
	struct xmpp_stanza *s; /* the iq */
	struct td_str owner;   /* these live in <a> */
	struct td_str queryid;
	struct xmpp_mam_view view;
	struct td_arena *a;
	bool flip, count;
};

/* ---- reading the question ---- */

struct reading {
	struct xmpp_env *env;
	struct td_arena *a;
	struct td_str owner;
	struct store_archive_query *q;
	uint64_t must[3 + IDS_MAX];
	uint64_t ids[IDS_MAX];
};

/* Every id asked by must be there. */
static enum xmpp_error
read_id(struct reading *r, struct td_str name, uint64_t *id)
{
	if (!store_archive_named(r->env->store, r->owner, name, id))
		return XE_ITEM_NOT_FOUND;
	r->must[r->q->n_must_exist++] = *id;
	return XE_COUNT;
}

static void
not_before(struct store_archive_query *q, uint64_t id)
{
	if (id > q->from)
		q->from = id;
}

static void
not_after(struct store_archive_query *q, uint64_t id)
{
	if (q->to == 0 || id < q->to)
		q->to = id > 0 ? id : 1;
}

static enum xmpp_error
read_start(struct reading *r, const struct xmpp_form_field *f)
{
	uint64_t ms;

	if (f->n != 1 || !td_stamp_parse(f->values[0], &ms))
		return XE_BAD_REQUEST;
	not_before(r->q, store_archive_first(ms));
	return XE_COUNT;
}

static enum xmpp_error
read_end(struct reading *r, const struct xmpp_form_field *f)
{
	uint64_t ms;

	if (f->n != 1 || !td_stamp_parse(f->values[0], &ms))
		return XE_BAD_REQUEST;
	/* a stamp of whole seconds, as clients write it, means all of that second's beginning */
	not_after(r->q, store_archive_first(ms + 1) - 1);
	return XE_COUNT;
}

static enum xmpp_error
read_with(struct reading *r, const struct xmpp_form_field *f)
{
	struct xmpp_jid j;

	if (f->n != 1)
		return XE_BAD_REQUEST;
	if (xmpp_jid_parse(r->a, td_str_trim(f->values[0]), &j, NULL) < 0)
		return XE_JID_MALFORMED;
	r->q->with = j.bare;
	r->q->with_resource = j.resource;
	return XE_COUNT;
}

static enum xmpp_error
read_after_id(struct reading *r, const struct xmpp_form_field *f)
{
	uint64_t id;
	enum xmpp_error e = f->n == 1 ? read_id(r, f->values[0], &id) : XE_BAD_REQUEST;

	if (e == XE_COUNT)
		not_before(r->q, id + 1);
	return e;
}

static enum xmpp_error
read_before_id(struct reading *r, const struct xmpp_form_field *f)
{
	uint64_t id;
	enum xmpp_error e = f->n == 1 ? read_id(r, f->values[0], &id) : XE_BAD_REQUEST;

	if (e == XE_COUNT)
		not_after(r->q, id - 1);
	return e;
}

static enum xmpp_error
read_ids(struct reading *r, const struct xmpp_form_field *f)
{
	if (f->n > IDS_MAX)
		return XE_POLICY_VIOLATION;
	for (size_t i = 0; i < f->n; i++) {
		enum xmpp_error e = read_id(r, f->values[i], &r->ids[r->q->n_ids]);

		if (e != XE_COUNT)
			return e;
		r->q->n_ids++;
	}
	r->q->ids = r->ids;
	return XE_COUNT;
}

static enum xmpp_error
read_groupchat(struct reading *r, const struct xmpp_form_field *f)
{
	struct xmpp_form one = { .fields = (struct xmpp_form_field *)(uintptr_t)f, .n = 1 };
	bool yes = true;

	if (!xmpp_form_bool(&one, "include-groupchat", &yes))
		return XE_BAD_REQUEST;
	r->q->no_groupchat = !yes;
	return XE_COUNT;
}

static enum xmpp_error
read_fulltext(struct reading *r, const struct xmpp_form_field *f)
{
	if (f->n > 1 || (f->n == 1 && f->values[0].len > 1000))
		return XE_BAD_REQUEST;
	if (f->n == 1 && td_str_trim(f->values[0]).len > 0)
		r->q->text = f->values[0];
	return XE_COUNT;
}

static const struct {
	const char *var, *type;
	enum xmpp_error (*read)(struct reading *r, const struct xmpp_form_field *f);
} fields[] = {
	{ "with", "jid-single", read_with },
	{ "start", "text-single", read_start },
	{ "end", "text-single", read_end },
	{ "before-id", "text-single", read_before_id },
	{ "after-id", "text-single", read_after_id },
	{ "ids", "list-multi", read_ids },
	{ "include-groupchat", "boolean", read_groupchat },
	{ FULLTEXT, "text-single", read_fulltext },
};

static enum xmpp_error
read_form(struct reading *r, const struct xmpp_node *x)
{
	struct xmpp_form form;

	if (xmpp_form_read(r->a, x, &form) < 0 || form.kind != FORM_SUBMIT ||
	    !td_str_eqc(form.type, NS_MAM))
		return XE_BAD_REQUEST;
	for (size_t i = 0; i < form.n; i++) {
		enum xmpp_error e = XE_FEATURE_NOT_IMPLEMENTED;

		if (td_str_eqc(form.fields[i].var, "FORM_TYPE"))
			continue;
		for (size_t k = 0; k < sizeof(fields) / sizeof(fields[0]); k++)
			if (td_str_eqc(form.fields[i].var, fields[k].var))
				e = fields[k].read(r, &form.fields[i]);
		if (e != XE_COUNT)
			return e;
	}
	return XE_COUNT;
}

/* after and before page through what the form selects. */
static enum xmpp_error
read_page(struct reading *r, const struct xmpp_node *payload)
{
	struct xmpp_rsm rsm;
	enum xmpp_error e = XE_COUNT;
	uint64_t id;

	if (!xmpp_rsm_read(payload, r->a, &rsm))
		return XE_BAD_REQUEST;
	if (rsm.index >= 0)
		return XE_FEATURE_NOT_IMPLEMENTED;
	r->q->max = xmpp_rsm_limit(&rsm, PAGE, PAGE_MAX);
	r->q->count = rsm.max == 0;
	r->q->backwards = rsm.before.p != NULL;
	if (rsm.after.len > 0 && (e = read_id(r, rsm.after, &id)) == XE_COUNT)
		not_before(r->q, id + 1);
	if (e == XE_COUNT && rsm.before.len > 0 && (e = read_id(r, rsm.before, &id)) == XE_COUNT)
		not_after(r->q, id - 1);
	return e;
}

/* ---- answering ---- */

static void
query_free(struct query *q)
{
	xmpp_stanza_unref(&q->s);
	td_arena_free(q->a);
}

static void
send_row(struct query *q, const struct store_archived *row)
{
	struct xmpp_jid from = xmpp_jid_view(q->owner);
	char name[STORE_ARCHIVE_NAME + 1], stamp[32], id[17];
	struct xmpp_stanza *s;
	struct td_buf b = { 0 };

	store_archive_name(q->env->store, q->owner, row->id, name);
	td_stamp(store_archive_when(row->id), stamp);
	td_buf_addz(&b, "<result xmlns='" NS_MAM "'");
	if (q->queryid.p != NULL) {
		td_buf_addz(&b, " queryid='");
		td_buf_add_xml(&b, q->queryid);
		td_buf_addc(&b, '\'');
	}
	td_buf_addf(&b,
		    " id='%s'><forwarded xmlns='" NS_FORWARD "'><delay xmlns='" NS_DELAY
		    "' stamp='%s'/>",
		    name, stamp);
	if (q->view.write == NULL) {
		td_buf_adds(&b, row->stanza);
	} else if (!q->view.write(q->view.arg, row, &b)) {
		td_buf_fini(&b);
		return;
	}
	td_buf_addz(&b, "</forwarded></result>");
	s = xmpp_stanza_new(XK_MESSAGE, XT_NONE);
	td_random_id(id, 16);
	xmpp_stanza_set_id(s, td_cstr(id));
	xmpp_stanza_set_from(s, &from);
	xmpp_stanza_set_to(s, &q->s->from);
	xmpp_stanza_append_raw(s, td_buf_str(&b));
	s->flags |= XF_COPY | XF_NO_BOUNCE;
	xmpp_route(q->env, s);
	td_buf_fini(&b);
}

static void
send_fin(struct query *q, const struct store_archived *rows, size_t n, bool complete, int64_t count)
{
	struct xmpp_iq iq = { .env = q->env, .s = q->s };
	char first[STORE_ARCHIVE_NAME + 1], last[STORE_ARCHIVE_NAME + 1];
	struct td_buf b = { 0 };

	td_buf_addf(&b, "<fin xmlns='" NS_MAM "'%s>", complete ? " complete='true'" : "");
	if (n > 0) {
		store_archive_name(q->env->store, q->owner, rows[0].id, first);
		store_archive_name(q->env->store, q->owner, rows[n - 1].id, last);
	}
	xmpp_rsm_write(&b, n > 0 ? td_cstr(first) : TD_STR_NULL, -1,
		       n > 0 ? td_cstr(last) : TD_STR_NULL, count);
	td_buf_addz(&b, "</fin>");
	xmpp_iq_result(&iq, td_buf_str(&b));
	td_buf_fini(&b);
}

static void
refuse(struct query *q, const struct store_result *r)
{
	struct xmpp_iq iq = { .env = q->env, .s = q->s };

	if (r->rc != TD_E_NOTFOUND)
		td_log_error(&q->env->log, "archive-read-failed", "owner=%s error=%s",
			     td_esc(q->owner), td_escz(r->error));
	xmpp_iq_error(&iq, r->rc == TD_E_NOTFOUND ? XE_ITEM_NOT_FOUND : XE_INTERNAL_SERVER_ERROR,
		      NULL);
}

static void
on_page(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	bool complete)
{
	struct query *q = arg;
	bool gone = q->call.m == NULL;

	mam_call_end(&q->call);
	if (!gone && r->rc < 0) {
		refuse(q, r);
	} else if (!gone) {
		for (size_t i = 0; i < n; i++)
			send_row(q, &rows[q->flip ? n - 1 - i : i]);
		send_fin(q, rows, n, complete, q->count ? (int64_t)r->id : -1);
	}
	query_free(q);
}

static void
add_end(struct query *q, struct td_buf *b, const char *name, uint64_t id)
{
	char text[STORE_ARCHIVE_NAME + 1], stamp[32];

	store_archive_name(q->env->store, q->owner, id, text);
	td_stamp(store_archive_when(id), stamp);
	td_buf_addf(b, "<%s id='%s' timestamp='%s'/>", name, text, stamp);
}

static void
on_ends(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	bool complete)
{
	struct query *q = arg;
	struct xmpp_iq iq = { .env = q->env, .s = q->s };
	bool gone = q->call.m == NULL;
	struct td_buf b = { 0 };

	(void)complete;
	mam_call_end(&q->call);
	if (!gone && r->rc < 0) {
		refuse(q, r);
	} else if (!gone) {
		td_buf_addz(&b, "<metadata xmlns='" NS_MAM "'>");
		if (n > 0) {
			add_end(q, &b, "start", rows[0].id);
			add_end(q, &b, "end", rows[n - 1].id);
		}
		td_buf_addz(&b, "</metadata>");
		xmpp_iq_result(&iq, td_buf_str(&b));
		td_buf_fini(&b);
	}
	query_free(q);
}

/* ---- the ends, for a session that is being bound ---- */

static void
add_bound_end(const struct mam_ends *e, struct xmpp_env *env, struct td_buf *b, const char *name,
	      uint64_t id)
{
	char text[STORE_ARCHIVE_NAME + 1], stamp[32];

	store_archive_name(env->store, e->owner, id, text);
	td_stamp(store_archive_when(id), stamp);
	td_buf_addf(b, "<%s id='%s' timestamp='%s'/>", name, text, stamp);
}

static void
on_bound_ends(void *arg, const struct store_result *r, const struct store_archived *rows, size_t n,
	      bool complete)
{
	struct mam_ends *e = arg;
	struct xmpp_env *env = e->call.m != NULL ? e->call.m->env : NULL;
	uint64_t first = e->first, last = e->last;
	struct td_buf b = { 0 };

	(void)complete;
	if (env != NULL)
		LIST_REMOVE(e, link);
	mam_call_end(&e->call);
	if (env != NULL && r->rc >= 0) {
		if (n > 0) {
			first = rows[0].id;
			last = rows[n - 1].id > last ? rows[n - 1].id : last;
		}
		td_buf_addz(&b, "<metadata xmlns='" NS_MAM "'>");
		if (first != 0) {
			add_bound_end(e, env, &b, "start", first);
			add_bound_end(e, env, &b, "end", last);
		}
		td_buf_addz(&b, "</metadata>");
	}
	e->done(env, td_buf_str(&b), e->arg);
	td_buf_fini(&b);
	free(e);
}

void
xmpp_mam_metadata(struct xmpp_env *env, struct td_str owner, struct td_str domain,
		  xmpp_mam_metadata_fn *done, void *arg)
{
	struct mam *m = env->module_data[XMPP_SLOT_MAM];
	struct mam_ends *e;

	if (!mam_is_on(m, domain)) {
		done(env, TD_STR_NULL, arg);
		return;
	}
	mam_flush(m);
	e = td_zalloc(sizeof(*e) + owner.len);
	memcpy(e->text, owner.p, owner.len);
	e->owner = td_str(e->text, owner.len);
	e->done = done;
	e->arg = arg;
	LIST_INSERT_HEAD(&m->ends, e, link);
	mam_call_begin(&e->call, m);
	store_archive_ends(env->store, owner, env->loop, on_bound_ends, e);
}

static int
send_fields(struct xmpp_iq *iq)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<query xmlns='" NS_MAM "'>");
	xmpp_form_open(&b, FORM_FORM, NS_MAM);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(fields[i].var, "ids") != 0) {
			xmpp_form_add(&b, fields[i].type, fields[i].var, NULL, NULL, 0, NULL);
			continue;
		}
		td_buf_addz(&b, "<field type='list-multi' var='ids'><validate xmlns='" NS_VALIDATE
				"' datatype='xs:string'><open/></validate></field>");
	}
	xmpp_form_close(&b);
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static struct query *
query_new(struct xmpp_iq *iq, struct td_str owner, const struct xmpp_mam_view *view)
{
	struct td_arena *a = td_arena_new(1024);
	struct query *q = td_arena_zalloc(a, sizeof(*q));

	q->a = a;
	q->env = iq->env;
	q->s = xmpp_stanza_ref(iq->s);
	q->owner = td_arena_str(a, owner);
	q->queryid = td_arena_str(a, xmpp_node_attr(iq->payload, "queryid"));
	q->flip = xmpp_node_child(iq->payload, NS_MAM, "flip-page") != NULL;
	if (view != NULL) {
		void *arg = td_arena_alloc(a, view->arg_len + 1);

		if (view->arg_len > 0)
			memcpy(arg, view->arg, view->arg_len);
		q->view = *view;
		q->view.arg = arg;
	}
	return q;
}

int
xmpp_mam_answer(struct xmpp_iq *iq, struct td_str owner, const struct xmpp_mam_view *view)
{
	struct mam *m = iq->env->module_data[XMPP_SLOT_MAM];
	struct store_archive_query sq = { .owner = owner };
	const struct xmpp_node *x;
	enum xmpp_error e = XE_COUNT;
	struct reading *r;
	struct query *q;

	mam_flush(m); /* what was just said is to be found */
	if (iq->s->type == XT_GET && xmpp_node_is(iq->payload, NS_MAM, "query"))
		return send_fields(iq);
	if (iq->s->type == XT_GET && xmpp_node_is(iq->payload, NS_MAM, "metadata")) {
		q = query_new(iq, owner, NULL);
		mam_call_begin(&q->call, m);
		store_archive_ends(iq->env->store, owner, iq->env->loop, on_ends, q);
		return XMPP_LATER;
	}
	if (iq->s->type != XT_SET || !xmpp_node_is(iq->payload, NS_MAM, "query"))
		return XMPP_PASS;
	q = query_new(iq, owner, view);
	r = td_arena_zalloc(q->a, sizeof(*r));
	*r = (struct reading){ .env = iq->env, .a = q->a, .owner = owner, .q = &sq };
	sq.must_exist = r->must;
	if (xmpp_node_attr(iq->payload, "node").len > 0)
		e = XE_ITEM_NOT_FOUND;
	else if ((x = xmpp_form_find(iq->payload)) != NULL)
		e = read_form(r, x);
	if (e == XE_COUNT)
		e = read_page(r, iq->payload);
	if (e == XE_COUNT && view != NULL && view->no_with && sq.with.p != NULL)
		e = XE_FORBIDDEN;
	if (e != XE_COUNT) {
		xmpp_iq_error(iq, e, NULL);
		query_free(q);
		return XMPP_DONE;
	}
	q->count = sq.count;
	mam_call_begin(&q->call, m);
	store_archive_get(iq->env->store, &sq, iq->env->loop, on_page, q);
	return XMPP_LATER;
}
