/* archive - kept messages: one table ordered by (owner, id), one index for conversations.
 *
 * Addresses are numbers in both (archive_jids), looked up once and remembered by the writer.  New
 * rows come through a log, and a row of the table may be a pack of several messages (archive_log.c). */
#include "store/archive_priv.h"

#include <pthread.h>
#include <stdlib.h>
#include <openssl/evp.h>
#include "gateway/base/map.h"

#define SEQ_BITS 20u
#define PURGE_BATCH 2000
#define PAGE_BYTES (2u << 20) /* of stanzas in one answer */
#define SCAN_MAX 100000       /* rows looked at for one search by text */

const char store_schema_archive[] =
	"CREATE TABLE archive_jids ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" jid TEXT NOT NULL UNIQUE,"
	" domain TEXT NOT NULL);"
	"CREATE INDEX archive_jids_domain ON archive_jids (domain);"
	"CREATE TABLE archive ("
	" owner INTEGER NOT NULL,"
	" id INTEGER NOT NULL,"
	" peer INTEGER NOT NULL,"
	" flags INTEGER NOT NULL,"
	" resource TEXT,"
	" stanza BLOB NOT NULL,"
	" PRIMARY KEY (owner, id)) WITHOUT ROWID;"
	"CREATE INDEX archive_peer ON archive (owner, peer, id);"
	"INSERT INTO settings (owner, key, value) VALUES ('', 'archive-key', randomblob(16));";

/* ---- ids ---- */

uint64_t
store_archive_id(uint64_t last, uint64_t now)
{
	uint64_t id = now << SEQ_BITS;

	return id > last ? id : last + 1;
}

uint64_t
store_archive_when(uint64_t id)
{
	return id >> SEQ_BITS;
}

uint64_t
store_archive_first(uint64_t ms)
{
	return ms >> (63 - SEQ_BITS) ? INT64_MAX : ms << SEQ_BITS;
}

static void
put64(unsigned char *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (unsigned char)v;
}

static uint64_t
get64(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* Something of the owner that fits; the key makes it useless to others. */
static uint64_t
owner_mark(struct td_str owner)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: the same after a restart */

	for (size_t i = 0; i < owner.len; i++)
		h = (h ^ (unsigned char)owner.p[i]) * 0x100000001b3u;
	return h;
}

/* One block, with a context per thread: making one costs more than the block. */
/* They go with their thread. */
struct ciphers {
	EVP_CIPHER_CTX *ctx[2];
	unsigned char key_of[2][16];
};
static pthread_key_t ciphers_key;
static pthread_once_t ciphers_once = PTHREAD_ONCE_INIT;

static void
ciphers_free(void *arg)
{
	struct ciphers *c = arg;

	EVP_CIPHER_CTX_free(c->ctx[0]);
	EVP_CIPHER_CTX_free(c->ctx[1]);
	td_wipe(c, sizeof(*c));
	free(c);
}

static void
make_ciphers_key(void)
{
	if (pthread_key_create(&ciphers_key, ciphers_free) != 0)
		abort();
}

static struct ciphers *
my_ciphers(void)
{
	struct ciphers *c;

	pthread_once(&ciphers_once, make_ciphers_key);
	c = pthread_getspecific(ciphers_key);
	if (c == NULL) {
		c = td_zalloc(sizeof(*c));
		if (pthread_setspecific(ciphers_key, c) != 0)
			abort();
	}
	return c;
}

static bool
crypt_block(const struct store *st, const unsigned char in[16], unsigned char out[16], bool encrypt)
{
	struct ciphers *mine = my_ciphers();
	const unsigned char *key = store_archive_key(st);
	EVP_CIPHER_CTX **c = &mine->ctx[encrypt];
	unsigned char *key_of = mine->key_of[encrypt];
	int n = 0;

	if (*c == NULL || memcmp(key_of, key, 16) != 0) {
		if (*c == NULL && (*c = EVP_CIPHER_CTX_new()) == NULL)
			return false;
		if (EVP_CipherInit_ex(*c, EVP_aes_128_ecb(), NULL, key, NULL, encrypt) != 1)
			return false;
		EVP_CIPHER_CTX_set_padding(*c, 0);
		memcpy(key_of, key, 16);
	}
	return EVP_CipherUpdate(*c, out, &n, in, 16) == 1 && n == 16;
}

