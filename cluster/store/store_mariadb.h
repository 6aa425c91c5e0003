/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the MariaDB and MySQL driver: sessions, statements, batches of rows. Nobody else includes
 * this, and it is where Connector/C enters.
 *
 * Writer sessions run with autocommit off, so that no BEGIN costs a round trip; a commit is fence,
 * one statement per kind of change, COMMIT. Many rows travel in one statement: as an array where
 * the server can (MariaDB's bulk operations), else as a text of 64, 16, 4 or 1 rows (MySQL and its
 * kin). Connector/C cannot have two requests under way on one connection, so there is no pipeline.
 *
 *   store_mariadb.c            driver table, database, connecting
 *   store_mariadb_schema.c     migrations
 *   store_mariadb_sql.c        statement texts
 *   store_mariadb_statement.c  preparing, executing, fetching, errors
 *   store_mariadb_commit.c     commit, take_shard
 *   store_mariadb_read.c       get, scan, due, list, count
 *
 * Invariants:
 *  M1  COMMIT is sent only after every row count was read and found right.
 *  M2  Between calls the connection is outside a transaction, or it is closed.
 *  M3  No request is larger than the server's max_allowed_packet.
 */
#ifndef CLUSTER_STORE_STORE_MARIADB_H
#define CLUSTER_STORE_STORE_MARIADB_H

#include <mysql.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "cluster/store/sql_filter.h"
#include "cluster/store/store.h"
#include "cluster/store/table.h"

/* Statements that exist for every table. */
enum mariadb_kind {
    MARIADB_INSERT,
    MARIADB_UPDATE,
    MARIADB_UPDATE_INDEX, /* TABLE_RUN: with due_ns and expire_ns */
    MARIADB_PUT,
    MARIADB_DELETE,
    MARIADB_DELETE_RANGE,
    MARIADB_GET,
    MARIADB_SCAN, /* plus flags */
    MARIADB_KIND_COUNT = MARIADB_SCAN + 4,
};

enum { MARIADB_SCAN_REVERSE = 1, MARIADB_SCAN_OPEN = 2 };

/* Statements that exist once. */
enum mariadb_statement {
    MARIADB_FENCE = MARIADB_KIND_COUNT * TABLE_COUNT,
    MARIADB_SHARD_CREATE,
    MARIADB_SHARD_TAKE,
    MARIADB_SHARD_TAKE_EXPECTED,
    MARIADB_SHARD_READ,
    MARIADB_DUE,
    MARIADB_DUE_ALL,
    MARIADB_EXPIRE,
    MARIADB_VISIBILITY_INSERT,
    MARIADB_VISIBILITY_UPDATE,
    MARIADB_VISIBILITY_DELETE,
    MARIADB_STATEMENT_COUNT,
};

static inline int mariadb_statement(enum mariadb_kind kind, enum table table)
{
    return (int)kind * TABLE_COUNT + (int)table;
}

/* How many rows a statement's text has room for. */
enum mariadb_width {
    MARIADB_WIDTH_1,
    MARIADB_WIDTH_4,
    MARIADB_WIDTH_16,
    MARIADB_WIDTH_64,
    MARIADB_WIDTH_COUNT
};

static inline size_t mariadb_width_rows(enum mariadb_width width)
{
    return (size_t)1 << (2 * (unsigned)width);
}

/** Appends the text of a statement for so many rows. */
void mariadb_statement_text(int statement, size_t rows, struct buffer *ret_text);
/** What it does, for error texts. */
void mariadb_statement_title(int statement, char *ret_title, size_t size);

#define MARIADB_COLUMNS_MAX SQL_VISIBILITY_COLUMN_COUNT

/** Parameters of several rows, by column, in the session's arena. */
struct mariadb_column {
    bool is_bytes;
    int64_t *numbers;       /* not is_bytes */
    const void **data;      /* is_bytes */
    unsigned long *lengths; /* is_bytes */
    char *indicators;       /* STMT_INDICATOR_NULL where NULL; NULL = no nulls */
};

struct mariadb_batch {
    struct arena *arena;
    size_t rows; /* capacity of every column */
    int column_count;
    struct mariadb_column columns[MARIADB_COLUMNS_MAX];
};

#define MARIADB_RESULT_COLUMNS_MAX SQL_VISIBILITY_COLUMN_COUNT

/** A result being fetched row by row. */
struct mariadb_result {
    MYSQL_STMT *statement;
    bool once; /* the statement is the result's own */
    int column_count;
    MYSQL_BIND binds[MARIADB_RESULT_COLUMNS_MAX];
    int64_t numbers[MARIADB_RESULT_COLUMNS_MAX];
    unsigned long lengths[MARIADB_RESULT_COLUMNS_MAX];
    my_bool nulls[MARIADB_RESULT_COLUMNS_MAX];
};

