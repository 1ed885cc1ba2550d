/* xep-0055 - search: a directory of users at a domain with service = "search".
 *
 * Nobody is in it who did not put himself there, by registering with it (XEP-0077).  Only users of this server may
 * look or register.  Stanzas come on the worker that owns the domain; the store answers there. */
#include <stdlib.h>
#include "gateway/base/err.h"
#include "store/directory.h"
#include "xmpp/form.h"
#include "xmpp/modules.h"

#define NS_SEARCH "jabber:iq:search"
#define RESULTS_MAX 50u
#define FIELD_MAX 256u /* bytes of a field */

static const struct {
	const char *name, *label;
} fields[STORE_DIR_FIELDS] = {
	[STORE_DIR_FIRST] = { "first", "Given name" },
	[STORE_DIR_LAST] = { "last", "Family name" },
	[STORE_DIR_NICK] = { "nick", "Nickname" },
	[STORE_DIR_EMAIL] = { "email", "Mail address" },
};

struct call {
	LIST_ENTRY(call) link;
	struct xmpp_env *env; /* NULL: it went */
	struct xmpp_stanza *s;
	bool form; /* asked in a form, answered in one */
};
LIST_HEAD(calls, call);

static struct call *
call_new(struct xmpp_iq *iq, bool form)
{
	struct call *c = td_alloc(sizeof(*c));

	c->env = iq->env;
	c->s = xmpp_stanza_ref(iq->s);
	c->form = form;
	LIST_INSERT_HEAD((struct calls *)iq->env->module_data[XMPP_SLOT_SEARCH], c, link);
	return c;
}

static void
call_free(struct call *c)
{
	if (c->env != NULL)
		LIST_REMOVE(c, link);
	xmpp_stanza_unref(&c->s);
	free(c);
}

/* ---- reading ---- */

/* What was filled in, in elements or in a form; false: answered with an error. */
static bool
read_entry(struct xmpp_iq *iq, struct store_dir_entry *e, bool *form)
{
	struct xmpp_node *x = xmpp_form_find(iq->payload);
	struct xmpp_form f;
	size_t filled = 0;

	*form = x != NULL;
	*e = (struct store_dir_entry){ 0 };
	if (x != NULL && (xmpp_form_read(iq->s->arena, x, &f) < 0 || f.kind != FORM_SUBMIT)) {
		xmpp_iq_error(iq, XE_BAD_REQUEST, NULL);
		return false;
	}
	for (size_t i = 0; i < STORE_DIR_FIELDS; i++) {
		const struct xmpp_node *n =
			x == NULL ? xmpp_node_child(iq->payload, iq->payload->ns, fields[i].name)
				  : NULL;
		struct td_str v = x != NULL   ? xmpp_form_value(&f, fields[i].name)
				  : n != NULL ? xmpp_node_text(iq->s->arena, n)
					      : TD_STR_NULL;

		e->fields[i] = td_str_trim(v);
		filled += e->fields[i].len > 0;
		if (e->fields[i].len > FIELD_MAX) {
			xmpp_iq_error(iq, XE_NOT_ACCEPTABLE, "A field is too long.");
			return false;
		}
	}
	if (filled == 0)
		xmpp_iq_error(iq, XE_NOT_ACCEPTABLE, "Fill in at least one field.");
	return filled > 0;
}

/* ---- search ---- */

static void
write_blank_form(struct td_buf *b, const char *form_type, const char *title)
{
	xmpp_form_open(b, FORM_FORM, form_type);
	xmpp_form_title(b, title, NULL);
	for (size_t i = 0; i < STORE_DIR_FIELDS; i++)
		xmpp_form_add1(b, "text-single", fields[i].name, fields[i].label, TD_STR_NULL);
	xmpp_form_close(b);
}

