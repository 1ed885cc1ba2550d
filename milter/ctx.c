/* ctx - dictionaries, and the contexts of a connection and a mail (momentum.md 6.5).
 *
 * What the MTA said is put into a context when somebody asks for the context: most policies never
 * do.  A phase only notes what is to be filled in, so a later phase still overwrites what a script
 * set in an earlier one. */
#include "milter/mail.h"

#include <stdio.h>
#include <stdlib.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"

#define DICT_MAX 1000u

/* ---- dictionaries ---- */

struct entry {
	struct td_str key, value;
};

static void
entry_free(struct entry *e)
{
	if (e == NULL)
		return;
	free((void *)(uintptr_t)e->key.p);
	free((void *)(uintptr_t)e->value.p);
	free(e);
}

struct td_str
milt_dict_get(const struct milt_dict *d, struct td_str key)
{
	const struct entry *e = td_map_find(&d->map, key);

	return e != NULL ? e->value : TD_STR_NULL;
}

int
milt_dict_set(struct milt_dict *d, struct td_str key, struct td_str value)
{
	struct entry *e;

	if (value.p == NULL) {
		entry_free(td_map_del(&d->map, key));
		return 0;
	}
	if (d->map.len >= DICT_MAX && td_map_find(&d->map, key) == NULL)
		return TD_E_LIMIT;
	e = td_alloc(sizeof(*e));
	e->key = td_str(td_strndup(key), key.len);
	e->value = td_str(td_strndup(value), value.len);
	entry_free(td_map_set(&d->map, e->key, e));
	return 0;
}

bool
milt_dict_each(const struct milt_dict *d, size_t *pos, struct td_str *key_out,
	       struct td_str *value_out)
{
	const struct entry *e = td_map_next(&d->map, pos);

	if (e == NULL)
		return false;
	*key_out = e->key;
	*value_out = e->value;
	return true;
}

void
milt_dict_fini(struct milt_dict *d)
{
	size_t i = 0;
	struct entry *e;

	while ((e = td_map_next(&d->map, &i)) != NULL)
		entry_free(e);
	td_map_fini(&d->map);
}

/* ---- contexts (momentum.md 6.5) ---- */

static void
set_ctx(struct milt_dict *d, const char *key, struct td_str v)
{
	if (v.p != NULL)
		(void)milt_dict_set(d, td_cstr(key), v);
}

static void
set_ctx_u(struct milt_dict *d, const char *key, unsigned v)
{
	char num[16];

	(void)snprintf(num, sizeof(num), "%u", v);
	set_ctx(d, key, td_cstr(num));
}

static void
fill_tls(struct milt_conn *c, const struct td_str macros[MM_COUNT])
{
	if (macros[MM_CIPHER].len == 0 && macros[MM_TLS_VERSION].len == 0)
		return;
	c->tls = true;
	set_ctx(&c->ctx, "tls", TD_STR("on"));
	set_ctx(&c->ctx, "tls_cipher", macros[MM_CIPHER]);
	set_ctx(&c->ctx, "tls_cipher_algbits", macros[MM_CIPHER_BITS]);
	set_ctx(&c->ctx, "tls_cipher_usebits", macros[MM_CIPHER_BITS]);
	set_ctx(&c->ctx, "tls_client_cert_subject", macros[MM_CERT_SUBJECT]);
	set_ctx(&c->ctx, "tls_client_cert_issuer", macros[MM_CERT_ISSUER]);
}

void
milt_ctx_helo(struct milt_conn *c)
{
	struct td_buf b = { 0 };

	set_ctx(&c->ctx, "ehlo_domain", c->helo);
	td_buf_addf(&b, "EHLO %s", c->helo.p);
	set_ctx(&c->ctx, "ehlo_string", td_buf_str(&b));
	td_buf_fini(&b);
	fill_tls(c, c->macro);
}

void
milt_ctx_mail(struct milt_conn *c, struct milt_mail *m)
{
	/* at once, since the macros go with the mail; mostly there is none of these */
	fill_tls(c, m->macro);
	if (m->macro[MM_AUTH_AUTHEN].len > 0) {
		set_ctx(&c->ctx, "auth_status", TD_STR("pass"));
		set_ctx(&c->ctx, "auth_user", m->macro[MM_AUTH_AUTHEN]);
		set_ctx(&c->ctx, "auth_name", m->macro[MM_AUTH_TYPE]);
		set_ctx(&c->ctx, "can_relay", TD_STR("true"));
	}
	c->ctx_rcpts = 0;
	c->ctx_due |= MILT_DUE_MAILS | MILT_DUE_MESSAGE;
	m->ctx_from_due = true;
}

void
milt_ctx_rcpt(struct milt_conn *c, struct milt_mail *m, const struct milt_rcpt *r)
{
	c->ctx_rcpts = (unsigned)m->n_rcpts;
	c->ctx_due |= MILT_DUE_RCPTS | MILT_DUE_MESSAGE;
	m->ctx_rcpt = r;
}

struct milt_dict *
milt_conn_ctx(struct milt_conn *c)
{
	if (c->ctx_due & MILT_DUE_MAILS)
		set_ctx_u(&c->ctx, "connection_message_count", c->mails);
	if (c->ctx_due & MILT_DUE_RCPTS)
		set_ctx_u(&c->ctx, "connection_rcpt_count", c->rcpts);
	if (c->ctx_due & MILT_DUE_MESSAGE)
		set_ctx_u(&c->ctx, "message_rcpt_count", c->ctx_rcpts);
	c->ctx_due = 0;
	return &c->ctx;
}

/* What a command said: <key>_string, _localpart, _domain. */
static void
fill_command(struct milt_dict *d, const char *verb, const char *key, const struct milt_addr *a,
	     const struct td_str *args, size_t n)
{
	struct td_buf b = { 0 };
	char name[32];

	td_buf_addz(&b, verb);
	td_buf_adds(&b, a->raw);
	for (size_t i = 0; i < n; i++) {
		td_buf_addc(&b, ' ');
		td_buf_adds(&b, args[i]);
	}
	(void)snprintf(name, sizeof(name), "%s_string", key);
	set_ctx(d, name, td_buf_str(&b));
	(void)snprintf(name, sizeof(name), "%s_localpart", key);
	set_ctx(d, name, a->local);
	(void)snprintf(name, sizeof(name), "%s_domain", key);
	set_ctx(d, name, a->domain);
	td_buf_fini(&b);
}

struct milt_dict *
milt_mail_ctx(struct milt_mail *m)
{
	const struct milt_rcpt *r = m->ctx_rcpt;

	if (m->ctx_from_due)
		fill_command(&m->ctx, "MAIL FROM:", "mailfrom", &m->from, m->from_args,
			     m->n_from_args);
	if (r != NULL)
		fill_command(&m->ctx, "RCPT TO:", "rcptto", &r->addr, r->args, r->n_args);
	m->ctx_from_due = false;
	m->ctx_rcpt = NULL;
	return &m->ctx;
}
