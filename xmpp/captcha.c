/* captcha - the table of challenges, their answers, and what they look like as stanzas (xmpp/captcha.h). */
#include "xmpp/captcha.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include "conf/conf.h"
#include "xmpp/im.h"
#include "xmpp/throttle.h"
#include "xmpp/xep/xep_0231_bob.h"

#define NS_MEDIA "urn:xmpp:media-element"
#define NS_OOB "jabber:x:oob"
#define OPEN_MAX 4096u   /* challenges at a time; the oldest goes */
#define OPEN_OF_ONE 5u   /* of them for one address */
#define ANSWER_MAX 1024u /* bytes of one that are looked at */

/* Counted per who is asked, and per domain they come from. */
static const struct xmpp_rate asked = { .count = 20, .seconds = 600, .local = true };
static const struct xmpp_rate asked_domain = { .count = 2000, .seconds = 600, .local = true };
static const struct xmpp_rate failed = { .count = 10, .seconds = 600, .local = true };

struct entry { /* one malloc with its strings */
	TAILQ_ENTRY(entry) link;
	struct xmpp_captcha c;
	uint64_t until; /* td_mono_ms */
	unsigned owner; /* worker of <to> */
	struct td_str who, to;
	struct td_str answers; /* to the question, one a line */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock. */
static TAILQ_HEAD(entries, entry) entries = TAILQ_HEAD_INITIALIZER(entries); /* oldest first */
static struct td_map by_id;

/* ---- the table; the lock is held ---- */

static void
take_out(struct entry *e)
{
	TAILQ_REMOVE(&entries, e, link);
	(void)td_map_del(&by_id, td_cstr(e->c.id));
}

static void
entry_free(struct entry *e)
{
	if (e == NULL)
		return;
	td_wipe(e->c.text, sizeof(e->c.text));
	free(e);
}

static struct entry *
find(struct td_str id)
{
	struct entry *e = id.len == XMPP_CAPTCHA_ID ? td_map_find(&by_id, id) : NULL;

	if (e == NULL || e->until > td_mono_ms())
		return e;
	take_out(e);
	entry_free(e);
	return NULL;
}

/* Those whose time is over, and of <who> all but its latest. */
static void
make_room(struct td_str who)
{
	uint64_t now = td_mono_ms();
	struct entry *e, *next, *first = NULL;
	unsigned n = 0;

	for (e = TAILQ_FIRST(&entries); e != NULL; e = next) {
		next = TAILQ_NEXT(e, link);
		if (e->until <= now) {
			take_out(e);
			entry_free(e);
		} else if (who.len > 0 && td_str_eq(e->who, who)) {
			first = first == NULL ? e : first;
			n++;
		}
	}
	e = n >= OPEN_OF_ONE ? first : by_id.len >= OPEN_MAX ? TAILQ_FIRST(&entries) : NULL;
	if (e != NULL) {
		take_out(e);
		entry_free(e);
	}
}

static void
put_in(struct entry *e)
{
	TAILQ_INSERT_TAIL(&entries, e, link);
	(void)td_map_set(&by_id, td_cstr(e->c.id), e);
}

/* ---- asking ---- */

/* One of captcha_questions: "question | answer | other answer". */
static struct td_str
pick_question(const struct conf *conf, const struct conf_at *at, struct td_buf *answers)
{
	size_t n;
	const struct td_str *list = conf_list(conf, at, "captcha_questions", &n);
	struct td_str q = TD_STR_NULL, rest;
	ptrdiff_t bar;
	uint32_t lot;

	if (n == 0)
		return q;
	td_random(&lot, sizeof(lot));
	rest = list[lot % n];
	bar = td_str_chr(rest, '|');
	if (bar < 0)
		return q;
	q = td_str_trim(td_str(rest.p, (size_t)bar));
	while (bar >= 0) {
		rest = td_str(rest.p + bar + 1, rest.len - (size_t)bar - 1);
		bar = td_str_chr(rest, '|');
		td_buf_adds(answers, td_str_trim(td_str(rest.p, bar < 0 ? rest.len : (size_t)bar)));
		td_buf_addc(answers, '\n');
	}
	return q;
}

static void
fill(struct xmpp_env *env, const struct xmpp_captcha_ask *ask, struct xmpp_captcha *c,
     struct td_buf *answers)
{
	struct conf_at at = { .protocol = "xmpp", .domain = ask->domain };
	struct td_str q = pick_question(env->conf, &at, answers);
	int64_t bits = conf_int(env->conf, &at, "captcha_hashcash");
	unsigned char id[XMPP_CAPTCHA_ID / 2];
	struct td_buf hex = { 0 };
	uint32_t lot;

