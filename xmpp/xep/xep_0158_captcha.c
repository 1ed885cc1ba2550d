/* xep_0158 - CAPTCHA forms (XEP-0158 1.0.1): a stranger's first message or subscription request waits until the stranger
 * has shown to be a person.  Registration asks in xep_0077_register.c, rooms in muc_captcha.c, the table of challenges is
 * xmpp/captcha.c.
 *
 *   stranger's stanza --arrived--> held, challenge sent --right answer--> delivered; the stranger is known from now on
 *                                                       --wrong, declined, too late--> back with an error
 *
 * A message that waits is a row of the message store from the beginning, so its sender can be acknowledged; the row is
 * marked as on its way, so that no login of the account gives it out.  After a crash it is an ordinary offline message:
 * rather let in than lost.
 * Known are: the roster, whom the account wrote to itself, who answered once, the server and its services. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include "conf/conf.h"
#include "xmpp/captcha.h"
#include "xmpp/deliver.h"
#include "xmpp/im.h"
#include "xmpp/message.h"
#include "xmpp/modules.h"
#include "xmpp/signin.h"

#define SETTING "+captcha-known"
#define KNOWN_MAX 300u      /* addresses an account remembers */
#define KNOWN_CHARS 17u     /* of one: 64 bits of its hash, and a newline */
#define WAITING_MAX 2000u   /* strangers who were asked, on this worker */
#define WAITING_OF_ONE 100u /* of them for one account */
#define HELD_MAX 5u         /* stanzas of one stranger for one account */

struct pending;

enum fate {
	OPEN = 0,
	PASSED,
	FAILED
};
struct held {
	struct xmpp_call call; /* first; holds the user */
	TAILQ_ENTRY(held) link;
	struct pending *p; /* NULL: it is over */
	struct xmpp_stanza *s;
	bool saving;  /* the store has it */
	uint8_t fate; /* enum fate, while saving */
};
/* A stranger and an account. */
struct pending {
	struct xmpp_env *env;
	struct td_timer timer;
	char id[XMPP_CAPTCHA_ID + 1];
	TAILQ_HEAD(held_list, held) held; /* in order */
	unsigned n;
	struct td_str to, who; /* bare; behind this struct, as <key> */
	struct td_str key;     /* "to who" */
};
struct captcha {              /* a worker's */
	bool any;             /* some domain wants it */
	struct td_map by_id;  /* -> struct pending */
	struct td_map by_key; /* -> the same */
};

static struct captcha *
captcha_of(struct xmpp_env *env)
{
	return env->module_data[XMPP_SLOT_CAPTCHA];
}

/* ---- who is known ---- */

static void
mark_of(struct td_str bare, char out[KNOWN_CHARS + 1])
{
	struct td_buf hex = { 0 };
	unsigned char hash[32];

	(void)EVP_Digest(bare.p, bare.len, hash, NULL, EVP_sha256(), NULL);
	td_buf_add_hex(&hex, hash, KNOWN_CHARS / 2);
	(void)snprintf(out, KNOWN_CHARS + 1, "%s\n", td_buf_cstr(&hex));
	td_buf_fini(&hex);
}

static bool
is_remembered(const struct xmpp_user *u, struct td_str bare)
{
	struct td_str all = xmpp_user_setting(u, SETTING);
	char mark[KNOWN_CHARS + 1];

	mark_of(bare, mark);
	return all.len > 0 && memmem(all.p, all.len, mark, KNOWN_CHARS) != NULL;
}

static void
remember(struct xmpp_user *u, struct td_str bare)
{
	struct td_str all = xmpp_user_setting(u, SETTING);
	struct td_buf b = { 0 };
	char mark[KNOWN_CHARS + 1];
	size_t most = (size_t)(KNOWN_MAX - 1) * KNOWN_CHARS, over;

	if (is_remembered(u, bare))
		return;
	mark_of(bare, mark);
	over = all.len > most ? all.len - most : 0; /* the oldest go */
	td_buf_add(&b, all.p + over, all.len - over);
	td_buf_add(&b, mark, KNOWN_CHARS);
	xmpp_user_set_setting(u, SETTING, td_buf_str(&b), NULL, NULL);
	td_buf_fini(&b);
}

/* A room that one of the sessions entered, somebody it showed itself to. */
static bool
got_presence(const struct xmpp_user *u, struct td_str bare)
{
	const struct xmpp_session *sess;
	const char *mem;

	TAILQ_FOREACH(sess, &u->sessions, link)
	{
		size_t i = 0;

		while ((mem = td_map_next(&sess->directed, &i)) != NULL)
			if (td_str_eq(xmpp_jid_view(td_cstr(mem)).bare, bare))
				return true;
	}
	return false;
}

