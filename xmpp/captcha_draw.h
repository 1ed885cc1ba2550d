/* captcha_draw - a short text as a picture that people read and programs do not easily (XEP-0158 section 6.3, "ocr").
 * Thread: any; touches only its arguments.  Cannot fail. */
#ifndef XMPP_CAPTCHA_DRAW_H
#define XMPP_CAPTCHA_DRAW_H
#include "gateway/base/str.h"

#define XMPP_CAPTCHA_LETTERS 6u
#define XMPP_CAPTCHA_WIDTH 240u
#define XMPP_CAPTCHA_HEIGHT 80u

/* <XMPP_CAPTCHA_LETTERS> random characters, none of which looks like another, and a NUL. */
void xmpp_captcha_text(char out[XMPP_CAPTCHA_LETTERS + 1]);
/* Append a PNG that shows <text> (characters that xmpp_captcha_text makes; others leave a gap).  The same <seed> gives the
 * same picture; it is smaller than XMPP_BOB_MAX bytes. */
void xmpp_captcha_draw(const char *text, uint64_t seed, struct td_buf *png);
#endif
