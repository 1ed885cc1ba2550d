/* cred_file - file:// (user:password or user:{SCHEME}...) and digest:// (htdigest).
 *
 * A fetch looks at the file's stamp, reads it again when that changed, finds the entry and
 * copies it.  A file that cannot be read in full (missing, readable by others, a bad line)
 * serves nobody until it is mended: the answer is a temporary failure, logged once per change.
 *
 * The surprising thing: clear text needs a key derivation before SCRAM can use it, and doing
 * that when its owner first signs in would tell known from unknown names by their timing.  So
 * every fetch, whomever it is for, derives one entry as long as any is left. */
#include "xmpp/cred.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/log.h"
#include "gateway/base/map.h"
#include "xmpp/jid.h"
#include "xmpp/sasl_priv.h"

#define FILE_MAX (64 * 1024 * 1024)

static const struct td_logctx cred_log = { .domain = "xmpp.sasl" };

struct entry {
	struct xmpp_credentials cred;
	bool cold; /* clear text whose keys are not derived yet */
	struct entry *next_cold;
	char key[]; /* prepared bare JID or local part; digest: local part ":" realm */
};

struct table {
	struct td_map users;
	struct entry *cold; /* may hold entries that are warm by now */
	size_t n_clear;
	unsigned iterations; /* of the first SCRAM line, for all that name none */
	char *realm;         /* digest: of the first line */
	bool many_realms;
};

struct file_format;

struct cred_file {
	struct xmpp_cred_source base;
	const struct file_format *format;
	char *path;
	pthread_mutex_t lock; /* guards all below; held while deriving, not while reading */
	struct table *table;  /* NULL: rc says why */
	int rc;
	struct stat stamp;
	bool clear_noted;
};

/* What a line is parsed with. */
struct reader {
	struct table *table;
	struct td_arena *arena;
	const char *path;
	unsigned line;
	struct td_err *err;
};

struct file_format {
	int (*line)(struct reader *r, struct td_str s);
	/* Find <bare>'s entry. */
	struct entry *(*find)(struct table *t, struct td_str bare);
};

/* ---- tables ---- */

static void
table_free(struct table *t)
{
	struct entry *e;
	size_t i = 0;

	if (t == NULL)
		return;
	while ((e = td_map_next(&t->users, &i)) != NULL) {
		xmpp_credentials_fini(&e->cred);
		free(e);
	}
	td_map_fini(&t->users);
	free(t->realm);
	free(t);
}

static struct entry *
table_entry(struct table *t, struct td_str key)
{
	struct entry *e = td_map_find(&t->users, key);

	if (e != NULL)
		return e;
	e = td_zalloc(sizeof(*e) + key.len + 1);
	memcpy(e->key, key.p, key.len);
	e->cred.found = true;
	td_map_set(&t->users, td_str(e->key, key.len), e);
	return e;
}

static int
bad_line(struct reader *r, const char *why)
{
	return td_fail(r->err, TD_E_INVAL, "%s:%u: %s", r->path, r->line, why);
}

/* Derive what clear text lacks. */
static void
warm(struct table *t, struct entry *e)
{
	struct {
		const EVP_MD *md;
		struct store_scram *key;
	} todo[] = { { EVP_sha1(), &e->cred.sha1 }, { EVP_sha256(), &e->cred.sha256 } };

	e->cold = false;
	for (size_t i = 0; i < sizeof(todo) / sizeof(todo[0]); i++) {
		struct store_scram *k = todo[i].key;

		if (k->key_len > 0)
			continue;
		/* Not random: a salt that changes with each restart would tell this account
		 * from an unknown one, whose salt cannot change. */
		sasl_stable_salt(todo[i].md, td_cstr(e->key), k->salt);
		k->salt_len = CRED_SALT_LEN;
		k->iterations = t->iterations;
		if (sasl_scram_keys(todo[i].md, e->cred.password, k) < 0)
			*k = (struct store_scram){ 0 };
	}
}

