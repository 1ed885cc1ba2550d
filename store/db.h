/* db - one SQLite connection: opening, schema, cached statements, errors as TD_E_*.
 * Thread: one connection belongs to one thread.  Every text and blob bound must live until
 * the statement is reset: by the end of the op that ran it (store_db_settle).
 * Errors: FULL, BUSY, CORRUPT, LIMIT (too big), EXISTS (unique), NOTFOUND (foreign key), IO. */
#ifndef STORE_DB_H
#define STORE_DB_H
#include <stdbool.h>
#include <stdint.h>
#include <sqlite3.h>
#include "gateway/base/arena.h"
#include "gateway/base/err.h"
#include "gateway/base/str.h"

struct store_db;

/* One value to bind. */
enum store_vtype {
	SV_INT = 0,
	SV_TEXT,
	SV_BLOB,
	SV_NULL
};
struct store_val {
	enum store_vtype type;
	int64_t i;
	struct td_str s;
};

static inline struct store_val
sv_int(int64_t i)
{
	return (struct store_val){ .type = SV_INT, .i = i };
}

/* Text and blob are never NULL: absent is stored as empty.  sv_opt keeps absent as NULL. */
static inline struct store_val
sv_text(struct td_str s)
{
	return (struct store_val){ .type = SV_TEXT, .s = s.p != NULL ? s : td_str("", 0) };
}

static inline struct store_val
sv_blob(struct td_str s)
{
	return (struct store_val){ .type = SV_BLOB, .s = s.p != NULL ? s : td_str("", 0) };
}

static inline struct store_val
sv_opt(struct td_str s)
{
	return (struct store_val){ .type = s.p != NULL ? SV_TEXT : SV_NULL, .s = s };
}

/* The parameters of a statement: SV(sv_text(jid), sv_int(3)), or SV_NONE. */
#define SV(...)                                      \
	((const struct store_val[]){ __VA_ARGS__ }), \
		sizeof((const struct store_val[]){ __VA_ARGS__ }) / sizeof(struct store_val)
#define SV_NONE NULL, 0

enum store_db_mode {
	STORE_DB_WRITER = 0,
	STORE_DB_READER
};

/* The writer makes the file (mode 0600) when it is missing, checks it (quick_check) and
 * brings its schema up to date; a reader finds it so. */
int store_db_open(const char *path, enum store_db_mode mode, unsigned busy_ms,
		  struct store_db **out, struct td_err *err);
void store_db_close(struct store_db **db);
sqlite3 *store_db_handle(struct store_db *db);

/* <sql> must be a string literal: statements are cached by its address. */

/* Run to the end.  Rows changed, or TD_E_*. */
int store_db_do(struct store_db *db, struct td_err *err, const char *sql, const struct store_val *v,
		size_t n);
/* First column of the first row: 1 = there, 0 = no row, or TD_E_*. */
int store_db_int(struct store_db *db, struct td_err *err, int64_t *out, const char *sql,
		 const struct store_val *v, size_t n);
/* Start a query; step it with store_db_next: 1 = a row, 0 = no more, or TD_E_*. */
int store_db_query(struct store_db *db, struct td_err *err, sqlite3_stmt **out, const char *sql,
		   const struct store_val *v, size_t n);
int store_db_next(struct store_db *db, struct td_err *err, sqlite3_stmt *q);
/* Reset what a query left open. */
void store_db_settle(struct store_db *db);
/* Several statements, not cached. */
int store_db_script(struct store_db *db, struct td_err *err, const char *sql);
/* TD_E_* and text for the last failure of the connection. */
int store_db_fail(struct store_db *db, struct td_err *err);

/* Column <i> copied to <a>; SQL NULL is TD_STR_NULL. */
struct td_str store_db_str(sqlite3_stmt *q, int i, struct td_arena *a);

/* Bring the schema to STORE_SCHEMA; TD_E_UNSUPPORTED when it is newer than that,
 * TD_E_INVAL when the file is someone else's. */
#define STORE_SCHEMA 11
int store_schema_migrate(struct store_db *db, struct td_err *err);
#endif