void
store_archive_name(const struct store *st, struct td_str owner, uint64_t id,
		   char out[STORE_ARCHIVE_NAME + 1])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char in[16], block[16] = { 0 };

	put64(in, id);
	put64(in + 8, owner_mark(owner));
	(void)crypt_block(st, in, block, true);
	for (size_t i = 0; i < 16; i++) {
		out[2 * i] = hex[block[i] >> 4];
		out[2 * i + 1] = hex[block[i] & 15];
	}
	out[STORE_ARCHIVE_NAME] = '\0';
}

bool
store_archive_named(const struct store *st, struct td_str owner, struct td_str name, uint64_t *id)
{
	unsigned char block[16], out[16];

	if (name.len != STORE_ARCHIVE_NAME || !td_hex_decode(name, block, sizeof(block)) ||
	    !crypt_block(st, block, out, false))
		return false;
	*id = get64(out);
	return get64(out + 8) == owner_mark(owner) && *id <= INT64_MAX;
}

/* ---- addresses as numbers ---- */

#define JIDS_MAX 16384u

struct known_jid {
	int64_t id;
	char text[];
};

/* Rows of archive_jids stay for ever, so what was found once is so, unless its insertion is rolled back. */
struct store_jids {
	struct td_map ids;
};

struct store_jids *
store_jids_new(void)
{
	return td_zalloc(sizeof(struct store_jids));
}

void
store_jids_drop(struct store_jids *j)
{
	struct known_jid *k;
	size_t i = 0;

	while ((k = td_map_next(&j->ids, &i)) != NULL)
		free(k);
	td_map_fini(&j->ids);
}

void
store_jids_free(struct store_jids *j)
{
	if (j == NULL)
		return;
	store_jids_drop(j);
	free(j);
}

static void
remember_jid(struct store_jids *j, struct td_str jid, int64_t id)
{
	struct known_jid *k = td_alloc(sizeof(*k) + jid.len);

	if (j->ids.len >= JIDS_MAX)
		store_jids_drop(j);
	k->id = id;
	memcpy(k->text, jid.p, jid.len);
	free(td_map_set(&j->ids, td_str(k->text, jid.len), k));
}

int
archive_find_jid(struct store_op *op, struct store_db *db, struct td_str jid, int64_t *id)
{
	*id = 0;
	return store_db_int(db, &op->err, id, "SELECT id FROM archive_jids WHERE jid = ?1",
			    SV(sv_text(jid)));
}

int
archive_make_jid(struct store_op *op, struct store_db *db, struct td_str jid, int64_t *id)
{
	struct store_jids *jids = store_jids_of(op->st);
	const struct known_jid *known = td_map_find(&jids->ids, jid);
	ptrdiff_t at = td_str_chr(jid, '@');
	struct td_str domain = td_str(jid.p + at + 1, jid.len - (size_t)(at + 1));
	int rc;

	if (known != NULL) {
		*id = known->id;
		return 0;
	}
	if ((rc = archive_find_jid(op, db, jid, id)) < 0)
		return rc;
	if (rc == 0) {
		rc = store_db_do(db, &op->err,
				 "INSERT INTO archive_jids (jid, domain) VALUES (?1, ?2)",
				 SV(sv_text(jid), sv_text(domain)));
		if (rc < 0)
			return rc;
		*id = sqlite3_last_insert_rowid(store_db_handle(db));
	}
	remember_jid(jids, jid, *id);
	return 0;
}

/* ---- add ---- */

#define BLOB_BYTES (256u << 10) /* of one row of the log, or a little more */

struct add_op {
	struct store_op op;
	struct td_str *blobs;
	size_t n_blobs, n;
};

