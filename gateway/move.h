/* move - accounts that come in and go out whole: what tandemctl's import and export ask for (XEP-0227).
 * Thread: main loop.  Files are tandemctl's business (pie_read.h); here come and go pieces of XML of bounded size.
 *
 * account load: the input is
 *   <load xmlns='urn:tandem:load'>
 *     <user jid='ann@example.org' begin='1' end='1' replace='0' disabled='0' created='0'>
 *       <scram-credentials xmlns='urn:xmpp:pie:0#scram' .../>       with the end
 *       <p n='7' k='roster'>ELEMENT</p> ...
 *     </user> ...
 *   </load>
 * where n counts the pieces of the request and k is one of the names in move_in.c.  The answer has lines
 *   "! n TEXT"         about piece n
 *   "= i STATUS TEXT"  about the i-th <user/>: added, replaced, going, exists, failed
 *   "+ NAME COUNT"     what was stored
 *
 * account dump CURSOR JID...: the <user/> elements of these accounts as XEP-0227 has them, as much as fits; the first
 * line of the answer is the cursor to go on with, or "-". */
#ifndef GATEWAY_MOVE_H
#define GATEWAY_MOVE_H
#include "gateway/control.h"

#define NS_LOAD "urn:tandem:load"
#define NS_PIE "urn:xmpp:pie:0"
#define NS_PIE_SCRAM NS_PIE "#scram"
#define NS_PIE_MAM NS_PIE "#mam"

/* <scram-credentials/>, or nothing when there is no such verifier.  tandemctl's, too. */
struct store_scram;
void move_add_verifier(struct td_buf *b, const char *mechanism, const struct store_scram *k);

void ctl_account_load(struct ctl_request *r);
void ctl_account_dump(struct ctl_request *r);
#endif