static bool
is_in_roster(struct xmpp_user *u, struct td_str bare)
{
	const struct xmpp_contact *c = xmpp_user_contact(u, bare);

	return c != NULL &&
	       (!(c->flags & STORE_ROSTER_HIDDEN) || (c->flags & STORE_ROSTER_APPROVED));
}

static bool
is_known(struct xmpp_user *u, const struct xmpp_jid *j)
{
	return j->local.p == NULL || td_str_eq(j->bare, u->bare) || is_in_roster(u, j->bare) ||
	       u->env->host->domain(u->env, j->domain) == XD_SERVICE || got_presence(u, j->bare) ||
	       is_remembered(u, j->bare);
}

/* ---- what waits ---- */

static void
forget_row(struct xmpp_user *u, struct xmpp_stanza *s)
{
	uint64_t row = s->row;

	if (row == 0)
		return;
	s->row = 0;
	store_message_del(u->env->store, &row, 1, (struct store_to){ 0 });
	xmpp_user_row_end(u, row);
}

/* Deliver it or send it back; it is with nobody else. */
static void
release(struct held *h, bool passed)
{
	struct xmpp_user *u = h->call.user;

	if (passed && xmpp_is_blocked(u, &h->s->from)) { /* meanwhile */
		forget_row(u, h->s);
		xmpp_bounce(u->env, h->s, XE_SERVICE_UNAVAILABLE, NULL);
		xmpp_stanza_unref(&h->s);
	} else if (passed) {
		xmpp_deliver_loaded(u, h->s);
	} else {
		forget_row(u, h->s);
		xmpp_bounce(u->env, h->s, XE_NOT_ACCEPTABLE, "The challenge was not answered.");
		xmpp_stanza_unref(&h->s);
	}
	xmpp_call_end(&h->call);
	free(h);
}

static void
leave(struct held *h)
{
	if (h->p == NULL)
		return;
	TAILQ_REMOVE(&h->p->held, h, link);
	h->p->n--;
	h->p = NULL;
}

/* The instance goes: what was stored stays there. */
static void
on_cancel(struct xmpp_call *c)
{
	struct held *h = (struct held *)(void *)c;

	leave(h);
	xmpp_stanza_unref(&h->s);
	free(h);
}

static void
on_saved(void *arg, const struct store_result *r)
{
	struct held *h = arg;
	struct xmpp_user *u = h->call.user;
	struct xmpp_stanza *copy;

	h->saving = false;
	if (h->call.env == NULL) {
		leave(h);
		xmpp_stanza_unref(&h->s);
		free(h);
		return;
	}
	if (r->rc < 0) {
		leave(h);
		xmpp_bounce(u->env, h->s,
			    r->rc == TD_E_FULL ? XE_RESOURCE_CONSTRAINT : XE_SERVICE_UNAVAILABLE,
			    NULL);
		xmpp_call_end(&h->call);
		xmpp_stanza_unref(&h->s);
		free(h);
		return;
	}
	copy = xmpp_stanza_dup(h->s); /* without the promise: that is kept now */
	copy->row = r->id;
	xmpp_stanza_seal(copy);
	xmpp_user_row_begin(u, r->id);
	u->offline_count++;
	xmpp_stanza_unref(&h->s);
	h->s = copy;
	h->call.cancel = on_cancel;
	if (h->fate != OPEN)
		release(h, h->fate == PASSED);
}

static void
hold(struct pending *p, struct xmpp_user *u, struct xmpp_stanza *s)
{
	struct held *h = td_zalloc(sizeof(*h));
	uint64_t now = td_wall_ms();
	struct td_buf text = { 0 };

	h->p = p;
	h->s = xmpp_stanza_ref(s);
	TAILQ_INSERT_TAIL(&p->held, h, link);
	p->n++;
	xmpp_call_begin(&h->call, u);
	if (s->kind != XK_MESSAGE) {
		h->call.cancel = on_cancel;
		return;
	}
	h->saving = true;
	xmpp_offline_write(u, s, now, &text);
	store_message_add(u->env->store, u->bare, td_buf_str(&text), now,
			  (struct store_to){ u->env->loop, on_saved, h });
	td_buf_fini(&text);
}

