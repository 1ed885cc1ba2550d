/* archive_log - new rows of archives: written as they come, sorted into the archives later.
 *
 * A row in its archive's place costs pages of its own: those of other owners lie between.  So a
 * call's rows are committed as one blob at the end of archive_log, and with that they are kept.
 * When some thousand have come, or after half a second, or when somebody asks for an archive (store.c),
 * the log is emptied into the table in the order of that: what one owner got from one peer
 * without a break becomes one row, a pack.
 *
 * Ids of an owner go up, so packs do not overlap: what is new lies behind all there is.  A clock that
 * was set back breaks that, and imports do; then rows are placed one by one. */
#include "store/archive_priv.h"

#include <stdlib.h>

const char store_schema_archive_log[] =
	"CREATE TABLE archive_log (id INTEGER PRIMARY KEY, rows BLOB NOT NULL);";

/* ---- packs: rows in a blob ---- */

#define HEAD 22u
#define SAME UINT32_MAX /* length of a stanza that is the one before: both sides keep the same */

static char *
put_number(char *p, uint64_t v, size_t bytes)
{
	for (size_t i = bytes; i-- > 0; v >>= 8)
		p[i] = (char)(v & 0xff);
	return p + bytes;
}

static uint64_t
take_number(struct td_str *s, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v = v << 8 | (unsigned char)s->p[i];
	*s = td_str(s->p + bytes, s->len - bytes);
	return v;
}

static char *
put_str(char *p, struct td_str s)
{
	if (s.len > 0)
		memcpy(p, s.p, s.len);
	return p + s.len;
}

size_t
archive_pack_put(char *out, const struct store_archived *r, const struct store_archived *prev)
{
	bool same = prev != NULL && td_str_eq(r->stanza, prev->stanza);
	size_t len =
		HEAD + r->owner.len + r->peer.len + r->resource.len + (same ? 0 : r->stanza.len);
	char *p = out;

	if (out == NULL)
		return len;
	p = put_number(p, r->id, 8);
	p = put_number(p, r->flags, 4);
	p = put_number(p, r->owner.len, 2);
	p = put_number(p, r->peer.len, 2);
	p = put_number(p, r->resource.len, 2);
	p = put_number(p, same ? SAME : r->stanza.len, 4);
	p = put_str(p, r->owner);
	p = put_str(p, r->peer);
	p = put_str(p, r->resource);
	if (!same)
		(void)put_str(p, r->stanza);
	return len;
}

static struct td_str
take_str(struct td_str *left, size_t len)
{
	struct td_str s = td_str(left->p, len);

	*left = td_str(left->p + len, left->len - len);
	return s;
}

bool
archive_pack_next(struct td_str *left, struct store_archived *r)
{
	size_t owner, peer, resource, stanza;

	if (left->len < HEAD)
		return false;
	r->id = take_number(left, 8);
	r->flags = (uint32_t)take_number(left, 4);
	owner = take_number(left, 2);
	peer = take_number(left, 2);
	resource = take_number(left, 2);
	stanza = take_number(left, 4);
	if (owner + peer + resource > left->len ||
	    (stanza != SAME && owner + peer + resource + stanza > left->len) ||
	    (stanza == SAME && r->stanza.p == NULL))
		return false;
	r->owner = take_str(left, owner);
	r->peer = take_str(left, peer);
	r->resource = resource > 0 ? take_str(left, resource) : TD_STR_NULL;
	if (stanza != SAME)
		r->stanza = take_str(left, stanza);
	return true;
}

/* ---- rows of the table ---- */

int
archive_at(struct store_op *op, struct store_db *db, int64_t owner, int64_t id,
	   struct archive_at *out)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q,
				"SELECT id, flags, stanza FROM archive WHERE owner = ?1 AND"
				" id <= ?2 ORDER BY id DESC LIMIT 1",
				SV(sv_int(owner), sv_int(id)));

	if (rc < 0 || (rc = store_db_next(db, &op->err, q)) != 1)
		return rc;
	out->id = sqlite3_column_int64(q, 0);
	out->flags = (uint32_t)sqlite3_column_int64(q, 1);
	out->stanza = TD_STR_NULL;
	if (out->flags & ARCHIVE_PACK)
		out->stanza = td_str(sqlite3_column_blob(q, 2), (size_t)sqlite3_column_bytes(q, 2));
	return 1;
}