/* One derivation per fetch while any is left; see the head of this file. */
static void
warm_one(struct table *t, struct entry *wanted)
{
	while (t->cold != NULL && !t->cold->cold)
		t->cold = t->cold->next_cold;
	if (wanted != NULL && wanted->cold)
		warm(t, wanted);
	else if (t->cold != NULL)
		warm(t, t->cold);
}

/* Lines that did not change keep their keys. */
static void
carry_over(struct table *from, struct table *to)
{
	struct entry *e;
	size_t i = 0;

	if (from == NULL || from->iterations != to->iterations)
		return;
	while ((e = td_map_next(&to->users, &i)) != NULL) {
		const struct entry *old = td_map_find(&from->users, td_cstr(e->key));

		if (!e->cold || old == NULL || old->cold || old->cred.password == NULL ||
		    strcmp(old->cred.password, e->cred.password) != 0)
			continue;
		if (e->cred.sha1.key_len == 0)
			e->cred.sha1 = old->cred.sha1;
		if (e->cred.sha256.key_len == 0)
			e->cred.sha256 = old->cred.sha256;
		e->cold = false;
	}
}

/* ---- file:// ---- */

static int
parse_scram(struct reader *r, struct td_str s, size_t key_len, struct store_scram *key)
{
	const char *why;

	if (key->key_len > 0)
		return bad_line(r, "this user has such a line already");
	if (!xmpp_scram_parse(s, key_len, key, &why))
		return bad_line(r, why);
	if (r->table->iterations == 0)
		r->table->iterations = key->iterations;
	return 0;
}

static int
line_sha1(struct reader *r, struct entry *e, struct td_str s)
{
	return parse_scram(r, s, 20, &e->cred.sha1);
}

static int
line_sha256(struct reader *r, struct entry *e, struct td_str s)
{
	return parse_scram(r, s, 32, &e->cred.sha256);
}

static int
line_crypt(struct reader *r, struct entry *e, struct td_str s)
{
	if (s.len == 0 || e->cred.crypt != NULL)
		return bad_line(r, s.len == 0 ? "empty" : "this user has such a line already");
	e->cred.crypt = td_strndup(s);
	return 0;
}

static int
line_clear(struct reader *r, struct entry *e, struct td_str s)
{
	if (e->cred.password != NULL)
		return bad_line(r, "this user has such a line already");
	e->cred.password = sasl_prep_password(s, false);
	if (e->cred.password == NULL)
		return bad_line(r, "password is empty, too long or has forbidden characters");
	e->cold = true;
	e->next_cold = r->table->cold;
	r->table->cold = e;
	r->table->n_clear++;
	return 0;
}

static const struct {
	const char *prefix;
	int (*parse)(struct reader *r, struct entry *e, struct td_str s);
} line_schemes[] = {
	{ "{SCRAM-SHA-256}", line_sha256 },
	{ "{SCRAM-SHA-1}", line_sha1 },
	{ "{CRYPT}", line_crypt },
};

/* Does it look like {SCHEME}...? An unknown scheme must not be taken for clear text. */
static bool
has_scheme(struct td_str s)
{
	size_t i = 1;

	if (s.len < 3 || s.p[0] != '{')
		return false;
	while (i < s.len && ((s.p[i] >= 'A' && s.p[i] <= 'Z') || (s.p[i] >= '0' && s.p[i] <= '9') ||
			     s.p[i] == '-'))
		i++;
	return i > 1 && i < s.len && s.p[i] == '}';
}