static void
pending_free(struct pending *p)
{
	struct captcha *c = captcha_of(p->env);

	td_timer_clear(p->env->loop, &p->timer);
	(void)td_map_del(&c->by_id, td_cstr(p->id));
	(void)td_map_del(&c->by_key, p->key);
	while (!TAILQ_EMPTY(&p->held))
		leave(TAILQ_FIRST(&p->held));
	free(p);
}

static void
pending_end(struct pending *p, bool passed)
{
	struct held_list list = TAILQ_HEAD_INITIALIZER(list);
	struct held *h;

	TAILQ_CONCAT(&list, &p->held, link);
	TAILQ_FOREACH(h, &list, link)
	h->p = NULL;
	pending_free(p);
	while ((h = TAILQ_FIRST(&list)) != NULL) { /* may lead to anything */
		TAILQ_REMOVE(&list, h, link);
		if (h->saving)
			h->fate = passed ? PASSED : FAILED;
		else
			release(h, passed);
	}
}

static void
on_timer(struct td_timer *t)
{
	struct pending *p = (struct pending *)(void *)((char *)t - offsetof(struct pending, timer));

	xmpp_captcha_drop(p->id);
	pending_end(p, false);
}

/* ---- the end of a challenge ---- */

static void
passed_loaded(struct xmpp_user *u, void *arg)
{
	char *id = arg;
	struct pending *p = td_map_find(&captcha_of(u->env)->by_id, td_cstr(id));

	free(id);
	if (p == NULL)
		return;
	if (u->exists)
		remember(u, p->who);
	pending_end(p, u->exists);
}

void
xmpp_captcha_settled(struct xmpp_env *env, struct td_str to, const char *id, bool passed)
{
	struct pending *p = td_map_find(&captcha_of(env)->by_id, td_cstr(id));

	if (p == NULL)
		return;
	if (passed)
		xmpp_user_with(env, to, passed_loaded, td_strdup(id));
	else
		pending_end(p, false);
}

/* ---- the stages ---- */

static struct td_str
key_of(struct td_buf *b, struct td_str to, struct td_str who)
{
	td_buf_adds(b, to);
	td_buf_addc(b, ' ');
	td_buf_adds(b, who);
	return td_buf_str(b);
}

static struct pending *
pending_find(struct xmpp_user *u, struct td_str who)
{
	struct td_buf b = { 0 };
	struct pending *p = td_map_find(&captcha_of(u->env)->by_key, key_of(&b, u->bare, who));

	td_buf_fini(&b);
	return p;
}

static bool
has_room(struct xmpp_user *u)
{
	const struct captcha *c = captcha_of(u->env);
	const struct pending *p;
	unsigned n = 0;
	size_t i = 0;

	while ((p = td_map_next(&c->by_id, &i)) != NULL)
		if (td_str_eq(p->to, u->bare))
			n++;
	return c->by_id.len < WAITING_MAX && n < WAITING_OF_ONE;
}

/* Put the challenge to the sender of <s>; NULL: not now. */
static struct pending *
ask(struct xmpp_user *u, const struct xmpp_stanza *s)
{
	const struct xmpp_captcha_ask question = { CAPTCHA_CONTACT, s->from.bare, u->bare,
						   u->domain };
	struct captcha *c = captcha_of(u->env);
	struct xmpp_jid from = xmpp_jid_view(u->domain);
	struct td_buf key = { 0 };
	struct xmpp_captcha made;
	struct pending *p;

	if (!has_room(u) || !xmpp_captcha_new(u->env, &question, &made))
		return NULL;
	(void)key_of(&key, u->bare, s->from.bare);
	p = td_zalloc(sizeof(*p) + key.len);
	memcpy(p + 1, key.p, key.len);
	p->key = td_str((const char *)(p + 1), key.len);
	p->to = td_str(p->key.p, u->bare.len);
	p->who = td_str(p->key.p + u->bare.len + 1, s->from.bare.len);
	td_buf_fini(&key);
	p->env = u->env;
	TAILQ_INIT(&p->held);
	memcpy(p->id, made.id, sizeof(p->id));
	p->timer.fire = on_timer;
	td_timer_set(u->env->loop, &p->timer, made.life_s * UINT64_C(1000));
	(void)td_map_set(&c->by_id, td_cstr(p->id), p);
	(void)td_map_set(&c->by_key, p->key, p);
	xmpp_captcha_send(u->env, &made, u->domain, &from, s);
	return p;
}

static bool
is_trigger(const struct xmpp_stanza *s)
{
	if (s->row != 0 || s->from.local.p == NULL ||
	    (s->flags & (XF_FROM_MAIL | XF_FROM_STORE | XF_PRIVILEGED | XF_EVENT)))
		return false;
	if (s->kind == XK_PRESENCE)
		return s->type == XT_SUBSCRIBE;
	return s->kind == XK_MESSAGE && s->type != XT_ERROR && s->type != XT_GROUPCHAT;
}