int
store_archive_insert_at(struct store_op *op, struct store_db *db, const struct store_archived *r,
			uint64_t when)
{
	struct store_archived row = *r;
	int64_t owner = 0, peer = 0, last = 0;
	int rc;

	row.id = store_archive_first(when);
	if ((rc = store_archive_sort(op, db)) < 0 ||
	    (rc = archive_make_jid(op, db, r->owner, &owner)) < 0 ||
	    (rc = archive_make_jid(op, db, r->peer, &peer)) < 0)
		return rc;
	rc = store_db_int(db, &op->err, &last,
			  "SELECT max(id) FROM archive WHERE owner = ?1 AND id >= ?2 AND id < ?3",
			  SV(sv_int(owner), sv_int((int64_t)row.id),
			     sv_int((int64_t)store_archive_first(when + 1))));
	if (rc < 0)
		return rc;
	if (last > 0)
		row.id = (uint64_t)last + 1;
	return archive_place(op, db, owner, peer, &row);
}

static int
add_run(struct store_op *op, struct store_db *db)
{
	struct add_op *o = (struct add_op *)op;
	int rc = 0;

	for (size_t i = 0; i < o->n_blobs && rc >= 0; i++)
		rc = archive_log_add(op, db, o->blobs[i]);
	op->res.id = o->n;
	return rc;
}

static const struct store_opdef archive_add = {
	.name = "archive-add",
	.write = true,
	.logs = true,
	.run = add_run,
	.reply = store_op_reply,
};

/* One blob of the first of <n> rows; how many. */
static size_t
add_blob(struct add_op *o, const struct store_archived *rows, size_t n)
{
	size_t len = 0, done = 0;
	char *p;

	for (; done < n && len < BLOB_BYTES; done++)
		len += archive_pack_put(NULL, &rows[done], done > 0 ? &rows[done - 1] : NULL);
	p = td_arena_alloc(o->op.arena, len);
	o->blobs = store_op_grow(&o->op, o->blobs, o->n_blobs, sizeof(*o->blobs));
	o->blobs[o->n_blobs++] = td_str(p, len);
	for (size_t i = 0; i < done; i++)
		p += archive_pack_put(p, &rows[i], i > 0 ? &rows[i - 1] : NULL);
	return done;
}

void
store_archive_add(struct store *st, const struct store_archived *rows, size_t n, unsigned lazy_ms,
		  struct store_to to)
{
	struct add_op *o;
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += archive_pack_put(NULL, &rows[i], i > 0 ? &rows[i - 1] : NULL);
	o = store_op_new(st, &archive_add, sizeof(*o), bytes + n * sizeof(uint16_t));
	o->n = n;
	o->op.lazy_ms = (uint16_t)lazy_ms;
	store_op_room(&o->op, n);
	for (size_t i = 0; i < n;)
		i += add_blob(o, rows + i, n - i);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !td_str_eq(rows[i].owner, rows[i - 1].owner))
			store_op_key(&o->op, rows[i].owner);
	store_op_to(&o->op, to);
	store_op_submit(&o->op);
}

/* ---- get ---- */

struct get_op {
	struct store_op op;
	struct store_archive_query q;
	struct td_str *words;
	size_t n_words;
	struct store_archived *rows;
	size_t n, bytes;
	unsigned looked;
	bool complete;
};

static int
check_existing(struct get_op *o, struct store_db *db, int64_t owner)
{
	struct archive_at at;

	for (size_t i = 0; i < o->q.n_must_exist; i++) {
		int64_t id = (int64_t)o->q.must_exist[i];
		int rc = archive_at(&o->op, db, owner, id, &at);

		if (rc < 0)
			return rc;
		if (rc == 0 || !archive_has(&at, id))
			return td_fail(&o->op.err, TD_E_NOTFOUND, "no such message");
	}
	return 0;
}

