/* control_auth - who may talk to the console, and which commands are theirs (momentum.md 4.6).
 * Thread: main loop.  Rules are a connection's, made when it is accepted, from the configuration
 * of that moment.  Errors: TD_E_* with a text for the operator. */
#ifndef GATEWAY_CONTROL_AUTH_H
#define GATEWAY_CONTROL_AUTH_H
#include "gateway/gateway.h"

struct sockaddr;
struct xmpp_cred_source;

struct ctl_rules {
	struct gw *gw;
	struct conf *conf;
	bool deny;        /* turned away */
	bool open;        /* no credentials are asked for */
	bool authorize;   /* commands are checked */
	unsigned timeout; /* seconds of silence */
	unsigned mechs;   /* SASL_M_* */
	struct xmpp_cred_source *creds;
	struct td_str groups; /* path of the file of roles; .p NULL = none; the configuration's */
};

/* Rules of the Listen called <listen> for <sa> (NULL: whoever is in no Peer).  TD_E_NOTFOUND: the
 * configuration has that Listen no more. */
int ctl_rules_load(struct gw *gw, struct td_str listen, const struct sockaddr *sa,
		   struct ctl_rules *out, struct td_err *err);
void ctl_rules_fini(struct ctl_rules *r);
/* May <user> ("" = nobody in particular) give this command?  Its roles are its name and the groups
 * that have it; the patterns of a role are searched in the whole command line. */
bool ctl_permits(const struct ctl_rules *r, const char *user, struct td_str command);
#endif
