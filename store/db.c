/* db - one SQLite connection.
 *
 * A statement is prepared once per connection and found again by the address of its SQL
 * literal.  Queries that end early stay in <live> until store_db_settle resets them, so an
 * op may return from the middle of a result without holding a read mark behind it. */
#include "store/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 128u /* power of two, twice the statements there are */
#define LIVE 8u
#define VALUE_MAX (64 * 1024 * 1024)

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

struct cached {
	const char *sql;
	sqlite3_stmt *stmt;
};

struct store_db {
	sqlite3 *h;
	struct cached cache[SLOTS];
	unsigned n_cached;
	sqlite3_stmt *live[LIVE];
	unsigned n_live;
};

/* SQLite's primary result code -> ours. */
static const struct {
	int sqlite, ours;
} codes[] = {
	{ SQLITE_BUSY, TD_E_BUSY },       { SQLITE_LOCKED, TD_E_BUSY },
	{ SQLITE_PROTOCOL, TD_E_BUSY },   { SQLITE_FULL, TD_E_FULL },
	{ SQLITE_CORRUPT, TD_E_CORRUPT }, { SQLITE_NOTADB, TD_E_CORRUPT },
	{ SQLITE_TOOBIG, TD_E_LIMIT },
};

static const char setup_all[] = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
				"PRAGMA temp_store = MEMORY;";
/* A page that is written again before a checkpoint is copied to the file once: 48 MB of log. */
static const char setup_writer[] = "PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;"
				   "PRAGMA wal_autocheckpoint = 12000;"
				   "PRAGMA journal_size_limit = 67108864;";
static const char setup_reader[] = "PRAGMA query_only = ON;";

static bool
is_no_space(int e)
{
	return e == ENOSPC || e == EDQUOT || e == EFBIG;
}

/* Quotas and file size limits come as plain I/O errors; the errno is with the file, or with
 * the log beside it. */
static bool
is_space_error(sqlite3 *h)
{
	sqlite3_file *log = NULL;
	int e = 0;

	if (is_no_space(sqlite3_system_errno(h)))
		return true;
	if (sqlite3_file_control(h, "main", SQLITE_FCNTL_LAST_ERRNO, &e) == SQLITE_OK &&
	    is_no_space(e))
		return true;
	e = 0;
	return sqlite3_file_control(h, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
	       log != NULL && log->pMethods != NULL &&
	       log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &e) == SQLITE_OK &&
	       is_no_space(e);
}

static int
map_code(sqlite3 *h)
{
	int ext = sqlite3_extended_errcode(h);
	int rc = ext & 0xff;

	if (rc == SQLITE_CONSTRAINT)
		return ext == SQLITE_CONSTRAINT_UNIQUE || ext == SQLITE_CONSTRAINT_PRIMARYKEY
			       ? TD_E_EXISTS
		       : ext == SQLITE_CONSTRAINT_FOREIGNKEY ? TD_E_NOTFOUND
							     : TD_E_INVAL;
	if ((rc == SQLITE_IOERR || rc == SQLITE_CANTOPEN) && is_space_error(h))
		return TD_E_FULL;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].sqlite == rc)
			return codes[i].ours;
	return TD_E_IO;
}

int
store_db_fail(struct store_db *db, struct td_err *err)
{
	return td_fail(err, map_code(db->h), "%s", sqlite3_errmsg(db->h));
}

sqlite3 *
store_db_handle(struct store_db *db)
{
	return db->h;
}

/* ---- statements ---- */

