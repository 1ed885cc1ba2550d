/* scripts - the scriptlets: which are loaded, in which Lua states, and who calls them.
 * Thread: start, stop, reload in main; the xmpp hook on its worker; the policy on any
 * libmilter thread; the readers anywhere.
 *
 * A set is one configuration's scripts.  Each worker has a state of its own; milter threads
 * borrow one per callback from the set's pool.  After a reload an open mail ends with the set
 * it began with; a set goes when its last user is done. */
#ifndef GATEWAY_SCRIPTS_H
#define GATEWAY_SCRIPTS_H
#include <stdbool.h>
#include <stdint.h>
#include "xmpp/xmpp.h"

struct gw;
struct milt_policy;
struct td_err;

/* xmpp_host.hook: an enum xmpp_verdict. */
int gw_scripts_xmpp_hook(struct xmpp_env *env, struct xmpp_hook_call *c);
/* xmpp_host.script_iq (lua_iq.c). */
int gw_scripts_iq(struct xmpp_iq *iq, unsigned id);
/* What the milter asks; lives until gw_scripts_stop, whatever is reloaded. */
const struct milt_policy *gw_scripts_policy(struct gw *gw);

struct gw_script_info {
	const char *name, *source;
	uint64_t runs, faults, overruns; /* since start, over all states and reloads */
};
/* Every script of the running set, in order.  <cb> must not call back. */
void gw_scripts_each(struct gw *gw, void (*cb)(void *arg, const struct gw_script_info *i),
		     void *arg);
#endif