static unsigned char
fold(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool
contains(struct td_str text, struct td_str word)
{
	for (size_t i = 0; i + word.len <= text.len; i++) {
		size_t k = 0;

		while (k < word.len && fold(text.p[i + k]) == fold(word.p[k]))
			k++;
		if (k == word.len)
			return true;
	}
	return false;
}

/* The bytes between <body ...> and </body>; a stanza has few of them. */
static bool
next_body(struct td_str *xml, struct td_str *body)
{
	const char *p = xml->p, *end = xml->p + xml->len, *close;

	while ((p = memmem(p, (size_t)(end - p), "<body", 5)) != NULL) {
		p += 5;
		if (p < end && (*p == '>' || *p == ' '))
			break;
	}
	if (p == NULL || (p = memchr(p, '>', (size_t)(end - p))) == NULL)
		return false;
	close = memmem(p, (size_t)(end - p), "</body>", 7);
	if (close == NULL)
		return false;
	*body = td_str(p + 1, (size_t)(close - p - 1));
	*xml = td_str(close, (size_t)(end - close));
	return true;
}

static bool
has_words(const struct get_op *o, struct td_str xml)
{
	struct td_str body;

	if (o->n_words == 0)
		return true;
	while (next_body(&xml, &body)) {
		size_t i = 0;

		while (i < o->n_words && contains(body, o->words[i]))
			i++;
		if (i == o->n_words)
			return true;
	}
	return false;
}

/* <ids> is sorted by the caller of get. */
static bool
is_wanted(const struct get_op *o, uint64_t id)
{
	for (size_t i = 0; i < o->q.n_ids; i++)
		if (o->q.ids[i] == id)
			return true;
	return o->q.ids == NULL;
}

static int
start_query(struct get_op *o, struct store_db *db, int64_t owner, int64_t peer, sqlite3_stmt **q)
{
	int64_t to = o->q.to == 0 || o->q.to > INT64_MAX ? INT64_MAX : (int64_t)o->q.to;
	const struct store_val v[] = { sv_int(owner), sv_int((int64_t)o->q.from), sv_int(to),
				       sv_int(peer) };

/* the four ways through the two trees */
#define COLUMNS                                                            \
	"SELECT a.id, j.jid, a.flags, a.resource, a.stanza FROM archive a" \
	" JOIN archive_jids j ON j.id = a.peer WHERE a.owner = ?1"
/* the row before the range may be a pack that reaches into it */
#define ALL                                                                                        \
	COLUMNS " AND a.id BETWEEN coalesce((SELECT id FROM archive WHERE owner = ?1 AND id <= ?2" \
		" ORDER BY id DESC LIMIT 1), ?2) AND ?3 ORDER BY a.id"
#define WITH                                                                                  \
	COLUMNS " AND a.peer = ?4 AND a.id BETWEEN coalesce((SELECT id FROM archive"          \
		" WHERE owner = ?1 AND peer = ?4 AND id <= ?2 ORDER BY id DESC LIMIT 1), ?2)" \
		" AND ?3 ORDER BY a.id"
	if (peer == 0)
		return o->q.backwards ? store_db_query(db, &o->op.err, q, ALL " DESC", v, 3)
				      : store_db_query(db, &o->op.err, q, ALL, v, 3);
	return o->q.backwards ? store_db_query(db, &o->op.err, q, WITH " DESC", v, 4)
			      : store_db_query(db, &o->op.err, q, WITH, v, 4);
}

static bool
matches(const struct get_op *o, const struct store_archived *r)
{
	if (r->id < o->q.from || (o->q.to != 0 && r->id > o->q.to))
		return false;
	if (o->q.with_resource.p != NULL && !td_str_eq(r->resource, o->q.with_resource))
		return false;
	if (o->q.no_groupchat && (r->flags & STORE_ARCHIVED_GROUPCHAT))
		return false;
	return is_wanted(o, r->id) && has_words(o, r->stanza);
}

static void
take_row(struct get_op *o, const struct store_archived *r, struct td_str peer)
{
	struct td_arena *a = o->op.arena;

	o->bytes += r->stanza.len;
	if (o->bytes > PAGE_BYTES)
		o->q.max = (unsigned)o->n + 1; /* this is the last of the page */
	o->rows = store_op_grow(&o->op, o->rows, o->n, sizeof(*o->rows));
	o->rows[o->n++] = (struct store_archived){
		.id = r->id,
		.owner = o->q.owner,
		.peer = td_arena_str(a, peer),
		.flags = r->flags,
		.resource = td_arena_str(a, r->resource),
		.stanza = td_arena_str(a, r->stanza),
	};
}

static struct td_str
column(sqlite3_stmt *q, int i)
{
	return td_str(sqlite3_column_blob(q, i), (size_t)sqlite3_column_bytes(q, i));
}

/* The messages of the row that <q> stands on. */
static size_t
unpack(sqlite3_stmt *q, struct store_archived rows[PACK_ROWS])
{
	struct td_str left = column(q, 4);
	struct store_archived r = {
		.id = (uint64_t)sqlite3_column_int64(q, 0),
		.flags = (uint32_t)sqlite3_column_int64(q, 2),
		.resource = column(q, 3),
		.stanza = left,
	};
	size_t n = 0;

	rows[0] = r;
	if (!(r.flags & ARCHIVE_PACK))
		return 1;
	r.stanza = TD_STR_NULL;
	while (n < PACK_ROWS && archive_pack_next(&left, &r))
		rows[n++] = r;
	return n;
}

/* 1 = go on. */
static int
look_at(struct get_op *o, const struct store_archived *r, struct td_str peer)
{
	if (o->n_words > 0 && ++o->looked > SCAN_MAX)
		return 0; /* not complete: the client may go on from the last hit */
	if (!matches(o, r))
		return 1;
	if (o->n == o->q.max && !o->q.count)
		return 0;
	o->op.res.id++;
	if (o->n < o->q.max)
		take_row(o, r, peer);
	return 1;
}

static int
collect(struct get_op *o, struct store_db *db, int64_t owner, int64_t peer)
{
	struct store_archived rows[PACK_ROWS];
	sqlite3_stmt *q;
	int rc = start_query(o, db, owner, peer, &q);

	while (rc >= 0 && (rc = store_db_next(db, &o->op.err, q)) == 1) {
		struct td_str with = column(q, 1);
		size_t n = unpack(q, rows);

		for (size_t i = 0; i < n; i++)
			if (look_at(o, &rows[o->q.backwards ? n - 1 - i : i], with) == 0)
				return 0;
	}
	if (rc < 0)
		return rc;
	o->complete = o->op.res.id <= o->n;
	return 0;
}

static void
reverse(struct store_archived *rows, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct store_archived t = rows[i];

		rows[i] = rows[n - 1 - i];
		rows[n - 1 - i] = t;
	}
}

