/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the SQLite driver: statements (store_sqlite_statement.c), commits
 * (store_sqlite_write.c), reads (store_sqlite_read.c), connections (store_sqlite.c).
 */
#ifndef CLUSTER_STORE_STORE_SQLITE_H
#define CLUSTER_STORE_STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "cluster/store/store.h"

/* Statements that exist once per table. */
enum sqlite_row_statement {
    ROW_INSERT,
    ROW_UPDATE,
    ROW_UPDATE_INDEX, /* run only: with due_ns and expire_ns */
    ROW_PUT,
    ROW_DELETE,
    ROW_DELETE_RANGE,
    ROW_GET,
    ROW_SCAN, /* from .. to */
    ROW_SCAN_REVERSE,
    ROW_SCAN_OPEN, /* from .. end */
    ROW_SCAN_OPEN_REVERSE,
    ROW_STATEMENT_COUNT
};

enum sqlite_statement {
    STATEMENT_BEGIN_WRITE,
    STATEMENT_BEGIN_READ,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_SAVEPOINT,
    STATEMENT_RELEASE,
    STATEMENT_ROLLBACK_TO,
    STATEMENT_FENCE,
    STATEMENT_SHARD_GET,
    STATEMENT_SHARD_PUT,
    STATEMENT_VISIBILITY_INSERT,
    STATEMENT_VISIBILITY_UPDATE,
    STATEMENT_VISIBILITY_DELETE,
    STATEMENT_DUE,
    STATEMENT_DUE_ALL,
    STATEMENT_EXPIRY,
    STATEMENT_COUNT
};

struct sqlite_database {
    char *path; /* file name or memdb URI */
    bool memory;
    /* memdb only, whose locks are so coarse that waiting for them means polling: readers share,
     * a writer excludes. A file in WAL mode needs none of it. */
    pthread_rwlock_t lock;
    sqlite3 *keeper; /* a memdb lives as long as a connection to it */
};

struct sqlite_session {
    struct store_session base;
    struct sqlite_database *database;
    sqlite3 *connection;
    sqlite3_stmt *rows[TABLE_COUNT][ROW_STATEMENT_COUNT]; /* prepared at first use */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct arena scratch; /* statement text */
};

struct sqlite_session *sqlite_session_of(struct store_session *session);
/** Opens a connection with our settings; the reason of a failure goes to `text`. */
enum err sqlite_connect(
    const struct sqlite_database *database, bool writer, sqlite3 **ret_connection, char text[256]);

/** The contract's error for a result code; writes the reason. Not for COMMIT. */
enum err sqlite_error(struct sqlite_session *session, int code, const char *what);
/** The cached statement, ready to be bound. NULL: prepare failed, see sqlite_error(). */
sqlite3_stmt *sqlite_row_statement(
    struct sqlite_session *session, enum table table, enum sqlite_row_statement kind);
sqlite3_stmt *sqlite_statement(struct sqlite_session *session, enum sqlite_statement kind);
/** Executes a statement without parameters and rows; returns the result code. */
int sqlite_execute(struct sqlite_session *session, enum sqlite_statement kind);
/** Binds bytes (never NULL, also when empty); they must outlive the execution. */
void sqlite_bind_bytes(sqlite3_stmt *statement, int index, struct bytes bytes);
/** Binds NULL for DUE_NONE. */
void sqlite_bind_time(sqlite3_stmt *statement, int index, int64_t ns);

enum err sqlite_commit(struct store_session *session, const struct commit *commit);
void sqlite_commit_many(struct store_session *session, const struct commit *const *commits,
    size_t count, enum err *ret_errs);
enum err sqlite_take_shard(struct store_session *session, struct store_take_shard *take);

enum err sqlite_get(
    struct store_session *session, struct arena *arena, struct store_get *keys, size_t count);
enum err sqlite_scan(struct store_session *session, struct arena *arena, struct store_scan *scan);
enum err sqlite_due(struct store_session *session, struct arena *arena, struct store_due *due);
enum err sqlite_list(struct store_session *session, struct arena *arena, struct store_list *list);
enum err sqlite_count(
    struct store_session *session, struct arena *arena, struct store_count *count);

#endif