struct mariadb_database {
    struct store_options options; /* strings owned */
    bool no_bulk;                 /* forced by STRAIT_MARIADB_NO_BULK, for tests */
};

struct mariadb_session {
    struct store_session base;
    const struct mariadb_database *database;
    bool writer;
    bool bulk;
    MYSQL *conn;         /* NULL = not connected */
    size_t packet_bytes; /* what one request may carry */
    MYSQL_STMT *statements[MARIADB_STATEMENT_COUNT][MARIADB_WIDTH_COUNT];
    struct buffer text;
    struct arena arena; /* of one call */
};

/* ---- connection ---- */

/** Connects when needed. A connection that the server closed while it was idle is replaced. */
NODISCARD enum err mariadb_ready(struct mariadb_session *session);
void mariadb_disconnect(struct mariadb_session *session);
/** A checked connection; NULL with text and *ret_err set on failure. `packet_bytes` and `warning`
 *  may be NULL. */
MYSQL *mariadb_connection_open(const struct mariadb_database *database, size_t *ret_packet_bytes,
    char *ret_warning, enum err *ret_err, char text[256]);
NODISCARD enum err mariadb_migrate(const struct mariadb_database *database, char text[256]);
/** The class of an error number. */
enum err mariadb_errno_err(unsigned int number);

/* ---- batches ---- */

void mariadb_batch_init(struct mariadb_batch *batch, struct arena *arena, size_t rows);
/** Adds a column; its index. */
int mariadb_batch_numbers(struct mariadb_batch *batch);
int mariadb_batch_bytes(struct mariadb_batch *batch);
void mariadb_batch_set_number(struct mariadb_batch *batch, int column, size_t row, int64_t value);
void mariadb_batch_set_null(struct mariadb_batch *batch, int column, size_t row);
void mariadb_batch_set_bytes(
    struct mariadb_batch *batch, int column, size_t row, struct bytes value);

/* ---- statements ---- */

/** Executes a change for all rows of the batch, in as few requests as possible. *ret_found: rows
 *  that matched, changed or not. */
NODISCARD enum err mariadb_change(struct mariadb_session *session, int statement,
    const struct mariadb_batch *batch, uint64_t *ret_found);
/** Executes a query whose text takes `width` rows of the batch from `first` on. */
NODISCARD enum err mariadb_query(struct mariadb_session *session, int statement,
    enum mariadb_width width, const struct mariadb_batch *batch, size_t first, const char *columns,
    struct mariadb_result *ret_result);
/** Executes a query that is prepared for this once. */
NODISCARD enum err mariadb_query_text(struct mariadb_session *session, const struct sql_text *sql,
    const char *columns, struct mariadb_result *ret_result);
/** The next row: *ret_row = false behind the last one. After an error the result is closed. */
NODISCARD enum err mariadb_fetch(
    struct mariadb_session *session, struct mariadb_result *result, bool *ret_row);
struct bytes mariadb_bytes(struct arena *arena, struct mariadb_result *result, int column);
struct uuid mariadb_uuid(struct mariadb_result *result, int column);
/** Skips what is left. */
void mariadb_result_close(struct mariadb_session *session, struct mariadb_result *result);
/** Sends COMMIT. A connection lost now is ERR_UNKNOWN_COMMIT. */
NODISCARD enum err mariadb_commit_transaction(struct mariadb_session *session);
/** Ends a transaction that failed, or that reads opened; returns `err`. Resets the arena. */
NODISCARD enum err mariadb_finish(struct mariadb_session *session, enum err err);

/* ---- the driver's operations ---- */

NODISCARD enum err mariadb_commit(struct store_session *base, const struct commit *commit);
NODISCARD enum err mariadb_take_shard(struct store_session *base, struct store_take_shard *take);
NODISCARD enum err mariadb_get(
    struct store_session *base, struct arena *arena, struct store_get *keys, size_t count);
NODISCARD enum err mariadb_scan(
    struct store_session *base, struct arena *arena, struct store_scan *scan);
NODISCARD enum err mariadb_due(
    struct store_session *base, struct arena *arena, struct store_due *due);
NODISCARD enum err mariadb_list(
    struct store_session *base, struct arena *arena, struct store_list *list);
NODISCARD enum err mariadb_count(
    struct store_session *base, struct arena *arena, struct store_count *count);

#endif