static int
get_run(struct store_op *op, struct store_db *db)
{
	struct get_op *o = (struct get_op *)op;
	int64_t owner = 0, peer = 0;
	int rc = archive_find_jid(op, db, o->q.owner, &owner);

	o->n = 0;
	o->bytes = 0;
	o->looked = 0;
	o->complete = false;
	if (rc >= 0 && o->q.with.p != NULL)
		rc = archive_find_jid(op, db, o->q.with, &peer);
	if (rc >= 0)
		rc = check_existing(o, db, owner);
	if (rc < 0)
		return rc;
	if (owner == 0 || (o->q.with.p != NULL && peer == 0)) {
		o->complete = true;
		return 0;
	}
	rc = collect(o, db, owner, peer);
	if (o->q.backwards)
		reverse(o->rows, o->n);
	return rc;
}

static void
get_reply(struct store_op *op)
{
	struct get_op *o = (struct get_op *)op;
	bool ok = op->res.rc == 0;

	op->cb.archive(op->arg, &op->res, o->rows, ok ? o->n : 0, ok && o->complete);
}

static const struct store_opdef archive_get = {
	.name = "archive-get",
	.sorted = true,
	.run = get_run,
	.reply = get_reply,
};

static uint64_t *
copy_ids(struct store_op *op, const uint64_t *ids, size_t n)
{
	uint64_t *out = td_arena_alloc(op->arena, (n + 1) * sizeof(*out));

	if (n > 0)
		memcpy(out, ids, n * sizeof(*out));
	return out;
}