static int
search_get(struct xmpp_iq *iq)
{
	struct td_buf b = { 0 };

	td_buf_addz(&b, "<query xmlns='" NS_SEARCH "'><instructions>Fill in one or more fields; "
			"* stands for any text.</instructions>");
	for (size_t i = 0; i < STORE_DIR_FIELDS; i++)
		td_buf_addf(&b, "<%s/>", fields[i].name);
	write_blank_form(&b, NS_SEARCH, "Search for people");
	td_buf_addz(&b, "</query>");
	xmpp_iq_result(iq, td_buf_str(&b));
	td_buf_fini(&b);
	return XMPP_DONE;
}

static void
write_items(struct td_buf *b, const struct store_dir_entry *e, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		td_buf_addz(b, "<item jid='");
		td_buf_add_xml(b, e[i].jid);
		td_buf_addz(b, "'>");
		for (size_t f = 0; f < STORE_DIR_FIELDS; f++) {
			td_buf_addf(b, "<%s>", fields[f].name);
			td_buf_add_xml(b, e[i].fields[f]);
			td_buf_addf(b, "</%s>", fields[f].name);
		}
		td_buf_addz(b, "</item>");
	}
}

static void
write_result_form(struct td_buf *b, const struct store_dir_entry *e, size_t n)
{
	xmpp_form_open(b, FORM_RESULT, NS_SEARCH);
	td_buf_addz(b, "<reported><field var='jid' label='Address' type='jid-single'/>");
	for (size_t f = 0; f < STORE_DIR_FIELDS; f++)
		td_buf_addf(b, "<field var='%s' label='%s' type='text-single'/>", fields[f].name,
			    fields[f].label);
	td_buf_addz(b, "</reported>");
	for (size_t i = 0; i < n; i++) {
		td_buf_addz(b, "<item>");
		xmpp_form_add1(b, NULL, "jid", NULL, e[i].jid);
		for (size_t f = 0; f < STORE_DIR_FIELDS; f++)
			xmpp_form_add1(b, NULL, fields[f].name, NULL, e[i].fields[f]);
		td_buf_addz(b, "</item>");
	}
	xmpp_form_close(b);
}

