/* fuzz_load - any bytes as the body of an import (gateway/move.h): whatever it is, each account in it is answered once,
 * and what goes to the store is as the store's other callers make it.  The store is ours: it keeps the calls until all
 * was read, then has or has not the account, or fails when its name begins with "io". */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/move.h"
#include "store/move.h"
#include "xmpp/xep/pubsub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct store_to to[4096];
	int rc[4096];
	size_t n;
	struct td_buf out; /* the answer */
	int ended;
} now;

static void
must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- what an account is made of ---- */

static void
must_be_jid(struct td_str s, bool bare)
{
	struct td_arena *a = td_arena_new(0);
	struct xmpp_jid j;

	must(xmpp_jid_parse(a, s, &j, NULL) == 0 && td_str_eq(j.full, s));
	must(!bare || xmpp_jid_is_bare(&j));
	td_arena_free(a);
}

/* One element of that name; NULL = any. */
static void
must_be_xml(struct td_str s, const char *name)
{
	struct td_arena *a = td_arena_new(0);
	const struct xmpp_node *n = xmpp_xml_parse(a, s, NULL, NULL);

	must(n != NULL && (name == NULL || xmpp_node_is(n, NS_CLIENT, name)));
	td_arena_free(a);
}

static void
check_contact(const struct store_contact *c)
{
	must_be_jid(c->jid, true);
	must(td_utf8_valid(c->name) && c->name.len <= 1023);
	for (size_t i = 0; i < c->n_groups; i++) {
		must(c->groups[i].len > 0 && c->groups[i].len <= 1023);
		for (size_t k = 0; k < i; k++)
			must(!td_str_eq(c->groups[i], c->groups[k]));
	}
	must((c->flags & STORE_ROSTER_ASK) == 0 || (c->sub & STORE_SUB_TO) == 0);
	must((c->flags & STORE_ROSTER_APPROVED) == 0 || (c->sub & STORE_SUB_FROM) == 0);
}

static void
check_change(const struct store_ps_change *c)
{
	must(c->node.len > 0 && c->node.len <= PS_NAME_MAX);
	must(c->key.len > 0);
	if (c->verb == PS_ITEM_SET) {
		must_be_jid(c->who, true);
		if (c->value.len > 0)
			must_be_xml(c->value, NULL);
	} else {
		must_be_jid(c->key, c->verb == PS_AFFILIATION);
		must(c->n > 0);
	}
}

static void
check_part(const struct store_move_part *p)
{
	switch (p->kind) {
	case MV_CONTACT: check_contact(&p->contact); break;
	case MV_PENDING:
		must_be_jid(p->contact.jid, true);
		must_be_xml(p->contact.pending_stanza, "presence");
		break;
	case MV_MESSAGE: must_be_xml(p->value, "message"); break;
	case MV_SETTING:
		must(p->key.len > 0 && td_utf8_valid(p->key) && td_utf8_valid(p->value));
		break;
	case MV_NODE:
	case MV_NODE_DEFAULT: must(p->key.len > 0 && p->key.len <= PS_NAME_MAX); break;
	case MV_PUBSUB:
	case MV_ITEM_DEFAULT: check_change(&p->ps); break;
	case MV_ARCHIVED:
		must_be_jid(p->archived.peer, true);
		must_be_xml(p->archived.stanza, "message");
		break;
	}
}

static void
check_verifier(const struct store_scram *k, size_t len)
{
	must(k->key_len == 0 || (k->key_len == len && k->iterations > 0));
	must(k->salt_len <= sizeof(k->salt) && (k->salt_len > 0) == (k->key_len > 0));
}

/* ---- what the import calls ---- */

void
store_move_put(struct store *st, const struct store_move *m, struct store_to to)
{
	(void)st;
	must_be_jid(m->account.jid, true);
	must(td_str_ends(m->account.jid, "@example.org"));
	check_verifier(&m->account.sha1, 20);
	check_verifier(&m->account.sha256, 32);
	for (size_t i = 0; i < m->n; i++)
		check_part(&m->parts[i]);
	must(now.n < sizeof(now.to) / sizeof(now.to[0]));
	now.to[now.n] = to;
	now.rc[now.n++] = td_str_starts(m->account.jid, "io") ? TD_E_IO
			  : !m->begin                         ? TD_E_DENIED
							      : 0;
}

void
ctl_done(struct ctl_request *r, int status)
{
	now.ended++;
	must(status == 0 || r->out.len == 0);
	now.out = r->out;
	td_arena_free(r->a);
	free(r);
}

void
ctl_fail(struct ctl_request *r, const char *fmt, ...)
{
	(void)fmt;
	ctl_done(r, 1);
}

/* Nothing else of the socket is there. */
int
gw_control_start(struct gw *gw, struct td_err *err)
{
	(void)gw;
	(void)err;
	abort();
}

void
gw_control_stop(struct gw *gw)
{
	(void)gw;
	abort();
}

/* ---- the answer ---- */

static void
check_line(struct td_str line, unsigned *accounts)
{
	static const char *const how[] = { "added", "going", "exists", "failed" };
	struct td_str said = line;
	size_t i;

	must(line.len > 2 && line.p[1] == ' ' && strchr("!=+", line.p[0]) != NULL);
	if (line.p[0] != '=')
		return;
	for (i = 0; i < 2; i++) { /* "=" and the number */
		ptrdiff_t blank = td_str_chr(said, ' ');

		must(blank > 0);
		said = td_str(said.p + blank + 1, said.len - (size_t)blank - 1);
	}
	for (i = 0; i < 4 && !td_str_starts(said, how[i]); i++)
		;
	must(i < 4);
	(*accounts)++;
}

static void
check_answer(struct td_str out)
{
	unsigned accounts = 0;

	while (out.len > 0) {
		ptrdiff_t nl = td_str_chr(out, '\n');

		must(nl > 0);
		check_line(td_str(out.p, (size_t)nl), &accounts);
		out = td_str(out.p + nl + 1, out.len - (size_t)nl - 1);
	}
	must(accounts >= now.n);
}

static struct gw *
process(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct gw gw = { .conf_lock = &lock };
	struct conf_report report;

	if (gw.conf == NULL) {
		must(conf_load_text("fuzz",
				    TD_STR("domain \"example.org\" { XMPP_Role = \"server\" }"),
				    &gw.conf, &report) == 0);
		conf_report_fini(&report);
	}
	return &gw;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctl_request *r = td_zalloc(sizeof(*r));

	memset(&now, 0, sizeof(now));
	r->gw = process();
	r->a = td_arena_new(0);
	r->input = td_arena_str(r->a, td_str((const char *)data, size));
	ctl_account_load(r);
	must(now.n == 0 || now.ended == 0);
	for (size_t i = 0; i < now.n; i++)
		now.to[i].cb(now.to[i].arg,
			     &(struct store_result){ .rc = now.rc[i], .error = "the disk" });
	must(now.ended == 1);
	check_answer(td_buf_str(&now.out));
	td_buf_fini(&now.out);
	return 0;
}