static int
captcha_arrived(struct xmpp_user *u, struct xmpp_stanza **sp)
{
	struct pending *p;
	struct xmpp_stanza *s;

	if (!captcha_of(u->env)->any || !is_trigger(*sp) || u->anonymous ||
	    !xmpp_signin_of(u->env, u->domain)->captcha_strangers || is_known(u, &(*sp)->from))
		return XMPP_PASS;
	s = *sp = xmpp_stanza_whole(*sp);
	/* typing and the like asks for no answer, and a stranger's is nobody's business */
	if (s->kind == XK_MESSAGE && !xmpp_message_has_body(s) && !xmpp_message_is_signal(s))
		return XMPP_DONE;
	p = pending_find(u, s->from.bare);
	if (p == NULL)
		p = ask(u, s);
	if (p == NULL || p->n >= HELD_MAX)
		xmpp_bounce(u->env, s, XE_NOT_ACCEPTABLE,
			    p == NULL ? "Too many challenges; try again later."
				      : "Answer the challenge first.");
	else if (s->type != XT_HEADLINE) /* those wait for nobody (RFC 6121 8.5.2) */
		hold(p, u, s);
	return XMPP_DONE;
}

/* Whom the account writes to itself is no stranger. */
static int
captcha_sent(struct xmpp_session *sess, struct xmpp_stanza *s)
{
	struct xmpp_user *u = sess->user;
	struct pending *p;

	if (!captcha_of(u->env)->any || s->kind == XK_IQ || s->to.local.p == NULL ||
	    s->type == XT_ERROR || s->type == XT_UNAVAILABLE || s->type == XT_UNSUBSCRIBED ||
	    u->anonymous || !xmpp_signin_of(u->env, u->domain)->captcha_strangers ||
	    td_str_eq(s->to.bare, u->bare))
		return XMPP_PASS;
	p = pending_find(u, s->to.bare);
	if (p != NULL || !is_known(u, &s->to))
		remember(u, s->to.bare);
	if (p != NULL) {
		xmpp_captcha_drop(p->id);
		pending_end(p, true);
	}
	return XMPP_PASS;
}

/* ---- answers ---- */

static int
captcha_iq(struct xmpp_iq *iq)
{
	xmpp_captcha_iq(iq->env, iq->s);
	return XMPP_DONE;
}

/* ---- the module ---- */

static void
captcha_configure(struct xmpp_env *env)
{
	struct captcha *c = captcha_of(env);
	struct td_str domain;

	c->any = false;
	for (size_t i = 0;
	     env->host->hosted != NULL && !c->any && (domain = env->host->hosted(env, i)).p != NULL;
	     i++)
		c->any = xmpp_signin_of(env, domain)->captcha_strangers;
}

static void
captcha_start(struct xmpp_env *env)
{
	env->module_data[XMPP_SLOT_CAPTCHA] = td_zalloc(sizeof(struct captcha));
	captcha_configure(env);
}

static void
captcha_stop(struct xmpp_env *env)
{
	struct captcha *c = captcha_of(env);
	struct pending *p;
	size_t i = 0;

	while ((p = td_map_next(&c->by_id, &i)) != NULL)
		pending_free(p);
	td_map_fini(&c->by_id);
	td_map_fini(&c->by_key);
	free(c);
	env->module_data[XMPP_SLOT_CAPTCHA] = NULL;
}

static const char *const captcha_features[] = { NS_CAPTCHA, NULL };

static const struct xmpp_iq_entry captcha_iqs[] = {
	{ NS_CAPTCHA, "captcha", IQ_SET | IQ_TO_HOST, captcha_iq },
	{ 0 },
};

const struct xmpp_module xep_0158_captcha = {
	.name = "xep-0158-captcha",
	.xep = "0158",
	.doc = "Challenges for who makes an account, writes to an account for the first time, or "
	       "enters a room that asks for it",
	.version = "1.0.1",
	.features = captcha_features,
	.iqs = captcha_iqs,
	.start = captcha_start,
	.stop = captcha_stop,
	.reconfigured = captcha_configure,
	.arrived = captcha_arrived,
	.sent = captcha_sent,
};

const struct xmpp_module xep_0221_media = {
	.name = "xep-0221-media",
	.xep = "0221",
	.doc = "The picture of a challenge is a medium of its form's field",
	.version = "1.0",
};