	td_random(id, sizeof(id));
	td_buf_add_hex(&hex, id, sizeof(id));
	(void)snprintf(c->id, sizeof(c->id), "%s", td_buf_cstr(&hex));
	td_buf_fini(&hex);
	c->kind = (uint8_t)ask->kind;
	xmpp_captcha_text(c->text);
	td_random(&c->seed, sizeof(c->seed));
	q.len = td_utf8_cut(q, sizeof(c->question) - 1);
	if (q.p != NULL && q.len > 0)
		memcpy(c->question, q.p, q.len);
	if (bits > 0) { /* 6.2: a number of exactly that many bits */
		td_random(&lot, sizeof(lot));
		lot = (lot >> (32 - bits)) | UINT32_C(1) << (bits - 1);
		(void)snprintf(c->bits, sizeof(c->bits), "%x", lot);
	}
	c->life_s = (unsigned)conf_int(env->conf, &at, "captcha_life");
}

static bool
is_too_often(struct td_str who)
{
	struct td_buf key = { 0 };
	ptrdiff_t at = td_str_chr(who, '@');
	const char *domain;
	bool over;

	td_buf_adds(&key, who);
	domain = td_buf_cstr(&key) + (at < 0 ? 0 : at + 1);
	over = xmpp_throttle_over(XT_CAPTCHA_WRONG, key.p, &failed) ||
	       xmpp_throttle_over(XT_CAPTCHA, key.p, &asked) ||
	       xmpp_throttle_over(XT_CAPTCHA_DOMAIN, domain, &asked_domain);
	if (!over) {
		xmpp_throttle_count(XT_CAPTCHA, key.p, &asked);
		xmpp_throttle_count(XT_CAPTCHA_DOMAIN, domain, &asked_domain);
	}
	td_buf_fini(&key);
	return over;
}

static struct td_str
keep(char **at, struct td_str s)
{
	struct td_str kept = td_str(*at, s.len);

	if (s.len > 0)
		memcpy(*at, s.p, s.len);
	*at += s.len;
	return kept;
}

bool
xmpp_captcha_new(struct xmpp_env *env, const struct xmpp_captcha_ask *ask, struct xmpp_captcha *out)
{
	struct td_buf answers = { 0 };
	struct entry *e;
	char *at;

	if (is_too_often(ask->who))
		return false;
	*out = (struct xmpp_captcha){ .kind = 0 };
	fill(env, ask, out, &answers);
	e = td_zalloc(sizeof(*e) + ask->who.len + ask->to.len + answers.len);
	at = (char *)(e + 1);
	e->c = *out;
	e->until = td_mono_ms() + out->life_s * UINT64_C(1000);
	e->owner = xmpp_owner(env, ask->to);
	e->who = keep(&at, ask->who);
	e->to = keep(&at, ask->to);
	e->answers = keep(&at, td_buf_str(&answers));
	td_buf_fini(&answers);
	pthread_mutex_lock(&lock);
	make_room(e->who);
	put_in(e);
	pthread_mutex_unlock(&lock);
	td_log_debug(&env->log, "captcha-asked", "who=%s to=%s", td_esc(ask->who), td_esc(ask->to));
	return true;
}

void
xmpp_captcha_drop(const char *id)
{
	struct entry *e;

	pthread_mutex_lock(&lock);
	e = find(td_cstr(id));
	if (e != NULL)
		take_out(e);
	pthread_mutex_unlock(&lock);
	entry_free(e);
}

bool
xmpp_captcha_look(struct td_str id, struct xmpp_captcha *out)
{
	const struct entry *e;

	pthread_mutex_lock(&lock);
	e = find(id);
	if (e != NULL)
		*out = e->c;
	pthread_mutex_unlock(&lock);
	return e != NULL;
}

/* ---- answers ---- */

static bool
is_ocr_right(const struct entry *e, struct td_str s)
{
	return td_str_ieq(td_str_trim(s), td_cstr(e->c.text));
}

static bool
is_qa_right(const struct entry *e, struct td_str s)
{
	struct td_str rest = e->answers;

	s = td_str_trim(s);
	while (s.len > 0 && rest.len > 0) {
		size_t n = (size_t)td_str_chr(rest, '\n');

		if (td_str_ieq(s, td_str(rest.p, n)))
			return true;
		rest = td_str(rest.p + n + 1, rest.len - n - 1);
	}
	return false;
}

/* 6.2: begins with the address, and its hash ends with the bits. */
static bool
is_hash_right(const struct entry *e, struct td_str s)
{
	unsigned char hash[32];
	unsigned long wanted = strtoul(e->c.bits, NULL, 16);
	uint32_t end, mask = 1;

	if (e->c.bits[0] == '\0' || s.len <= e->to.len || memcmp(s.p, e->to.p, e->to.len) != 0 ||
	    EVP_Digest(s.p, s.len, hash, NULL, EVP_sha256(), NULL) != 1)
		return false;
	end = (uint32_t)hash[28] << 24 | (uint32_t)hash[29] << 16 | (uint32_t)hash[30] << 8 |
	      hash[31];
	while (mask < wanted)
		mask = mask << 1 | 1;
	return (end & mask) == wanted;
}

static const struct {
	const char *var;
	bool (*is_right)(const struct entry *e, struct td_str s);
} challenges[] = {
	{ "ocr", is_ocr_right },
	{ "qa", is_qa_right },
	{ "SHA-256", is_hash_right },
};

static bool
is_right(const struct entry *e, const struct xmpp_form *form)
{
	for (size_t i = 0; i < sizeof(challenges) / sizeof(challenges[0]); i++) {
		struct td_str s = xmpp_form_value(form, challenges[i].var);

		if (s.len > 0 && s.len <= ANSWER_MAX && challenges[i].is_right(e, s))
			return true;
	}
	return false;
}

struct news {
	uint8_t kind;
	bool passed;
	char id[XMPP_CAPTCHA_ID + 1];
	size_t len;
	char to[];
};

static void
tell_here(struct xmpp_env *env, void *arg)
{
	struct news *n = arg;
	struct td_str to = td_str(n->to, n->len);

	if (n->kind == CAPTCHA_CONTACT)
		xmpp_captcha_settled(env, to, n->id, n->passed);
	else
		muc_captcha_settled(env, to, n->id, n->passed);
	free(n);
}

/* To the worker of the account or the room; registration asks by itself. */
static void
tell(struct xmpp_env *env, const struct entry *e, bool passed)
{
	struct news *n;

	if (passed)
		td_log_info(&env->log, "captcha-passed", "who=%s to=%s", td_esc(e->who),
			    td_esc(e->to));
	else
		td_log_info(&env->log, "captcha-failed", "who=%s to=%s", td_esc(e->who),
			    td_esc(e->to));
	if (e->c.kind == CAPTCHA_REGISTER)
		return;
	n = td_zalloc(sizeof(*n) + e->to.len);
	n->kind = e->c.kind;
	n->passed = passed;
	memcpy(n->id, e->c.id, sizeof(n->id));
	n->len = e->to.len;
	memcpy(n->to, e->to.p, e->to.len);
	env->host->post(env, e->owner, tell_here, n);
}

static void
count_failure(struct td_str who)
{
	char *key = td_strndup(who);

	xmpp_throttle_count(XT_CAPTCHA_WRONG, key, &failed);
	free(key);
}

/* Out of the table when it is for <who>; NULL: it is not. */
static struct entry *
use_up(struct td_str id, struct td_str who)
{
	struct entry *e = find(id);

	if (e == NULL || (who.p != NULL && !td_str_eq(who, e->who)) ||
	    (who.p == NULL && e->c.passed))
		return NULL;
	take_out(e);
	return e;
}

enum xmpp_captcha_verdict
xmpp_captcha_answer(struct xmpp_env *env, struct td_str id, struct td_str who,
		    const struct xmpp_form *form)
{
	struct entry *e;
	bool right = false;

	pthread_mutex_lock(&lock);
	e = use_up(id, who);
	if (e != NULL)
		right = e->c.passed || is_right(e, form);
	if (right && who.p == NULL && e->c.kind == CAPTCHA_REGISTER) {
		/* what it was for comes on the stream */
		e->c.passed = true;
		put_in(e);
		e = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (e == NULL)
		return right ? CAPTCHA_RIGHT : CAPTCHA_UNKNOWN;
	if (!right)
		count_failure(e->who);
	tell(env, e, right);
	entry_free(e);
	return right ? CAPTCHA_RIGHT : CAPTCHA_WRONG;
}

static void
decline(struct xmpp_env *env, struct td_str id, struct td_str who)
{
	struct entry *e;

	pthread_mutex_lock(&lock);
	e = use_up(id, who);
	pthread_mutex_unlock(&lock);
	if (e != NULL)
		tell(env, e, false);
	entry_free(e);
}

void
xmpp_captcha_declined(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	const struct xmpp_node *err = xmpp_node_child(s->root, NULL, "error");

	if (s->id.len == XMPP_CAPTCHA_ID && err != NULL &&
	    xmpp_node_child(err, NS_STANZA_ERRORS, xmpp_error_name(XE_NOT_ACCEPTABLE)) != NULL)
		decline(env, s->id, s->from.bare);
}

/* ---- as stanzas ---- */

bool
xmpp_captcha_url(struct xmpp_env *env, struct td_str domain, const char *id, struct td_buf *out)
{
	if (!conf_public_url(env->conf, domain, out))
		return false;
	td_buf_addf(out, XMPP_CAPTCHA_PATH "%s", id);
	return true;
}

static void
add_picture(struct xmpp_env *env, const struct xmpp_captcha *c, struct td_str domain,
	    struct td_buf *fields, struct td_buf *data)
{
	struct td_buf png = { 0 }, url = { 0 };
	char cid[XMPP_BOB_CID];

	xmpp_captcha_draw(c->text, c->seed, &png);
	xmpp_bob_put(env, "image/png", td_buf_str(&png), c->life_s, cid);
	td_buf_addf(fields,
		    "<field type='text-single' var='ocr' label='Enter the text you see'>"
		    "<media xmlns='" NS_MEDIA "' height='%u' width='%u'>",
		    XMPP_CAPTCHA_HEIGHT, XMPP_CAPTCHA_WIDTH);
	if (xmpp_captcha_url(env, domain, c->id, &url)) {
		td_buf_addz(fields, "<uri type='image/png'>");
		td_buf_add_xml(fields, td_buf_str(&url));
		td_buf_addz(fields, ".png</uri>");
	}
	td_buf_addf(fields, "<uri type='image/png'>cid:%s</uri></media></field>", cid);
	td_buf_addf(data, "<data xmlns='urn:xmpp:bob' cid='%s' type='image/png' max-age='%u'>", cid,
		    c->life_s);
	td_buf_add_base64(data, png.p, png.len);
	td_buf_addz(data, "</data>");
	td_buf_fini(&png);
	td_buf_fini(&url);
}

void
xmpp_captcha_fields(struct xmpp_env *env, const struct xmpp_captcha *c, struct td_str domain,
		    struct td_buf *fields, struct td_buf *data)
{
	add_picture(env, c, domain, fields, data);
	if (c->question[0] != '\0')
		xmpp_form_add(fields, "text-single", "qa", c->question, NULL, 0, NULL);
	if (c->bits[0] != '\0')
		xmpp_form_add(fields, "text-single", "SHA-256", c->bits, NULL, 0, NULL);
}

static void
add_body(struct td_str to, struct td_str url, struct td_buf *b)
{
	td_buf_addz(b, "<body>Your messages to ");
	td_buf_add_xml(b, to);
	td_buf_addz(b, " are being blocked. ");
	if (url.len > 0) {
		td_buf_addz(b, "To unblock them, visit ");
		td_buf_add_xml(b, url);
	} else {
		td_buf_addz(b, "To unblock them, answer the form that comes with this message.");
	}
	td_buf_addz(b, "</body>");
	if (url.len > 0) {
		td_buf_addz(b, "<x xmlns='" NS_OOB "'><url>");
		td_buf_add_xml(b, url);
		td_buf_addz(b, "</url></x>");
	}
}

void
xmpp_captcha_send(struct xmpp_env *env, const struct xmpp_captcha *c, struct td_str domain,
		  const struct xmpp_jid *from, const struct xmpp_stanza *s)
{
	struct xmpp_stanza *m = xmpp_stanza_new(XK_MESSAGE, XT_NONE);
	struct td_buf b = { 0 }, data = { 0 }, url = { 0 };
	/* rule 8: the address that was written to */
	struct td_str to = c->kind == CAPTCHA_ROOM ? s->to.bare : s->to.full;

	(void)xmpp_captcha_url(env, domain, c->id, &url);
	add_body(to, td_buf_str(&url), &b);
	td_buf_addz(&b, "<captcha xmlns='" NS_CAPTCHA "'>");
	xmpp_form_open(&b, FORM_FORM, NS_CAPTCHA);
	xmpp_form_add1(&b, "hidden", "from", NULL, to);
	xmpp_form_add1(&b, "hidden", "challenge", NULL, td_cstr(c->id));
	if (s->id.p != NULL)
		xmpp_form_add1(&b, "hidden", "sid", NULL, s->id);
	xmpp_captcha_fields(env, c, domain, &b, &data);
	xmpp_form_close(&b);
	td_buf_addz(&b, "</captcha>");
	td_buf_adds(&b, td_buf_str(&data));
	/* it is of no use later */
	td_buf_addz(&b, "<no-store xmlns='urn:xmpp:hints'/>");
	m->lang = td_arena_str(m->arena, s->lang);
	xmpp_stanza_append_raw(m, td_buf_str(&b));
	xmpp_stanza_set_id(m, td_cstr(c->id));
	xmpp_stanza_set_from(m, from);
	xmpp_stanza_set_to(m, &s->from);
	m->flags |= XF_NO_STORE | XF_NO_BOUNCE;
	xmpp_route(env, m);
	td_buf_fini(&b);
	td_buf_fini(&data);
	td_buf_fini(&url);
}

/* 3.1.4: of type cancel; there is nothing to modify, the challenge is used up. */
static void
refuse(struct xmpp_env *env, const struct xmpp_stanza *s, enum xmpp_error e, const char *text)
{
	struct xmpp_stanza *r = xmpp_stanza_error(s, e, td_cstr(text));

	if (r == NULL || r->to.full.p == NULL) {
		xmpp_stanza_unref(&r);
		return;
	}
	xmpp_node_set(r->arena, xmpp_node_child(r->root, NULL, "error"), "type", TD_STR("cancel"));
	env->stats.errors++;
	r->flags |= XF_NO_BOUNCE;
	xmpp_route(env, r);
}

void
xmpp_captcha_iq(struct xmpp_env *env, const struct xmpp_stanza *s)
{
	const struct xmpp_node *n = xmpp_stanza_payload(s), *x = xmpp_form_find(n);
	struct xmpp_iq iq = { .env = env, .s = (struct xmpp_stanza *)(uintptr_t)s };
	struct xmpp_form form;

	if (x == NULL || xmpp_form_read(s->arena, x, &form) < 0 ||
	    (form.kind != FORM_SUBMIT && form.kind != FORM_CANCEL) ||
	    (form.type.p != NULL && !td_str_eqc(form.type, NS_CAPTCHA))) {
		xmpp_bounce(env, s, XE_BAD_REQUEST, NULL);
		return;
	}
	if (form.kind == FORM_CANCEL) {
		decline(env, xmpp_form_value(&form, "challenge"), s->from.bare);
		xmpp_iq_result(&iq, TD_STR_NULL);
		return;
	}
	switch (xmpp_captcha_answer(env, xmpp_form_value(&form, "challenge"), s->from.bare,
				    &form)) {
	case CAPTCHA_UNKNOWN: refuse(env, s, XE_SERVICE_UNAVAILABLE, NULL); break;
	case CAPTCHA_WRONG: refuse(env, s, XE_NOT_ACCEPTABLE, "This was not the answer."); break;
	case CAPTCHA_RIGHT: xmpp_iq_result(&iq, TD_STR_NULL); break;
	}
}