static int
file_line(struct reader *r, struct td_str s)
{
	ptrdiff_t colon = td_str_chr(s, ':');
	struct td_str name, value;
	struct xmpp_jid jid;
	struct entry *e;
	int rc;

	if (colon <= 0)
		return bad_line(r, "want user:password");
	name = td_str(s.p, (size_t)colon);
	value = td_str(s.p + colon + 1, s.len - (size_t)colon - 1);
	if (td_str_chr(name, '@') >= 0)
		rc = xmpp_jid_parse(r->arena, name, &jid, NULL);
	else
		rc = xmpp_jid_make(r->arena, name, TD_STR("x"), TD_STR_NULL, &jid, NULL);
	if (rc < 0 || jid.local.p == NULL || !xmpp_jid_is_bare(&jid))
		return bad_line(r, "bad user name");
	e = table_entry(r->table, td_str_chr(name, '@') >= 0 ? jid.bare : jid.local);
	for (size_t i = 0; i < sizeof(line_schemes) / sizeof(line_schemes[0]); i++) {
		size_t n = strlen(line_schemes[i].prefix);

		if (td_str_starts(value, line_schemes[i].prefix))
			return line_schemes[i].parse(r, e, td_str(value.p + n, value.len - n));
	}
	if (has_scheme(value))
		return bad_line(r, "unknown {SCHEME}");
	return line_clear(r, e, value);
}

static struct entry *
file_find(struct table *t, struct td_str bare)
{
	struct entry *e = td_map_find(&t->users, bare);
	ptrdiff_t at = td_str_chr(bare, '@');

	return e != NULL || at < 0 ? e : td_map_find(&t->users, td_str(bare.p, (size_t)at));
}

static const struct file_format file_format = { file_line, file_find };

/* ---- digest:// ---- */

/* user:realm:HEX */
static int
digest_line(struct reader *r, struct td_str s)
{
	ptrdiff_t one = td_str_chr(s, ':'), two;
	struct td_str name, realm, hex;
	unsigned char raw[16];
	struct xmpp_jid jid;
	struct td_buf key = { 0 }, ha1 = { 0 };
	struct entry *e;

	if (one <= 0)
		return bad_line(r, "want user:realm:hash");
	name = td_str(s.p, (size_t)one);
	s = td_str(s.p + one + 1, s.len - (size_t)one - 1);
	two = td_str_chr(s, ':');
	if (two < 0)
		return bad_line(r, "want user:realm:hash");
	realm = td_str(s.p, (size_t)two);
	hex = td_str(s.p + two + 1, s.len - (size_t)two - 1);
	if (!td_hex_decode(hex, raw, sizeof(raw)))
		return bad_line(r, "hash is not 32 hex digits");
	if (realm.len >= sizeof(((struct xmpp_cred_hints *)0)->realm))
		return bad_line(r, "realm is too long");
	if (xmpp_jid_make(r->arena, name, TD_STR("x"), TD_STR_NULL, &jid, NULL) < 0)
		return bad_line(r, "bad user name");
	td_buf_adds(&key, jid.local);
	td_buf_addc(&key, ':');
	td_buf_adds(&key, realm);
	e = table_entry(r->table, td_buf_str(&key));
	td_buf_fini(&key);
	if (e->cred.digest_ha1 != NULL)
		return bad_line(r, "this user has such a line already");
	td_buf_add_hex(&ha1, raw, sizeof(raw));
	e->cred.digest_ha1 = td_strndup(td_buf_str(&ha1));
	td_wipe(ha1.p, ha1.len);
	td_buf_fini(&ha1);
	td_wipe(raw, sizeof(raw));
	if (r->table->realm == NULL)
		r->table->realm = td_strndup(realm);
	else if (!td_str_eqc(realm, r->table->realm))
		r->table->many_realms = true;
	return 0;
}

/* The challenge names one realm before the user is known: the only one there is, else the
 * domain's own. */
static struct entry *
digest_find(struct table *t, struct td_str bare)
{
	ptrdiff_t at = td_str_chr(bare, '@');
	struct td_buf key = { 0 };
	struct entry *e;

	if (at < 0)
		return NULL;
	td_buf_add(&key, bare.p, (size_t)at);
	td_buf_addc(&key, ':');
	if (t->realm != NULL && !t->many_realms)
		td_buf_addz(&key, t->realm);
	else
		td_buf_add(&key, bare.p + at + 1, bare.len - (size_t)at - 1);
	e = td_map_find(&t->users, td_buf_str(&key));
	td_buf_fini(&key);
	return e;
}

