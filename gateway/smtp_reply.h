/* smtp_reply - what a refusal of the mail world is called in chat.
 * Thread: any. */
#ifndef GATEWAY_SMTP_REPLY_H
#define GATEWAY_SMTP_REPLY_H
#include "gateway/base/str.h"
/* The enhanced status code (RFC 3463) of an SMTP reply: of "550 5.1.1 No such user", or of
 * "5.1.1 ..." without the number.  Borrowed from <reply>; TD_STR_NULL when it has none. */
struct td_str gw_smtp_status(struct td_str reply);
/* The stanza error condition (RFC 6120 8.3.3) for such a code; any, TD_STR_NULL too. */
const char *gw_smtp_condition(struct td_str status);
#endif