static int
get_stmt(struct store_db *db, struct td_err *err, const char *sql, sqlite3_stmt **out)
{
	size_t i = ((uintptr_t)sql >> 3) & (SLOTS - 1);

	for (; db->cache[i].sql != NULL; i = (i + 1) & (SLOTS - 1)) {
		if (db->cache[i].sql == sql) {
			*out = db->cache[i].stmt;
			return 0;
		}
	}
	assert(db->n_cached < SLOTS - 1);
	if (sqlite3_prepare_v3(db->h, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
		return store_db_fail(db, err);
	db->cache[i] = (struct cached){ sql, *out };
	db->n_cached++;
	return 0;
}

static int
bind_one(sqlite3_stmt *q, int at, const struct store_val *v)
{
	switch (v->type) {
	case SV_INT: return sqlite3_bind_int64(q, at, v->i);
	case SV_TEXT:
		return sqlite3_bind_text64(q, at, v->s.p, v->s.len, SQLITE_STATIC, SQLITE_UTF8);
	case SV_BLOB: return sqlite3_bind_blob64(q, at, v->s.p, v->s.len, SQLITE_STATIC);
	case SV_NULL: return sqlite3_bind_null(q, at);
	}
	return SQLITE_MISUSE;
}

static int
prepare(struct store_db *db, struct td_err *err, sqlite3_stmt **out, const char *sql,
	const struct store_val *v, size_t n)
{
	int rc = get_stmt(db, err, sql, out);

	if (rc < 0)
		return rc;
	sqlite3_reset(*out);
	assert((size_t)sqlite3_bind_parameter_count(*out) == n);
	for (size_t i = 0; i < n; i++)
		if (bind_one(*out, (int)i + 1, &v[i]) != SQLITE_OK)
			return store_db_fail(db, err);
	return 0;
}

static int
step(struct store_db *db, struct td_err *err, sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE) {
		rc = store_db_fail(db, err);
		sqlite3_reset(q);
		return rc;
	}
	sqlite3_reset(q);
	return 0;
}

int
store_db_do(struct store_db *db, struct td_err *err, const char *sql, const struct store_val *v,
	    size_t n)
{
	sqlite3_stmt *q;
	int rc = prepare(db, err, &q, sql, v, n);

	if (rc < 0)
		return rc;
	while ((rc = step(db, err, q)) == 1)
		;
	return rc < 0 ? rc : sqlite3_changes(db->h);
}

int
store_db_int(struct store_db *db, struct td_err *err, int64_t *out, const char *sql,
	     const struct store_val *v, size_t n)
{
	sqlite3_stmt *q;
	int rc = prepare(db, err, &q, sql, v, n);

	if (rc < 0 || (rc = step(db, err, q)) != 1)
		return rc;
	*out = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return 1;
}

int
store_db_query(struct store_db *db, struct td_err *err, sqlite3_stmt **out, const char *sql,
	       const struct store_val *v, size_t n)
{
	int rc = prepare(db, err, out, sql, v, n);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < db->n_live; i++)
		if (db->live[i] == *out)
			return 0;
	assert(db->n_live < LIVE);
	db->live[db->n_live++] = *out;
	return 0;
}

int
store_db_next(struct store_db *db, struct td_err *err, sqlite3_stmt *q)
{
	return step(db, err, q);
}

void
store_db_settle(struct store_db *db)
{
	while (db->n_live > 0)
		sqlite3_reset(db->live[--db->n_live]);
}

int
store_db_script(struct store_db *db, struct td_err *err, const char *sql)
{
	if (sqlite3_exec(db->h, sql, NULL, NULL, NULL) != SQLITE_OK)
		return store_db_fail(db, err);
	return 0;
}

struct td_str
store_db_str(sqlite3_stmt *q, int i, struct td_arena *a)
{
	const void *p;
	int n;

	if (sqlite3_column_type(q, i) == SQLITE_NULL)
		return TD_STR_NULL;
	p = sqlite3_column_blob(q, i); /* NULL for an empty value too */
	n = sqlite3_column_bytes(q, i);
	return td_arena_str(a, td_str(p != NULL ? p : "", n > 0 ? (size_t)n : 0));
}

/* ---- opening ---- */

/* The file holds password verifiers: made by us, nobody else may read it.  O_EXCL, because
 * closing a descriptor of a file that is open elsewhere would drop its POSIX locks. */
static int
make_file(const char *path, struct td_err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == EEXIST)
		return 0;
	return td_fail(err, is_no_space(errno) ? TD_E_FULL : TD_E_IO, "%s: cannot be made: %s",
		       path, strerror(errno));
}