static const struct file_format digest_format = { digest_line, digest_find };

/* ---- reading ---- */

static int
parse_all(struct reader *r, const struct file_format *format, struct td_str text)
{
	int rc = 0;

	while (rc == 0 && text.len > 0) {
		ptrdiff_t nl = td_str_chr(text, '\n');
		struct td_str line = td_str(text.p, nl < 0 ? text.len : (size_t)nl);

		text = nl < 0 ? TD_STR_NULL : td_str(text.p + nl + 1, text.len - (size_t)nl - 1);
		r->line++;
		if (line.len > 0 && line.p[line.len - 1] == '\r')
			line.len--;
		if (line.len > 0 && line.p[0] != '#' && td_str_trim(line).len > 0)
			rc = format->line(r, line);
	}
	return rc;
}

/* Open, check and read <path> into <out>; *st says what was read. */
static int
read_file(const char *path, struct stat *st, struct td_buf *out, struct td_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n = 0;
	int rc = 0;

	if (fd < 0 || fstat(fd, st) < 0)
		rc = td_fail(err, TD_E_IO, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st->st_mode))
		rc = td_fail(err, TD_E_INVAL, "%s: not a regular file", path);
	else if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		rc = td_fail(err, TD_E_DENIED, "%s: open to others (mode %04o): chmod 600 it", path,
			     (unsigned)st->st_mode & 07777u);
	else if (st->st_size > FILE_MAX)
		rc = td_fail(err, TD_E_LIMIT, "%s: larger than %d bytes", path, FILE_MAX);
	if (rc == 0) {
		size_t size = (size_t)st->st_size;

		/* All at once: a buffer that moves leaves copies of passwords behind. */
		td_buf_reserve(out, size + 1);
		while (out->len < size && (n = read(fd, out->p + out->len, size - out->len)) > 0)
			out->len += (size_t)n;
		if (n < 0)
			rc = td_fail(err, TD_E_IO, "%s: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int
table_load(const char *path, const struct file_format *format, struct stat *st, struct table **out,
	   struct td_err *err)
{
	struct table *t = td_zalloc(sizeof(*t));
	struct reader r = { .table = t, .path = path, .err = err };
	struct td_buf text = { 0 };
	int rc;

	r.arena = td_arena_new(0);
	rc = read_file(path, st, &text, err);
	if (rc == 0)
		rc = parse_all(&r, format, td_buf_str(&text));
	td_wipe(text.p, text.len);
	td_buf_fini(&text);
	td_arena_free(r.arena);
	if (rc < 0) {
		table_free(t);
		return rc;
	}
	if (t->iterations == 0)
		t->iterations = CRED_ITERATIONS_CLEAR;
	*out = t;
	return 0;
}

static bool
same_stamp(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Put a new state in place. */
static void
install(struct cred_file *s, struct table *t, int rc, const struct stat *st)
{
	struct table *old;
	bool note;

	pthread_mutex_lock(&s->lock);
	if (t != NULL)
		carry_over(s->table, t);
	old = s->table;
	s->table = t;
	s->rc = rc;
	s->stamp = *st;
	note = t != NULL && t->n_clear > 0 && !s->clear_noted;
	s->clear_noted |= note;
	pthread_mutex_unlock(&s->lock);
	if (note)
		td_log_notice(&cred_log, "passwords-in-clear", "path=%s lines=%zu", s->path,
			      t->n_clear);
	table_free(old);
}

/* Read the file again if it is not the one we know.  Two workers may both do it; the later wins. */
static void
refresh(struct cred_file *s)
{
	struct table *t = NULL;
	struct stat st = { 0 };
	struct td_err err;
	bool same;
	int rc;

	if (stat(s->path, &st) < 0)
		st = (struct stat){ 0 };
	pthread_mutex_lock(&s->lock);
	same = same_stamp(&s->stamp, &st);
	pthread_mutex_unlock(&s->lock);
	if (same)
		return;
	rc = table_load(s->path, s->format, &st, &t, &err);
	if (rc < 0)
		td_log_error(&cred_log, "credentials-unreadable", "path=%s error=\"%s\"", s->path,
			     err.text);
	else
		td_log_info(&cred_log, "credentials-read", "path=%s users=%u", s->path,
			    t->users.len);
	install(s, t, rc, &st);
}

/* ---- the source ---- */

static void
file_fetch(struct xmpp_cred_source *base, struct td_str bare_jid, struct td_loop *loop,
	   xmpp_cred_cb *cb, void *arg)
{
	struct cred_file *s = (struct cred_file *)base;
	struct xmpp_credentials cred = { 0 };
	int rc;

	(void)loop; /* the answer comes before return */
	refresh(s);
	pthread_mutex_lock(&s->lock);
	rc = s->table != NULL ? 0 : s->rc;
	if (s->table != NULL) {
		struct entry *e = s->format->find(s->table, bare_jid);

		warm_one(s->table, e);
		if (e != NULL)
			xmpp_credentials_copy(&e->cred, &cred);
	}
	pthread_mutex_unlock(&s->lock);
	cb(arg, rc, &cred);
	xmpp_credentials_fini(&cred);
}

static void
file_hints(struct xmpp_cred_source *base, struct xmpp_cred_hints *hints)
{
	struct cred_file *s = (struct cred_file *)base;

	hints->iterations = CRED_ITERATIONS_CLEAR;
	pthread_mutex_lock(&s->lock);
	if (s->table != NULL)
		hints->iterations = s->table->iterations;
	pthread_mutex_unlock(&s->lock);
}

static void
digest_hints(struct xmpp_cred_source *base, struct xmpp_cred_hints *hints)
{
	struct cred_file *s = (struct cred_file *)base;

	refresh(s);
	hints->iterations = 0;
	pthread_mutex_lock(&s->lock);
	if (s->table != NULL && s->table->realm != NULL && !s->table->many_realms)
		(void)snprintf(hints->realm, sizeof(hints->realm), "%s", s->table->realm);
	pthread_mutex_unlock(&s->lock);
}

static void
file_free(struct xmpp_cred_source *base)
{
	struct cred_file *s = (struct cred_file *)base;

	table_free(s->table);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

static int
source_open(const struct xmpp_cred_ops *ops, const struct file_format *format, const char *path,
	    struct xmpp_cred_source **out, struct td_err *err)
{
	struct table *t = NULL;
	struct stat st = { 0 };
	struct cred_file *s;
	int rc;

	if (*path != '/')
		return td_fail(err, TD_E_INVAL, "%s:// needs an absolute path, got \"%s\"",
			       ops->scheme, path);
	rc = table_load(path, format, &st, &t, err);
	if (rc < 0)
		return rc;
	s = td_zalloc(sizeof(*s));
	s->base.ops = ops;
	s->base.refs = 1;
	s->format = format;
	s->path = td_strdup(path);
	pthread_mutex_init(&s->lock, NULL);
	install(s, t, 0, &st);
	*out = &s->base;
	return 0;
}

static int
file_open(const char *path, struct store *st, struct xmpp_cred_source **out, struct td_err *err)
{
	(void)st;
	return source_open(&xmpp_cred_file_ops, &file_format, path, out, err);
}

static int
digest_open(const char *path, struct store *st, struct xmpp_cred_source **out, struct td_err *err)
{
	(void)st;
	return source_open(&xmpp_cred_digest_ops, &digest_format, path, out, err);
}

const struct xmpp_cred_ops xmpp_cred_file_ops = {
	.scheme = "file",
	.open = file_open,
	.fetch = file_fetch,
	.hints = file_hints,
	.free = file_free,
};

const struct xmpp_cred_ops xmpp_cred_digest_ops = {
	.scheme = "digest",
	.open = digest_open,
	.fetch = file_fetch,
	.hints = digest_hints,
	.free = file_free,
};
