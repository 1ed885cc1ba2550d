/* move_verifier - how a password's verifier is written (XEP-0227 section 4.2), by the daemon and by tandemctl.  A file of
 * its own: tandemctl is not to be linked with all of the daemon. */
#include "gateway/move.h"
#include "store/store.h"

void
move_add_verifier(struct td_buf *b, const char *mechanism, const struct store_scram *k)
{
	if (k->key_len == 0)
		return;
	td_buf_addf(b,
		    "<scram-credentials xmlns='" NS_PIE_SCRAM "' mechanism='%s'><iter-count>%u"
		    "</iter-count><salt>",
		    mechanism, k->iterations);
	td_buf_add_base64(b, k->salt, k->salt_len);
	td_buf_addz(b, "</salt><server-key>");
	td_buf_add_base64(b, k->server_key, k->key_len);
	td_buf_addz(b, "</server-key><stored-key>");
	td_buf_add_base64(b, k->stored_key, k->key_len);
	td_buf_addz(b, "</stored-key></scram-credentials>");
}