static void
split_words(struct get_op *o)
{
	struct td_str t = td_str_trim(o->q.text);

	while (t.len > 0 && o->n_words < 16) {
		ptrdiff_t sp = td_str_chr(t, ' ');
		struct td_str word = td_str(t.p, sp < 0 ? t.len : (size_t)sp);
		struct td_buf xml = { 0 };

		/* stanzas are searched as they are kept: with entities */
		td_buf_add_xml(&xml, word);
		o->words = store_op_grow(&o->op, o->words, o->n_words, sizeof(*o->words));
		o->words[o->n_words++] = store_op_str(&o->op, td_buf_str(&xml));
		td_buf_fini(&xml);
		t = td_str_trim(td_str(t.p + word.len, t.len - word.len));
	}
}

void
store_archive_get(struct store *st, const struct store_archive_query *q, struct td_loop *loop,
		  store_archive_cb *cb, void *arg)
{
	struct get_op *o = store_op_new(st, &archive_get, sizeof(*o), 1024);

	o->q = *q;
	o->q.owner = store_op_str(&o->op, q->owner);
	o->q.with = store_op_str(&o->op, q->with);
	o->q.with_resource = store_op_str(&o->op, q->with_resource);
	o->q.must_exist = copy_ids(&o->op, q->must_exist, q->n_must_exist);
	o->q.ids = q->ids != NULL ? copy_ids(&o->op, q->ids, q->n_ids) : NULL;
	split_words(o);
	o->op.loop = loop;
	o->op.cb.archive = cb;
	o->op.arg = arg;
	store_op_key(&o->op, o->q.owner);
	store_op_submit(&o->op);
}

/* ---- the ends ---- */

static int
ends_run(struct store_op *op, struct store_db *db)
{
	struct get_op *o = (struct get_op *)op;
	int64_t owner = 0, id[2] = { 0, 0 };
	struct archive_at at;
	int rc = archive_find_jid(op, db, o->q.owner, &owner);

	o->n = 0;
	o->complete = true;
	if (rc >= 0)
		rc = store_db_int(db, &op->err, &id[0],
				  "SELECT id FROM archive WHERE owner = ?1 ORDER BY id LIMIT 1",
				  SV(sv_int(owner)));
	if (rc <= 0 || (rc = archive_at(op, db, owner, INT64_MAX, &at)) <= 0)
		return rc;
	id[1] = archive_last(&at);
	for (size_t i = 0; i < (id[0] == id[1] ? 1u : 2u); i++) {
		o->rows = store_op_grow(op, o->rows, o->n, sizeof(*o->rows));
		o->rows[o->n++] =
			(struct store_archived){ .id = (uint64_t)id[i], .owner = o->q.owner };
	}
	return 0;
}

static const struct store_opdef archive_ends = {
	.name = "archive-ends",
	.sorted = true,
	.run = ends_run,
	.reply = get_reply,
};

void
store_archive_ends(struct store *st, struct td_str owner, struct td_loop *loop,
		   store_archive_cb *cb, void *arg)
{
	struct get_op *o = store_op_new(st, &archive_ends, sizeof(*o), owner.len);

	o->q.owner = store_op_str(&o->op, owner);
	o->op.loop = loop;
	o->op.cb.archive = cb;
	o->op.arg = arg;
	store_op_key(&o->op, owner);
	store_op_submit(&o->op);
}

/* ---- replace, purge ---- */

struct edit_op {
	struct store_op op;
	struct td_str owner, domain, stanza;
	uint64_t id;
};

/* <at> with another stanza for the message <id>. */
static struct td_str
pack_with(struct edit_op *o, const struct archive_at *at)
{
	struct store_archived rows[PACK_ROWS], r = { 0 };
	struct td_str left = at->stanza;
	size_t n = 0, len = 0;
	char *p, *start;

	for (; n < PACK_ROWS && archive_pack_next(&left, &r); n++) {
		rows[n] = r;
		if (r.id == o->id)
			rows[n].stanza = o->stanza;
		len += archive_pack_put(NULL, &rows[n], n > 0 ? &rows[n - 1] : NULL);
	}
	p = start = td_arena_alloc(o->op.arena, len);
	for (size_t i = 0; i < n; i++)
		p += archive_pack_put(p, &rows[i], i > 0 ? &rows[i - 1] : NULL);
	return td_str(start, len);
}

