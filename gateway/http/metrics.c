/* metrics - the counters of the process as Prometheus text.
 *
 * Each worker is asked in turn for its own; nobody reads another's. */
#include <stdlib.h>
#include "gateway/http/http.h"
#include "milter/milter.h"

struct round {
	struct gw_worker *from;
	struct gw_http *h; /* <from>'s; NULL = gone */
	unsigned at;
	struct xmpp_stats sum;
};

static void
add_metric(struct td_buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	td_buf_addf(out, "# HELP tandem_%s %s\n# TYPE tandem_%s %s\ntandem_%s %llu\n", name, help,
		    name, type, name, (unsigned long long)value);
}

static void
write_metrics(struct gw *gw, const struct xmpp_stats *s, struct td_buf *out)
{
	struct store_stats st = { 0 };
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{ "workers", "gauge", "Event loops.", gw->n_workers },
		{ "connections", "gauge", "Open client connections.", gw_conns_open() },
		{ "streams", "gauge", "Client streams.", s->streams },
		{ "sessions", "gauge", "Bound sessions.", s->sessions },
		{ "sessions_hibernated", "gauge", "Sessions that wait to be resumed.",
		  s->hibernated },
		{ "accounts_online", "gauge", "Accounts with an available resource.",
		  gw_directory_count(gw->directory) },
		{ "logins_total", "counter", "Logins.", s->logins },
		{ "auth_failures_total", "counter", "Logins refused.", s->auth_failures },
		{ "messages_received_total", "counter", "Messages from clients.", s->messages_in },
		{ "presences_received_total", "counter", "Presence from clients.",
		  s->presences_in },
		{ "iqs_received_total", "counter", "Requests from clients.", s->iqs_in },
		{ "stanzas_delivered_total", "counter", "Stanzas given to clients.", s->delivered },
		{ "messages_stored_total", "counter", "Messages kept for later.", s->stored },
		{ "errors_sent_total", "counter", "Stanzas answered with an error.", s->errors },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		add_metric(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
	store_get_stats(gw->store, &st);
	add_metric(out, "store_writes_total", "counter", "Write calls of the store.", st.writes);
	add_metric(out, "store_commits_total", "counter", "Transactions of the store.", st.commits);
	add_metric(out, "store_reads_total", "counter", "Read calls of the store.", st.reads);
	add_metric(out, "store_errors_total", "counter", "Calls of the store that failed.",
		   st.errors);
	add_metric(out, "store_queue", "gauge", "Calls that wait for the store.", st.queue);
	add_metric(out, "uptime_seconds", "gauge", "Seconds since the start.",
		   (td_wall_ms() - gw->started_ms) / 1000);
	td_buf_addz(out, "# HELP tandem_milter_total Events of the milter.\n"
			 "# TYPE tandem_milter_total counter\n");
	for (unsigned k = 0; k < MK_COUNT; k++)
		td_buf_addf(out, "tandem_milter_total{event=\"%s\"} %llu\n",
			    milt_counter_name((enum milt_counter)k),
			    (unsigned long long)milt_counter_get((enum milt_counter)k));
}

/* On each worker, last on that of the connection. */
static void
visit(struct gw_worker *w, void *arg)
{
	struct round *r = arg;
	struct gw *gw = w->gw;
	struct td_buf out = { 0 };

	if (r->at < gw->n_workers) {
		xmpp_stats_add(&r->sum, &w->env->stats);
		r->at++;
		gw_worker_post(r->at < gw->n_workers ? gw->workers[r->at] : r->from, visit, r);
		return;
	}
	if (r->h != NULL) {
		write_metrics(gw, &r->sum, &out);
		gw_http_reply(r->h, 200, "text/plain; version=0.0.4; charset=utf-8",
			      "Cache-Control: no-store\r\n", td_buf_str(&out));
		td_buf_fini(&out);
	}
	free(r);
}

void
gw_metrics_request(struct gw_http *h, const struct gw_head *head, struct td_str body)
{
	/* a proxy on this machine speaks for others */
	bool local = gw_http_is_loopback(h) && gw_head_field(head, "x-forwarded-for").p == NULL &&
		     gw_head_field(head, "forwarded").p == NULL;
	struct round *r;

	(void)body;
	if (!local && !gw_http_conf_of(h)->metrics) {
		gw_http_error(h, 403);
		return;
	}
	r = td_zalloc(sizeof(*r));
	r->from = gw_http_worker(h);
	gw_http_hold(h, &r->h);
	gw_worker_post(r->from->gw->workers[0], visit, r);
}
