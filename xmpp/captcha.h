/* captcha - challenges that only a person answers (XEP-0158 1.0.1): one table for the whole process, because the question
 * is put by the worker of an account, a room or a stream, and the answer comes to any, or to a web page.
 * Thread: any; a lock inside, taken by what is rare.  Ownership: what is returned is a copy.
 *
 * A challenge is for one address, lives for captcha_life seconds and is used up by the first answer, right or wrong.  The table has
 * a fixed size; one address has few at a time. */
#ifndef XMPP_CAPTCHA_H
#define XMPP_CAPTCHA_H
#include "xmpp/captcha_draw.h"
#include "xmpp/form.h"
#include "xmpp/xmpp.h"

#define NS_CAPTCHA "urn:xmpp:captcha"
#define XMPP_CAPTCHA_ID 32 /* characters */
#define XMPP_CAPTCHA_PATH "/captcha/"

enum xmpp_captcha_kind {
	CAPTCHA_REGISTER = 0, /* an account is to be made (XEP-0077) */
	CAPTCHA_CONTACT,      /* a stranger writes to an account */
	CAPTCHA_ROOM,         /* somebody wants to enter a room */
	CAPTCHA_COUNT         /* must be last */
};
struct xmpp_captcha {
	char id[XMPP_CAPTCHA_ID + 1];
	uint8_t kind; /* enum xmpp_captcha_kind */
	bool passed;  /* it was answered on the web page and waits to be used */
	char text[XMPP_CAPTCHA_LETTERS + 1]; /* what the picture shows */
	uint64_t seed;                       /* of the picture */
	char question[256];                  /* "" = there is none */
	char bits[9];                        /* hexadecimal, of SHA-256; "" = not offered */
	unsigned life_s;
};

/* What the challenge is about.  <who>: bare JID of who is asked, or the network of a stream; <to>: what it wrote to (bare JID), or
 * our domain; <domain>: whose options hold. */
struct xmpp_captcha_ask {
	enum xmpp_captcha_kind kind;
	struct td_str who, to, domain;
};
/* A new challenge into *out.  False: <who> was asked too often lately, or has given too many wrong answers. */
bool xmpp_captcha_new(struct xmpp_env *env, const struct xmpp_captcha_ask *ask,
		      struct xmpp_captcha *out);
/* Nobody waits for the answer any more. */
void xmpp_captcha_drop(const char *id);
/* The challenge as long as it is open, for who shows it. */
bool xmpp_captcha_look(struct td_str id, struct xmpp_captcha *out);

enum xmpp_captcha_verdict {
	CAPTCHA_UNKNOWN = 0, /* none of ours, not theirs, used, or too late */
	CAPTCHA_WRONG,
	CAPTCHA_RIGHT
};
/* The fields ocr, qa and SHA-256 of <form>: one right answer is enough.  <who>: as above, TD_STR_NULL = from the web page, where
 * knowing the id is enough.  The worker of the account or room hears of it (xmpp_captcha_settled, muc_captcha_settled). */
enum xmpp_captcha_verdict xmpp_captcha_answer(struct xmpp_env *env, struct td_str id,
					      struct td_str who, const struct xmpp_form *form);
/* An error came for a message of ours: maybe who was asked does not want to answer (3.1.3). */
void xmpp_captcha_declined(struct xmpp_env *env, const struct xmpp_stanza *s);

/* Where a person can answer; false: no http_listener is reachable. */
bool xmpp_captcha_url(struct xmpp_env *env, struct td_str domain, const char *id,
		      struct td_buf *out);
/* Append the fields that ask, and to <data> the picture (XEP-0221, XEP-0231). */
void xmpp_captcha_fields(struct xmpp_env *env, const struct xmpp_captcha *c, struct td_str domain,
			 struct td_buf *fields, struct td_buf *data);
/* Send the challenge stanza for <s> (3.1.2) from <from>. */
void xmpp_captcha_send(struct xmpp_env *env, const struct xmpp_captcha *c, struct td_str domain,
		       const struct xmpp_jid *from, const struct xmpp_stanza *s);
/* An iq with <captcha/> for the domain or room that asked: answered. */
void xmpp_captcha_iq(struct xmpp_env *env, const struct xmpp_stanza *s);

/* ---- who is told (xep_0158_captcha.c, muc_captcha.c) ---- */

/* The challenge <id> for <to> is over; on the worker that owns <to>. */
void xmpp_captcha_settled(struct xmpp_env *env, struct td_str to, const char *id, bool passed);
void muc_captcha_settled(struct xmpp_env *env, struct td_str to, const char *id, bool passed);
#endif