static int
replace_run(struct store_op *op, struct store_db *db)
{
	struct edit_op *o = (struct edit_op *)op;
	struct td_str stanza = o->stanza;
	struct archive_at at;
	int64_t owner = 0;
	int rc = store_archive_sort(op, db);

	if (rc >= 0)
		rc = archive_find_jid(op, db, o->owner, &owner);
	if (rc >= 0)
		rc = archive_at(op, db, owner, (int64_t)o->id, &at);
	if (rc < 0)
		return rc;
	if (rc == 0 || !archive_has(&at, (int64_t)o->id))
		return td_fail(&op->err, TD_E_NOTFOUND, "no such message");
	if (at.flags & ARCHIVE_PACK)
		stanza = pack_with(o, &at);
	store_db_settle(db);
	return store_db_do(db, &op->err,
			   "UPDATE archive SET stanza = ?3 WHERE owner = ?1 AND id = ?2",
			   SV(sv_int(owner), sv_int(at.id), sv_blob(stanza)));
}

/* Packs go when nothing in them can be of the time that stays. */
static int
purge_run(struct store_op *op, struct store_db *db)
{
	struct edit_op *o = (struct edit_op *)op;
	int64_t rows = o->id > INT64_MAX ? INT64_MAX : (int64_t)o->id;
	int64_t packs = o->id > INT64_MAX ? rows : rows > PACK_SPAN ? rows - PACK_SPAN : 0;
	const struct store_val v[] = { sv_text(o->owner.p != NULL ? o->owner : o->domain),
				       sv_int(rows), sv_int(PURGE_BATCH), sv_int(packs) };
	int rc = store_archive_sort(op, db);

	if (rc < 0)
		return rc;
	if (o->owner.p != NULL)
		rc = store_db_do(db, &op->err,
				 "DELETE FROM archive WHERE (owner, id) IN"
				 " (SELECT owner, id FROM archive WHERE owner ="
				 " (SELECT id FROM archive_jids WHERE jid = ?1)"
				 " AND id < iif(flags < 0x80000000, ?2, ?4) LIMIT ?3)",
				 v, 4);
	else
		rc = store_db_do(db, &op->err,
				 "DELETE FROM archive WHERE (owner, id) IN"
				 " (SELECT a.owner, a.id FROM archive_jids j"
				 " CROSS JOIN archive a ON a.owner = j.id"
				 " WHERE j.domain = ?1 AND"
				 " a.id < iif(a.flags < 0x80000000, ?2, ?4) LIMIT ?3)",
				 v, 4);
	op->res.id = rc > 0 ? (uint64_t)rc : 0;
	return rc;
}

static const struct store_opdef archive_replace = {
	.name = "archive-replace",
	.write = true,
	.run = replace_run,
	.reply = store_op_reply,
};

static const struct store_opdef archive_purge = {
	.name = "archive-purge",
	.write = true,
	.run = purge_run,
	.reply = store_op_reply,
};

static struct edit_op *
edit_new(struct store *st, const struct store_opdef *def, struct td_str owner, uint64_t id,
	 struct store_to to)
{
	struct edit_op *o = store_op_new(st, def, sizeof(*o), owner.len);

	o->owner = store_op_str(&o->op, owner);
	o->id = id;
	store_op_to(&o->op, to);
	if (owner.p != NULL)
		store_op_key(&o->op, owner);
	return o;
}

void
store_archive_replace(struct store *st, struct td_str owner, uint64_t id, struct td_str stanza,
		      struct store_to to)
{
	struct edit_op *o = edit_new(st, &archive_replace, owner, id, to);

	o->stanza = store_op_str(&o->op, stanza);
	store_op_submit(&o->op);
}

void
store_archive_purge(struct store *st, struct td_str owner, struct td_str domain, uint64_t before,
		    struct store_to to)
{
	struct edit_op *o = edit_new(st, &archive_purge, owner, before, to);

	o->domain = store_op_str(&o->op, domain);
	store_op_submit(&o->op);
}