bool
archive_has(const struct archive_at *at, int64_t id)
{
	struct td_str left = at->stanza;
	struct store_archived r = { 0 };

	if (!(at->flags & ARCHIVE_PACK))
		return at->id == id;
	while (archive_pack_next(&left, &r))
		if ((int64_t)r.id == id)
			return true;
	return false;
}

int64_t
archive_last(const struct archive_at *at)
{
	struct td_str left = at->stanza;
	struct store_archived r = { .id = (uint64_t)at->id };

	if (at->flags & ARCHIVE_PACK)
		while (archive_pack_next(&left, &r))
			;
	return (int64_t)r.id;
}

static int
insert(struct store_op *op, struct store_db *db, int64_t owner, int64_t peer,
       const struct store_archived *r)
{
	return store_db_do(db, &op->err,
			   "INSERT INTO archive (owner, id, peer, flags, resource, stanza)"
			   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			   SV(sv_int(owner), sv_int((int64_t)r->id), sv_int(peer), sv_int(r->flags),
			      sv_opt(r->resource), sv_blob(r->stanza)));
}

/* A row for each message of a pack. */
static int
take_apart(struct store_op *op, struct store_db *db, int64_t owner, const struct archive_at *at)
{
	struct td_str left = at->stanza;
	struct store_archived r = { 0 };
	int64_t peer = 0;
	int rc = store_db_int(db, &op->err, &peer,
			      "SELECT peer FROM archive WHERE owner = ?1 AND id = ?2",
			      SV(sv_int(owner), sv_int(at->id)));

	if (rc >= 0)
		rc = store_db_do(db, &op->err, "DELETE FROM archive WHERE owner = ?1 AND id = ?2",
				 SV(sv_int(owner), sv_int(at->id)));
	while (rc >= 0 && archive_pack_next(&left, &r))
		rc = insert(op, db, owner, peer, &r);
	return rc;
}

int
archive_place(struct store_op *op, struct store_db *db, int64_t owner, int64_t peer,
	      const struct store_archived *r)
{
	struct store_archived row = *r;
	struct archive_at at;
	int rc;

	while ((rc = archive_at(op, db, owner, (int64_t)row.id, &at)) == 1) {
		if ((at.flags & ARCHIVE_PACK) && archive_last(&at) >= (int64_t)row.id) {
			at.stanza = td_arena_str(op->arena, at.stanza);
			store_db_settle(db);
			if ((rc = take_apart(op, db, owner, &at)) < 0)
				return rc;
		} else if (at.id == (int64_t)row.id) {
			row.id++;
		} else {
			break;
		}
	}
	store_db_settle(db);
	return rc < 0 ? rc : insert(op, db, owner, peer, &row);
}

/* ---- the log ---- */

int
archive_log_add(struct store_op *op, struct store_db *db, struct td_str rows)
{
	return store_db_do(db, &op->err, "INSERT INTO archive_log (rows) VALUES (?1)",
			   SV(sv_blob(rows)));
}

struct pending {
	struct store_archived r;
	int64_t owner, peer; /* as numbers */
};

/* All there is, with the blobs in <a>. */
static int
read_log(struct store_op *op, struct store_db *db, struct td_arena *a, struct pending **rows,
	 size_t *n)
{
	struct store_archived r;
	size_t cap = 0;
	sqlite3_stmt *q;
	int rc = store_db_query(db, &op->err, &q, "SELECT rows FROM archive_log ORDER BY id",
				SV_NONE);

	while (rc >= 0 && (rc = store_db_next(db, &op->err, q)) == 1) {
		struct td_str left = store_db_str(q, 0, a);

		r = (struct store_archived){ 0 };
		while (archive_pack_next(&left, &r)) {
			if (*n == cap) {
				cap = cap > 0 ? cap * 2 : 256;
				*rows = td_realloc(*rows, cap * sizeof(**rows));
			}
			(*rows)[(*n)++] = (struct pending){ .r = r };
		}
	}
	return rc;
}

