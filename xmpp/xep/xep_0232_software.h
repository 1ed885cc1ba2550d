/* xep_0232_software - may the version be told?
 * Thread: the worker of the env. */
#ifndef XMPP_XEP_0232_SOFTWARE_H
#define XMPP_XEP_0232_SOFTWARE_H
#include "xmpp/xmpp.h"
/* Option hide_version of <domain>. */
bool xmpp_version_hidden(struct xmpp_env *env, struct td_str domain);
#endif