static void
on_found(void *arg, const struct store_result *r, const struct store_dir_entry *e, size_t n)
{
	struct call *c = arg;
	struct xmpp_iq iq = { .env = c->env, .s = c->s };
	struct td_buf b = { 0 };

	if (c->env != NULL && r->rc < 0) {
		xmpp_iq_error(&iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else if (c->env != NULL) {
		td_buf_addz(&b, "<query xmlns='" NS_SEARCH "'>");
		if (c->form)
			write_result_form(&b, e, n);
		else
			write_items(&b, e, n);
		td_buf_addz(&b, "</query>");
		xmpp_iq_result(&iq, td_buf_str(&b));
		td_buf_fini(&b);
	}
	call_free(c);
}

static int
search_set(struct xmpp_iq *iq)
{
	struct store_dir_entry like;
	bool form;

	if (!read_entry(iq, &like, &form))
		return XMPP_DONE;
	store_dir_find(iq->env->store, &like, RESULTS_MAX, iq->env->loop, on_found,
		       call_new(iq, form));
	return XMPP_LATER;
}

/* ---- being in it ---- */

static void
on_mine(void *arg, const struct store_result *r, const struct store_dir_entry *e, size_t n)
{
	struct call *c = arg;
	struct xmpp_iq iq = { .env = c->env, .s = c->s };
	struct td_buf b = { 0 };

	if (c->env != NULL && r->rc < 0) {
		xmpp_iq_error(&iq, XE_INTERNAL_SERVER_ERROR, NULL);
	} else if (c->env != NULL) {
		td_buf_addz(&b, "<query xmlns='" NS_REGISTER "'>");
		if (n > 0)
			td_buf_addz(&b, "<registered/>");
		td_buf_addz(&b, "<instructions>What others may find you by.</instructions>");
		for (size_t f = 0; f < STORE_DIR_FIELDS; f++) {
			td_buf_addf(&b, "<%s>", fields[f].name);
			if (n > 0)
				td_buf_add_xml(&b, e[0].fields[f]);
			td_buf_addf(&b, "</%s>", fields[f].name);
		}
		td_buf_addz(&b, "</query>");
		xmpp_iq_result(&iq, td_buf_str(&b));
		td_buf_fini(&b);
	}
	call_free(c);
}

static int
register_get(struct xmpp_iq *iq)
{
	store_dir_get(iq->env->store, iq->s->from.bare, iq->env->loop, on_mine,
		      call_new(iq, false));
	return XMPP_LATER;
}

static void
on_written(void *arg, const struct store_result *r)
{
	struct call *c = arg;
	struct xmpp_iq iq = { .env = c->env, .s = c->s };

	if (c->env != NULL && r->rc < 0)
		xmpp_iq_error(&iq,
			      r->rc == TD_E_FULL       ? XE_RESOURCE_CONSTRAINT
			      : r->rc == TD_E_NOTFOUND ? XE_FORBIDDEN
						       : XE_INTERNAL_SERVER_ERROR,
			      NULL);
	else if (c->env != NULL)
		xmpp_iq_result(&iq, TD_STR_NULL);
	call_free(c);
}

static int
register_set(struct xmpp_iq *iq)
{
	struct store_dir_entry e;
	bool form;

	if (xmpp_node_child(iq->payload, NS_REGISTER, "remove") != NULL) {
		store_dir_delete(
			iq->env->store, iq->s->from.bare,
			(struct store_to){ iq->env->loop, on_written, call_new(iq, false) });
		return XMPP_LATER;
	}
	if (!read_entry(iq, &e, &form))
		return XMPP_DONE;
	e.jid = iq->s->from.bare;
	store_dir_set(iq->env->store, &e,
		      (struct store_to){ iq->env->loop, on_written, call_new(iq, form) });
	return XMPP_LATER;
}

/* ---- the service ---- */

static int
disco_info(struct xmpp_iq *iq)
{
	return xmpp_service_info(
		iq, TD_STR("<identity category='directory' type='user' name='Directory'/>"
			   "<feature var='" NS_DISCO_INFO "'/>"
			   "<feature var='" NS_DISCO_ITEMS "'/>"
			   "<feature var='" NS_SEARCH "'/>"
			   "<feature var='" NS_REGISTER "'/>"));
}

static const struct xmpp_iq_entry requests[] = {
	{ NS_DISCO_INFO, "query", IQ_GET, disco_info },
	{ NS_DISCO_ITEMS, "query", IQ_GET, xmpp_service_no_items },
	{ NS_SEARCH, "query", IQ_GET | IQ_FROM_CLIENT, search_get },
	{ NS_SEARCH, "query", IQ_SET | IQ_FROM_CLIENT, search_set },
	{ NS_REGISTER, "query", IQ_GET | IQ_FROM_CLIENT, register_get },
	{ NS_REGISTER, "query", IQ_SET | IQ_FROM_CLIENT, register_set },
	{ 0 },
};

static void
search_deliver(struct xmpp_env *env, struct xmpp_stanza *s)
{
	xmpp_service_serve(env, s, requests);
}

static void
search_start(struct xmpp_env *env)
{
	struct calls *calls = td_alloc(sizeof(*calls));

	LIST_INIT(calls);
	env->module_data[XMPP_SLOT_SEARCH] = calls;
}

static void
search_stop(struct xmpp_env *env)
{
	struct calls *calls = env->module_data[XMPP_SLOT_SEARCH];
	struct call *c;

	while ((c = LIST_FIRST(calls)) != NULL) { /* the store will still answer */
		LIST_REMOVE(c, link);
		c->env = NULL;
	}
	free(calls);
	env->module_data[XMPP_SLOT_SEARCH] = NULL;
}

const struct xmpp_module xep_0055_search = {
	.name = "xep-0055-search",
	.xep = "0055",
	.doc = "A directory (service = \"search\") of users who registered with it, for users of "
	       "this server",
	.version = "1.3",
	.start = search_start,
	.stop = search_stop,
	.service = "search",
	.service_deliver = search_deliver,
};