static int
number_them(struct store_op *op, struct store_db *db, struct pending *rows, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc >= 0; i++) {
		struct pending *p = &rows[i];

		if (i > 0 && td_str_eq(p->r.owner, rows[i - 1].r.owner))
			p->owner = rows[i - 1].owner;
		else
			rc = archive_make_jid(op, db, p->r.owner, &p->owner);
		if (i > 0 && td_str_eq(p->r.peer, rows[i - 1].r.peer))
			p->peer = rows[i - 1].peer;
		else if (rc >= 0)
			rc = archive_make_jid(op, db, p->r.peer, &p->peer);
		p->r.owner = p->r.peer = TD_STR_NULL; /* the row of the table says it */
	}
	return rc;
}

static int
by_place(const void *a, const void *b)
{
	const struct pending *x = a, *y = b;

	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return (x->r.id > y->r.id) - (x->r.id < y->r.id);
}

/* How many of <rows>, all of one owner, go into one row of the table. */
static size_t
pack_size(const struct pending *rows, size_t n)
{
	size_t i = 0, bytes = 0;

	do
		bytes += archive_pack_put(NULL, &rows[i].r, i > 0 ? &rows[i - 1].r : NULL);
	while (++i < n && i < PACK_ROWS && rows[i].peer == rows[0].peer &&
	       (int64_t)(rows[i].r.id - rows[0].r.id) < PACK_SPAN &&
	       bytes + rows[i].r.stanza.len < PACK_BYTES);
	return i;
}

static int
insert_pack(struct store_op *op, struct store_db *db, const struct pending *rows, size_t n,
	    struct td_buf *b)
{
	struct store_archived pack = { .id = rows[0].r.id, .flags = ARCHIVE_PACK };

	if (n == 1)
		return insert(op, db, rows->owner, rows->peer, &rows->r);
	td_buf_clear(b);
	for (size_t i = 0; i < n; i++) {
		const struct store_archived *prev = i > 0 ? &rows[i - 1].r : NULL;
		char *at = td_buf_reserve(b, archive_pack_put(NULL, &rows[i].r, prev));

		b->len += archive_pack_put(at, &rows[i].r, prev);
	}
	pack.stanza = td_buf_str(b);
	return insert(op, db, rows->owner, rows->peer, &pack);
}

/* The rows of one owner. */
static int
place_all(struct store_op *op, struct store_db *db, struct pending *rows, size_t n,
	  struct td_buf *b)
{
	struct archive_at at;
	int rc = archive_at(op, db, rows->owner, INT64_MAX, &at);
	bool behind = rc == 0 || (rc == 1 && archive_last(&at) < (int64_t)rows->r.id);

	store_db_settle(db);
	for (size_t i = 1; i < n && behind; i++)
		behind = rows[i].r.id > rows[i - 1].r.id;
	for (size_t i = 0, k; i < n && rc >= 0; i += k) {
		k = behind ? pack_size(rows + i, n - i) : 1;
		rc = behind ? insert_pack(op, db, rows + i, k, b)
			    : archive_place(op, db, rows->owner, rows[i].peer, &rows[i].r);
	}
	return rc;
}

int
store_archive_sort(struct store_op *op, struct store_db *db)
{
	struct td_arena *a = td_arena_new(0);
	struct pending *rows = NULL;
	struct td_buf b = { 0 };
	size_t n = 0;
	int rc = read_log(op, db, a, &rows, &n);

	store_db_settle(db);
	if (rc >= 0 && n > 0)
		rc = number_them(op, db, rows, n);
	if (rc >= 0 && n > 0)
		qsort(rows, n, sizeof(*rows), by_place);
	for (size_t i = 0, k; i < n && rc >= 0; i += k) {
		for (k = 1; i + k < n && rows[i + k].owner == rows[i].owner; k++)
			;
		rc = place_all(op, db, rows + i, k, &b);
	}
	if (rc >= 0 && n > 0)
		rc = store_db_do(db, &op->err, "DELETE FROM archive_log", SV_NONE);
	free(rows);
	td_buf_fini(&b);
	td_arena_free(a);
	return rc < 0 ? rc : 0;
}

static const struct store_opdef archive_sort = {
	.name = "archive-sort",
	.write = true,
	.sorts = true,
	.run = store_archive_sort,
	.reply = store_op_reply,
};

struct store_op *
store_archive_sort_op(struct store *st)
{
	return store_op_new(st, &archive_sort, sizeof(struct store_op), 0);
}
