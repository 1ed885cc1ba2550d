/* ctl_s2s - `tandemctl s2s test DOMAIN`: the way to another server, step by step.
 *
 * A worker dials; what it found goes back to the main loop as the dial's report. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>
#include "gateway/base/arena.h"
#include "gateway/control.h"
#include "gateway/dial.h"

struct test { /* on its way: one thread at a time */
	struct td_mail mail;
	struct ctl_request *r; /* main's */
	struct td_str domain;  /* in the request's arena */
	struct gw_worker *w;
	struct gw_dial *dial;
	struct td_buf report;
	bool connected;
};

static void
add_lookup(struct td_buf *b, const json_t *l, const char *indent)
{
	const char *why = json_string_value(json_object_get(l, "why"));
	json_t *records = json_object_get(l, "records");

	td_buf_addf(b, "%s%s\t%s%s\t%lld ms%s%s\n", indent,
		    json_string_value(json_object_get(l, "name")),
		    json_string_value(json_object_get(l, "status")),
		    json_is_true(json_object_get(l, "secure")) ? " (signed)" : "",
		    (long long)json_integer_value(json_object_get(l, "ms")),
		    why != NULL ? "\t" : "", why != NULL ? td_escz(why) : "");
	for (size_t i = 0; i < json_array_size(records); i++)
		td_buf_addf(b, "%s    %s\n", indent, json_string_value(json_array_get(records, i)));
}

static void
add_target(struct td_buf *b, const json_t *t)
{
	const char *why = json_string_value(json_object_get(t, "why"));
	json_t *lookups = json_object_get(t, "lookups"),
	       *addresses = json_object_get(t, "addresses");

	if (json_array_size(lookups) == 0 && json_array_size(addresses) == 0 && why == NULL)
		return; /* its turn did not come */
	td_buf_addf(b, "target %s port %lld, %s%s%s%s\n",
		    json_string_value(json_object_get(t, "host")),
		    (long long)json_integer_value(json_object_get(t, "port")),
		    json_is_true(json_object_get(t, "direct_tls")) ? "direct TLS" : "STARTTLS",
		    json_is_true(json_object_get(t, "configured")) ? ", configured" : "",
		    why != NULL ? ": " : "", why != NULL ? td_escz(why) : "");
	for (size_t i = 0; i < json_array_size(lookups); i++)
		add_lookup(b, json_array_get(lookups, i), "    ");
	for (size_t i = 0; i < json_array_size(addresses); i++) {
		const json_t *a = json_array_get(addresses, i);

		why = json_string_value(json_object_get(a, "why"));
		td_buf_addf(b, "    %s\t%s\t%lld ms%s%s\n",
			    json_string_value(json_object_get(a, "address")),
			    json_string_value(json_object_get(a, "state")),
			    (long long)json_integer_value(json_object_get(a, "ms")),
			    why != NULL ? "\t" : "", why != NULL ? td_escz(why) : "");
	}
}

static void
add_text(struct td_buf *b, const struct test *t)
{
	json_t *root = json_loadb(t->report.p, t->report.len, 0, NULL);
	json_t *srv = json_object_get(root, "srv"), *targets = json_object_get(root, "targets");
	const char *why = json_string_value(json_object_get(root, "why"));

	for (size_t i = 0; i < json_array_size(srv); i++)
		add_lookup(b, json_array_get(srv, i), "");
	for (size_t i = 0; i < json_array_size(targets); i++)
		add_target(b, json_array_get(targets, i));
	td_buf_addf(b, "%s after %lld ms%s%s\n", t->connected ? "connected" : "not connected",
		    (long long)json_integer_value(json_object_get(root, "ms")),
		    !t->connected && why != NULL ? ": " : "",
		    !t->connected && why != NULL ? td_escz(why) : "");
	json_decref(root);
}

/* Main loop. */
static void
on_report(struct td_mail *m, struct td_loop *loop)
{
	struct test *t = (struct test *)m;

	(void)loop;
	if (t->r->json) {
		td_buf_adds(&t->r->out, td_buf_str(&t->report));
		td_buf_addc(&t->r->out, '\n');
	} else {
		add_text(&t->r->out, t);
	}
	ctl_done(t->r, 0); /* the question is answered, whatever the answer is */
	td_buf_fini(&t->report);
	free(t);
}

/* The worker's. */
static void
on_dialled(void *arg, int fd, const struct gw_target *target, const char *why)
{
	struct test *t = arg;

	(void)target;
	(void)why;
	t->connected = fd >= 0;
	if (fd >= 0)
		close(fd);
	gw_dial_report(t->dial, &t->report);
	gw_dial_free(&t->dial);
	t->mail.run = on_report;
	td_loop_post(t->w->gw->main_loop, &t->mail);
}

static void
begin(struct gw_worker *w, void *arg)
{
	struct test *t = arg;

	t->w = w;
	t->dial = gw_dial_start(w, t->domain, NULL, on_dialled, t);
}

void
ctl_s2s_test(struct ctl_request *r)
{
	struct td_err err = { 0 };
	struct xmpp_jid j;
	struct test *t;

	if (xmpp_jid_make(r->a, TD_STR_NULL, td_cstr(r->argv[0]), TD_STR_NULL, &j, &err) < 0) {
		ctl_fail(r, "%s: %s", td_escz(r->argv[0]), err.text);
		return;
	}
	t = td_zalloc(sizeof(*t));
	t->r = r;
	t->domain = j.domain;
	gw_worker_post(gw_owner(r->gw, j.domain), begin, t);
}