static int
set_wal(struct store_db *db, struct td_err *err)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, err, &q, "PRAGMA journal_mode = WAL", SV_NONE);
	const unsigned char *mode;

	if (rc < 0 || (rc = store_db_next(db, err, q)) < 0)
		return rc;
	mode = rc == 1 ? sqlite3_column_text(q, 0) : NULL;
	if (mode == NULL || strcmp((const char *)mode, "wal") != 0)
		rc = td_fail(err, TD_E_IO,
			     "its file system cannot do a write-ahead log (is it a "
			     "network mount?); put the store on a local disk");
	else
		rc = 0;
	store_db_settle(db);
	return rc;
}

static int
quick_check(struct store_db *db, struct td_err *err)
{
	sqlite3_stmt *q;
	int rc = store_db_query(db, err, &q, "PRAGMA quick_check(1)", SV_NONE);

	if (rc == 0 && (rc = store_db_next(db, err, q)) == 1) {
		const unsigned char *said = sqlite3_column_text(q, 0);

		rc = said != NULL && strcmp((const char *)said, "ok") == 0
			     ? 0
			     : td_fail(err, TD_E_CORRUPT, "%.80s",
				       said != NULL ? (const char *)said : "");
	}
	store_db_settle(db);
	return rc;
}

static int
set_up(struct store_db *db, bool memory, enum store_db_mode mode, struct td_err *err)
{
	int rc;

	(void)sqlite3_extended_result_codes(db->h, 1);
	(void)sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(db->h, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	(void)sqlite3_limit(db->h, SQLITE_LIMIT_LENGTH, VALUE_MAX);
	if ((rc = store_db_script(db, err, setup_all)) < 0)
		return rc;
	if (mode == STORE_DB_READER)
		return store_db_script(db, err, setup_reader);
	if (!memory && (rc = set_wal(db, err)) < 0)
		return rc;
	if ((rc = store_db_script(db, err, setup_writer)) < 0 || (rc = quick_check(db, err)) < 0)
		return rc;
	return store_schema_migrate(db, err);
}

/* Say what an operator can do about it. */
static int
explain(const char *path, struct td_err *err)
{
	if (err == NULL)
		return TD_E_IO;
	if (err->code == TD_E_CORRUPT) {
		char why[60];

		(void)snprintf(why, sizeof(why), "%.59s", err->text);
		return td_fail(
			err, TD_E_CORRUPT,
			"%.90s is damaged (%s): put a backup in its place, or save what can be "
			"read with sqlite3's .recover",
			path, why);
	}
	if (err->code == TD_E_BUSY)
		return td_fail(err, TD_E_BUSY,
			       "%.150s is locked by another program: is a second tandemd "
			       "running?",
			       path);
	return td_wrap(err, "%.100s", path);
}

/* Counting SQLite's memory takes a mutex at each allocation, and nobody asks. */
static void
set_up_library(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int
store_db_open(const char *path, enum store_db_mode mode, unsigned busy_ms, struct store_db **out,
	      struct td_err *err)
{
	bool memory = strcmp(path, ":memory:") == 0;
	struct td_err local;
	struct store_db *db;
	int rc;

	if (err == NULL)
		err = &local;
	pthread_once(&library_once, set_up_library);
	if (!memory && mode == STORE_DB_WRITER && (rc = make_file(path, err)) < 0)
		return rc;
	db = td_zalloc(sizeof(*db));
	if (sqlite3_open_v2(path, &db->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK) {
		rc = td_fail(err, db->h != NULL ? map_code(db->h) : TD_E_IO, "%s",
			     db->h != NULL ? sqlite3_errmsg(db->h) : "out of memory");
	} else {
		(void)sqlite3_busy_timeout(db->h, (int)busy_ms);
		rc = set_up(db, memory, mode, err);
	}
	if (rc < 0) {
		store_db_close(&db);
		return explain(path, err);
	}
	*out = db;
	return 0;
}

void
store_db_close(struct store_db **dbp)
{
	struct store_db *db = *dbp;

	if (db == NULL)
		return;
	*dbp = NULL;
	for (unsigned i = 0; i < SLOTS; i++)
		sqlite3_finalize(db->cache[i].stmt);
	(void)sqlite3_close(db->h);
	free(db);
}
