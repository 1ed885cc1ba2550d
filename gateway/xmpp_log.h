/* xmpp_log - xmpp_logger: one line per stanza, in a format of the operator's (momentum.md 5).
 * Thread: prepare, switch, reopen on main; gw_xmpp_log_stanza on any worker, which collects its
 * lines and writes them once a turn.  Errors: TD_E_INVAL for a format, TD_E_IO for a file; a
 * record that cannot be written is dropped and counted. */
#ifndef GATEWAY_XMPP_LOG_H
#define GATEWAY_XMPP_LOG_H
#include "gateway/gateway.h"

struct gw_xlog_format;
struct gw_xlog_set;

/* ---- formats; also for tests ---- */

/* Compile once; longest macro wins.  <content>: %sr is allowed. */
int gw_xlog_compile(struct td_str text, bool content, struct gw_xlog_format **out,
		    struct td_err *err);
void gw_xlog_format_free(struct gw_xlog_format *f);
/* Append one line with its newline.  <s> and <peer> may be NULL (heartbeat). */
void gw_xlog_format(const struct gw_xlog_format *f, const struct xmpp_stanza *s, bool received,
		    const char *peer, uint64_t now_us, struct td_buf *out);

/* ---- the module ---- */

/* At start, before the workers run. */
void gw_xmpp_log_init(struct gw *gw);
/* After the workers have ended. */
void gw_xmpp_log_fini(struct gw *gw);
/* Compile the formats of <c> and, unless <check_only>, open the files. */
int gw_xmpp_log_prepare(struct gw *gw, const struct conf *c, bool check_only,
			struct gw_xlog_set **out, struct td_err *err);
void gw_xlog_set_unref(struct gw_xlog_set **set);
/* From now on this one; takes the reference. */
void gw_xmpp_log_switch(struct gw *gw, struct gw_xlog_set *set);
/* Close and open again; <instance> NULL = all.  TD_E_NOTFOUND when there is none of that name. */
int gw_xmpp_log_reopen(struct gw *gw, const char *instance, struct td_err *err);

/* xmpp_host.log_stanza. */
void gw_xmpp_log_stanza(struct xmpp_env *env, bool received, const struct xmpp_stanza *s,
			const char *peer);
#endif
